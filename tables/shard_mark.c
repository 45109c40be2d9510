/* shard_mark.c -- parts of transactions, told to copies. */
#include "tables/shard_mark.h"

#include "engine/planted.h"
#include "tables/shard_copy.h"
#include "tables/shard_tx.h"
#include "tables/table_private.h"
#include "tables/value_append.h"

#include <string.h>

enum { KIND_PREPARED = 3, KIND_ENDED = 4, PREPARED_FIELDS = 5, ENDED_FIELDS = 4 };

enum { CHAINS = 256, NOBODY = 0xffff };

_Static_assert((int) SHARD_MARKS_ENDED_MAX < (int) NOBODY,
               "a place in the ring is told by 16 bits");

struct ended {
    struct transact_id id;
    bool committed;
    uint16_t next; /* in its chain: an older one */
};

/* Of a copy. */
struct shard_marks {
    struct ended ended[SHARD_MARKS_ENDED_MAX]; /* a ring: the last of them */
    uint32_t ended_count, ended_next;
    uint16_t chain[CHAINS]; /* by id, newest first */
    bool settling;          /* it follows anew                         */
    struct buffer told;     /* struct transact_id: heard since it does */
};

/* NULL: no memory, or no copies. */
static struct shard_marks *marks_of(struct shard *s) {
    struct alloc *a = s->table->world->o.alloc;

    if (s->copy == NULL)
        return NULL;
    if (s->copy->marks == NULL) {
        s->copy->marks = alloc_zero(a, sizeof *s->copy->marks);
        if (s->copy->marks != NULL) {
            buffer_init(&s->copy->marks->told, a, SIZE_MAX);
            memset(s->copy->marks->chain, 0xff, sizeof s->copy->marks->chain);
        }
    }
    return s->copy->marks;
}

static uint16_t *chain_of(struct shard_marks *m, struct transact_id id) {
    return &m->chain[(id.high ^ id.low) % CHAINS];
}

void shard_mark_close(struct shard *s) {
    if (s->copy->marks == NULL)
        return;
    buffer_fini(&s->copy->marks->told);
    alloc_put(s->table->world->o.alloc, s->copy->marks, sizeof *s->copy->marks);
    s->copy->marks = NULL;
}

/* ---- told ------------------------------------------------------------------------------------ */

/* By which change; of a walk it is told whatever the clock says: origin and sequence 0. */
struct prepared {
    uint64_t origin, sequence;
    struct value head, part;
};

static void put_prepared(struct value_writer *w, const void *what) {
    const struct prepared *p = what;

    value_put_array(w, PREPARED_FIELDS);
    value_put_u64(w, KIND_PREPARED);
    value_put_u64(w, p->origin);
    value_put_u64(w, p->sequence);
    value_put_raw(w, p->head);
    value_put_raw(w, p->part);
}

static void put_ended(struct value_writer *w, const void *what) {
    const struct ended *e = what;

    value_put_array(w, ENDED_FIELDS);
    value_put_u64(w, KIND_ENDED);
    value_put_u64(w, e->id.high);
    value_put_u64(w, e->id.low);
    value_put_bool(w, e->committed);
}

/* In the turn's group, where somebody follows; what does not fit is lost, and they begin anew. */
static void note(struct shard *s, void (*put)(struct value_writer *w, const void *what),
                 const void *what) {
    struct shard_copy *c = s->copy;

    if (c == NULL)
        return;
    c->news = true; /* whoever keeps the copies looks after what is prepared */
    if (!c->telling || c->lost)
        return;
    if (value_append(&c->group, put, what) == EG_OK)
        c->group_count++;
    else
        c->lost = true;
}

void shard_mark_prepared(struct shard *s, struct value head, struct value part) {
    const struct origins *o = s->table->world->origins;
    struct prepared p = {.head = head, .part = part};

    if (s->copy == NULL)
        return;
    s->sequence += !PLANTED(VOTE_BEFORE_COPIES); /* what waits for copies waits for this */
    p.origin = origin_of(o, o->own);
    p.sequence = dot_sequence(s->sequence);
    if (!PLANTED(MARK_NOT_TOLD))
        note(s, put_prepared, &p);
}

/* It is the oldest of all, and so the last of its chain. */
static void leave_chain(struct shard_marks *m, uint16_t place) {
    uint16_t *at = chain_of(m, m->ended[place].id);

    while (*at != place)
        at = &m->ended[*at].next;
    *at = NOBODY;
}

static void remember(struct shard *s, const struct ended *e) {
    struct shard_marks *m = marks_of(s);
    uint16_t place, *chain;

    if (m == NULL)
        return;
    place = (uint16_t) (m->ended_next++ % SHARD_MARKS_ENDED_MAX);
    if (m->ended_count == SHARD_MARKS_ENDED_MAX)
        leave_chain(m, place);
    else
        m->ended_count++;
    chain = chain_of(m, e->id);
    m->ended[place] = *e;
    m->ended[place].next = *chain;
    *chain = place;
}

void shard_mark_ended(struct shard *s, struct transact_id id, bool committed) {
    const struct ended e = {.id = id, .committed = committed};

    remember(s, &e);
    note(s, put_ended, &e);
}

/* ---- heard ----------------------------------------------------------------------------------- */

bool shard_mark_is_next(struct value_iter changes) {
    struct value_iter it;
    uint64_t kind;

    return changes.left != 0 && value_iter_enter(&changes, &it) && it.left != 0 &&
           value_iter_u64(&it, &kind) && (kind == KIND_PREPARED || kind == KIND_ENDED);
}

static struct ended *find_ended(const struct shard *s, struct transact_id id) {
    struct shard_marks *m = s->copy->marks;

