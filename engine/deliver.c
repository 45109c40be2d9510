/* deliver.c -- the way of a message from its sender into a mailbox.
 *
 *     try_send: one load of the pid table says where
 *        same scheduler ------------------------------> deliver
 *        other scheduler --> outbox --> its inbox -----> deliver, in its next turn
 *        from a foreign thread -------> its inbox -----> deliver, in its next turn
 *        to a foreign ----------------> its inbox
 *        other node --> route
 *
 * deliver either queues the message or, for the signals that tie actors, handles
 * it at once.  A message that meets nobody, or a full mailbox, is answered here
 * where its kind promises an answer. */
#include "engine/actor_private.h"

/* ---- lendable receivers: count what is under way ------------------------- */

/* False: the pid went stale meanwhile. */
static bool count_in(struct pid_entry *e, uint64_t word, uint32_t generation, struct message *m) {
    do {
        if (pid_word_generation(word) != generation || pid_word_home(word) == PID_HOME_NONE)
            return false;
        if (pid_word_queued(word) == PID_QUEUED_MAX)
            return true; /* uncounted: the actor is not idle anyway */
    } while (!atomic_compare_exchange_weak(&e->word, &word, word + PID_QUEUED_ONE));
    m->flags |= MESSAGE_COUNTED;
    return true;
}

static void count_out(struct actor *a, struct message *m) {
    if ((m->flags & MESSAGE_COUNTED) == 0)
        return;
    m->flags &= (uint16_t) ~MESSAGE_COUNTED;
    atomic_fetch_sub(&pid_entry_at(&a->home->rt->pids, a->slot)->word, PID_QUEUED_ONE);
}

/* ---- pressure --------------------------------------------------------------- */

static enum pressure pressure_of(const struct mailbox *box, enum pressure before) {
    uint32_t half = (box->bound_msgs + 1) / 2, quarter = (box->bound_msgs + 3) / 4;

    if (box->count_msgs >= box->bound_msgs || (before == PRESSURE_FULL && box->count_msgs >= half))
        return PRESSURE_FULL;
    if (box->count_msgs >= half || (before != PRESSURE_CALM && box->count_msgs >= quarter))
        return PRESSURE_HIGH;
    return PRESSURE_CALM;
}

static void update_pressure(struct actor *a) {
    struct runtime *rt = a->home->rt;
    _Atomic uint64_t *word = &pid_entry_at(&rt->pids, a->slot)->word;
    enum pressure now = pressure_of(&a->mailbox, a->pressure);
    uint64_t old, new;

    if (now == a->pressure)
        return;
    a->pressure = (uint8_t) now;
    old = atomic_load(word);
    do
        new = (old & ~(UINT64_C(3) << PID_PRESSURE_SHIFT)) | (uint64_t) now << PID_PRESSURE_SHIFT;
    while (!atomic_compare_exchange_weak(word, &old, new));
    if (rt->opts.on_pressure != NULL)
        rt->opts.on_pressure(rt->opts.arg, actor_pid(a), now);
}

void mailbox_shrank(struct actor *a) {
    if (EG_UNLIKELY(a->pressure != PRESSURE_CALM))
        update_pressure(a);
}

enum pressure runtime_pressure(struct runtime *rt, eg_pid pid) {
    uint64_t word;
    if (pid.node != rt->node || !pid_table_find(&rt->pids, pid.slot, pid.generation, &word))
        return PRESSURE_CALM;
    return (enum pressure) pid_word_pressure(word);
}

/* ---- sending ------------------------------------------------------------------ */

/* What was sent before goes first: a thread that hears "done" may act on it at once. */
static void send_to_foreign(struct scheduler *current, struct pid_entry *e, struct message *m) {
    if (current != NULL)
        scheduler_flush(current);
    foreign_push(atomic_load_explicit(&e->owner, memory_order_relaxed), m);
}

eg_err try_send(struct runtime *rt, struct scheduler *current, eg_pid from, eg_pid to,
                struct message *m) {
    struct pid_entry *e;
    uint64_t word;
    uint32_t home;

    m->from = from;
    m->to_slot = to.slot;
    m->to_generation = to.generation;
    if (EG_UNLIKELY(to.node != rt->node)) {
        const struct route *r = atomic_load_explicit(&rt->route, memory_order_acquire);
        return r == NULL ? EG_NO_REPLICA : r->send(r, to, m);
    }

    e = pid_table_find(&rt->pids, to.slot, to.generation, &word);
    if (EG_UNLIKELY(e == NULL))
        return EG_NOPROC;
    if (EG_UNLIKELY(pid_word_pressure(word) == PRESSURE_FULL) && m->kind <= MESSAGE_CALL) {
        if (current != NULL)
            stat_add(&current->stats.busy, 1);
        return EG_BUSY;
    }
    if ((word & PID_LENDABLE) != 0 && !count_in(e, word, to.generation, m))
        return EG_NOPROC;

    home = pid_word_home(word);
    if (current != NULL)
        stat_add(&current->stats.sent, 1);
    if (current != NULL && home == current->index)
        deliver(current, m);
    else if (home == PID_HOME_FOREIGN)
        send_to_foreign(current, e, m);
    else if (current != NULL)
        scheduler_push_out(current, home, m);
    else
        scheduler_push_inbox(rt->schedulers[home], m, m);
    return EG_OK;
}

