/* What a transaction sees it knows again, and what it wants is done whole or not at all. */
#include "tables/table_private.h"
#include "engine/env.h"
#include "engine/runtime.h"
#include "tables/disc_record.h"
#include "tables/moment.h"
#include "tables/shard_copy.h"
#include "tables/shard_tx_private.h"
#include "tables/transact_private.h"
#include "tests/support/table_world.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct table_world w;
static struct table *table;
static uint8_t arena[1 << 14]; /* of the literals of one test */
static size_t arena_bytes;

static struct value text(const char *s) {
    struct value v = text_value(arena + arena_bytes, sizeof arena - arena_bytes, s);

    arena_bytes += v.size_bytes;
    return v;
}

static void create(const char *name, const char *options) {
    cr_assert_eq(table_world_ask(&w, CATALOG_CREATE, name, text(options)), EG_OK, "%s",
                 w.note.text);
}

static struct table *find(const char *name) {
    return table_world_find(&w, name);
}

static void setup(void) {
    arena_bytes = 0;
    table_world_open(&w, alloc_system(), 11);
    create("t", "{'shards': 4}");
    reader_enter(&w.reader);
    table = find("t");
}

static void teardown(void) {
    reader_exit(&w.reader);
    table_world_close(&w);
}

TestSuite(transact, .init = setup, .fini = teardown, .timeout = 240);

static eg_err run(struct table *t, enum shard_op op, const char *key, const char *value) {
    struct shard_request q = {.op = op, .attribute = 1};

    if (key != NULL)
        q.key = text(key);
    if (value != NULL)
        q.value = text(value);
    return table_world_run(&w, t, &q);
}

static uint64_t version_at(struct table *t, const char *key) {
    const struct record *rec;
    uint64_t version = UINT64_MAX;
    struct key k;

    cr_assert_eq(table_key(t, &k, text(key)), EG_OK);
    cr_assert_eq(transact_look(t, &w.reader, &k, &rec, &version), EG_OK);
    cr_assert_eq(rec == NULL, version == 0);
    key_release(&k);
    return version;
}

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

/* ---- flat ---------------------------------------------------------------------------------- */

Test(transact, a_head_comes_back_as_it_went) {
    struct transact_head h = {.id = {1, UINT64_MAX},
                              .age = {2, 3, 4},
                              .coordinator = 5,
                              .deadline_ms = 6},
                         back;
    struct buffer out;

    buffer_init(&out, alloc_system(), 1024);
    cr_assert_eq(transact_pack_head(&h, &out), EG_OK);
    cr_assert(transact_get_head((struct value){out.at, (uint32_t) out.size_bytes}, &back));
    cr_assert(transact_id_equal(h.id, back.id));
    cr_assert_eq(back.age.count, 4);
    cr_assert_eq(back.coordinator, 5);
    cr_assert_eq(back.deadline_ms, 6);
    buffer_fini(&out);
}

Test(transact, what_is_no_head_is_refused) {
    static const char *const wrong[] = {"nil", "[]", "[1, 2, 3, 4, 5, 6]",
                                        "[1, 2, 3, 4, 5, 6, nil]", "[1, 2, 3, 4, 5, 6, -7]"};
    struct transact_head h;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_not(transact_get_head(text(wrong[i]), &h), "%s", wrong[i]);
}

Test(transact, of_a_head_with_more_in_it_the_rest_is_not_looked_at) {
    struct transact_head h;

    cr_assert(transact_get_head(text("[1, 2, 3, 4, 5, 6, 7, [['t', 1, 0]]]"), &h));
    cr_assert_eq(h.deadline_ms, 7);
}

static eg_err check_part(const char *part) {
    return transact_check_part(table, transact_shard_of(table, text("1")), text(part), &w.note);
}

