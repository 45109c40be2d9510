/* text_run.c -- a select under way. */
#include "query/text_run.h"

#include "query/text_column.h"
#include "query/text_crew.h"
#include "query/gather.h"
#include "query/text_far.h"
#include "query/text_field.h"
#include "query/text_partial.h"
#include "tables/far.h"

#include <string.h>

enum {
    CLOCK_ROWS = 16,          /* records between looks at the clock */
    CLOCK_ROWS_DIRECT = 64,   /* where little is done for each      */
    ROW_BYTES_MAX = 48 << 20, /* of one row */
    HEADER_BYTES = 5,
};

/* No more rows are wanted: not an error, but a way out of the loops. */
#define STOP EG_NOT_FOUND

static struct value bytes_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

/* What another node has made of its records. */
static eg_err hear_part(void *user, struct value body) {
    struct text_run *r = user;

    return text_partial_add(&r->groups, body);
}

static eg_err open_run(struct text_run **out, struct text_plan *plan, bool far) {
    struct text_run *r = alloc_zero(plan->alloc, sizeof *r);
    uint64_t most;
    eg_err err = EG_OK;

    if (r == NULL)
        return EG_MEMORY;
    r->plan = plan;
    r->memory.alloc = plan->alloc;
    predicate_machine_init(&r->machine, plan->alloc);
    buffer_init(&r->place, plan->alloc, RECORD_SIZE_MAX);
    buffer_init(&r->resume, plan->alloc, RECORD_SIZE_MAX);
    buffer_init(&r->values, plan->alloc, ROW_BYTES_MAX);
    buffer_init(&r->group, plan->alloc, ROW_BYTES_MAX);
    r->reach_bytes = RECORD_REACH_BYTES;
    text_joiner_init(&r->joiner, plan, &r->memory, &r->machine);
    if (__builtin_add_overflow(plan->limit, plan->offset, &most) || plan->limit == TEXT_NO_LIMIT)
        most = UINT64_MAX;
    text_rows_init(&r->rows, &r->memory, plan->order_count, plan->descending, most);
    if (plan->grouped)
        err = text_groups_init(&r->groups, plan, &r->memory);
    if (err == EG_OK && far)
        err = text_far_begin(plan, hear_part, r);
    if (err == EG_OK && far)
        text_far_look(plan); /* others may look before our first step does */
    if (err != EG_OK) {
        r->plan = NULL; /* it stays the caller's */
        text_run_close(r);
        return err;
    }
    *out = r;
    return EG_OK;
}

eg_err text_run_open(struct text_run **out, struct text_plan *plan) {
    return open_run(out, plan, true);
}

eg_err text_run_open_here(struct text_run **out, struct text_plan *plan) {
    return open_run(out, plan, false);
}

void text_run_close(struct text_run *r) {
    struct alloc *alloc = r->memory.alloc;

    if (r->leads)
        text_crew_dismiss(r->crew);
    if (r->groups.plan != NULL)
        text_groups_fini(&r->groups);
    text_rows_fini(&r->rows);
    text_joiner_fini(&r->joiner);
    buffer_fini(&r->place);
    buffer_fini(&r->resume);
    buffer_fini(&r->values);
    buffer_fini(&r->group);
    predicate_machine_fini(&r->machine);
    if (r->plan != NULL)
        text_plan_close(r->plan);
    alloc_put(alloc, r, sizeof *r);
}

static size_t far_bytes(const struct text_plan *p) {
    size_t bytes = 0;

    for (uint32_t i = 0; i < p->source_count; i++)
        bytes += p->source[i].far != NULL ? gather_bytes(p->source[i].far) : 0;
    return bytes;
}

size_t text_run_bytes(const struct text_run *r) {
    return sizeof *r + r->memory.used_bytes + r->values.room_bytes + r->group.room_bytes +
           r->place.room_bytes + r->resume.room_bytes + arena_bytes(r->plan->arena) +
           predicate_bytes(r->plan->input) + far_bytes(r->plan);
}

void text_run_page(struct text_run *r, uint64_t most) {
    r->page_most = most == 0 ? UINT64_MAX : most;
    r->page_rows = 0;
    r->full = r->more = false;
    if (r->looked)
        text_far_look_anew(r->plan);
    r->looked = false;
    /* A join has no place to go on from: what is behind the page is kept too. */
    if (r->plan->order_count > 0 || (r->plan->join != TEXT_JOIN_NONE && most != 0))
        r->keeps = true;
    /* Only a page of plain rows may end anywhere. */
    r->quick = r->plan->grouped || r->keeps || most == 0;
}

