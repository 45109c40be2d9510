/* Tables are made, written, read and dropped through a running catalog. */
#include "tables/catalog.h"

#include "engine/foreign.h"
#include "engine/inspect.h"
#include "engine/loop_uv.h"
#include "tables/catalog_private.h"
#include "tables/table.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 5000 };

static struct epoch *epoch;
static struct runtime *runtime;
static struct memory_budget budget;
static struct catalog *catalog;
static struct foreign *thread;
static struct reader reader;
static struct buffer result;

static void setup(void) {
    struct err_note note = {""};
    struct runtime_opts o = {.alloc = alloc_system(), .env = env_uv(), .driver = loop_uv_driver()};
    struct catalog_opts c = {.alloc = alloc_system(), .env = env_uv(), .budget = &budget};

    cr_assert_eq(epoch_open(&epoch, alloc_system(), 64), EG_OK);
    o.schedulers = 2;
    o.epoch = epoch;
    cr_assert_eq(runtime_open(&runtime, &o), EG_OK);
    cr_assert_eq(runtime_start(runtime), EG_OK);
    c.runtime = runtime;
    c.epoch = epoch;
    cr_assert_eq(catalog_open(&catalog, &c, &note), EG_OK, "%s", note.text);
    cr_assert_eq(foreign_open(&thread, runtime), EG_OK);
    cr_assert_eq(reader_open(&reader, epoch, alloc_system()), EG_OK);
    buffer_init(&result, alloc_system(), 1 << 20);
}

static void teardown(void) {
    buffer_fini(&result);
    reader_close(&reader);
    foreign_close(thread);
    cr_assert_eq(catalog_close(catalog), EG_OK);
    runtime_stop(runtime);
    runtime_close(runtime);
    epoch_close(epoch);
}

TestSuite(catalog, .init = setup, .fini = teardown, .timeout = 240);

/* A MessagePack value from a short notation: ["k",1] with strings, integers, nil. */
struct bytes {
    uint8_t at[512];
    struct value_writer w;
};

static struct value value_in(struct bytes *b) {
    cr_assert(!b->w.overflow);
    return (struct value){b->at, (uint32_t) b->w.need_bytes};
}

static void begin(struct bytes *b) {
    b->w = value_writer_init(b->at, sizeof b->at);
}

static struct value text(struct bytes *b, const char *s) {
    begin(b);
    value_put_text(&b->w, s);
    return value_in(b);
}

static struct value pair(struct bytes *b, const char *key, int64_t n) {
    begin(b);
    value_put_array(&b->w, 2);
    value_put_text(&b->w, key);
    value_put_i64(&b->w, n);
    return value_in(b);
}

static eg_err ask_catalog(enum catalog_op op, const char *name, struct value value) {
    struct bytes b;
    struct catalog_request q = {.op = op, .name = text(&b, name), .value = value};
    struct message *m, *reply;
    eg_pid to;
    eg_err err;

    q.name = (struct value){(const uint8_t *) name, (uint32_t) strlen(name)};
    cr_assert_eq(catalog_message(catalog, &q, &to, &m), EG_OK);
    err = foreign_call(thread, to, m, WAIT_MS, &reply);
    if (err != EG_OK)
        return err;
    err = (eg_err) reply->tag;
    message_free(runtime, reply);
    return err;
}

static struct table *find(const char *name) {
    return catalog_find(catalog, name, strlen(name));
}

/* Run a request in place, or by message where the shard is busy. */
static eg_err run(struct table *t, struct shard_request q) {
    struct message *m, *reply;
    eg_pid to;
    eg_err err;

    buffer_clear(&result);
    err = table_try(t, &reader, &q, 1, &result, NULL);
    if (err != EG_AGAIN)
        return err;
    err = table_message(t, &q, &to, &m, NULL);
    if (err == EG_OK)
        err = foreign_call(thread, to, m, WAIT_MS, &reply);
    if (err != EG_OK)
        return err;
    err = (eg_err) reply->tag;
    cr_assert(buffer_append(&result, reply->payload, reply->size_bytes));
    message_free(runtime, reply);
    return err;
}

static bool result_is(struct value v) {
    return value_equal((struct value){result.at, (uint32_t) result.size_bytes}, v);
}

