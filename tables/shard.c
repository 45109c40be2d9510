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
#include "tables/recover.h"
#include "tables/shard_actor.h"
#include "tables/shard_index.h"
#include "tables/table_private.h"

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
    atomic_init(&s->next_deadline_ms, RANK_NEVER);
    epoch_bin_init(&s->bin, t->world->o.epoch, a);
    rank_init(&s->by_deadline, a, RANK_DEADLINE);
    rank_init(&s->by_age, a, RANK_AGE);
    memory_open(&s->node_account, t->world->o.budget, MEMORY_STEP_BYTES);
    memory_open(&s->table_account, &t->budget, schema->max_bytes / (16 * t->shard_count));
    shard_log_init(&s->log, a, t->world->o.runtime);
    if (t->storage != STORAGE_RAM)
        shard_log_attach(&s->log, t->world->o.disc,
                         t->storage == STORAGE_DISC ? t->disc_table : NULL, number,
                         t->type == TABLE_BAG, schema->durability == DURABILITY_SYNC);
    err = slab_open(&s->slab, a);
    if (err != EG_OK)
        goto fini_log;
    err = open_store(s);
    if (err != EG_OK)
        goto close_slab;
    err = shard_index_open(s, schema);
    if (err != EG_OK)
        goto close_store;
    return EG_OK;

close_store:
    s->store->ops->close(s->store);
    epoch_bin_discard(&s->bin);
close_slab:
    slab_close(s->slab);
fini_log:
    shard_log_fini(&s->log);
    return err;
}

void shard_close(struct shard *s) {
    shard_log_fini(&s->log);
    shard_index_close(s);
    s->store->ops->close(s->store);
    epoch_bin_discard(&s->bin);
    slab_close(s->slab);
    rank_fini(&s->by_deadline);
    rank_fini(&s->by_age);
    memory_close(&s->node_account);
    memory_close(&s->table_account);
}

/* ---- recovery ------------------------------------------------------------------ */

void shard_clock_pack(const struct shard *s, uint8_t bytes[SHARD_CLOCK_BYTES]) {
    uint64_t deadline_ms = atomic_load_explicit(&s->next_deadline_ms, memory_order_relaxed);

    memcpy(bytes, &s->hlc, 8);
    memcpy(bytes + 8, &s->sequence, 8);
    memcpy(bytes + 16, &deadline_ms, 8);
}

static eg_err recover_clock(void *ctx, struct disc_bytes clock) {
    struct shard *s = ctx;

    if (clock.size_bytes != SHARD_CLOCK_BYTES)
        return EG_CORRUPT;
    memcpy(&s->hlc, clock.at, 8);
    memcpy(&s->sequence, clock.at + 8, 8);
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
    return shard_take_back(s, row->array, row->version, row->expiry_ms);
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
    return err;
}

/* ---- the end of a turn --------------------------------------------------------- */

static void account(struct shard *s) {
    uint64_t held = s->record_bytes + s->store->ops->stats(s->store).index_bytes +
                    shard_index_bytes(s) + s->bin.retired_bytes + rank_bytes(&s->by_deadline) +
                    rank_bytes(&s->by_age);

    memory_book(&s->node_account, (int64_t) held);
    memory_book(&s->table_account, (int64_t) held);
}

/* Is there anything that needs time to pass? */
static bool wants_tick(const struct shard *s) {
    return s->log.refused || (!s->log.in_flight && !shard_log_idle(&s->log)) ||
           s->bin.retired_count != 0 ||
           atomic_load_explicit(&s->next_deadline_ms, memory_order_relaxed) != RANK_NEVER;
}

/* A borrower may start no timer, so the first tick is asked for by message. */
static void ask_tick(struct shard *s) {
    struct runtime *rt = s->table->world->o.runtime;
    struct message *m;

    if (s->ticking || !wants_tick(s) || eg_pid_is_none(s->pid))
        return;
    m = message_new(rt, MESSAGE_REPLY, 0); /* REPLY: passes a full mailbox */
    if (m == NULL)
        return; /* the next turn asks again */
    m->tag = SHARD_TICK;
    s->ticking = true;
    (void) runtime_send(rt, EG_PID_NONE, s->pid, m); /* gone: then nothing needs a tick */
}

void shard_turn_end(struct shard *s) {
    epoch_sweep(&s->bin);
    if (EG_UNLIKELY(s->turns++ % SHARD_ACCOUNT_TURNS == 0))
        account(s);
    if (s->log.disc != NULL) {
        uint8_t clock[SHARD_CLOCK_BYTES];

        shard_clock_pack(s, clock);
        shard_log_flush(&s->log, (struct disc_bytes){clock, sizeof clock});
    }
    ask_tick(s);
}

/* ---- the actor ------------------------------------------------------------------ */

struct shard_actor {
    struct shard *shard;
    eg_pid caller; /* of the long call: INDEX_BUILD or STOP */
    eg_ref ref;
    bool building;
    bool stopping;
    uint16_t build_position;
};

static void answer_true(struct actor *self, eg_pid to, eg_ref ref) {
    static const uint8_t yes = 0xc3;
    actor_reply_bytes(self, to, ref, EG_OK, &yes, 1);
}

static void refuse(struct actor *self, const struct message *m, eg_err err, const char *why) {
    actor_reply_bytes(self, m->from, m->ref, err, why, strlen(why));
}

