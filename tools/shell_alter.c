/* shell_alter.c -- alter: change what a live table is. */
#include "tools/shell.h"

#include <string.h>

static const char alter_usage[] = "alter TABLE add ATTRIBUTE [DEFAULT]\n"
                                  "       alter TABLE drop ATTRIBUTE\n"
                                  "       alter TABLE rename ATTRIBUTE NAME\n"
                                  "       alter TABLE storage ram|disc|disc_only\n"
                                  "       alter TABLE index ATTRIBUTE|JSON\n"
                                  "       alter TABLE unindex NAME\n"
                                  "       alter TABLE transform SPECIFICATION [A,B,...]";

enum word_kind { WORD_TEXT, WORD_VALUE, WORD_NAMES };

/* What may be done: how many words it takes, and what the method makes of each. */
static const struct verb {
    const char *name;
    const char *method;
    int least, most; /* words behind the verb */
    enum word_kind kind[2];
} verbs[] = {
    {"add", "add_attribute", 1, 2, {WORD_TEXT, WORD_VALUE}},
    {"drop", "drop_attribute", 1, 1, {WORD_TEXT}},
    {"rename", "rename_attribute", 2, 2, {WORD_TEXT, WORD_TEXT}},
    {"storage", "change_storage", 1, 1, {WORD_TEXT}},
    {"index", "add_index", 1, 1, {WORD_VALUE}},
    {"unindex", "drop_index", 1, 1, {WORD_TEXT}},
    {"transform", "transform_table", 1, 2, {WORD_VALUE, WORD_NAMES}},
};

static const struct verb *find_verb(const char *name) {
    for (size_t i = 0; i < EG_COUNTOF(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int pack_word(struct pack *p, enum word_kind kind, const char *word) {
    switch (kind) {
    case WORD_VALUE:
        return shell_pack_field(p, word);
    case WORD_NAMES: /* the only option there is */
        pack_map(p, 1);
        pack_text(p, "attributes");
        shell_pack_names(p, word);
        return EXIT_OK;
    default:
        pack_text(p, word);
        return EXIT_OK;
    }
}

/* The parameters: the table, then the words; a default that was not given is nil. */
static int pack_change(struct shell *s, const struct verb *v, const char *table, int count,
                       char **word) {
    bool needs_default = strcmp(v->name, "add") == 0 && count == 1;
    struct pack *p = shell_params(s, 1u + (uint32_t) count + needs_default);
    int code = EXIT_OK;

    pack_text(p, table);
    for (int i = 0; i < count && code == EXIT_OK; i++)
        code = pack_word(p, v->kind[i], word[i]);
    if (needs_default)
        pack_nil(p);
    return code;
}

int command_alter(struct shell *s, struct args *a) {
    const struct verb *v;
    int code = args_done(a, 3, 4, alter_usage);

    if (code != EXIT_OK)
        return code;
    v = find_verb(a->word[1]);
    if (v == NULL || a->count - 2 < v->least || a->count - 2 > v->most)
        return shell_fail(EXIT_USAGE, "usage: %s", alter_usage);
    code = pack_change(s, v, a->word[0], a->count - 2, a->word + 2);
    if (code == EXIT_OK)
        code = shell_ask(s, v->method);
    return code == EXIT_OK ? print_done(s, s->last.result) : code;
}
