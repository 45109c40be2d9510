/* shell_line.c -- the interactive shell: lines, words, history, completion.
 *
 * libedit does the editing.  History is kept in $XDG_STATE_HOME/engram/history
 * (~/.local/state where it is not set), readable by its owner only, as it may hold
 * what was written to tables. */
#include "tools/shell.h"

#include <errno.h>
#include <histedit.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLANKS   " \t\n"
#define WORD_END BLANKS ";"

enum { WORDS_MAX = 4096, HISTORY_LINES = 1000 };

/* ---- words ------------------------------------------------------------------- */

/* Copy a bracketed word as it is, strings inside it skipped over. */
static char *split_bracket(char **from, char *to) {
    int depth = 0;
    bool quoted = false;

    for (char *at = *from; *at != '\0'; at++) {
        *to++ = *at;
        if (quoted && *at == '\\' && at[1] != '\0')
            *to++ = *++at;
        else if (*at == '"')
            quoted = !quoted;
        else if (!quoted && (*at == '[' || *at == '{'))
            depth++;
        else if (!quoted && (*at == ']' || *at == '}') && --depth == 0) {
            *from = at + 1;
            return to;
        }
    }
    return NULL;
}

/* Copy a word without its quotes and backslashes. */
static char *split_word(char **from, char *to) {
    char quote = '\0';
    char *at = *from;

    for (; *at != '\0' && (quote != '\0' || strchr(WORD_END, *at) == NULL); at++) {
        if (quote == '\0' && (*at == '\'' || *at == '"'))
            quote = *at;
        else if (quote != '\0' && *at == quote)
            quote = '\0';
        else if (*at == '\\' && quote != '\'' && at[1] != '\0')
            *to++ = *++at;
        else
            *to++ = *at;
    }
    *from = at;
    return quote == '\0' ? to : NULL;
}

int line_split(char **line, char **words, int most) {
    char *from = *line, *to = *line, ended_by = ' ';
    int count = 0;

    for (;;) {
        if (ended_by != ';')
            from += strspn(from, BLANKS);
        if (ended_by == ';' || *from == '\0' || *from == ';') {
            *line = ended_by != ';' && *from == ';' ? from + 1 : from;
            return count;
        }
        if (count == most)
            return -1;
        words[count++] = to;
        to = *from == '[' || *from == '{' ? split_bracket(&from, to) : split_word(&from, to);
        if (to == NULL || strchr(WORD_END, *from) == NULL) /* which finds the end too */
            return -1;
        ended_by = *from;
        if (ended_by != '\0')
            from++; /* whose place the end of the word takes */
        *to++ = '\0';
    }
}

static int run_line(struct shell *s, char *line) {
    char *words[WORDS_MAX];
    int code = EXIT_OK;

    while (code == EXIT_OK && line[strspn(line, BLANKS)] != '\0') {
        int count;

        if (line[strspn(line, BLANKS)] == '#')
            return EXIT_OK;
        count = line_split(&line, words, WORDS_MAX);
        if (count < 0)
            return shell_fail(EXIT_USAGE, "a quote or bracket is not closed");
        if (count > 0)
            code = command_run(s, count, words);
    }
    return code;
}

int shell_run_line(struct shell *s, char *line) {
    s->lines = true;
    return shell_tx_end(s, run_line(s, line));
}

/* ---- completion -------------------------------------------------------------- */

struct completion {
    const char *word; /* what is typed of it                 */
    size_t length;
    char common[256]; /* what all candidates begin with      */
    int count;
};

static void offer(struct completion *c, const char *at, size_t size_bytes) {
    size_t same = 0;

    if (size_bytes >= sizeof c->common || size_bytes < c->length ||
        memcmp(at, c->word, c->length) != 0)
        return;
    if (c->count++ == 0) {
        memcpy(c->common, at, size_bytes);
        c->common[size_bytes] = '\0';
        return;
    }
    while (same < size_bytes && c->common[same] == at[same])
        same++;
    c->common[same] = '\0';
}

static void offer_names(struct completion *c, struct value names) {
    struct value_iter it;
    struct value name;
    const uint8_t *at;
    uint32_t size_bytes;

    if (names.size_bytes == 0 || value_kind_of(names) != VALUE_ARRAY)
        return;
    it = value_iter_of(names);
    while (value_iter_next(&it, &name))
        if (value_get_bytes(name, &at, &size_bytes))
            offer(c, (const char *) at, size_bytes);
}

/* Candidates for word number `place`: commands, then tables, then the attributes of
 * the table named before.  A node that does not answer offers nothing. */
