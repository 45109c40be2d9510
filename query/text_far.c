/* text_far.c -- the records of a query's tables that this node has not all of. */
#include "query/text_far.h"

#include "query/far_call.h"
#include "query/gather.h"
#include "tables/far.h"
#include "tables/index_spec.h"

#include <stdio.h>

enum { SPEC_BYTES_MAX = 1 << 20, POINTS_MAX = 128, NAME_BYTES = 16 };

/* ---- what the path knows, as a specification ------------------------------------------------ */

static void put_variable(struct value_writer *w, uint32_t position) {
    char name[NAME_BYTES];

    snprintf(name, sizeof name, "$%u", position + 1);
    value_put_text(w, name);
}

/* [op, "$position", ["const", v]] */
static void put_guard(struct value_writer *w, const char *op, uint32_t position, struct value v) {
    value_put_array(w, 3);
    value_put_text(w, op);
    put_variable(w, position);
    value_put_array(w, 2);
    value_put_text(w, "const");
    value_put_raw(w, v);
}

static bool says(const struct range_end *end) {
    return end->given && !end->prefix;
}

/* How many guards it takes, which are written where w is not NULL. */
static uint32_t put_range(struct value_writer *w, const struct range *range, uint32_t position) {
    if (says(&range->low) && w != NULL)
        put_guard(w, range->low.open ? ">" : ">=", position, range->low.value);
    if (says(&range->high) && w != NULL)
        put_guard(w, range->high.open ? "<" : "=<", position, range->high.value);
    return (uint32_t) says(&range->low) + says(&range->high);
}

static uint32_t put_points(struct value_writer *w, const struct scan_path *path,
                           uint32_t position) {
    if (path->point_count == 0 || path->point_count > POINTS_MAX)
        return 0;
    if (w == NULL)
        return 1;
    value_put_array(w, path->point_count + 1);
    value_put_text(w, "orelse");
    for (uint32_t i = 0; i < path->point_count; i++)
        put_guard(w, "==", position, path->point[i]);
    return 1;
}

static uint32_t put_index(struct value_writer *w, const struct text_source *s,
                          const struct index_spec *x) {
    const struct scan_path *path = &s->path;
    const struct index_part *next = &x->part[path->equal_count];
    uint32_t count = 0;

    for (uint32_t i = 0; i < path->equal_count; i++) {
        if (x->part[i].step_count > 0)
            continue;
        if (w != NULL)
            put_guard(w, "==", x->part[i].position, path->equal[i]);
        count++;
    }
    if (path->equal_count == x->part_count || next->step_count > 0)
        return count;
    if (path->kind == SCAN_INDEX_RANGE)
        count += put_range(w, &path->range, next->position);
    else if (path->kind == SCAN_INDEX_VALUES)
        count += put_points(w, path, next->position);
    return count;
}

static const struct index_spec *index_of(const struct text_source *s) {
    const struct schema *schema = table_schema(s->table);

    for (uint32_t i = 0; i < schema->index_count; i++)
        if (schema->index[i]->id == s->path.index)
            return schema->index[i];
    return NULL;
}

static uint32_t put_guards(struct value_writer *w, const struct text_source *s) {
    const struct index_spec *x = scan_by_index(&s->path) ? index_of(s) : NULL;

    switch (s->path.kind) {
    case SCAN_KEY:
    case SCAN_KEY_RANGE:
        return put_range(w, &s->path.range, 0);
    case SCAN_KEYS:
        return put_points(w, &s->path, 0);
    default:
        return x == NULL ? 0 : put_index(w, s, x);
    }
}

static void put_spec(struct value_writer *w, const struct text_source *s, uint32_t guards) {
    value_put_array(w, 1);
    value_put_array(w, 3);
    value_put_array(w, s->arity);
    for (uint32_t i = 0; i < s->arity; i++)
        put_variable(w, i);
    value_put_array(w, guards);
    put_guards(w, s);
    value_put_array(w, 1);
    value_put_text(w, "$_");
}

/* Nothing is known that others could use, or it is too long to be said: all are asked for. */
static eg_err make_question(const struct text_source *s, struct buffer *out) {
    uint32_t guards = put_guards(NULL, s);
    struct value_writer w = value_writer_init(NULL, 0);
    size_t need_bytes;
    uint8_t *room;

    if (guards == 0)
        return EG_OK;
    put_spec(&w, s, guards);
    need_bytes = w.need_bytes;
    if (need_bytes > SPEC_BYTES_MAX)
        return EG_OK;
    room = buffer_room(out, need_bytes);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, need_bytes);
    put_spec(&w, s, guards);
    EG_ASSERT(!w.overflow);
    out->size_bytes += need_bytes;
    return EG_OK;
}

/* ---- a source ------------------------------------------------------------------------------- */

static eg_err begin_records(struct text_plan *p, struct text_source *s) {
    struct gather_opts o = {.kind = PAGE_RECORDS,
                            .merged = table_type(s->table) == TABLE_ORDERED_SET &&
                                      !scan_by_index(&s->path),
                            .reverse = s->path.reverse};
    struct buffer question;
    eg_err err;

    buffer_init(&question, p->alloc, SPEC_BYTES_MAX);
    err = make_question(s, &question);
    if (question.size_bytes != 0) {
        o.kind = PAGE_SELECT;
        o.question = (struct value){question.at, (uint32_t) question.size_bytes};
    }
    if (err == EG_OK)
        err = gather_open(&s->far, p->alloc, s->table, &o);
    buffer_fini(&question);
    return err;
}

