/* replica.c -- all feeds of a node: views come in, orders go to the shards. */
#include "replication/replica.h"

#include "engine/env.h"
#include "replication/feed.h"
#include "replication/outbox.h"
#include "replication/scrub.h"
#include "tables/shard_conflict.h"
#include "tables/shard_floor.h"
#include "tables/shard_stamp.h"
#include "tables/disc.h"
#include "tables/table.h"

#include <string.h>

enum {
    PARKED_BYTES_MAX = 8 << 20,
    POSTED_LOOKS = 4,
    STOP_AGAIN_NS = 50 * 1000 * 1000,
    CUT_AGAIN_NS = 200 * 1000 * 1000
};

#define ELECT_SETTLE_NS    UINT64_C(500000000) /* of a view: the others are whole by then, too */
#define ELECT_AGAIN_NS     UINT64_C(2000000000)
#define ELECT_AGAIN_NS_MAX UINT64_C(60000000000)

#define TOLD_NS (UINT64_C(60) * 1000 * 1000 * 1000)

/* Look at what may have changed. */
enum replica_tag { REPLICA_LOOK = 1 };

/* A payload of a view that is not installed here yet. */
struct parked {
    struct parked *next;
    uint64_t from;
    struct view_id view;
    uint32_t size_bytes;
    uint8_t payload[];
};

struct replicas {
    struct replica_opts o;
    struct feed_world world;
    struct outbox outbox;
    uint64_t posted_seen; /* in it, at the last look; and how often there was more since */
    uint32_t posted_looks;
    eg_pid pid; /* the actor that speaks on the mesh's scheduler */
    _Atomic bool ended;
    const struct view *view;
    struct replica_reports *reports;
    uint32_t node_count;
    struct placement_node node[NODES_MAX];
    struct electorate electorate;
    uint64_t elect_due_ns;  /* for a view in which one of two lists may go: not before */
    uint64_t elect_wait_ns; /* and between two of them                                */
    bool seasoned;          /* it has been in a view with others since its start */
    bool remembers;         /* REPLICA_REMEMBERS */
    struct view_id proposed;
    _Atomic bool stopping;
    uint64_t stop_asked_ns;
    bool said_ill;        /* as the last report said: our disc refuses */
    bool between;         /* stopped, and not in the next view yet */
    _Atomic int64_t left; /* about how many shards have not stopped yet */
    _Atomic bool progressing;
    _Atomic bool planning; /* orders are to be given again */
    struct parked *parked; /* oldest first */
    size_t parked_bytes;
    uint32_t state;                       /* enum replica_state, as the next report says it */
    bool said_little;                     /* in the last report, for `seasoned` */
    uint64_t stamps_told, stamps_told_ns; /* ahead of our clock: how many, last, and when */
    uint64_t cut_ns;                      /* deletes were forgotten early, last */
    bool filling;                         /* some copy here is, as was told last */
    uint64_t here;                        /* shards of which a copy lies here in this view */
    struct scrubs *scrubs;
    _Atomic bool scrubbed; /* some shard has moved on */
    _Atomic uint64_t turn; /* of the view below: odd while it is being changed */
    _Atomic uint64_t epoch, hash;
};

/* ---- speaking on the mesh's scheduler ------------------------------------------------------ */

/* Soon; without memory at the next tick. */
static void look_soon(struct replicas *r) {
    struct message *m = message_new(r->o.runtime, MESSAGE_REPLY, 0);

    if (m == NULL)
        return;
    m->tag = REPLICA_LOOK;
    (void) runtime_send(r->o.runtime, EG_PID_NONE, r->pid, m); /* gone: nobody listens */
}

static void one_stopped(struct feed_world *w) {
    struct replicas *r = EG_CONTAINER_OF(w, struct replicas, world);

    if (atomic_fetch_sub(&r->left, 1) == 1)
        look_soon(r);
}

static void worth_changed(struct feed_world *w) {
    struct replicas *r = EG_CONTAINER_OF(w, struct replicas, world);

    if (!atomic_exchange(&r->progressing, true))
        look_soon(r);
}

static void scrubbed(struct feed_world *w) {
    struct replicas *r = EG_CONTAINER_OF(w, struct replicas, world);

    if (!atomic_exchange(&r->scrubbed, true))
        look_soon(r);
}

static void look_if_stopped(struct replicas *r);

static void plan_again(struct replicas *r);

/* What is posted goes together: while more comes it stays, for a few looks. */
static void look_at_outbox(struct replicas *r) {
    uint64_t posted = outbox_posted(&r->outbox);

    if (posted != r->posted_seen && r->posted_looks++ < POSTED_LOOKS) {
        r->posted_seen = posted;
        look_soon(r);
        return;
    }
    r->posted_looks = 0;
    (void) outbox_flush(&r->outbox); /* what the link does not take waits for the tick */
}

