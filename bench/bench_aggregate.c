/* bench_aggregate.c -- what an aggregate by text costs, beside a loop in C.
 *
 *     bench_aggregate [--smoke]
 *
 * A table of 1,000,000 records [key, number, value], as bench_query's.  A client asks
 * `select sum(number) ...` over a unix socket and waits for the answer: parsing, planning and both
 * ways are in the time.  The peer is a loop over the same records in an array: the very
 * bytes that the table holds, one record behind the other in the order in which they were
 * written, each skipped into and its number decoded by plain C, with no check of anything.
 * A loop over structs of the same content, which need no decoding at all, is printed
 * too; it has no bar.
 *
 * All run in turn, many times; the figure is the median in milliseconds. */
#include "bench/bench.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { NUMBERS = 1000, HALF = 500, ROUNDS = 31, RECORD_BYTES = 128, ANSWER_BYTES = 4096 };

struct row {
    char key[BENCH_KEY_BYTES];
    uint64_t number;
    uint8_t value[BENCH_VALUE_BYTES];
};

struct bench {
    eg_node *node;
    eg_table *table;
    uint64_t records;
    uint32_t rounds;
    uint8_t *array; /* of encoded records */
    size_t array_bytes;
    struct row *rows;
    int socket;
};

/* ---- the loops ------------------------------------------------------------------- */

static const uint8_t *skip(const uint8_t *at) {
    if (*at < 0x80 || *at >= 0xe0 || (*at >= 0xc0 && *at <= 0xc3))
        return at + 1;
    if (*at >= 0xa0 && *at <= 0xbf)
        return at + 1 + (*at & 31);
    switch (*at) {
    case 0xc4:
    case 0xd9:
        return at + 2 + at[1];
    case 0xcc:
    case 0xd0:
        return at + 2;
    case 0xcd:
    case 0xd1:
        return at + 3;
    case 0xce:
    case 0xd2:
        return at + 5;
    case 0xcb:
    case 0xcf:
    case 0xd3:
        return at + 9;
    default:
        abort(); /* the records have none */
    }
}

static int64_t number_at(const uint8_t *at) {
    uint64_t n = 0;
    int bytes;

    switch (*at) {
    case 0xcc:
        return at[1];
    case 0xcd:
        return at[1] << 8 | at[2];
    case 0xce:
        bytes = 4;
        break;
    case 0xcf:
        bytes = 8;
        break;
    default:
        return (int8_t) *at;
    }
    for (int i = 1; i <= bytes; i++)
        n = n << 8 | at[i];
    return (int64_t) n;
}

enum question { SUM, SUM_WHERE, COUNT_WHERE, QUESTIONS };

static int64_t loop_records(const struct bench *b, enum question what) {
    const uint8_t *at = b->array;
    const uint8_t *end = b->array + b->array_bytes;
    int64_t total = 0;

    while (at < end) {
        const uint8_t *field = skip(at + 1); /* behind the array's header and the key */
        int64_t number = number_at(field);
        if (what == SUM || number < HALF)
            total += what == COUNT_WHERE ? 1 : number;
        at = skip(skip(field));
    }
    return total;
}

static int64_t loop_structs(const struct bench *b, enum question what) {
    int64_t total = 0;

    for (uint64_t i = 0; i < b->records; i++)
        if (what == SUM || b->rows[i].number < HALF)
            total += what == COUNT_WHERE ? 1 : (int64_t) b->rows[i].number;
    return total;
}

/* ---- the table ---------------------------------------------------------------------- */

static size_t make_record(uint8_t *bytes, uint64_t n) {
    static const uint8_t value[BENCH_VALUE_BYTES] = {1};
    eg_writer w = eg_writer_init(bytes, RECORD_BYTES);
    uint8_t key[BENCH_KEY_ENCODED];
    char text[BENCH_KEY_BYTES + 1] = "";

    bench_key(key, n);
    memcpy(text, key + 1, BENCH_KEY_BYTES);
    eg_put_array(&w, 3);
    eg_put_string(&w, text);
    eg_put_uint(&w, n % NUMBERS);
    eg_put_bytes(&w, value, sizeof value);
    return eg_written(&w).size_bytes;
}

static void create(struct bench *b) {
    uint8_t bytes[128];
    eg_writer w = eg_writer_init(bytes, sizeof bytes);
    eg_span options;

    eg_put_map(&w, 1);
    eg_put_string(&w, "attributes");
    eg_put_array(&w, 3);
    eg_put_string(&w, "key");
    eg_put_string(&w, "number");
    eg_put_string(&w, "value");
    options = eg_written(&w);
    bench_must(eg_create_table(b->node, "records", &options, NULL), "create");
    bench_must(eg_table_open(b->node, "records", &b->table), "open");
}

