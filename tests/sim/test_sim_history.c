/* Goal: the rules about histories accept what may be and reject what may not.
 * Method: histories by hand, each with the one thing that is wrong, and beside it the same
 * without. */
#include "tests/sim/history.h"

#include <stdio.h>

static bool all_tables(void *user, uint32_t table) {
    (void) user;
    (void) table;
    return true;
}
static bool no_table(void *user, uint32_t table) {
    (void) user;
    (void) table;
    return false;
}

static uint32_t add(struct history *h, enum op_kind kind, uint64_t begin_ms, uint64_t end_ms,
                    enum op_end end) {
    struct op *op = history_begin(h, kind, 0, 1);

    op->begin_ns = begin_ms * 1000000;
    op->end_ns = end_ms * 1000000;
    op->least_ms = (int64_t) begin_ms;
    op->most_ms = (int64_t) end_ms;
    op->end = end;
    op->view = 1;
    return op->number;
}

static uint32_t add_read(struct history *h, uint64_t begin_ms, uint64_t end_ms, uint32_t seen) {
    uint32_t number = add(h, OP_READ, begin_ms, end_ms, OP_OK);

    history_op(h, number)->seen = seen;
    return number;
}

static bool ends(const struct history *h, uint32_t number, uint64_t hlc_ms, bool checked) {
    struct final f = {.key = 1, .number = number, .hlc = hlc_ms << 16};
    char text[HISTORY_TEXT_BYTES];

    return history_check_finals(h, &f, 1, checked ? all_tables : no_table, NULL, text);
}

static bool reads(const struct history *h) {
    char text[HISTORY_TEXT_BYTES];

    return history_check_reads(h, text);
}

static bool lost_writes(void) {
    struct history h;
    bool good;

    history_init(&h);
    add(&h, OP_WRITE, 10, 20, OP_OK);   /* 1 */
    add(&h, OP_WRITE, 30, 40, OP_OK);   /* 2 */
    add(&h, OP_WRITE, 35, 60, OP_INFO); /* 3 */
    good = ends(&h, 2, 35, true) && ends(&h, 3, 50, true);
    good &= !ends(&h, 1, 15, true);  /* 2 was acknowledged after 1 */
    good &= ends(&h, 1, 15, false);  /* of a table that may lose   */
    good &= !ends(&h, 0, 0, true);   /* nobody deleted it          */
    good &= !ends(&h, 99, 50, true); /* what nobody wrote          */
    history_fini(&h);
    return good;
}

static bool concurrent_writes(void) {
    struct history h;
    bool good;

    history_init(&h);
    add(&h, OP_WRITE, 10, 40, OP_OK);
    add(&h, OP_WRITE, 20, 50, OP_OK);
    good = ends(&h, 1, 30, true) && ends(&h, 2, 25, true);
    history_fini(&h);
    return good;
}

static bool deletes(void) {
    struct history h;
    bool good;

    history_init(&h);
    add(&h, OP_WRITE, 10, 20, OP_OK);
    add(&h, OP_DELETE, 30, 40, OP_OK);
    good = ends(&h, 0, 0, true);
    good &= !ends(&h, 1, 15, true); /* came back */
    history_op(&h, 2)->view = 2;
    good &= ends(&h, 1, 15, true); /* on the other side of a cut, where it found nothing */
    history_op(&h, 2)->seen = 1;
    good &= !ends(&h, 1, 15, true); /* but it did find it */
    add(&h, OP_WRITE, 50, 60, OP_OK);
    good &= !ends(&h, 0, 0, true); /* the delete was before it */
    good &= ends(&h, 3, 55, true);
    add(&h, OP_DELETE, 55, 70, OP_INFO);
    good &= ends(&h, 0, 0, true) && ends(&h, 3, 55, true);
    history_fini(&h);
    return good;
}

static bool refused(void) {
    struct history h;
    bool good;

    history_init(&h);
    add(&h, OP_WRITE, 10, 20, OP_FAIL);
    good = ends(&h, 0, 0, true);
    good &= !ends(&h, 1, 15, false);
    add_read(&h, 30, 40, 1);
    good &= !reads(&h);
    history_fini(&h);
    return good;
}

static bool clocks(void) {
    struct history h;
    bool good;

    history_init(&h);
    add(&h, OP_WRITE, 10, 20, OP_OK);
    add(&h, OP_WRITE, 30, 40, OP_OPEN);
    history_clock_back(&h, 5); /* its stamp may be 6 */
    history_op(&h, 2)->end = OP_OK;
    good = ends(&h, 1, 15, true);
    history_fini(&h);
    return good;
}

static bool stale(void) {
    struct history h;
    bool good;

    history_init(&h);
    add(&h, OP_WRITE, 10, 20, OP_OK);
    add(&h, OP_WRITE, 30, 40, OP_OK);
    add_read(&h, 35, 50, 1); /* it began before the second ended */
    good = reads(&h);
    add_read(&h, 50, 60, 2);
    good &= reads(&h);
    history_op(&h, add_read(&h, 50, 60, 1))->view = 2; /* another view: nothing is promised */
    good &= reads(&h);
    add_read(&h, 50, 60, 1);
    good &= !reads(&h);
    history_fini(&h);
    return good;
}

