/* feed.c -- one shard's exchange with its other copies. */
#include "replication/feed.h"

#include "engine/env.h"
#include "engine/runtime.h"
#include "replication/replica.h"
#include "tables/table.h"

#include <string.h>

enum {
    TICK_MS = 100,
    WAIT_MS = 5,          /* for a link or a turn to walk */
    FORGET_TICKS = 10,    /* between two rounds of forgetting graves */
    STEP_NS = 500 * 1000, /* how long one part of a walk may take */
    LOOK_AT_CLOCK_RECORDS = 32,
    ARRAY32_BYTES = 5,
    HELD_BYTES_MAX = 64 << 20,
    OUT_KEPT_BYTES = 1 << 20,
};

enum walk_stage { WALK_WAITS, WALK_CLEAR, WALK_RECORDS, WALK_GRAVES, WALK_END, WALK_OVER };

/* A copy that follows this one. */
struct follower {
    uint64_t node;
    bool once;                   /* only what is there now: it is the master, and we follow it */
    bool heard;                  /* we have all that it had */
    bool asked;                  /* we follow it, once */
    bool full;                   /* counted: answers wait for it */
    uint64_t session;            /* its FOLLOW's */
    uint64_t asked_session;      /* and that of ours to it */
    uint64_t covered;            /* of our own changes, as it says */
    uint64_t end_sequence;       /* ours at the END */
    struct shard_clock has;      /* as it said when it followed */
    struct shard_clock snapshot; /* ours at that moment */
    enum walk_stage stage;
    struct buffer place; /* of the walk: the last key */
    uint64_t grave_place;
    bool graves_ended;
};

struct held {
    uint64_t sequence;
    eg_pid to;
    eg_ref ref;
    struct message *reply;
};

struct feed {
    struct feed_world *world;
    struct replica_plan plan;
    uint64_t table;
    bool was_full, acks_one;
    bool serving;       /* the master: role granted                     */
    bool ended;         /* a copy: the master's END has come          */
    bool quiet;         /* a copy: nothing was heard since the last tick */
    uint16_t slot;      /* of the master's origin, once ended           */
    uint64_t acked;     /* of the master's changes, last said           */
    uint64_t session;   /* of the last FOLLOW    */
    uint64_t following; /* of that to the master */
    bool ticking, stepping;
    uint32_t ticks;
    uint64_t synced; /* our own changes that our disc has */
    uint32_t follower_count;
    struct follower *follower[NODES_MAX];
    struct buffer held;        /* struct held, by sequence */
    struct buffer out;         /* the message that is being put together */
    struct buffer relay;       /* a clock that goes out with the next changes */
    uint64_t relay_from;       /* who has them already */
    struct shard_clock forget; /* to be forgotten when all have covered forget_sequence */
    uint64_t forget_sequence;  /* 0: nothing */
};

static struct feed *feed_of(const struct shard *s) {
    return s->copy == NULL ? NULL : s->copy->feed;
}

/* ---- open and close ---------------------------------------------------------------------- */

static eg_err feed_open(struct feed_world *w, struct shard *s) {
    struct feed *st;
    eg_err err = shard_copy_open(s);

    if (err != EG_OK || s->copy->feed != NULL)
        return err;
    st = alloc_zero(w->alloc, sizeof *st);
    if (st == NULL)
        return EG_MEMORY;
    st->world = w;
    buffer_init(&st->held, w->alloc, HELD_BYTES_MAX);
    buffer_init(&st->out, w->alloc, SHARD_COPY_GROUP_BYTES_MAX + REPLICA_HEAD_BYTES);
    buffer_init(&st->relay, w->alloc, SIZE_MAX);
    shard_clock_init(&st->forget, w->alloc);
    s->copy->feed = st;
    return EG_OK;
}

static void walk_ends(struct feed *st, struct follower *f) {
    if (f->stage > WALK_WAITS && f->stage < WALK_OVER)
        atomic_fetch_sub(&st->world->walks, 1);
    f->stage = WALK_OVER;
    buffer_fini(&f->place);
}

static void follower_drop(struct feed *st, uint32_t i) {
    struct follower *f = st->follower[i];

    walk_ends(st, f);
    shard_clock_fini(&f->has);
    shard_clock_fini(&f->snapshot);
    alloc_put(st->world->alloc, f, sizeof *f);
    st->follower[i] = st->follower[--st->follower_count];
}

static struct held *held_of(const struct feed *st, size_t *count) {
    *count = st->held.size_bytes / sizeof(struct held);
    return (struct held *) (void *) st->held.at;
}

void feed_close(struct feed_world *w, struct shard *s) {
    struct feed *st = feed_of(s);
    struct held *h;
    size_t count;

    if (st == NULL)
        return;
    while (st->follower_count != 0)
        follower_drop(st, 0);
    h = held_of(st, &count);
    for (size_t i = 0; i < count; i++)
        message_free(w->runtime, h[i].reply);
    buffer_fini(&st->held);
    buffer_fini(&st->out);
    buffer_fini(&st->relay);
    shard_clock_fini(&st->forget);
    alloc_put(w->alloc, st, sizeof *st);
    s->copy->feed = NULL;
}

/* ---- sending ----------------------------------------------------------------------------------
 */

static bool is_master(const struct feed *st) {
    return st->plan.master == st->world->self;
}