/* ---- the page -------------------------------------------------------------------------- */

/* Another row has come: is it for the page?  STOP: no, and no other will be. */
static eg_err admit(struct text_run *r, bool *shown) {
    *shown = false;
    if (r->given >= r->plan->limit)
        return STOP;
    if (r->skipped < r->plan->offset) {
        r->skipped++;
        return EG_OK;
    }
    if (r->full) {
        r->more = true;
        return STOP;
    }
    *shown = true;
    r->given++;
    r->page_rows++;
    r->full = r->page_rows == r->page_most;
    return EG_OK;
}

static eg_err page_bound(const struct text_run *r) {
    return r->page->size_bytes <= TEXT_PAGE_BYTES_MAX ? EG_OK : EG_TOO_LARGE;
}

/* The program makes the row in the page itself, and what is not shown is taken back. */
static eg_err show(struct text_run *r, const struct predicate *p, struct value record) {
    size_t before_bytes = r->page->size_bytes;
    bool matched = false, shown = false;
    bool blind = r->full || r->skipped < r->plan->offset;
    eg_err err = predicate_run(&r->machine, p, record, blind ? NULL : r->page, &matched);

    if (err == EG_OK && matched)
        err = admit(r, &shown);
    if (!shown)
        r->page->size_bytes = before_bytes;
    return err == EG_OK ? page_bound(r) : err;
}

/* ---- rows from the tables ----------------------------------------------------------------- */

static eg_err take_direct(struct text_run *r, struct value row) {
    const struct text_plan *p = r->plan;
    const uint8_t *field[SCHEMA_ATTRIBUTES_MAX * TEXT_TABLES_MAX];
    struct value values[TEXT_GROUPS_MAX + TEXT_AGGREGATES_MAX];
    const uint8_t *at = text_field_first(row);
    bool matched = true;

    if (p->filtered) {
        eg_err err = predicate_run(&r->machine, p->input, row, NULL, &matched);
        if (err != EG_OK || !matched)
            return err;
    }
    for (uint32_t i = 0; i < p->field_end; i++) {
        field[i] = at;
        at = text_field_skip(at);
    }
    if (p->group_count == 0)
        return text_groups_add_fields(&r->groups, field);
    for (uint32_t i = 0; i < p->value_count; i++)
        values[i] = value_of(field[p->fields[i]]);
    return text_groups_add(&r->groups, values);
}

static eg_err make_values(struct text_run *r, const struct predicate *p, struct value row,
                          bool *matched) {
    buffer_clear(&r->values);
    return predicate_run(&r->machine, p, row, &r->values, matched);
}

static eg_err take_grouped(struct text_run *r, struct value row) {
    struct value values[TEXT_GROUPS_MAX + TEXT_AGGREGATES_MAX];
    struct value_iter it;
    bool matched = false;
    eg_err err = make_values(r, r->plan->input, row, &matched);

    if (err != EG_OK || !matched)
        return err;
    it = value_iter_of(bytes_of(&r->values));
    for (uint32_t i = 0; i < r->plan->value_count; i++)
        EG_ASSERT(value_iter_next(&it, &values[i]));
    return text_groups_add(&r->groups, values);
}

static eg_err take_ordered(struct text_run *r, const struct predicate *p, struct value row) {
    bool matched = false;
    eg_err err = make_values(r, p, row, &matched);

    return err == EG_OK && matched ? text_rows_push(&r->rows, bytes_of(&r->values)) : err;
}

/* text_row_fn */
static eg_err take(void *context, struct value row) {
    struct text_run *r = context;
    const struct text_plan *p = r->plan;

    if (p->grouped)
        return p->direct ? take_direct(r, row) : take_grouped(r, row);
    return r->keeps ? take_ordered(r, p->input, row) : show(r, p->input, row);
}

/* How many records there are is known without looking at them. */
static bool counts_all(const struct text_plan *p) {
    return p->grouped && p->group_count == 0 && p->value_count == 0 && !p->filtered &&
           p->source_count == 1 && p->source[0].path.kind == SCAN_ALL;
}

static eg_err count_all(struct text_run *r, struct reader *reader) {
    struct text_source *s = &r->plan->source[0];
    uint64_t size = 0;
    eg_err err = EG_OK;

    if (s->far != NULL)
        err = text_far_size(r->plan, s, reader, &size, &r->why);
    else
        size = table_size(s->table, reader);
    if (err != EG_OK)
        return err;
    for (uint32_t i = 0; i < r->plan->aggregate_count; i++)
        r->groups.all->tally[i].count = size;
    return reader_take_fault(reader);
}

