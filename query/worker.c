/* worker.c -- one turn of the server on one scheduler. */
#include "query/worker.h"

#include "query/rpc_tx.h"
#include "query/server_private.h"
#include "query/session.h"
#include "query/subscription.h"
#include "query/task.h"

#include "engine/env.h"
#include "engine/runtime.h"
#include "tables/catalog.h"

#include <string.h>

/* MessagePack's headers of the two answers that a read of a set has. */
enum { ARRAY_OF_NONE = 0x90, ARRAY_OF_ONE = 0x91 };

/* ---- output buffers -------------------------------------------------------- */

struct buffer worker_buffer_get(struct worker *w) {
    struct buffer b;

    if (w->spare_count > 0)
        return w->spare[--w->spare_count];
    buffer_init(&b, w->server->opts.alloc, SESSION_OUTPUT_MAX);
    return b;
}

void worker_buffer_put(struct worker *w, struct buffer *b) {
    buffer_clear(b);
    if (w->spare_count < WORKER_SPARES && b->room_bytes <= WORKER_SPARE_BYTES)
        w->spare[w->spare_count++] = *b;
    else
        buffer_fini(b);
    *b = (struct buffer){0};
}

/* ---- one call ---------------------------------------------------------------- */

static eg_err read_table(struct rpc_call *c) {
    if (EG_UNLIKELY(c->options.siblings))
        return table_read_siblings(c->table, &c->worker->reader, &c->key, c->result, c->note);
    return table_read(c->table, &c->worker->reader, &c->key, c->result);
}

/* From this node's own copy, whatever it lacks. */
static eg_err read_dirty(struct rpc_call *c) {
    if (!table_has_copy(c->table, &c->key))
        return err_note(c->note, EG_NO_REPLICA, "this node has no copy of the key's shard");
    return read_table(c);
}

/* EG_AGAIN: what was read is not on all copies yet; the master says when it is. */
static eg_err read_here(struct rpc_call *c) {
    size_t before_bytes = c->result->size_bytes;
    eg_err err = read_table(c);

    if (err != EG_OK || table_read_stands(c->table, &c->worker->reader, &c->key))
        return err;
    c->result->size_bytes = before_bytes;
    return EG_AGAIN;
}

/* Versions side by side, and which of them go: shard_sibling.h. */
static void ask_for_siblings(const struct rpc_call *c, struct shard_request *q) {
    if (c->options.siblings) {
        q->op = SHARD_READ_SIBLINGS;
    } else if (c->options.replaces.size_bytes == 0) {
        return;
    } else if (q->op == SHARD_WRITE) {
        q->op = SHARD_REPLACE_SIBLINGS;
        q->key = c->options.replaces;
    } else {
        q->op = SHARD_DELETE_SIBLINGS;
        q->value = c->options.replaces;
    }
}

/* Read in place, or change in place where the shard is idle; else send it there. */
static eg_err run_keyed(struct rpc_call *c) {
    const struct rpc_method *m = c->method;
    struct shard_request q = {
        .op = (enum shard_op) m->op,
        .attribute = c->attribute,
        .dirty = c->options.dirty,
        .ttl_ms = c->options.ttl_ms,
        .key = m->key_at != 0 ? c->param[m->key_at] : (struct value){0},
        .value = m->value_at != 0 ? c->param[m->value_at] : (struct value){0},
    };
    bool reads = q.op == SHARD_READ;
    eg_err err = EG_AGAIN;
    eg_ref ref;

    ask_for_siblings(c, &q);
    if (EG_UNLIKELY(c->options.dirty) && reads)
        return read_dirty(c);
    if (!reads)
        err = table_try(c->table, &c->worker->reader, &q, 1, c->result, c->note);
    else if (!session_key_underway(c->session, &c->key) && table_reads_here(c->table, &c->key))
        err = read_here(c);
    if (err != EG_AGAIN)
        return err;
    ref = session_begin(c->session, c);
    err = table_send(c->table, c->session->pid, ref, &q, c->note);
    if (err != EG_OK) {
        session_cancel(c->session, ref);
        return err;
    }
    counter_add(&c->worker->counters.forwarded, 1);
    return EG_AGAIN;
}

