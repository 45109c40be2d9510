/* shard_tx_part.c -- parts that are prepared: kept, held, and changed or forgotten.
 *
 *           PREPARE          COMMIT: all of it is made
 *     (none) -----> prepared -----> (none), and it is remembered that it was
 *                       '---------> (none)   ABORT, or its view has given it up
 *
 * What can be refused is refused before it is prepared: what it saw does not stand, limits, unique
 * values (their gates stay closed until its end), updates of what is not there.  Where a commit
 * finds no memory nothing has changed, the part stays, and who sent it asks again. */
#include "engine/env.h"
#include "engine/failpoint.h"
#include "engine/planted.h"
#include "engine/runtime.h"
#include "tables/disc_record.h"
#include "tables/outcome.h"
#include "tables/shard_copy.h"
#include "tables/shard_edit.h"
#include "tables/shard_index.h"
#include "tables/shard_tx_private.h"
#include "tables/shard_unique.h"
#include "tables/table_private.h"

#include <string.h>

/* ---- what is held ---------------------------------------------------------------------------- */

struct shard_tx *shard_tx_of(struct shard *s) {
    struct alloc *a = s->table->world->o.alloc;

    if (s->tx != NULL)
        return s->tx;
    s->tx = alloc_zero(a, sizeof *s->tx);
    if (s->tx == NULL)
        return NULL;
    s->tx->lock = shard_lock_open(a);
    if (s->tx->lock == NULL) {
        alloc_put(a, s->tx, sizeof *s->tx);
        s->tx = NULL;
    }
    return s->tx;
}

static struct lock_owner *owner_of(const struct shard *s, struct transact_id id) {
    return s->tx == NULL ? NULL : shard_lock_owner(s->tx->lock, id);
}

static size_t part_bytes(const struct shard_part *p) {
    return sizeof *p + p->head_bytes + p->part_bytes;
}

static void forget_part(struct shard *s, struct lock_owner *o) {
    struct shard_part *p = o->part;

    if (p == NULL)
        return;
    if (!unique_set_is_empty(&p->gates))
        unique_leave(&s->table->world->gates, &p->gates);
    alloc_put(s->table->world->o.alloc, p, part_bytes(p));
    o->part = NULL;
    o->kept = false;
    s->tx->prepared--;
}

void shard_tx_release(struct shard *s, struct lock_owner *o) {
    forget_part(s, o);
    shard_lock_release(s->tx->lock, o);
    shard_tx_hold(s);
}

void shard_tx_close(struct shard *s) {
    struct alloc *a = s->table->world->o.alloc;

    if (s->tx == NULL)
        return;
    while (!list_is_empty(&s->tx->lock->owners))
        shard_tx_release(s, EG_CONTAINER_OF(s->tx->lock->owners.next, struct lock_owner, node));
    alloc_put(a, s->tx->done, s->tx->done == NULL ? 0 : SHARD_TX_DONE_MAX * sizeof *s->tx->done);
    if (s->tx->loan != NULL)
        message_free(s->table->world->o.runtime, s->tx->loan);
    shard_lock_close(s->tx->lock);
    alloc_put(a, s->tx, sizeof *s->tx);
    s->tx = NULL;
}

void shard_tx_drop_locks(struct shard *s) {
    struct list_node *next;

    if (s->tx == NULL)
        return;
    for (struct list_node *n = s->tx->lock->owners.next; n != &s->tx->lock->owners; n = next) {
        struct lock_owner *o = EG_CONTAINER_OF(n, struct lock_owner, node);

        next = n->next;
        if (!o->kept)
            shard_tx_release(s, o);
    }
}

/* ---- may it be promised? --------------------------------------------------------------------- */

/* The keys of earlier wants, by their hashes.  Of two that are alike the second is not looked at:
 * it is left out when it is made, if it must be. */
struct touched {
    uint64_t *slot; /* 0: free */
    size_t mask;
};

static eg_err touched_open(struct touched *x, struct reader *r, uint32_t count) {
    size_t room = 2;

    while (room < (size_t) count * 2)
        room *= 2;
    x->mask = room - 1;
    x->slot = reader_scratch(r, room * sizeof *x->slot);
    if (x->slot == NULL)
        return EG_MEMORY;
    memset(x->slot, 0, room * sizeof *x->slot);
    return EG_OK;
}

