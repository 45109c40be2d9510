/* test_watch.c -- what a watcher is told, what it is not, and where a gap lies. */
#include "tables/table_private.h"
#include "tables/watch_filter.h"
#include "tables/watch_private.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <string.h>

static struct table_world world;
static struct fail_alloc failing;

static void setup(void) {
    failing = fail_alloc_after(INT_MAX);
    table_world_open(&world, &failing.base, 1);
}

static void teardown(void) {
    cr_assert_eq(atomic_load(&catalog_watch(world.catalog)->held_bytes), 0u);
    table_world_close(&world);
}

TestSuite(watch, .init = setup, .fini = teardown, .timeout = 240);

/* ---- requests -------------------------------------------------------------------- */

struct made {
    uint8_t at[512];
    struct value_writer w;
};

static struct value made_value(const struct made *m) {
    cr_assert(!m->w.overflow);
    return (struct value){m->at, (uint32_t) m->w.need_bytes};
}

static struct value_writer *begin(struct made *m) {
    m->w = value_writer_init(m->at, sizeof m->at);
    return &m->w;
}

static void put_pair(struct value_writer *w, int64_t key, int64_t n) {
    value_put_array(w, 2);
    value_put_i64(w, key);
    value_put_i64(w, n);
}

static struct table *create(uint32_t shards) {
    struct made m;

    value_put_map(begin(&m), 1);
    value_put_text(&m.w, "shards");
    value_put_u64(&m.w, shards);
    cr_assert_eq(table_world_ask(&world, CATALOG_CREATE, "t", made_value(&m)), EG_OK);
    return table_world_find(&world, "t");
}

static eg_err write_pair(struct table *t, int64_t key, int64_t n) {
    struct made m;
    struct shard_request q = {.op = SHARD_WRITE};
    eg_err err;

    put_pair(begin(&m), key, n);
    q.value = made_value(&m);
    reader_enter(&world.reader);
    err = table_world_run(&world, t, &q);
    reader_exit(&world.reader);
    return err;
}

static struct watcher *watch(struct table *t, uint32_t bound_events) {
    const struct watch_opts o = {.old = true, .bound_events = bound_events};
    struct watcher *w;

    cr_assert_eq(watch_table(&w, t, &o), EG_OK);
    return w;
}

/* ---- what comes -------------------------------------------------------------------- */

static void comes(struct watcher *w, enum watch_kind kind, struct watch_event *e) {
    cr_assert(watcher_next(w, e));
    cr_assert_eq(e->kind, kind, "%s", watch_kind_name(e->kind));
}

static void write_comes(struct watcher *w, int64_t key, int64_t n) {
    struct watch_event e;
    struct value field;
    int64_t is;

    comes(w, WATCH_WRITE, &e);
    cr_assert(array_element(e.record, 0, &field) && value_get_i64(field, &is));
    cr_assert_eq(is, key);
    cr_assert(array_element(e.record, 1, &field) && value_get_i64(field, &is));
    cr_assert_eq(is, n);
}

static void gap_comes(struct watcher *w, uint64_t missing) {
    struct watch_event e;

    comes(w, WATCH_GAP, &e);
    cr_assert_eq(e.missing, missing, "%llu", (unsigned long long) e.missing);
}

static void nothing_comes(struct watcher *w) {
    struct watch_event e;

    cr_assert(!watcher_next(w, &e));
    cr_assert(!watcher_waits(w));
}

/* ---- tables ------------------------------------------------------------------------ */

Test(watch, a_table_that_nobody_watches_has_no_list) {
    struct table *t = create(1);
    struct watcher *w;

    cr_assert_null(watch_list_of(&t->watchers));
    w = watch(t, 0);
    cr_assert_not_null(watch_list_of(&t->watchers));
    watcher_close(w);
    cr_assert_null(watch_list_of(&t->watchers));
    cr_assert_eq(write_pair(t, 1, 1), EG_OK);
    cr_assert_eq(t->shard[0].notes.room_bytes, 0u);
}