static int64_t read_number(struct table *t, const char *key) {
    struct bytes b;
    struct key k;
    const struct record *rec;
    int64_t n = -1;

    cr_assert_eq(table_key(t, &k, text(&b, key)), EG_OK);
    rec = table_get(t, &reader, &k);
    if (rec != NULL)
        cr_assert(value_get_i64(record_field(rec, 1), &n));
    key_release(&k);
    return n;
}

Test(catalog, a_written_record_is_read_back_until_it_is_deleted) {
    struct bytes b;
    struct table *t;

    cr_assert_eq(ask_catalog(CATALOG_CREATE, "t", (struct value){0}), EG_OK);
    cr_assert_eq(ask_catalog(CATALOG_CREATE, "t", (struct value){0}), EG_EXISTS);
    reader_enter(&reader);
    t = find("t");
    cr_assert_not_null(t);
    cr_assert_eq(run(t, (struct shard_request){.op = SHARD_WRITE, .value = pair(&b, "k", 7)}),
                 EG_OK);
    cr_assert_eq(read_number(t, "k"), 7);
    cr_assert_eq(run(t, (struct shard_request){.op = SHARD_WRITE, .value = pair(&b, "k", 8)}),
                 EG_OK);
    cr_assert_eq(read_number(t, "k"), 8);
    cr_assert_eq(table_size(t, &reader), 1);
    cr_assert_eq(run(t, (struct shard_request){.op = SHARD_DELETE, .key = text(&b, "k")}), EG_OK);
    cr_assert_eq(read_number(t, "k"), -1);
    cr_assert_eq(table_size(t, &reader), 0);
    reader_exit(&reader);
}

Test(catalog, counters_start_at_zero_and_add_up) {
    struct bytes key, delta;
    struct table *t;

    cr_assert_eq(ask_catalog(CATALOG_CREATE, "c", (struct value){0}), EG_OK);
    reader_enter(&reader);
    t = find("c");
    begin(&delta);
    value_put_i64(&delta.w, 5);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(run(t, (struct shard_request){.op = SHARD_COUNTER,
                                                   .attribute = 1,
                                                   .key = text(&key, "n"),
                                                   .value = value_in(&delta)}),
                     EG_OK);
    cr_assert_eq(read_number(t, "n"), 15);
    reader_exit(&reader);
}

Test(catalog, an_index_added_to_a_live_table_finds_what_was_there_and_what_comes) {
    struct bytes b, name;
    struct table *t;
    char key[16];

    cr_assert_eq(ask_catalog(CATALOG_CREATE, "i", (struct value){0}), EG_OK);
    reader_enter(&reader);
    t = find("i");
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        cr_assert_eq(
            run(t, (struct shard_request){.op = SHARD_WRITE, .value = pair(&b, key, i % 10)}),
            EG_OK);
    }
    cr_assert(table_ref(t));
    reader_exit(&reader);
    cr_assert_eq(ask_catalog(CATALOG_ADD_INDEX, "i", text(&name, "value")), EG_OK);
    cr_assert_eq(ask_catalog(CATALOG_ADD_INDEX, "i", text(&name, "value")), EG_EXISTS);
    cr_assert_eq(ask_catalog(CATALOG_ADD_INDEX, "i", text(&name, "nothing")), EG_BAD_REQUEST);
    reader_enter(&reader);
    cr_assert_eq(run(t, (struct shard_request){.op = SHARD_WRITE, .value = pair(&b, "k0", 77)}),
                 EG_OK);
    begin(&b);
    value_put_i64(&b.w, 77);
    buffer_clear(&result);
    cr_assert_eq(table_index_read(t, &reader, "value", 5, value_in(&b), &result, NULL), EG_OK);
    cr_assert_eq(value_count((struct value){result.at, (uint32_t) result.size_bytes}), 1);
    begin(&b);
    value_put_i64(&b.w, 3);
    buffer_clear(&result);
    cr_assert_eq(table_index_read(t, &reader, "value", 5, value_in(&b), &result, NULL), EG_OK);
    cr_assert_eq(value_count((struct value){result.at, (uint32_t) result.size_bytes}), 500);
    reader_exit(&reader);
    table_unref(t);
    cr_assert_eq(ask_catalog(CATALOG_DROP_INDEX, "i", text(&name, "value")), EG_OK);
    cr_assert_eq(ask_catalog(CATALOG_DROP_INDEX, "i", text(&name, "value")), EG_NOT_FOUND);
}