static void look(struct replicas *r) {
    look_at_outbox(r);
    if (atomic_load(&r->stopping))
        look_if_stopped(r);
    if (atomic_load(&r->planning))
        plan_again(r);
    if (atomic_exchange(&r->scrubbed, false))
        scrubs_step(r->scrubs);
    if (atomic_exchange(&r->progressing, false))
        r->o.progress(r->o.user);
}

static void resumed(struct feed_world *w) {
    struct replicas *r = EG_CONTAINER_OF(w, struct replicas, world);

    if (!atomic_exchange(&r->planning, true))
        look_soon(r);
}

static void replicas_receive(struct actor *self, void *state, struct message *m) {
    struct replicas *r = *(struct replicas **) state;

    (void) self;
    if (!atomic_load(&r->ended) && m->tag == REPLICA_LOOK)
        look(r);
}

static eg_err replicas_init(struct actor *self, void *state, const void *arg) {
    (void) self;
    *(const struct replicas **) state = arg;
    return EG_OK;
}

static void doubt(struct feed_world *w, struct shard *s, struct value head) {
    struct replicas *r = w->user;

    if (r->o.doubt != NULL)
        r->o.doubt(r->o.user, s->table, s->number, head);
}

/* What lost is kept where the merge was made. */
static void conflict(struct feed_world *w, const struct shard_conflict *c, struct view_id view) {
    struct replicas *r = w->user;
    char here[NODE_INFO_NAME_BYTES] = "", there[NODE_INFO_NAME_BYTES] = "";
    char view_text[VIEW_ID_TEXT_BYTES];

    if (r->o.name_of != NULL) {
        r->o.name_of(r->o.user, r->o.self, here);
        r->o.name_of(r->o.user, c->teller != 0 ? c->teller : r->o.self, there);
    }
    view_id_text(view, view_text);
    table_conflict(
        c->shard, c,
        &(struct conflict_place){here, there, view_text, (uint64_t) env_wall_ms(r->o.env)});
}

/* ---- open, end, close ------------------------------------------------------------------------ */

static eg_err send_to(void *user, uint64_t to, struct value payload) {
    struct replicas *r = user;
    return atomic_load_explicit(&r->ended, memory_order_relaxed)
               ? EG_NO_REPLICA
               : r->o.send(r->o.user, to, payload);
}

static eg_err pass_on(void *user, uint64_t to, struct value payload) {
    struct replicas *r = user;

    return outbox_send(&r->outbox, to, payload);
}

static eg_err post_to(void *user, uint64_t to, struct value payload) {
    struct replicas *r = user;

    return outbox_post(&r->outbox, to, payload);
}

static bool packs(void *user, uint64_t to) {
    const struct replicas *r = user;

    return r->o.packs != NULL && r->o.packs(r->o.user, to);
}

static void wake(void *user) {
    look_soon(user);
}

static uint64_t pending_to(void *user, uint64_t to) {
    struct replicas *r = user;
    return atomic_load_explicit(&r->ended, memory_order_relaxed)
               ? 0
               : r->o.pending_bytes(r->o.user, to);
}

static bool order(struct replicas *r, struct shard *s, enum feed_tag tag, const void *at,
                  size_t size_bytes);

static bool order_of(void *user, struct shard *s, enum feed_tag tag, const void *at,
                     size_t size_bytes) {
    return order(user, s, tag, at, size_bytes);
}

static void mended(void *user, uint64_t shards) {
    struct replicas *r = user;

    r->o.event(r->o.user, "mended", shards);
}

static eg_err open_scrubs(struct replicas *r) {
    struct scrubs_opts o = {.alloc = r->o.alloc,
                            .env = r->o.env,
                            .catalog = r->o.catalog,
                            .world = &r->world,
                            .every_ms = r->o.scrub_every_ms,
                            .order = order_of,
                            .send = pass_on,
                            .mended = mended,
                            .user = r};

    return scrubs_open(&r->scrubs, &o);
}

static void say_have(void *user, const struct witness_word *word, struct view_id view) {
    struct replicas *r = user;

    if (!atomic_load_explicit(&r->ended, memory_order_relaxed))
        r->o.witness->have(r->o.user, word, view);
}

static void say_told(void *user, const struct witness_word *word) {
    struct replicas *r = user;

    if (!atomic_load_explicit(&r->ended, memory_order_relaxed))
        r->o.witness->tell(r->o.user, word);
}

static void say_outcome(void *user, const struct witness_word *word, eg_err outcome,
                        const char *text) {
    struct replicas *r = user;

    if (!atomic_load_explicit(&r->ended, memory_order_relaxed))
        r->o.witness->answer(r->o.user, word, outcome, text);
}

