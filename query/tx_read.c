/* tx_read.c -- records by their keys: what is wanted, on what was seen. */
#include "query/tx_private.h"

#include "tables/record.h"

#include <stdlib.h>
#include <string.h>

static struct value first_of(struct value records) {
    struct value first = {NULL, 0};

    return array_element(records, 0, &first) ? first : (struct value){NULL, 0};
}

/* ---- what the shard has ------------------------------------------------------------ */

/* Who makes several changes in place holds their shards for about a microsecond, or, where the
 * system has taken his core, for some more: less than a message takes, which besides would have
 * another thread woken.  A part that is prepared holds its keys for longer, and is asked for. */
EG_SELDOM static eg_err glance_on(const struct tx_place *at, struct key *k,
                                  const struct record **rec, uint64_t *version, bool *stands) {
    enum { LOOKS = 128, PAUSES_MAX = 32 };
    uint32_t pauses = 1;
    eg_err err = EG_AGAIN;

    for (uint32_t i = 0; err == EG_AGAIN && i < LOOKS && transact_passes(at->table, k); i++) {
        for (uint32_t j = 0; j < pauses; j++)
            EG_CPU_RELAX();
        pauses = EG_MIN(2 * pauses, (uint32_t) PAUSES_MAX);
        err = transact_glance(at->table, at->reader, k, rec, version, stands);
    }
    return err;
}

static eg_err glance(const struct tx *tx, const struct tx_place *at, struct key *k,
                     const struct record **rec, uint64_t *version, bool *stands) {
    eg_err err = transact_glance(at->table, at->reader, k, rec, version, stands);

    return EG_UNLIKELY(err == EG_AGAIN) && tx->o.patience > 1
               ? glance_on(at, k, rec, version, stands)
               : err;
}

eg_err tx_look(struct tx *tx, const struct tx_place *at, struct key *k, uint32_t key,
               struct value *first) {
    struct tx_key *x = &tx->key[key];
    const struct record *rec;
    uint64_t version;
    bool stands;
    eg_err err;

    if (EG_UNLIKELY(x->kept_bytes != 0)) {
        *first = first_of(tx_bytes_at(tx, x->kept_at, x->kept_bytes));
        return EG_OK;
    }
    err = x->seen ? EG_OK : tx_room(tx, NULL);
    if (EG_LIKELY(err == EG_OK))
        err = glance(tx, at, k, &rec, &version, &stands);
    if (EG_LIKELY(err == EG_OK) && EG_UNLIKELY(!stands)) {
        if (tx->age.ms != 0) /* it has lost before: to whom, its master knows first */
            err = EG_AGAIN;
        tx->early_count += err == EG_OK && !x->early;
        x->early |= err == EG_OK;
    }
    if (EG_UNLIKELY(err == EG_AGAIN)) {
        tx->asks = TX_ASKS_KEY;
        tx->asked_key = key;
    }
    if (EG_UNLIKELY(err != EG_OK))
        return err;
    if (x->seen && EG_UNLIKELY(x->version != version))
        return tx_lose(tx, NULL);
    tx->seen_count += !x->seen;
    x->seen = true;
    x->version = version;
    *first = rec == NULL ? (struct value){NULL, 0} : record_value(rec);
    return EG_OK;
}

static eg_err look_at_early(struct tx *tx, struct reader *r, uint32_t key) {
    struct tx_key *x = &tx->key[key];
    const struct record *rec;
    uint64_t version;
    struct table *t;
    struct key k;
    eg_err err;

    t = tx_table_now(tx, x->table, &err);
    if (t != NULL)
        err = table_key(t, &k, tx_key_value(tx, key));
    if (err != EG_OK)
        return err;
    err = transact_look(t, r, &k, &rec, &version);
    key_release(&k);
    if (err == EG_OK && version != x->version)
        return EG_CONFLICT;
    if (err == EG_AGAIN) {
        tx->asks = TX_ASKS_KEY;
        tx->asked_key = key;
    }
    return err;
}

eg_err tx_look_again(struct tx *tx, struct reader *r) {
    for (uint32_t i = 0; i < tx->key_count && tx->early_count != 0; i++) {
        struct tx_key *x = &tx->key[i];
        eg_err err;

        if (!x->early)
            continue;
        err = x->kept_bytes != 0 ? EG_OK : look_at_early(tx, r, i);
        if (err != EG_OK)
            return err;
        x->early = false;
        tx->early_count--;
    }
    return EG_OK;
}

/* All records, of a key with many: an array of them, in the table's order. */
static eg_err look_at_all(struct tx *tx, const struct tx_place *at, struct key *k, uint32_t key,
                          struct value *records) {
    struct value first;
    eg_err err = tx_look(tx, at, k, key, &first);

    if (err != EG_OK)
        return err;
    if (tx->key[key].kept_bytes != 0) {
        *records = tx_bytes_at(tx, tx->key[key].kept_at, tx->key[key].kept_bytes);
        return EG_OK;
    }
    /* After the version: what was changed between the two is found out at the commit. */
    buffer_clear(&tx->rows);
    err = table_read(at->table, at->reader, k, &tx->rows);
    *records = (struct value){tx->rows.at, (uint32_t) tx->rows.size_bytes};
    return err;
}

