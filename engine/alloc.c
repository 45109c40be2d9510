/* alloc.c -- the system allocator: malloc for objects, mmap for regions. */
#include "engine/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *system_get(struct alloc *a, size_t size_bytes) {
    (void) a; /* stateless */
    return malloc(size_bytes == 0 ? 1 : size_bytes);
}

static void system_put(struct alloc *a, void *ptr, size_t size_bytes) {
    (void) a;
    (void) size_bytes; /* malloc keeps its own count */
    free(ptr);
}

static void *system_map(struct alloc *a, size_t size_bytes) {
    void *ptr;
    (void) a;
    ptr = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return ptr == MAP_FAILED ? NULL : ptr;
}

static void system_unmap(struct alloc *a, void *ptr, size_t size_bytes) {
    (void) a;
    if (ptr != NULL)
        EG_ASSERT(munmap(ptr, size_bytes) == 0);
}

static void system_discard(struct alloc *a, void *ptr, size_t size_bytes) {
    (void) a;
    EG_ASSERT(madvise(ptr, size_bytes, MADV_DONTNEED) == 0);
}

struct alloc *alloc_system(void) {
    static const struct alloc system = {system_get, system_put, system_map, system_unmap,
                                        system_discard};
    return (struct alloc *) &system; /* never written: its functions keep no state */
}

void *alloc_zero(struct alloc *a, size_t size_bytes) {
    void *ptr = alloc_get(a, size_bytes);
    if (ptr != NULL)
        memset(ptr, 0, size_bytes);
    return ptr;
}

void *alloc_resize(struct alloc *a, void *ptr, size_t old_bytes, size_t new_bytes) {
    void *fresh = alloc_get(a, new_bytes);
    if (fresh == NULL)
        return NULL;
    if (ptr != NULL) {
        memcpy(fresh, ptr, EG_MIN(old_bytes, new_bytes));
        alloc_put(a, ptr, old_bytes);
    }
    return fresh;
}
