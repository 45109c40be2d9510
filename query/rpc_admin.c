/* rpc_admin.c -- methods on the node itself: who it is, how it does, what runs. */
#include "query/rpc_handler.h"

#include "query/server_private.h"
#include "query/session.h"

#include "engine/env.h"
#include "engine/inspect.h"
#include "engine/runtime.h"
#include "tables/catalog.h"
#include "tables/watch.h"

#include <msgpack.h>
#include <stdio.h>
#include <string.h>

enum { PROTOCOL = 1 };

static const char NO_PROCESS[] = "no such process";

/* ---- cold answers, by msgpack-c ------------------------------------------------- */

static int append(void *result, const char *at, size_t size_bytes) {
    return buffer_append(result, at, size_bytes) ? 0 : -1;
}

static msgpack_packer packer_of(struct rpc_call *c) {
    msgpack_packer p;

    msgpack_packer_init(&p, c->result, append);
    return p;
}

static int pack_text(msgpack_packer *p, const char *text) {
    return msgpack_pack_str_with_body(p, text, strlen(text));
}

static int pack_count(msgpack_packer *p, const char *name, uint64_t n) {
    return pack_text(p, name) | msgpack_pack_uint64(p, n);
}

static eg_err outcome(int failed) {
    return failed == 0 ? EG_OK : EG_MEMORY;
}

eg_err rpc_ping(struct rpc_call *c) {
    msgpack_packer p = packer_of(c);

    return outcome(pack_text(&p, "pong"));
}

eg_err rpc_hello(struct rpc_call *c) {
    const struct server_opts *o = &c->worker->server->opts;
    msgpack_packer p = packer_of(c);
    int failed = msgpack_pack_map(&p, 4);

    failed |= pack_text(&p, "server") | pack_text(&p, "engram");
    failed |= pack_text(&p, "version") | pack_text(&p, o->version);
    failed |= pack_text(&p, "node") | pack_text(&p, o->node_name);
    failed |= pack_count(&p, "protocol", PROTOCOL);
    return outcome(failed);
}

/* ---- stats ------------------------------------------------------------------------- */

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

eg_err rpc_stats(struct rpc_call *c) {
    const struct server *s = c->worker->server;
    uint64_t uptime_ns = env_now_ns(runtime_env(s->opts.runtime)) - s->started_ns;
    msgpack_packer p = packer_of(c);
    int failed = msgpack_pack_map(&p, 11);

    failed |= pack_text(&p, "node") | pack_text(&p, s->opts.node_name);
    failed |= pack_count(&p, "uptime_ms", uptime_ns / 1000000);
    failed |= pack_connections(&p, s);
    failed |= pack_memory(&p, s);
    failed |= pack_calls(&p, s);
    failed |= pack_errors(&p, s);
    failed |= pack_count(&p, "forwarded", TOTAL(s, forwarded));
    failed |= pack_count(&p, "subscriptions", atomic_load(&((struct server *) s)->subscriptions));
    failed |= pack_text(&p, "turn_us") | msgpack_pack_map(&p, 3);
    failed |= pack_text(&p, "p50") | msgpack_pack_double(&p, turn_us(s, 500));
    failed |= pack_text(&p, "p99") | msgpack_pack_double(&p, turn_us(s, 990));
    failed |= pack_text(&p, "p999") | msgpack_pack_double(&p, turn_us(s, 999));
    failed |= pack_count(&p, "processes", runtime_actors(s->opts.runtime));
    failed |= pack_schedulers(&p, s);
    return outcome(failed);
}

/* ---- what runs ------------------------------------------------------------------------ */

/* A question to all schedulers.  The answer reaches the session as a shard's would,
 * or nobody where the session has ended meanwhile. */
struct question {
    struct server *server;
    eg_pid asker;
    eg_ref ref;
    bool one; /* process_info: the map itself, not an array of maps */
};

enum { PID_TEXT_BYTES = 48, PROCESSES_MAX = INSPECT_PAGE_MAX, ANSWER_BYTES_MAX = 4 << 20 };

static void pid_text(eg_pid pid, char *text) {
    snprintf(text, PID_TEXT_BYTES, "<%u.%u.%u>", pid.node, pid.slot, pid.generation);
}

static bool pid_parse(const char *text, eg_pid *pid) {
    int used = 0;

    return sscanf(text, "<%u.%u.%u>%n", &pid->node, &pid->slot, &pid->generation, &used) == 3 &&
           text[used] == '\0';
}

