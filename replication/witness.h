/* witness.h -- whether all copies have a change that another node makes for us, by their own word.
 *
 *     we --request--> master --CHANGES, for whom and who must have it--> our copy: told
 *                                                                  `--> others --HAVE--> we
 *
 * Without it the copies say so to the master and the master to us, which is one way more.  The
 * master goes on to count them all the same, for it is by its count that reads stand: what it
 * says, or that its count (`stable`) has passed the change's stamp, is as good, and comes where a
 * copy fell behind or a link broke meanwhile.  Of a part that is prepared or ended (shard_mark.h),
 * which has no stamp, the same is asked once more.
 *
 * Threads    A pure machine: whoever has it.
 */
#ifndef REPLICATION_WITNESS_H
#define REPLICATION_WITNESS_H

#include "replication/view.h"

enum {
    WITNESS_COPIES_MAX = 4, /* where more must have it, the master says when */
    WITNESS_BYTES = 1 + 3 * 9 + WITNESS_COPIES_MAX * 9,
};

/* What a master tells the copies with a change. */
struct witness_word {
    uint64_t node, number; /* whose request it was, and that node's number of it; 0: nobody's */
    uint64_t hlc;          /* its stamp, or a later one */
    uint32_t count;        /* the full copies but for the master's */
    uint64_t copy[WITNESS_COPIES_MAX];
};

/* As one value; nil where it is nobody's. */
void witness_put(const struct witness_word *word, struct value_writer *w);
/* From outside.  EG_BAD_REQUEST. */
EG_MUST_USE eg_err witness_get(struct value v, struct witness_word *out);

/* What shards say of it: to that node; to our own router, for it is our request; and what the
 * master answers where the copies may not have.  Any thread. */
struct witness_ops {
    void (*have)(void *user, const struct witness_word *word, struct view_id view);
    void (*tell)(void *user, const struct witness_word *word);
    void (*answer)(void *user, const struct witness_word *word, eg_err outcome, const char *text);
};

/* What is known of one request. */
struct witness {
    struct view_id view; /* that it was sent in: what is said in another is not of it */
    bool told;           /* our own copy has it, and `word` is known */
    struct witness_word word;
    uint32_t said; /* by so many, who are not all among those that must */
    uint64_t has[WITNESS_COPIES_MAX];
};

void witness_begin(struct witness *w, struct view_id view);
void witness_tell(struct witness *w, const struct witness_word *word, uint64_t self);
void witness_say(struct witness *w, uint64_t from, struct view_id view);
bool witness_is_complete(const struct witness *w);

#endif /* REPLICATION_WITNESS_H */