/* Was it there? */
static bool touch(struct touched *x, uint64_t hash) {
    size_t at = hash & x->mask;

    hash |= hash == 0;
    while (x->slot[at] != 0 && x->slot[at] != hash)
        at = (at + 1) & x->mask;
    if (x->slot[at] == hash)
        return true;
    x->slot[at] = hash;
    return false;
}

/* An update or an increment of what is there. */
static eg_err may_edit(struct shard_turn *t, const struct shard_request *q, const struct key *k) {
    const struct shard_request *whole = t->request;
    struct store *store = t->shard->store;
    const struct record *old;
    struct value array, number;
    eg_err err;

    t->request = q;
    t->key = k;
    old = store->ops->get(store, t->reader, k);
    err = reader_take_fault(t->reader);
    if (old != NULL && shard_expired(old, t->now_ms))
        old = NULL;
    if (err == EG_OK && q->op == SHARD_COUNTER)
        err = shard_edit_counter(t, old, &array, &number);
    else if (err == EG_OK)
        err = old == NULL ? EG_NOT_FOUND : shard_edit_update(t, old, &array);
    t->key = NULL;
    t->request = whole;
    return err;
}

/* What an earlier want has put under the key, nobody knows yet. */
static eg_err may_want(struct shard_turn *t, const struct shard_request *q, struct value key,
                       struct touched *touched) {
    struct key k;
    eg_err err = table_key_checked(t->shard->table, &k, key, t->note);

    if (err != EG_OK)
        return err;
    if (!touch(touched, k.hash) && (q->op == SHARD_UPDATE || q->op == SHARD_COUNTER))
        err = may_edit(t, q, &k);
    key_release(&k);
    return err;
}

/* Close the gates of all values that come and go, until its end. */
static eg_err close_gates(struct shard_turn *t, struct shard_part *p) {
    struct world *w = t->shard->table->world;

    memset(&p->gates, 0xff, sizeof p->gates);
    if (unique_enter(&w->gates, &p->gates, NULL, UNIQUE_PATIENCE_LONG))
        return EG_OK;
    p->gates = (struct unique_set){{0}};
    return err_note(t->note, EG_BUSY, "a value of a unique index is being changed");
}

/* Is one of its values another record's? */
static eg_err is_unique(struct shard_turn *t, const struct shard_request *q) {
    struct shard_turn look = *t;

    look.gated = true;
    if (q->op != SHARD_WRITE && q->op != SHARD_INSERT_NEW)
        return EG_OK;
    return shard_unique_prepare(&look, NULL, q->value);
}

static eg_err may_change(struct shard_turn *t, struct value_iter all, struct shard_part *p) {
    enum { FIELDS = 5 };
    struct value_iter it = all;
    struct touched touched;
    struct shard_request q;
    struct value key;
    eg_err err = touched_open(&touched, t->reader, all.left / FIELDS);

    if (all.left != 0 && memory_over_limit(t->shard->table->world->o.budget))
        return err_note(t->note, EG_MEMORY, "the node is at its memory limit");
    if (err == EG_OK && all.left != 0 && shard_has_unique(t->shard))
        err = close_gates(t, p);
    while (err == EG_OK && it.left != 0) {
        if (!transact_next_want(&it, &q) || !shard_request_key(&q, &key))
            return EG_BAD_REQUEST;
        err = table_check(t->shard->table, &q, t->note);
        if (err == EG_OK)
            err = may_want(t, &q, key, &touched);
        if (err == EG_OK && shard_has_unique(t->shard))
            err = is_unique(t, &q);
    }
    return err;
}

/* ---- on disc --------------------------------------------------------------------------------- */

static eg_err write_now(struct shard *s, const struct disc_batch *b, eg_err err) {
    return err == EG_OK ? disc_write(s->table->world->o.disc, b) : err;
}

static bool is_on_disc(const struct shard *s) {
    return s->table->storage != STORAGE_RAM && s->table->world->o.disc != NULL;
}

/* ---- on disc: those that were committed -------------------------------------------------------
 */

/* The row of a part stays when it is made, and says so: a coordinator that is killed before its
 * decision's row is gone asks again at its next start, and may not be told by this node's memory.
 * The last ones of a shard are enough, for that row goes a moment later. */
