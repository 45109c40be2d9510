/* calls.c -- entries in chunks that double, found by index.
 *
 * Chunk k has 4 << k entries, so entries never move (their timers are linked
 * from the wheel) and index i is in chunk log2(i / 4 + 1).
 *
 *     ref = uses << 32 | index + 1        0 is never a call's reference
 */
#include "engine/calls.h"

#include <string.h>

enum { CHUNK_FIRST = 4, CHUNKS = 15 };

struct call {
    struct timer deadline;
    struct calls *calls;
    struct call_then then; /* done is NULL: free */
    uint32_t index;
    uint32_t uses; /* of this entry, so far */
    uint32_t next_free;
    bool asked; /* somebody: else it is only waited for the time */
};

struct calls {
    struct actor *self;
    struct calls **home; /* the actor's pointer to this */
    struct cleanup cleanup;
    struct calls_stats stats;
    uint32_t first_free; /* UINT32_MAX: none */
    uint32_t chunk_count;
    struct call *chunk[CHUNKS];
};

enum { NO_CALL = UINT32_MAX };

static struct call *call_at(struct calls *cs, uint32_t index) {
    uint32_t k = 31 - (uint32_t) __builtin_clz(index / CHUNK_FIRST + 1);
    return &cs->chunk[k][index - CHUNK_FIRST * ((1u << k) - 1)];
}

static void calls_close(struct cleanup *c) {
    struct calls *cs = EG_CONTAINER_OF(c, struct calls, cleanup);
    struct alloc *a = actor_alloc(cs->self);

    *cs->home = NULL;
    for (uint32_t k = 0; k < cs->chunk_count; k++) {
        uint32_t count = CHUNK_FIRST << k;
        for (uint32_t i = 0; i < count; i++)
            actor_timer_stop(cs->self, &cs->chunk[k][i].deadline);
        alloc_put(a, cs->chunk[k], count * sizeof(struct call));
    }
    alloc_put(a, cs, sizeof *cs);
}

static eg_err calls_open(struct calls **out, struct actor *self) {
    struct calls *cs = alloc_zero(actor_alloc(self), sizeof *cs);

    if (cs == NULL)
        return EG_MEMORY;
    cs->self = self;
    cs->home = out;
    cs->first_free = NO_CALL;
    cs->cleanup.run = calls_close;
    actor_on_exit(self, &cs->cleanup);
    *out = cs;
    return EG_OK;
}

static eg_err grow(struct calls *cs) {
    uint32_t count = CHUNK_FIRST << cs->chunk_count;
    uint32_t base = count - CHUNK_FIRST;
    struct call *chunk;

    if (cs->stats.open >= CALLS_OPEN_MAX || cs->chunk_count == CHUNKS)
        return EG_BUSY;
    chunk = alloc_zero(actor_alloc(cs->self), count * sizeof *chunk);
    if (chunk == NULL)
        return EG_MEMORY;
    for (uint32_t i = count; i-- > 0;) {
        chunk[i].calls = cs;
        chunk[i].index = base + i;
        chunk[i].next_free = cs->first_free;
        cs->first_free = base + i;
    }
    cs->chunk[cs->chunk_count++] = chunk;
    return EG_OK;
}

static eg_ref call_ref(const struct call *c) {
    return (eg_ref) c->uses << 32 | (c->index + 1);
}

static void release(struct calls *cs, struct call *c) {
    actor_timer_stop(cs->self, &c->deadline);
    c->then.done = NULL;
    c->next_free = cs->first_free;
    cs->first_free = c->index;
    cs->stats.open--;
}

