/* tx_question.c -- what questions have found, so that the commit can ask again.
 *
 *     [tx_question][found of each shard][points of the path][bytes of its values]
 *
 * One block of its own each, so that the path's values stay where they are. */
#include "query/tx_private.h"
#include "tables/route.h"

#include <string.h>

struct values {
    size_t bytes;
    uint8_t *at; /* NULL: they are only measured */
};

static void keep(struct values *to, struct value *v) {
    if (to->at != NULL && v->size_bytes != 0) {
        memcpy(to->at + to->bytes, v->at, v->size_bytes);
        v->at = to->at + to->bytes;
    }
    to->bytes += v->size_bytes;
}

/* All values of a path, and its points into `point`. */
static void keep_all(struct values *to, struct scan_path *path, struct value *point) {
    if (path->range.low.given)
        keep(to, &path->range.low.value);
    if (path->range.high.given)
        keep(to, &path->range.high.value);
    for (uint32_t i = 0; i < path->equal_count; i++)
        keep(to, &path->equal[i]);
    for (uint32_t i = 0; i < path->point_count; i++) {
        struct value v = path->point[i];
        keep(to, &v);
        if (point != NULL)
            point[i] = v;
    }
    if (point != NULL)
        path->point = point;
}

static struct tx_question *make(struct alloc *a, uint32_t shards, const struct scan_path *path) {
    struct scan_path copy = *path;
    struct values measure = {0, NULL}, kept = {0, NULL};
    size_t found_bytes = shards * sizeof(struct tx_found);
    size_t points_bytes, size_bytes;
    struct tx_question *q;

    if (copy.kind != SCAN_KEYS && copy.kind != SCAN_INDEX_VALUES)
        copy.point_count = 0;
    points_bytes = copy.point_count * sizeof(struct value);
    keep_all(&measure, &copy, NULL);
    size_bytes = sizeof *q + found_bytes + points_bytes + measure.bytes;
    q = alloc_zero(a, size_bytes);
    if (q == NULL)
        return NULL;
    q->size_bytes = size_bytes;
    q->shards = shards;
    kept.at = (uint8_t *) q + sizeof *q + found_bytes + points_bytes;
    keep_all(&kept, &copy, (struct value *) (void *) ((uint8_t *) q + sizeof *q + found_bytes));
    copy.only = NULL;
    q->path = copy;
    return q;
}

eg_err tx_question_open(struct tx *tx, uint32_t table, struct table *t,
                        const struct scan_path *path, struct tx_question **out) {
    uint32_t shards = table_shards(t);
    struct tx_question *q;
    eg_err err = tx_room(tx, NULL);

    if (err != EG_OK)
        return err;
    q = make(tx->o.alloc, shards, path);
    if (q == NULL)
        return EG_MEMORY;
    q->table = table;
    for (uint32_t i = 0; i < shards; i++)
        q->shard[i].changes = transact_changes(t, i);
    q->next = tx->questions;
    tx->questions = q;
    tx->question_count++;
    *out = q;
    return EG_OK;
}

eg_err tx_question_set_range(struct tx *tx, struct tx_question **q, const struct range *range) {
    struct tx_question **link = &tx->questions, *old = *q, *fresh;
    struct scan_path path = old->path;

    path.kind = SCAN_KEY_RANGE;
    path.range = *range;
    fresh = make(tx->o.alloc, old->shards, &path);
    if (fresh == NULL)
        return EG_MEMORY;
    fresh->next = old->next;
    fresh->table = old->table;
    fresh->begun = old->begun;
    memcpy(fresh->shard, old->shard, old->shards * sizeof *old->shard);
    while (*link != old)
        link = &(*link)->next;
    *link = fresh;
    alloc_put(tx->o.alloc, old, old->size_bytes);
    *q = fresh;
    return EG_OK;
}

struct tx_question *tx_question_ending_at(const struct tx *tx, uint32_t table, struct table *t,
                                          struct value key, bool back) {
    struct tx_question *q = tx->questions;
    const struct range_end *end;

    if (q == NULL || q->table != table || q->path.kind != SCAN_KEY_RANGE || !q->stepped)
        return NULL;
    end = back ? &q->path.range.low : &q->path.range.high;
    if (!end->given || end->open || end->prefix || !value_equal(end->value, key))
        return NULL;
    for (uint32_t i = 0; i < q->shards; i++)
        if (q->shard[i].changes != transact_changes(t, i))
            return NULL; /* the commit looks at both again */
    return q;
}

void tx_questions_complete(struct tx *tx, struct reader *r) {
    for (struct tx_question *q = tx->questions; q != NULL; q = q->next) {
        struct table *t = tx->table[q->table].table;
        uint32_t shard = q->cut - 1;

        if (q->cut == 0 || table_role(t, shard) == SHARD_ALONE)
            continue;
        if (transact_complete(t, shard, r, &q->path, q->cut_rows, &q->shard[shard].digest) == EG_OK)
            q->cut = 0; /* else its master finds it changed, or has counted no change itself */
    }
}

void tx_questions_free(struct tx *tx) {
    struct tx_question *q;

    while ((q = tx->questions) != NULL) {
        tx->questions = q->next;
        alloc_put(tx->o.alloc, q, q->size_bytes);
    }
    tx->question_count = 0;
}
