/* router.c -- an actor that sends requests where they can be done, and answers back.
 *
 *     WAITING  nobody can do it now, or who was asked refused: again at the next view or tick
 *     ASKED    a shard here, or another node, has it
 *
 *     WAITING --master known--> ASKED --answer--> gone
 *        ^---- refused: it did not happen ---'  '--node lost: a read waits again,
 *                                                  a change is in doubt--> gone
 *
 * It is woken by messages only: requests of sessions (CALL), replies of shards, payloads of
 * other routers, nodes that went down, views that came, and a tick while anything is kept.
 * What it keeps outlives its actor: a successor of one that was killed goes on, and what
 * was asked of it by name of the old one runs into its deadline. */
#include "replication/router.h"

#include "engine/planted.h"
#include "engine/scheduler.h"
#include "engine/supervisor.h"
#include "replication/errand.h"
#include "replication/router_wire.h"
#include "tables/route.h"
#include "tables/shard_copy.h"

#include <stdio.h>
#include <string.h>

enum {
    ROUTER_TICK_MS = 20,         /* what was refused is sent again so soon              */
    ROUTER_ANSWER_MS = 10000,    /* an answer that does not come: nobody knows          */
    ROUTER_VISIT_MS = 60 * 1000, /* a shard that never answers, its actor was replaced  */
    ROUTER_WORD_MS = 200,        /* a copy that does not say what it has: asked again   */
};

enum router_tag {
    ROUTER_REQUEST = 1, /* CALL: struct routed, the packed request, the table's name   */
    ROUTER_MANY,        /* CALL: struct routed_many, the table's name, the records     */
    ROUTER_RECEIVED,    /* a node's id, a payload from it                              */
    ROUTER_TOLD,        /* struct witness_word: our own copy has that change            */
    ROUTER_LOST,        /* a node's id                                                 */
    ROUTER_VIEW,
    ROUTER_TICK,
};

struct routed {
    uint64_t table;   /* its id, in case another takes its name            */
    uint64_t records; /* its records' id, in case they get another layout */
    uint32_t shard;
    uint32_t name_bytes;
};

struct routed_many {
    uint64_t ttl_ms;
    uint32_t name_bytes;
    bool clear; /* every shard, without records */
    bool dirty; /* at this node's copies        */
};

struct router {
    struct table_route route; /* what tables/ calls */
    struct router_opts o;
    _Atomic uint64_t pid; /* of the actor of now, slot << 32 | generation; 0: not yet */
    struct errands errands;
    struct list_node waiting, asked;
    struct buffer out; /* a payload being written */
    bool ticking;
    uint64_t alive_ns; /* when its scheduler was seen to run; 0: nobody says */
    uint64_t late_ns;  /* until then what arrives may be from before it stood still */
    bool inside;       /* something is being done: what comes of it by a call must wait */
    struct {
        uint64_t malformed, strange, refused, lost;
    } counted;
};

static eg_pid pid_of(const struct router *r) {
    uint64_t pid = atomic_load(&r->pid);

    return pid == 0 ? EG_PID_NONE
                    : (eg_pid){runtime_node(r->o.runtime), (uint32_t) (pid >> 32), (uint32_t) pid};
}

/* ---- what sessions send ------------------------------------------------------------- */

static struct router *router_of(struct table_route *route) {
    return EG_CONTAINER_OF(route, struct router, route);
}

static eg_err make_request(struct table_route *route, struct table *t, uint32_t shard,
                           const struct shard_request *q, eg_pid *to, struct message **out) {
    struct router *r = router_of(route);
    const struct schema_name *name = table_name(t);
    const struct schema *schema = table_schema(t);
    struct routed head = {schema->id, schema_records_id(schema), shard, name->size_bytes};
    struct shard_request plain = *q;
    size_t request_bytes = shard_request_size(q);
    struct message *m =
        message_new(r->o.runtime, MESSAGE_CALL, sizeof head + request_bytes + head.name_bytes);

    if (m == NULL)
        return EG_MEMORY;
    plain.dirty &= !schema->majority; /* no copy of these is written alone */
    m->tag = ROUTER_REQUEST;
    memcpy(m->payload, &head, sizeof head);
    shard_request_pack(&plain, m->payload + sizeof head);
    memcpy(m->payload + sizeof head + request_bytes, name->text, head.name_bytes);
    *to = pid_of(r);
    *out = m;
    return EG_OK;
}

static bool is_alone(struct table *t) {
    for (uint32_t i = 0; i < table_shards(t); i++)
        if (table_role(t, i) != SHARD_ALONE)
            return false;
    return true;
}

static eg_err make_many(struct router *r, const struct catalog_request *q, eg_pid *to,
                        struct message **out) {
    struct table *t = catalog_find(r->o.catalog, (const char *) q->name.at, q->name.size_bytes);
    struct routed_many head = {q->ttl_ms, q->name.size_bytes, q->op == CATALOG_CLEAR,
                               q->dirty && t != NULL && table_takes_dirty(t)};
    size_t value_bytes = head.clear ? 0 : q->value.size_bytes;
    struct message *m;

    if (t == NULL || is_alone(t))
        return EG_AGAIN; /* the catalog says what is wrong, or does it */
    m = message_new(r->o.runtime, MESSAGE_CALL, sizeof head + head.name_bytes + value_bytes);
    if (m == NULL)
        return EG_MEMORY;
    m->tag = ROUTER_MANY;
    memcpy(m->payload, &head, sizeof head);
    memcpy(m->payload + sizeof head, q->name.at, head.name_bytes);
    if (value_bytes != 0)
        memcpy(m->payload + sizeof head + head.name_bytes, q->value.at, value_bytes);
    *to = pid_of(r);
    *out = m;
    return EG_OK;
}

