/* select.c -- judging records, and what follows from it.
 *
 * A step opens a scan at the place that was left, judges record after record and leaves
 * its place again.  A full page looks on for one more match, so that the last page can say
 * that it is the last; what it passed meanwhile is not looked at again.
 *
 * select_replace goes through the table twice: first to see that every result may stand
 * in its record's place, then to put it there; so a wrong body changes nothing.  Where its
 * records are found by an index, in which they may move, the first time gathers their keys
 * and the second goes through those. */
#include "query/select.h"

#include "engine/err.h"
#include "engine/message.h"
#include "query/gather.h"
#include "query/select_copy.h"
#include "query/select_keys.h"
#include "query/settle.h"
#include "tables/far.h"
#include "tables/pattern.h"

#include <string.h>

enum {
    ARRAY32_BYTES = 5,
    CLOSE_UP_BYTES_MAX = 4096, /* of results: moved to get a shorter header */
    WORK_BETWEEN_LOOKS = 32,   /* records, before the clock is looked at */
    WORK_BYTES = 1024,         /* of a record: counts as one more        */
    PLACE_BYTES_MAX = RECORD_SIZE_MAX + 64,
    CHANGED_BYTES_MAX = 2 * RECORD_SIZE_MAX,
    REFUSALS_MAX = 100 * 1000, /* by a busy shard, one after the other: some seconds */
};

/* ASK_PAGE: of another node; ASK_MOMENT: until this node may read again; ASK_SETTLE: whether what
 * was looked at may be told. */
enum ask { ASK_NOTHING, ASK_CHANGE, ASK_SYNC, ASK_PAGE, ASK_MOMENT, ASK_SETTLE };

struct select {
    struct alloc *alloc;
    enum select_kind kind;
    uint64_t table_id;
    uint64_t version; /* of the schema, whose index the path may use */
    uint32_t arity;
    uint64_t shape;              /* of the table, when it was asked */
    uint8_t usual_header;        /* of a record's array with so many fields */
    struct predicate *predicate; /* NULL: a pattern */
    uint32_t weight;             /* of judging one record */
    struct predicate_machine machine;
    struct buffer question; /* specification or pattern; size 0: it came compiled */
    struct scan_path path;
    struct buffer place; /* behind what needs not be looked at again */
    struct gather *far;  /* in the scan's place, where other nodes are asked; NULL: none is */
    bool dirty;
    struct shard_set here; /* of dirty */
    uint64_t patient_ns;   /* of ASK_MOMENT; 0: not waiting                                  */
    uint64_t limit;

    bool begun;       /* this page has its header            */
    size_t header_at; /* in the result                       */
    uint64_t count;   /* results of this page; changes       */
    bool full;        /* the page has all it may have        */
    bool more;        /* and there is another                */
    bool rehearsed;   /* SELECT_REPLACE: all results will do */
    bool gathers;     /* ... and the rehearsal gathers keys  */
    struct select_keys keys;
    bool scanned; /* nothing is left to be looked at     */
    bool looked;  /* ... or nothing more for this page   */
    struct settle settle;

    struct buffer judged; /* a body's result; the record to be put or removed */
    enum ask ask;
    struct record_version seen; /* of ASK_CHANGE                 */
    uint32_t ask_from;          /* of ASK_SYNC: the next shard   */
    bool sync_again;
    uint32_t unanswered;
    bool waits; /* the answer is to ASK_MOMENT */
    uint32_t refusals;
    eg_err failed; /* an answer said so */
    struct err_note why;
};

static bool by_index(const struct select *s) {
    return scan_by_index(&s->path);
}

/* ---- open and close ------------------------------------------------------------- */

static struct value bytes_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

static eg_err open_question(struct select *s, struct table *t, struct reader *r,
                            const struct select_opts *o, struct err_note *note) {
    struct value pattern;
    eg_err err;

    if (o->compiled != NULL) {
        s->predicate = o->compiled;
        scan_choose(&s->path, t, r, s->predicate, o->reverse);
        return EG_OK;
    }
    if (!buffer_append(&s->question, o->question.at, o->question.size_bytes))
        return EG_MEMORY;
    if (o->kind == SELECT_INDEX)
        return page_index_path(t, bytes_of(&s->question), &s->path, note);
    if (o->kind != SELECT_MATCH) {
        err = predicate_open(&s->predicate, s->alloc, o->question, s->arity, note);
        if (err == EG_OK)
            scan_choose(&s->path, t, r, s->predicate, o->reverse);
        return err;
    }
    err = pattern_check(o->question, s->arity, note);
    pattern = (struct value){s->question.at, (uint32_t) s->question.size_bytes};
    if (err == EG_OK)
        scan_choose_pattern(&s->path, t, r, pattern);
    return err;
}

