/* schema_sync.c -- a list of tables that all nodes do the same to.
 *
 * Everything comes down to one question: here is an entry, what must this node's catalog do to
 * agree with it (learn())?  It is asked of what the principal has just decided (APPLY), and of what
 * others know (LIST).  What the catalog must do are steps; the last step of an entry puts it into
 * the list.
 *
 *     payloads  [LIST, want, epoch, hash, [entry, ...]]   all that I know, in that view; `want`:
 *                                                    say yours too
 *               [APPLY, number, entry]  [APPLIED, number, outcome]
 *               [ASK, number, op, name, value]  [ANSWER, number, outcome, text]
 *
 * A change at the principal
 *     QUEUED --its turn--> HERE (the catalog does it) --OK--> SPREAD (all say APPLIED) --> answered
 *                            '--refused--> answered          '--the view changes: when the new one
 * is whole, everybody has it--> answered */
#include "replication/schema_sync.h"

#include "engine/env.h"
#include "engine/message.h"
#include "replication/schema_list.h"
#include "tables/disc.h"
#include "tables/route.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { LIST, APPLY, APPLIED, ASK, ANSWER, PAYLOAD_KINDS };
enum { SYNC_ROW = 'l', PARK_MS = 5000, PAYLOAD_BYTES_MAX = 16 << 20, TEXT_BYTES = 200 };

/* Steps that came of one APPLY: it is answered when they are done. */
struct applying {
    uint64_t to, number;
    uint32_t left;
    eg_err err;
};

/* One thing that the catalog is to do. */
struct step {
    struct list_node node;
    uint64_t number;
    uint32_t op;
    bool unsent;
    struct schema_name name;
    struct buffer value;
    struct schema_entry *outcome; /* of the last step of an entry, what is then known */
    struct applying *applying;    /* NULL: of a LIST, or of `change` */
    struct change *change;
};

enum change_state { QUEUED, HERE, SPREAD };

struct change {
    struct list_node node;
    enum change_state state;
    uint64_t peer; /* who asked for it with that number; 0: a CALL of this node */
    uint64_t number;
    eg_pid from;
    eg_ref ref;
    uint64_t since_ns;
    struct catalog_request request; /* spans into `bytes` */
    struct buffer bytes;
    uint64_t spread_number;
    uint64_t waiting[NODES_MAX]; /* of SPREAD: who has not APPLIED yet */
    uint32_t waiting_count;
    bool until_whole;
};

struct peer {
    uint64_t id;
    struct view_id listed; /* the view in which it has last said all that it knows */
};

struct schema_sync {
    struct schema_sync_opts o;
    struct schema_list list;
    const struct view *view;
    struct list_node steps, changes, asked, parked;
    uint64_t numbers;
    struct peer peer[NODES_MAX];
    uint32_t peer_count;
    bool again; /* something could not be learnt now: lists are asked for again */
    bool was_whole;
    struct buffer out;
    uint64_t malformed;
};

/* ---- saying ------------------------------------------------------------------------------ */

static uint8_t *room_for(struct schema_sync *s, size_t bytes) {
    buffer_clear(&s->out);
    return buffer_room(&s->out, bytes);
}

static eg_err send_to(struct schema_sync *s, uint64_t to, const struct value_writer *w) {
    EG_ASSERT(!w->overflow);
    return s->o.send(s->o.user, to, (struct value){s->out.at, (uint32_t) w->need_bytes});
}

static void put_list(const struct schema_sync *s, bool want, struct value_writer *w) {
    uint32_t count = 0;

    for (struct list_node *n = s->list.entries.next; n != &s->list.entries; n = n->next)
        count += !EG_CONTAINER_OF(n, struct schema_entry, node)->aside;
    value_put_array(w, 5);
    value_put_u64(w, LIST);
    value_put_bool(w, want);
    value_put_u64(w, s->view->id.epoch);
    value_put_u64(w, s->view->id.hash);
    value_put_array(w, count);
    for (struct list_node *n = s->list.entries.next; n != &s->list.entries; n = n->next) {
        const struct schema_entry *e = EG_CONTAINER_OF(n, struct schema_entry, node);
        if (!e->aside)
            schema_entry_put(e, w);
    }
}

static void send_list(struct schema_sync *s, uint64_t to, bool want) {
    struct value_writer w = value_writer_init(NULL, 0);
    size_t need_bytes;

    put_list(s, want, &w);
    need_bytes = w.need_bytes;
    if (room_for(s, need_bytes) == NULL)
        return; /* the tick asks again */
    w = value_writer_init(s->out.at, need_bytes);
    put_list(s, want, &w);
    if (send_to(s, to, &w) != EG_OK)
        s->again = true;
}

static void put_apply(uint64_t number, const struct schema_entry *e, struct value_writer *w) {
    value_put_array(w, 3);
    value_put_u64(w, APPLY);
    value_put_u64(w, number);
    schema_entry_put(e, w);
}

static void send_apply(struct schema_sync *s, uint64_t to, uint64_t number,
                       const struct schema_entry *e) {
    struct value_writer w = value_writer_init(NULL, 0);
    size_t need_bytes;

    put_apply(number, e, &w);
    need_bytes = w.need_bytes;
    if (room_for(s, need_bytes) == NULL)
        return;
    w = value_writer_init(s->out.at, need_bytes);
    put_apply(number, e, &w);
    (void) send_to(s, to, &w); /* the tick says it again */
}

