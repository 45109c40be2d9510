/* A program backs up, restores and folds over one moment of its tables. */
#include "engram.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { RECORDS = 3000 };

static struct temp_dir dir;
static eg_node *node;
static char path[600];

static void setup(void) {
    eg_note note = {""};
    dir = temp_dir_make();
    snprintf(path, sizeof path, "%s/backup", dir.path);
    cr_assert_eq(
        eg_open(&(eg_options){.name = "unit", .data_dir = dir.path, .schedulers = 2}, &node, &note),
        EG_OK, "%s", note.text);
}

static void teardown(void) {
    eg_close(node);
    temp_dir_remove(&dir);
}

TestSuite(api_backup, .init = setup, .fini = teardown, .timeout = 240);

struct bytes {
    uint8_t at[256];
    eg_writer w;
};

static eg_span pair(struct bytes *b, int64_t key, int64_t n) {
    b->w = eg_writer_init(b->at, sizeof b->at);
    eg_put_array(&b->w, 2);
    eg_put_int(&b->w, key);
    eg_put_int(&b->w, n);
    return eg_written(&b->w);
}

static eg_table *make_table(const char *name, const char *type, const char *storage) {
    struct bytes b = {.w = eg_writer_init(b.at, sizeof b.at)};
    eg_table *t;
    eg_span options;

    eg_put_map(&b.w, 2);
    eg_put_string(&b.w, "type");
    eg_put_string(&b.w, type);
    eg_put_string(&b.w, "storage");
    eg_put_string(&b.w, storage);
    options = eg_written(&b.w);
    cr_assert_eq(eg_create_table(node, name, &options, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, name, &t), EG_OK);
    for (int64_t i = 0; i < RECORDS; i++)
        cr_assert_eq(eg_write(t, pair(&b, i, i)), EG_OK);
    return t;
}

static const char *const types[] = {"set", "ordered_set", "bag"};
static const char *const storages[] = {"ram", "disc", "disc_only"};

Test(api_backup, brings_every_kind_of_table_back) {
    eg_table *t[3][3];
    uint64_t records;
    eg_note note = {""};
    char name[32];

    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof name, "%s_%s", storages[i], types[k]);
            t[i][k] = make_table(name, types[k], storages[i]);
        }
    cr_assert_eq(eg_backup(node, path, NULL, &records, &note), EG_OK, "%s", note.text);
    cr_assert_eq(records, 9 * RECORDS);
    cr_assert_eq(eg_verify(path, &note), EG_OK, "%s", note.text);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof name, "%s_%s", storages[i], types[k]);
            eg_table_close(t[i][k]);
            cr_assert_eq(eg_drop_table(node, name), EG_OK);
        }
    cr_assert_eq(eg_restore(node, path, NULL, EG_RESTORE_SKIP, &records, &note), EG_OK, "%s",
                 note.text);
    cr_assert_eq(records, 9 * RECORDS);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof name, "%s_%s", storages[i], types[k]);
            cr_assert_eq(eg_table_open(node, name, &t[i][k]), EG_OK);
            cr_assert_eq(eg_size(t[i][k]), RECORDS);
            eg_table_close(t[i][k]);
        }
}

Test(api_backup, skips_replaces_or_clears_a_table_that_is_there) {
    const char *const only[] = {"t", NULL}, *const nothing[] = {"x", NULL};
    eg_table *t = make_table("t", "set", "ram");
    struct bytes b;
    eg_note note = {""};

    cr_assert_eq(eg_backup(node, path, only, NULL, &note), EG_OK, "%s", note.text);
    cr_assert_eq(eg_backup(node, path, nothing, NULL, &note), EG_NO_TABLE);
    cr_assert_eq(eg_restore(node, path, nothing, EG_RESTORE_REPLACE, NULL, &note), EG_NO_TABLE);
    cr_assert_eq(eg_write(t, pair(&b, -1, 0)), EG_OK);
    cr_assert_eq(eg_restore(node, path, NULL, EG_RESTORE_SKIP, NULL, &note), EG_OK);
    cr_assert_eq(eg_size(t), RECORDS + 1);
    cr_assert_eq(eg_restore(node, path, only, EG_RESTORE_CLEAR, NULL, &note), EG_OK);
    cr_assert_eq(eg_size(t), RECORDS);
    cr_assert_eq(eg_restore(node, path, NULL, EG_RESTORE_REPLACE, NULL, &note), EG_OK);
    eg_table_close(t);
    cr_assert_eq(eg_table_open(node, "t", &t), EG_OK);
    cr_assert_eq(eg_size(t), RECORDS);
    eg_table_close(t);
}

