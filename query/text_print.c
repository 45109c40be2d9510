/* text_print.c -- an expression in one form for all the ways to write it. */
#include "query/text_parser.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How strongly an expression binds: what binds weaker than its place needs parentheses. */
enum {
    BINDS_OR = 1,
    BINDS_AND,
    BINDS_NOT,
    BINDS_EQ,
    BINDS_LT,
    BINDS_SUM,
    BINDS_PRODUCT,
    BINDS_ALL
};

static const struct {
    const char *text;
    int binds;
} operators[EXPR_OPS] = {
    [EXPR_SQL_AND] = {"and", BINDS_AND},   [EXPR_SQL_OR] = {"or", BINDS_OR},
    [EXPR_SQL_NOT] = {"not ", BINDS_NOT},  [EXPR_SQL_EQ] = {"=", BINDS_EQ},
    [EXPR_SQL_NE] = {"!=", BINDS_EQ},      [EXPR_SQL_LT] = {"<", BINDS_LT},
    [EXPR_SQL_LE] = {"<=", BINDS_LT},      [EXPR_SQL_GT] = {">", BINDS_LT},
    [EXPR_SQL_GE] = {">=", BINDS_LT},      [EXPR_SQL_IN] = {"in", BINDS_EQ},
    [EXPR_SQL_LIKE] = {"like", BINDS_EQ},  [EXPR_SQL_IS_NULL] = {" is null", BINDS_EQ},
    [EXPR_SQL_ADD] = {"+", BINDS_SUM},     [EXPR_SQL_SUB] = {"-", BINDS_SUM},
    [EXPR_SQL_MUL] = {"*", BINDS_PRODUCT}, [EXPR_SQL_DIVIDE] = {"/", BINDS_PRODUCT},
    [EXPR_SQL_REM] = {"%", BINDS_PRODUCT}, [EXPR_SQL_NEGATE] = {"-", BINDS_ALL},
};

static eg_err put(struct buffer *out, const char *text) {
    return buffer_append(out, text, strlen(text)) ? EG_OK : EG_TOO_LARGE;
}

static eg_err put_quoted(struct buffer *out, const uint8_t *at, uint32_t size_bytes) {
    eg_err err = put(out, "'");

    for (uint32_t i = 0; i < size_bytes && err == EG_OK; i++)
        if (!buffer_append(out, at[i] == '\'' ? "''" : (const char *) at + i,
                           at[i] == '\'' ? 2 : 1))
            err = EG_TOO_LARGE;
    return err == EG_OK ? put(out, "'") : err;
}

/* A whole one keeps a point: without it it would be read as an integer, and -0.0 as 0. */
static void print_double(char *text, size_t size_bytes, double d) {
    int length = snprintf(text, size_bytes, "%.17g", d);

    if (strpbrk(text, ".e") == NULL)
        snprintf(text + length, size_bytes - (size_t) length, ".0");
}

static eg_err put_number(struct buffer *out, struct value v) {
    char text[40];
    int64_t n;
    uint64_t u;
    double d = 0;

    if (value_is_integer(v) && value_get_i64(v, &n))
        snprintf(text, sizeof text, "%" PRId64, n);
    else if (value_is_integer(v) && value_get_u64(v, &u))
        snprintf(text, sizeof text, "%" PRIu64, u);
    else if (value_get_double(v, &d))
        print_double(text, sizeof text, d);
    return put(out, text);
}

static eg_err put_literal(struct buffer *out, struct value v) {
    static const char *const words[] = {
        [VALUE_NIL] = "null", [VALUE_FALSE] = "false", [VALUE_TRUE] = "true"};
    enum value_kind kind = value_kind_of(v);
    const uint8_t *at;
    uint32_t size_bytes;
    eg_err err;

    if (kind <= VALUE_TRUE)
        return put(out, words[kind]);
    if (kind == VALUE_NUMBER)
        return put_number(out, v);
    if (!value_get_bytes(v, &at, &size_bytes))
        return put(out, "?");
    if (kind == VALUE_STRING)
        return put_quoted(out, at, size_bytes);
    err = put(out, "x'");
    for (uint32_t i = 0; i < size_bytes && err == EG_OK; i++) {
        char digits[3];
        snprintf(digits, sizeof digits, "%02x", at[i]);
        err = put(out, digits);
    }
    return err == EG_OK ? put(out, "'") : err;
}

