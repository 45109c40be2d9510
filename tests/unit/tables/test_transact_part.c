/* A part of a transaction is sent to its shard: done at once, or prepared, kept and brought to its
 * end. */
#include "tests/unit/tables/transact_world.h"

#include "engine/env.h"
#include "tables/moment.h"
#include "tables/shard_tx_private.h"

TestSuite(transact_part, .init = setup, .fini = teardown, .timeout = 240);

Test(transact_part, within_one_shard_one_message_does_all_of_it) {
    struct tx x = {.all = {0}};
    struct table *t;

    create("s", "{'storage': 'disc', 'durability': 'sync', 'shards': 1}");
    t = find("s");
    see(&x, t, "1");
    ask(&x, t, (struct scan_path){.kind = SCAN_ALL});
    want(&x, t, SHARD_WRITE, NULL, "[1, 7]");
    want(&x, t, SHARD_COUNTER, "1", "1");
    cr_assert_eq(send_op(&x, t, 0, SHARD_TX_ONE), EG_OK, "%s", w.note.text);
    cr_assert_eq(w.result.size_bytes, 3);
    cr_assert_arr_eq(w.result.at, "\x92\xc3\x08", 3);
    cr_assert_eq(send_op(&x, t, 0, SHARD_TX_ONE), EG_CONFLICT);
    cr_assert_field(t, "1", "8");
    x.all.seen_count = x.all.question_count = 0;
    want(&x, t, SHARD_UPDATE, "2", "{'value': 1}");
    cr_assert_eq(send_op(&x, t, 0, SHARD_TX_ONE), EG_NOT_FOUND);
    cr_assert_field(t, "1", "8");
    cr_assert_not(shard_is_held(&t->shard[0]));
}

