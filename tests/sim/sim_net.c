/* sim_net.c -- bytes under way between hosts.
 *
 * A segment is sent with the moment of its arrival: after those before it, after what the
 * link's bandwidth takes, after a delay that is drawn.  At that moment the link decides: it
 * arrives; it waits, for the link is cut, its host has no power, or nobody has read what is
 * there; or a kernel that knows of no such connection answers with a reset. */
#include "tests/sim/sim_net_private.h"

#include <string.h>

enum {
    RESEND_MAX_MS = 1000, /* after a link has healed, until TCP tries again    */
    DIAL_FIRST_MS = 1000, /* then twice as long each time                      */
    DIAL_DOUBLINGS = 5,
    SLOWER = 100,
};

static const uint64_t MS = 1000000;

/* ---- hosts and links -------------------------------------------------------------- */

uint32_t sim_net_host(struct sim_net *n, const char *name) {
    struct host *h = &n->host[n->host_count];

    for (uint32_t i = 0; i < n->host_count; i++)
        if (strcmp(n->host[i].name, name) == 0)
            return i;
    EG_ASSERT(n->host_count < SIM_HOSTS_MAX);
    snprintf(h->name, sizeof h->name, "%s", name);
    h->powered = true;
    return n->host_count++;
}

uint32_t sim_net_host_named(struct sim_net *n, const char *name, uint32_t own) {
    static const char *const ours[] = {"127.0.0.1", "localhost", "::1", "0.0.0.0"};

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcmp(name, ours[i]) == 0)
            return own;
    for (uint32_t i = 0; i < n->host_count; i++)
        if (strcmp(n->host[i].name, name) == 0)
            return i;
    return SIM_HOSTS_MAX;
}

void sim_net_host_env(struct sim_net *n, uint32_t host, struct env *e) {
    n->host[host].env = e;
}

struct sim_link *sim_net_link(struct sim_net *n, uint32_t from, uint32_t to) {
    return &n->link[from][to];
}

struct sim_net_habits *sim_net_habits(struct sim_net *n) {
    return &n->habits;
}

/* Does what `from` sends get to `to`'s kernel? */
static bool carries(const struct sim_net *n, uint32_t from, uint32_t to) {
    return !n->link[from][to].cut && n->host[from].powered && n->host[to].powered;
}

/* Exponential, by the position of the highest bit and the line between two of them. */
static uint64_t draw_ns(struct sim_net *n, uint64_t mean_ns) {
    uint64_t draw = rng_u64(&n->rng) | 1;
    uint64_t zeros = (uint64_t) __builtin_clzll(draw);
    uint64_t share = 1024 - ((draw << zeros << 1) >> 54); /* 1 .. 1024 of the way to the next */

    return mean_ns * (zeros * 1024 + share) / 1024 * 693 / 1000;
}

static uint64_t delay_ns(struct sim_net *n, const struct sim_link *l) {
    uint64_t ns = l->delay_min_ns + (l->delay_mean_ns == 0 ? 0 : draw_ns(n, l->delay_mean_ns));

    if (n->habits.slow_one_in != 0 && rng_one_in(&n->rng, n->habits.slow_one_in))
        ns *= SLOWER;
    return ns;
}

/* ---- the end of a side ---------------------------------------------------------------- */

static void drop_flying(struct side *s) {
    struct segment *last = NULL;

    for (struct segment *at = s->out.oldest; at != s->out.flying; at = at->next)
        last = at;
    for (struct segment *at = s->out.flying, *next; at != NULL; at = next) {
        next = at->next;
        alloc_put(alloc_system(), at, sizeof *at + at->size_bytes);
    }
    if (last != NULL)
        last->next = NULL;
    else
        s->out.oldest = NULL;
    s->out.newest = last;
    s->out.flying = NULL;
    s->out.flying_bytes = 0;
    sim_cancel(s->conn->net->sim, &s->out.arrival);
}

/* What has come from this side and was not read. */
static void drop_arrived(struct side *s) {
    struct way *w = &s->out;

    while (w->oldest != w->flying) {
        struct segment *seg = w->oldest;

        w->oldest = seg->next;
        alloc_put(alloc_system(), seg, sizeof *seg + seg->size_bytes);
    }
    if (w->flying == NULL)
        w->newest = NULL;
    w->arrived_bytes = 0;
}

static void stop_waiting(struct side *s) {
    sim_cancel(s->conn->net->sim, &s->gives_up);
    sim_cancel(s->conn->net->sim, &s->hears_reset);
}

