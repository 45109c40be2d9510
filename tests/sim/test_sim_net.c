/* Goal: the simulated network keeps TCP's promises, breaks them only as networks do, and is
 * one run for one seed.
 * Method: talkers on hosts without nodes, and an echo on a scheduler; each sends bytes that say
 * where they belong, so that whoever reads knows what is missing.  EG_SEED= replays one. */
#include "tests/sim/sim_heap.h"
#include "tests/sim/sim_net.h"

#include "engine/epoch.h"
#include "engine/scheduler.h"

#include <string.h>

enum { SEEDS = 30, PIECE_BYTES = 3000, FAR_MS = 3600 * 1000 };

/* One end of a connection: the bytes it sends are a row, and so are those it reads. */
struct talker {
    struct stream *stream; /* NULL: closed */
    uint64_t to_send_bytes, sent_bytes, read_bytes;
    bool connected, ended, broken, wrong, finish;
    eg_err connect_err;
};

static uint8_t row_at(uint64_t place) {
    return (uint8_t) (place * 7 + (place >> 8) * 13);
}

static void send_some(struct talker *t) {
    uint8_t bytes[PIECE_BYTES];
    size_t written;

    while (t->stream != NULL && t->connected && !t->broken && t->sent_bytes < t->to_send_bytes) {
        size_t size = EG_MIN((size_t) (t->to_send_bytes - t->sent_bytes), sizeof bytes);
        for (size_t i = 0; i < size; i++)
            bytes[i] = row_at(t->sent_bytes + i);
        if (stream_try_write(t->stream, bytes, size, &written) != EG_OK) {
            t->broken = true;
            return;
        }
        t->sent_bytes += written;
        if (written < size)
            return;
    }
    if (t->finish && t->stream != NULL && t->sent_bytes == t->to_send_bytes) {
        t->finish = false;
        stream_finish(t->stream);
    }
}

static void on_connected(struct stream *s, eg_err err) {
    struct talker *t = s->user;
    t->connect_err = err;
    t->connected = err == EG_OK;
    t->broken = err != EG_OK;
    if (err == EG_OK)
        EG_ASSERT(stream_read_start(s) == EG_OK);
}
static void on_bytes(struct stream *s, const uint8_t *at, size_t size_bytes) {
    struct talker *t = s->user;
    for (size_t i = 0; i < size_bytes; i++)
        t->wrong |= at[i] != row_at(t->read_bytes + i);
    t->read_bytes += size_bytes;
}
static void on_end(struct stream *s, eg_err err) {
    struct talker *t = s->user;
    t->ended |= err == EG_OK;
    t->broken |= err != EG_OK;
}
static void on_written(struct stream *s, eg_err err) {
    (void) s;
    (void) err;
}
static void on_closed(struct stream *s) {
    ((struct talker *) s->user)->stream = NULL;
}
static const struct stream_events talking = {on_connected, on_bytes, on_end, on_written, on_closed};

/* ---- a world of two hosts ----------------------------------------------------------- */

struct pair {
    struct sim *sim;
    struct sim_net *net;
    struct sim_heap heap[2];
    uint32_t host[2];
    struct stream_net *wire[2];
    struct stream_listener *door;
    struct talker end[2];
};

static void on_accept(void *user, struct stream_accepted accepted) {
    struct pair *p = user;
    struct talker *t = &p->end[1];

    EG_ASSERT(stream_adopt(p->wire[1], accepted, &talking, t, &t->stream) == EG_OK);
    EG_ASSERT(stream_read_start(t->stream) == EG_OK);
    t->connected = true;
}
static void on_door_closed(void *user) {
    ((struct pair *) user)->door = NULL;
}

static void open_door(struct pair *p) {
    static const struct listener_events events = {on_accept, on_door_closed};

    EG_ASSERT(stream_listen(p->wire[1], "b:7000", false, &events, p, &p->door, NULL) == EG_OK);
}

static void dial(struct pair *p, const char *address) {
    EG_ASSERT(stream_connect(p->wire[0], address, &talking, &p->end[0], &p->end[0].stream, NULL) ==
              EG_OK);
}

