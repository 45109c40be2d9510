/* text_make_path.c -- where: what is asked of each table, and which way its records are found. */
#include "query/text_plan_private.h"

#include "tables/far.h"

#include <string.h>

/* ---- where ----------------------------------------------------------------------------- */

/* The parts of a conjunction, by which tables they speak of. */
struct parts {
    uint32_t count;
    const struct text_node **node;
    uint32_t *sources;
};

static uint32_t count_parts(const struct text_node *n) {
    return n->kind == TEXT_CALL && n->op == EXPR_SQL_AND
               ? count_parts(n->arg[0]) + count_parts(n->arg[1])
               : 1;
}

static eg_err collect_parts(struct text_maker *m, const struct text_node *n, struct parts *parts) {
    eg_err err;

    if (n->kind == TEXT_CALL && n->op == EXPR_SQL_AND) {
        err = collect_parts(m, n->arg[0], parts);
        return err == EG_OK ? collect_parts(m, n->arg[1], parts) : err;
    }
    parts->node[parts->count] = n;
    parts->sources[parts->count] = 0;
    err = text_bind_sources(&m->binder, n, &parts->sources[parts->count]);
    parts->count++;
    return err;
}

/* A conjunction of the parts that speak of `source` alone, or (2) of both or neither. */
static eg_err conjunction(struct text_maker *m, const struct parts *parts, uint32_t source,
                          struct expr **out) {
    struct expr **arg = text_make_get(m, parts->count * sizeof(struct expr *));
    struct expr *e;
    uint32_t count = 0;
    eg_err err = arg == NULL ? EG_MEMORY : EG_OK;

    *out = NULL;
    for (uint32_t i = 0; i < parts->count && err == EG_OK; i++) {
        uint32_t speaks_of = parts->sources[i] == 1 ? 0 : parts->sources[i] == 2 ? 1 : 2;
        if (speaks_of != source)
            continue;
        err = source == 2 ? text_bind(&m->binder, parts->node[i], &arg[count])
                          : text_bind_alone(&m->binder, parts->node[i], source, &arg[count]);
        count++;
    }
    if (err != EG_OK || count == 0)
        return err;
    if (count == 1) {
        *out = arg[0];
        return EG_OK;
    }
    e = text_make_get(m, sizeof *e);
    if (e == NULL)
        return EG_MEMORY;
    *e = (struct expr){.op = EXPR_SQL_AND, .count = (uint16_t) count, .arg = arg};
    *out = e;
    return EG_OK;
}

/* The filter of each table and, of a join, what is left for both. */
eg_err text_make_filters(struct text_maker *m, struct expr *filter[TEXT_TABLES_MAX + 1]) {
    const struct text_node *n = m->query->where;
    struct parts parts = {0};
    eg_err err;

    memset(filter, 0, (TEXT_TABLES_MAX + 1) * sizeof *filter);
    if (n == NULL)
        return EG_OK;
    err = text_print(n, &m->plan->filter_text);
    if (err != EG_OK)
        return err;
    if (m->plan->source_count == 1)
        return text_bind(&m->binder, n, &filter[0]);
    parts.node = text_make_get(m, count_parts(n) * sizeof *parts.node);
    parts.sources = text_make_get(m, count_parts(n) * sizeof *parts.sources);
    if (parts.node == NULL || parts.sources == NULL)
        return EG_MEMORY;
    err = collect_parts(m, n, &parts);
    for (uint32_t i = 0; i <= TEXT_TABLES_MAX && err == EG_OK; i++)
        err = conjunction(m, &parts, i, &filter[i]);
    return err;
}

/* What the path's index is called, for explain. */
static eg_err name_index(struct text_maker *m, const struct text_source *s,
                         const struct scan_path *path, const char **out) {
    char title[INDEX_TITLE_BYTES_MAX];
    const struct schema *schema = table_schema(s->table);
    const struct index_attributes of = {schema->attributes, schema->attribute_count};
    size_t bytes;
    char *copy;

    *out = NULL;
    for (uint32_t i = 0; scan_by_index(path) && i < schema->index_count; i++) {
        if (schema->index[i]->id != path->index)
            continue;
        bytes = index_spec_title(schema->index[i], of, title) + 1;
        copy = text_make_get(m, bytes);
        if (copy == NULL)
            return EG_MEMORY;
        *out = memcpy(copy, title, bytes);
    }
    return EG_OK;
}

eg_err text_make_paths(struct text_maker *m, struct expr *const *filter, bool reverse) {
    struct text_plan *p = m->plan;
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < p->source_count && err == EG_OK; i++) {
        struct text_source *s = &p->source[i];
        if (s->filter == NULL)
            err = text_make_program(m, &s->filter, filter[i], NULL, 0, s->arity);
        if (err != EG_OK)
            return err;
        s->filtered = filter[i] != NULL;
        scan_choose(&s->path, s->table, m->world->reader, s->filter, false);
        s->path.reverse =
            reverse && table_type(s->table) == TABLE_ORDERED_SET && !scan_by_index(&s->path);
        err = name_index(m, s, &s->path, &s->index);
    }
    return err;
}

/* ---- joins --------------------------------------------------------------------------------- */

static eg_err join_side(struct text_maker *m, const struct text_node *n, uint32_t *source) {
    struct text_place place;
    eg_err err = text_bind_name(&m->binder, n, &place);

    if (err != EG_OK)
        return err;
    if (place.path_count > 0)
        return text_make_fail(m, n->at, "a join is on attributes");
    *source = place.source;
    m->plan->source[place.source].on = place.position;
    return EG_OK;
}

eg_err text_make_join(struct text_maker *m) {
    struct text_plan *p = m->plan;
    struct scan_path lookup[TEXT_TABLES_MAX];
    bool found[TEXT_TABLES_MAX];
    uint32_t left = 0, right = 0;
    eg_err err = join_side(m, m->query->on[0], &left);

    if (err == EG_OK)
        err = join_side(m, m->query->on[1], &right);
    if (err == EG_OK && left == right)
        err = text_make_fail(m, m->query->on[0]->at, "a join's = has an attribute of each table");
    if (err != EG_OK)
        return err;
    for (uint32_t i = 0; i < TEXT_TABLES_MAX; i++) {
        const struct text_source *inner = &p->source[i];
        found[i] = scan_choose_lookup(&lookup[i], inner->table, m->world->reader, inner->filter,
                                      inner->on);
    }
    /* From the side with fewer records, where the other can be asked for one value. */
    if (found[0] && found[1])
        p->outer = p->source[0].path.rows <= p->source[1].path.rows ? 0 : 1;
    else if (found[0] || found[1])
        p->outer = found[1] ? 0 : 1;
    else /* the smaller is held in memory */
        p->outer = p->source[0].path.rows >= p->source[1].path.rows ? 0 : 1;
    p->lookup = lookup[1 - p->outer];
    if (!table_is_near(p->source[1 - p->outer].table, false))
        found[1 - p->outer] = false; /* one question for all of it, not one for each row */
    p->join = !found[1 - p->outer]         ? TEXT_JOIN_HASH
              : p->lookup.kind == SCAN_KEY ? TEXT_JOIN_KEY
                                           : TEXT_JOIN_INDEX;
    return name_index(m, &p->source[1 - p->outer], &p->lookup, &p->lookup_index);
}
