/* tx_scan_step.c -- rows judged, and what follows from it: results, a count, changes.
 *
 * Changes are gathered first and made at the end, all or none: what is being gone through must not
 * move meanwhile. */
#include "query/tx_scan_private.h"

#include "tables/pattern.h"

#include <string.h>

enum { ARRAY32_BYTES = 5, NUMBER_BYTES = 9 };

static struct value bytes_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

static bool gives_results(const struct tx_scan *s) {
    return s->kind <= SELECT_INDEX;
}

static eg_err too_large(struct err_note *note) {
    return err_note(note, EG_TOO_LARGE, "the answer is too large: ask with a limit");
}

/* ---- judging ----------------------------------------------------------------------- */

/* Is it under the value that the index was asked for? */
static bool is_indexed(const struct tx_scan *s, struct value row) {
    for (uint32_t i = 0; i < s->path.equal_count; i++)
        if (!value_equal(index_spec_field(&s->spec, i, row), s->path.equal[i]))
            return false;
    return true;
}

/* Is it meant?  Then its result has been appended to `out`, where out is not NULL. */
static eg_err judge(struct tx_scan *s, struct value row, struct buffer *out, bool *meant) {
    if (s->predicate != NULL)
        return predicate_run(&s->machine, s->predicate, row, out, meant);
    *meant = tx_scan_is_all(s) ||
             (s->kind == SELECT_INDEX ? is_indexed(s, row)
                                      : pattern_matches(bytes_of(&s->question), row));
    if (*meant && out != NULL && !buffer_append(out, row.at, row.size_bytes))
        return EG_TOO_LARGE;
    return EG_OK;
}

/* Does the body yield true? */
static eg_err judge_true(struct tx_scan *s, struct value row, bool *yes) {
    bool meant = false;
    eg_err err;

    buffer_clear(&s->judged);
    err = judge(s, row, &s->judged, &meant);
    *yes = false;
    if (err == EG_OK && meant && !value_get_bool(bytes_of(&s->judged), yes))
        *yes = false;
    return err;
}

/* May the body's result stand in the record's place? */
static eg_err check_replacement(const struct tx_scan *s, struct value row, struct err_note *note) {
    struct value v = bytes_of(&s->judged), key, old_key;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != s->arity)
        return err_note(note, EG_BAD_REQUEST,
                        "the body yields something else than a record of %u attributes", s->arity);
    EG_ASSERT(array_element(row, 0, &old_key));
    if (!array_element(v, 0, &key) || !value_equal(key, old_key))
        return err_note(note, EG_BAD_REQUEST, "the body yields a record with another key");
    return EG_OK;
}

/* What is to be done with it is kept: the record, or what is to take its place. */
static eg_err gather(struct tx_scan *s, struct value row, struct err_note *note) {
    struct value todo = row;
    bool change = false;
    eg_err err;

    if (s->kind == SELECT_DELETE) {
        err = judge_true(s, row, &change);
    } else {
        buffer_clear(&s->judged);
        err = judge(s, row, s->kind == SELECT_REPLACE ? &s->judged : NULL, &change);
        if (err == EG_OK && change && s->kind == SELECT_REPLACE)
            err = check_replacement(s, row, note);
        if (s->kind == SELECT_REPLACE)
            todo = bytes_of(&s->judged);
    }
    if (err != EG_OK || !change)
        return err;
    s->count++;
    return buffer_append(&s->todo, todo.at, todo.size_bytes) ? EG_OK : too_large(note);
}

/* One for the page; one more than that only says that there is another page. */
static eg_err take_result(struct tx_scan *s, struct value row, struct buffer *result, bool *more,
                          struct err_note *note) {
    bool meant = false;
    eg_err err = judge(s, row, s->full ? NULL : result, &meant);

    if (err == EG_TOO_LARGE)
        return too_large(note);
    if (err != EG_OK || !meant)
        return err;
    *more = s->full;
    s->count += !s->full;
    return EG_OK;
}

static eg_err take(struct tx_scan *s, struct value row, struct buffer *result, bool *more,
                   struct err_note *note) {
    bool yes;
    eg_err err;

    *more = false;
    if (gives_results(s))
        return take_result(s, row, result, more, note);
    if (s->kind != SELECT_COUNT)
        return gather(s, row, note);
    err = judge_true(s, row, &yes);
    s->count += err == EG_OK && yes;
    return err;
}

/* ---- answers --------------------------------------------------------------------------- */

static eg_err begin_page(struct tx_scan *s, struct buffer *result, struct err_note *note) {
    s->begun = true;
    s->header_at = result->size_bytes;
    if (buffer_room(result, ARRAY32_BYTES) == NULL)
        return too_large(note);
    result->size_bytes += ARRAY32_BYTES;
    return EG_OK;
}

