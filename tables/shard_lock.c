/* shard_lock.c -- two tables of chains: holders by transaction, and locks by key. */
#include "tables/shard_lock.h"

#include "engine/planted.h"
#include "tables/shard_tx.h"

#include <string.h>

struct lock_held {
    uint64_t hash;
    bool exclusive;
    struct lock_owner *owner;
    struct lock_held *next_of_owner;
    struct lock_held *next, **at; /* in its chain */
};

struct lock_waiter {
    struct list_node node;
    struct transact_id id;
    struct transact_age age;
    uint64_t deadline_ms;
    void *waiter;
    bool plain, passing, over;
    uint32_t count;
    struct lock_want want[];
};

struct shard_lock *shard_lock_open(struct alloc *a) {
    struct shard_lock *l = alloc_zero(a, sizeof *l);

    if (l == NULL)
        return NULL;
    l->alloc = a;
    list_init(&l->owners);
    list_init(&l->waiters);
    return l;
}

void shard_lock_close(struct shard_lock *l) {
    EG_ASSERT(l->waiter_count == 0);
    while (!list_is_empty(&l->owners))
        shard_lock_release(l, EG_CONTAINER_OF(l->owners.next, struct lock_owner, node));
    alloc_put(l->alloc, l, sizeof *l);
}

/* ---- who holds ----------------------------------------------------------------------------- */

static struct lock_owner **owner_chain(const struct shard_lock *l, struct transact_id id) {
    return (struct lock_owner **) &l->owner_chain[(id.low ^ id.high * 31) % SHARD_LOCK_TABLES];
}

static struct lock_held **held_chain(const struct shard_lock *l, uint64_t hash) {
    return (struct lock_held **) &l->held_chain[hash % SHARD_LOCK_TABLES];
}

struct lock_owner *shard_lock_owner(const struct shard_lock *l, struct transact_id id) {
    struct lock_owner *o = *owner_chain(l, id);

    while (o != NULL && !transact_id_equal(o->id, id))
        o = o->next;
    return o;
}

static struct lock_owner *owner_new(struct shard_lock *l, const struct lock_request *q) {
    struct lock_owner *o = alloc_zero(l->alloc, sizeof *o);
    struct lock_owner **chain = owner_chain(l, q->id);

    if (o == NULL)
        return NULL;
    o->id = q->id;
    o->age = q->age;
    o->deadline_ms = q->deadline_ms;
    o->next = *chain;
    *chain = o;
    list_push_back(&l->owners, &o->node);
    l->owner_count++;
    return o;
}

/* ---- bits for those who look in place -------------------------------------------------------- */

static unsigned bit_of(uint64_t hash) {
    return (unsigned) __builtin_ctzll(shard_tx_bit(hash));
}

static void count_bit(struct shard_lock *l, uint64_t hash, bool more) {
    unsigned bit = bit_of(hash);

    l->exclusive[bit] += more ? 1u : -1u;
    if (l->exclusive[bit] != 0)
        l->bits |= UINT64_C(1) << bit;
    else
        l->bits &= ~(UINT64_C(1) << bit);
}

/* ---- conflicts ------------------------------------------------------------------------------- */

/* What of a transaction, or of nobody, stands in the way of a want. */
struct way {
    bool blocked; /* somebody holds it                          */
    bool older;   /* one of them is older than who wants it     */
};

static void meet(struct way *w, const struct lock_request *q, const struct lock_owner *o) {
    if (PLANTED(PREPARED_NOT_HELD) && o->kept)
        return;
    w->blocked = true;
    w->older |= transact_is_older(o->age, q->age);
}

/* Those who hold the whole shard, or where that is wanted anything. */
static void look_at_owners(const struct shard_lock *l, const struct lock_request *q,
                           const struct lock_want *want, struct way *w) {
    for (const struct list_node *n = l->owners.next; n != &l->owners; n = n->next) {
        const struct lock_owner *o = EG_CONTAINER_OF(n, struct lock_owner, node);
        bool exclusive = o->whole_exclusive || (want->whole && o->exclusive != 0);
        bool any = exclusive || o->whole_shared || (want->whole && o->shared != 0);

        if (!transact_id_equal(o->id, q->id) && (exclusive || (want->exclusive && any)))
            meet(w, q, o);
    }
}

