/* table.c -- requests to a table: checked, aimed at a shard, run there or sent. */
#include "tables/table.h"

#include "engine/env.h"
#include "engine/runtime.h"
#include "tables/reshape.h"
#include "tables/shard_copy.h"
#include "tables/shard_edit.h"
#include "tables/shard_sibling.h"
#include "tables/shard_tx.h"
#include "tables/shard_unique.h"
#include "tables/shard_watch.h"
#include "tables/table_private.h"

#include <string.h>

enum {
    /* What the disc is handed at once must fit its queue, beside what a shard may have
     * collected before: a batch that never fits would hold up its shard for ever. */
    ROW_OVERHEAD_BYTES = 64,
    MANY_ON_DISC_BYTES_MAX = DISC_QUEUE_BYTES_MAX - SHARD_LOG_BYTES_MAX - (4 << 20),
};

const struct schema *table_schema(const struct table *t) {
    return schema_of(t);
}

const struct schema_name *table_name(const struct table *t) {
    return &t->name;
}

enum table_type table_type(const struct table *t) {
    return t->type;
}

bool table_ref(struct table *t) {
    uint32_t refs = atomic_load_explicit(&t->refs, memory_order_relaxed);

    while (refs != 0)
        if (atomic_compare_exchange_weak_explicit(&t->refs, &refs, refs + 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    return false;
}

void table_unref(struct table *t) {
    /* The catalog waits for the last one before it frees the table. */
    EG_ASSERT(atomic_fetch_sub_explicit(&t->refs, 1, memory_order_release) > 0);
}

bool table_dropped(const struct table *t) {
    return atomic_load_explicit(&t->dropped, memory_order_acquire);
}

eg_err table_lost(const struct table *t) {
    bool moved = atomic_load_explicit(&t->successor, memory_order_acquire) != NULL;
    return table_dropped(t) && !moved ? EG_NO_TABLE : EG_BUSY;
}

struct table *table_now(struct table *t) {
    struct table *next;

    while ((next = atomic_load_explicit(&t->successor, memory_order_acquire)) != NULL)
        t = next;
    return t;
}

uint64_t table_shape(const struct table *t) {
    return t->shape;
}

bool table_reads_here(struct table *t, const struct key *k) {
    enum shard_role role = role_of(shard_of(t, k->hash));

    return role <= SHARD_FULL;
}

bool table_has_copy(struct table *t, const struct key *k) {
    return role_of(shard_of(t, k->hash)) != SHARD_AWAY;
}

static bool is_stable(struct shard *s, struct reader *r, const struct key *k) {
    uint64_t stable = atomic_load_explicit(&s->stable, memory_order_acquire);
    struct store *store = s->store;
    const struct record *rec;
    struct store_cursor c;

    if (!store->bag && (rec = store->ops->get(store, r, k)) != NULL)
        return rec->hlc <= stable;
    if (atomic_load_explicit(&s->removed, memory_order_acquire) > stable)
        return false; /* an absence, of some of a bag's records too */
    if (!store->bag)
        return r->fault == EG_OK;
    store->ops->seek(store, r, &c, k, false, false);
    while ((rec = store->ops->next(store, r, &c)) != NULL && value_equal(record_key(rec), k->value))
        if (rec->hlc > stable)
            return false;
    return r->fault == EG_OK;
}

/* A transaction has hold of the shard: of this key too? */
EG_SELDOM static bool stands_beside(struct shard *s, struct reader *r, const struct key *k) {
    enum shard_role role = role_of(s);

    if (shard_tx_holds(s, k->hash))
        return false;
    return role == SHARD_ALONE ||
           (role <= SHARD_FULL && (shard_is_stable(s) || is_stable(s, r, k)));
}

bool table_read_stands(struct table *t, struct reader *r, const struct key *k) {
    struct shard *s = shard_of(t, k->hash);
    unsigned role = role_or_held(s);

    if (EG_LIKELY(role == SHARD_ALONE) || (role <= SHARD_FULL && shard_is_stable(s)))
        return true;
    if (EG_UNLIKELY((role & SHARD_HELD) != 0))
        return stands_beside(s, r, k);
    return role <= SHARD_FULL && is_stable(s, r, k);
}

bool table_got_stands(struct table *t, struct reader *r, const struct key *k,
                      const struct record *rec) {
    struct shard *s = shard_of(t, k->hash);
    unsigned role = role_or_held(s);

    if (EG_LIKELY(role == SHARD_ALONE))
        return true;
    if (role > SHARD_FULL)
        return (role & SHARD_HELD) != 0 && stands_beside(s, r, k);
    if (EG_LIKELY(shard_is_stable(s))) /* the record's stamp may lie on another line than its key */
        return true;
    if (rec != NULL && !s->store->bag)
        return rec->hlc <= atomic_load_explicit(&s->stable, memory_order_acquire);
    return is_stable(s, r, k);
}

bool table_is_held(struct table *t, const struct key *k) {
    const struct shard *s = shard_of(t, k->hash);

    return shard_is_held(s) && shard_tx_holds(s, k->hash);
}

bool table_reads_all_here(struct table *t) {
    for (uint32_t i = 0; i < t->shard_count; i++)
        if (!shard_role_is_whole(role_of(&t->shard[i])))
            return false;
    return true;
}

struct shard_set table_shards_here(struct table *t, bool dirty) {
    struct shard_set set = {{0}};

    for (uint32_t i = 0; i < t->shard_count; i++)
        if (shard_role_is_whole(role_of(&t->shard[i])) ||
            (dirty && role_of(&t->shard[i]) != SHARD_AWAY))
            shard_set_add(&set, i);
    return set;
}

bool table_reads_set_here(struct table *t, const struct shard_set *shards) {
    for (uint32_t i = 0; i < t->shard_count; i++)
        if (shard_set_has(shards, i) && !shard_role_is_whole(role_of(&t->shard[i])))
            return false;
    return true;
}

struct table_far *table_far(const struct table *t) {
    return atomic_load_explicit(&t->world->far, memory_order_acquire);
}

bool table_is_near(struct table *t, bool dirty) {
    if (EG_LIKELY(table_far(t) == NULL))
        return true;
    for (uint32_t i = 0; i < t->shard_count; i++) {
        enum shard_role role = role_of(&t->shard[i]);
        if (!shard_role_is_whole(role) && (!dirty || role == SHARD_AWAY))
            return false;
    }
    return true;
}

bool table_answers_here(struct table *t, bool dirty) {
    if (EG_LIKELY(!schema_of(t)->majority) || dirty)
        return table_is_near(t, dirty);
    for (uint32_t i = 0; i < t->shard_count; i++)
        if (role_of(&t->shard[i]) != SHARD_ALONE)
            return false;
    return true;
}

uint64_t table_far_view(const struct table *t) {
    struct table_far *far = table_far(t);

    return far == NULL ? 0 : far->view(far);
}

uint64_t table_far_wait_ns(const struct table *t) {
    if (!schema_of(t)->majority)
        return FAR_WAIT_MS * UINT64_C(1000000);
    for (uint32_t i = 0; i < t->shard_count; i++)
        if (atomic_load(&t->shard[i].refused))
            return 0; /* it is no use */
    return FAR_MAJORITY_MS * UINT64_C(1000000);
}

eg_err table_far_nobody(const struct table *t, struct err_note *note, const char *why) {
    if (schema_of(t)->majority)
        return err_note(note, EG_NO_MAJORITY,
                        "fewer than a majority of a shard's copies can be reached");
    return err_note(note, EG_NO_REPLICA, "%s", why);
}

uint64_t table_now_ns(const struct table *t) {
    return env_now_ns(t->world->o.env);
}

bool table_settling(const struct table *t) {
    return atomic_load_explicit(&t->settling, memory_order_acquire);
}

eg_err table_key(const struct table *t, struct key *k, struct value v) {
    return key_prepare(k, v, t->seed, t->world->o.alloc);
}

eg_err table_key_checked(const struct table *t, struct key *k, struct value v,
                         struct err_note *note) {
    eg_err err = table_key(t, k, v);

    if (err == EG_BAD_RECORD)
        return err_note(note, err, "NaN cannot be a key");
    if (err == EG_TOO_LARGE)
        return err_note(note, err, "a key is at most 64 KiB");
    return err;
}

/* ---- checks ------------------------------------------------------------------- */

static eg_err check_record(const struct schema *s, struct value record, struct err_note *note) {
    uint32_t count;

    if (record.size_bytes == 0 || value_kind_of(record) != VALUE_ARRAY)
        return err_note(note, EG_BAD_RECORD, "a record is an array");
    count = value_count(record);
    if (count != s->attribute_count)
        return err_note(note, EG_BAD_RECORD, "table %s has %u attributes, the record has %u",
                        s->name.text, s->attribute_count, count);
    if (record.size_bytes > RECORD_SIZE_MAX)
        return err_note(note, EG_TOO_LARGE, "a record is at most 16 MiB");
    return EG_OK;
}

static eg_err check_update(const struct schema *s, const struct shard_request *q,
                           struct err_note *note) {
    struct value change[SCHEMA_ATTRIBUTES_MAX];

    if (s->type == TABLE_BAG)
        return err_note(note, EG_BAD_REQUEST, "a record of a bag cannot be updated in place");
    return shard_edit_changes(s, q->value, change, note);
}

static eg_err check_counter(const struct schema *s, const struct shard_request *q,
                            struct err_note *note) {
    int64_t delta;

    if (s->type == TABLE_BAG)
        return err_note(note, EG_BAD_REQUEST, "a bag has no counters");
    if (q->attribute >= s->attribute_count)
        return err_note(note, EG_BAD_REQUEST, "no such attribute");
    if (q->attribute == 0)
        return err_note(note, EG_BAD_REQUEST, "the key cannot be changed");
    if (q->value.size_bytes == 0 || !value_is_integer(q->value) || !value_get_i64(q->value, &delta))
        return err_note(note, EG_BAD_REQUEST, "the delta must be an integer of 64 bits");
    return EG_OK;
}

static eg_err check_siblings(const struct schema *s, const struct shard_request *q,
                             struct err_note *note) {
    bool replaces = q->op == SHARD_REPLACE_SIBLINGS;
    struct value named;

    if (!schema_keeps_siblings(s))
        return err_note(note, EG_BAD_REQUEST, "table %s keeps no siblings", s->name.text);
    if (q->op != SHARD_READ_SIBLINGS && !sibling_context(replaces ? q->key : q->value, &named))
        return err_note(note, EG_BAD_REQUEST,
                        "replaces is the context that a read with siblings gave");
    return replaces ? check_record(s, q->value, note) : EG_OK;
}

eg_err table_check(const struct table *t, const struct shard_request *q, struct err_note *note) {
    const struct schema *s = schema_of(t);

    if (table_dropped(t))
        return table_lost(t);
    switch (q->op) {
    case SHARD_WRITE:
    case SHARD_INSERT_NEW:
    case SHARD_DELETE_OBJECT:
        return check_record(s, q->value, note);
    case SHARD_REPLACE_SEEN:
        EG_ASSERT(s->type != TABLE_BAG);
        return check_record(s, q->value, note);
    case SHARD_UPDATE:
        return check_update(s, q, note);
    case SHARD_COUNTER:
        return check_counter(s, q, note);
    case SHARD_READ_SIBLINGS:
    case SHARD_REPLACE_SIBLINGS:
    case SHARD_DELETE_SIBLINGS:
        return check_siblings(s, q, note);
    default:
        return EG_OK;
    }
}

static eg_err key_of_request(const struct table *t, const struct shard_request *q, struct key *k,
                             struct err_note *note) {
    struct value v;

    EG_ASSERT(shard_request_key(q, &v)); /* others go through the catalog */
    return table_key_checked(t, k, v, note);
}

/* ---- one shard ------------------------------------------------------------------ */

/* Copies that take each other's changes by their stamps would lose what a policy has to keep: in a
 * table that is merged, dirty changes are made where all are, at the master. */
static struct shard_request at_master(const struct shard_request *q) {
    struct shard_request clean = *q;

    clean.dirty = false;
    return clean;
}

bool table_takes_dirty(const struct table *t) {
    return !schema_is_merged(schema_of(t));
}

/* Claim a shard, looking again after ever longer pauses while it is busy.  Who waits lets
 * the owner do a few more writes on lines that are still his: taking turns one by one
 * moves them between the cores each time, and both together do less than one alone. */
struct actor *table_claim(const struct shard *s, uint32_t patience) {
    enum { PAUSES_MAX = 32 };
    struct runtime *rt = s->table->world->o.runtime;
    struct actor *owner = actor_claim(rt, shard_pid(s));

    for (uint32_t pauses = 1; owner == NULL && --patience > 0;) {
        for (uint32_t i = 0; i < pauses; i++)
            EG_CPU_RELAX();
        pauses = EG_MIN(2 * pauses, (uint32_t) PAUSES_MAX);
        owner = actor_claim(rt, shard_pid(s));
    }
    return owner;
}

bool table_is_ours(const struct shard *s, bool dirty) {
    unsigned role = role_or_held(s);

    return EG_LIKELY(role == SHARD_ALONE) || (dirty && role <= SHARD_FULL);
}

/* Is its actor who does it, now or when it comes to it? */
static bool is_here(const struct shard *s, bool dirty) {
    enum shard_role role = role_of(s);

    return role == SHARD_ALONE || (dirty && role <= SHARD_FULL);
}

eg_err table_try(struct table *t, struct reader *r, const struct shard_request *q,
                 uint32_t patience, struct buffer *result, struct err_note *note) {
    struct shard_request clean;
    struct key k;
    struct shard *s;
    struct actor *owner;
    eg_err err = table_check(t, q, note);

    if (EG_UNLIKELY(q->dirty) && !table_takes_dirty(t)) {
        clean = at_master(q);
        q = &clean;
    }
    if (err == EG_OK)
        err = key_of_request(t, q, &k, note);
    if (err != EG_OK)
        return err;
    s = shard_of(t, k.hash);
    /* All this comes while the shard is claimed, and so is not waited for while others
     * wait for the shard. */
    s->store->ops->prefetch(s->store, r, &k);
    shard_expect(s);
    s->store->ops->prefetch_record(s->store, r, &k);
    if (!table_is_ours(s, q->dirty) || (s->log.sync && !q->sync_later && !shard_op_reads(q->op)))
        owner = NULL;
    else
        owner = table_claim(s, patience);
    if (owner != NULL && EG_UNLIKELY(!table_is_ours(s, q->dirty))) { /* since we looked */
        actor_release(owner);
        owner = NULL;
    }
    if (owner == NULL) {
        err = EG_AGAIN;
    } else {
        struct shard_turn turn = {.shard = s,
                                  .reader = r,
                                  .request = q,
                                  .key = &k,
                                  .result = result,
                                  .note = note,
                                  .direct = true,
                                  .now_ms = (uint64_t) env_wall_ms(t->world->o.env)};
        epoch_expect(&s->bin);
        err = shard_run(&turn);
        shard_turn_end(s);
        actor_release(owner);
    }
    key_release(&k);
    return err;
}

static eg_err pack(struct table *t, const struct shard_request *q, struct message **out) {
    struct message *m = message_new(t->world->o.runtime, MESSAGE_CALL, shard_request_size(q));

    if (m == NULL)
        return EG_MEMORY;
    m->tag = q->op;
    shard_request_pack(q, m->payload);
    *out = m;
    return EG_OK;
}

eg_err table_message_here(struct table *t, uint32_t shard, const struct shard_request *q,
                          eg_pid *to, struct message **out) {
    EG_ASSERT(shard < t->shard_count);
    *to = shard_pid(&t->shard[shard]);
    return pack(t, q, out);
}

/* To the shard's actor, or to who knows where else. */
static eg_err message_for(struct shard *s, const struct shard_request *q, eg_pid *to,
                          struct message **out) {
    struct table_route *route = atomic_load_explicit(&s->table->world->route, memory_order_acquire);

    if (EG_UNLIKELY(!is_here(s, q->dirty)) && route != NULL)
        return route->request(route, s->table, s->number, q, to, out);
    return table_message_here(s->table, s->number, q, to, out);
}

eg_err table_message(struct table *t, const struct shard_request *q, eg_pid *to,
                     struct message **out, struct err_note *note) {
    struct shard_request clean;
    struct key k;
    eg_err err = table_check(t, q, note);

    if (EG_UNLIKELY(q->dirty) && !table_takes_dirty(t)) {
        clean = at_master(q);
        q = &clean;
    }
    if (err == EG_OK)
        err = key_of_request(t, q, &k, note);
    if (err != EG_OK)
        return err;
    err = message_for(shard_of(t, k.hash), q, to, out);
    key_release(&k);
    return err;
}

eg_err table_message_to(struct table *t, uint32_t shard, const struct shard_request *q, eg_pid *to,
                        struct message **out) {
    return message_for(&t->shard[shard], q, to, out);
}

enum shard_role table_role(const struct table *t, uint32_t shard) {
    EG_ASSERT(shard < t->shard_count);
    return role_of(&t->shard[shard]);
}

/* Records that were taken apart by another node, by what it knew of the table. */
static eg_err check_part(struct table *t, struct value records, uint32_t shard,
                         struct err_note *note) {
    struct value_iter it = value_iter_of(records);
    struct value array;

    while (value_iter_next(&it, &array)) {
        struct shard_request one = {.op = SHARD_WRITE, .value = array};
        uint32_t number = 0;
        eg_err err = table_check_request(t, &one, &number, note);

        if (err != EG_OK)
            return err;
        if (number != shard)
            return err_note(note, EG_BAD_REQUEST, "a record of another shard");
    }
    return EG_OK;
}

eg_err table_check_request(struct table *t, const struct shard_request *q, uint32_t *shard,
                           struct err_note *note) {
    struct key k;
    struct value v;
    eg_err err = table_check(t, q, note);

    if (err != EG_OK)
        return err;
    if (shard_request_key(q, &v)) {
        err = table_key_checked(t, &k, v, note);
        if (err != EG_OK)
            return err;
        *shard = shard_of(t, k.hash)->number;
        key_release(&k);
    } else if (*shard >= t->shard_count) {
        return err_note(note, EG_BAD_REQUEST, "no such shard");
    } else if (q->op == SHARD_WRITE_MANY) {
        return check_part(t, q->value, *shard, note);
    }
    return EG_OK;
}

uint32_t table_shards(const struct table *t) {
    return t->shard_count;
}

eg_err table_sync_message(struct table *t, uint32_t shard, eg_pid *to, struct message **out) {
    const struct shard_request q = {.op = SHARD_SYNC};

    return table_message_here(t, shard, &q, to, out);
}

bool table_is_settled(struct table *t, uint32_t shard) {
    struct shard *s = &t->shard[shard];
    enum shard_role role = role_of(s);

    return role == SHARD_ALONE || (role <= SHARD_FULL && shard_is_stable(s));
}

eg_err table_settle_message(struct table *t, uint32_t shard, eg_pid *to, struct message **out) {
    const struct shard_request q = {.op = SHARD_SETTLE, .attribute = SHARD_NO_ATTRIBUTE};

    EG_ASSERT(shard < t->shard_count);
    return table_message_to(t, shard, &q, to, out);
}

eg_err table_send(struct table *t, eg_pid from, uint64_t ref, const struct shard_request *q,
                  struct err_note *note) {
    struct message *m;
    eg_pid to;
    eg_err err = table_message(t, q, &to, &m, note);

    if (err != EG_OK)
        return err;
    m->ref = ref;
    err = runtime_send(t->world->o.runtime, from, to, m);
    return err == EG_NOPROC ? table_lost(t) : err;
}

/* ---- many shards at once ---------------------------------------------------------- */

/* One record of write_many on its way to its shard. */
struct aimed {
    struct value array;
    struct shard *shard;
};

static eg_err aim_all(struct table *t, struct value records, struct aimed *aimed,
                      bool wanted[SCHEMA_SHARDS_MAX], struct err_note *note) {
    const struct schema *s = schema_of(t);
    struct value_iter it = value_iter_of(records);
    struct value array, key_value;
    eg_err err = EG_OK;

    for (size_t i = 0; value_iter_next(&it, &array); i++) {
        struct key k;

        err = check_record(s, array, note);
        if (err != EG_OK)
            return err;
        EG_ASSERT(array_element(array, 0, &key_value)); /* it has attributes: checked */
        err = table_key_checked(t, &k, key_value, note);
        if (err != EG_OK)
            return err;
        aimed[i] = (struct aimed){array, shard_of(t, k.hash)};
        wanted[aimed[i].shard->number] = true;
        key_release(&k);
    }
    return EG_OK;
}

static eg_err check_many(struct table *t, struct value records, struct err_note *note) {
    if (table_dropped(t))
        return table_lost(t);
    if (records.size_bytes == 0 || value_kind_of(records) != VALUE_ARRAY)
        return err_note(note, EG_BAD_REQUEST, "records are an array of records");
    if (t->disc_table != NULL &&
        (uint64_t) value_count(records) * ROW_OVERHEAD_BYTES + 2 * (uint64_t) records.size_bytes >
            MANY_ON_DISC_BYTES_MAX)
        return err_note(note, EG_TOO_LARGE, "too many records for the disc to take at once");
    return EG_OK;
}

eg_err table_check_many(struct table *t, struct value records, uint16_t *shards,
                        struct err_note *note) {
    struct value_iter it = value_iter_of(records);
    struct value array, key_value;
    eg_err err = check_many(t, records, note);

    for (uint32_t i = 0; err == EG_OK && value_iter_next(&it, &array); i++) {
        struct key k;

        err = check_record(schema_of(t), array, note);
        if (err != EG_OK)
            return err;
        EG_ASSERT(array_element(array, 0, &key_value)); /* it has attributes: checked */
        err = table_key_checked(t, &k, key_value, note);
        if (err != EG_OK)
            return err;
        shards[i] = (uint16_t) shard_of(t, k.hash)->number;
        key_release(&k);
    }
    return err;
}

/* `gates`: of all that was changed. */
static void release_all(struct table *t, struct actor *const owner[SCHEMA_SHARDS_MAX],
                        const struct unique_set *gates) {
    for (uint32_t i = 0; i < t->shard_count; i++)
        if (owner[i] != NULL) {
            shard_turn_end(&t->shard[i]);
            if (!unique_set_is_empty(gates))
                shard_unique_hold(&t->shard[i], gates);
            actor_release(owner[i]);
        }
    if (!unique_set_is_empty(gates))
        unique_leave(&t->world->gates, gates);
}

/* In ascending order, though nobody waits for anybody: all or none. */
static bool claim_all(struct table *t, const bool wanted[SCHEMA_SHARDS_MAX], bool dirty,
                      struct actor *owner[SCHEMA_SHARDS_MAX]) {
    for (uint32_t i = 0; i < t->shard_count; i++) {
        if (!wanted[i])
            continue;
        if (table_is_ours(&t->shard[i], dirty))
            owner[i] = actor_claim(t->world->o.runtime, shard_pid(&t->shard[i]));
        if (owner[i] == NULL || !table_is_ours(&t->shard[i], dirty) ||
            reshape_holds(&t->shard[i])) {
            release_all(t, owner, &(struct unique_set){{0}});
            return false;
        }
    }
    return true;
}

/* Enter the gates of all values that come and go.  EG_AGAIN: one is closed, or a shard has
 * something of before on its way to the disc. */
static eg_err enter_gates(struct table *t, struct reader *r, const struct aimed *aimed,
                          size_t count, struct unique_set *gates) {
    struct unique_set set = {{0}};

    for (size_t i = 0; i < count; i++) {
        eg_err err = EG_OK;

        if (!shard_has_unique(aimed[i].shard))
            continue;
        if (!shard_log_is_written(&aimed[i].shard->log))
            return EG_AGAIN;
        err = shard_edit_gates(aimed[i].shard, r, aimed[i].array, &set);
        if (err != EG_OK)
            return err;
    }
    if (!unique_enter(&t->world->gates, &set, NULL, UNIQUE_PATIENCE))
        return EG_AGAIN;
    *gates = set;
    return EG_OK;
}

/* Hand what several shards have changed to the disc in one piece: a kill between them
 * could show a value that one gave up and another took with both, or with none. */
static eg_err write_together(struct table *t, struct actor *const owner[SCHEMA_SHARDS_MAX]) {
    struct disc_batch all;
    eg_err err = EG_OK;

    disc_batch_init(&all, t->world->o.alloc);
    for (uint32_t i = 0; i < t->shard_count && err == EG_OK; i++) {
        uint8_t clock[SHARD_CLOCK_BYTES];

        if (owner[i] == NULL)
            continue;
        err = shard_log_lend(&t->shard[i].log, shard_clock_pack(&t->shard[i], clock), &all);
    }
    if (err == EG_OK && all.count != 0)
        err = disc_write(t->world->o.disc, &all);
    for (uint32_t i = 0; i < t->shard_count && err == EG_OK; i++)
        if (owner[i] != NULL)
            shard_log_lent(&t->shard[i].log);
    disc_batch_fini(&all);
    return err;
}

static eg_err store_all(struct table *t, struct reader *r, const struct aimed *aimed, size_t count,
                        uint64_t ttl_ms, struct actor *const owner[SCHEMA_SHARDS_MAX], bool gated,
                        struct err_note *note) {
    struct shard_request q = {.op = SHARD_WRITE_MANY, .ttl_ms = ttl_ms};
    struct shard_turn turn = {.reader = r,
                              .request = &q,
                              .note = note,
                              .gated = gated,
                              .now_ms = (uint64_t) env_wall_ms(t->world->o.env)};
    struct shard_change *change = reader_scratch(r, EG_MAX(count, (size_t) 1) * sizeof *change);
    eg_err err = change == NULL ? EG_MEMORY : EG_OK;
    size_t done = 0;

    while (err == EG_OK && done < count) {
        struct value key_value;
        struct key k;

        EG_ASSERT(array_element(aimed[done].array, 0, &key_value));
        turn.shard = aimed[done].shard;
        err = table_key(t, &k, key_value);
        if (err != EG_OK)
            break;
        turn.key = &k;
        change[done] = (struct shard_change){.shard = turn.shard, .array = aimed[done].array};
        err = shard_ready(&turn);
        change[done].noted_from = shard_watch_mark(turn.shard);
        if (err == EG_OK)
            err = shard_store(&turn, aimed[done].array, shard_expiry(&turn), &change[done].old);
        change[done].noted_to = shard_watch_mark(turn.shard);
        done += err == EG_OK;
        key_release(&k);
    }
    if (err == EG_OK && gated && t->storage == STORAGE_DISC)
        err = write_together(t, owner);
    if (err != EG_OK)
        shard_edit_undo(r, change, done, turn.now_ms);
    return err;
}

/* Say of all that what follows is dirty: EG_BUSY, of none. */
static eg_err dirty_begin(struct table *t, struct actor *const owner[SCHEMA_SHARDS_MAX],
                          struct err_note *note) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < t->shard_count; i++) {
        if (owner[i] == NULL)
            continue;
        err = shard_dirty_begin(&t->shard[i], note);
        if (err != EG_OK) {
            while (i-- > 0)
                if (owner[i] != NULL)
                    shard_dirty_end(&t->shard[i]);
            return err;
        }
    }
    return EG_OK;
}

