/* transact_world.h -- what the tests of transactions in tables share: a table "t" of four shards,
 * and transactions as a test writes them.
 *
 *     TestSuite(transact, .init = setup, .fini = teardown);
 *
 *     see(&x, table, "1");                             // its version as it is now
 *     want(&x, table, SHARD_WRITE, NULL, "[1, 'a']");
 *     expect(try(&x), EG_OK);                          // in place
 *     expect(send_as(7, &x, table, shard, SHARD_TX_PREPARE), EG_OK);  // by message, as number 7
 *
 * Code for one test program each, as every suite has its own.  The test is inside the reader's
 * section all the time.
 *
 * Threads    One.
 */
#ifndef TESTS_UNIT_TABLES_TRANSACT_WORLD_H
#define TESTS_UNIT_TABLES_TRANSACT_WORLD_H

#include "engine/runtime.h"
#include "tables/table_private.h"
#include "tables/transact_private.h"
#include "tests/support/table_world.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>

static struct table_world w;
static struct table *table;
static uint8_t arena[1 << 14]; /* of the literals of one test */
static size_t arena_bytes;

static inline struct value text(const char *s) {
    struct value v = text_value(arena + arena_bytes, sizeof arena - arena_bytes, s);

    arena_bytes += v.size_bytes;
    return v;
}

static inline void create(const char *name, const char *options) {
    cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, name, text(options)), EG_OK, "%s",
                 w.note.text);
}

static inline struct table *find(const char *name) {
    return table_world_find(&w, name);
}

static inline void setup(void) {
    arena_bytes = 0;
    table_world_open(&w, alloc_system(), 11);
    create("t", "{'shards': 4}");
    reader_enter(&w.reader);
    table = find("t");
}

static inline void teardown(void) {
    reader_exit(&w.reader);
    table_world_close(&w);
}

static inline eg_err run(struct table *t, enum shard_op op, const char *key, const char *value) {
    struct shard_request q = {.op = op, .attribute = 1};

    if (key != NULL)
        q.key = text(key);
    if (value != NULL)
        q.value = text(value);
    return table_world_run(&w, t, &q);
}

static inline uint64_t version_at(struct table *t, const char *key) {
    const struct record *rec;
    uint64_t version = UINT64_MAX;
    struct key k;

    cr_assert_eq(table_key(t, &k, text(key)), EG_OK);
    cr_assert_eq(transact_look(t, &w.reader, &k, &rec, &version), EG_OK);
    cr_assert_eq(rec == NULL, version == 0);
    key_release(&k);
    return version;
}

/* A transaction as a test writes it. */
struct tx {
    struct transact_seen seen[8];
    struct transact_question question[8];
    struct scan_path path; /* of them all */
    struct transact_want want[8];
    struct transact all;
};

static inline struct transact *done(struct tx *x) {
    x->all.seen = x->seen;
    x->all.question = x->question;
    x->all.want = x->want;
    return &x->all;
}

static inline void see(struct tx *x, struct table *t, const char *key) {
    struct value k = text(key);

    x->seen[x->all.seen_count++] = (struct transact_seen){
        t, k, transact_hash_of(t, k), version_at(t, key), transact_shard_of(t, k)};
}

static inline void want(struct tx *x, struct table *t, enum shard_op op, const char *key,
                        const char *value) {
    struct shard_request q = {.op = op, .attribute = 1};
    struct value at;

    if (key != NULL)
        q.key = text(key);
    if (value != NULL)
        q.value = text(value);
    cr_assert(shard_request_key(&q, &at));
    x->want[x->all.want_count++] =
        (struct transact_want){t, q, at, transact_hash_of(t, at), transact_shard_of(t, at)};
}

static inline eg_err see_one(void *context, const struct record *rec) {
    (void) context;
    (void) rec;
    return EG_OK;
}

/* Go along a path in each of the shards. */
static inline void ask(struct tx *x, struct table *t, struct scan_path path) {
    x->path = path;
    for (uint32_t i = 0; i < table_shards(t); i++) {
        struct transact_question q = {
            .table = t, .shard = i, .changes = transact_changes(t, i), .path = &x->path};

        cr_assert_eq(transact_walk(&t->shard[i], &w.reader, &path, see_one, NULL, &q.digest),
                     EG_OK);
        cr_assert(transact_scan_stands(t, i));
        x->question[x->all.question_count++] = q;
    }
}

