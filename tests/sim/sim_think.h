/* sim_think.h -- when a client of a simulated cluster asks next: some time later, or just before
 * something fails.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_THINK_H
#define TESTS_SIM_SIM_THINK_H

#include "tests/support/rng.h"

#include <stdint.h>

enum { THINK_BEFORE_FAULT_US = 15000 }; /* at most: some steps of a transaction */

/* After `think_ms` in the mean. */
static inline uint64_t sim_think_ns(struct rng *r, uint64_t now_ns, uint64_t think_ms) {
    return now_ns + rng_below(r, 2 * think_ms * 1000000 + 1);
}

/* Where a fault comes first, every second time before that, so that it meets each step of many. */
static inline uint64_t sim_think_before_fault_ns(struct rng *r, uint64_t now_ns, uint64_t think_ms,
                                                 uint64_t fault_ns) {
    uint64_t at_ns = sim_think_ns(r, now_ns, think_ms);
    uint64_t before_ns = rng_below(r, THINK_BEFORE_FAULT_US) * 1000;

    return rng_one_in(r, 2) && fault_ns < at_ns && now_ns + before_ns < fault_ns
               ? fault_ns - before_ns
               : at_ns;
}

#endif /* TESTS_SIM_SIM_THINK_H */
