/* tx_ask.c -- what other nodes know of a transaction.
 *
 *     client: status? --here?--> all nodes of the view --one knows, or all have said--> REPLY
 *     part in doubt  ----------> all nodes of the view --one has committed it--> COMMIT to the
 * shard
 *                                                      --none has, none is at it--> ABORT
 *                                                      --one is at it: it will say so itself; again
 *
 * Who has committed a part, as master or as copy, remembers that (tables/outcome.h), and so does
 * who has brought it to its end.  What was sent in an earlier view is refused in this one,
 * so what nobody in it has committed never is, but in a view without us: then it comes with the
 * heal like any change. */
#include "replication/tx_manager_private.h"

#include "tables/catalog.h"
#include "tables/outcome.h"

#include <string.h>

static enum outcome outcome_of(const struct tx_manager *m, struct transact_id id) {
    return outcome_get(catalog_outcomes(m->all->o.catalog), id);
}

/* Of this very id. */
static enum tx_status known_of(struct tx_manager *m, struct transact_id id) {
    const struct tx_run *run = tx_run_find(m, id);

    switch (outcome_of(m, id)) {
    case OUTCOME_COMMITTED:
        return TX_STATUS_COMMITTED;
    case OUTCOME_ABORTED:
        return run == NULL ? TX_STATUS_ABORTED : tx_machine_status(&run->machine);
    default:
        return run == NULL ? TX_STATUS_UNKNOWN : tx_machine_status(&run->machine);
    }
}

static bool is_try_of(struct transact_id id, struct transact_id request) {
    if ((id.high ^ id.low) != (request.high ^ request.low))
        return false;
    for (uint32_t i = 1; i <= TRANSACT_TRIES_MAX; i++)
        if (transact_id_equal(id, transact_id_of_try(request, i)))
            return true;
    return false;
}

static bool has_a_try_committed(const struct tx_manager *m, struct transact_id request) {
    for (uint32_t i = 1; i <= TRANSACT_TRIES_MAX; i++)
        if (outcome_of(m, transact_id_of_try(request, i)) == OUTCOME_COMMITTED)
            return true;
    for (struct list_node *n = m->runs.next; n != &m->runs; n = n->next) {
        const struct tx_run *run = EG_CONTAINER_OF(n, struct tx_run, node);

        if (is_try_of(run->id, request) && tx_machine_status(&run->machine) == TX_STATUS_COMMITTED)
            return true;
    }
    return false;
}

/* A request that a client has named is tried under ids of its own (transact_id_of_try()).  Each try
 * that was lost is aborted, and the next one may commit: so of the tries only `committed` is
 * heeded, and the end of one that is known to be the last. */
static enum tx_status known_here(struct tx_manager *m, struct transact_id id) {
    enum tx_status known = known_of(m, id);
    enum outcome outcome;

    if (known == TX_STATUS_COMMITTED || has_a_try_committed(m, id))
        return TX_STATUS_COMMITTED;
    if (known != TX_STATUS_UNKNOWN)
        return known;
    outcome = outcome_of(m, id);
    return outcome < OUTCOME_OF_TRY
               ? TX_STATUS_UNKNOWN
               : known_of(m, transact_id_of_try(id, (uint32_t) (outcome - OUTCOME_OF_TRY)));
}

static void take(struct tx_ask *a, enum tx_status status) {
    a->open |= status == TX_STATUS_OPEN;
    a->committed |= status == TX_STATUS_COMMITTED;
    a->aborted |= status == TX_STATUS_ABORTED;
}

/* ---- asking ---------------------------------------------------------------------------------- */

void tx_ask_free(struct tx_manager *m, struct tx_ask *a) {
    list_remove(&a->node);
    m->ask_count--;
    if (a->doubt != NULL)
        message_free(m->all->o.runtime, a->doubt);
    alloc_put(m->all->o.alloc, a, sizeof *a);
}

static struct tx_ask *ask_new(struct tx_manager *m, struct transact_id id) {
    struct tx_ask *a = m->ask_count == TX_ASKS_MAX ? NULL : alloc_zero(m->all->o.alloc, sizeof *a);

    if (a == NULL)
        return NULL;
    a->id = id;
    a->deadline_ns = tx_now_ns(m) + (uint64_t) TX_STATUS_MS * 1000000;
    list_push_back(&m->asks, &a->node);
    m->ask_count++;
    return a;
}

