/* schema_sync.c -- a list of tables that all nodes do the same to.
 *
 * Everything comes down to one question: here is an entry, what must this node's catalog do to
 * agree with it (schema_learn.c)?  It is asked of what the principal has just decided (APPLY), and
 * of what others know (LIST).  What the catalog must do are steps; the last step of an entry puts
 * it into the list.
 *
 *     payloads  [LIST, want, epoch, hash, [entry, ...]]   all that I know, in that view; `want`:
 *                                                    say yours too
 *               [APPLY, number, entry]  [APPLIED, number, outcome]
 *               [ASK, number, op, name, value]  [ANSWER, number, outcome, text]
 *               [SUM, want, epoch, hash, sum]   as LIST, of all that I know: who knows the same
 *                                               knows all of it, and says its sum */
#include "replication/schema_sync_private.h"

#include "engine/env.h"
#include "engine/planted.h"

#include <stdio.h>
#include <string.h>

enum { PARK_MS = 5000 };

/* ---- whole -------------------------------------------------------------------------------- */

static struct schema_peer *peer_of(struct schema_sync *s, uint64_t id) {
    for (uint32_t i = 0; i < s->peer_count; i++)
        if (s->peer[i].id == id)
            return &s->peer[i];
    return NULL;
}

static bool has_listed(const struct schema_sync *s, uint64_t id) {
    const struct schema_peer *p = peer_of((struct schema_sync *) s, id);

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

void schema_look_whole(struct schema_sync *s) {
    bool whole = schema_sync_is_whole(s);

    if (whole && !s->was_whole) {
        s->was_whole = true;
        for (struct list_node *n = s->changes.next, *next; n != &s->changes; n = next) {
            struct schema_asked *c = EG_CONTAINER_OF(n, struct schema_asked, node);
            next = n->next;
            if (c->state != SPREAD)
                continue;
            c->until_whole = false;
            if (c->waiting_count == 0)
                schema_change_end(s, c, EG_OK, "");
        }
        schema_change_tell_made(s, true);
        s->o.whole(s->o.user);
    }
    schema_change_next(s);
}

/* ---- what the catalog says ------------------------------------------------------------------- */

static bool is_done(const struct schema_step *p, eg_err err) {
    if (err == EG_OK)
        return true;
    if (p->change != NULL)
        return false; /* somebody asked for it and hears why not */
    return (err == EG_EXISTS && p->op != CATALOG_ADOPT && p->op != CATALOG_ARRANGE) ||
           (err == EG_NOT_FOUND && p->op == CATALOG_DROP_INDEX) ||
           (err == EG_NO_TABLE && p->op == CATALOG_DROP);
}

static void end_applying(struct schema_sync *s, struct schema_applying *a, eg_err err) {
    if (err != EG_OK)
        a->err = err;
    if (--a->left > 0)
        return;
    if (a->err == EG_OK)
        schema_change_applied_here(s, &a->name);
    schema_say_applied(s, a->to, a->number, a->err);
    alloc_put(s->o.alloc, a, sizeof *a);
}

/* The next step of the group; the rest is given up where one could not be done. */
static void go_on(struct schema_sync *s, uint64_t group, eg_err err) {
    for (struct list_node *n = s->steps.next, *next; group != 0 && n != &s->steps; n = next) {
        struct schema_step *p = EG_CONTAINER_OF(n, struct schema_step, node);

        next = n->next;
        if (p->group != group)
            continue;
        if (err == EG_OK)
            err = schema_step_begin(s, p);
        if (err == EG_OK)
            return;
        s->again = true;
        if (p->applying != NULL)
            end_applying(s, p->applying, err);
        schema_step_free(s, p);
    }
}

static void end_step(struct schema_sync *s, struct schema_step *p, eg_err err, const char *text) {
    struct schema_entry *outcome = p->outcome;
    struct schema_applying *applying = p->applying;
    struct schema_asked *change = p->change;
    struct schema_name name = p->name;
    bool lost = p->lost && err == EG_OK;
    uint64_t group = p->group;

    p->outcome = NULL;
    schema_step_free(s, p);
    if (err != EG_OK && change == NULL) {
        s->again = true;
        env_log(s->o.env, ENV_LOG_WARN, "schema", "%s: %s: %s", name.text, eg_err_text(err), text);
    }
    if (lost)
        s->o.event(s->o.user, "schema_conflict", name.text,
                   "an attribute was added on both sides: it has the default of the first");
    if (outcome != NULL && err == EG_OK)
        schema_know(s, outcome);
    else if (outcome != NULL)
        schema_entry_free(outcome);
    if (change != NULL && err == EG_OK)
        schema_change_spread(s, change, schema_list_find(&s->list, name.text, name.size_bytes));
    else if (change != NULL)
        schema_change_end(s, change, err, text);
    go_on(s, group, err);
    if (applying != NULL)
        end_applying(s, applying, err);
}

void schema_sync_reply(struct schema_sync *s, const struct message *m) {
    for (struct list_node *n = s->steps.next; n != &s->steps; n = n->next) {
        struct schema_step *p = EG_CONTAINER_OF(n, struct schema_step, node);
        char text[SCHEMA_TEXT_BYTES];
        eg_err err = (eg_err) m->tag;

        if (p->number != m->ref)
            continue;
        if (err == EG_NOPROC || (err == EG_BUSY && p->change == NULL)) {
            p->unsent = true; /* the catalog is being restarted: the tick tries again */
            return;
        }
        snprintf(text, sizeof text, "%.*s",
                 err == EG_OK ? 0 : (int) EG_MIN(m->size_bytes, SCHEMA_TEXT_BYTES - 1u),
                 (const char *) m->payload);
        end_step(s, p, is_done(p, err) ? EG_OK : err, text);
        schema_look_whole(s);
        return;
    }
}

/* ---- hearing ------------------------------------------------------------------------------- */

static bool on_apply(struct schema_sync *s, uint64_t from, const struct value field[3]) {
    struct schema_applying *a;
    struct schema_entry *e;
    uint64_t number;
    eg_err err;

    if (!value_get_u64(field[1], &number))
        return false;
    err = schema_entry_get(&e, s->o.alloc, field[2]);
    if (err != EG_OK)
        return err != EG_BAD_REQUEST; /* no memory: it is said again */
    a = alloc_zero(s->o.alloc, sizeof *a);
    if (a == NULL) {
        schema_entry_free(e);
        return true; /* it is said again */
    }
    *a = (struct schema_applying){.to = from, .number = number, .left = 1, .name = e->name};
    err = schema_learn(s, e, a);
    end_applying(s, a, err);
    schema_look_whole(s);
    return true;
}

/* It may come before this node hears of the view that it is about. */
static void note_list(struct schema_sync *s, uint64_t from, struct view_id view) {
    struct schema_peer *p = peer_of(s, from);

    if (p == NULL && s->peer_count == NODES_MAX) /* many have come and gone: forget one */
        p = &s->peer[from % NODES_MAX];
    else if (p == NULL)
        p = &s->peer[s->peer_count++];
    *p = (struct schema_peer){from, view};
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
        if (err == EG_OK && PLANTED(LIST_NOT_LEARNT))
            schema_entry_free(e);
        else if (err == EG_OK)
            err = schema_learn(s, e, NULL);
        if (err != EG_OK)
            s->again = true;
    }
    note_list(s, from, view);
    if (want)
        schema_say_list(s, from, false);
    schema_look_whole(s);
    return true;
}

