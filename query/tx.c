/* tx.c -- a transaction's life: begun, nested, ended.
 *
 *     OVER --begin--> OPEN --commit--> OVER
 *                      |  '--commit--> COMMITTING --answered--> OVER
 *                      |--abort, deadline--> ABORTED --begin--> OPEN
 *                      '--lose-------------> CONFLICT --begin--> OPEN
 *
 * What it took of memory stays for the next one, unless it was much. */
#include "query/tx_private.h"

#include <stdio.h>
#include <string.h>

enum {
    MS_NS = 1000 * 1000,
    GRACE_MS = 5000, /* behind its deadline: who commits it says by then what became of it */
    UNLOCK_MS = 1000 /* a lock that is not given back by then ends with the transaction's time */
};

eg_err tx_open(struct tx **out, const struct tx_opts *o) {
    struct tx *tx = alloc_zero(o->alloc, sizeof *tx);

    if (tx == NULL)
        return EG_MEMORY;
    tx->o = *o;
    tx->root = (struct transact_id){env_random(o->env), env_random(o->env)};
    list_init(&tx->scans);
    buffer_init(&tx->bytes, o->alloc, TX_BYTES_MAX);
    buffer_init(&tx->rows, o->alloc, TX_BYTES_MAX);
    buffer_init(&tx->locks.head, o->alloc, SIZE_MAX);
    buffer_init(&tx->locks.want, o->alloc, SIZE_MAX);
    buffer_init(&tx->hint_bytes, o->alloc, TX_BYTES_MAX);
    *out = tx;
    return EG_OK;
}

static void give_back(struct tx *tx) {
    struct alloc *a = tx->o.alloc;

    for (uint32_t i = 0; i < tx->table_room; i++)
        alloc_put(a, tx->table[i].touched, tx->table[i].touched_room * sizeof(uint32_t));
    alloc_put(a, tx->table, tx->table_room * sizeof *tx->table);
    alloc_put(a, tx->key, tx->key_room * sizeof *tx->key);
    alloc_put(a, tx->write, tx->write_room * sizeof *tx->write);
    alloc_put(a, tx->slot, tx->slot_room * sizeof *tx->slot);
    buffer_fini(&tx->bytes);
    buffer_fini(&tx->rows);
    tx->table = NULL;
    tx->key = NULL;
    tx->write = NULL;
    tx->slot = NULL;
    tx->table_room = tx->key_room = tx->write_room = tx->slot_room = 0;
}

static size_t memory_bytes(const struct tx *tx) {
    size_t bytes = sizeof *tx + tx->table_room * sizeof *tx->table +
                   tx->key_room * sizeof *tx->key + tx->write_room * sizeof *tx->write +
                   tx->slot_room * sizeof *tx->slot + tx->bytes.room_bytes + tx->rows.room_bytes;

    for (uint32_t i = 0; i < tx->table_room; i++)
        bytes += tx->table[i].touched_room * sizeof(uint32_t);
    for (const struct tx_question *q = tx->questions; q != NULL; q = q->next)
        bytes += q->size_bytes;
    return bytes;
}

/* Nothing of it is left but its memory, its id and its age. */
static void empty(struct tx *tx) {
    if (EG_UNLIKELY(!list_is_empty(&tx->scans)))
        tx_scans_end(tx);
    if (EG_UNLIKELY(tx->questions != NULL))
        tx_questions_free(tx);
    tx_tables_leave(tx);
    tx->slot_count = 0;
    tx->key_count = tx->write_count = tx->level_count = tx->seen_count = 0;
    tx->early_count = 0;
    tx->shown = 0;
    tx->fixed_bytes = 0;
    buffer_clear(&tx->bytes);
    tx->asks = TX_ASKS_NOTHING;
    tx->asked_scan = NULL;
    tx->failed = EG_OK;
    tx->refusals = 0;
    tx->locks.next = 0;
    tx->locks.granted = false;
    tx->locks.unheard = false;
    if (EG_UNLIKELY(memory_bytes(tx) > TX_KEPT_BYTES))
        give_back(tx);
}

