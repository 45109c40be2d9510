/* table_world.c -- a catalog whose runtime is the test's own thread. */
#include "tests/support/table_world.h"

#include "tables/moment.h"
#include "tables/table_private.h"
#include "tables/transact.h"

#include <string.h>

enum {
    WAIT_MS = 120 * 1000,
    READERS_MAX = 16,
    SCHEDULERS = 2,
    RESULT_BYTES_MAX = 64 << 20,
    RECENT_BYTES = 128, /* few, so that some are forgotten */
};

void table_world_prepare_with(struct table_world *w, struct alloc *tables, struct alloc *messages,
                              uint64_t seed) {
    struct disc_twin_opts twin = {
        .alloc = alloc_system(), .seed = seed, .wake = disc_pump_wake, .ctx = &w->pump};

    *w = (struct table_world){.alloc = tables, .pump = {.delay_ms = 2}};
    EG_ASSERT(epoch_open(&w->epoch, alloc_system(), READERS_MAX) == EG_OK);
    w->st = stepper_open_in(messages, SCHEDULERS, seed, w->epoch, NULL);
    EG_ASSERT(w->st != NULL);
    EG_ASSERT(disc_twin_open(&w->pump.twin, &twin) == EG_OK);
    disc_pump_start(&w->pump, w->st->rt);
    EG_ASSERT(reader_open(&w->reader, w->epoch, alloc_system()) == EG_OK);
    buffer_init(&w->result, alloc_system(), RESULT_BYTES_MAX);
}

void table_world_prepare(struct table_world *w, struct alloc *tables, uint64_t seed) {
    table_world_prepare_with(w, tables, alloc_system(), seed);
}

eg_err table_world_start(struct table_world *w) {
    struct catalog_opts o = {.alloc = w->alloc,
                             .env = &w->st->env,
                             .runtime = w->st->rt,
                             .epoch = w->epoch,
                             .disc = disc_twin_disc(w->pump.twin),
                             .budget = &w->budget,
                             .recent_bytes = RECENT_BYTES,
                             .graves_bytes_max = w->graves_bytes_max};

    EG_ASSERT(w->catalog == NULL);
    return catalog_open(&w->catalog, &o, &w->note);
}

eg_err table_world_stop(struct table_world *w) {
    eg_err err = w->catalog == NULL ? EG_OK : catalog_close(w->catalog);

    w->catalog = NULL;
    return err;
}

void table_world_close(struct table_world *w) {
    (void) table_world_stop(w); /* a test that cares has stopped it */
    buffer_fini(&w->result);
    reader_close(&w->reader);
    stepper_close(w->st);
    disc_close(disc_twin_disc(w->pump.twin));
    epoch_close(w->epoch);
}

static eg_err wait_for(struct table_world *w, eg_pid to, struct message *m) {
    struct message *reply;
    eg_err err = foreign_call(w->st->me, to, m, WAIT_MS, &reply);

    if (err != EG_OK)
        return err;
    err = (eg_err) reply->tag;
    if (err == EG_OK)
        EG_ASSERT(buffer_append(&w->result, reply->payload, reply->size_bytes));
    else
        err_note(&w->note, err, "%.*s", (int) reply->size_bytes, (const char *) reply->payload);
    message_free(w->st->rt, reply);
    return err;
}

eg_err table_world_ask(struct table_world *w, enum catalog_op op, const char *name,
                       struct value value) {
    struct catalog_request q = {
        .op = op, .name = {(const uint8_t *) name, (uint32_t) strlen(name)}, .value = value};
    struct message *m;
    eg_pid to;

    buffer_clear(&w->result);
    EG_ASSERT(catalog_message(w->catalog, &q, &to, &m) == EG_OK);
    return wait_for(w, to, m);
}

eg_err table_world_run(struct table_world *w, struct table *t, const struct shard_request *q) {
    struct message *m;
    eg_pid to;
    eg_err err;

    buffer_clear(&w->result);
    w->note.text[0] = '\0';
    err = table_try(t, &w->reader, q, 1, &w->result, &w->note);
    if (err != EG_AGAIN)
        return err;
    err = table_message(t, q, &to, &m, &w->note);
    return err != EG_OK ? err : wait_for(w, to, m);
}

eg_err table_world_transact(struct table_world *w, struct table *t, uint32_t shard,
                            const struct shard_request *q) {
    struct message *m;
    eg_pid to;

    buffer_clear(&w->result);
    w->note.text[0] = '\0';
    EG_ASSERT(transact_message(t, shard, q, &to, &m) == EG_OK);
    return wait_for(w, to, m);
}

eg_err table_world_write_many(struct table_world *w, struct table *t, const char *name,
                              struct value records, uint64_t ttl_ms) {
    struct catalog_request q = {.op = CATALOG_WRITE_MANY,
                                .ttl_ms = ttl_ms,
                                .name = {(const uint8_t *) name, (uint32_t) strlen(name)},
                                .value = records};
    struct message *m;
    eg_pid to;
    eg_err err;

    buffer_clear(&w->result);
    err = table_try_many(t, &w->reader, records, &(struct table_many){.ttl_ms = ttl_ms}, &w->result,
                         &w->note);
    if (err != EG_AGAIN)
        return err;
    EG_ASSERT(catalog_message(w->catalog, &q, &to, &m) == EG_OK);
    return wait_for(w, to, m);
}

eg_err table_world_moment(struct table_world *w, struct value names, struct moment **out) {
    struct message *m;
    eg_pid to;
    eg_err err;

    reader_enter(&w->reader);
    err = moment_new(out, w->catalog, names, &w->note);
    reader_exit(&w->reader);
    if (err != EG_OK)
        return err;
    EG_ASSERT(moment_message(*out, w->catalog, &to, &m) == EG_OK);
    err = wait_for(w, to, m);
    if (err != EG_OK)
        moment_unref(*out);
    return err;
}

struct table *table_world_find(struct table_world *w, const char *name) {
    return catalog_find(w->catalog, name, strlen(name));
}

void table_world_check(struct table_world *w, struct table *t) {
    for (uint32_t i = 0; i < t->shard_count; i++) {
        struct actor *owner;

        while ((owner = actor_claim(w->st->rt, shard_pid(&t->shard[i]))) == NULL)
            stepper_run_ms(w->st, 1);
        shard_check(&t->shard[i], &w->reader);
        actor_release(owner);
    }
}
