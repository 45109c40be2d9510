/* disc_read_rocks.c -- look-ups and iterators over RocksDB. */
#include "tables/disc_rocks_private.h"

#include <string.h>

enum { READ_AHEAD_BYTES = 2 << 20 }; /* a whole-range walk reads this much at once */

eg_err rocks_get(struct disc *base, struct disc_table *t, struct disc_bytes key,
                 struct disc_slice *out) {
    struct disc_rocks *d = rocks_of(base);
    char *text = NULL;
    rocksdb_pinnableslice_t *pin;

    pin = rocksdb_get_pinned_cf(d->db, d->read_options, t->family, (const char *) key.at,
                                key.size_bytes, &text);
    if (text != NULL)
        return rocks_failure(text, NULL, "read") == ROCKS_CORRUPT ? EG_CORRUPT : EG_DISC;
    if (pin == NULL)
        return EG_NOT_FOUND;
    out->pin = pin;
    out->bytes.at = (const uint8_t *) rocksdb_pinnableslice_value(pin, &out->bytes.size_bytes);
    return EG_OK;
}

void rocks_release(struct disc *base, struct disc_slice *s) {
    (void) base; /* the pin knows its block */
    rocksdb_pinnableslice_destroy(s->pin);
    s->pin = NULL;
}

/* ---- iterators ---------------------------------------------------------- */

struct rocks_iter {
    struct disc_iter base;
    struct alloc *alloc;
    rocksdb_iterator_t *rocks;
    rocksdb_readoptions_t *options;
    size_t size_bytes; /* of this and the two bounds behind it */
    uint8_t bounds[];
};

static struct rocks_iter *iter_of(struct disc_iter *it) {
    return EG_CONTAINER_OF(it, struct rocks_iter, base);
}

/* Show the caller where the iterator now stands. */
static void iter_show(struct rocks_iter *it) {
    struct disc_iter *b = &it->base;
    char *text = NULL;

    b->valid = rocksdb_iter_valid(it->rocks);
    if (EG_LIKELY(b->valid)) {
        b->key.at = (const uint8_t *) rocksdb_iter_key(it->rocks, &b->key.size_bytes);
        b->value.at = (const uint8_t *) rocksdb_iter_value(it->rocks, &b->value.size_bytes);
        return;
    }
    rocksdb_iter_get_error(it->rocks, &text);
    if (text == NULL)
        b->err = EG_OK;
    else
        b->err = rocks_failure(text, NULL, "read") == ROCKS_CORRUPT ? EG_CORRUPT : EG_DISC;
}

static void iter_seek(struct disc_iter *base, struct disc_bytes key) {
    struct rocks_iter *it = iter_of(base);

    if (key.size_bytes == 0)
        rocksdb_iter_seek_to_first(it->rocks);
    else
        rocksdb_iter_seek(it->rocks, (const char *) key.at, key.size_bytes);
    iter_show(it);
}

static void iter_seek_back(struct disc_iter *base, struct disc_bytes key) {
    struct rocks_iter *it = iter_of(base);

    if (key.size_bytes == 0)
        rocksdb_iter_seek_to_last(it->rocks);
    else
        rocksdb_iter_seek_for_prev(it->rocks, (const char *) key.at, key.size_bytes);
    iter_show(it);
}

static void iter_next(struct disc_iter *base) {
    struct rocks_iter *it = iter_of(base);

    EG_ASSERT(base->valid);
    rocksdb_iter_next(it->rocks);
    iter_show(it);
}

static void iter_prev(struct disc_iter *base) {
    struct rocks_iter *it = iter_of(base);

    EG_ASSERT(base->valid);
    rocksdb_iter_prev(it->rocks);
    iter_show(it);
}

static void iter_close(struct disc_iter *base) {
    struct rocks_iter *it = iter_of(base);

    rocksdb_iter_destroy(it->rocks);
    rocksdb_readoptions_destroy(it->options);
    alloc_put(it->alloc, it, it->size_bytes);
}

static const struct disc_iter_ops rocks_iter_ops = {iter_seek, iter_seek_back, iter_next, iter_prev,
                                                    iter_close};

eg_err rocks_iter_open(struct disc *base, struct disc_table *t, const struct disc_range *range,
                       struct disc_iter **out) {
    static const struct disc_range everything = {0};
    struct disc_rocks *d = rocks_of(base);
    const struct disc_range *r = range != NULL ? range : &everything;
    size_t size_bytes = sizeof(struct rocks_iter) + r->from.size_bytes + r->to.size_bytes;
    struct rocks_iter *it = alloc_get(d->alloc, size_bytes);

    if (it == NULL)
        return EG_MEMORY;
    *it = (struct rocks_iter){.base.ops = &rocks_iter_ops, .alloc = d->alloc};
    it->size_bytes = size_bytes;
    it->options = rocksdb_readoptions_create(); /* block checksums are verified by default */
    if (r->from.size_bytes > 0) {
        memcpy(it->bounds, r->from.at, r->from.size_bytes);
        rocksdb_readoptions_set_iterate_lower_bound(it->options, (const char *) it->bounds,
                                                    r->from.size_bytes);
    }
    if (r->to.size_bytes > 0) {
        uint8_t *to = it->bounds + r->from.size_bytes;
        memcpy(to, r->to.at, r->to.size_bytes);
        rocksdb_readoptions_set_iterate_upper_bound(it->options, (const char *) to,
                                                    r->to.size_bytes);
    }
    if (r->whole) {
        rocksdb_readoptions_set_fill_cache(it->options, 0);
        rocksdb_readoptions_set_readahead_size(it->options, READ_AHEAD_BYTES);
    }
    it->rocks = rocksdb_create_iterator_cf(d->db, it->options, t->family);
    *out = &it->base;
    return EG_OK;
}
