/* text_bind.c -- names looked up and arguments filled in. */
#include "query/text_bind.h"

#include <string.h>

enum { SHOWN_MAX = 64 }; /* of a name, in a note */

static eg_err fail(struct text_binder *b, uint32_t at, const char *why) {
    return text_note(&b->lexer, at, b->note, EG_BAD_REQUEST, "%s", why);
}

/* ---- names ------------------------------------------------------------------------ */

static struct text_name part_of(const struct text_node *n, uint32_t i) {
    struct text_name name = {NULL, 0, n->at};
    const uint8_t *at;

    EG_ASSERT(value_get_bytes(n->part[i], &at, &name.size_bytes)); /* the parser made it */
    name.at = (const char *) at;
    return name;
}

static bool same_name(struct text_name a, struct text_name b) {
    return a.size_bytes == b.size_bytes && memcmp(a.at, b.at, a.size_bytes) == 0;
}

static int attribute_of(const struct text_binder *b, uint32_t source, struct text_name name) {
    return schema_attribute(b->schema[source], name.at, name.size_bytes);
}

static eg_err no_attribute(struct text_binder *b, struct text_name name) {
    return text_note(&b->lexer, name.position, b->note, EG_BAD_REQUEST, "no attribute %.*s",
                     (int) EG_MIN(name.size_bytes, (uint32_t) SHOWN_MAX), name.at);
}

/* An attribute without its table's name. */
static eg_err find_bare(struct text_binder *b, const struct text_node *n, struct text_place *out) {
    struct text_name name = part_of(n, 0);
    int position = -1;

    for (uint32_t i = 0; i < b->query->table_count; i++) {
        int found = attribute_of(b, i, name);
        if (found >= 0 && position >= 0)
            return fail(b, n->at, "an attribute of both tables: say which");
        if (found >= 0) {
            position = found;
            out->source = i;
        }
    }
    if (position < 0)
        return no_attribute(b, name);
    out->position = (uint32_t) position;
    out->path = n->part + 1;
    out->path_count = n->count - 1;
    return EG_OK;
}

eg_err text_bind_name(struct text_binder *b, const struct text_node *n, struct text_place *out) {
    struct text_name first = part_of(n, 0);

    *out = (struct text_place){0};
    for (uint32_t i = 0; n->count > 1 && i < b->query->table_count; i++) {
        if (!same_name(first, b->query->table[i].alias))
            continue;
        int position = attribute_of(b, i, part_of(n, 1));
        if (position < 0)
            return no_attribute(b, part_of(n, 1));
        *out = (struct text_place){i, (uint32_t) position, n->part + 2, n->count - 2};
        return EG_OK;
    }
    return find_bare(b, n, out);
}

eg_err text_bind_sources(struct text_binder *b, const struct text_node *n, uint32_t *sources) {
    struct text_place place;
    eg_err err = EG_OK;

    if (n->kind == TEXT_NAME) {
        err = text_bind_name(b, n, &place);
        if (err == EG_OK)
            *sources |= 1u << place.source;
        return err;
    }
    for (uint32_t i = 0; i < n->count && err == EG_OK; i++)
        err = text_bind_sources(b, n->arg[i], sources);
    return err;
}

bool text_has_aggregate(const struct text_node *n) {
    if (n == NULL || n->kind == TEXT_NAME)
        return false;
    if (n->kind == TEXT_AGGREGATE)
        return true;
    for (uint32_t i = 0; i < n->count; i++)
        if (text_has_aggregate(n->arg[i]))
            return true;
    return false;
}

/* ---- expressions --------------------------------------------------------------------- */

/* What a name becomes: where its table's fields begin in the record asked. */
struct scope {
    struct text_binder *b;
    uint32_t base[TEXT_TABLES_MAX];
    bool groups;
};

static struct expr *new_expr(struct scope *s, enum expr_op op, uint32_t at) {
    struct expr *e = arena_get(s->b->arena, sizeof *e);

