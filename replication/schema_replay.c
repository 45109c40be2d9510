/* schema_replay.c -- changes of a table, done to its schema alone. */
#include "replication/schema_replay.h"

#include "tables/alter.h"
#include "tables/catalog.h"

#include <string.h>
#include <xxhash.h>

#define MADE_LATER (UINT64_C(1) << 63) /* else the position of an attribute at its creation */

uint64_t schema_change_origin(const struct schema_change *c, uint32_t position) {
    uint64_t seed = c->stamp * 31 + c->op;

    return (XXH3_64bits_withSeed(c->at, c->size_bytes, seed) + position) | MADE_LATER;
}

bool schema_change_adds(const struct schema_change *c, struct value *name, struct value *fallback) {
    struct value v = schema_change_value(c), what;

    return c->op == CATALOG_ALTER && value_kind_of(v) == VALUE_ARRAY && value_count(v) == 3 &&
           array_element(v, 0, &what) && value_is_string(what, "add_attribute") &&
           array_element(v, 1, name) && array_element(v, 2, fallback);
}

/* ---- changes ----------------------------------------------------------------------------- */

/* Where the attributes of the next schema come from; the key stays itself. */
static void follow_origins(struct schema_replay *r, const struct schema_change *c,
                           const struct alter *x) {
    const struct conversion *v = &x->conversion;
    uint64_t was[SCHEMA_ATTRIBUTES_MAX];

    if (x->in_place || v->same)
        return;
    memcpy(was, r->origin, sizeof was);
    for (uint32_t i = 1; i < x->schema->attribute_count; i++) {
        bool kept = v->program == NULL && v->field[i].source != CONVERSION_DEFAULT;
        r->origin[i] =
            kept ? was[v->field[i].source] : schema_change_origin(c, v->program != NULL ? i : 0);
    }
}

static eg_err alter(struct schema_replay *r, const struct schema_change *c, struct err_note *note) {
    struct alter x;
    eg_err err = alter_open(&x, r->alloc, r->schema, schema_change_value(c), note);

    if (err != EG_OK)
        return err;
    follow_origins(r, c, &x);
    schema_fini(r->schema);
    alloc_put(r->alloc, r->schema, sizeof *r->schema);
    r->schema = x.schema;
    x.schema = NULL;
    alter_close(&x);
    return EG_OK;
}

static eg_err drop_index(struct schema_replay *r, struct value name) {
    const struct index_spec *x;
    const uint8_t *at;
    uint32_t size_bytes;

    if (value_kind_of(name) != VALUE_STRING || !value_get_bytes(name, &at, &size_bytes))
        return EG_BAD_REQUEST;
    x = schema_index(r->schema, (const char *) at, size_bytes);
    if (x == NULL)
        return EG_NOT_FOUND;
    schema_drop_index(r->schema, x->id);
    r->schema->version++;
    return EG_OK;
}

static eg_err add_index(struct schema_replay *r, struct value v, struct err_note *note) {
    struct index_spec x;
    eg_err err = index_spec_parse(&x, schema_attributes(r->schema), v, note);

    if (err == EG_OK)
        err = schema_add_index(r->schema, &x, note);
    r->schema->version += err == EG_OK;
    return err;
}

static eg_err change(struct schema_replay *r, const struct schema_change *c,
                     struct err_note *note) {
    switch (c->op) {
    case CATALOG_ADD_INDEX:
        return add_index(r, schema_change_value(c), note);
    case CATALOG_DROP_INDEX:
        return drop_index(r, schema_change_value(c));
    default:
        return alter(r, c, note);
    }
}

/* ---- open, close --------------------------------------------------------------------------- */

static eg_err create(struct schema_replay *r, const struct schema_entry *e, struct err_note *note) {
    struct value options = {e->schema.at, (uint32_t) e->schema.size_bytes};
    eg_err err;

    r->schema = alloc_zero(r->alloc, sizeof *r->schema);
    if (r->schema == NULL)
        return EG_MEMORY;
    err = schema_parse(r->schema, r->alloc, e->name.text, e->name.size_bytes, options, note);
    if (err != EG_OK) {
        alloc_put(r->alloc, r->schema, sizeof *r->schema);
        return err;
    }
    r->schema->name = r->schema->stored_name; /* whatever the schema calls itself */
    for (uint32_t i = 0; i < r->schema->attribute_count; i++)
        r->origin[i] = i;
    return EG_OK;
}

eg_err schema_replay_open(struct schema_replay *r, const struct schema_entry *e, uint32_t count,
                          struct err_note *note) {
    struct err_note ignored;
    eg_err err;

    *r = (struct schema_replay){.alloc = e->alloc};
    err = create(r, e, note);
    if (err != EG_OK)
        return err;
    for (uint32_t i = 0; i < count; i++) {
        err = change(r, &e->changes[i], &ignored);
        if (err == EG_MEMORY) {
            schema_replay_close(r);
            return err;
        }
        r->is_void[i] = err != EG_OK;
    }
    return EG_OK;
}

void schema_replay_close(struct schema_replay *r) {
    schema_fini(r->schema);
    alloc_put(r->alloc, r->schema, sizeof *r->schema);
}
