/* tx_scan.c -- questions inside a transaction: rows of the table and rows of its own as one row.
 *
 *     the table's here --.                       in the order of keys (merged), or
 *     of other nodes ------>--- next row ---> judged, given       one source after the other
 *     its own writes ---'
 *
 * A record of the table whose key the transaction has written is passed over: what is there instead
 * comes from its own.  What is its own is what it wanted when the question was opened, so that
 * pages go on as they began, whatever is written between them.
 *
 * What the path led to is counted into the question, also what is passed over; few keys are
 * remembered one by one instead, as if they had been read. */
#include "query/tx_scan_private.h"

#include "tables/far.h"
#include "tables/page.h"
#include "tables/pattern.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_BETWEEN_LOOKS = 32 }; /* at the clock */

/* ---- open and close ------------------------------------------------------------------ */

static struct value bytes_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

static bool by_points(const struct tx_scan *s) {
    return s->path.kind == SCAN_KEY || s->path.kind == SCAN_KEYS || s->path.kind == SCAN_NOTHING;
}

static eg_err open_index(struct tx_scan *s, struct table *t, struct err_note *note) {
    struct value question = bytes_of(&s->question), name;
    const struct index_spec *x;
    const uint8_t *text;
    uint32_t text_bytes;
    eg_err err = page_index_path(t, question, &s->path, note);

    if (err != EG_OK)
        return err;
    EG_ASSERT(array_element(question, 0, &name) && value_get_bytes(name, &text, &text_bytes));
    x = schema_index(table_schema(t), (const char *) text, text_bytes);
    EG_ASSERT(x != NULL); /* the path is by it */
    s->spec = *x;
    return EG_OK;
}

static eg_err open_question(struct tx_scan *s, struct table *t, struct reader *r,
                            const struct select_opts *o, struct err_note *note) {
    eg_err err;

    if (o->compiled != NULL) {
        s->predicate = o->compiled;
        scan_choose(&s->path, t, r, s->predicate, o->reverse);
        return EG_OK;
    }
    if (o->question.size_bytes == 0) {
        s->path = (struct scan_path){.kind = SCAN_ALL, .reverse = o->reverse};
        return EG_OK;
    }
    if (!buffer_append(&s->question, o->question.at, o->question.size_bytes))
        return EG_MEMORY;
    if (s->kind == SELECT_INDEX)
        return open_index(s, t, note);
    if (s->kind == SELECT_MATCH) {
        err = pattern_check(o->question, s->arity, note);
        if (err == EG_OK)
            scan_choose_pattern(&s->path, t, r, bytes_of(&s->question));
        return err;
    }
    err = predicate_open(&s->predicate, s->alloc, bytes_of(&s->question), s->arity, note);
    if (err == EG_OK)
        scan_choose(&s->path, t, r, s->predicate, o->reverse);
    return err;
}

struct sorted {
    struct value key;
    uint32_t number;
};

static int by_key(const void *a, const void *b) {
    return value_compare(((const struct sorted *) a)->key, ((const struct sorted *) b)->key);
}

/* The keys with writes, in the order in which their rows are to come. */
static eg_err list_own(struct tx_scan *s, struct reader *r) {
    struct tx *tx = s->tx;
    const struct tx_table *x = &tx->table[s->table];
    struct sorted *sorted;

    s->own_room = x->touched_count;
    if (x->touched_count == 0)
        return EG_OK;
    s->own = alloc_get(s->alloc, s->own_room * sizeof *s->own);
    sorted = s->merged ? reader_scratch(r, s->own_room * sizeof *sorted) : NULL;
    if (s->own == NULL || (s->merged && sorted == NULL))
        return EG_MEMORY;
    for (uint32_t i = 0; i < x->touched_count; i++)
        if (tx_key_write(tx, x->touched[i], s->shown) != TX_NONE)
            s->own[s->own_count++] = x->touched[i];
    if (!s->merged)
        return EG_OK;
    for (uint32_t i = 0; i < s->own_count; i++)
        sorted[i] = (struct sorted){tx_key_value(tx, s->own[i]), s->own[i]};
    qsort(sorted, s->own_count, sizeof *sorted, by_key);
    for (uint32_t i = 0; i < s->own_count; i++)
        s->own[i] = sorted[s->reverse ? s->own_count - 1 - i : i].number;
    return EG_OK;
}

