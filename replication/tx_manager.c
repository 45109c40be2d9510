/* tx_manager.c -- the actors that bring transactions to their ends. */
#include "replication/tx_manager_private.h"

#include "engine/failpoint.h"
#include "engine/foreign.h"
#include "engine/scheduler.h"
#include "engine/supervisor.h"
#include "tables/catalog.h"
#include "tables/shard_copy.h"

#include <stdio.h>
#include <string.h>

enum { START_MS = 60 * 1000, RESTARTS = 16, RESTARTS_MS = 10 * 1000, DISC_LOOK_MS = 5 };

void tx_id_text(struct transact_id id, char text[TX_ID_TEXT_BYTES]) {
    snprintf(text, TX_ID_TEXT_BYTES, "%016llx%016llx", (unsigned long long) id.high,
             (unsigned long long) id.low);
}

static eg_pid pid_of(const struct tx_manager *m) {
    uint64_t pid = atomic_load(&m->pid);

    return pid == 0
               ? EG_PID_NONE
               : (eg_pid){runtime_node(m->all->o.runtime), (uint32_t) (pid >> 32), (uint32_t) pid};
}

/* ---- what is asked --------------------------------------------------------------------------- */

eg_err tx_commit_message(struct tx_managers *t, const struct tx_commit *c, eg_pid *to,
                         struct message **out) {
    struct tx_commit named = *c;
    struct buffer bundle;
    eg_err err;

    if (transact_id_equal(c->id, (struct transact_id){0, 0}))
        named.id = (struct transact_id){env_random(t->o.env), env_random(t->o.env) | 1};
    buffer_init(&bundle, t->o.alloc, TX_BUNDLE_BYTES_MAX);
    err = tx_bundle_put(&bundle, &named);
    if (err == EG_OK) {
        *out = message_copy(t->o.runtime, MESSAGE_CALL, bundle.at, bundle.size_bytes);
        err = *out == NULL ? EG_MEMORY : EG_OK;
    }
    if (err == EG_OK) {
        (*out)->tag = TX_COMMIT;
        *to = pid_of(tx_manager_of(t, named.id));
    }
    buffer_fini(&bundle);
    return err;
}

eg_err tx_status_message(struct tx_managers *t, struct transact_id id, eg_pid *to,
                         struct message **out) {
    *out = message_copy(t->o.runtime, MESSAGE_CALL, &id, sizeof id);
    if (*out == NULL)
        return EG_MEMORY;
    (*out)->tag = TX_STATUS;
    *to = pid_of(tx_manager_of(t, id));
    return EG_OK;
}

uint32_t tx_managers_count(const struct tx_managers *t) {
    return t->count;
}

eg_err tx_list_message(struct tx_managers *t, uint32_t index, eg_pid *to, struct message **out) {
    EG_ASSERT(index < t->count);
    *out = message_new(t->o.runtime, MESSAGE_CALL, 0);
    if (*out == NULL)
        return EG_MEMORY;
    (*out)->tag = TX_LIST;
    *to = pid_of(&t->manager[index]);
    return EG_OK;
}

/* ---- what the cluster says ------------------------------------------------------------------- */

/* It always passes; lost for want of memory it is as if a link had lost it. */
static void tell(struct tx_manager *m, enum tx_manager_tag tag, const void *bytes, size_t n) {
    struct message *word = message_copy(m->all->o.runtime, MESSAGE_REPLY, bytes, n);

    if (word == NULL)
        return;
    word->tag = tag;
    (void) runtime_send(m->all->o.runtime, EG_PID_NONE, pid_of(m), word);
}

void tx_managers_meet(struct tx_managers *t, const struct tx_peers *p) {
    t->peers = *p;
    atomic_store(&t->met, true);
}

void tx_managers_part(struct tx_managers *t) {
    atomic_store(&t->met, false);
}

void tx_managers_view(struct tx_managers *t, const struct view *v) {
    struct tx_members all = {.view = v->id};

    for (uint32_t i = 0; i < v->count; i++)
        all.node[all.count++] = v->member[i].id;
    for (uint32_t i = 0; i < t->count; i++)
        tell(&t->manager[i], TX_VIEW, &all, sizeof all);
}

bool tx_managers_is_ours(struct value payload) {
    struct tx_word w;

    return tx_wire_get(payload, &w);
}

struct received {
    uint64_t from;
    struct tx_word word;
};

