/* A backup file is one moment of its tables; nothing else passes for one. */
#include "tables/backup.h"

#include "tables/table_private.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { RECORDS = 500, FILE_BYTES_MAX = 64 << 20 };

static struct table_world w;
static struct buffer file;

static void setup(void) {
    table_world_open(&w, alloc_system(), 7);
    buffer_init(&file, alloc_system(), FILE_BYTES_MAX);
}

static void teardown(void) {
    buffer_fini(&file);
    table_world_close(&w);
}

TestSuite(backup, .init = setup, .fini = teardown, .timeout = 240);

/* ---- tables ----------------------------------------------------------------------- */

static void create(const char *name, const char *type, const char *storage) {
    uint8_t at[128];
    struct value_writer v = value_writer_init(at, sizeof at);

    value_put_map(&v, 2);
    value_put_text(&v, "type");
    value_put_text(&v, type);
    value_put_text(&v, "storage");
    value_put_text(&v, storage);
    cr_assert_eq(
        table_world_ask(&w, CATALOG_CREATE, name, (struct value){at, (uint32_t) v.need_bytes}),
        EG_OK);
}

static void write(const char *name, int64_t key, int64_t n, uint64_t ttl_ms) {
    uint8_t at[64];
    struct value_writer v = value_writer_init(at, sizeof at);
    struct shard_request q = {.op = SHARD_WRITE, .ttl_ms = ttl_ms};

    value_put_array(&v, 2);
    value_put_i64(&v, key);
    value_put_i64(&v, n);
    q.value = (struct value){at, (uint32_t) v.need_bytes};
    reader_enter(&w.reader);
    cr_assert_eq(table_world_run(&w, table_world_find(&w, name), &q), EG_OK, "%s", w.note.text);
    reader_exit(&w.reader);
}

static void drop_key(const char *name, int64_t key) {
    uint8_t at[16];
    struct value_writer v = value_writer_init(at, sizeof at);
    struct shard_request q = {.op = SHARD_DELETE};

    value_put_i64(&v, key);
    q.key = (struct value){at, (uint32_t) v.need_bytes};
    reader_enter(&w.reader);
    cr_assert_eq(table_world_run(&w, table_world_find(&w, name), &q), EG_OK);
    reader_exit(&w.reader);
}

/* ---- files ------------------------------------------------------------------------ */

static bool at_once(void *context) {
    (void) context;
    return true;
}

static void put_file(struct moment *m, bool (*over)(void *context)) {
    struct backup_writer *b;
    size_t before_bytes;

    buffer_clear(&file);
    cr_assert_eq(backup_writer_open(&b, alloc_system(), m, "here"), EG_OK);
    do {
        before_bytes = file.size_bytes;
        reader_enter(&w.reader);
        cr_assert_eq(backup_writer_next(b, &w.reader, &file, over, NULL), EG_OK);
        reader_exit(&w.reader);
    } while (file.size_bytes > before_bytes);
    backup_writer_close(b);
}

struct bytes {
    struct backup_source source;
    const uint8_t *at;
    size_t left_bytes;
};

static eg_err read_bytes(struct backup_source *s, void *at, size_t size_bytes, size_t *got,
                         struct err_note *note) {
    struct bytes *b = EG_CONTAINER_OF(s, struct bytes, source);

    (void) note;
    *got = EG_MIN(EG_MIN(size_bytes, b->left_bytes), (size_t) 4001); /* in pieces */
    if (*got > 0)
        memcpy(at, b->at, *got);
    b->at += *got;
    b->left_bytes -= *got;
    return EG_OK;
}

/* What a file says of the only two integers of its records. */
struct sum {
    uint64_t records, expiring, tables;
    int64_t keys, values;
};

