/* text_crew.h -- one aggregate counted on several threads at once.
 *
 *     asker's run --takes--> shard 0          shard 3 ...   --> its tally <--.
 *     hand 0's    --takes-->     shard 1   shard 2    ...   --> its own -----| joined
 *     hand 1's    --takes-->       shard ...                --> its own -----'
 *
 * Records may be read on any thread, so who waits for them may be several: a core has only so many
 * cache lines under way.  Nobody is given a share; whoever has gone through a shard takes the
 * next one that nobody has, so a hand that is late, or has other work, takes fewer.
 *
 *     CALLED --begin--> WORKING --done----------------> DONE --joined--> JOINED
 *        |                 '--asker awaits--> AWAITED --done, tells it--> DONE
 *        '-- all is counted before it began ---------------------------> JOINED
 *
 * For aggregates over all rows of one table, without group by, where it is gone through from end
 * to end and is large: else there is nothing to win.
 *
 * Ownership  Counted: the asker's and each hand's.  It owns the runs of hands that are done.
 * Threads    Each function says whose.
 */
#ifndef QUERY_TEXT_CREW_H
#define QUERY_TEXT_CREW_H

#include "query/text_run.h"

enum {
    TEXT_CREW_ROWS = 64 * 1024, /* for each hand: a millisecond or two of work     */
    TEXT_CREW_HANDS_MAX = 63,   /* others wait for memory, not for a core, by then */
};

struct text_crew;

/* How many hands are worth having, beside the asker; 0: none.  In the plan's section. */
uint32_t text_crew_useful(const struct text_plan *p);

/* ---- the asker's ------------------------------------------------------------------- */

/* EG_MEMORY. */
EG_MUST_USE eg_err text_crew_open(struct text_crew **out, const struct text_plan *p,
                                  uint32_t hands);
/* Nobody wants any more what hands count. */
void text_crew_dismiss(struct text_crew *c);

/* One that was never sent. */
void text_crew_send_home(struct text_crew *c, uint32_t hand);
/* Add what the hands have counted.  EG_AGAIN: not all are done.  EG_NOT_FOUND: one has left the
 * rest of a shard, which is `r`'s from here on.  Else what a hand has failed with, with its note.
 */
EG_MUST_USE eg_err text_crew_join(struct text_crew *c, struct text_run *r);
/* Be told by `asker`, `ref` when it is done.  False: it is. */
EG_MUST_USE bool text_crew_await(struct text_crew *c, uint32_t hand, eg_pid asker, eg_ref ref);
uint32_t text_crew_hands(const struct text_crew *c);

/* ---- anybody's --------------------------------------------------------------------- */

void text_crew_ref(struct text_crew *c);
void text_crew_unref(struct text_crew *c);
/* The next shard that nobody has.  False: there is none. */
EG_MUST_USE bool text_crew_take(struct text_crew *c, uint32_t *shard);

/* ---- a hand's ---------------------------------------------------------------------- */

bool text_crew_dismissed(struct text_crew *c);
/* Its run, in a section.  Whatever the error: then it is no help, and nothing is lost.  EG_CLOSED:
 * nor is it needed. */
EG_MUST_USE eg_err text_crew_begin(struct text_crew *c, uint32_t hand, struct catalog *catalog,
                                   struct reader *reader, struct text_run **out);
/* It has no more to count: `run` (NULL: it has counted nothing) is the crew's from here on.  True:
 * tell *asker, with *ref. */
EG_MUST_USE bool text_crew_done(struct text_crew *c, uint32_t hand, struct text_run *run,
                                eg_err err, const struct err_note *note, eg_pid *asker,
                                eg_ref *ref);

#endif /* QUERY_TEXT_CREW_H */
