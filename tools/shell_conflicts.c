/* shell_conflicts.c -- what merges have set aside, and how to take it back.
 *
 * `engram conflicts TABLE` lists the newest first, numbered from 0; `restore N` writes the loser of
 * that number as it was, or removes the key where it had been removed. */
#include "tools/shell.h"

#include <stdlib.h>
#include <string.h>

#define USAGE "conflicts TABLE [--limit N] [restore NUMBER]"

static bool number_of(const char *word, uint64_t *n) {
    char *end;

    if (word[0] < '0' || word[0] > '9')
        return false;
    *n = strtoull(word, &end, 10);
    return *end == '\0';
}

static int ask(struct shell *s, const char *table, uint64_t limit) {
    struct pack *p = shell_params(s, 2);

    pack_text(p, table);
    pack_map(p, 1);
    pack_text(p, "limit");
    pack_u64(p, limit);
    return shell_ask(s, "conflicts");
}

static int restore(struct shell *s, const char *table, uint64_t number) {
    struct value_iter it = value_iter_of(s->last.result);
    struct value entry = {NULL, 0}, loser;
    struct pack copy, *p;
    bool is_removal;
    int code;

    for (uint64_t i = 0; i <= number; i++)
        if (!value_iter_next(&it, &entry))
            return shell_fail(EXIT_REFUSED, "there is no conflict %llu of '%s'",
                              (unsigned long long) number, table);
    loser = shell_get(entry, "loser");
    is_removal = value_kind_of(loser) == VALUE_NIL;
    pack_init(&copy, s->alloc); /* the parameters take the place of the answer */
    pack_raw(&copy, is_removal ? shell_get(entry, "key") : loser);
    p = shell_params(s, 2);
    pack_text(p, table);
    pack_raw(p, pack_value(&copy));
    code = shell_ask(s, is_removal ? "delete" : "write");
    pack_fini(&copy);
    return code == EXIT_OK ? print_done(s, s->last.result) : code;
}

int command_conflicts(struct shell *s, struct args *a) {
    const char *word = NULL;
    uint64_t limit = 100, number = 0;
    bool restores;
    int code;

    if (args_value(a, "--limit", &word) && (!number_of(word, &limit) || limit == 0))
        return shell_fail(EXIT_USAGE, "--limit is a number from 1 on");
    restores = a->count > 1;
    code = args_done(a, 1, 3, USAGE);
    if (code != EXIT_OK)
        return code;
    if (restores && (a->count != 3 || strcmp(a->word[1], "restore") != 0 ||
                     !number_of(a->word[2], &number) || number >= UINT32_MAX))
        return shell_fail(EXIT_USAGE, "usage: engram " USAGE);
    code = ask(s, a->word[0], restores ? number + 1 : limit);
    if (code != EXIT_OK)
        return code;
    return restores ? restore(s, a->word[0], number) : print_maps(s, s->last.result);
}
