/* What a transaction sees it knows again, and what it wants is done whole or not at all. */
#include "tests/unit/tables/transact_world.h"

#include "tables/shard_copy.h"
#include "tables/shard_tx_private.h"

#include <stdio.h>

TestSuite(transact, .init = setup, .fini = teardown, .timeout = 240);

Test(transact, a_version_is_another_after_each_change_and_none_where_nothing_is) {
    uint64_t first, second;

    cr_assert_eq(version_at(table, "1"), 0);
    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    first = version_at(table, "1");
    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    second = version_at(table, "1");
    cr_assert_neq(first, second);
    cr_assert_eq(run(table, SHARD_DELETE, "1", NULL), EG_OK);
    cr_assert_eq(version_at(table, "1"), 0);
}

Test(transact, a_bags_version_is_of_all_that_is_under_the_key) {
    struct table *bag;
    uint64_t one, two;

    create("b", "{'type': 'bag'}");
    bag = find("b");
    cr_assert_eq(run(bag, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    one = version_at(bag, "1");
    cr_assert_eq(run(bag, SHARD_WRITE, NULL, "[1, 'b']"), EG_OK);
    two = version_at(bag, "1");
    cr_assert_neq(one, two);
    cr_assert_eq(run(bag, SHARD_DELETE_OBJECT, NULL, "[1, 'b']"), EG_OK);
    cr_assert_eq(version_at(bag, "1"), one);
}

Test(transact, a_shard_counts_its_changes_and_no_other_shard_has_its_numbers) {
    uint32_t shard = transact_shard_of(table, text("1"));
    uint64_t before = transact_changes(table, shard);

    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    cr_assert_neq(transact_changes(table, shard), before);
    before = transact_changes(table, shard);
    cr_assert_eq(run(table, SHARD_READ, "1", NULL), EG_OK);
    cr_assert_eq(transact_changes(table, shard), before);
    cr_assert_neq(transact_changes(table, 0) >> 32, transact_changes(table, 1) >> 32);
}

Test(transact, a_read_by_message_gives_the_version_that_a_look_gives) {
    struct shard_request q = {.op = SHARD_TX_READ, .key = text("1")};
    char shown[64];
    struct value answer, version;
    uint64_t number;

    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    cr_assert_eq(table_world_transact(&w, table, transact_shard_of(table, q.key), &q), EG_OK);
    answer = (struct value){w.result.at, (uint32_t) w.result.size_bytes};
    cr_assert(array_element(answer, 1, &version) && value_get_u64(version, &number));
    cr_assert_eq(number, version_at(table, "1"));
    cr_assert(array_element(answer, 0, &version));
    cr_assert_str_eq(value_text(version, shown, sizeof shown), "[[1, 'a']]");
}

/* ---- committing in place ----------------------------------------------------------------------
 */

Test(transact, what_it_wants_is_done_where_what_it_saw_stands) {
    struct tx x = {.all = {0}}, late = {.all = {0}};

    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    see(&x, table, "1");
    see(&x, table, "2");
    want(&x, table, SHARD_WRITE, NULL, "[2, 'b']");
    want(&x, table, SHARD_DELETE, "1", NULL);
    see(&late, table, "2");
    want(&late, table, SHARD_WRITE, NULL, "[2, 'c']");
    expect(try(&x), EG_OK);
    cr_assert_field(table, "1", "nothing");
    cr_assert_field(table, "2", "'b'");
    expect(try(&late), EG_CONFLICT);
    cr_assert_field(table, "2", "'b'");
}

Test(transact, the_results_stand_behind_each_other) {
    struct tx x = {.all = {0}};

    want(&x, table, SHARD_COUNTER, "1", "5");
    want(&x, table, SHARD_COUNTER, "1", "6");
    want(&x, table, SHARD_INSERT_NEW, NULL, "[1, 'a']");
    expect(try(&x), EG_OK);
    cr_assert_eq(w.result.size_bytes, 3);
    cr_assert_arr_eq(w.result.at, "\x05\x0b\xc2", 3);
    x.all.want_count = 1;
    stepper_run_ms(w.st, 1);
    expect(transact_try(&w.reader, done(&x), NULL, &w.note), EG_OK);
    cr_assert_field(table, "1", "16");
}

Test(transact, a_want_that_is_refused_takes_all_back) {
    struct table *bag;
    struct tx x = {.all = {0}};

    create("b", "{'type': 'bag'}");
    bag = find("b");
    cr_assert_eq(run(bag, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    cr_assert_eq(run(bag, SHARD_WRITE, NULL, "[1, 'b']"), EG_OK);
    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    want(&x, table, SHARD_WRITE, NULL, "[2, 'new']");
    want(&x, bag, SHARD_DELETE, "1", NULL);
    want(&x, bag, SHARD_WRITE, NULL, "[1, 'c']");
    want(&x, table, SHARD_DELETE, "1", NULL);
    want(&x, table, SHARD_UPDATE, "9", "{'value': 1}");
    expect(try(&x), EG_NOT_FOUND);
    cr_assert_eq(w.result.size_bytes, 0);
    cr_assert_field(table, "1", "'a'");
    cr_assert_field(table, "2", "nothing");
    cr_assert_eq(run(bag, SHARD_READ, "1", NULL), EG_OK);
    cr_assert_eq(value_count((struct value){w.result.at, (uint32_t) w.result.size_bytes}), 2);
    table_world_check(&w, table);
    table_world_check(&w, bag);
    for (uint32_t i = 0; i < table_shards(table); i++)
        cr_assert_not(shard_is_held(&table->shard[i]));
}

Test(transact, a_scan_that_a_phantom_came_into_conflicts) {
    struct tx x = {.all = {0}}, again = {.all = {0}};

    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    ask(&x, table, (struct scan_path){.kind = SCAN_ALL});
    want(&x, table, SHARD_WRITE, NULL, "[2, 'b']");
    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[3, 'c']"), EG_OK);
    expect(try(&x), EG_CONFLICT);
    ask(&again, table, (struct scan_path){.kind = SCAN_ALL});
    want(&again, table, SHARD_WRITE, NULL, "[2, 'b']");
    expect(try(&again), EG_OK);
}

Test(transact, a_change_beside_a_path_does_not_change_its_answer) {
    struct tx x = {.all = {0}};
    struct scan_path path = {.kind = SCAN_KEY_RANGE,
                             .range = {.low = {.given = true, .value = text("10")},
                                       .high = {.given = true, .value = text("20")}}};
    struct table *t;

    create("o", "{'type': 'ordered_set'}");
    t = find("o");
    cr_assert_eq(run(t, SHARD_WRITE, NULL, "[11, 'a']"), EG_OK);
    ask(&x, t, path);
    want(&x, t, SHARD_WRITE, NULL, "[1, 'b']");
    cr_assert_eq(run(t, SHARD_WRITE, NULL, "[21, 'a']"), EG_OK);
    expect(try(&x), EG_OK);
    x.all.question_count = 0;
    ask(&x, t, path);
    cr_assert_eq(run(t, SHARD_WRITE, NULL, "[20, 'a']"), EG_OK);
    expect(try(&x), EG_CONFLICT);
}

Test(transact, one_that_only_reads_stands_where_nothing_was_changed) {
    struct tx x = {.all = {0}};

    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    see(&x, table, "1");
    see(&x, table, "2");
    cr_assert_eq(transact_stands(&w.reader, done(&x), &w.note), EG_OK);
    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[3, 'a']"), EG_OK);
    cr_assert_eq(transact_stands(&w.reader, done(&x), &w.note), EG_OK);
    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[2, 'a']"), EG_OK);
    cr_assert_eq(transact_stands(&w.reader, done(&x), &w.note), EG_CONFLICT);
}

Test(transact, while_several_records_change_who_looks_in_place_is_sent_away) {
    struct tx x = {.all = {0}};
    const struct record *rec;
    uint64_t version;
    struct key k;
    struct value one = text("1");
    struct shard *s = &table->shard[transact_shard_of(table, one)];

    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    see(&x, table, "1");
    see(&x, table, "2");
    shard_tx_begin(s);
    cr_assert_eq(table_key(table, &k, one), EG_OK);
    cr_assert_not(table_read_stands(table, &w.reader, &k));
    cr_assert_not(table_get_at_once(table, &w.reader, one, &rec));
    cr_assert_eq(transact_look(table, &w.reader, &k, &rec, &version), EG_AGAIN);
    cr_assert_not(transact_scan_stands(table, s->number));
    cr_assert_eq(transact_stands(&w.reader, done(&x), &w.note), EG_AGAIN);
    expect(try(&x), EG_AGAIN);
    cr_assert(transact_is_here(done(&x)) && transact_passes(table, &k), "it is over in a moment");
    shard_tx_end(s);
    cr_assert(table_read_stands(table, &w.reader, &k));
    cr_assert(table_get_at_once(table, &w.reader, one, &rec));
    expect(try(&x), EG_OK);
}

static eg_err glance(const char *key, bool *stands) {
    const struct record *rec;
    uint64_t version;
    struct key k;
    eg_err err;

    cr_assert_eq(table_key(table, &k, text(key)), EG_OK);
    err = transact_glance(table, &w.reader, &k, &rec, &version, stands);
    if (err == EG_OK)
        cr_assert_eq(version, rec == NULL ? 0 : rec->hlc);
    key_release(&k);
    return err;
}

Test(transact, what_not_all_copies_have_yet_is_shown_and_does_not_stand) {
    struct shard *s = &table->shard[transact_shard_of(table, text("1"))];
    const struct record *rec;
    uint64_t version;
    struct key k;
    bool stands;

    cr_assert_eq(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    cr_assert_eq(glance("1", &stands), EG_OK);
    cr_assert(stands);
    atomic_store(&s->newest, UINT64_MAX);
    atomic_store(&s->role, SHARD_FULL);
    cr_assert_eq(glance("1", &stands), EG_OK);
    cr_assert_not(stands);
    cr_assert_eq(table_key(table, &k, text("1")), EG_OK);
    cr_assert_eq(transact_look(table, &w.reader, &k, &rec, &version), EG_AGAIN);
    shard_tx_begin(s); /* a transaction may be changing it */
    cr_assert_eq(glance("1", &stands), EG_AGAIN);
    shard_tx_end(s);
    shard_set_stable(s, UINT64_MAX - 1);
    cr_assert_eq(glance("1", &stands), EG_OK);
    cr_assert(stands);
    atomic_store(&s->role, SHARD_AWAY);
    cr_assert_eq(glance("1", &stands), EG_AGAIN);
    atomic_store(&s->role, SHARD_ALONE);
}

Test(transact, a_table_that_was_dropped_meanwhile_is_said_to_be) {
    struct tx x = {.all = {0}};

    create("gone", "{}");
    want(&x, find("gone"), SHARD_WRITE, NULL, "[1, 'a']");
    cr_assert(table_ref(x.want[0].table));
    reader_exit(&w.reader);
    cr_assert_eq(table_world_ask(&w, CATALOG_DROP, "gone", (struct value){0}), EG_OK);
    reader_enter(&w.reader);
    expect(try(&x), EG_NO_TABLE);
    table_unref(x.want[0].table);
}

Test(transact, of_a_sync_table_it_has_to_be_sent) {
    struct tx x = {.all = {0}};
    struct table *t;

    create("s", "{'storage': 'disc', 'durability': 'sync'}");
    t = find("s");
    see(&x, t, "1");
    expect(try(&x), EG_OK);
    want(&x, t, SHARD_WRITE, NULL, "[1, 'a']");
    expect(try(&x), EG_AGAIN);
}

Test(transact, values_of_a_unique_index_are_kept_apart_also_over_shards) {
    struct tx x = {.all = {0}}, twice = {.all = {0}};
    struct table *t;

    create("u", "{'shards': 4, 'index': [{'on': 'value', 'unique': true}]}");
    t = find("u");
    for (int i = 0; i < 4; i++) {
        char record[16];

        snprintf(record, sizeof record, "[%d, %d]", i, i);
        want(&x, t, SHARD_WRITE, NULL, record);
        snprintf(record, sizeof record, "[%d, 'x']", i + 10);
        want(&twice, t, SHARD_WRITE, NULL, record);
    }
    expect(try(&x), EG_OK);
    expect(try(&twice), EG_EXISTS);
    cr_assert_field(t, "10", "nothing");
    cr_assert_eq(run(t, SHARD_WRITE, NULL, "[9, 9]"), EG_OK);
    table_world_check(&w, t);
}
