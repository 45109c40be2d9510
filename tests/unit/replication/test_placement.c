/* test_placement.c -- who holds what: fair, stable, and the same everywhere. */
#include "replication/placement.h"

#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { GROUP = 1, GROUPS = 16, PLACES = GROUPS * PLACEMENT_PARTITIONS };

TestSuite(placement, .timeout = 240);

static void nodes_make(struct placement_node *out, uint32_t count) {
    struct rng ids = rng_of(4);
    for (uint32_t i = 0; i < count; i++)
        out[i] = (struct placement_node){rng_u64(&ids), NODE_WEIGHT_USUAL, true, true};
}

struct row {
    uint32_t all, placed;
    uint64_t id[NODES_MAX];
};

static struct row row_of(const struct placement_node *nodes, uint32_t count, uint32_t partition,
                         uint32_t copies) {
    struct row r;
    memset(&r, 0, sizeof r);
    r.all = placement_copies(nodes, count, GROUP, partition, copies, r.id, &r.placed);
    return r;
}

static bool row_has(const struct row *r, uint64_t id) {
    for (uint32_t i = 0; i < r->all; i++) {
        if (r->id[i] == id)
            return true;
    }
    return false;
}

/* Places of 16 groups whose first copy is on this node. */
static uint32_t firsts(const struct placement_node *nodes, uint32_t count, uint64_t id) {
    uint64_t out[NODES_MAX];
    uint32_t n = 0, placed;

    for (uint32_t i = 0; i < PLACES; i++) {
        placement_copies(nodes, count, i / PLACEMENT_PARTITIONS, i % PLACEMENT_PARTITIONS, 1, out,
                         &placed);
        n += out[0] == id;
    }
    return n;
}

/* A change of these numbers moves every record of every cluster. */
Test(placement, is_the_same_with_every_compiler_for_ever) {
    struct placement_node nodes[5];
    uint64_t digest = 0;

    nodes_make(nodes, 5);
    nodes[1].weight = 50;
    nodes[2].weight = 333;
    for (uint32_t p = 0; p < PLACEMENT_PARTITIONS; p++) {
        struct row r = row_of(nodes, 5, p, 0);
        for (uint32_t i = 0; i < r.all; i++)
            digest = (digest ^ r.id[i]) * UINT64_C(0x9e3779b97f4a7c15);
    }
    cr_assert_eq(digest, UINT64_C(0x424bc56ab6b0a08c), "%#llx", (unsigned long long) digest);
}

Test(placement, does_not_hang_on_the_order_of_the_list) {
    struct placement_node nodes[7], turned[7];

    nodes_make(nodes, 7);
    for (uint32_t i = 0; i < 7; i++)
        turned[i] = nodes[6 - i];
    for (uint32_t p = 0; p < PLACEMENT_PARTITIONS; p++) {
        struct row a = row_of(nodes, 7, p, 3), b = row_of(turned, 7, p, 3);
        cr_assert_eq(memcmp(&a, &b, sizeof a), 0);
    }
}

/* Each place falls on each node by chance, so three and a half deviations may be. */
static void share_check(const struct placement_node *nodes, uint32_t count, uint32_t number,
                        double share) {
    double deviation = sqrt(PLACES * share * (1 - share));
    uint32_t n = firsts(nodes, count, nodes[number].id);
    cr_assert(fabs(n - PLACES * share) < 3.5 * deviation, "%u of %u: %u", number, count, n);
}

Test(placement, shares_evenly) {
    for (uint32_t count = 2; count <= 10; count++) {
        struct placement_node nodes[10];
        nodes_make(nodes, count);
        for (uint32_t i = 0; i < count; i++)
            share_check(nodes, count, i, 1.0 / count);
    }
}

Test(placement, shares_by_weight) {
    struct placement_node nodes[4];

    nodes_make(nodes, 4);
    nodes[0].weight = 300;
    nodes[1].weight = 50;
    share_check(nodes, 4, 0, 300.0 / 550);
    share_check(nodes, 4, 1, 50.0 / 550);
    share_check(nodes, 4, 2, 100.0 / 550);
}

Test(placement, puts_copies_on_different_nodes) {
    struct placement_node nodes[5];

    nodes_make(nodes, 5);
    for (uint32_t p = 0; p < PLACEMENT_PARTITIONS; p++) {
        struct row r = row_of(nodes, 5, p, 3);
        cr_assert(r.all == 3 && r.placed == 3);
        cr_assert(r.id[0] != r.id[1] && r.id[1] != r.id[2] && r.id[0] != r.id[2]);
    }
}

Test(placement, has_no_more_copies_than_nodes_and_all_means_all) {
    struct placement_node nodes[3];

    nodes_make(nodes, 3);
    cr_assert_eq(row_of(nodes, 3, 0, 7).all, 3);
    cr_assert_eq(row_of(nodes, 3, 0, 0).all, 3);
    cr_assert_eq(row_of(nodes, 0, 0, 2).all, 0);
}

