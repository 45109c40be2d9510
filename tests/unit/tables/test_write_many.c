/* write_many that has to wait is written where the table is by then. */
#include "tables/table_private.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RECORDS = 64, TURNS = 300 };

static struct table_world w;
static uint32_t answers[2]; /* of the change of storage, of the write_many */
static eg_err answered[2];

static void setup(void) {
    table_world_open(&w, alloc_system(), 5);
}

static void teardown(void) {
    table_world_close(&w);
}

TestSuite(write_many, .init = setup, .fini = teardown, .timeout = 240);

static void asker_receive(struct actor *self, void *state, struct message *m) {
    (void) self;
    (void) state;
    answers[m->ref]++;
    answered[m->ref] = (eg_err) m->tag;
}

static eg_pid spawn_asker(void) {
    static const struct actor_ops ops = {.name = "asker", .receive = asker_receive};
    eg_pid pid;

    cr_assert_eq(actor_spawn(w.st->rt, NULL, &(struct spawn_opts){.ops = &ops}, &pid, NULL), EG_OK);
    return pid;
}

static struct value alter_to(const char *storage) {
    static uint8_t at[64];
    struct value_writer v = value_writer_init(at, sizeof at);

    value_put_array(&v, 2);
    value_put_text(&v, "change_storage");
    value_put_text(&v, storage);
    return (struct value){at, (uint32_t) v.need_bytes};
}

static struct value records_of(int64_t n) {
    static uint8_t at[RECORDS * 24];
    struct value_writer v = value_writer_init(at, sizeof at);

    value_put_array(&v, RECORDS);
    for (int64_t key = 0; key < RECORDS; key++) {
        value_put_array(&v, 2);
        value_put_i64(&v, key);
        value_put_i64(&v, n);
    }
    cr_assert_not(v.overflow);
    return (struct value){at, (uint32_t) v.need_bytes};
}

static void ask(eg_pid asker, uint64_t ref, enum catalog_op op, struct value value) {
    struct catalog_request q = {.op = op, .name = {(const uint8_t *) "t", 1}, .value = value};

    cr_assert_eq(catalog_send(w.catalog, asker, ref, &q), EG_OK);
}

static int64_t value_at(int64_t key) {
    uint8_t at[16];
    struct value_writer v = value_writer_init(at, sizeof at);
    struct shard_request q = {.op = SHARD_READ};
    struct value records, record, field;
    int64_t n = -1;

    value_put_i64(&v, key);
    q.key = (struct value){at, (uint32_t) v.need_bytes};
    reader_enter(&w.reader);
    cr_assert_eq(table_world_run(&w, table_world_find(&w, "t"), &q), EG_OK);
    reader_exit(&w.reader);
    records = (struct value){w.result.at, (uint32_t) w.result.size_bytes};
    cr_assert(array_element(records, 0, &record) && array_element(record, 1, &field));
    cr_assert(value_get_i64(field, &n));
    return n;
}

/* Begun at any moment of a change of storage, also in the last, when its shards hold all
 * calls until the other table has the name. */
Test(write_many, goes_on_in_the_table_that_takes_the_name_meanwhile) {
    static const char *const storages[] = {"disc", "ram"};
    eg_pid asker = spawn_asker();

    cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, "t", (struct value){0}), EG_OK);
    for (uint32_t turns = 0; turns < TURNS; turns++) {
        memset(answers, 0, sizeof answers);
        ask(asker, 0, CATALOG_ALTER, alter_to(storages[turns % 2]));
        for (uint32_t i = 0; i < turns / 2; i++)
            if (!stepper_turn(w.st))
                stepper_run_ms(w.st, 1);
        ask(asker, 1, CATALOG_WRITE_MANY, records_of(turns));
        while (answers[0] == 0 || answers[1] == 0)
            stepper_run_ms(w.st, 1);
        cr_assert_eq(answered[0], EG_OK);
        cr_assert_eq(answered[1], EG_OK, "begun in turn %u: %s", turns, eg_err_name(answered[1]));
        cr_assert_eq(value_at(0), turns);
        cr_assert_eq(value_at(RECORDS - 1), turns);
    }
}
