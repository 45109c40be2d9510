/* gather.c -- pages of several nodes as one row of records.
 *
 *     legs   one for each node that is asked, with the shards that it has
 *     left   the shards whose records have not all come; of these some are begun
 *
 * Merged, every leg has a page and the first of all their heads is given.  In a row there is one
 * leg at a time, and one shard is begun.  Abreast every node has a leg and begins a shard of its
 * own; who has a begun shard by then goes on with it in a leg of its own, behind the place that
 * was reached.  A leg of this node is served in place. */
#include "query/gather.h"

#include "engine/err.h"
#include "tables/far.h"

#include <string.h>

enum {
    LEGS_MAX = 64, /* one more node's shards wait for the next round */
    ANSWER_BYTES_MAX = PAGE_ANSWER_BYTES_MAX + 64,
};

static const uint64_t HERE = UINT64_MAX; /* in place of a node's id */

#define NONE UINT32_MAX

struct leg {
    uint64_t node;
    struct shard_set shards;
    bool asked, ended;
    struct buffer body; /* of its page, and what of that has been given */
    size_t at, before;
    struct buffer place; /* merged: the last key that has come */
    uint32_t begun;      /* abreast: which of the gather's; NONE */
};

/* Abreast: a shard that has not all come, and where it goes on. */
struct begun {
    bool used;
    uint32_t shard;
    struct buffer place;
};

struct gather {
    struct alloc *alloc;
    enum page_kind kind;
    bool merged, reverse;
    struct buffer question, request;
    uint64_t want; /* 0: all */
    eg_err (*part)(void *user, struct value body);
    void *user;

    struct shard_set all, left;
    struct buffer place; /* in a row: where `begun` goes on; merged: the last key given */
    uint32_t begun;

    struct shard_set marked_left; /* gather_mark() */
    struct buffer marked;
    uint32_t marked_begun;

    struct begun abreast[LEGS_MAX];

    uint32_t leg_count, last; /* the leg that gave the last record */
    struct leg leg[LEGS_MAX];
    uint32_t unanswered;
    bool scattered;      /* who has what is to be looked at again */
    bool refused;        /* somebody did                          */
    bool to_wait;        /* nobody has it now: wait a moment      */
    uint64_t patient_ns; /* until then; 0: all is well                       */
    eg_err failed;
    struct err_note why;
};

static struct value bytes_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

static bool copy_to(struct buffer *b, struct value v) {
    buffer_clear(b);
    return v.size_bytes == 0 || buffer_append(b, v.at, v.size_bytes);
}

eg_err gather_open(struct gather **out, struct alloc *a, struct table *t,
                   const struct gather_opts *o) {
    struct gather *g = alloc_zero(a, sizeof *g);

    if (g == NULL)
        return EG_MEMORY;
    g->alloc = a;
    g->kind = o->kind;
    g->merged = o->merged;
    g->reverse = o->reverse;
    g->part = o->part;
    g->user = o->user;
    buffer_init(&g->question, a, SIZE_MAX);
    buffer_init(&g->request, a, SIZE_MAX);
    buffer_init(&g->place, a, PAGE_ANSWER_BYTES_MAX);
    buffer_init(&g->marked, a, PAGE_ANSWER_BYTES_MAX);
    for (uint32_t i = 0; i < LEGS_MAX; i++) {
        buffer_init(&g->leg[i].body, a, ANSWER_BYTES_MAX);
        buffer_init(&g->leg[i].place, a, PAGE_ANSWER_BYTES_MAX);
        buffer_init(&g->abreast[i].place, a, PAGE_ANSWER_BYTES_MAX);
    }
    for (uint32_t i = 0; i < table_shards(t); i++)
        shard_set_add(&g->all, i);
    g->left = g->marked_left = g->all;
    if (!copy_to(&g->question, o->question)) {
        gather_close(g);
        return EG_MEMORY;
    }
    *out = g;
    return EG_OK;
}

