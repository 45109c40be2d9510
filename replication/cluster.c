/* cluster.c -- the actor and the mesh's events that move the machines.
 *
 *     mesh: on_up, on_down, on_payload --.
 *     actor: calls, replies, tick -------+--> machine --> cluster_run(): swim_tick, views_tick,
 *                                                         what may act together, until quiet
 *
 * Everything here runs on one scheduler, so nothing is locked.  The machines outlive their
 * actor: a successor of one that was killed goes on with them. */
#include "replication/cluster_private.h"

#include "engine/env.h"
#include "engine/foreign.h"
#include "engine/scheduler.h"
#include "engine/supervisor.h"
#include "replication/handshake.h"
#include "replication/tx_manager.h"
#include "tables/route.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum {
    CLUSTER_TICK_MS = 25, /* the machines' shortest interval is four times that   */
    CLUSTER_START_MS = 60 * 1000,
    CLUSTER_DOWN_MS = 1000,
    CLUSTER_RESTARTS = 16,
    CLUSTER_RESTARTS_MS = 10 * 1000,
    STATUS_BYTES_MAX = 1 << 20,
    STAND_IN_AFTER_MS = 30 * 1000, /* a node that only restarts finds its copies its own */
};

/* Tags of its messages besides enum cluster_op. */
enum { CLUSTER_TICK = 0x1000, CLUSTER_DOWN };

uint64_t cluster_now_ms(const struct cluster *c) {
    return env_now_ns(c->o.env) / 1000000;
}

static int64_t wall_ms(const struct cluster *c) {
    return env_wall_ms(c->o.env);
}

static eg_pid pid_of(const struct cluster *c) {
    uint64_t pid = atomic_load(&c->pid);

    return pid == 0 ? EG_PID_NONE
                    : (eg_pid){runtime_node(c->o.runtime), (uint32_t) (pid >> 32), (uint32_t) pid};
}

/* ---- moving the machines ---------------------------------------------------------------- */

/* Linked, and as far as anybody knows there. */
static bool is_reachable(const struct cluster *c, const struct swim_member *m) {
    return m->info.id != c->self.id && m->linked && mesh_is_up(c->mesh, m->info.id) &&
           (m->state == SWIM_UP || m->state == SWIM_SUSPECT || m->state == SWIM_LEAVING);
}

static void tell_reach(struct cluster *c) {
    struct node_info reach[NODES_MAX];
    uint32_t count = 0;

    c->reach_changed = false;
    for (uint32_t i = 0; i < swim_count(c->swim) && count < NODES_MAX; i++) {
        const struct swim_member *m = swim_at(c->swim, i);
        if (is_reachable(c, m))
            reach[count++] = m->info;
    }
    views_reach(c->views, reach, count, cluster_now_ms(c));
}

/* After anything that came in. */
static void cluster_run(struct cluster *c) {
    if (c->running)
        return; /* what came in came of what we sent: the loop below sees it */
    c->running = true;
    reader_enter(&c->reader);
    do {
        (void) swim_tick(c->swim, cluster_now_ms(c), wall_ms(c)); /* when next: at our own tick */
        if (c->reach_changed)
            tell_reach(c);
        (void) views_tick(c->views, cluster_now_ms(c));
    } while (c->reach_changed);
    reader_exit(&c->reader);
    c->running = false;
}

/* ---- what the machines want ------------------------------------------------------------------ */

static void send_swim(void *user, uint64_t to, struct value payload) {
    struct cluster *c = user;

    c->unsent += mesh_send(c->mesh, to, MESH_NOW, payload) != EG_OK; /* it may be lost */
}

static void member_changed(void *user, const struct swim_member *m, enum swim_state before) {
    struct cluster *c = user;

    c->reach_changed = c->to_remember = true;
    if (m->info.id == c->self.id) {
        cluster_self_changed(c, m);
        return;
    }
    if (m->state == SWIM_LEFT || m->state == SWIM_REMOVED)
        mesh_forget(c->mesh, m->info.id);
    else if (c->parting_ms == 0)
        mesh_know(c->mesh, &m->info);
    if (m->state == before)
        return;
    if (m->state == SWIM_DOWN)
        mesh_doubt(c->mesh, m->info.id);
    cluster_tell_member(c, m);
    env_log(c->o.env, ENV_LOG_INFO, "cluster", "%s at %s is %s", m->info.name, m->info.address,
            swim_state_name(m->state));
}