static bool has_done_room(struct shard *s) {
    struct shard_tx *tx = shard_tx_of(s);

    if (tx != NULL && tx->done == NULL)
        tx->done = alloc_get(s->table->world->o.alloc, SHARD_TX_DONE_MAX * sizeof *tx->done);
    return tx != NULL && tx->done != NULL;
}

static void note_done(struct shard *s, struct transact_id id) {
    struct shard_tx *tx = s->tx;

    tx->done[tx->done_next] = id;
    tx->done_next = (tx->done_next + 1) % SHARD_TX_DONE_MAX;
    tx->done_count = EG_MIN(tx->done_count + 1, (uint32_t) SHARD_TX_DONE_MAX);
}

/* The row of the one that will make room, if any. */
static bool oldest_done(const struct shard *s, uint64_t key[2]) {
    const struct shard_tx *tx = s->tx;

    if (tx->done_count < SHARD_TX_DONE_MAX)
        return false;
    key[0] = tx->done[tx->done_next].high;
    key[1] = tx->done[tx->done_next].low;
    return true;
}

/* With what the turn changes; of a disc_only table, whose changes are written one by one, behind
 * them: at once.  note_done() follows where all went well. */
static eg_err say_done(struct shard *s, struct transact_id id) {
    const uint64_t key[2] = {id.high, id.low};
    uint64_t oldest[2];
    bool full = oldest_done(s, oldest);
    struct disc_batch b;
    eg_err err;

    if (s->table->storage == STORAGE_DISC) {
        err = shard_log_put_done(&s->log, key);
        return err == EG_OK && full ? shard_log_del_part(&s->log, oldest) : err;
    }
    disc_batch_init(&b, s->table->world->o.alloc);
    err = disc_record_put_done(&b, s->table->disc_table, s->number, key);
    if (err == EG_OK)
        err = disc_record_del_made(&b, s->table->disc_table, s->number, key);
    if (err == EG_OK && full)
        err = disc_record_del_part(&b, s->table->disc_table, s->number, oldest);
    err = write_now(s, &b, err);
    disc_batch_fini(&b);
    return err;
}

/* ---- on disc: those that are prepared ----------------------------------------------------------
 */

/* Before it is promised: a row of its own, at once. */
static eg_err remember_part(struct shard *s, struct transact_id id, struct shard_part *p) {
    const uint64_t key[2] = {id.high, id.low};
    const struct disc_bytes bytes = {p->bytes, p->head_bytes + p->part_bytes};
    struct disc_batch b;
    eg_err err;

    if (!is_on_disc(s))
        return EG_OK;
    if (!has_done_room(s))
        return EG_MEMORY;
    disc_batch_init(&b, s->table->world->o.alloc);
    err = write_now(s, &b, disc_record_put_part(&b, s->table->disc_table, s->number, key, bytes));
    disc_batch_fini(&b);
    p->on_disc = err == EG_OK;
    return err;
}

static eg_err forget_row(struct shard *s, struct transact_id id) {
    const uint64_t key[2] = {id.high, id.low};
    struct disc_batch b;
    eg_err err;

    if (s->table->storage == STORAGE_DISC)
        return shard_log_del_part(&s->log, key);
    disc_batch_init(&b, s->table->world->o.alloc);
    err = disc_record_del_made(&b, s->table->disc_table, s->number, key);
    if (err == EG_OK)
        err = disc_record_del_part(&b, s->table->disc_table, s->number, key);
    err = write_now(s, &b, err);
    disc_batch_fini(&b);
    return err;
}

/* In a disc_only table each change of a part takes along how many are made, so that a kill in
 * between leaves it prepared, and the next start goes on behind those.  Here those of this turn
 * were taken back. */
static void put_made_back(struct shard *s, const uint64_t key[2], uint32_t count) {
    struct disc_batch b;
    eg_err err;

    disc_batch_init(&b, s->table->world->o.alloc);
    b.patient = true; /* as those that took them back; a disc that refuses this has refused them */
    err = count == 0 ? disc_record_del_made(&b, s->table->disc_table, s->number, key)
                     : disc_record_put_made(&b, s->table->disc_table, s->number, key, count);
    (void) write_now(s, &b, err);
    disc_batch_fini(&b);
}

