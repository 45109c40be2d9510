/* settle.c -- a SHARD_SETTLE for each shard that was looked into, all at once. */
#include "query/settle.h"

#include "engine/planted.h"
#include "tables/far.h"
#include "tables/table.h"

static struct shard_set all_of(struct table *t) {
    struct shard_set set = {{0}};

    for (uint32_t i = 0; i < table_shards(t); i++)
        shard_set_add(&set, i);
    return set;
}

static bool add_key(struct shard_set *set, struct table *t, struct value key) {
    struct key k;

    if (table_key(t, &k, key) != EG_OK)
        return false;
    shard_set_add(set, table_shard_of_hash(t, k.hash));
    key_release(&k);
    return true;
}

static struct shard_set shards_of(struct table *t, const struct scan_path *path) {
    struct shard_set set = {{0}};
    bool known = true;

    if (path->kind == SCAN_NOTHING)
        return set;
    if (path->kind == SCAN_KEY)
        return add_key(&set, t, path->range.low.value) ? set : all_of(t);
    if (path->kind != SCAN_KEYS)
        return all_of(t);
    for (uint32_t i = 0; i < path->point_count && known; i++)
        known = add_key(&set, t, path->point[i]);
    return known ? set : all_of(t);
}

/* False: there is nothing to ask. */
static bool is_asked_about(const struct table *t) {
    return EG_UNLIKELY(table_schema(t)->majority) && !PLANTED(SCAN_WITHOUT_ROUND);
}

void settle_begin(struct settle *s, struct table *t, const struct scan_path *path) {
    struct shard_set shards;

    if (s->state == SETTLE_NOT && !is_asked_about(t))
        s->state = SETTLE_OVER;
    if (s->state != SETTLE_NOT)
        return;
    shards = shards_of(t, path);
    settle_begin_in(s, t, &shards);
}

void settle_begin_in(struct settle *s, struct table *t, const struct shard_set *shards) {
    if (s->state != SETTLE_NOT)
        return;
    s->state = is_asked_about(t) ? SETTLE_LOOKING : SETTLE_OVER;
    s->view = table_far_view(t);
    s->shards = *shards;
}

static uint32_t next_to_ask(const struct settle *s, struct table *t) {
    uint32_t shard = shard_set_next(&s->shards, 0);

    while (shard < table_shards(t) && table_is_settled(t, shard))
        shard = shard_set_next(&s->shards, shard + 1);
    return shard;
}

eg_err settle_step(struct settle *s, struct table *t, struct err_note *note) {
    if (s->state == SETTLE_NOT || s->state == SETTLE_OVER)
        return EG_OK;
    EG_ASSERT(s->unanswered == 0);
    if (s->failed != EG_OK)
        return err_note(note, s->failed, "%s", s->why.text);
    if (s->view != table_far_view(t))
        return err_note(note, EG_NO_REPLICA, "the view changed before it was read: ask again");
    s->state = next_to_ask(s, t) < table_shards(t) ? SETTLE_ASKING : SETTLE_OVER;
    return s->state == SETTLE_OVER ? EG_OK : EG_AGAIN;
}

eg_err settle_ask(struct settle *s, struct table *t, eg_pid *to, struct message **out) {
    uint32_t shard = next_to_ask(s, t);
    eg_err err;

    if (shard >= table_shards(t))
        return EG_NOT_FOUND;
    err = table_settle_message(t, shard, to, out);
    if (err != EG_OK)
        return err;
    shard_set_remove(&s->shards, shard);
    s->unanswered++;
    return EG_OK;
}

void settle_answered(struct settle *s, eg_err err, struct value result) {
    EG_ASSERT(s->unanswered > 0);
    s->unanswered--;
    if (err == EG_OK || s->failed != EG_OK)
        return;
    s->failed = err == EG_NOPROC || err == EG_AGAIN ? EG_BUSY : err;
    (void) err_note(&s->why, err, "%.*s", (int) EG_MIN(result.size_bytes, 200u),
                    (const char *) result.at);
}
