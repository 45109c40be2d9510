/* stress_alter.c -- threads that count and read in a table while its shape is changed all
 * the time, and somebody kills its shards and the catalog.
 *
 * Goal: every counter ends at the number of increments that were acknowledged; a walk
 * meets every record that is there throughout, each of one of the two shapes; a handle follows
 * its table; nobody meets memory that was freed (ASan) or changes behind an atomic's back
 * (TSan).
 * Method: the public calls only.  A killed shard may refuse, never forget.
 *
 *     stress_alter [rounds] */
#include "engine/actor.h"
#include "engine/inspect.h"
#include "engram.h"
#include "node/node.h"
#include "tests/support/rng.h"
#include "tests/support/temp_dir.h"

#include <pthread.h>
#include <string.h>

enum {
    ROUNDS = 2000,
    CHANGES = 20, /* and at least so many changes */
    COUNTERS = 8,
    COUNTER_THREADS = 2,
    STILL = 400,  /* records that nobody changes */
    KILLS = 8,    /* below what a table's supervisor puts up with */
    FIRST = 1000, /* key of the first of them    */
};

static const char *const names[] = {"set", "ordered"};
enum { TABLES = 2 };

struct stress {
    eg_node *node;
    int rounds;
    _Atomic bool over;
    _Atomic int64_t acknowledged[TABLES][COUNTERS];
    _Atomic uint64_t refused, failed, torn, missed, kills, walks, changes;
};