Test(transact, a_part_is_of_one_shard_and_of_changes_that_it_can_make) {
    uint32_t other = 2;

    while (transact_shard_of(table, (struct value){(const uint8_t *) &other, 1}) ==
           transact_shard_of(table, text("1")))
        other++;
    cr_assert_eq(check_part("[[1, 5], [], [1, 65535, 0, nil, [1, 'a']], 0]"), EG_OK);
    cr_assert_eq(check_part("[[], [], [4, 65535, 0, 1, nil], 0]"), EG_OK);
    cr_assert_eq(check_part("[[], [], [1, 65535, 0, nil, [1, 'a', 2]], 0]"), EG_BAD_RECORD);
    cr_assert_eq(check_part("[[], [], [1, 65535, 0, nil, nil], 0]"), EG_BAD_REQUEST);
    cr_assert_eq(check_part("[[], [], [0, 65535, 0, 1, nil], 0]"), EG_BAD_REQUEST);
    cr_assert_eq(check_part("[[], [], [99, 65535, 0, 1, nil], 0]"), EG_BAD_REQUEST);
    cr_assert_eq(check_part("[[], [], [4, 65535, 0, 1], 0]"), EG_BAD_REQUEST);
    cr_assert_eq(check_part("[[1], [], [], 0]"), EG_BAD_REQUEST);
    cr_assert_eq(check_part("[[], [], []]"), EG_BAD_REQUEST);
    cr_assert_eq(check_part("nil"), EG_BAD_REQUEST);
}

Test(transact, a_path_comes_back_as_it_went_and_what_is_none_is_refused) {
    static const char *const wrong[] = {
        "nil",
        "[]",
        "[9, 0, 0, nil, 0, nil, false, [], []]",
        "[7, 0, 8, nil, 0, nil, false, [], []]",
        "[3, 0, 0, nil, 0, nil, false, [], []]", /* a range of keys, of a set */
        "[4, 0, 0, nil, 0, nil, false, [], []]", /* an index and no value */
        "[2, 0, 0, nil, 0, nil, false, [], [2, 1]]",
        "[7, 0, 5, 1, 0, nil, false, [], []]",
    };
    struct scan_path path = {.kind = SCAN_INDEX_RANGE,
                             .index = 1,
                             .range = {.low = {.given = true, .open = true, .value = text("5")},
                                       .high = {.given = true, .value = text("9")}},
                             .equal = {text("'x'")},
                             .equal_count = 1},
                     back;
    struct buffer out;

    buffer_init(&out, alloc_system(), 1024);
    cr_assert_eq(transact_pack_path(&path, &out), EG_OK);
    cr_assert_eq(transact_get_path((struct value){out.at, (uint32_t) out.size_bytes}, table,
                                   &w.reader, &back),
                 EG_OK);
    cr_assert_eq(back.kind, path.kind);
    cr_assert(back.range.low.open && !back.range.high.open);
    cr_assert(value_equal(back.range.high.value, path.range.high.value));
    cr_assert_eq(back.equal_count, 1);
    buffer_fini(&out);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(transact_get_path(text(wrong[i]), table, &w.reader, &back), EG_BAD_REQUEST,
                     "%s", wrong[i]);
}

/* ---- committing ---------------------------------------------------------------------------- */

/* A transaction as a test writes it. */
struct tx {
    struct transact_seen seen[8];
    struct transact_question question[8];
    struct scan_path path; /* of them all */
    struct transact_want want[8];
    struct transact all;
};

static struct transact *done(struct tx *x) {
    x->all.seen = x->seen;
    x->all.question = x->question;
    x->all.want = x->want;
    return &x->all;
}

static void see(struct tx *x, struct table *t, const char *key) {
    struct value k = text(key);

    x->seen[x->all.seen_count++] = (struct transact_seen){
        t, k, transact_hash_of(t, k), version_at(t, key), transact_shard_of(t, k)};
}