void gather_close(struct gather *g) {
    buffer_fini(&g->question);
    buffer_fini(&g->request);
    buffer_fini(&g->place);
    buffer_fini(&g->marked);
    for (uint32_t i = 0; i < LEGS_MAX; i++) {
        buffer_fini(&g->leg[i].body);
        buffer_fini(&g->leg[i].place);
        buffer_fini(&g->abreast[i].place);
    }
    alloc_put(g->alloc, g, sizeof *g);
}

size_t gather_bytes(const struct gather *g) {
    size_t bytes = sizeof *g + g->question.room_bytes + g->request.room_bytes +
                   g->place.room_bytes + g->marked.room_bytes;

    for (uint32_t i = 0; i < LEGS_MAX; i++)
        bytes +=
            g->leg[i].body.room_bytes + g->leg[i].place.room_bytes + g->abreast[i].place.room_bytes;
    return bytes;
}

void gather_want(struct gather *g, uint64_t most) {
    g->want = most;
}

/* Of all nodes at once: no page of the answer ends before all have come. */
static bool is_abreast(const struct gather *g) {
    return !g->merged && g->want == 0;
}

/* ---- legs -------------------------------------------------------------------------------- */

static void drop_legs(struct gather *g) {
    for (uint32_t i = 0; i < g->leg_count; i++) {
        buffer_fini(&g->leg[i].body); /* a cursor that waits holds no pages */
        buffer_clear(&g->leg[i].place);
        g->leg[i].at = g->leg[i].before = 0;
    }
    g->leg_count = 0;
    g->scattered = false;
}

static uint64_t node_of(struct table *t, uint32_t shard) {
    struct table_far *far = table_far(t);
    struct shard_set one = {{0}};

    shard_set_add(&one, shard);
    if (table_reads_set_here(t, &one))
        return HERE;
    return far == NULL ? 0 : far->node(far, t, shard);
}

static struct leg *leg_new(struct gather *g, uint64_t node) {
    struct leg *l;

    if (g->leg_count == LEGS_MAX)
        return NULL;
    l = &g->leg[g->leg_count++];
    l->node = node;
    l->shards = (struct shard_set){{0}};
    l->asked = l->ended = false;
    l->at = l->before = 0;
    l->begun = NONE;
    buffer_clear(&l->body);
    buffer_clear(&l->place);
    return l;
}

/* Of those that begin at the beginning.  Each may come to have a place of its own. */
static struct leg *leg_for(struct gather *g, uint64_t node) {
    uint32_t places = 0;

    for (uint32_t i = 0; i < g->leg_count; i++) {
        if (g->leg[i].node == node && g->leg[i].begun == NONE)
            return &g->leg[i];
        places += g->leg[i].begun == NONE;
    }
    for (uint32_t i = 0; i < LEGS_MAX; i++)
        places += g->abreast[i].used;
    return places < LEGS_MAX ? leg_new(g, node) : NULL;
}

/* All that have some of what is left.  False: somebody has to be waited for. */
static bool make_merged(struct gather *g, struct table *t) {
    for (uint32_t i = shard_set_next(&g->left, 0); i < table_shards(t);
         i = shard_set_next(&g->left, i + 1)) {
        uint64_t node = node_of(t, i);
        struct leg *l = node == 0 ? NULL : leg_for(g, node);
        if (l == NULL)
            return false;
        shard_set_add(&l->shards, i);
    }
    return true;
}

/* Whoever has the shard that was begun, or the first that is left, with what else it has. */
static bool make_in_row(struct gather *g, struct table *t) {
    bool begun = g->place.size_bytes != 0;
    uint32_t first = begun ? g->begun : shard_set_next(&g->left, 0);
    uint64_t node = node_of(t, first);

    if (node == 0)
        return false;
    for (uint32_t i = first; i < table_shards(t); i = shard_set_next(&g->left, i + 1))
        if (node_of(t, i) == node) {
            struct leg *l = leg_for(g, node);
            EG_ASSERT(l != NULL);
            shard_set_add(&l->shards, i);
        }
    return true;
}

