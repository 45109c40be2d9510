/* cluster_event.c -- what those hear who watch the node: members' states, views. */
#include "replication/cluster_private.h"

#include "tables/watch.h"

#include <stdio.h>

enum { EVENT_BYTES = 512 + NODES_MAX * (NODE_INFO_NAME_BYTES + 2) };

void cluster_view_text(struct view_id id, char text[CLUSTER_VIEW_TEXT_BYTES]) {
    snprintf(text, CLUSTER_VIEW_TEXT_BYTES, "%llx-%016llx", (unsigned long long) id.epoch,
             (unsigned long long) id.hash);
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
    EG_ASSERT(!w.overflow);
    watch_tell(catalog_watch(c->o.catalog), WATCH_NODE, "",
               (struct value){at, (uint32_t) w.need_bytes});
}

void cluster_tell_view(struct cluster *c, const struct view *v) {
    uint8_t at[EVENT_BYTES];
    struct value_writer w = value_writer_init(at, sizeof at);
    char id[CLUSTER_VIEW_TEXT_BYTES];

    cluster_view_text(v->id, id);
    value_put_map(&w, 2);
    value_put_text(&w, "view");
    value_put_text(&w, id);
    value_put_text(&w, "members");
    value_put_array(&w, v->count);
    for (uint32_t i = 0; i < v->count; i++) {
        const struct swim_member *m = swim_find(c->swim, v->member[i].id);
        value_put_text(&w, m != NULL ? m->info.name : "");
    }
    EG_ASSERT(!w.overflow);
    watch_tell(catalog_watch(c->o.catalog), WATCH_VIEW, "",
               (struct value){at, (uint32_t) w.need_bytes});
}