/* ---- and what is wanted of it --------------------------------------------------------- */

struct rows {
    struct value *row;
    uint32_t count, room;
};

static uint32_t find_row(const struct rows *rows, struct value record) {
    uint32_t i = 0;

    while (i < rows->count && !value_equal(rows->row[i], record))
        i++;
    return i;
}

static void put_row(struct rows *rows, struct value record, bool alone) {
    uint32_t i = alone ? 0 : find_row(rows, record);

    if (alone)
        rows->count = 0;
    EG_ASSERT(i < rows->room);
    rows->row[i] = record;
    rows->count += i == rows->count;
}

static void remove_row(struct rows *rows, struct value record) {
    uint32_t i = find_row(rows, record);

    if (i == rows->count)
        return;
    rows->count--;
    memmove(&rows->row[i], &rows->row[i + 1], (rows->count - i) * sizeof *rows->row);
}

static void carry_out(const struct tx *tx, struct rows *rows, uint32_t write) {
    const struct tx_write *w = &tx->write[write];
    bool bag = tx->table[tx->key[w->key].table].type == TABLE_BAG;
    struct value v = tx_bytes_at(tx, w->value_at, w->value_bytes);

    switch (w->op) {
    case SHARD_WRITE:
        put_row(rows, v, !bag);
        break;
    case SHARD_DELETE:
        rows->count = 0;
        break;
    case SHARD_DELETE_OBJECT:
        remove_row(rows, v);
        break;
    default: /* of siblings: what was changed is one record again */
        put_row(rows, tx_bytes_at(tx, w->after_at, w->after_bytes), true);
    }
}

/* What does not depend on what was there. */
static bool is_absolute(const struct tx *tx, const struct tx_write *w) {
    return w->op == SHARD_DELETE ||
           (w->op == SHARD_WRITE && tx->table[tx->key[w->key].table].type != TABLE_BAG);
}

static int by_value(const void *a, const void *b) {
    return value_compare(*(const struct value *) a, *(const struct value *) b);
}

eg_err tx_rows(struct tx *tx, const struct tx_place *at, struct key *k, uint32_t key,
               uint32_t shown, struct value **out, uint32_t *count) {
    uint32_t newest = tx_key_write(tx, key, shown), writes = 0, n, *in_order;
    struct value records = {NULL, 0}, record;
    struct rows rows = {NULL, 0, 0};
    bool based = true;
    eg_err err = EG_OK;

    for (uint32_t w = newest; w != TX_NONE && based; w = tx->write[w].previous) {
        writes++;
        based = !is_absolute(tx, &tx->write[w]);
    }
    if (based)
        err = look_at_all(tx, at, k, key, &records);
    if (err != EG_OK)
        return err;
    rows.room = (based ? value_count(records) : 0) + writes;
    rows.row = reader_scratch(at->reader, EG_MAX(rows.room, 1u) * sizeof *rows.row);
    in_order = reader_scratch(at->reader, EG_MAX(writes, 1u) * sizeof *in_order);
    if (rows.row == NULL || in_order == NULL)
        return EG_MEMORY;
    if (based) {
        struct value_iter it = value_iter_of(records);
        while (value_iter_next(&it, &record))
            rows.row[rows.count++] = record;
    }
    n = writes;
    for (uint32_t w = newest; n > 0; w = tx->write[w].previous)
        in_order[--n] = w;
    for (; n < writes; n++)
        carry_out(tx, &rows, in_order[n]);
    if (writes > 0 && tx->table[tx->key[key].table].type == TABLE_BAG)
        qsort(rows.row, rows.count, sizeof *rows.row, by_value); /* as the table keeps them */
    *out = rows.row;
    *count = rows.count;
    return EG_OK;
}

/* ---- the calls ---------------------------------------------------------------------------- */

/* What every call about one key begins with; key_release(k) is owed on EG_OK. */
static eg_err begin(struct tx *tx, const struct tx_place *at, struct value v, struct key *k,
                    uint32_t *key, struct err_note *note) {
    uint32_t table;
    eg_err err = tx_enter(tx, note);

    if (err == EG_OK)
        err = tx_table_enter(tx, at, &table);
    if (err == EG_OK)
        err = table_key_checked(at->table, k, v, note);
    if (err != EG_OK)
        return err;
    err = tx_key_enter(tx, table, k, key);
    if (err != EG_OK)
        key_release(k);
    return err == EG_TOO_LARGE ? err_note(note, err, "the transaction is too large") : err;
}