/* A row that stays is found at the next start, and asked after. */
static void forget_row_if_any(struct shard *s, const struct lock_owner *o) {
    const struct shard_part *p = o->part;

    if (p != NULL && p->on_disc)
        (void) forget_row(s, o->id);
}

/* ---- prepare --------------------------------------------------------------------------------- */

static eg_err tell(struct shard *s, enum shard_part_news news, struct value head,
                   struct value part) {
    struct world *w = s->table->world;
    const struct shard_copy_ops *ops = atomic_load_explicit(&w->copy_ops, memory_order_acquire);

    if (ops == NULL || ops->part == NULL || s->copy == NULL)
        return EG_OK;
    return ops->part(w->copy_user, s, news, head, part);
}

static struct shard_part *part_new(struct shard *s, struct value head, struct value part,
                                   uint64_t now_ms) {
    struct shard_part *p =
        alloc_get(s->table->world->o.alloc, sizeof *p + head.size_bytes + part.size_bytes);

    if (p == NULL)
        return NULL;
    *p = (struct shard_part){
        .since_ms = now_ms, .head_bytes = head.size_bytes, .part_bytes = part.size_bytes};
    memcpy(p->bytes, head.at, head.size_bytes);
    memcpy(p->bytes + head.size_bytes, part.at, part.size_bytes);
    return p;
}

static void keep(struct shard *s, struct lock_owner *o, struct shard_part *p) {
    o->part = p;
    o->kept = true;
    s->tx->prepared++;
    shard_tx_hold(s);
}

/* While it waited for its locks another may have changed a record so that now it moves it in an
 * index, which it did not ask for. */
static eg_err holds_all(struct shard_turn *t, const struct lock_owner *o) {
    struct lock_want *want;
    uint32_t count;
    eg_err err;

    if (!shard_has_index(t->shard))
        return EG_OK;
    err = shard_tx_wants(t->shard, t->reader, t->request->value, &want, &count);
    for (uint32_t i = 0; i < count && err == EG_OK; i++)
        if (want[i].hash == SHARD_TX_INDEXES && want[i].exclusive &&
            !shard_lock_has(t->shard->tx->lock, o, &want[i]))
            err = err_note(t->note, EG_CONFLICT, "what it changes has been changed");
    return err;
}

static eg_err prepare(struct shard_turn *t, struct lock_owner *o, struct transact_part *part) {
    struct shard *s = t->shard;
    const struct shard_request *q = t->request;
    struct shard_part *p;
    eg_err err = shard_ready(t);

    if (err == EG_OK)
        err = shard_tx_stands(t, part);
    if (err == EG_OK)
        err = holds_all(t, o);
    if (err != EG_OK)
        return err;
    FAILPOINT("2pc.part.locked", s->table->world->o.runtime, shard_pid(s));
    p = part_new(s, q->key, q->value, t->now_ms);
    if (p == NULL)
        return EG_MEMORY;
    err = may_change(t, part->want, p);
    if (err == EG_OK)
        err = remember_part(s, o->id, p);
    FAILPOINT("2pc.part.logged", s->table->world->o.runtime, shard_pid(s));
    if (err == EG_OK)
        err = tell(s, SHARD_PART_PREPARED, q->key, q->value);
    keep(s, o, p);
    if (err == EG_OK)
        return EG_OK;
    forget_row_if_any(s, o);
    forget_part(s, o);
    return err;
}

static eg_err answer_true(struct shard_turn *t) {
    t->result->at[t->result->size_bytes++] = 0xc3; /* room: shard_run() */
    return EG_OK;
}

eg_err shard_tx_prepare(struct shard_turn *t) {
    struct shard *s = t->shard;
    struct transact_head head = {.coordinator = 0};
    struct transact_part part;
    eg_err err = shard_tx_head_and_part(t, &head, &part);
    struct lock_owner *o = owner_of(s, head.id); /* it has its locks */

    if (o != NULL && o->kept)
        return answer_true(t);     /* it was asked before */
    if (err == EG_OK && o == NULL) /* it looks at nothing and wants nothing */
        return err_note(t->note, EG_BAD_REQUEST, "an empty part of a transaction");
    FAILPOINT("2pc.part.prepare_received", s->table->world->o.runtime, shard_pid(s));
    if (err == EG_OK)
        err = prepare(t, o, &part);
    if (err == EG_OK)
        FAILPOINT("2pc.part.voted", s->table->world->o.runtime, shard_pid(s));
    return err == EG_OK ? answer_true(t) : err;
}