/* What it will look at, with the counts of before. */
static eg_err begin(struct tx_scan *s, const struct tx_place *at) {
    struct shard_set here = table_shards_here(at->table, false);
    eg_err err;

    s->here = here;
    s->reverse = s->path.reverse && s->merged;
    for (uint32_t i = 0; i < table_shards(at->table); i++)
        if (!shard_set_has(&here, i))
            shard_set_add(&s->away, i);
    s->away_first = s->away;
    err = list_own(s, at->reader);
    if (err == EG_OK && !by_points(s) && s->found == NULL)
        err = tx_question_open(s->tx, s->table, at->table, &s->path, &s->found);
    return err;
}

eg_err tx_scan_new(struct tx_scan **out, struct tx *tx, const struct tx_place *at,
                   const struct select_opts *o, struct err_note *note) {
    const struct schema *schema = table_schema(at->table);
    struct tx_scan *s;
    eg_err err = tx_enter(tx, note);

    if (err == EG_OK && o->kind == SELECT_REPLACE && schema->type == TABLE_BAG)
        err = err_note(note, EG_BAD_REQUEST, "records of a bag cannot be replaced");
    if (err != EG_OK)
        return err;
    s = alloc_zero(tx->o.alloc, sizeof *s);
    if (s == NULL)
        return EG_MEMORY;
    s->tx = tx;
    s->alloc = tx->o.alloc;
    s->kind = o->kind;
    s->limit = o->limit;
    s->arity = schema->attribute_count;
    s->shape = table_shape(at->table);
    s->version = schema->version;
    s->shown = tx->write_count;
    predicate_machine_init(&s->machine, s->alloc);
    buffer_init(&s->question, s->alloc, SIZE_MAX);
    buffer_init(&s->place, s->alloc, RECORD_SIZE_MAX + 64);
    buffer_init(&s->told, s->alloc, TX_BYTES_MAX);
    buffer_init(&s->judged, s->alloc, 2 * RECORD_SIZE_MAX);
    buffer_init(&s->todo, s->alloc, TX_BYTES_MAX);
    buffer_init(&s->last_key, s->alloc, SIZE_MAX);
    list_push_back(&tx->scans, &s->node);
    err = tx_table_enter(tx, at, &s->table);
    if (err != EG_OK) {
        tx_scan_close(s);
        return err;
    }
    tx->shown = EG_MAX(tx->shown, s->shown);
    *out = s;
    return EG_OK;
}

eg_err tx_scan_open(struct tx_scan **out, struct tx *tx, const struct tx_place *at,
                    const struct select_opts *o, struct err_note *note) {
    struct tx_scan *s;
    eg_err err = tx_scan_new(&s, tx, at, o, note);

    if (err != EG_OK)
        return err;
    err = open_question(s, at->table, at->reader, o, note);
    s->merged = table_type(at->table) == TABLE_ORDERED_SET && !scan_by_index(&s->path);
    if (err == EG_OK)
        err = begin(s, at);
    if (err != EG_OK) {
        if (s->predicate == o->compiled)
            s->predicate = NULL; /* it stays the caller's */
        tx_scan_close(s);
        return err;
    }
    *out = s;
    return EG_OK;
}

eg_err tx_scan_open_path(struct tx_scan **out, struct tx *tx, const struct tx_place *at,
                         const struct scan_path *path, struct err_note *note) {
    const struct select_opts o = {.kind = SELECT_MATCH};
    struct tx_scan *s;
    eg_err err = tx_scan_new(&s, tx, at, &o, note);

    if (err != EG_OK)
        return err;
    s->path = *path;
    s->merged = table_type(at->table) == TABLE_ORDERED_SET && !scan_by_index(&s->path);
    err = begin(s, at);
    if (err != EG_OK) {
        tx_scan_close(s);
        return err;
    }
    *out = s;
    return EG_OK;
}

eg_err tx_scan_open_range(struct tx_scan **out, struct tx *tx, const struct tx_place *at,
                          const struct scan_path *path, struct tx_question *found,
                          struct err_note *note) {
    const struct select_opts o = {.kind = SELECT_MATCH, .limit = 1};
    struct tx_scan *s;
    eg_err err = tx_scan_new(&s, tx, at, &o, note);

    if (err != EG_OK)
        return err;
    s->ranged = true;
    s->merged = true;
    s->path = *path;
    s->found = found;
    s->gone_on = found != NULL;
    err = begin(s, at);
    if (err != EG_OK) {
        tx_scan_close(s);
        return err;
    }
    if (s->found != NULL)
        s->found->stepped = true;
    *out = s;
    return EG_OK;
}

