/* swim.c -- who answers: pings, suspicions and when they run out.
 *
 *     0           timeout                 interval * (health + 1)
 *     ping ------ no ack: three others ---- still none, or all say no: suspect
 *
 * A machine that has slept (a stopped process, a loaded computer) has missed its own deadlines,
 * not the others': all of them are put off by as long as it slept.  From Lifeguard: health, what
 * the accused hears, the time to refute by the number of accusers; and from Consul's
 * storms by one sick observer: among four or more nobody goes down on one node's word, while
 * there is another to be asked. */
#include "replication/swim_private.h"

#include <string.h>

enum {
    SUSPECT_MAX_MULT = 6, /* the longest time to refute, of the shortest */
    CONFIRMATIONS = SWIM_SUSPECT_MULT - 2,
    ASLEEP_MS = SWIM_INTERVAL_MS, /* a tick that is later than this was no tick */
};

const char *swim_state_name(enum swim_state state) {
    static const char *const name[] = {
        [SWIM_JOINING] = "joining", [SWIM_UP] = "up",     [SWIM_LEAVING] = "leaving",
        [SWIM_SUSPECT] = "suspect", [SWIM_DOWN] = "down", [SWIM_LEFT] = "left",
        [SWIM_REMOVED] = "removed"};

    EG_ASSERT((size_t) state < EG_COUNTOF(name));
    return name[state];
}

eg_err swim_open(struct swim **out, struct alloc *a, const struct node_info *self,
                 const struct swim_ops *ops, void *user) {
    struct swim *s = alloc_zero(a, sizeof *s);

    if (s == NULL)
        return EG_MEMORY;
    EG_ASSERT(self->incarnation > 0 && self->incarnation <= SWIM_NUMBER_MAX);
    s->alloc = a;
    s->ops = ops;
    s->user = user;
    swim_entry_add(s, self);
    swim_self(s)->m.state = SWIM_UP;
    *out = s;
    return EG_OK;
}

void swim_close(struct swim *s) {
    alloc_put(s->alloc, s, sizeof *s);
}

/* ---- who is asked ------------------------------------------------------- */

static uint32_t live_count(const struct swim *s) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->count; i++)
        n += swim_is_live(&s->entry[i].m);
    return n;
}

/* One that could tell us of others. */
static bool is_helper(const struct swim_entry *e) {
    return e->m.linked && (e->m.state == SWIM_UP || e->m.state == SWIM_LEAVING);
}

/* One that may want to hear: also those whom we think down, they think so of us. */
static bool is_listener(const struct swim_entry *e) {
    return e->m.linked;
}

/* Up to `wanted` random ones of a kind but `except`; returns how many. */
static uint32_t entries_pick(struct swim *s, bool (*is_one)(const struct swim_entry *e),
                             const struct swim_entry *except, uint32_t wanted,
                             struct swim_entry **out) {
    uint32_t count = 0, seen = 0;

    for (uint32_t i = 1; i < s->count; i++) { /* a sample of a stream */
        struct swim_entry *e = &s->entry[i];
        if (e == except || !is_one(e))
            continue;
        seen++;
        if (count < wanted) {
            out[count++] = e;
        } else {
            uint64_t at = s->ops->random(s->user) % seen;
            if (at < wanted)
                out[at] = e;
        }
    }
    return count;
}

/* The next to be pinged: whoever is suspected, else by shuffled rounds.  NULL: nobody. */
static struct swim_entry *target_next(struct swim *s) {
    for (uint32_t i = 1; i < s->count; i++) {
        struct swim_entry *e = &s->entry[i];
        if (e->hurry && swim_is_live(&e->m) && !e->probe.under_way)
            return e;
    }
    for (uint32_t tries = 0; tries < 2; tries++) {
        while (s->round_at < s->round_count) {
            struct swim_entry *e = &s->entry[s->round[s->round_at++]];
            if (e != swim_self(s) && swim_is_live(&e->m) && !e->probe.under_way)
                return e;
        }
        s->round_at = 0;
        s->round_count = s->count;
        for (uint32_t i = 0; i < s->count; i++) {
            uint32_t j = (uint32_t) (s->ops->random(s->user) % (i + 1));
            s->round[i] = s->round[j];
            s->round[j] = (uint16_t) i;
        }
    }
    return NULL;
}

