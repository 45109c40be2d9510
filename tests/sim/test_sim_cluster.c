/* Goal: whatever befalls a cluster, its copies become equal again, nothing acknowledged is lost,
 * nothing deleted comes back, and it leaves nothing behind.
 * Method: sim_cluster.h, each seed in a process of its own, some of them twice.
 *
 *     test_sim_cluster                     the seeds of seeds/, fixed ones, and a few new ones
 *     test_sim_cluster --seeds N           N seeds from --seed on, until one fails
 *     test_sim_cluster --hours H           new seeds of every kind for so long, or those from
 *                                          --seed on (tools/sim)
 *     test_sim_cluster --seed S --tell     one, saying what happens
 *     ... --nodes N  --faults cut,kill     with so many nodes; only these faults (nemesis.c)
 *     ... --seed 20000000 --faults twice,lose   what copies say comes twice, or not at all
 *     ... --schema                         tables come, change and go meanwhile
 *     ... --unmerged                       without counters, sets and bags (sim_merge.h)
 *     ... --plant DEFECT  --plants         with a defect (sim_planted only); which there are
 *
 * EG_SEED=S is --seed S; EG_QUICK: fewer fixed seeds, no new ones.  Exit code 1: a seed failed; the
 * command that replays it is printed. */
#include "tests/sim/nemesis.h"
#include "tests/sim/planted.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    QUICK_SEEDS = 4,       /* of a kind, in builds whose other tests are slow too */
    QUICK_STRIDE = 4,      /* there, among those that once failed */
    NEW_SEEDS = 38,        /* two of each kind */
    NEW_SECONDS = 3,       /* of CPU, for all of them */
    SEED_SECONDS_MAX = 40, /* of CPU: then it is stuck */
    TWICE_ONE_IN = 8,
    OLD_SEEDS_MAX = 1000,
};

/* What befalls clusters differs by their seeds' numbers; new ones are drawn of each in turn. */
static const struct kind {
    const char *name;
    uint64_t first, end;
    bool schema;
} kinds[] = {
    {"plain", 1, CLUSTER_SEED_DIRTY, false},
    {"schema", 1, CLUSTER_SEED_DIRTY, true},
    {"dirty", CLUSTER_SEED_DIRTY, CLUSTER_SEED_MAIL, false},
    {"mail", CLUSTER_SEED_MAIL, CLUSTER_SEED_OLD_DISC, false},
    {"old discs", CLUSTER_SEED_OLD_DISC, CLUSTER_SEED_CUTS, false},
    {"cuts", CLUSTER_SEED_CUTS, CLUSTER_SEED_MAJORITY, false},
    {"majorities", CLUSTER_SEED_MAJORITY, CLUSTER_SEED_STAY, false},
    {"majorities with stayers", CLUSTER_SEED_STAY, CLUSTER_SEED_SCAN, false},
    {"majorities that are gone through", CLUSTER_SEED_SCAN, CLUSTER_SEED_MAJORITY_END, false},
    {"merged", CLUSTER_SEED_MERGE, CLUSTER_SEED_LEAVE, false},
    {"merged and left", CLUSTER_SEED_LEAVE, CLUSTER_SEED_PROMISE, false},
    {"promises", CLUSTER_SEED_PROMISE, CLUSTER_SEED_PROMISE_JUMP, false},
    {"promises while clocks jump", CLUSTER_SEED_PROMISE_JUMP, CLUSTER_SEED_POLICIES, false},
    {"policies", CLUSTER_SEED_POLICIES, CLUSTER_SEED_POLICIES_JUMP, false},
    {"policies while clocks jump", CLUSTER_SEED_POLICIES_JUMP, CLUSTER_SEED_PROMISE_END, false},
    {"transactions", CLUSTER_SEED_TX, CLUSTER_SEED_LISTS, false},
    {"lists", CLUSTER_SEED_LISTS, CLUSTER_SEED_SCANS, false},
    {"lists with scans", CLUSTER_SEED_SCANS, CLUSTER_SEED_LISTS_END, false},
    {"banks", CLUSTER_SEED_BANK, CLUSTER_SEED_BANK_END, false},
};

