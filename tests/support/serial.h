/* serial.h -- is there an order of these transactions, one at a time, that explains every list?
 *
 * Each key holds a list.  A transaction reads lists and appends elements to them, each element a
 * number that nobody else appends.  So whoever reads a list reads who wrote before, and in which
 * order; of all that was read the order of the transactions follows:
 *
 *     ww   who appended what comes next        to one key: A's element, then B's
 *     wr   who read what another appended last
 *     rw   who read before another appended
 *     rt   who began when another had ended
 *
 * These are edges; a cycle of them is an anomaly, and has the name of the weakest promise that it
 * breaks.  Besides, lists by themselves must not contradict each other.
 *
 *     aborted read (G1a)       an element of what was refused
 *     intermediate read (G1b)  one that its transaction had appended to before it ended
 *     torn                     another's element between two of one transaction
 *     garbage, duplicate, future read, internal       what nobody appended; twice; later; not as
 *                                                     the transaction itself had left it
 *     incompatible order       two lists of which neither is the beginning of the other
 *     lost update              two that read the same list, and both appended to it
 *     G0, G1c, G-single, G2-item, long fork           cycles (serial_graph.h)
 *     ... in real time         cycles with an rt in them
 *
 * Epochs     What is promised holds among transactions of one component (a view): each epoch is
 *            looked at by itself.  Of epoch 0 nothing is promised but that nobody reads what was
 *            refused.  A transaction of another epoch may write a list anew, as it was when that
 *            one had it: where lists differ at an element of such a one, the key says nothing.
 *
 * Ownership  The history keeps all that it is told.
 * Threads    One.
 *
 * Source     Kingsbury and Alvaro 2020 (Elle), list-append; Adya 1999 (the names).
 */
#ifndef TESTS_SUPPORT_SERIAL_H
#define TESTS_SUPPORT_SERIAL_H

#include "engine/base.h"

enum { SERIAL_TEXT_BYTES = 400, SERIAL_ELEMENTS_MAX = 1 << 22 };

enum serial_end {
    SERIAL_MAYBE, /* nobody said: it is done if anybody has read of it */
    SERIAL_DONE,
    SERIAL_UNDONE,
};

struct serial_op {
    uint32_t next; /* of the same transaction; 0: none */
    uint32_t key;
    uint32_t element;   /* that is appended; 0: it is a read, */
    uint32_t at, count; /* of these elements                  */
};

struct serial_tx {
    uint64_t epoch, begin, over;
    enum serial_end end;
    uint32_t first, last; /* of its operations */
    bool counts;          /* in the epoch that is being looked at */
};

struct serial {
    struct serial_tx *tx; /* from 1 on, as the others */
    struct serial_op *op;
    uint32_t *element;
    uint32_t tx_count, tx_room, op_count, op_room, element_count, element_room;
};

void serial_init(struct serial *h);
void serial_fini(struct serial *h);

/* The number of one that begins. */
uint32_t serial_begin(struct serial *h, uint64_t now);
/* In order.  Elements are 1 .. SERIAL_ELEMENTS_MAX - 1; a list is as the transaction sees it, its
 * own elements too. */
void serial_append(struct serial *h, uint32_t tx, uint32_t key, uint32_t element);
void serial_read(struct serial *h, uint32_t tx, uint32_t key, const uint32_t *list, uint32_t count);
/* Not called: SERIAL_MAYBE, of epoch 0. */
void serial_end(struct serial *h, uint32_t tx, enum serial_end end, uint64_t epoch, uint64_t now);

/* False: `text` begins with the anomaly's name. */
bool serial_check(struct serial *h, char text[SERIAL_TEXT_BYTES]);

#endif /* TESTS_SUPPORT_SERIAL_H */
