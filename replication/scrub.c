/* scrub.c -- rounds of this node as a master, and what other masters ask of it. */
#include "replication/scrub.h"

#include "engine/env.h"
#include "tables/table.h"

#include <string.h>

enum {
    ROOT_BYTES = 8,
    BITMAP_BYTES = SCHEMA_SHARDS_MAX / 8,
    MESSAGE_BYTES = REPLICA_HEAD_BYTES + 64 + BITMAP_BYTES + SCHEMA_SHARDS_MAX * ROOT_BYTES,
    CUTOFF_MS = 10 * 60 * 1000, /* what expires sooner is not compared */
};

enum stage { STAGE_IDLE, STAGE_SUM, STAGE_COMPARE, STAGE_MEND };

/* What is known of one shard in a round. */
enum progress {
    PROGRESS_NONE,
    PROGRESS_TO_SEE, /* it stands between two views, and may be the round's yet */
    PROGRESS_TO_ASK,
    PROGRESS_ASKED,
    PROGRESS_SUMMED,
    PROGRESS_OVER
};

/* One table's, ours or (from another) what it wants to be compared. */
struct round {
    uint64_t from;
    uint64_t number, salt, cutoff_ms;
    uint64_t table; /* schema_records_id() */
    uint64_t until_ns;
    uint64_t root[SCHEMA_SHARDS_MAX]; /* of another's */
    uint8_t progress[SCHEMA_SHARDS_MAX];
    uint64_t compared, differing;
};

/* The last of another node's that was heard of here. */
struct heard {
    uint64_t from, number, table;
};

struct scrubs {
    struct scrubs_opts o;
    const struct view *view;
    enum stage stage;
    uint64_t due_ns;
    uint32_t table_at; /* in the catalog's order */
    struct round own;
    uint64_t differing; /* in this round, of all tables */
    uint32_t awaited;   /* nodes that have not said SUMMED */
    uint64_t awaited_node[NODES_MAX];
    struct round *other[NODES_MAX]; /* what is under way for others */
    struct heard heard[NODES_MAX];  /* in this view */
    _Atomic bool idle;
    _Atomic uint64_t rounds, compared, found;
};

static uint64_t every_ns(const struct scrubs *c) {
    uint64_t ms = c->o.every_ms != 0 ? c->o.every_ms : UINT64_C(1000) * SCRUB_EVERY_S;

    return ms * 1000 * 1000;
}

static uint64_t patience_ns(const struct scrubs *c) {
    return env_now_ns(c->o.env) + UINT64_C(1000000000) * SCRUB_PATIENCE_S;
}

eg_err scrubs_open(struct scrubs **out, const struct scrubs_opts *o) {
    struct scrubs *c = alloc_zero(o->alloc, sizeof *c);

    if (c == NULL)
        return EG_MEMORY;
    c->o = *o;
    /* Not all nodes at once. */
    c->due_ns = env_now_ns(o->env) + every_ns(c) / 1024 * (1 + o->world->self % 1024);
    atomic_store(&c->idle, true);
    *out = c;
    return EG_OK;
}

static void drop_other(struct scrubs *c, uint32_t i) {
    alloc_put(c->o.alloc, c->other[i], c->other[i] == NULL ? 0 : sizeof *c->other[i]);
    c->other[i] = NULL;
}

void scrubs_close(struct scrubs *c) {
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < NODES_MAX; i++)
        drop_other(c, i);
    alloc_put(c->o.alloc, c, sizeof *c);
}

