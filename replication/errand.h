/* errand.h -- what the router keeps of a request until it is answered.
 *
 *     ours:   session --CALL--> router --> shard here, or node --> answer --> REPLY
 *     visit:  node --request--> router --> shard here --> REPLY --> answer --> node
 *
 * Every errand has a number that is used once: an answer that comes too late, or that somebody
 * makes up, finds nothing.  The private half of router.h.
 *
 * Ownership  An errand owns the message that it came as; a group is shared by its errands.
 * Threads    The router's actor.
 */
#ifndef REPLICATION_ERRAND_H
#define REPLICATION_ERRAND_H

#include "engine/actor.h"
#include "engine/list.h"
#include "replication/witness.h"

enum { ERRAND_TEXT_BYTES = 128 };

/* Several errands that are answered as one. */
struct errand_group {
    eg_pid from;
    eg_ref ref;
    uint32_t left;  /* still to come          */
    uint32_t done;  /* of the others: with EG_OK */
    eg_err err;     /* the first other outcome   */
    uint64_t count; /* what it answers where all went well; 0: true */
    char text[ERRAND_TEXT_BYTES];
};

struct errand {
    struct list_node node; /* of those that wait for a master, or of those under way */
    uint64_t number;
    bool visit;
    bool read;             /* doing it twice changes nothing */
    struct view_id view;   /* in which it came                 */
    bool part;             /* of a transaction: its manager knows of views */
    bool busy;             /* it was refused for that last                 */
    uint64_t peer;         /* a visit's asker; else the node that was asked, 0: a shard here */
    uint64_t their_number; /* of a visit */
    uint64_t deadline_ns;
    uint64_t last_ns;     /* of ours: when it is sent no more, however often it was refused */
    uint64_t majority_ns; /* of a majority table: when it is over, whatever it waits for; else 0 */
    eg_pid from;          /* who is to be answered; of ours, without a group */
    eg_ref ref;
    struct errand_group *group;
    struct message *request; /* of ours */
    struct witness witness;  /* of ours, asked of another node */
};

struct errands {
    struct alloc *alloc;
    struct errand **slot;
    uint32_t *unused; /* slots without an errand, a stack of unused_count */
    uint32_t slot_count, unused_count, slots_max;
    uint64_t given; /* numbers so far */
};

void errands_init(struct errands *e, struct alloc *a, uint32_t most);
void errands_fini(struct errands *e); /* none is left */

/* A zeroed errand with a number.  EG_BUSY: `most` are there; EG_MEMORY. */
EG_MUST_USE eg_err errand_new(struct errands *e, struct errand **out);
/* So many more, unless there is no memory? */
bool errands_have_room(const struct errands *e, uint32_t count);
struct errand *errand_find(const struct errands *e, uint64_t number); /* NULL: no more */
/* Another number: what answers the old one comes too late. */
void errand_renumber(struct errands *e, struct errand *d);
/* Not in a list any more, its message given back. */
void errand_free(struct errands *e, struct errand *d);

#endif /* REPLICATION_ERRAND_H */
