/* shell_command.c -- the commands that are one call and its answer. */
#include "tools/shell.h"

#include "tools/json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char create_usage[] =
    "create TABLE [--type set|ordered_set|bag] [--storage ram|disc|disc_only]\n"
    "                     [--attributes A,B,...] [--index A,...] [--durability async|sync]\n"
    "                     [--shards N] [--ttl SECONDS] [--cache] [--max-bytes N] [JSON]";

/* A JSON value in s->params, or why it is none. */
static int pack_json_word(struct pack *p, const char *word) {
    struct err_note note = {""};
    size_t used;
    eg_err err = json_parse(word, strlen(word), &p->bytes, &used, &note);

    if (err == EG_OK && used != strlen(word))
        err = err_note(&note, EG_BAD_REQUEST, "text behind the JSON value");
    if (err != EG_OK)
        return shell_fail(EXIT_USAGE, "%s: %s", word, note.text);
    return EXIT_OK;
}

int command_status(struct shell *s, struct args *a) {
    int code = args_done(a, 0, 0, "status");

    if (code != EXIT_OK)
        return code;
    shell_params(s, 0);
    code = shell_ask(s, "stats");
    return code == EXIT_OK ? print_map(s, s->last.result) : code;
}

int command_tables(struct shell *s, struct args *a) {
    int code = args_done(a, 0, 0, "tables");

    if (code != EXIT_OK)
        return code;
    shell_params(s, 0);
    code = shell_ask(s, "tables");
    return code == EXIT_OK ? print_list(s, s->last.result) : code;
}

int command_info(struct shell *s, struct args *a) {
    int code = args_done(a, 1, 1, "info TABLE");

    if (code != EXIT_OK)
        return code;
    pack_text(shell_params(s, 1), a->word[0]);
    code = shell_ask(s, "table_info");
    return code == EXIT_OK ? print_map(s, s->last.result) : code;
}

/* ---- create, drop ------------------------------------------------------------ */

enum create_kind { WORD, NAMES, NUMBER, FLAG, CALLBACK /* a specification, or a name */ };

static const struct {
    const char *option, *key;
    enum create_kind kind;
} create_table[] = {
    {"--type", "type", WORD},
    {"--storage", "storage", WORD},
    {"--attributes", "attributes", NAMES},
    {"--index", "index", NAMES},
    {"--copies", "copies", WORD},
    {"--shards", "shards", NUMBER},
    {"--merge", "merge", WORD},
    {"--callback", "callback", CALLBACK},
    {"--majority", "majority", FLAG},
    {"--durability", "durability", WORD},
    {"--ttl", "ttl", NUMBER},
    {"--cache", "cache", FLAG},
    {"--max-bytes", "max_bytes", NUMBER},
};

static int pack_number_option(struct pack *p, const char *option, const char *word) {
    struct err_note note = {""};
    size_t used = 0;
    eg_err err = strchr("-0123456789", word[0]) == NULL || word[0] == '\0'
                     ? EG_BAD_REQUEST
                     : json_parse(word, strlen(word), &p->bytes, &used, &note);

    if (err == EG_MEMORY)
        return shell_fail(EXIT_REFUSED, "out of memory");
    if (err != EG_OK || used != strlen(word))
        return shell_fail(EXIT_USAGE, "%s: '%s' is no number", option, word);
    return EXIT_OK;
}

int create_options(struct args *a, struct pack *map) {
    const char *values[EG_COUNTOF(create_table)] = {NULL};
    uint32_t count = 0;

    for (size_t i = 0; i < EG_COUNTOF(create_table); i++) {
        if (create_table[i].kind == FLAG && args_flag(a, create_table[i].option))
            values[i] = "true";
        else if (create_table[i].kind != FLAG)
            (void) args_value(a, create_table[i].option, &values[i]); /* NULL: not said */
        count += values[i] != NULL;
    }
    pack_map(map, count);
    for (size_t i = 0; i < EG_COUNTOF(create_table); i++) {
        int code = EXIT_OK;
        if (values[i] == NULL)
            continue;
        pack_text(map, create_table[i].key);
        if (create_table[i].kind == NAMES)
            shell_pack_names(map, values[i]);
        else if (create_table[i].kind == NUMBER)
            code = pack_number_option(map, create_table[i].option, values[i]);
        else if (create_table[i].kind == CALLBACK && values[i][0] == '[')
            code = pack_json_word(map, values[i]);
        else
            code = shell_pack_field(map, values[i]);
        if (code != EXIT_OK)
            return code;
    }
    return EXIT_OK;
}

