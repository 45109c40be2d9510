/* store_disc.c -- a shard whose records are rows on disc, and nothing in memory.
 *
 * Every change is written on the owner's thread (disc_write), so that the next
 * read, on any thread, finds it; making it durable is the shard's to ask.  What
 * reads return is copied into the reader's scratch memory.
 *
 * A scan holds no iterator between calls: an iterator pins files, and a cursor
 * has no close.  It reads rows a page at a time, larger as it goes on, and seeks
 * again behind the last.  Each page is one moment; pages are not.  Two pages take
 * turns in the same memory, so that a scan of any length takes no more of it.
 *
 * Faults     A read that meets a damaged row or block returns NULL and leaves the
 *            reason in the reader (reader_fault); whoever answers must look there,
 *            for the record is not absent.
 * Memory     put() takes the record over and retires it: its row is the record. */
#include "tables/disc_record.h"
#include "tables/index_spec.h"
#include "tables/reader.h"
#include "tables/store.h"

#include <stdatomic.h>
#include <string.h>

enum {
    ROW_KEY_BYTES = 256,     /* on the stack; longer keys take scratch memory */
    PAGE_RECORDS_FIRST = 8,  /* first, next and reads of a bag want but a few */
    PAGE_RECORDS_MAX = 256,  /* one seek, some microseconds, for so many      */
    PAGE_RECORD_BYTES = 512, /* larger records: fewer to the page, but one    */
    PAGE_ALIGN = 8,
};

struct store_disc {
    struct store base;
    struct alloc *alloc;
    struct slab *slab;
    struct epoch_bin *bin;
    struct disc *disc;
    struct disc_table *table;
    uint32_t shard;
    struct disc_batch batch; /* the owner's: what goes with the next change */
    _Atomic uint64_t count;
};

struct disc_snapshot {
    struct store_snapshot base;
    struct disc_iter *iter;
    bool started;
};

/* Records one behind the other, in scratch memory. */
struct page {
    uint8_t *at;
    uint32_t room_bytes, used_bytes;
};

/* In a cursor's opaque bytes; all it points to is scratch of the section. */
struct scan {
    struct page page[2];   /* the one being handed out, and the one before it */
    uint32_t left;         /* records not handed out yet                 */
    uint32_t next_bytes;   /* into the page: the first of those          */
    uint32_t page_records; /* how many the next page may have            */
    bool second;           /* page[1] is being handed out                */
    bool reverse;
    bool ended;                    /* no row is left behind this page         */
    bool skip;                     /* the row at `from` itself was handed out */
    struct disc_bytes from;        /* seek here for the next page             */
    const struct index_rows *rows; /* NULL: the records' own                  */
};

/* The index rows that a scan walks. */
struct index_rows {
    const struct index_spec *spec;
    struct disc_range range;
};

_Static_assert(sizeof(struct scan) <= sizeof(((struct store_cursor *) 0)->opaque),
               "a scan's position fits a cursor");

static struct store_disc *disc_of(struct store *s) {
    return EG_CONTAINER_OF(s, struct store_disc, base);
}

/* ---- one record --------------------------------------------------------- */

static struct record *record_in(void *memory, const struct disc_record *row) {
    struct record *rec = record_init(memory, row->array, row->version, row->expiry_ms);

    record_keep_state(rec, row->state);
    return rec;
}

static size_t record_in_bytes(const struct disc_record *row) {
    return record_bytes_for(row->array.size_bytes, row->expiry_ms != 0) + row->state.size_bytes;
}

/* A row's record in scratch memory.  NULL: a fault. */
static const struct record *record_of_row(struct reader *r, struct disc_bytes value) {
    struct disc_record row;
    eg_err err = disc_record_read(&row, value, 0);
    void *memory;

    if (err != EG_OK) {
        reader_set_fault(r, err);
        return NULL;
    }
    memory = reader_scratch(r, record_in_bytes(&row));
    if (memory == NULL) {
        reader_set_fault(r, EG_MEMORY);
        return NULL;
    }
    return record_in(memory, &row);
}

