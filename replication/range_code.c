/* range_code.c -- a binary range coder with carries, as LZMA's. */
#include "replication/range_code.h"

enum {
    CHANCE_BITS = 12,
    SEEN_BITS = 16 - CHANCE_BITS,
    LEARN_LEAST = 1,
    LEARN_MOST = 5, /* shifts: the first choices say much, later ones less */
    RANGE_LEAST = 1 << 24,
};

static uint32_t chance_of(range_chance c) {
    return c >> SEEN_BITS;
}

/* Never 0, never all: what has always been so may be otherwise once. */
static void learn(range_chance *chance, bool choice) {
    uint32_t seen = *chance & ((1 << SEEN_BITS) - 1), of = chance_of(*chance);
    uint32_t shift = LEARN_LEAST + seen;

    of = choice ? of - (of >> shift) : of + (((1 << CHANCE_BITS) - of) >> shift);
    of = of == 0 ? 1 : of >= 1 << CHANCE_BITS ? (1 << CHANCE_BITS) - 1 : of;
    seen += shift < LEARN_MOST;
    *chance = (range_chance) (of << SEEN_BITS | seen);
}

/* ---- writing --------------------------------------------------------------------------------- */

void range_writer_init(struct range_writer *w) {
    *w = (struct range_writer){.range = UINT32_MAX, .held_count = 1};
}

/* The first byte of `low` is settled, unless a carry can still run through it. */
static void shift_low(struct range_writer *w) {
    uint8_t carry = (uint8_t) (w->low >> 32);

    if (w->low < UINT32_C(0xff000000) || carry != 0) {
        uint8_t byte = w->held;

        for (; w->held_count != 0; w->held_count--) {
            w->at[w->size_bytes++] = (uint8_t) (byte + carry);
            byte = 0xff;
        }
        w->held = (uint8_t) (w->low >> 24);
    }
    w->held_count++;
    w->low = (w->low & 0xffffff) << 8;
}

static void widen(struct range_writer *w) {
    while (w->range < RANGE_LEAST) {
        w->range <<= 8;
        shift_low(w);
    }
}

void range_put(struct range_writer *w, range_chance *chance, bool choice) {
    uint32_t bound = (w->range >> CHANCE_BITS) * chance_of(*chance);

    if (choice) {
        w->low += bound;
        w->range -= bound;
    } else {
        w->range = bound;
    }
    learn(chance, choice);
    widen(w);
}

void range_put_even(struct range_writer *w, uint64_t n, unsigned bits) {
    while (bits-- != 0) {
        w->range >>= 1;
        if (n >> bits & 1)
            w->low += w->range;
        widen(w);
    }
}

void range_put_tree(struct range_writer *w, range_chance *chance, unsigned bits, uint32_t n) {
    for (uint32_t node = 1; bits-- != 0; node = node << 1 | (n >> bits & 1))
        range_put(w, &chance[node], n >> bits & 1);
}

void range_writer_end(struct range_writer *w) {
    for (int i = 0; i < RANGE_END_BYTES; i++)
        shift_low(w);
    for (int i = 0; i < RANGE_END_BYTES && w->at[w->size_bytes - 1] == 0; i++)
        w->size_bytes--; /* who reads supposes zeros */
}

/* ---- reading --------------------------------------------------------------------------------- */

static uint8_t next_byte(struct range_reader *r) {
    size_t at = r->read_bytes++;

    return at < r->size_bytes ? r->at[at] : 0;
}

void range_reader_init(struct range_reader *r, const uint8_t *at, size_t size_bytes) {
    *r = (struct range_reader){.at = at, .size_bytes = size_bytes, .range = UINT32_MAX};
    for (int i = 0; i < RANGE_END_BYTES; i++)
        r->code = r->code << 8 | next_byte(r);
}

static void narrow(struct range_reader *r) {
    while (r->range < RANGE_LEAST) {
        r->range <<= 8;
        r->code = r->code << 8 | next_byte(r);
    }
}

bool range_get(struct range_reader *r, range_chance *chance) {
    uint32_t bound = (r->range >> CHANCE_BITS) * chance_of(*chance);
    bool choice = r->code >= bound;

    if (choice) {
        r->code -= bound;
        r->range -= bound;
    } else {
        r->range = bound;
    }
    learn(chance, choice);
    narrow(r);
    return choice;
}

uint64_t range_get_even(struct range_reader *r, unsigned bits) {
    uint64_t n = 0;

    while (bits-- != 0) {
        bool choice;

        r->range >>= 1;
        choice = r->code >= r->range;
        r->code -= choice ? r->range : 0;
        n = n << 1 | choice;
        narrow(r);
    }
    return n;
}

uint32_t range_get_tree(struct range_reader *r, range_chance *chance, unsigned bits) {
    uint32_t node = 1;

    for (unsigned i = 0; i < bits; i++)
        node = node << 1 | range_get(r, &chance[node]);
    return node - (UINT32_C(1) << bits);
}