static const struct witness_ops witness = {say_have, say_told, say_outcome};

eg_err replicas_open(struct replicas **out, const struct replica_opts *o) {
    static const struct actor_ops ops = {.name = "replicas",
                                         .state_bytes = sizeof(struct replicas *),
                                         .init = replicas_init,
                                         .receive = replicas_receive};
    struct replicas *r = alloc_zero(o->alloc, sizeof *r);
    struct spawn_opts spawn = {.ops = &ops, .arg = r, .scheduler = SPAWN_ON(o->scheduler)};
    eg_err err;

    if (r == NULL)
        return EG_MEMORY;
    r->o = *o;
    if (o->electorate != NULL)
        r->electorate = *o->electorate;
    r->remembers = o->remembers;
    r->world = (struct feed_world){.alloc = o->alloc,
                                   .env = o->env,
                                   .runtime = o->runtime,
                                   .origins = catalog_origins(o->catalog),
                                   .self = o->self,
                                   .send = pass_on,
                                   .post = post_to,
                                   .pending_bytes = pending_to,
                                   .user = r,
                                   .stopped = one_stopped,
                                   .worth_changed = worth_changed,
                                   .resumed = resumed,
                                   .scrubbed = scrubbed,
                                   .conflict = conflict,
                                   .doubt = doubt,
                                   .witness = o->witness == NULL ? NULL : &witness,
                                   .witness_user = r};
    outbox_init(&r->outbox,
                &(struct outbox_opts){
                    .alloc = o->alloc, .send = send_to, .packs = packs, .wake = wake, .user = r});
    err = open_scrubs(r);
    if (err == EG_OK)
        err = actor_spawn(o->runtime, NULL, &spawn, &r->pid, NULL);
    if (err != EG_OK) {
        scrubs_close(r->scrubs);
        alloc_put(o->alloc, r, sizeof *r);
        return err;
    }
    catalog_set_copies(o->catalog, feed_ops(), &r->world);
    *out = r;
    return EG_OK;
}

void replicas_end(struct replicas *r) {
    eg_exit reason = exit_reason(EG_EXIT_SHUTDOWN);

    atomic_store(&r->ended, true);
    actor_exit_send(r->o.runtime, EG_PID_NONE, r->pid, &reason);
}

static void unpark_all(struct replicas *r) {
    struct parked *next;

    for (struct parked *p = r->parked; p != NULL; p = next) {
        next = p->next;
        alloc_put(r->o.alloc, p, sizeof *p + p->size_bytes);
    }
    r->parked = NULL;
    r->parked_bytes = 0;
}

void replicas_close(struct replicas *r) {
    unpark_all(r);
    outbox_fini(&r->outbox);
    scrubs_close(r->scrubs);
    replica_reports_close(r->reports);
    if (r->view != NULL)
        view_unref(r->view);
    alloc_put(r->o.alloc, r, sizeof *r);
}

/* ---- orders to shards --------------------------------------------------------------------------
 */

/* False: it was not sent. */
static bool order(struct replicas *r, struct shard *s, enum feed_tag tag, const void *at,
                  size_t size_bytes) {
    struct message *m = message_copy(r->o.runtime, MESSAGE_REPLY, at, size_bytes);

    if (m == NULL)
        return false;
    m->tag = tag;
    return runtime_send(r->o.runtime, EG_PID_NONE, shard_pid(s), m) == EG_OK;
}

static void order_all(struct replicas *r, enum feed_tag tag, const void *at, size_t size_bytes) {
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t n = 0; n < table_shards(tables[i]); n++)
            if (!order(r, table_shard(tables[i], n), tag, at, size_bytes) && tag == FEED_DOWN)
                feed_need(&r->world, table_shard(tables[i], n), FEED_MISSED);
}

static void miss_all(struct replicas *r) {
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t n = 0; n < table_shards(tables[i]); n++)
            feed_need(&r->world, table_shard(tables[i], n), FEED_MISSED);
}

/* What each shard's role says is what readers and writers look at: no message stands for it.  One
 * that has lost its actor, and what that was told, goes on with its successor. */
static void look_if_stopped(struct replicas *r) {
    bool ask = env_now_ns(r->o.env) - r->stop_asked_ns >= STOP_AGAIN_NS, all = true;
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t n = 0; n < table_shards(tables[i]); n++) {
            struct shard *s = table_shard(tables[i], n);

            if (shard_role(s) == SHARD_STOPPED)
                continue;
            all = false;
            if (ask)
                (void) order(r, s, FEED_STOP, NULL, 0); /* in vain: then again */
        }
    if (ask)
        r->stop_asked_ns = env_now_ns(r->o.env);
    if (!all)
        return;
    atomic_store(&r->stopping, false);
    r->o.stopped(r->o.user, r->proposed);
}

