/* sim_tx.c -- transactions of two records, and what became of them. */
#include "tests/sim/sim_tx.h"

#include "engine/actor.h"
#include "engine/env.h"
#include "replication/tx_manager.h"
#include "tables/shard_tx.h"
#include "tables/table_private.h"
#include "tests/sim/sim_think.h"

#include <stdio.h>
#include <string.h>

enum {
    DEADLINE_MS = 3000,
    WAIT_MS = 12000,
    LOOK_BACK = 12,
    LOOK_US = 20000,
    HOT_ONE_IN = 2,
    STALE_ONE_IN = 8,
};

const char sim_tx_table[] = "two";

static struct final finals[TX_KEYS]; /* of the last sim_tx_agrees() */

void sim_tx_put_create(struct value_writer *w, bool on_disc, bool sync, uint32_t shards) {
    value_put_array(w, 2);
    value_put_text(w, sim_tx_table);
    value_put_map(w, 4);
    value_put_text(w, "storage");
    value_put_text(w, on_disc ? "disc" : "ram");
    value_put_text(w, "durability");
    value_put_text(w, sync ? "sync" : "async");
    value_put_text(w, "shards");
    value_put_u64(w, shards);
    value_put_text(w, "copies");
    value_put_text(w, "all");
}

/* ---- one transaction, asked for by an actor of the node -------------------------------------- */

struct room {
    uint8_t record[3][32], key[3][16];
};

static struct value put_key(uint8_t *at, size_t room, uint64_t key) {
    struct value_writer w = value_writer_init(at, room);

    value_put_u64(&w, key);
    return (struct value){at, (uint32_t) w.need_bytes};
}

static struct value put_record(uint8_t *at, size_t room, uint64_t key, uint32_t number) {
    struct value_writer w = value_writer_init(at, room);

    value_put_array(&w, 2);
    value_put_u64(&w, key);
    value_put_u64(&w, number);
    return (struct value){at, (uint32_t) w.need_bytes};
}

static void want(struct transact_want *out, struct table *t, struct room *r, uint32_t i,
                 uint64_t key, uint32_t number) {
    *out = (struct transact_want){
        .table = t,
        .request = {.op = SHARD_WRITE,
                    .attribute = SHARD_NO_ATTRIBUTE,
                    .value = put_record(r->record[i], sizeof r->record[i], key, number)},
        .shard = transact_shard_of(t, put_key(r->key[i], sizeof r->key[i], key))};
}

static eg_err make_message(const struct tx_try *try, struct table *t, eg_pid *to,
                           struct message **out) {
    struct sim_node *n = try->node;
    struct transact_want wants[3];
    struct transact_seen seen = {.table = t, .version = 1};
    struct transact what = {.want = wants, .want_count = 2, .seen = &seen};
    struct room room;
    uint64_t key = TX_HOT + 2 * (uint64_t) (try->number - 1);
    const struct tx_commit c = {.id = {try->number, try->number},
                                .age = {(uint64_t) env_wall_ms(&n->env.env), n->host, try->number},
                                .deadline_ms = (uint64_t) env_wall_ms(&n->env.env) + DEADLINE_MS,
                                .what = &what};

    want(&wants[0], t, &room, 0, key, try->number);
    want(&wants[1], t, &room, 1, key + 1, try->number);
    if (try->hot < TX_HOT) {
        want(&wants[2], t, &room, 2, try->hot, try->number);
        what.want_count = 3;
    }
    if (try->stale) { /* what it will write is there already, it believes */
        seen.key = put_key(room.key[0], sizeof room.key[0], key);
        seen.shard = wants[0].shard;
        what.seen_count = 1;
    }
    return tx_commit_message(n->transactions, &c, to, out);
}

static eg_err init(struct actor *self, void *state, const void *arg) {
    struct tx_try *try = (struct tx_try *) arg;
    struct table *t = catalog_find(try->node->catalog, sim_tx_table, strlen(sim_tx_table));
    struct message *m;
    eg_pid to;

    *(struct tx_try **) state = try;
    if (t == NULL || make_message(try, t, &to, &m) != EG_OK) {
        try->end = OP_FAIL;
        return EG_NO_TABLE;
    }
    m->ref = 1;
    (void) actor_send(self, to, m);
    return EG_OK;
}

