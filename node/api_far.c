/* api_far.c -- the program's reads of tables that this node has not all of: its own thread asks the
 * others, and waits. */
#include "node/api_private.h"

#include "query/far_call.h"
#include "query/gather.h"
#include "query/select.h"
#include "tables/far.h"

enum { STEP_NS = 1000 * 1000, ANSWER_BYTES = 4096, SPEC_BYTES = 128 };

static struct value bytes_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

bool api_is_far(eg_table *table, struct node_thread *t) {
    bool far;

    reader_enter(&t->reader);
    far = !table_is_near(api_table(table), false);
    reader_exit(&t->reader);
    return far;
}

/* ---- majority tables ---------------------------------------------------------------------- */

void api_settle_begin(struct settle *s, struct table *now) {
    *s = (struct settle){0};
    settle_begin(s, now, &(struct scan_path){.kind = SCAN_ALL});
}

eg_err api_settle(eg_table *table, struct node_thread *t, struct settle *s) {
    struct buffer answer;
    struct message *m;
    eg_pid to;
    eg_err err, asked;

    buffer_init(&answer, alloc_system(), ANSWER_BYTES);
    do {
        reader_enter(&t->reader);
        err = settle_step(s, api_table(table), NULL);
        asked = err == EG_AGAIN ? settle_ask(s, api_table(table), &to, &m) : EG_NOT_FOUND;
        reader_exit(&t->reader);
        if (asked == EG_OK) {
            buffer_clear(&answer);
            settle_answered(s, api_call(table->node, to, m, NODE_CALL_MS, &answer, NULL),
                            bytes_of(&answer));
        } else if (err == EG_AGAIN && asked != EG_NOT_FOUND) {
            err = asked;
        }
    } while (err == EG_AGAIN);
    buffer_fini(&answer);
    return err;
}

/* ---- one value -------------------------------------------------------------------------- */

static eg_err ask_for_call(eg_table *table, struct node_thread *t, struct far_call *call,
                           struct buffer *answer) {
    struct message *m;
    eg_pid to;
    eg_err err;

    for (;;) {
        reader_enter(&t->reader);
        err = far_call_ask(call, api_table(table), &to, &m);
        reader_exit(&t->reader);
        if (err != EG_OK)
            return err == EG_NOT_FOUND ? EG_AGAIN : err;
        buffer_clear(answer);
        err = api_call(table->node, to, m, NODE_CALL_MS, answer, NULL);
        far_call_answered(call, err, bytes_of(answer));
    }
}

eg_err api_far_call(eg_table *table, struct node_thread *t, enum page_kind kind,
                    struct value question, bool reverse, struct buffer *out) {
    const struct far_call_opts o = {.kind = kind, .question = question, .reverse = reverse};
    struct far_call *call;
    struct buffer answer;
    eg_err err;

    reader_enter(&t->reader);
    err = far_call_open(&call, alloc_system(), api_table(table), &o, NULL);
    reader_exit(&t->reader);
    if (err != EG_OK)
        return err;
    buffer_init(&answer, alloc_system(), NODE_RESULT_BYTES_MAX);
    do {
        reader_enter(&t->reader);
        err = far_call_step(call, api_table(table), &t->reader, out, NULL);
        reader_exit(&t->reader);
        if (err == EG_AGAIN)
            err = ask_for_call(table, t, call, &answer);
    } while (err == EG_AGAIN);
    buffer_fini(&answer);
    far_call_close(call);
    return err;
}

uint64_t api_far_size(eg_table *table, struct node_thread *t) {
    struct buffer b;
    uint64_t size = 0;

    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    if (api_far_call(table, t, PAGE_SIZE, (struct value){0}, false, &b) != EG_OK ||
        !value_get_u64(bytes_of(&b), &size))
        size = 0;
    buffer_fini(&b);
    return size;
}

/* ---- record after record ---------------------------------------------------------------- */

static eg_err ask_for_pages(eg_table *table, struct node_thread *t, struct gather *g,
                            struct buffer *answer) {
    struct message *m;
    eg_pid to;
    eg_err err;

    for (;;) {
        reader_enter(&t->reader);
        err = gather_ask(g, api_table(table), &to, &m);
        reader_exit(&t->reader);
        if (err != EG_OK)
            return err == EG_NOT_FOUND ? EG_AGAIN : err;
        buffer_clear(answer);
        err = api_call(table->node, to, m, NODE_CALL_MS, answer, NULL);
        gather_answered(g, err, bytes_of(answer));
    }
}