void replica_stop(struct replicas *r, struct view_id proposed) {
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);
    int64_t shards = 1;

    for (uint32_t i = 0; i < count; i++)
        shards += table_shards(tables[i]);
    r->proposed = proposed;
    atomic_store(&r->stopping, true);
    r->between = true;
    scrubs_view(r->scrubs, NULL);
    atomic_store(&r->left, shards);
    r->stop_asked_ns = env_now_ns(r->o.env);
    order_all(r, FEED_STOP, NULL, 0);
    one_stopped(&r->world);
}

/* ---- what there is
 * -------------------------------------------------------------------------------- */

/* What a copy of this start alone says is not above what others have gone on with. */
static uint8_t worth_of(const struct replicas *r, const struct shard *s) {
    uint8_t worth = atomic_load(&s->worth);

    if ((worth & FEED_WORTH) != REPLICA_FULL || r->seasoned)
        return worth & FEED_WORTH;
    return worth & FEED_ANY ? REPLICA_SOME : REPLICA_NONE;
}

static uint8_t said_of(const struct replicas *r, const struct shard *s) {
    uint8_t worth = worth_of(r, s), now = atomic_load(&s->worth);
    uint8_t beside = (uint8_t) ((now & FEED_VOTES ? REPLICA_VOTES : 0) |
                                (now & FEED_SERVED ? REPLICA_SERVED : 0));

    bool unheard =
        worth == REPLICA_SOME && ((now & FEED_UNHEARD) != 0 || (now & FEED_WORTH) == REPLICA_FULL);

    if (worth == REPLICA_FULL && (now & FEED_ANY) == 0)
        worth = REPLICA_FULL_OF_NOTHING;
    return worth | (table_schema(s->table)->majority ? beside : unheard ? REPLICA_UNHEARD : 0);
}

/* A full disc is none: it takes what makes room, and more as soon as there is some.  It matters to
 * RAM tables too: what comes of an origin that cannot be remembered cannot be taken. */
static bool is_ill(const struct replicas *r) {
    return r->o.disc != NULL && disc_yields(r->o.disc, NULL) != EG_OK;
}

eg_err replica_report(struct replicas *r, const struct elector_list *known, struct buffer *out) {
    struct table *const *tables;
    uint32_t state = r->state;
    uint32_t count = catalog_tables(r->o.catalog, &tables);
    enum { ENTRY_BYTES = 16 + SCHEMA_SHARDS_MAX };
    size_t room_bytes = 10 + 2 * ELECTORATE_BYTES_MAX + (size_t) count * ENTRY_BYTES;
    uint8_t *room = buffer_room(out, room_bytes);
    struct value_writer w = value_writer_init(room, room == NULL ? 0 : room_bytes);

    if (room == NULL)
        return EG_MEMORY;
    r->said_ill = is_ill(r);
    r->said_little = !r->seasoned;
    if (r->said_ill)
        state |= REPLICA_DISC_FULL | REPLICA_DISC_LOST;
    if (r->remembers)
        state |= REPLICA_REMEMBERS;
    value_put_array(&w, count + 1 + (state != 0));
    if (state != 0)
        value_put_u64(&w, state);
    replica_report_put_electorate(&w, known, &r->electorate);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t worth[SCHEMA_SHARDS_MAX];
        uint32_t shards = table_shards(tables[i]);

        for (uint32_t n = 0; n < shards; n++)
            worth[n] = said_of(r, table_shard(tables[i], n));
        replica_report_put(&w, table_schema(tables[i])->id, worth, shards);
    }
    EG_ASSERT(!w.overflow);
    out->size_bytes += w.need_bytes;
    return EG_OK;
}

uint64_t replica_group(const struct table *t) {
    (void) t; /* all tables lie alike, so that what belongs together is together */
    return 0;
}

/* ---- views
 * ------------------------------------------------------------------------------------------ */

static bool was_full(const struct replica_plan *p, const struct replicas *r,
                     const struct shard *s) {
    const struct view_member *self = view_find(r->view, r->o.self);
    const struct view_member *master = view_find(r->view, p->master);

    return self != NULL && master != NULL && view_id_equal(self->lineage, master->lineage) &&
           worth_of(r, s) == REPLICA_FULL;
}

