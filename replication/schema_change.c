/* schema_change.c -- a change of the schema, from who asks to the principal and back.
 *
 *     QUEUED --its turn--> HERE (the catalog does it) --OK--> SPREAD (all say APPLIED) --> answered
 *                            '--refused--> answered      '--the view changes: when the new one is
 *                                                           whole, everybody has it --> answered
 *
 * Who asked the principal and was left out of the view meanwhile is told that it is made, and does
 * not know of it yet: its caller hears so when it is in the next view and whole. */
#include "replication/schema_sync_private.h"

#include "engine/env.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { MADE_MS = 10000 }; /* a view comes sooner: then it is true all the same */

void schema_change_end(struct schema_sync *s, struct schema_asked *c, eg_err err,
                       const char *text) {
    if (c->peer != 0)
        schema_say_answer(s, c->peer, c->number, err, text);
    else
        schema_say_reply(s, c->from, c->ref, err, text);
    list_remove(&c->node);
    buffer_fini(&c->bytes);
    alloc_put(s->o.alloc, c, sizeof *c);
}

/* Equal creations are one table wherever they are made.  Not where this node has that one already,
 * under another name: after a conflict whose other table it does not know any more. */
static uint64_t free_id(const struct schema_sync *s, uint64_t id) {
    while (schema_list_find_id(&s->list, id) != NULL)
        id = XXH3_64bits(&id, sizeof id);
    return id;
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
        schema->id = free_id(
            s, XXH3_64bits_withSeed(e->schema.at, e->schema.size_bytes,
                                    XXH3_64bits_withSeed(q->name.at, q->name.size_bytes, dropped)));
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

/* What will be known of the name when `q` is done. */
static eg_err foresee(struct schema_sync *s, const struct catalog_request *q,
                      const struct schema_entry *mine, struct schema_entry *e,
                      struct err_note *note) {
    uint64_t stamp = schema_list_stamp(&s->list, (uint64_t) env_wall_ms(s->o.env));
    eg_err err;

    if (q->op == CATALOG_CREATE) {
        e->live = true;
        e->maker = schema_self_name(s);
        e->born = stamp;
        e->dropped = mine == NULL ? 0 : mine->dropped;
        return complete(s, q, e->dropped, e, note);
    }
    e->asked = mine->asked;
    e->maker = mine->maker;
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
    if (schema_takes_away(q->op, q->value))
        stamp = schema_entry_stamp(mine) + 1;
    err = mine->change_count >= SCHEMA_SYNC_CHANGES_MAX ? EG_TOO_LARGE
                                                        : schema_entry_add_all(e, mine);
    if (err == EG_OK)
        err = schema_entry_add(e, stamp, q->op, q->value);
    return err == EG_TOO_LARGE ? err_note(note, err, "too many changes of one table") : err;
}

/* A table goes to the discs of those who have one; here it may be in memory. */
static bool is_for_other_discs(struct schema_sync *s, const struct catalog_request *q) {
    struct value what;

    return q->op == CATALOG_ALTER && value_kind_of(q->value) == VALUE_ARRAY &&
           array_element(q->value, 0, &what) && value_is_string(what, "change_storage") &&
           s->o.any_disc(s->o.user);
}

static eg_err begin(struct schema_sync *s, struct schema_asked *c, struct err_note *note) {
    const struct catalog_request *q = &c->request;
    const char *name = (const char *) q->name.at;
    struct schema_entry *mine = schema_list_find(&s->list, name, q->name.size_bytes), *e;
    struct schema_step *p = NULL;
    eg_err err;

    if (q->op == CATALOG_CREATE && mine != NULL && mine->live)
        return err_note(note, EG_EXISTS, "there is a table of that name");
    if (q->op != CATALOG_CREATE && (mine == NULL || !mine->live))
        return err_note(note, EG_NO_TABLE, "no such table");
    if (schema_takes_away(q->op, q->value) && !s->o.everybody(s->o.user, note))
        return EG_NO_REPLICA;
    if (q->name.size_bytes > SCHEMA_NAME_MAX)
        return err_note(note, EG_BAD_REQUEST, "a table's name is at most 255 bytes");
    e = schema_entry_new(s->o.alloc, name, q->name.size_bytes);
    if (e == NULL)
        return EG_MEMORY;
    err = foresee(s, q, mine, e, note);
    if (err == EG_OK) {
        bool create = q->op == CATALOG_CREATE;
        p = schema_step_add(s, &e->name, create ? CATALOG_ADOPT : q->op,
                            create ? (struct value){e->schema.at, (uint32_t) e->schema.size_bytes}
                                   : q->value);
        err = p == NULL ? EG_MEMORY : EG_OK;
    }
    if (err == EG_OK && e->live) /* as in schema_learn() */
        err = schema_intend(s, e);
    if (err != EG_OK) {
        schema_entry_free(e);
        if (p != NULL)
            schema_step_free(s, p);
        return err;
    }
    p->decided = is_for_other_discs(s, q);
    p->outcome = e;
    p->change = c;
    c->state = HERE;
    schema_step_send(s, p);
    return EG_OK;
}

/* One at a time; and none before all lists are in, which may know better. */
void schema_change_next(struct schema_sync *s) {
    while (!list_is_empty(&s->changes)) {
        struct schema_asked *c = EG_CONTAINER_OF(s->changes.next, struct schema_asked, node);
        struct err_note note = {""};
        eg_err err;

        if (c->state != QUEUED || !schema_sync_is_whole(s))
            return;
        err = begin(s, c, &note);
        if (err == EG_OK)
            return;
        schema_change_end(s, c, err, note.text);
    }
}

/* It is done here: let all others of the view do it. */
void schema_change_spread(struct schema_sync *s, struct schema_asked *c,
                          const struct schema_entry *e) {
    c->state = SPREAD;
    c->spread_number = ++s->numbers;
    c->until_whole = s->view == NULL || !s->was_whole;
    for (uint32_t i = 0; s->view != NULL && i < s->view->count; i++) {
        uint64_t id = s->view->member[i].id;
        if (id == s->o.self)
            continue;
        c->waiting[c->waiting_count++] = id;
        schema_say_apply(s, id, c->spread_number, e);
    }
    if (c->waiting_count == 0 && !c->until_whole)
        schema_change_end(s, c, EG_OK, "");
}

struct schema_asked *schema_change_spreading(struct schema_sync *s) {
    struct schema_asked *c = EG_CONTAINER_OF(s->changes.next, struct schema_asked, node);

    return list_is_empty(&s->changes) || c->state != SPREAD ? NULL : c;
}

void schema_change_applied(struct schema_sync *s, uint64_t from, uint64_t number, eg_err err) {
    struct schema_asked *c = schema_change_spreading(s);

    if (c == NULL || c->spread_number != number || err != EG_OK)
        return; /* late, or it has not done it yet: the tick says it again */
    for (uint32_t i = 0; i < c->waiting_count; i++)
        if (c->waiting[i] == from) {
            c->waiting[i] = c->waiting[--c->waiting_count];
            if (c->waiting_count == 0 && !c->until_whole)
                schema_change_end(s, c, EG_OK, "");
            break;
        }
    schema_look_whole(s);
}

/* ---- asking ----------------------------------------------------------------------------- */

struct schema_asked *schema_change_new(struct schema_sync *s, const struct catalog_request *q) {
    static const uint8_t no_name[1]; /* refused later on; to be copied until then */
    struct schema_asked *c = alloc_zero(s->o.alloc, sizeof *c);

    if (c == NULL)
        return NULL;
    buffer_init(&c->bytes, s->o.alloc, SCHEMA_PAYLOAD_BYTES_MAX);
    if (!buffer_append(&c->bytes, q->name.at, q->name.size_bytes) ||
        (q->value.size_bytes != 0 && !buffer_append(&c->bytes, q->value.at, q->value.size_bytes))) {
        buffer_fini(&c->bytes);
        alloc_put(s->o.alloc, c, sizeof *c);
        return NULL;
    }
    c->request = *q;
    c->request.name.at = q->name.size_bytes == 0 ? no_name : c->bytes.at;
    c->request.value.at = q->value.size_bytes == 0 ? NULL : c->bytes.at + q->name.size_bytes;
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
/* To the principal of the present view; it waits where there is none. */
void schema_change_dispatch(struct schema_sync *s, struct schema_asked *c) {
    list_remove(&c->node);
    if (s->view == NULL) {
        list_push_back(&s->parked, &c->node);
    } else if (s->view->principal == s->o.self) {
        list_push_back(&s->changes, &c->node);
        schema_change_next(s);
    } else {
        c->number = ++s->numbers;
        if (schema_say_ask(s, s->view->principal, c) == EG_OK)
            list_push_back(&s->asked, &c->node);
        else
            list_push_back(&s->parked, &c->node);
    }
}

void schema_sync_ask(struct schema_sync *s, const struct message *call) {
    struct catalog_request q;
    struct schema_asked *c;

    memcpy(&q, call->payload, sizeof q);
    q.name.at = call->payload + sizeof q;
    q.value.at = q.name.at + q.name.size_bytes;
    if (count_of(&s->changes) + count_of(&s->asked) + count_of(&s->parked) >=
        SCHEMA_SYNC_QUEUE_MAX) {
        schema_say_reply(s, call->from, call->ref, EG_BUSY, "too many changes of the schema wait");
        return;
    }
    c = schema_change_new(s, &q);
    if (c == NULL) {
        schema_say_reply(s, call->from, call->ref, EG_MEMORY, "");
        return;
    }
    c->from = call->from;
    c->ref = call->ref;
    schema_change_dispatch(s, c);
}

static bool is_askable(uint64_t op) {
    return op == CATALOG_CREATE || op == CATALOG_DROP || op == CATALOG_ADD_INDEX ||
           op == CATALOG_DROP_INDEX || op == CATALOG_ALTER;
}

bool schema_change_asked(struct schema_sync *s, uint64_t from, const struct value field[5]) {
    struct catalog_request q = {.value = field[4]};
    uint64_t number, op;
    struct schema_asked *c;

    if (!value_get_u64(field[1], &number) || !value_get_u64(field[2], &op) || !is_askable(op) ||
        value_kind_of(field[3]) != VALUE_STRING ||
        !value_get_bytes(field[3], &q.name.at, &q.name.size_bytes))
        return false;
    q.op = (enum catalog_op) op;
    if (value_kind_of(field[4]) == VALUE_NIL)
        q.value = (struct value){NULL, 0};
    if (s->view == NULL || s->view->principal != s->o.self ||
        count_of(&s->changes) >= SCHEMA_SYNC_QUEUE_MAX || (c = schema_change_new(s, &q)) == NULL) {
        schema_say_answer(s, from, number, EG_BUSY, "ask again: this node does not lead the view");
        return true;
    }
    c->peer = from;
    c->number = number;
    list_push_back(&s->changes, &c->node);
    schema_change_next(s);
    return true;
}

bool schema_change_answered(struct schema_sync *s, const struct value field[4]) {
    const uint8_t *at;
    uint32_t size_bytes;
    uint64_t number;
    int64_t err;
    char text[SCHEMA_TEXT_BYTES];

    if (!value_get_u64(field[1], &number) || !value_get_i64(field[2], &err) || err > 0 ||
        err < EG_CLOSED || value_kind_of(field[3]) != VALUE_STRING ||
        !value_get_bytes(field[3], &at, &size_bytes))
        return false;
    snprintf(text, sizeof text, "%.*s", (int) EG_MIN(size_bytes, SCHEMA_TEXT_BYTES - 1u),
             (const char *) at);
    for (struct list_node *n = s->asked.next; n != &s->asked; n = n->next) {
        struct schema_asked *c = EG_CONTAINER_OF(n, struct schema_asked, node);
        if (c->number != number)
            continue;
        if (err == EG_OK && !c->applied)
            c->made_ns = EG_MAX(env_now_ns(s->o.env), UINT64_C(1));
        else
            schema_change_end(s, c, (eg_err) err, text);
        break;
    }
    return true;
}

void schema_change_applied_here(struct schema_sync *s, const struct schema_name *name) {
    for (struct list_node *n = s->asked.next; n != &s->asked; n = n->next) {
        struct schema_asked *c = EG_CONTAINER_OF(n, struct schema_asked, node);

        c->applied |= c->request.name.size_bytes == name->size_bytes &&
                      memcmp(c->request.name.at, name->text, name->size_bytes) == 0;
    }
}

void schema_change_tell_made(struct schema_sync *s, bool whole) {
    uint64_t now_ns = env_now_ns(s->o.env);

    for (struct list_node *n = s->asked.next, *next; n != &s->asked; n = next) {
        struct schema_asked *c = EG_CONTAINER_OF(n, struct schema_asked, node);

        next = n->next;
        if (c->made_ns != 0 &&
            (whole || c->applied || now_ns - c->made_ns > (uint64_t) MADE_MS * 1000000))
            schema_change_end(s, c, EG_OK, "");
    }
}
