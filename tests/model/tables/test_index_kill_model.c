/* Goal: whoever is killed while indexes come and go, afterwards the schema's indexes are whole
 * and agree with the records, and of all others nothing is left.  Method: a stepped
 * world in which the catalog is asked for index after index while records are written; at random
 * moments the catalog's actor or a shard's is killed; then all comes to rest and is compared. */
#include "tables/index.h"
#include "tables/catalog_private.h"
#include "tests/support/rng.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RECORDS = 6000, ROUNDS = 60, KILLS_IN_A_ROW_MS = 1500 };

static struct trial {
    uint64_t seed;
    struct rng rng;
    struct table_world w;
    uint32_t built; /* how often an index was there in the end */
} t;

struct made {
    uint8_t at[256];
    struct value_writer w;
};

static struct value made_value(const struct made *b) {
    return (struct value){b->at, (uint32_t) b->w.need_bytes};
}

static void ask_later(enum catalog_op op, struct value value) {
    struct catalog_request q = {.op = op, .name = {(const uint8_t *) "t", 1}, .value = value};

    /* a catalog that was just killed may not be there yet: then nobody has asked */
    if (catalog_send(t.w.catalog, EG_PID_NONE, 1, &q) != EG_OK)
        return;
}

static void change_an_index(void) {
    static const char *const names[] = {"a", "b", "b.c"};
    struct made b = {.w = value_writer_init(b.at, sizeof b.at)};
    uint64_t which = rng_below(&t.rng, 5);

    if (rng_one_in(&t.rng, 3)) {
        value_put_text(&b.w, which < 3 ? names[which] : which == 3 ? "once" : "never");
        ask_later(CATALOG_DROP_INDEX, made_value(&b));
        return;
    }
    if (which < 3) {
        value_put_text(&b.w, names[which]);
    } else { /* "never": its values are not unique */
        value_put_map(&b.w, 3);
        value_put_text(&b.w, "on");
        value_put_array(&b.w, 2);
        value_put_text(&b.w, "a");
        value_put_text(&b.w, which == 3 ? "key" : "b");
        value_put_text(&b.w, "unique");
        value_put_bool(&b.w, true);
        value_put_text(&b.w, "name");
        value_put_text(&b.w, which == 3 ? "once" : "never");
    }
    ask_later(CATALOG_ADD_INDEX, made_value(&b));
}

static void write_some(uint32_t count) {
    struct table *table;

    reader_enter(&t.w.reader);
    table = table_world_find(&t.w, "t");
    while (count-- > 0) {
        struct made b = {.w = value_writer_init(b.at, sizeof b.at)};
        struct shard_request q = {.op = SHARD_WRITE};
        eg_err err;

        value_put_array(&b.w, 3);
        value_put_i64(&b.w, (int64_t) rng_below(&t.rng, RECORDS));
        value_put_i64(&b.w, (int64_t) rng_below(&t.rng, 50));
        value_put_map(&b.w, 1);
        value_put_text(&b.w, "c");
        value_put_i64(&b.w, (int64_t) rng_below(&t.rng, 9));
        q.value = made_value(&b);
        err = table_try(table, &t.w.reader, &q, 1, &t.w.result, &t.w.note);
        cr_assert(err == EG_OK || err == EG_AGAIN || err == EG_BUSY || err == EG_EXISTS, "%s",
                  eg_err_text(err));
        buffer_clear(&t.w.result);
    }
    reader_exit(&t.w.reader);
}

static void kill_somebody(void) {
    eg_exit why = exit_reason(EG_EXIT_KILL);
    struct table *table;
    eg_pid pid = catalog_pid(t.w.catalog);

    reader_enter(&t.w.reader);
    table = table_world_find(&t.w, "t");
    if (rng_one_in(&t.rng, 2))
        pid = shard_pid(&table->shard[rng_below(&t.rng, table->shard_count)]);
    reader_exit(&t.w.reader);
    actor_exit_send(t.w.st->rt, EG_PID_NONE, pid, &why);
}

/* Of each shard: the schema's indexes and no other. */
static void compare(void) {
    struct table *table;
    const struct schema *s;

    reader_enter(&t.w.reader);
    table = table_world_find(&t.w, "t");
    s = table_schema(table);
    table_world_check(&t.w, table);
    for (uint32_t i = 0; i < table->shard_count; i++) {
        uint32_t there = 0;

        for (uint32_t n = 0; n < SCHEMA_INDEXES_MAX; n++) {
            const struct index *x = atomic_load(&table->shard[i].index[n].index);
            bool named = false;

            for (uint32_t k = 0; x != NULL && k < s->index_count; k++)
                named |= s->index[k]->id == index_spec(x)->id;
            cr_assert(x == NULL || named, "EG_SEED=%llu: an index that nobody knows",
                      (unsigned long long) t.seed);
            if (x == NULL)
                continue;
            there++;
            cr_assert(atomic_load(&table->shard[i].index[n].whole));
            cr_assert_eq(table->shard[i].index[n].enforced, index_spec(x)->unique);
        }
        cr_assert_eq(there, s->index_count, "EG_SEED=%llu: shard %u lacks an index",
                     (unsigned long long) t.seed, i);
    }
    t.built += s->index_count;
    reader_exit(&t.w.reader);
}

static struct value options(struct made *b, uint64_t seed) {
    static const char *const names[] = {"key", "a", "b"};

    b->w = value_writer_init(b->at, sizeof b->at);
    value_put_map(&b->w, 3);
    value_put_text(&b->w, "storage");
    value_put_text(&b->w, seed % 2 == 0 ? "ram" : "disc");
    value_put_text(&b->w, "shards");
    value_put_u64(&b->w, 3);
    value_put_text(&b->w, "attributes");
    value_put_array(&b->w, 3);
    for (int i = 0; i < 3; i++)
        value_put_text(&b->w, names[i]);
    return made_value(b);
}

static void trial(uint64_t seed) {
    struct made b;

    memset(&t, 0, sizeof t);
    t.seed = seed;
    t.rng = rng_of(seed);
    table_world_open(&t.w, alloc_system(), seed);
    cr_assert_eq(table_world_ask(&t.w, CATALOG_CREATE, "t", options(&b, seed)), EG_OK);
    write_some(RECORDS);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        change_an_index();
        for (uint64_t steps = rng_below(&t.rng, 12); steps > 0; steps--)
            (void) stepper_turn(t.w.st);
        write_some(20);
        if (rng_one_in(&t.rng, 4)) {
            kill_somebody();
            stepper_run_ms(t.w.st, KILLS_IN_A_ROW_MS); /* supervisors put up with so many */
        }
        if (round % 10 == 9) {
            stepper_run_ms(t.w.st, 5000);
            compare();
        }
    }
    cr_assert_eq(table_world_stop(&t.w), EG_OK);
    table_world_close(&t.w);
}

Test(index_kill_model, whoever_is_killed_indexes_are_whole_or_gone, .timeout = 240) {
    uint64_t first = rng_test_seed(1);
    uint32_t built = 0;

    for (uint64_t seed = first; seed < first + (rng_is_replay() ? 1 : 12); seed++) {
        trial(seed);
        built += t.built;
    }
    cr_assert(rng_is_replay() || built > 0);
}