static void open_pair(struct pair *p, uint64_t seed) {
    *p = (struct pair){.sim = sim_open(seed)};
    p->net = sim_net_open(p->sim);
    p->host[0] = sim_net_host(p->net, "a");
    p->host[1] = sim_net_host(p->net, "b");
    for (int i = 0; i < 2; i++) {
        sim_heap_init(&p->heap[i], seed);
        p->wire[i] = sim_net_stream_on(p->net, &p->heap[i].base, p->host[i]);
    }
    open_door(p);
}

static uint64_t close_pair(struct pair *p) {
    uint64_t hash;

    for (int i = 0; i < 2; i++)
        if (p->end[i].stream != NULL)
            stream_close(p->end[i].stream);
    if (p->door != NULL)
        stream_listener_close(p->door);
    sim_run_ms(p->sim, 1);
    hash = sim_hash(p->sim);
    for (int i = 0; i < 2; i++) {
        stream_net_close(p->wire[i]);
        EG_ASSERT(p->heap[i].live == 0);
    }
    sim_net_close(p->net);
    sim_close(p->sim);
    return hash;
}

static void talk_for(struct pair *p, uint64_t ms) {
    for (uint64_t i = 0; i < ms; i++) {
        send_some(&p->end[0]);
        send_some(&p->end[1]);
        sim_run_ms(p->sim, 1);
    }
}

static bool all_read(const struct pair *p) {
    return p->end[0].read_bytes == p->end[1].to_send_bytes &&
           p->end[1].read_bytes == p->end[0].to_send_bytes && !p->end[0].wrong && !p->end[1].wrong;
}

static void draw_habits(struct pair *p, struct rng *r) {
    struct sim_net_habits *h = sim_net_habits(p->net);

    h->send_buffer_bytes = 1 + (uint32_t) rng_below(r, 20000);
    h->receive_buffer_bytes = 1 + (uint32_t) rng_below(r, 20000);
    h->segment_bytes = 1 + (uint32_t) rng_below(r, 5000);
    h->slow_one_in = rng_one_in(r, 2) ? 20 : 0;
    for (int i = 0; i < 2; i++) {
        struct sim_link *l = sim_net_link(p->net, p->host[i], p->host[1 - i]);
        l->delay_min_ns = rng_below(r, 5000000);
        l->delay_mean_ns = rng_below(r, 20000000);
        l->bytes_per_s = rng_one_in(r, 2) ? 100000 + rng_below(r, 10000000) : 0;
    }
}

/* ---- claims ------------------------------------------------------------------------------ */

static bool whole(uint64_t seed, uint64_t *hash) {
    struct rng r = rng_of(seed);
    struct pair p;
    bool good;

    open_pair(&p, seed);
    draw_habits(&p, &r);
    p.end[0].to_send_bytes = rng_below(&r, 200000);
    p.end[1].to_send_bytes = rng_below(&r, 200000);
    p.end[0].finish = p.end[1].finish = true;
    dial(&p, "b:7000");
    for (int i = 0; i < 600 && !(p.end[0].ended && p.end[1].ended); i++)
        talk_for(&p, 1000);
    good = all_read(&p) && p.end[0].ended && p.end[1].ended;
    *hash = close_pair(&p);
    return good;
}

/* What is read is the beginning of what was sent, and somebody hears that it is over. */
static bool beginning(uint64_t seed) {
    struct rng r = rng_of(seed);
    struct pair p;
    bool good;

    open_pair(&p, seed);
    draw_habits(&p, &r);
    sim_net_habits(p.net)->reset_one_in = 30;
    sim_net_habits(p.net)->silent_percent = (uint32_t) rng_below(&r, 101);
    p.end[0].to_send_bytes = p.end[1].to_send_bytes = 1 << 20;
    dial(&p, "b:7000");
    talk_for(&p, 5000);
    good = !p.end[0].wrong && !p.end[1].wrong && (p.end[0].broken || p.end[1].broken) &&
           p.end[0].read_bytes <= p.end[1].sent_bytes && p.end[1].read_bytes <= p.end[0].sent_bytes;
    talk_for(&p, 10 * 1000); /* both send: both hear */
    good &= p.end[0].broken && p.end[1].broken;
    close_pair(&p);
    return good;
}

