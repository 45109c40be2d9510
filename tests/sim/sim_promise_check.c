/* sim_promise_check.c -- what clients were shown, and what all nodes have in the end, against what
 * was asked for. */
#include "tests/sim/sim_promise.h"

#include "engine/env.h"
#include "tests/sim/copies.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASK_WAIT_MS = 20 * 1000,
    ASK_TRIES = 3,
    JOURNAL_LIMIT = 10000,
    EXPIRE_WAIT_MS = 60 * 1000, /* longer than that a clock that was ahead may keep a record */
};

static bool wrong(char text[HISTORY_TEXT_BYTES], const char *format, ...) EG_PRINTF(2, 3);
static bool wrong(char text[HISTORY_TEXT_BYTES], const char *format, ...) {
    va_list args;

    va_start(args, format);
    vsnprintf(text, HISTORY_TEXT_BYTES, format, args);
    va_end(args);
    return false;
}

static double ms(uint64_t ns) {
    return (double) ns / 1e6;
}

static bool has(const struct numbers *n, uint32_t number) {
    for (uint32_t i = 0; i < n->count; i++)
        if (n->at[i] == number)
            return true;
    return false;
}

static bool is_of(const struct deed *d, enum promise_table t, uint32_t key) {
    return d->table == t && d->key == key;
}

/* Had the first ended before the second began, both in one view? */
static bool is_before(const struct deed *a, const struct deed *b) {
    return a->end == OP_OK && a->view != 0 && a->view == b->view && a->end_ns < b->begin_ns;
}

static bool is_write_of(const struct sim_promise *x, enum promise_table t, uint32_t key,
                        uint32_t number) {
    return number != 0 && number <= x->deeds && is_of(&x->deed[number], t, key) &&
           x->deed[number].kind == DEED_WRITE;
}

/* ---- siblings ----------------------------------------------------------------------------- */

/* Had its node heard of what it names?  In the view in which that was read, or in one of all nodes.
 */
static bool knew(const struct sim_promise *x, const struct deed *d) {
    bool all = d->view != 0;

    for (uint32_t i = 0; i < x->nodes; i++)
        all &= d->views[i] == d->view;
    return all || (d->view != 0 && d->view == d->named_in);
}

/* May a deed that had begun by then have taken the write away?  `must`: one has, for certain. */
static bool is_named(const struct sim_promise *x, uint32_t number, uint64_t until_ns, bool must) {
    for (uint32_t i = 1; i <= x->deeds; i++) {
        const struct deed *d = &x->deed[i];

        if (is_of(d, PROMISE_CARTS, x->deed[number].key) && d->kind != DEED_READ &&
            d->begin_ns < until_ns && has(&d->named, number) &&
            (must ? d->end == OP_OK && knew(x, d) : d->end != OP_FAIL))
            return true;
    }
    return false;
}

/* In the end each key has what was acknowledged and nobody named, and none of what was named. */
static bool check_cart(const struct sim_promise *x, uint32_t key, const struct numbers *found,
                       bool kept, char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t i = 0; i < found->count; i++) {
        uint32_t number = found->at[i];

        if (!is_write_of(x, PROMISE_CARTS, key, number))
            return wrong(text, "carts: key %u has %u, which nobody wrote", key, number);
        if (x->deed[number].end == OP_FAIL)
            return wrong(text, "carts: %u of key %u was refused and is there", number, key);
        if (kept && is_named(x, number, UINT64_MAX, true))
            return wrong(text, "carts: %u of key %u was replaced, and is there", number, key);
    }
    for (uint32_t i = 1; kept && i <= x->deeds; i++)
        if (is_write_of(x, PROMISE_CARTS, key, i) && x->deed[i].end == OP_OK && !has(found, i) &&
            !is_named(x, i, UINT64_MAX, false))
            return wrong(text,
                         "carts: %u of key %u (%.3f ms) was acknowledged, nobody replaced "
                         "it, and it is gone",
                         i, key, ms(x->deed[i].begin_ns));
    return true;
}