static eg_err put_name(struct buffer *out, const struct text_node *n) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < n->count && err == EG_OK; i++) {
        const uint8_t *at;
        uint32_t size_bytes;
        if (!value_get_bytes(n->part[i], &at, &size_bytes))
            return EG_INTERNAL;
        if (i > 0)
            err = put(out, ".");
        if (err == EG_OK && !buffer_append(out, at, size_bytes))
            err = EG_TOO_LARGE;
    }
    return err;
}

static eg_err print(const struct text_node *n, int place, struct buffer *out);

static eg_err print_list(const struct text_node *n, uint32_t from, struct buffer *out) {
    eg_err err = put(out, " in (");

    for (uint32_t i = from; i < n->count && err == EG_OK; i++) {
        if (i > from)
            err = put(out, ", ");
        if (err == EG_OK)
            err = print(n->arg[i], BINDS_OR, out);
    }
    return err == EG_OK ? put(out, ")") : err;
}

static eg_err print_operator(const struct text_node *n, struct buffer *out) {
    int binds = operators[n->op].binds;
    const char *text = operators[n->op].text;
    eg_err err;

    switch (n->op) {
    case EXPR_SQL_NEGATE: /* of a number it would read as one, of another minus as a comment */
        if (n->arg[0]->kind == TEXT_LITERAL || n->arg[0]->kind == TEXT_CALL) {
            err = put(out, "-(");
            if (err == EG_OK)
                err = print(n->arg[0], BINDS_OR, out);
            return err == EG_OK ? put(out, ")") : err;
        }
        err = put(out, text);
        return err == EG_OK ? print(n->arg[0], binds, out) : err;
    case EXPR_SQL_NOT:
        err = put(out, text);
        return err == EG_OK ? print(n->arg[0], binds, out) : err;
    case EXPR_SQL_IS_NULL:
        err = print(n->arg[0], binds, out);
        return err == EG_OK ? put(out, text) : err;
    case EXPR_SQL_IN:
        err = print(n->arg[0], binds, out);
        return err == EG_OK ? print_list(n, 1, out) : err;
    default:
        err = print(n->arg[0], binds, out);
        if (err == EG_OK)
            err = put(out, " ");
        if (err == EG_OK)
            err = put(out, text);
        if (err == EG_OK)
            err = put(out, " ");
        /* Of equals the left goes first, but for and and or, where it is all the same. */
        return err == EG_OK ? print(n->arg[1], binds <= BINDS_AND ? binds : binds + 1, out) : err;
    }
}

static eg_err print_aggregate(const struct text_node *n, struct buffer *out) {
    static const char *const words[] = {[TEXT_COUNT] = "count(",
                                        [TEXT_SUM] = "sum(",
                                        [TEXT_MIN] = "min(",
                                        [TEXT_MAX] = "max(",
                                        [TEXT_AVG] = "avg("};
    eg_err err = put(out, words[n->aggregate]);

    if (err == EG_OK)
        err = n->count == 0 ? put(out, "*") : print(n->arg[0], BINDS_OR, out);
    return err == EG_OK ? put(out, ")") : err;
}

/* Deep as the tree is, which the parser has bounded. */
static eg_err print(const struct text_node *n, int place, struct buffer *out) {
    bool wrapped;
    eg_err err = EG_OK;

    switch (n->kind) {
    case TEXT_LITERAL:
        return put_literal(out, n->literal);
    case TEXT_ARGUMENT:
        return put(out, "?");
    case TEXT_NAME:
        return put_name(out, n);
    case TEXT_AGGREGATE:
        return print_aggregate(n, out);
    case TEXT_CALL:
        break;
    }
    wrapped = operators[n->op].binds < place;
    if (wrapped)
        err = put(out, "(");
    if (err == EG_OK)
        err = print_operator(n, out);
    return err == EG_OK && wrapped ? put(out, ")") : err;
}

eg_err text_print(const struct text_node *node, struct buffer *out) {
    return print(node, BINDS_OR, out);
}
