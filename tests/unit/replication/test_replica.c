/* Goal: copies of a table on several nodes stay one table.  Method: replica_net.h. */
#include "tests/support/replica_net.h"

#include "tables/far.h"
#include "tables/route.h"
#include "tables/table_private.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <string.h>

/* ---- tests
 * ---------------------------------------------------------------------------------------------- */

Test(replica, a_write_is_answered_when_all_copies_have_it) {
    open_net(3, 0, "ram", 1);
    install(7, 7);
    settle(7);
    for (uint64_t k = 0; k < 100; k++) {
        AGREE(ask(&net.node[k % 3], SHARD_WRITE, k, k));
        for (int i = 0; i < 20 && !net.acked[k]; i++)
            run_ms(1);
        AGREE(net.acked[k]);
        for (uint32_t i = 0; i < 3; i++) {
            reader_enter(&net.node[i].w.reader);
            cr_assert_not_null(get(&net.node[i], k), "node %u key %llu", i, (unsigned long long) k);
            reader_exit(&net.node[i].w.reader);
        }
    }
    equal_copies(7, 100);
    close_net();
}

static bool stands(struct node *n, uint64_t key) {
    uint8_t bytes[16];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    struct key k;
    bool yes;

    value_put_u64(&w, key);
    reader_enter(&n->w.reader);
    AGREE(table_key(table_of(n), &k, (struct value){bytes, (uint32_t) w.need_bytes}) == EG_OK);
    yes = table_read_stands(table_of(n), &n->w.reader, &k);
    AGREE(yes == table_got_stands(table_of(n), &n->w.reader, &k,
                                  table_get(table_of(n), &n->w.reader, &k)));
    key_release(&k);
    reader_exit(&n->w.reader);
    return yes;
}

/* Ask the master to say when all have what is there; its answer comes under `ref`. */
static void ask_to_settle(struct node *n, uint64_t key, uint64_t ref) {
    uint8_t bytes[16];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    struct message *m;
    eg_pid to;

    value_put_u64(&w, key);
    reader_enter(&n->w.reader);
    AGREE(table_settle_message(
              table_of(n),
              table_shard_of_key(table_of(n), (struct value){bytes, (uint32_t) w.need_bytes}), &to,
              &m) == EG_OK);
    reader_exit(&n->w.reader);
    m->ref = ref;
    net.acked[ref] = false;
    AGREE(runtime_send(n->w.st->rt, n->client, to, m) == EG_OK);
}

/* A change that one copy has and another has not is shown by none of them. */
Test(replica, what_is_not_on_all_copies_is_not_shown) {
    const enum shard_op ops[] = {SHARD_WRITE, SHARD_DELETE};

    open_net(3, 0, "ram", 10);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, 40);
    run_ms(100);
    for (uint64_t k = 0; k < 40; k++) {
        uint32_t master = (uint32_t) (master_of(&net.node[0], k) - net.node);
        uint32_t late = (master + 1) % 3, early = (master + 2) % 3;

        for (uint32_t i = 0; i < 3; i++)
            AGREE(stands(&net.node[i], k));
        net.frozen = 1u << late; /* hears nothing for a while */
        net.acked[k] = false;
        AGREE(ask(&net.node[0], ops[k % 2], k, 1000 + k));
        run_ms(10);
        AGREE(!net.acked[k]);
        AGREE(!stands(&net.node[master], k));
        AGREE(!stands(&net.node[early], k));
        AGREE(stands(&net.node[late], k));
        ask_to_settle(&net.node[master], k, 1000 + k);
        run_ms(10);
        AGREE(!net.acked[1000 + k]);
        net.frozen = 0;
        run_ms(60);
        AGREE(net.acked[k]);
        AGREE(net.acked[1000 + k]);
    }
    equal_copies(7, 40);
    close_net();
}

/* No copy has moved a byte when it is answered; all have it soon. */
Test(replica, with_acks_one_nobody_is_waited_for) {
    open_net(3, 0, "one", 8);
    install(7, 7);
    settle(7);
    for (uint64_t k = 0; k < 20; k++) {
        AGREE(ask(&net.node[0], SHARD_WRITE, k, k));
        for (uint32_t i = 0; i < 3; i++)
            stepper_run(net.node[i].w.st);
        AGREE(net.acked[k]);
    }
    run_ms(20);
    equal_copies(7, 20);
    close_net();
}

/* Each copy's disc has it before it is answered. */
Test(replica, a_sync_table_waits_for_all_discs) {
    open_net(3, 0, "sync", 9);
    install(7, 7);
    settle(7);
    for (uint32_t i = 0; i < 3; i++) {
        net.node[i].w.pump.still = true;
        AGREE(ask(&net.node[0], SHARD_WRITE, i, i));
        run_ms(50);
        AGREE(!net.acked[i]);
        net.node[i].w.pump.still = false;
        disc_pump_go_on(&net.node[i].w.pump);
        run_ms(50);
        AGREE(net.acked[i]);
    }
    fill(&net.node[0], 10, 100);
    equal_copies(7, 100);
    close_net();
}

