/* cluster_member.c -- who comes by somebody's word, and what is remembered of it.
 *
 * A join dials; the answer waits a while for what becomes of it, and the dialling goes on.
 *
 * Whoever was removed while its disc kept data comes back with what others have deleted or
 * forgotten since.  So it parts from them again, says why, and waits to be emptied. */
#include "replication/cluster_private.h"

#include "engine/actor.h"
#include "engine/address.h"
#include "engine/env.h"

#include <stdio.h>
#include <string.h>

enum { JOIN_ANSWER_MS = 3000 };

static const char STALE[] = "this node was removed from the cluster; empty its data directory to "
                            "bring it back as a new one";

void cluster_answer(struct cluster *c, eg_pid to, eg_ref ref, eg_err err, const char *text) {
    static const uint8_t yes = 0xc3;
    struct message *m = err == EG_OK
                            ? message_copy(c->o.runtime, MESSAGE_REPLY, &yes, 1)
                            : message_copy(c->o.runtime, MESSAGE_REPLY, text, strlen(text));

    if (m == NULL) /* it waits until its own deadline, as all else does now */
        return;
    m->ref = ref;
    m->tag = (uint32_t) err;
    (void) runtime_send(c->o.runtime, EG_PID_NONE, to, m); /* it may have gone meanwhile */
}

struct cluster_word cluster_word_of(const struct message *m, char *text, size_t room_bytes) {
    struct cluster_word w;
    size_t text_bytes = m->size_bytes - sizeof w;

    memcpy(&w, m->payload, sizeof w);
    if (text_bytes >= room_bytes)
        text_bytes = 0;
    memcpy(text, m->payload + sizeof w, text_bytes);
    text[text_bytes] = '\0';
    if (strlen(text) != text_bytes)
        text[0] = '\0';
    return w;
}

/* ---- join ---------------------------------------------------------------- */

static bool is_own(const struct cluster *c, const char *address) {
    const char *listens;

    if (strcmp(address, c->self.address) == 0)
        return true;
    for (uint32_t i = 0; (listens = mesh_listens(c->mesh, i)) != NULL; i++) {
        if (strcmp(address, listens) == 0)
            return true;
    }
    return false;
}

void cluster_join(struct cluster *c, const struct message *m) {
    struct cluster_asker *a = &c->joins[c->join_count];
    struct address parsed;
    struct err_note note = {""};

    if (c->join_count == CLUSTER_JOINS_WAITING) {
        cluster_answer(c, m->from, m->ref, EG_BUSY, "other joins are under way");
        return;
    }
    (void) cluster_word_of(m, a->address, sizeof a->address);
    if (address_parse(a->address, &parsed, &note) != EG_OK)
        cluster_answer(c, m->from, m->ref, EG_BAD_REQUEST, note.text);
    else if (is_own(c, a->address))
        cluster_answer(c, m->from, m->ref, EG_BAD_REQUEST, "that is this node's own address");
    else if (c->stale)
        cluster_answer(c, m->from, m->ref, EG_DENIED, STALE);
    else {
        a->from = m->from;
        a->ref = m->ref;
        a->due_ms = cluster_now_ms(c) + JOIN_ANSWER_MS;
        c->join_count++;
        c->left_count = 0;
        mesh_join(c->mesh, a->address);
    }
}

static void join_over(struct cluster *c, uint32_t number, eg_err err, const char *text) {
    struct cluster_asker a = c->joins[number];

    c->joins[number] = c->joins[--c->join_count];
    cluster_answer(c, a.from, a.ref, err, text);
}

enum { OWN_JOINS_MAX = 64 }; /* more are not dialled */

bool cluster_is_lost(const struct cluster *c) {
    bool others = false;

    for (uint32_t i = 0; i < c->o.join_count && i < OWN_JOINS_MAX; i++)
        others |= (c->own_joins >> i & 1) == 0;
    return others && !c->met && swim_count(c->swim) == 1;
}

/* One of those that it was started to join is itself, as where all nodes are told the same. */
static void met_itself(struct cluster *c, const char *address) {
    for (uint32_t i = 0; i < c->o.join_count && i < OWN_JOINS_MAX; i++)
        if (strcmp(c->o.join[i], address) == 0)
            c->own_joins |= UINT64_C(1) << i;
    views_renew(c->views, cluster_now_ms(c)); /* in the next it may know that it is alone */
}

void cluster_joined(struct cluster *c, const char *address, eg_err err, const char *text) {
    if (err != EG_OK)
        env_log(c->o.env, ENV_LOG_WARN, "cluster", "join %s: %s", address,
                text[0] != '\0' ? text : eg_err_text(err));
    if (err == EG_BAD_REQUEST)
        met_itself(c, address);
    if (err != EG_OK && err != EG_DENIED && err != EG_BAD_REQUEST)
        return; /* nobody is there: perhaps with the next dial */
    for (uint32_t i = c->join_count; i > 0; i--) {
        if (strcmp(c->joins[i - 1].address, address) == 0)
            join_over(c, i - 1, err,
                      err == EG_BAD_REQUEST ? "that address is this node's own" : text);
    }
}

static void joins_tick(struct cluster *c) {
    for (uint32_t i = c->join_count; i > 0; i--) {
        if (cluster_now_ms(c) >= c->joins[i - 1].due_ms)
            join_over(c, i - 1, EG_TIMEOUT, "nobody answers there yet; it is dialled on");
    }
}

/* ---- what others say of us ------------------------------------------------- */

/* Our clock went back, and the others know of a later start than this one. */
static void renumber(struct cluster *c, uint64_t incarnation) {
    c->self.incarnation = c->memory.incarnation = incarnation;
    if (c->memory.born > incarnation || c->o.disc == NULL)
        c->memory.born = incarnation;
    views_renumber(c->views, incarnation, cluster_now_ms(c));
    c->renumbered = true; /* links follow in the tick: not inside swim */
}

/* Were we removed since our data began? */
void cluster_self_changed(struct cluster *c, const struct swim_member *self) {
    if (self->info.incarnation != c->self.incarnation)
        renumber(c, self->info.incarnation);
    if (c->stale || self->removed < c->memory.born || self->removed == 0)
        return;
    c->stale = c->self.has_disc;
    env_log(c->o.env, ENV_LOG_ERROR, "cluster", "%s", c->stale ? STALE : "removed by others");
    c->parting_ms = cluster_now_ms(c); /* the last word is said in the tick: not inside swim */
}

void cluster_member_tick(struct cluster *c) {
    joins_tick(c);
    if (c->renumbered) {
        c->renumbered = false;
        mesh_renumber(c->mesh, c->self.incarnation);
    }
    cluster_leave_tick(c);
    if (c->to_remember)
        cluster_remember(c);
}

/* ---- over a restart ------------------------------------------------------- */

eg_err cluster_recall(struct cluster *c) {
    eg_err err = c->members.size_bytes == 0 ? EG_OK : swim_load(c->swim, c->members);

    if (err != EG_OK)
        return err;
    for (uint32_t i = 0; i < swim_count(c->swim); i++) {
        const struct swim_member *m = swim_at(c->swim, i);
        if (m->state == SWIM_JOINING)
            mesh_know(c->mesh, &m->info);
    }
    buffer_fini(&c->remembered);
    c->to_remember = true;
    return EG_OK;
}

void cluster_remember(struct cluster *c) {
    eg_err err = EG_OK;

    if (c->o.disc != NULL)
        err = cluster_memory_save(c->o.disc, c->o.alloc, &c->memory, c->swim);
    c->to_remember = err == EG_BUSY || err == EG_MEMORY; /* with the next tick */
}
