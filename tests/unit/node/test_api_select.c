/* A program asks its tables by match specifications: all at once, page by page, and changes
 * what it finds, in tables of every kind and durability. */
#include "engram.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

enum { RECORDS = 500 };

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

TestSuite(api_select, .init = setup, .fini = teardown, .timeout = 240);

struct bytes {
    uint8_t at[512];
    eg_writer w;
};

static eg_table *make_table(const char *type, const char *storage, const char *durability) {
    struct bytes b = {.w = eg_writer_init(b.at, sizeof b.at)};
    eg_table *t;
    eg_span options;

    eg_put_map(&b.w, 3);
    eg_put_string(&b.w, "type");
    eg_put_string(&b.w, type);
    eg_put_string(&b.w, "storage");
    eg_put_string(&b.w, storage);
    eg_put_string(&b.w, "durability");
    eg_put_string(&b.w, durability);
    options = eg_written(&b.w);
    cr_assert_eq(eg_create_table(node, "t", &options, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "t", &t), EG_OK);
    for (int64_t i = 0; i < RECORDS; i++) {
        b.w = eg_writer_init(b.at, sizeof b.at);
        eg_put_array(&b.w, 2);
        eg_put_int(&b.w, i);
        eg_put_int(&b.w, 0);
        cr_assert_eq(eg_write(t, eg_written(&b.w)), EG_OK);
    }
    return t;
}

static void drop_table(eg_table *t) {
    eg_table_close(t);
    cr_assert_eq(eg_drop_table(node, "t"), EG_OK);
}

enum body { BODY_KEY, BODY_TRUE, BODY_ADDED };

/* [[["$1", "$2"], [["<", "$1", below]], [body]]] */
static eg_span spec(struct bytes *b, int64_t below, enum body body) {
    b->w = eg_writer_init(b->at, sizeof b->at);
    eg_put_array(&b->w, 1);
    eg_put_array(&b->w, 3);
    eg_put_array(&b->w, 2);
    eg_put_string(&b->w, "$1");
    eg_put_string(&b->w, "$2");
    eg_put_array(&b->w, 1);
    eg_put_array(&b->w, 3);
    eg_put_string(&b->w, "<");
    eg_put_string(&b->w, "$1");
    eg_put_int(&b->w, below);
    eg_put_array(&b->w, 1);
    if (body == BODY_KEY) {
        eg_put_string(&b->w, "$1");
    } else if (body == BODY_TRUE) {
        eg_put_bool(&b->w, true);
    } else { /* [["$1", ["+", "$2", 1]]] */
        eg_put_array(&b->w, 1);
        eg_put_array(&b->w, 2);
        eg_put_string(&b->w, "$1");
        eg_put_array(&b->w, 3);
        eg_put_string(&b->w, "+");
        eg_put_string(&b->w, "$2");
        eg_put_int(&b->w, 1);
    }
    return eg_written(&b->w);
}

Test(api_select, pages_together_are_all_results) {
    eg_table *t = make_table("ordered_set", "ram", "async");
    eg_result page;
    eg_cursor *c;
    struct bytes b;
    int64_t next = 99, key;
    eg_span element;

    cr_assert_eq(eg_select(t, spec(&b, 100, BODY_KEY), 0, &page, NULL), EG_OK);
    cr_assert_eq(eg_count(page.value), 100);
    eg_result_free(&page);
    cr_assert_eq(eg_select(t, spec(&b, 100, BODY_KEY), 7, &page, NULL), EG_OK);
    cr_assert_eq(eg_count(page.value), 7);
    eg_result_free(&page);
    cr_assert_eq(eg_cursor_open(t, spec(&b, 100, BODY_KEY), 10, true, &c, NULL), EG_OK);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(eg_cursor_next(c, &page, NULL), EG_OK);
        cr_assert_eq(eg_count(page.value), 10);
        for (uint32_t j = 0; j < 10; j++) {
            cr_assert(eg_element(page.value, j, &element) && eg_as_int(element, &key));
            cr_assert_eq(key, next--);
        }
        eg_result_free(&page);
    }
    cr_assert_eq(eg_cursor_next(c, &page, NULL), EG_NOT_FOUND);
    eg_cursor_close(c);
    drop_table(t);
}

