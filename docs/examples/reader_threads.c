/* reader_threads.c -- several threads read a table while another one writes it.
 *
 *     cc -std=c17 -pthread reader_threads.c $(pkg-config --cflags --libs engram)
 *
 * Readers take no lock and see each record whole: every version of a record here
 * holds the same number twice, and no reader ever finds two different ones. */
#include <engram.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 1000, READERS = 3, ROUNDS = 50, AT_ONCE = 16 };

struct shared {
    eg_node *node;
    eg_table *table;
    _Atomic bool stop;
    _Atomic uint64_t reads, torn;
};

static eg_span write_key(int64_t key, uint8_t *memory, size_t size_bytes) {
    eg_writer w = eg_writer_init(memory, size_bytes);
    eg_put_int(&w, key);
    return eg_written(&w);
}

static eg_err write_record(eg_table *table, int64_t key, int64_t number) {
    uint8_t memory[64];
    eg_writer w = eg_writer_init(memory, sizeof memory);

    eg_put_array(&w, 2);
    eg_put_int(&w, key);
    eg_put_array(&w, 2);
    eg_put_int(&w, number);
    eg_put_int(&w, number);
    return eg_write(table, eg_written(&w));
}

static bool is_whole(eg_span record) {
    eg_span pair, left, right;
    int64_t a, b;

    return eg_element(record, 1, &pair) && eg_element(pair, 0, &left) && eg_as_int(left, &a) &&
           eg_element(pair, 1, &right) && eg_as_int(right, &b) && a == b;
}

/* Read sixteen keys at a time: their cache misses overlap. */
static void *read_for_ever(void *argument) {
    struct shared *s = argument;
    uint8_t memory[AT_ONCE][16];
    eg_span keys[AT_ONCE], records[AT_ONCE];

    for (int64_t first = 0; !atomic_load(&s->stop); first = (first + AT_ONCE) % KEYS) {
        for (int i = 0; i < AT_ONCE; i++)
            keys[i] = write_key((first + i) % KEYS, memory[i], sizeof memory[i]);
        if (eg_read_begin(s->node) != EG_OK)
            break;
        if (eg_get_many(s->table, keys, AT_ONCE, records) != AT_ONCE)
            atomic_fetch_add(&s->torn, 1);
        for (int i = 0; i < AT_ONCE; i++)
            if (records[i].size_bytes == 0 || !is_whole(records[i]))
                atomic_fetch_add(&s->torn, 1);
        eg_read_end(s->node); /* short sections: what is replaced can be freed */
        atomic_fetch_add(&s->reads, AT_ONCE);
    }
    return NULL;
}

int main(void) {
    struct shared s = {.node = NULL};
    pthread_t readers[READERS];

    if (eg_open(&(eg_options){.name = "readers"}, &s.node, NULL) != EG_OK ||
        eg_create_table(s.node, "numbers", NULL, NULL) != EG_OK ||
        eg_table_open(s.node, "numbers", &s.table) != EG_OK)
        return 1;
    for (int64_t key = 0; key < KEYS; key++)
        if (write_record(s.table, key, 0) != EG_OK)
            return 1;
    for (int i = 0; i < READERS; i++)
        if (pthread_create(&readers[i], NULL, read_for_ever, &s) != 0)
            return 1;

    for (int64_t round = 1; round <= ROUNDS; round++)
        for (int64_t key = 0; key < KEYS; key++)
            if (write_record(s.table, key, round) != EG_OK)
                return 1;
    while (atomic_load(&s.reads) == 0) /* on one core they may not have run yet */
        ;

    atomic_store(&s.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    printf("%d writes, %s, %llu torn\n", KEYS * ROUNDS,
           atomic_load(&s.reads) > 0 ? "reads" : "none", (unsigned long long) atomic_load(&s.torn));
    fprintf(stderr, "%llu reads\n", (unsigned long long) atomic_load(&s.reads));

    eg_table_close(s.table);
    eg_close(s.node);
    return atomic_load(&s.torn) == 0 ? 0 : 1;
}
