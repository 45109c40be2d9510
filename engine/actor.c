/* actor.c -- the life of an actor: spawn, messages, end.
 *
 * The end comes only here, between messages, so nothing is torn down under a
 * callback's feet: actor_exit() notes the reason, actor_dispatch() acts on it.
 *
 *     actor_end: terminate -> cleanups -> pid goes stale -> links and monitors
 *     hear -> waiting CALLs are refused -> memory goes */
#include "engine/actor_private.h"

#include "engine/arena.h"

#include <string.h>

enum { CLOCK_EVERY_MSGS = 16 };

struct start { /* payload of a START; a copy of the argument stands behind it */
    struct actor *actor;
    const void *arg;               /* NULL with arg_bytes > 0: the copy */
    _Alignas(16) size_t arg_bytes; /* so that the copy is aligned, too */
};

/* ---- small things ------------------------------------------------------------------ */

eg_pid actor_pid(const struct actor *self) {
    return (eg_pid){self->home->rt->node, self->slot, self->generation};
}
void *actor_state(struct actor *self) {
    return self + 1;
}
struct runtime *actor_runtime(const struct actor *self) {
    return self->home->rt;
}
struct scheduler *actor_scheduler(const struct actor *self) {
    return self->home;
}
struct alloc *actor_alloc(const struct actor *self) {
    return self->home->rt->alloc;
}
uint64_t actor_now_ms(const struct actor *self) {
    return scheduler_now_ms(self->home);
}
void actor_trap_exit(struct actor *self, bool on) {
    actor_set_flag(self, ACTOR_TRAP_EXIT, on);
}
void actor_set_label(struct actor *self, const char *label) {
    self->label = label;
}

struct arena *actor_arena(struct actor *self) {
    /* Refused memory leaves NULL, which is the answer. */
    if (self->arena == NULL && arena_open(&self->arena, actor_alloc(self)) != EG_OK)
        return NULL;
    return self->arena;
}

void actor_on_exit(struct actor *self, struct cleanup *c) {
    c->next = self->cleanups;
    self->cleanups = c;
}

void actor_cancel_on_exit(struct actor *self, struct cleanup *c) {
    for (struct cleanup **at = &self->cleanups; *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            return;
        }
    }
}

void actor_keep(struct actor *self, struct message *m) {
    EG_ASSERT(self->home->handling == m);
    self->home->handling = NULL;
}

/* ---- tracing -------------------------------------------------------------------------- */

static void trace(struct actor *a, enum trace_kind kind, eg_pid peer, const struct message *m,
                  const eg_exit *reason) {
    struct runtime *rt = a->home->rt;
    struct trace_event e = {.kind = kind,
                            .now_ns = env_now_ns(rt->env),
                            .pid = actor_pid(a),
                            .peer = peer,
                            .message = m,
                            .reason = reason};
    if (rt->opts.on_trace != NULL)
        rt->opts.on_trace(rt->opts.arg, &e);
}

static bool is_traced(const struct actor *a) {
    return EG_UNLIKELY((actor_flags(a) & ACTOR_TRACED) != 0);
}

void actor_trace_send(struct actor *a, eg_pid to, const struct message *m) {
    trace(a, TRACE_SEND, to, m, NULL);
}

/* ---- spawn ------------------------------------------------------------------------------ */

static eg_err actor_new(struct runtime *rt, struct scheduler *home, const struct spawn_opts *o,
                        struct actor *parent, struct actor **out) {
    uint8_t flags = ACTOR_STARTING;
    uint32_t state_bytes = o->state_bytes == 0 ? o->ops->state_bytes : o->state_bytes;
    size_t bytes = sizeof(struct actor) + state_bytes;
    struct actor *a = alloc_zero(rt->alloc, bytes);
    eg_err err;

    if (a == NULL)
        return EG_MEMORY;
    err = pid_table_take(&rt->pids, &a->slot, &a->generation);
    if (err != EG_OK) {
        alloc_put(rt->alloc, a, bytes);
        return err;
    }
    flags |= o->lendable ? ACTOR_LENDABLE : 0;
    flags |= o->trap_exit ? ACTOR_TRAP_EXIT : 0;
    atomic_init(&a->flags, flags);
    a->ops = o->ops;
    a->home = home;
    a->label = o->label;
    a->state_bytes = state_bytes;
    a->mailbox.bound_msgs = o->mailbox_bound == 0 ? MAILBOX_BOUND_DEFAULT : o->mailbox_bound;
    a->parent_slot = parent == NULL ? 0 : parent->slot;
    a->parent_generation = parent == NULL ? 0 : parent->generation;
    list_init(&a->bonds);
    *out = a;
    return EG_OK;
}

