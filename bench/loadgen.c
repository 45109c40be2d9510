/* loadgen.c -- load over many connections from one epoll loop, in either protocol.
 *
 *     loadgen --connect 127.0.0.1:7340 --fill             every key once, or those from --from on
 *     loadgen --connect 127.0.0.1:6379 --protocol resp --pipeline 16
 *     loadgen --null                                      the generator's own ceiling
 *
 * Each connection sends a batch of `pipeline` requests in one write and waits for
 * its answers before the next; a latency is the time from that write to the
 * answer.  Keys are uniform random, values begin with their key, and every value
 * read is checked for it.
 *
 * The table must exist; --fill creates it.
 */
#include "bench/null_server.h"
#include "bench/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 4000,
    PIPELINE_MAX = 1024,
    INPUT_BYTES = 256 * 1024,
    ERROR_TEXT_BYTES = 160,
    IO_WAIT_MS = 10000, /* no answer for so long: the run has failed */
};

/* ---- latencies: powers of two, 32 steps in each ------------------------------- */

enum { STEP_BITS = 5, STEPS = 1 << STEP_BITS, SLOTS = (64 - STEP_BITS) * STEPS };

static uint32_t slot_of(uint64_t ns) {
    uint32_t shift;

    if (ns < STEPS)
        return (uint32_t) ns;
    shift = 63 - STEP_BITS - (uint32_t) __builtin_clzll(ns);
    return (shift + 1) * STEPS + (uint32_t) ((ns >> shift) - STEPS);
}

static uint64_t slot_ns(uint32_t slot) {
    uint32_t shift = slot / STEPS;

    return shift == 0 ? slot : (uint64_t) (STEPS + slot % STEPS) << (shift - 1);
}

struct latencies {
    uint64_t count[SLOTS], total, max_ns;
};

static void latency_add(struct latencies *l, uint64_t ns, uint32_t times) {
    l->count[slot_of(ns)] += times;
    l->total += times;
    if (ns > l->max_ns)
        l->max_ns = ns;
}

static double latency_us(const struct latencies *l, double quantile) {
    uint64_t rank = (uint64_t) (quantile * (double) l->total), seen = 0;

    for (uint32_t i = 0; i < SLOTS; i++) {
        seen += l->count[i];
        if (seen > rank)
            return (double) slot_ns(i) / 1000;
    }
    return (double) l->max_ns / 1000;
}

/* ---- what is asked for -------------------------------------------------------- */

struct options {
    const char *address;
    const char *table;
    const char *type;
    enum wire_protocol protocol;
    uint32_t connections, pipeline, keys, from;
    uint32_t write_percent;
    size_t value_bytes;
    double seconds, warm_up_seconds;
    uint64_t seed;
    bool fill, null, json;
};

struct connection {
    int fd;
    uint32_t sent, answered; /* of the batch under way */
    uint64_t sent_ns;
    uint8_t *tail; /* an unfinished reply */
    size_t tail_bytes;
    struct asked {
        uint32_t key;
        enum wire_op op;
        bool answered;
    } batch[PIPELINE_MAX];
};

struct run {
    const struct options *o;
    struct wire wire;
    struct connection *connections;
    int poll;
    uint64_t random;
    uint64_t now_ns, measure_ns, end_ns;
    uint32_t next_key, open; /* of --fill; connections with work left */
    uint64_t requests, hits, misses, errors, wrong;
    char error[ERROR_TEXT_BYTES];
    struct latencies latencies;
    uint8_t *input, *output;
};

static void fail(const char *what) {
    fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static uint64_t next_random(struct run *r) { /* xorshift64* */
    r->random ^= r->random >> 12;
    r->random ^= r->random << 25;
    r->random ^= r->random >> 27;
    return r->random * UINT64_C(2685821657736338717);
}

static int dial(const char *address) {
    struct sockaddr_in tcp = {.sin_family = AF_INET};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    char host[64];
    const char *colon = strrchr(address, ':');
    int fd, on = 1;

    if (strncmp(address, "unix:", 5) == 0) {
        snprintf(local.sun_path, sizeof local.sun_path, "%s", address + 5);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *) &local, sizeof local) != 0)
            fail(address);
        return fd;
    }
    if (colon == NULL || colon - address >= (ptrdiff_t) sizeof host) {
        errno = EINVAL;
        fail(address);
    }
    snprintf(host, sizeof host, "%.*s", (int) (colon - address), address);
    tcp.sin_port = htons((uint16_t) atoi(colon + 1));
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, host, &tcp.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *) &tcp, sizeof tcp) != 0)
        fail(address);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void write_all(int fd, const uint8_t *at, size_t size_bytes) {
    while (size_bytes > 0) {
        ssize_t n = write(fd, at, size_bytes);
        if (n < 0)
            fail("write");
        at += n;
        size_bytes -= (size_t) n;
    }
}

