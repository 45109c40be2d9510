/* test_value_model.c -- random values against the laws they must obey.
 *
 * Goal: compare is a total order; equal, canonical bytes, hash and sortable form
 * all agree with it; the scanner accepts what msgpack-c accepts, and gives the
 * same answer however the bytes arrive.
 * Method: draw three values that often meet (small domains, re-encodings of one
 * another) and check every law on them.  A failure names its seed. */
#include "tables/key.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/gen_value.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <msgpack.h>
#include <string.h>

enum { TRIALS = 60000, SEED = 77 };

static int sign(int n) {
    return (n > 0) - (n < 0);
}

static int sortable_order(struct value a, struct value b) {
    static uint8_t x[3 * GEN_VALUE_BYTES];
    static uint8_t y[3 * GEN_VALUE_BYTES];
    size_t x_bytes = key_sortable(a, x, sizeof x);
    size_t y_bytes = key_sortable(b, y, sizeof y);
    int order;

    cr_assert_leq(x_bytes, sizeof x);
    cr_assert_leq(y_bytes, sizeof y);
    order = memcmp(x, y, EG_MIN(x_bytes, y_bytes));
    cr_assert(order != 0 || x_bytes == y_bytes, "one sortable form is a prefix of another");
    return sign(order);
}

static void check_pair(uint64_t seed, struct value a, struct value b) {
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    char x[300];
    char y[300];
    int order = sign(value_compare(a, b));
    struct key j;
    struct key k;

#define CHECK(what)                                                                                \
    cr_assert(what, "seed %" PRIu64 ": %s | %s", seed, gen_hex(a, x, sizeof x),                    \
              gen_hex(b, y, sizeof y))
    CHECK(sign(value_compare(b, a)) == -order);
    CHECK(value_equal(a, b) == (order == 0));
    CHECK(sortable_order(a, b) == order);
    if (gen_has_nan(a) || gen_has_nan(b))
        return;
    CHECK(key_prepare(&j, a, 42, &memory.base) == EG_OK);
    CHECK(key_prepare(&k, b, 42, &memory.base) == EG_OK);
    bool same_bytes =
        j.canon_bytes == k.canon_bytes && memcmp(j.canon, k.canon, j.canon_bytes) == 0;
    CHECK(same_bytes == (order == 0));
    CHECK((j.hash == k.hash) == (order == 0));
    CHECK(j.hash == key_hash(a, 42));
    CHECK(key_is_canonical(a) == (j.canon == a.at));
    CHECK(key_is_canonical((struct value){j.canon, j.canon_bytes}));
    CHECK(value_compare(a, (struct value){j.canon, j.canon_bytes}) == 0);
    key_release(&j);
    key_release(&k);
    CHECK(memory.live == 0);
#undef CHECK
}

static void check_transitive(uint64_t seed, struct value a, struct value b, struct value c) {
    if (value_compare(a, b) <= 0 && value_compare(b, c) <= 0)
        cr_assert_leq(value_compare(a, c), 0, "seed %" PRIu64, seed);
}

static void trial(uint64_t seed) {
    static uint8_t buffer[3][2 * GEN_VALUE_BYTES];
    struct rng r = rng_of(seed);
    struct value v[3];

    for (int i = 0; i < 3; i++) {
        struct value_writer w = value_writer_init(buffer[i], sizeof buffer[i]);
        if (i > 0 && rng_one_in(&r, 3))
            gen_reencoded(&r, &w, v[i - 1]);
        else
            gen_value(&r, &w, (unsigned) rng_below(&r, GEN_DEPTH + 1));
        cr_assert(!w.overflow);
        v[i] = (struct value){buffer[i], (uint32_t) w.need_bytes};
        if (i > 0 && w.need_bytes == 0)
            cr_assert_fail("nothing generated");
    }
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
            check_pair(seed, v[a], v[b]);
            for (int c = 0; c < 3; c++)
                check_transitive(seed, v[a], v[b], v[c]);
        }
}

Test(value_model, order_equality_canonical_hash_and_sortable_forms_agree, .timeout = 240) {
    uint64_t seed = rng_test_seed(SEED);

    for (uint64_t i = 0; i < (rng_is_replay() ? 1 : TRIALS); i++)
        trial(seed + i);
}

