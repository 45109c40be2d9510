/* cluster_status.c -- what people and programs are told of the cluster. */
#include "replication/cluster_private.h"

enum { STATUS_FIELDS = 6, MEMBER_FIELDS = 13, SCRUB_FIELDS = 5 };

/* Once for both passes: they must be of one length. */
struct moment {
    uint64_t now_ms;
    struct scrub_counts scrub;
    bool idle;
};

/* The view that this node serves in: agreed on, and all its tables are known here.  NULL: none. */
static const struct view *view_of(const struct cluster *c) {
    return c->to_install ? NULL : views_now(c->views);
}

/* `up` are exactly the members of this node's view. */
static const char *state_of(const struct cluster *c, const struct swim_member *m) {
    bool in_view = view_of(c) != NULL && view_find(view_of(c), m->info.id) != NULL;

    if (in_view && m->state != SWIM_LEFT && m->state != SWIM_REMOVED)
        return "up";
    return m->state == SWIM_UP ? swim_state_name(SWIM_JOINING) : swim_state_name(m->state);
}

static bool elects(const struct cluster *c, uint64_t id) {
    const struct electorate *e = replica_electorate(c->replicas);

    for (uint32_t l = 0; l < e->lists; l++)
        for (uint32_t i = 0; i < e->list[l].count; i++)
            if (e->list[l].at[i].id == id)
                return true;
    return false;
}

static void put_member(const struct cluster *c, const struct swim_member *m, uint64_t now_ms,
                       struct value_writer *w) {
    uint32_t state =
        m->info.id == c->self.id ? c->state : replica_state_of(c->replicas, m->info.id);

    value_put_map(w, MEMBER_FIELDS);
    value_put_text(w, "name");
    value_put_text(w, m->info.name);
    value_put_text(w, "address");
    value_put_text(w, m->info.address);
    value_put_text(w, "state");
    value_put_text(w, state_of(c, m));
    value_put_text(w, "disc");
    value_put_bool(w, m->info.has_disc);
    value_put_text(w, "weight");
    value_put_u64(w, m->info.weight);
    value_put_text(w, "since_ms");
    value_put_u64(w, now_ms - m->since_ms);
    value_put_text(w, "round_trip_ms");
    value_put_u64(w, m->round_trip_ms);
    value_put_text(w, "skew_ms"); /* of its clock to ours */
    value_put_i64(w, m->skew_ms);
    value_put_text(w, "skewed");
    value_put_bool(w,
                   m->info.id == c->self.id ? (c->state & REPLICA_SKEWED) != 0 : swim_is_skewed(m));
    value_put_text(w, "shards"); /* of which it has something */
    value_put_u64(w, replica_held_by(c->replicas, m->info.id));
    value_put_text(w, "leaving");
    value_put_bool(w, m->state == SWIM_LEAVING);
    value_put_text(w, "elects"); /* counts in majorities */
    value_put_bool(w, elects(c, m->info.id));
    value_put_text(w, "disc_full");
    value_put_bool(w, (state & REPLICA_DISC_FULL) != 0);
}

/* What comparing copies has found. */
static void put_scrub(const struct moment *at, struct value_writer *w) {
    value_put_map(w, SCRUB_FIELDS);
    value_put_text(w, "rounds");
    value_put_u64(w, at->scrub.rounds);
    value_put_text(w, "compared");
    value_put_u64(w, at->scrub.compared);
    value_put_text(w, "differing");
    value_put_u64(w, at->scrub.differing);
    value_put_text(w, "mended");
    value_put_u64(w, at->scrub.mended);
    value_put_text(w, "running");
    value_put_bool(w, !at->idle);
}

static void put_status(const struct cluster *c, const struct moment *at, struct value_writer *w) {
    char view[VIEW_ID_TEXT_BYTES];
    uint32_t count = swim_count(c->swim);

    value_put_map(w, STATUS_FIELDS);
    value_put_text(w, "node");
    value_put_text(w, c->self.name);
    value_put_text(w, "view");
    if (view_of(c) == NULL) {
        value_put_nil(w);
    } else {
        view_id_text(view_of(c)->id, view);
        value_put_text(w, view);
    }
    value_put_text(w, "principal");
    value_put_bool(w, view_of(c) != NULL && view_of(c)->principal == c->self.id);
    value_put_text(w, "no_majority"); /* shards of majority tables that have none in this view */
    value_put_u64(w, replica_refused(c->replicas));
    value_put_text(w, "members");
    value_put_array(w, count);
    for (uint32_t i = 0; i < count; i++)
        put_member(c, swim_at(c->swim, i), at->now_ms, w);
    value_put_text(w, "scrub");
    put_scrub(at, w);
}

uint64_t cluster_mended(const struct cluster *c) {
    bool idle;

    return c->replicas == NULL ? 0 : replica_scrubbed(c->replicas, &idle).mended;
}

eg_err cluster_put_status(const struct cluster *c, struct buffer *out) {
    struct moment now = {.now_ms = cluster_now_ms(c)};
    struct value_writer w = value_writer_init(NULL, 0);
    size_t need_bytes;
    uint8_t *room;

    now.scrub = replica_scrubbed(c->replicas, &now.idle);
    put_status(c, &now, &w);
    need_bytes = w.need_bytes;
    room = buffer_room(out, need_bytes);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, need_bytes);
    put_status(c, &now, &w);
    EG_ASSERT(!w.overflow);
    out->size_bytes += need_bytes;
    return EG_OK;
}
