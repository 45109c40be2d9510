/* shard_log.c -- two batches that take turns: one fills, one is on its way.
 *
 * Invariants:
 *   (1) in_flight means batch[!filling] is lent to the disc, or refused and kept.
 *   (2) waiters[i] wait for batch[i]. */
#include "tables/shard_log.h"

#include "engine/runtime.h"
#include "tables/shard.h"

#include <string.h>

enum { SHARD_LOG_WAITERS_BYTES_MAX = 64 << 20 };

void shard_log_init(struct shard_log *l, struct alloc *a, struct runtime *rt) {
    *l = (struct shard_log){.alloc = a, .runtime = rt};
    for (unsigned i = 0; i < 2; i++) {
        disc_batch_init(&l->batch[i], a);
        buffer_init(&l->waiters[i], a, SHARD_LOG_WAITERS_BYTES_MAX);
    }
}

void shard_log_attach(struct shard_log *l, struct disc *disc, struct disc_table *table,
                      uint32_t shard, bool bag, bool sync) {
    l->disc = disc;
    l->table = table;
    l->shard = shard;
    l->bag = bag;
    l->sync = sync;
}

static struct shard_waiter *waiters_of(struct buffer *b, size_t *count) {
    *count = b->size_bytes / sizeof(struct shard_waiter);
    return (struct shard_waiter *) (void *) b->at; /* from alloc_get: aligned for any object */
}

void shard_log_fini(struct shard_log *l) {
    for (unsigned i = 0; i < 2; i++) {
        size_t count;
        struct shard_waiter *w = waiters_of(&l->waiters[i], &count);

        for (size_t n = 0; n < count; n++)
            message_free(l->runtime, w[n].reply);
        buffer_fini(&l->waiters[i]);
        disc_batch_fini(&l->batch[i]);
    }
}

eg_err shard_log_ready(const struct shard_log *l, bool frees, struct err_note *note) {
    eg_err err;

    if (l->disc == NULL)
        return EG_OK;
    err = EG_UNLIKELY(frees) ? disc_yields(l->disc, note) : disc_health(l->disc, note);
    if (EG_UNLIKELY(l->refused)) {
        return err != EG_OK ? err : err_note(note, EG_BUSY, "the disc is behind");
    }
    if (EG_UNLIKELY(l->batch[l->filling].used_bytes > SHARD_LOG_BYTES_MAX))
        return err_note(note, EG_BUSY, "the disc is behind");
    return err;
}

eg_err shard_log_put(struct shard_log *l, const struct record *rec) {
    if (l->table == NULL)
        return EG_OK;
    return disc_record_put(&l->batch[l->filling], l->table, l->shard, rec, l->bag);
}

eg_err shard_log_del(struct shard_log *l, const struct record *rec) {
    if (l->table == NULL)
        return EG_OK;
    return disc_record_del(&l->batch[l->filling], l->table, l->shard, rec, l->bag);
}

eg_err shard_log_clear(struct shard_log *l) {
    if (l->table == NULL)
        return EG_OK;
    return disc_record_clear(&l->batch[l->filling], l->table, l->shard);
}

eg_err shard_log_del_part(struct shard_log *l, const uint64_t id[2]) {
    if (l->table == NULL)
        return EG_OK;
    return disc_record_del_part(&l->batch[l->filling], l->table, l->shard, id);
}

eg_err shard_log_put_done(struct shard_log *l, const uint64_t id[2]) {
    if (l->table == NULL)
        return EG_OK;
    return disc_record_put_done(&l->batch[l->filling], l->table, l->shard, id);
}

/* On the disc's writer thread: only passes the word on. */
static void batch_done(struct disc_request *q, eg_err err) {
    struct shard_log *l = EG_CONTAINER_OF(q, struct shard_log, request);
    struct message *m = l->done;

    /* Both before the pid is read: an actor that takes over later finds them. */
    atomic_store(&l->ended_err, err);
    atomic_fetch_add(&l->ended, 1);
    /* If the actor has just died its successor looks without being told. */
    (void) runtime_send(l->runtime, EG_PID_NONE, shard_pid(l->owner), m);
}

/* Lend batch[!filling] to the disc.  False: it could not be. */
static bool submit(struct shard_log *l) {
    eg_err err;

    l->done = message_new(l->runtime, MESSAGE_REPLY, 0); /* REPLY: never refused */
    if (l->done == NULL)
        return false;
    l->done->tag = SHARD_LOG_DONE;
    l->request = (struct disc_request){.kind = DISC_WRITE,
                                       .sync = l->sync || l->synced[!l->filling],
                                       .reserved = true, /* memory shows it already */
                                       .batch = &l->batch[!l->filling],
                                       .done = batch_done};
    l->flights++;
    err = disc_submit(l->disc, &l->request);
    if (err != EG_OK) {
        l->flights--;
        message_free(l->runtime, l->done);
        l->done = NULL;
    }
    return err == EG_OK;
}

