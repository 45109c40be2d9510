/* api_tx_scan.c -- questions inside a transaction, moved by the program's own thread in pieces. */
#include "node/api_tx_private.h"

#include "engine/runtime.h"
#include "tables/table.h"

#include <string.h>

enum {
    PIECE_NS = 1000 * 1000, /* of work in one reading section */
    FOLD_RECORDS = 256,     /* of one page                    */
    SPEC_BYTES = 512,       /* of a question put together on the stack */
};

struct piece {
    struct env *env;
    uint64_t until_ns;
};

static bool piece_is_over(void *context) {
    const struct piece *p = context;
    return env_now_ns(p->env) >= p->until_ns;
}

/* ---- a question's life ----------------------------------------------------------------- */

/* From its opening to the end of a page. */
struct question {
    struct select_opts o;
    struct tx_scan *scan; /* NULL: not open yet */
    struct buffer *out;
};

static eg_err step_question(eg_tx *tx, const struct tx_place *at, void *what) {
    struct question *q = what;
    struct env *env = &tx->txs->thread->owner->env.env;
    struct piece piece = {env, env_now_ns(env) + PIECE_NS};
    const struct select_pace pace = {.is_over = piece_is_over, .context = &piece};
    eg_err err = EG_OK;

    if (q->scan == NULL)
        err = tx_scan_open(&q->scan, tx->txs->tx, at, &q->o, &tx->note);
    return err == EG_OK ? tx_scan_step(q->scan, at, &pace, q->out, &tx->note) : err;
}

static eg_err ask(eg_tx *tx, eg_table *table, const struct select_opts *o, struct buffer *out) {
    struct question q = {.o = *o, .out = out};
    eg_err err;

    err = api_tx_run(tx, table, step_question, &q);
    if (q.scan != NULL)
        tx_scan_close(q.scan);
    return err;
}

static eg_err results(eg_tx *tx, eg_table *table, const struct select_opts *o, eg_result *out) {
    struct buffer b;

    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    return api_result_of(&b, ask(tx, table, o, &b), out);
}

static eg_err number_of(eg_tx *tx, eg_table *table, const struct select_opts *o, uint64_t *count) {
    uint8_t room[16];
    struct buffer b = {.alloc = alloc_system(), .at = room, .room_bytes = sizeof room};
    uint64_t n = 0;
    eg_err err = ask(tx, table, o, &b); /* one number: never grows the buffer */

    EG_ASSERT(b.at == room);
    if (err == EG_OK && !value_get_u64((struct value){room, (uint32_t) b.size_bytes}, &n))
        err = EG_INTERNAL;
    if (err == EG_OK && count != NULL)
        *count = n;
    return err;
}

static eg_err check(eg_tx *tx, eg_table *table, eg_span given, struct value *v) {
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_tx_check(tx);
    return err == EG_OK ? api_value_of_span(given, v) : err;
}

/* The dirty contexts ask as without any: a question is no call by key. */
static eg_note *note_of(eg_tx *tx) {
    _Static_assert(sizeof(eg_note) == sizeof(struct err_note), "one sentence");
    return (eg_note *) (void *) &tx->note;
}

/* ---- the calls ---------------------------------------------------------------------------- */

eg_err eg_tx_index_read(eg_tx *tx, eg_table *table, const char *attribute, eg_span value,
                        eg_result *out) {
    struct select_opts o = {.kind = SELECT_INDEX};
    uint8_t small[SPEC_BYTES], *room = small;
    struct value_writer w;
    size_t room_bytes;
    struct value v;
    eg_err err = attribute == NULL ? EG_BAD_REQUEST : check(tx, table, value, &v);

    if (err != EG_OK)
        return err;
    if (api_tx_is_dirty(tx))
        return eg_index_read(table, attribute, value, out);
    room_bytes = strlen(attribute) + v.size_bytes + 16;
    if (room_bytes > sizeof small)
        room = alloc_get(alloc_system(), room_bytes);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, room_bytes);
    value_put_array(&w, 2);
    value_put_text(&w, attribute);
    value_put_raw(&w, v);
    o.question = (struct value){room, (uint32_t) w.need_bytes};
    err = results(tx, table, &o, out);
    if (room != small)
        alloc_put(alloc_system(), room, room_bytes);
    return err;
}

eg_err eg_tx_match(eg_tx *tx, eg_table *table, eg_span pattern, uint64_t limit, eg_result *out) {
    struct select_opts o = {.kind = SELECT_MATCH, .limit = limit};
    eg_err err = check(tx, table, pattern, &o.question);

    if (err != EG_OK)
        return err;
    return api_tx_is_dirty(tx) ? eg_match(table, pattern, limit, out, note_of(tx))
                               : results(tx, table, &o, out);
}

eg_err eg_tx_select(eg_tx *tx, eg_table *table, eg_span spec, uint64_t limit, eg_result *out) {
    struct select_opts o = {.kind = SELECT_RESULTS, .limit = limit};
    eg_err err = check(tx, table, spec, &o.question);

    if (err != EG_OK)
        return err;
    return api_tx_is_dirty(tx) ? eg_select(table, spec, limit, out, note_of(tx))
                               : results(tx, table, &o, out);
}

