/* A frame is cut and read the same in whatever pieces and forms it comes. */
#include "replication/frame.h"

#include <criterion/criterion.h>
#include <string.h>

enum { MAX_BYTES = 4096 };

/* A header as links write it and a payload, [1, [2, "three"], 4]. */
static size_t put_usual(uint8_t *at, enum mesh_channel channel, uint64_t sequence) {
    static const uint8_t payload[] = {0x93, 1, 0x92, 2, 0xa5, 't', 'h', 'r', 'e', 'e', 4};
    const struct value v = {payload, sizeof payload};

    frame_put_header(at, channel, sequence, frame_payload_hash(v));
    memcpy(at + FRAME_HEADER_BYTES, payload, sizeof payload);
    return FRAME_HEADER_BYTES + sizeof payload;
}

/* The same as another might write it: each number in its shortest form. */
static size_t put_short(uint8_t *at, enum mesh_channel channel, uint64_t sequence,
                        uint64_t acknowledged) {
    static const uint8_t nil = 0xc0;
    const struct value v = {&nil, 1};
    struct value_writer w = value_writer_init(at, MAX_BYTES);

    value_put_array(&w, 5);
    value_put_u64(&w, channel);
    value_put_u64(&w, sequence);
    value_put_u64(&w, acknowledged);
    value_put_u64(&w, frame_check(channel, sequence, acknowledged, frame_payload_hash(v)));
    value_put_raw(&w, v);
    return w.need_bytes;
}

static void must_read(const uint8_t *at, size_t size_bytes, const struct frame *as) {
    struct frame f;

    cr_assert_eq(frame_parse((struct value){at, (uint32_t) size_bytes}, &f), EG_OK);
    cr_assert_eq(f.channel, as->channel);
    cr_assert_eq(f.sequence, as->sequence);
    cr_assert_eq(f.acknowledged, as->acknowledged);
    cr_assert_eq(f.payload.size_bytes, as->payload.size_bytes);
}

Test(frame, is_cut_the_same_in_whatever_pieces_it_comes) {
    uint8_t bytes[MAX_BYTES];
    size_t first_bytes = put_usual(bytes, MESH_REPLICA, 7), all_bytes, frame_bytes;

    all_bytes = first_bytes + put_short(bytes + first_bytes, MESH_VIEW, 8, 3);
    for (size_t cut = 0; cut <= first_bytes; cut++) {
        struct frame_splitter s;

        frame_splitter_init(&s, MAX_BYTES);
        if (cut < first_bytes)
            cr_assert_eq(frame_splitter_next(&s, bytes, cut, &frame_bytes), EG_AGAIN);
        cr_assert_eq(frame_splitter_next(&s, bytes, all_bytes, &frame_bytes), EG_OK);
        cr_assert_eq(frame_bytes, first_bytes, "cut at %zu", cut);
        cr_assert_eq(
            frame_splitter_next(&s, bytes + frame_bytes, all_bytes - frame_bytes, &frame_bytes),
            EG_OK);
        cr_assert_eq(frame_bytes, all_bytes - first_bytes);
    }
}

Test(frame, is_read_in_whatever_form_its_numbers_are) {
    uint8_t bytes[MAX_BYTES];
    size_t size_bytes = put_usual(bytes, MESH_REQUEST, 1);

    must_read(bytes, size_bytes,
              &(struct frame){.channel = MESH_REQUEST, .sequence = 1, .payload = {NULL, 11}});
    size_bytes = put_short(bytes, MESH_REQUEST, 70000, 300);
    must_read(bytes, size_bytes, &(struct frame){MESH_REQUEST, 70000, 300, .payload = {NULL, 1}});
    frame_put_acknowledge(bytes, UINT64_MAX);
    must_read(bytes, FRAME_ACKNOWLEDGE_BYTES,
              &(struct frame){.acknowledged = UINT64_MAX, .payload = {NULL, 1}});
}

Test(frame, that_has_changed_or_has_no_sequence_where_it_must_is_refused) {
    uint8_t bytes[MAX_BYTES];
    size_t size_bytes = put_usual(bytes, MESH_REQUEST, 1);
    const struct value v = {bytes, (uint32_t) size_bytes};
    struct frame f;

    bytes[size_bytes - 1] ^= 1;
    cr_assert_eq(frame_parse(v, &f), EG_CORRUPT);
    put_usual(bytes, MESH_REQUEST, 0);
    cr_assert_eq(frame_parse(v, &f), EG_BAD_REQUEST);
    put_usual(bytes, MESH_NOW, 1);
    cr_assert_eq(frame_parse(v, &f), EG_BAD_REQUEST);
    put_usual(bytes, MESH_NOW, 0);
    cr_assert_eq(frame_parse(v, &f), EG_OK);
}
