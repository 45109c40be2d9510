/* text_plan.c -- names looked up, programs made, paths chosen. */
#include "query/text_plan.h"

#include "query/text_bind.h"

#include <string.h>

enum { NAMES_BYTES_MAX = 4 << 20, JOINED_ARITY_MAX = 2 * SCHEMA_ATTRIBUTES_MAX };

/* What a plan is made with. */
struct maker {
    struct text_plan *plan;
    struct text_query *query;
    struct text_binder binder;
    const struct text_world *world;
    struct err_note *note;
};

static eg_err fail(struct maker *m, uint32_t at, const char *why) {
    return text_note(&m->binder.lexer, at, m->note, EG_BAD_REQUEST, "%s", why);
}

static void *get(struct maker *m, size_t size_bytes) {
    return arena_get(m->plan->arena, EG_MAX(size_bytes, (size_t) 1));
}

/* ---- what was passed ----------------------------------------------------------------- */

static eg_err take_arguments(struct maker *m, struct value arguments) {
    uint32_t count = 0;
    struct value_iter it;

    if (arguments.size_bytes != 0 && value_kind_of(arguments) != VALUE_ARRAY)
        return err_note(m->note, EG_BAD_REQUEST, "the arguments are an array");
    if (arguments.size_bytes != 0)
        count = value_count(arguments);
    if (count != m->query->argument_count)
        return err_note(m->note, EG_BAD_REQUEST, "the query takes %u arguments, not %u",
                        m->query->argument_count, count);
    m->binder.arguments = get(m, count * sizeof(struct value));
    if (m->binder.arguments == NULL)
        return EG_MEMORY;
    if (count == 0)
        return EG_OK;
    it = value_iter_of(arguments);
    for (uint32_t i = 0; i < count; i++)
        EG_ASSERT(value_iter_next(&it, &m->binder.arguments[i]));
    return EG_OK;
}

static eg_err find_tables(struct maker *m) {
    struct text_plan *p = m->plan;

    for (uint32_t i = 0; i < m->query->table_count; i++) {
        struct text_name name = m->query->table[i].name;
        struct table *t = catalog_find(m->world->catalog, name.at, name.size_bytes);

        if (t == NULL)
            return text_note(&m->binder.lexer, name.position, m->note, EG_NO_TABLE, "no table %.*s",
                             (int) EG_MIN(name.size_bytes, 64u), name.at);
        m->binder.schema[i] = table_schema(t);
        p->source[p->source_count++] = (struct text_source){
            .name = m->binder.schema[i]->name,
            .id = m->binder.schema[i]->id,
            .table = t,
            .arity = m->binder.schema[i]->attribute_count,
            .shape = table_shape(t),
        };
    }
    if (p->source_count == 2 &&
        m->query->table[0].alias.size_bytes == m->query->table[1].alias.size_bytes &&
        memcmp(m->query->table[0].alias.at, m->query->table[1].alias.at,
               m->query->table[0].alias.size_bytes) == 0)
        return fail(m, m->query->table[1].alias.position, "both tables have this name");
    return EG_OK;
}

static eg_err count_of(struct maker *m, const struct text_node *n, uint64_t absent, uint64_t *out) {
    struct value v;

    *out = absent;
    if (n == NULL)
        return EG_OK;
    v = n->kind == TEXT_ARGUMENT ? m->binder.arguments[n->number] : n->literal;
    if ((n->kind != TEXT_ARGUMENT && n->kind != TEXT_LITERAL) || !value_is_integer(v) ||
        !value_get_u64(v, out))
        return fail(m, n->at, "limit and offset are integers from 0 on");
    return EG_OK;
}

static eg_err open_program(struct maker *m, struct predicate **out, const struct expr *filter,
                           struct expr *const *columns, uint32_t count, uint32_t arity) {
    return predicate_open_exprs(out, m->plan->alloc, filter, (const struct expr *const *) columns,
                                count, arity, m->note);
}

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