void tx_managers_receive(struct tx_managers *t, uint64_t from, struct value payload) {
    struct received r = {.from = from};

    if (tx_wire_get(payload, &r.word))
        tell(tx_manager_of(t, r.word.id), TX_RECEIVED, &r, sizeof r);
}

void tx_managers_doubt(struct tx_managers *t, struct table *table, uint32_t shard,
                       struct value head) {
    const struct schema_name *name = table_name(table);
    struct tx_doubt d = {table_schema(table)->id, shard, name->size_bytes, {0, 0}};
    struct transact_head h;
    struct message *word;

    if (!transact_get_head(head, &h))
        return;
    d.id = h.id;
    word = message_new(t->o.runtime, MESSAGE_REPLY, sizeof d + d.name_bytes + head.size_bytes);
    if (word == NULL)
        return; /* it is said again */
    word->tag = TX_DOUBT;
    memcpy(word->payload, &d, sizeof d);
    memcpy(word->payload + sizeof d, name->text, d.name_bytes);
    memcpy(word->payload + sizeof d + d.name_bytes, head.at, head.size_bytes);
    (void) runtime_send(t->o.runtime, EG_PID_NONE, pid_of(tx_manager_of(t, h.id)), word);
}

bool tx_awaits_view(const struct tx_manager *m) {
    const struct tx_managers *t = m->all;

    return m->members.view.epoch == 0 && origins_met(catalog_origins(t->o.catalog)) &&
           tx_now_ns(m) - t->opened_ns < (uint64_t) TX_RECALL_VIEW_MS * 1000000;
}

struct value tx_view_put(const struct tx_manager *m, uint8_t room[TX_VIEW_BYTES]) {
    struct value_writer w = value_writer_init(room, TX_VIEW_BYTES);

    value_put_u64(&w, m->members.view.epoch);
    return (struct value){room, (uint32_t) w.need_bytes};
}

/* ---- the actor ------------------------------------------------------------------------------- */

static void start_tick(struct tx_manager *m, struct actor *self) {
    struct message *word;
    eg_ref timer;

    if (m->ticking || (list_is_empty(&m->runs) && list_is_empty(&m->asks)))
        return;
    word = message_new(actor_runtime(self), MESSAGE_INFO, 0);
    if (word == NULL)
        return; /* the next message asks again */
    word->tag = TX_TICK;
    m->ticking = actor_start_timer(self, TX_TICK_MS, word, &timer) == EG_OK;
}

static void begin(struct tx_manager *m, struct actor *self, struct message *call) {
    eg_pid from = call->from;
    eg_ref ref = call->ref;
    struct tx_run *run;
    const char *why;
    eg_err err;

    actor_keep(self, call);
    err = tx_run_new(m, call, false, &run);
    if (err == EG_OK) {
        FAILPOINT("2pc.coord.begun", m->all->o.runtime, actor_pid(self));
        tx_run_move(m, self, run);
        return;
    }
    why = err == EG_EXISTS ? "a transaction with this id is under way"
          : err == EG_BUSY ? "too many transactions are under way"
                           : eg_err_text(err);
    actor_reply_bytes(self, from, ref, err, why, strlen(why));
}

static void on_call(struct tx_manager *m, struct actor *self, struct message *call) {
    switch (call->tag) {
    case TX_COMMIT:
        begin(m, self, call);
        break;
    case TX_STATUS:
        tx_ask_client(m, self, call);
        break;
    default:
        tx_runs_list(m, self, call);
    }
}

static void on_word(struct tx_manager *m, struct actor *self, struct message *word) {
    struct received r;
    uint64_t number;

    switch ((enum tx_manager_tag) word->tag) {
    case TX_LOGGED:
        memcpy(&number, word->payload, sizeof number);
        tx_run_logged(m, self, number);
        break;
    case TX_GO_ON:
        memcpy(&number, word->payload, sizeof number);
        tx_run_go_on(m, self, number);
        break;
    case TX_VIEW:
        memcpy(&m->members, word->payload, sizeof m->members);
        tx_runs_view(m, self);
        tx_asks_view(m, self);
        break;
    case TX_RECEIVED:
        memcpy(&r, word->payload, sizeof r);
        tx_ask_receive(m, self, r.from, &r.word);
        break;
    case TX_DOUBT:
        actor_keep(self, word);
        tx_ask_doubt(m, self, word);
        break;
    default:
        m->ticking = false;
        tx_runs_tick(m, self);
        tx_asks_tick(m, self);
    }
}

