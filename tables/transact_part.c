/* transact_part.c -- what a transaction has seen and does not change, looked at in place.
 *
 * Who holds all that he will change looks here once more at all that he has only read (as Silo: Tu,
 * Zheng, Kohler, Liskov, Madden 2013).  Who changes any of that has had a mark of it at all full
 * copies before he looks in his turn: of two who read what the other changes, the one who comes
 * later finds the other's mark, or what he has changed.  So the mark is looked for first and the
 * version afterwards. */
#include "tables/shard_copy.h"
#include "tables/shard_tx.h"
#include "tables/table_private.h"
#include "tables/transact_private.h"

bool transact_part_reads(struct value part) {
    struct transact_part p;

    return transact_get_part(part, &p) && p.want.left == 0;
}

uint32_t transact_part_flickers(const struct table *t, struct value part) {
    struct transact_part p;
    struct value key;
    uint64_t version;
    uint32_t count;

    if (!transact_get_part(part, &p))
        return 0;
    count = 2 * p.question.left; /* each is a look at many places */
    while (p.seen.left != 0 && transact_next_seen(&p.seen, &key, &version))
        count += version == 0 || table_type(t) == TABLE_BAG;
    return count;
}

bool transact_path_stands(struct table *t, uint32_t shard, const struct scan_path *path) {
    struct shard *s = &t->shard[shard];
    unsigned word = role_or_held(s);
    enum shard_role role = role_of(s);
    uint64_t stable;

    if (EG_LIKELY(word == SHARD_ALONE))
        return true;
    if (role > SHARD_FULL)
        return false;
    if (!scan_by_index(path))
        return word <= SHARD_FULL && shard_is_stable(s);
    if (word != role && shard_tx_holds(s, SHARD_TX_INDEXES))
        return false;
    stable = atomic_load_explicit(&s->stable, memory_order_acquire);
    return role == SHARD_ALONE ||
           (atomic_load_explicit(&s->indexed, memory_order_acquire) <= stable &&
            atomic_load_explicit(&s->removed, memory_order_acquire) <= stable);
}

/* May a record that an index has led to be relied on?  EG_AGAIN. */
static eg_err found_stands(void *context, const struct record *rec) {
    struct shard *s = context;
    bool stands = role_of(s) == SHARD_ALONE ||
                  rec->hlc <= atomic_load_explicit(&s->stable, memory_order_acquire);

    if (stands && shard_is_held(s))
        stands = !shard_tx_holds(s, key_hash(record_key(rec), s->table->seed));
    return stands ? EG_OK : EG_AGAIN;
}

eg_err transact_question_looks(struct table *t, uint32_t shard, struct reader *r, uint64_t changes,
                               uint64_t digest, const struct scan_path *path) {
    struct shard *s = &t->shard[shard];
    uint64_t again;
    eg_err err;

    if (!transact_path_stands(t, shard, path))
        return EG_AGAIN;
    if (transact_scan_stands(t, shard)) {
        err = transact_question_stands(s, r, changes, digest, path);
        return err != EG_OK || transact_scan_stands(t, shard) ? err : EG_AGAIN;
    }
    err = transact_walk(s, r, path, found_stands, s, &again);
    if (err == EG_OK && again != digest)
        return EG_CONFLICT;
    if (err == EG_OK && again != 0) /* nothing of it was held: is that what there is? */
        err = transact_walk(s, r, path, found_stands, s, &again);
    if (err == EG_OK && again != digest)
        return EG_CONFLICT;
    if (err == EG_OK && !transact_path_stands(t, shard, path))
        return EG_AGAIN;
    return err == EG_TOO_LARGE || err == EG_BAD_REQUEST ? EG_AGAIN : err;
}

static eg_err seen_stands(struct table *t, struct shard *s, struct reader *r, struct value key,
                          uint64_t version) {
    const struct record *rec;
    uint64_t now;
    struct key k;
    eg_err err = table_key_checked(t, &k, key, NULL);

    if (err != EG_OK)
        return err;
    err = shard_tx_holds(s, k.hash) ? EG_AGAIN : transact_look(t, r, &k, &rec, &now);
    key_release(&k);
    return err == EG_OK && now != version ? EG_CONFLICT : err;
}

/* Do all full copies hear of what is held before it counts as held?  And is what is here more than
 * one copy's word? */
static bool is_told_to_all(const struct table *t) {
    const struct schema *schema = table_schema(t);

    return !schema->acks_one && !schema->majority;
}

eg_err transact_part_stands(struct table *t, uint32_t shard, struct reader *r, struct value part) {
    struct shard *s = &t->shard[shard];
    struct transact_part p;
    eg_err err = EG_OK;

    if (!transact_get_part(part, &p))
        return EG_BAD_REQUEST;
    if (!is_told_to_all(t) && role_of(s) != SHARD_ALONE)
        return EG_AGAIN;
    while (err == EG_OK && p.seen.left != 0) {
        struct value key;
        uint64_t version;

        if (!transact_next_seen(&p.seen, &key, &version))
            return EG_BAD_REQUEST;
        err = seen_stands(t, s, r, key, version);
    }
    while (err == EG_OK && p.question.left != 0) {
        uint64_t changes, digest;
        struct scan_path path;
        struct value packed;

        if (!transact_next_question(&p.question, &changes, &digest, &packed))
            return EG_BAD_REQUEST;
        err = transact_get_path(packed, t, r, &path);
        if (err == EG_OK)
            err = transact_question_looks(t, shard, r, changes, digest, &path);
    }
    return err;
}
