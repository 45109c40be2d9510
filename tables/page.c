/* page.c -- serving a piece of a table, and its form on the wire.
 *
 *     request  [kind, merged, reverse, leg, limit, shards, question, place]
 *     answer   [leg, ended, settled, shard, place, body]
 *
 * What comes from a program goes as a binary: it may be as deeply nested as a message may be by
 * itself.  A place shard by shard is [index or nil, the scan's]. */
#include "tables/page.h"

#include "engine/env.h"
#include "tables/catalog_private.h"
#include "tables/pattern.h"
#include "tables/scan.h"
#include "tables/table_private.h"
#include "tables/table_walk.h"
#include "tables/value_append.h"

#include <string.h>

enum {
    REQUEST_FIELDS = 8,
    ANSWER_FIELDS = 6,
    WORK_BETWEEN_LOOKS = 32, /* records, before the clock is looked at */
    NUMBER_BYTES = 9,
};

/* ---- the wire ------------------------------------------------------------------------ */

static void write_request(struct value_writer *w, const void *what) {
    const struct page_request *q = what;

    value_put_array(w, REQUEST_FIELDS);
    value_put_u64(w, q->kind);
    value_put_bool(w, q->merged);
    value_put_bool(w, q->reverse);
    value_put_u64(w, q->leg);
    value_put_u64(w, q->limit);
    value_put_array(w, EG_COUNTOF(q->shards.word));
    for (size_t i = 0; i < EG_COUNTOF(q->shards.word); i++)
        value_put_u64(w, q->shards.word[i]);
    value_put_binary(w, q->question.at, q->question.size_bytes);
    value_put_binary(w, q->place.at, q->place.size_bytes);
}

eg_err page_put_request(struct buffer *out, const struct page_request *q) {
    return value_append(out, write_request, q);
}

static void write_answer(struct value_writer *w, const void *what) {
    const struct page_answer *a = what;

    value_put_array(w, ANSWER_FIELDS);
    value_put_u64(w, a->leg);
    value_put_bool(w, a->ended);
    value_put_bool(w, a->settled);
    value_put_u64(w, a->shard);
    value_put_binary(w, a->place.at, a->place.size_bytes);
    value_put_binary(w, a->body.at, a->body.size_bytes);
}

static eg_err put_answer(struct buffer *out, const struct page_answer *a) {
    return value_append(out, write_answer, a);
}

static bool next_u64(struct value_iter *it, uint64_t most, uint64_t *out) {
    struct value v;

    return value_iter_next(it, &v) && value_get_u64(v, out) && *out <= most;
}

static bool next_bool(struct value_iter *it, bool *out) {
    struct value v;

    return value_iter_next(it, &v) && value_get_bool(v, out);
}

static bool next_bytes(struct value_iter *it, struct value *out) {
    struct value v;

    return value_iter_next(it, &v) && value_kind_of(v) == VALUE_BINARY &&
           value_get_bytes(v, &out->at, &out->size_bytes);
}

/* Bytes that are nothing, or one whole value. */
static bool next_inner(struct value_iter *it, struct value *out) {
    size_t used_bytes;

    return next_bytes(it, out) &&
           (out->size_bytes == 0 || (value_scan(out->at, out->size_bytes, &used_bytes) == EG_OK &&
                                     used_bytes == out->size_bytes));
}

static bool get_shards(struct value_iter *it, struct shard_set *out) {
    struct value_iter word;
    struct value v;

    if (!value_iter_next(it, &v) || value_kind_of(v) != VALUE_ARRAY ||
        value_count(v) != EG_COUNTOF(out->word))
        return false;
    word = value_iter_of(v);
    for (size_t i = 0; i < EG_COUNTOF(out->word); i++)
        if (!next_u64(&word, UINT64_MAX, &out->word[i]))
            return false;
    return true;
}

static bool needs_question(enum page_kind kind) {
    return kind == PAGE_MATCH || kind == PAGE_SELECT || kind == PAGE_INDEX || kind == PAGE_COUNT ||
           kind == PAGE_PARTIAL || kind == PAGE_READ;
}