static void receive(struct actor *self, void *state, struct message *m) {
    struct tx_manager *t = *(struct tx_manager **) state;

    if (m->kind == MESSAGE_CALL)
        on_call(t, self, m);
    else if (m->kind == MESSAGE_REPLY && m->ref != 0 && tx_ask_is_its(m->ref))
        tx_ask_hear(t, m);
    else if (m->kind == MESSAGE_REPLY && m->ref != 0)
        tx_run_hear(t, self, m);
    else
        on_word(t, self, m);
    start_tick(t, self);
}

/* Told by the supervisor when the actor is spawned and by its own init: whichever is first, so
 * that nobody finds a manager without an actor. */
static void set_pid(void *context, eg_pid pid) {
    struct tx_manager *m = context;

    if (!eg_pid_is_none(pid)) /* a dead one answers as nobody does */
        atomic_store(&m->pid, (uint64_t) pid.slot << 32 | pid.generation);
}

static eg_err init(struct actor *self, void *state, const void *arg) {
    struct tx_manager *m = (struct tx_manager *) arg;

    *(struct tx_manager **) state = m;
    if (!m->reading)
        reader_of_scheduler(&m->reader, scheduler_epoch(actor_scheduler(self)), m->all->o.alloc);
    m->reading = true;
    set_pid(m, actor_pid(self));
    m->ticking = false; /* a predecessor's timer went with it */
    tx_runs_restart(m, self);
    tx_asks_view(m, self);
    start_tick(m, self);
    return EG_OK;
}

static void describe(const struct actor *self, const void *state, char *text, size_t size_bytes) {
    const struct tx_manager *m = *(struct tx_manager *const *) state;

    (void) self;
    snprintf(text, size_bytes, "%u transactions, %u questions", m->slot_count - m->unused_count,
             m->ask_count);
}

/* ---- open, stop, close ----------------------------------------------------------------------- */

static void child_at(const void *children, uint32_t index, struct child_spec *out) {
    static const struct actor_ops ops = {.name = "transactions",
                                         .state_bytes = sizeof(struct tx_manager *),
                                         .init = init,
                                         .receive = receive,
                                         .describe = describe};
    struct tx_managers *t = (struct tx_managers *) children;

    *out = (struct child_spec){.kind = CHILD_ACTOR,
                               .restart = PERMANENT,
                               .actor = &ops,
                               .arg = &t->manager[index],
                               .scheduler = SPAWN_ON(index),
                               .changed = set_pid,
                               .changed_context = &t->manager[index],
                               .mailbox_bound = MAILBOX_BOUND_MAX};
    snprintf(out->id, sizeof out->id, "transactions %u", index);
}

static eg_err start_tree(struct tx_managers *t) {
    struct supervisor_opts o = {.label = "transactions",
                                .strategy = ONE_FOR_ONE,
                                .intensity = RESTARTS,
                                .period_ms = RESTARTS_MS,
                                .children = t,
                                .child_count = t->count,
                                .child_at = child_at,
                                .vital = true};
    struct runtime *rt = t->o.runtime;
    struct message *m, *reply;
    struct foreign *f;
    eg_err err = foreign_open(&f, rt);

    if (err != EG_OK)
        return err;
    err = supervisor_spawn(rt, NULL, &o, SPAWN_ON(0), NULL, &t->root);
    if (err == EG_OK) {
        m = supervisor_request(rt, SUPERVISOR_AWAIT, NULL, 0);
        err = m == NULL ? EG_MEMORY : foreign_call(f, t->root, m, START_MS, &reply);
    }
    if (err == EG_OK) {
        err = (eg_err) reply->tag;
        message_free(rt, reply);
    }
    foreign_close(f);
    return err == EG_NOPROC ? EG_MEMORY : err;
}

/* A decision that the disc remembers; its row is whole, or it is not a row of ours. */
static eg_err recall(void *context, struct disc_bytes row) {
    struct tx_managers *t = context;
    struct value v = {row.at, (uint32_t) row.size_bytes};
    struct message *bundle;
    struct tx_bundle b;
    struct tx_run *run;
    size_t used_bytes;

    if (value_scan(row.at, row.size_bytes, &used_bytes) != EG_OK || used_bytes != row.size_bytes ||
        !tx_bundle_get(v, &b))
        return EG_CORRUPT;
    bundle = message_copy(t->o.runtime, MESSAGE_REPLY, row.at, row.size_bytes);
    return bundle == NULL ? EG_MEMORY : tx_run_new(tx_manager_of(t, b.id), bundle, true, &run);
}

