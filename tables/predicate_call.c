/* predicate_call.c -- what the calls of a program do with their operands.
 *
 * A call takes slots and yields one.  Where it has no value it says false, and the machine
 * makes of that what the place asks for: a guard fails, a body has "EXIT".  Text's calls
 * have a value always; nil where SQL says unknown.
 *
 * What is made on the way (a tail, an array, a part of a binary) goes to the machine's
 * scratch, which may move: so sizes are found first, room is taken, and only then are the
 * operands' bytes looked up and copied. */
#include "tables/predicate_private.h"

#include <string.h>

const uint8_t predicate_nil[1] = {0xc0};
const uint8_t predicate_false[1] = {0xc2};
const uint8_t predicate_true[1] = {0xc3};

/* ---- slots ------------------------------------------------------------------- */

const uint8_t *slot_bytes(const struct run *r, const struct slot *s,
                          uint8_t room[SLOT_ROOM_BYTES]) {
    struct value_writer w;

    if (s->form == SLOT_AT)
        return s->at;
    if (s->form == SLOT_MADE)
        return r->m->scratch.at + s->offset;
    w = value_writer_init(room, SLOT_ROOM_BYTES);
    if (s->form == SLOT_UNSIGNED)
        value_put_u64(&w, s->u);
    else if (s->form == SLOT_NEGATIVE)
        value_put_i64(&w, s->i);
    else
        value_put_double(&w, s->d);
    return room;
}

bool slot_number(const struct run *r, const struct slot *s, struct value_number *out) {
    const uint8_t *at;

    switch (s->form) {
    case SLOT_UNSIGNED:
        *out = (struct value_number){.form = NUMBER_UNSIGNED, .u = s->u};
        return true;
    case SLOT_NEGATIVE:
        *out = (struct value_number){.form = NUMBER_NEGATIVE, .i = s->i};
        return true;
    case SLOT_FLOAT:
        *out = (struct value_number){.form = NUMBER_FLOAT, .d = s->d};
        return true;
    default:
        at = s->form == SLOT_AT ? s->at : r->m->scratch.at + s->offset;
        if (value_kinds[*at] != VALUE_NUMBER)
            return false;
        *out = value_number_of(at);
        return true;
    }
}

static uint8_t slot_kind(const struct run *r, const struct slot *s) {
    uint8_t room[SLOT_ROOM_BYTES];

    return value_kinds[*slot_bytes(r, s, room)];
}

eg_err buffer_refusal(const struct buffer *b, size_t size_bytes) {
    return size_bytes > b->bound_bytes || b->size_bytes > b->bound_bytes - size_bytes ? EG_TOO_LARGE
                                                                                      : EG_MEMORY;
}

uint8_t *run_room(struct run *r, size_t size_bytes) {
    uint8_t *room = buffer_room(&r->m->scratch, size_bytes);

    if (room == NULL)
        r->err = buffer_refusal(&r->m->scratch, size_bytes);
    return room;
}

static struct slot slot_made(struct run *r, size_t size_bytes) {
    struct slot s = {.form = SLOT_MADE, .offset = r->m->scratch.size_bytes};

    r->m->scratch.size_bytes += size_bytes;
    return s;
}

/* ---- order and sameness --------------------------------------------------------- */

/* Values of up to 32 bytes are not counted; those inside of others cost more than their bytes,
 * and the pairs of maps have to be brought in order first. */
static bool works_on(struct run *r, const uint8_t *at) {
    uint8_t lead = value_leads[*at];
    uint32_t bytes;

    if (lead < LEAD_NEVER)
        return true;
    if (lead < LEAD_CONTAINER) {
        value_bytes_of(at, &bytes);
        return run_works(r, bytes);
    }
    return run_works(r, (uint64_t) (value_skip(at) - at) * (lead >= LEAD_MAP4 ? 16 : 4));
}

