/* Whole tables, through their catalog, against a list of records.
 *
 * Every type and storage gets the same random operations: writes of all kinds, indexes
 * that come and go, records that expire, restarts.  The twin is a list that is
 * searched from its beginning, and obviously right. */
#include "tables/table_private.h"
#include "tables/table_walk.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    KEYS = 24,
    TWIN_MAX = 4096,
    RECORD_MAX = 160,
    ATTRIBUTES = 3,
    OPERATIONS = 1500,
    CHECK_EVERY = 100,
    RESTART_EVERY = 211,
    PURGED_MS = 250,
};

/* ---- the twin ------------------------------------------------------------------ */

struct twin_record {
    uint8_t bytes[RECORD_MAX];
    uint32_t size_bytes;
    uint64_t expiry_ms; /* 0: never */
};

struct model {
    struct table_world w;
    struct rng rng;
    uint64_t seed;
    const char *name;
    enum table_type type;
    enum table_storage storage;
    uint64_t ttl_ms; /* the table's */
    bool indexed[ATTRIBUTES];
    size_t count;
    struct twin_record records[TWIN_MAX];
};

static struct value twin_value(const struct twin_record *t) {
    return (struct value){t->bytes, t->size_bytes};
}

static struct value field(struct value record, uint32_t position) {
    struct value v;
    cr_assert(array_element(record, position, &v));
    return v;
}

static uint64_t now_ms(struct model *m) {
    return (uint64_t) env_wall_ms(&m->w.st->env);
}

static void twin_forget(struct model *m, size_t i) {
    m->records[i] = m->records[--m->count];
}

static void twin_expire(struct model *m) {
    for (size_t i = m->count; i-- > 0;)
        if (m->records[i].expiry_ms != 0 && m->records[i].expiry_ms <= now_ms(m))
            twin_forget(m, i);
}

/* The place of the first record of `key` at or after `from`; count: none. */
static size_t twin_find(const struct model *m, struct value key, size_t from) {
    while (from < m->count && !value_equal(field(twin_value(&m->records[from]), 0), key))
        from++;
    return from;
}

static size_t twin_find_object(const struct model *m, struct value record) {
    size_t i = 0;
    while (i < m->count && !value_equal(twin_value(&m->records[i]), record))
        i++;
    return i;
}

static void twin_write(struct model *m, struct value record, uint64_t expiry_ms) {
    size_t i =
        m->type == TABLE_BAG ? twin_find_object(m, record) : twin_find(m, field(record, 0), 0);
    struct twin_record *t = &m->records[i];

    cr_assert(i < TWIN_MAX && record.size_bytes <= RECORD_MAX);
    m->count += i == m->count;
    memcpy(t->bytes, record.at, record.size_bytes);
    t->size_bytes = record.size_bytes;
    t->expiry_ms = expiry_ms;
}

static void twin_delete(struct model *m, struct value key) {
    size_t i;
    while ((i = twin_find(m, key, 0)) < m->count)
        twin_forget(m, i);
}

/* ---- random requests ----------------------------------------------------------- */

struct made {
    uint8_t at[1024];
    struct value_writer w;
};

static struct value made_value(const struct made *b) {
    cr_assert(!b->w.overflow);
    return (struct value){b->at, (uint32_t) b->w.need_bytes};
}

static void made_begin(struct made *b) {
    b->w = value_writer_init(b->at, sizeof b->at);
}

/* Numbers in two encodings that are one key, and texts of many lengths. */
static void put_key(struct model *m, struct value_writer *w) {
    uint64_t n = rng_below(&m->rng, KEYS);
    char text[KEYS + 1];

    if (n % 3 == 0) {
        memset(text, 'k', n);
        text[n] = '\0';
        value_put_text(w, text);
    } else if (rng_one_in(&m->rng, 3)) {
        value_put_double(w, (double) n);
    } else {
        value_put_i64(w, (int64_t) n - 2);
    }
}

static void put_field(struct model *m, struct value_writer *w) {
    uint64_t n = rng_below(&m->rng, 8);

    if (n == 0)
        value_put_nil(w);
    else if (n == 1)
        value_put_text(w, "a text of some length, so that sizes differ");
    else if (n == 2)
        value_put_double(w, 1.5);
    else
        value_put_i64(w, (int64_t) n);
}