/* ---- a ping and what becomes of it -------------------------------------- */

static uint64_t interval_ms(const struct swim *s) {
    return (uint64_t) SWIM_INTERVAL_MS * (s->health + 1);
}

static uint32_t number_next(struct swim *s) {
    s->number = s->number == UINT32_MAX ? 1 : s->number + 1;
    return s->number;
}

static void health_add(struct swim *s, int by) {
    int health = (int) s->health + by;
    s->health = health < 0 ? 0 : EG_MIN((uint32_t) health, SWIM_HEALTH_MAX);
}

static void probe_ask_others(struct swim *s, struct swim_entry *e) {
    struct swim_entry *helper[SWIM_INDIRECT];
    struct swim_probe *p = &e->probe;

    p->asked = true;
    p->asked_count = entries_pick(s, is_helper, e, SWIM_INDIRECT, helper);
    for (uint32_t i = 0; i < p->asked_count; i++)
        swim_send(s, helper[i]->m.info.id, SWIM_ASK, p->number, (int64_t) e->m.info.id);
}

static void probe_start(struct swim *s, struct swim_entry *e) {
    e->hurry = false;
    e->probe = (struct swim_probe){.under_way = true,
                                   .number = number_next(s),
                                   .started_ms = s->now_ms,
                                   .started_wall_ms = s->wall_ms};
    if (swim_is_reached(e))
        swim_send(s, e->m.info.id, SWIM_PING, e->probe.number, 0);
    else
        probe_ask_others(s, e);
}

static void probe_failed(struct swim *s, struct swim_entry *e) {
    struct swim_probe *p = &e->probe;

    p->under_way = false;
    if (p->asked_count > 0) /* who says nothing at all: it may be us who does not hear */
        health_add(s, (int) (p->asked_count - p->nack_count));
    else if (swim_is_reached(e))
        health_add(s, 1);
    swim_accuse(s, e, swim_self(s)->m.info.id);
}

/* When to look at it again. */
static uint64_t probe_step(struct swim *s, struct swim_entry *e) {
    struct swim_probe *p = &e->probe;
    uint64_t ask_ms = p->started_ms + SWIM_TIMEOUT_MS, end_ms = p->started_ms + interval_ms(s);
    bool hopeless = p->asked && !swim_is_reached(e) && p->nack_count == p->asked_count;

    if (!p->asked && s->now_ms >= ask_ms)
        probe_ask_others(s, e);
    if (s->now_ms >= end_ms || hopeless) {
        probe_failed(s, e);
        return UINT64_MAX;
    }
    return p->asked ? end_ms : ask_ms;
}

/* ---- how long a suspicion lasts ----------------------------------------- */

static uint64_t suspect_ms(const struct swim *s, const struct swim_entry *e) {
    static const uint32_t log_permille[CONFIRMATIONS + 1] = {0, 631, 1000}; /* log(c+1) / log(3) */
    uint32_t live = live_count(s);
    uint64_t log10_permille = live <= 10 ? 1000 : 1000 + (live - 10) * 35 / 2; /* near enough */
    uint64_t min_ms = SWIM_SUSPECT_MULT * SWIM_INTERVAL_MS * log10_permille / 1000;
    uint64_t max_ms = SUSPECT_MAX_MULT * min_ms;
    uint32_t confirmed = e->accuser_count > 0 ? e->accuser_count - 1 : 0;

    if (live < CONFIRMATIONS + 2) /* there is nobody who could confirm */
        return min_ms;
    return max_ms - (max_ms - min_ms) * log_permille[EG_MIN(confirmed, CONFIRMATIONS)] / 1000;
}

static uint64_t suspicion_step(struct swim *s, struct swim_entry *e) {
    struct swim_entry *helper[2];
    uint64_t due_ms = e->m.since_ms + suspect_ms(s, e);

    if (s->now_ms < due_ms)
        return due_ms;
    if (e->accuser_count < 2 && live_count(s) >= 4 &&
        entries_pick(s, is_helper, e, 2, helper) == 2) {
        e->m.since_ms = s->now_ms; /* one word against those who hear it as well */
        return s->now_ms + suspect_ms(s, e);
    }
    swim_entry_set(s, e, SWIM_DOWN);
    return UINT64_MAX;
}

/* ---- time --------------------------------------------------------------- */

