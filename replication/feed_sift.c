/* feed_sift.c -- who has missed deletes that the other has forgotten asks about all that it has.
 *
 *     asks:   HAVE session, number, [key, origin, sequence, ...] -->  looks each of them up
 *             lets go of these                                   <--  GONE session, number, [...]
 *             ... to the last record; then the END that waited is taken
 *
 * The key is the record, in a bag.  One question is under way at a time; it is kept as it was sent,
 * and sent again where no answer comes.  Nothing but the place is kept between two of
 * them, and who answers keeps nothing at all.  A record that comes meanwhile is asked about, or it
 * is not: who answers has it.
 *
 * First the two compare what they have (feed_compare.h): then only the records of the parts that
 * differ are asked about. */
#include "engine/env.h"
#include "replication/feed_compare.h"
#include "tables/shard_floor.h"

enum {
    QUESTION_ITEMS = 256, /* of a table on disc each is a read */
    QUESTION_BYTES = 32 << 10,
    ITEM_BYTES = 2 * 9,
};

struct sift {
    uint64_t number; /* of the question under way */
    bool whole;      /* all records are asked about, and not only those that were listed */
    size_t listed;   /* how far those are asked about, in bytes */
    uint32_t listed_count;
    struct buffer question;
    struct buffer place;      /* the last key that was asked about */
    struct buffer end;        /* what the END said */
    struct shard_clock knows; /* and of that, whose dots the other covers, */
    uint64_t floor_hlc;       /* and how late what it has forgotten may be */
};

void feed_sift_stop(struct feed *st, struct sift **at) {
    struct sift *f = *at;

    if (f == NULL)
        return;
    buffer_fini(&f->question);
    buffer_fini(&f->place);
    buffer_fini(&f->end);
    shard_clock_fini(&f->knows);
    alloc_put(st->world->alloc, f, sizeof *f);
    *at = NULL;
}

/* That of what we hear from there. */
static struct sift **sift_of(const struct shard *s, uint64_t from) {
    struct feed *st = feed_of(s);

    return feed_follows(st, from) ? &st->sift : &feed_follower(st, from)->sift;
}

/* ---- asking -------------------------------------------------------------------------- */

static struct compare *compare_of(const struct shard *s, uint64_t from) {
    const struct feed *st = feed_of(s);

    return feed_follows(st, from) ? st->compare : feed_follower(st, from)->compare;
}

bool feed_sift_put(const struct shard *s, const struct record *rec, struct buffer *out) {
    const struct origins *o = feed_of(s)->world->origins;
    struct value v = s->store->bag ? record_value(rec) : record_key(rec);
    uint8_t *room = buffer_room(out, v.size_bytes + ITEM_BYTES);
    struct value_writer w = value_writer_init(room, room == NULL ? 0 : v.size_bytes + ITEM_BYTES);

    if (room == NULL)
        return false;
    value_put_raw(&w, v);
    value_put_u64(&w, origin_of(o, dot_slot(rec->dot)));
    value_put_u64(&w, dot_sequence(rec->dot));
    out->size_bytes += w.need_bytes;
    return true;
}