static bool cut_and_healed(uint64_t seed) {
    struct pair p;
    bool good;

    open_pair(&p, seed);
    dial(&p, "b:7000");
    talk_for(&p, 10);
    sim_net_link(p.net, p.host[0], p.host[1])->cut = true;
    p.end[0].to_send_bytes = p.end[1].to_send_bytes = 1000;
    talk_for(&p, 2000);
    good = p.end[1].read_bytes == 0 && p.end[0].read_bytes == 1000; /* only one way */
    sim_net_heal(p.net);
    talk_for(&p, 2000);
    good &= all_read(&p) && !p.end[0].broken && !p.end[1].broken;
    sim_net_link(p.net, p.host[0], p.host[1])->cut = true;
    p.end[0].to_send_bytes += 1000;
    talk_for(&p, 1000);
    sim_run_ms(p.sim, FAR_MS);
    good &= p.end[0].broken && !p.end[1].broken; /* gave up, and could not say so */
    close_pair(&p);
    return good;
}

static bool without_power(uint64_t seed) {
    struct pair p;
    bool good;

    open_pair(&p, seed);
    dial(&p, "b:7000");
    talk_for(&p, 10);
    sim_net_crash(p.net, p.host[1], true);
    p.door = NULL;
    p.end[1].stream = NULL;
    sim_heap_reclaim(&p.heap[1]);
    sim_run_ms(p.sim, FAR_MS);
    good = !p.end[0].broken; /* who only listens never hears */
    p.end[0].to_send_bytes = 10;
    talk_for(&p, 10 * 1000);
    good &= !p.end[0].broken;
    p.wire[1] = sim_net_stream_on(p.net, &p.heap[1].base, p.host[1]);
    open_door(&p);
    talk_for(&p, 2000); /* back, and knows nothing of it */
    good &= p.end[0].broken && p.end[1].read_bytes == 0;
    close_pair(&p);
    return good;
}

static bool refused(uint64_t seed, const char *address, bool cut) {
    struct pair p;
    bool good;

    open_pair(&p, seed);
    sim_net_link(p.net, p.host[1], p.host[0])->cut = cut;
    dial(&p, address);
    talk_for(&p, 100);
    good = p.end[0].broken != cut;
    sim_run_ms(p.sim, FAR_MS);
    good &= p.end[0].broken && p.end[0].connect_err == EG_CLOSED;
    close_pair(&p);
    return good;
}

static bool narrow(uint64_t seed) {
    struct pair p;
    bool good;

    open_pair(&p, seed);
    sim_net_link(p.net, p.host[0], p.host[1])->bytes_per_s = 100000;
    p.end[0].to_send_bytes = 200000;
    dial(&p, "b:7000");
    talk_for(&p, 1900);
    good = !all_read(&p) && p.end[1].read_bytes > 100000;
    talk_for(&p, 300);
    good &= all_read(&p) && sim_net_link(p.net, p.host[0], p.host[1])->sent_bytes == 200000;
    close_pair(&p);
    return good;
}

/* ---- an echo that lives on a scheduler ------------------------------------------------------ */

struct echo {
    struct turn_hook hook;
    struct scheduler *scheduler;
    struct stream_net *net;
    struct stream_listener *door;
    struct stream *stream;
    const uint8_t *at; /* lent until the turn's end */
    size_t size_bytes;
    bool closing, is_closed;
};

static void echo_on_bytes(struct stream *s, const uint8_t *at, size_t size_bytes) {
    struct echo *e = s->user;
    EG_ASSERT(e->at == NULL);
    e->at = at;
    e->size_bytes = size_bytes;
}
static void echo_on_closed(struct stream *s) {
    ((struct echo *) s->user)->stream = NULL;
}
static void echo_on_accept(void *user, struct stream_accepted accepted) {
    static const struct stream_events events = {
        .on_bytes = echo_on_bytes, .on_end = on_end, .on_closed = echo_on_closed};
    struct echo *e = user;
    EG_ASSERT(stream_adopt(e->net, accepted, &events, e, &e->stream) == EG_OK);
    EG_ASSERT(stream_read_start(e->stream) == EG_OK);
}
static void echo_on_door_closed(void *user) {
    ((struct echo *) user)->door = NULL;
}