void sim_side_break(struct side *s) {
    struct sim_net *n = s->conn->net;

    if (s->broken || s->dead)
        return;
    s->broken = true;
    drop_flying(s);
    stop_waiting(s);
    if (rng_one_in(&n->rng, 2))
        drop_arrived(other_side(s));
    sim_note(n->sim, (uint64_t) s->conn->number << 8 | 0xb0);
    sim_side_ready(s);
}

static void on_reset(struct sim_event *e) {
    struct side *s = EG_CONTAINER_OF(e, struct side, hears_reset);

    sim_side_break(s);
    sim_conn_settle(s->conn);
}

void sim_side_send_reset(struct side *s) {
    struct side *to = other_side(s);
    struct sim_net *n = s->conn->net;

    if (to->broken || to->dead || !carries(n, s->host, to->host))
        return;
    sim_at(n->sim, &to->hears_reset, sim_now_ns(n->sim) + delay_ns(n, &n->link[s->host][to->host]),
           on_reset);
}

bool sim_side_draws_reset(struct side *s) {
    struct sim_net *n = s->conn->net;

    if (n->habits.reset_one_in == 0 || !rng_one_in(&n->rng, n->habits.reset_one_in))
        return false;
    if (rng_below(&n->rng, 100) >= n->habits.silent_percent)
        sim_side_send_reset(s);
    sim_side_break(s);
    return true;
}

/* Nobody answers what this side sends. */
static void on_give_up(struct sim_event *e) {
    struct side *s = EG_CONTAINER_OF(e, struct side, gives_up);

    sim_side_send_reset(s);
    sim_side_break(s);
    sim_conn_settle(s->conn);
}

static void wait_for_answer(struct side *s) {
    struct sim_net *n = s->conn->net;
    uint64_t give_up_ns = n->habits.give_up_ms * MS;

    if (s->gives_up.place == 0)
        sim_at(n->sim, &s->gives_up,
               sim_now_ns(n->sim) + give_up_ns / 2 + rng_below(&n->rng, give_up_ns), on_give_up);
}

/* ---- a way ------------------------------------------------------------------------------ */

static void on_arrival(struct sim_event *e);

static void await_arrival(struct side *s) {
    if (s->out.flying != NULL)
        sim_at(s->conn->net->sim, &s->out.arrival, s->out.flying->arrives_ns, on_arrival);
}

/* A kernel that knows nothing of this connection says so. */
static void refuse_segment(struct side *from) {
    struct side *to = other_side(from);

    if (!carries(from->conn->net, to->host, from->host)) {
        wait_for_answer(from);
        return;
    }
    drop_flying(from);
    sim_side_send_reset(to);
    sim_conn_settle(from->conn);
}

static bool is_let_go(const struct side *s) {
    return (s->stream == NULL || s->closing) && !s->waits && !s->connecting;
}

static void arrive(struct side *from) {
    struct way *w = &from->out;
    struct segment *seg = w->flying;

    w->flying = seg->next;
    w->flying_bytes -= seg->size_bytes;
    w->arrived_bytes += seg->size_bytes;
    if (carries(from->conn->net, other_side(from)->host, from->host))
        sim_cancel(from->conn->net->sim, &from->gives_up);
    else
        wait_for_answer(from); /* it arrives and its sender never hears so */
    await_arrival(from);
    sim_side_ready(other_side(from));
    if (from->writing != NULL)
        sim_side_ready(from);
}

static void on_arrival(struct sim_event *e) {
    struct side *from = EG_CONTAINER_OF(e, struct side, out.arrival);
    struct side *to = other_side(from);
    struct sim_net *n = from->conn->net;
    struct segment *seg = from->out.flying;
    bool end = seg->size_bytes == 0;

    if (!carries(n, from->host, to->host)) {
        wait_for_answer(from);
    } else if (to->broken || to->dead || (is_let_go(to) && !end)) {
        refuse_segment(from);
    } else if (from->out.arrived_bytes == 0 ||
               from->out.arrived_bytes + seg->size_bytes <= n->habits.receive_buffer_bytes) {
        arrive(from);
        sim_conn_settle(from->conn);
    } /* else it arrives when there is room: sim_side_take() */
}

