/* text_partial.c -- parts of aggregates: made of a page's records, written, put together. */
#include "query/text_partial.h"

#include "engine/err.h"
#include "query/text_run.h"

enum { TALLY_FIELDS = 8, HEADER_BYTES = 5, TALLY_BYTES = 80 };

/* ---- writing ----------------------------------------------------------------------------- */

static bool put_header(struct buffer *out, uint32_t count) {
    uint8_t room[HEADER_BYTES];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_array(&w, count);
    return buffer_append(out, room, w.need_bytes);
}

static bool put_tally(struct buffer *out, const struct text_tally *t) {
    static const uint8_t nil = 0xc0;
    uint8_t room[TALLY_BYTES];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_array(&w, TALLY_FIELDS);
    value_put_u64(&w, t->count);
    value_put_u64(&w, t->numbers);
    value_put_bool(&w, t->real);
    value_put_u64(&w, t->low);
    value_put_i64(&w, t->high);
    value_put_double(&w, t->sum);
    value_put_double(&w, t->lost);
    EG_ASSERT(!w.overflow);
    return buffer_append(out, room, w.need_bytes) &&
           (t->best == NULL ? buffer_append(out, &nil, 1)
                            : buffer_append(out, t->best, t->best_bytes));
}

static bool put_group(struct buffer *out, const struct text_plan *p, const struct text_group *g) {
    const uint8_t *at = g->values;
    bool fits = put_header(out, p->group_count + p->aggregate_count);

    for (uint32_t i = 0; fits && i < p->group_count; i++) {
        struct value v = value_of(at);
        at += v.size_bytes;
        fits = buffer_append(out, v.at, v.size_bytes);
    }
    for (uint32_t i = 0; fits && i < p->aggregate_count; i++)
        fits = put_tally(out, &g->tally[i]);
    return fits;
}

static eg_err partial_put(void *partial, struct buffer *out) {
    const struct text_run *r = partial;
    bool fits = put_header(out, r->groups.count);

    for (uint32_t i = 0; fits && i < r->groups.count; i++)
        fits = put_group(out, r->plan, r->groups.group[i]);
    return fits ? EG_OK : EG_MEMORY;
}

/* ---- counting beside the records ------------------------------------------------------------ */

eg_err text_partial_plan(struct text_plan **out, const struct text_world *world,
                         struct value question, struct err_note *note) {
    struct value text, arguments;
    const uint8_t *at;
    uint32_t bytes;

    if (value_kind_of(question) != VALUE_ARRAY || !array_element(question, 0, &text) ||
        !array_element(question, 1, &arguments) || value_kind_of(text) != VALUE_STRING ||
        !value_get_bytes(text, &at, &bytes))
        return err_note(note, EG_BAD_REQUEST, "a query is asked by its text and arguments");
    if (value_kind_of(arguments) == VALUE_NIL)
        arguments = (struct value){NULL, 0};
    return text_plan_open(out, world, (const char *) at, bytes, arguments, note);
}

static eg_err partial_open(void **out, struct alloc *a, struct catalog *c, struct table *t,
                           struct reader *r, struct value question, struct scan_path *path,
                           struct err_note *note) {
    const struct text_world world = {.alloc = a, .catalog = c, .reader = r};
    struct text_plan *plan;
    struct text_run *run;
    eg_err err = text_partial_plan(&plan, &world, question, note);

    if (err != EG_OK)
        return err;
    if (!plan->grouped || plan->source_count != 1 || plan->source[0].table != t)
        err = err_note(note, EG_BAD_REQUEST, "no aggregate of this table");
    if (err == EG_OK)
        err = text_run_open_here(&run, plan);
    if (err != EG_OK) {
        text_plan_close(plan);
        return err;
    }
    *path = plan->source[0].path;
    *out = run;
    return EG_OK;
}

static eg_err partial_take(void *partial, struct record_batch *b) {
    return text_run_count(partial, b);
}

static size_t partial_bytes(const void *partial) {
    return ((const struct text_run *) partial)->memory.used_bytes;
}

static void partial_close(void *partial) {
    text_run_close(partial);
}

const struct page_partial_ops *text_partial_ops(void) {
    static const struct page_partial_ops ops = {.open = partial_open,
                                                .take = partial_take,
                                                .bytes = partial_bytes,
                                                .put = partial_put,
                                                .close = partial_close};

    return &ops;
}

/* ---- putting together ------------------------------------------------------------------------ */

static bool next_u64(struct value_iter *it, uint64_t *out) {
    struct value v;

    return value_iter_next(it, &v) && value_get_u64(v, out);
}

static bool next_double(struct value_iter *it, double *out) {
    struct value v;

    return value_iter_next(it, &v) && value_get_double(v, out);
}

/* As another node wrote it; `best` borrows. */
static bool get_tally(struct value v, struct text_tally *t, struct value *best) {
    struct value_iter it;
    struct value field;

    *t = (struct text_tally){0};
    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != TALLY_FIELDS)
        return false;
    it = value_iter_of(v);
    return next_u64(&it, &t->count) && next_u64(&it, &t->numbers) && value_iter_next(&it, &field) &&
           value_get_bool(field, &t->real) && next_u64(&it, &t->low) &&
           value_iter_next(&it, &field) && value_get_i64(field, &t->high) &&
           next_double(&it, &t->sum) && next_double(&it, &t->lost) && value_iter_next(&it, best);
}

static eg_err add_group(struct text_groups *g, struct value v) {
    const struct text_plan *p = g->plan;
    struct value values[TEXT_GROUPS_MAX], field, best;
    struct text_group *group = g->all;
    struct text_tally tally;
    struct value_iter it;
    eg_err err = EG_OK;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != p->group_count + p->aggregate_count)
        return EG_INTERNAL;
    it = value_iter_of(v);
    for (uint32_t i = 0; i < p->group_count; i++)
        if (!value_iter_next(&it, &values[i]))
            return EG_INTERNAL;
    if (group == NULL)
        err = text_groups_find(g, values, &group);
    for (uint32_t i = 0; err == EG_OK && i < p->aggregate_count; i++) {
        if (!value_iter_next(&it, &field) || !get_tally(field, &tally, &best))
            return EG_INTERNAL;
        err = text_tally_merge(&group->tally[i], p->aggregates[i], &tally, best, g->memory);
    }
    return err;
}

eg_err text_partial_add(struct text_groups *g, struct value part) {
    struct value_iter it;
    struct value v;
    size_t used_bytes;
    eg_err err = EG_OK;

    if (value_scan(part.at, part.size_bytes, &used_bytes) != EG_OK ||
        value_kind_of(part) != VALUE_ARRAY)
        return EG_INTERNAL; /* a node that talks nonsense */
    it = value_iter_of(part);
    while (err == EG_OK && value_iter_next(&it, &v))
        err = add_group(g, v);
    return err;
}