static enum op_end end_of(eg_err err) {
    if (err == EG_OK)
        return OP_OK;
    return eg_err_class_of(err) == EG_CLASS_UNKNOWN || err == EG_NOPROC ? OP_INFO : OP_FAIL;
}

static void receive(struct actor *self, void *state, struct message *m) {
    struct tx_try *try = *(struct tx_try **) state;

    if (m->kind != MESSAGE_REPLY)
        return;
    try->end = end_of((eg_err) m->tag);
    if ((eg_err) m->tag != EG_OK)
        snprintf(try->text, sizeof try->text, "%s: %.*s", eg_err_wire((eg_err) m->tag),
                 (int) m->size_bytes, (const char *) m->payload);
    sim_note(try->world->sim, (uint64_t) try->number << 8 | try->end);
    actor_exit_normal(self);
}

static void begin(struct tx_try *try) {
    static const struct actor_ops ops = {.name = "transaction of a test",
                                         .state_bytes = sizeof(struct tx_try *),
                                         .init = init,
                                         .receive = receive};
    struct spawn_opts o = {.ops = &ops, .arg = try, .scheduler = SPAWN_ON(0)};
    eg_pid pid;

    if (!try->node->up || try->node->transactions == NULL ||
        actor_spawn(try->node->runtime, NULL, &o, &pid, NULL) != EG_OK)
        try->end = OP_FAIL;
}

/* ---- who asks -------------------------------------------------------------------------------- */

static void think(struct txer *me);

static bool waits(const struct txer *me) {
    const struct tx_try *try = &me->world->try[me->trying];

    return me->trying != 0 && try->end == OP_OPEN && sim_now_ns(me->world->sim) < me->until_ns &&
           try->node->up && try->node->starts == try->start;
}

static void ask(struct sim_event *e) {
    struct txer *me = EG_CONTAINER_OF(e, struct txer, think);
    struct sim_tx *x = me->world;
    struct tx_try *try;

    if (waits(me)) {
        think(me);
        return;
    }
    me->trying = 0;
    if (x->quiet || x->tries == TX_TRIES_MAX)
        return;
    try = &x->try[++x->tries];
    me->trying = x->tries;
    me->until_ns = sim_now_ns(x->sim) + (uint64_t) WAIT_MS * 1000000;
    *try = (struct tx_try){.world = x, .number = x->tries, .hot = TX_HOT};
    try->node = &x->node[rng_below(&me->rng, x->nodes)];
    try->start = try->node->starts;
    try->view = try->node->up ? sim_node_view(try->node) : 0;
    if (rng_one_in(&me->rng, HOT_ONE_IN))
        try->hot = (uint32_t) rng_below(&me->rng, TX_HOT);
    try->stale = rng_one_in(&me->rng, STALE_ONE_IN);
    begin(try);
    think(me);
}

static void think(struct txer *me) {
    struct sim_tx *x = me->world;

    sim_at(x->sim, &me->think,
           sim_think_before_fault_ns(&me->rng, sim_now_ns(x->sim), x->think_ms,
                                     x->next_fault_ns(x->user)),
           ask);
}

/* ---- who looks ------------------------------------------------------------------------------- */

static void look_again(struct tx_looker *me);

static void look(struct sim_event *e) {
    struct tx_looker *me = EG_CONTAINER_OF(e, struct tx_looker, think);
    struct sim_tx *x = me->world;
    struct tx_look *l = &me->look;
    uint64_t key;

    if (l->half && l->over && me->half == 0)
        me->half = (uint32_t) ((l->key[0] - TX_HOT) / 2 + 1);
    if (l->node != NULL && !l->over && l->node->up && l->node->starts == l->start) {
        look_again(me);
        return;
    }
    if (x->quiet)
        return;
    if (x->tries != 0) {
        key = TX_HOT + 2 * (x->tries - 1 - rng_below(&me->rng, EG_MIN(x->tries, LOOK_BACK)));
        l->node = &x->node[rng_below(&me->rng, x->nodes)];
        l->key[0] = key + rng_below(&me->rng, 2);
        l->key[1] = 2 * key + 1 - l->key[0];
        l->began = x->try[(key - TX_HOT) / 2 + 1].view;
        tx_look_begin(l);
    }
    look_again(me);
}