static void send_applied(struct schema_sync *s, uint64_t to, uint64_t number, eg_err err) {
    uint8_t room[32];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_array(&w, 3);
    value_put_u64(&w, APPLIED);
    value_put_u64(&w, number);
    value_put_i64(&w, err);
    (void) s->o.send(s->o.user, to,
                     (struct value){room, (uint32_t) w.need_bytes}); /* asked again */
}

static void send_answer(struct schema_sync *s, uint64_t to, uint64_t number, eg_err err,
                        const char *text) {
    uint8_t room[TEXT_BYTES + 32];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_array(&w, 4);
    value_put_u64(&w, ANSWER);
    value_put_u64(&w, number);
    value_put_i64(&w, err);
    value_put_string(&w, text, EG_MIN(strlen(text), (size_t) TEXT_BYTES));
    (void) s->o.send(s->o.user, to,
                     (struct value){room, (uint32_t) w.need_bytes}); /* it gives up */
}

static void reply(struct schema_sync *s, eg_pid to, eg_ref ref, eg_err err, const char *text) {
    static const uint8_t yes = 0xc3;
    struct message *m = err == EG_OK
                            ? message_copy(s->o.runtime, MESSAGE_REPLY, &yes, 1)
                            : message_copy(s->o.runtime, MESSAGE_REPLY, text, strlen(text));

    if (m == NULL)
        return; /* the caller's own patience ends it */
    m->tag = (uint32_t) err;
    m->ref = ref;
    (void) runtime_send(s->o.runtime, EG_PID_NONE, to, m); /* the caller may be gone */
}

/* ---- remembering ----------------------------------------------------------------------------- */

static void remember(struct schema_sync *s, const struct schema_entry *e) {
    struct value_writer w = value_writer_init(NULL, 0);
    uint8_t key[1 + SCHEMA_NAME_MAX] = {SYNC_ROW};
    struct disc_batch b;
    eg_err err;

    if (s->o.disc == NULL)
        return;
    schema_entry_put(e, &w);
    if (room_for(s, w.need_bytes) == NULL)
        return; /* others will tell it again */
    w = value_writer_init(s->out.at, w.need_bytes);
    schema_entry_put(e, &w);
    memcpy(key + 1, e->name.text, e->name.size_bytes);
    disc_batch_init(&b, s->o.alloc);
    err = disc_batch_put(&b, s->o.disc->meta, (struct disc_bytes){key, 1u + e->name.size_bytes},
                         (struct disc_bytes){s->out.at, w.need_bytes});
    if (err == EG_OK)
        err = disc_write(s->o.disc, &b);
    disc_batch_fini(&b);
    if (err != EG_OK)
        env_log(s->o.env, ENV_LOG_WARN, "schema", "%s: not remembered on disc: %s", e->name.text,
                eg_err_text(err));
}

static eg_err recall_row(struct schema_sync *s, struct disc_bytes stored) {
    struct value v = {stored.at, (uint32_t) stored.size_bytes};
    struct schema_entry *e;
    const struct table *t;
    size_t used_bytes;
    eg_err err = value_scan(stored.at, stored.size_bytes, &used_bytes);

    if (err == EG_OK && used_bytes == stored.size_bytes)
        err = schema_entry_get(&e, s->o.alloc, v);
    if (err != EG_OK)
        return err == EG_MEMORY ? err : EG_CORRUPT;
    t = e->live ? catalog_find(s->o.catalog, e->name.text, e->name.size_bytes) : NULL;
    if (e->live && (t == NULL || table_schema(t)->id != e->id))
        schema_entry_free(
            e); /* a ram table, gone with the last process; or one that never was made */
    else
        schema_list_put(&s->list, e);
    return EG_OK;
}

static eg_err recall(struct schema_sync *s, struct err_note *note) {
    static const uint8_t from[] = {SYNC_ROW}, to[] = {SYNC_ROW + 1};
    struct disc_range range = {.from = {from, 1}, .to = {to, 1}};
    struct disc_iter *it;
    eg_err err;

    if (s->o.disc == NULL)
        return EG_OK;
    err = disc_iter_open(s->o.disc, s->o.disc->meta, &range, &it);
    if (err != EG_OK)
        return err;
    for (it->ops->seek(it, range.from); err == EG_OK && it->valid; it->ops->next(it))
        err = recall_row(s, it->value);
    if (err == EG_OK)
        err = it->err;
    it->ops->close(it);
    return err == EG_CORRUPT ? err_note(note, err, "the stored list of tables is damaged") : err;
}

/* ---- steps -------------------------------------------------------------------------------------
 */

static void send_step(struct schema_sync *s, struct step *p) {
    struct catalog_request q = {.op = (enum catalog_op) p->op,
                                .name = {(const uint8_t *) p->name.text, p->name.size_bytes},
                                .value = {p->value.at, (uint32_t) p->value.size_bytes}};
    struct message *m;
    eg_pid to;

    p->unsent = true;
    if (catalog_message_here(s->o.catalog, &q, &to, &m) != EG_OK)
        return; /* the tick tries again */
    m->ref = p->number;
    p->unsent = runtime_send(s->o.runtime, s->o.answers(s->o.user), to, m) != EG_OK;
}

