/* run_code.c -- bytes by whether they repeat the one before. */
#include "replication/run_code.h"

#include "replication/range_code.h"

enum {
    HEAD_BYTES = 3, /* of a binary, always the same one */
    BINARY_16 = 0xc5,
    SIZE_BITS = 15,
    BYTE_BITS = 8,
    PAST = 4, /* whether the last two bytes did */
    BYTE_CODED_BYTES = ((1 + BYTE_BITS) * RANGE_CHOICE_BITS_MAX + 7) / 8,
};

struct run_model {
    range_chance differs[PAST], byte[1 << BYTE_BITS];
    uint32_t past;
    uint8_t last;
};

static void model_init(struct run_model *m) {
    *m = (struct run_model){.past = PAST - 1};
    for (int i = 0; i < PAST; i++)
        m->differs[i] = RANGE_EVEN;
    for (int i = 0; i < 1 << BYTE_BITS; i++)
        m->byte[i] = RANGE_EVEN;
}

static void model_step(struct run_model *m, uint8_t byte) {
    m->past = (m->past << 1 | (byte != m->last)) % PAST;
    m->last = byte;
}

static void put_byte(struct range_writer *c, struct run_model *m, uint8_t byte) {
    range_put(c, &m->differs[m->past], byte != m->last);
    if (byte != m->last)
        range_put_tree(c, m->byte, BYTE_BITS, byte);
    model_step(m, byte);
}

static uint8_t get_byte(struct range_reader *c, struct run_model *m) {
    uint8_t byte = m->last;

    if (range_get(c, &m->differs[m->past]))
        byte = (uint8_t) range_get_tree(c, m->byte, BYTE_BITS);
    model_step(m, byte);
    return byte;
}

struct value run_put(struct value message, uint8_t *room) {
    struct range_writer c;
    struct run_model m;

    if (message.size_bytes < RUN_BYTES_LEAST || message.size_bytes > RUN_BYTES_MAX)
        return message;
    model_init(&m);
    range_writer_init(&c);
    c.at = room + HEAD_BYTES;
    range_put_even(&c, message.size_bytes, SIZE_BITS);
    for (uint32_t i = 0; i < message.size_bytes; i++) {
        if (HEAD_BYTES + c.size_bytes + c.held_count + BYTE_CODED_BYTES + RANGE_END_BYTES >
            message.size_bytes)
            return message;
        put_byte(&c, &m, message.at[i]);
    }
    range_writer_end(&c);
    room[0] = BINARY_16;
    room[1] = (uint8_t) (c.size_bytes >> 8);
    room[2] = (uint8_t) c.size_bytes;
    return (struct value){room, HEAD_BYTES + (uint32_t) c.size_bytes};
}

eg_err run_get(struct value coded, uint8_t *room, struct value *message) {
    struct range_reader c;
    struct run_model m;
    const uint8_t *at;
    uint32_t coded_bytes, size_bytes;
    size_t used_bytes;

    *message = coded;
    if (value_kind_of(coded) != VALUE_BINARY)
        return EG_OK;
    if (!value_get_bytes(coded, &at, &coded_bytes))
        return EG_BAD_REQUEST;
    model_init(&m);
    range_reader_init(&c, at, coded_bytes);
    size_bytes = (uint32_t) range_get_even(&c, SIZE_BITS);
    if (size_bytes > RUN_BYTES_MAX)
        return EG_BAD_REQUEST;
    for (uint32_t i = 0; i < size_bytes && !range_reader_over(&c); i++)
        room[i] = get_byte(&c, &m);
    if (range_reader_over(&c) || value_scan(room, size_bytes, &used_bytes) != EG_OK ||
        used_bytes != size_bytes)
        return EG_BAD_REQUEST;
    *message = (struct value){room, size_bytes};
    return EG_OK;
}