static eg_err make_catalog(struct table_route *route, const struct catalog_request *q, eg_pid *to,
                           struct message **out) {
    struct router *r = router_of(route);

    switch (q->op) {
    case CATALOG_WRITE_MANY:
    case CATALOG_CLEAR:
        return make_many(r, q, to, out);
    case CATALOG_SYNC: /* each node's own affairs */
    case CATALOG_MOMENT:
    case CATALOG_STOP:
    case CATALOG_ADOPT:
    case CATALOG_ARRANGE:
        return EG_AGAIN;
    default:
        return r->o.schema == NULL ? EG_AGAIN : r->o.schema(r->o.user, q, to, out);
    }
}

/* ---- answering --------------------------------------------------------------------- */

static void reply(struct actor *self, eg_pid to, eg_ref ref, eg_err err, const void *bytes,
                  size_t size_bytes) {
    actor_reply_bytes(self, to, ref, err, bytes, size_bytes);
}

static void reply_text(struct actor *self, eg_pid to, eg_ref ref, eg_err err, const char *text) {
    reply(self, to, ref, err, text, strlen(text));
}

/* One more of the group is over; the last one answers for all. */
static void group_over(struct router *r, struct actor *self, struct errand_group *g, eg_err err,
                       const void *bytes, size_t size_bytes) {
    uint8_t result[9] = {0xc3};
    struct value_writer w = value_writer_init(result, sizeof result);

    if (err == EG_OK)
        g->done++;
    else if (g->err == EG_OK) {
        g->err = err;
        snprintf(g->text, sizeof g->text, "%.*s", (int) EG_MIN(size_bytes, sizeof g->text - 1),
                 (const char *) bytes);
    }
    if (--g->left > 0)
        return;
    if (g->count != 0)
        value_put_u64(&w, g->count);
    else
        value_put_bool(&w, true);
    if (g->err == EG_OK)
        reply(self, g->from, g->ref, EG_OK, result, w.need_bytes);
    else if (g->done != 0)
        reply_text(self, g->from, g->ref, EG_IN_DOUBT,
                   "some shards have taken it and others have not");
    else
        reply_text(self, g->from, g->ref, g->err, g->text);
    alloc_put(r->o.alloc, g, sizeof *g);
}

static void give_request_back(struct router *r, struct errand *d) {
    if (d->request != NULL)
        message_free(r->o.runtime, d->request);
    d->request = NULL;
}

static void send_answer(struct router *r, const struct errand *d, eg_err err, const void *bytes,
                        size_t size_bytes) {
    eg_err put;

    buffer_clear(&r->out);
    put = router_put_answer(&r->out, d->their_number, err, bytes, size_bytes);
    if (put != EG_OK) { /* too large to travel: the change has been made all the same */
        static const char text[] = "the answer does not fit a frame";
        buffer_clear(&r->out);
        put = router_put_answer(&r->out, d->their_number,
                                put == EG_TOO_LARGE ? EG_TOO_LARGE : EG_TIMEOUT, text,
                                sizeof text - 1);
    }
    if (put == EG_OK)
        put =
            r->o.send(r->o.user, d->peer, (struct value){r->out.at, (uint32_t) r->out.size_bytes});
    if (put != EG_OK)
        r->counted.lost++; /* whoever waits for it sees the link go, or its own deadline */
}

/* To who has been left out of the view meanwhile. */
static void send_answer_out(struct router *r, const struct errand *d) {
    static const char why[] = "made here, in a view that who asked is not in";
    static const char again[] = "the view changed before it was read";

    if (d->read)
        send_answer(r, d, EG_NO_REPLICA, again, sizeof again - 1);
    else
        send_answer(r, d, EG_IN_DOUBT, why, sizeof why - 1);
}

/* It is over: tell whoever asked. */
static void answer(struct router *r, struct actor *self, struct errand *d, eg_err err,
                   const void *bytes, size_t size_bytes) {
    if (d->visit && err == EG_AGAIN)
        ; /* the copies answer it */
    else if (d->visit && err == EG_OK && !d->part && !r->o.is_with_us(r->o.user, d->peer))
        send_answer_out(r, d);
    else if (d->visit)
        send_answer(r, d, err, bytes, size_bytes);
    else if (d->group != NULL)
        group_over(r, self, d->group, err, bytes, size_bytes);
    else
        reply(self, d->from, d->ref, err, bytes, size_bytes);
    give_request_back(r, d);
    errand_free(&r->errands, d);
}

static void answer_text(struct router *r, struct actor *self, struct errand *d, eg_err err,
                        const char *text) {
    answer(r, self, d, err, text, strlen(text));
}

/* ---- asking -------------------------------------------------------------------------- */

/* As its turn began: to the millisecond is close enough, and a clock costs more than a list. */
static uint64_t now_ns(const struct router *r) {
    return scheduler_now_ns(runtime_scheduler(r->o.runtime, r->o.scheduler));
}

