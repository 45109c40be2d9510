/* feed_compare.c -- two trees compared from their roots down, and what lies in their leaves. */
#include "replication/feed_compare.h"

#include "engine/env.h"
#include "replication/feed_scrub.h"

#include <stdlib.h>
#include <string.h>

enum { REST_BYTES = 8 };

/* ---- begin and end --------------------------------------------------------------------------- */

void feed_compare_stop(const struct feed *st, struct compare **at) {
    struct compare *c = *at;

    if (c == NULL)
        return;
    if (c->wanted != NULL)
        alloc_put(st->world->alloc, c->wanted, hash_tree_leaves(&c->tree));
    hash_tree_close(&c->tree);
    buffer_fini(&c->place);
    buffer_fini(&c->said);
    buffer_fini(&c->prints);
    buffer_fini(&c->items);
    alloc_put(st->world->alloc, c, sizeof *c);
    *at = NULL;
}

/* That of what we hear from there. */
static struct compare **asking(struct feed *st, uint64_t from) {
    return feed_follows(st, from) ? &st->compare : &feed_follower(st, from)->compare;
}

static uint32_t depth_for(const struct shard *s) {
    return EG_MAX(hash_tree_depth(s->store->ops->stats(s->store).count), 1u);
}

/* NULL: no memory, or malformed. */
static struct compare *compare_open(struct shard *s, struct compare **at, uint64_t depth,
                                    uint64_t salt) {
    const struct feed *st = feed_of(s);
    struct alloc *a = st->world->alloc;
    struct compare *c;

    feed_compare_stop(st, at);
    if (depth == 0 || depth > HASH_TREE_DEPTH_MAX)
        return NULL;
    c = *at = alloc_zero(a, sizeof *c);
    if (c == NULL)
        return NULL;
    buffer_init(&c->place, a, KEY_SIZE_MAX * 2);
    buffer_init(&c->said, a, SIZE_MAX);
    buffer_init(&c->prints, a, COMPARE_LIST_BYTES);
    buffer_init(&c->items, a, COMPARE_LIST_BYTES);
    if (hash_tree_open(&c->tree, a, (uint32_t) depth, salt) == EG_OK)
        c->wanted = alloc_zero(a, hash_tree_leaves(&c->tree));
    if (c->wanted == NULL)
        feed_compare_stop(st, at);
    else
        (void) hash_tree_begin(&c->tree);
    return *at;
}

/* ---- said ------------------------------------------------------------------------------------ */

static bool out_bool(struct feed *st, bool yes) {
    uint8_t byte = yes ? 0xc3 : 0xc2;

    return buffer_append(&st->out, &byte, 1);
}

/* Who follows keeps what it says, to say it once more. */
static bool send_kept(struct shard *s, struct compare *c) {
    struct feed *st = feed_of(s);

    if (c->follows) {
        buffer_clear(&c->said);
        if (!buffer_append(&c->said, st->out.at, st->out.size_bytes))
            return false;
    }
    return feed_out_send(st, c->node) == EG_OK;
}

static uint32_t child_of(const uint32_t *parents, size_t i) {
    return parents[i / HASH_TREE_FAN] * HASH_TREE_FAN + (uint32_t) (i % HASH_TREE_FAN);
}

static void put_sum(uint8_t *at, size_t size_bytes, uint64_t sum) {
    for (size_t i = 0; i < size_bytes; i++)
        at[i] = (uint8_t) (sum >> 8 * i);
}

/* What lies below these, at `level`; behind the leaves, what lies in no other. */
static bool put_sums(const struct compare *c, uint32_t level, const uint32_t *parents,
                     uint32_t count, struct buffer *out) {
    uint8_t sum[REST_BYTES];
    bool fits = true;

    if (level > c->tree.depth) {
        put_sum(sum, REST_BYTES, hash_tree_rest(&c->tree, c->wanted));
        return buffer_append(out, sum, REST_BYTES);
    }
    for (size_t i = 0; fits && level != 0 && i < (size_t) count * HASH_TREE_FAN; i++) {
        put_sum(sum, COMPARE_SUM_BYTES, hash_tree_sum(&c->tree, level, child_of(parents, i)));
        fits = buffer_append(out, sum, COMPARE_SUM_BYTES);
    }
    return fits;
}

