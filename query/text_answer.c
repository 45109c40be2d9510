/* text_answer.c -- one face for what carries out a statement. */
#include "query/text_answer.h"

#include "query/text_far.h"

enum { NUMBER_BYTES = 9 };

/* ---- open and close ----------------------------------------------------------------- */

static eg_err begin_change(struct text_answer *a, struct reader *r, struct err_note *note) {
    struct select_opts o = {
        .kind = SELECT_REMOVE, .compiled = a->plan->input, .dirty = a->plan->dirty};
    eg_err err;

    if (a->plan->statement == TEXT_INSERT) {
        text_insert_init(&a->insert, a->plan);
        return EG_OK;
    }
    if (a->plan->statement == TEXT_UPDATE)
        o.kind = SELECT_REPLACE;
    err = select_open(&a->change, a->alloc, a->plan->source[0].table, r, &o, note);
    if (err == EG_OK)
        a->plan->input = NULL; /* the select's own */
    return err;
}

static eg_err begin(struct text_answer *a, struct reader *r, struct err_note *note) {
    eg_err err;

    if (a->plan->statement != TEXT_SELECT)
        return begin_change(a, r, note);
    err = text_run_open(&a->run, a->plan);
    if (err != EG_OK)
        return err;
    a->plan = NULL; /* the run's own */
    text_run_page(a->run, a->page_most);
    return EG_OK;
}

eg_err text_answer_open(struct text_answer *a, const struct text_world *world, const char *text,
                        size_t text_bytes, struct value arguments, uint64_t page_most,
                        struct err_note *note) {
    eg_err err;

    *a = (struct text_answer){.alloc = world->alloc, .page_most = page_most};
    err = text_plan_open(&a->plan, world, text, text_bytes, arguments, note);
    if (err == EG_OK)
        err = begin(a, world->reader, note);
    if (err != EG_OK)
        text_answer_close(a);
    return err;
}

void text_answer_close(struct text_answer *a) {
    if (a->run != NULL)
        text_run_close(a->run);
    if (a->change != NULL)
        select_close(a->change);
    if (a->insert.plan != NULL)
        text_insert_fini(&a->insert);
    if (a->plan != NULL)
        text_plan_close(a->plan);
    *a = (struct text_answer){0};
}

bool text_answer_close_some(struct text_answer *a) {
    if (a->run != NULL && a->run->groups.plan != NULL && !text_groups_free_some(&a->run->groups))
        return false;
    text_answer_close(a);
    return true;
}

struct value text_answer_columns(const struct text_answer *a) {
    return a->run != NULL ? a->run->plan->names : a->plan->names;
}

size_t text_answer_bytes(const struct text_answer *a) {
    return sizeof *a + (a->run != NULL ? text_run_bytes(a->run) : 0) +
           (a->change != NULL ? select_bytes(a->change) : 0);
}

bool text_answer_has_more(const struct text_answer *a) {
    return a->run != NULL && a->run->more;
}

void text_answer_next_page(struct text_answer *a) {
    text_run_page(a->run, a->page_most);
}

/* ---- steps -------------------------------------------------------------------------- */

/* The one row of a change: how many records it was. */
static eg_err put_count(struct buffer *rows, uint64_t count) {
    uint8_t row[1 + NUMBER_BYTES];
    struct value_writer w = value_writer_init(row, sizeof row);

    value_put_array(&w, 1);
    value_put_u64(&w, count);
    return buffer_append(rows, row, w.need_bytes) ? EG_OK : EG_TOO_LARGE;
}

static eg_err change_step(struct text_answer *a, struct catalog *catalog, struct reader *r,
                          const struct select_pace *pace, uint64_t *count, struct err_note *note) {
    struct buffer counted;
    eg_err err = text_plan_check(a->plan, catalog, note);

    if (err != EG_OK)
        return err;
    *count = a->plan->row_count;
    if (a->change == NULL)
        return text_insert_step(&a->insert, r, pace, note);
    buffer_init(&counted, a->alloc, NUMBER_BYTES);
    err = select_step(a->change, a->plan->source[0].table, r, pace, &counted, note);
    if (err == EG_OK &&
        !value_get_u64((struct value){counted.at, (uint32_t) counted.size_bytes}, count))
        err = EG_INTERNAL;
    buffer_fini(&counted);
    return err;
}

eg_err text_answer_step(struct text_answer *a, struct catalog *catalog, struct reader *r,
                        const struct select_pace *pace, struct buffer *rows, uint64_t *count,
                        struct err_note *note) {
    uint64_t changed = 0;
    eg_err err;

    if (a->run != NULL) {
        err = text_run_step(a->run, catalog, r, pace, rows, note);
        *count = a->run->page_rows;
        return err;
    }
    err = change_step(a, catalog, r, pace, &changed, note);
    *count = 1;
    return err == EG_OK ? put_count(rows, changed) : err;
}

/* ---- asking shards -------------------------------------------------------------------- */

eg_err text_answer_ask(struct text_answer *a, struct catalog *catalog, struct table **table,
                       eg_pid *to, struct message **out, struct err_note *note) {
    struct text_plan *p = a->run != NULL ? a->run->plan : a->plan;
    eg_err err =
        a->run != NULL && p->asking == NULL ? EG_NOT_FOUND : text_plan_check(p, catalog, note);

    if (err != EG_OK)
        return err;
    if (a->run != NULL)
        return text_far_ask(p, table, to, out);
    *table = a->plan->source[0].table;
    return a->change != NULL ? select_ask(a->change, *table, to, out, note)
                             : text_insert_ask(&a->insert, to, out, note);
}

void text_answer_answered(struct text_answer *a, eg_err err, struct value result) {
    if (a->run != NULL)
        text_far_answered(a->run->plan, err, result);
    else if (a->change != NULL)
        select_answered(a->change, err, result);
    else
        text_insert_answered(&a->insert, err, result);
}
