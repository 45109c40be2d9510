/* run_code.h -- one message whose bytes repeat those before them, in fewer.
 *
 *     [its size; each byte: as the one before, or which]   as a binary, range-coded (range_code.h)
 *
 * A view's reports say a byte for each shard, and most of those are equal: a run takes a byte or
 * two, however long it is, and what is no run about as much as before.  Each message begins anew:
 * it can be read without those before.
 *
 * Bounds     Messages of RUN_BYTES_LEAST to RUN_BYTES_MAX; nothing is allocated.
 * Threads    Any.  Pure.
 */
#ifndef REPLICATION_RUN_CODE_H
#define REPLICATION_RUN_CODE_H

#include "tables/value.h"

enum {
    RUN_BYTES_LEAST = 96, /* shorter ones would not become shorter */
    RUN_BYTES_MAX = 16 << 10,
};

/* The message, in fewer bytes, in `room` of RUN_BYTES_MAX; itself where that saves nothing, or it
 * is too long. */
struct value run_put(struct value message, uint8_t *room);

/* What comes from outside: the message that was put, in `room` of RUN_BYTES_MAX; whatever is no
 * binary is the message itself.  EG_BAD_REQUEST: it is no message. */
EG_MUST_USE eg_err run_get(struct value coded, uint8_t *room, struct value *message);

#endif /* REPLICATION_RUN_CODE_H */
