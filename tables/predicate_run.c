/* predicate_run.c -- the machine: one pass over a program, one pass over the record.
 *
 * Fields are found as they are asked for, in one forward walk that all clauses share.
 * Comparisons are what most questions consist of, so they are done here, integers without
 * a detour; all other calls are in predicate_call.c.
 *
 * The machine believes what predicate_verify() has checked: it looks for no end of the
 * stack and at no number of an operand. */
#include "tables/predicate_private.h"

#include <string.h>

enum {
    SCRATCH_BYTES_MAX = 64 << 20,
    /* What calls may look at for one record: a fixed part, and the record so many times. */
    WORK_BYTES_MAX = 32 << 20,
    WORK_RECORDS_MAX = 32,
};

static const uint8_t EXIT_VALUE[] = {0xa4, 'E', 'X', 'I', 'T'};

void predicate_machine_init(struct predicate_machine *m, struct alloc *a) {
    m->alloc = a;
    buffer_init(&m->scratch, a, SCRATCH_BYTES_MAX);
    buffer_init(&m->slots, a, SIZE_MAX / 2); /* a verified program bounds it */
}

void predicate_machine_fini(struct predicate_machine *m) {
    buffer_fini(&m->slots);
    buffer_fini(&m->scratch);
}

/* ---- operands -------------------------------------------------------------------- */

static inline const uint8_t *skip(const uint8_t *at) {
    uint8_t lead = value_leads[*at];

    return EG_LIKELY(lead < LEAD_NEVER) ? at + lead : value_skip(at);
}

static inline const uint8_t *field(struct run *r, uint32_t position) {
    uint32_t known = r->known;
    const uint8_t *at;

    if (position <= known)
        return r->place[position];
    at = r->place[known];
    do {
        at = skip(at);
        r->place[++known] = at;
    } while (known < position);
    r->known = known;
    return at;
}

static inline struct slot fetch(struct run *r, uint8_t from, uint32_t index) {
    switch (from) {
    case FROM_FIELD:
        return slot_at(field(r, index));
    case FROM_LITERAL:
        return r->p->literal[index];
    case FROM_INNER:
        return slot_at(r->place[index]);
    case FROM_STACK:
        return *--r->top;
    default:
        return slot_at(r->record.at);
    }
}

static inline const uint8_t *bytes_of(const struct run *r, const struct slot *s,
                                      uint8_t room[SLOT_ROOM_BYTES]) {
    return EG_LIKELY(s->form == SLOT_AT) ? s->at : slot_bytes(r, s, room);
}

/* ---- comparisons ------------------------------------------------------------------ */

/* The integer at `at`, where 63 bits and a sign hold it. */
static bool get_wide_integer(const uint8_t *at, int64_t *out) {
    switch (at[0]) {
    case 0xcc:
        *out = at[1];
        return true;
    case 0xcd:
        *out = load_be16(at + 1);
        return true;
    case 0xce:
        *out = load_be32(at + 1);
        return true;
    case 0xd0:
        *out = (int8_t) at[1];
        return true;
    case 0xd1:
        *out = (int16_t) load_be16(at + 1);
        return true;
    case 0xd2:
        *out = (int32_t) load_be32(at + 1);
        return true;
    case 0xcf:
    case 0xd3:
        *out = (int64_t) load_be64(at + 1);
        return at[0] == 0xd3 || *out >= 0;
    default:
        *out = (int8_t) at[0];
        return at[0] < 0x80 || at[0] >= 0xe0;
    }
}

static inline bool get_integer_at(const uint8_t *at, int64_t *out) {
    *out = at[0];
    return EG_LIKELY(at[0] < 0x80) || get_wide_integer(at, out);
}

static inline bool get_integer(const struct slot *s, int64_t *out) {
    if (s->form == SLOT_AT)
        return get_integer_at(s->at, out);
    *out = s->i;
    return slot_is_integer(s);
}