static eg_err collect_parts(struct maker *m, const struct text_node *n, struct parts *parts) {
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
static eg_err conjunction(struct maker *m, const struct parts *parts, uint32_t source,
                          struct expr **out) {
    struct expr **arg = get(m, parts->count * sizeof(struct expr *));
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
    e = get(m, sizeof *e);
    if (e == NULL)
        return EG_MEMORY;
    *e = (struct expr){.op = EXPR_SQL_AND, .count = (uint16_t) count, .arg = arg};
    *out = e;
    return EG_OK;
}

/* The filter of each table and, of a join, what is left for both. */
static eg_err where(struct maker *m, struct expr *filter[TEXT_TABLES_MAX + 1]) {
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
    parts.node = get(m, count_parts(n) * sizeof *parts.node);
    parts.sources = get(m, count_parts(n) * sizeof *parts.sources);
    if (parts.node == NULL || parts.sources == NULL)
        return EG_MEMORY;
    err = collect_parts(m, n, &parts);
    for (uint32_t i = 0; i <= TEXT_TABLES_MAX && err == EG_OK; i++)
        err = conjunction(m, &parts, i, &filter[i]);
    return err;
}

/* A program for each table alone, and the way to its records. */
static eg_err choose_paths(struct maker *m, struct expr *const *filter, bool reverse) {
    struct text_plan *p = m->plan;
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < p->source_count && err == EG_OK; i++) {
        struct text_source *s = &p->source[i];
        if (s->filter == NULL)
            err = open_program(m, &s->filter, filter[i], NULL, 0, s->arity);
        if (err != EG_OK)
            return err;
        s->filtered = filter[i] != NULL;
        scan_choose(&s->path, s->table, m->world->reader, s->filter,
                    reverse && table_type(s->table) == TABLE_ORDERED_SET);
    }
    return err;
}

/* ---- joins --------------------------------------------------------------------------------- */

static eg_err join_side(struct maker *m, const struct text_node *n, uint32_t *source) {
    struct text_place place;
    eg_err err = text_bind_name(&m->binder, n, &place);

    if (err != EG_OK)
        return err;
    if (place.path_count > 0)
        return fail(m, n->at, "a join is on attributes");
    *source = place.source;
    m->plan->source[place.source].on = place.position;
    return EG_OK;
}

/* How records of source `inner` with one value of its attribute are found: asked as a
 * query for one value would be. */
static eg_err find_lookup(struct maker *m, uint32_t inner, struct scan_path *out) {
    static const uint8_t one = 1;
    struct text_source *s = &m->plan->source[inner];
    struct expr field = {.op = EXPR_FIELD, .position = (uint16_t) s->on};
    struct expr value = {.op = EXPR_LITERAL, .literal = {&one, 1}};
    struct expr *arg[] = {&field, &value};
    struct expr equal = {.op = EXPR_SQL_EQ, .count = 2, .arg = arg};
    struct predicate *p;
    eg_err err = open_program(m, &p, &equal, NULL, 0, s->arity);

    if (err != EG_OK)
        return err;
    scan_choose(out, s->table, m->world->reader, p, false);
    if (out->kind != SCAN_KEY && (out->kind != SCAN_INDEX || out->equal_count != 1))
        out->kind = SCAN_ALL;
    out->range = (struct range){0}; /* the program goes, and each look-up has its own value */
    out->equal[0] = (struct value){0};
    predicate_close(p);
    return EG_OK;
}

static eg_err choose_join(struct maker *m) {
    struct text_plan *p = m->plan;
    struct scan_path lookup[TEXT_TABLES_MAX];
    uint32_t left = 0, right = 0;
    eg_err err = join_side(m, m->query->on[0], &left);

    if (err == EG_OK)
        err = join_side(m, m->query->on[1], &right);
    if (err == EG_OK && left == right)
        err = fail(m, m->query->on[0]->at, "a join's = has an attribute of each table");
    for (uint32_t i = 0; i < TEXT_TABLES_MAX && err == EG_OK; i++)
        err = find_lookup(m, i, &lookup[i]);
    if (err != EG_OK)
        return err;
    /* From the side with fewer records, where the other can be asked for one value. */
    if (lookup[0].kind != SCAN_ALL && lookup[1].kind != SCAN_ALL)
        p->outer = p->source[0].path.rows <= p->source[1].path.rows ? 0 : 1;
    else if (lookup[0].kind != SCAN_ALL || lookup[1].kind != SCAN_ALL)
        p->outer = lookup[1].kind != SCAN_ALL ? 0 : 1;
    else /* the smaller is held in memory */
        p->outer = p->source[0].path.rows >= p->source[1].path.rows ? 0 : 1;
    p->lookup = lookup[1 - p->outer];
    p->join = p->lookup.kind == SCAN_KEY     ? TEXT_JOIN_KEY
              : p->lookup.kind == SCAN_INDEX ? TEXT_JOIN_INDEX
                                             : TEXT_JOIN_HASH;
    return EG_OK;
}

