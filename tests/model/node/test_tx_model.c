/* What a transaction reads and asks is what a naive one answers that copies the whole table when
 * it begins, and again for each level: sets, ordered sets and bags. */
#include <engram.h>

#include "tests/support/rng.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 14, VALUES = 4, ROWS_MAX = 600, DEPTH_MAX = 4, STEPS = 60, TRANSACTIONS = 60 };

struct row {
    int key, a, n;
};

struct copy {
    struct row row[ROWS_MAX];
    int count;
};

struct world {
    eg_node *node;
    eg_table *table;
    bool bag, ordered;
    struct rng rng;
    struct copy level[DEPTH_MAX + 1]; /* [0]: what is committed */
    int depth;
    bool said_abort; /* by the function that is being left */
};

static uint64_t below(struct world *w, uint64_t n) {
    return rng_below(&w->rng, n);
}

static struct copy *now(struct world *w) {
    return &w->level[w->depth];
}

/* ---- the naive table -------------------------------------------------------------- */

static int compare_rows(const void *x, const void *y) {
    const struct row *a = x, *b = y;
    if (a->key != b->key)
        return a->key - b->key;
    return a->a != b->a ? a->a - b->a : a->n - b->n;
}

static void naive_remove(struct copy *c, int i) {
    memmove(&c->row[i], &c->row[i + 1], (size_t) (--c->count - i) * sizeof c->row[0]);
}

static int naive_find(const struct copy *c, int key) {
    for (int i = 0; i < c->count; i++)
        if (c->row[i].key == key)
            return i;
    return -1;
}

static int naive_delete(struct copy *c, int key) {
    int i, count = 0;

    while ((i = naive_find(c, key)) >= 0) {
        naive_remove(c, i);
        count++;
    }
    return count;
}

static void naive_delete_object(struct copy *c, struct row r) {
    for (int i = c->count; i-- > 0;)
        if (compare_rows(&c->row[i], &r) == 0)
            naive_remove(c, i);
}

static void naive_write(struct world *w, struct row r) {
    struct copy *c = now(w);

    if (w->bag)
        naive_delete_object(c, r);
    else
        naive_delete(c, r.key);
    cr_assert_lt(c->count, ROWS_MAX);
    c->row[c->count++] = r;
    qsort(c->row, (size_t) c->count, sizeof r, compare_rows);
}

/* ---- what was asked and answered ----------------------------------------------------- */

static eg_span put_row(uint8_t room[32], struct row r) {
    eg_writer w = eg_writer_init(room, 32);

    eg_put_array(&w, 3);
    eg_put_int(&w, r.key);
    eg_put_int(&w, r.a);
    eg_put_int(&w, r.n);
    return eg_written(&w);
}

static eg_span put_int(uint8_t room[16], int n) {
    eg_writer w = eg_writer_init(room, 16);

    eg_put_int(&w, n);
    return eg_written(&w);
}

static struct row row_of(eg_span record) {
    int64_t n[3];
    eg_span v;

    cr_assert_eq(eg_count(record), 3);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert(eg_element(record, i, &v) && eg_as_int(v, &n[i]));
    return (struct row){(int) n[0], (int) n[1], (int) n[2]};
}

static struct copy rows_of(eg_span array) {
    struct copy c = {.count = (int) eg_count(array)};
    eg_span v;

    for (int i = 0; i < c.count; i++) {
        cr_assert(eg_element(array, (uint32_t) i, &v));
        c.row[i] = row_of(v);
    }
    return c;
}

static void same(struct world *w, const char *what, struct copy *got, const struct copy *wanted,
                 bool ordered) {
    if (!ordered)
        qsort(got->row, (size_t) got->count, sizeof got->row[0], compare_rows);
    cr_assert_eq(got->count, wanted->count, "%s: %d instead of %d (depth %d)", what, got->count,
                 wanted->count, w->depth);
    for (int i = 0; i < got->count; i++)
        cr_assert_eq(compare_rows(&got->row[i], &wanted->row[i]), 0,
                     "%s: [%d, %d, %d] instead of [%d, %d, %d]", what, got->row[i].key,
                     got->row[i].a, got->row[i].n, wanted->row[i].key, wanted->row[i].a,
                     wanted->row[i].n);
}

static void same_result(struct world *w, const char *what, eg_err err, eg_result *out,
                        const struct copy *wanted, bool ordered) {
    struct copy *got = malloc(sizeof *got);

    cr_assert_eq(err, EG_OK, "%s: %s", what, eg_err_name(err));
    *got = rows_of(out->value);
    same(w, what, got, wanted, ordered);
    eg_result_free(out);
    free(got);
}

static struct row any_row(struct world *w) {
    return (struct row){(int) below(w, KEYS), (int) below(w, VALUES), (int) below(w, VALUES)};
}