void message_dispose(struct runtime *rt, struct message *m) {
    if (m->kind == MESSAGE_LINK || m->kind == MESSAGE_MONITOR) {
        struct bond *b = signal_bond(m);
        if (b != NULL)
            block_put(rt, b, 0);
    }
    message_free(rt, m);
}

void send_or_drop(struct runtime *rt, eg_pid from, eg_pid to, struct message *m) {
    if (try_send(rt, runtime_current(rt), from, to, m) != EG_OK)
        message_dispose(rt, m);
}

eg_err runtime_send(struct runtime *rt, eg_pid from, eg_pid to, struct message *m) {
    eg_err err;
    m->flags = 0;
    err = try_send(rt, runtime_current(rt), from, to, m);
    if (EG_UNLIKELY(err != EG_OK))
        message_dispose(rt, m);
    return err;
}

eg_err actor_send(struct actor *self, eg_pid to, struct message *m) {
    if (EG_UNLIKELY((actor_flags(self) & ACTOR_TRACED) != 0))
        actor_trace_send(self, to, m);
    return runtime_send(self->home->rt, actor_pid(self), to, m);
}

void actor_reply(struct actor *self, eg_pid to, eg_ref ref, struct message *m) {
    m->kind = MESSAGE_REPLY;
    m->ref = ref;
    /* Who asked may be gone by now: an answer to nobody is nobody's loss. */
    (void) actor_send(self, to, m);
}

void actor_reply_bytes(struct actor *self, eg_pid to, eg_ref ref, eg_err outcome, const void *bytes,
                       size_t size_bytes) {
    struct runtime *rt = self->home->rt;
    struct message *m = message_copy(rt, MESSAGE_REPLY, bytes, size_bytes);
    if (m == NULL) {
        outcome = EG_MEMORY;
        m = message_new(rt, MESSAGE_REPLY, 0);
    }
    if (m == NULL)
        return; /* not even 64 bytes: the caller's deadline answers */
    m->tag = (uint32_t) outcome;
    actor_reply(self, to, ref, m);
}

/* ---- receiving ---------------------------------------------------------------- */

void refuse_call(struct runtime *rt, struct message *m, eg_err why) {
    eg_pid caller = m->from;
    eg_pid callee = {rt->node, m->to_slot, m->to_generation};
    m->kind = MESSAGE_REPLY;
    m->tag = (uint32_t) why;
    m->flags = 0;
    if (m->block != BLOCK_LARGE) /* whose size its allocator must be told */
        m->size_bytes = 0;
    send_or_drop(rt, callee, caller, m);
}

void undeliverable(struct runtime *rt, struct message *m) {
    eg_pid nobody = {rt->node, m->to_slot, m->to_generation};
    eg_exit noproc = exit_reason(EG_EXIT_NOPROC);
    eg_pid from = m->from;
    struct message *answer;
    struct bond *b;

    switch (m->kind) {
    case MESSAGE_CALL:
        refuse_call(rt, m, EG_NOPROC);
        return;
    case MESSAGE_LINK:
    case MESSAGE_MONITOR:
        b = signal_bond(m);
        answer =
            message_of_exit(rt, m->kind == MESSAGE_LINK ? MESSAGE_EXIT : MESSAGE_DOWN, &noproc, b);
        if (answer != NULL) {
            answer->ref = m->ref;
            answer->flags = m->kind == MESSAGE_LINK ? MESSAGE_LINKED : 0;
            send_or_drop(rt, nobody, from, answer);
        }
        message_free(rt, m);
        return;
    default:
        message_dispose(rt, m);
    }
}

static void deliver_to_mailbox(struct scheduler *s, struct actor *a, struct message *m) {
    if (EG_UNLIKELY(a->mailbox.count_msgs >= a->mailbox.bound_msgs) && m->kind <= MESSAGE_CALL) {
        stat_add(&s->stats.busy, 1);
        count_out(a, m);
        if (m->kind == MESSAGE_CALL)
            refuse_call(s->rt, m, EG_BUSY);
        else
            message_free(s->rt, m);
        return;
    }
    mailbox_push(&a->mailbox, m);
    if (EG_UNLIKELY(a->mailbox.count_msgs >= (a->mailbox.bound_msgs + 1) / 2))
        update_pressure(a);
    scheduler_make_runnable(s, a);
}

static void run_post(struct scheduler *s, struct message *m) {
    const struct post *p = (const void *) m->payload;
    p->fn(s, p->arg);
    message_free(s->rt, m);
}

void deliver(struct scheduler *s, struct message *m) {
    struct actor *a;

    if (m->kind == MESSAGE_POST) {
        run_post(s, m);
        return;
    }
    a = scheduler_find(s, (eg_pid){s->rt->node, m->to_slot, m->to_generation});
    if (EG_UNLIKELY(a == NULL)) {
        stat_add(&s->stats.dropped, 1);
        undeliverable(s->rt, m);
        return;
    }
    if (EG_LIKELY(m->kind < MESSAGE_START)) {
        deliver_to_mailbox(s, a, m);
        return;
    }
    count_out(a, m);
    switch (m->kind) {
    case MESSAGE_START:
        actor_start(s, a, m);
        return;
    case MESSAGE_KILL:
        actor_set_flag(a, ACTOR_KILLED, true);
        scheduler_make_runnable(s, a);
        break;
    case MESSAGE_TRACE:
        actor_set_flag(a, ACTOR_TRACED, m->tag != 0);
        break;
    default:
        links_on_signal(a, m);
    }
    message_free(s->rt, m);
}
