/* Who asks a node for its transactions hears of those that the program holds, too: of its threads,
 * wherever their functions are, and of its actors. */
#include <engram.h>
#include <engram/actor.h>

#include "tests/support/pause.h"
#include "tests/support/text_value.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 60000, HELD_MS = 100000, ANSWER_BYTES = 1 << 16 };

static eg_node *node;
static eg_table *table;
static int client = -1;

static void dial(void) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    const char *port = strrchr(eg_node_address(node, 0), ':');

    to.sin_port = htons((uint16_t) strtoul(port + 1, NULL, 10));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(client, (struct sockaddr *) &to, sizeof to), 0);
}

static void setup(void) {
    eg_options o = {.name = "one", .schedulers = 2, .listen = {"127.0.0.1:0"}};
    eg_note note = {""};

    cr_assert_eq(eg_open(&o, &node, &note), EG_OK, "%s", note.text);
    cr_assert_eq(eg_create_table(node, "t", NULL, &note), EG_OK, "%s", note.text);
    cr_assert_eq(eg_table_open(node, "t", &table), EG_OK);
    dial();
}

static void teardown(void) {
    close(client);
    eg_table_close(table);
    eg_close(node);
}

TestSuite(api_tx_list, .init = setup, .fini = teardown, .timeout = 240);

/* What the method `transactions` answers, as text.  Returns the rows. */
static uint32_t list(char *text, size_t size_bytes) {
    static uint8_t answer[ANSWER_BYTES];
    uint8_t request[64];
    struct value v = text_value(request, sizeof request, "[0, 1, 'transactions', []]");
    struct value_iter it;
    size_t got = 0, used;

    cr_assert_eq(send(client, v.at, v.size_bytes, 0), (ssize_t) v.size_bytes);
    while (value_scan(answer, got, &used) != EG_OK) {
        ssize_t n = recv(client, answer + got, sizeof answer - got, 0);
        cr_assert_gt(n, 0);
        got += (size_t) n;
    }
    it = value_iter_of((struct value){answer, (uint32_t) used});
    for (int i = 0; i < 4; i++) /* kind, number, error, result */
        cr_assert(value_iter_next(&it, &v));
    cr_assert_eq(value_kind_of(v), VALUE_ARRAY, "%s", value_text(v, text, size_bytes));
    (void) value_text(v, text, size_bytes);
    return value_count(v);
}

static void wait_for_rows(uint32_t count) {
    char text[1024];

    for (int ms = 0; list(text, sizeof text) != count; ms += 2) {
        cr_assert_lt(ms, WAIT_MS, "%s", text);
        pause_ms(2);
    }
}

static eg_err put(eg_tx *tx, int key) {
    uint8_t room[32];
    eg_writer w = eg_writer_init(room, sizeof room);

    eg_put_array(&w, 2);
    eg_put_int(&w, key);
    eg_put_int(&w, key);
    return eg_tx_write(tx, table, eg_written(&w));
}

/* ---- a thread ------------------------------------------------------------------------------ */

struct holder {
    sem_t has, go;
    pthread_t thread;
};

static eg_err hold(eg_tx *tx, void *arg) {
    struct holder *h = arg;
    uint8_t key = 7;
    eg_span record;

    eg_err err = eg_tx_lock(tx, table, &(eg_span){&key, 1}, true);

    if (err == EG_OK)
        err = eg_tx_get(tx, table, (eg_span){&key, 1}, &record);
    if (err == EG_NOT_FOUND)
        err = put(tx, 1);
    if (err == EG_OK)
        err = put(tx, 2);
    if (err != EG_OK)
        return err;
    sem_post(&h->has);
    sem_wait(&h->go);
    sem_post(&h->go); /* should it have lost, and be called again */
    return EG_OK;
}

static void *run_holder(void *arg) {
    cr_expect_eq(eg_transaction(node, hold, arg, &(eg_tx_options){.timeout_ms = HELD_MS}), EG_OK);
    return NULL;
}

