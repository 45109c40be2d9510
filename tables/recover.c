/* recover.c -- one iterator from the shard's clock to the last of its records. */
#include "tables/recover.h"

struct recover {
    struct recover_opts opts;
    struct disc_iter *iter;
    uint64_t count;
};

eg_err recover_open(struct recover **out, const struct recover_opts *o, struct err_note *note) {
    uint8_t from[DISC_PREFIX_BYTES], to[DISC_PREFIX_BYTES];
    const struct disc_range range = {
        .from = {from, disc_row_prefix(from, o->shard, DISC_ROW_CLOCK)},
        .to = {to, disc_row_prefix(to, o->shard, DISC_ROW_INDEX)},
        .whole = true,
    };
    struct recover *r = alloc_zero(o->alloc, sizeof *r);
    eg_err err = EG_MEMORY;

    if (r != NULL)
        err = disc_iter_open(o->disc, o->table, &range, &r->iter);
    if (err != EG_OK) {
        alloc_put(o->alloc, r, sizeof *r);
        return err_note(note, err, "table %s: no memory to read it back", o->name);
    }
    r->opts = *o;
    r->iter->ops->seek(r->iter, range.from);
    *out = r;
    return EG_OK;
}

static eg_err recover_failed(const struct recover *r, eg_err err, const char *what,
                             struct err_note *note) {
    return err_note(note, err, "table %s, shard %u, after %llu records: %s", r->opts.name,
                    (unsigned) r->opts.shard, (unsigned long long) r->count, what);
}

static eg_err recover_row(struct recover *r, struct err_note *note) {
    const struct disc_iter *it = r->iter;
    struct disc_record rec;
    eg_err err;

    if (it->key.size_bytes < DISC_PREFIX_BYTES)
        return recover_failed(r, EG_CORRUPT, "a row without a kind", note);
    if (EG_UNLIKELY(it->key.at[DISC_PREFIX_BYTES - 1] == DISC_ROW_CLOCK)) {
        err = r->opts.clock(r->opts.ctx, it->value);
        return err == EG_OK ? err : recover_failed(r, err, "the shard's clock", note);
    }
    err = disc_record_read(&rec, it->value, r->opts.arity);
    if (EG_UNLIKELY(err != EG_OK))
        return recover_failed(r, err, "a row that is no record", note);
    err = r->opts.record(r->opts.ctx, &rec);
    if (EG_UNLIKELY(err != EG_OK))
        return recover_failed(r, err, eg_err_text(err), note);
    r->count++;
    return EG_OK;
}

eg_err recover_step(struct recover *r, uint64_t records_max, bool *done, struct err_note *note) {
    struct disc_iter *it = r->iter;

    for (; it->valid && records_max > 0; records_max--) {
        eg_err err = recover_row(r, note);
        if (EG_UNLIKELY(err != EG_OK))
            return err;
        it->ops->next(it);
    }
    if (EG_UNLIKELY(it->err != EG_OK))
        return recover_failed(r, it->err, "a block cannot be read or is damaged", note);
    *done = !it->valid;
    return EG_OK;
}

uint64_t recover_count(const struct recover *r) {
    return r->count;
}

void recover_close(struct recover *r) {
    r->iter->ops->close(r->iter);
    alloc_put(r->opts.alloc, r, sizeof *r);
}
