/* transact_try.c -- a transaction whose shards are all idle here: they are claimed, and it is
 * validated and carried out while nobody else changes any of them.
 *
 * Nobody waits for anybody while he holds a shard, but for a few looks, so no circle can close: who
 * does not get all gives all back. */
#include "engine/env.h"
#include "engine/runtime.h"
#include "tables/reshape.h"
#include "tables/shard_edit.h"
#include "tables/shard_tx.h"
#include "tables/shard_unique.h"
#include "tables/shard_watch.h"
#include "tables/table_private.h"
#include "tables/transact_private.h"

#include <string.h>

enum {
    PATIENCE_HOLDING = 32, /* looks at another shard while others wait for the first */
};

/* A shard of the transaction. */
struct held {
    struct shard *shard;
    struct actor *owner; /* NULL: not claimed yet */
    size_t noted;        /* what its watchers would be told before it began */
    bool changes;        /* a want is for it */
    bool ready;
};

struct try {
    const struct transact *x;
    struct reader *reader;
    struct err_note *note;
    uint64_t now_ms;
    uint32_t count;    /* of shards              */
    uint32_t changing; /* those that are changed */
    bool ascends;      /* they are sorted        */
    bool gated;        /* it holds all of `gates` */
    struct unique_set gates;
    struct shard_undo undo;
    struct held held[TRANSACT_HERE_MAX];
};

/* ---- which shards -------------------------------------------------------------------------- */

static struct held *find(struct try *y, const struct shard *s) {
    if (y->ascends && (y->count == 0 || y->held[y->count - 1].shard < s))
        return NULL; /* a question's shards come one after the other */
    for (uint32_t i = 0; i < y->count; i++)
        if (y->held[i].shard == s)
            return &y->held[i];
    return NULL;
}

static eg_err add(struct try *y, struct table *t, uint32_t shard, bool changes) {
    struct shard *s = &t->shard[shard];
    struct held *h = find(y, s);

#ifdef EG_PLANT_READS_NOT_CLAIMED /* a defect for the stress test to find */
    if (!changes)
        return EG_OK;
#endif
    if (h == NULL) {
        if (EG_UNLIKELY(atomic_load_explicit(&t->successor, memory_order_acquire) != NULL))
            return err_note(y->note, EG_CONFLICT, "a table was given another shape meanwhile");
        if (EG_UNLIKELY(table_dropped(t)))
            return err_note(y->note, EG_NO_TABLE, "a table was dropped meanwhile");
        if (y->count == TRANSACT_HERE_MAX)
            return EG_AGAIN;
        y->ascends &= y->count == 0 || y->held[y->count - 1].shard < s;
        h = &y->held[y->count++];
        *h = (struct held){.shard = s};
        shard_expect(s);
    }
    if (changes && !h->changes) {
        h->changes = true;
        y->changing++;
        if (s->log.sync) /* the answer waits for the disc: that is the shard's own */
            return EG_AGAIN;
        if (EG_UNLIKELY(t->storage == STORAGE_DISC_ONLY) && y->x->want_count > 1)
            return EG_AGAIN; /* transact_is_singly() */
    }
    return EG_OK;
}

static eg_err add_all(struct try *y) {
    const struct transact *x = y->x;
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < x->question_count && err == EG_OK; i++)
        err = add(y, x->question[i].table, x->question[i].shard, false);
    for (uint32_t i = 0; i < x->seen_count && err == EG_OK; i++)
        err = add(y, x->seen[i].table, x->seen[i].shard, false);
    for (uint32_t i = 0; i < x->want_count && err == EG_OK; i++)
        err = add(y, x->want[i].table, x->want[i].shard, true);
    return err;
}

static void release_all(struct try *y) {
    for (uint32_t i = 0; i < y->count && y->held[i].owner != NULL; i++) {
        if (y->held[i].ready)
            shard_turn_end(y->held[i].shard);
        if (EG_UNLIKELY(y->gated) && y->held[i].changes)
            shard_unique_hold(y->held[i].shard, &y->gates);
        actor_release(y->held[i].owner);
    }
    if (EG_UNLIKELY(y->gated))
        unique_leave(&y->held[0].shard->table->world->gates, &y->gates);
}

