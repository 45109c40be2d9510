/* feed_mend.c -- records of the leaves that differ: which of them are right, and written anew. */
#include "replication/feed_scrub.h"

#include "engine/env.h"

#include <stdlib.h>
#include <string.h>

enum { MENDED_A_TURN = 64 };

static bool is_wanted(const struct scrub_look *l) {
    return l->scrub->wanted[hash_tree_leaf(&l->scrub->tree, l->item.hash)] != 0;
}

static uint64_t print_of(const struct scrub *sc, const struct hash_item *item) {
    return hash_tree_print(sc->o.salt, item).low;
}

/* As much of it as a list says: its highest bytes, so that what is sorted stays so. */
static uint64_t said_of(uint64_t print) {
    return print >> (64 - 8 * SCRUB_PRINT_BYTES);
}

static int by_number(const void *a, const void *b) {
    uint64_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Of the leaves that are not looked at. */
static uint32_t rest_of(const struct scrub *sc) {
    return (uint32_t) hash_tree_rest(&sc->tree, sc->wanted);
}

/* ---- the master: what it has there ------------------------------------------------------------
 */

eg_err feed_mend_list(struct scrub_look *l) {
    uint64_t print;

    if (!is_wanted(l))
        return EG_OK;
    print = print_of(l->scrub, &l->item);
    return buffer_append(&l->scrub->prints, &print, sizeof print) ? EG_OK : EG_MEMORY;
}

static bool put_prints(struct buffer *out, const struct buffer *prints) {
    bool fits = true;

    for (size_t i = 0; fits && i < prints->size_bytes; i += 8) {
        uint8_t said[SCRUB_PRINT_BYTES];
        uint64_t print;

        memcpy(&print, prints->at + i, 8);
        print = said_of(print);
        for (unsigned k = 0; k < SCRUB_PRINT_BYTES; k++)
            said[k] = (uint8_t) (print >> 8 * k);
        fits = buffer_append(out, said, sizeof said);
    }
    return fits;
}

static bool out_list(struct shard *s) {
    struct feed *st = feed_of(s);
    struct scrub *sc = st->scrub;
    struct buffer leaves, prints;
    bool fits = true;

    buffer_init(&leaves, st->world->alloc, SIZE_MAX);
    buffer_init(&prints, st->world->alloc, SIZE_MAX);
    for (uint32_t i = 0; fits && i < hash_tree_leaves(&sc->tree); i++)
        if (sc->wanted[i])
            fits = buffer_append(&leaves, &i, sizeof i);
    fits = fits && put_prints(&prints, &sc->prints) && feed_scrub_out(s, REPLICA_LIST, 3) &&
           feed_scrub_out_numbers(st, (const uint32_t *) (const void *) leaves.at,
                                  (uint32_t) (leaves.size_bytes / sizeof(uint32_t))) &&
           feed_out_u64(st, rest_of(sc)) && feed_scrub_out_binary(st, prints.at, prints.size_bytes);
    buffer_fini(&leaves);
    buffer_fini(&prints);
    return fits;
}

void feed_mend_listed(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    struct scrub *sc = st->scrub;

    (void) self;
    sc->scan = SCAN_NONE;
    if (sc->prints.size_bytes != 0)
        qsort(sc->prints.at, sc->prints.size_bytes / 8, 8, by_number);
    feed_flush(s); /* what is in the list comes before it */
    if (shard_clock_copy(&sc->listed, shard_copy_clock(s)) != EG_OK) {
        feed_scrub_end(s, SCRUB_OVER); /* another time */
        return;
    }
    for (uint32_t i = 0; i < sc->peer_count; i++) {
        struct scrub_peer *p = &sc->peer[i];

        if (!p->differs)
            continue;
        p->owes = out_list(s) && feed_out_send(st, p->node) == EG_OK;
        if (!p->owes) {
            feed_scrub_end(s, SCRUB_OVER); /* another time */
            return;
        }
    }
}

/* ---- a copy: what it has not, and what the list has not -----------------------------------------
 */

/* False: malformed, or no memory. */
static bool take_leaves(struct shard *s, struct value numbers) {
    struct scrub *sc = feed_of(s)->scrub;
    struct buffer leaves;
    bool good;

    buffer_init(&leaves, feed_of(s)->world->alloc, SIZE_MAX);
    good = feed_scrub_numbers(&leaves, numbers, hash_tree_leaves(&sc->tree));
    memset(sc->wanted, 0, hash_tree_leaves(&sc->tree));
    sc->wanted_count = (uint32_t) (leaves.size_bytes / sizeof(uint32_t));
    for (size_t i = 0; good && i < sc->wanted_count; i++)
        sc->wanted[((const uint32_t *) (const void *) leaves.at)[i]] = 1;
    buffer_fini(&leaves);
    return good;
}

/* Likewise; sorted, as they were said. */
static bool take_prints(struct scrub *sc, struct value prints) {
    const uint8_t *at;
    uint32_t size_bytes, count;
    uint8_t *seen;
    bool good;

    if (!value_get_bytes(prints, &at, &size_bytes) || size_bytes % SCRUB_PRINT_BYTES != 0)
        return false;
    buffer_clear(&sc->prints);
    buffer_clear(&sc->seen);
    count = size_bytes / SCRUB_PRINT_BYTES;
    seen = count == 0 ? NULL : buffer_room(&sc->seen, count);
    good = seen != NULL || count == 0;
    for (uint32_t i = 0; good && i < count; i++) {
        uint64_t print = 0;

        seen[i] = 0;
        for (unsigned k = 0; k < SCRUB_PRINT_BYTES; k++)
            print |= (uint64_t) at[(size_t) i * SCRUB_PRINT_BYTES + k] << 8 * k;
        good = buffer_append(&sc->prints, &print, sizeof print);
    }
    return good;
}

void feed_mend_hear_list(struct actor *self, struct shard *s, struct value_iter *it) {
    struct scrub *sc = feed_of(s)->scrub;
    struct value numbers, prints;
    uint64_t rest;

    if (sc->scan != SCAN_NONE || !value_iter_next(it, &numbers) || !value_iter_u64(it, &rest) ||
        !value_iter_next(it, &prints))
        return;
    if (!take_leaves(s, numbers) || !take_prints(sc, prints))
        feed_scrub_end(s, SCRUB_OVER);
    else if (rest == rest_of(sc) || sc->wide || sc->wanted_count >= SCRUB_LEAVES_MAX)
        feed_scrub_scan(self, s, SCAN_MATCH);
    else if (!feed_scrub_once_more(s))
        feed_scrub_end(s, SCRUB_OVER);
}

static eg_err offer(struct scrub_look *l) {
    struct scrub *sc = l->scrub;
    size_t room_bytes =
        record_array_bytes(l->record) + record_state(l->record).size_bytes + REPLICA_HEAD_BYTES;
    uint8_t *room;
    struct value_writer w;

    if (sc->offers.size_bytes >= SCRUB_OFFER_BYTES)
        return EG_OK; /* the next time */
    room = buffer_room(&sc->offers, room_bytes);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, room_bytes);
    shard_copy_put_record(feed_of(l->shard)->world->origins, l->record, &w);
    sc->offers.size_bytes += w.need_bytes;
    sc->offer_count++;
    return EG_OK;
}

