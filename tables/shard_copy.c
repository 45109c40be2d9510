/* shard_copy.c -- what a turn did, told to others; what others did, done here. */
#include "tables/shard_copy.h"

#include "engine/env.h"
#include "engine/planted.h"
#include "engine/scheduler.h"
#include "tables/shard_conflict.h"
#include "tables/shard_floor.h"
#include "tables/shard_mark.h"
#include "tables/shard_merge.h"
#include "tables/shard_stamp.h"
#include "tables/shard_watch.h"
#include "tables/shard_tx.h"
#include "tables/table_private.h"

#include <string.h>

enum change_kind { CHANGE_STORE, CHANGE_REMOVE, CHANGE_CLEAR, CHANGE_KINDS };

#define CHANGE_AHEAD_MS (UINT64_C(10) * 365 * 24 * 3600 * 1000) /* ten years */

enum {
    CHANGE_HEAD_BYTES = 48,        /* kind, origin, sequence, hlc, expiry and their array     */
    STORE_FIELDS = 6,              /* without a state */
    APPLY_AHEAD = 8,               /* changes that are read before the first is applied */
    EXPECT_AHEAD = 4,              /* steps of growth for each that comes                */
    GROUP_KEPT_BYTES = 256 * 1024, /* of room between turns */
};

static struct origins *origins_of(const struct shard *s) {
    return s->table->world->origins;
}

static bool is_bag(const struct shard *s) {
    return s->table->type == TABLE_BAG;
}

/* ---- open, close, role ----------------------------------------------------------------- */

eg_err shard_copy_open(struct shard *s) {
    const struct world *w = s->table->world;
    struct alloc *a = w->o.alloc;
    struct shard_copy *c;

    if (s->copy != NULL)
        return EG_OK;
    c = alloc_zero(a, sizeof *c);
    if (c == NULL)
        return EG_MEMORY;
    shard_clock_init(&c->clock, a);
    shard_clock_init(&c->floor.clock, a);
    graves_init(&c->graves, a);
    recent_init(&c->recent, a, w->o.recent_bytes != 0 ? w->o.recent_bytes : RECENT_PART_BYTES);
    buffer_init(&c->packed, a, SIZE_MAX);
    buffer_init(&c->state, a, RECORD_SIZE_MAX);
    buffer_init(&c->merged, a, RECORD_SIZE_MAX);
    buffer_init(&c->group, a, SHARD_COPY_GROUP_BYTES_MAX);
    /* Room for our own changes: later they cannot fail. */
    if (shard_clock_add(&c->clock, origins_of(s)->own, 1, 1) != EG_OK) {
        alloc_put(a, c, sizeof *c);
        return EG_MEMORY;
    }
    shard_clock_set(&c->clock, origins_of(s)->own, 0);
    c->told = dot_sequence(s->sequence);
    s->copy = c;
    return EG_OK;
}

void shard_copy_close(struct shard *s) {
    struct shard_copy *c = s->copy;
    struct world *w = s->table->world;

    if (c == NULL)
        return;
    if (c->feed != NULL && w->copy_ops != NULL)
        w->copy_ops->close(w->copy_user, s);
    shard_mark_close(s);
    shard_clock_fini(&c->clock);
    shard_clock_fini(&c->floor.clock);
    graves_fini(&c->graves);
    shard_floor_account(s);
    recent_fini(&c->recent);
    buffer_fini(&c->packed);
    buffer_fini(&c->state);
    buffer_fini(&c->merged);
    buffer_fini(&c->group);
    alloc_put(w->o.alloc, c, sizeof *c);
    s->copy = NULL;
}

void shard_set_role(struct shard *s, enum shard_role role) {
    shard_tx_role(s, role);
    atomic_store_explicit(&s->role, (uint8_t) (role | (role_or_held(s) & SHARD_HELD)),
                          memory_order_release);
}

enum shard_role shard_role(const struct shard *s) {
    return role_of(s);
}

struct shard *table_shard(struct table *t, uint32_t number) {
    EG_ASSERT(number < t->shard_count);
    return &t->shard[number];
}

struct reader *shard_reader(const struct shard *s, const struct actor *self) {
    return &s->table->world->readers[scheduler_index(actor_scheduler(self))];
}

const struct shard_clock *shard_copy_clock(struct shard *s) {
    struct shard_clock *c = &s->copy->clock;

    if (s->copy->own_from == 0)
        shard_clock_set(c, origins_of(s)->own, dot_sequence(s->sequence));
    else /* one island grows: no memory is needed */
        EG_ASSERT(shard_clock_add(c, origins_of(s)->own, s->copy->own_from + 1,
                                  dot_sequence(s->sequence)) == EG_OK);
    return c;
}

/* Nobody can know of a change of ours that we have not made. */
static bool is_ours_to_come(const struct shard *s, uint16_t slot, uint64_t sequence) {
    return slot == origins_of(s)->own && sequence > dot_sequence(s->sequence);
}

/* ---- which is newer ---------------------------------------------------------------------- */

static bool is_newer(const struct shard *s, struct record_version a, struct record_version b) {
    const struct origins *o = origins_of(s);
    uint64_t of_a, of_b;

    if (a.hlc != b.hlc)
        return a.hlc > b.hlc;
    of_a = origin_of(o, dot_slot(a.dot));
    of_b = origin_of(o, dot_slot(b.dot));
    return of_a != of_b ? of_a > of_b : dot_sequence(a.dot) > dot_sequence(b.dot);
}

static struct record_version version_of(const struct record *rec) {
    return (struct record_version){rec->hlc, rec->dot};
}

/* ---- changes as they are said -------------------------------------------------------------- */

static void put_head(const struct origins *o, enum change_kind kind, uint32_t count,
                     struct record_version v, struct value_writer *w) {
    value_put_array(w, count);
    value_put_u64(w, kind);
    value_put_u64(w, origin_of(o, dot_slot(v.dot)));
    value_put_u64(w, dot_sequence(v.dot));
    value_put_u64(w, v.hlc);
}

static void put_store(const struct origins *o, struct value array, struct value state,
                      struct record_version v, uint64_t expiry_ms, struct value_writer *w) {
    put_head(o, CHANGE_STORE, STORE_FIELDS + (state.size_bytes != 0), v, w);
    value_put_u64(w, expiry_ms == RANK_NEVER || PLANTED(EXPIRY_UNTOLD) ? 0 : expiry_ms);
    value_put_raw(w, array);
    if (state.size_bytes != 0)
        value_put_raw(w, state);
}

