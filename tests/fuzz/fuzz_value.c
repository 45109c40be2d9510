/* fuzz_value.c -- no bytes upset the scanner; what it accepts obeys the laws.
 *
 * The input is two values, one behind the other. */
#include "tables/key.h"
#include "tables/pattern.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_pieces(const uint8_t *data, size_t size, eg_err whole, size_t used) {
    struct value_scanner s;
    eg_err err = EG_AGAIN;

    value_scanner_init(&s, UINT32_MAX);
    for (size_t there = 0; there <= size && err == EG_AGAIN; there++)
        err = value_scanner_run(&s, data, there);
    EG_ASSERT(err == whole);
    EG_ASSERT(err != EG_OK || s.next_bytes == used);
}

/* msgpack-c believes headers, and nests 32 levels: show it the rest only. */
static void check_msgpack_c(const uint8_t *data, size_t size) {
    struct value_scanner s;
    msgpack_unpacked unpacked;
    msgpack_unpack_return ret;
    size_t offset = 0;
    eg_err err;

    value_scanner_init(&s, size);
    err = value_scanner_run(&s, data, size);
    if (err == EG_TOO_LARGE || size == 0)
        return;
    msgpack_unpacked_init(&unpacked);
    ret = msgpack_unpack_next(&unpacked, (const char *) data, size, &offset);
    if (ret != MSGPACK_UNPACK_NOMEM_ERROR) {
        bool accepted = ret == MSGPACK_UNPACK_SUCCESS || ret == MSGPACK_UNPACK_EXTRA_BYTES;
        EG_ASSERT(accepted == (err == EG_OK));
        EG_ASSERT(!accepted || offset == s.next_bytes);
    }
    msgpack_unpacked_destroy(&unpacked);
}

static int sign(int n) {
    return (n > 0) - (n < 0);
}

static void check_key(struct value v) {
    struct key k;
    struct value canon;

    if (key_prepare(&k, v, 1, alloc_system()) != EG_OK)
        return;
    canon = (struct value){k.canon, k.canon_bytes};
    EG_ASSERT(value_of(k.canon).size_bytes == k.canon_bytes);
    EG_ASSERT(key_is_canonical(canon));
    EG_ASSERT(value_equal(v, canon));
    EG_ASSERT(key_hash(v, 1) == k.hash);
    EG_ASSERT(key_is_canonical(v) == (k.canon == v.at));
    key_release(&k);
}

static int sortable_order(struct value a, struct value b) {
    size_t a_bytes = key_sortable(a, NULL, 0);
    size_t b_bytes = key_sortable(b, NULL, 0);
    uint8_t *x = malloc(a_bytes);
    uint8_t *y = malloc(b_bytes);
    int order;

    EG_ASSERT(x != NULL && y != NULL);
    EG_ASSERT(key_sortable(a, x, a_bytes) == a_bytes);
    EG_ASSERT(key_sortable(b, y, b_bytes) == b_bytes);
    order = memcmp(x, y, EG_MIN(a_bytes, b_bytes));
    EG_ASSERT(order != 0 || a_bytes == b_bytes);
    free(x);
    free(y);
    return sign(order);
}

static void check_pair(struct value a, struct value b) {
    int order = sign(value_compare(a, b));

    EG_ASSERT(sign(value_compare(b, a)) == -order);
    EG_ASSERT(value_equal(a, b) == (order == 0));
    EG_ASSERT(sortable_order(a, b) == order);
    if (order == 0)
        EG_ASSERT(pattern_matches(a, b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t used = 0;
    size_t second = 0;
    eg_err err = value_scan(data, size, &used);

    check_pieces(data, size, err, used);
    check_msgpack_c(data, size);
    if (err != EG_OK)
        return 0;
    struct value a = {data, (uint32_t) used};
    EG_ASSERT(value_skip(data) == data + used);
    EG_ASSERT(value_compare(a, a) == 0);
    check_key(a);
    if (value_scan(data + used, size - used, &second) == EG_OK)
        check_pair(a, (struct value){data + used, (uint32_t) second});
    return 0;
}
