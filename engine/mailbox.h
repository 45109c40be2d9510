/* mailbox.h -- the queue in front of one actor.
 *
 * Only the actor's scheduler touches it, so it is a plain list: what comes from
 * other threads has passed the scheduler's inbox.  It counts, and leaves to
 * actor.c what being full means.
 */
#ifndef ENGINE_MAILBOX_H
#define ENGINE_MAILBOX_H

#include "engine/message.h"

struct mailbox {
    struct message *oldest, *newest;
    uint32_t count_msgs;
    uint32_t bound_msgs;
};

static inline void mailbox_push(struct mailbox *box, struct message *m) {
    m->next = NULL;
    if (box->oldest == NULL)
        box->oldest = m;
    else
        box->newest->next = m;
    box->newest = m;
    box->count_msgs++;
}

/* The oldest message, or NULL. */
static inline struct message *mailbox_pop(struct mailbox *box) {
    struct message *m = box->oldest;
    if (m != NULL) {
        box->oldest = m->next;
        box->count_msgs--;
        if (m->next != NULL)
            EG_PREFETCH(m->next);
    }
    return m;
}

#endif /* ENGINE_MAILBOX_H */