/* ---- columns ----------------------------------------------------------------------------------
 */

static uint32_t row_arity(const struct text_plan *p) {
    return p->source[0].arity + (p->source_count == 2 ? p->source[1].arity : 0);
}

/* What `order by` or `group by` says by an item's name. */
static struct text_node *by_alias(const struct text_query *q, struct text_node *n) {
    const uint8_t *at;
    uint32_t size_bytes;

    if (n->kind != TEXT_NAME || n->count != 1 || !value_get_bytes(n->part[0], &at, &size_bytes))
        return n;
    for (uint32_t i = 0; i < q->item_count; i++)
        if (q->items[i].alias.size_bytes == size_bytes &&
            memcmp(q->items[i].alias.at, at, size_bytes) == 0)
            return q->items[i].node;
    return n;
}

static eg_err name_orders(struct maker *m) {
    struct text_query *q = m->query;

    for (uint32_t i = 0; i < q->order_count; i++) {
        struct text_node *n = q->order[i].node;
        uint64_t number;

        if (n->kind == TEXT_LITERAL && value_is_integer(n->literal)) {
            if (!value_get_u64(n->literal, &number) || number == 0 || number > q->item_count)
                return fail(m, n->at, "order by counts the columns that select names, from 1 on");
            n = q->items[number - 1].node;
        }
        q->order[i].node = by_alias(q, n);
    }
    return EG_OK;
}

static eg_err name_groups(struct maker *m) {
    struct text_query *q = m->query;
    struct text_binder quiet = m->binder;

    quiet.note = NULL;
    for (uint32_t i = 0; i < q->group_count; i++) {
        struct text_place place;
        struct text_node *n = q->group[i];
        if (n->kind == TEXT_NAME && text_bind_name(&quiet, n, &place) != EG_OK)
            q->group[i] = by_alias(q, n); /* attributes come first, names of items next */
        if (text_has_aggregate(q->group[i]))
            return fail(m, n->at, "an aggregate cannot stand here");
    }
    return EG_OK;
}

static eg_err check_bounds(struct maker *m) {
    const struct text_query *q = m->query;

    if (q->item_count > TEXT_ITEMS_MAX)
        return err_note(m->note, EG_TOO_LARGE, "more than %u columns", (unsigned) TEXT_ITEMS_MAX);
    if (q->group_count > TEXT_GROUPS_MAX)
        return err_note(m->note, EG_TOO_LARGE, "group by more than %u values",
                        (unsigned) TEXT_GROUPS_MAX);
    if (q->order_count > TEXT_ORDERS_MAX)
        return err_note(m->note, EG_TOO_LARGE, "order by more than %u values",
                        (unsigned) TEXT_ORDERS_MAX);
    return EG_OK;
}

/* Sort keys and then items, over the record that `bind_one` knows; of * all fields. */
static eg_err bind_columns(struct maker *m, bool groups, struct expr ***out, uint32_t *count) {
    struct text_plan *p = m->plan;
    struct text_query *q = m->query;
    uint32_t items = q->item_count > 0 ? q->item_count : row_arity(p);
    struct expr **columns = get(m, (p->order_count + items) * sizeof(struct expr *));
    uint32_t n = 0;
    eg_err err = columns == NULL ? EG_MEMORY : EG_OK;

    for (uint32_t i = 0; i < p->order_count + q->item_count && err == EG_OK; i++) {
        struct text_node *node =
            i < p->order_count ? q->order[i].node : q->items[i - p->order_count].node;
        err = groups ? text_bind_group(&m->binder, node, &columns[n])
                     : text_bind(&m->binder, node, &columns[n]);
        n++;
    }
    for (uint32_t i = 0; q->item_count == 0 && i < items && err == EG_OK; i++) {
        struct expr *e = get(m, sizeof *e);
        if (e == NULL)
            return EG_MEMORY;
        *e = (struct expr){.op = EXPR_FIELD, .position = (uint16_t) i};
        columns[n++] = e;
    }
    *out = columns;
    *count = n;
    return err;
}

