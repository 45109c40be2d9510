/* disc_twin.c -- sorted arrays of counted rows, twice: as synced and as read.
 *
 * Rows never change and are counted, so that the two copies of a table and the
 * iterators over it share them; an iterator is simply a copy of the array of its
 * range.  Slow where tables are large and obviously right, as a twin should be. */
#include "tests/support/disc_twin.h"

#include "tests/support/rng.h"

#include <string.h>

struct row {
    uint32_t refs;
    uint32_t key_bytes, value_bytes;
    bool damaged;
    uint8_t bytes[];
};

struct rows {
    struct row **at;
    size_t count, room;
};

struct disc_table {
    struct disc_table *next;
    bool dropped;
    struct rows synced; /* what a crash leaves for certain */
    struct rows read;   /* with everything in the log too  */
    char name[DISC_NAME_BYTES_MAX + 1];
};

/* A batch written but not synced. */
struct log_entry {
    struct log_entry *next;
    struct disc_batch batch;
};

enum twin_state { TWIN_OPEN, TWIN_FULL, TWIN_SPENT, TWIN_FAILED };

struct disc_twin {
    struct disc base;
    struct alloc *alloc;
    struct rng rng;
    void (*wake)(void *ctx);
    void *ctx;
    struct disc_table meta;
    struct disc_table *tables;
    struct log_entry *log, **log_end;
    struct disc_request *queue, **queue_end;
    uint64_t queued_bytes;
    enum twin_state state;
    uint32_t fail_write, fail_sync; /* groups until then; 0: never */
    uint32_t behind_in;             /* direct writes until the disc is behind; 0: it is not */
    struct disc_stats stats;
};

static struct disc_twin *twin_of(struct disc *d) {
    return EG_CONTAINER_OF(d, struct disc_twin, base);
}

/* ---- rows --------------------------------------------------------------- */

static struct disc_bytes row_key(const struct row *r) {
    return (struct disc_bytes){r->bytes, r->key_bytes};
}
static struct disc_bytes row_value(const struct row *r) {
    return (struct disc_bytes){r->bytes + r->key_bytes, r->value_bytes};
}

static struct row *row_make(struct alloc *a, struct disc_bytes key, struct disc_bytes value) {
    struct row *r = alloc_get(a, sizeof *r + key.size_bytes + value.size_bytes);

    EG_ASSERT(r != NULL); /* the simulator starves engines of memory, not its own disc */
    *r = (struct row){1, (uint32_t) key.size_bytes, (uint32_t) value.size_bytes, false};
    if (key.size_bytes > 0)
        memcpy(r->bytes, key.at, key.size_bytes);
    if (value.size_bytes > 0)
        memcpy(r->bytes + key.size_bytes, value.at, value.size_bytes);
    return r;
}

static struct row *row_ref(struct row *r) {
    r->refs++;
    return r;
}

static void row_unref(struct alloc *a, struct row *r) {
    if (--r->refs == 0)
        alloc_put(a, r, sizeof *r + r->key_bytes + r->value_bytes);
}

static int bytes_compare(struct disc_bytes a, struct disc_bytes b) {
    size_t n = EG_MIN(a.size_bytes, b.size_bytes);
    int order = n == 0 ? 0 : memcmp(a.at, b.at, n);

    return order != 0 ? order : (a.size_bytes > b.size_bytes) - (a.size_bytes < b.size_bytes);
}

