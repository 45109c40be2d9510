/* Goal: a simulated node is a node: it serves clients, loses what a machine loses and nothing
 * else, and leaves nothing behind.
 * Method: a client counts up in a RAM, an async and a sync table while the node is killed,
 * loses power, is paused and has its clock moved.  Each seed runs twice.  EG_SEED= replays one. */
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_node.h"

#include <string.h>

enum { SEEDS = 6, ROUNDS = 5, WRITES = 20, WAIT_MS = 30 * 1000, TABLES = 3 };

static const char *const names[TABLES] = {"memory", "tail", "safe"};

struct world {
    struct sim *sim;
    struct sim_net *net;
    struct sim_node node;
    struct sim_client client;
    int64_t acknowledged[TABLES];
};

struct outcome {
    uint64_t hash;
    bool served, kept, clean;
};

static void no_answer(struct sim_client *c, const struct sim_answer *a) {
    (void) c;
    (void) a;
}

static enum sim_outcome call(struct world *w, const char *method, struct value_writer *params,
                             const uint8_t *at, struct sim_answer *a) {
    EG_ASSERT(!params->overflow);
    return sim_client_call(&w->client, w->node.client_address, method,
                           (struct value){at, (uint32_t) params->need_bytes}, WAIT_MS, a);
}

static void create(struct world *w, int table) {
    uint8_t at[128];
    struct value_writer v = value_writer_init(at, sizeof at);
    struct sim_answer a;

    value_put_array(&v, 2);
    value_put_text(&v, names[table]);
    value_put_map(&v, 2);
    value_put_text(&v, "storage");
    value_put_text(&v, table == 0 ? "ram" : "disc");
    value_put_text(&v, "durability");
    value_put_text(&v, table == 2 ? "sync" : "async");
    EG_ASSERT(call(w, "create_table", &v, at, &a) == SIM_DONE);
}

static bool count_up(struct world *w, int table) {
    uint8_t at[128];
    struct value_writer v = value_writer_init(at, sizeof at);
    struct sim_answer a;

    value_put_array(&v, 4);
    value_put_text(&v, names[table]);
    value_put_text(&v, "n");
    value_put_text(&v, "value");
    value_put_i64(&v, 1);
    return call(w, "update_counter", &v, at, &a) == SIM_DONE &&
           value_get_i64(a.result, &w->acknowledged[table]);
}

static int64_t counted(struct world *w, int table) {
    uint8_t at[128];
    struct value_writer v = value_writer_init(at, sizeof at);
    struct sim_answer a = {.outcome = SIM_UNKNOWN};
    struct value_iter records, fields;
    struct value record, field;
    int64_t n = 0;

    value_put_array(&v, 2);
    value_put_text(&v, names[table]);
    value_put_text(&v, "n");
    while (a.outcome == SIM_UNKNOWN) /* a connection of before is no connection any more */
        call(w, "read", &v, at, &a);
    if (a.outcome != SIM_DONE)
        return -1;
    records = value_iter_of(a.result);
    if (!value_iter_next(&records, &record))
        return 0;
    fields = value_iter_of(record);
    while (value_iter_next(&fields, &field))
        if (value_is_integer(field))
            EG_ASSERT(value_get_i64(field, &n));
    return n;
}

static void fail_and_return(struct world *w, bool power) {
    sim_run_ms(w->sim, rng_below(&w->node.heap.rng, 30));
    if (power)
        sim_node_lose_power(&w->node);
    else
        sim_node_kill(&w->node);
    sim_run_ms(w->sim, 100);
    sim_node_start(&w->node);
}

static bool serve(struct world *w) {
    bool good = true;

    for (int i = 0; i < WRITES; i++)
        for (int t = 0; t < TABLES; t++)
            good &= count_up(w, t);
    return good;
}

static struct outcome run(uint64_t seed) {
    static struct world w;
    struct outcome o = {.served = true, .kept = true, .clean = true};
    struct rng r = rng_of(seed);
    bool created[TABLES] = {false};

    w = (struct world){.sim = sim_open(seed)};
    w.net = sim_net_open(w.sim);
    sim_node_init(&w.node, w.sim, w.net,
                  &(struct sim_node_opts){.name = "a",
                                          .seed = seed,
                                          .schedulers = 1 + (uint32_t) rng_below(&r, 3),
                                          .has_disc = true,
                                          .disc_delay_ms = 2});
    sim_client_init(&w.client, w.net, w.sim, "client", no_answer, NULL);
    sim_node_start(&w.node);
    for (int round = 0; round < ROUNDS; round++) {
        bool power = rng_one_in(&r, 2);

        for (int t = 0; t < TABLES; t++)
            if (!created[t])
                create(&w, t);
        created[1] = created[2] = true;
        o.served &= serve(&w);
        sim_node_pause(&w.node, rng_below(&r, 2000));
        sim_env_drift(&w.node.env, (int64_t) rng_below(&r, 1001) - 500);
        sim_env_jump(&w.node.env, (int64_t) rng_below(&r, 7200000) - 3600000);
        o.served &= serve(&w);
        fail_and_return(&w, power);
        o.kept &= counted(&w, 2) == w.acknowledged[2];
        o.kept &= counted(&w, 0) == -1; /* RAM tables go with their node */
        o.kept &= power ? counted(&w, 1) <= w.acknowledged[1] : counted(&w, 1) >= 0;
    }
    sim_client_close(&w.client);
    sim_run_ms(w.sim, 10);
    sim_client_fini(&w.client);
    o.clean = sim_node_stop(&w.node);
    sim_node_fini(&w.node);
    o.hash = sim_hash(w.sim);
    sim_net_close(w.net);
    sim_close(w.sim);
    return o;
}

static bool tap(int number_of, bool holds, const char *what) {
    printf("%s %d - %s\n", holds ? "ok" : "not ok", number_of, what);
    return holds;
}

int main(void) {
    uint64_t first = rng_test_seed(1);
    uint32_t seeds = rng_is_replay() ? 1 : SEEDS;
    bool same = true, served = true, kept = true, clean = true;
    bool good = true;

    for (uint64_t seed = first; seed < first + seeds; seed++) {
        struct outcome o = run(seed), again = run(seed);

        if (o.hash != again.hash || !o.served || !o.kept || !o.clean)
            printf("# EG_SEED=%llu\n", (unsigned long long) seed);
        same &= o.hash == again.hash;
        served &= o.served;
        kept &= o.kept;
        clean &= o.clean;
    }
    printf("1..4\n");
    good &= tap(1, same, "two runs of one seed are one run");
    good &= tap(2, served, "a client is served through pauses and moving clocks");
    good &= tap(3, kept, "a loss of power takes memory and tails, and nothing that was synced");
    good &= tap(4, clean, "a node that stops in order leaves no memory behind");
    return good ? 0 : 1;
}
