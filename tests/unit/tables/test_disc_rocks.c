/* What the RocksDB disc does with directories, tables, batches and order. */
#include "tables/disc.h"
#include "tests/support/disc_wait.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct temp_dir dir;
static struct disc *disc;
static struct err_note note;

static eg_err open_at(const char *path) {
    note.text[0] = '\0';
    return disc_rocks_open(
        &disc, &(struct disc_rocks_opts){.alloc = alloc_system(), .directory = path}, &note);
}

static void setup(void) {
    dir = temp_dir_make();
    cr_assert_eq(open_at(dir.path), EG_OK, "%s", note.text);
}

static void teardown(void) {
    if (disc != NULL)
        disc_close(disc);
    temp_dir_remove(&dir);
}

static void reopen(void) {
    disc_close(disc);
    disc = NULL;
    cr_assert_eq(open_at(dir.path), EG_OK, "%s", note.text);
}

static struct disc_table *table_make(const char *name) {
    struct disc_table *t = NULL;
    cr_assert_eq(disc_wait_create(disc, name, &t), EG_OK);
    return t;
}

static void put(struct disc_table *t, const char *key, const char *value, bool sync) {
    struct disc_batch b;

    disc_batch_init(&b, alloc_system());
    cr_assert_eq(disc_batch_put(&b, t, disc_text(key), disc_text(value)), EG_OK);
    cr_assert_eq(disc_wait_write(disc, &b, sync), EG_OK);
    disc_batch_fini(&b);
}

static bool has(struct disc_table *t, const char *key, const char *value) {
    struct disc_slice s;
    eg_err err = disc_get(disc, t, disc_text(key), &s);
    bool equal;

    if (err == EG_NOT_FOUND)
        return false;
    cr_assert_eq(err, EG_OK);
    equal = s.bytes.size_bytes == strlen(value) && memcmp(s.bytes.at, value, strlen(value)) == 0;
    disc_release(disc, &s);
    return equal;
}

TestSuite(disc_rocks, .init = setup, .fini = teardown);

Test(disc_rocks, a_batch_is_there_after_done_and_after_a_restart) {
    struct disc_table *t = table_make("users");

    put(t, "k", "v", false);
    cr_assert(has(t, "k", "v"));
    reopen();
    t = disc_wait_find(disc, "users");
    cr_assert_not_null(t);
    cr_assert(has(t, "k", "v"));
}

Test(disc_rocks, a_batch_keeps_the_order_of_its_changes) {
    struct disc_table *t = table_make("t");
    struct disc_batch b;

    put(t, "old", "1", false);
    disc_batch_init(&b, alloc_system());
    cr_assert_eq(disc_batch_put(&b, t, disc_text("a"), disc_text("1")), EG_OK);
    cr_assert_eq(disc_batch_del_range(&b, t, disc_text("a"), disc_text("z")), EG_OK);
    cr_assert_eq(disc_batch_put(&b, t, disc_text("b"), disc_text("2")), EG_OK);
    cr_assert_eq(disc_batch_put(&b, t, disc_text("c"), disc_text("3")), EG_OK);
    cr_assert_eq(disc_batch_del(&b, t, disc_text("c")), EG_OK);
    cr_assert_eq(b.count, 5);
    cr_assert_eq(disc_wait_write(disc, &b, true), EG_OK);
    disc_batch_fini(&b);
    cr_assert_not(has(t, "old", "1"));
    cr_assert_not(has(t, "a", "1"));
    cr_assert(has(t, "b", "2"));
    cr_assert_not(has(t, "c", "3"));
}

Test(disc_rocks, a_rewound_batch_forgets_what_came_after_the_mark) {
    struct disc_table *t = table_make("t");
    struct disc_mark mark;
    struct disc_batch b;

    disc_batch_init(&b, alloc_system());
    mark = disc_batch_mark(&b);
    cr_assert_eq(disc_batch_put(&b, t, disc_text("a"), disc_text("1")), EG_OK);
    disc_batch_rewind(&b, mark);
    cr_assert_null(disc_batch_next(&b, NULL));
    cr_assert_eq(disc_batch_put(&b, t, disc_text("b"), disc_text("2")), EG_OK);
    cr_assert_eq(disc_wait_write(disc, &b, false), EG_OK);
    disc_batch_fini(&b);
    cr_assert_not(has(t, "a", "1"));
    cr_assert(has(t, "b", "2"));
}

