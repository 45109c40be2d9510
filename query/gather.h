/* gather.h -- the records of a table that this node has not all of, as one row.
 *
 *     gather_next: a record --------------------------------> judged like one of this node
 *        '-- EG_AGAIN: gather_ask --CALL--> far_read.h --> node --REPLY--> gather_answered
 *
 * In the place of a scan (tables/scan.h).  What a question may mean is said to the nodes that
 * have the shards, so that what comes matches already; whoever judges it does so once more, with
 * the whole question.  Where the table is ordered, and no index is used, the rows come in the order
 * of their keys: each node gives its own in that order, and they are merged.  Else they come
 * shard by shard: where all are wanted of all nodes at once, a page each, and where a page of the
 * answer ends after some, of one node after the other.
 *
 * What is made of records beside them (PAGE_COUNT, PAGE_PARTIAL) is handed to `part` as it comes,
 * each record in one part, and gather_next() has nothing to give.
 *
 * It keeps places, never promises: when the view changes it looks again who has what, and goes on
 * behind what it gave last.  A record that is there throughout is met exactly once.
 *
 * Ownership  Owns copies of all it was given and of the pages that have come.
 * Threads    One at a time.
 */
#ifndef QUERY_GATHER_H
#define QUERY_GATHER_H

#include "tables/page.h"

struct gather;
struct message;

struct gather_opts {
    enum page_kind kind; /* page_is_of_records() */
    struct value question;
    bool merged, reverse;
    /* COUNT, PARTIAL: a page's body.  What it fails with the gather fails with. */
    eg_err (*part)(void *user, struct value body);
    void *user;
};

EG_MUST_USE eg_err gather_open(struct gather **out, struct alloc *a, struct table *t,
                               const struct gather_opts *o);
void gather_close(struct gather *g);
size_t gather_bytes(const struct gather *g);

/* At most so many are wanted from here on; 0: all. */
void gather_want(struct gather *g, uint64_t most);

/* EG_OK with a record, which lies in the reader's scratch; EG_NOT_FOUND: that were all; EG_AGAIN:
 * it must be asked for first.  Others: it has failed. */
EG_MUST_USE eg_err gather_next(struct gather *g, struct table *t, struct reader *r,
                               const struct record **out, struct err_note *note);
/* Here begins the next page, which gather_resume() goes back to: behind all that were wanted. */
bool gather_may_mark(const struct gather *g); /* nothing has come that was not given */
EG_MUST_USE eg_err gather_mark(struct gather *g);
EG_MUST_USE eg_err gather_resume(struct gather *g);
/* From the first one again. */
void gather_rewind(struct gather *g);

/* After EG_AGAIN: one CALL at a time, EG_NOT_FOUND: no more.  Each is answered here, also where it
 * could not be sent. */
EG_MUST_USE eg_err gather_ask(struct gather *g, struct table *t, eg_pid *to, struct message **out);
void gather_answered(struct gather *g, eg_err err, struct value result);

#endif /* QUERY_GATHER_H */
