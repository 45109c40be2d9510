/* packet.c -- messages of copies, put together in few bytes and taken apart. */
#include "replication/packet.h"

#include <string.h>

enum {
    KINDS = 32,
    KNOWN_BITS = 4,
    LENGTH_BITS = 6,
    STAMP_BITS = 16, /* of a stamp, below its milliseconds */
    DEEPEST = 3,     /* arrays there are copied */
    /* Where a value stands in its message: itself; its elements; theirs; and theirs, for pairs (of
     * a clock) apart for the first three. */
    PLACE_FIRST = 1,
    PLACE_SECOND = PLACE_FIRST + 16,
    PLACE_THIRD = PLACE_SECOND + 3,
    PLACES = PLACE_THIRD + 4 * 8,
    VALUE_CODED_BYTES = 28, /* at most */
    MESSAGE_CODED_BYTES = 32,
    WIDE = 0xdd,
    PACKET_FIELDS = 3,
};

#define KNOWN_LEAST UINT64_C(32) /* shorter ones are told as quickly */
#define LONG_LEAST  (UINT64_C(1) << 24)

enum shape { SHAPE_NUMBER, SHAPE_ARRAY, SHAPE_WORD, SHAPE_RAW };

/* What is known of the numbers in one place. */
struct number {
    uint64_t last;
    range_chance differs, known, is_long, less, stamped;
    range_chance which[1 << KNOWN_BITS], length[1 << LENGTH_BITS];
};

struct place {
    struct number number;
    range_chance shape[4], word[4];
};

/* Of one kind of message. */
struct places {
    struct place at[PLACES];
    struct number count[PLACE_THIRD];
    range_chance wide[PLACE_THIRD];
};

struct packet_model {
    struct places *of[KINDS];
    struct number kind;
    range_chance more;
    uint64_t known[2][1 << KNOWN_BITS]; /* short ones, long ones: the last one first */
};

bool packet_is(struct value payload) {
    return value_kind_of(payload) == VALUE_ARRAY && value_count(payload) == PACKET_FIELDS;
}

/* ---- the model ------------------------------------------------------------------------------- */

static void even(range_chance *chance, size_t count) {
    for (size_t i = 0; i < count; i++)
        chance[i] = RANGE_EVEN;
}

static void number_init(struct number *n) {
    n->last = 0;
    n->differs = n->known = n->is_long = n->less = n->stamped = RANGE_EVEN;
    even(n->which, 1 << KNOWN_BITS);
    even(n->length, 1 << LENGTH_BITS);
}

static struct packet_model *model_open(struct alloc *a) {
    struct packet_model *m = alloc_zero(a, sizeof *m);

    if (m == NULL)
        return NULL;
    m->more = RANGE_EVEN;
    number_init(&m->kind);
    return m;
}

static void model_close(struct alloc *a, struct packet_model *m) {
    for (int i = 0; m != NULL && i < KINDS; i++)
        if (m->of[i] != NULL)
            alloc_put(a, m->of[i], sizeof *m->of[i]);
    if (m != NULL)
        alloc_put(a, m, sizeof *m);
}

/* NULL: no memory. */
static struct places *places_of(struct alloc *a, struct packet_model *m, uint32_t kind) {
    struct places *p = m->of[kind];

    if (p != NULL)
        return p;
    p = m->of[kind] = alloc_get(a, sizeof *p);
    if (p == NULL)
        return NULL;
    for (int i = 0; i < PLACES; i++) {
        number_init(&p->at[i].number);
        even(p->at[i].shape, 4);
        even(p->at[i].word, 4);
    }
    for (int i = 0; i < PLACE_THIRD; i++)
        number_init(&p->count[i]);
    even(p->wide, PLACE_THIRD);
    return p;
}

static uint64_t *known_like(struct packet_model *m, uint64_t n) {
    return m->known[n >= LONG_LEAST];
}

/* Which of the known it is; 1 << KNOWN_BITS: none. */
static uint32_t find_known(const uint64_t *known, uint64_t n) {
    uint32_t i = 0;

    while (i < 1u << KNOWN_BITS && known[i] != n)
        i++;
    return i;
}

