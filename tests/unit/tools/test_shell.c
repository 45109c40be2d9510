/* test_shell.c -- what a person types becomes the words and values that were meant. */
#include "tools/json.h"
#include "tools/shell.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* The program's own table of commands is in its main, which no test links. */
const struct command *command_at(uint32_t number) {
    (void) number;
    return NULL;
}
int command_run(struct shell *s, int count, char **words) {
    (void) s;
    (void) count;
    (void) words;
    return EXIT_USAGE;
}

TestSuite(shell, .timeout = 240);

Test(shell, lines_are_cut_as_sh_does_and_json_stays_whole) {
    static const struct {
        const char *line, *words; /* joined by | ; NULL: refused */
    } cases[] = {
        {"", ""},
        {"  read  t\t1 \n", "read|t|1"},
        {"write t 'a b' \"c d\" e\\ f", "write|t|a b|c d|e f"},
        {"write t [1, \"a b\"] x", "write|t|[1, \"a b\"]|x"},
        {"write t {\"k\": [1, \"}\"], \"v\": \"\\\"\"}",
         "write|t|{\"k\": [1, \"}\"], \"v\": \"\\\"\"}"},
        {"read t '\"42\"'", "read|t|\"42\""},
        {"read t ''", "read|t|"},
        {"read t 'open", NULL},
        {"write t [1, 2", NULL},
        {"write t [1]x", NULL},
        {"a b c d e f g h i", NULL},
    };
    for (size_t i = 0; i < EG_COUNTOF(cases); i++) {
        char line[128], joined[128] = "";
        char *words[8], *from = line;
        int count;

        snprintf(line, sizeof line, "%s", cases[i].line);
        count = line_split(&from, words, 8);
        cr_assert_eq(count < 0, cases[i].words == NULL, "%s", cases[i].line);
        for (int w = 0; w < count; w++) {
            strcat(joined, w > 0 ? "|" : "");
            strcat(joined, words[w]);
        }
        if (count >= 0)
            cr_assert_str_eq(joined, cases[i].words);
    }
}

Test(shell, a_semicolon_ends_a_command_unless_it_is_quoted) {
    static const struct {
        const char *line, *words; /* those of one command joined by |, the commands by / */
    } cases[] = {
        {"begin; write t 1 'a;b' ;commit", "begin/write|t|1|a;b/commit"},
        {"begin;write t [1,\";\"];commit;", "begin/write|t|[1,\";\"]/commit"},
        {" ; ;read t 1\\;2\n", "//read|t|1;2"},
        {"query \"select 1;\"", "query|select 1;"},
    };
    for (size_t i = 0; i < EG_COUNTOF(cases); i++) {
        char line[128], joined[128] = "", *words[8], *from = line;

        snprintf(line, sizeof line, "%s", cases[i].line);
        for (int command = 0; *from != '\0'; command++) {
            int count = line_split(&from, words, 8);

            strcat(joined, command > 0 ? "/" : "");
            cr_assert_geq(count, 0);
            for (int w = 0; w < count; w++) {
                strcat(joined, w > 0 ? "|" : "");
                strcat(joined, words[w]);
            }
        }
        cr_expect_str_eq(joined, cases[i].words, "%s: %s", cases[i].line, joined);
    }
}

static const char *as_json(int (*pack_word)(struct pack *, const char *), const char *word) {
    static char text[128];
    struct pack p;
    struct buffer out;

    pack_init(&p, alloc_system());
    buffer_init(&out, alloc_system(), sizeof text - 1);
    cr_assert_eq(pack_word(&p, word), EXIT_OK, "%s", word);
    cr_assert_eq(json_print(pack_value(&p), &out), EG_OK);
    snprintf(text, sizeof text, "%.*s", (int) out.size_bytes, (char *) out.at);
    pack_fini(&p);
    buffer_fini(&out);
    return text;
}

Test(shell, a_key_is_a_number_where_it_reads_as_one_else_a_string_or_json) {
    static const char *const cases[][2] = {
        {"42", "42"},
        {"-7", "-7"},
        {"2.0", "2.0"},
        {"1e3", "1000.0"},
        {"alice", "\"alice\""},
        {"", "\"\""},
        {"true", "\"true\""},
        {"null", "\"null\""},
        {"-", "\"-\""},
        {"1st", "\"1st\""},
        {"007", "\"007\""},
        {"\"42\"", "\"42\""},
        {"[1,\"a\"]", "[1, \"a\"]"},
        {"00-1A", "\"00-1A\""},
        {"12 ", "12"},
    };
    for (size_t i = 0; i < EG_COUNTOF(cases); i++)
        cr_assert_str_eq(as_json(shell_pack_key, cases[i][0]), cases[i][1]);
}

Test(shell, a_field_may_also_be_true_false_or_nil) {
    cr_assert_str_eq(as_json(shell_pack_field, "true"), "true");
    cr_assert_str_eq(as_json(shell_pack_field, "false"), "false");
    cr_assert_str_eq(as_json(shell_pack_field, "nil"), "null");
    cr_assert_str_eq(as_json(shell_pack_field, "null"), "null");
    cr_assert_str_eq(as_json(shell_pack_field, "nile"), "\"nile\"");
}

Test(shell, options_are_taken_out_and_what_is_left_is_by_position) {
    char *words[] = {"t", "--key", "id", "-5", "--create", "--types=int", "--", "--file"};
    struct args a = {EG_COUNTOF(words), words};
    const char *value = NULL;

    cr_assert(args_value(&a, "--key", &value));
    cr_assert_str_eq(value, "id");
    cr_assert(args_value(&a, "--types", &value));
    cr_assert_str_eq(value, "int");
    cr_assert(args_flag(&a, "--create"));
    cr_assert_not(args_flag(&a, "--create"));
    cr_assert_not(args_flag(&a, "--file"), "behind -- nothing is an option");
    cr_assert_eq(args_done(&a, 3, 3, "x"), EXIT_OK);
    cr_assert_str_eq(a.word[1], "-5");
    cr_assert_str_eq(a.word[2], "--file");
}

Test(shell, unknown_options_missing_values_and_wrong_counts_are_usage) {
    char *unknown[] = {"--what"}, *valueless[] = {"t", "--key"}, *many[] = {"a", "b"};
    struct args a = {1, unknown}, b = {2, valueless}, c = {2, many};
    const char *value = NULL;

    cr_assert_eq(args_done(&a, 0, 5, "x"), EXIT_USAGE);
    cr_assert_not(args_value(&b, "--key", &value));
    cr_assert_eq(args_done(&b, 0, 5, "x"), EXIT_USAGE);
    cr_assert_eq(args_done(&c, 0, 1, "x"), EXIT_USAGE);
    cr_assert_eq(args_done(&c, 3, 4, "x"), EXIT_USAGE);
}
