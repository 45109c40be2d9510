/* api_read.c -- records by their keys, in place and copied. */
#include "node/api_private.h"

#include "tables/far.h"
#include "tables/table.h"

eg_err eg_read_begin(eg_node *node) {
    struct node_thread *t;
    eg_err err;

    if (node == NULL)
        return EG_BAD_REQUEST;
    t = node_thread(node, &err);
    if (t == NULL)
        return err;
    reader_enter(&t->reader);
    return EG_OK;
}

void eg_read_end(eg_node *node) {
    eg_err err;
    struct node_thread *t = node == NULL ? NULL : node_thread(node, &err);

    if (t != NULL && t->reader.slot->depth > 0)
        reader_exit(&t->reader);
}

/* What was found is not on all copies yet: its master says when it is, and until then the section
 * goes on, so that the record stays where it is.  (A reader in a section waits for nobody, but for
 * this: where it were told at once, a reader of another copy could find less afterwards.) */
static eg_err settle(eg_table *table, struct table *now, uint32_t shard) {
    struct message *m;
    eg_pid to;
    eg_err err;

    if (table_is_settled(now, shard))
        return EG_OK;
    err = table_settle_message(now, shard, &to, &m);
    if (err == EG_OK)
        err = api_call(table->node, to, m, NODE_CALL_MS, NULL, NULL);
    return err == EG_NOPROC ? EG_BUSY : err;
}

static bool may_read_here(const eg_table *table, struct table *now, const struct key *k) {
    return table_reads_here(now, k) || (table->dirty && table_has_copy(now, k));
}

static eg_err settle_key(eg_table *table, struct table *now, const struct key *k) {
    eg_err err = settle(table, now, table_shard_of_hash(now, k->hash));

    return err == EG_OK && !table_reads_here(now, k) ? EG_NO_REPLICA : err;
}

/* A transaction is over in a moment, or its shard answers when it is: the section goes on
 * meanwhile. */
static eg_err wait_for_transaction(eg_table *table, struct table *now, const struct key *k) {
    enum { LOOKS = 256 };
    struct shard_request q = {.op = SHARD_READ, .attribute = SHARD_NO_ATTRIBUTE, .key = k->value};
    struct message *m;
    eg_pid to;
    eg_err err;

    for (uint32_t i = 0; i < LOOKS; i++) {
        if (!table_is_held(now, k))
            return EG_OK;
        EG_CPU_RELAX();
    }
    err = table_message(now, &q, &to, &m, NULL);
    if (err == EG_OK)
        err = api_call(table->node, to, m, NODE_CALL_MS, NULL, NULL);
    return err == EG_NOPROC ? EG_BUSY : err;
}

/* What was found may not be told: look until no transaction is in the way.  *fresh: some copies may
 * lack it still. */
static eg_err look_again(eg_table *table, struct table *now, struct reader *r, const struct key *k,
                         const struct record **rec, bool *fresh) {
    enum { TRIES = 64 };

    for (uint32_t i = 0; i < TRIES; i++) {
        bool held = table_is_held(now, k);
        eg_err err;

        *rec = table_get(now, r, k);
        *fresh = !table_got_stands(now, r, k, *rec);
        if (!*fresh || (!held && !table_is_held(now, k)))
            return EG_OK;
        err = wait_for_transaction(table, now, k);
        if (err != EG_OK)
            return err;
    }
    return EG_BUSY;
}

/* All that can be asked of a look-up: keys that have to be made canonical, tables that change,
 * copies that lack something, records that are not there. */
EG_SELDOM static eg_err get_with_care(eg_table *table, eg_span key, eg_span *record) {
    struct node_thread *t;
    const struct record *rec;
    struct table *now;
    bool fresh = false;
    struct value v;
    struct key k;
    eg_err err = api_value_of_span(key, &v);

    if (err != EG_OK)
        return err;
    t = node_thread(table->node, &err);
    if (t == NULL)
        return err;
    now = api_table(table);
    if (table_dropped(now))
        return EG_NO_TABLE;
    err = table_key(now, &k, v);
    if (err != EG_OK)
        return err;
    if (!may_read_here(table, now, &k)) {
        key_release(&k);
        return EG_NO_REPLICA;
    }
    rec = table_get(now, &t->reader, &k);
    if (!table->dirty && !table_got_stands(now, &t->reader, &k, rec))
        err = look_again(table, now, &t->reader, &k, &rec, &fresh);
    if (err == EG_OK && fresh)
        err = settle_key(table, now, &k);
    key_release(&k);
    if (rec == NULL && err == EG_OK) {
        err = reader_take_fault(&t->reader);
        return err != EG_OK ? err : EG_NOT_FOUND;
    }
    if (err != EG_OK)
        return err;
    *record = api_span_of_record(rec);
    return EG_OK;
}

eg_err eg_get(eg_table *table, eg_span key, eg_span *record) {
    struct value v = {key.at, (uint32_t) key.size_bytes};
    const struct record *rec;
    struct node_thread *t;

    if (table == NULL || record == NULL)
        return EG_BAD_REQUEST;
    if (EG_LIKELY(value_is_short(key.at, key.size_bytes)) || api_value_of_span(key, &v) == EG_OK) {
        t = node_thread_here(table->node);
        if (EG_LIKELY(t != NULL) &&
            EG_LIKELY(table_get_at_once(atomic_load_explicit(&table->table, memory_order_acquire),
                                        &t->reader, v, &rec))) {
            *record = api_span_of_record(rec);
            return EG_OK;
        }
    }
    return get_with_care(table, key, record);
}

