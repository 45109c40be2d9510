/* arrange.c -- a schema that was agreed on, and where its records' fields come from. */
#include "tables/arrange.h"

#include <string.h>

enum { ARRANGE_WORDS = 4, TRANSFORM_WORDS = 3 };

static eg_err malformed(struct err_note *note) {
    return err_note(note, EG_BAD_REQUEST, "an arrangement is a name, a schema, fields, a program");
}

static bool words_of(struct value v, struct value *word, uint32_t count) {
    struct value_iter it;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != count)
        return false;
    it = value_iter_of(v);
    for (uint32_t i = 0; i < count; i++)
        EG_ASSERT(value_iter_next(&it, &word[i]));
    return true;
}

/* ---- the schema ------------------------------------------------------------------------ */

static eg_err take_schema(struct schema *to, struct alloc *a, const struct schema *old,
                          const struct value word[ARRANGE_WORDS], struct err_note *note) {
    const uint8_t *at;
    uint32_t size_bytes;
    eg_err err;

    if (value_kind_of(word[0]) != VALUE_STRING || !value_get_bytes(word[0], &at, &size_bytes) ||
        value_kind_of(word[1]) != VALUE_MAP)
        return malformed(note);
    err = schema_parse(to, a, (const char *) at, size_bytes, word[1], note);
    if (err != EG_OK)
        return err;
    to->name = to->stored_name; /* whatever the schema calls itself */
    to->version = EG_MAX(to->version, old->version) + 1;
    if (to->id == old->id && to->seed == old->seed && to->type == old->type &&
        to->shards == old->shards)
        return EG_OK;
    schema_fini(to);
    return err_note(note, EG_BAD_REQUEST, "an arrangement is of the same table");
}

/* ---- fields ------------------------------------------------------------------------------ */

struct reading {
    const struct schema *old;
    struct conversion *to;
};

/* Is there such a field, of the old record or of what the program makes? */
static bool is_source(const struct reading *r, uint64_t source) {
    uint32_t old = r->old->attribute_count;

    if (r->to->program == NULL)
        return source < old;
    return source < r->to->made || (source >= CONVERSION_LATER && source - CONVERSION_LATER < old);
}

static bool read_field(const struct reading *r, struct value v, struct conversion_field *f) {
    struct value word[3];
    uint64_t source;

    *f = (struct conversion_field){CONVERSION_DEFAULT, CONVERSION_NO_VALUE};
    if (words_of(v, word, 2))
        return value_kind_of(word[0]) == VALUE_NIL &&
               conversion_value(r->to, word[1], &f->value) == EG_OK;
    if (!words_of(v, word, 1) && !words_of(v, word, 3))
        return false;
    if (!value_get_u64(word[0], &source) || !is_source(r, source))
        return false;
    f->source = (int32_t) source;
    if (value_count(v) == 3) { /* one behind the other */
        int32_t behind;
        return conversion_value(r->to, word[1], &f->value) == EG_OK &&
               conversion_value(r->to, word[2], &behind) == EG_OK;
    }
    return true;
}

static eg_err take_fields(const struct reading *r, struct value v, uint32_t count,
                          struct err_note *note) {
    struct conversion *to = r->to;
    struct value_iter it;
    struct value field;

    to->same = value_kind_of(v) == VALUE_NIL;
    if (to->same)
        return EG_OK;
    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != count)
        return malformed(note);
    it = value_iter_of(v);
    for (to->count = 0; value_iter_next(&it, &field); to->count++)
        if (!read_field(r, field, &to->field[to->count]))
            return malformed(note);
    return to->field[0].source == 0 ? EG_OK : malformed(note); /* the key stays the key */
}

static eg_err take_transform(const struct reading *r, struct value v, struct err_note *note) {
    struct conversion *to = r->to;
    struct value word[TRANSFORM_WORDS];
    uint64_t early, made;

    if (value_kind_of(v) == VALUE_NIL)
        return EG_OK;
    if (!words_of(v, word, TRANSFORM_WORDS) || !value_get_u64(word[1], &early) ||
        !value_get_u64(word[2], &made) || early == 0 || early > r->old->attribute_count ||
        made == 0 || made > SCHEMA_ATTRIBUTES_MAX)
        return malformed(note);
    to->early = (uint32_t) early;
    to->made = (uint32_t) made;
    return predicate_open(&to->program, to->alloc, word[0], to->early, note);
}

/* ---- the whole ----------------------------------------------------------------------------- */

eg_err arrange_open(struct alter *out, struct alloc *a, const struct schema *old,
                    struct value change, struct err_note *note) {
    struct reading r = {old, &out->conversion};
    struct value word[ARRANGE_WORDS];
    eg_err err;

    if (!words_of(change, word, ARRANGE_WORDS))
        return malformed(note);
    *out = (struct alter){.schema = alloc_zero(a, sizeof *out->schema)};
    if (out->schema == NULL)
        return EG_MEMORY;
    err = take_schema(out->schema, a, old, word, note);
    if (err != EG_OK) {
        alloc_put(a, out->schema, sizeof *out->schema);
        return err;
    }
    conversion_init(&out->conversion, a);
    out->conversion.decided = true;
    err = take_transform(&r, word[3], note);
    if (err == EG_OK)
        err = take_fields(&r, word[2], out->schema->attribute_count, note);
    if (err != EG_OK)
        alter_close(out);
    return err;
}