eg_err page_get_request(struct value v, struct page_request *q) {
    struct value_iter it;
    uint64_t kind, leg;

    *q = (struct page_request){0};
    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != REQUEST_FIELDS)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    if (!next_u64(&it, PAGE_KIND_COUNT - 1, &kind) || !next_bool(&it, &q->merged) ||
        !next_bool(&it, &q->reverse) || !next_u64(&it, UINT32_MAX, &leg) ||
        !next_u64(&it, UINT64_MAX, &q->limit) || !get_shards(&it, &q->shards) ||
        !next_inner(&it, &q->question) || !next_inner(&it, &q->place))
        return EG_BAD_REQUEST;
    q->kind = (enum page_kind) kind;
    q->leg = (uint32_t) leg;
    return q->question.size_bytes != 0 || !needs_question(q->kind) ? EG_OK : EG_BAD_REQUEST;
}

eg_err page_get_answer(struct value v, struct page_answer *a) {
    struct value_iter it;
    uint64_t leg, shard;

    *a = (struct page_answer){0};
    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != ANSWER_FIELDS)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    if (!next_u64(&it, UINT32_MAX, &leg) || !next_bool(&it, &a->ended) ||
        !next_bool(&it, &a->settled) || !next_u64(&it, SCHEMA_SHARDS_MAX - 1, &shard) ||
        !next_inner(&it, &a->place) || !next_bytes(&it, &a->body))
        return EG_BAD_REQUEST;
    a->leg = (uint32_t) leg;
    a->shard = (uint32_t) shard;
    return EG_OK;
}

bool page_next(struct value body, size_t *at, uint64_t *hlc, struct value *record) {
    struct value stamp;
    size_t used_bytes;

    if (value_scan(body.at + *at, body.size_bytes - *at, &used_bytes) != EG_OK)
        return false;
    stamp = (struct value){body.at + *at, (uint32_t) used_bytes};
    if (!value_get_u64(stamp, hlc))
        return false;
    *at += used_bytes;
    if (value_scan(body.at + *at, body.size_bytes - *at, &used_bytes) != EG_OK)
        return false;
    *record = (struct value){body.at + *at, (uint32_t) used_bytes};
    *at += used_bytes;
    return value_kind_of(*record) == VALUE_ARRAY && value_count(*record) > 0;
}

/* ---- records --------------------------------------------------------------------------- */

struct serving {
    struct table *table;
    struct reader *reader;
    const struct page_request *q;
    struct predicate *predicate; /* NULL: a pattern, or all */
    struct predicate_machine machine;
    const struct page_partial_ops *partial_ops;
    void *partial; /* of PAGE_PARTIAL */
    struct scan_path path;
    struct shard_set shard; /* of the moment */
    struct buffer body, place, judged;
    uint64_t until_ns;
    uint64_t count;
    uint32_t work;
};

static bool is_full(struct serving *s) {
    if (s->q->kind == PAGE_PARTIAL)
        return s->partial_ops->bytes(s->partial) >= PAGE_BYTES;
    if (s->q->kind == PAGE_COUNT)
        return false;
    return s->body.size_bytes >= PAGE_BYTES || (s->q->limit != 0 && s->count >= s->q->limit);
}

static bool is_late(struct serving *s, uint32_t records) {
    uint32_t before = s->work;

    s->work += EG_MAX(records, 1u);
    if (before / WORK_BETWEEN_LOOKS == s->work / WORK_BETWEEN_LOOKS)
        return false;
    return table_now_ns(s->table) >= s->until_ns;
}

static bool put_number(struct buffer *out, uint64_t n) {
    uint8_t room[NUMBER_BYTES];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_u64(&w, n);
    return buffer_append(out, room, w.need_bytes);
}

static eg_err judge(struct serving *s, const struct record *rec, bool *meant) {
    *meant = true;
    if (s->predicate != NULL)
        return value_count(record_value(rec)) != predicate_arity(s->predicate)
                   ? EG_ABORTED
                   : predicate_run(&s->machine, s->predicate, record_value(rec), NULL, meant);
    if (s->q->kind == PAGE_MATCH)
        *meant = pattern_matches(s->q->question, record_value(rec));
    return EG_OK;
}

static eg_err take(struct serving *s, const struct record *rec) {
    bool meant;
    eg_err err = judge(s, rec, &meant);

    if (err != EG_OK || !meant)
        return err;
    if (!put_number(&s->body, rec->hlc) ||
        !buffer_append(&s->body, record_array(rec), record_array_bytes(rec)))
        return EG_MEMORY;
    s->count++;
    return EG_OK;
}