Test(value_model, a_reencoded_value_is_the_same_value, .timeout = 240) {
    static uint8_t a[GEN_VALUE_BYTES];
    static uint8_t b[4 * GEN_VALUE_BYTES];
    uint64_t seed = rng_test_seed(SEED);

    for (uint64_t i = 0; i < (rng_is_replay() ? 1 : TRIALS); i++) {
        struct rng r = rng_of(seed + i);
        struct value v = gen_value_in(&r, a, GEN_DEPTH);
        struct value_writer w = value_writer_init(b, sizeof b);
        gen_reencoded(&r, &w, v);
        cr_assert(value_equal(v, (struct value){b, (uint32_t) w.need_bytes}), "seed %" PRIu64,
                  seed + i);
    }
}

/* One, a few, or many bytes at a time. */
static eg_err scan_in_pieces(struct rng *r, const uint8_t *at, size_t size_bytes, size_t *used) {
    struct value_scanner s;
    size_t there = 0;
    size_t step = 1 + rng_below(r, 1 + rng_below(r, 20));
    eg_err err;

    value_scanner_init(&s, SIZE_MAX);
    while ((err = value_scanner_run(&s, at, there)) == EG_AGAIN && there < size_bytes)
        there = EG_MIN(there + step, size_bytes);
    *used = s.next_bytes;
    return err;
}

/* msgpack-c allocates what a header claims, so it is shown only bytes whose
 * headers claim no more than there is. */
static void check_against_msgpack_c(uint64_t seed, const uint8_t *at, size_t size_bytes) {
    struct value_scanner s;
    msgpack_unpacked unpacked;
    msgpack_unpack_return ret;
    size_t offset = 0;
    eg_err err;

    value_scanner_init(&s, size_bytes);
    err = value_scanner_run(&s, at, size_bytes);
    if (err == EG_TOO_LARGE)
        return;
    msgpack_unpacked_init(&unpacked);
    ret = msgpack_unpack_next(&unpacked, (const char *) at, size_bytes, &offset);
    if (err == EG_OK) {
        cr_assert(ret == MSGPACK_UNPACK_SUCCESS || ret == MSGPACK_UNPACK_EXTRA_BYTES,
                  "seed %" PRIu64, seed);
        cr_assert_eq(offset, s.next_bytes, "seed %" PRIu64, seed);
    } else {
        cr_assert_eq(ret, err == EG_AGAIN ? MSGPACK_UNPACK_CONTINUE : MSGPACK_UNPACK_PARSE_ERROR,
                     "seed %" PRIu64, seed);
    }
    msgpack_unpacked_destroy(&unpacked);
}

/* Bytes damaged in a few places: mostly still values, often cut, often never. */
Test(value_model, the_scanner_agrees_with_msgpack_c_and_with_itself_in_pieces, .timeout = 240) {
    static uint8_t buffer[GEN_VALUE_BYTES];
    uint64_t seed = rng_test_seed(SEED);
    int accepted = 0;
    int refused = 0;

    for (uint64_t i = 0; i < (rng_is_replay() ? 1 : TRIALS); i++) {
        struct rng r = rng_of(seed + i);
        struct value v = gen_value_in(&r, buffer, GEN_DEPTH);
        size_t size_bytes = v.size_bytes - (rng_one_in(&r, 4) ? rng_below(&r, v.size_bytes) : 0);
        size_t used = 0;
        size_t used_in_pieces = 0;

        for (uint64_t damage = rng_below(&r, 3); damage-- > 0;)
            buffer[rng_below(&r, size_bytes)] = (uint8_t) (rng_one_in(&r, 8) ? 0xc1 : rng_u64(&r));
        eg_err err = value_scan(buffer, size_bytes, &used);
        eg_err err_in_pieces = scan_in_pieces(&r, buffer, size_bytes, &used_in_pieces);
        cr_assert_eq(err, err_in_pieces, "seed %" PRIu64, seed + i);
        if (err == EG_OK)
            cr_assert_eq(used, used_in_pieces, "seed %" PRIu64, seed + i);
        accepted += err == EG_OK;
        refused += err == EG_BAD_REQUEST;
        check_against_msgpack_c(seed + i, buffer, size_bytes);
    }
    if (!rng_is_replay()) {
        cr_assert_gt(accepted, TRIALS / 4);
        cr_assert_gt(refused, TRIALS / 100);
    }
}