static void fill(struct bench *b) {
    b->array = malloc(b->records * RECORD_BYTES);
    b->rows = calloc(b->records, sizeof *b->rows);
    if (b->array == NULL || b->rows == NULL)
        bench_must(EG_MEMORY, "array");
    for (uint64_t n = 0; n < b->records; n++) {
        uint8_t *at = b->array + b->array_bytes;
        size_t size_bytes = make_record(at, n);

        bench_must(eg_write(b->table, (eg_span){at, size_bytes}), "write");
        b->array_bytes += size_bytes;
        b->rows[n].number = n % NUMBERS;
    }
}

/* ---- asking ------------------------------------------------------------------------- */

static int connect_to(const char *address) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(to.sun_path, sizeof to.sun_path, "%s", address + strlen("unix:"));
    if (fd < 0 || connect(fd, (struct sockaddr *) &to, sizeof to) != 0)
        bench_must(EG_CLOSED, "connect");
    return fd;
}

/* The one number in [1, id, nil, {columns, rows: [[number]], cursor}]. */
static int64_t number_of_answer(eg_span answer) {
    const uint8_t *at = answer.at, *end = at + answer.size_bytes;
    eg_span error;

    if (!eg_element(answer, 2, &error) || !eg_is_nil(error))
        bench_must(EG_INTERNAL, "query");
    while (at + 7 < end && memcmp(at, "\xa4rows\x91\x91", 7) != 0)
        at++;
    return number_at(at + 7);
}

static int64_t ask(struct bench *b, const char *text) {
    static uint8_t bytes[ANSWER_BYTES];
    eg_writer w = eg_writer_init(bytes, sizeof bytes);
    size_t have_bytes = 0;
    eg_span asked;

    eg_put_array(&w, 4);
    eg_put_uint(&w, 0);
    eg_put_uint(&w, 1);
    eg_put_string(&w, "query");
    eg_put_array(&w, 1);
    eg_put_string(&w, text);
    asked = eg_written(&w);
    if (write(b->socket, asked.at, asked.size_bytes) != (ssize_t) asked.size_bytes)
        bench_must(EG_CLOSED, "write");
    do {
        ssize_t got = read(b->socket, bytes + have_bytes, sizeof bytes - have_bytes);
        if (got <= 0)
            bench_must(EG_CLOSED, "read");
        have_bytes += (size_t) got;
    } while (bytes[have_bytes - 1] != 0xc0); /* the cursor is nil, and the last */
    return number_of_answer((eg_span){bytes, have_bytes});
}

/* ---- in turn -------------------------------------------------------------------------- */

static int order(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static void print_median(const char *name, double *seconds, uint32_t count) {
    qsort(seconds, count, sizeof *seconds, order);
    bench_print(name, seconds[count / 2] * 1e3, "ms");
}

static void measure(struct bench *b, enum question what, const char *name, const char *text) {
    double asked[ROUNDS], looped[ROUNDS], structs[ROUNDS];
    volatile enum question hidden = what; /* one loop for all, as a program has it */
    char line[64];

    for (uint32_t i = 0; i < b->rounds; i++) {
        double start = bench_now_s();
        int64_t expected = loop_records(b, hidden);
        looped[i] = bench_now_s() - start;
        start = bench_now_s();
        if (loop_structs(b, hidden) != expected)
            bench_must(EG_INTERNAL, "the loops do not agree");
        structs[i] = bench_now_s() - start;
        start = bench_now_s();
        if (ask(b, text) != expected)
            bench_must(EG_INTERNAL, "not what the loop finds");
        asked[i] = bench_now_s() - start;
    }
    print_median(name, asked, b->rounds);
    snprintf(line, sizeof line, "loop: %s", name);
    print_median(line, looped, b->rounds);
    snprintf(line, sizeof line, "structs: %s", name);
    print_median(line, structs, b->rounds);
}

int main(int argc, char **argv) {
    struct bench b = {.records = 1000000, .rounds = ROUNDS};
    eg_options options = {.schedulers = 2};
    char address[64];

    if (argc == 2 && strcmp(argv[1], "--smoke") == 0) {
        b.records = 20000;
        b.rounds = 3;
    } else if (argc != 1) {
        fputs("bench_aggregate [--smoke]\n", stderr);
        return 2;
    }
    snprintf(address, sizeof address, "unix:/tmp/bench-aggregate-%ld", (long) getpid());
    options.listen[0] = address;
    bench_must(eg_open(&options, &b.node, NULL), "open");
    create(&b);
    fill(&b);
    b.socket = connect_to(address);
    measure(&b, SUM, "sum", "select sum(number) from records");
    measure(&b, SUM_WHERE, "sum where", "select sum(number) from records where number < 500");
    measure(&b, COUNT_WHERE, "count where", "select count(*) from records where number < 500");
    close(b.socket);
    eg_table_close(b.table);
    eg_close(b.node);
    free(b.array);
    free(b.rows);
    return 0;
}