/* In one view a read shows what stood before it, and nothing that had gone. */
static bool check_cart_read(const struct sim_promise *x, uint32_t read,
                            char text[HISTORY_TEXT_BYTES]) {
    const struct deed *r = &x->deed[read];

    for (uint32_t i = 1; i <= x->deeds; i++) {
        const struct deed *d = &x->deed[i];

        if (!is_of(d, PROMISE_CARTS, r->key) || d->kind == DEED_READ || !is_before(d, r))
            continue;
        for (uint32_t k = 0; k < d->named.count && knew(x, d); k++)
            if (has(&r->named, d->named.at[k]))
                return wrong(text, "carts: %u of key %u was replaced by %u, and read by %u",
                             d->named.at[k], r->key, i, read);
        if (d->kind == DEED_WRITE && !has(&r->named, i) && !is_named(x, i, r->end_ns, false))
            return wrong(text, "carts: %u of key %u was acknowledged, and not read by %u", i,
                         r->key, read);
    }
    return true;
}

/* ---- leases ------------------------------------------------------------------------------- */

/* By every clock that there was a write's time was not over yet. */
static bool lasts(const struct deed *write, int64_t most_ms) {
    return most_ms < write->least_ms + write->ttl_ms;
}

/* Whatever may stand there lasts. */
static bool all_last(const struct sim_promise *x, const struct deed *write, const struct deed *r) {
    for (uint32_t i = 1; i <= x->deeds; i++) {
        const struct deed *d = &x->deed[i];

        if (is_of(d, PROMISE_LEASES, r->key) && d->kind == DEED_WRITE && d->end != OP_FAIL &&
            d->begin_ns < r->end_ns && !is_before(d, write) && !lasts(d, r->most_ms))
            return false;
    }
    return true;
}

static bool check_lease_read(const struct sim_promise *x, uint32_t read,
                             char text[HISTORY_TEXT_BYTES]) {
    const struct deed *r = &x->deed[read];

    if (r->named.count != 0) {
        uint32_t number = r->named.at[0];
        const struct deed *d = &x->deed[number];

        if (!is_write_of(x, PROMISE_LEASES, r->key, number) || d->end == OP_FAIL)
            return wrong(text, "leases: read %u of key %u saw %u, which nobody wrote", read, r->key,
                         number);
        return d->end != OP_OK || EG_MIN(r->least_ms, r->least_then_ms) <= d->most_ms + d->ttl_ms ||
               wrong(text, "leases: %u of key %u was over, and read by %u at %.3f ms", number,
                     r->key, read, ms(r->begin_ns));
    }
    for (uint32_t i = 1; i <= x->deeds; i++)
        if (is_of(&x->deed[i], PROMISE_LEASES, r->key) && x->deed[i].kind == DEED_WRITE &&
            is_before(&x->deed[i], r) && all_last(x, &x->deed[i], r))
            return wrong(text,
                         "leases: %u of key %u was not over, and absent for read %u at "
                         "%.3f ms",
                         i, r->key, read, ms(r->begin_ns));
    return true;
}

/* ---- journals ----------------------------------------------------------------------------- */

struct loss {
    uint32_t loser, winner;
};
struct losses {
    uint32_t count;
    struct loss at[PROMISE_DEEDS_MAX];
};

/* Neither could know of the other: each was made in a view that stood while the other's did. */
static bool are_apart(const struct deed *a, const struct deed *b) {
    return a->end == OP_OK && b->end == OP_OK && a->view != 0 && b->view != 0 &&
           a->view != b->view && a->views[b->node] == b->view && b->views[a->node] == a->view;
}

/* Acknowledged, and replaced by nobody who knew of it. */
static bool has_lost(const struct sim_promise *x, uint32_t number, uint32_t stands) {
    const struct deed *w = &x->deed[number];

    if (w->kind != DEED_WRITE || w->end != OP_OK || number == stands || w->view == 0)
        return false;
    for (uint32_t i = 1; i <= x->deeds; i++) {
        const struct deed *d = &x->deed[i];

        if (i != number && is_of(d, w->table, w->key) && d->end != OP_FAIL &&
            (d->end != OP_OK || d->end_ns > w->begin_ns) && !are_apart(w, d))
            return false;
    }
    for (uint32_t i = 0; i < x->nodes; i++) /* a journal may have gone with its node */
        if (w->starts[i] != x->node[i].starts)
            return false;
    return true;
}