/* Does the body yield true? */
static eg_err count_one(struct serving *s, const struct record *rec) {
    bool meant = false, yes = false;
    eg_err err;

    if (value_count(record_value(rec)) != predicate_arity(s->predicate))
        return EG_ABORTED;
    buffer_clear(&s->judged);
    err = predicate_run(&s->machine, s->predicate, record_value(rec), &s->judged, &meant);
    if (err == EG_OK && meant &&
        value_get_bool((struct value){s->judged.at, (uint32_t) s->judged.size_bytes}, &yes))
        s->count += yes;
    return err;
}

static eg_err count_batch(struct serving *s, struct record_batch *b) {
    uint32_t reach_bytes = RECORD_REACH_BYTES;
    eg_err err = EG_OK;

    b->reach_bytes = RECORD_REACH_BYTES;
    if (b->count > 1 && predicate_screen(s->predicate, b, &reach_bytes) &&
        predicate_screens_true(s->predicate)) {
        s->count += b->count;
        return EG_OK;
    }
    for (uint32_t i = 0; err == EG_OK && i < b->count; i++)
        err = count_one(s, b->record[i]);
    return err;
}

/* Of what is made here, and only then travels. */
static eg_err make_of_scan(struct serving *s, struct value place) {
    struct record_batch b;
    struct scan *scan;
    eg_err err = scan_open_quick(&scan, s->table, s->reader, &s->path, place);

    if (err == EG_BAD_REQUEST)
        return EG_ABORTED;
    while (err == EG_OK && ((b = scan_next_batch(scan)).count > 0 || scan_paused(scan))) {
        uint32_t looked_at = b.count;

        if (b.count > 0 && s->q->kind == PAGE_COUNT)
            err = count_batch(s, &b);
        else if (b.count > 0)
            err = s->partial_ops->take(s->partial, &b);
        if (err == EG_OK && (is_late(s, looked_at) || is_full(s)) && scan_may_stop(scan)) {
            err = scan_place(scan, &s->place);
            return err == EG_OK ? EG_AGAIN : err;
        }
    }
    return err == EG_OK ? reader_take_fault(s->reader) : err;
}

/* EG_OK: to the scan's end; EG_AGAIN: s->place says where it stopped. */
static eg_err serve_scan(struct serving *s, struct value place) {
    const struct record *rec;
    struct scan *scan;
    eg_err err;

    if (s->q->kind == PAGE_COUNT || s->q->kind == PAGE_PARTIAL)
        return make_of_scan(s, place);
    err = scan_open(&scan, s->table, s->reader, &s->path, place);
    if (err == EG_BAD_REQUEST)
        return EG_ABORTED;
    while (err == EG_OK && ((rec = scan_next(scan)) != NULL || scan_paused(scan))) {
        if (rec != NULL)
            err = take(s, rec);
        if (err == EG_OK && (is_full(s) || is_late(s, 1))) {
            err = scan_place(scan, &s->place);
            return err == EG_OK ? EG_AGAIN : err;
        }
    }
    return err == EG_OK ? reader_take_fault(s->reader) : err;
}

eg_err page_index_path(struct table *t, struct value question, struct scan_path *out,
                       struct err_note *note) {
    struct value name, v;
    const uint8_t *text;
    uint32_t text_bytes;

    if (value_kind_of(question) != VALUE_ARRAY || !array_element(question, 0, &name) ||
        !array_element(question, 1, &v) || !value_get_bytes(name, &text, &text_bytes))
        return err_note(note, EG_BAD_REQUEST, "an index is asked by its name and a value");
    return scan_choose_index(out, t, (const char *) text, text_bytes, v, note);
}