/* ---- one read ----------------------------------------------------------------------------- */

static void read_one(struct world *w, eg_tx *tx) {
    uint8_t room[16];
    int key = (int) below(w, KEYS);
    struct copy *wanted = calloc(1, sizeof *wanted);
    eg_span record;
    eg_result out;
    eg_err err;

    for (int i = 0; i < now(w)->count; i++)
        if (now(w)->row[i].key == key)
            wanted->row[wanted->count++] = now(w)->row[i];
    err = eg_tx_read(tx, w->table, put_int(room, key), &out);
    same_result(w, "read", err, &out, wanted, true);
    err = eg_tx_get(tx, w->table, put_int(room, key), &record);
    cr_assert_eq(err, wanted->count == 0 ? EG_NOT_FOUND : EG_OK);
    if (err == EG_OK) {
        struct row r = row_of(record);
        cr_assert_eq(compare_rows(&r, &wanted->row[0]), 0);
    }
    free(wanted);
}

static void by_attribute(struct world *w, eg_tx *tx) {
    uint8_t room[64];
    int a = (int) below(w, VALUES);
    struct copy *wanted = calloc(1, sizeof *wanted);
    char pattern[64];
    struct value v;
    eg_result out;

    for (int i = 0; i < now(w)->count; i++)
        if (now(w)->row[i].a == a)
            wanted->row[wanted->count++] = now(w)->row[i];
    same_result(w, "index_read", eg_tx_index_read(tx, w->table, "a", put_int(room, a), &out), &out,
                wanted, false);
    snprintf(pattern, sizeof pattern, "['_', %d, '_']", a);
    v = text_value(room, sizeof room, pattern);
    same_result(w, "match", eg_tx_match(tx, w->table, (eg_span){v.at, v.size_bytes}, 0, &out), &out,
                wanted, false);
    free(wanted);
}

static struct value range_spec(uint8_t *room, size_t room_bytes, int low, int high,
                               const char *body) {
    char text[160];

    snprintf(text, sizeof text, "[[['$1','$2','$3'],[['>=','$1',%d],['<','$1',%d]],['%s']]]", low,
             high, body);
    return text_value(room, room_bytes, text);
}

static void by_range(struct world *w, eg_tx *tx) {
    int low = (int) below(w, KEYS), high = low + 1 + (int) below(w, KEYS);
    struct copy *wanted = calloc(1, sizeof *wanted), *got = calloc(1, sizeof *got);
    uint8_t room[256];
    struct value v = range_spec(room, sizeof room, low, high, "$_");
    eg_span spec = {v.at, v.size_bytes};
    eg_tx_cursor *cursor;
    uint64_t count;
    eg_result out;
    eg_err err;

    for (int i = 0; i < now(w)->count; i++)
        if (now(w)->row[i].key >= low && now(w)->row[i].key < high)
            wanted->row[wanted->count++] = now(w)->row[i];
    same_result(w, "select", eg_tx_select(tx, w->table, spec, 0, &out), &out, wanted, w->ordered);
    cr_assert_eq(eg_tx_cursor_open(tx, w->table, spec, 1 + below(w, 5), false, &cursor), EG_OK);
    while ((err = eg_tx_cursor_next(cursor, &out)) == EG_OK) {
        struct copy page = rows_of(out.value);
        memcpy(&got->row[got->count], page.row, (size_t) page.count * sizeof page.row[0]);
        got->count += page.count;
        eg_result_free(&out);
        if (below(w, 3) == 0) { /* not to be shown by this cursor */
            struct row r = any_row(w);
            uint8_t bytes[32];
            cr_assert_eq(eg_tx_write(tx, w->table, put_row(bytes, r)), EG_OK);
            naive_write(w, r);
        }
    }
    cr_assert_eq(err, EG_NOT_FOUND);
    eg_tx_cursor_close(cursor);
    same(w, "cursor", got, wanted, w->ordered);
    v = range_spec(room, sizeof room, low, high, "$2");
    cr_assert_eq(eg_tx_select_count(tx, w->table, (eg_span){v.at, v.size_bytes}, &count), EG_OK);
    cr_assert_eq(count, 0); /* no body yields true */
    free(wanted);
    free(got);
}

static bool gather(void *context, eg_span record) {
    struct copy *c = context;

    c->row[c->count++] = row_of(record);
    return true;
}

