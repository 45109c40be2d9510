/* far_call.h -- size, neighbours and many keys of a table that this node has not all of.
 *
 *     far_call_step --> EG_AGAIN: far_call_ask --CALL--> far_read.h --REPLY--> far_call_answered
 *          '----------> EG_OK: one value, put together of what all have said
 *
 * Each shard is asked where it is, several of one node at once; who refuses is asked again, or
 * another is, for FAR_WAIT_MS.  What each has said holds for itself: there is no moment of all.
 *
 * Ownership  Owns copies of all it was given.
 * Threads    One at a time.
 */
#ifndef QUERY_FAR_CALL_H
#define QUERY_FAR_CALL_H

#include "tables/page.h"

struct far_call;
struct message;

struct far_call_opts {
    enum page_kind kind;   /* PAGE_SIZE, PAGE_NEXT, PAGE_READ           */
    struct value question; /* NEXT: a key or nothing; READ: an array of keys */
    bool reverse;          /* NEXT: the last, the one before            */
    bool dirty;            /* of what copies are here, whatever they lack */
};

/* In a section in which `t` was found.  EG_BAD_RECORD, EG_TOO_LARGE: no key, see the note;
 * EG_BAD_REQUEST: not an array; EG_NO_REPLICA: dirty, and no copy is here; EG_MEMORY. */
EG_MUST_USE eg_err far_call_open(struct far_call **out, struct alloc *a, struct table *t,
                                 const struct far_call_opts *o, struct err_note *note);
void far_call_close(struct far_call *f);

/* EG_OK: the value has been appended.  EG_AGAIN: after asking.  EG_NO_TABLE, EG_NO_REPLICA,
 * EG_TIMEOUT, EG_TOO_LARGE, EG_MEMORY. */
EG_MUST_USE eg_err far_call_step(struct far_call *f, struct table *t, struct reader *r,
                                 struct buffer *result, struct err_note *note);
/* After EG_AGAIN: one CALL at a time, EG_NOT_FOUND: no more.  Each is answered here, also where it
 * could not be sent. */
EG_MUST_USE eg_err far_call_ask(struct far_call *f, struct table *t, eg_pid *to,
                                struct message **out);
void far_call_answered(struct far_call *f, eg_err err, struct value result);

#endif /* QUERY_FAR_CALL_H */
