/* feed_scan.c -- all records of a shard looked at, in steps of half a millisecond. */
#include "engine/env.h"
#include "replication/feed_private.h"

enum { STEP_NS = 500 * 1000, LOOK_AT_CLOCK_RECORDS = 32 };

static eg_err begin(struct shard *s, struct reader *r, const struct buffer *place,
                    struct store_cursor *c) {
    struct key k;
    eg_err err;

    if (place->size_bytes == 0) {
        s->store->ops->seek(s->store, r, c, NULL, false, false);
        return EG_OK;
    }
    err = table_key(s->table, &k, (struct value){place->at, (uint32_t) place->size_bytes});
    if (err != EG_OK)
        return err;
    s->store->ops->seek(s->store, r, c, &k, true, false);
    key_release(&k);
    return EG_OK;
}

static eg_err look_at(struct shard *s, const struct record *rec, feed_look look, void *user) {
    struct key k;
    eg_err err = table_key(s->table, &k, record_key(rec));

    if (err != EG_OK)
        return err;
    err = look(user, rec, k.hash);
    key_release(&k);
    return err;
}

static eg_err scan(struct shard *s, struct reader *r, struct buffer *place, feed_look look,
                   void *user, bool *over) {
    struct env *env = feed_of(s)->world->env;
    struct store *store = s->store;
    uint64_t until_ns = env_now_ns(env) + STEP_NS;
    const struct record *rec = NULL, *last = NULL;
    struct store_cursor c;
    uint32_t seen = 0;
    bool late = false;
    eg_err err = begin(s, r, place, &c);

    while (err == EG_OK && (rec = store->ops->next(store, r, &c)) != NULL) {
        if (late && !value_equal(record_key(last), record_key(rec)))
            break; /* between two keys */
        last = rec;
        err = look_at(s, rec, look, user);
        if (++seen % LOOK_AT_CLOCK_RECORDS == 0)
            late = env_now_ns(env) >= until_ns;
    }
    if (err == EG_OK)
        err = reader_take_fault(r);
    *over = err == EG_OK && rec == NULL;
    if (err != EG_OK || *over)
        return err;
    buffer_clear(place);
    return buffer_append(place, record_key(last).at, record_key(last).size_bytes) ? EG_OK
                                                                                  : EG_MEMORY;
}

eg_err feed_scan(struct actor *self, struct shard *s, struct buffer *place, feed_look look,
                 void *user, bool *over) {
    struct reader *r = shard_reader(s, self);
    eg_err err = scan(s, r, place, look, user, over);

    reader_reset(r);
    return err;
}
