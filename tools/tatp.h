/* tatp.h -- the telecom benchmark: its tables, what fills them, and what is done to them.
 *
 * Said once for bench_tx, which runs it in the program, and for `engram bench tatp`, which runs it
 * over the wire.
 *
 *     subscriber        s_id, sub_nbr (index), bits, hexes, bytes, msc_location, vlr_location
 *     access_info       [s_id, type], ...                one to four a subscriber
 *     special_facility  [s_id, type], is_active, ...     one to four a subscriber
 *     call_forwarding   [s_id, type, start], end, ...    none to three a facility
 *
 * Source     TATP benchmark description, version 1.0: mix, uneven choice of subscribers, numbers of
 *            records.  Keys of several columns are arrays here.
 * Threads    Nothing is kept: from any.
 * Order      The same seed fills and draws the same. */
#ifndef TOOLS_TATP_H
#define TOOLS_TATP_H

#include "engram.h"

enum tatp_table {
    TATP_SUBSCRIBER,
    TATP_ACCESS_INFO,
    TATP_SPECIAL_FACILITY,
    TATP_CALL_FORWARDING,
    TATP_TABLES,
};

enum {
    TATP_ATTRIBUTES_MAX = 7,
    TATP_RECORD_BYTES = 192, /* no record is longer */
    TATP_KEY_BYTES = 48,     /* nor a key           */
    TATP_TYPES = 4,          /* 1 to 4: of access infos and of facilities     */
    TATP_HOURS = 8,          /* between starts of forwardings: 0, 8 and 16    */
    TATP_PLACE_BITS = 2,     /* attributes that are changed, by their place   */
    TATP_PLACE_DATA_A = 3,
    TATP_PLACE_LOCATION = 6,
};

struct tatp_schema {
    const char *name;
    uint32_t attributes;
    const char *attribute[TATP_ATTRIBUTES_MAX];
    const char *index; /* NULL: none */
};

extern const struct tatp_schema tatp_schema[TATP_TABLES];

/* ---- records ------------------------------------------------------------------- */

void tatp_put_number(eg_writer *w, uint64_t subscriber); /* sub_nbr: 15 digits */
void tatp_put_key(eg_writer *w, uint64_t subscriber, uint64_t type);
void tatp_put_forwarding_key(eg_writer *w, uint64_t subscriber, uint64_t type, uint64_t start);
void tatp_put_forwarding(eg_writer *w, uint64_t subscriber, uint64_t type, uint64_t start,
                         uint64_t end);

/* Hand out each record of subscribers 1 to `subscribers`, tables by turns. */
typedef void tatp_record_fn(void *user, enum tatp_table table, const eg_writer *record);
void tatp_fill(uint64_t subscribers, tatp_record_fn *each, void *user);

/* ---- transactions ---------------------------------------------------------------- */

enum tatp_kind {
    TATP_GET_SUBSCRIBER_DATA,
    TATP_GET_NEW_DESTINATION,
    TATP_GET_ACCESS_DATA,
    TATP_UPDATE_SUBSCRIBER_DATA,
    TATP_UPDATE_LOCATION,
    TATP_INSERT_CALL_FORWARDING,
    TATP_DELETE_CALL_FORWARDING,
    TATP_KINDS,
};

extern const char *const tatp_kind_name[TATP_KINDS];

/* What one transaction is about; drawn before it, so that its next try is about the same. */
struct tatp_call {
    enum tatp_kind kind;
    uint64_t subscriber, type, start;
    uint64_t end;   /* of a new forwarding                */
    uint64_t until; /* a destination holds longer than so */
    uint64_t bits, data;
};

void tatp_draw(struct tatp_call *c, uint64_t *random, uint64_t subscribers);

#endif /* TOOLS_TATP_H */