static void end_page(struct tx_scan *s, struct buffer *result) {
    uint8_t *header = result->at + s->header_at;
    size_t body_bytes = result->size_bytes - s->header_at - ARRAY32_BYTES;
    struct value_writer w = value_writer_init(header, ARRAY32_BYTES);

    value_put_array(&w, (uint32_t) s->count);
    memmove(header + w.need_bytes, header + ARRAY32_BYTES, body_bytes);
    result->size_bytes -= ARRAY32_BYTES - w.need_bytes;
}

static eg_err end_count(const struct tx_scan *s, struct buffer *result) {
    uint8_t *room = buffer_room(result, NUMBER_BYTES);
    struct value_writer w;

    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, NUMBER_BYTES);
    value_put_u64(&w, s->count);
    result->size_bytes += w.need_bytes;
    return EG_OK;
}

/* ---- changes ----------------------------------------------------------------------------- */

/* {attribute: field, ...}: what is left of the record's time stays. */
static eg_err fields_of(struct tx_scan *s, const struct tx_place *at, struct value record) {
    const struct schema *schema = table_schema(at->table);
    size_t room_bytes = record.size_bytes + 5;
    struct value_iter it = value_iter_of(record);
    struct value_writer w;
    struct value field;
    uint8_t *room;

    for (uint32_t i = 1; i < schema->attribute_count; i++)
        room_bytes += schema->attributes[i].size_bytes + 5u;
    buffer_clear(&s->judged);
    room = buffer_room(&s->judged, room_bytes);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, room_bytes);
    value_put_map(&w, schema->attribute_count - 1);
    EG_ASSERT(value_iter_next(&it, &field)); /* the key */
    for (uint32_t i = 1; value_iter_next(&it, &field); i++) {
        value_put_string(&w, schema->attributes[i].text, schema->attributes[i].size_bytes);
        value_put_raw(&w, field);
    }
    EG_ASSERT(!w.overflow);
    s->judged.size_bytes = w.need_bytes;
    return EG_OK;
}

static eg_err change_one(struct tx_scan *s, const struct tx_place *at, struct value record,
                         struct err_note *note) {
    struct shard_request q = {.op = SHARD_DELETE, .attribute = SHARD_NO_ATTRIBUTE};
    uint8_t room[64];
    struct buffer answer = {.alloc = s->alloc, .at = room, .room_bytes = sizeof room};
    eg_err err = EG_OK;

    EG_ASSERT(array_element(record, 0, &q.key));
    if (s->kind == SELECT_REPLACE) {
        q.op = SHARD_UPDATE;
        err = fields_of(s, at, record);
        q.value = bytes_of(&s->judged);
    } else if (s->tx->table[s->table].many) {
        q.op = SHARD_DELETE_OBJECT;
        q.value = record;
    }
    if (err == EG_OK)
        err = tx_change(s->tx, at, &q, &answer, note); /* a bool: never grows the buffer */
    EG_ASSERT(answer.at == room);
    return err;
}

static eg_err change_all(struct tx_scan *s, const struct tx_place *at,
                         const struct select_pace *pace, struct err_note *note) {
    uint32_t done = 0;

    if (!s->doing) {
        s->undo = tx_mark(s->tx);
        s->tx->shown = EG_MAX(s->tx->shown, s->tx->write_count);
        s->doing = true;
    }
    while (s->todo_at < s->todo.size_bytes) {
        struct value record = value_of(s->todo.at + s->todo_at);
        eg_err err = change_one(s, at, record, note);

        if (err == EG_AGAIN)
            return err;
        if (err != EG_OK) {
            if (s->tx->state == TX_OPEN)
                tx_undo_to(s->tx, s->undo);
            return err;
        }
        s->todo_at += record.size_bytes;
        if (++done % 32 == 0 && pace->is_over(pace->context))
            return EG_AGAIN;
    }
    return EG_OK;
}

/* ---- a step -------------------------------------------------------------------------------- */

