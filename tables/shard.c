/* shard.c -- a shard's life: open, recover, serve, tick, stop.
 *
 * The actor is a thin shell around shard_run(): a CALL is run and answered; what
 * must wait (the disc, an index under construction) is kept and answered later.
 *
 *     CALL op ------------> run --> REPLY, or held by the log until on disc
 *     CALL INDEX_BUILD ---> begin --> STEP, STEP ... --> REPLY
 *     CALL STOP ----------> flush --> REPLY when the log is idle, then the end
 *     TICK ---------------> expire, free, retry; again while there is a reason */
#include "tables/shard.h"

#include "engine/env.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "engine/supervisor.h"
#include "tables/recover.h"
#include "tables/reshape.h"
#include "tables/shard_actor.h"
#include "tables/shard_copy.h"
#include "tables/shard_floor.h"
#include "tables/shard_index.h"
#include "tables/shard_tx.h"
#include "tables/shard_unique.h"
#include "tables/shard_watch.h"
#include "tables/table_private.h"

#include <stdio.h>
#include <string.h>

enum {
    SHARD_TICK_MS = 100,        /* how late an expired record leaves memory      */
    SHARD_ACCOUNT_TURNS = 32,   /* turns between looks at what the shard holds   */
    SHARD_RECOVER_STEP = 16384, /* records between two reports of progress       */
};

/* ---- open and close ---------------------------------------------------------- */

static eg_err open_store(struct shard *s) {
    struct table *t = s->table;
    struct store_opts o = {.alloc = t->world->o.alloc,
                           .slab = s->slab,
                           .bin = &s->bin,
                           .seed = t->seed,
                           .bag = t->type == TABLE_BAG};

    if (t->storage == STORAGE_DISC_ONLY)
        return store_disc_open(&s->store, &o, t->world->o.disc, t->disc_table, s->number);
    if (t->type == TABLE_SET)
        return store_hash_open(&s->store, &o);
    return store_ordered_open(&s->store, &o);
}

eg_err shard_open(struct shard *s, struct table *t, uint32_t number) {
    struct alloc *a = t->world->o.alloc;
    const struct schema *schema = schema_of(t);
    eg_err err;

    memset(s, 0, sizeof *s);
    s->table = t;
    s->number = number;
    s->life = env_random(t->world->o.env) << 32;
    atomic_init(&s->next_deadline_ms, RANK_NEVER);
    epoch_bin_init(&s->bin, t->world->o.epoch, a);
    buffer_init(&s->rows_purge.place, a, KEY_SIZE_MAX * 2);
    buffer_init(&s->notes, a, SIZE_MAX);
    rank_init(&s->by_deadline, a, RANK_DEADLINE);
    rank_init(&s->by_age, a, RANK_AGE);
    memory_open(&s->node_account, t->world->o.budget, MEMORY_STEP_BYTES);
    memory_open(&s->table_account, &t->budget, schema->max_bytes / (16 * t->shard_count));
    shard_log_init(&s->log, a, t->world->o.runtime);
    if (t->storage != STORAGE_RAM)
        shard_log_attach(&s->log, t->world->o.disc,
                         t->storage == STORAGE_DISC ? t->disc_table : NULL, number,
                         t->type == TABLE_BAG, schema->durability == DURABILITY_SYNC);
    s->log.owner = s;
    err = slab_open(&s->slab, a);
    if (err != EG_OK)
        goto fini_log;
    err = open_store(s);
    if (err != EG_OK)
        goto close_slab;
    err = shard_index_open(s, schema);
    if (err != EG_OK)
        goto close_store;
    s->sequence = dot_make(t->world->origins->own, 0);
    if (origins_met(t->world->origins)) {
        err = shard_copy_open(s);
        if (t->world->copy_ops != NULL) /* it is for others too to say who has it */
            shard_set_role(s, SHARD_STOPPED);
    }
    if (err != EG_OK)
        goto close_indexes;
    return EG_OK;

close_indexes:
    shard_index_close(s);
close_store:
    s->store->ops->close(s->store);
    epoch_bin_discard(&s->bin);
close_slab:
    slab_close(s->slab);
fini_log:
    shard_log_fini(&s->log);
    return err;
}

