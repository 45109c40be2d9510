/* shell_bench.c -- `bench tatp`: how many transactions a second the nodes take from here.
 *
 * Tables are made and filled, clients in threads of their own run the mix on them until the time
 * is over or so many are done, and the tables go.  What was there before is never dropped. */
#include "tools/loader.h"
#include "tools/tatp_wire.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUBSCRIBERS = 100000,
    SUBSCRIBERS_MAX = 10000000,
    CLIENTS = 8,
    CLIENTS_MAX = 256,
    SECONDS = 10,
    SECONDS_MAX = 24 * 3600,
    PAUSE_MS = 20,
};

static const char usage[] = "bench tatp [--subscribers N] [--copies N|all] [--storage KIND]"
                            " [--clients N] [--seconds S | --count N] [--fill | --keep]"
                            " [HOST:PORT ...]";

struct bench {
    struct shell *shell;
    uint64_t subscribers; /* 0: as said by nobody */
    const char *copies; /* of the tables, as create takes them; NULL: as tables have them usually */
    const char *storage;
    uint64_t clients;
    double seconds;
    uint64_t count; /* of transactions, of all clients; 0: the time ends it */
    bool fill;      /* and no more       */
    bool keep;      /* the tables stay   */
    char **address; /* of the nodes; clients are dealt out over them */
    uint32_t addresses;
    _Atomic bool ended; /* a client has met what ends the others too */
};

/* ---- options ----------------------------------------------------------------------- */

static int take_number(struct args *a, const char *name, uint64_t most, uint64_t *out) {
    const char *word;
    char *end;
    unsigned long long n;

    if (!args_value(a, name, &word))
        return EXIT_OK;
    errno = 0;
    n = strtoull(word, &end, 10);
    if (word[0] < '0' || word[0] > '9' || *end != '\0' || errno != 0 || n == 0 || n > most)
        return shell_fail(EXIT_USAGE, "%s is a number from 1 to %llu, not \"%s\"", name,
                          (unsigned long long) most, word);
    *out = n;
    return EXIT_OK;
}

static int take_seconds(struct args *a, double *out) {
    const char *word;
    char *end;

    if (!args_value(a, "--seconds", &word))
        return EXIT_OK;
    *out = strtod(word, &end);
    if (end == word || *end != '\0' || !(*out > 0 && *out <= SECONDS_MAX))
        return shell_fail(EXIT_USAGE, "--seconds is a number up to a day, not \"%s\"", word);
    return EXIT_OK;
}

static int take_options(struct bench *b, struct args *a) {
    int code = take_number(a, "--subscribers", SUBSCRIBERS_MAX, &b->subscribers);

    if (code == EXIT_OK)
        code = take_number(a, "--clients", CLIENTS_MAX, &b->clients);
    if (code == EXIT_OK)
        code = take_number(a, "--count", UINT32_MAX, &b->count);
    if (b->count != 0)
        b->seconds = SECONDS_MAX;
    if (code == EXIT_OK)
        code = take_seconds(a, &b->seconds);
    b->fill = args_flag(a, "--fill");
    b->keep = args_flag(a, "--keep");
    (void) args_value(a, "--copies", &b->copies); /* else NULL: the node's usual */
    (void) args_value(a, "--storage", &b->storage);
    if (code == EXIT_OK)
        code = args_done(a, 1, INT_MAX, usage);
    if (code == EXIT_OK && strcmp(a->word[0], "tatp") != 0)
        code =
            shell_fail(EXIT_USAGE, "there is no load \"%s\"\nusage: engram %s", a->word[0], usage);
    return code;
}

/* ---- tables -------------------------------------------------------------------------- */

/* Call `method` until it is done or refused for good: a cluster may agree on its members just now.
 * `done_before` (or NULL) after nobody could say: it was done.  A refusal is left to the caller. */
static int try_until_done(struct shell *s, const char *method, const char *done_before) {
    uint64_t give_up_ms = shell_now_ms() + (uint64_t) s->timeout_ms;
    bool doubt = false;
    int code;

    while ((code = shell_try(s, method)) != EXIT_OK && s->last.refused) {
        bool unknown = shell_refused_as(s, "in_doubt") || shell_refused_as(s, "timeout");
        if (doubt && done_before != NULL && shell_refused_as(s, done_before))
            return EXIT_OK;
        if (shell_now_ms() > give_up_ms ||
            !(unknown || shell_refused_as(s, "busy") || shell_refused_as(s, "no_replica")))
            break;
        doubt |= unknown;
        (void) poll(NULL, 0, PAUSE_MS); /* a signal only makes it shorter */
    }
    return code;
}

