/* test_text_column.c -- aggregates of a batch are those of its records one by one. */
#include "query/text_column.h"
#include "query/text_field.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

enum { ARITY = 3, RECORD_ROOM = 96, BATCHES = 8, AGGREGATES = 7 };

static uint8_t memory[RECORD_BATCH_MAX][RECORD_ROOM];

static void put_number(struct rng *r, struct value_writer *w, bool plain) {
    switch (rng_below(r, plain ? 3 : 6)) {
    case 0:
        value_put_i64(w, (int64_t) rng_below(r, 2000) - 1000);
        break;
    case 1:
        value_put_i64(w, rng_one_in(r, 2) ? INT64_MAX : INT64_MIN + (int64_t) rng_below(r, 3));
        break;
    case 2:
        value_put_i64(w, (int64_t) rng_u64(r));
        break;
    case 3:
        value_put_nil(w);
        break;
    case 4:
        value_put_double(w, (double) rng_below(r, 1000) / 4);
        break;
    default:
        value_put_u64(w, UINT64_MAX - rng_below(r, 5));
    }
}

static const struct record *make_record(struct rng *r, uint32_t i, bool plain, uint32_t arity) {
    uint8_t bytes[RECORD_ROOM];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);

    value_put_array(&w, arity);
    value_put_text(&w, rng_one_in(r, 4) ? "another" : "key");
    for (uint32_t k = 1; k < arity; k++)
        put_number(r, &w, plain);
    return record_init(memory[i], (struct value){bytes, (uint32_t) w.need_bytes},
                       (struct record_version){1, 1}, 0);
}

static void add_one(struct text_groups *g, const struct record *rec) {
    const uint8_t *field[ARITY];
    const uint8_t *at = text_field_first(record_value(rec));

    for (uint32_t i = 0; i < ARITY; i++) {
        field[i] = at;
        at = text_field_skip(at);
    }
    cr_assert_eq(text_groups_add_fields(g, field), EG_OK);
}

/* What is answered, or the error. */
static eg_err answer(struct text_groups *g, struct buffer *out) {
    struct err_note note;

    buffer_init(out, alloc_system(), 4096);
    return text_groups_put(g, 0, out, &note);
}

static void trial(uint64_t seed) {
    enum text_aggregate kinds[AGGREGATES] = {TEXT_SUM, TEXT_MIN, TEXT_COUNT, TEXT_AVG,
                                             TEXT_MAX, TEXT_SUM, TEXT_COUNT};
    uint32_t values[AGGREGATES] = {0, 1, 0, 1, 0, 1, UINT32_MAX};
    uint16_t fields[] = {2, 1};
    const struct text_plan plan = {.aggregate_count = AGGREGATES,
                                   .aggregates = kinds,
                                   .aggregate_values = values,
                                   .fields = fields,
                                   .field_end = ARITY,
                                   .direct = true};
    struct text_memory one_memory = {alloc_system(), 0}, many_memory = {alloc_system(), 0};
    struct text_groups one, many;
    struct buffer one_out, many_out;
    struct rng r = rng_of(seed);
    bool taken;

    cr_assert_eq(text_groups_init(&one, &plan, &one_memory), EG_OK);
    cr_assert_eq(text_groups_init(&many, &plan, &many_memory), EG_OK);
    for (int i = 0; i < BATCHES; i++) {
        const struct record *row[RECORD_BATCH_MAX];
        struct record_batch b = {.record = row,
                                 .count = (uint32_t) rng_below(&r, RECORD_BATCH_MAX + 1)};
        uint32_t reach = 0;
        bool plain = rng_one_in(&r, 2);
        for (uint32_t k = 0; k < b.count; k++) {
            row[k] = make_record(&r, k, plain, ARITY);
            add_one(&one, row[k]);
        }
        cr_assert_eq(text_groups_add_batch(&many, &b, ARITY, &reach, &taken), EG_OK);
        cr_assert(taken);
    }
    eg_err err = answer(&one, &one_out);
    cr_assert_eq(answer(&many, &many_out), err, "seed %" PRIu64, seed);
    cr_assert(err != EG_OK || (one_out.size_bytes == many_out.size_bytes &&
                               memcmp(one_out.at, many_out.at, one_out.size_bytes) == 0),
              "seed %" PRIu64, seed);
    buffer_fini(&one_out);
    buffer_fini(&many_out);
    text_groups_fini(&one);
    text_groups_fini(&many);
}

Test(text_column, batches_count_as_records_do, .timeout = 240) {
    uint64_t seed = rng_test_seed(1);

    for (uint64_t i = 0; i < 200; i++)
        trial(seed + i);
}

Test(text_column, a_record_of_another_arity_counts_nothing) {
    enum text_aggregate kind = TEXT_COUNT;
    uint32_t value = UINT32_MAX, reach = 0;
    const struct text_plan plan = {
        .aggregate_count = 1, .aggregates = &kind, .aggregate_values = &value, .direct = true};
    struct text_memory m = {alloc_system(), 0};
    const struct record *row[2];
    struct record_batch b = {.record = row, .count = 2};
    struct text_groups g;
    struct rng r = rng_of(1);
    bool taken = true;

    cr_assert_eq(text_groups_init(&g, &plan, &m), EG_OK);
    row[0] = make_record(&r, 0, true, ARITY);
    row[1] = make_record(&r, 1, true, ARITY - 1);
    cr_assert_eq(text_groups_add_batch(&g, &b, ARITY, &reach, &taken), EG_OK);
    cr_assert_not(taken);
    cr_assert_eq(g.all->tally[0].count, 0);
    text_groups_fini(&g);
}

Test(text_column, many_groups_are_freed_in_pieces) {
    enum text_aggregate kind = TEXT_COUNT;
    uint32_t value = UINT32_MAX, pieces = 1;
    const struct text_plan plan = {
        .group_count = 1, .aggregate_count = 1, .aggregates = &kind, .aggregate_values = &value};
    struct text_memory m = {alloc_system(), 0};
    struct text_groups g;

    cr_assert_eq(text_groups_init(&g, &plan, &m), EG_OK);
    for (uint32_t i = 0; i < 3 * TEXT_GROUPS_PIECE + 1; i++) {
        uint8_t bytes[9];
        struct value_writer w = value_writer_init(bytes, sizeof bytes);
        value_put_u64(&w, i);
        cr_assert_eq(text_groups_add(&g, &(struct value){bytes, (uint32_t) w.need_bytes}), EG_OK);
    }
    for (uint32_t before = g.count; !text_groups_free_some(&g); before = g.count, pieces++)
        cr_assert_leq(before - g.count, (uint32_t) TEXT_GROUPS_PIECE);
    cr_assert_eq(pieces, 4);
    text_groups_fini(&g);
    cr_assert_eq(m.used_bytes, 0);
}
