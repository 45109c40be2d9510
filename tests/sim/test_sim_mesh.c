/* Goal: links between nodes bring what was sent once and in order between an up and a down, come
 * up again whatever happened, and leave nothing behind.
 * Method: meshes alone on simulated machines; everybody sends numbers to everybody while links
 * are cut, slow, one-way and reset, machines paused, killed and without power.  Each seed runs
 * twice.  EG_SEED= replays one. */
#include "engine/epoch.h"
#include "replication/mesh.h"
#include "tests/sim/sim_heap.h"
#include "tests/sim/sim_net.h"

#include <string.h>

enum {
    SEEDS = 10,
    MACHINES_MAX = 5,
    CHANNELS = 3,
    LIVE_MS = 30 * 1000,
    MEET_MS = 60 * 1000,
    ARRIVE_MS = 5000,
    ROUNDS = 8 /* a link that seems to be up may be found broken once more */
};

static const uint64_t MS = 1000000;
static const enum mesh_channel channels[CHANNELS] = {MESH_VIEW, MESH_REPLICA, MESH_ACTOR};

/* What one machine has heard from another. */
struct hearing {
    bool up, fresh;
    uint64_t last[CHANNELS];
    uint64_t count;
};

struct machine {
    struct world *world;
    char name[8], address[16];
    uint32_t number, host;
    uint64_t starts;
    bool on;
    struct sim_env env;
    struct sim_heap heap;
    struct runtime *rt;
    struct mesh *mesh;
    struct hearing heard[MACHINES_MAX];
    uint64_t sent[MACHINES_MAX][CHANNELS];
};

struct world {
    struct sim *sim;
    struct sim_net *net;
    struct rng rng;
    uint32_t count;
    struct machine machine[MACHINES_MAX];
    uint64_t events, wrong, busy;
};

struct outcome {
    uint64_t hash, events, busy;
    bool ordered, met, whole, clean;
};

static uint32_t number_of(const struct world *w, uint64_t id) {
    for (uint32_t i = 0; i < w->count; i++)
        if (node_id_of(w->machine[i].name) == id)
            return i;
    EG_ASSERT(!"a node of this world");
    return 0;
}

/* ---- events --------------------------------------------------------------------------- */

static eg_err may_link(void *user, const struct node_info *who, struct err_note *note) {
    (void) user;
    (void) who;
    (void) note;
    return EG_OK;
}

static void on_up(void *user, const struct node_info *who) {
    struct machine *m = user;
    struct hearing *h = &m->heard[number_of(m->world, who->id)];

    m->world->wrong += h->up;
    h->up = h->fresh = true;
    memset(h->last, 0, sizeof h->last);
}

static void on_down(void *user, uint64_t id) {
    struct machine *m = user;
    struct hearing *h = &m->heard[number_of(m->world, id)];

    m->world->wrong += !h->up;
    h->up = false;
}

static void on_payload(void *user, uint64_t from, enum mesh_channel channel, struct value payload) {
    struct machine *m = user;
    struct hearing *h = &m->heard[number_of(m->world, from)];
    uint64_t n;
    int c = 0;

    while (channels[c] != channel)
        c++;
    EG_ASSERT(value_get_u64(payload, &n));
    m->world->wrong += !h->up;
    m->world->wrong += h->last[c] != 0 && n != h->last[c] + 1;
    h->last[c] = n;
    h->count++;
    m->world->events++;
    sim_note(m->world->sim, n);
}

static void on_joined(void *user, const char *address, eg_err err, const char *text) {
    (void) user;
    (void) address;
    (void) err;
    (void) text;
}

/* ---- machines --------------------------------------------------------------------------- */

static void switch_on(struct machine *m) {
    static const struct mesh_events events = {may_link, on_up, on_down, on_payload, on_joined};
    const char *const listen = m->address;
    struct node_info self = {.incarnation = ++m->starts, .weight = NODE_WEIGHT_USUAL};
    struct mesh_opts o = {.alloc = &m->heap.base,
                          .env = &m->env.env,
                          .net_open = sim_net_stream,
                          .listen = &listen,
                          .listen_count = 1,
                          .cookie = "what all of them know",
                          .cookie_bytes = 21,
                          .self = &self,
                          .events = &events,
                          .user = m};
    struct runtime_opts r = {.alloc = &m->heap.base, .env = &m->env.env, .schedulers = 2};
    struct err_note note;

    snprintf(self.name, sizeof self.name, "%s", m->name);
    self.id = node_id_of(m->name);
    memset(m->heard, 0, sizeof m->heard);
    m->rt = sim_runtime(m->world->sim, &r);
    o.runtime = m->rt;
    EG_ASSERT(mesh_open(&m->mesh, &o, &note) == EG_OK);
    m->on = true;
    for (uint32_t i = 0; i < m->world->count; i++)
        if (i != m->number)
            mesh_join(m->mesh, m->world->machine[i].address);
    for (uint32_t i = 0; i < m->world->count; i++)
        for (int c = 0; c < CHANNELS; c++)
            m->sent[i][c] = m->starts << 32;
}

