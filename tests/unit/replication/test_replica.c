/* Goal: copies of a table on several nodes stay one table.  Method: catalogs in one thread, a
 * network of queues that is moved and cut by hand, views as the test likes. */
#include "replication/replica.h"
#include "replication/replica_wire.h"
#include "engine/env.h"
#include "tables/far.h"
#include "tables/route.h"
#include "tables/shard_copy.h"
#include "tables/table_private.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/table_world.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    NODES = 5,
    RECORD_BYTES = 256,
    SETTLE_MS = 20000,
    TICK_MS = 25,
    SHARDS = 4,
    REPORTS_MAX = 512,
    KEPT_MAX = 64,
};

struct packet {
    struct packet *next;
    uint64_t due_ms;
    uint32_t size_bytes;
    uint8_t bytes[];
};

struct node {
    struct table_world w;
    struct fail_alloc messages;
    struct replicas *r;
    uint64_t id;
    struct view_id stopped;
    struct view_id lineage;
    bool progress;
    const char *told;          /* the last event */
    struct packet *out[NODES]; /* oldest first */
    uint64_t sent_bytes[NODES];
    eg_pid client; /* who asks, and takes answers */
};

static struct net {
    struct node node[NODES];
    uint32_t count;
    bool cut[NODES][NODES];
    uint64_t epoch, ms;
    uint32_t frozen; /* what is sent to these waits */
    uint32_t away;   /* these have been away for long */
    bool lying;      /* some bytes change on the way */
    bool dull;       /* who loses power keeps nothing but what was synced */
    uint64_t far_ms; /* how long a packet is on its way */
    bool forgetful;  /* there is no memory for some of what arrives */
    uint32_t keep;   /* what is of these kinds is kept, to come once more: a bit for each */
    struct {
        uint32_t from, to;
        struct packet *packet;
    } kept[KEPT_MAX];
    uint32_t kept_count;
    struct rng rng;
    uint64_t seed;
    bool acked[1 << 14]; /* by key */
    uint32_t report_count;
    struct buffer report[REPORTS_MAX]; /* views look at them */
} net;

#define AGREE(condition) cr_assert(condition, "EG_SEED=%llu", (unsigned long long) net.seed)

/* ---- the network --------------------------------------------------------------------------- */

static struct node *node_by_id(uint64_t id) {
    for (uint32_t i = 0; i < net.count; i++)
        if (net.node[i].id == id)
            return &net.node[i];
    return NULL;
}

static eg_err send_packet(void *user, uint64_t to, struct value payload) {
    struct node *n = user;
    uint32_t from = (uint32_t) (n - net.node), target = (uint32_t) (node_by_id(to) - net.node);
    struct packet *p, **end = &n->out[target];

    if (net.cut[from][target])
        return EG_NO_REPLICA;
    p = malloc(sizeof *p + payload.size_bytes);
    p->next = NULL;
    p->due_ms = net.ms + net.far_ms;
    p->size_bytes = payload.size_bytes;
    memcpy(p->bytes, payload.at, payload.size_bytes);
    while (*end != NULL)
        end = &(*end)->next;
    *end = p;
    n->sent_bytes[target] += payload.size_bytes;
    return EG_OK;
}

static uint64_t no_pending(void *user, uint64_t to) {
    (void) user;
    (void) to;
    return 0;
}

static void on_progress(void *user) {
    ((struct node *) user)->progress = true;
}

static void on_stopped(void *user, struct view_id proposed) {
    ((struct node *) user)->stopped = proposed;
}

static void on_event(void *user, const char *state, uint64_t shards) {
    ((struct node *) user)->told = state;
    (void) shards;
}

/* One byte is another, and it is one whole value still, as the mesh would have it. */
static bool lie(struct packet *p) {
    size_t used_bytes;

    p->bytes[rng_below(&net.rng, p->size_bytes)] ^= (uint8_t) (1u << rng_below(&net.rng, 8));
    return value_scan(p->bytes, p->size_bytes, &used_bytes) == EG_OK && used_bytes == p->size_bytes;
}

static uint32_t kind_bit(const struct packet *p) {
    struct replica_head h;
    struct value_iter it;

    return replica_wire_open(&h, &it, value_of(p->bytes)) == EG_OK ? UINT32_C(1) << h.kind : 0;
}

static void keep_packet(uint32_t from, uint32_t to, const struct packet *p) {
    struct packet *copy = malloc(sizeof *p + p->size_bytes);

    AGREE(net.kept_count < KEPT_MAX);
    memcpy(copy, p, sizeof *p + p->size_bytes);
    net.kept[net.kept_count].from = from;
    net.kept[net.kept_count].to = to;
    net.kept[net.kept_count++].packet = copy;
}

/* All that was kept comes once more. */
static void hear_kept(void) {
    for (uint32_t i = 0; i < net.kept_count; i++) {
        struct packet *p = net.kept[i].packet;
        struct node *to = &net.node[net.kept[i].to];

        reader_enter(&to->w.reader);
        replica_receive(to->r, net.node[net.kept[i].from].id,
                        (struct value){p->bytes, p->size_bytes});
        reader_exit(&to->w.reader);
        free(p);
    }
    net.kept_count = 0;
}

/* One packet of each pair. */
static bool move_packets(void) {
    bool any = false;

    for (uint32_t from = 0; from < net.count; from++)
        for (uint32_t to = 0; to < net.count; to++) {
            struct packet *p = net.node[from].out[to];

            if (p == NULL || net.frozen & 1u << to || p->due_ms > net.ms)
                continue;
            any = true;
            net.node[from].out[to] = p->next;
            if (net.keep & kind_bit(p))
                keep_packet(from, to, p);
            if (net.lying && rng_one_in(&net.rng, 5) && !lie(p)) {
                free(p);
                continue;
            }
            if (net.forgetful && rng_one_in(&net.rng, 10))
                net.node[to].messages.left = 0;
            reader_enter(&net.node[to].w.reader);
            replica_receive(net.node[to].r, net.node[from].id,
                            (struct value){p->bytes, p->size_bytes});
            reader_exit(&net.node[to].w.reader);
            net.node[to].messages.left = INT_MAX;
            free(p);
        }
    return any;
}

static void cut(uint32_t a, uint32_t b) {
    const uint32_t pair[2][2] = {{a, b}, {b, a}};

    for (int i = 0; i < 2; i++) {
        struct packet *p;

        net.cut[pair[i][0]][pair[i][1]] = true;
        while ((p = net.node[pair[i][0]].out[pair[i][1]]) != NULL) {
            net.node[pair[i][0]].out[pair[i][1]] = p->next;
            free(p);
        }
        reader_enter(&net.node[pair[i][0]].w.reader);
        replica_node_down(net.node[pair[i][0]].r, net.node[pair[i][1]].id);
        reader_exit(&net.node[pair[i][0]].w.reader);
    }
}

static void tick(struct node *n) {
    reader_enter(&n->w.reader);
    replica_tick(n->r);
    reader_exit(&n->w.reader);
}

