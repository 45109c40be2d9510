/* Goal: what both sides of a cut have done becomes one, by the policy of the table.
 * Method: replica_net.h. */
#include "tests/support/replica_net.h"

#include <criterion/criterion.h>
#include <string.h>

Test(replica_cut, both_sides_of_a_cut_come_together) {
    enum { EACH = 150 };

    open_net(4, 0, "ram", 5);
    install(15, 15);
    settle(15);
    fill(&net.node[0], 0, EACH);
    for (uint32_t a = 0; a < 2; a++)
        for (uint32_t b = 2; b < 4; b++)
            cut(a, b);
    install(3, 15);
    install(12, 15);
    settle(15);
    fill(&net.node[0], EACH, 2 * EACH);
    fill(&net.node[3], 2 * EACH, 3 * EACH);
    memset(net.cut, 0, sizeof net.cut);
    install(15, 15);
    settle(15);
    equal_copies(15, 3 * EACH);
    cr_assert_eq(size_of(&net.node[1]), 3 * EACH);
    close_net();
}

static void write_all(uint32_t node, uint64_t keys, uint64_t number) {
    for (uint64_t k = 0; k < keys; k++)
        AGREE(ask(&net.node[node], SHARD_WRITE, k, number + k));
    run_ms(50);
}

/* What write_all() with this number has written, at node 1. */
static void has_all(uint64_t keys, uint64_t number) {
    uint8_t bytes[RECORD_BYTES + 32];

    reader_enter(&net.node[1].w.reader);
    for (uint64_t k = 0; k < keys; k++)
        AGREE(value_equal(record_value(get(&net.node[1], k)),
                          record_of(bytes, sizeof bytes, k, number + k)));
    reader_exit(&net.node[1].w.reader);
}

/* Both sides of a cut write to all keys, first one side and then the other. */
static void write_on_both_sides(const char *policy, uint32_t first, uint32_t last, uint64_t wins) {
    enum { KEYS = 60 };

    open_net(4, 0, policy, 7);
    install(15, 15);
    settle(15);
    fill(&net.node[0], 0, KEYS);
    for (uint32_t a = 0; a < 2; a++)
        for (uint32_t b = 2; b < 4; b++)
            cut(a, b);
    install(3, 15);
    install(12, 15);
    settle(15);
    write_all(first, KEYS, 1000);
    write_all(last, KEYS, 2000);
    memset(net.cut, 0, sizeof net.cut);
    install(15, 15);
    settle(15);
    equal_copies(15, KEYS);
    has_all(KEYS, wins);
    close_net();
}

Test(replica_cut, versions_of_both_sides_are_merged_by_the_policy) {
    write_on_both_sides("ram", 0, 3, 2000);
    write_on_both_sides("ram", 3, 0, 2000);
    write_on_both_sides("first", 0, 3, 1000);
    write_on_both_sides("first", 3, 0, 1000);
}

/* Whichever side's version stands, it is over when its writer said. */
static void expires_on_both_sides(const char *policy, uint32_t first, uint32_t last, bool stays) {
    enum { KEYS = 60, HOUR_MS = 3600 * 1000 };

    open_net(3, 0, policy, 54);
    install(7, 7);
    settle(7);
    cut(0, 2);
    cut(1, 2);
    install(3, 7);
    install(4, 7);
    settle(7);
    net.ttl_ms = HOUR_MS;
    for (uint64_t k = 0; k < KEYS; k++)
        AGREE(ask(&net.node[first], SHARD_WRITE, k, 1000 + k));
    run_ms(50);
    net.ttl_ms = 0;
    for (uint64_t k = 0; k < KEYS; k++)
        AGREE(ask(&net.node[last], SHARD_WRITE, k, 2000 + k));
    run_ms(50);
    memset(net.cut, 0, sizeof net.cut);
    install(7, 7);
    settle(7);
    equal_copies(7, KEYS);
    for (uint32_t i = 0; i < 3; i++)
        for (uint64_t k = 0; k < KEYS; k++) {
            reader_enter(&net.node[i].w.reader);
            AGREE((record_expiry_ms(get(&net.node[i], k)) == 0) == stays);
            reader_exit(&net.node[i].w.reader);
        }
    close_net();
}

Test(replica_cut, the_version_that_stands_is_over_when_its_writer_said) {
    expires_on_both_sides("ram", 0, 2, true);
    expires_on_both_sides("ram", 2, 0, true);
    expires_on_both_sides("first", 0, 2, false);
    expires_on_both_sides("first", 2, 0, false);
}

/* Node 1 has some of what node 0 wrote last, and no END; node 2 has what it wrote before.  Node 0
 * knew of that: there is nothing to merge. */
Test(replica_cut, what_came_without_an_end_is_later_than_what_its_writer_had_written_before) {
    enum { KEYS = 200 };

    open_net(3, 0, "first", 53);
    install(1, 7);
    settle(1);
    write_all(0, KEYS, 1000);
    install(5, 7);
    settle(5);
    cut(0, 2);
    install(1, 7);
    settle(1);
    write_all(0, KEYS, 2000);
    install(3, 7);
    for (int ms = 0; ms < SETTLE_MS && size_of(&net.node[1]) == 0; ms++) {
        move_packets();
        for (uint32_t n = 0; n < net.count; n++)
            stepper_run_ms(net.node[n].w.st, 1);
    }
    cr_assert_gt(size_of(&net.node[1]), 0);
    cut(0, 1);
    install(6, 7);
    settle(6);
    memset(net.cut, 0, sizeof net.cut);
    install(7, 7);
    settle(7);
    equal_copies(7, KEYS);
    has_all(KEYS, 2000);
    close_net();
}