static eg_err begin(struct text_plan *p, struct text_source *s,
                    eg_err (*part)(void *user, struct value body), void *user) {
    const struct gather_opts o = {
        .kind = PAGE_PARTIAL, .question = p->said, .part = part, .user = user};

    return p->said.size_bytes == 0 ? begin_records(p, s)
                                   : gather_open(&s->far, p->alloc, s->table, &o);
}

eg_err text_far_begin(struct text_plan *p, eg_err (*part)(void *user, struct value body),
                      void *user) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; !p->dirty && i < p->source_count && err == EG_OK; i++)
        if (!table_is_near(p->source[i].table, false) && p->source[i].path.kind != SCAN_NOTHING)
            err = begin(p, &p->source[i], part, user);
    return err;
}

void text_far_end(struct text_plan *p) {
    for (uint32_t i = 0; i < p->source_count; i++) {
        if (p->source[i].far != NULL)
            gather_close(p->source[i].far);
        if (p->source[i].size != NULL)
            far_call_close(p->source[i].size);
    }
}

eg_err text_far_next(struct text_plan *p, struct text_source *s, struct reader *r,
                     const struct record **out, struct err_note *note) {
    eg_err err = gather_next(s->far, s->table, r, out, note);

    p->asking = err == EG_AGAIN ? s : NULL;
    return err;
}

eg_err text_far_size(struct text_plan *p, struct text_source *s, struct reader *r, uint64_t *out,
                     struct err_note *note) {
    const struct far_call_opts o = {.kind = PAGE_SIZE};
    struct buffer number;
    eg_err err = EG_OK;

    if (s->size == NULL)
        err = far_call_open(&s->size, p->alloc, s->table, &o, note);
    buffer_init(&number, p->alloc, NAME_BYTES);
    if (err == EG_OK)
        err = far_call_step(s->size, s->table, r, &number, note);
    p->asking = err == EG_AGAIN ? s : NULL;
    if (err == EG_OK &&
        !value_get_u64((struct value){number.at, (uint32_t) number.size_bytes}, out))
        err = EG_INTERNAL;
    buffer_fini(&number);
    return err;
}

/* Only what is here, and all of it. */
static eg_err keep_here(struct text_plan *p, struct text_source *s, struct err_note *note) {
    s->here = table_shards_here(s->table, true);
    if (shard_set_is_empty(&s->here))
        return err_note(note, EG_NO_REPLICA, "this node has no copy of %s", s->name.text);
    s->path.only = table_is_near(s->table, true) ? NULL : &s->here;
    if (p->join != TEXT_JOIN_NONE && s == &p->source[1 - p->outer])
        p->lookup.only = s->path.only;
    return EG_OK;
}

eg_err text_far_check(struct text_plan *p, struct text_source *s, struct err_note *note) {
    uint64_t now_ns;

    if (EG_UNLIKELY(p->dirty))
        return keep_here(p, s, note);
    if (EG_LIKELY(table_is_near(s->table, false)) || s->path.kind == SCAN_NOTHING) {
        p->patient_ns = 0;
        return EG_OK;
    }
    now_ns = table_now_ns(s->table);
    if (p->patient_ns == 0)
        p->patient_ns = now_ns + table_far_wait_ns(s->table);
    if (now_ns >= p->patient_ns)
        return table_far_nobody(s->table, note, "this node's copy has gone meanwhile: ask again");
    p->asking = s;
    return EG_AGAIN;
}

void text_far_look(struct text_plan *p) {
    for (uint32_t i = 0; !p->dirty && i < p->source_count; i++)
        settle_begin(&p->source[i].settle, p->source[i].table, &p->source[i].path);
}

eg_err text_far_settle(struct text_plan *p, struct err_note *note) {
    eg_err err = EG_OK;

    p->asking = NULL;
    for (uint32_t i = 0; err == EG_OK && i < p->source_count; i++) {
        err = settle_step(&p->source[i].settle, p->source[i].table, note);
        if (err == EG_AGAIN)
            p->asking = &p->source[i];
    }
    return err;
}

void text_far_look_anew(struct text_plan *p) {
    for (uint32_t i = 0; i < p->source_count; i++)
        p->source[i].settle = (struct settle){0};
}

/* ---- asking ---------------------------------------------------------------------------------- */

eg_err text_far_ask(struct text_plan *p, struct table **table, eg_pid *to, struct message **out) {
    struct text_source *s = p->asking;
    struct table_far *far;

    if (s == NULL)
        return EG_NOT_FOUND;
    *table = s->table;
    if (settle_asks(&s->settle))
        return settle_ask(&s->settle, s->table, to, out);
    if (s->size != NULL)
        return far_call_ask(s->size, s->table, to, out);
    if (s->far != NULL)
        return gather_ask(s->far, s->table, to, out);
    far = table_far(s->table);
    p->asking = NULL; /* a moment is asked for once, and its answer says nothing */
    return far == NULL ? EG_NOT_FOUND : far->ask(far, s->table, 0, (struct value){0}, to, out);
}

void text_far_answered(struct text_plan *p, eg_err err, struct value result) {
    if (p->asking != NULL && settle_asks(&p->asking->settle))
        settle_answered(&p->asking->settle, err, result);
    else if (p->asking != NULL && p->asking->size != NULL)
        far_call_answered(p->asking->size, err, result);
    else if (p->asking != NULL && p->asking->far != NULL)
        gather_answered(p->asking->far, err, result);
}
