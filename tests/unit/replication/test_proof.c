/* Proofs are HMAC-SHA256 as RFC 4231 has it, and compared whole. */
#include "replication/proof.h"

#include <criterion/criterion.h>
#include <string.h>

static void make(uint8_t out[PROOF_BYTES], const char *secret, const char *said) {
    cr_assert(proof_make(out, secret, strlen(secret), said, strlen(said)));
}

Test(proof, is_that_of_the_standard) {
    static const uint8_t expected[PROOF_BYTES] = {
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
        0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
        0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
    };
    uint8_t proof[PROOF_BYTES];

    make(proof, "Jefe", "what do ya want for nothing?"); /* test case 2 */
    cr_assert_arr_eq(proof, expected, PROOF_BYTES);
    make(proof, "Jefe", "what do ya want for nothing?"); /* the library is there already */
    cr_assert_arr_eq(proof, expected, PROOF_BYTES);
}

Test(proof, needs_no_secret) {
    uint8_t proof[PROOF_BYTES], other[PROOF_BYTES];

    make(proof, "", "hello");
    make(other, "x", "hello");
    cr_assert_not(proof_equal(proof, other));
}

Test(proof, differs_where_any_byte_does) {
    uint8_t proof[PROOF_BYTES], other[PROOF_BYTES];

    make(proof, "secret", "hello");
    for (unsigned i = 0; i < PROOF_BYTES; i++) {
        memcpy(other, proof, sizeof other);
        cr_assert(proof_equal(proof, other));
        other[i] ^= 1;
        cr_assert_not(proof_equal(proof, other));
    }
}
