/* predicate_verify.c -- a program that passes cannot lead the machine astray.
 *
 * One walk over the code, in which the state before each instruction is known:
 *
 *     depth     how many slots are on the stack.  All ways to an instruction agree on it.
 *     inner     how many places UNPACK has filled in this clause.
 *     phase     head, then guards, then body; what fails in a body has a value.
 *
 * Checked of each instruction: that there is such a one; its operands exist and have been
 * written; the stack holds what it takes; where it jumps to lies ahead, in its clause, where
 * the stack is as it leaves it; that tests are in front of the body; and that the walk
 * ends: each clause yields, the last instruction is END. */
#include "tables/predicate_private.h"

enum phase { PHASE_HEAD, PHASE_GUARD, PHASE_BODY, PHASE_OUTSIDE };

enum { UNKNOWN = UINT32_MAX };

struct walk {
    const struct predicate *p;
    uint32_t *depth_at; /* what jumps here promise; UNKNOWN: none does */
    uint32_t at;
    uint32_t depth;
    uint32_t depth_max;
    uint32_t inner_end;  /* places below this have been written */
    uint32_t clause_end; /* where the clause fails to           */
    enum phase phase;
};

enum call_shape predicate_call_shape(unsigned op) {
    switch (op) {
    case EXPR_LITERAL:
    case EXPR_FIELD:
    case EXPR_RECORD:
    case EXPR_ALL:
    case EXPR_ANDALSO:
    case EXPR_ORELSE:
        return CALL_NEVER; /* operands, or made of jumps */
    case EXPR_ARRAY:
    case EXPR_MAP:
    case EXPR_SQL_IN:
    case EXPR_BINARY_PART:
        return CALL_STACK;
    case EXPR_NOT:
    case EXPR_NEGATE:
    case EXPR_BNOT:
    case EXPR_IS_NIL:
    case EXPR_IS_BOOLEAN:
    case EXPR_IS_NUMBER:
    case EXPR_IS_INTEGER:
    case EXPR_IS_FLOAT:
    case EXPR_IS_STRING:
    case EXPR_IS_BINARY:
    case EXPR_IS_LIST:
    case EXPR_IS_MAP:
    case EXPR_ABS:
    case EXPR_ROUND:
    case EXPR_TRUNC:
    case EXPR_FLOOR:
    case EXPR_CEIL:
    case EXPR_FLOAT:
    case EXPR_SIZE:
    case EXPR_LENGTH:
    case EXPR_BYTE_SIZE:
    case EXPR_MAP_SIZE:
    case EXPR_HD:
    case EXPR_TL:
    case EXPR_SQL_NOT:
    case EXPR_SQL_IS_NULL:
    case EXPR_SQL_NEGATE:
        return CALL_UNARY;
    default:
        return op < EXPR_OPS ? CALL_BINARY : CALL_NEVER;
    }
}

unsigned predicate_order_bits(unsigned op) {
    switch (op) {
    case EXPR_EQ:
    case EXPR_SQL_EQ:
        return ORDER_EQUAL;
    case EXPR_NE:
    case EXPR_SQL_NE:
        return ORDER_LESS | ORDER_GREATER;
    case EXPR_LT:
    case EXPR_SQL_LT:
        return ORDER_LESS;
    case EXPR_LE:
    case EXPR_SQL_LE:
        return ORDER_LESS | ORDER_EQUAL;
    case EXPR_GT:
    case EXPR_SQL_GT:
        return ORDER_GREATER;
    case EXPR_GE:
    case EXPR_SQL_GE:
        return ORDER_GREATER | ORDER_EQUAL;
    default:
        return 0;
    }
}

static bool take(struct walk *w, uint32_t count) {
    if (w->depth < count)
        return false;
    w->depth -= count;
    return true;
}

static bool give(struct walk *w) {
    w->depth++;
    w->depth_max = EG_MAX(w->depth_max, w->depth);
    return true;
}

static bool operand(struct walk *w, uint8_t from, uint32_t index) {
    switch (from) {
    case FROM_STACK:
        return take(w, 1);
    case FROM_FIELD:
        return index < w->p->arity;
    case FROM_INNER:
        return index >= w->p->arity && index < w->inner_end;
    case FROM_LITERAL:
        return index < w->p->literal_count;
    default:
        return from == FROM_RECORD;
    }
}

static bool in_clause(const struct walk *w) {
    return w->phase != PHASE_OUTSIDE;
}

static bool in_tests(const struct walk *w) {
    return w->phase == PHASE_HEAD || w->phase == PHASE_GUARD;
}

static bool verify_clause(struct walk *w, const struct code *c) {
    if (w->phase != PHASE_OUTSIDE || w->depth != 0 || c->x <= w->at || c->x >= w->p->code_count ||
        (w->p->code[c->x].op != CODE_CLAUSE && w->p->code[c->x].op != CODE_END))
        return false;
    w->phase = PHASE_HEAD;
    w->inner_end = w->p->arity;
    w->clause_end = c->x;
    return true;
}

/* In the head alone, where no jump passes it. */
static bool verify_unpack(struct walk *w, const struct code *c) {
    if (w->phase != PHASE_HEAD || (c->x_from != FROM_FIELD && c->x_from != FROM_INNER) ||
        !operand(w, c->x_from, c->x) || c->y != w->inner_end || c->count > w->p->places - c->y)
        return false;
    w->inner_end += c->count;
    return true;
}