static struct step *add_step(struct schema_sync *s, const struct schema_name *name, uint32_t op,
                             struct value value) {
    struct step *p = alloc_zero(s->o.alloc, sizeof *p);

    if (p == NULL)
        return NULL;
    p->number = ++s->numbers;
    p->op = op;
    p->name = *name;
    buffer_init(&p->value, s->o.alloc, PAYLOAD_BYTES_MAX);
    if (value.size_bytes != 0 && !buffer_append(&p->value, value.at, value.size_bytes)) {
        alloc_put(s->o.alloc, p, sizeof *p);
        return NULL;
    }
    list_push_back(&s->steps, &p->node);
    return p;
}

static void free_step(struct schema_sync *s, struct step *p) {
    list_remove(&p->node);
    if (p->outcome != NULL)
        schema_entry_free(p->outcome);
    buffer_fini(&p->value);
    alloc_put(s->o.alloc, p, sizeof *p);
}

static bool is_stepping(const struct schema_sync *s, const struct schema_name *name) {
    for (struct list_node *n = s->steps.next; n != &s->steps; n = n->next) {
        const struct step *p = EG_CONTAINER_OF(n, struct step, node);
        if (p->name.size_bytes == name->size_bytes &&
            memcmp(p->name.text, name->text, name->size_bytes) == 0)
            return true;
    }
    return false;
}

static void know(struct schema_sync *s, struct schema_entry *e) {
    struct schema_name name = e->name;

    remember(s, e);
    schema_list_put(&s->list, e);
    s->o.table_changed(s->o.user, name.text);
}

/* ---- learning an entry
 * ---------------------------------------------------------------------------- */

static bool has_stamp(const struct schema_entry *e, uint64_t stamp) {
    for (uint32_t i = 0; i < e->change_count; i++)
        if (e->changes[i].stamp == stamp)
            return true;
    return false;
}

/* What is known once both are. */
static eg_err unite(struct schema_entry *to, const struct schema_entry *mine) {
    eg_err err = EG_OK;

    to->born = EG_MAX(to->born, mine->born);
    for (uint32_t i = 0; i < mine->change_count && err == EG_OK; i++) {
        const struct schema_change *c = &mine->changes[i];
        if (!has_stamp(to, c->stamp))
            err = schema_entry_add(to, c->stamp, c->op, (struct value){c->at, c->size_bytes});
    }
    return err;
}

/* The steps of an entry, in order, the last one with the outcome. */
struct steps {
    struct step *step[SCHEMA_SYNC_CHANGES_MAX + 2];
    uint32_t count;
};

static eg_err plan_step(struct schema_sync *s, struct steps *p, const struct schema_name *name,
                        uint32_t op, struct value value) {
    struct step *step = add_step(s, name, op, value);

    if (step == NULL)
        return EG_MEMORY;
    p->step[p->count++] = step;
    return EG_OK;
}

static eg_err plan_changes(struct schema_sync *s, struct steps *p, const struct schema_entry *mine,
                           const struct schema_entry *theirs) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < theirs->change_count && err == EG_OK; i++) {
        const struct schema_change *c = &theirs->changes[i];
        if (mine == NULL || !has_stamp(mine, c->stamp))
            err = plan_step(s, p, &theirs->name, c->op, (struct value){c->at, c->size_bytes});
    }
    return err;
}

static eg_err plan(struct schema_sync *s, struct steps *p, enum schema_advice advice,
                   const struct schema_entry *mine, struct schema_entry *theirs) {
    struct value schema = {theirs->schema.at, (uint32_t) theirs->schema.size_bytes};
    eg_err err = EG_OK;

    if (advice == SCHEMA_CATCH_UP) {
        err = plan_changes(s, p, mine, theirs);
        return err == EG_OK ? unite(theirs, mine) : err;
    }
    if (mine != NULL && mine->live)
        err = plan_step(s, p, &theirs->name, CATALOG_DROP, (struct value){NULL, 0});
    if (err == EG_OK && theirs->live)
        err = plan_step(s, p, &theirs->name, CATALOG_ADOPT, schema);
    return err == EG_OK && theirs->live ? plan_changes(s, p, NULL, theirs) : err;
}

/* This node's table keeps its name here, alone: what else it has is not lost. */
static void set_aside(struct schema_sync *s, struct schema_entry *mine) {
    if (!mine->aside)
        s->o.event(s->o.user, "schema_conflict", mine->name.text,
                   "another table has this name on other nodes: this one is not replicated");
    mine->aside = true;
    s->o.table_changed(s->o.user, mine->name.text);
}

/* Do what it takes to agree with `theirs`, which is taken over.  EG_BUSY: later. */
static eg_err learn(struct schema_sync *s, struct schema_entry *theirs, struct applying *applying) {
    struct schema_entry *mine =
        schema_list_find(&s->list, theirs->name.text, theirs->name.size_bytes);
    enum schema_advice advice = schema_list_compare(mine, theirs);
    struct steps p = {.count = 0};
    eg_err err;

    s->list.stamp = EG_MAX(s->list.stamp, schema_entry_stamp(theirs));
    if (is_stepping(s, &theirs->name)) {
        schema_entry_free(theirs);
        return EG_BUSY;
    }
    if (advice == SCHEMA_KEEP || advice == SCHEMA_CLASH) {
        if (advice == SCHEMA_CLASH)
            set_aside(s, mine);
        schema_entry_free(theirs);
        return EG_OK;
    }
    err = plan(s, &p, advice, mine, theirs);
    if (err != EG_OK) {
        while (p.count > 0)
            free_step(s, p.step[--p.count]);
        schema_entry_free(theirs);
        return err;
    }
    if (p.count == 0) {
        know(s, theirs);
        return EG_OK;
    }
    if (theirs->live)
        remember(s, theirs); /* before its table is there: else that looked older than it is */
    p.step[p.count - 1]->outcome = theirs;
    for (uint32_t i = 0; i < p.count; i++) {
        p.step[i]->applying = applying;
        if (applying != NULL)
            applying->left++;
        send_step(s, p.step[i]);
    }
    return EG_OK;
}

