/* bench_cluster.c -- writes to a table with copies on three nodes, from programs that have them
 * embedded.
 *
 *     bench_cluster [--smoke] [actors | threads]
 *
 * Three processes on this machine, a node in each, eight writers dealt out over them that write
 * random ones of 10,000 keys and wait for each answer: what bench/peers/mnesia_cluster.escript
 * does.  There a writer is an Erlang process inside a node, so here it is an actor; as threads of
 * the program they are woken by the system for each answer.  What one copy acknowledges is written
 * dirty, which waits for nobody: by threads, whose writes are done when the call returns, as
 * async_dirty's are.
 *
 * The parent opens no node: it tells phases through memory that all share, and counts. */
#include "bench/bench.h"

#include "engram/actor.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum {
    NODES = 3,
    WRITERS = 8,
    KEYS = 10000,
    POLL_US = 2000,
    BUSY_US = 200,
    SETTLE_US = 500000, /* as the peer's */
    WAIT_S = 60,
    LOOK_AT_CLOCK = 16,
    PROBES = 256
};

/* Where a run is: the parent moves it on when all nodes are done. */
enum phase { JOIN, CREATE, OPEN, ALL_COPIES, ONE_COPY, SETTLE, LOOK, END, PHASES };

struct shared {
    char address[NODES][128]; /* where the others reach it; written before has_address */
    _Atomic bool has_address[NODES];
    _Atomic int phase;
    _Atomic int done[PHASES]; /* nodes */
    _Atomic uint64_t written[PHASES];
    _Atomic uint64_t user_us[PHASES], system_us[PHASES], switches[PHASES]; /* what it took */
    uint64_t seen[NODES][KEYS]; /* of each key at the end: what its copy there is */
    double seconds;
    bool threads;
};

struct bench_node {
    struct shared *shared;
    int number;
    eg_node *node;
    eg_table *all, *one;
};

struct writer {
    struct bench_node *of;
    eg_table *table;
    uint64_t random, count;
    double until_s;
    _Atomic int *ended; /* of its node's */
};

static void until(bool (*condition)(void *), void *user, const char *what) {
    double end_s = bench_now_s() + WAIT_S;

    while (!condition(user)) {
        if (bench_now_s() > end_s) {
            fprintf(stderr, "bench_cluster: %s\n", what);
            exit(1);
        }
        usleep(POLL_US);
    }
}

/* ---- a writer ---------------------------------------------------------------------------- */

static eg_span next_record(struct writer *w, uint8_t *at, size_t size_bytes) {
    uint8_t value[BENCH_VALUE_BYTES] = {1};
    eg_writer out = eg_writer_init(at, size_bytes);

    memcpy(value, &w->random, sizeof w->random);

    eg_put_array(&out, 2);
    eg_put_uint(&out, 1 + bench_random(&w->random) % KEYS);
    eg_put_bytes(&out, value, sizeof value);
    return eg_written(&out);
}

static bool is_over(const struct writer *w) {
    return w->count % LOOK_AT_CLOCK == 0 && bench_now_s() >= w->until_s;
}

static void write_next(eg_actor *self, struct writer *w);

static void on_written(eg_actor *self, void *state, void *context, eg_err outcome, const void *data,
                       size_t size_bytes) {
    struct writer *w = *(struct writer **) state;

    (void) context;
    (void) data;
    (void) size_bytes;
    bench_must(outcome, "write");
    w->count++;
    if (is_over(w)) {
        atomic_fetch_add(w->ended, 1);
        eg_exit_normal(self);
    } else {
        write_next(self, w);
    }
}

static void write_next(eg_actor *self, struct writer *w) {
    uint8_t room[BENCH_RECORD_ENCODED];

    bench_must(eg_write_then(self, w->table, next_record(w, room, sizeof room), on_written, NULL),
               "write");
}

static eg_err begin(eg_actor *self, void *state, const void *arg) {
    *(const void **) state = arg;
    write_next(self, *(struct writer **) state);
    return EG_OK;
}

static void *run_thread(void *arg) {
    struct writer *w = arg;
    uint8_t room[BENCH_RECORD_ENCODED];

    do {
        eg_err err = eg_write(w->table, next_record(w, room, sizeof room));

        if (err == EG_BUSY) { /* the others do not keep up */
            usleep(BUSY_US);
            continue;
        }
        bench_must(err, "write");
        w->count++;
    } while (!is_over(w));
    atomic_fetch_add(w->ended, 1);
    return NULL;
}

/* ---- a node ------------------------------------------------------------------------------- */

struct ends {
    _Atomic int ended;
    int count;
};

