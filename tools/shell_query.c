/* shell_query.c -- the text language from a command line. */
#include "tools/shell.h"

#include <limits.h>

/* The text, and each word behind it in place of one ?. */
static int ask(struct shell *s, struct args *a, const char *method, uint32_t options) {
    struct pack *p = shell_params(s, 2 + options);
    int code = EXIT_OK;

    pack_text(p, a->word[0]);
    pack_array(p, (uint32_t) a->count - 1);
    for (int i = 1; i < a->count && code == EXIT_OK; i++)
        code = shell_pack_field(p, a->word[i]);
    if (code == EXIT_OK && options > 0)
        code = shell_tx_pack_map(s);
    return code == EXIT_OK ? shell_ask(s, method) : code;
}

int command_query(struct shell *s, struct args *a) {
    int code = args_done(a, 1, INT_MAX, "query TEXT [ARGUMENT ...]");

    if (code == EXIT_OK)
        code = ask(s, a, "query", shell_tx_options(s));
    return code == EXIT_OK ? print_rows(s, s->last.result) : code;
}

int command_explain(struct shell *s, struct args *a) {
    int code = args_done(a, 1, INT_MAX, "explain TEXT [ARGUMENT ...]");

    if (code == EXIT_OK)
        code = ask(s, a, "explain", 0);
    return code == EXIT_OK
               ? print_map(s, s->output == OUTPUT_JSON ? s->last.result
                                                       : shell_get(s->last.result, "plan"))
               : code;
}
