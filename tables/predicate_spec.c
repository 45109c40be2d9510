/* predicate_spec.c -- match specifications read: [[head, guards, body], ...].
 *
 *     ["_", "$1", ["a", "$2"]]                         head
 *
 *     place 1  -> $1
 *     place 2  is an array of 2: places 3 and 4        UNPACK
 *     place 3  == "a"                                  test
 *     place 4  -> $2
 *
 * A variable is the place where it was met first; where it is met again both must be
 * equal.  What has no variable inside is one literal.  Guards and bodies become trees as they
 * are written; only their last body counts, but all are checked. */
#include "tables/predicate_private.h"

#include <string.h>

enum {
    SPEC_VARIABLES_MAX = 1024, /* of one clause                        */
    SPEC_DIGITS_MAX = 8,       /* "$99999999", as in ETS               */
    SPEC_ANY = UINT16_MAX,     /* as many arguments as there may be    */
};

struct spec_op {
    const char *name;
    enum expr_op op;
    uint16_t least;
    uint16_t most;
};

/* Where two names mean the same the first is ETS's. */
static const struct spec_op spec_ops[] = {
    {"==", EXPR_EQ, 2, 2},
    {"/=", EXPR_NE, 2, 2},
    {"!=", EXPR_NE, 2, 2},
    {"=:=", EXPR_SAME, 2, 2},
    {"=/=", EXPR_NOT_SAME, 2, 2},
    {"<", EXPR_LT, 2, 2},
    {"=<", EXPR_LE, 2, 2},
    {"<=", EXPR_LE, 2, 2},
    {">", EXPR_GT, 2, 2},
    {">=", EXPR_GE, 2, 2},
    {"and", EXPR_AND, 1, SPEC_ANY},
    {"or", EXPR_OR, 1, SPEC_ANY},
    {"xor", EXPR_XOR, 2, 2},
    {"not", EXPR_NOT, 1, 1},
    {"andalso", EXPR_ANDALSO, 1, SPEC_ANY},
    {"orelse", EXPR_ORELSE, 1, SPEC_ANY},
    {"+", EXPR_ADD, 1, 2},
    {"-", EXPR_SUB, 1, 2},
    {"*", EXPR_MUL, 2, 2},
    {"/", EXPR_DIVIDE, 2, 2},
    {"div", EXPR_DIV, 2, 2},
    {"rem", EXPR_REM, 2, 2},
    {"band", EXPR_BAND, 2, 2},
    {"bor", EXPR_BOR, 2, 2},
    {"bxor", EXPR_BXOR, 2, 2},
    {"bnot", EXPR_BNOT, 1, 1},
    {"bsl", EXPR_BSL, 2, 2},
    {"bsr", EXPR_BSR, 2, 2},
    {"is_nil", EXPR_IS_NIL, 1, 1},
    {"is_boolean", EXPR_IS_BOOLEAN, 1, 1},
    {"is_number", EXPR_IS_NUMBER, 1, 1},
    {"is_integer", EXPR_IS_INTEGER, 1, 1},
    {"is_float", EXPR_IS_FLOAT, 1, 1},
    {"is_string", EXPR_IS_STRING, 1, 1},
    {"is_binary", EXPR_IS_BINARY, 1, 1},
    {"is_list", EXPR_IS_LIST, 1, 1},
    {"is_tuple", EXPR_IS_LIST, 1, 1},
    {"is_map", EXPR_IS_MAP, 1, 1},
    {"is_map_key", EXPR_IS_MAP_KEY, 2, 2},
    {"abs", EXPR_ABS, 1, 1},
    {"round", EXPR_ROUND, 1, 1},
    {"trunc", EXPR_TRUNC, 1, 1},
    {"floor", EXPR_FLOOR, 1, 1},
    {"ceil", EXPR_CEIL, 1, 1},
    {"float", EXPR_FLOAT, 1, 1},
    {"min", EXPR_MIN, 2, 2},
    {"max", EXPR_MAX, 2, 2},
    {"size", EXPR_SIZE, 1, 1},
    {"length", EXPR_LENGTH, 1, 1},
    {"tuple_size", EXPR_LENGTH, 1, 1},
    {"byte_size", EXPR_BYTE_SIZE, 1, 1},
    {"bit_size", EXPR_BYTE_SIZE, 1, 1}, /* times 8 */
    {"map_size", EXPR_MAP_SIZE, 1, 1},
    {"hd", EXPR_HD, 1, 1},
    {"tl", EXPR_TL, 1, 1},
    {"element", EXPR_ELEMENT, 2, 2},
    {"map_get", EXPR_MAP_GET, 2, 2},
    {"binary_part", EXPR_BINARY_PART, 3, 3},
};