static eg_err
select_number(eg_tx *tx, eg_table *table, enum select_kind kind, eg_span spec, uint64_t *count,
              eg_err (*plain)(eg_table *table, eg_span spec, uint64_t *count, eg_note *note)) {
    struct select_opts o = {.kind = kind};
    eg_err err = check(tx, table, spec, &o.question);

    if (err != EG_OK)
        return err;
    return api_tx_is_dirty(tx) ? plain(table, spec, count, note_of(tx))
                               : number_of(tx, table, &o, count);
}

eg_err eg_tx_select_count(eg_tx *tx, eg_table *table, eg_span spec, uint64_t *count) {
    return select_number(tx, table, SELECT_COUNT, spec, count, eg_select_count);
}

eg_err eg_tx_select_delete(eg_tx *tx, eg_table *table, eg_span spec, uint64_t *count) {
    return select_number(tx, table, SELECT_DELETE, spec, count, eg_select_delete);
}

eg_err eg_tx_select_replace(eg_tx *tx, eg_table *table, eg_span spec, uint64_t *count) {
    return select_number(tx, table, SELECT_REPLACE, spec, count, eg_select_replace);
}

/* ---- neighbours, size ----------------------------------------------------------------------- */

struct neighbour {
    struct value key; /* size 0: from the end */
    bool back;
    struct buffer *out;
};

static eg_err step_neighbour(eg_tx *tx, const struct tx_place *at, void *what) {
    struct neighbour *n = what;
    return tx_step(tx->txs->tx, at, n->key, n->back, n->out, &tx->note);
}

static eg_err neighbour(eg_tx *tx, eg_table *table, struct value key, bool back, eg_result *out) {
    struct buffer b;
    struct neighbour n = {key, back, &b};

    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    return api_result_of(&b, api_tx_run(tx, table, step_neighbour, &n), out);
}

static eg_err end_of(eg_tx *tx, eg_table *table, bool last, eg_result *out) {
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_tx_check(tx);

    if (err != EG_OK)
        return err;
    if (api_tx_is_dirty(tx))
        return last ? eg_last(table, out) : eg_first(table, out);
    return neighbour(tx, table, (struct value){NULL, 0}, last, out);
}

eg_err eg_tx_first(eg_tx *tx, eg_table *table, eg_result *out) {
    return end_of(tx, table, false, out);
}

eg_err eg_tx_last(eg_tx *tx, eg_table *table, eg_result *out) {
    return end_of(tx, table, true, out);
}

static eg_err beside(eg_tx *tx, eg_table *table, eg_span key, bool back, eg_result *out) {
    struct value v;
    eg_err err = check(tx, table, key, &v);

    if (err != EG_OK)
        return err;
    if (api_tx_is_dirty(tx))
        return back ? eg_prev(table, key, out) : eg_next(table, key, out);
    return neighbour(tx, table, v, back, out);
}

eg_err eg_tx_next(eg_tx *tx, eg_table *table, eg_span key, eg_result *out) {
    return beside(tx, table, key, false, out);
}

eg_err eg_tx_prev(eg_tx *tx, eg_table *table, eg_span key, eg_result *out) {
    return beside(tx, table, key, true, out);
}

static eg_err step_size(eg_tx *tx, const struct tx_place *at, void *what) {
    return tx_size(tx->txs->tx, at, what, &tx->note);
}

eg_err eg_tx_size(eg_tx *tx, eg_table *table, uint64_t *size) {
    uint8_t room[16];
    struct buffer b = {.alloc = alloc_system(), .at = room, .room_bytes = sizeof room};
    eg_err err = table == NULL || size == NULL ? EG_BAD_REQUEST : api_tx_check(tx);

    if (err != EG_OK)
        return err;
    if (api_tx_is_dirty(tx)) {
        *size = eg_size(table);
        return EG_OK;
    }
    err = api_tx_run(tx, table, step_size, &b);
    EG_ASSERT(b.at == room);
    if (err == EG_OK && !value_get_u64((struct value){room, (uint32_t) b.size_bytes}, size))
        err = EG_INTERNAL;
    return err;
}

/* ---- pages --------------------------------------------------------------------------------------
 */

static eg_err step_open(eg_tx *tx, const struct tx_place *at, void *what) {
    struct question *q = what;
    return tx_scan_open(&q->scan, tx->txs->tx, at, &q->o, &tx->note);
}

/* What it shows is what is wanted by now. */
static eg_err open_only(eg_tx *tx, eg_table *table, const struct select_opts *o,
                        struct tx_scan **out) {
    struct question q = {.o = *o};
    eg_err err = api_tx_run(tx, table, step_open, &q);

    *out = q.scan;
    return err;
}