/* Position of the first row whose key is not below `key`. */
static size_t rows_find(const struct rows *rows, struct disc_bytes key) {
    size_t low = 0, high = rows->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(row_key(rows->at[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool rows_has(const struct rows *rows, size_t i, struct disc_bytes key) {
    return i < rows->count && bytes_compare(row_key(rows->at[i]), key) == 0;
}

static void rows_put(struct rows *rows, struct alloc *a, struct row *fresh) {
    size_t i = rows_find(rows, row_key(fresh));

    if (rows_has(rows, i, row_key(fresh))) {
        row_unref(a, rows->at[i]);
        rows->at[i] = fresh;
        return;
    }
    if (rows->count == rows->room) {
        size_t room = EG_MAX(rows->room * 2, (size_t) 16);
        struct row **at = alloc_resize(a, rows->at, rows->room * sizeof *at, room * sizeof *at);
        EG_ASSERT(at != NULL);
        rows->at = at;
        rows->room = room;
    }
    memmove(rows->at + i + 1, rows->at + i, (rows->count - i) * sizeof *rows->at);
    rows->at[i] = fresh;
    rows->count++;
}

static void rows_del(struct rows *rows, struct alloc *a, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        row_unref(a, rows->at[i]);
    if (from < to) {
        memmove(rows->at + from, rows->at + to, (rows->count - to) * sizeof *rows->at);
        rows->count -= to - from;
    }
}

static void rows_fini(struct rows *rows, struct alloc *a) {
    rows_del(rows, a, 0, rows->count);
    alloc_put(a, rows->at, rows->room * sizeof *rows->at);
    *rows = (struct rows){0};
}

/* A copy of rows [from, to). */
static struct rows rows_copy(const struct rows *rows, struct alloc *a, size_t from, size_t to) {
    struct rows copy = {NULL, to > from ? to - from : 0, to > from ? to - from : 0};

    if (copy.count == 0)
        return copy;
    copy.at = alloc_get(a, copy.count * sizeof *copy.at);
    EG_ASSERT(copy.at != NULL);
    for (size_t i = 0; i < copy.count; i++)
        copy.at[i] = row_ref(rows->at[from + i]);
    return copy;
}

static void rows_apply(struct rows *rows, struct alloc *a, const struct disc_change *c) {
    struct disc_bytes key = disc_change_key(c);
    size_t i = rows_find(rows, key);

    switch ((enum disc_change_kind) c->kind) {
    case DISC_PUT:
        rows_put(rows, a, row_make(a, key, disc_change_value(c)));
        break;
    case DISC_DEL:
        rows_del(rows, a, i, i + rows_has(rows, i, key));
        break;
    case DISC_DEL_RANGE:
        rows_del(rows, a, i, EG_MAX(i, rows_find(rows, disc_change_value(c))));
        break;
    }
}

/* ---- log and tables ----------------------------------------------------- */

static void log_append(struct disc_twin *t, const struct disc_batch *b) {
    struct log_entry *e = alloc_zero(t->alloc, sizeof *e);

    EG_ASSERT(e != NULL);
    disc_batch_init(&e->batch, t->alloc);
    if (b->used_bytes > 0) {
        e->batch.at = alloc_get(t->alloc, b->used_bytes);
        EG_ASSERT(e->batch.at != NULL);
        memcpy(e->batch.at, b->at, b->used_bytes);
    }
    e->batch.used_bytes = e->batch.room_bytes = b->used_bytes;
    e->batch.count = b->count;
    *t->log_end = e;
    t->log_end = &e->next;
}

static void batch_apply(struct disc_twin *t, const struct disc_batch *b, bool synced) {
    const struct disc_change *c = NULL;

    while ((c = disc_batch_next(b, c)) != NULL)
        rows_apply(synced ? &c->table->synced : &c->table->read, t->alloc, c);
}

/* Make the oldest `count` entries of the log durable and forget the others. */
static void log_settle(struct disc_twin *t, uint64_t count) {
    while (t->log != NULL) {
        struct log_entry *e = t->log;
        t->log = e->next;
        if (count > 0) {
            batch_apply(t, &e->batch, true);
            count--;
        }
        disc_batch_fini(&e->batch);
        alloc_put(t->alloc, e, sizeof *e);
    }
    t->log_end = &t->log;
}

static void table_free(struct disc_twin *t, struct disc_table *table) {
    struct disc_table **at = &t->tables;

    while (*at != table)
        at = &(*at)->next;
    *at = table->next;
    rows_fini(&table->synced, t->alloc);
    rows_fini(&table->read, t->alloc);
    alloc_put(t->alloc, table, sizeof *table);
}

static struct disc_table *table_find(struct disc_twin *t, const char *name) {
    struct disc_table *table;

    for (table = t->tables; table != NULL; table = table->next)
        if (!table->dropped && strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

/* Put (or, without `schema`, remove) a table's schema, durably. */
static void schema_set(struct disc_twin *t, const char *name, const struct disc_bytes *schema) {
    char buffer[DISC_NAME_BYTES_MAX + 2];
    struct disc_bytes key;
    struct disc_batch b;

    EG_ASSERT(disc_schema_key(buffer, sizeof buffer, name, &key) == EG_OK);
    disc_batch_init(&b, t->alloc);
    if (schema != NULL)
        EG_ASSERT(disc_batch_put(&b, &t->meta, key, *schema) == EG_OK);
    else
        EG_ASSERT(disc_batch_del(&b, &t->meta, key) == EG_OK);
    log_append(t, &b);
    batch_apply(t, &b, false);
    disc_batch_fini(&b);
    log_settle(t, UINT64_MAX);
}

/* ---- requests ----------------------------------------------------------- */

/* True where this group is to fail now. */
static bool fails_now(uint32_t *countdown) {
    return *countdown > 0 && --*countdown == 0;
}

/* A full disc takes what may use its reserve. */
static bool takes(const struct disc_twin *t, const struct disc_request *q) {
    return t->state == TWIN_OPEN ||
           (t->state == TWIN_FULL && (q->reserved || q->kind == DISC_DROP));
}

static eg_err twin_write(struct disc *d, const struct disc_batch *b) {
    struct disc_twin *t = twin_of(d);

    if (t->state >= TWIN_SPENT) {
        t->stats.refused++;
        return EG_DISC;
    }
    if (fails_now(&t->fail_write)) {
        t->state = TWIN_FAILED;
        t->stats.refused++;
        return EG_DISC;
    }
    if (t->behind_in > 1) {
        t->behind_in--;
    } else if (t->behind_in == 1 && !b->patient) {
        t->stats.refused++;
        return EG_BUSY;
    }
    log_append(t, b);
    batch_apply(t, b, false);
    t->stats.written_bytes += b->used_bytes;
    return EG_OK;
}

static eg_err table_change(struct disc_twin *t, struct disc_request *q) {
    struct disc_table *table;

    if (!takes(t, q))
        return EG_DISC;
    if (q->kind == DISC_DROP) {
        EG_ASSERT(!q->table->dropped);
        q->table->dropped = true;
        schema_set(t, q->table->name, NULL);
        return EG_OK;
    }
    if (q->name[0] == '\0' || strlen(q->name) > DISC_NAME_BYTES_MAX)
        return EG_BAD_REQUEST;
    if (table_find(t, q->name) != NULL)
        return EG_EXISTS;
    table = alloc_zero(t->alloc, sizeof *table);
    if (table == NULL)
        return EG_MEMORY;
    memcpy(table->name, q->name, strlen(q->name));
    table->next = t->tables;
    t->tables = table;
    if (q->schema.size_bytes > 0)
        schema_set(t, q->name, &q->schema);
    q->table = table;
    return EG_OK;
}

static size_t request_bytes(const struct disc_request *q) {
    return 64 + q->schema.size_bytes + (q->kind == DISC_WRITE ? q->batch->used_bytes : 0);
}

static void request_done(struct disc_twin *t, struct disc_request *q, eg_err err) {
    t->queued_bytes -= request_bytes(q);
    t->stats.requests++;
    t->stats.refused += err != EG_OK;
    q->done(q, err);
}

/* Write the requests from `q` on that are writes, as one group; returns the rest. */
static struct disc_request *group_run(struct disc_twin *t, struct disc_request *q) {
    struct disc_request *first = q, *end;
    eg_err err = takes(t, q) ? EG_OK : EG_DISC;
    bool sync = false;

    for (end = first; end != NULL && end->kind == DISC_WRITE && takes(t, end) == takes(t, first);
         end = end->next)
        sync |= end->sync;
    if (err == EG_OK && fails_now(&t->fail_write))
        err = EG_DISC, t->state = TWIN_FAILED;
    for (q = first; q != end && err == EG_OK; q = q->next)
        log_append(t, q->batch);
    if (err == EG_OK && sync && fails_now(&t->fail_sync))
        err = EG_DISC, t->state = TWIN_FAILED;
    for (q = first; q != end && err == EG_OK; q = q->next)
        batch_apply(t, q->batch, false);
    if (err == EG_OK && sync)
        log_settle(t, UINT64_MAX);
    t->stats.writes += err == EG_OK;
    t->stats.syncs += err == EG_OK && sync;
    for (q = first; q != end;) {
        struct disc_request *next = q->next;
        request_done(t, q, err);
        q = next;
    }
    return end;
}

void disc_twin_run(struct disc_twin *t) {
    struct disc_request *q = t->queue;

    t->queue = NULL; /* done() may submit again: that waits for the next run */
    t->queue_end = &t->queue;
    while (q != NULL) {
        if (q->kind == DISC_WRITE) {
            q = group_run(t, q);
        } else {
            struct disc_request *next = q->next;
            request_done(t, q, table_change(t, q));
            q = next;
        }
    }
}

static eg_err twin_submit(struct disc *d, struct disc_request *q) {
    struct disc_twin *t = twin_of(d);
    size_t bytes = request_bytes(q);
    bool was_empty = t->queue == NULL;
    eg_err err = EG_OK;

    if (bytes > DISC_QUEUE_BYTES_MAX)
        err = EG_TOO_LARGE;
    else if (!takes(t, q))
        err = EG_DISC;
    else if (t->queued_bytes + bytes > DISC_QUEUE_BYTES_MAX)
        err = EG_BUSY;
    if (err != EG_OK) {
        t->stats.refused++;
        return err;
    }
    t->queued_bytes += bytes;
    t->stats.queued_bytes_max = EG_MAX(t->stats.queued_bytes_max, t->queued_bytes);
    q->next = NULL;
    *t->queue_end = q;
    t->queue_end = &q->next;
    if (was_empty && t->wake != NULL)
        t->wake(t->ctx);
    return EG_OK;
}

/* ---- reading ------------------------------------------------------------ */

static eg_err twin_get(struct disc *d, struct disc_table *table, struct disc_bytes key,
                       struct disc_slice *out) {
    size_t i = rows_find(&table->read, key);

    (void) d; /* the table has it all */
    if (!rows_has(&table->read, i, key))
        return EG_NOT_FOUND;
    if (table->read.at[i]->damaged)
        return EG_CORRUPT;
    out->pin = row_ref(table->read.at[i]);
    out->bytes = row_value(out->pin);
    return EG_OK;
}

static void twin_release(struct disc *d, struct disc_slice *s) {
    row_unref(twin_of(d)->alloc, s->pin);
    s->pin = NULL;
}

struct twin_iter {
    struct disc_iter base;
    struct alloc *alloc;
    struct rows rows; /* of the range, as they were */
    size_t at;        /* count: past the end        */
};

static void iter_show(struct twin_iter *it, size_t at) {
    struct disc_iter *b = &it->base;

    it->at = at;
    b->err = EG_OK;
    b->valid = at < it->rows.count;
    if (b->valid && it->rows.at[at]->damaged) {
        b->valid = false;
        b->err = EG_CORRUPT;
    }
    if (b->valid) {
        b->key = row_key(it->rows.at[at]);
        b->value = row_value(it->rows.at[at]);
    }
}

static void iter_seek(struct disc_iter *b, struct disc_bytes key) {
    struct twin_iter *it = EG_CONTAINER_OF(b, struct twin_iter, base);
    iter_show(it, key.size_bytes == 0 ? 0 : rows_find(&it->rows, key));
}

static void iter_seek_back(struct disc_iter *b, struct disc_bytes key) {
    struct twin_iter *it = EG_CONTAINER_OF(b, struct twin_iter, base);
    size_t i = key.size_bytes == 0 ? it->rows.count : rows_find(&it->rows, key);

    if (key.size_bytes > 0 && rows_has(&it->rows, i, key))
        i++;
    iter_show(it, i == 0 ? it->rows.count : i - 1);
}

static void iter_next(struct disc_iter *b) {
    struct twin_iter *it = EG_CONTAINER_OF(b, struct twin_iter, base);

    EG_ASSERT(b->valid);
    iter_show(it, it->at + 1);
}

static void iter_prev(struct disc_iter *b) {
    struct twin_iter *it = EG_CONTAINER_OF(b, struct twin_iter, base);

    EG_ASSERT(b->valid);
    iter_show(it, it->at == 0 ? it->rows.count : it->at - 1);
}

static void iter_close(struct disc_iter *b) {
    struct twin_iter *it = EG_CONTAINER_OF(b, struct twin_iter, base);

    rows_fini(&it->rows, it->alloc);
    alloc_put(it->alloc, it, sizeof *it);
}

static const struct disc_iter_ops twin_iter_ops = {iter_seek, iter_seek_back, iter_next, iter_prev,
                                                   iter_close};

static eg_err twin_iter_open(struct disc *d, struct disc_table *table,
                             const struct disc_range *range, struct disc_iter **out) {
    struct disc_twin *t = twin_of(d);
    const struct rows *rows = &table->read;
    size_t from = 0, to = rows->count;
    struct twin_iter *it = alloc_zero(t->alloc, sizeof *it);

    if (it == NULL)
        return EG_MEMORY;
    if (range != NULL && range->from.size_bytes > 0)
        from = rows_find(rows, range->from);
    if (range != NULL && range->to.size_bytes > 0)
        to = rows_find(rows, range->to);
    it->base.ops = &twin_iter_ops;
    it->alloc = t->alloc;
    it->rows = rows_copy(rows, t->alloc, from, to);
    *out = &it->base;
    return EG_OK;
}

static eg_err twin_tables(struct disc *d, disc_table_fn fn, void *ctx) {
    struct disc_twin *t = twin_of(d);

    for (size_t i = 0; i < t->meta.read.count; i++) {
        const struct row *r = t->meta.read.at[i];
        char name[DISC_NAME_BYTES_MAX + 1] = "";

        if (r->bytes[0] != DISC_META_SCHEMA)
            continue;
        memcpy(name, r->bytes + 1, r->key_bytes - 1);
        fn(ctx, name, table_find(t, name), row_value(r));
    }
    return EG_OK;
}

static void twin_forget(struct disc *d, struct disc_table *table) {
    EG_ASSERT(table->dropped);
    table_free(twin_of(d), table);
}

static eg_err twin_health(struct disc *d, struct err_note *note) {
    struct disc_twin *t = twin_of(d);

    if (t->state == TWIN_OPEN)
        return EG_OK;
    return err_note(note, EG_DISC, "%s",
                    t->state == TWIN_FAILED ? "the disc failed" : "no space left on the disc");
}

static eg_err twin_yields(struct disc *d, struct err_note *note) {
    return twin_of(d)->state == TWIN_FULL ? EG_OK : twin_health(d, note);
}

static struct disc_stats twin_stats(struct disc *d) {
    struct disc_stats s = twin_of(d)->stats;

    s.queued_bytes = twin_of(d)->queued_bytes;
    return s;
}

/* ---- life and death ----------------------------------------------------- */

/* One without is what a create, a drop or a change left unfinished. */
static bool has_schema(const struct disc_twin *t, const char *name) {
    char buffer[DISC_NAME_BYTES_MAX + 2];
    struct disc_bytes key;

    EG_ASSERT(disc_schema_key(buffer, sizeof buffer, name, &key) == EG_OK);
    return rows_has(&t->meta.synced, rows_find(&t->meta.synced, key), key);
}

/* Start again from what is synced. */
static void twin_reopen(struct disc_twin *t) {
    struct disc_table *table, *next;

    t->queue = NULL;
    t->queue_end = &t->queue;
    t->queued_bytes = 0;
    t->state = TWIN_OPEN;
    t->fail_write = t->fail_sync = 0;
    for (table = t->tables; table != NULL; table = next) {
        next = table->next;
        if (table->dropped || !has_schema(t, table->name))
            table_free(t, table);
    }
    for (table = t->tables; table != NULL; table = table->next) {
        rows_fini(&table->read, t->alloc);
        table->read = rows_copy(&table->synced, t->alloc, 0, table->synced.count);
    }
    rows_fini(&t->meta.read, t->alloc);
    t->meta.read = rows_copy(&t->meta.synced, t->alloc, 0, t->meta.synced.count);
}

uint64_t disc_twin_unsynced(const struct disc_twin *t) {
    uint64_t count = 0;

    for (const struct log_entry *e = t->log; e != NULL; e = e->next)
        count++;
    return count;
}

void disc_twin_crash_keeping(struct disc_twin *t, uint64_t count) {
    EG_ASSERT(count <= disc_twin_unsynced(t));
    log_settle(t, count);
    twin_reopen(t);
}

void disc_twin_crash(struct disc_twin *t) {
    disc_twin_crash_keeping(t, rng_below(&t->rng, disc_twin_unsynced(t) + 1));
}

void disc_twin_restart(struct disc_twin *t) {
    disc_twin_run(t);
    log_settle(t, UINT64_MAX);
    twin_reopen(t);
}

static void twin_close(struct disc *d) {
    struct disc_twin *t = twin_of(d);

    disc_twin_run(t);
    log_settle(t, 0);
    while (t->tables != NULL)
        table_free(t, t->tables);
    rows_fini(&t->meta.synced, t->alloc);
    rows_fini(&t->meta.read, t->alloc);
    alloc_put(t->alloc, t, sizeof *t);
}

static const struct disc_ops twin_ops = {
    .submit = twin_submit,
    .write = twin_write,
    .get = twin_get,
    .release = twin_release,
    .iter_open = twin_iter_open,
    .tables = twin_tables,
    .forget = twin_forget,
    .health = twin_health,
    .yields = twin_yields,
    .stats = twin_stats,
    .close = twin_close,
};

eg_err disc_twin_open(struct disc_twin **out, const struct disc_twin_opts *o) {
    struct disc_twin *t = alloc_zero(o->alloc, sizeof *t);

    if (t == NULL)
        return EG_MEMORY;
    t->base = (struct disc){&twin_ops, &t->meta};
    t->alloc = o->alloc;
    t->rng = rng_of(o->seed);
    t->wake = o->wake;
    t->ctx = o->ctx;
    t->log_end = &t->log;
    t->queue_end = &t->queue;
    *out = t;
    return EG_OK;
}

eg_err disc_twin_copy(struct disc_twin **out, const struct disc_twin *t) {
    const struct disc_twin_opts o = {t->alloc, 0, t->wake, t->ctx};
    struct disc_twin *copy;
    eg_err err = disc_twin_open(&copy, &o);

    if (err != EG_OK)
        return err;
    copy->rng = t->rng;
    copy->meta.synced = rows_copy(&t->meta.read, t->alloc, 0, t->meta.read.count);
    copy->meta.read = rows_copy(&t->meta.read, t->alloc, 0, t->meta.read.count);
    for (const struct disc_table *from = t->tables; from != NULL; from = from->next) {
        struct disc_table *table = from->dropped ? NULL : alloc_zero(t->alloc, sizeof *table);

        if (table == NULL)
            continue;
        memcpy(table->name, from->name, sizeof table->name);
        table->synced = rows_copy(&from->read, t->alloc, 0, from->read.count);
        table->read = rows_copy(&from->read, t->alloc, 0, from->read.count);
        table->next = copy->tables;
        copy->tables = table;
    }
    *out = copy;
    return EG_OK;
}

struct disc *disc_twin_disc(struct disc_twin *t) {
    return &t->base;
}

void disc_twin_run_if_twin(struct disc *d) {
    if (d->ops == &twin_ops)
        disc_twin_run(twin_of(d));
}

void disc_twin_fail_write(struct disc_twin *t, uint32_t nth) {
    t->fail_write = nth;
}

void disc_twin_fail_sync(struct disc_twin *t, uint32_t nth) {
    t->fail_sync = nth;
}

void disc_twin_set_behind(struct disc_twin *t, uint32_t nth) {
    t->behind_in = nth;
}

void disc_twin_set_full(struct disc_twin *t, bool full) {
    if (t->state != TWIN_FAILED)
        t->state = full ? TWIN_FULL : TWIN_OPEN;
}

void disc_twin_set_spent(struct disc_twin *t, bool spent) {
    if (t->state != TWIN_FAILED)
        t->state = spent ? TWIN_SPENT : TWIN_OPEN;
}

void disc_twin_damage(struct disc_twin *t, struct disc_table *table, struct disc_bytes key) {
    struct rows *both[] = {&table->synced, &table->read};

    for (size_t i = 0; i < EG_COUNTOF(both); i++) {
        size_t at = rows_find(both[i], key);
        if (rows_has(both[i], at, key))
            both[i]->at[at]->damaged = true;
    }
    (void) t; /* rows need no more than their table */
}
