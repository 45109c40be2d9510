/* children.c -- the state machine of a supervisor.
 *
 * An operation marks the children it will stop (doomed) and start (wanted), sets
 * the phase, and step() walks: down the list until no child is doomed, then up
 * until none is wanted.  Every event ends in step(), the one place that leaves a
 * phase.
 *
 * Invariants (children_check):
 *   (1) doomed implies STARTING, UP or STOPPING: what is down needs no stop.
 *   (2) wanted and not doomed, outside a walk down, implies DOWN or STARTING.
 *   (3) the counts are the numbers of the marks.
 *   (4) SETTLED: no marks, nothing STARTING or STOPPING, no death waiting.
 *   (5) ENDED: every child is DOWN.
 */
#include "engine/children.h"

#include <string.h>

eg_err children_open(struct children *cs, struct alloc *a, const struct children_ops *ops,
                     void *owner, enum children_strategy strategy, uint32_t intensity,
                     uint64_t period_ns) {
    uint64_t *ring;

    if (strategy > SIMPLE_ONE_FOR_ONE || intensity > CHILDREN_INTENSITY_MAX)
        return EG_BAD_REQUEST;
    ring = alloc_get(a, EG_MAX(intensity, 1) * sizeof *ring);
    if (ring == NULL)
        return EG_MEMORY;
    *cs = (struct children){.ops = ops,
                            .owner = owner,
                            .alloc = a,
                            .strategy = strategy,
                            .intensity = intensity,
                            .period_ns = period_ns,
                            .restarted_at_ns = ring};
    return EG_OK;
}

/* ---- the list ------------------------------------------------------------- */

struct child *children_find(const struct children *cs, const char *id) {
    struct child *c = cs->first;
    while (c != NULL && strcmp(c->id, id) != 0)
        c = c->next;
    return c;
}

static void append(struct children *cs, struct child *c) {
    c->prev = cs->last;
    c->next = NULL;
    if (cs->last == NULL)
        cs->first = c;
    else
        cs->last->next = c;
    cs->last = c;
    cs->count++;
}

/* Take a child out of the list; a walk that stands on it goes on before it. */
static void drop(struct children *cs, struct child *c) {
    EG_ASSERT(c->state == CHILD_DOWN && !c->doomed && !c->wanted && !c->waits_for_turn);
    if (cs->cursor == c)
        cs->cursor = cs->phase == CHILDREN_STARTING ? c->next : c->prev;
    if (c->prev == NULL)
        cs->first = c->next;
    else
        c->prev->next = c->next;
    if (c->next == NULL)
        cs->last = c->prev;
    else
        c->next->prev = c->prev;
    cs->count--;
    cs->ops->drop(cs->owner, c);
}

void children_close(struct children *cs) {
    while (cs->last != NULL) {
        struct child *c = cs->last;
        c->state = CHILD_DOWN;
        c->doomed = c->wanted = c->waits_for_turn = false;
        drop(cs, c);
    }
    alloc_put(cs->alloc, cs->restarted_at_ns,
              EG_MAX(cs->intensity, 1) * sizeof *cs->restarted_at_ns);
}

/* ---- marks ---------------------------------------------------------------- */

static void want(struct children *cs, struct child *c) {
    cs->wanted_count += !c->wanted;
    c->wanted = true;
}

static void unwant(struct children *cs, struct child *c) {
    cs->wanted_count -= c->wanted;
    c->wanted = false;
}

static void doom(struct children *cs, struct child *c) {
    bool runs = c->state != CHILD_DOWN;
    cs->doomed_count += runs && !c->doomed;
    c->doomed = runs;
}

/* The child is down, by itself or because it was told. */
static void down(struct children *cs, struct child *c) {
    cs->up_count -= c->state == CHILD_UP;
    cs->doomed_count -= c->doomed;
    c->doomed = false;
    c->state = CHILD_DOWN;
}

static bool is_dynamic(const struct children *cs) {
    return cs->strategy == SIMPLE_ONE_FOR_ONE;
}

/* Stopping and starting a set answers the waiting deaths in it as well. */
static void forget_deaths_of_marked(struct children *cs) {
    struct child **at = &cs->dead_first, *c;

    cs->dead_last = NULL;
    while ((c = *at) != NULL) {
        if (!c->wanted && !c->leaving && !cs->ending) {
            cs->dead_last = c;
            at = &c->next_dead;
            continue;
        }
        *at = c->next_dead;
        c->waits_for_turn = false;
        if (c->leaving)
            drop(cs, c);
    }
}

/* Stop `from` and all after it, and start them again where they are kept. */
static void mark_from(struct children *cs, struct child *from, bool again) {
    for (struct child *c = from; c != NULL; c = c->next) {
        doom(cs, c);
        unwant(cs, c);
        if (c->restart == TEMPORARY)
            c->leaving = true;
        else if (again)
            want(cs, c);
    }
    forget_deaths_of_marked(cs);
    cs->cursor = cs->last;
    cs->phase = CHILDREN_STOPPING;
}

