/* schema_learn.c -- what must this node's catalog do to agree with an entry?
 *
 * Steps, which the catalog carries out in order; the last one puts the entry into the list.  A live
 * entry is remembered on disc before its table is made: a table without an entry looks
 * older than it is, and could be taken for one that was dropped since. */
#include "replication/schema_sync_private.h"

#include "engine/env.h"
#include "tables/disc.h"
#include "tables/origin.h"
#include "tables/route.h"
#include "tables/shard_copy.h"

#include <string.h>

enum { SYNC_ROW = 'l' };

/* Where a payload or a row is put together. */
static uint8_t *room_for(struct schema_sync *s, size_t bytes) {
    buffer_clear(&s->out);
    return buffer_room(&s->out, bytes);
}

void schema_remember(struct schema_sync *s, const struct schema_entry *e) {
    struct value_writer w = value_writer_init(NULL, 0);
    uint8_t key[1 + SCHEMA_NAME_MAX] = {SYNC_ROW};
    struct disc_batch b;
    eg_err err;

    if (s->o.disc == NULL)
        return;
    schema_entry_put(e, &w);
    if (room_for(s, w.need_bytes) == NULL)
        return; /* others will tell it again */
    w = value_writer_init(s->out.at, w.need_bytes);
    schema_entry_put(e, &w);
    memcpy(key + 1, e->name.text, e->name.size_bytes);
    disc_batch_init(&b, s->o.alloc);
    err = disc_batch_put(&b, s->o.disc->meta, (struct disc_bytes){key, 1u + e->name.size_bytes},
                         (struct disc_bytes){s->out.at, w.need_bytes});
    if (err == EG_OK)
        err = disc_write(s->o.disc, &b);
    disc_batch_fini(&b);
    if (err != EG_OK)
        env_log(s->o.env, ENV_LOG_WARN, "schema", "%s: not remembered on disc: %s", e->name.text,
                eg_err_text(err));
}

static eg_err recall_row(struct schema_sync *s, struct disc_bytes stored) {
    struct value v = {stored.at, (uint32_t) stored.size_bytes};
    struct schema_entry *e;
    const struct table *t;
    size_t used_bytes;
    eg_err err = value_scan(stored.at, stored.size_bytes, &used_bytes);

    if (err == EG_OK && used_bytes == stored.size_bytes)
        err = schema_entry_get(&e, s->o.alloc, v);
    if (err != EG_OK)
        return err == EG_MEMORY ? err : EG_CORRUPT;
    t = e->live ? catalog_find(s->o.catalog, e->name.text, e->name.size_bytes) : NULL;
    if (e->live && (t == NULL || table_schema(t)->id != e->id))
        schema_entry_free(
            e); /* a ram table, gone with the last process; or one that never was made */
    else
        schema_list_put(&s->list, e);
    return EG_OK;
}

eg_err schema_recall(struct schema_sync *s, struct err_note *note) {
    static const uint8_t from[] = {SYNC_ROW}, to[] = {SYNC_ROW + 1};
    struct disc_range range = {.from = {from, 1}, .to = {to, 1}};
    struct disc_iter *it;
    eg_err err;

    if (s->o.disc == NULL)
        return EG_OK;
    err = disc_iter_open(s->o.disc, s->o.disc->meta, &range, &it);
    if (err != EG_OK)
        return err;
    for (it->ops->seek(it, range.from); err == EG_OK && it->valid; it->ops->next(it))
        err = recall_row(s, it->value);
    if (err == EG_OK)
        err = it->err;
    it->ops->close(it);
    return err == EG_CORRUPT ? err_note(note, err, "the stored list of tables is damaged") : err;
}

/* ---- steps ---------------------------------------------------------------------------- */

void schema_step_send(struct schema_sync *s, struct schema_step *p) {
    struct catalog_request q = {.op = (enum catalog_op) p->op,
                                .name = {(const uint8_t *) p->name.text, p->name.size_bytes},
                                .value = {p->value.at, (uint32_t) p->value.size_bytes}};
    struct message *m;
    eg_pid to;

    p->unsent = true;
    if (catalog_message_here(s->o.catalog, &q, &to, &m) != EG_OK)
        return; /* the tick tries again */
    m->ref = p->number;
    p->unsent = runtime_send(s->o.runtime, s->o.answers(s->o.user), to, m) != EG_OK;
}

struct schema_step *schema_step_add(struct schema_sync *s, const struct schema_name *name,
                                    uint32_t op, struct value value) {
    struct schema_step *p = alloc_zero(s->o.alloc, sizeof *p);

    if (p == NULL)
        return NULL;
    p->number = ++s->numbers;
    p->op = op;
    p->name = *name;
    buffer_init(&p->value, s->o.alloc, SCHEMA_PAYLOAD_BYTES_MAX);
    if (value.size_bytes != 0 && !buffer_append(&p->value, value.at, value.size_bytes)) {
        alloc_put(s->o.alloc, p, sizeof *p);
        return NULL;
    }
    list_push_back(&s->steps, &p->node);
    return p;
}

void schema_step_free(struct schema_sync *s, struct schema_step *p) {
    list_remove(&p->node);
    if (p->outcome != NULL)
        schema_entry_free(p->outcome);
    buffer_fini(&p->value);
    alloc_put(s->o.alloc, p, sizeof *p);
}