/* Begin a message in `out`; room for its clocks and changes is asked for later. */
static bool out_begin(struct shard *s, enum replica_kind kind, uint32_t more, size_t rest_bytes) {
    struct feed *st = feed_of(s);
    struct replica_head h = {kind, st->plan.view, st->table, s->number};
    struct value_writer w;
    uint8_t *room;

    buffer_clear(&st->out);
    room = buffer_room(&st->out, REPLICA_HEAD_BYTES + rest_bytes);
    if (room == NULL)
        return false;
    w = value_writer_init(room, REPLICA_HEAD_BYTES);
    replica_wire_head(&w, &h, more);
    st->out.size_bytes = w.need_bytes;
    return true;
}

static bool out_u64(struct feed *st, uint64_t n) {
    uint8_t *room = buffer_room(&st->out, 9);
    struct value_writer w = value_writer_init(room, room == NULL ? 0 : 9);

    value_put_u64(&w, n);
    st->out.size_bytes += room == NULL ? 0 : w.need_bytes;
    return room != NULL;
}

static bool out_clock(struct feed *st, const struct shard_clock *c) {
    struct value_writer w = value_writer_init(NULL, 0);
    uint8_t *room;

    shard_clock_put(c, st->world->origins, &w);
    room = buffer_room(&st->out, w.need_bytes);
    if (room == NULL)
        return false;
    w = value_writer_init(room, w.need_bytes);
    shard_clock_put(c, st->world->origins, &w);
    st->out.size_bytes += w.need_bytes;
    return true;
}

static eg_err out_send(struct feed *st, uint64_t to) {
    const struct feed_world *w = st->world;
    eg_err err = w->send(w->user, to, (struct value){st->out.at, (uint32_t) st->out.size_bytes});

    if (st->out.room_bytes > OUT_KEPT_BYTES) {
        buffer_fini(&st->out);
        buffer_init(&st->out, w->alloc, SHARD_COPY_GROUP_BYTES_MAX + REPLICA_HEAD_BYTES);
    }
    return err;
}

static eg_err send_small(struct shard *s, uint64_t to, enum replica_kind kind, uint64_t n) {
    struct feed *st = feed_of(s);
    bool bare = kind == REPLICA_ANEW;

    if (!out_begin(s, kind, bare ? 0 : 1, 0) || (!bare && !out_u64(st, n)))
        return EG_MEMORY;
    return out_send(st, to);
}

static eg_err send_follow(struct shard *s, uint64_t to, bool once) {
    struct feed *st = feed_of(s);
    uint8_t flag = once ? 0xc3 : 0xc2;

    st->session++;
    if (!out_begin(s, REPLICA_FOLLOW, 3, 0) || !out_u64(st, st->session) ||
        !out_clock(st, shard_copy_clock(s)) || !buffer_append(&st->out, &flag, 1))
        return EG_MEMORY;
    return out_send(st, to);
}

/* ---- waiting for others --------------------------------------------------------------------- */

static void tick_soon(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    struct message *m;
    eg_ref timer;

    if (st->ticking)
        return;
    m = message_new(actor_runtime(self), MESSAGE_INFO, 0);
    if (m == NULL)
        return; /* the next message asks again */
    m->tag = FEED_TICK;
    st->ticking = actor_start_timer(self, TICK_MS, m, &timer) == EG_OK;
}

static void step_soon(struct actor *self, struct shard *s, bool wait) {
    struct feed *st = feed_of(s);
    struct message *m;
    eg_ref timer;

    if (st->stepping)
        return;
    m = message_new(actor_runtime(self), wait ? MESSAGE_INFO : MESSAGE_REPLY, 0);
    if (m == NULL) {
        tick_soon(self, s);
        return;
    }
    m->tag = FEED_STEP;
    st->stepping = wait ? actor_start_timer(self, WAIT_MS, m, &timer) == EG_OK
                        : actor_send(self, actor_pid(self), m) == EG_OK;
    tick_soon(self, s);
}

/* What all have of our own changes for whom answers wait. */
static uint64_t covered_by_all(const struct shard *s, const struct feed *st) {
    uint64_t least = s->log.sync ? st->synced : UINT64_MAX;

    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->full)
            least = EG_MIN(least, st->follower[i]->covered);
    return least;
}

static void release_held(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    uint64_t covered = covered_by_all(s, st);
    size_t count, done = 0;
    struct held *h = held_of(st, &count);

    if (!st->serving)
        return;
    while (done < count && h[done].sequence <= covered) {
        actor_reply(self, h[done].to, h[done].ref, h[done].reply);
        done++;
    }
    if (done != 0) {
        memmove(h, h + done, (count - done) * sizeof *h);
        st->held.size_bytes -= done * sizeof *h;
    }
}

static void give_up_held(struct actor *self, struct feed *st) {
    static const char why[] = "made here, and the view changed before all copies had it";
    size_t count;
    struct held *h = held_of(st, &count);

    for (size_t i = 0; i < count; i++) {
        message_free(st->world->runtime, h[i].reply);
        actor_reply_bytes(self, h[i].to, h[i].ref, EG_IN_DOUBT, why, sizeof why - 1);
    }
    buffer_clear(&st->held);
}

/* Ask our own disc to say when it has what we have done so far. */
static bool sync_notice(struct actor *self, struct shard *s, uint64_t sequence) {
    struct message *m =
        message_copy(actor_runtime(self), MESSAGE_REPLY, &sequence, sizeof sequence);

    if (m == NULL)
        return false;
    m->tag = FEED_SYNCED;
    if (shard_log_wait(&s->log, actor_pid(self), 0, m) == EG_OK)
        return true;
    message_free(actor_runtime(self), m);
    return false;
}