static bool is_other(const struct tx_manager *m, uint32_t i) {
    return m->members.node[i] != m->all->peers.self;
}

/* Those that have not said; what is lost on the way is asked again. */
static void send_asks(struct tx_manager *m, const struct tx_ask *a) {
    const struct tx_peers *p = &m->all->peers;
    const struct tx_word w = {
        .kind = TX_WORD_ASK, .number = a->number, .view = m->members.view, .id = a->id};
    uint8_t room[TX_WORD_BYTES];

    for (uint32_t i = 0; i < m->members.count && atomic_load(&m->all->met); i++)
        if (is_other(m, i) && !a->said[i])
            (void) p->send(p->user, m->members.node[i], tx_wire_put(room, &w));
}

static void ask_all(struct tx_manager *m, struct tx_ask *a) {
    a->number = ++m->given;
    a->open = a->committed = a->aborted = a->telling = false;
    a->again_ns = tx_now_ns(m) + (uint64_t) TX_ASK_AGAIN_MS * 1000000;
    memset(a->said, 0, sizeof a->said);
    a->waiting = 0;
    take(a, known_here(m, a->id));
    if (a->committed)
        return;
    for (uint32_t i = 0; i < m->members.count; i++)
        a->waiting += is_other(m, i);
    if (PLANTED(RESOLVED_ALONE))
        a->waiting = 0;
    else
        send_asks(m, a);
}

/* ---- what comes of it ------------------------------------------------------------------------ */

static void reply_status(struct actor *self, const struct tx_ask *a) {
    uint8_t room[16];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_text(&w, a->committed ? "committed" : a->aborted ? "aborted" : "unknown");
    actor_reply_bytes(self, a->from, a->ref, EG_OK, room, w.need_bytes);
}

/* A part in doubt as it lies in its message. */
struct doubt_view {
    struct tx_doubt d;
    const char *name;
    struct value head;
};

static struct doubt_view look_at(const struct message *m) {
    struct doubt_view v;
    size_t at = sizeof v.d;

    memcpy(&v.d, m->payload, sizeof v.d);
    v.name = (const char *) m->payload + at;
    at += v.d.name_bytes;
    v.head = (struct value){m->payload + at, (uint32_t) (m->size_bytes - at)};
    return v;
}

/* True: the shard is being told. */
static bool tell_shard(struct tx_manager *m, struct actor *self, const struct tx_ask *a) {
    struct doubt_view v = look_at(a->doubt);
    struct table *t = catalog_find(m->all->o.catalog, v.name, v.d.name_bytes);
    bool commit = (a->committed && !PLANTED(ABORT_AFTER_COMMIT_SEEN)) || PLANTED(PRESUMED_COMMIT);
    struct shard_request q = {.op = commit ? SHARD_TX_COMMIT : SHARD_TX_ABORT,
                              .attribute = SHARD_NO_ATTRIBUTE,
                              .key = v.head};
    uint8_t view[TX_VIEW_BYTES];
    struct message *call;
    eg_pid to;

    q.value = tx_view_put(m, view);
    if (t == NULL || table_schema(t)->id != v.d.table || v.d.shard >= table_shards(t) ||
        transact_message(t, v.d.shard, &q, &to, &call) != EG_OK)
        return false;
    call->ref = a->number << 1 | 1;
    return actor_send(self, to, call) == EG_OK;
}

/* Whatever is known by now; it may be gone afterwards. */
static void move(struct tx_manager *m, struct actor *self, struct tx_ask *a) {
    bool over = a->committed || a->waiting == 0;

    if (a->doubt == NULL) {
        if (!over)
            return;
        reply_status(self, a);
        tx_ask_free(m, a);
    } else if (over && !a->telling && (a->committed || !a->open)) {
        a->telling = tell_shard(m, self, a);
        if (!a->telling) /* the shard says so again, if it is there still */
            tx_ask_free(m, a);
    }
}