eg_err select_open(struct select **out, struct alloc *a, struct table *t, struct reader *r,
                   const struct select_opts *o, struct err_note *note) {
    const struct schema *schema = table_schema(t);
    struct select *s;
    eg_err err;

    if (o->kind == SELECT_REPLACE && schema->type == TABLE_BAG)
        return err_note(note, EG_BAD_REQUEST, "records of a bag cannot be replaced");
    s = alloc_zero(a, sizeof *s);
    if (s == NULL)
        return EG_MEMORY;
    s->alloc = a;
    s->kind = o->kind;
    s->limit = o->limit;
    s->dirty = o->dirty;
    s->table_id = schema->id;
    s->version = schema->version;
    s->arity = schema->attribute_count;
    s->shape = table_shape(t);
    s->usual_header = s->arity < 16 ? (uint8_t) (0x90 | s->arity) : 0; /* 0: no array's */
    s->rehearsed = o->kind != SELECT_REPLACE;
    predicate_machine_init(&s->machine, a);
    buffer_init(&s->question, a, SIZE_MAX);
    buffer_init(&s->place, a, PLACE_BYTES_MAX);
    buffer_init(&s->judged, a, CHANGED_BYTES_MAX);
    select_keys_init(&s->keys, a);
    err = open_question(s, t, r, o, note);
    s->gathers = o->kind == SELECT_REPLACE && by_index(s);
    s->weight = s->predicate != NULL ? predicate_weight(s->predicate) : 1;
    if (err != EG_OK) {
        select_close(s);
        return err;
    }
    *out = s;
    return EG_OK;
}

void select_close(struct select *s) {
    if (s->predicate != NULL)
        predicate_close(s->predicate);
    predicate_machine_fini(&s->machine);
    buffer_fini(&s->question);
    buffer_fini(&s->place);
    buffer_fini(&s->judged);
    select_keys_fini(&s->keys);
    if (s->far != NULL)
        gather_close(s->far);
    alloc_put(s->alloc, s, sizeof *s);
}

size_t select_bytes(const struct select *s) {
    return sizeof *s + (s->predicate != NULL ? predicate_bytes(s->predicate) : 0) +
           s->question.room_bytes + s->place.room_bytes + s->judged.room_bytes +
           s->machine.scratch.room_bytes + select_keys_bytes(&s->keys) +
           (s->far != NULL ? gather_bytes(s->far) : 0);
}

bool select_has_more(const struct select *s) {
    return s->more;
}

void select_next_page(struct select *s) {
    EG_ASSERT(s->more);
    s->begun = s->full = s->more = s->scanned = s->looked = false;
    s->settle = (struct settle){0};
    s->count = 0;
    if (s->far != NULL)
        s->failed = gather_resume(s->far);
}

/* ---- answers ----------------------------------------------------------------------- */

static bool gives_results(const struct select *s) {
    return s->kind <= SELECT_INDEX;
}

static eg_err too_large(struct err_note *note) {
    return err_note(note, EG_TOO_LARGE, "the answer is too large: ask with a limit");
}

static eg_err other_arity(struct err_note *note) {
    return err_note(note, EG_ABORTED, "the table's attributes were changed meanwhile");
}

/* Room for the longest header; how many results there will be is not known yet. */
static eg_err begin_results(struct select *s, struct buffer *result, struct err_note *note) {
    s->begun = true;
    s->header_at = result->size_bytes;
    if (buffer_room(result, ARRAY32_BYTES) == NULL)
        return too_large(note);
    result->size_bytes += ARRAY32_BYTES;
    return EG_OK;
}