/* ---- its end --------------------------------------------------------------------------------- */

/* What this shard remembers of a transaction, beside what the node does: another shard here may
 * have given up its part. */
static struct transact_id id_here(const struct shard *s, struct transact_id id) {
    return (struct transact_id){id.high ^ schema_of(s->table)->id,
                                id.low ^ (UINT64_C(0x9e3779b97f4a7c15) * (s->number + 1))};
}

static bool remember(struct shard *s, struct transact_id id) {
    struct outcomes *o = s->table->world->outcomes;

    outcome_put(o, id, OUTCOME_COMMITTED);
    outcome_put(o, id_here(s, id), OUTCOME_COMMITTED);
    return outcome_get(o, id_here(s, id)) == OUTCOME_COMMITTED;
}

static bool was_committed(const struct shard *s, struct transact_id id) {
    return outcome_get(s->table->world->outcomes, id_here(s, id)) == OUTCOME_COMMITTED;
}

/* What a majority has given up is not to be made any more (tx_machine.h). */
static void remember_given_up(struct shard *s, struct transact_id id) {
    if (!schema_of(s->table)->majority)
        return;
    outcome_put(s->table->world->outcomes, id_here(s, id), OUTCOME_ABORTED);
}

static bool was_given_up(const struct shard *s, struct transact_id id) {
    return outcome_get(s->table->world->outcomes, id_here(s, id)) == OUTCOME_ABORTED;
}

static eg_err head_of(struct shard_turn *t, struct transact_head *head) {
    if (transact_get_head(t->request->key, head))
        return EG_OK;
    return err_note(t->note, EG_BAD_REQUEST, "no head of a transaction");
}

/* Has who says so not heard yet of the view that this majority table is served in?  There a part of
 * the same may have been given up, or is about to be committed. */
static bool is_of_before(const struct shard_turn *t) {
    const struct shard *s = t->shard;
    uint64_t epoch;

    return schema_of(s->table)->majority && t->request->value.size_bytes != 0 &&
           value_get_u64(t->request->value, &epoch) && epoch != 0 &&
           shard_stamp_of_view(epoch + 1) <= s->hlc;
}

/* The gates of what has changed stay closed until it is written. */
static void pass_gates(struct shard *s, struct shard_part *p) {
    if (unique_set_is_empty(&p->gates))
        return;
    shard_unique_hold(s, &p->gates);
}

static eg_err commit(struct shard_turn *t, struct lock_owner *o) {
    struct shard *s = t->shard;
    struct shard_part *p = o->part;
    bool singly = p->on_disc && s->table->storage == STORAGE_DISC_ONLY;
    struct shard_made made = {{o->id.high, o->id.low}, p->made};
    struct transact_part part;
    struct disc_mark mark;
    eg_err err;

    EG_ASSERT(transact_get_part(shard_part_body(p), &part)); /* it was, when it was kept */
    t->decided = true;
    t->gated = !unique_set_is_empty(&p->gates);
    err = shard_ready(t);
    if (err == EG_OK && !remember(s, o->id)) /* who asks again is to hear that it was */
        err = EG_MEMORY;
    mark = shard_log_mark(&s->log);
    if (err == EG_OK && p->on_disc && !singly)
        err = say_done(s, o->id);
    t->made = singly ? &made : NULL;
    if (err == EG_OK)
        err = shard_tx_change(t, part.want);
    t->made = NULL;
    t->decided = false;
    t->gated = false;
    if (err != EG_OK && singly && made.count != p->made)
        put_made_back(s, made.id, p->made);
    if (err != EG_OK) {
        shard_log_rewind(&s->log, mark); /* what was taken back leaves nothing to write */
        return err;
    }
    if (!singly || say_done(s, o->id) == EG_OK) /* else the next start makes the last one again */
        if (p->on_disc)
            note_done(s, o->id);
    (void) tell(s, SHARD_PART_COMMITTED, shard_part_head(p), (struct value){0}); /* always taken */
    pass_gates(s, p);
    if (!PLANTED(LOCK_NOT_LEFT))
        shard_tx_release(s, o);
    FAILPOINT("2pc.part.applied", s->table->world->o.runtime, shard_pid(s));
    return EG_OK;
}