struct variable {
    uint32_t number;
    struct expr *place; /* a field, or the whole record */
};

struct spec {
    struct compiler *c;
    unsigned clause;           /* from 1, for people */
    struct variable *variable; /* ascending by number */
    uint32_t variable_count;
    struct head_step *step;
    uint32_t step_count;
    uint32_t step_room;
};

#define SPEC_FAIL(s, err, ...) compiler_fail((s)->c, (err), __VA_ARGS__)

/* ---- nodes ------------------------------------------------------------------------ */

static struct expr *new_expr(struct spec *s, enum expr_op op, uint32_t count) {
    struct compiler *c = s->c;
    struct expr **arg;
    struct expr *e;

    if (!compiler_count_node(c))
        return NULL;
    if (count > EXPR_NODES_MAX) {
        SPEC_FAIL(s, EG_TOO_LARGE, "clause %u: more than %d terms", s->clause, EXPR_NODES_MAX);
        return NULL;
    }
    e = compiler_get(c, sizeof *e);
    arg = compiler_get(c, count * sizeof(*arg));
    if (e == NULL || arg == NULL)
        return NULL;
    memset(arg, 0, count * sizeof(*arg));
    *e = (struct expr){.op = op, .count = (uint16_t) count, .arg = arg};
    return e;
}

static struct expr **args_of(struct expr *e) {
    return (struct expr **) e->arg;
}

static struct expr *new_literal(struct spec *s, struct value v) {
    struct expr *e = new_expr(s, EXPR_LITERAL, 0);

    if (e != NULL)
        e->literal = v;
    return e;
}

static struct expr *new_place(struct spec *s, uint32_t place) {
    struct expr *e = new_expr(s, EXPR_FIELD, 0);

    if (e != NULL)
        e->position = (uint16_t) place;
    return e;
}

static struct expr *new_call(struct spec *s, enum expr_op op, struct expr *x, struct expr *y) {
    struct expr *e = new_expr(s, op, 2);

    if (e == NULL || x == NULL || y == NULL)
        return NULL;
    args_of(e)[0] = x;
    args_of(e)[1] = y;
    return e;
}

/* ---- names -------------------------------------------------------------------------- */

static bool is_text(struct value v, const char *text) {
    return value_is_string(v, text);
}

/* "$7" and not "$07": as in ETS. */
static bool is_variable(struct value v, uint32_t *number) {
    const uint8_t *at;
    uint32_t size_bytes;
    uint32_t n = 0;

    if (value_kind_of(v) != VALUE_STRING)
        return false;
    at = value_bytes_of(v.at, &size_bytes);
    if (size_bytes < 2 || size_bytes > 1 + SPEC_DIGITS_MAX || at[0] != '$' ||
        (at[1] == '0' && size_bytes > 2))
        return false;
    for (uint32_t i = 1; i < size_bytes; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        n = 10 * n + (at[i] - '0');
    }
    *number = n;
    return true;
}

