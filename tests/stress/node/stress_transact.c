/* stress_transact.c -- threads that write pairs of keys in transactions, and threads that look.
 *
 * Goal: nobody ever sees one half of a transaction and not the other, in one shard and in two:
 * who looks at one key and then at the other finds it no older, and a transaction of reads that
 * stands found both the same.
 * Method: transact_try() and looks in place, on several threads, without a message.
 *
 *     stress_transact [transactions of each writer] */
#include "engram.h"
#include "node/node.h"
#include "tables/catalog.h"
#include "tables/transact.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRANSACTIONS = 20000, WRITERS = 2, READERS = 2, PAIRS = 2, KEYS_TRIED = 100 };

struct pair {
    uint8_t key[2]; /* as values: small integers */
};

struct stress {
    eg_node *node;
    uint64_t transactions;
    struct pair pair[PAIRS]; /* in one shard, in two */
    _Atomic uint32_t writing;
    _Atomic uint64_t torn, stood, lost, sent_away;
};

static struct value value_of_byte(const uint8_t *at) {
    return (struct value){at, 1};
}

static void choose_pairs(struct stress *s, const struct table *t) {
    for (uint8_t i = 0; i < PAIRS; i++) {
        struct pair *p = &s->pair[i];

        p->key[0] = (uint8_t) (i * KEYS_TRIED / 2);
        p->key[1] = (uint8_t) (p->key[0] + 1);
        while ((transact_shard_of(t, value_of_byte(&p->key[0])) ==
                transact_shard_of(t, value_of_byte(&p->key[1]))) != (i == 0))
            p->key[1]++;
    }
}

/* What a look at a key tells; false: it may not be told. */
static bool look(struct table *t, struct reader *r, const uint8_t *key, uint64_t *n,
                 uint64_t *version) {
    const struct record *rec;
    bool told;
    struct key k;

    EG_ASSERT(table_key(t, &k, value_of_byte(key)) == EG_OK);
    told = transact_look(t, r, &k, &rec, version) == EG_OK;
    key_release(&k);
    *n = 0;
    EG_ASSERT(!told || rec == NULL || value_get_u64(record_field(rec, 1), n));
    return told;
}

static struct transact_seen seen_of(struct table *t, const uint8_t *key, uint64_t version) {
    struct value k = value_of_byte(key);

    return (struct transact_seen){t, k, transact_hash_of(t, k), version, transact_shard_of(t, k)};
}

/* ---- those who write ---------------------------------------------------------------------- */

/* Both keys of the pair get the next number. */
static eg_err write_pair(struct table *t, struct reader *r, const struct pair *p) {
    uint8_t record[2][16];
    struct transact_seen seen[2];
    struct transact_want want[2];
    struct transact x = {
        .seen = seen, .seen_count = 2, .want = want, .want_count = 2, .patience = 64};
    uint64_t n[2], version[2];

    for (int i = 0; i < 2; i++) {
        if (!look(t, r, &p->key[i], &n[i], &version[i]))
            return EG_AGAIN;
        seen[i] = seen_of(t, &p->key[i], version[i]);
    }
    for (int i = 0; i < 2; i++) {
        struct value_writer w = value_writer_init(record[i], sizeof record[i]);

        value_put_array(&w, 2);
        value_put_raw(&w, value_of_byte(&p->key[i]));
        value_put_u64(&w, n[0] + 1);
        want[i] = (struct transact_want){
            .table = t,
            .request = {.op = SHARD_WRITE, .value = {record[i], (uint32_t) w.need_bytes}},
            .key = seen[i].key,
            .hash = seen[i].hash,
            .shard = seen[i].shard};
    }
    return transact_try(r, &x, NULL, NULL);
}

static void *write_pairs(void *arg) {
    struct stress *s = arg;
    struct reader r;

    EG_ASSERT(reader_open(&r, s->node->epoch, s->node->alloc) == EG_OK);
    for (uint64_t i = 0; i < s->transactions && s->torn == 0;) {
        eg_err err;

        reader_enter(&r);
        err = write_pair(catalog_find(s->node->catalog, "t", 1), &r, &s->pair[i % PAIRS]);
        reader_exit(&r);
        EG_ASSERT(err == EG_OK || err == EG_CONFLICT || err == EG_AGAIN);
        i += err == EG_OK;
        s->lost += err != EG_OK;
    }
    s->writing--;
    reader_close(&r);
    return NULL;
}

/* ---- those who look ----------------------------------------------------------------------- */

/* One after the other: the second is no older than the first. */
static void look_in_a_row(struct stress *s, struct table *t, struct reader *r, const struct pair *p,
                          int first) {
    uint64_t before, after, version;

    if (!look(t, r, &p->key[first], &before, &version) ||
        !look(t, r, &p->key[!first], &after, &version))
        s->sent_away++;
    else
        s->torn += after < before;
}

