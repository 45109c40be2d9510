/* store_hash_sweep.c -- going through a whole hash store, as fast as memory answers.
 *
 *     part       n + 3      n + 2                 n + 1                    n
 *     buckets  | asked for | their nodes asked for | gathered             |
 *     records                                        asked for, as found  | looked at
 *
 * A core has a dozen or two lines under way at a time, so asking is spread over all that is done,
 * and nothing is read that was not asked for a part earlier: a bucket's line, the overflow nodes
 * that its link names, a record's first line when its bucket is read, the others while those
 * of the part before it are looked at (record_batch.h).
 *
 * A bucket's records are taken in any order and without a look at their keys, where nothing
 * can be missed or come twice: nobody splits or merges it, it begins where the last
 * one ended, and nothing was removed from the store meanwhile.
 * Everywhere else, which is rare, hash_gather() looks closer. */
#include "tables/store_hash_private.h"

/* While a bucket is split or merged, it and its other half may hold records of each other's. */
static bool may_be_moving(uint32_t index, uint32_t buckets) {
    uint32_t last = buckets - 1;

    return index == last || index == (last & bucket_mask(buckets) >> 1);
}

static struct sweep_bucket bucket_of_position(struct store_hash *s, uint64_t at, uint64_t header) {
    uint32_t buckets = header_buckets(header);
    uint32_t index = bucket_index(hash_reverse(at), buckets);
    uint64_t width = hash_bucket_width(index, buckets);

    return (struct sweep_bucket){
        .at = at & ~width, .end = at | width, .index = index, .bucket = bucket_at(s, index)};
}

/* The records of a row of slots, closed up; returns how many. */
static inline uint32_t gather_row(hash_word *words, uint32_t slots, const struct record **out) {
    uint32_t count = 0;

    for (uint32_t i = 0; i < slots; i++) {
        const struct record *rec = slot_record(word_get(&words[i]));
        EG_PREFETCH(rec != NULL ? (const void *) &rec->size_and_flags : words); /* never at 0 */
        out[count] = rec;
        count += rec != NULL;
    }
    return count;
}

/* Has anything left a slot since `removals` were counted, or is it about to?  Then the same key may
 * have been met in two slots: put again while we passed, or on its way from one to the other. */
static bool has_removed(struct store_hash *s, uint64_t removals) {
    return (removals & 1) != 0 || word_get(&s->removals) != removals;
}

/* The bucket at the sweep's position without a look at its records.  False: it needs a
 * closer look, or more room. */
static bool gather_quickly(struct store_hash *s, struct sweep_part *p, uint64_t header,
                           const struct sweep_bucket *b, uint64_t at) {
    const struct record **out = p->record + p->count, **end = p->record + SWEEP_RECORDS;
    uint64_t removals = word_get(&s->removals);

    if (b->bucket == NULL || may_be_moving(b->index, header_buckets(header)))
        return false;
#ifdef EG_PLANT_MERGED_BEHIND
    at = b->at;
#endif
    /* Where buckets were merged behind us, half of this one has been given already. */
    if (b->at != at)
        return false;
    for (struct hash_group g = group_first(b->bucket); g.words != NULL; g = group_next(g)) {
        if ((size_t) (end - out) < g.slots)
            return false;
        out += EG_LIKELY(g.slots == BUCKET_SLOTS) ? gather_row(g.words, BUCKET_SLOTS, out)
                                                  : gather_row(g.words, NODE_SLOTS, out);
    }
    if (word_get(&s->header) != header || has_removed(s, removals))
        return false;
    p->count = (uint32_t) (out - p->record);
    return true;
}

static struct sweep_ahead *ahead_of(struct store_sweep *sweep, uint32_t parts) {
    return &sweep->ahead[(sweep->turn + parts) % SWEEP_AHEAD];
}

/* Ask for the buckets that a part will be gathered from that begins there. */
static void expect_buckets(struct store_sweep *sweep, struct sweep_ahead *a, uint64_t at) {
    struct store_hash *s = hash_of(sweep->store);

    a->header = word_get(&s->header);
    a->at = a->next = at;
    a->count = 0;
    do {
        struct sweep_bucket b = bucket_of_position(s, a->next, a->header);

        a->bucket[a->count++] = b;
        EG_PREFETCH(b.bucket);
        a->next = b.end + 1;
    } while (a->count < SWEEP_BUCKETS && a->next != 0);
}