static void actor_free(struct actor *a) {
    struct runtime *rt = a->home->rt;
    if (a->arena != NULL)
        arena_close(a->arena);
    if (a->reason != NULL)
        block_put(rt, (void *) a->reason, 0); /* const to readers; ours to free */
    alloc_put(rt->alloc, a, sizeof *a + a->state_bytes);
}

/* The ties of a spawn_link or spawn_monitor: both ends, made before the actor can be
 * seen, so that nothing can fail once it lives. */
struct ties {
    struct bond *mine[2], *childs[2];
    eg_ref ref;
};

static void ties_free(struct runtime *rt, struct ties *t) {
    for (int i = 0; i < 2; i++) {
        if (t->mine[i] != NULL)
            block_put(rt, t->mine[i], 0);
        if (t->childs[i] != NULL)
            block_put(rt, t->childs[i], 0);
    }
}

static eg_err ties_make(struct actor *self, struct actor *child, const struct spawn_opts *o,
                        struct ties *t) {
    struct runtime *rt = child->home->rt;
    bool wanted[2] = {o->link, o->monitor};
    enum bond_kind mine[2] = {BOND_LINK, BOND_MONITOR}, childs[2] = {BOND_LINK, BOND_MONITORED};

    *t = (struct ties){.ref = o->monitor ? actor_make_ref(rt) : 0};
    for (int i = 0; i < 2; i++) {
        if (!wanted[i])
            continue;
        t->mine[i] = bond_new(rt, mine[i], self->slot, actor_pid(child), t->ref);
        t->childs[i] = bond_new(rt, childs[i], child->slot, actor_pid(self), t->ref);
        if (t->mine[i] == NULL || t->childs[i] == NULL) {
            ties_free(rt, t);
            return EG_MEMORY;
        }
    }
    return EG_OK;
}

static void ties_attach(struct actor *self, struct actor *child, const struct ties *t) {
    for (int i = 0; i < 2; i++) {
        if (t->mine[i] == NULL)
            continue;
        bond_attach(self, t->mine[i]);
        if (child->home == self->home)
            bond_attach(child, t->childs[i]);
        else /* its scheduler hashes them when it starts */
            list_push_back(&child->bonds, &t->childs[i]->in_owner);
    }
}

/* What actor_exit() said. */
static const eg_exit *stop_reason(const struct actor *a) {
    static const eg_exit no_memory = {EG_EXIT_CRASH, EG_MEMORY, ""};
    return a->reason != NULL ? a->reason : &no_memory;
}

/* An actor that init refused, as it concerns who spawned it here. */
static eg_err error_of(const eg_exit *reason) {
    if (reason->kind != EG_EXIT_CRASH)
        return EG_ABORTED;
    return reason->code < 0 ? (eg_err) reason->code : EG_INTERNAL;
}

/* Run init.  The actor is running and, if lendable, lent. */
static eg_err run_init(struct scheduler *s, struct actor *a, const void *arg) {
    struct actor *outer = s->running;
    struct message *handling = s->handling;
    eg_err err = EG_OK;

    s->running = a;
    s->handling = NULL;
    a->status = ACTOR_RUNNING;
    if (a->ops->init != NULL)
        err = a->ops->init(a, actor_state(a), arg);
    if (err == EG_OK && (actor_flags(a) & ACTOR_STOPPING) != 0)
        err = error_of(stop_reason(a));
    s->running = outer;
    s->handling = handling;
    return err;
}

