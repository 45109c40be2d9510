/* tx_step.c -- first, last, next, prev and size: what there is, with what is wanted.
 *
 * In an ordered_set a step is a question about the keys between two, and steps that follow each
 * other are one question that grows.  Other tables have no order that a program could know: there
 * come the table's own keys as it has them, then those that the transaction has added, and any
 * change of the table is a conflict. */
#include "query/tx_scan_private.h"

#include "tables/far.h"

/* Only the counts of the table's shards tell whether it has changed. */
static eg_err ask_for_all(struct tx *tx, uint32_t table, struct table *t) {
    enum { NO_DIGEST = 0x5eed };
    const struct scan_path all = {.kind = SCAN_ALL};
    struct tx_question *q = tx->questions;
    eg_err err;

    while (q != NULL && !(q->table == table && q->whole))
        q = q->next;
    if (q != NULL)
        return EG_OK; /* the counts were taken before */
    err = tx_question_open(tx, table, t, &all, &q);
    if (err != EG_OK)
        return err;
    q->whole = true;
    for (uint32_t i = 0; i < q->shards; i++) {
        q->shard[i].digest = NO_DIGEST;
        shard_set_add(&q->begun, i);
    }
    return EG_OK;
}

static eg_err put(struct buffer *result, struct value v) {
    static const uint8_t nil = 0xc0;

    if (v.size_bytes == 0)
        v = (struct value){&nil, 1};
    return buffer_append(result, v.at, v.size_bytes) ? EG_OK : EG_TOO_LARGE;
}

/* ---- in order --------------------------------------------------------------------------- */

static bool never_over(void *context) {
    (void) context;
    return false;
}

static eg_err open_step(struct tx *tx, const struct tx_place *at, struct value key, bool back,
                        struct err_note *note) {
    struct scan_path path = {.kind = SCAN_KEY_RANGE, .reverse = back};
    struct tx_question *found = NULL;
    uint8_t *copy;
    uint32_t table;
    eg_err err = tx_table_enter(tx, at, &table);

    if (err != EG_OK)
        return err;
    if (key.size_bytes != 0) {
        copy = alloc_get(tx->o.alloc, key.size_bytes);
        if (copy == NULL)
            return EG_MEMORY;
        for (uint32_t i = 0; i < key.size_bytes; i++)
            copy[i] = key.at[i];
        key.at = copy;
        *(back ? &path.range.high : &path.range.low) =
            (struct range_end){.given = true, .open = true, .value = key};
        found = tx_question_ending_at(tx, table, at->table, key, back);
    }
    err = tx_scan_open_range(&tx->stepping, tx, at, &path, found, note);
    if (key.size_bytes != 0) {
        if (err == EG_OK)
            tx->stepping->from = key;
        else
            alloc_put(tx->o.alloc, (void *) key.at, key.size_bytes);
    }
    return err;
}

static bool is_same_step(const struct tx_scan *s, struct value key, bool back) {
    return s->path.reverse == back && s->from.size_bytes != 0
               ? key.size_bytes != 0 && value_equal(s->from, key)
               : key.size_bytes == 0;
}

static eg_err step_in_order(struct tx *tx, const struct tx_place *at, struct value key, bool back,
                            struct buffer *result, struct err_note *note) {
    const struct select_pace pace = {.is_over = never_over};
    struct value page, row, found = {NULL, 0};
    struct buffer rows;
    eg_err err = EG_OK;

    if (tx->stepping != NULL && !is_same_step(tx->stepping, key, back))
        tx_scan_close(tx->stepping); /* nobody came for its answer */
    if (tx->stepping == NULL)
        err = open_step(tx, at, key, back, note);
    if (err != EG_OK)
        return err;
    buffer_init(&rows, tx->o.alloc, RECORD_SIZE_MAX + 64);
    err = tx_scan_step(tx->stepping, at, &pace, &rows, note);
    if (err == EG_OK) {
        page = (struct value){rows.at, (uint32_t) rows.size_bytes};
        if (array_element(page, 0, &row))
            EG_ASSERT(array_element(row, 0, &found));
        err = put(result, found);
    }
    if (err != EG_AGAIN && tx->stepping != NULL)
        tx_scan_close(tx->stepping);
    else if (err == EG_AGAIN)
        tx->stepping->begun = false; /* the next one writes its header anew */
    buffer_fini(&rows);
    return err;
}

/* ---- without order --------------------------------------------------------------------------- */

/* Is anything under this key, as the transaction sees it? */
static eg_err is_there(struct tx *tx, const struct tx_place *at, uint32_t key, bool base,
                       bool *there) {
    struct value *rows;
    struct key k;
    uint32_t count = 0;
    eg_err err = table_key(at->table, &k, tx_key_value(tx, key));

    if (err != EG_OK)
        return err;
    err = tx_rows(tx, at, &k, key, base ? 0 : TX_NONE, &rows, &count);
    key_release(&k);
    *there = count != 0;
    return err;
}

/* The first key from number `from` of the touched ones on that the table has not. */
static eg_err next_added(struct tx *tx, const struct tx_place *at, uint32_t table, uint32_t from,
                         struct value *out) {
    const struct tx_table *x = &tx->table[table];

    *out = (struct value){NULL, 0};
    for (uint32_t i = from; i < x->touched_count; i++) {
        uint32_t key = x->touched[i];
        bool here, was = true;
        eg_err err;

        if (tx->key[key].newest == TX_NONE)
            continue;
        err = is_there(tx, at, key, false, &here);
        if (err == EG_OK && here)
            err = is_there(tx, at, key, true, &was);
        if (err != EG_OK)
            return err;
        if (here && !was) {
            *out = tx_key_value(tx, key);
            return EG_OK;
        }
    }
    return EG_OK;
}