static void run_ms(uint64_t ms) {
    for (uint64_t i = 0; i < ms; i++) {
        for (uint32_t n = 0; n < net.count; n++) {
            stepper_run_ms(net.node[n].w.st, 1);
            if (net.ms % TICK_MS == n)
                tick(&net.node[n]);
        }
        net.ms++;
        for (int k = 0; k < 8 && move_packets(); k++)
            for (uint32_t n = 0; n < net.count; n++)
                stepper_run(net.node[n].w.st);
    }
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

static struct table *table_of(struct node *n) {
    struct table *t = table_world_find(&n->w, "t");
    cr_assert_not_null(t);
    return t;
}

static void start_replicas(struct node *n) {
    struct replica_opts o = {.alloc = alloc_system(),
                             .env = &n->w.st->env,
                             .runtime = n->w.st->rt,
                             .catalog = n->w.catalog,
                             .disc = disc_twin_disc(n->w.pump.twin),
                             .scheduler = 0,
                             .self = n->id,
                             .send = send_packet,
                             .pending_bytes = no_pending,
                             .progress = on_progress,
                             .stopped = on_stopped,
                             .event = on_event,
                             .user = n};

    cr_assert(replicas_open(&n->r, &o) == EG_OK);
}

static void take_answer(struct actor *self, void *state, struct message *m) {
    (void) self;
    (void) state;
    if (m->tag == EG_OK && m->ref < EG_COUNTOF(net.acked))
        net.acked[m->ref] = true;
}

static void start_client(struct node *n) {
    static const struct actor_ops ops = {.name = "client", .receive = take_answer};

    cr_assert(actor_spawn(n->w.st->rt, NULL, &(struct spawn_opts){.ops = &ops}, &n->client, NULL) ==
              EG_OK);
}

static void open_net(uint32_t count, uint32_t copies, const char *storage, uint64_t seed) {
    bool sync = strcmp(storage, "sync") == 0, one = strcmp(storage, "one") == 0;
    bool first = strcmp(storage, "first") == 0;
    uint8_t bytes[128];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);

    memset(&net, 0, sizeof net);
    net.count = count;
    net.seed = seed;
    net.rng = rng_of(seed);
    value_put_map(&w, 2u + (copies != 0) + sync + one + first);
    value_put_text(&w, "shards");
    value_put_u64(&w, SHARDS);
    value_put_text(&w, "storage");
    value_put_text(&w, sync ? "disc" : one || first ? "ram" : storage);
    if (first) {
        value_put_text(&w, "merge");
        value_put_text(&w, "first");
    }
    if (sync) {
        value_put_text(&w, "durability");
        value_put_text(&w, "sync");
    }
    if (one) {
        value_put_text(&w, "acks");
        value_put_u64(&w, 1);
    }
    if (copies != 0) {
        value_put_text(&w, "copies");
        value_put_u64(&w, copies);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct node *n = &net.node[i];

        n->id = 1000 + i;
        n->messages = fail_alloc_after(INT_MAX);
        table_world_prepare_with(&n->w, alloc_system(), &n->messages.base, seed + i + 1);
        AGREE(table_world_start(&n->w) == EG_OK);
        n->w.st->rng = rng_of(seed); /* alike for once: one table */
        AGREE(table_world_ask(&n->w, CATALOG_CREATE, "t",
                              (struct value){bytes, (uint32_t) w.need_bytes}) == EG_OK);
        AGREE(table_of(n)->seed == table_of(&net.node[0])->seed);
        n->w.st->rng = rng_of(seed + i + 1);
        start_replicas(n);
        start_client(n);
    }
}

static void close_net(void) {
    for (uint32_t i = 0; i < net.report_count; i++)
        buffer_fini(&net.report[i]);
    for (uint32_t i = 0; i < net.count; i++) {
        struct node *n = &net.node[i];

        replicas_end(n->r);
        stepper_run_ms(n->w.st, 10);
        AGREE(table_world_stop(&n->w) == EG_OK);
        replicas_close(n->r);
        table_world_close(&n->w);
        for (uint32_t k = 0; k < NODES; k++)
            for (struct packet *p = n->out[k], *next; p != NULL; p = next) {
                next = p->next;
                free(p);
            }
    }
}

/* ---- views
 * --------------------------------------------------------------------------------------- */

/* Off and on again, with its disc; `power`: what was not written yet is lost. */
static void restart(struct node *n, bool power) {
    replicas_end(n->r);
    stepper_run_ms(n->w.st, 10);
    if (power)
        disc_twin_fail_write(n->w.pump.twin, 1);
    AGREE(table_world_stop(&n->w) == EG_OK || power);
    replicas_close(n->r);
    if (power && net.dull)
        disc_twin_crash_keeping(n->w.pump.twin, 0);
    else if (power)
        disc_twin_crash(n->w.pump.twin);
    else
        disc_twin_restart(n->w.pump.twin);
    AGREE(table_world_start(&n->w) == EG_OK);
    n->lineage = (struct view_id){0, 0};
    start_replicas(n);
}

/* A view of the nodes in `mask`; `known` are all members there are. */
static void install(uint32_t mask, uint32_t known) {
    struct placement_node nodes[NODES];
    struct view_id proposed = {++net.epoch, 77 + mask};
    struct view *v;
    uint32_t count = 0, known_count = 0;

    for (uint32_t i = 0; i < net.count; i++) {
        if (known & 1u << i)
            nodes[known_count++] =
                (struct placement_node){net.node[i].id, 100, true, (net.away & 1u << i) == 0};
        if (mask & 1u << i) {
            struct node *n = &net.node[i];
            reader_enter(&n->w.reader);
            replica_stop(n->r, proposed);
            reader_exit(&n->w.reader);
            for (int k = 0; k < 200 && !view_id_equal(n->stopped, proposed); k++) {
                stepper_run_ms(n->w.st, 1);
                tick(n);
            }
            AGREE(view_id_equal(n->stopped, proposed));
            for (uint32_t s = 0; s < SHARDS; s++)
                AGREE(table_role(table_of(n), s) == SHARD_STOPPED);
            count++;
        }
    }
    v = alloc_zero(alloc_system(), sizeof *v + count * sizeof v->member[0]);
    v->id = proposed;
    v->alloc = alloc_system();
    v->size_bytes = sizeof *v + count * sizeof v->member[0];
    atomic_init(&v->refs, 1);
    for (uint32_t i = 0; i < net.count; i++) {
        struct node *n = &net.node[i];

        struct buffer *report = &net.report[net.report_count];

        if ((mask & 1u << i) == 0)
            continue;
        AGREE(++net.report_count < REPORTS_MAX);
        buffer_init(report, alloc_system(), SIZE_MAX);
        reader_enter(&n->w.reader);
        AGREE(replica_report(n->r, report) == EG_OK);
        reader_exit(&n->w.reader);
        v->member[v->count++] =
            (struct view_member){.id = n->id,
                                 .incarnation = 1,
                                 .lineage = n->lineage,
                                 .report = {report->at, (uint32_t) report->size_bytes}};
    }
    v->principal = v->member[0].id;
    for (uint32_t i = 0; i < net.count; i++)
        if (mask & 1u << i) {
            reader_enter(&net.node[i].w.reader);
            AGREE(replica_install(net.node[i].r, v, nodes, known_count) == EG_OK);
            reader_exit(&net.node[i].w.reader);
            net.node[i].lineage = proposed;
            net.node[i].progress = false;
        }
    view_unref(v);
}

static bool settled(uint32_t mask) {
    for (uint32_t i = 0; i < net.count; i++)
        for (uint32_t s = 0; s < SHARDS && mask & 1u << i; s++) {
            enum shard_role role = table_role(table_of(&net.node[i]), s);
            if (role == SHARD_FILLING || role == SHARD_STOPPED)
                return false;
        }
    return true;
}

