/* engramd.c -- a node as a program: read the settings, open, serve, drain.
 *
 * All that a node is stands in the library; here are only the flags, the log's
 * outlet and the signals.
 *
 * Exit codes  0 stopped in order; 1 the node could not start; 2 a bad option or
 *             an unreadable file, before any port was opened. */
#include "engine/base.h"
#include "node/config.h"
#include "tools/notify.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, FILE_BYTES_MAX = 1 << 20, COOKIE_BYTES_MAX = 4096 };
enum { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* Options that are no settings of a node stand behind those that are. */
enum { OPTION_CONFIG = 1000, OPTION_CHECK, OPTION_VERSION, OPTION_HELP };

struct daemon {
    struct config config;
    const char *config_file; /* NULL: none */
    bool check_only;
    _Atomic uint64_t log_level; /* SIGHUP changes them under the log's threads */
    _Atomic uint64_t log_format;
};

/* ---- log ----------------------------------------------------------------- */

/* Write `line` as a JSON string; what JSON cannot hold becomes '?'. */
static void log_json(const char *when, const char *level, const char *line) {
    char text[2048];
    size_t used = 0;

    for (; *line != '\0' && used + 3 < sizeof text; line++) {
        if (*line == '"' || *line == '\\')
            text[used++] = '\\';
        text[used++] = (unsigned char) *line < 0x20 ? '?' : *line;
    }
    text[used] = '\0';
    fprintf(stderr, "{\"time\":\"%s\",\"level\":\"%s\",\"text\":\"%s\"}\n", when, level, text);
}

/* One call of stdio a line, so that lines of several threads do not mix. */
static void log_line(void *context, int level, const char *line) {
    static const char *const names[] = {"error", "warning", "info", "debug"};
    struct daemon *d = context;
    struct timespec now;
    struct tm utc;
    char seconds[32], when[48];

    if (level < 0 || (uint64_t) level > atomic_load(&d->log_level))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(when, sizeof when, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
    level = EG_MIN(level, LOG_DEBUG);
    if (atomic_load(&d->log_format) == 1)
        log_json(when, names[level], line);
    else
        fprintf(stderr, "%s %-7s %s\n", when, names[level], line);
}

/* ---- settings ------------------------------------------------------------ */

EG_NORETURN static void usage_error(const char *text) {
    fprintf(stderr, "engramd: %s\n", text);
    exit(EXIT_USAGE);
}

static void print_help(void) {
    const struct config_key_help *key;

    printf("usage: engramd [options]\n\n"
           "  --config FILE              every option below may stand in it as name = value\n");
    for (uint32_t i = 0; (key = config_key(i)) != NULL; i++) {
        int width = printf("  --%s %s", key->name, key->argument);
        printf("%*s%s", EG_MAX(1, 29 - width), "", key->text);
        printf(key->initial != NULL ? " [%s]\n" : "\n", key->initial);
    }
    printf("  --check-config             read everything, say what was found, do not start\n"
           "  --version\n"
           "  --help\n\n"
           "A flag is stronger than the environment (ENGRAM_LISTEN, ...), that than the file.\n");
}

/* The keys of node/config.c as getopt_long() wants them, and our own four. */
static void options_build(struct option *options) {
    const struct config_key_help *key;
    uint32_t n = 0;

    for (; (key = config_key(n)) != NULL; n++)
        options[n] = (struct option){key->name, required_argument, NULL, (int) n};
    options[n++] = (struct option){"config", required_argument, NULL, OPTION_CONFIG};
    options[n++] = (struct option){"check-config", no_argument, NULL, OPTION_CHECK};
    options[n++] = (struct option){"version", no_argument, NULL, OPTION_VERSION};
    options[n++] = (struct option){"help", no_argument, NULL, OPTION_HELP};
    options[n] = (struct option){NULL, 0, NULL, 0};
}

static void read_flags(struct daemon *d, int argc, char **argv) {
    struct option options[CONFIG_KEY_COUNT_MAX + 5];
    struct err_note note = {""};
    int found;

    options_build(options);
    while ((found = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (found) {
        case OPTION_CONFIG:
            d->config_file = optarg;
            break;
        case OPTION_CHECK:
            d->check_only = true;
            break;
        case OPTION_VERSION:
            printf("engramd %s\n", eg_version());
            exit(0);
        case OPTION_HELP:
        case 'h':
            print_help();
            exit(0);
        case '?':
            exit(EXIT_USAGE); /* getopt has said what it does not know */
        default:
            if (config_set(&d->config, options[found].name, optarg, CONFIG_FLAG, &note) != EG_OK)
                usage_error(note.text);
        }
    }
    if (optind < argc) {
        (void) err_note(&note, EG_BAD_REQUEST, "unexpected argument: %s", argv[optind]);
        usage_error(note.text);
    }
}

static const char *environment_get(const char *name) {
    return getenv(name);
}

/* Read the file of options, where there is one. */
static eg_err read_file(struct config *c, const char *path, struct err_note *note) {
    char *text;
    size_t size;
    FILE *file;
    eg_err err;

    if (path == NULL)
        return EG_OK;
    file = fopen(path, "re");
    if (file == NULL)
        return err_note(note, EG_BAD_REQUEST, "cannot read %s: %s", path, strerror(errno));
    text = malloc(FILE_BYTES_MAX);
    if (text == NULL) {
        fclose(file);
        return err_note(note, EG_MEMORY, "out of memory");
    }
    size = fread(text, 1, FILE_BYTES_MAX, file);
    if (ferror(file) || size == FILE_BYTES_MAX)
        err = err_note(note, EG_BAD_REQUEST, "cannot read %s: %s", path,
                       ferror(file) ? strerror(errno) : "larger than 1 MiB");
    else
        err = config_parse(c, text, size, path, note);
    free(text);
    fclose(file);
    return err;
}

/* A secret that others can read is none. */
static eg_err check_secret(const char *path, struct err_note *note) {
    struct stat about;

    if (*path == '\0')
        return EG_OK;
    if (stat(path, &about) != 0 || access(path, R_OK) != 0)
        return err_note(note, EG_BAD_REQUEST, "cannot read %s: %s", path, strerror(errno));
    if (about.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH))
        return err_note(note, EG_BAD_REQUEST, "%s may be readable by its owner only", path);
    return EG_OK;
}

/* The node makes the directory where there is none, but not now. */
static eg_err check_data(const char *path, struct err_note *note) {
    struct stat about;

    if (*path == '\0')
        return EG_OK;
    if (stat(path, &about) != 0)
        return errno == ENOENT ? EG_OK
                               : err_note(note, EG_BAD_REQUEST, "data: cannot use %s: %s", path,
                                          strerror(errno));
    if (!S_ISDIR(about.st_mode))
        return err_note(note, EG_BAD_REQUEST, "data: %s is not a directory", path);
    if (access(path, R_OK | W_OK | X_OK) != 0)
        return err_note(note, EG_BAD_REQUEST, "data: cannot use %s: %s", path, strerror(errno));
    return EG_OK;
}

static void read_settings(struct daemon *d, int argc, char **argv) {
    struct err_note note = {""};

    config_init(&d->config);
    read_flags(d, argc, argv);
    if (d->config_file == NULL)
        d->config_file = getenv("ENGRAM_CONFIG");
    if (config_environment(&d->config, environment_get, &note) != EG_OK ||
        read_file(&d->config, d->config_file, &note) != EG_OK ||
        config_check(&d->config, &note) != EG_OK ||
        check_secret(d->config.cookie_file, &note) != EG_OK ||
        check_data(d->config.data, &note) != EG_OK)
        usage_error(note.text);
    d->log_level = d->config.log_level;
    d->log_format = d->config.log_format;
}

static int print_settings(const struct daemon *d) {
    char line[CONFIG_LIST_MAX * CONFIG_TEXT_BYTES];

    for (uint32_t i = 0; config_key(i) != NULL; i++) {
        config_print(&d->config, i, line, sizeof line);
        puts(line);
    }
    return 0;
}

/* SIGHUP: what the file now says of the log.  A file with a mistake changes nothing. */
static void reread(struct daemon *d) {
    struct err_note note = {""};
    struct config fresh = d->config;

    for (uint32_t i = 0; config_key(i) != NULL; i++)
        if (fresh.source[i] == CONFIG_FILE)
            fresh.source[i] = CONFIG_DEFAULT;
    if (read_file(&fresh, d->config_file, &note) != EG_OK) {
        log_line(d, LOG_ERROR, note.text);
        return;
    }
    atomic_store(&d->log_level, fresh.log_level);
    atomic_store(&d->log_format, fresh.log_format);
    log_line(d, LOG_INFO, "log settings read again");
}

/* ---- serving ------------------------------------------------------------- */

static void say_ready(eg_node *node) {
    const char *address;

    printf("engramd ready name=%s listen=", eg_node_name(node));
    for (uint32_t i = 0; (address = eg_node_address(node, i)) != NULL; i++)
        printf("%s%s", i > 0 ? "," : "", address);
    fputs(" peer=", stdout);
    for (uint32_t i = 0; (address = eg_node_peer_address(node, i)) != NULL; i++)
        printf("%s%s", i > 0 ? "," : "", address);
    printf("%s http=off pid=%ld\n", eg_node_peer_address(node, 0) == NULL ? "off" : "",
           (long) getpid());
    fflush(stdout);
    notify_send("READY=1");
}

/* Wait until somebody wants the node to stop. */
static void serve(struct daemon *d, const sigset_t *signals) {
    int got;

    while (sigwait(signals, &got) == 0 && got == SIGHUP)
        reread(d);
}

/* The file's content without trailing white space. */
static size_t read_cookie(const char *path, char cookie[COOKIE_BYTES_MAX]) {
    FILE *file = *path == '\0' ? NULL : fopen(path, "re");
    size_t size = 0;

    if (*path != '\0' && file == NULL) {
        fprintf(stderr, "engramd: cannot read %s: %s\n", path, strerror(errno));
        exit(EXIT_USAGE);
    }
    if (file == NULL)
        return 0;
    size = fread(cookie, 1, COOKIE_BYTES_MAX, file);
    if (ferror(file) || size == COOKIE_BYTES_MAX)
        size = 0;
    fclose(file);
    while (size > 0 && isspace((unsigned char) cookie[size - 1]))
        size--;
    if (size == 0) {
        fprintf(stderr, "engramd: %s holds no secret of 1 to %d bytes\n", path,
                COOKIE_BYTES_MAX - 1);
        exit(EXIT_USAGE);
    }
    return size;
}

static int run(struct daemon *d) {
    eg_options options;
    eg_note note = {""};
    eg_node *node;
    sigset_t signals, stops;
    eg_err err;
    char cookie[COOKIE_BYTES_MAX];

    config_options(&d->config, &options);
    options.cookie_bytes = read_cookie(d->config.cookie_file, cookie);
    options.cookie = options.cookie_bytes == 0 ? NULL : cookie;
    options.log_level = LOG_DEBUG; /* log_line() decides, as SIGHUP may change it */
    options.log = log_line;
    options.log_context = d;

    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    signals = stops;
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* the node's threads inherit it */
    signal(SIGPIPE, SIG_IGN);

    err = eg_open(&options, &node, &note);
    if (err != EG_OK) {
        fprintf(stderr, "engramd: %s\n", note.text[0] != '\0' ? note.text : eg_err_text(err));
        return 1;
    }
    say_ready(node);
    serve(d, &signals);
    notify_send("STOPPING=1");
    pthread_sigmask(SIG_UNBLOCK, &stops, NULL); /* a second one ends us at once */
    eg_close(node);
    return 0;
}

int main(int argc, char **argv) {
    struct daemon *d = calloc(1, sizeof *d);

    if (d == NULL)
        usage_error("out of memory");
    read_settings(d, argc, argv);
    int code = d->check_only ? print_settings(d) : run(d);
    free(d);
    return code;
}
