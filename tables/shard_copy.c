/* shard_copy.c -- what makes a shard one of several copies, and how far what it has reaches: its
 * clock, what is covered, forgotten, claimed, dropped.
 *
 * A turn's changes are noted in shard_copy_note.c, told and read in shard_copy_change.c; those of
 * others are applied in shard_copy_apply.c. */
#include "tables/shard_copy_private.h"

#include "engine/scheduler.h"
#include "tables/shard_mark.h"
#include "tables/shard_tx.h"

/* ---- open, close, role --------------------------------------------------------------------- */

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
    if (shard_clock_add(&c->clock, shard_copy_origins(s)->own, 1, 1) != EG_OK) {
        alloc_put(a, c, sizeof *c);
        return EG_MEMORY;
    }
    shard_clock_set(&c->clock, shard_copy_origins(s)->own, 0);
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

/* ---- the clock ----------------------------------------------------------------------------- */

const struct shard_clock *shard_copy_clock(struct shard *s) {
    struct shard_clock *c = &s->copy->clock;

    if (s->copy->own_from == 0)
        shard_clock_set(c, shard_copy_origins(s)->own, dot_sequence(s->sequence));
    else /* one island grows: no memory is needed */
        EG_ASSERT(shard_clock_add(c, shard_copy_origins(s)->own, s->copy->own_from + 1,
                                  dot_sequence(s->sequence)) == EG_OK);
    return c;
}

bool shard_copy_is_newer(const struct shard *s, struct record_version a, struct record_version b) {
    const struct origins *o = shard_copy_origins(s);
    uint64_t of_a, of_b;

    if (a.hlc != b.hlc)
        return a.hlc > b.hlc;
    of_a = origin_of(o, dot_slot(a.dot));
    of_b = origin_of(o, dot_slot(b.dot));
    return of_a != of_b ? of_a > of_b : dot_sequence(a.dot) > dot_sequence(b.dot);
}

eg_err shard_copy_cover(struct shard *s, const struct shard_clock *of) {
    uint16_t own = shard_copy_origins(s)->own;
    eg_err err;

    if (shard_clock_has(shard_copy_clock(s), of))
        return EG_OK;
    if (shard_copy_is_ours_to_come(s, own, shard_clock_last(of, own)))
        return EG_BAD_REQUEST;
    err = shard_clock_merge(&s->copy->clock, of);
    if (err != EG_OK)
        recent_break(&s->copy->recent);
    return err != EG_OK ? err : shard_copy_clock_to_disc(s);
}

eg_err shard_copy_cover_range(struct shard *s, uint64_t origin, uint64_t from, uint64_t to) {
    uint16_t slot;
    eg_err err = from < 1 || to > DOT_SEQUENCE_MAX
                     ? EG_BAD_REQUEST
                     : origins_slot(shard_copy_origins(s), origin, &slot);

    (void) shard_copy_clock(s); /* ours is whole before anything is added */
    if (err == EG_OK && shard_copy_is_ours_to_come(s, slot, to))
        err = EG_BAD_REQUEST;
    if (err == EG_OK)
        err = shard_clock_add(&s->copy->clock, slot, from, to);
    if (err != EG_OK)
        recent_break(&s->copy->recent);
    return err != EG_OK ? err : shard_copy_clock_to_disc(s);
}

/* ---- what it has: forgotten, claimed, dropped ----------------------------------------------- */

struct forgetting {
    struct shard *shard;
    const struct shard_clock *covered; /* NULL: only what is */
    uint64_t until_hlc;                /* no later than this */
};

static bool is_forgotten(void *context, const struct grave *g) {
    const struct forgetting *f = context;

    return (f->covered == NULL || shard_clock_covers(f->covered, g->version.dot)) &&
           g->version.hlc <= f->until_hlc && shard_floor_raise(f->shard, g->version) == EG_OK &&
           shard_copy_forget_row(f->shard, grave_value(g)) == EG_OK;
}

uint64_t shard_copy_forget(struct shard *s, const struct shard_clock *covered, uint64_t until_hlc) {
    struct forgetting f = {s, covered, until_hlc};
    uint64_t dropped = graves_sift(&s->copy->graves, is_forgotten, &f);

    if (dropped != 0 && s->table->storage == STORAGE_DISC_ONLY &&
        shard_copy_clock_to_disc(s) != EG_OK)
        disc_batch_reset(store_disc_extra(s->store)); /* rows that mean nothing any more */
    return dropped;
}

void shard_copy_claim(struct shard *s) {
    recent_break(&s->copy->recent); /* it stands for what is noted by other dots */
    s->sequence++;
    s->copy->more = true;
    s->copy->loose = s->copy->unsure = false;
    s->copy->loose = shard_copy_clock_to_disc(s) != EG_OK; /* then it is claimed once more */
}

/* Lost with a crash, it was not acknowledged by either: it must be filled once more to count. */
void shard_copy_vote(struct shard *s, bool votes) {
    if (s->copy->votes == votes)
        return;
    s->copy->votes = votes;
    s->copy->votes &= !votes || shard_copy_clock_to_disc(s) == EG_OK;
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
    err = shard_clock_add(&s->copy->clock, shard_copy_origins(s)->own, s->copy->own_from + 1,
                          s->copy->own_from + 1);
    return err != EG_OK ? err : shard_copy_clock_to_disc(s);
}

bool shard_copy_any(struct shard *s) {
    uint16_t own = shard_copy_origins(s)->own;
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

/* ---- check --------------------------------------------------------------------------------- */

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
        EG_ASSERT(graves_find(&s->copy->graves, k.hash,
                              shard_copy_identity(s, &k, record_value(rec))) == NULL);
        EG_ASSERT(s->copy->cleared.hlc == 0 ||
                  shard_copy_is_newer(s, shard_copy_version(rec), s->copy->cleared));
        key_release(&k);
    }
}
