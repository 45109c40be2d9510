/* A program asks in text: what it is told is what the wire's query tells, in one piece or in pages,
 * and what it changes is changed once, also where the shards are busy. */
#include "engram.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { RECORDS = 1000 };

static struct temp_dir dir;
static eg_node *node;

static void setup(void) {
    eg_note note = {""};
    dir = temp_dir_make();
    cr_assert_eq(
        eg_open(&(eg_options){.name = "unit", .data_dir = dir.path, .schedulers = 2}, &node, &note),
        EG_OK, "%s", note.text);
}

static void teardown(void) {
    eg_close(node);
    temp_dir_remove(&dir);
}

TestSuite(api_query, .init = setup, .fini = teardown, .timeout = 240);

static void make_table(const char *storage) {
    uint8_t memory[512];
    eg_writer w = eg_writer_init(memory, sizeof memory);
    eg_note note = {""};
    eg_span options;

    eg_put_map(&w, 3);
    eg_put_string(&w, "storage");
    eg_put_string(&w, storage);
    eg_put_string(&w, "attributes");
    eg_put_array(&w, 2);
    eg_put_string(&w, "k");
    eg_put_string(&w, "a");
    eg_put_string(&w, "index");
    eg_put_array(&w, 1);
    eg_put_string(&w, "a");
    options = eg_written(&w);
    cr_assert_eq(eg_create_table(node, "t", &options, &note), EG_OK, "%s", note.text);
}

static eg_span numbers(uint8_t *memory, size_t size_bytes, uint32_t count, const int64_t *n) {
    eg_writer w = eg_writer_init(memory, size_bytes);

    eg_put_array(&w, count);
    for (uint32_t i = 0; i < count; i++)
        eg_put_int(&w, n[i]);
    return eg_written(&w);
}

static eg_err ask(const char *text, uint32_t count, const int64_t *n, eg_result *out,
                  eg_note *note) {
    uint8_t memory[256];
    eg_span arguments = numbers(memory, sizeof memory, count, n);

    return eg_query(node, text, &arguments, out, note);
}

static int64_t first_of(eg_span rows, uint32_t number) {
    eg_span row, value;
    int64_t n;

    cr_assert(eg_element(rows, number, &row) && eg_element(row, 0, &value) && eg_as_int(value, &n));
    return n;
}

/* [columns, [[n]]] */
static int64_t one_number(const char *text, uint32_t count, const int64_t *n) {
    eg_result answer;
    eg_note note = {""};
    eg_span rows;
    int64_t number;

    cr_assert_eq(ask(text, count, n, &answer, &note), EG_OK, "%s: %s", text, note.text);
    cr_assert(eg_element(answer.value, 1, &rows));
    cr_assert_eq(eg_count(rows), 1);
    number = first_of(rows, 0);
    eg_result_free(&answer);
    return number;
}

static void fill(void) {
    for (int64_t i = 0; i < RECORDS; i++)
        cr_assert_eq(ask("insert into t values (?, ?)", 2, (int64_t[]){i, i % 10}, NULL, NULL),
                     EG_OK);
}

Test(api_query, statements_of_every_kind_are_answered) {
    static const char *const storages[] = {"ram", "disc", "disc_only"};

    for (int i = 0; i < 3; i++) {
        make_table(storages[i]);
        fill();
        cr_expect_eq(one_number("select count(*) from t where a = ?", 1, (int64_t[]){3}), 100);
        cr_expect_eq(one_number("update t set a = a + 1 where a in (2, 3)", 0, NULL), 200);
        cr_expect_eq(one_number("select count(*) from t where a = 3", 0, NULL), 100);
        cr_expect_eq(one_number("select count(*) from t where a = 4", 0, NULL), 200);
        cr_expect_eq(one_number("delete from t where a = ? or k = ?", 2, (int64_t[]){4, 0}), 201);
        cr_expect_eq(one_number("select sum(1) from t", 0, NULL), RECORDS - 201);
        cr_expect_eq(one_number("insert into t values (-1, 0), (-2, 0)", 0, NULL), 2);
        cr_assert_eq(eg_drop_table(node, "t"), EG_OK);
    }
}