static uint64_t draw(void *user) {
    return env_random(((struct cluster *) user)->o.env);
}

static bool is_brief(void *user, uint64_t with) {
    return (mesh_features(((struct cluster *) user)->mesh, with) & HANDSHAKE_BRIEF) != 0;
}

static void send_view(void *user, uint64_t to, struct value payload) {
    struct cluster *c = user;

    if (is_brief(c, to))
        payload = run_put(payload, c->view_said);
    c->unsent += mesh_send(c->mesh, to, MESH_VIEW, payload) != EG_OK; /* it is said again */
}

static void stop_serving(void *user, struct view_id proposed) {
    struct cluster *c = user;

    atomic_store(&c->epoch, 0);
    c->to_install = c->install_again = false; /* a view that is over before its tables were known */
    replica_stop(c->replicas, proposed);
}

static void stopped(void *user, struct view_id proposed) {
    struct cluster *c = user;

    view_stopped(c->views, proposed, cluster_now_ms(c));
    cluster_run(c);
}

/* Who should have a voice: all that are not removed, and do not leave.  Nobody: it cannot say. */
static void known_members(const struct cluster *c, struct elector_list *out) {
    uint32_t count = cluster_is_lost(c) ? 0 : swim_count(c->swim);

    out->count = 0;
    for (uint32_t i = 0; i < count && out->count < NODES_MAX; i++) {
        const struct swim_member *m = swim_at(c->swim, i);

        if (m->state != SWIM_LEFT && m->state != SWIM_REMOVED)
            elector_list_add(out, (struct elector){m->info.id, m->info.weight, m->info.has_disc});
    }
}

static eg_err report(void *user, struct buffer *out) {
    struct cluster *c = user;
    struct elector_list known;

    known_members(c, &known);
    return replica_report(c->replicas, &known, out);
}

/* Who may hold copies: all that are not removed. */
uint32_t cluster_placement(const struct cluster *c, struct placement_node out[NODES_MAX]) {
    uint32_t count = 0;

    for (uint32_t i = 0; i < swim_count(c->swim) && count < NODES_MAX; i++) {
        const struct swim_member *m = swim_at(c->swim, i);
        if (m->state == SWIM_LEFT || m->state == SWIM_REMOVED)
            continue;
        out[count++] = (struct placement_node){
            .id = m->info.id,
            .weight = m->info.weight,
            .eligible = m->info.has_disc,
            .standing = view_find(c->view, m->info.id) != NULL ||
                        cluster_now_ms(c) - m->since_ms < STAND_IN_AFTER_MS,
        };
    }
    return count;
}

/* A node that stands still keeps its links for a while: who has asked it need not wait as long. */
static void expect_no_answers(struct cluster *c) {
    for (uint32_t i = 0; i < swim_count(c->swim); i++) {
        uint64_t id = swim_at(c->swim, i)->info.id;
        if (view_find(c->view, id) != NULL)
            continue;
        router_node_down(c->router, id);
        far_read_node_down(c->reads, id);
    }
}

/* Shards get their roles, once all tables of the view are known here. */
static void install_copies(struct cluster *c) {
    struct placement_node nodes[NODES_MAX];

    eg_err err = replica_install(c->replicas, c->view, nodes, cluster_placement(c, nodes));

    if (err != EG_OK && !c->install_again)
        env_log(c->o.env, ENV_LOG_ERROR, "cluster", "no %s for a view: none is served meanwhile",
                err == EG_MEMORY ? "memory" : "disc");
    c->to_install = c->install_again = err != EG_OK;
    if (err != EG_OK)
        return; /* the tick tries again */
    cluster_tell_discs(c);
    expect_no_answers(c);
    router_view_changed(c->router);
    far_read_view_changed(c->reads);
    if (c->o.transactions != NULL)
        tx_managers_view(c->o.transactions, c->view);
}

static void install(void *user, const struct view *v) {
    struct cluster *c = user;

    if (c->view != NULL || v->count > 1) /* that it is alone at first is no news */
        env_log(c->o.env, ENV_LOG_INFO, "cluster", "view %llx-%llx of %u",
                (unsigned long long) v->id.epoch, (unsigned long long) v->id.hash, v->count);
    if (c->view != NULL)
        view_unref(c->view);
    view_ref(v);
    c->view = v;
    atomic_store(&c->epoch, v->id.epoch);
    c->met |= v->count > 1;
    c->memory.epoch = v->id.epoch;
    cluster_remember(c);
    cluster_tell_view(c, v);
    c->to_install = true;
    c->install_again = false;
    schema_sync_view(c->schema, v); /* says when it is whole, at once perhaps */
}

