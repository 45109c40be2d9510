/* test_fail_alloc.c -- the allocator of the tests refuses, counts and catches. */
#include "tests/support/fail_alloc.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

TestSuite(fail_alloc, .timeout = 240);

Test(fail_alloc, grants_so_many_requests_and_refuses_the_rest) {
    struct fail_alloc memory = fail_alloc_after(2);
    void *block = alloc_get(&memory.base, 10);
    void *region = alloc_map(&memory.base, 8192);

    cr_assert_not_null(block);
    cr_assert_not_null(region);
    cr_assert_null(alloc_get(&memory.base, 1));
    cr_assert_null(alloc_map(&memory.base, 4096));
    cr_assert_eq(memory.requests, 4);
    cr_assert_eq(memory.live, 2);
    cr_assert_eq(memory.live_bytes, 10u);
    cr_assert_eq(memory.map_bytes, 8192u);

    alloc_put(&memory.base, block, 10);
    alloc_unmap(&memory.base, region, 8192);
    cr_assert_eq(memory.live, 0);
    cr_assert_eq(memory.live_bytes, 0u);
    cr_assert_eq(memory.peak_bytes, 10u);
}

Test(fail_alloc, a_wrong_size_given_back_aborts, .signal = SIGABRT) {
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    alloc_put(&memory.base, alloc_get(&memory.base, 10), 11);
}

Test(fail_alloc, a_write_past_the_end_aborts, .signal = SIGABRT) {
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    char *block = alloc_get(&memory.base, 10);
    memset(block, 0, 11);
    alloc_put(&memory.base, block, 10);
}