Test(watch, all_watchers_share_what_a_turn_has_changed) {
    struct watch_hub *hub = catalog_watch(world.catalog);
    struct table *t = create(1);
    struct watcher *w[3] = {watch(t, 0), watch(t, 0), watch(t, 0)};
    uint64_t one_bytes;

    cr_assert_eq(write_pair(t, 1, 1), EG_OK);
    one_bytes = atomic_load(&hub->held_bytes);
    write_comes(w[0], 1, 1);
    nothing_comes(w[0]);
    cr_assert_eq(atomic_load(&hub->held_bytes), one_bytes);
    watcher_close(w[1]);
    write_comes(w[2], 1, 1);
    nothing_comes(w[2]);
    cr_assert_eq(atomic_load(&hub->held_bytes), 0u);
    watcher_close(w[0]);
    watcher_close(w[2]);
}

Test(watch, what_waits_is_booked_in_the_nodes_memory) {
    struct watch_hub *hub = catalog_watch(world.catalog);
    struct table *t = create(1);
    struct watcher *w = watch(t, 0);
    int64_t before = atomic_load(&world.budget.used_bytes);

    cr_assert_eq(write_pair(t, 1, 1), EG_OK); /* less than a shard would tell */
    cr_assert_gt(watch_held_bytes(hub), 0u);
    cr_assert_eq(atomic_load(&world.budget.used_bytes), before + (int64_t) watch_held_bytes(hub));
    write_comes(w, 1, 1);
    nothing_comes(w);
    cr_assert_eq(atomic_load(&world.budget.used_bytes), before);
    watcher_close(w);
}

Test(watch, what_does_not_fit_is_a_gap_and_the_stream_goes_on) {
    struct table *t = create(1);
    struct watcher *w = watch(t, 4);

    for (int i = 1; i <= 10; i++)
        cr_assert_eq(write_pair(t, i, i), EG_OK);
    cr_assert(watcher_was_full(w));
    write_comes(w, 1, 1);
    write_comes(w, 2, 2);
    cr_assert_eq(write_pair(t, 11, 11), EG_OK); /* there is room, but the gap comes first */
    write_comes(w, 3, 3);
    write_comes(w, 4, 4);
    gap_comes(w, 7);
    nothing_comes(w);
    cr_assert_eq(write_pair(t, 12, 12), EG_OK);
    write_comes(w, 12, 12);
    nothing_comes(w);
    watcher_close(w);
}

Test(watch, gaps_of_several_shards_are_one) {
    struct table *t = create(8);
    struct watcher *w = watch(t, 1);

    for (int i = 0; i < 100; i++)
        cr_assert_eq(write_pair(t, i, i), EG_OK);
    write_comes(w, 0, 0);
    gap_comes(w, 99);
    nothing_comes(w);
    watcher_close(w);
}

Test(watch, a_write_that_is_taken_back_is_not_told) {
    struct table *t = create(1);
    struct watcher *w;
    struct made m;
    eg_err err;

    cr_assert_eq(write_pair(t, 1, 1), EG_OK);
    w = watch(t, 0);
    value_put_array(begin(&m), 3);
    put_pair(&m.w, 1, 2);
    put_pair(&m.w, 1, 3);
    put_pair(&m.w, 2, 2); /* makes the table grow, which it may not */
    atomic_store(&world.budget.limit_bytes, 1);
    atomic_fetch_add(&world.budget.used_bytes, 1000);
    reader_enter(&world.reader);
    err = table_world_write_many(&world, t, "t", made_value(&m), 0);
    reader_exit(&world.reader);
    cr_assert_eq(err, EG_MEMORY);
    nothing_comes(w);
    atomic_store(&world.budget.limit_bytes, 0);
    atomic_fetch_sub(&world.budget.used_bytes, 1000);
    cr_assert_eq(write_pair(t, 1, 4), EG_OK);
    write_comes(w, 1, 4);
    watcher_close(w);
}

