/* stress_transact_look.c -- threads whose transactions read in one shard and write in another.
 *
 * Goal: what is only read has its place in one order with all that others do in those shards: of
 * two who write what the other has read the later one finds it, and who has seen that a number went
 * on sees what was made of the old one before.
 * Method: transact_try() on several threads, without a message.
 *
 *     skewers   [own, other]: who finds both 0 makes his own 1; who finds his own 1 makes it 0.
 *               Never are both 1.
 *     counter   of one number, which the copier copies into another shard. When the counter has
 *               seen the copy, none of an older number comes any more.
 *
 *     stress_transact_look [how far it is counted] */
#include "engram.h"
#include "node/node.h"
#include "tables/catalog.h"
#include "tables/transact.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 20000, SKEWERS = 2, SHARDS = 4, THREADS = 2 };
enum which { NUMBER, COPY, OWN, KEYS = OWN + SKEWERS }; /* each in a shard of its own */

struct stress {
    eg_node *node;
    uint64_t count;
    uint8_t key[KEYS]; /* as values: small integers */
    _Atomic bool over;
    _Atomic uint64_t copies, seen, skews, late, skewed;
};

struct skewer {
    struct stress *s;
    int own;
};

static struct value key_of(const struct stress *s, enum which key) {
    return (struct value){&s->key[key], 1};
}

static void choose_keys(struct stress *s, const struct table *t) {
    for (uint32_t i = 0; i < KEYS; i++)
        while (transact_shard_of(t, key_of(s, (enum which) i)) != i)
            s->key[i]++;
}

/* ---- one transaction ------------------------------------------------------------------------ */

struct work {
    struct stress *s;
    struct table *table;
    struct reader *reader;
    struct transact_seen seen[2];
    uint32_t seen_count;
};

/* What stands under the key, 0 where nothing does; false: it cannot be told just now. */
static bool see(struct work *w, enum which key, uint64_t *n) {
    const struct value v = key_of(w->s, key);
    const struct record *rec;
    uint64_t version = 0;
    bool told;
    struct key k;

    EG_ASSERT(table_key(w->table, &k, v) == EG_OK);
    told = transact_look(w->table, w->reader, &k, &rec, &version) == EG_OK;
    key_release(&k);
    *n = 0;
    EG_ASSERT(!told || rec == NULL || value_get_u64(record_field(rec, 1), n));
    if (w->seen_count < EG_COUNTOF(w->seen))
        w->seen[w->seen_count++] = (struct transact_seen){
            w->table, v, transact_hash_of(w->table, v), version, transact_shard_of(w->table, v)};
    return told;
}

/* All that was seen still stands, and this is there. */
static bool put(struct work *w, enum which key, uint64_t n) {
    uint8_t record[16];
    struct value_writer to = value_writer_init(record, sizeof record);
    const struct value v = key_of(w->s, key);
    struct transact_want want = {.table = w->table,
                                 .key = v,
                                 .hash = transact_hash_of(w->table, v),
                                 .shard = transact_shard_of(w->table, v)};
    struct transact x = {
        .seen = w->seen, .seen_count = w->seen_count, .want = &want, .want_count = 1};
    eg_err err;

    value_put_array(&to, 2);
    value_put_raw(&to, v);
    value_put_u64(&to, n);
    want.request =
        (struct shard_request){.op = SHARD_WRITE, .value = {record, (uint32_t) to.need_bytes}};
    err = transact_try(w->reader, &x, NULL, NULL);
    EG_ASSERT(err == EG_OK || err == EG_CONFLICT || err == EG_AGAIN);
    return err == EG_OK;
}

/* Call `once`, each time in a section of its own, until it says that this is all. */
static void repeat(struct stress *s, bool (*once)(struct work *w, void *context), void *context) {
    struct reader r;
    bool done = false;

    EG_ASSERT(reader_open(&r, s->node->epoch, s->node->alloc) == EG_OK);
    for (; !done && !s->over; s->over |= done) {
        reader_enter(&r);
        done = once(&(struct work){s, catalog_find(s->node->catalog, "t", 1), &r, .seen_count = 0},
                    context);
        reader_exit(&r);
    }
    reader_close(&r);
}

