/* text_join.c -- two tables gone through as one. */
#include "query/text_join.h"

#include "query/text_far.h"
#include "tables/key.h"

#include <string.h>

enum { CLOCK_ROWS = 16, FIRST_SLOTS = 64, HEADER_BYTES = 5, ROW_BYTES_MAX = 48 << 20 };

struct text_join_entry {
    uint64_t hash;
    const uint8_t *record;
    uint32_t next; /* number + 1 of one with the same slot; 0: none */
};

void text_joiner_init(struct text_joiner *j, struct text_plan *plan, struct text_memory *memory,
                      struct predicate_machine *machine) {
    *j = (struct text_joiner){
        .plan = plan, .memory = memory, .machine = machine, .store = {.memory = memory}};
    j->built = plan->join != TEXT_JOIN_HASH;
    buffer_init(&j->outer, memory->alloc, RECORD_SIZE_MAX);
    buffer_init(&j->place, memory->alloc, RECORD_SIZE_MAX);
    buffer_init(&j->inner, memory->alloc, RECORD_SIZE_MAX);
    buffer_init(&j->joined, memory->alloc, ROW_BYTES_MAX);
}

void text_joiner_fini(struct text_joiner *j) {
    buffer_fini(&j->outer);
    buffer_fini(&j->place);
    buffer_fini(&j->inner);
    buffer_fini(&j->joined);
    text_store_clear(&j->store);
    text_memory_put(j->memory, j->entry, j->room * sizeof *j->entry);
    text_memory_put(j->memory, j->slot, j->slots * sizeof *j->slot);
}

static struct text_source *outer_of(const struct text_joiner *j) {
    return &j->plan->source[j->plan->outer];
}
static struct text_source *inner_of(const struct text_joiner *j) {
    return &j->plan->source[1 - j->plan->outer];
}
static struct value bytes_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

static eg_err passes(struct text_joiner *j, const struct text_source *s, struct value record,
                     bool *passed) {
    *passed = true;
    if (value_count(record) != s->arity)
        return EG_ABORTED;
    return s->filtered ? predicate_run(j->machine, s->filter, record, NULL, passed) : EG_OK;
}

static struct value on_of(const struct text_source *s, struct value record) {
    struct value v;

    EG_ASSERT(array_element(record, s->on, &v)); /* its arity was checked */
    return v;
}

static bool joins(struct value v) {
    return value_kind_of(v) != VALUE_NIL;
}

/* The next record; NULL where the clock is to be looked at.  False: the end. */
static bool ask(struct scan *scan, const struct record **rec) {
    *rec = scan_next(scan);
    return *rec != NULL || scan_paused(scan);
}

static eg_err open_scan(struct scan **out, struct table *t, struct reader *r,
                        const struct scan_path *path, const struct buffer *place) {
    eg_err err = scan_open(out, t, r, path, bytes_of(place));

    return err == EG_BAD_REQUEST ? EG_ABORTED : err; /* the index that was chosen has gone */
}

/* ---- one row ---------------------------------------------------------------------------- */

static bool put_fields(struct buffer *row, struct value record) {
    const uint8_t *from = value_iter_of(record).at; /* behind the header */

    return buffer_append(row, from, (size_t) (record.at + record.size_bytes - from));
}

static eg_err give_pair(struct text_joiner *j, struct value outer, struct value inner,
                        text_row_fn *give, void *context) {
    bool straight = j->plan->outer == 0;
    struct value_writer w;
    uint8_t *room;

    buffer_clear(&j->joined);
    room = buffer_room(&j->joined, HEADER_BYTES);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, HEADER_BYTES);
    value_put_array(&w, outer_of(j)->arity + inner_of(j)->arity);
    j->joined.size_bytes = w.need_bytes;
    if (!put_fields(&j->joined, straight ? outer : inner) ||
        !put_fields(&j->joined, straight ? inner : outer))
        return EG_TOO_LARGE;
    return give(context, bytes_of(&j->joined));
}

/* ---- the hash table ------------------------------------------------------------------------ */

static eg_err refused(const struct text_joiner *j, size_t size_bytes) {
    return size_bytes > TEXT_MEMORY_MAX - j->memory->used_bytes ? EG_TOO_LARGE : EG_MEMORY;
}

static eg_err grow(struct text_joiner *j) {
    uint32_t room = EG_MAX((uint32_t) FIRST_SLOTS, 2 * j->room);
    uint32_t slots = 2 * room;
    struct text_join_entry *entry = text_memory_get(j->memory, room * sizeof *entry);
    uint32_t *slot = text_memory_get(j->memory, slots * sizeof *slot);

    if (entry == NULL || slot == NULL) {
        text_memory_put(j->memory, entry, room * sizeof *entry);
        text_memory_put(j->memory, slot, slots * sizeof *slot);
        return refused(j, room * sizeof *entry + slots * sizeof *slot);
    }
    if (j->count > 0)
        memcpy(entry, j->entry, j->count * sizeof *entry);
    memset(slot, 0, slots * sizeof *slot);
    for (uint32_t i = 0; i < j->count; i++) {
        uint32_t *head = &slot[entry[i].hash & (slots - 1)];
        entry[i].next = *head;
        *head = i + 1;
    }
    text_memory_put(j->memory, j->entry, j->room * sizeof *entry);
    text_memory_put(j->memory, j->slot, j->slots * sizeof *slot);
    j->entry = entry;
    j->room = room;
    j->slot = slot;
    j->slots = slots;
    return EG_OK;
}