/* One after the other. */
static eg_err take_each(struct text_run *r, const struct record_batch *b, uint32_t arity) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < b->count && err == EG_OK; i++) {
        struct value row = record_value(b->record[i]);

        record_batch_ahead(b, i);
        err = text_field_fits(row, arity) ? take(r, row) : EG_ABORTED;
    }
    return err;
}

static eg_err take_batch(struct text_run *r, struct record_batch *b, uint32_t arity) {
    const struct text_plan *p = r->plan;
    bool all = !p->filtered, taken = false;
    eg_err err = EG_OK;

    if (b->count == 1)
        return take_each(r, b, arity);
    b->reach_bytes = r->reach_bytes;
    if (p->filtered)
        all = predicate_screen(p->input, b, &r->reach_bytes);
    else if (p->direct)
        r->reach_bytes = 0; /* the columns will say */
    if (all && p->direct && p->group_count == 0)
        err = text_groups_add_batch(&r->groups, b, arity, &r->reach_bytes, &taken);
    if (taken || err != EG_OK)
        return err;
    r->reach_bytes = RECORD_REACH_BYTES;
    return take_each(r, b, arity);
}

eg_err text_run_count(struct text_run *r, struct record_batch *b) {
    EG_ASSERT(r->plan->grouped);
    return take_batch(r, b, r->plan->source[0].arity);
}

eg_err text_run_feed(struct text_run *r, struct value row, struct buffer *page, bool *enough) {
    const struct text_plan *p = r->plan;
    eg_err err = EG_OK;

    r->page = page;
    if (p->join == TEXT_JOIN_NONE && !text_field_fits(row, p->source[0].arity))
        return EG_ABORTED;
    *enough = !p->grouped && !r->keeps && r->given >= p->limit; /* limit 0 */
    if (!*enough)
        err = take(r, row);
    *enough = !p->grouped && !r->keeps && r->given >= p->limit;
    return err;
}

void text_run_fed(struct text_run *r) {
    r->fed = true;
}

/* The same of a table that is not all here. */
static eg_err read_far(struct text_run *r, struct text_source *s, struct reader *reader,
                       const struct select_pace *pace) {
    struct record_batch b = {.count = 1};
    const struct record *rec;
    bool was_full = r->full;
    eg_err err = EG_OK;

    for (uint32_t n = 1; err == EG_OK; n++) {
        uint64_t left = r->page_most - r->page_rows;
        gather_want(s->far, r->quick ? 0 : EG_MAX(left, (uint64_t) 1));
        err = text_far_next(r->plan, s, reader, &rec, &r->why);
        if (err != EG_OK)
            break;
        b.record = &rec;
        err = take_batch(r, &b, s->arity);
        if (err == EG_OK && r->full && !was_full) {
            err = gather_mark(s->far);
            was_full = true;
        }
        if (err == EG_OK && n % CLOCK_ROWS == 0 && pace->is_over(pace->context))
            return EG_AGAIN;
    }
    return err == EG_NOT_FOUND && !r->more ? EG_OK : err;
}

/* EG_AGAIN: the step is over; STOP: no more are wanted; EG_OK: that were all. */
static eg_err read_one_table(struct text_run *r, struct reader *reader,
                             const struct select_pace *pace) {
    struct text_source *s = &r->plan->source[0];
    uint32_t clock_rows = r->plan->direct ? CLOCK_ROWS_DIRECT : CLOCK_ROWS;
    struct record_batch b;
    struct scan *scan;
    bool was_full = r->full;
    uint32_t work = 0, weight = predicate_weight(r->plan->input);
    eg_err err;

    if (EG_UNLIKELY(s->far != NULL))
        return read_far(r, s, reader, pace);
    err = text_far_check(r->plan, s, &r->why);
    if (err != EG_OK)
        return err;
    err = r->quick ? scan_open_quick(&scan, s->table, reader, &s->path, bytes_of(&r->place))
                   : scan_open(&scan, s->table, reader, &s->path, bytes_of(&r->place));
    if (err == EG_BAD_REQUEST)
        return EG_ABORTED; /* the index that was chosen has gone */
    while (err == EG_OK && ((b = scan_next_batch(scan)).count > 0 || scan_paused(scan))) {
        work += b.count > 0 ? b.count * weight : clock_rows; /* paused: it may stop there */
        if (b.count > 0)
            err = take_batch(r, &b, s->arity);
        if (err == EG_OK && r->full && !was_full) {
            err = scan_place(scan, &r->resume);
            was_full = true;
        }
        if (work < clock_rows || err != EG_OK || !scan_may_stop(scan))
            continue;
        work = 0;
        if (pace->is_over(pace->context)) {
            err = scan_place(scan, &r->place);
            return err != EG_OK ? err : EG_AGAIN;
        }
    }
    return err == EG_OK ? reader_take_fault(reader) : err;
}