static void walk(struct world *w, eg_tx *tx) {
    struct copy *got = calloc(1, sizeof *got);
    bool seen[KEYS] = {false};
    int keys = 0, wanted = 0, last = -1;
    uint64_t size;
    eg_result out;
    eg_err err;
    int64_t key;

    cr_assert_eq(eg_tx_fold(tx, w->table, false, gather, got), EG_OK);
    same(w, "fold", got, now(w), w->ordered);
    cr_assert_eq(eg_tx_size(tx, w->table, &size), EG_OK);
    cr_assert_eq(size, (uint64_t) now(w)->count);
    for (err = eg_tx_first(tx, w->table, &out); err == EG_OK && eg_as_int(out.value, &key);) {
        eg_result before = out;

        cr_assert(key >= 0 && key < KEYS && !seen[key], "next: %d", (int) key);
        cr_assert(!w->ordered || key > last);
        last = (int) key;
        seen[key] = true;
        keys++;
        err = eg_tx_next(tx, w->table, before.value, &out);
        eg_result_free(&before);
    }
    cr_assert_eq(err, EG_OK);
    eg_result_free(&out);
    for (int k = 0; k < KEYS; k++) {
        wanted += naive_find(now(w), k) >= 0;
        cr_assert_eq(seen[k], naive_find(now(w), k) >= 0, "next: key %d", k);
    }
    cr_assert_eq(keys, wanted);
    if (w->ordered) {
        uint8_t room[16];
        int from = (int) below(w, KEYS), before = -1;
        for (int k = 0; k < from; k++)
            before = naive_find(now(w), k) >= 0 ? k : before;
        cr_assert_eq(eg_tx_prev(tx, w->table, put_int(room, from), &out), EG_OK);
        cr_assert_eq(eg_as_int(out.value, &key), before >= 0);
        cr_assert(before < 0 || key == before);
        eg_result_free(&out);
    }
    free(got);
}

/* ---- one change ----------------------------------------------------------------------------- */

static void change_counter(struct world *w, eg_tx *tx) {
    int key = (int) below(w, KEYS), i = naive_find(now(w), key);
    uint8_t room[16], bytes[64];
    int64_t value;

    if (w->bag)
        return;
    if (below(w, 2) == 0) {
        struct value changes = text_value(bytes, sizeof bytes, "{'n': 3}");
        eg_err err = eg_tx_update(tx, w->table, put_int(room, key),
                                  (eg_span){changes.at, changes.size_bytes});
        cr_assert_eq(err, i < 0 ? EG_NOT_FOUND : EG_OK);
        if (i >= 0)
            now(w)->row[i].n = 3;
        return;
    }
    if (i < 0)
        return; /* its other fields would be nil */
    cr_assert_eq(eg_tx_update_counter(tx, w->table, put_int(room, key), "n", 2, &value), EG_OK);
    now(w)->row[i].n += 2;
    cr_assert_eq(value, now(w)->row[i].n);
}

static void change_one(struct world *w, eg_tx *tx) {
    struct row r = any_row(w);
    uint8_t room[32], key[16];
    bool inserted;
    eg_result out;

    switch (below(w, 7)) {
    case 0:
    case 1:
        cr_assert_eq(eg_tx_write(tx, w->table, put_row(room, r)), EG_OK);
        naive_write(w, r);
        break;
    case 2:
        cr_assert_eq(eg_tx_delete(tx, w->table, put_int(key, r.key)), EG_OK);
        naive_delete(now(w), r.key);
        break;
    case 3:
        if (now(w)->count > 0 && below(w, 2) == 0)
            r = now(w)->row[below(w, (uint64_t) now(w)->count)];
        cr_assert_eq(eg_tx_delete_object(tx, w->table, put_row(room, r)), EG_OK);
        naive_delete_object(now(w), r);
        break;
    case 4:
        cr_assert_eq(eg_tx_insert_new(tx, w->table, put_row(room, r), &inserted), EG_OK);
        cr_assert_eq(inserted, naive_find(now(w), r.key) < 0);
        if (inserted)
            naive_write(w, r);
        break;
    case 5:
        cr_assert_eq(eg_tx_take(tx, w->table, put_int(key, r.key), &out), EG_OK);
        cr_assert_eq((int) eg_count(out.value), naive_delete(now(w), r.key));
        eg_result_free(&out);
        break;
    default:
        change_counter(w, tx);
    }
}

static void change_range(struct world *w, eg_tx *tx) {
    int low = (int) below(w, KEYS), high = low + 1 + (int) below(w, 3);
    uint8_t room[256];
    char text[200];
    struct value v;
    uint64_t count;
    int wanted = 0;

    if (w->bag || below(w, 2) == 0) {
        snprintf(text, sizeof text, "[[['$1','$2','$3'],[['>=','$1',%d],['<','$1',%d]],[true]]]",
                 low, high);
        v = text_value(room, sizeof room, text);
        for (int k = low; k < high; k++)
            wanted += naive_delete(now(w), k);
        cr_assert_eq(eg_tx_select_delete(tx, w->table, (eg_span){v.at, v.size_bytes}, &count),
                     EG_OK);
    } else {
        snprintf(text, sizeof text,
                 "[[['$1','$2','$3'],[['>=','$1',%d],['<','$1',%d]],[[['$1',1,'$3']]]]]", low,
                 high);
        v = text_value(room, sizeof room, text);
        for (int i = 0; i < now(w)->count; i++) {
            struct row *r = &now(w)->row[i];
            if (r->key < low || r->key >= high)
                continue;
            r->a = 1;
            wanted++;
        }
        cr_assert_eq(eg_tx_select_replace(tx, w->table, (eg_span){v.at, v.size_bytes}, &count),
                     EG_OK);
    }
    cr_assert_eq(count, (uint64_t) wanted);
}

