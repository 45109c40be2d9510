/* far_call.c -- one answer put together of those of several nodes.
 *
 *     left    the shards that have not answered, or not for all their keys
 *     legs    the nodes that are asked for them, in one request at a time each
 *     fresh   shards of which keys were read that not all full copies have as they are: when all
 *             have answered, their masters are asked to say when they do, and only then is told
 *             what was read.  So nobody who reads afterwards, anywhere, finds less.
 *
 * Of a majority table that is settle.h's affair, whatever was asked; and where the view has changed
 * meanwhile all are asked anew. */
#include "query/far_call.h"

#include "engine/err.h"
#include "query/settle.h"
#include "tables/far.h"

#include <string.h>

enum {
    LEGS_MAX = 64,        /* one more node's shards wait for the next round */
    KEYS_BYTES = 1 << 20, /* of one request, unless one is larger      */
    HEADER_BYTES = 9,
    ANEW_MAX = 16, /* views may change while others answer */
    ANSWER_BYTES_MAX = PAGE_ANSWER_BYTES_MAX + 64,
};

static const uint64_t HERE = UINT64_MAX; /* in place of a node's id */

struct leg {
    uint64_t node;
    struct shard_set shards;
    bool asked, done;
};

/* One key of PAGE_READ. */
struct wanted {
    const uint8_t *key;
    uint32_t shard;
    bool done;
    size_t at, size_bytes; /* its records, in `found` */
};

struct far_call {
    struct alloc *alloc;
    enum page_kind kind;
    bool reverse, ordered, dirty;
    uint64_t table_id;
    struct buffer question, keys, request;
    struct shard_set all, left;
    struct shard_set fresh, settling; /* to be asked of masters, and under way */
    uint32_t leg_count;
    struct leg leg[LEGS_MAX];

    uint64_t size;      /* PAGE_SIZE: so far          */
    struct buffer best; /* PAGE_NEXT: so far, a key   */
    uint32_t best_shard;
    struct wanted *wanted; /* PAGE_READ */
    uint32_t wanted_count;
    struct buffer found;

    bool majority;
    struct settle settle;
    uint32_t anew;

    uint32_t unanswered;
    bool scattered, refused, to_wait; /* as in gather.c */
    bool unsettled;                   /* a master could not be asked, or not say */
    uint64_t patient_ns;
    eg_err failed;
    struct err_note why;
};

static struct value bytes_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

/* ---- open and close --------------------------------------------------------------------- */

static eg_err shard_of(struct table *t, struct value key, uint32_t *shard, struct err_note *note) {
    struct key k;
    eg_err err = table_key_checked(t, &k, key, note);

    if (err != EG_OK)
        return err;
    *shard = table_shard_of_hash(t, k.hash);
    key_release(&k);
    return EG_OK;
}

static eg_err open_read(struct far_call *f, struct table *t, struct err_note *note) {
    struct value_iter it;
    struct value v;
    eg_err err = EG_OK;

    if (value_kind_of(bytes_of(&f->question)) != VALUE_ARRAY)
        return err_note(note, EG_BAD_REQUEST, "the keys are an array");
    f->wanted_count = value_count(bytes_of(&f->question));
    if (f->wanted_count == 0)
        return EG_OK;
    f->wanted = alloc_zero(f->alloc, f->wanted_count * sizeof *f->wanted);
    if (f->wanted == NULL)
        return EG_MEMORY;
    it = value_iter_of(bytes_of(&f->question));
    for (uint32_t i = 0; err == EG_OK && value_iter_next(&it, &v); i++) {
        f->wanted[i].key = v.at;
        err = shard_of(t, v, &f->wanted[i].shard, note);
        if (err == EG_OK)
            shard_set_add(&f->left, f->wanted[i].shard);
    }
    return err;
}

/* In an unordered table the neighbours of a key are in its shard and those behind it. */
static eg_err open_next(struct far_call *f, struct table *t, struct err_note *note) {
    uint32_t first = 0;
    eg_err err = EG_OK;

    if (f->question.size_bytes != 0)
        err = shard_of(t, bytes_of(&f->question), &first, note);
    for (uint32_t i = f->ordered ? 0 : first; i < table_shards(t); i++)
        shard_set_add(&f->left, i);
    return err;
}