static uint32_t begun_of(const struct gather *g, uint32_t shard) {
    for (uint32_t i = 0; i < LEGS_MAX; i++)
        if (g->abreast[i].used && g->abreast[i].shard == shard)
            return i;
    return NONE;
}

/* All that have some of what is left, as many as there is room for. */
static bool make_abreast(struct gather *g, struct table *t) {
    for (uint32_t i = shard_set_next(&g->left, 0); i < table_shards(t);
         i = shard_set_next(&g->left, i + 1)) {
        uint64_t node = node_of(t, i);
        uint32_t begun = begun_of(g, i);
        struct leg *l;

        if (node == 0)
            return false;
        l = begun == NONE ? leg_for(g, node) : leg_new(g, node);
        if (l == NULL)
            continue;
        l->begun = begun;
        shard_set_add(&l->shards, i);
    }
    return true;
}

static bool make_legs(struct gather *g, struct table *t) {
    drop_legs(g);
    if (is_abreast(g)) {
        if (make_abreast(g, t))
            return true;
        drop_legs(g);
        return false;
    }
    if (g->merged ? make_merged(g, t) : make_in_row(g, t))
        return true;
    drop_legs(g);
    return false;
}

/* ---- one page ------------------------------------------------------------------------------ */

static struct page_request request_of(const struct gather *g, const struct leg *l) {
    struct page_request q = {.kind = g->kind,
                             .merged = g->merged,
                             .reverse = g->reverse,
                             .leg = (uint32_t) (l - g->leg),
                             .limit = g->want,
                             .shards = l->shards,
                             .question = bytes_of(&g->question),
                             .place = bytes_of(&g->place)};

    if (g->merged && l->place.size_bytes != 0)
        q.place = bytes_of(&l->place);
    if (is_abreast(g))
        q.place = l->begun == NONE ? (struct value){0} : bytes_of(&g->abreast[l->begun].place);
    for (size_t i = 0; i < EG_COUNTOF(q.shards.word) && !g->merged; i++)
        q.shards.word[i] &= g->left.word[i]; /* a place is that of the first of them */
    return q;
}

/* In a row: what is done is no longer left. */
static eg_err book(struct gather *g, struct leg *l, const struct page_answer *a) {
    for (uint32_t i = 0; i < SCHEMA_SHARDS_MAX; i++)
        if (shard_set_has(&l->shards, i) && (a->ended || i < a->shard))
            shard_set_remove(&g->left, i);
    if (a->ended) {
        buffer_clear(&g->place);
        return EG_OK;
    }
    if (!shard_set_has(&l->shards, a->shard))
        return EG_INTERNAL; /* a node that talks nonsense */
    g->begun = a->shard;
    return copy_to(&g->place, a->place) ? EG_OK : EG_MEMORY;
}

static uint32_t begun_new(struct gather *g) {
    for (uint32_t i = 0; i < LEGS_MAX; i++)
        if (!g->abreast[i].used)
            return i;
    return NONE;
}

/* Abreast: the same for the leg's own shards. */
static eg_err book_abreast(struct gather *g, struct leg *l, const struct page_answer *a) {
    for (uint32_t i = 0; i < SCHEMA_SHARDS_MAX; i++)
        if (shard_set_has(&l->shards, i) && (a->ended || i < a->shard)) {
            shard_set_remove(&l->shards, i);
            shard_set_remove(&g->left, i);
        }
    if (!a->ended && !shard_set_has(&l->shards, a->shard))
        return EG_INTERNAL;                     /* a node that talks nonsense */
    if (a->ended || a->place.size_bytes == 0) { /* the next one from its beginning */
        if (l->begun != NONE)
            g->abreast[l->begun].used = false;
        l->begun = NONE;
        return EG_OK;
    }
    if (l->begun == NONE)
        l->begun = begun_new(g);
    if (l->begun == NONE)
        return EG_INTERNAL; /* as many as there are legs */
    g->abreast[l->begun].used = true;
    g->abreast[l->begun].shard = a->shard;
    return copy_to(&g->abreast[l->begun].place, a->place) ? EG_OK : EG_MEMORY;
}

