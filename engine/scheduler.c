/* scheduler.c -- turns, the run queue, outboxes and sleep.
 *
 * Invariants:
 *   (1) an actor is in the run queue exactly while its status is RUNNABLE;
 *   (2) outbox_dirty[] lists exactly the outboxes that are not empty;
 *   (3) while the inbox is marked asleep, no turn is given. */
#include "engine/actor_private.h"

#include "engine/epoch.h"

_Static_assert((int) SCHEDULERS_MAX == (int) PID_HOME_FOREIGN, "the pid table's home is a byte");

/* ---- open, close ---------------------------------------------------------------- */

eg_err scheduler_open(struct scheduler **out, struct runtime *rt, uint32_t index) {
    uint32_t count = rt->scheduler_count;
    struct scheduler *s = alloc_map(rt->alloc, sizeof *s); /* for its alignment */

    if (s == NULL)
        return EG_MEMORY;
    inbox_init(&s->inbox);
    s->rt = rt;
    s->index = index;
    s->now_ns = env_now_ns(rt->env);
    list_init(&s->hooks);
    timer_wheel_init(&s->wheel, scheduler_now_ms(s));
    s->outboxes = alloc_zero(rt->alloc, count * sizeof *s->outboxes);
    if (s->outboxes == NULL)
        goto put_scheduler;
    s->outbox_dirty = alloc_zero(rt->alloc, count * sizeof *s->outbox_dirty);
    if (s->outbox_dirty == NULL)
        goto put_outboxes;
    if (bond_table_open(&s->bonds, rt->alloc) != EG_OK)
        goto put_dirty;
    *out = s;
    return EG_OK;

put_dirty:
    alloc_put(rt->alloc, s->outbox_dirty, count * sizeof *s->outbox_dirty);
put_outboxes:
    alloc_put(rt->alloc, s->outboxes, count * sizeof *s->outboxes);
put_scheduler:
    alloc_unmap(rt->alloc, s, sizeof *s);
    return EG_MEMORY;
}

void scheduler_close(struct scheduler *s) {
    struct runtime *rt = s->rt;
    EG_ASSERT(s->run_oldest == NULL);
    EG_ASSERT(s->outbox_dirty_count == 0);
    block_pool_drain(&s->blocks, rt->alloc);
    bond_table_close(&s->bonds);
    alloc_put(rt->alloc, s->outbox_dirty, rt->scheduler_count * sizeof *s->outbox_dirty);
    alloc_put(rt->alloc, s->outboxes, rt->scheduler_count * sizeof *s->outboxes);
    alloc_unmap(rt->alloc, s, sizeof *s);
}

/* ---- the run queue ----------------------------------------------------------------- */

static void run_queue_push(struct scheduler *s, struct actor *a) {
    a->run_next = NULL;
    if (s->run_oldest == NULL)
        s->run_oldest = a;
    else
        s->run_newest->run_next = a;
    s->run_newest = a;
    s->run_count++;
}

static struct actor *run_queue_pop(struct scheduler *s) {
    struct actor *a = s->run_oldest;
    if (a != NULL) {
        s->run_oldest = a->run_next;
        s->run_count--;
    }
    return a;
}

void scheduler_make_runnable(struct scheduler *s, struct actor *a) {
    if (a->status != ACTOR_WAITING || (actor_flags(a) & ACTOR_STARTING) != 0)
        return;
    a->status = ACTOR_RUNNABLE;
    run_queue_push(s, a);
}

/* ---- to other schedulers --------------------------------------------------------------- */

void scheduler_push_inbox(struct scheduler *to, struct message *newest, struct message *oldest) {
    if (inbox_push(&to->inbox, newest, oldest))
        to->rt->driver->wake(to->driver);
}

void scheduler_nudge(struct scheduler *s) {
    if (inbox_nudge(&s->inbox))
        s->rt->driver->wake(s->driver);
}

static void flush_one(struct scheduler *s, uint32_t to) {
    struct outbox *out = &s->outboxes[to];
    struct scheduler *receiver = s->rt->schedulers[to];

    stat_add(&s->stats.remote, out->count);
    if (inbox_push(&receiver->inbox, out->newest, out->oldest)) {
        stat_add(&s->stats.wakes, 1);
        s->rt->driver->wake(receiver->driver);
    }
    *out = (struct outbox){0};
}

void scheduler_push_out(struct scheduler *s, uint32_t to, struct message *m) {
    struct outbox *out = &s->outboxes[to];

    m->next = out->newest;
    out->newest = m;
    if (out->count++ == 0) {
        out->oldest = m;
        s->outbox_dirty[s->outbox_dirty_count++] = to;
    }
    if (out->count >= OUTBOX_BATCH)
        scheduler_flush(s);
}