/* Is it one that only the transaction has?  Then *from is the touched one behind it. */
static eg_err is_added(struct tx *tx, const struct tx_place *at, uint32_t table, struct value v,
                       uint32_t *from, bool *added) {
    const struct tx_table *x = &tx->table[table];
    uint32_t key;
    struct key k;
    bool was = true;
    eg_err err = table_key(at->table, &k, v);

    *added = false;
    *from = 0;
    if (err != EG_OK)
        return err;
    key = tx_key_find(tx, table, &k);
    key_release(&k);
    if (key == TX_NONE || tx->key[key].newest == TX_NONE)
        return EG_OK;
    err = is_there(tx, at, key, true, &was);
    *added = !was;
    while (*added && x->touched[*from] != key)
        ++*from;
    *from += *added;
    return err;
}

/* The table's next key that the transaction has not removed. */
static eg_err next_of_table(struct tx *tx, const struct tx_place *at, uint32_t table,
                            struct value key, struct value *out) {
    struct table_walk *walk;
    const struct record *rec;
    struct key k;
    eg_err err = EG_OK;

    *out = (struct value){NULL, 0};
    if (key.size_bytes != 0)
        err = table_key(at->table, &k, key);
    if (err != EG_OK)
        return err;
    err =
        table_walk_open(&walk, at->table, at->reader, key.size_bytes != 0 ? &k : NULL, true, false);
    if (key.size_bytes != 0)
        key_release(&k);
    while (err == EG_OK && (rec = table_walk_next(walk)) != NULL) {
        uint32_t number;
        bool there = true;

        err = table_key(at->table, &k, record_key(rec));
        if (err != EG_OK)
            return err;
        number = tx_key_find(tx, table, &k);
        key_release(&k);
        if (number != TX_NONE && tx->key[number].newest != TX_NONE)
            err = is_there(tx, at, number, false, &there);
        if (err == EG_OK && there) {
            *out = record_key(rec);
            return EG_OK;
        }
    }
    return err == EG_OK ? reader_take_fault(at->reader) : err;
}

static eg_err step_in_any_order(struct tx *tx, const struct tx_place *at, struct value key,
                                struct buffer *result, struct err_note *note) {
    struct value found = {NULL, 0};
    bool added = false;
    uint32_t table, from = 0;
    eg_err err = tx_table_enter(tx, at, &table);

    if (err != EG_OK)
        return err;
    if (!table_is_near(at->table, false))
        return err_note(note, EG_NO_REPLICA,
                        "this node has not all of the table: its keys have no order here");
    err = ask_for_all(tx, table, at->table);
    if (err == EG_OK && key.size_bytes != 0)
        err = is_added(tx, at, table, key, &from, &added);
    if (err == EG_OK && !added)
        err = next_of_table(tx, at, table, key, &found);
    if (err == EG_OK && found.size_bytes == 0)
        err = next_added(tx, at, table, from, &found);
    return err == EG_OK ? put(result, found) : err;
}

eg_err tx_step(struct tx *tx, const struct tx_place *at, struct value key, bool back,
               struct buffer *result, struct err_note *note) {
    struct key k;
    eg_err err = tx_enter(tx, note);

    if (err == EG_OK && table_dropped(at->table))
        err = table_lost(at->table);
    if (err == EG_OK && key.size_bytes != 0) {
        err = table_key_checked(at->table, &k, key, note);
        if (err == EG_OK)
            key_release(&k);
    }
    if (err != EG_OK)
        return err;
    return table_type(at->table) == TABLE_ORDERED_SET
               ? step_in_order(tx, at, key, back, result, note)
               : step_in_any_order(tx, at, key, result, note);
}

/* ---- size ---------------------------------------------------------------------------------- */

/* What the writes of a key have made more or less. */
static eg_err grown_by(struct tx *tx, const struct tx_place *at, uint32_t key, int64_t *by) {
    struct value *rows;
    struct key k;
    uint32_t before = 0, after = 0;
    eg_err err = table_key(at->table, &k, tx_key_value(tx, key));

    if (err != EG_OK)
        return err;
    err = tx_rows(tx, at, &k, key, 0, &rows, &before);
    if (err == EG_OK)
        err = tx_rows(tx, at, &k, key, TX_NONE, &rows, &after);
    key_release(&k);
    *by += (int64_t) after - (int64_t) before;
    return err;
}

eg_err tx_size(struct tx *tx, const struct tx_place *at, struct buffer *result,
               struct err_note *note) {
    enum { NUMBER_BYTES = 9 };
    const struct tx_table *x;
    struct value_writer w;
    uint32_t table;
    int64_t by = 0;
    uint64_t size;
    uint8_t *room;
    eg_err err = tx_enter(tx, note);

    if (err == EG_OK)
        err = tx_table_enter(tx, at, &table);
    if (err != EG_OK)
        return err;
    if (!table_is_near(at->table, false))
        return err_note(note, EG_NO_REPLICA, "this node has not all of the table: count it");
    err = ask_for_all(tx, table, at->table);
    size = table_size(at->table, at->reader);
    x = &tx->table[table];
    for (uint32_t i = 0; err == EG_OK && i < x->touched_count; i++)
        if (tx->key[x->touched[i]].newest != TX_NONE)
            err = grown_by(tx, at, x->touched[i], &by);
    if (err != EG_OK)
        return err;
    room = buffer_room(result, NUMBER_BYTES);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, NUMBER_BYTES);
    value_put_u64(&w, by < 0 && size < (uint64_t) -by ? 0 : size + (uint64_t) by);
    result->size_bytes += w.need_bytes;
    return EG_OK;
}