static bool is_stepping(const struct schema_sync *s, const struct schema_name *name) {
    for (struct list_node *n = s->steps.next; n != &s->steps; n = n->next) {
        const struct schema_step *p = EG_CONTAINER_OF(n, struct schema_step, node);
        if (p->name.size_bytes == name->size_bytes &&
            memcmp(p->name.text, name->text, name->size_bytes) == 0)
            return true;
    }
    return false;
}

void schema_know(struct schema_sync *s, struct schema_entry *e) {
    struct schema_name name = e->name;

    schema_remember(s, e);
    schema_list_put(&s->list, e);
    s->o.table_changed(s->o.user, name.text);
}

/* ---- an entry -------------------------------------------------------------------------- */

static bool has_stamp(const struct schema_entry *e, uint64_t stamp) {
    for (uint32_t i = 0; i < e->change_count; i++)
        if (e->changes[i].stamp == stamp)
            return true;
    return false;
}

/* What is known once both are. */
static eg_err unite(struct schema_entry *to, const struct schema_entry *mine) {
    eg_err err = EG_OK;

    to->born = EG_MAX(to->born, mine->born);
    for (uint32_t i = 0; i < mine->change_count && err == EG_OK; i++) {
        const struct schema_change *c = &mine->changes[i];
        if (!has_stamp(to, c->stamp))
            err = schema_entry_add(to, c->stamp, c->op, (struct value){c->at, c->size_bytes});
    }
    return err;
}

/* The steps of an entry, in order, the last one with the outcome. */
struct steps {
    struct schema_step *step[SCHEMA_SYNC_CHANGES_MAX + 2];
    uint32_t count;
};

static eg_err plan_step(struct schema_sync *s, struct steps *p, const struct schema_name *name,
                        uint32_t op, struct value value) {
    struct schema_step *step = schema_step_add(s, name, op, value);

    if (step == NULL)
        return EG_MEMORY;
    p->step[p->count++] = step;
    return EG_OK;
}

static eg_err plan_changes(struct schema_sync *s, struct steps *p, const struct schema_entry *mine,
                           const struct schema_entry *theirs) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < theirs->change_count && err == EG_OK; i++) {
        const struct schema_change *c = &theirs->changes[i];
        if (mine == NULL || !has_stamp(mine, c->stamp))
            err = plan_step(s, p, &theirs->name, c->op, (struct value){c->at, c->size_bytes});
    }
    return err;
}

static eg_err plan(struct schema_sync *s, struct steps *p, enum schema_advice advice,
                   const struct schema_entry *mine, struct schema_entry *theirs) {
    struct value schema = {theirs->schema.at, (uint32_t) theirs->schema.size_bytes};
    eg_err err = EG_OK;

    if (advice == SCHEMA_CATCH_UP) {
        err = plan_changes(s, p, mine, theirs);
        return err == EG_OK ? unite(theirs, mine) : err;
    }
    if (mine != NULL && mine->live)
        err = plan_step(s, p, &theirs->name, CATALOG_DROP, (struct value){NULL, 0});
    if (err == EG_OK && theirs->live)
        err = plan_step(s, p, &theirs->name, CATALOG_ADOPT, schema);
    return err == EG_OK && theirs->live ? plan_changes(s, p, NULL, theirs) : err;
}

/* This node's table keeps its name here, alone: what else it has is not lost. */
static void set_aside(struct schema_sync *s, struct schema_entry *mine) {
    if (!mine->aside)
        s->o.event(s->o.user, "schema_conflict", mine->name.text,
                   "another table has this name on other nodes: this one is not replicated");
    mine->aside = true;
    s->o.table_changed(s->o.user, mine->name.text);
}

/* Do what it takes to agree with `theirs`, which is taken over.  EG_BUSY: later. */
eg_err schema_learn(struct schema_sync *s, struct schema_entry *theirs,
                    struct schema_applying *applying) {
    struct schema_entry *mine =
        schema_list_find(&s->list, theirs->name.text, theirs->name.size_bytes);
    enum schema_advice advice = schema_list_compare(mine, theirs);
    struct steps p = {.count = 0};
    eg_err err;

    s->list.stamp = EG_MAX(s->list.stamp, schema_entry_stamp(theirs));
    if (is_stepping(s, &theirs->name)) {
        schema_entry_free(theirs);
        return EG_BUSY;
    }
    if (advice == SCHEMA_KEEP || advice == SCHEMA_CLASH) {
        if (advice == SCHEMA_CLASH)
            set_aside(s, mine);
        schema_entry_free(theirs);
        return EG_OK;
    }
    /* Before the table is there: its shards must not serve before a view says which part they have.
     */
    err = theirs->live ? origins_meet(catalog_origins(s->o.catalog)) : EG_OK;
    if (err == EG_OK)
        err = plan(s, &p, advice, mine, theirs);
    if (err != EG_OK) {
        while (p.count > 0)
            schema_step_free(s, p.step[--p.count]);
        schema_entry_free(theirs);
        return err;
    }
    if (p.count == 0) {
        schema_know(s, theirs);
        return EG_OK;
    }
    if (theirs->live)
        schema_remember(s,
                        theirs); /* before its table is there: else that looked older than it is */
    p.step[p.count - 1]->outcome = theirs;
    for (uint32_t i = 0; i < p.count; i++) {
        p.step[i]->applying = applying;
        if (applying != NULL)
            applying->left++;
        schema_step_send(s, p.step[i]);
    }
    return EG_OK;
}