eg_err feed_mend_match(struct scrub_look *l) {
    struct scrub *sc = l->scrub;
    const uint8_t *found = NULL;
    uint64_t print;

    if (!is_wanted(l))
        return EG_OK;
    print = said_of(print_of(sc, &l->item));
    if (sc->prints.size_bytes != 0)
        found = bsearch(&print, sc->prints.at, sc->prints.size_bytes / 8, 8, by_number);
    if (found == NULL)
        return offer(l);
    sc->seen.at[(size_t) (found - sc->prints.at) / 8] = 1;
    return EG_OK;
}

/* Which of the list are not here, to the end of `out`. */
static bool put_lacking(const struct scrub *sc, struct buffer *out) {
    bool fits = true;

    for (uint32_t i = 0; fits && i < sc->prints.size_bytes / 8; i++)
        if (!sc->seen.at[i])
            fits = buffer_append(out, &i, sizeof i);
    return fits;
}

static bool put_offers(struct feed *st, uint32_t count) {
    uint8_t header[FEED_ARRAY32_BYTES];
    struct value_writer w = value_writer_init(header, sizeof header);

    value_put_array(&w, count);
    return buffer_append(&st->out, header, w.need_bytes) &&
           (count == 0 ||
            buffer_append(&st->out, st->scrub->offers.at, st->scrub->offers.size_bytes));
}