/* Refused, or its node was lost: it may wait a while once more, but not for ever. */
static void renew(struct router *r, struct errand *d) {
    d->deadline_ns = EG_MIN(now_ns(r) + (uint64_t) ROUTER_WAIT_MS * 1000000, d->last_ns);
}

static void wait(struct router *r, struct errand *d) {
    list_remove(&d->node);
    list_push_back(&r->waiting, &d->node);
    d->peer = 0;
}

static void asked(struct router *r, struct errand *d, uint64_t peer) {
    list_remove(&d->node);
    list_push_back(&r->asked, &d->node);
    d->peer = peer;
    d->deadline_ns = now_ns(r) + (uint64_t) ROUTER_ANSWER_MS * 1000000;
}

/* A request of ours as it lies in its message. */
struct errand_view {
    struct routed head;
    struct shard_request q;
    const char *name;
};

static struct errand_view look_at(const struct errand *d) {
    struct errand_view v;

    memcpy(&v.head, d->request->payload, sizeof v.head);
    v.q = shard_request_unpack(d->request->payload + sizeof v.head);
    v.name = (const char *) d->request->payload + sizeof v.head + shard_request_size(&v.q);
    return v;
}

static struct table *find_table(const struct router *r, const char *name, uint32_t name_bytes,
                                uint64_t id) {
    struct table *t = catalog_find(r->o.catalog, name, name_bytes);

    return t != NULL && table_schema(t)->id == id ? t : NULL;
}

/* Does it mean the same whatever fields records have? */
static bool is_of_any_layout(enum shard_op op) {
    return op == SHARD_READ || op == SHARD_DELETE || op == SHARD_TAKE || op == SHARD_UPDATE ||
           op == SHARD_CLEAR || op == SHARD_PURGE || op == SHARD_SYNC ||
           op == SHARD_READ_SIBLINGS || op == SHARD_DELETE_SIBLINGS || op == SHARD_TX_READ ||
           op == SHARD_TX_COMMIT || op == SHARD_TX_ABORT || op == SHARD_TX_UNLOCK ||
           op == SHARD_TX_STATUS;
}

/* The table that the request is about, which may have changed since it was made.  EG_NO_TABLE;
 * EG_BUSY: what it says means something else by now. */
static eg_err follow_table(const struct router *r, struct errand_view *v, struct table **out) {
    struct table *t = find_table(r, v->name, v->head.name_bytes, v->head.table);
    uint64_t records = t == NULL ? 0 : schema_records_id(table_schema(t));

    if (t == NULL || v->head.shard >= table_shards(t))
        return EG_NO_TABLE;
    if (records != v->head.records && !is_of_any_layout(v->q.op))
        return EG_BUSY;
    v->head.records = records;
    *out = t;
    return EG_OK;
}

/* The shard that does it for this errand answers with the errand's number. */
static eg_err ask_shard(struct actor *self, const struct errand *d, struct table *t, uint32_t shard,
                        const struct shard_request *q) {
    struct message *m;
    eg_pid to;
    eg_err err = table_message_here(t, shard, q, &to, &m);

    if (err != EG_OK)
        return err;
    m->ref = d->number;
    return actor_send(self, to, m);
}

static eg_err ask_node(struct router *r, struct errand *d, const struct errand_view *v, uint64_t to,
                       struct view_id view) {
    struct router_request q = {.id = d->number,
                               .view = view,
                               .table_name = {(const uint8_t *) v->name, v->head.name_bytes},
                               .records_id = v->head.records,
                               .shard = v->head.shard,
                               .what = v->q};
    eg_err err;

    witness_begin(&d->witness, view);
    buffer_clear(&r->out);
    err = router_put_request(&r->out, &q);
    if (err != EG_OK)
        return err;
    return r->o.send(r->o.user, to, (struct value){r->out.at, (uint32_t) r->out.size_bytes});
}

/* Is this node's copy good for it?  What is not on all copies yet, or what a transaction has hold
 * of, is read at the master. */
static bool may_here(struct table *t, uint32_t shard, enum shard_op op) {
    enum shard_role role = table_role(t, shard);

    return role <= SHARD_MASTER ||
           (role == SHARD_FULL && shard_op_reads_copies(op) &&
            shard_is_stable(table_shard(t, shard)) && !shard_is_held(table_shard(t, shard)));
}

/* At this node's copy, as soon as that is whole; nowhere else. */
static void dispatch_dirty(struct router *r, struct actor *self, struct errand *d, struct table *t,
                           const struct errand_view *v) {
    enum shard_role role = table_role(t, v->head.shard);

    if (role == SHARD_AWAY)
        answer_text(r, self, d, EG_NO_REPLICA, "this node has no copy of the key's shard");
    else if (role <= SHARD_FULL && ask_shard(self, d, t, v->head.shard, &v->q) == EG_OK)
        asked(r, d, 0);
    else
        wait(r, d);
}

static const char no_majority[] = "fewer than a majority of the shard's copies can be reached";

/* Of a majority table: how long may it take?  False: this view has no majority, and it is told. */
static bool may_try(struct router *r, struct actor *self, struct errand *d, struct table *t,
                    uint32_t shard) {
    if (!table_schema(t)->majority)
        return true;
    if (d->majority_ns == 0)
        d->majority_ns = now_ns(r) + (uint64_t) ROUTER_MAJORITY_MS * 1000000;
    if (!atomic_load(&table_shard(t, shard)->refused))
        return true;
    answer_text(r, self, d, EG_NO_MAJORITY, no_majority);
    return false;
}