int slots_order(struct run *r, const struct slot *x, const struct slot *y) {
    uint8_t x_room[SLOT_ROOM_BYTES];
    uint8_t y_room[SLOT_ROOM_BYTES];
    const uint8_t *a = slot_bytes(r, x, x_room);
    const uint8_t *b = slot_bytes(r, y, y_room);

    if (!works_on(r, a))
        return 0;
    return value_compare_at(&a, &b, false);
}

static bool same_at(struct run *r, const uint8_t **a, const uint8_t **b);

/* Equal pairs may lie in another order: search each of the one's keys in the other, from
 * where the last was found.  Linear where the orders agree. */
static bool same_maps(struct run *r, const uint8_t **a, const uint8_t **b) {
    enum { TRY_BYTES = 16 };
    uint32_t pairs = head_of(*a).children / 2;
    const uint8_t *first = *b + head_of(*b).own_bytes;
    const uint8_t *y = first;
    uint32_t y_index = 0;

    if (pairs != head_of(*b).children / 2)
        return false;
    *a += head_of(*a).own_bytes;
    for (uint32_t i = 0; i < pairs; i++) {
        bool found = false;
        for (uint32_t tried = 0; tried < pairs && !found; tried++) {
            const uint8_t *key = *a;
            const uint8_t *other = y;
            if (!run_works(r, TRY_BYTES) || !works_on(r, key))
                return false;
            found = same_at(r, &key, &other);
            if (found && !same_at(r, &key, &other))
                return false;
            y = value_skip(value_skip(y));
            if (++y_index == pairs) {
                y_index = 0;
                y = first;
            }
        }
        if (!found)
            return false;
        *a = value_skip(value_skip(*a));
    }
    *b = value_skip(*b);
    return true;
}

/* Where they are the same, both are moved behind. */
static bool same_at(struct run *r, const uint8_t **a, const uint8_t **b) {
    uint8_t kind = value_kinds[**a];
    uint32_t children;

    if (kind != value_kinds[**b])
        return false;
    if (kind == VALUE_NUMBER) {
        struct value_number x = value_number_of(*a);
        struct value_number y = value_number_of(*b);
        if ((x.form == NUMBER_FLOAT) != (y.form == NUMBER_FLOAT))
            return false;
    }
    if (kind == VALUE_MAP)
        return same_maps(r, a, b);
    if (kind != VALUE_ARRAY)
        return value_compare_at(a, b, false) == 0;
    children = head_of(*a).children;
    if (children != head_of(*b).children)
        return false;
    *a += head_of(*a).own_bytes;
    *b += head_of(*b).own_bytes;
    while (children-- > 0)
        if (!same_at(r, a, b))
            return false;
    return true;
}

static bool slots_same(struct run *r, const struct slot *x, const struct slot *y) {
    uint8_t x_room[SLOT_ROOM_BYTES];
    uint8_t y_room[SLOT_ROOM_BYTES];
    const uint8_t *a = slot_bytes(r, x, x_room);
    const uint8_t *b = slot_bytes(r, y, y_room);

    return works_on(r, a) && same_at(r, &a, &b);
}

/* ---- one operand ------------------------------------------------------------------ */

static bool tail(struct run *r, const struct slot *x, struct slot *out) {
    struct value_head head;
    struct value_writer w;
    const uint8_t *first;
    uint32_t at_bytes;
    uint8_t unused[SLOT_ROOM_BYTES];
    uint8_t *room;
    size_t rest_bytes;

    head = head_of(slot_bytes(r, x, unused));
    if (head.children == 0)
        return false;
    first = value_skip(slot_bytes(r, x, unused) + head.own_bytes);
    at_bytes = (uint32_t) (first - slot_bytes(r, x, unused));
    rest_bytes = (size_t) (value_skip(slot_bytes(r, x, unused)) - first);
    room = run_room(r, 5 + rest_bytes);
    if (room == NULL)
        return false;
    w = value_writer_init(room, 5 + rest_bytes);
    value_put_array(&w, head.children - 1);
    memcpy(w.at, slot_bytes(r, x, unused) + at_bytes, rest_bytes);
    *out = slot_made(r, w.need_bytes + rest_bytes);
    return true;
}

