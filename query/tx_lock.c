/* tx_lock.c -- locks that a transaction asks for, and how they are given back.
 *
 *     tx_lock --> SHARD_TX_LOCK to each shard, one after the other --> held until the end
 *     the end --> SHARD_TX_UNLOCK to each: whoever holds the transaction asks on until
 *                 nothing is to be asked
 *
 * A shard gives them back by itself where the transaction's time is over, so that one whose holder
 * has died holds up nobody for long.
 *
 * Who has lost several times locks first what it touched last: then it is only the age that
 * decides, and the oldest wins (wait-die, tables/shard_lock.h). */
#include "query/tx_private.h"

#include <string.h>

static struct value bytes_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

/* ---- what is held --------------------------------------------------------------------- */

/* The shard is remembered before it is asked: an answer that does not come may be a grant. */
static eg_err remember(struct tx *tx, struct table *t, uint32_t shard) {
    struct tx_locks *l = &tx->locks;
    struct tx_locked *larger;

    for (uint32_t i = 0; i < l->count; i++)
        if (l->list[i].table == t && l->list[i].shard == shard)
            return EG_OK;
    if (l->count == l->room) {
        enum { FIRST = 8 };
        uint32_t room = EG_MAX(2 * l->room, (uint32_t) FIRST);

        larger = l->room == 0 ? alloc_get(tx->o.alloc, room * sizeof *larger)
                              : alloc_resize(tx->o.alloc, l->list, l->room * sizeof *larger,
                                             room * sizeof *larger);
        if (larger == NULL)
            return EG_MEMORY;
        l->list = larger;
        l->room = room;
    }
    if (!table_ref(t))
        return EG_NO_TABLE;
    if (l->count == 0) {
        buffer_clear(&l->head);
        if (tx_pack_head(tx, &l->head) != EG_OK) {
            table_unref(t);
            return EG_MEMORY;
        }
    }
    l->list[l->count++] = (struct tx_locked){t, shard};
    return EG_OK;
}

bool tx_has_locks(const struct tx *tx) {
    return tx->locks.count != 0;
}

void tx_locks_forget(struct tx *tx) {
    struct tx_locks *l = &tx->locks;

    while (l->count > 0)
        table_unref(l->list[--l->count].table);
}

void tx_locks_fini(struct tx *tx) {
    struct tx_locks *l = &tx->locks;

    tx_locks_forget(tx);
    alloc_put(tx->o.alloc, l->list, l->room * sizeof *l->list);
    buffer_fini(&l->head);
    buffer_fini(&l->want);
    l->list = NULL;
    l->room = 0;
}

/* What can not be said to a shard ends there with the transaction's time. */
eg_err tx_unlock_ask(struct tx *tx, eg_pid *to, struct message **out) {
    struct tx_locks *l = &tx->locks;
    struct shard_request q = {.op = SHARD_TX_UNLOCK, .attribute = SHARD_NO_ATTRIBUTE};

    while (l->count > 0) {
        struct tx_locked x = l->list[--l->count];
        eg_err err;

        q.key = bytes_of(&l->head);
        err =
            table_dropped(x.table) ? EG_NO_TABLE : transact_message(x.table, x.shard, &q, to, out);
        table_unref(x.table);
        if (err == EG_OK)
            return EG_OK;
    }
    return EG_NOT_FOUND;
}

/* ---- asking ------------------------------------------------------------------------------ */

/* [exclusive, key or nil] */
static eg_err put_want(struct tx *tx, struct value key, bool exclusive) {
    struct buffer *want = &tx->locks.want;
    size_t room_bytes = key.size_bytes + 4u;
    struct value_writer w;
    uint8_t *room;

    buffer_clear(want);
    room = buffer_room(want, room_bytes);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, room_bytes);
    value_put_array(&w, 2);
    value_put_bool(&w, exclusive);
    if (key.size_bytes == 0)
        value_put_nil(&w);
    else
        value_put_raw(&w, key);
    want->size_bytes += w.need_bytes;
    return EG_OK;
}

eg_err tx_lock_ask(struct tx *tx, eg_pid *to, struct message **out) {
    struct tx_locks *l = &tx->locks;
    struct shard_request q = {.op = SHARD_TX_LOCK, .attribute = SHARD_NO_ATTRIBUTE};
    struct table *t;
    eg_err err;

    t = tx_table_now(tx, l->table, &err);
    if (t == NULL)
        return err;
    err = remember(tx, t, l->shard);
    if (err != EG_OK)
        return err;
    q.key = bytes_of(&l->head);
    q.value = bytes_of(&l->want);
    return transact_message(t, l->shard, &q, to, out);
}