/* ---- whole
 * ------------------------------------------------------------------------------------------ */

static struct peer *peer_of(struct schema_sync *s, uint64_t id) {
    for (uint32_t i = 0; i < s->peer_count; i++)
        if (s->peer[i].id == id)
            return &s->peer[i];
    return NULL;
}

static bool has_listed(const struct schema_sync *s, uint64_t id) {
    const struct peer *p = peer_of((struct schema_sync *) s, id);

    return p != NULL && view_id_equal(p->listed, s->view->id);
}

bool schema_sync_is_whole(const struct schema_sync *s) {
    if (s->view == NULL || s->again || !list_is_empty(&s->steps))
        return false;
    for (uint32_t i = 0; i < s->view->count; i++)
        if (s->view->member[i].id != s->o.self && !has_listed(s, s->view->member[i].id))
            return false;
    return true;
}

static void end_change(struct schema_sync *s, struct change *c, eg_err err, const char *text) {
    if (c->peer != 0)
        send_answer(s, c->peer, c->number, err, text);
    else
        reply(s, c->from, c->ref, err, text);
    list_remove(&c->node);
    buffer_fini(&c->bytes);
    alloc_put(s->o.alloc, c, sizeof *c);
}

static void next_change(struct schema_sync *s);

static void look_whole(struct schema_sync *s) {
    bool whole = schema_sync_is_whole(s);

    if (whole && !s->was_whole) {
        s->was_whole = true;
        for (struct list_node *n = s->changes.next, *next; n != &s->changes; n = next) {
            struct change *c = EG_CONTAINER_OF(n, struct change, node);
            next = n->next;
            if (c->state == SPREAD && c->until_whole)
                end_change(s, c, EG_OK, "");
        }
        s->o.whole(s->o.user);
    }
    next_change(s);
}

/* ---- changes, at the principal
 * ------------------------------------------------------------------------ */

/* May it be done while somebody is away? */
static bool takes_away(const struct catalog_request *q) {
    struct value what;

    if (q->op == CATALOG_ALTER)
        return value_kind_of(q->value) != VALUE_ARRAY || !array_element(q->value, 0, &what) ||
               !value_is_string(what, "add_attribute");
    return q->op == CATALOG_DROP;
}

/* The table as it will be on every node. */
static eg_err complete(struct schema_sync *s, const struct catalog_request *q, uint64_t dropped,
                       struct schema_entry *e, struct err_note *note) {
    struct schema *schema = alloc_zero(s->o.alloc, sizeof *schema);
    eg_err err = schema == NULL ? EG_MEMORY
                                : schema_parse(schema, s->o.alloc, (const char *) q->name.at,
                                               q->name.size_bytes, q->value, note);

    if (err != EG_OK)
        goto free_memory;
    schema->name = schema->stored_name; /* whatever the request calls itself */
    schema->id = schema->seed = 0;
    schema->version = 1;
    if (schema->storage != STORAGE_RAM && !s->o.any_disc(s->o.user))
        err = err_note(note, EG_DISC, "no node has a data directory");
    if (err == EG_OK)
        err = schema_encode(schema, &e->schema);
    if (err == EG_OK) {
        schema->id =
            XXH3_64bits_withSeed(e->schema.at, e->schema.size_bytes,
                                 XXH3_64bits_withSeed(q->name.at, q->name.size_bytes, dropped));
        schema->seed = XXH3_64bits_withSeed(&schema->id, sizeof schema->id, s->o.secret);
        buffer_clear(&e->schema);
        err = schema_encode(schema, &e->schema);
        e->id = schema->id;
    }
    schema_fini(schema);
free_memory:
    if (schema != NULL)
        alloc_put(s->o.alloc, schema, sizeof *schema);
    return err;
}

static eg_err copy_changes(struct schema_entry *to, const struct schema_entry *from) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < from->change_count && err == EG_OK; i++)
        err = schema_entry_add(to, from->changes[i].stamp, from->changes[i].op,
                               (struct value){from->changes[i].at, from->changes[i].size_bytes});
    return err;
}

/* What will be known of the name when `q` is done. */
static eg_err foresee(struct schema_sync *s, const struct catalog_request *q,
                      const struct schema_entry *mine, struct schema_entry *e,
                      struct err_note *note) {
    uint64_t stamp = schema_list_stamp(&s->list, (uint64_t) env_wall_ms(s->o.env));
    eg_err err;

    if (q->op == CATALOG_CREATE) {
        e->live = true;
        e->born = stamp;
        e->dropped = mine == NULL ? 0 : mine->dropped;
        return complete(s, q, e->dropped, e, note);
    }
    e->id = mine->id;
    e->born = mine->born;
    e->dropped = mine->dropped;
    if (q->op == CATALOG_DROP) {
        e->dropped = stamp;
        return EG_OK;
    }
    e->live = true;
    if (!buffer_append(&e->schema, mine->schema.at, mine->schema.size_bytes))
        return EG_MEMORY;
    err = copy_changes(e, mine);
    if (err == EG_OK)
        err = schema_entry_add(e, stamp, q->op, q->value);
    return err == EG_TOO_LARGE ? err_note(note, err, "too many changes of one table") : err;
}