void shard_copy_put_record(const struct origins *o, const struct record *rec,
                           struct value_writer *w) {
    put_store(o, record_value(rec), record_state(rec), version_of(rec), record_expiry_ms(rec), w);
}

void shard_copy_put_grave(const struct origins *o, const struct grave *g, struct value_writer *w) {
    put_head(o, CHANGE_REMOVE, 5, g->version, w);
    value_put_raw(w, grave_value(g));
}

void shard_copy_put_clear(const struct origins *o, struct record_version v,
                          struct value_writer *w) {
    put_head(o, CHANGE_CLEAR, 4, v, w);
}

/* Room for one more; false: it is lost, and who follows must begin anew. */
static bool note_begin(struct shard *s, size_t body_bytes, struct value_writer *w) {
    struct shard_copy *c = s->copy;
    uint8_t *room;

    if (!c->telling || c->lost)
        return false;
    room = buffer_room(&c->group, CHANGE_HEAD_BYTES + body_bytes);
    c->lost = room == NULL;
    *w = value_writer_init(room, room == NULL ? 0 : CHANGE_HEAD_BYTES + body_bytes);
    return room != NULL;
}

static void note_end(struct shard *s, const struct value_writer *w) {
    EG_ASSERT(!w->overflow);
    s->copy->group.size_bytes += w->need_bytes;
    s->copy->group_count++;
}

/* ---- in the owner's turn --------------------------------------------------------------------- */

static struct disc_batch *batch_of(struct shard *s) {
    return s->table->storage == STORAGE_DISC_ONLY ? store_disc_extra(s->store)
                                                  : &s->log.batch[s->log.filling];
}

/* What tells it from others: its key, of a bag all of it. */
static struct value identity(const struct shard *s, const struct key *k, struct value array) {
    return is_bag(s) ? array : k->value;
}

/* The key in what identity() said. */
static struct value key_of(const struct shard *s, struct value identity) {
    struct value key = identity;

    EG_ASSERT(!is_bag(s) || array_element(identity, 0, &key));
    return key;
}

static eg_err forget_row(struct shard *s, struct value identity) {
    if (s->table->disc_table == NULL)
        return EG_OK;
    return disc_record_del_grave(batch_of(s), s->table->disc_table, s->number, identity, is_bag(s));
}

static eg_err remember_row(struct shard *s, struct value identity, struct record_version v) {
    if (s->table->disc_table == NULL)
        return EG_OK;
    return disc_record_put_grave(batch_of(s), s->table->disc_table, s->number, identity, is_bag(s),
                                 v);
}

/* What is now otherwise: it is recent, and its part of the tree is to be summed again. */
static void note_recent(struct shard *s, uint64_t dot, struct value key, uint64_t hash) {
    recent_note(&s->copy->recent, dot, key);
    if (EG_UNLIKELY(s->copy->tree != NULL))
        hash_tree_mark(s->copy->tree, hash);
}

/* Before a change: there is room to note it. */
static void recent_ready(const struct shard_turn *t) {
    struct shard_copy *c = t->shard->copy;

    if (EG_LIKELY(c->recent.on && !recent_is_full(&c->recent))) {
        recent_prefetch(&c->recent);
        return;
    }
    if (c->recent.on)
        recent_turn(&c->recent, shard_copy_clock(t->shard));
    else if (!t->remote && !c->loose && !c->unsure && /* what is here is covered */
             schema_of(t->shard->table)->copies != 1) /* and somebody else may ask for it */
        recent_begin(&c->recent, shard_copy_clock(t->shard));
}

static void raise_to(_Atomic uint64_t *at, uint64_t hlc) {
    if (EG_LIKELY(hlc > atomic_load_explicit(at, memory_order_relaxed)))
        atomic_store_explicit(at, hlc, memory_order_release);
}

/* Before readers can see it: who sees it then sees this too. */
static void announce(struct shard *s, bool removal, uint64_t hlc) {
    uint64_t newest = EG_MAX(s->hlc, hlc);

    if (removal)
        raise_to(&s->removed, newest);
    raise_to(&s->newest, newest);
}

void shard_copy_indexing(struct shard *s, uint64_t hlc) {
    raise_to(&s->indexed, EG_MAX(s->hlc, hlc));
}

void shard_set_stable(struct shard *s, uint64_t hlc) {
    atomic_store_explicit(&s->stable, hlc, memory_order_release);
}

eg_err shard_copy_storing(struct shard_turn *t, struct value array, uint64_t hlc) {
    struct shard *s = t->shard;
    struct value v = identity(s, t->key, array);

    announce(s, false, hlc);
    recent_ready(t);
    if (EG_UNLIKELY(s->copy->tree != NULL))
        hash_tree_prefetch(s->copy->tree, t->key->hash);
    return graves_find(&s->copy->graves, t->key->hash, v) == NULL ? EG_OK : forget_row(s, v);
}

void shard_copy_stored(struct shard_turn *t, struct value array, struct value state,
                       struct record_version version, uint64_t expiry_ms) {
    struct shard *s = t->shard;
    struct value_writer w;

    graves_remove(&s->copy->graves, t->key->hash, identity(s, t->key, array));
    note_recent(s, version.dot, t->key->value, t->key->hash);
    if (!note_begin(s, array.size_bytes + state.size_bytes, &w))
        return;
    put_store(origins_of(s), array, state, version, expiry_ms, &w);
    note_end(s, &w);
}

static eg_err dig(struct shard *s, const struct key *k, struct value v,
                  struct record_version version) {
    eg_err err = remember_row(s, v, version);

    if (err == EG_OK) {
        s->copy->digging = graves_make(&s->copy->graves, k->hash, v, version);
        err = s->copy->digging == NULL ? EG_MEMORY : EG_OK;
    }
    return err;
}

eg_err shard_copy_removing(struct shard_turn *t, const struct key *k, const struct record *rec,
                           struct record_version version) {
    struct value v = identity(t->shard, k, record_value(rec));

    if (!t->leaving) {
        announce(t->shard, true, version.hlc);
        recent_ready(t);
        return dig(t->shard, k, v, version);
    }
    if (shard_expired(rec, t->now_ms))
        return dig(t->shard, k, v, version_of(rec));
    /* A full cache gives it up without a trace, and may have removed what it stood for. */
    return schema_of(t->shard->table)->cache ? shard_floor_raise(t->shard, version_of(rec)) : EG_OK;
}

