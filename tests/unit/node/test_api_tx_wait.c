/* Transactions that wait for what another one holds, on their own node and on another: their time
 * ends them, whoever holds it goes on, and who comes afterwards finds nothing of them. */
#include <engram.h>

#include "tests/support/pause.h"
#include "tests/support/text_span.h"
#include "tests/support/two_nodes.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

/* The holder goes on far longer than anybody else here may wait; it is let go at the end. */
enum { SHORT_MS = 200, HELD_MS = 100000, KEYS = 8 };

static const char spread[] = "{'copies': 1, 'shards': 8, 'attributes': ['k', 'n']}";
static eg_node *node[2];
static eg_table *held[2], *before[2];

static void setup(void) {
    two_nodes_open(node, 1);
    two_nodes_create_table(node, "held", spread, held);
    two_nodes_create_table(node, "before", spread, before);
}

static void teardown(void) {
    two_nodes_close_table(held);
    two_nodes_close_table(before);
    two_nodes_close(node);
}

TestSuite(api_tx_wait, .init = setup, .fini = teardown, .timeout = 240);

/* ---- who holds ----------------------------------------------------------------------------- */

struct holder {
    int side;
    sem_t ask, has, go;
    pthread_t thread;
};

static eg_err hold(eg_tx *tx, void *arg) {
    struct holder *h = arg;
    eg_err err = eg_tx_lock(tx, held[h->side], NULL, true);

    if (err != EG_OK)
        return err;
    sem_post(&h->has);
    sem_wait(&h->go);
    return eg_tx_abort(tx, "it has only held it");
}

static void *run_holder(void *arg) {
    struct holder *h = arg;
    eg_tx_options o = {.timeout_ms = HELD_MS, .tries = 1};

    sem_wait(&h->ask);
    if (eg_transaction(node[h->side], hold, h, &o) == EG_CONFLICT)
        sem_post(&h->has); /* it has lost it before it had all of it */
    return NULL;
}

/* ---- who waits ----------------------------------------------------------------------------- */

enum act { READ, MATCH, LOCK, LOCK_ALL, WRITE_ONE, WRITE_MANY, ACTS };

struct waiter {
    struct holder holder;
    int side, key;
    enum act act;
    bool first; /* it has begun, and holds something else, before the holder */
    bool asked;
};

static eg_err put(eg_tx *tx, eg_table *table, int key) {
    uint8_t room[32];
    eg_writer w = eg_writer_init(room, sizeof room);

    eg_put_array(&w, 2);
    eg_put_int(&w, key);
    eg_put_int(&w, 1);
    return eg_tx_write(tx, table, eg_written(&w));
}

static eg_err act(eg_tx *tx, struct waiter *w) {
    eg_table *table = held[w->side];
    uint8_t at = (uint8_t) w->key, room[256];
    eg_span key = {&at, 1}, record;
    eg_result found;
    eg_err err = EG_OK;

    switch (w->act) {
    case READ:
        err = eg_tx_get(tx, table, key, &record);
        return err == EG_NOT_FOUND ? EG_OK : err;
    case MATCH:
        err = eg_tx_match(tx, table, text_span(room, "['_', 1]"), 0, &found);
        if (err == EG_OK)
            eg_result_free(&found);
        return err;
    case LOCK:
        return eg_tx_lock(tx, table, &key, false);
    case LOCK_ALL:
        return eg_tx_lock(tx, table, NULL, true);
    case WRITE_ONE:
        return put(tx, table, w->key);
    default:
        for (int i = 0; i < KEYS && err == EG_OK; i++)
            err = put(tx, table, i);
        return err;
    }
}

static eg_err wait(eg_tx *tx, void *arg) {
    struct waiter *w = arg;
    uint8_t at = (uint8_t) w->key;
    eg_err err = EG_OK;

    if (w->first)
        err = eg_tx_lock(tx, before[w->side], &(eg_span){&at, 1}, true);
    if (err != EG_OK)
        return err;
    if (!w->asked) {
        if (w->first)
            pause_ms(20); /* more than a tick of the clock that says who is older */
        sem_post(&w->holder.ask);
        sem_wait(&w->holder.has);
    }
    w->asked = true;
    return act(tx, w);
}

static eg_err put_all(eg_tx *tx, void *arg) {
    int side = *(int *) arg;
    eg_err err = EG_OK;

    for (int i = 0; i < 2 * KEYS && err == EG_OK; i++)
        err = put(tx, i < KEYS ? held[side] : before[side], i % KEYS);
    return err;
}

/* The holder is on one node, who waits on one, and what it waits for is on both. */
static eg_err end_of(enum act what, bool first, int at, int holds, eg_note *note) {
    struct waiter w = {
        .holder = {.side = holds}, .side = at, .key = (int) what, .act = what, .first = first};
    eg_tx_options o = {.timeout_ms = SHORT_MS, .note = note};
    eg_err err;

    sem_init(&w.holder.ask, 0, 0);
    sem_init(&w.holder.has, 0, 0);
    sem_init(&w.holder.go, 0, 0);
    cr_assert_eq(pthread_create(&w.holder.thread, NULL, run_holder, &w.holder), 0);
    err = eg_transaction(node[at], wait, &w, &o);
    if (!w.asked) /* the machine is so slow that it never came to it */
        sem_post(&w.holder.ask);
    sem_post(&w.holder.go);
    pthread_join(w.holder.thread, NULL);
    cr_assert_eq(eg_transaction(node[at], put_all, &at, NULL), EG_OK, "something is held still");
    return err;
}

/* Who is younger than the holder and wants a lock does not wait, but tries again and again. */
static bool is_wanted(enum act what, bool first, eg_err err) {
    return err == EG_ABORTED || (!first && what != READ && err == EG_CONFLICT);
}

/* Locks go with a view: where that has changed meanwhile it is seen another time. */
static void its_time_ends_it(bool first) {
    enum { TRIES = 8 };

    for (int what = READ; what < ACTS; what++)
        for (int sides = 0; sides < 4; sides++) {
            eg_note note = {""};
            eg_err err = EG_OK;

            for (int i = 0; i < TRIES && !is_wanted((enum act) what, first, err); i++)
                err = end_of((enum act) what, first, sides & 1, sides >> 1, &note);
            cr_expect(is_wanted((enum act) what, first, err), "%d on %d, held on %d: %s: %s", what,
                      sides & 1, sides >> 1, eg_err_name(err), note.text);
            if (err == EG_ABORTED)
                cr_expect_not_null(strstr(note.text, "time"), "%s", note.text);
        }
}

Test(api_tx_wait, its_time_ends_who_is_older_than_the_holder) {
    its_time_ends_it(true);
}

Test(api_tx_wait, its_time_ends_who_is_younger_than_the_holder) {
    its_time_ends_it(false);
}
