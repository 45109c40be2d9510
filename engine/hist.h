/* hist.h -- how long did it take, in a few kilobytes.
 *
 * A log-linear histogram: 32 equal steps in each power of two, so a quantile is
 * at most 1/32 (3 %) above the truth from one nanosecond to half an hour, and
 * recording is a count of leading zeros and an increment.
 *
 *     value    0 .. 31 | 32 .. 63 | 64 .. 127 | 128 .. 255 | ...
 *     step        1    |    1     |     2     |     4      | ...
 *
 * Threads    One writer.  Keep one a thread and hist_merge() them.
 * Memory     Inside the struct; nothing is allocated.
 * Source     The idea is HdrHistogram's (G. Tene), without its settings.
 */
#ifndef ENGINE_HIST_H
#define ENGINE_HIST_H

#include "engine/base.h"

enum {
    HIST_STEP_BITS = 5, /* 32 steps: 3 % is finer than runs of one machine agree */
    HIST_TOP_BIT = 41,  /* the last power of two: 2^41 ns is 36 minutes          */
    HIST_BUCKETS = (HIST_TOP_BIT - HIST_STEP_BITS + 2) << HIST_STEP_BITS,
};

struct hist {
    uint64_t count;
    uint64_t sum;
    uint64_t min, max; /* exact; min is UINT64_MAX and max 0 while empty */
    uint64_t bucket[HIST_BUCKETS];
};

void hist_init(struct hist *h);

/* Count one value.  What lies past the last bucket is counted there; max stays exact. */
void hist_record(struct hist *h, uint64_t value);

/* Add what `from` counted to `to`. */
void hist_merge(struct hist *to, const struct hist *from);

/* The value that `per_million` of a million recorded values do not exceed:
 * 500000 is the median, 999900 the 99.99 % quantile.  0 while empty. */
uint64_t hist_quantile(const struct hist *h, uint32_t per_million);

double hist_mean(const struct hist *h); /* 0 while empty */

#endif /* ENGINE_HIST_H */