static eg_err take_page(struct gather *g, struct value answer) {
    struct page_answer a;
    struct leg *l;
    eg_err err = page_get_answer(answer, &a);

    if (err != EG_OK || a.leg >= g->leg_count)
        return EG_INTERNAL;
    l = &g->leg[a.leg];
    l->asked = false;
    l->at = l->before = 0;
    l->ended = a.ended;
    g->patient_ns = 0;
    if (g->part != NULL) {
        buffer_clear(&l->body);
        err = g->part(g->user, a.body);
        if (err != EG_OK)
            return err;
    } else if (!copy_to(&l->body, a.body)) {
        return EG_MEMORY;
    }
    if (is_abreast(g))
        return book_abreast(g, l, &a);
    if (!g->merged)
        return book(g, l, &a);
    return copy_to(&l->place, a.place) ? EG_OK : EG_MEMORY;
}

static eg_err serve_here(struct gather *g, struct table *t, struct reader *r, struct leg *l,
                         struct err_note *note) {
    struct page_request q = request_of(g, l);
    struct buffer page;
    eg_err err;

    if (!table_reads_set_here(t, &l->shards)) {
        g->scattered = true;
        return EG_OK;
    }
    buffer_init(&page, g->alloc, ANSWER_BYTES_MAX);
    err = page_serve(t, r, &q, &page, note);
    if (err == EG_OK)
        err = take_page(g, bytes_of(&page));
    buffer_fini(&page);
    return err;
}

static bool is_dry(const struct leg *l) {
    return l->at == l->body.size_bytes && !l->ended;
}

/* EG_OK: every leg has a head, or has ended. */
static eg_err fill(struct gather *g, struct table *t, struct reader *r, struct err_note *note) {
    bool dry = false;

    for (uint32_t i = 0; i < g->leg_count; i++) {
        struct leg *l = &g->leg[i];
        eg_err err = is_dry(l) && l->node == HERE ? serve_here(g, t, r, l, note) : EG_OK;
        if (err != EG_OK)
            return err;
        dry |= is_dry(l) || g->scattered;
    }
    return dry ? EG_AGAIN : EG_OK;
}

static bool has_head(const struct leg *l) {
    return l->at < l->body.size_bytes;
}

/* In a row the leg is made anew for each page: its place has moved. */
static bool needs_legs(const struct gather *g) {
    return g->leg_count == 0 || g->scattered || (!g->merged && !has_head(&g->leg[0]));
}

/* Abreast: a leg that has something to give. */
static struct leg *with_head(struct gather *g) {
    for (uint32_t i = 0; i < g->leg_count; i++)
        if (has_head(&g->leg[i]))
            return &g->leg[i];
    return NULL;
}

static bool is_over(const struct gather *g) {
    if (is_abreast(g))
        return shard_set_is_empty(&g->left) && with_head((struct gather *) g) == NULL;
    if (!g->merged)
        return (g->leg_count == 0 || !has_head(&g->leg[0])) && shard_set_is_empty(&g->left);
    for (uint32_t i = 0; i < g->leg_count; i++)
        if (has_head(&g->leg[i]) || !g->leg[i].ended)
            return false;
    return g->leg_count > 0 && !g->scattered;
}

static eg_err no_patience(struct gather *g, struct table *t, struct err_note *note) {
    uint64_t now_ns = table_now_ns(t);

    if (g->patient_ns == 0)
        g->patient_ns = now_ns + table_far_wait_ns(t);
    return now_ns < g->patient_ns
               ? EG_AGAIN
               : table_far_nobody(t, note, "no full copy of a shard can be reached");
}

/* Wait, and then look again who has what. */
static eg_err wait_for_others(struct gather *g, struct table *t, struct err_note *note) {
    g->to_wait = true;
    return no_patience(g, t, note);
}

