/* schema_learn.c -- what must this node's catalog do to agree with an entry?
 *
 * Steps, which the catalog carries out in order; the last one puts the entry into the list.  A live
 * entry is remembered on disc before its table is made: a table without an entry looks
 * older than it is, and could be taken for one that was dropped since. */
#include "replication/schema_sync_private.h"

#include "engine/env.h"
#include "replication/schema_plan.h"
#include "replication/schema_replay.h"
#include "tables/disc.h"
#include "tables/origin.h"
#include "tables/route.h"
#include "tables/shard_copy.h"

#include <stdio.h>
#include <string.h>

enum { SYNC_ROW = 'l', ROW_ENTRIES = 2 };

/* Where a payload or a row is put together. */
static uint8_t *room_for(struct schema_sync *s, size_t bytes) {
    buffer_clear(&s->out);
    return buffer_room(&s->out, bytes);
}

/* A row is an entry; or two, where a change is under way: as it will be, and as it was. */
static void put_row(const struct schema_entry *e, const struct schema_entry *was,
                    struct value_writer *w) {
    if (was != NULL)
        value_put_array(w, ROW_ENTRIES);
    schema_entry_put(e, w);
    if (was != NULL)
        schema_entry_put(was, w);
}

static eg_err remember(struct schema_sync *s, const struct schema_entry *e,
                       const struct schema_entry *was) {
    struct value_writer w = value_writer_init(NULL, 0);
    uint8_t key[1 + SCHEMA_NAME_MAX] = {SYNC_ROW};
    struct disc_batch b;
    eg_err err;

    if (s->o.disc == NULL)
        return EG_OK;
    put_row(e, was, &w);
    if (room_for(s, w.need_bytes) == NULL)
        return EG_MEMORY;
    w = value_writer_init(s->out.at, w.need_bytes);
    put_row(e, was, &w);
    memcpy(key + 1, e->name.text, e->name.size_bytes);
    disc_batch_init(&b, s->o.alloc);
    err = disc_batch_put(&b, s->o.disc->meta, (struct disc_bytes){key, 1u + e->name.size_bytes},
                         (struct disc_bytes){s->out.at, w.need_bytes});
    if (err == EG_OK)
        err = disc_write(s->o.disc, &b);
    disc_batch_fini(&b);
    return err;
}

eg_err schema_intend(struct schema_sync *s, const struct schema_entry *e) {
    return remember(s, e, schema_list_find_id(&s->list, e->id));
}

static void forget_name(struct schema_sync *s, const struct schema_name *name) {
    uint8_t key[1 + SCHEMA_NAME_MAX] = {SYNC_ROW};
    struct disc_batch b;
    eg_err err;

    if (s->o.disc == NULL)
        return;
    memcpy(key + 1, name->text, name->size_bytes);
    disc_batch_init(&b, s->o.alloc);
    err = disc_batch_del(&b, s->o.disc->meta, (struct disc_bytes){key, 1u + name->size_bytes});
    if (err == EG_OK)
        err = disc_write(s->o.disc, &b);
    disc_batch_fini(&b);
    if (err != EG_OK) /* its table is remembered under its new name, too */
        env_log(s->o.env, ENV_LOG_WARN, "schema", "%s: not forgotten on disc: %s", name->text,
                eg_err_text(err));
}

/* ---- what the disc brings back ------------------------------------------------------------ */

/* The table of that id, whatever it is called: a change of name may have been cut short. */
static const struct table *table_of(struct schema_sync *s, const struct schema_entry *e) {
    struct table *const *tables;
    uint32_t count = catalog_tables(s->o.catalog, &tables);

    for (uint32_t i = 0; i < count; i++)
        if (table_schema(tables[i])->id == e->id)
            return tables[i];
    return NULL;
}

static bool same_indexes(const struct schema *a, const struct schema *b) {
    bool same = a->index_count == b->index_count;

    for (uint32_t i = 0; same && i < a->index_count; i++) {
        char title[INDEX_TITLE_BYTES_MAX];
        size_t bytes = index_spec_title(a->index[i], schema_attributes(a), title);
        const struct index_spec *x = schema_index(b, title, bytes);
        same = x != NULL && index_spec_called(x, schema_attributes(b), title, bytes);
    }
    return same;
}