/* What was written here and the master has not: then what differs may be just that. */
static bool is_ahead(const struct shard *s) {
    const struct feed *st = feed_of(s);

    return st->up_has < st->up_sent || s->copy->group_count != 0;
}

void feed_mend_matched(struct shard *s) {
    struct feed *st = feed_of(s);
    const struct scrub *sc = st->scrub;
    bool ahead = is_ahead(s), sent;
    struct buffer numbers;

    buffer_init(&numbers, st->world->alloc, SIZE_MAX);
    sent = (ahead || put_lacking(sc, &numbers)) && feed_scrub_out(s, REPLICA_LACKING, 2) &&
           feed_scrub_out_numbers(st, (const uint32_t *) (const void *) numbers.at,
                                  (uint32_t) (numbers.size_bytes / sizeof(uint32_t))) &&
           put_offers(st, ahead ? 0 : sc->offer_count) && feed_out_send(st, sc->o.from) == EG_OK;
    (void) sent; /* the master ends it by time */
    buffer_fini(&numbers);
    feed_scrub_end(s, SCRUB_OVER);
}

/* ---- the master: what others say ----------------------------------------------------------------
 */

static bool add_offer(struct shard *s, uint64_t from, struct value change) {
    struct feed *st = feed_of(s);
    struct scrub *sc = st->scrub;
    struct scrub_offer o = {.node = from, .at = sc->offers.size_bytes};
    struct shard_offer said;
    struct hash_item item;

    if (shard_copy_read_offer(s, change, &said, &o.hash) != EG_OK)
        return true; /* of no use */
    item = feed_scrub_item(s, o.hash, said.version, said.expiry_ms, said.record, said.state);
    o.print = print_of(sc, &item);
    return buffer_append(&sc->offers, change.at, change.size_bytes) &&
           buffer_append(&sc->offered, &o, sizeof o);
}

static bool take_votes(struct shard *s, uint64_t from, struct value numbers) {
    struct scrub *sc = feed_of(s)->scrub;
    uint32_t listed = (uint32_t) (sc->prints.size_bytes / 8);
    struct buffer lacking;
    bool good;

    buffer_init(&lacking, feed_of(s)->world->alloc, SIZE_MAX);
    good = feed_scrub_numbers(&lacking, numbers, listed);
    for (size_t i = 0; good && i < lacking.size_bytes / sizeof(uint32_t); i++) {
        struct scrub_vote v = {.node = from};

        memcpy(&v.print,
               sc->prints.at + (size_t) 8 * ((const uint32_t *) (const void *) lacking.at)[i], 8);
        good = buffer_append(&sc->lacking, &v, sizeof v);
    }
    buffer_fini(&lacking);
    return good;
}

static bool take_lacking(struct shard *s, uint64_t from, struct value numbers,
                         struct value changes) {
    struct value_iter it;
    struct value change;

    if (value_kind_of(changes) != VALUE_ARRAY || !take_votes(s, from, numbers))
        return false;
    it = value_iter_of(changes);
    while (value_iter_next(&it, &change))
        if (!add_offer(s, from, change))
            return false;
    return true;
}

static void begin_to_mend(struct actor *self, struct shard *s) {
    struct scrub *sc = feed_of(s)->scrub;

    if (sc->lacking.size_bytes != 0)
        qsort(sc->lacking.at, sc->lacking.size_bytes / sizeof(struct scrub_vote),
              sizeof(struct scrub_vote), by_number);
    if (sc->offered.size_bytes != 0)
        qsort(sc->offered.at, sc->offered.size_bytes / sizeof(struct scrub_offer),
              sizeof(struct scrub_offer), by_number);
    feed_scrub_scan(self, s, SCAN_MEND);
}

