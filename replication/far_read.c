/* far_read.c -- an actor that asks other nodes for pages, and serves theirs.
 *
 *     [2, id, epoch, hash, table's name, table's id, request]
 *     [3, id, outcome, answer or text]
 *
 *     ASKED  another node has it       WAITING  it was refused or lost, and is told so in a moment
 *
 * What is kept of a request is who asked.  The request itself is not: what was refused is made
 * anew by who asked, for then other nodes may have the shards. */
#include "replication/far_read.h"

#include "engine/env.h"
#include "engine/scheduler.h"
#include "engine/supervisor.h"
#include "replication/errand.h"
#include "tables/page.h"
#include "tables/value_append.h"

#include <string.h>

enum { REQUEST = 2, ANSWER = 3 }; /* 0, 1 and 4 are the router's */
enum { REQUEST_FIELDS = 7, ANSWER_FIELDS = 4, PAGE_KEPT_BYTES = 1 << 20 };

enum far_read_tag {
    FAR_READ_ASK = 1,  /* CALL: struct asking, the table's name, the request */
    FAR_READ_RECEIVED, /* a node's id, a payload from it                     */
    FAR_READ_LOST,     /* a node's id                                        */
    FAR_READ_VIEW,
    FAR_READ_TICK,
};

struct asking {
    uint64_t node;
    uint64_t table; /* its records' id: another may take its name, or they another layout */
    uint32_t name_bytes;
};

struct far_read {
    struct table_far far; /* what queries call */
    struct far_read_opts o;
    _Atomic uint64_t pid; /* of the actor of now, slot << 32 | generation; 0: not yet */
    struct errands errands;
    struct list_node waiting, asked;
    struct buffer out, page; /* a payload, and a page, being written */
    struct reader reader;
    bool ticking, reading;
    struct {
        uint64_t malformed, strange, refused, lost;
    } counted;
};

static eg_pid pid_of(const struct far_read *r) {
    uint64_t pid = atomic_load(&r->pid);

    return pid == 0 ? EG_PID_NONE
                    : (eg_pid){runtime_node(r->o.runtime), (uint32_t) (pid >> 32), (uint32_t) pid};
}

/* ---- what queries call ---------------------------------------------------------------- */

static struct far_read *far_read_of(struct table_far *f) {
    return EG_CONTAINER_OF(f, struct far_read, far);
}

static uint64_t far_node(struct table_far *f, const struct table *t, uint32_t shard) {
    struct far_read *r = far_read_of(f);

    return r->o.node(r->o.user, t, shard);
}

static uint64_t far_view(struct table_far *f) {
    struct far_read *r = far_read_of(f);

    return r->o.epoch(r->o.user);
}

static eg_err far_ask(struct table_far *f, struct table *t, uint64_t node, struct value request,
                      eg_pid *to, struct message **out) {
    struct far_read *r = far_read_of(f);
    const struct schema_name *name = table_name(t);
    struct asking head = {node, schema_records_id(table_schema(t)), name->size_bytes};
    struct message *m =
        message_new(r->o.runtime, MESSAGE_CALL, sizeof head + head.name_bytes + request.size_bytes);

    if (m == NULL)
        return EG_MEMORY;
    m->tag = FAR_READ_ASK;
    memcpy(m->payload, &head, sizeof head);
    memcpy(m->payload + sizeof head, name->text, head.name_bytes);
    if (request.size_bytes != 0)
        memcpy(m->payload + sizeof head + head.name_bytes, request.at, request.size_bytes);
    *to = pid_of(r);
    *out = m;
    return EG_OK;
}

/* ---- the wire --------------------------------------------------------------------------- */

struct far_read_request {
    uint64_t id;
    struct view_id view;
    struct value table_name;
    uint64_t table_id;
    struct value request;
};

static void write_request(struct value_writer *w, const void *what) {
    const struct far_read_request *q = what;

    value_put_array(w, REQUEST_FIELDS);
    value_put_u64(w, REQUEST);
    value_put_u64(w, q->id);
    value_put_u64(w, q->view.epoch);
    value_put_u64(w, q->view.hash);
    value_put_string(w, (const char *) q->table_name.at, q->table_name.size_bytes);
    value_put_u64(w, q->table_id);
    value_put_raw(w, q->request);
}

struct far_read_answer {
    uint64_t id;
    eg_err outcome;
    struct value v; /* of a failure: its text */
};

static void write_answer(struct value_writer *w, const void *what) {
    const struct far_read_answer *a = what;

    value_put_array(w, ANSWER_FIELDS);
    value_put_u64(w, ANSWER);
    value_put_u64(w, a->id);
    value_put_i64(w, a->outcome);
    if (a->outcome == EG_OK)
        value_put_raw(w, a->v);
    else
        value_put_string(w, (const char *) a->v.at, a->v.size_bytes);
}

