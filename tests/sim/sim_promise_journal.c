/* sim_promise_journal.c -- what stands in the end and what is in journals, against what was
 * acknowledged.
 *
 *     complete     a write that nobody knowingly wrote over stands, or is in a journal
 *     sound        what is in a journal was written, does not stand, and was not written over by
 *                  who had seen it
 *     once         two versions are decided between once in a view, and once by a node that has
 *                  not forgotten that it did
 *     by policy    of two versions the one that the policy names has won; what was written when
 *                  all else had been seen stands; and a callback's record has what each side wrote
 *     no return    what was deleted by who had seen it does not stand
 *
 * A field is what is looked at: `fields` and `joins` put records together of several writes.
 */
#include "tests/sim/sim_promise_field.h"
#include "tests/sim/sim_promise_private.h"

#include <inttypes.h>
#include <string.h>

enum { JOURNAL_LIMIT = 10000, LOSSES_MAX = PROMISE_NODES_MAX * JOURNAL_LIMIT };

enum { NAME_BYTES = 20 };

/* Of a version: its dot. */
struct dot_name {
    char origin[NAME_BYTES];
    uint64_t sequence;
};

struct loss {
    uint32_t key, node;
    struct promised loser, winner;
    struct dot_name lost, met;
    char view[2 * NAME_BYTES];
};

/* Of a table. */
struct losses {
    enum promise_table table;
    uint32_t count;
    struct loss at[LOSSES_MAX];
};

struct judged { /* a key */
    const struct sim_promise *x;
    const struct losses *losses;
    enum promise_table table;
    uint32_t key;
    struct promised stands;
    char *text;
};

/* One of two versions stands as it was written. */
static bool takes_one(enum promise_table t) {
    return t != PROMISE_FIELDS && t != PROMISE_JOINS;
}

static bool is_write_of(const struct judged *j, uint32_t number, uint32_t field) {
    const struct deed *d = &j->x->deed[number];

    return number != 0 && number <= j->x->deeds && deed_is_of(d, j->table, j->key) &&
           d->kind == DEED_WRITE && d->end != OP_FAIL && (d->fields >> field & 1) != 0;
}

/* Does the write's field stand there?  Of joins a version is as it was written where both do. */
static bool has(const struct judged *j, const struct promised *p, uint32_t number, uint32_t field) {
    bool whole = p->there;

    for (uint32_t i = 0; i < promise_field_count(j->table); i++)
        whole &= promise_number_of(p->field[i]) == number;
    return j->table == PROMISE_JOINS ? whole
                                     : p->there && promise_number_of(p->field[field]) == number;
}

/* Another deed that may have touched that field. */
static bool touches(const struct judged *j, const struct deed *d, uint32_t field) {
    return deed_is_of(d, j->table, j->key) && d->kind != DEED_READ && d->end != OP_FAIL &&
           (d->fields >> field & 1) != 0;
}

/* Neither could know of the other: each was made in a view that stood while the other's did. */
static bool are_apart(const struct deed *a, const struct deed *b) {
    return a->end == OP_OK && b->end == OP_OK && a->view != 0 && b->view != 0 &&
           a->view != b->view && a->views[b->node] == b->view && b->views[a->node] == a->view;
}

/* Acknowledged, and replaced by nobody who knew of it. */
static bool was_last(const struct judged *j, uint32_t number, uint32_t field) {
    const struct deed *w = &j->x->deed[number];

    if (!is_write_of(j, number, field) || w->end != OP_OK || w->view == 0)
        return false;
    for (uint32_t i = 1; i <= j->x->deeds; i++) {
        const struct deed *d = &j->x->deed[i];

        if (i != number && touches(j, d, field) && (d->end != OP_OK || d->end_ns > w->begin_ns) &&
            !are_apart(w, d))
            return false;
    }
    return true;
}

/* Had the first been seen by who did the second?  In one view, or in one of all nodes before, whose
 * copies were whole, and none of which has begun anew since. */