void shard_thaw(struct shard *s) {
    struct store_snapshot *p = atomic_exchange(&s->unwanted, NULL), *next;

    for (; p != NULL; p = next) {
        next = p->next;
        s->store->ops->snapshot_close(s->store, p);
    }
}

void shard_give_up(struct shard *s, struct store_snapshot *p) {
    struct runtime *rt = s->table->world->o.runtime;
    struct actor *owner;
    struct message *m;

    p->next = atomic_load(&s->unwanted);
    while (!atomic_compare_exchange_weak(&s->unwanted, &p->next, p))
        continue;
    owner = actor_claim(rt, shard_pid(s));
    if (owner != NULL) {
        shard_thaw(s);
        shard_turn_end(s);
        actor_release(owner);
        return;
    }
    m = message_new(rt, MESSAGE_REPLY, 0); /* REPLY: passes a full mailbox */
    if (m == NULL)
        return; /* the next snapshot closes it, or the end does */
    m->tag = SHARD_THAW;
    (void) runtime_send(rt, EG_PID_NONE, shard_pid(s), m); /* gone: likewise */
}

void shard_close(struct shard *s) {
    shard_copy_close(s);
    shard_tx_close(s);
    shard_thaw(s);
    shard_log_fini(&s->log);
    shard_index_close(s);
    s->store->ops->close(s->store);
    epoch_bin_discard(&s->bin);
    slab_close(s->slab);
    buffer_fini(&s->rows_purge.place);
    buffer_fini(&s->notes);
    rank_fini(&s->by_deadline);
    rank_fini(&s->by_age);
    memory_close(&s->node_account);
    memory_close(&s->table_account);
}

/* ---- recovery ------------------------------------------------------------------ */

struct disc_bytes shard_clock_pack(struct shard *s, uint8_t bytes[SHARD_CLOCK_BYTES]) {
    struct disc_bytes packed = {bytes, SHARD_CLOCK_BYTES};
    uint64_t deadline_ms = atomic_load_explicit(&s->next_deadline_ms, memory_order_relaxed);

    if (EG_UNLIKELY(s->copy != NULL)) {
        packed = shard_copy_pack(s);
        if (packed.size_bytes == 0)
            return packed;
        bytes = (uint8_t *) packed.at;
    }
    memcpy(bytes, &s->hlc, 8);
    memcpy(bytes + 8, &s->sequence, 8);
    memcpy(bytes + 16, &deadline_ms, 8);
    return packed;
}

/* What this node had done before its present start. */
static eg_err recover_sequence(struct shard *s, uint64_t last, bool bare) {
    const struct origins *o = s->table->world->origins;

    if (!origins_met(o)) {
        s->sequence = last;
        return EG_OK;
    }
    s->sequence = dot_make(o->own, 0);
    if (!bare || dot_sequence(last) == 0)
        return EG_OK; /* its clock says more */
    return shard_clock_add(&s->copy->clock, dot_slot(last), 1, dot_sequence(last));
}

static eg_err recover_clock(void *ctx, struct disc_bytes clock) {
    struct shard *s = ctx;

    uint64_t last;
    eg_err err = EG_OK;

    if (clock.size_bytes < SHARD_CLOCK_BYTES)
        return EG_CORRUPT;
    memcpy(&s->hlc, clock.at, 8);
    memcpy(&last, clock.at + 8, 8);
    if (clock.size_bytes > SHARD_CLOCK_BYTES)
        err =
            shard_copy_recover_clock(s, (struct disc_bytes){clock.at + SHARD_CLOCK_BYTES,
                                                            clock.size_bytes - SHARD_CLOCK_BYTES});
    if (err == EG_OK)
        err = recover_sequence(s, last, clock.size_bytes == SHARD_CLOCK_BYTES);
    if (err != EG_OK)
        return err;
    if (s->table->storage == STORAGE_DISC_ONLY) { /* the others rank what they read */
        uint64_t deadline_ms;
        memcpy(&deadline_ms, clock.at + 16, 8);
        atomic_store_explicit(&s->next_deadline_ms, deadline_ms, memory_order_relaxed);
    }
    return EG_OK;
}