/* The shards behind the last row were not come to, nor the end of its own. */
static void narrow_shards(struct tx_scan *s) {
    if (s->here_looked) {
        s->found->cut = s->shard + 1;
        s->found->cut_rows = s->looked;
    }
    for (uint32_t i = s->here_looked ? s->shard + 1 : 0; i < s->found->shards; i++)
        if (shard_set_has(&s->here, i))
            shard_set_remove(&s->found->begun, i);
}

/* What was not looked at is not asked for again: an end that was not come to. */
static void narrow(struct tx_scan *s) {
    struct value last = bytes_of(&s->last_key);
    struct range_end end = {.given = false};
    const struct scan_path *whole;
    struct range range;

    if (s->found != NULL && !s->here_done && !s->merged) /* shard by shard */
        narrow_shards(s);
    if (s->found == NULL || !s->merged || (s->scanned && !s->gone_on) ||
        (!s->scanned && last.size_bytes == 0) ||
        (s->path.kind != SCAN_ALL && s->path.kind != SCAN_KEY_RANGE))
        return;
    if (!s->scanned)
        end = (struct range_end){.given = true, .value = last};
    whole = s->gone_on ? &s->found->path : &s->path;
    range = whole->kind == SCAN_ALL ? (struct range){.exact = false} : whole->range;
    range.exact = false;
    *(s->reverse ? &range.low : &range.high) = end;
    if (tx_question_set_range(s->tx, &s->found, &range) != EG_OK)
        s->found = NULL; /* no memory: it stands for more than was looked at */
}

void tx_scan_close(struct tx_scan *s) {
    if (s->tx->state == TX_OPEN)
        narrow(s);
    if (s->tx->asked_scan == s) {
        s->tx->asked_scan = NULL;
        s->tx->asks = TX_ASKS_NOTHING;
    }
    if (s->tx->stepping == s)
        s->tx->stepping = NULL;
    list_remove(&s->node);
    if (s->predicate != NULL)
        predicate_close(s->predicate);
    predicate_machine_fini(&s->machine);
    buffer_fini(&s->question);
    buffer_fini(&s->place);
    buffer_fini(&s->told);
    buffer_fini(&s->judged);
    buffer_fini(&s->todo);
    buffer_fini(&s->last_key);
    alloc_put(s->alloc, (void *) s->from.at, s->from.size_bytes);
    alloc_put(s->alloc, s->own, s->own_room * sizeof *s->own);
    alloc_put(s->alloc, s->told_row, s->told_room * sizeof *s->told_row);
    alloc_put(s->alloc, s, sizeof *s);
}

/* They stay their holder's, who closes them; nothing more comes of them. */
static void let_go(struct tx_scan *s) {
    if (s->tx->state == TX_OPEN)
        narrow(s);
    s->over = true;
    s->found = NULL;
    list_remove(&s->node);
}

void tx_scans_end(struct tx *tx) {
    while (!list_is_empty(&tx->scans))
        let_go(EG_CONTAINER_OF(tx->scans.next, struct tx_scan, node));
    if (tx->stepping != NULL)
        tx_scan_close(tx->stepping);
}

void tx_scans_undone(struct tx *tx) {
    struct list_node *n = tx->scans.next;

    while (n != &tx->scans) {
        struct tx_scan *s = EG_CONTAINER_OF(n, struct tx_scan, node);
        n = n->next;
        if (s->shown > tx->write_count)
            let_go(s);
    }
}

/* ---- rows of the table, here -------------------------------------------------------- */

/* Does the transaction show something else in its place? */
static eg_err is_own(struct tx_scan *s, const struct tx_place *at, struct value key, bool *own) {
    uint32_t number;
    struct key k;
    eg_err err;

    *own = false;
    if (EG_LIKELY(s->own_count == 0))
        return EG_OK;
    err = table_key(at->table, &k, key);
    if (err != EG_OK)
        return err;
    number = tx_key_find(s->tx, s->table, &k);
    *own = number != TX_NONE && tx_key_write(s->tx, number, s->shown) != TX_NONE;
    key_release(&k);
    return EG_OK;
}

static void count_in(struct tx_scan *s, const struct tx_place *at, const struct record *rec) {
    uint32_t shard =
        table_shards(at->table) == 1 ? 0 : table_shard_of_key(at->table, record_key(rec));
    struct tx_found *f = &s->found->shard[shard];

    s->looked = s->here_looked && shard == s->shard ? s->looked + 1 : 1;
    s->shard = shard;
    s->here_looked = true;
    f->digest = transact_add(f->digest, rec);
}

