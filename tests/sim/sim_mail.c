/* sim_mail.c -- the events of a mesh, passed on; but for what copies say. */
#include "tests/sim/sim_mail.h"

#include "replication/cluster_private.h"
#include "replication/feed_private.h"
#include "replication/mesh_private.h"
#include "replication/packet.h"

#include <string.h>

enum { LATE_MIN_US = 10, LATE_MAX_US = 500 * 1000 };

/* A word that comes once more. */
struct late {
    struct list_node node;
    struct sim_event event;
    struct sim_mail *mail;
    uint64_t from;
    uint32_t size_bytes;
    uint8_t payload[];
};

static void forget(struct late *l) {
    sim_cancel(l->mail->sim, &l->event);
    list_remove(&l->node);
    alloc_put(alloc_system(), l, sizeof *l + l->size_bytes);
}

/* All of it, or what came from one node. */
static void forget_from(struct sim_mail *m, const uint64_t *from) {
    for (struct list_node *n = m->late.next, *next; n != &m->late; n = next) {
        struct late *l = EG_CONTAINER_OF(n, struct late, node);

        next = n->next;
        if (from == NULL || l->from == *from)
            forget(l);
    }
}

static void come_again(struct sim_event *e) {
    struct late *l = EG_CONTAINER_OF(e, struct late, event);
    struct sim_mail *m = l->mail;

    m->events->on_payload(m->cluster, l->from, MESH_REPLICA,
                          (struct value){l->payload, l->size_bytes});
    forget(l);
}

/* Any order of magnitude as likely as any other. */
static uint64_t draw_late_us(struct sim_mail *m) {
    uint64_t at = LATE_MIN_US;

    while (at < LATE_MAX_US && !rng_one_in(&m->rng, 16))
        at = at * 3 / 2;
    return at;
}

static void say_twice(struct sim_mail *m, uint64_t from, struct value payload) {
    struct late *l = alloc_zero(alloc_system(), sizeof *l + payload.size_bytes);

    EG_ASSERT(l != NULL);
    l->mail = m;
    l->from = from;
    l->size_bytes = payload.size_bytes;
    memcpy(l->payload, payload.at, payload.size_bytes);
    list_push_back(&m->late, &l->node);
    sim_at(m->sim, &l->event, sim_now_ns(m->sim) + draw_late_us(m) * 1000, come_again);
}

/* As replica.c does where it has no memory: of a view that is here the shard is to know, what
 * would have waited for its view is gone. */
static void lose(struct cluster *c, struct value payload) {
    struct replica_head h;
    struct value_iter it;
    struct table *const *tables;
    uint32_t count;

    if (replica_wire_open(&h, &it, payload) != EG_OK ||
        !view_id_equal(h.view, replica_view(c->replicas)))
        return;
    reader_enter(&c->reader);
    count = catalog_tables(c->o.catalog, &tables);
    for (uint32_t i = 0; i < count; i++) {
        struct shard *s;

        if (schema_records_id(table_schema(tables[i])) != h.table ||
            h.shard >= table_shards(tables[i]))
            continue;
        s = table_shard(tables[i], h.shard);
        if (feed_of(s) != NULL)
            feed_need(feed_of(s)->world, s, FEED_MISSED);
    }
    reader_exit(&c->reader);
}

static void on_word(struct sim_mail *m, uint64_t from, struct value payload) {
    bool open = atomic_load(&m->cluster->open);

    if (open && m->lose_one_in != 0 && rng_one_in(&m->rng, m->lose_one_in)) {
        lose(m->cluster, payload);
        return;
    }
    if (open && m->twice_one_in != 0 && rng_one_in(&m->rng, m->twice_one_in))
        say_twice(m, from, payload);
    m->events->on_payload(m->cluster, from, MESH_REPLICA, payload);
}

/* Each of them may be lost, or come once more. */
static void on_packet(struct sim_mail *m, uint64_t from, struct value packet) {
    struct buffer words;

    buffer_init(&words, alloc_system(), PACKET_BYTES_MAX);
    EG_ASSERT(packet_read(alloc_system(), packet, &words) == EG_OK);
    for (size_t at = 0; at < words.size_bytes; at += value_of(words.at + at).size_bytes)
        on_word(m, from, value_of(words.at + at));
    buffer_fini(&words);
}

static void on_payload(void *user, uint64_t from, enum mesh_channel channel, struct value payload) {
    struct sim_mail *m = user;
    bool disturbs = m->lose_one_in != 0 || m->twice_one_in != 0;

    m->view_words += channel == MESH_VIEW;
    if (channel != MESH_REPLICA || !disturbs)
        m->events->on_payload(m->cluster, from, channel, payload);
    else if (packet_is(payload))
        on_packet(m, from, payload);
    else
        on_word(m, from, payload);
}

static void on_down(void *user, uint64_t id) {
    struct sim_mail *m = user;

    forget_from(m, &id);
    m->events->on_down(m->cluster, id);
}

static eg_err may_link(void *user, const struct node_info *who, struct err_note *note) {
    struct sim_mail *m = user;
    return m->events->may_link(m->cluster, who, note);
}

static void on_up(void *user, const struct node_info *who) {
    struct sim_mail *m = user;
    m->events->on_up(m->cluster, who);
}

static void on_joined(void *user, const char *address, eg_err err, const char *text) {
    struct sim_mail *m = user;
    m->events->on_joined(m->cluster, address, err, text);
}

void sim_mail_init(struct sim_mail *m, struct sim *s, uint64_t seed) {
    *m = (struct sim_mail){.sim = s, .rng = rng_of(seed)};
    list_init(&m->late);
}

void sim_mail_attach(struct sim_mail *m, struct cluster *c) {
    static const struct mesh_events events = {may_link, on_up, on_down, on_payload, on_joined};
    struct mesh_opts *o = &c->mesh->opts;

    EG_ASSERT(o->user == c);
    m->cluster = c;
    m->events = o->events;
    o->events = &events;
    o->user = m;
}

void sim_mail_detach(struct sim_mail *m) {
    forget_from(m, NULL);
    m->twice_one_in = m->lose_one_in = 0;
}
