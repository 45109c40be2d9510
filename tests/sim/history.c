/* history.c -- operations in the order they began, and rules about them. */
#include "tests/sim/history.h"

#include "engine/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void history_init(struct history *h) {
    *h = (struct history){0};
}

void history_fini(struct history *h) {
    alloc_put(alloc_system(), h->ops, h->room * sizeof *h->ops);
    alloc_put(alloc_system(), h->peeks, h->peek_room * sizeof *h->peeks);
}

struct op *history_begin(struct history *h, enum op_kind kind, uint32_t table, uint32_t key) {
    struct op *op;

    EG_ASSERT(table < HISTORY_TABLES_MAX);
    EG_ASSERT(key < HISTORY_KEYS_MAX);

    if (h->count == h->room) {
        uint32_t room = EG_MAX(h->room * 2, 256u);

        h->ops =
            alloc_resize(alloc_system(), h->ops, h->room * sizeof *h->ops, room * sizeof *h->ops);
        EG_ASSERT(h->ops != NULL);
        h->room = room;
    }
    op = &h->ops[h->count++];
    *op = (struct op){.number = h->count, .kind = kind, .table = table, .key = key};
    op->before = h->last[table][key];
    h->last[table][key] = op->number;
    return op;
}

void history_peek(struct history *h, uint32_t table, uint32_t key, uint32_t node, uint64_t view,
                  uint64_t now_ns, uint32_t seen) {
    if (h->peek_count == h->peek_room) {
        uint32_t room = EG_MAX(h->peek_room * 2, 256u);

        h->peeks = alloc_resize(alloc_system(), h->peeks, h->peek_room * sizeof *h->peeks,
                                room * sizeof *h->peeks);
        EG_ASSERT(h->peeks != NULL);
        h->peek_room = room;
    }
    h->peeks[h->peek_count++] = (struct op){.kind = OP_READ,
                                            .end = OP_OK,
                                            .table = table,
                                            .key = key,
                                            .node = node,
                                            .before = h->last[table][key],
                                            .begin_ns = now_ns,
                                            .end_ns = now_ns,
                                            .view = view,
                                            .seen = seen};
}

struct op *history_op(struct history *h, uint32_t number) {
    EG_ASSERT(number >= 1);
    EG_ASSERT(number <= h->count);
    return &h->ops[number - 1];
}

void history_clock_back(struct history *h, int64_t wall_ms) {
    for (uint32_t i = 0; i < h->count; i++)
        if (h->ops[i].end == OP_OPEN)
            h->ops[i].least_ms = EG_MIN(h->ops[i].least_ms, wall_ms);
}

enum op_end history_end_of(const struct sim_answer *a) {
    static const char *const nothing_happened[] = {"conflict",   "aborted",  "busy",
                                                   "no_replica", "no_table", "no_majority"};
    if (a->outcome == SIM_DONE)
        return OP_OK;
    if (a->outcome == SIM_UNSENT)
        return OP_FAIL;
    if (a->outcome == SIM_REFUSED)
        for (size_t i = 0; i < EG_COUNTOF(nothing_happened); i++) {
            size_t size = strlen(nothing_happened[i]);

            if (strncmp(a->text, nothing_happened[i], size) == 0 && a->text[size] == ':')
                return OP_FAIL;
        }
    return OP_INFO;
}

/* ---- rules ---------------------------------------------------------------------------- */

static const char *kind_name(enum op_kind kind) {
    return kind == OP_WRITE ? "write" : kind == OP_DELETE ? "delete" : "read";
}

static const char *end_name(enum op_end end) {
    static const char *const names[] = {"open", "ok", "failed", "unknown"};
    return names[end];
}

static void describe(const struct op *op, char *text, size_t size_bytes) {
    snprintf(text, size_bytes, "%s %u of key %u in table %u at node %u (%.3f..%.3f ms, %s%s%s)",
             kind_name(op->kind), op->number, op->key, op->table, op->node,
             (double) op->begin_ns / 1e6, (double) op->end_ns / 1e6, end_name(op->end),
             op->text[0] != '\0' ? " " : "", op->text);
}