eg_err text_joiner_build(struct text_joiner *j, struct value record) {
    struct text_join_entry *e;
    struct value on;
    uint32_t *head;
    bool passed;
    eg_err err = passes(j, inner_of(j), record, &passed);

    if (err != EG_OK || !passed)
        return err;
    on = on_of(inner_of(j), record);
    if (!joins(on))
        return EG_OK;
    if (j->count == j->room)
        err = grow(j);
    if (err != EG_OK)
        return err;
    e = &j->entry[j->count];
    e->record = text_store_copy(&j->store, record.at, record.size_bytes);
    if (e->record == NULL)
        return refused(j, EG_MAX(record.size_bytes, (uint32_t) TEXT_CHUNK_BYTES));
    e->hash = key_hash(on, 0);
    head = &j->slot[e->hash & (j->slots - 1)];
    e->next = *head;
    *head = ++j->count;
    return EG_OK;
}

static eg_err build_far(struct text_joiner *j, struct reader *r, const struct select_pace *pace,
                        struct err_note *note) {
    const struct record *rec;
    eg_err err = EG_OK;

    for (uint32_t n = 1; err == EG_OK; n++) {
        err = text_far_next(j->plan, inner_of(j), r, &rec, note);
        if (err == EG_OK)
            err = text_joiner_build(j, record_value(rec));
        if (err == EG_OK && n % CLOCK_ROWS == 0 && pace->is_over(pace->context))
            return EG_AGAIN;
    }
    j->built = err == EG_NOT_FOUND;
    return j->built ? EG_OK : err;
}

static eg_err build(struct text_joiner *j, struct reader *r, const struct select_pace *pace) {
    struct text_source *s = inner_of(j);
    const struct record *rec;
    struct scan *scan;
    eg_err err = open_scan(&scan, s->table, r, &s->path, &j->inner);

    for (uint32_t n = 1; err == EG_OK && ask(scan, &rec); n++) {
        if (rec != NULL)
            err = text_joiner_build(j, record_value(rec));
        if (err == EG_OK && (rec == NULL || n % CLOCK_ROWS == 0) && pace->is_over(pace->context)) {
            err = scan_place(scan, &j->inner);
            return err != EG_OK ? err : EG_AGAIN;
        }
    }
    if (err == EG_OK)
        err = reader_take_fault(r);
    buffer_clear(&j->inner);
    j->built = err == EG_OK;
    return err;
}

/* ---- the inner records of one outer record -------------------------------------------------- */

/* Keep the outer record, to go on with its inner ones later. */
static eg_err pause(struct text_joiner *j, struct value outer) {
    if (j->outer.size_bytes > 0)
        return EG_AGAIN; /* it is kept already */
    return buffer_append(&j->outer, outer.at, outer.size_bytes) ? EG_AGAIN : EG_MEMORY;
}

struct scan_path text_joiner_lookup(const struct text_joiner *j, struct value outer) {
    struct scan_path path = j->plan->lookup;

    if (path.kind == SCAN_KEY)
        path.range = range_of_value(on_of(outer_of(j), outer));
    else
        path.equal[path.later] = on_of(outer_of(j), outer);
    return path;
}

static eg_err look_up(struct text_joiner *j, struct reader *r, const struct select_pace *pace,
                      struct value outer, text_row_fn *give, void *context) {
    const struct text_source *s = inner_of(j);
    const struct scan_path path = text_joiner_lookup(j, outer);
    const struct record *rec;
    struct scan *scan;
    bool passed;
    eg_err err;

    err = open_scan(&scan, s->table, r, &path, &j->inner);
    buffer_clear(&j->inner);
    for (uint32_t n = 1; err == EG_OK && ask(scan, &rec); n++) {
        passed = false;
        if (rec != NULL)
            err = passes(j, s, record_value(rec), &passed);
        if (err == EG_OK && passed)
            err = give_pair(j, outer, record_value(rec), give, context);
        if (err == EG_OK && (rec == NULL || n % CLOCK_ROWS == 0) && pace->is_over(pace->context)) {
            err = scan_place(scan, &j->inner);
            return err != EG_OK ? err : pause(j, outer);
        }
    }
    return err == EG_OK ? reader_take_fault(r) : err;
}

