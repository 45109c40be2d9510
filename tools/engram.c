/* engram.c -- the shell: flags, the table of commands, and which one to run.
 *
 * Exit codes  0 done; 1 the node refused it; 2 usage; 3 cannot connect;
 *             4 no answer in time. */
#include "tools/shell.h"

#include "engram.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT_MS = 30000, TIMEOUT_MS_MAX = 24 * 3600 * 1000 };

static int command_help(struct shell *s, struct args *a);

static const struct command commands[] = {
    {"status", "", "what the node is and does", command_status},
    {"tables", "", "names of the tables", command_tables},
    {"info", "TABLE", "what a table is", command_info},
    {"create", "TABLE [options]", "make a table", command_create},
    {"alter", "TABLE CHANGE ...", "add, drop, rename, storage, index, transform", command_alter},
    {"drop", "TABLE", "remove a table and its records", command_drop},
    {"read", "TABLE KEY ...", "records by key, or --index ATTRIBUTE VALUE", command_read},
    {"write", "TABLE FIELD ...", "one record, as words or as JSON", command_write},
    {"delete", "TABLE KEY ...", "remove records by key", command_delete},
    {"select", "TABLE SPECIFICATION [--limit N] [--reverse]", "ask by a match specification (JSON)",
     command_select},
    {"query", "TEXT [ARGUMENT ...]", "ask in words: select, insert, update, delete", command_query},
    {"begin", "[--timeout SECONDS]", "query, read, write, delete, select: all of it, or nothing",
     command_begin},
    {"commit", "", "... make it so", command_commit},
    {"abort", "", "... or leave nothing of it", command_abort},
    {"explain", "TEXT [ARGUMENT ...]", "how the node would answer a query", command_explain},
    {"conflicts", "TABLE [--limit N] [restore N]", "what merges have set aside; take one back",
     command_conflicts},
    {"import", "TABLE FILE [options]", "records from CSV or JSON lines", command_import},
    {"export", "TABLE FILE", "records to CSV, or to JSON lines (.jsonl)", command_export},
    {"watch", "TABLE [options]", "what changes in a table, as it changes", command_watch},
    {"backup", "FILE [TABLE ...]", "one moment of tables, or of all, to a file", command_backup},
    {"restore", "FILE [TABLE ...]", "tables from a backup, --mode skip, replace or clear",
     command_restore},
    {"verify", "FILE", "whether a backup is whole, and what it has", command_verify},
    {"import-mnesia", "FILE [TABLE ...]", "tables from what mnesia:backup/1 wrote",
     command_import_mnesia},
    {"cluster", "[join|leave|remove|plan]", "who is in the cluster; who comes, who goes",
     command_cluster},
    {"scrub", "", "compare all copies now, and mend what differs", command_scrub},
    {"top", "", "counters and how fast they move", command_top},
    {"processes", "", "the node's actors", command_processes},
    {"transactions", "", "which are open or under way, and what they hold", command_transactions},
    {"bench", "tatp [options] [HOST:PORT ...]", "transactions a second of the telecom benchmark",
     command_bench},
    {"call", "METHOD [JSON ...]", "any method of the wire protocol", command_call},
    {"help", "", "this", command_help},
};

const struct command *command_at(uint32_t number) {
    return number < EG_COUNTOF(commands) ? &commands[number] : NULL;
}

static void print_commands(FILE *to) {
    for (size_t i = 0; i < EG_COUNTOF(commands); i++)
        fprintf(to, "  %-13s %-22s %s\n", commands[i].name, commands[i].arguments,
                commands[i].text);
}

static int command_help(struct shell *s, struct args *a) {
    (void) s;
    (void) a;
    print_commands(stdout);
    return EXIT_OK;
}

int command_run(struct shell *s, int count, char **words) {
    struct args rest = {count - 1, words + 1};
    int code;

    for (size_t i = 0; i < EG_COUNTOF(commands); i++) {
        if (strcmp(commands[i].name, words[0]) == 0) {
            code = commands[i].run(s, &rest);
            if (fflush(stdout) != 0 && code == EXIT_OK)
                code = shell_fail(EXIT_REFUSED, "cannot write the output");
            return code;
        }
    }
    return shell_fail(EXIT_USAGE, "no command is called \"%s\"; help lists them", words[0]);
}

