/* test_store_ordered_model.c -- the ordered store keeps what every store promises. */
#include "tests/store_conformance.h"

STORE_CONFORMANCE(store_ordered, (struct conformance){.open = store_ordered_open, .ordered = true})
STORE_CONFORMANCE(store_bag,
                  (struct conformance){.open = store_ordered_open, .ordered = true, .bag = true})