    if (m == NULL)
        return NULL;
    for (uint16_t i = *chain_of(m, id); i != NOBODY; i = m->ended[i].next)
        if (transact_id_equal(m->ended[i].id, id))
            return &m->ended[i];
    return NULL;
}

/* Have we heard of it before, and perhaps of its end? */
static eg_err is_known(struct shard *s, const struct prepared *p, bool *known) {
    uint16_t slot;
    eg_err err;

    *known = false;
    if (p->sequence == 0)
        return EG_OK;
    if (p->sequence > DOT_SEQUENCE_MAX)
        return EG_BAD_REQUEST;
    err = origins_slot(s->table->world->origins, p->origin, &slot);
    if (err == EG_OK)
        *known = shard_clock_covers(&s->copy->clock, dot_make(slot, p->sequence));
    return err;
}

static eg_err apply_prepared(struct shard *s, struct reader *r, struct value_iter *it) {
    struct prepared p;
    struct transact_head h;
    struct err_note note_of = {""};
    bool known;
    eg_err err;

    if (!value_iter_u64(it, &p.origin) || !value_iter_u64(it, &p.sequence) ||
        !value_iter_next(it, &p.head) || !value_iter_next(it, &p.part) ||
        !transact_get_head(p.head, &h))
        return EG_BAD_REQUEST;
    err = is_known(s, &p, &known);
    if (err != EG_OK || known || find_ended(s, h.id) != NULL)
        return err;
    err = transact_check_part(s->table, s->number, p.part, &note_of);
    if (err == EG_OK)
        err = shard_tx_mark(s, r, p.head, p.part);
    if (err != EG_OK)
        return err;
    if (s->copy->marks != NULL && s->copy->marks->settling &&
        !buffer_append(&s->copy->marks->told, &h.id, sizeof h.id))
        return EG_MEMORY;
    if (s->copy->telling) /* whoever follows us is to know it too */
        shard_mark_prepared(s, p.head, p.part);
    return EG_OK;
}

static eg_err apply_ended(struct shard *s, struct value_iter *it) {
    struct ended e, *known;
    struct value committed;

    if (!value_iter_u64(it, &e.id.high) || !value_iter_u64(it, &e.id.low) ||
        !value_iter_next(it, &committed))
        return EG_BAD_REQUEST;
    e.committed = value_kind_of(committed) == VALUE_TRUE;
    known = find_ended(s, e.id);
    if (known == NULL)
        remember(s, &e);
    else if (table_schema(s->table)->majority) /* what a majority has given up nobody has made */
        e.committed = known->committed = known->committed && e.committed;
    shard_tx_unmark(s, e.id, e.committed ? OUTCOME_COMMITTED : OUTCOME_ABORTED);
    note(s, put_ended, &e);
    return EG_OK;
}

eg_err shard_mark_apply(struct shard *s, struct reader *r, struct value_iter *changes) {
    struct value_iter it;
    uint64_t kind;
    eg_err err;

    if (!value_iter_enter(changes, &it) || !value_iter_u64(&it, &kind))
        return EG_BAD_REQUEST;
    err = kind == KIND_PREPARED ? apply_prepared(s, r, &it) : apply_ended(s, &it);
    if (err == EG_OK)
        value_iter_leave(changes, &it);
    return err;
}

/* ---- who follows anew ------------------------------------------------------------------------ */

struct putting {
    struct buffer *out;
    uint32_t count;
    eg_err err;
};

static bool put_one(void *context, struct value head, struct value part) {
    struct putting *p = context;
    const struct prepared one = {.head = head, .part = part};

    p->err = value_append(p->out, put_prepared, &one);
    p->count += p->err == EG_OK;
    return p->err == EG_OK;
}

eg_err shard_mark_put_all(struct shard *s, struct buffer *out, uint32_t *count) {
    const struct shard_marks *m = s->copy->marks;
    struct putting p = {.out = out, .err = EG_OK};

    for (uint32_t i = 0; m != NULL && i < m->ended_count && p.err == EG_OK; i++) {
        p.err = value_append(out, put_ended, &m->ended[i]);
        p.count += p.err == EG_OK;
    }
    if (p.err == EG_OK && s->tx != NULL)
        shard_tx_each(s, put_one, &p);
    *count = p.count;
    return p.err;
}

void shard_mark_begin(struct shard *s) {
    struct shard_marks *m = s->tx == NULL ? s->copy->marks : marks_of(s);

    if (m == NULL)
        return;
    m->settling = true;
    buffer_clear(&m->told);
}

static bool was_told(const struct shard_marks *m, struct transact_id id) {
    const struct transact_id *told = (const struct transact_id *) (const void *) m->told.at;

    for (size_t i = 0; i < m->told.size_bytes / sizeof *told; i++)
        if (transact_id_equal(told[i], id))
            return true;
    return false;
}

struct leftover {
    const struct shard_marks *marks;
    struct transact_id id;
    bool found;
};

static bool find_leftover(void *context, struct value head, struct value part) {
    struct leftover *l = context;
    struct transact_head h;

    (void) part;
    l->found = transact_get_head(head, &h) && !was_told(l->marks, h.id);
    l->id = h.id;
    return !l->found;
}

void shard_mark_settle(struct shard *s) {
    struct shard_marks *m = s->copy->marks;
    struct leftover l = {.marks = m};

    if (m == NULL || !m->settling)
        return;
    m->settling = false;
    while (s->tx != NULL) {
        l.found = false;
        shard_tx_each(s, find_leftover, &l);
        if (!l.found)
            break;
        shard_tx_unmark(s, l.id, OUTCOME_UNKNOWN);
    }
    buffer_fini(&m->told);
    buffer_init(&m->told, s->table->world->o.alloc, SIZE_MAX);
}