/* The same ones each time, of each kind. */
static const struct fixed {
    uint64_t first, step;
    uint32_t count;
} fixed[] = {
    {1, 1, 12},
    {CLUSTER_SEED_DIRTY + 1, 2, 4},
    {CLUSTER_SEED_MAIL, 1, 2},
    {CLUSTER_SEED_OLD_DISC, 1, 4},
    {CLUSTER_SEED_CUTS, 1, 2},
    {CLUSTER_SEED_MAJORITY, 1, 4},
    {CLUSTER_SEED_STAY, 1, 2},
    {CLUSTER_SEED_SCAN, 1, 2},
    {CLUSTER_SEED_MERGE, 3, 1},
    {CLUSTER_SEED_LEAVE, 3, 1},
    {CLUSTER_SEED_PROMISE, 1, 2},
    {CLUSTER_SEED_PROMISE_JUMP, 1, 1},
    {CLUSTER_SEED_POLICIES, 1, 2},
    {CLUSTER_SEED_POLICIES_JUMP, 1, 1},
    {CLUSTER_SEED_TX, 1, 2},
    {CLUSTER_SEED_LISTS, 2, 2},
    {CLUSTER_SEED_SCANS + 1, 1, 1},
    {CLUSTER_SEED_BANK, 1, 4},
};

/* With --schema: the first few, and some that have found something. */
static const uint64_t schema_seeds[] = {1, 2, 3, 105, 184, 211, 305, 341, 395, 1618, 1927};

struct sum {
    uint32_t seeds, failed;
    struct history_counts counts;
    uint64_t virtual_ms, events, faults;
    uint64_t five_ms; /* virtual time of runs with five nodes, */
    double five_s;    /* and what it took                     */
};

struct arguments {
    struct cluster_opts o;
    bool seed_given;
    uint64_t seeds;
    double hours;
};

/* ---- one seed --------------------------------------------------------------------------- */

struct report {
    struct cluster_result result;
    double cpu_s;
};

