/* links.c -- links, monitors and timers of actors.
 *
 *     link(A, B):     A has LINK(B) at once, B has LINK(A) when the LINK arrives
 *     monitor(A, B):  A has MONITOR(ref), B has MONITORED(ref) when it arrives
 *     B ends:         EXIT or DOWN to every peer; it counts only where the peer
 *                     still has its bond when it comes out of the mailbox
 *
 * So unlinking, demonitoring and cancelling are local: they take the bond away,
 * and what is under way meets nothing.  Two actors that unlink and link each other
 * at the same moment may end unlinked.
 *
 * Memory     The initiator allocates both ends; see bond.h. */
#include "engine/actor_private.h"

#include <string.h>

/* ---- bonds ------------------------------------------------------------------ */

struct bond *bond_new(struct runtime *rt, enum bond_kind kind, uint32_t owner_slot, eg_pid peer,
                      eg_ref ref) {
    struct bond *b = block_get(rt, 0);
    if (b != NULL)
        *b = (struct bond){
            .kind = (uint8_t) kind, .owner_slot = owner_slot, .peer = peer, .ref = ref};
    return b;
}

void bond_attach(struct actor *a, struct bond *b) {
    EG_ASSERT(b->owner_slot == a->slot);
    list_push_back(&a->bonds, &b->in_owner);
    bond_table_add(&a->home->bonds, b);
}

static void detach(struct actor *a, struct bond *b) {
    list_remove(&b->in_owner);
    bond_table_remove(&a->home->bonds, b);
}

void bond_end(struct actor *a, struct bond *b) {
    struct runtime *rt = a->home->rt;
    detach(a, b);
    if (b->kind == BOND_TIMER) {
        struct timer_bond *t = EG_CONTAINER_OF(b, struct timer_bond, bond);
        timer_stop(&a->home->wheel, &t->timer);
        if (t->message != NULL)
            message_free(rt, t->message);
        block_put(rt, t, 1);
        return;
    }
    block_put(rt, b, 0);
}

static struct bond *find(struct actor *a, enum bond_kind kind, eg_pid peer, eg_ref ref) {
    return bond_table_find(&a->home->bonds, a->slot, kind, peer, ref);
}

/* ---- signals that carry or name a bond ----------------------------------------- */

struct bond *signal_bond(const struct message *m) {
    struct bond *b = NULL;
    if (m->size_bytes == sizeof b)
        memcpy(&b, m->payload, sizeof b);
    return b;
}

static struct message *signal_new(struct runtime *rt, enum message_kind kind, eg_ref ref,
                                  struct bond *b) {
    struct message *m = message_new(rt, kind, b == NULL ? 0 : sizeof b);
    if (m == NULL)
        return NULL;
    m->ref = ref;
    if (b != NULL)
        memcpy(m->payload, &b, sizeof b);
    return m;
}

/* `other` cannot be tied: tell `self` so, in the block that was to be its bond. */
static void tell_unreachable(struct actor *self, eg_pid other, enum message_kind kind, eg_ref ref,
                             eg_err why, void *spare) {
    struct runtime *rt = self->home->rt;
    eg_exit reason = exit_reason(why == EG_NOPROC ? EG_EXIT_NOPROC : EG_EXIT_NOCONNECTION);
    struct message *m = message_of_exit(rt, kind, &reason, spare);

    EG_ASSERT(m != NULL); /* there was a spare */
    m->ref = ref;
    m->flags = kind == MESSAGE_EXIT ? MESSAGE_LINKED : 0;
    send_or_drop(rt, other, actor_pid(self), m);
}

/* Make both ends of a tie and send the far one.  On EG_OK *near is attached. */
static eg_err tie(struct actor *self, eg_pid other, enum bond_kind near_kind,
                  enum bond_kind far_kind, eg_ref ref) {
    struct runtime *rt = self->home->rt;
    bool is_link = near_kind == BOND_LINK;
    struct bond *near = bond_new(rt, near_kind, self->slot, other, ref);
    struct bond *far = bond_new(rt, far_kind, other.slot, actor_pid(self), ref);
    struct message *m = signal_new(rt, is_link ? MESSAGE_LINK : MESSAGE_MONITOR, ref,
                                   other.node == rt->node ? far : NULL);
    eg_err err;

    if (near == NULL || far == NULL || m == NULL)
        goto no_memory;
    bond_attach(self, near);
    err = try_send(rt, self->home, actor_pid(self), other, m);
    if (err != EG_OK) {
        message_free(rt, m);
        tell_unreachable(self, other, is_link ? MESSAGE_EXIT : MESSAGE_DOWN, ref, err, far);
    } else if (other.node != rt->node) {
        block_put(rt, far, 0);
    }
    return EG_OK;

no_memory:
    if (m != NULL)
        message_free(rt, m);
    if (far != NULL)
        block_put(rt, far, 0);
    if (near != NULL)
        block_put(rt, near, 0);
    return EG_MEMORY;
}

/* Undo the far end of a tie, in the block of the near one. */
static void untie(struct actor *self, struct bond *near, enum message_kind kind) {
    eg_pid other = near->peer;
    eg_ref ref = near->ref;
    struct message *m;

    detach(self, near);
    m = message_in_block(near, 0, kind, 0);
    m->ref = ref;
    send_or_drop(self->home->rt, actor_pid(self), other, m);
}

