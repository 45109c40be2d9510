/* Goal: a change is answered and shown when all copies have it, and a copy does what its shard and
 * its table ask for whatever the others hear.  Method: replica_net.h. */
#include "tests/support/replica_net.h"

#include "tables/table_private.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>

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
