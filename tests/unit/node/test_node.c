/* A node keeps what it was told, in every kind of table, across a restart. */
#include "engram.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { RECORDS = 3000 };

static struct temp_dir dir;
static eg_node *node;

static void open_node(void) {
    eg_note note = {""};
    eg_options o = {.name = "unit", .data_dir = dir.path, .schedulers = 2};
    cr_assert_eq(eg_open(&o, &node, &note), EG_OK, "%s", note.text);
}

static void setup(void) {
    dir = temp_dir_make();
    open_node();
}

static void teardown(void) {
    eg_close(node);
    temp_dir_remove(&dir);
}

static void reopen(void) {
    eg_close(node);
    open_node();
}

TestSuite(node, .init = setup, .fini = teardown, .timeout = 240);

struct bytes {
    uint8_t at[512];
    eg_writer w;
};

static eg_span options(struct bytes *b, const char *type, const char *storage,
                       const char *durability) {
    b->w = eg_writer_init(b->at, sizeof b->at);
    eg_put_map(&b->w, 4);
    eg_put_string(&b->w, "type");
    eg_put_string(&b->w, type);
    eg_put_string(&b->w, "storage");
    eg_put_string(&b->w, storage);
    eg_put_string(&b->w, "durability");
    eg_put_string(&b->w, durability);
    eg_put_string(&b->w, "index");
    eg_put_array(&b->w, 1);
    eg_put_string(&b->w, "value");
    return eg_written(&b->w);
}

static eg_span number(struct bytes *b, int64_t n) {
    b->w = eg_writer_init(b->at, sizeof b->at);
    eg_put_int(&b->w, n);
    return eg_written(&b->w);
}

static eg_span record(struct bytes *b, int64_t key, int64_t value) {
    b->w = eg_writer_init(b->at, sizeof b->at);
    eg_put_array(&b->w, 2);
    eg_put_int(&b->w, key);
    eg_put_int(&b->w, value);
    return eg_written(&b->w);
}

static int64_t value_of(eg_table *t, int64_t key) {
    struct bytes b;
    eg_span rec, field;
    int64_t n = -1;
    eg_err err;

    cr_assert_eq(eg_read_begin(node), EG_OK);
    err = eg_get(t, number(&b, key), &rec);
    if (err == EG_OK)
        cr_assert(eg_element(rec, 1, &field) && eg_as_int(field, &n));
    else
        cr_assert_eq(err, EG_NOT_FOUND);
    eg_read_end(node);
    return n;
}

static uint32_t found_by_value(eg_table *t, int64_t value) {
    struct bytes b;
    eg_result r;
    uint32_t count;

    cr_assert_eq(eg_index_read(t, "value", number(&b, value), &r), EG_OK);
    count = eg_count(r.value);
    eg_result_free(&r);
    return count;
}

/* ---- a range of an index -------------------------------------------------------- */

struct seen {
    int64_t last;
    uint32_t count, limit;
    bool down;
};

static bool see_in_order(void *context, eg_span rec) {
    struct seen *s = context;
    eg_span field;
    int64_t n;

    cr_assert(eg_element(rec, 1, &field) && eg_as_int(field, &n));
    cr_assert(s->count == 0 || (s->down ? n <= s->last : n >= s->last));
    s->last = n;
    return ++s->count < s->limit;
}

static uint32_t fold_values(eg_table *t, int64_t low, int64_t high, bool down, uint32_t limit) {
    struct seen seen = {.limit = limit, .down = down};
    struct bytes from, to;
    eg_span low_span = number(&from, low), high_span = number(&to, high);

    cr_assert_eq(eg_fold_index(t, "value", low < 0 ? NULL : &low_span, high < 0 ? NULL : &high_span,
                               down, see_in_order, &seen),
                 EG_OK);
    return seen.count;
}