/* By address, so that of two that want the same ones neither waits for what the other has. */
static void sort(struct try *y) {
    if (y->ascends)
        return;
    for (uint32_t i = 1; i < y->count; i++) {
        struct held moved = y->held[i];
        uint32_t to = i;

        for (; to > 0 && y->held[to - 1].shard > moved.shard; to--)
            y->held[to] = y->held[to - 1];
        y->held[to] = moved;
    }
}

/* Now, or in a moment. */
static bool may_be_claimed(const struct shard *s) {
    return EG_LIKELY(table_is_ours(s, false)) || (role_of(s) == SHARD_ALONE && shard_tx_passes(s));
}

static eg_err claim_all(struct try *y) {
    uint32_t patience = EG_MAX(y->x->patience, 1u);

    for (uint32_t i = 0; i < y->count; i++) {
        struct held *h = &y->held[i];

        if (!may_be_claimed(h->shard))
            return EG_AGAIN;
        h->owner = table_claim(h->shard, patience);
        if (h->owner == NULL || !table_is_ours(h->shard, false) || reshape_holds(h->shard))
            return EG_AGAIN;
        patience = EG_MIN(patience, (uint32_t) PATIENCE_HOLDING);
    }
    return EG_OK;
}

static bool is_singly(const struct table *t, uint32_t shard) {
    return t->storage == STORAGE_DISC_ONLY ||
           (table_schema(t)->majority && role_of(&t->shard[shard]) != SHARD_ALONE);
}

bool transact_is_singly(const struct transact *x) {
    for (uint32_t i = 0; x->want_count > 1 && i < x->want_count; i++)
        if (is_singly(x->want[i].table, x->want[i].shard))
            return true;
    return false;
}

static bool is_here(const struct table *t, uint32_t shard, bool changes) {
    const struct shard *s = &t->shard[shard];

    return may_be_claimed(s) && !(changes && s->log.sync);
}

bool transact_is_here(const struct transact *x) {
    bool here = !transact_is_singly(x);

    for (uint32_t i = 0; i < x->seen_count && here; i++)
        here = is_here(x->seen[i].table, x->seen[i].shard, false);
    for (uint32_t i = 0; i < x->question_count && here; i++)
        here = is_here(x->question[i].table, x->question[i].shard, false);
    for (uint32_t i = 0; i < x->want_count && here; i++)
        here = is_here(x->want[i].table, x->want[i].shard, true);
    return here;
}

/* ---- validating ---------------------------------------------------------------------------- */

static eg_err all_stands(const struct try *y) {
    const struct transact *x = y->x;
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < x->seen_count && err == EG_OK; i++) {
        const struct transact_seen *seen = &x->seen[i];
        struct key k;

        key_of_canonical(&k, seen->key, seen->hash);
        err = transact_version_stands(&seen->table->shard[seen->shard], y->reader, &k,
                                      seen->version, y->now_ms);
    }
    for (uint32_t i = 0; i < x->question_count && err == EG_OK; i++) {
        const struct transact_question *q = &x->question[i];

        err = transact_question_stands(&q->table->shard[q->shard], y->reader, q->changes, q->digest,
                                       q->path);
    }
    return err;
}

/* ---- changing ------------------------------------------------------------------------------ */

/* Two shards that change values of unique indexes enter all gates before: what a want will put
 * there is known only when it is carried out. */
static eg_err enter_gates(struct try *y) {
    struct world *w = y->held[0].shard->table->world;
    bool unique = false;

    for (uint32_t i = 0; i < y->count; i++) {
        struct shard *s = y->held[i].shard;

        if (!y->held[i].changes || !shard_has_unique(s))
            continue;
        unique = true;
        if (!shard_log_is_written(&s->log))
            return EG_AGAIN;
    }
    if (EG_LIKELY(!unique) || y->changing < 2)
        return EG_OK;
    memset(&y->gates, 0xff, sizeof y->gates);
    y->gated = unique_enter(&w->gates, &y->gates, NULL, UNIQUE_PATIENCE);
    return y->gated ? EG_OK : EG_AGAIN;
}

/* Several shards on disc are written in one piece, which nothing may be before. */
static uint32_t shards_on_disc(const struct try *y, bool *written) {
    uint32_t count = 0;

    *written = true;
    for (uint32_t i = 0; i < y->count; i++) {
        const struct held *h = &y->held[i];

        if (!h->changes || h->shard->table->storage != STORAGE_DISC)
            continue;
        count++;
        *written &= shard_log_is_written(&h->shard->log);
    }
    return count;
}