static bool put_name(struct buffer *out, const void *at, uint32_t size_bytes) {
    uint8_t *room = buffer_room(out, size_bytes + 5);
    struct value_writer w;

    if (room == NULL)
        return false;
    w = value_writer_init(room, size_bytes + 5);
    value_put_string(&w, at, size_bytes);
    out->size_bytes += w.need_bytes;
    return true;
}

/* An item is called as it says, by its attribute, or by its text. */
static eg_err put_item_name(struct maker *m, const struct text_item *item, struct buffer *out) {
    const struct text_node *n = item->node;
    const uint8_t *at;
    struct buffer text;
    uint32_t size_bytes;
    bool put;

    if (item->alias.size_bytes > 0)
        return put_name(out, item->alias.at, item->alias.size_bytes) ? EG_OK : EG_TOO_LARGE;
    if (n->kind == TEXT_NAME && value_get_bytes(n->part[n->count - 1], &at, &size_bytes))
        return put_name(out, at, size_bytes) ? EG_OK : EG_TOO_LARGE;
    buffer_init(&text, m->plan->alloc, TEXT_BYTES_MAX);
    put = text_print(n, &text) == EG_OK && put_name(out, text.at, (uint32_t) text.size_bytes);
    buffer_fini(&text);
    return put ? EG_OK : EG_TOO_LARGE;
}

static eg_err keep(struct maker *m, struct buffer *b, struct value *out) {
    uint8_t *at = get(m, b->size_bytes);

    if (at == NULL)
        return EG_MEMORY;
    memcpy(at, b->at, b->size_bytes);
    *out = (struct value){at, (uint32_t) b->size_bytes};
    return EG_OK;
}

static bool put_header(struct buffer *out, uint32_t count) {
    uint8_t *room = buffer_room(out, 5);
    struct value_writer w;

    if (room == NULL)
        return false;
    w = value_writer_init(room, 5);
    value_put_array(&w, count);
    out->size_bytes += w.need_bytes;
    return true;
}

static eg_err name_columns(struct maker *m) {
    struct text_plan *p = m->plan;
    const struct text_query *q = m->query;
    struct buffer names;
    eg_err err;

    buffer_init(&names, p->alloc, NAMES_BYTES_MAX);
    p->column_count = q->item_count > 0 ? q->item_count : row_arity(p);
    err = put_header(&names, p->column_count) ? EG_OK : EG_MEMORY;
    for (uint32_t i = 0; i < q->item_count && err == EG_OK; i++)
        err = put_item_name(m, &q->items[i], &names);
    for (uint32_t s = 0; q->item_count == 0 && s < p->source_count; s++)
        for (uint32_t i = 0; i < p->source[s].arity && err == EG_OK; i++) {
            const struct schema_name *name = &m->binder.schema[s]->attributes[i];
            err = put_name(&names, name->text, name->size_bytes) ? EG_OK : EG_MEMORY;
        }
    if (err == EG_OK)
        err = keep(m, &names, &p->names);
    buffer_fini(&names);
    return err;
}

/* ---- select
 * -------------------------------------------------------------------------------------- */

static bool is_plain_field(const struct expr *e) {
    return e->op == EXPR_FIELD && e->path_count == 0;
}

/* Does the path's own order answer `order by`?  A key is there once: what follows it in
 * the list has nothing left to order. */
static bool orders_by_key(struct maker *m) {
    struct text_place place;

    return m->plan->source_count == 1 && !m->plan->grouped && m->query->order_count > 0 &&
           table_type(m->plan->source[0].table) == TABLE_ORDERED_SET &&
           m->query->order[0].node->kind == TEXT_NAME &&
           text_bind_name(&m->binder, m->query->order[0].node, &place) == EG_OK &&
           place.position == 0 && place.path_count == 0;
}

