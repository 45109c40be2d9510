/* slab.h -- memory of one owner in exact little steps.
 *
 * Records and nodes of a shard come from its slab: size classes in steps of 8
 * bytes up to 512 and about an eighth above, cut from 64-KB pages that are cut
 * from arenas.  One owner allocates and frees, so there is no atomic in it; what
 * readers may still hold reaches slab_put() through an epoch bin.
 *
 *     arena  | page | page | page | ...                  256 KB, doubling to 4 MB
 *     page   | header, a bit an object | object | object | ...    of one class
 *
 * Freeing clears a bit in the page's header and does not touch the object, which
 * is usually out of the cache by then.  It also finds double frees, always.
 *
 * Memory     An arena costs memory only where it was written: an idle slab is a
 *            kilobyte.  A page without objects serves any class; past a few
 *            spare ones it goes back to the system, and so does an empty arena.
 *            Objects past SLAB_OBJECT_MAX go straight to the allocator.
 *            Alignment is 8 bytes, or 64 for sizes that are multiples of 64 and
 *            not past SLAB_OBJECT_MAX.
 */
#ifndef ENGINE_SLAB_H
#define ENGINE_SLAB_H

#include "engine/alloc.h"

enum { SLAB_OBJECT_MAX = 16320 }; /* four fill a page */

struct slab;

struct slab_stats {
    uint64_t used_bytes;   /* of live objects, rounded to their class            */
    uint64_t system_bytes; /* of pages in use or spare, where written; big objects */
    uint64_t objects;      /* live                                               */
};

EG_MUST_USE eg_err slab_open(struct slab **out, struct alloc *a);
void slab_close(struct slab *s); /* frees everything, live objects included */

void *slab_get(struct slab *s, size_t size_bytes); /* NULL: refused */
/* Ask for the lines that the next slab_get() of this size will hand out: memory that
 * was freed long ago takes as long to write as to read.  Nothing is promised. */
void slab_prefetch(const struct slab *s, size_t size_bytes);
void slab_put(struct slab *s, void *ptr, size_t size_bytes);
/* As slab_put, in the shape of an epoch_free_fn (owner is the slab). */
void slab_free(void *slab, void *ptr, size_t size_bytes);
struct slab_stats slab_stats(const struct slab *s);

#endif /* ENGINE_SLAB_H */
