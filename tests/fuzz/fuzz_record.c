/* fuzz_record.c -- rows from a damaged disc are records or are refused.
 *
 * The first byte is the table's arity, the rest a row's value. */
#include "tables/disc_record.h"
#include "tables/key.h"
#include "tables/pattern.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(const struct record *rec, const struct disc_record *row, uint32_t arity) {
    struct value field;
    struct key k;
    uint32_t fields = 0;

    EG_ASSERT(record_expiry_ms(rec) == row->expiry_ms);
    EG_ASSERT(value_equal(record_value(rec), row->array));
    while (array_element(record_value(rec), fields, &field))
        fields++;
    EG_ASSERT(arity == 0 || fields == arity);
    EG_ASSERT(pattern_matches(record_value(rec), row->array));
    if (key_prepare(&k, record_key(rec), 7, alloc_system()) == EG_OK) {
        bool canonical = (record_flags(rec) & RECORD_CANONICAL) != 0;
        EG_ASSERT(canonical == (k.canon == record_key(rec).at));
        key_release(&k);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct disc_record row;
    size_t bytes;
    void *memory;

    if (size == 0 ||
        disc_record_read(&row, (struct disc_bytes){data + 1, size - 1}, data[0]) != EG_OK)
        return 0;
    bytes = record_bytes_for(row.array.size_bytes, row.expiry_ms != 0);
    memory = malloc(bytes);
    EG_ASSERT(memory != NULL);
    check_record(record_init(memory, row.array, row.version, row.expiry_ms), &row, data[0]);
    free(memory);
    return 0;
}
