/* api_query.c -- text queries of the program: an answer moved by its own thread, in pieces (see
 * api_select.c). */
#include "node/api_private.h"

#include "query/text_answer.h"

#include <string.h>

enum { PIECE_NS = 1000 * 1000, ARRAY32_BYTES = 5 };

struct eg_query_cursor {
    eg_node *node;
    struct text_answer answer;
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

/* ---- an answer's life -------------------------------------------------------------- */

/* The section of a plan that is about to be made; NULL: *err says why not. */
static struct node_thread *begin_plan(eg_node *node, const char *text, const eg_span *arguments,
                                      struct text_world *world, struct value *given, eg_err *err) {
    struct node_thread *t;

    *given = (struct value){0};
    *err = node == NULL || text == NULL ? EG_BAD_REQUEST
           : arguments == NULL          ? EG_OK
                                        : api_value_of_span(*arguments, given);
    t = *err == EG_OK ? node_thread(node, err) : NULL;
    if (t == NULL)
        return NULL;
    *world = (struct text_world){
        .alloc = alloc_system(), .catalog = node->catalog, .reader = &t->reader};
    reader_enter(&t->reader);
    return t;
}

static eg_err open_answer(struct eg_query_cursor *c, const char *text, const eg_span *arguments,
                          uint64_t limit, struct err_note *note) {
    struct text_world world;
    struct value given;
    eg_err err;
    struct node_thread *t = begin_plan(c->node, text, arguments, &world, &given, &err);

    if (t == NULL)
        return err;
    err = text_answer_open(&c->answer, &world, text, strlen(text), given, limit, note);
    reader_exit(&t->reader);
    return err;
}

/* Ask what must be asked before the next piece, one shard after the other. */
static eg_err ask_shards(struct eg_query_cursor *c, struct node_thread *t, struct err_note *note) {
    struct buffer answer;
    struct table *table;
    struct message *m;
    eg_pid to;
    eg_err err;

    buffer_init(&answer, alloc_system(), 4096);
    for (;;) {
        reader_enter(&t->reader);
        err = text_answer_ask(&c->answer, c->node->catalog, &table, &to, &m, note);
        reader_exit(&t->reader);
        if (err != EG_OK)
            break;
        buffer_clear(&answer);
        err = api_call(c->node, to, m, NODE_CALL_MS, &answer, note);
        text_answer_answered(&c->answer, err,
                             (struct value){answer.at, (uint32_t) answer.size_bytes});
    }
    buffer_fini(&answer);
    return err == EG_NOT_FOUND ? EG_OK : err;
}

/* Append an array of the next page's rows. */
static eg_err run_page(struct eg_query_cursor *c, struct buffer *out, struct err_note *note) {
    static const uint8_t array32[ARRAY32_BYTES] = {0xdd};
    struct piece piece = {.env = &c->node->env.env};
    const struct select_pace pace = {piece_is_over, &piece};
    size_t header_at = out->size_bytes;
    uint64_t rows = 0;
    eg_err err = EG_OK;
    struct node_thread *t = node_thread(c->node, &err);

    if (t == NULL)
        return err;
    if (c->begun)
        text_answer_next_page(&c->answer);
    c->begun = true;
    err = buffer_append(out, array32, sizeof array32) ? EG_AGAIN : EG_MEMORY;
    while (err == EG_AGAIN) {
        piece.until_ns = env_now_ns(piece.env) + PIECE_NS;
        reader_enter(&t->reader);
        err = text_answer_step(&c->answer, c->node->catalog, &t->reader, &pace, out, &rows, note);
        reader_exit(&t->reader);
        if (err == EG_AGAIN) {
            eg_err asked = ask_shards(c, t, note);
            err = asked == EG_OK ? EG_AGAIN : asked;
        }
    }
    for (int i = 0; err == EG_OK && i < 4; i++)
        out->at[header_at + 1 + (size_t) i] = (uint8_t) (rows >> (24 - 8 * i));
    return err;
}

/* ---- pages ----------------------------------------------------------------------------- */

eg_err eg_query_open(eg_node *node, const char *text, const eg_span *arguments, uint64_t limit,
                     eg_query_cursor **out, eg_note *note) {
    struct err_note why = {""};
    eg_query_cursor *c;
    eg_err err;

    if (out == NULL || limit == 0)
        return EG_BAD_REQUEST;
    c = alloc_zero(alloc_system(), sizeof *c);
    if (c == NULL)
        return EG_MEMORY;
    c->node = node;
    err = open_answer(c, text, arguments, limit, &why);
    if (err != EG_OK) {
        api_copy_note(note, &why);
        alloc_put(alloc_system(), c, sizeof *c);
        return err;
    }
    *out = c;
    return EG_OK;
}

eg_span eg_query_columns(const eg_query_cursor *cursor) {
    struct value names;

    if (cursor == NULL)
        return (eg_span){0};
    names = text_answer_columns(&cursor->answer);
    return (eg_span){names.at, names.size_bytes};
}

static eg_err next_page(eg_query_cursor *c, eg_result *out, struct err_note *note) {
    struct buffer b;
    eg_err err;

    if (c->ended)
        return EG_NOT_FOUND;
    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    err = run_page(c, &b, note);
    c->ended = err != EG_OK || !text_answer_has_more(&c->answer);
    return api_result_of(&b, err, out);
}

eg_err eg_query_next(eg_query_cursor *cursor, eg_result *rows, eg_note *note) {
    struct err_note why = {""};
    eg_err err = cursor == NULL || rows == NULL ? EG_BAD_REQUEST : next_page(cursor, rows, &why);

    if (err != EG_OK)
        api_copy_note(note, &why);
    return err;
}

void eg_query_close(eg_query_cursor *cursor) {
    if (cursor == NULL)
        return;
    text_answer_close(&cursor->answer);
    alloc_put(alloc_system(), cursor, sizeof *cursor);
}

/* ---- all at once ------------------------------------------------------------------------- */

static eg_err put_answer(struct eg_query_cursor *c, struct buffer *out, struct err_note *note) {
    static const uint8_t array_of_two = 0x92;
    struct value names = text_answer_columns(&c->answer);

    if (!buffer_append(out, &array_of_two, 1) || !buffer_append(out, names.at, names.size_bytes))
        return EG_MEMORY;
    return run_page(c, out, note);
}

eg_err eg_query(eg_node *node, const char *text, const eg_span *arguments, eg_result *out,
                eg_note *note) {
    struct err_note why = {""};
    struct eg_query_cursor c = {.node = node};
    struct buffer b;
    eg_err err = open_answer(&c, text, arguments, 0, &why);

    if (err == EG_OK) {
        buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
        err = put_answer(&c, &b, &why);
        text_answer_close(&c.answer);
        if (out != NULL)
            err = api_result_of(&b, err, out);
        else
            buffer_fini(&b);
    }
    if (err != EG_OK)
        api_copy_note(note, &why);
    return err;
}

eg_err eg_explain(eg_node *node, const char *text, const eg_span *arguments, eg_result *out,
                  eg_note *note) {
    struct err_note why = {""};
    struct text_world world;
    struct text_plan *p;
    struct value given;
    struct buffer b;
    struct node_thread *t;
    eg_err err = EG_BAD_REQUEST;

    t = out == NULL ? NULL : begin_plan(node, text, arguments, &world, &given, &err);
    if (t == NULL)
        return err;
    err = text_plan_open(&p, &world, text, strlen(text), given, &why);
    if (err == EG_OK) {
        buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
        err = api_result_of(&b, text_plan_explain(p, &b), out);
        text_plan_close(p);
    }
    reader_exit(&t->reader);
    if (err != EG_OK)
        api_copy_note(note, &why);
    return err;
}
