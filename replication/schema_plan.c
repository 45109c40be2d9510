/* schema_plan.c -- from one entry to another, in what the catalog can do. */
#include "replication/schema_plan.h"

#include "replication/schema_replay.h"
#include "tables/conversion.h"

#include <string.h>

enum { PLAN_BYTES_MAX = 4 << 20, NOT_THERE = -1 };

/* Where a table comes from and goes to. */
struct journey {
    const struct schema_entry *was, *now;
    struct schema_replay from, to;
    uint32_t common;                       /* changes that both begin with            */
    bool crossed;                          /* each has changes of records the other lacks */
    const struct schema_change *transform; /* among those that it lacks; or NULL      */
    uint32_t early, made;                  /* fields that it takes, and makes         */
};

static const struct schema_entry *live_or_null(const struct schema_entry *e) {
    return e != NULL && e->live ? e : NULL;
}

/* ---- steps ------------------------------------------------------------------------------- */

static struct schema_plan_step *add_step(struct schema_plan *p, enum catalog_op op,
                                         const struct schema_name *name) {
    struct schema_plan_step step = {.op = op, .name = *name};
    uint32_t count;

    if (!buffer_append(&p->steps, &step, sizeof step))
        return NULL;
    (void) schema_plan_at(p, &count);
    buffer_init(&schema_plan_at(p, &count)[count - 1].value, p->alloc, PLAN_BYTES_MAX);
    return &schema_plan_at(p, &count)[count - 1];
}

static eg_err add_change(struct schema_plan *p, const struct schema_name *name,
                         const struct schema_change *c, uint32_t upto) {
    struct schema_plan_step *step = add_step(p, (enum catalog_op) c->op, name);

    if (step != NULL)
        step->upto = upto;
    return step != NULL && buffer_append(&step->value, c->at, c->size_bytes) ? EG_OK : EG_MEMORY;
}

static eg_err adopt(struct schema_plan *p, const struct schema_entry *now, struct err_note *note) {
    struct schema_plan_step *step = add_step(p, CATALOG_ADOPT, &now->name);
    struct schema_replay r;
    eg_err err = step == NULL ? EG_MEMORY : schema_replay_open(&r, now, now->change_count, note);

    if (err != EG_OK)
        return err;
    err = schema_encode(r.schema, &step->value);
    schema_replay_close(&r);
    return err;
}

/* ---- a record's fields --------------------------------------------------------------------- */

static int position_of(const struct schema_replay *r, uint64_t origin) {
    for (uint32_t i = 0; i < r->schema->attribute_count; i++)
        if (r->origin[i] == origin)
            return (int) i;
    return NOT_THERE;
}

/* The change that adds the attribute of this origin. */
static const struct schema_change *adder_of(const struct schema_entry *e, uint64_t origin) {
    struct value name, fallback;

    for (uint32_t i = 0; i < e->change_count; i++)
        if (schema_change_adds(&e->changes[i], &name, &fallback) &&
            schema_change_origin(&e->changes[i], 0) == origin)
            return &e->changes[i];
    return NULL;
}

/* A change of ours that added what that of others adds, and came after it: it is void now. */
static const struct schema_change *rival_of(const struct journey *j,
                                            const struct schema_change *theirs) {
    struct value name, mine, ignored;

    EG_ASSERT(schema_change_adds(theirs, &name, &ignored));
    for (uint32_t i = 0; i < j->now->change_count; i++) {
        const struct schema_change *c = &j->now->changes[i];
        if (j->to.is_void[i] && schema_entry_has(j->was, c) &&
            schema_change_adds(c, &mine, &ignored) && value_equal(mine, name))
            return c;
    }
    return NULL;
}

/* The position of one of our fields, as an arrangement says it. */
static uint64_t source_of(const struct journey *j, uint32_t position) {
    return j->transform == NULL || position == 0 ? position
                                                 : (uint64_t) CONVERSION_LATER + position;
}

/* Is it one of our fields, or made of them by the transformation? */
static bool is_kept(const struct journey *j, uint64_t origin, uint64_t *source) {
    int position = position_of(&j->from, origin);

    for (uint32_t n = 1; j->transform != NULL && n < j->made; n++)
        if (schema_change_origin(j->transform, n) == origin) {
            *source = n;
            return true;
        }
    if (position == NOT_THERE)
        return false;
    *source = source_of(j, (uint32_t) position);
    return true;
}

static void put_new(struct value_writer *w, struct value fallback) {
    value_put_array(w, 2);
    value_put_nil(w);
    value_put_raw(w, fallback);
}

/* An attribute that others have added; perhaps we have one of that name, too. */
static void put_added(struct schema_plan *p, const struct journey *j, const struct schema_change *c,
                      struct value_writer *w) {
    const struct schema_change *rival = rival_of(j, c);
    struct value name, was, is;
    int position;

    EG_ASSERT(schema_change_adds(c, &name, &is));
    position = rival == NULL ? NOT_THERE : position_of(&j->from, schema_change_origin(rival, 0));
    if (position == NOT_THERE) {
        put_new(w, is);
        return;
    }
    EG_ASSERT(schema_change_adds(rival, &name, &was));
    p->lost |= !value_equal(was, is);
    value_put_array(w, 3);
    value_put_u64(w, source_of(j, (uint32_t) position));
    value_put_raw(w, was);
    value_put_raw(w, is);
}