/* `silent`: the others see to it themselves. */
static void bury(struct shard *s, bool silent) {
    struct shard_copy *c = s->copy;
    struct grave *g = c->digging;
    struct value_writer w;

    c->digging = NULL;
    if (PLANTED(DELETE_WITHOUT_GRAVE)) {
        graves_discard(&c->graves, g);
        return;
    }
    graves_put(&c->graves, g);
    if (silent) /* it has the dot of what went */
        return;
    if (!PLANTED(RECENT_WITHOUT_GRAVES))
        note_recent(s, g->version.dot, key_of(s, grave_value(g)), g->hash);
    if (!note_begin(s, g->size_bytes, &w))
        return;
    shard_copy_put_grave(origins_of(s), g, &w);
    note_end(s, &w);
}

void shard_copy_removed(struct shard_turn *t) {
    if (t->shard->copy->digging != NULL)
        bury(t->shard, t->leaving);
}

void shard_copy_not_removed(struct shard_turn *t) {
    struct shard_copy *c = t->shard->copy;

    if (c->digging != NULL)
        graves_discard(&c->graves, c->digging);
    c->digging = NULL;
}

eg_err shard_copy_clearing(struct shard_turn *t, struct record_version version) {
    struct shard *s = t->shard;
    struct record_version before = s->copy->cleared;
    uint8_t small[SHARD_CLOCK_BYTES];
    struct disc_bytes packed;

    announce(s, true, version.hlc);
    recent_ready(t);
    if (s->table->storage != STORAGE_DISC_ONLY)
        return EG_OK;
    s->copy->cleared = version;
    s->sequence += !t->remote;
    packed = shard_clock_pack(s, small);
    s->sequence -= !t->remote;
    s->copy->cleared = before;
    if (packed.size_bytes == 0)
        return EG_MEMORY;
    return disc_record_put_clock(store_disc_extra(s->store), s->table->disc_table, s->number,
                                 packed);
}

void shard_copy_cleared(struct shard_turn *t, struct record_version version) {
    static const struct value nothing = {NULL, 0};
    struct shard *s = t->shard;
    struct value_writer w;

    graves_clear(&s->copy->graves);
    s->copy->cleared = version;
    recent_note(&s->copy->recent, version.dot, nothing);
    if (!note_begin(s, 0, &w))
        return;
    shard_copy_put_clear(origins_of(s), version, &w);
    note_end(s, &w);
}

void shard_copy_tell(struct shard *s) {
    struct world *w = s->table->world;

    if (w->copy_ops == NULL || w->copy_ops->changed(w->copy_user, s))
        shard_copy_drop_group(s);
}

void shard_copy_drop_group(struct shard *s) {
    struct shard_copy *c = s->copy;
    struct world *w = s->table->world;

    c->lost = c->news = false;
    c->group_count = 0;
    c->patience.count = 0;
    c->told = dot_sequence(s->sequence);
    if (c->group.room_bytes > GROUP_KEPT_BYTES) {
        buffer_fini(&c->group);
        buffer_init(&c->group, w->o.alloc, SHARD_COPY_GROUP_BYTES_MAX);
    }
    buffer_clear(&c->group);
}

/* ---- changes of elsewhere -------------------------------------------------------------------- */

struct change {
    enum change_kind kind;
    struct record_version version;
    uint64_t expiry_ms;
    struct value value; /* record, or key */
    struct value state; /* of a record; size 0: none */
};

/* Does the value belong here, in this shape and this shard? */
static eg_err check_value(struct shard *s, const struct change *c) {
    bool whole = c->kind == CHANGE_STORE || is_bag(s); /* record, not key */

    if (!whole)
        return EG_OK;
    if (value_kind_of(c->value) != VALUE_ARRAY || c->value.size_bytes > RECORD_SIZE_MAX ||
        value_count(c->value) != schema_of(s->table)->attribute_count)
        return EG_BAD_REQUEST;
    return shard_state_is_sound(s, c->value, c->state) ? EG_OK : EG_BAD_REQUEST;
}

/* The next one of `changes`. */
static eg_err read_change(struct shard *s, struct value_iter *changes, struct change *c) {
    static const uint32_t counts[CHANGE_KINDS] = {STORE_FIELDS, 5, 4};
    struct value_iter it;
    uint64_t kind, origin, sequence, more;
    uint32_t count;
    uint16_t slot;
    eg_err err;

    *c = (struct change){.expiry_ms = 0};
    if (!value_iter_enter(changes, &it))
        return EG_BAD_REQUEST;
    count = it.left;
    if (!value_iter_u64(&it, &kind) || kind >= CHANGE_KINDS || count < counts[kind] ||
        (more = count - counts[kind]) > (kind == CHANGE_STORE) || !value_iter_u64(&it, &origin) ||
        !value_iter_u64(&it, &sequence) || sequence == 0 || sequence > DOT_SEQUENCE_MAX ||
        !value_iter_u64(&it, &c->version.hlc) || c->version.hlc == 0)
        return EG_BAD_REQUEST;
    c->kind = (enum change_kind) kind;
    if (kind == CHANGE_STORE && (!value_iter_u64(&it, &c->expiry_ms) || c->expiry_ms == RANK_NEVER))
        return EG_BAD_REQUEST;
    if (kind != CHANGE_CLEAR && !value_iter_next(&it, &c->value))
        return EG_BAD_REQUEST;
    if (more != 0 && (!value_iter_next(&it, &c->state) || c->state.size_bytes > RECORD_SIZE_MAX))
        return EG_BAD_REQUEST;
    value_iter_leave(changes, &it);
    err = origins_slot(origins_of(s), origin, &slot);
    if (err != EG_OK)
        return err;
    if (is_ours_to_come(s, slot, sequence))
        return EG_BAD_REQUEST;
    c->version.dot = dot_make(slot, sequence);
    return kind == CHANGE_CLEAR ? EG_OK : check_value(s, c);
}

static eg_err change_key(struct shard *s, const struct change *c, struct key *k) {
    struct value v = c->value;
    eg_err err;

    if ((c->kind == CHANGE_STORE || is_bag(s)) && !array_element(c->value, 0, &v))
        return EG_BAD_REQUEST;
    err = key_prepare(k, v, s->table->seed, s->table->world->o.alloc);
    if (err == EG_MEMORY)
        return err;
    if (err != EG_OK)
        return EG_BAD_REQUEST;
    if (shard_of(s->table, k->hash) == s)
        return EG_OK;
    key_release(k);
    return EG_BAD_REQUEST;
}