/* An element that lies inside of x: beside it, in the record or in the scratch. */
static struct slot slot_inside(const struct run *r, const struct slot *x, const uint8_t *at) {
    if (x->form == SLOT_MADE)
        return (struct slot){.form = SLOT_MADE, .offset = (size_t) (at - r->m->scratch.at)};
    return slot_at(at);
}

static bool size_of(unsigned op, const uint8_t *at, struct slot *out) {
    uint8_t kind = value_kinds[*at];
    uint32_t bytes;

    if (kind == VALUE_ARRAY && (op == EXPR_SIZE || op == EXPR_LENGTH)) {
        *out = slot_unsigned(head_of(at).children);
        return true;
    }
    if (kind == VALUE_MAP && op == EXPR_MAP_SIZE) {
        *out = slot_unsigned(head_of(at).children / 2);
        return true;
    }
    if ((kind == VALUE_STRING || kind == VALUE_BINARY) &&
        (op == EXPR_SIZE || op == EXPR_BYTE_SIZE)) {
        value_bytes_of(at, &bytes);
        *out = slot_unsigned(bytes);
        return true;
    }
    return false;
}

static bool is_kind(unsigned op, const uint8_t *at) {
    uint8_t kind = value_kinds[*at];

    switch (op) {
    case EXPR_IS_NIL:
    case EXPR_SQL_IS_NULL:
        return kind == VALUE_NIL;
    case EXPR_IS_BOOLEAN:
        return kind == VALUE_FALSE || kind == VALUE_TRUE;
    case EXPR_IS_NUMBER:
        return kind == VALUE_NUMBER;
    case EXPR_IS_INTEGER:
        return kind == VALUE_NUMBER && *at != 0xca && *at != 0xcb;
    case EXPR_IS_FLOAT:
        return *at == 0xca || *at == 0xcb;
    case EXPR_IS_STRING:
        return kind == VALUE_STRING;
    case EXPR_IS_BINARY:
        return kind == VALUE_BINARY;
    case EXPR_IS_LIST:
        return kind == VALUE_ARRAY;
    default: /* EXPR_IS_MAP */
        return kind == VALUE_MAP;
    }
}

/* What is true, false or unknown in text: 1, 0, -1. */
static int sql_truth(const struct run *r, const struct slot *x) {
    struct value_number n;
    uint8_t kind;

    if (slot_number(r, x, &n))
        return n.form == NUMBER_FLOAT ? n.d != 0 : n.u != 0;
    kind = slot_kind(r, x);
    return kind == VALUE_NIL ? -1 : kind == VALUE_TRUE;
}

static struct slot slot_truth(int truth) {
    return truth < 0 ? slot_at(predicate_nil) : slot_bool(truth == 1);
}

static bool unary_number(struct run *r, unsigned op, const struct slot *x, struct slot *out) {
    struct value_number n;
    bool ok = slot_number(r, x, &n) && math_unary(op, n, &n);

    *out = ok ? slot_of_number(n) : slot_at(predicate_nil);
    return ok || op == EXPR_SQL_NEGATE;
}

