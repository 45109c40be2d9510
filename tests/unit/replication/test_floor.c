/* Goal: what was deleted stays so, also where the delete is forgotten and a copy that has not heard
 * of it comes back.  Method: discs put back as they were, on a network that is moved by hand. */
#include "tests/support/replica_net.h"

#include "tables/shard_floor.h"
#include "tables/table_private.h"

#include <criterion/criterion.h>

enum { ALL = 120, DELETED = 40, CHANGED = 80, FORGET_MS = 5000 };

static uint64_t graves_of(struct node *n) {
    uint64_t graves = 0;

    for (uint32_t s = 0; s < SHARDS; s++)
        graves += table_of(n)->shard[s].copy->graves.count;
    return graves;
}

static void forget_all(void) {
    run_ms(FORGET_MS);
    for (uint32_t i = 0; i < net.count; i++)
        AGREE(graves_of(&net.node[i]) == 0);
}

/* Of 0 .. ALL-1: the first are deleted, then some changed, the others as they were. */
static void change(void) {
    for (uint64_t k = 0; k < DELETED; k++)
        AGREE(ask(&net.node[0], SHARD_DELETE, k, 0));
    run_ms(50);
    for (uint64_t k = DELETED; k < CHANGED; k++)
        AGREE(ask(&net.node[0], SHARD_WRITE, k, k + 1000));
    run_ms(50);
}

static struct disc_twin *disc_of(uint32_t node) {
    struct disc_twin *copy;

    AGREE(table_world_ask(&net.node[node].w, CATALOG_SYNC, "t", (struct value){0}) == EG_OK);
    AGREE(disc_twin_copy(&copy, net.node[node].w.pump.twin) == EG_OK);
    return copy;
}

/* All copies of `mask` are what change() left. */
static void is_as_changed(uint32_t mask) {
    for (uint32_t i = 0; i < net.count; i++) {
        if ((mask & 1u << i) == 0)
            continue;
        AGREE(size_of(&net.node[i]) == ALL - DELETED);
        reader_enter(&net.node[i].w.reader);
        table_world_check(&net.node[i].w, table_of(&net.node[i]));
        for (uint64_t k = 0; k < ALL; k++) {
            uint8_t bytes[RECORD_BYTES + 32];
            const struct record *rec = get(&net.node[i], k);
            struct value v = record_of(bytes, sizeof bytes, k, k < CHANGED ? k + 1000 : k);

            AGREE((rec == NULL) == (k < DELETED));
            if (rec != NULL)
                AGREE(value_equal(record_value(rec), v));
        }
        reader_exit(&net.node[i].w.reader);
    }
}

static void heal(void) {
    memset(net.cut, 0, sizeof net.cut);
}

/* ---- an old disc ---------------------------------------------------------------------------- */

static void old_disc(const char *storage, uint32_t node, bool others_too) {
    struct disc_twin *old;

    open_net(3, 0, storage, 51 + node);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    old = disc_of(node);
    change();
    forget_all();
    for (uint32_t i = 0; i < 3; i++)
        if (i != node)
            cut(i, node);
    restart_with(&net.node[node], old);
    for (uint32_t i = 0; i < 3 && others_too; i++)
        if (i != node)
            restart(&net.node[i], false);
    heal();
    install(7, 7);
    settle(7);
    is_as_changed(7);
    fill(&net.node[0], ALL, ALL + 10);
    equal_copies(7, ALL + 10);
    close_net();
}

Test(floor, an_old_disc_shows_nothing_that_was_deleted) {
    for (uint32_t node = 0; node < 3; node++)
        old_disc("disc", node, false);
}

Test(floor, nor_does_that_of_a_disc_only_table) {
    old_disc("disc_only", 2, false);
}

/* All have just been started: whoever has the old one may be the master. */
Test(floor, nor_where_the_master_has_the_old_disc) {
    for (uint32_t node = 0; node < 3; node++)
        old_disc("disc", node, true);
}