/* The same as every program does. */
static bool get(struct stress *s, eg_table *t, const uint8_t *key, uint64_t *n) {
    eg_span record, field;
    int64_t number = 0;
    eg_err err;

    EG_ASSERT(eg_read_begin(s->node) == EG_OK);
    err = eg_get(t, (eg_span){key, 1}, &record);
    EG_ASSERT(err == EG_NOT_FOUND || err == EG_BUSY || err == EG_OK);
    EG_ASSERT(err != EG_OK || (eg_element(record, 1, &field) && eg_as_int(field, &number)));
    eg_read_end(s->node);
    *n = (uint64_t) number;
    return err != EG_BUSY;
}

static void get_in_a_row(struct stress *s, eg_table *t, const struct pair *p, int first) {
    uint64_t before, after;

    if (get(s, t, &p->key[first], &before) && get(s, t, &p->key[!first], &after))
        s->torn += after < before;
}

/* In one moment: both are the same. */
static void look_together(struct stress *s, struct table *t, struct reader *r,
                          const struct pair *p) {
    struct transact_seen seen[2];
    struct transact x = {.seen = seen, .seen_count = 2};
    uint64_t n[2], version[2];

    for (int i = 0; i < 2; i++) {
        if (!look(t, r, &p->key[i], &n[i], &version[i]))
            return;
        seen[i] = seen_of(t, &p->key[i], version[i]);
    }
    if (transact_stands(r, &x, NULL) != EG_OK)
        return;
    s->stood++;
    s->torn += n[0] != n[1];
}

static void *read_pairs(void *arg) {
    struct stress *s = arg;
    struct reader r;

    eg_table *table;

    EG_ASSERT(reader_open(&r, s->node->epoch, s->node->alloc) == EG_OK);
    EG_ASSERT(eg_table_open(s->node, "t", &table) == EG_OK);
    for (uint64_t i = 0; s->writing != 0; i++) {
        struct table *t;

        reader_enter(&r);
        t = catalog_find(s->node->catalog, "t", 1);
        look_in_a_row(s, t, &r, &s->pair[i % PAIRS], i / PAIRS % 2);
        look_together(s, t, &r, &s->pair[i % PAIRS]);
        reader_exit(&r);
        get_in_a_row(s, table, &s->pair[i % PAIRS], i / PAIRS % 2);
    }
    eg_table_close(table);
    reader_close(&r);
    return NULL;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static bool ends_right(struct stress *s) {
    uint64_t sum = 0, n = 0, version;
    struct table *t;
    struct reader r;

    EG_ASSERT(reader_open(&r, s->node->epoch, s->node->alloc) == EG_OK);
    reader_enter(&r);
    t = catalog_find(s->node->catalog, "t", 1);
    for (int i = 0; i < PAIRS; i++) {
        EG_ASSERT(look(t, &r, &s->pair[i].key[1], &n, &version));
        sum += n;
    }
    reader_exit(&r);
    reader_close(&r);
    return sum == WRITERS * s->transactions;
}

int main(int argc, char **argv) {
    struct stress s = {.transactions = argc > 1 ? strtoull(argv[1], NULL, 10) : TRANSACTIONS,
                       .writing = WRITERS};
    static const uint8_t shards[] = "\x81\xa6shards\x04";
    eg_span options = {shards, sizeof shards - 1};
    eg_options options_of_node = {.schedulers = 2};
    pthread_t thread[WRITERS + READERS];
    struct reader r;
    bool right;

    EG_ASSERT(eg_open(&options_of_node, &s.node, NULL) == EG_OK);
    EG_ASSERT(eg_create_table(s.node, "t", &options, NULL) == EG_OK);
    EG_ASSERT(reader_open(&r, s.node->epoch, s.node->alloc) == EG_OK);
    reader_enter(&r);
    choose_pairs(&s, catalog_find(s.node->catalog, "t", 1));
    reader_exit(&r);
    reader_close(&r);
    for (int i = 0; i < WRITERS + READERS; i++)
        EG_ASSERT(pthread_create(&thread[i], NULL, i < WRITERS ? write_pairs : read_pairs, &s) ==
                  0);
    for (int i = 0; i < WRITERS + READERS; i++)
        pthread_join(thread[i], NULL);
    right = ends_right(&s);
    printf("1..2\n%s 1 - nobody sees half (%llu stood, %llu lost, %llu sent away, %llu torn)\n",
           s.torn == 0 ? "ok" : "not ok", (unsigned long long) s.stood, (unsigned long long) s.lost,
           (unsigned long long) s.sent_away, (unsigned long long) s.torn);
    printf("%s 2 - no transaction is lost and none is done twice\n", right ? "ok" : "not ok");
    eg_close(s.node);
    return s.torn == 0 && right ? 0 : 1;
}