Test(node, a_fold_over_an_index_goes_by_value_between_its_ends) {
    struct bytes b;
    eg_table *t;
    eg_span spec;

    b.w = eg_writer_init(b.at, sizeof b.at);
    eg_put_map(&b.w, 1);
    eg_put_string(&b.w, "shards");
    eg_put_int(&b.w, 1);
    spec = eg_written(&b.w);
    cr_assert_eq(eg_create_table(node, "folded", &spec, NULL), EG_OK);
    cr_assert_eq(eg_add_index(node, "folded", "value", NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "folded", &t), EG_OK);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(eg_write(t, record(&b, i, i % 100)), EG_OK);
    cr_assert_eq(fold_values(t, 10, 19, false, UINT32_MAX), 100);
    cr_assert_eq(fold_values(t, 10, 19, true, UINT32_MAX), 100);
    cr_assert_eq(fold_values(t, -1, 19, false, UINT32_MAX), 200);
    cr_assert_eq(fold_values(t, 90, -1, true, UINT32_MAX), 100);
    cr_assert_eq(fold_values(t, -1, -1, false, UINT32_MAX), 1000);
    cr_assert_eq(fold_values(t, 20, 10, false, UINT32_MAX), 0);
    cr_assert_eq(fold_values(t, -1, -1, false, 7), 7);
    cr_assert_eq(eg_fold_index(t, "nothing", NULL, NULL, false, see_in_order, NULL),
                 EG_BAD_REQUEST);

    b.w = eg_writer_init(b.at, sizeof b.at);
    eg_put_map(&b.w, 2);
    eg_put_string(&b.w, "on");
    eg_put_string(&b.w, "value");
    eg_put_string(&b.w, "unique");
    eg_put_bool(&b.w, true);
    spec = eg_written(&b.w);
    cr_assert_eq(eg_drop_index(node, "folded", "value", NULL), EG_OK);
    cr_assert_eq(eg_add_index_of(node, "folded", spec, NULL), EG_EXISTS);
    eg_table_close(t);
}

static void fill(const char *name, const char *type, const char *storage, const char *durability) {
    struct bytes b;
    eg_note note = {""};
    eg_span o = options(&b, type, storage, durability);
    int records = strcmp(durability, "sync") == 0 ? RECORDS / 30 : RECORDS;
    eg_table *t;

    cr_assert_eq(eg_create_table(node, name, &o, &note), EG_OK, "%s: %s", name, note.text);
    cr_assert_eq(eg_table_open(node, name, &t), EG_OK);
    for (int i = 0; i < records; i++)
        cr_assert_eq(eg_write(t, record(&b, i, i % 10)), EG_OK);
    for (int i = 0; i < records; i += 3)
        cr_assert_eq(eg_delete(t, number(&b, i)), EG_OK);
    for (int i = 1; i < records; i += 3)
        cr_assert_eq(eg_update_counter(t, number(&b, i), "value", 100, NULL),
                     strcmp(type, "bag") == 0 ? EG_BAD_REQUEST : EG_OK);
    eg_table_close(t);
}

static void check(const char *name, const char *type, const char *durability) {
    int records = strcmp(durability, "sync") == 0 ? RECORDS / 30 : RECORDS;
    bool bag = strcmp(type, "bag") == 0;
    uint32_t threes = 0;
    eg_table *t;

    cr_assert_eq(eg_table_open(node, name, &t), EG_OK, "%s", name);
    cr_assert_eq(eg_size(t), (uint64_t) (records - (records + 2) / 3), "%s", name);
    for (int i = 0; i < records; i++) {
        int64_t want = i % 3 == 0 ? -1 : i % 3 == 1 && !bag ? i % 10 + 100 : i % 10;
        cr_assert_eq(value_of(t, i), want, "%s: key %d", name, i);
        threes += want == 3;
    }
    cr_assert_eq(found_by_value(t, 3), threes, "%s", name);
    cr_assert_eq(found_by_value(t, 1000), 0, "%s", name);
    eg_table_close(t);
}

Test(node, disc_tables_of_every_kind_come_back_with_their_indexes) {
    static const char *const types[] = {"set", "ordered_set", "bag"};
    static const char *const storages[] = {"disc", "disc_only"};
    static const char *const durabilities[] = {"async", "sync"};

    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 12; i++) {
            const char *type = types[i % 3], *storage = storages[i / 3 % 2];
            const char *durability = durabilities[i / 6];
            char name[64];

            snprintf(name, sizeof name, "%s_%s_%s", type, storage, durability);
            if (pass == 0)
                fill(name, type, storage, durability);
            check(name, type, durability);
        }
        if (pass == 0)
            reopen();
    }
}