/* Everything of an answer but its result; `mark` is what to go back to. */
static eg_err begin_answer(struct rpc_call *c, size_t *mark) {
    uint8_t *room;
    struct value_writer w;

    counter_add(&c->worker->counters.calls[rpc_method_number(c->method)], 1);
    c->worker->note.text[0] = '\0';
    c->result = session_output(c->session);
    *mark = c->result->size_bytes;
    room = buffer_room(c->result, RPC_HEADER_BYTES);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, RPC_HEADER_BYTES);
    rpc_put_response(&w, c->id);
    c->result->size_bytes += (size_t) (w.at - room);
    return EG_OK;
}

/* Large answers are written at once, lest those of one turn fill memory. */
static void write_early(struct worker *w, size_t answer_bytes) {
    w->unwritten_bytes += answer_bytes;
    if (w->unwritten_bytes < WORKER_OUTPUT_BYTES)
        return;
    for (struct list_node *n = w->dirty.next, *next; n != &w->dirty; n = next) {
        next = n->next; /* closing takes a session out of the list, and only that one */
        session_write(EG_CONTAINER_OF(n, struct session, dirty));
    }
    w->unwritten_bytes = 0;
}

static void end_answer(struct rpc_call *c, size_t mark, eg_err err) {
    if (err != EG_OK || c->notification)
        c->result->size_bytes = mark;
    else
        write_early(c->worker, c->result->size_bytes - mark);
    if (err != EG_OK && err != EG_AGAIN && !c->notification)
        session_answer_error(c->session, c->id, err, c->note->text);
}

/* Whether it is this call's turn; puts it back where it must wait. */
static bool is_due(struct rpc_call *c) {
    /* After a change of shape, what is under way for the key is on another way there; so it is
     * where that goes to the master, and this is done here. */
    bool overtakes = c->has_key && session_key_underway(c->session, &c->key) &&
                     (table_settling(c->table) || c->options.dirty);

    if (c->session->state == SESSION_CLOSED)
        return false;
    if (!session_must_wait(c->session) && !overtakes)
        return true;
    session_rewind(c->session, c->offset);
    return false;
}

static void run(struct rpc_call *c) {
    size_t mark;
    eg_err err;

    if (!is_due(c))
        return;
    err = begin_answer(c, &mark);
    if (err == EG_OK)
        err = c->options.tx.size_bytes != 0   ? rpc_tx_call(c)
              : c->method->order == RPC_KEYED ? run_keyed(c)
                                              : c->method->run(c);
    end_answer(c, mark, err);
}

/* The answer to a read that found `found`, or nothing. */
static void answer_found(struct rpc_call *c, const struct record *found) {
    size_t mark;
    uint8_t *room;
    eg_err err;

    if (!is_due(c))
        return;
    err = begin_answer(c, &mark);
    if (err == EG_OK) {
        size_t size_bytes = found != NULL ? record_array_bytes(found) : 0;
        room = buffer_room(c->result, 1 + size_bytes);
        if (room != NULL) {
            room[0] = found != NULL ? ARRAY_OF_ONE : ARRAY_OF_NONE;
            if (found != NULL)
                memcpy(room + 1, record_array(found), size_bytes);
            c->result->size_bytes += 1 + size_bytes;
        } else {
            err = EG_TOO_LARGE;
        }
    }
    end_answer(c, mark, err);
}

/* ---- a batch ------------------------------------------------------------------- */

struct rpc_call *worker_next(struct worker *w) {
    if (w->batch_count == WORKER_BATCH_CALLS)
        worker_execute(w);
    return &w->batch[w->batch_count];
}

static eg_err find_attribute(struct rpc_call *c, struct value name) {
    const uint8_t *at;
    uint32_t size_bytes;
    int position;

    if (value_kind_of(name) != VALUE_STRING || !value_get_bytes(name, &at, &size_bytes))
        return err_note(c->note, EG_BAD_REQUEST, "an attribute's name is a string");
    position = schema_attribute(table_schema(c->table), (const char *) at, size_bytes);
    if (position < 0)
        return err_note(c->note, EG_BAD_REQUEST, "no attribute %.*s", (int) EG_MIN(size_bytes, 64u),
                        (const char *) at);
    c->attribute = (uint16_t) position;
    return EG_OK;
}

eg_err rpc_keyed_key(struct rpc_call *c, struct value *key) {
    const struct rpc_method *m = c->method;

    c->attribute = SHARD_NO_ATTRIBUTE;
    *key = c->param[m->key_at];
    if (m->key_at == 0) {
        if (value_kind_of(c->param[m->value_at]) != VALUE_ARRAY)
            return err_note(c->note, EG_BAD_REQUEST, "a record is an array");
        if (!array_element(c->param[m->value_at], 0, key))
            return err_note(c->note, EG_BAD_RECORD, "a record has a key at least");
    }
    return m->op == SHARD_COUNTER ? find_attribute(c, c->param[2]) : EG_OK;
}

