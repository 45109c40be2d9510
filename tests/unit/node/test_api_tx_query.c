/* Statements of the text language inside a transaction: what they show there is what they show
 * without one after its commit, joined, grouped, in order and in pages. */
#include <engram.h>

#include "tests/support/text_span.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 40, VALUES = 8, ROUNDS = 30, TEXT_BYTES = 64 << 10 };

static eg_node *node;
static const char *const names[] = {"a", "b", "c"};
static eg_table *tables[3];
static uint32_t dice;

static int roll(int below) {
    dice = dice * 1664525 + 1013904223;
    return (int) (dice >> 8) % below;
}

static void setup(void) {
    const char *options[] = {
        "{'attributes': ['k', 'n', 'm'], 'index': ['n']}",
        "{'type': 'ordered_set', 'attributes': ['k', 'n', 'm'], 'index': ['n']}",
        "{'type': 'bag', 'attributes': ['k', 'n', 'm'], 'index': ['n']}",
    };

    cr_assert_eq(eg_open(&(eg_options){.name = "test", .schedulers = 1}, &node, NULL), EG_OK);
    for (int i = 0; i < 3; i++) {
        uint8_t room[256];
        eg_span o = text_span(room, options[i]);

        cr_assert_eq(eg_create_table(node, names[i], &o, NULL), EG_OK);
        cr_assert_eq(eg_table_open(node, names[i], &tables[i]), EG_OK);
    }
}

static void teardown(void) {
    for (int i = 0; i < 3; i++)
        eg_table_close(tables[i]);
    eg_close(node);
}

TestSuite(api_tx_query, .init = setup, .fini = teardown, .timeout = 240);

/* ---- rows as text ------------------------------------------------------------------------ */

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *) a, *(char *const *) b);
}

/* All rows, one a line; sorted unless they have an order. */
struct shown {
    char text[TEXT_BYTES];
    char *line[4096];
    int count;
    size_t used;
};

static void show_rows(struct shown *s, eg_span rows) {
    eg_span row;

    for (uint32_t i = 0; eg_element(rows, i, &row); i++) {
        cr_assert_lt(s->used + 256, sizeof s->text);
        s->line[s->count++] = &s->text[s->used];
        value_text((struct value){row.at, (uint32_t) row.size_bytes}, &s->text[s->used], 256);
        s->used += strlen(&s->text[s->used]) + 1;
    }
}

static void show_result(struct shown *s, eg_result *found, bool ordered) {
    eg_span rows;

    s->count = 0;
    s->used = 0;
    cr_assert(eg_element(found->value, 1, &rows));
    show_rows(s, rows);
    if (!ordered)
        qsort(s->line, (size_t) s->count, sizeof s->line[0], by_text);
    eg_result_free(found);
}

static void expect_same(const struct shown *a, const struct shown *b, const char *text) {
    cr_assert_eq(a->count, b->count, "%s: %d rows, %d after the commit", text, a->count, b->count);
    for (int i = 0; i < a->count; i++)
        cr_assert_str_eq(a->line[i], b->line[i], "%s: row %d", text, i);
}

static bool has_order(const char *text) {
    return strstr(text, "order by") != NULL;
}

/* ---- what is asked ------------------------------------------------------------------------- */

static const char *const statements[] = {
    "select * from a where n = 3",
    "select k, m from b where k > 5 and k < 30 order by k desc limit 7",
    "select n, count(*), sum(m) from c group by n order by n",
    "select a.k, b.k from a join b on a.n = b.k",      /* by key   */
    "select a.k, b.k, b.m from a join b on a.n = b.n", /* by index */
    "select a.k, c.k, c.n from a join c on a.m = c.m", /* by hash  */
    "select a.k, c.n from c join a on c.k = a.k where a.m > 2 and c.m < 6",
    "select x.k, y.k from b x join b y on x.n = y.k order by x.k, y.k",
    "select x.k, y.k from c x join c y on x.n = y.n where x.m < y.m",
    "select b.n, count(*), sum(c.m) from b join c on b.n = c.n group by b.n order by b.n",
    "select a.k, b.k from a join b on a.m = b.m order by a.k, b.k limit 10 offset 5",
    "select count(*) from a join b on a.k = b.k",
    "select a.k from a join b on a.n = b.n where b.k = 100",
};
enum { STATEMENTS = sizeof statements / sizeof statements[0] };

static struct shown inside[STATEMENTS], paged, after;

