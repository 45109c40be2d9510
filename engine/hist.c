/* hist.c -- a log-linear histogram.
 *
 * Bucket of v, where s = bits above the lowest 6: s * 32 + (v >> s).  Below 64
 * the shift is 0 and a bucket is one value; each further power of two adds 32.
 */
#include "engine/hist.h"

#include <string.h>

enum { HIST_STEPS = 1 << HIST_STEP_BITS };

void hist_init(struct hist *h) {
    memset(h, 0, sizeof *h);
    h->min = UINT64_MAX;
}

static uint32_t bucket_of(uint64_t value) {
    uint32_t top, shift;

    if (value < HIST_STEPS)
        return (uint32_t) value;
    top = 63 - (uint32_t) __builtin_clzll(value);
    if (top > HIST_TOP_BIT)
        return HIST_BUCKETS - 1;
    shift = top - HIST_STEP_BITS;
    return (shift << HIST_STEP_BITS) + (uint32_t) (value >> shift);
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_top(uint32_t bucket) {
    uint32_t shift = bucket < 2 * HIST_STEPS ? 0 : (bucket >> HIST_STEP_BITS) - 1;
    uint64_t step = bucket - (shift << HIST_STEP_BITS);
    return ((step + 1) << shift) - 1;
}

void hist_record(struct hist *h, uint64_t value) {
    h->bucket[bucket_of(value)]++;
    h->count++;
    h->sum += value;
    h->min = EG_MIN(h->min, value);
    h->max = EG_MAX(h->max, value);
}

void hist_merge(struct hist *to, const struct hist *from) {
    to->count += from->count;
    to->sum += from->sum;
    to->min = EG_MIN(to->min, from->min);
    to->max = EG_MAX(to->max, from->max);
    for (uint32_t i = 0; i < HIST_BUCKETS; i++)
        to->bucket[i] += from->bucket[i];
}

/* How many of `count` values are per_million of them, rounded up and at least
 * one, without the product overflowing. */
static uint64_t rank_of(uint64_t count, uint32_t per_million) {
    uint64_t whole = count / 1000000 * per_million;
    uint64_t rest = (count % 1000000 * per_million + 999999) / 1000000;
    return EG_MAX(whole + rest, 1);
}

uint64_t hist_quantile(const struct hist *h, uint32_t per_million) {
    uint64_t rank, seen = 0;

    EG_ASSERT(per_million <= 1000000);
    if (h->count == 0)
        return 0;
    rank = rank_of(h->count, per_million);
    for (uint32_t i = 0; i < HIST_BUCKETS - 1; i++) {
        seen += h->bucket[i];
        if (seen >= rank)
            return EG_MIN(bucket_top(i), h->max);
    }
    return h->max; /* in the last bucket, which has no upper end */
}

double hist_mean(const struct hist *h) {
    return h->count == 0 ? 0 : (double) h->sum / (double) h->count;
}