/* Find the table and the key, and begin to bring its bucket. */
static eg_err prepare_keyed(struct rpc_call *c) {
    struct value key;
    eg_err err;

    err = rpc_keyed_key(c, &key);
    if (err != EG_OK)
        return err;
    err = table_key_checked(c->table, &c->key, key, c->note);
    if (err == EG_OK) {
        c->has_key = true;
        table_prefetch(c->table, &c->worker->reader, &c->key);
    }
    return err;
}

static eg_err find_table(struct rpc_call *c) {
    const uint8_t *at;
    uint32_t size_bytes;

    if (!value_get_bytes(c->param[0], &at, &size_bytes))
        return EG_INTERNAL; /* rpc_call_check() has seen a string */
    c->table = catalog_find(c->worker->server->opts.catalog, (const char *) at, size_bytes);
    if (c->table == NULL)
        return err_note(c->note, EG_NO_TABLE, "no table %.*s", (int) EG_MIN(size_bytes, 64u),
                        (const char *) at);
    return EG_OK;
}

eg_err worker_add(struct worker *w, struct rpc_call *c) {
    eg_err err = c->method->names_table ? find_table(c) : EG_OK;

    if (err != EG_OK)
        return err;
    if (c->method->order != RPC_KEYED || c->options.tx.size_bytes != 0) {
        run(c);
        return EG_OK;
    }
    err = prepare_keyed(c);
    if (err == EG_OK)
        w->batch_count++;
    return err;
}

/* A read of one record from memory, which nothing under way may change before. */
static bool is_plain_read(const struct rpc_call *c) {
    const struct schema *s = table_schema(c->table);

    return c->method->op == SHARD_READ && !c->options.dirty && !schema_has_many(s) &&
           !c->options.siblings && s->storage != STORAGE_DISC_ONLY &&
           !session_key_underway(c->session, &c->key) && table_reads_here(c->table, &c->key);
}

/* How many calls from `from` on are plain reads of one table. */
static uint32_t reads_in_a_row(const struct worker *w, uint32_t from) {
    uint32_t to = from;

    while (to < w->batch_count && w->batch[to].table == w->batch[from].table &&
           is_plain_read(&w->batch[to]))
        to++;
    return to - from;
}

/* Reads in a row wait for their records together. */
static void run_reads(struct worker *w, uint32_t from, uint32_t count) {
    const struct key *keys[WORKER_BATCH_CALLS];
    const struct record *found[WORKER_BATCH_CALLS];

    EG_ASSERT(count > 0 && count <= EG_COUNTOF(keys));
    for (uint32_t i = 0; i < count; i++)
        keys[i] = &w->batch[from + i].key;
    table_get_many(w->batch[from].table, &w->reader, keys, count, found);
    for (uint32_t i = 0; i < count; i++) {
        if (EG_LIKELY(table_got_stands(w->batch[from].table, &w->reader, keys[i], found[i])))
            answer_found(&w->batch[from + i], found[i]);
        else
            run(&w->batch[from + i]);
    }
}

void worker_execute(struct worker *w) {
    for (uint32_t i = 0; i < w->batch_count;) {
        uint32_t reads = reads_in_a_row(w, i);
        if (reads > 1) {
            run_reads(w, i, reads);
            i += reads;
        } else {
            run(&w->batch[i++]);
        }
    }
    for (uint32_t i = 0; i < w->batch_count; i++)
        key_release(&w->batch[i].key);
    w->batch_count = 0;
}

/* ---- a turn ---------------------------------------------------------------------- */

static struct session *first_ready(struct worker *w) {
    return EG_CONTAINER_OF(w->ready.next, struct session, ready);
}

static void count_turn(struct worker *w, uint64_t began_ns) {
    uint64_t took_ns = env_now_ns(runtime_env(w->server->opts.runtime)) - began_ns;
    uint32_t slot = 0;

    while (slot < WORKER_LATENCY_SLOTS - 1 && took_ns >> (slot + 8) != 0)
        slot++;
    counter_add(&w->counters.turn_ns[slot], 1);
    counter_add(&w->counters.turns, 1);
}