void tx_close(struct tx *tx) {
    empty(tx);
    give_back(tx);
    tx_locks_fini(tx);
    tx_hints_fini(tx);
    alloc_put(tx->o.alloc, tx, sizeof *tx);
}

/* The exact clock is looked at once in each of the coarse one's ticks, which are some milliseconds:
 * a call that reads one record takes less time than that would. */
static inline uint64_t about_now_ns(struct tx *tx) {
    int64_t tick_ms = env_wall_ms(tx->o.env);

    if (EG_UNLIKELY(tick_ms != tx->tick_ms)) {
        tx->tick_ms = tick_ms;
        tx->tick_ns = env_now_ns(tx->o.env);
    }
    return tx->tick_ns;
}

void tx_begin(struct tx *tx, const struct tx_start *start) {
    uint64_t timeout_ms = start->timeout_ms != 0 ? start->timeout_ms : (uint64_t) TX_TIMEOUT_MS;
    uint64_t now_ns = about_now_ns(tx);

    if (tx->state == TX_OPEN)
        empty(tx);
    tx->state = TX_OPEN;
    tx->unanswered = false; /* whoever began it anew throws away what it had asked for */
    tx->began_ns = now_ns;
    tx->deadline_ns =
        timeout_ms < (UINT64_MAX - now_ns) / MS_NS ? now_ns + timeout_ms * MS_NS : UINT64_MAX;
    if (EG_UNLIKELY(tx->locks.count != 0))
        tx_locks_forget(tx);
    if (EG_UNLIKELY(tx->hint_count != 0) && start->age.ms == 0)
        tx_hints_clear(tx);
    tx->hint_at = 0;
    tx->id = start->id;
    tx->id_given = start->id.high != 0 || start->id.low != 0;
    tx->age = start->age;
}

static void end(struct tx *tx, enum tx_state state, const char *why) {
    snprintf(tx->why, sizeof tx->why, "%s", why == NULL ? "" : why);
    empty(tx);
    tx->state = state;
}

void tx_abort(struct tx *tx, const char *why) {
    if (tx->state == TX_OPEN)
        end(tx, TX_ABORTED, why != NULL ? why : "the transaction was aborted");
}

void tx_lost(struct tx *tx) {
    tx_hints_take(tx);
    end(tx, TX_CONFLICT, "what the transaction has seen was changed by another");
}

eg_err tx_lose(struct tx *tx, struct err_note *note) {
    tx_lost(tx);
    return err_note(note, EG_CONFLICT, "%s", tx->why);
}

void tx_end_refused(struct tx *tx, const char *why) {
    end(tx, TX_ABORTED, why != NULL && why[0] != '\0' ? why : "the transaction was refused");
}

void tx_end_committed(struct tx *tx) {
    empty(tx);
    tx->state = TX_OVER;
}

enum tx_state tx_state(const struct tx *tx) {
    return tx->state;
}

struct transact_id tx_id(struct tx *tx) {
    while (tx->id.high == 0 && tx->id.low == 0)
        tx->id = (struct transact_id){tx->root.high, ++tx->root.low};
    return tx->id;
}

struct transact_age tx_age(struct tx *tx) {
    if (tx->age.ms == 0)
        tx->age = (struct transact_age){
            .ms = (uint64_t) env_wall_ms(tx->o.env), .node = tx->o.node, .count = ++tx->root.low};
    return tx->age;
}

uint64_t tx_deadline_ms(const struct tx *tx) {
    uint64_t now_ns = env_now_ns(tx->o.env), now_ms = (uint64_t) env_wall_ms(tx->o.env);

    return tx->deadline_ns > now_ns ? now_ms + (tx->deadline_ns - now_ns) / MS_NS : now_ms;
}

uint64_t tx_began_ns(const struct tx *tx) {
    return tx->began_ns;
}