Test(watch, without_memory_there_is_a_gap_and_never_silence) {
    struct table *t = create(1);
    struct watcher *w = watch(t, 0);
    uint64_t told = 0, missing = 0, written = 0;
    struct watch_event e;

    for (uint64_t n = 0; n < 40; n++) {
        atomic_store(&failing.left, (int) (n % 3));
        written += write_pair(t, (int64_t) n, 1) == EG_OK;
        atomic_store(&failing.left, INT_MAX);
        while (n % 5 == 0 && watcher_next(w, &e)) {
            told += e.kind == WATCH_WRITE;
            missing += e.missing;
        }
    }
    while (watcher_next(w, &e)) {
        told += e.kind == WATCH_WRITE;
        missing += e.missing;
    }
    cr_assert_gt(missing, 0u);
    cr_assert_eq(told + missing, written);
    watcher_close(w);
}

Test(watch, a_dropped_table_says_so_even_to_a_full_queue) {
    struct table *t = create(1);
    struct watcher *w = watch(t, 1);
    struct watch_event e;

    for (int i = 1; i <= 3; i++)
        cr_assert_eq(write_pair(t, i, i), EG_OK);
    cr_assert_eq(table_world_ask(&world, CATALOG_DROP, "t", (struct value){NULL, 0}), EG_OK);
    write_comes(w, 1, 1);
    gap_comes(w, 2);
    comes(w, WATCH_SCHEMA, &e);
    cr_assert(e.last);
    nothing_comes(w);
    watcher_close(w);
}

/* ---- a clear, shard by shard --------------------------------------------------------- */

/* A write has a key, a clear its number. */
static void publish(struct table *t, uint32_t part, enum watch_kind kind, int64_t key) {
    const struct value none = {NULL, 0};
    struct buffer notes;
    struct made m;

    put_pair(begin(&m), key, 0);
    buffer_init(&notes, alloc_system(), 4096);
    if (kind == WATCH_WRITE)
        cr_assert(watch_note_put(&notes, kind, made_value(&m), none, "", false));
    else
        cr_assert(watch_note_clear(&notes, kind, (uint64_t) key, false));
    reader_enter(&world.reader);
    watch_publish(t->world->watch, watch_list_of(&t->watchers), part, notes.at, notes.size_bytes);
    reader_exit(&world.reader);
    buffer_fini(&notes);
}

Test(watch, what_was_written_after_a_clear_comes_after_it) {
    struct table *t = create(2);
    struct watcher *w = watch(t, 0);
    struct watch_event e;

    publish(t, 0, WATCH_CLEAR_PART, 1);
    publish(t, 0, WATCH_WRITE, 10); /* shard 0 is clear, shard 1 is not */
    publish(t, 1, WATCH_WRITE, 11);
    write_comes(w, 11, 0);
    nothing_comes(w);
    publish(t, 1, WATCH_CLEAR_PART, 1);
    publish(t, 1, WATCH_WRITE, 12);
    nothing_comes(w);
    publish(t, 2, WATCH_CLEAR, 1);
    publish(t, 0, WATCH_WRITE, 13);
    comes(w, WATCH_CLEAR, &e);
    write_comes(w, 10, 0);
    write_comes(w, 12, 0);
    write_comes(w, 13, 0);
    nothing_comes(w);
    watcher_close(w);
}

