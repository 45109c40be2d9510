/* shell_watch.c -- what the node does now: top, processes, transactions. */
#include "tools/shell.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INTERVAL_MS_MIN = 100, INTERVAL_MS_MAX = 3600 * 1000, OPEN_SHOWN_MAX = 10 };

int command_processes(struct shell *s, struct args *a) {
    int code = args_done(a, 0, 0, "processes");

    if (code != EXIT_OK)
        return code;
    shell_params(s, 0);
    code = shell_ask(s, "processes");
    return code == EXIT_OK ? print_maps(s, s->last.result) : code;
}

int command_transactions(struct shell *s, struct args *a) {
    int code = args_done(a, 0, 0, "transactions");

    if (code != EXIT_OK)
        return code;
    shell_params(s, 0);
    code = shell_ask(s, "transactions");
    return code == EXIT_OK ? print_maps(s, s->last.result) : code;
}

/* Where the number `path` ("tables.users.reads") stood in an earlier answer. */
static bool earlier(struct value map, const char *path, double *out) {
    char name[256];
    size_t length;

    while (map.size_bytes > 0 && value_kind_of(map) == VALUE_MAP) {
        length = strcspn(path, "\n");
        snprintf(name, sizeof name, "%.*s", (int) length, path);
        map = shell_get(map, name);
        if (path[length] == '\0')
            return map.size_bytes > 0 && value_get_double(map, out);
        path += length + 1;
    }
    return false;
}

/* One line a number: what it is, and how fast it moves.  `path` has line ends
 * between its parts, as names may hold dots. */
static void print_moving(const char *path, struct value now, struct value before, double seconds) {
    char name[256];
    double value = 0, old;

    if (!value_get_double(now, &value))
        return;
    snprintf(name, sizeof name, "%s", path);
    for (char *at = name; *at != '\0'; at++)
        *at = *at == '\n' ? '.' : *at;
    printf("%-40s %16.*f", name, value_is_float(now) ? 2 : 0, value);
    if (earlier(before, path, &old) && old != value && seconds > 0)
        printf(" %+14.0f/s", (value - old) / seconds);
    putchar('\n');
}

static void print_stats(const char *prefix, struct value map, struct value before, double seconds) {
    struct value_iter it = value_iter_of(map);
    struct value key, value;
    const uint8_t *at;
    uint32_t size_bytes;
    char path[256];

    while (value_iter_next(&it, &key) && value_iter_next(&it, &value)) {
        if (!value_get_bytes(key, &at, &size_bytes))
            continue;
        snprintf(path, sizeof path, "%s%s%.*s", prefix, prefix[0] != '\0' ? "\n" : "",
                 (int) size_bytes, (const char *) at);
        if (value_kind_of(value) == VALUE_MAP)
            print_stats(path, value, before, seconds);
        else
            print_moving(path, value, before, seconds);
    }
}

static uint64_t number_in(struct value map, const char *name) {
    struct value v = shell_get(map, name);
    uint64_t n = 0;

    return v.size_bytes > 0 && value_get_u64(v, &n) ? n : 0;
}

/* What an open transaction holds, and since when. */
static void print_open(struct value tx) {
    struct value id = shell_get(tx, "id");
    const uint8_t *at;
    uint32_t size_bytes;

    if (id.size_bytes == 0 || !value_get_bytes(id, &at, &size_bytes))
        return;
    printf("transaction %.*s: %.1f s old, %.1f s left; %" PRIu64 " read, %" PRIu64
           " asked, %" PRIu64 " to change, %" PRIu64 " locked, %" PRIu64 " bytes\n",
           (int) size_bytes, (const char *) at, (double) number_in(tx, "age_ms") / 1000,
           (double) number_in(tx, "left_ms") / 1000, number_in(tx, "seen"),
           number_in(tx, "questions"), number_in(tx, "changes"), number_in(tx, "locks"),
           number_in(tx, "bytes"));
}

/* The oldest of those that are held open: who looks for what is in the way finds it there. */
static int print_oldest(struct shell *s) {
    struct value oldest[OPEN_SHOWN_MAX], tx;
    struct value_iter it;
    uint32_t count = 0;
    int code;

    shell_params(s, 0);
    code = shell_try(s, "transactions");
    if (code != EXIT_OK || value_kind_of(s->last.result) != VALUE_ARRAY)
        return code == EXIT_REFUSED ? EXIT_OK : code; /* a node in the rush: the next time */
    it = value_iter_of(s->last.result);
    while (value_iter_next(&it, &tx)) {
        uint32_t i = count < OPEN_SHOWN_MAX ? count : OPEN_SHOWN_MAX;

        if (value_kind_of(tx) != VALUE_MAP || shell_get(tx, "client").size_bytes == 0)
            continue; /* a commit under way: whose it is has a row of its own, if it is held open */
        for (; i > 0 && number_in(oldest[i - 1], "age_ms") < number_in(tx, "age_ms"); i--)
            if (i < OPEN_SHOWN_MAX)
                oldest[i] = oldest[i - 1];
        if (i < OPEN_SHOWN_MAX)
            oldest[i] = tx;
        count++;
    }
    for (uint32_t i = 0; i < count && i < OPEN_SHOWN_MAX; i++)
        print_open(oldest[i]);
    if (count > OPEN_SHOWN_MAX)
        printf("and %" PRIu32 " more transactions\n", count - OPEN_SHOWN_MAX);
    return EXIT_OK;
}

/* Print what moved since `before`, then make `before` what is now. */
static int show_once(struct shell *s, struct pack *before, double seconds) {
    struct value old = {NULL, 0};
    int code;

    shell_params(s, 0);
    code = shell_ask(s, "stats");
    if (code != EXIT_OK)
        return code;
    if (s->output == OUTPUT_JSON)
        return print_map(s, s->last.result);
    if (before->bytes.size_bytes > 0)
        old = pack_value(before);
    if (s->output == OUTPUT_TABLE && isatty(STDOUT_FILENO))
        fputs("\033[H\033[2J", stdout);
    if (value_kind_of(s->last.result) == VALUE_MAP)
        print_stats("", s->last.result, old, seconds);
    pack_clear(before);
    pack_raw(before, s->last.result);
    if (before->failed)
        return shell_fail(EXIT_REFUSED, "out of memory");
    code = print_oldest(s);
    fflush(stdout);
    return code;
}

int command_top(struct shell *s, struct args *a) {
    const char *interval = "1", *count = isatty(STDOUT_FILENO) ? "0" : "1";
    struct pack before;
    long rounds, interval_ms;
    int code;

    (void) args_value(a, "--interval", &interval); /* else the default stands */
    (void) args_value(a, "--count", &count);
    code = args_done(a, 0, 0, "top [--interval SECONDS] [--count N]");
    if (code != EXIT_OK)
        return code;
    interval_ms = (long) (strtod(interval, NULL) * 1000);
    rounds = strtol(count, NULL, 10);
    if (interval_ms < INTERVAL_MS_MIN || interval_ms > INTERVAL_MS_MAX || rounds < 0)
        return shell_fail(EXIT_USAGE, "--interval is 0.1 to 3600 seconds, --count 0 (for ever) up");
    pack_init(&before, s->alloc);
    for (long round = 0; code == EXIT_OK && (rounds == 0 || round < rounds); round++) {
        if (round > 0)
            poll(NULL, 0, (int) interval_ms);
        code = show_once(s, &before, (double) interval_ms / 1000);
    }
    pack_fini(&before);
    return code;
}
