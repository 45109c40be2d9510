/* bench_compare.c -- what two nodes send each other to make their copies equal by comparing them.
 *
 *     bench_compare [--smoke]
 *
 * Two nodes in one process, linked over loopback, with copies of 1,000,000 records of 256 bytes in
 * 256 shards.  For each d, by turns:
 *
 *     scrub   d records are lost at either node behind the engine's back, and the copies compared
 *     fill    d records are lost at copies that know nothing of what they have any more (their
 *             clocks are lost too), and follow their masters anew
 *
 * Counted is all that the link carries until all copies are equal and full, less what two idle
 * nodes say to each other in as much time.  It is divided by 256 d. */
#include "bench/bench.h"

#include "node/node.h"
#include "replication/cluster_private.h"
#include "replication/feed_private.h"
#include "tables/table_private.h"

#include <stdbool.h>

enum { NODES = 2, RECORD_BYTES = 256, TOGETHER = 500, WAIT_S = 120, POLL_US = 2000 };
enum { QUIET_US = 500 * 1000, QUIET_BYTES_S = 6000, SCRUB_AGAIN_S = 5 };
enum { HEAD_BYTES = 1 + BENCH_KEY_ENCODED + 2, VALUE_BYTES = RECORD_BYTES - HEAD_BYTES };

enum damage { LOST_ANYWHERE, LOST_AT_COPIES };

struct bench {
    eg_node *node[NODES];
    eg_table *table;
    uint64_t records, random;
    double idle_bytes_s;
    int quiet; /* so often in a row */
};

/* ---- records --------------------------------------------------------------------------------- */

static void put_record(uint8_t *at, uint64_t number) {
    uint8_t *value = at + 1 + BENCH_KEY_ENCODED;

    at[0] = 0x92;
    bench_key(at + 1, number);
    value[0] = 0xc4; /* bin 8 */
    value[1] = VALUE_BYTES;
    memset(value + 2, (uint8_t) number, VALUE_BYTES);
}

static void write_some(const struct bench *b, eg_span array) {
    eg_err err;

    while ((err = eg_write_many(b->table, array, NULL)) == EG_BUSY)
        usleep(POLL_US); /* the other node does not keep up */
    bench_must(err, "write_many");
}

