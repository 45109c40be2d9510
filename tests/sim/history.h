/* history.h -- what clients did to a simulated cluster, and whether its end agrees.
 *
 * Each write has a number of its own, which is part of its record, so whoever reads a record
 * knows which write it sees.  An operation ends in one of these:
 *
 *     OK     acknowledged: it must be there at the end, or something newer
 *     FAIL   refused by a code that means "nothing happened": it must not be there
 *     INFO   it may have happened, at any time from then on
 *
 * What is newer is decided by stamps (last writer wins), which clients do not see.  But a stamp
 * is never below the clocks of the nodes when the operation began, nor above the highest that any
 * clock has shown when it ended; only what contradicts that is called a fault, and never that
 * what began later won.  Where clocks are good, these are the real time's bounds.
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include "tests/sim/sim_client.h"

enum op_kind { OP_WRITE, OP_DELETE, OP_READ };
enum op_end { OP_OPEN, OP_OK, OP_FAIL, OP_INFO };

enum { OP_NONE = 0 }; /* numbers begin with 1 */

struct op {
    uint32_t number;
    enum op_kind kind;
    enum op_end end;
    uint32_t table, key, client, node;
    uint32_t before; /* the operation on this key that began before it, or OP_NONE */
    uint64_t begin_ns, end_ns;
    int64_t least_ms;     /* its stamp is not below this                          */
    int64_t most_ms;      /* nor above this, where it is OK                       */
    uint64_t view;        /* of its node, from begin to end; 0: it changed, or none */
    uint32_t starts;      /* of its node, when it began                              */
    uint32_t seen;        /* of a read or a delete: the write it found, or OP_NONE              */
    bool home, home_then; /* its node had a whole copy that counts when it began; when it ended */
    bool dirty;           /* at its node's copy alone: in no order with others that began before the
                           * copies were equal again                                               */
    char text[40];        /* of a refusal                                         */
};

enum { HISTORY_TABLES_MAX = 8, HISTORY_KEYS_MAX = 64 };

struct history {
    /* Deletes are forgotten before all have heard of them: what was written elsewhere, unknown to
     * who deleted a later write, may be there again. */
    bool forgets;
    bool renews; /* what comes from such a copy may be written anew */
    struct op *ops;
    uint32_t count, room;
    struct op *peeks; /* reads in place, which have no number */
    uint32_t peek_count, peek_room;
    uint32_t last[HISTORY_TABLES_MAX][HISTORY_KEYS_MAX]; /* operation on each key */
};

void history_init(struct history *h);
void history_fini(struct history *h);

/* Both are valid until the next begin(). */
struct op *history_begin(struct history *h, enum op_kind kind, uint32_t table, uint32_t key);
struct op *history_op(struct history *h, uint32_t number);

/* A read in place, begun and ended at `now_ns`: it saw that write, or OP_NONE. */
void history_peek(struct history *h, uint32_t table, uint32_t key, uint32_t node, uint64_t view,
                  uint64_t now_ns, uint32_t seen);

/* What an answer says became of an operation. */
enum op_end history_end_of(const struct sim_answer *a);

/* A clock shows less from now on: so may the stamps of what is under way. */
void history_clock_back(struct history *h, int64_t wall_ms);

/* What all copies agree on at the end. */
struct final {
    uint32_t table, key, number; /* number OP_NONE: no record of this key */
    uint64_t hlc;
};

enum { HISTORY_TEXT_BYTES = 400 };

/* `finals`: of every table and key, one each.  `checked(user, table)`: may no acknowledged write
 * of it be lost?  (else only what was refused must not be there).  False, and what is wrong. */
bool history_check_finals(const struct history *h, const struct final *finals, uint32_t count,
                          bool (*checked)(void *user, uint32_t table), void *user,
                          char text[HISTORY_TEXT_BYTES]);
/* No read saw what was refused, nor, all in one view, less than was acknowledged before it or than
 * an earlier read had seen. */
bool history_check_reads(const struct history *h, char text[HISTORY_TEXT_BYTES]);

/* Clients from that number on stay at their nodes.  Of what the node's own whole copy had, none of
 * them reads less than it has read or written itself (history_session.c). */
bool history_check_sessions(const struct history *h, uint32_t first_client,
                            bool (*checked)(void *user, uint32_t table), void *user,
                            char text[HISTORY_TEXT_BYTES]);

/* What happened to a key, one line each, to where people look. */
void history_print(const struct history *h, uint32_t table, uint32_t key);

struct history_counts {
    uint32_t ok, failed, unknown, reads;
};
struct history_counts history_count(const struct history *h);

#endif /* TESTS_SIM_HISTORY_H */
