/* Goal: a tree does what a sorted array does, in every order it is used for, while
 * snapshots are open and memory runs out.  Method: random changes to both; after
 * each the answer is compared, every so often everything.  The domain of values
 * is small enough to collide and has runs of equal fields, long common
 * beginnings, and numbers in several encodings. */
#include "tables/btree.h"

#include "tests/support/rng.h"
#include "tests/support/shard_memory.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

enum { TWIN_MAX = 3000, SNAPSHOTS_MAX = 4 };

struct twin {
    struct record *at[TWIN_MAX];
    uint32_t count;
};

struct frozen { /* what a snapshot must show: copies, as pointers would prove too little */
    struct btree_snapshot *snapshot;
    const struct record *at[TWIN_MAX];
    uint64_t hlc[TWIN_MAX];
    uint32_t count;
};

static struct trial {
    uint64_t seed;
    struct rng rng;
    struct shard_memory memory;
    struct order order;
    struct btree *tree;
    struct twin twin;
    struct frozen frozen[SNAPSHOTS_MAX];
    uint32_t frozen_count;
    uint32_t domain; /* how many different keys */
    uint64_t hlc;
    uint64_t refusals;
} t;

/* ---- the twin ----------------------------------------------------------- */

static int naive_compare(const struct record *a, const struct record *b) {
    for (uint32_t i = 0; i < t.order.parts; i++) {
        int c = value_compare(record_field(a, t.order.position[i]),
                              record_field(b, t.order.position[i]));
        if (c != 0)
            return c;
    }
    return t.order.rest ? value_compare(record_value(a), record_value(b)) : 0;
}