uint64_t tx_deadline_ns(const struct tx *tx) {
    return tx->deadline_ns;
}

eg_err tx_check(struct tx *tx, struct err_note *note) {
    if (EG_LIKELY(tx->state == TX_OPEN)) {
        if (EG_LIKELY(about_now_ns(tx) < tx->deadline_ns))
            return EG_OK;
        tx_abort(tx, "the transaction's time is over");
    }
    if (tx->state == TX_CONFLICT)
        return err_note(note, EG_CONFLICT, "%s", tx->why);
    return err_note(note, EG_ABORTED, "%s",
                    tx->state == TX_ABORTED ? tx->why : "the transaction is over");
}

eg_err tx_enter(struct tx *tx, struct err_note *note) {
    eg_err err = tx_check(tx, note);

    if (err != EG_OK)
        return err;
    EG_ASSERT(!tx->unanswered); /* who holds it asks, and waits, first */
    tx->asks = TX_ASKS_NOTHING;
    if (EG_LIKELY(tx->failed == EG_OK))
        return EG_OK;
    err = tx->failed;
    tx->failed = EG_OK;
    return err_note(note, err, "%s", tx->failed_note.text);
}

void tx_each_wanted(struct tx *tx, void (*see)(void *context, struct table *t), void *context) {
    for (uint32_t i = 0; i < tx->table_count; i++) {
        eg_err err;
        struct table *t = tx->table[i].touched_count == 0 ? NULL : tx_table_now(tx, i, &err);

        if (t != NULL)
            see(context, t);
    }
}

struct tx_stats tx_stats(const struct tx *tx) {
    return (struct tx_stats){.seen = tx->seen_count,
                             .questions = tx->question_count,
                             .wanted = tx->write_count,
                             .bytes = memory_bytes(tx),
                             .levels = tx->level_count,
                             .locks = tx->locks.count};
}

/* ---- levels ------------------------------------------------------------------------- */

uint32_t tx_level(const struct tx *tx) {
    return tx->level_count;
}

struct tx_mark tx_mark(const struct tx *tx) {
    return (struct tx_mark){.writes = tx->write_count, .bytes = tx->bytes.size_bytes};
}

void tx_undo_to(struct tx *tx, struct tx_mark mark) {
    while (tx->write_count > mark.writes) {
        const struct tx_write *w = &tx->write[--tx->write_count];
        tx->key[w->key].newest = w->previous;
    }
    /* What was seen stays, and so do the bytes it needs. */
    tx->bytes.size_bytes = EG_MIN(tx->bytes.size_bytes, EG_MAX(mark.bytes, tx->fixed_bytes));
    tx_scans_undone(tx);
}

eg_err tx_level_begin(struct tx *tx) {
    if (tx->state != TX_OPEN)
        return tx->state == TX_CONFLICT ? EG_CONFLICT : EG_ABORTED;
    if (tx->level_count == TX_LEVELS_MAX)
        return EG_TOO_LARGE;
    tx->level[tx->level_count++] = tx_mark(tx);
    return EG_OK;
}

void tx_level_end(struct tx *tx) {
    if (tx->state == TX_OPEN) {
        EG_ASSERT(tx->level_count > 0);
        tx->level_count--;
    }
}

void tx_level_undo(struct tx *tx) {
    uint32_t count = tx->write_count;
    struct tx_mark mark;

    if (tx->state != TX_OPEN)
        return; /* nothing is left to be undone */
    EG_ASSERT(tx->level_count > 0);
    mark = tx->level[--tx->level_count];
    tx_undo_to(tx, mark);
    for (uint32_t i = mark.writes; i < count; i++) {
        struct tx_write w = tx->write[i];

        if (!w.stays)
            continue;
        w.previous = tx->key[w.key].newest;
        tx->key[w.key].newest = tx->write_count;
        tx->write[tx->write_count++] = w; /* at or before where it was */
    }
}

void tx_change_stays(struct tx *tx) {
    EG_ASSERT(tx->write_count != 0);
    tx->write[tx->write_count - 1].stays = true;
    tx->fixed_bytes = tx->bytes.size_bytes;
}