static eg_err send_out(struct far_read *r, uint64_t to,
                       void (*write)(struct value_writer *w, const void *what), const void *what) {
    eg_err err;

    buffer_clear(&r->out);
    err = value_append(&r->out, write, what);
    return err != EG_OK
               ? err
               : r->o.send(r->o.user, to, (struct value){r->out.at, (uint32_t) r->out.size_bytes});
}

static eg_err send_request(struct far_read *r, uint64_t to, const struct far_read_request *q) {
    return send_out(r, to, write_request, q);
}

static void send_answer(struct far_read *r, uint64_t to, uint64_t id, eg_err outcome,
                        struct value v) {
    const struct far_read_answer a = {id, outcome, v};

    r->counted.refused += outcome != EG_OK;
    r->counted.lost += send_out(r, to, write_answer, &a) != EG_OK; /* its deadline is seen */
}

static bool next_u64(struct value_iter *it, uint64_t *out) {
    struct value v;

    return value_iter_next(it, &v) && value_get_u64(v, out);
}

static bool next_text(struct value_iter *it, struct value *out) {
    struct value v;

    return value_iter_next(it, &v) && value_kind_of(v) == VALUE_STRING &&
           value_get_bytes(v, &out->at, &out->size_bytes);
}

static bool get_request(struct value_iter *it, struct far_read_request *q) {
    return next_u64(it, &q->id) && next_u64(it, &q->view.epoch) && next_u64(it, &q->view.hash) &&
           next_text(it, &q->table_name) && next_u64(it, &q->table_id) &&
           value_iter_next(it, &q->request);
}

bool far_read_is_ours(struct value payload) {
    struct value_iter it;
    uint64_t kind;

    if (value_kind_of(payload) != VALUE_ARRAY)
        return false;
    it = value_iter_of(payload);
    return next_u64(&it, &kind) && (kind == REQUEST || kind == ANSWER);
}

/* ---- asking ------------------------------------------------------------------------------- */

static uint64_t now_ns(const struct far_read *r) {
    return env_now_ns(r->o.env);
}

/* It is over: tell whoever asked. */
static void answer(struct far_read *r, struct actor *self, struct errand *d, eg_err err,
                   struct value v) {
    actor_reply_bytes(self, d->from, d->ref, err, v.at, v.size_bytes);
    errand_free(&r->errands, d);
}

/* It may be asked again, in a moment. */
static void put_off(struct far_read *r, struct errand *d) {
    list_remove(&d->node);
    list_push_back(&r->waiting, &d->node);
    d->deadline_ns = now_ns(r) + (uint64_t) FAR_READ_MOMENT_MS * 1000000;
}

static void ask(struct far_read *r, struct actor *self, const struct message *m) {
    struct far_read_request q = {.view = r->o.view(r->o.user)};
    struct asking head;
    struct errand *d;
    eg_err err = errand_new(&r->errands, &d);

    if (err != EG_OK) {
        static const char text[] = "too much is under way to other nodes";
        actor_reply_bytes(self, m->from, m->ref, err, text, sizeof text - 1);
        return;
    }
    memcpy(&head, m->payload, sizeof head);
    q.id = d->number;
    q.table_id = head.table;
    q.table_name = (struct value){m->payload + sizeof head, head.name_bytes};
    q.request = (struct value){q.table_name.at + head.name_bytes,
                               (uint32_t) (m->size_bytes - sizeof head - head.name_bytes)};
    d->from = m->from;
    d->ref = m->ref;
    d->peer = head.node;
    list_push_back(&r->asked, &d->node);
    d->deadline_ns = now_ns(r) + (uint64_t) FAR_READ_ANSWER_MS * 1000000;
    err = head.node == 0 ? EG_NO_REPLICA : send_request(r, head.node, &q);
    if (err == EG_TOO_LARGE)
        answer(r, self, d, err, (struct value){0});
    else if (err != EG_OK)
        put_off(r, d);
}

static void receive_answer(struct far_read *r, struct actor *self, uint64_t from,
                           struct value_iter *it) {
    struct value v, text = {0};
    uint64_t id;
    int64_t outcome;
    struct errand *d;

    if (!next_u64(it, &id) || !value_iter_next(it, &v) || !value_get_i64(v, &outcome) ||
        outcome > 0 || outcome < EG_CLOSED || !value_iter_next(it, &v)) {
        r->counted.malformed++;
        return;
    }
    d = errand_find(&r->errands, id);
    if (d == NULL || d->peer != from) {
        r->counted.strange++; /* too late, or made up */
        return;
    }
    if (outcome == EG_OK) {
        answer(r, self, d, EG_OK, v);
    } else if (outcome == EG_NO_REPLICA || outcome == EG_AGAIN) {
        put_off(r, d);
    } else {
        if (value_kind_of(v) != VALUE_STRING || !value_get_bytes(v, &text.at, &text.size_bytes))
            text = (struct value){0};
        answer(r, self, d, (eg_err) outcome, text);
    }
}