const struct record *shard_copy_find(struct shard_turn *t, const struct key *k,
                                     struct value whole) {
    struct store *store = t->shard->store;
    struct store_cursor c;
    const struct record *rec;

    if (!store->bag)
        return store->ops->get(store, t->reader, k);
    store->ops->seek(store, t->reader, &c, k, false, false);
    while ((rec = store->ops->next(store, t->reader, &c)) != NULL &&
           value_equal(record_key(rec), k->value))
        if (value_equal(record_value(rec), whole))
            return rec;
    return NULL;
}

/* A grave where nothing was: the record has not come yet, or has gone before. */
static eg_err bury_unseen(struct shard_turn *t, const struct change *c) {
    struct shard *s = t->shard;
    struct disc_mark mark = shard_log_mark(&s->log);
    eg_err err;

    recent_ready(t);
    err = dig(s, t->key, c->value, c->version);

    if (err == EG_OK && s->table->storage == STORAGE_DISC_ONLY)
        err = store_disc_write_extra(s->store);
    if (err == EG_OK) {
        bury(s, false);
        return EG_OK;
    }
    shard_copy_not_removed(t);
    if (s->table->storage == STORAGE_DISC_ONLY)
        disc_batch_reset(store_disc_extra(s->store));
    shard_log_rewind(&s->log, mark);
    return err;
}

static eg_err apply_newer(struct shard_turn *t, const struct change *c,
                          const struct record *there) {
    eg_err err;

    t->version = c->version;
    t->state = c->state;
    if (c->kind == CHANGE_STORE) {
        t->there = there;
        t->looked = true;
        err = shard_store(t, c->value, c->expiry_ms, NULL);
        t->looked = false;
        return err;
    }
    return there != NULL ? shard_remove(t, t->key, there) : bury_unseen(t, c);
}

static struct merge_version version_in(const struct origins *o, struct record_version v,
                                       struct value record, struct value state) {
    return (struct merge_version){.record = record,
                                  .state = state,
                                  .hlc = v.hlc,
                                  .origin = origin_of(o, dot_slot(v.dot)),
                                  .sequence = dot_sequence(v.dot)};
}

/* It becomes a change of ours, later than all that there is. */
static void write_anew(const struct shard_turn *t, struct change *c) {
    struct shard *s = t->shard;

    uint64_t hlc = s->hlc = EG_MAX(t->now_ms << 16, s->hlc + 1);

    if (shard_stamp_is_ahead(s))
        hlc = shard_stamp_after(t, NULL, hlc);
    c->version = (struct record_version){hlc, ++s->sequence};
}

/* The change and what is here did not know of each other.  *fresh: what comes of them is a
 * change of ours, in `c`. */
static eg_err judge(struct shard_turn *t, struct change *c, const struct record *there,
                    const struct grave *g, bool *fresh) {
    static const struct value nothing = {NULL, 0};
    struct shard *s = t->shard;
    const struct origins *o = origins_of(s);
    bool removes = c->kind == CHANGE_REMOVE;
    struct merge_version ours =
        there != NULL ? shard_merge_version(o, there) : version_in(o, g->version, nothing, nothing);
    struct merge_version theirs =
        version_in(o, c->version, removes ? nothing : c->value, removes ? nothing : c->state);
    struct shard_verdict verdict;
    eg_err err = shard_conflict_judge(t, &ours, &theirs, &verdict);

    if (err != EG_OK || !verdict.is_new || is_bag(s))
        return err;
    *fresh = true;
    if (removes || (there != NULL && there->hlc > c->version.hlc))
        c->expiry_ms = there == NULL ? 0 : record_expiry_ms(there);
    c->kind = verdict.record.size_bytes == 0 ? CHANGE_REMOVE : CHANGE_STORE;
    c->value = c->kind == CHANGE_STORE ? verdict.record : t->key->value;
    c->state = c->kind == CHANGE_STORE ? verdict.state : nothing;
    write_anew(t, c);
    return EG_OK;
}

/* Did neither writer know of the other's?  One that is here may be later than our clock says, for
 * it came before an END that has not come; whoever wrote both did the second over the first. */
static bool is_conflict(const struct shard_turn *t, const struct change *c,
                        const struct record *there, const struct grave *g) {
    uint64_t dot;

    if (EG_LIKELY(t->teller == NULL) || (there == NULL && g == NULL))
        return false;
    dot = there != NULL ? there->dot : g->version.dot;
    if (PLANTED(LOSS_INVENTED))
        return dot != c->version.dot;
    return dot_slot(dot) != dot_slot(c->version.dot) && !shard_clock_covers(t->teller, dot);
}

/* It is here now, in what was made of it: who else tells of it is not heard a second time. */
static eg_err cover_one(struct shard *s, uint64_t dot) {
    return shard_clock_add(&s->copy->clock, dot_slot(dot), dot_sequence(dot), dot_sequence(dot));
}

static eg_err apply_keyed(struct shard_turn *t, struct change *c) {
    struct shard *s = t->shard;
    const struct record *there = shard_copy_find(t, t->key, c->value);
    const struct grave *g =
        graves_find(&s->copy->graves, t->key->hash, identity(s, t->key, c->value));
    uint64_t dot = c->version.dot;
    bool fresh = false, met, newer;
    eg_err err = there == NULL ? reader_take_fault(t->reader) : EG_OK;

    if (err != EG_OK)
        return err;
    met = is_conflict(t, c, there, g);
    if (met) {
        err = judge(t, c, there, g, &fresh);
    } else if (EG_UNLIKELY(t->teller_is_behind) && c->kind == CHANGE_STORE && there == NULL &&
               g == NULL && c->version.hlc <= s->copy->floor.hlc) {
        /* A delete that is forgotten here, and not on every other copy, may be later than it. */
        write_anew(t, c);
        met = fresh = true;
    }
    if (err != EG_OK)
        return err;
    newer = PLANTED(OLDER_OVER_NEWER) ||
            ((there == NULL || is_newer(s, c->version, version_of(there))) &&
             (g == NULL || is_newer(s, c->version, g->version)));
    if (fresh || newer)
        err = apply_newer(t, c, there);
    else if (met && s->table->storage == STORAGE_DISC_ONLY)
        err = store_disc_write_extra(s->store); /* the journal's row, if there is one */
    return err == EG_OK && met ? cover_one(s, dot) : err;
}

struct older {
    struct shard *shard;
    struct record_version than;
    eg_err err;
};

static bool grave_is_older(void *context, const struct grave *g) {
    struct older *o = context;

    if (!is_newer(o->shard, o->than, g->version))
        return false;
    if (o->err == EG_OK)
        o->err = forget_row(o->shard, grave_value(g));
    return o->err == EG_OK;
}