static bool all_ended(void *user) {
    struct ends *e = user;
    return atomic_load(&e->ended) == e->count;
}

/* This node's writers, until their time is over. */
static void write_all(struct bench_node *n, eg_table *table, bool threads, int phase) {
    static const eg_server_ops ops = {
        .name = "writer", .state_bytes = sizeof(struct writer *), .init = begin};
    struct writer writer[WRITERS];
    pthread_t thread[WRITERS];
    struct ends ends = {0};
    eg_pid pid;

    for (int i = n->number; i < WRITERS; i += NODES) {
        struct writer *w = &writer[ends.count];
        *w = (struct writer){.of = n,
                             .table = table,
                             .random = (uint64_t) i,
                             .until_s = bench_now_s() + n->shared->seconds,
                             .ended = &ends.ended};
        if (threads)
            bench_must(pthread_create(&thread[ends.count], NULL, run_thread, w) == 0 ? EG_OK
                                                                                     : EG_MEMORY,
                       "thread");
        else
            bench_must(eg_spawn_server(n->node, NULL, &(eg_spawn){.server = &ops, .arg = w}, &pid),
                       "spawn");
        ends.count++;
    }
    until(all_ended, &ends, "a writer does not end");
    for (int i = 0; i < ends.count; i++) {
        atomic_fetch_add(&n->shared->written[phase], writer[i].count);
        if (threads)
            pthread_join(thread[i], NULL);
    }
}

static bool sees_all(void *user) {
    const struct bench_node *n = user;
    char names[NODES][EG_NAME_BYTES];
    size_t count = 0;

    return eg_nodes(n->node, names, NODES, &count) == EG_OK && count == NODES - 1;
}

static bool first_is_there(void *user) {
    const struct bench_node *n = user;
    return atomic_load(&n->shared->has_address[0]);
}

static void join(struct bench_node *n) {
    struct shared *s = n->shared;
    char name[] = "bench-0";
    eg_options o = {.name = name, .peer_listen = {"127.0.0.1:0"}, .schedulers = 1};

    name[sizeof name - 2] = (char) ('0' + n->number);
    if (n->number != 0) {
        until(first_is_there, n, "the first node does not start");
        o.join[0] = s->address[0];
    }
    bench_must(eg_open(&o, &n->node, NULL), "open");
    snprintf(s->address[n->number], sizeof s->address[0], "%s", eg_node_peer_address(n->node, 0));
    atomic_store(&s->has_address[n->number], true);
    until(sees_all, n, "the nodes do not find each other");
}

static void write_probes(eg_table *table) {
    for (uint32_t i = 0; i < PROBES; i++) {
        uint8_t room[16];
        eg_writer w = eg_writer_init(room, sizeof room);
        eg_put_array(&w, 2);
        eg_put_uint(&w, KEYS + 1 + i);
        eg_put_nil(&w);
        bench_must(eg_write(table, eg_written(&w)), "write");
    }
}

static void create(struct bench_node *n) {
    bench_must(eg_create_table(n->node, "all", NULL, NULL), "create");
    bench_must(eg_create_table(n->node, "one", NULL, NULL), "create");
    bench_must(eg_table_open(n->node, "all", &n->all), "open");
    bench_must(eg_table_open_dirty(n->node, "one", &n->one), "open");
    write_probes(n->all);
    write_probes(n->one);
}

/* What the first node has written can be read in place here: then the copies are full. */
static bool has_probes(eg_node *node, eg_table *table) {
    uint32_t found = 0;

    bench_must(eg_read_begin(node), "read");
    for (uint32_t i = 0; i < PROBES; i++) {
        uint8_t room[16];
        eg_writer w = eg_writer_init(room, sizeof room);
        eg_span record;
        eg_put_uint(&w, KEYS + 1 + i);
        found += eg_get(table, eg_written(&w), &record) == EG_OK;
    }
    eg_read_end(node);
    return found == PROBES;
}

static bool opens(void *user) {
    struct bench_node *n = user;
    return (n->all != NULL || eg_table_open(n->node, "all", &n->all) == EG_OK) &&
           (n->one != NULL || eg_table_open_dirty(n->node, "one", &n->one) == EG_OK) &&
           has_probes(n->node, n->all) && has_probes(n->node, n->one);
}

