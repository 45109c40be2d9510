/* text_plan.c -- a plan opened, checked and closed: tables found, arguments taken, the statement's
 * own part made by text_make_*.c. */
#include "query/text_plan_private.h"

#include "query/text_far.h"
#include "tables/far.h"

#include <string.h>

/* ---- for all ----------------------------------------------------------------------- */

eg_err text_make_fail(struct text_maker *m, uint32_t at, const char *why) {
    return text_note(&m->binder.lexer, at, m->note, EG_BAD_REQUEST, "%s", why);
}

void *text_make_get(struct text_maker *m, size_t size_bytes) {
    return arena_get(m->plan->arena, EG_MAX(size_bytes, (size_t) 1));
}

eg_err text_make_copy(struct text_maker *m, const struct buffer *b, struct value *out) {
    uint8_t *at = text_make_get(m, b->size_bytes);

    if (at == NULL)
        return EG_MEMORY;
    memcpy(at, b->at, b->size_bytes);
    *out = (struct value){at, (uint32_t) b->size_bytes};
    return EG_OK;
}

eg_err text_make_program(struct text_maker *m, struct predicate **out, const struct expr *filter,
                         struct expr *const *columns, uint32_t count, uint32_t arity) {
    return predicate_open_exprs(out, m->plan->alloc, filter, (const struct expr *const *) columns,
                                count, arity, m->note);
}

uint32_t text_make_arity(const struct text_plan *p) {
    return p->source[0].arity + (p->source_count == 2 ? p->source[1].arity : 0);
}

bool text_put_header(struct buffer *out, uint32_t count) {
    uint8_t *room = buffer_room(out, 5);
    struct value_writer w;

    if (room == NULL)
        return false;
    w = value_writer_init(room, 5);
    value_put_array(&w, count);
    out->size_bytes += w.need_bytes;
    return true;
}

/* ---- what was passed ----------------------------------------------------------------- */

static eg_err take_arguments(struct text_maker *m, struct value arguments) {
    uint32_t count = 0;
    struct value_iter it;

    if (arguments.size_bytes != 0 && value_kind_of(arguments) != VALUE_ARRAY)
        return err_note(m->note, EG_BAD_REQUEST, "the arguments are an array");
    if (arguments.size_bytes != 0)
        count = value_count(arguments);
    if (count != m->query->argument_count)
        return err_note(m->note, EG_BAD_REQUEST, "the query takes %u arguments, not %u",
                        m->query->argument_count, count);
    m->binder.arguments = text_make_get(m, count * sizeof(struct value));
    if (m->binder.arguments == NULL)
        return EG_MEMORY;
    if (count == 0)
        return EG_OK;
    it = value_iter_of(arguments);
    for (uint32_t i = 0; i < count; i++)
        EG_ASSERT(value_iter_next(&it, &m->binder.arguments[i]));
    return EG_OK;
}

static eg_err find_tables(struct text_maker *m) {
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
        return text_make_fail(m, m->query->table[1].alias.position, "both tables have this name");
    return EG_OK;
}

/* ---- a plan
 * -------------------------------------------------------------------------------------- */

static eg_err make(struct text_maker *m, const char *text, size_t text_bytes,
                   struct value arguments) {
    static eg_err (*const plans[])(struct text_maker * m) = {[TEXT_SELECT] = text_make_select,
                                                             [TEXT_INSERT] = text_make_insert,
                                                             [TEXT_UPDATE] = text_make_update,
                                                             [TEXT_DELETE] = text_make_delete};
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

/* What others are to be asked who count some of what is aggregated: nodes, and other threads. */
static eg_err keep_words(struct text_plan *p, const char *text, size_t text_bytes,
                         struct value arguments) {
    size_t room_bytes = text_bytes + arguments.size_bytes + 16;
    struct value_writer w;
    uint8_t *at;

    if (p->statement != TEXT_SELECT || !p->grouped || p->source_count != 1)
        return EG_OK;
    at = arena_get(p->arena, room_bytes);
    if (at == NULL)
        return EG_MEMORY;
    w = value_writer_init(at, room_bytes);
    value_put_array(&w, 2);
    value_put_string(&w, text, text_bytes);
    if (arguments.size_bytes == 0)
        value_put_nil(&w);
    else
        value_put_raw(&w, arguments);
    EG_ASSERT(!w.overflow);
    p->said = (struct value){at, (uint32_t) w.need_bytes};
    return EG_OK;
}

eg_err text_plan_open(struct text_plan **out, const struct text_world *world, const char *text,
                      size_t text_bytes, struct value arguments, struct err_note *note) {
    struct text_plan *p = alloc_zero(world->alloc, sizeof *p);
    struct text_maker m = {.plan = p, .world = world, .note = note};
    eg_err err;

    if (p == NULL)
        return EG_MEMORY;
    p->alloc = world->alloc;
    p->dirty = world->dirty;
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
        err = keep_words(p, text, text_bytes, arguments);
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
    text_far_end(p);
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
