/* Goal: a write is refused if and only if another record has its value; and whatever
 * prefix of what reached the disc a kill leaves, no value stands in it twice.  Method:
 * random writes, alone and many at once, into tables of every storage, against a list; between
 * the catalog and the disc twin stands a listener that repeats each batch on rows of its
 * own as the disc takes it, and looks at them after each. */
#include "tables/disc_record.h"
#include "tables/table_private.h"
#include "tests/support/rng.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    KEYS = 40,
    VALUES = 16,
    OPERATIONS = 3000,
    ROW_KEY_MAX = 64,
    ROWS_MAX = 64,
    FLIGHTS_MAX = 8
};

enum { NO_RECORD = -2, NO_VALUE = -1 };

static struct trial {
    uint64_t seed;
    struct rng rng;
    struct table_world w;
    int value[KEYS]; /* of each key's record */
    bool bag;

    /* What the disc has. */
    const struct disc_ops *under;
    struct disc_ops ops;
    uint32_t rows;
    struct row {
        uint8_t key[ROW_KEY_MAX];
        size_t key_bytes;
        int value;
    } row[ROWS_MAX];
    struct flight {
        struct disc_request *request;
        void (*done)(struct disc_request *q, eg_err err);
    } flight[FLIGHTS_MAX];
    uint64_t batches;
} t;

/* ---- the listener ------------------------------------------------------------------ */

static int value_in(struct disc_bytes row) {
    struct disc_record rec;
    struct value v;
    int64_t n;

    cr_assert_eq(disc_record_read(&rec, row, 2), EG_OK);
    cr_assert(array_element(rec.array, 1, &v));
    return value_get_i64(v, &n) ? (int) n : NO_VALUE;
}

static void apply_one(const struct disc_change *c) {
    struct disc_bytes key = disc_change_key(c);
    uint32_t i = 0;

    if (c->kind == DISC_DEL_RANGE || key.size_bytes < DISC_PREFIX_BYTES ||
        key.at[DISC_PREFIX_BYTES - 1] != DISC_ROW_RECORD)
        return;
    cr_assert(key.size_bytes <= ROW_KEY_MAX);
    while (i < t.rows && !(t.row[i].key_bytes == key.size_bytes &&
                           memcmp(t.row[i].key, key.at, key.size_bytes) == 0))
        i++;
    if (c->kind == DISC_DEL) {
        if (i < t.rows)
            t.row[i] = t.row[--t.rows];
        return;
    }
    cr_assert(i < ROWS_MAX);
    t.rows += i == t.rows;
    memcpy(t.row[i].key, key.at, key.size_bytes);
    t.row[i].key_bytes = key.size_bytes;
    t.row[i].value = value_in(disc_change_value(c));
}

static void apply(const struct disc_batch *b) {
    const struct disc_change *c = NULL;
    uint32_t seen[VALUES] = {0};

    while ((c = disc_batch_next(b, c)) != NULL)
        apply_one(c);
    t.batches++;
    for (uint32_t i = 0; i < t.rows; i++)
        if (t.row[i].value >= 0)
            cr_assert_eq(
                ++seen[t.row[i].value], 1, "EG_SEED=%llu: after batch %llu the disc has %d twice",
                (unsigned long long) t.seed, (unsigned long long) t.batches, t.row[i].value);
}

static bool is_rows(const struct disc_batch *b) {
    return b != NULL && b->count != 0;
}

static void done(struct disc_request *q, eg_err err) {
    struct flight *f = t.flight;

    while (f->request != q)
        f++;
    f->request = NULL;
    if (err == EG_OK && q->kind == DISC_WRITE && is_rows(q->batch))
        apply(q->batch);
    f->done(q, err);
}

static eg_err submit(struct disc *d, struct disc_request *q) {
    struct flight *f = t.flight;
    eg_err err;

    while (f->request != NULL)
        cr_assert(++f < t.flight + FLIGHTS_MAX);
    *f = (struct flight){q, q->done};
    q->done = done;
    err = t.under->submit(d, q);
    if (err != EG_OK) {
        q->done = f->done;
        f->request = NULL;
    }
    return err;
}

static eg_err write_through(struct disc *d, const struct disc_batch *b) {
    /* A disc_only table refuses the write; a disc table lets it wait. */
    bool behind = t.seed % 4 != 1 && rng_one_in(&t.rng, 50);
    eg_err err = behind ? EG_BUSY : t.under->write(d, b);

    if (err == EG_OK)
        apply(b);
    return err;
}

static void listen(void) {
    struct disc *d = disc_twin_disc(t.w.pump.twin);

    t.under = d->ops;
    t.ops = *d->ops;
    t.ops.submit = submit;
    t.ops.write = write_through;
    d->ops = &t.ops;
}

/* ---- writes -------------------------------------------------------------------------- */

struct made {
    uint8_t at[256];
    struct value_writer w;
};

static struct value made_value(const struct made *b) {
    return (struct value){b->at, (uint32_t) b->w.need_bytes};
}

static void put_record(struct made *b, int key, int value) {
    value_put_array(&b->w, 2);
    value_put_i64(&b->w, key);
    if (value == NO_VALUE)
        value_put_nil(&b->w);
    else
        value_put_i64(&b->w, value);
}

static bool is_taken(const int *values, int key, int value) {
    for (int k = 0; k < KEYS; k++)
        if (value >= 0 && k != key && values[k] == value)
            return true;
    return false;
}

static int some_value(void) {
    return (int) rng_below(&t.rng, VALUES + 1) - 1;
}