static void put_off(struct swim *s, uint64_t by_ms) {
    for (uint32_t i = 1; i < s->count; i++) {
        struct swim_entry *e = &s->entry[i];
        if (e->m.state == SWIM_SUSPECT || e->m.state == SWIM_JOINING)
            e->m.since_ms += by_ms;
        if (e->probe.under_way)
            e->probe.started_ms += by_ms;
    }
    for (uint32_t i = 0; i < SWIM_RELAYS; i++)
        s->relay[i].due_ms += by_ms;
    health_add(s, 1);
}

static uint64_t entry_step(struct swim *s, struct swim_entry *e) {
    uint64_t next_ms = UINT64_MAX;

    if (e->probe.under_way)
        next_ms = probe_step(s, e);
    if (e->m.state == SWIM_SUSPECT)
        next_ms = EG_MIN(next_ms, suspicion_step(s, e));
    if (e->m.state == SWIM_JOINING && !e->m.linked) {
        if (s->now_ms < e->m.since_ms + SWIM_JOINING_MS)
            next_ms = EG_MIN(next_ms, e->m.since_ms + SWIM_JOINING_MS);
        else
            swim_entry_set(s, e, SWIM_DOWN);
    }
    return next_ms;
}

static uint64_t relays_step(struct swim *s) {
    uint64_t next_ms = UINT64_MAX;

    for (uint32_t i = 0; i < SWIM_RELAYS; i++) {
        struct swim_relay *r = &s->relay[i];
        if (r->number == 0)
            continue;
        if (s->now_ms >= r->due_ms) {
            swim_send(s, r->asker, SWIM_NACK, r->their_number, 0);
            r->number = 0;
        } else {
            next_ms = EG_MIN(next_ms, r->due_ms);
        }
    }
    return next_ms;
}

static void gossip(struct swim *s) {
    struct swim_entry *listener[SWIM_INDIRECT];
    uint32_t count = entries_pick(s, is_listener, NULL, SWIM_INDIRECT, listener);

    for (uint32_t i = 0; i < count; i++)
        swim_send(s, listener[i]->m.info.id, SWIM_TELL, 0, 0);
    if (count == 0) { /* who links hears all */
        for (uint32_t i = 0; i < s->count; i++)
            s->entry[i].tell_count = 0;
    }
}

/* Is something due that comes every so often?  Then it is due again later. */
static bool is_due(const struct swim *s, uint64_t *due_ms, uint64_t every_ms) {
    if (s->now_ms < *due_ms)
        return false;
    *due_ms = s->now_ms + every_ms;
    return true;
}

uint64_t swim_tick(struct swim *s, uint64_t now_ms, int64_t wall_ms) {
    struct swim_entry *e = NULL;
    uint64_t next_ms;

    if (s->next_ms != 0 && now_ms > s->next_ms + ASLEEP_MS)
        put_off(s, now_ms - s->next_ms);
    s->now_ms = now_ms;
    s->wall_ms = wall_ms;
    if (s->next_ms == 0)
        swim_self(s)->m.since_ms = now_ms;
    if (is_due(s, &s->probe_ms, interval_ms(s)) && (e = target_next(s)) != NULL)
        probe_start(s, e);
    if (is_due(s, &s->exchange_ms, SWIM_EXCHANGE_MS) &&
        entries_pick(s, is_listener, NULL, 1, &e) == 1)
        swim_send(s, e->m.info.id, SWIM_DIGEST, swim_digest(s), 0);
    next_ms = EG_MIN(s->probe_ms, s->exchange_ms);
    for (uint32_t i = 1; i < s->count; i++)
        next_ms = EG_MIN(next_ms, entry_step(s, &s->entry[i]));
    next_ms = EG_MIN(next_ms, relays_step(s));
    if (swim_has_news(s)) {
        if (is_due(s, &s->gossip_ms, SWIM_GOSSIP_MS))
            gossip(s);
        next_ms = EG_MIN(next_ms, s->gossip_ms);
    }
    s->next_ms = next_ms;
    return next_ms;
}

/* ---- messages ----------------------------------------------------------- */

