/* stress_remote.c -- threads that call actors of a node which comes and goes.
 *
 * Goal: every call ends, once, with what the callee said or with a reason that says whether it
 * may have been handled; every monitor of an actor there ends in exactly one DOWN; nobody meets
 * memory that was freed (ASan) or changes behind an atomic's back (TSan).
 * Method: the public calls only.  Threads of the first node call a server of the second by name,
 * and a server of the first watches it, while the second is closed and opened again.
 *
 *     stress_remote [rounds] */
#include "engram.h"
#include "engram/actor.h"
#include "tests/support/pause.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 2, THREADS = 3, CALLS_A_ROUND = 200, WAIT_MS = 60000, CALL_MS = 20000 };
enum tag { ECHO, WATCH };

static eg_node *first, *second;
static _Atomic bool over;
static _Atomic uint64_t answered, refused, doubtful, wrong, watched, downs;

static void on_call(eg_actor *self, void *state, eg_from from, const eg_message *m) {
    eg_ref ref;
    eg_pid pid;
    eg_err err = EG_OK;

    (void) state;
    if (m->tag == WATCH) {
        memcpy(&pid, m->data, sizeof pid);
        err = eg_monitor(self, pid, &ref);
        atomic_fetch_add(&watched, err == EG_OK);
    }
    eg_reply(self, from, err, m->data, m->size_bytes);
}

static void on_info(eg_actor *self, void *state, const eg_message *m) {
    (void) self;
    (void) state;
    atomic_fetch_add(&downs, m->kind == EG_MESSAGE_DOWN);
}

static const eg_server_ops ops = {.name = "server", .call = on_call, .info = on_info};

static eg_node *open_node(const char *name, const char *join) {
    eg_options o = {.name = name,
                    .schedulers = 2,
                    .peer_listen = {"127.0.0.1:0"},
                    .join = {join},
                    .cookie = "known to both",
                    .cookie_bytes = 13};
    eg_node *node;
    eg_pid pid;
    eg_note note;

    if (eg_open(&o, &node, &note) != EG_OK ||
        eg_spawn_server(
            node, NULL,
            &(eg_spawn){.server = &ops, .name = "server", .scheduler = EG_SCHEDULER_ANY},
            &pid) != EG_OK) {
        printf("Bail out! a node cannot be opened\n");
        exit(1);
    }
    return node;
}

static void call_once(eg_pid there, uint64_t number) {
    uint64_t answer = 0;
    size_t size_bytes = 0;
    eg_err err = eg_call_wait(first, there, ECHO, &number, sizeof number, CALL_MS, &answer,
                              sizeof answer, &size_bytes);

    if (err == EG_OK && (size_bytes != sizeof answer || answer != number))
        atomic_fetch_add(&wrong, 1);
    if (err == EG_OK)
        atomic_fetch_add(&answered, 1);
    else if (err == EG_NO_REPLICA || err == EG_NOPROC || err == EG_BUSY)
        atomic_fetch_add(&refused, 1);
    else if (err == EG_IN_DOUBT)
        atomic_fetch_add(&doubtful, 1);
    else
        atomic_fetch_add(&wrong, 1); /* a timeout: its answer was lost */
    if (err != EG_OK)
        pause_ms(1);
}

static void *call_on(void *arg) {
    uint64_t number = *(uint64_t *) arg << 32;
    eg_pid there, here;

    if (eg_named(first, "second", "server", &there) != EG_OK ||
        eg_named(first, "first", "server", &here) != EG_OK)
        atomic_fetch_add(&wrong, 1);
    while (!atomic_load(&over)) {
        call_once(there, ++number);
        if (number % 16 == 0 &&
            eg_call_wait(first, here, WATCH, &there, sizeof there, CALL_MS, NULL, 0, NULL) != EG_OK)
            atomic_fetch_add(&wrong, 1);
    }
    return NULL;
}

static bool wait_for(_Atomic uint64_t *counter, uint64_t value) {
    for (int ms = 0; ms < WAIT_MS; ms += 2) {
        if (atomic_load(counter) >= value)
            return true;
        pause_ms(2);
    }
    return false;
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;
    uint64_t numbers[THREADS] = {0};
    pthread_t thread[THREADS];
    bool reached = true, told;

    printf("1..3\n");
    first = open_node("first", NULL);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = (uint64_t) i + 1;
        if (pthread_create(&thread[i], NULL, call_on, &numbers[i]) != 0)
            return 1;
    }
    for (int round = 0; round < rounds; round++) {
        uint64_t before = atomic_load(&answered);
        second = open_node("second", eg_node_peer_address(first, 0));
        reached &= wait_for(&answered, before + CALLS_A_ROUND);
        eg_close(second);
    }
    atomic_store(&over, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    told = wait_for(&downs, atomic_load(&watched));
    pause_ms(20); /* one too many would come about now */
    told = told && atomic_load(&downs) == atomic_load(&watched);
    eg_close(first);
    printf("# %llu calls answered, %llu refused, %llu in doubt; %llu watched\n",
           (unsigned long long) answered, (unsigned long long) refused,
           (unsigned long long) doubtful, (unsigned long long) watched);
    printf("%sok 1 - a node that comes again is reached again\n", reached ? "" : "not ");
    printf("%sok 2 - every call ends, and says how\n", wrong == 0 ? "" : "not ");
    printf("%sok 3 - every monitor ends in one DOWN\n", told ? "" : "not ");
    return !(reached && wrong == 0 && told);
}