static eg_err recover_record(void *ctx, const struct disc_record *row) {
    struct shard *s = ctx;

    if (s->table->storage == STORAGE_DISC_ONLY)
        return EG_OK;
    if (s->copy != NULL)
        shard_copy_recovered(s, row->version.dot);
    return shard_take_back(s, row);
}

eg_err shard_recover(struct shard *s, void (*progress)(void *context, uint64_t records),
                     void *context, struct err_note *note) {
    struct table *t = s->table;
    struct recover_opts o = {.alloc = t->world->o.alloc,
                             .disc = t->world->o.disc,
                             .table = t->disc_table,
                             .name = schema_of(t)->name.text,
                             .shard = s->number,
                             .arity = schema_of(t)->attribute_count,
                             .record = recover_record,
                             .clock = recover_clock,
                             .ctx = s};
    struct recover *run;
    bool done = false;
    eg_err err = recover_open(&run, &o, note);

    if (err != EG_OK)
        return err;
    if (t->storage == STORAGE_DISC_ONLY) { /* its rows stay where they are: only the clock */
        err = recover_step(run, 1, &done, note);
        done = true;
    }
    while (err == EG_OK && !done) {
        err = recover_step(run, SHARD_RECOVER_STEP, &done, note);
        progress(context, recover_count(run));
    }
    recover_close(run);
    if (err == EG_OK && s->copy != NULL) {
        s->copy->unsure |= t->storage == STORAGE_DISC_ONLY; /* nobody has looked at its rows */
        err = shard_copy_recover_graves(s);
    }
    if (err == EG_OK)
        err = shard_tx_recover(s);
    return err;
}

/* ---- the end of a turn --------------------------------------------------------- */

/* What waits for readers, and what snapshots keep, counts for the node, and not against the table's
 * max_bytes: it would refuse to replace records where there is room for them. */
static void account(struct shard *s) {
    struct store_stats store = s->store->ops->stats(s->store);
    uint64_t held = s->record_bytes + store.index_bytes + shard_index_bytes(s) +
                    rank_bytes(&s->by_deadline) + rank_bytes(&s->by_age) +
                    (s->copy == NULL ? 0 : s->copy->graves.bytes + recent_bytes(&s->copy->recent));

    if (s->copy != NULL)
        shard_floor_account(s);
    memory_book(&s->node_account, (int64_t) (held + s->bin.retired_bytes + store.kept_bytes));
    memory_book(&s->table_account, (int64_t) held);
    s->accounted_bytes = s->record_bytes;
}

/* Large records are told of at once, or a few of them would pass any limit. */
static bool grew_much(const struct shard *s) {
    return s->record_bytes > s->accounted_bytes + (uint64_t) s->table_account.step_bytes;
}

/* Is there anything that needs time to pass? */
static bool wants_tick(const struct shard *s) {
    return s->log.refused || s->build_call.open || shard_tx_wants_tick(s) || s->reshape != NULL ||
           (!s->log.in_flight && !shard_log_idle(&s->log)) || s->bin.retired_count != 0 ||
           atomic_load_explicit(&s->next_deadline_ms, memory_order_relaxed) != RANK_NEVER;
}

/* A borrower may start no timer, so the first tick is asked for by message. */
static void ask_tick(struct shard *s) {
    struct runtime *rt = s->table->world->o.runtime;
    struct message *m;

    if (s->ticking || s->shadow || !wants_tick(s) || eg_pid_is_none(shard_pid(s)))
        return;
    m = message_new(rt, MESSAGE_REPLY, 0); /* REPLY: passes a full mailbox */
    if (m == NULL)
        return; /* the next turn asks again */
    m->tag = SHARD_TICK;
    s->ticking = true;
    (void) runtime_send(rt, EG_PID_NONE, shard_pid(s), m); /* gone: then nothing needs a tick */
}

