/* shard_tx_wait.c -- who may go on, and who waits for what transactions hold.
 *
 *     CALL --admit--> run --> its answer
 *             '-----> kept in the queue of shard_lock.h --go_on--> run
 *
 * Plain operations are looked at where a transaction holds anything here, others always. */
#include "engine/env.h"
#include "engine/planted.h"
#include "engine/runtime.h"
#include "tables/reshape.h"
#include "tables/shard_actor.h"
#include "tables/shard_copy.h"
#include "tables/shard_index.h"
#include "tables/shard_tx_private.h"
#include "tables/table_private.h"

#include <string.h>

enum {
    WAIT_MS_MAX = 5000, /* a plain operation, or what has no deadline    */
    DOUBT_MS = 2000,    /* so old it is asked what became of a prepared part */
    STOP_MS = 2000,     /* a shard that stops waits for prepared parts   */
    FEW_WANTS = SHARD_TX_PATH_WANTS,
};

/* ---- what an operation needs ----------------------------------------------------------------- */

/* Returns how many, at most two. */
static uint32_t wants_of_plain(const struct shard_turn *t, struct lock_want *want) {
    enum shard_op op = t->request->op;

    if (op == SHARD_WRITE_MANY || op == SHARD_CLEAR) {
        *want = (struct lock_want){.whole = true, .exclusive = true};
        return 1;
    }
    if (t->key == NULL)
        return 0;
    *want = (struct lock_want){.hash = t->key->hash, .exclusive = !shard_op_reads(op)};
    if (!want->exclusive || !shard_has_index(t->shard))
        return 1;
    want[1] = (struct lock_want){.hash = SHARD_TX_INDEXES, .exclusive = true};
    return 2;
}

/* [exclusive, key or nil, ...] */
static eg_err wants_of_lock(struct shard_turn *t, struct lock_want **out, uint32_t *count) {
    struct value list = t->request->value, exclusive, key_value;
    struct lock_want *want;
    struct value_iter it;

    if (list.size_bytes == 0 || value_kind_of(list) != VALUE_ARRAY || value_count(list) % 2 != 0)
        return EG_BAD_REQUEST;
    *out = want = reader_scratch(t->reader, (value_count(list) / 2u + 1u) * sizeof *want);
    if (want == NULL)
        return EG_MEMORY;
    it = value_iter_of(list);
    for (*count = 0; value_iter_next(&it, &exclusive); ++*count, want++) {
        struct key k;
        eg_err err;

        *want = (struct lock_want){.whole = true};
        if (!value_get_bool(exclusive, &want->exclusive) || !value_iter_next(&it, &key_value))
            return EG_BAD_REQUEST;
        if (value_kind_of(key_value) == VALUE_NIL)
            continue;
        err = table_key_checked(t->shard->table, &k, key_value, t->note);
        if (err != EG_OK)
            return err;
        want->whole = false;
        want->hash = k.hash;
        key_release(&k);
    }
    return EG_OK;
}

/* Whose it is: the head is the key, of a READ its value.  One without an id holds nothing, and
 * looks as a plain operation does, but no longer than its transaction has time. */
static eg_err owner_of_request(struct shard_turn *t, struct lock_request *q) {
    bool reads = t->request->op == SHARD_TX_READ;
    struct value packed = reads ? t->request->value : t->request->key;
    struct transact_head head;

    if (reads && packed.size_bytes == 0)
        return EG_OK;
    if (!transact_get_head(packed, &head))
        return err_note(t->note, EG_BAD_REQUEST, "no head of a transaction");
    q->id = head.id;
    q->age = head.age;
    if (head.deadline_ms != 0 &&
        (!transact_id_is_none(head.id) || head.deadline_ms < q->deadline_ms))
        q->deadline_ms = head.deadline_ms;
    return EG_OK;
}

static bool is_kept(const struct shard *s, struct transact_id id) {
    const struct lock_owner *o = s->tx == NULL ? NULL : shard_lock_owner(s->tx->lock, id);
    return o != NULL && o->kept;
}