/* One shard after the other, each once: *at counts those that have answered. */
static eg_err lock_shard(struct tx *tx, uint32_t table, uint32_t shard, struct value key,
                         bool exclusive) {
    struct tx_locks *l = &tx->locks;
    eg_err err;

    if (l->granted) {
        l->granted = false;
        return EG_OK;
    }
    err = put_want(tx, key, exclusive);
    if (err != EG_OK)
        return err;
    l->table = table;
    l->shard = shard;
    tx->asks = TX_ASKS_LOCK;
    return EG_AGAIN;
}

eg_err tx_lock(struct tx *tx, const struct tx_place *at, struct value key, bool exclusive,
               struct err_note *note) {
    uint32_t table;
    struct key k;
    eg_err err = tx_enter(tx, note);

    if (err == EG_OK)
        err = tx_table_enter(tx, at, &table);
    if (err != EG_OK)
        return err;
    if (key.size_bytes != 0) {
        uint32_t shard;

        err = table_key_checked(at->table, &k, key, note);
        if (err != EG_OK)
            return err;
        shard = transact_shard_of(at->table, key);
        key_release(&k);
        return lock_shard(tx, table, shard, key, exclusive);
    }
    for (; tx->locks.next < table_shards(at->table); tx->locks.next++) {
        err = lock_shard(tx, table, tx->locks.next, key, exclusive);
        if (err != EG_OK)
            return err;
    }
    tx->locks.next = 0;
    return EG_OK;
}

/* ---- after several losses -------------------------------------------------------------------- */

void tx_hints_clear(struct tx *tx) {
    for (uint32_t i = 0; i < tx->hint_count; i++)
        if (tx->hint[i].handle == NULL)
            table_unref(tx->hint[i].table);
    tx->hint_count = tx->hint_at = 0;
    buffer_clear(&tx->hint_bytes);
}

void tx_hints_fini(struct tx *tx) {
    tx_hints_clear(tx);
    alloc_put(tx->o.alloc, tx->hint, tx->hint_room * sizeof *tx->hint);
    buffer_fini(&tx->hint_bytes);
    tx->hint = NULL;
    tx->hint_room = 0;
}

/* Without memory, and where it is too much, it goes on as before. */
void tx_hints_take(struct tx *tx) {
    uint32_t count = EG_MIN(tx->key_count, (uint32_t) TX_HINTS_MAX);

    if (tx->hint_at < tx->hint_count && count == 0)
        return; /* it has lost over one of them, and locks the same again */
    tx_hints_clear(tx);
    if (count > tx->hint_room) {
        struct tx_hint *larger = alloc_get(tx->o.alloc, count * sizeof *larger);
        if (larger == NULL)
            return;
        alloc_put(tx->o.alloc, tx->hint, tx->hint_room * sizeof *larger);
        tx->hint = larger;
        tx->hint_room = count;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct tx_key *key = &tx->key[i];
        const struct tx_table *t = &tx->table[key->table];
        struct tx_hint *h = &tx->hint[tx->hint_count];

        if (!key->seen && key->newest == TX_NONE)
            continue;
        *h = (struct tx_hint){.table = t->table,
                              .handle = t->handle,
                              .at = (uint32_t) tx->hint_bytes.size_bytes,
                              .size_bytes = key->size_bytes,
                              .exclusive = key->touched};
        if (!buffer_append(&tx->hint_bytes, tx->bytes.at + key->at, key->size_bytes) ||
            (t->handle == NULL && !table_ref(t->table)))
            return;
        tx->hint_count++;
    }
}

eg_err tx_lock_again(struct tx *tx, struct reader *r, struct err_note *note) {
    for (; tx->hint_at < tx->hint_count; tx->hint_at++) {
        const struct tx_hint *h = &tx->hint[tx->hint_at];
        struct tx_place at = {.reader = r, .handle = h->handle};
        eg_err err;

        at.table = h->handle != NULL ? tx->o.table_of(h->handle) : table_now(h->table);
        if (at.table == NULL || table_dropped(at.table))
            continue; /* whoever uses it finds out */
        err = tx_lock(tx, &at, (struct value){tx->hint_bytes.at + h->at, h->size_bytes},
                      h->exclusive, note);
        if (err != EG_OK)
            return err;
    }
    return EG_OK;
}
