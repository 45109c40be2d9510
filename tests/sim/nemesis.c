/* nemesis.c -- faults begin at times of their own, and each leaves a note of how it ends. */
#include "tests/sim/nemesis.h"

#include "tables/table_private.h"
#include "tests/sim/cut_shape.h"

#include <string.h>

enum {
    UNDOS_MAX = 64,
    MEAN_MIN_MS = 700, /* between two faults of a kind, drawn for each */
    MEAN_MAX_MS = 20000,
    TX_MEAN_MS = 2500, /* of a node that is killed or cut off, where there are transactions */
    ACTOR_MEAN_MIN_MS = 2500, /* a table whose shards are killed 16 times in 10 s gives up */
    LAST_MIN_MS = 20,
    LAST_MAX_MS = 15000,
    ASK_AGAIN_MS = 500,
    MEND_MS = 60 * 1000,
    JUMP_MAX_MS = 3600 * 1000,
    BLIP_MS = 4,
    LONG_BLIP_MS = 1000,
    FLAP_MS = 300, /* at most, between two changes */
    FLAP_TIMES = 20,
    NOTICED_MIN_MS = 2000,
    NOTICED_MS = 6000,
};

static const uint64_t MS = 1000000;

struct kind {
    bool on;
    struct rng rng;
    uint64_t mean_ms, next_ns;
};

struct undo {
    bool open;
    enum fault fault;
    uint64_t at_ns;
    uint32_t node, other;
};

struct nemesis {
    struct sim_cluster *c;
    struct kind kind[FAULT_COUNT];
    struct undo undo[UNDOS_MAX];
    uint32_t faults;
    bool over; /* what comes again does not any more */
};

const char *fault_name(enum fault f) {
    static const char *const names[FAULT_COUNT] = {
        "cut",         "one_way",     "slow",  "narrow", "break",    "kill",    "power",
        "wipe",        "pause",       "jump",  "drift",  "actor",    "memory",  "disc_full",
        "disc_behind", "disc_broken", "twice", "lose",   "old_disc", "halves",  "one_out",
        "ring",        "bridge",      "blip",  "flap",   "swizzle",  "blackout"};
    return names[f];
}

/* ---- chance --------------------------------------------------------------------------- */

/* Between the two, any order of magnitude as likely as any other. */
static uint64_t draw_log(struct rng *r, uint64_t least, uint64_t most) {
    uint64_t at = least;

    while (at < most && rng_one_in(r, 8) == false)
        at = at * 5 / 4 + 1;
    return EG_MIN(at, most);
}

static uint64_t draw_gap_ns(struct kind *k) {
    return (1 + rng_below(&k->rng, 2 * k->mean_ms)) * MS;
}

static uint32_t draw_node(struct nemesis *n, struct kind *k) {
    return (uint32_t) rng_below(&k->rng, n->c->shape.nodes);
}

/* ---- how it ends ------------------------------------------------------------------------ */

static void end_later(struct nemesis *n, enum fault f, uint32_t node, uint32_t other,
                      uint64_t after_ms) {
    for (uint32_t i = 0; i < UNDOS_MAX; i++)
        if (!n->undo[i].open) {
            n->undo[i] = (struct undo){.open = true,
                                       .fault = f,
                                       .at_ns = sim_now_ns(n->c->sim) + after_ms * MS,
                                       .node = node,
                                       .other = other};
            return;
        }
    EG_ASSERT(!"room for one more fault");
}

static bool is_full(const struct nemesis *n) {
    uint32_t open = 0;

    for (uint32_t i = 0; i < UNDOS_MAX; i++)
        open += n->undo[i].open;
    return open >= UNDOS_MAX - 2 * CLUSTER_NODES_MAX * CLUSTER_NODES_MAX / 4; /* one adds less */
}

static struct sim_link *link_of(struct nemesis *n, uint32_t from, uint32_t to) {
    return sim_net_link(n->c->net, n->c->node[from].host, n->c->node[to].host);
}