/* Remove what is older than the clear, one by one: something newer is there too. */
static eg_err clear_older(struct shard_turn *t, struct record_version than) {
    static const struct value nothing = {NULL, 0};
    struct shard *s = t->shard;
    struct older o = {.shard = s, .than = than};
    struct record_version before = s->copy->cleared;
    struct store_cursor c;
    const struct record *rec;
    struct value_writer w;
    eg_err err = EG_OK;

    s->copy->cleared = than; /* what goes to disc one by one says why */
    t->leaving = true;       /* and that stands for all their graves */
    s->store->ops->seek(s->store, t->reader, &c, NULL, false, false);
    while (err == EG_OK && (rec = s->store->ops->next(s->store, t->reader, &c)) != NULL) {
        struct key k;

        if (!is_newer(s, than, version_of(rec)))
            continue;
        err = key_prepare(&k, record_key(rec), s->table->seed, s->table->world->o.alloc);
        if (err != EG_OK)
            break;
        err = shard_remove(t, &k, rec);
        key_release(&k);
    }
    t->leaving = false;
    if (err == EG_OK)
        err = reader_take_fault(t->reader);
    if (err == EG_OK) {
        graves_sift(&s->copy->graves, grave_is_older, &o);
        err = o.err;
    }
    if (err == EG_OK && s->table->storage == STORAGE_DISC_ONLY)
        err = store_disc_write_extra(s->store);
    if (err != EG_OK) { /* it will come again */
        s->copy->cleared = before;
        return err;
    }
    recent_note(&s->copy->recent, than.dot, nothing);
    if (note_begin(s, 0, &w)) {
        shard_copy_put_clear(origins_of(s), than, &w);
        note_end(s, &w);
    }
    return err;
}

static bool grave_is_newer(void *context, const struct grave *g) {
    struct older *o = context;

    o->err = is_newer(o->shard, g->version, o->than) ? EG_EXISTS : o->err;
    return false;
}

/* The journal gets what the clear takes away unknown to who cleared, as far as it has room. */
static eg_err report_cleared(struct shard_turn *t, struct record_version clear) {
    struct shard *s = t->shard;
    uint64_t count = 0;
    struct store_cursor c;
    const struct record *rec;
    eg_err err = EG_OK;

    if (EG_LIKELY(t->teller == NULL))
        return EG_OK;
    s->store->ops->seek(s->store, t->reader, &c, NULL, false, false);
    while (err == EG_OK && count < JOURNAL_ENTRIES &&
           (rec = s->store->ops->next(s->store, t->reader, &c)) != NULL) {
        struct key k;

        if (is_newer(s, version_of(rec), clear) || shard_clock_covers(t->teller, rec->dot) ||
            shard_expired(rec, t->now_ms))
            continue;
        err = key_prepare(&k, record_key(rec), s->table->seed, s->table->world->o.alloc);
        if (err != EG_OK)
            break;
        t->key = &k;
        shard_conflict_cleared(t, record_value(rec));
        t->key = NULL;
        key_release(&k);
        count++;
    }
    return err == EG_OK ? reader_take_fault(t->reader) : err;
}

static eg_err apply_clear(struct shard_turn *t, const struct change *c) {
    struct shard *s = t->shard;
    struct older o = {.shard = s, .than = c->version};
    struct store_cursor cursor;
    const struct record *rec;
    eg_err err = report_cleared(t, c->version);

    if (err != EG_OK)
        return err;
    graves_sift(&s->copy->graves, grave_is_newer, &o);
    s->store->ops->seek(s->store, t->reader, &cursor, NULL, false, false);
    while (o.err == EG_OK && (rec = s->store->ops->next(s->store, t->reader, &cursor)) != NULL)
        if (is_newer(s, version_of(rec), c->version))
            o.err = EG_EXISTS;
    if (reader_take_fault(t->reader) != EG_OK)
        return EG_DISC;
    if (o.err == EG_EXISTS)
        return clear_older(t, c->version);
    t->version = c->version;
    t->key = NULL;
    return shard_clear(t);
}

/* Changes that have been read, with their keys: what they will look at is on its way from memory
 * meanwhile. */
struct ahead {
    uint32_t count;
    struct change change[APPLY_AHEAD];
    struct key key[APPLY_AHEAD]; /* of a clear: nothing */
};

static eg_err read_one(struct shard_turn *t, struct value_iter *changes, struct change *c,
                       struct key *k) {
    struct shard *s = t->shard;
    eg_err err = read_change(s, changes, c);

    if (err != EG_OK)
        return err;
    if (c->version.hlc >> 16 > t->now_ms + CHANGE_AHEAD_MS &&
        !(table_schema(s->table)->majority && c->version.hlc >= SHARD_STAMP_VIEWS))
        return EG_BAD_REQUEST; /* no clock is so wrong: ours must not be either from then on */
    if (c->kind == CHANGE_CLEAR)
        return EG_OK;
    err = change_key(s, c, k);
    if (err == EG_OK)
        s->store->ops->prefetch(s->store, t->reader, k);
    return err;
}

/* EG_OK too where there are no more; an error is of the one behind `count`. */
static eg_err read_some(struct shard_turn *t, struct value_iter *changes, struct ahead *a) {
    struct store *store = t->shard->store;
    eg_err err = EG_OK;

    for (a->count = 0;
         a->count < APPLY_AHEAD && changes->left != 0 && !shard_mark_is_next(*changes);
         a->count++) {
        err = read_one(t, changes, &a->change[a->count], &a->key[a->count]);
        if (err != EG_OK)
            break;
    }
    for (uint32_t i = 0; i < a->count; i++)
        if (a->change[i].kind != CHANGE_CLEAR)
            store->ops->prefetch_record(store, t->reader, &a->key[i]);
    return err;
}

/* All that is older has been cleared here: unknown to who wrote it, or long since. */
static eg_err lose_to_clear(struct shard_turn *t, const struct change *c, const struct key *k) {
    struct shard *s = t->shard;
    eg_err err = EG_OK;

    if (EG_LIKELY(t->teller == NULL) || c->kind != CHANGE_STORE ||
        shard_clock_covers(t->teller, s->copy->cleared.dot) ||
        (c->expiry_ms != 0 && c->expiry_ms <= t->now_ms))
        return EG_OK;
    t->key = k;
    shard_conflict_cleared(t, c->value);
    t->key = NULL;
    if (s->table->storage == STORAGE_DISC_ONLY)
        err = store_disc_write_extra(s->store);
    return err == EG_OK ? cover_one(s, c->version.dot) : err;
}