/* Single keys are here or are not; the others are about what there is. */
static eg_err keep_here(struct far_call *f, struct table *t, struct err_note *note) {
    struct shard_set here = table_shards_here(t, true);
    struct shard_set asked = f->left;

    for (size_t i = 0; i < EG_COUNTOF(f->left.word); i++) {
        f->left.word[i] &= here.word[i];
        if (f->kind == PAGE_READ && f->left.word[i] != asked.word[i])
            return err_note(note, EG_NO_REPLICA, "this node has no copy of a key's shard");
    }
    return shard_set_is_empty(&here)
               ? err_note(note, EG_NO_REPLICA, "this node has no copy of the table")
               : EG_OK;
}

eg_err far_call_open(struct far_call **out, struct alloc *a, struct table *t,
                     const struct far_call_opts *o, struct err_note *note) {
    struct far_call *f = alloc_zero(a, sizeof *f);
    eg_err err = EG_OK;

    if (f == NULL)
        return EG_MEMORY;
    f->alloc = a;
    f->kind = o->kind;
    f->ordered = table_type(t) == TABLE_ORDERED_SET;
    f->dirty = o->dirty;
    f->reverse = o->reverse && f->ordered;
    f->table_id = table_schema(t)->id;
    f->majority = table_schema(t)->majority;
    buffer_init(&f->question, a, SIZE_MAX);
    buffer_init(&f->keys, a, SIZE_MAX);
    buffer_init(&f->request, a, SIZE_MAX);
    buffer_init(&f->best, a, ANSWER_BYTES_MAX);
    buffer_init(&f->found, a, SIZE_MAX);
    if (!buffer_append(&f->question, o->question.at, o->question.size_bytes))
        err = EG_MEMORY;
    else if (f->kind == PAGE_READ)
        err = open_read(f, t, note);
    else if (f->kind == PAGE_NEXT)
        err = open_next(f, t, note);
    else
        for (uint32_t i = 0; i < table_shards(t); i++)
            shard_set_add(&f->left, i);
    if (err == EG_OK && f->dirty)
        err = keep_here(f, t, note);
    f->all = f->left;
    if (err != EG_OK) {
        far_call_close(f);
        return err;
    }
    *out = f;
    return EG_OK;
}

void far_call_close(struct far_call *f) {
    buffer_fini(&f->question);
    buffer_fini(&f->keys);
    buffer_fini(&f->request);
    buffer_fini(&f->best);
    buffer_fini(&f->found);
    if (f->wanted != NULL)
        alloc_put(f->alloc, f->wanted, f->wanted_count * sizeof *f->wanted);
    alloc_put(f->alloc, f, sizeof *f);
}

/* ---- legs -------------------------------------------------------------------------------- */

static uint64_t node_of(const struct far_call *f, struct table *t, uint32_t shard) {
    struct table_far *far = table_far(t);
    struct shard_set one = {{0}};

    shard_set_add(&one, shard);
    if (f->dirty || table_reads_set_here(t, &one))
        return HERE;
    return far == NULL ? 0 : far->node(far, t, shard);
}

static struct leg *leg_for(struct far_call *f, uint64_t node) {
    for (uint32_t i = 0; i < f->leg_count; i++)
        if (f->leg[i].node == node)
            return &f->leg[i];
    if (f->leg_count == LEGS_MAX)
        return NULL;
    f->leg[f->leg_count] = (struct leg){.node = node};
    return &f->leg[f->leg_count++];
}

/* False: some shard has nobody to be asked now; the others may be asked all the same. */
static bool make_legs(struct far_call *f, struct table *t) {
    bool all = true;

    f->leg_count = 0;
    f->scattered = false;
    for (uint32_t i = shard_set_next(&f->left, 0); i < table_shards(t);
         i = shard_set_next(&f->left, i + 1)) {
        uint64_t node = node_of(f, t, i);
        struct leg *l = node == 0 ? NULL : leg_for(f, node);
        if (l != NULL)
            shard_set_add(&l->shards, i);
        else
            all = false;
    }
    return all;
}

/* The next of a leg's keys that have not been found. */
static uint32_t next_wanted(const struct far_call *f, const struct leg *l, uint32_t from) {
    while (from < f->wanted_count &&
           (f->wanted[from].done || !shard_set_has(&l->shards, f->wanted[from].shard)))
        from++;
    return from;
}

static eg_err put_header(struct buffer *out, uint32_t count) {
    uint8_t *room = buffer_room(out, HEADER_BYTES);
    struct value_writer w;

    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, HEADER_BYTES);
    value_put_array(&w, count);
    out->size_bytes += w.need_bytes;
    return EG_OK;
}

