/* bench_otp.c -- what servers and supervisors cost.
 *
 * Prints one line a figure: name, value, unit.
 *   call       a server calls another and calls again from the answer's callback;
 *              the same on one scheduler and across two
 *   restart    a child is killed; until the new one's init runs, and once more
 *              until a caller by name is answered
 * Each rate is the median of REPEATS runs. */
#include "engine/foreign.h"
#include "engine/hist.h"
#include "engine/loop_uv.h"
#include "engine/registry.h"
#include "engine/supervisor.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 5, CALLS = 500 * 1000, FAR_CALLS = 30 * 1000, RESTARTS = 2000 };

static struct runtime *rt;
static struct foreign *me;

static uint64_t now_ns(void) {
    return env_now_ns(env_uv());
}

static void print(const char *name, double value, const char *unit) {
    printf("%-36s %12.1f %s\n", name, value, unit);
    fflush(stdout);
}

static struct message *ask(eg_pid to, uint32_t tag, const void *bytes, size_t size_bytes) {
    struct message *m = message_copy(rt, MESSAGE_CALL, bytes, size_bytes), *reply;
    m->tag = tag;
    EG_ASSERT(foreign_call(me, to, m, 60000, &reply) == EG_OK);
    return reply;
}

/* ---- calls --------------------------------------------------------------------- */

enum { PLAY_ECHO, PLAY_RUN };

struct job {
    eg_pid whom;
    uint64_t calls;
};

struct player {
    struct caller boss;
    struct job job;
};

static void next_call(struct actor *self, struct player *p);

static void on_answer(struct actor *self, void *state, const struct call_then *then, eg_err outcome,
                      struct message *reply) {
    (void) then;
    EG_ASSERT(outcome == EG_OK && reply->size_bytes == sizeof(uint64_t));
    next_call(self, state);
}

static void next_call(struct actor *self, struct player *p) {
    static const struct call_then then = {.done = on_answer};
    struct message *m;

    if (p->job.calls == 0) {
        EG_ASSERT(genserver_reply(self, p->boss, EG_OK, NULL, 0) == EG_OK);
        return;
    }
    m = message_copy(rt, MESSAGE_CALL, &p->job.calls, sizeof p->job.calls);
    m->tag = PLAY_ECHO;
    p->job.calls--;
    EG_ASSERT(genserver_call(self, p->job.whom, m, 5000, &then) == EG_OK);
}

static void on_call(struct actor *self, void *state, struct caller from, struct message *m) {
    struct player *p = state;

    if (m->tag == PLAY_ECHO) {
        EG_ASSERT(genserver_reply(self, from, EG_OK, m->payload, m->size_bytes) == EG_OK);
        return;
    }
    p->boss = from;
    memcpy(&p->job, m->payload, sizeof p->job);
    next_call(self, p);
}

static const struct genserver_ops player = {
    .name = "player", .state_bytes = sizeof(struct player), .call = on_call};

static eg_pid spawn_player(uint32_t scheduler) {
    struct genserver_opts o = {.ops = &player, .spawn = {.scheduler = SPAWN_ON(scheduler)}};
    eg_pid pid;
    EG_ASSERT(genserver_spawn(rt, NULL, &o, &pid, NULL) == EG_OK);
    return pid;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static void bench_calls(const char *name, uint32_t scheduler, uint64_t calls) {
    struct job job = {spawn_player(scheduler), calls};
    eg_pid pid = spawn_player(0);
    double rate[REPEATS];

    for (int i = 0; i < REPEATS; i++) {
        uint64_t start_ns = now_ns();
        message_free(rt, ask(pid, PLAY_RUN, &job, sizeof job));
        rate[i] = (double) calls * 1e9 / (double) (now_ns() - start_ns);
    }
    qsort(rate, REPEATS, sizeof *rate, compare);
    print(name, rate[REPEATS / 2], "calls/s");
}

/* ---- restarts -------------------------------------------------------------------- */

static _Atomic uint64_t born_ns;

static eg_err child_init(struct actor *self, void *state, const void *arg) {
    (void) self;
    (void) state;
    (void) arg;
    atomic_store(&born_ns, now_ns());
    return EG_OK;
}

static const struct genserver_ops child = {
    .name = "child", .state_bytes = sizeof(struct player), .init = child_init, .call = on_call};

static const struct child_spec specs[] = {
    {.id = "child", .kind = CHILD_SERVER, .server = &child, .name = "child"}};

static void bench_restarts(void) {
    static struct hist until_init;
    struct supervisor_opts o = {.strategy = ONE_FOR_ONE,
                                .intensity = CHILDREN_INTENSITY_MAX,
                                .period_ms = 1,
                                .children = specs,
                                .child_count = 1};
    eg_exit kill = exit_reason(EG_EXIT_KILL);
    eg_pid top;

    hist_init(&until_init);
    EG_ASSERT(supervisor_spawn(rt, NULL, &o, SPAWN_ON(0), NULL, &top) == EG_OK);
    message_free(rt, ask(top, SUPERVISOR_AWAIT, NULL, 0));
    for (int i = 0; i < RESTARTS; i++) {
        eg_pid before = registry_find(runtime_names(rt), "child"), now = before;
        uint64_t start_ns = now_ns();
        actor_exit_send(rt, EG_PID_NONE, before, &kill);
        while (eg_pid_is_none(now) || eg_pid_equal(now, before)) {
            message_free(rt, ask(top, SUPERVISOR_COUNT_CHILDREN, NULL, 0));
            now = registry_find(runtime_names(rt), "child");
        }
        hist_record(&until_init, atomic_load(&born_ns) - start_ns);
    }
    print("restart_p50", (double) hist_quantile(&until_init, 500000) / 1e3, "us");
    print("restart_p99", (double) hist_quantile(&until_init, 990000) / 1e3, "us");
    supervisor_stop(rt, top);
}

int main(void) {
    EG_ASSERT(runtime_open(&rt, &(struct runtime_opts){.alloc = alloc_system(),
                                                       .env = env_uv(),
                                                       .driver = loop_uv_driver(),
                                                       .schedulers = 2}) == EG_OK);
    EG_ASSERT(runtime_start(rt) == EG_OK);
    EG_ASSERT(foreign_open(&me, rt) == EG_OK);
    bench_calls("genserver_call_one_scheduler", 0, CALLS);
    bench_calls("genserver_call_across", 1, FAR_CALLS);
    bench_restarts();
    foreign_close(me);
    runtime_stop(rt);
    runtime_close(rt);
    return 0;
}