static void put_field(struct schema_plan *p, const struct journey *j, uint32_t i,
                      struct value_writer *w) {
    static const uint8_t nil = 0xc0;
    const struct schema_change *c = adder_of(j->now, j->to.origin[i]);
    uint64_t source;

    if (is_kept(j, j->to.origin[i], &source)) {
        value_put_array(w, 1);
        value_put_u64(w, source);
    } else if (c != NULL) {
        put_added(p, j, c, w);
    } else {
        put_new(w, (struct value){&nil, 1});
    }
}

/* ---- arranging ----------------------------------------------------------------------------- */

/* Do records stay as they are? */
static bool is_as_before(const struct journey *j) {
    return !j->crossed || j->from.schema->layout == j->to.schema->layout;
}

static void put_arrangement(struct schema_plan *p, const struct journey *j, struct value schema,
                            struct value_writer *w) {
    const struct schema_name *name = &j->now->name;
    struct value program;

    value_put_array(w, 4);
    value_put_string(w, name->text, name->size_bytes);
    value_put_raw(w, schema);
    if (is_as_before(j)) {
        value_put_nil(w);
        value_put_nil(w);
        return;
    }
    value_put_array(w, j->to.schema->attribute_count);
    for (uint32_t i = 0; i < j->to.schema->attribute_count; i++)
        put_field(p, j, i, w);
    if (j->transform == NULL) {
        value_put_nil(w);
        return;
    }
    EG_ASSERT(array_element(schema_change_value(j->transform), 1, &program)); /* it is not void */
    value_put_array(w, 3);
    value_put_raw(w, program);
    value_put_u64(w, j->early);
    value_put_u64(w, j->made);
}

static eg_err arrange(struct schema_plan *p, const struct journey *j) {
    struct schema_plan_step *step = add_step(p, CATALOG_ARRANGE, &j->was->name);
    struct value_writer w = value_writer_init(NULL, 0);
    struct buffer encoded;
    struct value schema;
    uint8_t *room;
    eg_err err;

    if (step == NULL)
        return EG_MEMORY;
    buffer_init(&encoded, p->alloc, PLAN_BYTES_MAX);
    err = schema_encode(j->to.schema, &encoded);
    if (err == EG_OK) {
        schema = (struct value){encoded.at, (uint32_t) encoded.size_bytes};
        put_arrangement(p, j, schema, &w);
        room = buffer_room(&step->value, w.need_bytes);
        err = room == NULL ? EG_MEMORY : EG_OK;
    }
    if (err == EG_OK) {
        w = value_writer_init(room, w.need_bytes);
        put_arrangement(p, j, schema, &w);
        EG_ASSERT(!w.overflow);
        step->value.size_bytes = w.need_bytes;
    }
    buffer_fini(&encoded);
    return err;
}

/* ---- changes ------------------------------------------------------------------------------- */

static uint32_t common_changes(const struct schema_entry *a, const struct schema_entry *b) {
    uint32_t n = 0;

    while (n < a->change_count && n < b->change_count &&
           schema_change_equal(&a->changes[n], &b->changes[n]))
        n++;
    return n;
}

static bool changes_records(const struct schema_entry *e, uint32_t from) {
    for (uint32_t i = from; i < e->change_count; i++)
        if (e->changes[i].op == CATALOG_ALTER)
            return true;
    return false;
}

static bool is_transform(const struct schema_change *c) {
    struct value what;

    return c->op == CATALOG_ALTER && array_element(schema_change_value(c), 0, &what) &&
           value_is_string(what, "transform_table");
}

/* A transformation that we lack, and what it is made for. */
static eg_err find_transform(struct journey *j, struct err_note *note) {
    for (uint32_t i = j->common; i < j->now->change_count; i++) {
        const struct schema_change *c = &j->now->changes[i];
        struct schema_replay before, after;
        eg_err err;

        if (j->to.is_void[i] || !is_transform(c) || schema_entry_has(j->was, c))
            continue;
        err = schema_replay_open(&before, j->now, i, note);
        if (err != EG_OK)
            return err;
        err = schema_replay_open(&after, j->now, i + 1, note);
        if (err == EG_OK) {
            j->transform = c;
            j->early = EG_MIN(before.schema->attribute_count, j->from.schema->attribute_count);
            j->made = after.schema->attribute_count;
            schema_replay_close(&after);
        }
        schema_replay_close(&before);
        return err;
    }
    return EG_OK;
}

