/* journal: bounds, and what of it a crash leaves. */
#include "tables/journal.h"

#include "tables/disc.h"
#include "tests/support/disc_twin.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct disc_twin *twin;
static struct journals journals;

static void setup(void) {
    struct disc_twin_opts o = {.alloc = alloc_system(), .seed = 7};

    cr_assert_eq(disc_twin_open(&twin, &o), EG_OK);
    journals_init(&journals, alloc_system(), disc_twin_disc(twin));
}

static void teardown(void) {
    journals_fini(&journals);
    disc_close(disc_twin_disc(twin));
}

TestSuite(journal, .init = setup, .fini = teardown, .timeout = 240);

static bool all_but_nine(void *context, uint64_t table) {
    (void) context;
    return table != 9;
}

/* A node that starts again: of its memory nothing is left. */
static void start_again(void) {
    journals_fini(&journals);
    disc_twin_restart(twin);
    journals_init(&journals, alloc_system(), disc_twin_disc(twin));
    cr_assert_eq(journals_recover(&journals, all_but_nine, NULL), EG_OK);
}

static void add_value(uint64_t table, struct value entry) {
    struct disc *d = disc_twin_disc(twin);
    struct disc_batch batch;

    disc_batch_init(&batch, alloc_system());
    journals_add(&journals, table, entry, &batch);
    cr_assert_eq(disc_write(d, &batch), EG_OK);
    disc_batch_fini(&batch);
}

static void add(uint64_t table, int n) {
    char text[64];
    uint8_t bytes[64];

    (void) snprintf(text, sizeof text, "{'key': %d}", n);
    add_value(table, text_value(bytes, sizeof bytes, text));
}

static const char *newest(uint64_t table, uint64_t limit) {
    static char shown[256];
    struct buffer b;

    buffer_init(&b, alloc_system(), SIZE_MAX);
    cr_assert_eq(journals_read(&journals, table, limit, &b), EG_OK);
    value_text(value_of(b.at), shown, sizeof shown);
    buffer_fini(&b);
    return shown;
}

static uint32_t count(uint64_t table) {
    struct buffer b;
    uint32_t n;

    buffer_init(&b, alloc_system(), SIZE_MAX);
    cr_assert_eq(journals_read(&journals, table, UINT64_MAX, &b), EG_OK);
    n = value_count(value_of(b.at));
    buffer_fini(&b);
    return n;
}

Test(journal, what_is_on_disc_is_there_after_a_start) {
    uint8_t bytes[64];

    add(1, 1);
    add(2, 7);
    add(1, 2);
    journals_add(&journals, 3, text_value(bytes, sizeof bytes, "{'key': 3}"), NULL);
    cr_expect_str_eq(newest(3, 9), "[{'key': 3, 'number': 1}]");
    start_again();
    cr_expect_str_eq(newest(1, 9), "[{'key': 2, 'number': 2}, {'key': 1, 'number': 1}]");
    cr_expect_str_eq(newest(1, 1), "[{'key': 2, 'number': 2}]");
    cr_expect_str_eq(newest(2, 9), "[{'key': 7, 'number': 1}]");
    cr_expect_str_eq(newest(3, 9), "[]", "of a table in memory nothing is left");
    add(1, 3);
    start_again();
    cr_expect_str_eq(newest(1, 2), "[{'key': 3, 'number': 3}, {'key': 2, 'number': 2}]");
}

Test(journal, entries_without_versions_are_read_as_they_are) {
    uint8_t bytes[192];

    add(1, 1); /* as before entries had versions */
    add_value(1, text_value(bytes, sizeof bytes,
                            "{'key': 2, 'versions': {'loser': {'origin': '0a', 'sequence': 1}}}"));
    start_again();
    cr_expect_str_eq(newest(1, 9), "[{'key': 2, 'versions': {'loser': {'origin': '0a', 'sequence': "
                                   "1}}, 'number': 2}, {'key': 1, 'number': 1}]");
}

Test(journal, a_table_takes_its_entries_with_it) {
    add(1, 1);
    add(2, 2);
    journals_drop(&journals, 1);
    journals_drop(&journals, 5);
    cr_expect_str_eq(newest(1, 9), "[]");
    start_again();
    cr_expect_str_eq(newest(1, 9), "[]");
    cr_expect_str_eq(newest(2, 9), "[{'key': 2, 'number': 1}]");
}

Test(journal, what_is_of_no_table_and_what_is_no_entry_goes_at_the_start) {
    static const uint8_t key[] = "j\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\5";
    struct disc *d = disc_twin_disc(twin);
    struct disc_batch batch;
    struct disc_slice slice;

    add(9, 1);
    add(1, 1);
    disc_batch_init(&batch, alloc_system());
    cr_assert_eq(disc_batch_put(&batch, d->meta, (struct disc_bytes){key, 17},
                                (struct disc_bytes){(const uint8_t *) "\xc1", 1}),
                 EG_OK);
    cr_assert_eq(disc_write(d, &batch), EG_OK);
    disc_batch_fini(&batch);
    start_again();
    cr_expect_str_eq(newest(9, 9), "[]");
    cr_expect_str_eq(newest(1, 9), "[{'key': 1, 'number': 1}]");
    d = disc_twin_disc(twin);
    cr_expect_eq(disc_get(d, d->meta, (struct disc_bytes){key, 17}, &slice), EG_NOT_FOUND);
}

Test(journal, the_oldest_go) {
    for (int i = 0; i < JOURNAL_ENTRIES + 10; i++)
        add(1, i);
    cr_expect_eq(count(1), JOURNAL_ENTRIES);
    start_again();
    cr_expect_eq(count(1), JOURNAL_ENTRIES);
    cr_expect_str_eq(newest(1, 1), "[{'key': 10009, 'number': 10010}]");
}

Test(journal, large_entries_count_by_their_bytes) {
    static uint8_t bytes[6 << 20];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    static uint8_t padding[5 << 20];

    value_put_map(&w, 1);
    value_put_text(&w, "key");
    value_put_binary(&w, padding, sizeof padding);
    for (int i = 0; i < 5; i++)
        add_value(1, (struct value){bytes, (uint32_t) w.need_bytes});
    cr_expect_eq(count(1), 3);
    start_again();
    cr_expect_eq(count(1), 3);
}
