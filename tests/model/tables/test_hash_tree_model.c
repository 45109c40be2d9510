/* Goal: the differing leaves of two trees are exactly those in which their records differ, whatever
 * was summed when.  Method: two sets of records beside their trees, changed at random; of a tree
 * only what was marked is summed again. */
#include "tables/hash_tree.h"

#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RECORDS = 600, STEPS = 300, SIDES = 2 };

struct side {
    struct hash_tree tree;
    uint64_t version[RECORDS]; /* 0: it is not there */
};

static uint64_t hash_of(uint64_t n) {
    return UINT64_C(0xabcd) << 48 | (n * UINT64_C(0x9e3779b97f4a7c15)) >> 16;
}

static struct hash_item item_of(const struct side *s, uint32_t n) {
    return (struct hash_item){.hash = hash_of(n),
                              .origin = 5,
                              .sequence = s->version[n],
                              .content = {(const uint8_t *) &s->version[n], 8}};
}

static void sum(struct side *s) {
    (void) hash_tree_begin(&s->tree);
    for (uint32_t n = 0; n < RECORDS; n++) {
        struct hash_item item = item_of(s, n);
        if (s->version[n] != 0)
            hash_tree_add(&s->tree, &item);
    }
    hash_tree_end(&s->tree);
}

static bool differ(const struct side *side, uint32_t level, uint32_t number) {
    uint32_t below = side[0].tree.depth - level;

    for (uint32_t n = 0; n < RECORDS; n++)
        if (side[0].version[n] != side[1].version[n] &&
            hash_tree_leaf(&side[0].tree, hash_of(n)) >> (below * HASH_TREE_FAN_BITS) == number)
            return true;
    return false;
}

static void compare(const struct side *side, uint64_t seed) {
    for (uint32_t level = 0; level <= side[0].tree.depth; level++)
        for (uint32_t i = 0; i < UINT32_C(1) << (level * HASH_TREE_FAN_BITS); i++)
            cr_assert_eq(hash_tree_sum(&side[0].tree, level, i) !=
                             hash_tree_sum(&side[1].tree, level, i),
                         differ(side, level, i), "EG_SEED=%llu level %u node %u",
                         (unsigned long long) seed, level, i);
}

static void change(struct side *side, struct rng *rng, uint64_t step) {
    uint32_t n = (uint32_t) rng_below(rng, RECORDS);
    uint64_t version = rng_one_in(rng, 3) ? 0 : step + 1;
    bool both = !rng_one_in(rng, 4);

    for (uint32_t i = (uint32_t) rng_below(rng, SIDES), k = 0; k < (both ? 2u : 1u);
         k++, i = 1 - i) {
        side[i].version[n] = version;
        hash_tree_mark(&side[i].tree, hash_of(n));
    }
}

Test(hash_tree_model, differing_leaves_are_those_that_differ) {
    uint64_t seed = rng_test_seed(11);
    struct rng rng = rng_of(seed);

    for (uint32_t depth = 0; depth <= 3; depth++) {
        static struct side side[SIDES];

        memset(side, 0, sizeof side);
        for (int i = 0; i < SIDES; i++)
            cr_assert_eq(hash_tree_open(&side[i].tree, alloc_system(), depth, seed), EG_OK);
        for (uint64_t step = 0; step < STEPS; step++) {
            change(side, &rng, step);
            if (!rng_one_in(&rng, 8))
                continue;
            sum(&side[0]);
            sum(&side[1]);
            compare(side, seed);
            if (rng_one_in(&rng, 4)) { /* healed */
                memcpy(side[1].version, side[0].version, sizeof side[0].version);
                for (uint32_t n = 0; n < RECORDS; n++)
                    hash_tree_mark(&side[1].tree, hash_of(n));
            }
        }
        for (int i = 0; i < SIDES; i++)
            hash_tree_close(&side[i].tree);
    }
}

Test(hash_tree_model, only_what_was_marked_is_summed_again) {
    static struct side s;

    cr_assert_eq(hash_tree_open(&s.tree, alloc_system(), 2, 1), EG_OK);
    sum(&s);
    cr_assert_eq(hash_tree_begin(&s.tree), 0);
    s.version[7] = 9;
    hash_tree_mark(&s.tree, hash_of(7));
    hash_tree_mark(&s.tree, hash_of(7));
    cr_assert_eq(hash_tree_begin(&s.tree), 1);
    hash_tree_mark(&s.tree, hash_of(7)); /* once more, while it is summed */
    hash_tree_end(&s.tree);
    cr_assert_eq(hash_tree_begin(&s.tree), 1);
    hash_tree_close(&s.tree);
}

/* All that is told of a record is in its print, and so is the salt. */
Test(hash_tree_model, prints_tell_records_apart) {
    struct hash_item a = {.hash = 1, .content = {(const uint8_t *) "abc", 3}};
    struct hash_item b[] = {a, a, a, a, a, a, a};
    struct hash_sum print = hash_tree_print(1, &a);

    b[0].hash++;
    b[1].origin++;
    b[2].sequence++;
    b[3].hlc++;
    b[4].expiry_ms++;
    b[5].content.size_bytes--;
    b[6].state = a.content;
    for (size_t i = 0; i < EG_COUNTOF(b); i++)
        cr_assert_neq(hash_tree_print(1, &b[i]).low, print.low);
    cr_assert_neq(hash_tree_print(2, &a).low, print.low);
}

Test(hash_tree_model, no_memory) {
    for (int after = 0; after < 2; after++) {
        struct fail_alloc memory = fail_alloc_after(after);
        struct hash_tree t;

        cr_assert_eq(hash_tree_open(&t, &memory.base, 1, 1), EG_MEMORY);
        hash_tree_close(&t);
    }
    cr_assert_eq(hash_tree_depth(0), 0);
    cr_assert_eq(hash_tree_depth(8), 0);
    cr_assert_eq(hash_tree_depth(4000), 3);
    cr_assert_eq(hash_tree_depth(UINT64_MAX), HASH_TREE_DEPTH_MAX);
}