static void count_head(struct tx_scan *s, const struct tx_place *at, const struct record *rec) {
    if (!s->head_counted)
        count_in(s, at, rec);
    s->head_counted = false;
}

/* Open it at its place. */
static eg_err open_here(struct tx_scan *s, const struct tx_place *at, struct tx_step *step) {
    struct value place = bytes_of(&s->place);
    uint8_t *copy;

    shard_set_join(&s->found->begun, &s->here);
    s->path.only = shard_set_is_empty(&s->away_first) ? NULL : &s->here;
    if (place.size_bytes != 0) { /* it is borrowed, and another is written meanwhile */
        copy = reader_scratch(at->reader, place.size_bytes);
        if (copy == NULL)
            return EG_MEMORY;
        memcpy(copy, place.at, place.size_bytes);
        place.at = copy;
    }
    return scan_open(&step->scan, at->table, at->reader, &s->path, place);
}

/* The next one that the transaction has not written itself, in step->head. */
static eg_err peek_here(struct tx_scan *s, const struct tx_place *at, struct tx_step *step) {
    eg_err err = EG_OK;
    bool own;

    while (err == EG_OK && step->head == NULL && !s->here_done) {
        const struct record *rec;

        if (step->scan == NULL)
            err = open_here(s, at, step);
        if (err != EG_OK)
            break;
        rec = scan_next(step->scan);
        if (rec == NULL && scan_paused(step->scan)) {
            step->looked += ROWS_BETWEEN_LOOKS;
            continue;
        }
        if (rec == NULL) {
            err = reader_take_fault(at->reader);
            step->scan = NULL;
            s->here_done = true;
            continue;
        }
        err = is_own(s, at, record_key(rec), &own);
        if (err == EG_OK && own)
            count_head(s, at, rec);
        else
            step->head = rec;
    }
    return err;
}

/* The place where the next step goes on. */
static eg_err leave_here(struct tx_scan *s, struct tx_step *step) {
    if (step->scan == NULL)
        return EG_OK;
    return step->head != NULL ? scan_place_before(step->scan, &s->place)
                              : scan_place(step->scan, &s->place);
}

/* ---- rows of other nodes ---------------------------------------------------------------- */

eg_err tx_scan_ask(struct tx_scan *s, eg_pid *to, struct message **out) {
    struct tx *tx = s->tx;
    struct shard_request q = {.op = SHARD_TX_ASK, .attribute = SHARD_NO_ATTRIBUTE};
    struct buffer head, path;
    struct table *t;
    eg_err err;

    s->asked = shard_set_next(&s->away, 0);
    t = tx_table_now(tx, s->table, &err);
    if (t == NULL)
        return err;
    if (s->asked >= table_shards(t))
        return EG_NOT_FOUND;
    buffer_init(&head, tx->o.alloc, SIZE_MAX);
    buffer_init(&path, tx->o.alloc, SIZE_MAX);
    err = tx_pack_head(tx, &head);
    if (err == EG_OK)
        err = transact_pack_path(&s->path, &path);
    q.key = bytes_of(&head);
    q.value = bytes_of(&path);
    if (err == EG_OK)
        err = transact_message(t, s->asked, &q, to, out);
    buffer_fini(&head);
    buffer_fini(&path);
    return err;
}

/* [[record, ...], changes, digest] */
static eg_err keep_told(struct tx_scan *s, struct value answer) {
    struct value_iter it;
    struct value records, record;
    uint64_t changes, digest;

    if (value_kind_of(answer) != VALUE_ARRAY)
        return EG_INTERNAL;
    it = value_iter_of(answer);
    if (!value_iter_next(&it, &records) || value_kind_of(records) != VALUE_ARRAY ||
        !value_iter_u64(&it, &changes) || !value_iter_u64(&it, &digest))
        return EG_INTERNAL;
    it = value_iter_of(records);
    while (value_iter_next(&it, &record)) {
        if (!buffer_append(&s->told, record.at, record.size_bytes))
            return EG_TOO_LARGE;
        s->told_count++;
    }
    if (s->gone_on && s->found->shard[s->asked].changes != changes)
        s->found->shard[s->asked].digest = ~digest; /* of two moments: of none */
    else
        s->found->shard[s->asked].digest += digest;
    s->found->shard[s->asked].changes = changes;
    shard_set_add(&s->found->begun, s->asked);
    shard_set_remove(&s->away, s->asked);
    return EG_OK;
}

