/* catalog_actor.c -- the catalog's actor: each request is a job that goes on step by
 * step, whenever everybody it asked has answered.
 *
 *     CREATE      [disc: create] -> open, publish
 *     DROP        unpublish -> shards: stop -> [disc: drop] -> free when nobody holds it
 *     CLEAR       shards: clear
 *     ADD_INDEX   shards: build -> [disc: schema] -> publish the schema
 *     DROP_INDEX  [disc: schema] -> publish the schema -> shards: drop
 *     WRITE_MANY  in place as soon as the shards are idle, and not busy -> [sync: shards: on disc]
 *                 (or on to where they are written now: route.h)
 *     SYNC        shards: all on disc
 *     MOMENT      no write_many under way -> shards: prepare -> shards: lent, all at once
 *     ALTER       see catalog_reshape.c
 *     STOP        all shards: stop
 *
 * CREATE to DROP_INDEX and MOMENT take turns, WRITE_MANY and SYNC run side by side with
 * them, but wait while a moment is taken, and STOP waits until nothing is under way. */
#include "engine/scheduler.h"
#include "engine/supervisor.h"
#include "tables/catalog_job.h"
#include "tables/watch_private.h"

#include <string.h>

enum {
    JOBS_WAITING_MAX = 1024, /* changes of the schema that may wait for their turn */
    CATALOG_TICK_MS = 200,
    REVIVED_AT_ONCE = 256, /* a supervisor lets four times as many wait */
};

struct job_kind {
    bool takes_turns;
    bool alone;    /* begins when no other is under way */
    bool of_table; /* the table must be there */
    bool (*step)(struct actor *self, struct job *j);
};

static const struct job_kind kinds[] = {
    [CATALOG_CREATE] = {true, false, false, job_create_step},
    [CATALOG_ADOPT] = {true, false, false, job_create_step},
    [CATALOG_DROP] = {true, false, true, job_drop_step},
    [CATALOG_CLEAR] = {true, false, true, job_clear_step},
    [CATALOG_ADD_INDEX] = {true, false, true, job_add_index_step},
    [CATALOG_DROP_INDEX] = {true, false, true, job_drop_index_step},
    [CATALOG_WRITE_MANY] = {false, false, true, job_write_many_step},
    [CATALOG_SYNC] = {false, false, true, job_sync_step},
    [CATALOG_MOMENT] = {true, false, false, job_moment_step},
    [CATALOG_ALTER] = {true, false, true, job_alter_step},
    [CATALOG_ARRANGE] = {true, false, true, job_alter_step},
    [CATALOG_STOP] = {true, true, false, job_stop_step},
};

/* ---- turns ------------------------------------------------------------------------------- */

static bool turn_is_taken(const struct catalog *c) {
    for (struct list_node *n = c->jobs.next; n != &c->jobs; n = n->next) {
        const struct job *j = EG_CONTAINER_OF(n, struct job, node);
        if (kinds[j->request.op].takes_turns && !j->retiring)
            return true;
    }
    return false;
}

/* Then even those who take no turns wait, for the milliseconds that it takes. */
static bool moment_is_taken(const struct catalog *c) {
    for (struct list_node *n = c->jobs.next; n != &c->jobs; n = n->next)
        if (EG_CONTAINER_OF(n, struct job, node)->request.op == CATALOG_MOMENT)
            return true;
    return false;
}

static void begin(struct actor *self, struct job *j) {
    struct catalog *c = j->catalog;

    list_remove(&j->node);
    list_push_back(&c->jobs, &j->node);
    if (kinds[j->request.op].of_table) {
        j->table =
            names_find(&c->names, (const char *) j->request.name.at, j->request.name.size_bytes);
        if (j->table == NULL) {
            job_failed(j, EG_NO_TABLE);
            job_answer_true(self, j);
            job_free(j);
            return;
        }
        EG_ASSERT(table_ref(j->table)); /* the catalog holds what has a name */
    }
    if (kinds[j->request.op].step(self, j))
        job_free(j);
}

static bool may_begin(const struct catalog *c, const struct job *j) {
    return kinds[j->request.op].alone ? list_is_empty(&c->jobs) : !turn_is_taken(c);
}

/* Whoever waits for the turn gets it when it is free. */
static void next_turn(struct actor *self, struct catalog *c) {
    while (!list_is_empty(&c->waiting)) {
        struct job *j = EG_CONTAINER_OF(c->waiting.next, struct job, node);

        if (!may_begin(c, j))
            return;
        c->waiting_count--;
        begin(self, j);
    }
}

/* ---- what comes -------------------------------------------------------------------------- */

