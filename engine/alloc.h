/* alloc.h -- where memory comes from.
 *
 * Every module is given its allocator, so that a test can fail the n-th
 * request and an accountant can say whose bytes they are.  Sizes are passed
 * back on release: no hidden header a block, and a test allocator catches a
 * wrong one.
 *
 * get/put are for objects.  map/unmap are for regions of whole pages that are
 * reserved at once and touched little by little (slab arenas, hash bucket
 * orders): zeroed, page aligned, costing memory only where written.
 *
 * Threads    As the implementation says; alloc_system() is safe from any thread.
 */
#ifndef ENGINE_ALLOC_H
#define ENGINE_ALLOC_H

#include "engine/base.h"

struct alloc {
    void *(*get)(struct alloc *a, size_t size_bytes);             /* NULL: refused     */
    void (*put)(struct alloc *a, void *ptr, size_t size_bytes);   /* ptr may be NULL   */
    void *(*map)(struct alloc *a, size_t size_bytes);             /* NULL: refused     */
    void (*unmap)(struct alloc *a, void *ptr, size_t size_bytes); /* ptr may be NULL   */
    /* Give the memory of whole pages back and keep their addresses; NULL: cannot. */
    void (*discard)(struct alloc *a, void *ptr, size_t size_bytes);
};

/* The process's own memory: malloc and anonymous mmap.  Has no state. */
struct alloc *alloc_system(void);

static inline void *alloc_get(struct alloc *a, size_t size_bytes) {
    return a->get(a, size_bytes);
}
static inline void alloc_put(struct alloc *a, void *ptr, size_t size_bytes) {
    a->put(a, ptr, size_bytes);
}
static inline void *alloc_map(struct alloc *a, size_t size_bytes) {
    return a->map(a, size_bytes);
}
static inline void alloc_unmap(struct alloc *a, void *ptr, size_t size_bytes) {
    a->unmap(a, ptr, size_bytes);
}

/* Part of a mapped region is not needed for now: what it held is lost, and where
 * the allocator can, its memory goes back to the system.  The addresses stay
 * ours and cost memory again where they are written. */
static inline void alloc_discard(struct alloc *a, void *ptr, size_t size_bytes) {
    if (a->discard != NULL)
        a->discard(a, ptr, size_bytes);
}

/* As alloc_get, and zeroed. */
void *alloc_zero(struct alloc *a, size_t size_bytes);

/* Grow or shrink to new_bytes, keeping the contents.  NULL: refused, and the
 * old block is as it was. */
void *alloc_resize(struct alloc *a, void *ptr, size_t old_bytes, size_t new_bytes);

#endif /* ENGINE_ALLOC_H */
