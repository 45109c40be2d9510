/* linear.h -- is there an order of these operations, one at a time, that explains every answer?
 *
 * Each key is a register that holds a number, 0 where there is no record.  An operation takes
 * effect at one moment between its begin and its end; one whose answer never came may do so at any
 * time from its begin on, or never.  Keys are looked at one by one: a history is linearizable when
 * each key's part is (Herlihy and Wing 1990).
 *
 *     all calls and returns, by time:   c1 c2 r1 c3 r2 ...
 *     take a call that the state allows, and that no return stands before; go on without it
 *     a return is met: take the last one back, and try the next call
 *
 * What has been tried, as a set of operations and a state, is remembered and not tried again: that
 * is what makes it fast enough.  There is a bound on steps all the same.
 *
 * Source     Wing and Gong 1993; Lowe 2017 (the memory); Porcupine (the form).
 */
#ifndef TESTS_SUPPORT_LINEAR_H
#define TESTS_SUPPORT_LINEAR_H

#include "engine/base.h"

enum linear_kind {
    LINEAR_READ,   /* saw `seen`                                          */
    LINEAR_WRITE,  /* `value`, over whatever there is                     */
    LINEAR_TAKE,   /* saw `seen`, and removed it                          */
    LINEAR_INSERT, /* `value`, where there is nothing (`took`); else it did nothing */
    LINEAR_CHANGE, /* `value`, where there is `seen` (`took`); else it did nothing  */
    LINEAR_KINDS,
};

struct linear_op {
    uint32_t key;
    enum linear_kind kind;
    uint64_t value, seen;
    bool took;  /* of INSERT and CHANGE, as was answered */
    bool known; /* it was answered; else nobody knows    */
    uint64_t begin, end;
    uint32_t number; /* for people */
};

enum linear_verdict { LINEAR_GOOD, LINEAR_BAD, LINEAR_UNDECIDED };
enum { LINEAR_TEXT_BYTES = 200, LINEAR_STEPS_MAX = 4000000 };

/* What did not happen is not among them.  They are put in another order.  `text` says of a bad one
 * which operation no order explains. */
enum linear_verdict linear_check(struct linear_op *ops, uint32_t count,
                                 char text[LINEAR_TEXT_BYTES]);

#endif /* TESTS_SUPPORT_LINEAR_H */
