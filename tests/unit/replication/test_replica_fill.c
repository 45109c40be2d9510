/* Goal: who was away, is new, or has lost its last writes gets what it lacks, and little more.
 * Method: replica_net.h. */
#include "tests/support/replica_net.h"

#include "tables/table_private.h"

#include <criterion/criterion.h>
#include <string.h>

/* Node 2 is reached again: what it hears is hardly more than the records it has missed. */
static void catches_up(uint64_t keys, uint64_t missed) {
    const uint64_t *by_0 = &net.node[0].sent_bytes[2], *by_1 = &net.node[1].sent_bytes[2];
    uint64_t before = *by_0 + *by_1, got;

    install(7, 7);
    settle(7);
    got = *by_0 + *by_1 - before;
    cr_assert(got <= missed * RECORD_BYTES * 13 / 10, "%llu bytes", (unsigned long long) got);
    equal_copies(7, keys);
}

Test(replica_fill, one_that_was_away_gets_what_it_missed_and_no_more) {
    enum { ALL = 2000, MISSED = 200 };

    open_net(3, 0, "ram", 2);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    for (uint32_t i = 0; i < 2; i++)
        cut(i, 2);
    install(3, 7);
    settle(3);
    fill(&net.node[0], ALL, ALL + MISSED);
    for (uint32_t i = 0; i < 2; i++)
        net.cut[i][2] = net.cut[2][i] = false;
    catches_up(ALL + MISSED, MISSED);
    close_net();
}

Test(replica_fill, deletes_reach_one_that_was_away_and_graves_go) {
    enum { ALL = 200 };
    open_net(3, 0, "ram", 3);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    for (uint32_t i = 0; i < 2; i++)
        cut(i, 2);
    install(3, 7);
    settle(3);
    for (uint64_t k = 0; k < ALL; k += 2)
        AGREE(ask(&net.node[0], SHARD_DELETE, k, 0));
    run_ms(3000); /* graves stay while a copy is away */
    for (uint32_t i = 0; i < 2; i++)
        net.cut[i][2] = net.cut[2][i] = false;
    install(7, 7);
    settle(7);
    equal_copies(7, ALL);
    cr_assert_eq(size_of(&net.node[2]), ALL / 2);
    run_ms(5000);
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t s = 0; s < SHARDS; s++)
            cr_assert_eq(table_of(&net.node[i])->shard[s].copy->graves.count, 0, "node %u", i);
    close_net();
}

static uint64_t graves_of(struct node *n) {
    uint64_t graves = 0;

    for (uint32_t s = 0; s < SHARDS; s++)
        graves += table_of(n)->shard[s].copy->graves.count;
    return graves;
}

Test(replica_fill, what_is_deleted_stays_so_where_power_takes_the_last_writes) {
    enum { ALL = 40 };

    open_net(3, 0, "disc", 31);
    net.dull = true;
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    AGREE(table_world_ask(&net.node[2].w, CATALOG_SYNC, "t", (struct value){0}) == EG_OK);
    for (uint64_t k = 0; k < ALL; k += 2)
        AGREE(ask(&net.node[0], SHARD_DELETE, k, 0));
    run_ms(100);
    cr_assert_eq(graves_of(&net.node[0]), ALL / 2);
    run_ms(5000);
    cr_assert_eq(graves_of(&net.node[0]) + graves_of(&net.node[1]) + graves_of(&net.node[2]), 0);
    for (uint32_t i = 0; i < 2; i++)
        cut(i, 2);
    restart(&net.node[2], true);
    for (uint32_t i = 0; i < 2; i++)
        net.cut[i][2] = net.cut[2][i] = false;
    install(7, 7);
    settle(7);
    cr_assert_eq(size_of(&net.node[2]), ALL / 2);
    equal_copies(7, ALL);
    close_net();
}

/* Its clock says nothing of them yet, and must not be taken for equal by who has none of them. */
Test(replica_fill, what_came_without_an_end_is_told_to_others_also_after_a_restart) {
    enum { ALL = 200 };

    open_net(3, 0, "disc", 33);
    install(1, 7);
    settle(1);
    fill(&net.node[0], 0, ALL);
    install(5, 7);
    for (int ms = 0; ms < SETTLE_MS && size_of(&net.node[2]) == 0; ms++) {
        move_packets();
        for (uint32_t n = 0; n < net.count; n++)
            stepper_run_ms(net.node[n].w.st, 1);
    }
    cut(0, 2);
    restart(&net.node[2], false);
    install(6, 7);
    settle(6);
    cr_assert_gt(size_of(&net.node[1]), 0);
    cr_assert_eq(size_of(&net.node[1]), size_of(&net.node[2]));
    net.cut[0][2] = net.cut[2][0] = false;
    install(7, 7);
    settle(7);
    equal_copies(7, ALL);
    close_net();
}

Test(replica_fill, an_empty_one_fills_while_writes_go_on) {
    enum { ALL = 3000, MORE = 500 };

    open_net(3, 0, "ram", 4);
    install(1, 1);
    settle(1);
    fill(&net.node[0], 0, ALL);
    install(7, 7);
    fill(&net.node[0], ALL, ALL + MORE);
    settle(7);
    equal_copies(7, ALL + MORE);
    cr_assert_eq(size_of(&net.node[2]), ALL + MORE);
    close_net();
}

/* It takes longer than a copy waits before it asks again. */
Test(replica_fill, a_link_of_a_long_way_fills_too) {
    enum { ALL = 2000 };
    uint64_t bytes;

    open_net(2, 0, "ram", 14);
    install(1, 3);
    settle(1);
    fill(&net.node[0], 0, ALL);
    net.far_ms = 400;
    install(3, 3);
    bytes = net.node[0].sent_bytes[1];
    settle(3);
    cr_assert(net.node[0].sent_bytes[1] - bytes < ALL * RECORD_BYTES * 3 / 2);
    equal_copies(3, ALL);
    close_net();
}

Test(replica_fill, a_disc_node_that_restarts_gets_what_it_missed) {
    enum { ALL = 600, MISSED = 100 };

    open_net(3, 0, "disc", 12);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    run_ms(50);
    for (uint32_t i = 0; i < 2; i++)
        cut(i, 2);
    restart(&net.node[2], false);
    install(3, 7);
    install(4, 7);
    settle(7);
    fill(&net.node[0], ALL, ALL + MISSED);
    memset(net.cut, 0, sizeof net.cut);
    catches_up(ALL + MISSED, MISSED);
    close_net();
}

/* What each node has lost, another may have. */
Test(replica_fill, all_lose_power_one_after_the_other) {
    enum { EACH = 60, TIMES = 6 };

    open_net(3, 0, "disc", rng_test_seed(13));
    install(7, 7);
    settle(7);
    for (uint64_t k = 0; k < TIMES; k++) {
        uint32_t off = (uint32_t) (k % 3), others = 7 & ~(1u << off);

        fill(&net.node[0], k * EACH, (k + 1) * EACH);
        for (uint32_t i = 0; i < 3; i++)
            if (i != off)
                cut(i, off);
        restart(&net.node[off], true);
        install(others, 7);
        install(1u << off, 7);
        run_ms(20);
        memset(net.cut, 0, sizeof net.cut);
        install(7, 7);
        settle(7);
    }
    equal_copies(7, TIMES * EACH);
    cr_assert_eq(size_of(&net.node[0]), TIMES * EACH);
    close_net();
}