Test(api_query, pages_together_are_all_rows) {
    static const char *const texts[] = {"select k from t", "select k from t order by k desc",
                                        "select k, count(*) from t group by k",
                                        "select x.k from t x join t y on x.k = y.k"};

    make_table("ram");
    fill();
    for (int i = 0; i < 4; i++) {
        bool seen[RECORDS] = {false};
        eg_query_cursor *c;
        eg_result page;
        uint32_t rows = 0, pages = 0;
        eg_err err;

        cr_assert_eq(eg_query_open(node, texts[i], NULL, 70, &c, NULL), EG_OK);
        cr_assert_eq(eg_count(eg_query_columns(c)), i == 2 ? 2 : 1);
        for (; (err = eg_query_next(c, &page, NULL)) == EG_OK; pages++) {
            for (uint32_t n = 0; n < eg_count(page.value); n++, rows++) {
                int64_t k = first_of(page.value, n);
                cr_assert(k >= 0 && k < RECORDS && !seen[k]);
                seen[k] = true;
            }
            eg_result_free(&page);
        }
        cr_expect_eq(err, EG_NOT_FOUND);
        cr_expect_eq(eg_query_next(c, &page, NULL), EG_NOT_FOUND);
        cr_expect_eq(rows, RECORDS);
        cr_expect_eq(pages, (RECORDS + 69) / 70);
        eg_query_close(c);
    }
}

Test(api_query, what_is_wrong_is_said_and_where) {
    eg_query_cursor *c;
    eg_result answer;
    eg_note note = {""};
    eg_span not_one = {"\x01\x02", 2}, number = {"\x01", 1};

    make_table("ram");
    fill();
    cr_expect_eq(eg_query(node, "select k frm t", NULL, &answer, &note), EG_BAD_REQUEST);
    cr_expect(strstr(note.text, "line 1, column 14") != NULL, "%s", note.text);
    cr_expect_eq(eg_query(node, "select k from t where a = ?", NULL, &answer, &note),
                 EG_BAD_REQUEST);
    cr_expect_eq(eg_query(node, "select k from t", &not_one, &answer, &note), EG_BAD_REQUEST);
    cr_expect_eq(eg_query(node, "select k from t", &number, &answer, &note), EG_BAD_REQUEST);
    cr_expect_eq(eg_query(node, "select k from nope", NULL, &answer, &note), EG_NO_TABLE);
    cr_expect_eq(eg_query(node, "insert into t values (5, 5)", NULL, &answer, &note), EG_EXISTS);
    cr_expect_eq(eg_query(NULL, "select k from t", NULL, &answer, &note), EG_BAD_REQUEST);
    cr_expect_eq(eg_query(node, NULL, NULL, &answer, &note), EG_BAD_REQUEST);
    cr_expect_eq(eg_query_open(node, "select k from t", NULL, 0, &c, &note), EG_BAD_REQUEST);
    cr_expect_eq(eg_query_open(node, "select", NULL, 1, &c, &note), EG_BAD_REQUEST);
    cr_expect_eq(eg_query_next(NULL, &answer, &note), EG_BAD_REQUEST);
    cr_expect_eq(eg_explain(node, "select k from t", NULL, NULL, &note), EG_BAD_REQUEST);
    cr_assert_eq(eg_query_open(node, "select k from t", NULL, 10, &c, &note), EG_OK);
    cr_assert_eq(eg_query_next(c, &answer, &note), EG_OK);
    eg_result_free(&answer);
    cr_assert_eq(eg_drop_table(node, "t"), EG_OK);
    cr_expect_eq(eg_query_next(c, &answer, &note), EG_NO_TABLE);
    cr_expect_eq(eg_query_next(c, &answer, &note), EG_NOT_FOUND);
    eg_query_close(c);
    eg_query_close(NULL);
}

