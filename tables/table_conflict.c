/* table_conflict.c -- entries of the conflict journal, as people read them, and the event that
 * tells of one. */
#include "tables/merge_private.h"
#include "tables/shard_conflict.h"
#include "tables/table_private.h"

#include <inttypes.h>
#include <stdio.h>

static void put_record(struct value_writer *w, struct value record) {
    if (record.size_bytes == 0)
        value_put_nil(w);
    else
        value_put_raw(w, record);
}

struct entry {
    const struct shard_conflict *conflict;
    const struct conflict_place *place;
    const struct origins *origins;
};

static void put_time_and_nodes(const struct entry *e, struct value_writer *w) {
    value_put_text(w, "time");
    value_put_u64(w, e->place->time_ms);
    value_put_text(w, "nodes");
    value_put_array(w, 2);
    value_put_text(w, e->place->here);
    value_put_text(w, e->place->there);
}

/* ---- versions ------------------------------------------------------------------------------- */

/* Of a clock that many starts of nodes have made long only so much is kept. */
enum { ORIGINS_KEPT = 16, ISLANDS_KEPT = 4 };

/* The text that every client can hold, and 64 bits of a number not. */
static void put_origin(uint64_t origin, struct value_writer *w) {
    char text[17];

    snprintf(text, sizeof text, "%016" PRIx64, origin);
    value_put_text(w, text);
}

static void put_clock_entry(const struct origins *o, const struct clock_entry *e,
                            struct value_writer *w) {
    uint32_t islands = EG_MIN(e->island_count, (uint32_t) ISLANDS_KEPT);

    value_put_array(w, 2 + 2 * islands);
    put_origin(origin_of(o, e->slot), w);
    value_put_u64(w, e->base);
    for (uint32_t i = 0; i < islands; i++) {
        value_put_u64(w, e->island[i].from);
        value_put_u64(w, e->island[i].to);
    }
}

/* First what it says of both versions' origins; then of others, the last that we met first. */
static void put_clock(const struct entry *e, const struct shard_clock *clock,
                      struct value_writer *w) {
    const struct shard_conflict *c = e->conflict;
    uint32_t left = EG_MIN(clock->count, (uint32_t) ORIGINS_KEPT);

    value_put_array(w, left);
    for (int others = 0; others < 2; others++)
        for (uint32_t i = clock->count; i-- > 0 && left > 0;) {
            uint64_t origin = origin_of(e->origins, clock->entry[i].slot);
            bool is_other = origin != c->met.origin && origin != c->lost.origin;

            if (is_other != (others != 0))
                continue;
            put_clock_entry(e->origins, &clock->entry[i], w);
            left--;
        }
}

static void put_version(const struct entry *e, const struct conflict_version *v,
                        struct value_writer *w) {
    value_put_map(w, 3 + (v->clock != NULL));
    value_put_text(w, "origin");
    put_origin(v->origin, w);
    value_put_text(w, "sequence");
    value_put_u64(w, v->sequence);
    value_put_text(w, "stamp");
    value_put_array(w, 2);
    value_put_u64(w, v->hlc >> 16);
    value_put_u64(w, v->hlc & UINT16_MAX);
    if (v->clock == NULL)
        return;
    value_put_text(w, "clock");
    put_clock(e, v->clock, w);
}

/* ---- entries -------------------------------------------------------------------------------- */

static void put_entry(const void *context, struct value_writer *w) {
    const struct entry *e = context;

    value_put_map(w, 7);
    value_put_text(w, "key");
    value_put_raw(w, e->conflict->key);
    value_put_text(w, "winner");
    put_record(w, e->conflict->winner);
    value_put_text(w, "loser");
    put_record(w, e->conflict->loser);
    put_time_and_nodes(e, w);
    value_put_text(w, "view");
    value_put_text(w, e->place->view);
    value_put_text(w, "versions");
    value_put_map(w, 2);
    value_put_text(w, "winner");
    put_version(e, &e->conflict->met, w);
    value_put_text(w, "loser");
    put_version(e, &e->conflict->lost, w);
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

void table_conflict(struct shard *s, const struct shard_conflict *c,
                    const struct conflict_place *place) {
    struct entry e = {c, place, s->table->world->origins};
    struct buffer b;

    buffer_init(&b, s->table->world->o.alloc, 4 * (size_t) JOURNAL_BYTES);
    if (keep(s, &e, &b) != EG_OK)
        atomic_fetch_add(&s->table->world->journals.lost, 1);
    buffer_fini(&b);
}

eg_err table_conflicts(struct table *t, uint64_t limit, struct buffer *out) {
    return journals_read(&t->world->journals, schema_of(t)->id, limit, out);
}