static void put_record(struct model *m, struct value_writer *w) {
    value_put_array(w, ATTRIBUTES);
    put_key(m, w);
    for (int i = 1; i < ATTRIBUTES; i++)
        put_field(m, w);
}

static struct value some_key(struct model *m, struct made *b) {
    made_begin(b);
    put_key(m, &b->w);
    return made_value(b);
}

static struct value some_record(struct model *m, struct made *b) {
    made_begin(b);
    put_record(m, &b->w);
    return made_value(b);
}

/* 0 mostly, else soon. */
static uint64_t some_ttl(struct model *m) {
    return rng_one_in(&m->rng, 4) ? 1 + rng_below(&m->rng, 400) : 0;
}

static uint64_t expiry_of(struct model *m, uint64_t ttl_ms) {
    if (ttl_ms == 0)
        ttl_ms = m->ttl_ms;
    return ttl_ms == 0 ? 0 : now_ms(m) + ttl_ms;
}

/* ---- what must agree ------------------------------------------------------------- */

static struct value answer_of(const struct model *m) {
    return (struct value){m->w.result.at, (uint32_t) m->w.result.size_bytes};
}

static struct table *table_of(struct model *m) {
    struct table *t = table_world_find(&m->w, m->name);
    cr_assert_not_null(t);
    return t;
}

static bool answer_has(struct value answer, struct value record) {
    struct value_iter it = value_iter_of(answer);
    struct value v;

    while (value_iter_next(&it, &v))
        if (value_equal(v, record))
            return true;
    return false;
}

#define AGREE(m, condition)                                                                        \
    cr_assert(condition, "EG_SEED=%llu, %s", (unsigned long long) (m)->seed, (m)->name)

/* What a read of one key answers. */
static void compare_key(struct model *m, struct table *t, struct value key) {
    size_t count = 0;
    struct key k;

    buffer_clear(&m->w.result);
    AGREE(m, table_key(t, &k, key) == EG_OK);
    AGREE(m, table_read(t, &m->w.reader, &k, &m->w.result) == EG_OK);
    key_release(&k);
    for (size_t i = 0; (i = twin_find(m, key, i)) < m->count; i++, count++)
        AGREE(m, answer_has(answer_of(m), twin_value(&m->records[i])));
    AGREE(m, value_count(answer_of(m)) == count);
}

static void compare_index(struct model *m, struct table *t, uint32_t position, struct value v) {
    const struct schema_name *name = &table_schema(t)->attributes[position];
    size_t count = 0;

    buffer_clear(&m->w.result);
    AGREE(m, table_index_read(t, &m->w.reader, name->text, name->size_bytes, v, &m->w.result,
                              NULL) == EG_OK);
    for (size_t i = 0; i < m->count; i++) {
        struct value record = twin_value(&m->records[i]);
        if (value_equal(field(record, position), v)) {
            AGREE(m, answer_has(answer_of(m), record));
            count++;
        }
    }
    AGREE(m, value_count(answer_of(m)) == count);
}

static void compare_walk(struct model *m, struct table *t) {
    const struct record *rec, *last = NULL;
    struct table_walk *walk;
    size_t count = 0;

    AGREE(m, table_walk_open(&walk, t, &m->w.reader, NULL, false, false) == EG_OK);
    while ((rec = table_walk_next(walk)) != NULL) {
        AGREE(m, twin_find_object(m, record_value(rec)) < m->count);
        if (last != NULL && m->type == TABLE_ORDERED_SET)
            AGREE(m, value_compare(record_key(last), record_key(rec)) < 0);
        last = rec;
        count++;
    }
    AGREE(m, count == m->count);
}

static void compare_all(struct model *m) {
    struct table *t;
    uint64_t size;

    reader_enter(&m->w.reader);
    t = table_of(m);
    table_world_check(&m->w, t);
    stepper_run_ms(m->w.st, PURGED_MS); /* rows and busy shards count what expired until a tick */
    twin_expire(m);
    size = table_size(t, &m->w.reader);
    AGREE(m, size == m->count || (m->storage == STORAGE_DISC_ONLY && size > m->count));
    compare_walk(m, t);
    for (size_t i = 0; i < m->count; i++) {
        compare_key(m, t, field(twin_value(&m->records[i]), 0));
        for (uint32_t position = 1; position < ATTRIBUTES; position++)
            if (m->indexed[position])
                compare_index(m, t, position, field(twin_value(&m->records[i]), position));
    }
    reader_exit(&m->w.reader);
}