static bool check_losses(const struct sim_promise *x, uint32_t key, uint32_t stands,
                         const struct losses *l, char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t i = 1; i <= x->deeds; i++) {
        bool found = false;

        if (!is_of(&x->deed[i], PROMISE_NOTES, key) || !has_lost(x, i, stands))
            continue;
        for (uint32_t k = 0; k < l->count && !found; k++)
            found = l->at[k].loser == i;
        if (!found)
            return wrong(text,
                         "notes: %u of key %u (%.3f ms) lost to another side, and no journal "
                         "has it",
                         i, key, ms(x->deed[i].begin_ns));
    }
    return true;
}

static bool check_entry(const struct sim_promise *x, uint32_t key, uint32_t stands, struct loss l,
                        char text[HISTORY_TEXT_BYTES]) {
    const struct deed *loser = &x->deed[l.loser], *winner = &x->deed[l.winner];

    if (!is_write_of(x, PROMISE_NOTES, key, l.loser) ||
        !is_write_of(x, PROMISE_NOTES, key, l.winner) || loser->end == OP_FAIL ||
        winner->end == OP_FAIL)
        return wrong(text, "notes: a journal has what nobody wrote: %u over %u of key %u", l.winner,
                     l.loser, key);
    if (l.loser == l.winner || l.loser == stands || is_before(loser, winner))
        return wrong(text, "notes: a journal has that %u of key %u lost to %u, which it did not",
                     l.loser, key, l.winner);
    return true;
}

/* ---- asking ------------------------------------------------------------------------------- */

static bool ask(const struct sim_promise *x, struct sim_client *admin, uint32_t node,
                const char *method, struct value params, struct sim_answer *a,
                char text[HISTORY_TEXT_BYTES]) {
    enum sim_outcome outcome = SIM_UNKNOWN;

    for (int i = 0; i < ASK_TRIES && (outcome == SIM_UNKNOWN || outcome == SIM_UNSENT); i++)
        outcome =
            sim_client_call(admin, x->node[node].client_address, method, params, ASK_WAIT_MS, a);
    return outcome == SIM_DONE ||
           wrong(text, "%s does not answer %s: %s", x->node[node].name, method, a->text);
}

static bool ask_read(const struct sim_promise *x, struct sim_client *admin, uint32_t node,
                     enum promise_table t, uint32_t key, struct numbers *found,
                     char text[HISTORY_TEXT_BYTES]) {
    uint8_t at[64];
    struct value_writer w = value_writer_init(at, sizeof at);
    struct sim_answer a;

    value_put_array(&w, 2);
    value_put_text(&w, promise_table_name(t));
    value_put_u64(&w, key);
    if (!ask(x, admin, node, "read", (struct value){at, (uint32_t) w.need_bytes}, &a, text))
        return false;
    promise_numbers_in(a.result, found);
    return true;
}

static struct value field_of(struct value map, const char *name) {
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

static uint32_t number_of(struct value record) {
    return value_kind_of(record) == VALUE_ARRAY ? promise_number_in(record) : 0;
}

/* What all journals say of a key, each checked against what `stands`. */
static bool read_journals(const struct sim_promise *x, struct sim_client *admin, uint32_t key,
                          uint32_t stands, struct losses *l, char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t node = 0; node < x->nodes; node++) {
        uint8_t at[64];
        struct value_writer w = value_writer_init(at, sizeof at);
        struct value_iter it;
        struct value entry;
        struct sim_answer a;
        uint64_t its_key;

        value_put_array(&w, 2);
        value_put_text(&w, "notes");
        value_put_map(&w, 1);
        value_put_text(&w, "limit");
        value_put_u64(&w, JOURNAL_LIMIT);
        if (!ask(x, admin, node, "conflicts", (struct value){at, (uint32_t) w.need_bytes}, &a,
                 text))
            return false;
        it = value_iter_of(a.result);
        while (value_iter_next(&it, &entry)) {
            struct loss loss = {number_of(field_of(entry, "loser")),
                                number_of(field_of(entry, "winner"))};

            if (!value_get_u64(field_of(entry, "key"), &its_key) || its_key != key)
                continue;
            if (!check_entry(x, key, stands, loss, text))
                return false;
            EG_ASSERT(l->count < PROMISE_DEEDS_MAX);
            l->at[l->count++] = loss;
        }
    }
    return true;
}

