/* packet_private.h -- what writer and reader of a packet both know at each point of it.
 *
 *     message of one kind --> place of each of its values --> chances of its shape, number, word
 *
 * Both keep the same model and change it by the same numbers, in the same order.
 *
 * Private to packet_*.c.
 */
#ifndef REPLICATION_PACKET_PRIVATE_H
#define REPLICATION_PACKET_PRIVATE_H

#include "replication/packet.h"

enum {
    PACKET_FIELDS = 3,
    PACKET_KINDS = 32,
    PACKET_KNOWN_BITS = 4,
    PACKET_KNOWN = 1 << PACKET_KNOWN_BITS,
    PACKET_LENGTH_BITS = 6,
    PACKET_STAMP_BITS = 16,   /* of a stamp, below its milliseconds */
    PACKET_DEEPEST = 3,       /* arrays there are copied */
    PACKET_WIDE_ARRAY = 0xdd, /* its first byte: the count takes four more */
    /* Where a value stands in its message: itself; its elements; theirs; and theirs, for pairs (of
     * a clock) apart for the first three. */
    PACKET_PLACE_FIRST = 1,
    PACKET_PLACE_SECOND = PACKET_PLACE_FIRST + 16,
    PACKET_PLACE_THIRD = PACKET_PLACE_SECOND + 3,
    PACKET_PLACES = PACKET_PLACE_THIRD + 4 * 8,
};

#define PACKET_KNOWN_LEAST UINT64_C(32) /* shorter ones are told as quickly */
#define PACKET_LONG_LEAST  (UINT64_C(1) << 24)

enum packet_shape { SHAPE_NUMBER, SHAPE_ARRAY, SHAPE_WORD, SHAPE_RAW };

/* What is known of the numbers in one place. */
struct packet_number {
    uint64_t last;
    range_chance differs, known, is_long, less, stamped;
    range_chance which[PACKET_KNOWN], length[1 << PACKET_LENGTH_BITS];
};

struct packet_place {
    struct packet_number number;
    range_chance shape[4], word[4];
};

/* Of one kind of message. */
struct packet_places {
    struct packet_place at[PACKET_PLACES];
    struct packet_number count[PACKET_PLACE_THIRD];
    range_chance wide[PACKET_PLACE_THIRD];
};

struct packet_model {
    struct packet_places *of[PACKET_KINDS];
    struct packet_number kind;
    range_chance more;
    uint64_t known[2][PACKET_KNOWN]; /* short ones, long ones: the last one first */
};

/* NULL: no memory. */
struct packet_model *packet_model_open(struct alloc *a);
void packet_model_close(struct alloc *a, struct packet_model *m); /* NULL: nothing */
/* Those of a kind below PACKET_KINDS; NULL: no memory. */
struct packet_places *packet_places(struct alloc *a, struct packet_model *m, uint32_t kind);
/* The number has stood there. */
void packet_remember(struct packet_model *m, struct packet_number *at, uint64_t n);

static inline uint64_t *packet_known_like(struct packet_model *m, uint64_t n) {
    return m->known[n >= PACKET_LONG_LEAST];
}

/* Which of the known it is; PACKET_KNOWN: none. */
static inline uint32_t packet_find_known(const uint64_t *known, uint64_t n) {
    uint32_t i = 0;

    while (i < PACKET_KNOWN && known[i] != n)
        i++;
    return i;
}

/* An array that is being walked. */
struct packet_level {
    int depth;
    uint32_t index, count; /* of its elements; and where it is itself */
};

/* The place of an element of `in`. */
static inline uint32_t packet_place_in(const struct packet_level *in, uint32_t index) {
    if (in->depth == 0)
        return PACKET_PLACE_FIRST + EG_MIN(index, 15u);
    if (in->depth == 1)
        return PACKET_PLACE_SECOND + index % 3;
    return PACKET_PLACE_THIRD + (in->count == 2 ? 8 * (1 + EG_MIN(in->index, 2u)) : 0) +
           EG_MIN(index, 7u);
}

#endif /* REPLICATION_PACKET_PRIVATE_H */