static void end_in_init(struct scheduler *s, struct actor *a, eg_err err) {
    eg_exit refused = exit_crash(err, "init: %s", eg_err_text(err));
    actor_end(s, a, (actor_flags(a) & ACTOR_STOPPING) != 0 ? stop_reason(a) : &refused);
}

/* Hand it to who asked for it, unless he has changed his mind.  The last touch: from then on
 * it is his. */
static bool lend(struct actor *a, struct loan *l, uint64_t number) {
    uint64_t asked = 2 * number;

    l->actor = a;
    return atomic_compare_exchange_strong(&l->word, &asked, asked + 1);
}

/* Give the actor back to who may run or claim it next. */
static void settle(struct scheduler *s, struct actor *a, uint64_t counted, struct loan *loan) {
    _Atomic uint64_t *word = &pid_entry_at(&s->rt->pids, a->slot)->word;

    a->status = ACTOR_WAITING;
    if (a->mailbox.oldest != NULL || (actor_flags(a) & ACTOR_KILLED) != 0)
        scheduler_make_runnable(s, a);
    if ((actor_flags(a) & ACTOR_LENDABLE) == 0)
        return;
    /* What it sent must be on its way before another thread sends in its name. */
    scheduler_flush(s);
    if (EG_LIKELY(loan == NULL)) {
        atomic_fetch_sub(word, PID_LENT + counted * PID_QUEUED_ONE);
        return;
    }
    atomic_fetch_sub(word, counted * PID_QUEUED_ONE);
    if (!lend(a, loan, s->loan_number))
        atomic_fetch_sub(word, PID_LENT);
}

static void publish(struct actor *a) {
    pid_table_publish(&a->home->rt->pids, a->slot, a->generation, a->home->index,
                      (actor_flags(a) & ACTOR_LENDABLE) != 0, a);
}

static eg_err spawn_here(struct scheduler *s, struct actor *self, struct actor *a,
                         const struct spawn_opts *o, struct ties *ties) {
    eg_err err;

    publish(a);
    err = run_init(s, a, o->arg);
    if (err != EG_OK) {
        ties_free(s->rt, ties);
        end_in_init(s, a, err);
        return err;
    }
    actor_set_flag(a, ACTOR_STARTING, false);
    stat_add(&s->stats.spawned, 1);
    if (self != NULL)
        ties_attach(self, a, ties);
    if (is_traced(a))
        trace(a, TRACE_SPAWN, self == NULL ? EG_PID_NONE : actor_pid(self), NULL, NULL);
    settle(s, a, 0, NULL);
    return EG_OK;
}

static struct message *start_message(struct runtime *rt, struct actor *a,
                                     const struct spawn_opts *o) {
    struct start start = {a, o->arg_bytes > 0 ? NULL : o->arg, o->arg_bytes};
    struct message *m = message_new(rt, MESSAGE_START, sizeof start + o->arg_bytes);
    if (m == NULL)
        return NULL;
    memcpy(m->payload, &start, sizeof start);
    if (o->arg_bytes > 0)
        memcpy(m->payload + sizeof start, o->arg, o->arg_bytes);
    return m;
}

static struct scheduler *place(struct runtime *rt, struct scheduler *current, int32_t where) {
    uint32_t at;
    if (where == SPAWN_HERE && current != NULL)
        return current;
    if (where > 0) {
        EG_ASSERT((uint32_t) where <= rt->scheduler_count);
        return rt->schedulers[where - 1];
    }
    at = atomic_fetch_add_explicit(&rt->next_scheduler, 1, memory_order_relaxed);
    return rt->schedulers[at % rt->scheduler_count];
}

