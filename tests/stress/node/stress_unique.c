/* stress_unique.c -- threads give values to records, take them and hand them on, where each value
 * may be one record's only, while others look records up by value.
 *
 * Goal: no two records have one value when all is over, and the index finds each of them; whoever
 * is found by a value has it; every write is made, refused because the value is another's
 * (EG_EXISTS), or refused untried (EG_BUSY).
 * Method: the public calls on a ram and a disc table of several shards: writes, inserts, deletes,
 * counters and text updates that find their records by the index that they change.  Run under TSan.
 *
 *     stress_unique [rounds] */
#include "engine/base.h"
#include "engram.h"
#include "tests/support/rng.h"
#include "tests/support/temp_dir.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 1500, KEYS = 60, VALUES = 40, WRITERS = 3, READERS = 2, TABLES = 2 };

static const char *const names[TABLES] = {"ram", "disc"};

struct stress {
    eg_node *node;
    int rounds;
    _Atomic bool over;
    _Atomic uint64_t made, taken, busy, failed, found, wrong;
    _Atomic uint64_t seed;
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

static eg_span pair(struct made *m, int64_t k, int64_t v) {
    eg_put_array(begin(m), 2);
    eg_put_int(&m->w, k);
    eg_put_int(&m->w, v);
    return eg_written(&m->w);
}

static void count_outcome(struct stress *s, eg_err err) {
    if (err == EG_OK || err == EG_NOT_FOUND)
        s->made++;
    else if (err == EG_EXISTS)
        s->taken++;
    else if (err == EG_BUSY)
        s->busy++;
    else if (s->failed++ == 0)
        printf("# %s\n", eg_err_text(err));
}

static void create(struct stress *s, const char *name) {
    struct made m;
    eg_span options;

    eg_put_map(begin(&m), 3);
    eg_put_string(&m.w, "storage");
    eg_put_string(&m.w, name);
    eg_put_string(&m.w, "shards");
    eg_put_int(&m.w, 4);
    eg_put_string(&m.w, "index");
    eg_put_array(&m.w, 1);
    eg_put_map(&m.w, 2);
    eg_put_string(&m.w, "on");
    eg_put_string(&m.w, "value");
    eg_put_string(&m.w, "unique");
    eg_put_bool(&m.w, true);
    options = eg_written(&m.w);
    EG_ASSERT(eg_create_table(s->node, name, &options, NULL) == EG_OK);
}

static void write_one(struct stress *s, eg_table *table, const char *name, struct rng *rng) {
    int64_t k = (int64_t) rng_below(rng, KEYS), v = (int64_t) rng_below(rng, VALUES);
    char text[96];
    struct made m;
    eg_span arguments;

    switch (rng_below(rng, 6)) {
    case 0:
        count_outcome(s, eg_insert_new(table, pair(&m, k, v), NULL));
        break;
    case 1:
        count_outcome(s, eg_delete(table, number(&m, k)));
        break;
    case 2:
        count_outcome(s, eg_update_counter(table, number(&m, k), "value", 1, NULL));
        break;
    case 3: /* found by the index that it changes */
        snprintf(text, sizeof text, "update %s set value = ? where value = ? or value is null",
                 name);
        arguments = pair(&m, v, (int64_t) rng_below(rng, VALUES));
        count_outcome(s, eg_query(s->node, text, &arguments, NULL, NULL));
        break;
    default:
        count_outcome(s, eg_write(table, pair(&m, k, v)));
    }
}

static void *write_all(void *arg) {
    struct stress *s = arg;
    struct rng rng = rng_of(s->seed++);
    eg_table *table[TABLES];

    for (int t = 0; t < TABLES; t++)
        EG_ASSERT(eg_table_open(s->node, names[t], &table[t]) == EG_OK);
    for (int i = 0; i < s->rounds; i++)
        write_one(s, table[i % TABLES], names[i % TABLES], &rng);
    for (int t = 0; t < TABLES; t++)
        eg_table_close(table[t]);
    return NULL;
}

static bool has_value(eg_span record, int64_t wanted) {
    eg_span field;
    int64_t v;

    return eg_element(record, 1, &field) && eg_as_int(field, &v) && v == wanted;
}

static void *read_all(void *arg) {
    struct stress *s = arg;
    struct rng rng = rng_of(s->seed++);
    eg_table *table[TABLES];

    for (int t = 0; t < TABLES; t++)
        EG_ASSERT(eg_table_open(s->node, names[t], &table[t]) == EG_OK);
    for (int i = 0; !s->over; i++) {
        int64_t v = (int64_t) rng_below(&rng, VALUES);
        eg_span record;
        struct made m;
        eg_result r;

        EG_ASSERT(eg_index_read(table[i % TABLES], "value", number(&m, v), &r) == EG_OK);
        for (uint32_t n = 0; n < eg_count(r.value); n++) {
            s->wrong += !eg_element(r.value, n, &record) || !has_value(record, v);
            s->found++;
        }
        eg_result_free(&r);
    }
    for (int t = 0; t < TABLES; t++)
        eg_table_close(table[t]);
    return NULL;
}

/* Each value that somebody has, once, and found by the index. */
struct holders {
    eg_table *table;
    uint32_t records, found;
    bool held[2 * VALUES];
    bool twice;
};

static bool see(void *context, eg_span record) {
    struct holders *h = context;
    eg_span field;
    int64_t v = -1;

    h->records++;
    if (eg_element(record, 1, &field) && eg_as_int(field, &v) && v >= 0 && v < 2 * VALUES) {
        h->twice |= h->held[v];
        h->held[v] = true;
    }
    return true;
}

static bool is_right(struct stress *s, const char *name) {
    struct holders h = {.records = 0};
    eg_result r;

    EG_ASSERT(eg_table_open(s->node, name, &h.table) == EG_OK);
    EG_ASSERT(eg_fold(h.table, NULL, false, see, &h) == EG_OK);
    for (int64_t v = 0; v < 2 * VALUES; v++) {
        struct made m;
        EG_ASSERT(eg_index_read(h.table, "value", number(&m, v), &r) == EG_OK);
        h.twice |= eg_count(r.value) != h.held[v];
        eg_result_free(&r);
    }
    eg_table_close(h.table);
    return !h.twice && h.records > 0;
}

static void claim(int number_of, bool holds, const char *what) {
    printf("%s %d - %s\n", holds ? "ok" : "not ok", number_of, what);
}

int main(int argc, char **argv) {
    struct temp_dir dir = temp_dir_make();
    struct stress s = {.rounds = argc > 1 ? atoi(argv[1]) : ROUNDS, .seed = rng_test_seed(77)};
    eg_options options = {.data_dir = dir.path, .schedulers = 2};
    pthread_t writers[WRITERS], readers[READERS];
    bool unique = true, good;

    EG_ASSERT(eg_open(&options, &s.node, NULL) == EG_OK);
    for (int t = 0; t < TABLES; t++)
        create(&s, names[t]);
    for (int i = 0; i < READERS; i++)
        EG_ASSERT(pthread_create(&readers[i], NULL, read_all, &s) == 0);
    for (int i = 0; i < WRITERS; i++)
        EG_ASSERT(pthread_create(&writers[i], NULL, write_all, &s) == 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    s.over = true;
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    for (int t = 0; t < TABLES; t++)
        unique &= is_right(&s, names[t]);
    printf("# %llu made, %llu refused as taken, %llu busy, %llu found\n1..3\n",
           (unsigned long long) s.made, (unsigned long long) s.taken, (unsigned long long) s.busy,
           (unsigned long long) s.found);
    claim(1, unique, "each value is one record's, and found by the index");
    claim(2, s.wrong == 0, "who is found by a value has it");
    claim(3, s.failed == 0 && s.made > 0 && s.taken > 0,
          "writes are made or refused, nothing else");
    good = unique && s.wrong == 0 && s.failed == 0 && s.made > 0 && s.taken > 0;
    eg_close(s.node);
    temp_dir_remove(&dir);
    return good ? 0 : 1;
}
