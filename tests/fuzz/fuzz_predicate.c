/* fuzz_predicate.c -- no specification upsets the compiler, no program that the verifier lets
 * pass upsets the machine, and what a program says of a field is so.
 *
 * The input is a specification, a record, and changes to the compiled code: three bytes each,
 * which byte (two) and what it becomes. */
#include "tables/predicate_private.h"
#include "tables/record.h"
#include "tests/support/fail_alloc.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARITY_MAX = 64 };

/* What lies at the path inside `v`, as an index on it would find it; else nil. */
static struct value follow(struct value v, const struct known_field *k) {
    static const uint8_t nil = 0xc0;

    for (uint32_t i = 0; i < k->path_count; i++) {
        struct value_iter it = value_iter_of(v);
        struct value key, found = {&nil, 1};
        bool there = false;
        uint64_t n = 0;

        if (value_kind_of(v) == VALUE_ARRAY && value_get_u64(k->path[i], &n))
            for (uint64_t at = 0; !there && value_iter_next(&it, &found); at++)
                there = at == n;
        else if (value_kind_of(v) == VALUE_MAP)
            while (!there && value_iter_next(&it, &key) && value_iter_next(&it, &found))
                there = value_equal(key, k->path[i]);
        if (!there)
            return (struct value){&nil, 1};
        v = found;
    }
    return v;
}

static void check_known(const struct predicate *p, struct value record) {
    for (uint32_t i = 0; i < p->known_count; i++) {
        const struct known_field *k = &p->known[i];
        bool is_point = !k->domain.few;
        struct value v;

        EG_ASSERT(array_element(record, k->position, &v));
        v = follow(v, k);
        EG_ASSERT(range_holds(&k->domain.range, v));
        for (uint32_t n = 0; k->domain.few && n < k->domain.point_count; n++)
            is_point |= value_equal(k->domain.point[n], v);
        EG_ASSERT(is_point);
    }
}

static bool run(const struct predicate *p, struct value record, struct alloc *a) {
    struct predicate_machine m;
    struct buffer out;
    size_t used_bytes;
    bool matched;
    bool again;
    eg_err err;

    predicate_machine_init(&m, a);
    buffer_init(&out, a, 1 << 22);
    err = predicate_run(&m, p, record, &out, &matched);
    EG_ASSERT(err == EG_OK || err == EG_TOO_LARGE);
    if (err == EG_OK && matched) {
        EG_ASSERT(value_scan(out.at, out.size_bytes, &used_bytes) == EG_OK);
        EG_ASSERT(used_bytes == out.size_bytes);
        if (predicate_yields_record(p))
            EG_ASSERT(value_equal(record, (struct value){out.at, (uint32_t) out.size_bytes}));
    } else {
        EG_ASSERT(out.size_bytes == 0);
    }
    if (err == EG_OK && predicate_run(&m, p, record, NULL, &again) == EG_OK)
        EG_ASSERT(again == matched);
    buffer_fini(&out);
    predicate_machine_fini(&m);
    return err == EG_OK && matched;
}

/* Change the code and run it, where it still passes. */
static void run_changed(struct predicate *p, struct value record, const uint8_t *data, size_t size,
                        struct alloc *a) {
    uint8_t *code = (uint8_t *) p->code;
    size_t code_bytes = p->code_count * sizeof *p->code;

    for (; size >= 3; data += 3, size -= 3)
        code[load_be16(data) % code_bytes] = data[2];
    for (uint32_t i = 0; i < p->code_count; i++) /* a bool is no byte to play with */
        memset(&p->code[i].tests, code[i * sizeof *p->code + offsetof(struct code, tests)] & 1, 1);
    p->yields_record = false;
    p->may_be_deep = true;
    if (predicate_verify(p, a) == EG_OK)
        run(p, record, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    struct predicate *p = NULL;
    struct value record;
    struct err_note note = {""};
    size_t spec_bytes;
    size_t record_bytes;
    eg_err err;

    if (value_scan(data, size, &spec_bytes) != EG_OK ||
        value_scan(data + spec_bytes, size - spec_bytes, &record_bytes) != EG_OK)
        return 0;
    record = (struct value){data + spec_bytes, (uint32_t) record_bytes};
    if (value_kind_of(record) != VALUE_ARRAY || value_count(record) == 0 ||
        value_count(record) > ARITY_MAX)
        return 0;
    err = predicate_open(&p, &memory.base, (struct value){data, (uint32_t) spec_bytes},
                         value_count(record), &note);
    EG_ASSERT(err == EG_OK || err == EG_BAD_REQUEST || err == EG_TOO_LARGE);
    EG_ASSERT((err == EG_OK) == (note.text[0] == '\0'));
    if (err == EG_OK) {
        if (run(p, record, &memory.base))
            check_known(p, record);
        data += spec_bytes + record_bytes;
        size -= spec_bytes + record_bytes;
        if (size > 0)
            run_changed(p, record, data, size, &memory.base);
        predicate_close(p);
    }
    EG_ASSERT(memory.live == 0);
    return 0;
}
