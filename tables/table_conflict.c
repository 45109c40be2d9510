/* table_conflict.c -- entries of the conflict journal, as people read them, and the event that
 * tells of one. */
#include "tables/merge_private.h"
#include "tables/shard_conflict.h"
#include "tables/table_private.h"

static void put_record(struct value_writer *w, struct value record) {
    if (record.size_bytes == 0)
        value_put_nil(w);
    else
        value_put_raw(w, record);
}

struct entry {
    const struct shard_conflict *conflict;
    const char *here, *there;
    uint64_t time_ms;
};

static void put_time_and_nodes(const struct entry *e, struct value_writer *w) {
    value_put_text(w, "time");
    value_put_u64(w, e->time_ms);
    value_put_text(w, "nodes");
    value_put_array(w, 2);
    value_put_text(w, e->here);
    value_put_text(w, e->there);
}

static void put_entry(const void *context, struct value_writer *w) {
    const struct entry *e = context;

    value_put_map(w, 5);
    value_put_text(w, "key");
    value_put_raw(w, e->conflict->key);
    value_put_text(w, "winner");
    put_record(w, e->conflict->winner);
    value_put_text(w, "loser");
    put_record(w, e->conflict->loser);
    put_time_and_nodes(e, w);
}

static void put_event(const void *context, struct value_writer *w) {
    const struct entry *e = context;

    value_put_map(w, 3);
    value_put_text(w, "key");
    value_put_raw(w, e->conflict->key);
    put_time_and_nodes(e, w);
}

/* The turn's batch, where the table has rows on disc. */
static struct disc_batch *batch_of(struct shard *s) {
    if (s->table->disc_table == NULL)
        return NULL;
    return s->table->storage == STORAGE_DISC_ONLY ? store_disc_extra(s->store)
                                                  : &s->log.batch[s->log.filling];
}

/* Both versions for the journal, the key for who watches the node. */
static eg_err keep(struct shard *s, const struct entry *e, struct buffer *b) {
    struct table *t = s->table;
    eg_err err = merge_append(b, put_entry, e);

    if (err != EG_OK)
        return err;
    journals_add(&t->world->journals, schema_of(t)->id,
                 (struct value){b->at, (uint32_t) b->size_bytes}, batch_of(s));
    buffer_clear(b);
    err = merge_append(b, put_event, e);
    if (err == EG_OK)
        watch_tell(t->world->watch, WATCH_CONFLICT, t->name.text,
                   (struct value){b->at, (uint32_t) b->size_bytes});
    return err;
}

void table_conflict(struct shard *s, const struct shard_conflict *c, const char *here,
                    const char *there, uint64_t time_ms) {
    struct entry e = {c, here, there, time_ms};
    struct buffer b;

    buffer_init(&b, s->table->world->o.alloc, 4 * (size_t) JOURNAL_BYTES);
    if (keep(s, &e, &b) != EG_OK)
        atomic_fetch_add(&s->table->world->journals.lost, 1);
    buffer_fini(&b);
}

eg_err table_conflicts(struct table *t, uint64_t limit, struct buffer *out) {
    return journals_read(&t->world->journals, schema_of(t)->id, limit, out);
}
