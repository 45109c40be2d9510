/* shard_copy_note.c -- what the owner's turn does, kept for the other copies: the turn's group,
 * graves of what it removes, what is recent, and what readers must know before they can see it. */
#include "tables/shard_copy_private.h"

#include "engine/planted.h"

enum {
    CHANGE_HEAD_BYTES = 48,        /* kind, origin, sequence, hlc, expiry and their array */
    GROUP_KEPT_BYTES = 256 * 1024, /* of room between turns */
};

/* ---- before readers can see it ----------------------------------------------------------- */

static void raise_to(_Atomic uint64_t *at, uint64_t hlc) {
    if (EG_LIKELY(hlc > atomic_load_explicit(at, memory_order_relaxed)))
        atomic_store_explicit(at, hlc, memory_order_release);
}

/* Who sees it then sees this too. */
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

/* ---- the group of the turn ----------------------------------------------------------------- */

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

/* ---- what is recent ------------------------------------------------------------------------ */

/* What is now otherwise: it is recent, and its part of the tree is to be summed again. */
static void note_recent(struct shard *s, uint64_t dot, struct value key, uint64_t hash) {
    recent_note(&s->copy->recent, dot, key);
    if (EG_UNLIKELY(s->copy->tree != NULL))
        hash_tree_mark(s->copy->tree, hash);
}

void shard_copy_recent_ready(const struct shard_turn *t) {
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

/* ---- stored -------------------------------------------------------------------------------- */

eg_err shard_copy_storing(struct shard_turn *t, struct value array, uint64_t hlc) {
    struct shard *s = t->shard;
    struct value v = shard_copy_identity(s, t->key, array);

    announce(s, false, hlc);
    shard_copy_recent_ready(t);
    if (EG_UNLIKELY(s->copy->tree != NULL))
        hash_tree_prefetch(s->copy->tree, t->key->hash);
    return graves_find(&s->copy->graves, t->key->hash, v) == NULL ? EG_OK
                                                                  : shard_copy_forget_row(s, v);
}

void shard_copy_stored(struct shard_turn *t, struct value array, struct value state,
                       struct record_version version, uint64_t expiry_ms) {
    struct shard *s = t->shard;
    struct value_writer w;

    graves_remove(&s->copy->graves, t->key->hash, shard_copy_identity(s, t->key, array));
    note_recent(s, version.dot, t->key->value, t->key->hash);
    if (!note_begin(s, array.size_bytes + state.size_bytes, &w))
        return;
    shard_copy_put_store(shard_copy_origins(s), array, state, version, expiry_ms, &w);
    note_end(s, &w);
}

/* ---- removed ------------------------------------------------------------------------------- */

/* The key in what shard_copy_identity() said. */
static struct value key_of(const struct shard *s, struct value identity) {
    struct value key = identity;

    EG_ASSERT(!shard_copy_is_bag(s) || array_element(identity, 0, &key));
    return key;
}

static eg_err dig(struct shard *s, const struct key *k, struct value v,
                  struct record_version version) {
    eg_err err = shard_copy_remember_row(s, v, version);

    if (err == EG_OK) {
        s->copy->digging = graves_make(&s->copy->graves, k->hash, v, version);
        err = s->copy->digging == NULL ? EG_MEMORY : EG_OK;
    }
    return err;
}

eg_err shard_copy_removing(struct shard_turn *t, const struct key *k, const struct record *rec,
                           struct record_version version) {
    struct value v = shard_copy_identity(t->shard, k, record_value(rec));

    if (!t->leaving) {
        announce(t->shard, true, version.hlc);
        shard_copy_recent_ready(t);
        return dig(t->shard, k, v, version);
    }
    if (shard_expired(rec, t->now_ms))
        return dig(t->shard, k, v, shard_copy_version(rec));
    /* A full cache gives it up without a trace, and may have removed what it stood for. */
    return schema_of(t->shard->table)->cache ? shard_floor_raise(t->shard, shard_copy_version(rec))
                                             : EG_OK;
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
    shard_copy_put_grave(shard_copy_origins(s), g, &w);
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

eg_err shard_copy_bury_unseen(struct shard_turn *t, const struct copy_change *c) {
    struct shard *s = t->shard;
    struct disc_mark mark = shard_log_mark(&s->log);
    eg_err err;

    shard_copy_recent_ready(t);
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

/* ---- cleared ------------------------------------------------------------------------------- */

eg_err shard_copy_clearing(struct shard_turn *t, struct record_version version) {
    struct shard *s = t->shard;
    struct record_version before = s->copy->cleared;
    uint8_t small[SHARD_CLOCK_BYTES];
    struct disc_bytes packed;

    announce(s, true, version.hlc);
    shard_copy_recent_ready(t);
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

void shard_copy_note_clear(struct shard *s, struct record_version version) {
    static const struct value nothing = {NULL, 0};
    struct value_writer w;

    recent_note(&s->copy->recent, version.dot, nothing);
    if (!note_begin(s, 0, &w))
        return;
    shard_copy_put_clear(shard_copy_origins(s), version, &w);
    note_end(s, &w);
}

void shard_copy_cleared(struct shard_turn *t, struct record_version version) {
    struct shard *s = t->shard;

    graves_clear(&s->copy->graves);
    s->copy->cleared = version;
    shard_copy_note_clear(s, version);
}
