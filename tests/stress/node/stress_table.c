/* stress_table.c -- threads of a program that write, read and reshape tables at once,
 * while somebody kills the shards.
 *
 * Goal: every counter ends at the number of increments that were acknowledged; records
 * that are written together are read in one piece; indexes agree with the records when all is
 * over; nobody meets memory that was freed (ASan) or changes behind an atomic's back
 * (TSan).
 * Method: the public calls only, on a ram, a disc and an ordered table, and one that
 * is created and dropped all the time.  A killed shard may refuse, never forget.
 *
 *     stress_table [rounds] */
#include "engine/actor.h"
#include "engine/inspect.h"
#include "engram.h"
#include "node/node.h"
#include "tests/support/rng.h"
#include "tests/support/temp_dir.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

enum {
    ROUNDS = 1000,
    COUNTERS = 8,
    COUNTER_THREADS = 3,
    PAIRS = 64,
    KILLS = 10, /* below what a table's supervisor puts up with */
    RECORD_BYTES = 64,
};

struct stress {
    eg_node *node;
    int rounds;
    _Atomic bool over; /* the counters are done: the others end */
    _Atomic int64_t acknowledged[2][COUNTERS];
    _Atomic uint64_t refused, failed, torn, kills, reads, tables_made;
};

struct made {
    uint8_t bytes[4096];
    eg_writer w;
};

static eg_writer *begin(struct made *m) {
    m->w = eg_writer_init(m->bytes, sizeof m->bytes);
    return &m->w;
}

static eg_span number(struct made *m, int64_t n) {
    eg_put_int(begin(m), n);
    return eg_written(&m->w);
}

/* A shard that was killed or is busy refuses before anything has changed. */
static bool is_refusal(eg_err err) {
    return err == EG_BUSY || err == EG_NO_TABLE || err == EG_NOPROC;
}

static void count_outcome(struct stress *s, eg_err err) {
    if (is_refusal(err))
        s->refused++;
    else if (err != EG_OK && s->failed++ == 0)
        printf("# %s\n", eg_err_text(err));
}

/* ---- those who write ------------------------------------------------------------- */

static void *count(void *arg) {
    static const char *const names[] = {"ram", "disc"};
    struct stress *s = arg;
    eg_table *tables[2];

    for (int t = 0; t < 2; t++)
        EG_ASSERT(eg_table_open(s->node, names[t], &tables[t]) == EG_OK);
    for (int i = 0; i < s->rounds; i++) {
        int t = i % 2, n = i / 2 % COUNTERS;
        struct made key;
        eg_err err;

        do {
            err = eg_update_counter(tables[t], number(&key, n), "value", 1, NULL);
            count_outcome(s, err);
        } while (is_refusal(err));
        if (err == EG_OK)
            s->acknowledged[t][n]++;
    }
    for (int t = 0; t < 2; t++)
        eg_table_close(tables[t]);
    return NULL;
}

/* Pairs [n, v] and [n + PAIRS, v] are written together. */
static void *write_pairs(void *arg) {
    struct stress *s = arg;
    eg_table *table;

    EG_ASSERT(eg_table_open(s->node, "pairs", &table) == EG_OK);
    for (int64_t i = 0; !s->over; i++) {
        struct made m, key;

        eg_put_array(begin(&m), 2);
        for (int64_t half = 0; half < 2; half++) {
            eg_put_array(&m.w, 2);
            eg_put_int(&m.w, i % PAIRS + half * PAIRS);
            eg_put_int(&m.w, i % 7);
        }
        count_outcome(s, eg_write_many(table, eg_written(&m.w), NULL));
        if (i % 5 == 0)
            count_outcome(s, eg_delete(table, number(&key, i % PAIRS)));
    }
    eg_table_close(table);
    return NULL;
}

/* ---- those who read ------------------------------------------------------------------ */

static bool see(void *context, eg_span record) {
    struct stress *s = context;
    int64_t key, v;
    eg_span field;

    if (eg_count(record) != 2 || !eg_element(record, 0, &field) || !eg_as_int(field, &key) ||
        !eg_element(record, 1, &field) || !eg_as_int(field, &v) || key < 0 || key >= 2 * PAIRS ||
        v < 0 || v >= 7)
        s->torn++;
    s->reads++;
    return true;
}

