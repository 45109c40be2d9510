/* shard_set.h -- some of a table's shards, as bits.
 *
 * Threads    Pure data.
 */
#ifndef TABLES_SHARD_SET_H
#define TABLES_SHARD_SET_H

#include "tables/schema.h"

struct shard_set {
    uint64_t word[SCHEMA_SHARDS_MAX / 64];
};

static inline void shard_set_add(struct shard_set *s, uint32_t shard) {
    s->word[shard / 64] |= UINT64_C(1) << shard % 64;
}
static inline void shard_set_remove(struct shard_set *s, uint32_t shard) {
    s->word[shard / 64] &= ~(UINT64_C(1) << shard % 64);
}
static inline bool shard_set_has(const struct shard_set *s, uint32_t shard) {
    return (s->word[shard / 64] >> shard % 64 & 1) != 0;
}
static inline void shard_set_join(struct shard_set *s, const struct shard_set *more) {
    for (uint32_t i = 0; i < SCHEMA_SHARDS_MAX / 64; i++)
        s->word[i] |= more->word[i];
}
/* The first from `from` on; SCHEMA_SHARDS_MAX: none. */
static inline uint32_t shard_set_next(const struct shard_set *s, uint32_t from) {
    while (from < SCHEMA_SHARDS_MAX && !shard_set_has(s, from))
        from++;
    return from;
}
static inline bool shard_set_is_empty(const struct shard_set *s) {
    uint64_t any = 0;

    for (uint32_t i = 0; i < SCHEMA_SHARDS_MAX / 64; i++)
        any |= s->word[i];
    return any == 0;
}

#endif /* TABLES_SHARD_SET_H */