/* What it has written since then, with the others away, is its own and stays. */
Test(floor, what_only_the_old_disc_has_is_not_lost) {
    struct disc_twin *old;

    open_net(3, 0, "disc", 57);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    old = disc_of(2);
    change();
    forget_all();
    cut(0, 2);
    cut(1, 2);
    restart_with(&net.node[2], old);
    install(3, 7);
    install(4, 7);
    settle(7);
    fill(&net.node[2], ALL, ALL + 20);
    AGREE(size_of(&net.node[2]) == ALL + 20);
    heal();
    install(7, 7);
    settle(7);
    equal_copies(7, ALL + 20);
    for (uint32_t i = 0; i < 3; i++)
        AGREE(size_of(&net.node[i]) == ALL - DELETED + 20);
    close_net();
}

/* The copy that knows may come last, and itself have it from another. */
Test(floor, who_is_full_since_knows_what_was_forgotten_before) {
    struct disc_twin *old;

    open_net(3, 0, "disc", 58);
    install(3, 7);
    settle(3);
    fill(&net.node[0], 0, ALL);
    net.count = 2; /* forget_all() looks at these */
    old = disc_of(1);
    change();
    install(3, 3); /* nobody else is known */
    settle(3);
    forget_all();
    net.count = 3;
    install(7, 7);
    settle(7);
    cut(0, 2);
    cut(0, 1);
    cut(1, 2);
    restart(&net.node[2], false);
    restart_with(&net.node[1], old);
    net.cut[1][2] = net.cut[2][1] = false;
    install(6, 7);
    settle(6);
    is_as_changed(6);
    heal();
    install(7, 7);
    settle(7);
    is_as_changed(7);
    close_net();
}

/* Two with old discs, and one that knows comes later. */
Test(floor, those_who_were_told_by_an_old_disc_let_go_too) {
    struct disc_twin *old[2];

    open_net(3, 0, "disc", 59);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    old[0] = disc_of(0);
    old[1] = disc_of(1);
    change();
    forget_all();
    for (uint32_t i = 0; i < 2; i++) {
        cut(i, 2);
        cut(0, 1);
        restart_with(&net.node[i], old[i]);
    }
    restart(&net.node[2], false);
    net.cut[0][1] = net.cut[1][0] = false;
    install(3, 7);
    settle(3);
    AGREE(size_of(&net.node[0]) == ALL && size_of(&net.node[1]) == ALL); /* nobody knows better */
    heal();
    install(7, 7);
    settle(7);
    run_ms(1000);
    settle(7);
    is_as_changed(7);
    close_net();
}

/* ---- deletes that were forgotten before all had heard of them -------------------------------- */

static void away_for_long(const char *storage) {
    enum { GRAVES_BYTES = 600 };

    open_net_with(3, 0, storage, 62, GRAVES_BYTES);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    cut(0, 2);
    cut(1, 2);
    install(3, 7);
    settle(3);
    change();
    run_ms(1000);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t bytes = 0;

        for (uint32_t s = 0; s < SHARDS; s++)
            bytes += table_of(&net.node[i])->shard[s].copy->graves.bytes;
        AGREE(bytes <= GRAVES_BYTES && graves_of(&net.node[i]) < DELETED);
    }
    install(4, 7);
    settle(4);
    fill(&net.node[2], ALL, ALL + 20);
    AGREE(size_of(&net.node[2]) == ALL + 20);
    heal();
    install(7, 7);
    settle(7);
    for (uint32_t i = 0; i < 3; i++)
        AGREE(size_of(&net.node[i]) == ALL - DELETED + 20);
    equal_copies(7, ALL + 20);
    close_net();
}

Test(floor, who_was_away_for_long_brings_nothing_back) {
    away_for_long("ram");
    away_for_long("disc");
    away_for_long("disc_only");
}

/* Node 2 wrote what node 1 has deleted since and forgotten, and node 0 deleted and remembers.
 * Whichever of 1 and 2 is master when they meet, node 0 comes to the same as they. */