static void plan_table(struct replicas *r, struct table *t) {
    const struct schema *schema = table_schema(t);
    struct placement_node node[NODES_MAX];
    struct replica_plan_opts o = {.view = r->view,
                                  .reports = r->reports,
                                  .nodes = node,
                                  .node_count = r->node_count,
                                  .self = r->o.self,
                                  .table = schema->id,
                                  .group = replica_group(t),
                                  .copies = schema->copies,
                                  .on_disc = schema->storage != STORAGE_RAM,
                                  .electorate = schema->majority ? &r->electorate : NULL,
                                  .shards = table_shards(t)};

    memcpy(node, r->node, sizeof node);
    for (uint32_t i = 0; i < r->node_count; i++)
        node[i].eligible |= schema->storage == STORAGE_RAM;
    for (o.shard = 0; o.shard < o.shards; o.shard++) {
        struct shard *s = table_shard(t, o.shard);
        struct feed_order so = {.never_met = !origins_met(r->world.origins),
                                .acks_one = schema->acks_one};

        replica_plan_make(&so.plan, &o);
        so.was_full = so.plan.master != 0 && !so.plan.waits && was_full(&so.plan, r, s);
        r->here += so.plan.here;
        atomic_store(&s->master, so.plan.master);
        if (!order(r, s, FEED_PLAN, &so, sizeof so))
            atomic_store(&r->planning, true); /* no memory, or no actor: at the next tick */
    }
}

/* A shard that is between two views waits for the next order; the others know theirs. */
static void plan_again(struct replicas *r) {
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);

    atomic_store(&r->planning, false);
    r->here = 0;
    for (uint32_t i = 0; i < count && r->view != NULL && !r->between; i++)
        plan_table(r, tables[i]);
}

/* `rest`: of the payload, behind its head. */
static void deliver(struct replicas *r, uint64_t from, const struct replica_head *h,
                    const struct value_iter *rest, struct value payload) {
    const struct feed_said said = {from, *h, (uint32_t) (rest->at - payload.at), rest->left};
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);
    struct message *m;
    struct shard *s;

    for (uint32_t i = 0; i < count; i++) {
        if (schema_records_id(table_schema(tables[i])) != h->table ||
            h->shard >= table_shards(tables[i]))
            continue;
        s = table_shard(tables[i], h->shard);
        m = message_new(r->o.runtime, MESSAGE_REPLY, sizeof said + payload.size_bytes);
        if (m == NULL) {
            feed_need(&r->world, s, FEED_MISSED);
            return;
        }
        m->tag = FEED_HEAR;
        memcpy(m->payload, &said, sizeof said);
        memcpy(m->payload + sizeof said, payload.at, payload.size_bytes);
        if (runtime_send(r->o.runtime, EG_PID_NONE, shard_pid(s), m) != EG_OK)
            feed_need(&r->world, s, FEED_MISSED);
        return;
    }
}

static void hear_parked(struct replicas *r) {
    struct parked *p, *next;

    for (p = r->parked; p != NULL; p = next) {
        struct replica_head h;
        struct value_iter it;

        next = p->next;
        if (view_id_equal(p->view, r->view->id) &&
            replica_wire_open(&h, &it, value_of(p->payload)) == EG_OK && h.kind < REPLICA_ROOTS)
            deliver(r, p->from, &h, &it, (struct value){p->payload, p->size_bytes});
    }
    unpark_all(r);
}

/* ---- whose majority counts --------------------------------------------------------------------
 */

static uint32_t majority_tables(const struct replicas *r, struct replica_majority **out) {
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables), found = 0;
    struct replica_majority *m = alloc_get(r->o.alloc, EG_MAX(count, 1u) * sizeof *m);

    *out = m;
    for (uint32_t i = 0; i < count && m != NULL; i++) {
        const struct schema *schema = table_schema(tables[i]);

        if (schema->majority)
            m[found++] = (struct replica_majority){.table = schema->id,
                                                   .group = replica_group(tables[i]),
                                                   .copies = schema->copies,
                                                   .shards = table_shards(tables[i]),
                                                   .on_disc = schema->storage != STORAGE_RAM};
    }
    return found;
}

static eg_err elect(struct replicas *r, const struct electorate *e) {
    eg_err err =
        e->epoch == r->electorate.epoch || r->o.elect == NULL ? EG_OK : r->o.elect(r->o.user, e);

    if (err == EG_BUSY || err == EG_MEMORY)
        return err;
    if (e->epoch != r->electorate.epoch)
        r->elect_wait_ns = ELECT_AGAIN_NS;
    r->electorate = *e; /* a disc that takes nothing is reported otherwise */
    return EG_OK;
}