/* What this node's own copy of each key is, as a sum. */
static void look(struct bench_node *n) {
    bench_must(eg_read_begin(n->node), "read");
    for (uint32_t i = 0; i < KEYS; i++) {
        uint64_t sum = 14695981039346656037u; /* FNV-1a */
        uint8_t room[16];
        eg_writer w = eg_writer_init(room, sizeof room);
        eg_span record;

        eg_put_uint(&w, 1 + i);
        if (eg_get(n->one, eg_written(&w), &record) == EG_OK)
            for (size_t k = 0; k < record.size_bytes; k++)
                sum = (sum ^ ((const uint8_t *) record.at)[k]) * 1099511628211u;
        n->shared->seen[n->number][i] = sum;
    }
    eg_read_end(n->node);
}

struct moment {
    struct shared *shared;
    int phase;
};

static bool has_come(void *user) {
    const struct moment *m = user;
    return atomic_load(&m->shared->phase) >= m->phase;
}

static uint64_t us_of(struct timeval t) {
    return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_usec;
}

static void add_usage(struct shared *s, int phase, int sign) {
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    atomic_fetch_add(&s->user_us[phase], (uint64_t) sign * us_of(u.ru_utime));
    atomic_fetch_add(&s->system_us[phase], (uint64_t) sign * us_of(u.ru_stime));
    atomic_fetch_add(&s->switches[phase], (uint64_t) (sign * (u.ru_nvcsw + u.ru_nivcsw)));
}

static void run_phase(struct bench_node *n, int phase) {
    if (phase == JOIN)
        join(n);
    else if (phase == CREATE && n->number == 0)
        create(n);
    else if (phase == OPEN)
        until(opens, n, "the table does not come");
    else if (phase == ALL_COPIES)
        write_all(n, n->all, n->shared->threads, phase);
    else if (phase == ONE_COPY)
        write_all(n, n->one, true, phase);
    else if (phase == SETTLE)
        usleep(SETTLE_US);
    else if (phase == LOOK)
        look(n);
}

static void run_node(struct shared *s, int number) {
    struct bench_node n = {.shared = s, .number = number};

    for (int phase = 0; phase < PHASES; phase++) {
        struct moment m = {s, phase};
        until(has_come, &m, "the others do not come along");
        add_usage(s, phase, -1);
        run_phase(&n, phase);
        add_usage(s, phase, 1);
        atomic_fetch_add(&s->done[phase], 1);
    }
    eg_table_close(n.all);
    eg_table_close(n.one);
    eg_close(n.node);
}

/* ---- the parent ------------------------------------------------------------------------------ */

static bool all_done(void *user) {
    const struct moment *m = user;

    if (waitpid(-1, NULL, WNOHANG) > 0)
        exit(1); /* it has said why */
    return atomic_load(&m->shared->done[m->phase]) == NODES;
}

static void tell(struct shared *s, int phase, const char *name, double took_s) {
    double written = (double) atomic_load(&s->written[phase]);
    char text[64];

    bench_print(name, written / took_s, "/s");
    snprintf(text, sizeof text, "%s: user time of a write", name);
    bench_print(text, (double) atomic_load(&s->user_us[phase]) / written, "us");
    snprintf(text, sizeof text, "%s: system time of a write", name);
    bench_print(text, (double) atomic_load(&s->system_us[phase]) / written, "us");
    snprintf(text, sizeof text, "%s: context switches of a write", name);
    bench_print(text, (double) atomic_load(&s->switches[phase]) / written, "");
}

static void tell_differing(const struct shared *s) {
    uint32_t differ = 0;

    for (uint32_t i = 0; i < KEYS; i++)
        differ += s->seen[0][i] != s->seen[1][i] || s->seen[0][i] != s->seen[2][i];
    bench_print("keys that differ", differ, "keys");
}

static void measure(struct shared *s) {
    static const char *const name[PHASES] = {[ALL_COPIES] = "all copies", [ONE_COPY] = "one copy"};

    for (int phase = 0; phase < END; phase++) {
        struct moment m = {s, phase};
        double began_s = bench_now_s();
        atomic_store(&s->phase, phase);
        until(all_done, &m, "a node does not come along");
        if (name[phase] != NULL)
            tell(s, phase, name[phase], bench_now_s() - began_s);
    }
    tell_differing(s);
    atomic_store(&s->phase, END);
}

int main(int argc, char **argv) {
    struct shared *s =
        mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (s == MAP_FAILED)
        return 1;
    s->seconds = 2;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0)
            s->seconds = 0.2;
        s->threads |= strcmp(argv[i], "threads") == 0;
    }
    for (int i = 0; i < NODES; i++)
        if (fork() == 0) {
            run_node(s, i);
            return 0;
        }
    measure(s);
    for (int i = 0; i < NODES; i++)
        wait(NULL);
    return 0;
}