static int ask_until_done(struct shell *s, const char *method, const char *done_before) {
    int code = try_until_done(s, method, done_before);
    return s->last.refused && code != EXIT_OK ? shell_refused(s) : code;
}

/* How many of the four are there; *subscribers is the size of the first. */
static int look_for_tables(struct bench *b, int *there, uint64_t *subscribers) {
    struct shell *s = b->shell;

    *there = 0;
    for (int i = 0; i < TATP_TABLES; i++) {
        struct value size;
        int code;
        pack_text(shell_params(s, 1), tatp_schema[i].name);
        code = try_until_done(s, "table_info", NULL);
        if (code == EXIT_OK) {
            ++*there;
            size = shell_get(s->last.result, "size");
            if (i == TATP_SUBSCRIBER && (size.size_bytes == 0 || !value_get_u64(size, subscribers)))
                *subscribers = 0;
        } else if (!shell_refused_as(s, "no_table")) {
            return s->last.refused ? shell_refused(s) : code;
        }
    }
    return EXIT_OK;
}

/* The node says what it does not take of them. */
static int pack_word(struct pack *p, const char *name, const char *word) {
    if (word == NULL)
        return EXIT_OK;
    pack_text(p, name);
    return shell_pack_field(p, word);
}

static int create(const struct bench *b, const struct tatp_schema *schema) {
    struct pack *p = shell_params(b->shell, 2);
    int code;

    pack_text(p, schema->name);
    pack_map(p, 1u + (schema->index != NULL) + (b->copies != NULL) + (b->storage != NULL));
    pack_text(p, "attributes");
    pack_array(p, schema->attributes);
    for (uint32_t i = 0; i < schema->attributes; i++)
        pack_text(p, schema->attribute[i]);
    if (schema->index != NULL) {
        pack_text(p, "index");
        pack_array(p, 1);
        pack_text(p, schema->index);
    }
    code = pack_word(p, "copies", b->copies);
    if (code == EXIT_OK)
        code = pack_word(p, "storage", b->storage);
    return code == EXIT_OK ? ask_until_done(b->shell, "create_table", "exists") : code;
}

static int drop(struct shell *s, int tables) {
    int code = EXIT_OK;

    for (int i = 0; i < tables && code == EXIT_OK; i++) {
        pack_text(shell_params(s, 1), tatp_schema[i].name);
        code = ask_until_done(s, "drop_table", "no_table");
    }
    return code;
}

/* One table after the other: its records go together. */
struct filling {
    struct loader loader;
    enum tatp_table table;
    struct pack name;
    int code;
};

static void count_record(void *user, enum tatp_table table, const eg_writer *record) {
    uint64_t *count = user;

    (void) table;
    (void) record;
    ++*count;
}

static void add_record(void *user, enum tatp_table table, const eg_writer *record) {
    struct filling *f = user;
    eg_span bytes = eg_written(record);

    if (table == f->table && f->code == EXIT_OK)
        f->code = loader_add(&f->loader, pack_value(&f->name),
                             (struct value){bytes.at, (uint32_t) bytes.size_bytes}, 0);
}

static int fill(struct bench *b) {
    struct filling *f = alloc_zero(b->shell->alloc, sizeof *f);
    int code;

    if (f == NULL)
        return shell_fail(EXIT_REFUSED, "out of memory");
    loader_init(&f->loader, b->shell, "filled");
    f->loader.alone = true;
    tatp_fill(b->subscribers, count_record, &f->loader.all);
    pack_init(&f->name, b->shell->alloc);
    for (int table = 0; table < TATP_TABLES && f->code == EXIT_OK; table++) {
        f->table = (enum tatp_table) table;
        pack_clear(&f->name);
        pack_text(&f->name, tatp_schema[table].name);
        if (f->name.failed)
            f->code = shell_fail(EXIT_REFUSED, "out of memory");
        else
            tatp_fill(b->subscribers, add_record, f);
    }
    if (f->code == EXIT_OK)
        f->code = loader_finish(&f->loader);
    code = f->code;
    loader_fini(&f->loader);
    pack_fini(&f->name);
    alloc_put(b->shell->alloc, f, sizeof *f);
    return code;
}