void tx_forget_wants(struct tx *tx) {
    if (tx->state != TX_OPEN)
        return;
    tx_scans_end(tx);
    tx->level_count = 0;
    tx->write_count = 0;
    for (uint32_t i = 0; i < tx->key_count; i++)
        tx->key[i].newest = TX_NONE;
}

/* ---- asking -------------------------------------------------------------------------- */

/* Its own locks are not in its way; without any it holds nothing, and has only a deadline. */
static eg_err pack_look(struct tx *tx, struct value *out) {
    const struct transact_head h = {.coordinator = tx->o.node, .deadline_ms = tx_deadline_ms(tx)};
    struct buffer *head = &tx->locks.head;
    eg_err err = EG_OK;

    if (tx->locks.count == 0) {
        buffer_clear(head);
        err = transact_pack_head(&h, head);
    }
    *out = (struct value){head->at, (uint32_t) head->size_bytes};
    return err;
}

static eg_err ask_key(struct tx *tx, eg_pid *to, struct message **out) {
    const struct tx_key *key = &tx->key[tx->asked_key];
    struct shard_request q = {.op = SHARD_TX_READ, .attribute = SHARD_NO_ATTRIBUTE};
    struct table *t;
    eg_err err;

    t = tx_table_now(tx, key->table, &err);
    if (t == NULL)
        return err;
    q.key = tx_key_value(tx, tx->asked_key);
    err = pack_look(tx, &q.value);
    return err == EG_OK ? transact_message(t, key->shard, &q, to, out) : err;
}

static eg_err ask_scan(struct tx *tx, eg_pid *to, struct message **out) {
    return tx_scan_ask(tx->asked_scan, to, out);
}

static uint64_t after(uint64_t ns, uint64_t ms) {
    return ns < UINT64_MAX - ms * MS_NS ? ns + ms * MS_NS : UINT64_MAX;
}

static uint64_t until_ns(const struct tx *tx) {
    if (tx->locks.unlocking)
        return tx->locks.unheard ? 1 : after(env_now_ns(tx->o.env), UNLOCK_MS);
    return tx->state == TX_COMMITTING ? after(tx->deadline_ns, GRACE_MS) : tx->deadline_ns;
}

uint64_t tx_waits_until_ns(const struct tx *tx) {
    return tx->unanswered ? tx->until_ns : 0;
}

eg_err tx_leave(struct tx *tx, eg_pid *to, struct message **out) {
    tx_abort(tx, NULL);
    return tx->state == TX_COMMITTING ? EG_NOT_FOUND /* they go with what it has sent */
                                      : tx_unlock_ask(tx, to, out);
}

eg_err tx_ask(struct tx *tx, struct reader *r, eg_pid *to, struct message **out) {
    eg_err err = EG_NOT_FOUND;

    (void) r; /* says that there is a section */
    if (tx->unanswered)
        return err;
    if (EG_UNLIKELY(tx->locks.count != 0) && tx->state != TX_OPEN && tx->state != TX_COMMITTING) {
        err = tx_unlock_ask(tx, to, out);
        tx->unanswered = tx->locks.unlocking = err == EG_OK;
        tx->until_ns = until_ns(tx);
        return err;
    }
    if (tx->state == TX_ABORTED || tx->state == TX_CONFLICT)
        return err;
    switch (tx->asks) {
    case TX_ASKS_NOTHING:
        return err;
    case TX_ASKS_KEY:
        err = ask_key(tx, to, out);
        break;
    case TX_ASKS_SCAN:
        err = ask_scan(tx, to, out);
        break;
    case TX_ASKS_LOCK:
        err = tx_lock_ask(tx, to, out);
        break;
    case TX_ASKS_COMMIT:
        err = tx_commit_ask(tx, to, out);
        break;
    }
    tx->unanswered = err == EG_OK;
    tx->until_ns = until_ns(tx);
    if (err != EG_OK && err != EG_NOT_FOUND && tx->asks == TX_ASKS_COMMIT) {
        tx_commit_refused(tx, err);
        err = EG_NOT_FOUND;
    } else if (err != EG_OK && err != EG_NOT_FOUND) { /* the call that comes again says it */
        tx->failed = err;
        tx->failed_note.text[0] = '\0';
        tx->asks = TX_ASKS_NOTHING;
        err = EG_NOT_FOUND;
    }
    return err;
}

