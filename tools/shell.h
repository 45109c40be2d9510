/* shell.h -- what the parts of `engram` share: one connection, one way to ask, one
 * way to answer the person in front of it.
 *
 *     engram.c         flags, the table of commands
 *     shell.c          asking the node, arguments, values on a command line
 *     shell_command.c  status tables info create drop read write delete call
 *     shell_alter.c    alter
 *     shell_watch.c    top processes transactions
 *     shell_events.c   watch
 *     shell_cluster.c  cluster
 *     shell_bench.c    bench, from tatp.c and tatp_wire.c
 *     shell_query.c    query explain
 *     shell_tx.c       begin commit abort
 *     shell_import.c   import, from rows.c           shell_export.c   export
 *     shell_backup.c   backup restore verify       loader.c         records by the thousand
 *     shell_mnesia.c   import-mnesia, from mnesia_backup.c and etf.c
 *     shell_print.c    tables, plain lines, CSV, JSON
 *     shell_line.c     interactive: editing, history, completion
 *
 * Every function that can fail returns the exit code of the program: EXIT_OK, or
 * another after having said why on standard error. */
#ifndef TOOLS_SHELL_H
#define TOOLS_SHELL_H

#include "tools/client.h"
#include "tools/pack.h"

enum shell_exit {
    EXIT_OK,
    EXIT_REFUSED,       /* the node said no, or the data is bad */
    EXIT_USAGE,         /* nothing was asked                    */
    EXIT_NO_CONNECTION, /* or it was lost                       */
    EXIT_NO_ANSWER,     /* in time                              */
};

enum shell_output { OUTPUT_PLAIN, OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_CSV };

enum shell_tx {
    SHELL_TX_NONE,
    SHELL_TX_OPEN,
    SHELL_TX_OVER, /* the node has ended it, or the connection was lost, and nobody has said abort
                    */
};

struct shell {
    struct alloc *alloc;
    struct client *client; /* NULL until something is asked */
    const char *address;
    const char *user; /* NULL: nobody in particular */
    int timeout_ms;
    enum shell_output output;
    bool color;               /* the terminal has it and nobody said NO_COLOR */
    bool progress;            /* standard error is a terminal                 */
    struct pack params;       /* of the call being prepared                   */
    struct client_reply last; /* of the call made last                       */
    bool lines;               /* there are more commands than one            */
    enum shell_tx tx;
    struct pack tx_id; /* as begin has answered it */
    bool in_tx;        /* the call being prepared is */
};

/* ---- arguments ------------------------------------------------------------- */

/* The words behind a command.  Options (--name VALUE, --name=VALUE) are taken out
 * first; what is left is by position.  Words behind "--" are never options, nor is
 * one with a single dash: it is a negative number. */
struct args {
    int count;
    char **word;
};

/* Take option `name` ("--key") and its value; false: it is not there.  An option
 * without its value leaves itself in place, for args_done() to refuse. */
bool args_value(struct args *a, const char *name, const char **value);
bool args_flag(struct args *a, const char *name);

/* After the options: `least` to `most` words are left, else say `usage`. */
EG_MUST_USE int args_done(struct args *a, int least, int most, const char *usage);

/* ---- asking ---------------------------------------------------------------- */

/* Start the parameters of a call: an array of `count`. */
struct pack *shell_params(struct shell *s, uint32_t count);
/* Call `method` with them; the answer stands in s->last, also where it is a refusal
 * (EXIT_REFUSED), which shell_ask() prints and shell_try() leaves to the caller. */
EG_MUST_USE int shell_ask(struct shell *s, const char *method);
EG_MUST_USE int shell_try(struct shell *s, const char *method);
EG_MUST_USE int shell_connect(struct shell *s);
void shell_disconnect(struct shell *s);

/* Say "engram: ..." and return `code`. */
int shell_fail(int code, const char *format, ...) EG_PRINTF(2, 3);
/* Say what err and note mean; the exit code for it. */
int shell_fail_err(eg_err err, const struct err_note *note);
/* Say the node's refusal in s->last. */
int shell_refused(const struct shell *s);
/* Whether s->last is a refusal with this code. */
bool shell_refused_as(const struct shell *s, const char *code);

/* ---- transactions ------------------------------------------------------------ */

/* How many options it takes to say so that a call is in the transaction that is open, if any: 0
 * or 1. */
uint32_t shell_tx_options(const struct shell *s);
/* Say it: into a map of options, or as the map.  EXIT_REFUSED: it is over, and that was said. */
EG_MUST_USE int shell_tx_pack(struct shell *s);
EG_MUST_USE int shell_tx_pack_map(struct shell *s);
/* Of the call made last, and of a connection that is gone. */
void shell_tx_look(struct shell *s);
/* The last command is done.  EXIT_REFUSED: one was open, and nothing is left of it. */
EG_MUST_USE int shell_tx_end(struct shell *s, int code);