/* The keys that the leg is asked for. */
static eg_err put_keys(struct far_call *f, const struct leg *l) {
    size_t bytes = 0;
    uint32_t count = 0, last = 0;
    eg_err err;

    for (uint32_t i = next_wanted(f, l, 0); i < f->wanted_count && bytes < KEYS_BYTES;
         i = next_wanted(f, l, i + 1)) {
        bytes += value_of(f->wanted[i].key).size_bytes;
        last = i;
        count++;
    }
    buffer_clear(&f->keys);
    err = put_header(&f->keys, count);
    for (uint32_t i = next_wanted(f, l, 0); err == EG_OK && count > 0 && i <= last;
         i = next_wanted(f, l, i + 1)) {
        struct value v = value_of(f->wanted[i].key);
        if (!buffer_append(&f->keys, v.at, v.size_bytes))
            err = EG_MEMORY;
    }
    return err;
}

static eg_err request_of(struct far_call *f, const struct leg *l, struct page_request *q) {
    eg_err err = f->kind == PAGE_READ ? put_keys(f, l) : EG_OK;

    *q =
        (struct page_request){.kind = f->kind,
                              .reverse = f->reverse,
                              .leg = (uint32_t) (l - f->leg),
                              .shards = l->shards,
                              .question = bytes_of(f->kind == PAGE_READ ? &f->keys : &f->question)};
    return err;
}

/* ---- what they say -------------------------------------------------------------------------- */

static void leg_done(struct far_call *f, struct leg *l) {
    l->done = true;
    for (size_t i = 0; i < EG_COUNTOF(f->left.word); i++)
        f->left.word[i] &= ~l->shards.word[i];
}

static bool next_value(struct value body, size_t *at, struct value *out) {
    size_t used_bytes;

    if (value_scan(body.at + *at, body.size_bytes - *at, &used_bytes) != EG_OK)
        return false;
    *out = (struct value){body.at + *at, (uint32_t) used_bytes};
    *at += used_bytes;
    return true;
}

static eg_err hear_size(struct far_call *f, struct leg *l, struct value body) {
    struct value v;
    uint64_t size;
    size_t at = 0;

    if (!next_value(body, &at, &v) || !value_get_u64(v, &size))
        return EG_INTERNAL;
    f->size += size;
    leg_done(f, l);
    return EG_OK;
}

static bool is_better(const struct far_call *f, uint32_t shard, struct value key) {
    int order;

    if (f->best.size_bytes == 0)
        return true;
    if (!f->ordered)
        return shard < f->best_shard;
    order = value_compare(key, bytes_of(&f->best));
    return f->reverse ? order > 0 : order < 0;
}

static eg_err hear_next(struct far_call *f, struct leg *l, struct value body) {
    struct value v, key;
    uint64_t shard;
    size_t at = 0;

    leg_done(f, l);
    if (body.size_bytes == 0)
        return EG_OK; /* it has none */
    if (!next_value(body, &at, &v) || !value_get_u64(v, &shard) || shard >= SCHEMA_SHARDS_MAX ||
        !next_value(body, &at, &key))
        return EG_INTERNAL;
    if (!is_better(f, (uint32_t) shard, key))
        return EG_OK;
    f->best_shard = (uint32_t) shard;
    buffer_clear(&f->best);
    return buffer_append(&f->best, key.at, key.size_bytes) ? EG_OK : EG_MEMORY;
}

static eg_err hear_read(struct far_call *f, struct leg *l, struct value body, bool settled) {
    uint32_t i = next_wanted(f, l, 0);
    struct value v;
    size_t at = 0;

    while (i < f->wanted_count && at < body.size_bytes) {
        if (!next_value(body, &at, &v) || value_kind_of(v) != VALUE_ARRAY)
            return EG_INTERNAL;
        f->wanted[i].at = f->found.size_bytes;
        f->wanted[i].size_bytes = v.size_bytes;
        f->wanted[i].done = true;
        if (!settled && !f->dirty && !f->majority)
            shard_set_add(&f->fresh, f->wanted[i].shard);
        if (f->found.size_bytes + v.size_bytes > UINT32_MAX / 2)
            return EG_TOO_LARGE;
        if (!buffer_append(&f->found, v.at, v.size_bytes))
            return EG_MEMORY;
        i = next_wanted(f, l, i + 1);
    }
    if (i == f->wanted_count)
        leg_done(f, l);
    else if (at == 0)
        return EG_INTERNAL; /* not even one: it would never end */
    return EG_OK;
}

