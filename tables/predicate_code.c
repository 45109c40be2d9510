/* predicate_code.c -- from trees to instructions.
 *
 * Leaves (fields, literals, the record) are operands as they are; only what is computed
 * goes over the stack.  A guard that compares needs no boolean: the comparison itself
 * tests.  Conjunctions in front are taken apart, for a AND b meant as a guard is two guards. */
#include "tables/predicate_private.h"

struct operand {
    uint8_t from;
    uint32_t index;
};

static const struct operand ON_STACK = {FROM_STACK, 0};

/* ---- writing ------------------------------------------------------------------ */

static uint32_t code_count(const struct compiler *c) {
    return (uint32_t) (c->code.size_bytes / sizeof(struct code));
}

static void emit(struct compiler *c, struct code code) {
    if (c->err != EG_OK)
        return;
    if (!buffer_append(&c->code, &code, sizeof code))
        compiler_fail(c, buffer_refusal(&c->code, sizeof code), "the program is too long");
}

static struct operand emit_call(struct compiler *c, unsigned op, struct operand x, struct operand y,
                                uint32_t count) {
    emit(c, (struct code){.op = (uint8_t) op,
                          .x_from = x.from,
                          .y_from = y.from,
                          .count = (uint16_t) count,
                          .holds = (uint16_t) predicate_order_bits(op),
                          .x = x.index,
                          .y = y.index});
    return ON_STACK;
}

static struct code *last_code(struct compiler *c) {
    return (struct code *) (void *) c->code.at + code_count(c) - 1;
}

/* A jump whose target is not known yet; give back its place to set it by jump_land(). */
static uint32_t emit_jump(struct compiler *c, unsigned op) {
    emit_call(c, op, ON_STACK, ON_STACK, 0);
    return code_count(c) - 1;
}

static void jump_land(struct compiler *c, uint32_t jump) {
    if (c->err == EG_OK)
        ((struct code *) (void *) c->code.at)[jump].x = code_count(c);
}

static void push(struct compiler *c, struct operand x) {
    if (x.from != FROM_STACK)
        emit_call(c, CODE_PUSH, x, ON_STACK, 0);
}

static uint32_t add_bytes(struct compiler *c, struct value v) {
    uint32_t offset = (uint32_t) c->bytes.size_bytes;

    if (!buffer_append(&c->bytes, v.at, v.size_bytes))
        compiler_fail(c, buffer_refusal(&c->bytes, v.size_bytes), "literals take too many bytes");
    return offset;
}

static struct operand add_literal(struct compiler *c, struct value v) {
    uint32_t index = (uint32_t) (c->literals.size_bytes / sizeof(struct slot));
    struct slot s = {.form = SLOT_AT};

    if (c->err != EG_OK)
        return ON_STACK;
    if (value_kind_of(v) == VALUE_NUMBER)
        s = slot_of_number(value_number_of(v.at));
    else
        s.offset = add_bytes(c, v);
    if (c->err == EG_OK && !buffer_append(&c->literals, &s, sizeof s))
        compiler_fail(c, buffer_refusal(&c->literals, sizeof s), "too many literals");
    return (struct operand){FROM_LITERAL, index};
}

/* ---- expressions ----------------------------------------------------------------- */

/* Trees may share branches; what is made of them is bounded all the same. */
static bool count_visit(struct compiler *c) {
    if (c->visits++ < EXPR_NODES_MAX)
        return true;
    compiler_fail(c, EG_TOO_LARGE, "more than %d terms", EXPR_NODES_MAX);
    return false;
}

static struct operand gen(struct compiler *c, const struct expr *e, unsigned depth);

static void gen_pushed(struct compiler *c, const struct expr *e, unsigned depth) {
    struct operand x = gen(c, e, depth);

    push(c, x);
}

static struct operand gen_field(struct compiler *c, const struct expr *e) {
    struct operand x = {e->position < c->arity ? FROM_FIELD : FROM_INNER, e->position};
    struct operand first;

    if (e->position >= c->places) {
        compiler_fail(c, EG_BAD_REQUEST, "there is no field %u", (unsigned) e->position);
        return x;
    }
    if (e->path_count == 0)
        return x;
    first = add_literal(c, e->path[0]);
    for (uint16_t i = 1; i < e->path_count; i++)
        add_literal(c, e->path[i]);
    return emit_call(c, CODE_PATH, x, first, e->path_count);
}

static void check_count(struct compiler *c, const struct expr *e, bool ok) {
    if (!ok)
        compiler_fail(c, EG_BAD_REQUEST, "a call has %u arguments", (unsigned) e->count);
}

/* Each but the last decides whether the next is looked at. */
static struct operand gen_short_circuit(struct compiler *c, const struct expr *e, unsigned depth) {
    unsigned op = e->op == EXPR_ANDALSO ? CODE_ANDALSO : CODE_ORELSE;
    uint32_t *jump = compiler_get(c, e->count * sizeof *jump);

