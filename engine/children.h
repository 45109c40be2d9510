/* children.h -- what a supervisor decides, apart from how it is done.
 *
 * The list of a supervisor's children in start order, and the state machine
 * that says which one to start or stop next.  It knows no actors, no messages
 * and no clock: the supervisor fills an ops struct and reports what happened,
 * so a test can drive it through every history in microseconds.
 *
 *              a child died, a command
 *     SETTLED --------------------------> STOPPING --all doomed are down--.
 *        ^                                 |    ^                         |
 *        |                                 |    '--start failed: retry--. |
 *        |                          the end|                            | v
 *        '--all wanted are up------------- | ------------------------- STARTING
 *                                          v
 *                                        ENDED
 *
 *     one child:  DOWN -> STARTING -> UP -> STOPPING -> DOWN
 *                            '--------------^
 *
 * Order      Children start one after the other in list order, each when the one
 *            before is up, and stop one after the other in reverse.  A dynamic
 *            supervisor's children are equals and stop all at once.
 *            A child that dies while others are being restarted waits its turn;
 *            deaths are answered in the order in which they were reported.
 * Restarts   As in OTP: more than `intensity` of them within `period_ns` end the
 *            supervisor.  A start that fails during a restart counts as a restart
 *            and is tried again; during the first start it ends the supervisor;
 *            asked for by a command it is the command's answer.
 * Errors     Commands are taken in SETTLED only; else EG_AGAIN, nothing happened.
 * Source     OTP's supervisor.erl for what its users rely on.
 */
#ifndef ENGINE_CHILDREN_H
#define ENGINE_CHILDREN_H

#include "engine/alloc.h"

enum { CHILD_ID_BYTES = 48, CHILDREN_INTENSITY_MAX = 1024 };

enum children_strategy {
    ONE_FOR_ONE,        /* restart who died                                       */
    ONE_FOR_ALL,        /* restart all                                            */
    REST_FOR_ONE,       /* restart who died and all that were started after it    */
    SIMPLE_ONE_FOR_ONE, /* one template, any number of equal children             */
};

enum child_restart {
    PERMANENT, /* always started again                       */
    TRANSIENT, /* only after an abnormal exit                */
    TEMPORARY, /* never; its entry goes with it              */
};

enum child_state { CHILD_DOWN, CHILD_STARTING, CHILD_UP, CHILD_STOPPING };

enum child_exit {
    EXIT_ORDERLY, /* normal or shutdown: what a transient child may do for good */
    EXIT_ABNORMAL,
};

/* Embedded in what the supervisor keeps about a child.  Owned by it; in the list
 * from children_add() until ops->drop(). */
struct child {
    struct child *prev, *next; /* start order                                  */
    struct child *next_dead;   /* deaths that wait their turn                  */
    char id[CHILD_ID_BYTES];   /* unique among siblings; "" in a dynamic one   */
    enum child_restart restart;
    enum child_state state;
    uint32_t restarts;    /* over its life                                     */
    bool doomed;          /* to be stopped in this operation                   */
    bool wanted;          /* to be started in this operation                   */
    bool leaving;         /* its entry goes when it is down                    */
    bool fresh;           /* has never been up: if its start fails, it leaves  */
    bool waits_for_turn;  /* in the list of deaths                             */
    enum child_exit exit; /* of that death                                     */
};

/* What the machine asks for.  None of these may call back into it. */
struct children_ops {
    /* Begin to start; later say children_started() or children_exited().
     * An error says now that it failed. */
    eg_err (*start)(void *owner, struct child *c);
    /* Begin to stop; later say children_exited(), whatever it takes. */
    void (*stop)(void *owner, struct child *c);
    /* The entry has left the list: free it. */
    void (*drop)(void *owner, struct child *c);
    uint64_t (*now_ns)(void *owner);
};

enum children_phase { CHILDREN_SETTLED, CHILDREN_STARTING, CHILDREN_STOPPING, CHILDREN_ENDED };

/* Why children are being started, which is what a failure means. */
enum children_cause { CAUSE_FIRST_START, CAUSE_COMMAND, CAUSE_RESTART };

struct children {
    const struct children_ops *ops;
    void *owner;
    struct alloc *alloc;
    enum children_strategy strategy;
    uint32_t intensity;
    uint64_t period_ns;
    uint64_t *restarted_at_ns; /* ring of the last `intensity` restarts   */
    uint32_t ring_at, ring_count;

    struct child *first, *last;
    struct child *dead_first, *dead_last; /* deaths that wait their turn  */
    struct child *cursor;                 /* where the walk stands        */
    uint32_t count, up_count;
    uint32_t doomed_count, wanted_count; /* left to stop and to start     */
    uint64_t restarts;                   /* over the supervisor's life    */

    enum children_phase phase;
    enum children_cause cause;
    bool ending;    /* the walk down is the last one                      */
    eg_err end_why; /* EG_OK: asked to end; EG_BUSY: too many restarts;
                       else why the first start failed                    */
    eg_err command; /* outcome of the last command; valid in SETTLED      */
};

/* EG_MEMORY: nothing was taken.  EG_BAD_REQUEST: a bound of the options. */
EG_MUST_USE eg_err children_open(struct children *cs, struct alloc *a,
                                 const struct children_ops *ops, void *owner,
                                 enum children_strategy strategy, uint32_t intensity,
                                 uint64_t period_ns);

/* Forget everything; drop() is called for each entry that is left. */
void children_close(struct children *cs);

/* Append a child before the first start.  `c` is zeroed but for id and restart. */
EG_MUST_USE eg_err children_declare(struct children *cs, struct child *c);

/* Start what was declared.  In SETTLED or ENDED it is done. */
void children_start(struct children *cs);

/* ---- what happened ------------------------------------------------------- */

void children_started(struct children *cs, struct child *c);
/* `why` is what a start that failed is reported with. */
void children_exited(struct children *cs, struct child *c, enum child_exit how, eg_err why);

/* Stop everything, whatever is going on; ENDED when all are down. */
void children_end(struct children *cs);

/* ---- commands ------------------------------------------------------------- */

/* Append and start.  EG_EXISTS: a sibling has the id; `c` stays the caller's.
 * When SETTLED again, `command` says how the start went; a child whose first
 * start fails has been dropped. */
EG_MUST_USE eg_err children_add(struct children *cs, struct child *c);

/* Stop a child; its entry stays unless it is temporary or dynamic. */
EG_MUST_USE eg_err children_terminate(struct children *cs, struct child *c);

/* Start one that is down.  EG_EXISTS: it is running. */
EG_MUST_USE eg_err children_restart(struct children *cs, struct child *c);

/* Take out the entry of one that is down.  EG_BUSY: it is running. */
EG_MUST_USE eg_err children_remove(struct children *cs, struct child *c);

struct child *children_find(const struct children *cs, const char *id); /* or NULL */

void children_check(const struct children *cs);

#endif /* ENGINE_CHILDREN_H */
