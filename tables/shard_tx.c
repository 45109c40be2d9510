/* shard_tx.c -- parts of transactions in one shard. */
#include "tables/shard_tx_private.h"

#include "engine/env.h"
#include "engine/failpoint.h"
#include "engine/planted.h"
#include "tables/outcome.h"
#include "tables/shard_edit.h"
#include "tables/shard_watch.h"
#include "tables/table_private.h"

#include <string.h>

eg_err shard_tx_want_of(struct shard_turn *t, const struct shard_request *want,
                        const struct key *k) {
    eg_err err;

    t->request = want;
    t->key = k;
    err = shard_run_part(t);
    t->key = NULL;
    FAILPOINT("tx.changed", t->shard->table->world->o.runtime, shard_pid(t->shard));
    return err;
}

eg_err shard_tx_want(struct shard_turn *t, const struct shard_request *want) {
    struct value key_value;
    struct key k;
    eg_err err;

    EG_ASSERT(shard_request_key(want, &key_value));
    err = table_key_checked(t->shard->table, &k, key_value, t->note);
    if (err != EG_OK)
        return err;
    err = shard_tx_want_of(t, want, &k);
    key_release(&k);
    return err;
}

void shard_tx_begin(struct shard *s) {
    unsigned role = role_or_held(s);

#ifdef EG_PLANT_HALF_CHANGED_SHOWN
    return;
#endif
    atomic_store_explicit(&s->held, UINT64_MAX, memory_order_release);
    atomic_store_explicit(&s->role, (uint8_t) (role | SHARD_HELD), memory_order_release);
}

void shard_tx_end(struct shard *s) {
    shard_tx_hold(s);
}

void shard_tx_hold(struct shard *s) {
    const struct shard_lock *l = s->tx == NULL ? NULL : s->tx->lock;
    unsigned role = role_or_held(s) & ~(unsigned) SHARD_HELD;

    if (l != NULL && l->owner_count != 0 && !(PLANTED(COPY_NOT_HELD) && role == SHARD_FULL)) {
        atomic_store_explicit(&s->held, l->bits, memory_order_release);
        atomic_store_explicit(&s->role, (uint8_t) (role | SHARD_HELD), memory_order_release);
    } else {
        atomic_store_explicit(&s->role, (uint8_t) role, memory_order_release);
        atomic_store_explicit(&s->held, 0, memory_order_release);
    }
}

/* [[record, ...], version] */
static eg_err tx_read(struct shard_turn *t) {
    enum { VERSION_BYTES = 9 };
    size_t before_bytes = t->result->size_bytes;
    struct transact_found found = transact_find(t->shard, t->reader, t->key, t->now_ms);
    struct value_writer w;
    uint8_t *room;
    eg_err err = reader_take_fault(t->reader);

    if (err != EG_OK)
        return err;
    t->result->at[t->result->size_bytes++] = 0x92; /* room: shard_run() */
    err = shard_answer_key(t);
    room = err == EG_OK ? buffer_room(t->result, VERSION_BYTES) : NULL;
    if (room == NULL) {
        t->result->size_bytes = before_bytes;
        return err != EG_OK ? err : EG_MEMORY;
    }
    w = value_writer_init(room, VERSION_BYTES);
    value_put_u64(&w, found.version);
    t->result->size_bytes += w.need_bytes;
    return EG_OK;
}

/* ---- questions --------------------------------------------------------------------------- */

/* Records for an answer, and how many. */
struct found {
    struct buffer *out;
    uint32_t count;
};

static eg_err find_one(void *context, const struct record *rec) {
    struct found *f = context;

    f->count++;
    return buffer_append(f->out, record_array(rec), record_array_bytes(rec)) ? EG_OK : EG_TOO_LARGE;
}