enum tx_anew tx_anew(const struct tx *tx) {
    return tx->asks == TX_ASKS_KEY    ? TX_ANEW_SAME
           : tx->asks == TX_ASKS_SCAN ? TX_ANEW_ALL
                                      : TX_ANEW_NOT;
}

/* [[record, ...], version] */
static eg_err key_answered(struct tx *tx, struct value answer) {
    struct tx_key *key = &tx->key[tx->asked_key];
    struct value_iter it = value_iter_of(answer);
    struct value records;
    uint64_t version;
    eg_err err;

    if (!value_iter_next(&it, &records) || value_kind_of(records) != VALUE_ARRAY ||
        !value_iter_u64(&it, &version))
        return EG_INTERNAL;
    if (key->seen && key->version != version) {
        tx_lost(tx); /* the next call says so */
        return EG_OK;
    }
    err = tx_bytes_put(tx, records.at, records.size_bytes, &key->kept_at);
    if (err != EG_OK)
        return err;
    key->kept_bytes = records.size_bytes;
    tx->fixed_bytes = tx->bytes.size_bytes;
    key->version = version;
    tx->seen_count += !key->seen;
    key->seen = true;
    return EG_OK;
}

/* A shard has said so, or nobody anything. */
static bool is_late(const struct tx *tx, eg_err err) {
    return err == EG_ABORTED || (err == EG_TIMEOUT && env_now_ns(tx->o.env) >= tx->deadline_ns);
}

void tx_answered(struct tx *tx, eg_err err, struct value result) {
    enum { REFUSALS_MAX = 100 * 1000 };
    enum tx_asks asks = tx->asks;

    if (!tx->unanswered)
        return; /* of one that was ended meanwhile */
    tx->unanswered = false;
    if (EG_UNLIKELY(tx->locks.unlocking)) {
        tx->locks.unlocking = false;
        tx->locks.unheard |= err == EG_TIMEOUT;
        return; /* what it did not hear ends with its time */
    }
    if (EG_UNLIKELY(err == EG_CONFLICT) && asks != TX_ASKS_COMMIT) {
        tx->asks = TX_ASKS_NOTHING;
        if (tx->state == TX_OPEN)
            tx_lost(tx);
        return; /* the next call says so */
    }
    if (EG_UNLIKELY(is_late(tx, err)) && asks != TX_ASKS_COMMIT) {
        tx->asks = TX_ASKS_NOTHING;
        tx_abort(tx, "the transaction's time is over");
        return;
    }
    if (asks == TX_ASKS_SCAN) {
        tx_scan_answered(tx->asked_scan, err, result);
        return;
    }
    if (asks == TX_ASKS_COMMIT) {
        tx_commit_answered(tx, err, result);
        return;
    }
    tx->asks = TX_ASKS_NOTHING;
    if (tx->state != TX_OPEN)
        return;
    if ((err == EG_BUSY || err == EG_NOPROC) && tx->refusals++ < REFUSALS_MAX)
        return; /* the call that comes again asks again */
    if (err == EG_OK && asks == TX_ASKS_KEY)
        err = key_answered(tx, result);
    else if (err == EG_OK)
        tx->locks.granted = true;
    if (err == EG_OK) {
        tx->refusals = 0;
        return;
    }
    tx->failed = err == EG_NOPROC ? EG_BUSY : err;
    (void) err_note(&tx->failed_note, err, "%.*s", (int) result.size_bytes,
                    (const char *) result.at);
}
