/* text_expression.c -- expressions, by one function for each strength of binding.
 *
 * `and` and `or` in a row become a balanced tree: a thousand of them side by side are no
 * thousand levels, and what they mean does not depend on how they are grouped. */
#include "query/text_parser_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_TEXT_MAX = 400 }; /* digits worth reading: a double has no more */

/* ---- nodes ------------------------------------------------------------------------ */

static struct text_node *new_node(struct text_parser *p, enum text_node_kind kind, uint32_t at) {
    struct text_node *n;

    if (p->err != EG_OK)
        return NULL;
    if (++p->nodes > TEXT_NODES_MAX) {
        text_fail(p, at, EG_TOO_LARGE, "more parts than a query may have");
        return NULL;
    }
    n = text_get(p, sizeof *n);
    if (n != NULL)
        *n = (struct text_node){.kind = kind, .at = at, .depth = 1};
    return n;
}

static struct text_node *new_call(struct text_parser *p, enum expr_op op, uint32_t at,
                                  struct text_node **args, uint32_t count) {
    struct text_node *n = new_node(p, TEXT_CALL, at);

    if (n == NULL)
        return NULL;
    n->op = op;
    n->count = count;
    n->arg = text_get(p, count * sizeof(struct text_node *));
    if (n->arg == NULL)
        return NULL;
    for (uint32_t i = 0; i < count; i++) {
        n->arg[i] = args[i];
        n->depth = EG_MAX(n->depth, (uint16_t) (args[i]->depth + 1));
    }
    if (n->depth <= TEXT_DEPTH_MAX)
        return n;
    text_fail(p, at, EG_TOO_LARGE, "more than 200 levels");
    return NULL;
}

static struct text_node *call_1(struct text_parser *p, enum expr_op op, uint32_t at,
                                struct text_node *a) {
    return a == NULL ? NULL : new_call(p, op, at, (struct text_node *[]){a}, 1);
}

static struct text_node *call_2(struct text_parser *p, enum expr_op op, uint32_t at,
                                struct text_node *a, struct text_node *b) {
    return a == NULL || b == NULL ? NULL : new_call(p, op, at, (struct text_node *[]){a, b}, 2);
}

/* ---- literals ---------------------------------------------------------------------- */

/* A literal of what `w` wrote into room from the arena. */
static struct text_node *literal_of(struct text_parser *p, uint32_t at, const uint8_t *bytes,
                                    size_t size_bytes) {
    struct text_node *n = new_node(p, TEXT_LITERAL, at);

    if (n != NULL)
        n->literal = (struct value){bytes, (uint32_t) size_bytes};
    return n;
}

enum { LITERAL_BYTES = 9 };

static struct text_node *constant(struct text_parser *p, uint32_t at, uint8_t byte) {
    uint8_t *room = text_get(p, 1);

    if (room == NULL)
        return NULL;
    room[0] = byte;
    return literal_of(p, at, room, 1);
}

static struct text_node *number(struct text_parser *p, const struct token *t, bool negative) {
    const char *text = p->lexer.text + t->at;
    char digits[NUMBER_TEXT_MAX + 2];
    uint8_t *room = text_get(p, LITERAL_BYTES);
    struct value_writer w;
    uint64_t n = 0;
    bool fits = t->kind == TOKEN_INTEGER;

    if (room == NULL)
        return NULL;
    w = value_writer_init(room, LITERAL_BYTES);
    for (uint32_t i = 0; i < t->size_bytes && fits; i++)
        fits = !__builtin_mul_overflow(n, (uint64_t) 10, &n) &&
               !__builtin_add_overflow(n, (uint64_t) (text[i] - '0'), &n);
    if (fits && negative && n > (uint64_t) INT64_MAX + 1)
        fits = false;
    if (fits && negative) {
        value_put_i64(&w, n == (uint64_t) INT64_MAX + 1 ? INT64_MIN : -(int64_t) n);
    } else if (fits) {
        value_put_u64(&w, n);
    } else {
        double d;
        if (t->size_bytes > NUMBER_TEXT_MAX) {
            text_fail(p, t->at, EG_BAD_REQUEST, "a number of too many digits");
            return NULL;
        }
        memcpy(digits, text, t->size_bytes);
        digits[t->size_bytes] = '\0';
        d = strtod(digits, NULL);
        if (!isfinite(d)) {
            text_fail(p, t->at, EG_BAD_REQUEST, "a number beyond all floats");
            return NULL;
        }
        value_put_double(&w, negative ? -d : d);
    }
    return literal_of(p, t->at, room, w.need_bytes);
}