static bool same_shape(const struct schema *a, const struct schema *b) {
    bool same = a->layout == b->layout && a->attribute_count == b->attribute_count &&
                a->storage == b->storage && same_indexes(a, b);

    for (uint32_t i = 0; same && i < a->attribute_count; i++)
        same = strcmp(a->attributes[i].text, b->attributes[i].text) == 0;
    return same;
}

/* Is the table what its first `count` changes make of it? */
static eg_err is_made(const struct schema_entry *e, uint32_t count, const struct table *t,
                      bool *made) {
    struct err_note note = {""};
    struct schema_replay r;
    eg_err err = schema_replay_open(&r, e, count, &note);

    if (err != EG_OK)
        return err == EG_MEMORY ? err : EG_CORRUPT;
    *made = same_shape(r.schema, table_schema(t));
    schema_replay_close(&r);
    return EG_OK;
}

/* Changes are remembered before they are made: those that were not made in the end go. */
static eg_err keep_what_was_made(struct schema_entry *e, const struct table *t) {
    for (uint32_t count = e->change_count;; count--) {
        bool made;
        eg_err err = is_made(e, count, t, &made);

        if (err != EG_OK)
            return err;
        if (made) {
            schema_entry_cut(e, count);
            return EG_OK;
        }
        if (count == 0)
            return EG_OK; /* it was changed by other means: it is what the list says, more or less
                           */
    }
}

/* Two rows may be of one table where a change of its name was cut short: the one that it is, or
 * that knows more. */
static eg_err is_less(const struct schema_entry *e, const struct schema_entry *twin,
                      const struct table *t, bool *less) {
    bool made = false, twin_made = false;
    eg_err err = is_made(e, e->change_count, t, &made);

    if (err == EG_OK)
        err = is_made(twin, twin->change_count, t, &twin_made);
    *less = made != twin_made ? twin_made : twin->change_count >= e->change_count;
    return err;
}

/* Takes the entry over. */
static eg_err recall_table(struct schema_sync *s, struct schema_entry *e, const struct table *t) {
    const struct schema_entry *twin = schema_list_find_id(&s->list, e->id);
    bool less = false;
    eg_err err;

    e->name = *table_name(t);
    err = keep_what_was_made(e, t);
    if (err == EG_OK && twin != NULL)
        err = is_less(e, twin, t, &less);
    if (err == EG_OK && !less)
        schema_list_put(&s->list, e);
    else
        schema_entry_free(e);
    return err;
}

static eg_err entry_at(struct schema_sync *s, struct value row, uint32_t i,
                       struct schema_entry **e) {
    struct value v = row;

    if (value_count(row) == ROW_ENTRIES && !array_element(row, i, &v))
        return EG_CORRUPT;
    return schema_entry_get(e, s->o.alloc, v);
}

/* As it was to be, if the table is so; else as it was before. */
static eg_err recall_entry(struct schema_sync *s, struct value row, struct schema_entry **out) {
    const struct table *t;
    struct schema_entry *e;
    bool made = true;
    eg_err err = entry_at(s, row, 0, &e);

    if (err != EG_OK)
        return err;
    t = e->live ? table_of(s, e) : NULL;
    if (t != NULL && value_count(row) == ROW_ENTRIES)
        err = is_made(e, e->change_count, t, &made);
    if (err == EG_OK && made) {
        *out = e;
        return EG_OK;
    }
    schema_entry_free(e);
    return err == EG_OK ? entry_at(s, row, 1, out) : err;
}

