/* frame.c -- frames of a link, written and read. */
#include "replication/frame.h"

#include "engine/big_endian.h"

#define XXH_INLINE_ALL /* short frames: the call would cost as much as the hash */
#include <xxhash.h>

enum { FRAME_FIELDS = 5, NIL = 0xc0 };

uint64_t frame_payload_hash(struct value payload) {
    return XXH3_64bits(payload.at, payload.size_bytes);
}

uint32_t frame_check(enum mesh_channel channel, uint64_t sequence, uint64_t acknowledged,
                     uint64_t payload_hash) {
    const uint64_t all[] = {(uint64_t) channel, sequence, acknowledged, payload_hash};

    return (uint32_t) XXH3_64bits(all, sizeof all);
}

static void put_check(uint8_t *out, uint32_t check) {
    out[0] = 0xce; /* uint 32 */
    store_be32(out + 1, check);
}

void frame_put_header(uint8_t out[FRAME_HEADER_BYTES], enum mesh_channel channel, uint64_t sequence,
                      uint64_t payload_hash) {
    out[0] = 0x90 | FRAME_FIELDS;
    out[1] = (uint8_t) channel;
    out[2] = 0xcf; /* uint 64 */
    store_be64(out + 3, sequence);
    out[11] = 0;
    put_check(out + 12, frame_check(channel, sequence, 0, payload_hash));
}

void frame_put_acknowledge(uint8_t out[FRAME_ACKNOWLEDGE_BYTES], uint64_t acknowledged) {
    static const uint8_t nil = NIL;

    out[0] = 0x90 | FRAME_FIELDS;
    out[1] = MESH_NOW;
    out[2] = 0;
    out[3] = 0xcf;
    store_be64(out + 4, acknowledged);
    put_check(out + 12,
              frame_check(MESH_NOW, 0, acknowledged, frame_payload_hash((struct value){&nil, 1})));
    out[17] = NIL;
}

/* Is it the header that frame_put_header() writes, as it is of almost all frames?  Looks at that
 * many bytes. */
static bool is_usual(const uint8_t *at) {
    return at[0] == (0x90 | FRAME_FIELDS) && at[1] < MESH_CHANNEL_COUNT && at[2] == 0xcf &&
           at[11] == 0 && at[12] == 0xce;
}

static eg_err read_usual(struct value v, struct frame *out, uint32_t *check) {
    *out =
        (struct frame){.channel = (enum mesh_channel) v.at[1],
                       .sequence = load_be64(v.at + 3),
                       .payload = {v.at + FRAME_HEADER_BYTES, v.size_bytes - FRAME_HEADER_BYTES}};
    *check = load_be32(v.at + 13);
    return (out->channel == MESH_NOW) == (out->sequence == 0) ? EG_OK : EG_BAD_REQUEST;
}

eg_err frame_read(struct value v, struct frame *out, uint32_t *check) {
    struct value_iter it;
    uint64_t n, sum;

    if (v.size_bytes > FRAME_HEADER_BYTES && is_usual(v.at))
        return read_usual(v, out, check);
    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != FRAME_FIELDS)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    if (!value_iter_u64(&it, &n) || n >= MESH_CHANNEL_COUNT ||
        !value_iter_u64(&it, &out->sequence) || !value_iter_u64(&it, &out->acknowledged) ||
        !value_iter_u64(&it, &sum) || sum > UINT32_MAX || (n == MESH_NOW) != (out->sequence == 0))
        return EG_BAD_REQUEST;
    out->channel = (enum mesh_channel) n;
    *check = (uint32_t) sum;
    /* What is left of the frame: no need to walk through it. */
    out->payload = (struct value){it.at, v.size_bytes - (uint32_t) (it.at - v.at)};
    return EG_OK;
}

eg_err frame_parse(struct value v, struct frame *out) {
    uint32_t check;
    eg_err err = frame_read(v, out, &check);

    if (err != EG_OK)
        return err;
    return check == frame_check(out->channel, out->sequence, out->acknowledged,
                                frame_payload_hash(out->payload))
               ? EG_OK
               : EG_CORRUPT;
}

void frame_splitter_init(struct frame_splitter *s, size_t max_bytes) {
    s->max_bytes = max_bytes;
    value_scanner_init(&s->scanner, max_bytes);
}

eg_err frame_splitter_next(struct frame_splitter *s, const uint8_t *at, size_t size_bytes,
                           size_t *frame_bytes) {
    eg_err err;

    if (size_bytes > 0 && (at[0] & 0xf0) != 0x90)
        return EG_BAD_REQUEST;
    if (s->scanner.next_bytes == 0 && size_bytes > FRAME_HEADER_BYTES && is_usual(at))
        value_scanner_enter(&s->scanner, FRAME_HEADER_BYTES, 1);
    err = value_scanner_run(&s->scanner, at, size_bytes);
    if (err == EG_OK) {
        *frame_bytes = s->scanner.next_bytes;
        value_scanner_init(&s->scanner, s->max_bytes);
    }
    return err;
}