Test(api_backup, refuses_what_is_no_backup_and_touches_nothing) {
    eg_table *t = make_table("t", "set", "ram");
    eg_note note = {""};
    FILE *f;
    int byte;

    cr_assert_eq(eg_backup(node, path, NULL, NULL, &note), EG_OK);
    f = fopen(path, "r+");
    cr_assert_not_null(f);
    cr_assert_eq(fseek(f, 1000, SEEK_SET), 0);
    byte = fgetc(f) ^ 0x41; /* another one, whatever was there */
    cr_assert_eq(fseek(f, 1000, SEEK_SET), 0);
    cr_assert_eq(fputc(byte, f), byte);
    fclose(f);
    cr_assert_eq(eg_restore(node, path, NULL, EG_RESTORE_REPLACE, NULL, &note), EG_CORRUPT);
    cr_assert_neq(note.text[0], '\0');
    cr_assert_eq(eg_size(t), RECORDS);
    cr_assert_eq(eg_verify("/nowhere/at/all", &note), EG_DISC);
    cr_assert_eq(eg_backup(node, "/nowhere/at/all", NULL, NULL, &note), EG_DISC);
    cr_assert_eq(eg_backup(NULL, path, NULL, NULL, NULL), EG_BAD_REQUEST);
    eg_table_close(t);
}

/* ---- folds ------------------------------------------------------------------------ */

static bool sum(void *context, eg_span record) {
    int64_t *all = context, n;
    eg_span v;

    cr_assert(eg_element(record, 1, &v) && eg_as_int(v, &n));
    *all += n;
    return true;
}

static bool first_only(void *context, eg_span record) {
    (void) record;
    ++*(int *) context;
    return false;
}

Test(api_backup, folds_over_a_moment) {
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            eg_table *t = make_table("t", types[k], storages[i]);
            int64_t all = 0;
            int seen = 0;

            cr_assert_eq(eg_fold_snapshot(t, sum, &all), EG_OK);
            cr_assert_eq(all, (int64_t) RECORDS * (RECORDS - 1) / 2);
            cr_assert_eq(eg_fold_snapshot(t, first_only, &seen), EG_OK);
            cr_assert_eq(seen, 1);
            cr_assert_eq(eg_drop_table(node, "t"), EG_OK);
            cr_assert_eq(eg_fold_snapshot(t, sum, &all), EG_NO_TABLE);
            eg_table_close(t);
        }
}

struct mover {
    eg_table *table;
    _Atomic bool stop;
};

/* Moves one from a record to the next, by two updates in an order: the sum is never above. */
static void *move(void *context) {
    struct mover *m = context;
    struct bytes a;

    for (int64_t i = 0; !atomic_load(&m->stop); i = (i + 1) % RECORDS) {
        int64_t n;
        a.w = eg_writer_init(a.at, sizeof a.at);
        eg_put_int(&a.w, i);
        cr_assert_eq(eg_update_counter(m->table, eg_written(&a.w), "value", -1, &n), EG_OK);
        a.w = eg_writer_init(a.at, sizeof a.at);
        eg_put_int(&a.w, (i + 7) % RECORDS);
        cr_assert_eq(eg_update_counter(m->table, eg_written(&a.w), "value", 1, &n), EG_OK);
    }
    return NULL;
}

static bool gather(void *context, eg_span record) {
    int64_t *seen = context, key, n;
    eg_span v;

    cr_assert(eg_element(record, 0, &v) && eg_as_int(v, &key));
    cr_assert(eg_element(record, 1, &v) && eg_as_int(v, &n));
    seen[key] = n; /* one that comes twice comes as it was */
    return true;
}

Test(api_backup, a_fold_sees_no_half_of_what_is_moved_meanwhile) {
    static int64_t seen[RECORDS];
    struct mover m = {.table = make_table("t", "set", "ram")};
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, move, &m), 0);
    for (int round = 0; round < 50; round++) {
        int64_t all = 0;

        cr_assert_eq(eg_fold_snapshot(m.table, gather, seen), EG_OK);
        for (int i = 0; i < RECORDS; i++)
            all += seen[i];
        all -= (int64_t) RECORDS * (RECORDS - 1) / 2;
        cr_assert(all == 0 || all == -1, "round %d: %lld", round, (long long) all);
    }
    atomic_store(&m.stop, true);
    pthread_join(thread, NULL);
    eg_table_close(m.table);
}