eg_err actor_spawn(struct runtime *rt, struct actor *self, const struct spawn_opts *o, eg_pid *out,
                   eg_ref *monitor) {
    struct scheduler *current = runtime_current(rt);
    struct scheduler *home = place(rt, current, o->scheduler);
    struct message *start = NULL;
    struct ties ties = {0};
    struct actor *a;
    eg_pid pid;
    eg_err err;

    EG_ASSERT(self != NULL || (!o->link && !o->monitor));
    EG_ASSERT(self == NULL || self->home == current);
    EG_ASSERT(o->mailbox_bound <= MAILBOX_BOUND_MAX);
    err = actor_new(rt, home, o, self, &a);
    if (err != EG_OK)
        return err;
    pid = actor_pid(a);
    if (self != NULL && (err = ties_make(self, a, o, &ties)) != EG_OK)
        goto forget;

    if (home == current) {
        err = spawn_here(current, self, a, o, &ties);
        if (err != EG_OK)
            return err;
    } else {
        start = start_message(rt, a, o);
        if (start == NULL) {
            err = EG_MEMORY;
            goto untie;
        }
        if (self != NULL)
            ties_attach(self, a, &ties);
        publish(a);
        err = try_send(rt, current, self == NULL ? EG_PID_NONE : actor_pid(self), pid, start);
        EG_ASSERT(err == EG_OK); /* it was just published */
    }
    *out = pid;
    if (o->monitor && monitor != NULL)
        *monitor = ties.ref;
    return EG_OK;

untie:
    ties_free(rt, &ties);
forget:
    pid_table_release(&rt->pids, a->slot, a->generation);
    actor_free(a);
    return err;
}

/* Bonds that were made before this scheduler knew the actor. */
static void adopt_bonds(struct actor *a) {
    for (struct list_node *n = a->bonds.next; n != &a->bonds; n = n->next) {
        struct bond *b = EG_CONTAINER_OF(n, struct bond, in_owner);
        if (!b->hashed)
            bond_table_add(&a->home->bonds, b);
    }
}

void actor_start(struct scheduler *s, struct actor *a, struct message *m) {
    struct start start;
    eg_err err;

    memcpy(&start, m->payload, sizeof start);
    EG_ASSERT(start.actor == a);
    adopt_bonds(a);
    err = run_init(s, a, start.arg_bytes > 0 ? m->payload + sizeof start : start.arg);
    message_free(s->rt, m);
    if (err != EG_OK) {
        end_in_init(s, a, err);
        return;
    }
    actor_set_flag(a, ACTOR_STARTING, false);
    stat_add(&s->stats.spawned, 1);
    settle(s, a, 0, NULL);
}

/* ---- end --------------------------------------------------------------------------------- */

void actor_exit(struct actor *self, const eg_exit *reason) {
    struct runtime *rt = self->home->rt;
    eg_exit *copy;

    if (runtime_current(rt) != self->home || self->home->running != self) {
        /* Lent, or in a hook or timer: it hears of it in its next turn. */
        struct message *m = message_of_signal(rt, reason, false);
        m->flags = MESSAGE_QUIT;
        send_or_drop(rt, actor_pid(self), actor_pid(self), m);
        return;
    }
    if ((actor_flags(self) & ACTOR_STOPPING) != 0)
        return;
    actor_set_flag(self, ACTOR_STOPPING, true);
    copy = block_get(rt, 0);
    if (copy == NULL)
        return; /* it ends all the same, for want of memory */
    *copy = *reason;
    self->reason = copy;
}

void actor_exit_normal(struct actor *self) {
    eg_exit normal = exit_reason(EG_EXIT_NORMAL);
    actor_exit(self, &normal);
}

void actor_exit_send(struct runtime *rt, eg_pid from, eg_pid to, const eg_exit *reason) {
    send_or_drop(rt, from, to, message_of_signal(rt, reason, reason->kind == EG_EXIT_KILL));
}

static void run_cleanups(struct actor *a) {
    while (a->cleanups != NULL) {
        struct cleanup *c = a->cleanups;
        a->cleanups = c->next;
        c->run(c);
    }
}

static void drop_mailbox(struct actor *a) {
    struct message *m;
    while ((m = mailbox_pop(&a->mailbox)) != NULL)
        undeliverable(a->home->rt, m);
}