/* In place, or through the catalog where a shard is busy. */
static eg_err write_many(struct table *t, const char *name, struct value records) {
    eg_err err = table_try_many(t, &reader, records, &(struct table_many){0}, &result, NULL);

    if (err != EG_AGAIN)
        return err;
    reader_exit(&reader);
    err = ask_catalog(CATALOG_WRITE_MANY, name, records);
    reader_enter(&reader);
    return err;
}

Test(catalog, write_many_is_all_or_nothing) {
    struct bytes b;
    struct table *t;

    cr_assert_eq(ask_catalog(CATALOG_CREATE, "m", (struct value){0}), EG_OK);
    reader_enter(&reader);
    t = find("m");
    begin(&b);
    value_put_array(&b.w, 3);
    for (int i = 0; i < 3; i++) {
        value_put_array(&b.w, 2);
        value_put_i64(&b.w, i);
        value_put_text(&b.w, "x");
    }
    buffer_clear(&result);
    cr_assert_eq(write_many(t, "m", value_in(&b)), EG_OK);
    cr_assert_eq(table_size(t, &reader), 3);
    begin(&b);
    value_put_array(&b.w, 2);
    value_put_array(&b.w, 2);
    value_put_i64(&b.w, 9);
    value_put_text(&b.w, "x");
    value_put_array(&b.w, 1);
    value_put_i64(&b.w, 10);
    cr_assert_eq(write_many(t, "m", value_in(&b)), EG_BAD_RECORD);
    cr_assert_eq(table_size(t, &reader), 3);
    reader_exit(&reader);
}

Test(catalog, a_dropped_table_answers_its_holders_and_its_name_is_free) {
    struct bytes b;
    struct table *t;

    cr_assert_eq(ask_catalog(CATALOG_CREATE, "d", (struct value){0}), EG_OK);
    reader_enter(&reader);
    t = find("d");
    cr_assert(table_ref(t));
    cr_assert_eq(run(t, (struct shard_request){.op = SHARD_WRITE, .value = pair(&b, "k", 7)}),
                 EG_OK);
    reader_exit(&reader);
    cr_assert_eq(ask_catalog(CATALOG_DROP, "d", (struct value){0}), EG_OK);
    cr_assert_eq(ask_catalog(CATALOG_DROP, "d", (struct value){0}), EG_NO_TABLE);
    reader_enter(&reader);
    cr_assert_null(find("d"));
    cr_assert_eq(read_number(t, "k"), 7);
    cr_assert_eq(run(t, (struct shard_request){.op = SHARD_WRITE, .value = pair(&b, "k", 9)}),
                 EG_NO_TABLE);
    reader_exit(&reader);
    table_unref(t);
    cr_assert_eq(ask_catalog(CATALOG_CREATE, "d", (struct value){0}), EG_OK);
}

static int count_all(const char *kind) {
    struct inspect_page *page;
    int count = 0;

    cr_assert_eq(inspect_wait(runtime, 0, INSPECT_PAGE_MAX, &page), EG_OK);
    for (uint32_t i = 0; i < page->count; i++)
        count += strcmp(page->entry[i].actor.name, kind) == 0;
    inspect_free(runtime, page);
    return count;
}

/* Kill every actor of one kind and see each of them end. */
static int kill_all(const char *kind) {
    eg_exit why = exit_reason(EG_EXIT_KILL);
    struct inspect_page *page;
    int killed = 0;

    cr_assert_eq(inspect_wait(runtime, 0, INSPECT_PAGE_MAX, &page), EG_OK);
    for (uint32_t i = 0; i < page->count; i++) {
        const struct actor_info *info = &page->entry[i].actor;
        struct message *m;
        eg_ref down;

        if (strcmp(info->name, kind) != 0)
            continue;
        cr_assert_eq(foreign_monitor(thread, info->pid, &down), EG_OK);
        actor_exit_send(runtime, EG_PID_NONE, info->pid, &why);
        m = foreign_receive(thread, WAIT_MS);
        cr_assert(m != NULL && m->kind == MESSAGE_DOWN);
        message_free(runtime, m);
        killed++;
    }
    inspect_free(runtime, page);
    return killed;
}

