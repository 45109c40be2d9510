/* text_make_select.c -- what of a row is wanted: columns, groups, order. */
#include "query/text_plan_private.h"

#include <string.h>

enum { NAMES_BYTES_MAX = 4 << 20 };

static eg_err count_of(struct text_maker *m, const struct text_node *n, uint64_t absent,
                       uint64_t *out) {
    struct value v;

    *out = absent;
    if (n == NULL)
        return EG_OK;
    v = n->kind == TEXT_ARGUMENT ? m->binder.arguments[n->number] : n->literal;
    if ((n->kind != TEXT_ARGUMENT && n->kind != TEXT_LITERAL) || !value_is_integer(v) ||
        !value_get_u64(v, out))
        return text_make_fail(m, n->at, "limit and offset are integers from 0 on");
    return EG_OK;
}

/* ---- columns ----------------------------------------------------------------------------------
 */

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

static eg_err name_orders(struct text_maker *m) {
    struct text_query *q = m->query;

    for (uint32_t i = 0; i < q->order_count; i++) {
        struct text_node *n = q->order[i].node;
        uint64_t number;

        if (n->kind == TEXT_LITERAL && value_is_integer(n->literal)) {
            if (!value_get_u64(n->literal, &number) || number == 0 || number > q->item_count)
                return text_make_fail(m, n->at,
                                      "order by counts the columns that select names, from 1 on");
            n = q->items[number - 1].node;
        }
        q->order[i].node = by_alias(q, n);
    }
    return EG_OK;
}

static eg_err name_groups(struct text_maker *m) {
    struct text_query *q = m->query;
    struct text_binder quiet = m->binder;

    quiet.note = NULL;
    for (uint32_t i = 0; i < q->group_count; i++) {
        struct text_place place;
        struct text_node *n = q->group[i];
        if (n->kind == TEXT_NAME && text_bind_name(&quiet, n, &place) != EG_OK)
            q->group[i] = by_alias(q, n); /* attributes come first, names of items next */
        if (text_has_aggregate(q->group[i]))
            return text_make_fail(m, n->at, "an aggregate cannot stand here");
    }
    return EG_OK;
}