void shard_turn_end(struct shard *s) {
    shard_evict(s);
    if (EG_UNLIKELY(s->noted))
        shard_watch_publish(s);
    epoch_sweep(&s->bin);
    if (EG_UNLIKELY(s->turns++ % SHARD_ACCOUNT_TURNS == 0 || grew_much(s)))
        account(s);
    if (s->log.disc != NULL) {
        uint8_t clock[SHARD_CLOCK_BYTES];

        shard_log_flush(&s->log, shard_clock_pack(s, clock));
    }
    if (EG_UNLIKELY(s->reshape != NULL))
        reshape_turn_end(s);
    if (EG_UNLIKELY(s->copy != NULL) && shard_copy_has_news(s))
        shard_copy_tell(s);
    shard_unique_leave(s);
    ask_tick(s);
}

/* ---- the actor ------------------------------------------------------------------ */

struct shard_actor {
    struct shard *shard;
};

static void refuse(struct actor *self, const struct message *m, eg_err err, const char *why) {
    actor_reply_bytes(self, m->from, m->ref, err, why, strlen(why));
}

struct held_answer {
    eg_err err;
    const void *at;
    size_t size_bytes;
    unsigned why; /* enum shard_hold */
};

/* The answer of a change waits for the other copies; they wait for its disc where it is sync. */
static void hold(struct actor *self, struct shard *s, const struct message *m,
                 const struct shard_request *q, const struct held_answer *a) {
    struct runtime *rt = actor_runtime(self);
    struct world *w = s->table->world;
    struct message *reply = message_copy(rt, MESSAGE_REPLY, a->at, a->size_bytes);

    if (reply != NULL) {
        reply->tag = a->err;
        if (w->copy_ops != NULL && w->copy_ops->hold(w->copy_user, self, s, m, q, reply, a->why))
            return;
        message_free(rt, reply);
    }
    refuse(self, m, EG_IN_DOUBT, "out of memory while waiting for other copies");
}

/* Is this what records say, or what else there is to say? */
static bool is_of_records(enum shard_op op, eg_err err) {
    if (op == SHARD_INDEX_BUILD || op == SHARD_INDEX_DROP || op == SHARD_PURGE || op == SHARD_SYNC)
        return false;
    return err != EG_NO_REPLICA && err != EG_NO_TABLE && err != EG_BUSY && err != EG_MEMORY &&
           err != EG_DISC && err != EG_AGAIN;
}

/* Does its answer say nothing of what there was before? */
static bool is_blind(enum shard_op op, eg_err err) {
    return err == EG_OK && (op == SHARD_WRITE || op == SHARD_WRITE_MANY || op == SHARD_COUNTER);
}

/* What a chair says, a refusal too, is what it has seen.  True: it waits.  (What has expired may
 * have gone on the way: then it counts as a change.) */
static bool hold_as_chair(struct actor *self, struct shard *s, const struct message *m,
                          const struct shard_request *q, struct held_answer a, bool changed) {
    if (EG_LIKELY(role_of(s) != SHARD_CHAIR) || !is_of_records(q->op, a.err))
        return false;
    a.why = changed ? SHARD_HOLD_CHANGED : 0;
    if (!is_blind(q->op, a.err))
        a.why |= SHARD_HOLD_LOOKED;
    hold(self, s, m, q, &a);
    return true;
}