static bool feed_hold(void *user, struct actor *self, struct shard *s, eg_pid to, uint64_t ref,
                      struct message *reply) {
    struct feed *st = feed_of(s);
    struct held h = {dot_sequence(s->sequence), to, ref, reply};

    (void) user;
    if (!buffer_append(&st->held, &h, sizeof h))
        return false;
    if (s->log.sync && !sync_notice(self, s, h.sequence)) {
        st->held.size_bytes -= sizeof h;
        return false;
    }
    release_held(self, s);
    return true;
}

/* ---- the master's side --------------------------------------------------------------------------
 */

static struct follower *follower_of(const struct feed *st, uint64_t node) {
    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->node == node)
            return st->follower[i];
    return NULL;
}

static void set_telling(struct shard *s) {
    struct feed *st = feed_of(s);
    bool telling = false;

    for (uint32_t i = 0; i < st->follower_count; i++)
        telling |= !st->follower[i]->once;
    if (telling && !s->copy->telling)
        s->copy->told = dot_sequence(s->sequence);
    s->copy->telling = telling;
}

/* The role that goes with who is full. */
static void grant(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    bool any = false;

    if (!st->serving)
        return;
    for (uint32_t i = 0; i < st->follower_count; i++)
        any |= st->follower[i]->full;
    shard_set_role(s, any && !st->acks_one ? SHARD_MASTER : SHARD_ALONE);
    release_held(self, s);
}

static void tell_full(struct shard *s, const struct follower *f) {
    if (f->full)
        (void) send_small(s, f->node, REPLICA_SERVE, 1); /* lost with the link: it follows anew */
}

/* Serve as soon as all who must be heard are, and are counted. */
static void try_serve(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    if (st->serving || !is_master(st))
        return;
    for (uint32_t i = 0; i < st->plan.count; i++) {
        const struct follower *f = follower_of(st, st->plan.holder[i].node);
        if (st->plan.holder[i].must && (f == NULL || !f->heard || !f->full))
            return;
    }
    st->serving = true;
    grant(self, s);
    for (uint32_t i = 0; i < st->follower_count; i++)
        tell_full(s, st->follower[i]);
    if (!st->was_full)
        st->world->became_full(st->world, s);
}

static bool is_holder(const struct feed *st, uint64_t node) {
    for (uint32_t i = 0; i < st->plan.count; i++)
        if (st->plan.holder[i].node == node)
            return true;
    return node == st->plan.master;
}

static struct follower *follower_make(struct feed *st, uint64_t node) {
    struct follower *f = alloc_zero(st->world->alloc, sizeof *f);

    if (f == NULL || st->follower_count == NODES_MAX) {
        alloc_put(st->world->alloc, f, f == NULL ? 0 : sizeof *f);
        return NULL;
    }
    f->node = node;
    shard_clock_init(&f->has, st->world->alloc);
    shard_clock_init(&f->snapshot, st->world->alloc);
    buffer_init(&f->place, st->world->alloc, KEY_SIZE_MAX * 2);
    st->follower[st->follower_count++] = f;
    return f;
}

static void drop_node(struct actor *self, struct shard *s, uint64_t node) {
    struct feed *st = feed_of(s);

    for (uint32_t i = st->follower_count; i-- > 0;)
        if (st->follower[i]->node == node)
            follower_drop(st, i);
    set_telling(s);
    grant(self, s);
}

/* Let it tell us what it has and we have not. */
static void ask_once(struct shard *s, struct follower *f) {
    f->asked = send_follow(s, f->node, true) == EG_OK; /* else the tick asks */
    f->asked_session = feed_of(s)->session;
}

static void hear_follow(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct follower *f;
    struct value clock, once;
    uint64_t session;
    bool heard = false;
    eg_err err;

    if (!is_holder(st, from) || !replica_wire_u64(it, &session) || !value_iter_next(it, &clock) ||
        !value_iter_next(it, &once))
        return;
    f = follower_of(st, from);
    heard = f != NULL && f->heard;
    drop_node(self, s, from);
    f = follower_make(st, from);
    if (f == NULL)
        return; /* it asks again */
    f->session = session;
    f->once = value_kind_of(once) == VALUE_TRUE;
    f->heard = heard;
    err = shard_clock_get(&f->has, st->world->origins, clock);
    if (err == EG_OK)
        err = shard_clock_copy(&f->snapshot, shard_copy_clock(s));
    if (err != EG_OK) {
        drop_node(self, s, from);
        return;
    }
    set_telling(s);
    if (is_master(st) && !f->once && !f->heard) {
        f->heard = shard_clock_has(&f->snapshot, &f->has);
        if (!f->heard)
            ask_once(s, f);
    }
    step_soon(self, s, false);
}

static void hear_covered(struct actor *self, struct shard *s, uint64_t from,
                         struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct follower *f = follower_of(st, from);
    uint64_t sequence;

    if (f == NULL || f->once || !replica_wire_u64(it, &sequence))
        return;
    f->covered = EG_MAX(f->covered, EG_MIN(sequence, dot_sequence(s->sequence)));
    if (!f->full && f->stage == WALK_OVER && f->covered >= f->end_sequence) {
        f->full = true;
        if (st->serving) {
            grant(self, s);
            tell_full(s, f);
        }
        try_serve(self, s);
    }
    release_held(self, s);
}

/* ---- the walk
 * ------------------------------------------------------------------------------------- */

