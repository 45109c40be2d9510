/* Goal: a query that is refused memory at any one request fails with an error and leaves
 * nothing behind; one that is cut into the smallest steps answers as one that is not.
 * Method: queries of every shape over two small tables; the n-th request for memory is refused
 * until a run gets through; steps that end whenever they look at the clock. */
#include "query/text_insert.h"
#include "query/text_run.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { RECORDS = 300, BYTES = 128 };

static struct table_world w;

static void put_record(const char *table, uint32_t k) {
    uint8_t bytes[BYTES];
    struct value_writer v = value_writer_init(bytes, sizeof bytes);
    struct shard_request q = {.op = SHARD_WRITE};
    char text[64];

    snprintf(text, sizeof text, "name %u of more than a few letters", k % 40);
    value_put_array(&v, 3);
    value_put_u64(&v, k);
    value_put_u64(&v, k % 7);
    value_put_text(&v, text);
    q.value = (struct value){bytes, (uint32_t) v.need_bytes};
    reader_enter(&w.reader);
    cr_assert_eq(table_world_run(&w, table_world_find(&w, table), &q), EG_OK, "%s", w.note.text);
    reader_exit(&w.reader);
}

static void setup(void) {
    static const char *const names[] = {"t", "u"};
    uint8_t bytes[BYTES];

    table_world_open(&w, alloc_system(), 1);
    for (size_t i = 0; i < EG_COUNTOF(names); i++) {
        struct value_writer v = value_writer_init(bytes, sizeof bytes);
        value_put_map(&v, 2);
        value_put_text(&v, "attributes");
        value_put_array(&v, 3);
        value_put_text(&v, "k");
        value_put_text(&v, "a");
        value_put_text(&v, "b");
        value_put_text(&v, "type");
        value_put_text(&v, i == 0 ? "set" : "ordered_set");
        cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, names[i],
                                     (struct value){bytes, (uint32_t) v.need_bytes}),
                     EG_OK, "%s", w.note.text);
        for (uint32_t k = 0; k < RECORDS; k++)
            put_record(names[i], i == 0 ? k : 3 * k);
    }
}

static void teardown(void) {
    table_world_close(&w);
}

TestSuite(text_faults, .init = setup, .fini = teardown, .timeout = 240);

static const char *const queries[] = {
    "select * from t",
    "select k, a + 1 from t where b like 'name 1%' limit 7 offset 2",
    "select * from u where k > 30 order by k desc limit 20",
    "select k, b from t order by b desc, k",
    "select k from t order by a, k limit 5 offset 3",
    "select count(*), sum(a), min(b), max(b), avg(a) from t where k > 3",
    "select b, count(*), max(k), sum(a + k) from t group by b having count(*) > 7 order by b",
    "select t.k, u.b from t join u on t.k = u.k where t.a < 5 and u.k > 9 order by t.k",
    "select count(*) from t join u on t.b = u.b",
    "select t.k, u.k from t join u on t.b = u.b where t.k < 50 and t.k + u.k > 60 order by 1, 2",
};

static bool never(void *context) {
    (void) context;
    return false;
}
static bool always(void *context) {
    (void) context;
    return true;
}

/* All rows, in pages of `page_rows` (0: one), appended to `rows`. */
static eg_err ask(struct alloc *a, const char *text, bool (*is_over)(void *), uint64_t page_rows,
                  struct buffer *rows, uint64_t *count) {
    const struct text_world world = {.alloc = a, .catalog = w.catalog, .reader = &w.reader};
    const struct select_pace pace = {is_over, NULL};
    struct err_note note = {""};
    struct text_plan *plan;
    struct text_run *run;
    eg_err err;

    *count = 0;
    reader_enter(&w.reader);
    err = text_plan_open(&plan, &world, text, strlen(text), (struct value){0}, &note);
    if (err == EG_OK) {
        err = text_run_open(&run, plan);
        if (err != EG_OK)
            text_plan_close(plan);
    }
    reader_exit(&w.reader);
    if (err != EG_OK)
        return err;
    do {
        text_run_page(run, page_rows);
        do {
            reader_enter(&w.reader);
            err = text_run_step(run, w.catalog, &w.reader, &pace, rows, &note);
            reader_exit(&w.reader);
        } while (err == EG_AGAIN);
        *count += run->page_rows;
    } while (err == EG_OK && run->more);
    text_run_close(run);
    return err;
}