int command_create(struct shell *s, struct args *a) {
    struct pack options;
    int code;

    pack_init(&options, s->alloc);
    code = create_options(a, &options);
    if (code == EXIT_OK)
        code = args_done(a, 1, 2, create_usage);
    if (code == EXIT_OK && a->count == 2) {
        pack_clear(&options);
        code = pack_json_word(&options, a->word[1]);
    }
    if (code == EXIT_OK && options.failed)
        code = shell_fail(EXIT_REFUSED, "out of memory");
    if (code == EXIT_OK) {
        pack_text(shell_params(s, 2), a->word[0]);
        pack_raw(&s->params, pack_value(&options));
        code = shell_ask(s, "create_table");
    }
    pack_fini(&options);
    return code == EXIT_OK ? print_done(s, s->last.result) : code;
}

int command_drop(struct shell *s, struct args *a) {
    int code = args_done(a, 1, 1, "drop TABLE");

    if (code != EXIT_OK)
        return code;
    pack_text(shell_params(s, 1), a->word[0]);
    code = shell_ask(s, "drop_table");
    return code == EXIT_OK ? print_done(s, s->last.result) : code;
}

/* ---- records ----------------------------------------------------------------- */

/* The answers of read_many are one array of records a key: print them as one. */
static int print_joined(struct shell *s, const char *table, struct value lists) {
    struct value_iter outer = value_iter_of(lists);
    struct value list, record;
    struct pack joined;
    uint32_t count = 0;
    int code;

    if (s->output == OUTPUT_JSON)
        return print_records(s, table, lists);
    while (value_iter_next(&outer, &list))
        count += value_count(list);
    pack_init(&joined, s->alloc);
    pack_array(&joined, count);
    outer = value_iter_of(lists);
    while (value_iter_next(&outer, &list)) {
        struct value_iter inner = value_iter_of(list);
        while (value_iter_next(&inner, &record))
            pack_raw(&joined, record);
    }
    code = joined.failed ? shell_fail(EXIT_REFUSED, "out of memory")
                         : print_records(s, table, pack_value(&joined));
    pack_fini(&joined);
    return code;
}

static int read_by_index(struct shell *s, struct args *a, const char *attribute) {
    struct pack *p;
    int code = args_done(a, 2, 2, "read TABLE --index ATTRIBUTE VALUE");

    if (code != EXIT_OK)
        return code;
    p = shell_params(s, 3 + shell_tx_options(s));
    pack_text(p, a->word[0]);
    pack_text(p, attribute);
    code = shell_pack_key(p, a->word[1]);
    if (code == EXIT_OK)
        code = shell_tx_pack_map(s);
    if (code == EXIT_OK)
        code = shell_ask(s, "index_read");
    return code == EXIT_OK ? print_records(s, a->word[0], s->last.result) : code;
}

int command_read(struct shell *s, struct args *a) {
    const char *attribute;
    struct pack *p;
    int code;

    if (args_value(a, "--index", &attribute))
        return read_by_index(s, a, attribute);
    code = args_done(a, 2, INT_MAX, "read TABLE KEY ... | read TABLE --index ATTRIBUTE VALUE");
    if (code != EXIT_OK)
        return code;
    p = shell_params(s, 2 + shell_tx_options(s));
    pack_text(p, a->word[0]);
    if (a->count > 2)
        pack_array(p, (uint32_t) a->count - 1);
    for (int i = 1; i < a->count && code == EXIT_OK; i++)
        code = shell_pack_key(p, a->word[i]);
    if (code == EXIT_OK)
        code = shell_tx_pack_map(s);
    if (code == EXIT_OK)
        code = shell_ask(s, a->count > 2 ? "read_many" : "read");
    if (code != EXIT_OK)
        return code;
    return a->count > 2 ? print_joined(s, a->word[0], s->last.result)
                        : print_records(s, a->word[0], s->last.result);
}

