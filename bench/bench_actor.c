/* bench_actor.c -- what actors cost: idle, born, called.
 *
 * Prints one line a figure: name, value, unit.  Resident bytes are read from the
 * kernel, so they include everything that a million idle actors make the process
 * hold.  Each rate is the median of REPEATS runs. */
#include "engine/foreign.h"
#include "engine/loop_uv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IDLE_ACTORS = 1000 * 1000, REPEATS = 5, CALLS = 300 * 1000, FAR_CALLS = 30 * 1000 };

static struct runtime *rt;
static struct foreign *me;

static void open_runtime(void) {
    EG_ASSERT(runtime_open(&rt, &(struct runtime_opts){.alloc = alloc_system(),
                                                       .env = env_uv(),
                                                       .driver = loop_uv_driver(),
                                                       .schedulers = 2}) == EG_OK);
    EG_ASSERT(runtime_start(rt) == EG_OK);
    EG_ASSERT(foreign_open(&me, rt) == EG_OK);
}

static void close_runtime(void) {
    foreign_close(me);
    runtime_stop(rt);
    runtime_close(rt);
}

static uint64_t now_ns(void) {
    return env_now_ns(env_uv());
}

static size_t resident_bytes(void) {
    unsigned long total, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    EG_ASSERT(f != NULL && fscanf(f, "%lu %lu", &total, &resident) == 2);
    fclose(f);
    return resident * (size_t) sysconf(_SC_PAGESIZE);
}