Test(disc_rocks, an_iterator_walks_both_ways_inside_its_range_and_sees_one_moment) {
    struct disc_table *t = table_make("t");
    struct disc_range range = {disc_text("b"), disc_text("e"), false};
    struct disc_iter *it;

    put(t, "a", "1", false);
    put(t, "b", "2", false);
    put(t, "d", "4", false);
    put(t, "e", "5", false);
    cr_assert_eq(disc_iter_open(disc, t, &range, &it), EG_OK);
    put(t, "c", "3", false);
    it->ops->seek(it, disc_text("a"));
    cr_assert(it->valid && memcmp(it->key.at, "b", 1) == 0);
    it->ops->next(it);
    cr_assert(it->valid && memcmp(it->key.at, "d", 1) == 0);
    it->ops->next(it);
    cr_assert(!it->valid && it->err == EG_OK);
    it->ops->seek_back(it, disc_text("c"));
    cr_assert(it->valid && memcmp(it->key.at, "b", 1) == 0);
    it->ops->prev(it);
    cr_assert(!it->valid && it->err == EG_OK);
    it->ops->seek_back(it, (struct disc_bytes){0});
    cr_assert(it->valid && memcmp(it->value.at, "4", 1) == 0);
    it->ops->close(it);
}

Test(disc_rocks, a_table_is_made_once_and_its_name_is_free_after_the_drop) {
    struct disc_table *t = table_make("t"), *again = NULL;

    cr_assert_eq(disc_wait_create(disc, "t", &again), EG_EXISTS);
    put(t, "k", "old", false);
    cr_assert_eq(disc_wait_drop(disc, t), EG_OK);
    cr_assert_null(disc_wait_find(disc, "t"));
    again = table_make("t");
    cr_assert_not(has(again, "k", "old"));
    cr_assert(has(t, "k", "old"), "who still reads the dropped table sees it");
    disc_forget(disc, t);
    reopen();
    cr_assert_not(has(disc_wait_find(disc, "t"), "k", "old"));
}

Test(disc_rocks, a_schema_is_replaced_in_the_batch_that_says_so) {
    struct disc_batch b;
    struct disc_slice s;
    struct disc_bytes key;
    char buffer[DISC_NAME_BYTES_MAX + 2];

    table_make("t");
    disc_batch_init(&b, alloc_system());
    cr_assert_eq(disc_batch_put_schema(&b, disc, "t", disc_text("{2}")), EG_OK);
    cr_assert_eq(disc_wait_write(disc, &b, true), EG_OK);
    disc_batch_fini(&b);
    cr_assert_eq(disc_schema_key(buffer, sizeof buffer, "t", &key), EG_OK);
    cr_assert_eq(disc_get(disc, disc->meta, key, &s), EG_OK);
    cr_assert_eq(memcmp(s.bytes.at, "{2}", 3), 0);
    disc_release(disc, &s);
}

Test(disc_rocks, names_of_any_bytes_are_tables_and_too_long_ones_are_refused) {
    struct disc_table *t;
    char name[DISC_NAME_BYTES_MAX + 2];

    table_make("default");
    table_make("t:x/../\n\xff");
    memset(name, 'n', sizeof name);
    name[DISC_NAME_BYTES_MAX] = '\0';
    table_make(name);
    name[DISC_NAME_BYTES_MAX] = 'n';
    name[DISC_NAME_BYTES_MAX + 1] = '\0';
    cr_assert_eq(disc_wait_create(disc, name, &t), EG_BAD_REQUEST);
    cr_assert_eq(disc_wait_create(disc, "", &t), EG_BAD_REQUEST);
    reopen();
    cr_assert_not_null(disc_wait_find(disc, "default"));
    cr_assert_not_null(disc_wait_find(disc, "t:x/../\n\xff"));
}

/* The writer stands still in the done() of this one, so that what comes after it waits. */
struct gate {
    struct disc_request request;
    struct disc_batch batch;
    sem_t reached, open;
};

static void stand_still(struct disc_request *q, eg_err err) {
    struct gate *g = EG_CONTAINER_OF(q, struct gate, request);

    (void) err; /* of nothing */
    sem_post(&g->reached);
    sem_wait(&g->open);
}