static eg_err apply_one(struct shard_turn *t, struct change *c, const struct key *k) {
    struct shard *s = t->shard;
    eg_err err;

    shard_stamp_hear(t, c->version.hlc);
    if (shard_clock_covers(&s->copy->clock, c->version.dot))
        return EG_OK;
    if (s->copy->cleared.hlc != 0 && !is_newer(s, c->version, s->copy->cleared))
        return lose_to_clear(t, c, k);
    if (c->kind == CHANGE_CLEAR)
        return apply_clear(t, c);
    t->key = k;
    err = apply_keyed(t, c);
    t->key = NULL;
    return err;
}

static eg_err apply_some(struct shard_turn *t, struct ahead *a) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < a->count; i++) {
        bool keyed = a->change[i].kind != CHANGE_CLEAR; /* it may be merged into another kind */

        if (err == EG_OK)
            err = apply_one(t, &a->change[i], &a->key[i]);
        if (keyed)
            key_release(&a->key[i]);
    }
    return err;
}

void shard_copy_expect(struct shard *s, uint64_t count, uint32_t coming) {
    if (s->store->ops->expect != NULL)
        s->store->ops->expect(s->store, count, (uint64_t) coming * EXPECT_AHEAD);
}

eg_err shard_copy_apply(struct shard_turn *t, struct value_iter changes) {
    eg_err err = EG_OK;

    (void) shard_copy_clock(t->shard); /* our own dots come back to us too */
    recent_ready(t);
    t->remote = true;
    t->teller_is_behind =
        t->teller != NULL && !shard_clock_has(t->teller, &t->shard->copy->floor.clock);
    while (err == EG_OK && changes.left != 0) {
        struct ahead a;
        eg_err read = read_some(t, &changes, &a);

        err = apply_some(t, &a);
        err = err == EG_OK ? read : err;
        while (err == EG_OK && shard_mark_is_next(changes))
            err = shard_mark_apply(t->shard, t->reader, &changes);
    }
    if (err != EG_OK) /* what was applied may be covered never, or late */
        recent_break(&t->shard->copy->recent);
    t->version = (struct record_version){0, 0};
    t->state = (struct value){NULL, 0};
    t->remote = false;
    return err;
}

/* ---- what another copy has ---------------------------------------------------------------------
 */

eg_err shard_copy_read_offer(struct shard *s, struct value change, struct shard_offer *out,
                             uint64_t *hash) {
    struct value_iter it = {.at = change.at, .left = 1};
    struct change c;
    struct key k;
    eg_err err = read_change(s, &it, &c);

    if (err == EG_OK && c.kind != CHANGE_STORE)
        err = EG_BAD_REQUEST;
    if (err == EG_OK)
        err = change_key(s, &c, &k);
    if (err != EG_OK)
        return err;
    *hash = k.hash;
    key_release(&k);
    *out = (struct shard_offer){c.version, c.expiry_ms, c.value, c.state};
    return EG_OK;
}

bool shard_copy_is_newer(const struct shard *s, struct record_version a, struct record_version b) {
    return is_newer(s, a, b);
}

bool shard_copy_is_same(const struct shard *s, struct value a, struct value b) {
    struct value key_a = a, key_b = b;

    if (!is_bag(s) && (!array_element(a, 0, &key_a) || !array_element(b, 0, &key_b)))
        return false;
    return value_equal(key_a, key_b);
}

static eg_err offered_key(struct shard *s, const struct shard_offer *o, struct key *k) {
    struct value v;

    EG_ASSERT(array_element(o->record, 0, &v));
    return key_prepare(k, v, s->table->seed, s->table->world->o.alloc);
}

eg_err shard_copy_trace(struct shard *s, struct reader *r, const struct shard_offer *o,
                        enum shard_trace *out, struct record_version *gone) {
    struct shard_turn t = {.shard = s, .reader = r};
    const struct grave *g;
    struct key k;
    eg_err err = offered_key(s, o, &k);

    *out = SHARD_TRACE_NONE;
    if (err != EG_OK)
        return err;
    g = graves_find(&s->copy->graves, k.hash, identity(s, &k, o->record));
    *gone = g != NULL ? g->version : s->copy->cleared;
    if (g != NULL && s->copy->cleared.hlc != 0 && is_newer(s, s->copy->cleared, *gone))
        *gone = s->copy->cleared;
    if (shard_copy_find(&t, &k, o->record) != NULL)
        *out = SHARD_TRACE_RECORD;
    else if (gone->hlc != 0 && is_newer(s, *gone, o->version))
        *out = SHARD_TRACE_GONE;
    key_release(&k);
    return reader_take_fault(r);
}

eg_err shard_copy_mend(struct shard_turn *t, const struct shard_offer *with, enum shard_mend how) {
    struct shard *s = t->shard;
    bool remove = how == SHARD_MEND_REMOVE, telling = s->copy->telling;
    const struct record *there;
    struct change c;
    struct key k;
    eg_err err = offered_key(s, with, &k);

    if (err != EG_OK)
        return err;
    there = shard_copy_find(t, &k, with->record);
    err = there == NULL ? reader_take_fault(t->reader) : EG_OK;
    if (err == EG_OK) {
        c = (struct change){.kind = remove ? CHANGE_REMOVE : CHANGE_STORE,
                            .version = with->version,
                            .expiry_ms = with->expiry_ms,
                            .value = remove ? identity(s, &k, with->record) : with->record,
                            .state = with->state};
        if (how != SHARD_MEND_KEEP) {
            shard_stamp_hear(t, with->version.hlc); /* no copy may hold to what it has */
            write_anew(t, &c);
        }
        s->copy->telling = telling && how != SHARD_MEND_KEEP;
        t->remote = true; /* nothing refuses it */
        t->key = &k;
        err = apply_newer(t, &c, there);
        t->key = NULL;
        t->remote = false;
        s->copy->telling = telling;
    }
    key_release(&k);
    return err;
}

/* ---- the clock ----------------------------------------------------------------------------------
 */

/* Let the disc know of a clock that has changed without a record. */
static eg_err clock_to_disc(struct shard *s) {
    uint8_t small[SHARD_CLOCK_BYTES];
    struct disc_bytes packed;
    eg_err err;

    if (s->table->disc_table == NULL)
        return EG_OK;
    packed = shard_clock_pack(s, small);
    err = disc_record_put_clock(batch_of(s), s->table->disc_table, s->number, packed);
    if (err == EG_OK && s->table->storage == STORAGE_DISC_ONLY)
        err = store_disc_write_extra(s->store);
    return err;
}