static void look_at_want(const struct shard_lock *l, const struct lock_request *q,
                         const struct lock_want *want, struct way *w) {
    if (want->whole || l->whole_count != 0)
        look_at_owners(l, q, want, w);
    if (want->whole)
        return;
    for (const struct lock_held *h = *held_chain(l, want->hash); h != NULL; h = h->next)
        if (h->hash == want->hash && !transact_id_equal(h->owner->id, q->id) &&
            (h->exclusive || want->exclusive))
            meet(w, q, h->owner);
}

static struct way look_at_all(const struct shard_lock *l, const struct lock_request *q) {
    struct way w = {false, false};

    if (l->owner_count != 0)
        for (uint32_t i = 0; i < q->count; i++)
            look_at_want(l, q, &q->want[i], &w);
    return w;
}

static bool wants_meet(const struct lock_want *a, const struct lock_want *b) {
    return (a->exclusive || b->exclusive) && (a->whole || b->whole || a->hash == b->hash);
}

static bool has_already(const struct shard_lock *l, const struct lock_owner *o,
                        const struct lock_want *want) {
    if (o == NULL)
        return false;
    if (o->whole_exclusive || (o->whole_shared && !want->exclusive))
        return true;
    return !want->whole && shard_lock_has(l, o, want);
}

/* `o`: who asks, where he holds something.  Who waits for that is behind him. */
static bool meets(const struct shard_lock *l, const struct lock_waiter *x,
                  const struct lock_request *q, const struct lock_owner *o) {
    for (uint32_t i = 0; i < x->count; i++)
        for (uint32_t k = 0; k < q->count; k++)
            if (wants_meet(&x->want[i], &q->want[k]) && !has_already(l, o, &q->want[k]))
                return true;
    return false;
}

/* Those who came before and wait: a plain operation is behind the plain ones, a transaction is not
 * to overtake older ones. */
static void look_at_waiters(const struct shard_lock *l, const struct lock_request *q,
                            struct way *w) {
    bool plain = transact_id_is_none(q->id);
    const struct lock_owner *o = plain ? NULL : shard_lock_owner(l, q->id);

    for (const struct list_node *n = l->waiters.next; n != &l->waiters; n = n->next) {
        const struct lock_waiter *x = EG_CONTAINER_OF(n, struct lock_waiter, node);

        if (x->plain != plain || (!plain && transact_id_equal(x->id, q->id)) || !meets(l, x, q, o))
            continue;
        if (plain)
            w->blocked = true;
        else if (transact_is_older(x->age, q->age))
            w->blocked = w->older = true;
    }
}

/* ---- taking ---------------------------------------------------------------------------------- */

static eg_err hold_key(struct shard_lock *l, struct lock_owner *o, const struct lock_want *want) {
    struct lock_held **chain = held_chain(l, want->hash);
    struct lock_held *h = *chain;

    while (h != NULL && (h->hash != want->hash || h->owner != o))
        h = h->next;
    if (h == NULL) {
        if (l->lock_count >= SHARD_LOCKS_MAX)
            return EG_BUSY;
        h = alloc_get(l->alloc, sizeof *h);
        if (h == NULL)
            return EG_MEMORY;
        *h = (struct lock_held){
            .hash = want->hash, .owner = o, .next_of_owner = o->held, .next = *chain, .at = chain};
        if (*chain != NULL)
            (*chain)->at = &h->next;
        *chain = h;
        o->held = h;
        o->shared++;
        l->lock_count++;
    }
    if (want->exclusive && !h->exclusive) {
        h->exclusive = true;
        o->shared--;
        o->exclusive++;
        count_bit(l, want->hash, true);
    }
    return EG_OK;
}

static void set_whole(struct shard_lock *l) {
    for (const struct list_node *n = l->owners.next; n != &l->owners; n = n->next)
        if (EG_CONTAINER_OF(n, struct lock_owner, node)->whole_exclusive)
            l->bits = UINT64_MAX;
}