static bool was_seen(const struct judged *j, const struct deed *first, const struct deed *second) {
    bool all = first->end == OP_OK && first->view != 0 && first->end_ns < second->begin_ns &&
               first->everywhere;

    for (uint32_t i = 0; i < j->x->nodes; i++)
        all &= first->views[i] == first->view && first->starts[i] == second->starts[i];
    return all || deed_is_before(first, second);
}

/* Who did it had seen all else. */
static bool was_alone(const struct judged *j, uint32_t number, uint32_t field) {
    const struct deed *w = &j->x->deed[number];

    for (uint32_t i = 1; i <= j->x->deeds; i++)
        if (i != number && touches(j, &j->x->deed[i], field) && !was_seen(j, &j->x->deed[i], w))
            return false;
    return w->end == OP_OK && w->view != 0;
}

/* A journal may have gone with its node. */
static bool has_kept_journals(const struct judged *j, uint32_t number) {
    for (uint32_t i = 0; i < j->x->nodes; i++)
        if (j->x->deed[number].starts[i] != j->x->node[i].starts)
            return false;
    return true;
}

/* ---- what was written ----------------------------------------------------------------------- */

static bool is_noted(const struct judged *j, uint32_t number, uint32_t field) {
    for (uint32_t i = 0; i < j->losses->count; i++)
        if (j->losses->at[i].key == j->key && has(j, &j->losses->at[i].loser, number, field))
            return true;
    return false;
}

static bool check_complete(const struct judged *j, uint32_t number, uint32_t field) {
    if (!was_last(j, number, field) || has(j, &j->stands, number, field) ||
        !has_kept_journals(j, number) || is_noted(j, number, field))
        return true;
    return promise_wrong(
        j->text, "%s: %u of key %u (%.3f ms) lost to another side, and no journal has it",
        promise_table_name(j->table), number, j->key, promise_ms(j->x->deed[number].begin_ns));
}

/* All that was written beside it was last on its side, and nothing was deleted. */
static bool is_beside_others(const struct judged *j, uint32_t number, uint32_t field) {
    for (uint32_t i = 1; i <= j->x->deeds; i++) {
        const struct deed *d = &j->x->deed[i];

        if (touches(j, d, field) && !was_last(j, i, field) && !was_seen(j, d, &j->x->deed[number]))
            return false;
    }
    return was_last(j, number, field);
}

/* Of each field of joins the greater stands. */
static bool check_joined(const struct judged *j, uint32_t number, uint32_t field) {
    uint64_t its = promise_field(j->table, number, field);

    return j->table != PROMISE_JOINS || !is_beside_others(j, number, field) ||
           (j->stands.there && j->stands.field[field] >= its) ||
           promise_wrong(j->text, "%s: %u of key %u is not in what stands",
                         promise_table_name(j->table), number, j->key);
}

static bool check_alone(const struct judged *j, uint32_t number, uint32_t field) {
    if (!was_alone(j, number, field) ||
        (j->stands.there && promise_number_of(j->stands.field[field]) == number))
        return true;
    return promise_wrong(
        j->text, "%s: %u of key %u (%.3f ms) had seen all else, and does not stand",
        promise_table_name(j->table), number, j->key, promise_ms(j->x->deed[number].begin_ns));
}

static bool check_write(const struct judged *j, uint32_t number) {
    for (uint32_t field = 0; field < promise_field_count(j->table); field++)
        if (is_write_of(j, number, field) &&
            (!check_complete(j, number, field) || !check_joined(j, number, field) ||
             !check_alone(j, number, field)))
            return false;
    return true;
}

/* ---- what was deleted ----------------------------------------------------------------------- */

static bool check_delete(const struct judged *j, uint32_t number) {
    const struct deed *d = &j->x->deed[number];

    if (!deed_is_of(d, j->table, j->key) || d->kind != DEED_DELETE || d->end != OP_OK)
        return true;
    if (j->stands.there && was_alone(j, number, 0))
        return promise_wrong(j->text,
                             "%s: key %u was deleted by who had seen all (%.3f ms), and is there",
                             promise_table_name(j->table), j->key, promise_ms(d->begin_ns));
    if (takes_one(j->table) && j->stands.there &&
        was_seen(j, &j->x->deed[promise_number_of(j->stands.field[0])], d))
        return promise_wrong(j->text, "%s: %u of key %u was deleted by %u, and is there",
                             promise_table_name(j->table), promise_number_of(j->stands.field[0]),
                             j->key, number);
    return true;
}