static void remember(struct packet_model *m, struct number *at, uint64_t n) {
    uint64_t *known = known_like(m, n);
    uint32_t found;

    at->last = n;
    if (n < KNOWN_LEAST || known[0] == n)
        return;
    found = EG_MIN(find_known(known, n), (1u << KNOWN_BITS) - 1);
    memmove(known + 1, known, found * sizeof *known);
    known[0] = n;
}

/* An array that is being walked. */
struct level {
    int depth;
    uint32_t index, count; /* of its elements; and where it is itself */
};

/* The place of an element of `in`. */
static uint32_t place_in(const struct level *in, uint32_t index) {
    if (in->depth == 0)
        return PLACE_FIRST + EG_MIN(index, 15u);
    if (in->depth == 1)
        return PLACE_SECOND + index % 3;
    return PLACE_THIRD + (in->count == 2 ? 8 * (1 + EG_MIN(in->index, 2u)) : 0) + EG_MIN(index, 7u);
}

static unsigned bits_of(uint64_t n) {
    unsigned bits = 0;

    for (; n != 0; n >>= 1)
        bits++;
    return bits;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* By how much it differs from the last there; stamps of a node's clock by whole milliseconds. */
static void put_distance(struct range_writer *c, struct number *at, uint64_t n) {
    uint64_t distance = n < at->last ? at->last - n : n - at->last;
    bool stamped = distance % (UINT64_C(1) << STAMP_BITS) == 0;
    unsigned bits;

    range_put(c, &at->less, n < at->last);
    range_put(c, &at->stamped, stamped);
    distance >>= stamped ? STAMP_BITS : 0;
    bits = bits_of(distance);
    range_put_tree(c, at->length, LENGTH_BITS, bits - 1);
    range_put_even(c, distance, bits - 1);
}

static void put_number(struct packet_writer *w, struct number *at, uint64_t n) {
    struct range_writer *c = &w->coder;
    uint32_t known = n < KNOWN_LEAST ? 1u << KNOWN_BITS : find_known(known_like(w->model, n), n);

    range_put(c, &at->differs, n != at->last);
    if (n != at->last) {
        range_put(c, &at->known, known < 1u << KNOWN_BITS);
        if (known < 1u << KNOWN_BITS) {
            range_put(c, &at->is_long, n >= LONG_LEAST);
            range_put_tree(c, at->which, KNOWN_BITS, known);
        } else {
            put_distance(c, at, n);
        }
    }
    remember(w->model, at, n);
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
    return array.at[0] == WIDE;
}

/* Is it an array that is taken apart?  Its head is the shortest, or the widest. */
static bool is_array(struct value v, int depth) {
    return depth < DEEPEST && value_kind_of(v) == VALUE_ARRAY &&
           (is_wide(v) || v.at[0] < 0xdc || value_count(v) > 15);
}

static enum shape shape_of(struct value v, int depth, uint64_t *n) {
    if (is_number(v, n))
        return SHAPE_NUMBER;
    if (is_array(v, depth))
        return SHAPE_ARRAY;
    return v.size_bytes == 1 && v.at[0] >= 0xc0 && v.at[0] <= 0xc3 ? SHAPE_WORD : SHAPE_RAW;
}

static void put_value(struct packet_writer *w, struct places *p, const struct level *in,
                      uint32_t index, struct value v);

static void put_elements(struct packet_writer *w, struct places *p, const struct level *in,
                         struct value_iter *it, uint32_t index) {
    struct value v;

    for (; value_iter_next(it, &v); index++)
        put_value(w, p, in, index, v);
}

static void put_value(struct packet_writer *w, struct places *p, const struct level *in,
                      uint32_t index, struct value v) {
    uint32_t at = place_in(in, index);
    struct place *place = &p->at[at];
    struct level level = {in->depth + 1, index, 0};
    struct value_iter it;
    uint64_t n;
    enum shape shape = shape_of(v, level.depth, &n);

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

void packet_writer_init(struct packet_writer *w, struct alloc *a) {
    *w = (struct packet_writer){.alloc = a};
    buffer_init(&w->coded, a, SIZE_MAX / 2);
    buffer_init(&w->raw, a, PACKET_BYTES_MAX);
}

void packet_writer_fini(struct packet_writer *w) {
    model_close(w->alloc, w->model);
    buffer_fini(&w->coded);
    buffer_fini(&w->raw);
    packet_writer_init(w, w->alloc);
}

/* Room for one more; NULL: no memory. */
static struct places *make_room(struct packet_writer *w, uint32_t kind, struct value message) {
    size_t coded_bytes =
        (size_t) VALUE_CODED_BYTES * count_values(message, 0) + MESSAGE_CODED_BYTES;

    if (w->model == NULL) {
        w->model = model_open(w->alloc);
        range_writer_init(&w->coder);
    }
    w->coded.size_bytes = w->coder.size_bytes;
    if (w->model == NULL || buffer_room(&w->coded, coded_bytes + w->coder.held_count) == NULL ||
        buffer_room(&w->raw, message.size_bytes) == NULL)
        return NULL;
    w->coder.at = w->coded.at;
    return places_of(w->alloc, w->model, kind);
}

eg_err packet_put(struct packet_writer *w, struct value message) {
    struct level level = {0};
    struct value_iter it;
    struct places *p;
    uint64_t kind;

    if (!is_array(message, 0) || message.size_bytes > PACKET_MESSAGE_BYTES_MAX)
        return EG_BAD_REQUEST;
    it = value_iter_of(message);
    if (it.left == 0 || it.at[0] >= KINDS || !value_iter_u64(&it, &kind))
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

/* ---- reading --------------------------------------------------------------------------------- */

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

static uint64_t get_distant(struct range_reader *c, struct number *at) {
    bool less = range_get(c, &at->less), stamped = range_get(c, &at->stamped);
    unsigned bits = range_get_tree(c, at->length, LENGTH_BITS);
    uint64_t distance = UINT64_C(1) << bits | range_get_even(c, bits);

    distance <<= stamped ? STAMP_BITS : 0;
    return less ? at->last - distance : at->last + distance;
}

static uint64_t get_number(struct packet_reader *r, struct number *at) {
    struct range_reader *c = &r->coder;
    uint64_t n = at->last;

    if (range_get(c, &at->differs)) {
        if (range_get(c, &at->known)) {
            bool is_long = range_get(c, &at->is_long);

            n = r->model->known[is_long][range_get_tree(c, at->which, KNOWN_BITS)];
        } else {
            n = get_distant(c, at);
        }
    }
    remember(r->model, at, n);
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
static uint32_t get_array(struct packet_reader *r, struct places *p, uint32_t at) {
    bool wide = range_get(&r->coder, &p->wide[at]);
    uint64_t count = get_number(r, &p->count[at]);
    uint8_t head[5] = {WIDE, (uint8_t) (count >> 24), (uint8_t) (count >> 16),
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
static void get_value(struct packet_reader *r, struct places *p, const struct level *in,
                      uint32_t index) {
    uint32_t at = place_in(in, index);
    struct place *place = &p->at[at];
    struct level level = {in->depth + 1, index, 0};
    enum shape shape = (enum shape) range_get_tree(&r->coder, place->shape, 2);
    uint8_t word;

    if (shape == SHAPE_ARRAY && level.depth >= DEEPEST)
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
    struct places *p = kind < KINDS ? places_of(r->alloc, r->model, (uint32_t) kind) : NULL;
    struct level level = {0};
    size_t used_bytes;

    if (p == NULL) {
        fail(r, kind < KINDS ? EG_MEMORY : EG_BAD_REQUEST);
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
    r.model = model_open(a);
    if (room == NULL || r.model == NULL) {
        model_close(a, r.model);
        return EG_MEMORY;
    }
    r.raw_bytes = raw_bytes;
    r.out = value_writer_init(room, messages_bytes);
    range_reader_init(&r.coder, coded, coded_bytes);
    get_messages(&r);
    model_close(a, r.model);
    if (r.err == EG_OK)
        out->size_bytes += messages_bytes;
    return r.err;
}
