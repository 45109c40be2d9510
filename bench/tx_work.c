/* tx_work.c -- one read and one write, and what the loads share. */
#include "bench/tx_work.h"

enum { PAIR_KEYS = 10000 };

void tx_create(eg_node *node, const char *name, const char *const *attributes, uint32_t count,
               const char *index) {
    uint8_t bytes[512];
    eg_writer w = eg_writer_init(bytes, sizeof bytes);
    eg_span options;

    eg_put_map(&w, index == NULL ? 1 : 2);
    eg_put_string(&w, "attributes");
    eg_put_array(&w, count);
    for (uint32_t i = 0; i < count; i++)
        eg_put_string(&w, attributes[i]);
    if (index != NULL) {
        eg_put_string(&w, "index");
        eg_put_array(&w, 1);
        eg_put_string(&w, index);
    }
    options = eg_written(&w);
    bench_must(eg_create_table(node, name, &options, NULL), name);
}

static void must_be_done(eg_err err, const char *why) {
    if (err == EG_OK || (err == EG_ABORTED && strcmp(why, TX_REFUSED) == 0))
        return;
    fprintf(stderr, "transaction: %s: %s\n", eg_err_text(err), why);
    exit(1);
}

static void on_done(eg_actor *self, void *state, void *context, eg_err outcome, const void *data,
                    size_t size_bytes) {
    struct tx_client *c = context;
    char why[256];

    (void) self;
    (void) state;
    snprintf(why, sizeof why, "%.*s", (int) size_bytes, data == NULL ? "" : (const char *) data);
    must_be_done(outcome, why);
    c->done(c);
}

void tx_run(struct tx_client *c, eg_err (*fn)(eg_tx *tx, void *call), void *call,
            size_t size_bytes) {
    eg_note note = {{0}};

    if (c->self == NULL) {
        must_be_done(eg_transaction(c->node, fn, call, &(eg_tx_options){.note = &note}), note.text);
        return;
    }
    if (size_bytes > sizeof c->call)
        exit(1);
    memcpy(c->call, call, size_bytes);
    bench_must(eg_transaction_then(c->self, c->node, fn, c->call, NULL, on_done, c), "transaction");
}

void tx_batch_end(struct tx_batch *b) {
    uint8_t head[8];
    eg_writer w = eg_writer_init(head, sizeof head);
    eg_span records;
    uint8_t *all;
    eg_err err;

    if (b->count == 0)
        return;
    eg_put_array(&w, b->count);
    records = eg_written(&w);
    all = malloc(records.size_bytes + b->size_bytes);
    if (all == NULL)
        exit(1);
    memcpy(all, records.at, records.size_bytes);
    memcpy(all + records.size_bytes, b->at, b->size_bytes);
    records = (eg_span){all, records.size_bytes + b->size_bytes};
    do /* until all copies are full the view may be another one: the same again is no more */
        err = eg_write_many(b->table, records, NULL);
    while (err == EG_IN_DOUBT || err == EG_NO_REPLICA || err == EG_BUSY);
    bench_must(err, "fill");
    free(all);
    b->count = 0;
    b->size_bytes = 0;
}

void tx_batch_add(struct tx_batch *b, const eg_writer *record) {
    eg_span bytes = eg_written(record);

    if (b->count == TX_BATCH || b->size_bytes + bytes.size_bytes > sizeof b->at)
        tx_batch_end(b);
    memcpy(b->at + b->size_bytes, bytes.at, bytes.size_bytes);
    b->size_bytes += bytes.size_bytes;
    b->count++;
}

/* ---- one read and one write ------------------------------------------------------- */

static void create_pair(eg_node *node, const struct tx_work *work) {
    tx_create(node, work->table[0], (const char *const[]){"key", "value"}, 2, NULL);
}

static eg_writer pair(uint8_t room[32], uint64_t key, int64_t value) {
    eg_writer w = eg_writer_init(room, 32);

    eg_put_array(&w, 2);
    eg_put_uint(&w, key);
    eg_put_int(&w, value);
    return w;
}

static void fill_pair(eg_table **table, uint32_t size) {
    static struct tx_batch b;

    b = (struct tx_batch){.table = table[0]};
    for (uint32_t i = 1; i <= size; i++) {
        uint8_t room[32];
        eg_writer w = pair(room, i, 0);
        tx_batch_add(&b, &w);
    }
    tx_batch_end(&b);
}

struct call {
    struct tx_client *client;
    uint64_t key;
};

static eg_err add_one(eg_tx *tx, void *arg) {
    const struct call *call = arg;
    struct tx_client *c = call->client;
    uint8_t room[32];
    eg_writer w = eg_writer_init(room, sizeof room);
    eg_span record, value;
    int64_t n;
    eg_err err;

    eg_put_uint(&w, call->key);
    err = eg_tx_get(tx, c->table[0], eg_written(&w), &record);
    if (err != EG_OK)
        return err;
    if (!eg_element(record, 1, &value) || !eg_as_int(value, &n))
        return EG_BAD_RECORD;
    w = pair(room, call->key, n + 1);
    return eg_tx_write(tx, c->table[0], eg_written(&w));
}

static void work_pair(struct tx_client *c) {
    struct call call = {c, tx_uniform(&c->random, c->size)};

    tx_run(c, add_one, &call, sizeof call);
}

const struct tx_work tx_pair = {.name = "pair",
                                .table = {"pair"},
                                .create = create_pair,
                                .fill = fill_pair,
                                .work = work_pair,
                                .size = PAIR_KEYS,
                                .smoke_size = PAIR_KEYS};