static void print_help(void) {
    puts("usage: engram [options] [COMMAND ...]\n\n"
         "  --connect HOST:PORT  the node, or unix:PATH [ENGRAM_CONNECT, 127.0.0.1:7340]\n"
         "  --user NAME          who asks; the password stands in ENGRAM_PASSWORD\n"
         "  --output FORMAT      table, json or csv [table on a terminal, else plain lines]\n"
         "  --timeout SECONDS    how long to wait for an answer [30]\n"
         "  --version\n"
         "  --help\n\n"
         "Without a command: an interactive shell, or a script from standard input.\n"
         "Commands on one line have a semicolon between them; so may one word that holds\n"
         "several: engram 'begin; write t 1 x; delete t 2; commit'.\n");
    print_commands(stdout);
}

static bool output_parse(const char *text, enum shell_output *out) {
    static const char *const names[] = {[OUTPUT_PLAIN] = "plain",
                                        [OUTPUT_TABLE] = "table",
                                        [OUTPUT_JSON] = "json",
                                        [OUTPUT_CSV] = "csv"};

    for (size_t i = 0; i < EG_COUNTOF(names); i++) {
        if (strcmp(names[i], text) == 0) {
            *out = (enum shell_output) i;
            return true;
        }
    }
    return false;
}

/* Set one option, or exit. */
static void option_set(struct shell *s, int found) {
    double seconds;

    switch (found) {
    case 'c':
        s->address = optarg;
        break;
    case 'u':
        s->user = optarg;
        break;
    case 'o':
        if (!output_parse(optarg, &s->output))
            exit(shell_fail(EXIT_USAGE, "--output is table, json or csv, not \"%s\"", optarg));
        break;
    case 't':
        seconds = strtod(optarg, NULL);
        if (!(seconds > 0 && seconds * 1000 <= TIMEOUT_MS_MAX))
            exit(shell_fail(EXIT_USAGE, "--timeout is a number of seconds up to a day"));
        s->timeout_ms = (int) (seconds * 1000) + (seconds < 0.001);
        break;
    case 'V':
        printf("engram %s\n", eg_version());
        exit(EXIT_OK);
    case 'h':
        print_help();
        exit(EXIT_OK);
    default:
        exit(EXIT_USAGE); /* getopt has said what it does not know */
    }
}

static void shell_init(struct shell *s) {
    const char *address = getenv("ENGRAM_CONNECT"), *terminal = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");
    bool person = isatty(STDOUT_FILENO);

    *s = (struct shell){
        .alloc = alloc_system(),
        .address = address != NULL && *address != '\0' ? address : "127.0.0.1:7340",
        .timeout_ms = TIMEOUT_MS,
        .output = person ? OUTPUT_TABLE : OUTPUT_PLAIN,
        .color = person && (no_color == NULL || *no_color == '\0') && terminal != NULL &&
                 strcmp(terminal, "dumb") != 0,
        .progress = isatty(STDERR_FILENO),
    };
    pack_init(&s->params, s->alloc);
    pack_init(&s->tx_id, s->alloc);
}

/* One word with a semicolon is a line of commands: no command has one in its name. */
static int run(struct shell *s, int count, char **words) {
    if (count == 0)
        return shell_interact(s);
    return count == 1 && strchr(words[0], ';') != NULL ? shell_run_line(s, words[0])
                                                       : command_run(s, count, words);
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"connect", required_argument, NULL, 'c'},
        {"user", required_argument, NULL, 'u'},
        {"output", required_argument, NULL, 'o'},
        {"timeout", required_argument, NULL, 't'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct shell s;
    int found, code;

    signal(SIGPIPE, SIG_IGN);
    shell_init(&s);
    while ((found = getopt_long(argc, argv, "+h", options, NULL)) != -1) /* +: up to COMMAND */
        option_set(&s, found);
    code = run(&s, argc - optind, argv + optind);
    shell_disconnect(&s);
    pack_fini(&s.params);
    pack_fini(&s.tx_id);
    return code;
}