static eg_err write_together(struct try *y) {
    struct world *w = y->held[0].shard->table->world;
    struct disc_batch all;
    eg_err err = EG_OK;

    disc_batch_init(&all, w->o.alloc);
    for (uint32_t i = 0; i < y->count && err == EG_OK; i++) {
        struct shard *s = y->held[i].shard;
        uint8_t clock[SHARD_CLOCK_BYTES];

        if (y->held[i].changes)
            err = shard_log_lend(&s->log, shard_clock_pack(s, clock), &all);
    }
    if (err == EG_OK && all.count != 0)
        err = disc_write(w->o.disc, &all);
    for (uint32_t i = 0; i < y->count && err == EG_OK; i++)
        if (y->held[i].changes)
            shard_log_lent(&y->held[i].shard->log);
    disc_batch_fini(&all);
    return err;
}

static eg_err carry_out(struct try *y, const struct transact_want *want, struct buffer *results) {
    struct shard *s = &want->table->shard[want->shard];
    struct held *h = find(y, s);
    struct shard_turn turn = {.shard = s,
                              .reader = y->reader,
                              .request = &want->request,
                              .result = results,
                              .note = y->note,
                              .now_ms = y->now_ms,
                              .direct = true,
                              .gated = y->gated,
                              .undo = y->x->want_count == 1 && !s->store->bag ? NULL : &y->undo};
    struct key k;
    eg_err err = table_check(want->table, &want->request, y->note);

    if (err == EG_OK && !h->ready) {
        err = shard_ready(&turn);
        h->noted = shard_watch_mark(s);
        h->ready = true;
    }
    key_of_canonical(&k, want->key, want->hash);
    return err == EG_OK ? shard_tx_want_of(&turn, &want->request, &k) : err;
}

static void take_back(struct try *y) {
    shard_edit_undo(y->reader, y->undo.change, y->undo.count, y->now_ms);
    for (uint32_t i = 0; i < y->count; i++) {
        struct shard *s = y->held[i].shard;

        if (s->noted)
            shard_watch_take_back(s, y->held[i].noted, shard_watch_mark(s));
    }
}

static void hold_all(struct try *y, void (*hold)(struct shard *s)) {
    for (uint32_t i = 0; i < y->count; i++)
        if (y->held[i].changes)
            hold(y->held[i].shard);
}

static eg_err change_all(struct try *y, struct buffer *results) {
    const struct transact *x = y->x;
    bool written;
    bool together = EG_UNLIKELY(shards_on_disc(y, &written) > 1);
    size_t before_bytes = results->size_bytes;
    eg_err err = together && !written ? EG_AGAIN : enter_gates(y);

    if (err != EG_OK)
        return err;
    if (x->want_count > 1)
        hold_all(y, shard_tx_begin);
    for (uint32_t i = 0; i < x->want_count && err == EG_OK; i++) {
        if (results->alloc == NULL)
            buffer_clear(results); /* nobody wants them */
        if (buffer_room(results, SHARD_RESULT_SMALL_BYTES) == NULL)
            err = EG_MEMORY;
        else
            err = carry_out(y, &x->want[i], results);
    }
    if (err == EG_OK && together)
        err = write_together(y);
    if (err != EG_OK) {
        take_back(y);
        results->size_bytes = before_bytes;
    }
    if (x->want_count > 1)
        hold_all(y, shard_tx_end);
    return err;
}

eg_err transact_try(struct reader *r, const struct transact *x, struct buffer *results,
                    struct err_note *note) {
    uint8_t room[SHARD_RESULT_SMALL_BYTES];
    struct buffer unwanted = {.at = room, .room_bytes = sizeof room, .bound_bytes = sizeof room};
    struct try y;
    eg_err err;

    y.x = x;
    y.reader = r;
    y.note = note;
    y.count = y.changing = 0;
    y.ascends = true;
    y.gated = false;
    shard_undo_init(&y.undo, r);
    err = add_all(&y);
    if (err != EG_OK || y.count == 0)
        return err;
    sort(&y);
    err = claim_all(&y);
    y.now_ms = (uint64_t) env_wall_ms(y.held[0].shard->table->world->o.env);
    if (err == EG_OK)
        err = all_stands(&y);
    if (err == EG_OK && y.changing != 0)
        err = change_all(&y, results != NULL ? results : &unwanted);
    release_all(&y);
    return err;
}