    if (e != NULL)
        *e = (struct expr){.op = op, .at = at};
    return e;
}

static eg_err bind(struct scope *s, struct text_node *n, struct expr **out);

static eg_err bind_field(struct scope *s, const struct text_node *n, struct expr **out) {
    struct text_place place;
    eg_err err = text_bind_name(s->b, n, &place);
    struct expr *e = err == EG_OK ? new_expr(s, EXPR_FIELD, n->at) : NULL;

    if (err != EG_OK)
        return err;
    if (e == NULL)
        return EG_MEMORY;
    e->position = (uint16_t) (s->base[place.source] + place.position);
    e->path = place.path;
    e->path_count = (uint16_t) place.path_count;
    *out = e;
    return EG_OK;
}

static eg_err bind_literal(struct scope *s, const struct text_node *n, struct value v,
                           struct expr **out) {
    struct expr *e = new_expr(s, EXPR_LITERAL, n->at);

    if (e == NULL)
        return EG_MEMORY;
    e->literal = v;
    *out = e;
    return EG_OK;
}

/* x in ?: the argument's elements are the list. */
static eg_err bind_spread(struct scope *s, const struct text_node *n, struct expr **out) {
    static const uint8_t no = 0xc2;
    struct value list = s->b->arguments[n->arg[1]->number];
    struct expr *e = new_expr(s, EXPR_SQL_IN, n->at);
    struct value_iter it;
    struct expr **arg;
    struct value v;
    uint32_t count;
    eg_err err;

    if (value_kind_of(list) != VALUE_ARRAY)
        return fail(s->b, n->arg[1]->at, "in ? takes an array");
    count = value_count(list);
    if (count >= TEXT_NODES_MAX)
        return text_note(&s->b->lexer, n->arg[1]->at, s->b->note, EG_TOO_LARGE,
                         "more values than a query may have");
    if (count == 0)
        return bind_literal(s, n, (struct value){&no, 1}, out);
    arg = arena_get(s->b->arena, (count + 1) * sizeof(struct expr *));
    if (arg == NULL || e == NULL)
        return EG_MEMORY;
    err = bind(s, n->arg[0], &arg[0]);
    it = value_iter_of(list);
    for (uint32_t i = 1; err == EG_OK && value_iter_next(&it, &v); i++)
        err = bind_literal(s, n->arg[1], v, &arg[i]);
    e->count = (uint16_t) (count + 1);
    e->arg = arg;
    *out = e;
    return err;
}

static eg_err bind_call(struct scope *s, const struct text_node *n, struct expr **out) {
    struct expr *e = new_expr(s, n->op, n->at);
    struct expr **arg = arena_get(s->b->arena, n->count * sizeof(struct expr *));
    eg_err err = EG_OK;

    if (e == NULL || arg == NULL)
        return EG_MEMORY;
    if (n->op == EXPR_SQL_IN && n->arg[1]->spread)
        return bind_spread(s, n, out);
    for (uint32_t i = 0; i < n->count && err == EG_OK; i++)
        err = bind(s, n->arg[i], &arg[i]);
    e->count = (uint16_t) n->count;
    e->arg = arg;
    *out = e;
    return err;
}

/* ---- behind the groups ------------------------------------------------------------------ */

static bool same_place(struct text_binder *b, const struct text_node *x,
                       const struct text_node *y) {
    struct err_note *note = b->note;
    struct text_place px, py;
    bool same;

    b->note = NULL; /* a name that is none is told of when it is bound */
    same = text_bind_name(b, x, &px) == EG_OK && text_bind_name(b, y, &py) == EG_OK &&
           px.source == py.source && px.position == py.position && px.path_count == py.path_count;
    for (uint32_t i = 0; same && i < px.path_count; i++)
        same = value_equal(px.path[i], py.path[i]);
    b->note = note;
    return same;
}

