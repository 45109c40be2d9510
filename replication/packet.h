/* packet.h -- several messages between copies in few bytes, as one value.
 *
 *     [messages' bytes, coded: numbers and counts, raw: all else, as it is]
 *
 * Messages of copies (replica_wire.h) are arrays of numbers that resemble those before: the same
 * view, table and origins, the next shard, a few changes more.  A number is told by how it differs
 * from the one that stood there in the last message of that kind, or as one of the last long ones
 * (known), and in as many bits as it is surprising (range_code.h).  What is no number, and arrays
 * below the third (records), is copied: records are not made smaller, nor larger.
 *
 * Each packet begins anew: it can be read without those before.  What is read is what was put, byte
 * for byte.
 *
 * Bounds     PACKET_BYTES_MAX of messages; a message PACKET_MESSAGE_BYTES_MAX.
 * Memory     about 20 KiB for each kind that occurs, while a packet is being made or read.
 */
#ifndef REPLICATION_PACKET_H
#define REPLICATION_PACKET_H

#include "engine/buffer.h"
#include "replication/range_code.h"
#include "tables/value.h"

enum {
    PACKET_BYTES_MAX = 64 << 10,
    PACKET_MESSAGE_BYTES_MAX = 16 << 10,
    PACKET_HEAD_BYTES_MAX = 1 + 5 + 5 + 5, /* an array's, a number, two binaries' */
};

struct packet_model;

struct packet_writer {
    struct alloc *alloc;
    struct packet_model *model; /* NULL: it is empty */
    struct range_writer coder;
    struct buffer coded, raw;
    size_t messages_bytes;
    uint32_t count;
};

void packet_writer_init(struct packet_writer *w, struct alloc *a);
void packet_writer_fini(struct packet_writer *w);
/* One more.  EG_TOO_LARGE: it does not fit this packet any more.  EG_BAD_REQUEST: it cannot be put
 * into one.  EG_MEMORY.  Nothing has changed then. */
EG_MUST_USE eg_err packet_put(struct packet_writer *w, struct value message);
/* Append the packet, one value; it is empty afterwards.  EG_MEMORY: nothing has changed. */
EG_MUST_USE eg_err packet_end(struct packet_writer *w, struct buffer *out);

/* Is it a packet, and no message? */
bool packet_is(struct value payload);
/* Append the messages of a packet, from outside, one behind the other, each a whole value.
 * EG_BAD_REQUEST: it is none.  EG_MEMORY. */
EG_MUST_USE eg_err packet_read(struct alloc *a, struct value packet, struct buffer *out);

#endif /* REPLICATION_PACKET_H */