/* What holds in the view that has just come. */
static eg_err elect_for_view(struct replicas *r) {
    struct replica_majority *tables;
    uint32_t count = majority_tables(r, &tables), room;
    struct electorate now, next;
    struct elector_list wanted;
    struct table *const *all;
    eg_err err = tables == NULL ? EG_MEMORY : EG_OK;

    room = catalog_tables(r->o.catalog, &all);
    if (err != EG_OK)
        return err;
    replica_reports_electorate(r->reports, &now);
    replica_reports_wanted(r->reports, &wanted);
    next = now;
    if (now.epoch != 0)
        (void) electorate_next(&next, &now, &wanted,
                               replica_reports_look(r->reports, &now, &wanted, tables, count),
                               r->view->id.epoch);
    else if (count != 0 && replica_reports_may_found(r->reports, &wanted, false))
        next = (struct electorate){.epoch = r->view->id.epoch, .lists = 1, .list[0] = wanted};
    alloc_put(r->o.alloc, tables, EG_MAX(room, 1u) * sizeof *tables);
    return elect(r, &next);
}

/* The first majority table was made in this view, by all of its members. */
static void elect_for_table(struct replicas *r, const struct table *t) {
    const struct schema *schema = table_schema(t);
    struct electorate first = {.epoch = r->view->id.epoch, .lists = 1};
    bool fresh = !replica_reports_tell(r->reports, schema->id);

    if (!schema->majority || r->electorate.epoch != 0)
        return;
    replica_reports_wanted(r->reports, &first.list[0]);
    if (replica_reports_may_found(r->reports, &first.list[0], fresh) && elect(r, &first) != EG_OK)
        atomic_store(&r->progressing, true); /* in vain: with another view */
}

const struct electorate *replica_electorate(const struct replicas *r) {
    return &r->electorate;
}

void replica_forget_electorate(struct replicas *r) {
    r->electorate = (struct electorate){0};
}

uint64_t replica_refused(const struct replicas *r) {
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);
    uint64_t refused = 0;

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t n = 0; n < table_shards(tables[i]); n++)
            refused += atomic_load(&table_shard(tables[i], n)->refused);
    return refused;
}

/* Two lists, and all that is here has served by both: the next view may let one go. */
static bool may_settle(const struct replicas *r) {
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);

    if (r->electorate.lists != 2 || env_now_ns(r->o.env) < r->elect_due_ns)
        return false;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t n = 0; table_schema(tables[i])->majority && n < table_shards(tables[i]); n++)
            if (shard_role(table_shard(tables[i], n)) == SHARD_FILLING ||
                shard_role(table_shard(tables[i], n)) == SHARD_STOPPED)
                return false;
    return true;
}

/* Said in the reports for the next view; in this one the others know it as well. */
static void look_if_remembers(struct replicas *r) {
    if (r->remembers || !replica_reports_make_remember(r->reports, r->o.self))
        return;
    r->remembers = true;
    if (r->o.remember != NULL)
        r->o.remember(r->o.user);
}

static void publish_view(struct replicas *r, struct view_id id) {
    atomic_fetch_add(&r->turn, 1);
    atomic_store(&r->epoch, id.epoch);
    atomic_store(&r->hash, id.hash);
    atomic_fetch_add(&r->turn, 1);
}

eg_err replica_install(struct replicas *r, const struct view *v, const struct placement_node *nodes,
                       uint32_t count) {
    struct table *const *tables;
    uint32_t table_count = catalog_tables(r->o.catalog, &tables);
    struct replica_reports *reports;
    eg_err err;

    EG_ASSERT(count <= NODES_MAX);
    err = replica_reports_open(&reports, r->o.alloc, v);
    if (err != EG_OK)
        return err;
    if (count > 1 || v->count > 1)
        err = origins_meet(r->world.origins);
    if (err != EG_OK) {
        replica_reports_close(reports);
        return err;
    }
    replica_reports_close(r->reports);
    r->reports = reports;
    view_ref(v);
    if (r->view != NULL)
        view_unref(r->view);
    r->view = v;
    r->between = false;
    memcpy(r->node, nodes, count * sizeof *nodes);
    r->node_count = count;
    r->here = 0;
    r->elect_due_ns = EG_MAX(r->elect_due_ns, env_now_ns(r->o.env) + ELECT_SETTLE_NS);
    err = elect_for_view(r);
    if (err != EG_OK) {
        r->between = true;
        return err;
    }
    for (uint32_t i = 0; i < table_count; i++)
        plan_table(r, tables[i]);
    look_if_remembers(r);
    r->seasoned |= v->count > 1; /* behind the plans: they go by what was reported */
    publish_view(r, v->id);
    scrubs_view(r->scrubs, v);
    hear_parked(r);
    return EG_OK;
}

void replica_table_changed(struct replicas *r, struct table *t) {
    if (r->view == NULL || r->between || table_dropped(t))
        return;
    elect_for_table(r, t);
    plan_table(r, t);
}

/* ---- what others say
 * ------------------------------------------------------------------------------------ */

