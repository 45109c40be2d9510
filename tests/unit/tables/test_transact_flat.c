/* A transaction as bytes comes back as it went, and what is none is refused. */
#include "tests/unit/tables/transact_world.h"

TestSuite(transact_flat, .init = setup, .fini = teardown, .timeout = 240);

Test(transact_flat, a_head_comes_back_as_it_went) {
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

Test(transact_flat, what_is_no_head_is_refused) {
    static const char *const wrong[] = {"nil", "[]", "[1, 2, 3, 4, 5, 6]",
                                        "[1, 2, 3, 4, 5, 6, nil]", "[1, 2, 3, 4, 5, 6, -7]"};
    struct transact_head h;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_not(transact_get_head(text(wrong[i]), &h), "%s", wrong[i]);
}

Test(transact_flat, of_a_head_with_more_in_it_the_rest_is_not_looked_at) {
    struct transact_head h;

    cr_assert(transact_get_head(text("[1, 2, 3, 4, 5, 6, 7, [['t', 1, 0]]]"), &h));
    cr_assert_eq(h.deadline_ms, 7);
}

static eg_err check_part(const char *part) {
    return transact_check_part(table, transact_shard_of(table, text("1")), text(part), &w.note);
}

Test(transact_flat, a_part_is_of_one_shard_and_of_changes_that_it_can_make) {
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

Test(transact_flat, a_path_comes_back_as_it_went_and_what_is_none_is_refused) {
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
