/* Goal: a node whose clock is wrong does no harm to what others write.  Method: copies on a network
 * that is moved by hand (replica_net.h). */
#include "tests/support/replica_net.h"

#include "engine/env.h"
#include "tables/shard_stamp.h"
#include "tables/table_private.h"

#include <criterion/criterion.h>

enum { ALL = 60 };

static uint32_t masters_of(uint32_t node) {
    uint32_t masters = 0;

    for (uint32_t s = 0; s < SHARDS; s++)
        masters += replica_master(net.node[0].r, table_of(&net.node[0]), s) == net.node[node].id;
    return masters;
}

Test(skew, who_says_that_its_clock_is_wrong_is_no_master) {
    open_net(3, 0, "ram", 71);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    for (uint32_t wrong = 0; wrong < 3; wrong++) {
        for (uint32_t i = 0; i < 3; i++)
            replica_say(net.node[i].r, i == wrong ? REPLICA_SKEWED : 0);
        install(7, 7);
        settle(7);
        AGREE(masters_of(wrong) == 0);
        fill(&net.node[wrong], 0, ALL + 10);
        equal_copies(7, ALL + 10);
    }
    for (uint32_t i = 0; i < 3; i++) /* nobody is better than another */
        replica_say(net.node[i].r, REPLICA_SKEWED);
    install(7, 7);
    settle(7);
    AGREE(masters_of(0) + masters_of(1) + masters_of(2) == SHARDS);
    fill(&net.node[0], 0, ALL);
    close_net();
}

Test(skew, where_nobody_else_has_it_the_master_stays) {
    open_net(2, 0, "ram", 72);
    install(1, 3);
    settle(1);
    fill(&net.node[0], 0, ALL);
    replica_say(net.node[0].r, REPLICA_SKEWED);
    install(3, 3);
    settle(3);
    AGREE(masters_of(0) == SHARDS); /* the other is filled by it */
    install(3, 3);
    settle(3);
    AGREE(masters_of(1) == SHARDS);
    equal_copies(3, ALL);
    close_net();
}

/* ---- stamps that are ahead --------------------------------------------------------------------
 */

enum { HOUR_MS = 3600 * 1000, THEIRS = 40 };

static uint64_t wall_of(uint32_t node) {
    return (uint64_t) env_wall_ms(&net.node[node].w.st->env);
}

/* The clocks of a node's shards are its own. */
static void is_in_time(uint32_t node) {
    for (uint32_t s = 0; s < SHARDS; s++)
        AGREE(table_of(&net.node[node])->shard[s].hlc >> 16 <=
              wall_of(node) + SHARD_STAMP_AHEAD_MS);
}

static uint64_t stamp_of(uint32_t node, uint64_t key) {
    const struct record *rec;
    uint64_t hlc;

    reader_enter(&net.node[node].w.reader);
    rec = get(&net.node[node], key);
    hlc = rec == NULL ? 0 : rec->hlc;
    reader_exit(&net.node[node].w.reader);
    return hlc;
}

/* Node 2's clock is an hour ahead, and on its side of a cut it has written and deleted. */
static void open_ahead(const char *storage, uint64_t seed) {
    open_net(3, 0, storage, seed);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    cut(0, 2);
    cut(1, 2);
    net.node[2].w.st->wall_ahead_ms = HOUR_MS;
    install(3, 7);
    install(4, 7);
    settle(7);
    fill(&net.node[2], 0, THEIRS / 2);
    for (uint64_t k = THEIRS / 2; k < THEIRS; k++)
        AGREE(ask(&net.node[2], SHARD_DELETE, k, 0));
    run_ms(50);
    memset(net.cut, 0, sizeof net.cut);
    replica_say(net.node[2].r, REPLICA_SKEWED);
    install(7, 7);
    settle(7);
    equal_copies(7, ALL);
}

static void closes(void) {
    run_ms(1000);
    equal_copies(7, ALL + 10);
    is_in_time(0);
    is_in_time(1);
    close_net();
}

static void later_writes_win(const char *storage) {
    open_ahead(storage, 73);
    AGREE(stamp_of(0, 0) >> 16 > wall_of(0) + HOUR_MS / 2 && stamp_of(0, THEIRS) != 0);
    AGREE(size_of(&net.node[1]) == ALL - THEIRS / 2);
    is_in_time(0);
    is_in_time(1);
    for (uint64_t k = 0; k < ALL + 10; k++)
        AGREE(ask(&net.node[0], SHARD_WRITE, k, k + 1000));
    run_ms(100);
    for (uint64_t k = 0; k < ALL + 10; k++) {
        AGREE(stamp_of(2, k) == stamp_of(0, k) && stamp_of(1, k) == stamp_of(0, k));
        AGREE((stamp_of(0, k) >> 16 > wall_of(0) + HOUR_MS / 2) == (k < THEIRS));
    }
    AGREE(size_of(&net.node[2]) == ALL + 10);
    closes();
}

Test(skew, who_writes_what_was_stamped_ahead_writes_later) {
    later_writes_win("ram");
    later_writes_win("disc");
    later_writes_win("disc_only");
}

/* Nodes 0 and 1 are an hour ahead; what node 2 has written, the greater, is over there. */
Test(skew, what_is_over_for_who_merges_was_removed_when_it_was_written) {
    open_net(3, 0, "max", 76);
    install(7, 7);
    settle(7);
    cut(0, 2);
    cut(1, 2);
    net.node[0].w.st->wall_ahead_ms = net.node[1].w.st->wall_ahead_ms = HOUR_MS;
    install(3, 7);
    install(4, 7);
    settle(7);
    net.ttl_ms = HOUR_MS / 2;
    for (uint64_t k = 0; k < ALL; k++)
        AGREE(ask(&net.node[2], SHARD_WRITE, k, k + 1000));
    net.ttl_ms = 0;
    fill(&net.node[0], 0, ALL);
    memset(net.cut, 0, sizeof net.cut);
    replica_say(net.node[2].r, REPLICA_SKEWED);
    install(7, 7);
    settle(7);
    run_ms(1000);
    equal_copies(7, ALL);
    for (uint32_t i = 0; i < 3; i++)
        for (uint64_t k = 0; k < ALL; k++) {
            uint8_t bytes[RECORD_BYTES + 32];

            reader_enter(&net.node[i].w.reader);
            AGREE(get(&net.node[i], k) != NULL &&
                  value_equal(record_value(get(&net.node[i], k)),
                              record_of(bytes, sizeof bytes, k, k)));
            reader_exit(&net.node[i].w.reader);
        }
    close_net();
}

Test(skew, a_clear_is_later_than_all_and_so_is_what_comes_then) {
    open_ahead("ram", 74);
    clear_all(&net.node[0]);
    run_ms(100);
    for (uint32_t i = 0; i < 3; i++)
        AGREE(size_of(&net.node[i]) == 0);
    fill(&net.node[0], 0, ALL + 10);
    AGREE(size_of(&net.node[2]) == ALL + 10);
    closes();
}

Test(skew, it_stays_so_after_a_restart) {
    open_ahead("disc", 75);
    restart(&net.node[0], false);
    restart(&net.node[1], false);
    install(7, 7);
    settle(7);
    is_in_time(0);
    is_in_time(1);
    for (uint64_t k = 0; k < ALL + 10; k++)
        AGREE(ask(&net.node[1], SHARD_WRITE, k, k + 1000));
    run_ms(100);
    AGREE(size_of(&net.node[0]) == ALL + 10);
    closes();
}
