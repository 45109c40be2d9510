/* Goal: words between copies that come late, find no memory, or are lies break nothing.
 * Method: replica_net.h. */
#include "tests/support/replica_net.h"

#include "tables/table_private.h"

#include <criterion/criterion.h>

/* The copies of node b follow their masters of node a anew, and those its. */
static void follow_anew(uint32_t a, uint32_t b) {
    reader_enter(&net.node[b].w.reader);
    replica_node_down(net.node[b].r, net.node[a].id);
    reader_exit(&net.node[b].w.reader);
}

/* A FOLLOW from before comes once more: who asked has been counted since, and still is. */
Test(replica_late, a_follow_that_comes_late_makes_nobody_uncounted) {
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
        filling += roles_of(&net.node[i], SHARD_FILLING);
    cr_assert(filling == SHARDS, "%u of %u copies wait", filling, (uint32_t) SHARDS);
    cr_assert_geq(replica_late(net.node[0].r) + replica_late(net.node[1].r), SHARDS);
    net.lost = 0;
    settle(3);
    close_net();
}

Test(replica_late, a_serve_that_comes_late_lets_nobody_serve) {
    nobody_serves_after(REPLICA_SERVE);
}

Test(replica_late, a_covered_that_comes_late_makes_nobody_counted) {
    nobody_serves_after(REPLICA_COVERED);
}

/* What another node said and there was no memory for is known to be missing. */
Test(replica_late, what_there_is_no_memory_for_is_said_again) {
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

/* Nodes that say anything: nobody falls over it, and each goes on in the next view. */
Test(replica_late, what_liars_say_breaks_nothing) {
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