static void end(struct children *cs, eg_err why) {
    if (cs->ending)
        return;
    cs->ending = true;
    cs->end_why = why;
    mark_from(cs, cs->first, false);
}

/* ---- restarts -------------------------------------------------------------- */

/* Count one more restart.  False: more than `intensity` within the period. */
static bool count_restart(struct children *cs) {
    uint64_t now_ns = cs->ops->now_ns(cs->owner);

    if (cs->intensity == 0)
        return false;
    if (cs->ring_count == cs->intensity) {
        if (now_ns - cs->restarted_at_ns[cs->ring_at] <= cs->period_ns)
            return false;
        cs->ring_count--; /* the oldest is out of the window and overwritten */
    }
    cs->restarted_at_ns[cs->ring_at] = now_ns;
    cs->ring_at = (cs->ring_at + 1) % cs->intensity;
    cs->ring_count++;
    return true;
}

/* `c` is down and must come back: with whom is the strategy's choice. */
static void restart(struct children *cs, struct child *c) {
    unwant(cs, c);
    if (!count_restart(cs)) {
        end(cs, EG_BUSY);
        return;
    }
    cs->restarts++;
    c->restarts++;
    cs->cause = CAUSE_RESTART;
    switch (cs->strategy) {
    case ONE_FOR_ONE:
    case SIMPLE_ONE_FOR_ONE:
        want(cs, c);
        cs->cursor = c;
        cs->phase = CHILDREN_STARTING;
        break;
    case ONE_FOR_ALL:
        mark_from(cs, cs->first, true);
        break;
    case REST_FOR_ONE:
        mark_from(cs, c, true);
        break;
    }
}

static void start_failed(struct children *cs, struct child *c, eg_err why) {
    switch (cs->cause) {
    case CAUSE_FIRST_START:
        end(cs, why);
        break;
    case CAUSE_COMMAND:
        cs->command = why;
        unwant(cs, c);
        if (c->fresh)
            drop(cs, c);
        break;
    case CAUSE_RESTART:
        restart(cs, c);
        break;
    }
}

/* ---- the walk --------------------------------------------------------------- */

/* True when no doomed child is left.  Dynamic children stop all at once. */
static bool walk_down(struct children *cs) {
    while (cs->doomed_count > 0 && cs->cursor != NULL) {
        struct child *c = cs->cursor;
        if (c->doomed && c->state != CHILD_STOPPING) {
            cs->up_count -= c->state == CHILD_UP;
            c->state = CHILD_STOPPING;
            cs->ops->stop(cs->owner, c);
        }
        if (c->doomed && !is_dynamic(cs))
            return false;
        cs->cursor = c->prev;
    }
    return cs->doomed_count == 0;
}

/* True when no wanted child is left; false: one is starting, or the phase changed. */
static bool walk_up(struct children *cs) {
    while (cs->wanted_count > 0) {
        struct child *c = cs->cursor;
        eg_err err;

        EG_ASSERT(c != NULL);
        if (!c->wanted) {
            cs->cursor = c->next;
            continue;
        }
        if (c->state == CHILD_STARTING)
            return false;
        EG_ASSERT(c->state == CHILD_DOWN);
        c->state = CHILD_STARTING;
        err = cs->ops->start(cs->owner, c);
        if (err == EG_OK)
            return false;
        c->state = CHILD_DOWN;
        start_failed(cs, c, err);
        if (cs->phase != CHILDREN_STARTING)
            return false;
    }
    return true;
}

/* Answer the oldest waiting death.  False: there is none. */
static bool answer_death(struct children *cs) {
    struct child *c = cs->dead_first;

    if (c == NULL)
        return false;
    cs->dead_first = c->next_dead;
    if (cs->dead_first == NULL)
        cs->dead_last = NULL;
    c->waits_for_turn = false;
    if (c->restart == PERMANENT || (c->restart == TRANSIENT && c->exit == EXIT_ABNORMAL))
        restart(cs, c);
    else if (c->restart == TEMPORARY || is_dynamic(cs))
        drop(cs, c);
    return true;
}

/* Go on until something must be waited for. */
static void step(struct children *cs) {
    bool go_on = true;

    while (go_on) {
        switch (cs->phase) {
        case CHILDREN_SETTLED:
            go_on = answer_death(cs);
            break;
        case CHILDREN_STOPPING:
            go_on = walk_down(cs);
            if (go_on) {
                cs->phase = cs->ending ? CHILDREN_ENDED : CHILDREN_STARTING;
                cs->cursor = cs->first;
            }
            break;
        case CHILDREN_STARTING:
            if (walk_up(cs))
                cs->phase = CHILDREN_SETTLED;
            else
                go_on = cs->phase != CHILDREN_STARTING;
            break;
        case CHILDREN_ENDED:
            go_on = false;
            break;
        }
    }
    children_check(cs);
}

/* ---- events ------------------------------------------------------------------ */