static void want(struct tx *x, struct table *t, enum shard_op op, const char *key,
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

static eg_err see_one(void *context, const struct record *rec) {
    (void) context;
    (void) rec;
    return EG_OK;
}

/* Go along a path in each of the shards. */
static void ask(struct tx *x, struct table *t, struct scan_path path) {
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

static void expect(eg_err err, eg_err wanted) {
    cr_assert_eq(err, wanted, "%s: %s", eg_err_name(err), w.note.text);
}

static eg_err try(struct tx *x) {
    stepper_run_ms(w.st, 1); /* ticks that were asked for are no longer in the shards' way */
    buffer_clear(&w.result);
    return transact_try(&w.reader, done(x), &w.result, &w.note);
}

static void cr_assert_field(struct table *t, const char *key, const char *field) {
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

/* ---- by message ---------------------------------------------------------------------------- */

/* As transaction number `id`, the older the smaller. */
struct letter {
    struct shard_request q;
    struct buffer head, part;
};

static void letter_open(struct letter *l, uint64_t id, struct tx *x, struct table *t,
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

static void letter_close(struct letter *l) {
    buffer_fini(&l->head);
    buffer_fini(&l->part);
}

static eg_err send_as(uint64_t id, struct tx *x, struct table *t, uint32_t shard,
                      enum shard_op op) {
    struct letter l;
    eg_err err;

    letter_open(&l, id, x, t, shard, op);
    err = table_world_transact(&w, t, shard, &l.q);
    letter_close(&l);
    return err;
}

/* Nobody waits for the answer. */
static void post_as(uint64_t id, struct tx *x, struct table *t, uint32_t shard, enum shard_op op) {
    struct message *m;
    struct letter l;
    eg_pid to;

    letter_open(&l, id, x, t, shard, op);
    cr_assert_eq(transact_message(t, shard, &l.q, &to, &m), EG_OK);
    cr_assert_eq(runtime_send(w.st->rt, EG_PID_NONE, to, m), EG_OK);
    letter_close(&l);
}

static eg_err send_op(struct tx *x, struct table *t, uint32_t shard, enum shard_op op) {
    static uint64_t ids = 1000;

    return send_as(++ids, x, t, shard, op);
}

/* What only says whose it is. */
static eg_err say(uint64_t id, struct table *t, uint32_t shard, enum shard_op op) {
    struct tx nothing = {.all = {0}};

    return send_as(id, &nothing, t, shard, op);
}

Test(transact, within_one_shard_one_message_does_all_of_it) {
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

Test(transact, a_question_by_message_gives_records_count_and_digest) {
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

Test(transact, a_path_is_completed_behind_what_was_looked_at_and_only_there) {
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

static uint32_t shard_of_key(const char *key) {
    return transact_shard_of(table, text(key));
}

static bool may_look(const char *key) {
    const struct record *rec;
    uint64_t version;
    struct key k;

    cr_assert_eq(table_key(table, &k, text(key)), EG_OK);
    return transact_look(table, &w.reader, &k, &rec, &version) == EG_OK;
}

static void expect_status(uint64_t id, uint32_t shard, const char *wanted) {
    char shown[64];

    expect(say(id, table, shard, SHARD_TX_STATUS), EG_OK);
    value_text((struct value){w.result.at, (uint32_t) w.result.size_bytes}, shown, sizeof shown);
    cr_assert_str_eq(shown, wanted);
}

Test(transact, a_prepared_part_is_kept_until_it_is_committed) {
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

Test(transact, an_increment_of_what_an_earlier_change_makes_is_promised) {
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

Test(transact, a_part_that_is_aborted_leaves_nothing) {
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

Test(transact, what_it_saw_has_to_stand_for_it_to_be_prepared) {
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

Test(transact, two_that_have_asked_one_index_and_found_other_records_are_both_prepared) {
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
Test(transact, who_writes_over_what_expires_moves_it_in_the_index) {
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

Test(transact, a_part_of_nothing_is_no_part) {
    expect(say(1, table, 0, SHARD_TX_PREPARE), EG_BAD_REQUEST);
    expect(say(1, table, 0, SHARD_TX_COMMIT), EG_NOT_FOUND);
    expect(say(1, table, 0, SHARD_TX_ONE), EG_OK);
}

Test(transact, a_younger_one_is_refused_and_what_is_plain_waits) {
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
Test(transact, what_is_prepared_is_not_refused_for_an_older_one_that_waits_for_it) {
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
Test(transact, who_waits_too_long_is_refused) {
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

Test(transact, locks_are_shared_or_not_of_a_key_or_of_the_shard) {
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

Test(transact, a_lock_ends_with_its_deadline) {
    uint64_t now_ms = (uint64_t) env_wall_ms(table->world->o.env);

    expect(lock(1, now_ms + 1000, "[true, 1]"), EG_OK);
    expect(run(table, SHARD_WRITE, NULL, "[1, 'c']"), EG_OK);
    cr_assert_geq((uint64_t) env_wall_ms(table->world->o.env), now_ms + 1000);
    cr_assert_not(shard_is_held(&table->shard[shard_of_key("1")]));
}

Test(transact, a_table_with_a_prepared_part_is_dropped_when_it_has_ended_or_too_long_has_not) {
    struct tx x = {.all = {0}};

    want(&x, table, SHARD_WRITE, NULL, "[1, 'b']");
    expect(send_as(5, &x, table, shard_of_key("1"), SHARD_TX_PREPARE), EG_OK);
    reader_exit(&w.reader);
    expect(table_world_ask(&w, CATALOG_DROP, "t", (struct value){0}), EG_OK);
    reader_enter(&w.reader);
}

Test(transact, a_table_takes_another_shape_when_its_parts_have_ended) {
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
Test(transact, a_moment_waits_until_nothing_is_prepared) {
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

Test(transact, a_write_of_many_waits_for_what_is_prepared) {
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

Test(transact, a_copy_that_is_told_of_a_part_sends_readers_away_until_its_end) {
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

/* ---- on disc ------------------------------------------------------------------------------- */

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

Test(transact, what_is_made_anew_is_made_once) {
    is_made_anew_once("{'shards': 2}");
}

Test(transact, what_is_made_anew_on_disc_is_made_once) {
    is_made_anew_once("{'storage': 'disc', 'shards': 2}");
}

Test(transact, what_is_made_anew_on_disc_only_is_made_once) {
    is_made_anew_once("{'storage': 'disc_only', 'shards': 2}");
}

/* Its keys may have been changed since by who is told of it. */
Test(transact, what_a_majority_table_is_to_make_anew_is_left_out_where_others_went_on) {
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

Test(transact, a_majority_table_knows_what_it_has_given_up) {
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
Test(transact, what_a_majority_table_gives_up_for_another_master_leaves_all_there_written_anew) {
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
Test(transact, what_a_majority_table_gives_up_was_perhaps_another_masters_meanwhile) {
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
Test(transact, several_changes_of_a_majority_table_with_copies_are_told_before_they_are_made) {
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
Test(transact, a_part_of_a_majority_table_is_not_ended_by_who_knows_an_earlier_view) {
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

/* A kill behind the first change, which took along that it is made. */
Test(transact, what_was_half_made_anew_is_made_from_there_on) {
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
Test(transact, the_last_ones_of_a_shard_are_known_after_a_start) {
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

Test(transact, a_prepared_part_is_found_again_on_disc_and_its_end_too) {
    survives("{'storage': 'disc', 'shards': 2}");
}

Test(transact, a_prepared_part_of_a_sync_table_is_found_again) {
    survives("{'storage': 'disc', 'shards': 2, 'durability': 'sync'}");
}

Test(transact, a_prepared_part_of_a_disc_only_table_is_found_again) {
    survives("{'storage': 'disc_only', 'shards': 2}");
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

Test(transact, it_is_asked_what_became_of_a_part_that_nobody_ends) {
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