static eg_err look_on(struct tx_scan *s, const struct tx_place *at, const struct select_pace *pace,
                      struct buffer *result, struct err_note *note) {
    struct tx_step step = {.scan = NULL};
    eg_err err = EG_OK;
    bool more = false;

    while (err == EG_OK && !s->scanned) {
        err = tx_scan_peek(s, at, &step);
        if (err != EG_OK)
            break;
        if (step.row.size_bytes == 0) {
            s->scanned = true;
            break;
        }
        err = take(s, step.row, result, &more, note);
        if (err != EG_OK)
            break;
        if (more) { /* it is the next page's */
            s->more = true;
            err = tx_scan_note(s, at, &step);
            return err == EG_OK ? tx_scan_leave(s, &step) : err;
        }
        err = tx_scan_pass(s, at, &step);
        if (err == EG_OK && gives_results(s) && s->limit != 0 && s->count >= s->limit) {
            if (s->kind != SELECT_RESULTS) /* that is all that was asked for */
                return tx_scan_leave(s, &step);
            s->full = true;
        }
        if (err == EG_OK)
            err = tx_scan_pause(s, &step, pace);
    }
    if (err == EG_AGAIN && s->tx->asks != TX_ASKS_NOTHING) {
        eg_err left = tx_scan_leave(s, &step);
        return left == EG_OK ? EG_AGAIN : left;
    }
    return err;
}

static eg_err check_table(const struct tx_scan *s, struct table *t, struct err_note *note) {
    const struct schema *schema = table_schema(t);

    if (table_dropped(t))
        return err_note(note, EG_NO_TABLE, "the table was dropped meanwhile");
    if (table_shape(t) != s->shape)
        return err_note(note, EG_ABORTED, "the table's attributes were changed meanwhile");
    if (schema->version != s->version && scan_by_index(&s->path))
        return err_note(note, EG_ABORTED, "the table's indexes were changed meanwhile");
    return EG_OK;
}

eg_err tx_scan_step(struct tx_scan *s, const struct tx_place *at, const struct select_pace *pace,
                    struct buffer *result, struct err_note *note) {
    eg_err err = tx_enter(s->tx, note);

    if (err == EG_OK && s->over)
        err = err_note(note, EG_ABORTED, "what the question was asked in has ended");
    if (err == EG_OK)
        err = check_table(s, at->table, note);
    if (err == EG_OK && !s->begun && gives_results(s))
        err = begin_page(s, result, note);
    if (err == EG_OK && !s->doing)
        err = look_on(s, at, pace, result, note);
    if (err == EG_CONFLICT)
        return tx_check(s->tx, note);
    if (err != EG_OK)
        return err;
    if (gives_results(s)) {
        end_page(s, result);
        return EG_OK;
    }
    if (s->kind != SELECT_COUNT)
        err = change_all(s, at, pace, note);
    return err == EG_OK ? end_count(s, result) : err;
}

/* ---- row by row -------------------------------------------------------------------------- */

/* It was looked at, but not taken. */
static eg_err put_back(struct tx_scan *s, const struct tx_place *at, struct tx_step *step) {
    eg_err err = tx_scan_note(s, at, step);

    if (err == EG_OK)
        err = tx_scan_leave(s, step);
    return err == EG_OK ? EG_NOT_FOUND : err;
}

static eg_err hand_over(struct tx_scan *s, const struct tx_place *at,
                        const struct select_pace *pace,
                        eg_err (*each)(void *context, struct value row, bool *enough),
                        void *context) {
    struct tx_step step = {.scan = NULL};
    eg_err err = EG_OK;

    while (err == EG_OK && !s->scanned && !s->full) {
        err = tx_scan_peek(s, at, &step);
        if (err == EG_OK && step.row.size_bytes == 0) {
            s->scanned = true;
            break;
        }
        if (err == EG_OK)
            err = each(context, step.row, &s->full);
        if (err == EG_NOT_FOUND)
            return put_back(s, at, &step);
        if (err == EG_OK)
            err = tx_scan_pass(s, at, &step);
        if (err == EG_OK && !s->full)
            err = tx_scan_pause(s, &step, pace);
    }
    if (err == EG_AGAIN && s->tx->asks != TX_ASKS_NOTHING) {
        eg_err left = tx_scan_leave(s, &step);
        return left == EG_OK ? EG_AGAIN : left;
    }
    return err;
}

eg_err tx_scan_each(struct tx_scan *s, const struct tx_place *at, const struct select_pace *pace,
                    eg_err (*each)(void *context, struct value row, bool *enough), void *context,
                    struct err_note *note) {
    eg_err err = tx_enter(s->tx, note);

    if (err == EG_OK && s->over)
        err = err_note(note, EG_ABORTED, "what the question was asked in has ended");
    if (err == EG_OK)
        err = check_table(s, at->table, note);
    if (err == EG_OK)
        err = hand_over(s, at, pace, each, context);
    return err == EG_CONFLICT ? tx_check(s->tx, note) : err;
}

bool tx_scan_has_more(const struct tx_scan *s) {
    return s->more;
}

void tx_scan_next_page(struct tx_scan *s) {
    EG_ASSERT(s->more);
    s->begun = s->full = s->more = false;
    s->count = 0;
}