static void park(struct replicas *r, uint64_t from, struct view_id view, struct value payload) {
    struct parked *p, **end = &r->parked;
    size_t bytes = sizeof *p + payload.size_bytes;

    if (r->parked_bytes + bytes > PARKED_BYTES_MAX)
        return; /* it is said again */
    p = alloc_get(r->o.alloc, bytes);
    if (p == NULL)
        return;
    *p = (struct parked){.from = from, .view = view, .size_bytes = payload.size_bytes};
    memcpy(p->payload, payload.at, payload.size_bytes);
    r->parked_bytes += bytes;
    while (*end != NULL)
        end = &(*end)->next;
    *end = p;
}

static void receive_one(struct replicas *r, uint64_t from, struct value payload) {
    struct replica_head h;
    struct value_iter it;

    if (replica_wire_open(&h, &it, payload) != EG_OK)
        return;
    if (replica_is_of_round(h.kind)) {
        if (r->view != NULL && !r->between && view_find(r->view, from) != NULL &&
            scrubs_table_of(r->scrubs, from, &h, it))
            deliver(r, from, &h, &it, payload);
    } else if (r->view != NULL && view_id_equal(h.view, r->view->id)) {
        if (view_find(r->view, from) != NULL && h.kind >= REPLICA_ROOTS && !r->between)
            scrubs_hear(r->scrubs, from, &h, &it);
        else if (view_find(r->view, from) != NULL && h.kind < REPLICA_ROOTS)
            deliver(r, from, &h, &it, payload);
    } else if (r->view == NULL || h.view.epoch >= r->view->id.epoch) {
        park(r, from, h.view, payload);
    }
}

/* A packet that cannot be read is lost with all that is in it: all shards are told. */
static void receive_packet(struct replicas *r, uint64_t from, struct value packet) {
    struct buffer messages;
    eg_err err;

    buffer_init(&messages, r->o.alloc, PACKET_BYTES_MAX);
    err = packet_read(r->o.alloc, packet, &messages);
    for (size_t at = 0; err == EG_OK && at < messages.size_bytes;) {
        struct value message = value_of(messages.at + at);

        receive_one(r, from, message);
        at += message.size_bytes;
    }
    buffer_fini(&messages);
    if (err != EG_OK)
        miss_all(r);
}

void replica_receive(struct replicas *r, uint64_t from, struct value payload) {
    if (packet_is(payload))
        receive_packet(r, from, payload);
    else
        receive_one(r, from, payload);
}

/* ---- what is told of it ------------------------------------------------------------------------
 */

/* Of a table that was made since nobody expects a word. */
static bool was_said_full(const struct replicas *r, const struct shard *s) {
    uint8_t worth = atomic_load(&s->worth);

    return (worth & FEED_SAID) == 0 || ((worth & FEED_WORTH) == REPLICA_FULL && !r->said_little);
}

bool replica_watch(struct replicas *r) {
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);
    uint64_t filling = 0, news = 0;

    if (r->between)
        return false;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t n = 0; n < table_shards(tables[i]); n++) {
            const struct shard *s = table_shard(tables[i], n);

            filling += shard_role(s) == SHARD_FILLING;
            news += shard_role_is_whole(shard_role(s)) && !was_said_full(r, s);
        }
    if ((filling != 0) != r->filling) {
        r->filling = filling != 0;
        r->o.event(r->o.user, r->filling ? "filling" : "full", r->filling ? filling : r->here);
    }
    if (may_settle(r)) {
        r->elect_due_ns = env_now_ns(r->o.env) + r->elect_wait_ns;
        r->elect_wait_ns = EG_MIN(2 * r->elect_wait_ns, (uint64_t) ELECT_AGAIN_NS_MAX);
        news++;
    }
    return news != 0 && origins_met(r->world.origins);
}

void replica_say(struct replicas *r, uint32_t state) {
    r->state = state;
}

/* The number of a node in this view; -1: it is not in it, or nothing is served. */
static int member_now(const struct replicas *r, uint64_t id) {
    const struct view_member *m = r->view == NULL || r->between ? NULL : view_find(r->view, id);

    return m == NULL ? -1 : (int) (m - r->view->member);
}

uint32_t replica_state_of(const struct replicas *r, uint64_t id) {
    int m = member_now(r, id);

    return m < 0 ? 0
                 : replica_reports_state(r->reports, (uint32_t) m) & ~(uint32_t) REPLICA_REMEMBERS;
}

uint64_t replica_late(const struct replicas *r) {
    return atomic_load(&r->world.late);
}

uint64_t replica_held_by(const struct replicas *r, uint64_t id) {
    int m = member_now(r, id);

    return m < 0 ? 0 : replica_reports_held(r->reports, (uint32_t) m);
}

