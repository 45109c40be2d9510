/* shell_events.c -- `engram watch`: events as they come, until the person has seen enough. */
#include "tools/json.h"
#include "tools/shell.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES_MAX = 256 << 20 };

/* The parts of an event: [subscription, kind, table, record or key, details]. */
enum part { PART_NUMBER, PART_KIND, PART_TABLE, PART_RECORD, PART_DETAILS, PARTS };

static const char *const part_names[PARTS] = {
    [PART_KIND] = "kind",
    [PART_TABLE] = "table",
    [PART_RECORD] = "record",
    [PART_DETAILS] = "details",
};

static void on_signal(int number) {
    (void) number; /* that it came is enough: it ends the wait */
}

static int append(struct buffer *line, const char *text, eg_err err) {
    return err == EG_OK && buffer_append(line, text, strlen(text))
               ? EXIT_OK
               : shell_fail(EXIT_REFUSED, "the event is too large");
}

/* {"kind": ..., "table": ..., "record": ..., "details": ...} */
static int json_line(struct buffer *line, const struct value part[PARTS]) {
    int code = append(line, "{", EG_OK);

    for (int i = PART_KIND; i < PARTS && code == EXIT_OK; i++) {
        code = append(line, i == PART_KIND ? "\"" : ", \"", EG_OK);
        if (code == EXIT_OK)
            code = append(line, part_names[i], EG_OK);
        if (code == EXIT_OK)
            code = append(line, "\": ", EG_OK);
        if (code == EXIT_OK)
            code = append(line, "", json_print(part[i], line));
    }
    return code == EXIT_OK ? append(line, "}", EG_OK) : code;
}

/* kind, record, details where there are any; with tabs between them. */
static int plain_line(struct buffer *line, const struct value part[PARTS]) {
    const uint8_t *at;
    uint32_t size_bytes;
    int code = EXIT_OK;

    if (!value_get_bytes(part[PART_KIND], &at, &size_bytes) || !buffer_append(line, at, size_bytes))
        return shell_fail(EXIT_REFUSED, "an event without a kind");
    for (int i = PART_TABLE; i < PARTS && code == EXIT_OK; i++) {
        if (value_kind_of(part[i]) == VALUE_NIL || (i == PART_DETAILS && value_count(part[i]) == 0))
            continue;
        code = append(line, "\t", EG_OK);
        if (code == EXIT_OK)
            code = append(line, "", json_print(part[i], line));
    }
    return code;
}

static bool take_apart(struct value event, struct value part[PARTS]) {
    struct value_iter it;

    if (value_kind_of(event) != VALUE_ARRAY || value_count(event) < PARTS)
        return false;
    it = value_iter_of(event);
    for (int i = 0; i < PARTS; i++)
        if (!value_iter_next(&it, &part[i]))
            return false;
    return true;
}

/* *last: the table is gone, and nothing comes after. */
static int print_event(struct shell *s, struct value event, struct buffer *line, bool *last) {
    struct value part[PARTS];
    int code;

    if (!take_apart(event, part))
        return shell_fail(EXIT_REFUSED, "the node sends what is no event");
    *last = value_is_string(part[PART_KIND], "schema") &&
            value_is_string(shell_get(part[PART_DETAILS], "change"), "drop");
    buffer_clear(line);
    code = s->output == OUTPUT_JSON ? json_line(line, part) : plain_line(line, part);
    if (code == EXIT_OK &&
        (fwrite(line->at, 1, line->size_bytes, stdout) != line->size_bytes || putchar('\n') == EOF))
        code = shell_fail(EXIT_REFUSED, "cannot write the output");
    return code;
}

/* Print events until a signal comes that `during` lets through. */
static int print_events(struct shell *s, const sigset_t *during, bool of_table) {
    struct err_note note = {""};
    struct buffer line;
    int code = EXIT_OK;
    bool last = false;
    eg_err err = EG_OK;

    buffer_init(&line, s->alloc, LINE_BYTES_MAX);
    while (code == EXIT_OK && !(last && of_table)) {
        struct value event;

        if (!client_has_event(s->client) && fflush(stdout) != 0)
            code = shell_fail(EXIT_REFUSED, "cannot write the output");
        if (code == EXIT_OK)
            err = client_event(s->client, during, &event, &note);
        if (code != EXIT_OK || err != EG_OK)
            break;
        code = print_event(s, event, &line, &last);
    }
    buffer_fini(&line);
    if (code != EXIT_OK || err == EG_OK || err == EG_AGAIN)
        return code;
    return shell_fail_err(err, &note);
}

/* {"table": ..., "old": ..., "where": ...} or {"system": true} */
static int subscribe(struct shell *s, const char *table, bool old, const char *where) {
    struct pack *p = shell_params(s, 1);
    int code = EXIT_OK;

    pack_map(p, 1 + old + (where != NULL));
    pack_text(p, table == NULL ? "system" : "table");
    if (table == NULL)
        pack_bool(p, true);
    else
        pack_text(p, table);
    if (old) {
        pack_text(p, "old");
        pack_bool(p, true);
    }
    if (where != NULL) {
        pack_text(p, "where");
        code = shell_pack_field(p, where);
    }
    return code == EXIT_OK ? shell_ask(s, "subscribe") : code;
}

int command_watch(struct shell *s, struct args *a) {
    const char *where = NULL;
    bool old = args_flag(a, "--old"), system = args_flag(a, "--system");
    const struct sigaction enough = {.sa_handler = on_signal};
    struct sigaction before[2];
    sigset_t held, during;
    int code;

    (void) args_value(a, "--where", &where); /* else all */
    code = args_done(a, !system, !system, "watch TABLE [--old] [--where SPEC] | watch --system");
    if (code != EXIT_OK)
        return code;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigprocmask(SIG_BLOCK, &held, &during);
    sigdelset(&during, SIGINT);
    sigdelset(&during, SIGTERM);
    sigaction(SIGINT, &enough, &before[0]);
    sigaction(SIGTERM, &enough, &before[1]);
    code = subscribe(s, system ? NULL : a->word[0], old, where);
    if (code == EXIT_OK)
        code = print_events(s, &during, !system);
    shell_disconnect(s); /* and so it ends */
    sigaction(SIGINT, &before[0], NULL);
    sigaction(SIGTERM, &before[1], NULL);
    sigprocmask(SIG_UNBLOCK, &held, NULL);
    return code;
}
