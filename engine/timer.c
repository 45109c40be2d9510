/* timer.c -- the wheel: hang, take down, and turn.
 *
 * Wheel w has the slot (due >> 6w) & 63.  A timer hangs in the coarsest wheel in
 * which its due tick and now differ: there its slot lies ahead, and now enters it
 * exactly when the finer wheels can tell the timer from now.  In the top wheel a
 * slot at or before now's belongs to the next revolution.
 *
 * Invariants (timer_wheel_check):
 *   (1) a slot that is not empty has its bit in occupied[]; the reverse need not
 *       hold, for stopping does not look whether the slot became empty;
 *   (2) the slots hold exactly `count` timers, each in the slot of its due tick.
 *
 * A slot is a stack and is turned round when it is opened, so that timers of one
 * tick fire in the order they were started. */
#include "engine/timer.h"

enum {
    SLOT_BITS = 6,
    SLOT_MASK = TIMER_SLOTS - 1,
    TOP = TIMER_WHEELS - 1,
    TOP_SHIFT = SLOT_BITS * TOP,
    REACH_BITS = SLOT_BITS * TIMER_WHEELS
};

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms) {
    *w = (struct timer_wheel){.now_ms = now_ms};
}

static void hang(struct timer_wheel *w, struct timer *t, uint64_t due_ms) {
    uint64_t differs = due_ms ^ w->now_ms;
    uint32_t wheel = differs == 0 ? 0 : (uint32_t) (63 - __builtin_clzll(differs)) / SLOT_BITS;
    struct timer **slot;

    if ((due_ms - w->now_ms) >> REACH_BITS != 0)
        due_ms = w->now_ms; /* out of reach: look again in one revolution */
    wheel = EG_MIN(wheel, TOP);
    slot = &w->slot[wheel][due_ms >> (SLOT_BITS * wheel) & SLOT_MASK];
    w->occupied[wheel] |= UINT64_C(1) << (slot - w->slot[wheel]);

    t->next = *slot;
    if (t->next != NULL)
        t->next->link = &t->next;
    t->link = slot;
    *slot = t;
}

void timer_start(struct timer_wheel *w, struct timer *t, uint64_t due_ms,
                 void (*fire)(struct timer *t)) {
    EG_ASSERT(t->link == NULL);
    EG_ASSERT(fire != NULL);
    t->due_ms = due_ms;
    t->fire = fire;
    w->count++;
    hang(w, t, EG_MAX(due_ms, w->now_ms + 1));
}

void timer_stop(struct timer_wheel *w, struct timer *t) {
    if (t->link == NULL)
        return;
    *t->link = t->next;
    if (t->next != NULL)
        t->next->link = t->link;
    t->link = NULL;
    EG_ASSERT(w->count > 0);
    w->count--;
}

/* Empty a slot: its timers in the order they were hung up, *head linked as a slot. */
static void open_slot(struct timer_wheel *w, uint32_t wheel, struct timer **head) {
    uint32_t at = w->now_ms >> (SLOT_BITS * wheel) & SLOT_MASK;
    struct timer *t = w->slot[wheel][at];

    w->slot[wheel][at] = NULL;
    w->occupied[wheel] &= ~(UINT64_C(1) << at);
    *head = NULL;
    while (t != NULL) {
        struct timer *next = t->next;
        t->next = *head;
        if (t->next != NULL)
            t->next->link = &t->next;
        t->link = head;
        *head = t;
        t = next;
    }
}

/* Let the coarser slots that begin at this tick fall into finer wheels. */
static void cascade(struct timer_wheel *w) {
    for (uint32_t wheel = TOP; wheel > 0; wheel--) {
        struct timer *t;
        if ((w->now_ms & ((UINT64_C(1) << (SLOT_BITS * wheel)) - 1)) != 0)
            continue;
        open_slot(w, wheel, &t);
        while (t != NULL) {
            struct timer *next = t->next;
            hang(w, t, EG_MAX(t->due_ms, w->now_ms));
            t = next;
        }
    }
}

uint32_t timer_wheel_advance(struct timer_wheel *w, uint64_t now_ms) {
    uint32_t fired = 0;

    EG_ASSERT(now_ms < UINT64_MAX);
    for (uint64_t tick = timer_wheel_next_ms(w); tick <= now_ms; tick = timer_wheel_next_ms(w)) {
        struct timer *due;
        w->now_ms = tick;
        cascade(w);
        open_slot(w, 0, &due);
        while (due != NULL) {
            struct timer *t = due;
            timer_stop(w, t); /* it may be started again, or freed, in fire */
            fired++;
            t->fire(t);
        }
    }
    w->now_ms = EG_MAX(w->now_ms, now_ms);
    return fired;
}

uint64_t timer_wheel_next_ms(const struct timer_wheel *w) {
    if (w->count == 0)
        return UINT64_MAX;
    for (uint32_t wheel = 0; wheel < TIMER_WHEELS; wheel++) {
        uint32_t shift = SLOT_BITS * wheel;
        uint32_t now_slot = w->now_ms >> shift & SLOT_MASK;
        uint64_t ahead = w->occupied[wheel] & ~((UINT64_C(2) << now_slot) - 1);
        if (ahead != 0) {
            uint64_t slot = (uint64_t) __builtin_ctzll(ahead);
            return ((w->now_ms >> shift & ~(uint64_t) SLOT_MASK) | slot) << shift;
        }
    }
    EG_ASSERT(w->occupied[TOP] != 0);
    return ((w->now_ms >> REACH_BITS) + 1) << REACH_BITS |
           (uint64_t) __builtin_ctzll(w->occupied[TOP]) << TOP_SHIFT;
}

void timer_wheel_check(const struct timer_wheel *w) {
    uint32_t count = 0;
    for (uint32_t wheel = 0; wheel < TIMER_WHEELS; wheel++) {
        for (uint32_t at = 0; at < TIMER_SLOTS; at++) {
            const struct timer *t = w->slot[wheel][at];
            EG_ASSERT(t == NULL || (w->occupied[wheel] >> at & 1) != 0);
            for (; t != NULL; t = t->next, count++)
                EG_ASSERT(*t->link == t);
        }
    }
    EG_ASSERT(count == w->count);
}