static void write_all(const struct bench *b) {
    uint8_t *array = malloc(3 + (size_t) TOGETHER * RECORD_BYTES);

    if (array == NULL)
        exit(1);
    array[0] = 0xdc;
    array[1] = TOGETHER >> 8;
    array[2] = TOGETHER & 0xff;
    for (uint64_t i = 0; i < b->records; i += TOGETHER) {
        for (uint64_t k = 0; k < TOGETHER; k++)
            put_record(array + 3 + k * RECORD_BYTES, i + k);
        write_some(b, (eg_span){array, 3 + (size_t) TOGETHER * RECORD_BYTES});
    }
    free(array);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static struct table *table_in(eg_node *n) {
    struct table *const *tables;

    return catalog_tables(n->catalog, &tables) == 0 ? NULL : tables[0];
}

static uint64_t link_bytes(const struct bench *b) {
    struct mesh_stats s = cluster_links(b->node[0]->cluster);

    return s.sent_bytes + s.received_bytes;
}

static void open_nodes(struct bench *b) {
    static const char *const names[NODES] = {"one", "two"};

    for (int i = 0; i < NODES; i++) {
        eg_options o = {.name = names[i], .schedulers = 1, .peer_listen = {"127.0.0.1:0"}};

        if (i != 0)
            o.join[0] = eg_node_peer_address(b->node[0], 0);
        bench_must(eg_open(&o, &b->node[i], NULL), "open");
    }
}

static eg_table *create(eg_node *node) {
    uint8_t bytes[16];
    eg_writer w = eg_writer_init(bytes, sizeof bytes);
    eg_span options;
    eg_table *table;

    eg_put_map(&w, 1);
    eg_put_string(&w, "shards");
    eg_put_uint(&w, 256);
    options = eg_written(&w);
    bench_must(eg_create_table(node, "table", &options, NULL), "create");
    bench_must(eg_table_open(node, "table", &table), "open");
    return table;
}

/* All copies are there, and counted. */
static bool is_full(eg_node *n, uint64_t records) {
    struct table *t = table_in(n);
    uint64_t here = 0;

    if (t == NULL)
        return false;
    for (uint32_t s = 0; s < table_shards(t); s++) {
        if (!shard_role_is_whole(shard_role(table_shard(t, s))) ||
            shard_role(table_shard(t, s)) == SHARD_ALONE)
            return false;
        here += table_shard(t, s)->store->ops->stats(table_shard(t, s)->store).count;
    }
    return here == records;
}

static void demand_scrub(const struct bench *b) {
    struct cluster_question q = {.op = CLUSTER_SCRUB};
    struct message *m;
    eg_pid to;

    bench_must(cluster_message(b->node[0]->cluster, &q, &to, &m), "scrub");
    bench_must(runtime_send(b->node[0]->runtime, EG_PID_NONE, to, m), "scrub");
}

/* Where copies are scrubbed: what a view that changed kept from being compared is asked for again.
 */
static void wait_for_copies(const struct bench *b, bool scrubbed) {
    double until = bench_now_s() + WAIT_S, again = bench_now_s() + SCRUB_AGAIN_S;

    while (!is_full(b->node[0], b->records) || !is_full(b->node[1], b->records)) {
        if (bench_now_s() > until)
            bench_must(EG_TIMEOUT, "copies");
        if (scrubbed && bench_now_s() > again) {
            again += SCRUB_AGAIN_S;
            demand_scrub(b);
        }
        usleep(POLL_US);
    }
}

/* Views and clocks are agreed on: the link carries no more than when nothing happens. */
static void settle(struct bench *b) {
    double until = bench_now_s() + WAIT_S;

    for (int quiet = 0; quiet < b->quiet;) {
        uint64_t before = link_bytes(b);

        usleep(QUIET_US);
        b->idle_bytes_s = (double) (link_bytes(b) - before) * 1e6 / QUIET_US;
        quiet = b->idle_bytes_s <= QUIET_BYTES_S ? quiet + 1 : 0;
        if (bench_now_s() > until)
            bench_must(EG_TIMEOUT, "quiet");
    }
}

/* ---- damage ------------------------------------------------------------------------------------
 */

static struct actor *claim(eg_node *n, struct shard *s) {
    struct actor *owner;

    while ((owner = actor_claim(n->runtime, shard_pid(s))) == NULL)
        usleep(10);
    return owner;
}

static void lose(eg_node *n, struct shard *s, const struct key *k) {
    eg_err err;
    struct reader *r = &node_thread(n, &err)->reader;
    struct actor *owner = claim(n, s);
    struct err_note note = {""};
    const struct record *rec;

    reader_enter(r);
    rec = s->store->ops->get(s->store, r, k);
    if (rec == NULL)
        exit(1);
    bench_must(
        shard_remove(
            &(struct shard_turn){.shard = s, .reader = r, .note = &note, .key = k, .leaving = true},
            k, rec),
        "lose");
    shard_turn_end(s);
    reader_exit(r);
    actor_release(owner);
}

/* Record `number` is not there any more; false: it is at neither as it should be. */
static void damage(const struct bench *b, uint64_t number, enum damage how) {
    uint8_t bytes[BENCH_KEY_ENCODED];
    struct table *t = table_in(b->node[0]);
    uint32_t at = (uint32_t) (number & 1);
    struct key k;
    uint32_t shard;

    bench_key(bytes, number);
    bench_must(table_key(t, &k, (struct value){bytes, sizeof bytes}), "key");
    shard = shard_of(t, k.hash)->number;
    if (how == LOST_AT_COPIES)
        at = shard_role_leads(shard_role(table_shard(t, shard))) ? 1 : 0;
    lose(b->node[at], table_shard(table_in(b->node[at]), shard), &k);
    key_release(&k);
}

/* Of every shard the copy that is not its master forgets what it knows, and follows anew. */
static void lose_clocks(const struct bench *b) {
    for (int i = 0; i < NODES; i++) {
        struct table *t = table_in(b->node[i]);

        for (uint32_t n = 0; n < table_shards(t); n++) {
            struct shard *s = table_shard(t, n);
            struct shard_copy *c = s->copy;
            uint16_t own = s->table->world->origins->own;
            struct actor *owner;

            if (shard_role_leads(shard_role(s)))
                continue;
            owner = claim(b->node[i], s);
            c->own_from = dot_sequence(s->sequence++); /* as in shard_copy_wipe() */
            shard_clock_fini(&c->clock);
            bench_must(shard_clock_add(&c->clock, own, c->own_from + 1, c->own_from + 1), "clock");
            recent_break(&c->recent);
            c->more = true;
            shard_set_role(s, SHARD_FILLING);
            actor_release(owner);
            feed_need(feed_of(s)->world, s, FEED_MISSED);
        }
    }
}

static uint64_t rounds_of(const struct bench *b, int node) {
    bool idle;

    return replica_scrubbed(b->node[node]->cluster->replicas, &idle).rounds;
}

static void scrub(const struct bench *b) {
    double until = bench_now_s() + WAIT_S, again = bench_now_s() + SCRUB_AGAIN_S;
    uint64_t before[NODES] = {rounds_of(b, 0), rounds_of(b, 1)};

    demand_scrub(b);
    while (rounds_of(b, 0) == before[0] || rounds_of(b, 1) == before[1]) {
        if (bench_now_s() > until)
            bench_must(EG_TIMEOUT, "scrub");
        if (bench_now_s() > again) { /* a new view has come, and the other has not heard of it */
            again += SCRUB_AGAIN_S;
            demand_scrub(b);
        }
        usleep(POLL_US);
    }
}

/* ---- figures --------------------------------------------------------------------------------- */

static void measure(struct bench *b, enum damage how, uint64_t differing) {
    const char *what = how == LOST_ANYWHERE ? "scrub" : "fill";
    uint64_t step = b->records / differing, first = bench_random(&b->random) % step, before;
    double began_s, bytes;
    char name[64];

    for (uint64_t i = 0; i < differing; i++)
        damage(b, first + i * step, how);
    before = link_bytes(b);
    began_s = bench_now_s();
    if (how == LOST_ANYWHERE)
        scrub(b);
    else
        lose_clocks(b);
    wait_for_copies(b, how == LOST_ANYWHERE);
    bytes = (double) (link_bytes(b) - before) - b->idle_bytes_s * (bench_now_s() - began_s);
    snprintf(name, sizeof name, "%s, %llu differ", what, (unsigned long long) differing);
    printf("%-44s %14.3f x\n", name, bytes / (double) (differing * RECORD_BYTES));
    snprintf(name, sizeof name, "%s, %llu differ: bytes", what, (unsigned long long) differing);
    bench_print(name, bytes, "bytes");
    settle(b); /* what is told afterwards is nobody else's */
}

int main(int argc, char **argv) {
    static const uint64_t differing[] = {10, 100, 250, 500, 1000, 2500, 5000, 10000};
    struct bench b = {.records = 1000000, .random = 1, .quiet = 3};
    bool smoke = argc == 2 && strcmp(argv[1], "--smoke") == 0;

    if (argc != 1 && !smoke) {
        fputs("bench_compare [--smoke]\n", stderr);
        return 2;
    }
    if (smoke) {
        b.records = 20000;
        b.quiet = 1;
    }
    open_nodes(&b);
    b.table = create(b.node[0]);
    write_all(&b);
    wait_for_copies(&b, false);
    settle(&b);
    for (size_t i = 0; i < sizeof differing / sizeof *differing; i++) {
        if (differing[i] > b.records / 100)
            break;
        measure(&b, LOST_ANYWHERE, differing[i]);
        measure(&b, LOST_AT_COPIES, differing[i]);
    }
    eg_table_close(b.table);
    for (int i = NODES - 1; i >= 0; i--)
        eg_close(b.node[i]);
    return 0;
}
