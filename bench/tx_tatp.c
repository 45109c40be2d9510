/* tx_tatp.c -- the telecom benchmark in the program: its seven transactions as functions.
 *
 * What it is made of, and in which mix, says tools/tatp.h. */
#include "bench/tx_work.h"
#include "tools/tatp.h"

static void create(eg_node *node, const struct tx_work *work) {
    (void) work;
    for (int i = 0; i < TATP_TABLES; i++)
        tx_create(node, tatp_schema[i].name, tatp_schema[i].attribute, tatp_schema[i].attributes,
                  tatp_schema[i].index);
}

static void add(void *batches, enum tatp_table table, const eg_writer *record) {
    tx_batch_add((struct tx_batch *) batches + table, record);
}

static void fill(eg_table **table, uint32_t size) {
    static struct tx_batch b[TATP_TABLES];

    for (int i = 0; i < TATP_TABLES; i++)
        b[i] = (struct tx_batch){.table = table[i]};
    tatp_fill(size, add, b);
    for (int i = 0; i < TATP_TABLES; i++)
        tx_batch_end(&b[i]);
}

/* ---- the seven transactions ----------------------------------------------------------------- */

struct call {
    struct tx_client *client;
    struct tatp_call drawn;
};

static eg_err get(eg_tx *tx, const struct call *c, enum tatp_table table, const eg_writer *key,
                  eg_span *record) {
    return eg_tx_get(tx, c->client->table[table], eg_written(key), record);
}

static eg_err get_pair(eg_tx *tx, const struct call *c, enum tatp_table table, uint64_t type,
                       eg_span *record) {
    uint8_t room[32];
    eg_writer key = eg_writer_init(room, sizeof room);

    tatp_put_key(&key, c->drawn.subscriber, type);
    return get(tx, c, table, &key, record);
}

static eg_err get_forwarding(eg_tx *tx, const struct call *c, uint64_t start, eg_span *record) {
    uint8_t room[48];
    eg_writer key = eg_writer_init(room, sizeof room);

    tatp_put_forwarding_key(&key, c->drawn.subscriber, c->drawn.type, start);
    return get(tx, c, TATP_CALL_FORWARDING, &key, record);
}

static eg_err get_subscriber(eg_tx *tx, const struct call *c, eg_span *record) {
    uint8_t room[16];
    eg_writer key = eg_writer_init(room, sizeof room);

    eg_put_uint(&key, c->drawn.subscriber);
    return get(tx, c, TATP_SUBSCRIBER, &key, record);
}

static eg_err absent_is_fine(eg_err err) {
    return err == EG_NOT_FOUND ? EG_OK : err;
}

static eg_err get_subscriber_data(eg_tx *tx, void *arg) {
    eg_span record;
    return get_subscriber(tx, arg, &record);
}

static eg_err get_access_data(eg_tx *tx, void *arg) {
    const struct call *c = arg;
    eg_span record;
    return absent_is_fine(get_pair(tx, c, TATP_ACCESS_INFO, c->drawn.type, &record));
}

static eg_err get_new_destination(eg_tx *tx, void *arg) {
    const struct call *c = arg;
    eg_span record, active;
    bool is_active = false;
    eg_err err = get_pair(tx, c, TATP_SPECIAL_FACILITY, c->drawn.type, &record);

    if (err != EG_OK)
        return absent_is_fine(err);
    if (!eg_element(record, 1, &active) || !eg_as_bool(active, &is_active) || !is_active)
        return EG_OK;
    for (uint64_t start = 0; start <= c->drawn.start; start += TATP_HOURS) {
        err = absent_is_fine(get_forwarding(tx, c, start, &record));
        if (err != EG_OK)
            return err;
    }
    return EG_OK;
}

/* The record with element `position` put anew. */
static eg_err rewrite(eg_tx *tx, eg_table *table, eg_span record, uint32_t position, uint64_t to) {
    uint8_t room[TATP_RECORD_BYTES];
    eg_writer w = eg_writer_init(room, sizeof room);
    uint32_t count = eg_count(record);
    eg_span element;

    eg_put_array(&w, count);
    for (uint32_t i = 0; i < count; i++)
        if (i == position)
            eg_put_uint(&w, to);
        else if (eg_element(record, i, &element))
            eg_put_value(&w, element);
    return eg_tx_write(tx, table, eg_written(&w));
}

static eg_err update_subscriber_data(eg_tx *tx, void *arg) {
    const struct call *c = arg;
    eg_span record;
    eg_err err = get_subscriber(tx, c, &record);

    if (err == EG_OK)
        err =
            rewrite(tx, c->client->table[TATP_SUBSCRIBER], record, TATP_PLACE_BITS, c->drawn.bits);
    if (err == EG_OK)
        err = get_pair(tx, c, TATP_SPECIAL_FACILITY, c->drawn.type, &record);
    if (err == EG_NOT_FOUND)
        return eg_tx_abort(tx, TX_REFUSED);
    if (err != EG_OK)
        return err;
    return rewrite(tx, c->client->table[TATP_SPECIAL_FACILITY], record, TATP_PLACE_DATA_A,
                   c->drawn.data);
}

