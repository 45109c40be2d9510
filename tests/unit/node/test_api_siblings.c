/* Versions of one key side by side, through the C interface: on one node, where it is who writes
 * with an older context that makes them. */
#include <engram.h>

#include "tests/support/temp_dir.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static eg_node *node;
static eg_table *table;
static uint8_t bytes[16][256];
static int used;

static eg_span span(const char *text) {
    struct value v = text_value(bytes[used % 16], sizeof bytes[0], text);

    used++;
    return (eg_span){v.at, v.size_bytes};
}

static void setup(void) {
    eg_span options = span("{'merge': 'siblings', 'attributes': ['k', 'a']}");

    cr_assert_eq(eg_open(&(eg_options){.name = "test", .schedulers = 1}, &node, NULL), EG_OK);
    cr_assert_eq(eg_create_table(node, "t", &options, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "t", &table), EG_OK);
}

static void teardown(void) {
    eg_table_close(table);
    eg_close(node);
}

TestSuite(api_siblings, .init = setup, .fini = teardown, .timeout = 240);

static void expect(const char *wanted) {
    char shown[256];
    eg_result found;

    cr_assert_eq(eg_read(table, span("'k'"), &found), EG_OK);
    value_text((struct value){found.value.at, (uint32_t) found.value.size_bytes}, shown,
               sizeof shown);
    cr_expect_str_eq(shown, wanted);
    eg_result_free(&found);
}

/* The context is kept in `room`. */
static eg_span context(uint8_t room[64]) {
    struct value_iter it;
    struct value v;
    eg_result found;

    cr_assert_eq(eg_read_siblings(table, span("'k'"), &found), EG_OK);
    it = value_iter_of((struct value){found.value.at, (uint32_t) found.value.size_bytes});
    cr_assert(value_iter_next(&it, &v) && value_kind_of(v) == VALUE_ARRAY);
    cr_assert(value_iter_next(&it, &v) && value_kind_of(v) == VALUE_BINARY);
    cr_assert_leq(v.size_bytes, 64);
    memcpy(room, v.at, v.size_bytes);
    eg_result_free(&found);
    return (eg_span){room, v.size_bytes};
}

Test(api_siblings, who_says_what_it_replaces_leaves_what_has_come_since) {
    uint8_t room[3][64];
    eg_span none = context(room[0]), first, both;

    cr_assert_eq(eg_write(table, span("['k', 1]")), EG_OK);
    first = context(room[1]);
    cr_assert_eq(eg_write_replacing(table, span("['k', 2]"), first), EG_OK);
    expect("[['k', 2]]");
    cr_assert_eq(eg_write_replacing(table, span("['k', 3]"), first), EG_OK);
    expect("[['k', 3], ['k', 2]]");
    both = context(room[2]);
    cr_assert_eq(eg_write_replacing(table, span("['k', 4]"), none), EG_OK);
    expect("[['k', 4], ['k', 3], ['k', 2]]");
    cr_assert_eq(eg_write_replacing(table, span("['k', 5]"), both), EG_OK);
    expect("[['k', 5], ['k', 4]]");
    cr_assert_eq(eg_delete_replacing(table, span("'k'"), both), EG_OK); /* they are gone */
    expect("[['k', 5], ['k', 4]]");
    cr_assert_eq(eg_write(table, span("['k', 6]")), EG_OK);
    expect("[['k', 6]]");
}

Test(api_siblings, some_are_removed_and_others_stay) {
    uint8_t room[2][64];
    eg_span none = context(room[0]), one;
    eg_result taken;

    cr_assert_eq(eg_write_replacing(table, span("['k', 1]"), none), EG_OK);
    one = context(room[1]);
    cr_assert_eq(eg_write_replacing(table, span("['k', 2]"), none), EG_OK);
    cr_assert_eq(eg_write_replacing(table, span("['k', 3]"), none), EG_OK);
    cr_assert_eq(eg_delete_replacing(table, span("'k'"), one), EG_OK);
    expect("[['k', 3], ['k', 2]]");
    cr_assert_eq(eg_delete_object(table, span("['k', 3]")), EG_OK);
    expect("[['k', 2]]");
    cr_assert_eq(eg_delete_object(table, span("['k', 9]")), EG_OK);
    expect("[['k', 2]]");
    cr_assert_eq(eg_write_replacing(table, span("['k', 4]"), none), EG_OK);
    cr_expect_eq(eg_size(table), 1, "a key is one, however many versions it has");
    cr_assert_eq(eg_take(table, span("'k'"), &taken), EG_OK);
    cr_expect_eq(value_count((struct value){taken.value.at, (uint32_t) taken.value.size_bytes}), 2);
    eg_result_free(&taken);
    expect("[]");
    cr_assert_eq(eg_delete_replacing(table, span("'k'"), one), EG_OK);
}