static bool send_tree(struct shard *s, struct compare *c, uint32_t level, const uint32_t *parents,
                      uint32_t count) {
    struct feed *st = feed_of(s);
    struct buffer sums;
    bool sent;

    buffer_init(&sums, st->world->alloc, SIZE_MAX);
    sent = put_sums(c, level, parents, count, &sums) && feed_out_begin(s, REPLICA_TREE, 7, 0) &&
           feed_out_u64(st, c->session) && out_bool(st, c->follows) &&
           feed_out_u64(st, c->tree.salt) && feed_out_u64(st, c->tree.depth) &&
           feed_out_u64(st, level) && feed_scrub_out_numbers(st, parents, count) &&
           feed_scrub_out_binary(st, sums.at, sums.size_bytes) && send_kept(s, c);
    buffer_fini(&sums);
    return sent;
}

static bool put_leaves(struct feed *st, const struct compare *c) {
    struct buffer leaves;
    bool fits = true;

    buffer_init(&leaves, st->world->alloc, SIZE_MAX);
    for (uint32_t i = 0; fits && i < hash_tree_leaves(&c->tree); i++)
        if (c->wanted[i])
            fits = buffer_append(&leaves, &i, sizeof i);
    fits = fits && feed_scrub_out_numbers(st, (const uint32_t *) (const void *) leaves.at,
                                          (uint32_t) (leaves.size_bytes / sizeof(uint32_t)));
    buffer_fini(&leaves);
    return fits;
}

/* That is what we have; without leaves: tell all, or nothing more is asked. */
static bool send_want(struct shard *s, struct compare *c, bool leaves) {
    static const uint8_t nil = 0xc0;
    struct feed *st = feed_of(s);

    return feed_out_begin(s, REPLICA_WANT, 4, 0) && feed_out_u64(st, c->session) &&
           feed_out_u64(st, c->tree.salt) &&
           (leaves ? put_leaves(st, c) : buffer_append(&st->out, &nil, 1)) &&
           feed_scrub_out_binary(st, c->prints.at, leaves ? c->prints.size_bytes : 0) &&
           send_kept(s, c);
}

/* ---- who follows knows enough ----------------------------------------------------------------
 */

/* It may be gone afterwards. */
static void finish(struct actor *self, struct shard *s, struct compare *c) {
    uint64_t node = c->node;

    c->stage = COMPARE_OVER;
    c->all |= c->sifts && c->spoilt;
    if (c->sifts) {
        (void) send_want(s, c, false); /* it keeps its tree a little longer then */
        feed_sift_go(self, s, node);
    } else if (!send_want(s, c, !c->all)) {
        feed_not_taken(self, s, node, EG_MEMORY);
    }
}

static void give_up(struct actor *self, struct shard *s, struct compare *c) {
    c->all = true;
    finish(self, s, c);
}

static void conclude(struct actor *self, struct shard *s, struct compare *c, uint64_t rest) {
    if (rest != hash_tree_rest(&c->tree, c->wanted) && !PLANTED(PART_NOT_ASKED_ABOUT)) {
        give_up(self, s, c);
        return;
    }
    c->stage = COMPARE_LISTS;
    buffer_clear(&c->place);
    feed_step_soon(self, s, false);
}

/* ---- heard ----------------------------------------------------------------------------------- */

static void take_leaves(struct compare *c, const struct buffer *leaves) {
    const uint32_t *leaf = (const uint32_t *) (const void *) leaves->at;

    c->wanted_count = (uint32_t) (leaves->size_bytes / sizeof *leaf);
    memset(c->wanted, 0, hash_tree_leaves(&c->tree));
    for (uint32_t i = 0; i < c->wanted_count; i++)
        c->wanted[leaf[i]] = 1;
}

