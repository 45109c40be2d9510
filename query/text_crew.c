/* text_crew.c -- who takes which shard, and whose counts are joined. */
#include "query/text_crew.h"

#include "query/text_partial.h"

#include <stdatomic.h>
#include <string.h>

enum hand_state { HAND_CALLED, HAND_WORKING, HAND_AWAITED, HAND_DONE, HAND_JOINED };

struct hand {
    _Atomic uint32_t state;
    /* The asker's until AWAITED. */
    eg_pid asker;
    eg_ref ref;
    /* The hand's until DONE. */
    struct text_run *run;
    eg_err err;
    struct err_note note;
};

struct text_crew {
    struct alloc *alloc;
    _Atomic uint32_t refs;
    _Atomic uint32_t taken; /* shards; past the table's when there is none left */
    _Atomic bool dismissed;
    uint32_t shards;
    uint64_t table, shape; /* the asker's: see struct text_source */
    struct value question;
    uint32_t hand_count;
    struct hand hand[];
};

/* ---- open and close ------------------------------------------------------------------ */

uint32_t text_crew_useful(const struct text_plan *p) {
    const struct text_source *s = &p->source[0];
    uint64_t most;

    if (!p->grouped || p->group_count > 0 || p->source_count != 1 || p->dirty || s->far != NULL)
        return 0;
    if (s->path.kind != SCAN_ALL || s->path.only != NULL || p->said.size_bytes == 0)
        return 0;
    if (p->value_count == 0 && !p->filtered) /* the table knows */
        return 0;
    /* In the order of keys its shards are one row; and who reads from disc waits for the disc. */
    if (table_type(s->table) == TABLE_ORDERED_SET ||
        table_schema(s->table)->storage == STORAGE_DISC_ONLY)
        return 0;
    most = EG_MIN(s->path.rows / TEXT_CREW_ROWS, (uint64_t) TEXT_CREW_HANDS_MAX);
    return EG_MIN((uint32_t) most, table_shards(s->table) - 1);
}

static size_t crew_bytes(uint32_t hands, uint32_t question_bytes) {
    return sizeof(struct text_crew) + hands * sizeof(struct hand) + question_bytes;
}

eg_err text_crew_open(struct text_crew **out, const struct text_plan *p, uint32_t hands) {
    const struct text_source *s = &p->source[0];
    struct text_crew *c = alloc_zero(p->alloc, crew_bytes(hands, p->said.size_bytes));

    if (c == NULL)
        return EG_MEMORY;
    c->alloc = p->alloc;
    c->refs = 1;
    c->shards = table_shards(s->table);
    c->table = s->id;
    c->shape = s->shape;
    c->hand_count = hands;
    c->question = (struct value){(uint8_t *) &c->hand[hands], p->said.size_bytes};
    memcpy(&c->hand[hands], p->said.at, p->said.size_bytes);
    *out = c;
    return EG_OK;
}

void text_crew_ref(struct text_crew *c) {
    atomic_fetch_add(&c->refs, 1);
}

void text_crew_unref(struct text_crew *c) {
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    for (uint32_t i = 0; i < c->hand_count; i++)
        if (c->hand[i].run != NULL)
            text_run_close(c->hand[i].run);
    alloc_put(c->alloc, c, crew_bytes(c->hand_count, c->question.size_bytes));
}

void text_crew_dismiss(struct text_crew *c) {
    atomic_store(&c->dismissed, true);
    text_crew_unref(c);
}

bool text_crew_dismissed(struct text_crew *c) {
    return atomic_load(&c->dismissed);
}

uint32_t text_crew_hands(const struct text_crew *c) {
    return c->hand_count;
}

bool text_crew_take(struct text_crew *c, uint32_t *shard) {
    if (atomic_load(&c->taken) >= c->shards) /* so that it is not counted up for ever */
        return false;
    *shard = atomic_fetch_add(&c->taken, 1);
    return *shard < c->shards;
}

/* ---- hands ------------------------------------------------------------------------- */

static bool pass(struct hand *h, uint32_t from, uint32_t to) {
    return atomic_compare_exchange_strong(&h->state, &from, to);
}

static eg_err open_run(struct text_crew *c, struct catalog *catalog, struct reader *reader,
                       struct text_run **out) {
    const struct text_world world = {.alloc = c->alloc, .catalog = catalog, .reader = reader};
    struct err_note note = {""}; /* the asker's plan was made of the same words */
    struct text_plan *p;
    eg_err err = text_partial_plan(&p, &world, c->question, &note);

    if (err != EG_OK)
        return err;
    if (p->source[0].id != c->table || p->source[0].shape != c->shape ||
        p->source[0].path.kind != SCAN_ALL)
        err = EG_ABORTED; /* the asker sees for itself what has changed */
    if (err == EG_OK)
        err = text_run_open_here(out, p);
    if (err != EG_OK) {
        text_plan_close(p);
        return err;
    }
    text_run_share(*out, c);
    return EG_OK;
}

eg_err text_crew_begin(struct text_crew *c, uint32_t hand, struct catalog *catalog,
                       struct reader *reader, struct text_run **out) {
    return pass(&c->hand[hand], HAND_CALLED, HAND_WORKING) ? open_run(c, catalog, reader, out)
                                                           : EG_CLOSED;
}

bool text_crew_done(struct text_crew *c, uint32_t hand, struct text_run *run, eg_err err,
                    const struct err_note *note, eg_pid *asker, eg_ref *ref) {
    struct hand *h = &c->hand[hand];
    uint32_t state = atomic_load(&h->state);

    if (state == HAND_CALLED || state == HAND_JOINED) /* it has not begun */
        return false;
    h->run = run;
    h->err = err;
    h->note = *note;
    if (pass(h, HAND_WORKING, HAND_DONE))
        return false;
    *asker = h->asker;
    *ref = h->ref;
    EG_ASSERT(pass(h, HAND_AWAITED, HAND_DONE));
    return true;
}

void text_crew_send_home(struct text_crew *c, uint32_t hand) {
    atomic_store(&c->hand[hand].state, HAND_JOINED);
}

bool text_crew_await(struct text_crew *c, uint32_t hand, eg_pid asker, eg_ref ref) {
    struct hand *h = &c->hand[hand];

    if (atomic_load(&h->state) != HAND_WORKING)
        return false;
    h->asker = asker;
    h->ref = ref;
    return pass(h, HAND_WORKING, HAND_AWAITED);
}

static eg_err join_one(struct hand *h, struct text_run *r) {
    eg_err err = h->err;

    if (err != EG_OK)
        r->why = h->note;
    else if (h->run != NULL)
        err = text_run_join(r, h->run);
    if (h->run != NULL)
        text_run_close(h->run);
    h->run = NULL;
    atomic_store(&h->state, HAND_JOINED);
    return err;
}

eg_err text_crew_join(struct text_crew *c, struct text_run *r) {
    bool all = true;
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < c->hand_count && err == EG_OK; i++) {
        struct hand *h = &c->hand[i];

        if (!pass(h, HAND_CALLED, HAND_JOINED) && atomic_load(&h->state) == HAND_DONE)
            err = join_one(h, r);
        if (err == EG_OK && r->in_shard)
            return EG_NOT_FOUND;
        all = all && atomic_load(&h->state) == HAND_JOINED;
    }
    return err == EG_OK && !all ? EG_AGAIN : err;
}