static void append(struct side *s, const uint8_t *at, uint32_t size_bytes) {
    struct sim_net *n = s->conn->net;
    struct sim_link *l = &n->link[s->host][other_side(s)->host];
    struct segment *seg = alloc_get(alloc_system(), sizeof *seg + size_bytes);
    uint64_t now_ns = sim_now_ns(n->sim);

    EG_ASSERT(seg != NULL);
    *seg = (struct segment){.size_bytes = size_bytes};
    if (size_bytes > 0)
        memcpy(seg->bytes, at, size_bytes);
    l->sent_bytes += size_bytes;
    l->free_ns = EG_MAX(l->free_ns, now_ns);
    if (l->bytes_per_s != 0)
        l->free_ns += size_bytes * UINT64_C(1000000000) / l->bytes_per_s;
    seg->arrives_ns = l->free_ns + delay_ns(n, l);
    if (s->out.newest != NULL) {
        seg->arrives_ns = EG_MAX(seg->arrives_ns, s->out.newest->arrives_ns);
        s->out.newest->next = seg;
    } else {
        s->out.oldest = seg;
    }
    s->out.newest = seg;
    s->out.flying_bytes += size_bytes;
    if (s->out.flying == NULL) {
        s->out.flying = seg;
        await_arrival(s);
    }
}

size_t sim_side_room_bytes(const struct side *s) {
    size_t bound_bytes = s->conn->net->habits.send_buffer_bytes;

    return s->out.flying_bytes >= bound_bytes ? 0 : bound_bytes - s->out.flying_bytes;
}

void sim_side_send(struct side *s, const uint8_t *at, size_t size_bytes) {
    struct sim_net *n = s->conn->net;

    while (size_bytes > 0) {
        size_t part = EG_MIN(size_bytes, (size_t) n->habits.segment_bytes);

        append(s, at, (uint32_t) part);
        at += part;
        size_bytes -= part;
    }
}

void sim_side_send_end(struct side *s) {
    if (s->finished || s->broken || s->dead)
        return;
    s->finished = true;
    append(s, NULL, 0);
}

void sim_side_take(struct side *s, uint8_t *to, size_t size_bytes) {
    struct side *from = other_side(s);
    struct way *w = &from->out;

    w->arrived_bytes -= size_bytes;
    while (size_bytes > 0) {
        struct segment *seg = w->oldest;
        uint32_t part = (uint32_t) EG_MIN(size_bytes, (size_t) (seg->size_bytes - seg->read_bytes));

        memcpy(to, seg->bytes + seg->read_bytes, part);
        to += part;
        size_bytes -= part;
        seg->read_bytes += part;
        if (seg->read_bytes < seg->size_bytes)
            break;
        w->oldest = seg->next;
        if (w->newest == seg)
            w->newest = NULL;
        alloc_put(alloc_system(), seg, sizeof *seg + seg->size_bytes);
    }
    if (w->flying != NULL && w->arrival.place == 0)
        await_arrival(from); /* there may be room now */
}

/* ---- connections --------------------------------------------------------------------------- */

static void side_init(struct side *s, struct conn *c, uint32_t host) {
    s->conn = c;
    s->host = host;
    list_init(&s->ready);
}

struct conn *sim_conn_new(struct sim_net *n, uint32_t from, uint32_t to, uint16_t port) {
    struct conn *c = alloc_zero(alloc_system(), sizeof *c);

    EG_ASSERT(c != NULL);
    c->net = n;
    c->number = n->number++;
    c->port = port;
    list_init(&c->pending);
    side_init(&c->side[0], c, from);
    side_init(&c->side[1], c, to);
    c->side[0].connecting = c->side[1].dead = true;
    list_push_back(&n->conns, &c->node);
    n->conn_count++;
    return c;
}

static void conn_free(struct conn *c) {
    struct sim *s = c->net->sim;

    sim_cancel(s, &c->dial);
    list_remove(&c->pending);
    list_remove(&c->node);
    for (int i = 0; i < 2; i++) {
        EG_ASSERT(c->side[i].stream == NULL);
        drop_flying(&c->side[i]);
        drop_arrived(&c->side[i]);
        stop_waiting(&c->side[i]);
        list_remove(&c->side[i].ready);
    }
    c->net->conn_count--;
    alloc_put(alloc_system(), c, sizeof *c);
}

void sim_conn_settle(struct conn *c) {
    for (int i = 0; i < 2; i++) {
        const struct side *s = &c->side[i];

        if (s->stream != NULL || s->waits)
            return;
        if (!s->broken && !s->dead && s->out.flying != NULL)
            return;
    }
    conn_free(c);
}