/* Some of them in one section.  EG_NOT_FOUND: no more are there, or wanted. */
static eg_err fold_on(eg_table *table, struct node_thread *t, struct gather *g,
                      bool (*see)(void *context, eg_span record), void *context) {
    struct env *env = &table->node->env.env;
    uint64_t until_ns = env_now_ns(env) + STEP_NS;
    struct table *now;
    const struct record *rec;
    eg_err err = EG_OK;

    reader_enter(&t->reader);
    now = api_table(table);
    if (table_dropped(now))
        err = EG_NO_TABLE;
    while (err == EG_OK && env_now_ns(env) < until_ns) {
        err = gather_next(g, now, &t->reader, &rec, NULL);
        if (err == EG_OK && !see(context, (eg_span){record_array(rec), record_array_bytes(rec)}))
            err = EG_NOT_FOUND;
    }
    reader_exit(&t->reader);
    return err;
}

/* [[["$1", ...]], [[">=", "$1", ["const", from]]], ["$_"]]: all from a key on. */
static eg_err put_spec(struct buffer *out, uint32_t arity, struct value from, bool reverse) {
    size_t room_bytes = SPEC_BYTES + 2 * (size_t) arity + from.size_bytes;
    uint8_t *room = buffer_room(out, room_bytes);
    struct value_writer w;

    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, room_bytes);
    value_put_array(&w, 1);
    value_put_array(&w, 3);
    value_put_array(&w, arity);
    value_put_text(&w, "$1");
    for (uint32_t i = 1; i < arity; i++)
        value_put_text(&w, "_");
    value_put_array(&w, 1);
    value_put_array(&w, 3);
    value_put_text(&w, reverse ? "=<" : ">=");
    value_put_text(&w, "$1");
    value_put_array(&w, 2);
    value_put_text(&w, "const");
    value_put_raw(&w, from);
    value_put_array(&w, 1);
    value_put_text(&w, "$_");
    EG_ASSERT(!w.overflow);
    out->size_bytes += w.need_bytes;
    return EG_OK;
}

static eg_err open_fold(eg_table *table, struct node_thread *t, const struct value *from,
                        bool reverse, struct gather **out, struct settle *settle) {
    struct gather_opts o = {.kind = PAGE_RECORDS, .reverse = reverse};
    struct buffer spec;
    struct table *now;
    eg_err err = EG_OK;

    buffer_init(&spec, alloc_system(), NODE_RESULT_BYTES_MAX);
    reader_enter(&t->reader);
    now = api_table(table);
    api_settle_begin(settle, now);
    o.merged = table_type(now) == TABLE_ORDERED_SET;
    if (reverse && !o.merged)
        err = EG_BAD_REQUEST;
    else if (from != NULL && !o.merged)
        err = EG_NO_REPLICA; /* where a key stands among unordered ones, only its node knows */
    else if (from != NULL)
        err = put_spec(&spec, table_schema(now)->attribute_count, *from, reverse);
    if (from != NULL) {
        o.kind = PAGE_SELECT;
        o.question = bytes_of(&spec);
    }
    if (err == EG_OK)
        err = gather_open(out, alloc_system(), now, &o);
    reader_exit(&t->reader);
    buffer_fini(&spec);
    return err;
}

eg_err api_far_fold(eg_table *table, struct node_thread *t, const struct value *from, bool reverse,
                    bool (*see)(void *context, eg_span record), void *context) {
    struct buffer answer;
    struct settle settle;
    struct gather *g;
    eg_err err = open_fold(table, t, from, reverse, &g, &settle);

    if (err != EG_OK)
        return err;
    buffer_init(&answer, alloc_system(), NODE_RESULT_BYTES_MAX);
    do {
        err = fold_on(table, t, g, see, context);
        if (err == EG_AGAIN)
            err = ask_for_pages(table, t, g, &answer);
    } while (err == EG_OK || err == EG_AGAIN);
    buffer_fini(&answer);
    gather_close(g);
    return err == EG_NOT_FOUND ? api_settle(table, t, &settle) : err;
}
