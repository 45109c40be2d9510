/* stats.c -- how the server does, as one map for people and dashboards. */
#include "query/rpc_pack.h"
#include "query/server_private.h"

#include "engine/env.h"
#include "engine/runtime.h"
#include "query/rpc_method.h"
#include "replication/cluster.h"
#include "tables/catalog.h"
#include "tables/watch.h"

#include <string.h>

/* The sum over all workers of the counter that lies `offset` bytes into theirs. */
static uint64_t total(const struct server *s, size_t offset) {
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->worker_count; i++) {
        const char *counters = (const char *) &s->worker[i].counters;
        sum += counter_read((const struct counter *) (counters + offset));
    }
    return sum;
}

#define TOTAL(s, field) total((s), offsetof(struct worker_counters, field))

static uint64_t total_of(const struct server *s, size_t offset, uint32_t number) {
    return total(s, offset + number * sizeof(struct counter));
}

static int pack_calls(msgpack_packer *p, const struct server *s) {
    size_t at = offsetof(struct worker_counters, calls);
    uint32_t count = 0;
    int failed;

    for (uint32_t i = 0; i < rpc_method_count(); i++)
        count += total_of(s, at, i) != 0;
    failed = pack_text(p, "requests") | msgpack_pack_map(p, count);
    for (uint32_t i = 0; i < rpc_method_count() && count > 0; i++) {
        uint64_t n = total_of(s, at, i);
        if (n == 0)
            continue;
        failed |= pack_count(p, rpc_method_at(i)->name, n);
        count--; /* others may begin to count meanwhile: the map's size is said */
    }
    return failed;
}

static int pack_errors(msgpack_packer *p, const struct server *s) {
    size_t at = offsetof(struct worker_counters, errors);
    uint64_t n[WORKER_ERRORS_MAX] = {0};
    uint32_t count = 0;
    int failed;

    for (uint32_t i = 1; i < WORKER_ERRORS_MAX; i++) { /* several errors share a word */
        uint32_t first = 1;
        while (strcmp(eg_err_wire((eg_err) - (int) first), eg_err_wire((eg_err) - (int) i)) != 0)
            first++;
        n[first] += total_of(s, at, i);
    }
    for (uint32_t i = 1; i < WORKER_ERRORS_MAX; i++)
        count += n[i] != 0;
    failed = pack_text(p, "errors") | msgpack_pack_map(p, count);
    for (uint32_t i = 1; i < WORKER_ERRORS_MAX; i++)
        if (n[i] != 0)
            failed |= pack_count(p, eg_err_wire((eg_err) - (int) i), n[i]);
    return failed;
}

/* The time under which `per_mille` of all turns were served, in microseconds. */
static double turn_us(const struct server *s, uint32_t per_mille) {
    size_t at = offsetof(struct worker_counters, turn_ns);
    uint64_t all = TOTAL(s, turns), seen = 0;

    for (uint32_t i = 0; i < WORKER_LATENCY_SLOTS; i++) {
        seen += total_of(s, at, i);
        if (seen * 1000 >= all * per_mille)
            return all == 0 ? 0 : (double) (UINT64_C(1) << (i + 8)) / 1000;
    }
    return 0;
}

static int pack_connections(msgpack_packer *p, const struct server *s) {
    int failed = pack_text(p, "connections") | msgpack_pack_map(p, 7);

    failed |= pack_count(p, "open", atomic_load(&((struct server *) s)->connections));
    failed |= pack_count(p, "limit", s->opts.connections_max);
    failed |= pack_count(p, "accepted", TOTAL(s, accepted));
    failed |= pack_count(p, "refused", TOTAL(s, refused));
    failed |= pack_count(p, "bad_frames", TOTAL(s, bad_frames));
    failed |= pack_count(p, "shed", TOTAL(s, shed));
    failed |= pack_count(p, "unread", TOTAL(s, unread));
    return failed;
}

static int pack_memory(msgpack_packer *p, const struct server *s) {
    int failed = pack_text(p, "bytes") | msgpack_pack_map(p, 5);

    failed |= pack_count(p, "received", TOTAL(s, in_bytes));
    failed |= pack_count(p, "sent", TOTAL(s, out_bytes));
    failed |= pack_count(p, "unfinished", atomic_load(&((struct server *) s)->held_bytes));
    failed |= pack_count(p, "unread", atomic_load(&((struct server *) s)->unread_bytes));
    failed |= pack_count(p, "events", watch_held_bytes(catalog_watch(s->opts.catalog)));
    return failed;
}