Test(api_select, counts_replaces_and_deletes_whatever_the_table) {
    static const char *const kinds[][3] = {
        {"set", "ram", "async"},       {"ordered_set", "ram", "async"},
        {"set", "disc", "async"},      {"ordered_set", "disc", "sync"},
        {"set", "disc_only", "async"}, {"ordered_set", "disc_only", "sync"}};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        eg_table *t = make_table(kinds[i][0], kinds[i][1], kinds[i][2]);
        struct bytes b;
        uint64_t count = 0;

        cr_assert_eq(eg_select_count(t, spec(&b, 300, BODY_TRUE), &count, NULL), EG_OK);
        cr_assert_eq(count, 300);
        cr_assert_eq(eg_select_replace(t, spec(&b, 200, BODY_ADDED), &count, NULL), EG_OK);
        cr_assert_eq(count, 200);
        cr_assert_eq(eg_select_delete(t, spec(&b, 100, BODY_TRUE), &count, NULL), EG_OK);
        cr_assert_eq(count, 100);
        cr_assert_eq(eg_size(t), RECORDS - 100);
        drop_table(t);
    }
}

Test(api_select, what_is_wrong_is_said) {
    eg_table *t = make_table("bag", "ram", "async");
    eg_note note = {""};
    eg_cursor *c;
    eg_result r;
    struct bytes b;
    uint64_t count;

    cr_assert_eq(eg_select(t, (eg_span){"\x91\x05", 2}, 0, &r, &note), EG_BAD_REQUEST);
    cr_assert_neq(note.text[0], '\0');
    cr_assert_eq(eg_select(t, (eg_span){"\x91", 1}, 0, &r, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_select(NULL, spec(&b, 1, BODY_KEY), 0, &r, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_cursor_open(t, spec(&b, 1, BODY_KEY), 0, false, &c, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_select_replace(t, spec(&b, 1, BODY_ADDED), &count, &note), EG_BAD_REQUEST);
    cr_assert_eq(eg_cursor_next(NULL, &r, NULL), EG_BAD_REQUEST);
    eg_cursor_close(NULL);
    drop_table(t);
}

/* ---- at the same time ------------------------------------------------------------------ */

static atomic_bool over;

/* Adds 1 to each record again and again, one by one; returns how many times. */
static void *count_up(void *arg) {
    int64_t key = 0, added = 0;
    struct bytes b;

    while (!atomic_load(&over)) {
        b.w = eg_writer_init(b.at, sizeof b.at);
        eg_put_int(&b.w, key++ % RECORDS);
        cr_assert_eq(eg_update_counter(arg, eg_written(&b.w), "value", 1, NULL), EG_OK);
        added++;
    }
    return (void *) (intptr_t) added;
}

static bool add_value(void *context, eg_span record) {
    int64_t value = 0;
    eg_span element;

    if (eg_element(record, 1, &element) && eg_as_int(element, &value))
        *(int64_t *) context += value;
    return true;
}

Test(api_select, replacing_loses_nothing_of_what_others_write) {
    enum { ROUNDS = 100 };
    eg_table *t = make_table("set", "ram", "async");
    pthread_t thread[2];
    int64_t wanted = ROUNDS * RECORDS, sum = 0;
    struct bytes b;

    atomic_store(&over, false);
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, count_up, t);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t count = 0;
        cr_assert_eq(eg_select_replace(t, spec(&b, RECORDS, BODY_ADDED), &count, NULL), EG_OK);
        cr_assert_eq(count, RECORDS);
    }
    atomic_store(&over, true);
    for (int i = 0; i < 2; i++) {
        void *added;
        pthread_join(thread[i], &added);
        wanted += (int64_t) (intptr_t) added;
    }
    cr_assert_eq(eg_fold(t, NULL, false, add_value, &sum), EG_OK);
    cr_assert_eq(sum, wanted);
    drop_table(t);
}