/* Make and fill them, or take those that an earlier run has kept.  *made: how many are ours. */
static int prepare(struct bench *b, int *made) {
    uint64_t found = 0;
    int there, code = look_for_tables(b, &there, &found);

    *made = 0;
    if (code != EXIT_OK)
        return code;
    if (there == TATP_TABLES && b->keep && !b->fill && found > 0) {
        if (b->subscribers != 0 && b->subscribers != found)
            return shell_fail(EXIT_REFUSED, "the tables have %llu subscribers",
                              (unsigned long long) found);
        if (b->copies != NULL || b->storage != NULL)
            return shell_fail(EXIT_REFUSED, "the tables are there: their copies and storage stay");
        b->subscribers = found;
        return EXIT_OK;
    }
    if (there > 0)
        return shell_fail(EXIT_REFUSED,
                          "exists: %d of the tables subscriber, access_info, "
                          "special_facility and call_forwarding are there already; "
                          "--keep runs on all four of an earlier run",
                          there);
    if (b->subscribers == 0)
        b->subscribers = SUBSCRIBERS;
    for (; *made < TATP_TABLES && code == EXIT_OK; *made += code == EXIT_OK)
        code = create(b, &tatp_schema[*made]);
    return code == EXIT_OK ? fill(b) : code;
}

/* ---- clients ---------------------------------------------------------------------------- */

struct runner {
    struct bench *bench;
    struct tatp_client client;
    pthread_t thread;
    uint64_t count; /* of its transactions; 0: the time ends it */
    uint64_t until_ms;
    int code;
};

static void *run_client(void *arg) {
    struct runner *r = arg;
    uint64_t done = 0;

    while (r->code == EXIT_OK && !atomic_load(&r->bench->ended) &&
           (r->count == 0 || done < r->count) && shell_now_ms() < r->until_ms) {
        r->code = tatp_client_step(&r->client);
        done++;
    }
    if (r->code != EXIT_OK)
        atomic_store(&r->bench->ended, true);
    return NULL;
}

/* All connect before the first transaction. */
static int connect_clients(struct bench *b, struct runner *runners, uint32_t clients) {
    int code = EXIT_OK;

    for (uint32_t i = 0; i < clients; i++) {
        struct runner *r = &runners[i];
        r->bench = b;
        r->count = b->count / clients + (i < b->count % clients);
        tatp_client_init(&r->client, b->shell, b->address[i % b->addresses], i + 1, b->subscribers);
    }
    for (uint32_t i = 0; i < clients && code == EXIT_OK; i++)
        code = shell_connect(&runners[i].client.shell);
    return code;
}

static int run_clients(struct bench *b, struct runner *runners, uint32_t clients, double *took_s) {
    uint64_t start_ms = shell_now_ms(), until_ms = start_ms + (uint64_t) (b->seconds * 1000);
    uint32_t started = 0;
    int code = EXIT_OK;

    for (; started < clients; started++) {
        runners[started].until_ms = until_ms;
        if (pthread_create(&runners[started].thread, NULL, run_client, &runners[started]) != 0) {
            atomic_store(&b->ended, true);
            code = shell_fail(EXIT_REFUSED, "cannot start a thread for each client");
            break;
        }
    }
    for (uint32_t i = 0; i < started; i++) {
        (void) pthread_join(runners[i].thread, NULL);
        if (code == EXIT_OK)
            code = runners[i].code;
    }
    *took_s = EG_MAX((double) (shell_now_ms() - start_ms), 1.0) / 1000;
    return code;
}

/* ---- what came of it ------------------------------------------------------------------------ */

static void pack_tenths(struct pack *p, const char *name, double n) {
    pack_text(p, name);
    pack_double(p, floor(n * 10 + 0.5) / 10);
}

static void pack_quantile(struct pack *p, const char *name, const struct hist *h, uint32_t of) {
    pack_text(p, name);
    pack_double(p, floor((double) hist_quantile(h, of) / 1000) / 1000);
}

enum { COUNT_PAIRS = 8 };

static void pack_count(struct pack *p, const struct tatp_count *count, double took_s) {
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = {{"count", count->done},
                  {"failed", count->failed},
                  {"retries", count->retries},
                  {"in_doubt", count->in_doubt}};

    for (size_t i = 0; i < EG_COUNTOF(counts); i++) {
        pack_text(p, counts[i].name);
        pack_u64(p, counts[i].n);
    }
    pack_tenths(p, "per_second", (double) count->done / took_s);
    pack_quantile(p, "p50_ms", &count->latency_ns, 500000);
    pack_quantile(p, "p95_ms", &count->latency_ns, 950000);
    pack_quantile(p, "p99_ms", &count->latency_ns, 990000);
}