/* ---- transactions
 * -------------------------------------------------------------------------------- */

static eg_err body(eg_tx *tx, void *arg);

/* A level of its own: its end is seen by nobody, or by the level around it. */
static void nest(struct world *w, eg_tx *tx) {
    eg_err err;

    if (w->depth == DEPTH_MAX)
        return;
    w->level[w->depth + 1] = w->level[w->depth];
    w->depth++;
    err = eg_tx_nested(tx, body, w);
    w->depth--;
    cr_assert_eq(err, w->said_abort ? EG_ABORTED : EG_OK, "%s", eg_err_name(err));
    if (err == EG_OK)
        w->level[w->depth] = w->level[w->depth + 1];
    w->said_abort = false;
}

static eg_err body(eg_tx *tx, void *arg) {
    struct world *w = arg;
    uint64_t steps = below(w, STEPS / (uint64_t) w->depth);

    while (steps-- > 0)
        switch (below(w, 12)) {
        case 0:
            by_attribute(w, tx);
            break;
        case 1:
            by_range(w, tx);
            break;
        case 2:
            walk(w, tx);
            break;
        case 3:
        case 4:
            read_one(w, tx);
            break;
        case 5:
            nest(w, tx);
            break;
        case 6:
            change_range(w, tx);
            break;
        default:
            change_one(w, tx);
        }
    w->said_abort = below(w, 3) == 0;
    return w->said_abort ? eg_tx_abort(tx, "as the seed says") : EG_OK;
}

/* Nobody else is there: it is never tried twice. */
static eg_err outermost(eg_tx *tx, void *arg) {
    struct world *w = arg;

    cr_assert_eq(w->depth, 0, "another try");
    w->level[1] = w->level[0];
    w->depth = 1;
    return body(tx, arg);
}

static void check_committed(struct world *w) {
    struct copy *got = calloc(1, sizeof *got);

    cr_assert_eq(eg_fold(w->table, NULL, false, gather, got), EG_OK);
    same(w, "afterwards", got, &w->level[0], w->ordered);
    free(got);
}

static void as_the_model(const char *options, bool ordered, bool bag) {
    struct world *w = calloc(1, sizeof *w);
    uint8_t room[256];
    struct value v = text_value(room, sizeof room, options);
    eg_span o = {v.at, v.size_bytes};

    w->rng = rng_of(rng_test_seed(20261121));
    w->ordered = ordered;
    w->bag = bag;
    cr_assert_eq(eg_open(&(eg_options){.name = "test", .schedulers = 1}, &w->node, NULL), EG_OK);
    cr_assert_eq(eg_create_table(w->node, "t", &o, NULL), EG_OK);
    cr_assert_eq(eg_table_open(w->node, "t", &w->table), EG_OK);
    for (int i = 0; i < TRANSACTIONS; i++) {
        eg_note note;
        eg_err err;

        err = eg_transaction(w->node, outermost, w, &(eg_tx_options){.note = &note});
        w->depth = 0;
        cr_assert_eq(err, w->said_abort ? EG_ABORTED : EG_OK, "%s: %s", eg_err_name(err),
                     note.text);
        if (err == EG_OK)
            w->level[0] = w->level[1];
        w->said_abort = false;
        check_committed(w);
    }
    eg_table_close(w->table);
    eg_close(w->node);
    free(w);
}

Test(tx_model, of_a_set, .timeout = 240) {
    as_the_model("{'attributes': ['k','a','n'], 'index': ['a']}", false, false);
}

Test(tx_model, of_an_ordered_set, .timeout = 240) {
    as_the_model("{'type': 'ordered_set', 'attributes': ['k','a','n'], 'index': ['a']}", true,
                 false);
}

Test(tx_model, of_an_ordered_set_in_shards, .timeout = 240) {
    as_the_model(
        "{'type': 'ordered_set', 'shards': 4, 'attributes': ['k','a','n'], 'index': ['a']}", true,
        false);
}

Test(tx_model, of_a_bag, .timeout = 240) {
    as_the_model("{'type': 'bag', 'shards': 3, 'attributes': ['k','a','n'], 'index': ['a']}", false,
                 true);
}

Test(tx_model, of_counters, .timeout = 240) {
    as_the_model("{'merge': 'counter', 'attributes': ['k','a','n'], 'index': ['a']}", false, false);
}