/* ---- operations ------------------------------------------------------------------- */

static eg_err run(struct model *m, struct shard_request q) {
    return table_world_run(&m->w, table_of(m), &q);
}

static bool answer_is_true(const struct model *m) {
    bool yes;
    cr_assert(value_get_bool(answer_of(m), &yes));
    return yes;
}

static void do_write(struct model *m) {
    uint64_t ttl_ms = some_ttl(m), expiry_ms = expiry_of(m, ttl_ms);
    struct made b;
    struct value record = some_record(m, &b);

    AGREE(m, run(m, (struct shard_request){.op = SHARD_WRITE, .ttl_ms = ttl_ms, .value = record}) ==
                 EG_OK);
    twin_write(m, record, expiry_ms);
}

static void do_insert_new(struct model *m) {
    uint64_t expiry_ms = expiry_of(m, 0);
    struct made b;
    struct value record = some_record(m, &b);
    bool fresh;

    twin_expire(m);
    fresh = twin_find(m, field(record, 0), 0) == m->count;
    AGREE(m, run(m, (struct shard_request){.op = SHARD_INSERT_NEW, .value = record}) == EG_OK);
    AGREE(m, answer_is_true(m) == fresh);
    if (fresh)
        twin_write(m, record, expiry_ms);
}

static void do_delete(struct model *m) {
    struct made b;
    struct value key = some_key(m, &b);

    AGREE(m, run(m, (struct shard_request){.op = SHARD_DELETE, .key = key}) == EG_OK);
    twin_delete(m, key);
}

static void do_delete_object(struct model *m) {
    struct made b;
    struct value record = some_record(m, &b);
    struct twin_record copy;
    size_t i;

    if (m->count > 0 && !rng_one_in(&m->rng, 3)) {
        copy = m->records[rng_below(&m->rng, m->count)];
        record = twin_value(&copy);
    }
    AGREE(m, run(m, (struct shard_request){.op = SHARD_DELETE_OBJECT, .value = record}) == EG_OK);
    i = twin_find_object(m, record);
    if (i < m->count)
        twin_forget(m, i);
}

static void do_take(struct model *m) {
    size_t count = 0;
    struct made b;
    struct value key = some_key(m, &b);

    twin_expire(m);
    AGREE(m, run(m, (struct shard_request){.op = SHARD_TAKE, .key = key}) == EG_OK);
    for (size_t i = 0; (i = twin_find(m, key, i)) < m->count; i++, count++)
        AGREE(m, answer_has(answer_of(m), twin_value(&m->records[i])));
    AGREE(m, value_count(answer_of(m)) == count);
    twin_delete(m, key);
}

/* The record at `i` with one field changed, in the twin. */
static void twin_set_field(struct model *m, size_t i, uint32_t position, struct value v,
                           uint64_t expiry_ms) {
    struct value old = twin_value(&m->records[i]);
    struct made b;

    made_begin(&b);
    value_put_array(&b.w, ATTRIBUTES);
    for (uint32_t f = 0; f < ATTRIBUTES; f++)
        value_put_raw(&b.w, f == position ? v : field(old, f));
    twin_write(m, made_value(&b), expiry_ms);
}

static void do_update(struct model *m) {
    uint64_t ttl_ms = some_ttl(m), expiry_ms = expiry_of(m, ttl_ms);
    struct made b, changes, fresh;
    struct value key = some_key(m, &b);
    eg_err want = EG_OK;
    size_t i;

    twin_expire(m);
    made_begin(&fresh);
    put_field(m, &fresh.w);
    made_begin(&changes);
    value_put_map(&changes.w, 1);
    value_put_text(&changes.w, "b");
    value_put_raw(&changes.w, made_value(&fresh));
    i = twin_find(m, key, 0);
    if (m->type == TABLE_BAG)
        want = EG_BAD_REQUEST;
    else if (i == m->count)
        want = EG_NOT_FOUND;
    AGREE(m, run(m, (struct shard_request){.op = SHARD_UPDATE,
                                           .ttl_ms = ttl_ms,
                                           .key = key,
                                           .value = made_value(&changes)}) == want);
    if (want == EG_OK)
        twin_set_field(m, i, 2, made_value(&fresh),
                       ttl_ms != 0 ? expiry_ms : m->records[i].expiry_ms);
}

