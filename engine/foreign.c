/* foreign.c -- a thread of the embedding program among the actors.
 *
 * A foreign's inbox is a scheduler's inbox, so what a sender does is the same: one
 * compare-and-swap, and a wake only where the thread sleeps.
 *
 * Memory     A sender may hold a foreign for a moment after its pid went stale, so
 *            closed ones are kept by the runtime and used again; what arrives late
 *            is told by its generation and dropped. */
#include "engine/foreign.h"

#include "engine/actor_private.h"

struct foreign {
    struct inbox inbox;
    struct runtime *rt;
    struct waiter *waiter;
    struct message *oldest, *newest; /* taken from the inbox, not received yet */
    uint32_t slot, generation;
    struct foreign *next; /* in the runtime's pool */
};

/* A spin lock: opens and closes are rare and hold it for two stores. */
static void lock_pool(struct runtime *rt) {
    while (atomic_exchange_explicit(&rt->foreigns_locked, true, memory_order_acquire))
        ;
}
static void unlock_pool(struct runtime *rt) {
    atomic_store_explicit(&rt->foreigns_locked, false, memory_order_release);
}

static struct foreign *take_pooled(struct runtime *rt) {
    struct foreign *f;
    lock_pool(rt);
    f = rt->foreigns;
    if (f != NULL)
        rt->foreigns = f->next;
    unlock_pool(rt);
    return f;
}

static void give_pooled(struct foreign *f) {
    lock_pool(f->rt);
    f->next = f->rt->foreigns;
    f->rt->foreigns = f;
    unlock_pool(f->rt);
}

static eg_err foreign_new(struct foreign **out, struct runtime *rt) {
    struct foreign *f = alloc_map(rt->alloc, sizeof *f); /* for its alignment */
    eg_err err;

    if (f == NULL)
        return EG_MEMORY;
    err = rt->env->ops->waiter_open(rt->env, &f->waiter);
    if (err != EG_OK) {
        alloc_unmap(rt->alloc, f, sizeof *f);
        return err;
    }
    inbox_init(&f->inbox);
    f->rt = rt;
    *out = f;
    return EG_OK;
}

eg_err foreign_open(struct foreign **out, struct runtime *rt) {
    struct foreign *f = take_pooled(rt);
    eg_err err = EG_OK;

    if (f == NULL)
        err = foreign_new(&f, rt);
    if (err != EG_OK)
        return err;
    err = pid_table_take(&rt->pids, &f->slot, &f->generation);
    if (err != EG_OK) {
        give_pooled(f);
        return err;
    }
    pid_table_publish(&rt->pids, f->slot, f->generation, PID_HOME_FOREIGN, false, f);
    *out = f;
    return EG_OK;
}

/* Move what arrived behind what waits.  Links and monitors of a thread are refused:
 * its end is nothing that the runtime would see. */
static void take_arrived(struct foreign *f) {
    struct message *m = inbox_take(&f->inbox);

    while (m != NULL) {
        struct message *next = m->next;
        m->next = NULL;
        if (m->to_slot != f->slot || m->to_generation != f->generation ||
            m->kind >= MESSAGE_START) {
            undeliverable(f->rt, m);
        } else if (f->oldest == NULL) {
            f->oldest = f->newest = m;
        } else {
            f->newest->next = m;
            f->newest = m;
        }
        m = next;
    }
}

static void drop_all(struct foreign *f) {
    take_arrived(f);
    while (f->oldest != NULL) {
        struct message *m = f->oldest;
        f->oldest = m->next;
        undeliverable(f->rt, m);
    }
}

void foreign_close(struct foreign *f) {
    pid_table_release(&f->rt->pids, f->slot, f->generation);
    drop_all(f);
    give_pooled(f);
}

void foreigns_free(struct runtime *rt) {
    while (rt->foreigns != NULL) {
        struct foreign *f = rt->foreigns;
        rt->foreigns = f->next;
        drop_all(f);
        rt->env->ops->waiter_close(rt->env, f->waiter);
        alloc_unmap(rt->alloc, f, sizeof *f);
    }
}

void foreign_push(struct foreign *f, struct message *m) {
    if (inbox_push(&f->inbox, m, m))
        f->rt->env->ops->waiter_wake(f->rt->env, f->waiter);
}

eg_pid foreign_pid(const struct foreign *f) {
    return (eg_pid){f->rt->node, f->slot, f->generation};
}
struct runtime *foreign_runtime(const struct foreign *f) {
    return f->rt;
}