/* [[record, ...], changes, digest] */
static eg_err tx_ask(struct shard_turn *t) {
    enum { HEADER_BYTES = 1 + 5, END_BYTES = 2 * 9 };
    struct buffer *out = t->result;
    size_t before_bytes = out->size_bytes, body_bytes;
    struct found found = {.out = out};
    struct value_writer w;
    struct scan_path path;
    uint64_t digest;
    uint8_t *at;
    eg_err err = transact_get_path(t->request->value, t->shard->table, t->reader, &path);

    if (err != EG_OK)
        return err_note(t->note, err, "no path through this table");
    out->size_bytes += HEADER_BYTES; /* room: shard_run() */
    err = transact_walk(t->shard, t->reader, &path, find_one, &found, &digest);
    if (err == EG_OK && buffer_room(out, END_BYTES) == NULL)
        err = EG_TOO_LARGE;
    if (err != EG_OK) {
        out->size_bytes = before_bytes;
        return err_note(t->note, err,
                        err == EG_TOO_LARGE ? "too many records for one answer"
                                            : "no such path through this table");
    }
    at = out->at + before_bytes;
    body_bytes = out->size_bytes - before_bytes - HEADER_BYTES;
    w = value_writer_init(at, HEADER_BYTES);
    value_put_array(&w, 3);
    value_put_array(&w, found.count);
    memmove(at + w.need_bytes, at + HEADER_BYTES, body_bytes);
    out->size_bytes = before_bytes + w.need_bytes + body_bytes;
    w = value_writer_init(out->at + out->size_bytes, END_BYTES);
    value_put_u64(&w, transact_changes(t->shard->table, t->shard->number));
    value_put_u64(&w, digest);
    out->size_bytes += w.need_bytes;
    return EG_OK;
}

/* ---- validating and changing -------------------------------------------------------------- */

static eg_err question_stands(struct shard_turn *t, struct value_iter *it) {
    uint64_t changes, digest;
    struct scan_path path;
    struct value packed;
    eg_err err;

    if (!transact_next_question(it, &changes, &digest, &packed))
        return err_note(t->note, EG_BAD_REQUEST, "no question of a transaction");
    err = transact_get_path(packed, t->shard->table, t->reader, &path);
    if (err == EG_OK)
        err = transact_question_stands(t->shard, t->reader, changes, digest, &path);
    return err;
}

/* Does all stand that the part has seen? */
eg_err shard_tx_stands(struct shard_turn *t, const struct transact_part *p) {
    struct value_iter seen = p->seen, question = p->question;
    eg_err err = EG_OK;

    while (err == EG_OK && seen.left != 0) {
        struct value key;
        uint64_t version;

        if (!transact_next_seen(&seen, &key, &version))
            return err_note(t->note, EG_BAD_REQUEST, "no key that was seen");
        err = transact_key_stands(t->shard, t->reader, key, version, t->now_ms);
    }
    while (err == EG_OK && question.left != 0)
        err = question_stands(t, &question);
    if (err == EG_CONFLICT)
        return err_note(t->note, err, "what it has seen was changed");
    return err;
}

/* Others have been told that it is done: what was right when it was prepared, and is not now, is
 * left out, for the rest of it to be. */
static eg_err skip(struct shard_turn *t, eg_err err) {
    env_log(t->shard->table->world->o.env, ENV_LOG_ERROR, "table",
            "%s: a change of a committed transaction was refused: %s",
            schema_of(t->shard->table)->name.text, eg_err_text(err));
    t->result->at[t->result->size_bytes++] = 0xc0; /* room: shard_tx_change() */
    return EG_OK;
}

/* Those that an earlier start of this node has made. */
static void skip_made(const struct shard_turn *t, struct value_iter *want) {
    struct shard_request q;

    for (uint32_t i = 0; t->made != NULL && i < t->made->count && want->left != 0; i++)
        if (!transact_next_want(want, &q))
            return; /* shard_tx_change() says so */
}

/* Each change of it, with what it comes to at the next start: that one, made already, is made again
 * where that changes nothing. */
static eg_err change_one(struct shard_turn *t, const struct shard_request *q, uint32_t number) {
    if (t->made != NULL)
        t->made->count = number + (q->op == SHARD_COUNTER || q->op == SHARD_INSERT_NEW);
    return shard_tx_want(t, q);
}