static bool wrong(char text[HISTORY_TEXT_BYTES], const char *what, const struct op *op,
                  const struct op *other) {
    char first[160], second[160] = "nothing";

    describe(op, first, sizeof first);
    if (other != NULL)
        describe(other, second, sizeof second);
    snprintf(text, HISTORY_TEXT_BYTES, "%s: %s; there is %s", what, first, second);
    return false;
}

/* The operations on a key, the last to begin first. */
static const struct op *last_on(const struct history *h, uint32_t table, uint32_t key) {
    uint32_t number = h->last[table][key];
    return number == OP_NONE ? NULL : &h->ops[number - 1];
}
static const struct op *before_that(const struct history *h, const struct op *op) {
    return op->before == OP_NONE ? NULL : &h->ops[op->before - 1];
}

static bool concerns(const struct op *op, const struct final *f) {
    return op->table == f->table && op->key == f->key;
}

/* Could one of the deletes have a stamp behind this write's? */
static bool deleted_since(const struct history *h, const struct final *f, const struct op *write) {
    for (const struct op *op = last_on(h, f->table, f->key); op != NULL; op = before_that(h, op)) {
        if (op->kind != OP_DELETE)
            continue;
        if (op->end == OP_INFO || op->end == OP_OPEN ||
            (op->end == OP_OK && op->most_ms >= write->least_ms))
            return true;
    }
    return false;
}

/* Had `old` ended before `young` began, both in this view? */
static bool before(const struct op *old, const struct op *young, uint64_t view) {
    return old->end == OP_OK && old->view == view && young->view == view &&
           old->end_ns < young->begin_ns;
}

/* Is a write's record what this took away?  A delete that found nothing says nothing of what others
 * wrote meanwhile where it could not see. */
static bool removed(const struct op *op, const struct op *write) {
    return op->kind == OP_WRITE || op->seen == write->number ||
           (op->view != 0 && !write->dirty && before(write, op, op->view));
}

static bool check_one(const struct history *h, const struct final *f, const struct op *op,
                      char text[HISTORY_TEXT_BYTES]) {
    const struct op *winner = f->number == OP_NONE ? NULL : &h->ops[f->number - 1];

    if (op->end != OP_OK || op->kind == OP_READ || op == winner)
        return true;
    if (h->forgets && op->kind == OP_WRITE && deleted_since(h, f, op))
        return true;
    if (winner != NULL && winner->begin_ns < op->end_ns && removed(op, winner) &&
        (int64_t) (f->hlc >> 16) < op->least_ms)
        return wrong(text, op->kind == OP_WRITE ? "lost" : "came back", op, winner);
    if (winner == NULL && op->kind == OP_WRITE && !deleted_since(h, f, op))
        return wrong(text, "lost", op, NULL);
    return true;
}

static bool check_final(const struct history *h, const struct final *f, bool checked,
                        char text[HISTORY_TEXT_BYTES]) {
    if (f->number != OP_NONE) {
        const struct op *winner = f->number <= h->count ? &h->ops[f->number - 1] : NULL;

        if (winner == NULL || winner->kind != OP_WRITE || !concerns(winner, f)) {
            snprintf(text, HISTORY_TEXT_BYTES, "nobody wrote %u for key %u in table %u", f->number,
                     f->key, f->table);
            return false;
        }
        if (winner->end == OP_FAIL)
            return wrong(text, "refused and there", winner, winner);
        if (winner->end == OP_OK && !h->renews && (int64_t) (f->hlc >> 16) > winner->most_ms)
            return wrong(text, "made again after it had been answered", winner, winner);
    }
    for (const struct op *op = last_on(h, f->table, f->key); checked && op != NULL;
         op = before_that(h, op))
        if (!check_one(h, f, op, text))
            return false;
    return true;
}

bool history_check_finals(const struct history *h, const struct final *finals, uint32_t count,
                          bool (*checked)(void *user, uint32_t table), void *user,
                          char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t i = 0; i < count; i++)
        if (!check_final(h, &finals[i], checked(user, finals[i].table), text))
            return false;
    return true;
}

/* ---- reads ------------------------------------------------------------------------------ */

