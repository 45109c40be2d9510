/* Goal: a disc that is full or broken stops its own copies, and others go on where they can.
 * Method: replica_net.h. */
#include "tests/support/replica_net.h"

#include <criterion/criterion.h>
#include <string.h>

/* It can neither take what it lacks nor say that it has it, and nobody waits for it. */
Test(replica_disc, others_go_on_without_the_copies_of_a_broken_disc) {
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

Test(replica_disc, a_full_disc_stops_its_own_copies_only) {
    disc_fills_up("disc");
    disc_fills_up("sync");
    disc_fills_up("disc_only");
}

/* Nobody is better off: then changes are refused, and reads go on. */
Test(replica_disc, where_all_discs_are_full_the_master_stays) {
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

/* It alone has all, and cannot take what another has besides, who would wait for it for ever. */
Test(replica_disc, a_master_whose_disc_takes_nothing_makes_way_for_one_that_can_hear_it) {
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