static inline void expect(eg_err err, eg_err wanted) {
    cr_assert_eq(err, wanted, "%s: %s", eg_err_name(err), w.note.text);
}

static inline eg_err try(struct tx *x) {
    stepper_run_ms(w.st, 1); /* ticks that were asked for are no longer in the shards' way */
    buffer_clear(&w.result);
    return transact_try(&w.reader, done(x), &w.result, &w.note);
}

static inline void cr_assert_field(struct table *t, const char *key, const char *field) {
    struct shard_request q = {.op = SHARD_READ, .key = text(key)};
    struct value records, record, second;
    char shown[64] = "nothing";

    cr_assert_eq(table_world_run(&w, t, &q), EG_OK);
    records = (struct value){w.result.at, (uint32_t) w.result.size_bytes};
    if (array_element(records, 0, &record)) {
        cr_assert(array_element(record, 1, &second));
        value_text(second, shown, sizeof shown);
    }
    cr_assert_str_eq(shown, field, "%s: %s", key, shown);
}

/* As transaction number `id`, the older the smaller. */
struct letter {
    struct shard_request q;
    struct buffer head, part;
};

static inline void letter_open(struct letter *l, uint64_t id, struct tx *x, struct table *t,
                               uint32_t shard, enum shard_op op) {
    struct transact_head h = {.id = {1, id}, .age = {id, 1, 0}};

    l->q = (struct shard_request){.op = op};
    buffer_init(&l->head, alloc_system(), SIZE_MAX);
    buffer_init(&l->part, alloc_system(), SIZE_MAX);
    cr_assert_eq(transact_pack_head(&h, &l->head), EG_OK);
    cr_assert_eq(transact_pack_part(done(x), t, shard, &l->part), EG_OK);
    l->q.key = (struct value){l->head.at, (uint32_t) l->head.size_bytes};
    l->q.value = (struct value){l->part.at, (uint32_t) l->part.size_bytes};
    cr_assert_eq(transact_check_part(t, shard, l->q.value, &w.note), EG_OK);
}

static inline void letter_close(struct letter *l) {
    buffer_fini(&l->head);
    buffer_fini(&l->part);
}

static inline eg_err send_as(uint64_t id, struct tx *x, struct table *t, uint32_t shard,
                             enum shard_op op) {
    struct letter l;
    eg_err err;

    letter_open(&l, id, x, t, shard, op);
    err = table_world_transact(&w, t, shard, &l.q);
    letter_close(&l);
    return err;
}

/* Nobody waits for the answer. */
static inline void post_as(uint64_t id, struct tx *x, struct table *t, uint32_t shard,
                           enum shard_op op) {
    struct message *m;
    struct letter l;
    eg_pid to;

    letter_open(&l, id, x, t, shard, op);
    cr_assert_eq(transact_message(t, shard, &l.q, &to, &m), EG_OK);
    cr_assert_eq(runtime_send(w.st->rt, EG_PID_NONE, to, m), EG_OK);
    letter_close(&l);
}

static inline eg_err send_op(struct tx *x, struct table *t, uint32_t shard, enum shard_op op) {
    static uint64_t ids = 1000;

    return send_as(++ids, x, t, shard, op);
}

/* What only says whose it is. */
static inline eg_err say(uint64_t id, struct table *t, uint32_t shard, enum shard_op op) {
    struct tx nothing = {.all = {0}};

    return send_as(id, &nothing, t, shard, op);
}

static inline uint32_t shard_of_key(const char *key) {
    return transact_shard_of(table, text(key));
}

static inline bool may_look(const char *key) {
    const struct record *rec;
    uint64_t version;
    struct key k;

    cr_assert_eq(table_key(table, &k, text(key)), EG_OK);
    return transact_look(table, &w.reader, &k, &rec, &version) == EG_OK;
}

static inline void expect_status(uint64_t id, uint32_t shard, const char *wanted) {
    char shown[64];

    expect(say(id, table, shard, SHARD_TX_STATUS), EG_OK);
    value_text((struct value){w.result.at, (uint32_t) w.result.size_bytes}, shown, sizeof shown);
    cr_assert_str_eq(shown, wanted);
}

#endif /* TESTS_UNIT_TABLES_TRANSACT_WORLD_H */