static void start_node(struct nemesis *n, uint32_t node) {
    if (n->c->node[node].up)
        return;
    sim_cluster_tell(n->c, "start %s", n->c->node[node].name);
    sim_node_start(&n->c->node[node]);
}

static bool may_go(struct nemesis *n, uint32_t node) {
    return n->c->shape.wild || sim_cluster_can_spare(n->c, node);
}

/* Both ways of each pair. */
static void cut_pairs(struct nemesis *n, uint32_t pairs, bool cut) {
    for (uint32_t a = 0; a < n->c->shape.nodes; a++)
        for (uint32_t b = a + 1; b < n->c->shape.nodes; b++)
            if (pairs & cut_pair(a, b))
                link_of(n, a, b)->cut = link_of(n, b, a)->cut = cut;
    sim_net_changed(n->c->net);
}

/* A flap: `node` times more, for as long as it lasts each time; even times it is whole. */
static void flap(struct nemesis *n, const struct undo *u) {
    cut_pairs(n, u->other, !n->over && u->node % 2 == 1);
    if (!n->over && u->node != 0)
        end_later(n, FAULT_FLAP, u->node - 1, u->other, 1 + u->node * 7 % FLAP_MS);
}

/* One of a swizzle: cut off, or back. */
static void swizzle(struct nemesis *n, const struct undo *u) {
    cut_pairs(n, cut_node(u->node, n->c->shape.nodes), !n->over && u->other != 0);
}

static void undo(struct nemesis *n, const struct undo *u) {
    struct sim_node *node = u->fault == FAULT_FLAP ? NULL : &n->c->node[u->node]; /* it counts */

    switch (u->fault) {
    case FAULT_CUT: /* `other`: who was on one side */
        for (uint32_t a = 0; a < n->c->shape.nodes; a++)
            for (uint32_t b = 0; b < n->c->shape.nodes; b++)
                if ((u->other >> a & 1) != (u->other >> b & 1))
                    link_of(n, a, b)->cut = false;
        sim_net_changed(n->c->net);
        break;
    case FAULT_ONE_WAY:
        link_of(n, u->node, u->other)->cut = false;
        sim_net_changed(n->c->net);
        break;
    case FAULT_SLOW:
        link_of(n, u->node, u->other)->delay_mean_ns = 100000;
        break;
    case FAULT_NARROW:
        link_of(n, u->node, u->other)->bytes_per_s = 0;
        break;
    case FAULT_MEMORY:
        node->heap.refuse_one_in = 0;
        break;
    case FAULT_TWICE:
        node->mail.twice_one_in = 0;
        break;
    case FAULT_LOSE:
        node->mail.lose_one_in = 0;
        break;
    case FAULT_DISC_FULL:
        disc_twin_set_full(node->pump.twin, false);
        break;
    case FAULT_DISC_BEHIND:
        disc_twin_set_behind(node->pump.twin, 0);
        break;
    case FAULT_DISC_BROKEN:
        if (!node->up)
            break;
        if (!may_go(n, u->node) && !sim_cluster_can_do_without(n->c, u->node)) {
            end_later(n, u->fault, u->node, 0, ASK_AGAIN_MS);
            return;
        }
        sim_cluster_tell(n->c, "restart %s", node->name);
        sim_node_kill(node);
        start_node(n, u->node);
        break;
    case FAULT_KILL:
    case FAULT_POWER:
    case FAULT_WIPE:
    case FAULT_OLD_DISC:
    case FAULT_BLACKOUT:
        start_node(n, u->node);
        break;
    case FAULT_HALVES:
    case FAULT_ONE_OUT:
    case FAULT_RING:
    case FAULT_BRIDGE:
    case FAULT_BLIP: /* `other`: between whom */
        cut_pairs(n, u->other, false);
        break;
    case FAULT_FLAP:
        flap(n, u);
        return;
    case FAULT_SWIZZLE:
        swizzle(n, u);
        return;
    default:
        break;
    }
    sim_cluster_tell(n->c, "over: %s %s", fault_name(u->fault), node->name);
}