    check_count(c, e, e->count >= 1);
    for (uint16_t i = 0; i < e->count && c->err == EG_OK; i++) {
        gen_pushed(c, e->arg[i], depth);
        if (i + 1 < e->count)
            jump[i] = emit_jump(c, op);
    }
    for (uint16_t i = 0; i + 1 < e->count && c->err == EG_OK; i++)
        jump_land(c, jump[i]);
    return ON_STACK;
}

/* a AND b AND c is (a AND b) AND c; alone, a AND true checks that it is a boolean.  Text's
 * are left as soon as one decides. */
static struct operand gen_logic(struct compiler *c, const struct expr *e, unsigned depth) {
    static const uint8_t yes[] = {0xc3};
    static const uint8_t no[] = {0xc2};
    bool sql = e->op == EXPR_SQL_AND || e->op == EXPR_SQL_OR;
    bool is_and = e->op == EXPR_AND || e->op == EXPR_SQL_AND;
    uint32_t jump = 0;

    check_count(c, e, e->count >= 1);
    if (c->err != EG_OK)
        return ON_STACK;
    gen_pushed(c, e->arg[0], depth);
    if (e->count == 1)
        emit_call(c, e->op, ON_STACK, add_literal(c, (struct value){is_and ? yes : no, 1}), 0);
    for (uint16_t i = 1; i < e->count && c->err == EG_OK; i++) {
        if (sql)
            jump = emit_jump(c, is_and ? CODE_SQL_SKIP_FALSE : CODE_SQL_SKIP_TRUE);
        emit_call(c, e->op, ON_STACK, gen(c, e->arg[i], depth), 0);
        if (sql)
            jump_land(c, jump);
    }
    return ON_STACK;
}

enum { LIST_MIN = 8 }; /* values of an `in` that are searched, not tried one by one */

static bool is_list(const struct expr *e) {
    bool literals = e->op == EXPR_SQL_IN && e->count > LIST_MIN;

    for (uint16_t i = 1; i < e->count && literals; i++)
        literals = e->arg[i]->op == EXPR_LITERAL;
    return literals;
}

static struct operand gen_list(struct compiler *c, const struct expr *e, unsigned depth) {
    struct operand x = gen(c, e->arg[0], depth);
    struct value list = list_literal(c, e);

    c->visits += e->count - 1u;
    if (c->visits > EXPR_NODES_MAX)
        compiler_fail(c, EG_TOO_LARGE, "more than %d terms", EXPR_NODES_MAX);
    if (c->err != EG_OK)
        return ON_STACK;
    return emit_call(c, EXPR_SQL_IN_LIST, x, add_literal(c, list), 0);
}

static struct operand gen_call(struct compiler *c, const struct expr *e, unsigned depth) {
    struct operand x;
    struct operand y;

    if (is_list(e))
        return gen_list(c, e, depth);
    switch (predicate_call_shape(e->op)) {
    case CALL_UNARY:
        check_count(c, e, e->count == 1);
        if (c->err != EG_OK)
            return ON_STACK;
        x = gen(c, e->arg[0], depth);
        return emit_call(c, e->op, x, ON_STACK, 0);
    case CALL_BINARY:
        check_count(c, e, e->count == 2);
        if (c->err != EG_OK)
            return ON_STACK;
        x = gen(c, e->arg[0], depth);
        y = gen(c, e->arg[1], depth);
        return emit_call(c, e->op, x, y, 0);
    case CALL_STACK:
        check_count(c, e, e->op != EXPR_BINARY_PART || e->count == 3);
        check_count(c, e, e->op != EXPR_MAP || e->count % 2 == 0);
        check_count(c, e, e->op != EXPR_SQL_IN || e->count >= 1);
        for (uint16_t i = 0; i < e->count && c->err == EG_OK; i++)
            gen_pushed(c, e->arg[i], depth);
        return emit_call(c, e->op, ON_STACK, ON_STACK, e->count);
    default:
        compiler_fail(c, EG_BAD_REQUEST, "this stands where no expression can stand");
        return ON_STACK;
    }
}

static struct operand gen(struct compiler *c, const struct expr *e, unsigned depth) {
    if (c->err != EG_OK || !count_visit(c))
        return ON_STACK;
    if (depth >= EXPR_DEPTH_MAX) {
        compiler_fail(c, EG_TOO_LARGE, "an expression is nested deeper than %d levels",
                      EXPR_DEPTH_MAX);
        return ON_STACK;
    }
    switch (e->op) {
    case EXPR_LITERAL:
        return add_literal(c, e->literal);
    case EXPR_FIELD:
        return gen_field(c, e);
    case EXPR_RECORD:
        return (struct operand){FROM_RECORD, 0};
    case EXPR_ANDALSO:
    case EXPR_ORELSE:
        return gen_short_circuit(c, e, depth + 1);
    case EXPR_AND:
    case EXPR_OR:
    case EXPR_SQL_AND:
    case EXPR_SQL_OR:
        return gen_logic(c, e, depth + 1);
    default:
        return gen_call(c, e, depth + 1);
    }
}

