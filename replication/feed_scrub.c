/* feed_scrub.c -- a shard summed in steps, and the leaves in which two copies of it differ. */
#include "replication/feed_scrub.h"

#include "engine/planted.h"

#include <string.h>

/* ---- begin and end --------------------------------------------------------------------------- */

static void publish(struct shard *s, uint64_t round, enum scrub_state state) {
    struct feed_world *w = feed_of(s)->world;

    atomic_store(&s->scrubbed, round << SCRUB_STATE_BITS | state);
    w->scrubbed(w);
}

static void scrub_free(struct shard *s) {
    struct feed *st = feed_of(s);
    struct scrub *sc = st->scrub;

    if (sc == NULL)
        return;
    s->copy->tree = NULL;
    st->scrub = NULL;
    if (sc->wanted != NULL)
        alloc_put(st->world->alloc, sc->wanted, hash_tree_leaves(&sc->tree));
    hash_tree_close(&sc->tree);
    shard_clock_fini(&sc->listed);
    buffer_fini(&sc->place);
    buffer_fini(&sc->prints);
    buffer_fini(&sc->seen);
    buffer_fini(&sc->lacking);
    buffer_fini(&sc->offered);
    buffer_fini(&sc->offers);
    alloc_put(st->world->alloc, sc, sizeof *sc);
}

void feed_scrub_end(struct shard *s, enum scrub_state state) {
    uint64_t round = feed_of(s)->scrub->o.round;

    scrub_free(s);
    publish(s, round, state);
}

/* Who waits for it looks now and then. */
void feed_scrub_drop(struct shard *s) {
    struct scrub *sc = feed_of(s) == NULL ? NULL : feed_of(s)->scrub;

    if (sc == NULL)
        return;
    atomic_store(&s->scrubbed, sc->o.round << SCRUB_STATE_BITS | SCRUB_OVER);
    scrub_free(s);
}

static bool may_begin(const struct shard *s, const struct scrub_order *o) {
    const struct feed *st = feed_of(s);

    if (st == NULL || st->stopped || s->copy->loose || table_schema(s->table)->cache ||
        o->depth > HASH_TREE_DEPTH_MAX)
        return false;
    if (o->from == st->world->self)
        return st->serving && shard_role_leads(shard_role(s));
    return shard_role_copies(shard_role(s)) && feed_follows(st, o->from);
}

static eg_err scrub_open(struct shard *s, const struct scrub_order *o) {
    struct feed *st = feed_of(s);
    struct alloc *a = st->world->alloc;
    struct scrub *sc = alloc_zero(a, sizeof *sc);
    eg_err err;

    if (sc == NULL)
        return EG_MEMORY;
    sc->o = *o;
    shard_clock_init(&sc->listed, a);
    buffer_init(&sc->place, a, KEY_SIZE_MAX * 2);
    buffer_init(&sc->prints, a, SCRUB_LIST_BYTES);
    buffer_init(&sc->seen, a, SCRUB_LIST_BYTES);
    buffer_init(&sc->lacking, a, 2 * NODES_MAX * SCRUB_LIST_BYTES);
    buffer_init(&sc->offered, a, NODES_MAX * SCRUB_OFFER_BYTES);
    buffer_init(&sc->offers, a, NODES_MAX * (SCRUB_OFFER_BYTES + RECORD_SIZE_MAX));
    st->scrub = sc;
    if (o->from == st->world->self) {
        sc->o.depth = hash_tree_depth(s->store->ops->stats(s->store).count);
        for (uint32_t i = 0; i < st->follower_count; i++)
            if (st->follower[i]->full)
                sc->peer[sc->peer_count++].node = st->follower[i]->node;
    }
    err = hash_tree_open(&sc->tree, a, sc->o.depth, o->salt);
    if (err == EG_OK) {
        sc->wanted = alloc_zero(a, hash_tree_leaves(&sc->tree));
        err = sc->wanted == NULL ? EG_MEMORY : EG_OK;
    }
    if (err != EG_OK) {
        scrub_free(s);
        return err;
    }
    s->copy->tree = &sc->tree;
    return EG_OK;
}

