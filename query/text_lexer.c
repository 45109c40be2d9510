/* text_lexer.c -- the words of a query. */
#include "query/text_lexer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* In the order of enum token_kind, which is the alphabet's. */
static const char *const keywords[] = {
    "and",    "as",    "between", "by",     "cross", "delete",  "distinct", "false",
    "from",   "full",  "group",   "having", "in",    "inner",   "insert",   "into",
    "is",     "join",  "left",    "like",   "limit", "natural", "not",      "null",
    "offset", "on",    "or",      "order",  "outer", "right",   "select",   "set",
    "true",   "union", "update",  "values", "where",
};
_Static_assert(EG_COUNTOF(keywords) == TOKEN_KINDS - TOKEN_WORDS, "a word for each kind");

void text_lexer_init(struct text_lexer *l, const char *text, uint32_t size_bytes) {
    *l = (struct text_lexer){.text = text, .size_bytes = size_bytes};
}

const char *text_keyword(enum token_kind kind) {
    return kind >= TOKEN_WORDS && kind < TOKEN_KINDS ? keywords[kind - TOKEN_WORDS] : NULL;
}

/* ---- characters --------------------------------------------------------------- */

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Letters beyond ASCII are letters: names may be in any language. */
static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char) c >= 128;
}

static char lower(char c) {
    return (char) (c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* The character at `at`; 0 behind the end, which no token contains. */
static char peek(const struct text_lexer *l, uint32_t at) {
    return at < l->size_bytes ? l->text[at] : '\0';
}

static int compare_word(const char *at, uint32_t size_bytes, const char *word) {
    for (uint32_t i = 0; i < size_bytes; i++) {
        int difference = lower(at[i]) - word[i]; /* a word that has ended is the smaller */
        if (difference != 0 || word[i] == '\0')
            return difference;
    }
    return word[size_bytes] == '\0' ? 0 : -1;
}

bool text_token_is(const struct text_lexer *l, const struct token *t, const char *word) {
    return t->kind == TOKEN_NAME && compare_word(l->text + t->at, t->size_bytes, word) == 0;
}

/* ---- tokens -------------------------------------------------------------------- */

static enum token_kind keyword_of(const char *at, uint32_t size_bytes) {
    size_t low = 0, high = EG_COUNTOF(keywords);

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare_word(at, size_bytes, keywords[middle]);
        if (order == 0)
            return (enum token_kind)(TOKEN_WORDS + middle);
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return TOKEN_NAME;
}

static void skip_blanks(struct text_lexer *l) {
    for (;;) {
        while (is_blank(peek(l, l->next)))
            l->next++;
        if (peek(l, l->next) != '-' || peek(l, l->next + 1) != '-')
            return;
        while (l->next < l->size_bytes && l->text[l->next] != '\n')
            l->next++;
    }
}

static uint32_t end_of_word(const struct text_lexer *l, uint32_t at) {
    while (is_letter(peek(l, at)) || is_digit(peek(l, at)))
        at++;
    return at;
}

static uint32_t end_of_digits(const struct text_lexer *l, uint32_t at) {
    while (is_digit(peek(l, at)))
        at++;
    return at;
}

/* Behind the closing quote; 0: there is none. */
static uint32_t end_of_quoted(const struct text_lexer *l, uint32_t at) {
    char quote = l->text[at];

    for (at++; at < l->size_bytes; at++) {
        if (l->text[at] != quote)
            continue;
        if (peek(l, at + 1) != quote)
            return at + 1;
        at++;
    }
    return 0;
}

static uint32_t end_of_number(const struct text_lexer *l, uint32_t at, enum token_kind *kind) {
    uint32_t exponent;

    *kind = TOKEN_INTEGER;
    at = end_of_digits(l, at);
    if (peek(l, at) == '.') {
        *kind = TOKEN_FLOAT;
        at = end_of_digits(l, at + 1);
    }
    if (lower(peek(l, at)) == 'e') {
        exponent = at + 1 + (peek(l, at + 1) == '+' || peek(l, at + 1) == '-');
        if (is_digit(peek(l, exponent))) {
            *kind = TOKEN_FLOAT;
            at = end_of_digits(l, exponent);
        }
    }
    if (!is_letter(peek(l, at)))
        return at;
    *kind = TOKEN_BAD; /* 12abc */
    return end_of_word(l, at);
}

static uint32_t end_of_sign(const struct text_lexer *l, uint32_t at, enum token_kind *kind) {
    static const struct {
        char text[3];
        enum token_kind kind;
    } signs[] = {
        /* the longer first */
        {"<=", TOKEN_LE},      {">=", TOKEN_GE},   {"<>", TOKEN_NE},   {"!=", TOKEN_NE},
        {"==", TOKEN_EQ},      {"(", TOKEN_OPEN},  {")", TOKEN_CLOSE}, {"[", TOKEN_OPEN_AT},
        {"]", TOKEN_CLOSE_AT}, {",", TOKEN_COMMA}, {".", TOKEN_DOT},   {";", TOKEN_SEMICOLON},
        {"*", TOKEN_STAR},     {"+", TOKEN_PLUS},  {"-", TOKEN_MINUS}, {"/", TOKEN_SLASH},
        {"%", TOKEN_PERCENT},  {"=", TOKEN_EQ},    {"<", TOKEN_LT},    {">", TOKEN_GT},
        {"?", TOKEN_ARGUMENT},
    };

    for (size_t i = 0; i < EG_COUNTOF(signs); i++) {
        uint32_t size = (uint32_t) strlen(signs[i].text);
        if (peek(l, at) == signs[i].text[0] && (size == 1 || peek(l, at + 1) == signs[i].text[1])) {
            *kind = signs[i].kind;
            return at + size;
        }
    }
    *kind = TOKEN_BAD;
    return at + 1;
}

struct token text_lexer_next(struct text_lexer *l) {
    struct token t = {.kind = TOKEN_END};
    uint32_t end;
    char c;

    skip_blanks(l);
    t.at = l->next;
    if (l->next >= l->size_bytes)
        return t;
    c = l->text[t.at];
    if (c == '\'' || c == '"') {
        end = end_of_quoted(l, t.at);
        t.kind = end == 0 ? TOKEN_BAD : c == '"' ? TOKEN_QUOTED : TOKEN_STRING;
    } else if (lower(c) == 'x' && peek(l, t.at + 1) == '\'') {
        end = end_of_quoted(l, t.at + 1);
        t.kind = end == 0 ? TOKEN_BAD : TOKEN_BINARY;
    } else if (is_letter(c)) {
        end = end_of_word(l, t.at);
        t.kind = keyword_of(l->text + t.at, end - t.at);
    } else if (is_digit(c) || (c == '.' && is_digit(peek(l, t.at + 1)))) {
        end = end_of_number(l, t.at, &t.kind);
    } else {
        end = end_of_sign(l, t.at, &t.kind);
    }
    if (end == 0)
        end = l->size_bytes; /* a quote that is never closed */
    t.size_bytes = end - t.at;
    l->next = end;
    return t;
}

/* ---- errors ------------------------------------------------------------------------ */

eg_err text_note(const struct text_lexer *l, uint32_t at, struct err_note *note, eg_err err,
                 const char *format, ...) {
    uint32_t line = 1, column = 1;
    va_list args;
    int used;

    if (note == NULL)
        return err;
    for (uint32_t i = 0; i < at && i < l->size_bytes; i++) {
        if (l->text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char) l->text[i] & 0xc0) != 0x80) { /* no byte inside a character */
            column++;
        }
    }
    used = snprintf(note->text, sizeof note->text, "line %u, column %u: ", line, column);
    va_start(args, format);
    (void) vsnprintf(note->text + used, sizeof note->text - (size_t) used, format, args);
    va_end(args); /* cut where too long, as err_note() does */
    return err;
}