/* ---- how it begins ------------------------------------------------------------------------ */

static bool cut(struct nemesis *n, struct kind *k, uint64_t last_ms) {
    uint32_t nodes = n->c->shape.nodes;
    uint32_t side = 1 + (uint32_t) rng_below(&k->rng, (UINT64_C(1) << nodes) - 1);

    for (uint32_t a = 0; a < nodes; a++)
        for (uint32_t b = 0; b < nodes; b++)
            if ((side >> a & 1) != (side >> b & 1))
                link_of(n, a, b)->cut = true;
    sim_net_changed(n->c->net);
    end_later(n, FAULT_CUT, 0, side, last_ms);
    return true;
}

/* A cut of a shape. */
static bool part(struct nemesis *n, struct kind *k, enum fault f, uint64_t last_ms) {
    static const enum cut_shape shapes[FAULT_COUNT] = {
        [FAULT_HALVES] = CUT_HALVES, [FAULT_ONE_OUT] = CUT_ONE_OUT, [FAULT_RING] = CUT_RING,
        [FAULT_BRIDGE] = CUT_BRIDGE, [FAULT_BLIP] = CUT_ANY,        [FAULT_FLAP] = CUT_ANY};
    uint32_t pairs = cut_draw(shapes[f], n->c->shape.nodes, &k->rng);
    uint32_t times = 2 * (1 + (uint32_t) rng_below(&k->rng, FLAP_TIMES));

    if (pairs == 0)
        return false;
    cut_pairs(n, pairs, true);
    if (f == FAULT_FLAP)
        end_later(n, f, times, pairs, 1 + rng_below(&k->rng, FLAP_MS));
    else if (f == FAULT_BLIP)
        end_later(n, f, 0, pairs, rng_one_in(&k->rng, 2) ? BLIP_MS : LONG_BLIP_MS);
    else
        end_later(n, f, 0, pairs, last_ms);
    return true;
}

static bool begin_swizzle(struct nemesis *n, struct kind *k, uint64_t last_ms) {
    for (uint32_t i = 0; i < n->c->shape.nodes; i++) {
        if (rng_one_in(&k->rng, 2))
            continue;
        end_later(n, FAULT_SWIZZLE, i, 1, rng_below(&k->rng, last_ms));
        end_later(n, FAULT_SWIZZLE, i, 0, last_ms + rng_below(&k->rng, last_ms));
    }
    return n->c->shape.nodes > 1;
}

/* Each comes back in its own time. */
static bool black_out(struct nemesis *n, struct kind *k, uint64_t last_ms) {
    if (!n->c->shape.wild)
        return false;
    for (uint32_t i = 0; i < n->c->shape.nodes; i++) {
        if (n->c->node[i].up)
            sim_node_lose_power(&n->c->node[i]);
        end_later(n, FAULT_BLACKOUT, i, 0, 1 + rng_below(&k->rng, last_ms));
    }
    return true;
}

static bool one_link(struct nemesis *n, struct kind *k, enum fault f, uint64_t last_ms) {
    uint32_t from = draw_node(n, k), to = draw_node(n, k);
    struct sim_link *l = link_of(n, from, to);

    if (from == to)
        return false;
    if (f == FAULT_ONE_WAY) {
        l->cut = true;
        sim_net_changed(n->c->net);
    } else if (f == FAULT_SLOW) {
        l->delay_mean_ns = draw_log(&k->rng, 1, 1000) * MS;
    } else {
        l->bytes_per_s = draw_log(&k->rng, 2000, 1000000);
    }
    end_later(n, f, from, to, last_ms);
    return true;
}