static void crash(struct machine *m, bool power) {
    sim_net_crash(m->world->net, m->host, power);
    sim_vanish(m->world->sim, m->rt);
    sim_heap_reclaim(&m->heap);
    m->on = false;
}

static bool switch_off(struct machine *m) {
    bool clean;

    mesh_close(m->mesh);
    sim_stop_runtime(m->world->sim, m->rt);
    clean = m->heap.live == 0;
    sim_heap_reclaim(&m->heap);
    m->on = false;
    return clean;
}

static void send_to(struct machine *m, uint32_t other, int c) {
    uint8_t at[16];
    struct value_writer v = value_writer_init(at, sizeof at);
    eg_err err;

    value_put_u64(&v, m->sent[other][c] + 1);
    err = mesh_send(m->mesh, node_id_of(m->world->machine[other].name), channels[c],
                    (struct value){at, (uint32_t) v.need_bytes});
    if (err == EG_OK)
        m->sent[other][c]++;
    else
        m->world->busy += err == EG_BUSY;
}

static void everybody_sends(struct world *w) {
    for (uint32_t i = 0; i < w->count; i++)
        for (uint32_t k = 0; w->machine[i].on && k < w->count; k++)
            if (i != k)
                send_to(&w->machine[i], k, (int) rng_below(&w->rng, CHANNELS));
}

/* ---- faults --------------------------------------------------------------------------------- */

static void befall(struct world *w) {
    struct machine *m = &w->machine[rng_below(&w->rng, w->count)];
    struct machine *other = &w->machine[rng_below(&w->rng, w->count)];
    struct sim_link *l = sim_net_link(w->net, m->host, other->host);

    switch (rng_below(&w->rng, 10)) {
    case 0:
    case 1:
        l->cut = true;
        break;
    case 2:
        l->delay_mean_ns = rng_below(&w->rng, 2000) * MS;
        break;
    case 3:
        l->bytes_per_s = 100 + rng_below(&w->rng, 10000);
        break;
    case 4:
        sim_net_break(w->net, m->host, other->host);
        break;
    case 5:
        if (m->on)
            crash(m, rng_one_in(&w->rng, 2));
        break;
    case 6:
        if (m->on)
            sim_pause(w->sim, m->rt, sim_now_ns(w->sim) + rng_below(&w->rng, 8000) * MS);
        break;
    case 7:
        if (!m->on)
            switch_on(m);
        break;
    default:
        for (uint32_t i = 0; i < w->count; i++)
            for (uint32_t k = 0; k < w->count; k++)
                if (rng_one_in(&w->rng, 2))
                    sim_net_link(w->net, w->machine[i].host, w->machine[k].host)->cut = false;
        break;
    }
    sim_net_changed(w->net);
}

static void live(struct world *w) {
    uint64_t end_ns = sim_now_ns(w->sim) + LIVE_MS * MS, next_ns = 0;

    while (sim_now_ns(w->sim) < end_ns) {
        everybody_sends(w);
        if (sim_now_ns(w->sim) >= next_ns) {
            befall(w);
            next_ns = sim_now_ns(w->sim) + rng_below(&w->rng, 1000) * MS;
        }
        sim_run_ms(w->sim, 1 + rng_below(&w->rng, 20));
    }
    sim_net_heal(w->net);
    for (uint32_t i = 0; i < w->count; i++) {
        if (!w->machine[i].on)
            switch_on(&w->machine[i]);
        sim_pause(w->sim, w->machine[i].rt, 0);
    }
}