Test(transact_part, a_question_by_message_gives_records_count_and_digest) {
    struct scan_path path = {.kind = SCAN_ALL};
    struct shard_request q = {.op = SHARD_TX_ASK};
    struct value answer, records, number;
    struct buffer packed;
    uint64_t changes;

    buffer_init(&packed, alloc_system(), SIZE_MAX);
    cr_assert_eq(transact_pack_path(&path, &packed), EG_OK);
    q.value = (struct value){packed.at, (uint32_t) packed.size_bytes};
    create("o", "{'type': 'ordered_set'}");
    cr_assert_eq(run(find("o"), SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    cr_assert_eq(run(find("o"), SHARD_WRITE, NULL, "[2, 'b']"), EG_OK);
    cr_assert_eq(table_world_transact(&w, find("o"), 0, &q), EG_OK, "%s", w.note.text);
    answer = (struct value){w.result.at, (uint32_t) w.result.size_bytes};
    cr_assert(array_element(answer, 0, &records) && value_count(records) == 2);
    cr_assert(array_element(answer, 1, &number) && value_get_u64(number, &changes));
    cr_assert_eq(changes, transact_changes(find("o"), 0));
    q.value = text("[1]");
    cr_assert_eq(table_world_transact(&w, find("o"), 0, &q), EG_BAD_REQUEST);
    buffer_fini(&packed);
}

Test(transact_part, a_path_is_completed_behind_what_was_looked_at_and_only_there) {
    const struct scan_path path = {.kind = SCAN_ALL};
    uint64_t none = 0, first, both, digest;
    struct table *o;

    create("o", "{'type': 'ordered_set', 'shards': 1}");
    o = find("o");
    cr_assert_eq(run(o, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    cr_assert_eq(transact_complete(o, 0, &w.reader, &path, 0, &none), EG_OK);
    first = none;
    cr_assert_eq(run(o, SHARD_WRITE, NULL, "[2, 'b']"), EG_OK);
    digest = first;
    cr_assert_eq(transact_complete(o, 0, &w.reader, &path, 1, &digest), EG_OK);
    cr_assert_neq(digest, first);
    both = digest;
    cr_assert_eq(transact_complete(o, 0, &w.reader, &path, 2, &digest), EG_OK);
    cr_assert_eq(digest, both);
    cr_assert_eq(transact_complete(o, 0, &w.reader, &path, 3, &digest), EG_CONFLICT);
    cr_assert_eq(run(o, SHARD_WRITE, NULL, "[0, 'c']"), EG_OK); /* among the first */
    digest = first;
    cr_assert_eq(transact_complete(o, 0, &w.reader, &path, 1, &digest), EG_CONFLICT);
    cr_assert_eq(digest, first);
}

/* ---- parts that are prepared --------------------------------------------------------------- */

Test(transact_part, a_prepared_part_is_kept_until_it_is_committed) {
    uint32_t shard = shard_of_key("1");
    struct tx x = {.all = {0}};

    expect(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    see(&x, table, "1");
    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect_status(1, shard, "'unknown'");
    expect(send_as(1, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    expect(send_as(1, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    expect_status(1, shard, "'prepared'");
    cr_assert_not(may_look("1"), "it may be another record in a moment");
    cr_assert_not(transact_is_here(done(&x)), "its shard has to be asked");
    expect(say(1, table, shard, SHARD_TX_COMMIT), EG_OK);
    expect(say(1, table, shard, SHARD_TX_COMMIT), EG_OK);
    expect_status(1, shard, "'committed'");
    cr_assert(may_look("1"));
    cr_assert_field(table, "1", "'b'");
    cr_assert_not(shard_is_held(&table->shard[shard]));
    expect(say(2, table, shard, SHARD_TX_COMMIT), EG_NOT_FOUND);
}

Test(transact_part, an_increment_of_what_an_earlier_change_makes_is_promised) {
    uint32_t shard = shard_of_key("1");
    struct tx x = {.all = {0}};

    want(&x, table, SHARD_UPDATE, "1", "{'value': 5}");
    expect(send_as(1, &x, table, shard, SHARD_TX_PREPARE), EG_NOT_FOUND);
    x.all.want_count = 0;
    want(&x, table, SHARD_WRITE, NULL, "[1, 1]");
    want(&x, table, SHARD_UPDATE, "1", "{'value': 5}");
    want(&x, table, SHARD_COUNTER, "1", "2");
    expect(send_as(2, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    expect(say(2, table, shard, SHARD_TX_COMMIT), EG_OK);
    cr_assert_field(table, "1", "7");
}

Test(transact_part, a_part_that_is_aborted_leaves_nothing) {
    uint32_t shard = shard_of_key("1");
    struct tx x = {.all = {0}};

    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(1, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    expect(say(1, table, shard, SHARD_TX_ABORT), EG_OK);
    expect(say(1, table, shard, SHARD_TX_ABORT), EG_OK);
    expect(say(1, table, shard, SHARD_TX_COMMIT), EG_NOT_FOUND);
    expect_status(1, shard, "'unknown'");
    cr_assert(may_look("1"));
    cr_assert_field(table, "1", "nothing");
    cr_assert_not(shard_is_held(&table->shard[shard]));
}

Test(transact_part, what_it_saw_has_to_stand_for_it_to_be_prepared) {
    uint32_t shard = shard_of_key("1");
    struct tx x = {.all = {0}};

    see(&x, table, "1");
    want(&x, table, SHARD_UPDATE, "1", "{'value': 1}");
    expect(send_as(1, &x, table, shard, SHARD_TX_PREPARE), EG_NOT_FOUND);
    expect(run(table, SHARD_WRITE, NULL, "[1, 'a']"), EG_OK);
    expect(send_as(1, &x, table, shard, SHARD_TX_PREPARE), EG_CONFLICT);
    cr_assert_not(shard_is_held(&table->shard[shard]));
}

static struct scan_path path_of_name(const char *name) {
    return (struct scan_path){
        .kind = SCAN_INDEX, .index = 1, .equal_count = 1, .equal = {text(name)}};
}

Test(transact_part, two_that_have_asked_one_index_and_found_other_records_are_both_prepared) {
    struct tx a = {.all = {0}}, b = {.all = {0}}, c = {.all = {0}};
    struct table *o;

    create("o", "{'shards': 1, 'attributes': ['key', 'name', 'value'], 'index': ['name']}");
    o = find("o");
    expect(run(o, SHARD_WRITE, NULL, "[1, 'a', 0]"), EG_OK);
    expect(run(o, SHARD_WRITE, NULL, "[2, 'b', 0]"), EG_OK);
    ask(&a, o, path_of_name("'a'"));
    want(&a, o, SHARD_WRITE, NULL, "[1, 'a', 1]");
    ask(&b, o, path_of_name("'b'"));
    want(&b, o, SHARD_WRITE, NULL, "[2, 'b', 1]");
    want(&c, o, SHARD_WRITE, NULL, "[3, 'a', 1]"); /* it comes into what the first has asked for */
    expect(send_as(5, &a, o, 0, SHARD_TX_PREPARE), EG_OK);
    expect(send_as(6, &b, o, 0, SHARD_TX_PREPARE), EG_OK);
    expect(send_as(7, &c, o, 0, SHARD_TX_PREPARE), EG_CONFLICT);
    expect(say(5, o, 0, SHARD_TX_COMMIT), EG_OK);
    expect(say(6, o, 0, SHARD_TX_COMMIT), EG_OK);
    expect(send_as(7, &c, o, 0, SHARD_TX_PREPARE), EG_OK);
    expect(say(7, o, 0, SHARD_TX_COMMIT), EG_OK);
    cr_assert_not(shard_is_held(&o->shard[0]));
}

/* It may be over when the index is asked, and comes anew where it was. */
Test(transact_part, who_writes_over_what_expires_moves_it_in_the_index) {
    struct tx a = {.all = {0}}, b = {.all = {0}};
    struct shard_request q = {.op = SHARD_WRITE, .attribute = 1, .ttl_ms = 3600 * 1000};
    struct table *o;

    create("o", "{'shards': 1, 'attributes': ['key', 'name', 'value'], 'index': ['name']}");
    o = find("o");
    q.value = text("[1, 'a', 0]");
    expect(table_world_run(&w, o, &q), EG_OK);
    ask(&a, o, path_of_name("'b'"));
    want(&b, o, SHARD_WRITE, NULL, "[1, 'a', 1]");
    expect(send_as(5, &a, o, 0, SHARD_TX_PREPARE), EG_OK);
    expect(send_as(6, &b, o, 0, SHARD_TX_PREPARE), EG_CONFLICT);
    expect(say(5, o, 0, SHARD_TX_COMMIT), EG_OK);
    expect(send_as(6, &b, o, 0, SHARD_TX_PREPARE), EG_OK);
    expect(say(6, o, 0, SHARD_TX_COMMIT), EG_OK);
    cr_assert_not(shard_is_held(&o->shard[0]));
}

Test(transact_part, a_part_of_nothing_is_no_part) {
    expect(say(1, table, 0, SHARD_TX_PREPARE), EG_BAD_REQUEST);
    expect(say(1, table, 0, SHARD_TX_COMMIT), EG_NOT_FOUND);
    expect(say(1, table, 0, SHARD_TX_ONE), EG_OK);
}

Test(transact_part, a_younger_one_is_refused_and_what_is_plain_waits) {
    uint32_t shard = shard_of_key("1");
    struct tx x = {.all = {0}};
    struct shard_request q = {.op = SHARD_READ, .key = text("1")};
    struct message *m;
    eg_pid to;

    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(5, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    expect(send_as(6, &x, table, shard, SHARD_TX_PREPARE), EG_CONFLICT);
    expect(send_as(6, &x, table, shard, SHARD_TX_ONE), EG_CONFLICT);
    cr_assert_eq(table_message(table, &q, &to, &m, &w.note), EG_OK);
    cr_assert_eq(runtime_send(w.st->rt, EG_PID_NONE, to, m), EG_OK);
    stepper_run_ms(w.st, 10);
    cr_assert_eq(table->shard[shard].tx->lock->waiter_count, 1);
    expect(say(5, table, shard, SHARD_TX_COMMIT), EG_OK);
    cr_assert_eq(table->shard[shard].tx->lock->waiter_count, 0);
    cr_assert_field(table, "1", "'b'");
}

/* Where the word that all have it was lost it is asked again, behind who has come meanwhile. */
Test(transact_part, what_is_prepared_is_not_refused_for_an_older_one_that_waits_for_it) {
    uint32_t shard = shard_of_key("1");
    struct tx x = {.all = {0}};

    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(5, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    post_as(4, &x, table, shard, SHARD_TX_ONE);
    stepper_run_ms(w.st, 10);
    cr_assert_eq(table->shard[shard].tx->lock->waiter_count, 1);
    expect(send_as(5, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    expect(say(5, table, shard, SHARD_TX_COMMIT), EG_OK);
    cr_assert_eq(table->shard[shard].tx->lock->waiter_count, 0);
    cr_assert_not(shard_is_held(&table->shard[shard]));
}

/* It is answered when its deadline is over, and by then nothing has happened. */
Test(transact_part, who_waits_too_long_is_refused) {
    uint32_t shard = shard_of_key("1");
    struct tx x = {.all = {0}};

    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(5, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    expect(run(table, SHARD_WRITE, NULL, "[1, 'c']"), EG_BUSY);
    expect(send_as(4, &x, table, shard, SHARD_TX_ONE), EG_CONFLICT);
    expect(say(5, table, shard, SHARD_TX_COMMIT), EG_OK);
    cr_assert_field(table, "1", "'b'");
}

static eg_err lock(uint64_t id, uint64_t deadline_ms, const char *locks) {
    struct transact_head h = {.id = {1, id}, .age = {id, 1, 0}, .deadline_ms = deadline_ms};
    struct shard_request q = {.op = SHARD_TX_LOCK, .value = text(locks)};
    struct buffer head;
    eg_err err;

    buffer_init(&head, alloc_system(), SIZE_MAX);
    cr_assert_eq(transact_pack_head(&h, &head), EG_OK);
    q.key = (struct value){head.at, (uint32_t) head.size_bytes};
    err = table_world_transact(&w, table, shard_of_key("1"), &q);
    buffer_fini(&head);
    return err;
}

Test(transact_part, locks_are_shared_or_not_of_a_key_or_of_the_shard) {
    uint32_t shard = shard_of_key("1");

    expect(lock(1, 0, "[false, 1]"), EG_OK);
    expect(lock(2, 0, "[false, 1]"), EG_OK);
    expect(lock(3, 0, "[true, 1]"), EG_CONFLICT);
    expect(lock(3, 0, "[true, nil]"), EG_CONFLICT);
    expect(lock(3, 0, "[false, nil]"), EG_OK);
    cr_assert(may_look("1"), "a shared lock is in no reader's way");
    expect(say(1, table, shard, SHARD_TX_UNLOCK), EG_OK);
    expect(say(2, table, shard, SHARD_TX_UNLOCK), EG_OK);
    expect(say(3, table, shard, SHARD_TX_UNLOCK), EG_OK);
    expect(lock(3, 0, "[true, 1]"), EG_OK);
    cr_assert_not(may_look("1"));
    expect(lock(4, 0, "[1]"), EG_BAD_REQUEST);
    expect(lock(4, 0, "[1, 2]"), EG_BAD_REQUEST);
    expect(say(3, table, shard, SHARD_TX_UNLOCK), EG_OK);
    cr_assert_not(shard_is_held(&table->shard[shard]));
}

Test(transact_part, a_lock_ends_with_its_deadline) {
    uint64_t now_ms = (uint64_t) env_wall_ms(table->world->o.env);

    expect(lock(1, now_ms + 1000, "[true, 1]"), EG_OK);
    expect(run(table, SHARD_WRITE, NULL, "[1, 'c']"), EG_OK);
    cr_assert_geq((uint64_t) env_wall_ms(table->world->o.env), now_ms + 1000);
    cr_assert_not(shard_is_held(&table->shard[shard_of_key("1")]));
}

Test(transact_part, a_table_with_a_prepared_part_is_dropped_when_it_has_ended_or_too_long_has_not) {
    struct tx x = {.all = {0}};

    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(5, &x, table, shard_of_key("1"), SHARD_TX_PREPARE), EG_OK);
    reader_exit(&w.reader);
    expect(table_world_ask(&w, CATALOG_DROP, "t", (struct value){0}), EG_OK);
    reader_enter(&w.reader);
}

Test(transact_part, a_table_takes_another_shape_when_its_parts_have_ended) {
    uint32_t shard = shard_of_key("1");
    struct tx x = {.all = {0}};
    struct catalog_request q = {.op = CATALOG_ALTER,
                                .name = {(const uint8_t *) "t", 1},
                                .value = text("['change_storage', 'disc']")};

    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(5, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    cr_assert_eq(catalog_send(w.catalog, EG_PID_NONE, 0, &q), EG_OK);
    stepper_run_ms(w.st, 200);
    cr_assert(table_now(table) == table, "not while it is prepared");
    expect(say(5, table, shard, SHARD_TX_COMMIT), EG_OK);
    stepper_run_ms(w.st, 1000);
    cr_assert(table_now(table) != table);
    cr_assert_field(find("t"), "1", "'b'");
    expect(try(&x), EG_CONFLICT);
}

/* Nothing of it, or where it was committed while the moment was asked for, all of it. */
Test(transact_part, a_moment_waits_until_nothing_is_prepared) {
    struct tx x = {.all = {0}};
    struct message *m;
    struct moment *moment;
    const struct record *rec = NULL;
    uint32_t of;
    eg_pid to;

    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(5, &x, table, shard_of_key("1"), SHARD_TX_PREPARE), EG_OK);
    cr_assert_eq(moment_new(&moment, w.catalog, text("['t']"), &w.note), EG_OK);
    cr_assert_eq(moment_message(moment, w.catalog, &to, &m), EG_OK);
    cr_assert_eq(runtime_send(w.st->rt, EG_PID_NONE, to, m), EG_OK);
    stepper_run_ms(w.st, 500);
    cr_assert_not(moment_taken(moment));
    expect(say(5, table, shard_of_key("1"), SHARD_TX_COMMIT), EG_OK);
    stepper_run_ms(w.st, 3000);
    cr_assert(moment_taken(moment));
    cr_assert_eq(moment_next(moment, &w.reader, &of, &rec), EG_OK);
    cr_assert_not_null(rec);
    moment_unref(moment);
}

Test(transact_part, a_write_of_many_waits_for_what_is_prepared) {
    struct tx x = {.all = {0}};
    uint32_t shard = shard_of_key("1");
    struct catalog_request q = {.op = CATALOG_WRITE_MANY,
                                .name = {(const uint8_t *) "t", 1},
                                .value = text("[[1, 'm'], [2, 'm'], [3, 'm'], [4, 'm']]")};

    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(5, &x, table, shard, SHARD_TX_PREPARE), EG_OK);
    cr_assert_eq(catalog_send(w.catalog, EG_PID_NONE, 0, &q), EG_OK);
    stepper_run_ms(w.st, 50);
    expect(say(5, table, shard, SHARD_TX_COMMIT), EG_OK);
    stepper_run_ms(w.st, 1000);
    cr_assert_field(table, "1", "'m'");
    cr_assert_field(table, "4", "'m'");
}

static bool count_part(void *context, struct value head, struct value part) {
    struct transact_head h;
    struct transact_part p;

    cr_assert(transact_get_head(head, &h) && transact_get_part(part, &p));
    ++*(uint32_t *) context;
    return true;
}

Test(transact_part, a_copy_that_is_told_of_a_part_sends_readers_away_until_its_end) {
    struct shard *s = &table->shard[shard_of_key("1")];
    uint32_t count = 0;

    cr_assert_eq(shard_tx_mark(s, &w.reader, text("[1, 2, 3, 4, 5, 6, 0, []]"),
                               text("[[], [], [1, 65535, 0, nil, [1, 'a']], 0]")),
                 EG_OK);
    cr_assert_not(may_look("1"));
    shard_tx_each(s, count_part, &count);
    cr_assert_eq(count, 1);
    cr_assert(shard_tx_is_prepared(s));
    shard_tx_drop_locks(s);
    cr_assert(shard_tx_is_prepared(s));
    shard_tx_unmark(s, (struct transact_id){1, 2}, OUTCOME_COMMITTED);
    cr_assert(may_look("1"));
    shard_tx_unmark(s, (struct transact_id){1, 2}, OUTCOME_UNKNOWN);
}

static uint32_t asked;

static void ask_after(void *user, struct table *t, uint32_t shard, struct value head) {
    struct transact_head h;

    cr_assert_eq(user, &asked);
    cr_assert_eq(t, table);
    cr_assert_eq(shard, shard_of_key("1"));
    cr_assert(transact_get_head(head, &h) && h.id.low == 7);
    asked++;
}

Test(transact_part, it_is_asked_what_became_of_a_part_that_nobody_ends) {
    static const struct transact_doubt doubt = {.ask = ask_after, .user = &asked};
    struct tx x = {.all = {0}};

    asked = 0;
    catalog_set_doubt(w.catalog, &doubt);
    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(7, &x, table, shard_of_key("1"), SHARD_TX_PREPARE), EG_OK);
    stepper_run_ms(w.st, 1000);
    cr_assert_eq(asked, 0);
    stepper_run_ms(w.st, 4000);
    cr_assert_eq(asked, 2);
    expect(say(7, table, shard_of_key("1"), SHARD_TX_ABORT), EG_OK);
    stepper_run_ms(w.st, 4000);
    cr_assert_eq(asked, 2);
    catalog_set_doubt(w.catalog, NULL);
}
