/* api_tx_name.c -- locks of names that are no records: what they guard, the program knows.
 *
 * A name is a key of the table engram_names, which has a copy on every node of the view and is made
 * when the first name is locked.  A shared lock reads the record there, an exclusive one also
 * counts in it: whatever becomes of the lock itself (its shard lets it go with its time, and where
 * the view changes), of two transactions that held a name at once, one of them exclusively, one is
 * a conflict.  A lock that an inner level has taken is held until the outermost one ends, as in
 * Mnesia, so its count stays where the level is undone. */
#include "node/api_tx_private.h"

#include "tables/catalog.h"
#include "tables/table.h"

#include <string.h>

/* A week behind its last exclusive lock nobody asks what a name's count was before. */
#define NAMES         "engram_names"
#define NAMES_TTL_SEC UINT64_C(604800)

enum { NAME_BYTES_MAX = 1024, COUNT = 1, DELTA_ONE = 0x01 };

enum name_phase { NAME_LOCK, NAME_READ, NAME_COUNT };

struct naming {
    struct value key;
    bool exclusive;
    enum name_phase phase;
};

static eg_err count_one(eg_tx *tx, const struct tx_place *at, const struct naming *n) {
    static const uint8_t one = DELTA_ONE;
    const struct shard_request q = {
        .op = SHARD_COUNTER, .attribute = COUNT, .key = n->key, .value = {&one, 1}};
    struct buffer counted;
    eg_err err;

    buffer_init(&counted, alloc_system(), NODE_RESULT_BYTES_MAX);
    err = tx_change(tx->txs->tx, at, &q, &counted, &tx->note);
    if (err == EG_OK)
        tx_change_stays(tx->txs->tx);
    buffer_fini(&counted);
    return err;
}

static eg_err step_name(eg_tx *tx, const struct tx_place *anywhere, void *what) {
    struct naming *n = what;
    struct tx_place at = *anywhere;
    struct value record;
    eg_err err = EG_OK;

    at.table = catalog_find(tx->txs->thread->owner->catalog, NAMES, strlen(NAMES));
    if (at.table == NULL)
        return EG_NO_TABLE;
    if (n->phase == NAME_LOCK)
        err = tx_lock(tx->txs->tx, &at, n->key, n->exclusive, &tx->note);
    if (err != EG_OK)
        return err;
    n->phase = EG_MAX(n->phase, NAME_READ);
    if (n->phase == NAME_READ)
        err = tx_get(tx->txs->tx, &at, n->key, &record, &tx->note);
    if (err != EG_OK && err != EG_NOT_FOUND)
        return err;
    n->phase = NAME_COUNT;
    return n->exclusive ? count_one(tx, &at, n) : EG_OK;
}

/* EG_OK: it is there, or another has made it meanwhile. */
static eg_err make_table(eg_node *node) {
    uint8_t room[128];
    eg_writer w = eg_writer_init(room, sizeof room);
    eg_span options;
    eg_err err;

    eg_put_map(&w, 2);
    eg_put_string(&w, "attributes");
    eg_put_array(&w, 2);
    eg_put_string(&w, "name");
    eg_put_string(&w, "count");
    eg_put_string(&w, "ttl");
    eg_put_uint(&w, NAMES_TTL_SEC);
    options = eg_written(&w);
    err = eg_create_table(node, NAMES, &options, NULL);
    return err == EG_EXISTS ? EG_OK : err;
}

eg_err eg_tx_lock_name(eg_tx *tx, const char *name, bool exclusive) {
    uint8_t room[NAME_BYTES_MAX + 8];
    struct value_writer w = value_writer_init(room, sizeof room);
    struct naming n = {.exclusive = exclusive};
    eg_err err = name == NULL ? EG_BAD_REQUEST : api_tx_check(tx);

    if (err == EG_OK && strlen(name) > NAME_BYTES_MAX)
        err = EG_TOO_LARGE;
    if (err != EG_OK || api_tx_is_dirty(tx)) /* where nothing is held there is nothing to lock */
        return err;
    value_put_text(&w, name);
    n.key = (struct value){room, (uint32_t) w.need_bytes};
    err = api_tx_run_anywhere(tx, step_name, &n);
    if (err != EG_NO_TABLE)
        return err;
    err = make_table(tx->txs->thread->owner);
    return err == EG_OK ? api_tx_run_anywhere(tx, step_name, &n) : err;
}