eg_err shard_copy_cover(struct shard *s, const struct shard_clock *of) {
    uint16_t own = origins_of(s)->own;
    eg_err err;

    if (shard_clock_has(shard_copy_clock(s), of))
        return EG_OK;
    if (is_ours_to_come(s, own, shard_clock_last(of, own)))
        return EG_BAD_REQUEST;
    err = shard_clock_merge(&s->copy->clock, of);
    if (err != EG_OK)
        recent_break(&s->copy->recent);
    return err != EG_OK ? err : clock_to_disc(s);
}

eg_err shard_copy_cover_range(struct shard *s, uint64_t origin, uint64_t from, uint64_t to) {
    uint16_t slot;
    eg_err err = from < 1 || to > DOT_SEQUENCE_MAX ? EG_BAD_REQUEST
                                                   : origins_slot(origins_of(s), origin, &slot);

    (void) shard_copy_clock(s); /* ours is whole before anything is added */
    if (err == EG_OK && is_ours_to_come(s, slot, to))
        err = EG_BAD_REQUEST;
    if (err == EG_OK)
        err = shard_clock_add(&s->copy->clock, slot, from, to);
    if (err != EG_OK)
        recent_break(&s->copy->recent);
    return err != EG_OK ? err : clock_to_disc(s);
}

struct forgetting {
    struct shard *shard;
    const struct shard_clock *covered; /* NULL: only what is */
    uint64_t until_hlc;                /* no later than this */
};

static bool is_forgotten(void *context, const struct grave *g) {
    const struct forgetting *f = context;

    return (f->covered == NULL || shard_clock_covers(f->covered, g->version.dot)) &&
           g->version.hlc <= f->until_hlc && shard_floor_raise(f->shard, g->version) == EG_OK &&
           forget_row(f->shard, grave_value(g)) == EG_OK;
}

uint64_t shard_copy_forget(struct shard *s, const struct shard_clock *covered, uint64_t until_hlc) {
    struct forgetting f = {s, covered, until_hlc};
    uint64_t dropped = graves_sift(&s->copy->graves, is_forgotten, &f);

    if (dropped != 0 && s->table->storage == STORAGE_DISC_ONLY && clock_to_disc(s) != EG_OK)
        disc_batch_reset(store_disc_extra(s->store)); /* rows that mean nothing any more */
    return dropped;
}

void shard_copy_claim(struct shard *s) {
    recent_break(&s->copy->recent); /* it stands for what is noted by other dots */
    s->sequence++;
    s->copy->more = true;
    s->copy->loose = s->copy->unsure = false;
    s->copy->loose = clock_to_disc(s) != EG_OK; /* then it is claimed once more */
}

/* Lost with a crash, it was not acknowledged by either: it must be filled once more to count. */
void shard_copy_vote(struct shard *s, bool votes) {
    if (s->copy->votes == votes)
        return;
    s->copy->votes = votes;
    s->copy->votes &= !votes || clock_to_disc(s) == EG_OK;
}

eg_err shard_copy_wipe(struct shard_turn *t) {
    struct shard *s = t->shard;
    eg_err err;

    t->remote = true;
    t->version = (struct record_version){s->hlc + 1, s->sequence};
    err = shard_clear(t);
    t->remote = false;
    t->version = (struct record_version){0, 0};
    if (err != EG_OK)
        return err;
    shard_tx_drop_parts(s);
    s->copy->cleared = (struct record_version){0, 0};
    s->copy->loose = s->copy->more = s->copy->votes = false;
    recent_break(&s->copy->recent);
    s->copy->own_from = dot_sequence(s->sequence);
    s->sequence++;
    shard_clock_fini(&s->copy->clock);
    shard_clock_fini(&s->copy->floor.clock);
    s->copy->floor.hlc = s->copy->ahead = 0;
    err = shard_clock_add(&s->copy->clock, origins_of(s)->own, s->copy->own_from + 1,
                          s->copy->own_from + 1);
    return err != EG_OK ? err : clock_to_disc(s);
}

bool shard_copy_any(struct shard *s) {
    uint16_t own = origins_of(s)->own;
    const struct shard_clock *c;

    if (s->copy == NULL)
        return dot_sequence(s->sequence) != 0;
    c = shard_copy_clock(s);
    for (uint32_t i = 0; i < c->count; i++)
        if (c->entry[i].slot != own && (c->entry[i].base != 0 || c->entry[i].island_count != 0))
            return true;
    /* The first dot behind own_from is the wipe's own and stands for nothing. */
    return s->copy->own_from == 0 ? dot_sequence(s->sequence) != 0
                                  : dot_sequence(s->sequence) > s->copy->own_from + 1;
}

/* ---- disc
 * ------------------------------------------------------------------------------------------ */

struct disc_bytes shard_copy_pack(struct shard *s) {
    struct buffer *b = &s->copy->packed;
    struct value_writer w = value_writer_init(NULL, 0);
    uint8_t *room;

    shard_clock_put(shard_copy_clock(s), NULL, &w);
    shard_clock_put(&s->copy->floor.clock, NULL, &w);
    buffer_clear(b);
    room = buffer_room(b, SHARD_CLOCK_BYTES + w.need_bytes + 4 * 9 + 4);
    if (room == NULL)
        return (struct disc_bytes){NULL, 0};
    w = value_writer_init(room + SHARD_CLOCK_BYTES, b->room_bytes - SHARD_CLOCK_BYTES);
    value_put_array(&w, 8);
    shard_clock_put(&s->copy->clock, NULL, &w);
    value_put_u64(&w, s->copy->cleared.hlc);
    value_put_u64(&w, s->copy->cleared.dot);
    value_put_bool(&w, s->copy->loose);
    shard_clock_put(&s->copy->floor.clock, NULL, &w);
    value_put_u64(&w, s->copy->floor.hlc);
    value_put_u64(&w, s->copy->ahead);
    value_put_bool(&w, s->copy->votes);
    EG_ASSERT(!w.overflow);
    b->size_bytes = SHARD_CLOCK_BYTES + w.need_bytes;
    return (struct disc_bytes){b->at, b->size_bytes};
}

