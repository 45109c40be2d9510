/* feed_sift.c -- who has missed deletes that the other has forgotten asks about all that it has.
 *
 *     asks:   HAVE session, number, [key, origin, sequence, ...] -->  looks each of them up
 *             lets go of these                                   <--  GONE session, number, [...]
 *             ... to the last record; then the END that waited is taken
 *
 * The key is the record, in a bag.  One question is under way at a time; it is kept as it was sent,
 * and sent again where no answer comes.  Nothing but the place is kept between two of
 * them, and who answers keeps nothing at all.  A record that comes meanwhile is asked about, or it
 * is not: who answers has it. */
#include "engine/env.h"
#include "replication/feed_private.h"
#include "tables/shard_floor.h"

enum {
    QUESTION_ITEMS = 256, /* of a table on disc each is a read */
    QUESTION_BYTES = 32 << 10,
    ITEM_BYTES = 2 * 9,
};

struct sift {
    uint64_t number; /* of the question under way */
    struct buffer question;
    struct buffer place; /* the last key that was asked about */
    struct buffer end;   /* what the END said */
};

void feed_sift_stop(struct feed *st, struct sift **at) {
    struct sift *f = *at;

    if (f == NULL)
        return;
    buffer_fini(&f->question);
    buffer_fini(&f->place);
    buffer_fini(&f->end);
    alloc_put(st->world->alloc, f, sizeof *f);
    *at = NULL;
}

/* That of what we hear from there. */
static struct sift **sift_of(const struct shard *s, uint64_t from) {
    struct feed *st = feed_of(s);

    return feed_follows(st, from) ? &st->sift : &feed_follower(st, from)->sift;
}

/* ---- asking -------------------------------------------------------------------------- */

static bool put_item(struct shard *s, const struct record *rec) {
    struct feed *st = feed_of(s);
    const struct origins *o = st->world->origins;
    struct value v = s->store->bag ? record_value(rec) : record_key(rec);

    return buffer_append(&st->out, v.at, v.size_bytes) &&
           feed_out_u64(st, origin_of(o, dot_slot(rec->dot))) &&
           feed_out_u64(st, dot_sequence(rec->dot));
}

/* The next records behind the place, to the end of `out`; and the place behind them. */
static eg_err put_items(struct shard *s, struct reader *r, struct sift *f, uint32_t *count) {
    struct feed *st = feed_of(s);
    struct store *store = s->store;
    const struct record *rec, *last = NULL;
    struct store_cursor c;
    struct key k;

    if (f->place.size_bytes == 0) {
        store->ops->seek(store, r, &c, NULL, false, false);
    } else {
        struct value v = {f->place.at, (uint32_t) f->place.size_bytes};
        eg_err err = table_key(s->table, &k, v);

        if (err != EG_OK)
            return err;
        store->ops->seek(store, r, &c, &k, true, false);
        key_release(&k);
    }
    while ((rec = store->ops->next(store, r, &c)) != NULL) {
        bool over = *count >= QUESTION_ITEMS || st->out.size_bytes >= QUESTION_BYTES;

        if (over && !value_equal(record_key(last), record_key(rec)))
            break; /* between two keys */
        last = rec;
        if (!put_item(s, rec))
            return EG_MEMORY;
        ++*count;
    }
    if (reader_take_fault(r) != EG_OK)
        return EG_DISC;
    buffer_clear(&f->place);
    return last == NULL ||
                   buffer_append(&f->place, record_key(last).at, record_key(last).size_bytes)
               ? EG_OK
               : EG_MEMORY;
}

/* *over: there was nothing more to ask about. */
static eg_err ask(struct actor *self, struct shard *s, uint64_t to, struct sift *f, bool *over) {
    struct feed *st = feed_of(s);
    uint64_t session = feed_follows(st, to) ? st->following : feed_follower(st, to)->asked_session;
    uint8_t header[FEED_ARRAY32_BYTES] = {0xdd};
    struct reader *r = shard_reader(s, self);
    uint32_t count = 0;
    size_t count_at;
    eg_err err;

    if (!feed_out_begin(s, REPLICA_HAVE, 3, 0) || !feed_out_u64(st, session) ||
        !feed_out_u64(st, ++f->number))
        return EG_MEMORY;
    count_at = st->out.size_bytes;
    if (!buffer_append(&st->out, header, sizeof header))
        return EG_MEMORY;
    err = put_items(s, r, f, &count);
    reader_reset(r);
    *over = count == 0;
    if (err != EG_OK || *over)
        return err;
    for (unsigned i = 0; i < 4; i++)
        st->out.at[count_at + 1 + i] = (uint8_t) (3 * count >> (24 - 8 * i));
    buffer_clear(&f->question);
    if (!buffer_append(&f->question, st->out.at, st->out.size_bytes))
        return EG_MEMORY;
    (void) feed_out_send(st, to); /* or when time passes */
    return EG_OK;
}

void feed_sift_again(const struct feed *st, uint64_t to, const struct sift *f) {
    const struct feed_world *w = st->world;
    struct value question = {f->question.at, (uint32_t) f->question.size_bytes};

    if (question.size_bytes != 0)
        (void) w->send(w->user, to, question); /* or the next time */
}