/* Shard after shard, as long as there is one that nobody has taken. */
static eg_err read_shards(struct text_run *r, struct reader *reader,
                          const struct select_pace *pace) {
    uint32_t shard;
    eg_err err = EG_OK;

    while (err == EG_OK) {
        if (!r->in_shard) {
            if (!text_crew_take(r->crew, &shard))
                return EG_OK;
            r->in_shard = true;
            r->shard = (struct shard_set){0};
            shard_set_add(&r->shard, shard);
            buffer_clear(&r->place);
        }
        r->plan->source[0].path.only = &r->shard;
        err = read_one_table(r, reader, pace);
        if (err != EG_OK)
            break;
        r->in_shard = false;
        if (pace->is_over(pace->context))
            err = EG_AGAIN; /* many small ones look at no clock */
    }
    return err;
}

static eg_err read_with_crew(struct text_run *r, struct reader *reader,
                             const struct select_pace *pace) {
    eg_err err;

    do {
        err = read_shards(r, reader, pace);
        if (err != EG_OK)
            return err;
        err = text_crew_join(r->crew, r);
    } while (err == EG_NOT_FOUND);
    r->awaits = err == EG_AGAIN;
    return err;
}

void text_run_share(struct text_run *r, struct text_crew *crew) {
    r->crew = crew;
    text_run_page(r, 0);
}

void text_run_lead(struct text_run *r, struct text_crew *crew) {
    r->crew = crew;
    r->leads = true;
}

eg_err text_run_help(struct text_run *r, struct catalog *catalog, struct reader *reader,
                     const struct select_pace *pace, struct err_note *note) {
    eg_err err = text_plan_check(r->plan, catalog, note);

    r->why.text[0] = '\0';
    r->plan->asking = NULL;
    if (err == EG_OK)
        err = read_shards(r, reader, pace);
    r->awaits = err == EG_AGAIN && r->plan->asking != NULL;
    return err != EG_OK && err != EG_AGAIN && r->why.text[0] != '\0'
               ? err_note(note, err, "%s", r->why.text)
               : err;
}

eg_err text_run_join(struct text_run *r, struct text_run *hand) {
    static const uint8_t nil = 0xc0;
    const struct text_plan *p = r->plan;
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < p->aggregate_count && err == EG_OK; i++) {
        const struct text_tally *t = &hand->groups.all->tally[i];
        struct value best =
            t->best == NULL ? (struct value){&nil, 1} : (struct value){t->best, t->best_bytes};

        err = text_tally_merge(&r->groups.all->tally[i], p->aggregates[i], t, best, &r->memory);
    }
    if (err != EG_OK || !hand->in_shard)
        return err;
    r->in_shard = true;
    r->shard = hand->shard;
    buffer_clear(&r->place);
    return buffer_append(&r->place, hand->place.at, hand->place.size_bytes) ? EG_OK : EG_MEMORY;
}

static eg_err read_rows(struct text_run *r, struct reader *reader, const struct select_pace *pace) {
    const struct text_plan *p = r->plan;
    eg_err err;

    r->awaits = false;
    if (r->fed || (!p->grouped && r->given >= p->limit))
        return EG_OK;
    r->why.text[0] = '\0';
    text_far_look(r->plan);
    if (counts_all(p) && (p->source[0].far != NULL || table_is_near(p->source[0].table, false)))
        err = count_all(r, reader);
    else if (r->crew != NULL)
        err = read_with_crew(r, reader, pace);
    else if (p->join != TEXT_JOIN_NONE)
        err = text_joiner_step(&r->joiner, reader, pace, take, r, &r->why);
    else
        err = read_one_table(r, reader, pace);
    return err == STOP ? EG_OK : err;
}

/* ---- rows from groups, rows from the heap --------------------------------------------------- */

static eg_err read_groups(struct text_run *r, const struct select_pace *pace,
                          struct err_note *note) {
    eg_err err = EG_OK;

    while (err == EG_OK && r->next_group < r->groups.count) {
        buffer_clear(&r->group);
        err = text_groups_put(&r->groups, r->next_group, &r->group, note);
        if (err == EG_OK && r->keeps)
            err = take_ordered(r, r->plan->output, bytes_of(&r->group));
        else if (err == EG_OK)
            err = show(r, r->plan->output, bytes_of(&r->group));
        if (err == STOP)
            return EG_OK; /* this group is the next page's first */
        r->next_group++;
        if (err == EG_OK && r->next_group % CLOCK_ROWS == 0 && pace->is_over(pace->context))
            return EG_AGAIN;
    }
    return err;
}