static eg_err begin_change(struct schema_sync *s, struct change *c, struct err_note *note) {
    const struct catalog_request *q = &c->request;
    const char *name = (const char *) q->name.at;
    struct schema_entry *mine = schema_list_find(&s->list, name, q->name.size_bytes), *e;
    struct step *p = NULL;
    eg_err err;

    if (q->op == CATALOG_CREATE && mine != NULL && mine->live)
        return err_note(note, EG_EXISTS, "there is a table of that name");
    if (q->op != CATALOG_CREATE && (mine == NULL || !mine->live))
        return err_note(note, EG_NO_TABLE, "no such table");
    if (takes_away(q) && !s->o.everybody(s->o.user, note))
        return EG_NO_REPLICA;
    if (q->name.size_bytes > SCHEMA_NAME_MAX)
        return err_note(note, EG_BAD_REQUEST, "a table's name is at most 255 bytes");
    e = schema_entry_new(s->o.alloc, name, q->name.size_bytes);
    if (e == NULL)
        return EG_MEMORY;
    err = foresee(s, q, mine, e, note);
    if (err == EG_OK) {
        bool create = q->op == CATALOG_CREATE;
        p = add_step(s, &e->name, create ? CATALOG_ADOPT : q->op,
                     create ? (struct value){e->schema.at, (uint32_t) e->schema.size_bytes}
                            : q->value);
        err = p == NULL ? EG_MEMORY : EG_OK;
    }
    if (err != EG_OK) {
        schema_entry_free(e);
        return err;
    }
    if (e->live)
        remember(s, e); /* as in learn() */
    p->outcome = e;
    p->change = c;
    c->state = HERE;
    send_step(s, p);
    return EG_OK;
}

/* One at a time; and none before all lists are in, which may know better. */
static void next_change(struct schema_sync *s) {
    while (!list_is_empty(&s->changes)) {
        struct change *c = EG_CONTAINER_OF(s->changes.next, struct change, node);
        struct err_note note = {""};
        eg_err err;

        if (c->state != QUEUED || !schema_sync_is_whole(s))
            return;
        err = begin_change(s, c, &note);
        if (err == EG_OK)
            return;
        end_change(s, c, err, note.text);
    }
}

/* It is done here: let all others of the view do it. */
static void spread(struct schema_sync *s, struct change *c, const struct schema_entry *e) {
    c->state = SPREAD;
    c->spread_number = ++s->numbers;
    c->until_whole = s->view == NULL || !s->was_whole;
    for (uint32_t i = 0; s->view != NULL && i < s->view->count; i++) {
        uint64_t id = s->view->member[i].id;
        if (id == s->o.self)
            continue;
        c->waiting[c->waiting_count++] = id;
        send_apply(s, id, c->spread_number, e);
    }
    if (c->waiting_count == 0 && !c->until_whole)
        end_change(s, c, EG_OK, "");
}

static struct change *spreading(struct schema_sync *s) {
    struct change *c = EG_CONTAINER_OF(s->changes.next, struct change, node);

    return list_is_empty(&s->changes) || c->state != SPREAD ? NULL : c;
}

static void on_applied(struct schema_sync *s, uint64_t from, uint64_t number, eg_err err) {
    struct change *c = spreading(s);

    if (c == NULL || c->spread_number != number || err != EG_OK)
        return; /* late, or it has not done it yet: the tick says it again */
    for (uint32_t i = 0; i < c->waiting_count; i++)
        if (c->waiting[i] == from) {
            c->waiting[i] = c->waiting[--c->waiting_count];
            if (c->waiting_count == 0 && !c->until_whole)
                end_change(s, c, EG_OK, "");
            break;
        }
    look_whole(s);
}

/* ---- what the catalog says ------------------------------------------------------------------- */

/* Done already is as good as done. */
static bool is_done(const struct step *p, eg_err err) {
    if (err == EG_OK)
        return true;
    if (p->change != NULL)
        return false; /* somebody asked for it and hears why not */
    return (err == EG_EXISTS && p->op != CATALOG_ADOPT) ||
           (err == EG_NOT_FOUND && p->op == CATALOG_DROP_INDEX) ||
           (err == EG_NO_TABLE && p->op == CATALOG_DROP);
}

static void end_applying(struct schema_sync *s, struct applying *a, eg_err err) {
    if (err != EG_OK)
        a->err = err;
    if (--a->left > 0)
        return;
    send_applied(s, a->to, a->number, a->err);
    alloc_put(s->o.alloc, a, sizeof *a);
}

static void end_step(struct schema_sync *s, struct step *p, eg_err err, const char *text) {
    struct schema_entry *outcome = p->outcome;
    struct applying *applying = p->applying;
    struct change *change = p->change;
    struct schema_name name = p->name;

    p->outcome = NULL;
    free_step(s, p);
    if (err != EG_OK && change == NULL) {
        s->again = true;
        env_log(s->o.env, ENV_LOG_WARN, "schema", "%s: %s: %s", name.text, eg_err_text(err), text);
    }
    if (outcome != NULL && err == EG_OK)
        know(s, outcome);
    else if (outcome != NULL)
        schema_entry_free(outcome);
    if (change != NULL && err == EG_OK)
        spread(s, change, schema_list_find(&s->list, name.text, name.size_bytes));
    else if (change != NULL)
        end_change(s, change, err, text);
    if (applying != NULL)
        end_applying(s, applying, err);
}