/* The next of those that were listed. */
static eg_err put_listed(struct shard *s, struct sift *f, const struct compare *c,
                         uint32_t *count) {
    struct buffer *out = &feed_of(s)->out;
    uint32_t left = c->item_count - f->listed_count;
    struct value_iter it = {left == 0 ? c->items.at : c->items.at + f->listed, 3 * left};
    const uint8_t *from = it.at;

    while (*count < left && *count < QUESTION_ITEMS && (size_t) (it.at - from) < QUESTION_BYTES) {
        struct value v;

        for (unsigned i = 0; i < 3; i++)
            EG_ASSERT(value_iter_next(&it, &v));
        ++*count;
    }
    f->listed += (size_t) (it.at - from);
    f->listed_count += *count;
    return *count == 0 || buffer_append(out, from, (size_t) (it.at - from)) ? EG_OK : EG_MEMORY;
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
        if (!feed_sift_put(s, rec, &st->out))
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
    eg_err err = EG_OK;

    if (!feed_out_begin(s, REPLICA_HAVE, 3, 0) || !feed_out_u64(st, session) ||
        !feed_out_u64(st, ++f->number))
        return EG_MEMORY;
    count_at = st->out.size_bytes;
    if (!buffer_append(&st->out, header, sizeof header))
        return EG_MEMORY;
    if (!f->whole)
        err = put_listed(s, f, compare_of(s, to), &count);
    if (!f->whole && count == 0 && compare_of(s, to)->spoilt)
        f->whole = true;
    if (f->whole)
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

void feed_sift_again(struct actor *self, struct shard *s, uint64_t to) {
    const struct feed_world *w = feed_of(s)->world;
    const struct sift *f = *sift_of(s, to);
    struct value question = {f->question.at, (uint32_t) f->question.size_bytes};

    if (question.size_bytes != 0)
        (void) w->send(w->user, to, question); /* or the next time */
    else
        feed_compare_again(self, s, to);
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
                      const struct shard_clock *knows, const struct shard_floor *floor) {
    struct alloc *a = feed_of(s)->world->alloc;
    struct sift **at = sift_of(s, from), *f = *at;

    if (f != NULL)
        return true; /* it has come once more */
    if (shard_clock_has(shard_copy_clock(s), &floor->clock))
        return false;
    f = alloc_zero(a, sizeof *f);
    if (f != NULL) {
        buffer_init(&f->question, a, SIZE_MAX);
        buffer_init(&f->place, a, KEY_SIZE_MAX * 2);
        buffer_init(&f->end, a, SIZE_MAX);
        shard_clock_init(&f->knows, a);
        f->floor_hlc = floor->hlc;
        *at = f;
    }
    if (f == NULL || !buffer_append(&f->end, said.at, said.size_bytes) ||
        shard_clock_copy(&f->knows, knows) != EG_OK) {
        feed_sift_stop(feed_of(s), at);
        feed_not_taken(self, s, from, EG_MEMORY);
        return true;
    }
    if (!feed_compare_begins(self, s, from,
                             feed_follows(feed_of(s), from)
                                 ? feed_of(s)->following
                                 : feed_follower(feed_of(s), from)->asked_session)) {
        f->whole = true;
        ask_on(self, s, from);
    }
    return true;
}

void feed_sift_go(struct actor *self, struct shard *s, uint64_t from) {
    (*sift_of(s, from))->whole = compare_of(s, from)->all;
    ask_on(self, s, from);
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

/* What it was asked about and does not know at all: it may be older than a delete that it has
 * forgotten, and that a copy remembers which is not here.  The master's word is later. */
static eg_err renew_unknown(struct shard_turn *t, const struct sift *f) {
    struct value question = {f->question.at, (uint32_t) f->question.size_bytes};
    struct replica_head head;
    struct value_iter it, each;
    struct shard_item item;
    uint64_t session, number;
    eg_err err = replica_wire_open(&head, &it, question);

    if (err == EG_OK && (!replica_wire_u64(&it, &session) || !replica_wire_u64(&it, &number) ||
                         !value_iter_enter(&it, &each)))
        err = EG_INTERNAL;
    while (err == EG_OK && next_item(&each, &item))
        err = shard_floor_renew(t, &item, &f->knows, f->floor_hlc);
    return err;
}

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
        (*sift_of(s, from))->question.size_bytes == 0 || !value_iter_next(it, &items) ||
        value_kind_of(items) != VALUE_ARRAY)
        return;
    err = shard_ready(&t);
    each = value_iter_of(items);
    while (err == EG_OK && next_item(&each, &item))
        err = shard_floor_let_go(&t, &item);
    if (err == EG_OK && !feed_follows(feed_of(s), from))
        err = renew_unknown(&t, *sift_of(s, from));
    reader_reset(t.reader);
    if (err == EG_OK) {
        ask_on(self, s, from);
        return;
    }
    feed_sift_stop(feed_of(s), sift_of(s, from));
    feed_not_taken(self, s, from, err);
}