eg_err actor_link(struct actor *self, eg_pid other) {
    if (eg_pid_equal(other, actor_pid(self)) || find(self, BOND_LINK, other, 0) != NULL)
        return EG_OK;
    return tie(self, other, BOND_LINK, BOND_LINK, 0);
}

void actor_unlink(struct actor *self, eg_pid other) {
    struct bond *b = find(self, BOND_LINK, other, 0);
    if (b != NULL)
        untie(self, b, MESSAGE_UNLINK);
}

eg_err actor_monitor(struct actor *self, eg_pid other, eg_ref *out) {
    eg_ref ref = actor_make_ref(self->home->rt);
    eg_err err = tie(self, other, BOND_MONITOR, BOND_MONITORED, ref);
    if (err == EG_OK)
        *out = ref;
    return err;
}

void actor_demonitor(struct actor *self, eg_ref monitor) {
    struct bond *b = find(self, BOND_MONITOR, EG_PID_NONE, monitor);
    if (b != NULL)
        untie(self, b, MESSAGE_DEMONITOR);
}

/* The other side ties or unties: at once, not in the mailbox's order, so that who
 * ties itself to a dying actor hears its true reason. */
void links_on_signal(struct actor *a, struct message *m) {
    struct bond *b;

    switch (m->kind) {
    case MESSAGE_LINK:
    case MESSAGE_MONITOR:
        b = signal_bond(m);
        EG_ASSERT(b != NULL);
        if (m->kind == MESSAGE_LINK && find(a, BOND_LINK, m->from, 0) != NULL)
            block_put(a->home->rt, b, 0); /* both linked at the same moment */
        else
            bond_attach(a, b);
        return;
    case MESSAGE_UNLINK:
        b = find(a, BOND_LINK, m->from, 0);
        break;
    default:
        EG_ASSERT(m->kind == MESSAGE_DEMONITOR);
        b = find(a, BOND_MONITORED, EG_PID_NONE, m->ref);
    }
    if (b != NULL)
        bond_end(a, b);
}

/* ---- death ---------------------------------------------------------------------- */

static void tell_peer(struct actor *a, struct bond *b, const eg_exit *reason) {
    struct runtime *rt = a->home->rt;
    bool is_link = b->kind == BOND_LINK;
    eg_pid peer = b->peer;
    eg_ref ref = b->ref;
    struct message *m = message_of_exit(rt, is_link ? MESSAGE_EXIT : MESSAGE_DOWN, reason, b);

    m->ref = ref;
    m->flags = is_link ? MESSAGE_LINKED : 0;
    send_or_drop(rt, actor_pid(a), peer, m);
}

void links_on_death(struct actor *a, const eg_exit *reason) {
    while (!list_is_empty(&a->bonds)) {
        struct bond *b = EG_CONTAINER_OF(a->bonds.next, struct bond, in_owner);
        switch (b->kind) {
        case BOND_LINK:
        case BOND_MONITORED:
            detach(a, b);
            tell_peer(a, b, reason);
            break;
        case BOND_MONITOR:
            untie(a, b, MESSAGE_DEMONITOR);
            break;
        default:
            bond_end(a, b);
        }
    }
}

/* ---- timers ----------------------------------------------------------------------- */

static void timer_bond_fire(struct timer *timer) {
    struct timer_bond *t = EG_CONTAINER_OF(timer, struct timer_bond, timer);
    struct actor *a = t->owner;
    struct message *m = t->message;

    t->message = NULL; /* the bond stays until the message is taken out */
    send_or_drop(a->home->rt, actor_pid(a), actor_pid(a), m);
}

eg_err actor_start_timer(struct actor *self, uint64_t delay_ms, struct message *m, eg_ref *out) {
    struct runtime *rt = self->home->rt;
    struct timer_bond *t = block_get(rt, 1);

    if (t == NULL) {
        message_free(rt, m);
        return EG_MEMORY;
    }
    *t = (struct timer_bond){.message = m, .owner = self};
    t->bond = (struct bond){.kind = BOND_TIMER,
                            .owner_slot = self->slot,
                            .peer = EG_PID_NONE,
                            .ref = actor_make_ref(rt)};
    m->kind = MESSAGE_TIMEOUT;
    m->flags = 0;
    m->ref = t->bond.ref;
    bond_attach(self, &t->bond);
    scheduler_timer_start(self->home, &t->timer, delay_ms, timer_bond_fire);
    *out = t->bond.ref;
    return EG_OK;
}

bool actor_cancel_timer(struct actor *self, eg_ref timer) {
    struct bond *b = find(self, BOND_TIMER, EG_PID_NONE, timer);
    if (b == NULL)
        return false;
    bond_end(self, b);
    return true;
}

void actor_timer_start(struct actor *self, struct timer *t, uint64_t delay_ms,
                       void (*fire)(struct timer *t)) {
    EG_ASSERT((actor_flags(self) & ACTOR_LENDABLE) == 0);
    scheduler_timer_start(self->home, t, delay_ms, fire);
}

void actor_timer_stop(struct actor *self, struct timer *t) {
    scheduler_timer_stop(self->home, t);
}
