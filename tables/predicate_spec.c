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

/* An array in a head, found on a first pass so that none is looked through again at each
 * level: where it ends, whether it is a literal, and which array of this list follows it. */
struct shape {
    const uint8_t *end;
    uint32_t next;
    bool bound;
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
    struct shape *shape; /* in the order in which they begin */
    uint32_t shape_count;
    uint32_t shape_at; /* the next that will be met */
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

static bool is_open(struct value v) {
    uint32_t number;

    return is_text(v, "_") || is_variable(v, &number);
}

/* The first pass: note the arrays in the term at `at`, and return its end.  *bound: there is
 * neither "_" nor a variable in it, maps being literals. */
static const uint8_t *measure(struct spec *s, const uint8_t *at, bool *bound) {
    struct value_head head = head_of(at);
    uint32_t index = s->shape_count;
    bool all = true;

    if (value_kinds[*at] != VALUE_ARRAY) {
        const uint8_t *end = value_skip(at);
        *bound = !is_open((struct value){at, (uint32_t) (end - at)});
        return end;
    }
    if (s->shape_count == EXPR_NODES_MAX) {
        SPEC_FAIL(s, EG_TOO_LARGE, "clause %u: more than %d terms", s->clause, EXPR_NODES_MAX);
        return at;
    }
    s->shape_count++;
    at += head.own_bytes;
    for (uint32_t i = 0; i < head.children && s->c->err == EG_OK; i++) {
        at = measure(s, at, bound);
        all = all && *bound;
    }
    s->shape[index] = (struct shape){at, s->shape_count, all};
    *bound = all;
    return at;
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
static struct value known_prefix(struct spec *s, const uint8_t *begin, uint32_t children) {
    uint32_t shape_at = s->shape_at;
    const uint8_t *end = begin;
    struct value_writer w;
    uint32_t count;
    uint8_t *at;

    for (count = 0; count < children; count++) {
        bool array = value_kinds[*end] == VALUE_ARRAY;
        const struct shape *shape = &s->shape[shape_at];
        if (array ? !shape->bound : is_open(value_of(end)))
            break;
        end = array ? shape->end : value_skip(end);
        shape_at = array ? shape->next : shape_at;
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

static const uint8_t *match_place(struct spec *s, uint32_t place, const uint8_t *at);

static void match_array(struct spec *s, uint32_t place, const uint8_t *at) {
    struct value_head head = head_of(at);
    struct head_step step = {.place = place, .count = head.children, .first = s->c->places};

    if (step.count > EXPR_NODES_MAX || s->c->places + step.count > UINT16_MAX) {
        SPEC_FAIL(s, EG_TOO_LARGE, "clause %u: more than %d terms", s->clause, EXPR_NODES_MAX);
        return;
    }
    at += head.own_bytes;
    if (place < s->c->arity)
        step.prefix = known_prefix(s, at, head.children);
    s->c->places += step.count;
    add_step(s, step);
    for (uint32_t i = 0; s->c->err == EG_OK && i < head.children; i++)
        at = match_place(s, step.first + i, at);
}

static void add_test(struct spec *s, struct expr *x, struct expr *y) {
    struct expr *test = new_call(s, EXPR_EQ, x, y);

    if (test != NULL)
        add_step(s, (struct head_step){.test = test});
}

static void match_variable(struct spec *s, uint32_t place, uint32_t number) {
    struct expr *earlier = find_variable(s, number);

    if (earlier != NULL)
        add_test(s, earlier, new_place(s, place));
    else
        bind(s, number, new_place(s, place));
}

/* Returns where the term ends. */
static const uint8_t *match_place(struct spec *s, uint32_t place, const uint8_t *at) {
    bool array = value_kinds[*at] == VALUE_ARRAY;
    const struct shape *shape = &s->shape[s->shape_at];
    const uint8_t *end = array ? shape->end : value_skip(at);
    struct value v = {at, (uint32_t) (end - at)};
    uint32_t number;

    if (array && !shape->bound) {
        s->shape_at++;
        if (compiler_count_node(s->c))
            match_array(s, place, at);
        return end;
    }
    if (array)
        s->shape_at = shape->next;
    if (is_variable(v, &number))
        match_variable(s, place, number);
    else if (!is_text(v, "_"))
        add_test(s, new_place(s, place), new_literal(s, v));
    return end;
}

static void parse_head(struct spec *s, struct value head) {
    const uint8_t *at;
    uint32_t number;
    bool bound;

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
    s->shape_count = 0;
    measure(s, head.at, &bound);
    s->shape_at = 1; /* the head itself is the first */
    at = head.at + head_of(head.at).own_bytes;
    for (uint32_t i = 0; s->c->err == EG_OK && i < s->c->arity; i++)
        at = match_place(s, i, at);
}

/* ---- guards and bodies -------------------------------------------------------------------- */

/* The term at *at, which is moved behind it: each is passed over once. */
static struct expr *parse(struct spec *s, const uint8_t **at);

static void parse_args(struct spec *s, struct expr *e, const uint8_t **at) {
    for (uint16_t i = 0; e != NULL && s->c->err == EG_OK && i < e->count; i++)
        args_of(e)[i] = parse(s, at);
}

static struct value take_value(const uint8_t **at) {
    struct value v = value_of(*at);

    *at += v.size_bytes;
    return v;
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

/* An operator and `count` arguments. */
static struct expr *parse_call(struct spec *s, const uint8_t **at, uint32_t count) {
    struct value name = take_value(at);
    const struct spec_op *op;
    struct expr *e;

    if (is_text(name, "const")) {
        if (count == 1)
            return new_literal(s, take_value(at));
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
    parse_args(s, e, at);
    return special(s, op, e);
}

static struct expr *parse_array(struct spec *s, const uint8_t **at) {
    struct value_head head = head_of(*at);
    uint8_t first;
    struct expr *e;

    *at += head.own_bytes;
    first = head.children > 0 ? value_kinds[**at] : VALUE_NIL;
    if (first == VALUE_STRING)
        return parse_call(s, at, head.children - 1);
    if (first == VALUE_ARRAY && head.children == 1) {
        head = head_of(*at);
        *at += head.own_bytes;
        e = new_expr(s, EXPR_ARRAY, head.children);
        parse_args(s, e, at);
        return e;
    }
    SPEC_FAIL(s, EG_BAD_REQUEST,
              "clause %u: an array begins with an operator; [[a, b]] makes an array, "
              "[\"const\", x] quotes",
              s->clause);
    return NULL;
}

static struct expr *parse_map(struct spec *s, const uint8_t **at) {
    struct value_head head = head_of(*at);
    struct expr *e = new_expr(s, EXPR_MAP, head.children);

    *at += head.own_bytes;
    parse_args(s, e, at);
    return e;
}

static struct expr *parse(struct spec *s, const uint8_t **at) {
    switch (value_kinds[**at]) {
    case VALUE_STRING:
        return parse_string(s, take_value(at));
    case VALUE_ARRAY:
        return parse_array(s, at);
    case VALUE_MAP:
        return parse_map(s, at);
    default:
        return new_literal(s, take_value(at));
    }
}

/* ---- clauses --------------------------------------------------------------------------------- */

static void parse_guards(struct spec *s, struct value guards, struct clause *clause) {
    uint32_t count = value_count(guards);
    const uint8_t *at = guards.at + head_of(guards.at).own_bytes;
    const struct expr **guard;

    if (value_kind_of(guards) != VALUE_ARRAY) {
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: the guards are an array", s->clause);
        return;
    }
    if (count > EXPR_NODES_MAX) {
        SPEC_FAIL(s, EG_TOO_LARGE, "clause %u: more than %d terms", s->clause, EXPR_NODES_MAX);
        return;
    }
    guard = compiler_get(s->c, count * sizeof(*guard));
    for (uint32_t i = 0; i < count && s->c->err == EG_OK; i++)
        guard[i] = parse(s, &at);
    clause->guard = guard;
    clause->guard_count = count;
}

static void parse_body(struct spec *s, struct value body, struct clause *clause) {
    uint32_t count = value_count(body);
    const uint8_t *at = body.at + head_of(body.at).own_bytes;

    if (value_kind_of(body) != VALUE_ARRAY || count == 0) {
        SPEC_FAIL(s, EG_BAD_REQUEST, "clause %u: the body is an array of at least one term",
                  s->clause);
        return;
    }
    for (uint32_t i = 0; i < count && s->c->err == EG_OK; i++)
        clause->body = parse(s, &at);
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
    uint32_t variables, shapes;
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
    /* Each takes a byte at least. */
    variables = EG_MIN(spec.size_bytes, (uint32_t) SPEC_VARIABLES_MAX) + 1;
    shapes = EG_MIN(spec.size_bytes, (uint32_t) EXPR_NODES_MAX) + 1;
    s.variable = compiler_get(c, variables * sizeof *s.variable);
    s.shape = compiler_get(c, shapes * sizeof *s.shape);
    it = value_iter_of(spec);
    while (c->err == EG_OK && value_iter_next(&it, &v)) {
        s.clause++;
        parse_clause(&s, v);
    }
}