struct eg_tx_cursor {
    eg_tx *tx;
    eg_table *table;
    eg_cursor *plain;           /* of a dirty context       */
    struct api_tx_query *query; /* of a statement; else NULL */
    struct question question;
    bool begun, ended;
};

eg_err eg_tx_cursor_open(eg_tx *tx, eg_table *table, eg_span spec, uint64_t limit, bool reverse,
                         eg_tx_cursor **out) {
    struct select_opts o = {.kind = SELECT_RESULTS, .limit = limit, .reverse = reverse};
    eg_err err = out == NULL ? EG_BAD_REQUEST : check(tx, table, spec, &o.question);
    eg_tx_cursor *c;

    if (err != EG_OK)
        return err;
    if (reverse && table_type(api_table(table)) != TABLE_ORDERED_SET)
        return EG_BAD_REQUEST;
    c = alloc_zero(alloc_system(), sizeof *c);
    if (c == NULL)
        return EG_MEMORY;
    c->tx = tx;
    c->table = table;
    c->question.o = o;
    if (api_tx_is_dirty(tx))
        err = eg_cursor_open(table, spec, limit, reverse, &c->plain, note_of(tx));
    else
        err = open_only(tx, table, &c->question.o, &c->question.scan);
    c->question.o.question = (struct value){NULL, 0}; /* it is the caller's */
    if (err != EG_OK) {
        alloc_put(alloc_system(), c, sizeof *c);
        return err;
    }
    *out = c;
    return EG_OK;
}

eg_err eg_tx_query_open(eg_tx *tx, const char *text, const eg_span *arguments, uint64_t limit,
                        eg_tx_cursor **out) {
    eg_tx_cursor *c = out == NULL ? NULL : alloc_zero(alloc_system(), sizeof *c);
    eg_err err;

    if (c == NULL)
        return out == NULL ? EG_BAD_REQUEST : EG_MEMORY;
    c->tx = tx;
    err = api_tx_query_open(tx, text, arguments, limit, &c->query);
    if (err != EG_OK) {
        alloc_put(alloc_system(), c, sizeof *c);
        return err;
    }
    *out = c;
    return EG_OK;
}

eg_span eg_tx_query_columns(const eg_tx_cursor *c) {
    return c == NULL || c->query == NULL ? (eg_span){0} : api_tx_query_columns(c->query);
}

eg_err eg_tx_cursor_next(eg_tx_cursor *c, eg_result *page) {
    struct buffer b;
    eg_err err = c == NULL ? EG_BAD_REQUEST : api_tx_check(c->tx);

    if (err != EG_OK)
        return err;
    if (c->plain != NULL)
        return eg_cursor_next(c->plain, page, note_of(c->tx));
    if (c->query != NULL)
        return api_tx_query_next(c->query, page);
    if (c->ended)
        return EG_NOT_FOUND;
    if (c->begun)
        tx_scan_next_page(c->question.scan);
    c->begun = true;
    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    c->question.out = &b;
    err = api_tx_run(c->tx, c->table, step_question, &c->question);
    c->ended = err != EG_OK || !tx_scan_has_more(c->question.scan);
    return api_result_of(&b, err, page);
}

void eg_tx_cursor_close(eg_tx_cursor *c) {
    if (c == NULL)
        return;
    if (c->plain != NULL)
        eg_cursor_close(c->plain);
    if (c->query != NULL)
        api_tx_query_close(c->query);
    if (c->question.scan != NULL)
        tx_scan_close(c->question.scan);
    alloc_put(alloc_system(), c, sizeof *c);
}

static bool show_all(eg_span page, bool (*see)(void *context, eg_span record), void *context) {
    struct value_iter it = value_iter_of((struct value){page.at, (uint32_t) page.size_bytes});
    struct value record;

    while (value_iter_next(&it, &record))
        if (!see(context, (eg_span){record.at, record.size_bytes}))
            return false;
    return true;
}

eg_err eg_tx_fold(eg_tx *tx, eg_table *table, bool reverse,
                  bool (*see)(void *context, eg_span record), void *context) {
    eg_tx_cursor c = {.tx = tx, .table = table};
    eg_err err = table == NULL || see == NULL ? EG_BAD_REQUEST : api_tx_check(tx);
    bool on = true;

    if (err != EG_OK)
        return err;
    if (reverse && table_type(api_table(table)) != TABLE_ORDERED_SET)
        return EG_BAD_REQUEST;
    if (api_tx_is_dirty(tx))
        return eg_fold(table, NULL, reverse, see, context);
    c.question.o =
        (struct select_opts){.kind = SELECT_RESULTS, .limit = FOLD_RECORDS, .reverse = reverse};
    err = open_only(tx, table, &c.question.o, &c.question.scan);
    while (err == EG_OK && on && !c.ended) {
        eg_result page;

        err = eg_tx_cursor_next(&c, &page);
        if (err != EG_OK)
            break;
        on = show_all(page.value, see, context);
        eg_result_free(&page);
    }
    if (c.question.scan != NULL)
        tx_scan_close(c.question.scan);
    return err;
}
