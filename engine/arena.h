/* arena.h -- memory that is freed all at once.
 *
 * Blocks are cut from chunks by moving a pointer; nothing is given back before
 * arena_reset or arena_close.  Alignment is 16 bytes.
 */
#ifndef ENGINE_ARENA_H
#define ENGINE_ARENA_H

#include "engine/alloc.h"

struct arena;

EG_MUST_USE eg_err arena_open(struct arena **out, struct alloc *a);
void arena_close(struct arena *ar);

void *arena_get(struct arena *ar, size_t size_bytes); /* NULL: refused */
char *arena_copy_text(struct arena *ar, const char *text);

void arena_reset(struct arena *ar);         /* forget all blocks       */
size_t arena_bytes(const struct arena *ar); /* taken from the allocator */

#endif /* ENGINE_ARENA_H */