static eg_err open_question(struct serving *s, struct err_note *note) {
    uint32_t arity = table_schema(s->table)->attribute_count;
    eg_err err = EG_OK;

    s->path.kind = SCAN_ALL;
    s->path.reverse = s->q->reverse && table_type(s->table) == TABLE_ORDERED_SET;
    if (s->q->kind == PAGE_MATCH) {
        err = pattern_check(s->q->question, arity, note);
        if (err == EG_OK)
            scan_choose_pattern(&s->path, s->table, s->reader, s->q->question);
    } else if (s->q->kind == PAGE_PARTIAL) {
        s->partial_ops = atomic_load_explicit(&s->table->world->partial, memory_order_acquire);
        if (s->partial_ops == NULL || s->q->merged)
            return err_note(note, EG_BAD_REQUEST, "this node makes no partial results");
        err = s->partial_ops->open(&s->partial, s->table->world->o.alloc,
                                   EG_CONTAINER_OF(s->table->world, struct catalog, world),
                                   s->table, s->reader, s->q->question, &s->path, note);
    } else if (s->q->kind == PAGE_SELECT || s->q->kind == PAGE_COUNT) {
        err = predicate_open(&s->predicate, s->table->world->o.alloc, s->q->question, arity, note);
        if (err == EG_OK)
            scan_choose(&s->path, s->table, s->reader, s->predicate, s->q->reverse);
    }
    if (s->q->kind == PAGE_INDEX)
        err = page_index_path(s->table, s->q->question, &s->path, note);
    if (err == EG_OK && s->q->merged && scan_by_index(&s->path))
        s->path = (struct scan_path){.kind = SCAN_ALL, .reverse = s->q->reverse};
    return err;
}

/* [index or nil, the scan's place] */
static eg_err wrap_place(struct serving *s, struct buffer *out) {
    size_t bytes = s->place.size_bytes + 2 * NUMBER_BYTES;
    uint8_t *room = buffer_room(out, bytes);
    struct value_writer w;

    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, bytes);
    value_put_array(&w, 2);
    if (scan_by_index(&s->path))
        value_put_u64(&w, s->path.index);
    else
        value_put_nil(&w);
    value_put_raw(&w, (struct value){s->place.at, (uint32_t) s->place.size_bytes});
    out->size_bytes += w.need_bytes;
    return EG_OK;
}

/* The scan's place, where it is one of the way that we would go. */
static eg_err unwrap_place(struct serving *s, struct value *place) {
    struct value index;
    uint64_t id;

    *place = (struct value){0};
    if (s->q->place.size_bytes == 0)
        return EG_OK;
    if (value_kind_of(s->q->place) != VALUE_ARRAY || !array_element(s->q->place, 0, &index) ||
        !array_element(s->q->place, 1, place))
        return EG_BAD_REQUEST;
    if (!value_get_u64(index, &id)) {
        if (scan_by_index(&s->path)) /* left on another way: on through all that is there */
            s->path = (struct scan_path){.kind = SCAN_ALL, .reverse = s->path.reverse};
        return EG_OK;
    }
    return scan_by_index(&s->path) && s->path.index == id ? EG_OK : EG_ABORTED;
}

static eg_err serve_merged(struct serving *s, struct page_answer *a) {
    eg_err err;

    s->path.only = &s->q->shards;
    err = serve_scan(s, s->q->place);
    a->ended = err == EG_OK;
    a->place = (struct value){s->place.at, (uint32_t) s->place.size_bytes};
    return err == EG_AGAIN ? EG_OK : err;
}

static eg_err serve_in_row(struct serving *s, struct buffer *wrapped, struct page_answer *a) {
    struct value place;
    eg_err err = unwrap_place(s, &place);

    s->path.only = &s->shard;
    for (uint32_t i = shard_set_next(&s->q->shards, 0); err == EG_OK && i < table_shards(s->table);
         i = shard_set_next(&s->q->shards, i + 1)) {
        a->shard = i;
        if (is_full(s) || (s->work != 0 && table_now_ns(s->table) >= s->until_ns))
            return EG_OK; /* this one from its beginning */
        s->shard = (struct shard_set){{0}};
        shard_set_add(&s->shard, i);
        err = serve_scan(s, place);
        s->work++;
        place = (struct value){0};
    }
    a->ended = err == EG_OK;
    if (err != EG_AGAIN)
        return err;
    err = wrap_place(s, wrapped);
    a->place = (struct value){wrapped->at, (uint32_t) wrapped->size_bytes};
    return err;
}

static eg_err serve_records(struct serving *s, struct buffer *out, struct err_note *note) {
    struct page_answer a = {.leg = s->q->leg, .settled = true};
    struct buffer wrapped;
    eg_err err = open_question(s, note);

    buffer_init(&wrapped, s->body.alloc, PAGE_ANSWER_BYTES_MAX);
    if (err == EG_OK)
        err = s->q->merged ? serve_merged(s, &a) : serve_in_row(s, &wrapped, &a);
    if (err == EG_OK && s->q->kind == PAGE_COUNT && !put_number(&s->body, s->count))
        err = EG_MEMORY;
    if (err == EG_OK && s->q->kind == PAGE_PARTIAL)
        err = s->partial_ops->put(s->partial, &s->body);
    a.body = (struct value){s->body.at, (uint32_t) s->body.size_bytes};
    if (err == EG_OK)
        err = put_answer(out, &a);
    if (s->predicate != NULL)
        predicate_close(s->predicate);
    if (s->partial != NULL)
        s->partial_ops->close(s->partial);
    buffer_fini(&wrapped);
    return err;
}

