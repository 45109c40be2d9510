/* replica_net.c -- packets, nodes, views, and what is asked of them. */
#include "tests/support/replica_net.h"

#include "engine/env.h"
#include "tables/table_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct net net;

void replica_net_disagrees(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: %s (EG_SEED=%llu)\n", file, line, what, (unsigned long long) net.seed);
    abort();
}

/* ---- the network --------------------------------------------------------------------------- */

struct node *node_by_id(uint64_t id) {
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

void hear_kept(void) {
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

bool move_packets(void) {
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
            if (net.lost & kind_bit(p)) {
                free(p);
                continue;
            }
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

void cut(uint32_t a, uint32_t b) {
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

void tick(struct node *n) {
    reader_enter(&n->w.reader);
    replica_tick(n->r);
    reader_exit(&n->w.reader);
}

void run_ms(uint64_t ms) {
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

struct table *table_of(struct node *n) {
    struct table *t = table_world_find(&n->w, "t");
    AGREE(t != NULL);
    return t;
}

static void on_have(void *user, const struct witness_word *word, struct view_id view) {
    (void) user, (void) word, (void) view;
    net.witness.have++;
}

static void on_told(void *user, const struct witness_word *word) {
    AGREE(word->node == ((struct node *) user)->id);
    net.witness.told++;
}

static void on_answer(void *user, const struct witness_word *word, eg_err outcome,
                      const char *text) {
    (void) user, (void) word, (void) text;
    net.witness.answered++;
    net.witness.outcome = outcome;
}

static const struct witness_ops witness = {on_have, on_told, on_answer};

void start_replicas(struct node *n) {
    struct replica_opts o = {.alloc = alloc_system(),
                             .env = &n->w.st->env,
                             .runtime = n->w.st->rt,
                             .catalog = n->w.catalog,
                             .disc = disc_twin_disc(n->w.pump.twin),
                             .scheduler = 0,
                             .self = n->id,
                             .send = send_packet,
                             .pending_bytes = no_pending,
                             .witness = &witness,
                             .progress = on_progress,
                             .stopped = on_stopped,
                             .event = on_event,
                             .user = n};

    AGREE(replicas_open(&n->r, &o) == EG_OK);
}

static void take_answer(struct actor *self, void *state, struct message *m) {
    (void) self;
    (void) state;
    if (m->ref >= EG_COUNTOF(net.acked))
        return;
    net.acked[m->ref] |= m->tag == EG_OK;
    net.doubts += (eg_err) m->tag == EG_IN_DOUBT;
}

void start_client(struct node *n) {
    static const struct actor_ops ops = {.name = "client", .receive = take_answer};

    AGREE(actor_spawn(n->w.st->rt, NULL, &(struct spawn_opts){.ops = &ops}, &n->client, NULL) ==
          EG_OK);
}

void open_net(uint32_t count, uint32_t copies, const char *storage, uint64_t seed) {
    open_net_with(count, copies, storage, seed, 0);
}

void open_net_with(uint32_t count, uint32_t copies, const char *storage, uint64_t seed,
                   uint64_t graves_bytes_max) {
    bool sync = strcmp(storage, "sync") == 0, one = strcmp(storage, "one") == 0;
    bool first = strcmp(storage, "first") == 0, counter = strcmp(storage, "counter") == 0;
    bool set = strcmp(storage, "set") == 0, siblings = strcmp(storage, "siblings") == 0;
    bool merges = first || counter || set || siblings || strcmp(storage, "max") == 0;
    bool majority = strcmp(storage, "majority") == 0;
    uint8_t bytes[128];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);

    memset(&net, 0, sizeof net);
    net.count = count;
    net.seed = seed;
    net.rng = rng_of(seed);
    net.sets = set;
    value_put_map(&w, 2u + (copies != 0) + sync + one + merges + majority);
    value_put_text(&w, "shards");
    value_put_u64(&w, SHARDS);
    value_put_text(&w, "storage");
    value_put_text(&w, sync || counter || majority ? "disc" : one || merges ? "ram" : storage);
    if (majority) {
        value_put_text(&w, "majority");
        value_put_bool(&w, true);
    }
    if (merges) {
        value_put_text(&w, "merge");
        value_put_text(&w, storage);
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
        n->w.graves_bytes_max = graves_bytes_max;
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

void close_net(void) {
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

void restart(struct node *n, bool power) {
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

void restart_with(struct node *n, struct disc_twin *disc) {
    replicas_end(n->r);
    stepper_run_ms(n->w.st, 10);
    AGREE(table_world_stop(&n->w) == EG_OK);
    replicas_close(n->r);
    disc_close(disc_twin_disc(n->w.pump.twin));
    n->w.pump.twin = disc;
    AGREE(table_world_start(&n->w) == EG_OK);
    n->lineage = (struct view_id){0, 0};
    start_replicas(n);
}

void install(uint32_t mask, uint32_t known) {
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
        struct elector_list all = {0};

        if ((mask & 1u << i) == 0)
            continue;
        for (uint32_t k = 0; k < known_count; k++)
            elector_list_add(&all, (struct elector){nodes[k].id, nodes[k].weight, true});
        AGREE(++net.report_count < REPORTS_MAX);
        buffer_init(report, alloc_system(), SIZE_MAX);
        reader_enter(&n->w.reader);
        AGREE(replica_report(n->r, &all, report) == EG_OK);
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

bool settled(uint32_t mask) {
    for (uint32_t i = 0; i < net.count; i++)
        for (uint32_t s = 0; s < SHARDS && mask & 1u << i; s++) {
            enum shard_role role = table_role(table_of(&net.node[i]), s);
            if (role == SHARD_FILLING || role == SHARD_STOPPED)
                return false;
        }
    return true;
}

void settle(uint32_t mask) {
    for (int ms = 0; ms < SETTLE_MS && !settled(mask); ms += 10)
        run_ms(10);
    AGREE(settled(mask));
}

/* ---- requests
 * --------------------------------------------------------------------------------------- */

struct value record_of(uint8_t *bytes, size_t room, uint64_t key, uint64_t n) {
    uint8_t fill[RECORD_BYTES] = {0};
    struct value_writer w = value_writer_init(bytes, room);

    memcpy(fill, &n, sizeof n);
    value_put_array(&w, 2);
    value_put_u64(&w, key);
    if (net.sets) {
        value_put_array(&w, (uint32_t) (n >> ELEMENT_BITS != 0) + (n % ELEMENTS != 0));
        if (n % ELEMENTS != 0)
            value_put_u64(&w, n % ELEMENTS);
        if (n >> ELEMENT_BITS != 0)
            value_put_u64(&w, n >> ELEMENT_BITS);
        return (struct value){bytes, (uint32_t) w.need_bytes};
    }
    value_put_binary(&w, fill, RECORD_BYTES - 12);
    return (struct value){bytes, (uint32_t) w.need_bytes};
}

struct node *master_of(struct node *n, uint64_t key) {
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

bool ask_at(struct node *m, enum shard_op op, uint64_t key, uint64_t number, bool dirty) {
    uint8_t bytes[RECORD_BYTES + 32];
    struct value v = record_of(bytes, sizeof bytes, key, number);
    uint8_t number_bytes[9];
    struct value_writer w = value_writer_init(number_bytes, sizeof number_bytes);
    struct value delta = {number_bytes, 0};
    struct shard_request q = {.op = op,
                              .attribute = SHARD_NO_ATTRIBUTE,
                              .dirty = dirty,
                              .ttl_ms = net.ttl_ms,
                              .for_node = net.witness.for_node,
                              .for_number = key};
    struct message *msg;
    struct err_note note;
    eg_pid to;

    value_put_u64(&w, number);
    delta.size_bytes = (uint32_t) w.need_bytes;
    if (op == SHARD_DELETE || op == SHARD_COUNTER)
        AGREE(array_element(v, 0, &q.key));
    if (op == SHARD_COUNTER) {
        q.attribute = 1;
        q.value = delta;
    } else if (op != SHARD_DELETE)
        q.value = v;
    reader_enter(&m->w.reader);
    AGREE(table_message(table_of(m), &q, &to, &msg, &note) == EG_OK);
    reader_exit(&m->w.reader);
    msg->ref = key;
    return runtime_send(m->w.st->rt, m->client, to, msg) == EG_OK;
}

bool ask(struct node *n, enum shard_op op, uint64_t key, uint64_t number) {
    struct node *m = master_of(n, key);
    return m != NULL && ask_at(m, op, key, number, false);
}

/* As the catalog of its master asks. */
static void clear_shard(struct node *n, uint32_t number) {
    const struct shard_request q = {.op = SHARD_CLEAR, .attribute = SHARD_NO_ATTRIBUTE};
    struct node *master = node_by_id(replica_master(n->r, table_of(n), number));
    struct message *m = message_new(master->w.st->rt, MESSAGE_CALL, shard_request_size(&q));

    AGREE(m != NULL);
    m->tag = SHARD_CLEAR;
    shard_request_pack(&q, m->payload);
    AGREE(runtime_send(master->w.st->rt, master->client,
                       shard_pid(&table_of(master)->shard[number]), m) == EG_OK);
}

void clear_all(struct node *n) {
    for (uint32_t s = 0; s < SHARDS; s++)
        clear_shard(n, s);
}

const struct record *get(struct node *n, uint64_t key) {
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

uint64_t size_of(struct node *n) {
    uint64_t size;

    reader_enter(&n->w.reader);
    size = table_size(table_of(n), &n->w.reader);
    reader_exit(&n->w.reader);
    return size;
}

bool stands(struct node *n, uint64_t key) {
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

uint32_t roles_of(struct node *n, enum shard_role role) {
    uint32_t count = 0;

    for (uint32_t s = 0; s < SHARDS; s++)
        count += table_role(table_of(n), s) == role;
    return count;
}

void equal_copies(uint32_t mask, uint64_t keys) {
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

void fill(struct node *n, uint64_t from, uint64_t to) {
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
    AGREE(!"all were acknowledged");
}