/* The field of the twin's counter plus `delta`, or false where it is no number. */
static bool add_to(struct value v, int64_t delta, struct value_writer *w) {
    int64_t n;
    double real;

    if (value_is_integer(v) && value_get_i64(v, &n)) {
        value_put_i64(w, n + delta);
        return true;
    }
    if (value_is_float(v) && value_get_double(v, &real)) {
        value_put_double(w, real + (double) delta);
        return true;
    }
    return false;
}

static void do_counter(struct model *m) {
    int64_t delta = (int64_t) rng_below(&m->rng, 7) - 3;
    struct made b, amount, sum;
    struct value key = some_key(m, &b);
    eg_err want = EG_OK;
    size_t i;

    twin_expire(m);
    made_begin(&amount);
    value_put_i64(&amount.w, delta);
    made_begin(&sum);
    i = twin_find(m, key, 0);
    if (m->type == TABLE_BAG)
        want = EG_BAD_REQUEST;
    else if (i == m->count)
        value_put_i64(&sum.w, delta);
    else if (!add_to(field(twin_value(&m->records[i]), 1), delta, &sum.w))
        want = EG_BAD_REQUEST;
    AGREE(m, run(m, (struct shard_request){.op = SHARD_COUNTER,
                                           .attribute = 1,
                                           .key = key,
                                           .value = made_value(&amount)}) == want);
    if (want != EG_OK)
        return;
    AGREE(m, value_equal(answer_of(m), made_value(&sum)));
    if (i < m->count) {
        twin_set_field(m, i, 1, made_value(&sum), m->records[i].expiry_ms);
        return;
    }
    made_begin(&amount);
    value_put_array(&amount.w, ATTRIBUTES);
    value_put_raw(&amount.w, key);
    value_put_raw(&amount.w, made_value(&sum));
    value_put_nil(&amount.w);
    twin_write(m, made_value(&amount), expiry_of(m, 0));
}

/* All of some records; or none, where one of them is none. */
static void do_write_many(struct model *m) {
    uint64_t ttl_ms = some_ttl(m), expiry_ms = expiry_of(m, ttl_ms);
    uint32_t count = (uint32_t) rng_below(&m->rng, 8);
    bool spoiled = rng_one_in(&m->rng, 4);
    struct value_iter it;
    struct value record;
    struct made b;

    made_begin(&b);
    value_put_array(&b.w, count + spoiled);
    for (uint32_t i = 0; i < count; i++)
        put_record(m, &b.w);
    if (spoiled)
        value_put_array(&b.w, 0);
    AGREE(m, table_world_write_many(&m->w, table_of(m), m->name, made_value(&b), ttl_ms) ==
                 (spoiled ? EG_BAD_RECORD : EG_OK));
    if (spoiled)
        return;
    it = value_iter_of(made_value(&b));
    while (value_iter_next(&it, &record))
        twin_write(m, record, expiry_ms);
}

static void do_index(struct model *m) {
    static const char *const names[ATTRIBUTES] = {"key", "a", "b"};
    uint32_t position = 1 + (uint32_t) rng_below(&m->rng, ATTRIBUTES - 1);
    bool add = rng_one_in(&m->rng, 2);
    eg_err want = m->indexed[position] == add ? (add ? EG_EXISTS : EG_NOT_FOUND) : EG_OK;
    struct made b;

    made_begin(&b);
    value_put_text(&b.w, names[position]);
    AGREE(m, table_world_ask(&m->w, add ? CATALOG_ADD_INDEX : CATALOG_DROP_INDEX, m->name,
                             made_value(&b)) == want);
    m->indexed[position] = add;
}

static void do_clear(struct model *m) {
    AGREE(m, table_world_ask(&m->w, CATALOG_CLEAR, m->name, (struct value){0}) == EG_OK);
    m->count = 0;
}

