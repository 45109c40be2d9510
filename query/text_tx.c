/* text_tx.c -- a statement of the text language inside a transaction. */
#include "query/text_tx.h"

#include "query/text_run.h"
#include "query/text_tx_join.h"
#include "query/tx_private.h"

enum { NUMBER_BYTES = 9, ROWS_BETWEEN_LOOKS = 16 };

struct text_tx {
    struct alloc *alloc;
    struct tx *tx;
    struct text_plan *plan;    /* the run's, where there is one */
    struct text_run *run;      /* of select; else NULL          */
    struct tx_scan *scan;      /* of one table, but of insert   */
    struct text_tx_join *join; /* of two; else NULL             */
    uint64_t page_most;        /* 0: all rows at once           */
    struct buffer *rows;       /* of this step                  */
    struct tx_mark undo;       /* insert: to before it          */
    uint32_t next;             /* and its row that comes next   */
};

/* ---- open and close -------------------------------------------------------------------- */

static struct tx_place place_of(const struct text_tx *t, struct reader *r) {
    return (struct tx_place){.table = t->plan->source[0].table, .reader = r};
}

static eg_err begin_select(struct text_tx *t, const struct tx_place *at, struct err_note *note) {
    eg_err err = text_run_open_here(&t->run, t->plan);

    if (err != EG_OK)
        return err;
    text_run_page(t->run, t->page_most);
    if (t->plan->source_count > 1)
        return text_tx_join_open(&t->join, t->run, t->tx);
    return tx_scan_open_path(&t->scan, t->tx, at, &t->plan->source[0].path, note);
}

static eg_err begin_change(struct text_tx *t, const struct tx_place *at, struct err_note *note) {
    const struct select_opts o = {.kind = t->plan->statement == TEXT_UPDATE ? SELECT_REPLACE
                                                                            : SELECT_REMOVE,
                                  .compiled = t->plan->input};
    eg_err err = tx_scan_open(&t->scan, t->tx, at, &o, note);

    if (err == EG_OK)
        t->plan->input = NULL; /* the question's own */
    return err;
}

static eg_err begin_insert(struct text_tx *t, struct err_note *note) {
    eg_err err = tx_enter(t->tx, note);

    t->undo = tx_mark(t->tx);
    t->tx->shown =
        EG_MAX(t->tx->shown, t->tx->write_count); /* what was wanted before stays apart */
    return err;
}

static eg_err begin(struct text_tx *t, struct reader *r, struct err_note *note) {
    const struct tx_place at = place_of(t, r);

    switch (t->plan->statement) {
    case TEXT_SELECT:
        return begin_select(t, &at, note);
    case TEXT_INSERT:
        return begin_insert(t, note);
    case TEXT_UPDATE:
    case TEXT_DELETE:
        break;
    }
    return begin_change(t, &at, note);
}

eg_err text_tx_open(struct text_tx **out, struct tx *tx, const struct text_world *world,
                    const char *text, size_t text_bytes, struct value arguments, uint64_t page_most,
                    struct err_note *note) {
    struct text_tx *t = alloc_zero(world->alloc, sizeof *t);
    eg_err err;

    if (t == NULL)
        return EG_MEMORY;
    t->alloc = world->alloc;
    t->tx = tx;
    t->page_most = page_most;
    err = text_plan_open(&t->plan, world, text, text_bytes, arguments, note);
    if (err == EG_OK)
        err = begin(t, world->reader, note);
    if (err != EG_OK) {
        text_tx_close(t);
        return err;
    }
    *out = t;
    return EG_OK;
}

/* Before the transaction ends: the rest may take longer. */
static void end_questions(struct text_tx *t) {
    if (t->scan != NULL)
        tx_scan_close(t->scan);
    if (t->join != NULL)
        text_tx_join_close(t->join);
    t->scan = NULL;
    t->join = NULL;
}

void text_tx_close(struct text_tx *t) {
    end_questions(t);
    if (t->run != NULL)
        text_run_close(t->run); /* the plan too */
    else if (t->plan != NULL)
        text_plan_close(t->plan);
    alloc_put(t->alloc, t, sizeof *t);
}

bool text_tx_close_some(struct text_tx *t) {
    end_questions(t);
    if (t->run != NULL && t->run->groups.plan != NULL && !text_groups_free_some(&t->run->groups))
        return false;
    text_tx_close(t);
    return true;
}

struct value text_tx_columns(const struct text_tx *t) {
    return t->plan->names;
}

size_t text_tx_bytes(const struct text_tx *t) {
    return sizeof *t + (t->run != NULL ? text_run_bytes(t->run) : 0);
}

/* ---- changes --------------------------------------------------------------------------- */

/* The one row of a change: how many records it was. */
static eg_err put_count(struct buffer *rows, uint64_t count) {
    uint8_t row[1 + NUMBER_BYTES];
    struct value_writer w = value_writer_init(row, sizeof row);

    value_put_array(&w, 1);
    value_put_u64(&w, count);
    return buffer_append(rows, row, w.need_bytes) ? EG_OK : EG_TOO_LARGE;
}