/* Put a change at the end of `out`; false: no memory. */
static bool out_change(struct feed *st, const struct record *rec, const struct grave *g,
                       const struct record_version *clear) {
    size_t body_bytes = rec != NULL ? record_array_bytes(rec) : g != NULL ? g->size_bytes : 0;
    uint8_t *room = buffer_room(&st->out, body_bytes + REPLICA_HEAD_BYTES);
    struct value_writer w =
        value_writer_init(room, room == NULL ? 0 : body_bytes + REPLICA_HEAD_BYTES);

    if (room == NULL)
        return false;
    if (rec != NULL)
        shard_copy_put_record(st->world->origins, rec, &w);
    else if (g != NULL)
        shard_copy_put_grave(st->world->origins, g, &w);
    else
        shard_copy_put_clear(st->world->origins, *clear, &w);
    st->out.size_bytes += w.need_bytes;
    return true;
}

/* A message of changes that is being filled by a walk. */
struct parcel {
    struct shard *shard;
    struct follower *follower;
    struct reader *reader;
    size_t count_at; /* where the array begins */
    uint32_t count;
    uint64_t until_ns;
    bool over; /* full, or the time is */
};

static bool parcel_takes(struct parcel *p, uint64_t dot) {
    return !shard_clock_covers(&p->follower->has, dot);
}

static void parcel_added(struct parcel *p) {
    struct feed *st = feed_of(p->shard);

    p->count++;
    p->over |= st->out.size_bytes >= REPLICA_BATCH_BYTES;
}

static eg_err walk_records(struct parcel *p) {
    struct shard *s = p->shard;
    struct feed *st = feed_of(s);
    struct follower *f = p->follower;
    struct store *store = s->store;
    const struct record *rec, *last = NULL;
    struct store_cursor c;
    uint32_t seen = 0;
    struct key k;

    if (f->place.size_bytes == 0) {
        store->ops->seek(store, p->reader, &c, NULL, false, false);
    } else {
        struct value v = {f->place.at, (uint32_t) f->place.size_bytes};
        eg_err err = table_key(s->table, &k, v);

        if (err != EG_OK)
            return err;
        store->ops->seek(store, p->reader, &c, &k, true, false);
        key_release(&k);
    }
    while ((rec = store->ops->next(store, p->reader, &c)) != NULL) {
        if (p->over && !value_equal(record_key(last), record_key(rec)))
            break; /* between two keys */
        last = rec;
        if (parcel_takes(p, rec->dot)) {
            if (!out_change(st, rec, NULL, NULL))
                return EG_MEMORY;
            parcel_added(p);
        }
        if (++seen % LOOK_AT_CLOCK_RECORDS == 0)
            p->over |= env_now_ns(st->world->env) >= p->until_ns;
    }
    if (reader_take_fault(p->reader) != EG_OK)
        return EG_DISC;
    if (rec == NULL) {
        f->stage = WALK_GRAVES;
        return EG_OK;
    }
    buffer_clear(&f->place);
    return buffer_append(&f->place, record_key(last).at, record_key(last).size_bytes) ? EG_OK
                                                                                      : EG_MEMORY;
}

static eg_err walk_graves(struct parcel *p) {
    struct feed *st = feed_of(p->shard);
    struct follower *f = p->follower;
    const struct grave *g;

    while (!p->over) {
        if (!graves_walk(&p->shard->copy->graves, &f->grave_place, &f->graves_ended, &g)) {
            f->stage = WALK_END;
            return EG_OK;
        }
        for (; g != NULL; g = g->next) {
            if (!parcel_takes(p, g->version.dot))
                continue;
            if (!out_change(st, NULL, g, NULL))
                return EG_MEMORY;
            parcel_added(p);
        }
        p->over |= env_now_ns(st->world->env) >= p->until_ns;
    }
    return EG_OK;
}

static eg_err send_end(struct shard *s, struct follower *f) {
    struct feed *st = feed_of(s);
    const struct origins *o = st->world->origins;
    uint64_t sequence = dot_sequence(s->sequence);

    if (!out_begin(s, REPLICA_END, 4, 0) || !out_u64(st, f->session) ||
        !out_clock(st, &f->snapshot) || !out_u64(st, origin_of(o, o->own)) ||
        !out_u64(st, sequence))
        return EG_MEMORY;
    f->end_sequence = sequence;
    return out_send(st, f->node);
}

/* What was put together is not on its way: who follows will not mind what it gets twice. */
static eg_err walk_again(struct follower *f, eg_err err) {
    f->stage = WALK_CLEAR;
    buffer_clear(&f->place);
    f->grave_place = 0;
    f->graves_ended = false;
    return err;
}

/* May it begin?  EG_BUSY: others walk.  Where nothing is missing it is over at once. */
static eg_err walk_begin(struct shard *s, struct follower *f) {
    struct feed_world *w = feed_of(s)->world;
    eg_err err;

    if (shard_clock_has(&f->has, &f->snapshot)) {
        err = send_end(s, f);
        f->stage = err == EG_OK ? WALK_OVER : WALK_WAITS;
        return err;
    }
    if (atomic_fetch_add(&w->walks, 1) >= REPLICA_FILLS) {
        atomic_fetch_sub(&w->walks, 1);
        return EG_BUSY;
    }
    f->stage = WALK_CLEAR;
    return EG_OK;
}

static eg_err walk_clear(struct parcel *p) {
    const struct record_version *clear = &p->shard->copy->cleared;

    p->follower->stage = WALK_RECORDS;
    if (clear->hlc == 0 || !parcel_takes(p, clear->dot))
        return EG_OK;
    if (!out_change(feed_of(p->shard), NULL, NULL, clear))
        return EG_MEMORY;
    parcel_added(p);
    return EG_OK;
}