void feed_scrub_begin(struct actor *self, struct shard *s, const struct message *m) {
    struct scrub_order o;

    if (feed_of(s) == NULL || m->size_bytes != sizeof o)
        return;
    memcpy(&o, m->payload, sizeof o);
    feed_scrub_drop(s);
    if (!may_begin(s, &o) || scrub_open(s, &o) != EG_OK) {
        publish(s, o.round, SCRUB_OVER);
        return;
    }
    publish(s, o.round, SCRUB_BUSY);
    (void) hash_tree_begin(&feed_of(s)->scrub->tree);
    feed_scrub_scan(self, s, SCAN_SUM);
}

/* ---- a scan ---------------------------------------------------------------------------------- */

static void step_soon(struct actor *self, struct shard *s) {
    struct message *m = message_new(actor_runtime(self), MESSAGE_REPLY, 0);

    if (m == NULL) {
        feed_scrub_end(s, SCRUB_OVER);
        return;
    }
    m->tag = FEED_SCRUB_STEP;
    if (actor_send(self, actor_pid(self), m) != EG_OK)
        feed_scrub_end(s, SCRUB_OVER);
}

void feed_scrub_scan(struct actor *self, struct shard *s, enum scrub_scan scan) {
    struct scrub *sc = feed_of(s)->scrub;

    sc->scan = scan;
    buffer_clear(&sc->place);
    step_soon(self, s);
}

struct hash_item feed_scrub_item(const struct shard *s, uint64_t hash, struct record_version v,
                                 uint64_t expiry_ms, struct value record, struct value state) {
    return (struct hash_item){.hash = hash,
                              .origin = origin_of(feed_of(s)->world->origins, dot_slot(v.dot)),
                              .sequence = dot_sequence(v.dot),
                              .hlc = v.hlc,
                              .expiry_ms = expiry_ms,
                              .content = record,
                              .state = state};
}

static eg_err sum_record(struct scrub_look *l) {
    hash_tree_add(&l->scrub->tree, &l->item);
    return EG_OK;
}

static eg_err look_at(void *user, const struct record *rec, uint64_t hash) {
    static eg_err (*const looks[])(struct scrub_look *) = {[SCAN_SUM] = sum_record,
                                                           [SCAN_LIST] = feed_mend_list,
                                                           [SCAN_MATCH] = feed_mend_match,
                                                           [SCAN_MEND] = feed_mend_record};
    struct scrub_look *l = user;
    uint64_t expiry_ms = record_expiry_ms(rec);

    if (expiry_ms != 0 && expiry_ms <= l->scrub->o.cutoff_ms)
        return EG_OK;
    l->record = rec;
    l->item = feed_scrub_item(l->shard, hash, (struct record_version){rec->hlc, rec->dot},
                              expiry_ms, record_value(rec), record_state(rec));
    return looks[l->scrub->scan](l);
}

/* ---- what was summed ------------------------------------------------------------------------- */

bool feed_scrub_out(struct shard *s, enum replica_kind kind, uint32_t more) {
    const struct scrub_order *o = &feed_of(s)->scrub->o;

    return feed_out_begin_round(s, kind, o->from == feed_of(s)->world->self, o->round, more);
}

static void put_sum(uint8_t at[static SCRUB_WIDE], const struct scrub *sc, uint32_t level,
                    uint32_t number) {
    uint64_t sum = hash_tree_sum(&sc->tree, level, number);

    for (unsigned i = 0; i < SCRUB_WIDE; i++)
        at[i] = (uint8_t) (sum >> 8 * i);
}

static uint32_t child_of(const uint32_t *parents, size_t i) {
    return parents[i / HASH_TREE_FAN] * HASH_TREE_FAN + (uint32_t) (i % HASH_TREE_FAN);
}