static void let_go_of(struct shard_lock *l, struct lock_owner *o, const struct lock_held *until) {
    while (o->held != until) {
        struct lock_held *h = o->held;

        if (h->exclusive)
            count_bit(l, h->hash, false);
        o->shared -= !h->exclusive;
        o->exclusive -= h->exclusive;
        *h->at = h->next;
        if (h->next != NULL)
            h->next->at = h->at;
        o->held = h->next_of_owner;
        l->lock_count--;
        alloc_put(l->alloc, h, sizeof *h);
    }
}

eg_err shard_lock_take(struct shard_lock *l, const struct lock_request *q) {
    struct lock_owner *o = shard_lock_owner(l, q->id);
    bool fresh = o == NULL;
    const struct lock_held *before;
    eg_err err = EG_OK;

    if (fresh)
        o = owner_new(l, q);
    if (o == NULL)
        return EG_MEMORY;
    before = o->held;
    for (uint32_t i = 0; i < q->count && err == EG_OK; i++)
        if (!q->want[i].whole)
            err = hold_key(l, o, &q->want[i]);
    if (err != EG_OK) { /* a shared one that became exclusive stays so: it is no less than it had */
        let_go_of(l, o, before);
        if (fresh)
            shard_lock_release(l, o);
        return err;
    }
    for (uint32_t i = 0; i < q->count; i++) {
        l->whole_count += q->want[i].whole && !o->whole_shared;
        o->whole_exclusive |= q->want[i].whole && q->want[i].exclusive;
        o->whole_shared |= q->want[i].whole;
    }
    set_whole(l);
    o->deadline_ms = EG_MAX(o->deadline_ms, q->deadline_ms);
    l->moved |= l->waiter_count != 0; /* younger ones that wait for it are refused */
    return EG_OK;
}

static eg_err queue(struct shard_lock *l, const struct lock_request *q, void *waiter) {
    struct lock_waiter *x;

    if (l->waiter_count >= SHARD_LOCK_WAITERS_MAX)
        return EG_BUSY;
    x = alloc_get(l->alloc, sizeof *x + q->count * sizeof *q->want);
    if (x == NULL)
        return EG_MEMORY;
    *x = (struct lock_waiter){.id = q->id,
                              .age = q->age,
                              .deadline_ms = q->deadline_ms,
                              .waiter = waiter,
                              .plain = transact_id_is_none(q->id),
                              .passing = q->passing,
                              .count = q->count};
    if (q->count != 0)
        memcpy(x->want, q->want, q->count * sizeof *q->want);
    list_push_back(&l->waiters, &x->node);
    l->waiter_count++;
    return EG_AGAIN;
}

eg_err shard_lock_ask(struct shard_lock *l, const struct lock_request *q, void *waiter) {
    struct way w = look_at_all(l, q);

    if (l->waiter_count != 0)
        look_at_waiters(l, q, &w);
    if (!w.blocked)
        return transact_id_is_none(q->id) || q->passing ? EG_OK : shard_lock_take(l, q);
    if (!transact_id_is_none(q->id) && w.older)
        return EG_CONFLICT;
    return queue(l, q, waiter);
}

bool shard_lock_is_free(const struct shard_lock *l, const struct lock_want *want) {
    return !look_at_all(l, &(struct lock_request){.want = want, .count = 1}).blocked;
}

bool shard_lock_has(const struct shard_lock *l, const struct lock_owner *o,
                    const struct lock_want *want) {
    for (const struct lock_held *h = *held_chain(l, want->hash); h != NULL; h = h->next)
        if (h->hash == want->hash && h->owner == o)
            return h->exclusive || !want->exclusive;
    return false;
}

/* ---- letting go ------------------------------------------------------------------------------ */

void shard_lock_release(struct shard_lock *l, struct lock_owner *o) {
    struct lock_owner **at = owner_chain(l, o->id);
    bool whole = o->whole_exclusive;

    l->whole_count -= o->whole_shared;

    let_go_of(l, o, NULL);
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    list_remove(&o->node);
    l->owner_count--;
    alloc_put(l->alloc, o, sizeof *o);
    if (whole) {
        l->bits = 0;
        for (unsigned bit = 0; bit < 64; bit++)
            l->bits |= (uint64_t) (l->exclusive[bit] != 0) << bit;
        set_whole(l);
    }
    l->moved = true;
}