/* Strings of less than 32 bytes, as names are: false where one is not. */
static inline bool order_short_strings(const struct slot *x, const struct slot *y, int *order) {
    unsigned x_bytes;
    unsigned y_bytes;

    if (x->form != SLOT_AT || y->form != SLOT_AT || (x->at[0] & 0xe0) != 0xa0 ||
        (y->at[0] & 0xe0) != 0xa0)
        return false;
    x_bytes = x->at[0] & 0x1f;
    y_bytes = y->at[0] & 0x1f;
    *order = memcmp(x->at + 1, y->at + 1, EG_MIN(x_bytes, y_bytes));
    if (*order == 0)
        *order = (int) x_bytes - (int) y_bytes;
    return true;
}

static inline bool is_nil(const struct slot *s) {
    return s->form == SLOT_AT && *s->at == 0xc0;
}

/* Operands are taken from right to left. */
static inline void fetch_two(struct run *r, const struct code *c, struct slot *x, struct slot *y) {
    *y = fetch(r, c->y_from, c->y);
    *x = fetch(r, c->x_from, c->x);
}

static enum truth compare_slots(struct run *r, unsigned op, unsigned holds, const struct slot *x,
                                const struct slot *y) {
    int order;

    if (op >= EXPR_SQL_EQ && (is_nil(x) || is_nil(y)))
        return NOT_KNOWN;
    if (!order_short_strings(x, y, &order))
        order = slots_order(r, x, y);
    return (holds & order_bit(order)) != 0 ? YES : NO;
}

static inline enum truth compare(struct run *r, const struct code *c) {
    struct slot x;
    struct slot y;
    int64_t a;
    int64_t b;

    fetch_two(r, c, &x, &y);
    if (get_integer(&x, &a) && get_integer(&y, &b))
        return (c->holds & order_of_integers(a, b)) != 0 ? YES : NO;
    return compare_slots(r, c->op, c->holds, &x, &y);
}

static inline bool compare_field(struct run *r, const struct code *c) {
    const struct slot *literal = &r->p->literal[c->y];
    const uint8_t *at = field(r, c->x);
    struct slot x;
    int64_t n;

    if (EG_LIKELY(get_integer_at(at, &n)))
        return (c->holds & order_of_integers(n, literal->i)) != 0;
    x = slot_at(at);
    return compare_slots(r, c->count, c->holds, &x, literal) == YES;
}

/* ---- other steps ------------------------------------------------------------------- */

/* Sums of integers that 63 bits hold; all other arithmetic is in predicate_math.c. */
static inline bool add_integers(unsigned op, const struct slot *x, const struct slot *y,
                                struct slot *out) {
    bool add = op == EXPR_ADD || op == EXPR_SQL_ADD;
    int64_t a;
    int64_t b;

    if ((!add && op != EXPR_SUB && op != EXPR_SQL_SUB) || !get_integer(x, &a) ||
        !get_integer(y, &b) ||
        (add ? __builtin_add_overflow(a, b, &a) : __builtin_sub_overflow(a, b, &a)))
        return false;
    out->form = a < 0 ? SLOT_NEGATIVE : SLOT_UNSIGNED;
    out->i = a;
    return true;
}

static bool call(struct run *r, const struct code *c, struct slot *out) {
    struct slot x;
    struct slot y;

    switch (predicate_call_shape(c->op)) {
    case CALL_UNARY:
        x = fetch(r, c->x_from, c->x);
        return call_unary(r, c->op, &x, out);
    case CALL_BINARY:
        fetch_two(r, c, &x, &y);
        return add_integers(c->op, &x, &y, out) || call_binary(r, c->op, &x, &y, out);
    default:
        r->top -= c->count;
        return call_stack(r, c->op, r->top, c->count, out);
    }
}

static bool unpack(struct run *r, const struct code *c) {
    struct slot x = fetch(r, c->x_from, c->x);
    const uint8_t *at = x.at;
    struct value_head head;

    if (value_kinds[*at] != VALUE_ARRAY)
        return false;
    head = head_of(at);
    if (head.children != c->count)
        return false;
    at += head.own_bytes;
    for (uint32_t i = 0; i < c->count; i++) {
        r->place[c->y + i] = at;
        at = skip(at);
    }
    return run_works(r, (uint64_t) (at - x.at));
}

static struct slot path(struct run *r, const struct code *c) {
    struct slot x = fetch(r, c->x_from, c->x);
    const uint8_t *at = x.at;