static bool all_ended(const struct gather *g) {
    for (uint32_t i = 0; i < g->leg_count; i++)
        if (!g->leg[i].ended)
            return false;
    return true;
}

/* The same abreast: all that is here is given before anybody is asked for more. */
static eg_err prepare_abreast(struct gather *g, struct table *t, struct reader *r,
                              struct err_note *note) {
    while (with_head(g) == NULL && !shard_set_is_empty(&g->left)) {
        eg_err err;

        if ((g->scattered || all_ended(g)) && !make_legs(g, t))
            return wait_for_others(g, t, note);
        err = fill(g, t, r, note);
        if (g->scattered && with_head(g) == NULL)
            return wait_for_others(g, t, note);
        if (err != EG_OK)
            return err; /* EG_AGAIN: a page of each that has more */
    }
    return EG_OK;
}

/* EG_OK: the next record is here, if there is one. */
static eg_err prepare(struct gather *g, struct table *t, struct reader *r, struct err_note *note) {
    eg_err err;

    if (g->failed != EG_OK)
        return err_note(note, g->failed, "%s", g->why.text);
    EG_ASSERT(g->unanswered == 0);
    g->to_wait = false;
    if (g->refused) {
        g->refused = false;
        err = no_patience(g, t, note);
        if (err != EG_AGAIN)
            return err;
    }
    if (is_abreast(g))
        return prepare_abreast(g, t, r, note);
    while (!is_over(g)) {
        if (needs_legs(g) && !make_legs(g, t)) {
            g->to_wait = true;
            return no_patience(g, t, note);
        }
        err = fill(g, t, r, note);
        if (g->scattered) {
            g->to_wait = true;
            return no_patience(g, t, note);
        }
        if (err != EG_OK)
            return err;
        if (g->merged || has_head(&g->leg[0]))
            return EG_OK;
        if (g->leg[0].node == HERE) /* an empty page took its time */
            return EG_AGAIN;
    }
    return EG_OK;
}

/* ---- the records ------------------------------------------------------------------------------
 */

static struct value key_of_head(const struct leg *l) {
    struct value record = {0}, key = {0};
    size_t at = l->at;
    uint64_t hlc;

    if (!page_next(bytes_of(&l->body), &at, &hlc, &record) || !array_element(record, 0, &key))
        return (struct value){0};
    return key;
}

static struct leg *best_leg(struct gather *g) {
    struct leg *best = NULL;
    struct value best_key = {0};

    if (is_abreast(g))
        return with_head(g);
    if (!g->merged)
        return has_head(&g->leg[0]) ? &g->leg[0] : NULL;
    for (uint32_t i = 0; i < g->leg_count; i++) {
        struct leg *l = &g->leg[i];
        struct value key;
        int order;
        if (!has_head(l))
            continue;
        key = key_of_head(l);
        if (key.size_bytes == 0)
            return l; /* gather_next() says what is wrong */
        order = best == NULL ? -1 : value_compare(key, best_key);
        if (g->reverse && best != NULL)
            order = -order;
        if (order < 0) {
            best = l;
            best_key = key;
        }
    }
    return best;
}

static eg_err give(struct gather *g, struct leg *l, struct reader *r, const struct record **out) {
    struct value array, key;
    uint64_t hlc;
    void *memory;

    l->before = l->at;
    if (!page_next(bytes_of(&l->body), &l->at, &hlc, &array) || !array_element(array, 0, &key))
        return EG_INTERNAL;
    memory = reader_scratch(r, record_bytes_for(array.size_bytes, false));
    if (memory == NULL)
        return EG_MEMORY;
    *out = record_init(memory, array, (struct record_version){.hlc = hlc, .dot = 0}, 0);
    g->last = (uint32_t) (l - g->leg);
    return EG_OK;
}