void actor_end(struct scheduler *s, struct actor *a, const eg_exit *reason) {
    struct actor *outer = s->running;
    eg_exit why = *reason;
    uint8_t flags = actor_flags(a);

    if (why.kind == EG_EXIT_KILL)
        why.kind = EG_EXIT_KILLED; /* what a kill looks like to the linked */
    a->status = ACTOR_EXITING;
    actor_set_flag(a, ACTOR_STOPPING, true);
    s->running = a;
    if (a->ops->terminate != NULL && (flags & (ACTOR_KILLED | ACTOR_STARTING)) == 0)
        a->ops->terminate(a, actor_state(a), &why);
    run_cleanups(a);
    s->running = outer;
    if (is_traced(a))
        trace(a, TRACE_EXIT, EG_PID_NONE, NULL, &why);
    if ((flags & ACTOR_STARTING) == 0)
        stat_add(&s->stats.exited, 1);

    pid_table_release(&s->rt->pids, a->slot, a->generation);
    links_on_death(a, &why);
    drop_mailbox(a);
    actor_free(a);
}

/* ---- messages ------------------------------------------------------------------------------ */

static void receive(struct scheduler *s, struct actor *a, struct message *m) {
    if (is_traced(a))
        trace(a, TRACE_RECEIVE, m->from, m, NULL);
    s->handling = m;
    a->ops->receive(a, actor_state(a), m);
    if (EG_LIKELY(s->handling != NULL))
        message_free(s->rt, m);
    s->handling = NULL;
}

static void handle_exit(struct scheduler *s, struct actor *a, struct message *m) {
    eg_exit reason = message_exit(m);
    bool quit = (m->flags & MESSAGE_QUIT) != 0;

    if ((m->flags & MESSAGE_LINKED) != 0) {
        struct bond *b = bond_table_find(&s->bonds, a->slot, BOND_LINK, m->from, 0);
        if (b == NULL) { /* unlinked meanwhile */
            message_free(s->rt, m);
            return;
        }
        bond_end(a, b);
    }
    if (!quit && (actor_flags(a) & ACTOR_TRAP_EXIT) != 0) {
        receive(s, a, m);
        return;
    }
    if (quit || reason.kind != EG_EXIT_NORMAL)
        actor_exit(a, &reason);
    message_free(s->rt, m);
}

/* DOWN and TIMEOUT count only where their bond is still there. */
static void handle_bound(struct scheduler *s, struct actor *a, struct message *m) {
    enum bond_kind kind = m->kind == MESSAGE_DOWN ? BOND_MONITOR : BOND_TIMER;
    struct bond *b = bond_table_find(&s->bonds, a->slot, kind, EG_PID_NONE, m->ref);
    if (b == NULL) {
        message_free(s->rt, m);
        return;
    }
    bond_end(a, b);
    receive(s, a, m);
}

static void handle(struct scheduler *s, struct actor *a, struct message *m) {
    if (EG_LIKELY(m->kind <= MESSAGE_REPLY))
        receive(s, a, m);
    else if (m->kind == MESSAGE_EXIT)
        handle_exit(s, a, m);
    else
        handle_bound(s, a, m);
}

static bool claim_at_home(struct scheduler *s, struct actor *a) {
    _Atomic uint64_t *word = &pid_entry_at(&s->rt->pids, a->slot)->word;
    return (atomic_fetch_or(word, PID_LENT) & PID_LENT) == 0;
}

bool actor_dispatch(struct scheduler *s, struct actor *a, uint32_t msgs) {
    uint64_t counted = 0, started_ns = s->now_ns;
    uint32_t handled = 0;
    struct loan *loan;
    uint8_t flags;

    if ((actor_flags(a) & ACTOR_LENDABLE) != 0 && !claim_at_home(s, a))
        return false;
    s->running = a;
    a->status = ACTOR_RUNNING;
    while (handled < msgs && s->loan == NULL &&
           (actor_flags(a) & (ACTOR_KILLED | ACTOR_STOPPING)) == 0) {
        struct message *m = mailbox_pop(&a->mailbox);
        if (m == NULL)
            break;
        counted += (m->flags & MESSAGE_COUNTED) != 0;
        handled++;
        handle(s, a, m);
        if (handled % CLOCK_EVERY_MSGS == 0 &&
            (s->now_ns = env_now_ns(s->rt->env)) - started_ns > DISPATCH_NS)
            break;
    }
    s->running = NULL;
    loan = s->loan;
    s->loan = NULL;
    stat_add(&a->handled_msgs, handled);
    stat_add(&s->stats.handled, handled);

    flags = actor_flags(a);
    if (EG_UNLIKELY((flags & (ACTOR_KILLED | ACTOR_STOPPING)) != 0)) {
        eg_exit killed = exit_reason(EG_EXIT_KILLED);
        actor_end(s, a, (flags & ACTOR_KILLED) != 0 ? &killed : stop_reason(a));
        return true;
    }
    mailbox_shrank(a);
    settle(s, a, counted, loan);
    return true;
}