void tx_scan_answered(struct tx_scan *s, eg_err err, struct value result) {
    struct tx *tx = s->tx;

    tx->asks = TX_ASKS_NOTHING;
    tx->asked_scan = NULL;
    if (err == EG_BUSY || err == EG_NOPROC || tx->state != TX_OPEN || s->over)
        return; /* the step that comes asks again */
    if (err == EG_OK)
        err = keep_told(s, result);
    if (err == EG_OK)
        return;
    tx->failed = err;
    (void) err_note(&tx->failed_note, err, "%.*s", (int) result.size_bytes,
                    (const char *) result.at);
}

static int by_record_key(const void *a, const void *b) {
    struct value x, y;

    EG_ASSERT(array_element(*(const struct value *) a, 0, &x));
    EG_ASSERT(array_element(*(const struct value *) b, 0, &y));
    return value_compare(x, y);
}

/* All have told: their rows, without those that are our own, in their order. */
static eg_err list_told(struct tx_scan *s, const struct tx_place *at) {
    const uint8_t *from = s->told.at;
    uint32_t count = 0;

    s->told_listed = true;
    s->told_room = s->told_count;
    if (s->told_count == 0)
        return EG_OK;
    s->told_row = alloc_get(s->alloc, s->told_room * sizeof *s->told_row);
    if (s->told_row == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < s->told_room; i++) {
        struct value row = value_of(from), key;
        bool own;
        eg_err err;

        from += row.size_bytes;
        EG_ASSERT(array_element(row, 0, &key));
        err = is_own(s, at, key, &own);
        if (err != EG_OK)
            return err;
        if (!own)
            s->told_row[count++] = row;
    }
    s->told_count = count;
    if (s->merged)
        qsort(s->told_row, count, sizeof *s->told_row, by_record_key);
    for (uint32_t i = 0; s->reverse && i < count / 2; i++) {
        struct value swap = s->told_row[i];
        s->told_row[i] = s->told_row[count - 1 - i];
        s->told_row[count - 1 - i] = swap;
    }
    return EG_OK;
}

/* EG_AGAIN: somebody has to be asked first. */
static eg_err hear_all(struct tx_scan *s, const struct tx_place *at) {
    if (EG_LIKELY(shard_set_is_empty(&s->away)))
        return s->told_listed || s->told_count == 0 ? EG_OK : list_told(s, at);
    s->tx->asks = TX_ASKS_SCAN;
    s->tx->asked_scan = s;
    return EG_AGAIN;
}

/* ---- rows of its own ------------------------------------------------------------------------ */

/* The record under its key [own_at], or of several the next; size 0: none is left. */
static eg_err peek_own(struct tx_scan *s, const struct tx_place *at, struct value *row) {
    struct tx *tx = s->tx;

    *row = (struct value){NULL, 0};
    for (; s->own_at < s->own_count; s->own_at++, s->own_row = 0) {
        uint32_t key = s->own[s->own_at], count = 0;
        const struct tx_write *w = &tx->write[tx_key_write(tx, key, s->shown)];
        struct value *rows;
        struct key k;
        eg_err err;

        if (!tx->table[s->table].many) {
            *row = tx_bytes_at(tx, w->after_at, w->after_bytes);
            if (row->size_bytes == 0)
                continue;
            if (s->ranged && !range_holds(&s->path.range, tx_key_value(tx, key)))
                continue;
            return EG_OK;
        }
        err = table_key(at->table, &k, tx_key_value(tx, key));
        if (err != EG_OK)
            return err;
        err = tx_rows(tx, at, &k, key, s->shown, &rows, &count);
        key_release(&k);
        if (err != EG_OK)
            return err;
        if (s->own_row < count) {
            *row = rows[s->own_row];
            return EG_OK;
        }
    }
    *row = (struct value){NULL, 0};
    return EG_OK;
}

static void pass_own(struct tx_scan *s) {
    if (s->tx->table[s->table].many) {
        s->own_row++;
    } else {
        s->own_at++;
    }
}

/* ---- rows of some keys ------------------------------------------------------------------------
 */

static uint32_t point_count(const struct tx_scan *s) {
    return s->path.kind == SCAN_NOTHING ? 0 : s->path.kind == SCAN_KEY ? 1 : s->path.point_count;
}