Test(watch, a_clear_that_is_missing_stands_before_its_gap) {
    struct table *t = create(2);
    struct watcher *w = watch(t, 2);
    struct watch_event e;

    publish(t, 0, WATCH_WRITE, 1);
    publish(t, 0, WATCH_WRITE, 2);
    publish(t, 0, WATCH_CLEAR_PART, 1); /* does not fit */
    publish(t, 1, WATCH_CLEAR_PART, 1); /* nor this     */
    write_comes(w, 1, 0);
    write_comes(w, 2, 0);
    nothing_comes(w);
    publish(t, 1, WATCH_WRITE, 3); /* not before the gap */
    publish(t, 2, WATCH_CLEAR, 1);
    comes(w, WATCH_CLEAR, &e);
    gap_comes(w, 3);
    publish(t, 1, WATCH_WRITE, 4);
    write_comes(w, 4, 0);
    nothing_comes(w);
    watcher_close(w);
}

Test(watch, a_catalog_that_cannot_say_clear_leaves_a_clear_and_a_gap) {
    struct table *t = create(1);
    struct watcher *w = watch(t, 2);
    struct watch_event e;

    publish(t, 0, WATCH_WRITE, 1);
    publish(t, 0, WATCH_CLEAR_PART, 1);
    publish(t, 1, WATCH_CLEAR, 1);
    write_comes(w, 1, 0);
    comes(w, WATCH_CLEAR, &e);
    gap_comes(w, 1);
    nothing_comes(w);
    watcher_close(w);
}

Test(watch, a_gap_waits_for_the_last_clear_in_it) {
    struct table *t = create(2);
    struct watcher *w = watch(t, 2);
    struct watch_event e;

    publish(t, 0, WATCH_WRITE, 1);
    publish(t, 0, WATCH_WRITE, 2);
    publish(t, 0, WATCH_CLEAR_PART, 1); /* part 0 misses both clears */
    publish(t, 0, WATCH_CLEAR_PART, 2);
    publish(t, 0, WATCH_WRITE, 3);
    write_comes(w, 1, 0);
    write_comes(w, 2, 0);
    nothing_comes(w);
    publish(t, 1, WATCH_CLEAR_PART, 1);
    publish(t, 2, WATCH_CLEAR, 1);
    comes(w, WATCH_CLEAR, &e);
    nothing_comes(w); /* part 0 is past the second clear, which would wipe out what comes */
    publish(t, 1, WATCH_CLEAR_PART, 2);
    publish(t, 2, WATCH_CLEAR, 2);
    comes(w, WATCH_CLEAR, &e);
    gap_comes(w, 3);
    publish(t, 0, WATCH_WRITE, 4);
    write_comes(w, 4, 0);
    nothing_comes(w);
    watcher_close(w);
}

Test(watch, a_part_of_a_clear_that_comes_too_late_is_a_gap) {
    struct table *t = create(2);
    struct watcher *w = watch(t, 0);

    publish(t, 0, WATCH_CLEAR_PART, 1);
    table_world_check(&world, t); /* the catalog was replaced, and does not know of part 1 */
    reader_enter(&world.reader);
    watch_table_clear(t);
    watch_table_cleared(t, false);
    reader_exit(&world.reader);
    gap_comes(w, 1);
    publish(t, 1, WATCH_CLEAR_PART, 1);
    publish(t, 1, WATCH_WRITE, 5);
    gap_comes(w, 1);
    write_comes(w, 5, 0);
    nothing_comes(w);
    watcher_close(w);
}

/* ---- the node ------------------------------------------------------------------------ */

Test(watch, the_system_hears_of_tables_and_of_what_it_is_told) {
    struct watch_hub *hub = catalog_watch(world.catalog);
    const struct watch_opts o = {0};
    struct watcher *w;
    struct watch_event e;

    watch_tell_state(hub, WATCH_DISC, "failed", "nobody listens");
    cr_assert_eq(watch_system(&w, hub, &o), EG_OK);
    create(1);
    comes(w, WATCH_SCHEMA, &e);
    cr_assert_str_eq(e.table, "t");
    watch_tell_state(hub, WATCH_DISC, "failed", "why");
    comes(w, WATCH_DISC, &e);
    cr_assert_str_eq(e.table, "");
    cr_assert_eq(value_count(e.details), 2u);
    nothing_comes(w);
    watcher_close(w);
}