static eg_err walk_some(struct parcel *p) {
    eg_err err = EG_OK;

    if (p->follower->stage == WALK_CLEAR)
        err = walk_clear(p);
    if (err == EG_OK && p->follower->stage == WALK_RECORDS)
        err = walk_records(p);
    if (err == EG_OK && p->follower->stage == WALK_GRAVES)
        err = walk_graves(p);
    return err;
}

/* One part of a walk.  EG_BUSY: later. */
static eg_err walk_step(struct actor *self, struct shard *s, struct follower *f) {
    struct feed *st = feed_of(s);
    struct feed_world *w = st->world;
    struct parcel p = {.shard = s,
                       .follower = f,
                       .reader = shard_reader(s, self),
                       .until_ns = env_now_ns(w->env) + STEP_NS};
    uint8_t header[ARRAY32_BYTES] = {0xdd};
    eg_err err = EG_OK;

    if (f->stage == WALK_WAITS)
        err = walk_begin(s, f);
    if (err != EG_OK || f->stage == WALK_OVER)
        return err;
    if (w->pending_bytes(w->user, f->node) > REPLICA_AHEAD_BYTES)
        return EG_BUSY;
    if (!out_begin(s, REPLICA_MISSING, 2, ARRAY32_BYTES) || !out_u64(st, f->session))
        return EG_MEMORY;
    p.count_at = st->out.size_bytes;
    if (!buffer_append(&st->out, header, sizeof header))
        return EG_MEMORY;
    err = walk_some(&p);
    for (unsigned i = 0; i < 4; i++)
        st->out.at[p.count_at + 1 + i] = (uint8_t) (p.count >> (24 - 8 * i));
    if (err == EG_OK && p.count != 0)
        err = out_send(st, f->node);
    if (err != EG_OK)
        return walk_again(f, err);
    if (f->stage == WALK_END) {
        err = send_end(s, f);
        if (err == EG_OK)
            walk_ends(st, f);
    }
    return err;
}

static void step(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    bool more = false, wait = true;

    for (uint32_t i = st->follower_count; i-- > 0;) {
        struct follower *f = st->follower[i];
        eg_err err;

        if (f->stage == WALK_OVER)
            continue;
        err = walk_step(self, s, f);
        reader_reset(shard_reader(s, self));
        if (err != EG_OK && err != EG_BUSY && err != EG_MEMORY) {
            drop_node(self, s, f->node); /* it follows anew */
            continue;
        }
        more |= f->stage != WALK_OVER;
        wait &= err != EG_OK;
    }
    if (more)
        step_soon(self, s, wait);
}

/* ---- the turn's end
 * ---------------------------------------------------------------------------------- */

/* [origin, first, last, clock or nil, changes] of what the turn did; `bare`: without the changes,
 * for whom they came from. */
static bool out_changes(struct shard *s, bool bare) {
    struct feed *st = feed_of(s);
    const struct origins *o = st->world->origins;
    const struct shard_copy *c = s->copy;
    static const uint8_t nil = 0xc0;
    uint32_t count = bare ? 0 : c->group_count;
    size_t group_bytes = bare ? 0 : c->group.size_bytes;
    uint8_t header[ARRAY32_BYTES] = {0xdd, (uint8_t) (count >> 24), (uint8_t) (count >> 16),
                                     (uint8_t) (count >> 8), (uint8_t) count};
    const void *clock = st->relay.size_bytes == 0 ? &nil : st->relay.at;

    return out_begin(s, REPLICA_CHANGES, 5, group_bytes + st->relay.size_bytes) &&
           out_u64(st, origin_of(o, o->own)) && out_u64(st, c->told + 1) &&
           out_u64(st, dot_sequence(s->sequence)) &&
           buffer_append(&st->out, clock, EG_MAX(st->relay.size_bytes, (size_t) 1)) &&
           buffer_append(&st->out, header, sizeof header) &&
           (group_bytes == 0 || buffer_append(&st->out, c->group.at, group_bytes));
}

/* Nobody may miss a change and not know it. */
static void lose(struct shard *s, struct follower *f) {
    struct feed *st = feed_of(s);

    (void) send_small(s, f->node, REPLICA_ANEW, 0); /* not through either: the tick tries again */
    if (f->stage != WALK_OVER)
        walk_ends(st, f);
    f->end_sequence =
        UINT64_MAX; /* it is not counted as it is, and if it was it stays waited for */
}

static void feed_changed(void *user, struct shard *s) {
    struct feed *st = feed_of(s);
    bool lost = s->copy->lost, made = false, made_bare = false;

    (void) user;
    if (st == NULL)
        return;
    for (uint32_t i = 0; i < st->follower_count; i++) {
        struct follower *f = st->follower[i];
        bool bare = st->relay_from != 0 && f->node == st->relay_from;

        if (f->once || f->end_sequence == UINT64_MAX)
            continue;
        if (!made || bare != made_bare) {
            made = !lost && out_changes(s, bare);
            made_bare = bare;
        }
        if (!made ||
            st->world->send(st->world->user, f->node,
                            (struct value){st->out.at, (uint32_t) st->out.size_bytes}) != EG_OK) {
            lose(s, f);
            made = false; /* `out` was used for the word */
        }
    }
    st->relay_from = 0;
    buffer_clear(&st->relay);
    if (st->out.room_bytes > OUT_KEPT_BYTES) {
        buffer_fini(&st->out);
        buffer_init(&st->out, st->world->alloc, SHARD_COPY_GROUP_BYTES_MAX + REPLICA_HEAD_BYTES);
    }
}

