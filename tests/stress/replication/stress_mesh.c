/* stress_mesh.c -- threads that send over a real link while it is dropped and comes up again.
 *
 * Two claims, each a test in TAP: what several threads send at once arrives, each thread's in
 * its order and each payload once; where the link is dropped again and again, what arrives is
 * still in order and never twice, and what is sent after the last drop arrives.
 *
 *     stress_mesh [payloads a thread] */
#include "engine/loop_uv.h"
#include "replication/mesh.h"
#include "tests/support/fail_alloc.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 3, PAYLOADS = 20000, FILLER_BYTES = 100, DROPS = 20, WAIT_S = 120 };

struct side {
    struct runtime *rt;
    struct mesh *mesh;
    struct node_info info;
    _Atomic uint32_t ups, downs;
    uint64_t next[THREADS]; /* the scheduler's that hears */
    _Atomic uint64_t heard[THREADS];
    _Atomic uint64_t wrong, missed;
};

static struct fail_alloc memory;
static struct side side[2];
static uint64_t payloads = PAYLOADS;
static _Atomic int drops; /* done, of those that were asked for */
static int failures;

static void tap(int number, bool ok, const char *claim) {
    printf("%sok %d - %s\n", ok ? "" : "not ", number, claim);
    failures += !ok;
}

static eg_err may_link(void *user, const struct node_info *who, struct err_note *note) {
    (void) user;
    (void) who;
    (void) note;
    return EG_OK;
}
static void on_up(void *user, const struct node_info *who) {
    (void) who;
    atomic_fetch_add(&((struct side *) user)->ups, 1);
}
static void on_down(void *user, uint64_t id) {
    (void) id;
    atomic_fetch_add(&((struct side *) user)->downs, 1);
}
static void on_payload(void *user, uint64_t from, enum mesh_channel channel, struct value payload) {
    struct side *s = user;
    struct value_iter it = value_iter_of(payload);
    struct value field;
    uint64_t thread, number;

    (void) from;
    (void) channel;
    EG_ASSERT(value_iter_next(&it, &field) && value_get_u64(field, &thread) && thread < THREADS);
    EG_ASSERT(value_iter_next(&it, &field) && value_get_u64(field, &number));
    if (number < s->next[thread])
        atomic_fetch_add(&s->wrong, 1);
    if (number > s->next[thread])
        atomic_fetch_add(&s->missed, 1);
    s->next[thread] = number + 1;
    atomic_store(&s->heard[thread], number + 1);
}

static void open_side(int i) {
    static const struct mesh_events events = {may_link, on_up, on_down, on_payload, NULL};
    static const char *const listen[] = {"127.0.0.1:0"};
    struct side *s = &side[i];

    memset(s, 0, sizeof *s);
    snprintf(s->info.name, sizeof s->info.name, "n%d", i);
    s->info.id = node_id_of(s->info.name);
    s->info.incarnation = 1;
    EG_ASSERT(runtime_open(&s->rt, &(struct runtime_opts){.alloc = &memory.base,
                                                          .env = env_uv(),
                                                          .driver = loop_uv_driver(),
                                                          .schedulers = 1,
                                                          .actors_max = 1000}) == EG_OK);
    EG_ASSERT(runtime_start(s->rt) == EG_OK);
    EG_ASSERT(mesh_open(&s->mesh,
                        &(struct mesh_opts){.alloc = &memory.base,
                                            .runtime = s->rt,
                                            .env = env_uv(),
                                            .net_open = stream_net_uv_of,
                                            .listen = listen,
                                            .listen_count = 1,
                                            .cookie = "secret",
                                            .cookie_bytes = 6,
                                            .self = &s->info,
                                            .events = &events,
                                            .user = s},
                        NULL) == EG_OK);
}

static void close_sides(void) {
    for (int i = 0; i < 2; i++)
        mesh_close(side[i].mesh);
    for (int i = 0; i < 2; i++) {
        runtime_stop(side[i].rt);
        runtime_close(side[i].rt);
    }
}

static void know_other(struct scheduler *s, void *arg) {
    (void) s;
    (void) arg;
    mesh_know(side[0].mesh, mesh_self(side[1].mesh));
}

