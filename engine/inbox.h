/* inbox.h -- messages from many threads to one.
 *
 * A stack in one word.  Senders push whole chains, the owner takes everything at
 * once and turns it round, so each sender's order comes out right.  The word also
 * says whether the owner sleeps (it then holds the inbox's own address), so one
 * compare-and-swap tells the pusher whether a wake is needed, and exactly one
 * pusher is told so.
 *
 * Threads    push and nudge: any.  The rest: the owner.
 * Source     The inbox of the C++ Actor Framework, Charousset et al. 2016.
 */
#ifndef ENGINE_INBOX_H
#define ENGINE_INBOX_H

#include "engine/message.h"

#include <stdatomic.h>

struct inbox {
    _Alignas(EG_CACHE_LINE) _Atomic(struct message *) top;
};

static inline struct message *inbox_asleep_mark(struct inbox *in) {
    return (struct message *) (void *) in; /* never a message: compared, not followed */
}

static inline void inbox_init(struct inbox *in) {
    atomic_init(&in->top, NULL);
}

/* Push the chain newest .. oldest, linked from the newest.  True: the owner slept
 * and the caller must wake it. */
EG_MUST_USE static inline bool inbox_push(struct inbox *in, struct message *newest,
                                          struct message *oldest) {
    struct message *mark = inbox_asleep_mark(in);
    struct message *top = atomic_load_explicit(&in->top, memory_order_relaxed);
    do
        oldest->next = top == mark ? NULL : top;
    while (!atomic_compare_exchange_weak(&in->top, &top, newest));
    return top == mark;
}

/* Everything pushed so far, oldest first, or NULL.  Not while asleep. */
static inline struct message *inbox_take(struct inbox *in) {
    struct message *oldest_first = NULL, *m;

    if (atomic_load_explicit(&in->top, memory_order_relaxed) == NULL)
        return NULL;
    m = atomic_exchange_explicit(&in->top, NULL, memory_order_acquire);
    EG_ASSERT(m != inbox_asleep_mark(in));
    while (m != NULL) {
        struct message *older = m->next;
        m->next = oldest_first;
        oldest_first = m;
        m = older;
    }
    return oldest_first;
}

static inline bool inbox_is_empty(struct inbox *in) {
    return atomic_load_explicit(&in->top, memory_order_relaxed) == NULL;
}

/* False when something is in it: do not sleep. */
EG_MUST_USE static inline bool inbox_sleep(struct inbox *in) {
    struct message *empty = NULL;
    return atomic_compare_exchange_strong(&in->top, &empty, inbox_asleep_mark(in));
}

/* The owner's end of a sleep, or another's reason to end it without a message.
 * True: it slept and this call ended that. */
static inline bool inbox_nudge(struct inbox *in) {
    struct message *mark = inbox_asleep_mark(in);
    if (atomic_load(&in->top) != mark)
        return false;
    return atomic_compare_exchange_strong(&in->top, &mark, NULL);
}

#endif /* ENGINE_INBOX_H */