/* ---- one batch ------------------------------------------------------------------ */

static bool pick(struct run *r, struct asked *a) {
    const struct options *o = r->o;

    a->answered = false;
    if (o->fill) {
        *a = (struct asked){.key = r->next_key, .op = WIRE_WRITE};
        return r->next_key++ < o->keys;
    }
    a->key = (uint32_t) (((next_random(r) >> 32) * o->keys) >> 32);
    a->op = o->write_percent != 0 && next_random(r) >> 32 < o->write_percent * 42949673ull
                ? WIRE_WRITE
                : WIRE_READ;
    return r->now_ns < r->end_ns;
}

static void send_batch(struct run *r, struct connection *c) {
    size_t size_bytes = 0;

    c->sent = c->answered = 0;
    while (c->sent < r->o->pipeline && pick(r, &c->batch[c->sent])) {
        struct asked *a = &c->batch[c->sent];
        size_bytes += wire_request(&r->wire, a->op, a->key, c->sent++, r->output + size_bytes);
    }
    if (c->sent == 0) {
        r->open--;
        return;
    }
    c->sent_ns = r->now_ns;
    write_all(c->fd, r->output, size_bytes);
}

static void count_reply(struct run *r, struct connection *c, const struct wire_reply *reply) {
    uint32_t id = r->wire.protocol == WIRE_MSGPACK ? reply->id : c->answered;
    struct asked *a = &c->batch[id < c->sent ? id : 0];

    if (id >= c->sent || a->answered) {
        r->wrong++;
        return;
    }
    a->answered = true;
    r->hits += reply->outcome == WIRE_HIT;
    r->misses += reply->outcome == WIRE_MISS;
    r->wrong += reply->outcome == WIRE_HIT && !wire_value_is_of(&r->wire, reply, a->key);
    r->wrong +=
        reply->outcome != WIRE_ERROR && (reply->outcome == WIRE_DONE) != (a->op == WIRE_WRITE);
    if (reply->outcome == WIRE_ERROR && r->errors++ == 0)
        snprintf(r->error, sizeof r->error, "%.*s", (int) reply->size_bytes,
                 (const char *) reply->at);
}

static void receive(struct run *r, struct connection *c) {
    size_t have = c->tail_bytes, used = 0;
    struct wire_reply reply;
    uint32_t before = c->answered;
    ptrdiff_t took;
    ssize_t n;

    memcpy(r->input, c->tail, have);
    n = read(c->fd, r->input + have, INPUT_BYTES - have);
    if (n <= 0)
        fail("the server closed a connection");
    have += (size_t) n;
    while (have > used &&
           (took = wire_parse(&r->wire, r->input + used, have - used, &reply)) != 0) {
        if (took < 0) {
            errno = EPROTO;
            fail("reply");
        }
        count_reply(r, c, &reply);
        c->answered++;
        used += (size_t) took;
    }
    if (r->now_ns >= r->measure_ns) {
        r->requests += c->answered - before;
        latency_add(&r->latencies, r->now_ns - c->sent_ns, c->answered - before);
    }
    c->tail_bytes = have - used;
    memcpy(c->tail, r->input + used, c->tail_bytes);
    if (c->answered == c->sent)
        send_batch(r, c);
}

static void loop(struct run *r) {
    struct epoll_event events[256];

    while (r->open > 0) {
        int n = epoll_wait(r->poll, events, 256, IO_WAIT_MS);
        if (n <= 0) {
            errno = n == 0 ? ETIMEDOUT : errno;
            fail("waiting for answers");
        }
        for (int i = 0; i < n; i++) {
            r->now_ns = now_ns();
            receive(r, events[i].data.ptr);
        }
    }
}

