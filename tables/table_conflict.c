/* table_conflict.c -- entries of the conflict journal, as people read them. */
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

static void put_entry(const void *context, struct value_writer *w) {
    const struct entry *e = context;

    value_put_map(w, 5);
    value_put_text(w, "key");
    value_put_raw(w, e->conflict->key);
    value_put_text(w, "winner");
    put_record(w, e->conflict->winner);
    value_put_text(w, "loser");
    put_record(w, e->conflict->loser);
    value_put_text(w, "time");
    value_put_u64(w, e->time_ms);
    value_put_text(w, "nodes");
    value_put_array(w, 2);
    value_put_text(w, e->here);
    value_put_text(w, e->there);
}

void table_conflict(struct table *t, const struct shard_conflict *c, const char *here,
                    const char *there, uint64_t time_ms) {
    struct entry e = {c, here, there, time_ms};
    struct buffer b;

    buffer_init(&b, t->world->o.alloc, JOURNAL_BYTES);
    if (merge_append(&b, put_entry, &e) == EG_OK)
        journals_add(&t->world->journals, schema_of(t)->name.text,
                     (struct value){b.at, (uint32_t) b.size_bytes});
    else
        atomic_fetch_add(&t->world->journals.lost, 1);
    buffer_fini(&b);
}

eg_err table_conflicts(struct table *t, uint64_t limit, struct buffer *out) {
    return journals_read(&t->world->journals, schema_of(t)->name.text, limit, out);
}