static bool crash(struct nemesis *n, struct kind *k, enum fault f, uint64_t last_ms) {
    uint32_t number = draw_node(n, k);
    struct sim_node *node = &n->c->node[number];

    if (!node->up || !(f == FAULT_WIPE ? sim_cluster_can_spare(n->c, number) : may_go(n, number)))
        return false;
    if (f == FAULT_KILL)
        sim_node_kill(node);
    else
        sim_node_lose_power(node);
    if (f == FAULT_WIPE)
        sim_node_wipe(node);
    end_later(n, f, number, 0, last_ms);
    return true;
}

/* Once it is copied; the next time, as soon as the others have what it lacks, it is put back. */
static bool old_disc(struct nemesis *n, struct kind *k, uint64_t last_ms) {
    uint32_t number = draw_node(n, k);
    struct sim_node *node = &n->c->node[number];

    if (!node->up || !node->o.has_disc)
        return false;
    if (node->old == NULL) {
        sim_node_copy_disc(node);
        return true;
    }
    if (!sim_cluster_can_spare(n->c, number) || !sim_cluster_may_forget(n->c))
        return false;
    sim_node_lose_power(node);
    sim_node_put_back_disc(node);
    end_later(n, FAULT_OLD_DISC, number, 0, last_ms);
    return true;
}