/* ---- schema -----------------------------------------------------------------------------------
 */

static eg_pid schema_answers(void *user) {
    return pid_of(user);
}

static eg_err send_schema(void *user, uint64_t to, struct value payload) {
    return mesh_send(((struct cluster *) user)->mesh, to, MESH_SCHEMA, payload);
}

static bool everybody(void *user, struct err_note *note) {
    const struct cluster *c = user;

    for (uint32_t i = 0; i < swim_count(c->swim); i++) {
        const struct swim_member *m = swim_at(c->swim, i);
        if (m->state == SWIM_LEFT || m->state == SWIM_REMOVED || m->info.id == c->self.id)
            continue;
        if (c->view == NULL || view_find(c->view, m->info.id) == NULL) {
            (void) err_note(note, EG_NO_REPLICA,
                            "this needs all members, and %s is not there (it can be removed)",
                            m->info.name);
            return false;
        }
    }
    return true;
}

static bool any_disc(void *user) {
    const struct cluster *c = user;
    bool any = c->self.has_disc;

    for (uint32_t i = 0; i < swim_count(c->swim) && c->view != NULL; i++) {
        const struct swim_member *m = swim_at(c->swim, i);
        any |= m->info.has_disc && view_find(c->view, m->info.id) != NULL;
    }
    return any;
}

static void table_changed(void *user, const char *name) {
    struct cluster *c = user;
    struct table *t = catalog_find(c->o.catalog, name, strlen(name));

    if (t != NULL && c->view != NULL && !c->to_install)
        replica_table_changed(c->replicas, t);
}

static void schema_whole(void *user) {
    struct cluster *c = user;

    if (c->to_install)
        install_copies(c);
}

/* ---- copies ------------------------------------------------------------------------------ */

static eg_err send_replica(void *user, uint64_t to, struct value payload) {
    return mesh_send(((struct cluster *) user)->mesh, to, MESH_REPLICA, payload);
}

static bool packs(void *user, uint64_t to) {
    return (mesh_features(((struct cluster *) user)->mesh, to) & HANDSHAKE_PACKS) != 0;
}

static uint64_t pending_bytes(void *user, uint64_t to) {
    return mesh_pending_bytes(((struct cluster *) user)->mesh, to);
}

static void copies_progress(void *user) {
    struct cluster *c = user;

    views_renew(c->views, cluster_now_ms(c));
    cluster_run(c);
}

static eg_err elect(void *user, const struct electorate *e) {
    struct cluster *c = user;

    c->memory.electorate = *e;
    env_log(c->o.env, ENV_LOG_INFO, "cluster", "majorities are of %u members%s, since view %llx",
            e->list[e->lists - 1].count, e->lists == 2 ? ", and of those before" : "",
            (unsigned long long) e->epoch);
    cluster_remember(c);
    return c->to_remember ? EG_BUSY : EG_OK;
}

static void remember(void *user) {
    struct cluster *c = user;

    c->memory.remembers = true;
    c->to_remember = true; /* with the next tick */
}

static void copies_event(void *user, const char *state, uint64_t shards) {
    cluster_tell_copies(user, state, shards);
}

/* Who is linked has a name; any thread. */
static void name_of(void *user, uint64_t node, char out[static NODE_INFO_NAME_BYTES]) {
    const struct cluster *c = user;
    char names[NODES_MAX][NODE_INFO_NAME_BYTES];
    uint32_t count = c->remote == NULL ? 0 : remote_nodes(c->remote, names, NODES_MAX);

    out[0] = '\0';
    if (node == c->self.id)
        memcpy(out, c->self.name, NODE_INFO_NAME_BYTES);
    for (uint32_t i = 0; i < EG_MIN(count, (uint32_t) NODES_MAX); i++)
        if (node_id_of(names[i]) == node)
            memcpy(out, names[i], NODE_INFO_NAME_BYTES);
}

static void part_in_doubt(void *user, struct table *t, uint32_t shard, struct value head) {
    struct cluster *c = user;

    if (c->o.transactions != NULL)
        tx_managers_doubt(c->o.transactions, t, shard, head);
}

static void schema_event(void *user, const char *kind, const char *table, const char *text) {
    struct cluster *c = user;

    env_log(c->o.env, ENV_LOG_WARN, "schema", "%s: %s: %s", kind, table, text);
}