Test(replica, one_that_was_away_gets_what_it_missed_and_no_more) {
    enum { ALL = 2000, MISSED = 200 };
    uint64_t before, got;

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
    before = net.node[0].sent_bytes[2] + net.node[1].sent_bytes[2];
    install(7, 7);
    settle(7);
    got = net.node[0].sent_bytes[2] + net.node[1].sent_bytes[2] - before;
    cr_assert(got <= MISSED * RECORD_BYTES * 13 / 10, "%llu bytes", (unsigned long long) got);
    equal_copies(7, ALL + MISSED);
    close_net();
}

Test(replica, deletes_reach_one_that_was_away_and_graves_go) {
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

Test(replica, what_is_deleted_stays_so_where_power_takes_the_last_writes) {
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

/* It can neither take what it lacks nor say that it has it, and nobody waits for it. */
Test(replica, others_go_on_without_the_copies_of_a_broken_disc) {
    enum { ALL = 40 };

    open_net(3, 0, "sync", 37);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    disc_twin_fail_write(net.node[0].w.pump.twin, 1);
    for (uint64_t k = 0; k < ALL; k++)
        AGREE(ask(&net.node[1], SHARD_WRITE, k, k + ALL)); /* what becomes of them nobody knows */
    run_ms(200);
    cr_assert(net.node[0].progress);
    install(7, 7);
    settle(6);
    for (uint64_t k = 0; k < ALL; k++)
        cr_assert_neq(master_of(&net.node[1], k)->id, net.node[0].id);
    fill(&net.node[1], 0, ALL);
    restart(&net.node[0], true);
    install(7, 7);
    settle(7);
    equal_copies(7, ALL);
    close_net();
}

/* Its clock says nothing of them yet, and must not be taken for equal by who has none of them. */
Test(replica, what_came_without_an_end_is_told_to_others_also_after_a_restart) {
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

Test(replica, an_empty_one_fills_while_writes_go_on) {
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

Test(replica, both_sides_of_a_cut_come_together) {
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
    for (uint64_t k = 0; k < KEYS; k++)
        AGREE(ask(&net.node[first], SHARD_WRITE, k, 1000 + k));
    run_ms(50);
    for (uint64_t k = 0; k < KEYS; k++)
        AGREE(ask(&net.node[last], SHARD_WRITE, k, 2000 + k));
    run_ms(50);
    memset(net.cut, 0, sizeof net.cut);
    install(15, 15);
    settle(15);
    equal_copies(15, KEYS);
    reader_enter(&net.node[1].w.reader);
    for (uint64_t k = 0; k < KEYS; k++) {
        uint8_t bytes[RECORD_BYTES + 32];

        AGREE(value_equal(record_value(get(&net.node[1], k)),
                          record_of(bytes, sizeof bytes, k, wins + k)));
    }
    reader_exit(&net.node[1].w.reader);
    close_net();
}

Test(replica, versions_of_both_sides_are_merged_by_the_policy) {
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

Test(replica, the_version_that_stands_is_over_when_its_writer_said) {
    expires_on_both_sides("ram", 0, 2, true);
    expires_on_both_sides("ram", 2, 0, true);
    expires_on_both_sides("first", 0, 2, false);
    expires_on_both_sides("first", 2, 0, false);
}

static void write_all(uint32_t node, uint64_t keys, uint64_t number) {
    for (uint64_t k = 0; k < keys; k++)
        AGREE(ask(&net.node[node], SHARD_WRITE, k, number + k));
    run_ms(50);
}

/* Node 1 has some of what node 0 wrote last, and no END; node 2 has what it wrote before.  Node 0
 * knew of that: there is nothing to merge. */
Test(replica, what_came_without_an_end_is_later_than_what_its_writer_had_written_before) {
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
    reader_enter(&net.node[1].w.reader);
    for (uint64_t k = 0; k < KEYS; k++) {
        uint8_t bytes[RECORD_BYTES + 32];

        AGREE(value_equal(record_value(get(&net.node[1], k)),
                          record_of(bytes, sizeof bytes, k, 2000 + k)));
    }
    reader_exit(&net.node[1].w.reader);
    close_net();
}

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
Test(replica, counters_stay_small_when_nodes_start_again) {
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

Test(replica, a_clear_leaves_of_a_counter_what_another_side_has_changed_since) {
    count_past_a_clear(true);
    count_past_a_clear(false);
}

/* Two copies on four nodes: who is placed gets one, who is not lets go of his. */
Test(replica, copies_move_to_where_they_belong) {
    enum { ALL = 400 };
    uint64_t sum = 0;

    open_net(4, 2, "ram", 6);
    install(1, 1);
    settle(1);
    fill(&net.node[0], 0, ALL);
    install(15, 15);
    settle(15);
    fill(&net.node[0], ALL, 2 * ALL);
    install(15, 15); /* reports that all are full */
    settle(15);
    run_ms(200);
    for (uint32_t i = 0; i < 4; i++) {
        sum += size_of(&net.node[i]);
    }
    cr_assert_eq(sum, 2 * 2 * ALL);
    install(15, 15); /* who let go has nothing, and wants nothing */
    run_ms(200);
    for (uint32_t i = 0; i < 4; i++)
        AGREE(!net.node[i].progress);
    fill(&net.node[1], 0, ALL);
    close_net();
}

/* How often a record's second field has been put into an array. */
static uint32_t wrapped(struct value array) {
    struct value v;
    uint32_t depth = 0;

    AGREE(array_element(array, 1, &v));
    for (; value_kind_of(v) == VALUE_ARRAY; depth++)
        AGREE(array_element(v, 0, &v));
    return depth;
}

static void wrap_all(struct node *n) {
    uint8_t bytes[128];

    AGREE(table_world_ask(&n->w, CATALOG_ALTER, "t",
                          text_value(bytes, sizeof bytes,
                                     "['transform_table', [[['$1', '$2'], [], [[['$1', [['$2']]]]]]"
                                     "], nil]")) == EG_OK);
}

/* Nodes change a table one after the other.  What one tells of its new records must not be taken
 * for old ones by another, or the other way round: each is changed once. */
static void change_layout(const char *storage, uint32_t first) {
    enum { OLD = 60, MORE = 20 };
    uint64_t written = OLD;

    open_net(3, 0, storage, 21);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, OLD);
    for (uint32_t i = 0; i < 3; i++) {
        for (uint64_t end = written + MORE; written < end; written++)
            AGREE(ask(&net.node[written % 3], SHARD_WRITE, written, written));
        run_ms(written % 3); /* some are under way still */
        wrap_all(&net.node[(first + i) % 3]);
    }
    settle(7);
    run_ms(2000);
    for (uint64_t k = 0; k < written; k++)
        AGREE(net.acked[k]);
    equal_copies(7, written);
    reader_enter(&net.node[0].w.reader);
    for (uint64_t k = 0; k < written; k++)
        AGREE(wrapped(record_value(get(&net.node[0], k))) <= 1);
    for (uint64_t k = 0; k < OLD; k++)
        AGREE(wrapped(record_value(get(&net.node[0], k))) == 1);
    reader_exit(&net.node[0].w.reader);
    close_net();
}

Test(replica, records_are_changed_once_whoever_changes_the_table_first) {
    for (uint32_t first = 0; first < 3; first++)
        change_layout("ram", first);
    change_layout("disc", 1);
}

/* It takes longer than a copy waits before it asks again. */
Test(replica, a_link_of_a_long_way_fills_too) {
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

/* What another node said and there was no memory for is known to be missing. */
Test(replica, what_there_is_no_memory_for_is_said_again) {
    enum { ROUNDS = 10, EACH = 40, KEYS = ROUNDS * EACH };

    open_net(3, 0, "ram", rng_test_seed(15));
    for (uint64_t round = 0; round < ROUNDS; round++) {
        net.forgetful = true;
        install(7, 7);
        for (uint64_t k = round * EACH; k < (round + 1) * EACH; k++) {
            (void) ask(&net.node[k % 3], SHARD_WRITE, k, k);
            run_ms(rng_below(&net.rng, 10));
        }
        net.forgetful = false;
        settle(7);
        for (uint64_t k = round * EACH; k < (round + 1) * EACH; k++)
            AGREE(ask(&net.node[0], SHARD_WRITE, k, k));
        run_ms(300);
        equal_copies(7, (round + 1) * EACH);
        for (uint64_t k = 0; k < (round + 1) * EACH; k++)
            AGREE(net.acked[k]);
    }
    close_net();
}

/* The copies of node b follow their masters of node a anew, and those its. */
static void follow_anew(uint32_t a, uint32_t b) {
    reader_enter(&net.node[b].w.reader);
    replica_node_down(net.node[b].r, net.node[a].id);
    reader_exit(&net.node[b].w.reader);
}

/* A FOLLOW from before comes once more: who asked has been counted since, and still is. */
Test(replica, a_follow_that_comes_late_makes_nobody_uncounted) {
    open_net(2, 0, "ram", 1);
    net.keep = UINT32_C(1) << REPLICA_FOLLOW;
    install(3, 3);
    settle(3);
    net.keep = 0;
    follow_anew(0, 1);
    follow_anew(1, 0);
    run_ms(50);
    settle(3);
    hear_kept();
    run_ms(5);
    net.frozen = 3;
    for (uint64_t k = 0; k < 20; k++)
        AGREE(ask(&net.node[0], SHARD_WRITE, k, k));
    run_ms(200);
    for (uint64_t k = 0; k < 20; k++)
        cr_assert(!net.acked[k], "key %llu is on one node", (unsigned long long) k);
    net.frozen = 0;
    run_ms(200);
    equal_copies(3, 20);
    close_net();
}

/* What is of these kinds comes once more while a copy follows anew, and is not counted yet: it does
 * not serve. */
static void nobody_serves_after(enum replica_kind late) {
    uint32_t filling = 0;

    open_net(2, 0, "ram", 1);
    net.keep = UINT32_C(1) << late;
    install(3, 3);
    settle(3);
    net.keep = 0;
    net.lost = UINT32_C(1) << REPLICA_COVERED;
    follow_anew(0, 1);
    follow_anew(1, 0);
    run_ms(50);
    hear_kept();
    run_ms(5);
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t s = 0; s < SHARDS; s++)
            filling += table_role(table_of(&net.node[i]), s) == SHARD_FILLING;
    cr_assert(filling == SHARDS, "%u of %u copies wait", filling, (uint32_t) SHARDS);
    cr_assert_geq(replica_late(net.node[0].r) + replica_late(net.node[1].r), SHARDS);
    net.lost = 0;
    settle(3);
    close_net();
}

Test(replica, a_serve_that_comes_late_lets_nobody_serve) {
    nobody_serves_after(REPLICA_SERVE);
}

Test(replica, a_covered_that_comes_late_makes_nobody_counted) {
    nobody_serves_after(REPLICA_COVERED);
}

/* A shard drops an index and says so, whatever other copies have heard: a view waits until all of
 * its tables are known, and what that takes may not wait for the view. */
Test(replica, an_index_goes_without_the_other_copies) {
    struct shard_request q = {.op = SHARD_INDEX_DROP, .attribute = 1};

    open_net(2, 0, "ram", 1);
    install(3, 3);
    settle(3);
    net.frozen = 3;
    for (uint64_t k = 0; k < 20; k++)
        AGREE(ask(&net.node[0], SHARD_WRITE, k, k));
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t s = 0; s < SHARDS; s++) {
            struct message *m =
                message_new(net.node[i].w.st->rt, MESSAGE_CALL, shard_request_size(&q));

            m->tag = q.op;
            m->ref = 100 + i * SHARDS + s;
            shard_request_pack(&q, m->payload);
            AGREE(runtime_send(net.node[i].w.st->rt, net.node[i].client,
                               shard_pid(table_shard(table_of(&net.node[i]), s)), m) == EG_OK);
        }
    run_ms(50);
    for (uint64_t k = 0; k < 20; k++)
        AGREE(!net.acked[k]);
    for (uint64_t k = 100; k < 100 + 2 * SHARDS; k++)
        cr_assert(net.acked[k], "a shard has not said that it dropped it");
    net.frozen = 0;
    run_ms(200);
    equal_copies(3, 20);
    close_net();
}

/* A master that has stopped for the next view serves nobody, whoever comes and goes. */
Test(replica, who_has_stopped_does_not_begin_again) {
    const eg_exit kill = exit_reason(EG_EXIT_KILL);
    struct view_id proposed = {1000, 1};

    open_net(3, 0, "ram", 16);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, 40);
    for (uint32_t i = 0; i < 3; i++) {
        reader_enter(&net.node[i].w.reader);
        replica_stop(net.node[i].r, proposed);
        reader_exit(&net.node[i].w.reader);
        run_ms(50); /* the others go on, and hear nothing of it */
        AGREE(view_id_equal(net.node[i].stopped, proposed));
        for (uint32_t s = 0; s < SHARDS; s++)
            for (uint32_t k = 0; k < 3; k++)
                actor_exit_send(net.node[k].w.st->rt, EG_PID_NONE,
                                shard_pid(&table_of(&net.node[k])->shard[s]), &kill);
        for (int ms = 0; ms < 1000; ms++) {
            run_ms(1);
            for (uint32_t s = 0; s < SHARDS; s++)
                for (uint32_t k = 0; k <= i; k++)
                    AGREE(table_role(table_of(&net.node[k]), s) == SHARD_STOPPED);
        }
    }
    install(7, 7);
    settle(7);
    equal_copies(7, 40);
    close_net();
}

/* While it serves, and others write. */
static void leave(uint32_t copies, const char *storage) {
    enum { ALL = 300 };
    struct node *gone = &net.node[0];
    uint64_t sum = 0, written = ALL;

    open_net(3, copies, storage, 20 + copies);
    install(7, 7);
    settle(7);
    fill(&net.node[1], 0, ALL);
    AGREE(size_of(gone) != 0);
    replica_say(gone->r, REPLICA_LEAVING);
    for (int round = 0; round < 6 && !replica_has_left(gone->r); round++) {
        install(7, 7);
        AGREE(copies == 3 || round != 0 || !replica_has_left(gone->r));
        settle(7);
        fill(&net.node[round % 3], written, written + 50);
        written += 50;
    }
    AGREE(replica_has_left(gone->r));
    run_ms(100);
    AGREE(size_of(gone) == 0 && replica_held_by(gone->r, gone->id) != 0);
    install(7, 7); /* it does not get again what it has let go */
    settle(7);
    run_ms(100);
    AGREE(size_of(gone) == 0 && replica_held_by(gone->r, gone->id) == 0);
    install(6, 6);
    settle(6);
    for (uint32_t i = 1; i < 3; i++)
        sum += size_of(&net.node[i]);
    AGREE(sum == written * EG_MIN(copies, 2u));
    for (uint64_t k = 0; k < written; k++) {
        struct node *m = master_of(&net.node[1], k);
        AGREE(m != NULL && m != gone);
        reader_enter(&m->w.reader);
        AGREE(get(m, k) != NULL);
        reader_exit(&m->w.reader);
    }
    close_net();
}

Test(replica, who_leaves_hands_over_what_it_has) {
    leave(1, "ram");
    leave(2, "ram");
    leave(2, "disc");
    leave(3, "ram");
}

/* Nobody else may have it: it is not handed over, and stays. */
Test(replica, who_has_the_only_copy_that_there_can_be_keeps_it) {
    open_net(2, 1, "ram", 24);
    install(3, 3);
    settle(3);
    fill(&net.node[0], 0, 100);
    replica_say(net.node[0].r, REPLICA_LEAVING);
    replica_say(net.node[1].r, REPLICA_LEAVING);
    for (int round = 0; round < 3; round++) {
        install(3, 3);
        settle(3);
        run_ms(100);
    }
    AGREE(!replica_has_left(net.node[0].r) && !replica_has_left(net.node[1].r));
    AGREE(size_of(&net.node[0]) + size_of(&net.node[1]) == 100);
    fill(&net.node[0], 100, 200);
    close_net();
}

/* Who stands in for it has nothing of it, and says so instead of serving that. */
Test(replica, what_only_one_has_who_is_away_is_not_served_empty) {
    struct node_info who = {.id = 1002};
    uint32_t lost = 0;

    open_net(3, 1, "ram", 25);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, 200);
    AGREE(size_of(&net.node[2]) != 0);
    reader_enter(&net.node[0].w.reader); /* it is gone, and the view has it still */
    AGREE(replica_only_with(net.node[0].r, &who) == table_of(&net.node[0]));
    reader_exit(&net.node[0].w.reader);
    net.away = 4;
    install(3, 7);
    settle(3);
    install(3, 7);
    settle(3);
    for (uint64_t k = 0; k < 200; k++)
        lost += master_of(&net.node[0], k) == NULL;
    reader_enter(&net.node[0].w.reader);
    AGREE(replica_only_with(net.node[0].r, &who) == table_of(&net.node[0]));
    reader_exit(&net.node[0].w.reader);
    net.away = 0;
    install(7, 7);
    settle(7);
    AGREE(lost == size_of(&net.node[2]));
    who.id++; /* and of one that never was there */
    reader_enter(&net.node[0].w.reader);
    AGREE(replica_only_with(net.node[0].r, &who) == NULL);
    reader_exit(&net.node[0].w.reader);
    fill(&net.node[0], 0, 200);
    close_net();
}

/* ---- a disc that takes no more */

static uint32_t roles_of(struct node *n, enum shard_role role) {
    uint32_t count = 0;

    for (uint32_t s = 0; s < SHARDS; s++)
        count += table_role(table_of(n), s) == role;
    return count;
}

/* Changes through node 0 of those keys whose master is or is not the last node. */
static void change(uint64_t to, bool of_last, bool goes) {
    memset(net.acked, 0, sizeof net.acked);
    for (uint64_t k = 0; k < to; k++)
        if ((master_of(&net.node[0], k) == &net.node[2]) == of_last)
            AGREE(ask(&net.node[0], SHARD_WRITE, k, 7));
    run_ms(200);
    for (uint64_t k = 0; k < to; k++)
        if ((master_of(&net.node[0], k) == &net.node[2]) == of_last)
            AGREE(net.acked[k] == goes);
}

static void disc_fills_up(const char *storage) {
    enum { ALL = 200 };
    struct node *full = &net.node[2];

    open_net(3, 0, storage, 30);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    AGREE(replica_watch(full->r)); /* the first report said little */
    disc_twin_set_full(full->w.pump.twin, true);
    change(ALL, true, false); /* another is to be master of these */
    change(ALL, false, true); /* and these do not wait for it    */
    AGREE(roles_of(full, SHARD_FILLING) != 0);
    AGREE(replica_watch(full->r));
    AGREE(strcmp(full->told, "filling") == 0);
    replica_say(full->r, REPLICA_DISC_FULL);
    for (int i = 0; i < 2; i++) {
        install(7, 7);
        run_ms(200);
        AGREE(roles_of(full, SHARD_FILLING) == SHARDS);
        fill(&net.node[i], 0, ALL);
    }
    reader_enter(&full->w.reader);
    AGREE(replica_state_of(full->r, full->id) == REPLICA_DISC_FULL);
    reader_exit(&full->w.reader);
    disc_twin_set_full(full->w.pump.twin, false); /* it follows by itself */
    settle(7);
    replica_say(full->r, 0);
    install(7, 7);
    settle(7);
    AGREE(!replica_watch(full->r));
    AGREE(strcmp(full->told, "full") == 0);
    fill(&net.node[0], 0, ALL);
    run_ms(100);
    equal_copies(7, ALL);
    close_net();
}

Test(replica, a_full_disc_stops_its_own_copies_only) {
    disc_fills_up("disc");
    disc_fills_up("sync");
    disc_fills_up("disc_only");
}

/* Nobody is better off: then changes are refused, and reads go on. */
Test(replica, where_all_discs_are_full_the_master_stays) {
    open_net(2, 0, "disc", 31);
    install(3, 3);
    settle(3);
    fill(&net.node[0], 0, 50);
    for (uint32_t i = 0; i < 2; i++) {
        disc_twin_set_full(net.node[i].w.pump.twin, true);
        replica_say(net.node[i].r, REPLICA_DISC_FULL);
    }
    install(3, 3);
    settle(3);
    for (uint64_t k = 0; k < 50; k++)
        AGREE(master_of(&net.node[0], k) != NULL);
    equal_copies(3, 50);
    for (uint32_t i = 0; i < 2; i++) {
        disc_twin_set_full(net.node[i].w.pump.twin, false);
        replica_say(net.node[i].r, 0);
    }
    fill(&net.node[0], 0, 50);
    close_net();
}

/* A view ends before anybody has heard what one side has, as in a network that is cut again and
 * again: what it acknowledged must be heard in the next one too, before others show what was. */
Test(replica, what_nobody_has_heard_of_one_side_is_heard_before_anybody_serves) {
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

/* It alone has all, and cannot take what another has besides, who would wait for it for ever. */
Test(replica, a_master_whose_disc_takes_nothing_makes_way_for_one_that_can_hear_it) {
    enum { BOTH = 50, LEFT = 60, ALL = 70 };
    struct node *full = &net.node[0], *other = &net.node[1];

    open_net(2, 0, "disc", 32);
    install(3, 3);
    settle(3);
    fill(full, 0, BOTH);
    cut(0, 1);
    install(1, 3);
    install(2, 3);
    run_ms(100);
    fill(full, BOTH, LEFT);
    fill(other, LEFT, ALL);
    restart(other, false); /* it does not say that it has all */
    memset(net.cut, 0, sizeof net.cut);
    disc_twin_set_full(full->w.pump.twin, true);
    replica_say(full->r, REPLICA_DISC_FULL);
    install(3, 3);
    run_ms(500);
    AGREE(full->progress && roles_of(other, SHARD_FILLING) != 0);
    for (int round = 0; round < 2; round++) {
        install(3, 3);
        run_ms(500);
        AGREE(roles_of(other, SHARD_ALONE) == SHARDS && size_of(other) == ALL);
        AGREE(roles_of(full, SHARD_FILLING) == SHARDS);
    }
    disc_twin_set_full(full->w.pump.twin, false);
    replica_say(full->r, 0);
    settle(3);
    equal_copies(3, ALL);
    close_net();
}

Test(replica, a_disc_node_that_restarts_gets_what_it_missed) {
    enum { ALL = 600, MISSED = 100 };
    uint64_t before, got;

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
    before = net.node[0].sent_bytes[2] + net.node[1].sent_bytes[2];
    install(7, 7);
    settle(7);
    got = net.node[0].sent_bytes[2] + net.node[1].sent_bytes[2] - before;
    cr_assert(got <= MISSED * RECORD_BYTES * 13 / 10, "%llu bytes", (unsigned long long) got);
    equal_copies(7, ALL + MISSED);
    close_net();
}

/* What each node has lost, another may have. */
Test(replica, all_lose_power_one_after_the_other) {
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

/* How many serve the key's shard, and how many of them have it. */
static uint32_t holders(uint64_t key, uint32_t *full) {
    uint8_t bytes[16];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    uint32_t has = 0, shard;
    struct key k;

    value_put_u64(&w, key);
    AGREE(table_key(table_of(&net.node[0]), &k, (struct value){bytes, (uint32_t) w.need_bytes}) ==
          EG_OK);
    shard = shard_of(table_of(&net.node[0]), k.hash)->number;
    key_release(&k);
    for (uint32_t i = 0; i < net.count; i++) {
        struct node *n = &net.node[i];

        if (table_role(table_of(n), shard) > SHARD_FULL)
            continue;
        ++*full;
        reader_enter(&n->w.reader);
        has += get(n, key) != NULL;
        reader_exit(&n->w.reader);
    }
    return has;
}

/* Nothing that was acknowledged is lost, whatever views and deaths of actors come between; also
 * where one copy alone has acknowledged it (some of them `dirty`). */
static void storm_of(const char *storage, uint32_t copies, bool dirty, uint64_t seed) {
    enum { ROUNDS = 25, A_ROUND = 40, KEYS = ROUNDS * A_ROUND };
    uint32_t mask = 7;

    open_net(3, copies, storage, seed);
    install(7, 7);
    for (uint64_t k = 0; k < KEYS; k++) {
        struct node *n = &net.node[rng_below(&net.rng, 3)];

        if (dirty && rng_one_in(&net.rng, 2))
            (void) ask_at(n, SHARD_WRITE, k, k, true);
        else
            (void) ask(n, SHARD_WRITE, k, k);
        if (rng_one_in(&net.rng, 3))
            run_ms(rng_below(&net.rng, 4));
        if (rng_one_in(&net.rng, 50)) {
            struct shard *s = &table_of(n)->shard[rng_below(&net.rng, SHARDS)];
            eg_exit kill = exit_reason(EG_EXIT_KILL);
            actor_exit_send(n->w.st->rt, EG_PID_NONE, shard_pid(s), &kill);
        }
        if (k % A_ROUND == A_ROUND - 1) {
            uint32_t alone = (uint32_t) rng_below(&net.rng, 4);

            memset(net.cut, 0, sizeof net.cut);
            mask = alone == 3 ? 7 : 7 & ~(1u << alone);
            for (uint32_t i = 0; i < 3 && alone != 3; i++)
                if (i != alone)
                    cut(i, alone);
            install(mask, 7);
            if (mask != 7)
                install(1u << alone, 7);
        }
    }
    memset(net.cut, 0, sizeof net.cut);
    install(7, 7);
    settle(7);
    run_ms(500);
    if (copies == 0)
        equal_copies(7, KEYS);
    for (uint64_t k = 0; k < KEYS; k++) {
        uint32_t full = 0, has = holders(k, &full);

        cr_assert(has == (net.acked[k] || has != 0 ? full : 0) && full >= (copies == 0 ? 3 : 2),
                  "EG_SEED=%llu key %llu: %u of %u", (unsigned long long) seed,
                  (unsigned long long) k, has, full);
    }
    close_net();
}

static void storm(const char *storage, uint32_t copies, uint64_t seed) {
    storm_of(storage, copies, false, seed);
}

Test(replica, storm_of_views_ram) {
    uint64_t seed = rng_test_seed(11);
    storm("ram", 0, seed);
    if (!rng_is_replay())
        storm("ram", 0, seed + 1);
}

Test(replica, storm_of_views_disc) {
    storm("disc", 0, rng_test_seed(21));
}

Test(replica, storm_of_views_two_copies) {
    uint64_t seed = rng_test_seed(31);

    storm("ram", 2, seed);
    if (!rng_is_replay())
        storm("ram", 2, 54); /* a master that had let its copy go before */
}

/* ---- dirty writes -----------------------------------------------------------------------------
 */

Test(replica, a_dirty_write_is_answered_by_its_own_copy) {
    open_net(3, 0, "ram", 14);
    install(7, 7);
    settle(7);
    for (uint64_t k = 0; k < 60; k++) {
        AGREE(ask_at(&net.node[k % 3], SHARD_WRITE, k, k, true));
        for (uint32_t i = 0; i < 3; i++)
            stepper_run(net.node[i].w.st); /* no packet has moved */
        AGREE(net.acked[k]);
        reader_enter(&net.node[k % 3].w.reader);
        cr_assert_not_null(get(&net.node[k % 3], k));
        reader_exit(&net.node[k % 3].w.reader);
    }
    run_ms(100);
    equal_copies(7, 60);
    cr_assert_eq(size_of(&net.node[1]), 60);
    for (uint64_t k = 0; k < 60; k++)
        AGREE(stands(&net.node[k % 3], k));
    close_net();
}

/* Where the others hear nothing, what waits for them ends; and goes on when they hear again. */
Test(replica, dirty_writes_are_refused_before_they_fill_memory) {
    enum { MOST = SHARDS * (SHARD_DIRTY_BYTES_MAX / RECORD_BYTES + 3) };
    uint64_t written = 0, made = 0;

    open_net(3, 0, "ram", 15);
    install(7, 7);
    settle(7);
    for (uint32_t writer = 0; writer < 3; writer++) {
        net.frozen = 7 & ~(1u << writer);
        memset(net.acked, 0, sizeof net.acked);
        for (uint64_t k = 0; k < 2 * MOST; k++) {
            AGREE(ask_at(&net.node[writer], SHARD_WRITE, k, writer, true));
            stepper_run(net.node[writer].w.st);
        }
        for (uint64_t k = written = 0; k < 2 * MOST; k++)
            written += net.acked[k];
        cr_assert(written > MOST / 2 && written <= MOST, "%llu", (unsigned long long) written);
        made = EG_MAX(made, written);
        net.frozen = 0;
        run_ms(200);
        equal_copies(7, 2 * MOST);
    }
    cr_assert_geq(size_of(&net.node[0]), made);
    close_net();
}

/* A copy that is not needed any more has written something that nobody else has. */
Test(replica, a_copy_tells_what_was_written_dirty_before_it_goes) {
    enum { ALL = 40, MORE = 60 };
    bool acked[MORE];

    open_net(4, 2, "ram", 16);
    install(1, 1);
    settle(1);
    fill(&net.node[0], 0, ALL);
    install(15, 15);
    settle(15);
    net.frozen = 14;
    for (uint64_t k = ALL; k < MORE; k++)
        AGREE(ask_at(&net.node[0], SHARD_WRITE, k, k, true));
    stepper_run(net.node[0].w.st);
    memcpy(acked, net.acked, sizeof acked);
    for (int i = 0; i < 3; i++) {
        install(15, 15);
        net.frozen = 0;
        settle(15);
        run_ms(200);
    }
    for (uint64_t k = 0; k < MORE; k++) {
        uint32_t full = 0, has = holders(k, &full);
        AGREE(full == 2 && has == (acked[k] ? 2 : 0));
        AGREE(acked[k]);
    }
    close_net();
}

/* The same few keys, from everywhere at once, with and without the others. */
static void quarrel(const char *storage, uint64_t seed) {
    enum { ROUNDS = 400, KEYS = 12 };

    open_net(3, 0, storage, seed);
    install(7, 7);
    settle(7);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t k = rng_below(&net.rng, KEYS);
        struct node *n = &net.node[rng_below(&net.rng, 3)];
        enum shard_op op = rng_one_in(&net.rng, 3) ? SHARD_DELETE : SHARD_WRITE;

        if (rng_one_in(&net.rng, 4))
            (void) ask(n, op, k, i);
        else
            (void) ask_at(n, op, k, i, true);
        if (rng_one_in(&net.rng, 3))
            net.frozen = (uint32_t) rng_below(&net.rng, 8);
        if (rng_one_in(&net.rng, 3))
            run_ms(rng_below(&net.rng, 4));
        if (rng_one_in(&net.rng, 40)) {
            net.frozen = 0;
            run_ms(3000); /* graves go */
        }
        if (rng_one_in(&net.rng, 60))
            install(7, 7);
    }
    net.frozen = 0;
    settle(7);
    run_ms(500);
    equal_copies(7, KEYS);
    close_net();
}

Test(replica, copies_that_are_written_at_once_become_equal) {
    uint64_t seed = rng_test_seed(51);

    for (uint64_t i = 0; i < (rng_is_replay() ? 1 : 4); i++)
        quarrel(i % 4 == 3 ? "disc" : "ram", seed + i);
}

Test(replica, storm_of_views_with_dirty_writes) {
    uint64_t seed = rng_test_seed(61);

    storm_of("ram", 0, true, seed);
    if (!rng_is_replay())
        storm_of("ram", 2, true, seed + 1);
}

/* Nodes that say anything: nobody falls over it, and each goes on in the next view. */
Test(replica, what_liars_say_breaks_nothing) {
    enum { ROUNDS = 40 };
    uint64_t seed = rng_test_seed(41);

    open_net(3, 0, "ram", seed);
    for (uint64_t k = 0; k < ROUNDS * 20; k++) {
        if (k % 20 == 0)
            install(7, 7);
        net.lying = true;
        (void) ask(&net.node[k % 3], k % 7 == 6 ? SHARD_DELETE : SHARD_WRITE, k % 100, k);
        (void) ask_at(&net.node[k % 3], SHARD_WRITE, k % 90, k, true);
        run_ms(rng_below(&net.rng, 5));
        net.lying = false;
    }
    for (uint32_t i = 0; i < 3; i++) {
        reader_enter(&net.node[i].w.reader);
        for (uint32_t s = 0; s < SHARDS; s++)
            shard_clock_check(&table_of(&net.node[i])->shard[s].copy->clock);
        reader_exit(&net.node[i].w.reader);
    }
    close_net();
}
