/* Goal: copies are where they belong in a view: they move there, are handed over by who leaves, and
 * are not made up where who has the only one is away.  Method: replica_net.h. */
#include "tests/support/replica_net.h"

#include <criterion/criterion.h>

/* Two copies on four nodes: who is placed gets one, who is not lets go of his. */
Test(replica_move, copies_move_to_where_they_belong) {
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

Test(replica_move, who_leaves_hands_over_what_it_has) {
    leave(1, "ram");
    leave(2, "ram");
    leave(2, "disc");
    leave(3, "ram");
}

/* Nobody else may have it: it is not handed over, and stays. */
Test(replica_move, who_has_the_only_copy_that_there_can_be_keeps_it) {
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
Test(replica_move, what_only_one_has_who_is_away_is_not_served_empty) {
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