bool call_unary(struct run *r, unsigned op, const struct slot *x, struct slot *out) {
    uint8_t room[SLOT_ROOM_BYTES];
    const uint8_t *at = slot_bytes(r, x, room);
    int truth;

    switch (op) {
    case EXPR_NOT:
        *out = slot_bool(*at == 0xc2);
        return *at == 0xc2 || *at == 0xc3;
    case EXPR_SQL_NOT:
        truth = sql_truth(r, x);
        *out = slot_truth(truth < 0 ? -1 : !truth);
        return true;
    case EXPR_IS_NIL:
    case EXPR_IS_BOOLEAN:
    case EXPR_IS_NUMBER:
    case EXPR_IS_INTEGER:
    case EXPR_IS_FLOAT:
    case EXPR_IS_STRING:
    case EXPR_IS_BINARY:
    case EXPR_IS_LIST:
    case EXPR_IS_MAP:
    case EXPR_SQL_IS_NULL:
        *out = slot_bool(is_kind(op, at));
        return true;
    case EXPR_SIZE:
    case EXPR_LENGTH:
    case EXPR_BYTE_SIZE:
    case EXPR_MAP_SIZE:
        return size_of(op, at, out);
    case EXPR_HD:
        if (value_kinds[*at] != VALUE_ARRAY || head_of(at).children == 0)
            return false;
        *out = slot_inside(r, x, at + head_of(at).own_bytes);
        return true;
    case EXPR_TL:
        return value_kinds[*at] == VALUE_ARRAY && tail(r, x, out);
    default:
        return unary_number(r, op, x, out);
    }
}

/* ---- two operands ------------------------------------------------------------------ */

static bool find_key(struct run *r, const uint8_t *map, const uint8_t *key, const uint8_t **out) {
    uint32_t pairs = head_of(map).children / 2;
    const uint8_t *at = map + head_of(map).own_bytes;

    for (uint32_t i = 0; i < pairs; i++) {
        const uint8_t *a = at;
        const uint8_t *b = key;
        int order = value_compare_at(&a, &b, false);
        at = value_skip(at);
        if (order == 0) {
            *out = at;
            return run_works(r, (uint64_t) (at - map));
        }
        at = value_skip(at);
    }
    return run_works(r, (uint64_t) (at - map)) && false;
}

/* The element at `index` from 0 of the array at `array`. */
static bool find_element(struct run *r, const uint8_t *array, uint64_t index, const uint8_t **out) {
    struct value_head head = head_of(array);
    const uint8_t *at = array + head.own_bytes;

    if (index >= head.children)
        return false;
    while (index-- > 0)
        at = value_skip(at);
    *out = at;
    return run_works(r, (uint64_t) (at - array));
}

static bool element(struct run *r, const struct slot *x, const struct slot *y, struct slot *out) {
    uint8_t room[SLOT_ROOM_BYTES];
    const uint8_t *at = slot_bytes(r, y, room);
    struct value_number n;

    if (value_kinds[*at] != VALUE_ARRAY || !slot_number(r, x, &n) || n.form != NUMBER_UNSIGNED ||
        n.u == 0 || !find_element(r, at, n.u - 1, &at))
        return false;
    *out = slot_inside(r, y, at);
    return true;
}

static bool map_call(struct run *r, unsigned op, const struct slot *x, const struct slot *y,
                     struct slot *out) {
    uint8_t x_room[SLOT_ROOM_BYTES];
    uint8_t y_room[SLOT_ROOM_BYTES];
    const uint8_t *key = slot_bytes(r, x, x_room);
    const uint8_t *map = slot_bytes(r, y, y_room);
    const uint8_t *at = NULL;
    bool found;

    if (value_kinds[*map] != VALUE_MAP)
        return false;
    found = find_key(r, map, key, &at);
    if (op == EXPR_MAP_GET && found)
        *out = slot_inside(r, y, at);
    else
        *out = slot_bool(found);
    return (found || op == EXPR_IS_MAP_KEY) && r->err == EG_OK;
}

bool call_path(const uint8_t **at, struct run *r, const struct slot *path, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint8_t room[SLOT_ROOM_BYTES];
        uint8_t kind = value_kinds[**at];
        if (kind == VALUE_MAP) {
            if (!find_key(r, *at, slot_bytes(r, &path[i], room), at))
                return false;
        } else if (kind != VALUE_ARRAY || path[i].form != SLOT_UNSIGNED ||
                   !find_element(r, *at, path[i].u, at)) {
            return false;
        }
    }
    return true;
}

