/* settle.h -- whether what was read of a majority table may be told.
 *
 *     settle_begin --> looking, here or at other nodes --> settle_step --> EG_OK: told
 *                                                           |      ^
 *                                   EG_AGAIN: settle_ask ---'      '--- settle_answered
 *
 * A copy of such a table has all that was acknowledged in its view, and perhaps more, which may
 * come to nothing; and who was just cut off does not know yet that others have gone on without it.
 * So what was looked at is told when afterwards the chairs of its shards have said that most copies
 * stand by the view, and have all that was there.  It must be the view that it was looked at in: in
 * a later one others may have acknowledged something before.  So each record is as if it were read
 * by its key (there is no moment of all), and one round of messages is all that it takes.
 *
 * Of other tables, and of those without copies elsewhere, there is nothing to ask.
 *
 * Threads    One at a time, in sections.
 */
#ifndef QUERY_SETTLE_H
#define QUERY_SETTLE_H

#include "engine/err.h"
#include "tables/scan.h"
#include "tables/shard_set.h"

struct message;
struct table;

struct settle {
    enum { SETTLE_NOT, SETTLE_LOOKING, SETTLE_ASKING, SETTLE_OVER } state;
    uint64_t view;
    struct shard_set shards; /* that have not been asked yet */
    uint32_t unanswered;
    eg_err failed;
    struct err_note why;
};

/* Before the first look, which goes this way, or into these shards.  Where it has begun already:
 * nothing. */
void settle_begin(struct settle *s, struct table *t, const struct scan_path *path);
void settle_begin_in(struct settle *s, struct table *t, const struct shard_set *shards);
/* All has been looked at: EG_OK, it may be told; EG_AGAIN: after asking.  EG_NO_REPLICA: the view
 * has changed, and it must be looked at again; EG_NO_MAJORITY; others: nobody could say. */
EG_MUST_USE eg_err settle_step(struct settle *s, struct table *t, struct err_note *note);
/* It is in the midst of this. */
static inline bool settle_asks(const struct settle *s) {
    return s->state == SETTLE_ASKING;
}

/* After EG_AGAIN: one CALL at a time; EG_NOT_FOUND: no more.  Each is answered here, also where it
 * could not be sent. */
EG_MUST_USE eg_err settle_ask(struct settle *s, struct table *t, eg_pid *to, struct message **out);
void settle_answered(struct settle *s, eg_err err, struct value result);

#endif /* QUERY_SETTLE_H */
