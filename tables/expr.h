/* expr.h -- a question before it is compiled: a tree of calls over one record.
 *
 *     ["andalso", [">", "$1", 30], ["is_string", "$2"]]       a match specification's guard
 *     age > 30 and name is not null                           the same wish in text
 *
 *              ANDALSO
 *             /       \
 *            GT      IS_STRING        expr_compile() makes one program of either
 *          /    \        |
 *      FIELD 2  30    FIELD 1
 *
 * Two languages build these trees, and each says what its calls mean where a value is
 * missing or of a wrong kind: those of match specifications fail, as in ETS; those of
 * text (EXPR_SQL_*) follow three-valued logic, nil being unknown.
 *
 * Ownership  Nodes and their arrays are in the caller's arena; literals borrow from the
 *            specification or the text's arguments.  The program copies what it keeps.
 * Threads    Pure data.
 */
#ifndef TABLES_EXPR_H
#define TABLES_EXPR_H

#include "tables/value.h"

enum {
    EXPR_NODES_MAX = 16 * 1024, /* of one question, all its clauses together */
    EXPR_DEPTH_MAX = 200,
};

enum expr_op {
    EXPR_LITERAL, /* `literal`                                                  */
    EXPR_FIELD,   /* the record's element `position`, then `path` into it        */
    EXPR_RECORD,  /* "$_": the whole record                                     */
    EXPR_ALL,     /* "$$": all variables, in an array                           */
    EXPR_ARRAY,   /* an array of the arguments                                  */
    EXPR_MAP,     /* a map of the arguments: key, value, key, value ...         */

    /* Match specifications: a wrong kind fails the guard, or makes the body "EXIT". */
    EXPR_AND,
    EXPR_OR,
    EXPR_NOT,
    EXPR_XOR,
    EXPR_ANDALSO,
    EXPR_ORELSE,
    EXPR_EQ,
    EXPR_NE,
    EXPR_SAME,
    EXPR_NOT_SAME,
    EXPR_LT,
    EXPR_LE,
    EXPR_GT,
    EXPR_GE,
    EXPR_ADD,
    EXPR_SUB,
    EXPR_MUL,
    EXPR_DIVIDE,
    EXPR_DIV,
    EXPR_REM,
    EXPR_NEGATE,
    EXPR_BAND,
    EXPR_BOR,
    EXPR_BXOR,
    EXPR_BNOT,
    EXPR_BSL,
    EXPR_BSR,
    EXPR_IS_NIL,
    EXPR_IS_BOOLEAN,
    EXPR_IS_NUMBER,
    EXPR_IS_INTEGER,
    EXPR_IS_FLOAT,
    EXPR_IS_STRING,
    EXPR_IS_BINARY,
    EXPR_IS_LIST,
    EXPR_IS_MAP,
    EXPR_IS_MAP_KEY,
    EXPR_ABS,
    EXPR_ROUND,
    EXPR_TRUNC,
    EXPR_FLOOR,
    EXPR_CEIL,
    EXPR_FLOAT,
    EXPR_MIN,
    EXPR_MAX,
    EXPR_SIZE,
    EXPR_LENGTH,
    EXPR_BYTE_SIZE,
    EXPR_MAP_SIZE,
    EXPR_HD,
    EXPR_TL,
    EXPR_ELEMENT,
    EXPR_MAP_GET,
    EXPR_BINARY_PART,

    /* Text: nil in, nil out, but for those that ask for it. */
    EXPR_SQL_AND,
    EXPR_SQL_OR,
    EXPR_SQL_NOT,
    EXPR_SQL_EQ,
    EXPR_SQL_NE,
    EXPR_SQL_LT,
    EXPR_SQL_LE,
    EXPR_SQL_GT,
    EXPR_SQL_GE,
    EXPR_SQL_IN,      /* the first argument among the others */
    EXPR_SQL_IN_LIST, /* the compiler's own: a long one of literals */
    EXPR_SQL_LIKE,    /* value, pattern                      */
    EXPR_SQL_IS_NULL, /* never unknown                       */
    EXPR_SQL_ADD,
    EXPR_SQL_SUB,
    EXPR_SQL_MUL,
    EXPR_SQL_DIVIDE,
    EXPR_SQL_REM,
    EXPR_SQL_NEGATE,
    EXPR_OPS,
};

struct expr {
    enum expr_op op;
    uint16_t count;           /* of arguments                                   */
    uint16_t position;        /* of EXPR_FIELD                                  */
    uint32_t at;              /* where in the source, for errors; 0: not known  */
    struct value literal;     /* of EXPR_LITERAL                                */
    const struct value *path; /* of EXPR_FIELD: map keys and array positions in turn */
    uint16_t path_count;
    struct expr *const *arg;
};

#endif /* TABLES_EXPR_H */