static eg_err probe(struct text_joiner *j, const struct select_pace *pace, struct value outer,
                    text_row_fn *give, void *context) {
    struct value on = on_of(outer_of(j), outer);
    uint64_t hash = key_hash(on, 0);
    uint32_t chain = j->chain;
    eg_err err = EG_OK;

    if (j->count == 0)
        return EG_OK;
    if (chain == 0)
        chain = j->slot[hash & (j->slots - 1)];
    j->chain = 0;
    for (uint32_t n = 1; chain != 0 && err == EG_OK; n++) {
        const struct text_join_entry *e = &j->entry[chain - 1];
        struct value inner = value_of(e->record);
        chain = e->next;
        if (e->hash == hash && value_equal(on, on_of(inner_of(j), inner)))
            err = give_pair(j, outer, inner, give, context);
        if (err == EG_OK && chain != 0 && n % CLOCK_ROWS == 0 && pace->is_over(pace->context)) {
            j->chain = chain;
            return pause(j, outer);
        }
    }
    return err;
}

static eg_err join_one(struct text_joiner *j, struct reader *r, const struct select_pace *pace,
                       struct value outer, text_row_fn *give, void *context) {
    if (!joins(on_of(outer_of(j), outer)))
        return EG_OK;
    return j->plan->join == TEXT_JOIN_HASH ? probe(j, pace, outer, give, context)
                                           : look_up(j, r, pace, outer, give, context);
}

static eg_err check_sources(struct text_joiner *j, struct err_note *note) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; err == EG_OK && i < j->plan->source_count; i++)
        if (j->plan->source[i].far == NULL)
            err = text_far_check(j->plan, &j->plan->source[i], note);
    return err;
}

/* The outer records are not all here. */
static eg_err step_far(struct text_joiner *j, struct reader *r, const struct select_pace *pace,
                       text_row_fn *give, void *context, struct err_note *note) {
    const struct record *rec;
    bool passed;
    eg_err err = EG_OK;

    for (uint32_t n = 1; err == EG_OK; n++) {
        err = text_far_next(j->plan, outer_of(j), r, &rec, note);
        if (err != EG_OK)
            return err == EG_NOT_FOUND ? EG_OK : err;
        err = passes(j, outer_of(j), record_value(rec), &passed);
        if (err == EG_OK && passed)
            err = join_one(j, r, pace, record_value(rec), give, context);
        if (err == EG_OK && n % CLOCK_ROWS == 0 && pace->is_over(pace->context))
            return EG_AGAIN;
    }
    return err;
}

eg_err text_joiner_step(struct text_joiner *j, struct reader *r, const struct select_pace *pace,
                        text_row_fn *give, void *context, struct err_note *note) {
    struct text_source *s = outer_of(j);
    const struct record *rec;
    struct scan *scan;
    bool passed;
    eg_err err = check_sources(j, note);

    if (err == EG_OK && !j->built)
        err = inner_of(j)->far != NULL ? build_far(j, r, pace, note) : build(j, r, pace);
    if (err == EG_OK && j->outer.size_bytes > 0) {
        err = join_one(j, r, pace, bytes_of(&j->outer), give, context);
        if (err != EG_AGAIN)
            buffer_clear(&j->outer);
    }
    if (s->far != NULL)
        return err == EG_OK ? step_far(j, r, pace, give, context, note) : err;
    if (err == EG_OK)
        err = open_scan(&scan, s->table, r, &s->path, &j->place);
    for (uint32_t n = 1; err == EG_OK && ask(scan, &rec); n++) {
        passed = false;
        if (rec != NULL)
            err = passes(j, s, record_value(rec), &passed);
        if (err == EG_OK && passed)
            err = join_one(j, r, pace, record_value(rec), give, context);
        if (err == EG_OK && (rec == NULL || n % CLOCK_ROWS == 0) && pace->is_over(pace->context))
            err = EG_AGAIN;
        if (err == EG_AGAIN) {
            err = scan_place(scan, &j->place);
            return err != EG_OK ? err : EG_AGAIN;
        }
    }
    return err == EG_OK ? reader_take_fault(r) : err;
}

/* ---- records that somebody else brings ------------------------------------------------------- */

eg_err text_joiner_wants(struct text_joiner *j, struct value outer, bool *wanted) {
    eg_err err = passes(j, outer_of(j), outer, wanted);

    if (err == EG_OK && *wanted)
        *wanted = joins(on_of(outer_of(j), outer));
    return err;
}

eg_err text_joiner_pair(struct text_joiner *j, struct value outer, struct value inner,
                        text_row_fn *give, void *context) {
    bool passed;
    eg_err err = passes(j, inner_of(j), inner, &passed);

    if (err != EG_OK || !passed ||
        !value_equal(on_of(outer_of(j), outer), on_of(inner_of(j), inner)))
        return err;
    return give_pair(j, outer, inner, give, context);
}

eg_err text_joiner_probe(struct text_joiner *j, const struct select_pace *pace, struct value outer,
                         text_row_fn *give, void *context) {
    eg_err err = probe(j, pace, outer, give, context);

    if (err != EG_AGAIN)
        buffer_clear(&j->outer);
    return err;
}