Test(node, ram_tables_are_gone_after_a_restart) {
    eg_table *t;

    cr_assert_eq(eg_create_table(node, "r", NULL, NULL), EG_OK);
    reopen();
    cr_assert_eq(eg_table_open(node, "r", &t), EG_NO_TABLE);
}

Test(node, what_was_dropped_cleared_or_indexed_stays_so) {
    struct bytes b;
    eg_span o = options(&b, "set", "disc", "async");
    eg_table *t;

    cr_assert_eq(eg_create_table(node, "dropped", &o, NULL), EG_OK);
    cr_assert_eq(eg_create_table(node, "cleared", &o, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "cleared", &t), EG_OK);
    cr_assert_eq(eg_write(t, record(&b, 1, 1)), EG_OK);
    cr_assert_eq(eg_clear_table(node, "cleared"), EG_OK);
    cr_assert_eq(eg_write(t, record(&b, 2, 2)), EG_OK);
    eg_table_close(t);
    cr_assert_eq(eg_drop_index(node, "cleared", "value", NULL), EG_OK);
    cr_assert_eq(eg_drop_table(node, "dropped"), EG_OK);
    reopen();
    cr_assert_eq(eg_table_open(node, "dropped", &t), EG_NO_TABLE);
    cr_assert_eq(eg_table_open(node, "cleared", &t), EG_OK);
    cr_assert_eq(eg_size(t), 1);
    cr_assert_eq(value_of(t, 2), 2);
    cr_assert_eq(eg_drop_index(node, "cleared", "value", NULL), EG_NOT_FOUND);
    cr_assert_eq(eg_add_index(node, "cleared", "value", NULL), EG_OK);
    eg_table_close(t);
    reopen();
    cr_assert_eq(eg_table_open(node, "cleared", &t), EG_OK);
    cr_assert_eq(found_by_value(t, 2), 1);
    eg_table_close(t);
}

Test(node, a_second_node_on_the_same_directory_is_refused_with_a_reason) {
    eg_note note = {""};
    eg_options o = {.data_dir = dir.path, .schedulers = 1};
    eg_node *second;

    cr_assert_eq(eg_open(&o, &second, &note), EG_DISC);
    cr_assert(note.text[0] != '\0');
}

Test(node, a_node_without_a_directory_refuses_disc_tables) {
    struct bytes b;
    eg_span o = options(&b, "set", "disc", "async");
    eg_options ram = {.schedulers = 1};
    eg_node *second;

    cr_assert_eq(eg_open(&ram, &second, NULL), EG_OK);
    cr_assert_eq(eg_create_table(second, "d", &o, NULL), EG_DISC);
    eg_close(second);
}

static eg_span one_option(struct bytes *b, const char *name, int64_t value, bool cache) {
    b->w = eg_writer_init(b->at, sizeof b->at);
    eg_put_map(&b->w, cache ? 2 : 1);
    eg_put_string(&b->w, name);
    eg_put_int(&b->w, value);
    if (cache) {
        eg_put_string(&b->w, "cache");
        eg_put_bool(&b->w, true);
    }
    return eg_written(&b->w);
}

Test(node, a_cache_stays_near_its_bound_and_keeps_the_newest) {
    struct bytes b;
    eg_span o = one_option(&b, "max_bytes", 1 << 20, true);
    eg_table *t;

    cr_assert_eq(eg_create_table(node, "c", &o, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "c", &t), EG_OK);
    for (int i = 0; i < 100000; i++)
        cr_assert_eq(eg_write(t, record(&b, i, i)), EG_OK);
    cr_assert_lt(eg_size(t), 50000);
    cr_assert_gt(eg_size(t), 5000);
    for (int i = 99000; i < 100000; i++)
        cr_assert_eq(value_of(t, i), i);
    eg_table_close(t);
}