/* ---- the copy's side
 * ------------------------------------------------------------------------------------- */

static void follow_anew(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    shard_set_role(s, SHARD_FILLING); /* before the master knows: it counts us no more then */
    if (st->ended)
        st->was_full = false; /* it may have gone on without us */
    st->ended = false;
    st->quiet = false;
    st->acked = 0;
    (void) send_follow(s, st->plan.master, false); /* the tick asks again */
    st->following = st->session;
    tick_soon(self, s);
}

static void acknowledge(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);
    uint64_t covered;

    if (!st->ended)
        return;
    covered = shard_clock_base(&s->copy->clock, st->slot);
    if (s->log.sync && !shard_log_is_written(&s->log)) {
        if (!sync_notice(self, s, covered))
            follow_anew(self, s);
        return;
    }
    st->acked = covered;
    (void) send_small(s, st->plan.master, REPLICA_COVERED, covered);
}

static eg_err apply(struct actor *self, struct shard *s, struct value changes) {
    struct feed *st = feed_of(s);
    struct err_note note = {""};
    struct shard_turn t = {.shard = s,
                           .reader = shard_reader(s, self),
                           .note = &note,
                           .now_ms = (uint64_t) env_wall_ms(st->world->env)};
    eg_err err = shard_ready(&t);

    if (err == EG_OK)
        err = shard_copy_apply(&t, changes);
    reader_reset(t.reader);
    return err;
}

/* What came to the master from another goes on to those who follow: as a change of ours, so that
 * they can say that they have it. */
static void relay(struct shard *s, uint64_t from, struct value clock) {
    struct feed *st = feed_of(s);

    for (uint32_t i = 0; i < st->follower_count && clock.size_bytes != 0; i++) {
        struct follower *f = st->follower[i];

        if (f->stage != WALK_OVER &&
            shard_clock_get(&f->snapshot, st->world->origins, clock) != EG_OK)
            lose(s, f);
    }

    if (!s->copy->telling)
        return;
    s->sequence++;
    s->copy->news = true;
    st->relay_from = from;
    if (clock.size_bytes != 0 && !buffer_append(&st->relay, clock.at, clock.size_bytes))
        s->copy->lost = true;
}

static bool follows(const struct feed *st, uint64_t from) {
    return !is_master(st) && from == st->plan.master;
}

/* Is it an answer to our last FOLLOW to that node? */
static bool is_asked(const struct feed *st, uint64_t from, struct value_iter *it) {
    const struct follower *f = follower_of(st, from);
    uint64_t session;

    if (!replica_wire_u64(it, &session))
        return false;
    if (follows(st, from))
        return session == st->following;
    return f != NULL && f->asked && session == f->asked_session;
}

static void hear_missing(struct actor *self, struct shard *s, uint64_t from,
                         struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct follower *f = follower_of(st, from);
    struct value changes;
    eg_err err;

    if (!is_asked(st, from, it) || !value_iter_next(it, &changes))
        return;
    err = apply(self, s, changes);
    if (err == EG_OK && !follows(st, from))
        relay(s, from, (struct value){NULL, 0});
    if (err != EG_OK && follows(st, from))
        follow_anew(self, s);
    else if (err != EG_OK)
        ask_once(s, f);
}

static void hear_end(struct actor *self, struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct follower *f = follower_of(st, from);
    struct value clock;
    uint64_t origin, sequence;
    struct shard_clock of;
    eg_err err;

    if (!is_asked(st, from, it) || !value_iter_next(it, &clock) || !replica_wire_u64(it, &origin) ||
        !replica_wire_u64(it, &sequence))
        return;
    shard_clock_init(&of, st->world->alloc);
    err = shard_clock_get(&of, st->world->origins, clock);
    if (err == EG_OK)
        err = shard_copy_cover(s, &of);
    shard_clock_fini(&of);
    if (follows(st, from)) {
        if (err == EG_OK)
            err = origins_slot(st->world->origins, origin, &st->slot);
        st->ended = err == EG_OK;
        if (st->ended)
            acknowledge(self, s);
    } else if (err == EG_OK) {
        f->asked = false;
        f->heard = true;
        relay(s, from, clock);
        try_serve(self, s);
    }
}

static void hear_changes(struct actor *self, struct shard *s, uint64_t from,
                         struct value_iter *it) {
    struct feed *st = feed_of(s);
    uint64_t origin, first, last;
    struct value clock, changes;
    struct shard_clock of;
    eg_err err;

    if (!follows(st, from) || !replica_wire_u64(it, &origin) || !replica_wire_u64(it, &first) ||
        !replica_wire_u64(it, &last) || !value_iter_next(it, &clock) ||
        !value_iter_next(it, &changes))
        return;
    err = apply(self, s, changes);
    if (err == EG_OK && first <= last)
        err = shard_copy_cover_range(s, origin, first, last);
    /* Before the END it stands for things too that are still on their way: the END has it. */
    if (err == EG_OK && value_kind_of(clock) != VALUE_NIL && st->ended) {
        shard_clock_init(&of, st->world->alloc);
        err = shard_clock_get(&of, st->world->origins, clock);
        if (err == EG_OK)
            err = shard_copy_cover(s, &of);
        shard_clock_fini(&of);
    }
    if (err == EG_OK)
        acknowledge(self, s);
    else
        follow_anew(self, s);
}

static void hear_serve(struct shard *s, uint64_t from) {
    struct feed *st = feed_of(s);

    if (!follows(st, from) || !st->ended)
        return;
    shard_set_role(s, SHARD_FULL);
    if (!st->was_full)
        st->world->became_full(st->world, s);
}