void scheduler_flush(struct scheduler *s) {
    for (uint32_t i = 0; i < s->outbox_dirty_count; i++)
        flush_one(s, s->outbox_dirty[i]);
    s->outbox_dirty_count = 0;
}

static void take_inbox(struct scheduler *s) {
    struct message *m = inbox_take(&s->inbox);
    while (m != NULL) {
        struct message *next = m->next;
        if (next != NULL)
            EG_PREFETCH(next);
        s->visited |= m->kind != MESSAGE_POST; /* which it often sends itself */
        deliver(s, m);
        m = next;
    }
}

/* ---- a turn -------------------------------------------------------------------------- */

/* Another turn is wanted: a hook says so, or has made an actor runnable. */
static bool run_hooks(struct scheduler *s) {
    uint32_t runnable = s->run_count;
    bool again = false;
    struct list_node *n = s->hooks.next;

    while (n != &s->hooks) {
        struct turn_hook *h = EG_CONTAINER_OF(n, struct turn_hook, node);
        s->next_hook = n->next; /* scheduler_remove_hook() moves it on */
        again |= h->run(h);
        n = s->next_hook;
    }
    return again || s->run_count > runnable;
}

static void quiescent(struct scheduler *s) {
    if (s->epoch != NULL)
        epoch_quiescent(s->epoch);
}

/* Dispatch until the budget is used, nothing is runnable, or all that is, is lent. */
static bool run_actors(struct scheduler *s, uint32_t dispatches, uint32_t msgs) {
    uint32_t lent_in_a_row = 0;
    bool progress = false;

    while (dispatches > 0 && s->run_count > lent_in_a_row) {
        struct actor *a = run_queue_pop(s);
        if (actor_dispatch(s, a, msgs)) {
            dispatches--;
            lent_in_a_row = 0;
            progress = true;
            stat_add(&s->stats.dispatches, 1);
        } else {
            lent_in_a_row++;
            run_queue_push(s, a);
        }
        quiescent(s);
    }
    return progress;
}

enum turn_result scheduler_turn(struct scheduler *s, uint32_t dispatches, uint32_t msgs) {
    struct scheduler *outer = runtime_set_current(s);
    bool progress, again;

    s->now_ns = env_now_ns(s->rt->env);
    stat_add(&s->stats.turns, 1);
    if (EG_UNLIKELY(reserve_is_short(&s->rt->reserve)))
        reserve_fill(&s->rt->reserve);
    take_inbox(s);
    timer_wheel_advance(&s->wheel, scheduler_now_ms(s));
    progress = run_actors(s, dispatches, msgs);
    again = run_hooks(s);
    scheduler_flush(s);
    quiescent(s);
    runtime_set_current(outer);

    if (again || (progress && s->run_count > 0))
        return TURN_BUSY;
    return s->run_count > 0 ? TURN_STALLED : TURN_IDLE;
}

/* ---- sleep ---------------------------------------------------------------------------- */

/* Whether all runnable actors are lent.  Looked at after the inbox was marked: who
 * releases one clears the lent bit first and looks at the mark then. */
static bool all_are_lent(struct scheduler *s) {
    for (const struct actor *a = s->run_oldest; a != NULL; a = a->run_next) {
        uint64_t word = atomic_load(&pid_entry_at(&s->rt->pids, a->slot)->word);
        if ((word & PID_LENT) == 0)
            return false;
    }
    return true;
}

bool scheduler_linger(struct scheduler *s) {
    enum { LOOKS = 100 }; /* some microseconds */

    if (!s->visited)
        return false;
    for (int i = 0; i < LOOKS; i++) {
        if (!inbox_is_empty(&s->inbox))
            return true;
        EG_CPU_RELAX();
    }
    s->visited = false;
    return false;
}

void scheduler_expect(struct scheduler *s) {
    s->expects_since_ns = s->now_ns;
}

bool scheduler_expects(const struct scheduler *s, uint64_t wait_ns) {
    uint64_t until_ns = s->expects_since_ns + wait_ns;

    return until_ns > s->now_ns && env_now_ns(s->rt->env) < until_ns;
}

bool scheduler_sleep(struct scheduler *s) {
    if (!inbox_sleep(&s->inbox))
        return false;
    if (!all_are_lent(s)) {
        inbox_nudge(&s->inbox); /* whether or not another did so first */
        return false;
    }
    if (s->epoch != NULL)
        epoch_offline(s->epoch);
    stat_add(&s->stats.sleeps, 1);
    return true;
}

void scheduler_awake(struct scheduler *s) {
    inbox_nudge(&s->inbox); /* false: somebody else woke it */
    if (s->epoch != NULL)
        epoch_online(s->epoch);
}

uint64_t scheduler_next_ns(const struct scheduler *s) {
    uint64_t next_ms = timer_wheel_next_ms(&s->wheel);
    return next_ms > UINT64_MAX / 1000000 ? UINT64_MAX : next_ms * 1000000;
}