eg_err shard_copy_recover_clock(struct shard *s, struct disc_bytes packed) {
    struct value all = {packed.at, (uint32_t) packed.size_bytes};
    struct value_iter it;
    struct value clock, loose, floor, votes;
    size_t used_bytes;
    eg_err err = shard_copy_open(s);

    if (err != EG_OK)
        return err;
    if (value_scan(packed.at, packed.size_bytes, &used_bytes) != EG_OK ||
        used_bytes != packed.size_bytes || value_kind_of(all) != VALUE_ARRAY ||
        value_count(all) < 3 || value_count(all) > 8)
        return EG_CORRUPT;
    it = value_iter_of(all);
    EG_ASSERT(value_iter_next(&it, &clock));
    err = shard_clock_get(&s->copy->clock, NULL, clock);
    if (err == EG_OK && (!value_iter_u64(&it, &s->copy->cleared.hlc) ||
                         !value_iter_u64(&it, &s->copy->cleared.dot)))
        err = EG_CORRUPT;
    if (err == EG_OK && value_iter_next(&it, &loose) && !value_get_bool(loose, &s->copy->loose))
        err = EG_CORRUPT;
    if (err == EG_OK && value_iter_next(&it, &floor))
        err = shard_clock_get(&s->copy->floor.clock, NULL, floor);
    if (err == EG_OK && it.left != 0 &&
        (!value_iter_u64(&it, &s->copy->floor.hlc) || !value_iter_u64(&it, &s->copy->ahead)))
        err = EG_CORRUPT;
    if (err == EG_OK && value_iter_next(&it, &votes) && !value_get_bool(votes, &s->copy->votes))
        err = EG_CORRUPT;
    s->copy->votes &= s->log.sync; /* else the end of what it acknowledged may be lost */
    return err == EG_BAD_REQUEST ? EG_CORRUPT : err;
}

/* It may have been applied, and what covers it have been lost. */
void shard_copy_recovered(struct shard *s, uint64_t dot) {
    s->copy->unsure |= !shard_clock_covers(&s->copy->clock, dot);
}

static eg_err recover_grave(struct shard *s, struct disc_bytes row) {
    struct record_version version;
    struct value v, key_value;
    struct grave *g;
    struct key k;
    eg_err err = disc_record_read_grave(row, &version, &v);

    if (err != EG_OK)
        return err;
    key_value = v;
    if (is_bag(s) && (value_kind_of(v) != VALUE_ARRAY || !array_element(v, 0, &key_value)))
        return EG_CORRUPT;
    err = key_prepare(&k, key_value, s->table->seed, s->table->world->o.alloc);
    if (err != EG_OK)
        return err == EG_MEMORY ? err : EG_CORRUPT;
    g = graves_make(&s->copy->graves, k.hash, v, version);
    key_release(&k);
    if (g == NULL)
        return EG_MEMORY;
    graves_put(&s->copy->graves, g);
    shard_copy_recovered(s, version.dot);
    if (version.hlc > s->copy->ahead)
        s->hlc = EG_MAX(s->hlc, version.hlc);
    return EG_OK;
}

eg_err shard_copy_recover_graves(struct shard *s) {
    struct disc *d = s->table->world->o.disc;
    uint8_t from[DISC_PREFIX_BYTES], to[DISC_PREFIX_BYTES];
    const struct disc_range range = {
        .from = {from, disc_row_prefix(from, s->number, DISC_ROW_GRAVE)},
        .to = {to, disc_row_prefix(to, s->number, DISC_ROW_END)},
        .whole = true};
    struct disc_iter *it;
    eg_err err = disc_iter_open(d, s->table->disc_table, &range, &it);

    if (err != EG_OK)
        return err;
    for (it->ops->seek(it, range.from); it->valid && err == EG_OK; it->ops->next(it))
        err = recover_grave(s, it->value);
    if (err == EG_OK)
        err = it->err;
    it->ops->close(it);
    return err;
}

static eg_err rows_to_disc(struct shard *s) {
    const struct grave *g;
    uint64_t place = 0;
    bool ended = false;
    eg_err err = clock_to_disc(s);

    while (err == EG_OK && graves_walk(&s->copy->graves, &place, &ended, &g))
        for (; err == EG_OK && g != NULL; g = g->next)
            err = remember_row(s, grave_value(g), g->version);
    if (err == EG_OK && s->table->storage == STORAGE_DISC_ONLY)
        err = store_disc_write_extra(s->store);
    return err;
}

eg_err shard_copy_move(struct shard *from, struct shard *to) {
    struct disc_mark mark = shard_log_mark(&to->log);
    eg_err err;

    if (from->copy == NULL)
        return EG_OK;
    recent_break(&from->copy->recent);
    if (from->copy->group_count != 0) { /* of another shape: nobody could read it */
        shard_copy_drop_group(from);
        from->copy->lost = true;
    }
    shard_copy_close(to); /* of a shadow: nobody has seen it */
    to->sequence = EG_MAX(to->sequence, from->sequence);
    to->hlc = EG_MAX(to->hlc, from->hlc);
    to->copy = from->copy;
    err = rows_to_disc(to);
    if (err == EG_OK) {
        from->copy = NULL;
        shard_set_role(to, role_of(from));
        atomic_store(&to->master, atomic_load(&from->master));
        atomic_store(&to->worth, atomic_load(&from->worth));
        atomic_store(&to->newest, atomic_load(&from->newest));
        atomic_store(&to->removed, atomic_load(&from->removed));
        atomic_store(&to->indexed, atomic_load(&from->newest)); /* it may have other indexes */
        shard_set_stable(to, atomic_load(&from->stable));
    } else {
        to->copy = NULL;
        if (to->table->storage == STORAGE_DISC_ONLY)
            disc_batch_reset(store_disc_extra(to->store));
        shard_log_rewind(&to->log, mark);
    }
    return err;
}

/* ---- check
 * ------------------------------------------------------------------------------------------- */

void shard_copy_check(struct shard *s, struct reader *r) {
    struct store_cursor c;
    const struct record *rec;

    shard_clock_check(&s->copy->clock);
    EG_ASSERT(s->copy->digging == NULL);
    s->store->ops->seek(s->store, r, &c, NULL, false, false);
    while ((rec = s->store->ops->next(s->store, r, &c)) != NULL) {
        struct key k;

        EG_ASSERT(key_prepare(&k, record_key(rec), s->table->seed, s->table->world->o.alloc) ==
                  EG_OK);
        EG_ASSERT(graves_find(&s->copy->graves, k.hash, identity(s, &k, record_value(rec))) ==
                  NULL);
        EG_ASSERT(s->copy->cleared.hlc == 0 || is_newer(s, version_of(rec), s->copy->cleared));
        key_release(&k);
    }
}