/* ---- lending ------------------------------------------------------------------------------- */

struct actor *actor_claim(struct runtime *rt, eg_pid pid) {
#ifdef EG_PLANT_LENT_TWICE /* a defect for the stress test to find */
    const uint64_t busy = PID_QUEUED_MAX << 1;
#else
    const uint64_t busy = PID_LENT | PID_QUEUED_MAX << 1;
#endif
    uint64_t word;
    struct pid_entry *e = pid_table_find(&rt->pids, pid.slot, pid.generation, &word);

    if (e == NULL || pid.node != rt->node)
        return NULL;
    if ((word & (PID_LENDABLE | busy)) != PID_LENDABLE)
        return NULL;
    if (!atomic_compare_exchange_strong(&e->word, &word, word | PID_LENT))
        return NULL;
    return atomic_load_explicit(&e->owner, memory_order_relaxed);
}

void actor_release(struct actor *self) {
    struct scheduler *home = self->home; /* self may be gone after the release */
    struct runtime *rt = home->rt;
    struct scheduler *current = runtime_current(rt);
    _Atomic uint64_t *word = &pid_entry_at(&rt->pids, self->slot)->word;

    stat_add(&self->handled_msgs, 1);
    if (current != NULL)
        scheduler_flush(current); /* before another thread sends in its name */
    if (pid_word_queued(atomic_fetch_sub(word, PID_LENT)) > 0)
        scheduler_nudge(home); /* it may sleep because all it has to run is lent */
}

void actor_lend(struct actor *self, struct loan *l, uint64_t number) {
    EG_ASSERT(self->home->running == self);
    EG_ASSERT((actor_flags(self) & ACTOR_LENDABLE) != 0);
    EG_ASSERT(self->home->loan == NULL);
    self->home->loan = l;
    self->home->loan_number = number;
}

/* ---- looking ----------------------------------------------------------------------------------
 */

void actor_describe(struct actor *a, struct actor_info *out) {
    uint8_t flags = actor_flags(a);
    uint64_t word = atomic_load(&pid_entry_at(&a->home->rt->pids, a->slot)->word);

    *out = (struct actor_info){
        .pid = actor_pid(a),
        .name = a->ops->name,
        .label = a->label,
        .status = (enum actor_status) a->status,
        .scheduler = a->home->index,
        .mailbox_msgs = a->mailbox.count_msgs,
        .mailbox_bound = a->mailbox.bound_msgs,
        .handled_msgs = atomic_load_explicit(&a->handled_msgs, memory_order_relaxed),
        .memory_bytes = sizeof *a + a->state_bytes,
        .trap_exit = (flags & ACTOR_TRAP_EXIT) != 0,
        .lendable = (flags & ACTOR_LENDABLE) != 0,
        .traced = (flags & ACTOR_TRACED) != 0,
    };
    out->lent = out->lendable && (word & PID_LENT) != 0 && out->status != ACTOR_RUNNING;
    if (a->parent_generation != 0)
        out->parent = (eg_pid){a->home->rt->node, a->parent_slot, a->parent_generation};
    if (a->arena != NULL)
        out->memory_bytes += arena_bytes(a->arena);
    for (const struct message *m = a->mailbox.oldest; m != NULL; m = m->next)
        out->memory_bytes += sizeof *m + m->size_bytes;
    for (const struct list_node *n = a->bonds.next; n != &a->bonds; n = n->next) {
        const struct bond *b = EG_CONTAINER_OF(n, const struct bond, in_owner);
        out->links += b->kind == BOND_LINK;
        out->monitors += b->kind == BOND_MONITOR;
        out->monitored_by += b->kind == BOND_MONITORED;
    }
}
