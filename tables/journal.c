/* journal.c -- lists of what lost, one a table; in memory, and as rows of the node's own. */
#include "tables/journal.h"

#include "tables/disc.h"

#include <string.h>

struct entry {
    struct entry *older, *newer;
    uint64_t number;
    bool on_disc;
    uint32_t size_bytes;
    uint8_t bytes[];
};

struct journal {
    struct journal *next;
    uint64_t table;
    uint64_t last; /* number that was given */
    struct entry *oldest, *newest;
    uint64_t count, bytes;
    bool on_disc; /* some were */
};

enum { ARRAY_HEADER_BYTES = 5, NUMBER_BYTES = 24 /* and a map's header */, ROW_KEY_BYTES = 17 };

static void lock(struct journals *j) {
    while (atomic_flag_test_and_set_explicit(&j->busy, memory_order_acquire))
        ;
}

static void unlock(struct journals *j) {
    atomic_flag_clear_explicit(&j->busy, memory_order_release);
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void put_u64(uint8_t *at, uint64_t n) {
    for (int i = 7; i >= 0; i--, n >>= 8)
        at[i] = (uint8_t) n;
}

static uint64_t get_u64(const uint8_t *at) {
    uint64_t n = 0;

    for (int i = 0; i < 8; i++)
        n = n << 8 | at[i];
    return n;
}

static struct disc_bytes row_key(uint8_t bytes[ROW_KEY_BYTES], uint64_t table, uint64_t number) {
    bytes[0] = DISC_META_JOURNAL;
    put_u64(bytes + 1, table);
    put_u64(bytes + 9, number);
    return (struct disc_bytes){bytes, ROW_KEY_BYTES};
}

/* ---- lists --------------------------------------------------------------------------------- */

static struct journal **find(struct journals *j, uint64_t table) {
    struct journal **at = &j->first;

    while (*at != NULL && (*at)->table != table)
        at = &(*at)->next;
    return at;
}

/* One that stays on disc for want of memory goes when it has been read back. */
static void drop_oldest(struct journals *j, struct journal *of, struct disc_batch *batch) {
    struct entry *e = of->oldest;
    uint8_t key[ROW_KEY_BYTES];

    if (e->on_disc && batch != NULL &&
        disc_batch_del(batch, j->disc->meta, row_key(key, of->table, e->number)) != EG_OK)
        atomic_fetch_add(&j->lost, 1);
    of->oldest = e->newer;
    if (of->oldest == NULL)
        of->newest = NULL;
    else
        of->oldest->older = NULL;
    of->count--;
    of->bytes -= e->size_bytes;
    alloc_put(j->alloc, e, sizeof *e + e->size_bytes);
}

static void keep_bounds(struct journals *j, struct journal *of, struct disc_batch *batch) {
    while (of->count > JOURNAL_ENTRIES || (of->bytes > JOURNAL_BYTES && of->count > 1))
        drop_oldest(j, of, batch);
}

static void close_one(struct journals *j, struct journal **at) {
    struct journal *of = *at;

    while (of->oldest != NULL)
        drop_oldest(j, of, NULL);
    *at = of->next;
    alloc_put(j->alloc, of, sizeof *of);
}

void journals_fini(struct journals *j) {
    while (j->first != NULL)
        close_one(j, &j->first);
}

static struct journal *open_one(struct journals *j, uint64_t table) {
    struct journal **at = find(j, table);

    if (*at == NULL) {
        *at = alloc_zero(j->alloc, sizeof **at);
        if (*at != NULL)
            (*at)->table = table;
    }
    return *at;
}

static struct entry *entry_new(struct journals *j, const uint8_t *at, size_t size_bytes) {
    struct entry *e = alloc_get(j->alloc, sizeof *e + size_bytes);

    if (e == NULL)
        return NULL;
    *e = (struct entry){.size_bytes = (uint32_t) size_bytes};
    memcpy(e->bytes, at, size_bytes);
    return e;
}

static void append(struct journal *of, struct entry *e) {
    e->older = of->newest;
    *(of->newest == NULL ? &of->oldest : &of->newest->newer) = e;
    of->newest = e;
    of->count++;
    of->bytes += e->size_bytes;
}

static void write_row(struct journals *j, struct journal *of, struct entry *e,
                      struct disc_batch *batch) {
    uint8_t key[ROW_KEY_BYTES];

    e->on_disc = disc_batch_put(batch, j->disc->meta, row_key(key, of->table, e->number),
                                (struct disc_bytes){e->bytes, e->size_bytes}) == EG_OK;
    of->on_disc |= e->on_disc;
    if (!e->on_disc)
        atomic_fetch_add(&j->lost, 1);
}

void journals_add(struct journals *j, uint64_t table, struct value entry,
                  struct disc_batch *batch) {
    struct entry *e = entry_new(j, entry.at, entry.size_bytes);
    struct journal *of;

    lock(j);
    of = e == NULL ? NULL : open_one(j, table);
    if (of != NULL) {
        e->number = ++of->last;
        append(of, e);
        if (batch != NULL)
            write_row(j, of, e, batch);
        keep_bounds(j, of, batch);
    }
    unlock(j);
    if (of != NULL)
        return;
    atomic_fetch_add(&j->lost, 1);
    alloc_put(j->alloc, e, e == NULL ? 0 : sizeof *e + e->size_bytes);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* The entry, and its number as one pair more. */
static void put_entry(struct value_writer *w, const struct entry *e) {
    struct value map = {e->bytes, e->size_bytes};
    const uint8_t *pairs = value_iter_of(map).at;

    value_put_map(w, value_count(map) + 1);
    value_put_raw(w, (struct value){pairs, (uint32_t) (e->bytes + e->size_bytes - pairs)});
    value_put_text(w, "number");
    value_put_u64(w, e->number);
}

/* An array of those from `e` on, towards older ones. */
static eg_err put(const struct entry *e, uint64_t limit, struct buffer *out) {
    const struct entry *last = e;
    size_t size_bytes = ARRAY_HEADER_BYTES;
    struct value_writer w;
    uint32_t count = 0;
    uint8_t *room;

    for (; last != NULL && count < limit; last = last->older, count++)
        size_bytes += last->size_bytes + NUMBER_BYTES;
    room = buffer_room(out, size_bytes);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, size_bytes);
    value_put_array(&w, count);
    for (; e != last; e = e->older)
        put_entry(&w, e);
    EG_ASSERT(!w.overflow);
    out->size_bytes += w.need_bytes;
    return EG_OK;
}

eg_err journals_read(struct journals *j, uint64_t table, uint64_t limit, struct buffer *out) {
    struct journal *of;
    eg_err err;

    lock(j);
    of = *find(j, table);
    err = put(of == NULL ? NULL : of->newest, limit, out);
    unlock(j);
    return err;
}

/* ---- the end of a table, the beginning of a node --------------------------------------------- */

static void forget_rows(struct journals *j, uint64_t table) {
    uint8_t from[ROW_KEY_BYTES], to[ROW_KEY_BYTES];
    struct disc_batch batch;

    disc_batch_init(&batch, j->alloc);
    if (disc_batch_del_range(&batch, j->disc->meta, row_key(from, table, 0),
                             row_key(to, table, UINT64_MAX)) != EG_OK ||
        disc_write(j->disc, &batch) != EG_OK)
        atomic_fetch_add(&j->lost, 1);
    disc_batch_fini(&batch);
}

void journals_drop(struct journals *j, uint64_t table) {
    struct journal **at;
    bool on_disc = false;

    lock(j);
    at = find(j, table);
    if (*at != NULL) {
        on_disc = (*at)->on_disc;
        close_one(j, at);
    }
    unlock(j);
    if (on_disc)
        forget_rows(j, table);
}

static bool is_entry(struct disc_bytes row) {
    size_t used_bytes;

    return row.size_bytes <= UINT32_MAX &&
           value_scan(row.at, row.size_bytes, &used_bytes) == EG_OK &&
           used_bytes == row.size_bytes &&
           value_kind_of((struct value){row.at, (uint32_t) row.size_bytes}) == VALUE_MAP;
}

/* Rows come by table and number, so the oldest first. */
static eg_err take_row(struct journals *j, const struct disc_iter *it, bool is_known,
                       struct disc_batch *batch) {
    uint64_t table = get_u64(it->key.at + 1);
    struct journal *of;
    struct entry *e;

    if (!is_known || !is_entry(it->value))
        return disc_batch_del(batch, j->disc->meta, it->key);
    e = entry_new(j, it->value.at, it->value.size_bytes);
    of = e == NULL ? NULL : open_one(j, table);
    if (of == NULL) {
        alloc_put(j->alloc, e, e == NULL ? 0 : sizeof *e + e->size_bytes);
        return EG_MEMORY;
    }
    e->number = of->last = get_u64(it->key.at + 9);
    e->on_disc = of->on_disc = true;
    append(of, e);
    keep_bounds(j, of, batch);
    return EG_OK;
}

eg_err journals_recover(struct journals *j, bool (*is_known)(void *context, uint64_t table),
                        void *context) {
    static const uint8_t from[] = {DISC_META_JOURNAL}, to[] = {DISC_META_JOURNAL + 1};
    const struct disc_range range = {{from, sizeof from}, {to, sizeof to}, false};
    struct disc_batch batch;
    struct disc_iter *it;
    eg_err err;

    if (j->disc == NULL)
        return EG_OK;
    err = disc_iter_open(j->disc, j->disc->meta, &range, &it);
    if (err != EG_OK)
        return err;
    disc_batch_init(&batch, j->alloc);
    for (it->ops->seek(it, range.from); it->valid && err == EG_OK; it->ops->next(it))
        if (it->key.size_bytes == ROW_KEY_BYTES)
            err = take_row(j, it, is_known(context, get_u64(it->key.at + 1)), &batch);
    if (err == EG_OK)
        err = it->err;
    it->ops->close(it);
    if (err == EG_OK && batch.count != 0 && disc_write(j->disc, &batch) != EG_OK)
        atomic_fetch_add(&j->lost, 1); /* a disc that refuses: at the next start */
    disc_batch_fini(&batch);
    return err;
}