static void drop_other(struct scheduler *s, void *arg) {
    struct side *at = arg;

    (void) s;
    mesh_drop(at->mesh, side[at == &side[0]].info.id);
    atomic_fetch_add(&drops, 1);
}

static void post(int i, void (*fn)(struct scheduler *s, void *arg)) {
    EG_ASSERT(scheduler_post(runtime_scheduler(side[i].rt, 0), fn, &side[i]) == EG_OK);
}

static bool both_up(void) {
    return mesh_is_up(side[0].mesh, side[1].info.id) && mesh_is_up(side[1].mesh, side[0].info.id);
}

/* False: not in a time that is long for any machine. */
static bool wait_until(bool (*done)(void)) {
    uint64_t end_ns = env_now_ns(env_uv()) + WAIT_S * UINT64_C(1000000000);

    while (!done()) {
        if (env_now_ns(env_uv()) > end_ns)
            return false;
        uv_sleep(1);
    }
    return true;
}

static bool heard_all(void) {
    for (int t = 0; t < THREADS; t++) {
        if (atomic_load(&side[1].heard[t]) != payloads)
            return false;
    }
    return true;
}

static void send_all(void *arg) {
    uint64_t thread = *(uint64_t *) arg;
    static const uint8_t filler[FILLER_BYTES];
    uint8_t at[FILLER_BYTES + 32];

    for (uint64_t n = 0; n < payloads; n++) {
        struct value_writer w = value_writer_init(at, sizeof at);
        value_put_array(&w, 3);
        value_put_u64(&w, thread);
        value_put_u64(&w, n);
        value_put_binary(&w, filler, sizeof filler);
        while (mesh_send(side[0].mesh, side[1].info.id, MESH_REPLICA,
                         (struct value){at, (uint32_t) w.need_bytes}) != EG_OK)
            uv_sleep(1); /* full, or down */
    }
}

static void run_threads(void (*body)(void *)) {
    static uint64_t number[THREADS];
    uv_thread_t thread[THREADS];

    for (uint64_t i = 0; i < THREADS; i++) {
        number[i] = i;
        EG_ASSERT(uv_thread_create(&thread[i], body, &number[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&thread[i]);
}

static void steady(int number) {
    uint64_t begin_ns, ns;
    bool ok;

    open_side(0);
    open_side(1);
    post(0, know_other);
    ok = wait_until(both_up);
    begin_ns = env_now_ns(env_uv());
    if (ok)
        run_threads(send_all);
    ok = ok && wait_until(heard_all);
    ns = env_now_ns(env_uv()) - begin_ns;
    printf("# %.0f payloads a second\n", (double) (THREADS * payloads) * 1e9 / (double) ns);
    ok = ok && atomic_load(&side[1].wrong) + atomic_load(&side[1].missed) == 0;
    tap(number, ok, "what threads send over a link arrives in order, each payload once");
    close_sides();
}

static void drop_all(void *arg) {
    (void) arg;
    for (int i = 0; i < DROPS; i++) {
        post(i % 2, drop_other);
        while (atomic_load(&drops) <= i)
            uv_sleep(1);
        wait_until(both_up);
        uv_sleep(20);
    }
}

static void dropped(int number) {
    uv_thread_t dropper;
    bool ok;

    open_side(0);
    open_side(1);
    post(0, know_other);
    ok = wait_until(both_up);
    EG_ASSERT(uv_thread_create(&dropper, drop_all, NULL) == 0);
    run_threads(send_all);
    uv_thread_join(&dropper);
    ok = ok && wait_until(both_up);
    run_threads(send_all); /* from 0 again: the others come first */
    ok = ok && wait_until(heard_all);
    ok = ok && atomic_load(&side[1].wrong) <= THREADS; /* where each thread begins again */
    printf("# %u drops, %llu gaps\n", atomic_load(&side[1].downs),
           (unsigned long long) atomic_load(&side[1].missed));
    tap(number, ok, "over a link that is dropped nothing comes twice or late");
    close_sides();
}

int main(int argc, char **argv) {
    if (argc > 1)
        payloads = strtoull(argv[1], NULL, 10);
    memory = fail_alloc_after(INT_MAX);
    printf("1..3\n");
    steady(1);
    dropped(2);
    tap(3, memory.live == 0, "all memory comes back");
    return failures != 0;
}
