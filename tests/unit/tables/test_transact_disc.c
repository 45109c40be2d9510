/* Parts of transactions, and what became of them, are found again after a restart; what is made
 * anew is made once. */
#include "tests/unit/tables/transact_world.h"

#include "tables/disc_record.h"
#include "tables/shard_tx_private.h"

TestSuite(transact_disc, .init = setup, .fini = teardown, .timeout = 240);

static void restart(const char *name) {
    reader_exit(&w.reader);
    cr_assert_eq(table_world_stop(&w), EG_OK);
    cr_assert_eq(table_world_start(&w), EG_OK);
    reader_enter(&w.reader);
    table = find(name);
    cr_assert_not_null(table);
}

static void survives(const char *options) {
    struct tx x = {.all = {0}};
    uint32_t shard;

    create("d", options);
    table = find("d");
    shard = shard_of_key("1");
    expect(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(7, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    restart("d");
    expect_status(7, shard, "'prepared'");
    cr_assert_not(may_look("1"));
    expect(say(7, table, shard, SHARD_TX_COMMIT), EG_OK);
    cr_assert_field(table, "1", "'b'");
    restart("d");
    cr_assert_not(shard_is_held(&table->shard[shard]));
    cr_assert_field(table, "1", "'b'");
    expect_status(7, shard, "'committed'");
    expect(say(7, table, shard, SHARD_TX_COMMIT), EG_OK);
    x.all.want_count = 0;
    want(&x, table, SHARD_WRITE, NULL, "[1, 'c']");
    expect(send_as(8, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    expect(say(8, table, shard, SHARD_TX_ABORT), EG_OK);
    restart("d");
    cr_assert_not(shard_is_held(&table->shard[shard]));
    cr_assert_field(table, "1", "'b'");
}

/* As a manager asks whose answer was lost, or which was killed before it had noted the end. */
static void is_made_anew_once(const char *options) {
    struct tx x = {.all = {0}};
    uint32_t shard;

    create("d", options);
    table = find("d");
    shard = shard_of_key("1");
    want(&x, table, SHARD_COUNTER, "1", "1");
    want(&x, table, SHARD_COUNTER, "1", "1");
    expect(send_as(7, &x, table, shard, SHARD_TX_ONE), EG_OK);
    expect(send_as(7, &x, table, shard, SHARD_TX_ONE), EG_OK);
    cr_assert_field(table, "1", "2");
    expect(say(7, table, shard, SHARD_TX_COMMIT), EG_OK);
    if (table_schema(table)->storage != STORAGE_RAM) {
        restart("d");
        x.all.want_count = 0; /* they were the table's of before */
        want(&x, table, SHARD_COUNTER, "1", "1");
        want(&x, table, SHARD_COUNTER, "1", "1");
        expect(send_as(7, &x, table, shard, SHARD_TX_ONE), EG_OK);
    }
    cr_assert_field(table, "1", "2");
    expect(send_as(8, &x, table, shard, SHARD_TX_ONE), EG_OK);
    cr_assert_field(table, "1", "4");
}

Test(transact_disc, what_is_made_anew_is_made_once) {
    is_made_anew_once("{'shards': 2}");
}

Test(transact_disc, what_is_made_anew_on_disc_is_made_once) {
    is_made_anew_once("{'storage': 'disc', 'shards': 2}");
}

Test(transact_disc, what_is_made_anew_on_disc_only_is_made_once) {
    is_made_anew_once("{'storage': 'disc_only', 'shards': 2}");
}

/* A kill behind the first change, which took along that it is made. */
Test(transact_disc, what_was_half_made_anew_is_made_from_there_on) {
    static const uint64_t id[2] = {1, 7};
    struct tx x = {.all = {0}};
    struct disc_batch b;
    uint32_t shard, count;

    create("d", "{'storage': 'disc_only', 'shards': 2}");
    table = find("d");
    shard = shard_of_key("1");
    want(&x, table, SHARD_COUNTER, "1", "1");
    want(&x, table, SHARD_COUNTER, "1", "1");
    disc_batch_init(&b, alloc_system());
    cr_assert_eq(disc_record_put_made(&b, table->disc_table, shard, id, 1), EG_OK);
    cr_assert_eq(disc_write(table->world->o.disc, &b), EG_OK);
    disc_batch_fini(&b);
    expect(send_as(7, &x, table, shard, SHARD_TX_ONE), EG_OK);
    cr_assert_field(table, "1", "1");
    cr_assert_eq(disc_record_get_made(table->world->o.disc, table->disc_table, shard, id, &count),
                 EG_OK);
    cr_assert_eq(count, 0);
}

/* The rows of those that were committed are as many as there is room for. */
Test(transact_disc, the_last_ones_of_a_shard_are_known_after_a_start) {
    enum { MANY = SHARD_TX_DONE_MAX + 10 };
    uint32_t shard;

    create("d", "{'storage': 'disc', 'shards': 1}");
    table = find("d");
    shard = shard_of_key("1");
    for (uint64_t id = 1; id <= MANY; id++) {
        struct tx x = {.all = {0}};

        want(&x, table, SHARD_COUNTER, "1", "1");
        expect(send_as(id, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
        expect(say(id, table, shard, SHARD_TX_COMMIT), EG_OK);
    }
    restart("d");
    for (uint64_t id = 1; id <= MANY; id++)
        expect_status(id, shard, id <= MANY - SHARD_TX_DONE_MAX ? "'unknown'" : "'committed'");
    restart("d");
    expect_status(MANY, shard, "'committed'");
}

Test(transact_disc, a_prepared_part_is_found_again_on_disc_and_its_end_too) {
    survives("{'storage': 'disc', 'shards': 2}");
}

Test(transact_disc, a_prepared_part_of_a_sync_table_is_found_again) {
    survives("{'storage': 'disc', 'shards': 2, 'durability': 'sync'}");
}

Test(transact_disc, a_prepared_part_of_a_disc_only_table_is_found_again) {
    survives("{'storage': 'disc_only', 'shards': 2}");
}
