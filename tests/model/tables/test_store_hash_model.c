/* test_store_hash_model.c -- the hash store keeps what every store promises. */
#include "tests/store_conformance.h"

STORE_CONFORMANCE(store_hash, (struct conformance){.open = store_hash_open})
