/* packet_write.c -- messages of copies put together in few bytes. */
#include "replication/packet_private.h"

enum {
    VALUE_CODED_BYTES = 28, /* at most */
    MESSAGE_CODED_BYTES = 32,
};

/* ---- values ---------------------------------------------------------------------------------- */

static unsigned bits_of(uint64_t n) {
    unsigned bits = 0;

    for (; n != 0; n >>= 1)
        bits++;
    return bits;
}

/* By how much it differs from the last there; stamps of a node's clock by whole milliseconds. */
static void put_distance(struct range_writer *c, struct packet_number *at, uint64_t n) {
    uint64_t distance = n < at->last ? at->last - n : n - at->last;
    bool stamped = distance % (UINT64_C(1) << PACKET_STAMP_BITS) == 0;
    unsigned bits;

    range_put(c, &at->less, n < at->last);
    range_put(c, &at->stamped, stamped);
    distance >>= stamped ? PACKET_STAMP_BITS : 0;
    bits = bits_of(distance);
    range_put_tree(c, at->length, PACKET_LENGTH_BITS, bits - 1);
    range_put_even(c, distance, bits - 1);
}

static void put_number(struct packet_writer *w, struct packet_number *at, uint64_t n) {
    struct range_writer *c = &w->coder;
    uint32_t known = n < PACKET_KNOWN_LEAST ? PACKET_KNOWN
                                            : packet_find_known(packet_known_like(w->model, n), n);

    range_put(c, &at->differs, n != at->last);
    if (n != at->last) {
        range_put(c, &at->known, known < PACKET_KNOWN);
        if (known < PACKET_KNOWN) {
            range_put(c, &at->is_long, n >= PACKET_LONG_LEAST);
            range_put_tree(c, at->which, PACKET_KNOWN_BITS, known);
        } else {
            put_distance(c, at, n);
        }
    }
    packet_remember(w->model, at, n);
}

/* Is it written as value_put_u64() would? */
static bool is_number(struct value v, uint64_t *n) {
    struct value_writer shortest = value_writer_init(NULL, 0);

    if (!value_is_integer(v) || !value_get_u64(v, n))
        return false;
    value_put_u64(&shortest, *n);
    return shortest.need_bytes == v.size_bytes && v.at[0] <= 0xcf;
}

static bool is_wide(struct value array) {
    return array.at[0] == PACKET_WIDE_ARRAY;
}

/* Is it an array that is taken apart?  Its head is the shortest, or the widest. */
static bool is_array(struct value v, int depth) {
    return depth < PACKET_DEEPEST && value_kind_of(v) == VALUE_ARRAY &&
           (is_wide(v) || v.at[0] < 0xdc || value_count(v) > 15);
}

static enum packet_shape shape_of(struct value v, int depth, uint64_t *n) {
    if (is_number(v, n))
        return SHAPE_NUMBER;
    if (is_array(v, depth))
        return SHAPE_ARRAY;
    return v.size_bytes == 1 && v.at[0] >= 0xc0 && v.at[0] <= 0xc3 ? SHAPE_WORD : SHAPE_RAW;
}

static void put_value(struct packet_writer *w, struct packet_places *p,
                      const struct packet_level *in, uint32_t index, struct value v);

static void put_elements(struct packet_writer *w, struct packet_places *p,
                         const struct packet_level *in, struct value_iter *it, uint32_t index) {
    struct value v;

    for (; value_iter_next(it, &v); index++)
        put_value(w, p, in, index, v);
}

static void put_value(struct packet_writer *w, struct packet_places *p,
                      const struct packet_level *in, uint32_t index, struct value v) {
    uint32_t at = packet_place_in(in, index);
    struct packet_place *place = &p->at[at];
    struct packet_level level = {in->depth + 1, index, 0};
    struct value_iter it;
    uint64_t n;
    enum packet_shape shape = shape_of(v, level.depth, &n);

    range_put_tree(&w->coder, place->shape, 2, shape);
    switch (shape) {
    case SHAPE_NUMBER:
        put_number(w, &place->number, n);
        break;
    case SHAPE_ARRAY:
        level.count = value_count(v);
        range_put(&w->coder, &p->wide[at], is_wide(v));
        put_number(w, &p->count[at], level.count);
        it = value_iter_of(v);
        put_elements(w, p, &level, &it, 0);
        break;
    case SHAPE_WORD:
        range_put_tree(&w->coder, place->word, 2, v.at[0] & 3);
        break;
    case SHAPE_RAW:
        EG_ASSERT(buffer_append(&w->raw, v.at, v.size_bytes)); /* there is room */
        break;
    }
}