static void on_deadline(struct timer *t) {
    enum { RETRY_MS = 10 };
    struct call *c = EG_CONTAINER_OF(t, struct call, deadline);
    struct actor *self = c->calls->self;
    struct message *m = message_new(actor_runtime(self), MESSAGE_REPLY, 0);

    if (m == NULL) { /* no memory to say so now */
        actor_timer_start(self, t, RETRY_MS, on_deadline);
        return;
    }
    m->ref = call_ref(c);
    m->tag = (uint32_t) (c->asked ? EG_TIMEOUT : EG_OK);
    (void) runtime_send(actor_runtime(self), EG_PID_NONE, actor_pid(self), m); /* always passes */
}

/* The entry that the next one takes, under a reference that is new. */
static eg_err next_entry(struct calls **calls, struct actor *self, struct call **out) {
    eg_err err = EG_OK;

    if (*calls == NULL)
        err = calls_open(calls, self);
    if (err == EG_OK && (*calls)->first_free == NO_CALL)
        err = grow(*calls);
    if (err != EG_OK)
        return err;
    *out = call_at(*calls, (*calls)->first_free);
    (*out)->uses++;
    return EG_OK;
}

static void take(struct call *c, const struct call_then *then, bool asked) {
    struct calls *cs = c->calls;

    cs->first_free = c->next_free;
    cs->stats.open++;
    cs->stats.started += asked;
    c->then = *then;
    c->asked = asked;
}

eg_err calls_start(struct calls **calls, struct actor *self, eg_pid to, struct message *m,
                   uint64_t timeout_ms, const struct call_then *then) {
    struct call *c;
    eg_err err;

    EG_ASSERT(m->kind == MESSAGE_CALL);
    EG_ASSERT(then->done != NULL);
    err = next_entry(calls, self, &c);
    if (err != EG_OK) {
        message_free(actor_runtime(self), m);
        return err;
    }
    m->ref = call_ref(c);
    err = actor_send(self, to, m);
    if (err != EG_OK)
        return err;
    take(c, then, true);
    if (timeout_ms != CALL_TIMEOUT_NEVER)
        actor_timer_start(self, &c->deadline, timeout_ms, on_deadline);
    return EG_OK;
}

eg_err calls_later(struct calls **calls, struct actor *self, uint64_t delay_ms,
                   const struct call_then *then) {
    struct message *m;
    struct call *c;
    eg_err err;

    EG_ASSERT(then->done != NULL);
    err = next_entry(calls, self, &c);
    if (err != EG_OK)
        return err;
    if (delay_ms != 0) {
        take(c, then, false);
        actor_timer_start(self, &c->deadline, delay_ms, on_deadline);
        return EG_OK;
    }
    m = message_new(actor_runtime(self), MESSAGE_REPLY, 0);
    if (m == NULL)
        return EG_MEMORY;
    take(c, then, false);
    m->ref = call_ref(c);
    m->tag = (uint32_t) EG_OK;
    (void) runtime_send(actor_runtime(self), EG_PID_NONE, actor_pid(self), m); /* always passes */
    return EG_OK;
}

void calls_receive(struct calls *calls, struct actor *self, void *state, struct message *reply) {
    uint32_t index = (uint32_t) reply->ref - 1;
    eg_err outcome = (eg_err) (int32_t) reply->tag;
    struct call *c = NULL;
    struct call_then then;

    if (calls == NULL)
        return; /* never called: what came is nobody's answer */
    if (index < CHUNK_FIRST * ((1u << calls->chunk_count) - 1))
        c = call_at(calls, index);
    if (c == NULL || c->then.done == NULL || reply->ref != call_ref(c)) {
        calls->stats.late += !eg_pid_is_none(reply->from); /* not our own deadline's */
        return;
    }
    then = c->then;
    release(calls, c); /* before done(), which may call again */
    calls->stats.timed_out += eg_pid_is_none(reply->from) && outcome == EG_TIMEOUT;
    then.done(self, state, &then, outcome, eg_pid_is_none(reply->from) ? NULL : reply);
}

struct calls_stats calls_stats(const struct calls *calls) {
    return calls == NULL ? (struct calls_stats){0} : calls->stats;
}