static void on_call(struct actor *self, struct catalog *c, struct message *m) {
    struct job *j = alloc_zero(catalog_alloc(c), sizeof *j);

    if (j == NULL || c->waiting_count >= JOBS_WAITING_MAX) {
        actor_reply_bytes(self, m->from, m->ref, j == NULL ? EG_MEMORY : EG_BUSY, NULL, 0);
        alloc_put(catalog_alloc(c), j, sizeof *j);
        return;
    }
    actor_keep(self, m);
    j->catalog = c;
    j->call = m;
    j->id = ++c->last_job;
    memcpy(&j->request, m->payload, sizeof j->request);
    j->request.name.at = m->payload + sizeof j->request;
    j->request.value.at = j->request.name.at + j->request.name.size_bytes;
    buffer_init(&j->encoded, catalog_alloc(c), SIZE_MAX);
    disc_batch_init(&j->batch, catalog_alloc(c));
    list_push_back(&c->waiting, &j->node);
    c->waiting_count++;
    if (!kinds[j->request.op].takes_turns && !moment_is_taken(c)) {
        c->waiting_count--;
        begin(self, j);
    }
}

static struct job *find_job(struct catalog *c, uint64_t id) {
    for (struct list_node *n = c->jobs.next; n != &c->jobs; n = n->next) {
        struct job *j = EG_CONTAINER_OF(n, struct job, node);
        if (j->id == id)
            return j;
    }
    return NULL;
}

/* How an answer went; the first that failed says why. */
static eg_err outcome(struct job *j, const struct message *m) {
    struct err_note why = {""};
    eg_err err = (eg_err) m->tag;

    if (m->tag == CATALOG_DISC_DONE) {
        err = (eg_err) atomic_load(&j->disc_err);
        j->disc_done = NULL;
    }
    if (err == EG_OK || j->err != EG_OK)
        return err;
    if (m->tag != CATALOG_DISC_DONE)
        return err_note(&j->note, err, "%.*s", (int) m->size_bytes, (const char *) m->payload);
    return disc_health(j->catalog->world.o.disc, &why) == EG_OK
               ? err
               : err_note(&j->note, err, "%s", why.text);
}

static void on_answer(struct actor *self, struct catalog *c, const struct message *m) {
    struct job *j = find_job(c, m->ref);
    eg_err err;

    if (j == NULL)
        return;                        /* of a job that ended with an earlier actor */
    if (j->answered && !j->retiring) { /* likewise, and only the disc still had it */
        job_free(j);
        return;
    }
    if (j->asked == 0)
        return; /* told twice: before and after the catalog was restarted */
    err = outcome(j, m);
    if (err != EG_OK)
        job_failed(j, err);
    if (--j->asked == 0 && kinds[j->request.op].step(self, j))
        job_free(j);
}

/* ---- at a tick --------------------------------------------------------------------------- */

/* Dropped tables go when the last holder has let go, and then after a grace period. */
static void table_free_late(void *owner, void *ptr, size_t size_bytes) {
    (void) owner;
    (void) size_bytes;
    table_free(ptr);
}

static void bury(struct catalog *c) {
    for (struct list_node *n = c->dying.next, *next; n != &c->dying; n = next) {
        struct table *t = EG_CONTAINER_OF(n, struct table, dying);

        next = n->next;
        if (atomic_load_explicit(&t->refs, memory_order_acquire) != 0)
            continue;
        if (!epoch_try_retire(&c->bin, table_free_late, NULL, t, sizeof *t))
            return; /* the next turn tries again: a table is too much to forget */
        list_remove(n);
    }
}

/* What those who watch the node want to know, as soon as it is seen to be otherwise. */
static void tell_states(struct catalog *c) {
    struct watch_hub *h = c->world.watch;
    bool full = memory_over_limit(c->world.o.budget);
    struct err_note note = {""};
    bool disc_failed = c->world.o.disc != NULL && disc_health(c->world.o.disc, &note) != EG_OK;

    if (full != h->memory_full)
        watch_tell_state(h, WATCH_MEMORY, full ? "full" : "free", NULL);
    if (disc_failed != h->disc_failed)
        watch_tell_state(h, WATCH_DISC, disc_failed ? "failed" : "well",
                         disc_failed ? note.text : NULL);
    h->memory_full = full;
    h->disc_failed = disc_failed;
}

static void tick_jobs(struct actor *self, struct catalog *c) {
    for (struct list_node *n = c->jobs.next, *next; n != &c->jobs; n = next) {
        struct job *j = EG_CONTAINER_OF(n, struct job, node);

        next = n->next;
        if (j->alter != NULL && j->asked == 0 && job_alter_tick(self, j))
            job_free(j);
    }
}

/* A supervisor of all tables that ended has forgotten them, and so each is named again to its
 * successor; one that goes on says that it has them. */
