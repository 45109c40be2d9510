/* shard_copy_private.h -- what the files of a shard's copy ask of each other.
 *
 * Private to shard_copy*.c.
 */
#ifndef TABLES_SHARD_COPY_PRIVATE_H
#define TABLES_SHARD_COPY_PRIVATE_H

#include "tables/shard_copy.h"
#include "tables/table_private.h"

static inline struct origins *shard_copy_origins(const struct shard *s) {
    return s->table->world->origins;
}

static inline bool shard_copy_is_bag(const struct shard *s) {
    return s->table->type == TABLE_BAG;
}

static inline struct record_version shard_copy_version(const struct record *rec) {
    return (struct record_version){rec->hlc, rec->dot};
}

/* What tells it from others: its key, of a bag all of it. */
static inline struct value shard_copy_identity(const struct shard *s, const struct key *k,
                                               struct value array) {
    return shard_copy_is_bag(s) ? array : k->value;
}

/* Nobody can know of a change of ours that we have not made. */
static inline bool shard_copy_is_ours_to_come(const struct shard *s, uint16_t slot,
                                              uint64_t sequence) {
    return slot == shard_copy_origins(s)->own && sequence > dot_sequence(s->sequence);
}

/* ---- a change as it is told (shard_copy_change.c) ---------------------------------------- */

enum copy_change_kind { CHANGE_STORE, CHANGE_REMOVE, CHANGE_CLEAR, CHANGE_KINDS };

struct copy_change {
    enum copy_change_kind kind;
    struct record_version version;
    uint64_t expiry_ms;
    struct value value; /* record, or key */
    struct value state; /* of a record; size 0: none */
};

void shard_copy_put_store(const struct origins *o, struct value array, struct value state,
                          struct record_version v, uint64_t expiry_ms, struct value_writer *w);
/* The next one of `changes`, which are from outside.  EG_BAD_REQUEST, EG_MEMORY. */
EG_MUST_USE eg_err shard_copy_read_change(struct shard *s, struct value_iter *changes,
                                          struct copy_change *c);
/* Its key, of anything but a clear.  EG_BAD_REQUEST: it is of another shard; EG_MEMORY. */
EG_MUST_USE eg_err shard_copy_change_key(struct shard *s, const struct copy_change *c,
                                         struct key *k);

/* ---- the turn's notes (shard_copy_note.c) ------------------------------------------------ */

/* Before a change: there is room to note it as recent. */
void shard_copy_recent_ready(const struct shard_turn *t);
/* A grave where nothing was, for the turn's key: the record has not come yet, or has gone before.
 * EG_MEMORY, EG_DISC: as if nothing had been. */
EG_MUST_USE eg_err shard_copy_bury_unseen(struct shard_turn *t, const struct copy_change *c);
/* A clear is told, and recent. */
void shard_copy_note_clear(struct shard *s, struct record_version version);

/* ---- changes of elsewhere (shard_copy_apply.c, shard_copy_clear.c) ----------------------- */

/* Store or remove for the turn's key over what is `there`, whatever it is. */
EG_MUST_USE eg_err shard_copy_apply_newer(struct shard_turn *t, const struct copy_change *c,
                                          const struct record *there);
/* It becomes a change of ours, later than all that there is. */
void shard_copy_write_anew(const struct shard_turn *t, struct copy_change *c);
/* It is here now, in what was made of it: who else tells of it is not heard a second time. */
EG_MUST_USE eg_err shard_copy_cover_one(struct shard *s, uint64_t dot);
/* Clear what is older than `c`. */
EG_MUST_USE eg_err shard_copy_apply_clear(struct shard_turn *t, const struct copy_change *c);
/* All that is older has been cleared here: unknown to who wrote it, or long since. */
EG_MUST_USE eg_err shard_copy_lose_to_clear(struct shard_turn *t, const struct copy_change *c,
                                            const struct key *k);

/* ---- disc (shard_copy_disc.c) ------------------------------------------------------------ */

/* A grave's row goes, or comes.  EG_MEMORY. */
EG_MUST_USE eg_err shard_copy_forget_row(struct shard *s, struct value identity);
EG_MUST_USE eg_err shard_copy_remember_row(struct shard *s, struct value identity,
                                           struct record_version v);
/* Let the disc know of a clock that has changed without a record. */
EG_MUST_USE eg_err shard_copy_clock_to_disc(struct shard *s);

#endif /* TABLES_SHARD_COPY_PRIVATE_H */