static eg_err keep_orders(struct maker *m) {
    struct text_plan *p = m->plan;

    p->order_count = m->query->order_count;
    p->descending = get(m, p->order_count * sizeof(bool));
    if (p->descending == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < p->order_count; i++)
        p->descending[i] = m->query->order[i].descending;
    return EG_OK;
}

static eg_err select_rows(struct maker *m, struct expr *filter) {
    struct text_plan *p = m->plan;
    struct expr **columns;
    uint32_t count;
    eg_err err;

    if (m->query->item_count == 0 && p->order_count == 0)
        return open_program(m, &p->input, filter, NULL, 0, row_arity(p));
    err = bind_columns(m, false, &columns, &count);
    if (err != EG_OK)
        return err;
    p->value_count = count;
    return open_program(m, &p->input, filter, columns, count, row_arity(p));
}

static eg_err keep_aggregates(struct maker *m, struct expr **values, uint32_t *value_count) {
    struct text_plan *p = m->plan;
    struct text_binder *b = &m->binder;
    eg_err err = EG_OK;

    p->aggregate_count = b->aggregate_count;
    p->aggregates = get(m, p->aggregate_count * sizeof *p->aggregates);
    p->aggregate_values = get(m, p->aggregate_count * sizeof *p->aggregate_values);
    p->aggregate_nodes = get(m, p->aggregate_count * sizeof *p->aggregate_nodes);
    if (p->aggregates == NULL || p->aggregate_values == NULL || p->aggregate_nodes == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < p->aggregate_count && err == EG_OK; i++) {
        struct text_node *n = b->aggregates[i];
        p->aggregates[i] = n->aggregate;
        p->aggregate_nodes[i] = n;
        p->aggregate_values[i] = UINT32_MAX;
        if (n->count == 0)
            continue;
        err = text_bind(b, n->arg[0], &values[*value_count]);
        p->aggregate_values[i] = (*value_count)++;
    }
    return err;
}

static eg_err select_groups(struct maker *m, struct expr *filter) {
    struct text_plan *p = m->plan;
    const struct text_query *q = m->query;
    struct expr **columns, **values, *having = NULL;
    uint32_t column_count, value_count = q->group_count;
    eg_err err;

    if (q->item_count == 0)
        return err_note(m->note, EG_BAD_REQUEST, "* cannot be grouped: name what is wanted");
    values = get(m, (TEXT_GROUPS_MAX + TEXT_AGGREGATES_MAX) * sizeof(struct expr *));
    if (values == NULL)
        return EG_MEMORY;
    p->group_count = q->group_count;
    err = bind_columns(m, true, &columns, &column_count);
    if (err == EG_OK && q->having != NULL)
        err = text_bind_group(&m->binder, q->having, &having);
    for (uint32_t i = 0; i < q->group_count && err == EG_OK; i++)
        err = text_bind(&m->binder, q->group[i], &values[i]);
    if (err == EG_OK)
        err = keep_aggregates(m, values, &value_count);
    if (err == EG_OK)
        err = open_program(m, &p->output, having, columns, column_count,
                           EG_MAX(1u, p->group_count + p->aggregate_count));
    if (err != EG_OK)
        return err;
    p->value_count = value_count;
    p->direct = true;
    for (uint32_t i = 0; i < value_count; i++)
        p->direct = p->direct && is_plain_field(values[i]);
    p->fields = get(m, value_count * sizeof *p->fields);
    if (p->fields == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < value_count && p->direct; i++) {
        p->fields[i] = values[i]->position;
        p->field_end = EG_MAX(p->field_end, values[i]->position + 1u);
    }
    return open_program(m, &p->input, filter, values, p->direct ? 0 : value_count, row_arity(p));
}

static bool is_grouped(const struct text_query *q) {
    bool grouped = q->group_count > 0 || q->having != NULL;

    for (uint32_t i = 0; i < q->item_count && !grouped; i++)
        grouped = text_has_aggregate(q->items[i].node);
    for (uint32_t i = 0; i < q->order_count && !grouped; i++)
        grouped = text_has_aggregate(q->order[i].node);
    return grouped;
}