    return slot_at(call_path(&at, r, &r->p->literal[c->y], c->count) ? at : predicate_nil);
}

static bool is_true(struct run *r, const struct code *c) {
    struct slot x = fetch(r, c->x_from, c->x);
    struct value_number n;

    if (c->op == CODE_TEST_SQL && slot_number(r, &x, &n))
        return n.form == NUMBER_FLOAT ? n.d != 0 : n.u != 0;
    return x.form == SLOT_AT && *x.at == 0xc3;
}

/* Where the jumping logic goes on.  False: its operand is no boolean. */
static bool jump(struct run *r, const struct code **c) {
    struct slot *top = r->top - 1;
    uint8_t lead = top->form == SLOT_AT ? *top->at : 0;
    uint8_t op = (*c)->op;
    bool on_true = op == CODE_ORELSE || op == CODE_SQL_SKIP_TRUE;
    bool strict = op == CODE_ANDALSO || op == CODE_ORELSE;
    const struct code *target = &r->p->code[(*c)->x] - 1;

    if (lead == (on_true ? 0xc3 : 0xc2)) {
        *c = target;
        return true;
    }
    if (strict && lead != (on_true ? 0xc2 : 0xc3)) {
        *c = target; /* a body has "EXIT" instead of all that */
        r->top--;
        return false;
    }
    if (strict)
        r->top--;
    return true;
}

/* ---- the result ------------------------------------------------------------------------ */

static bool append(struct run *r, struct buffer *out, const struct slot *x) {
    uint8_t room[SLOT_ROOM_BYTES];
    const uint8_t *at = bytes_of(r, x, room);
    size_t size_bytes = at == r->record.at ? r->record.size_bytes : (size_t) (skip(at) - at);

    if (EG_LIKELY(out->room_bytes - out->size_bytes >= size_bytes)) {
        memcpy(out->at + out->size_bytes, at, size_bytes);
        out->size_bytes += size_bytes;
        return true;
    }
    if (buffer_append(out, at, size_bytes))
        return true;
    r->err = buffer_refusal(out, size_bytes);
    return false;
}

static bool yield_array(struct run *r, struct buffer *out, uint32_t count) {
    struct value_writer w;
    uint8_t *room = buffer_room(out, 5);

    if (room == NULL) {
        r->err = buffer_refusal(out, 5);
        return false;
    }
    w = value_writer_init(room, 5);
    value_put_array(&w, count);
    out->size_bytes += w.need_bytes;
    r->top -= count;
    for (uint32_t i = 0; i < count; i++)
        if (!append(r, out, &r->top[i]))
            return false;
    return true;
}

static eg_err yield(struct run *r, const struct code *c, struct buffer *out) {
    size_t before_bytes;
    size_t used_bytes;
    struct slot x;
    bool ok;

    if (out == NULL || r->err != EG_OK)
        return r->err;
    before_bytes = out->size_bytes;
    if (c->op == CODE_YIELD) {
        x = fetch(r, c->x_from, c->x);
        ok = append(r, out, &x);
    } else {
        ok = yield_array(r, out, c->count);
    }
    if (ok && r->p->may_be_deep &&
        value_scan(out->at + before_bytes, out->size_bytes - before_bytes, &used_bytes) != EG_OK)
        r->err = EG_TOO_LARGE;
    if (r->err != EG_OK)
        out->size_bytes = before_bytes;
    return r->err;
}

/* ---- the loop ----------------------------------------------------------------------------- */

