/* pause.h -- a short sleep between two looks at what is being waited for.
 *
 *     for (int ms = 0; !is_there() && ms < WAIT_MS; ms += 2)
 *         pause_ms(2);
 *
 * It lets others run; it is never what makes something true.
 */
#ifndef TESTS_SUPPORT_PAUSE_H
#define TESTS_SUPPORT_PAUSE_H

#include <time.h>

static inline void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

#endif /* TESTS_SUPPORT_PAUSE_H */