static void open_connections(struct run *r) {
    const struct options *o = r->o;

    r->connections = calloc(o->connections, sizeof *r->connections);
    r->input = malloc(INPUT_BYTES);
    r->output = malloc((size_t) PIPELINE_MAX * WIRE_REQUEST_MAX);
    r->poll = epoll_create1(0);
    for (uint32_t i = 0; i < o->connections; i++) {
        struct connection *c = &r->connections[i];
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        c->fd = dial(o->address);
        c->tail = malloc(INPUT_BYTES);
        if (epoll_ctl(r->poll, EPOLL_CTL_ADD, c->fd, &e) != 0)
            fail("epoll");
    }
}

static void close_connections(struct run *r) {
    for (uint32_t i = 0; i < r->o->connections; i++) {
        close(r->connections[i].fd);
        free(r->connections[i].tail);
    }
    close(r->poll);
    free(r->connections);
    free(r->input);
    free(r->output);
}

static void create_table(const struct options *o) {
    uint8_t request[WIRE_REQUEST_MAX], reply[WIRE_REQUEST_MAX];
    int fd = dial(o->address);

    write_all(fd, request, wire_create_table(o->table, o->type, request));
    if (read(fd, reply, sizeof reply) <= 0) /* it may well exist */
        fail("create_table");
    close(fd);
}

/* ---- result ----------------------------------------------------------------------- */