/* ---- what a journal says --------------------------------------------------------------------- */

static bool was_written(const struct judged *j, const struct promised *p, const char *where) {
    for (uint32_t i = 0; p->there && i < promise_field_count(j->table); i++)
        if (!is_write_of(j, promise_number_of(p->field[i]), i))
            return promise_wrong(j->text, "%s: %s has %u of key %u, which nobody wrote",
                                 promise_table_name(j->table), where,
                                 promise_number_of(p->field[i]), j->key);
    return true;
}

static bool is_same(const struct promised *a, const struct promised *b) {
    return a->there == b->there && (!a->there || memcmp(a->field, b->field, sizeof a->field) == 0);
}

/* By every clock that there was the first was written before the second. */
static bool is_older(const struct deed *a, const struct deed *b) {
    return a->end == OP_OK && b->end == OP_OK && a->most_ms < EG_MIN(b->least_ms, b->least_then_ms);
}

/* Could the policy name that one? */
static bool may_win(const struct judged *j, const struct loss *l) {
    const struct deed *loser = &j->x->deed[promise_number_of(l->loser.field[0])];
    const struct deed *winner = &j->x->deed[promise_number_of(l->winner.field[0])];

    switch (j->table) {
    case PROMISE_NOTES:
        return !is_older(winner, loser);
    case PROMISE_FIRSTS:
        return !is_older(loser, winner);
    case PROMISE_MOSTS:
        return l->winner.field[0] > l->loser.field[0];
    case PROMISE_LEASTS:
        return l->winner.field[0] < l->loser.field[0];
    default:
        return true;
    }
}

static bool check_loss(const struct judged *j, const struct loss *l) {
    uint32_t loser = promise_number_of(l->loser.field[0]);
    uint32_t winner = promise_number_of(l->winner.field[0]);

    if (!was_written(j, &l->loser, "a journal") || !was_written(j, &l->winner, "a journal"))
        return false;
    if (is_same(&l->loser, &l->winner) ||
        (takes_one(j->table) && l->loser.there &&
         (is_same(&l->loser, &j->stands) ||
          (l->winner.there && was_seen(j, &j->x->deed[loser], &j->x->deed[winner])))))
        return promise_wrong(j->text,
                             "%s: a journal has that %u of key %u lost to %u, which it did not",
                             promise_table_name(j->table), loser, j->key, winner);
    if (l->loser.there && l->winner.there && !may_win(j, l))
        return promise_wrong(j->text, "%s: %u of key %u lost to %u, against the policy",
                             promise_table_name(j->table), loser, j->key, winner);
    return true;
}

static bool is_same_dot(const struct dot_name *a, const struct dot_name *b) {
    return a->sequence == b->sequence && strcmp(a->origin, b->origin) == 0;
}

/* Of a pair that some merge has met a second entry is of another node and in another view, for the
 * first one ended before all was heard. */
