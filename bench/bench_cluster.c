/* bench_cluster.c -- writes to a table with copies on three nodes, from programs that have them
 * embedded.
 *
 *     bench_cluster [--smoke] [actors | threads] [unix]
 *
 * Three processes on this machine, a node in each, eight writers dealt out over them that write
 * random ones of 10,000 keys and wait for each answer: what bench/peers/mnesia_cluster.escript
 * does.  There a writer is an Erlang process inside a node, so here it is an actor; as threads of
 * the program they are woken by the system for each answer.  What one copy acknowledges is written
 * dirty, which waits for nobody: by threads, whose writes are done when the call returns, as
 * async_dirty's are.  The nodes talk over TCP, or by unix sockets.
 *
 * The parent opens no node: it tells phases through memory that all share, and counts. */
#include "bench/trio.h"

#include "engram/actor.h"

#include <pthread.h>
#include <sys/resource.h>

enum {
    WRITERS = 8,
    KEYS = 10000,
    BUSY_US = 200,
    SETTLE_US = 500000, /* as the peer's */
    LOOK_AT_CLOCK = 16,
    PROBES = 256
};

/* Where a run is: the parent moves it on when all nodes are done. */
enum phase { JOIN, CREATE, OPEN, ALL_COPIES, ONE_COPY, SETTLE, LOOK, END, PHASES };

struct shared {
    struct trio trio;
    _Atomic uint64_t written[PHASES];
    _Atomic uint64_t user_us[PHASES], system_us[PHASES], switches[PHASES]; /* what it took */
    uint64_t seen[TRIO_NODES][KEYS]; /* of each key at the end: what its copy there is */
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

    for (int i = n->number; i < WRITERS; i += TRIO_NODES) {
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
    trio_until(all_ended, &ends, "a writer does not end");
    for (int i = 0; i < ends.count; i++) {
        atomic_fetch_add(&n->shared->written[phase], writer[i].count);
        if (threads)
            pthread_join(thread[i], NULL);
    }
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
        n->node = trio_join(&n->shared->trio, n->number);
    else if (phase == CREATE && n->number == 0)
        create(n);
    else if (phase == OPEN)
        trio_until(opens, n, "the table does not come");
    else if (phase == ALL_COPIES)
        write_all(n, n->all, n->shared->threads, phase);
    else if (phase == ONE_COPY)
        write_all(n, n->one, true, phase);
    else if (phase == SETTLE)
        usleep(SETTLE_US);
    else if (phase == LOOK)
        look(n);
}

static void run_node(struct trio *t, int number) {
    struct shared *s = (struct shared *) t;
    struct bench_node n = {.shared = s, .number = number};

    for (int phase = 0; phase < PHASES; phase++) {
        trio_await(t, phase);
        add_usage(s, phase, -1);
        run_phase(&n, phase);
        add_usage(s, phase, 1);
        trio_done(t, phase);
    }
    eg_table_close(n.all);
    eg_table_close(n.one);
    eg_close(n.node);
}

/* ---- the parent ------------------------------------------------------------------------------ */

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
        double took_s = trio_phase(&s->trio, phase);
        if (name[phase] != NULL)
            tell(s, phase, name[phase], took_s);
    }
    tell_differing(s);
    trio_end(&s->trio, END);
}

int main(int argc, char **argv) {
    struct shared *s = trio_memory(sizeof *s);

    s->seconds = 2;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0)
            s->seconds = 0.2;
        s->threads |= strcmp(argv[i], "threads") == 0;
        if (strcmp(argv[i], "unix") == 0)
            trio_by_unix(&s->trio);
    }
    trio_fork(&s->trio, run_node);
    measure(s);
    return 0;
}