static eg_err check_bounds(struct text_maker *m) {
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
static eg_err bind_columns(struct text_maker *m, bool groups, struct expr ***out, uint32_t *count) {
    struct text_plan *p = m->plan;
    struct text_query *q = m->query;
    uint32_t items = q->item_count > 0 ? q->item_count : text_make_arity(p);
    struct expr **columns = text_make_get(m, (p->order_count + items) * sizeof(struct expr *));
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
        struct expr *e = text_make_get(m, sizeof *e);
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
static eg_err put_item_name(struct text_maker *m, const struct text_item *item,
                            struct buffer *out) {
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

static eg_err name_columns(struct text_maker *m) {
    struct text_plan *p = m->plan;
    const struct text_query *q = m->query;
    struct buffer names;
    eg_err err;

    buffer_init(&names, p->alloc, NAMES_BYTES_MAX);
    p->column_count = q->item_count > 0 ? q->item_count : text_make_arity(p);
    err = text_put_header(&names, p->column_count) ? EG_OK : EG_MEMORY;
    for (uint32_t i = 0; i < q->item_count && err == EG_OK; i++)
        err = put_item_name(m, &q->items[i], &names);
    for (uint32_t s = 0; q->item_count == 0 && s < p->source_count; s++)
        for (uint32_t i = 0; i < p->source[s].arity && err == EG_OK; i++) {
            const struct schema_name *name = &m->binder.schema[s]->attributes[i];
            err = put_name(&names, name->text, name->size_bytes) ? EG_OK : EG_MEMORY;
        }
    if (err == EG_OK)
        err = text_make_copy(m, &names, &p->names);
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
static bool orders_by_key(struct text_maker *m) {
    struct text_place place;

    return m->plan->source_count == 1 && !m->plan->grouped && m->query->order_count > 0 &&
           table_type(m->plan->source[0].table) == TABLE_ORDERED_SET &&
           m->query->order[0].node->kind == TEXT_NAME &&
           text_bind_name(&m->binder, m->query->order[0].node, &place) == EG_OK &&
           place.position == 0 && place.path_count == 0;
}

static eg_err keep_orders(struct text_maker *m) {
    struct text_plan *p = m->plan;

    p->order_count = m->query->order_count;
    p->descending = text_make_get(m, p->order_count * sizeof(bool));
    if (p->descending == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < p->order_count; i++)
        p->descending[i] = m->query->order[i].descending;
    return EG_OK;
}

static eg_err select_rows(struct text_maker *m, struct expr *filter) {
    struct text_plan *p = m->plan;
    struct expr **columns;
    uint32_t count;
    eg_err err;

    if (m->query->item_count == 0 && p->order_count == 0)
        return text_make_program(m, &p->input, filter, NULL, 0, text_make_arity(p));
    err = bind_columns(m, false, &columns, &count);
    if (err != EG_OK)
        return err;
    p->value_count = count;
    return text_make_program(m, &p->input, filter, columns, count, text_make_arity(p));
}

static eg_err keep_aggregates(struct text_maker *m, struct expr **values, uint32_t *value_count) {
    struct text_plan *p = m->plan;
    struct text_binder *b = &m->binder;
    eg_err err = EG_OK;

    p->aggregate_count = b->aggregate_count;
    p->aggregates = text_make_get(m, p->aggregate_count * sizeof *p->aggregates);
    p->aggregate_values = text_make_get(m, p->aggregate_count * sizeof *p->aggregate_values);
    p->aggregate_nodes = text_make_get(m, p->aggregate_count * sizeof *p->aggregate_nodes);
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

static eg_err select_groups(struct text_maker *m, struct expr *filter) {
    struct text_plan *p = m->plan;
    const struct text_query *q = m->query;
    struct expr **columns, **values, *having = NULL;
    uint32_t column_count, value_count = q->group_count;
    eg_err err;

    if (q->item_count == 0)
        return err_note(m->note, EG_BAD_REQUEST, "* cannot be grouped: name what is wanted");
    values = text_make_get(m, (TEXT_GROUPS_MAX + TEXT_AGGREGATES_MAX) * sizeof(struct expr *));
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
        err = text_make_program(m, &p->output, having, columns, column_count,
                                EG_MAX(1u, p->group_count + p->aggregate_count));
    if (err != EG_OK)
        return err;
    p->value_count = value_count;
    p->direct = true;
    for (uint32_t i = 0; i < value_count; i++)
        p->direct = p->direct && is_plain_field(values[i]);
    p->fields = text_make_get(m, value_count * sizeof *p->fields);
    if (p->fields == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < value_count && p->direct; i++) {
        p->fields[i] = values[i]->position;
        p->field_end = EG_MAX(p->field_end, values[i]->position + 1u);
    }
    return text_make_program(m, &p->input, filter, values, p->direct ? 0 : value_count,
                             text_make_arity(p));
}

static bool is_grouped(const struct text_query *q) {
    bool grouped = q->group_count > 0 || q->having != NULL;

    for (uint32_t i = 0; i < q->item_count && !grouped; i++)
        grouped = text_has_aggregate(q->items[i].node);
    for (uint32_t i = 0; i < q->order_count && !grouped; i++)
        grouped = text_has_aggregate(q->order[i].node);
    return grouped;
}

eg_err text_make_select(struct text_maker *m) {
    struct text_plan *p = m->plan;
    struct expr *filter[TEXT_TABLES_MAX + 1];
    bool by_key;
    eg_err err = check_bounds(m);

    if (err == EG_OK)
        err = name_orders(m);
    if (err == EG_OK)
        err = name_groups(m);
    if (err == EG_OK)
        err = text_make_filters(m, filter);
    if (err != EG_OK)
        return err;
    p->grouped = is_grouped(m->query);
    by_key = orders_by_key(m);
    err = text_make_paths(m, filter, by_key && m->query->order[0].descending);
    if (err == EG_OK && by_key)
        p->by_key = !scan_by_index(&p->source[0].path);
    if (err == EG_OK && !p->by_key)
        err = keep_orders(m);
    if (err == EG_OK && p->source_count == 2)
        err = text_make_join(m);
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