/* The record of the row at `key`, or NULL: there is none, or a fault. */
static const struct record *record_at(struct store_disc *s, struct reader *r,
                                      struct disc_bytes key) {
    const struct record *rec = NULL;
    struct disc_slice slice;
    eg_err err = disc_get(s->disc, s->table, key, &slice);

    if (err == EG_OK) {
        rec = record_of_row(r, slice.bytes);
        disc_release(s->disc, &slice);
    } else if (err != EG_NOT_FOUND) {
        reader_set_fault(r, err);
    }
    return rec;
}

/* The row key of `k`, in `buffer` or in scratch memory.  Size 0: a fault. */
static struct disc_bytes row_key(struct store_disc *s, struct reader *r, const struct key *k,
                                 uint8_t buffer[ROW_KEY_BYTES]) {
    size_t size_bytes = disc_row_key(buffer, ROW_KEY_BYTES, s->shard, k->value);

    if (EG_UNLIKELY(size_bytes > ROW_KEY_BYTES)) {
        buffer = reader_scratch(r, size_bytes);
        if (buffer == NULL) {
            reader_set_fault(r, EG_MEMORY);
            return (struct disc_bytes){0};
        }
        disc_row_key(buffer, size_bytes, s->shard, k->value);
    }
    return (struct disc_bytes){buffer, size_bytes};
}

static bool starts_with(struct disc_bytes bytes, struct disc_bytes prefix, size_t prefix_bytes) {
    return bytes.size_bytes >= prefix_bytes && memcmp(bytes.at, prefix.at, prefix_bytes) == 0;
}

/* ---- scans -------------------------------------------------------------- */

static struct scan *scan_of(struct store_cursor *c) {
    return (struct scan *) (void *) c->opaque;
}

/* The range of all rows of a kind, for an iterator. */
static struct disc_range kind_range(const struct store_disc *s, enum disc_row_kind kind,
                                    uint8_t bounds[2 * DISC_PREFIX_BYTES]) {
    uint8_t *to = bounds + DISC_PREFIX_BYTES;

    return (struct disc_range){
        .from = {bounds, disc_row_prefix(bounds, s->shard, kind)},
        .to = {to, disc_row_prefix(to, s->shard, kind + 1)},
    };
}

/* Make the page's room this large; what is in it is given up. */
static bool page_grow(struct page *p, struct reader *r, size_t room_bytes) {
    p->at = reader_scratch(r, room_bytes);
    p->room_bytes = p->at == NULL ? 0 : (uint32_t) room_bytes;
    p->used_bytes = 0;
    return p->at != NULL;
}

/* Append a row's record.  EG_AGAIN: the page is full. */
static eg_err page_add(struct page *p, struct reader *r, struct disc_bytes value) {
    struct disc_record row;
    size_t size_bytes;
    eg_err err = disc_record_read(&row, value, 0);

    if (err != EG_OK)
        return err;
    size_bytes = (record_in_bytes(&row) + PAGE_ALIGN - 1) / PAGE_ALIGN * PAGE_ALIGN;
    if (size_bytes > p->room_bytes - p->used_bytes) {
        if (p->used_bytes != 0)
            return EG_AGAIN;
        if (!page_grow(p, r, size_bytes))
            return EG_MEMORY;
    }
    record_in(p->at + p->used_bytes, &row);
    p->used_bytes += (uint32_t) size_bytes;
    return EG_OK;
}

/* Has the record the parts that its index row says?  It may have changed since the page's
 * moment; then it has another row. */
static eg_err row_is_true(struct reader *r, const struct store_disc *s,
                          const struct index_spec *spec, const struct record *rec,
                          struct disc_bytes index_row, size_t parts_bytes, bool *is_true) {
    uint8_t buffer[ROW_KEY_BYTES];
    uint8_t *row = parts_bytes <= sizeof buffer ? buffer : reader_scratch(r, parts_bytes);
    struct value part[INDEX_PARTS_MAX];
    size_t bytes;

    if (row == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < spec->part_count; i++)
        part[i] = index_spec_field(spec, i, record_value(rec));
    bytes = disc_row_index(row, parts_bytes, s->shard, spec->id, part, spec->part_count);
    *is_true = bytes == parts_bytes && memcmp(row, index_row.at, parts_bytes) == 0;
    return EG_OK;
}