static eg_err take_answer(struct far_call *f, struct value answer) {
    struct page_answer a;
    struct leg *l;

    if (page_get_answer(answer, &a) != EG_OK || a.leg >= f->leg_count || f->leg[a.leg].done)
        return EG_INTERNAL;
    l = &f->leg[a.leg];
    l->asked = false;
    f->patient_ns = 0;
    if (f->kind == PAGE_SIZE)
        return hear_size(f, l, a.body);
    return f->kind == PAGE_NEXT ? hear_next(f, l, a.body) : hear_read(f, l, a.body, a.settled);
}

static eg_err serve_here(struct far_call *f, struct table *t, struct reader *r, struct leg *l,
                         struct err_note *note) {
    struct page_request q;
    struct buffer page;
    eg_err err = request_of(f, l, &q);

    if (err != EG_OK)
        return err;
    if (!f->dirty && !table_reads_set_here(t, &l->shards)) {
        f->scattered = true;
        return EG_OK;
    }
    buffer_init(&page, f->alloc, ANSWER_BYTES_MAX);
    err = page_serve(t, r, &q, &page, note);
    if (err == EG_OK)
        err = take_answer(f, bytes_of(&page));
    buffer_fini(&page);
    return err;
}

/* ---- the answer ---------------------------------------------------------------------------- */

static eg_err finish_read(const struct far_call *f, struct buffer *result) {
    eg_err err = put_header(result, f->wanted_count);

    for (uint32_t i = 0; err == EG_OK && i < f->wanted_count; i++)
        if (!buffer_append(result, f->found.at + f->wanted[i].at, f->wanted[i].size_bytes))
            err = EG_TOO_LARGE;
    return err;
}

static eg_err wait(struct far_call *f, struct table *t, struct err_note *note) {
    uint64_t now_ns = table_now_ns(t);

    if (f->patient_ns == 0)
        f->patient_ns = now_ns + table_far_wait_ns(t);
    if (now_ns >= f->patient_ns)
        return table_far_nobody(t, note, "no full copy of a shard can be reached");
    return EG_AGAIN;
}

static bool is_refusal(eg_err err) {
    return err == EG_AGAIN || err == EG_BUSY || err == EG_NOPROC || err == EG_NO_REPLICA;
}

/* Nothing was told yet. */
static eg_err begin_anew(struct far_call *f, struct table *t, struct err_note *note) {
    f->left = f->all;
    f->settle = (struct settle){0};
    f->size = 0;
    buffer_clear(&f->best);
    buffer_clear(&f->found);
    for (uint32_t i = 0; i < f->wanted_count; i++)
        f->wanted[i].done = false;
    f->to_wait = true;
    return wait(f, t, note);
}

static eg_err settle_all(struct far_call *f, struct table *t, struct err_note *note) {
    eg_err err = settle_step(&f->settle, t, note);

    if (err == EG_AGAIN || !is_refusal(err) || f->anew == ANEW_MAX)
        return err;
    f->anew++;
    return begin_anew(f, t, note);
}

static eg_err finish(struct far_call *f, struct table *t, struct buffer *result,
                     struct err_note *note) {
    static const uint8_t nil = 0xc0;
    struct value v = f->best.size_bytes != 0 ? bytes_of(&f->best) : (struct value){&nil, 1};
    uint8_t room[HEADER_BYTES];
    struct value_writer w = value_writer_init(room, sizeof room);
    eg_err err;

    f->settling = (struct shard_set){{0}};
    if (!shard_set_is_empty(&f->fresh)) { /* once their masters have said so */
        f->scattered = false;
        f->to_wait = f->unsettled;
        f->unsettled = false;
        return EG_AGAIN;
    }
    err = settle_all(f, t, note);
    if (err != EG_OK)
        return err;
    if (f->kind == PAGE_READ)
        return finish_read(f, result);
    if (f->kind == PAGE_SIZE) {
        value_put_u64(&w, f->size);
        v = (struct value){room, (uint32_t) w.need_bytes};
    }
    return buffer_append(result, v.at, v.size_bytes) ? EG_OK : EG_TOO_LARGE;
}

