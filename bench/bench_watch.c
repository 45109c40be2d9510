/* bench_watch.c -- how many changes a second a subscriber is told of, and what that costs
 * the writer.
 *
 *     bench_watch [--smoke]
 *
 * Everything runs on one core: the writer, the node's one scheduler, and the subscriber,
 * once a function of the program and once a client on a socket that takes each event
 * apart.  The writer stays at most WINDOW changes ahead, so that nothing is missing; a gap
 * would end the run. */
#include "bench/bench.h"
#include "tables/value.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { WINDOW = 32 * 1024, INPUT_BYTES = 1 << 20, RECORDS = 100000 };

struct bench {
    eg_node *node;
    eg_table *table;
    double seconds;
    char path[64];
    _Atomic uint64_t told;
    _Atomic bool stop;
};

static void see(void *context, const eg_event *event) {
    struct bench *b = context;

    if (event->kind[0] != 'w')
        bench_must(EG_BUSY, event->kind);
    atomic_fetch_add_explicit(&b->told, 1, memory_order_relaxed);
}

/* Write for a while; where `told` moves, only WINDOW ahead of it.  Writes a second. */
static double write_for(struct bench *b, bool watched) {
    uint8_t record[BENCH_RECORD_ENCODED];
    double start = bench_now_s();
    uint64_t written = 0;

    atomic_store(&b->told, 0);
    while (written % 64 != 0 || bench_now_s() - start < b->seconds) {
        while (watched && written - atomic_load(&b->told) > WINDOW)
            sched_yield();
        bench_must(eg_write(b->table, bench_record(record, written % RECORDS, (uint8_t) written)),
                   "write");
        written++;
    }
    while (watched && atomic_load(&b->told) < written)
        sched_yield();
    return (double) written / (bench_now_s() - start);
}

static void embedded(struct bench *b) {
    eg_subscription *u;

    bench_must(eg_subscribe(b->node, "t", NULL, see, b, &u, NULL), "subscribe");
    bench_print("told, in the program, one core", write_for(b, true), "/s");
    eg_unsubscribe(u);
}

/* ---- a client --------------------------------------------------------------------- */

static int dial(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *) &to, sizeof to) != 0)
        bench_must(EG_CLOSED, "connect");
    return fd;
}

static void subscribe(int fd) {
    uint8_t request[128], answer[128];
    struct value_writer w = value_writer_init(request, sizeof request);

    value_put_array(&w, 4);
    value_put_u64(&w, 0);
    value_put_u64(&w, 1);
    value_put_text(&w, "subscribe");
    value_put_array(&w, 1);
    value_put_map(&w, 1);
    value_put_text(&w, "table");
    value_put_text(&w, "t");
    if (write(fd, request, w.need_bytes) != (ssize_t) w.need_bytes ||
        read(fd, answer, sizeof answer) < 5 || answer[3] != 0xc0)
        bench_must(EG_BUSY, "subscribe");
}

/* [2, "event", [subscription, "write", table, record, details]] */
static void take(struct bench *b, struct value frame) {
    struct value_iter it = value_iter_of(frame);
    struct value part;

    for (int i = 0; i < 3; i++)
        if (!value_iter_next(&it, &part))
            bench_must(EG_CORRUPT, "event");
    it = value_iter_of(part);
    if (!value_iter_next(&it, &part) || !value_iter_next(&it, &part) ||
        !value_is_string(part, "write"))
        bench_must(EG_BUSY, "a gap");
    atomic_fetch_add_explicit(&b->told, 1, memory_order_relaxed);
}

static void *read_events(void *arg) {
    struct bench *b = arg;
    uint8_t *input = malloc(INPUT_BYTES);
    size_t have = 0, used_bytes;
    int fd = dial(b->path);

    subscribe(fd);
    atomic_store(&b->told, 0);
    while (!atomic_load(&b->stop)) {
        ssize_t n = recv(fd, input + have, INPUT_BYTES - have, 0);
        size_t at = 0;

        if (n <= 0)
            break;
        have += (size_t) n;
        while (value_scan(input + at, have - at, &used_bytes) == EG_OK) {
            take(b, (struct value){input + at, (uint32_t) used_bytes});
            at += used_bytes;
        }
        have -= at;
        memmove(input, input + at, have);
    }
    close(fd);
    free(input);
    return NULL;
}

static void over_the_wire(struct bench *b) {
    uint8_t record[BENCH_RECORD_ENCODED];
    pthread_t reader;

    atomic_store(&b->told, UINT64_MAX);
    if (pthread_create(&reader, NULL, read_events, b) != 0)
        bench_must(EG_MEMORY, "thread");
    while (atomic_load(&b->told) != 0)
        sched_yield();
    bench_print("told, over the wire, one core", write_for(b, true), "/s");
    atomic_store(&b->stop, true);
    bench_must(eg_write(b->table, bench_record(record, 0, 0)), "write"); /* it looks up */
    pthread_join(reader, NULL);
}

int main(int argc, char **argv) {
    struct bench b = {.seconds = argc > 1 && strcmp(argv[1], "--smoke") == 0 ? 0.1 : 2};
    char address[80];
    eg_options o = {.schedulers = 1};
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0)
        bench_must(EG_DENIED, "one core");
    snprintf(b.path, sizeof b.path, "/tmp/bench_watch.%d", (int) getpid());
    snprintf(address, sizeof address, "unix:%s", b.path);
    o.listen[0] = address;
    bench_must(eg_open(&o, &b.node, NULL), "open");
    bench_must(eg_create_table(b.node, "t", NULL, NULL), "create");
    bench_must(eg_table_open(b.node, "t", &b.table), "table");
    (void) write_for(&b, false); /* fill */
    bench_print("write, nobody watches", write_for(&b, false), "/s");
    embedded(&b);
    over_the_wire(&b);
    eg_table_close(b.table);
    eg_close(b.node);
    unlink(b.path);
    return 0;
}
