/* shell_conflicts.c -- what merges have set aside, and how to take it back.
 *
 * `engram conflicts TABLE` lists the newest first, each with its number, which stays the entry's
 * own whatever comes behind it; `restore NUMBER` writes its loser as it was.  How a version is
 * brought back without taking away others depends on the table:
 *
 *                the loser is a record               it is a removal
 *     bag        write: added                        delete_object of the winner
 *     siblings   write that replaces nothing:        delete_object of the winner
 *                beside the others
 *     others     write: in place of what is there    delete */
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

/* From outside: is it what journal.h says? */
static bool is_entry(struct value v, uint64_t *number) {
    struct value n = shell_get(v, "number");

    return n.size_bytes > 0 && value_get_u64(n, number) && shell_get(v, "key").size_bytes > 0 &&
           shell_get(v, "winner").size_bytes > 0 && shell_get(v, "loser").size_bytes > 0;
}

/* Entry `number`, in s->last: among so many of the newest, of which more may come meanwhile. */
static int find(struct shell *s, const char *table, uint64_t number, struct value *entry) {
    uint64_t limit = 1, newest = 0, at = 0;
    struct value_iter it;
    int code;

    do {
        code = ask(s, table, limit);
        if (code != EXIT_OK)
            return code;
        it = value_iter_of(s->last.result);
        for (uint64_t i = 0; value_iter_next(&it, entry); i++) {
            if (!is_entry(*entry, &at))
                return shell_fail(EXIT_REFUSED, "the node does not number its conflicts");
            if (at == number)
                return EXIT_OK;
            newest = i == 0 ? at : newest;
        }
        if (at < number || value_count(s->last.result) < limit)
            return shell_fail(EXIT_REFUSED, "there is no conflict %llu of '%s'",
                              (unsigned long long) number, table);
        limit = newest - number + 1;
    } while (true);
}

enum versions { ONE, RECORDS, SIBLINGS };

static bool is_said(struct value info, const char *name, const char *word) {
    struct value v = shell_get(info, name);

    return v.size_bytes > 0 && value_is_string(v, word);
}

/* What there may be under a key of the table. */
static int versions_of(struct shell *s, const char *table, enum versions *v) {
    int code;

    pack_text(shell_params(s, 1), table);
    code = shell_ask(s, "table_info");
    if (code == EXIT_OK)
        *v = is_said(s->last.result, "type", "bag")         ? RECORDS
             : is_said(s->last.result, "merge", "siblings") ? SIBLINGS
                                                            : ONE;
    return code;
}

/* What a read with siblings gives where there are none. */
static void replace_nothing(struct pack *options) {
    static const uint8_t no_versions[] = {0x90}; /* an empty array */

    pack_map(options, 1);
    pack_text(options, "replaces");
    pack_binary(options, no_versions, sizeof no_versions);
}

/* s->last has the entry, and the parameters take its place. */
static int put_back(struct shell *s, const char *table, enum versions v, struct value entry) {
    struct value loser = shell_get(entry, "loser");
    bool is_removal = value_kind_of(loser) == VALUE_NIL;
    bool is_beside = v == SIBLINGS && !is_removal;
    struct pack copy, *p;
    int code;

    pack_init(&copy, s->alloc);
    pack_raw(&copy, !is_removal ? loser : shell_get(entry, v == ONE ? "key" : "winner"));
    if (copy.failed) {
        code = shell_fail(EXIT_REFUSED, "out of memory");
    } else {
        p = shell_params(s, is_beside ? 3 : 2);
        pack_text(p, table);
        pack_raw(p, pack_value(&copy));
        if (is_beside)
            replace_nothing(p);
        code = shell_ask(s, !is_removal ? "write" : v == ONE ? "delete" : "delete_object");
    }
    pack_fini(&copy);
    return code;
}

static int restore(struct shell *s, const char *table, uint64_t number) {
    struct value entry = {NULL, 0};
    enum versions v = ONE;
    int code = versions_of(s, table, &v);

    if (code == EXIT_OK)
        code = find(s, table, number, &entry);
    if (code == EXIT_OK)
        code = put_back(s, table, v, entry);
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
    if (restores &&
        (a->count != 3 || strcmp(a->word[1], "restore") != 0 || !number_of(a->word[2], &number)))
        return shell_fail(EXIT_USAGE, "usage: engram " USAGE);
    if (restores)
        return restore(s, a->word[0], number);
    code = ask(s, a->word[0], limit);
    return code == EXIT_OK ? print_maps(s, s->last.result) : code;
}