/* Append the record an index row stands for, if it still does.  EG_AGAIN: the page is full. */
static eg_err page_add_indexed(struct page *p, struct store_disc *s, struct reader *r,
                               const struct scan *scan, struct disc_bytes index_row) {
    const struct index_spec *spec = scan->rows->spec;
    size_t parts_bytes = disc_row_index_parts(index_row, spec->part_count);
    size_t key_bytes = DISC_PREFIX_BYTES + index_row.size_bytes - parts_bytes;
    uint8_t buffer[ROW_KEY_BYTES];
    uint8_t *key = key_bytes <= sizeof buffer ? buffer : reader_scratch(r, key_bytes);
    uint32_t used_bytes = p->used_bytes;
    struct disc_slice slice;
    bool is_true = true;
    eg_err err;

    if (parts_bytes == 0)
        return EG_CORRUPT;
    if (key == NULL)
        return EG_MEMORY;
    disc_row_prefix(key, s->shard, DISC_ROW_RECORD);
    memcpy(key + DISC_PREFIX_BYTES, index_row.at + parts_bytes, index_row.size_bytes - parts_bytes);
    err = disc_get(s->disc, s->table, (struct disc_bytes){key, key_bytes}, &slice);
    if (err != EG_OK)
        return err == EG_NOT_FOUND ? EG_OK : err;
    err = page_add(p, r, slice.bytes);
    disc_release(s->disc, &slice);
    if (err == EG_OK)
        err = row_is_true(r, s, spec, (const struct record *) (p->at + used_bytes), index_row,
                          parts_bytes, &is_true);
    if (err != EG_OK || !is_true)
        p->used_bytes = used_bytes;
    return err;
}

/* Stand on the first row of the next page. */
static void page_seek(const struct scan *scan, struct disc_iter *it) {
    const struct disc_bytes from = scan->from;

    if (scan->reverse)
        it->ops->seek_back(it, from);
    else
        it->ops->seek(it, from);
    if (scan->skip && it->valid && it->key.size_bytes == from.size_bytes &&
        starts_with(it->key, from, from.size_bytes)) {
        if (scan->reverse)
            it->ops->prev(it);
        else
            it->ops->next(it);
    }
}

/* Remember where the page ended: with this row, or before it. */
static void page_end(struct scan *scan, struct reader *r, struct disc_bytes row, bool with) {
    uint8_t *copy = reader_scratch(r, row.size_bytes);

    if (copy == NULL) {
        reader_set_fault(r, EG_MEMORY);
        scan->ended = true;
        return;
    }
    memcpy(copy, row.at, row.size_bytes);
    scan->from = (struct disc_bytes){copy, row.size_bytes};
    scan->skip = with;
}

static void page_fill(struct store_disc *s, struct reader *r, struct scan *scan, struct page *p,
                      struct disc_iter *it) {
    uint32_t rows = 0;
    eg_err err = EG_OK;

    for (page_seek(scan, it); it->valid; scan->reverse ? it->ops->prev(it) : it->ops->next(it)) {
        uint32_t used_bytes = p->used_bytes;

        err = scan->rows != NULL ? page_add_indexed(p, s, r, scan, it->key)
                                 : page_add(p, r, it->value);
        if (err == EG_AGAIN) {
            page_end(scan, r, it->key, false);
            return;
        }
        if (err != EG_OK)
            break;
        scan->left += p->used_bytes != used_bytes;
        if (++rows == scan->page_records) {
            page_end(scan, r, it->key, true);
            return;
        }
    }
    if (err == EG_OK)
        err = it->err;
    if (err != EG_OK)
        reader_set_fault(r, err);
    scan->ended = true;
}

