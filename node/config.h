/* config.h -- what a node is told before it starts.
 *
 * One table (config_keys) knows every setting: its name, unit, bounds, default
 * and help.  Flags, environment and file all go through config_set(), so that
 * each has the same names, checks and error texts.  Where a key is set by
 * several, the stronger source wins, in whatever order they are read:
 *
 *     default < file < environment < flag
 *
 * A key that may repeat (listen) collects what one source says of it; a
 * stronger source replaces the whole list.
 *
 * Ownership  Texts are copied in; the struct is self-contained.
 * Errors     EG_BAD_REQUEST with one line for people; the struct is unchanged. */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include "engine/err.h"
#include "engram.h"

enum {
    CONFIG_TEXT_BYTES = 512,  /* longest single value, end included */
    CONFIG_LIST_MAX = 16,     /* values of one key that may repeat  */
    CONFIG_KEY_COUNT_MAX = 32 /* keys in the table                  */
};

enum config_source { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_FLAG };

struct config_list {
    uint32_t count;
    char item[CONFIG_LIST_MAX][CONFIG_TEXT_BYTES];
};

struct config {
    char name[CONFIG_TEXT_BYTES]; /* "": not said; so for all texts */
    char data[CONFIG_TEXT_BYTES];
    struct config_list listen;
    struct config_list peer_listen;
    char http[CONFIG_TEXT_BYTES];
    char advertise[CONFIG_TEXT_BYTES];
    struct config_list join;
    char cookie_file[CONFIG_TEXT_BYTES];
    char auth_file[CONFIG_TEXT_BYTES];
    char tls_cert[CONFIG_TEXT_BYTES];
    char tls_key[CONFIG_TEXT_BYTES];
    char tls_ca[CONFIG_TEXT_BYTES];
    uint64_t schedulers;         /* 0: one per core      */
    uint64_t memory_limit_bytes; /* 0: eg_open() decides */
    uint64_t max_frame_bytes;
    uint64_t max_input_bytes;
    uint64_t max_connections;
    uint64_t log_level;  /* 0 error .. 3 debug  */
    uint64_t log_format; /* 0 text, 1 json      */

    enum config_source source[CONFIG_KEY_COUNT_MAX]; /* by key number */
};

/* A key as people see it, for --help and for the option parser. */
struct config_key_help {
    const char *name;     /* long option and name in a file  */
    const char *argument; /* "HOST:PORT"                     */
    const char *text;     /* one line                        */
    const char *initial;  /* the default; NULL: said in text */
};

/* Defaults only. */
void config_init(struct config *c);

/* What stands at `number` (0, 1, ...), or NULL past the last key. */
const struct config_key_help *config_key(uint32_t number);

/* What a node may be called. */
#define CONFIG_NAME_IS "a name (1 to 63 letters, digits, dots, dashes, _)"
bool config_is_name(const char *text);

/* Set one key.  Unknown keys and bad values are refused. */
EG_MUST_USE eg_err config_set(struct config *c, const char *key, const char *value,
                              enum config_source source, struct err_note *note);

/* Set what a file says: lines `name = value`, comments with #.  `file` is named in
 * the note. */
EG_MUST_USE eg_err config_parse(struct config *c, const char *text, size_t size_bytes,
                                const char *file, struct err_note *note);

/* Set what the environment says: ENGRAM_LISTEN for listen, and so on; values of
 * a key that may repeat are separated by commas. */
EG_MUST_USE eg_err config_environment(struct config *c, const char *(*get)(const char *name),
                                      struct err_note *note);

/* What no single value can show wrong: combinations, and what this version does
 * not serve yet. */
EG_MUST_USE eg_err config_check(const struct config *c, struct err_note *note);

/* The settings as eg_open() takes them.  Borrows from `c`. */
void config_options(const struct config *c, eg_options *out);

/* Write key `number` as the file would say it, with where it came from, and
 * return its length as snprintf does. */
int config_print(const struct config *c, uint32_t number, char *buffer, size_t size_bytes);

#endif /* NODE_CONFIG_H */