void schema_sync_reply(struct schema_sync *s, const struct message *m) {
    for (struct list_node *n = s->steps.next; n != &s->steps; n = n->next) {
        struct step *p = EG_CONTAINER_OF(n, struct step, node);
        char text[TEXT_BYTES];
        eg_err err = (eg_err) m->tag;

        if (p->number != m->ref)
            continue;
        if (err == EG_NOPROC || (err == EG_BUSY && p->change == NULL)) {
            p->unsent = true; /* the catalog is being restarted: the tick tries again */
            return;
        }
        snprintf(text, sizeof text, "%.*s",
                 err == EG_OK ? 0 : (int) EG_MIN(m->size_bytes, TEXT_BYTES - 1u),
                 (const char *) m->payload);
        end_step(s, p, is_done(p, err) ? EG_OK : err, text);
        look_whole(s);
        return;
    }
}

/* ---- asking ------------------------------------------------------------------------------------
 */

static struct change *change_new(struct schema_sync *s, const struct catalog_request *q) {
    struct change *c = alloc_zero(s->o.alloc, sizeof *c);

    if (c == NULL)
        return NULL;
    buffer_init(&c->bytes, s->o.alloc, PAYLOAD_BYTES_MAX);
    if (!buffer_append(&c->bytes, q->name.at, q->name.size_bytes) ||
        (q->value.size_bytes != 0 && !buffer_append(&c->bytes, q->value.at, q->value.size_bytes))) {
        buffer_fini(&c->bytes);
        alloc_put(s->o.alloc, c, sizeof *c);
        return NULL;
    }
    c->request = *q;
    c->request.name.at = c->bytes.at;
    c->request.value.at = c->bytes.at + q->name.size_bytes;
    c->since_ns = env_now_ns(s->o.env);
    list_init(&c->node);
    return c;
}

static uint32_t count_of(const struct list_node *list) {
    uint32_t count = 0;

    for (const struct list_node *n = list->next; n != list; n = n->next)
        count++;
    return count;
}

static void put_ask(const struct change *c, struct value_writer *w) {
    const struct catalog_request *q = &c->request;

    value_put_array(w, 5);
    value_put_u64(w, ASK);
    value_put_u64(w, c->number);
    value_put_u64(w, q->op);
    value_put_string(w, (const char *) q->name.at, q->name.size_bytes);
    if (q->value.size_bytes != 0)
        value_put_raw(w, q->value);
    else
        value_put_nil(w);
}

static eg_err send_ask(struct schema_sync *s, uint64_t to, const struct change *c) {
    struct value_writer w = value_writer_init(NULL, 0);
    size_t need_bytes;

    put_ask(c, &w);
    need_bytes = w.need_bytes;
    if (room_for(s, need_bytes) == NULL)
        return EG_MEMORY;
    w = value_writer_init(s->out.at, need_bytes);
    put_ask(c, &w);
    return send_to(s, to, &w);
}

/* To the principal of the present view; it waits where there is none. */
static void dispatch(struct schema_sync *s, struct change *c) {
    list_remove(&c->node);
    if (s->view == NULL) {
        list_push_back(&s->parked, &c->node);
    } else if (s->view->principal == s->o.self) {
        list_push_back(&s->changes, &c->node);
        next_change(s);
    } else {
        c->number = ++s->numbers;
        if (send_ask(s, s->view->principal, c) == EG_OK)
            list_push_back(&s->asked, &c->node);
        else
            list_push_back(&s->parked, &c->node);
    }
}

void schema_sync_ask(struct schema_sync *s, const struct message *call) {
    struct catalog_request q;
    struct change *c;

    memcpy(&q, call->payload, sizeof q);
    q.name.at = call->payload + sizeof q;
    q.value.at = q.name.at + q.name.size_bytes;
    if (count_of(&s->changes) + count_of(&s->asked) + count_of(&s->parked) >=
        SCHEMA_SYNC_QUEUE_MAX) {
        reply(s, call->from, call->ref, EG_BUSY, "too many changes of the schema wait");
        return;
    }
    c = change_new(s, &q);
    if (c == NULL) {
        reply(s, call->from, call->ref, EG_MEMORY, "");
        return;
    }
    c->from = call->from;
    c->ref = call->ref;
    dispatch(s, c);
}

static bool is_askable(uint64_t op) {
    return op == CATALOG_CREATE || op == CATALOG_DROP || op == CATALOG_ADD_INDEX ||
           op == CATALOG_DROP_INDEX || op == CATALOG_ALTER;
}

static bool on_ask(struct schema_sync *s, uint64_t from, const struct value field[5]) {
    struct catalog_request q = {.value = field[4]};
    uint64_t number, op;
    struct change *c;

    if (!value_get_u64(field[1], &number) || !value_get_u64(field[2], &op) || !is_askable(op) ||
        value_kind_of(field[3]) != VALUE_STRING ||
        !value_get_bytes(field[3], &q.name.at, &q.name.size_bytes))
        return false;
    q.op = (enum catalog_op) op;
    if (value_kind_of(field[4]) == VALUE_NIL)
        q.value = (struct value){NULL, 0};
    if (s->view == NULL || s->view->principal != s->o.self ||
        count_of(&s->changes) >= SCHEMA_SYNC_QUEUE_MAX || (c = change_new(s, &q)) == NULL) {
        send_answer(s, from, number, EG_BUSY, "ask again: this node does not lead the view");
        return true;
    }
    c->peer = from;
    c->number = number;
    list_push_back(&s->changes, &c->node);
    next_change(s);
    return true;
}