/* Ask who can do it now; wait where nobody can. */
static void dispatch(struct router *r, struct actor *self, struct errand *d) {
    struct errand_view v = look_at(d);
    struct view_id view = r->o.view(r->o.user); /* before the master: a later one refuses */
    struct table *t = NULL;
    uint64_t master;
    eg_err err = follow_table(r, &v, &t);

    if (err != EG_OK) {
        answer_text(r, self, d, err,
                    err == EG_BUSY ? "the table's attributes have just been changed: ask again"
                                   : "the table has just been dropped");
        return;
    }
    if (v.q.op == SHARD_TX_COMMIT && !view_id_equal(view, d->view)) { /* who sent it looks first */
        answer_text(r, self, d, EG_AGAIN, "the view has changed");
        return;
    }
    if (!may_try(r, self, d, t, v.head.shard))
        return;
    if (v.q.dirty) {
        dispatch_dirty(r, self, d, t, &v);
        return;
    }
    master =
        may_here(t, v.head.shard, v.q.op) ? r->o.self : r->o.master(r->o.user, t, v.head.shard);
    if (master == 0) {
        wait(r, d);
        return;
    }
    err = master == r->o.self ? ask_shard(self, d, t, v.head.shard, &v.q)
                              : ask_node(r, d, &v, master, view);
    if (err == EG_OK)
        asked(r, d, master == r->o.self ? 0 : master);
    else if (err == EG_TOO_LARGE)
        answer_text(r, self, d, err, "the request does not fit a frame between nodes");
    else
        wait(r, d); /* no link, no room, no memory: in a moment */
}

/* It may be asked twice. */
static bool is_read(enum shard_op op) {
    return shard_op_reads(op);
}

static const char too_much[] = "too much is under way to other nodes";

static void begin(struct router *r, struct actor *self, struct message *m,
                  struct errand_group *group) {
    struct errand *d;
    eg_err err = errand_new(&r->errands, &d);

    if (err != EG_OK) {
        if (group != NULL)
            group_over(r, self, group, err, too_much, sizeof too_much - 1);
        else
            reply_text(self, m->from, m->ref, err, too_much);
        message_free(r->o.runtime, m);
        return;
    }
    d->from = m->from;
    d->ref = m->ref;
    d->request = m;
    d->group = group;
    d->read = is_read(look_at(d).q.op);
    d->view = r->o.view(r->o.user);
    d->last_ns = now_ns(r) + (uint64_t) ROUTER_TRY_MS * 1000000;
    renew(r, d);
    dispatch(r, self, d);
}

/* ---- many records, all shards ----------------------------------------------------------- */

static struct message *part_message(struct router *r, struct table *t, uint32_t shard,
                                    const struct shard_request *q) {
    struct message *m;
    eg_pid to;

    return make_request(&r->route, t, shard, q, &to, &m) == EG_OK ? m : NULL;
}

/* The records of one shard as an array of their own; size 0: no memory. */
static struct value part_of(struct router *r, struct value records, const uint16_t *shards,
                            uint32_t shard) {
    struct value_iter it = value_iter_of(records);
    uint32_t count = 0;
    struct value_writer w;
    struct value v;
    uint8_t *room;

    for (uint32_t i = 0; i < value_count(records); i++)
        count += shards[i] == shard;
    buffer_clear(&r->out);
    room = buffer_room(&r->out, (size_t) records.size_bytes + 5);
    if (room == NULL)
        return (struct value){NULL, 0};
    w = value_writer_init(room, (size_t) records.size_bytes + 5);
    value_put_array(&w, count);
    for (uint32_t i = 0; value_iter_next(&it, &v); i++)
        if (shards[i] == shard)
            value_put_raw(&w, v);
    EG_ASSERT(!w.overflow);
    return (struct value){room, (uint32_t) w.need_bytes};
}

struct many {
    struct routed_many head;
    struct table *table;
    struct value records;
    const uint16_t *shards; /* of each record; NULL: all shards are meant */
};

static bool concerns(const struct many *m, uint32_t shard) {
    if (m->shards == NULL)
        return true;
    for (uint32_t i = 0; i < value_count(m->records); i++)
        if (m->shards[i] == shard)
            return true;
    return false;
}

/* Make all messages first: so far nothing has happened. */
static eg_err split(struct router *r, const struct many *many, struct message **parts,
                    uint32_t *count) {
    struct shard_request q = {.op = many->head.clear ? SHARD_CLEAR : SHARD_WRITE_MANY,
                              .attribute = SHARD_NO_ATTRIBUTE,
                              .dirty = many->head.dirty,
                              .ttl_ms = many->head.ttl_ms};

    for (uint32_t i = 0; i < table_shards(many->table); i++) {
        if (!concerns(many, i))
            continue;
        if (!many->head.clear) {
            q.value = part_of(r, many->records, many->shards, i);
            if (q.value.size_bytes == 0)
                return EG_MEMORY;
        }
        parts[*count] = part_message(r, many->table, i, &q);
        if (parts[*count] == NULL)
            return EG_MEMORY;
        (*count)++;
    }
    return EG_OK;
}

