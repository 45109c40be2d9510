/* sim_promise_private.h -- what the rules of sim_promise_check.c and sim_promise_journal.c share.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_PROMISE_PRIVATE_H
#define TESTS_SIM_SIM_PROMISE_PRIVATE_H

#include "tests/sim/sim_promise.h"

/* False, and the text says why. */
bool promise_wrong(char text[HISTORY_TEXT_BYTES], const char *format, ...) EG_PRINTF(2, 3);

static inline double promise_ms(uint64_t ns) {
    return (double) ns / 1e6;
}

static inline bool deed_is_of(const struct deed *d, enum promise_table t, uint32_t key) {
    return d->table == t && d->key == key;
}

/* Had the first ended before the second began, both in one view? */
static inline bool deed_is_before(const struct deed *a, const struct deed *b) {
    return a->end == OP_OK && a->view != 0 && a->view == b->view && a->end_ns < b->begin_ns;
}

/* Ask a node; again where only a connection was broken.  *a is lent until the next. */
bool promise_ask(const struct sim_promise *x, struct sim_client *admin, uint32_t node,
                 const char *method, struct value params, struct sim_answer *a,
                 char text[HISTORY_TEXT_BYTES]);
/* For what stands there: an array of records. */
bool promise_ask_record(const struct sim_promise *x, struct sim_client *admin, uint32_t node,
                        enum promise_table t, uint32_t key, struct sim_answer *a,
                        char text[HISTORY_TEXT_BYTES]);

/* Of all tables that are written by all and have a journal. */
bool promise_check_journals(const struct sim_promise *x, struct sim_client *admin, bool kept,
                            char text[HISTORY_TEXT_BYTES]);

#endif /* TESTS_SIM_SIM_PROMISE_PRIVATE_H */
