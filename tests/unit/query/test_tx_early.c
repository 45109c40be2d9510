/* A held transaction that has seen what not all copies have yet: whether it was so is asked before
 * it ends, and never by who has written. */
#include "query/tx.h"
#include "tables/shard_copy.h"
#include "tables/table_private.h"
#include "tests/support/table_world.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>

static struct table_world w;
static struct table *table;
static struct tx *tx;
static struct tx_place at;
static uint8_t bytes[256];

static struct value text(const char *s) {
    return text_value(bytes, sizeof bytes, s);
}

static struct shard *shard_of_one(void) {
    return &table->shard[transact_shard_of(table, text("1"))];
}

/* A record is there, at a copy, and nobody has said that the others have it. */
static void setup(void) {
    struct shard_request q = {.op = SHARD_WRITE, .attribute = SHARD_NO_ATTRIBUTE};
    struct tx_opts o = {.alloc = alloc_system()};

    table_world_open(&w, alloc_system(), 1);
    cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, "t", text("{}")), EG_OK);
    table = table_world_find(&w, "t");
    reader_enter(&w.reader);
    q.value = text("[1, 'a']");
    cr_assert_eq(table_world_run(&w, table, &q), EG_OK);
    o.env = &w.st->env;
    cr_assert_eq(tx_open(&tx, &o), EG_OK);
    at = (struct tx_place){.table = table, .reader = &w.reader};
    atomic_store(&shard_of_one()->newest, UINT64_MAX);
    atomic_store(&shard_of_one()->role, SHARD_FULL);
}

static void teardown(void) {
    atomic_store(&shard_of_one()->role, SHARD_ALONE);
    tx_close(tx);
    reader_exit(&w.reader);
    table_world_close(&w);
}

TestSuite(tx_early, .init = setup, .fini = teardown, .timeout = 240);

static eg_err get(void) {
    struct value record;

    return tx_get(tx, &at, text("1"), &record, NULL);
}

static void begin(void) {
    tx_begin(tx, &(struct tx_start){0});
    cr_assert_eq(get(), EG_OK);
}

/* Its master is asked, and says so. */
static void answer(uint64_t version) {
    uint8_t room[64];
    struct value_writer v = value_writer_init(room, sizeof room);
    struct message *m;
    eg_pid to;

    cr_assert_eq(tx_ask(tx, &w.reader, &to, &m), EG_OK);
    cr_assert_eq(m->tag, SHARD_TX_READ);
    message_free(w.st->rt, m);
    value_put_array(&v, 2);
    value_put_raw(&v, text("[[1, 'a']]"));
    value_put_u64(&v, version);
    tx_answered(tx, EG_OK, (struct value){room, (uint32_t) v.need_bytes});
}

static uint64_t version_here(void) {
    const struct record *rec;
    uint64_t version;
    struct key k;
    bool stands;

    cr_assert_eq(table_key(table, &k, text("1")), EG_OK);
    cr_assert_eq(transact_glance(table, &w.reader, &k, &rec, &version, &stands), EG_OK);
    return version;
}

Test(tx_early, what_it_has_seen_is_asked_for_before_it_ends) {
    begin();
    cr_assert_eq(tx_commit(tx, &w.reader, NULL), EG_AGAIN);
    cr_assert_eq(tx_state(tx), TX_OPEN);
    answer(version_here());
    cr_assert_eq(tx_commit(tx, &w.reader, NULL), EG_OK);
}

Test(tx_early, it_has_lost_where_that_was_never_so) {
    begin();
    cr_assert_eq(tx_commit(tx, &w.reader, NULL), EG_AGAIN);
    answer(version_here() + 1);
    cr_assert_eq(tx_commit(tx, &w.reader, NULL), EG_CONFLICT);
}

Test(tx_early, nobody_is_asked_where_all_copies_have_it_by_then) {
    begin();
    shard_set_stable(shard_of_one(), UINT64_MAX);
    cr_assert_eq(tx_commit(tx, &w.reader, NULL), EG_OK);
    begin();
    cr_assert_eq(tx_commit(tx, &w.reader, NULL), EG_OK);
}

Test(tx_early, who_has_lost_before_asks_first) {
    tx_begin(tx, &(struct tx_start){.age = {1, 2, 3}});
    cr_assert_eq(get(), EG_AGAIN);
    answer(version_here());
    cr_assert_eq(get(), EG_OK);
    cr_assert_eq(tx_commit(tx, &w.reader, NULL), EG_OK);
}