/* ---- tests --------------------------------------------------------------------------- */

/* Do these yield a boolean, or nil, or nothing at all? */
static bool is_test(enum expr_op op) {
    return (op >= EXPR_EQ && op <= EXPR_GE) || op == EXPR_NOT || op == EXPR_XOR ||
           (op >= EXPR_IS_NIL && op <= EXPR_IS_MAP_KEY) ||
           (op >= EXPR_SQL_NOT && op <= EXPR_SQL_IS_NULL);
}

/* What most questions ask, a field compared with an integer, is one step. */
static void fuse_test(struct compiler *c, struct code *test) {
    const struct slot *literal = (const struct slot *) (const void *) c->literals.at;

    test->tests = true;
    if (test->holds != 0 && test->x_from == FROM_FIELD && test->y_from == FROM_LITERAL &&
        slot_is_integer(&literal[test->y])) {
        test->count = test->op;
        test->op = CODE_FIELD_INTEGER;
    }
}

static void gen_test(struct compiler *c, const struct expr *e, bool sql, unsigned depth) {
    bool conjunction = e->op == EXPR_SQL_AND || e->op == EXPR_AND || e->op == EXPR_ANDALSO;
    struct operand x;

    if (conjunction && e->count > 0 && depth < EXPR_DEPTH_MAX) {
        for (uint16_t i = 0; i < e->count && c->err == EG_OK; i++)
            if (count_visit(c))
                gen_test(c, e->arg[i], sql || e->op == EXPR_SQL_AND, depth + 1);
        return;
    }
    x = gen(c, e, depth);
    if (c->err != EG_OK)
        return;
    if (is_test(e->op))
        fuse_test(c, last_code(c));
    else
        emit_call(c, sql ? CODE_TEST_SQL : CODE_TEST, x, ON_STACK, 0);
}

/* How deep may a result of `e` be nested? */
static unsigned levels(const struct expr *e, uint32_t arity, unsigned depth) {
    unsigned most = 1;

    if (depth >= EXPR_DEPTH_MAX)
        return depth; /* it will be refused */
    switch (e->op) {
    case EXPR_LITERAL:
        return head_of(e->literal.at).container ? VALUE_DEPTH_MAX - 1 : 1;
    case EXPR_FIELD:
        return e->position < arity ? VALUE_DEPTH_MAX - 1 : VALUE_DEPTH_MAX - 2;
    case EXPR_RECORD:
        return VALUE_DEPTH_MAX;
    default:
        break;
    }
    for (uint16_t i = 0; i < e->count; i++) {
        unsigned below = levels(e->arg[i], arity, depth + 1);
        most = EG_MAX(most, below);
    }
    return most + (e->op == EXPR_ARRAY || e->op == EXPR_MAP);
}

static void gen_body(struct compiler *c, const struct expr *e) {
    struct operand x;

    c->yields_record = c->yields_record && e->op == EXPR_RECORD;
    c->may_be_deep = c->may_be_deep || levels(e, c->arity, 0) > VALUE_DEPTH_MAX;
    if (e->op != EXPR_RECORD && e->op != EXPR_LITERAL) /* those cannot fail */
        emit_call(c, CODE_BODY, ON_STACK, ON_STACK, 0);
    if (e->op == EXPR_ARRAY) {
        for (uint16_t i = 0; i < e->count && c->err == EG_OK; i++)
            gen_pushed(c, e->arg[i], 1);
        emit_call(c, CODE_YIELD_ARRAY, ON_STACK, ON_STACK, e->count);
    } else {
        x = gen(c, e, 0);
        emit_call(c, CODE_YIELD, x, ON_STACK, 0);
    }
}

static void gen_head(struct compiler *c, const struct head_step *s) {
    struct operand place = {s->place < c->arity ? FROM_FIELD : FROM_INNER, s->place};

    if (s->test != NULL)
        gen_test(c, s->test, false, 0);
    else
        emit_call(c, CODE_UNPACK, place, (struct operand){FROM_STACK, s->first}, s->count);
}

void compiler_add_clause(struct compiler *c, const struct clause *clause) {
    uint32_t begin = code_count(c);

    emit_call(c, CODE_CLAUSE, ON_STACK, ON_STACK, 0);
    for (uint32_t i = 0; i < clause->step_count && c->err == EG_OK; i++)
        gen_head(c, &clause->step[i]);
    for (uint32_t i = 0; i < clause->guard_count && c->err == EG_OK; i++)
        gen_test(c, clause->guard[i], clause->sql, 0);
    if (c->err == EG_OK)
        gen_body(c, clause->body);
    jump_land(c, begin);
    c->places_max = EG_MAX(c->places_max, c->places);
    if (c->err == EG_OK)
        known_add_clause(c, clause);
    if (c->err == EG_OK)
        whole_add_clause(c, clause);
    c->clauses++;
}

void compiler_end(struct compiler *c) {
    emit_call(c, CODE_END, ON_STACK, ON_STACK, 0);
}
