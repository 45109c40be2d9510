/* alter.c -- the next schema of a table, and what becomes of its records. */
#include "tables/alter.h"

#include "tables/record.h"

#include <string.h>

enum { ALTER_WORDS_MAX = 3 };

struct change {
    const struct schema *old;
    struct value word[ALTER_WORDS_MAX]; /* what follows the verb */
    struct err_note *note;
};

/* ---- attributes ---------------------------------------------------------------------- */

static eg_err text_of(const struct change *c, uint32_t number, const char **text,
                      uint32_t *text_bytes) {
    const uint8_t *at;

    if (value_kind_of(c->word[number]) != VALUE_STRING ||
        !value_get_bytes(c->word[number], &at, text_bytes))
        return err_note(c->note, EG_BAD_REQUEST, "an attribute's name is a string");
    *text = (const char *) at;
    return EG_OK;
}

/* The attribute that the word names. */
static eg_err find(const struct change *c, uint32_t number, uint32_t *position) {
    const char *text = "";
    uint32_t text_bytes = 0;
    eg_err err = text_of(c, number, &text, &text_bytes);
    int found;

    if (err != EG_OK)
        return err;
    found = schema_attribute(c->old, text, text_bytes);
    if (found < 0)
        return err_note(c->note, EG_BAD_REQUEST, "no attribute %.*s", (int) EG_MIN(text_bytes, 64u),
                        text);
    *position = (uint32_t) found;
    return EG_OK;
}

/* A name that no attribute has yet. */
static eg_err fresh_name(const struct change *c, uint32_t number, struct schema_name *name) {
    const char *text = "";
    uint32_t text_bytes = 0;
    eg_err err = text_of(c, number, &text, &text_bytes);

    if (err != EG_OK)
        return err;
    if (text_bytes == 0 || text_bytes > SCHEMA_NAME_MAX || memchr(text, 0, text_bytes) != NULL)
        return err_note(c->note, EG_BAD_REQUEST, "an attribute's name has 1 to 255 bytes");
    if (schema_attribute(c->old, text, text_bytes) >= 0)
        return err_note(c->note, EG_EXISTS, "there is an attribute %.*s",
                        (int) EG_MIN(text_bytes, 64u), text);
    *name = (struct schema_name){.size_bytes = (uint8_t) text_bytes};
    memcpy(name->text, text, text_bytes);
    return EG_OK;
}

/* Room for another number of attributes; those that fit both stay. */
static eg_err resize(struct schema *s, uint32_t count) {
    struct schema_name *room = alloc_zero(s->alloc, count * sizeof *room);

    if (room == NULL)
        return EG_MEMORY;
    memcpy(room, s->attributes, EG_MIN(count, s->attribute_count) * sizeof *room);
    alloc_put(s->alloc, s->attributes, s->attribute_count * sizeof *s->attributes);
    s->attributes = room;
    s->attribute_count = count;
    return EG_OK;
}

/* ---- the changes --------------------------------------------------------------------- */

/* Fields keep their places but for the one at `without`. */
static void keep_fields(struct conversion *to, uint32_t count, uint32_t without) {
    to->count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (i != without)
            to->field[to->count++] = (struct conversion_field){(int32_t) i, CONVERSION_NO_VALUE};
}

static eg_err add_attribute(const struct change *c, struct alter *x) {
    struct schema *s = x->schema;
    struct schema_name name;
    int32_t at = 0;
    eg_err err = fresh_name(c, 0, &name);

    if (err == EG_OK && s->attribute_count == SCHEMA_ATTRIBUTES_MAX)
        err = err_note(c->note, EG_BAD_REQUEST, "a table has at most 256 attributes");
    if (err == EG_OK)
        err = resize(s, s->attribute_count + 1);
    if (err == EG_OK)
        err = conversion_value(&x->conversion, c->word[1], &at);
    if (err != EG_OK)
        return err;
    s->attributes[s->attribute_count - 1] = name;
    keep_fields(&x->conversion, c->old->attribute_count, UINT32_MAX);
    x->conversion.field[x->conversion.count++] = (struct conversion_field){CONVERSION_DEFAULT, at};
    return EG_OK;
}