/* A view ends before anybody has heard what one side has, as in a network that is cut again and
 * again: what it acknowledged must be heard in the next one too, before others show what was. */
Test(replica_cut, what_nobody_has_heard_of_one_side_is_heard_before_anybody_serves) {
    enum { EACH = 50 };
    const uint32_t all = 7;

    open_net(3, 0, "ram", 17);
    install(all, all);
    settle(all);
    fill(&net.node[0], 0, EACH);
    cut(0, 2);
    cut(1, 2);
    install(3, all);
    install(4, all);
    settle(all);
    fill(&net.node[2], EACH, 2 * EACH);
    for (int views = 0; views < 3; views++) { /* of all, in which the third is not heard */
        install(all, all);
        run_ms(500);
        for (uint32_t i = 0; i < 3; i++)
            AGREE(roles_of(&net.node[i], SHARD_STOPPED) + roles_of(&net.node[i], SHARD_FILLING) ==
                  SHARDS);
    }
    memset(net.cut, 0, sizeof net.cut);
    install(all, all);
    settle(all);
    equal_copies(all, 2 * EACH);
    close_net();
}

/* ---- counters -------------------------------------------------------------------------------- */

/* What is beside a counter's record: the parts of so many origins; -1: none. */
static int parts_of(struct node *n, uint64_t key) {
    struct value parts, state;
    int count = -1;

    reader_enter(&n->w.reader);
    state = record_state(get(n, key));
    if (state.size_bytes != 0) {
        AGREE(array_element(state, 3, &parts));
        count = (int) value_count(parts);
    }
    reader_exit(&n->w.reader);
    return count;
}

static uint64_t counted(struct node *n, uint64_t key) {
    struct value v;
    uint64_t sum;

    reader_enter(&n->w.reader);
    AGREE(array_element(record_value(get(n, key)), 1, &v) && value_get_u64(v, &sum));
    reader_exit(&n->w.reader);
    return sum;
}

static void add_to_all(uint32_t node, uint64_t keys, uint64_t delta) {
    for (uint64_t k = 0; k < keys; k++)
        AGREE(ask(&net.node[node], SHARD_COUNTER, k, delta));
    run_ms(50);
}

/* Every start of a node is an origin of its own, and each adds something. */
Test(replica_cut, counters_stay_small_when_nodes_start_again) {
    enum { KEYS = 8, STARTS = 12 };

    open_net(3, 0, "counter", 47);
    install(7, 7);
    settle(7);
    add_to_all(0, KEYS, 1);
    for (uint32_t i = 0; i < STARTS; i++) {
        restart(&net.node[i % 3], false);
        install(7, 7);
        settle(7);
        run_ms(100);
        add_to_all(i % 2, KEYS, 1);
    }
    for (uint64_t k = 0; k < KEYS; k++)
        for (uint32_t i = 0; i < 3; i++) {
            AGREE(counted(&net.node[i], k) == STARTS + 1);
            AGREE(parts_of(&net.node[i], k) <= 3);
        }
    cut(0, 2); /* and what each side of a cut adds comes to it, once */
    cut(1, 2);
    install(3, 7);
    install(4, 7);
    settle(7);
    add_to_all(0, KEYS, 10);
    add_to_all(2, KEYS, 100);
    restart(&net.node[0], false); /* while one is away nothing is folded */
    install(3, 7);
    settle(3);
    add_to_all(0, KEYS, 1000);
    add_to_all(2, KEYS, 10000);
    memset(net.cut, 0, sizeof net.cut);
    install(7, 7);
    settle(7);
    for (uint64_t k = 0; k < KEYS; k++)
        for (uint32_t i = 0; i < 3; i++)
            AGREE(counted(&net.node[i], k) == STARTS + 1 + 11110);
    equal_copies(7, 0);
    close_net();
}

/* 10 everywhere; node 0 clears and adds 1, and node 2, cut off, adds 5 before the clear or after
 * it. Who had added 10 and adds 1 begins anew. */
static void count_past_a_clear(bool before) {
    enum { KEYS = 8 };
    const struct node *adder[KEYS];

    open_net(3, 0, "counter", 48);
    install(7, 7);
    settle(7);
    add_to_all(0, KEYS, 10);
    for (uint64_t k = 0; k < KEYS; k++)
        adder[k] = master_of(&net.node[0], k);
    cut(0, 2);
    cut(1, 2);
    install(3, 7);
    install(4, 7);
    settle(7);
    if (before)
        add_to_all(2, KEYS, 5);
    clear_all(&net.node[0]);
    run_ms(50);
    if (!before)
        add_to_all(2, KEYS, 5);
    add_to_all(0, KEYS, 1);
    for (uint64_t k = 0; k < KEYS; k++)
        if (adder[k] == master_of(&net.node[0], k))
            adder[k] = NULL;
    memset(net.cut, 0, sizeof net.cut);
    install(7, 7);
    settle(7);
    equal_copies(7, KEYS);
    for (uint64_t k = 0; k < KEYS; k++)
        cr_expect_eq(counted(&net.node[1], k), before ? 1 : adder[k] == NULL ? 6 : 16);
    close_net();
}

Test(replica_cut, a_clear_leaves_of_a_counter_what_another_side_has_changed_since) {
    count_past_a_clear(true);
    count_past_a_clear(false);
}