static void settle(uint32_t mask) {
    for (int ms = 0; ms < SETTLE_MS && !settled(mask); ms += 10)
        run_ms(10);
    AGREE(settled(mask));
}

/* ---- requests
 * --------------------------------------------------------------------------------------- */

static struct value record_of(uint8_t *bytes, size_t room, uint64_t key, uint64_t n) {
    uint8_t fill[RECORD_BYTES] = {0};
    struct value_writer w = value_writer_init(bytes, room);

    memcpy(fill, &n, sizeof n);
    value_put_array(&w, 2);
    value_put_u64(&w, key);
    value_put_binary(&w, fill, RECORD_BYTES - 12);
    return (struct value){bytes, (uint32_t) w.need_bytes};
}

static struct node *master_of(struct node *n, uint64_t key) {
    uint8_t bytes[16];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    struct key k;
    uint32_t shard;

    value_put_u64(&w, key);
    AGREE(table_key(table_of(n), &k, (struct value){bytes, (uint32_t) w.need_bytes}) == EG_OK);
    shard = shard_of(table_of(n), k.hash)->number;
    key_release(&k);
    return node_by_id(replica_master(n->r, table_of(n), shard));
}

/* Send a change to a node; its REPLY has the key as its ref. */
static bool ask_at(struct node *m, enum shard_op op, uint64_t key, uint64_t number, bool dirty) {
    uint8_t bytes[RECORD_BYTES + 32];
    struct value v = record_of(bytes, sizeof bytes, key, number);
    struct shard_request q = {.op = op, .attribute = SHARD_NO_ATTRIBUTE, .dirty = dirty};
    struct message *msg;
    struct err_note note;
    eg_pid to;

    if (op == SHARD_DELETE)
        AGREE(array_element(v, 0, &q.key));
    else
        q.value = v;
    reader_enter(&m->w.reader);
    AGREE(table_message(table_of(m), &q, &to, &msg, &note) == EG_OK);
    reader_exit(&m->w.reader);
    msg->ref = key;
    return runtime_send(m->w.st->rt, m->client, to, msg) == EG_OK;
}

/* To the master as `n` knows it. */
static bool ask(struct node *n, enum shard_op op, uint64_t key, uint64_t number) {
    struct node *m = master_of(n, key);
    return m != NULL && ask_at(m, op, key, number, false);
}

static const struct record *get(struct node *n, uint64_t key) {
    uint8_t bytes[16];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    const struct record *rec;
    struct key k;

    value_put_u64(&w, key);
    AGREE(table_key(table_of(n), &k, (struct value){bytes, (uint32_t) w.need_bytes}) == EG_OK);
    rec = table_get(table_of(n), &n->w.reader, &k);
    key_release(&k);
    return rec;
}

static uint64_t size_of(struct node *n) {
    uint64_t size;

    reader_enter(&n->w.reader);
    size = table_size(table_of(n), &n->w.reader);
    reader_exit(&n->w.reader);
    return size;
}

static void equal_copies(uint32_t mask, uint64_t keys) {
    for (uint32_t i = 0; i < net.count; i++) {
        if ((mask & 1u << i) == 0)
            continue;
        reader_enter(&net.node[i].w.reader);
        table_world_check(&net.node[i].w, table_of(&net.node[i]));
        for (uint64_t k = 0; k < keys; k++) {
            const struct record *mine = get(&net.node[i], k), *other = get(&net.node[0], k);
            AGREE((mine == NULL) == (other == NULL));
            if (mine != NULL)
                AGREE(value_equal(record_value(mine), record_value(other)));
        }
        reader_exit(&net.node[i].w.reader);
    }
}

static void fill(struct node *n, uint64_t from, uint64_t to) {
    memset(net.acked, 0, sizeof net.acked);
    for (uint64_t k = from; k < to; k++)
        AGREE(ask(n, SHARD_WRITE, k, k));
    for (int ms = 0; ms < 1000; ms++) {
        bool all = true;

        run_ms(1);
        for (uint64_t k = from; k < to; k++)
            all &= net.acked[k];
        if (all)
            return;
    }
    cr_assert_fail("not all were acknowledged");
}

/* ---- tests
 * ---------------------------------------------------------------------------------------------- */

Test(replica, a_write_is_answered_when_all_copies_have_it) {
    open_net(3, 0, "ram", 1);
    install(7, 7);
    settle(7);
    for (uint64_t k = 0; k < 100; k++) {
        AGREE(ask(&net.node[k % 3], SHARD_WRITE, k, k));
        for (int i = 0; i < 20 && !net.acked[k]; i++)
            run_ms(1);
        AGREE(net.acked[k]);
        for (uint32_t i = 0; i < 3; i++) {
            reader_enter(&net.node[i].w.reader);
            cr_assert_not_null(get(&net.node[i], k), "node %u key %llu", i, (unsigned long long) k);
            reader_exit(&net.node[i].w.reader);
        }
    }
    equal_copies(7, 100);
    close_net();
}

static bool stands(struct node *n, uint64_t key) {
    uint8_t bytes[16];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    struct key k;
    bool yes;

    value_put_u64(&w, key);
    reader_enter(&n->w.reader);
    AGREE(table_key(table_of(n), &k, (struct value){bytes, (uint32_t) w.need_bytes}) == EG_OK);
    yes = table_read_stands(table_of(n), &n->w.reader, &k);
    AGREE(yes == table_got_stands(table_of(n), &n->w.reader, &k,
                                  table_get(table_of(n), &n->w.reader, &k)));
    key_release(&k);
    reader_exit(&n->w.reader);
    return yes;
}

/* Ask the master to say when all have what is there; its answer comes under `ref`. */
static void ask_to_settle(struct node *n, uint64_t key, uint64_t ref) {
    uint8_t bytes[16];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    struct message *m;
    eg_pid to;

    value_put_u64(&w, key);
    reader_enter(&n->w.reader);
    AGREE(table_settle_message(
              table_of(n),
              table_shard_of_key(table_of(n), (struct value){bytes, (uint32_t) w.need_bytes}), &to,
              &m) == EG_OK);
    reader_exit(&n->w.reader);
    m->ref = ref;
    net.acked[ref] = false;
    AGREE(runtime_send(n->w.st->rt, n->client, to, m) == EG_OK);
}

/* A change that one copy has and another has not is shown by none of them. */
Test(replica, what_is_not_on_all_copies_is_not_shown) {
    const enum shard_op ops[] = {SHARD_WRITE, SHARD_DELETE};

    open_net(3, 0, "ram", 10);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, 40);
    run_ms(100);
    for (uint64_t k = 0; k < 40; k++) {
        uint32_t master = (uint32_t) (master_of(&net.node[0], k) - net.node);
        uint32_t late = (master + 1) % 3, early = (master + 2) % 3;

        for (uint32_t i = 0; i < 3; i++)
            AGREE(stands(&net.node[i], k));
        net.frozen = 1u << late; /* hears nothing for a while */
        net.acked[k] = false;
        AGREE(ask(&net.node[0], ops[k % 2], k, 1000 + k));
        run_ms(10);
        AGREE(!net.acked[k]);
        AGREE(!stands(&net.node[master], k));
        AGREE(!stands(&net.node[early], k));
        AGREE(stands(&net.node[late], k));
        ask_to_settle(&net.node[master], k, 1000 + k);
        run_ms(10);
        AGREE(!net.acked[1000 + k]);
        net.frozen = 0;
        run_ms(60);
        AGREE(net.acked[k]);
        AGREE(net.acked[1000 + k]);
    }
    equal_copies(7, 40);
    close_net();
}

