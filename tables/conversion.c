/* conversion.c -- new records from old ones. */
#include "tables/conversion.h"

#include "tables/record.h"

enum { HEADER_BYTES = 5 };

void conversion_init(struct conversion *c, struct alloc *a) {
    *c = (struct conversion){.alloc = a};
    buffer_init(&c->values, a, RECORD_SIZE_MAX);
}

void conversion_fini(struct conversion *c) {
    buffer_fini(&c->values);
    if (c->program != NULL)
        predicate_close(c->program);
    c->program = NULL;
}

void conversion_room_init(struct conversion_room *room, struct alloc *a) {
    buffer_init(&room->record, a, (size_t) RECORD_SIZE_MAX * 2 + HEADER_BYTES);
    buffer_init(&room->part, a, RECORD_SIZE_MAX + HEADER_BYTES);
    buffer_init(&room->made, a, (size_t) RECORD_SIZE_MAX * 2 + HEADER_BYTES);
    predicate_machine_init(&room->machine, a);
}

void conversion_room_fini(struct conversion_room *room) {
    buffer_fini(&room->record);
    buffer_fini(&room->part);
    buffer_fini(&room->made);
    predicate_machine_fini(&room->machine);
}

eg_err conversion_value(struct conversion *c, struct value v, int32_t *at) {
    *at = (int32_t) c->values.size_bytes;
    return buffer_append(&c->values, v.at, v.size_bytes) ? EG_OK : EG_MEMORY;
}

/* ---- fields ---------------------------------------------------------------------------- */

static uint32_t fields_of(struct value record, struct value field[SCHEMA_ATTRIBUTES_MAX]) {
    struct value_iter it = value_iter_of(record);
    uint32_t count = 0;

    while (count < SCHEMA_ATTRIBUTES_MAX && value_iter_next(&it, &field[count]))
        count++;
    return count;
}

static struct value value_at(const struct conversion *c, int32_t at) {
    return value_of(c->values.at + at);
}

/* What the new record has at `i`; `early` are the fields that the program made, or the old ones. */
static struct value choose(const struct conversion *c, uint32_t i, const struct value *early,
                           const struct value *old) {
    const struct conversion_field *f = &c->field[i];
    struct value v, was;

    if (f->source == CONVERSION_DEFAULT)
        return value_at(c, f->value);
    v = f->source >= CONVERSION_LATER ? old[f->source - CONVERSION_LATER] : early[f->source];
    if (f->value == CONVERSION_NO_VALUE)
        return v;
    was = value_at(c, f->value);
    return value_equal(v, was) ? value_of(was.at + was.size_bytes) : v;
}

static eg_err put_record(struct buffer *out, const struct value *field, uint32_t count) {
    size_t most_bytes = HEADER_BYTES;
    struct value_writer w;
    uint8_t *at;

    for (uint32_t i = 0; i < count; i++)
        most_bytes += field[i].size_bytes;
    buffer_clear(out);
    at = most_bytes > RECORD_SIZE_MAX + HEADER_BYTES ? NULL : buffer_room(out, most_bytes);
    if (at == NULL)
        return most_bytes > RECORD_SIZE_MAX + HEADER_BYTES ? EG_TOO_LARGE : EG_MEMORY;
    w = value_writer_init(at, most_bytes);
    value_put_array(&w, count);
    for (uint32_t i = 0; i < count; i++)
        value_put_raw(&w, field[i]);
    EG_ASSERT(!w.overflow);
    out->size_bytes = w.need_bytes;
    return w.need_bytes > RECORD_SIZE_MAX ? EG_TOO_LARGE : EG_OK;
}

static struct value record_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

/* The first fields, and nil where there are no more. */
static eg_err fit(struct buffer *out, const struct value *field, uint32_t have, uint32_t count) {
    static const uint8_t nil = 0xc0;
    struct value fitted[SCHEMA_ATTRIBUTES_MAX];

    for (uint32_t i = 0; i < count; i++)
        fitted[i] = i < have ? field[i] : (struct value){&nil, 1};
    return put_record(out, fitted, count);
}

/* ---- a program --------------------------------------------------------------------------- */

/* A call that failed has left "EXIT" where the old record has no such word. */
static bool has_failed(struct value old, struct value fresh) {
    struct value_iter it = value_iter_of(fresh);
    struct value field;
    bool failed = false;

    while (value_iter_next(&it, &field))
        failed |= value_is_string(field, "EXIT");
    it = value_iter_of(old);
    while (failed && value_iter_next(&it, &field))
        failed = !value_is_string(field, "EXIT");
    return failed;
}

