/* pack.h -- MessagePack that grows as it is written.
 *
 * tables/value.h writes into room that is there; a command does not know its size
 * beforehand.  A put that finds no memory sets `failed`, and so do all after it,
 * so that one look at the end is enough. */
#ifndef TOOLS_PACK_H
#define TOOLS_PACK_H

#include "engine/buffer.h"
#include "tables/value.h"

struct pack {
    struct buffer bytes;
    bool failed;
};

void pack_init(struct pack *p, struct alloc *a);
void pack_fini(struct pack *p);
void pack_clear(struct pack *p);
struct value pack_value(const struct pack *p); /* of what was put; not when failed */

void pack_nil(struct pack *p);
void pack_bool(struct pack *p, bool b);
void pack_i64(struct pack *p, int64_t n);
void pack_u64(struct pack *p, uint64_t n);
void pack_double(struct pack *p, double d);
void pack_text(struct pack *p, const char *text);
void pack_string(struct pack *p, const char *at, size_t size_bytes);
void pack_binary(struct pack *p, const void *at, size_t size_bytes);
void pack_array(struct pack *p, uint32_t count);
void pack_map(struct pack *p, uint32_t pairs);
void pack_raw(struct pack *p, struct value v);

#endif /* TOOLS_PACK_H */