/* No copy has moved a byte when it is answered; all have it soon. */
Test(replica, with_acks_one_nobody_is_waited_for) {
    open_net(3, 0, "one", 8);
    install(7, 7);
    settle(7);
    for (uint64_t k = 0; k < 20; k++) {
        AGREE(ask(&net.node[0], SHARD_WRITE, k, k));
        for (uint32_t i = 0; i < 3; i++)
            stepper_run(net.node[i].w.st);
        AGREE(net.acked[k]);
    }
    run_ms(20);
    equal_copies(7, 20);
    close_net();
}

/* Each copy's disc has it before it is answered. */
Test(replica, a_sync_table_waits_for_all_discs) {
    open_net(3, 0, "sync", 9);
    install(7, 7);
    settle(7);
    for (uint32_t i = 0; i < 3; i++) {
        net.node[i].w.pump.still = true;
        AGREE(ask(&net.node[0], SHARD_WRITE, i, i));
        run_ms(50);
        AGREE(!net.acked[i]);
        net.node[i].w.pump.still = false;
        disc_pump_go_on(&net.node[i].w.pump);
        run_ms(50);
        AGREE(net.acked[i]);
    }
    fill(&net.node[0], 10, 100);
    equal_copies(7, 100);
    close_net();
}

Test(replica, one_that_was_away_gets_what_it_missed_and_no_more) {
    enum { ALL = 2000, MISSED = 200 };
    uint64_t before, got;

    open_net(3, 0, "ram", 2);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    for (uint32_t i = 0; i < 2; i++)
        cut(i, 2);
    install(3, 7);
    settle(3);
    fill(&net.node[0], ALL, ALL + MISSED);
    for (uint32_t i = 0; i < 2; i++)
        net.cut[i][2] = net.cut[2][i] = false;
    before = net.node[0].sent_bytes[2] + net.node[1].sent_bytes[2];
    install(7, 7);
    settle(7);
    got = net.node[0].sent_bytes[2] + net.node[1].sent_bytes[2] - before;
    cr_assert(got <= MISSED * RECORD_BYTES * 13 / 10, "%llu bytes", (unsigned long long) got);
    equal_copies(7, ALL + MISSED);
    close_net();
}

Test(replica, deletes_reach_one_that_was_away_and_graves_go) {
    enum { ALL = 200 };
    open_net(3, 0, "ram", 3);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    for (uint32_t i = 0; i < 2; i++)
        cut(i, 2);
    install(3, 7);
    settle(3);
    for (uint64_t k = 0; k < ALL; k += 2)
        AGREE(ask(&net.node[0], SHARD_DELETE, k, 0));
    run_ms(3000); /* graves stay while a copy is away */
    for (uint32_t i = 0; i < 2; i++)
        net.cut[i][2] = net.cut[2][i] = false;
    install(7, 7);
    settle(7);
    equal_copies(7, ALL);
    cr_assert_eq(size_of(&net.node[2]), ALL / 2);
    run_ms(5000);
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t s = 0; s < SHARDS; s++)
            cr_assert_eq(table_of(&net.node[i])->shard[s].copy->graves.count, 0, "node %u", i);
    close_net();
}

static uint64_t graves_of(struct node *n) {
    uint64_t graves = 0;

    for (uint32_t s = 0; s < SHARDS; s++)
        graves += table_of(n)->shard[s].copy->graves.count;
    return graves;
}

Test(replica, what_is_deleted_stays_so_where_power_takes_the_last_writes) {
    enum { ALL = 40 };

    open_net(3, 0, "disc", 31);
    net.dull = true;
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    AGREE(table_world_ask(&net.node[2].w, CATALOG_SYNC, "t", (struct value){0}) == EG_OK);
    for (uint64_t k = 0; k < ALL; k += 2)
        AGREE(ask(&net.node[0], SHARD_DELETE, k, 0));
    run_ms(100);
    cr_assert_eq(graves_of(&net.node[0]), ALL / 2);
    run_ms(5000);
    cr_assert_eq(graves_of(&net.node[0]) + graves_of(&net.node[1]) + graves_of(&net.node[2]), 0);
    for (uint32_t i = 0; i < 2; i++)
        cut(i, 2);
    restart(&net.node[2], true);
    for (uint32_t i = 0; i < 2; i++)
        net.cut[i][2] = net.cut[2][i] = false;
    install(7, 7);
    settle(7);
    cr_assert_eq(size_of(&net.node[2]), ALL / 2);
    equal_copies(7, ALL);
    close_net();
}

/* It can neither take what it lacks nor say that it has it, and nobody waits for it. */
Test(replica, others_go_on_without_the_copies_of_a_broken_disc) {
    enum { ALL = 40 };

    open_net(3, 0, "sync", 37);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    disc_twin_fail_write(net.node[0].w.pump.twin, 1);
    for (uint64_t k = 0; k < ALL; k++)
        AGREE(ask(&net.node[1], SHARD_WRITE, k, k + ALL)); /* what becomes of them nobody knows */
    run_ms(200);
    cr_assert(net.node[0].progress);
    install(7, 7);
    settle(6);
    for (uint64_t k = 0; k < ALL; k++)
        cr_assert_neq(master_of(&net.node[1], k)->id, net.node[0].id);
    fill(&net.node[1], 0, ALL);
    restart(&net.node[0], true);
    install(7, 7);
    settle(7);
    equal_copies(7, ALL);
    close_net();
}

/* Its clock says nothing of them yet, and must not be taken for equal by who has none of them. */
Test(replica, what_came_without_an_end_is_told_to_others_also_after_a_restart) {
    enum { ALL = 200 };

    open_net(3, 0, "disc", 33);
    install(1, 7);
    settle(1);
    fill(&net.node[0], 0, ALL);
    install(5, 7);
    for (int ms = 0; ms < SETTLE_MS && size_of(&net.node[2]) == 0; ms++) {
        move_packets();
        for (uint32_t n = 0; n < net.count; n++)
            stepper_run_ms(net.node[n].w.st, 1);
    }
    cut(0, 2);
    restart(&net.node[2], false);
    install(6, 7);
    settle(6);
    cr_assert_gt(size_of(&net.node[1]), 0);
    cr_assert_eq(size_of(&net.node[1]), size_of(&net.node[2]));
    net.cut[0][2] = net.cut[2][0] = false;
    install(7, 7);
    settle(7);
    equal_copies(7, ALL);
    close_net();
}

Test(replica, an_empty_one_fills_while_writes_go_on) {
    enum { ALL = 3000, MORE = 500 };

    open_net(3, 0, "ram", 4);
    install(1, 1);
    settle(1);
    fill(&net.node[0], 0, ALL);
    install(7, 7);
    fill(&net.node[0], ALL, ALL + MORE);
    settle(7);
    equal_copies(7, ALL + MORE);
    cr_assert_eq(size_of(&net.node[2]), ALL + MORE);
    close_net();
}