static bool absent(void) {
    struct history h;
    bool good;

    history_init(&h);
    add_read(&h, 5, 6, 0);
    add(&h, OP_WRITE, 10, 20, OP_OK);
    add_read(&h, 15, 30, 0);
    good = reads(&h);
    add(&h, OP_DELETE, 40, 50, OP_OK);
    add_read(&h, 45, 46, 0);
    good &= reads(&h);
    add_read(&h, 30, 35, 0); /* before the delete */
    good &= !reads(&h);
    history_fini(&h);
    return good;
}

static bool made_again(void) {
    struct history h;
    bool good;

    history_init(&h);
    add(&h, OP_WRITE, 10, 20, OP_OK);
    add(&h, OP_WRITE, 30, 40, OP_INFO);
    good = ends(&h, 2, 90, true); /* nobody knows when */
    good &= !ends(&h, 1, 50, false);
    history_fini(&h);
    return good;
}

static bool going_back(void) {
    struct history h;
    bool good;

    history_init(&h);
    add(&h, OP_WRITE, 10, 20, OP_OK);
    add(&h, OP_WRITE, 30, 90, OP_OK);
    add_read(&h, 40, 50, 2);
    add_read(&h, 45, 60, 1); /* at the same time */
    good = reads(&h);
    history_op(&h, add_read(&h, 60, 70, 1))->view = 2;
    good &= reads(&h);
    add_read(&h, 60, 70, 1);
    good &= !reads(&h);
    history_fini(&h);
    history_init(&h);
    add(&h, OP_WRITE, 10, 90, OP_OK);
    add_read(&h, 20, 30, 1);
    add_read(&h, 40, 50, 0);
    good &= !reads(&h);
    history_fini(&h);
    return good;
}

/* The same of reads in place. */
static bool peeking_back(void) {
    struct history h;
    bool good;

    history_init(&h);
    add(&h, OP_WRITE, 10, 20, OP_OK);
    add(&h, OP_WRITE, 30, 90, OP_OK);
    add_read(&h, 35, 50, 2);
    history_peek(&h, 0, 1, 2, 1, 45000000, 1); /* at the same time */
    history_peek(&h, 0, 1, 2, 2, 70000000, 1); /* in another view */
    history_peek(&h, 0, 1, 2, 1, 71000000, 2);
    good = reads(&h);
    history_peek(&h, 0, 1, 2, 1, 72000000, 1);
    good &= !reads(&h);
    h.peek_count--;
    good &= reads(&h);
    add_read(&h, 75, 80, 1);
    good &= !reads(&h);
    history_fini(&h);
    return good;
}

/* By client 9, who stays at its node, and has seen write 2 in view 1. */
static bool stays(uint64_t view, uint32_t starts, bool home, bool home_then, uint32_t seen,
                  bool deletes) {
    char text[HISTORY_TEXT_BYTES];
    struct history h;
    struct op *op;
    bool good;

    history_init(&h);
    add(&h, OP_WRITE, 10, 20, OP_OK);
    add(&h, OP_WRITE, 30, 40, OP_OK);
    add(&h, OP_WRITE, 30, 40, OP_OK);
    history_op(&h, 3)->view = 2; /* on another side */
    op = history_op(&h, add_read(&h, 50, 60, 2));
    op->client = 9;
    op->home = op->home_then = home;
    if (deletes)
        history_op(&h, add(&h, OP_DELETE, 55, 65, OP_OK))->view = 2;
    op = history_op(&h, add_read(&h, 70, 80, seen));
    op->client = 9;
    op->starts = starts;
    op->view = view;
    op->home_then = home_then; /* it may have begun between two views */
    good = history_check_sessions(&h, 9, all_tables, NULL, text);
    history_fini(&h);
    return good;
}

static bool staying(void) {
    bool good = stays(1, 0, true, true, 2, false) && stays(2, 0, true, true, 2, false) &&
                stays(2, 0, true, true, 3, false) && stays(2, 0, true, true, 0, true);

    good &=
        !stays(1, 0, true, true, 1, false) && !stays(2, 0, true, true, 1, false); /* it went back */
    good &= !stays(2, 0, true, true, 0, false); /* nobody deleted it */
    good &= stays(2, 1, true, true, 1, false);  /* its node has been started since */
    good &= stays(2, 0, false, true, 1, false); /* another node's copy showed it    */
    good &= stays(2, 0, true, false, 1, false); /* another node's copy answers */
    return good;
}

static bool tap(int number_of, bool holds, const char *what) {
    printf("%s %d - %s\n", holds ? "ok" : "not ok", number_of, what);
    return holds;
}

int main(void) {
    bool good = true;

    printf("1..11\n");
    good &= tap(1, lost_writes(), "an acknowledged write is there or superseded");
    good &= tap(2, concurrent_writes(), "of two at once either wins");
    good &= tap(3, deletes(), "what was deleted does not come back, what was not is not gone");
    good &= tap(4, refused(), "what was refused is nowhere to be seen");
    good &= tap(5, clocks(), "a clock that went back excuses only what was under way");
    good &= tap(6, stale(), "a read in one view sees what was acknowledged before it");
    good &= tap(7, absent(), "nor is a key read as absent before it was deleted");
    good &= tap(8, made_again(), "what was answered is not made once more afterwards");
    good &= tap(9, going_back(), "what one read in a view has shown the next one shows too");
    good &= tap(10, peeking_back(), "nor does who reads in place go back");
    good &= tap(11, staying(), "who stays at a node does not go back through views either");
    return good ? 0 : 1;
}