static void ask_pages(eg_tx *tx, const char *text, uint64_t limit) {
    eg_tx_cursor *cursor;
    eg_result page;
    eg_err err;

    paged.count = 0;
    paged.used = 0;
    cr_assert_eq(eg_tx_query_open(tx, text, NULL, limit, &cursor), EG_OK, "%s", text);
    cr_assert_gt(eg_count(eg_tx_query_columns(cursor)), 0);
    while ((err = eg_tx_cursor_next(cursor, &page)) == EG_OK) {
        cr_assert_leq(eg_count(page.value), limit);
        show_rows(&paged, page.value);
        eg_result_free(&page);
    }
    cr_assert_eq(err, EG_NOT_FOUND, "%s", text);
    eg_tx_cursor_close(cursor);
    if (!has_order(text))
        qsort(paged.line, (size_t) paged.count, sizeof paged.line[0], by_text);
}

/* Some record changed, in the transaction or (`tx` NULL) without any. */
static void change(eg_tx *tx) {
    eg_table *table = tables[roll(3)];
    uint8_t room[64];
    eg_writer w = eg_writer_init(room, sizeof room);
    bool deletes = roll(3) == 0;

    if (!deletes)
        eg_put_array(&w, 3);
    eg_put_int(&w, roll(KEYS));
    if (!deletes) {
        eg_put_int(&w, roll(VALUES));
        eg_put_int(&w, roll(VALUES));
    }
    if (tx == NULL)
        cr_assert_eq(deletes ? eg_delete(table, eg_written(&w)) : eg_write(table, eg_written(&w)),
                     EG_OK);
    else
        cr_assert_eq(deletes ? eg_tx_delete(tx, table, eg_written(&w))
                             : eg_tx_write(tx, table, eg_written(&w)),
                     EG_OK);
}

static eg_err change_and_ask(eg_tx *tx, void *arg) {
    eg_result found;
    int changes = roll(30);

    (void) arg;
    for (int i = 0; i < changes; i++)
        change(tx);
    for (int i = 0; i < STATEMENTS; i++) {
        cr_assert_eq(eg_tx_query(tx, statements[i], NULL, &found), EG_OK, "%s", statements[i]);
        show_result(&inside[i], &found, has_order(statements[i]));
        ask_pages(tx, statements[i], (uint64_t) roll(9) + 1);
        expect_same(&paged, &inside[i], statements[i]);
    }
    return EG_OK;
}

Test(api_tx_query, it_shows_before_the_commit_what_is_there_after_it) {
    eg_result found;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        dice = round;
        for (int i = roll(60); i > 0; i--)
            change(NULL);
        cr_assert_eq(eg_transaction(node, change_and_ask, NULL, NULL), EG_OK);
        for (int i = 0; i < STATEMENTS; i++) {
            cr_assert_eq(eg_query(node, statements[i], NULL, &found, NULL), EG_OK);
            show_result(&after, &found, has_order(statements[i]));
            expect_same(&inside[i], &after, statements[i]);
        }
    }
}

/* ---- what it stands for ---------------------------------------------------------------------- */

struct asking {
    const char *text;
    eg_table *changed; /* by another, the first time */
    const char *record;
    int tries;
};

static eg_err ask_then_write(eg_tx *tx, void *arg) {
    struct asking *x = arg;
    uint8_t room[256];
    eg_result found;
    eg_err err = eg_tx_query(tx, x->text, NULL, &found);

    if (err != EG_OK)
        return err;
    eg_result_free(&found);
    if (++x->tries == 1)
        cr_assert_eq(eg_write(x->changed, text_span(room, x->record)), EG_OK);
    return eg_tx_write(tx, tables[2], text_span(room, "[99, 0, 0]"));
}

static int tries_of(const char *text, eg_table *changed, const char *record) {
    struct asking x = {.text = text, .changed = changed, .record = record};

    cr_assert_eq(eg_transaction(node, ask_then_write, &x, NULL), EG_OK);
    return x.tries;
}

Test(api_tx_query, what_a_join_has_found_is_so_at_the_commit) {
    uint8_t room[256];

    cr_assert_eq(eg_write(tables[0], text_span(room, "[1, 5, 6]")), EG_OK);
    for (int k = 0; k < KEYS; k++) {
        char text[32];

        snprintf(text, sizeof text, "[%d, %d, %d]", k, k, k);
        cr_assert_eq(eg_write(tables[1], text_span(room, text)), EG_OK);
    }
    /* By key and by index only the records of the one value were looked at. */
    cr_expect_eq(tries_of("select b.m from a join b on a.n = b.k", tables[1], "[5, 5, 9]"), 2);
    cr_expect_eq(tries_of("select b.m from a join b on a.n = b.k", tables[1], "[7, 7, 9]"), 1);
    cr_expect_eq(tries_of("select b.m from a join b on a.n = b.n", tables[1], "[77, 5, 9]"), 2);
    cr_expect_eq(tries_of("select b.m from a join b on a.n = b.n", tables[0], "[2, 1, 9]"), 2);
    /* By hash all of it. */
    cr_expect_eq(tries_of("select b.m from a join b on a.m = b.m", tables[1], "[78, 5, 8]"), 2);
}