static eg_err schema_message(void *user, const struct catalog_request *q, eg_pid *to,
                             struct message **out) {
    struct cluster *c = user;
    eg_err err = catalog_message_here(c->o.catalog, q, to, out);

    if (err != EG_OK)
        return err;
    (*out)->tag = CLUSTER_SCHEMA;
    *to = pid_of(c);
    return EG_OK;
}

/* ---- requests
 * ------------------------------------------------------------------------------------- */

static uint64_t master_of(void *user, const struct table *t, uint32_t shard) {
    return replica_master(((struct cluster *) user)->replicas, t, shard);
}

static struct view_id view_of(void *user) {
    const struct cluster *c = user;

    return views_now(c->views) == NULL ? (struct view_id){0, 0} : views_now(c->views)->id;
}

static uint64_t epoch_of(void *user) {
    return atomic_load(&((const struct cluster *) user)->epoch);
}

static bool is_with_us(void *user, uint64_t node) {
    const struct cluster *c = user;

    return c->view == NULL || view_find(c->view, node) != NULL;
}

/* From any scheduler, at any time from the beginning. */
static eg_err send_transaction(void *user, uint64_t to, struct value payload) {
    struct cluster *c = user;

    return atomic_load(&c->open) ? mesh_send(c->mesh, to, MESH_REQUEST, payload) : EG_NO_REPLICA;
}

static eg_err send_request(void *user, uint64_t to, struct value payload) {
    return mesh_send(((struct cluster *) user)->mesh, to, MESH_REQUEST, payload);
}

/* ---- what the mesh says
 * ----------------------------------------------------------------------------- */

static eg_err may_link(void *user, const struct node_info *who, struct err_note *note) {
    struct cluster *c = user;

    if (!atomic_load(&c->open))
        return err_note(note, EG_BUSY, "the node is only starting");
    if (c->stale)
        return err_note(note, EG_DENIED, "%s was removed from the cluster", c->self.name);
    if (c->parting_ms != 0) /* whoever links it now would know it, and dial it when it is alone */
        return err_note(note, EG_BUSY, "%s is leaving the cluster", c->self.name);
    if (cluster_has_left(c, who->id))
        return err_note(note, EG_DENIED, "%s has left the cluster, and is back when it joins",
                        c->self.name);
    return swim_may_link(c->swim, who, note);
}

static void on_up(void *user, const struct node_info *who) {
    struct cluster *c = user;

    if (!atomic_load(&c->open))
        return;
    c->reach_changed = true;
    remote_up(c->remote, who);
    swim_linked(c->swim, who, cluster_now_ms(c));
    cluster_run(c);
}

static void on_down(void *user, uint64_t id) {
    struct cluster *c = user;

    if (!atomic_load(&c->open))
        return;
    c->reach_changed = true;
    swim_unlinked(c->swim, id, cluster_now_ms(c));
    router_node_down(c->router, id);
    far_read_node_down(c->reads, id);
    reader_enter(&c->reader);
    replica_node_down(c->replicas, id);
    reader_exit(&c->reader);
    remote_down(c->remote, id);
    tell_reach(c); /* without it, lest it come back before the views have noticed */
    c->reach_changed = true;
    cluster_run(c);
}

/* What cannot be read is dropped as what it is: no message. */
static void receive_view(struct cluster *c, uint64_t from, struct value payload) {
    struct value message;

    if (run_get(payload, c->view_heard, &message) != EG_OK)
        message = payload;
    views_receive(c->views, from, message, cluster_now_ms(c));
}

static void on_payload(void *user, uint64_t from, enum mesh_channel channel, struct value payload) {
    struct cluster *c = user;

    if (!atomic_load(&c->open))
        return;
    reader_enter(&c->reader);
    switch (channel) {
    case MESH_NOW:
        swim_receive(c->swim, from, payload, cluster_now_ms(c), wall_ms(c));
        break;
    case MESH_VIEW:
        receive_view(c, from, payload);
        break;
    case MESH_SCHEMA:
        schema_sync_receive(c->schema, from, payload);
        break;
    case MESH_REPLICA:
        replica_receive(c->replicas, from, payload);
        break;
    case MESH_REQUEST:
        if (far_read_is_ours(payload))
            far_read_receive(c->reads, from, payload);
        else if (c->o.transactions != NULL && tx_managers_is_ours(payload))
            tx_managers_receive(c->o.transactions, from, payload);
        else
            router_receive(c->router, from, payload);
        break;
    case MESH_ACTOR:
        remote_receive(c->remote, from, payload);
        break;
    default:
        break;
    }
    if (channel == MESH_NOW || channel == MESH_VIEW)
        cluster_run(c);
    reader_exit(&c->reader);
}

