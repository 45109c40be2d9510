/* Majority tables in the program itself: all that goes through one is confirmed, and refused where
 * nobody can. */
#include <engram.h>

#include "tests/support/pause.h"
#include "tests/support/text_span.h"
#include "tests/support/two_nodes.h"

#include <criterion/criterion.h>
#include <string.h>

enum { WAIT_MS = 30000, RECORDS = 100 };

static eg_node *node[2];
static eg_table *table[2];

static bool write_one(int i, int key) {
    uint8_t room[32];
    eg_writer w = eg_writer_init(room, sizeof room);

    eg_put_array(&w, 2);
    eg_put_int(&w, key);
    eg_put_int(&w, key % 10);
    return eg_write(table[i], eg_written(&w)) == EG_OK;
}

static void setup(void) {
    two_nodes_open(node, 1);
    two_nodes_create_table(node, "m",
                           "{'majority': true, 'type': 'ordered_set', 'shards': 4, "
                           "'attributes': ['k', 'n'], 'index': ['n']}",
                           table);
    for (int key = 0; key < RECORDS; key++) {
        int ms = 0;

        for (; !write_one(key % 2, key) && ms < WAIT_MS; ms += 2)
            pause_ms(2);
        cr_assert_lt(ms, WAIT_MS);
    }
}

static void teardown(void) {
    two_nodes_close_table(table);
    two_nodes_close(node);
}

TestSuite(api_majority, .init = setup, .fini = teardown, .timeout = 240);

static bool see(void *context, eg_span record) {
    (void) record;
    ++*(int *) context;
    return true;
}

static int count_of(const eg_result *r) {
    return (int) value_count((struct value){r->value.at, (uint32_t) r->value.size_bytes});
}

/* How many records each way through the table finds; the first error. */
static eg_err all_ways(eg_table *t, int found[8]) {
    uint8_t room[256], low[256];
    eg_span zero = text_span(low, "0");
    eg_result result;
    eg_err err;

    memset(found, 0, 8 * sizeof *found);
    err = eg_fold(t, NULL, false, see, &found[0]);
    if (err == EG_OK)
        err = eg_fold(t, &zero, false, see, &found[1]);
    if (err == EG_OK)
        err = eg_fold_index(t, "n", &zero, &zero, false, see, &found[2]);
    if (err == EG_OK)
        err = eg_fold_snapshot(t, see, &found[3]);
    if (err == EG_OK)
        err = eg_match(t, text_span(room, "['_', 3]"), 0, &result, NULL);
    if (err != EG_OK)
        return err;
    found[4] = count_of(&result);
    eg_result_free(&result);
    err = eg_index_read(t, "n", zero, &result);
    if (err != EG_OK)
        return err;
    found[5] = count_of(&result);
    eg_result_free(&result);
    found[6] = (int) eg_size(t);
    err = eg_last(t, &result);
    if (err == EG_OK) {
        found[7] = *(const uint8_t *) result.value.at;
        eg_result_free(&result);
    }
    return err;
}

/* The view may change under any of them. */
static eg_err settled_ways(eg_table *t, int found[8]) {
    eg_err err = all_ways(t, found);

    for (int ms = 0; (err == EG_NO_REPLICA || err == EG_BUSY) && ms < WAIT_MS; ms += 2) {
        pause_ms(2);
        err = all_ways(t, found);
    }
    return err;
}

Test(api_majority, both_nodes_find_all_by_every_way) {
    for (int i = 0; i < 2; i++) {
        static const int all[8] = {RECORDS,      RECORDS,      RECORDS / 10, RECORDS,
                                   RECORDS / 10, RECORDS / 10, RECORDS,      RECORDS - 1};
        int found[8];

        cr_assert_eq(settled_ways(table[i], found), EG_OK);
        for (int way = 0; way < 8; way++)
            cr_assert_eq(found[way], all[way], "way %d", way);
    }
}

Test(api_majority, who_is_alone_of_two_is_refused_by_every_way) {
    int found[8];

    eg_table_close(table[1]);
    table[1] = NULL;
    eg_close(node[1]);
    node[1] = NULL;
    cr_assert_eq(settled_ways(table[0], found), EG_NO_MAJORITY);
    cr_assert_neq(eg_fold_index(table[0], "n", NULL, NULL, false, see, &found[0]), EG_OK);
    cr_assert_neq(eg_fold_snapshot(table[0], see, &found[0]), EG_OK);
    cr_assert_eq(eg_size(table[0]), 0);
}