Test(catalog, shards_and_catalog_that_are_killed_come_back_with_all_they_had) {
    struct bytes b;
    struct table *t;
    eg_err err;

    cr_assert_eq(ask_catalog(CATALOG_CREATE, "k", (struct value){0}), EG_OK);
    reader_enter(&reader);
    t = find("k");
    cr_assert(table_ref(t));
    cr_assert_eq(run(t, (struct shard_request){.op = SHARD_WRITE, .value = pair(&b, "k", 7)}),
                 EG_OK);
    reader_exit(&reader);
    cr_assert_eq(kill_all("shard"), 16);
    cr_assert_eq(kill_all("catalog"), 1);
    reader_enter(&reader);
    cr_assert_eq(read_number(t, "k"), 7);
    do /* until its supervisor has given the shard its next actor */
        err = run(t, (struct shard_request){.op = SHARD_WRITE, .value = pair(&b, "k", 8)});
    while (err == EG_NOPROC);
    cr_assert_eq(err, EG_OK);
    cr_assert_eq(read_number(t, "k"), 8);
    reader_exit(&reader);
    table_unref(t);
    do
        err = ask_catalog(CATALOG_DROP, "k", (struct value){0});
    while (err == EG_NOPROC);
    cr_assert_eq(err, EG_OK);
}

/* Write until a shard takes it: their supervisors are being restarted. */
static void write_at_last(struct table *t, const char *key, uint64_t n) {
    struct bytes b;
    eg_err err;

    do
        err = run(t, (struct shard_request){.op = SHARD_WRITE, .value = pair(&b, key, n)});
    while (err == EG_NOPROC);
    cr_assert_eq(err, EG_OK);
    cr_assert_eq(read_number(t, key), (int64_t) n);
}

/* Neither a table that loses its shards too often, nor all of them with their supervisor. */
Test(catalog, no_table_is_left_without_shards) {
    const eg_exit why = exit_reason(EG_EXIT_KILL);
    struct table *t, *other;

    cr_assert_eq(ask_catalog(CATALOG_CREATE, "k", (struct value){0}), EG_OK);
    cr_assert_eq(ask_catalog(CATALOG_CREATE, "o", (struct value){0}), EG_OK);
    for (uint64_t i = 0; i < 4; i++) {
        if (i == 2)
            actor_exit_send(runtime, EG_PID_NONE, catalog_families(catalog), &why);
        else
            cr_assert(kill_all("shard") > 16);
        reader_enter(&reader);
        t = find("k");
        other = find("o");
        write_at_last(t, "k", i);
        write_at_last(other, "o", i);
        reader_exit(&reader);
        while (count_all("shard") != 32)
            continue;
    }
}

Test(catalog, a_table_dropped_after_it_was_found_cannot_be_kept) {
    struct table *t;

    cr_assert_eq(ask_catalog(CATALOG_CREATE, "d", (struct value){0}), EG_OK);
    reader_enter(&reader);
    t = find("d");
    cr_assert_eq(ask_catalog(CATALOG_DROP, "d", (struct value){0}), EG_OK);
    cr_assert_eq(ask_catalog(CATALOG_DROP, "d", (struct value){0}), EG_NO_TABLE);
    cr_assert_not(table_ref(t)); /* the first job has let go of it, too */
    reader_exit(&reader);
}

Test(catalog, names_are_sorted) {
    struct bytes want;

    cr_assert_eq(ask_catalog(CATALOG_CREATE, "b", (struct value){0}), EG_OK);
    cr_assert_eq(ask_catalog(CATALOG_CREATE, "a", (struct value){0}), EG_OK);
    cr_assert_eq(ask_catalog(CATALOG_CREATE, "c", (struct value){0}), EG_OK);
    cr_assert_eq(ask_catalog(CATALOG_DROP, "b", (struct value){0}), EG_OK);
    reader_enter(&reader);
    cr_assert_eq(catalog_names(catalog, &result), EG_OK);
    reader_exit(&reader);
    begin(&want);
    value_put_array(&want.w, 2);
    value_put_text(&want.w, "a");
    value_put_text(&want.w, "c");
    cr_assert(result_is(value_in(&want)));
}
