/* api_select.c -- match specifications of the program: a question moved by its own thread.
 *
 * The thread works in pieces, so that its reading section never holds back reclamation for
 * long; between two pieces it asks busy shards what only they can answer. */
#include "node/api_private.h"

#include "query/select.h"
#include "tables/catalog.h"

enum { PIECE_NS = 1000 * 1000 }; /* of work in one reading section */

struct eg_cursor {
    eg_table *table;
    struct select *select;
    bool begun, ended;
};

struct piece {
    struct env *env;
    uint64_t until_ns;
};

static bool piece_is_over(void *context) {
    const struct piece *p = context;
    return env_now_ns(p->env) >= p->until_ns;
}

/* ---- a question's life ------------------------------------------------------------- */

static eg_err open_select(eg_table *table, enum select_kind kind, eg_span spec, uint64_t limit,
                          bool reverse, struct select **out, struct err_note *note) {
    struct select_opts o = {.kind = kind, .limit = limit, .reverse = reverse};
    struct node_thread *t;
    eg_err err = table == NULL ? EG_BAD_REQUEST : api_value_of_span(spec, &o.question);

    if (err != EG_OK)
        return err;
    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    reader_enter(&t->reader);
    err = select_open(out, alloc_system(), api_table(table), &t->reader, &o, note);
    reader_exit(&t->reader);
    return err;
}

/* Ask what must be asked before the next piece, one shard after the other. */
static eg_err ask_shards(eg_table *table, struct node_thread *t, struct select *s,
                         struct err_note *note) {
    struct buffer answer;
    struct message *m;
    eg_pid to;
    eg_err err;

    buffer_init(&answer, alloc_system(), 4096);
    for (;;) {
        reader_enter(&t->reader);
        err = select_ask(s, api_table(table), &to, &m, note);
        reader_exit(&t->reader);
        if (err != EG_OK)
            break;
        buffer_clear(&answer);
        err = api_call(table->node, to, m, NODE_CALL_MS, &answer, note);
        select_answered(s, err, (struct value){answer.at, (uint32_t) answer.size_bytes});
    }
    buffer_fini(&answer);
    return err == EG_NOT_FOUND ? EG_OK : err;
}

/* Until the question is answered, or its page. */
static eg_err run(eg_table *table, struct select *s, struct buffer *result, struct err_note *note) {
    struct piece piece = {.env = &table->node->env.env};
    const struct select_pace pace = {piece_is_over, &piece};
    struct node_thread *t;
    eg_err err = EG_OK;

    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    do {
        piece.until_ns = env_now_ns(piece.env) + PIECE_NS;
        reader_enter(&t->reader);
        err = select_step(s, api_table(table), &t->reader, &pace, result, note);
        reader_exit(&t->reader);
        if (err == EG_AGAIN) {
            eg_err asked = ask_shards(table, t, s, note);
            err = asked == EG_OK ? EG_AGAIN : asked;
        }
    } while (err == EG_AGAIN);
    return err;
}

eg_err api_far_select(eg_table *table, enum select_kind kind, struct value question, uint64_t limit,
                      struct buffer *out, struct err_note *note) {
    struct select *s;
    eg_err err = open_select(table, kind, (eg_span){question.at, question.size_bytes}, limit, false,
                             &s, note);

    if (err != EG_OK)
        return err;
    err = run(table, s, out, note);
    select_close(s);
    return err;
}

/* ---- results and pages ----------------------------------------------------------------- */

static eg_err next_page(eg_cursor *c, eg_result *out, struct err_note *note) {
    struct buffer b;
    eg_err err;

    if (c->ended)
        return EG_NOT_FOUND;
    if (c->begun)
        select_next_page(c->select);
    c->begun = true;
    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    err = run(c->table, c->select, &b, note);
    c->ended = err != EG_OK || !select_has_more(c->select);
    return api_result_of(&b, err, out);
}

eg_err eg_cursor_open(eg_table *table, eg_span spec, uint64_t limit, bool reverse, eg_cursor **out,
                      eg_note *note) {
    struct err_note why = {""};
    eg_cursor *c;
    eg_err err;

    if (out == NULL || limit == 0)
        return EG_BAD_REQUEST;
    c = alloc_zero(alloc_system(), sizeof *c);
    if (c == NULL)
        return EG_MEMORY;
    c->table = table;
    err = open_select(table, SELECT_RESULTS, spec, limit, reverse, &c->select, &why);
    if (err != EG_OK) {
        api_copy_note(note, &why);
        alloc_put(alloc_system(), c, sizeof *c);
        return err;
    }
    *out = c;
    return EG_OK;
}

eg_err eg_cursor_next(eg_cursor *cursor, eg_result *page, eg_note *note) {
    struct err_note why = {""};
    eg_err err = cursor == NULL || page == NULL ? EG_BAD_REQUEST : next_page(cursor, page, &why);

    if (err != EG_OK)
        api_copy_note(note, &why);
    return err;
}

void eg_cursor_close(eg_cursor *cursor) {
    if (cursor == NULL)
        return;
    select_close(cursor->select);
    alloc_put(alloc_system(), cursor, sizeof *cursor);
}

eg_err eg_select(eg_table *table, eg_span spec, uint64_t limit, eg_result *out, eg_note *note) {
    struct err_note why = {""};
    eg_cursor c = {.table = table};
    eg_err err = out == NULL
                     ? EG_BAD_REQUEST
                     : open_select(table, SELECT_RESULTS, spec, limit, false, &c.select, &why);

    if (err == EG_OK) {
        err = next_page(&c, out, &why);
        select_close(c.select);
    }
    if (err != EG_OK)
        api_copy_note(note, &why);
    return err;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static eg_err number_of(eg_table *table, enum select_kind kind, eg_span spec, uint64_t *count,
                        eg_note *note) {
    struct err_note why = {""};
    struct select *s;
    struct buffer b;
    eg_err err = open_select(table, kind, spec, 0, false, &s, &why);

    if (err == EG_OK) {
        buffer_init(&b, alloc_system(), 64);
        err = run(table, s, &b, &why);
        if (err == EG_OK && count != NULL &&
            !value_get_u64((struct value){b.at, (uint32_t) b.size_bytes}, count))
            err = EG_INTERNAL;
        buffer_fini(&b);
        select_close(s);
    }
    if (err != EG_OK)
        api_copy_note(note, &why);
    return err;
}

eg_err eg_select_count(eg_table *table, eg_span spec, uint64_t *count, eg_note *note) {
    return number_of(table, SELECT_COUNT, spec, count, note);
}

eg_err eg_select_delete(eg_table *table, eg_span spec, uint64_t *count, eg_note *note) {
    return number_of(table, SELECT_DELETE, spec, count, note);
}

eg_err eg_select_replace(eg_table *table, eg_span spec, uint64_t *count, eg_note *note) {
    return number_of(table, SELECT_REPLACE, spec, count, note);
}