static bool out_nodes(struct shard *s, uint32_t level, const uint32_t *parents, uint32_t count,
                      bool wide) {
    struct feed *st = feed_of(s);
    const struct scrub *sc = st->scrub;
    enum scrub_width width = wide ? SCRUB_WIDE : count == 1 ? SCRUB_NARROW_ONE : SCRUB_NARROW;
    struct buffer sums;
    bool fits;

    buffer_init(&sums, st->world->alloc, SIZE_MAX);
    fits = feed_scrub_out(s, REPLICA_NODES, 3) && feed_out_u64(st, level) &&
           feed_scrub_out_numbers(st, parents, count);
    for (size_t i = 0; fits && level <= sc->o.depth && i < (size_t) count * HASH_TREE_FAN; i++) {
        uint8_t sum[SCRUB_WIDE];

        put_sum(sum, sc, level, child_of(parents, i));
        fits = buffer_append(&sums, sum, width);
    }
    fits = fits && feed_scrub_out_binary(st, sums.at, sums.size_bytes);
    buffer_fini(&sums);
    return fits;
}

bool feed_scrub_once_more(struct shard *s) {
    static const uint32_t root = 0;
    struct feed *st = feed_of(s);

    st->scrub->wide = true;
    return out_nodes(s, 1, &root, 1, true) && feed_out_send(st, st->scrub->o.from) == EG_OK;
}

static uint64_t root_of(const struct scrub *sc) {
    return (hash_tree_sum(&sc->tree, 0, 0) & ~(uint64_t) SCRUB_DEPTH_MASK) | sc->o.depth;
}

static void summed(struct actor *self, struct shard *s) {
    static const uint32_t root = 0;
    struct feed *st = feed_of(s);
    struct scrub *sc = st->scrub;

    hash_tree_end(&sc->tree);
    if (hash_tree_begin(&sc->tree) != 0 && ++sc->sums < SCRUB_SUMS_MAX) {
        feed_scrub_scan(self, s, SCAN_SUM);
        return;
    }
    hash_tree_end(&sc->tree);
    sc->scan = SCAN_NONE;
    if (sc->o.from == st->world->self) {
        atomic_store(&s->scrub_root, root_of(sc));
        publish(s, sc->o.round, SCRUB_SUMMED);
    } else if (root_of(sc) == sc->o.root) {
        feed_scrub_end(s, SCRUB_EQUAL);
    } else if (out_nodes(s, 1, &root, 1, false) && feed_out_send(st, sc->o.from) == EG_OK) {
        publish(s, sc->o.round, SCRUB_DIFFERS);
    } else {
        feed_scrub_end(s, SCRUB_OVER);
    }
}

void feed_scrub_step(struct actor *self, struct shard *s) {
    struct scrub *sc = feed_of(s) == NULL ? NULL : feed_of(s)->scrub;
    struct scrub_look l = {.shard = s, .scrub = sc, .reader = shard_reader(s, self)};
    bool over = false;
    eg_err err;

    if (sc == NULL || sc->scan == SCAN_NONE)
        return;
    if (sc->scan == SCAN_REST) {
        feed_mend_rest(self, s);
        return;
    }
    err = feed_scan(self, s, &sc->place, look_at, &l, &over);
    if (err != EG_OK) {
        feed_scrub_end(s, SCRUB_OVER);
    } else if (!over) {
        step_soon(self, s);
    } else if (sc->scan == SCAN_SUM) {
        summed(self, s);
    } else if (sc->scan == SCAN_LIST) {
        feed_mend_listed(self, s);
    } else if (sc->scan == SCAN_MATCH) {
        feed_mend_matched(s);
    } else {
        feed_mend_rest(self, s);
    }
}

/* ---- numbers on the wire --------------------------------------------------------------------- */

