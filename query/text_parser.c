/* text_parser.c -- statements: which clauses there are, and in which order. */
#include "query/text_parser_private.h"

#include <string.h>

/* ---- tokens ------------------------------------------------------------------------- */

void text_fail(struct text_parser *p, uint32_t at, eg_err err, const char *why) {
    if (p->err == EG_OK)
        p->err = text_note(&p->lexer, at, p->note, err, "%s", why);
}

void *text_get(struct text_parser *p, size_t size_bytes) {
    void *at = p->err == EG_OK ? arena_get(p->arena, size_bytes) : NULL;

    if (at == NULL && p->err == EG_OK)
        p->err = EG_MEMORY;
    return at;
}

void text_push(struct text_parser *p, struct text_list *list, void *element) {
    if (list->count == list->room) {
        uint32_t room = EG_MAX(4u, 2 * list->room);
        void **at = text_get(p, room * sizeof *at);
        if (at == NULL)
            return;
        if (list->count > 0)
            memcpy(at, list->at, list->count * sizeof *at);
        list->at = at;
        list->room = room;
    }
    list->at[list->count++] = element;
}

void text_expected(struct text_parser *p, const char *what) {
    enum { SHOWN_MAX = 40 };
    const struct token *t = &p->now;

    if (p->err != EG_OK)
        return;
    if (t->kind == TOKEN_END)
        p->err = text_note(&p->lexer, t->at, p->note, EG_BAD_REQUEST,
                           "expected %s, but the query ends", what);
    else
        p->err =
            text_note(&p->lexer, t->at, p->note, EG_BAD_REQUEST, "expected %s, not %.*s", what,
                      (int) EG_MIN(t->size_bytes, (uint32_t) SHOWN_MAX), p->lexer.text + t->at);
}

void text_advance(struct text_parser *p) {
    const char *text = p->lexer.text;

    p->now = text_lexer_next(&p->lexer);
    if (p->now.kind != TOKEN_BAD)
        return;
    if (text[p->now.at] == '\'' || text[p->now.at] == '"')
        text_fail(p, p->now.at, EG_BAD_REQUEST, "a quote that is never closed");
    else
        text_expected(p, "a word, a value or a sign");
}

bool text_accept(struct text_parser *p, enum token_kind kind) {
    if (p->err != EG_OK || p->now.kind != kind)
        return false;
    text_advance(p);
    return true;
}

bool text_expect(struct text_parser *p, enum token_kind kind, const char *what) {
    if (text_accept(p, kind))
        return true;
    text_expected(p, what);
    return false;
}

/* ---- parts that several statements have ----------------------------------------------- */

static void where(struct text_parser *p, struct text_query *q) {
    if (text_accept(p, TOKEN_WHERE))
        q->where = text_expression(p);
}

static void only_table(struct text_parser *p, struct text_query *q) {
    q->table_count = 1;
    q->table[0].name = text_take_name(p, "a table's name");
    q->table[0].alias = q->table[0].name;
}

/* ---- select ----------------------------------------------------------------------------- */

/* [as] NAME, or nothing. */
static struct text_name alias(struct text_parser *p) {
    if (text_accept(p, TOKEN_AS) || p->now.kind == TOKEN_NAME || p->now.kind == TOKEN_QUOTED)
        return text_take_name(p, "a name");
    return (struct text_name){NULL, 0, 0};
}

static void items(struct text_parser *p, struct text_query *q) {
    struct text_list list = {NULL, 0, 0};

    if (p->now.kind == TOKEN_DISTINCT) {
        text_fail(p, p->now.at, EG_BAD_REQUEST, "distinct is not supported: use group by");
        return;
    }
    if (text_accept(p, TOKEN_STAR))
        return;
    do {
        struct text_item *item = text_get(p, sizeof *item);
        if (item == NULL)
            return;
        item->node = text_expression(p);
        item->alias = alias(p);
        text_push(p, &list, item);
    } while (text_accept(p, TOKEN_COMMA));
    q->items = text_get(p, list.count * sizeof *q->items);
    if (q->items == NULL)
        return;
    for (uint32_t i = 0; i < list.count; i++)
        q->items[i] = *(struct text_item *) list.at[i];
    q->item_count = list.count;
}

