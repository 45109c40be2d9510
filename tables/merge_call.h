/* merge_call.h -- a merge that the table's maker has written.
 *
 *     winner, loser (by their stamps) --> specification | function of the program --> record
 *
 * The option `callback` is either a match specification, whose record is [winner, loser] (nil: a
 * removal), or the name of a function that the program has given its node (`merges` of eg_options).
 * Both are pure, so it does not matter where the merge is made, nor how often.
 *
 * What comes of it is a record of the table with the same key, or nil: it is removed.  A
 * specification of which no clause matches leaves the winner.
 *
 * Threads    Functions are called by any thread, several at a time.
 */
#ifndef TABLES_MERGE_CALL_H
#define TABLES_MERGE_CALL_H

#include "engine/buffer.h"
#include "engine/err.h"
#include "tables/value.h"

enum { MERGE_CALL_BYTES_MAX = 64 << 10 /* of a specification */ };

/* A function of the program. */
struct merge_function {
    const char *name;
    /* Append the record, or nothing: it is removed.  Any error: there is no answer. */
    eg_err (*call)(void *context, struct value winner, struct value loser, struct buffer *out);
    void *context;
};

struct merge_call {
    struct alloc *alloc;
    struct value callback;                 /* of the schema; size 0: none */
    uint32_t attribute_count;              /* of its records */
    const struct merge_function *function; /* that the node has */
    uint32_t function_count;
};

/* From outside: can it be one?  EG_BAD_REQUEST, EG_TOO_LARGE with a note. */
EG_MUST_USE eg_err merge_call_check(struct alloc *a, struct value callback, struct err_note *note);

/* What merge_rule's `call` takes; the context is a struct merge_call.  EG_MEMORY; EG_NOT_FOUND: the
 * node has no such function; EG_BAD_REQUEST: what it made is no record of the table. */
EG_MUST_USE eg_err merge_call_run(void *call, struct value winner, struct value loser,
                                  struct buffer *out);

#endif /* TABLES_MERGE_CALL_H */