static void read_index(struct stress *s, eg_table *table, int64_t wanted) {
    eg_result found;
    struct made m;
    eg_err err = eg_index_read(table, "value", number(&m, wanted), &found);

    if (err == EG_BAD_REQUEST) /* no index just now */
        return;
    count_outcome(s, err);
    if (err != EG_OK)
        return;
    for (uint32_t i = 0; i < eg_count(found.value); i++) {
        eg_span record, field;
        int64_t v = -1;
        if (!eg_element(found.value, i, &record) || !eg_element(record, 1, &field) ||
            !eg_as_int(field, &v) || v != wanted)
            s->torn++;
    }
    eg_result_free(&found);
}

static void *read_all(void *arg) {
    struct stress *s = arg;
    eg_table *table;

    EG_ASSERT(eg_table_open(s->node, "pairs", &table) == EG_OK);
    for (int64_t i = 0; !s->over; i++) {
        struct made key;
        eg_span record;

        count_outcome(s, eg_fold(table, NULL, i % 2 == 0, see, s));
        read_index(s, table, i % 7);
        if (eg_size(table) > 2 * PAIRS)
            s->torn++;
        EG_ASSERT(eg_read_begin(s->node) == EG_OK);
        if (eg_get(table, number(&key, i % (2 * PAIRS)), &record) == EG_OK)
            (void) see(s, record);
        eg_read_end(s->node);
    }
    eg_table_close(table);
    return NULL;
}

/* ---- those who reshape ------------------------------------------------------------------ */

/* Where a killed shard refused the one, the other finds things as they were. */
static void count_change(struct stress *s, eg_err err, eg_err as_it_was) {
    if (err != as_it_was)
        count_outcome(s, err);
}

static void *change_index(void *arg) {
    struct stress *s = arg;

    while (!s->over) {
        count_change(s, eg_add_index(s->node, "pairs", "value", NULL), EG_EXISTS);
        count_change(s, eg_add_index(s->node, "ram", "value", NULL), EG_EXISTS);
        count_change(s, eg_drop_index(s->node, "pairs", "value", NULL), EG_NOT_FOUND);
        count_change(s, eg_drop_index(s->node, "ram", "value", NULL), EG_NOT_FOUND);
    }
    return NULL;
}

static void *make_and_drop(void *arg) {
    struct stress *s = arg;

    while (!s->over) {
        eg_err err = eg_create_table(s->node, "passing", NULL, NULL);
        s->tables_made += err == EG_OK;
        count_change(s, err, EG_EXISTS);
        count_change(s, eg_drop_table(s->node, "passing"), EG_NO_TABLE);
    }
    return NULL;
}

/* Holds and uses a table that may be gone at any moment. */
static void *use_passing(void *arg) {
    struct stress *s = arg;

    while (!s->over) {
        eg_table *table;
        struct made m;

        if (eg_table_open(s->node, "passing", &table) != EG_OK) {
            sched_yield();
            continue;
        }
        eg_put_array(begin(&m), 2);
        eg_put_int(&m.w, 1);
        eg_put_int(&m.w, 2);
        count_outcome(s, eg_write(table, eg_written(&m.w)));
        (void) eg_size(table);
        eg_table_close(table);
    }
    return NULL;
}

/* ---- he who kills -------------------------------------------------------------------------- */

static void kill_one_shard(struct stress *s, struct rng *rng) {
    struct runtime *rt = node_runtime(s->node);
    eg_exit kill = exit_reason(EG_EXIT_KILL);
    uint32_t cursor = 0, count;
    eg_pid pids[64], victim = EG_PID_NONE;

    while ((count = runtime_pids(rt, &cursor, pids, 64)) > 0) {
        struct inspect_page *page;
        for (uint32_t i = 0; i < count; i++) {
            if (inspect_wait_pid(rt, pids[i], &page) != EG_OK)
                continue;
            if (page->count == 1 && strcmp(page->entry[0].actor.name, "shard") == 0 &&
                strcmp(page->entry[0].label_text, "passing") != 0 &&
                (eg_pid_is_none(victim) || rng_one_in(rng, 4)))
                victim = pids[i];
            inspect_free(rt, page);
        }
    }
    if (!eg_pid_is_none(victim)) {
        actor_exit_send(rt, EG_PID_NONE, victim, &kill);
        s->kills++;
    }
}