/* What went wrong when both sides of a cut were merged. */
static int pack_conflicts(msgpack_packer *p, const struct server *s) {
    struct catalog_conflicts c = catalog_conflicts(s->opts.catalog);
    int failed = pack_text(p, "conflicts") | msgpack_pack_map(p, 3);

    failed |= pack_count(p, "callbacks_failed", c.callbacks_failed);
    failed |= pack_count(p, "counters_past", c.counters_past);
    return failed | pack_count(p, "not_kept", c.not_kept);
}

/* Of clients. */
static int pack_transactions(msgpack_packer *p, const struct server *s) {
    int failed = pack_text(p, "transactions") | msgpack_pack_map(p, 5);

    failed |= pack_count(p, "open", atomic_load(&((struct server *) s)->transactions));
    failed |= pack_count(p, "committed", TOTAL(s, transactions_committed));
    failed |= pack_count(p, "conflicts", TOTAL(s, transactions_lost));
    failed |= pack_count(p, "aborted", TOTAL(s, transactions_aborted));
    return failed | pack_count(p, "in_doubt", TOTAL(s, transactions_in_doubt));
}

static int pack_schedulers(msgpack_packer *p, const struct server *s) {
    int failed = pack_text(p, "schedulers") | msgpack_pack_array(p, s->worker_count);

    for (uint32_t i = 0; i < s->worker_count; i++) {
        struct scheduler_stats t = scheduler_stats(s->worker[i].scheduler);
        failed |= msgpack_pack_map(p, 8);
        failed |= pack_count(p, "turns", t.turns);
        failed |= pack_count(p, "handled", t.handled_msgs);
        failed |= pack_count(p, "sent", t.sent_msgs);
        failed |= pack_count(p, "remote", t.remote_msgs);
        failed |= pack_count(p, "wakes", t.wakes);
        failed |= pack_count(p, "sleeps", t.sleeps);
        failed |= pack_count(p, "busy", t.busy_msgs);
        failed |= pack_count(p, "dropped", t.dropped_msgs);
    }
    return failed;
}

/* To other nodes, since this one began. */
static int pack_links(msgpack_packer *p, const struct cluster *c) {
    struct mesh_stats links = cluster_links(c);
    int failed = pack_text(p, "links") | msgpack_pack_map(p, 7);

    failed |= pack_count(p, "up", links.links_up);
    failed |= pack_count(p, "received", links.received_bytes);
    failed |= pack_count(p, "sent", links.sent_bytes);
    failed |= pack_count(p, "resent_frames", links.resent_frames);
    failed |= pack_count(p, "broken_frames", links.broken_frames);
    failed |= pack_count(p, "refused", links.refused_handshakes);
    return failed | pack_count(p, "dials", links.dials);
}

eg_err server_stats(const struct server *s, struct buffer *out) {
    uint64_t uptime_ns = env_now_ns(runtime_env(s->opts.runtime)) - s->started_ns;
    msgpack_packer p = rpc_packer(out);
    int failed = msgpack_pack_map(&p, 13 + (s->opts.cluster != NULL));

    failed |= pack_text(&p, "node") | pack_text(&p, s->opts.node_name);
    failed |= pack_count(&p, "uptime_ms", uptime_ns / 1000000);
    failed |= pack_connections(&p, s);
    failed |= pack_memory(&p, s);
    if (s->opts.cluster != NULL)
        failed |= pack_links(&p, s->opts.cluster);
    failed |= pack_calls(&p, s);
    failed |= pack_errors(&p, s);
    failed |= pack_count(&p, "forwarded", TOTAL(s, forwarded));
    failed |= pack_count(&p, "subscriptions", atomic_load(&((struct server *) s)->subscriptions));
    failed |= pack_transactions(&p, s);
    failed |= pack_conflicts(&p, s);
    failed |= pack_text(&p, "turn_us") | msgpack_pack_map(&p, 3);
    failed |= pack_text(&p, "p50") | msgpack_pack_double(&p, turn_us(s, 500));
    failed |= pack_text(&p, "p99") | msgpack_pack_double(&p, turn_us(s, 990));
    failed |= pack_text(&p, "p999") | msgpack_pack_double(&p, turn_us(s, 999));
    failed |= pack_count(&p, "processes", runtime_actors(s->opts.runtime));
    failed |= pack_schedulers(&p, s);
    return failed == 0 ? EG_OK : EG_MEMORY;
}