/* The answer of a change to a sync table waits for the disc. */
static void answer(struct actor *self, struct shard *s, const struct message *m,
                   const struct shard_request *q, const struct buffer *result) {
    bool changed = !shard_op_reads(q->op);
    struct runtime *rt = actor_runtime(self);
    struct message *reply;

    if (q->op == SHARD_INDEX_DROP) { /* no copy has anything to do with it */
        actor_reply_bytes(self, m->from, m->ref, EG_OK, result->at, result->size_bytes);
        return;
    }
    if (role_of(s) == SHARD_MASTER && !q->dirty && (changed || !shard_is_stable(s))) {
        hold(self, s, m, q,
             &(struct held_answer){EG_OK, result->at, result->size_bytes, SHARD_HOLD_CHANGED});
        return;
    }
    /* Who is told that a part is committed forgets that it had to be. */
    if (!changed || !(s->log.sync || (q->op == SHARD_TX_COMMIT && s->log.disc != NULL))) {
        actor_reply_bytes(self, m->from, m->ref, EG_OK, result->at, result->size_bytes);
        return;
    }
    reply = message_copy(rt, MESSAGE_REPLY, result->at, result->size_bytes);
    if (reply != NULL) {
        reply->tag = EG_OK;
        if (shard_log_wait(&s->log, m->from, m->ref, reply) == EG_OK)
            return;
        message_free(rt, reply);
    }
    /* The change is made and will be on disc; only its caller cannot be told when. */
    refuse(self, m, EG_TIMEOUT, "out of memory while waiting for the disc");
}

/* May this copy do it in its present role?  What is refused did not happen, and whoever sent
 * it looks for the master anew. */
static bool is_granted(const struct shard *s, const struct shard_request *q) {
    enum shard_role role = role_of(s);

    if (role == SHARD_FULL && shard_op_reads_copies(q->op))
        return shard_is_stable(s) && !shard_is_held(s);
    switch (q->op) {
    case SHARD_INDEX_BUILD: /* each node's own affair */
    case SHARD_INDEX_DROP:
    case SHARD_PURGE:
    case SHARD_SYNC:
        return true;
    default:
        return role <= SHARD_MASTER || role == SHARD_CHAIR || (q->dirty && role == SHARD_FULL);
    }
}

/* Who sent it here saw another role, and the view ended before its turn: to who waits for the next
 * one and finds the master in it.  False: it came from there, or of another node, which does so
 * itself; or there is nobody. */
static bool pass_on(struct actor *self, struct shard *s, const struct message *m,
                    const struct shard_request *q) {
    struct table_route *route = atomic_load_explicit(&s->table->world->route, memory_order_acquire);
    struct message *call;
    eg_pid to;

    if (q->for_node != 0 || route == NULL ||
        route->request(route, s->table, s->number, q, &to, &call) != EG_OK)
        return false;
    call->ref = m->ref;
    if (!eg_pid_equal(to, m->from))
        return runtime_send(actor_runtime(self), m->from, to, call) == EG_OK;
    message_free(actor_runtime(self), call);
    return false;
}

/* `waiter`: itself, where it may be made to wait.  False: it does. */
static bool run(struct actor *self, struct shard *s, const struct message *m, void *waiter) {
    struct world *w = s->table->world;
    uint32_t index = scheduler_index(actor_scheduler(self));
    struct shard_request q = shard_request_unpack(m->payload);
    struct err_note note = {""};
    struct buffer *result = &w->results[index];
    struct shard_turn t = {.shard = s,
                           .reader = &w->readers[index],
                           .request = &q,
                           .result = result,
                           .note = &note,
                           .now_ms = (uint64_t) env_wall_ms(w->o.env)};
    struct value key_value;
    struct key k;
    uint64_t before = s->sequence;
    bool waits = false;
    eg_err err = EG_OK;

    if (EG_UNLIKELY(!is_granted(s, &q)) && pass_on(self, s, m, &q))
        return true;
    buffer_clear(result);
    if (shard_request_key(&q, &key_value)) {
        err = key_prepare(&k, key_value, s->table->seed, w->o.alloc);
        t.key = &k;
    }
    if (err == EG_OK) {
        if (EG_UNLIKELY(s->tx != NULL || shard_op_transacts(q.op)) && waiter != NULL &&
            is_granted(s, &q))
            err = shard_tx_admit(&t, waiter);
        waits = waiter != NULL && err == EG_AGAIN;
        if (err == EG_OK)
            err = is_granted(s, &q) ? shard_run(&t) : EG_NO_REPLICA;
        if (EG_UNLIKELY(err != EG_OK && s->tx != NULL) && !waits)
            shard_tx_refused(&t);
        if (t.key != NULL)
            key_release(&k);
    }
    if (EG_UNLIKELY(waits)) {
        reader_reset(t.reader);
        return false;
    }
    if (EG_UNLIKELY(s->noted)) /* who asks what became of it after the answer finds it told */
        shard_watch_publish(s);
    if (EG_UNLIKELY(hold_as_chair(
            self, s, m, &q,
            err == EG_OK ? (struct held_answer){EG_OK, result->at, result->size_bytes, 0}
                         : (struct held_answer){err, note.text, strlen(note.text), 0},
            s->sequence != before)))
        ;
    else if (err == EG_OK)
        answer(self, s, m, &q, result);
    else
        refuse(self, m, err, note.text);
    reader_reset(t.reader);
    return true;
}