static double cpu_seconds(void) {
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void report(const struct run *r, double seconds, double cpu) {
    const struct options *o = r->o;
    const struct latencies *l = &r->latencies;
    double rate = (double) r->requests / seconds;

    if (o->json) {
        printf("{\"protocol\": \"%s\", \"null\": %s, \"fill\": %s, \"connections\": %u, "
               "\"pipeline\": %u, \"keys\": %u, \"value_bytes\": %zu, \"write_percent\": %u, "
               "\"seconds\": %.3f, \"requests\": %llu, \"ops_per_second\": %.0f, \"hits\": %llu, "
               "\"misses\": %llu, \"errors\": %llu, \"wrong\": %llu, \"generator_cpu\": %.3f, "
               "\"latency_us\": {\"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}}\n",
               o->protocol == WIRE_RESP ? "resp" : "msgpack", o->null ? "true" : "false",
               o->fill ? "true" : "false", o->connections, o->pipeline, o->keys, o->value_bytes,
               o->write_percent, seconds, (unsigned long long) r->requests, rate,
               (unsigned long long) r->hits, (unsigned long long) r->misses,
               (unsigned long long) r->errors, (unsigned long long) r->wrong, cpu / seconds,
               latency_us(l, 0.5), latency_us(l, 0.99), latency_us(l, 0.999),
               (double) l->max_ns / 1000);
    } else {
        printf("%-7s %s P=%-3u writes %u %%: %9.0f op/s  p50 %.1f us  p99 %.1f us  p99.9 %.1f us  "
               "max %.0f us  generator at %.0f %% of a core\n",
               o->protocol == WIRE_RESP ? "resp" : "msgpack",
               o->null   ? "null"
               : o->fill ? "fill"
                         : "real",
               o->pipeline, o->fill ? 100 : o->write_percent, rate, latency_us(l, 0.5),
               latency_us(l, 0.99), latency_us(l, 0.999), (double) l->max_ns / 1000,
               100 * cpu / seconds);
    }
    if (r->misses + r->errors + r->wrong != 0)
        fprintf(stderr, "loadgen: %llu misses, %llu errors (%s), %llu wrong answers\n",
                (unsigned long long) r->misses, (unsigned long long) r->errors, r->error,
                (unsigned long long) r->wrong);
}

static int run(const struct options *o, const struct wire *w) {
    struct run *r = calloc(1, sizeof *r);
    uint64_t start_ns;
    double cpu;
    int code;

    r->o = o;
    r->wire = *w;
    r->random = o->seed;
    r->next_key = o->from;
    if (o->fill && o->protocol == WIRE_MSGPACK && !o->null)
        create_table(o);
    open_connections(r);
    cpu = cpu_seconds();
    start_ns = r->now_ns = now_ns();
    r->measure_ns = start_ns + (o->fill ? 0 : (uint64_t) (o->warm_up_seconds * 1e9));
    r->end_ns = r->measure_ns + (uint64_t) (o->seconds * 1e9);
    r->open = o->connections;
    for (uint32_t i = 0; i < o->connections; i++)
        send_batch(r, &r->connections[i]);
    loop(r);
    cpu = (cpu_seconds() - cpu) / ((double) (r->now_ns - start_ns) / 1e9);
    report(r, (double) (r->now_ns - r->measure_ns) / 1e9,
           cpu * (double) (r->now_ns - r->measure_ns) / 1e9);
    code = r->errors + r->wrong == 0 ? 0 : 1;
    close_connections(r);
    free(r);
    return code;
}

static void usage(int code) {
    fputs("loadgen [--connect HOST:PORT|unix:PATH] [--protocol msgpack|resp] [--null]\n"
          "        [--connections N] [--pipeline N] [--seconds S] [--warm-up S] [--keys N]\n"
          "        [--value-bytes N] [--writes PERCENT] [--table NAME] [--type TYPE] [--fill]\n"
          "        [--from N] [--seed N] [--json]\n",
          code == 0 ? stdout : stderr);
    exit(code);
}

static struct options parse(int argc, char **argv) {
    static const struct option names[] = {
        {"connect", 1, NULL, 'a'},  {"protocol", 1, NULL, 'p'},    {"connections", 1, NULL, 'c'},
        {"pipeline", 1, NULL, 'P'}, {"seconds", 1, NULL, 's'},     {"warm-up", 1, NULL, 'u'},
        {"keys", 1, NULL, 'k'},     {"value-bytes", 1, NULL, 'v'}, {"writes", 1, NULL, 'w'},
        {"table", 1, NULL, 't'},    {"type", 1, NULL, 'T'},        {"fill", 0, NULL, 'f'},
        {"from", 1, NULL, 'F'},     {"null", 0, NULL, 'n'},        {"seed", 1, NULL, 'S'},
        {"json", 0, NULL, 'j'},     {"help", 0, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    struct options o = {.address = "127.0.0.1:7340",
                        .table = "bench",
                        .type = "set",
                        .connections = 50,
                        .pipeline = 1,
                        .keys = 1000000,
                        .value_bytes = 64,
                        .seconds = 5,
                        .warm_up_seconds = 0.5,
                        .seed = 1};
    int option;

    while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        switch (option) {
        case 'a':
            o.address = optarg;
            break;
        case 'p':
            o.protocol = strcmp(optarg, "resp") == 0 ? WIRE_RESP : WIRE_MSGPACK;
            break;
        case 'c':
            o.connections = (uint32_t) atoi(optarg);
            break;
        case 'P':
            o.pipeline = (uint32_t) atoi(optarg);
            break;
        case 's':
            o.seconds = atof(optarg);
            break;
        case 'u':
            o.warm_up_seconds = atof(optarg);
            break;
        case 'k':
            o.keys = (uint32_t) atoi(optarg);
            break;
        case 'v':
            o.value_bytes = (size_t) atoi(optarg);
            break;
        case 'w':
            o.write_percent = (uint32_t) atoi(optarg);
            break;
        case 't':
            o.table = optarg;
            break;
        case 'T':
            o.type = optarg;
            break;
        case 'f':
            o.fill = true;
            break;
        case 'F':
            o.from = (uint32_t) atoi(optarg);
            break;
        case 'n':
            o.null = true;
            break;
        case 'S':
            o.seed = strtoull(optarg, NULL, 10);
            break;
        case 'j':
            o.json = true;
            break;
        case 'h':
            usage(0);
            break;
        default:
            usage(2);
        }
    }
    if (o.connections < 1 || o.connections > CONNECTIONS_MAX || o.pipeline < 1 ||
        o.pipeline > PIPELINE_MAX || o.keys < 1 || o.value_bytes < WIRE_KEY_BYTES ||
        o.value_bytes > WIRE_VALUE_MAX || o.write_percent > 100 || o.seed == 0 ||
        strlen(o.table) > WIRE_TABLE_MAX)
        usage(2);
    return o;
}

int main(int argc, char **argv) {
    static struct wire w;
    struct options o = parse(argc, argv);
    char address[32];
    uint16_t port;
    pid_t null_server;
    int code;

    wire_init(&w, o.protocol, o.table, o.value_bytes);
    if (!o.null)
        return run(&o, &w);
    null_server = null_server_start(&w, &port);
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    o.address = address;
    code = run(&o, &w);
    null_server_stop(null_server);
    return code;
}