static void end_results(struct select *s, struct buffer *result) {
    uint8_t *header = result->at + s->header_at;
    size_t body_bytes = result->size_bytes - s->header_at - ARRAY32_BYTES;
    struct value_writer w = value_writer_init(header, ARRAY32_BYTES);

    if (body_bytes <= CLOSE_UP_BYTES_MAX) {
        value_put_array(&w, (uint32_t) s->count);
        memmove(header + w.need_bytes, header + ARRAY32_BYTES, body_bytes);
        result->size_bytes -= ARRAY32_BYTES - w.need_bytes;
        return;
    }
    header[0] = 0xdd; /* array 32, though a shorter one might do */
    for (int i = 0; i < 4; i++)
        header[1 + i] = (uint8_t) (s->count >> (24 - 8 * i));
}

static eg_err end_count(const struct select *s, struct buffer *result) {
    uint8_t *room = buffer_room(result, 9);
    struct value_writer w;

    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, 9);
    value_put_u64(&w, s->count);
    result->size_bytes += w.need_bytes;
    return EG_OK;
}

/* ---- judging one record ----------------------------------------------------------------- */

/* Is it meant?  Then its result has been appended to `out`, where out is not NULL. */
static eg_err judge(struct select *s, const struct record *rec, struct buffer *out, bool *meant) {
    struct value array = record_value(rec);

    if (s->predicate != NULL)
        return predicate_run(&s->machine, s->predicate, array, out, meant);
    *meant =
        s->kind == SELECT_INDEX ||
        pattern_matches((struct value){s->question.at, (uint32_t) s->question.size_bytes}, array);
    if (*meant && out != NULL && !buffer_append(out, array.at, array.size_bytes))
        return EG_TOO_LARGE;
    return EG_OK;
}

/* One for the page; one more than that only says that there is another page. */
static eg_err take_result(struct select *s, const struct record *rec, struct buffer *result,
                          struct err_note *note) {
    bool meant = false;
    eg_err err = judge(s, rec, s->full ? NULL : result, &meant);

    if (err == EG_TOO_LARGE)
        return too_large(note);
    if (err != EG_OK || !meant)
        return err;
    if (s->full)
        s->more = true;
    else
        s->count++;
    return EG_OK;
}

/* Does the body yield true? */
static eg_err judge_true(struct select *s, const struct record *rec, bool *yes) {
    bool meant = false;
    eg_err err;

    buffer_clear(&s->judged);
    err = judge(s, rec, &s->judged, &meant);
    *yes = false;
    if (err == EG_OK && meant &&
        !value_get_bool((struct value){s->judged.at, (uint32_t) s->judged.size_bytes}, yes))
        *yes = false;
    return err;
}

/* May the body's result stand in the record's place? */
static eg_err check_replacement(const struct select *s, const struct record *rec,
                                struct err_note *note) {
    struct value v = {s->judged.at, (uint32_t) s->judged.size_bytes};
    struct value key;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != s->arity)
        return err_note(note, EG_BAD_REQUEST,
                        "the body yields something else than a record of %u attributes", s->arity);
    if (!array_element(v, 0, &key) || !value_equal(key, record_key(rec)))
        return err_note(note, EG_BAD_REQUEST, "the body yields a record with another key");
    if (v.size_bytes > RECORD_SIZE_MAX)
        return err_note(note, EG_TOO_LARGE, "the body yields a record of more than 16 MiB");
    return EG_OK;
}

/* Is there a change to be made?  Then s->judged is what is to be put or removed. */
static eg_err judge_change(struct select *s, const struct record *rec, bool *change,
                           struct err_note *note) {
    eg_err err;

    if (s->kind == SELECT_DELETE || s->kind == SELECT_REMOVE) {
        err = s->kind == SELECT_DELETE ? judge_true(s, rec, change) : judge(s, rec, NULL, change);
        buffer_clear(&s->judged);
        if (err == EG_OK && *change &&
            !buffer_append(&s->judged, record_array(rec), record_array_bytes(rec)))
            err = EG_MEMORY;
        return err;
    }
    buffer_clear(&s->judged);
    err = judge(s, rec, &s->judged, change);
    if (err == EG_TOO_LARGE)
        return err_note(note, err, "the body yields a record of more than 16 MiB");
    return err == EG_OK && *change ? check_replacement(s, rec, note) : err;
}

/* ---- changing one record ------------------------------------------------------------------- */

static struct shard_request change_request(const struct select *s) {
    return (struct shard_request){
        .op = s->kind == SELECT_REPLACE ? SHARD_REPLACE_SEEN : SHARD_REMOVE_SEEN,
        .sync_later = true,
        .value = {s->judged.at, (uint32_t) s->judged.size_bytes},
        .seen = s->seen,
    };
}

