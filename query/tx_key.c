/* tx_key.c -- the tables and keys that a transaction knows, by number. */
#include "query/tx_private.h"

#include "tables/far.h"

#include <string.h>

enum { ROOM_FIRST = 8, TABLES_FIRST = 4, TABLES_MAX = 4096 };

/* Room for one more element; grows by the double. */
static void *grown(struct alloc *a, void *list, uint32_t *room, uint32_t first, size_t each_bytes) {
    uint32_t more = *room == 0 ? first : 2 * *room;
    void *larger = *room == 0 ? alloc_get(a, first * each_bytes)
                              : alloc_resize(a, list, *room * each_bytes, more * each_bytes);

    if (larger != NULL)
        *room = more;
    return larger;
}

/* ---- tables --------------------------------------------------------------------------- */

static eg_err table_new(struct tx *tx, const struct tx_place *at, uint32_t *number) {
    const struct schema *schema = table_schema(at->table);
    struct tx_table *x;

    if (tx->table_count == TABLES_MAX)
        return EG_TOO_LARGE;
    if (tx->table_count == tx->table_room) {
        uint32_t before = tx->table_room;
        x = grown(tx->o.alloc, tx->table, &tx->table_room, TABLES_FIRST, sizeof *x);
        if (x == NULL)
            return EG_MEMORY;
        memset(x + before, 0, (tx->table_room - before) * sizeof *x);
        tx->table = x;
    }
    if (at->handle == NULL && !table_ref(at->table))
        return EG_NO_TABLE;
    x = &tx->table[tx->table_count];
    x->table = at->table;
    x->handle = at->handle;
    x->shape = table_shape(at->table);
    x->type = table_type(at->table);
    x->many = schema_has_many(schema);
    x->adds = schema->merge == MERGE_COUNTER;
    x->sorted = true;
    x->touched_count = 0;
    *number = tx->table_count++;
    return EG_OK;
}

eg_err tx_table_enter(struct tx *tx, const struct tx_place *at, uint32_t *number) {
    if (EG_UNLIKELY(table_dropped(at->table)))
        return table_lost(at->table);
    for (uint32_t i = 0; i < tx->table_count; i++)
        if (tx->table[i].table == at->table && tx->table[i].shape == table_shape(at->table)) {
            *number = i;
            return EG_OK;
        }
    return table_new(tx, at, number);
}

struct table *tx_table_now(struct tx *tx, uint32_t number, eg_err *err) {
    const struct tx_table *x = &tx->table[number];
    struct table *now = x->handle != NULL ? tx->o.table_of(x->handle) : table_now(x->table);

    *err = EG_OK;
    if (now == NULL || table_dropped(now))
        *err = EG_NO_TABLE;
    else if (now != x->table || table_shape(now) != x->shape)
        *err = EG_CONFLICT;
    return *err == EG_OK ? now : NULL;
}

void tx_tables_leave(struct tx *tx) {
    for (uint32_t i = 0; i < tx->table_count; i++)
        if (tx->table[i].handle == NULL)
            table_unref(tx->table[i].table);
    tx->table_count = 0;
}

/* ---- keys ------------------------------------------------------------------------------- */

static bool is_key(const struct tx *tx, const struct tx_key *x, uint32_t table,
                   const struct key *k) {
    return x->hash == k->hash && x->table == table && x->size_bytes == k->canon_bytes &&
           memcmp(tx->bytes.at + x->at, k->canon, k->canon_bytes) == 0;
}

static uint32_t *slot_of(const struct tx *tx, uint64_t hash) {
    return &tx->slot[hash & (tx->slot_count - 1)];
}

uint32_t tx_key_find(const struct tx *tx, uint32_t table, const struct key *k) {
    if (EG_LIKELY(tx->slot_count == 0)) {
        for (uint32_t i = 0; i < tx->key_count; i++)
            if (is_key(tx, &tx->key[i], table, k))
                return i;
        return TX_NONE;
    }
    for (uint32_t i = *slot_of(tx, k->hash); i != TX_NONE; i = tx->key[i].next)
        if (is_key(tx, &tx->key[i], table, k))
            return i;
    return TX_NONE;
}

static void hang(struct tx *tx, uint32_t number) {
    uint32_t *slot = slot_of(tx, tx->key[number].hash);

    tx->key[number].next = *slot;
    *slot = number;
}

/* Slots for twice as many keys as there are, and more. */
static eg_err hash_all(struct tx *tx) {
    uint32_t count = tx->slot_count == 0 ? 4 * TX_HASH_FROM : 4 * tx->slot_count;
    uint32_t *slot = tx->slot;

    if (count > tx->slot_room) {
        slot = alloc_get(tx->o.alloc, count * sizeof *slot);
        if (slot == NULL)
            return EG_MEMORY;
        alloc_put(tx->o.alloc, tx->slot, tx->slot_room * sizeof *slot);
        tx->slot = slot;
        tx->slot_room = count;
    }
    memset(slot, 0xff, count * sizeof *slot);
    tx->slot_count = count;
    for (uint32_t i = 0; i < tx->key_count; i++)
        hang(tx, i);
    return EG_OK;
}

eg_err tx_key_enter(struct tx *tx, uint32_t table, const struct key *k, uint32_t *number) {
    uint32_t at, found = tx_key_find(tx, table, k);
    eg_err err = EG_OK;

    if (found != TX_NONE) {
        *number = found;
        return EG_OK;
    }
    if (EG_UNLIKELY(tx->key_count == tx->key_room)) {
        struct tx_key *key =
            grown(tx->o.alloc, tx->key, &tx->key_room, ROOM_FIRST, sizeof *tx->key);
        if (key == NULL)
            return EG_MEMORY;
        tx->key = key;
    }
    if (EG_UNLIKELY(tx->key_count >= TX_HASH_FROM && 2 * tx->key_count >= tx->slot_count))
        err = hash_all(tx);
    if (err == EG_OK)
        err = tx_bytes_put(tx, k->canon, k->canon_bytes, &at);
    if (err != EG_OK)
        return err;
    tx->fixed_bytes = tx->bytes.size_bytes;
    tx->key[tx->key_count] =
        (struct tx_key){.hash = k->hash,
                        .at = at,
                        .size_bytes = k->canon_bytes,
                        .newest = TX_NONE,
                        .next = TX_NONE,
                        .table = (uint16_t) table,
                        .shard = (uint16_t) table_shard_of_hash(tx->table[table].table, k->hash)};
    if (EG_UNLIKELY(tx->slot_count != 0))
        hang(tx, tx->key_count);
    *number = tx->key_count++;
    return EG_OK;
}

/* ---- bytes -------------------------------------------------------------------------------- */

eg_err tx_bytes_put(struct tx *tx, const void *bytes, size_t size_bytes, uint32_t *at) {
    size_t before_bytes = tx->bytes.size_bytes;

    if (EG_UNLIKELY(!buffer_append(&tx->bytes, bytes, size_bytes)))
        return size_bytes > TX_BYTES_MAX - before_bytes ? EG_TOO_LARGE : EG_MEMORY;
    *at = (uint32_t) before_bytes;
    return EG_OK;
}

eg_err tx_room(const struct tx *tx, struct err_note *note) {
    if (EG_LIKELY((uint64_t) tx->seen_count + tx->write_count + tx->question_count + 1 <
                  TX_ENTRIES_MAX))
        return EG_OK;
    return err_note(note, EG_TOO_LARGE, "a transaction is of less than %d reads and changes",
                    (int) TX_ENTRIES_MAX);
}
