/* text_lexer.h -- the words of a query, one after the other.
 *
 *     select a, 'it''s' from "my table" where b >= ? -- a comment
 *     '----' ^ ^ '----' ...
 *
 * A token is a span of the text; nothing is copied.  Keywords are known in any case; a
 * name in double quotes is never one.
 *
 * Threads    Pure functions over the caller's text.
 */
#ifndef QUERY_TEXT_LEXER_H
#define QUERY_TEXT_LEXER_H

#include "engine/err.h"

enum token_kind {
    TOKEN_END,
    TOKEN_BAD, /* no token begins here, or a quote is not closed */
    TOKEN_NAME,
    TOKEN_QUOTED,   /* "name", with "" for one quote inside     */
    TOKEN_STRING,   /* 'text', with '' for one quote inside     */
    TOKEN_BINARY,   /* x'00ff'                                  */
    TOKEN_INTEGER,  /* decimal digits                           */
    TOKEN_FLOAT,    /* with a point, an exponent or both        */
    TOKEN_ARGUMENT, /* ?                                        */

    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_OPEN_AT, /* [ */
    TOKEN_CLOSE_AT,
    TOKEN_COMMA,
    TOKEN_DOT,
    TOKEN_SEMICOLON,
    TOKEN_STAR,
    TOKEN_PLUS,
    TOKEN_MINUS,
    TOKEN_SLASH,
    TOKEN_PERCENT,
    TOKEN_EQ,
    TOKEN_NE,
    TOKEN_LT,
    TOKEN_LE,
    TOKEN_GT,
    TOKEN_GE,

    TOKEN_WORDS, /* from here on: keywords */
    TOKEN_AND = TOKEN_WORDS,
    TOKEN_AS,
    TOKEN_BETWEEN,
    TOKEN_BY,
    TOKEN_CROSS,
    TOKEN_DELETE,
    TOKEN_DISTINCT,
    TOKEN_FALSE,
    TOKEN_FROM,
    TOKEN_FULL,
    TOKEN_GROUP,
    TOKEN_HAVING,
    TOKEN_IN,
    TOKEN_INNER,
    TOKEN_INSERT,
    TOKEN_INTO,
    TOKEN_IS,
    TOKEN_JOIN,
    TOKEN_LEFT,
    TOKEN_LIKE,
    TOKEN_LIMIT,
    TOKEN_NATURAL,
    TOKEN_NOT,
    TOKEN_NULL,
    TOKEN_OFFSET,
    TOKEN_ON,
    TOKEN_OR,
    TOKEN_ORDER,
    TOKEN_OUTER,
    TOKEN_RIGHT,
    TOKEN_SELECT,
    TOKEN_SET,
    TOKEN_TRUE,
    TOKEN_UNION,
    TOKEN_UPDATE,
    TOKEN_VALUES,
    TOKEN_WHERE,
    TOKEN_KINDS,
};

struct token {
    enum token_kind kind;
    uint32_t at; /* of its first byte in the text */
    uint32_t size_bytes;
};

struct text_lexer {
    const char *text;
    uint32_t size_bytes;
    uint32_t next; /* where the next token is looked for */
};

void text_lexer_init(struct text_lexer *l, const char *text, uint32_t size_bytes);
struct token text_lexer_next(struct text_lexer *l);

/* Does the token read `word` (in lower case), in any case? */
bool text_token_is(const struct text_lexer *l, const struct token *t, const char *word);

/* A keyword as people write it; NULL: `kind` is none. */
const char *text_keyword(enum token_kind kind);

/* `err` with a note "line 1, column 17: ...".  Columns count characters from 1. */
eg_err text_note(const struct text_lexer *l, uint32_t at, struct err_note *note, eg_err err,
                 const char *format, ...) EG_PRINTF(5, 6);

#endif /* QUERY_TEXT_LEXER_H */