static bool is_idle(const struct shard *s) {
    return s->tx == NULL || (s->tx->lock->owner_count == 0 && s->tx->lock->waiter_count == 0);
}

/* What the request wants to lock; *count 0: nothing. */
static eg_err wants_of(struct shard_turn *t, struct lock_request *q,
                       struct lock_want few[FEW_WANTS]) {
    enum shard_op op = t->request->op;
    struct lock_want *want = few;
    eg_err err;

    q->want = few;
    if (!shard_op_transacts(op)) {
        q->count = wants_of_plain(t, few);
        return EG_OK;
    }
    if (op == SHARD_TX_COMMIT || op == SHARD_TX_ABORT || op == SHARD_TX_UNLOCK ||
        op == SHARD_TX_STATUS)
        return EG_OK;
    err = owner_of_request(t, q);
    if (err != EG_OK)
        return err;
    if (op == SHARD_TX_PREPARE && is_kept(t->shard, q->id))
        return EG_OK; /* it was asked before, and holds it: who waits for that is not in its way */
    q->passing = op == SHARD_TX_READ || op == SHARD_TX_ASK;
    if (op == SHARD_TX_READ) {
        *few = (struct lock_want){.hash = t->key->hash};
        q->count = 1;
    } else if (op == SHARD_TX_ASK) {
        err = shard_tx_wants_of_path(t->shard, t->reader, t->request->value, few, &q->count);
    } else if (op == SHARD_TX_LOCK) {
        err = wants_of_lock(t, &want, &q->count);
    } else {
        err = shard_tx_wants(t->shard, t->reader, t->request->value, &want, &q->count);
    }
    q->want = want;
    return err != EG_BAD_REQUEST ? err
                                 : err_note(t->note, err, "no part of a transaction, or no locks");
}

static bool takes_locks(enum shard_op op) {
    return op == SHARD_TX_LOCK || op == SHARD_TX_PREPARE;
}

eg_err shard_tx_admit(struct shard_turn *t, void *waiter) {
    struct shard *s = t->shard;
    struct lock_request q = {.deadline_ms = t->now_ms + WAIT_MS_MAX};
    struct lock_want few[FEW_WANTS];
    struct shard_tx *tx;
    eg_err err;

    if (is_idle(s) && !takes_locks(t->request->op))
        return EG_OK;
    err = wants_of(t, &q, few);
    if (err != EG_OK || q.count == 0)
        return err;
    if (PLANTED(READ_PAST_PREPARED) && shard_op_reads(t->request->op))
        return EG_OK;
    tx = shard_tx_of(s);
    if (tx == NULL)
        return EG_MEMORY;
    err = shard_lock_ask(tx->lock, &q, waiter);
    if (err == EG_OK)
        shard_tx_hold(s);
    if (err == EG_CONFLICT)
        return err_note(t->note, err, "an older transaction holds what it needs");
    return err != EG_BUSY ? err : err_note(t->note, err, "too many wait for transactions here");
}

void shard_tx_refused(const struct shard_turn *t) {
    struct shard *s = t->shard;
    enum shard_op op = t->request->op;
    struct transact_head head;
    struct lock_owner *o;

    if (s->tx == NULL || (op != SHARD_TX_PREPARE && op != SHARD_TX_ONE) ||
        !transact_get_head(t->request->key, &head))
        return;
    o = shard_lock_owner(s->tx->lock, head.id);
    if (o != NULL && !o->kept)
        shard_tx_release(s, o);
}

/* ---- going on -------------------------------------------------------------------------------- */

static uint64_t wall_ms(const struct shard *s) {
    return (uint64_t) env_wall_ms(s->table->world->o.env);
}

/* Its transaction's, and not that of how long it may wait here. */
static bool is_late(const struct shard *s, const struct message *m) {
    struct shard_request q = shard_request_unpack(m->payload);
    struct transact_head head;

    return transact_get_head(q.op == SHARD_TX_READ ? q.value : q.key, &head) &&
           head.deadline_ms != 0 && head.deadline_ms <= wall_ms(s);
}