static eg_err change_step(struct text_tx *t, const struct tx_place *at,
                          const struct select_pace *pace, uint64_t *count, struct err_note *note) {
    struct buffer counted;
    eg_err err;

    buffer_init(&counted, t->alloc, NUMBER_BYTES);
    err = tx_scan_step(t->scan, at, pace, &counted, note);
    if (err == EG_OK &&
        !value_get_u64((struct value){counted.at, (uint32_t) counted.size_bytes}, count))
        err = EG_INTERNAL;
    buffer_fini(&counted);
    return err;
}

static eg_err insert_one(struct text_tx *t, const struct tx_place *at, struct value record,
                         struct err_note *note) {
    const struct shard_request q = {.op = table_type(at->table) == TABLE_BAG ? SHARD_WRITE
                                                                             : SHARD_INSERT_NEW,
                                    .attribute = SHARD_NO_ATTRIBUTE,
                                    .value = record};
    struct buffer answer;
    bool done = false;
    eg_err err;

    buffer_init(&answer, t->alloc, NUMBER_BYTES);
    err = tx_change(t->tx, at, &q, &answer, note);
    if (err == EG_OK &&
        !value_get_bool((struct value){answer.at, (uint32_t) answer.size_bytes}, &done))
        err = EG_INTERNAL;
    buffer_fini(&answer);
    return err != EG_OK || done
               ? err
               : err_note(note, EG_EXISTS, "a record with this key is there already");
}

static void undo_insert(struct text_tx *t) {
    if (t->plan->statement == TEXT_INSERT && tx_state(t->tx) == TX_OPEN)
        tx_undo_to(t->tx, t->undo);
}

static eg_err insert_step(struct text_tx *t, const struct tx_place *at,
                          const struct select_pace *pace, struct err_note *note) {
    while (t->next < t->plan->row_count) {
        eg_err err = insert_one(t, at, t->plan->rows[t->next], note);

        if (err != EG_OK && err != EG_AGAIN)
            undo_insert(t);
        if (err != EG_OK)
            return err;
        if (++t->next % ROWS_BETWEEN_LOOKS == 0 && pace->is_over(pace->context))
            return EG_AGAIN;
    }
    return EG_OK;
}

/* ---- select ---------------------------------------------------------------------------- */

static eg_err take(void *context, struct value row, bool *enough) {
    struct text_tx *t = context;

    return text_run_feed(t->run, row, t->rows, enough);
}

/* text_row_fn: a joined one */
static eg_err take_joined(void *context, struct value row) {
    bool enough = false;
    eg_err err = take(context, row, &enough);

    return err == EG_OK && enough ? EG_NOT_FOUND : err;
}

/* EG_OK: all rows have come; EG_NOT_FOUND: the page is full before that. */
static eg_err feed(struct text_tx *t, const struct tx_place *at, const struct select_pace *pace,
                   struct err_note *note) {
    if (t->join != NULL)
        return text_tx_join_step(t->join, at->reader, pace, take_joined, t, note);
    return tx_scan_each(t->scan, at, pace, take, t, note);
}

static eg_err rows_step(struct text_tx *t, const struct tx_place *at, struct catalog *catalog,
                        const struct select_pace *pace, struct buffer *rows, uint64_t *count,
                        struct err_note *note) {
    eg_err err = EG_OK;

    t->rows = rows;
    if (!t->run->fed)
        err = feed(t, at, pace, note);
    if (err == EG_OK) {
        text_run_fed(t->run);
        end_questions(t);
        err = text_run_step(t->run, catalog, at->reader, pace, rows, note);
    } else if (err == EG_NOT_FOUND) {
        err = EG_OK;
    }
    if (err == EG_TOO_LARGE && note->text[0] == '\0')
        err = err_note(note, err, "the result, or what it is made of, is larger than 64 MiB");
    *count = t->run->page_rows;
    return err;
}

/* ---- a step ------------------------------------------------------------------------------ */

eg_err text_tx_step(struct text_tx *t, struct catalog *catalog, struct reader *r,
                    const struct select_pace *pace, struct buffer *rows, uint64_t *count,
                    struct err_note *note) {
    struct tx_place at;
    uint64_t changed = t->plan->row_count;
    eg_err err = text_plan_check(t->plan, catalog, note);

    if (err != EG_OK) {
        undo_insert(t);
        return err;
    }
    at = place_of(t, r);
    if (t->run != NULL)
        return rows_step(t, &at, catalog, pace, rows, count, note);
    err = t->scan != NULL ? change_step(t, &at, pace, &changed, note)
                          : insert_step(t, &at, pace, note);
    *count = 1;
    return err == EG_OK ? put_count(rows, changed) : err;
}

bool text_tx_has_more(const struct text_tx *t) {
    return t->run != NULL && t->run->more;
}

void text_tx_next_page(struct text_tx *t) {
    text_run_page(t->run, t->page_most);
}