struct made {
    uint8_t bytes[256];
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

/* Whoever was killed refuses before anything has changed. */
static bool is_refusal(eg_err err) {
    return err == EG_BUSY || err == EG_NOPROC;
}

static void count_outcome(struct stress *s, const char *what, eg_err err) {
    if (is_refusal(err))
        s->refused++;
    else if (err != EG_OK && s->failed++ == 0)
        printf("# %s: %s\n", what, eg_err_text(err));
}

static void *count(void *arg) {
    struct stress *s = arg;
    eg_table *tables[TABLES];

    for (int t = 0; t < TABLES; t++)
        EG_ASSERT(eg_table_open(s->node, names[t], &tables[t]) == EG_OK);
    for (int i = 0; i < s->rounds || s->changes < CHANGES; i++) {
        int t = i % TABLES, n = i / TABLES % COUNTERS;
        struct made key;
        eg_err err;

        do {
            err = eg_update_counter(tables[t], number(&key, n), "count", 1, NULL);
            count_outcome(s, "count", err);
        } while (is_refusal(err));
        if (err == EG_OK)
            s->acknowledged[t][n]++;
    }
    for (int t = 0; t < TABLES; t++)
        eg_table_close(tables[t]);
    return NULL;
}

struct walk {
    uint64_t still, torn;
};

static bool see(void *context, eg_span record) {
    struct walk *w = context;
    int64_t key = -1, v = -1;
    uint32_t fields = eg_count(record);
    eg_span field;

    if ((fields != 2 && fields != 3) || !eg_element(record, 0, &field) || !eg_as_int(field, &key) ||
        !eg_element(record, 1, &field) || !eg_as_int(field, &v) ||
        (key >= FIRST && v != key - FIRST) ||
        (fields == 3 && key >= FIRST && (!eg_element(record, 2, &field) || !eg_is_nil(field))))
        w->torn++;
    w->still += key >= FIRST;
    return true;
}

static void *walk(void *arg) {
    struct stress *s = arg;
    eg_table *tables[TABLES];

    for (int t = 0; t < TABLES; t++)
        EG_ASSERT(eg_table_open(s->node, names[t], &tables[t]) == EG_OK);
    for (int64_t i = 0; !s->over; i++) {
        struct walk w = {0};
        struct made key;
        eg_span record;
        eg_result r;
        int t = (int) (i % TABLES);

        count_outcome(s, "walk", eg_fold(tables[t], NULL, false, see, &w));
        s->missed += w.still != STILL;
        s->walks++;
        EG_ASSERT(eg_read_begin(s->node) == EG_OK);
        if (eg_get(tables[t], number(&key, FIRST + i % STILL), &record) != EG_OK)
            s->missed++;
        else
            (void) see(&w, record);
        eg_read_end(s->node);
        if (eg_index_read(tables[t], "count", number(&key, i % STILL), &r) == EG_OK) {
            s->missed += eg_count(r.value) == 0;
            eg_result_free(&r);
        } else {
            s->failed++;
        }
        s->torn += w.torn;
    }
    for (int t = 0; t < TABLES; t++)
        eg_table_close(tables[t]);
    return NULL;
}

static eg_err change(struct stress *s, const char *table, const char *verb, const char *word,
                     bool with_default) {
    struct made m;

    eg_put_array(begin(&m), 2 + with_default);
    eg_put_string(&m.w, verb);
    eg_put_string(&m.w, word);
    if (with_default)
        eg_put_nil(&m.w);
    return eg_alter_table(s->node, table, eg_written(&m.w), NULL);
}

/* What a killed catalog did not tell of may have been done: then the next one finds it so. */
static void *alter(void *arg) {
    static const char *const storages[] = {"ram", "disc", "disc_only"};
    struct stress *s = arg;
    struct rng rng = rng_of(rng_test_seed(1));

    while (!s->over) {
        const char *table = names[rng_below(&rng, TABLES)];
        eg_err err;

        switch (rng_below(&rng, 3)) {
        case 0:
            err = change(s, table, "add_attribute", "extra", true);
            break;
        case 1:
            err = change(s, table, "drop_attribute", "extra", false);
            break;
        default:
            err = change(s, table, "change_storage", storages[rng_below(&rng, 3)], false);
            break;
        }
        s->changes += err == EG_OK;
        if (err != EG_EXISTS && err != EG_BAD_REQUEST && err != EG_TIMEOUT)
            count_outcome(s, "alter", err);
    }
    return NULL;
}

static void kill_one(struct stress *s, struct rng *rng, const char *kind) {
    struct runtime *rt = node_runtime(s->node);
    eg_exit kill = exit_reason(EG_EXIT_KILL);
    uint32_t cursor = 0, count;
    eg_pid pids[64], victim = EG_PID_NONE;

    while ((count = runtime_pids(rt, &cursor, pids, 64)) > 0) {
        struct inspect_page *page;
        for (uint32_t i = 0; i < count; i++) {
            if (inspect_wait_pid(rt, pids[i], &page) != EG_OK)
                continue;
            if (page->count == 1 && strcmp(page->entry[0].actor.name, kind) == 0 &&
                (eg_pid_is_none(victim) || rng_one_in(rng, 4)))
                victim = pids[i];
            inspect_free(rt, page);
        }
    }
    if (eg_pid_is_none(victim))
        return;
    actor_exit_send(rt, EG_PID_NONE, victim, &kill);
    s->kills++;
}

/* Killing as fast as can be would only show that supervisors give up: a walk between. */
static void *kill_some(void *arg) {
    struct stress *s = arg;
    struct rng rng = rng_of(rng_test_seed(2));

    for (int i = 0; i < KILLS && !s->over; i++) {
        uint64_t changes = s->changes;
        kill_one(s, &rng, i % 4 == 3 ? "catalog" : "shard");
        while (s->changes < changes + 2 && !s->over)
            eg_read_end(eg_read_begin(s->node) == EG_OK ? s->node : NULL);
    }
    return NULL;
}

static void create(struct stress *s, const char *name, const char *type) {
    struct made m;
    eg_span options;
    eg_table *table;

    eg_put_map(begin(&m), 4);
    eg_put_string(&m.w, "type");
    eg_put_string(&m.w, type);
    eg_put_string(&m.w, "shards");
    eg_put_int(&m.w, 2);
    eg_put_string(&m.w, "attributes");
    eg_put_array(&m.w, 2);
    eg_put_string(&m.w, "key");
    eg_put_string(&m.w, "count");
    eg_put_string(&m.w, "index");
    eg_put_array(&m.w, 1);
    eg_put_string(&m.w, "count");
    options = eg_written(&m.w);
    EG_ASSERT(eg_create_table(s->node, name, &options, NULL) == EG_OK);
    EG_ASSERT(eg_table_open(s->node, name, &table) == EG_OK);
    for (int64_t i = 0; i < STILL; i++) {
        eg_put_array(begin(&m), 2);
        eg_put_int(&m.w, FIRST + i);
        eg_put_int(&m.w, i);
        EG_ASSERT(eg_write(table, eg_written(&m.w)) == EG_OK);
    }
    eg_table_close(table);
}

static bool counters_are_right(struct stress *s) {
    bool right = true;

    for (int t = 0; t < TABLES; t++) {
        eg_table *table;
        EG_ASSERT(eg_table_open(s->node, names[t], &table) == EG_OK);
        for (int n = 0; n < COUNTERS; n++) {
            int64_t value = -1;
            struct made key;
            eg_err err;
            do
                err = eg_update_counter(table, number(&key, n), "count", 0, &value);
            while (is_refusal(err));
            EG_ASSERT(err == EG_OK);
            right &= value == s->acknowledged[t][n];
        }
        eg_table_close(table);
    }
    return right;
}

static void claim(int number_of, bool holds, const char *what) {
    printf("%s %d - %s\n", holds ? "ok" : "not ok", number_of, what);
}

static bool report(struct stress *s) {
    bool counters = counters_are_right(s);
    bool whole = s->torn == 0 && s->missed == 0, works = s->failed == 0 && s->changes > 0;

    printf("# %llu changes, %llu kills, %llu walks, %llu refused, %llu failed, %llu torn, %llu "
           "missed\n",
           (unsigned long long) s->changes, (unsigned long long) s->kills,
           (unsigned long long) s->walks, (unsigned long long) s->refused,
           (unsigned long long) s->failed, (unsigned long long) s->torn,
           (unsigned long long) s->missed);
    printf("1..3\n");
    claim(1, counters, "each counter is the number of its acknowledged increments");
    claim(2, whole, "readers meet every record, in one shape or the other");
    claim(3, works, "shapes change, and nothing fails but what is refused");
    return counters && whole && works;
}

int main(int argc, char **argv) {
    struct temp_dir dir = temp_dir_make();
    struct stress s = {.rounds = argc > 1 ? atoi(argv[1]) : ROUNDS};
    eg_options options = {.data_dir = dir.path, .schedulers = 2};
    static void *(*const others[])(void *) = {walk, walk, alter, kill_some};
    enum { OTHERS = sizeof others / sizeof *others };
    pthread_t counters[COUNTER_THREADS], threads[OTHERS];
    bool good;

    EG_ASSERT(eg_open(&options, &s.node, NULL) == EG_OK);
    create(&s, names[0], "set");
    create(&s, names[1], "ordered_set");
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