bool replica_has_left(const struct replicas *r) {
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);

    if ((replica_state_of(r, r->o.self) & REPLICA_LEAVING) == 0 || r->here != 0)
        return false;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t n = 0; n < table_shards(tables[i]); n++)
            if (shard_role(table_shard(tables[i], n)) != SHARD_AWAY)
                return false; /* it has not heard yet */
    return atomic_load(&r->world.owing) == 0;
}

const struct table *replica_only_with(const struct replicas *r, const struct node_info *who) {
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);

    for (uint32_t i = 0; i < count; i++) {
        const struct schema *schema = table_schema(tables[i]);

        if (schema->storage != STORAGE_RAM && !who->has_disc)
            continue;
        for (uint32_t n = 0; n < table_shards(tables[i]); n++)
            if (r->view == NULL || !replica_reports_has_full(r->reports, schema->id, n, who->id))
                return tables[i];
    }
    return NULL;
}

bool replica_is_placed_so(const struct replicas *r, const struct placement_node *nodes,
                          uint32_t count) {
    bool same = count == r->node_count;

    for (uint32_t i = 0; i < count && same; i++)
        same = nodes[i].id == r->node[i].id && nodes[i].weight == r->node[i].weight &&
               nodes[i].eligible == r->node[i].eligible && nodes[i].standing == r->node[i].standing;
    return same;
}

void replica_node_down(struct replicas *r, uint64_t id) {
    outbox_drop(&r->outbox, id);
    if (origins_met(r->world.origins))
        order_all(r, FEED_DOWN, &id, sizeof id);
}

/* Each is asked until it has looked: it clears what it needs itself. */
static void look_at_needs(struct replicas *r) {
    struct table *const *tables;
    uint32_t count = catalog_tables(r->o.catalog, &tables);

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t n = 0; n < table_shards(tables[i]); n++) {
            struct shard *s = table_shard(tables[i], n);

            if (atomic_load(&s->needs) != 0 && !order(r, s, FEED_NEEDED, NULL, 0))
                atomic_store(&r->world.needed, true);
        }
}

/* A delete that somebody has not heard of is not kept for ever. */
static void bound_graves(struct replicas *r) {
    uint64_t limit_bytes = catalog_graves_limit(r->o.catalog), now_ns = env_now_ns(r->o.env);

    if (limit_bytes == UINT64_MAX || now_ns - r->cut_ns < CUT_AGAIN_NS)
        return;
    order_all(r, FEED_CUT, &limit_bytes, sizeof limit_bytes);
    if (now_ns - r->cut_ns > TOLD_NS)
        env_log(r->o.env, ENV_LOG_INFO, "replica",
                "deletes are forgotten before all copies have them: who is away is asked about all "
                "that it has when it is back");
    r->cut_ns = now_ns;
}

/* Whose clock it is the members' clocks say (cluster_event.c); this is what became of it. */
static void tell_stamps(struct replicas *r) {
    uint64_t stamps = catalog_stamps_ahead(r->o.catalog), now_ns = env_now_ns(r->o.env);

    if (stamps == r->stamps_told || (r->stamps_told != 0 && now_ns - r->stamps_told_ns < TOLD_NS))
        return;
    env_log(
        r->o.env, ENV_LOG_WARN, "replica",
        "%llu changes of other nodes are stamped more than %d ms ahead of this node's clock, which "
        "does not follow them",
        (unsigned long long) (stamps - r->stamps_told), SHARD_STAMP_AHEAD_MS);
    r->stamps_told = stamps;
    r->stamps_told_ns = now_ns;
}

void replica_tick(struct replicas *r) {
    look(r);
    bound_graves(r);
    tell_stamps(r);
    if (!r->between)
        scrubs_step(r->scrubs);
    if (r->view != NULL && !r->between && !r->said_ill && is_ill(r))
        r->o.progress(r->o.user); /* so that others go on without our copies */
    if (atomic_exchange(&r->world.needed, false))
        look_at_needs(r);
}

uint64_t replica_master(struct replicas *r, const struct table *t, uint32_t shard) {
    (void) r;
    return atomic_load(&table_shard((struct table *) t, shard)->master);
}

void replica_scrub(struct replicas *r) {
    scrubs_demand(r->scrubs, true);
    scrubs_step(r->scrubs);
}

struct scrub_counts replica_scrubbed(const struct replicas *r, bool *idle) {
    *idle = scrubs_idle(r->scrubs);
    return scrubs_counts(r->scrubs);
}

struct view_id replica_view(const struct replicas *r) {
    struct view_id id;
    uint64_t turn;

    do {
        turn = atomic_load(&r->turn);
        id = (struct view_id){atomic_load(&r->epoch), atomic_load(&r->hash)};
    } while (turn % 2 == 1 || atomic_load(&r->turn) != turn);
    return id;
}