Test(replica, both_sides_of_a_cut_come_together) {
    enum { EACH = 150 };

    open_net(4, 0, "ram", 5);
    install(15, 15);
    settle(15);
    fill(&net.node[0], 0, EACH);
    for (uint32_t a = 0; a < 2; a++)
        for (uint32_t b = 2; b < 4; b++)
            cut(a, b);
    install(3, 15);
    install(12, 15);
    settle(15);
    fill(&net.node[0], EACH, 2 * EACH);
    fill(&net.node[3], 2 * EACH, 3 * EACH);
    memset(net.cut, 0, sizeof net.cut);
    install(15, 15);
    settle(15);
    equal_copies(15, 3 * EACH);
    cr_assert_eq(size_of(&net.node[1]), 3 * EACH);
    close_net();
}

/* Both sides of a cut write to all keys, first one side and then the other. */
static void write_on_both_sides(const char *policy, uint32_t first, uint32_t last, uint64_t wins) {
    enum { KEYS = 60 };

    open_net(4, 0, policy, 7);
    install(15, 15);
    settle(15);
    fill(&net.node[0], 0, KEYS);
    for (uint32_t a = 0; a < 2; a++)
        for (uint32_t b = 2; b < 4; b++)
            cut(a, b);
    install(3, 15);
    install(12, 15);
    settle(15);
    for (uint64_t k = 0; k < KEYS; k++)
        AGREE(ask(&net.node[first], SHARD_WRITE, k, 1000 + k));
    run_ms(50);
    for (uint64_t k = 0; k < KEYS; k++)
        AGREE(ask(&net.node[last], SHARD_WRITE, k, 2000 + k));
    run_ms(50);
    memset(net.cut, 0, sizeof net.cut);
    install(15, 15);
    settle(15);
    equal_copies(15, KEYS);
    reader_enter(&net.node[1].w.reader);
    for (uint64_t k = 0; k < KEYS; k++) {
        uint8_t bytes[RECORD_BYTES + 32];

        AGREE(value_equal(record_value(get(&net.node[1], k)),
                          record_of(bytes, sizeof bytes, k, wins + k)));
    }
    reader_exit(&net.node[1].w.reader);
    close_net();
}

Test(replica, versions_of_both_sides_are_merged_by_the_policy) {
    write_on_both_sides("ram", 0, 3, 2000);
    write_on_both_sides("ram", 3, 0, 2000);
    write_on_both_sides("first", 0, 3, 1000);
    write_on_both_sides("first", 3, 0, 1000);
}

/* Two copies on four nodes: who is placed gets one, who is not lets go of his. */
Test(replica, copies_move_to_where_they_belong) {
    enum { ALL = 400 };
    uint64_t sum = 0;

    open_net(4, 2, "ram", 6);
    install(1, 1);
    settle(1);
    fill(&net.node[0], 0, ALL);
    install(15, 15);
    settle(15);
    fill(&net.node[0], ALL, 2 * ALL);
    install(15, 15); /* reports that all are full */
    settle(15);
    run_ms(200);
    for (uint32_t i = 0; i < 4; i++) {
        sum += size_of(&net.node[i]);
    }
    cr_assert_eq(sum, 2 * 2 * ALL);
    install(15, 15); /* who let go has nothing, and wants nothing */
    run_ms(200);
    for (uint32_t i = 0; i < 4; i++)
        AGREE(!net.node[i].progress);
    fill(&net.node[1], 0, ALL);
    close_net();
}

/* How often a record's second field has been put into an array. */
static uint32_t wrapped(struct value array) {
    struct value v;
    uint32_t depth = 0;

    AGREE(array_element(array, 1, &v));
    for (; value_kind_of(v) == VALUE_ARRAY; depth++)
        AGREE(array_element(v, 0, &v));
    return depth;
}

static void wrap_all(struct node *n) {
    uint8_t bytes[128];

    AGREE(table_world_ask(&n->w, CATALOG_ALTER, "t",
                          text_value(bytes, sizeof bytes,
                                     "['transform_table', [[['$1', '$2'], [], [[['$1', [['$2']]]]]]"
                                     "], nil]")) == EG_OK);
}

/* Nodes change a table one after the other.  What one tells of its new records must not be taken
 * for old ones by another, or the other way round: each is changed once. */
static void change_layout(const char *storage, uint32_t first) {
    enum { OLD = 60, MORE = 20 };
    uint64_t written = OLD;

    open_net(3, 0, storage, 21);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, OLD);
    for (uint32_t i = 0; i < 3; i++) {
        for (uint64_t end = written + MORE; written < end; written++)
            AGREE(ask(&net.node[written % 3], SHARD_WRITE, written, written));
        run_ms(written % 3); /* some are under way still */
        wrap_all(&net.node[(first + i) % 3]);
    }
    settle(7);
    run_ms(2000);
    for (uint64_t k = 0; k < written; k++)
        AGREE(net.acked[k]);
    equal_copies(7, written);
    reader_enter(&net.node[0].w.reader);
    for (uint64_t k = 0; k < written; k++)
        AGREE(wrapped(record_value(get(&net.node[0], k))) <= 1);
    for (uint64_t k = 0; k < OLD; k++)
        AGREE(wrapped(record_value(get(&net.node[0], k))) == 1);
    reader_exit(&net.node[0].w.reader);
    close_net();
}

Test(replica, records_are_changed_once_whoever_changes_the_table_first) {
    for (uint32_t first = 0; first < 3; first++)
        change_layout("ram", first);
    change_layout("disc", 1);
}

/* It takes longer than a copy waits before it asks again. */
Test(replica, a_link_of_a_long_way_fills_too) {
    enum { ALL = 2000 };
    uint64_t bytes;

    open_net(2, 0, "ram", 14);
    install(1, 3);
    settle(1);
    fill(&net.node[0], 0, ALL);
    net.far_ms = 400;
    install(3, 3);
    bytes = net.node[0].sent_bytes[1];
    settle(3);
    cr_assert(net.node[0].sent_bytes[1] - bytes < ALL * RECORD_BYTES * 3 / 2);
    equal_copies(3, ALL);
    close_net();
}

/* What another node said and there was no memory for is known to be missing. */
Test(replica, what_there_is_no_memory_for_is_said_again) {
    enum { ROUNDS = 10, EACH = 40, KEYS = ROUNDS * EACH };

    open_net(3, 0, "ram", rng_test_seed(15));
    for (uint64_t round = 0; round < ROUNDS; round++) {
        net.forgetful = true;
        install(7, 7);
        for (uint64_t k = round * EACH; k < (round + 1) * EACH; k++) {
            (void) ask(&net.node[k % 3], SHARD_WRITE, k, k);
            run_ms(rng_below(&net.rng, 10));
        }
        net.forgetful = false;
        settle(7);
        for (uint64_t k = round * EACH; k < (round + 1) * EACH; k++)
            AGREE(ask(&net.node[0], SHARD_WRITE, k, k));
        run_ms(300);
        equal_copies(7, (round + 1) * EACH);
        for (uint64_t k = 0; k < (round + 1) * EACH; k++)
            AGREE(net.acked[k]);
    }
    close_net();
}

/* A master that has stopped for the next view serves nobody, whoever comes and goes. */
/* The copies of node b follow their masters of node a anew, and those its. */
static void follow_anew(uint32_t a, uint32_t b) {
    reader_enter(&net.node[b].w.reader);
    replica_node_down(net.node[b].r, net.node[a].id);
    reader_exit(&net.node[b].w.reader);
}