static bool logic(unsigned op, const uint8_t *x, const uint8_t *y, struct slot *out) {
    bool a = *x == 0xc3;
    bool b = *y == 0xc3;

    *out = slot_bool(op == EXPR_AND ? a && b : op == EXPR_OR ? a || b : a != b);
    return (*x & 0xfe) == 0xc2 && (*y & 0xfe) == 0xc2; /* c2 false, c3 true */
}

static struct slot sql_logic(struct run *r, unsigned op, const struct slot *x,
                             const struct slot *y) {
    int a = sql_truth(r, x);
    int b = sql_truth(r, y);
    int deciding = op == EXPR_SQL_OR;

    if (a == deciding || b == deciding)
        return slot_bool(deciding);
    return slot_truth(a < 0 || b < 0 ? -1 : !deciding);
}

static struct slot like(struct run *r, const struct slot *x, const struct slot *y) {
    uint8_t x_room[SLOT_ROOM_BYTES];
    uint8_t y_room[SLOT_ROOM_BYTES];
    const uint8_t *text = slot_bytes(r, x, x_room);
    const uint8_t *pattern = slot_bytes(r, y, y_room);
    uint32_t text_bytes;
    uint32_t pattern_bytes;
    bool found;

    if (*text == 0xc0 || *pattern == 0xc0)
        return slot_at(predicate_nil);
    if (value_kinds[*text] != VALUE_STRING || value_kinds[*pattern] != VALUE_STRING)
        return slot_bool(false);
    text = value_bytes_of(text, &text_bytes);
    pattern = value_bytes_of(pattern, &pattern_bytes);
    if (!run_works(r, (uint64_t) text_bytes + pattern_bytes))
        return slot_bool(false);
    found = text_is_like(text, text_bytes, pattern, pattern_bytes, &r->work_left);
    if (r->work_left == 0)
        r->err = EG_TOO_LARGE;
    return slot_bool(found);
}

static bool order_holds(unsigned op, int order) {
    return (predicate_order_bits(op) & order_bit(order)) != 0;
}

static bool binary_number(struct run *r, unsigned op, const struct slot *x, const struct slot *y,
                          struct slot *out) {
    struct value_number a;
    struct value_number b;
    bool ok = slot_number(r, x, &a) && slot_number(r, y, &b) && math_binary(op, a, b, &a);

    *out = ok ? slot_of_number(a) : slot_at(predicate_nil);
    return ok || op >= EXPR_SQL_AND;
}

bool call_binary(struct run *r, unsigned op, const struct slot *x, const struct slot *y,
                 struct slot *out) {
    uint8_t x_room[SLOT_ROOM_BYTES];
    uint8_t y_room[SLOT_ROOM_BYTES];

    switch (op) {
    case EXPR_AND:
    case EXPR_OR:
    case EXPR_XOR:
        return logic(op, slot_bytes(r, x, x_room), slot_bytes(r, y, y_room), out);
    case EXPR_SQL_AND:
    case EXPR_SQL_OR:
        *out = sql_logic(r, op, x, y);
        return true;
    case EXPR_EQ:
    case EXPR_NE:
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_GT:
    case EXPR_GE:
        *out = slot_bool(order_holds(op, slots_order(r, x, y)));
        return true;
    case EXPR_SQL_EQ:
    case EXPR_SQL_NE:
    case EXPR_SQL_LT:
    case EXPR_SQL_LE:
    case EXPR_SQL_GT:
    case EXPR_SQL_GE:
        if (slot_kind(r, x) == VALUE_NIL || slot_kind(r, y) == VALUE_NIL)
            *out = slot_at(predicate_nil);
        else
            *out = slot_bool(order_holds(op, slots_order(r, x, y)));
        return true;
    case EXPR_SAME:
    case EXPR_NOT_SAME:
        *out = slot_bool(slots_same(r, x, y) == (op == EXPR_SAME));
        return r->err == EG_OK;
    case EXPR_MIN:
    case EXPR_MAX:
        *out = slots_order(r, x, y) * (op == EXPR_MIN ? 1 : -1) <= 0 ? *x : *y;
        return true;
    case EXPR_ELEMENT:
        return element(r, x, y, out);
    case EXPR_MAP_GET:
    case EXPR_IS_MAP_KEY:
        return map_call(r, op, x, y, out);
    case EXPR_SQL_IN_LIST:
        *out = list_holds(r, x, y);
        return true;
    case EXPR_SQL_LIKE:
        *out = like(r, x, y);
        return true;
    default:
        return binary_number(r, op, x, y, out);
    }
}

