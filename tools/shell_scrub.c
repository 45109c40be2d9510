/* shell_scrub.c -- compare the copies of all tables now, and say what was found.
 *
 * Every node compares the shards that it is master of; this one's figures are shown when it has. */
#include "tools/shell.h"

#include <stdio.h>
#include <unistd.h>

enum { LOOK_MS = 50 };

static int status(struct shell *s, struct value *scrub) {
    int code;

    (void) shell_params(s, 0);
    code = shell_ask(s, "cluster_status");
    if (code == EXIT_OK)
        *scrub = shell_get(s->last.result, "scrub");
    return code;
}

int command_scrub(struct shell *s, struct args *a) {
    struct value scrub = {NULL, 0};
    int code = args_done(a, 0, 0, "scrub");

    if (code != EXIT_OK)
        return code;
    (void) shell_params(s, 0);
    code = shell_ask(s, "scrub");
    if (code == EXIT_OK)
        code = status(s, &scrub);
    while (code == EXIT_OK && value_kind_of(shell_get(scrub, "running")) == VALUE_TRUE) {
        (void) usleep(LOOK_MS * 1000); /* a signal only makes it shorter */
        code = status(s, &scrub);
    }
    return code == EXIT_OK ? print_map(s, scrub) : code;
}