Test(api_siblings, the_oldest_go_where_there_are_too_many) {
    char record[32];
    uint8_t room[64];
    eg_span none = context(room);
    eg_result found;

    for (int i = 0; i < 70; i++) {
        (void) snprintf(record, sizeof record, "['k', %d]", i);
        cr_assert_eq(eg_write_replacing(table, span(record), none), EG_OK);
    }
    cr_assert_eq(eg_read(table, span("'k'"), &found), EG_OK);
    cr_expect_eq(value_count((struct value){found.value.at, (uint32_t) found.value.size_bytes}),
                 64);
    eg_result_free(&found);
}

static void alter(const char *change) {
    eg_note note = {""};

    cr_assert_eq(eg_alter_table(node, "t", span(change), &note), EG_OK, "%s", note.text);
}

Test(api_siblings, all_versions_follow_their_table_into_another_shape) {
    uint8_t room[2][64];
    eg_span none = context(room[0]), both;

    cr_assert_eq(eg_write_replacing(table, span("['k', 1]"), none), EG_OK);
    cr_assert_eq(eg_write_replacing(table, span("['k', 2]"), none), EG_OK);
    both = context(room[1]);
    alter("['add_attribute', 'b', 7]");
    expect("[['k', 2, 7], ['k', 1, 7]]");
    alter("['transform_table', [[['$1', '$2', '$3'], [], [[['$1', ['+', '$2', '$3']]]]]], ['k', "
          "'s']]");
    expect("[['k', 9], ['k', 8]]");
    cr_assert_eq(eg_write_replacing(table, span("['k', 3]"), none), EG_OK);
    cr_assert_eq(eg_delete_replacing(table, span("'k'"), both), EG_OK);
    expect("[['k', 3]]");
}

Test(api_siblings, all_versions_are_kept_on_disc) {
    static const char *const storages[] = {"disc", "disc_only", "disc"};
    struct temp_dir dir = temp_dir_make();
    uint8_t room[64];
    eg_span none = context(room), options;
    char change[64];

    teardown();
    cr_assert_eq(
        eg_open(&(eg_options){.name = "test", .schedulers = 1, .data_dir = dir.path}, &node, NULL),
        EG_OK);
    options = span("{'merge': 'siblings', 'attributes': ['k', 'a']}");
    cr_assert_eq(eg_create_table(node, "t", &options, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "t", &table), EG_OK);
    cr_assert_eq(eg_write_replacing(table, span("['k', 1]"), none), EG_OK);
    cr_assert_eq(eg_write_replacing(table, span("['k', 2]"), none), EG_OK);
    for (size_t i = 0; i < sizeof storages / sizeof storages[0]; i++) {
        (void) snprintf(change, sizeof change, "['change_storage', '%s']", storages[i]);
        alter(change);
        teardown();
        cr_assert_eq(eg_open(&(eg_options){.name = "test", .schedulers = 1, .data_dir = dir.path},
                             &node, NULL),
                     EG_OK);
        cr_assert_eq(eg_table_open(node, "t", &table), EG_OK);
        expect("[['k', 2], ['k', 1]]");
    }
    temp_dir_remove(&dir);
}

Test(api_siblings, what_is_no_context_is_refused) {
    eg_span none, options;
    eg_table *other;
    eg_result found;
    uint8_t room[64];
    static const char *const bad[] = {"nil", "7", "'x'", "[]", "[[1, 2]]", "b'x'", "b'\x91\x01'"};

    none = context(room);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(eg_write_replacing(table, span("['k', 1]"), span(bad[i])), EG_BAD_REQUEST,
                     "%zu", i);
    cr_expect_eq(eg_write_replacing(table, span("['k']"), none), EG_BAD_RECORD);
    expect("[]");
    options = span("{'attributes': ['k', 'a']}");
    cr_assert_eq(eg_create_table(node, "other", &options, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "other", &other), EG_OK);
    cr_expect_eq(eg_read_siblings(other, span("'k'"), &found), EG_BAD_REQUEST);
    cr_expect_eq(eg_write_replacing(other, span("['k', 1]"), none), EG_BAD_REQUEST);
    cr_expect_eq(eg_delete_replacing(other, span("'k'"), none), EG_BAD_REQUEST);
    eg_table_close(other);
}