/* The answer of a change to a sync table waits for the disc. */
static void answer(struct actor *self, struct shard *s, const struct message *m, bool changed,
                   const struct buffer *result) {
    struct runtime *rt = actor_runtime(self);
    struct message *reply;

    if (!changed || !s->log.sync) {
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

static void run_call(struct actor *self, struct shard *s, const struct message *m) {
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
    eg_err err = EG_OK;

    buffer_clear(result);
    if (shard_request_key(&q, &key_value)) {
        err = key_prepare(&k, key_value, s->table->seed, w->o.alloc);
        t.key = &k;
    }
    if (err == EG_OK) {
        err = shard_run(&t);
        if (t.key != NULL)
            key_release(&k);
    }
    if (err == EG_OK)
        answer(self, s, m, q.op != SHARD_READ, result);
    else
        refuse(self, m, err, note.text);
    reader_reset(t.reader);
}

static void build_step(struct actor *self, struct shard_actor *a) {
    struct shard *s = a->shard;
    struct reader *r = &s->table->world->readers[scheduler_index(actor_scheduler(self))];
    bool done = false;
    eg_err err = shard_index_build_step(s, r, &done);
    struct message *m;

    reader_reset(r);
    if (err == EG_OK && !done) {
        m = message_new(actor_runtime(self), MESSAGE_REPLY, 0);
        if (m != NULL) {
            m->tag = SHARD_STEP;
            (void) actor_send(self, s->pid, m); /* to itself: it is there */
            return;
        }
        err = EG_MEMORY;
    }
    a->building = false;
    if (err == EG_OK) {
        answer_true(self, a->caller, a->ref);
        return;
    }
    shard_index_drop(s, a->build_position);
    actor_reply_bytes(self, a->caller, a->ref, err, NULL, 0);
}

static void begin_build(struct actor *self, struct shard_actor *a, const struct message *m) {
    struct shard_request q = shard_request_unpack(m->payload);
    eg_err err =
        a->building || a->stopping ? EG_BUSY : shard_index_build_begin(a->shard, q.attribute);

    if (err != EG_OK) {
        refuse(self, m, err, "");
        return;
    }
    a->building = true;
    a->build_position = q.attribute;
    a->caller = m->from;
    a->ref = m->ref;
    build_step(self, a);
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
        (void) shard_purge_rows(s, r, now_ms); /* how many is of no use here */
    else
        (void) shard_purge(s, r, now_ms, SHARD_PURGE_BATCH);
    reader_reset(r);
    epoch_flush(&s->bin);
    shard_log_retry(&s->log);
    account(s);
    s->ticking = false;
    if (wants_tick(s))
        start_tick(self, s);
}

/* All that could be written is, or the disc refuses: the end. */
static void try_stop(struct actor *self, struct shard_actor *a) {
    struct shard_log *l = &a->shard->log;

    if (!a->stopping || !(shard_log_idle(l) || l->refused))
        return;
    if (l->refused)
        actor_reply_bytes(self, a->caller, a->ref, EG_DISC, NULL, 0);
    else
        answer_true(self, a->caller, a->ref);
    actor_exit_normal(self);
}

static void shard_receive(struct actor *self, void *state, struct message *m) {
    struct shard_actor *a = state;
    struct shard *s = a->shard;

    if (m->kind == MESSAGE_CALL && m->tag == SHARD_STOP) {
        a->stopping = true;
        a->caller = m->from;
        a->ref = m->ref;
    } else if (m->kind == MESSAGE_CALL && m->tag == SHARD_INDEX_BUILD) {
        begin_build(self, a, m);
    } else if (m->kind == MESSAGE_CALL) {
        run_call(self, s, m);
    } else if (m->tag == SHARD_LOG_DONE) {
        (void) shard_log_done(&s->log, self, m); /* refused: the tick retries */
    } else if (m->tag == SHARD_STEP) {
        build_step(self, a);
    } else if (m->tag == SHARD_TICK && m->kind == MESSAGE_TIMEOUT) {
        tick(self, s);
    } else if (m->tag == SHARD_TICK) {
        start_tick(self, s);
    }
    shard_turn_end(s);
    try_stop(self, a);
}

static eg_err shard_init(struct actor *self, void *state, const void *arg) {
    struct shard_actor *a = state;

    memcpy(&a->shard, arg, sizeof a->shard);
    if (wants_tick(a->shard)) /* recovered records may expire before anyone asks */
        start_tick(self, a->shard);
    return EG_OK;
}

eg_err shard_start(struct shard *s) {
    static const struct actor_ops ops = {.name = "shard",
                                         .state_bytes = sizeof(struct shard_actor),
                                         .init = shard_init,
                                         .receive = shard_receive};
    struct spawn_opts o = {.ops = &ops,
                           .arg = &s,
                           .arg_bytes = sizeof s,
                           .scheduler = SPAWN_ANYWHERE,
                           .mailbox_bound = MAILBOX_BOUND_MAX,
                           .label = schema_of(s->table)->name.text,
                           .lendable = true};
    eg_pid pid;
    eg_err err = actor_spawn(s->table->world->o.runtime, NULL, &o, &pid, NULL);

    if (err == EG_OK) {
        s->pid = pid;
        s->log.shard_pid = pid;
    }
    return err;
}