/* Does the string stand there, as MessagePack has short ones? */
static bool holds(eg_span v, const char *text) {
    uint8_t wanted[32];
    eg_writer w = eg_writer_init(wanted, sizeof wanted);
    eg_span string;
    bool found = false;

    eg_put_string(&w, text);
    string = eg_written(&w);
    for (size_t i = 0; !found && i + string.size_bytes <= v.size_bytes; i++)
        found = memcmp((const uint8_t *) v.at + i, string.at, string.size_bytes) == 0;
    return found;
}

Test(api_query, the_plan_is_told) {
    eg_result answer;

    make_table("ram");
    fill();
    cr_assert_eq(eg_explain(node, "select k from t where a = 3", NULL, &answer, NULL), EG_OK);
    cr_expect(holds(answer.value, "index") && !holds(answer.value, "all"));
    eg_result_free(&answer);
}

Test(api_query, a_node_tells_how_it_does) {
    eg_options listening = {.name = "listens", .schedulers = 1, .listen = {"127.0.0.1:0"}};
    eg_result answer;
    eg_node *other;

    cr_assert_eq(eg_stats(node, &answer), EG_OK);
    cr_expect(eg_count(answer.value) == 2 && holds(answer.value, "unit"));
    eg_result_free(&answer);
    cr_expect_eq(eg_stats(NULL, &answer), EG_BAD_REQUEST);
    cr_assert_eq(eg_open(&listening, &other, NULL), EG_OK);
    cr_assert_eq(eg_stats(other, &answer), EG_OK);
    cr_expect(holds(answer.value, "listens") && holds(answer.value, "connections") &&
              holds(answer.value, "schedulers"));
    eg_result_free(&answer);
    eg_close(other);
}

static void *disturb(void *over) {
    int64_t n = 0;

    while (!atomic_load((atomic_bool *) over)) {
        (void) one_number("select count(*) from t where a = ?", 1, (int64_t[]){n % 10});
        cr_assert_eq(ask("update t set a = ? where k = ?", 2, (int64_t[]){50, RECORDS - 1 - n % 7},
                         NULL, NULL),
                     EG_OK);
        n++;
    }
    return NULL;
}

Test(api_query, threads_change_each_record_once) {
    atomic_bool over = false;
    pthread_t other[2];

    make_table("ram");
    fill();
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&other[i], NULL, disturb, &over), 0);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(one_number("update t set a = a + 10 where a >= 0 and k < ?", 1,
                                (int64_t[]){RECORDS / 2}),
                     RECORDS / 2);
    atomic_store(&over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(other[i], NULL);
    cr_expect_eq(one_number("select min(a) from t where k < 500", 0, NULL), 500);
    cr_expect_eq(one_number("select max(a) from t where k < 500", 0, NULL), 509);
}

Test(api_query, a_ttl_may_be_given_to_all_that_stores) {
    uint8_t memory[64];
    eg_table *t;
    eg_span record = numbers(memory, sizeof memory, 2, (int64_t[]){1, 1}), records;
    uint8_t many[64];
    eg_writer w = eg_writer_init(many, sizeof many);
    bool inserted = false;
    uint64_t count = 0;
    eg_result rest;

    make_table("ram");
    cr_assert_eq(eg_table_open(node, "t", &t), EG_OK);
    cr_assert_eq(eg_insert_new_ttl(t, record, 1, &inserted), EG_OK);
    cr_expect(inserted);
    eg_put_array(&w, 1);
    eg_put_array(&w, 2);
    eg_put_int(&w, 2);
    eg_put_int(&w, 2);
    records = eg_written(&w);
    cr_assert_eq(eg_write_many_ttl(t, records, 1, &count), EG_OK);
    cr_expect_eq(count, 1);
    do
        cr_assert_eq(eg_query(node, "select * from t", NULL, &rest, NULL), EG_OK);
    while (one_number("select count(*) from t", 0, NULL) > 0 && (eg_result_free(&rest), true));
    eg_result_free(&rest);
    eg_table_close(t);
}