static void serve_ready(struct worker *w) {
    struct list_node taken, *n;

    list_init(&taken);
    reader_enter(&w->reader);
    while (!list_is_empty(&w->ready)) {
        struct session *s = first_ready(w);
        list_remove(&s->ready);
        list_push_back(&taken, &s->ready);
        session_collect(s);
    }
    worker_execute(w);
    w->unwritten_bytes = 0;
    reader_exit(&w->reader);
    reader_reset(&w->reader);
    while (!list_is_empty(&taken)) {
        n = taken.next;
        list_remove(n);
        session_settle(EG_CONTAINER_OF(n, struct session, ready));
    }
}

void worker_leave(struct worker *w, struct leaving *l) {
    if (!l->step(l))
        list_push_back(&w->leavings, &l->node);
}

static void leave_some(struct worker *w) {
    struct leaving *l;

    if (list_is_empty(&w->leavings))
        return;
    l = EG_CONTAINER_OF(w->leavings.next, struct leaving, node);
    list_remove(&l->node);
    worker_leave(w, l);
}

static bool on_turn(struct turn_hook *hook) {
    struct worker *w = EG_CONTAINER_OF(hook, struct worker, hook);
    uint64_t began_ns = scheduler_now_ns(w->scheduler);
    bool served = !list_is_empty(&w->ready) || !list_is_empty(&w->tasks);
    bool more;

    w->tasks_deadline_ns = 0;
    leave_some(w);
    if (!list_is_empty(&w->ready))
        serve_ready(w);
    more = task_run_all(w);
    more |= subscription_run_all(w);
    stream_net_turn(w->net); /* also what came for sessions that no longer listen */
    while (!list_is_empty(&w->dirty)) {
        struct session *s = EG_CONTAINER_OF(w->dirty.next, struct session, dirty);
        list_remove(&s->dirty);
        session_flush(s);
    }
    if (served)
        count_turn(w, began_ns);
    return more || !list_is_empty(&w->ready) || !list_is_empty(&w->eventful) ||
           !list_is_empty(&w->leavings);
}

static void on_tick(struct timer *t) {
    struct worker *w = EG_CONTAINER_OF(t, struct worker, tick);
    uint64_t now_ns = scheduler_now_ns(w->scheduler);
    bool waits = false;

    for (struct list_node *n = w->sessions.next, *next; n != &w->sessions; n = next) {
        next = n->next; /* a closed session goes later, never at once */
        waits |= session_tick(EG_CONTAINER_OF(n, struct session, node), now_ns);
    }
    if (waits)
        worker_watch(w);
}

void worker_watch(struct worker *w) {
    if (!timer_is_started(&w->tick))
        scheduler_timer_start(w->scheduler, &w->tick, WORKER_TICK_MS, on_tick);
}

/* ---- open, drain, close ------------------------------------------------------------ */

eg_err worker_open(struct worker *w, struct server *server, struct scheduler *s) {
    eg_err err;

    w->server = server;
    w->scheduler = s;
    list_init(&w->sessions);
    list_init(&w->ready);
    list_init(&w->dirty);
    list_init(&w->tasks);
    list_init(&w->eventful);
    list_init(&w->leavings);
    err = server->opts.net_open(&w->net, server->opts.alloc, s);
    if (err != EG_OK)
        return err;
    reader_of_scheduler(&w->reader, scheduler_epoch(s), server->opts.alloc);
    w->hook.run = on_turn;
    scheduler_add_hook(s, &w->hook);
    w->hooked = true;
    return EG_OK;
}

void worker_close(struct worker *w) {
    if (!w->hooked)
        return;
    EG_ASSERT(w->session_count == 0);
    scheduler_remove_hook(w->scheduler, &w->hook);
    scheduler_timer_stop(w->scheduler, &w->tick);
    task_end_alone(w);
    while (!list_is_empty(&w->leavings))
        leave_some(w);
    while (w->spare_count > 0)
        buffer_fini(&w->spare[--w->spare_count]);
    reader_close(&w->reader);
    stream_net_close(w->net);
    w->hooked = false;
}

void worker_drain(struct worker *w) {
    w->draining = true;
    for (struct list_node *n = w->sessions.next; n != &w->sessions; n = n->next)
        session_drain(EG_CONTAINER_OF(n, struct session, node));
    if (w->session_count == 0)
        server_worker_empty(w->server, w);
}

void worker_cut(struct worker *w) {
    for (struct list_node *n = w->sessions.next, *next; n != &w->sessions; n = next) {
        next = n->next;
        session_close(EG_CONTAINER_OF(n, struct session, node));
    }
}
