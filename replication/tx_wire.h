/* tx_wire.h -- what managers of two nodes say to each other.
 *
 *     [5, number, view's epoch, hash, id high, id low]   what do you know of that transaction?
 *     [6, number, view's epoch, hash, id high, id low, status]
 *
 * They share a channel with router_wire.h (0, 1, 4) and far_read.h (2, 3).  `number` is the
 * asker's.
 */
#ifndef REPLICATION_TX_WIRE_H
#define REPLICATION_TX_WIRE_H

#include "replication/tx_machine.h"
#include "replication/view.h"
#include "tables/transact.h"

enum tx_word_kind { TX_WORD_ASK = 5, TX_WORD_SAY = 6 };
enum { TX_WORD_BYTES = 2 + 6 * 9 };

struct tx_word {
    enum tx_word_kind kind;
    uint64_t number;
    struct view_id view;
    struct transact_id id;
    enum tx_status status; /* of SAY */
};

struct value tx_wire_put(uint8_t room[TX_WORD_BYTES], const struct tx_word *w);
/* From outside.  False: it is none. */
EG_MUST_USE bool tx_wire_get(struct value payload, struct tx_word *out);

#endif /* REPLICATION_TX_WIRE_H */
