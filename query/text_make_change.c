/* text_make_change.c -- what insert, update and delete are to do. */
#include "query/text_plan_private.h"

#include <string.h>

/* ---- changes ------------------------------------------------------------------------------------
 */

static eg_err count_column(struct text_maker *m) {
    static const uint8_t name[] = {0x91, 0xa5, 'c', 'o', 'u', 'n', 't'};

    m->plan->names = (struct value){name, sizeof name};
    m->plan->column_count = 1;
    return EG_OK;
}

eg_err text_make_delete(struct text_maker *m) {
    struct expr *filter[TEXT_TABLES_MAX + 1];
    eg_err err = text_make_filters(m, filter);

    if (err == EG_OK)
        err = text_make_paths(m, filter, false);
    m->plan->filtered = err == EG_OK && filter[0] != NULL;
    if (err == EG_OK)
        err = text_make_program(m, &m->plan->input, filter[0], NULL, 0, text_make_arity(m->plan));
    return err == EG_OK ? count_column(m) : err;
}

static eg_err find_attribute(struct text_maker *m, struct text_name name, uint32_t *position) {
    int found = schema_attribute(m->binder.schema[0], name.at, name.size_bytes);

    if (found < 0)
        return text_note(&m->binder.lexer, name.position, m->note, EG_BAD_REQUEST,
                         "no attribute %.*s", (int) EG_MIN(name.size_bytes, 64u), name.at);
    *position = (uint32_t) found;
    return EG_OK;
}

static eg_err bind_changes(struct text_maker *m, struct expr **columns) {
    const struct text_query *q = m->query;
    eg_err err = EG_OK;

    memset(columns, 0, text_make_arity(m->plan) * sizeof *columns);
    for (uint32_t i = 0; i < q->change_count && err == EG_OK; i++) {
        uint32_t position = 0;
        err = find_attribute(m, q->changes[i].name, &position);
        if (err == EG_OK && position == 0)
            err = text_make_fail(m, q->changes[i].name.position, "the key cannot be changed");
        if (err == EG_OK && columns[position] != NULL)
            err = text_make_fail(m, q->changes[i].name.position, "an attribute is set once");
        if (err == EG_OK)
            err = text_bind(&m->binder, q->changes[i].node, &columns[position]);
    }
    for (uint32_t i = 0; i < text_make_arity(m->plan) && err == EG_OK; i++) {
        if (columns[i] != NULL)
            continue;
        columns[i] = text_make_get(m, sizeof *columns[i]);
        if (columns[i] == NULL)
            return EG_MEMORY;
        *columns[i] = (struct expr){.op = EXPR_FIELD, .position = (uint16_t) i};
    }
    return err;
}

eg_err text_make_update(struct text_maker *m) {
    struct expr *filter[TEXT_TABLES_MAX + 1];
    struct expr *columns[SCHEMA_ATTRIBUTES_MAX];
    eg_err err = EG_OK;

    if (table_type(m->plan->source[0].table) == TABLE_BAG)
        err = err_note(m->note, EG_BAD_REQUEST, "a record of a bag cannot be updated in place");
    if (err == EG_OK)
        err = text_make_filters(m, filter);
    if (err == EG_OK)
        err = bind_changes(m, columns);
    if (err == EG_OK)
        err = text_make_paths(m, filter, false);
    if (err == EG_OK)
        err = text_make_program(m, &m->plan->input, filter[0], columns, text_make_arity(m->plan),
                                text_make_arity(m->plan));
    return err == EG_OK ? count_column(m) : err;
}

/* ---- insert -------------------------------------------------------------------------------------
 */

/* The value of an expression that names no attribute, appended. */
static eg_err put_constant(struct text_maker *m, struct text_node *n, struct buffer *out) {
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
        err = text_make_fail(m, n->at, "a new record has nothing to be named");
    if (err == EG_OK)
        err = text_bind(&m->binder, n, &e);
    if (err == EG_OK)
        err = text_make_program(m, &p, NULL, &e, 1, 1);
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
static eg_err place_names(struct text_maker *m, uint32_t *from) {
    const struct text_query *q = m->query;
    uint32_t arity = text_make_arity(m->plan);

    for (uint32_t i = 0; i < arity; i++)
        from[i] = q->name_count == 0 ? i : UINT32_MAX;
    for (uint32_t i = 0; i < q->name_count; i++) {
        uint32_t position = 0;
        eg_err err = find_attribute(m, q->names[i], &position);
        if (err != EG_OK)
            return err;
        if (from[position] != UINT32_MAX)
            return text_make_fail(m, q->names[i].position, "an attribute is named once");
        from[position] = i;
    }
    if (from[0] == UINT32_MAX)
        return text_make_fail(m, q->names[0].position, "the key is not among the attributes named");
    return EG_OK;
}

static eg_err insert_row(struct text_maker *m, uint32_t number, const uint32_t *from,
                         struct buffer *record) {
    static const uint8_t nil = 0xc0;
    const struct text_query *q = m->query;
    uint32_t arity = text_make_arity(m->plan);
    uint32_t wanted = q->name_count > 0 ? q->name_count : arity;
    eg_err err;

    if (q->row_sizes[number] != wanted)
        return text_note(&m->binder.lexer, q->rows[number][0]->at, m->note, EG_BAD_REQUEST,
                         "expected %u values, not %u", wanted, q->row_sizes[number]);
    buffer_clear(record);
    err = text_put_header(record, arity) ? EG_OK : EG_MEMORY;
    for (uint32_t i = 0; i < arity && err == EG_OK; i++) {
        if (from[i] == UINT32_MAX)
            err = buffer_append(record, &nil, 1) ? EG_OK : EG_MEMORY;
        else
            err = put_constant(m, q->rows[number][from[i]], record);
    }
    return err == EG_OK ? text_make_copy(m, record, &m->plan->rows[number]) : err;
}

eg_err text_make_insert(struct text_maker *m) {
    const struct text_query *q = m->query;
    uint32_t from[SCHEMA_ATTRIBUTES_MAX];
    struct buffer record;
    eg_err err = place_names(m, from);

    m->plan->row_count = q->row_count;
    m->plan->rows = text_make_get(m, q->row_count * sizeof *m->plan->rows);
    if (err == EG_OK && m->plan->rows == NULL)
        err = EG_MEMORY;
    buffer_init(&record, m->plan->alloc, RECORD_SIZE_MAX);
    for (uint32_t i = 0; i < q->row_count && err == EG_OK; i++)
        err = insert_row(m, i, from, &record);
    buffer_fini(&record);
    return err == EG_OK ? count_column(m) : err;
}