static bool kill_shard(struct nemesis *n, struct kind *k) {
    struct sim_node *node = &n->c->node[draw_node(n, k)];
    const struct cluster_table *t = &n->c->table[rng_below(&k->rng, n->c->shape.tables)];
    uint64_t draw = rng_u64(&k->rng);
    eg_exit kill = exit_reason(EG_EXIT_KILL);
    struct reader r;
    struct table *table;

    if (!node->up)
        return false;
    EG_ASSERT(reader_open(&r, node->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    table = catalog_find(node->catalog, t->t.name, strlen(t->t.name));
    if (table != NULL)
        actor_exit_send(node->runtime, EG_PID_NONE,
                        shard_pid(&table->shard[draw % table->shard_count]), &kill);
    reader_exit(&r);
    reader_close(&r);
    return table != NULL;
}

static bool hurt_disc(struct nemesis *n, struct kind *k, enum fault f, uint64_t last_ms) {
    uint32_t number = draw_node(n, k);
    struct sim_node *node = &n->c->node[number];

    if (!node->up || !node->o.has_disc)
        return false;
    if (f == FAULT_DISC_FULL)
        disc_twin_set_full(node->pump.twin, true);
    else if (f == FAULT_DISC_BEHIND)
        disc_twin_set_behind(node->pump.twin, 1 + (uint32_t) rng_below(&k->rng, 5));
    else if (!may_go(n, number))
        return false; /* it takes a kill to make it well */
    else if (rng_one_in(&k->rng, 2))
        disc_twin_fail_write(node->pump.twin, 1 + (uint32_t) rng_below(&k->rng, 10));
    else
        disc_twin_fail_sync(node->pump.twin, 1 + (uint32_t) rng_below(&k->rng, 10));
    end_later(n, f, number, 0, last_ms);
    return true;
}

static bool hurt_node(struct nemesis *n, struct kind *k, enum fault f, uint64_t last_ms) {
    uint32_t number = draw_node(n, k);
    struct sim_node *node = &n->c->node[number];

    if (!node->up)
        return false;
    if (f == FAULT_PAUSE) {
        sim_node_pause(node, last_ms);
    } else if (f == FAULT_JUMP) {
        int64_t most = (int64_t) draw_log(&k->rng, 10, JUMP_MAX_MS);
        sim_cluster_look_at_clocks(n->c);
        sim_env_jump(&node->env, (int64_t) rng_below(&k->rng, 2 * (uint64_t) most) - most);
        history_clock_back(&n->c->history, env_wall_ms(&node->env.env));
        sim_cluster_look_at_clocks(n->c);
    } else if (f == FAULT_DRIFT) {
        sim_env_drift(&node->env, (int64_t) rng_below(&k->rng, 1001) - 500);
    } else {
        if (f == FAULT_TWICE)
            node->mail.twice_one_in = (uint32_t) draw_log(&k->rng, 2, 200);
        else if (f == FAULT_LOSE)
            node->mail.lose_one_in = (uint32_t) draw_log(&k->rng, 5, 500);
        else
            node->heap.refuse_one_in = (uint32_t) draw_log(&k->rng, 300, 30000);
        end_later(n, f, number, 0, last_ms);
    }
    return true;
}

static bool begin(struct nemesis *n, enum fault f) {
    struct kind *k = &n->kind[f];
    uint64_t last_ms = draw_log(&k->rng, LAST_MIN_MS, LAST_MAX_MS);

    if (cluster_seed_has_stayers(n->c->o.seed) &&
        f == FAULT_PAUSE) /* the others go on, and write */
        last_ms = NOTICED_MIN_MS + rng_below(&k->rng, NOTICED_MS);

    if (is_full(n))
        return false;
    switch (f) {
    case FAULT_CUT:
        return n->c->shape.nodes > 1 && cut(n, k, last_ms);
    case FAULT_HALVES:
    case FAULT_ONE_OUT:
    case FAULT_RING:
    case FAULT_BRIDGE:
    case FAULT_BLIP:
    case FAULT_FLAP:
        return part(n, k, f, last_ms);
    case FAULT_SWIZZLE:
        return begin_swizzle(n, k, last_ms);
    case FAULT_BLACKOUT:
        return black_out(n, k, last_ms);
    case FAULT_ONE_WAY:
    case FAULT_SLOW:
    case FAULT_NARROW:
        return one_link(n, k, f, last_ms);
    case FAULT_BREAK:
        sim_net_break(n->c->net, n->c->node[draw_node(n, k)].host,
                      n->c->node[draw_node(n, k)].host);
        return true;
    case FAULT_KILL:
    case FAULT_POWER:
    case FAULT_WIPE:
        return crash(n, k, f, last_ms);
    case FAULT_OLD_DISC:
        return old_disc(n, k, last_ms);
    case FAULT_ACTOR:
        return kill_shard(n, k);
    case FAULT_DISC_FULL:
    case FAULT_DISC_BEHIND:
    case FAULT_DISC_BROKEN:
        return hurt_disc(n, k, f, last_ms);
    default:
        return hurt_node(n, k, f, last_ms);
    }
}

/* ---- time passes ---------------------------------------------------------------------------- */

uint64_t nemesis_next_ns(const struct nemesis *n) {
    uint64_t next_ns = UINT64_MAX;

    for (int f = 0; f < FAULT_COUNT; f++)
        if (n->kind[f].on)
            next_ns = EG_MIN(next_ns, n->kind[f].next_ns);
    for (int i = 0; i < UNDOS_MAX; i++)
        if (n->undo[i].open)
            next_ns = EG_MIN(next_ns, n->undo[i].at_ns);
    return next_ns;
}

void nemesis_act(struct nemesis *n) {
    for (int i = 0; i < UNDOS_MAX; i++) {
        struct undo *u = &n->undo[i];

        if (!u->open || u->at_ns > sim_now_ns(n->c->sim))
            continue;
        u->open = false;
        undo(n, u);
    }
    for (int f = 0; f < FAULT_COUNT; f++) {
        struct kind *k = &n->kind[f];

        if (!k->on || k->next_ns > sim_now_ns(n->c->sim))
            continue;
        k->next_ns = sim_now_ns(n->c->sim) + draw_gap_ns(k);
        if (!begin(n, (enum fault) f))
            continue;
        n->faults++;
        sim_cluster_tell(n->c, "%s", fault_name((enum fault) f));
    }
}

/* One node after the other, each when it can be spared. */
static void mend_discs(struct nemesis *n) {
    uint64_t end_ns = sim_now_ns(n->c->sim) + MEND_MS * MS;

    for (bool left = true; left && sim_now_ns(n->c->sim) < end_ns;) {
        left = false;
        for (int i = 0; i < UNDOS_MAX; i++) {
            struct undo u = n->undo[i];

            if (!u.open)
                continue;
            left = true;
            n->undo[i].open = false;
            undo(n, &u);
        }
        sim_run_ms(n->c->sim, ASK_AGAIN_MS);
    }
}

void nemesis_end(struct nemesis *n) {
    n->over = true;
    for (int f = 0; f < FAULT_COUNT; f++)
        n->kind[f].on = false;
    for (int i = 0; i < UNDOS_MAX; i++)
        if (n->undo[i].open && n->undo[i].fault != FAULT_DISC_BROKEN) {
            n->undo[i].open = false;
            undo(n, &n->undo[i]);
        }
    sim_net_heal(n->c->net);
    for (uint32_t i = 0; i < n->c->shape.nodes; i++) {
        start_node(n, i);
        sim_node_pause(&n->c->node[i], 0);
        n->c->node[i].heap.refuse_one_in = 0;
        n->c->node[i].mail.twice_one_in = n->c->node[i].mail.lose_one_in = 0;
        sim_env_drift(&n->c->node[i].env, 0);
    }
    mend_discs(n);
    sim_cluster_tell(n->c, "healed");
}

uint32_t nemesis_faults(const struct nemesis *n) {
    return n->faults;
}

/* Each kind in half of the seeds, and a seed in sixteen without any. */
struct nemesis *nemesis_open(struct sim_cluster *c, uint64_t seed) {
    struct nemesis *n = alloc_zero(alloc_system(), sizeof *n);
    struct rng r = rng_of(seed);
    bool calm = rng_one_in(&r, 16);

    EG_ASSERT(n != NULL);
    n->c = c;
    for (int f = 0; f < FAULT_COUNT; f++) {
        struct kind *k = &n->kind[f];

        k->rng = rng_of(rng_u64(&r));
        k->on = rng_one_in(&k->rng, 2) && !calm && (c->o.faults >> f & 1) != 0;
        if (f == FAULT_TWICE || f == FAULT_LOSE)
            k->on &= c->o.seed >= CLUSTER_SEED_MAIL; /* those before are as they were */
        if (f == FAULT_OLD_DISC)
            k->on &= c->o.seed >= CLUSTER_SEED_OLD_DISC &&
                     !cluster_seed_has_majorities(c->o.seed) &&
                     !cluster_seed_has_promises(c->o.seed);
        if (f == FAULT_MEMORY) /* an entry of a journal may find none */
            k->on &= !cluster_seed_has_promises(c->o.seed);
        if (f == FAULT_JUMP) /* who is ahead removes what others keep, and scrubs put it back */
            k->on &= !cluster_seed_has_promises(c->o.seed) || cluster_seed_promises_jump(c->o.seed);
        if (f >= FAULT_HALVES)
            k->on &= c->o.seed >= CLUSTER_SEED_CUTS;
        k->mean_ms =
            draw_log(&k->rng, f == FAULT_ACTOR ? ACTOR_MEAN_MIN_MS : MEAN_MIN_MS, MEAN_MAX_MS);
        if (c->o.seed >= CLUSTER_SEED_TX && (f == FAULT_KILL || f == FAULT_ONE_OUT)) {
            k->on |= !calm && (c->o.faults >> f & 1) != 0; /* what coordinators fear */
            k->mean_ms = EG_MIN(k->mean_ms, (uint64_t) TX_MEAN_MS);
        }
        k->next_ns = sim_now_ns(c->sim) + draw_gap_ns(k);
        if (k->on)
            sim_cluster_tell(c, "%s about every %llu ms", fault_name((enum fault) f),
                             (unsigned long long) k->mean_ms);
    }
    return n;
}

void nemesis_close(struct nemesis *n) {
    alloc_put(alloc_system(), n, sizeof *n);
}
