/* api_scan.c -- what looks at more than one key: indexes, patterns, sizes, neighbours, folds. */
#include "node/api_private.h"

#include "tables/far.h"
#include "tables/table.h"

#include <string.h>

/* An index and a value as SELECT_INDEX wants them. */
static eg_err index_read_far(struct api_reading *c, eg_table *table, const char *name,
                             struct value v, eg_result *out) {
    size_t room_bytes = strlen(name) + v.size_bytes + 16;
    uint8_t *room = alloc_get(alloc_system(), room_bytes);
    struct value_writer w;
    eg_err err = EG_MEMORY;

    reader_exit(&c->thread->reader);
    if (room != NULL) {
        w = value_writer_init(room, room_bytes);
        value_put_array(&w, 2);
        value_put_text(&w, name);
        value_put_raw(&w, v);
        err = api_far_select(table, SELECT_INDEX, (struct value){room, (uint32_t) w.need_bytes}, 0,
                             &c->buffer, NULL);
        alloc_put(alloc_system(), room, room_bytes);
    }
    return api_result_of(&c->buffer, err, out);
}

eg_err eg_index_read(eg_table *table, const char *attribute, eg_span value, eg_result *out) {
    struct api_reading c;
    struct value v;
    struct err_note note; /* no room for it in the call */
    eg_err err = attribute == NULL ? EG_BAD_REQUEST : api_value_of_span(value, &v);

    if (err == EG_OK)
        err = api_reading_begin(&c, table);
    if (err != EG_OK)
        return err;
    if (!table_answers_here(c.table, false))
        return index_read_far(&c, table, attribute, v, out);
    err = table_index_read(c.table, &c.thread->reader, attribute, strlen(attribute), v, &c.buffer,
                           &note);
    return api_reading_end(&c, err, out);
}

eg_err eg_match(eg_table *table, eg_span pattern, uint64_t limit, eg_result *out, eg_note *note) {
    struct err_note why = {""};
    struct api_reading c;
    struct value v;
    bool near;
    eg_err err = api_value_of_span(pattern, &v);

    api_clear_note(note);
    if (err == EG_OK)
        err = api_reading_begin(&c, table);
    if (err != EG_OK)
        return err;
    near = table_answers_here(c.table, false);
    if (near)
        err = table_match(c.table, &c.thread->reader, v, limit, &c.buffer, &why);
    reader_exit(&c.thread->reader);
    if (!near)
        err = api_far_select(table, SELECT_MATCH, v, limit, &c.buffer, &why);
    if (err != EG_OK)
        api_copy_note(note, &why);
    return api_result_of(&c.buffer, err, out);
}

uint64_t eg_size(eg_table *table) {
    struct node_thread *t;
    struct table *now;
    uint64_t size;
    bool near;
    eg_err err;

    t = table == NULL ? NULL : node_thread(table->node, &err);
    if (t == NULL)
        return 0;
    reader_enter(&t->reader);
    now = api_table(table);
    near = table_answers_here(now, false);
    size = table_dropped(now) || !near ? 0 : table_size(now, &t->reader);
    reader_exit(&t->reader);
    return near ? size : api_far_size(table, t);
}

static eg_err next_far(struct api_reading *c, eg_table *table, struct value key, bool back,
                       eg_result *out) {
    reader_exit(&c->thread->reader);
    return api_result_of(&c->buffer,
                         api_far_call(table, c->thread, PAGE_NEXT, key, back, &c->buffer), out);
}

static eg_err first_or_last(eg_table *table, bool last, eg_result *out) {
    struct api_reading c;
    eg_err err = api_reading_begin(&c, table);

    if (err != EG_OK)
        return err;
    if (!table_answers_here(c.table, false))
        return next_far(&c, table, (struct value){0}, last, out);
    return api_reading_end(&c, table_first(c.table, &c.thread->reader, last, &c.buffer), out);
}

