/* packet_read.c -- packets, from outside, taken apart into messages. */
#include "replication/packet_private.h"

bool packet_is(struct value payload) {
    return value_kind_of(payload) == VALUE_ARRAY && value_count(payload) == PACKET_FIELDS;
}

struct packet_reader {
    struct alloc *alloc;
    struct packet_model *model;
    struct range_reader coder;
    const uint8_t *raw;
    size_t raw_bytes;
    struct value_writer out;
    eg_err err;
};

static void fail(struct packet_reader *r, eg_err err) {
    if (r->err == EG_OK)
        r->err = err;
}

static uint64_t get_distant(struct range_reader *c, struct packet_number *at) {
    bool less = range_get(c, &at->less), stamped = range_get(c, &at->stamped);
    unsigned bits = range_get_tree(c, at->length, PACKET_LENGTH_BITS);
    uint64_t distance = UINT64_C(1) << bits | range_get_even(c, bits);

    distance <<= stamped ? PACKET_STAMP_BITS : 0;
    return less ? at->last - distance : at->last + distance;
}

static uint64_t get_number(struct packet_reader *r, struct packet_number *at) {
    struct range_reader *c = &r->coder;
    uint64_t n = at->last;

    if (range_get(c, &at->differs)) {
        if (range_get(c, &at->known)) {
            bool is_long = range_get(c, &at->is_long);

            n = r->model->known[is_long][range_get_tree(c, at->which, PACKET_KNOWN_BITS)];
        } else {
            n = get_distant(c, at);
        }
    }
    packet_remember(r->model, at, n);
    return n;
}

static void get_raw(struct packet_reader *r) {
    size_t used_bytes;

    if (value_scan(r->raw, r->raw_bytes, &used_bytes) != EG_OK) {
        fail(r, EG_BAD_REQUEST);
        return;
    }
    value_put_raw(&r->out, (struct value){r->raw, (uint32_t) used_bytes});
    r->raw += used_bytes;
    r->raw_bytes -= used_bytes;
}

/* The head of an array; how many elements follow. */
static uint32_t get_array(struct packet_reader *r, struct packet_places *p, uint32_t at) {
    bool wide = range_get(&r->coder, &p->wide[at]);
    uint64_t count = get_number(r, &p->count[at]);
    uint8_t head[5] = {PACKET_WIDE_ARRAY, (uint8_t) (count >> 24), (uint8_t) (count >> 16),
                       (uint8_t) (count >> 8), (uint8_t) count};

    if (count > PACKET_BYTES_MAX) {
        fail(r, EG_BAD_REQUEST);
        return 0;
    }
    if (wide)
        value_put_raw(&r->out, (struct value){head, sizeof head});
    else
        value_put_array(&r->out, (uint32_t) count);
    return (uint32_t) count;
}

/* An element of `in`; each takes room, so that there are not more than fit. */
static void get_value(struct packet_reader *r, struct packet_places *p,
                      const struct packet_level *in, uint32_t index) {
    uint32_t at = packet_place_in(in, index);
    struct packet_place *place = &p->at[at];
    struct packet_level level = {in->depth + 1, index, 0};
    enum packet_shape shape = (enum packet_shape) range_get_tree(&r->coder, place->shape, 2);
    uint8_t word;

    if (shape == SHAPE_ARRAY && level.depth >= PACKET_DEEPEST)
        fail(r, EG_BAD_REQUEST);
    if (r->err != EG_OK)
        return;
    switch (shape) {
    case SHAPE_NUMBER:
        value_put_u64(&r->out, get_number(r, &place->number));
        break;
    case SHAPE_ARRAY:
        level.count = get_array(r, p, at);
        for (uint32_t i = 0; i < level.count && r->err == EG_OK; i++)
            get_value(r, p, &level, i);
        break;
    case SHAPE_WORD:
        word = (uint8_t) (0xc0 | range_get_tree(&r->coder, place->word, 2));
        value_put_raw(&r->out, (struct value){&word, 1});
        break;
    case SHAPE_RAW:
        get_raw(r);
        break;
    }
    if (r->out.overflow || range_reader_over(&r->coder))
        fail(r, EG_BAD_REQUEST);
}

static void get_message(struct packet_reader *r) {
    const uint8_t *begin = r->out.at;
    uint64_t kind = get_number(r, &r->model->kind);
    struct packet_places *p =
        kind < PACKET_KINDS ? packet_places(r->alloc, r->model, (uint32_t) kind) : NULL;
    struct packet_level level = {0};
    size_t used_bytes;

    if (p == NULL) {
        fail(r, kind < PACKET_KINDS ? EG_MEMORY : EG_BAD_REQUEST);
        return;
    }
    level.count = get_array(r, p, 0);
    value_put_u64(&r->out, kind);
    for (uint32_t i = 1; i < level.count && r->err == EG_OK; i++)
        get_value(r, p, &level, i);
    /* What was copied into it may be nested as deep as it may itself be. */
    if (r->err == EG_OK && (r->out.overflow || level.count == 0 ||
                            value_scan(begin, (size_t) (r->out.at - begin), &used_bytes) != EG_OK))
        fail(r, EG_BAD_REQUEST);
}

static void get_messages(struct packet_reader *r) {
    while (r->err == EG_OK && range_get(&r->coder, &r->model->more))
        get_message(r);
    if (range_reader_over(&r->coder) || r->raw_bytes != 0 || r->out.at != r->out.end)
        fail(r, EG_BAD_REQUEST);
}

static bool get_binary(struct value_iter *it, const uint8_t **at, uint32_t *size_bytes) {
    struct value v;

    return value_iter_next(it, &v) && value_kind_of(v) == VALUE_BINARY &&
           value_get_bytes(v, at, size_bytes);
}

eg_err packet_read(struct alloc *a, struct value packet, struct buffer *out) {
    struct packet_reader r = {.alloc = a};
    struct value_iter it;
    const uint8_t *coded;
    uint64_t messages_bytes;
    uint32_t coded_bytes, raw_bytes;
    uint8_t *room;

    if (!packet_is(packet))
        return EG_BAD_REQUEST;
    it = value_iter_of(packet);
    if (!value_iter_u64(&it, &messages_bytes) || messages_bytes == 0 ||
        messages_bytes > PACKET_BYTES_MAX || !get_binary(&it, &coded, &coded_bytes) ||
        !get_binary(&it, &r.raw, &raw_bytes))
        return EG_BAD_REQUEST;
    room = buffer_room(out, messages_bytes);
    r.model = packet_model_open(a);
    if (room == NULL || r.model == NULL) {
        packet_model_close(a, r.model);
        return EG_MEMORY;
    }
    r.raw_bytes = raw_bytes;
    r.out = value_writer_init(room, messages_bytes);
    range_reader_init(&r.coder, coded, coded_bytes);
    get_messages(&r);
    packet_model_close(a, r.model);
    if (r.err == EG_OK)
        out->size_bytes += messages_bytes;
    return r.err;
}