static void do_pass_time(struct model *m) {
    stepper_run_ms(m->w.st, rng_below(&m->rng, 150));
    twin_expire(m);
}

static void restart(struct model *m) {
    if (m->storage == STORAGE_RAM)
        return;
    AGREE(m, table_world_stop(&m->w) == EG_OK);
    disc_twin_restart(m->w.pump.twin);
    AGREE(m, table_world_start(&m->w) == EG_OK);
}

/* ---- the test ------------------------------------------------------------------------ */

static void step(struct model *m) {
    static void (*const often[])(struct model * m) = {do_write,         do_write,  do_insert_new,
                                                      do_delete,        do_update, do_counter,
                                                      do_delete_object, do_take,   do_write_many};
    uint64_t rare = rng_below(&m->rng, 120);

    if (rare < 3)
        do_index(m);
    else if (rare < 13)
        do_pass_time(m);
    else if (rare == 13)
        do_clear(m);
    else {
        reader_enter(&m->w.reader);
        often[rng_below(&m->rng, sizeof often / sizeof *often)](m);
        reader_exit(&m->w.reader);
    }
}

static void create(struct model *m, bool sync) {
    static const char *const types[] = {"set", "ordered_set", "bag"};
    static const char *const storages[] = {"ram", "disc", "disc_only"};
    struct made b;

    made_begin(&b);
    value_put_map(&b.w, 6);
    value_put_text(&b.w, "type");
    value_put_text(&b.w, types[m->type]);
    value_put_text(&b.w, "storage");
    value_put_text(&b.w, storages[m->storage]);
    value_put_text(&b.w, "attributes");
    value_put_array(&b.w, ATTRIBUTES);
    value_put_text(&b.w, "key");
    value_put_text(&b.w, "a");
    value_put_text(&b.w, "b");
    value_put_text(&b.w, "shards");
    value_put_u64(&b.w, 1 + rng_below(&m->rng, 4));
    value_put_text(&b.w, "durability");
    value_put_text(&b.w, sync ? "sync" : "async");
    value_put_text(&b.w, "ttl");
    if (m->ttl_ms == 0)
        value_put_nil(&b.w);
    else
        value_put_double(&b.w, (double) m->ttl_ms / 1000);
    AGREE(m, table_world_ask(&m->w, CATALOG_CREATE, m->name, made_value(&b)) == EG_OK);
}

static void live(enum table_type type, enum table_storage storage, uint64_t seed) {
    static struct model m;
    struct fail_alloc memory = fail_alloc_after(INT_MAX);

    m = (struct model){.seed = seed, .name = "t", .type = type, .storage = storage};
    m.rng = rng_of(seed + (uint64_t) type * 3 + storage);
    m.ttl_ms = rng_one_in(&m.rng, 3) ? 300 : 0;
    table_world_open(&m.w, &memory.base, seed);
    create(&m, storage != STORAGE_RAM && rng_one_in(&m.rng, 3));
    for (uint32_t i = 1; i <= OPERATIONS; i++) {
        step(&m);
        if (i % CHECK_EVERY == 0)
            compare_all(&m);
        if (i % RESTART_EVERY == 0)
            restart(&m);
    }
    AGREE(&m, table_world_stop(&m.w) == EG_OK);
    AGREE(&m, atomic_load(&m.w.budget.used_bytes) == 0);
    AGREE(&m, atomic_load(&memory.live) == 0);
    table_world_close(&m.w);
}

TestSuite(table_model, .timeout = 240);

static void live_all(enum table_storage storage) {
    uint64_t first = rng_test_seed(1);
    uint64_t seeds = rng_is_replay() ? 1 : 4;

    for (uint64_t seed = first; seed < first + seeds; seed++)
        for (enum table_type type = TABLE_SET; type <= TABLE_BAG; type++)
            live(type, storage, seed);
}

Test(table_model, ram_tables_do_what_a_list_does) {
    live_all(STORAGE_RAM);
}

Test(table_model, disc_tables_do_what_a_list_does_also_after_a_restart) {
    live_all(STORAGE_DISC);
}

Test(table_model, disc_only_tables_do_what_a_list_does_also_after_a_restart) {
    live_all(STORAGE_DISC_ONLY);
}