/* The text between the quotes, each doubled one once. */
static char *unquote(struct text_parser *p, const struct token *t, uint32_t *size_bytes) {
    const char *text = p->lexer.text + t->at;
    char *out = text_get(p, t->size_bytes);
    uint32_t used = 0;

    if (out == NULL)
        return NULL;
    for (uint32_t i = 1; i + 1 < t->size_bytes; i++) {
        out[used++] = text[i];
        if (text[i] == text[0])
            i++;
    }
    *size_bytes = used;
    return out;
}

static struct text_node *string(struct text_parser *p, const struct token *t) {
    uint32_t size_bytes = 0;
    const char *text = unquote(p, t, &size_bytes);
    uint8_t *room = text == NULL ? NULL : text_get(p, size_bytes + 5);
    struct value_writer w;

    if (room == NULL)
        return NULL;
    w = value_writer_init(room, size_bytes + 5);
    value_put_string(&w, text, size_bytes);
    return literal_of(p, t->at, room, w.need_bytes);
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static struct text_node *binary(struct text_parser *p, const struct token *t) {
    const char *text = p->lexer.text + t->at + 2;
    uint32_t digits = t->size_bytes - 3;
    uint8_t *bytes = text_get(p, digits / 2 + 1);
    uint8_t *room = text_get(p, digits / 2 + 5);
    struct value_writer w;

    if (room == NULL || bytes == NULL)
        return NULL;
    w = value_writer_init(room, digits / 2 + 5);
    for (uint32_t i = 0; i < digits; i++)
        if (digits % 2 != 0 || hex_digit(text[i]) < 0) {
            text_fail(p, t->at, EG_BAD_REQUEST, "a binary is pairs of hex digits");
            return NULL;
        }
    for (uint32_t i = 0; i < digits / 2; i++)
        bytes[i] = (uint8_t) (hex_digit(text[2 * i]) * 16 + hex_digit(text[2 * i + 1]));
    value_put_binary(&w, bytes, digits / 2);
    return literal_of(p, t->at, room, w.need_bytes);
}

/* ---- names and functions ------------------------------------------------------------ */

struct text_name text_take_name(struct text_parser *p, const char *what) {
    struct text_name name = {.position = p->now.at};
    struct token t = p->now;

    if (t.kind == TOKEN_NAME) {
        char *copy = text_get(p, t.size_bytes);
        if (copy != NULL)
            memcpy(copy, p->lexer.text + t.at, t.size_bytes);
        name.at = copy;
        name.size_bytes = t.size_bytes;
    } else if (t.kind == TOKEN_QUOTED) {
        name.at = unquote(p, &t, &name.size_bytes);
        if (name.size_bytes == 0)
            text_fail(p, t.at, EG_BAD_REQUEST, "a name is not empty");
    } else {
        text_expected(p, what);
        return name;
    }
    text_advance(p);
    return name;
}

static bool take_part(struct text_parser *p, struct text_list *parts) {
    struct text_name name = text_take_name(p, "a name");
    struct value *part = text_get(p, sizeof *part);
    uint8_t *room = part == NULL ? NULL : text_get(p, name.size_bytes + 5);
    struct value_writer w;

    if (room == NULL || p->err != EG_OK)
        return false;
    w = value_writer_init(room, name.size_bytes + 5);
    value_put_string(&w, name.at, name.size_bytes);
    *part = (struct value){room, (uint32_t) w.need_bytes};
    text_push(p, parts, part);
    return p->err == EG_OK;
}

struct text_node *text_reference(struct text_parser *p) {
    struct text_list parts = {NULL, 0, 0};
    struct text_node *n = new_node(p, TEXT_NAME, p->now.at);