/* ---- changes, contexts, refusals ---------------------------------------------------------------
 */

static int64_t number_of(eg_span columns_and_rows) {
    eg_span rows, row, field;
    int64_t n = -1;

    cr_assert(eg_element(columns_and_rows, 1, &rows) && eg_element(rows, 0, &row) &&
              eg_element(row, 0, &field) && eg_as_int(field, &n));
    return n;
}

static int64_t ask_number(eg_tx *tx, const char *text, const char *arguments) {
    uint8_t room[256];
    eg_span given = text_span(room, arguments);
    eg_result found;
    int64_t n;

    cr_assert_eq(eg_tx_query(tx, text, &given, &found), EG_OK, "%s", text);
    n = number_of(found.value);
    eg_result_free(&found);
    return n;
}

static eg_err change_by_text(eg_tx *tx, void *arg) {
    cr_expect_eq(ask_number(tx, "insert into a values (1, ?, 3), (2, ?, 3)", "[7, 8]"), 2);
    cr_expect_eq(ask_number(tx, "update a set m = m + 1 where n >= ?", "[8]"), 1);
    cr_expect_eq(ask_number(tx, "select sum(m) from a", "[]"), 7);
    cr_expect_eq(ask_number(tx, "delete from a where k = ?", "[1]"), 1);
    cr_expect_eq(ask_number(tx, "select count(*) from a", "[]"), 1);
    return arg == NULL ? EG_OK : eg_tx_abort(tx, arg);
}

static int64_t count_outside(void) {
    eg_result found;
    int64_t n;

    cr_assert_eq(eg_query(node, "select count(*) from a", NULL, &found, NULL), EG_OK);
    n = number_of(found.value);
    eg_result_free(&found);
    return n;
}

Test(api_tx_query, changes_are_made_at_the_commit_or_not_at_all) {
    cr_assert_eq(eg_transaction(node, change_by_text, "no", NULL), EG_ABORTED);
    cr_expect_eq(count_outside(), 0);
    cr_assert_eq(eg_transaction(node, change_by_text, NULL, NULL), EG_OK);
    cr_expect_eq(count_outside(), 1);
}

Test(api_tx_query, in_a_dirty_context_it_is_the_plain_one) {
    for (int c = EG_ASYNC_DIRTY; c <= EG_SYNC_DIRTY; c++) {
        const eg_tx_options o = {.context = (eg_context) c};

        cr_assert_eq(eg_transaction(node, change_by_text, "too late", &o), EG_ABORTED);
        cr_expect_eq(count_outside(), 1);
        cr_assert_eq(eg_query(node, "delete from a", NULL, NULL, NULL), EG_OK);
    }
}

static eg_err ask_wrongly(eg_tx *tx, void *arg) {
    eg_tx_cursor *cursor = NULL;
    eg_result found;

    (void) arg;
    cr_expect_eq(eg_tx_query(tx, "nonsense", NULL, &found), EG_BAD_REQUEST);
    cr_expect_eq(eg_tx_query(tx, "select * from nothing", NULL, &found), EG_NO_TABLE);
    cr_expect_eq(eg_tx_query(tx, NULL, NULL, &found), EG_BAD_REQUEST);
    cr_expect_eq(eg_tx_query(tx, "select * from a", &(eg_span){"\x01", 1}, &found), EG_BAD_REQUEST);
    cr_expect_eq(eg_tx_query_open(tx, "select * from a", NULL, 0, &cursor), EG_BAD_REQUEST);
    cr_expect_eq(eg_tx_query_open(tx, "nonsense", NULL, 1, &cursor), EG_BAD_REQUEST);
    cr_expect_eq(eg_tx_query_open(tx, "select * from a", NULL, 1, NULL), EG_BAD_REQUEST);
    cr_expect_null(cursor);
    return eg_tx_query(tx, "insert into a values (1, 1, 1)", NULL, NULL);
}

Test(api_tx_query, what_is_refused_has_done_nothing_and_the_transaction_goes_on) {
    cr_assert_eq(eg_transaction(node, ask_wrongly, NULL, NULL), EG_OK);
    cr_expect_eq(count_outside(), 1);
}