static bool on_answer(struct schema_sync *s, const struct value field[4]) {
    const uint8_t *at;
    uint32_t size_bytes;
    uint64_t number;
    int64_t err;
    char text[TEXT_BYTES];

    if (!value_get_u64(field[1], &number) || !value_get_i64(field[2], &err) || err > 0 ||
        err < EG_CLOSED || value_kind_of(field[3]) != VALUE_STRING ||
        !value_get_bytes(field[3], &at, &size_bytes))
        return false;
    snprintf(text, sizeof text, "%.*s", (int) EG_MIN(size_bytes, TEXT_BYTES - 1u),
             (const char *) at);
    for (struct list_node *n = s->asked.next; n != &s->asked; n = n->next) {
        struct change *c = EG_CONTAINER_OF(n, struct change, node);
        if (c->number != number)
            continue;
        end_change(s, c, (eg_err) err, text);
        break;
    }
    return true;
}

/* ---- hearing
 * ------------------------------------------------------------------------------------- */

static bool on_apply(struct schema_sync *s, uint64_t from, const struct value field[3]) {
    struct applying *a;
    struct schema_entry *e;
    uint64_t number;
    eg_err err;

    if (!value_get_u64(field[1], &number) ||
        schema_entry_get(&e, s->o.alloc, field[2]) == EG_BAD_REQUEST)
        return false;
    a = alloc_zero(s->o.alloc, sizeof *a);
    if (a == NULL) {
        schema_entry_free(e);
        return true; /* it is said again */
    }
    *a = (struct applying){.to = from, .number = number, .left = 1};
    err = learn(s, e, a);
    end_applying(s, a, err);
    look_whole(s);
    return true;
}

/* It may come before this node hears of the view that it is about. */
static void note_list(struct schema_sync *s, uint64_t from, struct view_id view) {
    struct peer *p = peer_of(s, from);

    if (p == NULL && s->peer_count == NODES_MAX) /* many have come and gone: forget one */
        p = &s->peer[from % NODES_MAX];
    else if (p == NULL)
        p = &s->peer[s->peer_count++];
    *p = (struct peer){from, view};
}

static bool on_list(struct schema_sync *s, uint64_t from, const struct value field[5]) {
    struct view_id view;
    struct value_iter it;
    struct value v;
    bool want;

    if (!value_get_bool(field[1], &want) || !value_get_u64(field[2], &view.epoch) ||
        !value_get_u64(field[3], &view.hash) || value_kind_of(field[4]) != VALUE_ARRAY)
        return false;
    it = value_iter_of(field[4]);
    while (value_iter_next(&it, &v)) {
        struct schema_entry *e;
        eg_err err = schema_entry_get(&e, s->o.alloc, v);

        if (err == EG_BAD_REQUEST)
            return false;
        if (err == EG_OK)
            err = learn(s, e, NULL);
        if (err != EG_OK)
            s->again = true;
    }
    note_list(s, from, view);
    if (want && s->view != NULL)
        send_list(s, from, false);
    look_whole(s);
    return true;
}

static bool hear(struct schema_sync *s, uint64_t from, uint64_t kind, const struct value field[5],
                 uint32_t count) {
    uint64_t number;
    int64_t err;

    switch (kind) {
    case LIST:
        return count == 5 && on_list(s, from, field);
    case APPLY:
        return count == 3 && on_apply(s, from, field);
    case APPLIED:
        if (count != 3 || !value_get_u64(field[1], &number) || !value_get_i64(field[2], &err))
            return false;
        on_applied(s, from, number, (eg_err) err);
        return true;
    case ASK:
        return count == 5 && on_ask(s, from, field);
    case ANSWER:
        return count == 4 && on_answer(s, field);
    default:
        return false;
    }
}

void schema_sync_receive(struct schema_sync *s, uint64_t from, struct value payload) {
    struct value field[5];
    struct value_iter it;
    uint32_t count = 0;
    uint64_t kind;

    if (value_kind_of(payload) == VALUE_ARRAY && value_count(payload) <= EG_COUNTOF(field)) {
        it = value_iter_of(payload);
        while (value_iter_next(&it, &field[count]))
            count++;
    }
    if (count == 0 || !value_get_u64(field[0], &kind) || !hear(s, from, kind, field, count))
        s->malformed++;
}

/* ---- views and time
 * ------------------------------------------------------------------------------- */

static void redispatch(struct schema_sync *s) {
    struct list_node taken;

    list_init(&taken);
    while (!list_is_empty(&s->parked)) {
        struct list_node *n = s->parked.next;
        list_remove(n);
        list_push_back(&taken, n);
    }
    while (!list_is_empty(&taken))
        dispatch(s, EG_CONTAINER_OF(taken.next, struct change, node));
}

/* Whoever was asked and is not there any more may have done it. */
static void give_up_asked(struct schema_sync *s, uint64_t principal) {
    if (s->view != NULL && view_find(s->view, principal) != NULL)
        return;
    while (!list_is_empty(&s->asked))
        end_change(s, EG_CONTAINER_OF(s->asked.next, struct change, node), EG_IN_DOUBT,
                   "the node that leads the view was lost meanwhile");
}

