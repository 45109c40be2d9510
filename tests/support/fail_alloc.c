/* fail_alloc.c -- each block between a header that knows its size and a guard.
 *
 *     block    | size 8 | guard 8 | the caller's bytes ... | guard 8 |
 *     region   | size 8 ... one page | the caller's pages ...        |
 */
#include "tests/support/fail_alloc.h"

#include <stdatomic.h>
#include <string.h>

enum {
    HEADER_BYTES = 16, /* keeps the caller's bytes as aligned as malloc's */
    GUARD_BYTES = 8,
    REGION_HEADER_BYTES = 4096, /* a page, so that regions stay page aligned */
};

static const uint64_t guard = UINT64_C(0xfe11a110c0ffee01);

static bool refuse(struct fail_alloc *f) {
    f->requests++;
    if (f->left == INT_MAX)
        return false;
    if (f->once)
        return f->left-- == 0;
    return f->left-- <= 0;
}

static void *fail_get(struct alloc *a, size_t size_bytes) {
    struct fail_alloc *f = EG_CONTAINER_OF(a, struct fail_alloc, base);
    uint64_t size = size_bytes;

    if (refuse(f))
        return NULL;
    uint8_t *block = alloc_get(alloc_system(), HEADER_BYTES + size_bytes + GUARD_BYTES);
    if (block == NULL)
        return NULL;
    memcpy(block, &size, sizeof size);
    memcpy(block + 8, &guard, sizeof guard);
    memset(block + HEADER_BYTES, 0xa5, size_bytes); /* nobody may count on zeroes */
    memcpy(block + HEADER_BYTES + size_bytes, &guard, sizeof guard);

    f->live++;
    size_t live_bytes = atomic_fetch_add(&f->live_bytes, size_bytes) + size_bytes;
    size_t peak = f->peak_bytes;
    while (live_bytes > peak && !atomic_compare_exchange_weak(&f->peak_bytes, &peak, live_bytes))
        ; /* a failed exchange has reloaded peak */
    return block + HEADER_BYTES;
}

static void fail_put(struct alloc *a, void *ptr, size_t size_bytes) {
    struct fail_alloc *f = EG_CONTAINER_OF(a, struct fail_alloc, base);
    uint64_t size;

    if (ptr == NULL)
        return;
    uint8_t *block = (uint8_t *) ptr - HEADER_BYTES;
    EG_ASSERT(memcmp(block + 8, &guard, sizeof guard) == 0);
    memcpy(&size, block, sizeof size);
    EG_ASSERT(size == size_bytes);
    EG_ASSERT(memcmp(block + HEADER_BYTES + size_bytes, &guard, sizeof guard) == 0);
    memset(block, 0x5a, HEADER_BYTES + size_bytes); /* a second put, a late read: seen */

    f->live--;
    f->live_bytes -= size_bytes;
    alloc_put(alloc_system(), block, HEADER_BYTES + size_bytes + GUARD_BYTES);
}

static void *fail_map(struct alloc *a, size_t size_bytes) {
    struct fail_alloc *f = EG_CONTAINER_OF(a, struct fail_alloc, base);
    uint64_t size = size_bytes;

    if (refuse(f))
        return NULL;
    uint8_t *region = alloc_map(alloc_system(), REGION_HEADER_BYTES + size_bytes);
    if (region == NULL)
        return NULL;
    memcpy(region, &size, sizeof size);
    f->live++;
    f->map_bytes += size_bytes;
    return region + REGION_HEADER_BYTES;
}

static void fail_unmap(struct alloc *a, void *ptr, size_t size_bytes) {
    struct fail_alloc *f = EG_CONTAINER_OF(a, struct fail_alloc, base);
    uint64_t size;

    if (ptr == NULL)
        return;
    uint8_t *region = (uint8_t *) ptr - REGION_HEADER_BYTES;
    memcpy(&size, region, sizeof size);
    EG_ASSERT(size == size_bytes);
    f->live--;
    f->map_bytes -= size_bytes;
    alloc_unmap(alloc_system(), region, REGION_HEADER_BYTES + size_bytes);
}

static void fail_discard(struct alloc *a, void *ptr, size_t size_bytes) {
    (void) a;
    alloc_discard(alloc_system(), ptr, size_bytes);
}

struct fail_alloc fail_alloc_after(int granted) {
    return (struct fail_alloc){
        .base = {fail_get, fail_put, fail_map, fail_unmap, fail_discard},
        .left = granted,
    };
}
