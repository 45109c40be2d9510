/* reshape.h -- a table's records in another shape, beside the old ones until it is whole.
 *
 * A table never changes its shape: a table of the new shape is made and filled, and then
 * takes the old one's name.  Shard i of the one is filled from shard i of the other by that
 * shard's owner, so that both change in the same turn and nobody has to catch up:
 *
 *     FILLING   walks the old records, a bounded number a turn; every write to the old
 *               shard is made in the new one too, converted
 *     FILLED    the walk is over; writes go on into both
 *     FREEZING  calls wait here, not in the mailbox; what is owed to the disc is written
 *     FROZEN    the new shard is whole and on disc; it may get an actor of its own
 *     MOVED     calls are converted and sent on to it
 *
 *     catalog: RESHAPE --> all filled -- FREEZE --> all frozen -- [disc: switch] -- MOVE -->
 *
 * What fails on the way (no memory, no disc, a record that cannot be converted) ends the change
 * and not the write: the catalog hears it and asks to ABANDON, and the old table goes on.
 *
 * Readers    See the old table until the name is switched, then the new one; never both.
 * Ownership  The old table has it from the beginning on and frees it at its end, for its
 *            shards send calls on until nobody finds them.
 * Threads    Each part belongs to the owner of its old shard; until FROZEN that is the new
 *            shard's owner too.  After that the new shard is its own actor's.
 * Memory     Both shapes are in memory until the last reader of the old one is gone.
 */
#ifndef TABLES_RESHAPE_H
#define TABLES_RESHAPE_H

#include "tables/conversion.h"
#include "tables/shard.h"

enum {
    RESHAPE_STEP_RECORDS = 1000,     /* in one part of the walk, at most                         */
    RESHAPE_STEP_NS = 500 * 1000,    /* how long one part of the walk may take         */
    RESHAPE_LOG_BYTES_MAX = 4 << 20, /* owed to the disc by the new shard: then it waits */
    RESHAPE_PARKED_MAX = 64 * 1024,  /* calls that wait for the switch; then EG_BUSY      */
};

enum reshape_stage {
    RESHAPE_FILLING,
    RESHAPE_FILLED,
    RESHAPE_FREEZING,
    RESHAPE_FROZEN,
    RESHAPE_MOVED,
    RESHAPE_ABANDONED, /* waits until the disc has given the new shard's batch back */
};

struct reshape_part {
    struct reshape *whole;
    struct shard *to;
    enum reshape_stage stage;
    struct shard_call call; /* of the catalog: answered when the next stage is reached */
    eg_err err;             /* why it cannot be done */
    struct err_note note;
    bool paused;          /* the walk waits for the disc       */
    struct buffer place;  /* the last key it has looked at     */
    struct buffer parked; /* struct message *, in their order */
    struct conversion_room room[2];
};

struct reshape {
    struct alloc *alloc;
    struct table *from, *to;
    struct conversion conversion;
    uint32_t part_count;
    struct reshape_part part[];
};

/* Takes the conversion over, also on failure.  EG_MEMORY. */
EG_MUST_USE eg_err reshape_open(struct reshape **out, struct table *from, struct table *to,
                                struct conversion *conversion);
/* No shard of `from` has it any more. */
void reshape_close(struct reshape *x);

/* ---- the old shard's owner, in a turn ------------------------------------------------ */

/* May a request be run here?  EG_AGAIN: no, it must come by message.  EG_BUSY: the
 * new shard's disc is behind. */
EG_MUST_USE eg_err reshape_ready(struct shard *s, struct err_note *note);
/* reshape_takes() of a message that is the shard's already: true, and it no longer is. */
bool reshape_takes_kept(struct actor *self, struct shard *s, struct message *m);
bool reshape_holds(const struct shard *s); /* no request may be run here */

/* What has just been changed; cannot fail, but may end the reshaping. */
void reshape_stored(const struct shard_turn *t, struct value array, struct value state,
                    struct record_version version, uint64_t expiry_ms,
                    const struct record *replaced);
void reshape_removed(const struct shard_turn *t, const struct key *k, const struct record *rec);
void reshape_cleared(const struct shard_turn *t);
void reshape_turn_end(struct shard *s);

/* ---- its actor ------------------------------------------------------------------------ */

/* A CALL with one of the catalog's tags SHARD_RESHAPE, FREEZE, MOVE and ABANDON. */
void reshape_receive(struct actor *self, struct shard *s, const struct message *m);
/* A CALL of somebody else: true where it was kept or sent on. */
bool reshape_takes(struct actor *self, struct shard *s, struct message *m);
/* The next part of the walk; and what may be over after any message. */
void reshape_step(struct actor *self, struct shard *s);
void reshape_tick(struct actor *self, struct shard *s);
void reshape_look(struct actor *self, struct shard *s);
void reshape_log_done(struct actor *self, struct shard *s);
/* A successor has taken the shard over. */
void reshape_resume(struct actor *self, struct shard *s);

#endif /* TABLES_RESHAPE_H */