static bool is_busy(eg_err err) {
    return err == EG_BUSY; /* the disc would not take it: nothing changed */
}

static void write_one(struct table *table) {
    struct made b = {.w = value_writer_init(b.at, sizeof b.at)};
    int key = (int) rng_below(&t.rng, KEYS), value = some_value();
    bool taken = is_taken(t.value, key, value);
    struct shard_request q = {.op = SHARD_WRITE};
    eg_err err;

    put_record(&b, key, value);
    q.value = made_value(&b);
    err = table_world_run(&t.w, table, &q);
    if (is_busy(err))
        return;
    cr_assert_eq(err, taken ? EG_EXISTS : EG_OK, "EG_SEED=%llu: %s", (unsigned long long) t.seed,
                 eg_err_text(err));
    if (!taken)
        t.value[key] = value;
}

static void remove_one(struct table *table) {
    struct made b = {.w = value_writer_init(b.at, sizeof b.at)};
    int key = (int) rng_below(&t.rng, KEYS);
    struct shard_request q = {.op = SHARD_DELETE};
    eg_err err;

    value_put_i64(&b.w, key);
    q.key = made_value(&b);
    err = table_world_run(&t.w, table, &q);
    if (is_busy(err))
        return;
    cr_assert_eq(err, EG_OK);
    t.value[key] = NO_RECORD;
}

static void write_some(struct table *table) {
    struct made b = {.w = value_writer_init(b.at, sizeof b.at)};
    uint32_t count = 1 + (uint32_t) rng_below(&t.rng, 6);
    int after[KEYS];
    bool taken = false;
    eg_err err;

    memcpy(after, t.value, sizeof after);
    value_put_array(&b.w, count);
    while (count-- > 0) {
        int key = (int) rng_below(&t.rng, KEYS), value = some_value();

        put_record(&b, key, value);
        taken |= is_taken(after, key, value);
        after[key] = value;
    }
    err = table_world_write_many(&t.w, table, "t", made_value(&b), 0);
    if (is_busy(err))
        return;
    cr_assert_eq(err, taken ? EG_EXISTS : EG_OK, "EG_SEED=%llu: %s", (unsigned long long) t.seed,
                 eg_err_text(err));
    if (!taken)
        memcpy(t.value, after, sizeof after);
}

static void check_all(struct table *table) {
    for (int i = 0; i < KEYS; i++) {
        struct made b = {.w = value_writer_init(b.at, sizeof b.at)};
        const struct record *rec;
        int64_t n = NO_VALUE;
        struct key k;

        value_put_i64(&b.w, i);
        cr_assert_eq(table_key(table, &k, made_value(&b)), EG_OK);
        rec = table_get(table, &t.w.reader, &k);
        key_release(&k);
        if (rec != NULL && !value_get_i64(record_field(rec, 1), &n))
            n = NO_VALUE;
        cr_assert_eq(rec == NULL ? NO_RECORD : (int) n, t.value[i], "EG_SEED=%llu: key %d",
                     (unsigned long long) t.seed, i);
    }
    table_world_check(&t.w, table);
}

/* ---- trials ------------------------------------------------------------------------------ */

static struct value options(struct made *b, uint64_t seed) {
    static const char *const storages[] = {"disc", "disc_only", "ram", "disc"};

    b->w = value_writer_init(b->at, sizeof b->at);
    value_put_map(&b->w, 5);
    value_put_text(&b->w, "type");
    value_put_text(&b->w, seed / 4 % 2 == 0 ? "set" : "ordered_set");
    value_put_text(&b->w, "storage");
    value_put_text(&b->w, storages[seed % 4]);
    value_put_text(&b->w, "durability");
    value_put_text(&b->w, seed % 4 == 3 ? "sync" : "async");
    value_put_text(&b->w, "shards");
    value_put_u64(&b->w, 4);
    value_put_text(&b->w, "index");
    value_put_array(&b->w, 1);
    value_put_map(&b->w, 2);
    value_put_text(&b->w, "on");
    value_put_text(&b->w, "value");
    value_put_text(&b->w, "unique");
    value_put_bool(&b->w, true);
    return made_value(b);
}

static void trial(uint64_t seed) {
    struct made b;

    memset(&t, 0, sizeof t);
    t.seed = seed;
    t.rng = rng_of(seed);
    for (int i = 0; i < KEYS; i++)
        t.value[i] = NO_RECORD;
    table_world_open(&t.w, alloc_system(), seed);
    listen();
    cr_assert_eq(table_world_ask(&t.w, CATALOG_CREATE, "t", options(&b, seed)), EG_OK, "%s",
                 t.w.note.text);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        struct table *table;
        uint64_t dice = rng_below(&t.rng, 10);

        if (rng_one_in(&t.rng, 3))
            stepper_run_ms(t.w.st, rng_below(&t.rng, 4));
        reader_enter(&t.w.reader);
        table = table_world_find(&t.w, "t");
        if (dice < 6)
            write_one(table);
        else if (dice < 8)
            write_some(table);
        else
            remove_one(table);
        if (i % 100 == 0)
            check_all(table);
        reader_exit(&t.w.reader);
    }
    cr_assert(seed % 4 == 2 || t.batches > OPERATIONS / 4);
    table_world_close(&t.w);
}

Test(unique_model, a_value_is_one_records_alone_on_disc_too, .timeout = 240) {
    uint64_t first = rng_test_seed(1);

    for (uint64_t seed = first; seed < first + (rng_is_replay() ? 1 : 16); seed++)
        trial(seed);
}
