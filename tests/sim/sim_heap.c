/* sim_heap.c -- blocks in a list, with their sizes before and a mark behind them. */
#include "tests/sim/sim_heap.h"

#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HEAP_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(HEAP_ASAN)
#include <sanitizer/asan_interface.h>
#define UNHIDE(ptr, size) ASAN_UNPOISON_MEMORY_REGION(ptr, size)
#else
#define UNHIDE(ptr, size) ((void) (ptr), (void) (size))
#endif

enum {
    MARK = 0x5aa55aa5,
    PAINT_BYTES = 4096, /* of a block's beginning: nobody may count on zeroes, or read late */
};

struct block {
    struct list_node node;
    size_t size_bytes;
    uint32_t mark;
    _Alignas(16) uint8_t bytes[];
};

struct region {
    struct list_node node;
    void *at;
    size_t size_bytes;
};

static struct sim_heap *heap_of(struct alloc *a) {
    return EG_CONTAINER_OF(a, struct sim_heap, base);
}

static bool refuses(struct sim_heap *h) {
    h->requests++;
    if (h->refuse_one_in == 0 || !rng_one_in(&h->rng, h->refuse_one_in))
        return false;
    h->refused++;
    return true;
}

static void *heap_get(struct alloc *a, size_t size_bytes) {
    struct sim_heap *h = heap_of(a);
    struct block *b;
    uint32_t mark = MARK;

    if (refuses(h))
        return NULL;
    b = alloc_get(alloc_system(), sizeof *b + size_bytes + sizeof mark);
    EG_ASSERT(b != NULL);
    b->size_bytes = size_bytes;
    b->mark = mark;
    memset(b->bytes, 0xa5, EG_MIN(size_bytes, (size_t) PAINT_BYTES));
    memcpy(b->bytes + size_bytes, &mark, sizeof mark);
    list_push_back(&h->blocks, &b->node);
    h->live++;
    h->live_bytes += size_bytes;
    return b->bytes;
}

static void block_free(struct sim_heap *h, struct block *b) {
    h->live--;
    h->live_bytes -= b->size_bytes;
    list_remove(&b->node);
    alloc_put(alloc_system(), b, sizeof *b + b->size_bytes + sizeof b->mark);
}

static void heap_put(struct alloc *a, void *ptr, size_t size_bytes) {
    struct block *b;
    uint32_t mark = MARK;

    if (ptr == NULL)
        return;
    b = EG_CONTAINER_OF(ptr, struct block, bytes);
    EG_ASSERT(b->mark == mark);
    EG_ASSERT(b->size_bytes == size_bytes);
    EG_ASSERT(memcmp(b->bytes + size_bytes, &mark, sizeof mark) == 0);
    b->mark = 0;
    memset(b->bytes, 0x5a, EG_MIN(size_bytes, (size_t) PAINT_BYTES));
    block_free(heap_of(a), b);
}

static void *heap_map(struct alloc *a, size_t size_bytes) {
    struct sim_heap *h = heap_of(a);
    struct region *r;

    if (refuses(h))
        return NULL;
    r = alloc_get(alloc_system(), sizeof *r);
    EG_ASSERT(r != NULL);
    *r = (struct region){.at = alloc_map(alloc_system(), size_bytes), .size_bytes = size_bytes};
    EG_ASSERT(r->at != NULL);
    list_push_back(&h->regions, &r->node);
    h->live++;
    return r->at;
}

static void region_free(struct sim_heap *h, struct region *r) {
    h->live--;
    list_remove(&r->node);
    UNHIDE(r->at, r->size_bytes); /* what slabs of a crashed node had hidden of it */
    alloc_unmap(alloc_system(), r->at, r->size_bytes);
    alloc_put(alloc_system(), r, sizeof *r);
}

static void heap_unmap(struct alloc *a, void *ptr, size_t size_bytes) {
    struct sim_heap *h = heap_of(a);

    if (ptr == NULL)
        return;
    for (struct list_node *n = h->regions.next; n != &h->regions; n = n->next) {
        struct region *r = EG_CONTAINER_OF(n, struct region, node);
        if (r->at == ptr) {
            EG_ASSERT(r->size_bytes == size_bytes);
            region_free(h, r);
            return;
        }
    }
    EG_ASSERT(!"a region of this heap");
}

static void heap_discard(struct alloc *a, void *ptr, size_t size_bytes) {
    (void) a;
    alloc_discard(alloc_system(), ptr, size_bytes);
}

void sim_heap_init(struct sim_heap *h, uint64_t seed) {
    *h = (struct sim_heap){.base = {.get = heap_get,
                                    .put = heap_put,
                                    .map = heap_map,
                                    .unmap = heap_unmap,
                                    .discard = heap_discard},
                           .rng = rng_of(seed)};
    list_init(&h->blocks);
    list_init(&h->regions);
}

void sim_heap_reclaim(struct sim_heap *h) {
    while (!list_is_empty(&h->blocks))
        block_free(h, EG_CONTAINER_OF(h->blocks.next, struct block, node));
    while (!list_is_empty(&h->regions))
        region_free(h, EG_CONTAINER_OF(h->regions.next, struct region, node));
    EG_ASSERT(h->live == 0 && h->live_bytes == 0);
}
