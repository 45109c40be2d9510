/* shard_op.c -- what a shard does with each request.
 *
 * Every op reads what is there, decides, and then changes it through shard_store(), shard_remove()
 * and shard_clear() (shard_change.c).  Room for the answer is taken before anything is changed, so
 * an answer is never lost after the deed. */
#include "tables/shard.h"

#include "tables/shard_dirty.h"
#include "tables/shard_edit.h"
#include "tables/shard_index.h"
#include "tables/shard_sibling.h"
#include "tables/shard_tx.h"
#include "tables/shard_unique.h"
#include "tables/table_private.h"

#include <string.h>

/* ---- answers ----------------------------------------------------------------------------- */

static void answer_bool(struct shard_turn *t, bool b) {
    t->result->at[t->result->size_bytes++] = b ? 0xc3 : 0xc2; /* room: shard_run() */
}

static void answer_number(struct shard_turn *t, uint64_t n) {
    struct buffer *b = t->result;
    struct value_writer w = value_writer_init(b->at + b->size_bytes, SHARD_RESULT_SMALL_BYTES);

    value_put_u64(&w, n);
    b->size_bytes += w.need_bytes;
}

/* ---- reading inside a turn --------------------------------------------------------------- */

/* The records under the turn's key, one after the other. */
struct same_key {
    struct store_cursor cursor;
    const struct record *next;
};

static const struct record *same_key_next(struct shard_turn *t, struct same_key *it) {
    struct store *store = t->shard->store;
    const struct record *rec = it->next;

    it->next = NULL;
    if (rec == NULL || !value_equal(record_key(rec), t->key->value))
        return NULL;
    if (store->bag)
        it->next = store->ops->next(store, t->reader, &it->cursor);
    return rec;
}

static const struct record *same_key_first(struct shard_turn *t, struct same_key *it) {
    struct store *store = t->shard->store;

    if (store->bag) {
        store->ops->seek(store, t->reader, &it->cursor, t->key, false, false);
        it->next = store->ops->next(store, t->reader, &it->cursor);
    } else {
        it->next = store->ops->get(store, t->reader, t->key);
    }
    return same_key_next(t, it);
}

/* Append [record, ...] of the turn's key, expired ones left out. */
static eg_err answer_records(struct shard_turn *t) {
    struct same_key it;
    const struct record *rec;
    struct value_writer w;
    uint32_t count = 0;
    size_t size_bytes = 0;
    uint8_t *room;

    for (rec = same_key_first(t, &it); rec != NULL; rec = same_key_next(t, &it)) {
        if (shard_expired(rec, t->now_ms))
            continue;
        count++;
        size_bytes += record_array_bytes(rec);
    }
    if (t->reader->fault != EG_OK)
        return reader_take_fault(t->reader);
    room = buffer_room(t->result, size_bytes + 5);
    if (room == NULL)
        return err_note(t->note, EG_TOO_LARGE, "the records do not fit one answer");
    w = value_writer_init(room, size_bytes + 5);
    value_put_array(&w, count);
    for (rec = same_key_first(t, &it); rec != NULL; rec = same_key_next(t, &it))
        if (!shard_expired(rec, t->now_ms))
            value_put_raw(&w, record_value(rec));
    if (t->reader->fault != EG_OK)
        return reader_take_fault(t->reader);
    EG_ASSERT(!w.overflow);
    t->result->size_bytes += w.need_bytes;
    return EG_OK;
}

/* What a disc_only table could not read is not absent: whoever found nothing asks
 * here before it says so. */
static eg_err nothing_there(struct shard_turn *t, eg_err absent) {
    return EG_UNLIKELY(t->reader->fault != EG_OK) ? reader_take_fault(t->reader) : absent;
}

/* The one live record under the key of a set; NULL: absent or expired, or a fault. */
static const struct record *only_record(struct shard_turn *t) {
    struct store *store = t->shard->store;
    const struct record *rec = store->ops->get(store, t->reader, t->key);

    return rec != NULL && shard_expired(rec, t->now_ms) ? NULL : rec;
}

static bool keeps_siblings(const struct shard_turn *t) {
    return EG_UNLIKELY(schema_keeps_siblings(schema_of(t->shard->table)));
}

/* The same with all versions there are; `with_context`: [[record, ...], context]. */
static eg_err answer_siblings(struct shard_turn *t, bool with_context) {
    const struct origins *o = t->shard->table->world->origins;
    const struct record *rec = only_record(t);
    eg_err err = rec == NULL ? nothing_there(t, EG_OK) : EG_OK;

    if (err == EG_OK)
        err = with_context ? sibling_put_all(o, rec, t->result)
                           : sibling_put_records(o, rec, t->result);
    return err != EG_TOO_LARGE ? err : err_note(t->note, err, "the records do not fit one answer");
}