/* Where its shard is idle.  EG_AGAIN: it is not, or the record has changed meanwhile. */
static eg_err try_change(struct select *s, struct table *t, struct reader *r, bool *again,
                         struct err_note *note) {
    uint8_t room[64];
    struct buffer answer = {.alloc = s->alloc, .at = room, .room_bytes = sizeof room};
    struct shard_request q = change_request(s);
    bool done = false;
    eg_err err = table_try(t, r, &q, 1, &answer, note); /* a bool: never grows the buffer */

    *again = false;
    if (err != EG_OK)
        return err;
    EG_ASSERT(answer.at == room);
    if (!value_get_bool((struct value){room, (uint32_t) answer.size_bytes}, &done))
        return EG_INTERNAL;
    s->count += done;
    *again = !done;
    return EG_OK;
}

/* The keys are too many, or the index is going: all records are looked at, from the first. */
static void look_at_all(struct select *s) {
    s->path = (struct scan_path){.kind = SCAN_ALL};
    s->gathers = false;
    select_keys_clear(&s->keys);
    buffer_clear(&s->place);
}

static eg_err rehearse(struct select *s, const struct record *rec) {
    eg_err err = s->gathers ? select_keys_add(&s->keys, record_key(rec)) : EG_OK;

    if (err != EG_TOO_LARGE)
        return err;
    look_at_all(s);
    return EG_AGAIN;
}

/* EG_AGAIN: the place is before this record, and the step is over. */
static eg_err change_one(struct select *s, struct table *t, struct reader *r, struct scan *scan,
                         const struct record *rec, struct err_note *note) {
    bool change = false, again = false;
    eg_err err = judge_change(s, rec, &change, note);

    if (err != EG_OK || !change)
        return err;
    if (!s->rehearsed)
        return rehearse(s, rec);
    s->seen = (struct record_version){.hlc = rec->hlc, .dot = rec->dot};
    err = try_change(s, t, r, &again, note);
    if (err == EG_AGAIN || err == EG_BUSY) { /* its actor will answer in its own time */
        s->ask = ASK_CHANGE;
        again = true;
    }
    if (!again)
        return err;
    if (s->far != NULL) /* what was there first is asked for again where this comes to nothing */
        return s->ask == ASK_CHANGE ? EG_AGAIN : gather_resume(s->far);
    err = scan_place_before(scan, &s->place);
    return err == EG_OK ? EG_AGAIN : err;
}

/* ---- a step ------------------------------------------------------------------------------------
 */

static eg_err look_at(struct select *s, struct table *t, struct reader *r, struct scan *scan,
                      const struct record *rec, struct buffer *result, struct err_note *note) {
    bool yes = false;
    eg_err err;

    if (EG_UNLIKELY(*record_array(rec) != s->usual_header) &&
        value_count(record_value(rec)) != s->arity)
        return other_arity(note);
    if (gives_results(s))
        return take_result(s, rec, result, note);
    if (s->kind != SELECT_COUNT)
        return change_one(s, t, r, scan, rec, note);
    err = judge_true(s, rec, &yes);
    s->count += err == EG_OK && yes;
    return err;
}

/* The page is full: the next one begins here, or later where nothing else is meant. */
static eg_err fill_page(struct select *s, const struct scan *scan) {
    if (s->full || s->limit == 0 || s->count < s->limit || !gives_results(s))
        return EG_OK;
    s->full = true;
    if (s->kind != SELECT_RESULTS) { /* nobody asks for a second one */
        s->scanned = true;
        return EG_OK;
    }
    return scan_place(scan, &s->place);
}

static eg_err pause_if_over(struct select *s, const struct scan *scan,
                            const struct select_pace *pace) {
    eg_err err;

    if (!pace->is_over(pace->context))
        return EG_OK;
    err = scan_place(scan, &s->place);
    return err == EG_OK ? EG_AGAIN : err;
}

/* One after the other; *bytes: how much they are. */
static eg_err look_at_each(struct select *s, struct table *t, struct reader *r, struct scan *scan,
                           const struct record_batch *b, struct buffer *result, size_t *bytes,
                           struct err_note *note) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < b->count && err == EG_OK && !s->more && !s->scanned; i++) {
        record_batch_ahead(b, i);
        *bytes += record_array_bytes(b->record[i]);
        err = look_at(s, t, r, scan, b->record[i], result, note);
        if (err == EG_OK && !s->more)
            err = fill_page(s, scan);
    }
    return err;
}