static bool in_an_index(const struct schema *s, uint32_t position) {
    for (uint32_t i = 0; i < s->index_count; i++)
        for (uint32_t n = 0; n < s->index[i]->part_count; n++)
            if (s->index[i]->part[n].position == position)
                return true;
    return false;
}

/* The index's attributes move up; one on an attribute alone has that one's number as its id. */
static void close_gap(struct index_spec *x, uint32_t position) {
    for (uint32_t n = 0; n < x->part_count; n++)
        x->part[n].position -= x->part[n].position > position;
    if (x->id < INDEX_ID_PATHS)
        x->id -= x->id > position;
}

static eg_err drop_attribute(const struct change *c, struct alter *x) {
    struct schema *s = x->schema;
    uint32_t position = 0;
    eg_err err = find(c, 0, &position);

    if (err != EG_OK)
        return err;
    if (position == 0)
        return err_note(c->note, EG_BAD_REQUEST, "the key stays, it can only be renamed");
    if (in_an_index(c->old, position))
        return err_note(c->note, EG_BAD_REQUEST, "an index uses %s: drop that first",
                        c->old->attributes[position].text);
    memmove(&s->attributes[position], &s->attributes[position + 1],
            (s->attribute_count - position - 1) * sizeof *s->attributes);
    for (uint32_t i = 0; i < s->index_count; i++)
        close_gap(s->index[i], position);
    keep_fields(&x->conversion, c->old->attribute_count, position);
    return resize(s, s->attribute_count - 1);
}

static eg_err rename_attribute(const struct change *c, struct alter *x) {
    struct schema_name name;
    uint32_t position = 0;
    eg_err err = find(c, 0, &position);

    if (err == EG_OK)
        err = fresh_name(c, 1, &name);
    if (err != EG_OK)
        return err;
    x->schema->attributes[position] = name;
    x->in_place = true;
    return EG_OK;
}

static eg_err change_storage(const struct change *c, struct alter *x) {
    struct schema *s = x->schema;

    if (!schema_storage(c->word[0], &s->storage))
        return err_note(c->note, EG_BAD_REQUEST, "storage is \"ram\", \"disc\" or \"disc_only\"");
    x->in_place = s->storage == c->old->storage;
    x->conversion.same = true;
    return schema_check(s, c->note);
}

/* Where the attribute at `position` is by its name; -1: not there any more. */
static int moved_to(const struct change *c, const struct schema *s, uint32_t position) {
    const struct schema_name *name = &c->old->attributes[position];
    return schema_attribute(s, name->text, name->size_bytes);
}

static bool is_variable(struct value v) {
    const uint8_t *at;
    uint32_t bytes;

    return value_kind_of(v) == VALUE_STRING && value_get_bytes(v, &at, &bytes) && bytes > 1 &&
           at[0] == '$' && at[1] >= '0' && at[1] <= '9';
}

/* Does what the clause makes have at `to` what the record has at `old`, as it stands there? */
static bool clause_keeps(struct value clause, uint32_t old, uint32_t to) {
    struct value head, bodies, body, made, was, is;

    if (!array_element(clause, 0, &head) || !array_element(clause, 2, &bodies) ||
        value_kind_of(bodies) != VALUE_ARRAY || value_count(bodies) == 0 ||
        !array_element(bodies, value_count(bodies) - 1, &body))
        return false;
    if (value_is_string(body, "$_"))
        return old == to;
    return value_kind_of(body) == VALUE_ARRAY && value_count(body) == 1 &&
           array_element(body, 0, &made) && value_kind_of(made) == VALUE_ARRAY &&
           array_element(made, to, &is) && value_kind_of(head) == VALUE_ARRAY &&
           array_element(head, old, &was) && is_variable(was) && value_equal(was, is);
}

/* Does every record keep what it has at `old`?  A record that no clause matches stays as it is,
 * where it may. */
static bool program_keeps(const struct change *c, const struct schema *s, uint32_t old,
                          uint32_t to) {
    struct value_iter it = value_iter_of(c->word[0]);
    struct value clause;

    if (old != to && s->attribute_count == c->old->attribute_count)
        return false;
    while (value_iter_next(&it, &clause))
        if (!clause_keeps(clause, old, to))
            return false;
    return true;
}