static bool same_key(const struct op *a, const struct op *b) {
    return a->table == b->table && a->key == b->key;
}

/* Might the key have been empty at that time? */
static bool was_deleted(const struct history *h, const struct op *read, const struct op *write) {
    for (const struct op *op = last_on(h, read->table, read->key); op != NULL;
         op = before_that(h, op)) {
        if (op->kind == OP_DELETE && op->begin_ns < read->end_ns && op->end != OP_FAIL &&
            (op->end != OP_OK || op->end_ns > write->begin_ns || op->view != read->view ||
             op->dirty))
            return true;
    }
    return false;
}

/* In one view `read` began when `earlier` had ended: it may not show less. */
static bool check_later(const struct history *h, const struct op *read, const struct op *seen,
                        const struct op *earlier, char text[HISTORY_TEXT_BYTES]) {
    const struct op *shown = earlier->seen == OP_NONE ? NULL : &h->ops[earlier->seen - 1];

    if (shown == NULL || shown == seen || shown->view != read->view || shown->dirty)
        return true;
    if (seen != NULL && !seen->dirty && before(seen, shown, read->view))
        return wrong(text, "shown by one read and missed by a later one", shown, read);
    if (seen == NULL && !was_deleted(h, read, shown))
        return wrong(text, "shown by one read and absent in a later one", shown, read);
    return true;
}

static bool check_read(const struct history *h, const struct op *read,
                       char text[HISTORY_TEXT_BYTES]) {
    const struct op *seen = read->seen == OP_NONE ? NULL : &h->ops[read->seen - 1];

    if (seen != NULL && (seen->kind != OP_WRITE || !same_key(seen, read)))
        return wrong(text, "read what nobody wrote", read, seen);
    if (seen != NULL && seen->end == OP_FAIL)
        return wrong(text, "read what was refused", read, seen);
    for (const struct op *op = before_that(h, read); read->view != 0 && op != NULL;
         op = before_that(h, op)) {
        if (op->kind == OP_DELETE || op->dirty || !before(op, read, read->view))
            continue;
        if (op->kind == OP_READ) {
            if (!check_later(h, read, seen, op, text))
                return false;
            continue;
        }
        if (seen != NULL && !seen->dirty && before(seen, op, read->view))
            return wrong(text, "stale: it was acknowledged and not read", op, read);
        if (seen == NULL && !was_deleted(h, read, op))
            return wrong(text, "stale: it was acknowledged and read as absent", op, read);
    }
    for (uint32_t i = 0; read->view != 0 && i < h->peek_count; i++)
        if (same_key(&h->peeks[i], read) && before(&h->peeks[i], read, read->view) &&
            !check_later(h, read, seen, &h->peeks[i], text))
            return false;
    return true;
}

bool history_check_reads(const struct history *h, char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t i = 0; i < h->peek_count; i++)
        if (!check_read(h, &h->peeks[i], text))
            return false;
    for (uint32_t i = 0; i < h->count; i++)
        if (h->ops[i].kind == OP_READ && h->ops[i].end == OP_OK && !check_read(h, &h->ops[i], text))
            return false;
    return true;
}

void history_print(const struct history *h, uint32_t table, uint32_t key) {
    for (uint32_t i = 0; i < h->count; i++) {
        const struct op *op = &h->ops[i];
        char text[200];

        if (op->table != table || op->key != key)
            continue;
        describe(op, text, sizeof text);
        printf("#   %s%s: saw %u; stamp %" PRId64 " to %" PRId64 "\n", op->dirty ? "dirty " : "",
               text, op->seen, op->least_ms, op->most_ms);
    }
}

struct history_counts history_count(const struct history *h) {
    struct history_counts c = {0};

    for (uint32_t i = 0; i < h->count; i++) {
        c.ok += h->ops[i].end == OP_OK;
        c.failed += h->ops[i].end == OP_FAIL;
        c.unknown += h->ops[i].end == OP_INFO || h->ops[i].end == OP_OPEN;
        c.reads += h->ops[i].kind == OP_READ && h->ops[i].end == OP_OK;
    }
    return c;
}
