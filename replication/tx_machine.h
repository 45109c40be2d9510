/* tx_machine.h -- how far one coordinated transaction is, and what is to be done next.
 *
 *     PREPARING --all have voted--> LOGGING --the disc has it--> COMMITTING --all have done it-->
 * OVER |                            |                             '--all had given it up-------^
 *         '--refused, lost, too late---'--the disc refuses--> ABORTING --nothing is left----------'
 *
 * Two-phase commit with presumed abort.  A part is what one shard does; who asked for it says what
 * came of it, and what that means is decided here alone:
 *
 *     NEW --prepare--> VOTED   it is kept there, whatever happens, until the decision comes
 *      |           '-> NONE    it was refused: nothing of it is there
 *      |           '-> DOUBT   nobody knows: it is told of the decision like one that voted
 *      '----check----> STOOD   of one that only reads, once all that change something have voted:
 *                              it stands, and nothing is kept anywhere.  Where that cannot be
 *                              said from here it is asked to prepare, and when it has voted those
 *                              that stood are looked at once more (NEW).  When all have voted or
 *                              stand, each that stands is looked at a second time (CONFIRM): what
 *                              is the same at both looks, and was so in between, was so at the
 *                              moment between all first looks and all second ones.  One that has
 *                              moved in between begins anew, and the others' second looks with it
 *     VOTED --commit--> DONE   all its full copies have it
 *                   '-> GONE   it was given up in a view without us.  Where any other is DONE, its
 *                              changes are made anew (REDO); where none is, it is aborted for all,
 *                              but where it was found on disc: then nobody knows any more who has
 *                              done it, and all are made anew
 *
 * Where the view changes before any part is DONE, some may have been given up in between.  Who
 * finds one record of a transaction must find the others, so nobody is told to commit before all
 * have been looked at (LOOK), and what is GONE is made anew before the others, which hold their
 * keys, are told.  Where that takes too long each is told when it can be, and half of it may be
 * seen.
 *
 * Where all tables ask for a majority, what a view with one has given up nobody has made, and
 * others have gone on from there: nothing of it may be made any more.  So such a transaction is
 * looked at in each new view until some part is known to be made, however late it is and also after
 * a start, and where one part is said to be given up and none to be made the others are told to
 * abort.
 *
 * Whoever asked is answered once: aborted as soon as that is decided, committed when all parts are
 * DONE, in doubt where that takes too long.  A decision is known to others as `committed` when the
 * first part is DONE: before that it may still come to nothing (all GONE).
 *
 * Without a part on disc nothing is logged: who loses its coordinator asks all nodes of its view
 * whether any has committed (tx_ask.c).
 *
 * Order      tx_machine_next() until it says NOTHING, after everything that was told.
 * Memory     The caller's: parts are lent to it for its life.
 * Threads    A pure machine, without clock or network: whoever has it.
 */
#ifndef REPLICATION_TX_MACHINE_H
#define REPLICATION_TX_MACHINE_H

#include "engine/base.h"
#include "engram/error.h"

#include <stdbool.h>
#include <stdint.h>

enum tx_state { TX_PREPARING, TX_LOGGING, TX_COMMITTING, TX_ABORTING, TX_OVER };

enum tx_do {
    TX_DO_NOTHING,
    TX_DO_PREPARE, /* ask part number `part`         */
    TX_DO_COMMIT,  /* likewise                       */
    TX_DO_ABORT,   /* likewise                       */
    TX_DO_REDO,    /* likewise: its changes, as new ones */
    TX_DO_LOOK,    /* likewise: is it kept still?    */
    TX_DO_LOG,     /* the decision is to be on disc  */
    TX_DO_ANSWER,  /* with `outcome`                 */
    TX_DO_END,     /* it is over: what the disc has of it can go */
    TX_DO_CHECK,   /* does what part number `part` has seen stand, looked at from here?  At once */
    TX_DO_CONFIRM, /* and has it been so since that look?  Likewise; EG_AGAIN: it may not have */
};

enum tx_part_state {
    TX_PART_NEW,
    TX_PART_STOOD,
    TX_PART_VOTED,
    TX_PART_DOUBT,
    TX_PART_NONE,
    TX_PART_GONE,
    TX_PART_DONE,
};

struct tx_part {
    enum tx_part_state state;
    enum tx_do under_way; /* what it was asked and has not answered; NOTHING: none */
    bool waits;           /* it could not be done now: until tx_machine_retry()    */
    bool kept;            /* so it was found in this view                          */
    bool reads;           /* it changes nothing, and another does: set before the beginning */
    bool firm;            /* its table asks for a majority: set before the beginning         */
    bool made;            /* its shard has said that it committed it                         */
    bool given_up;        /* GONE, and its shard has said that it knows: nobody has made it  */
    bool asks;            /* what it has seen is its master's to say                         */
    bool sure;            /* it has stood at the second look, too                            */
    uint32_t moves;       /* how often it had moved by then                                  */
};

/* What others may be told of it. */
enum tx_status { TX_STATUS_UNKNOWN, TX_STATUS_OPEN, TX_STATUS_COMMITTED, TX_STATUS_ABORTED };

struct tx_machine {
    enum tx_state state;
    bool logs;    /* the decision is to be on disc before anybody hears it */
    bool logging; /* the disc was asked                                  */
    bool answered;
    bool recalled; /* it was found on disc */
    bool firm;     /* all parts are        */
    bool looks;    /* it was decided in another view: all parts are to be looked at first */
    bool late;     /* no more: its time is over */
    bool ended;
    bool unsure;    /* it is aborted here, and the disc may have it that it was decided */
    eg_err outcome; /* as far as it is known, for who asked */
    uint32_t count, at;
    struct tx_part *part;
};

struct tx_step {
    enum tx_do what;
    uint32_t part;
};

/* Nothing is asked yet.  `part` is zeroed but for `reads` and `firm`. */
void tx_machine_begin(struct tx_machine *m, struct tx_part *part, uint32_t count, bool logs);
/* As it is found on disc after a start: decided, and nobody waits for an answer. */
void tx_machine_recall(struct tx_machine *m, struct tx_part *part, uint32_t count);

struct tx_step tx_machine_next(struct tx_machine *m);

/* What came of what it said. */
void tx_machine_heard(struct tx_machine *m, uint32_t part, enum tx_do what, eg_err err);
/* Not EG_OK: the disc has certainly nothing of it.  Lost: it may have, and a later start finds it.
 */
void tx_machine_logged(struct tx_machine *m, eg_err err);
void tx_machine_log_lost(struct tx_machine *m);

/* There is another view: what has not been decided in the one before is aborted. */
void tx_machine_view(struct tx_machine *m);
/* Its time is over: undecided it is aborted, decided it is in doubt for who waits. */
void tx_machine_expire(struct tx_machine *m);
/* It was aborted long ago: who has not heard of it will ask. */
void tx_machine_forget(struct tx_machine *m);
/* What could not be done before is tried again. */
void tx_machine_retry(struct tx_machine *m);
/* Who did what it said is gone, and nothing of what was asked will be heard. */
void tx_machine_restart(struct tx_machine *m);

enum tx_status tx_machine_status(const struct tx_machine *m);
bool tx_machine_waits(const struct tx_machine *m); /* for tx_machine_retry() */

#endif /* REPLICATION_TX_MACHINE_H */