static void candidates(struct shell *s, struct completion *c, int place, const char *table) {
    if (place == 0) {
        const struct command *command;
        for (uint32_t i = 0; (command = command_at(i)) != NULL; i++)
            offer(c, command->name, strlen(command->name));
    } else if (place == 1) {
        shell_params(s, 0);
        if (s->client != NULL && shell_try(s, "tables") == EXIT_OK)
            offer_names(c, s->last.result);
    } else {
        pack_text(shell_params(s, 1), table);
        if (s->client != NULL && shell_try(s, "table_info") == EXIT_OK)
            offer_names(c, shell_get(s->last.result, "attributes"));
    }
}

static unsigned char complete(EditLine *el, int key) {
    const LineInfo *line = el_line(el);
    struct completion c = {line->cursor, 0, "", 0};
    char words[2][256] = {"", ""};
    struct shell *s;
    int place = 0;

    (void) key;
    el_get(el, EL_CLIENTDATA, &s);
    while (c.word > line->buffer && strchr(" ,", c.word[-1]) == NULL)
        c.word--;
    c.length = (size_t) (line->cursor - c.word);
    for (const char *at = line->buffer; at < c.word;) {
        size_t length = strcspn(at, " ");
        if (at + length >= c.word && c.word[-1] != ' ')
            break;
        if (place < 2)
            snprintf(words[place], sizeof words[0], "%.*s", (int) length, at);
        place += length > 0;
        at += length + strspn(at + length, " ");
    }
    candidates(s, &c, place, words[1]);
    if (c.count == 0 || (c.count > 1 && strlen(c.common) == c.length))
        return CC_REFRESH_BEEP;
    el_insertstr(el, c.common + c.length);
    if (c.count == 1)
        el_insertstr(el, " ");
    return CC_REFRESH;
}

/* ---- history ----------------------------------------------------------------- */

/* Make every folder of `path` that is not there. */
static bool make_folders(char *path) {
    for (char *at = path + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return false;
        *at = '/';
    }
    return true;
}

/* Where history is kept; false: nowhere. */
static bool history_path(char *path, size_t size_bytes) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (state != NULL && state[0] == '/')
        snprintf(path, size_bytes, "%s/engram/history", state);
    else if (home != NULL && home[0] == '/')
        snprintf(path, size_bytes, "%s/.local/state/engram/history", home);
    else
        return false;
    return make_folders(path);
}

/* ---- reading ----------------------------------------------------------------- */

static char *prompt(EditLine *el) {
    static char text[] = "engram> ", in_tx[] = "engram*> ";
    struct shell *s;

    el_get(el, EL_CLIENTDATA, &s);
    return s->tx == SHELL_TX_NONE ? text : in_tx;
}

static bool is_farewell(const char *line) {
    return strcmp(line, "exit\n") == 0 || strcmp(line, "quit\n") == 0;
}

static int interact_edited(struct shell *s) {
    EditLine *el = el_init("engram", stdin, stdout, stderr);
    History *past = history_init();
    char path[PATH_MAX];
    HistEvent event;
    const char *text;
    int length;
    bool kept = history_path(path, sizeof path);

    if (el == NULL || past == NULL)
        return shell_fail(EXIT_REFUSED, "no line editing on this terminal");
    history(past, &event, H_SETSIZE, HISTORY_LINES);
    history(past, &event, H_SETUNIQUE, 1);
    if (kept)
        history(past, &event, H_LOAD, path);
    el_set(el, EL_PROMPT, prompt);
    el_set(el, EL_EDITOR, "emacs");
    el_set(el, EL_HIST, history, past);
    el_set(el, EL_CLIENTDATA, s);
    el_wset(el, EL_ADDFN, L"engram-complete", L"complete the word", complete); /* el_set leaks */
    el_set(el, EL_BIND, "^I", "engram-complete", NULL);
    el_source(el, NULL);
    while ((text = el_gets(el, &length)) != NULL && length > 0 && !is_farewell(text)) {
        char *line = strdup(text);
        if (line == NULL)
            break;
        history(past, &event, H_ENTER, text);
        (void) run_line(s, line); /* it has said what failed; the next line may work */
        free(line);
    }
    if (kept && history(past, &event, H_SAVE, path) >= 0)
        (void) chmod(path, 0600); /* a history that others can read is still a history */
    history_end(past);
    el_end(el);
    return shell_tx_end(s, EXIT_OK);
}

static int interact_plain(struct shell *s) {
    char *line = NULL;
    size_t room = 0;
    int code = EXIT_OK;

    while (code == EXIT_OK && getline(&line, &room, stdin) > 0)
        code = run_line(s, line);
    free(line);
    return shell_tx_end(s, code);
}

int shell_interact(struct shell *s) {
    s->lines = true;
    if (!isatty(STDIN_FILENO))
        return interact_plain(s);
    if (shell_connect(s) != EXIT_OK)
        return EXIT_NO_CONNECTION;
    printf("connected to %s; help lists the commands, Ctrl-D ends\n", s->address);
    return interact_edited(s);
}