/* ---- the threads ---------------------------------------------------------------------------- */

/* Counted to here, and then the copy was this: the next copy is not older than the number. */
struct counted {
    uint64_t number, copy;
};

static bool count_one(struct work *w, void *context) {
    struct counted *before = context, now;

    if (!see(w, NUMBER, &now.number) || !put(w, NUMBER, ++now.number))
        return false;
    while (!see(w, COPY, &now.copy))
        continue;
    w->s->late += now.copy != before->copy && now.copy < before->number;
    w->s->seen += now.copy != before->copy;
    *before = now;
    return now.number >= w->s->count;
}

static void *count(void *arg) {
    struct counted c = {0, 0};

    repeat(arg, count_one, &c);
    return NULL;
}

static bool copy_one(struct work *w, void *context) {
    uint64_t n;

    (void) context;
    if (see(w, NUMBER, &n) && put(w, COPY, n))
        w->s->copies++;
    return false;
}

static void *copy(void *arg) {
    repeat(arg, copy_one, NULL);
    return NULL;
}

static bool skew_one(struct work *w, void *context) {
    const struct skewer *k = context;
    enum which own_key = (enum which)(OWN + k->own), other_key = (enum which)(OWN + !k->own);
    uint64_t own, other;

    if (!see(w, own_key, &own) || !see(w, other_key, &other) || (own == 0 && other != 0) ||
        !put(w, own_key, !own))
        return false;
    w->s->skewed += own != 0 && other != 0;
    return ++w->s->skews >= w->s->count;
}

static void *skew(void *arg) {
    repeat(((struct skewer *) arg)->s, skew_one, arg);
    return NULL;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Until the first of them has come to its end. */
static void run(struct stress *s, void *(*const thread[])(void *arg), void *const arg[]) {
    pthread_t id[THREADS];

    s->over = false;
    for (int i = 0; i < THREADS; i++)
        EG_ASSERT(pthread_create(&id[i], NULL, thread[i], arg[i]) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(id[i], NULL);
}

static void prepare(struct stress *s) {
    struct reader r;
    struct work w;

    EG_ASSERT(reader_open(&r, s->node->epoch, s->node->alloc) == EG_OK);
    reader_enter(&r);
    w = (struct work){s, catalog_find(s->node->catalog, "t", 1), &r, .seen_count = 0};
    choose_keys(s, w.table);
    for (int i = 0; i < KEYS; i++) /* only of a record is it known that it was so all the time */
        while (!put(&w, (enum which) i, 0))
            continue;
    reader_exit(&r);
    reader_close(&r);
}

int main(int argc, char **argv) {
    struct stress s = {.count = argc > 1 ? strtoull(argv[1], NULL, 10) : COUNT};
    static const uint8_t shards[] = {0x81, 0xa6, 's', 'h', 'a', 'r', 'd', 's', SHARDS};
    struct skewer skewer[SKEWERS] = {{&s, 0}, {&s, 1}};
    eg_span options = {shards, sizeof shards};

    EG_ASSERT(eg_open(&(eg_options){.schedulers = 2}, &s.node, NULL) == EG_OK);
    EG_ASSERT(eg_create_table(s.node, "t", &options, NULL) == EG_OK);
    prepare(&s);
    run(&s, (void *(*const[])(void *) ){skew, skew}, (void *const[]){&skewer[0], &skewer[1]});
    run(&s, (void *(*const[])(void *) ){count, copy}, (void *const[]){&s, &s});
    printf("1..2\n%s 1 - nobody writes after what he has read was changed (%llu copies, %llu seen, "
           "%llu late)\n",
           s.late == 0 ? "ok" : "not ok", (unsigned long long) s.copies,
           (unsigned long long) s.seen, (unsigned long long) s.late);
    printf("%s 2 - of two who write what the other has read one loses (%llu of %llu did not)\n",
           s.skewed == 0 ? "ok" : "not ok", (unsigned long long) s.skewed,
           (unsigned long long) s.skews);
    eg_close(s.node);
    return s.late == 0 && s.skewed == 0 ? 0 : 1;
}