/* How many values there are that are not copied as parts of others. */
static uint32_t count_values(struct value v, int depth) {
    struct value_iter it;
    struct value element;
    uint32_t count = 1;

    if (!is_array(v, depth))
        return count;
    for (it = value_iter_of(v); value_iter_next(&it, &element);)
        count += count_values(element, depth + 1);
    return count;
}

/* ---- messages -------------------------------------------------------------------------------- */

void packet_writer_init(struct packet_writer *w, struct alloc *a) {
    *w = (struct packet_writer){.alloc = a};
    buffer_init(&w->coded, a, SIZE_MAX / 2);
    buffer_init(&w->raw, a, PACKET_BYTES_MAX);
}

void packet_writer_fini(struct packet_writer *w) {
    packet_model_close(w->alloc, w->model);
    buffer_fini(&w->coded);
    buffer_fini(&w->raw);
    packet_writer_init(w, w->alloc);
}

/* Room for one more; NULL: no memory. */
static struct packet_places *make_room(struct packet_writer *w, uint32_t kind,
                                       struct value message) {
    size_t coded_bytes =
        (size_t) VALUE_CODED_BYTES * count_values(message, 0) + MESSAGE_CODED_BYTES;

    if (w->model == NULL) {
        w->model = packet_model_open(w->alloc);
        range_writer_init(&w->coder);
    }
    w->coded.size_bytes = w->coder.size_bytes;
    if (w->model == NULL || buffer_room(&w->coded, coded_bytes + w->coder.held_count) == NULL ||
        buffer_room(&w->raw, message.size_bytes) == NULL)
        return NULL;
    w->coder.at = w->coded.at;
    return packet_places(w->alloc, w->model, kind);
}

eg_err packet_put(struct packet_writer *w, struct value message) {
    struct packet_level level = {0};
    struct value_iter it;
    struct packet_places *p;
    uint64_t kind;

    if (!is_array(message, 0) || message.size_bytes > PACKET_MESSAGE_BYTES_MAX)
        return EG_BAD_REQUEST;
    it = value_iter_of(message);
    if (it.left == 0 || it.at[0] >= PACKET_KINDS || !value_iter_u64(&it, &kind))
        return EG_BAD_REQUEST;
    if (message.size_bytes > PACKET_BYTES_MAX - w->messages_bytes)
        return EG_TOO_LARGE;
    p = make_room(w, (uint32_t) kind, message);
    if (p == NULL)
        return EG_MEMORY;
    level.count = value_count(message);
    range_put(&w->coder, &w->model->more, true);
    put_number(w, &w->model->kind, kind);
    range_put(&w->coder, &p->wide[0], is_wide(message));
    put_number(w, &p->count[0], level.count);
    put_elements(w, p, &level, &it, 1);
    w->messages_bytes += message.size_bytes;
    w->count++;
    return EG_OK;
}

eg_err packet_end(struct packet_writer *w, struct buffer *out) {
    struct range_writer *c = &w->coder;
    struct value_writer all;
    size_t most_bytes;
    uint8_t *room;

    EG_ASSERT(w->count != 0);
    w->coded.size_bytes = c->size_bytes;
    if (buffer_room(&w->coded, MESSAGE_CODED_BYTES + c->held_count) == NULL)
        return EG_MEMORY;
    c->at = w->coded.at;
    most_bytes = PACKET_HEAD_BYTES_MAX + c->size_bytes + MESSAGE_CODED_BYTES + c->held_count +
                 w->raw.size_bytes;
    room = buffer_room(out, most_bytes);
    if (room == NULL)
        return EG_MEMORY;
    range_put(c, &w->model->more, false);
    range_writer_end(c);
    all = value_writer_init(room, most_bytes);
    value_put_array(&all, PACKET_FIELDS);
    value_put_u64(&all, w->messages_bytes);
    value_put_binary(&all, c->at, c->size_bytes);
    value_put_binary(&all, w->raw.at, w->raw.size_bytes);
    EG_ASSERT(!all.overflow);
    out->size_bytes += all.need_bytes;
    packet_writer_fini(w);
    return EG_OK;
}