static eg_err check_result(uint32_t count, struct value old, struct value fresh,
                           struct err_note *note) {
    struct value old_key, key;

    if (value_is_string(fresh, "EXIT"))
        return err_note(note, EG_BAD_REQUEST, "the body fails for a record");
    if (value_kind_of(fresh) != VALUE_ARRAY)
        return err_note(note, EG_BAD_REQUEST, "the body makes no array of a record");
    if (value_count(fresh) != count)
        return err_note(note, EG_BAD_REQUEST,
                        "the body makes %u fields of a record, the table has %u attributes",
                        value_count(fresh), count);
    EG_ASSERT(array_element(old, 0, &old_key) && array_element(fresh, 0, &key));
    if (!value_equal(old_key, key))
        return err_note(note, EG_BAD_REQUEST, "the body changes the key of a record");
    if (has_failed(old, fresh))
        return err_note(note, EG_BAD_REQUEST, "a call in the body fails for a record");
    return EG_OK;
}

static eg_err run_program(const struct conversion *c, struct conversion_room *room, uint32_t count,
                          struct value old, struct value *fresh, struct err_note *note) {
    bool matched = false;
    eg_err err;

    buffer_clear(&room->made);
    err = predicate_run(&room->machine, c->program, old, &room->made, &matched);
    if (err != EG_OK)
        return err;
    if (!matched && value_count(old) != count)
        return err_note(note, EG_BAD_REQUEST,
                        "no clause matches a record, which cannot stay as it is");
    *fresh = matched ? record_of(&room->made) : old;
    if (fresh->size_bytes > RECORD_SIZE_MAX)
        return err_note(note, EG_TOO_LARGE, "a record would be larger than 16 MiB");
    return matched ? check_result(count, old, *fresh, note) : EG_OK;
}

/* A refusal stands only where nobody has decided yet. */
static eg_err run_decided(const struct conversion *c, struct conversion_room *room, uint32_t count,
                          struct value old, struct value *fresh, struct err_note *note) {
    struct value field[SCHEMA_ATTRIBUTES_MAX];
    eg_err err = run_program(c, room, count, old, fresh, note);

    if (err == EG_OK || err == EG_MEMORY || !c->decided)
        return err;
    err = fit(&room->made, field, fields_of(old, field), count);
    *fresh = record_of(&room->made);
    return err;
}

/* ---- a record ------------------------------------------------------------------------------ */

/* What the program makes of the first fields. */
static eg_err run_early(const struct conversion *c, struct conversion_room *room,
                        const struct value *old, struct value *made, struct err_note *note) {
    eg_err err = put_record(&room->part, old, c->early);

    return err != EG_OK ? err : run_decided(c, room, c->made, record_of(&room->part), made, note);
}

static eg_err arrange(const struct conversion *c, struct conversion_room *room, struct value array,
                      struct value *fresh, struct err_note *note) {
    struct value old[SCHEMA_ATTRIBUTES_MAX], made[SCHEMA_ATTRIBUTES_MAX];
    struct value chosen[SCHEMA_ATTRIBUTES_MAX], part;
    uint32_t have = fields_of(array, old);
    const struct value *early = old;
    eg_err err = EG_OK;

    if (c->program != NULL) {
        EG_ASSERT(have >= c->early); /* it has them all: checked when written */
        err = run_early(c, room, old, &part, note);
        if (err != EG_OK)
            return err;
        (void) fields_of(part, made);
        early = made;
    }
    for (uint32_t i = 0; i < c->count; i++)
        chosen[i] = choose(c, i, early, old);
    err = put_record(&room->record, chosen, c->count);
    if (err == EG_TOO_LARGE && c->decided)
        err = fit(&room->record, chosen, 1, c->count);
    *fresh = record_of(&room->record);
    return err == EG_TOO_LARGE ? err_note(note, err, "a record would be larger than 16 MiB") : err;
}

eg_err conversion_run(const struct conversion *c, struct conversion_room *room, struct value old,
                      struct value *fresh, struct err_note *note) {
    if (c->same) {
        *fresh = old;
        return EG_OK;
    }
    if (c->program != NULL && c->early == 0)
        return run_decided(c, room, c->count, old, fresh, note);
    return arrange(c, room, old, fresh, note);
}