Test(node, a_full_table_refuses_growth_but_not_reads_and_deletes) {
    struct bytes b;
    eg_span o = one_option(&b, "max_bytes", 1 << 20, false);
    eg_table *t;
    eg_err err = EG_OK;
    int n = 0;

    cr_assert_eq(eg_create_table(node, "m", &o, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "m", &t), EG_OK);
    while (err == EG_OK && n < 1000000)
        err = eg_write(t, record(&b, n++, 1));
    cr_assert_eq(err, EG_MEMORY);
    cr_assert_eq(value_of(t, 0), 1);
    cr_assert_eq(eg_write(t, record(&b, 0, 2)), EG_OK, "a replacement that does not grow");
    for (int i = 0; i < n; i++)
        cr_assert_eq(eg_delete(t, number(&b, i)), EG_OK);
    cr_assert_eq(eg_size(t), 0);
    eg_table_close(t);
}

Test(node, replacing_records_where_there_is_room_is_not_refused) {
    static const char text[201] = "";
    struct bytes b;
    eg_span o = one_option(&b, "max_bytes", 200000, false);
    eg_table *t;

    cr_assert_eq(eg_create_table(node, "m", &o, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "m", &t), EG_OK);
    for (int i = 0; i < 20000; i++) { /* what is replaced waits for readers: 3 MB in all */
        b.w = eg_writer_init(b.at, sizeof b.at);
        eg_put_array(&b.w, 2);
        eg_put_int(&b.w, i % 100);
        eg_put_bytes(&b.w, text, i / 100 % 2 == 0 ? 100 : 200);
        cr_assert_eq(eg_write(t, eg_written(&b.w)), EG_OK, "write %d", i);
    }
    eg_table_close(t);
}

Test(node, a_handle_of_a_dropped_table_finds_no_table_though_another_has_its_name) {
    struct bytes b;
    eg_result r;
    eg_span rec, key;
    eg_table *t;

    cr_assert_eq(eg_create_table(node, "t", NULL, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "t", &t), EG_OK);
    cr_assert_eq(eg_write(t, record(&b, 1, 1)), EG_OK);
    cr_assert_eq(eg_drop_table(node, "t"), EG_OK);
    cr_assert_eq(eg_create_table(node, "t", NULL, NULL), EG_OK);
    cr_assert_eq(eg_write(t, record(&b, 1, 1)), EG_NO_TABLE);
    key = number(&b, 1);
    cr_assert_eq(eg_read_begin(node), EG_OK);
    cr_assert_eq(eg_get(t, key, &rec), EG_NO_TABLE);
    cr_assert_eq(eg_get_many(t, &key, 1, &rec), EG_NO_TABLE);
    eg_read_end(node);
    cr_assert_eq(eg_read(t, key, &r), EG_NO_TABLE);
    cr_assert_eq(eg_first(t, &r), EG_NO_TABLE);
    cr_assert_eq(eg_next(t, key, &r), EG_NO_TABLE);
    cr_assert_eq(eg_size(t), 0);
    eg_table_close(t);
}

Test(node, a_note_says_nothing_of_an_earlier_call) {
    static const uint8_t cut[] = {0x81};
    eg_note note = {""};
    eg_span bad = {cut, sizeof cut};
    eg_node *other;

    cr_assert_eq(eg_create_table(node, "", NULL, &note), EG_BAD_REQUEST);
    cr_assert_str_neq(note.text, "");
    cr_assert_eq(eg_create_table(node, "t", &bad, &note), EG_BAD_REQUEST);
    cr_assert_str_eq(note.text, "");
    cr_assert_eq(eg_open(&(eg_options){.name = "a b"}, &other, &note), EG_BAD_REQUEST);
    cr_assert_neq(strstr(note.text, "a b"), NULL, "%s", note.text);
    cr_assert_eq(eg_open(&(eg_options){.schedulers = 1}, &other, &note), EG_OK);
    cr_assert_str_eq(note.text, "");
    eg_close(other);
}