/* Read the next page; there may be more after it unless scan->ended. */
static void page_read(struct store_disc *s, struct reader *r, struct scan *scan) {
    uint8_t bounds[2 * DISC_PREFIX_BYTES];
    struct disc_range range =
        scan->rows != NULL ? scan->rows->range : kind_range(s, DISC_ROW_RECORD, bounds);
    size_t room_bytes = (size_t) scan->page_records * PAGE_RECORD_BYTES;
    struct page *p;
    struct disc_iter *it;
    eg_err err = EG_MEMORY;

    if (scan->page[scan->second].used_bytes != 0) /* else the other's last stays for its step */
        scan->second = !scan->second;
    p = &scan->page[scan->second];
    p->used_bytes = scan->next_bytes = 0;
    if (p->room_bytes >= room_bytes || page_grow(p, r, room_bytes))
        err = disc_iter_open(s->disc, s->table, &range, &it);
    if (err != EG_OK) {
        reader_set_fault(r, err);
        scan->ended = true;
        return;
    }
    page_fill(s, r, scan, p, it);
    it->ops->close(it);
    scan->page_records = EG_MIN(scan->page_records * 2, (uint32_t) PAGE_RECORDS_MAX);
}

static const struct record *disc_next(struct store *base, struct reader *r,
                                      struct store_cursor *c) {
    struct scan *scan = scan_of(c);
    const struct record *rec;

    while (scan->left == 0 && !scan->ended) /* an index page may come out empty */
        page_read(disc_of(base), r, scan);
    if (scan->left == 0)
        return NULL;
    rec = (const struct record *) (scan->page[scan->second].at + scan->next_bytes);
    scan->next_bytes += (uint32_t) ((record_bytes(rec) + PAGE_ALIGN - 1) / PAGE_ALIGN * PAGE_ALIGN);
    scan->left--;
    return rec;
}

/* Where a scan from `k` begins.  0xff stands behind every row of `k` and before
 * every row of a larger key, since sortable forms delimit themselves. */
static void disc_seek(struct store *base, struct reader *r, struct store_cursor *c,
                      const struct key *k, bool after, bool reverse) {
    struct store_disc *s = disc_of(base);
    struct scan *scan = scan_of(c);
    uint8_t nothing[1];
    size_t size_bytes;
    uint8_t *from;

    *scan = (struct scan){.reverse = reverse, .page_records = PAGE_RECORDS_FIRST};
    if (k == NULL)
        return; /* the iterator's own bounds */
    size_bytes = disc_row_key(nothing, 0, s->shard, k->value);
    from = reader_scratch(r, size_bytes + 1);
    if (from == NULL) {
        reader_set_fault(r, EG_MEMORY);
        scan->ended = true;
        return;
    }
    disc_row_key(from, size_bytes, s->shard, k->value);
    scan->skip = after;
    if (after != reverse) /* forward and without `k`, or down and with it */
        from[size_bytes++] = 0xff;
    scan->from = (struct disc_bytes){from, size_bytes};
}

static void disc_seek_behind(struct store *base, struct reader *r, struct store_cursor *c,
                             const struct record *rec) {
    struct store_disc *s = disc_of(base);
    struct scan *scan = scan_of(c);
    uint8_t nothing[1];
    size_t size_bytes = disc_row_key_of(nothing, 0, s->shard, rec, base->bag);
    uint8_t *from = reader_scratch(r, size_bytes);

    *scan = (struct scan){.skip = true, .page_records = PAGE_RECORDS_FIRST};
    if (from == NULL) {
        reader_set_fault(r, EG_MEMORY);
        scan->ended = true;
        return;
    }
    size_bytes = disc_row_key_of(from, size_bytes, s->shard, rec, base->bag); /* a bag's is cut */
    scan->from = (struct disc_bytes){from, size_bytes};
}

/* One end of a stretch as bytes between rows: before all rows of a value, or behind them. */
static bool bound_write(struct disc_bytes *out, struct reader *r, const struct store_disc *s,
                        const struct index_spec *spec, const struct index_bounds *b,
                        const struct range_end *end, bool behind) {
    struct value part[INDEX_PARTS_MAX + 1];
    uint32_t count = b->equal_count;
    uint8_t nothing[1], *at;
    size_t bytes;

    for (uint32_t i = 0; i < count; i++)
        part[i] = b->equal[i];
    if (end != NULL && end->given)
        part[count++] = end->value;
    bytes = disc_row_index(nothing, 0, s->shard, spec->id, part, count);
    at = reader_scratch(r, bytes + 1);
    if (at == NULL)
        return false;
    disc_row_index(at, bytes, s->shard, spec->id, part, count);
    if (end != NULL && end->given && end->prefix && value_kind_of(end->value) == VALUE_ARRAY)
        bytes--; /* the array's end, which longer ones do not have */
    if (behind)
        at[bytes++] = 0xff;
    *out = (struct disc_bytes){at, bytes};
    return true;
}