static void add(struct sum *sum, struct value record) {
    struct value_iter it = value_iter_of(record);
    struct value key, v;
    int64_t n;

    cr_assert(value_iter_next(&it, &key) && value_iter_next(&it, &v));
    cr_assert(value_get_i64(key, &n));
    sum->keys += n;
    cr_assert(value_get_i64(v, &n));
    sum->values += n;
    sum->records++;
}

static eg_err read_file(const uint8_t *at, size_t size_bytes, struct sum *sum,
                        struct err_note *note) {
    struct bytes bytes = {{read_bytes}, at, size_bytes};
    struct backup_reader *r;
    struct backup_item item;
    eg_err err;

    *sum = (struct sum){0};
    cr_assert_eq(backup_reader_open(&r, alloc_system(), &bytes.source), EG_OK);
    while ((err = backup_reader_next(r, &item, note)) == EG_OK) {
        const uint8_t *next = item.bytes.at;
        uint64_t expiry_ms;

        sum->tables += item.kind == BACKUP_TABLE;
        for (uint32_t i = 0; i < item.count; i++) {
            if (item.kind == BACKUP_EXPIRING) {
                add(sum, backup_expiring(&next, &expiry_ms));
                sum->expiring += expiry_ms > 0;
            } else {
                struct value record = value_of(next);
                add(sum, record);
                next += record.size_bytes;
            }
        }
    }
    backup_reader_close(r);
    return err;
}

/* ---- claims ----------------------------------------------------------------------- */

static const struct {
    const char *type, *storage;
} kinds[] = {{"set", "ram"},          {"ordered_set", "ram"}, {"bag", "ram"},      {"set", "disc"},
             {"ordered_set", "disc"}, {"set", "disc_only"},   {"bag", "disc_only"}};

Test(backup, holds_what_was_there_at_its_moment_and_nothing_later) {
    struct sum sum;
    struct err_note note = {""};
    struct moment *m;
    char name[32];

    for (size_t k = 0; k < EG_COUNTOF(kinds); k++) {
        snprintf(name, sizeof name, "t%zu", k);
        create(name, kinds[k].type, kinds[k].storage);
        for (int64_t i = 0; i < RECORDS; i++)
            write(name, i, 1, 0);
    }
    cr_assert_eq(table_world_moment(&w, (struct value){0}, &m), EG_OK, "%s", w.note.text);
    for (size_t k = 0; k < EG_COUNTOF(kinds); k++) {
        snprintf(name, sizeof name, "t%zu", k);
        for (int64_t i = 0; i < RECORDS; i++) {
            drop_key(name, i);
            write(name, i + 1000, 7, 0);
        }
    }
    put_file(m, NULL);
    cr_assert_eq(read_file(file.at, file.size_bytes, &sum, &note), EG_NOT_FOUND, "%s", note.text);
    cr_assert_eq(sum.tables, EG_COUNTOF(kinds));
    cr_assert_eq(sum.records, EG_COUNTOF(kinds) * RECORDS);
    cr_assert_eq(sum.values, (int64_t) EG_COUNTOF(kinds) * RECORDS);
    cr_assert_eq(sum.keys, (int64_t) EG_COUNTOF(kinds) * (RECORDS * (RECORDS - 1) / 2));
    for (size_t k = 0; k < EG_COUNTOF(kinds); k++) { /* and all is given back */
        snprintf(name, sizeof name, "t%zu", k);
        reader_enter(&w.reader);
        table_world_check(&w, table_world_find(&w, name));
        reader_exit(&w.reader);
    }
}

Test(backup, can_be_taken_again_and_again_while_records_change) {
    for (uint32_t round = 0; round < 20; round++) {
        struct sum sum;
        struct err_note note = {""};
        struct moment *m;

        if (round == 0)
            create("t", "set", "ram");
        for (int64_t i = 0; i < RECORDS; i++)
            write("t", i, round, 0);
        cr_assert_eq(table_world_moment(&w, (struct value){0}, &m), EG_OK, "%s", w.note.text);
        for (int64_t i = 0; i < RECORDS; i += 3)
            write("t", i, 1000, 0);
        put_file(m, at_once);
        cr_assert_eq(read_file(file.at, file.size_bytes, &sum, &note), EG_NOT_FOUND);
        cr_assert_eq(sum.values, (int64_t) RECORDS * round);
    }
}

