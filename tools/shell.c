/* shell.c -- asking the node, and reading what a person typed. */
#include "tools/shell.h"

#include "tools/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- arguments ------------------------------------------------------------- */

static void args_remove(struct args *a, int at, int count) {
    a->count -= count;
    memmove(&a->word[at], &a->word[at + count], (size_t) (a->count - at) * sizeof *a->word);
}

/* The place of `name` or `name=...` before any "--"; -1: nowhere. */
static int args_find(const struct args *a, const char *name) {
    size_t length = strlen(name);

    for (int i = 0; i < a->count && strcmp(a->word[i], "--") != 0; i++)
        if (strncmp(a->word[i], name, length) == 0 &&
            (a->word[i][length] == '\0' || a->word[i][length] == '='))
            return i;
    return -1;
}

bool args_value(struct args *a, const char *name, const char **value) {
    int at = args_find(a, name);

    if (at < 0)
        return false;
    if (a->word[at][strlen(name)] == '=') {
        *value = a->word[at] + strlen(name) + 1;
        args_remove(a, at, 1);
        return true;
    }
    if (at + 1 == a->count)
        return false;
    *value = a->word[at + 1];
    args_remove(a, at, 2);
    return true;
}

bool args_flag(struct args *a, const char *name) {
    int at = args_find(a, name);

    if (at < 0 || strcmp(a->word[at], name) != 0)
        return false;
    args_remove(a, at, 1);
    return true;
}

int args_done(struct args *a, int least, int most, const char *usage) {
    for (int i = 0; i < a->count; i++) {
        if (strcmp(a->word[i], "--") == 0) {
            args_remove(a, i, 1);
            break;
        }
        if (strncmp(a->word[i], "--", 2) == 0)
            return shell_fail(EXIT_USAGE, "%s: unknown, or its value is missing\nusage: engram %s",
                              a->word[i], usage);
    }
    if (a->count < least || a->count > most)
        return shell_fail(EXIT_USAGE, "usage: engram %s", usage);
    return EXIT_OK;
}

/* ---- saying what went wrong -------------------------------------------------- */