eg_err children_declare(struct children *cs, struct child *c) {
    if (c->id[0] != '\0' && children_find(cs, c->id) != NULL)
        return EG_EXISTS;
    append(cs, c);
    return EG_OK;
}

void children_start(struct children *cs) {
    EG_ASSERT(cs->phase == CHILDREN_SETTLED && !is_dynamic(cs));
    for (struct child *c = cs->first; c != NULL; c = c->next)
        want(cs, c);
    cs->cause = CAUSE_FIRST_START;
    cs->cursor = cs->first;
    cs->phase = CHILDREN_STARTING;
    step(cs);
}

void children_started(struct children *cs, struct child *c) {
    if (c->state == CHILD_STARTING) { /* else it was told to stop meanwhile */
        c->state = CHILD_UP;
        c->fresh = false;
        cs->up_count++;
        unwant(cs, c);
    }
    step(cs);
}

void children_exited(struct children *cs, struct child *c, enum child_exit how, eg_err why) {
    bool was_starting = c->state == CHILD_STARTING && !c->doomed;
    bool was_doomed = c->doomed;

    EG_ASSERT(c->state != CHILD_DOWN);
    down(cs, c);
    if (was_starting) {
        start_failed(cs, c, why);
    } else if (was_doomed) {
        if (c->leaving)
            drop(cs, c);
    } else {
        c->exit = how;
        c->waits_for_turn = true;
        c->next_dead = NULL;
        if (cs->dead_last == NULL)
            cs->dead_first = c;
        else
            cs->dead_last->next_dead = c;
        cs->dead_last = c;
    }
    step(cs);
}

void children_end(struct children *cs) {
    if (cs->phase == CHILDREN_ENDED)
        return;
    end(cs, EG_OK);
    step(cs);
}

/* ---- commands ------------------------------------------------------------------ */

static void start_by_command(struct children *cs, struct child *c) {
    cs->command = EG_OK;
    cs->cause = CAUSE_COMMAND;
    want(cs, c);
    cs->cursor = c;
    cs->phase = CHILDREN_STARTING;
    step(cs);
}

eg_err children_add(struct children *cs, struct child *c) {
    eg_err err;

    if (cs->phase != CHILDREN_SETTLED)
        return EG_AGAIN;
    err = children_declare(cs, c);
    if (err != EG_OK)
        return err;
    c->fresh = true;
    start_by_command(cs, c);
    return EG_OK;
}

eg_err children_terminate(struct children *cs, struct child *c) {
    if (cs->phase != CHILDREN_SETTLED)
        return EG_AGAIN;
    cs->command = EG_OK;
    cs->cause = CAUSE_COMMAND;
    doom(cs, c);
    c->leaving = c->doomed && (c->restart == TEMPORARY || is_dynamic(cs));
    cs->cursor = c;
    cs->phase = CHILDREN_STOPPING;
    step(cs);
    return EG_OK;
}

eg_err children_restart(struct children *cs, struct child *c) {
    if (cs->phase != CHILDREN_SETTLED)
        return EG_AGAIN;
    if (c->state != CHILD_DOWN)
        return EG_EXISTS;
    start_by_command(cs, c);
    return EG_OK;
}

eg_err children_remove(struct children *cs, struct child *c) {
    if (cs->phase != CHILDREN_SETTLED)
        return EG_AGAIN;
    if (c->state != CHILD_DOWN)
        return EG_BUSY;
    drop(cs, c);
    return EG_OK;
}

/* ---- check ---------------------------------------------------------------------- */

void children_check(const struct children *cs) {
    EG_ASSERT((cs->first == NULL) == (cs->last == NULL));
    EG_ASSERT((cs->dead_first == NULL) == (cs->dead_last == NULL));
    EG_ASSERT(cs->ring_count <= cs->intensity);
    if (cs->phase == CHILDREN_SETTLED)
        EG_ASSERT(cs->doomed_count == 0 && cs->wanted_count == 0 && cs->dead_first == NULL);
    if (cs->phase == CHILDREN_ENDED)
        EG_ASSERT(cs->up_count == 0 && cs->doomed_count == 0);
#ifdef EG_SLOW_CHECKS
    uint32_t count = 0, up = 0, doomed = 0, wanted = 0;
    for (const struct child *c = cs->first; c != NULL; c = c->next) {
        count++;
        up += c->state == CHILD_UP;
        doomed += c->doomed;
        wanted += c->wanted;
        EG_ASSERT(!c->doomed || c->state != CHILD_DOWN);
        EG_ASSERT(cs->phase != CHILDREN_ENDED || c->state == CHILD_DOWN);
        EG_ASSERT(cs->phase != CHILDREN_SETTLED || !c->leaving);
        if (cs->phase == CHILDREN_SETTLED)
            EG_ASSERT(c->state == CHILD_DOWN || c->state == CHILD_UP);
    }
    EG_ASSERT(count == cs->count);
    EG_ASSERT(up == cs->up_count);
    EG_ASSERT(doomed == cs->doomed_count);
    EG_ASSERT(wanted == cs->wanted_count);
#endif
}