static bool same_node(struct text_binder *b, const struct text_node *x, const struct text_node *y) {
    if (x->kind != y->kind)
        return false;
    switch (x->kind) {
    case TEXT_LITERAL:
        return x->literal.size_bytes == y->literal.size_bytes &&
               memcmp(x->literal.at, y->literal.at, x->literal.size_bytes) == 0;
    case TEXT_ARGUMENT:
        return x->number == y->number;
    case TEXT_NAME:
        return same_place(b, x, y);
    case TEXT_CALL:
        if (x->op != y->op)
            return false;
        break;
    case TEXT_AGGREGATE:
        if (x->aggregate != y->aggregate)
            return false;
        break;
    }
    if (x->count != y->count)
        return false;
    for (uint32_t i = 0; i < x->count; i++)
        if (!same_node(b, x->arg[i], y->arg[i]))
            return false;
    return true;
}

static eg_err bind_position(struct scope *s, const struct text_node *n, uint32_t position,
                            struct expr **out) {
    struct expr *e = new_expr(s, EXPR_FIELD, n->at);

    if (e == NULL)
        return EG_MEMORY;
    e->position = (uint16_t) position;
    *out = e;
    return EG_OK;
}

static eg_err bind_aggregate(struct scope *s, struct text_node *n, struct expr **out) {
    struct text_binder *b = s->b;
    uint32_t i = 0;

    if (!s->groups)
        return fail(b, n->at, "an aggregate cannot stand here");
    if (n->count > 0 && text_has_aggregate(n->arg[0]))
        return fail(b, n->at, "an aggregate inside an aggregate");
    while (i < b->aggregate_count && !same_node(b, n, b->aggregates[i]))
        i++;
    if (i == TEXT_AGGREGATES_MAX)
        return text_note(&b->lexer, n->at, b->note, EG_TOO_LARGE, "more than %u aggregates",
                         (unsigned) TEXT_AGGREGATES_MAX);
    if (i == b->aggregate_count)
        b->aggregates[b->aggregate_count++] = n;
    return bind_position(s, n, b->query->group_count + i, out);
}

/* What was grouped by is a field of the group; true: `n` is. */
static bool is_grouped(struct scope *s, const struct text_node *n, uint32_t *position) {
    for (uint32_t i = 0; s->groups && n->kind != TEXT_LITERAL && i < s->b->query->group_count; i++)
        if (same_node(s->b, n, s->b->query->group[i])) {
            *position = i;
            return true;
        }
    return false;
}

static eg_err bind(struct scope *s, struct text_node *n, struct expr **out) {
    uint32_t position;
    struct text_place place;
    eg_err err;

    if (is_grouped(s, n, &position))
        return bind_position(s, n, position, out);
    switch (n->kind) {
    case TEXT_LITERAL:
        return bind_literal(s, n, n->literal, out);
    case TEXT_ARGUMENT:
        return bind_literal(s, n, s->b->arguments[n->number], out);
    case TEXT_CALL:
        return bind_call(s, n, out);
    case TEXT_AGGREGATE:
        return bind_aggregate(s, n, out);
    case TEXT_NAME:
        break;
    }
    if (!s->groups)
        return bind_field(s, n, out);
    err = text_bind_name(s->b, n, &place);
    return err != EG_OK ? err : fail(s->b, n->at, "neither grouped by nor inside an aggregate");
}

eg_err text_bind(struct text_binder *b, const struct text_node *n, struct expr **out) {
    struct scope s = {.b = b,
                      .base = {0, b->schema[0] == NULL ? 0 : b->schema[0]->attribute_count}};

    return bind(&s, (struct text_node *) n, out);
}

eg_err text_bind_alone(struct text_binder *b, const struct text_node *n, uint32_t only,
                       struct expr **out) {
    struct scope s = {.b = b};

    (void) only; /* its fields begin at 0, and the caller knows that there are no others */
    return bind(&s, (struct text_node *) n, out);
}

eg_err text_bind_group(struct text_binder *b, struct text_node *n, struct expr **out) {
    struct scope s = {.b = b, .groups = true};

    return bind(&s, n, out);
}