/* ---- values ---------------------------------------------------------------- */

/* A key on the command line: a number where it reads as one; JSON where it begins
 * as an array, a map or a quoted string; else a string. */
EG_MUST_USE int shell_pack_key(struct pack *p, const char *word);
/* A field: JSON where it is JSON, else a string. */
EG_MUST_USE int shell_pack_field(struct pack *p, const char *word);
/* "a,b,c" as an array of strings. */
void shell_pack_names(struct pack *p, const char *words);

/* The value under `name` in a map, or one of size 0. */
struct value shell_get(struct value map, const char *name);

/* ---- answering ------------------------------------------------------------- */

/* Records, with a table's attributes above them where the output has a header. */
EG_MUST_USE int print_records(struct shell *s, const char *table, struct value records);
/* {columns, rows, ...}, a query's answer. */
EG_MUST_USE int print_rows(struct shell *s, struct value answer);
EG_MUST_USE int print_map(struct shell *s, struct value map);   /* name and value  */
EG_MUST_USE int print_list(struct shell *s, struct value list); /* names, one a line */
EG_MUST_USE int print_values(struct shell *s, const char *header, struct value list);
EG_MUST_USE int print_maps(struct shell *s, struct value maps); /* keys as header  */
/* "ok" for a person, nothing in a pipe, the result in JSON. */
EG_MUST_USE int print_done(struct shell *s, struct value result);

/* A line on standard error that replaces itself; silent off a terminal and during
 * the first second of the work that began at `start_ms`. */
void progress_show(const struct shell *s, uint64_t start_ms, const char *what, uint64_t done,
                   uint64_t all);
void progress_end(const struct shell *s);
uint64_t shell_now_ms(void);

/* ---- commands -------------------------------------------------------------- */

struct command {
    const char *name;
    const char *arguments;
    const char *text; /* one line of help */
    int (*run)(struct shell *s, struct args *a);
};

/* What stands at `number` (0, 1, ...), or NULL past the last command. */
const struct command *command_at(uint32_t number);
/* Run one command with its words.  EXIT_USAGE: there is none of that name. */
int command_run(struct shell *s, int count, char **words);

int command_status(struct shell *s, struct args *a);
int command_tables(struct shell *s, struct args *a);
int command_info(struct shell *s, struct args *a);
int command_create(struct shell *s, struct args *a);
int command_alter(struct shell *s, struct args *a);
int command_drop(struct shell *s, struct args *a);
int command_read(struct shell *s, struct args *a);
int command_write(struct shell *s, struct args *a);
int command_delete(struct shell *s, struct args *a);
int command_call(struct shell *s, struct args *a);
int command_select(struct shell *s, struct args *a);
int command_conflicts(struct shell *s, struct args *a);
int command_query(struct shell *s, struct args *a);
int command_begin(struct shell *s, struct args *a);
int command_commit(struct shell *s, struct args *a);
int command_abort(struct shell *s, struct args *a);
int command_explain(struct shell *s, struct args *a);
int command_import(struct shell *s, struct args *a);
int command_export(struct shell *s, struct args *a);
int command_watch(struct shell *s, struct args *a);
int command_backup(struct shell *s, struct args *a);
int command_restore(struct shell *s, struct args *a);
int command_verify(struct shell *s, struct args *a);
int command_import_mnesia(struct shell *s, struct args *a);
int command_cluster(struct shell *s, struct args *a);
int command_scrub(struct shell *s, struct args *a);
int command_top(struct shell *s, struct args *a);
int command_processes(struct shell *s, struct args *a);
int command_transactions(struct shell *s, struct args *a);
int command_bench(struct shell *s, struct args *a);

/* Take the options of a table (--type, --storage, ...) out of `a` into a map. */
EG_MUST_USE int create_options(struct args *a, struct pack *map);

/* Read lines and run them until the end: with editing on a terminal, as a script
 * that stops at its first failure else. */
int shell_interact(struct shell *s);
/* Run the commands of one line, which is written into, and nothing behind it. */
int shell_run_line(struct shell *s, char *line);

/* Cut the next command of a line into words, as sh does with quotes, backslashes and
 * semicolons; a word that begins with [ or { reaches to its closing bracket.  Writes
 * into the line, and leaves *line behind the command.  -1: a quote or bracket is not
 * closed, or there are more than `most` words. */
int line_split(char **line, char **words, int most);

#endif /* TOOLS_SHELL_H */