/* Until the scan's end, a full page, or the end of the step: EG_AGAIN. */
static eg_err look_on(struct select *s, struct table *t, struct reader *r, struct scan *scan,
                      const struct select_pace *pace, struct buffer *result,
                      struct err_note *note) {
    struct record_batch b;
    uint32_t work = 0, reach_bytes = RECORD_REACH_BYTES;
    eg_err err = EG_OK;

    while (err == EG_OK && ((b = scan_next_batch(scan)).count > 0 || scan_paused(scan))) {
        uint32_t looked_at = b.count;
        size_t bytes = 0;
        bool sure;

        if (EG_UNLIKELY(b.count == 0)) {
            err = pause_if_over(s, scan, pace);
            continue;
        }

        b.reach_bytes = reach_bytes;
        sure =
            b.count > 1 && s->predicate != NULL && predicate_screen(s->predicate, &b, &reach_bytes);

        work += looked_at * s->weight;
        if (sure && s->kind == SELECT_COUNT && predicate_screens_true(s->predicate))
            s->count += b.count;
        else
            err = look_at_each(s, t, r, scan, &b, result, &bytes, note);
        if (err != EG_OK || s->more || s->scanned)
            return err;
        work += (uint32_t) (bytes / WORK_BYTES);
        if (work < WORK_BETWEEN_LOOKS || !scan_may_stop(scan))
            continue;
        work = 0;
        err = pause_if_over(s, scan, pace);
    }
    if (err == EG_OK)
        err = reader_take_fault(r);
    s->scanned = err == EG_OK;
    return err;
}

/* Is all that was asked for in the range that the scan goes through? */
static bool copies(const struct select *s, struct select_copy *c) {
    *c = (struct select_copy){.arity = s->arity};
    return s->kind == SELECT_RESULTS && s->limit == 0 && s->path.kind == SCAN_KEY_RANGE &&
           predicate_is_key_range(s->predicate, &c->key_elements);
}

static eg_err copy_on(struct select *s, struct reader *r, struct scan *scan, struct select_copy *c,
                      const struct select_pace *pace, struct buffer *result,
                      struct err_note *note) {
    eg_err err = select_copy_range(c, scan, pace, result);

    s->count += c->count;
    if (err == EG_AGAIN) {
        eg_err placed = scan_place(scan, &s->place);
        return placed == EG_OK ? EG_AGAIN : placed;
    }
    if (err == EG_TOO_LARGE)
        return too_large(note);
    if (err == EG_ABORTED)
        return other_arity(note);
    if (err == EG_OK)
        err = reader_take_fault(r);
    s->scanned = err == EG_OK;
    return err;
}

/* Pages end behind any record, and so do steps that change records. */
static eg_err open_scan(const struct select *s, struct table *t, struct reader *r,
                        struct value place, struct scan **out) {
    if (s->kind == SELECT_COUNT || s->kind == SELECT_MATCH ||
        (s->kind == SELECT_RESULTS && s->limit == 0))
        return scan_open_quick(out, t, r, &s->path, place);
    return scan_open(out, t, r, &s->path, place);
}

/* ---- records of other nodes --------------------------------------------------------- */

static bool changes(const struct select *s) {
    return !gives_results(s) && s->kind != SELECT_COUNT;
}

/* How many another node has counted. */
static eg_err count_part(void *user, struct value body) {
    struct select *s = user;
    size_t used_bytes;
    uint64_t n;

    if (value_scan(body.at, body.size_bytes, &used_bytes) != EG_OK || !value_get_u64(body, &n))
        return EG_INTERNAL; /* a node that talks nonsense */
    s->count += n;
    return EG_OK;
}

