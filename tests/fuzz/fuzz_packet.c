/* fuzz_packet.c -- several messages of another node in one packet, or one in runs: whatever comes
 * is refused, or becomes whole values; and what can be put into either comes out of it again. */
#include "replication/packet.h"
#include "replication/run_code.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_values(const struct buffer *b) {
    size_t used;

    for (size_t at = 0; at < b->size_bytes; at += used)
        EG_ASSERT(value_scan(b->at + at, b->size_bytes - at, &used) == EG_OK);
}

static void read_it(struct value v) {
    struct buffer out;

    buffer_init(&out, alloc_system(), PACKET_BYTES_MAX);
    if (packet_read(alloc_system(), v, &out) == EG_OK)
        check_values(&out);
    else
        EG_ASSERT(out.size_bytes == 0);
    buffer_fini(&out);
}

static void put_it(struct value v) {
    struct packet_writer w;
    struct buffer packed, out;

    packet_writer_init(&w, alloc_system());
    buffer_init(&packed, alloc_system(), SIZE_MAX / 2);
    buffer_init(&out, alloc_system(), PACKET_BYTES_MAX);
    if (packet_put(&w, v) == EG_OK && packet_put(&w, v) == EG_OK) {
        EG_ASSERT(packet_end(&w, &packed) == EG_OK);
        EG_ASSERT(packet_read(alloc_system(),
                              (struct value){packed.at, (uint32_t) packed.size_bytes},
                              &out) == EG_OK);
        EG_ASSERT(out.size_bytes == (size_t) 2 * v.size_bytes);
        EG_ASSERT(memcmp(out.at, v.at, v.size_bytes) == 0);
        EG_ASSERT(memcmp(out.at + v.size_bytes, v.at, v.size_bytes) == 0);
    }
    packet_writer_fini(&w);
    buffer_fini(&packed);
    buffer_fini(&out);
}

static void try_runs(struct value v) {
    uint8_t coded[RUN_BYTES_MAX], room[RUN_BYTES_MAX];
    struct value message;
    size_t used;

    if (run_get(v, room, &message) == EG_OK)
        EG_ASSERT(value_scan(message.at, message.size_bytes, &used) == EG_OK &&
                  used == message.size_bytes);
    if (value_kind_of(v) != VALUE_BINARY) {
        EG_ASSERT(run_get(run_put(v, coded), room, &message) == EG_OK);
        EG_ASSERT(message.size_bytes == v.size_bytes);
        EG_ASSERT(memcmp(message.at, v.at, v.size_bytes) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t used;

    if (value_scan(data, size, &used) == EG_OK) {
        read_it((struct value){data, (uint32_t) used});
        put_it((struct value){data, (uint32_t) used});
        try_runs((struct value){data, (uint32_t) used});
    }
    return 0;
}
