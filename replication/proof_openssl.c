/* proof_openssl.c -- proofs by OpenSSL's libcrypto; nobody else speaks to it. */
#include "replication/proof.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

bool proof_make(uint8_t out[PROOF_BYTES], const void *secret, size_t secret_bytes, const void *said,
                size_t said_bytes) {
    unsigned written = 0;

    EG_ASSERT(secret_bytes <= INT_MAX);
    if (HMAC(EVP_sha256(), secret_bytes > 0 ? secret : "", (int) secret_bytes, said, said_bytes,
             out, &written) == NULL)
        return false;
    EG_ASSERT(written == PROOF_BYTES);
    return true;
}

bool proof_equal(const uint8_t a[PROOF_BYTES], const uint8_t b[PROOF_BYTES]) {
    return CRYPTO_memcmp(a, b, PROOF_BYTES) == 0;
}