    do {
        if (!take_part(p, &parts))
            return NULL;
        if (parts.count > VALUE_DEPTH_MAX) {
            text_fail(p, n->at, EG_TOO_LARGE, "a name of too many parts");
            return NULL;
        }
    } while (text_accept(p, TOKEN_DOT));
    n->count = parts.count;
    n->part = text_get(p, parts.count * sizeof *n->part);
    for (uint32_t i = 0; n->part != NULL && i < parts.count; i++)
        n->part[i] = *(struct value *) parts.at[i];
    return p->err == EG_OK ? n : NULL;
}

static bool aggregate_of(const struct text_parser *p, const struct token *t,
                         enum text_aggregate *out) {
    static const char *const names[] = {"count", "sum", "min", "max", "avg"};

    for (uint32_t i = 0; i < EG_COUNTOF(names); i++)
        if (text_token_is(&p->lexer, t, names[i])) {
            *out = (enum text_aggregate) i;
            return true;
        }
    return false;
}

/* Behind the name: "(*)" or "(expr)". */
static struct text_node *aggregate(struct text_parser *p, const struct token *name,
                                   enum text_aggregate which) {
    struct text_node *n = new_node(p, TEXT_AGGREGATE, name->at);
    struct text_node *arg;

    text_advance(p); /* the open parenthesis */
    if (n == NULL)
        return NULL;
    n->aggregate = which;
    if (which == TEXT_COUNT && text_accept(p, TOKEN_STAR))
        return text_expect(p, TOKEN_CLOSE, ")") ? n : NULL;
    if (p->now.kind == TOKEN_DISTINCT) {
        text_fail(p, p->now.at, EG_BAD_REQUEST, "aggregates of distinct values are not supported");
        return NULL;
    }
    arg = text_expression(p);
    n->arg = text_get(p, sizeof(struct text_node *));
    if (arg == NULL || n->arg == NULL || !text_expect(p, TOKEN_CLOSE, ")"))
        return NULL;
    n->arg[0] = arg;
    n->count = 1;
    n->depth = (uint16_t) (arg->depth + 1);
    return n;
}

static struct text_node *name_or_function(struct text_parser *p) {
    struct text_lexer ahead = p->lexer;
    struct token t = p->now;
    enum text_aggregate which;

    if (t.kind != TOKEN_NAME || text_lexer_next(&ahead).kind != TOKEN_OPEN)
        return text_reference(p);
    if (!aggregate_of(p, &t, &which)) {
        text_fail(p, t.at, EG_BAD_REQUEST, "no such function: there are count sum min max avg");
        return NULL;
    }
    text_advance(p);
    return aggregate(p, &t, which);
}

/* ---- from the strongest to the weakest ------------------------------------------------ */

static struct text_node *in_parentheses(struct text_parser *p) {
    struct text_node *n;

    text_advance(p);
    if (p->now.kind == TOKEN_SELECT) {
        text_fail(p, p->now.at, EG_BAD_REQUEST, "a select inside a query is not supported");
        return NULL;
    }
    n = text_expression(p);
    return text_expect(p, TOKEN_CLOSE, ")") ? n : NULL;
}

static struct text_node *primary(struct text_parser *p) {
    enum { NIL = 0xc0, FALSE = 0xc2, TRUE = 0xc3 }; /* MessagePack's */
    struct token t = p->now;
    struct text_node *n;

    switch (t.kind) {
    case TOKEN_INTEGER:
    case TOKEN_FLOAT:
        text_advance(p);
        return number(p, &t, false);
    case TOKEN_STRING:
        text_advance(p);
        return string(p, &t);
    case TOKEN_BINARY:
        text_advance(p);
        return binary(p, &t);
    case TOKEN_NULL:
    case TOKEN_TRUE:
    case TOKEN_FALSE:
        text_advance(p);
        return constant(p, t.at, t.kind == TOKEN_NULL ? NIL : t.kind == TOKEN_TRUE ? TRUE : FALSE);
    case TOKEN_ARGUMENT:
        text_advance(p);
        n = new_node(p, TEXT_ARGUMENT, t.at);
        if (n != NULL)
            n->number = p->arguments++;
        return n;
    case TOKEN_NAME:
    case TOKEN_QUOTED:
        return name_or_function(p);
    case TOKEN_OPEN:
        return in_parentheses(p);
    default:
        text_expected(p, "a value");
        return NULL;
    }
}

/* Each level of recursion passes through here or through negation(): both count. */
static bool deeper(struct text_parser *p) {
    if (p->err == EG_OK && p->depth >= TEXT_DEPTH_MAX)
        text_fail(p, p->now.at, EG_TOO_LARGE, "more than 200 levels");
    p->depth++;
    return p->err == EG_OK;
}

static struct text_node *unary(struct text_parser *p) {
    struct token sign = p->now, t;
    struct text_node *n = NULL;