Test(placement, moves_only_what_a_new_node_gets) {
    struct placement_node nodes[6];
    uint32_t moved = 0;

    nodes_make(nodes, 6);
    for (uint32_t p = 0; p < PLACEMENT_PARTITIONS; p++) {
        struct row before = row_of(nodes, 5, p, 2), after = row_of(nodes, 6, p, 2);
        for (uint32_t i = 0; i < after.all; i++) {
            if (!row_has(&before, after.id[i])) {
                cr_assert_eq(after.id[i], nodes[5].id);
                moved++;
            }
        }
    }
    cr_assert(moved > 50 && moved < 120, "%u", moved); /* 2 * 256 / 6 is 85 */
}

Test(placement, moves_only_what_a_removed_node_had) {
    struct placement_node nodes[6];

    nodes_make(nodes, 6);
    for (uint32_t p = 0; p < PLACEMENT_PARTITIONS; p++) {
        struct row before = row_of(nodes, 6, p, 2), after = row_of(nodes, 5, p, 2);
        if (!row_has(&before, nodes[5].id))
            cr_assert_eq(memcmp(&before, &after, sizeof before), 0);
    }
}

Test(placement, a_changed_weight_moves_only_to_or_from_its_node) {
    struct placement_node nodes[5], heavier[5];

    nodes_make(nodes, 5);
    memcpy(heavier, nodes, sizeof nodes);
    heavier[2].weight = 130;
    for (uint32_t p = 0; p < PLACEMENT_PARTITIONS; p++) {
        struct row before = row_of(nodes, 5, p, 1), after = row_of(heavier, 5, p, 1);
        cr_assert(before.id[0] == after.id[0] || after.id[0] == nodes[2].id);
    }
}

Test(placement, keeps_disc_tables_to_nodes_with_a_disc) {
    struct placement_node nodes[4], three[3];

    nodes_make(nodes, 4);
    nodes_make(three, 3);
    nodes[3].eligible = false;
    for (uint32_t p = 0; p < PLACEMENT_PARTITIONS; p++) {
        struct row r = row_of(nodes, 4, p, 2), without = row_of(three, 3, p, 2);
        cr_assert_eq(memcmp(&r, &without, sizeof r), 0);
    }
}

Test(placement, gives_a_node_without_weight_nothing) {
    struct placement_node nodes[4];

    nodes_make(nodes, 4);
    nodes[1].weight = 0;
    for (uint32_t p = 0; p < PLACEMENT_PARTITIONS; p++) {
        struct row r = row_of(nodes, 4, p, 0);
        cr_assert(r.all == 3 && !row_has(&r, nodes[1].id));
    }
}

Test(placement, one_that_is_away_long_keeps_its_place_and_the_next_stands_in) {
    struct placement_node nodes[5];

    nodes_make(nodes, 5);
    for (uint32_t p = 0; p < PLACEMENT_PARTITIONS; p++) {
        struct row order = row_of(nodes, 5, p, 0), r;

        for (uint32_t i = 0; i < 5; i++)
            nodes[i].standing = nodes[i].id != order.id[0];
        r = row_of(nodes, 5, p, 2);
        cr_assert(r.placed == 2 && r.all == 3);
        cr_assert_eq(memcmp(r.id, order.id, 3 * sizeof r.id[0]), 0);

        for (uint32_t i = 0; i < 5; i++) /* the stand-in is away too */
            nodes[i].standing &= nodes[i].id != order.id[2];
        r = row_of(nodes, 5, p, 2);
        cr_assert(r.placed == 2 && r.all == 3 && r.id[2] == order.id[3]);
        for (uint32_t i = 0; i < 5; i++)
            nodes[i].standing = true;
    }
}

Test(placement, nobody_stands_in_where_nobody_is_left) {
    struct placement_node nodes[3];
    struct row r;

    nodes_make(nodes, 3);
    nodes[0].standing = nodes[1].standing = nodes[2].standing = false;
    r = row_of(nodes, 3, 9, 2);
    cr_assert(r.all == 2 && r.placed == 2);
}

Test(placement, groups_lie_differently) {
    struct placement_node nodes[5];
    uint32_t same = 0;

    nodes_make(nodes, 5);
    for (uint32_t p = 0; p < PLACEMENT_PARTITIONS; p++) {
        uint64_t a[NODES_MAX], b[NODES_MAX];
        uint32_t placed;
        placement_copies(nodes, 5, 1, p, 1, a, &placed);
        placement_copies(nodes, 5, 2, p, 1, b, &placed);
        same += a[0] == b[0];
    }
    cr_assert(same < 90, "%u", same); /* 51 by chance */
}

Test(placement, every_shard_has_a_partition) {
    for (uint32_t shards = 1; shards <= 256; shards *= 2) {
        for (uint32_t s = 0; s < shards; s++)
            cr_assert(placement_partition(s, shards) == s * (256 / shards));
    }
}