/* Ask for the first overflow node of each; their own lines have come. */
static void expect_nodes(const struct sweep_ahead *a) {
    for (uint32_t i = 0; i < a->count; i++) {
        hash_word *bucket = a->bucket[i].bucket, *node;

        if (bucket == NULL)
            continue;
        node = link_of(word_get(&bucket[BUCKET_SLOTS]));
        EG_PREFETCH(node != NULL ? node : bucket); /* never at 0 */
    }
}

/* From where the sweep is: at its beginning, and where it has come elsewhere than it expected. */
static void expect_anew(struct store_sweep *sweep) {
    struct sweep_ahead *here = ahead_of(sweep, 0), *next = ahead_of(sweep, 1);

    expect_buckets(sweep, here, sweep->at);
    next->count = 0;
    if (here->next != 0)
        expect_buckets(sweep, next, here->next);
}

/* What the parts behind the one that is now gathered are made of. */
static void expect_more(struct store_sweep *sweep) {
    struct sweep_ahead *next = ahead_of(sweep, 1), *last = ahead_of(sweep, 2);

    last->count = 0;
    if (next->count == 0)
        return;
    expect_nodes(next);
    if (next->next != 0)
        expect_buckets(sweep, last, next->next);
}

/* The next bucket, or some of its records. */
static void gather_one(struct store_sweep *sweep, struct sweep_part *p,
                       const struct sweep_ahead *here, uint32_t number) {
    struct store_hash *s = hash_of(sweep->store);
    uint64_t header = word_get(&s->header);
    const struct sweep_bucket *expected = &here->bucket[number];
    struct sweep_bucket b;

    if (EG_LIKELY(header == here->header && number < here->count && expected->at == sweep->at))
        b = *expected;
    else
        b = bucket_of_position(s, sweep->at, header);
    if (EG_LIKELY(gather_quickly(s, p, header, &b, sweep->at))) {
        sweep->at = b.end + 1;
        p->last = b.end == UINT64_MAX;
        return;
    }
    p->count += hash_gather(s, &sweep->at, p->record + p->count, &p->last);
}

/* Gather the next part while `now` is looked at. */
static void gather(struct store_sweep *sweep, struct sweep_part *p, const struct sweep_part *now) {
    if (ahead_of(sweep, 0)->count == 0 || ahead_of(sweep, 0)->at != sweep->at)
        expect_anew(sweep);
    expect_more(sweep);
    p->given = p->count = 0;
    p->last = sweep->done;
    for (uint32_t i = 0; i < SWEEP_BUCKETS && !p->last; i++) {
        if (p->count > SWEEP_RECORDS - HASH_GATHER_RECORDS)
            break;
        gather_one(sweep, p, ahead_of(sweep, 0), i);
    }
    sweep->turn = (sweep->turn + 1) % SWEEP_AHEAD;
    p->end = sweep->at;
    sweep->done = p->last;
    for (uint32_t i = p->count; i < now->count; i++)
        p->record[i] = now->record[i]; /* so that there is something to ask for */
    for (uint32_t i = now->count; i < p->count; i++)
        record_prefetch(p->record[i]); /* nobody else asks for all of these in time */
}

void store_sweep_begin(struct store_sweep *sweep, struct store *s, uint64_t at) {
    struct sweep_part *none = &sweep->part[0]; /* the one before the first */

    sweep->store = s;
    sweep->at = at;
    sweep->done = false;
    sweep->now = 0;
    none->given = none->count = 0;
    none->end = at;
    none->last = false;
    sweep->turn = 0;
    ahead_of(sweep, 0)->count = 0;
    gather(sweep, &sweep->part[1], none);
}

bool store_sweep_more(struct store_sweep *sweep) {
    if (sweep->part[sweep->now].last)
        return false;
    sweep->now = 1 - sweep->now;
    if (!sweep->part[sweep->now].last)
        gather(sweep, &sweep->part[1 - sweep->now], &sweep->part[sweep->now]);
    return true;
}

struct record_batch store_sweep_batch(struct store_sweep *sweep) {
    struct sweep_part *p = &sweep->part[sweep->now];
    struct record_batch b = {.reach_bytes = RECORD_REACH_BYTES};

    while (p->given == p->count && store_sweep_more(sweep))
        p = &sweep->part[sweep->now];
    b.record = p->record + p->given;
    b.count = p->count - p->given;
    if (!p->last)
        b.ahead = sweep->part[1 - sweep->now].record + p->given;
    p->given = p->count;
    return b;
}
