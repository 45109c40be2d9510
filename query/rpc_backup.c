/* rpc_backup.c -- taking a moment, and handing out its file piece by piece. */
#include "query/rpc_backup.h"

#include "query/rpc_handler.h"
#include "query/server_private.h"
#include "query/task.h"

#include "engine/env.h"
#include "engine/runtime.h"
#include "tables/backup.h"

#include <string.h>

enum {
    PIECE_NS = 500 * 1000, /* about what it may take to make one */
    BIN32_BYTES = 5,
    NUMBER_BYTES = 9,
};

static const char NO_BACKUP[] = "no such backup";

/* One that is being read. */
struct backup {
    struct list_node node;
    struct backup_writer *writer;
    uint64_t id;
    uint64_t used_ns;
    eg_err failed;
};

static struct alloc *alloc_of(const struct session *s) {
    return s->worker->server->opts.alloc;
}

/* ---- open ------------------------------------------------------------------------ */

/* Waits for the catalog to take the moment. */
struct opening {
    struct task task;
    struct moment *moment;
    bool sent;
    eg_err err;
    struct err_note note;
};

static void backup_free(struct session *s, struct backup *b) {
    list_remove(&b->node);
    s->backup_count--;
    backup_writer_close(b->writer);
    alloc_put(alloc_of(s), b, sizeof *b);
}

/* The moment is there: the session has a backup, and the client its id. */
static eg_err begin_reading(struct opening *o, struct buffer *result) {
    struct session *s = o->task.session;
    struct server *server = s->worker->server;
    uint8_t *room = buffer_room(result, NUMBER_BYTES);
    struct backup *b = alloc_zero(alloc_of(s), sizeof *b);
    struct value_writer w;

    if (b == NULL || room == NULL ||
        backup_writer_open(&b->writer, alloc_of(s), o->moment, server->opts.node_name) != EG_OK) {
        alloc_put(alloc_of(s), b, sizeof *b);
        return EG_MEMORY;
    }
    o->moment = NULL; /* the writer's */
    b->id = env_random(runtime_env(server->opts.runtime)) >> 1;
    b->used_ns = scheduler_now_ns(s->worker->scheduler);
    list_push_back(&s->backups, &b->node);
    s->backup_count++;
    worker_watch(s->worker);
    w = value_writer_init(room, NUMBER_BYTES);
    value_put_u64(&w, b->id);
    result->size_bytes += w.need_bytes;
    return EG_OK;
}

static eg_err open_step(struct task *t, struct buffer *result, struct err_note *note) {
    struct opening *o = EG_CONTAINER_OF(t, struct opening, task);
    struct catalog *c = t->worker->server->opts.catalog;
    eg_err err;

    if (!o->sent) {
        err = moment_send(o->moment, c, t->session->pid, session_task_ref(t->number));
        o->sent = err == EG_OK;
        t->asked += o->sent;
        return err == EG_OK ? EG_AGAIN : err;
    }
    if (o->err == EG_OK)
        return begin_reading(o, result);
    *note = o->note;
    return o->err == EG_NOPROC ? EG_BUSY : o->err; /* the catalog is just being replaced */
}

static void open_answered(struct task *t, eg_err err, struct value result) {
    struct opening *o = EG_CONTAINER_OF(t, struct opening, task);

    o->err = err;
    if (err != EG_OK && result.size_bytes > 0)
        (void) err_note(&o->note, err, "%.*s", (int) result.size_bytes, (const char *) result.at);
}

static void open_free(struct task *t) {
    struct opening *o = EG_CONTAINER_OF(t, struct opening, task);

    if (o->moment != NULL)
        moment_unref(o->moment);
    alloc_put(t->worker->server->opts.alloc, o, sizeof *o);
}

/* The only option there is: which tables. */
static eg_err names_option(struct rpc_call *c, struct value *names) {
    struct value_iter it;
    struct value name;

    *names = (struct value){0};
    if (c->free_options.size_bytes == 0)
        return EG_OK;
    it = value_iter_of(c->free_options);
    while (value_iter_next(&it, &name)) {
        EG_ASSERT(value_iter_next(&it, names));
        if (!value_is_string(name, "tables"))
            return err_note(c->note, EG_BAD_REQUEST, "the only option of backup_open is tables");
    }
    return EG_OK;
}