/* By all clocks everything is over soon: then every node says so, of its own copy. */
static bool check_leases(const struct sim_promise *x, struct sim_client *admin,
                         char text[HISTORY_TEXT_BYTES]) {
    int64_t last_ms = 0, now_ms = INT64_MAX, most_ms = *x->most_ms;
    struct numbers found;

    for (uint32_t i = 0; i < x->nodes; i++) {
        int64_t its_ms = env_wall_ms(&x->node[i].env.env);

        now_ms = EG_MIN(now_ms, its_ms);
        most_ms = EG_MAX(most_ms, its_ms);
    }
    for (uint32_t i = 1; i <= x->deeds; i++) /* by now those in doubt have been made too */
        if (x->deed[i].ttl_ms != 0)
            last_ms = EG_MAX(last_ms, most_ms + x->deed[i].ttl_ms);
    if (last_ms - now_ms > EXPIRE_WAIT_MS)
        return true;
    sim_run_ms(x->sim, (uint64_t) EG_MAX(last_ms - now_ms, 0) + 1);
    for (uint32_t node = 0; node < x->nodes; node++)
        for (uint32_t key = 0; key < PROMISE_KEYS; key++) {
            if (!ask_read(x, admin, node, PROMISE_LEASES, key, &found, text))
                return false;
            if (found.count != 0)
                return wrong(text, "leases: %u of key %u is over everywhere, and %s has it",
                             found.at[0], key, x->node[node].name);
        }
    return true;
}

/* What happened to what the text speaks of. */
static void tell(const struct sim_promise *x, const char *text) {
    unsigned key;
    const char *at = strstr(text, "key ");

    if (at == NULL || sscanf(at, "key %u", &key) != 1)
        return;
    for (uint32_t i = 1; i <= x->deeds; i++) {
        static const char *const kinds[] = {"write", "delete", "read"};
        static const char *const ends[] = {"open", "ok", "failed", "unknown"};
        const struct deed *d = &x->deed[i];

        if (d->key != key ||
            strncmp(text, promise_table_name(d->table), strlen(promise_table_name(d->table))) != 0)
            continue;
        printf("#   %s %u at node %u (%.3f..%.3f ms, %s), view %" PRIx64 ":", kinds[d->kind], i,
               d->node, ms(d->begin_ns), ms(d->end_ns), ends[d->end], d->view);
        for (uint32_t k = 0; k < d->named.count; k++)
            printf(" %u", d->named.at[k]);
        printf("\n");
    }
}

/* ---- all of it ------------------------------------------------------------------------------ */

static bool check_reads(const struct sim_promise *x, char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t i = 1; i <= x->deeds; i++) {
        const struct deed *d = &x->deed[i];

        if (d->kind != DEED_READ || d->end != OP_OK)
            continue;
        if (d->table == PROMISE_CARTS ? d->view != 0 && !check_cart_read(x, i, text)
                                      : !check_lease_read(x, i, text))
            return false;
    }
    return true;
}

static bool check(const struct sim_promise *x, struct sim_client *admin, bool kept,
                  char text[HISTORY_TEXT_BYTES]) {
    static struct losses losses;
    struct numbers found;

    if (!check_reads(x, text))
        return false;
    for (uint32_t node = 0; node < x->nodes; node++)
        for (uint32_t key = 0; key < PROMISE_KEYS; key++)
            if (!ask_read(x, admin, node, PROMISE_CARTS, key, &found, text) ||
                !check_cart(x, key, &found, kept, text))
                return false;
    for (uint32_t key = 0; key < PROMISE_KEYS; key++) {
        losses.count = 0;
        if (!ask_read(x, admin, 0, PROMISE_NOTES, key, &found, text) ||
            !read_journals(x, admin, key, found.count == 0 ? 0 : found.at[0], &losses, text) ||
            !check_losses(x, key, found.count == 0 ? 0 : found.at[0], &losses, text))
            return false;
    }
    return check_leases(x, admin, text);
}

bool sim_promise_check(const struct sim_promise *x, struct sim_client *admin, bool kept, bool tells,
                       char text[HISTORY_TEXT_BYTES]) {
    bool known = false;

    for (uint32_t i = 0; x->on && i < x->nodes; i++)
        known |= copies_shards(&x->node[i], "carts") != 0;
    if (!x->on || (!known && !kept) ||
        check(x, admin, kept, text)) /* it may have gone with all its nodes */
        return true;
    if (tells)
        tell(x, text);
    return false;
}