/* ---- serving ------------------------------------------------------------------------------- */

static struct table *find_table(const struct far_read *r, const struct far_read_request *q) {
    return catalog_find(r->o.catalog, (const char *) q->table_name.at, q->table_name.size_bytes);
}

static bool may_serve(struct far_read *r, struct table *t, const struct far_read_request *q,
                      const struct page_request *page) {
    return view_id_shared(q->view, r->o.view(r->o.user)) && table_reads_set_here(t, &page->shards);
}

static eg_err serve_page(struct far_read *r, const struct far_read_request *q,
                         struct err_note *note) {
    struct page_request page;
    struct table *t = find_table(r, q);
    eg_err err = page_get_request(q->request, &page);

    if (err != EG_OK)
        return err;
    if (!view_id_shared(q->view, r->o.view(r->o.user)))
        return EG_NO_REPLICA;
    if (t == NULL)
        return EG_NO_TABLE;
    if (schema_records_id(table_schema(t)) != q->table_id)
        return EG_NO_REPLICA; /* one of us is about to change it, too */
    if (!may_serve(r, t, q, &page))
        return EG_NO_REPLICA;
    err = page_serve(t, &r->reader, &page, &r->page, note);
    /* What was read while the copy was taken away is not to be relied on. */
    return err == EG_OK && !may_serve(r, t, q, &page) ? EG_NO_REPLICA : err;
}

static void serve(struct far_read *r, uint64_t from, const struct far_read_request *q) {
    struct err_note note = {""};
    eg_err err;

    buffer_clear(&r->page);
    reader_enter(&r->reader);
    err = serve_page(r, q, &note);
    reader_exit(&r->reader);
    send_answer(r, from, q->id, err,
                err == EG_OK
                    ? (struct value){r->page.at, (uint32_t) r->page.size_bytes}
                    : (struct value){(const uint8_t *) note.text, (uint32_t) strlen(note.text)});
    reader_reset(&r->reader); /* a scheduler's sections do not end by themselves */
    if (r->page.room_bytes > PAGE_KEPT_BYTES)
        buffer_fini(&r->page);
}

static void receive_payload(struct far_read *r, struct actor *self, const struct message *m) {
    struct far_read_request q = {0};
    struct value_iter it;
    uint64_t from, kind;
    struct value payload = {m->payload + sizeof from, (uint32_t) (m->size_bytes - sizeof from)};

    memcpy(&from, m->payload, sizeof from);
    it = value_iter_of(payload); /* far_read_is_ours() has seen an array */
    if (!next_u64(&it, &kind) ||
        value_count(payload) != (kind == REQUEST ? REQUEST_FIELDS : ANSWER_FIELDS))
        r->counted.malformed++;
    else if (kind == ANSWER)
        receive_answer(r, self, from, &it);
    else if (get_request(&it, &q))
        serve(r, from, &q);
    else
        r->counted.malformed++;
}

/* ---- time, nodes, views -------------------------------------------------------------------- */

static void node_lost(struct far_read *r, uint64_t node) {
    for (struct list_node *n = r->asked.next, *next; n != &r->asked; n = next) {
        struct errand *d = EG_CONTAINER_OF(n, struct errand, node);

        next = n->next;
        if (d->peer == node)
            put_off(r, d);
    }
}

static void end_waiting(struct far_read *r, struct actor *self, uint64_t until_ns) {
    for (struct list_node *n = r->waiting.next, *next; n != &r->waiting; n = next) {
        struct errand *d = EG_CONTAINER_OF(n, struct errand, node);

        next = n->next;
        if (d->deadline_ns <= until_ns)
            answer(r, self, d, EG_AGAIN, (struct value){0});
    }
}

static void expire_asked(struct far_read *r, struct actor *self) {
    static const char text[] = "no answer in time";
    uint64_t now = now_ns(r);

    for (struct list_node *n = r->asked.next, *next; n != &r->asked; n = next) {
        struct errand *d = EG_CONTAINER_OF(n, struct errand, node);

        next = n->next;
        if (d->deadline_ns <= now)
            answer(r, self, d, EG_TIMEOUT, (struct value){(const uint8_t *) text, sizeof text - 1});
    }
}

static void start_tick(struct far_read *r, struct actor *self) {
    struct message *m;
    eg_ref timer;

    if (r->ticking || (list_is_empty(&r->waiting) && list_is_empty(&r->asked)))
        return;
    m = message_new(r->o.runtime, MESSAGE_INFO, 0);
    if (m == NULL)
        return; /* the next message asks again */
    m->tag = FAR_READ_TICK;
    r->ticking = actor_start_timer(self, FAR_READ_MOMENT_MS, m, &timer) == EG_OK;
}