/* A sorted row's columns, behind its keys. */
static eg_err show_columns(struct text_run *r, struct value row) {
    struct value_iter it = value_iter_of(row);
    uint8_t *room = buffer_room(r->page, row.size_bytes + HEADER_BYTES);
    struct value_writer w;
    struct value key;

    if (room == NULL)
        return EG_TOO_LARGE;
    for (uint32_t i = 0; i < r->plan->order_count; i++)
        EG_ASSERT(value_iter_next(&it, &key));
    w = value_writer_init(room, row.size_bytes + HEADER_BYTES);
    value_put_array(&w, r->plan->column_count);
    value_put_raw(&w, (struct value){it.at, (uint32_t) (row.at + row.size_bytes - it.at)});
    r->page->size_bytes += w.need_bytes;
    return page_bound(r);
}

static eg_err emit(struct text_run *r, const struct select_pace *pace) {
    struct value row;
    bool shown;
    eg_err err = EG_OK;

    for (uint32_t n = 1; err == EG_OK && r->rows.count > 0; n++) {
        err = admit(r, &shown);
        if (err == STOP)
            return EG_OK;
        EG_ASSERT(text_rows_pop(&r->rows, &row));
        if (err == EG_OK && shown)
            err = show_columns(r, row);
        if (err == EG_OK && n % CLOCK_ROWS == 0 && pace->is_over(pace->context))
            return EG_AGAIN;
    }
    return err;
}

/* ---- a step ---------------------------------------------------------------------------------- */

static eg_err explain_bound(const struct text_run *r, eg_err err, struct err_note *note) {
    if (err != EG_TOO_LARGE || note == NULL || note->text[0] != '\0')
        return err;
    if (r->page->size_bytes > TEXT_PAGE_BYTES_MAX / 2)
        return err_note(note, err, "the result is larger than 64 MiB: ask for pages by limit");
    return err_note(note, err, "what has to be sorted, grouped or joined is larger than 64 MiB");
}

static eg_err run(struct text_run *r, struct reader *reader, const struct select_pace *pace,
                  struct err_note *note) {
    eg_err err = EG_OK;

    if (r->state == TEXT_RUN_READ) {
        if (!r->looked)
            err = read_rows(r, reader, pace);
        r->looked = err == EG_OK && !r->fed;
        if (r->looked)
            err = text_far_settle(r->plan, &r->why);
        if (err == EG_OK && !r->more)
            r->state = r->plan->grouped ? TEXT_RUN_GROUPS
                       : r->keeps       ? TEXT_RUN_TURN
                                        : TEXT_RUN_READ;
        if (err != EG_OK || r->state == TEXT_RUN_READ)
            return err;
    }
    if (r->state == TEXT_RUN_GROUPS) {
        err = read_groups(r, pace, note);
        if (err != EG_OK || !r->keeps)
            return err;
        r->state = TEXT_RUN_TURN;
    }
    if (r->state == TEXT_RUN_TURN) {
        while ((err = text_rows_turn(&r->rows)) == EG_AGAIN)
            if (pace->is_over(pace->context))
                return EG_AGAIN;
        if (err != EG_OK)
            return err;
        r->state = TEXT_RUN_EMIT;
    }
    return emit(r, pace);
}

eg_err text_run_step(struct text_run *r, struct catalog *catalog, struct reader *reader,
                     const struct select_pace *pace, struct buffer *page, struct err_note *note) {
    eg_err err = text_plan_check(r->plan, catalog, note);

    r->page = page;
    if (err == EG_OK)
        err = run(r, reader, pace, note);
    if (err != EG_OK && err != EG_AGAIN && r->why.text[0] != '\0')
        return err_note(note, err, "%s", r->why.text);
    if (err == EG_ABORTED && note != NULL && note->text[0] == '\0')
        return err_note(note, err, "the table was changed meanwhile: ask again");
    if (err == EG_OK && r->more && r->state == TEXT_RUN_READ && r->plan->join == TEXT_JOIN_NONE) {
        struct buffer place = r->place; /* the next page begins behind this one's last row */
        r->place = r->resume;
        r->resume = place;
        if (r->plan->source[0].far != NULL)
            err = gather_resume(r->plan->source[0].far);
    }
    return explain_bound(r, err, note);
}
