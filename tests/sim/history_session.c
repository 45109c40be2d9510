/* history_session.c -- a client that stays at its node never goes back.
 *
 *     wrote, or read, W --> reads S      S is W, or not older than W
 *                       --> reads none   somebody may have deleted it meanwhile
 *
 * Older for certain is what had been acknowledged before W began, all in one view.  A write of the
 * other side of a cut is neither older nor newer: it may be there after a heal.  What a start of
 * its node forgot, it may not have again at once: then a new session begins.  While its node has no
 * whole copy (its disc was full, say) another node's answers, which may have heard nothing yet. */
#include "tests/sim/history.h"

#include <stdio.h>

static const struct op *op_of(const struct history *h, uint32_t number) {
    return number == OP_NONE ? NULL : &h->ops[number - 1];
}

/* Did the client find its node without a whole copy of the table between the two? */
static bool was_away(const struct history *h, const struct op *a, const struct op *b) {
    for (uint32_t n = a->number + 1; n < b->number; n++)
        if (h->ops[n - 1].client == b->client && h->ops[n - 1].table == b->table &&
            !h->ops[n - 1].home)
            return true;
    return false;
}

/* What the client knew of its key when `later` began: what it wrote or read there last.  NULL:
 * nothing, or its node has been started since. */
static const struct op *known_before(const struct history *h, const struct op *later,
                                     const struct op **when) {
    for (const struct op *op = op_of(h, later->before); op != NULL; op = op_of(h, op->before)) {
        if (op->client != later->client || op->end != OP_OK || op->end_ns > later->begin_ns)
            continue;
        *when = op;
        if (op->starts != later->starts || !op->home || !op->home_then || was_away(h, op, later))
            return NULL;
        return op->kind == OP_WRITE ? op : op_of(h, op->seen);
    }
    return NULL;
}

/* Was the first acknowledged before the second began, in one view? */
static bool is_older(const struct op *a, const struct op *b) {
    return a->end == OP_OK && a->view != 0 && a->view == b->view && !a->dirty && !b->dirty &&
           a->end_ns < b->begin_ns;
}

static bool may_be_deleted(const struct history *h, const struct op *read, const struct op *known) {
    for (const struct op *op = op_of(h, h->last[read->table][read->key]); op != NULL;
         op = op_of(h, op->before))
        if (op->kind == OP_DELETE && op->end != OP_FAIL && op->begin_ns < read->end_ns &&
            !is_older(op, known))
            return true;
    return false;
}

static bool wrong(char text[HISTORY_TEXT_BYTES], const struct op *read, const struct op *when,
                  const struct op *known) {
    snprintf(text, HISTORY_TEXT_BYTES,
             "went back: of key %u in table %u node %u showed write %u at %.3f ms, and write %u to "
             "the same client at %.3f ms",
             read->key, read->table, read->node, known->number, (double) when->end_ns / 1e6,
             read->seen, (double) read->begin_ns / 1e6);
    return false;
}

static bool check(const struct history *h, const struct op *read, char text[HISTORY_TEXT_BYTES]) {
    const struct op *when = NULL, *known = known_before(h, read, &when);
    const struct op *seen = op_of(h, read->seen);

    if (known == NULL || known->dirty || seen == known || (!read->home && !read->home_then))
        return true;
    if (seen == NULL ? may_be_deleted(h, read, known) : !is_older(seen, known))
        return true;
    return wrong(text, read, when, known);
}

bool history_check_sessions(const struct history *h, uint32_t first_client,
                            bool (*checked)(void *user, uint32_t table), void *user,
                            char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t i = 0; i < h->count; i++) {
        const struct op *op = &h->ops[i];

        if (op->kind == OP_READ && op->end == OP_OK && op->client >= first_client &&
            checked(user, op->table) && !check(h, op, text))
            return false;
    }
    return true;
}