bool shard_run_call(struct actor *self, struct shard *s, struct message *m) {
    return run(self, s, m, m);
}

void shard_run_admitted(struct actor *self, struct shard *s, const struct message *m) {
    (void) run(self, s, m, NULL); /* nothing that waits */
}

static void end_call(struct actor *self, struct shard_call *c, eg_err err, const char *why) {
    static const uint8_t yes = 0xc3;

    if (err == EG_OK)
        actor_reply_bytes(self, c->from, c->ref, EG_OK, &yes, 1);
    else
        actor_reply_bytes(self, c->from, c->ref, err, why, strlen(why));
    c->open = false;
}

void shard_next_step(struct actor *self) {
    struct message *m = message_new(actor_runtime(self), MESSAGE_REPLY, 0);

    if (m == NULL)
        return; /* the tick goes on with it */
    m->tag = SHARD_STEP;
    (void) actor_send(self, actor_pid(self), m); /* to itself: it is there */
}

static void build_step(struct actor *self, struct shard *s) {
    struct reader *r = &s->table->world->readers[scheduler_index(actor_scheduler(self))];
    struct err_note note = {""};
    bool done = false;
    eg_err err;

    if (!s->build_call.open)
        return;
    err = s->build.verifying
              ? shard_unique_verify_step(s, r, (uint64_t) env_wall_ms(s->table->world->o.env),
                                         &done, &note)
              : shard_index_build_step(s, r, &done);
    reader_reset(r);
    if (err == EG_OK && !done) {
        shard_next_step(self);
        return;
    }
    if (s->build.verifying)
        buffer_fini(&s->build.place);
    else if (err != EG_OK)
        shard_index_drop(s, s->build.id);
    end_call(self, &s->build_call, err, note.text);
}

/* Answer when all that was changed so far is written: from then on each turn's changes are
 * written within it. */
static void enforce(struct actor *self, struct shard *s, const struct message *m) {
    static const uint8_t yes = 0xc3;
    struct message *reply;

    shard_unique_enforce(s, shard_request_unpack(m->payload).attribute);
    if (shard_log_is_written(&s->log)) {
        actor_reply_bytes(self, m->from, m->ref, EG_OK, &yes, 1);
        return;
    }
    reply = message_copy(actor_runtime(self), MESSAGE_REPLY, &yes, 1);
    if (reply != NULL) {
        reply->tag = EG_OK;
        if (shard_log_wait(&s->log, m->from, m->ref, reply) == EG_OK)
            return;
        message_free(actor_runtime(self), reply);
    }
    refuse(self, m, EG_MEMORY, "");
}

static void begin_verify(struct actor *self, struct shard *s, const struct message *m) {
    if (s->build_call.open || s->stop_call.open) {
        refuse(self, m, EG_BUSY, "");
        return;
    }
    s->build.id = shard_request_unpack(m->payload).attribute;
    s->build.verifying = true;
    buffer_init(&s->build.place, s->table->world->o.alloc, SIZE_MAX);
    s->build_call = (struct shard_call){true, m->from, m->ref};
    build_step(self, s);
}