/* ---- the actor ---------------------------------------------------------------------------- */

static void receive(struct actor *self, void *state, struct message *m) {
    struct far_read *r = *(struct far_read **) state;
    uint64_t node;

    if (m->kind == MESSAGE_CALL && m->tag == FAR_READ_ASK) {
        ask(r, self, m);
    } else if (m->tag == FAR_READ_RECEIVED) {
        receive_payload(r, self, m);
    } else if (m->tag == FAR_READ_LOST) {
        memcpy(&node, m->payload, sizeof node);
        node_lost(r, node);
    } else if (m->tag == FAR_READ_VIEW) {
        end_waiting(r, self, UINT64_MAX);
    } else {
        r->ticking &= m->tag != FAR_READ_TICK;
        end_waiting(r, self, now_ns(r));
        expire_asked(r, self);
    }
    start_tick(r, self);
}

static eg_err init(struct actor *self, void *state, const void *arg) {
    struct far_read *r = (struct far_read *) arg;
    eg_pid pid = actor_pid(self);

    *(struct far_read **) state = r;
    if (!r->reading)
        reader_of_scheduler(&r->reader, scheduler_epoch(actor_scheduler(self)), r->o.alloc);
    r->reading = true;
    atomic_store(&r->pid, (uint64_t) pid.slot << 32 | pid.generation);
    r->ticking = false; /* a predecessor's timer went with it */
    start_tick(r, self);
    return EG_OK;
}

/* What others tell the actor: from the mesh's scheduler, outside any section. */
static void tell(struct far_read *r, enum far_read_tag tag, const void *first, size_t first_bytes,
                 struct value second) {
    struct message *m = message_new(r->o.runtime, MESSAGE_INFO, first_bytes + second.size_bytes);

    if (m == NULL)
        return; /* as if the link had lost it: deadlines see to that */
    m->tag = tag;
    if (first_bytes != 0)
        memcpy(m->payload, first, first_bytes);
    if (second.size_bytes != 0)
        memcpy(m->payload + first_bytes, second.at, second.size_bytes);
    if (runtime_send(r->o.runtime, EG_PID_NONE, pid_of(r), m) != EG_OK)
        r->counted.lost++;
}

void far_read_receive(struct far_read *r, uint64_t from, struct value payload) {
    tell(r, FAR_READ_RECEIVED, &from, sizeof from, payload);
}

void far_read_node_down(struct far_read *r, uint64_t id) {
    tell(r, FAR_READ_LOST, &id, sizeof id, (struct value){NULL, 0});
}

void far_read_view_changed(struct far_read *r) {
    tell(r, FAR_READ_VIEW, NULL, 0, (struct value){NULL, 0});
}

/* ---- open, close --------------------------------------------------------------------------- */

eg_err far_read_open(struct far_read **out, const struct far_read_opts *o) {
    struct far_read *r = alloc_zero(o->alloc, sizeof *r);

    if (r == NULL)
        return EG_MEMORY;
    r->o = *o;
    r->far = (struct table_far){far_node, far_ask, far_view};
    errands_init(&r->errands, o->alloc, FAR_READ_PENDING_MAX);
    list_init(&r->waiting);
    list_init(&r->asked);
    buffer_init(&r->out, o->alloc, MESH_FRAME_BYTES_MAX);
    buffer_init(&r->page, o->alloc, PAGE_ANSWER_BYTES_MAX);
    *out = r;
    return EG_OK;
}

void far_read_child(struct far_read *r, struct child_spec *out) {
    static const struct actor_ops ops = {.name = "far_read",
                                         .state_bytes = sizeof(struct far_read *),
                                         .init = init,
                                         .receive = receive};

    *out = (struct child_spec){.id = "far_read",
                               .kind = CHILD_ACTOR,
                               .restart = PERMANENT,
                               .actor = &ops,
                               .arg = r,
                               .scheduler = SPAWN_ON(r->o.scheduler),
                               .mailbox_bound = MAILBOX_BOUND_MAX};
}

struct table_far *far_read_far(struct far_read *r) {
    return &r->far;
}

static void forget(struct far_read *r, struct list_node *list) {
    while (!list_is_empty(list))
        errand_free(&r->errands, EG_CONTAINER_OF(list->next, struct errand, node));
}

void far_read_close(struct far_read *r) {
    forget(r, &r->waiting);
    forget(r, &r->asked);
    errands_fini(&r->errands);
    if (r->reading)
        reader_close(&r->reader);
    buffer_fini(&r->out);
    buffer_fini(&r->page);
    alloc_put(r->o.alloc, r, sizeof *r);
}