static void look_again(struct tx_looker *me) {
    sim_at(me->world->sim, &me->think,
           sim_now_ns(me->world->sim) + 1 + rng_below(&me->rng, LOOK_US * 1000), look);
}

void sim_tx_start(struct sim_tx *x, struct sim *s, uint64_t seed) {
    struct rng r = rng_of(seed ^ UINT64_C(0x7472616e73616374));

    x->sim = s;
    for (uint32_t i = 0; i < TXERS; i++) {
        x->txer[i] = (struct txer){.world = x, .rng = rng_of(rng_u64(&r))};
        think(&x->txer[i]);
    }
    for (uint32_t i = 0; i < TX_LOOKERS; i++) {
        x->looker[i] = (struct tx_looker){.world = x, .rng = rng_of(rng_u64(&r))};
        look_again(&x->looker[i]);
    }
}

bool sim_tx_is_done(const struct sim_tx *x) {
    for (uint32_t i = 0; x->on && i < TXERS; i++)
        if (waits(&x->txer[i]))
            return false;
    return true;
}

void sim_tx_stop(struct sim_tx *x) {
    for (uint32_t i = 0; i < TXERS; i++)
        sim_cancel(x->sim, &x->txer[i].think);
    for (uint32_t i = 0; i < TX_LOOKERS; i++)
        sim_cancel(x->sim, &x->looker[i].think);
}

uint32_t sim_tx_count(const struct sim_tx *x, enum op_end end) {
    uint32_t count = 0;

    for (uint32_t n = 1; n <= x->tries; n++)
        count += x->try[n].end == end;
    return count;
}

/* ---- what became of it ----------------------------------------------------------------------- */

struct waiting {
    const struct shard *shard;
    uint64_t number; /* 0: none */
};

static bool find_one(void *context, struct value head, struct value part) {
    struct transact_head h;

    (void) part;
    EG_ASSERT(transact_get_head(head, &h));
    ((struct waiting *) context)->number = h.id.low;
    return false;
}

bool sim_tx_anything_waits(struct sim_node *n, const char *table, char text[HISTORY_TEXT_BYTES]) {
    struct waiting w = {.number = 0};
    struct reader r;
    struct table *t;

    EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    t = catalog_find(n->catalog, table, strlen(table));
    for (uint32_t i = 0; t != NULL && i < t->shard_count && w.number == 0; i++) {
        w.shard = &t->shard[i];
        shard_tx_each(&t->shard[i], find_one, &w);
    }
    if (w.number != 0)
        snprintf(text, HISTORY_TEXT_BYTES,
                 "transaction %llu stays prepared in shard %u of %s at %s (%u)",
                 (unsigned long long) w.number, w.shard->number, table, n->name,
                 (unsigned) atomic_load(&w.shard->role));
    reader_exit(&r);
    reader_close(&r);
    return w.number != 0;
}

bool sim_tx_agrees(struct sim_node *const *nodes, uint32_t count, const struct sim_tx *x,
                   char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t i = 0; x->on && i < count; i++)
        if (sim_tx_anything_waits(nodes[i], sim_tx_table, text))
            return false;
    return !x->on || copies_agree(nodes, count, &x->t, 0, finals, text);
}

bool sim_tx_check(const struct sim_tx *x, bool kept, char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t i = 0; x->on && kept && i < TX_LOOKERS; i++)
        if (x->looker[i].half != 0) {
            snprintf(text, HISTORY_TEXT_BYTES,
                     "one record of transaction %u was there without the other", x->looker[i].half);
            return false;
        }
    for (uint32_t n = 1; x->on && n <= x->tries; n++) {
        const struct tx_try *try = &x->try[n];
        uint64_t key = TX_HOT + 2 * (uint64_t) (n - 1);
        bool one = finals[key].number == n, other = finals[key + 1].number == n;
        const char *wrong = one != other && kept                           ? "is half done"
                            : try->end == OP_OK && !(one && other) && kept ? "is lost"
                            : try->end == OP_FAIL && (one || other)        ? "was refused, and done"
                            : try->stale && (one || other) ? "is done, and had seen what never was"
                                                           : NULL;

        if (wrong == NULL)
            continue;
        snprintf(text, HISTORY_TEXT_BYTES, "transaction %u at %s %s (%d, %d; it was told %d %s)", n,
                 try->node->name, wrong, one, other, (int) try->end, try->text);
        return false;
    }
    return true;
}
