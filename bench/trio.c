/* trio.c -- three nodes in three processes, in step. */
#include "bench/trio.h"

#include "engram/actor.h"

#include <sys/mman.h>
#include <sys/wait.h>

enum { POLL_US = 2000, WAIT_S = 60 };

void *trio_memory(size_t size_bytes) {
    void *at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return at;
}

void trio_by_unix(struct trio *t) {
    snprintf(t->folder, sizeof t->folder, "/tmp/engram-bench-XXXXXX");
    if (mkdtemp(t->folder) == NULL) {
        perror(t->folder);
        exit(1);
    }
}

void trio_until(bool (*condition)(void *), void *user, const char *what) {
    double end_s = bench_now_s() + WAIT_S;

    while (!condition(user)) {
        if (bench_now_s() > end_s) {
            fprintf(stderr, "three nodes: %s\n", what);
            exit(1);
        }
        usleep(POLL_US);
    }
}

/* ---- a node ------------------------------------------------------------------------------- */

static bool first_is_there(void *user) {
    const struct trio *t = user;
    return atomic_load(&t->has_address[0]);
}

static bool sees_all(void *user) {
    char names[TRIO_NODES][EG_NAME_BYTES];
    size_t count = 0;

    return eg_nodes(user, names, TRIO_NODES, &count) == EG_OK && count == TRIO_NODES - 1;
}

eg_node *trio_join(struct trio *t, int number) {
    char name[] = "bench-0", listen[sizeof t->folder + 16] = "127.0.0.1:0";
    eg_options o = {.name = name, .peer_listen = {listen}, .schedulers = 1};
    eg_node *node;

    name[sizeof name - 2] = (char) ('0' + number);
    if (t->folder[0] != '\0')
        snprintf(listen, sizeof listen, "unix:%s/%d", t->folder, number);
    if (number != 0) {
        trio_until(first_is_there, t, "the first node does not start");
        o.join[0] = t->address[0];
    }
    bench_must(eg_open(&o, &node, NULL), "open");
    snprintf(t->address[number], sizeof t->address[0], "%s", eg_node_peer_address(node, 0));
    atomic_store(&t->has_address[number], true);
    trio_until(sees_all, node, "the nodes do not find each other");
    return node;
}

struct moment {
    struct trio *trio;
    int phase;
};

static bool has_come(void *user) {
    const struct moment *m = user;
    return atomic_load(&m->trio->phase) >= m->phase;
}

void trio_await(struct trio *t, int phase) {
    trio_until(has_come, &(struct moment){t, phase}, "the others do not come along");
}

void trio_done(struct trio *t, int phase) {
    atomic_fetch_add(&t->done[phase], 1);
}

/* ---- the parent --------------------------------------------------------------------------- */

void trio_fork(struct trio *t, void (*run)(struct trio *t, int number)) {
    for (int i = 0; i < TRIO_NODES; i++)
        if (fork() == 0) {
            run(t, i);
            exit(0);
        }
}

static bool all_done(void *user) {
    const struct moment *m = user;

    if (waitpid(-1, NULL, WNOHANG) > 0)
        exit(1); /* it has said why */
    return atomic_load(&m->trio->done[m->phase]) == TRIO_NODES;
}

double trio_phase(struct trio *t, int phase) {
    double began_s = bench_now_s();

    atomic_store(&t->phase, phase);
    trio_until(all_done, &(struct moment){t, phase}, "a node does not come along");
    return bench_now_s() - began_s;
}

void trio_end(struct trio *t, int phase) {
    atomic_store(&t->phase, phase);
    for (int i = 0; i < TRIO_NODES; i++)
        wait(NULL);
    if (t->folder[0] != '\0') /* its sockets went with their nodes */
        rmdir(t->folder);
}