struct conn *sim_conn_numbered(struct sim_net *n, uint32_t number) {
    for (struct list_node *at = n->conns.next; at != &n->conns; at = at->next)
        if (EG_CONTAINER_OF(at, struct conn, node)->number == number)
            return EG_CONTAINER_OF(at, struct conn, node);
    return NULL;
}

static struct door *door_at(struct sim_net *n, uint32_t host, uint16_t port) {
    for (struct list_node *w = n->wires.next; w != &n->wires; w = w->next) {
        struct wire *wire = EG_CONTAINER_OF(w, struct wire, node);

        for (struct list_node *d = wire->doors.next; d != &wire->doors; d = d->next) {
            struct door *door = EG_CONTAINER_OF(d, struct door, node);

            if (wire->host == host && door->port == port && !door->closing)
                return door;
        }
    }
    return NULL;
}

/* The answer has come back to who dialled. */
static void on_dial_answer(struct sim_event *e) {
    struct conn *c = EG_CONTAINER_OF(e, struct conn, dial);
    struct side *s = &c->side[0];

    if (!carries(c->net, c->side[1].host, s->host)) { /* it is sent again */
        sim_at(c->net->sim, e, sim_now_ns(c->net->sim) + DIAL_FIRST_MS * MS, on_dial_answer);
        wait_for_answer(s);
        return;
    }
    sim_cancel(c->net->sim, &s->gives_up);
    s->connected = true;
    s->broken |= c->side[1].dead;
    sim_side_ready(s);
}

/* The call has come to the host that it is for. */
static void on_dial(struct sim_event *e) {
    struct conn *c = EG_CONTAINER_OF(e, struct conn, dial);
    struct sim_net *n = c->net;
    struct side *from = &c->side[0], *to = &c->side[1];
    uint64_t now_ns = sim_now_ns(n->sim);
    struct door *door;

    if (to->host == SIM_HOSTS_MAX) { /* no such name */
        from->connected = from->broken = true;
        sim_side_ready(from);
        return;
    }
    if (!carries(n, from->host, to->host)) {
        wait_for_answer(from);
        c->attempts = EG_MIN(c->attempts + 1, (uint32_t) DIAL_DOUBLINGS);
        sim_at(n->sim, e, now_ns + (DIAL_FIRST_MS * MS << (c->attempts - 1)), on_dial);
        return;
    }
    door = door_at(n, to->host, c->port);
    if (door != NULL) {
        to->dead = false;
        to->waits = true;
        list_push_back(&door->pending, &c->pending);
        sim_door_ready(door);
    }
    sim_at(n->sim, e, now_ns + delay_ns(n, &n->link[to->host][from->host]), on_dial_answer);
}

void sim_conn_dial(struct conn *c) {
    struct side *from = &c->side[0], *to = &c->side[1];
    struct sim_net *n = c->net;
    const struct sim_link *l =
        &n->link[from->host][to->host == SIM_HOSTS_MAX ? from->host : to->host];

    sim_at(n->sim, &c->dial, sim_now_ns(n->sim) + delay_ns(n, l), on_dial);
}

/* ---- faults -----------------------------------------------------------------------------------
 */

static void go_on(struct side *s) {
    struct sim_net *n = s->conn->net;

    if (s->out.flying == NULL || s->out.arrival.place != 0 ||
        !carries(n, s->host, other_side(s)->host))
        return;
    s->out.flying->arrives_ns = EG_MAX(s->out.flying->arrives_ns,
                                       sim_now_ns(n->sim) + rng_below(&n->rng, RESEND_MAX_MS * MS) +
                                           delay_ns(n, &n->link[s->host][other_side(s)->host]));
    await_arrival(s);
}

void sim_net_changed(struct sim_net *n) {
    for (struct list_node *at = n->conns.next; at != &n->conns; at = at->next) {
        struct conn *c = EG_CONTAINER_OF(at, struct conn, node);

        if (c->side[1].host == SIM_HOSTS_MAX)
            continue;
        for (int i = 0; i < 2; i++) {
            struct side *s = &c->side[i];

            if (!s->connecting && carries(n, s->host, other_side(s)->host) &&
                carries(n, other_side(s)->host, s->host))
                sim_cancel(n->sim, &s->gives_up);
            go_on(s);
        }
    }
}