/* Indexes follow the names of their attributes. */
static eg_err move_index(const struct change *c, const struct schema *s, struct index_spec *x) {
    for (uint32_t n = 0; n < x->part_count; n++) {
        uint32_t old = x->part[n].position;
        int to = moved_to(c, s, old);

        if (to <= 0)
            return err_note(c->note, EG_BAD_REQUEST, "an index uses %s: drop that first",
                            c->old->attributes[old].text);
        if (x->unique && !program_keeps(c, s, old, (uint32_t) to)) /* two may become one */
            return err_note(c->note, EG_BAD_REQUEST,
                            "a unique index is on %s, which not every clause keeps as it is: drop "
                            "that first",
                            c->old->attributes[old].text);
        x->part[n].position = (uint16_t) to;
        if (x->id < INDEX_ID_PATHS)
            x->id = (uint16_t) to;
    }
    return EG_OK;
}

static eg_err transform_table(const struct change *c, struct alter *x) {
    struct schema *s = x->schema;
    eg_err err = predicate_open(&x->conversion.program, s->alloc, c->word[0],
                                c->old->attribute_count, c->note);

    if (err == EG_OK && value_kind_of(c->word[1]) != VALUE_NIL)
        err = schema_set_attributes(s, c->word[1], c->note);
    for (uint32_t i = 0; i < s->index_count && err == EG_OK; i++)
        err = move_index(c, s, s->index[i]);
    x->conversion.count = s->attribute_count;
    return err;
}

/* ---- the whole ----------------------------------------------------------------------- */

struct verb {
    const char *name;
    uint32_t words;
    bool lays_out; /* records have other fields then */
    eg_err (*make)(const struct change *c, struct alter *x);
};

static const struct verb verbs[] = {
    {"add_attribute", 2, true, add_attribute},        {"drop_attribute", 1, true, drop_attribute},
    {"rename_attribute", 2, false, rename_attribute}, {"change_storage", 1, false, change_storage},
    {"transform_table", 2, true, transform_table},
};

static eg_err read_change(struct change *c, struct value change, const struct verb **verb) {
    struct value_iter it;
    struct value name;

    if (change.size_bytes == 0 || value_kind_of(change) != VALUE_ARRAY)
        return err_note(c->note, EG_BAD_REQUEST, "a change is an array: what to do, and to what");
    it = value_iter_of(change);
    if (!value_iter_next(&it, &name))
        return err_note(c->note, EG_BAD_REQUEST, "an empty change");
    *verb = NULL;
    for (size_t i = 0; i < EG_COUNTOF(verbs) && *verb == NULL; i++)
        if (value_is_string(name, verbs[i].name))
            *verb = &verbs[i];
    if (*verb == NULL)
        return err_note(c->note, EG_BAD_REQUEST, "no such change of a table");
    if (value_count(change) != (*verb)->words + 1)
        return err_note(c->note, EG_BAD_REQUEST, "%s takes %u words", (*verb)->name,
                        (*verb)->words);
    for (uint32_t i = 0; i < (*verb)->words; i++)
        EG_ASSERT(value_iter_next(&it, &c->word[i]));
    return EG_OK;
}

eg_err alter_open(struct alter *out, struct alloc *a, const struct schema *old, struct value change,
                  struct err_note *note) {
    struct change c = {.old = old, .note = note};
    const struct verb *verb = NULL;
    eg_err err = read_change(&c, change, &verb);

    if (err != EG_OK)
        return err;
    *out = (struct alter){.schema = alloc_get(a, sizeof *out->schema)};
    if (out->schema == NULL)
        return EG_MEMORY;
    conversion_init(&out->conversion, a);
    err = schema_copy(out->schema, old);
    if (err != EG_OK) {
        alloc_put(a, out->schema, sizeof *out->schema);
        return err;
    }
    err = verb->make(&c, out);
    out->schema->version++;
    if (verb->lays_out)
        out->schema->layout = schema_next_layout(old, change);
    if (err != EG_OK)
        alter_close(out);
    return err;
}

void alter_close(struct alter *x) {
    struct alloc *a = x->conversion.alloc;

    if (x->schema != NULL) {
        schema_fini(x->schema);
        alloc_put(a, x->schema, sizeof *x->schema);
    }
    conversion_fini(&x->conversion);
}