static bool echo_turn(struct turn_hook *h) {
    struct echo *e = EG_CONTAINER_OF(h, struct echo, hook);
    size_t written;

    if (e->at != NULL) {
        EG_ASSERT(stream_try_write(e->stream, e->at, e->size_bytes, &written) == EG_OK);
        EG_ASSERT(written == e->size_bytes);
        e->at = NULL;
    }
    stream_net_turn(e->net);
    if (e->closing && e->door == NULL && e->stream == NULL && e->net != NULL) {
        stream_net_close(e->net);
        scheduler_remove_hook(e->scheduler, h);
        e->is_closed = true;
    }
    return false;
}

static void echo_open(struct scheduler *s, void *arg) {
    static const struct listener_events events = {echo_on_accept, echo_on_door_closed};
    struct echo *e = arg;

    EG_ASSERT(sim_net_stream(&e->net, alloc_system(), s) == EG_OK);
    EG_ASSERT(stream_listen(e->net, "b:9000", false, &events, e, &e->door, NULL) == EG_OK);
    e->hook.run = echo_turn;
    e->scheduler = s;
    scheduler_add_hook(s, &e->hook);
}

static void echo_close(struct scheduler *s, void *arg) {
    struct echo *e = arg;
    (void) s;
    e->closing = true;
    stream_listener_close(e->door);
    stream_close(e->stream);
}

static bool echoes(uint64_t seed) {
    struct sim_env env;
    struct pair p;
    struct echo e = {.at = NULL};
    struct runtime *rt;
    bool good;

    open_pair(&p, seed);
    sim_env_init(&env, p.sim, "b", seed);
    sim_env_drift(&env, 400);
    sim_net_host_env(p.net, p.host[1], &env.env);
    rt = sim_runtime(p.sim, &(struct runtime_opts){.schedulers = 1, .env = &env.env});
    EG_ASSERT(scheduler_post(runtime_scheduler(rt, 0), echo_open, &e) == EG_OK);
    sim_run_ms(p.sim, 10);
    p.end[0].to_send_bytes = 100000;
    dial(&p, "b:9000");
    talk_for(&p, 500);
    good = p.end[0].read_bytes == 100000 && !p.end[0].wrong;
    EG_ASSERT(scheduler_post(runtime_scheduler(rt, 0), echo_close, &e) == EG_OK);
    talk_for(&p, 20);
    good &= p.end[0].ended && e.is_closed;
    sim_stop_runtime(p.sim, rt);
    close_pair(&p);
    return good;
}

static bool tap(int number_of, bool holds, const char *what) {
    printf("%s %d - %s\n", holds ? "ok" : "not ok", number_of, what);
    return holds;
}

int main(void) {
    uint64_t first = rng_test_seed(1), last = 0;
    uint32_t seeds = rng_is_replay() ? 1 : SEEDS;
    bool good = true, right = true, same = true, differ = true, prefix = true, cut = true;
    bool power = true, refuses = true, narrows = true, echo = true;

    for (uint64_t seed = first; seed < first + seeds; seed++) {
        uint64_t hash = 0, again = 0;

        right &= whole(seed, &hash) && whole(seed, &again);
        same &= hash == again;
        differ &= hash != last;
        last = hash;
        prefix &= beginning(seed);
        cut &= cut_and_healed(seed);
        power &= without_power(seed);
        refuses &= refused(seed, "b:7001", false) && refused(seed, "c:1", false) &&
                   refused(seed, "b:7000", true);
        narrows &= narrow(seed);
        echo &= echoes(seed);
        if (!(right && same && prefix && cut && power && refuses && narrows && echo)) {
            printf("# EG_SEED=%llu\n", (unsigned long long) seed);
            break;
        }
    }
    printf("1..9\n");
    good &= tap(1, right, "bytes come whole and in order, then the end, however they are cut");
    good &= tap(2, same, "two runs of one seed are one run");
    good &= tap(3, differ, "two seeds are two runs");
    good &= tap(4, prefix, "a reset leaves the beginning of what was sent; who sends hears of it");
    good &=
        tap(5, cut, "a cut link holds back one direction; long enough, and its sender gives up");
    good &= tap(6, power, "a host without power says nothing, and after its return a reset");
    good &= tap(7, refuses, "connecting to nobody ends");
    good &= tap(8, narrows, "a narrow link takes its time");
    good &= tap(9, echo, "a scheduler's loop is told before its turns");
    return good ? 0 : 1;
}
