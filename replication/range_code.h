/* range_code.h -- choices of two, as few bits as they are surprising.
 *
 *     chance of a zero ---.
 *     range  |0000000000000|111111|      what is chosen becomes the range; its first bytes that
 *                                        cannot change any more are put out
 *
 * A chance learns from each choice.  Who reads makes the same choices from the same chances, so
 * nothing about them is sent.  Past the end zeros are read: range_reader_over() says so.
 *
 * Memory     RANGE_CHOICE_BITS_MAX for a choice, at most; RANGE_END_BYTES at the end.
 */
#ifndef REPLICATION_RANGE_CODE_H
#define REPLICATION_RANGE_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RANGE_CHOICE_BITS_MAX = 12,
    RANGE_END_BYTES = 5,
    RANGE_EVEN = 0x8000, /* where a chance begins */
};

typedef uint16_t range_chance; /* of a zero, of 4096; and, in 4 bits, how much it has learned */

struct range_writer {
    uint64_t low;
    uint32_t range;
    uint8_t held;        /* the last byte that may still change */
    uint64_t held_count; /* and those of 0xff behind it         */
    uint8_t *at;         /* has room for what comes             */
    size_t size_bytes;
};

void range_writer_init(struct range_writer *w);
void range_put(struct range_writer *w, range_chance *chance, bool choice);
void range_put_even(struct range_writer *w, uint64_t n, unsigned bits);
/* `chance`: 1 << bits of them. */
void range_put_tree(struct range_writer *w, range_chance *chance, unsigned bits, uint32_t n);
void range_writer_end(struct range_writer *w);

struct range_reader {
    const uint8_t *at;
    size_t size_bytes, read_bytes;
    uint32_t range, code;
};

void range_reader_init(struct range_reader *r, const uint8_t *at, size_t size_bytes);
bool range_get(struct range_reader *r, range_chance *chance);
uint64_t range_get_even(struct range_reader *r, unsigned bits);
uint32_t range_get_tree(struct range_reader *r, range_chance *chance, unsigned bits);
/* More was read than there is, or can have been put there. */
static inline bool range_reader_over(const struct range_reader *r) {
    return r->read_bytes > r->size_bytes + RANGE_END_BYTES;
}

#endif /* REPLICATION_RANGE_CODE_H */