static void refuse(struct actor *self, const struct shard *s, struct message *m, eg_err err) {
    const char *why = "a transaction holds it";

    if (err == EG_CONFLICT) {
        why = "an older transaction holds what it needs";
    } else if (!shard_op_transacts((enum shard_op) m->tag)) {
        err = EG_BUSY;
    } else if (err == EG_TIMEOUT && is_late(s, m)) {
        err = EG_ABORTED;
        why = "the transaction's time is over";
    } else {
        err = EG_CONFLICT;
    }
    actor_reply_bytes(self, m->from, m->ref, err, why, strlen(why));
    message_free(actor_runtime(self), m);
}

bool shard_tx_keeps_loan(struct actor *self, struct shard *s, struct message *m) {
    static const uint8_t yes = 0xc3;
    struct message *before;

    if (!shard_tx_is_prepared(s))
        return false;
    before = s->tx->loan;
    if (before != NULL) { /* that moment has given up */
        actor_reply_bytes(self, before->from, before->ref, EG_OK, &yes, 1);
        message_free(actor_runtime(self), before);
    }
    s->tx->loan = m;
    actor_keep(self, m);
    return true;
}

static void lend(struct actor *self, struct shard *s) {
    struct message *m = s->tx->loan;

    if (EG_LIKELY(m == NULL) || s->tx->prepared != 0)
        return;
    s->tx->loan = NULL;
    shard_lend(self, s, m);
    message_free(actor_runtime(self), m);
}

void shard_tx_go_on(struct actor *self, struct shard *s) {
    struct message *m;
    eg_err err;

    if (s->tx == NULL)
        return;
    while ((m = shard_lock_next(s->tx->lock, s->tx->lock->moved ? wall_ms(s) : 0, &err)) != NULL) {
        shard_tx_hold(s);
        if (err != EG_OK) {
            refuse(self, s, m, err);
        } else if (!reshape_takes_kept(self, s, m)) {
            shard_run_admitted(self, s, m);
            message_free(actor_runtime(self), m);
        }
    }
    lend(self, s);
}

/* Locks whose time is over go, and it is asked what became of parts that nobody ends. */
void shard_tx_tick(struct shard *s, uint64_t now_ms) {
    const struct transact_doubt *doubt =
        atomic_load_explicit(&s->table->world->doubt, memory_order_acquire);
    bool ends_parts = role_of(s) == SHARD_ALONE || shard_role_leads(role_of(s));
    struct list_node *next;

    if (s->tx == NULL)
        return;
    s->tx->lock->moved = true; /* who waits may have waited long enough */
    for (struct list_node *n = s->tx->lock->owners.next; n != &s->tx->lock->owners; n = next) {
        struct lock_owner *o = EG_CONTAINER_OF(n, struct lock_owner, node);
        struct shard_part *p = o->part;

        next = n->next;
        if (!o->kept && o->deadline_ms != 0 && o->deadline_ms <= now_ms) {
            shard_tx_release(s, o);
        } else if (o->kept && ends_parts && doubt != NULL && p->since_ms + DOUBT_MS <= now_ms) {
            p->since_ms = now_ms;
            doubt->ask(doubt->user, s->table, s->number, shard_part_head(p));
        }
    }
}

bool shard_tx_wants_tick(const struct shard *s) {
    return s->tx != NULL && (s->tx->lock->owner_count != 0 || s->tx->lock->waiter_count != 0);
}

/* All who wait are told; parts that are prepared have a moment to end. */
bool shard_tx_may_stop(struct actor *self, struct shard *s) {
    struct shard_tx *tx = s->tx;
    uint64_t now_ms;
    eg_err err;

    if (tx == NULL)
        return true;
    shard_tx_drop_locks(s);
    now_ms = wall_ms(s);
    if (tx->ending_ms == 0)
        tx->ending_ms = now_ms + STOP_MS;
    if (tx->prepared != 0 && now_ms < tx->ending_ms)
        return false;
    for (struct message *m; (m = shard_lock_next(tx->lock, UINT64_MAX, &err)) != NULL;)
        refuse(self, s, m, EG_BUSY);
    return true;
}