/* A FOLLOW from before comes once more: who asked has been counted since, and still is. */
Test(replica, a_follow_that_comes_late_makes_nobody_uncounted) {
    open_net(2, 0, "ram", 1);
    net.keep = UINT32_C(1) << REPLICA_FOLLOW;
    install(3, 3);
    settle(3);
    net.keep = 0;
    follow_anew(0, 1);
    follow_anew(1, 0);
    run_ms(50);
    settle(3);
    hear_kept();
    run_ms(5);
    net.frozen = 3;
    for (uint64_t k = 0; k < 20; k++)
        AGREE(ask(&net.node[0], SHARD_WRITE, k, k));
    run_ms(200);
    for (uint64_t k = 0; k < 20; k++)
        cr_assert(!net.acked[k], "key %llu is on one node", (unsigned long long) k);
    net.frozen = 0;
    run_ms(200);
    equal_copies(3, 20);
    close_net();
}

Test(replica, who_has_stopped_does_not_begin_again) {
    const eg_exit kill = exit_reason(EG_EXIT_KILL);
    struct view_id proposed = {1000, 1};

    open_net(3, 0, "ram", 16);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, 40);
    for (uint32_t i = 0; i < 3; i++) {
        reader_enter(&net.node[i].w.reader);
        replica_stop(net.node[i].r, proposed);
        reader_exit(&net.node[i].w.reader);
        run_ms(50); /* the others go on, and hear nothing of it */
        AGREE(view_id_equal(net.node[i].stopped, proposed));
        for (uint32_t s = 0; s < SHARDS; s++)
            for (uint32_t k = 0; k < 3; k++)
                actor_exit_send(net.node[k].w.st->rt, EG_PID_NONE,
                                shard_pid(&table_of(&net.node[k])->shard[s]), &kill);
        for (int ms = 0; ms < 1000; ms++) {
            run_ms(1);
            for (uint32_t s = 0; s < SHARDS; s++)
                for (uint32_t k = 0; k <= i; k++)
                    AGREE(table_role(table_of(&net.node[k]), s) == SHARD_STOPPED);
        }
    }
    install(7, 7);
    settle(7);
    equal_copies(7, 40);
    close_net();
}

/* While it serves, and others write. */
static void leave(uint32_t copies, const char *storage) {
    enum { ALL = 300 };
    struct node *gone = &net.node[0];
    uint64_t sum = 0, written = ALL;

    open_net(3, copies, storage, 20 + copies);
    install(7, 7);
    settle(7);
    fill(&net.node[1], 0, ALL);
    AGREE(size_of(gone) != 0);
    replica_say(gone->r, REPLICA_LEAVING);
    for (int round = 0; round < 6 && !replica_has_left(gone->r); round++) {
        install(7, 7);
        AGREE(copies == 3 || round != 0 || !replica_has_left(gone->r));
        settle(7);
        fill(&net.node[round % 3], written, written + 50);
        written += 50;
    }
    AGREE(replica_has_left(gone->r));
    run_ms(100);
    AGREE(size_of(gone) == 0 && replica_held_by(gone->r, gone->id) != 0);
    install(7, 7); /* it does not get again what it has let go */
    settle(7);
    run_ms(100);
    AGREE(size_of(gone) == 0 && replica_held_by(gone->r, gone->id) == 0);
    install(6, 6);
    settle(6);
    for (uint32_t i = 1; i < 3; i++)
        sum += size_of(&net.node[i]);
    AGREE(sum == written * EG_MIN(copies, 2u));
    for (uint64_t k = 0; k < written; k++) {
        struct node *m = master_of(&net.node[1], k);
        AGREE(m != NULL && m != gone);
        reader_enter(&m->w.reader);
        AGREE(get(m, k) != NULL);
        reader_exit(&m->w.reader);
    }
    close_net();
}

Test(replica, who_leaves_hands_over_what_it_has) {
    leave(1, "ram");
    leave(2, "ram");
    leave(2, "disc");
    leave(3, "ram");
}

/* Nobody else may have it: it is not handed over, and stays. */
Test(replica, who_has_the_only_copy_that_there_can_be_keeps_it) {
    open_net(2, 1, "ram", 24);
    install(3, 3);
    settle(3);
    fill(&net.node[0], 0, 100);
    replica_say(net.node[0].r, REPLICA_LEAVING);
    replica_say(net.node[1].r, REPLICA_LEAVING);
    for (int round = 0; round < 3; round++) {
        install(3, 3);
        settle(3);
        run_ms(100);
    }
    AGREE(!replica_has_left(net.node[0].r) && !replica_has_left(net.node[1].r));
    AGREE(size_of(&net.node[0]) + size_of(&net.node[1]) == 100);
    fill(&net.node[0], 100, 200);
    close_net();
}

/* Who stands in for it has nothing of it, and says so instead of serving that. */
Test(replica, what_only_one_has_who_is_away_is_not_served_empty) {
    struct node_info who = {.id = 1002};
    uint32_t lost = 0;

    open_net(3, 1, "ram", 25);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, 200);
    AGREE(size_of(&net.node[2]) != 0);
    net.away = 4;
    install(3, 7);
    settle(3);
    install(3, 7);
    settle(3);
    for (uint64_t k = 0; k < 200; k++)
        lost += master_of(&net.node[0], k) == NULL;
    reader_enter(&net.node[0].w.reader);
    AGREE(replica_only_with(net.node[0].r, &who) == table_of(&net.node[0]));
    reader_exit(&net.node[0].w.reader);
    net.away = 0;
    install(7, 7);
    settle(7);
    AGREE(lost == size_of(&net.node[2]));
    reader_enter(&net.node[0].w.reader);
    AGREE(replica_only_with(net.node[0].r, &who) == NULL);
    reader_exit(&net.node[0].w.reader);
    fill(&net.node[0], 0, 200);
    close_net();
}

/* ---- a disc that takes no more */

static uint32_t roles_of(struct node *n, enum shard_role role) {
    uint32_t count = 0;

    for (uint32_t s = 0; s < SHARDS; s++)
        count += table_role(table_of(n), s) == role;
    return count;
}

/* Changes through node 0 of those keys whose master is or is not the last node. */
static void change(uint64_t to, bool of_last, bool goes) {
    memset(net.acked, 0, sizeof net.acked);
    for (uint64_t k = 0; k < to; k++)
        if ((master_of(&net.node[0], k) == &net.node[2]) == of_last)
            AGREE(ask(&net.node[0], SHARD_WRITE, k, 7));
    run_ms(200);
    for (uint64_t k = 0; k < to; k++)
        if ((master_of(&net.node[0], k) == &net.node[2]) == of_last)
            AGREE(net.acked[k] == goes);
}

static void disc_fills_up(const char *storage) {
    enum { ALL = 200 };
    struct node *full = &net.node[2];

    open_net(3, 0, storage, 30);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    AGREE(replica_watch(full->r)); /* the first report said little */
    disc_twin_set_full(full->w.pump.twin, true);
    change(ALL, true, false); /* another is to be master of these */
    change(ALL, false, true); /* and these do not wait for it    */
    AGREE(roles_of(full, SHARD_FILLING) != 0);
    AGREE(replica_watch(full->r));
    AGREE(strcmp(full->told, "filling") == 0);
    replica_say(full->r, REPLICA_DISC_FULL);
    for (int i = 0; i < 2; i++) {
        install(7, 7);
        run_ms(200);
        AGREE(roles_of(full, SHARD_FILLING) == SHARDS);
        fill(&net.node[i], 0, ALL);
    }
    reader_enter(&full->w.reader);
    AGREE(replica_state_of(full->r, full->id) == REPLICA_DISC_FULL);
    reader_exit(&full->w.reader);
    disc_twin_set_full(full->w.pump.twin, false); /* it follows by itself */
    settle(7);
    replica_say(full->r, 0);
    install(7, 7);
    settle(7);
    AGREE(!replica_watch(full->r));
    AGREE(strcmp(full->told, "full") == 0);
    fill(&net.node[0], 0, ALL);
    run_ms(100);
    equal_copies(7, ALL);
    close_net();
}

