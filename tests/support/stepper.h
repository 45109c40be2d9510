/* stepper.h -- a runtime on the test's own thread, in virtual time.
 *
 * Schedulers get turns only from stepper_run() and from a foreign call that waits;
 * when nothing is left to do time jumps to the next timer.  One seed, one history:
 * which scheduler goes next is drawn from it.  Nothing is late here, so a test can
 * claim what happens at which moment; for storms and pauses there is tests/sim.
 *
 *     struct stepper *st = stepper_open(&memory.base, 2, seed);
 *     supervisor_spawn(st->rt, ...);
 *     stepper_run_ms(st, 1000);
 *     stepper_close(st);
 */
#ifndef TESTS_SUPPORT_STEPPER_H
#define TESTS_SUPPORT_STEPPER_H

#include "engine/foreign.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "tests/support/rng.h"

struct stepper {
    struct env env;
    struct rng rng;
    uint64_t now_ns;
    int64_t wall_ahead_ms; /* of its wall clock */
    struct alloc *alloc;
    struct runtime *rt;
    struct foreign *me; /* for the test's own calls */
};

/* NULL: no memory, with *err (may be NULL) saying so.  With an epoch `domain` the
 * schedulers read tables. */
struct stepper *stepper_open_in(struct alloc *a, uint32_t schedulers, uint64_t seed,
                                struct epoch *domain, eg_err *err);
static inline struct stepper *stepper_open(struct alloc *a, uint32_t schedulers, uint64_t seed,
                                           eg_err *err) {
    return stepper_open_in(a, schedulers, seed, NULL, err);
}
void stepper_close(struct stepper *st);

/* One turn of some scheduler.  False: there was nothing to do. */
bool stepper_turn(struct stepper *st);
/* Until nothing is left to do at this moment. */
void stepper_run(struct stepper *st);
/* And let so much time pass. */
void stepper_run_ms(struct stepper *st, uint64_t ms);

/* A call from the test: the outcome, and up to room_bytes of the answer. */
eg_err stepper_call(struct stepper *st, eg_pid to, uint32_t tag, const void *bytes,
                    size_t size_bytes, void *answer, size_t room_bytes);
eg_err stepper_cast(struct stepper *st, eg_pid to, uint32_t tag, const void *bytes,
                    size_t size_bytes);

#endif /* TESTS_SUPPORT_STEPPER_H */
