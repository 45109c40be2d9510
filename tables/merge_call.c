/* merge_call.c -- a merge that the table's maker has written. */
#include "tables/merge_call.h"

#include "tables/predicate.h"
#include "tables/record.h"
#include "tables/value_append.h"

enum { SIDES = 2 };

eg_err merge_call_check(struct alloc *a, struct value callback, struct err_note *note) {
    struct predicate *p;
    eg_err err;

    if (callback.size_bytes > MERGE_CALL_BYTES_MAX)
        return err_note(note, EG_TOO_LARGE, "option callback: at most 64 KiB");
    if (value_kind_of(callback) == VALUE_STRING)
        return EG_OK;
    if (value_kind_of(callback) != VALUE_ARRAY)
        return err_note(note, EG_BAD_REQUEST,
                        "option callback: expected a match specification or a function's name");
    err = predicate_open(&p, a, callback, SIDES, note);
    if (err == EG_OK)
        predicate_close(p);
    return err;
}

/* ---- a specification ------------------------------------------------------------------------ */

struct pair {
    struct value winner, loser;
};

static void put_side(struct value_writer *w, struct value record) {
    if (record.size_bytes == 0)
        value_put_nil(w);
    else
        value_put_raw(w, record);
}

static void put_pair(struct value_writer *w, const void *what) {
    const struct pair *p = what;

    value_put_array(w, SIDES);
    put_side(w, p->winner);
    put_side(w, p->loser);
}

static eg_err run_program(const struct merge_call *c, const struct predicate *program,
                          const struct pair *sides, struct buffer *out) {
    struct predicate_machine machine;
    struct buffer pair;
    bool matched = false;
    eg_err err;

    predicate_machine_init(&machine, c->alloc);
    buffer_init(&pair, c->alloc, SIZE_MAX);
    err = value_append(&pair, put_pair, sides);
    if (err == EG_OK)
        err = predicate_run(&machine, program, (struct value){pair.at, (uint32_t) pair.size_bytes},
                            out, &matched);
    if (err == EG_OK && !matched && sides->winner.size_bytes != 0 &&
        !buffer_append(out, sides->winner.at, sides->winner.size_bytes))
        err = EG_MEMORY;
    buffer_fini(&pair);
    predicate_machine_fini(&machine);
    return err;
}

static eg_err run_specification(const struct merge_call *c, const struct pair *sides,
                                struct buffer *out) {
    struct predicate *program;
    eg_err err = predicate_open(&program, c->alloc, c->callback, SIDES, NULL);

    if (err != EG_OK)
        return err;
    err = run_program(c, program, sides, out);
    predicate_close(program);
    return err;
}

/* ---- a function ------------------------------------------------------------------------------ */

static eg_err run_function(const struct merge_call *c, const struct pair *sides,
                           struct buffer *out) {
    for (uint32_t i = 0; i < c->function_count; i++)
        if (value_is_string(c->callback, c->function[i].name))
            return c->function[i].call(c->function[i].context, sides->winner, sides->loser, out);
    return EG_NOT_FOUND;
}

/* ---- what comes of it ------------------------------------------------------------------------ */

/* A call that failed has left "EXIT" where neither record has such a word. */
static bool has_exit(struct value record) {
    struct value_iter it;
    struct value field;

    if (record.size_bytes == 0)
        return false;
    it = value_iter_of(record);
    while (value_iter_next(&it, &field))
        if (value_is_string(field, "EXIT"))
            return true;
    return false;
}

static bool is_record(const struct merge_call *c, const struct pair *sides, struct value made) {
    struct value of = sides->winner.size_bytes != 0 ? sides->winner : sides->loser;
    struct value key, its_key;

    return value_kind_of(made) == VALUE_ARRAY && value_count(made) == c->attribute_count &&
           made.size_bytes <= RECORD_SIZE_MAX && array_element(made, 0, &its_key) &&
           (of.size_bytes == 0 || (array_element(of, 0, &key) && value_equal(key, its_key))) &&
           (!has_exit(made) || has_exit(sides->winner) || has_exit(sides->loser));
}

eg_err merge_call_run(void *call, struct value winner, struct value loser, struct buffer *out) {
    const struct merge_call *c = call;
    const struct pair sides = {winner, loser};
    size_t before_bytes = out->size_bytes, used_bytes;
    struct value made;
    eg_err err = value_kind_of(c->callback) == VALUE_STRING ? run_function(c, &sides, out)
                                                            : run_specification(c, &sides, out);

    if (err == EG_OK && out->size_bytes == before_bytes)
        return EG_OK;
    if (err != EG_OK) {
        out->size_bytes = before_bytes;
        return err;
    }
    made = (struct value){out->at + before_bytes, (uint32_t) (out->size_bytes - before_bytes)};
    if (value_scan(made.at, made.size_bytes, &used_bytes) != EG_OK || used_bytes != made.size_bytes)
        err = EG_BAD_REQUEST;
    else if (value_kind_of(made) != VALUE_NIL)
        err = is_record(c, &sides, made) ? EG_OK : EG_BAD_REQUEST;
    if (err != EG_OK || value_kind_of(made) == VALUE_NIL)
        out->size_bytes = before_bytes;
    return err;
}