static void dirty_end(struct table *t, struct actor *const owner[SCHEMA_SHARDS_MAX]) {
    for (uint32_t i = 0; i < t->shard_count; i++)
        if (owner[i] != NULL)
            shard_dirty_end(&t->shard[i]);
}

static eg_err many_here(struct table *t, struct reader *r, struct value records,
                        const struct table_many *how, bool sync_too, struct buffer *result,
                        struct err_note *note) {
    struct unique_set gates = {{0}};
    struct actor *owner[SCHEMA_SHARDS_MAX] = {NULL};
    bool wanted[SCHEMA_SHARDS_MAX] = {false};
    struct aimed *aimed;
    struct value_writer w;
    bool dirty = how->dirty && table_takes_dirty(t);
    uint32_t count;
    uint8_t *room = buffer_room(result, 9);
    eg_err err = room == NULL ? EG_MEMORY : check_many(t, records, note);

    if (err != EG_OK)
        return err;
    count = value_count(records);
    aimed = reader_scratch(r, EG_MAX(count, 1u) * sizeof *aimed);
    if (aimed == NULL)
        return EG_MEMORY;
    err = aim_all(t, records, aimed, wanted, note);
    if (err != EG_OK)
        return err;
    if ((schema_of(t)->durability == DURABILITY_SYNC && !sync_too) ||
        !claim_all(t, wanted, dirty, owner))
        return EG_AGAIN;
    err = dirty ? dirty_begin(t, owner, note) : EG_OK;
    if (err != EG_OK) {
        release_all(t, owner, &gates);
        return err;
    }
    err = enter_gates(t, r, aimed, count, &gates);
    if (err == EG_OK)
        err = store_all(t, r, aimed, count, how->ttl_ms, owner, !unique_set_is_empty(&gates), note);
    if (dirty)
        dirty_end(t, owner);
    release_all(t, owner, &gates);
    if (err != EG_OK)
        return err;
    w = value_writer_init(room, 9);
    value_put_u64(&w, count);
    result->size_bytes += w.need_bytes;
    return EG_OK;
}

eg_err table_try_many(struct table *t, struct reader *r, struct value records,
                      const struct table_many *how, struct buffer *result, struct err_note *note) {
    eg_err err = many_here(t, r, records, how, false, result, note);

    return err == EG_BUSY ? EG_AGAIN : err; /* the catalog waits a while */
}

eg_err table_many_here(struct table *t, struct reader *r, struct value records,
                       const struct table_many *how, struct buffer *result, struct err_note *note) {
    return many_here(t, r, records, how, true, result, note);
}
