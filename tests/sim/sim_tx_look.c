/* sim_tx_look.c -- an actor of the node that looks twice. */
#include "tests/sim/sim_tx_look.h"

#include "engine/actor.h"
#include "engine/runtime.h"
#include "tables/shard_copy.h"
#include "tables/table.h"
#include "tables/transact.h"
#include "tests/sim/sim_tx.h"

#include <string.h>

enum { KEY_BYTES = 9 };

static void look_next(struct actor *self, struct tx_look *l);

static void found(struct actor *self, struct tx_look *l, bool there) {
    bool same_view = sim_node_view(l->node) == l->view && l->view == l->began && l->view != 0;

    if (l->at == 1)
        l->half = !there && same_view;
    l->over = l->at == 1 || !there;
    if (l->over) {
        actor_exit_normal(self);
        return;
    }
    l->view = sim_node_view(l->node);
    l->at = 1;
    look_next(self, l);
}

static void ask(struct actor *self, struct tx_look *l, struct table *t, struct value key) {
    struct shard_request q = {.op = SHARD_READ, .attribute = SHARD_NO_ATTRIBUTE, .key = key};
    struct message *m;
    eg_pid to;

    if (table_message(t, &q, &to, &m, NULL) != EG_OK) {
        l->over = true;
        actor_exit_normal(self);
        return;
    }
    m->ref = l->at + 1;
    (void) actor_send(self, to, m); /* gone: the reply says so */
}

static void look_next(struct actor *self, struct tx_look *l) {
    struct table *t = catalog_find(l->node->catalog, sim_tx_table, strlen(sim_tx_table));
    uint8_t at[KEY_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);
    const struct record *rec;
    struct reader *r;
    uint64_t version;
    struct key k;
    eg_err err;

    value_put_u64(&w, l->key[l->at]);
    if (t == NULL || table_key(t, &k, (struct value){at, (uint32_t) w.need_bytes}) != EG_OK) {
        l->over = true;
        actor_exit_normal(self);
        return;
    }
    r = shard_reader(table_shard(t, 0), self);
    err = transact_look(t, r, &k, &rec, &version);
    if (err == EG_OK)
        found(self, l, rec != NULL);
    else
        ask(self, l, t, k.value);
    key_release(&k);
}

static eg_err init(struct actor *self, void *state, const void *arg) {
    *(struct tx_look **) state = (struct tx_look *) arg;
    look_next(self, (struct tx_look *) arg);
    return EG_OK;
}

static void receive(struct actor *self, void *state, struct message *m) {
    struct tx_look *l = *(struct tx_look **) state;
    struct value answer = {m->payload, (uint32_t) m->size_bytes};

    if (m->kind != MESSAGE_REPLY || m->ref != l->at + 1)
        return;
    if ((eg_err) m->tag == EG_OK) {
        found(self, l, value_count(answer) != 0);
        return;
    }
    l->over = true;
    actor_exit_normal(self);
}

void tx_look_begin(struct tx_look *l) {
    static const struct actor_ops ops = {.name = "one who looks at a transaction",
                                         .state_bytes = sizeof(struct tx_look *),
                                         .init = init,
                                         .receive = receive};
    struct spawn_opts o = {.ops = &ops, .arg = l, .scheduler = SPAWN_ON(0)};
    eg_pid pid;

    l->at = 0;
    l->half = l->over = false;
    l->start = l->node->starts;
    if (!l->node->up || l->node->transactions == NULL ||
        actor_spawn(l->node->runtime, NULL, &o, &pid, NULL) != EG_OK)
        l->over = true;
}