eg_err rpc_backup_open(struct rpc_call *c) {
    static const struct task_ops ops = {
        .name = "backup", .step = open_step, .free = open_free, .answered = open_answered};
    struct session *s = c->session;
    struct opening *o;
    struct value names;
    eg_err err = names_option(c, &names);

    if (err == EG_OK && s->backup_count >= BACKUPS_SESSION_MAX)
        err = err_note(c->note, EG_BUSY, "too many backups of this connection are open");
    if (err != EG_OK)
        return err;
    o = alloc_zero(alloc_of(s), sizeof *o);
    if (o == NULL)
        return EG_MEMORY;
    err = moment_new(&o->moment, s->worker->server->opts.catalog, names, c->note);
    if (err != EG_OK) {
        alloc_put(alloc_of(s), o, sizeof *o);
        return err;
    }
    return task_start(&o->task, &ops, c);
}

/* ---- read and close ------------------------------------------------------------------ */

static struct backup *find(struct rpc_call *c) {
    uint64_t id;

    if (!value_get_u64(c->param[0], &id))
        return NULL;
    for (struct list_node *n = c->session->backups.next; n != &c->session->backups; n = n->next) {
        struct backup *b = EG_CONTAINER_OF(n, struct backup, node);
        if (b->id == id)
            return b;
    }
    return NULL;
}

struct piece {
    struct env *env;
    uint64_t deadline_ns;
};

static bool is_over(void *context) {
    const struct piece *p = context;

    return env_now_ns(p->env) >= p->deadline_ns;
}

eg_err rpc_backup_read(struct rpc_call *c) {
    struct backup *b = find(c);
    size_t place = c->result->size_bytes, size_bytes;
    struct piece piece;
    uint8_t *head;

    if (b == NULL)
        return err_note(c->note, EG_NOT_FOUND, "%s", NO_BACKUP);
    if (b->failed != EG_OK)
        return b->failed;
    piece.env = runtime_env(c->worker->server->opts.runtime);
    piece.deadline_ns = env_now_ns(piece.env) + PIECE_NS;
    b->used_ns = scheduler_now_ns(c->worker->scheduler);
    if (buffer_room(c->result, BIN32_BYTES + BACKUP_BLOCK_BYTES) == NULL)
        return EG_MEMORY;
    c->result->size_bytes += BIN32_BYTES;
    b->failed = backup_writer_next(b->writer, &c->worker->reader, c->result, is_over, &piece);
    if (b->failed != EG_OK)
        return err_note(c->note, b->failed, "the backup cannot be finished");
    size_bytes = c->result->size_bytes - place - BIN32_BYTES;
    head = c->result->at + place;
    if (size_bytes == 0) {
        head[0] = 0xc0; /* nil: that was all */
        c->result->size_bytes = place + 1;
        return EG_OK;
    }
    head[0] = 0xc6; /* binary of a size that was not known before it was made */
    for (int i = 0; i < 4; i++)
        head[1 + i] = (uint8_t) (size_bytes >> (24 - 8 * i));
    return EG_OK;
}

eg_err rpc_backup_close(struct rpc_call *c) {
    struct backup *b = find(c);
    uint8_t *room = buffer_room(c->result, 1);

    if (b == NULL)
        return err_note(c->note, EG_NOT_FOUND, "%s", NO_BACKUP);
    if (room == NULL)
        return EG_MEMORY;
    backup_free(c->session, b);
    *room = 0xc3;
    c->result->size_bytes++;
    return EG_OK;
}

/* ---- the end ----------------------------------------------------------------------------- */

bool backup_expire(struct session *s, uint64_t now_ns) {
    for (struct list_node *n = s->backups.next, *next; n != &s->backups; n = next) {
        struct backup *b = EG_CONTAINER_OF(n, struct backup, node);

        next = n->next;
        if (now_ns - b->used_ns > (uint64_t) BACKUP_IDLE_MS * 1000000)
            backup_free(s, b);
    }
    return s->backup_count > 0;
}

void backup_end_all(struct session *s) {
    while (!list_is_empty(&s->backups))
        backup_free(s, EG_CONTAINER_OF(s->backups.next, struct backup, node));
}
