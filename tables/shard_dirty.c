/* shard_dirty.c -- what is noted between a beginning and an end is patient. */
#include "tables/shard_dirty.h"

#include "tables/shard_copy.h"
#include "tables/table_private.h"

eg_err shard_dirty_begin(struct shard *s, struct err_note *note) {
    struct shard_copy *c = s->copy;
    struct world *w = s->table->world;
    const struct shard_copy_ops *ops = atomic_load_explicit(&w->copy_ops, memory_order_acquire);

    if (c == NULL || ops == NULL)
        return EG_OK;
    if (c->group.size_bytes >= SHARD_DIRTY_BYTES_MAX || !ops->room(w->copy_user, s))
        return err_note(note, EG_BUSY, "the other copies do not keep up with dirty writes");
    c->patience.before = c->group_count;
    c->patience.was_telling = c->telling;
    c->telling |= role_of(s) == SHARD_FULL;
    return EG_OK;
}

void shard_dirty_end(struct shard *s) {
    struct shard_copy *c = s->copy;

    if (c == NULL)
        return;
    c->telling = c->patience.was_telling;
    c->patience.ever |= c->group_count != c->patience.before;
    c->patience.count += c->group_count - c->patience.before;
}
