/* Goal: an answer that waits for copies is given in the next view, where nobody can have gone on
 * without it, and is in doubt where somebody can.
 * Method: replica_net.h; the copies hear nothing of a change before the view ends. */
#include "tests/support/replica_net.h"

#include <criterion/criterion.h>

enum { KEYS = 24, ALL = 7 };

TestSuite(replica_views, .timeout = 240);

/* Half of the keys are there already, and are removed. */
static void open_and_fill(const char *storage, uint64_t seed) {
    open_net(3, 3, storage, seed);
    install(ALL, ALL);
    settle(ALL);
    fill(&net.node[0], 0, KEYS / 2);
    memset(net.acked, 0, sizeof net.acked);
    net.doubts = 0;
}

/* Changes of all keys, which no other copy hears of. */
static void change_unheard(void) {
    net.frozen = ALL;
    for (uint64_t k = 0; k < KEYS; k++)
        AGREE(ask(&net.node[0], k < KEYS / 2 ? SHARD_DELETE : SHARD_WRITE, k, k));
    run_ms(5);
    for (uint64_t k = 0; k < KEYS; k++)
        AGREE(!net.acked[k]);
}

static void they_are_answered_in_the_next_view(const char *storage, uint64_t seed) {
    open_and_fill(storage, seed);
    change_unheard();
    install(ALL, ALL); /* nothing arrives while it is made, and what was said in the old is late */
    net.frozen = 0;
    settle(ALL);
    run_ms(200);
    cr_assert_eq(net.doubts, 0, "%s: %u in doubt", storage, net.doubts);
    for (uint64_t k = 0; k < KEYS; k++)
        AGREE(net.acked[k]);
    equal_copies(ALL, KEYS);
    cr_assert_eq(size_of(&net.node[0]), KEYS / 2);
    close_net();
}

Test(replica_views, what_waits_is_answered_in_the_next) {
    they_are_answered_in_the_next_view("ram", 1);
    they_are_answered_in_the_next_view("sync", 2);
}

Test(replica_views, what_waits_for_a_majority_is_answered_in_the_next) {
    they_are_answered_in_the_next_view("majority", 3);
}

/* Node 0 is cut off with what it has not told; the others go on with a view of their own, and
 * change the same keys.  What was asked of it before may be as if it had never been, also where
 * they `forget`, and it is as good as any. */
static void others_go_on_without(bool forget) {
    uint32_t waiting = 0;

    open_and_fill("majority", 4);
    change_unheard();
    net.frozen = 0;
    cut(0, 1);
    cut(0, 2);
    run_ms(20);
    memset(net.acked, 0, sizeof net.acked);
    for (uint64_t k = 0; k < KEYS; k++)
        waiting += master_of(&net.node[0], k) == &net.node[0];
    AGREE(waiting != 0);
    install(6, ALL);
    settle(6);
    fill(&net.node[1], 0, KEYS);
    for (uint32_t i = 1; i < 3 && forget; i++)
        restart(&net.node[i], false);
    memset(net.acked, 0, sizeof net.acked);
    net.doubts = 0;
    memset(net.cut, 0, sizeof net.cut);
    install(ALL, ALL);
    settle(ALL);
    run_ms(200);
    cr_assert_eq(net.doubts, waiting);
    for (uint64_t k = 0; k < KEYS; k++)
        AGREE(!net.acked[k]);
    equal_copies(ALL, KEYS);
    close_net();
}

Test(replica_views, what_a_majority_went_on_without_is_in_doubt) {
    others_go_on_without(false);
    others_go_on_without(true);
}