static void gate_close(struct gate *g) {
    disc_batch_init(&g->batch, alloc_system());
    sem_init(&g->reached, 0, 0);
    sem_init(&g->open, 0, 0);
    g->request = (struct disc_request){.kind = DISC_WRITE, .batch = &g->batch, .done = stand_still};
    cr_assert_eq(disc_submit(disc, &g->request), EG_OK);
    sem_wait(&g->reached);
}

Test(disc_rocks, requests_that_wait_become_one_write_with_one_fsync) {
    enum { REQUESTS = 200 };
    static struct disc_wait wait[REQUESTS];
    struct disc_table *t = table_make("t");
    struct disc_batch b;
    struct disc_stats before, after;
    static struct gate gate;

    gate_close(&gate);
    before = disc_stats(disc);

    disc_batch_init(&b, alloc_system());
    cr_assert_eq(disc_batch_put(&b, t, disc_text("k"), disc_text("v")), EG_OK);
    for (int i = 0; i < REQUESTS; i++) {
        disc_wait_init(&wait[i]);
        wait[i].request = (struct disc_request){.kind = DISC_WRITE, .batch = &b, .sync = true};
        cr_assert_eq(disc_wait_submit(&wait[i], disc), EG_OK);
    }
    sem_post(&gate.open);
    for (int i = 0; i < REQUESTS; i++)
        cr_assert_eq(disc_wait_answer(&wait[i]), EG_OK);
    disc_batch_fini(&b);
    after = disc_stats(disc);
    cr_assert_eq(after.requests - before.requests, REQUESTS);
    cr_assert_eq(after.writes - before.writes, 1);
    cr_assert_eq(after.syncs - before.syncs, 1);
    cr_assert_eq(after.queued_bytes, 0);
    cr_assert_gt(after.queued_bytes_max, 0);
}

Test(disc_rocks, a_batch_past_the_bound_is_refused_at_once) {
    struct disc_table *t = table_make("t");
    struct disc_batch b;

    disc_batch_init(&b, alloc_system());
    cr_assert_not_null(disc_batch_room(&b, 1, DISC_QUEUE_BYTES_MAX));
    disc_batch_commit(&b, DISC_PUT, t, 1, DISC_QUEUE_BYTES_MAX);
    cr_assert_eq(disc_wait_write(disc, &b, false), EG_TOO_LARGE);
    cr_assert_eq(disc_health(disc, NULL), EG_OK);
    disc_batch_fini(&b);
}

/* 40 of 64 MiB are in the queue. */
Test(disc_rocks, a_full_queue_answers_busy_and_takes_more_when_it_has_drained) {
    enum { LARGE_BYTES = 40 << 20 };
    struct disc_table *t = table_make("t");
    struct disc_wait first;
    struct disc_batch b;
    static struct gate gate;
    uint8_t *room;

    disc_batch_init(&b, alloc_system());
    room = disc_batch_room(&b, 1, LARGE_BYTES);
    cr_assert_not_null(room);
    memset(room, 'x', 1 + LARGE_BYTES);
    disc_batch_commit(&b, DISC_PUT, t, 1, LARGE_BYTES);
    gate_close(&gate);
    disc_wait_init(&first);
    first.request = (struct disc_request){.kind = DISC_WRITE, .batch = &b};
    cr_assert_eq(disc_wait_submit(&first, disc), EG_OK);
    cr_assert_eq(disc_wait_write(disc, &b, false), EG_BUSY);
    sem_post(&gate.open);
    cr_assert_eq(disc_wait_answer(&first), EG_OK);
    cr_assert_eq(disc_wait_write(disc, &b, false), EG_OK);
    cr_assert_eq(disc_stats(disc).refused, 1);
    disc_batch_fini(&b);
}

Test(disc_rocks, a_write_on_the_callers_thread_is_read_back_at_once) {
    struct disc_table *t = table_make("t");
    struct disc_batch b;

    disc_batch_init(&b, alloc_system());
    cr_assert_eq(disc_batch_put(&b, t, disc_text("k"), disc_text("v")), EG_OK);
    cr_assert_eq(disc_write(disc, &b), EG_OK);
    disc_batch_fini(&b);
    cr_assert(has(t, "k", "v"));
}

/* ---- directories -------------------------------------------------------- */

Test(disc_rocks, a_second_node_hears_who_has_the_directory) {
    struct disc *first = disc;
    char pid[32];

    cr_assert_eq(open_at(dir.path), EG_DISC);
    snprintf(pid, sizeof pid, "process %ld", (long) getpid());
    cr_assert_not_null(strstr(note.text, "in use"), "%s", note.text);
    cr_assert_not_null(strstr(note.text, pid), "%s", note.text);
    disc = first;
    put(table_make("t"), "k", "v", true); /* and the first is undisturbed */
}

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