/* Ascending: each as what is between it and the one before. */
bool feed_scrub_out_numbers(struct feed *st, const uint32_t *at, uint32_t count) {
    uint8_t *room = buffer_room(&st->out, (size_t) count * 5 + FEED_ARRAY32_BYTES);
    struct value_writer w =
        value_writer_init(room, room == NULL ? 0 : (size_t) count * 5 + FEED_ARRAY32_BYTES);

    if (room == NULL)
        return false;
    value_put_array(&w, count);
    for (uint32_t i = 0; i < count; i++)
        value_put_u64(&w, i == 0 ? at[0] : at[i] - at[i - 1]);
    st->out.size_bytes += w.need_bytes;
    return true;
}

bool feed_scrub_out_binary(struct feed *st, const void *at, size_t size_bytes) {
    uint8_t *room = buffer_room(&st->out, size_bytes + FEED_ARRAY32_BYTES);
    struct value_writer w = value_writer_init(room, room == NULL ? 0 : size_bytes + 5);

    if (room == NULL)
        return false;
    value_put_binary(&w, at, size_bytes);
    st->out.size_bytes += w.need_bytes;
    return true;
}

bool feed_scrub_numbers(struct buffer *out, struct value v, uint32_t below) {
    struct value_iter it;
    uint64_t more, at = 0;
    uint32_t count = 0;

    if (value_kind_of(v) != VALUE_ARRAY)
        return false;
    it = value_iter_of(v);
    while (count < value_count(v)) {
        uint32_t number;

        if (!value_iter_u64(&it, &more) || (count != 0 && more == 0) || more >= below ||
            (at += more) >= below)
            return false;
        number = (uint32_t) at;
        if (!buffer_append(out, &number, sizeof number))
            return false;
        count++;
    }
    return true;
}

/* ---- which leaves ---------------------------------------------------------------------------- */

static struct scrub_peer *peer_of(struct scrub *sc, uint64_t node) {
    for (uint32_t i = 0; i < sc->peer_count; i++)
        if (sc->peer[i].node == node)
            return &sc->peer[i];
    return NULL;
}

void feed_scrub_try_list(struct actor *self, struct shard *s) {
    struct scrub *sc = feed_of(s)->scrub;
    bool busy = !sc->go || sc->scan != SCAN_NONE;

    for (uint32_t i = 0; i < sc->peer_count; i++)
        busy |= sc->peer[i].descending || sc->peer[i].owes;
    if (busy)
        return;
    buffer_clear(&sc->prints);
    if (sc->wanted_count == 0)
        feed_scrub_end(s, SCRUB_OVER);
    else
        feed_scrub_scan(self, s, SCAN_LIST);
}

void feed_scrub_go(struct actor *self, struct shard *s, const struct message *m) {
    struct scrub *sc = feed_of(s) == NULL ? NULL : feed_of(s)->scrub;
    uint64_t round;

    if (sc == NULL || m->size_bytes != sizeof round)
        return;
    memcpy(&round, m->payload, sizeof round);
    if (round != sc->o.round || sc->o.from != feed_of(s)->world->self)
        return;
    sc->go = true;
    feed_scrub_try_list(self, s);
}

static void want(struct scrub *sc, const uint32_t *leaf, uint32_t count) {
    for (uint32_t i = 0; i < count && sc->wanted_count < SCRUB_LEAVES_MAX; i++) {
        sc->wanted_count += !sc->wanted[leaf[i]];
        sc->wanted[leaf[i]] = 1;
    }
}

/* The children, at `level`, whose sums are not ours, and how many bytes of each were said.  False:
 * malformed, no memory. */
static bool differing(const struct scrub *sc, uint32_t level, const struct buffer *parents,
                      struct value sums, struct buffer *out, size_t *width) {
    const uint32_t *parent = (const uint32_t *) (const void *) parents->at;
    size_t count = parents->size_bytes / sizeof *parent * HASH_TREE_FAN;
    const uint8_t *at;
    uint32_t size_bytes;

    if (count == 0 || !value_get_bytes(sums, &at, &size_bytes) || size_bytes % count != 0)
        return false;
    *width = size_bytes / count;
    if (*width != SCRUB_NARROW_ONE && *width != SCRUB_NARROW && *width != SCRUB_WIDE)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t number = child_of(parent, i);
        uint8_t ours[SCRUB_WIDE];

        put_sum(ours, sc, level, number);
        if (memcmp(at + i * *width, ours, *width) == 0 ||
            (PLANTED(LEAF_NOT_COMPARED) && number % 2 == 1))
            continue;
        if (!buffer_append(out, &number, sizeof number))
            return false;
    }
    return true;
}