static void from_table(struct text_parser *p, struct text_query *q) {
    struct text_table *t = &q->table[q->table_count++];

    t->name = text_take_name(p, "a table's name");
    t->alias = alias(p);
    if (t->alias.size_bytes == 0)
        t->alias = t->name;
}

static void tables(struct text_parser *p, struct text_query *q) {
    from_table(p, q);
    if (p->now.kind == TOKEN_COMMA) {
        text_expected(p, "join ... on, the way to name a second table");
        return;
    }
    switch (p->now.kind) {
    case TOKEN_LEFT:
    case TOKEN_RIGHT:
    case TOKEN_FULL:
    case TOKEN_CROSS:
    case TOKEN_NATURAL:
    case TOKEN_OUTER:
        text_expected(p, "join: only inner joins are supported");
        return;
    case TOKEN_INNER:
        text_advance(p);
        break;
    case TOKEN_JOIN:
        break;
    default:
        return;
    }
    if (!text_expect(p, TOKEN_JOIN, "join"))
        return;
    from_table(p, q);
    if (!text_expect(p, TOKEN_ON, "on"))
        return;
    q->on[0] = text_reference(p);
    if (!text_expect(p, TOKEN_EQ, "="))
        return;
    q->on[1] = text_reference(p);
    if (p->now.kind == TOKEN_JOIN || p->now.kind == TOKEN_INNER)
        text_fail(p, p->now.at, EG_BAD_REQUEST, "a join is of two tables");
}

static void group(struct text_parser *p, struct text_query *q) {
    struct text_list list = {NULL, 0, 0};

    if (text_accept(p, TOKEN_GROUP)) {
        if (!text_expect(p, TOKEN_BY, "by"))
            return;
        do
            text_push(p, &list, text_expression(p));
        while (text_accept(p, TOKEN_COMMA));
        q->group = (struct text_node **) list.at;
        q->group_count = list.count;
    }
    if (text_accept(p, TOKEN_HAVING))
        q->having = text_expression(p);
}

static void order(struct text_parser *p, struct text_query *q) {
    struct text_list list = {NULL, 0, 0};

    if (!text_accept(p, TOKEN_ORDER) || !text_expect(p, TOKEN_BY, "by"))
        return;
    do {
        struct text_order *o = text_get(p, sizeof *o);
        if (o == NULL)
            return;
        o->node = text_expression(p);
        o->descending = text_token_is(&p->lexer, &p->now, "desc");
        if (o->descending || text_token_is(&p->lexer, &p->now, "asc"))
            text_advance(p);
        text_push(p, &list, o);
    } while (text_accept(p, TOKEN_COMMA));
    q->order = text_get(p, list.count * sizeof *q->order);
    for (uint32_t i = 0; q->order != NULL && i < list.count; i++)
        q->order[i] = *(struct text_order *) list.at[i];
    q->order_count = list.count;
}

static struct text_node *row_count(struct text_parser *p) {
    if (p->now.kind == TOKEN_INTEGER || p->now.kind == TOKEN_ARGUMENT)
        return text_expression(p);
    text_expected(p, "an integer from 0 on, or ?");
    return NULL;
}

static void select_rest(struct text_parser *p, struct text_query *q) {
    items(p, q);
    if (!text_expect(p, TOKEN_FROM, "from"))
        return;
    tables(p, q);
    where(p, q);
    group(p, q);
    order(p, q);
    if (!text_accept(p, TOKEN_LIMIT))
        return;
    q->limit = row_count(p);
    if (text_accept(p, TOKEN_OFFSET))
        q->offset = row_count(p);
}

/* ---- insert, update, delete --------------------------------------------------------------- */

static void insert_names(struct text_parser *p, struct text_query *q) {
    struct text_list list = {NULL, 0, 0};

    do {
        struct text_name *name = text_get(p, sizeof *name);
        if (name == NULL)
            return;
        *name = text_take_name(p, "an attribute's name");
        text_push(p, &list, name);
    } while (text_accept(p, TOKEN_COMMA));
    if (!text_expect(p, TOKEN_CLOSE, ", or )"))
        return;
    q->names = text_get(p, list.count * sizeof *q->names);
    for (uint32_t i = 0; q->names != NULL && i < list.count; i++)
        q->names[i] = *(struct text_name *) list.at[i];
    q->name_count = list.count;
}

