/* nemesis.h -- what befalls a simulated cluster: each kind of fault in its own time.
 *
 * Every kind that a seed has chosen has a stream of chance and a mean time between two of its own,
 * so leaving one kind out (--faults) moves none of the others: that is how a failing run is
 * made smaller.  What a fault does ends after a while, and all of it at nemesis_end().
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_NEMESIS_H
#define TESTS_SIM_NEMESIS_H

#include "tests/sim/sim_cluster.h"

enum fault {
    FAULT_CUT,     /* the nodes fall in two halves                        */
    FAULT_ONE_WAY, /* one direction between two is dead                   */
    FAULT_SLOW,    /* a link's delay                                      */
    FAULT_NARROW,  /* a link's bandwidth                                  */
    FAULT_BREAK,   /* a connection is reset                               */
    FAULT_KILL,
    FAULT_POWER,
    FAULT_WIPE, /* power, and the disc is empty afterwards             */
    FAULT_PAUSE,
    FAULT_JUMP,  /* of a wall clock                                     */
    FAULT_DRIFT, /* of both clocks                                      */
    FAULT_ACTOR, /* a shard is killed                                   */
    FAULT_MEMORY,
    FAULT_DISC_FULL,
    FAULT_DISC_BEHIND,
    FAULT_DISC_BROKEN, /* a write or a sync fails: only a new start helps     */
    FAULT_TWICE,       /* what copies say comes once more, later (sim_mail.h)  */
    FAULT_LOSE,        /* it does not come: no memory for it                  */
    FAULT_OLD_DISC,    /* power, and the disc is as it was some time before    */
    FAULT_HALVES,      /* these are cuts of one shape (cut_shape.h)            */
    FAULT_ONE_OUT,
    FAULT_RING,
    FAULT_BRIDGE,
    FAULT_BLIP,     /* a cut of 4 ms, or of a second                      */
    FAULT_FLAP,     /* a cut that comes and goes                          */
    FAULT_SWIZZLE,  /* nodes are cut off one by one, and come back in another order */
    FAULT_BLACKOUT, /* all nodes lose power at once                       */
    FAULT_COUNT,
};
const char *fault_name(enum fault f);

struct nemesis;

struct nemesis *nemesis_open(struct sim_cluster *c, uint64_t seed);
void nemesis_close(struct nemesis *n);

uint64_t nemesis_next_ns(const struct nemesis *n);
/* Do what is due.  The world goes on while nodes start. */
void nemesis_act(struct nemesis *n);
/* Nothing more: links are whole, every node is up and well. */
void nemesis_end(struct nemesis *n);

uint32_t nemesis_faults(const struct nemesis *n); /* so far */

#endif /* TESTS_SIM_NEMESIS_H */
