/* proof.h -- show that one knows a secret without telling it.
 *
 * HMAC-SHA256 (RFC 2104) over what both sides have said.  Who hears a proof learns nothing but
 * a way to test guesses, so a cookie must be too long to be guessed.
 *
 * Threads    Pure functions.
 */
#ifndef REPLICATION_PROOF_H
#define REPLICATION_PROOF_H

#include "engine/base.h"

enum { PROOF_BYTES = 32 };

/* False: OpenSSL's libcrypto is not installed, or has no memory. */
EG_MUST_USE bool proof_make(uint8_t out[PROOF_BYTES], const void *secret, size_t secret_bytes,
                            const void *said, size_t said_bytes);

/* In a time that does not depend on where they differ. */
EG_MUST_USE bool proof_equal(const uint8_t a[PROOF_BYTES], const uint8_t b[PROOF_BYTES]);

#endif /* REPLICATION_PROOF_H */