static void manager_init(struct tx_managers *t, uint32_t index) {
    struct tx_manager *m = &t->manager[index];

    m->all = t;
    m->index = index;
    list_init(&m->runs);
    list_init(&m->asks);
    buffer_init(&m->out, t->o.alloc, TX_BUNDLE_BYTES_MAX);
}

static size_t size_of(uint32_t count) {
    return sizeof(struct tx_managers) + count * sizeof(struct tx_manager);
}

static void in_doubt(void *user, struct table *t, uint32_t shard, struct value head) {
    tx_managers_doubt(user, t, shard, head);
}

eg_err tx_managers_open(struct tx_managers **out, const struct tx_managers_opts *o,
                        struct err_note *note) {
    uint32_t count = runtime_schedulers(o->runtime);
    struct tx_managers *t = alloc_zero(o->alloc, size_of(count));
    eg_err err = EG_OK;

    if (t == NULL)
        return EG_MEMORY;
    t->o = *o;
    t->count = count;
    t->opened_ns = env_now_ns(o->env);
    for (uint32_t i = 0; i < count; i++)
        manager_init(t, i);
    if (o->disc != NULL)
        err = tx_decision_each(o->disc, recall, t);
    if (err == EG_CORRUPT)
        (void) err_note(note, err, "what the disc remembers of a transaction is damaged");
    if (err == EG_OK)
        err = start_tree(t);
    if (err != EG_OK) {
        tx_managers_stop(t);
        tx_managers_close(t);
        return err;
    }
    t->doubt = (struct transact_doubt){.ask = in_doubt, .user = t};
    catalog_set_doubt(o->catalog, &t->doubt);
    *out = t;
    return EG_OK;
}

static bool is_on_its_way(struct tx_managers *t) {
    for (uint32_t i = 0; i < t->count; i++)
        for (struct list_node *n = t->manager[i].runs.next; n != &t->manager[i].runs; n = n->next)
            if (tx_run_is_lent(EG_CONTAINER_OF(n, struct tx_run, node)))
                return true;
    return false;
}

/* What the disc has of runs comes back, for it answers everything. */
static void wait_for_disc(struct tx_managers *t, struct foreign *f) {
    while (is_on_its_way(t)) {
        struct message *m = foreign_receive(f, DISC_LOOK_MS);

        if (m != NULL)
            message_free(t->o.runtime, m);
    }
}

/* What is decided and not done everywhere is found on disc at the next start; what has no part on
 * disc is found by the other nodes. */
static void forget(struct tx_manager *m) {
    struct alloc *a = m->all->o.alloc;

    while (!list_is_empty(&m->runs))
        tx_run_free(m, EG_CONTAINER_OF(m->runs.next, struct tx_run, node));
    while (!list_is_empty(&m->asks))
        tx_ask_free(m, EG_CONTAINER_OF(m->asks.next, struct tx_ask, node));
    if (m->slot_count != 0) {
        alloc_put(a, m->slot, m->slot_count * sizeof(struct tx_run *));
        alloc_put(a, m->unused, m->slot_count * sizeof *m->unused);
    }
    m->slot_count = m->unused_count = 0;
    buffer_fini(&m->out);
    if (m->reading)
        reader_close(&m->reader);
    m->reading = false;
}

void tx_managers_stop(struct tx_managers *t) {
    struct runtime *rt = t->o.runtime;
    struct message *m;
    struct foreign *f;
    eg_ref down;

    tx_managers_part(t);
    catalog_set_doubt(t->o.catalog, NULL);
    if (eg_pid_is_none(t->root) || foreign_open(&f, rt) != EG_OK)
        return;
    if (foreign_monitor(f, t->root, &down) == EG_OK) {
        supervisor_stop(rt, t->root);
        m = foreign_receive(f, START_MS);
        if (m != NULL)
            message_free(rt, m);
    }
    wait_for_disc(t, f);
    foreign_close(f);
    t->root = EG_PID_NONE;
    for (uint32_t i = 0; i < t->count; i++)
        forget(&t->manager[i]);
}

void tx_managers_close(struct tx_managers *t) {
    for (uint32_t i = 0; i < t->count; i++)
        forget(&t->manager[i]); /* of those that never began */
    alloc_put(t->o.alloc, t, size_of(t->count));
}