static eg_err recall_row(struct schema_sync *s, struct disc_bytes stored) {
    struct value v = {stored.at, (uint32_t) stored.size_bytes};
    const struct table *t;
    struct schema_entry *e;
    size_t used_bytes;
    eg_err err = value_scan(stored.at, stored.size_bytes, &used_bytes);

    if (err == EG_OK && (used_bytes != stored.size_bytes || value_kind_of(v) != VALUE_ARRAY))
        err = EG_CORRUPT;
    if (err == EG_OK)
        err = recall_entry(s, v, &e);
    if (err != EG_OK)
        return err == EG_MEMORY ? err : EG_CORRUPT;
    if (!e->live) {
        schema_list_put(&s->list, e);
        return EG_OK;
    }
    t = table_of(s, e);
    if (t != NULL)
        return recall_table(s, e, t);
    schema_entry_free(e); /* a ram table, gone with the last process; or one never made */
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
                                .decided = p->decided,
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

/* Remembered before it is done: else a table looked older than it is, or a change that a kill cut
 * off its entry would be made twice. */
eg_err schema_step_begin(struct schema_sync *s, struct schema_step *p) {
    eg_err err = p->outcome != NULL && p->outcome->live ? schema_intend(s, p->outcome) : EG_OK;

    p->held = err != EG_OK;
    if (err == EG_OK)
        schema_step_send(s, p);
    return err;
}

struct schema_step *schema_step_add(struct schema_sync *s, const struct schema_name *name,
                                    uint32_t op, struct value value) {
    struct schema_step *p = alloc_zero(s->o.alloc, sizeof *p);

    if (p == NULL)
        return NULL;
    p->number = ++s->numbers;
    p->op = op;
    p->name = p->asked = *name;
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

static bool is_one_of(const struct schema_name *name, const struct schema_name *a,
                      const struct schema_name *b) {
    return strcmp(name->text, a->text) == 0 || strcmp(name->text, b->text) == 0;
}

static bool is_stepping(const struct schema_sync *s, const struct schema_name *name,
                        const struct schema_name *asked) {
    for (struct list_node *n = s->steps.next; n != &s->steps; n = n->next) {
        const struct schema_step *p = EG_CONTAINER_OF(n, struct schema_step, node);
        if (is_one_of(&p->name, name, asked) || is_one_of(&p->asked, name, asked))
            return true;
    }
    return false;
}

/* Somebody else's table has the name that this one was to have. */
static void tell_conflict(struct schema_sync *s, const struct schema_entry *was,
                          const struct schema_entry *now) {
    char text[SCHEMA_TEXT_BYTES];

    if (!now->live || strcmp(now->name.text, now->asked.text) == 0 ||
        (was != NULL && strcmp(was->name.text, now->name.text) == 0))
        return;
    snprintf(text, sizeof text,
             "made as %.64s by %.64s, while another table of that name was made elsewhere",
             now->asked.text, now->maker.text);
    s->o.event(s->o.user, "schema_conflict", now->name.text, text);
}

void schema_know(struct schema_sync *s, struct schema_entry *e) {
    const struct schema_entry *was = e->live ? schema_list_find_id(&s->list, e->id) : NULL;
    struct schema_name name = e->name, left = was != NULL ? was->name : name;

    tell_conflict(s, was, e);
    if (remember(s, e, NULL) != EG_OK) /* others will tell it again */
        env_log(s->o.env, ENV_LOG_WARN, "schema", "%s: not remembered on disc", e->name.text);
    schema_list_put(&s->list, e);
    if (schema_list_find(&s->list, left.text, left.size_bytes) == NULL)
        forget_name(s, &left);
    s->o.table_changed(s->o.user, name.text);
}

/* ---- an entry -------------------------------------------------------------------------- */

/* What is to be done for all outcomes of one entry that was heard. */
struct learning {
    struct schema_sync *sync;
    struct schema_joined joined;
    struct schema_applying *applying;
    struct list_node steps; /* of all, until they are sent */
};

/* With this step so many of the changes are made, and the table has its old name still. */
static eg_err know_part(struct schema_step *p, const struct schema_outcome *o, uint32_t upto) {
    p->outcome = schema_entry_copy(o->now);
    if (p->outcome == NULL)
        return EG_MEMORY;
    p->outcome->name = o->was->name;
    schema_entry_cut(p->outcome, upto);
    return EG_OK;
}

/* Queue what the outcome asks of the catalog; its last step has what is known then. */
static eg_err plan_outcome(struct learning *l, struct schema_outcome *o) {
    const struct schema_entry *e = o->now != NULL ? o->now : o->was;
    struct schema_step *last = NULL;
    struct err_note note = {""};
    struct schema_plan plan;
    eg_err err = schema_plan_open(&plan, o, &note);
    uint32_t count;
    struct schema_plan_step *step = schema_plan_at(&plan, &count);

    for (uint32_t i = 0; i < count && err == EG_OK; i++) {
        last =
            schema_step_add(l->sync, &step[i].name, step[i].op,
                            (struct value){step[i].value.at, (uint32_t) step[i].value.size_bytes});
        if (last == NULL) {
            err = EG_MEMORY;
            break;
        }
        last->asked = e->asked;
        last->decided = true;
        list_remove(&last->node);
        list_push_back(&l->steps, &last->node);
        if (i + 1 < count && step[i].upto != 0)
            err = know_part(last, o, step[i].upto);
    }
    if (err == EG_OK && last != NULL) {
        last->outcome = o->now;
        last->lost = plan.lost;
        o->now = NULL;
    }
    if (err != EG_OK && err != EG_MEMORY)
        env_log(l->sync->o.env, ENV_LOG_WARN, "schema", "%s: not learnt: %s: %s", e->name.text,
                eg_err_text(err), note.text);
    schema_plan_close(&plan);
    return err;
}

static eg_err plan_all(struct learning *l) {
    uint32_t count;
    struct schema_outcome *o = schema_joined_at(&l->joined, &count);
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < count && err == EG_OK; i++) {
        if (o[i].now != NULL && o[i].now->live) /* before its table is there: its shards must not
                                                   serve before a view says which part they have */
            err = origins_meet(catalog_origins(l->sync->o.catalog));
        if (err == EG_OK)
            err = plan_outcome(l, &o[i]);
    }
    return err;
}

/* What asks nothing of the catalog is known at once. */
static void know_the_rest(struct learning *l) {
    uint32_t count;
    struct schema_outcome *o = schema_joined_at(&l->joined, &count);

    for (uint32_t i = 0; i < count; i++)
        if (o[i].now != NULL) {
            schema_know(l->sync, o[i].now);
            o[i].now = NULL;
        }
}

/* The first of them; each begins the next. */
static eg_err begin_steps(struct learning *l) {
    struct schema_sync *s = l->sync;
    struct schema_step *first = NULL;
    eg_err err = EG_OK;

    if (!list_is_empty(&l->steps)) {
        first = EG_CONTAINER_OF(l->steps.next, struct schema_step, node);
        err = schema_step_begin(s, first);
    }
    while (err == EG_OK && !list_is_empty(&l->steps)) {
        struct schema_step *p = EG_CONTAINER_OF(l->steps.next, struct schema_step, node);

        list_remove(&p->node);
        list_push_back(&s->steps, &p->node);
        p->group = first->number;
        p->held = p != first;
        p->applying = l->applying;
        if (l->applying != NULL)
            l->applying->left++;
    }
    return err;
}

/* Is anything under way with these tables? */
static bool is_busy(const struct learning *l) {
    uint32_t count;
    struct schema_outcome *o = schema_joined_at(&l->joined, &count);

    for (uint32_t i = 0; i < count; i++)
        if ((o[i].was != NULL && is_stepping(l->sync, &o[i].was->name, &o[i].was->asked)) ||
            (o[i].now != NULL && is_stepping(l->sync, &o[i].now->name, &o[i].now->asked)))
            return true;
    return false;
}

/* Do what it takes to agree with `theirs`, which is taken over.  EG_BUSY: later. */
eg_err schema_learn(struct schema_sync *s, struct schema_entry *theirs,
                    struct schema_applying *applying) {
    struct learning l = {.sync = s, .applying = applying};
    eg_err err;

    s->list.stamp = EG_MAX(s->list.stamp, schema_entry_stamp(theirs));
    if (is_stepping(s, &theirs->name, &theirs->asked)) {
        schema_entry_free(theirs);
        return EG_BUSY;
    }
    err = schema_join_open(&l.joined, &s->list, theirs);
    if (err != EG_OK)
        return err;
    list_init(&l.steps);
    err = is_busy(&l) ? EG_BUSY : plan_all(&l);
    if (err == EG_OK)
        err = begin_steps(&l);
    if (err == EG_OK)
        know_the_rest(&l);
    while (!list_is_empty(&l.steps))
        schema_step_free(s, EG_CONTAINER_OF(l.steps.next, struct schema_step, node));
    schema_join_close(&l.joined);
    return err;
}