static bool all_met(void *arg) {
    struct world *w = arg;

    for (uint32_t i = 0; i < w->count; i++)
        for (uint32_t k = 0; k < w->count; k++)
            if (i != k && (!w->machine[i].heard[k].up ||
                           !mesh_is_up(w->machine[i].mesh, node_id_of(w->machine[k].name))))
                return false;
    return true;
}

/* Has everything arrived that was sent since all met? */
static bool all_arrived(void *arg) {
    struct world *w = arg;

    for (uint32_t i = 0; i < w->count; i++)
        for (uint32_t k = 0; k < w->count; k++)
            for (int c = 0; i != k && c < CHANNELS; c++)
                if (w->machine[i].heard[k].last[c] != w->machine[k].sent[i][c])
                    return false;
    return true;
}

static void send_to_all(struct world *w) {
    for (uint32_t i = 0; i < w->count; i++)
        for (uint32_t k = 0; k < w->count; k++)
            for (int c = 0; i != k && c < CHANNELS; c++)
                send_to(&w->machine[i], k, c);
}

static struct outcome run(uint64_t seed) {
    static struct world w;
    struct outcome o = {.clean = true};

    w = (struct world){.sim = sim_open(seed), .rng = rng_of(seed)};
    sim_set_log_level(w.sim, ENV_LOG_ERROR);
    w.net = sim_net_open(w.sim);
    w.count = 2 + (uint32_t) rng_below(&w.rng, MACHINES_MAX - 1);
    sim_net_habits(w.net)->reset_one_in = rng_one_in(&w.rng, 2) ? 200 : 0;
    sim_net_habits(w.net)->give_up_ms = 1000 + rng_below(&w.rng, 60000);
    for (uint32_t i = 0; i < w.count; i++) {
        struct machine *m = &w.machine[i];

        m->world = &w;
        m->number = i;
        snprintf(m->name, sizeof m->name, "m%u", i);
        snprintf(m->address, sizeof m->address, "m%u:7000", i);
        m->host = sim_net_host(w.net, m->name);
        sim_env_init(&m->env, w.sim, m->name, rng_u64(&w.rng));
        sim_net_host_env(w.net, m->host, &m->env.env);
        sim_heap_init(&m->heap, seed);
    }
    for (uint32_t i = 0; i < w.count; i++)
        switch_on(&w.machine[i]);
    live(&w);
    for (int round = 0; round < ROUNDS && !o.whole; round++) {
        o.met = sim_run_until(w.sim, all_met, &w, MEET_MS);
        send_to_all(&w);
        o.whole = sim_run_until(w.sim, all_arrived, &w, ARRIVE_MS);
    }
    for (uint32_t i = 0; i < w.count; i++)
        o.clean &= switch_off(&w.machine[i]);
    o.ordered = w.wrong == 0;
    o.events = w.events;
    o.busy = w.busy;
    o.hash = sim_hash(w.sim);
    sim_net_close(w.net);
    sim_close(w.sim);
    return o;
}

static bool tap(int number_of_test, bool holds, const char *what) {
    printf("%s %d - %s\n", holds ? "ok" : "not ok", number_of_test, what);
    return holds;
}

int main(void) {
    uint64_t first = rng_test_seed(1), events = 0;
    uint32_t seeds = rng_is_replay() ? 1 : SEEDS;
    bool same = true, ordered = true, met = true, whole = true, clean = true, good = true;

    for (uint64_t seed = first; seed < first + seeds; seed++) {
        struct outcome o = run(seed), again = run(seed);

        if (o.hash != again.hash || !o.ordered || !o.met || !o.whole || !o.clean)
            printf("# EG_SEED=%llu: %s%s%s%s%s\n", (unsigned long long) seed,
                   o.hash != again.hash ? "differs " : "", o.ordered ? "" : "order ",
                   o.met ? "" : "not met ", o.whole ? "" : "lost ", o.clean ? "" : "leak");
        same &= o.hash == again.hash;
        ordered &= o.ordered;
        met &= o.met;
        whole &= o.whole;
        clean &= o.clean;
        events += o.events;
    }
    printf("1..5\n# %llu payloads\n", (unsigned long long) events);
    good &= tap(1, same, "two runs of one seed are one run");
    good &= tap(2, ordered, "payloads come once and in order, between an up and a down");
    good &= tap(3, met, "when everything is well again all links are up");
    good &= tap(4, whole, "and bring all that is sent");
    good &= tap(5, clean, "the end leaves no memory behind");
    return good ? 0 : 1;
}