Test(backup, of_a_table_that_is_being_backed_up_is_busy_and_of_another_is_not) {
    uint8_t at[16];
    struct value_writer v = value_writer_init(at, sizeof at);
    struct moment *first, *second;

    create("a", "set", "ram");
    create("b", "set", "ram");
    value_put_array(&v, 1);
    value_put_text(&v, "a");
    cr_assert_eq(table_world_moment(&w, (struct value){at, (uint32_t) v.need_bytes}, &first),
                 EG_OK);
    cr_assert_eq(moment_tables(first), 1);
    cr_assert_eq(table_world_moment(&w, (struct value){0}, &second), EG_BUSY);
    at[2] = 'b';
    cr_assert_eq(table_world_moment(&w, (struct value){at, (uint32_t) v.need_bytes}, &second),
                 EG_OK);
    moment_unref(first);
    moment_unref(second);
    at[2] = 'c';
    cr_assert_eq(table_world_moment(&w, (struct value){at, (uint32_t) v.need_bytes}, &second),
                 EG_NO_TABLE);
}

static uint64_t kept_bytes(const char *name) {
    struct table *t;
    uint64_t all = 0;

    reader_enter(&w.reader);
    t = table_world_find(&w, name);
    for (uint32_t i = 0; i < t->shard_count; i++)
        all += t->shard[i].store->ops->stats(t->shard[i].store).kept_bytes;
    reader_exit(&w.reader);
    return all;
}

Test(backup, what_a_moment_keeps_is_counted_until_it_goes) {
    static const char *const types[] = {"set", "ordered_set", "bag"};

    for (size_t k = 0; k < EG_COUNTOF(types); k++) {
        struct moment *m, *second;
        uint64_t once;

        create("t", types[k], "ram");
        for (int64_t i = 0; i < RECORDS; i++)
            write("t", i, 1, 0);
        cr_assert_eq(table_world_moment(&w, (struct value){0}, &m), EG_OK);
        cr_assert_eq(kept_bytes("t"), 0);
        for (int64_t i = 0; i < RECORDS; i++)
            drop_key("t", i);
        once = kept_bytes("t");
        cr_assert_geq(once, (uint64_t) RECORDS * (RECORD_HEADER_BYTES + 3));
        if (k == 0) {
            for (int64_t i = 0; i < RECORDS; i++)
                write("t", i, 2, 0);
            cr_assert_eq(kept_bytes("t"), once); /* what came later is nobody's */
        } else {                                 /* trees keep for several at once */
            cr_assert_eq(table_world_moment(&w, (struct value){0}, &second), EG_OK);
            moment_unref(second);
            cr_assert_eq(kept_bytes("t"), once);
        }
        moment_unref(m);
        cr_assert_eq(kept_bytes("t"), 0);
        cr_assert_eq(table_world_ask(&w, CATALOG_DROP, "t", (struct value){0}), EG_OK);
    }
}

Test(backup, reads_a_table_that_is_dropped_meanwhile_to_its_end) {
    struct sum sum;
    struct err_note note = {""};
    struct moment *m;

    create("t", "set", "disc_only");
    create("u", "bag", "disc");
    for (int64_t i = 0; i < RECORDS; i++) {
        write("t", i, 1, 0);
        write("u", i, 1, 0);
    }
    cr_assert_eq(table_world_moment(&w, (struct value){0}, &m), EG_OK);
    cr_assert_eq(table_world_ask(&w, CATALOG_DROP, "t", (struct value){0}), EG_OK);
    cr_assert_eq(table_world_ask(&w, CATALOG_CLEAR, "u", (struct value){0}), EG_OK);
    put_file(m, NULL);
    cr_assert_eq(read_file(file.at, file.size_bytes, &sum, &note), EG_NOT_FOUND);
    cr_assert_eq(sum.records, 2 * RECORDS);
}

