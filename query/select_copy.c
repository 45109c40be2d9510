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

/* How a usual record begins, and its key if that is to be an array. */
struct usual {
    uint8_t array, key;
    bool keyed, known;
};

static struct usual usual_of(const struct select_copy *c) {
    return (struct usual){.array = (uint8_t) (0x90 | c->arity),
                          .key = (uint8_t) (0x90 | c->key_elements),
                          .keyed = c->key_elements != 0,
                          .known = c->arity < 16 && c->key_elements < 16};
}

/* Copy usual records from number `from` on while there is room, until they are `most_bytes`;
 * returns the first that was not copied, or b->count.  All that the
 * loop needs is in registers: what it stores could be anything's bytes to the compiler. */
static uint32_t copy_usual(struct usual usual, const struct record_batch *b, uint32_t from,
                           struct buffer *result, int64_t most_bytes) {
    uint8_t *to = result->at + result->size_bytes;
    size_t room_bytes = result->room_bytes - result->size_bytes;
    const struct record *const *ahead = b->ahead;
    uint32_t i, count = b->count;

    for (i = from; i < count && most_bytes > 0; i++) {
        const struct record *rec = b->record[i];
        const uint8_t *array = record_array(rec);
        uint32_t bytes = record_array_bytes(rec);

        if (bytes > room_bytes || array[0] != usual.array || (usual.keyed && array[1] != usual.key))
            break;
        if (ahead != NULL)
            record_prefetch(ahead[i]);
        memcpy(to, array, bytes);
        to += bytes;
        room_bytes -= bytes;
        most_bytes -= LOOK_BYTES + bytes;
    }
    result->size_bytes = result->room_bytes - room_bytes;
    return i;
}

/* Some of the batch from number *at on, until it is time to look at the clock: *left is 0 or
 * less then. */
static eg_err copy_some(struct select_copy *c, const struct record_batch *b, uint32_t *at,
                        struct buffer *result, int64_t *left) {
    struct usual usual = usual_of(c);
    uint32_t i = *at;
    eg_err err = EG_OK;

    while (*left > 0 && i < b->count && err == EG_OK) {
        size_t before_bytes = result->size_bytes;
        uint32_t from = i;

        if (usual.known && result->at != NULL)
            i = copy_usual(usual, b, from, result, *left);
        c->count += i - from;
        if (i == from) {
            if (b->ahead != NULL)
                record_prefetch(b->ahead[i]);
            err = copy_one(c, b->record[i++], result);
        }
        *left -= (int64_t) (result->size_bytes - before_bytes) + (int64_t) LOOK_BYTES * (i - from);
    }
    *at = i;
    return err;
}

eg_err select_copy_range(struct select_copy *c, struct scan *scan, const struct select_pace *pace,
                         struct buffer *result) {
    int64_t left = BYTES_BETWEEN_LOOKS; /* until the clock is looked at */
    struct record_batch b;

    while ((b = scan_next_many(scan)).count != 0) {
        for (uint32_t at = 0; at < b.count;) {
            eg_err err = copy_some(c, &b, &at, result, &left);
            if (err != EG_OK)
                return err;
            if (EG_LIKELY(left > 0))
                continue;
            left = BYTES_BETWEEN_LOOKS;
            if (!pace->is_over(pace->context))
                continue;
            if (at < b.count)
                scan_give_back(scan, b.count - at);
            return EG_AGAIN;
        }
    }
    return EG_OK;
}