static eg_err plan_select(struct maker *m) {
    struct text_plan *p = m->plan;
    struct expr *filter[TEXT_TABLES_MAX + 1];
    bool by_key;
    eg_err err = check_bounds(m);

    if (err == EG_OK)
        err = name_orders(m);
    if (err == EG_OK)
        err = name_groups(m);
    if (err == EG_OK)
        err = where(m, filter);
    if (err != EG_OK)
        return err;
    p->grouped = is_grouped(m->query);
    by_key = orders_by_key(m);
    err = choose_paths(m, filter, by_key && m->query->order[0].descending);
    if (err == EG_OK && by_key)
        p->by_key =
            p->source[0].path.kind != SCAN_INDEX && p->source[0].path.kind != SCAN_INDEX_RANGE;
    if (err == EG_OK && !p->by_key)
        err = keep_orders(m);
    if (err == EG_OK && p->source_count == 2)
        err = choose_join(m);
    if (err == EG_OK)
        err = count_of(m, m->query->limit, TEXT_NO_LIMIT, &p->limit);
    if (err == EG_OK)
        err = count_of(m, m->query->offset, 0, &p->offset);
    if (err == EG_OK)
        err = name_columns(m);
    if (err != EG_OK)
        return err;
    p->filtered = filter[p->source_count == 1 ? 0 : 2] != NULL;
    return p->grouped ? select_groups(m, filter[p->source_count == 1 ? 0 : 2])
                      : select_rows(m, filter[p->source_count == 1 ? 0 : 2]);
}

/* ---- changes ------------------------------------------------------------------------------------
 */

static eg_err count_column(struct maker *m) {
    static const uint8_t name[] = {0x91, 0xa5, 'c', 'o', 'u', 'n', 't'};

    m->plan->names = (struct value){name, sizeof name};
    m->plan->column_count = 1;
    return EG_OK;
}

static eg_err plan_delete(struct maker *m) {
    struct expr *filter[TEXT_TABLES_MAX + 1];
    eg_err err = where(m, filter);

    if (err == EG_OK)
        err = choose_paths(m, filter, false);
    m->plan->filtered = err == EG_OK && filter[0] != NULL;
    if (err == EG_OK)
        err = open_program(m, &m->plan->input, filter[0], NULL, 0, row_arity(m->plan));
    return err == EG_OK ? count_column(m) : err;
}

static eg_err find_attribute(struct maker *m, struct text_name name, uint32_t *position) {
    int found = schema_attribute(m->binder.schema[0], name.at, name.size_bytes);

    if (found < 0)
        return text_note(&m->binder.lexer, name.position, m->note, EG_BAD_REQUEST,
                         "no attribute %.*s", (int) EG_MIN(name.size_bytes, 64u), name.at);
    *position = (uint32_t) found;
    return EG_OK;
}

static eg_err bind_changes(struct maker *m, struct expr **columns) {
    const struct text_query *q = m->query;
    eg_err err = EG_OK;

    memset(columns, 0, row_arity(m->plan) * sizeof *columns);
    for (uint32_t i = 0; i < q->change_count && err == EG_OK; i++) {
        uint32_t position = 0;
        err = find_attribute(m, q->changes[i].name, &position);
        if (err == EG_OK && position == 0)
            err = fail(m, q->changes[i].name.position, "the key cannot be changed");
        if (err == EG_OK && columns[position] != NULL)
            err = fail(m, q->changes[i].name.position, "an attribute is set once");
        if (err == EG_OK)
            err = text_bind(&m->binder, q->changes[i].node, &columns[position]);
    }
    for (uint32_t i = 0; i < row_arity(m->plan) && err == EG_OK; i++) {
        if (columns[i] != NULL)
            continue;
        columns[i] = get(m, sizeof *columns[i]);
        if (columns[i] == NULL)
            return EG_MEMORY;
        *columns[i] = (struct expr){.op = EXPR_FIELD, .position = (uint16_t) i};
    }
    return err;
}

/* A record that is replaced may move on in an index, and be met again: select_open() goes
 * through all of them then, and the plan says so. */
static void leave_index(struct maker *m, struct text_source *s) {
    if (s->path.kind == SCAN_INDEX || s->path.kind == SCAN_INDEX_RANGE)
        s->path = (struct scan_path){.kind = SCAN_ALL,
                                     .rows = table_size(s->table, m->world->reader),
                                     .shards = s->path.shards};
}