/* The children, at `level`, whose sums are not ours.  False: malformed, no memory. */
static bool differing(const struct compare *c, uint32_t level, const struct buffer *parents,
                      struct value sums, struct buffer *out) {
    const uint32_t *parent = (const uint32_t *) (const void *) parents->at;
    size_t count = parents->size_bytes / sizeof *parent * HASH_TREE_FAN;
    const uint8_t *at;
    uint32_t size_bytes;

    if (!value_get_bytes(sums, &at, &size_bytes) || size_bytes != count * COMPARE_SUM_BYTES)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t number = child_of(parent, i);
        uint8_t ours[COMPARE_SUM_BYTES];

        put_sum(ours, sizeof ours, hash_tree_sum(&c->tree, level, number));
        if (memcmp(at + i * sizeof ours, ours, sizeof ours) == 0 || PLANTED(PART_NOT_ASKED_ABOUT))
            continue;
        if (!buffer_append(out, &number, sizeof number))
            return false;
    }
    return true;
}

static bool read_rest(struct value sums, uint64_t *rest) {
    const uint8_t *at;
    uint32_t size_bytes;

    if (!value_get_bytes(sums, &at, &size_bytes) || size_bytes != REST_BYTES)
        return false;
    *rest = 0;
    for (unsigned i = 0; i < REST_BYTES; i++)
        *rest |= (uint64_t) at[i] << 8 * i;
    return true;
}

/* Say more of what differs; false: it cannot be said. */
static bool descend(struct shard *s, struct compare *c, uint32_t level,
                    const struct buffer *parents, struct value sums) {
    struct buffer differ;
    uint32_t count;
    bool said;

    buffer_init(&differ, feed_of(s)->world->alloc, SIZE_MAX);
    said = differing(c, level, parents, sums, &differ);
    count = (uint32_t) (differ.size_bytes / sizeof count);
    if (said && (count == 0 || level == c->tree.depth)) {
        take_leaves(c, &differ);
        level = c->tree.depth;
    }
    said = said && send_tree(s, c, level + 1, (const uint32_t *) (const void *) differ.at, count);
    buffer_fini(&differ);
    return said;
}

/* They are asked again what they have not answered. */
static void answer(struct actor *self, struct shard *s, struct compare *c, uint64_t level,
                   struct value numbers, struct value sums) {
    uint32_t depth = c->tree.depth;
    struct buffer nodes;
    uint64_t rest;
    bool said = false;

    if (level == 0 || level > depth + 1)
        return;
    buffer_init(&nodes, feed_of(s)->world->alloc, SIZE_MAX);
    if (feed_scrub_numbers(&nodes, numbers,
                           UINT32_C(1) << ((uint32_t) (level - 1) * HASH_TREE_FAN_BITS))) {
        said = true;
        if (level <= depth) {
            said = descend(s, c, (uint32_t) level, &nodes, sums);
        } else if (read_rest(sums, &rest)) {
            take_leaves(c, &nodes);
            if (c->follows) {
                buffer_fini(&nodes);
                conclude(self, s, c, rest);
                return;
            }
            said = send_tree(s, c, depth + 1, (const uint32_t *) (const void *) nodes.at,
                             c->wanted_count);
        }
    }
    buffer_fini(&nodes);
    if (!said && c->follows)
        give_up(self, s, c);
}

struct tree_word {
    uint64_t session, salt, depth, level;
    bool follows; /* who says it */
    const uint8_t *at;
    struct value numbers, sums;
};

static bool read_word(struct value_iter it, struct tree_word *w) {
    struct value follows;

    if (!value_iter_u64(&it, &w->session) || !value_iter_next(&it, &follows) ||
        !value_get_bool(follows, &w->follows) || !value_iter_u64(&it, &w->salt) ||
        !value_iter_u64(&it, &w->depth) || !value_iter_u64(&it, &w->level))
        return false;
    return value_iter_next(&it, &w->numbers) && value_iter_next(&it, &w->sums);
}

