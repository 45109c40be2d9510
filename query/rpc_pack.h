/* rpc_pack.h -- cold answers, packed by msgpack-c into a buffer.  Each is 0, or else there was no
 * memory. */
#ifndef QUERY_RPC_PACK_H
#define QUERY_RPC_PACK_H

#include "engine/buffer.h"

#include <msgpack.h>
#include <string.h>

static inline int rpc_pack_append(void *result, const char *at, size_t size_bytes) {
    return buffer_append(result, at, size_bytes) ? 0 : -1;
}

static inline msgpack_packer rpc_packer(struct buffer *out) {
    msgpack_packer p;

    msgpack_packer_init(&p, out, rpc_pack_append);
    return p;
}

static inline int pack_text(msgpack_packer *p, const char *text) {
    return msgpack_pack_str_with_body(p, text, strlen(text));
}

static inline int pack_count(msgpack_packer *p, const char *name, uint64_t n) {
    return pack_text(p, name) | msgpack_pack_uint64(p, n);
}

#endif /* QUERY_RPC_PACK_H */
