/* select_copy.c -- from the scan's records straight into the answer. */
#include "query/select_copy.h"

#include <string.h>

enum {
    BYTES_BETWEEN_LOOKS = 16 * 1024, /* copied, before the clock is looked at */
    LOOK_BYTES = 64,                 /* looking at a record is as much        */
    GROWTH = 3,                      /* room for so much more at a time       */
    GROWTH_BYTES_MIN = 12 << 10,     /* a hundred usual records: one allocation, no copies */
    GROWTH_BYTES_MAX = 64 * 1024,    /* while the answer is small             */
};

/* The usual arrays say in their first byte how many elements they have. */
static inline bool is_array_of(struct value v, uint32_t count) {
    if (EG_LIKELY(v.at[0] == (0x90 | count)))
        return true;
    return value_kind_of(v) == VALUE_ARRAY && value_count(v) == count;
}

static inline bool has_key(const struct select_copy *c, const struct record *rec) {
    const uint8_t *array = record_array(rec);

    if (c->key_elements == 0 ||
        (c->key_elements < 16 && (array[0] & 0xf0) == 0x90 && array[1] == (0x90 | c->key_elements)))
        return true;
    return is_array_of(record_key(rec), c->key_elements);
}

/* Room for `bytes` more, and some of what will come. */
static bool make_room(struct buffer *b, size_t bytes) {
    size_t more = EG_MIN(EG_MAX(GROWTH * b->size_bytes, (size_t) GROWTH_BYTES_MIN),
                         (size_t) GROWTH_BYTES_MAX);

    if (EG_LIKELY(b->room_bytes - b->size_bytes >= bytes))
        return true;
    return buffer_room(b, EG_MAX(bytes, more)) != NULL || buffer_room(b, bytes) != NULL;
}

static eg_err copy_one(struct select_copy *c, const struct record *rec, struct buffer *result) {
    struct value v = record_value(rec);

    if (EG_UNLIKELY(!is_array_of(v, c->arity)))
        return EG_ABORTED;
    if (!has_key(c, rec))
        return EG_OK;
    if (!make_room(result, v.size_bytes))
        return EG_TOO_LARGE;
    memcpy(result->at + result->size_bytes, v.at, v.size_bytes);
    result->size_bytes += v.size_bytes;
    c->count++;
    return EG_OK;
}

eg_err select_copy_range(struct select_copy *c, struct scan *scan, const struct select_pace *pace,
                         struct buffer *result) {
    int64_t left = BYTES_BETWEEN_LOOKS; /* until the clock is looked at */
    const struct record *const *rec;
    uint32_t count;

    while ((count = scan_next_many(scan, &rec)) != 0) {
        for (uint32_t i = 0; i < count; i++) {
            eg_err err = copy_one(c, rec[i], result);
            if (err != EG_OK)
                return err;
            left -= LOOK_BYTES + record_array_bytes(rec[i]);
            if (EG_LIKELY(left > 0))
                continue;
            left = BYTES_BETWEEN_LOOKS;
            if (!pace->is_over(pace->context))
                continue;
            scan_give_back(scan, count - i - 1);
            return EG_AGAIN;
        }
    }
    return EG_OK;
}
