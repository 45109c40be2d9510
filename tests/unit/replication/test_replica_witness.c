/* Goal: copies answer another node's requests (witness.h), and the master where they cannot.
 * Method: replica_net.h. */
#include "tests/support/replica_net.h"

#include "tables/far.h"
#include "tables/route.h"
#include "tables/table_private.h"
#include "tables/transact.h"

#include <criterion/criterion.h>
#include <string.h>

enum { KEYS = 40, LATE_MS = 5 };

TestSuite(replica_witness, .timeout = 240);

static struct node *master_at(uint64_t key) {
    struct node *m = master_of(&net.node[0], key);

    AGREE(m != NULL);
    return m;
}

static uint32_t shard_of_key(struct node *n, uint64_t key) {
    uint8_t bytes[16];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);

    value_put_u64(&w, key);
    return table_shard_of_key(table_of(n), (struct value){bytes, (uint32_t) w.need_bytes});
}

/* Another node than the master asks it; nobody has answered yet. */
static struct node *ask_for_another(uint64_t key) {
    struct node *m = master_at(key);

    memset(&net.witness, 0, sizeof net.witness);
    net.witness.for_node = net.node[(m - net.node + 1) % 3].id;
    AGREE(ask_at(m, SHARD_WRITE, key, 1000 + key, false));
    net.witness.for_node = 0;
    return m;
}

static void ask_to_settle(struct node *n, uint64_t ref) {
    struct message *m;
    eg_pid to;

    reader_enter(&n->w.reader);
    AGREE(table_settle_message(table_of(n), shard_of_key(n, ref), &to, &m) == EG_OK);
    reader_exit(&n->w.reader);
    m->ref = ref;
    net.acked[ref] = false;
    AGREE(runtime_send(n->w.st->rt, n->client, to, m) == EG_OK);
}

static void open_three(const char *storage) {
    open_net(3, 0, storage, 1);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, KEYS);
    run_ms(100);
    memset(net.acked, 0, sizeof net.acked);
}

Test(replica_witness, each_copy_says_to_who_asked_that_it_has_it) {
    open_three("ram");
    for (uint64_t k = 0; k < KEYS; k++) {
        ask_for_another(k);
        run_ms(2);
        AGREE(net.witness.told == 1); /* the copy of who asked */
        AGREE(net.witness.have == 1); /* the third */
        run_ms(100);
        AGREE(net.witness.answered == 0); /* nobody needs the master */
        AGREE(!net.acked[k]);
    }
    equal_copies(7, KEYS);
    close_net();
}

/* A part of transaction number `key`, that writes its record, or its end; or one that is made at
 * once. */
static void ask_for_part(enum shard_op op, uint64_t key) {
    const struct transact_head head = {.id = {op == SHARD_TX_ONE ? 2 : 1, key}, .age = {1, 1, key}};
    struct node *m = master_at(key);
    uint8_t record[RECORD_BYTES];
    struct transact_want want = {.table = table_of(m),
                                 .shard = shard_of_key(m, key),
                                 .request = {.op = SHARD_WRITE,
                                             .attribute = SHARD_NO_ATTRIBUTE,
                                             .value = record_of(record, sizeof record, key, key)}};
    const struct transact all = {.want = &want, .want_count = 1};
    struct shard_request q = {.op = op,
                              .attribute = SHARD_NO_ATTRIBUTE,
                              .for_node = net.node[(m - net.node + 1) % 3].id,
                              .for_number = key};
    struct buffer packed, part;
    struct message *msg;
    eg_pid to;

    memset(&net.witness, 0, sizeof net.witness);
    buffer_init(&packed, alloc_system(), SIZE_MAX);
    buffer_init(&part, alloc_system(), SIZE_MAX);
    AGREE(transact_pack_head(&head, &packed) == EG_OK);
    AGREE(transact_pack_part(&all, table_of(m), want.shard, &part) == EG_OK);
    q.key = (struct value){packed.at, (uint32_t) packed.size_bytes};
    if (op != SHARD_TX_COMMIT)
        q.value = (struct value){part.at, (uint32_t) part.size_bytes};
    reader_enter(&m->w.reader);
    AGREE(transact_message(table_of(m), want.shard, &q, &to, &msg) == EG_OK);
    reader_exit(&m->w.reader);
    msg->ref = key;
    net.acked[key] = false;
    AGREE(runtime_send(m->w.st->rt, m->client, to, msg) == EG_OK);
    buffer_fini(&packed);
    buffer_fini(&part);
}

Test(replica_witness, so_it_does_of_what_transactions_prepare_and_end) {
    static const enum shard_op ops[] = {SHARD_TX_PREPARE, SHARD_TX_COMMIT, SHARD_TX_ONE};

    open_three("ram");
    for (uint64_t k = 0; k < KEYS; k++)
        for (uint32_t i = 0; i < EG_COUNTOF(ops); i++) {
            ask_for_part(ops[i], k);
            run_ms(2);
            AGREE(net.witness.told == 1 && net.witness.have == 1);
            run_ms(100);
            AGREE(net.witness.answered == 0);
            AGREE(!net.acked[k]);
        }
    /* What is known changes nothing: the master answers. */
    for (uint32_t i = 1; i < EG_COUNTOF(ops); i++) {
        ask_for_part(ops[i], 0);
        run_ms(100);
        AGREE(net.witness.told == 0 && net.acked[0]);
    }
    equal_copies(7, KEYS);
    close_net();
}

Test(replica_witness, the_master_counts_in_a_while_or_when_a_read_waits) {
    open_three("ram");
    for (uint64_t k = 0; k < KEYS; k++) {
        struct node *m = ask_for_another(k);
        struct shard *s;

        run_ms(2);
        reader_enter(&m->w.reader);
        s = table_shard(table_of(m), shard_of_key(m, k));
        AGREE(!shard_is_stable(s));
        if (k % 2 == 0) {
            ask_to_settle(m, k);
            run_ms(2);
            AGREE(net.acked[k]);
        } else {
            run_ms(2 * LATE_MS);
        }
        AGREE(shard_is_stable(s));
        reader_exit(&m->w.reader);
        run_ms(100);
    }
    close_net();
}

Test(replica_witness, the_master_answers_where_the_copy_of_who_asked_began_anew) {
    open_three("ram");
    for (uint64_t k = 0; k < 8; k++) {
        net.lost = 1u << REPLICA_CHANGES;
        ask_for_another(k);
        run_ms(2);
        net.lost = 0;
        AGREE(net.witness.told == 0 && net.witness.answered == 0);
        install(7, 7);
        settle(7);
        run_ms(200);
        AGREE(net.witness.answered == 1 && net.witness.outcome == EG_OK);
    }
    equal_copies(7, KEYS);
    close_net();
}

Test(replica_witness, what_is_to_be_on_disc_first_is_answered_by_the_master) {
    open_three("sync");
    for (uint64_t k = 0; k < 8; k++) {
        ask_for_another(k);
        for (int i = 0; i < 200 && !net.acked[k]; i++)
            run_ms(1);
        AGREE(net.acked[k]);
        AGREE(net.witness.told == 0 && net.witness.have == 0);
    }
    close_net();
}