/* What we lack stands behind all that we have. */
static eg_err change_one_by_one(struct schema_plan *p, const struct journey *j) {
    eg_err err = EG_OK;

    for (uint32_t i = j->common; i < j->now->change_count && err == EG_OK; i++)
        if (!j->to.is_void[i])
            err = add_change(p, &j->was->name, &j->now->changes[i], i + 1);
    return err;
}

static bool has_index(const struct schema *s, const struct index_spec *x) {
    char title[INDEX_TITLE_BYTES_MAX];
    size_t title_bytes = index_spec_title(x, schema_attributes(s), title);

    for (uint32_t i = 0; i < s->index_count; i++)
        if (index_spec_same(s->index[i], x) && s->index[i]->unique == x->unique &&
            index_spec_called(s->index[i], schema_attributes(s), title, title_bytes))
            return true;
    return false;
}

static eg_err change_index(struct schema_plan *p, const struct journey *j, enum catalog_op op,
                           const struct schema *of, const struct index_spec *x) {
    struct schema_plan_step *step = add_step(p, op, &j->was->name);
    char title[INDEX_TITLE_BYTES_MAX];
    size_t title_bytes = index_spec_title(x, schema_attributes(of), title);
    struct value_writer w = value_writer_init(NULL, 0);
    uint8_t *room;

    if (step == NULL)
        return EG_MEMORY;
    for (int pass = 0; pass < 2; pass++) {
        if (op == CATALOG_DROP_INDEX)
            value_put_string(&w, title, title_bytes);
        else
            index_spec_put(x, schema_attributes(of), &w);
        if (pass == 1)
            break;
        room = buffer_room(&step->value, w.need_bytes);
        if (room == NULL)
            return EG_MEMORY;
        w = value_writer_init(room, w.need_bytes);
    }
    EG_ASSERT(!w.overflow);
    step->value.size_bytes = w.need_bytes;
    return EG_OK;
}

/* Both have changed indexes and nothing else: what differs in the end comes and goes. */
static eg_err change_indexes(struct schema_plan *p, const struct journey *j) {
    const struct schema *from = j->from.schema, *to = j->to.schema;
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < from->index_count && err == EG_OK; i++)
        if (!has_index(to, from->index[i]))
            err = change_index(p, j, CATALOG_DROP_INDEX, from, from->index[i]);
    for (uint32_t i = 0; i < to->index_count && err == EG_OK; i++)
        if (!has_index(from, to->index[i]))
            err = change_index(p, j, CATALOG_ADD_INDEX, to, to->index[i]);
    return err;
}

static eg_err travel(struct schema_plan *p, struct journey *j, struct err_note *note) {
    bool renamed = strcmp(j->was->name.text, j->now->name.text) != 0;
    bool both = j->common < j->was->change_count && j->common < j->now->change_count;
    eg_err err;

    j->crossed = both && (changes_records(j->was, j->common) || changes_records(j->now, j->common));
    if (j->crossed)
        err = find_transform(j, note);
    else
        err = both ? change_indexes(p, j) : change_one_by_one(p, j);
    return err == EG_OK && (j->crossed || renamed) ? arrange(p, j) : err;
}

static eg_err change(struct schema_plan *p, const struct schema_entry *was,
                     const struct schema_entry *now, struct err_note *note) {
    struct journey j = {.was = was, .now = now, .common = common_changes(was, now)};
    eg_err err = schema_replay_open(&j.from, was, was->change_count, note);

    if (err != EG_OK)
        return err;
    err = schema_replay_open(&j.to, now, now->change_count, note);
    if (err == EG_OK) {
        err = travel(p, &j, note);
        schema_replay_close(&j.to);
    }
    schema_replay_close(&j.from);
    return err;
}

/* ---- the whole ------------------------------------------------------------------------------- */

struct schema_plan_step *schema_plan_at(const struct schema_plan *p, uint32_t *count) {
    *count = (uint32_t) (p->steps.size_bytes / sizeof(struct schema_plan_step));
    return (struct schema_plan_step *) (void *) p->steps.at;
}

eg_err schema_plan_open(struct schema_plan *p, const struct schema_outcome *o,
                        struct err_note *note) {
    const struct schema_entry *was = live_or_null(o->was), *now = live_or_null(o->now);
    struct alloc *a = o->was != NULL ? o->was->alloc : o->now->alloc;
    eg_err err = EG_OK;

    *p = (struct schema_plan){.alloc = a};
    buffer_init(&p->steps, a, SIZE_MAX);
    if (was != NULL && now != NULL && was->id == now->id)
        return change(p, was, now, note);
    if (was != NULL)
        err = add_step(p, CATALOG_DROP, &was->name) == NULL ? EG_MEMORY : EG_OK;
    if (now != NULL && err == EG_OK)
        err = adopt(p, now, note);
    return err;
}

void schema_plan_close(struct schema_plan *p) {
    uint32_t count;
    struct schema_plan_step *step = schema_plan_at(p, &count);

    for (uint32_t i = 0; i < count; i++)
        buffer_fini(&step[i].value);
    buffer_fini(&p->steps);
}