static eg_err plan_update(struct maker *m) {
    struct expr *filter[TEXT_TABLES_MAX + 1];
    struct expr *columns[SCHEMA_ATTRIBUTES_MAX];
    eg_err err = EG_OK;

    if (table_type(m->plan->source[0].table) == TABLE_BAG)
        err = err_note(m->note, EG_BAD_REQUEST, "a record of a bag cannot be updated in place");
    if (err == EG_OK)
        err = where(m, filter);
    if (err == EG_OK)
        err = bind_changes(m, columns);
    if (err == EG_OK)
        err = choose_paths(m, filter, true); /* by key where there is a choice */
    if (err == EG_OK)
        leave_index(m, &m->plan->source[0]);
    if (err == EG_OK)
        err = open_program(m, &m->plan->input, filter[0], columns, row_arity(m->plan),
                           row_arity(m->plan));
    return err == EG_OK ? count_column(m) : err;
}

/* ---- insert -------------------------------------------------------------------------------------
 */

/* The value of an expression that names no attribute, appended. */
static eg_err put_constant(struct maker *m, struct text_node *n, struct buffer *out) {
    static const uint8_t record[] = {0x91, 0xc0};
    struct predicate_machine machine;
    struct predicate *p;
    struct expr *e;
    struct value one;
    struct buffer row;
    uint32_t sources = 0;
    bool matched = false;
    eg_err err;

    if (n->kind == TEXT_LITERAL || n->kind == TEXT_ARGUMENT) {
        one = n->kind == TEXT_LITERAL ? n->literal : m->binder.arguments[n->number];
        return buffer_append(out, one.at, one.size_bytes) ? EG_OK : EG_TOO_LARGE;
    }
    err = text_bind_sources(&m->binder, n, &sources);
    if (err == EG_OK && sources != 0)
        err = fail(m, n->at, "a new record has nothing to be named");
    if (err == EG_OK)
        err = text_bind(&m->binder, n, &e);
    if (err == EG_OK)
        err = open_program(m, &p, NULL, &e, 1, 1);
    if (err != EG_OK)
        return err;
    predicate_machine_init(&machine, m->plan->alloc);
    buffer_init(&row, m->plan->alloc, RECORD_SIZE_MAX);
    err = predicate_run(&machine, p, (struct value){record, sizeof record}, &row, &matched);
    if (err == EG_OK &&
        (!array_element((struct value){row.at, (uint32_t) row.size_bytes}, 0, &one) ||
         !buffer_append(out, one.at, one.size_bytes)))
        err = EG_TOO_LARGE;
    buffer_fini(&row);
    predicate_machine_fini(&machine);
    predicate_close(p);
    return err;
}

/* Which of the row's expressions each attribute takes; UINT32_MAX: nil. */
static eg_err place_names(struct maker *m, uint32_t *from) {
    const struct text_query *q = m->query;
    uint32_t arity = row_arity(m->plan);

    for (uint32_t i = 0; i < arity; i++)
        from[i] = q->name_count == 0 ? i : UINT32_MAX;
    for (uint32_t i = 0; i < q->name_count; i++) {
        uint32_t position = 0;
        eg_err err = find_attribute(m, q->names[i], &position);
        if (err != EG_OK)
            return err;
        if (from[position] != UINT32_MAX)
            return fail(m, q->names[i].position, "an attribute is named once");
        from[position] = i;
    }
    if (from[0] == UINT32_MAX)
        return fail(m, q->names[0].position, "the key is not among the attributes named");
    return EG_OK;
}

static eg_err insert_row(struct maker *m, uint32_t number, const uint32_t *from,
                         struct buffer *record) {
    static const uint8_t nil = 0xc0;
    const struct text_query *q = m->query;
    uint32_t arity = row_arity(m->plan);
    uint32_t wanted = q->name_count > 0 ? q->name_count : arity;
    eg_err err;

    if (q->row_sizes[number] != wanted)
        return text_note(&m->binder.lexer, q->rows[number][0]->at, m->note, EG_BAD_REQUEST,
                         "expected %u values, not %u", wanted, q->row_sizes[number]);
    buffer_clear(record);
    err = put_header(record, arity) ? EG_OK : EG_MEMORY;
    for (uint32_t i = 0; i < arity && err == EG_OK; i++) {
        if (from[i] == UINT32_MAX)
            err = buffer_append(record, &nil, 1) ? EG_OK : EG_MEMORY;
        else
            err = put_constant(m, q->rows[number][from[i]], record);
    }
    return err == EG_OK ? keep(m, record, &m->plan->rows[number]) : err;
}