static void *kill_shards(void *arg) {
    struct stress *s = arg;
    struct rng rng = rng_of(rng_test_seed(1));

    for (int i = 0; i < KILLS && !s->over; i++)
        kill_one_shard(s, &rng);
    return NULL;
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

static void create(struct stress *s, const char *name, const char *type, const char *storage) {
    eg_note note = {""};
    struct made m;
    eg_span options;
    eg_err err;

    eg_put_map(begin(&m), 3);
    eg_put_string(&m.w, "type");
    eg_put_string(&m.w, type);
    eg_put_string(&m.w, "storage");
    eg_put_string(&m.w, storage);
    eg_put_string(&m.w, "shards");
    eg_put_int(&m.w, 2);
    options = eg_written(&m.w);
    err = eg_create_table(s->node, name, &options, &note);
    if (err != EG_OK)
        printf("# %s: %s\n", name, note.text);
    EG_ASSERT(err == EG_OK);
}

static bool counters_are_right(struct stress *s) {
    static const char *const names[] = {"ram", "disc"};
    bool right = true;

    for (int t = 0; t < 2; t++) {
        eg_table *table;
        EG_ASSERT(eg_table_open(s->node, names[t], &table) == EG_OK);
        for (int n = 0; n < COUNTERS; n++) {
            int64_t value = -1;
            struct made key;
            eg_err err;
            do /* the last shard that was killed may still wait for its successor */
                err = eg_update_counter(table, number(&key, n), "value", 0, &value);
            while (err == EG_BUSY);
            EG_ASSERT(err == EG_OK);
            right &= value == s->acknowledged[t][n];
        }
        eg_table_close(table);
    }
    return right;
}

static bool count_seen(void *context, eg_span record) {
    (void) record;
    ++*(uint64_t *) context;
    return true;
}

/* What all values find together is every record there is. */
static bool index_is_right(struct stress *s) {
    uint64_t there = 0, found = 0;
    eg_table *table;

    (void) eg_add_index(s->node, "pairs", "value", NULL); /* it may be there */
    EG_ASSERT(eg_table_open(s->node, "pairs", &table) == EG_OK);
    EG_ASSERT(eg_fold(table, NULL, false, count_seen, &there) == EG_OK);
    for (int64_t v = 0; v < 7; v++) {
        eg_result r;
        struct made m;
        EG_ASSERT(eg_index_read(table, "value", number(&m, v), &r) == EG_OK);
        found += eg_count(r.value);
        eg_result_free(&r);
    }
    eg_table_close(table);
    return there == found && there > 0;
}

static void claim(int number_of, bool holds, const char *what) {
    printf("%s %d - %s\n", holds ? "ok" : "not ok", number_of, what);
}

static bool report(struct stress *s) {
    bool counters = counters_are_right(s), index = index_is_right(s);
    bool whole = s->torn == 0 && s->failed == 0;

    printf("# %llu refused, %llu failed, %llu reads, %llu kills, %llu tables made and dropped\n",
           (unsigned long long) s->refused, (unsigned long long) s->failed,
           (unsigned long long) s->reads, (unsigned long long) s->kills,
           (unsigned long long) s->tables_made);
    printf("1..3\n");
    claim(1, counters, "each counter is the number of its acknowledged increments");
    claim(2, whole, "readers see whole records, and nothing fails but what is refused");
    claim(3, index, "in the end an index finds every record");
    return counters && whole && index;
}

int main(int argc, char **argv) {
    static void *(*const others[])(void *) = {write_pairs,   read_all,    read_all,   change_index,
                                              make_and_drop, use_passing, kill_shards};
    enum { OTHERS = sizeof others / sizeof *others };
    struct temp_dir dir = temp_dir_make();
    struct stress s = {.rounds = argc > 1 ? atoi(argv[1]) : ROUNDS};
    eg_options options = {.data_dir = dir.path, .schedulers = 2};
    pthread_t counters[COUNTER_THREADS], threads[OTHERS];
    bool good;

    EG_ASSERT(eg_open(&options, &s.node, NULL) == EG_OK);
    create(&s, "ram", "set", "ram");
    create(&s, "disc", "set", "disc");
    create(&s, "pairs", "ordered_set", "ram");
    for (int i = 0; i < OTHERS; i++)
        EG_ASSERT(pthread_create(&threads[i], NULL, others[i], &s) == 0);
    for (int i = 0; i < COUNTER_THREADS; i++)
        EG_ASSERT(pthread_create(&counters[i], NULL, count, &s) == 0);
    for (int i = 0; i < COUNTER_THREADS; i++)
        pthread_join(counters[i], NULL);
    s.over = true;
    for (int i = 0; i < OTHERS; i++)
        pthread_join(threads[i], NULL);
    good = report(&s);
    eg_close(s.node);
    temp_dir_remove(&dir);
    return good ? 0 : 1;
}