static void hear_forget(struct shard *s, uint64_t from, struct value_iter *it) {
    struct feed *st = feed_of(s);
    struct shard_clock covered;
    struct value clock;

    if (!follows(st, from) || !value_iter_next(it, &clock))
        return;
    shard_clock_init(&covered, st->world->alloc);
    if (shard_clock_get(&covered, st->world->origins, clock) == EG_OK)
        (void) shard_copy_forget(s, &covered); /* how many is of no use here */
    shard_clock_fini(&covered);
}

static void hear(struct actor *self, struct shard *s, const struct message *m) {
    struct feed *st = feed_of(s);
    struct replica_head h;
    struct value_iter it;
    uint64_t from;

    if (st == NULL || m->size_bytes <= sizeof from)
        return;
    memcpy(&from, m->payload, sizeof from);
    if (replica_wire_open(&h, &it, value_of(m->payload + sizeof from)) != EG_OK ||
        !view_id_equal(h.view, st->plan.view))
        return;
    st->quiet = false;
    switch (h.kind) {
    case REPLICA_FOLLOW:
        hear_follow(self, s, from, &it);
        break;
    case REPLICA_MISSING:
        hear_missing(self, s, from, &it);
        break;
    case REPLICA_END:
        hear_end(self, s, from, &it);
        break;
    case REPLICA_CHANGES:
        hear_changes(self, s, from, &it);
        break;
    case REPLICA_COVERED:
        hear_covered(self, s, from, &it);
        break;
    case REPLICA_SERVE:
        hear_serve(s, from);
        break;
    case REPLICA_ANEW:
        if (follows(st, from))
            follow_anew(self, s);
        break;
    case REPLICA_FORGET:
        hear_forget(s, from, &it);
        break;
    case REPLICA_KINDS:
        break;
    }
}

/* ---- views
 * --------------------------------------------------------------------------------------------- */

static bool any_change(struct shard *s) {
    return dot_sequence(s->sequence) != 0 ||
           (s->copy != NULL && !shard_clock_is_empty(shard_copy_clock(s)));
}

/* What this copy is worth when the view ends now. */
static uint8_t worth_now(struct shard *s) {
    const struct feed *st = feed_of(s);
    enum shard_role role = shard_role(s);
    bool any = any_change(s);
    enum replica_worth worth = any ? REPLICA_SOME : REPLICA_NONE;

    if (role <= SHARD_FULL || (st != NULL && st->was_full && role != SHARD_AWAY))
        worth = REPLICA_FULL;
    return (uint8_t) (worth | (any ? FEED_ANY : 0));
}

static void stop(struct feed_world *w, struct shard *s) {
    if (shard_role(s) != SHARD_STOPPED || atomic_load(&s->worth) == 0)
        atomic_store(&s->worth, worth_now(s));
    shard_set_role(s, SHARD_STOPPED);
    w->stopped(w);
}

static void leave_copy(struct actor *self, struct shard *s, bool wipe) {
    struct err_note note = {""};
    struct shard_turn t = {.shard = s,
                           .reader = shard_reader(s, self),
                           .note = &note,
                           .now_ms = (uint64_t) env_wall_ms(feed_of(s)->world->env)};

    shard_set_role(s, SHARD_AWAY);
    if (wipe && (shard_ready(&t) != EG_OK || shard_copy_wipe(&t) != EG_OK))
        env_log(feed_of(s)->world->env, ENV_LOG_WARN, "replica",
                "a copy that is not needed stays for now");
    reader_reset(t.reader);
}

static void follow_plan(struct actor *self, struct shard *s, const struct feed_order *order) {
    struct feed *st = feed_of(s);

    while (st->follower_count != 0)
        follower_drop(st, 0);
    set_telling(s);
    st->plan = order->plan;
    st->table = order->table;
    st->was_full = order->was_full;
    st->acks_one = order->acks_one;
    st->serving = st->ended = false;
    st->forget_sequence = 0;
    buffer_clear(&st->relay);
    if (!st->plan.here || !is_master(st))
        give_up_held(self, st);
    if (!st->plan.here) {
        leave_copy(self, s, st->plan.drop);
    } else if (is_master(st)) {
        shard_set_role(s, SHARD_STOPPED);
        try_serve(self, s);
        tick_soon(self, s);
    } else {
        follow_anew(self, s);
    }
}

/* An order that comes twice changes nothing. */
static bool same_plan(const struct replica_plan *a, const struct replica_plan *b) {
    bool same = view_id_equal(a->view, b->view) && a->master == b->master && a->here == b->here &&
                a->drop == b->drop && a->settled == b->settled && a->count == b->count;

    for (uint32_t i = 0; same && i < a->count; i++)
        same = a->holder[i].node == b->holder[i].node && a->holder[i].must == b->holder[i].must;
    return same;
}

static void take_plan(struct feed_world *w, struct actor *self, struct shard *s,
                      struct message *m) {
    struct feed_order order;

    memcpy(&order, m->payload, sizeof order);
    atomic_store(&s->master, order.plan.master);
    if (order.never_met) {
        shard_set_role(s, SHARD_ALONE);
        return;
    }
    if (feed_of(s) != NULL && feed_of(s)->acks_one == order.acks_one &&
        same_plan(&feed_of(s)->plan, &order.plan))
        return;
    if (feed_open(w, s) == EG_OK) {
        follow_plan(self, s, &order);
        return;
    }
    actor_keep(self, m); /* no memory: again when others had a turn */
    (void) actor_send(self, actor_pid(self), m);
}