bool shard_log_is_written(const struct shard_log *l) {
    return l->disc == NULL ||
           (l->batch[l->filling].count == 0 && !(l->in_flight && l->batch[!l->filling].count != 0));
}

/* Write here and now, unless something before it is still on its way. */
static void write_at_once(struct shard_log *l, struct disc_bytes clock) {
    struct disc_batch *b = &l->batch[l->filling];

    if (b->count == 0 || (l->in_flight && l->batch[!l->filling].count != 0))
        return;
    if (clock.size_bytes != 0 && disc_record_put_clock(b, l->table, l->shard, clock) == EG_OK &&
        disc_write(l->disc, b) == EG_OK)
        disc_batch_reset(b);
    /* else it goes the long way, and is tried again there */
}

eg_err shard_log_lend(const struct shard_log *l, struct disc_bytes clock, struct disc_batch *b) {
    const struct disc_batch *from = &l->batch[l->filling];
    const struct disc_change *c = NULL;
    eg_err err = EG_OK;

    if (l->disc == NULL || from->count == 0)
        return EG_OK;
    while (err == EG_OK && (c = disc_batch_next(from, c)) != NULL) {
        struct disc_bytes key = disc_change_key(c), value = disc_change_value(c);

        switch ((enum disc_change_kind) c->kind) {
        case DISC_PUT:
            err = disc_batch_put(b, c->table, key, value);
            break;
        case DISC_DEL:
            err = disc_batch_del(b, c->table, key);
            break;
        case DISC_DEL_RANGE:
            err = disc_batch_del_range(b, c->table, key, value);
            break;
        }
    }
    if (err == EG_OK && clock.size_bytes == 0)
        err = EG_MEMORY;
    return err == EG_OK ? disc_record_put_clock(b, l->table, l->shard, clock) : err;
}

void shard_log_lent(struct shard_log *l) {
    disc_batch_reset(&l->batch[l->filling]);
}

void shard_log_flush(struct shard_log *l, struct disc_bytes clock) {
    struct disc_batch *b = &l->batch[l->filling];

    if (l->disc == NULL)
        return;
    if (l->at_once)
        write_at_once(l, clock);
    if (l->in_flight)
        return;
    if (b->count == 0 && l->waiters[l->filling].size_bytes == 0)
        return;
    if (b->count != 0 &&
        (clock.size_bytes == 0 || disc_record_put_clock(b, l->table, l->shard, clock) != EG_OK))
        return; /* out of memory: it goes on collecting, the next turn tries again */
    l->filling = !l->filling;
    l->in_flight = true;
    l->refused = !submit(l);
}

eg_err shard_log_wait(struct shard_log *l, eg_pid to, eg_ref ref, struct message *reply) {
    struct shard_waiter w = {to, ref, reply};

    return buffer_append(&l->waiters[l->filling], &w, sizeof w) ? EG_OK : EG_MEMORY;
}

eg_err shard_log_wait_synced(struct shard_log *l, eg_pid to, eg_ref ref, struct message *reply) {
    eg_err err = shard_log_wait(l, to, ref, reply);

    l->synced[l->filling] |= err == EG_OK;
    return err;
}

static void answer_waiters(struct shard_log *l, struct actor *self, struct buffer *waiters,
                           eg_err err) {
    static const char made[] = "made, but the disc refused it";
    struct err_note reason = {""}, why = {""};
    size_t count;
    struct shard_waiter *w = waiters_of(waiters, &count);

    if (err != EG_OK) {
        bool told = disc_health(l->disc, &reason) != EG_OK;
        err = err_note(&why, EG_IN_DOUBT, told ? "%s: %s" : "%s", made, reason.text);
    }
    for (size_t i = 0; i < count; i++) {
        if (err == EG_OK) {
            actor_reply(self, w[i].to, w[i].ref, w[i].reply);
        } else {
            message_free(l->runtime, w[i].reply);
            actor_reply_bytes(self, w[i].to, w[i].ref, err, why.text, strlen(why.text));
        }
    }
    buffer_clear(waiters);
}

void shard_log_done(struct shard_log *l, struct actor *self) {
    eg_err err;

    if (!l->in_flight || l->refused || atomic_load(&l->ended) != l->flights)
        return; /* told already, or not yet */
    err = (eg_err) atomic_load(&l->ended_err);
    answer_waiters(l, self, &l->waiters[!l->filling], err);
    if (err != EG_OK) {
        l->refused = true;
        return;
    }
    disc_batch_reset(&l->batch[!l->filling]);
    l->synced[!l->filling] = false;
    l->in_flight = false;
}

void shard_log_retry(struct shard_log *l, struct actor *self) {
    if (!l->refused)
        return;
    l->refused = !submit(l);
    if (l->refused && disc_yields(l->disc, NULL) != EG_OK) /* not only behind */
        answer_waiters(l, self, &l->waiters[!l->filling], EG_DISC);
}

bool shard_log_idle(const struct shard_log *l) {
    return l->disc == NULL || (!l->in_flight && l->batch[l->filling].count == 0 &&
                               l->waiters[l->filling].size_bytes == 0);
}
