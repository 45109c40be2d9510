/* cluster_event.c -- what those hear who watch the node: members' states, views, copies, and
 * what ails other nodes. */
#include "replication/cluster_private.h"

#include "engine/env.h"
#include "tables/watch.h"

#include <stdio.h>
#include <stdlib.h>

enum { EVENT_BYTES = 512 + NODES_MAX * (NODE_INFO_NAME_BYTES + 2) };

static void tell(struct cluster *c, enum watch_kind kind, const uint8_t *at,
                 const struct value_writer *w) {
    EG_ASSERT(!w->overflow);
    watch_tell(catalog_watch(c->o.catalog), kind, "", (struct value){at, (uint32_t) w->need_bytes});
}

void cluster_tell_member(struct cluster *c, const struct swim_member *m) {
    uint8_t at[EVENT_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    value_put_map(&w, 3);
    value_put_text(&w, "node");
    value_put_text(&w, m->info.name);
    value_put_text(&w, "address");
    value_put_text(&w, m->info.address);
    value_put_text(&w, "state");
    value_put_text(&w, swim_state_name(m->state));
    tell(c, WATCH_NODE, at, &w);
}

void cluster_tell_view(struct cluster *c, const struct view *v) {
    uint8_t at[EVENT_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);
    char id[VIEW_ID_TEXT_BYTES];

    view_id_text(v->id, id);
    value_put_map(&w, 2);
    value_put_text(&w, "view");
    value_put_text(&w, id);
    value_put_text(&w, "members");
    value_put_array(&w, v->count);
    for (uint32_t i = 0; i < v->count; i++) {
        const struct swim_member *m = swim_find(c->swim, v->member[i].id);
        value_put_text(&w, m != NULL ? m->info.name : "");
    }
    tell(c, WATCH_VIEW, at, &w);
}

void cluster_tell_copies(struct cluster *c, const char *state, uint64_t shards) {
    uint8_t at[EVENT_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    env_log(c->o.env, ENV_LOG_INFO, "replica", "copies of this node: %s (%llu shards)", state,
            (unsigned long long) shards);
    value_put_map(&w, 2);
    value_put_text(&w, "state");
    value_put_text(&w, state);
    value_put_text(&w, "shards");
    value_put_u64(&w, shards);
    tell(c, WATCH_COPIES, at, &w);
}

/* ---- of other nodes ------------------------------------------------------------ */

/* Is it so of this node?  True: that is news, and noted in the list. */
static bool note_of(uint64_t ids[NODES_MAX], uint32_t *count, uint64_t id, bool is_so) {
    uint32_t at = 0;

    while (at < *count && ids[at] != id)
        at++;
    if ((at < *count) == is_so || (is_so && *count == NODES_MAX))
        return false;
    if (is_so)
        ids[(*count)++] = id;
    else
        ids[at] = ids[--*count];
    return true;
}

void cluster_tell_discs(struct cluster *c) {
    for (uint32_t i = 0; i < c->view->count; i++) {
        const struct swim_member *m = swim_find(c->swim, c->view->member[i].id);
        bool full;
        uint8_t at[EVENT_BYTES];
        struct value_writer w = value_writer_init(at, sizeof at);

        if (m == NULL || m->info.id == c->self.id)
            continue;
        full = (replica_state_of(c->replicas, m->info.id) & REPLICA_DISC_FULL) != 0;
        if (!note_of(c->discs_full, &c->discs_full_count, m->info.id, full))
            continue;
        env_log(c->o.env, full ? ENV_LOG_WARN : ENV_LOG_INFO, "cluster", "the disc of %s %s",
                m->info.name, full ? "takes no more changes" : "takes changes again");
        value_put_map(&w, 2);
        value_put_text(&w, "state");
        value_put_text(&w, full ? "failed" : "well");
        value_put_text(&w, "node");
        value_put_text(&w, m->info.name);
        tell(c, WATCH_DISC, at, &w);
    }
}

static void tell_clock(struct cluster *c, const char *name, bool is_skewed, int64_t skew_ms) {
    uint8_t at[EVENT_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);

    value_put_map(&w, 3);
    value_put_text(&w, "node");
    value_put_text(&w, name);
    value_put_text(&w, "state");
    value_put_text(&w, is_skewed ? "skewed" : "well");
    value_put_text(&w, "skew_ms");
    value_put_i64(&w, skew_ms);
    tell(c, WATCH_CLOCK, at, &w);
}

void cluster_tell_skews(struct cluster *c) {
    for (uint32_t i = 0; i < swim_count(c->swim); i++) {
        const struct swim_member *m = swim_at(c->swim, i);
        bool skewed = swim_is_skewed(m);

        if (m->info.id == c->self.id || !m->linked ||
            !note_of(c->skewed, &c->skewed_count, m->info.id, skewed))
            continue;
        env_log(c->o.env, skewed ? ENV_LOG_WARN : ENV_LOG_INFO, "cluster",
                "the clock of %s is %lld ms from ours", m->info.name, (long long) m->skew_ms);
        tell_clock(c, m->info.name, skewed, m->skew_ms);
    }
}

/* The farthest of the others says how far. */
void cluster_tell_own_skew(struct cluster *c, bool is_skewed) {
    int64_t skew_ms = 0;

    for (uint32_t i = 0; i < swim_count(c->swim); i++) {
        const struct swim_member *m = swim_at(c->swim, i);

        if (m->linked && llabs(m->skew_ms) > llabs(skew_ms))
            skew_ms = m->skew_ms;
    }
    env_log(c->o.env, is_skewed ? ENV_LOG_ERROR : ENV_LOG_INFO, "cluster",
            is_skewed
                ? "this node's clock is not that of most others (by up to %lld ms): it orders "
                  "no writes where another can"
                : "this node's clock is that of the others again (within %lld ms)",
            (long long) llabs(skew_ms));
    tell_clock(c, c->self.name, is_skewed, -skew_ms);
}