    if (sign.kind != TOKEN_MINUS && sign.kind != TOKEN_PLUS)
        return primary(p);
    text_advance(p);
    t = p->now;
    if (sign.kind == TOKEN_MINUS && (t.kind == TOKEN_INTEGER || t.kind == TOKEN_FLOAT)) {
        text_advance(p);
        return number(p, &t, true);
    }
    if (deeper(p))
        n = unary(p);
    p->depth--;
    return sign.kind == TOKEN_PLUS ? n : call_1(p, EXPR_SQL_NEGATE, sign.at, n);
}

static struct text_node *product(struct text_parser *p) {
    struct text_node *n = unary(p);

    while (n != NULL) {
        struct token t = p->now;
        enum expr_op op = t.kind == TOKEN_STAR    ? EXPR_SQL_MUL
                          : t.kind == TOKEN_SLASH ? EXPR_SQL_DIVIDE
                                                  : EXPR_SQL_REM;
        if (t.kind != TOKEN_STAR && t.kind != TOKEN_SLASH && t.kind != TOKEN_PERCENT)
            break;
        text_advance(p);
        n = call_2(p, op, t.at, n, unary(p));
    }
    return n;
}

static struct text_node *sum(struct text_parser *p) {
    struct text_node *n = product(p);

    while (n != NULL && (p->now.kind == TOKEN_PLUS || p->now.kind == TOKEN_MINUS)) {
        struct token t = p->now;
        text_advance(p);
        n = call_2(p, t.kind == TOKEN_PLUS ? EXPR_SQL_ADD : EXPR_SQL_SUB, t.at, n, product(p));
    }
    return n;
}

static struct text_node *relation(struct text_parser *p) {
    static const enum expr_op ops[] = {[TOKEN_LT - TOKEN_LT] = EXPR_SQL_LT,
                                       [TOKEN_LE - TOKEN_LT] = EXPR_SQL_LE,
                                       [TOKEN_GT - TOKEN_LT] = EXPR_SQL_GT,
                                       [TOKEN_GE - TOKEN_LT] = EXPR_SQL_GE};
    struct text_node *n = sum(p);

    while (n != NULL && p->now.kind >= TOKEN_LT && p->now.kind <= TOKEN_GE) {
        struct token t = p->now;
        text_advance(p);
        n = call_2(p, ops[t.kind - TOKEN_LT], t.at, n, sum(p));
    }
    return n;
}

/* n in (expr, ...) or n in ? */
static struct text_node *in(struct text_parser *p, uint32_t at, struct text_node *n) {
    struct text_list args = {NULL, 0, 0};
    bool spread = p->now.kind == TOKEN_ARGUMENT;

    text_push(p, &args, n);
    if (!spread && !text_expect(p, TOKEN_OPEN, "( or ?"))
        return NULL;
    do {
        struct text_node *element = spread ? primary(p) : text_expression(p);
        if (element == NULL)
            return NULL;
        element->spread = spread;
        text_push(p, &args, element);
    } while (!spread && text_accept(p, TOKEN_COMMA));
    if (!spread && !text_expect(p, TOKEN_CLOSE, ", or )"))
        return NULL;
    return p->err != EG_OK
               ? NULL
               : new_call(p, EXPR_SQL_IN, at, (struct text_node **) args.at, args.count);
}

static struct text_node *between(struct text_parser *p, uint32_t at, struct text_node *n) {
    struct text_node *low = relation(p), *high;

