/* shell_tx.c -- begin, commit, abort, and what is asked in between.
 *
 *     NONE --begin--> OPEN --commit, abort--> NONE
 *                      | conflict, aborted, connection lost
 *                      '--> OVER --commit (refused), abort--> NONE
 *
 * What stands behind a transaction that is over was meant to be in it: it is refused. */
#include "tools/shell.h"

#include <stdlib.h>

enum { SECONDS_MAX = 24 * 3600 };

uint32_t shell_tx_options(const struct shell *s) {
    return s->tx == SHELL_TX_NONE ? 0 : 1;
}

int shell_tx_pack(struct shell *s) {
    if (s->tx == SHELL_TX_NONE)
        return EXIT_OK;
    if (s->tx == SHELL_TX_OVER)
        return shell_fail(EXIT_REFUSED, "the transaction is over, and nothing is left of it: say "
                                        "abort to go on");
    pack_text(&s->params, "tx");
    pack_raw(&s->params, pack_value(&s->tx_id));
    s->in_tx = true;
    return EXIT_OK;
}

int shell_tx_pack_map(struct shell *s) {
    if (s->tx != SHELL_TX_NONE)
        pack_map(&s->params, 1);
    return shell_tx_pack(s);
}

void shell_tx_look(struct shell *s) {
    if (s->in_tx && (shell_refused_as(s, "conflict") || shell_refused_as(s, "aborted")))
        s->tx = SHELL_TX_OVER;
}

int shell_tx_end(struct shell *s, int code) {
    if (s->tx != SHELL_TX_OPEN || code != EXIT_OK)
        return code; /* it was said why */
    s->tx = SHELL_TX_NONE;
    return shell_fail(EXIT_REFUSED, "no commit came: nothing is left of the transaction");
}

/* ---- commands ------------------------------------------------------------------- */

static int ask_begin(struct shell *s, const char *timeout) {
    double seconds = timeout == NULL ? 1 : strtod(timeout, NULL);

    if (!(seconds >= 0.001 && seconds <= SECONDS_MAX))
        return shell_fail(EXIT_USAGE, "--timeout is a number of seconds up to a day");
    shell_params(s, timeout == NULL ? 0 : 1);
    if (timeout != NULL) {
        pack_map(&s->params, 1);
        pack_text(&s->params, "timeout_ms");
        pack_u64(&s->params, (uint64_t) (seconds * 1000));
    }
    return shell_ask(s, "begin");
}

int command_begin(struct shell *s, struct args *a) {
    const char *timeout = NULL;
    int code;

    (void) args_value(a, "--timeout", &timeout);
    code = args_done(a, 0, 0, "begin [--timeout SECONDS]");
    if (code == EXIT_OK && !s->lines)
        code = shell_fail(EXIT_USAGE, "begin stands in a script, in one line 'begin; ...; commit', "
                                      "or in the interactive shell: a transaction ends with its "
                                      "connection");
    if (code == EXIT_OK && s->tx != SHELL_TX_NONE)
        code = shell_fail(EXIT_USAGE, "a transaction has been begun: commit or abort it first");
    if (code == EXIT_OK)
        code = ask_begin(s, timeout);
    if (code != EXIT_OK)
        return code;
    pack_clear(&s->tx_id);
    pack_raw(&s->tx_id, s->last.result);
    if (s->tx_id.failed)
        return shell_fail(EXIT_REFUSED, "out of memory");
    s->tx = SHELL_TX_OPEN;
    return print_done(s, s->last.result);
}

/* End it by `method`, whatever the node says to that. */
static int end(struct shell *s, const char *method) {
    pack_raw(shell_params(s, 1), pack_value(&s->tx_id));
    s->tx = SHELL_TX_NONE;
    return shell_ask(s, method);
}

int command_commit(struct shell *s, struct args *a) {
    bool over = s->tx == SHELL_TX_OVER;
    int code = args_done(a, 0, 0, "commit");

    if (code == EXIT_OK && s->tx == SHELL_TX_NONE)
        code = shell_fail(EXIT_USAGE, "no transaction has been begun");
    if (code != EXIT_OK)
        return code;
    if (over) {
        s->tx = SHELL_TX_NONE;
        return shell_fail(EXIT_REFUSED, "the transaction was over: nothing is left of it");
    }
    code = end(s, "commit");
    return code == EXIT_OK ? print_done(s, s->last.result) : code;
}

int command_abort(struct shell *s, struct args *a) {
    bool over = s->tx == SHELL_TX_OVER;
    int code = args_done(a, 0, 0, "abort");

    if (code == EXIT_OK && s->tx == SHELL_TX_NONE)
        code = shell_fail(EXIT_USAGE, "no transaction has been begun");
    if (code != EXIT_OK)
        return code;
    s->tx = SHELL_TX_NONE;
    if (over)
        return EXIT_OK;
    code = end(s, "abort");
    return code == EXIT_OK ? print_done(s, s->last.result) : code;
}