void shard_lock_give_up(struct shard_lock *l, struct transact_id id) {
    for (struct list_node *n = l->waiters.next; n != &l->waiters; n = n->next) {
        struct lock_waiter *x = EG_CONTAINER_OF(n, struct lock_waiter, node);

        if (!x->plain && transact_id_equal(x->id, id))
            x->over = l->moved = true;
    }
}

static void *leave(struct shard_lock *l, struct lock_waiter *x) {
    void *waiter = x->waiter;

    list_remove(&x->node);
    l->waiter_count--;
    alloc_put(l->alloc, x, sizeof *x + x->count * sizeof *x->want);
    return waiter;
}

/* EG_AGAIN: it goes on waiting. */
static eg_err judge(struct shard_lock *l, const struct lock_waiter *x, uint64_t now_ms) {
    struct lock_request q = {.id = x->id,
                             .age = x->age,
                             .deadline_ms = x->deadline_ms,
                             .want = x->want,
                             .count = x->count};
    struct way w = look_at_all(l, &q);

    if (x->over)
        return EG_TIMEOUT;
    if (!w.blocked)
        return x->plain || x->passing ? EG_OK : shard_lock_take(l, &q);
    if (!x->plain && w.older)
        return EG_CONFLICT;
    return now_ms >= x->deadline_ms && x->deadline_ms != 0 ? EG_TIMEOUT : EG_AGAIN;
}

void *shard_lock_next(struct shard_lock *l, uint64_t now_ms, eg_err *err) {
    if (!l->moved && now_ms == 0)
        return NULL;
    for (struct list_node *n = l->waiters.next; n != &l->waiters; n = n->next) {
        struct lock_waiter *x = EG_CONTAINER_OF(n, struct lock_waiter, node);

        *err = judge(l, x, now_ms);
        if (*err != EG_AGAIN)
            return leave(l, x);
    }
    l->moved = false;
    return NULL;
}

/* ---- check ----------------------------------------------------------------------------------- */

static void check_owner(const struct shard_lock *l, const struct lock_owner *o,
                        uint32_t exclusive[64]) {
    uint32_t shared = 0, alone = 0;

    for (const struct lock_held *h = o->held; h != NULL; h = h->next_of_owner) {
        shared += !h->exclusive;
        alone += h->exclusive;
        exclusive[bit_of(h->hash)] += h->exclusive;
        for (const struct lock_held *other = *held_chain(l, h->hash); other != NULL;
             other = other->next)
            if (other->hash == h->hash && other->owner != o)
                EG_ASSERT(!other->exclusive && !h->exclusive);
    }
    EG_ASSERT(shared == o->shared);
    EG_ASSERT(alone == o->exclusive);
    for (const struct list_node *n = l->owners.next; n != &l->owners; n = n->next) {
        const struct lock_owner *other = EG_CONTAINER_OF(n, struct lock_owner, node);

        if (other == o)
            continue;
        EG_ASSERT(!o->whole_exclusive ||
                  (other->shared == 0 && other->exclusive == 0 && !other->whole_shared));
        EG_ASSERT(!o->whole_shared || other->exclusive == 0);
    }
}

void shard_lock_check(const struct shard_lock *l) {
    uint32_t exclusive[64] = {0}, owners = 0;

    for (const struct list_node *n = l->owners.next; n != &l->owners; n = n->next, owners++)
        check_owner(l, EG_CONTAINER_OF(n, struct lock_owner, node), exclusive);
    EG_ASSERT(owners == l->owner_count);
    EG_ASSERT(memcmp(exclusive, l->exclusive, sizeof exclusive) == 0);
    if (l->moved)
        return;
    for (const struct list_node *n = l->waiters.next; n != &l->waiters; n = n->next) {
        const struct lock_waiter *x = EG_CONTAINER_OF(n, struct lock_waiter, node);
        struct way w = look_at_all(
            l,
            &(struct lock_request){.id = x->id, .age = x->age, .want = x->want, .count = x->count});

        EG_ASSERT(x->plain || (w.blocked && !w.older));
    }
}
