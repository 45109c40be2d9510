/* Goal: a hash of an index finds exactly what was put into it, however it grew, shrank and
 * was refused memory, or says that the tree must be asked, which it does only of values that
 * had many records.  Method: random changes in tides over made up records and hashes, some of
 * which many share; an array of what is there says what must be found. */
#include "tables/index_hash.h"

#include "tests/support/rng.h"
#include "tests/support/shard_memory.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS = 20000, STEPS = 120000, CROWD = 40, MAX = INDEX_HASH_FOUND_MAX };

/* Records are never looked at: any two addresses serve. */
static struct made {
    struct record *rec[2];
    uint64_t hash;
    uint32_t now; /* which of the two */
    bool there;
    bool crowded; /* many share its hash */
} made[RECORDS];

static struct trial {
    uint64_t seed;
    struct rng rng;
    struct shard_memory memory;
    struct index_hash *hash;
    uint64_t count, seen, refused, swapped, many, many_of_few, checks;
} t;

/* One in ten shares its hash with about CROWD others, the rest with two. */
static uint64_t some_hash(uint32_t i) {
    struct rng mixed = rng_of(i % 10 == 0 ? RECORDS + i / 10 % (RECORDS / 10 / CROWD) : i / 3);

    return rng_u64(&mixed);
}

static void begin(void) {
    for (uint32_t i = 0; i < RECORDS; i++) {
        made[i] = (struct made){.now = 0};
        for (int k = 0; k < 2; k++)
            made[i].rec[k] = (struct record *) (uintptr_t) (64 * (2 * i + k + 1));
        made[i].hash = some_hash(i);
        made[i].crowded = i % 10 == 0;
    }
    t.count = 0;
    t.hash = index_hash_open(t.memory.slab, &t.memory.bin);
}

/* It lacks a record, so it is made anew, as an index gives it up. */
static void give_up(void) {
    t.refused++;
    t.memory.alloc.left = INT_MAX;
    index_hash_retire(t.hash);
    epoch_bin_drain(&t.memory.bin);
    begin();
}

static void check_found(const struct made *m) {
    const struct record *found[MAX];
    int count = index_hash_read(index_hash_line(t.hash, m->hash), m->hash, found);
    bool is_found = false;

    for (int i = 0; i < count; i++)
        is_found |= found[i] == m->rec[m->now];
    t.many += count < 0;
    cr_assert(count < 0 || is_found == m->there, "seed %" PRIu64, t.seed);
    t.many_of_few += count < 0 && !m->crowded; /* it has the tag of a crowd */
    t.checks++;
}

static void step(bool growing) {
    struct made *m = &made[rng_below(&t.rng, RECORDS)];
    uint64_t dice = rng_below(&t.rng, 10);

    if (!m->there && dice < (growing ? 9u : 2u)) {
        if (!index_hash_put(t.hash, m->hash, m->rec[m->now])) {
            give_up();
            return;
        }
        m->there = true;
        t.count++;
    } else if (m->there && dice >= (growing ? 9u : 2u)) {
        index_hash_remove(t.hash, m->hash, m->rec[m->now]);
        m->there = false;
        t.count--;
    } else if (m->there && dice == 0) {
        bool swapped = index_hash_swap(t.hash, m->hash, m->rec[m->now], m->rec[!m->now]);
        cr_assert(swapped || m->crowded);
        t.swapped += swapped;
        m->now ^= swapped || m->crowded;
    } else if (m->there && dice == 1) { /* again: nothing changes */
        cr_assert(index_hash_put(t.hash, m->hash, m->rec[m->now]));
    }
    check_found(m);
}

static void see(void *context, const struct record *rec) {
    const struct made *m = &made[((uintptr_t) rec / 64 - 1) / 2];

    (void) context; /* the trial is the file's */
    cr_assert(m->there && m->rec[m->now] == rec, "seed %" PRIu64 ": what is gone", t.seed);
    t.seen++;
}

static void trial(uint64_t seed) {
    memset(&t, 0, sizeof t);
    t.seed = seed;
    t.rng = rng_of(seed);
    shard_memory_open(&t.memory);
    begin();
    for (uint32_t i = 0; i < STEPS; i++) {
        if (seed % 2 == 0 && rng_one_in(&t.rng, 5000))
            t.memory.alloc.left = t.memory.alloc.left > 100 ? (int) rng_below(&t.rng, 4) : INT_MAX;
        step(i / (STEPS / 4) % 2 == 0);
        epoch_sweep(&t.memory.bin);
        if (i % (STEPS / 8) == 0)
            index_hash_check(t.hash, see, NULL);
    }
    t.memory.alloc.left = INT_MAX;
    index_hash_check(t.hash, see, NULL);
    for (uint32_t i = 0; i < RECORDS; i++)
        check_found(&made[i]);
    cr_assert_gt(t.seen, 0);
    cr_assert_lt(t.many_of_few, t.checks / 100, "asks the tree of a few");
    cr_assert(seed % 2 == 0 || (t.swapped > 0 && t.many > 0), "nothing was tried");
    cr_assert(t.count < 100 || index_hash_bytes(t.hash) / t.count < 64);
    index_hash_retire(t.hash);
    shard_memory_close(&t.memory, 0);
}

Test(index_hash_model, finds_what_was_put_into_it, .timeout = 240) {
    uint64_t first = rng_test_seed(1);

    for (uint64_t seed = first; seed < first + (rng_is_replay() ? 1 : 6); seed++)
        trial(seed);
}
