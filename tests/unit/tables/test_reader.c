/* test_reader.c -- sections nest, scratch lives exactly as long as the outermost. */
#include "tables/reader.h"
#include "tests/support/fail_alloc.h"

#include <criterion/criterion.h>
#include <string.h>

static struct fail_alloc memory;
static struct epoch *domain;

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
    cr_assert_eq(epoch_open(&domain, &memory.base, 2), EG_OK);
}

static void teardown(void) {
    epoch_close(domain);
    cr_assert_eq(memory.live, 0, "%d allocations leaked", (int) memory.live);
}

TestSuite(reader, .init = setup, .fini = teardown, .timeout = 240);

Test(reader, scratch_is_given_back_by_the_outermost_exit_only) {
    struct reader r;
    int idle;
    uint8_t *a, *b;

    cr_assert_eq(reader_open(&r, domain, &memory.base), EG_OK);
    idle = memory.live;
    reader_enter(&r);
    a = reader_scratch(&r, 100);
    memset(a, 1, 100);
    reader_enter(&r);
    b = reader_scratch(&r, 100000);
    memset(b, 2, 100000);
    reader_exit(&r);
    cr_assert_eq(a[99], 1);
    cr_assert_eq(b[99999], 2);
    cr_assert_gt(memory.live, idle);
    reader_exit(&r);
    cr_assert_eq(memory.live, idle);
    reader_close(&r);
}

Test(reader, many_small_pieces_share_chunks) {
    struct reader r;
    cr_assert_eq(reader_open(&r, domain, &memory.base), EG_OK);
    reader_enter(&r);
    for (int i = 0; i < 1000; i++)
        memset(reader_scratch(&r, 100), i, 100);
    cr_assert_lt(memory.live, 50);
    reader_exit(&r);
    reader_close(&r);
}

Test(reader, a_scheduler_found_offline_goes_online_and_keeps_scratch_until_reset) {
    struct epoch_slot *slot = epoch_slot_claim(domain);
    struct reader r;

    reader_of_scheduler(&r, slot, &memory.base);
    reader_enter(&r);
    cr_assert_neq(slot->reading_since, 0);
    cr_assert_not_null(reader_scratch(&r, 10));
    reader_exit(&r);
    cr_assert_neq(r.chunks, NULL);
    reader_reset(&r);
    cr_assert_null(r.chunks);
    reader_close(&r);
    epoch_offline(slot);
    epoch_slot_release(slot);
}

Test(reader, too_many_threads_hear_busy_and_scratch_may_be_refused) {
    struct reader r[2], one_more;
    for (int i = 0; i < 2; i++)
        cr_assert_eq(reader_open(&r[i], domain, &memory.base), EG_OK);
    cr_assert_eq(reader_open(&one_more, domain, &memory.base), EG_BUSY);
    reader_enter(&r[0]);
    memory.left = 0;
    cr_assert_null(reader_scratch(&r[0], 10));
    memory.left = INT_MAX;
    reader_exit(&r[0]);
    for (int i = 0; i < 2; i++)
        reader_close(&r[i]);
}