static void on_joined(void *user, const char *address, eg_err err, const char *text) {
    cluster_joined(user, address, err, text);
}

/* ---- the actor
 * ---------------------------------------------------------------------------------------- */

static void answer_status(struct cluster *c, struct actor *self, const struct message *m) {
    struct buffer out;
    eg_err err;

    buffer_init(&out, c->o.alloc, STATUS_BYTES_MAX);
    err = cluster_put_status(c, &out);
    actor_reply_bytes(self, m->from, m->ref, err, out.at, err == EG_OK ? out.size_bytes : 0);
    buffer_fini(&out);
}

static void on_call(struct cluster *c, struct actor *self, const struct message *m) {
    switch (m->tag) {
    case CLUSTER_STATUS:
        answer_status(c, self, m);
        break;
    case CLUSTER_JOIN:
        cluster_join(c, m);
        break;
    case CLUSTER_LEAVE:
        cluster_leave(c, m);
        break;
    case CLUSTER_REMOVE:
        cluster_remove(c, m);
        break;
    case CLUSTER_SCRUB:
        replica_scrub(c->replicas);
        cluster_answer(c, m->from, m->ref, EG_OK, "");
        break;
    case CLUSTER_DOWN:
        swim_say(c->swim, SWIM_DOWN, cluster_now_ms(c));
        cluster_answer(c, m->from, m->ref, EG_OK, "");
        break;
    default:
        schema_sync_ask(c->schema, m);
    }
}

static void start_tick(struct actor *self) {
    struct message *m = message_new(actor_runtime(self), MESSAGE_INFO, 0);
    eg_ref timer;

    if (m == NULL) {
        actor_crash(self, EG_MEMORY, "no memory for a tick"); /* its successor tries again */
        return;
    }
    m->tag = CLUSTER_TICK;
    if (actor_start_timer(self, CLUSTER_TICK_MS, m, &timer) != EG_OK)
        actor_crash(self, EG_MEMORY, "no memory for a tick");
}

static void tick(struct cluster *c, struct actor *self) {
    uint64_t now_ms = cluster_now_ms(c);

    start_tick(self);
    router_alive(c->router);
    cluster_member_tick(c);
    if (c->install_again)
        install_copies(c);
    replica_tick(c->replicas);
    cluster_watch_tick(c);
    if (now_ms - c->schema_ticked_ms < SCHEMA_SYNC_TICK_MS)
        return;
    c->schema_ticked_ms = now_ms;
    schema_sync_tick(c->schema);
}

static void receive(struct actor *self, void *state, struct message *m) {
    struct cluster *c = *(struct cluster **) state;

    reader_enter(&c->reader); /* tables are looked at */
    if (m->kind == MESSAGE_CALL)
        on_call(c, self, m);
    else if (m->kind == MESSAGE_REPLY)
        schema_sync_reply(c->schema, m);
    else
        tick(c, self);
    cluster_run(c);
    reader_exit(&c->reader);
}

/* The cluster's secret, of which tables' hashes are made. */
static uint64_t secret_of(const struct cluster *c) {
    return c->o.cookie == NULL ? 0 : XXH3_64bits(c->o.cookie, c->o.cookie_bytes);
}

static eg_err open_schema(struct cluster *c) {
    struct schema_sync_opts o = {.alloc = c->o.alloc,
                                 .env = c->o.env,
                                 .runtime = c->o.runtime,
                                 .catalog = c->o.catalog,
                                 .disc = c->o.disc,
                                 .self = c->self.id,
                                 .self_name = c->self.name,
                                 .secret = secret_of(c),
                                 .answers = schema_answers,
                                 .send = send_schema,
                                 .sums = is_brief,
                                 .everybody = everybody,
                                 .any_disc = any_disc,
                                 .table_changed = table_changed,
                                 .whole = schema_whole,
                                 .event = schema_event,
                                 .user = c};
    struct err_note note = {""};
    eg_err err = schema_sync_open(&c->schema, &o, &note);

    if (err != EG_OK)
        env_log(c->o.env, ENV_LOG_ERROR, "cluster", "%s", note.text);
    return err;
}

static void say_have(void *user, const struct witness_word *word, struct view_id view) {
    router_witness()->have(((struct cluster *) user)->router, word, view);
}

