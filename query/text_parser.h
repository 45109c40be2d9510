/* text_parser.h -- a query's text as a tree.
 *
 *     select name, count(*) from users where age > ? group by name order by 2 desc limit 10
 *            '------------'      '---'       '-----'          '--'          '----'      ''
 *                 items          tables      where           group         order     limit
 *
 *     query  := select | insert | update | delete  [;]
 *     select := select (* | item, ...) from table [[as] NAME] [[inner] join table on name = name]
 *               [where expr] [group by expr, ...] [having expr]
 *               [order by expr [asc | desc], ...] [limit n [offset n]]
 *     item   := expr [[as] NAME]
 *     insert := insert into NAME [(NAME, ...)] values (expr, ...), ...
 *     update := update NAME set NAME = expr, ... [where expr]
 *     delete := delete from NAME [where expr]
 *     expr   := or | and | not | = != is in like between | < <= > >= | + - | * / % | - | primary
 *
 * Names are not looked up here and arguments not filled in: a tree says what was written
 * and where.
 *
 * Bounds     TEXT_BYTES_MAX of text, TEXT_DEPTH_MAX levels, TEXT_NODES_MAX nodes: past them
 *            EG_TOO_LARGE.  The parser never recurses deeper than the levels it allows.
 * Ownership  The tree lies in the caller's arena and copies what it needs of the text.
 */
#ifndef QUERY_TEXT_PARSER_H
#define QUERY_TEXT_PARSER_H

#include "engine/arena.h"
#include "engine/buffer.h"
#include "query/text_lexer.h"
#include "tables/expr.h"

enum {
    TEXT_BYTES_MAX = 64 * 1024,
    TEXT_DEPTH_MAX = 200,
    TEXT_NODES_MAX = EXPR_NODES_MAX,
    TEXT_TABLES_MAX = 2,
};

enum text_node_kind {
    TEXT_LITERAL,
    TEXT_ARGUMENT,  /* ?: the `number`th, from 0           */
    TEXT_NAME,      /* a, t.a, a.b.c: its `part`s          */
    TEXT_CALL,      /* `op` of enum expr_op with `arg`s    */
    TEXT_AGGREGATE, /* `aggregate` of arg[0]; count(*) has none */
};

enum text_aggregate { TEXT_COUNT, TEXT_SUM, TEXT_MIN, TEXT_MAX, TEXT_AVG };

struct text_node {
    enum text_node_kind kind;
    enum expr_op op;
    enum text_aggregate aggregate;
    bool spread;     /* of an argument: an array whose elements are meant, as in `in ?` */
    uint16_t depth;  /* 1: it has nothing below it */
    uint32_t at;     /* in the text */
    uint32_t number; /* of an argument */
    uint32_t count;  /* of arg or part */
    struct value literal;
    struct value *part; /* strings */
    struct text_node **arg;
};

struct text_name { /* one word, unquoted; size 0: none */
    const char *at;
    uint32_t size_bytes;
    uint32_t position; /* in the text */
};

struct text_item {
    struct text_node *node;
    struct text_name alias;
};
struct text_order {
    struct text_node *node;
    bool descending;
};
struct text_table {
    struct text_name name, alias;
};
struct text_change { /* of update */
    struct text_name name;
    struct text_node *node;
};

enum text_statement { TEXT_SELECT, TEXT_INSERT, TEXT_UPDATE, TEXT_DELETE };

struct text_query {
    enum text_statement statement;
    uint32_t table_count;
    struct text_table table[TEXT_TABLES_MAX];
    struct text_node *on[2]; /* of a join: the two sides of its = */
    struct text_node *where; /* NULL: none; so are the others     */
    uint32_t item_count;     /* 0: *                              */
    struct text_item *items;
    uint32_t group_count;
    struct text_node **group;
    struct text_node *having;
    uint32_t order_count;
    struct text_order *order;
    struct text_node *limit, *offset;

    uint32_t name_count; /* insert: the attributes named; 0: all */
    struct text_name *names;
    uint32_t row_count; /* insert */
    struct text_node ***rows;
    uint32_t *row_sizes;
    uint32_t change_count; /* update */
    struct text_change *changes;

    uint32_t argument_count; /* how many ? there are */
};

/* EG_BAD_REQUEST and EG_TOO_LARGE with a note that points at the character; EG_MEMORY. */
EG_MUST_USE eg_err text_parse(struct text_query **out, struct arena *arena, const char *text,
                              size_t size_bytes, struct err_note *note);

/* Append what `node` says, in one form for all ways to write it: "count(*)", "a + 1". */
EG_MUST_USE eg_err text_print(const struct text_node *node, struct buffer *out);

#endif /* QUERY_TEXT_PARSER_H */