static void quick_links(struct sim_net *n) {
    for (int from = 0; from < SIM_HOSTS_MAX; from++)
        for (int to = 0; to < SIM_HOSTS_MAX; to++) {
            struct sim_link *l = &n->link[from][to];

            l->cut = false;
            l->bytes_per_s = 0;
            l->free_ns = 0;
            l->delay_min_ns = from == to ? 5000 : 50000;
            l->delay_mean_ns = from == to ? 5000 : 50000;
        }
}

/* What crept is there at once. */
static void hurry(struct side *s) {
    uint64_t now_ns = sim_now_ns(s->conn->net->sim);

    for (struct segment *seg = s->out.flying; seg != NULL; seg = seg->next)
        seg->arrives_ns = EG_MIN(seg->arrives_ns, now_ns);
    if (s->out.arrival.place != 0)
        await_arrival(s);
}

void sim_net_heal(struct sim_net *n) {
    quick_links(n);
    for (struct list_node *at = n->conns.next; at != &n->conns; at = at->next) {
        hurry(&EG_CONTAINER_OF(at, struct conn, node)->side[0]);
        hurry(&EG_CONTAINER_OF(at, struct conn, node)->side[1]);
    }
    n->habits.reset_one_in = n->habits.slow_one_in = 0;
    sim_net_changed(n);
}

static void side_crash(struct side *s, bool power) {
    if (!power && !s->dead)
        sim_side_send_reset(s);
    drop_flying(s);
    drop_arrived(other_side(s));
    stop_waiting(s);
    list_remove(&s->ready);
    s->dead = true;
    s->stream = NULL;
    s->wire = NULL;
    s->writing = NULL;
    s->waits = s->connecting = false;
}

void sim_net_crash(struct sim_net *n, uint32_t host, bool power) {
    for (struct list_node *at = n->conns.next, *next; at != &n->conns; at = next) {
        struct conn *c = EG_CONTAINER_OF(at, struct conn, node);

        next = at->next;
        for (int i = 0; i < 2; i++)
            if (c->side[i].host == host)
                side_crash(&c->side[i], power);
        if (c->side[1].host == host)
            list_remove(&c->pending);
        if (c->side[0].host == host)
            sim_cancel(n->sim, &c->dial);
        sim_conn_settle(c);
    }
    for (struct list_node *at = n->wires.next, *next; at != &n->wires; at = next) {
        struct wire *w = EG_CONTAINER_OF(at, struct wire, node);

        next = at->next;
        if (w->host == host)
            sim_wire_forget(w);
    }
    n->host[host].powered = !power;
    sim_note(n->sim, (uint64_t) host << 8 | 0xc0);
}

void sim_net_break(struct sim_net *n, uint32_t a, uint32_t b) {
    for (struct list_node *at = n->conns.next; at != &n->conns; at = at->next) {
        struct conn *c = EG_CONTAINER_OF(at, struct conn, node);
        struct side *s = &c->side[rng_below(&n->rng, 2)];

        if (!((c->side[0].host == a && c->side[1].host == b) ||
              (c->side[0].host == b && c->side[1].host == a)) ||
            s->connecting || s->broken || s->dead)
            continue;
        if (rng_below(&n->rng, 100) >= n->habits.silent_percent)
            sim_side_send_reset(s);
        sim_side_break(s);
        sim_conn_settle(c);
        return;
    }
}

uint32_t sim_net_connections(const struct sim_net *n) {
    return n->conn_count;
}

/* ---- open, close
 * --------------------------------------------------------------------------------- */

struct sim_net *sim_net_open(struct sim *s) {
    struct sim_net *n = alloc_zero(alloc_system(), sizeof *n);

    EG_ASSERT(n != NULL && sim_user(s) == NULL);
    n->sim = s;
    n->rng = rng_of(sim_split(s));
    n->port = 40000;
    n->habits = (struct sim_net_habits){.send_buffer_bytes = 256 * 1024,
                                        .receive_buffer_bytes = 256 * 1024,
                                        .segment_bytes = 64 * 1024,
                                        .silent_percent = 70,
                                        .give_up_ms = 120 * 1000};
    list_init(&n->conns);
    list_init(&n->wires);
    quick_links(n);
    sim_set_user(s, n);
    return n;
}

void sim_net_close(struct sim_net *n) {
    EG_ASSERT(list_is_empty(&n->wires));
    for (struct list_node *at = n->conns.next, *next; at != &n->conns; at = next) {
        next = at->next;
        conn_free(EG_CONTAINER_OF(at, struct conn, node));
    }
    sim_set_user(n->sim, NULL);
    alloc_put(alloc_system(), n, sizeof *n);
}