static eg_err execute(struct run *r, struct buffer *out, bool *matched) {
    const struct code *c = r->p->code;
    const struct code *fail = NULL; /* NULL: in a body */
    struct slot result;
    bool ok;
    enum truth truth;

    for (;; c++) {
        switch (c->op) {
        case CODE_FIELD_INTEGER:
            if (!compare_field(r, c))
                c = fail - 1;
            continue;
        case CODE_CLAUSE:
            fail = &r->p->code[c->x];
            r->top = r->bottom;
            continue;
        case EXPR_EQ:
        case EXPR_NE:
        case EXPR_LT:
        case EXPR_LE:
        case EXPR_GT:
        case EXPR_GE:
        case EXPR_SQL_EQ:
        case EXPR_SQL_NE:
        case EXPR_SQL_LT:
        case EXPR_SQL_LE:
        case EXPR_SQL_GT:
        case EXPR_SQL_GE:
            truth = compare(r, c);
            if (!c->tests)
                *r->top++ = truth == NOT_KNOWN ? slot_at(predicate_nil) : slot_bool(truth == YES);
            else if (truth != YES)
                c = fail - 1;
            continue;
        case CODE_UNPACK:
            if (!unpack(r, c))
                c = fail - 1;
            continue;
        case CODE_BODY:
            fail = NULL;
            continue;
        case CODE_PUSH:
            result = fetch(r, c->x_from, c->x);
            ok = true;
            break;
        case CODE_PATH:
            result = path(r, c);
            ok = true;
            break;
        case CODE_TEST:
        case CODE_TEST_SQL:
            if (!is_true(r, c))
                c = fail - 1;
            continue;
        case CODE_ANDALSO:
        case CODE_ORELSE:
        case CODE_SQL_SKIP_FALSE:
        case CODE_SQL_SKIP_TRUE:
            if (jump(r, &c))
                continue;
            ok = false;
            break;
        case CODE_YIELD:
        case CODE_YIELD_ARRAY:
            *matched = true;
            return yield(r, c, out);
        case CODE_END:
            *matched = false;
            return r->err;
        default:
            ok = call(r, c, &result);
            break;
        }
        if (EG_UNLIKELY(r->err != EG_OK))
            return r->err;
        if (EG_UNLIKELY(!ok)) {
            result = slot_at(EXIT_VALUE);
            if (fail != NULL) {
                c = fail - 1;
                continue;
            }
        }
        if (!c->tests)
            *r->top++ = result;
        else if (result.form != SLOT_AT || *result.at != 0xc3)
            c = fail - 1;
    }
}

/* As predicate_screen.c does for many records, of one value that may lie anywhere: fields
 * against integers need no machine.  NOT_KNOWN: it must decide. */
static enum truth screen(const struct predicate *p, const uint8_t *at) {
    const struct code *c = p->code + 1;
    uint32_t position = 0;
    int64_t n;

    for (; c->op == CODE_FIELD_INTEGER; c++) {
        if (c->x < position)
            return NOT_KNOWN;
        for (; position < c->x; position++)
            at = skip(at);
        if (!get_integer_at(at, &n))
            return NOT_KNOWN;
        if ((c->holds & order_of_integers(n, p->literal[c->y].i)) == 0)
            return NO;
    }
    return c->op == CODE_YIELD && c->x_from == FROM_RECORD ? YES : NOT_KNOWN;
}

static eg_err run_machine(struct predicate_machine *m, const struct predicate *p,
                          struct value record, const uint8_t *first, struct buffer *out,
                          bool *matched) {
    struct run r = {.p = p, .m = m, .record = record};

    r.work_left = WORK_BYTES_MAX + (uint64_t) WORK_RECORDS_MAX * record.size_bytes;

    if (EG_UNLIKELY(m->slots.room_bytes < p->machine_bytes) &&
        buffer_room(&m->slots, p->machine_bytes) == NULL)
        return EG_MEMORY;
    r.bottom = (struct slot *) (void *) m->slots.at;
    r.place = (const uint8_t **) (void *) (m->slots.at + p->depth * sizeof(struct slot));
    r.place[0] = first;
    m->scratch.size_bytes = 0;
    return execute(&r, out, matched);
}

eg_err predicate_run(struct predicate_machine *m, const struct predicate *p, struct value record,
                     struct buffer *out, bool *matched) {
    const uint8_t *first =
        record.at + (EG_LIKELY((record.at[0] & 0xf0) == 0x90) ? 1 : head_of(record.at).own_bytes);
    enum truth known = p->screens ? screen(p, first) : NOT_KNOWN;

    *matched = known == YES;
    if (known == NO || (known == YES && out == NULL))
        return EG_OK;
    return run_machine(m, p, record, first, out, matched);
}
