/* proof_openssl.c -- proofs by OpenSSL's libcrypto; nobody else speaks to it.
 *
 * It is loaded when the first other node is met: its relocations and look-ups make 1.7 MB
 * resident, which a node that stays alone, or a program that only embeds one, need not pay.
 * The name is that of the headers we were compiled with.  Once loaded it stays: to load it
 * again is then a look in the loader's list, cheap beside a handshake. */
#include "replication/proof.h"

#include <dlfcn.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/opensslv.h>
#include <string.h>

#ifdef OPENSSL_SHLIB_VERSION /* 3 and later: a number */
#define TEXT_OF(number)  #number
#define VALUE_OF(number) TEXT_OF(number)
#define LIBRARY_VERSION  VALUE_OF(OPENSSL_SHLIB_VERSION)
#else
#define LIBRARY_VERSION SHLIB_VERSION_NUMBER
#endif

struct library {
    const EVP_MD *(*sha256)(void);
    unsigned char *(*hmac)(const EVP_MD *md, const void *key, int key_bytes,
                           const unsigned char *said, size_t said_bytes, unsigned char *out,
                           unsigned *out_bytes);
};

/* A function's address comes as an object's: C has no cast between them, POSIX says it fits. */
static bool look_up(void *handle, const char *name, void *function) {
    void *at = dlsym(handle, name);

    memcpy(function, &at, sizeof at);
    return at != NULL;
}

static bool library_load(struct library *out) {
    void *handle = dlopen("libcrypto.so." LIBRARY_VERSION, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    bool found;

    if (handle == NULL)
        return false;
    found = look_up(handle, "EVP_sha256", &out->sha256) && look_up(handle, "HMAC", &out->hmac);
    if (dlclose(handle) != 0) /* counts only; RTLD_NODELETE keeps it */
        return false;
    return found;
}

bool proof_make(uint8_t out[PROOF_BYTES], const void *secret, size_t secret_bytes, const void *said,
                size_t said_bytes) {
    struct library library;
    unsigned written = 0;

    EG_ASSERT(secret_bytes <= INT_MAX);
    if (!library_load(&library))
        return false;
    if (library.hmac(library.sha256(), secret_bytes > 0 ? secret : "", (int) secret_bytes, said,
                     said_bytes, out, &written) == NULL)
        return false;
    EG_ASSERT(written == PROOF_BYTES);
    return true;
}

bool proof_equal(const uint8_t a[PROOF_BYTES], const uint8_t b[PROOF_BYTES]) {
    volatile uint8_t differ = 0; /* so that no compiler finds a way to stop early */

    for (unsigned i = 0; i < PROOF_BYTES; i++)
        differ |= a[i] ^ b[i];
    return differ == 0;
}