/* Make all changes, or none.  The result: [of each, ...]. */
eg_err shard_tx_change(struct shard_turn *t, struct value_iter want) {
    enum { HEADER_BYTES = 5, FIELDS = 5 };
    const struct shard_request *whole = t->request;
    size_t before_bytes = t->result->size_bytes, mark = shard_watch_mark(t->shard);
    uint32_t number = t->made == NULL ? 0 : t->made->count;
    bool several = want.left > FIELDS;
    struct value_writer w = value_writer_init(t->result->at + before_bytes, HEADER_BYTES);
    struct shard_undo undo;
    eg_err err = EG_OK;

    skip_made(t, &want);
    value_put_array(&w, want.left / FIELDS);
    t->result->size_bytes += w.need_bytes;
    shard_undo_init(&undo, t->reader);
    t->undo = &undo;
    if (several)
        shard_tx_begin(t->shard);
    for (; err == EG_OK && want.left != 0; number++) {
        struct shard_request q;

        if (!transact_next_want(&want, &q) || !transact_may_want(q.op))
            err = err_note(t->note, EG_BAD_REQUEST, "no change that a transaction can make");
        else if (buffer_room(t->result, SHARD_RESULT_SMALL_BYTES) == NULL)
            err = EG_MEMORY;
        else if (PLANTED(PART_HALF_MADE) && t->decided && several && want.left == 0)
            err = skip(t, EG_OK);
        else
            err = change_one(t, &q, number);
        if (EG_UNLIKELY(err != EG_OK) && t->decided && eg_err_class_of(err) == EG_CLASS_CALLER)
            err = skip(t, err);
    }
    t->undo = NULL;
    t->request = whole;
    if (err != EG_OK) {
        shard_edit_undo(t->reader, undo.change, undo.count, t->now_ms);
        shard_watch_take_back(t->shard, mark, shard_watch_mark(t->shard));
        t->result->size_bytes = before_bytes;
    }
    if (several)
        shard_tx_end(t->shard);
    return err;
}

eg_err shard_tx_head_and_part(struct shard_turn *t, struct transact_head *head,
                              struct transact_part *part) {
    if (!transact_get_head(t->request->key, head))
        return err_note(t->note, EG_BAD_REQUEST, "no head of a transaction");
    if (!transact_get_part(t->request->value, part))
        return err_note(t->note, EG_BAD_REQUEST, "no part of a transaction");
    if (head->deadline_ms != 0 && head->deadline_ms <= t->now_ms)
        return err_note(t->note, EG_ABORTED, "its time is over");
    return EG_OK;
}

/* What it held here is over with it, whatever became of it. */
static void let_go(struct shard *s, struct transact_id id) {
    struct lock_owner *o = s->tx == NULL ? NULL : shard_lock_owner(s->tx->lock, id);

    if (o != NULL && !o->kept)
        shard_tx_release(s, o);
}

/* Does what it has seen stand?  Where a part of a majority table is made anew and it does not, it
 * has been made, or others have gone on from there, and its changes are left out.  Of a disc_only
 * table half of it may be made, and the rest is to be. */
static eg_err stands_or_is_left_out(struct shard_turn *t, const struct transact_head *head,
                                    struct transact_part *part) {
    const struct table *table = t->shard->table;
    eg_err err = shard_tx_stands(t, part);

    if (err != EG_CONFLICT || head->deadline_ms != 0 || !schema_of(table)->majority)
        return err;
    if (table->storage != STORAGE_DISC_ONLY)
        part->want.left = 0;
    return EG_OK;
}

static eg_err tx_one(struct shard_turn *t) {
    struct transact_head head = {.coordinator = 0};
    struct transact_part part;
    eg_err err = shard_tx_head_and_part(t, &head, &part);

    if (err == EG_OK)
        err = shard_ready(t);
    if (err == EG_OK)
        err = stands_or_is_left_out(t, &head, &part);
    if (err == EG_OK && head.deadline_ms == 0)
        err = shard_tx_redo(t, head.id, &part);
    else if (err == EG_OK)
        err = shard_tx_change(t, part.want);
    if (err == EG_OK && (head.id.high | head.id.low) != 0)
        outcome_put(t->shard->table->world->outcomes, head.id, OUTCOME_COMMITTED);
    let_go(t->shard, head.id);
    return err;
}

eg_err shard_tx_run(struct shard_turn *t) {
    switch (t->request->op) {
    case SHARD_TX_READ:
        return tx_read(t);
    case SHARD_TX_ASK:
        return tx_ask(t);
    case SHARD_TX_ONE:
        return tx_one(t);
    case SHARD_TX_PREPARE:
        return shard_tx_prepare(t);
    case SHARD_TX_COMMIT:
        return shard_tx_commit(t);
    case SHARD_TX_ABORT:
        return shard_tx_abort(t);
    case SHARD_TX_LOCK: /* what it asked for has been granted: shard_tx_wait.c */
        t->result->at[t->result->size_bytes++] = 0xc3;
        return EG_OK;
    case SHARD_TX_UNLOCK:
        return shard_tx_unlock(t);
    case SHARD_TX_STATUS:
        return shard_tx_status(t);
    default:
        return err_note(t->note, EG_BAD_REQUEST, "no request of a transaction");
    }
}