/* The one subscriber with that number, by the index. */
static eg_err subscriber_by_number(eg_tx *tx, const struct call *c, eg_result *found,
                                   eg_span *record) {
    uint8_t room[32];
    eg_writer number = eg_writer_init(room, sizeof room);
    eg_err err;

    tatp_put_number(&number, c->drawn.subscriber);
    err = eg_tx_index_read(tx, c->client->table[TATP_SUBSCRIBER], "sub_nbr", eg_written(&number),
                           found);
    if (err == EG_OK && !eg_element(found->value, 0, record))
        err = EG_NOT_FOUND;
    return err;
}

static eg_err update_location(eg_tx *tx, void *arg) {
    const struct call *c = arg;
    eg_result found = {0};
    eg_span record;
    eg_err err = subscriber_by_number(tx, c, &found, &record);

    if (err == EG_OK)
        err = rewrite(tx, c->client->table[TATP_SUBSCRIBER], record, TATP_PLACE_LOCATION,
                      c->drawn.data);
    eg_result_free(&found);
    return err;
}

static eg_err knows_number(eg_tx *tx, const struct call *c) {
    eg_result found = {0};
    eg_span record;
    eg_err err = subscriber_by_number(tx, c, &found, &record);

    eg_result_free(&found);
    return err;
}

static eg_err insert_call_forwarding(eg_tx *tx, void *arg) {
    const struct call *c = arg;
    uint8_t room[TATP_RECORD_BYTES];
    eg_writer w = eg_writer_init(room, sizeof room);
    eg_span record;
    bool has_facility = false;
    eg_err err = knows_number(tx, c);

    for (uint64_t type = 1; type <= TATP_TYPES && err == EG_OK; type++) {
        err = get_pair(tx, c, TATP_SPECIAL_FACILITY, type, &record);
        has_facility |= err == EG_OK && type == c->drawn.type;
        err = absent_is_fine(err);
    }
    if (err == EG_OK)
        err = get_forwarding(tx, c, c->drawn.start, &record);
    if (err == EG_OK || (err == EG_NOT_FOUND && !has_facility))
        return eg_tx_abort(tx, TX_REFUSED);
    if (err != EG_NOT_FOUND)
        return err;
    tatp_put_forwarding(&w, c->drawn.subscriber, c->drawn.type, c->drawn.start, c->drawn.end);
    return eg_tx_write(tx, c->client->table[TATP_CALL_FORWARDING], eg_written(&w));
}

static eg_err delete_call_forwarding(eg_tx *tx, void *arg) {
    const struct call *c = arg;
    uint8_t room[48];
    eg_writer key = eg_writer_init(room, sizeof room);
    eg_span record;
    eg_err err = knows_number(tx, c);

    if (err == EG_OK)
        err = get_forwarding(tx, c, c->drawn.start, &record);
    if (err == EG_NOT_FOUND)
        return eg_tx_abort(tx, TX_REFUSED);
    if (err != EG_OK)
        return err;
    tatp_put_forwarding_key(&key, c->drawn.subscriber, c->drawn.type, c->drawn.start);
    return eg_tx_delete(tx, c->client->table[TATP_CALL_FORWARDING], eg_written(&key));
}

/* ---- the mix --------------------------------------------------------------------------------- */

static void work(struct tx_client *c) {
    static eg_err (*const run[TATP_KINDS])(eg_tx * tx, void *arg) = {
        [TATP_GET_SUBSCRIBER_DATA] = get_subscriber_data,
        [TATP_GET_NEW_DESTINATION] = get_new_destination,
        [TATP_GET_ACCESS_DATA] = get_access_data,
        [TATP_UPDATE_SUBSCRIBER_DATA] = update_subscriber_data,
        [TATP_UPDATE_LOCATION] = update_location,
        [TATP_INSERT_CALL_FORWARDING] = insert_call_forwarding,
        [TATP_DELETE_CALL_FORWARDING] = delete_call_forwarding,
    };
    struct call call = {.client = c};

    tatp_draw(&call.drawn, &c->random, c->size);
    tx_run(c, run[call.drawn.kind], &call, sizeof call);
}

const struct tx_work tx_tatp = {
    .name = "tatp",
    .table = {"subscriber", "access_info", "special_facility", "call_forwarding"},
    .create = create,
    .fill = fill,
    .work = work,
    .size = 100000,
    .smoke_size = 1000};