static void revive(struct actor *self, struct catalog *c) {
    struct table *const *tables;
    uint32_t count = names_all(&c->names, &tables);

    for (uint32_t n = 0; n < REVIVED_AT_ONCE && c->revived < EG_MIN(count, c->to_revive); n++) {
        struct child_spec child;
        struct message *m;

        table_child(tables[c->revived], &child);
        m = supervisor_start_child(actor_runtime(self), &child);
        if (m == NULL)
            return;
        if (actor_send(self, catalog_families(c), m) != EG_OK)
            return; /* it is gone again, and so will be who asks */
        c->revived++;
    }
}

/* Where there is no memory for it, the next turn asks again. */
static void start_tick(struct actor *self, struct catalog *c) {
    struct message *m;
    eg_ref timer;

    if (EG_LIKELY(c->ticking))
        return;
    m = message_new(actor_runtime(self), MESSAGE_INFO, 0);
    if (m == NULL)
        return;
    m->tag = CATALOG_TICK;
    c->ticking = actor_start_timer(self, CATALOG_TICK_MS, m, &timer) == EG_OK;
}

/* ---- the actor --------------------------------------------------------------------------- */

static void receive(struct actor *self, void *state, struct message *m) {
    struct catalog *c = *(struct catalog **) state;
    bool open = atomic_load_explicit(&c->open, memory_order_acquire);

    if (m->kind == MESSAGE_CALL) {
        on_call(self, c, m);
    } else if (m->tag == CATALOG_TICK) {
        c->ticking = false;
        watch_hub_tick(c->world.watch);
        tell_states(c);
        revive(self, c);
        if (open)
            epoch_flush(&c->bin);
        tick_jobs(self, c);
    } else if (m->tag == CATALOG_LET_GO) {
        job_moment_late(c, m);
    } else {
        if (m->kind == MESSAGE_TIMEOUT) { /* as if somebody had answered */
            memcpy(&m->ref, m->payload, sizeof m->ref);
            m->tag = EG_OK;
        }
        on_answer(self, c, m);
    }
    start_tick(self, c);
    next_turn(self, c);
    bury(c);
    if (open)
        epoch_sweep(&c->bin);
}

/* A successor finds what its killed predecessor had begun.  Answers that were sent
 * to the dead pid are lost, so every job that waited for one ends here; the disc's
 * work goes on by itself and is only waited for. */
static void take_over(struct actor *self, struct catalog *c) {
    for (struct list_node *n = c->jobs.next, *next; n != &c->jobs; n = next) {
        struct job *j = EG_CONTAINER_OF(n, struct job, node);

        next = n->next;
        if (j->alter != NULL) {
            if (job_alter_resume(self, j))
                job_free(j);
            continue;
        }
        if (!j->answered &&
            (j->request.op == CATALOG_ADD_INDEX || j->request.op == CATALOG_DROP_INDEX)) {
            if (j->table != NULL && job_index_resume(self, j))
                job_free(j);
            continue;
        }
        if (!j->answered) {
            if (j->request.op == CATALOG_CLEAR && j->table != NULL)
                watch_table_cleared(j->table, false); /* some shards may be */
            job_failed(j, err_note(&j->note, EG_TIMEOUT, "the catalog was restarted meanwhile"));
            job_answer_true(self, j);
        }
        if (j->disc_done == NULL || atomic_load(&j->disc_ended))
            job_free(j);
    }
}

/* The actor ends, perhaps killed: nobody may wait for what it holds. */
static void let_all_go(struct cleanup *cleanup) {
    struct catalog *c = EG_CONTAINER_OF(cleanup, struct catalog, let_go);

    for (struct list_node *n = c->jobs.next; n != &c->jobs; n = n->next)
        job_moment_let_go(EG_CONTAINER_OF(n, struct job, node));
}

static eg_err init(struct actor *self, void *state, const void *arg) {
    struct catalog *c = (struct catalog *) arg;
    eg_pid pid = actor_pid(self);
    struct table *const *tables;

    *(struct catalog **) state = c;
    c->let_go = (struct cleanup){.run = let_all_go};
    actor_on_exit(self, &c->let_go);
    atomic_store(&c->pid, (uint64_t) pid.slot << 32 | pid.generation);
    take_over(self, c);
    c->ticking = false; /* a predecessor's timer went with it */
    c->revived = 0;
    c->to_revive = names_all(&c->names, &tables);
    revive(self, c);
    start_tick(self, c);
    return EG_OK;
}

void catalog_child(struct catalog *c, struct child_spec *out) {
    static const struct actor_ops ops = {.name = "catalog",
                                         .state_bytes = sizeof(struct catalog *),
                                         .init = init,
                                         .receive = receive};

    *out = (struct child_spec){.id = "catalog",
                               .kind = CHILD_ACTOR,
                               .restart = PERMANENT,
                               .actor = &ops,
                               .arg = c,
                               .scheduler = SPAWN_ON(0),
                               .mailbox_bound = MAILBOX_BOUND_DEFAULT};
}