    if (low == NULL || !text_expect(p, TOKEN_AND, "and"))
        return NULL;
    high = relation(p);
    return call_2(p, EXPR_SQL_AND, at, call_2(p, EXPR_SQL_GE, at, n, low),
                  call_2(p, EXPR_SQL_LE, at, n, high));
}

/* Behind n: what may stand after "is". */
static struct text_node *is(struct text_parser *p, uint32_t at, struct text_node *n) {
    bool negated = text_accept(p, TOKEN_NOT);

    if (!text_expect(p, TOKEN_NULL, negated ? "null" : "null or not null"))
        return NULL;
    n = call_1(p, EXPR_SQL_IS_NULL, at, n);
    return negated ? call_1(p, EXPR_SQL_NOT, at, n) : n;
}

static struct text_node *test(struct text_parser *p, struct token t, struct text_node *n) {
    switch (t.kind) {
    case TOKEN_EQ:
        return call_2(p, EXPR_SQL_EQ, t.at, n, relation(p));
    case TOKEN_NE:
        return call_2(p, EXPR_SQL_NE, t.at, n, relation(p));
    case TOKEN_IS:
        return is(p, t.at, n);
    case TOKEN_IN:
        return in(p, t.at, n);
    case TOKEN_LIKE:
        return call_2(p, EXPR_SQL_LIKE, t.at, n, relation(p));
    default:
        return between(p, t.at, n);
    }
}

static bool is_test(enum token_kind kind, bool negated) {
    if (kind == TOKEN_IN || kind == TOKEN_LIKE || kind == TOKEN_BETWEEN)
        return true;
    return !negated && (kind == TOKEN_EQ || kind == TOKEN_NE || kind == TOKEN_IS);
}

static struct text_node *tested(struct text_parser *p) {
    struct text_node *n = relation(p);

    while (n != NULL) {
        struct token t = p->now;
        bool negated = t.kind == TOKEN_NOT;

        if (negated) {
            text_advance(p);
            t = p->now;
            if (!is_test(t.kind, true)) {
                text_expected(p, "in, like or between");
                return NULL;
            }
        }
        if (!is_test(t.kind, negated))
            break;
        text_advance(p);
        n = test(p, t, n);
        if (negated)
            n = call_1(p, EXPR_SQL_NOT, t.at, n);
    }
    return n;
}

static struct text_node *negation(struct text_parser *p) {
    uint32_t at = p->now.at;
    struct text_node *n = NULL;

    if (!text_accept(p, TOKEN_NOT))
        return tested(p);
    if (deeper(p))
        n = negation(p);
    p->depth--;
    return call_1(p, EXPR_SQL_NOT, at, n);
}

/* One tree of `count` (at least 1) joined by `op`, as flat as can be. */
static struct text_node *balanced(struct text_parser *p, enum expr_op op, void **nodes,
                                  uint32_t count) {
    uint32_t half = count / 2;
    struct text_node *low, *high;

    if (count == 1)
        return nodes[0];
    low = balanced(p, op, nodes, half);
    high = balanced(p, op, nodes + half, count - half);
    return low == NULL ? NULL : call_2(p, op, low->at, low, high);
}

static struct text_node *in_a_row(struct text_parser *p, enum token_kind word, enum expr_op op,
                                  struct text_node *(*one)(struct text_parser *p)) {
    struct text_list nodes = {NULL, 0, 0};

    do {
        struct text_node *n = one(p);
        if (n == NULL)
            return NULL;
        text_push(p, &nodes, n);
    } while (text_accept(p, word));
    return p->err == EG_OK ? balanced(p, op, nodes.at, nodes.count) : NULL;
}

static struct text_node *conjunction(struct text_parser *p) {
    return in_a_row(p, TOKEN_AND, EXPR_SQL_AND, negation);
}

struct text_node *text_expression(struct text_parser *p) {
    struct text_node *n = NULL;

    if (deeper(p))
        n = in_a_row(p, TOKEN_OR, EXPR_SQL_OR, conjunction);
    p->depth--;
    return p->err == EG_OK ? n : NULL;
}
