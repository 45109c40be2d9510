/* fail_alloc.h -- an allocator that fails on demand and keeps accounts.
 *
 * Fails every request after the first n, so that a test can fail the 1st, then
 * the 2nd, ... until the call under test succeeds.  Counts what is live, and
 * aborts where a size given back is not the size taken or a block's end was
 * overrun: the mistakes that an allocator without headers cannot notice.
 *
 *     struct fail_alloc memory = fail_alloc_after(INT_MAX);   // never fails
 *     thing_open(&thing, &memory.base);
 *     thing_close(thing);
 *     cr_assert_eq(memory.live, 0);
 *
 * Memory     Do not copy it once &memory.base has been handed out.
 * Threads    Any; counts are atomic.
 */
#ifndef TESTS_SUPPORT_FAIL_ALLOC_H
#define TESTS_SUPPORT_FAIL_ALLOC_H

#include "engine/alloc.h"

#include <limits.h>

struct fail_alloc {
    struct alloc base;
    _Atomic int left;          /* requests still granted; INT_MAX: no limit    */
    bool once;                 /* only one is refused, the next granted again  */
    _Atomic int live;          /* blocks and regions not given back            */
    _Atomic int requests;      /* get and map calls, also the refused          */
    _Atomic size_t live_bytes; /* of blocks                                    */
    _Atomic size_t peak_bytes; /* most live_bytes ever seen                    */
    _Atomic size_t map_bytes;  /* of mapped regions: reserved, not yet touched */
};

/* Grant the first `granted` requests, refuse all that follow. */
struct fail_alloc fail_alloc_after(int granted);

#endif /* TESTS_SUPPORT_FAIL_ALLOC_H */