Test(backup, keeps_when_records_expire) {
    struct sum sum;
    struct err_note note = {""};
    struct moment *m;

    create("t", "ordered_set", "ram");
    for (int64_t i = 0; i < RECORDS; i++)
        write("t", i, 1, i % 2 == 0 ? 0 : 60 * 1000);
    cr_assert_eq(table_world_moment(&w, (struct value){0}, &m), EG_OK);
    put_file(m, NULL);
    cr_assert_eq(read_file(file.at, file.size_bytes, &sum, &note), EG_NOT_FOUND);
    cr_assert_eq(sum.records, RECORDS);
    cr_assert_eq(sum.expiring, RECORDS / 2);
}

/* A small file with every kind of block. */
static void put_small_file(void) {
    struct moment *m;

    create("a", "set", "ram");
    create("b", "bag", "disc");
    for (int64_t i = 0; i < 20; i++) {
        write("a", i, 1, i % 4 == 0 ? 60 * 1000 : 0);
        write("b", i, 1, 0);
    }
    cr_assert_eq(table_world_moment(&w, (struct value){0}, &m), EG_OK);
    put_file(m, NULL);
}

Test(backup, cut_at_any_byte_is_refused) {
    struct sum sum;

    put_small_file();
    for (size_t cut = 0; cut < file.size_bytes; cut++) {
        struct err_note note = {""};
        cr_assert_eq(read_file(file.at, cut, &sum, &note), EG_CORRUPT, "cut at %zu", cut);
        cr_assert_neq(note.text[0], '\0');
    }
}

Test(backup, with_any_bit_flipped_is_refused) {
    struct sum sum;

    put_small_file();
    for (size_t at = 0; at < file.size_bytes; at++) {
        struct err_note note = {""};

        file.at[at] ^= (uint8_t) (1u << at % 8);
        cr_assert_eq(read_file(file.at, file.size_bytes, &sum, &note), EG_CORRUPT, "at %zu", at);
        file.at[at] ^= (uint8_t) (1u << at % 8);
    }
    cr_assert(buffer_append(&file, "", 1));
    cr_assert_eq(read_file(file.at, file.size_bytes, &sum, &(struct err_note){""}), EG_CORRUPT);
    cr_assert_eq(read_file(file.at, file.size_bytes - 1, &sum, &(struct err_note){""}),
                 EG_NOT_FOUND);
}

Test(backup, of_nothing_is_a_file_too) {
    struct sum sum;
    struct err_note note = {""};
    struct moment *m;

    cr_assert_eq(table_world_moment(&w, (struct value){0}, &m), EG_OK);
    put_file(m, NULL);
    cr_assert_eq(read_file(file.at, file.size_bytes, &sum, &note), EG_NOT_FOUND, "%s", note.text);
    cr_assert_eq(sum.tables, 0);
}

Test(backup, synced_tables_are_on_disc_when_the_answer_comes) {
    struct disc_stats before, after;

    create("t", "set", "disc");
    for (int64_t i = 0; i < RECORDS; i++)
        write("t", i, 1, 0);
    before = disc_stats(disc_twin_disc(w.pump.twin));
    cr_assert_eq(table_world_ask(&w, CATALOG_SYNC, "t", (struct value){0}), EG_OK);
    after = disc_stats(disc_twin_disc(w.pump.twin));
    cr_assert_gt(after.syncs, before.syncs);
    create("r", "set", "ram");
    cr_assert_eq(table_world_ask(&w, CATALOG_SYNC, "r", (struct value){0}), EG_OK);
    cr_assert_eq(table_world_ask(&w, CATALOG_SYNC, "x", (struct value){0}), EG_NO_TABLE);
}