/* ---- many ------------------------------------------------------------------------------ */

static bool construct(struct run *r, unsigned op, const struct slot *x, uint32_t count,
                      struct slot *out) {
    uint8_t number[SLOT_ROOM_BYTES];
    size_t size_bytes = 5;
    struct value_writer w;
    uint8_t *room;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t one_bytes = value_of(slot_bytes(r, &x[i], number)).size_bytes;
        size_bytes += one_bytes;
        if (!run_works(r, one_bytes))
            return false;
    }
    room = run_room(r, size_bytes);
    if (room == NULL)
        return false;
    w = value_writer_init(room, size_bytes);
    if (op == EXPR_ARRAY)
        value_put_array(&w, count);
    else
        value_put_map(&w, count / 2);
    for (uint32_t i = 0; i < count; i++)
        value_put_raw(&w, value_of(slot_bytes(r, &x[i], number)));
    *out = slot_made(r, w.need_bytes);
    return true;
}

static struct slot sql_in(struct run *r, const struct slot *x, uint32_t count) {
    bool unknown = count > 1 && slot_kind(r, &x[0]) == VALUE_NIL;

    for (uint32_t i = 1; i < count && !(i == 1 && unknown); i++) {
        if (slot_kind(r, &x[i]) == VALUE_NIL)
            unknown = true;
        else if (slots_order(r, &x[0], &x[i]) == 0)
            return slot_bool(true);
    }
    return unknown ? slot_at(predicate_nil) : slot_bool(false);
}

/* x[0] the whole, x[1] where from 0, x[2] how many bytes: backwards where negative. */
static bool binary_part(struct run *r, const struct slot *x, struct slot *out) {
    uint8_t unused[SLOT_ROOM_BYTES];
    const uint8_t *at = slot_bytes(r, &x[0], unused);
    uint8_t kind = value_kinds[*at];
    struct value_number start;
    struct value_number length;
    struct value_writer w;
    uint32_t bytes;
    uint64_t from;
    uint64_t many;
    uint8_t *room;

    if ((kind != VALUE_STRING && kind != VALUE_BINARY) || !slot_number(r, &x[1], &start) ||
        !slot_number(r, &x[2], &length) || start.form != NUMBER_UNSIGNED ||
        length.form == NUMBER_FLOAT)
        return false;
    value_bytes_of(at, &bytes);
    from = start.u;
    many = length.u;
    if (length.form == NUMBER_NEGATIVE) {
        many = 0 - length.u;
        if (many > from)
            return false;
        from -= many;
    }
    if (from > bytes || many > bytes - from)
        return false;
    room = run_room(r, 5 + many);
    if (room == NULL)
        return false;
    at = value_bytes_of(slot_bytes(r, &x[0], unused), &bytes); /* the scratch has moved */
    w = value_writer_init(room, 5 + many);
    if (kind == VALUE_STRING)
        value_put_string(&w, (const char *) at + from, many);
    else
        value_put_binary(&w, at + from, many);
    *out = slot_made(r, w.need_bytes);
    return true;
}

bool call_stack(struct run *r, unsigned op, const struct slot *x, uint32_t count,
                struct slot *out) {
    switch (op) {
    case EXPR_SQL_IN:
        *out = sql_in(r, x, count);
        return true;
    case EXPR_BINARY_PART:
        return binary_part(r, x, out);
    default:
        return construct(r, op, x, count, out);
    }
}