static double cpu_s(int who) {
    struct rusage u;

    EG_ASSERT(getrusage(who, &u) == 0);
    return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void child(const struct cluster_opts *o, bool twice, int out) {
    struct rlimit limit = {SEED_SECONDS_MAX, SEED_SECONDS_MAX + 5};
    struct report r = {.cpu_s = cpu_s(RUSAGE_SELF)};

    EG_ASSERT(setrlimit(RLIMIT_CPU, &limit) == 0);
    r.result = sim_cluster_run(o);
    r.cpu_s = cpu_s(RUSAGE_SELF) - r.cpu_s;
    if (twice && r.result.good) {
        struct cluster_result again = sim_cluster_run(o);

        if (again.hash != r.result.hash) {
            r.result.good = false;
            snprintf(r.result.text, sizeof r.result.text, "two runs of one seed differ");
        }
    }
    EG_ASSERT(write(out, &r, sizeof r) == sizeof r);
}

/* In a process of its own: a failed assertion is a failed seed and no more. */
static struct report run_seed(const struct cluster_opts *o, bool twice) {
    struct report r;
    int ends[2], status;
    ssize_t got;
    pid_t pid;

    fflush(stdout);
    EG_ASSERT(pipe(ends) == 0);
    pid = fork();
    EG_ASSERT(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        child(o, twice, ends[1]);
        exit(0);
    }
    close(ends[1]);
    got = read(ends[0], &r, sizeof r);
    close(ends[0]);
    EG_ASSERT(waitpid(pid, &status, 0) == pid);
    if (got == sizeof r && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return r;
    r = (struct report){.result = {.good = false}};
    snprintf(r.result.text, sizeof r.result.text, "its process ended with %s %d",
             WIFSIGNALED(status) ? "signal" : "code",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return r;
}

static void print_faults(uint32_t faults) {
    const char *before = " --faults ";

    for (int f = 0; faults != UINT32_MAX && f < FAULT_COUNT; f++)
        if (faults >> f & 1) {
            printf("%s%s", before, fault_name((enum fault) f));
            before = ",";
        }
}

static bool try_seed(struct sum *sum, const struct cluster_opts *o) {
    struct report r = run_seed(o, o->seed % TWICE_ONE_IN == 0);

    sum->seeds++;
    sum->counts.ok += r.result.counts.ok;
    sum->counts.failed += r.result.counts.failed;
    sum->counts.unknown += r.result.counts.unknown;
    sum->counts.reads += r.result.counts.reads;
    sum->virtual_ms += r.result.virtual_ms;
    sum->events += r.result.events;
    sum->faults += r.result.faults;
    if (r.result.nodes == 5) {
        sum->five_ms += r.result.virtual_ms;
        sum->five_s += r.cpu_s;
    }
    if (o->tell)
        printf("# hash %016" PRIx64 ", %.3f virtual s in %.3f s of CPU, %" PRIu64 " steps\n",
               r.result.hash, (double) r.result.virtual_ms / 1e3, r.cpu_s, r.result.events);
    if (r.result.good)
        return true;
    sum->failed++;
    printf("# seed %" PRIu64 ": %s\n#   tools/sim --seed %" PRIu64 " --tell", o->seed,
           r.result.text, o->seed);
    if (o->nodes != 0)
        printf(" --nodes %u", o->nodes);
    if (o->schema)
        printf(" --schema");
    if (o->unmerged)
        printf(" --unmerged");
    print_faults(o->faults);
    printf("\n");
    return false;
}

/* ---- many seeds ---------------------------------------------------------------------------- */

static uint32_t read_faults(const char *text) {
    uint32_t faults = 0;

    for (const char *at = text; *at != '\0' && *at != ' ' && *at != '\n';) {
        size_t size = strcspn(at, ", \n");
        int f = 0;

        while (f < FAULT_COUNT && (strlen(fault_name((enum fault) f)) != size ||
                                   strncmp(fault_name((enum fault) f), at, size) != 0))
            f++;
        if (f == FAULT_COUNT) {
            fprintf(stderr, "no such fault: %s\n", at);
            exit(2);
        }
        faults |= UINT32_C(1) << f;
        at += size + (at[size] == ',');
    }
    return faults;
}

struct old_seed {
    uint64_t seed;
    uint32_t faults;
    bool schema;
};

static struct old_seed read_old_seed(const char *line) {
    static const char schema[] = " --schema", faults[] = " --faults ";
    struct old_seed old = {.faults = UINT32_MAX};
    char *at;

    old.seed = strtoull(line, &at, 10);
    old.schema = strncmp(at, schema, sizeof schema - 1) == 0;
    if (old.schema)
        at += sizeof schema - 1;
    if (strncmp(at, faults, sizeof faults - 1) == 0)
        old.faults = read_faults(at + sizeof faults - 1);
    return old;
}

/* Each line of the file begins with a seed that once failed, and with `--schema` and `--faults`
 * where it needs them.  It is closed before any is tried: what a child does to an open file at its
 * exit, it does to ours. */
static uint32_t read_old_seeds(struct old_seed *seeds) {
    FILE *file = fopen(EG_SOURCE_DIR "/tests/sim/seeds/cluster.txt", "r");
    uint32_t count = 0;
    char line[400];

    if (file == NULL)
        return 0;
    while (count < OLD_SEEDS_MAX && fgets(line, sizeof line, file) != NULL)
        if (line[0] >= '0' && line[0] <= '9')
            seeds[count++] = read_old_seed(line);
    fclose(file);
    return count;
}

static void try_old_seeds(struct sum *sum, struct cluster_opts o, bool quick) {
    struct old_seed seeds[OLD_SEEDS_MAX];
    uint32_t count = read_old_seeds(seeds);

    for (uint32_t i = 0; i < count; i += quick ? QUICK_STRIDE : 1) {
        o.seed = seeds[i].seed;
        o.faults = seeds[i].faults;
        o.schema = seeds[i].schema;
        try_seed(sum, &o);
    }
}

static uint64_t new_seed(void) {
    struct timespec t;

    EG_ASSERT(clock_gettime(CLOCK_REALTIME, &t) == 0);
    return ((uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000) % 1000000000000;
}

/* The n-th of the seeds that begin with `fresh`: of each kind in turn, whichever is the first, for
 * there may not be the time for all of them. */
static const struct kind *choose_new(struct cluster_opts *o, uint64_t fresh, uint64_t n) {
    const struct kind *k = &kinds[(fresh + n) % EG_COUNTOF(kinds)];

    o->seed = k->first + (fresh + n / EG_COUNTOF(kinds)) % (k->end - k->first);
    o->schema = k->schema;
    return k;
}

static void try_new(struct sum *sum, struct cluster_opts o) {
    uint64_t fresh = new_seed();
    double began_s = cpu_s(RUSAGE_CHILDREN);

    for (uint64_t n = 0; n < NEW_SEEDS; n++) {
        const struct kind *k = choose_new(&o, fresh, n);

        printf("# new seed: %" PRIu64 ", %s\n", o.seed, k->name);
        try_seed(sum, &o);
        if (cpu_s(RUSAGE_CHILDREN) - began_s > NEW_SECONDS)
            break;
    }
}

static void try_fixed_and_new(struct sum *sum, struct cluster_opts o) {
    bool quick = getenv("EG_QUICK") != NULL;

    try_old_seeds(sum, o, quick);
    for (const struct fixed *f = fixed; f < fixed + EG_COUNTOF(fixed); f++)
        for (uint32_t i = 0; i < (quick ? EG_MIN(f->count, QUICK_SEEDS) : f->count); i++) {
            o.seed = f->first + i * f->step;
            try_seed(sum, &o);
        }
    o.schema = true;
    for (size_t i = 0; i < EG_COUNTOF(schema_seeds); i++) {
        o.seed = schema_seeds[i];
        try_seed(sum, &o);
    }
    o.schema = false;
    if (!quick)
        try_new(sum, o);
}

static void try_for_hours(struct sum *sum, const struct arguments *a) {
    struct cluster_opts o = a->o;
    time_t end = time(NULL) + (time_t) (a->hours * 3600);
    uint64_t fresh = new_seed(), first = a->seed_given ? a->o.seed : fresh % CLUSTER_SEED_DIRTY;

    for (uint64_t n = 0; time(NULL) < end; n++) {
        if (a->seed_given || a->o.schema)
            o.seed = first + n;
        else
            (void) choose_new(&o, fresh, n);
        try_seed(sum, &o);
        if (sum->seeds % 100 == 0)
            printf("# %u seeds, %u failed\n", sum->seeds, sum->failed);
    }
}

static void print_sum(const struct sum *s) {
    printf("# %u seeds, %.0f virtual s, %.1f M steps, %" PRIu64 " faults; %u operations done, %u "
           "refused, %u unknown, %u reads\n",
           s->seeds, (double) s->virtual_ms / 1e3, (double) s->events / 1e6, s->faults,
           s->counts.ok, s->counts.failed, s->counts.unknown, s->counts.reads);
    if (s->five_s > 0)
        printf("# five nodes: %.0f virtual seconds a second of CPU\n",
               (double) s->five_ms / 1e3 / s->five_s);
}

/* ---- arguments ------------------------------------------------------------------------------ */

static struct arguments read_arguments(int count, char **text) {
    struct arguments a = {.o = {.seed = 1, .faults = UINT32_MAX}};

    if (rng_is_replay()) {
        a.o.seed = rng_test_seed(1);
        a.seed_given = true;
        a.seeds = 1;
    }
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? text[i + 1] : "";

        if (strcmp(text[i], "--tell") == 0) {
            a.o.tell = true;
            continue;
        }
        if (strcmp(text[i], "--schema") == 0) {
            a.o.schema = true;
            continue;
        }
        if (strcmp(text[i], "--unmerged") == 0) {
            a.o.unmerged = true;
            continue;
        }
        if (strcmp(text[i], "--plants") == 0) {
            planted_print();
            exit(0);
        }
        i++;
        if (strcmp(text[i - 1], "--seed") == 0) {
            a.o.seed = strtoull(value, NULL, 10);
            a.seed_given = true;
        } else if (strcmp(text[i - 1], "--seeds") == 0) {
            a.seeds = strtoull(value, NULL, 10);
        } else if (strcmp(text[i - 1], "--hours") == 0) {
            a.hours = strtod(value, NULL);
        } else if (strcmp(text[i - 1], "--nodes") == 0) {
            a.o.nodes = (uint32_t) strtoul(value, NULL, 10);
        } else if (strcmp(text[i - 1], "--faults") == 0) {
            a.o.faults = read_faults(value);
        } else if (strcmp(text[i - 1], "--plant") == 0 && planted_choose(value)) {
            continue;
        } else {
            fprintf(stderr, "%s: no such option\n", text[i - 1]);
            exit(2);
        }
    }
    if (a.seed_given && a.hours == 0 && a.seeds == 0)
        a.seeds = 1;
    return a;
}

int main(int count, char **text) {
    struct arguments a = read_arguments(count, text);
    struct sum sum = {0};

    printf("1..1\n");
    if (a.hours > 0)
        try_for_hours(&sum, &a);
    else if (a.seeds == 0)
        try_fixed_and_new(&sum, a.o);
    for (uint64_t last = a.o.seed + a.seeds; a.hours == 0 && a.o.seed < last; a.o.seed++)
        if (!try_seed(&sum, &a.o))
            break;
    print_sum(&sum);
    printf("%s 1 - %u seeds: copies agree, nothing acknowledged is lost, nothing is left behind\n",
           sum.failed == 0 ? "ok" : "not ok", sum.seeds);
    return sum.failed == 0 ? 0 : 1;
}