static void meet_before_who_remembers(const char *storage) {
    open_net(3, 0, storage, 64);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    cut(0, 2);
    cut(1, 2);
    install(3, 7);
    install(4, 7);
    settle(7);
    for (uint64_t k = 0; k < DELETED; k++)
        AGREE(ask(&net.node[2], SHARD_WRITE, k, k + 2000));
    run_ms(50);
    change();
    for (uint32_t s = 0; s < SHARDS; s++)
        shard_floor_cut(&table_of(&net.node[1])->shard[s], NULL, 0);
    AGREE(graves_of(&net.node[0]) == DELETED && graves_of(&net.node[1]) == 0);
    cut(0, 1);
    net.cut[1][2] = net.cut[2][1] = false;
    install(6, 7);
    settle(6);
    heal();
    install(7, 7);
    settle(7);
    equal_copies(7, ALL);
    for (uint32_t i = 0; i < 3; i++)
        AGREE(size_of(&net.node[i]) == ALL);
    close_net();
}

Test(floor, who_forgot_meets_who_never_heard_before_who_remembers) {
    meet_before_who_remembers("ram");
    meet_before_who_remembers("disc");
    meet_before_who_remembers("disc_only");
}

/* A copy's dirty writes are on their way to the master, which deletes the same records meanwhile
 * and has no room to remember that. */
Test(floor, what_comes_up_late_does_not_outlive_a_delete_that_was_told) {
    enum { GRAVES_BYTES = 60 };
    uint32_t count = 0;

    open_net_with(3, 0, "ram", 65, GRAVES_BYTES);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    net.frozen = 1;
    for (uint64_t k = 0; k < ALL; k++)
        if (master_of(&net.node[0], k) == &net.node[0])
            AGREE(ask_at(&net.node[1], SHARD_WRITE, k, k + 5000, true));
    run_ms(5);
    for (uint64_t k = 0; k < ALL; k++)
        if (master_of(&net.node[0], k) == &net.node[0]) {
            AGREE(ask_at(&net.node[0], SHARD_DELETE, k, 0, false));
            count++;
        }
    AGREE(count > 10);
    run_ms(1000);
    net.frozen = 0;
    run_ms(2000);
    equal_copies(7, ALL);
    for (uint32_t i = 0; i < 3; i++)
        AGREE(size_of(&net.node[i]) == ALL - count);
    close_net();
}

/* ---- what it costs ----------------------------------------------------------------------------
 */

static uint64_t to_node(uint32_t node) {
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < net.count; i++)
        bytes += net.node[i].sent_bytes[node];
    return bytes;
}

/* Who has heard of what is forgotten is not asked about what it has. */
Test(floor, who_was_there_when_it_was_forgotten_is_told_changes_alone) {
    uint64_t before, got;

    open_net(3, 0, "disc", 60);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    change();
    forget_all();
    cut(0, 2);
    cut(1, 2);
    install(3, 7);
    settle(3);
    fill(&net.node[0], ALL, ALL + 5);
    heal();
    before = to_node(2);
    net.node[2].sent_bytes[0] = net.node[2].sent_bytes[1] = 0;
    install(7, 7);
    settle(7);
    got = to_node(2) - before;
    cr_assert(got < 5 * RECORD_BYTES + SHARDS * 600, "%llu", (unsigned long long) got);
    got = net.node[2].sent_bytes[0] + net.node[2].sent_bytes[1];
    cr_assert(got < SHARDS * 400, "%llu", (unsigned long long) got);
    equal_copies(7, ALL + 5);
    close_net();
}

/* The floor lies on the disc. */
Test(floor, it_is_known_after_a_restart) {
    struct disc_twin *old;

    open_net(2, 0, "disc", 61);
    install(3, 3);
    settle(3);
    fill(&net.node[0], 0, ALL);
    old = disc_of(1);
    change();
    forget_all();
    cut(0, 1);
    restart(&net.node[0], false);
    restart_with(&net.node[1], old);
    install(1, 3);
    install(2, 3);
    settle(3);
    heal();
    install(3, 3);
    settle(3);
    is_as_changed(3);
    close_net();
}