static void say_told(void *user, const struct witness_word *word) {
    router_witness()->tell(((struct cluster *) user)->router, word);
}

static void say_outcome(void *user, const struct witness_word *word, eg_err outcome,
                        const char *text) {
    router_witness()->answer(((struct cluster *) user)->router, word, outcome, text);
}

static eg_err open_replicas(struct cluster *c) {
    static const struct witness_ops witness = {say_have, say_told, say_outcome};
    struct replica_opts o = {.alloc = c->o.alloc,
                             .env = c->o.env,
                             .runtime = c->o.runtime,
                             .catalog = c->o.catalog,
                             .disc = c->o.disc,
                             .scheduler = CLUSTER_SCHEDULER,
                             .self = c->self.id,
                             .send = send_replica,
                             .packs = packs,
                             .pending_bytes = pending_bytes,
                             .witness = &witness,
                             .progress = copies_progress,
                             .stopped = stopped,
                             .event = copies_event,
                             .doubt = part_in_doubt,
                             .name_of = name_of,
                             .scrub_every_ms = c->o.scrub_every_ms,
                             .elect = elect,
                             .electorate = &c->memory.electorate,
                             .remember = remember,
                             .remembers = c->memory.remembers,
                             .user = c};

    return replicas_open(&c->replicas, &o);
}

/* The first life opens the machines. */
static eg_err open_machines(struct cluster *c) {
    static const struct swim_ops swim = {send_swim, member_changed, draw};
    static const struct view_ops views = {send_view, stop_serving, report, install, draw};
    eg_err err;

    c->self = *mesh_self(c->mesh);
    reader_of_scheduler(&c->reader,
                        scheduler_epoch(runtime_scheduler(c->o.runtime, CLUSTER_SCHEDULER)),
                        c->o.alloc);
    c->reader_open = true;
    err = open_schema(c);
    if (err == EG_OK)
        err = open_replicas(c);
    if (err == EG_OK)
        err = swim_open(&c->swim, c->o.alloc, &c->self, &swim, c);
    if (err == EG_OK)
        err = cluster_recall(c);
    if (err == EG_OK)
        err = views_open(&c->views, c->o.alloc, &c->self, c->memory.epoch, &views, c);
    if (err != EG_OK)
        return err;
    atomic_store(&c->open, true);
    for (uint32_t i = 0; i < c->o.join_count; i++)
        mesh_join(c->mesh, c->o.join[i]);
    c->reach_changed = true;
    cluster_run(c);
    return EG_OK;
}

static eg_err init(struct actor *self, void *state, const void *arg) {
    struct cluster *c = (struct cluster *) arg;
    eg_pid pid = actor_pid(self);

    *(struct cluster **) state = c;
    atomic_store(&c->pid, (uint64_t) pid.slot << 32 | pid.generation);
    start_tick(self);
    return atomic_load(&c->open) ? EG_OK : open_machines(c);
}

/* ---- open, close
 * --------------------------------------------------------------------------------------- */

static void child_at(const void *children, uint32_t index, struct child_spec *out) {
    static const struct actor_ops ops = {.name = "cluster",
                                         .state_bytes = sizeof(struct cluster *),
                                         .init = init,
                                         .receive = receive};
    struct cluster *c = (struct cluster *) children;

    if (index == 1)
        router_child(c->router, out);
    else if (index == 2)
        far_read_child(c->reads, out);
    else
        *out = (struct child_spec){.id = "cluster",
                                   .kind = CHILD_ACTOR,
                                   .restart = PERMANENT,
                                   .actor = &ops,
                                   .arg = c,
                                   .scheduler = SPAWN_ON(CLUSTER_SCHEDULER),
                                   .mailbox_bound = MAILBOX_BOUND_MAX};
}

static eg_err start_tree(struct cluster *c) {
    struct supervisor_opts o = {.label = "cluster",
                                .strategy = ONE_FOR_ONE,
                                .intensity = CLUSTER_RESTARTS,
                                .period_ms = CLUSTER_RESTARTS_MS,
                                .children = c,
                                .child_count = 3,
                                .child_at = child_at,
                                .vital = true};
    struct runtime *rt = c->o.runtime;
    struct message *m, *reply;
    struct foreign *f;
    eg_err err = foreign_open(&f, rt);

    if (err != EG_OK)
        return err;
    err = supervisor_spawn(rt, NULL, &o, SPAWN_ON(CLUSTER_SCHEDULER), NULL, &c->root);
    if (err != EG_OK)
        goto close_foreign;
    m = supervisor_request(rt, SUPERVISOR_AWAIT, NULL, 0);
    err = m == NULL ? EG_MEMORY : foreign_call(f, c->root, m, CLUSTER_START_MS, &reply);
    if (err == EG_OK) {
        err = (eg_err) reply->tag;
        message_free(rt, reply);
    }
    if (err == EG_NOPROC) /* it could not begin */
        err = EG_MEMORY;
close_foreign:
    foreign_close(f);
    return err;
}