Test(replica, a_full_disc_stops_its_own_copies_only) {
    disc_fills_up("disc");
    disc_fills_up("sync");
    disc_fills_up("disc_only");
}

/* Nobody is better off: then changes are refused, and reads go on. */
Test(replica, where_all_discs_are_full_the_master_stays) {
    open_net(2, 0, "disc", 31);
    install(3, 3);
    settle(3);
    fill(&net.node[0], 0, 50);
    for (uint32_t i = 0; i < 2; i++) {
        disc_twin_set_full(net.node[i].w.pump.twin, true);
        replica_say(net.node[i].r, REPLICA_DISC_FULL);
    }
    install(3, 3);
    settle(3);
    for (uint64_t k = 0; k < 50; k++)
        AGREE(master_of(&net.node[0], k) != NULL);
    equal_copies(3, 50);
    for (uint32_t i = 0; i < 2; i++) {
        disc_twin_set_full(net.node[i].w.pump.twin, false);
        replica_say(net.node[i].r, 0);
    }
    fill(&net.node[0], 0, 50);
    close_net();
}

/* It alone has all, and cannot take what another has besides, who would wait for it for ever. */
Test(replica, a_master_whose_disc_takes_nothing_makes_way_for_one_that_can_hear_it) {
    enum { BOTH = 50, LEFT = 60, ALL = 70 };
    struct node *full = &net.node[0], *other = &net.node[1];

    open_net(2, 0, "disc", 32);
    install(3, 3);
    settle(3);
    fill(full, 0, BOTH);
    cut(0, 1);
    install(1, 3);
    install(2, 3);
    run_ms(100);
    fill(full, BOTH, LEFT);
    fill(other, LEFT, ALL);
    restart(other, false); /* it does not say that it has all */
    memset(net.cut, 0, sizeof net.cut);
    disc_twin_set_full(full->w.pump.twin, true);
    replica_say(full->r, REPLICA_DISC_FULL);
    install(3, 3);
    run_ms(500);
    AGREE(full->progress && roles_of(other, SHARD_FILLING) != 0);
    for (int round = 0; round < 2; round++) {
        install(3, 3);
        run_ms(500);
        AGREE(roles_of(other, SHARD_ALONE) == SHARDS && size_of(other) == ALL);
        AGREE(roles_of(full, SHARD_FILLING) == SHARDS);
    }
    disc_twin_set_full(full->w.pump.twin, false);
    replica_say(full->r, 0);
    settle(3);
    equal_copies(3, ALL);
    close_net();
}

Test(replica, a_disc_node_that_restarts_gets_what_it_missed) {
    enum { ALL = 600, MISSED = 100 };
    uint64_t before, got;

    open_net(3, 0, "disc", 12);
    install(7, 7);
    settle(7);
    fill(&net.node[0], 0, ALL);
    run_ms(50);
    for (uint32_t i = 0; i < 2; i++)
        cut(i, 2);
    restart(&net.node[2], false);
    install(3, 7);
    install(4, 7);
    settle(7);
    fill(&net.node[0], ALL, ALL + MISSED);
    memset(net.cut, 0, sizeof net.cut);
    before = net.node[0].sent_bytes[2] + net.node[1].sent_bytes[2];
    install(7, 7);
    settle(7);
    got = net.node[0].sent_bytes[2] + net.node[1].sent_bytes[2] - before;
    cr_assert(got <= MISSED * RECORD_BYTES * 13 / 10, "%llu bytes", (unsigned long long) got);
    equal_copies(7, ALL + MISSED);
    close_net();
}

/* What each node has lost, another may have. */
Test(replica, all_lose_power_one_after_the_other) {
    enum { EACH = 60, TIMES = 6 };

    open_net(3, 0, "disc", rng_test_seed(13));
    install(7, 7);
    settle(7);
    for (uint64_t k = 0; k < TIMES; k++) {
        uint32_t off = (uint32_t) (k % 3), others = 7 & ~(1u << off);

        fill(&net.node[0], k * EACH, (k + 1) * EACH);
        for (uint32_t i = 0; i < 3; i++)
            if (i != off)
                cut(i, off);
        restart(&net.node[off], true);
        install(others, 7);
        install(1u << off, 7);
        run_ms(20);
        memset(net.cut, 0, sizeof net.cut);
        install(7, 7);
        settle(7);
    }
    equal_copies(7, TIMES * EACH);
    cr_assert_eq(size_of(&net.node[0]), TIMES * EACH);
    close_net();
}

/* How many serve the key's shard, and how many of them have it. */
static uint32_t holders(uint64_t key, uint32_t *full) {
    uint8_t bytes[16];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    uint32_t has = 0, shard;
    struct key k;

    value_put_u64(&w, key);
    AGREE(table_key(table_of(&net.node[0]), &k, (struct value){bytes, (uint32_t) w.need_bytes}) ==
          EG_OK);
    shard = shard_of(table_of(&net.node[0]), k.hash)->number;
    key_release(&k);
    for (uint32_t i = 0; i < net.count; i++) {
        struct node *n = &net.node[i];

        if (table_role(table_of(n), shard) > SHARD_FULL)
            continue;
        ++*full;
        reader_enter(&n->w.reader);
        has += get(n, key) != NULL;
        reader_exit(&n->w.reader);
    }
    return has;
}

/* Nothing that was acknowledged is lost, whatever views and deaths of actors come between; also
 * where one copy alone has acknowledged it (some of them `dirty`). */
static void storm_of(const char *storage, uint32_t copies, bool dirty, uint64_t seed) {
    enum { ROUNDS = 25, A_ROUND = 40, KEYS = ROUNDS * A_ROUND };
    uint32_t mask = 7;

    open_net(3, copies, storage, seed);
    install(7, 7);
    for (uint64_t k = 0; k < KEYS; k++) {
        struct node *n = &net.node[rng_below(&net.rng, 3)];

        if (dirty && rng_one_in(&net.rng, 2))
            (void) ask_at(n, SHARD_WRITE, k, k, true);
        else
            (void) ask(n, SHARD_WRITE, k, k);
        if (rng_one_in(&net.rng, 3))
            run_ms(rng_below(&net.rng, 4));
        if (rng_one_in(&net.rng, 50)) {
            struct shard *s = &table_of(n)->shard[rng_below(&net.rng, SHARDS)];
            eg_exit kill = exit_reason(EG_EXIT_KILL);
            actor_exit_send(n->w.st->rt, EG_PID_NONE, shard_pid(s), &kill);
        }
        if (k % A_ROUND == A_ROUND - 1) {
            uint32_t alone = (uint32_t) rng_below(&net.rng, 4);

            memset(net.cut, 0, sizeof net.cut);
            mask = alone == 3 ? 7 : 7 & ~(1u << alone);
            for (uint32_t i = 0; i < 3 && alone != 3; i++)
                if (i != alone)
                    cut(i, alone);
            install(mask, 7);
            if (mask != 7)
                install(1u << alone, 7);
        }
    }
    memset(net.cut, 0, sizeof net.cut);
    install(7, 7);
    settle(7);
    run_ms(500);
    if (copies == 0)
        equal_copies(7, KEYS);
    for (uint64_t k = 0; k < KEYS; k++) {
        uint32_t full = 0, has = holders(k, &full);

        cr_assert(has == (net.acked[k] || has != 0 ? full : 0) && full >= (copies == 0 ? 3 : 2),
                  "EG_SEED=%llu key %llu: %u of %u", (unsigned long long) seed,
                  (unsigned long long) k, has, full);
    }
    close_net();
}