static eg_err next_or_prev(eg_table *table, eg_span key, bool prev, eg_result *out) {
    struct api_reading c;
    struct value v;
    struct key k;
    eg_err err = api_value_of_span(key, &v);

    if (err == EG_OK)
        err = api_reading_begin(&c, table);
    if (err != EG_OK)
        return err;
    if (!table_answers_here(c.table, false))
        return next_far(&c, table, v, prev, out);
    err = table_key(c.table, &k, v);
    if (err == EG_OK) {
        err = table_next(c.table, &c.thread->reader, &k, prev, &c.buffer);
        key_release(&k);
    }
    return api_reading_end(&c, err, out);
}

eg_err eg_first(eg_table *table, eg_result *out) {
    return first_or_last(table, false, out);
}

eg_err eg_last(eg_table *table, eg_result *out) {
    return first_or_last(table, true, out);
}

eg_err eg_next(eg_table *table, eg_span key, eg_result *out) {
    return next_or_prev(table, key, false, out);
}

eg_err eg_prev(eg_table *table, eg_span key, eg_result *out) {
    return next_or_prev(table, key, true, out);
}

static eg_err fold(struct table *table, struct reader *r, const struct key *from, bool reverse,
                   bool (*see)(void *context, eg_span record), void *context) {
    struct table_walk *walk;
    const struct record *rec;
    eg_err err = table_walk_open(&walk, table, r, from, false, reverse);

    while (err == EG_OK && (rec = table_walk_next(walk)) != NULL &&
           see(context, api_span_of_record(rec)))
        ;
    return err != EG_OK ? err : reader_take_fault(r);
}

eg_err eg_fold(eg_table *table, const eg_span *from, bool reverse,
               bool (*see)(void *context, eg_span record), void *context) {
    struct settle settle;
    struct node_thread *t;
    struct table *now;
    struct value v;
    struct key k;
    eg_err err = EG_OK;

    if (table == NULL || see == NULL)
        return EG_BAD_REQUEST;
    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    if (from != NULL)
        err = api_value_of_span(*from, &v);
    if (err != EG_OK)
        return err;
    if (api_is_far(table, t))
        return api_far_fold(table, t, from == NULL ? NULL : &v, reverse, see, context);
    reader_enter(&t->reader);
    now = api_table(table);
    api_settle_begin(&settle, now);
    if (table_dropped(now))
        err = EG_NO_TABLE;
    else if (reverse && table_type(now) != TABLE_ORDERED_SET)
        err = EG_BAD_REQUEST;
    if (err == EG_OK && from != NULL)
        err = table_key(now, &k, v);
    if (err == EG_OK) {
        err = fold(now, &t->reader, from == NULL ? NULL : &k, reverse, see, context);
        if (from != NULL)
            key_release(&k);
    }
    reader_exit(&t->reader);
    return err == EG_OK ? api_settle(table, t, &settle) : err;
}

/* What eg_fold_index() calls with each record. */
struct seer {
    bool (*see)(void *context, eg_span record);
    void *context;
};

static bool see_record(void *context, const struct record *rec) {
    const struct seer *s = context;
    return s->see(s->context, api_span_of_record(rec));
}

eg_err eg_fold_index(eg_table *table, const char *name, const eg_span *low, const eg_span *high,
                     bool reverse, bool (*see)(void *context, eg_span record), void *context) {
    struct seer seer = {see, context};
    struct value from = {NULL, 0}, to = {NULL, 0};
    struct settle settle;
    struct node_thread *t;
    struct table *now;
    eg_err err = EG_OK;

    if (table == NULL || name == NULL || see == NULL)
        return EG_BAD_REQUEST;
    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    if (low != NULL)
        err = api_value_of_span(*low, &from);
    if (err == EG_OK && high != NULL)
        err = api_value_of_span(*high, &to);
    if (err != EG_OK)
        return err;
    reader_enter(&t->reader);
    now = api_table(table);
    api_settle_begin(&settle, now);
    if (table_dropped(now))
        err = EG_NO_TABLE;
    else if (!table_is_near(now, false))
        err = EG_NO_REPLICA;
    else
        err = table_index_fold(now, &t->reader, name, strlen(name), from, to, reverse, see_record,
                               &seer);
    reader_exit(&t->reader);
    return err == EG_OK ? api_settle(table, t, &settle) : err;
}