/* ---- for layers that live on a scheduler ------------------------------------------------- */

uint32_t scheduler_index(const struct scheduler *s) {
    return s->index;
}
struct runtime *scheduler_runtime(const struct scheduler *s) {
    return s->rt;
}
uint64_t scheduler_now_ns(const struct scheduler *s) {
    return s->now_ns;
}
struct epoch_slot *scheduler_epoch(const struct scheduler *s) {
    return s->epoch;
}
bool scheduler_is_current(const struct scheduler *s) {
    return runtime_current(s->rt) == s;
}
void *scheduler_user(const struct scheduler *s) {
    return s->user;
}
void scheduler_set_user(struct scheduler *s, void *user) {
    s->user = user;
}

void scheduler_add_hook(struct scheduler *s, struct turn_hook *h) {
    list_push_back(&s->hooks, &h->node);
}

void scheduler_remove_hook(struct scheduler *s, struct turn_hook *h) {
    if (s->next_hook == &h->node)
        s->next_hook = h->node.next;
    list_remove(&h->node);
}

void scheduler_timer_start(struct scheduler *s, struct timer *t, uint64_t delay_ms,
                           void (*fire)(struct timer *t)) {
    /* Round up: half a millisecond of this tick may be over already. */
    uint64_t now_ms = (s->now_ns + 999999) / 1000000;
    uint64_t due_ms = delay_ms > UINT64_MAX / 2 ? UINT64_MAX / 2 : now_ms + delay_ms;
    timer_start(&s->wheel, t, due_ms, fire);
}

void scheduler_timer_stop(struct scheduler *s, struct timer *t) {
    timer_stop(&s->wheel, t);
}

eg_err scheduler_post(struct scheduler *s, void (*fn)(struct scheduler *s, void *arg), void *arg) {
    struct post post = {fn, arg};
    struct message *m = message_copy(s->rt, MESSAGE_POST, &post, sizeof post);
    if (m == NULL)
        return EG_MEMORY;
    scheduler_push_inbox(s, m, m); /* also to itself: never inside the caller */
    return EG_OK;
}

struct actor *scheduler_find(struct scheduler *s, eg_pid pid) {
    uint64_t word;
    struct pid_entry *e = pid_table_find(&s->rt->pids, pid.slot, pid.generation, &word);
    if (e == NULL || pid_word_home(word) != s->index || pid.node != s->rt->node)
        return NULL;
    return atomic_load_explicit(&e->owner, memory_order_relaxed);
}

static uint64_t stat_of(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

struct scheduler_stats scheduler_stats(const struct scheduler *s) {
    return (struct scheduler_stats){
        .turns = stat_of(&s->stats.turns),
        .dispatches = stat_of(&s->stats.dispatches),
        .handled_msgs = stat_of(&s->stats.handled),
        .sent_msgs = stat_of(&s->stats.sent),
        .remote_msgs = stat_of(&s->stats.remote),
        .wakes = stat_of(&s->stats.wakes),
        .sleeps = stat_of(&s->stats.sleeps),
        .busy_msgs = stat_of(&s->stats.busy),
        .dropped_msgs = stat_of(&s->stats.dropped),
        .spawned = stat_of(&s->stats.spawned),
        .exited = stat_of(&s->stats.exited),
    };
}

/* ---- the end ------------------------------------------------------------------------------ */

void scheduler_attach(struct scheduler *s) {
    runtime_set_current(s);
}

/* Who is queued here is ended too: forget them, and let nothing follow the links
 * through those that are freed already.  Their status stays RUNNABLE, so nothing
 * queues them again. */
static void forget_run_queue(struct scheduler *s) {
    s->run_oldest = s->run_newest = NULL;
    s->run_count = 0;
}

/* True when there was an actor to end. */
static bool end_actors(struct scheduler *s) {
    struct pid_table *pids = &s->rt->pids;
    eg_exit shutdown = exit_reason(EG_EXIT_SHUTDOWN);
    bool found = false;

    for (uint32_t slot = 0; slot < atomic_load(&pids->used); slot++) {
        uint64_t word = atomic_load(&pid_entry_at(pids, slot)->word);
        if (pid_word_home(word) != s->index || pid_word_generation(word) == 0)
            continue;
        actor_end(s, atomic_load(&pid_entry_at(pids, slot)->owner), &shutdown);
        forget_run_queue(s);
        found = true;
    }
    return found;
}

void scheduler_end(struct scheduler *s) {
    struct scheduler *outer = runtime_set_current(s);

    take_inbox(s);
    forget_run_queue(s);
    while (end_actors(s)) /* again, for what the ending ones spawned */
        ;
    scheduler_flush(s);
    runtime_set_current(outer);
}