static void relay_start(struct swim *s, uint64_t asker, uint32_t their_number, uint64_t target) {
    struct swim_entry *e = swim_entry_find(s, target);

    for (uint32_t i = 0; i < SWIM_RELAYS && e != NULL && swim_is_reached(e); i++) {
        struct swim_relay *r = &s->relay[i];
        if (r->number != 0)
            continue;
        *r = (struct swim_relay){.number = number_next(s),
                                 .their_number = their_number,
                                 .asker = asker,
                                 .target = target,
                                 .due_ms = s->now_ms + SWIM_TIMEOUT_MS};
        swim_send(s, target, SWIM_PING, r->number, 0);
        return;
    }
    swim_send(s, asker, SWIM_NACK, their_number, 0);
}

static void ack_receive(struct swim *s, uint64_t from, uint32_t number, int64_t wall_ms) {
    for (uint32_t i = 1; i < s->count; i++) {
        struct swim_entry *e = &s->entry[i];
        if (!e->probe.under_way || e->probe.number != number)
            continue;
        if (from == e->m.info.id) {
            e->m.round_trip_ms = s->now_ms - e->probe.started_ms;
            e->m.skew_ms = wall_ms - (e->probe.started_wall_ms + s->wall_ms) / 2;
        }
        e->probe.under_way = false;
        health_add(s, -1);
        return;
    }
    for (uint32_t i = 0; i < SWIM_RELAYS; i++) {
        struct swim_relay *r = &s->relay[i];
        if (r->number == number && r->number != 0 && r->target == from) {
            swim_send(s, r->asker, SWIM_ACK, r->their_number, wall_ms);
            r->number = 0;
            return;
        }
    }
}

static void nack_receive(struct swim *s, uint32_t number) {
    for (uint32_t i = 1; i < s->count; i++) {
        struct swim_probe *p = &s->entry[i].probe;
        if (p->under_way && p->number == number && p->nack_count < p->asked_count)
            p->nack_count++;
    }
}

/* The claims of a message come first: an ack may bring what refutes. */
static bool message_receive(struct swim *s, uint64_t from, enum swim_kind kind,
                            struct value_iter *it) {
    struct value v;
    uint64_t number = 0, target = 0;
    int64_t wall_ms = 0;

    if (kind != SWIM_TELL && !(value_iter_next(it, &v) && value_get_u64(v, &number)))
        return false;
    if (kind == SWIM_ACK && !(value_iter_next(it, &v) && value_get_i64(v, &wall_ms)))
        return false;
    if (kind == SWIM_ASK && !(value_iter_next(it, &v) && value_get_u64(v, &target)))
        return false;
    if (kind != SWIM_DIGEST && number > UINT32_MAX)
        return false;
    if (wall_ms < 0 || wall_ms > INT64_MAX / 4)
        return false;
    swim_claims_receive(s, from, it);
    switch (kind) {
    case SWIM_PING:
        swim_send(s, from, SWIM_ACK, number, s->wall_ms);
        break;
    case SWIM_ACK:
        ack_receive(s, from, (uint32_t) number, wall_ms);
        break;
    case SWIM_ASK:
        relay_start(s, from, (uint32_t) number, target);
        break;
    case SWIM_NACK:
        nack_receive(s, (uint32_t) number);
        break;
    case SWIM_DIGEST:
        if (number != swim_digest(s))
            swim_send_all(s, from);
        break;
    case SWIM_TELL:
        break;
    }
    return true;
}

void swim_receive(struct swim *s, uint64_t from, struct value payload, uint64_t now_ms,
                  int64_t wall_ms) {
    struct value_iter it;
    struct value v;
    uint64_t kind;

    s->now_ms = now_ms;
    s->wall_ms = wall_ms;
    if (value_kind_of(payload) != VALUE_ARRAY || value_count(payload) == 0 ||
        swim_entry_find(s, from) == NULL) {
        s->dropped++;
        return;
    }
    it = value_iter_of(payload);
    value_iter_next(&it, &v);
    if (!value_get_u64(v, &kind) || kind > SWIM_DIGEST ||
        !message_receive(s, from, (enum swim_kind) kind, &it))
        s->dropped++;
}

/* ---- links -------------------------------------------------------------- */