Test(text_faults, the_smallest_steps_and_pages_give_the_same_rows) {
    for (size_t i = 0; i < EG_COUNTOF(queries); i++) {
        struct buffer whole, cut, paged;
        uint64_t whole_count, cut_count, paged_count;

        buffer_init(&whole, alloc_system(), 1 << 20);
        buffer_init(&cut, alloc_system(), 1 << 20);
        buffer_init(&paged, alloc_system(), 1 << 20);
        cr_assert_eq(ask(alloc_system(), queries[i], never, 0, &whole, &whole_count), EG_OK);
        cr_assert_eq(ask(alloc_system(), queries[i], always, 0, &cut, &cut_count), EG_OK);
        cr_assert_eq(ask(alloc_system(), queries[i], always, 3, &paged, &paged_count), EG_OK);
        cr_assert_gt(whole_count, 0, "%s", queries[i]);
        cr_assert_eq(whole_count, cut_count, "%s", queries[i]);
        cr_assert_eq(whole_count, paged_count, "%s", queries[i]);
        cr_assert_eq(whole.size_bytes, cut.size_bytes, "%s", queries[i]);
        cr_assert_eq(memcmp(whole.at, cut.at, whole.size_bytes), 0, "%s", queries[i]);
        cr_assert_eq(whole.size_bytes, paged.size_bytes, "%s", queries[i]);
        if (strstr(queries[i], "order by") != NULL) /* else pages come in an order of their own */
            cr_assert_eq(memcmp(whole.at, paged.at, whole.size_bytes), 0, "%s", queries[i]);
        buffer_fini(&whole);
        buffer_fini(&cut);
        buffer_fini(&paged);
    }
}

Test(text_faults, any_one_request_for_memory_may_be_refused) {
    for (size_t i = 0; i < EG_COUNTOF(queries); i++) {
        eg_err err = EG_MEMORY;

        for (int granted = 0; err != EG_OK; granted++) {
            struct fail_alloc memory = fail_alloc_after(granted);
            struct buffer rows;
            uint64_t count;

            memory.once = true;
            buffer_init(&rows, alloc_system(), 1 << 20);
            err =
                ask(&memory.base, queries[i], granted % 2 == 0 ? never : always, 0, &rows, &count);
            cr_assert(err == EG_OK || err == EG_MEMORY || err == EG_TOO_LARGE, "%s: %s", queries[i],
                      eg_err_name(err));
            cr_assert_eq(memory.live, 0, "%s: %d blocks are left", queries[i], memory.live);
            buffer_fini(&rows);
            if (err == EG_OK && memory.requests > granted)
                err = EG_MEMORY; /* it did without: on to the next */
        }
    }
}

static eg_err insert(struct alloc *a, const char *text, bool (*is_over)(void *)) {
    const struct text_world world = {.alloc = a, .catalog = w.catalog, .reader = &w.reader};
    const struct select_pace pace = {is_over, NULL};
    struct err_note note = {""};
    struct text_plan *plan;
    struct text_insert step;
    eg_err err;

    reader_enter(&w.reader);
    err = text_plan_open(&plan, &world, text, strlen(text), (struct value){0}, &note);
    if (err == EG_OK) {
        text_insert_init(&step, plan);
        do
            err = text_insert_step(&step, &w.reader, &pace, &note);
        while (err == EG_AGAIN); /* no shard is ever busy here */
        text_insert_fini(&step);
        text_plan_close(plan);
    }
    reader_exit(&w.reader);
    return err;
}

static uint64_t size_of(const char *name) {
    uint64_t size;

    reader_enter(&w.reader);
    size = table_size(table_world_find(&w, name), &w.reader);
    reader_exit(&w.reader);
    return size;
}

Test(text_faults, an_insert_without_memory_leaves_nothing) {
    static const char text[] =
        "insert into t values (1000, 1 + 1, 'x'), (1001, -(2), 'y'), (1002, 3, 'z')";
    eg_err err = EG_MEMORY;

    for (int granted = 0; err != EG_OK; granted++) {
        struct fail_alloc memory = fail_alloc_after(granted);

        err = insert(&memory.base, text, always);
        cr_assert(err == EG_OK || err == EG_MEMORY || err == EG_TOO_LARGE, "%s", eg_err_name(err));
        cr_assert_eq(memory.live, 0);
        cr_assert_eq(size_of("t"), err == EG_OK ? RECORDS + 3 : RECORDS);
    }
    cr_assert_eq(insert(alloc_system(), text, never), EG_EXISTS);
    cr_assert_eq(insert(alloc_system(), "insert into t values (2000, 0, 0), (2000, 1, 1)", always),
                 EG_EXISTS);
    cr_assert_eq(size_of("t"), RECORDS + 3);
}