/* The one record that a key of this table may have, or the first; size 0: none. */
static eg_err get(struct tx *tx, const struct tx_place *at, struct key *k, uint32_t key,
                  struct value *record) {
    uint32_t newest = tx->key[key].newest, count;
    struct value *rows;
    eg_err err;

    if (EG_UNLIKELY(tx->table[tx->key[key].table].many) && newest != TX_NONE) {
        err = tx_rows(tx, at, k, key, TX_NONE, &rows, &count);
        *record = err == EG_OK && count > 0 ? rows[0] : (struct value){NULL, 0};
        return err;
    }
    if (newest == TX_NONE)
        return tx_look(tx, at, k, key, record);
    *record = tx_bytes_at(tx, tx->write[newest].after_at, tx->write[newest].after_bytes);
    return EG_OK;
}

eg_err tx_get(struct tx *tx, const struct tx_place *at, struct value v, struct value *record,
              struct err_note *note) {
    struct key k;
    uint32_t key;
    eg_err err = begin(tx, at, v, &k, &key, note);

    if (err != EG_OK)
        return err;
    err = get(tx, at, &k, key, record);
    key_release(&k);
    if (err == EG_OK && record->size_bytes == 0)
        return EG_NOT_FOUND;
    return err;
}

static eg_err put_array(struct buffer *result, const struct value *rows, uint32_t count) {
    enum { HEADER_BYTES = 5 };
    size_t size_bytes = HEADER_BYTES;
    struct value_writer w;
    uint8_t *room;

    for (uint32_t i = 0; i < count; i++)
        size_bytes += rows[i].size_bytes;
    room = buffer_room(result, size_bytes);
    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, size_bytes);
    value_put_array(&w, count);
    for (uint32_t i = 0; i < count; i++)
        value_put_raw(&w, rows[i]);
    EG_ASSERT(!w.overflow);
    result->size_bytes += w.need_bytes;
    return EG_OK;
}

/* Append [record, ...]. */
static eg_err read_one(struct tx *tx, const struct tx_place *at, struct key *k, uint32_t key,
                       struct buffer *result, struct err_note *note) {
    struct value record, *rows = &record;
    uint32_t count;
    eg_err err;

    if (tx->table[tx->key[key].table].many) {
        err = tx_rows(tx, at, k, key, TX_NONE, &rows, &count);
    } else {
        err = get(tx, at, k, key, &record);
        count = err == EG_OK && record.size_bytes != 0;
    }
    if (err == EG_OK)
        err = put_array(result, rows, count);
    return err == EG_TOO_LARGE ? err_note(note, err, "the records do not fit one answer") : err;
}

eg_err tx_read(struct tx *tx, const struct tx_place *at, struct value v, struct buffer *result,
               struct err_note *note) {
    struct key k;
    uint32_t key;
    eg_err err = begin(tx, at, v, &k, &key, note);

    if (err != EG_OK)
        return err;
    err = read_one(tx, at, &k, key, result, note);
    key_release(&k);
    return err == EG_CONFLICT ? tx_check(tx, note) : err;
}

eg_err tx_read_many(struct tx *tx, const struct tx_place *at, struct value keys,
                    struct buffer *result, struct err_note *note) {
    size_t before_bytes = result->size_bytes;
    struct value_iter it;
    struct value_writer w;
    struct value v;
    uint8_t *room;
    eg_err err = tx_enter(tx, note);

    if (err != EG_OK)
        return err;
    if (value_kind_of(keys) != VALUE_ARRAY)
        return err_note(note, EG_BAD_REQUEST, "keys are an array");
    room = buffer_room(result, 5);
    if (room == NULL)
        return EG_TOO_LARGE;
    w = value_writer_init(room, 5);
    value_put_array(&w, value_count(keys));
    result->size_bytes += w.need_bytes;
    it = value_iter_of(keys);
    while (err == EG_OK && value_iter_next(&it, &v))
        err = tx_read(tx, at, v, result, note);
    if (err != EG_OK)
        result->size_bytes = before_bytes;
    return err;
}

eg_err tx_expect(struct tx *tx, const struct tx_place *at, struct value v, struct value record,
                 struct err_note *note) {
    struct value *rows, one;
    uint32_t key, count = 0, i = 0;
    struct key k;
    eg_err err = begin(tx, at, v, &k, &key, note);

    if (err != EG_OK)
        return err;
    if (tx->table[tx->key[key].table].many) {
        err = tx_rows(tx, at, &k, key, TX_NONE, &rows, &count);
    } else {
        err = get(tx, at, &k, key, &one);
        rows = &one;
        count = err == EG_OK && one.size_bytes != 0;
    }
    key_release(&k);
    if (err != EG_OK)
        return err;
    while (i < count && !value_equal(rows[i], record))
        i++;
    if (value_kind_of(record) == VALUE_NIL ? count == 0 : i < count)
        return EG_OK;
    tx_lost(tx);
    return err_note(note, EG_CONFLICT, "another record is under the key than the check expects");
}