/* All of them, or none: there is no more room once some are sent. */
static eg_err send_group(struct router *r, struct actor *self, const struct errand_group *as,
                         struct message *const *parts) {
    struct errand_group *g;

    if (!errands_have_room(&r->errands, as->left))
        return EG_BUSY;
    g = alloc_get(r->o.alloc, sizeof *g);
    if (g == NULL)
        return EG_MEMORY;
    *g = *as;
    for (uint32_t i = 0; i < as->left; i++)
        begin(r, self, parts[i], g);
    return EG_OK;
}

static void send_parts(struct router *r, struct actor *self, const struct message *call,
                       const struct many *many) {
    static const uint8_t nothing = 0; /* of an empty array as many were written */
    struct message *parts[SCHEMA_SHARDS_MAX];
    struct errand_group g = {.from = call->from,
                             .ref = call->ref,
                             .count = many->head.clear ? 0 : value_count(many->records)};
    eg_err err = split(r, many, parts, &g.left);

    if (err == EG_OK && g.left != 0)
        err = send_group(r, self, &g, parts);
    if (err == EG_OK && g.left != 0)
        return;
    for (uint32_t i = 0; i < g.left; i++)
        message_free(r->o.runtime, parts[i]);
    if (err == EG_OK)
        reply(self, call->from, call->ref, EG_OK, &nothing, 1);
    else
        reply_text(self, call->from, call->ref, err, err == EG_BUSY ? too_much : "");
}

static void run_many(struct router *r, struct actor *self, const struct message *m) {
    struct many many;
    struct err_note note = {""};
    const char *name = (const char *) m->payload + sizeof many.head;
    uint16_t *shards = NULL;
    size_t shards_bytes = 0;
    eg_err err = EG_OK;

    memcpy(&many.head, m->payload, sizeof many.head);
    many.table = catalog_find(r->o.catalog, name, many.head.name_bytes);
    many.records =
        (struct value){(const uint8_t *) name + many.head.name_bytes,
                       (uint32_t) (m->size_bytes - sizeof many.head - many.head.name_bytes)};
    if (many.table == NULL)
        err = EG_NO_TABLE;
    if (err == EG_OK && !many.head.clear) {
        shards_bytes = EG_MAX(value_count(many.records), 1u) * sizeof *shards;
        shards = alloc_get(r->o.alloc, shards_bytes);
        err =
            shards == NULL ? EG_MEMORY : table_check_many(many.table, many.records, shards, &note);
    }
    many.shards = shards;
    if (err == EG_OK)
        send_parts(r, self, m, &many);
    else
        reply_text(self, m->from, m->ref, err, note.text);
    if (shards != NULL)
        alloc_put(r->o.alloc, shards, shards_bytes);
}

/* ---- what other nodes send ---------------------------------------------------------------- */

static void refuse_visit(struct router *r, uint64_t from, const struct router_request *q,
                         eg_err err, const char *text) {
    struct errand d = {.visit = true, .peer = from, .their_number = q->id};

    r->counted.refused++;
    send_answer(r, &d, err, text, strlen(text));
}

/* Have we stood still, or do we read still what came meanwhile?  By the clock: this turn may have
 * begun before we stood still. */
static bool is_late(const struct router *r) {
    uint64_t now = env_now_ns(runtime_env(r->o.runtime));

    return r->alive_ns != 0 &&
           (now < r->late_ns || now > r->alive_ns + (uint64_t) ROUTER_STILL_MS * 1000000);
}

static void receive_request(struct router *r, struct actor *self, uint64_t from,
                            const struct router_request *q) {
    struct err_note note = {""};
    struct shard_request what = q->what;
    uint32_t shard = q->shard;
    struct table *t =
        catalog_find(r->o.catalog, (const char *) q->table_name.at, q->table_name.size_bytes);
    struct errand *d;
    eg_err err;

    if (!view_id_shared(q->view, r->o.view(r->o.user))) {
        refuse_visit(r, from, q, EG_NO_REPLICA, "sent in another view");
        return;
    }
    if (is_late(r)) {
        refuse_visit(r, from, q, EG_NO_REPLICA, "this node has stood still meanwhile");
        return;
    }
    if (t != NULL && schema_records_id(table_schema(t)) != q->records_id) {
        refuse_visit(r, from, q, EG_NO_REPLICA, "one of us is about to change the table, too");
        return;
    }
    err = t == NULL ? EG_NO_TABLE : table_check_request(t, &q->what, &shard, &note);
    if (err == EG_OK)
        err = errand_new(&r->errands, &d);
    if (err != EG_OK) {
        refuse_visit(r, from, q, err, note.text);
        return;
    }
    d->visit = true;
    d->read = is_read(q->what.op);
    d->part = shard_op_transacts(q->what.op);
    d->their_number = q->id;
    asked(r, d, from);
    d->deadline_ns = now_ns(r) + (uint64_t) ROUTER_VISIT_MS * 1000000;
    what.for_node = from;
    what.for_number = q->id;
    err = ask_shard(self, d, t, shard, &what);
    if (err != EG_OK)
        answer_text(r, self, d, err == EG_NOPROC ? EG_NO_REPLICA : err, "");
}

/* Refused: it did not happen, so it may be asked again.  Who is busy says so to who asks for one
 * change; of several that are one to who asks, others may have happened. */
static bool is_refusal(const struct errand *d, eg_err err) {
    return err == EG_NO_REPLICA || err == EG_AGAIN || (err == EG_BUSY && d->group != NULL);
}