/* The rows of a stretch.  NULL: no memory. */
static const struct index_rows *rows_of(struct reader *r, const struct store_disc *s,
                                        const struct index_spec *spec,
                                        const struct index_bounds *b) {
    const struct range_end *low = b->range == NULL ? NULL : &b->range->low;
    const struct range_end *high = b->range == NULL ? NULL : &b->range->high;
    bool behind_high = high == NULL || !high->given || !high->open;
    bool behind_low = low != NULL && low->given && low->open;
    struct index_rows *rows = reader_scratch(r, sizeof *rows);

    if (rows == NULL)
        return NULL;
    *rows = (struct index_rows){.spec = spec};
    if (!bound_write(&rows->range.from, r, s, spec, b, low, behind_low) ||
        !bound_write(&rows->range.to, r, s, spec, b, high, behind_high))
        return NULL;
    return rows;
}

static bool rows_are_none(const struct index_rows *rows) {
    struct disc_bytes from = rows->range.from, to = rows->range.to;
    int c = memcmp(from.at, to.at, EG_MIN(from.size_bytes, to.size_bytes));

    return c > 0 || (c == 0 && from.size_bytes >= to.size_bytes);
}

/* The row of a place; size 0: no memory. */
static struct disc_bytes row_of_place(struct reader *r, const struct store_disc *s,
                                      const struct index_spec *spec, const struct value *place) {
    uint8_t nothing[1];
    size_t bytes = disc_row_index_of(nothing, 0, s->shard, spec, place, s->base.bag);
    uint8_t *at = reader_scratch(r, bytes);

    if (at == NULL)
        return (struct disc_bytes){0};
    /* a bag's tail is cut only where it fits: twice, then, and the second time it is shorter */
    bytes = disc_row_index_of(at, bytes, s->shard, spec, place, s->base.bag);
    return (struct disc_bytes){at, bytes};
}

void store_disc_index_seek(struct store *base, struct reader *r, struct store_cursor *c,
                           const struct index_spec *spec, const struct index_bounds *b,
                           const struct value *behind) {
    struct store_disc *s = disc_of(base);
    struct scan *scan = scan_of(c);

    *scan = (struct scan){.page_records = PAGE_RECORDS_FIRST, .reverse = b->reverse};
    if (behind != NULL && !index_bounds_hold(b, behind)) {
        scan->ended = true; /* from outside, and never a place of this stretch */
        return;
    }
    scan->rows = rows_of(r, s, spec, b);
    if (scan->rows != NULL && behind != NULL)
        scan->from = row_of_place(r, s, spec, behind);
    if (scan->rows == NULL || (behind != NULL && scan->from.size_bytes == 0)) {
        reader_set_fault(r, EG_MEMORY);
        scan->ended = true;
        return;
    }
    scan->skip = behind != NULL;
    scan->ended = rows_are_none(scan->rows);
}

/* ---- reading ------------------------------------------------------------ */

static const struct record *disc_get_record(struct store *base, struct reader *r,
                                            const struct key *k) {
    struct store_disc *s = disc_of(base);
    uint8_t buffer[ROW_KEY_BYTES];
    struct disc_bytes key;
    struct store_cursor c;
    const struct record *first;

    if (!base->bag) {
        key = row_key(s, r, k, buffer);
        return key.size_bytes == 0 ? NULL : record_at(s, r, key);
    }
    disc_seek(base, r, &c, k, false, false);
    first = disc_next(base, r, &c);
    return first != NULL && value_equal(record_key(first), k->value) ? first : NULL;
}

static void disc_prefetch(struct store *base, struct reader *r, const struct key *k) {
    (void) base; /* nothing in memory to bring nearer */
    (void) r;
    (void) k;
}