/* Merged: the last one's key, behind which new legs begin. */
static eg_err keep_place(struct gather *g) {
    const struct leg *l = &g->leg[g->last];
    struct value array, key;
    size_t at = l->before;
    uint64_t hlc;

    if (!g->merged || g->leg_count == 0 || l->at == l->before)
        return EG_OK;
    if (!page_next(bytes_of(&l->body), &at, &hlc, &array) || !array_element(array, 0, &key))
        return EG_INTERNAL;
    return copy_to(&g->place, key) ? EG_OK : EG_MEMORY;
}

eg_err gather_next(struct gather *g, struct table *t, struct reader *r, const struct record **out,
                   struct err_note *note) {
    struct leg *best;
    eg_err err = keep_place(g);

    if (err == EG_OK && g->merged && g->leg_count > 0)
        g->leg[g->last].before = g->leg[g->last].at;
    if (err == EG_OK)
        err = prepare(g, t, r, note);
    if (err != EG_OK)
        return err;
    best = is_over(g) ? NULL : best_leg(g);
    return best == NULL ? EG_NOT_FOUND : give(g, best, r, out);
}

bool gather_may_mark(const struct gather *g) {
    return g->merged || (is_abreast(g) && with_head((struct gather *) g) == NULL) ||
           g->leg_count == 0 || !has_head(&g->leg[0]);
}

eg_err gather_mark(struct gather *g) {
    eg_err err = keep_place(g);

    if (err == EG_OK && !gather_may_mark(g))
        return EG_INTERNAL; /* no more were asked for than were wanted */
    g->marked_left = g->left;
    g->marked_begun = g->begun;
    if (err == EG_OK && !copy_to(&g->marked, bytes_of(&g->place)))
        err = EG_MEMORY;
    return err;
}

eg_err gather_resume(struct gather *g) {
    drop_legs(g);
    g->left = g->marked_left;
    g->begun = g->marked_begun;
    return copy_to(&g->place, bytes_of(&g->marked)) ? EG_OK : EG_MEMORY;
}

void gather_rewind(struct gather *g) {
    drop_legs(g);
    buffer_clear(&g->place);
    for (uint32_t i = 0; i < LEGS_MAX; i++)
        g->abreast[i].used = false;
    g->left = g->all;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static eg_err ask_to_wait(struct gather *g, struct table *t, eg_pid *to, struct message **out) {
    struct table_far *far = table_far(t);
    eg_err err;

    if (far == NULL)
        return EG_NO_REPLICA; /* the node is ending */
    err = far->ask(far, t, 0, (struct value){0}, to, out);
    g->to_wait = false;
    g->unanswered += err == EG_OK;
    return err;
}

eg_err gather_ask(struct gather *g, struct table *t, eg_pid *to, struct message **out) {
    struct table_far *far = table_far(t);
    struct page_request q;
    eg_err err;

    if (g->to_wait)
        return ask_to_wait(g, t, to, out);
    for (uint32_t i = 0; i < g->leg_count && !g->scattered && far != NULL; i++) {
        struct leg *l = &g->leg[i];
        if (!is_dry(l) || l->asked || l->node == HERE)
            continue;
        q = request_of(g, l);
        buffer_clear(&g->request);
        err = page_put_request(&g->request, &q);
        if (err == EG_OK)
            err = far->ask(far, t, l->node, bytes_of(&g->request), to, out);
        l->asked = err == EG_OK;
        g->unanswered += err == EG_OK;
        return err;
    }
    return EG_NOT_FOUND;
}

static bool is_refusal(eg_err err) {
    return err == EG_AGAIN || err == EG_BUSY || err == EG_NOPROC || err == EG_NO_REPLICA;
}

void gather_answered(struct gather *g, eg_err err, struct value result) {
    EG_ASSERT(g->unanswered > 0);
    g->unanswered--;
    if (err == EG_OK && result.size_bytes != 0)
        err = take_page(g, result);
    if (err == EG_OK || g->failed != EG_OK)
        return;
    if (is_refusal(err)) {
        g->scattered = g->refused = true;
        return;
    }
    g->failed = err;
    (void) err_note(&g->why, err, "%.*s", (int) EG_MIN(result.size_bytes, 200u),
                    (const char *) result.at);
}
