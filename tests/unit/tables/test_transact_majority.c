/* What a table that asks for a majority makes anew and gives up, where another master may have gone
 * on. */
#include "tests/unit/tables/transact_world.h"

#include "tables/shard_copy.h"
#include "tables/shard_tx.h"

TestSuite(transact_majority, .init = setup, .fini = teardown, .timeout = 240);

/* Its keys may have been changed since by who is told of it. */
Test(transact_majority, what_a_majority_table_is_to_make_anew_is_left_out_where_others_went_on) {
    struct tx x = {.all = {0}};
    uint32_t shard;

    create("d", "{'majority': true, 'shards': 2}");
    table = find("d");
    shard = shard_of_key("1");
    expect(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    see(&x, table, "1");
    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(7, &x, table, shard, SHARD_TX_ONE), EG_OK);
    cr_assert_field(table, "1", "'b'");
    expect(run(table, SHARD_WRITE, NULL, "[1, 'c']"), EG_OK);
    expect(send_as(8, &x, table, shard, SHARD_TX_ONE), EG_OK);
    expect(send_as(8, &x, table, shard, SHARD_TX_ONE), EG_OK);
    cr_assert_field(table, "1", "'c'");
}

Test(transact_majority, a_majority_table_knows_what_it_has_given_up) {
    static const char *const options[] = {"{'shards': 2}", "{'majority': true, 'shards': 2}"};

    for (uint32_t majority = 0; majority < 2; majority++) {
        struct tx x = {.all = {0}};
        uint32_t shard;

        create(majority ? "m" : "p", options[majority]);
        table = find(majority ? "m" : "p");
        shard = shard_of_key("1");
        want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
        expect(send_as(7, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
        expect(say(7, table, shard, SHARD_TX_ABORT), EG_OK);
        expect_status(7, shard, majority ? "'aborted'" : "'unknown'");
        expect(say(7, table, shard, SHARD_TX_COMMIT), majority ? EG_ABORTED : EG_NOT_FOUND);
        expect(say(8, table, shard, SHARD_TX_COMMIT), EG_NOT_FOUND);
    }
}

static uint64_t stamp_of(const char *key) {
    const struct record *rec;
    struct key k;

    cr_assert_eq(table_key(table, &k, text(key)), EG_OK);
    rec = table->shard[shard_of_key(key)].store->ops->get(table->shard[shard_of_key(key)].store,
                                                          &w.reader, &k);
    return rec == NULL ? 0 : rec->hlc;
}

/* Another may have made it where nobody heard: what is here is to be later than that. */
Test(transact_majority,
     what_a_majority_table_gives_up_for_another_master_leaves_all_there_written_anew) {
    static const char *const options[] = {"{'shards': 1}", "{'majority': true, 'shards': 1}"};

    cr_assert_eq(origins_meet(catalog_origins(w.catalog)), EG_OK);
    for (uint32_t majority = 0; majority < 2; majority++) {
        struct shard *s;
        uint64_t before, graves;

        create(majority ? "m" : "p", options[majority]);
        table = find(majority ? "m" : "p");
        s = &table->shard[0];
        cr_assert_not_null(s->copy);
        expect(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
        before = stamp_of("1");
        graves = s->copy->graves.count;
        cr_assert_eq(shard_tx_mark(s, &w.reader, text("[1, 7, 3, 4, 5, 6, 0, []]"),
                                   text("[[], [], [1, 65535, 0, nil, [1, 'b'], 1, 65535, 0, nil, "
                                        "[2, 'b']], 0]")),
                     EG_OK);
        expect(say(7, table, 0, SHARD_TX_ABORT), EG_OK);
        cr_assert_field(table, "1", "'a'");
        cr_assert_eq(stamp_of("2"), 0);
        cr_assert_eq(stamp_of("1") > before, majority != 0);
        cr_assert_eq(s->copy->graves.count - graves, majority);
        shard_tx_unmark(s, (struct transact_id){1, 7}, OUTCOME_COMMITTED);
        expect_status(7, 0, majority ? "'aborted'" : "'committed'");
    }
}

/* Of what was prepared here first another may have been master since, and cut off: the same. */
Test(transact_majority, what_a_majority_table_gives_up_was_perhaps_another_masters_meanwhile) {
    cr_assert_eq(origins_meet(catalog_origins(w.catalog)), EG_OK);
    for (uint32_t told = 0; told < 2; told++) {
        const char *name = told ? "told" : "ours";
        struct tx x = {.all = {0}};
        uint64_t before;

        create(name, "{'majority': true, 'shards': 1}");
        table = find(name);
        expect(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
        before = stamp_of("1");
        want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
        expect(send_as(7, &x, table, 0, SHARD_TX_PREPARE), EG_OK);
        if (told)
            cr_assert_eq(shard_tx_mark(&table->shard[0], &w.reader,
                                       text("[1, 7, 3, 4, 5, 6, 0, []]"),
                                       text("[[], [], [1, 65535, 0, nil, [1, 'b']], 0]")),
                         EG_OK);
        expect(say(7, table, 0, SHARD_TX_ABORT), EG_OK);
        cr_assert_eq(stamp_of("1") > before, told != 0);
    }
}

/* Made in one turn they would come one by one from a chair that was cut off. */
Test(transact_majority,
     several_changes_of_a_majority_table_with_copies_are_told_before_they_are_made) {
    static const char *const options[] = {"{'shards': 1}", "{'majority': true, 'shards': 1}"};

    for (uint32_t majority = 0; majority < 2; majority++) {
        struct tx x = {.all = {0}};

        create(majority ? "m" : "p", options[majority]);
        table = find(majority ? "m" : "p");
        want(&x, table, SHARD_WRITE, NULL, "[1, 'a']");
        shard_set_role(&table->shard[0], SHARD_CHAIR);
        cr_assert_not(transact_is_singly(done(&x)));
        want(&x, table, SHARD_WRITE, NULL, "[2, 'a']");
        cr_assert_eq(transact_is_singly(done(&x)), majority != 0);
        shard_set_role(&table->shard[0], SHARD_ALONE);
        cr_assert_not(transact_is_singly(done(&x)));
    }
}

/* Who has not heard of the view that it is served in has not looked at the other parts in it. */
Test(transact_majority, a_part_of_a_majority_table_is_not_ended_by_who_knows_an_earlier_view) {
    static const enum shard_op ends[] = {SHARD_TX_COMMIT, SHARD_TX_ABORT};
    struct transact_head h = {.id = {1, 7}, .age = {7, 1, 0}};
    struct shard_request q = {.attribute = SHARD_NO_ATTRIBUTE};
    struct tx x = {.all = {0}};
    struct buffer head;

    create("m", "{'majority': true, 'shards': 1}");
    table = find("m");
    buffer_init(&head, alloc_system(), 1024);
    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    for (uint32_t i = 0; i < 2; i++) {
        h.id.low++;
        buffer_clear(&head);
        cr_assert_eq(transact_pack_head(&h, &head), EG_OK);
        q.key = (struct value){head.at, (uint32_t) head.size_bytes};
        q.op = ends[i];
        expect(send_as(h.id.low, &x, table, 0, SHARD_TX_PREPARE), EG_OK);
        table->shard[0].hlc = EG_MAX(table->shard[0].hlc, shard_stamp_of_view(9));
        q.value = text("8");
        expect(table_world_transact(&w, table, 0, &q), EG_AGAIN);
        expect_status(h.id.low, 0, "'prepared'");
        q.value = text("9");
        expect(table_world_transact(&w, table, 0, &q), EG_OK);
        expect_status(h.id.low, 0, i == 0 ? "'committed'" : "'aborted'");
    }
    buffer_fini(&head);
}