static void begin_build(struct actor *self, struct shard *s, const struct message *m) {
    struct shard_request q = shard_request_unpack(m->payload);
    struct index_spec spec;
    eg_err err = EG_BUSY;

    EG_ASSERT(q.value.size_bytes == sizeof spec); /* from the catalog */
    memcpy(&spec, q.value.at, sizeof spec);
    if (!s->build_call.open && !s->stop_call.open)
        err = shard_index_build_begin(s, &spec);

    if (err != EG_OK) {
        refuse(self, m, err, "");
        return;
    }
    s->build_call = (struct shard_call){true, m->from, m->ref};
    build_step(self, s);
}

/* Answer when all that was changed before is where no power cut reaches it. */
static void sync_all(struct actor *self, struct shard *s, const struct message *m) {
    static const uint8_t yes = 0xc3;
    struct message *reply;

    if (s->log.disc == NULL) {
        actor_reply_bytes(self, m->from, m->ref, EG_OK, &yes, 1);
        return;
    }
    reply = message_copy(actor_runtime(self), MESSAGE_REPLY, &yes, 1);
    if (reply != NULL) {
        reply->tag = EG_OK;
        if (shard_log_wait_synced(&s->log, m->from, m->ref, reply) == EG_OK)
            return;
        message_free(actor_runtime(self), reply);
    }
    refuse(self, m, EG_MEMORY, "");
}

static void start_tick(struct actor *self, struct shard *s) {
    struct message *m = message_new(actor_runtime(self), MESSAGE_INFO, 0);
    eg_ref timer;

    s->ticking = false;
    if (m == NULL)
        return; /* the next turn asks again */
    m->tag = SHARD_TICK;
    s->ticking = actor_start_timer(self, SHARD_TICK_MS, m, &timer) == EG_OK;
}

static void tick(struct actor *self, struct shard *s) {
    struct world *w = s->table->world;
    struct reader *r = &w->readers[scheduler_index(actor_scheduler(self))];

    uint64_t now_ms = (uint64_t) env_wall_ms(w->o.env);

    if (s->table->storage == STORAGE_DISC_ONLY)
        (void) shard_purge_rows(s, r, now_ms, false); /* how many is of no use here */
    else
        (void) shard_purge(s, r, now_ms, SHARD_PURGE_BATCH);
    reader_reset(r);
    epoch_flush(&s->bin);
    shard_log_retry(&s->log, self);
    build_step(self, s); /* one that found no memory for its next step */
    reshape_tick(self, s);
    shard_tx_tick(s, now_ms);
    account(s);
    s->ticking = false;
    if (wants_tick(s))
        start_tick(self, s);
}

/* All that could be written is, or the disc refuses: the end. */
static void try_stop(struct actor *self, struct shard *s) {
    if (!s->stop_call.open || !shard_tx_may_stop(self, s) ||
        !(shard_log_idle(&s->log) || s->log.refused))
        return;
    end_call(self, &s->stop_call, s->log.refused ? EG_DISC : EG_OK, "");
    actor_exit_normal(self);
}

/* What others say of their copies.  A table that has changed its shape goes on in another. */
static void shard_copy_receive(struct actor *self, struct shard *s, struct message *m) {
    const struct world *w = s->table->world;

    if (reshape_holds(s) && s->copy == NULL && origins_met(w->origins)) {
        actor_keep(self, m);
        (void) runtime_send(actor_runtime(self), m->from, shard_pid(s->reshape->to), m);
    } else if (w->copy_ops != NULL) {
        w->copy_ops->receive(w->copy_user, self, s, m);
    }
}