/* What changes records looks at all of them: changed, they move in an index. */
static eg_err open_far(struct select *s, struct table *t) {
    bool ordered = table_type(t) == TABLE_ORDERED_SET;
    struct gather_opts o = {
        .kind = PAGE_RECORDS, .merged = ordered && !by_index(s), .reverse = s->path.reverse};

    if (changes(s))
        o.merged = o.reverse = false;
    else if (s->question.size_bytes != 0)
        o.kind = s->kind == SELECT_MATCH   ? PAGE_MATCH
                 : s->kind == SELECT_INDEX ? PAGE_INDEX
                 : s->kind == SELECT_COUNT ? PAGE_COUNT
                                           : PAGE_SELECT;
    if (o.kind == PAGE_COUNT) {
        o.merged = false;
        o.part = count_part;
        o.user = s;
    }
    o.question = (struct value){s->question.at, (uint32_t) s->question.size_bytes};
    if (o.kind == PAGE_RECORDS)
        o.question = (struct value){0};
    s->gathers = false;
    return gather_open(&s->far, s->alloc, t, &o);
}

/* A change asks for one record, so that it can ask for that one again. */
static eg_err next_far(struct select *s, struct table *t, struct reader *r,
                       const struct record **rec, struct err_note *note) {
    eg_err err = EG_OK;

    if (changes(s) && s->rehearsed) {
        gather_want(s->far, 1);
        err = gather_may_mark(s->far) ? gather_mark(s->far) : EG_OK;
    } else if (gives_results(s) && s->limit != 0) {
        gather_want(s->far, s->count < s->limit ? s->limit - s->count : 1);
    }
    return err == EG_OK ? gather_next(s->far, t, r, rec, note) : err;
}

static eg_err fill_page_far(struct select *s) {
    if (s->full || s->limit == 0 || s->count < s->limit || !gives_results(s))
        return EG_OK;
    s->full = true;
    s->scanned = s->kind != SELECT_RESULTS;
    return gather_mark(s->far);
}

static eg_err look_far(struct select *s, struct table *t, struct reader *r,
                       const struct select_pace *pace, struct buffer *result,
                       struct err_note *note) {
    const struct record *rec;
    uint32_t work = 0;
    eg_err err = EG_OK;

    while (err == EG_OK && !s->scanned && !s->more) {
        err = next_far(s, t, r, &rec, note);
        if (err == EG_AGAIN)
            s->ask = ASK_PAGE;
        if (err != EG_OK)
            break;
        err = look_at(s, t, r, NULL, rec, result, note);
        if (err == EG_OK)
            err = fill_page_far(s);
        if (err == EG_OK && ++work % WORK_BETWEEN_LOOKS == 0 && pace->is_over(pace->context))
            return EG_AGAIN;
    }
    s->scanned |= err == EG_NOT_FOUND;
    return err == EG_NOT_FOUND ? EG_OK : err;
}

/* This node had all it needed when the question came, and lacks something now: between two views
 * that is over soon. */
static eg_err wait_for_near(struct select *s, struct table *t, struct err_note *note) {
    uint64_t now_ns = table_now_ns(t);

    if (s->patient_ns == 0)
        s->patient_ns = now_ns + table_far_wait_ns(t);
    if (now_ns >= s->patient_ns)
        return table_far_nobody(t, note, "this node's copy has gone meanwhile: ask again");
    s->ask = ASK_MOMENT;
    return EG_AGAIN;
}

static bool is_fresh(const struct select *s) {
    return s->place.size_bytes == 0 && s->count == 0 && !s->full && s->keys.count == 0 &&
           (s->kind != SELECT_REPLACE || !s->rehearsed);
}

static eg_err scan_on(struct select *s, struct table *t, struct reader *r,
                      const struct select_pace *pace, struct buffer *result, struct err_note *note);

/* Only what is here, and all of it. */
static eg_err look_dirty(struct select *s, struct table *t, struct reader *r,
                         const struct select_pace *pace, struct buffer *result,
                         struct err_note *note) {
    s->here = table_shards_here(t, true);
    if (shard_set_is_empty(&s->here))
        return err_note(note, EG_NO_REPLICA, "this node has no copy of the table");
    return scan_on(s, t, r, pace, result, note);
}

/* From where the records are. */
static eg_err look(struct select *s, struct table *t, struct reader *r,
                   const struct select_pace *pace, struct buffer *result, struct err_note *note) {
    eg_err err = EG_OK;

    if (EG_UNLIKELY(s->dirty))
        return look_dirty(s, t, r, pace, result, note);
    if (s->far == NULL && EG_UNLIKELY(!table_is_near(t, false))) {
        if (!is_fresh(s))
            return wait_for_near(s, t, note);
        err = open_far(s, t);
    }
    s->patient_ns = 0;
    if (err != EG_OK)
        return err;
    return s->far != NULL ? look_far(s, t, r, pace, result, note)
                          : scan_on(s, t, r, pace, result, note);
}

