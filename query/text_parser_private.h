/* text_parser_private.h -- what the parser's two halves share: tokens and expressions. */
#ifndef QUERY_TEXT_PARSER_PRIVATE_H
#define QUERY_TEXT_PARSER_PRIVATE_H

#include "query/text_parser.h"

/* The first error stays in `err`, and everything after it returns at once: so a
 * function that returns a node returns NULL where there was one. */
struct text_parser {
    struct text_lexer lexer;
    struct token now;
    struct arena *arena;
    struct err_note *note;
    eg_err err;
    uint32_t depth; /* of the parser's own recursion */
    uint32_t nodes;
    uint32_t arguments;
};

/* A list that grows in the arena. */
struct text_list {
    void **at;
    uint32_t count, room;
};

void text_advance(struct text_parser *p);
/* If the next token is `kind`, take it. */
bool text_accept(struct text_parser *p, enum token_kind kind);
/* The same, or the error "expected `what`". */
bool text_expect(struct text_parser *p, enum token_kind kind, const char *what);
void text_expected(struct text_parser *p, const char *what);
/* Fail, pointing at `at`. */
void text_fail(struct text_parser *p, uint32_t at, eg_err err, const char *why);
void *text_get(struct text_parser *p, size_t size_bytes); /* NULL: failed */
void text_push(struct text_parser *p, struct text_list *list, void *element);
/* A bare or quoted name, unquoted. */
struct text_name text_take_name(struct text_parser *p, const char *what);

struct text_node *text_expression(struct text_parser *p);
/* A name with its parts: a, t.a, a.b.c */
struct text_node *text_reference(struct text_parser *p);

#endif /* QUERY_TEXT_PARSER_PRIVATE_H */