/* It has come before we had summed. */
static void keep_word(struct compare *c, const struct tree_word *w) {
    buffer_clear(&c->said);
    c->level = w->level;
    if (!buffer_append(&c->said, w->numbers.at, w->numbers.size_bytes) ||
        !buffer_append(&c->said, w->sums.at, w->sums.size_bytes))
        buffer_clear(&c->said); /* it asks again */
}

static void hear_follower(struct actor *self, struct shard *s, uint64_t from,
                          const struct tree_word *w) {
    struct follower *f = feed_follower(feed_of(s), from);
    struct compare *c;

    if (f == NULL || f->session != w->session)
        return;
    c = f->told;
    if ((c == NULL || c->tree.salt != w->salt) && w->level == 1 && f->stage == WALK_OVER) {
        c = compare_open(s, &f->told, w->depth, w->salt);
        if (c == NULL)
            return; /* it asks about everything in the end */
        c->node = from;
        c->session = w->session;
        feed_step_soon(self, s, false);
    }
    if (c == NULL || c->tree.salt != w->salt)
        return;
    if (c->stage == COMPARE_SUMS)
        keep_word(c, w);
    else
        answer(self, s, c, w->level, w->numbers, w->sums);
}

static void hear_teller(struct actor *self, struct shard *s, uint64_t from,
                        const struct tree_word *w) {
    struct feed *st = feed_of(s);
    struct compare **at = asking(st, from), *c = *at;

    if (c != NULL && (c->sifts || c->tree.salt == w->salt)) {
        if (w->level != 0 && c->tree.salt == w->salt && c->stage == COMPARE_TALKS)
            answer(self, s, c, w->level, w->numbers, w->sums);
        else if (w->level == 0 && !c->sifts)
            feed_compare_again(self, s, from);
        return;
    }
    if (w->level != 0)
        return;
    c = compare_open(s, at, w->depth, w->salt);
    if (c == NULL) {
        struct compare none = {.node = from, .session = w->session, .tree.salt = w->salt};

        if (!send_want(s, &none, false))
            feed_not_taken(self, s, from, EG_MEMORY);
        return;
    }
    c->node = from;
    c->session = w->session;
    c->follows = true;
    feed_step_soon(self, s, false);
}

void feed_hear_tree(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct tree_word w;

    if (!read_word(*it, &w))
        return;
    if (w.follows)
        hear_follower(self, s, from, &w);
    else if (feed_is_asked(feed_of(s), from, it))
        hear_teller(self, s, from, &w);
}

/* ---- what is to be told ------------------------------------------------------------------------
 */