static void print(const char *name, double value, const char *unit) {
    printf("%-36s %12.1f %s\n", name, value, unit);
    fflush(stdout);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

/* Run ops->receive's work inside an actor on `scheduler`, and wait for its reply. */
static double in_actor(const struct actor_ops *ops, uint32_t scheduler, const void *arg,
                       size_t arg_bytes) {
    struct message *reply;
    double figure;
    eg_pid pid;
    EG_ASSERT(actor_spawn(rt, NULL,
                          &(struct spawn_opts){.ops = ops,
                                               .arg = arg,
                                               .arg_bytes = arg_bytes,
                                               .scheduler = SPAWN_ON(scheduler)},
                          &pid, NULL) == EG_OK);
    EG_ASSERT(foreign_call(me, pid, message_new(rt, MESSAGE_CALL, 0), 120000, &reply) == EG_OK);
    memcpy(&figure, reply->payload, sizeof figure);
    message_free(rt, reply);
    return figure;
}

/* ---- idle actors, and spawning them -------------------------------------------------- */

static void idle_receive(struct actor *self, void *state, struct message *m) {
    (void) self;
    (void) state;
    (void) m;
}
static const struct actor_ops idle_ops = {
    .name = "idle", .state_bytes = 48, .receive = idle_receive};

static void spawn_million(struct actor *self, void *state, struct message *m) {
    uint64_t started_ns = now_ns();
    double ns_each;
    (void) state;
    for (int i = 0; i < IDLE_ACTORS; i++) {
        eg_pid pid;
        EG_ASSERT(actor_spawn(actor_runtime(self), self, &(struct spawn_opts){.ops = &idle_ops},
                              &pid, NULL) == EG_OK);
    }
    ns_each = (double) (now_ns() - started_ns) / IDLE_ACTORS;
    actor_reply_bytes(self, m->from, m->ref, EG_OK, &ns_each, sizeof ns_each);
    actor_exit_normal(self);
}
static const struct actor_ops spawner_ops = {.name = "spawner", .receive = spawn_million};

static void bench_idle(void) {
    double ns[3];
    for (int i = 0; i < 3; i++) {
        size_t before;
        open_runtime();
        before = resident_bytes();
        ns[i] = in_actor(&spawner_ops, 0, NULL, 0);
        if (i == 0)
            print("idle actor, 48-byte state", (double) (resident_bytes() - before) / IDLE_ACTORS,
                  "bytes");
        close_runtime();
    }
    print("spawn, same scheduler", median(ns, 3), "ns");
}

/* ---- calls ------------------------------------------------------------------------------- */

static void echo_receive(struct actor *self, void *state, struct message *m) {
    (void) state;
    actor_reply_bytes(self, m->from, m->ref, EG_OK, m->payload, m->size_bytes);
}
static const struct actor_ops echo_ops = {.name = "echo", .receive = echo_receive};

struct caller {
    eg_pid callee;
    uint32_t left, calls;
    uint64_t started_ns;
    eg_pid boss;
    eg_ref boss_ref;
};

static eg_err caller_init(struct actor *self, void *state, const void *arg) {
    (void) self;
    memcpy(state, arg, sizeof(struct caller));
    return EG_OK;
}

static void call_again(struct actor *self, struct caller *c) {
    struct message *m = message_new(actor_runtime(self), MESSAGE_CALL, 16);
    memset(m->payload, 0, 16);
    m->ref = actor_make_ref(actor_runtime(self));
    EG_ASSERT(actor_send(self, c->callee, m) == EG_OK);
}

static void caller_receive(struct actor *self, void *state, struct message *m) {
    struct caller *c = state;
    double per_second;
    if (m->kind == MESSAGE_CALL) {
        c->boss = m->from;
        c->boss_ref = m->ref;
        c->started_ns = now_ns();
        call_again(self, c);
    } else if (--c->left > 0) {
        call_again(self, c);
    } else {
        per_second = c->calls * 1e9 / (double) (now_ns() - c->started_ns);
        actor_reply_bytes(self, c->boss, c->boss_ref, EG_OK, &per_second, sizeof per_second);
        actor_exit_normal(self);
    }
}
static const struct actor_ops caller_ops = {.name = "caller",
                                            .state_bytes = sizeof(struct caller),
                                            .init = caller_init,
                                            .receive = caller_receive};

static void bench_calls(const char *name, uint32_t callee_on, uint32_t calls) {
    double rates[REPEATS];
    open_runtime();
    for (int i = 0; i < REPEATS; i++) {
        struct caller c = {.left = calls, .calls = calls};
        EG_ASSERT(
            actor_spawn(rt, NULL,
                        &(struct spawn_opts){.ops = &echo_ops, .scheduler = SPAWN_ON(callee_on)},
                        &c.callee, NULL) == EG_OK);
        rates[i] = in_actor(&caller_ops, 0, &c, sizeof c);
    }
    close_runtime();
    print(name, median(rates, REPEATS), "calls/s");
}

/* ---- a foreign thread ------------------------------------------------------------------------ */

static void bench_foreign(void) {
    double calls[REPEATS], claims[REPEATS];
    eg_pid pid;
    open_runtime();
    EG_ASSERT(actor_spawn(rt, NULL, &(struct spawn_opts){.ops = &echo_ops, .lendable = true}, &pid,
                          NULL) == EG_OK);
    for (int i = 0; i < REPEATS; i++) {
        uint64_t started_ns = now_ns();
        for (int n = 0; n < FAR_CALLS; n++) {
            struct message *reply;
            EG_ASSERT(foreign_call(me, pid, message_new(rt, MESSAGE_CALL, 16), 10000, &reply) ==
                      EG_OK);
            message_free(rt, reply);
        }
        calls[i] = FAR_CALLS * 1e9 / (double) (now_ns() - started_ns);
        started_ns = now_ns();
        for (int n = 0; n < CALLS;) {
            struct actor *a = actor_claim(rt, pid);
            if (a == NULL)
                continue;
            actor_release(a);
            n++;
        }
        claims[i] = (double) (now_ns() - started_ns) / CALLS;
    }
    close_runtime();
    print("call from a foreign thread", median(calls, REPEATS), "calls/s");
    print("claim and release", median(claims, REPEATS), "ns");
}

int main(void) {
    bench_idle();
    bench_calls("call and reply, same scheduler", 0, CALLS);
    bench_calls("call and reply, across schedulers", 1, FAR_CALLS);
    bench_foreign();
    return 0;
}