void schema_sync_view(struct schema_sync *s, const struct view *v) {
    uint64_t principal = s->view == NULL ? 0 : s->view->principal;
    struct change *c = spreading(s);

    if (s->view != NULL)
        view_unref(s->view);
    view_ref(v);
    s->view = v;
    s->was_whole = false;
    if (c != NULL) /* who was to do it learns of it by the lists */
        c->until_whole = true;
    for (uint32_t i = 0; i < v->count; i++)
        if (v->member[i].id != s->o.self)
            send_list(s, v->member[i].id, true);
    give_up_asked(s, principal);
    redispatch(s);
    look_whole(s);
}

static void say_again(struct schema_sync *s) {
    struct change *c = spreading(s);
    const struct schema_entry *e;

    s->again = false;
    for (uint32_t i = 0; i < s->view->count; i++)
        if (s->view->member[i].id != s->o.self)
            send_list(s, s->view->member[i].id, true);
    if (c == NULL)
        return;
    e = schema_list_find(&s->list, (const char *) c->request.name.at, c->request.name.size_bytes);
    for (uint32_t i = 0; i < c->waiting_count && e != NULL; i++)
        send_apply(s, c->waiting[i], c->spread_number, e);
}

void schema_sync_tick(struct schema_sync *s) {
    uint64_t now_ns = env_now_ns(s->o.env);

    for (struct list_node *n = s->steps.next; n != &s->steps; n = n->next) {
        struct step *p = EG_CONTAINER_OF(n, struct step, node);
        if (p->unsent)
            send_step(s, p);
    }
    for (struct list_node *n = s->parked.next, *next; n != &s->parked; n = next) {
        struct change *c = EG_CONTAINER_OF(n, struct change, node);
        next = n->next;
        if (now_ns - c->since_ns > (uint64_t) PARK_MS * 1000000)
            end_change(s, c, EG_NO_REPLICA, "there is no view to change the schema in");
    }
    if (s->view == NULL)
        return;
    if (!schema_sync_is_whole(s) || spreading(s) != NULL)
        say_again(s);
    redispatch(s);
    look_whole(s);
}

/* ---- open, close
 * ------------------------------------------------------------------------------------ */

/* Tables that were made before there was a list. */
static eg_err list_table(struct schema_sync *s, const struct table *t) {
    const struct schema *schema = table_schema(t);
    struct schema_entry *e;
    eg_err err;

    if (schema_list_find(&s->list, schema->name.text, schema->name.size_bytes) != NULL)
        return EG_OK;
    e = schema_entry_new(s->o.alloc, schema->name.text, schema->name.size_bytes);
    if (e == NULL)
        return EG_MEMORY;
    e->live = true;
    e->id = schema->id;
    e->born = schema->version;
    err = schema_encode(schema, &e->schema);
    if (err == EG_OK)
        schema_list_put(&s->list, e);
    else
        schema_entry_free(e);
    return err;
}

static eg_err list_tables(struct schema_sync *s) {
    struct buffer names;
    struct value_iter it;
    struct value v;
    eg_err err;

    buffer_init(&names, s->o.alloc, PAYLOAD_BYTES_MAX);
    err = catalog_names(s->o.catalog, &names);
    if (err == EG_OK)
        it = value_iter_of((struct value){names.at, (uint32_t) names.size_bytes});
    while (err == EG_OK && value_iter_next(&it, &v)) {
        const uint8_t *at;
        uint32_t size_bytes;
        const struct table *t;

        EG_ASSERT(value_get_bytes(v, &at, &size_bytes)); /* the catalog's own */
        t = catalog_find(s->o.catalog, (const char *) at, size_bytes);
        if (t != NULL)
            err = list_table(s, t);
    }
    buffer_fini(&names);
    return err;
}

eg_err schema_sync_open(struct schema_sync **out, const struct schema_sync_opts *o,
                        struct err_note *note) {
    struct schema_sync *s = alloc_zero(o->alloc, sizeof *s);
    eg_err err;

    if (s == NULL)
        return EG_MEMORY;
    s->o = *o;
    schema_list_init(&s->list, o->alloc);
    list_init(&s->steps);
    list_init(&s->changes);
    list_init(&s->asked);
    list_init(&s->parked);
    buffer_init(&s->out, o->alloc, PAYLOAD_BYTES_MAX);
    err = recall(s, note);
    if (err == EG_OK)
        err = list_tables(s);
    if (err != EG_OK) {
        schema_sync_close(s);
        return err;
    }
    *out = s;
    return EG_OK;
}

static void drop_changes(struct schema_sync *s, struct list_node *list) {
    while (!list_is_empty(list)) {
        struct change *c = EG_CONTAINER_OF(list->next, struct change, node);
        list_remove(&c->node);
        buffer_fini(&c->bytes);
        alloc_put(s->o.alloc, c, sizeof *c);
    }
}

void schema_sync_close(struct schema_sync *s) {
    while (!list_is_empty(&s->steps)) {
        struct step *p = EG_CONTAINER_OF(s->steps.next, struct step, node);
        if (p->applying != NULL && --p->applying->left == 0)
            alloc_put(s->o.alloc, p->applying, sizeof *p->applying);
        free_step(s, p);
    }
    drop_changes(s, &s->changes);
    drop_changes(s, &s->asked);
    drop_changes(s, &s->parked);
    schema_list_fini(&s->list);
    if (s->view != NULL)
        view_unref(s->view);
    buffer_fini(&s->out);
    alloc_put(s->o.alloc, s, sizeof *s);
}