static eg_err scan_on(struct select *s, struct table *t, struct reader *r,
                      const struct select_pace *pace, struct buffer *result,
                      struct err_note *note) {
    struct value place = {s->place.at, (uint32_t) s->place.size_bytes};
    struct select_copy whole;
    struct scan *scan;
    uint8_t *copy;
    eg_err err;

    s->path.only = s->dirty && !table_is_near(t, true) ? &s->here : NULL;

    if (place.size_bytes != 0) { /* the scan borrows it, and we write another meanwhile */
        copy = reader_scratch(r, place.size_bytes);
        if (copy == NULL)
            return EG_MEMORY;
        memcpy(copy, place.at, place.size_bytes);
        place.at = copy;
    }
    err = open_scan(s, t, r, place, &scan);
    if (err == EG_BAD_REQUEST && place.size_bytes == 0) { /* its index is just going */
        look_at_all(s);
        err = open_scan(s, t, r, place, &scan);
    }
    if (err == EG_BAD_REQUEST)
        return err_note(note, EG_ABORTED, "the index that was used has gone: ask again");
    if (err != EG_OK)
        return err;
    return copies(s, &whole) ? copy_on(s, r, scan, &whole, pace, result, note)
                             : look_on(s, t, r, scan, pace, result, note);
}

/* Change the records of the keys that were gathered. */
static eg_err change_gathered(struct select *s, struct table *t, struct reader *r,
                              const struct select_pace *pace, struct buffer *result,
                              struct err_note *note) {
    struct value key;
    eg_err err = EG_OK;

    while (select_keys_now(&s->keys, &key)) {
        s->path = (struct scan_path){.kind = SCAN_KEY, .range = range_of_value(key)};
        err = scan_on(s, t, r, pace, result, note);
        if (err != EG_OK)
            return err;
        buffer_clear(&s->place);
        select_keys_pass(&s->keys);
        s->scanned = false;
        if (pace->is_over(pace->context))
            return EG_AGAIN;
    }
    s->scanned = true;
    return EG_OK;
}

/* All results of select_replace will do: now for the deed. */
static eg_err end_rehearsal(struct select *s) {
    s->rehearsed = true;
    s->scanned = false;
    buffer_clear(&s->place);
    if (s->far != NULL)
        gather_rewind(s->far);
    return EG_AGAIN;
}

/* EG_OK: nothing of what was changed is waiting for the disc. */
static eg_err wait_for_disc(struct select *s, struct table *t) {
    bool sync = s->kind != SELECT_COUNT && table_schema(t)->durability == DURABILITY_SYNC;

    if (!sync || s->count == 0)
        return EG_OK;
    if (s->ask != ASK_SYNC || s->sync_again)
        s->ask_from = 0;
    s->sync_again = false;
    s->ask = ASK_SYNC;
    return s->ask_from < table_shards(t) ? EG_AGAIN : EG_OK;
}

/* What was changed stays so: where it cannot be told how much, it is in doubt. */
static eg_err settle_looked(struct select *s, struct table *t, struct err_note *note) {
    eg_err err = settle_step(&s->settle, t, note);

    if (err == EG_AGAIN)
        s->ask = ASK_SETTLE;
    return err != EG_OK && err != EG_AGAIN && changes(s) && s->count != 0 ? EG_IN_DOUBT : err;
}

static eg_err check_table(const struct select *s, struct table *t, struct err_note *note) {
    const struct schema *schema = table_schema(t);

    if (table_dropped(t) || schema->id != s->table_id)
        return err_note(note, EG_NO_TABLE, "the table was dropped meanwhile");
    if (table_shape(t) != s->shape)
        return err_note(note, EG_ABORTED, "the table's attributes were changed meanwhile");
    if (schema->version != s->version && by_index(s))
        return err_note(note, EG_ABORTED, "the table's indexes were changed meanwhile");
    return EG_OK;
}