static void stop_tree(struct cluster *c) {
    struct runtime *rt = c->o.runtime;
    struct message *m;
    struct foreign *f;
    eg_ref down;

    if (eg_pid_is_none(c->root) || foreign_open(&f, rt) != EG_OK)
        return;
    if (foreign_monitor(f, c->root, &down) == EG_OK) {
        supervisor_stop(rt, c->root);
        m = foreign_receive(f, CLUSTER_START_MS);
        if (m != NULL)
            message_free(rt, m);
    }
    foreign_close(f);
}

/* So that the others need not find out. */
static void say_down(struct cluster *c) {
    struct message *m = message_new(c->o.runtime, MESSAGE_CALL, 0), *reply;
    struct foreign *f;

    if (m == NULL || foreign_open(&f, c->o.runtime) != EG_OK) {
        if (m != NULL)
            message_free(c->o.runtime, m);
        return;
    }
    m->tag = CLUSTER_DOWN;
    if (foreign_call(f, pid_of(c), m, CLUSTER_DOWN_MS, &reply) == EG_OK)
        message_free(c->o.runtime, reply);
    foreign_close(f);
}

static eg_err open_router(struct cluster *c) {
    struct router_opts o = {.alloc = c->o.alloc,
                            .runtime = c->o.runtime,
                            .catalog = c->o.catalog,
                            .self = c->self.id,
                            .scheduler = CLUSTER_SCHEDULER,
                            .master = master_of,
                            .view = view_of,
                            .is_with_us = is_with_us,
                            .send = send_request,
                            .schema = schema_message,
                            .user = c};

    return router_open(&c->router, &o);
}

static eg_err open_reads(struct cluster *c) {
    struct far_read_opts o = {.alloc = c->o.alloc,
                              .env = c->o.env,
                              .runtime = c->o.runtime,
                              .catalog = c->o.catalog,
                              .scheduler = CLUSTER_SCHEDULER,
                              .node = master_of,
                              .view = view_of,
                              .epoch = epoch_of,
                              .send = send_request,
                              .user = c};

    return far_read_open(&c->reads, &o);
}

static eg_err open_mesh(struct cluster *c, struct err_note *note) {
    static const struct mesh_events events = {may_link, on_up, on_down, on_payload, on_joined};
    struct mesh_opts o = {.alloc = c->o.alloc,
                          .runtime = c->o.runtime,
                          .env = c->o.env,
                          .scheduler = CLUSTER_SCHEDULER,
                          .net_open = c->o.net_open,
                          .listen = c->o.listen,
                          .listen_count = c->o.listen_count,
                          .cookie = c->o.cookie,
                          .cookie_bytes = c->o.cookie_bytes,
                          .self = &c->self,
                          .events = &events,
                          .user = c};

    return mesh_open(&c->mesh, &o, note);
}

static eg_err send_actor(void *user, uint64_t to, struct value payload) {
    return mesh_send(((struct cluster *) user)->mesh, to, MESH_ACTOR, payload);
}

static void drop_link(void *user, uint64_t id) {
    mesh_drop(((struct cluster *) user)->mesh, id);
}

static eg_err open_remote(struct cluster *c) {
    struct remote_opts o = {.alloc = c->o.alloc,
                            .env = c->o.env,
                            .runtime = c->o.runtime,
                            .scheduler = CLUSTER_SCHEDULER,
                            .self = &c->self,
                            .send = send_actor,
                            .pending_bytes = pending_bytes,
                            .drop = drop_link,
                            .user = c};

    return remote_open(&c->remote, &o);
}

static void fill_self(struct cluster *c) {
    const struct cluster_opts *o = &c->o;

    c->self = (struct node_info){.id = node_id_of(o->name),
                                 .incarnation = c->memory.incarnation,
                                 .weight = o->weight != 0 ? o->weight : NODE_WEIGHT_USUAL,
                                 .has_disc = o->disc != NULL};
    snprintf(c->self.name, sizeof c->self.name, "%s", o->name);
    if (o->advertise != NULL)
        snprintf(c->self.address, sizeof c->self.address, "%s", o->advertise);
}