static int by_number(const void *a, const void *b) {
    uint64_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static bool take_prints(struct compare *c, struct value prints) {
    const uint8_t *at;
    uint32_t size_bytes;

    if (!value_get_bytes(prints, &at, &size_bytes) || size_bytes % COMPARE_PRINT_BYTES != 0)
        return false;
    buffer_clear(&c->prints);
    for (uint32_t i = 0; i < size_bytes; i += COMPARE_PRINT_BYTES) {
        uint64_t print = 0;

        for (unsigned k = 0; k < COMPARE_PRINT_BYTES; k++)
            print |= (uint64_t) at[i + k] << 8 * k;
        if (!buffer_append(&c->prints, &print, sizeof print))
            return false;
    }
    if (c->prints.size_bytes != 0)
        qsort(c->prints.at, c->prints.size_bytes / 8, 8, by_number);
    return true;
}

void feed_hear_want(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct follower *f = feed_follower(st, from);
    struct value numbers, prints;
    struct buffer leaves;
    uint64_t session, salt;
    struct compare *c;

    if (f == NULL || f->told == NULL || !value_iter_u64(it, &session) || session != f->session ||
        !value_iter_u64(it, &salt) || salt != f->told->tree.salt ||
        !value_iter_next(it, &numbers) || !value_iter_next(it, &prints))
        return;
    if (f->stage != WALK_COMPARES) {
        if (f->stage == WALK_OVER)
            feed_compare_stop(st, &f->told);
        return;
    }
    c = f->told;
    buffer_init(&leaves, st->world->alloc, SIZE_MAX);
    c->all = value_kind_of(numbers) == VALUE_NIL ||
             !feed_scrub_numbers(&leaves, numbers, hash_tree_leaves(&c->tree)) ||
             !take_prints(c, prints);
    if (!c->all)
        take_leaves(c, &leaves);
    buffer_fini(&leaves);
    c->stage = COMPARE_OVER;
    f->stage = WALK_WAITS;
    feed_compare_ends(st, f);
    feed_step_soon(self, s, false);
}

/* Both have the same of a key's version where this is the same; the content is the scrub's. */
static struct hash_sum print_of(const struct shard *s, const struct compare *c,
                                const struct record *rec, uint64_t hash) {
    struct hash_item item = {.hash = hash,
                             .origin = origin_of(feed_of(s)->world->origins, dot_slot(rec->dot)),
                             .sequence = dot_sequence(rec->dot),
                             .hlc = rec->hlc};

    return hash_tree_print(c->tree.salt, &item);
}

static uint64_t said_of(struct hash_sum print) {
    return print.low >> (64 - 8 * COMPARE_PRINT_BYTES);
}

bool feed_compare_has(const struct shard *s, const struct compare *c, const struct record *rec) {
    uint64_t hash, print;
    struct key k;

    if (c == NULL || c->stage != COMPARE_OVER || c->all ||
        table_key(s->table, &k, record_key(rec)) != EG_OK)
        return false;
    hash = k.hash;
    key_release(&k);
    if (!c->wanted[hash_tree_leaf(&c->tree, hash)])
        return true;
    print = said_of(print_of(s, c, rec, hash));
    return c->prints.size_bytes != 0 &&
           bsearch(&print, c->prints.at, c->prints.size_bytes / 8, 8, by_number) != NULL;
}

/* ---- the shard gone through ------------------------------------------------------------------ */

struct look {
    struct shard *shard;
    struct compare *compare;
};

static eg_err sum(void *user, const struct record *rec, uint64_t hash) {
    const struct look *l = user;

    hash_tree_add_print(&l->compare->tree, hash, print_of(l->shard, l->compare, rec, hash));
    return EG_OK;
}

static eg_err list(void *user, const struct record *rec, uint64_t hash) {
    const struct look *l = user;
    struct compare *c = l->compare;
    uint8_t print[COMPARE_PRINT_BYTES];

    if (!c->wanted[hash_tree_leaf(&c->tree, hash)])
        return EG_OK;
    if (c->sifts) {
        c->item_count++;
        return feed_sift_put(l->shard, rec, &c->items) ? EG_OK : EG_MEMORY;
    }
    put_sum(print, sizeof print, said_of(print_of(l->shard, c, rec, hash)));
    return buffer_append(&c->prints, print, sizeof print) ? EG_OK : EG_MEMORY;
}

/* All has been looked at. */
static void looked(struct actor *self, struct shard *s, struct compare *c) {
    static const uint32_t root = 0;
    struct value_iter said = {c->said.at, 2};
    struct value numbers, sums;

    if (c->stage == COMPARE_LISTS) {
        finish(self, s, c);
        return;
    }
    hash_tree_end(&c->tree);
    c->stage = COMPARE_TALKS;
    if (c->follows) {
        if (!send_tree(s, c, 1, &root, 1))
            give_up(self, s, c);
    } else if (c->said.size_bytes != 0 && value_iter_next(&said, &numbers) &&
               value_iter_next(&said, &sums)) {
        answer(self, s, c, c->level, numbers, sums);
    }
}

static struct compare *at_work(struct compare *c) {
    return c != NULL && (c->stage == COMPARE_SUMS || c->stage == COMPARE_LISTS) ? c : NULL;
}

static struct compare *any_at_work(const struct feed *st) {
    struct compare *c = at_work(st->compare);

    for (uint32_t i = 0; c == NULL && i < st->follower_count; i++) {
        c = at_work(st->follower[i]->compare);
        if (c == NULL)
            c = at_work(st->follower[i]->told);
    }
    return c;
}

/* It cannot be summed here: then who follows asks for all, or about all, in the end. */
static void fail(struct actor *self, struct shard *s, struct compare *c) {
    struct follower *f = feed_follower(feed_of(s), c->node);

    if (c->follows) {
        give_up(self, s, c);
        return;
    }
    if (f->stage == WALK_COMPARES) {
        f->stage = WALK_WAITS;
        feed_compare_ends(feed_of(s), f);
        feed_step_soon(self, s, false);
    }
    feed_compare_stop(feed_of(s), &f->told);
}

bool feed_compare_step(struct actor *self, struct shard *s) {
    struct compare *c = any_at_work(feed_of(s));
    struct look l = {s, c};
    bool over = false;
    eg_err err;

    if (c == NULL)
        return false;
    err = feed_scan(self, s, &c->place, c->stage == COMPARE_SUMS ? sum : list, &l, &over);
    if (err != EG_OK)
        fail(self, s, c);
    else if (over)
        looked(self, s, c);
    return true;
}

/* ---- when it is worth it --------------------------------------------------------------------- */

void feed_compare_ends(struct feed *st, struct follower *f) {
    if (f->compares)
        atomic_fetch_sub(&st->world->compares, 1);
    f->compares = false;
}

/* Those that begin together have salts that follow each other, which are told in few bytes; nobody
 * outside knows any of them. */
static uint64_t next_salt(struct feed_world *w, bool first) {
    uint64_t drawn = env_random(w->env);

    if (first)
        atomic_store(&w->salt, drawn);
    return atomic_fetch_add(&w->salt, 1);
}

bool feed_compare_offer(struct actor *self, struct shard *s, struct follower *f, eg_err *err) {
    struct feed_world *w = feed_of(s)->world;
    uint64_t count = s->store->ops->stats(s->store).count;
    struct compare *c;
    uint32_t others;

    *err = EG_OK;
    if (f->has_more == 0 || count == 0 || f->has_more < count / COMPARE_PART_LEAST)
        return false;
    others = atomic_fetch_add(&w->compares, 1);
    if (others >= COMPARE_AT_ONCE) {
        atomic_fetch_sub(&w->compares, 1);
        *err = EG_BUSY;
        return true;
    }
    f->compares = true;
    f->has_more = 0; /* once */
    c = compare_open(s, &f->told, depth_for(s), next_salt(w, others == 0));
    if (c == NULL) {
        feed_compare_ends(feed_of(s), f);
        return false;
    }
    c->node = f->node;
    c->session = f->session;
    f->stage = WALK_COMPARES;
    feed_compare_offer_again(s, f);
    feed_step_soon(self, s, false);
    return true;
}

void feed_compare_offer_again(struct shard *s, const struct follower *f) {
    (void) send_tree(s, f->told, 0, NULL, 0); /* or when it follows once more */
}

bool feed_compare_begins(struct actor *self, struct shard *s, uint64_t from, uint64_t session) {
    struct compare *c = NULL;

    if (s->store->ops->stats(s->store).count != 0)
        c = compare_open(s, asking(feed_of(s), from), depth_for(s),
                         env_random(feed_of(s)->world->env));
    if (c == NULL)
        return false;
    c->node = from;
    c->session = session;
    c->follows = c->sifts = true;
    feed_step_soon(self, s, false);
    return true;
}

void feed_compare_again(struct actor *self, struct shard *s, uint64_t to) {
    const struct feed_world *w = feed_of(s)->world;
    struct compare *c = *asking(feed_of(s), to);

    if (c == NULL || c->said.size_bytes == 0 || at_work(c) != NULL)
        return;
    if (c->stage == COMPARE_TALKS && ++c->tries > COMPARE_TRIES) {
        give_up(self, s, c);
        return;
    }
    (void) w->send(w->user, to,
                   (struct value){c->said.at, (uint32_t) c->said.size_bytes}); /* or next time */
}

void feed_compare_spoil(const struct feed *st, uint64_t from) {
    if (st->compare != NULL && st->compare->node != from)
        st->compare->spoilt = true;
    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->compare != NULL && st->follower[i]->node != from)
            st->follower[i]->compare->spoilt = true;
}
