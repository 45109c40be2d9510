/* sim_promise_check.c -- what clients were shown, and what all nodes have in the end, against what
 * was asked for. */
#include "tests/sim/sim_promise_private.h"

#include "engine/env.h"
#include "tests/sim/copies.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASK_WAIT_MS = 20 * 1000,
    ASK_TRIES = 3,
    EXPIRE_WAIT_MS = 60 * 1000, /* longer than that a clock that was ahead may keep a record */
};

bool promise_wrong(char text[HISTORY_TEXT_BYTES], const char *format, ...) {
    va_list args;

    va_start(args, format);
    vsnprintf(text, HISTORY_TEXT_BYTES, format, args);
    va_end(args);
    return false;
}

static bool has(const struct numbers *n, uint32_t number) {
    for (uint32_t i = 0; i < n->count; i++)
        if (n->at[i] == number)
            return true;
    return false;
}

static bool is_write_of(const struct sim_promise *x, enum promise_table t, uint32_t key,
                        uint32_t number) {
    return number != 0 && number <= x->deeds && deed_is_of(&x->deed[number], t, key) &&
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

        if (deed_is_of(d, PROMISE_CARTS, x->deed[number].key) && d->kind != DEED_READ &&
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
            return promise_wrong(text, "carts: key %u has %u, which nobody wrote", key, number);
        if (x->deed[number].end == OP_FAIL)
            return promise_wrong(text, "carts: %u of key %u was refused and is there", number, key);
        if (kept && is_named(x, number, UINT64_MAX, true))
            return promise_wrong(text, "carts: %u of key %u was replaced, and is there", number,
                                 key);
    }
    for (uint32_t i = 1; kept && i <= x->deeds; i++)
        if (is_write_of(x, PROMISE_CARTS, key, i) && x->deed[i].end == OP_OK && !has(found, i) &&
            !is_named(x, i, UINT64_MAX, false))
            return promise_wrong(text,
                                 "carts: %u of key %u (%.3f ms) was acknowledged, nobody replaced "
                                 "it, and it is gone",
                                 i, key, promise_ms(x->deed[i].begin_ns));
    return true;
}

/* In one view a read shows what stood before it, and nothing that had gone. */
static bool check_cart_read(const struct sim_promise *x, uint32_t read,
                            char text[HISTORY_TEXT_BYTES]) {
    const struct deed *r = &x->deed[read];

    for (uint32_t i = 1; i <= x->deeds; i++) {
        const struct deed *d = &x->deed[i];

        if (!deed_is_of(d, PROMISE_CARTS, r->key) || d->kind == DEED_READ || !deed_is_before(d, r))
            continue;
        for (uint32_t k = 0; k < d->named.count && knew(x, d); k++)
            if (has(&r->named, d->named.at[k]))
                return promise_wrong(text, "carts: %u of key %u was replaced by %u, and read by %u",
                                     d->named.at[k], r->key, i, read);
        if (d->kind == DEED_WRITE && !has(&r->named, i) && !is_named(x, i, r->end_ns, false))
            return promise_wrong(text, "carts: %u of key %u was acknowledged, and not read by %u",
                                 i, r->key, read);
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

        if (deed_is_of(d, PROMISE_LEASES, r->key) && d->kind == DEED_WRITE && d->end != OP_FAIL &&
            d->begin_ns < r->end_ns && !deed_is_before(d, write) && !lasts(d, r->most_ms))
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
            return promise_wrong(text, "leases: read %u of key %u saw %u, which nobody wrote", read,
                                 r->key, number);
        return d->end != OP_OK || EG_MIN(r->least_ms, r->least_then_ms) <= d->most_ms + d->ttl_ms ||
               promise_wrong(text, "leases: %u of key %u was over, and read by %u at %.3f ms",
                             number, r->key, read, promise_ms(r->begin_ns));
    }
    for (uint32_t i = 1; i <= x->deeds; i++)
        if (deed_is_of(&x->deed[i], PROMISE_LEASES, r->key) && x->deed[i].kind == DEED_WRITE &&
            deed_is_before(&x->deed[i], r) && all_last(x, &x->deed[i], r))
            return promise_wrong(text,
                                 "leases: %u of key %u was not over, and absent for read %u at "
                                 "%.3f ms",
                                 i, r->key, read, promise_ms(r->begin_ns));
    return true;
}

/* ---- asking ------------------------------------------------------------------------------- */

bool promise_ask(const struct sim_promise *x, struct sim_client *admin, uint32_t node,
                 const char *method, struct value params, struct sim_answer *a,
                 char text[HISTORY_TEXT_BYTES]) {
    enum sim_outcome outcome = SIM_UNKNOWN;

    for (int i = 0; i < ASK_TRIES && (outcome == SIM_UNKNOWN || outcome == SIM_UNSENT); i++)
        outcome =
            sim_client_call(admin, x->node[node].client_address, method, params, ASK_WAIT_MS, a);
    return outcome == SIM_DONE ||
           promise_wrong(text, "%s does not answer %s: %s", x->node[node].name, method, a->text);
}

bool promise_ask_record(const struct sim_promise *x, struct sim_client *admin, uint32_t node,
                        enum promise_table t, uint32_t key, struct sim_answer *a,
                        char text[HISTORY_TEXT_BYTES]) {
    uint8_t at[64];
    struct value_writer w = value_writer_init(at, sizeof at);

    value_put_array(&w, 2);
    value_put_text(&w, promise_table_name(t));
    value_put_u64(&w, key);
    return promise_ask(x, admin, node, "read", (struct value){at, (uint32_t) w.need_bytes}, a,
                       text);
}

static bool ask_read(const struct sim_promise *x, struct sim_client *admin, uint32_t node,
                     enum promise_table t, uint32_t key, struct numbers *found,
                     char text[HISTORY_TEXT_BYTES]) {
    struct sim_answer a;

    if (!promise_ask_record(x, admin, node, t, key, &a, text))
        return false;
    promise_numbers_in(a.result, found);
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
                return promise_wrong(text, "leases: %u of key %u is over everywhere, and %s has it",
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
               d->node, promise_ms(d->begin_ns), promise_ms(d->end_ns), ends[d->end], d->view);
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

static bool check_carts(const struct sim_promise *x, struct sim_client *admin, bool kept,
                        char text[HISTORY_TEXT_BYTES]) {
    struct numbers found;

    for (uint32_t node = 0; node < x->nodes; node++)
        for (uint32_t key = 0; key < PROMISE_KEYS; key++)
            if (!ask_read(x, admin, node, PROMISE_CARTS, key, &found, text) ||
                !check_cart(x, key, &found, kept, text))
                return false;
    return true;
}

static bool check(const struct sim_promise *x, struct sim_client *admin, bool kept,
                  char text[HISTORY_TEXT_BYTES]) {
    if (x->policies)
        return promise_check_journals(x, admin, kept, text);
    return check_reads(x, text) && check_carts(x, admin, kept, text) &&
           promise_check_journals(x, admin, kept, text) && check_leases(x, admin, text);
}

bool sim_promise_check(const struct sim_promise *x, struct sim_client *admin, bool kept, bool tells,
                       char text[HISTORY_TEXT_BYTES]) {
    bool known = false;

    for (uint32_t i = 0; x->on && i < x->nodes; i++)
        known |= copies_shards(&x->node[i], "notes") != 0;
    if (!x->on || (!known && !kept) ||
        check(x, admin, kept, text)) /* it may have gone with all its nodes */
        return true;
    if (tells)
        tell(x, text);
    return false;
}
