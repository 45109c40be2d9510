/* A program subscribes to its tables: what it is called with, what it may do there, and
 * what it is refused. */
#include "engram.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

static eg_node *node;
static eg_table *table;

static void setup(void) {
    cr_assert_eq(eg_open(&(eg_options){.schedulers = 2}, &node, NULL), EG_OK);
    cr_assert_eq(eg_create_table(node, "t", NULL, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "t", &table), EG_OK);
}

static void teardown(void) {
    eg_table_close(table);
    eg_close(node);
}

TestSuite(api_watch, .init = setup, .fini = teardown, .timeout = 240);

struct bytes {
    uint8_t at[512];
    eg_writer w;
};

static void write_pair(int64_t key, int64_t n) {
    struct bytes b = {.w = eg_writer_init(b.at, sizeof b.at)};

    eg_put_array(&b.w, 2);
    eg_put_int(&b.w, key);
    eg_put_int(&b.w, n);
    cr_assert_eq(eg_write(table, eg_written(&b.w)), EG_OK);
}

struct seen {
    eg_subscription *subscription;
    bool once; /* the first event is enough */
    _Atomic uint32_t writes, schemas;
    _Atomic int64_t last, last_old;
};

static int64_t second_of(eg_span record) {
    eg_span field;
    int64_t n = -1;

    return eg_element(record, 1, &field) && eg_as_int(field, &n) ? n : -1;
}

static void see(void *context, const eg_event *e) {
    struct seen *s = context;

    if (strcmp(e->kind, "write") == 0) {
        s->last = second_of(e->record);
        s->last_old = e->old.size_bytes > 0 ? second_of(e->old) : -1;
        s->writes++;
    }
    s->schemas += strcmp(e->kind, "schema") == 0;
    if (s->once)
        eg_unsubscribe(s->subscription);
}

static void wait_for(_Atomic uint32_t *count, uint32_t n) {
    while (atomic_load(count) < n)
        sched_yield();
}

Test(api_watch, each_write_is_shown_with_what_it_replaced_where_asked_for) {
    struct seen plain = {0}, old = {0};

    cr_assert_eq(eg_subscribe(node, "t", NULL, see, &plain, &plain.subscription, NULL), EG_OK);
    cr_assert_eq(eg_subscribe(node, "t", &(eg_subscribe_options){.old = true}, see, &old,
                              &old.subscription, NULL),
                 EG_OK);
    write_pair(1, 10);
    write_pair(1, 11);
    wait_for(&plain.writes, 2);
    wait_for(&old.writes, 2);
    cr_assert_eq(plain.last, 11);
    cr_assert_eq(plain.last_old, -1);
    cr_assert_eq(old.last_old, 10);
    eg_unsubscribe(plain.subscription);
    write_pair(1, 12);
    wait_for(&old.writes, 3);
    cr_assert_eq(plain.writes, 2u);
    eg_unsubscribe(old.subscription);
}

Test(api_watch, the_function_may_end_its_own_subscription) {
    struct seen once = {.once = true}, all = {0};

    cr_assert_eq(eg_subscribe(node, "t", NULL, see, &once, &once.subscription, NULL), EG_OK);
    cr_assert_eq(eg_subscribe(node, "t", NULL, see, &all, &all.subscription, NULL), EG_OK);
    for (int i = 0; i < 1000; i++)
        write_pair(i, i);
    wait_for(&all.writes, 1000);
    wait_for(&once.writes, 1);
    eg_unsubscribe(all.subscription);
    cr_assert_eq(once.writes, 1u);
}

Test(api_watch, only_what_matches_is_shown) {
    struct bytes b = {.w = eg_writer_init(b.at, sizeof b.at)};
    struct seen some = {0};
    eg_note note = {""};

    eg_put_array(&b.w, 1); /* [[["_", "$1"], [[">", "$1", 7]], ["$_"]]] */
    eg_put_array(&b.w, 3);
    eg_put_array(&b.w, 2);
    eg_put_string(&b.w, "_");
    eg_put_string(&b.w, "$1");
    eg_put_array(&b.w, 1);
    eg_put_array(&b.w, 3);
    eg_put_string(&b.w, ">");
    eg_put_string(&b.w, "$1");
    eg_put_int(&b.w, 7);
    eg_put_array(&b.w, 1);
    eg_put_string(&b.w, "$_");
    cr_assert_eq(eg_subscribe(node, "t", &(eg_subscribe_options){.where = eg_written(&b.w)}, see,
                              &some, &some.subscription, &note),
                 EG_OK, "%s", note.text);
    for (int i = 0; i < 10; i++)
        write_pair(1, i);
    wait_for(&some.writes, 2);
    cr_assert_eq(some.last, 9);
    eg_unsubscribe(some.subscription);
    cr_assert_eq(some.writes, 2u);
}

Test(api_watch, a_dropped_table_and_the_node_are_heard_of) {
    struct seen gone = {0}, system = {0};

    cr_assert_eq(eg_subscribe(node, "t", NULL, see, &gone, &gone.subscription, NULL), EG_OK);
    cr_assert_eq(eg_subscribe(node, NULL, NULL, see, &system, &system.subscription, NULL), EG_OK);
    cr_assert_eq(eg_drop_table(node, "t"), EG_OK);
    wait_for(&gone.schemas, 1);
    wait_for(&system.schemas, 1);
    eg_unsubscribe(gone.subscription);
    eg_unsubscribe(system.subscription);
}

Test(api_watch, what_makes_no_sense_is_refused) {
    static const uint8_t five[] = {5};
    const eg_subscribe_options bad = {.where = {five, 1}}, cut = {.where = {"\x92", 1}};
    struct seen s = {0};
    eg_note note = {""};

    cr_assert_eq(eg_subscribe(NULL, "t", NULL, see, &s, &s.subscription, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_subscribe(node, "t", NULL, NULL, &s, &s.subscription, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_subscribe(node, "t", NULL, see, &s, NULL, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_subscribe(node, "nope", NULL, see, &s, &s.subscription, NULL), EG_NO_TABLE);
    cr_assert_eq(eg_subscribe(node, "t", &bad, see, &s, &s.subscription, &note), EG_BAD_REQUEST);
    cr_assert_str_not_empty(note.text);
    cr_assert_eq(eg_subscribe(node, "t", &cut, see, &s, &s.subscription, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_subscribe(node, NULL, &bad, see, &s, &s.subscription, NULL), EG_BAD_REQUEST);
    eg_unsubscribe(NULL);
}