/* ---- time
 * ------------------------------------------------------------------------------------------------
 */

/* Graves that everybody has covered: taken note of now, forgotten when all have said so. */
static void tend_graves(struct shard *s) {
    struct feed *st = feed_of(s);

    if (!st->serving || !st->plan.settled || s->copy->graves.count == 0)
        return;
    for (uint32_t i = 0; i < st->plan.count; i++) {
        const struct follower *f = follower_of(st, st->plan.holder[i].node);
        if (f == NULL || !f->full)
            return;
    }
    if (st->forget_sequence != 0 && covered_by_all(s, st) >= st->forget_sequence) {
        for (uint32_t i = 0; i < st->follower_count; i++)
            if (out_begin(s, REPLICA_FORGET, 1, 0) && out_clock(st, &st->forget))
                (void) out_send(st, st->follower[i]->node); /* they may keep them longer */
        (void) shard_copy_forget(s, &st->forget);
        st->forget_sequence = 0;
    }
    if (st->forget_sequence == 0 && s->copy->graves.count != 0 &&
        shard_clock_copy(&st->forget, shard_copy_clock(s)) == EG_OK)
        st->forget_sequence = EG_MAX(dot_sequence(s->sequence), (uint64_t) 1);
}

static bool master_waits(struct shard *s) {
    struct feed *st = feed_of(s);
    bool waits = !st->serving || st->held.size_bytes != 0 || s->copy->graves.count != 0;

    for (uint32_t i = 0; i < st->follower_count; i++)
        waits |= !st->follower[i]->full;
    return waits;
}

static void tick(struct actor *self, struct shard *s) {
    struct feed *st = feed_of(s);

    st->ticking = false;
    if (!st->plan.here || shard_role(s) == SHARD_AWAY)
        return;
    if (is_master(st)) {
        for (uint32_t i = 0; i < st->follower_count; i++) {
            struct follower *f = st->follower[i];

            if (f->end_sequence == UINT64_MAX)
                (void) send_small(s, f->node, REPLICA_ANEW, 0);
            else if (!f->heard && !f->asked && !f->once)
                ask_once(s, f);
        }
        if (st->ticks++ % FORGET_TICKS == 0)
            tend_graves(s);
        try_serve(self, s);
        release_held(self, s);
        step(self, s);
        if (master_waits(s))
            tick_soon(self, s);
        return;
    }
    step(self, s); /* the master may follow us once */
    if (shard_role(s) == SHARD_FULL)
        return;
    if (st->quiet && !st->ended)
        follow_anew(self, s);
    else if (st->quiet)
        acknowledge(self, s);
    st->quiet = true;
    tick_soon(self, s);
}

static void node_down(struct actor *self, struct shard *s, const struct message *m) {
    struct feed *st = feed_of(s);
    uint64_t node;

    memcpy(&node, m->payload, sizeof node);
    if (st == NULL)
        return;
    for (uint32_t i = 0; i < st->follower_count; i++)
        if (st->follower[i]->node == node && !st->follower[i]->full) {
            drop_node(self, s, node);
            break;
        }
    if (follows(st, node) && st->plan.here && !st->plan.drop)
        follow_anew(self, s);
}

/* ---- what the shard calls
 * ------------------------------------------------------------------------------- */

static void synced(struct actor *self, struct shard *s, const struct message *m) {
    struct feed *st = feed_of(s);
    uint64_t sequence;

    if (st == NULL || m->size_bytes != sizeof sequence)
        return;
    memcpy(&sequence, m->payload, sizeof sequence);
    if (is_master(st)) {
        st->synced = EG_MAX(st->synced, sequence);
        release_held(self, s);
    } else if (st->ended) {
        (void) send_small(s, st->plan.master, REPLICA_COVERED, sequence);
    }
}

static void feed_receive(void *user, struct actor *self, struct shard *s, struct message *m) {
    struct feed_world *w = user;
    struct feed *st = feed_of(s);

    switch ((enum feed_tag) m->tag) {
    case FEED_STOP:
        stop(w, s);
        break;
    case FEED_PLAN:
        take_plan(w, self, s, m);
        break;
    case FEED_HEAR:
        hear(self, s, m);
        break;
    case FEED_DOWN:
        node_down(self, s, m);
        break;
    case FEED_STEP:
        if (st != NULL) {
            st->stepping = false;
            step(self, s);
        }
        break;
    case FEED_TICK:
        if (st != NULL)
            tick(self, s);
        break;
    case FEED_SYNCED:
        synced(self, s, m);
        break;
    }
}

/* What was in the mailbox of the actor before is lost. */
static void feed_resume(void *user, struct actor *self, struct shard *s) {
    struct feed_world *w = user;
    struct feed *st = feed_of(s);

    w->resumed(w);
    if (st == NULL)
        return;
    st->ticking = st->stepping = false;
    if (!st->plan.here)
        return;
    if (is_master(st)) {
        for (uint32_t i = 0; i < st->follower_count; i++)
            if (!st->follower[i]->once)
                lose(s, st->follower[i]);
    } else {
        follow_anew(self, s);
    }
    tick_soon(self, s);
}

static void feed_closed(void *user, struct shard *s) {
    feed_close(user, s);
}

const struct shard_copy_ops *feed_ops(void) {
    static const struct shard_copy_ops ops = {.changed = feed_changed,
                                              .receive = feed_receive,
                                              .resume = feed_resume,
                                              .hold = feed_hold,
                                              .close = feed_closed};

    return &ops;
}