eg_err shard_tx_commit(struct shard_turn *t) {
    struct transact_head head;
    struct lock_owner *o;
    eg_err err = head_of(t, &head);

    if (err != EG_OK)
        return err;
    o = owner_of(t->shard, head.id);
    FAILPOINT("2pc.part.commit_received", t->shard->table->world->o.runtime, shard_pid(t->shard));
    if (is_of_before(t))
        return err_note(t->note, EG_AGAIN, "there is a later view");
    if (o != NULL && o->kept)
        return commit(t, o);
    if (was_committed(t->shard, head.id) && !PLANTED(COMMIT_NOT_REMEMBERED)) {
        t->result->at[t->result->size_bytes++] = 0x90; /* its results were told */
        return EG_OK;
    }
    if (was_given_up(t->shard, head.id))
        return err_note(t->note, EG_ABORTED, "this part was given up here");
    return err_note(t->note, EG_NOT_FOUND, "no such part is prepared here");
}

eg_err shard_tx_redo(struct shard_turn *t, struct transact_id id,
                     const struct transact_part *part) {
    struct shard *s = t->shard;
    bool on_disc = is_on_disc(s), along = s->table->storage == STORAGE_DISC;
    struct shard_made made = {{id.high, id.low}, 0};
    struct disc_mark mark = shard_log_mark(&s->log);
    uint32_t before = 0;
    eg_err err = EG_OK;

    if (was_committed(s, id)) {
        t->result->at[t->result->size_bytes++] = 0x90; /* room: shard_run() */
        return EG_OK;
    }
    if (on_disc && !has_done_room(s))
        return EG_MEMORY;
    if (on_disc && along)
        err = say_done(s, id);
    else if (on_disc) /* a kill may have left it half made */
        err = disc_record_get_made(s->table->world->o.disc, s->table->disc_table, s->number,
                                   made.id, &before);
    made.count = before;
    t->made = on_disc && !along ? &made : NULL;
    if (err == EG_OK)
        err = shard_tx_change(t, part->want);
    t->made = NULL;
    if (err != EG_OK && made.count != before)
        put_made_back(s, made.id, before);
    if (err != EG_OK) {
        shard_log_rewind(&s->log, mark);
        return err;
    }
    if (on_disc && (along || say_done(s, id) == EG_OK))
        note_done(s, id);
    (void) remember(s, id); /* where there is no memory for it, it may be made again */
    return EG_OK;
}

static eg_err affirm_one(struct shard_turn *t, const struct shard_request *q) {
    static const struct value nothing = {NULL, 0};
    bool stores = q->op == SHARD_WRITE || q->op == SHARD_INSERT_NEW;
    struct value key_value;
    struct key k;
    eg_err err;

    EG_ASSERT(shard_request_key(q, &key_value));
    err = table_key_checked(t->shard->table, &k, key_value, t->note);
    if (err != EG_OK)
        return err;
    err = shard_copy_affirm(t, &k, stores ? q->value : nothing);
    key_release(&k);
    return err;
}

/* Another may have been its master, been told to commit it, and been cut off before anybody heard:
 * what it made would come with the heal.  What is there is later. */
static eg_err affirm(struct shard_turn *t, const struct shard_part *p) {
    const struct shard *s = t->shard;
    struct transact_part part;
    struct shard_request q;
    eg_err err = EG_OK;

    if (!schema_of(s->table)->majority || s->copy == NULL || !(p->marked || p->recovered))
        return EG_OK;
    EG_ASSERT(transact_get_part(shard_part_body(p), &part)); /* it was, when it was kept */
    err = shard_ready(t);
    while (err == EG_OK && part.want.left != 0 && transact_next_want(&part.want, &q))
        err = affirm_one(t, &q);
    return err;
}

eg_err shard_tx_abort(struct shard_turn *t) {
    struct shard *s = t->shard;
    struct transact_head head;
    struct lock_owner *o;
    eg_err err = head_of(t, &head);

    if (err != EG_OK)
        return err;
    if (is_of_before(t))
        return err_note(t->note, EG_AGAIN, "there is a later view");
    o = owner_of(s, head.id);
    if (o != NULL && o->kept)
        err = affirm(t, o->part);
    if (err != EG_OK)
        return err;
    if (o != NULL && o->kept)
        (void) tell(s, SHARD_PART_ABORTED, t->request->key, (struct value){0}); /* always taken */
    if (o != NULL) {
        forget_row_if_any(s, o);
        shard_tx_release(s, o);
    }
    if (s->tx != NULL)
        shard_lock_give_up(s->tx->lock, head.id);
    remember_given_up(s, head.id);
    return answer_true(t);
}