static void storm(const char *storage, uint32_t copies, uint64_t seed) {
    storm_of(storage, copies, false, seed);
}

Test(replica, storm_of_views_ram) {
    uint64_t seed = rng_test_seed(11);
    storm("ram", 0, seed);
    if (!rng_is_replay())
        storm("ram", 0, seed + 1);
}

Test(replica, storm_of_views_disc) {
    storm("disc", 0, rng_test_seed(21));
}

Test(replica, storm_of_views_two_copies) {
    uint64_t seed = rng_test_seed(31);

    storm("ram", 2, seed);
    if (!rng_is_replay())
        storm("ram", 2, 54); /* a master that had let its copy go before */
}

/* ---- dirty writes -----------------------------------------------------------------------------
 */

Test(replica, a_dirty_write_is_answered_by_its_own_copy) {
    open_net(3, 0, "ram", 14);
    install(7, 7);
    settle(7);
    for (uint64_t k = 0; k < 60; k++) {
        AGREE(ask_at(&net.node[k % 3], SHARD_WRITE, k, k, true));
        for (uint32_t i = 0; i < 3; i++)
            stepper_run(net.node[i].w.st); /* no packet has moved */
        AGREE(net.acked[k]);
        reader_enter(&net.node[k % 3].w.reader);
        cr_assert_not_null(get(&net.node[k % 3], k));
        reader_exit(&net.node[k % 3].w.reader);
    }
    run_ms(100);
    equal_copies(7, 60);
    cr_assert_eq(size_of(&net.node[1]), 60);
    for (uint64_t k = 0; k < 60; k++)
        AGREE(stands(&net.node[k % 3], k));
    close_net();
}

/* Where the others hear nothing, what waits for them ends; and goes on when they hear again. */
Test(replica, dirty_writes_are_refused_before_they_fill_memory) {
    enum { MOST = SHARDS * (SHARD_DIRTY_BYTES_MAX / RECORD_BYTES + 3) };
    uint64_t written = 0, made = 0;

    open_net(3, 0, "ram", 15);
    install(7, 7);
    settle(7);
    for (uint32_t writer = 0; writer < 3; writer++) {
        net.frozen = 7 & ~(1u << writer);
        memset(net.acked, 0, sizeof net.acked);
        for (uint64_t k = 0; k < 2 * MOST; k++) {
            AGREE(ask_at(&net.node[writer], SHARD_WRITE, k, writer, true));
            stepper_run(net.node[writer].w.st);
        }
        for (uint64_t k = written = 0; k < 2 * MOST; k++)
            written += net.acked[k];
        cr_assert(written > MOST / 2 && written <= MOST, "%llu", (unsigned long long) written);
        made = EG_MAX(made, written);
        net.frozen = 0;
        run_ms(200);
        equal_copies(7, 2 * MOST);
    }
    cr_assert_geq(size_of(&net.node[0]), made);
    close_net();
}

/* A copy that is not needed any more has written something that nobody else has. */
Test(replica, a_copy_tells_what_was_written_dirty_before_it_goes) {
    enum { ALL = 40, MORE = 60 };
    bool acked[MORE];

    open_net(4, 2, "ram", 16);
    install(1, 1);
    settle(1);
    fill(&net.node[0], 0, ALL);
    install(15, 15);
    settle(15);
    net.frozen = 14;
    for (uint64_t k = ALL; k < MORE; k++)
        AGREE(ask_at(&net.node[0], SHARD_WRITE, k, k, true));
    stepper_run(net.node[0].w.st);
    memcpy(acked, net.acked, sizeof acked);
    for (int i = 0; i < 3; i++) {
        install(15, 15);
        net.frozen = 0;
        settle(15);
        run_ms(200);
    }
    for (uint64_t k = 0; k < MORE; k++) {
        uint32_t full = 0, has = holders(k, &full);
        AGREE(full == 2 && has == (acked[k] ? 2 : 0));
        AGREE(acked[k]);
    }
    close_net();
}

/* The same few keys, from everywhere at once, with and without the others. */
static void quarrel(const char *storage, uint64_t seed) {
    enum { ROUNDS = 400, KEYS = 12 };

    open_net(3, 0, storage, seed);
    install(7, 7);
    settle(7);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t k = rng_below(&net.rng, KEYS);
        struct node *n = &net.node[rng_below(&net.rng, 3)];
        enum shard_op op = rng_one_in(&net.rng, 3) ? SHARD_DELETE : SHARD_WRITE;

        if (rng_one_in(&net.rng, 4))
            (void) ask(n, op, k, i);
        else
            (void) ask_at(n, op, k, i, true);
        if (rng_one_in(&net.rng, 3))
            net.frozen = (uint32_t) rng_below(&net.rng, 8);
        if (rng_one_in(&net.rng, 3))
            run_ms(rng_below(&net.rng, 4));
        if (rng_one_in(&net.rng, 40)) {
            net.frozen = 0;
            run_ms(3000); /* graves go */
        }
        if (rng_one_in(&net.rng, 60))
            install(7, 7);
    }
    net.frozen = 0;
    settle(7);
    run_ms(500);
    equal_copies(7, KEYS);
    close_net();
}

Test(replica, copies_that_are_written_at_once_become_equal) {
    uint64_t seed = rng_test_seed(51);

    for (uint64_t i = 0; i < (rng_is_replay() ? 1 : 4); i++)
        quarrel(i % 4 == 3 ? "disc" : "ram", seed + i);
}

Test(replica, storm_of_views_with_dirty_writes) {
    uint64_t seed = rng_test_seed(61);

    storm_of("ram", 0, true, seed);
    if (!rng_is_replay())
        storm_of("ram", 2, true, seed + 1);
}

/* Nodes that say anything: nobody falls over it, and each goes on in the next view. */
Test(replica, what_liars_say_breaks_nothing) {
    enum { ROUNDS = 40 };
    uint64_t seed = rng_test_seed(41);

    open_net(3, 0, "ram", seed);
    for (uint64_t k = 0; k < ROUNDS * 20; k++) {
        if (k % 20 == 0)
            install(7, 7);
        net.lying = true;
        (void) ask(&net.node[k % 3], k % 7 == 6 ? SHARD_DELETE : SHARD_WRITE, k % 100, k);
        (void) ask_at(&net.node[k % 3], SHARD_WRITE, k % 90, k, true);
        run_ms(rng_below(&net.rng, 5));
        net.lying = false;
    }
    for (uint32_t i = 0; i < 3; i++) {
        reader_enter(&net.node[i].w.reader);
        for (uint32_t s = 0; s < SHARDS; s++)
            shard_clock_check(&table_of(&net.node[i])->shard[s].copy->clock);
        reader_exit(&net.node[i].w.reader);
    }
    close_net();
}