static void shard_receive(struct actor *self, void *state, struct message *m) {
    struct shard *s = ((struct shard_actor *) state)->shard;

    if (m->tag >= SHARD_COPY_FIRST && m->kind != MESSAGE_CALL) {
        shard_copy_receive(self, s, m);
    } else if (m->kind == MESSAGE_CALL && m->tag == SHARD_STOP) {
        s->stop_call = (struct shard_call){true, m->from, m->ref};
    } else if (m->kind == MESSAGE_CALL && m->tag == SHARD_INDEX_BUILD) {
        begin_build(self, s, m);
    } else if (m->kind == MESSAGE_CALL && m->tag == SHARD_UNIQUE_ENFORCE) {
        enforce(self, s, m);
    } else if (m->kind == MESSAGE_CALL && m->tag == SHARD_UNIQUE_VERIFY) {
        begin_verify(self, s, m);
    } else if (m->kind == MESSAGE_CALL && m->tag == SHARD_FSYNC) {
        sync_all(self, s, m);
    } else if (m->kind == MESSAGE_CALL && m->tag == SHARD_PREPARE) {
        shard_prepare(self, s, m);
    } else if (m->kind == MESSAGE_CALL && m->tag == SHARD_LEND) {
        if (!shard_tx_keeps_loan(self, s, m))
            shard_lend(self, s, m);
    } else if (m->kind == MESSAGE_CALL && m->tag >= SHARD_RESHAPE && m->tag <= SHARD_ABANDON) {
        reshape_receive(self, s, m);
    } else if (m->kind == MESSAGE_CALL && reshape_takes(self, s, m)) {
        /* it waits, or is on its way to another shard */
    } else if (m->kind == MESSAGE_CALL) {
        if (!shard_run_call(self, s, m))
            actor_keep(self, m);
    } else if (m->tag == SHARD_LOG_DONE) {
        shard_log_done(&s->log, self); /* refused: the tick retries */
        reshape_log_done(self, s);
    } else if (m->tag == SHARD_STEP) {
        build_step(self, s);
    } else if (m->tag == SHARD_THAW) {
        shard_thaw(s);
        reshape_step(self, s);
    } else if (m->tag == SHARD_TICK && m->kind == MESSAGE_TIMEOUT) {
        tick(self, s);
    } else if (m->tag == SHARD_TICK) {
        start_tick(self, s);
    }
    if (EG_UNLIKELY(s->tx != NULL))
        shard_tx_go_on(self, s);
    shard_turn_end(s);
    reshape_look(self, s);
    try_stop(self, s);
}

/* Told by the supervisor when the actor is spawned and by its own init: whichever is
 * first, so that nobody finds a table without actors. */
static void set_pid(void *context, eg_pid pid) {
    struct shard *s = context;

    if (!eg_pid_is_none(pid)) /* a dead one answers as nobody does */
        atomic_store(&s->pid, (uint64_t) pid.slot << 32 | pid.generation);
}

/* A first actor, or the successor of one that was killed. */
static eg_err shard_init(struct actor *self, void *state, const void *arg) {
    struct shard *s = (struct shard *) arg;

    ((struct shard_actor *) state)->shard = s;
    set_pid(s, actor_pid(self));
    s->ticking = false;
    shard_log_done(&s->log, self);
    account(s); /* what was recovered */
    if (s->build_call.open)
        shard_next_step(self);
    reshape_resume(self, s);
    if (s->table->world->copy_ops != NULL)
        s->table->world->copy_ops->resume(s->table->world->copy_user, self, s);
    if (wants_tick(s)) /* recovered records may expire before anyone asks */
        start_tick(self, s);
    return EG_OK;
}

eg_pid shard_pid(const struct shard *s) {
    uint64_t pid = atomic_load(&s->pid);

    return pid == 0 ? EG_PID_NONE
                    : (eg_pid){s->table->node, (uint32_t) (pid >> 32), (uint32_t) pid};
}

void shard_child(struct shard *s, struct child_spec *out) {
    static const struct actor_ops ops = {.name = "shard",
                                         .state_bytes = sizeof(struct shard_actor),
                                         .init = shard_init,
                                         .receive = shard_receive};

    *out = (struct child_spec){.kind = CHILD_ACTOR,
                               .restart = TRANSIENT, /* it ends normally when it is told to stop */
                               .actor = &ops,
                               .arg = s,
                               .scheduler = SPAWN_ANYWHERE,
                               .mailbox_bound = MAILBOX_BOUND_MAX,
                               .label = s->table->name.text,
                               .lendable = true,
                               .changed = set_pid,
                               .changed_context = s};
    snprintf(out->id, sizeof out->id, "shard %u", s->number);
}
