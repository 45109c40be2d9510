/* Goal: nothing that was acknowledged is lost, by all copies or, dirty, by one alone, whatever
 * views and deaths of actors come between.  Method: replica_net.h. */
#include "tests/support/replica_net.h"

#include "tables/table_private.h"

#include <criterion/criterion.h>
#include <string.h>

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

Test(replica_storm, storm_of_views_ram) {
    uint64_t seed = rng_test_seed(11);
    storm("ram", 0, seed);
    if (!rng_is_replay())
        storm("ram", 0, seed + 1);
}

Test(replica_storm, storm_of_views_disc) {
    storm("disc", 0, rng_test_seed(21));
}

Test(replica_storm, storm_of_views_two_copies) {
    uint64_t seed = rng_test_seed(31);

    storm("ram", 2, seed);
    if (!rng_is_replay())
        storm("ram", 2, 54); /* a master that had let its copy go before */
}

Test(replica_storm, storm_of_views_with_dirty_writes) {
    uint64_t seed = rng_test_seed(61);

    storm_of("ram", 0, true, seed);
    if (!rng_is_replay())
        storm_of("ram", 2, true, seed + 1);
}

/* ---- dirty writes ---------------------------------------------------------------------------- */

Test(replica_storm, a_dirty_write_is_answered_by_its_own_copy) {
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
Test(replica_storm, dirty_writes_are_refused_before_they_fill_memory) {
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
Test(replica_storm, a_copy_tells_what_was_written_dirty_before_it_goes) {
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

Test(replica_storm, copies_that_are_written_at_once_become_equal) {
    uint64_t seed = rng_test_seed(51);

    for (uint64_t i = 0; i < (rng_is_replay() ? 1 : 4); i++)
        quarrel(i % 4 == 3 ? "disc" : "ram", seed + i);
}