static void insert_row(struct text_parser *p, struct text_list *rows, struct text_list *sizes) {
    struct text_list row = {NULL, 0, 0};
    uint32_t *size = text_get(p, sizeof *size);

    if (size == NULL || !text_expect(p, TOKEN_OPEN, "("))
        return;
    do
        text_push(p, &row, text_expression(p));
    while (text_accept(p, TOKEN_COMMA));
    *size = row.count;
    if (!text_expect(p, TOKEN_CLOSE, ", or )"))
        return;
    text_push(p, rows, row.at);
    text_push(p, sizes, size);
}

static void insert_rest(struct text_parser *p, struct text_query *q) {
    struct text_list rows = {NULL, 0, 0}, sizes = {NULL, 0, 0};

    if (!text_expect(p, TOKEN_INTO, "into"))
        return;
    only_table(p, q);
    if (text_accept(p, TOKEN_OPEN))
        insert_names(p, q);
    if (!text_expect(p, TOKEN_VALUES, q->name_count > 0 ? "values" : "( or values"))
        return;
    do
        insert_row(p, &rows, &sizes);
    while (text_accept(p, TOKEN_COMMA));
    q->row_sizes = text_get(p, sizes.count * sizeof *q->row_sizes);
    for (uint32_t i = 0; q->row_sizes != NULL && i < sizes.count; i++)
        q->row_sizes[i] = *(uint32_t *) sizes.at[i];
    q->rows = (struct text_node ***) rows.at;
    q->row_count = rows.count;
}

static void update_rest(struct text_parser *p, struct text_query *q) {
    struct text_list list = {NULL, 0, 0};

    only_table(p, q);
    if (!text_expect(p, TOKEN_SET, "set"))
        return;
    do {
        struct text_change *change = text_get(p, sizeof *change);
        if (change == NULL)
            return;
        change->name = text_take_name(p, "an attribute's name");
        if (!text_expect(p, TOKEN_EQ, "="))
            return;
        change->node = text_expression(p);
        text_push(p, &list, change);
    } while (text_accept(p, TOKEN_COMMA));
    q->changes = text_get(p, list.count * sizeof *q->changes);
    for (uint32_t i = 0; q->changes != NULL && i < list.count; i++)
        q->changes[i] = *(struct text_change *) list.at[i];
    q->change_count = list.count;
    where(p, q);
}

static void delete_rest(struct text_parser *p, struct text_query *q) {
    if (!text_expect(p, TOKEN_FROM, "from"))
        return;
    only_table(p, q);
    where(p, q);
}

/* ---- a query -------------------------------------------------------------------------------- */

static void statement(struct text_parser *p, struct text_query *q) {
    static void (*const rest[])(struct text_parser * p,
                                struct text_query * q) = {[TEXT_SELECT] = select_rest,
                                                          [TEXT_INSERT] = insert_rest,
                                                          [TEXT_UPDATE] = update_rest,
                                                          [TEXT_DELETE] = delete_rest};
    static const enum token_kind word[] = {[TEXT_SELECT] = TOKEN_SELECT,
                                           [TEXT_INSERT] = TOKEN_INSERT,
                                           [TEXT_UPDATE] = TOKEN_UPDATE,
                                           [TEXT_DELETE] = TOKEN_DELETE};

    for (uint32_t i = 0; i < EG_COUNTOF(word); i++)
        if (text_accept(p, word[i])) {
            q->statement = (enum text_statement) i;
            rest[i](p, q);
            (void) text_accept(p, TOKEN_SEMICOLON);                   /* it may stand there */
            (void) text_expect(p, TOKEN_END, "the end of the query"); /* p->err says it */
            return;
        }
    text_expected(p, "select, insert, update or delete");
}

eg_err text_parse(struct text_query **out, struct arena *arena, const char *text, size_t size_bytes,
                  struct err_note *note) {
    struct text_parser p = {.arena = arena, .note = note};
    struct text_query *q;

    if (size_bytes > TEXT_BYTES_MAX)
        return err_note(note, EG_TOO_LARGE, "a query is at most 64 KiB");
    q = text_get(&p, sizeof *q);
    if (q == NULL)
        return EG_MEMORY;
    *q = (struct text_query){0};
    text_lexer_init(&p.lexer, text, (uint32_t) size_bytes);
    text_advance(&p);
    statement(&p, q);
    q->argument_count = p.arguments;
    if (p.err == EG_OK)
        *out = q;
    return p.err;
}