static int pack_process(msgpack_packer *p, const struct inspect_entry *e) {
    static const char *const status[] = {"waiting", "runnable", "running", "exiting"};
    const struct actor_info *a = &e->actor;
    char pid[PID_TEXT_BYTES], parent[PID_TEXT_BYTES];
    int failed = msgpack_pack_map(p, 13);

    pid_text(a->pid, pid);
    pid_text(a->parent, parent);
    failed |= pack_text(p, "pid") | pack_text(p, pid);
    failed |= pack_text(p, "name") | pack_text(p, a->name);
    failed |= pack_text(p, "label") | pack_text(p, a->label != NULL ? a->label : "");
    failed |= pack_text(p, "registered") | pack_text(p, e->registered);
    failed |= pack_text(p, "status") | pack_text(p, status[a->status]);
    failed |= pack_count(p, "scheduler", a->scheduler);
    failed |= pack_count(p, "mailbox", a->mailbox_msgs);
    failed |= pack_count(p, "handled", a->handled_msgs);
    failed |= pack_count(p, "memory", a->memory_bytes);
    failed |= pack_count(p, "links", a->links);
    failed |= pack_count(p, "monitors", a->monitors);
    failed |= pack_text(p, "parent");
    failed |= eg_pid_is_none(a->parent) ? msgpack_pack_nil(p) : pack_text(p, parent);
    failed |= pack_text(p, "state") | pack_text(p, e->state);
    return failed;
}

static void answer(const struct question *q, eg_err err, const void *bytes, size_t size_bytes) {
    struct runtime *rt = q->server->opts.runtime;
    struct message *m = message_copy(rt, MESSAGE_REPLY, bytes, size_bytes);

    if (m == NULL) /* the client waits in vain until its own deadline; so does all else now */
        return;
    m->ref = q->ref;
    m->tag = (uint32_t) err;
    (void) runtime_send(rt, EG_PID_NONE, q->asker, m); /* a session that is gone asks no more */
}

static void on_page(void *context, const struct inspect_page *page) {
    struct question *q = context;
    struct alloc *a = q->server->opts.alloc;
    struct buffer out;
    msgpack_packer p;
    int failed = 0;

    buffer_init(&out, a, ANSWER_BYTES_MAX);
    msgpack_packer_init(&p, &out, append);
    if (!q->one)
        failed = msgpack_pack_array(&p, page->count);
    for (uint32_t i = 0; i < page->count; i++)
        failed |= pack_process(&p, &page->entry[i]);
    if (failed != 0)
        answer(q, EG_MEMORY, "", 0);
    else if (q->one && page->count == 0)
        answer(q, EG_NOT_FOUND, NO_PROCESS, sizeof NO_PROCESS - 1);
    else
        answer(q, EG_OK, out.at, out.size_bytes);
    buffer_fini(&out);
    alloc_put(a, q, sizeof *q);
}

/* Ask about `pid`, or about all where it is NULL. */
static eg_err ask(struct rpc_call *c, const eg_pid *pid) {
    struct server *s = c->worker->server;
    struct runtime *rt = s->opts.runtime;
    struct scheduler *home = c->worker->scheduler;
    struct question *q = alloc_get(s->opts.alloc, sizeof *q);
    eg_err err;

    if (q == NULL)
        return EG_MEMORY;
    *q = (struct question){s, c->session->pid, session_begin(c->session, c), pid != NULL};
    err = pid != NULL ? inspect_pids(rt, pid, 1, home, on_page, q)
                      : inspect_start(rt, 0, PROCESSES_MAX, home, on_page, q);
    if (err == EG_OK)
        return EG_AGAIN;
    session_cancel(c->session, q->ref);
    alloc_put(s->opts.alloc, q, sizeof *q);
    return err;
}

eg_err rpc_processes(struct rpc_call *c) {
    return ask(c, NULL);
}

eg_err rpc_process_info(struct rpc_call *c) {
    char text[PID_TEXT_BYTES] = "";
    const uint8_t *at;
    uint32_t size_bytes;
    eg_pid pid;

    if (value_kind_of(c->param[0]) != VALUE_STRING ||
        !value_get_bytes(c->param[0], &at, &size_bytes))
        return err_note(c->note, EG_BAD_REQUEST, "a process is named by a string like <0.17.1>");
    if (size_bytes < sizeof text)
        memcpy(text, at, size_bytes);
    if (!pid_parse(text, &pid))
        return err_note(c->note, EG_NOT_FOUND, "%s", NO_PROCESS);
    return ask(c, &pid);
}
