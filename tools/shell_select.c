/* shell_select.c -- match specifications from a command line, page after page. */
#include "tools/shell.h"

#include <errno.h>
#include <stdlib.h>

enum { PAGE_RESULTS = 1000 };

static bool limit_of(const char *word, uint64_t *limit) {
    char *end;

    errno = 0;
    *limit = strtoull(word, &end, 10);
    return word[0] >= '1' && word[0] <= '9' && *end == '\0' && errno == 0;
}

/* Ask for the first page. */
static int ask(struct shell *s, struct args *a, uint64_t limit, bool reverse) {
    struct pack *p = shell_params(s, 3);
    int code;

    pack_text(p, a->word[0]);
    code = shell_pack_field(p, a->word[1]);
    pack_map(p, 2 + shell_tx_options(s));
    pack_text(p, "limit");
    pack_u64(p, limit < PAGE_RESULTS ? limit : PAGE_RESULTS);
    pack_text(p, "reverse");
    pack_bool(p, reverse);
    if (code == EXIT_OK)
        code = shell_tx_pack(s);
    return code == EXIT_OK ? shell_ask(s, "select") : code;
}

/* Up to *left results of s->last; its cursor goes to *cursor, and may be nil. */
static int take_page(struct shell *s, struct pack *results, uint64_t *left, struct pack *cursor) {
    struct value page = s->last.result, list, next, v;
    struct value_iter it;

    if (value_kind_of(page) != VALUE_ARRAY || value_count(page) != 2)
        return shell_fail(EXIT_REFUSED, "the node's answer is no page");
    it = value_iter_of(page);
    if (!value_iter_next(&it, &list) || !value_iter_next(&it, &next) ||
        value_kind_of(list) != VALUE_ARRAY)
        return shell_fail(EXIT_REFUSED, "the node's answer is no page");
    for (it = value_iter_of(list); *left > 0 && value_iter_next(&it, &v); --*left)
        pack_raw(results, v);
    pack_clear(cursor);
    pack_raw(cursor, next);
    return EXIT_OK;
}

/* All that was taken as one array. */
static int print_all(struct shell *s, struct pack *results, uint64_t count) {
    struct pack whole;
    int code;

    if (results->failed || count > UINT32_MAX)
        return shell_fail(EXIT_REFUSED, "too many results to print: ask with --limit");
    pack_init(&whole, s->alloc);
    pack_array(&whole, (uint32_t) count);
    if (count > 0)
        pack_raw(&whole, pack_value(results));
    code = whole.failed ? shell_fail(EXIT_REFUSED, "too many results to print: ask with --limit")
                        : print_values(s, "result", pack_value(&whole));
    pack_fini(&whole);
    return code;
}

int command_select(struct shell *s, struct args *a) {
    const char *word = NULL;
    uint64_t limit = UINT64_MAX, left;
    struct pack results, cursor;
    bool reverse = args_flag(a, "--reverse");
    int code;

    if (args_value(a, "--limit", &word) && !limit_of(word, &limit))
        return shell_fail(EXIT_USAGE, "--limit is a number from 1 on");
    code = args_done(a, 2, 2, "select TABLE SPECIFICATION [--limit N] [--reverse]");
    if (code != EXIT_OK)
        return code;
    pack_init(&results, s->alloc);
    pack_init(&cursor, s->alloc);
    left = limit;
    code = ask(s, a, limit, reverse);
    while (code == EXIT_OK && (code = take_page(s, &results, &left, &cursor)) == EXIT_OK &&
           left > 0 && !cursor.failed && value_kind_of(pack_value(&cursor)) != VALUE_NIL) {
        pack_raw(shell_params(s, 1), pack_value(&cursor));
        code = shell_ask(s, "select_next");
    }
    if (code == EXIT_OK)
        code = print_all(s, &results, limit - left);
    pack_fini(&results);
    pack_fini(&cursor);
    return code;
}