static void ask_on(struct actor *self, struct shard *s, uint64_t from) {
    struct sift **at = sift_of(s, from), *f = *at;
    bool over = false;
    eg_err err = ask(self, s, from, f, &over);
    struct buffer end;
    struct value_iter it;

    if (err == EG_OK && !over)
        return;
    end = f->end; /* taking it may end what it belongs to */
    buffer_init(&f->end, feed_of(s)->world->alloc, 0);
    feed_sift_stop(feed_of(s), at);
    it = (struct value_iter){end.at, REPLICA_END_VALUES};
    if (err == EG_OK)
        feed_take_end(self, s, from, &it, true);
    else
        feed_not_taken(self, s, from, err);
    buffer_fini(&end);
}

bool feed_sift_begins(struct actor *self, struct shard *s, uint64_t from, struct value said,
                      const struct shard_clock *floor) {
    struct alloc *a = feed_of(s)->world->alloc;
    struct sift **at = sift_of(s, from), *f = *at;

    if (f != NULL)
        return true; /* it has come once more */
    if (shard_clock_has(shard_copy_clock(s), floor))
        return false;
    f = alloc_zero(a, sizeof *f);
    if (f != NULL) {
        buffer_init(&f->question, a, SIZE_MAX);
        buffer_init(&f->place, a, KEY_SIZE_MAX * 2);
        buffer_init(&f->end, a, SIZE_MAX);
        *at = f;
    }
    if (f == NULL || !buffer_append(&f->end, said.at, said.size_bytes)) {
        feed_sift_stop(feed_of(s), at);
        feed_not_taken(self, s, from, EG_MEMORY);
        return true;
    }
    ask_on(self, s, from);
    return true;
}

/* ---- the items of a message ------------------------------------------------------------- */

static bool next_item(struct value_iter *it, struct shard_item *item) {
    return value_iter_next(it, &item->value) && replica_wire_u64(it, &item->origin) &&
           replica_wire_u64(it, &item->sequence);
}

static struct shard_turn turn_of(struct actor *self, struct shard *s, struct err_note *note) {
    return (struct shard_turn){.shard = s,
                               .reader = shard_reader(s, self),
                               .note = note,
                               .now_ms = (uint64_t) env_wall_ms(feed_of(s)->world->env)};
}

/* ---- answering ---------------------------------------------------------------------------- */

static bool put_gone(struct feed *st, const struct shard_item *item) {
    return buffer_append(&st->out, item->value.at, item->value.size_bytes) &&
           feed_out_u64(st, item->origin) && feed_out_u64(st, item->sequence);
}

void feed_hear_have(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    const struct follower *f = feed_follower(st, from);
    struct err_note note = {""};
    struct shard_turn t = turn_of(self, s, &note);
    uint8_t header[FEED_ARRAY32_BYTES] = {0xdd};
    struct value items;
    struct value_iter each;
    struct shard_item item;
    uint64_t session, number;
    uint32_t gone = 0;
    size_t count_at;
    bool fits;

    if (f == NULL || !replica_wire_u64(it, &session) || session != f->session ||
        !replica_wire_u64(it, &number) || !value_iter_next(it, &items) ||
        value_kind_of(items) != VALUE_ARRAY || !feed_out_begin(s, REPLICA_GONE, 3, 0) ||
        !feed_out_u64(st, session) || !feed_out_u64(st, number))
        return; /* it asks again */
    count_at = st->out.size_bytes;
    fits = buffer_append(&st->out, header, sizeof header);
    each = value_iter_of(items);
    while (fits && next_item(&each, &item)) {
        if (!shard_floor_is_gone(&t, &item))
            continue;
        fits = put_gone(st, &item);
        gone++;
    }
    reader_reset(t.reader);
    for (unsigned i = 0; fits && i < 4; i++)
        st->out.at[count_at + 1 + i] = (uint8_t) (3 * gone >> (24 - 8 * i));
    if (fits)
        (void) feed_out_send(st, from);
}

/* ---- hearing the answer ------------------------------------------------------------------- */

void feed_hear_gone(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct err_note note = {""};
    struct shard_turn t = turn_of(self, s, &note);
    struct value items;
    struct value_iter each;
    struct shard_item item;
    uint64_t number;
    eg_err err;

    if (!feed_is_asked(feed_of(s), from, it) || *sift_of(s, from) == NULL ||
        !replica_wire_u64(it, &number) || number != (*sift_of(s, from))->number ||
        !value_iter_next(it, &items) || value_kind_of(items) != VALUE_ARRAY)
        return;
    err = shard_ready(&t);
    each = value_iter_of(items);
    while (err == EG_OK && next_item(&each, &item))
        err = shard_floor_let_go(&t, &item);
    reader_reset(t.reader);
    if (err == EG_OK) {
        ask_on(self, s, from);
        return;
    }
    feed_sift_stop(feed_of(s), sift_of(s, from));
    feed_not_taken(self, s, from, err);
}