/* Where the variable is, or would be. */
static uint32_t variable_index(const struct spec *s, uint32_t number) {
    uint32_t low = 0;
    uint32_t high = s->variable_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (s->variable[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct expr *find_variable(const struct spec *s, uint32_t number) {
    uint32_t i = variable_index(s, number);

    return i < s->variable_count && s->variable[i].number == number ? s->variable[i].place : NULL;
}

static void bind(struct spec *s, uint32_t number, struct expr *place) {
    uint32_t i = variable_index(s, number);

    if (s->variable_count == SPEC_VARIABLES_MAX) {
        SPEC_FAIL(s, EG_TOO_LARGE, "clause %u: more than %d variables", s->clause,
                  SPEC_VARIABLES_MAX);
        return;
    }
    memmove(&s->variable[i + 1], &s->variable[i], (s->variable_count - i) * sizeof *s->variable);
    s->variable[i] = (struct variable){number, place};
    s->variable_count++;
}

/* ---- heads ---------------------------------------------------------------------------- */

/* Neither "_" nor a variable anywhere; maps are literals. */
static bool is_bound(struct value v) {
    struct value_iter it;
    struct value element;
    uint32_t number;

    if (value_kind_of(v) != VALUE_ARRAY)
        return !is_text(v, "_") && !is_variable(v, &number);
    it = value_iter_of(v);
    while (value_iter_next(&it, &element))
        if (!is_bound(element))
            return false;
    return true;
}

static void add_step(struct spec *s, struct head_step step) {
    struct head_step *more;

    if (s->c->err != EG_OK)
        return;
    if (s->step_count == s->step_room) {
        uint32_t room = EG_MAX(16u, 2 * s->step_room);
        more = compiler_get(s->c, room * sizeof *more);
        if (more == NULL)
            return;
        if (s->step_count > 0)
            memcpy(more, s->step, s->step_count * sizeof *more);
        s->step = more;
        s->step_room = room;
    }
    s->step[s->step_count++] = step;
}

/* An array of the first elements, those that are known. */
static struct value known_prefix(struct spec *s, struct value v) {
    struct value_iter it = value_iter_of(v);
    struct value_writer w;
    struct value element;
    uint32_t count = 0;
    const uint8_t *begin = it.at;
    const uint8_t *end = begin;
    uint8_t *at;

    while (value_iter_next(&it, &element) && is_bound(element)) {
        end = element.at + element.size_bytes;
        count++;
    }
    if (count == 0)
        return (struct value){0};
    at = compiler_get(s->c, (size_t) (end - begin) + 5);
    if (at == NULL)
        return (struct value){0};
    w = value_writer_init(at, (size_t) (end - begin) + 5);
    value_put_array(&w, count);
    value_put_raw(&w, (struct value){begin, (uint32_t) (end - begin)});
    return (struct value){at, (uint32_t) w.need_bytes};
}

static void match_place(struct spec *s, uint32_t place, struct value v);

static void match_array(struct spec *s, uint32_t place, struct value v) {
    struct head_step step = {.place = place, .count = value_count(v), .first = s->c->places};
    struct value_iter it = value_iter_of(v);
    struct value element;

    if (step.count > EXPR_NODES_MAX || s->c->places + step.count > UINT16_MAX) {
        SPEC_FAIL(s, EG_TOO_LARGE, "clause %u: more than %d terms", s->clause, EXPR_NODES_MAX);
        return;
    }
    if (place < s->c->arity)
        step.prefix = known_prefix(s, v);
    s->c->places += step.count;
    add_step(s, step);
    for (uint32_t i = 0; s->c->err == EG_OK && value_iter_next(&it, &element); i++)
        match_place(s, step.first + i, element);
}

static void add_test(struct spec *s, struct expr *x, struct expr *y) {
    struct expr *test = new_call(s, EXPR_EQ, x, y);

    if (test != NULL)
        add_step(s, (struct head_step){.test = test});
}

static void match_place(struct spec *s, uint32_t place, struct value v) {
    struct expr *earlier;
    uint32_t number;

    if (is_text(v, "_") || !compiler_count_node(s->c))
        return;
    if (is_variable(v, &number)) {
        earlier = find_variable(s, number);
        if (earlier != NULL)
            add_test(s, earlier, new_place(s, place));
        else
            bind(s, number, new_place(s, place));
    } else if (is_bound(v)) {
        add_test(s, new_place(s, place), new_literal(s, v));
    } else {
        match_array(s, place, v);
    }
}

static void parse_head(struct spec *s, struct value head) {
    struct value_iter it;
    struct value element;
    uint32_t number;

    if (is_text(head, "_"))
        return;
    if (is_variable(head, &number)) {
        bind(s, number, new_expr(s, EXPR_RECORD, 0));
        return;
    }
    if (value_kind_of(head) != VALUE_ARRAY) {
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: the head is an array, a variable or \"_\"",
                  s->clause);
        return;
    }
    if (value_count(head) != s->c->arity) {
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: the head has %u elements, the table %u attributes",
                  s->clause, (unsigned) value_count(head), (unsigned) s->c->arity);
        return;
    }
    it = value_iter_of(head);
    for (uint32_t i = 0; s->c->err == EG_OK && value_iter_next(&it, &element); i++)
        match_place(s, i, element);
}

/* ---- guards and bodies -------------------------------------------------------------------- */

static struct expr *parse(struct spec *s, struct value v);

static void parse_args(struct spec *s, struct expr *e, struct value_iter it) {
    struct value v;

    for (uint16_t i = 0; e != NULL && s->c->err == EG_OK && value_iter_next(&it, &v); i++)
        args_of(e)[i] = parse(s, v);
}

static struct expr *all_variables(struct spec *s) {
    struct expr *e = new_expr(s, EXPR_ARRAY, s->variable_count);

    for (uint32_t i = 0; e != NULL && i < s->variable_count; i++)
        args_of(e)[i] = s->variable[i].place;
    return e;
}

static struct expr *parse_string(struct spec *s, struct value v) {
    struct expr *place;
    uint32_t number;

    if (is_text(v, "$_"))
        return new_expr(s, EXPR_RECORD, 0);
    if (is_text(v, "$$"))
        return all_variables(s);
    if (!is_variable(v, &number))
        return new_literal(s, v);
    place = find_variable(s, number);
    if (place == NULL)
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: $%u is not in the head", s->clause,
                  (unsigned) number);
    return place;
}