static eg_err plan_insert(struct maker *m) {
    const struct text_query *q = m->query;
    uint32_t from[SCHEMA_ATTRIBUTES_MAX];
    struct buffer record;
    eg_err err = place_names(m, from);

    m->plan->row_count = q->row_count;
    m->plan->rows = get(m, q->row_count * sizeof *m->plan->rows);
    if (err == EG_OK && m->plan->rows == NULL)
        err = EG_MEMORY;
    buffer_init(&record, m->plan->alloc, RECORD_SIZE_MAX);
    for (uint32_t i = 0; i < q->row_count && err == EG_OK; i++)
        err = insert_row(m, i, from, &record);
    buffer_fini(&record);
    return err == EG_OK ? count_column(m) : err;
}

/* ---- a plan
 * -------------------------------------------------------------------------------------- */

static eg_err make(struct maker *m, const char *text, size_t text_bytes, struct value arguments) {
    static eg_err (*const plans[])(struct maker * m) = {[TEXT_SELECT] = plan_select,
                                                        [TEXT_INSERT] = plan_insert,
                                                        [TEXT_UPDATE] = plan_update,
                                                        [TEXT_DELETE] = plan_delete};
    eg_err err = text_parse(&m->query, m->plan->arena, text, text_bytes, m->note);

    if (err != EG_OK)
        return err;
    text_lexer_init(&m->binder.lexer, text, (uint32_t) text_bytes);
    m->binder.query = m->query;
    m->plan->statement = m->query->statement;
    err = find_tables(m);
    if (err == EG_OK)
        err = take_arguments(m, arguments);
    return err == EG_OK ? plans[m->query->statement](m) : err;
}

eg_err text_plan_open(struct text_plan **out, const struct text_world *world, const char *text,
                      size_t text_bytes, struct value arguments, struct err_note *note) {
    struct text_plan *p = alloc_zero(world->alloc, sizeof *p);
    struct maker m = {.plan = p, .world = world, .note = note};
    eg_err err;

    if (p == NULL)
        return EG_MEMORY;
    p->alloc = world->alloc;
    p->limit = TEXT_NO_LIMIT;
    buffer_init(&p->filter_text, p->alloc, 16 * TEXT_BYTES_MAX);
    err = arena_open(&p->arena, p->alloc);
    if (err != EG_OK) {
        alloc_put(p->alloc, p, sizeof *p);
        return err;
    }
    m.binder.arena = p->arena;
    m.binder.note = note;
    err = make(&m, text, text_bytes, arguments);
    if (err == EG_OK)
        *out = p;
    else
        text_plan_close(p);
    return err;
}

static void close_program(struct predicate *p) {
    if (p != NULL)
        predicate_close(p);
}

void text_plan_close(struct text_plan *p) {
    for (uint32_t i = 0; i < p->source_count; i++)
        close_program(p->source[i].filter);
    close_program(p->input);
    close_program(p->output);
    buffer_fini(&p->filter_text);
    arena_close(p->arena);
    alloc_put(p->alloc, p, sizeof *p);
}

eg_err text_plan_check(struct text_plan *p, struct catalog *catalog, struct err_note *note) {
    for (uint32_t i = 0; i < p->source_count; i++) {
        struct text_source *s = &p->source[i];
        s->table = catalog_find(catalog, s->name.text, s->name.size_bytes);
        if (s->table == NULL || table_schema(s->table)->id != s->id)
            return err_note(note, EG_NO_TABLE, "table %s was dropped meanwhile", s->name.text);
        if (table_shape(s->table) != s->shape)
            return err_note(note, EG_ABORTED, "the attributes of %s were changed meanwhile",
                            s->name.text);
    }
    return EG_OK;
}