static bool verify_path(struct walk *w, const struct code *c) {
    return (c->x_from == FROM_FIELD || c->x_from == FROM_INNER) && operand(w, c->x_from, c->x) &&
           c->y <= w->p->literal_count && c->count <= w->p->literal_count - c->y && give(w);
}

/* The jump leaves the stack as it is; going on, the strict ones drop its top. */
static bool verify_jump(struct walk *w, const struct code *c) {
    if (w->depth == 0 || c->x <= w->at + 1 || c->x >= w->clause_end)
        return false;
    if (w->depth_at[c->x] != UNKNOWN && w->depth_at[c->x] != w->depth)
        return false;
    w->depth_at[c->x] = w->depth;
    w->phase = w->phase == PHASE_HEAD ? PHASE_GUARD : w->phase;
    if (c->op == CODE_ANDALSO || c->op == CODE_ORELSE)
        w->depth--;
    return true;
}

static bool verify_yield(struct walk *w, const struct code *c) {
    if (c->op == CODE_YIELD ? !operand(w, c->x_from, c->x) : !take(w, c->count))
        return false;
    w->phase = PHASE_OUTSIDE;
    return w->depth == 0 && w->at + 1 == w->clause_end;
}

static bool verify_field_integer(struct walk *w, const struct code *c) {
    return in_tests(w) && c->x_from == FROM_FIELD && c->y_from == FROM_LITERAL &&
           operand(w, c->x_from, c->x) && operand(w, c->y_from, c->y) &&
           slot_is_integer(&w->p->literal[c->y]) && predicate_order_bits(c->count) != 0;
}

static bool verify_call(struct walk *w, const struct code *c) {
    bool ok = false;

    switch (predicate_call_shape(c->op)) {
    case CALL_UNARY:
        ok = operand(w, c->x_from, c->x);
        break;
    case CALL_BINARY:
        ok = operand(w, c->y_from, c->y) && operand(w, c->x_from, c->x);
        if (c->op == EXPR_SQL_IN_LIST)
            ok = ok && c->y_from == FROM_LITERAL && w->p->literal[c->y].form == SLOT_AT &&
                 list_check(w->p->literal[c->y].at);
        break;
    case CALL_STACK:
        ok = take(w, c->count);
        if (c->op == EXPR_BINARY_PART)
            ok = ok && c->count == 3;
        if (c->op == EXPR_MAP)
            ok = ok && c->count % 2 == 0;
        if (c->op == EXPR_SQL_IN)
            ok = ok && c->count >= 1;
        break;
    case CALL_NEVER:
        break;
    }
    if (c->tests)
        return ok && in_tests(w);
    return ok && give(w);
}

static bool verify_one(struct walk *w, const struct code *c) {
    if (c->op == CODE_CLAUSE)
        return verify_clause(w, c);
    if (c->op == CODE_END)
        return w->phase == PHASE_OUTSIDE && w->at + 1 == w->p->code_count;
    if (!in_clause(w))
        return false;
    switch (c->op) {
    case CODE_UNPACK:
        return verify_unpack(w, c);
    case CODE_BODY:
        if (!in_tests(w) || w->depth != 0)
            return false;
        w->phase = PHASE_BODY;
        return true;
    case CODE_PUSH:
        return !c->tests && operand(w, c->x_from, c->x) && give(w);
    case CODE_PATH:
        return !c->tests && verify_path(w, c);
    case CODE_TEST:
    case CODE_TEST_SQL:
        return in_tests(w) && operand(w, c->x_from, c->x);
    case CODE_FIELD_INTEGER:
        return verify_field_integer(w, c);
    case CODE_ANDALSO:
    case CODE_ORELSE:
    case CODE_SQL_SKIP_FALSE:
    case CODE_SQL_SKIP_TRUE:
        return !c->tests && verify_jump(w, c);
    case CODE_YIELD:
    case CODE_YIELD_ARRAY:
        return verify_yield(w, c);
    default:
        return verify_call(w, c);
    }
}

/* A jump may land before the instruction at `at`; the stack must be as it left it. */
static bool lands_well(const struct walk *w) {
    return w->depth_at[w->at] == UNKNOWN || w->depth_at[w->at] == w->depth;
}

eg_err predicate_verify(struct predicate *p, struct alloc *a) {
    struct walk w = {.p = p, .phase = PHASE_OUTSIDE};
    bool ok = p->code_count > 0 && p->code[p->code_count - 1].op == CODE_END;

    if (!ok)
        return EG_INTERNAL;
    w.depth_at = alloc_get(a, p->code_count * sizeof *w.depth_at);
    if (w.depth_at == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < p->code_count; i++)
        w.depth_at[i] = UNKNOWN;
    for (; ok && w.at < p->code_count; w.at++)
        ok = lands_well(&w) && verify_one(&w, &p->code[w.at]);
    alloc_put(a, w.depth_at, p->code_count * sizeof *w.depth_at);
    if (!ok)
        return EG_INTERNAL;
    p->depth = w.depth_max;
    p->machine_bytes = p->depth * sizeof(struct slot) + p->places * sizeof(const uint8_t *);
    screen_prepare(p);
    return EG_OK;
}