eg_err shard_tx_unlock(struct shard_turn *t) {
    struct shard *s = t->shard;
    struct transact_head head;
    struct lock_owner *o;
    eg_err err = head_of(t, &head);

    if (err != EG_OK)
        return err;
    o = owner_of(s, head.id);
    if (o != NULL && !o->kept)
        shard_tx_release(s, o);
    if (s->tx != NULL)
        shard_lock_give_up(s->tx->lock, head.id);
    return answer_true(t);
}

eg_err shard_tx_status(struct shard_turn *t) {
    struct value_writer w =
        value_writer_init(t->result->at + t->result->size_bytes, SHARD_RESULT_SMALL_BYTES);
    struct transact_head head;
    const struct lock_owner *o;
    eg_err err = head_of(t, &head);

    if (err != EG_OK)
        return err;
    o = owner_of(t->shard, head.id);
    if (o != NULL && o->kept)
        value_put_text(&w, "prepared");
    else if (was_committed(t->shard, head.id))
        value_put_text(&w, "committed");
    else if (was_given_up(t->shard, head.id) ||
             outcome_get(t->shard->table->world->outcomes, head.id) == OUTCOME_ABORTED)
        value_put_text(&w, "aborted");
    else
        value_put_text(&w, "unknown");
    t->result->size_bytes += w.need_bytes;
    return EG_OK;
}

/* ---- copies ---------------------------------------------------------------------------------- */

eg_err shard_tx_mark(struct shard *s, struct reader *r, struct value head_value,
                     struct value part) {
    struct shard_tx *tx = shard_tx_of(s);
    struct lock_request q = {.count = 0};
    struct transact_head head;
    struct lock_owner *o;
    struct shard_part *p;
    struct lock_want *want;
    eg_err err;

    if (!transact_get_head(head_value, &head))
        return EG_BAD_REQUEST;
    err = tx == NULL ? EG_MEMORY : shard_tx_wants(s, r, part, &want, &q.count);
    if (err != EG_OK)
        return err;
    o = owner_of(s, head.id);
    if (o != NULL) {
        p = o->part;
        if (p != NULL)
            p->marked = true; /* ours before, and another has been its master since */
        return EG_OK;
    }
    p = part_new(s, head_value, part, (uint64_t) env_wall_ms(s->table->world->o.env));
    if (p == NULL)
        return EG_MEMORY;
    p->marked = true;
    q.id = head.id;
    q.age = head.age;
    q.want = want;
    err = shard_lock_take(tx->lock, &q);
    if (err != EG_OK) {
        alloc_put(s->table->world->o.alloc, p, part_bytes(p));
        return err;
    }
    keep(s, owner_of(s, head.id), p);
    return EG_OK;
}

void shard_tx_unmark(struct shard *s, struct transact_id id, enum outcome what) {
    struct lock_owner *o = owner_of(s, id);

    if (what == OUTCOME_COMMITTED && !was_given_up(s, id))
        (void) remember(s, id); /* who lacks memory for that asks others */
    else if (what == OUTCOME_ABORTED && schema_of(s->table)->majority)
        outcome_revoke(s->table->world->outcomes, id_here(s, id)); /* we may have made it, alone */
    if (o == NULL || !o->kept)
        return;
    forget_row_if_any(s, o);
    shard_tx_release(s, o);
}

void shard_tx_each(struct shard *s,
                   bool (*see)(void *context, struct value head, struct value part),
                   void *context) {
    struct list_node *next;

    if (s->tx == NULL)
        return;
    for (struct list_node *n = s->tx->lock->owners.next; n != &s->tx->lock->owners; n = next) {
        const struct shard_part *p = EG_CONTAINER_OF(n, struct lock_owner, node)->part;

        next = n->next;
        if (p != NULL && !see(context, shard_part_head(p), shard_part_body(p)))
            return;
    }
}

/* ---- after a start --------------------------------------------------------------------------- */

