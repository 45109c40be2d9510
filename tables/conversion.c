/* conversion.c -- new records from old ones. */
#include "tables/conversion.h"

#include "tables/record.h"

enum { HEADER_BYTES = 5 };

void conversion_init(struct conversion *c, struct alloc *a) {
    *c = (struct conversion){.alloc = a};
    buffer_init(&c->fallback, a, RECORD_SIZE_MAX);
}

void conversion_fini(struct conversion *c) {
    buffer_fini(&c->fallback);
    if (c->program != NULL)
        predicate_close(c->program);
    c->program = NULL;
}

void conversion_room_init(struct conversion_room *room, struct alloc *a) {
    buffer_init(&room->record, a, (size_t) RECORD_SIZE_MAX * 2 + HEADER_BYTES);
    predicate_machine_init(&room->machine, a);
}

void conversion_room_fini(struct conversion_room *room) {
    buffer_fini(&room->record);
    predicate_machine_fini(&room->machine);
}

/* The old record's fields are walked once, for the sources ascend. */
static void put_fields(const struct conversion *c, struct value old, struct value_writer *w) {
    struct value_iter it = value_iter_of(old);
    struct value field = {0};
    int32_t at = -1;

    value_put_array(w, c->count);
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->source[i] == CONVERSION_DEFAULT) {
            value_put_raw(w, (struct value){c->fallback.at, (uint32_t) c->fallback.size_bytes});
            continue;
        }
        for (; at < c->source[i]; at++)
            EG_ASSERT(value_iter_next(&it, &field)); /* it has them all: checked when written */
        value_put_raw(w, field);
    }
}

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

static eg_err check_result(const struct conversion *c, struct value old, struct value fresh,
                           struct err_note *note) {
    struct value old_key, key;

    if (value_is_string(fresh, "EXIT"))
        return err_note(note, EG_BAD_REQUEST, "the body fails for a record");
    if (value_kind_of(fresh) != VALUE_ARRAY)
        return err_note(note, EG_BAD_REQUEST, "the body makes no array of a record");
    if (value_count(fresh) != c->count)
        return err_note(note, EG_BAD_REQUEST,
                        "the body makes %u fields of a record, the table has %u attributes",
                        value_count(fresh), c->count);
    EG_ASSERT(array_element(old, 0, &old_key) && array_element(fresh, 0, &key));
    if (!value_equal(old_key, key))
        return err_note(note, EG_BAD_REQUEST, "the body changes the key of a record");
    if (has_failed(old, fresh))
        return err_note(note, EG_BAD_REQUEST, "a call in the body fails for a record");
    return EG_OK;
}

static eg_err run_program(const struct conversion *c, struct conversion_room *room,
                          struct value old, struct value *fresh, struct err_note *note) {
    bool matched = false;
    eg_err err;

    buffer_clear(&room->record);
    err = predicate_run(&room->machine, c->program, old, &room->record, &matched);
    if (err != EG_OK)
        return err;
    if (!matched && value_count(old) != c->count)
        return err_note(note, EG_BAD_REQUEST,
                        "no clause matches a record, which cannot stay as it is");
    *fresh = matched ? (struct value){room->record.at, (uint32_t) room->record.size_bytes} : old;
    if (fresh->size_bytes > RECORD_SIZE_MAX)
        return err_note(note, EG_TOO_LARGE, "a record would be larger than 16 MiB");
    return matched ? check_result(c, old, *fresh, note) : EG_OK;
}

eg_err conversion_run(const struct conversion *c, struct conversion_room *room, struct value old,
                      struct value *fresh, struct err_note *note) {
    size_t most_bytes = HEADER_BYTES + old.size_bytes + c->fallback.size_bytes;
    struct value_writer w;
    uint8_t *at;

    if (c->same) {
        *fresh = old;
        return EG_OK;
    }
    if (c->program != NULL)
        return run_program(c, room, old, fresh, note);
    buffer_clear(&room->record);
    at = buffer_room(&room->record, most_bytes);
    if (at == NULL)
        return EG_MEMORY;
    w = value_writer_init(at, most_bytes);
    put_fields(c, old, &w);
    EG_ASSERT(!w.overflow);
    if (w.need_bytes > RECORD_SIZE_MAX)
        return err_note(note, EG_TOO_LARGE, "a record would be larger than 16 MiB");
    *fresh = (struct value){at, (uint32_t) w.need_bytes};
    return EG_OK;
}