eg_err select_step(struct select *s, struct table *t, struct reader *r,
                   const struct select_pace *pace, struct buffer *result, struct err_note *note) {
    eg_err err = s->failed;

    EG_ASSERT(s->unanswered == 0);
    if (s->ask >= ASK_PAGE)
        s->ask = ASK_NOTHING;
    if (err != EG_OK)
        return err_note(note, err, "%s", s->why.text);
    err = check_table(s, t, note);
    if (err == EG_OK && !s->begun && gives_results(s))
        err = begin_results(s, result, note);
    if (err == EG_OK && !s->dirty)
        settle_begin(&s->settle, t, &s->path);
    if (err == EG_OK && !s->scanned && !s->looked)
        err = s->rehearsed && s->gathers && (s->dirty || table_is_near(t, false))
                  ? change_gathered(s, t, r, pace, result, note)
                  : look(s, t, r, pace, result, note);
    if (err != EG_OK)
        return err;
    if (!s->rehearsed)
        return end_rehearsal(s);
    s->looked = true;
    err = settle_looked(s, t, note);
    if (err != EG_OK)
        return err;
    if (gives_results(s)) {
        end_results(s, result);
        return EG_OK;
    }
    err = wait_for_disc(s, t);
    return err == EG_OK ? end_count(s, result) : err;
}

/* ---- asking shards
 * -------------------------------------------------------------------------------- */

eg_err select_ask(struct select *s, struct table *t, eg_pid *to, struct message **out,
                  struct err_note *note) {
    struct shard_request q;
    eg_err err = EG_NOT_FOUND;

    if (s->ask == ASK_CHANGE && s->unanswered == 0) {
        q = change_request(s);
        err = table_message(t, &q, to, out, note);
    } else if (s->ask == ASK_SYNC && s->ask_from < table_shards(t)) {
        err = table_sync_message(t, s->ask_from, to, out);
        s->ask_from += err == EG_OK;
    } else if (s->ask == ASK_PAGE) {
        err = gather_ask(s->far, t, to, out);
    } else if (s->ask == ASK_SETTLE) {
        err = settle_ask(&s->settle, t, to, out);
    } else if (s->ask == ASK_MOMENT && s->unanswered == 0 && table_far(t) != NULL) {
        err = table_far(t)->ask(table_far(t), t, 0, (struct value){0}, to, out);
        s->ask = err == EG_OK ? ASK_NOTHING : s->ask;
        s->waits = err == EG_OK;
    }
    s->unanswered += err == EG_OK;
    return err;
}

/* What was put must not be judged again; what was removed is gone. */
static eg_err pass_changed(struct select *s) {
    struct value v = {s->judged.at, (uint32_t) s->judged.size_bytes};

    if (s->kind != SELECT_REPLACE || s->far != NULL)
        return EG_OK;
    EG_ASSERT(array_element(v, 0, &v));
    buffer_clear(&s->place);
    return buffer_append(&s->place, v.at, v.size_bytes) ? EG_OK : EG_MEMORY;
}

static eg_err change_answered(struct select *s, struct value result) {
    bool done = false;

    if (!value_get_bool(result, &done))
        return EG_INTERNAL;
    if (!done) /* it is another record by now: the place is before it */
        return s->far != NULL ? gather_resume(s->far) : EG_OK;
    s->count++;
    return pass_changed(s);
}

void select_answered(struct select *s, eg_err err, struct value result) {
    bool refused = err == EG_BUSY || err == EG_NOPROC;

    EG_ASSERT(s->unanswered > 0);
    s->unanswered--;
    if (s->waits || s->ask == ASK_PAGE) {
        s->waits = false;
        if (s->ask == ASK_PAGE)
            gather_answered(s->far, err, result);
        return;
    }
    if (s->ask == ASK_SETTLE) {
        settle_answered(&s->settle, err, result);
        return;
    }
    s->refusals = refused ? s->refusals + 1 : 0;
    if (refused && s->refusals < REFUSALS_MAX) {
        s->sync_again |= s->ask == ASK_SYNC;
        err = s->ask == ASK_CHANGE && s->far != NULL ? gather_resume(s->far) : EG_OK;
    } else if (err == EG_OK && s->ask == ASK_CHANGE) {
        err = change_answered(s, result);
    }
    if (s->ask == ASK_CHANGE)
        s->ask = ASK_NOTHING;
    if (err == EG_OK || s->failed != EG_OK)
        return;
    s->failed = err == EG_NOPROC ? EG_BUSY : err;
    (void) err_note(&s->why, err, "%.*s", (int) result.size_bytes, (const char *) result.at);
}