void feed_mend_hear_lacking(struct actor *self, struct shard *s, uint64_t from,
                            struct value_iter *it) {
    struct scrub *sc = feed_of(s)->scrub;
    struct value numbers, changes;
    bool owing = false, owed = false, again = false;

    for (uint32_t i = 0; i < sc->peer_count; i++) {
        struct scrub_peer *p = &sc->peer[i];

        if (p->node == from && p->owes) {
            owed = true;
            p->owes = p->differs = false;
        }
        owing |= p->owes || p->descending;
        again |= p->differs; /* it has asked once more */
    }
    if (!owed || !value_iter_next(it, &numbers) || !value_iter_next(it, &changes))
        return;
    if (!take_lacking(s, from, numbers, changes))
        feed_scrub_end(s, SCRUB_OVER);
    else if (owing)
        return;
    else if (again)
        feed_scrub_try_list(self, s);
    else if (sc->lacking.size_bytes + sc->offered.size_bytes == 0)
        feed_scrub_end(s, SCRUB_OVER);
    else
        begin_to_mend(self, s);
}

/* ---- what is right ------------------------------------------------------------------------------
 */

/* The first of sorted items, each of which begins with a number, that is not below it. */
static size_t first_of(const struct buffer *b, size_t item_bytes, uint64_t number) {
    size_t low = 0, high = b->size_bytes / item_bytes;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (by_number(b->at + middle * item_bytes, &number) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t lackers(const struct scrub *sc, uint64_t print) {
    const struct scrub_vote *v = (const struct scrub_vote *) (const void *) sc->lacking.at;
    size_t count = sc->lacking.size_bytes / sizeof *v,
           at = first_of(&sc->lacking, sizeof *v, print);
    uint32_t votes = 0;

    for (; at < count && v[at].print == print; at++)
        votes++;
    return votes;
}

/* Those of a key's hash; *count of them. */
static struct scrub_offer *offers_of(const struct scrub *sc, uint64_t hash, size_t *count) {
    struct scrub_offer *o = (struct scrub_offer *) (void *) sc->offered.at;
    size_t all = sc->offered.size_bytes / sizeof *o, at = first_of(&sc->offered, sizeof *o, hash);

    for (*count = 0; at + *count < all && o[at + *count].hash == hash;)
        ++*count;
    return *count == 0 ? NULL : o + at;
}

static uint32_t offerers(const struct scrub *sc, const struct scrub_offer *of) {
    size_t count;
    const struct scrub_offer *o = offers_of(sc, of->hash, &count);
    uint32_t votes = 0;

    for (size_t i = 0; i < count; i++)
        votes += o[i].print == of->print;
    return votes;
}

/* The change that was offered.  It need not be covered: a copy that has more than its clock says
 * has claimed it (shard_copy_claim()). */
static bool read_offer(struct shard *s, const struct scrub_offer *o, struct shard_offer *said) {
    const struct scrub *sc = feed_of(s)->scrub;
    uint64_t hash;

    return shard_copy_read_offer(s, value_of(sc->offers.at + o->at), said, &hash) == EG_OK;
}

/* Is the offer better than what was best so far? */
static bool is_better(const struct shard *s, const struct shard_offer *a, uint32_t votes,
                      const struct shard_offer *best, uint32_t best_votes) {
    if (a->version.hlc == best->version.hlc && a->version.dot == best->version.dot)
        return votes > best_votes;
    return shard_copy_is_newer(s, a->version, best->version);
}

/* The best of what is offered for what `best` stands for; returns how many others have it as it
 * is. */
static uint32_t best_of(struct shard *s, uint64_t hash, struct shard_offer *best,
                        uint32_t best_votes, uint32_t others) {
    struct scrub *sc = feed_of(s)->scrub;
    size_t count;
    struct scrub_offer *o = offers_of(sc, hash, &count);

    for (size_t i = 0; i < count; i++) {
        struct shard_offer said;
        uint32_t votes = offerers(sc, &o[i]);

        if (o[i].done)
            continue;
        if (!read_offer(s, &o[i], &said)) {
            o[i].done = true;
            continue;
        }
        if (!shard_copy_is_same(s, said.record, best->record))
            continue;
        o[i].done = true;
        if (is_better(s, &said, votes, best, best_votes)) {
            *best = said;
            best_votes = others = votes;
        }
    }
    return others;
}

static eg_err mend(struct shard *s, struct reader *r, const struct shard_offer *with,
                   enum shard_mend how) {
    struct feed_world *w = feed_of(s)->world;
    struct err_note note = {""};
    struct shard_turn t = {
        .shard = s, .reader = r, .note = &note, .now_ms = (uint64_t) env_wall_ms(w->env)};
    eg_err err = shard_ready(&t);

    if (err == EG_OK)
        err = shard_copy_mend(&t, with, how);
    if (err == EG_OK)
        atomic_fetch_add(&w->mended, 1);
    return err;
}

static enum shard_mend how_to(const struct scrub *sc, uint32_t others) {
    return others == sc->peer_count ? SHARD_MEND_KEEP : SHARD_MEND_WRITE;
}

/* One of ours: is it what some copy has not? */
eg_err feed_mend_record(struct scrub_look *l) {
    struct shard *s = l->shard;
    struct scrub *sc = l->scrub;
    const struct record *rec = l->record;
    struct shard_offer best = {.version = {rec->hlc, rec->dot},
                               .expiry_ms = record_expiry_ms(rec),
                               .record = record_value(rec),
                               .state = record_state(rec)};
    uint32_t without, others;

    if (!is_wanted(l))
        return EG_OK;
    without = lackers(sc, print_of(sc, &l->item));
    others = best_of(s, l->item.hash, &best,
                     without == 0 ? UINT32_MAX : 1 + sc->peer_count - without, 0);
    return without == 0 ? EG_OK : mend(s, l->reader, &best, how_to(sc, others));
}

/* Has this come since we listed?  Then so it does to the others, behind what they have said. */
static bool is_since(struct shard *s, struct record_version v) {
    return shard_clock_covers(shard_copy_clock(s), v.dot) &&
           !shard_clock_covers(&feed_of(s)->scrub->listed, v.dot);
}

/* What others have and we have not. */
static eg_err mend_absent(struct shard *s, struct reader *r, struct scrub_offer *o) {
    struct shard_offer best;
    eg_err err;
    enum shard_trace trace;
    struct record_version gone;
    uint32_t others;

    if (!read_offer(s, o, &best))
        return EG_OK;
    o->done = true;
    others = offerers(feed_of(s)->scrub, o);
    others = best_of(s, o->hash, &best, others, others);
    err = shard_copy_trace(s, r, &best, &trace, &gone);
    if (err != EG_OK || trace == SHARD_TRACE_RECORD ||
        (trace == SHARD_TRACE_GONE && is_since(s, gone)))
        return err; /* it has come meanwhile, or gone */
    return mend(s, r, &best,
                trace == SHARD_TRACE_GONE ? SHARD_MEND_REMOVE : how_to(feed_of(s)->scrub, others));
}

void feed_mend_rest(struct actor *self, struct shard *s) {
    struct scrub *sc = feed_of(s)->scrub;
    struct reader *r = shard_reader(s, self);
    struct scrub_offer *o = (struct scrub_offer *) (void *) sc->offered.at;
    size_t count = sc->offered.size_bytes / sizeof *o, until = sc->rest + MENDED_A_TURN;
    eg_err err = EG_OK;

    for (; sc->rest < count && sc->rest < until && err == EG_OK; sc->rest++)
        if (!o[sc->rest].done)
            err = mend_absent(s, r, &o[sc->rest]);
    reader_reset(r);
    if (err == EG_OK && sc->rest < count)
        feed_scrub_scan(self, s, SCAN_REST);
    else
        feed_scrub_end(s, SCRUB_OVER); /* what could not be written is found again */
}