/* A row for each kind, and where it is a table one for all. */
static void pack_rows(struct pack *p, const struct tatp_count *kinds, const struct tatp_count *all,
                      double took_s) {
    pack_array(p, TATP_KINDS + (all != NULL));
    for (int kind = 0; kind < TATP_KINDS + (all != NULL); kind++) {
        pack_map(p, 1 + COUNT_PAIRS);
        pack_text(p, "transaction");
        pack_text(p, kind < TATP_KINDS ? tatp_kind_name[kind] : "all");
        pack_count(p, kind < TATP_KINDS ? &kinds[kind] : all, took_s);
    }
}

static void pack_report(struct pack *p, const struct bench *b, const struct tatp_count *kinds,
                        const struct tatp_count *all, double took_s) {
    pack_map(p, 5 + COUNT_PAIRS);
    pack_text(p, "load");
    pack_text(p, "tatp");
    pack_text(p, "subscribers");
    pack_u64(p, b->subscribers);
    pack_text(p, "clients");
    pack_u64(p, b->clients);
    pack_text(p, "seconds");
    pack_double(p, took_s);
    pack_count(p, all, took_s);
    pack_text(p, "transactions");
    pack_rows(p, kinds, NULL, took_s);
}

static int report(const struct bench *b, const struct runner *runners, double took_s) {
    struct tatp_count *sums = alloc_zero(b->shell->alloc, (TATP_KINDS + 1) * sizeof *sums);
    struct pack p;
    int code;

    if (sums == NULL)
        return shell_fail(EXIT_REFUSED, "out of memory");
    for (int kind = 0; kind <= TATP_KINDS; kind++)
        hist_init(&sums[kind].latency_ns);
    for (uint32_t i = 0; i < b->clients; i++) {
        for (int kind = 0; kind < TATP_KINDS; kind++) {
            tatp_count_merge(&sums[kind], &runners[i].client.count[kind]);
            tatp_count_merge(&sums[TATP_KINDS], &runners[i].client.count[kind]);
        }
    }
    pack_init(&p, b->shell->alloc);
    if (b->shell->output == OUTPUT_JSON)
        pack_report(&p, b, sums, &sums[TATP_KINDS], took_s);
    else
        pack_rows(&p, sums, &sums[TATP_KINDS], took_s);
    if (p.failed)
        code = shell_fail(EXIT_REFUSED, "out of memory");
    else if (b->shell->output == OUTPUT_JSON)
        code = print_map(b->shell, pack_value(&p));
    else
        code = print_maps(b->shell, pack_value(&p));
    pack_fini(&p);
    alloc_put(b->shell->alloc, sums, (TATP_KINDS + 1) * sizeof *sums);
    return code;
}

/* ---- the command ------------------------------------------------------------------------------
 */

static int run(struct bench *b) {
    uint32_t clients = (uint32_t) b->clients;
    struct runner *runners = alloc_zero(b->shell->alloc, clients * sizeof *runners);
    double took_s = 0;
    int code;

    if (runners == NULL)
        return shell_fail(EXIT_REFUSED, "out of memory");
    code = connect_clients(b, runners, clients);
    if (code == EXIT_OK)
        code = run_clients(b, runners, clients, &took_s);
    if (code == EXIT_OK)
        code = report(b, runners, took_s);
    for (uint32_t i = 0; i < clients; i++)
        tatp_client_fini(&runners[i].client);
    alloc_put(b->shell->alloc, runners, clients * sizeof *runners);
    return code;
}

int command_bench(struct shell *s, struct args *a) {
    char *usual = (char *) s->address;
    struct bench b = {.shell = s, .clients = CLIENTS, .seconds = SECONDS, .address = &usual};
    int made, code = take_options(&b, a), dropped = EXIT_OK;

    if (code != EXIT_OK)
        return code;
    b.addresses = 1;
    if (a->count > 1) {
        b.address = a->word + 1;
        b.addresses = (uint32_t) a->count - 1;
    }
    code = prepare(&b, &made);
    if (code == EXIT_OK && !b.fill)
        code = run(&b);
    if (code != EXIT_OK || !(b.keep || b.fill))
        dropped = drop(s, made);
    if (code == EXIT_OK && b.fill)
        code = print_done(s, (struct value){(const uint8_t[]){0xc3}, 1});
    return code == EXIT_OK ? dropped : code;
}