void scrubs_view(struct scrubs *c, const struct view *v) {
    c->view = v;
    c->stage = STAGE_IDLE; /* what is under way ends with its feeds' plans; what is due stays so */
    memset(c->heard, 0, sizeof c->heard);
    for (uint32_t i = 0; i < NODES_MAX; i++)
        drop_other(c, i);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static struct table *table_of(const struct scrubs *c, uint64_t id) {
    struct table *const *tables;
    uint32_t count = catalog_tables(c->o.catalog, &tables);

    for (uint32_t i = 0; i < count; i++)
        if (schema_records_id(table_schema(tables[i])) == id)
            return tables[i];
    return NULL;
}

/* What the shard says of that round. */
static enum scrub_state state_in(const struct shard *s, uint64_t number) {
    uint64_t said = atomic_load(&s->scrubbed);

    return said >> SCRUB_STATE_BITS == number
               ? (enum scrub_state)(said & ((1 << SCRUB_STATE_BITS) - 1))
               : SCRUB_NONE;
}

static bool order(struct scrubs *c, const struct round *r, struct shard *s) {
    struct scrub_order o = {.round = r->number,
                            .salt = r->salt,
                            .cutoff_ms = r->cutoff_ms,
                            .from = r->from,
                            .root = r->root[s->number],
                            .depth = (uint32_t) r->root[s->number] & SCRUB_DEPTH_MASK};

    return c->o.order(c->o.user, s, FEED_SCRUB, &o, sizeof o);
}

static void see(struct round *r, struct shard *s) {
    uint8_t *p = &r->progress[s->number];

    if (*p != PROGRESS_ASKED && *p != PROGRESS_SUMMED)
        return;
    switch (state_in(s, r->number)) {
    case SCRUB_SUMMED:
        r->root[s->number] = atomic_load(&s->scrub_root);
        *p = PROGRESS_SUMMED;
        break;
    case SCRUB_DIFFERS:
        r->differing++;
        r->compared++;
        *p = PROGRESS_OVER;
        break;
    case SCRUB_EQUAL:
        r->compared++;
        *p = PROGRESS_OVER;
        break;
    case SCRUB_OVER:
        *p = PROGRESS_OVER;
        break;
    case SCRUB_NONE:
    case SCRUB_BUSY:
        break;
    }
}

static enum progress begin_shard(const struct scrubs *c, const struct round *r, struct shard *s) {
    enum shard_role role = shard_role(s);

    if (role == SHARD_STOPPED)
        return PROGRESS_TO_SEE;
    if (r->from == c->o.world->self)
        return shard_role_leads(role) ? PROGRESS_TO_ASK : PROGRESS_NONE;
    return shard_role_copies(role) && atomic_load(&s->master) == r->from ? PROGRESS_TO_ASK
                                                                         : PROGRESS_NONE;
}

static bool is_awaited(enum progress p) {
    return p == PROGRESS_TO_SEE || p == PROGRESS_ASKED;
}

/* See to all shards of a round: a few are asked at a time.  False: some are under way. */
static bool sum_some(struct scrubs *c, struct round *r, struct table *t) {
    bool late = env_now_ns(c->o.env) >= r->until_ns;
    uint32_t busy = 0;

    for (uint32_t n = 0; n < table_shards(t); n++) {
        struct shard *s = table_shard(t, n);

        if (r->progress[n] == PROGRESS_TO_SEE)
            r->progress[n] = (uint8_t) begin_shard(c, r, s);
        see(r, s);
        if (late && is_awaited(r->progress[n]))
            r->progress[n] = PROGRESS_OVER;
        busy += is_awaited(r->progress[n]);
    }
    for (uint32_t n = 0; n < table_shards(t) && busy < SCRUB_AT_ONCE; n++)
        if (r->progress[n] == PROGRESS_TO_ASK) {
            bool sent = order(c, r, table_shard(t, n));

            r->progress[n] = sent ? PROGRESS_ASKED : PROGRESS_OVER;
            r->until_ns = patience_ns(c);
            busy += sent;
        }
    return busy == 0;
}

static bool any_is(const struct round *r, const struct table *t, enum progress p) {
    for (uint32_t n = 0; n < table_shards(t); n++)
        if (r->progress[n] == p)
            return true;
    return false;
}

static void order_summed(struct scrubs *c, struct table *t, enum feed_tag tag) {
    for (uint32_t n = 0; n < table_shards(t); n++)
        if (c->own.progress[n] == PROGRESS_SUMMED)
            (void) c->o.order(c->o.user, table_shard(t, n), tag, &c->own.number,
                              sizeof c->own.number); /* lost: it ends by time */
}

/* ---- words ----------------------------------------------------------------------------------- */

static void begin_word(const struct scrubs *c, struct value_writer *w, enum replica_kind kind,
                       uint64_t table, uint32_t more) {
    struct replica_head h = {.kind = kind, .view = c->view->id, .table = table};

    replica_wire_head(w, &h, more);
}

static uint32_t gather_roots(const struct round *r, uint32_t shards, uint8_t bitmap[BITMAP_BYTES],
                             uint64_t roots[SCHEMA_SHARDS_MAX]) {
    uint32_t count = 0;

    memset(bitmap, 0, BITMAP_BYTES);
    for (uint32_t n = 0; n < shards; n++)
        if (r->progress[n] == PROGRESS_SUMMED) {
            bitmap[n / 8] |= (uint8_t) (1 << n % 8);
            roots[count++] = r->root[n];
        }
    return count;
}

static void send_roots(struct scrubs *c, const struct table *t) {
    const struct round *r = &c->own;
    uint8_t at[MESSAGE_BYTES], bitmap[BITMAP_BYTES];
    uint64_t roots[SCHEMA_SHARDS_MAX];
    uint32_t count = gather_roots(r, table_shards(t), bitmap, roots);
    struct value_writer w = value_writer_init(at, sizeof at);

    begin_word(c, &w, REPLICA_ROOTS, r->table, 5);
    value_put_u64(&w, r->number);
    value_put_u64(&w, r->salt);
    value_put_u64(&w, r->cutoff_ms);
    value_put_binary(&w, bitmap, (table_shards(t) + 7) / 8);
    value_put_binary(&w, roots, (size_t) count * ROOT_BYTES);
    EG_ASSERT(!w.overflow);
    c->awaited = 0;
    for (uint32_t i = 0; i < c->view->count; i++) {
        uint64_t node = c->view->member[i].id;

        if (node != c->o.world->self &&
            c->o.send(c->o.user, node, (struct value){at, (uint32_t) w.need_bytes}) == EG_OK)
            c->awaited_node[c->awaited++] = node;
    }
}

static void send_summed(struct scrubs *c, const struct round *r) {
    uint8_t at[REPLICA_HEAD_BYTES + 32];
    struct value_writer w = value_writer_init(at, sizeof at);

    begin_word(c, &w, REPLICA_SUMMED, r->table, 3);
    value_put_u64(&w, r->number);
    value_put_u64(&w, r->compared);
    value_put_u64(&w, r->differing);
    EG_ASSERT(!w.overflow);
    (void) c->o.send(c->o.user, r->from, (struct value){at, (uint32_t) w.need_bytes});
}

/* ---- our own round ------------------------------------------------------------------------------
 */

static void begin_table(struct scrubs *c, struct table *t) {
    struct round *r = &c->own;
    uint64_t number = r->number + 1;

    *r = (struct round){.from = c->o.world->self,
                        .number = number,
                        .salt = env_random(c->o.env),
                        .cutoff_ms = (uint64_t) env_wall_ms(c->o.env) + CUTOFF_MS,
                        .table = schema_records_id(table_schema(t)),
                        .until_ns = patience_ns(c)};
    for (uint32_t n = 0; n < table_shards(t); n++)
        r->progress[n] = (uint8_t) begin_shard(c, r, table_shard(t, n));
    c->stage = STAGE_SUM;
}

static void next_table(struct scrubs *c) {
    struct table *const *tables;
    uint32_t count = catalog_tables(c->o.catalog, &tables);

    while (c->table_at < count && table_schema(tables[c->table_at])->cache)
        c->table_at++;
    if (c->table_at < count) {
        begin_table(c, tables[c->table_at++]);
        return;
    }
    c->stage = STAGE_IDLE;
    c->due_ns = env_now_ns(c->o.env) + every_ns(c);
    atomic_fetch_add(&c->rounds, 1);
    atomic_store(&c->idle, true);
    if (c->differing != 0)
        c->o.mended(c->o.user, c->differing);
}

static void begin_if_due(struct scrubs *c) {
    if (env_now_ns(c->o.env) < c->due_ns || c->view == NULL || c->view->count < 2)
        return;
    atomic_store(&c->idle, false);
    c->table_at = 0;
    c->differing = 0;
    next_table(c);
}

static void step_own(struct scrubs *c) {
    struct round *r = &c->own;
    struct table *t = table_of(c, r->table);
    bool late = env_now_ns(c->o.env) >= r->until_ns;

    if (t == NULL) {
        next_table(c);
        return;
    }
    if (c->stage == STAGE_SUM) {
        if (!sum_some(c, r, t))
            return;
        send_roots(c, t);
        r->until_ns = patience_ns(c);
        c->stage = STAGE_COMPARE;
    }
    if (c->stage == STAGE_COMPARE) {
        if (c->awaited != 0 && !late)
            return;
        order_summed(c, t, FEED_SCRUB_GO);
        r->until_ns = patience_ns(c);
        c->stage = STAGE_MEND;
    }
    for (uint32_t n = 0; n < table_shards(t); n++)
        see(r, table_shard(t, n));
    if (any_is(r, t, PROGRESS_SUMMED) && !late)
        return;
    order_summed(c, t, FEED_SCRUB_DROP);
    next_table(c);
}

/* ---- others' ------------------------------------------------------------------------------------
 */

static void step_other(struct scrubs *c, uint32_t i) {
    struct round *r = c->other[i];
    struct table *t = table_of(c, r->table);

    if (t != NULL && !sum_some(c, r, t))
        return;
    send_summed(c, r);
    drop_other(c, i);
}

static void note_heard(struct scrubs *c, const struct round *r) {
    uint32_t i = 0;

    while (i < NODES_MAX - 1 && c->heard[i].from != 0 && c->heard[i].from != r->from)
        i++;
    c->heard[i] = (struct heard){r->from, r->number, r->table};
}

bool scrubs_table_of(const struct scrubs *c, uint64_t from, struct replica_head *h,
                     struct value_iter it) {
    bool ours = h->table == REPLICA_ROUND_YOURS;
    uint64_t number;

    if (!value_iter_u64(&it, &number) || h->table > REPLICA_ROUND_OWN)
        return false;
    h->table = c->own.table;
    for (uint32_t i = 0; i < NODES_MAX && !ours; i++)
        if (c->heard[i].from == from && c->heard[i].number == number) {
            h->table = c->heard[i].table;
            return true;
        }
    return ours && c->stage != STAGE_IDLE && number == c->own.number;
}

static void hear_roots(struct scrubs *c, uint64_t from, uint64_t table, struct value_iter *it) {
    struct table *t = table_of(c, table);
    struct value bitmap, roots;
    const uint8_t *bits, *at;
    uint32_t bits_bytes, roots_bytes, count = 0, slot = 0;
    struct round *r;

    while (slot < NODES_MAX && (c->other[slot] == NULL || c->other[slot]->from != from))
        slot++;
    for (uint32_t i = 0; i < NODES_MAX && slot == NODES_MAX; i++)
        slot = c->other[i] == NULL ? i : slot;
    if (slot == NODES_MAX || t == NULL)
        return;
    r = alloc_zero(c->o.alloc, sizeof *r);
    if (r == NULL)
        return;
    *r = (struct round){.from = from, .table = table, .until_ns = patience_ns(c)};
    drop_other(c, slot);
    c->other[slot] = r;
    if (!value_iter_u64(it, &r->number) || !value_iter_u64(it, &r->salt) ||
        !value_iter_u64(it, &r->cutoff_ms) || !value_iter_next(it, &bitmap) ||
        !value_iter_next(it, &roots) || !value_get_bytes(bitmap, &bits, &bits_bytes) ||
        !value_get_bytes(roots, &at, &roots_bytes)) {
        drop_other(c, slot);
        return;
    }
    note_heard(c, r);
    for (uint32_t n = 0; n < table_shards(t) && n / 8 < bits_bytes; n++) {
        if ((bits[n / 8] >> n % 8 & 1) == 0 || (count + 1) * ROOT_BYTES > roots_bytes)
            continue;
        memcpy(&r->root[n], at + (size_t) count++ * ROOT_BYTES, ROOT_BYTES);
        r->progress[n] = (uint8_t) begin_shard(c, r, table_shard(t, n));
    }
}

static void hear_summed(struct scrubs *c, uint64_t from, struct value_iter *it) {
    uint64_t number, compared, differing;

    if (!value_iter_u64(it, &number) || !value_iter_u64(it, &compared) ||
        !value_iter_u64(it, &differing) || number != c->own.number || c->stage != STAGE_COMPARE)
        return;
    for (uint32_t i = 0; i < c->awaited; i++) {
        if (c->awaited_node[i] != from)
            continue;
        c->awaited_node[i] = c->awaited_node[--c->awaited];
        c->differing += differing;
        atomic_fetch_add(&c->compared, compared);
        atomic_fetch_add(&c->found, differing);
        return;
    }
}

/* ---- in and out ---------------------------------------------------------------------------------
 */

void scrubs_hear(struct scrubs *c, uint64_t from, const struct replica_head *h,
                 struct value_iter *it) {
    if (h->kind == REPLICA_ROOTS)
        hear_roots(c, from, h->table, it);
    else if (h->kind == REPLICA_SUMMED)
        hear_summed(c, from, it);
    else
        scrubs_demand(c, false);
    scrubs_step(c);
}

void scrubs_demand(struct scrubs *c, bool everywhere) {
    uint8_t at[REPLICA_HEAD_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    c->due_ns = 0;
    atomic_store(&c->idle, false);
    if (!everywhere || c->view == NULL)
        return;
    begin_word(c, &w, REPLICA_SCRUB, 0, 0);
    for (uint32_t i = 0; i < c->view->count; i++)
        if (c->view->member[i].id != c->o.world->self)
            (void) c->o.send(c->o.user, c->view->member[i].id,
                             (struct value){at, (uint32_t) w.need_bytes}); /* or its own day */
}

void scrubs_step(struct scrubs *c) {
    if (c->stage == STAGE_IDLE)
        begin_if_due(c);
    if (c->stage != STAGE_IDLE)
        step_own(c);
    for (uint32_t i = 0; i < NODES_MAX && c->view != NULL; i++)
        if (c->other[i] != NULL)
            step_other(c, i);
}

struct scrub_counts scrubs_counts(const struct scrubs *c) {
    return (struct scrub_counts){.rounds = atomic_load(&c->rounds),
                                 .compared = atomic_load(&c->compared),
                                 .differing = atomic_load(&c->found),
                                 .mended = atomic_load(&c->o.world->mended)};
}

bool scrubs_idle(const struct scrubs *c) {
    return atomic_load(&c->idle);
}