/* What it knows now it knows later, too: it may hear of that view when it has learnt more. */
static bool on_sum(struct schema_sync *s, uint64_t from, const struct value field[5]) {
    struct view_id view;
    uint64_t theirs, ours;
    bool want;

    if (!value_get_bool(field[1], &want) || !value_get_u64(field[2], &view.epoch) ||
        !value_get_u64(field[3], &view.hash) || !value_get_u64(field[4], &theirs))
        return false;
    if (schema_list_sum(&s->list, s->o.secret, &ours) == EG_OK && ours == theirs) {
        note_list(s, from, view);
        if (want && s->view != NULL)
            schema_say_sum(s, from, false);
        schema_look_whole(s);
    } else if (s->view != NULL) { /* else it hears ours when we have one */
        schema_say_list(s, from, true);
    }
    return true;
}

/* One that is in no view with us may speak of tables that others serve now, of which nobody here
 * could know: here they would look as if they had just been made. */
static bool is_heard(const struct schema_sync *s, uint64_t from) {
    return s->view != NULL && view_find(s->view, from) != NULL;
}

static bool hear(struct schema_sync *s, uint64_t from, uint64_t kind, const struct value field[5],
                 uint32_t count) {
    uint64_t number;
    int64_t err;

    switch (kind) {
    case LIST:
        return count == 5 && (!is_heard(s, from) || on_list(s, from, field));
    case APPLY:
        return count == 3 && (!is_heard(s, from) || on_apply(s, from, field));
    case APPLIED:
        if (count != 3 || !value_get_u64(field[1], &number) || !value_get_i64(field[2], &err))
            return false;
        schema_change_applied(s, from, number, (eg_err) err);
        return true;
    case ASK:
        return count == 5 && schema_change_asked(s, from, field);
    case ANSWER:
        return count == 4 && schema_change_answered(s, field);
    case SUM:
        return count == 5 && on_sum(s, from, field);
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

/* ---- views and time ------------------------------------------------------------------------ */

static void redispatch(struct schema_sync *s) {
    struct list_node taken;

    list_init(&taken);
    while (!list_is_empty(&s->parked)) {
        struct list_node *n = s->parked.next;
        list_remove(n);
        list_push_back(&taken, n);
    }
    while (!list_is_empty(&taken))
        schema_change_dispatch(s, EG_CONTAINER_OF(taken.next, struct schema_asked, node));
}

/* Whoever was asked and is not there any more may have done it. */
static void give_up_asked(struct schema_sync *s, uint64_t principal) {
    if (s->view != NULL && view_find(s->view, principal) != NULL)
        return;
    while (!list_is_empty(&s->asked))
        schema_change_end(s, EG_CONTAINER_OF(s->asked.next, struct schema_asked, node), EG_IN_DOUBT,
                          "the node that leads the view was lost meanwhile");
}

/* What is being spread is for all members of this view: they say when they have done it. */
static void spread_in(struct schema_sync *s, struct schema_asked *c, const struct view *v) {
    const struct schema_entry *e =
        schema_list_find(&s->list, (const char *) c->request.name.at, c->request.name.size_bytes);

    c->until_whole = true;
    c->waiting_count = 0;
    for (uint32_t i = 0; i < v->count; i++) {
        if (v->member[i].id == s->o.self)
            continue;
        c->waiting[c->waiting_count++] = v->member[i].id;
        if (e != NULL) /* else the tick says it */
            schema_say_apply(s, v->member[i].id, c->spread_number, e);
    }
}

void schema_sync_view(struct schema_sync *s, const struct view *v) {
    uint64_t principal = s->view == NULL ? 0 : s->view->principal;
    struct schema_asked *c = schema_change_spreading(s);

    if (s->view != NULL)
        view_unref(s->view);
    view_ref(v);
    s->view = v;
    s->was_whole = false;
    if (c != NULL)
        spread_in(s, c, v);
    for (uint32_t i = 0; i < v->count; i++)
        if (v->member[i].id != s->o.self)
            schema_say_sum(s, v->member[i].id, !has_listed(s, v->member[i].id));
    give_up_asked(s, principal);
    redispatch(s);
    schema_look_whole(s);
}

static void say_again(struct schema_sync *s) {
    struct schema_asked *c = schema_change_spreading(s);
    const struct schema_entry *e;

    s->again = false;
    for (uint32_t i = 0; i < s->view->count; i++)
        if (s->view->member[i].id != s->o.self)
            schema_say_list(s, s->view->member[i].id, true);
    if (c == NULL)
        return;
    e = schema_list_find(&s->list, (const char *) c->request.name.at, c->request.name.size_bytes);
    for (uint32_t i = 0; i < c->waiting_count && e != NULL; i++)
        schema_say_apply(s, c->waiting[i], c->spread_number, e);
}

void schema_sync_tick(struct schema_sync *s) {
    uint64_t now_ns = env_now_ns(s->o.env);

    for (struct list_node *n = s->steps.next; n != &s->steps; n = n->next) {
        struct schema_step *p = EG_CONTAINER_OF(n, struct schema_step, node);
        if (p->unsent)
            schema_step_send(s, p);
    }
    for (struct list_node *n = s->parked.next, *next; n != &s->parked; n = next) {
        struct schema_asked *c = EG_CONTAINER_OF(n, struct schema_asked, node);
        next = n->next;
        if (now_ns - c->since_ns > (uint64_t) PARK_MS * 1000000)
            schema_change_end(s, c, EG_NO_REPLICA, "there is no view to change the schema in");
    }
    schema_change_tell_made(s, false);
    if (s->view == NULL)
        return;
    if (!schema_sync_is_whole(s) || schema_change_spreading(s) != NULL)
        say_again(s);
    redispatch(s);
    schema_look_whole(s);
}

/* ---- open, close --------------------------------------------------------------------------- */

struct schema_name schema_self_name(const struct schema_sync *s) {
    struct schema_name name = {0};

    name.size_bytes = (uint8_t) EG_MIN(strlen(s->o.self_name), (size_t) SCHEMA_NAME_MAX);
    memcpy(name.text, s->o.self_name, name.size_bytes);
    return name;
}

static eg_err list_table(struct schema_sync *s, const struct table *t) {
    const struct schema *schema = table_schema(t);
    struct schema_entry *e;
    eg_err err;

    if (schema_list_find_id(&s->list, schema->id) != NULL)
        return EG_OK;
    e = schema_entry_new(s->o.alloc, schema->name.text, schema->name.size_bytes);
    if (e == NULL)
        return EG_MEMORY;
    e->live = true;
    e->maker = schema_self_name(s);
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

    buffer_init(&names, s->o.alloc, SCHEMA_PAYLOAD_BYTES_MAX);
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
    buffer_init(&s->out, o->alloc, SCHEMA_PAYLOAD_BYTES_MAX);
    err = schema_recall(s, note);
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
        struct schema_asked *c = EG_CONTAINER_OF(list->next, struct schema_asked, node);
        list_remove(&c->node);
        buffer_fini(&c->bytes);
        alloc_put(s->o.alloc, c, sizeof *c);
    }
}

void schema_sync_close(struct schema_sync *s) {
    while (!list_is_empty(&s->steps)) {
        struct schema_step *p = EG_CONTAINER_OF(s->steps.next, struct schema_step, node);
        if (p->applying != NULL && --p->applying->left == 0)
            alloc_put(s->o.alloc, p->applying, sizeof *p->applying);
        schema_step_free(s, p);
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