eg_err far_call_step(struct far_call *f, struct table *t, struct reader *r, struct buffer *result,
                     struct err_note *note) {
    eg_err err = EG_OK;

    EG_ASSERT(f->unanswered == 0);
    if (f->failed != EG_OK)
        return err_note(note, f->failed, "%s", f->why.text);
    if (table_dropped(t) || table_schema(t)->id != f->table_id)
        return err_note(note, EG_NO_TABLE, "the table was dropped meanwhile");
    if (f->refused && (err = wait(f, t, note)) != EG_AGAIN)
        return err;
    f->refused = f->to_wait = false;
    if (!f->dirty)
        settle_begin_in(&f->settle, t, &f->all);
    if (shard_set_is_empty(&f->left))
        return finish(f, t, result, note);
    if (!make_legs(f, t)) {
        f->to_wait = true;
        return wait(f, t, note);
    }
    err = EG_OK;
    for (uint32_t i = 0; err == EG_OK && i < f->leg_count && !f->scattered; i++)
        if (f->leg[i].node == HERE)
            err = serve_here(f, t, r, &f->leg[i], note);
    if (err != EG_OK)
        return err;
    if (f->scattered) {
        f->to_wait = true;
        return wait(f, t, note);
    }
    return shard_set_is_empty(&f->left) ? finish(f, t, result, note) : EG_AGAIN;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Of the masters of what is fresh, one after the other. */
static eg_err ask_to_settle(struct far_call *f, struct table *t, eg_pid *to, struct message **out) {
    uint32_t shard = shard_set_next(&f->fresh, 0);
    eg_err err;

    while (shard < table_shards(t) && table_is_settled(t, shard)) {
        shard_set_remove(&f->fresh, shard); /* by itself, meanwhile */
        shard = shard_set_next(&f->fresh, shard + 1);
    }
    if (shard >= table_shards(t))
        return EG_NOT_FOUND;
    err = table_settle_message(t, shard, to, out);
    if (err != EG_OK)
        return err;
    shard_set_remove(&f->fresh, shard);
    shard_set_add(&f->settling, shard);
    f->unanswered++;
    return EG_OK;
}

eg_err far_call_ask(struct far_call *f, struct table *t, eg_pid *to, struct message **out) {
    struct table_far *far = table_far(t);
    struct page_request q;
    eg_err err;

    if (far == NULL)
        return EG_NO_REPLICA; /* the node is ending */
    if (f->to_wait) {
        f->to_wait = false;
        err = far->ask(far, t, 0, (struct value){0}, to, out);
        f->unanswered += err == EG_OK;
        f->scattered = true;
        return err;
    }
    if (settle_asks(&f->settle)) {
        err = settle_ask(&f->settle, t, to, out);
        f->unanswered += err == EG_OK;
        return err;
    }
    if (shard_set_is_empty(&f->left))
        return f->scattered ? EG_NOT_FOUND : ask_to_settle(f, t, to, out);
    for (uint32_t i = 0; i < f->leg_count && !f->scattered; i++) {
        struct leg *l = &f->leg[i];
        if (l->asked || l->done || l->node == HERE)
            continue;
        err = request_of(f, l, &q);
        buffer_clear(&f->request);
        if (err == EG_OK)
            err = page_put_request(&f->request, &q);
        if (err == EG_OK)
            err = far->ask(far, t, l->node, bytes_of(&f->request), to, out);
        l->asked = err == EG_OK;
        f->unanswered += err == EG_OK;
        return err;
    }
    return EG_NOT_FOUND;
}

/* Which of them it was does not matter: where one could not say it all are asked again. */
static void fresh_answered(struct far_call *f, eg_err err) {
    if (err == EG_OK)
        return;
    f->unsettled = true;
    for (size_t i = 0; i < EG_COUNTOF(f->fresh.word); i++)
        f->fresh.word[i] |= f->settling.word[i];
}

void far_call_answered(struct far_call *f, eg_err err, struct value result) {
    EG_ASSERT(f->unanswered > 0);
    f->unanswered--;
    if (settle_asks(&f->settle)) {
        settle_answered(&f->settle, err, result);
        return;
    }
    if (!shard_set_is_empty(&f->settling))
        fresh_answered(f, err);
    else if (err == EG_OK && result.size_bytes != 0)
        err = take_answer(f, result);
    if (err == EG_OK || f->failed != EG_OK)
        return;
    if (is_refusal(err)) {
        f->scattered = f->refused = true;
        return;
    }
    f->failed = err;
    (void) err_note(&f->why, err, "%.*s", (int) EG_MIN(result.size_bytes, 200u),
                    (const char *) result.at);
}