void swim_linked(struct swim *s, const struct node_info *who, uint64_t now_ms) {
    struct swim_claim alive = {.info = *who, .state = SWIM_UP};
    struct swim_entry *e;

    s->now_ms = now_ms;
    if (who->id == swim_self(s)->m.info.id || who->incarnation == 0 ||
        who->incarnation > SWIM_NUMBER_MAX) {
        s->dropped++;
        return;
    }
    e = swim_entry_find(s, who->id);
    if (e != NULL && e->m.state == SWIM_JOINING && who->incarnation == e->m.info.incarnation)
        alive.version = e->m.version; /* of a start that went on while we were away */
    swim_claim_take(s, who->id, &alive);
    e = swim_entry_find(s, who->id);
    if (e == NULL)
        return;
    e->m.linked = true;
    e->linked_as = who->incarnation;
    e->probe.under_way = false;
    swim_send_all(s, who->id);
}

void swim_unlinked(struct swim *s, uint64_t id, uint64_t now_ms) {
    struct swim_entry *e = swim_entry_find(s, id);

    s->now_ms = now_ms;
    if (e == NULL || e == swim_self(s))
        return;
    e->m.linked = false;
    if (swim_is_live(&e->m))
        probe_start(s, e);
}

eg_err swim_may_link(const struct swim *s, const struct node_info *who, struct err_note *note) {
    const struct swim_member *m = swim_find(s, who->id);
    uint32_t members = 0;

    for (uint32_t i = 0; i < s->count; i++)
        members += s->entry[i].m.state != SWIM_LEFT && s->entry[i].m.state != SWIM_REMOVED;
    if (m == NULL && members >= NODES_MAX)
        return err_note(note, EG_DENIED, "the cluster has %d members already", NODES_MAX);
    if (m == NULL)
        return EG_OK;
    if (strcmp(m->info.name, who->name) != 0)
        return err_note(note, EG_DENIED, "the names %s and %s cannot be in one cluster",
                        m->info.name, who->name);
    if (m == &s->entry[0].m)
        return err_note(note, EG_DENIED, "%s is the name of this node", who->name);
    if (who->incarnation <= m->removed)
        return err_note(note, EG_DENIED, "%s was removed from the cluster", who->name);
    if (swim_is_live(m) && who->incarnation != m->info.incarnation)
        return err_note(note, EG_DENIED, "a node with the name %s is up, at %s", who->name,
                        m->info.address);
    return EG_OK;
}

/* ---- from above --------------------------------------------------------- */

void swim_say(struct swim *s, enum swim_state state, uint64_t now_ms) {
    EG_ASSERT(state == SWIM_UP || state == SWIM_LEAVING || state == SWIM_LEFT ||
              state == SWIM_DOWN);
    s->now_ms = now_ms;
    swim_say_self(s, state);
    swim_tell_linked(s, swim_self(s));
}

void swim_forget_all(struct swim *s, uint64_t now_ms) {
    s->now_ms = now_ms;
    s->count = 1;
    s->order[0] = 0;
    s->round_at = s->round_count = s->told_at = 0;
    memset(s->relay, 0, sizeof s->relay);
    swim_say_self(s, SWIM_UP);
}

eg_err swim_remove(struct swim *s, uint64_t id, uint64_t now_ms) {
    struct swim_entry *e = swim_entry_find(s, id);
    uint64_t now = s->wall_ms > 0 ? (uint64_t) s->wall_ms << 16 : 0;
    struct swim_claim gone;

    s->now_ms = now_ms;
    if (e == NULL)
        return EG_NOT_FOUND;
    if (e == swim_self(s))
        return EG_BAD_REQUEST;
    gone = (struct swim_claim){.info = e->m.info, .state = e->m.state, .version = e->m.version};
    gone.removed = EG_MAX(EG_MAX(e->m.info.incarnation, now), e->m.removed);
    swim_claim_take(s, swim_self(s)->m.info.id, &gone);
    swim_tell_linked(s, e);
    return EG_OK;
}

uint32_t swim_count(const struct swim *s) {
    return s->count;
}

const struct swim_member *swim_at(const struct swim *s, uint32_t number) {
    EG_ASSERT(number < s->count);
    return &s->entry[s->order[number]].m;
}

const struct swim_member *swim_find(const struct swim *s, uint64_t id) {
    const struct swim_entry *e = swim_entry_find((struct swim *) s, id);
    return e != NULL ? &e->m : NULL;
}

uint64_t swim_dropped(const struct swim *s) {
    return s->dropped;
}