/* Sums of `level`, of what is below the nodes that the other found to differ; behind the last level
 * these are the leaves themselves. */
static void descend(struct shard *s, struct scrub_peer *p, uint32_t level,
                    const struct buffer *nodes, struct value sums) {
    struct feed *st = feed_of(s);
    struct scrub *sc = st->scrub;
    uint64_t to = p == NULL ? sc->o.from : p->node;
    const uint32_t *parents = (const uint32_t *) (const void *) nodes->at;
    struct buffer differ;
    const uint32_t *at;
    uint32_t count;
    size_t width;
    bool leaves = level == sc->o.depth, wide, sent;

    buffer_init(&differ, st->world->alloc, SIZE_MAX);
    if (!differing(sc, level, nodes, sums, &differ, &width)) {
        buffer_fini(&differ);
        return; /* it comes to its end by time */
    }
    at = (const uint32_t *) (const void *) differ.at;
    count = (uint32_t) (differ.size_bytes / sizeof *at);
    wide = width == SCRUB_WIDE;
    if (count == 0 && !wide) { /* something below them must differ: so few bytes do not say what */
        sent = out_nodes(s, level, parents, (uint32_t) (nodes->size_bytes / sizeof *at), true) &&
               feed_out_send(st, to) == EG_OK;
    } else if (p != NULL && (leaves || count == 0)) {
        want(sc, at, count);
        p->descending = false;
        sent = true;
    } else {
        sent = out_nodes(s, count == 0 ? sc->o.depth + 1 : level + 1, at, count, wide) &&
               feed_out_send(st, to) == EG_OK;
    }
    (void) sent; /* likewise */
    buffer_fini(&differ);
}

static void hear_nodes(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct scrub *sc = st->scrub;
    struct scrub_peer *p = peer_of(sc, from);
    struct value numbers, sums;
    struct buffer nodes;
    uint64_t level;

    if (!value_iter_u64(it, &level) || level < 1 || level > sc->o.depth + 1 ||
        !value_iter_next(it, &numbers) || !value_iter_next(it, &sums) || sc->scan != SCAN_NONE ||
        (p == NULL && level > sc->o.depth))
        return;
    buffer_init(&nodes, st->world->alloc, SIZE_MAX);
    if (feed_scrub_numbers(&nodes, numbers,
                           UINT32_C(1) << ((uint32_t) (level - 1) * HASH_TREE_FAN_BITS))) {
        if (p != NULL) {
            p->differs = p->descending = true;
            p->owes = false; /* it asks once more */
        }
        if (level <= sc->o.depth) {
            descend(s, p, (uint32_t) level, &nodes, sums);
        } else {
            want(sc, (const uint32_t *) (const void *) nodes.at,
                 (uint32_t) (nodes.size_bytes / sizeof(uint32_t)));
            p->descending = false;
        }
    }
    buffer_fini(&nodes);
    if (p != NULL)
        feed_scrub_try_list(self, s);
}

void feed_scrub_hear(struct actor *self, struct shard *s, uint64_t from, enum replica_kind kind,
                     struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct scrub *sc = st->scrub;
    bool master;
    uint64_t round;

    if (sc == NULL || !value_iter_u64(it, &round) || round != sc->o.round)
        return;
    master = sc->o.from == st->world->self;
    if (master ? peer_of(sc, from) == NULL : from != sc->o.from)
        return;
    if (kind == REPLICA_NODES)
        hear_nodes(self, s, from, it);
    else if (kind == REPLICA_LIST && !master)
        feed_mend_hear_list(self, s, it);
    else if (kind == REPLICA_LACKING && master)
        feed_mend_hear_lacking(self, s, from, it);
}