static void path_in(char *path, const char *leaf) {
    snprintf(path, TEMP_PATH_BYTES, "%.400s/%s", dir.path, leaf);
}

Test(disc_rocks, a_file_or_a_missing_parent_is_named_and_nothing_is_made) {
    struct disc *first = disc;
    char path[TEMP_PATH_BYTES];

    path_in(path, "file");
    write_file(path, "");
    cr_assert_eq(open_at(path), EG_DISC);
    cr_assert_not_null(strstr(note.text, "not a directory"), "%s", note.text);
    path_in(path, "no/such");
    cr_assert_eq(open_at(path), EG_DISC);
    cr_assert_not_null(strstr(note.text, "No such file"), "%s", note.text);
    path_in(path, "no");
    cr_assert_neq(access(path, F_OK), 0);
    disc = first;
}

Test(disc_rocks, a_directory_that_may_not_be_written_is_refused) {
    struct disc *first = disc;
    char path[TEMP_PATH_BYTES];

    if (geteuid() == 0 && seteuid(65534) != 0)
        cr_skip("cannot become nobody, and root may write anywhere");
    path_in(path, "closed");
    if (geteuid() == 65534 && seteuid(0) == 0) {
        cr_assert_eq(mkdir(path, 0555), 0);
        cr_assert_eq(chmod(dir.path, 0755), 0);
        cr_assert_eq(seteuid(65534), 0);
    } else {
        cr_assert_eq(mkdir(path, 0555), 0);
    }
    /* access(2) asks for the real user, so open(2) finds out for root in disguise. */
    cr_assert_eq(open_at(path), EG_DISC);
    cr_assert_not_null(strstr(note.text, "Permission denied"), "%s", note.text);
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
    disc = first;
}

/* What a kill inside create or drop leaves: a family without a schema.  The other
 * way round cannot be, and is damage. */
Test(disc_rocks, a_table_half_made_is_gone_and_one_half_lost_is_told) {
    struct disc_batch b;
    struct disc_bytes key;
    char buffer[DISC_NAME_BYTES_MAX + 2];

    put(table_make("half"), "k", "v", true);
    table_make("whole");
    disc_batch_init(&b, alloc_system());
    cr_assert_eq(disc_schema_key(buffer, sizeof buffer, "half", &key), EG_OK);
    cr_assert_eq(disc_batch_del(&b, disc->meta, key), EG_OK);
    cr_assert_eq(disc_wait_write(disc, &b, true), EG_OK);
    reopen();
    cr_assert_null(disc_wait_find(disc, "half"));
    cr_assert_not(has(table_make("half"), "k", "v"));

    disc_batch_reset(&b);
    cr_assert_eq(disc_batch_put_schema(&b, disc, "ghost", disc_text("{}")), EG_OK);
    cr_assert_eq(disc_wait_write(disc, &b, true), EG_OK);
    disc_batch_fini(&b);
    disc_close(disc);
    disc = NULL;
    cr_assert_eq(open_at(dir.path), EG_CORRUPT);
    cr_assert_not_null(strstr(note.text, "table ghost"), "%s", note.text);
}

Test(disc_rocks, a_later_format_and_a_lost_database_are_not_touched) {
    char format[TEMP_PATH_BYTES], current[TEMP_PATH_BYTES], away[TEMP_PATH_BYTES];

    put(table_make("t"), "k", "v", true);
    disc_close(disc);
    disc = NULL;
    path_in(format, "format");
    path_in(current, "db/CURRENT");
    path_in(away, "away");

    write_file(format, "engram data 2\n");
    cr_assert_eq(open_at(dir.path), EG_CORRUPT);
    cr_assert_not_null(strstr(note.text, "later Engram"), "%s", note.text);
    write_file(format, "engram data 1\n");
    cr_assert_eq(rename(current, away), 0);
    cr_assert_eq(open_at(dir.path), EG_CORRUPT);
    cr_assert_not_null(strstr(note.text, "CURRENT is missing"), "%s", note.text);
    cr_assert_eq(rename(away, current), 0);
    cr_assert_eq(open_at(dir.path), EG_OK, "%s", note.text);
    cr_assert(has(disc_wait_find(disc, "t"), "k", "v"));
}