static const struct spec_op *find_op(struct value name) {
    for (size_t i = 0; i < EG_COUNTOF(spec_ops); i++)
        if (is_text(name, spec_ops[i].name))
            return &spec_ops[i];
    return NULL;
}

/* Show a name that is fit to be shown. */
static void fail_operator(struct spec *s, struct value name) {
    enum { SHOWN_BYTES_MAX = 40 };
    uint32_t size_bytes;
    const uint8_t *at = value_bytes_of(name.at, &size_bytes);
    bool fit = size_bytes <= SHOWN_BYTES_MAX;

    for (uint32_t i = 0; fit && i < size_bytes; i++)
        fit = at[i] >= ' ' && at[i] < 0x7f;
    if (fit)
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: unknown operator '%.*s'", s->clause,
                  (int) size_bytes, (const char *) at);
    else
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: unknown operator", s->clause);
}

static void fail_count(struct spec *s, const struct spec_op *op, uint32_t count) {
    if (op->least == op->most)
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: '%s' takes %u argument%s, not %u", s->clause,
                  op->name, (unsigned) op->least, op->least == 1 ? "" : "s", (unsigned) count);
    else
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: '%s' cannot take %u arguments", s->clause,
                  op->name, (unsigned) count);
}

/* -x; +x, which is x where that is a number; and bits, which are bytes times 8. */
static struct expr *special(struct spec *s, const struct spec_op *op, struct expr *e) {
    static const uint8_t zero[] = {0x00};
    static const uint8_t eight[] = {0x08};

    if (e == NULL || s->c->err != EG_OK)
        return NULL;
    if (op->op == EXPR_SUB && e->count == 1)
        e->op = EXPR_NEGATE;
    if (op->op == EXPR_ADD && e->count == 1)
        return new_call(s, EXPR_ADD, new_literal(s, (struct value){zero, 1}), e->arg[0]);
    if (strcmp(op->name, "bit_size") == 0)
        return new_call(s, EXPR_MUL, e, new_literal(s, (struct value){eight, 1}));
    return e;
}

static struct expr *parse_call(struct spec *s, struct value v) {
    struct value_iter it = value_iter_of(v);
    uint32_t count = value_count(v) - 1;
    const struct spec_op *op;
    struct value name;
    struct expr *e;
    bool more = value_iter_next(&it, &name);

    EG_ASSERT(more);
    if (is_text(name, "const")) {
        if (count == 1 && value_iter_next(&it, &name))
            return new_literal(s, name);
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: 'const' takes 1 argument, not %u", s->clause,
                  (unsigned) count);
        return NULL;
    }
    op = find_op(name);
    if (op == NULL) {
        fail_operator(s, name);
        return NULL;
    }
    if (count < op->least || count > op->most) {
        fail_count(s, op, count);
        return NULL;
    }
    e = new_expr(s, op->op, count);
    parse_args(s, e, it);
    return special(s, op, e);
}

static struct expr *parse_array(struct spec *s, struct value v) {
    struct value_iter it = value_iter_of(v);
    uint32_t count = it.left;
    struct value first;
    struct expr *e;