static struct value point_at(const struct tx_scan *s, uint32_t i) {
    if (s->path.kind == SCAN_KEY)
        return s->path.range.low.value;
    return s->path.point[s->path.reverse ? s->path.point_count - 1 - i : i];
}

/* The records under the next key, read one by one. */
static eg_err peek_point(struct tx_scan *s, const struct tx_place *at, struct value *row) {
    for (; s->point < point_count(s); s->point++, s->own_row = 0) {
        struct value *rows;
        uint32_t key, count;
        struct key k;
        eg_err err = table_key(at->table, &k, point_at(s, s->point));

        if (err == EG_BAD_RECORD || err == EG_TOO_LARGE) /* a NaN: no record has such a key */
            continue;
        if (err == EG_OK)
            err = tx_key_enter(s->tx, s->table, &k, &key);
        if (err == EG_OK)
            err = tx_rows(s->tx, at, &k, key, s->shown, &rows, &count);
        key_release(&k);
        if (err != EG_OK)
            return err;
        if (s->own_row < count) {
            *row = rows[s->own_row];
            return EG_OK;
        }
    }
    *row = (struct value){NULL, 0};
    return EG_OK;
}

/* ---- the next row ---------------------------------------------------------------------------- */

static bool is_before(const struct tx_scan *s, struct value a, struct value b) {
    struct value x, y;
    int order;

    EG_ASSERT(array_element(a, 0, &x) && array_element(b, 0, &y));
    order = value_compare(x, y);
    return s->reverse ? order > 0 : order < 0;
}

eg_err tx_scan_peek(struct tx_scan *s, const struct tx_place *at, struct tx_step *step) {
    struct value own = {NULL, 0};
    eg_err err;

    step->row = (struct value){NULL, 0};
    if (by_points(s)) {
        step->from = TX_ROW_POINT;
        return peek_point(s, at, &step->row);
    }
    err = hear_all(s, at);
    if (err == EG_OK)
        err = peek_here(s, at, step);
    if (err != EG_OK)
        return err;
    if (step->head != NULL) {
        step->row = record_value(step->head);
        step->from = TX_ROW_HERE;
        if (!s->merged)
            return EG_OK;
    }
    if (s->told_at < s->told_count) {
        struct value told = s->told_row[s->told_at];
        if (step->row.size_bytes == 0 || is_before(s, told, step->row)) {
            step->row = told;
            step->from = TX_ROW_TOLD;
        }
        if (!s->merged)
            return EG_OK;
    }
    err = peek_own(s, at, &own);
    if (err == EG_OK && own.size_bytes != 0 &&
        (step->row.size_bytes == 0 || is_before(s, own, step->row))) {
        step->row = own;
        step->from = TX_ROW_OWN;
    }
    return err;
}

/* It was looked at, and is looked at again by who asks for the next page. */
eg_err tx_scan_note(struct tx_scan *s, const struct tx_place *at, struct tx_step *step) {
    struct value key;

    if (step->from == TX_ROW_HERE && !s->head_counted) {
        count_in(s, at, step->head);
        s->head_counted = true;
    }
    if (!s->merged || by_points(s))
        return EG_OK;
    EG_ASSERT(array_element(step->row, 0, &key));
    buffer_clear(&s->last_key);
    return buffer_append(&s->last_key, key.at, key.size_bytes) ? EG_OK : EG_MEMORY;
}

eg_err tx_scan_pass(struct tx_scan *s, const struct tx_place *at, struct tx_step *step) {
    eg_err err = tx_scan_note(s, at, step);

    step->looked++;
    switch (step->from) {
    case TX_ROW_HERE:
        count_head(s, at, step->head);
        step->head = NULL;
        break;
    case TX_ROW_TOLD:
        s->told_at++;
        break;
    case TX_ROW_OWN:
        pass_own(s);
        break;
    case TX_ROW_POINT:
        s->own_row++;
        break;
    }
    return err;
}

eg_err tx_scan_pause(struct tx_scan *s, struct tx_step *step, const struct select_pace *pace) {
    eg_err err;

    if (step->looked < ROWS_BETWEEN_LOOKS)
        return EG_OK;
    step->looked = 0;
    if (!pace->is_over(pace->context))
        return EG_OK;
    err = leave_here(s, step);
    return err == EG_OK ? EG_AGAIN : err;
}

eg_err tx_scan_leave(struct tx_scan *s, struct tx_step *step) {
    return leave_here(s, step);
}

bool tx_scan_is_all(const struct tx_scan *s) {
    return s->predicate == NULL && s->question.size_bytes == 0;
}