static bool check_once(const struct judged *j, const struct loss *l) {
    for (const struct loss *o = j->losses->at; o < l; o++)
        if (o->key == l->key && is_same_dot(&o->lost, &l->lost) && is_same_dot(&o->met, &l->met) &&
            (o->node == l->node || strcmp(o->view, l->view) == 0))
            return promise_wrong(
                j->text,
                "%s: that %u of key %u lost is in the journals of nodes %u and %u (%s, %s)",
                promise_table_name(j->table), promise_number_of(l->loser.field[0]), j->key, o->node,
                l->node, o->view, l->view);
    return true;
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static struct value entry_field(struct value map, const char *name) {
    struct value_iter it = value_iter_of(map);
    const uint8_t *at;
    uint32_t size_bytes;
    struct value k, v;

    while (value_iter_next(&it, &k) && value_iter_next(&it, &v))
        if (value_get_bytes(k, &at, &size_bytes) && size_bytes == strlen(name) &&
            memcmp(at, name, size_bytes) == 0)
            return v;
    EG_ASSERT(!"an entry has that field");
    return (struct value){NULL, 0};
}

static void read_text(struct value v, char *text, size_t size_bytes) {
    const uint8_t *at;
    uint32_t used_bytes;

    EG_ASSERT(value_get_bytes(v, &at, &used_bytes) && used_bytes < size_bytes);
    memcpy(text, at, used_bytes);
    text[used_bytes] = '\0';
}

static struct dot_name read_dot(struct value entry, const char *whose) {
    struct value version = entry_field(entry_field(entry, "versions"), whose);
    struct dot_name dot = {.sequence = 0};

    read_text(entry_field(version, "origin"), dot.origin, sizeof dot.origin);
    EG_ASSERT(value_get_u64(entry_field(version, "sequence"), &dot.sequence));
    return dot;
}

static bool read_journal(const struct sim_promise *x, struct sim_client *admin, uint32_t node,
                         struct losses *l, char text[HISTORY_TEXT_BYTES]) {
    uint8_t at[64];
    struct value_writer w = value_writer_init(at, sizeof at);
    struct value_iter it;
    struct value entry;
    struct sim_answer a;

    value_put_array(&w, 2);
    value_put_text(&w, promise_table_name(l->table));
    value_put_map(&w, 1);
    value_put_text(&w, "limit");
    value_put_u64(&w, JOURNAL_LIMIT);
    if (!promise_ask(x, admin, node, "conflicts", (struct value){at, (uint32_t) w.need_bytes}, &a,
                     text))
        return false;
    it = value_iter_of(a.result);
    while (value_iter_next(&it, &entry)) {
        struct loss *loss = &l->at[l->count++];
        uint64_t key;

        EG_ASSERT(l->count <= LOSSES_MAX);
        EG_ASSERT(value_get_u64(entry_field(entry, "key"), &key));
        *loss = (struct loss){.key = (uint32_t) key,
                              .node = node,
                              .loser = promise_read_fields(l->table, entry_field(entry, "loser")),
                              .winner = promise_read_fields(l->table, entry_field(entry, "winner")),
                              .lost = read_dot(entry, "loser"),
                              .met = read_dot(entry, "winner")};
        read_text(entry_field(entry, "view"), loss->view, sizeof loss->view);
    }
    return true;
}

static bool check_key(const struct judged *j, bool kept) {
    if (!was_written(j, &j->stands, "a node"))
        return false;
    for (uint32_t i = 1; i <= j->x->deeds; i++)
        if (kept && (!check_delete(j, i) || !check_write(j, i)))
            return false;
    for (uint32_t i = 0; i < j->losses->count; i++)
        if (j->losses->at[i].key == j->key &&
            (!check_loss(j, &j->losses->at[i]) || !check_once(j, &j->losses->at[i])))
            return false;
    return true;
}

static bool check_table(const struct sim_promise *x, struct sim_client *admin, enum promise_table t,
                        bool kept, char text[HISTORY_TEXT_BYTES]) {
    static struct losses losses;
    uint32_t keys = x->policies ? PROMISE_KEYS_MAX : PROMISE_KEYS;

    losses.table = t;
    losses.count = 0;
    for (uint32_t node = 0; node < x->nodes; node++)
        if (!read_journal(x, admin, node, &losses, text))
            return false;
    for (uint32_t key = 0; key < keys; key++) {
        struct judged j = {x, &losses, t, key, .text = text};
        struct value_iter it;
        struct sim_answer a;
        struct value record;

        if (!promise_ask_record(x, admin, 0, t, key, &a, text))
            return false;
        it = value_iter_of(a.result);
        if (value_iter_next(&it, &record))
            j.stands = promise_read_fields(t, record);
        if (!check_key(&j, kept))
            return false;
    }
    return true;
}

bool promise_check_journals(const struct sim_promise *x, struct sim_client *admin, bool kept,
                            char text[HISTORY_TEXT_BYTES]) {
    for (enum promise_table t = PROMISE_NOTES; t < PROMISE_TABLES; t++)
        if (promise_has(x, t) && !check_table(x, admin, t, kept, text))
            return false;
    return true;
}