/* What a shard here or another node says of an errand. */
static void hear(struct router *r, struct actor *self, struct errand *d, eg_err err,
                 const void *bytes, size_t size_bytes) {
    if (!d->visit && is_refusal(d, err)) {
        renew(r, d);
        d->busy = err == EG_BUSY;
        wait(r, d);
        return;
    }
    answer(r, self, d, err, bytes, size_bytes);
}

static void receive_answer(struct router *r, struct actor *self, uint64_t from,
                           const struct router_answer *a) {
    struct errand *d = errand_find(&r->errands, a->id);

    if (d == NULL || d->visit || d->peer != from) {
        r->counted.strange++; /* too late, or made up, or the copies have said so before */
        return;
    }
    hear(r, self, d, a->outcome, a->result.at, a->result.size_bytes);
}

/* All full copies have it, by their own word. */
static void answer_if_complete(struct router *r, struct actor *self, struct errand *d) {
    static const uint8_t yes = 0xc3;

    if (witness_is_complete(&d->witness) || (PLANTED(ANSWERED_BY_ONE_COPY) && d->witness.told))
        answer(r, self, d, EG_OK, &yes, 1);
}

static bool is_asked_of_others(const struct errand *d) {
    return d != NULL && !d->visit && d->peer != 0;
}

static void receive_have(struct router *r, struct actor *self, uint64_t from,
                         const struct router_have *h) {
    struct errand *d = errand_find(&r->errands, h->id);

    if (!is_asked_of_others(d))
        return; /* who was asked has answered */
    witness_say(&d->witness, from, h->view);
    answer_if_complete(r, self, d);
}

static void told(struct router *r, struct actor *self, const struct witness_word *word) {
    struct errand *d = errand_find(&r->errands, word->number);

    if (!is_asked_of_others(d))
        return;
    witness_tell(&d->witness, word, r->o.self);
    answer_if_complete(r, self, d);
}

static void receive_payload(struct router *r, struct actor *self, uint64_t from,
                            struct value payload) {
    struct router_payload p;

    if (router_get(payload, &p) != EG_OK)
        r->counted.malformed++;
    else if (p.word == ROUTER_IS_REQUEST)
        receive_request(r, self, from, &p.request);
    else if (p.word == ROUTER_IS_ANSWER)
        receive_answer(r, self, from, &p.answer);
    else
        receive_have(r, self, from, &p.have);
}