eg_err foreign_send(struct foreign *f, eg_pid to, struct message *m) {
    return runtime_send(f->rt, foreign_pid(f), to, m);
}

/* ---- waiting ----------------------------------------------------------------------- */

/* Sleep until something arrived or the deadline is over. */
static void sleep_until(struct foreign *f, uint64_t deadline_ns) {
    struct env *env = f->rt->env;
    uint64_t now_ns = env_now_ns(env);

    if (now_ns >= deadline_ns || !inbox_sleep(&f->inbox))
        return;
    env->ops->waiter_wait(env, f->waiter, deadline_ns - now_ns);
    inbox_nudge(&f->inbox); /* false: a message ended the sleep */
}

static uint64_t deadline_of(struct foreign *f, uint64_t timeout_ms) {
    uint64_t now_ns = env_now_ns(f->rt->env);
    return timeout_ms > (UINT64_MAX - now_ns) / 1000000 ? UINT64_MAX
                                                        : now_ns + timeout_ms * 1000000;
}

/* Take the REPLY with `ref` out of what arrived; older replies answer calls that were
 * given up. */
static struct message *take_reply(struct foreign *f, eg_ref ref) {
    struct message *found = NULL, *last = NULL;

    take_arrived(f);
    for (struct message **at = &f->oldest; *at != NULL;) {
        struct message *m = *at;
        if (m->kind != MESSAGE_REPLY) {
            last = m;
            at = &m->next;
            continue;
        }
        *at = m->next;
        if (m->ref == ref && found == NULL)
            found = m;
        else
            message_free(f->rt, m);
    }
    f->newest = last;
    return found;
}

eg_err foreign_call(struct foreign *f, eg_pid to, struct message *m, uint64_t timeout_ms,
                    struct message **reply) {
    uint64_t deadline_ns = deadline_of(f, timeout_ms);
    eg_ref ref = actor_make_ref(f->rt);
    eg_err err;

    m->kind = MESSAGE_CALL;
    m->ref = ref;
    err = foreign_send(f, to, m);
    if (err != EG_OK)
        return err;
    for (;;) {
        struct message *r = take_reply(f, ref);
        if (r != NULL && (r->tag == (uint32_t) EG_NOPROC || r->tag == (uint32_t) EG_BUSY)) {
            err = (eg_err) (int32_t) r->tag;
            message_free(f->rt, r);
            return err;
        }
        if (r != NULL) {
            *reply = r;
            return EG_OK;
        }
        if (env_now_ns(f->rt->env) >= deadline_ns)
            return EG_TIMEOUT;
        sleep_until(f, deadline_ns);
    }
}

struct message *foreign_receive(struct foreign *f, uint64_t timeout_ms) {
    uint64_t deadline_ns = deadline_of(f, timeout_ms);

    for (;;) {
        take_arrived(f);
        while (f->oldest != NULL) {
            struct message *m = f->oldest;
            f->oldest = m->next;
            if (m->kind != MESSAGE_REPLY)
                return m;
            message_free(f->rt, m);
        }
        if (env_now_ns(f->rt->env) >= deadline_ns)
            return NULL;
        sleep_until(f, deadline_ns);
    }
}

/* ---- watching ----------------------------------------------------------------------- */

eg_err foreign_monitor(struct foreign *f, eg_pid other, eg_ref *out) {
    struct runtime *rt = f->rt;
    eg_ref ref = actor_make_ref(rt);
    struct message *m;
    struct bond *far = bond_new(rt, BOND_MONITORED, other.slot, foreign_pid(f), ref);

    if (far == NULL)
        return EG_MEMORY;
    m = message_copy(rt, MESSAGE_MONITOR, &far, sizeof far);
    if (m == NULL) {
        block_put(rt, far, 0);
        return EG_MEMORY;
    }
    m->ref = ref;
    if (try_send(rt, runtime_current(rt), foreign_pid(f), other, m) != EG_OK) {
        undeliverable(rt, m); /* which answers with a DOWN */
    }
    *out = ref;
    return EG_OK;
}

void foreign_demonitor(struct foreign *f, eg_pid other, eg_ref monitor) {
    struct message *m = message_new(f->rt, MESSAGE_DEMONITOR, 0);
    if (m == NULL)
        return; /* then a DOWN may come; receivers tell by its ref */
    m->ref = monitor;
    send_or_drop(f->rt, foreign_pid(f), other, m);
}