/* The first entry not below `r`. */
static uint32_t twin_find(const struct record *r) {
    uint32_t low = 0, high = t.twin.count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (naive_compare(t.twin.at[middle], r) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool twin_has(uint32_t i, const struct record *r) {
    return i < t.twin.count && naive_compare(t.twin.at[i], r) == 0;
}

/* ---- random records ----------------------------------------------------- */

static void put_field(struct value_writer *w, uint64_t n) {
    char text[64];

    switch (n % 4) {
    case 0:
        value_put_i64(w, (int64_t) n - 40);
        break;
    case 1: /* the same number, otherwise encoded, now and then */
        value_put_double(w, rng_one_in(&t.rng, 2) ? (double) n : (double) n + 0.5);
        break;
    case 2:
        snprintf(text, sizeof text, "a common beginning that is not short/%" PRIu64, n);
        value_put_text(w, text);
        break;
    default:
        snprintf(text, sizeof text, "%" PRIu64, n * 7919 % 1000);
        value_put_binary(w, text, strlen(text) + n % 2); /* some end in a zero byte */
    }
}

static struct record *random_record(uint64_t key) {
    uint8_t bytes[512];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    struct record *r;

    value_put_array(&w, 3);
    put_field(&w, key);
    if (rng_one_in(&t.rng, 8))
        value_put_nil(&w);
    else
        put_field(&w, rng_below(&t.rng, 12));
    put_field(&w, rng_below(&t.rng, 4));
    r = shard_memory_record(&t.memory, (struct value){bytes, (uint32_t) w.need_bytes}, ++t.hlc);
    return r;
}

/* ---- operations --------------------------------------------------------- */

static void probe_it(struct probe *p, const struct record *r) {
    probe_of_record(p, btree_order(t.tree), r);
}

static void do_put(void) {
    struct record *r = random_record(rng_below(&t.rng, t.domain));
    struct btree_change c;
    struct probe p;
    uint32_t at;
    bool there;

    if (r == NULL)
        return;
    at = twin_find(r);
    there = twin_has(at, r);
    if (!there && t.twin.count == TWIN_MAX) {
        shard_memory_free_record(&t.memory, r);
        return;
    }
    probe_it(&p, r);
    if (btree_put(t.tree, &p, r, &c) != EG_OK) {
        t.refusals++;
        shard_memory_free_record(&t.memory, r);
        return;
    }
    cr_assert_eq(c.old, there ? t.twin.at[at] : NULL, "seed %" PRIu64, t.seed);
    if (rng_one_in(&t.rng, 10)) {
        btree_undo(t.tree, &c);
        epoch_retire(&t.memory.bin, slab_free, t.memory.slab, r, record_bytes(r));
        return;
    }
    btree_finish(t.tree, &c);
    if (!there) {
        memmove(t.twin.at + at + 1, t.twin.at + at, (t.twin.count - at) * sizeof t.twin.at[0]);
        t.twin.count++;
    }
    t.twin.at[at] = r;
}

static void do_remove(void) {
    struct record *r = random_record(rng_below(&t.rng, t.domain));
    struct btree_change c;
    struct probe p;
    uint32_t at;
    eg_err err;

    if (r == NULL)
        return;
    at = twin_find(r);
    probe_it(&p, r);
    if (t.twin.count > 0 && rng_one_in(&t.rng, 2)) { /* one that is there, for certain */
        at = (uint32_t) rng_below(&t.rng, t.twin.count);
        probe_it(&p, t.twin.at[at]);
    }
    err = btree_remove(t.tree, &p, &c);
    if (err == EG_MEMORY)
        t.refusals++;
    else if (err == EG_NOT_FOUND)
        cr_assert(!twin_has(at, r), "seed %" PRIu64, t.seed);
    else {
        cr_assert_eq(c.old, t.twin.at[at], "seed %" PRIu64, t.seed);
        if (rng_one_in(&t.rng, 10)) {
            btree_undo(t.tree, &c);
        } else {
            btree_finish(t.tree, &c);
            t.twin.count--;
            memmove(t.twin.at + at, t.twin.at + at + 1, (t.twin.count - at) * sizeof t.twin.at[0]);
        }
    }
    shard_memory_free_record(&t.memory, r);
}

static void do_get(void) {
    struct record *r = random_record(rng_below(&t.rng, t.domain));
    struct probe p;
    uint32_t at;

    if (r == NULL)
        return;
    at = twin_find(r);
    probe_it(&p, r);
    cr_assert_eq(btree_get(t.tree, &p), twin_has(at, r) ? t.twin.at[at] : NULL, "seed %" PRIu64,
                 t.seed);
    shard_memory_free_record(&t.memory, r);
}

/* Scan a while from a random place, whole or first part, in either direction. */
static void do_scan(void) {
    struct record *r = random_record(rng_below(&t.rng, t.domain));
    bool after = rng_one_in(&t.rng, 2), reverse = rng_one_in(&t.rng, 2);
    bool first_part = rng_one_in(&t.rng, 2);
    uint32_t steps = (uint32_t) rng_below(&t.rng, 150);
    struct value v;
    struct btree_iter it;
    struct probe p;
    uint32_t at = 0;

    if (r == NULL)
        return;
    v = record_field(r, t.order.position[0]);
    if (first_part)
        probe_of_value(&p, btree_order(t.tree), v);
    else
        probe_it(&p, r);
    while (at < t.twin.count) { /* skip what is before the place */
        int c = first_part ? value_compare(record_field(t.twin.at[at], t.order.position[0]), v)
                           : naive_compare(t.twin.at[at], r);
        if (c > 0 || (c == 0 && after == reverse))
            break;
        at++;
    }
    btree_seek(&it, t.tree, NULL, &p, after, reverse);
    while (steps-- > 0) {
        const struct record *want = NULL;
        if (reverse && at > 0)
            want = t.twin.at[--at];
        else if (!reverse && at < t.twin.count)
            want = t.twin.at[at++];
        cr_assert_eq(btree_next(&it), want, "seed %" PRIu64, t.seed);
        if (want == NULL)
            break;
    }
    shard_memory_free_record(&t.memory, r);
}

/* Scan upwards many at a time, maybe to an end. */
static void do_scan_many(void) {
    struct record *r = random_record(rng_below(&t.rng, t.domain));
    bool has_end = rng_one_in(&t.rng, 2);
    struct btree_iter it;
    struct probe end;
    struct value v;
    uint32_t at = 0;

    if (r == NULL)
        return;
    v = record_field(r, t.order.position[0]);
    probe_of_value(&end, btree_order(t.tree), v);
    btree_seek(&it, t.tree, NULL, NULL, false, false);
    for (;;) {
        const struct record *got[70];
        uint32_t most = 1 + (uint32_t) rng_below(&t.rng, EG_COUNTOF(got));
        uint32_t count = btree_next_many(&it, has_end ? &end : NULL, got, most);

        for (uint32_t i = 0; i < count; i++)
            cr_assert(at < t.twin.count && got[i] == t.twin.at[at++], "seed %" PRIu64, t.seed);
        if (count < most)
            break;
    }
    if (has_end)
        cr_assert(at == t.twin.count ||
                      value_compare(record_field(t.twin.at[at], t.order.position[0]), v) > 0,
                  "seed %" PRIu64 ": ended before the end", t.seed);
    else
        cr_assert_eq(at, t.twin.count, "seed %" PRIu64, t.seed);
    shard_memory_free_record(&t.memory, r);
}

static void do_snapshot(void) {
    struct frozen *f = &t.frozen[t.frozen_count];

    if (t.frozen_count == SNAPSHOTS_MAX || btree_snapshot_open(&f->snapshot, t.tree) != EG_OK)
        return;
    f->count = t.twin.count;
    memcpy(f->at, t.twin.at, t.twin.count * sizeof f->at[0]);
    for (uint32_t i = 0; i < f->count; i++)
        f->hlc[i] = f->at[i]->hlc;
    t.frozen_count++;
}

static void check_frozen(const struct frozen *f) {
    bool reverse = rng_one_in(&t.rng, 2);
    struct btree_iter it;

    btree_seek(&it, t.tree, f->snapshot, NULL, false, reverse);
    for (uint32_t n = 0; n < f->count; n++) {
        uint32_t i = reverse ? f->count - 1 - n : n;
        const struct record *r = btree_next(&it);
        cr_assert_eq(r, f->at[i], "seed %" PRIu64, t.seed);
        cr_assert_eq(r->hlc, f->hlc[i], "seed %" PRIu64 ": freed under a snapshot", t.seed);
    }
    cr_assert_null(btree_next(&it));
}

static void do_snapshot_close(void) {
    uint32_t i;

    if (t.frozen_count == 0)
        return;
    i = (uint32_t) rng_below(&t.rng, t.frozen_count);
    check_frozen(&t.frozen[i]);
    btree_snapshot_close(t.frozen[i].snapshot);
    t.frozen[i] = t.frozen[--t.frozen_count];
}

static void check_everything(void) {
    struct btree_iter it;

    btree_check(t.tree);
    cr_assert_eq(btree_stats(t.tree).count, t.twin.count, "seed %" PRIu64, t.seed);
    btree_seek(&it, t.tree, NULL, NULL, false, false);
    for (uint32_t i = 0; i < t.twin.count; i++)
        cr_assert_eq(btree_next(&it), t.twin.at[i], "seed %" PRIu64, t.seed);
    cr_assert_null(btree_next(&it));
    for (uint32_t i = 0; i < t.frozen_count; i++)
        check_frozen(&t.frozen[i]);
}

/* ---- trials ------------------------------------------------------------- */

static const struct order orders[] = {
    {.position = {0}, .parts = 1},
    {.position = {0}, .parts = 1, .rest = true},
    {.position = {1, 0}, .parts = 2},
    {.position = {1, 0}, .parts = 2, .rest = true},
};

static void step(void) {
    uint64_t dice = rng_below(&t.rng, 100);
    bool growing = t.hlc / 4000 % 2 == 0; /* the tree swells and shrinks in turns */

    if (dice < (growing ? 50u : 25u))
        do_put();
    else if (dice < 75)
        do_remove();
    else if (dice < 88)
        do_get();
    else if (dice < 94)
        do_scan();
    else if (dice < 96)
        do_scan_many();
    else if (dice < 98)
        do_snapshot();
    else
        do_snapshot_close();
    epoch_sweep(&t.memory.bin);
}

static void trial(uint64_t seed) {
    uint32_t steps = 8000;

    memset(&t, 0, sizeof t);
    t.seed = seed;
    t.rng = rng_of(seed);
    t.order = orders[seed % EG_COUNTOF(orders)];
    t.domain = 20u << rng_below(&t.rng, 8);
    shard_memory_open(&t.memory);
    cr_assert_eq(btree_open(&t.tree, &(struct btree_opts){.alloc = &t.memory.alloc.base,
                                                          .slab = t.memory.slab,
                                                          .bin = &t.memory.bin,
                                                          .order = t.order,
                                                          .owns_records = true}),
                 EG_OK);
    for (uint32_t i = 0; i < steps; i++) {
        if (rng_one_in(&t.rng, 400)) /* memory comes and goes */
            t.memory.alloc.left = t.memory.alloc.left > 0 ? 0 : INT_MAX;
        step();
        if (i % 500 == 0)
            check_everything();
    }
    t.memory.alloc.left = INT_MAX;
    check_everything();
    if (rng_one_in(&t.rng, 2)) {
        cr_assert_eq(btree_clear(t.tree), EG_OK);
        t.twin.count = 0;
        check_everything();
    }
    while (t.frozen_count > 0)
        do_snapshot_close();
    btree_retire(t.tree);
    shard_memory_close(&t.memory, 0);
}

Test(btree_model, random_changes_in_every_order_do_what_a_sorted_array_does, .timeout = 240) {
    uint64_t first = rng_test_seed(1);
    uint64_t refusals = 0;

    for (uint64_t seed = first; seed < first + (rng_is_replay() ? 1 : 60); seed++) {
        trial(seed);
        refusals += t.refusals;
    }
    cr_assert(rng_is_replay() || refusals > 0, "no change met a refused allocation");
}