static void node_lost(struct router *r, struct actor *self, uint64_t node) {
    for (struct list_node *n = r->asked.next, *next; n != &r->asked; n = next) {
        struct errand *d = EG_CONTAINER_OF(n, struct errand, node);

        next = n->next;
        if (d->visit || d->peer != node)
            continue;
        if (d->read) {
            errand_renumber(&r->errands, d); /* it may wake, and answer out of the old view */
            renew(r, d);
            wait(r, d);
        } else {
            answer_text(r, self, d, PLANTED(DOUBT_TAKEN_FOR_REFUSAL) ? EG_NO_REPLICA : EG_IN_DOUBT,
                        "the node that was asked was lost meanwhile");
        }
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static void retry_waiting(struct router *r, struct actor *self) {
    struct list_node taken;
    uint64_t now = now_ns(r);

    list_init(&taken);
    while (!list_is_empty(&r->waiting)) {
        struct list_node *n = r->waiting.next;
        list_remove(n);
        list_push_back(&taken, n);
    }
    while (!list_is_empty(&taken)) {
        struct errand *d = EG_CONTAINER_OF(taken.next, struct errand, node);
        list_remove(&d->node);
        if (d->majority_ns != 0 && d->majority_ns <= now)
            answer_text(r, self, d, EG_NO_MAJORITY, no_majority);
        else if (d->deadline_ns <= now && d->busy)
            answer_text(r, self, d, EG_BUSY, "a shard of the table was busy all the time");
        else if (d->deadline_ns <= now)
            answer_text(r, self, d, EG_NO_REPLICA, "no full copy of the shard can be reached");
        else
            dispatch(r, self, d);
    }
}

/* What may be said twice of a part of a transaction, and has no stamp of its own that could be
 * older than what is on all. */
static bool is_repeatable(const struct errand *d) {
    enum shard_op op = look_at(d).q.op;

    return op == SHARD_TX_PREPARE || op == SHARD_TX_COMMIT;
}

/* What our own copy has, of a change that another node has made for us: EG_OK, it is on all, for
 * it is older than what is; EG_IN_DOUBT, it is nobody's to say; EG_AGAIN, not yet. */
static eg_err outcome_here(const struct router *r, const struct errand *d) {
    struct errand_view v = look_at(d);
    struct table *t;

    if (is_repeatable(d) || follow_table(r, &v, &t) != EG_OK)
        return EG_AGAIN;
    switch (table_role(t, v.head.shard)) {
    case SHARD_ALONE:
        return EG_OK;
    case SHARD_MASTER:
    case SHARD_FULL:
        return atomic_load(&table_shard(t, v.head.shard)->stable) >= d->witness.word.hlc ? EG_OK
                                                                                         : EG_AGAIN;
    case SHARD_AWAY:
        return EG_IN_DOUBT;
    default:
        return EG_AGAIN;
    }
}

/* Of what may be said twice, and was said a while ago, the same once more, in the same view: by now
 * its master answers it. */
static void ask_again(struct router *r, struct errand *d) {
    const uint64_t answer_ns = (uint64_t) ROUTER_ANSWER_MS * 1000000;
    const uint64_t word_ns = (uint64_t) ROUTER_WORD_MS * 1000000, now = now_ns(r);
    const struct witness heard = d->witness;
    struct errand_view v = look_at(d);
    struct view_id view = r->o.view(r->o.user);
    struct table *t;

    if (!is_repeatable(d) || now + answer_ns < d->deadline_ns + word_ns || now >= d->last_ns ||
        !view_id_equal(view, d->witness.view) || follow_table(r, &v, &t) != EG_OK)
        return;
    if (ask_node(r, d, &v, d->peer, view) == EG_OK)
        asked(r, d, d->peer);
    else
        d->witness = heard; /* and once more at the next tick */
}

/* Where the word of another copy does not come, for it fell behind or its link broke. */
static void settle_told(struct router *r, struct actor *self) {
    static const uint8_t yes = 0xc3;

    for (struct list_node *n = r->asked.next, *next; n != &r->asked; n = next) {
        struct errand *d = EG_CONTAINER_OF(n, struct errand, node);
        eg_err outcome;

        next = n->next;
        if (!is_asked_of_others(d) || !d->witness.told)
            continue;
        outcome = outcome_here(r, d);
        if (outcome == EG_OK)
            answer(r, self, d, EG_OK, &yes, 1);
        else if (outcome == EG_IN_DOUBT)
            answer_text(r, self, d, EG_IN_DOUBT,
                        "made, and this node's copy went elsewhere before all had it");
        else
            ask_again(r, d);
    }
}

static void expire_asked(struct router *r, struct actor *self) {
    uint64_t now = now_ns(r);

    for (struct list_node *n = r->asked.next, *next; n != &r->asked; n = next) {
        struct errand *d = EG_CONTAINER_OF(n, struct errand, node);
        next = n->next;
        if (d->majority_ns != 0 && d->majority_ns <= now && !d->visit)
            answer_text(r, self, d, d->read ? EG_NO_MAJORITY : EG_IN_DOUBT,
                        d->read ? no_majority : "no majority has answered in time");
        else if (d->deadline_ns <= now)
            answer_text(r, self, d, EG_TIMEOUT, "no answer in time");
    }
}

static void start_tick(struct router *r, struct actor *self) {
    struct message *m;
    eg_ref timer;

    if (r->ticking || (list_is_empty(&r->waiting) && list_is_empty(&r->asked)))
        return;
    m = message_new(r->o.runtime, MESSAGE_INFO, 0);
    if (m == NULL)
        return; /* the next message asks again */
    m->tag = ROUTER_TICK;
    r->ticking = actor_start_timer(self, ROUTER_TICK_MS, m, &timer) == EG_OK;
}

/* ---- the actor ---------------------------------------------------------------------------------
 */

/* A shard whose actor was being replaced has not looked at it. */
static eg_err outcome_of(const struct message *m) {
    return (eg_err) m->tag == EG_NOPROC ? EG_NO_REPLICA : (eg_err) m->tag;
}

static void receive(struct actor *self, void *state, struct message *m) {
    struct router *r = *(struct router **) state;
    struct witness_word word;
    struct errand *d;
    uint64_t node;

    r->inside = true;
    if (m->kind == MESSAGE_CALL && m->tag == ROUTER_REQUEST) {
        actor_keep(self, m);
        begin(r, self, m, NULL);
    } else if (m->kind == MESSAGE_CALL && m->tag == ROUTER_MANY) {
        run_many(r, self, m);
    } else if (m->kind == MESSAGE_REPLY) {
        d = errand_find(&r->errands, m->ref);
        if (d != NULL) /* else it ran into its deadline */
            hear(r, self, d, outcome_of(m), m->payload, m->size_bytes);
    } else if (m->tag == ROUTER_RECEIVED) {
        memcpy(&node, m->payload, sizeof node);
        receive_payload(
            r, self, node,
            (struct value){m->payload + sizeof node, (uint32_t) (m->size_bytes - sizeof node)});
    } else if (m->tag == ROUTER_TOLD) {
        memcpy(&word, m->payload, sizeof word);
        told(r, self, &word);
    } else if (m->tag == ROUTER_LOST) {
        memcpy(&node, m->payload, sizeof node);
        node_lost(r, self, node);
    } else {
        r->ticking &= m->tag != ROUTER_TICK;
        retry_waiting(r, self);
        settle_told(r, self);
        expire_asked(r, self);
    }
    start_tick(r, self);
    r->inside = false;
}

static eg_err init(struct actor *self, void *state, const void *arg) {
    struct router *r = (struct router *) arg;
    eg_pid pid = actor_pid(self);

    *(struct router **) state = r;
    atomic_store(&r->pid, (uint64_t) pid.slot << 32 | pid.generation);
    r->ticking = false; /* a predecessor's timer went with it */
    start_tick(r, self);
    return EG_OK;
}

/* What others tell the actor: from the mesh's scheduler, outside any section. */
static void tell(struct router *r, enum router_tag tag, const void *first, size_t first_bytes,
                 struct value second) {
    struct message *m = message_new(r->o.runtime, MESSAGE_REPLY, first_bytes + second.size_bytes);

    if (m == NULL)
        return; /* as if the link had lost it: deadlines see to that */
    m->kind = MESSAGE_INFO;
    m->tag = tag;
    if (first_bytes != 0)
        memcpy(m->payload, first, first_bytes);
    if (second.size_bytes != 0)
        memcpy(m->payload + first_bytes, second.at, second.size_bytes);
    if (runtime_send(r->o.runtime, EG_PID_NONE, pid_of(r), m) != EG_OK)
        r->counted.lost++;
}

/* The actor, where what it is told may be done by the caller at once: on its scheduler, while it
 * does nothing itself.  NULL: tell it. */
static struct actor *enter(struct router *r) {
    struct scheduler *s = runtime_scheduler(r->o.runtime, r->o.scheduler);
    struct actor *self;

    if (!scheduler_is_current(s) || r->inside) /* whose else `inside` is */
        return NULL;
    self = scheduler_find(s, pid_of(r));
    r->inside = self != NULL;
    return self;
}

static void leave(struct router *r, struct actor *self) {
    start_tick(r, self);
    r->inside = false;
}

void router_receive(struct router *r, uint64_t from, struct value payload) {
    struct actor *self = enter(r);

    if (self == NULL) {
        tell(r, ROUTER_RECEIVED, &from, sizeof from, payload);
        return;
    }
    receive_payload(r, self, from, payload);
    leave(r, self);
}

void router_node_down(struct router *r, uint64_t id) {
    tell(r, ROUTER_LOST, &id, sizeof id, (struct value){NULL, 0});
}

void router_alive(struct router *r) {
    uint64_t now = now_ns(r);

    if (r->alive_ns != 0 && now > r->alive_ns + (uint64_t) ROUTER_STILL_MS * 1000000)
        r->late_ns = now + (uint64_t) ROUTER_LATE_MS * 1000000;
    r->alive_ns = now;
}

void router_view_changed(struct router *r) {
    tell(r, ROUTER_VIEW, NULL, 0, (struct value){NULL, 0});
}

/* ---- what shards say of changes that others made for us, or we for others ------------------- */

static void say_have(void *user, const struct witness_word *word, struct view_id view) {
    struct router *r = user;
    uint8_t room[ROUTER_HAVE_BYTES];
    const struct router_have h = {word->number, view};

    /* Not through: who waits for it hears it of the master. */
    (void) r->o.send(r->o.user, word->node, router_put_have(room, &h));
}

static void say_told(void *user, const struct witness_word *word) {
    struct router *r = user;
    struct actor *self = enter(r);

    if (self != NULL) {
        told(r, self, word);
        leave(r, self);
        return;
    }
    tell(user, ROUTER_TOLD, word, sizeof *word, (struct value){NULL, 0});
}

static void say_outcome(void *user, const struct witness_word *word, eg_err outcome,
                        const char *text) {
    static const char yes[] = "\xc3";
    struct router *r = user;
    struct buffer out;
    eg_err err;

    buffer_init(&out, r->o.alloc, MESH_FRAME_BYTES_MAX);
    err = router_put_answer(&out, word->number, outcome, outcome == EG_OK ? yes : text,
                            outcome == EG_OK ? 1 : strlen(text));
    if (err == EG_OK) /* else it runs into its deadline */
        (void) r->o.send(r->o.user, word->node, (struct value){out.at, (uint32_t) out.size_bytes});
    buffer_fini(&out);
}

const struct witness_ops *router_witness(void) {
    static const struct witness_ops ops = {say_have, say_told, say_outcome};

    return &ops;
}

/* ---- open, close ------------------------------------------------------------------- */

eg_err router_open(struct router **out, const struct router_opts *o) {
    struct router *r = alloc_zero(o->alloc, sizeof *r);

    if (r == NULL)
        return EG_MEMORY;
    r->o = *o;
    r->route = (struct table_route){make_request, make_catalog};
    errands_init(&r->errands, o->alloc, ROUTER_PENDING_MAX);
    list_init(&r->waiting);
    list_init(&r->asked);
    buffer_init(&r->out, o->alloc, MESH_FRAME_BYTES_MAX);
    *out = r;
    return EG_OK;
}

void router_child(struct router *r, struct child_spec *out) {
    static const struct actor_ops ops = {
        .name = "router", .state_bytes = sizeof(struct router *), .init = init, .receive = receive};

    *out = (struct child_spec){.id = "router",
                               .kind = CHILD_ACTOR,
                               .restart = PERMANENT,
                               .actor = &ops,
                               .arg = r,
                               .scheduler = SPAWN_ON(r->o.scheduler),
                               .mailbox_bound = MAILBOX_BOUND_MAX};
}

struct table_route *router_route(struct router *r) {
    return &r->route;
}

/* Nobody waits any more, so nobody is told. */
static void forget(struct router *r, struct list_node *list) {
    while (!list_is_empty(list)) {
        struct errand *d = EG_CONTAINER_OF(list->next, struct errand, node);
        if (d->group != NULL && --d->group->left == 0)
            alloc_put(r->o.alloc, d->group, sizeof *d->group);
        give_request_back(r, d);
        errand_free(&r->errands, d);
    }
}

void router_close(struct router *r) {
    forget(r, &r->waiting);
    forget(r, &r->asked);
    errands_fini(&r->errands);
    buffer_fini(&r->out);
    alloc_put(r->o.alloc, r, sizeof *r);
}