Test(node, options_out_of_range_are_refused_with_a_reason) {
    eg_note note;
    eg_node *other;

    cr_assert_eq(eg_open(&(eg_options){.schedulers = 255}, &other, &note), EG_BAD_REQUEST);
    cr_assert_neq(strstr(note.text, "schedulers"), NULL, "%s", note.text);
    cr_assert_eq(eg_open(&(eg_options){.memory_limit_bytes = 5}, &other, &note), EG_BAD_REQUEST);
    cr_assert_neq(strstr(note.text, "memory_limit_bytes"), NULL, "%s", note.text);
}

Test(node, says_which_tables_there_are_and_what_they_are) {
    eg_result names, info;
    eg_table *t;
    eg_span name;
    const char *text;
    size_t text_bytes;

    cr_assert_eq(eg_create_table(node, "t", NULL, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "t", &t), EG_OK);
    cr_assert_eq(eg_tables(node, &names), EG_OK);
    cr_assert_eq(eg_count(names.value), 1);
    cr_assert(eg_element(names.value, 0, &name) && eg_as_text(name, &text, &text_bytes));
    cr_assert(text_bytes == 1 && *text == 't');
    cr_assert_eq(eg_table_info(t, &info), EG_OK);
    cr_assert_gt(eg_count(info.value), 10);
    eg_result_free(&names);
    eg_result_free(&info);
    cr_assert_eq(eg_drop_table(node, "t"), EG_OK);
    cr_assert_eq(eg_table_info(t, &info), EG_NO_TABLE);
    cr_assert_eq(eg_tables(NULL, &names), EG_BAD_REQUEST);
    eg_table_close(t);
}

Test(node, what_cannot_be_written_makes_an_empty_span) {
    uint8_t memory[64];
    eg_writer w = eg_writer_init(memory, sizeof memory);

    eg_put_string(&w, NULL);
    eg_put_int(&w, 1);
    cr_assert_eq(eg_written(&w).size_bytes, 0);
    w = eg_writer_init(memory, sizeof memory);
    eg_put_bytes(&w, NULL, 1);
    cr_assert_eq(eg_written(&w).size_bytes, 0);
    w = eg_writer_init(memory, sizeof memory);
    eg_put_bytes(&w, memory, (size_t) UINT32_MAX + 1);
    cr_assert_eq(eg_written(&w).size_bytes, 0);
}

Test(node, bad_bytes_are_refused_and_nothing_is_written) {
    struct bytes b;
    eg_table *t;
    eg_span rec;
    static const uint8_t liar[] = {0xdd, 0x00, 0xff, 0xff, 0xff};
    static const uint8_t nan[] = {0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0};

    cr_assert_eq(eg_create_table(node, "t", NULL, NULL), EG_OK);
    cr_assert_eq(eg_create_table(node, "", NULL, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_table_open(node, "t", &t), EG_OK);
    cr_assert_eq(eg_write(t, (eg_span){liar, sizeof liar}), EG_BAD_REQUEST);
    cr_assert_eq(eg_write(t, (eg_span){NULL, 0}), EG_BAD_REQUEST);
    cr_assert_eq(eg_write(t, number(&b, 7)), EG_BAD_RECORD);
    cr_assert_eq(eg_get(t, (eg_span){nan, sizeof nan}, &rec), EG_BAD_RECORD);
    cr_assert_eq(eg_size(t), 0);
    cr_assert_eq(eg_get(NULL, number(&b, 1), &rec), EG_BAD_REQUEST);
    cr_assert_eq(eg_get(t, number(&b, 1), NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_get_many(t, NULL, 1, &rec), EG_BAD_REQUEST);
    cr_assert_eq(eg_write(NULL, number(&b, 1)), EG_BAD_REQUEST);
    cr_assert_eq(eg_read_begin(NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_create_table(node, NULL, NULL, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_open(NULL, NULL, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_node_name(NULL), NULL);
    cr_assert_eq(eg_node_address(NULL, 0), NULL);
    eg_read_end(NULL);
    eg_read_end(node); /* none was begun */
    eg_table_close(NULL);
    eg_close(NULL);
    eg_table_close(t);
}
