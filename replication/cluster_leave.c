/* cluster_leave.c -- who goes: by itself, or by an administrator's word.
 *
 *     leave   LEAVING is said, and a report that places this node nowhere: others get what it has
 *             while it serves on.  When it has no copy any more, or at once where that was forced,
 *             LEFT is said; when all links have been let go by the others, who heard it, the node
 *             is alone.
 *     remove  of one that is not there; told to all; it hears of it when it comes back
 *
 * Others may not have heard that it left, as over a slow link, or where they were down.  They dial
 * it, and would bring it back: so none of them is let in before this node has joined again. */
#include "replication/cluster_private.h"

#include "engine/env.h"
#include "tables/shard_copy.h"
#include "tables/table.h"

#include <stdio.h>
#include <string.h>

enum { PARTING_MS = 3000 }; /* for the others to let go */

bool cluster_has_left(const struct cluster *c, uint64_t id) {
    for (uint32_t i = 0; i < c->left_count; i++)
        if (c->left[i] == id)
            return true;
    return false;
}

/* ---- leave ------------------------------------------------------------------- */

static void leave_over(struct cluster *c, eg_err err, const char *text) {
    if (!eg_pid_is_none(c->leaver.from))
        cluster_answer(c, c->leaver.from, c->leaver.ref, err, text);
    c->leaver.from = EG_PID_NONE;
}

/* Those who hear it end their links.  Were they dialled then, they would know this node again,
 * and dial it when it is alone: it would be back at once. */
void cluster_part(struct cluster *c) {
    if (c->leaving)
        cluster_tell_copies(c, "handed off", 0);
    c->leaving = false;
    swim_say(c->swim, SWIM_LEFT, cluster_now_ms(c));
    c->parting_ms = cluster_now_ms(c) + PARTING_MS;
    for (uint32_t i = 0; i < swim_count(c->swim); i++)
        mesh_release(c->mesh, swim_at(c->swim, i)->info.id);
}

static bool has_tables(const struct cluster *c) {
    struct table *const *tables;

    return catalog_tables(c->o.catalog, &tables) != 0;
}

void cluster_leave(struct cluster *c, const struct message *m) {
    char nothing[1];
    struct cluster_word word = cluster_word_of(m, nothing, sizeof nothing);

    if (c->parting_ms != 0 || (swim_count(c->swim) == 1 && !c->leaving)) {
        cluster_answer(c, m->from, m->ref, EG_OK, "");
        return;
    }
    if (c->leaving && !word.force) {
        cluster_answer(c, m->from, m->ref, EG_BUSY, "it is leaving already");
        return;
    }
    leave_over(c, EG_OK, ""); /* another has forced it */
    c->leaver = (struct cluster_asker){
        .from = m->from,
        .ref = m->ref,
        .due_ms = cluster_now_ms(c) + (word.timeout_ms != 0 ? word.timeout_ms : CLUSTER_LEAVE_MS)};
    if (word.force || !has_tables(c)) {
        cluster_part(c);
        return;
    }
    c->leaving = true;
    swim_say(c->swim, SWIM_LEAVING, cluster_now_ms(c));
    cluster_tell_copies(c, "handing off", replica_held_by(c->replicas, c->self.id));
}

static void give_up(struct cluster *c) {
    uint64_t held = replica_held_by(c->replicas, c->self.id);
    char text[160];

    snprintf(text, sizeof text,
             "the node stays: of %llu shards that it has, not all are whole on other nodes yet",
             (unsigned long long) held);
    env_log(c->o.env, ENV_LOG_WARN, "cluster", "leave: %s", text);
    c->leaving = false;
    swim_say(c->swim, SWIM_UP, cluster_now_ms(c));
    cluster_tell_copies(c, "kept", held);
    leave_over(c, EG_NO_REPLICA, text);
}

static bool any_linked(const struct cluster *c) {
    for (uint32_t i = 0; i < swim_count(c->swim); i++)
        if (swim_at(c->swim, i)->linked)
            return true;
    return false;
}

static void forget_all(struct cluster *c) {
    c->left_count = 0;
    for (uint32_t i = 0; i < swim_count(c->swim); i++) {
        const struct swim_member *m = swim_at(c->swim, i);

        if (m->info.id == c->self.id)
            continue;
        if (m->state != SWIM_LEFT && m->state != SWIM_REMOVED && c->left_count < NODES_MAX)
            c->left[c->left_count++] = m->info.id;
        mesh_forget(c->mesh, m->info.id);
    }
    swim_forget_all(c->swim, cluster_now_ms(c));
    replica_forget_electorate(c->replicas);
    c->memory.electorate = (struct electorate){0};
    c->parting_ms = 0;
    c->reach_changed = c->to_remember = true;
    leave_over(c, EG_OK, "");
}

void cluster_leave_tick(struct cluster *c) {
    enum swim_state state = swim_find(c->swim, c->self.id)->state;

    if (c->parting_ms != 0) {
        if (c->stale && state != SWIM_LEFT && state != SWIM_REMOVED)
            cluster_part(c);
        else if (!any_linked(c) || cluster_now_ms(c) >= c->parting_ms)
            forget_all(c);
    } else if (c->leaving && !c->to_install && replica_has_left(c->replicas)) {
        cluster_part(c);
    } else if (c->leaving && cluster_now_ms(c) >= c->leaver.due_ms) {
        give_up(c);
    }
}

/* ---- remove ------------------------------------------------------------------ */

void cluster_remove(struct cluster *c, const struct message *m) {
    char name[NODE_INFO_NAME_BYTES], text[512];
    struct cluster_word word = cluster_word_of(m, name, sizeof name);
    const struct swim_member *who = swim_find(c->swim, node_id_of(name));
    const struct table *t;
    eg_err err;

    if (who == NULL || who->state == SWIM_REMOVED) {
        cluster_answer(c, m->from, m->ref, EG_NOT_FOUND, "no member has that name");
        return;
    }
    if (who->info.id == c->self.id || who->linked) {
        cluster_answer(c, m->from, m->ref, EG_BAD_REQUEST,
                       who->linked ? "it is there: let it leave"
                                   : "a node leaves; it does not remove itself");
        return;
    }
    t = word.force || who->state == SWIM_LEFT ? NULL : replica_only_with(c->replicas, &who->info);
    if (t != NULL) {
        snprintf(text, sizeof text,
                 "it may have the last copy of a part of table %s, which no node that is there has "
                 "whole; with {force: true} that is given up",
                 table_name(t)->text);
        cluster_answer(c, m->from, m->ref, EG_BAD_REQUEST, text);
        return;
    }
    err = swim_remove(c->swim, who->info.id, cluster_now_ms(c));
    cluster_answer(c, m->from, m->ref, err, eg_err_text(err));
}
