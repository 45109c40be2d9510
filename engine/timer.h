/* timer.h -- a hierarchical wheel of intrusive timers.
 *
 * Four wheels of 64 slots, one millisecond a tick: a timer hangs in the slot of
 * the coarsest wheel that still tells it from now, and falls into finer wheels
 * as its time comes.  Starting and stopping are O(1), a tick costs what is due.
 * What lies further than 64^4 ms (4.6 hours) away is looked at once a revolution.
 *
 *     wheel 0   1 ms a slot   . . x . . .      next 64 ms
 *     wheel 1  64 ms a slot   . . . x . .      next 4 s
 *     wheel 2   4 s  a slot   . x . . . .      next 4 min
 *     wheel 3   4 min a slot  . . . . x .      next 4.6 h
 *
 * Order      Timers fire in order of their due tick; within one tick in the order
 *            they were started (those from beyond the reach excepted).
 * Ownership  A timer's memory is the caller's and must stay until it fired or
 *            was stopped.
 * Threads    One.
 * Source     Varghese and Lauck 1987.
 */
#ifndef ENGINE_TIMER_H
#define ENGINE_TIMER_H

#include "engine/base.h"

enum { TIMER_WHEELS = 4, TIMER_SLOTS = 64 };

struct timer {
    struct timer *next;
    struct timer **link; /* what points at this timer; NULL: not hanging */
    uint64_t due_ms;
    void (*fire)(struct timer *t); /* may start and stop any timer, also this one */
};

struct timer_wheel {
    uint64_t now_ms;                 /* all that was due up to here has fired */
    uint64_t occupied[TIMER_WHEELS]; /* a bit for each slot that is not empty */
    struct timer *slot[TIMER_WHEELS][TIMER_SLOTS];
    uint32_t count;
};

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms);

/* Hang `t` up to fire at `due_ms`; what is due already fires at the next
 * advance.  It must not be hanging. */
void timer_start(struct timer_wheel *w, struct timer *t, uint64_t due_ms,
                 void (*fire)(struct timer *t));

/* Take it down; nothing happens where it is not hanging (zeroed, fired, stopped). */
void timer_stop(struct timer_wheel *w, struct timer *t);

static inline bool timer_is_started(const struct timer *t) {
    return t->link != NULL;
}

/* Fire everything due at or before `now_ms`.  Returns how many fired. */
uint32_t timer_wheel_advance(struct timer_wheel *w, uint64_t now_ms);

/* When to advance next: not later than the earliest timer, possibly earlier
 * (when a coarse slot must be opened).  UINT64_MAX: nothing hangs. */
uint64_t timer_wheel_next_ms(const struct timer_wheel *w);

/* Assert every invariant. */
void timer_wheel_check(const struct timer_wheel *w);

#endif /* ENGINE_TIMER_H */