/* A later start than any before, as far as the disc knows. */
static eg_err load_memory(struct cluster *c, struct err_note *note) {
    eg_err err = EG_OK;

    buffer_init(&c->remembered, c->o.alloc, CLUSTER_MEMORY_BYTES_MAX);
    if (c->o.disc != NULL)
        err = cluster_memory_load(c->o.disc, &c->memory, &c->remembered, &c->members, note);
    c->memory.incarnation = cluster_memory_next_start(&c->memory, env_wall_ms(c->o.env));
    if (c->memory.born == 0)
        c->memory.born = c->memory.incarnation;
    return err;
}

/* Who brings transactions to their ends speaks to the others from here on. */
static void meet_peers(struct cluster *c) {
    const struct tx_peers peers = {.self = c->self.id, .send = send_transaction, .user = c};

    if (c->o.transactions != NULL)
        tx_managers_meet(c->o.transactions, &peers);
}

eg_err cluster_open(struct cluster **out, const struct cluster_opts *o, struct err_note *note) {
    struct cluster *c = alloc_zero(o->alloc, sizeof *c);
    eg_err err;

    if (c == NULL)
        return EG_MEMORY;
    c->o = *o;
    err = load_memory(c, note);
    fill_self(c);
    if (err == EG_OK)
        meet_peers(c);
    if (err == EG_OK)
        err = open_router(c);
    if (err == EG_OK)
        err = open_reads(c);
    if (err == EG_OK)
        err = open_mesh(c, note);
    if (err == EG_OK)
        err = open_remote(c);
    if (err == EG_OK)
        err = start_tree(c);
    if (err != EG_OK) {
        cluster_stop(c);
        cluster_close(c);
        return err;
    }
    catalog_set_route(o->catalog, router_route(c->router));
    catalog_set_far(o->catalog, far_read_far(c->reads));
    *out = c;
    return EG_OK;
}

void cluster_stop(struct cluster *c) {
    catalog_set_far(c->o.catalog, NULL);
    catalog_set_route(c->o.catalog, NULL);
    if (c->o.transactions != NULL)
        tx_managers_part(c->o.transactions);
    if (c->remote != NULL)
        remote_stop(c->remote); /* no actor sends to another node any more */
    if (atomic_load(&c->open))
        say_down(c);
    stop_tree(c);
    atomic_store(&c->open, false); /* what still comes over links is for nobody */
    if (c->replicas != NULL)
        replicas_end(c->replicas);
    if (c->mesh != NULL)
        mesh_stop(c->mesh); /* no event comes any more; shards may still try to send */
}

void cluster_close(struct cluster *c) {
    if (c->views != NULL)
        views_close(c->views);
    if (c->swim != NULL)
        swim_close(c->swim);
    if (c->schema != NULL)
        schema_sync_close(c->schema);
    if (c->replicas != NULL)
        replicas_close(c->replicas);
    if (c->router != NULL)
        router_close(c->router);
    if (c->reads != NULL)
        far_read_close(c->reads);
    if (c->remote != NULL)
        remote_close(c->remote);
    if (c->mesh != NULL)
        mesh_close(c->mesh);
    if (c->view != NULL)
        view_unref(c->view);
    if (c->reader_open)
        reader_close(&c->reader);
    buffer_fini(&c->remembered);
    alloc_put(c->o.alloc, c, sizeof *c);
}

struct remote *cluster_remote(struct cluster *c) {
    return c->remote;
}

struct mesh_stats cluster_links(const struct cluster *c) {
    return mesh_stats(c->mesh);
}

const char *cluster_address(const struct cluster *c, uint32_t number) {
    return mesh_listens(c->mesh, number);
}

eg_err cluster_message(struct cluster *c, const struct cluster_question *q, eg_pid *to,
                       struct message **out) {
    const struct cluster_word word = {q->timeout_ms, q->force};
    struct message *m = message_new(c->o.runtime, MESSAGE_CALL, sizeof word + q->text_bytes);

    if (m == NULL)
        return EG_MEMORY;
    memcpy(m->payload, &word, sizeof word);
    if (q->text_bytes != 0)
        memcpy(m->payload + sizeof word, q->text, q->text_bytes);
    m->tag = q->op;
    *to = pid_of(c);
    *out = m;
    return EG_OK;
}