static struct store_stats disc_store_stats(const struct store *base) {
    const struct store_disc *s = EG_CONTAINER_OF(base, const struct store_disc, base);
    return (struct store_stats){.count = atomic_load_explicit(&s->count, memory_order_relaxed)};
}

/* ---- changing ----------------------------------------------------------- */

/* Write the batch; whatever comes of it, it is empty afterwards. */
static eg_err batch_write(struct store_disc *s) {
    eg_err err = disc_write(s->disc, &s->batch);

    disc_batch_reset(&s->batch);
    return err;
}

static eg_err batch_drop(struct store_disc *s, eg_err err) {
    disc_batch_reset(&s->batch);
    return err;
}

static void record_retire(struct store_disc *s, struct record *rec) {
    epoch_retire(s->bin, slab_free, s->slab, rec, record_bytes(rec));
}

/* What a put will replace, from the slab; *out NULL: nothing. */
static eg_err record_before(struct store_disc *s, struct disc_bytes key, struct record **out) {
    struct disc_record row;
    struct disc_slice slice;
    eg_err err = disc_get(s->disc, s->table, key, &slice);
    void *memory;

    *out = NULL;
    if (err != EG_OK)
        return err == EG_NOT_FOUND ? EG_OK : err;
    err = disc_record_read(&row, slice.bytes, 0);
    if (err == EG_OK) {
        memory = slab_get(s->slab, record_in_bytes(&row));
        if (memory != NULL)
            *out = record_in(memory, &row);
        else
            err = EG_MEMORY;
    }
    disc_release(s->disc, &slice);
    return err;
}

static eg_err disc_put(struct store *base, const struct key *k, struct record *rec,
                       const struct record **old_out) {
    struct store_disc *s = disc_of(base);
    size_t at = s->batch.used_bytes;
    const struct disc_change *change;
    struct record *old;
    eg_err err = disc_record_put(&s->batch, s->table, s->shard, rec, base->bag);

    (void) k; /* the record holds its key */
    if (err != EG_OK)
        return batch_drop(s, err);
    change = (const struct disc_change *) (const void *) (s->batch.at + at);
    err = record_before(s, disc_change_key(change), &old);
    if (err != EG_OK)
        return batch_drop(s, err);
    err = batch_write(s);
    if (err != EG_OK) {
        if (old != NULL)
            slab_put(s->slab, old, record_bytes(old));
        return err;
    }
    record_retire(s, rec);
    if (old != NULL)
        record_retire(s, old);
    else
        atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
    *old_out = old;
    return EG_OK;
}

static eg_err disc_remove(struct store *base, const struct key *k, const struct record *rec) {
    struct store_disc *s = disc_of(base);
    eg_err err = disc_record_del(&s->batch, s->table, s->shard, rec, base->bag);

    (void) k; /* the record holds its key */
    if (err != EG_OK)
        return batch_drop(s, err);
    err = batch_write(s);
    if (err == EG_OK)
        atomic_fetch_sub_explicit(&s->count, 1, memory_order_relaxed);
    return err;
}

static eg_err disc_clear(struct store *base) {
    struct store_disc *s = disc_of(base);
    eg_err err = disc_record_clear(&s->batch, s->table, s->shard);

    if (err != EG_OK)
        return batch_drop(s, err);
    err = batch_write(s);
    if (err == EG_OK)
        atomic_store_explicit(&s->count, 0, memory_order_relaxed);
    return err;
}

struct disc_batch *store_disc_extra(struct store *base) {
    return &disc_of(base)->batch;
}

eg_err store_disc_write_extra(struct store *base) {
    return batch_write(disc_of(base));
}

/* ---- snapshots: a RocksDB iterator sees one moment anyway ---------------- */

static eg_err disc_snapshot_open(struct store *base, struct store_snapshot **out) {
    struct store_disc *s = disc_of(base);
    uint8_t bounds[2 * DISC_PREFIX_BYTES];
    struct disc_range range = kind_range(s, DISC_ROW_RECORD, bounds);
    struct disc_snapshot *p = alloc_zero(s->alloc, sizeof *p);
    eg_err err = EG_MEMORY;

    range.whole = true;
    if (p != NULL)
        err = disc_iter_open(s->disc, s->table, &range, &p->iter);
    if (err != EG_OK) {
        alloc_put(s->alloc, p, sizeof *p);
        return err;
    }
    p->base.store = base;
    *out = &p->base;
    return EG_OK;
}

