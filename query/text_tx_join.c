/* text_tx_join.c -- two tables joined inside a transaction.
 *
 *     INNER --all rows--> OUTER --all rows--> PAIRS --> over
 *       '- of a hash table only
 *
 * One question is stepped at a time, so the outer rows are kept before any pair is made: a lookup
 * of inner rows may have to ask other nodes, and the outer question would stand open meanwhile. */
#include "query/text_tx_join.h"

#include <string.h>

enum { FIRST_ROWS = 64 };

enum join_state { JOIN_INNER, JOIN_OUTER, JOIN_PAIRS };

struct text_tx_join {
    struct text_run *run;
    struct tx *tx;
    enum join_state state;
    struct tx_scan *scan;    /* of the table being gone through, or of one lookup */
    struct scan_path lookup; /* that one's                                        */
    struct text_store store;
    const uint8_t **outer; /* rows that were kept */
    uint32_t count, room;
    uint32_t next; /* whose pairs come next */

    /* Of this step. */
    text_row_fn *give;
    void *context;
};

/* ---- open and close -------------------------------------------------------------------- */

eg_err text_tx_join_open(struct text_tx_join **out, struct text_run *run, struct tx *tx) {
    struct text_tx_join *j = alloc_zero(run->memory.alloc, sizeof *j);

    if (j == NULL)
        return EG_MEMORY;
    j->run = run;
    j->tx = tx;
    j->state = run->plan->join == TEXT_JOIN_HASH ? JOIN_INNER : JOIN_OUTER;
    j->store.memory = &run->memory;
    *out = j;
    return EG_OK;
}

static void end_question(struct text_tx_join *j) {
    if (j->scan != NULL)
        tx_scan_close(j->scan);
    j->scan = NULL;
}

void text_tx_join_close(struct text_tx_join *j) {
    end_question(j);
    text_store_clear(&j->store);
    text_memory_put(&j->run->memory, (void *) j->outer, j->room * sizeof *j->outer);
    alloc_put(j->run->memory.alloc, j, sizeof *j);
}

/* ---- one table after the other ------------------------------------------------------------ */

static struct text_source *source_of(const struct text_tx_join *j, bool outer) {
    struct text_plan *p = j->run->plan;
    return &p->source[outer ? p->outer : 1 - p->outer];
}

static eg_err refused(const struct text_tx_join *j, size_t size_bytes) {
    return size_bytes > TEXT_MEMORY_MAX - j->run->memory.used_bytes ? EG_TOO_LARGE : EG_MEMORY;
}

static eg_err grow(struct text_tx_join *j) {
    uint32_t room = EG_MAX((uint32_t) FIRST_ROWS, 2 * j->room);
    const uint8_t **larger = text_memory_get(&j->run->memory, room * sizeof *larger);

    if (larger == NULL)
        return refused(j, room * sizeof *larger);
    if (j->count > 0)
        memcpy((void *) larger, (const void *) j->outer, j->count * sizeof *larger);
    text_memory_put(&j->run->memory, (void *) j->outer, j->room * sizeof *larger);
    j->outer = larger;
    j->room = room;
    return EG_OK;
}

static eg_err take_inner(void *context, struct value row, bool *enough) {
    struct text_tx_join *j = context;

    *enough = false;
    return text_joiner_build(&j->run->joiner, row);
}

static eg_err take_outer(void *context, struct value row, bool *enough) {
    struct text_tx_join *j = context;
    bool wanted;
    eg_err err = text_joiner_wants(&j->run->joiner, row, &wanted);

    *enough = false;
    if (err == EG_OK && wanted && j->count == j->room)
        err = grow(j);
    if (err != EG_OK || !wanted)
        return err;
    j->outer[j->count] = text_store_copy(&j->store, row.at, row.size_bytes);
    if (j->outer[j->count] == NULL)
        return refused(j, EG_MAX(row.size_bytes, (uint32_t) TEXT_CHUNK_BYTES));
    j->count++;
    return EG_OK;
}

typedef eg_err (*take_fn)(void *context, struct value row, bool *enough);

/* All rows that a path of one of the tables leads to. */
static eg_err go_through(struct text_tx_join *j, struct reader *r, const struct text_source *s,
                         const struct scan_path *path, take_fn take, const struct select_pace *pace,
                         struct err_note *note) {
    const struct tx_place at = {.table = s->table, .reader = r};
    eg_err err = EG_OK;

    if (j->scan == NULL)
        err = tx_scan_open_path(&j->scan, j->tx, &at, path, note);
    if (err == EG_OK)
        err = tx_scan_each(j->scan, &at, pace, take, j, note);
    if (err == EG_OK)
        end_question(j);
    return err;
}

/* ---- pairs ---------------------------------------------------------------------------------- */

static eg_err take_pair(void *context, struct value row, bool *enough) {
    struct text_tx_join *j = context;

    *enough = false;
    return text_joiner_pair(&j->run->joiner, value_of(j->outer[j->next]), row, j->give, j->context);
}

static eg_err pairs_of(struct text_tx_join *j, struct reader *r, const struct select_pace *pace,
                       struct err_note *note) {
    struct text_joiner *joiner = &j->run->joiner;
    struct value outer = value_of(j->outer[j->next]);

    if (j->run->plan->join == TEXT_JOIN_HASH)
        return text_joiner_probe(joiner, pace, outer, j->give, j->context);
    if (j->scan == NULL)
        j->lookup = text_joiner_lookup(joiner, outer);
    return go_through(j, r, source_of(j, false), &j->lookup, take_pair, pace, note);
}

eg_err text_tx_join_step(struct text_tx_join *j, struct reader *r, const struct select_pace *pace,
                         text_row_fn *give, void *context, struct err_note *note) {
    const struct text_source *inner = source_of(j, false), *outer = source_of(j, true);
    eg_err err = EG_OK;

    j->give = give;
    j->context = context;
    if (j->state == JOIN_INNER) {
        err = go_through(j, r, inner, &inner->path, take_inner, pace, note);
        if (err != EG_OK)
            return err;
        j->state = JOIN_OUTER;
    }
    if (j->state == JOIN_OUTER) {
        err = go_through(j, r, outer, &outer->path, take_outer, pace, note);
        if (err != EG_OK)
            return err;
        j->state = JOIN_PAIRS;
    }
    while (err == EG_OK && j->next < j->count) {
        err = pairs_of(j, r, pace, note);
        j->next += err == EG_OK;
        if (err == EG_OK && j->next % 16 == 0 && pace->is_over(pace->context))
            return EG_AGAIN;
    }
    return err == EG_NOT_FOUND ? EG_OK : err;
}
