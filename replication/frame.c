/* frame.c -- frames of a link, written and read. */
#include "replication/frame.h"

#include <string.h>

enum { FRAME_FIELDS = 4 };

static void put_be64(uint8_t *out, uint64_t n) {
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t) (n >> (56 - 8 * i));
}

void frame_put_header(uint8_t out[FRAME_HEADER_BYTES], enum mesh_channel channel,
                      uint64_t sequence) {
    out[0] = 0x90 | FRAME_FIELDS;
    out[1] = (uint8_t) channel;
    out[2] = 0xcf; /* uint 64 */
    put_be64(out + 3, sequence);
    out[11] = 0;
}

void frame_put_acknowledge(uint8_t out[FRAME_ACKNOWLEDGE_BYTES], uint64_t acknowledged) {
    out[0] = 0x90 | FRAME_FIELDS;
    out[1] = MESH_NOW;
    out[2] = 0;
    out[3] = 0xcf;
    put_be64(out + 4, acknowledged);
    out[12] = 0xc0; /* nil */
}

eg_err frame_parse(struct value v, struct frame *out) {
    struct value_iter it;
    struct value channel, sequence, acknowledged;
    uint64_t n;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != FRAME_FIELDS)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    value_iter_next(&it, &channel);
    value_iter_next(&it, &sequence);
    value_iter_next(&it, &acknowledged);
    if (!value_get_u64(channel, &n) || n >= MESH_CHANNEL_COUNT ||
        !value_get_u64(sequence, &out->sequence) ||
        !value_get_u64(acknowledged, &out->acknowledged) || (n == MESH_NOW) != (out->sequence == 0))
        return EG_BAD_REQUEST;
    out->channel = (enum mesh_channel) n;
    /* What is left of the frame: no need to walk through it. */
    out->payload = (struct value){it.at, v.size_bytes - (uint32_t) (it.at - v.at)};
    return EG_OK;
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
    err = value_scanner_run(&s->scanner, at, size_bytes);
    if (err == EG_OK) {
        *frame_bytes = s->scanner.next_bytes;
        value_scanner_init(&s->scanner, s->max_bytes);
    }
    return err;
}
