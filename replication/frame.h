/* frame.h -- what nodes say on a link, one MessagePack array each:
 *
 *     [channel, sequence, acknowledged, check, payload]
 *
 * sequence      1, 2, 3 ... over all channels of a session; 0: not kept, goes now or never
 * acknowledged  all up to it has been handled; 0: nothing new is said
 * check         a hash of all the rest.  TCP's own sum lets one bad segment in 65536 pass, and a
 *               payload that has changed would still be a payload: an incarnation, a clock
 *
 * A frame that only acknowledges is on MESH_NOW and has no payload (nil).  The header that we
 * write has one size, so it can be filled in when the payload is there already.
 *
 * Threads    A splitter belongs to one connection; the rest are pure functions.
 */
#ifndef REPLICATION_FRAME_H
#define REPLICATION_FRAME_H

#include "replication/mesh.h"

enum {
    FRAME_HEADER_BYTES = 17,
    FRAME_ACKNOWLEDGE_BYTES = 18,
};

struct frame {
    enum mesh_channel channel;
    uint64_t sequence;
    uint64_t acknowledged;
    struct value payload;
};

/* What of the payload goes into the check; takes a while where it is long. */
uint64_t frame_payload_hash(struct value payload);
void frame_put_header(uint8_t out[FRAME_HEADER_BYTES], enum mesh_channel channel, uint64_t sequence,
                      uint64_t payload_hash);
void frame_put_acknowledge(uint8_t out[FRAME_ACKNOWLEDGE_BYTES], uint64_t acknowledged);

uint32_t frame_check(enum mesh_channel channel, uint64_t sequence, uint64_t acknowledged,
                     uint64_t payload_hash);

/* A whole scanned value as a frame.  EG_BAD_REQUEST: it is none.  EG_CORRUPT: it has changed on
 * its way. */
EG_MUST_USE eg_err frame_parse(struct value v, struct frame *out);
/* The same without the check: `check` is what it says. */
EG_MUST_USE eg_err frame_read(struct value v, struct frame *out, uint32_t *check);

/* Cuts a stream of bytes into arrays, looking at each byte once. */
struct frame_splitter {
    size_t max_bytes;
    struct value_scanner scanner;
};
void frame_splitter_init(struct frame_splitter *s, size_t max_bytes);
/* Whether a whole array lies at `at`, where the last one ended.  EG_AGAIN: more bytes are
 * needed.  EG_BAD_REQUEST, EG_TOO_LARGE: no array, or past the bound, as soon as that can be
 * seen. */
EG_MUST_USE eg_err frame_splitter_next(struct frame_splitter *s, const uint8_t *at,
                                       size_t size_bytes, size_t *frame_bytes);

#endif /* REPLICATION_FRAME_H */