    if (value_iter_next(&it, &first)) {
        if (value_kind_of(first) == VALUE_STRING)
            return parse_call(s, v);
        if (value_kind_of(first) == VALUE_ARRAY && count == 1) {
            e = new_expr(s, EXPR_ARRAY, value_count(first));
            parse_args(s, e, value_iter_of(first));
            return e;
        }
    }
    SPEC_FAIL(s, EG_BAD_REQUEST,
              "clause %u: an array begins with an operator; [[a, b]] makes an array, "
              "[\"const\", x] quotes",
              s->clause);
    return NULL;
}

static struct expr *parse(struct spec *s, struct value v) {
    struct expr *e;

    switch (value_kind_of(v)) {
    case VALUE_STRING:
        return parse_string(s, v);
    case VALUE_ARRAY:
        return parse_array(s, v);
    case VALUE_MAP:
        if (value_count(v) > EXPR_NODES_MAX / 2) {
            SPEC_FAIL(s, EG_TOO_LARGE, "clause %u: more than %d terms", s->clause, EXPR_NODES_MAX);
            return NULL;
        }
        e = new_expr(s, EXPR_MAP, 2 * value_count(v));
        parse_args(s, e, value_iter_of(v));
        return e;
    default:
        return new_literal(s, v);
    }
}

/* ---- clauses --------------------------------------------------------------------------------- */

static void parse_guards(struct spec *s, struct value guards, struct clause *clause) {
    struct value_iter it;
    struct value v;
    const struct expr **guard;
    uint32_t count = 0;

    if (value_kind_of(guards) != VALUE_ARRAY) {
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: the guards are an array", s->clause);
        return;
    }
    guard = compiler_get(s->c, EG_MIN(value_count(guards), EXPR_NODES_MAX + 1u) * sizeof(*guard));
    it = value_iter_of(guards);
    while (s->c->err == EG_OK && value_iter_next(&it, &v))
        if (compiler_count_node(s->c))
            guard[count++] = parse(s, v);
    clause->guard = guard;
    clause->guard_count = count;
}

static void parse_body(struct spec *s, struct value body, struct clause *clause) {
    struct value_iter it;
    struct value v;

    if (value_kind_of(body) != VALUE_ARRAY || value_count(body) == 0) {
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: the body is an array of at least one term",
                  s->clause);
        return;
    }
    it = value_iter_of(body);
    while (s->c->err == EG_OK && value_iter_next(&it, &v))
        clause->body = parse(s, v);
}

static void parse_clause(struct spec *s, struct value v) {
    struct clause clause = {0};
    struct value_iter it;
    struct value part[3];
    uint32_t count = 0;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != EG_COUNTOF(part)) {
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: a clause is [head, guards, body]", s->clause);
        return;
    }
    it = value_iter_of(v);
    while (value_iter_next(&it, &part[count]))
        count++;
    s->variable_count = s->step_count = 0;
    s->c->places = s->c->arity;
    parse_head(s, part[0]);
    if (s->c->err == EG_OK)
        parse_guards(s, part[1], &clause);
    if (s->c->err == EG_OK)
        parse_body(s, part[2], &clause);
    clause.step = s->step;
    clause.step_count = s->step_count;
    if (s->c->err == EG_OK)
        compiler_add_clause(s->c, &clause);
}

void compiler_add_spec(struct compiler *c, struct value spec) {
    struct spec s = {.c = c};
    struct value_iter it;
    struct value v;

    if (value_kind_of(spec) != VALUE_ARRAY || value_count(spec) == 0) {
        SPEC_FAIL(&s, EG_BAD_REQUEST, "a match specification is an array of [head, guards, body]");
        return;
    }
    if (value_count(spec) > PREDICATE_CLAUSES_MAX) {
        SPEC_FAIL(&s, EG_TOO_LARGE, "more than %d clauses", PREDICATE_CLAUSES_MAX);
        return;
    }
    s.variable = compiler_get(c, (SPEC_VARIABLES_MAX + 1) * sizeof *s.variable);
    it = value_iter_of(spec);
    while (c->err == EG_OK && value_iter_next(&it, &v)) {
        s.clause++;
        parse_clause(&s, v);
    }
}