/* ---- the others --------------------------------------------------------------------------- */

static eg_err serve_next(struct serving *s) {
    struct value v = s->q->question;
    const struct record *rec;
    struct table_walk *walk;
    struct key key;
    eg_err err = EG_OK;
    bool reverse = s->q->reverse && table_type(s->table) == TABLE_ORDERED_SET;

    if (v.size_bytes != 0)
        err = table_key(s->table, &key, v);
    if (err != EG_OK)
        return err;
    err = table_walk_open_in(&walk, s->table, s->reader, &s->q->shards,
                             v.size_bytes != 0 ? &key : NULL, true, reverse, false);
    rec = err == EG_OK ? table_walk_next(walk) : NULL;
    if (v.size_bytes != 0)
        key_release(&key);
    if (err == EG_OK)
        err = reader_take_fault(s->reader);
    if (err != EG_OK || rec == NULL)
        return err;
    if (!put_number(&s->body, table_shard_of_key(s->table, record_key(rec))) ||
        !buffer_append(&s->body, record_key(rec).at, record_key(rec).size_bytes))
        return EG_MEMORY;
    return EG_OK;
}

/* What is newer than all copies have may be told when they have it: who asks sees to that. */
static eg_err serve_read(struct serving *s, bool *settled) {
    struct value_iter it;
    struct value v;
    struct key key;
    eg_err err = EG_OK;

    if (value_kind_of(s->q->question) != VALUE_ARRAY)
        return EG_BAD_REQUEST;
    it = value_iter_of(s->q->question);
    while (err == EG_OK && s->body.size_bytes < PAGE_BYTES && value_iter_next(&it, &v)) {
        err = table_key(s->table, &key, v);
        if (err != EG_OK)
            break;
        if (shard_set_has(&s->q->shards, shard_of(s->table, key.hash)->number))
            err = table_read(s->table, s->reader, &key, &s->body);
        else
            err = EG_BAD_REQUEST;
        *settled &= err == EG_OK && table_read_stands(s->table, s->reader, &key);
        key_release(&key);
    }
    return err;
}

static eg_err serve_other(struct serving *s, struct buffer *out) {
    struct page_answer a = {.leg = s->q->leg, .ended = true, .settled = true};
    eg_err err = EG_OK;

    if (s->q->kind == PAGE_NEXT)
        err = serve_next(s);
    else if (s->q->kind == PAGE_READ)
        err = serve_read(s, &a.settled);
    else if (!put_number(&s->body, table_size_of(s->table, s->reader, &s->q->shards)))
        err = EG_MEMORY;
    a.body = (struct value){s->body.at, (uint32_t) s->body.size_bytes};
    return err == EG_OK ? put_answer(out, &a) : err;
}

eg_err page_serve(struct table *t, struct reader *r, const struct page_request *q,
                  struct buffer *out, struct err_note *note) {
    struct alloc *alloc = t->world->o.alloc;
    struct serving s = {
        .table = t, .reader = r, .q = q, .until_ns = table_now_ns(t) + (uint64_t) PAGE_NS};
    eg_err err;

    if (q->merged && table_type(t) != TABLE_ORDERED_SET)
        return err_note(note, EG_BAD_REQUEST, "the table has no order");
    predicate_machine_init(&s.machine, alloc);
    buffer_init(&s.body, alloc, SIZE_MAX);
    buffer_init(&s.place, alloc, PAGE_ANSWER_BYTES_MAX);
    buffer_init(&s.judged, alloc, PAGE_ANSWER_BYTES_MAX);
    err = page_is_of_records(q->kind) ? serve_records(&s, out, note) : serve_other(&s, out);
    predicate_machine_fini(&s.machine);
    buffer_fini(&s.body);
    buffer_fini(&s.place);
    buffer_fini(&s.judged);
    return err;
}