static eg_err disc_snapshot_next(struct store_snapshot *base, struct reader *r,
                                 const struct record **out) {
    struct disc_snapshot *p = EG_CONTAINER_OF(base, struct disc_snapshot, base);
    struct disc_iter *it = p->iter;

    if (!p->started)
        it->ops->seek(it, (struct disc_bytes){0});
    else if (it->valid)
        it->ops->next(it);
    p->started = true;
    *out = NULL;
    if (!it->valid)
        return it->err;
    *out = record_of_row(r, it->value);
    return *out != NULL ? EG_OK : reader_take_fault(r);
}

static void disc_snapshot_close(struct store *base, struct store_snapshot *snapshot) {
    struct disc_snapshot *p = EG_CONTAINER_OF(snapshot, struct disc_snapshot, base);

    p->iter->ops->close(p->iter);
    alloc_put(disc_of(base)->alloc, p, sizeof *p);
}

/* ---- open, check, close ------------------------------------------------- */

/* Count the rows, and while at it make sure that each is a record. */
static eg_err rows_count(struct store_disc *s, uint64_t *count) {
    uint8_t bounds[2 * DISC_PREFIX_BYTES];
    struct disc_range range = kind_range(s, DISC_ROW_RECORD, bounds);
    struct disc_iter *it;
    eg_err err;

    range.whole = true;
    err = disc_iter_open(s->disc, s->table, &range, &it);
    if (err != EG_OK)
        return err;
    *count = 0;
    for (it->ops->seek(it, range.from); it->valid && err == EG_OK; it->ops->next(it)) {
        struct disc_record row;
        err = disc_record_read(&row, it->value, 0);
        ++*count;
    }
    if (err == EG_OK)
        err = it->err;
    it->ops->close(it);
    return err;
}

static void disc_check(struct store *base) {
    struct store_disc *s = disc_of(base);
    uint64_t count;

    if (rows_count(s, &count) == EG_OK) /* the disc's faults are not our invariants */
        EG_ASSERT(count == atomic_load_explicit(&s->count, memory_order_relaxed));
    EG_ASSERT(s->batch.used_bytes == 0 || s->batch.count > 0);
}

static void disc_store_close(struct store *base) {
    struct store_disc *s = disc_of(base);

    disc_batch_fini(&s->batch);
    alloc_put(s->alloc, s, sizeof *s);
}

static const struct store_ops store_disc_ops = {
    .name = "disc",
    .get = disc_get_record,
    .prefetch = disc_prefetch,
    .prefetch_record = disc_prefetch,
    .put = disc_put,
    .remove = disc_remove,
    .clear = disc_clear,
    .seek = disc_seek,
    .next = disc_next,
    .seek_behind = disc_seek_behind,
    .stats = disc_store_stats,
    .snapshot_open = disc_snapshot_open,
    .snapshot_next = disc_snapshot_next,
    .snapshot_close = disc_snapshot_close,
    .check = disc_check,
    .close = disc_store_close,
};

eg_err store_disc_open(struct store **out, const struct store_opts *o, struct disc *d,
                       struct disc_table *t, uint32_t shard) {
    struct store_disc *s = alloc_zero(o->alloc, sizeof *s);
    uint64_t count;
    eg_err err;

    if (s == NULL)
        return EG_MEMORY;
    s->base = (struct store){.ops = &store_disc_ops, .ordered = true, .bag = o->bag};
    s->alloc = o->alloc;
    s->slab = o->slab;
    s->bin = o->bin;
    s->disc = d;
    s->table = t;
    s->shard = shard;
    disc_batch_init(&s->batch, o->alloc);
    err = rows_count(s, &count);
    if (err != EG_OK) {
        alloc_put(o->alloc, s, sizeof *s);
        return err;
    }
    atomic_init(&s->count, count);
    *out = &s->base;
    return EG_OK;
}