int shell_fail(int code, const char *format, ...) {
    va_list args;

    fflush(stdout); /* so that a person sees both in their order */
    fputs("engram: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return code;
}

int shell_fail_err(eg_err err, const struct err_note *note) {
    int code = EXIT_REFUSED;

    if (err == EG_TIMEOUT)
        code = EXIT_NO_ANSWER;
    else if (err == EG_CLOSED)
        code = EXIT_NO_CONNECTION;
    return shell_fail(code, "%s", note->text[0] != '\0' ? note->text : eg_err_text(err));
}

int shell_refused(const struct shell *s) {
    const uint8_t *at;
    uint32_t size_bytes;

    if (!value_get_bytes(s->last.error, &at, &size_bytes))
        return shell_fail(EXIT_REFUSED, "the node refused it without a reason");
    return shell_fail(EXIT_REFUSED, "%.*s", (int) size_bytes, (const char *) at);
}

bool shell_refused_as(const struct shell *s, const char *code) {
    const uint8_t *at;
    uint32_t size_bytes;
    size_t length = strlen(code);

    return s->last.refused && value_get_bytes(s->last.error, &at, &size_bytes) &&
           size_bytes >= length && memcmp(at, code, length) == 0 &&
           (size_bytes == length || at[length] == ':');
}

/* ---- asking ---------------------------------------------------------------- */

/* Who we are.  The password is never on a command line, where others could see it. */
static int introduce(struct shell *s) {
    const char *password = getenv("ENGRAM_PASSWORD");
    struct err_note note = {""};
    struct pack params;
    eg_err err;

    if (s->user == NULL)
        return EXIT_OK;
    if (password == NULL && isatty(STDIN_FILENO))
        password = getpass("password: ");
    if (password == NULL)
        return shell_fail(EXIT_USAGE, "--user needs a password in ENGRAM_PASSWORD");
    pack_init(&params, s->alloc);
    pack_array(&params, 2);
    pack_text(&params, s->user);
    pack_text(&params, password);
    err = params.failed ? EG_MEMORY
                        : client_call(s->client, "auth", pack_value(&params), &s->last, &note);
    pack_fini(&params);
    if (err != EG_OK)
        return shell_fail_err(err, &note);
    return s->last.refused ? shell_refused(s) : EXIT_OK;
}

int shell_connect(struct shell *s) {
    struct err_note note = {""};
    eg_err err;
    int code;

    if (s->client != NULL)
        return EXIT_OK;
    err = client_open(&s->client, s->alloc, s->address, s->timeout_ms, &note);
    if (err != EG_OK)
        return shell_fail(EXIT_NO_CONNECTION, "%s", note.text);
    code = introduce(s);
    if (code != EXIT_OK)
        shell_disconnect(s);
    return code;
}

void shell_disconnect(struct shell *s) {
    if (s->client != NULL)
        client_close(s->client);
    s->client = NULL;
    if (s->tx == SHELL_TX_OPEN)
        s->tx = SHELL_TX_OVER;
}

struct pack *shell_params(struct shell *s, uint32_t count) {
    s->in_tx = false;
    pack_clear(&s->params);
    pack_array(&s->params, count);
    return &s->params;
}

int shell_try(struct shell *s, const char *method) {
    struct err_note note = {""};
    int code = shell_connect(s);
    eg_err err;

    s->last.refused = false;
    if (code != EXIT_OK)
        return code;
    if (s->params.failed)
        return shell_fail(EXIT_REFUSED, "out of memory");
    err = client_call(s->client, method, pack_value(&s->params), &s->last, &note);
    if (err != EG_OK) {
        shell_disconnect(s); /* an interactive shell dials again */
        return shell_fail_err(err, &note);
    }
    shell_tx_look(s);
    return s->last.refused ? EXIT_REFUSED : EXIT_OK;
}

int shell_ask(struct shell *s, const char *method) {
    int code = shell_try(s, method);
    return s->last.refused ? shell_refused(s) : code;
}

/* ---- values ---------------------------------------------------------------- */

/* Append `word` where the whole of it is JSON.  EG_BAD_REQUEST: it is not. */
static eg_err pack_json(struct pack *p, const char *word, struct err_note *note) {
    size_t used, before = p->bytes.size_bytes;
    eg_err err;

    if (p->failed)
        return EG_OK; /* said once, at the end */
    err = json_parse(word, strlen(word), &p->bytes, &used, note);
    if (err == EG_MEMORY)
        p->failed = true;
    if (err == EG_OK && used != strlen(word)) {
        p->bytes.size_bytes = before;
        return err_note(note, EG_BAD_REQUEST, "text behind the JSON value");
    }
    return err;
}

static bool begins_as_number(const char *word) {
    return strchr("-0123456789", word[0]) != NULL && word[0] != '\0';
}

int shell_pack_key(struct pack *p, const char *word) {
    struct err_note note = {""};
    bool must = word[0] == '[' || word[0] == '{';
    eg_err err = EG_BAD_REQUEST;

    if (must || word[0] == '"' || begins_as_number(word))
        err = pack_json(p, word, &note);
    if (must && err != EG_OK)
        return shell_fail(EXIT_USAGE, "%s: %s", word, note.text);
    if (err == EG_BAD_REQUEST)
        pack_text(p, word);
    return EXIT_OK;
}

int shell_pack_field(struct pack *p, const char *word) {
    if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0)
        pack_bool(p, word[0] == 't');
    else if (strcmp(word, "null") == 0 || strcmp(word, "nil") == 0)
        pack_nil(p);
    else
        return shell_pack_key(p, word);
    return EXIT_OK;
}

void shell_pack_names(struct pack *p, const char *words) {
    uint32_t count = 1;

    for (const char *at = words; *at != '\0'; at++)
        count += *at == ',';
    pack_array(p, count);
    for (; count > 0; count--) {
        size_t length = strcspn(words, ",");
        pack_string(p, words, length);
        words += length + 1;
    }
}

struct value shell_get(struct value map, const char *name) {
    struct value_iter it;
    struct value key, value;

    if (map.size_bytes > 0 && value_kind_of(map) == VALUE_MAP) {
        it = value_iter_of(map);
        while (value_iter_next(&it, &key) && value_iter_next(&it, &value))
            if (value_is_string(key, name))
                return value;
    }
    return (struct value){NULL, 0};
}

/* ---- progress ---------------------------------------------------------------- */

uint64_t shell_now_ms(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

void progress_show(const struct shell *s, uint64_t start_ms, const char *what, uint64_t done,
                   uint64_t all) {
    if (s->progress && shell_now_ms() - start_ms >= 1000)
        fprintf(stderr, "\r%s %llu of %llu ", what, (unsigned long long) done,
                (unsigned long long) all);
}

void progress_end(const struct shell *s) {
    if (s->progress)
        fputs("\r\033[K", stderr);
}
