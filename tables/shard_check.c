/* shard_check.c -- a shard's invariants, asserted. */
#include "tables/shard.h"

#include "tables/index.h"
#include "tables/shard_copy.h"
#include "tables/table_private.h"

/* What the records say that the shard must know. */
struct tally {
    uint64_t count;
    uint64_t bytes;
    uint64_t with_deadline;
    uint64_t first_deadline_ms;
};

static struct tally count_records(struct shard *s, struct reader *r) {
    struct tally sum = {.first_deadline_ms = RANK_NEVER};
    const struct record *rec;
    struct store_cursor c;

    s->store->ops->seek(s->store, r, &c, NULL, false, false);
    while ((rec = s->store->ops->next(s->store, r, &c)) != NULL) {
        sum.count++;
        sum.bytes += record_bytes(rec);
        if (record_expiry_ms(rec) == 0 || record_expiry_ms(rec) == RANK_NEVER)
            continue;
        sum.with_deadline++;
        sum.first_deadline_ms = EG_MIN(sum.first_deadline_ms, record_expiry_ms(rec));
    }
    EG_ASSERT(reader_take_fault(r) == EG_OK);
    return sum;
}

static void check_indexes(struct shard *s, struct reader *r) {
    for (uint32_t i = 0; i < SCHEMA_INDEXES_MAX; i++) {
        struct index *x = atomic_load_explicit(&s->index[i].index, memory_order_relaxed);
        if (x != NULL && atomic_load_explicit(&s->index[i].whole, memory_order_relaxed))
            index_check(x, s->store, r);
    }
}

void shard_check(struct shard *s, struct reader *r) {
    uint64_t next_ms = atomic_load_explicit(&s->next_deadline_ms, memory_order_relaxed);
    struct tally sum = count_records(s, r);

    s->store->ops->check(s->store);
    if (s->copy != NULL)
        shard_copy_check(s, r);
    EG_ASSERT(sum.count == s->store->ops->stats(s->store).count);
    if (s->table->storage == STORAGE_DISC_ONLY) { /* nothing of it is in memory */
        EG_ASSERT(s->record_bytes == 0);
        EG_ASSERT(next_ms <= sum.first_deadline_ms);
        return;
    }
    check_indexes(s, r);
    rank_check(&s->by_deadline);
    rank_check(&s->by_age);
    EG_ASSERT(s->record_bytes == sum.bytes);
    EG_ASSERT(s->by_deadline.count == sum.with_deadline);
    EG_ASSERT(next_ms == sum.first_deadline_ms);
    EG_ASSERT(s->by_age.count == (schema_of(s->table)->cache ? sum.count : 0));
}
