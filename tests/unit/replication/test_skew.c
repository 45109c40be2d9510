/* Goal: a node whose clock is wrong does no harm to what others write.  Method: copies on a network
 * that is moved by hand (replica_net.h). */
#include "tests/support/replica_net.h"

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