static void holder_start(struct holder *h) {
    sem_init(&h->has, 0, 0);
    sem_init(&h->go, 0, 0);
    cr_assert_eq(pthread_create(&h->thread, NULL, run_holder, h), 0);
    sem_wait(&h->has);
}

static void holder_end(struct holder *h) {
    sem_post(&h->go);
    pthread_join(h->thread, NULL);
}

Test(api_tx_list, what_a_thread_holds_is_shown_while_its_function_runs) {
    char text[1024];
    struct holder h;

    wait_for_rows(0);
    holder_start(&h);
    cr_expect_eq(list(text, sizeof text), 1, "%s", text);
    for (const char *const *held = (const char *const[]){"'thread ", "'open'", "'seen': 1",
                                                         "'changes': 2", "'locks': 1", NULL};
         *held != NULL; held++)
        cr_expect(strstr(text, *held) != NULL, "%s: %s", *held, text);
    holder_end(&h);
    wait_for_rows(0);
}

/* ---- an actor ------------------------------------------------------------------------------ */

static eg_err touch(eg_tx *tx, void *arg) {
    (void) arg;
    return put(tx, 7);
}

static void on_done(eg_actor *self, void *state, void *context, eg_err outcome, const void *data,
                    size_t size_bytes) {
    (void) state;
    (void) context;
    (void) data;
    (void) size_bytes;
    cr_expect_eq(outcome, EG_OK);
    eg_exit_normal(self);
}

static void on_cast(eg_actor *self, void *state, const eg_message *m) {
    static const eg_tx_options o = {.timeout_ms = HELD_MS};

    (void) state;
    (void) m;
    cr_expect_eq(eg_transaction_then(self, node, touch, NULL, &o, on_done, NULL), EG_OK);
}

Test(api_tx_list, what_an_actor_waits_with_is_shown_between_its_turns) {
    static const eg_server_ops ops = {.name = "worker", .state_bytes = 1, .cast = on_cast};
    char text[1024];
    struct holder h;
    eg_pid pid;

    holder_start(&h);
    cr_assert_eq(eg_spawn_server(node, NULL, &(eg_spawn){.server = &ops}, &pid), EG_OK);
    cr_assert_eq(eg_cast(node, NULL, pid, 0, "", 0), EG_OK);
    wait_for_rows(2);
    (void) list(text, sizeof text);
    cr_expect(strstr(text, "actor <") != NULL, "%s", text);
    holder_end(&h);
    wait_for_rows(0);
}

/* ---- many at once ---------------------------------------------------------------------------- */

static eg_err read_and_write(eg_tx *tx, void *arg) {
    uint8_t key = *(uint8_t *) arg;
    eg_span record;
    eg_err err = eg_tx_get(tx, table, (eg_span){&key, 1}, &record);

    return err == EG_OK || err == EG_NOT_FOUND ? put(tx, key) : err;
}

static void *run_many(void *arg) {
    for (uint8_t key = 0; !atomic_load((atomic_bool *) arg); key = (uint8_t) ((key + 1) % 100))
        cr_expect_eq(eg_transaction(node, read_and_write, &key, NULL), EG_OK);
    return NULL;
}

Test(api_tx_list, it_is_asked_while_threads_begin_and_end_and_go) {
    enum { LOOKS = 100, ROUNDS = 5, THREADS = 2 };
    char text[1024];

    for (int round = 0; round < ROUNDS; round++) {
        atomic_bool over = false;
        pthread_t thread[THREADS];

        for (int i = 0; i < THREADS; i++)
            cr_assert_eq(pthread_create(&thread[i], NULL, run_many, &over), 0);
        for (int i = 0; i < LOOKS; i++)
            cr_expect_leq(list(text, sizeof text), (uint32_t) THREADS, "%s", text);
        atomic_store(&over, true);
        for (int i = 0; i < THREADS; i++)
            pthread_join(thread[i], NULL);
    }
    wait_for_rows(0);
}