static eg_err settle_all(eg_table *table, struct table *now, const struct shard_set *fresh) {
    eg_err err = EG_OK;

    for (uint32_t i = shard_set_next(fresh, 0); err == EG_OK && i < table_shards(now);
         i = shard_set_next(fresh, i + 1))
        err = settle(table, now, i);
    return err == EG_OK && !table_reads_set_here(now, fresh) ? EG_NO_REPLICA : err;
}

int64_t eg_get_many(eg_table *table, const eg_span *keys, size_t n, eg_span *records) {
    enum { WINDOW = 16 };
    struct key k[WINDOW];
    const struct key *pointer[WINDOW];
    const struct record *rec[WINDOW];
    struct shard_set fresh = {{0}};
    bool settled = true;
    struct node_thread *t;
    struct table *now = NULL;
    int64_t found = 0;
    eg_err err = EG_OK;

    if (table == NULL || keys == NULL || records == NULL)
        return EG_BAD_REQUEST;
    t = node_thread(table->node, &err);
    if (t != NULL)
        now = api_table(table);
    if (now != NULL && table_dropped(now))
        return EG_NO_TABLE;
    for (size_t from = 0; err == EG_OK && from < n; from += WINDOW) {
        size_t count = EG_MIN(n - from, (size_t) WINDOW), made = 0;

        for (; made < count && err == EG_OK; made += err == EG_OK) {
            struct value v;
            err = api_value_of_span(keys[from + made], &v);
            if (err == EG_OK)
                err = table_key(now, &k[made], v);
            if (err == EG_OK && EG_UNLIKELY(!may_read_here(table, now, &k[made]))) {
                key_release(&k[made]);
                err = EG_NO_REPLICA;
            }
            pointer[made] = &k[made];
        }
        if (err == EG_OK)
            table_get_many(now, &t->reader, pointer, count, rec);
        if (err == EG_OK)
            err = reader_take_fault(&t->reader);
        for (size_t i = 0; i < made; i++) {
            if (err == EG_OK && !table->dirty &&
                EG_UNLIKELY(!table_got_stands(now, &t->reader, &k[i], rec[i]))) {
                bool lacking = false;

                err = look_again(table, now, &t->reader, &k[i], &rec[i], &lacking);
                if (lacking)
                    shard_set_add(&fresh, table_shard_of_hash(now, k[i].hash));
                settled &= !lacking;
            }
            if (err == EG_OK) {
                records[from + i] = api_span_of_record(rec[i]);
                found += rec[i] != NULL;
            }
            key_release(&k[i]);
        }
    }
    if (err == EG_OK && EG_UNLIKELY(!settled))
        err = settle_all(table, now, &fresh);
    return err == EG_OK ? found : (int64_t) err;
}

/* By the shard's own node. */
static eg_err read_far(struct api_reading *c, eg_table *table, struct value key, bool siblings,
                       eg_result *out) {
    struct shard_request q = {.op = siblings ? SHARD_READ_SIBLINGS : SHARD_READ,
                              .attribute = SHARD_NO_ATTRIBUTE,
                              .key = key};
    struct message *m;
    eg_pid to;
    eg_err err = table_message(c->table, &q, &to, &m, NULL);

    reader_exit(&c->thread->reader);
    if (err == EG_OK)
        err = api_call(table->node, to, m, NODE_CALL_MS, &c->buffer, NULL);
    return api_result_of(&c->buffer, err, out);
}

static eg_err read_key(eg_table *table, eg_span key, bool siblings, eg_result *out) {
    struct api_reading c;
    struct value v;
    struct key k;
    bool here = true;
    size_t before_bytes;
    eg_err err = api_value_of_span(key, &v);

    if (err == EG_OK)
        err = api_reading_begin(&c, table);
    if (err != EG_OK)
        return err;
    err = table_key(c.table, &k, v);
    if (err == EG_OK) {
        here = may_read_here(table, c.table, &k);
        before_bytes = c.buffer.size_bytes;
        if (here && siblings)
            err = table_read_siblings(c.table, &c.thread->reader, &k, &c.buffer, NULL);
        else if (here)
            err = table_read(c.table, &c.thread->reader, &k, &c.buffer);
        if (here && err == EG_OK && !table->dirty &&
            !table_read_stands(c.table, &c.thread->reader, &k)) {
            here = false; /* not on all copies yet: its master says when */
            c.buffer.size_bytes = before_bytes;
        }
        key_release(&k);
    }
    if (err == EG_OK && !here && table->dirty)
        err = EG_NO_REPLICA;
    if (err == EG_OK && !here)
        return read_far(&c, table, v, siblings, out);
    return api_reading_end(&c, err, out);
}

eg_err eg_read(eg_table *table, eg_span key, eg_result *out) {
    return read_key(table, key, false, out);
}

eg_err eg_read_siblings(eg_table *table, eg_span key, eg_result *out) {
    return read_key(table, key, true, out);
}