/* {"name": value} in the order of the table's attributes, nil where it says nothing. */
static int pack_object(struct shell *s, const char *table, const char *word, struct pack *record) {
    struct pack object;
    struct value_iter it;
    struct value names, name;
    uint32_t matched = 0;
    int code;

    pack_init(&object, s->alloc);
    code = pack_json_word(&object, word);
    if (code == EXIT_OK) {
        pack_text(shell_params(s, 1), table);
        code = shell_ask(s, "table_info");
    }
    names = code == EXIT_OK ? shell_get(s->last.result, "attributes") : (struct value){NULL, 0};
    if (code == EXIT_OK && names.size_bytes > 0) {
        pack_array(record, value_count(names));
        it = value_iter_of(names);
        while (value_iter_next(&it, &name)) {
            struct value_iter pairs = value_iter_of(pack_value(&object));
            struct value key, value, found = {NULL, 0};
            while (value_iter_next(&pairs, &key) && value_iter_next(&pairs, &value))
                if (value_equal(key, name))
                    found = value;
            matched += found.size_bytes > 0;
            if (found.size_bytes > 0)
                pack_raw(record, found);
            else
                pack_nil(record);
        }
        if (matched != value_count(pack_value(&object)))
            code = shell_fail(EXIT_USAGE, "%s: names what is no attribute of %s", word, table);
    }
    pack_fini(&object);
    return code;
}

static int pack_record(struct shell *s, const struct args *a, struct pack *record) {
    const char *first = a->word[1];
    int code = EXIT_OK;

    if (a->count == 2 && first[0] == '[')
        return pack_json_word(record, first);
    if (a->count == 2 && first[0] == '{')
        return pack_object(s, a->word[0], first, record);
    pack_array(record, (uint32_t) a->count - 1);
    for (int i = 1; i < a->count && code == EXIT_OK; i++)
        code = shell_pack_field(record, a->word[i]);
    return code;
}

int command_write(struct shell *s, struct args *a) {
    bool fresh = args_flag(a, "--new");
    const char *ttl = NULL;
    bool limited = args_value(a, "--ttl", &ttl);
    struct pack record;
    uint32_t options;
    int code = args_done(a, 2, INT_MAX,
                         "write TABLE FIELD ... | '[FIELD, ...]' | '{\"ATTRIBUTE\": ...}'"
                         " [--ttl SECONDS] [--new]");

    if (code != EXIT_OK)
        return code;
    pack_init(&record, s->alloc);
    code = pack_record(s, a, &record);
    if (code == EXIT_OK && record.failed)
        code = shell_fail(EXIT_REFUSED, "out of memory");
    options = shell_tx_options(s) + limited;
    if (code == EXIT_OK) {
        pack_text(shell_params(s, options > 0 ? 3 : 2), a->word[0]);
        pack_raw(&s->params, pack_value(&record));
        if (options > 0)
            pack_map(&s->params, options);
    }
    if (code == EXIT_OK && limited) {
        pack_text(&s->params, "ttl");
        code = pack_number_option(&s->params, "--ttl", ttl);
    }
    if (code == EXIT_OK)
        code = shell_tx_pack(s);
    pack_fini(&record);
    if (code == EXIT_OK)
        code = shell_ask(s, fresh ? "insert_new" : "write");
    if (code == EXIT_OK && value_kind_of(s->last.result) == VALUE_FALSE && s->output != OUTPUT_JSON)
        return shell_fail(EXIT_REFUSED, "exists: the key is there already");
    return code == EXIT_OK ? print_done(s, s->last.result) : code;
}

int command_delete(struct shell *s, struct args *a) {
    int code = args_done(a, 2, INT_MAX, "delete TABLE KEY ...");

    for (int i = 1; code == EXIT_OK && i < a->count; i++) {
        pack_text(shell_params(s, 2 + shell_tx_options(s)), a->word[0]);
        code = shell_pack_key(&s->params, a->word[i]);
        if (code == EXIT_OK)
            code = shell_tx_pack_map(s);
        if (code == EXIT_OK)
            code = shell_ask(s, "delete");
    }
    return code == EXIT_OK ? print_done(s, s->last.result) : code;
}

int command_call(struct shell *s, struct args *a) {
    int code = args_done(a, 1, INT_MAX, "call METHOD [JSON ...]");

    if (code != EXIT_OK)
        return code;
    shell_params(s, (uint32_t) a->count - 1);
    for (int i = 1; i < a->count && code == EXIT_OK; i++)
        code = shell_pack_field(&s->params, a->word[i]);
    if (code == EXIT_OK)
        code = shell_ask(s, a->word[0]);
    if (code == EXIT_OK) {
        enum shell_output as = s->output;
        s->output = OUTPUT_JSON; /* what it is only the caller knows */
        code = print_done(s, s->last.result);
        s->output = as;
    }
    return code;
}