void tx_ask_client(struct tx_manager *m, struct actor *self, const struct message *call) {
    static const char busy[] = "too many questions after transactions";
    struct transact_id id;
    struct tx_ask *a;

    memcpy(&id, call->payload, sizeof id);
    a = ask_new(m, id);
    if (a == NULL) {
        actor_reply_bytes(self, call->from, call->ref, EG_BUSY, busy, sizeof busy - 1);
        return;
    }
    a->from = call->from;
    a->ref = call->ref;
    ask_all(m, a);
    if (a->aborted) /* by who decides */
        a->waiting = 0;
    move(m, self, a);
}

static bool is_asked(const struct tx_manager *m, const struct message *doubt) {
    for (struct list_node *n = m->asks.next; n != &m->asks; n = n->next) {
        const struct tx_ask *a = EG_CONTAINER_OF(n, struct tx_ask, node);

        if (a->doubt != NULL && a->doubt->size_bytes == doubt->size_bytes &&
            memcmp(a->doubt->payload, doubt->payload, doubt->size_bytes) == 0)
            return true;
    }
    return false;
}

void tx_ask_doubt(struct tx_manager *m, struct actor *self, struct message *doubt) {
    struct tx_doubt d;
    struct tx_ask *a = NULL;

    memcpy(&d, doubt->payload, sizeof d);
    if (!is_asked(m, doubt) && !tx_awaits_view(m))
        a = ask_new(m, d.id);
    if (a == NULL) { /* or too many, or too early: the shard says it again */
        message_free(m->all->o.runtime, doubt);
        return;
    }
    a->doubt = doubt;
    ask_all(m, a);
    move(m, self, a);
}

void tx_ask_hear(struct tx_manager *m, const struct message *reply) {
    for (struct list_node *n = m->asks.next; n != &m->asks; n = n->next) {
        struct tx_ask *a = EG_CONTAINER_OF(n, struct tx_ask, node);

        if (a->number != reply->ref >> 1)
            continue;
        tx_ask_free(m, a); /* where it was refused, the shard asks again */
        return;
    }
}

/* ---- what other nodes say -------------------------------------------------------------------- */

static void say(struct tx_manager *m, uint64_t to, const struct tx_word *asked) {
    const struct tx_peers *p = &m->all->peers;
    struct tx_word w = *asked;
    uint8_t room[TX_WORD_BYTES];

    w.kind = TX_WORD_SAY;
    w.status = known_here(m, asked->id);
    if (atomic_load(&m->all->met))
        (void) p->send(p->user, to, tx_wire_put(room, &w)); /* lost: it asks again */
}

void tx_ask_receive(struct tx_manager *m, struct actor *self, uint64_t from,
                    const struct tx_word *w) {
    if (!view_id_equal(w->view, m->members.view))
        return; /* one of us is about to hear of the other's */
    if (w->kind == TX_WORD_ASK) {
        say(m, from, w);
        return;
    }
    for (struct list_node *n = m->asks.next; n != &m->asks; n = n->next) {
        struct tx_ask *a = EG_CONTAINER_OF(n, struct tx_ask, node);

        if (a->number != w->number || !transact_id_equal(a->id, w->id))
            continue;
        for (uint32_t i = 0; i < m->members.count; i++)
            if (m->members.node[i] == from && is_other(m, i) && !a->said[i]) {
                a->said[i] = true;
                a->waiting -= a->waiting != 0;
                take(a, w->status);
                move(m, self, a);
                return;
            }
        return;
    }
}

void tx_asks_tick(struct tx_manager *m, struct actor *self) {
    uint64_t now = tx_now_ns(m);

    for (struct list_node *n = m->asks.next, *next; n != &m->asks; n = next) {
        struct tx_ask *a = EG_CONTAINER_OF(n, struct tx_ask, node);

        next = n->next;
        if (a->doubt == NULL && a->deadline_ns <= now) {
            reply_status(self, a);
            tx_ask_free(m, a);
        } else if (a->again_ns <= now && !a->telling) {
            if (a->waiting == 0) {
                ask_all(m, a);
            } else {
                a->again_ns = now + (uint64_t) TX_ASK_AGAIN_MS * 1000000;
                send_asks(m, a);
            }
            move(m, self, a);
        }
    }
}

void tx_asks_view(struct tx_manager *m, struct actor *self) {
    for (struct list_node *n = m->asks.next, *next; n != &m->asks; n = next) {
        struct tx_ask *a = EG_CONTAINER_OF(n, struct tx_ask, node);

        next = n->next;
        ask_all(m, a);
        move(m, self, a);
    }
}