/* Head and part stand behind each other. */
static eg_err take_back(struct shard *s, struct reader *r, struct disc_bytes row) {
    struct value head = {row.at, 0}, part;
    struct transact_head h;
    struct shard_part *p;
    size_t head_bytes, part_bytes;
    eg_err err;

    if (value_scan(row.at, row.size_bytes, &head_bytes) != EG_OK ||
        value_scan(row.at + head_bytes, row.size_bytes - head_bytes, &part_bytes) != EG_OK)
        return EG_CORRUPT;
    head.size_bytes = (uint32_t) head_bytes;
    part = (struct value){row.at + head_bytes, (uint32_t) part_bytes};
    if (!transact_get_head(head, &h))
        return EG_CORRUPT;
    if (!has_done_room(s))
        return EG_MEMORY;
    err = shard_tx_mark(s, r, head, part);
    if (err != EG_OK)
        return err == EG_BAD_REQUEST ? EG_CORRUPT : err;
    p = owner_of(s, h.id)->part;
    p->marked = false;
    p->on_disc = p->recovered = true;
    p->since_ms = 0; /* it is asked after at once */
    return EG_OK;
}

static eg_err take_back_done(struct shard *s, const uint64_t key[2]) {
    const struct transact_id id = {key[0], key[1]};

    if (!has_done_room(s) || !remember(s, id))
        return EG_MEMORY;
    note_done(s, id);
    return EG_OK;
}

/* A part that had been begun to be made was committed, whoever may be asked after it. */
static void take_back_made(struct shard *s, const uint64_t key[2], uint32_t count) {
    const struct transact_id id = {key[0], key[1]};
    struct lock_owner *o = owner_of(s, id);
    struct shard_part *p = o == NULL ? NULL : o->part;

    if (p == NULL)
        return;
    p->made = count;
    outcome_put(s->table->world->outcomes, id, OUTCOME_COMMITTED);
}

eg_err shard_tx_recover(struct shard *s) {
    struct reader r = {.alloc = s->table->world->o.alloc}; /* for its scratch alone */
    uint8_t from[DISC_PREFIX_BYTES], to[DISC_PREFIX_BYTES];
    const struct disc_range range = {
        .from = {from, disc_row_prefix(from, s->number, DISC_ROW_PART)},
        .to = {to, disc_row_prefix(to, s->number, DISC_ROW_LAST)},
        .whole = true};
    struct disc_iter *it;
    eg_err err = disc_iter_open(s->table->world->o.disc, s->table->disc_table, &range, &it);

    if (err != EG_OK)
        return err;
    for (it->ops->seek(it, range.from); it->valid && err == EG_OK; it->ops->next(it)) {
        uint64_t id[2];
        uint32_t made;

        if (disc_record_is_done(it->key, it->value, id))
            err = take_back_done(s, id);
        else if (disc_record_is_made(it->key, it->value, id, &made))
            take_back_made(s, id, made);
        else
            err = take_back(s, &r, it->value);
        reader_reset(&r);
    }
    if (err == EG_OK)
        err = it->err;
    it->ops->close(it);
    return err;
}

void shard_tx_role(struct shard *s, enum shard_role role) {
    struct list_node *next;

    if (s->tx == NULL || role == SHARD_STOPPED || role == SHARD_ALONE || shard_role_leads(role))
        return;
    for (struct list_node *n = s->tx->lock->owners.next; n != &s->tx->lock->owners; n = next) {
        struct lock_owner *o = EG_CONTAINER_OF(n, struct lock_owner, node);
        const struct shard_part *p = o->part;

        next = n->next;
        if (p == NULL || !p->recovered)
            continue;
        forget_row_if_any(s, o);
        shard_tx_release(s, o);
    }
}

void shard_tx_drop_parts(struct shard *s) {
    struct list_node *next;

    if (s->tx == NULL)
        return;
    for (struct list_node *n = s->tx->lock->owners.next; n != &s->tx->lock->owners; n = next) {
        struct lock_owner *o = EG_CONTAINER_OF(n, struct lock_owner, node);

        next = n->next;
        if (o->part == NULL)
            continue;
        forget_row_if_any(s, o);
        shard_tx_release(s, o);
    }
}

bool shard_tx_is_prepared(const struct shard *s) {
    return s->tx != NULL && s->tx->prepared != 0;
}