eg_err shard_answer_key(struct shard_turn *t) {
    return keeps_siblings(t) ? answer_siblings(t, false) : answer_records(t);
}

/* ---- the ops ----------------------------------------------------------------------------- */

static eg_err op_read(struct shard_turn *t) {
    return shard_answer_key(t);
}

static eg_err op_read_siblings(struct shard_turn *t) {
    return answer_siblings(t, true);
}

static eg_err op_write(struct shard_turn *t) {
    eg_err err = shard_store(t, t->request->value, shard_expiry(t), NULL);

    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_insert_new(struct shard_turn *t) {
    struct same_key it;
    const struct record *rec = same_key_first(t, &it);
    eg_err err;

    while (rec != NULL && shard_expired(rec, t->now_ms))
        rec = same_key_next(t, &it);
    if (rec != NULL) {
        answer_bool(t, false);
        return EG_OK;
    }
    err = nothing_there(t, EG_OK);
    return err != EG_OK ? err : op_write(t);
}

/* A bag's records under one key go together: all their gates, or none. */
static eg_err enter_gates_of_key(struct shard_turn *t) {
    struct unique_set set = {{0}};
    struct same_key it;
    eg_err err;

    for (const struct record *rec = same_key_first(t, &it); rec != NULL;
         rec = same_key_next(t, &it))
        shard_unique_gates(t->shard, record_value(rec), &set);
    err = nothing_there(t, EG_OK);
    return err == EG_OK ? shard_unique_enter(t, &set) : err;
}

static eg_err remove_all_of_key(struct shard_turn *t) {
    struct store *store = t->shard->store;
    const struct record *rec;
    eg_err err = shard_has_unique(t->shard) && !t->gated ? enter_gates_of_key(t) : EG_OK;

    while (err == EG_OK && (rec = store->ops->get(store, t->reader, t->key)) != NULL)
        err = shard_remove(t, t->key, rec);
    return err != EG_OK ? err : nothing_there(t, EG_OK);
}

static eg_err op_delete(struct shard_turn *t) {
    eg_err err = remove_all_of_key(t);

    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_take(struct shard_turn *t) {
    size_t before_bytes = t->result->size_bytes;
    eg_err err = shard_answer_key(t);

    if (err == EG_OK)
        err = remove_all_of_key(t);
    if (err != EG_OK)
        t->result->size_bytes = before_bytes;
    return err;
}

/* What an update leaves of a record's deadline: its own, unless a ttl was given. */
static uint64_t kept_expiry(const struct shard_turn *t, const struct record *old) {
    uint64_t expiry_ms = record_expiry_ms(old);

    if (t->request->ttl_ms != 0)
        return shard_expiry(t);
    return expiry_ms == RANK_NEVER ? 0 : expiry_ms;
}

static eg_err op_update(struct shard_turn *t) {
    const struct record *old = only_record(t);
    struct value array;
    eg_err err;

    if (old == NULL)
        return nothing_there(t, EG_NOT_FOUND);
    err = shard_edit_update(t, old, &array);
    if (err == EG_OK)
        err = shard_store(t, array, kept_expiry(t, old), NULL);
    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_counter(struct shard_turn *t) {
    const struct record *old = only_record(t);
    struct value array, number;
    eg_err err = old == NULL ? nothing_there(t, EG_OK) : EG_OK;

    if (err == EG_OK)
        err = shard_edit_counter(t, old, &array, &number);
    if (err == EG_OK)
        err = shard_store(t, array, old == NULL ? shard_expiry(t) : kept_expiry(t, old), NULL);
    if (err == EG_OK) {
        EG_ASSERT(number.size_bytes <= SHARD_RESULT_SMALL_BYTES);
        memcpy(t->result->at + t->result->size_bytes, number.at, number.size_bytes);
        t->result->size_bytes += number.size_bytes;
    }
    return err;
}

/* Of siblings, one version or those that a context names. */
static eg_err leave_others(struct shard_turn *t, const struct record *rec) {
    const struct shard_request *q = t->request;
    struct value named;
    eg_err err;

    if (rec == NULL || shard_expired(rec, t->now_ms)) {
        err = nothing_there(t, EG_OK);
    } else if (q->op == SHARD_DELETE_SIBLINGS) {
        EG_ASSERT(sibling_context(q->value, &named)); /* the table has seen it */
        err = sibling_leave(t, rec, named, kept_expiry(t, rec));
    } else {
        err = sibling_leave_equal(t, rec, q->value, kept_expiry(t, rec));
    }
    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_delete_object(struct shard_turn *t) {
    struct same_key it;
    const struct record *rec = same_key_first(t, &it);
    eg_err err;

    if (keeps_siblings(t))
        return leave_others(t, rec);
    while (rec != NULL && !value_equal(record_value(rec), t->request->value))
        rec = same_key_next(t, &it);
    err = rec != NULL ? shard_remove(t, t->key, rec) : nothing_there(t, EG_OK);
    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_replace_siblings(struct shard_turn *t) {
    eg_err err = sibling_replace(t, shard_expiry(t));

    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_delete_siblings(struct shard_turn *t) {
    return leave_others(t, t->shard->store->ops->get(t->shard->store, t->reader, t->key));
}

static bool is_seen(const struct shard_turn *t, const struct record *rec) {
    struct record_version seen = t->request->seen;

    return rec->hlc == seen.hlc && (rec->dot == seen.dot || seen.dot == 0);
}

static eg_err op_replace_seen(struct shard_turn *t) {
    const struct record *old = only_record(t);
    bool seen = old != NULL && is_seen(t, old);
    eg_err err = old == NULL ? nothing_there(t, EG_OK) : EG_OK;

    if (err == EG_OK && seen)
        err = shard_store(t, t->request->value, kept_expiry(t, old), NULL);
    if (err == EG_OK)
        answer_bool(t, seen);
    return err;
}

static eg_err op_remove_seen(struct shard_turn *t) {
    struct same_key it;
    const struct record *rec = same_key_first(t, &it);
    eg_err err;

    while (rec != NULL && !is_seen(t, rec))
        rec = same_key_next(t, &it);
    if (rec != NULL && shard_expired(rec, t->now_ms))
        rec = NULL;
    err = rec != NULL ? shard_remove(t, t->key, rec) : nothing_there(t, EG_OK);
    if (err == EG_OK)
        answer_bool(t, rec != NULL);
    return err;
}

static eg_err op_write_many(struct shard_turn *t) {
    return shard_edit_write_many(t);
}

static eg_err op_clear(struct shard_turn *t) {
    eg_err err = shard_clear(t);

    if (err == EG_OK)
        answer_bool(t, true);
    return err;
}

static eg_err op_purge(struct shard_turn *t) {
    answer_number(t, shard_purge(t->shard, t->reader, t->now_ms, UINT64_MAX));
    return EG_OK;
}

static eg_err op_index_drop(struct shard_turn *t) {
    shard_index_drop(t->shard, t->request->attribute);
    answer_bool(t, true);
    return EG_OK;
}

static eg_err op_sync(struct shard_turn *t) {
    answer_bool(t, true);
    return EG_OK;
}

/* ---- a request --------------------------------------------------------------------------- */

static eg_err (*const ops[SHARD_OP_COUNT])(struct shard_turn *t) = {
    [SHARD_READ] = op_read,
    [SHARD_WRITE] = op_write,
    [SHARD_INSERT_NEW] = op_insert_new,
    [SHARD_WRITE_MANY] = op_write_many,
    [SHARD_DELETE] = op_delete,
    [SHARD_DELETE_OBJECT] = op_delete_object,
    [SHARD_TAKE] = op_take,
    [SHARD_UPDATE] = op_update,
    [SHARD_COUNTER] = op_counter,
    [SHARD_CLEAR] = op_clear,
    [SHARD_INDEX_DROP] = op_index_drop,
    [SHARD_PURGE] = op_purge,
    [SHARD_REPLACE_SEEN] = op_replace_seen,
    [SHARD_REMOVE_SEEN] = op_remove_seen,
    [SHARD_READ_SIBLINGS] = op_read_siblings,
    [SHARD_REPLACE_SIBLINGS] = op_replace_siblings,
    [SHARD_DELETE_SIBLINGS] = op_delete_siblings,
    [SHARD_SYNC] = op_sync,
    [SHARD_SETTLE] = op_sync,
};

static eg_err run_dirty(struct shard_turn *t) {
    eg_err err = shard_dirty_begin(t->shard, t->note);

    if (err != EG_OK)
        return err;
    err = ops[t->request->op](t);
    shard_dirty_end(t->shard);
    return err;
}

eg_err shard_run_part(struct shard_turn *t) {
    return ops[t->request->op](t);
}

eg_err shard_run(struct shard_turn *t) {
    enum shard_op op = t->request->op;
    eg_err err;

    if (buffer_room(t->result, SHARD_RESULT_SMALL_BYTES) == NULL)
        return EG_MEMORY;
    if (op == SHARD_READ || op == SHARD_READ_SIBLINGS)
        return ops[op](t);
    if (EG_UNLIKELY(shard_op_transacts(op)))
        return shard_tx_run(t);
    if (op == SHARD_SETTLE) /* the answer waits, see shard.c */
        return op_sync(t);
    if (op == SHARD_INDEX_DROP) /* the schema has forgotten it already: whatever the disc says */
        return op_index_drop(t);
    err = shard_ready(t);
    if (err == EG_OK && EG_UNLIKELY(t->request->dirty))
        return run_dirty(t);
    if (err == EG_OK)
        err = ops[op](t);
    return err;
}
