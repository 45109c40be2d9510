/* test_predicate_screen.c -- judging records side by side says what the machine says. */
#include "tables/predicate.h"
#include "tables/record_column.h"
#include "tables/value_integer.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

enum { ARITY = 4, RECORD_ROOM = 128, TRIALS = 4000 };

static const int64_t edges[] = {
    0,         1,  127, 128, 255,  256,  65535,     65536,         UINT32_MAX, INT64_MAX,
    INT64_MIN, -1, -32, -33, -128, -129, INT16_MIN, INT16_MIN - 1, INT32_MIN,  INT32_MIN + 1};

static uint8_t memory[RECORD_BATCH_MAX][RECORD_ROOM];
static const struct record *records[RECORD_BATCH_MAX];

/* ---- integers ---------------------------------------------------------------------- */

static bool integer_in(uint8_t *room, struct value v, int64_t *out) {
    memcpy(room + 8, v.at, v.size_bytes);
    return value_integer_at(room + 8, out);
}

Test(predicate_screen, integers_are_read_as_by_everyone_else) {
    uint8_t bytes[32], room[64];
    struct rng r = rng_of(1);

    for (int first = 0; first < 256; first++)
        for (int again = 0; again < 64; again++) {
            int64_t n = 0, wanted = 0;
            struct value v;
            memset(room, (int) rng_below(&r, 256), sizeof room); /* what stands before is nothing */
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = rng_one_in(&r, 3) ? 0xff : (uint8_t) rng_u64(&r);
            bytes[0] = (uint8_t) first;
            v = (struct value){bytes, first >= 0xca && first <= 0xd3 ? 9 : 1};
            bool number = value_kinds[first] == VALUE_NUMBER && value_is_integer(v);
            bool is = number && value_get_i64(v, &wanted);
            cr_assert_eq(integer_in(room, v, &n), is, "%02x", (unsigned) first);
            cr_assert(!is || n == wanted, "%02x: %" PRId64 ", not %" PRId64, (unsigned) first, n,
                      wanted);
        }
}

/* ---- records ------------------------------------------------------------------------- */

static int64_t some_integer(struct rng *r) {
    return rng_one_in(r, 3) ? edges[rng_below(r, EG_COUNTOF(edges))]
                            : (int64_t) rng_below(r, 8) - 4;
}

static void put_field(struct rng *r, struct value_writer *w, bool plain) {
    switch (plain ? 9 : rng_below(r, 10)) {
    case 0:
        value_put_nil(w);
        break;
    case 1:
        value_put_double(w, (double) rng_below(r, 4));
        break;
    case 2:
        value_put_text(w, rng_one_in(r, 2) ? "abc" : "a string of more than thirty-one bytes");
        break;
    case 3:
        value_put_u64(w, UINT64_MAX - rng_below(r, 3));
        break;
    case 4:
        value_put_array(w, 1);
        value_put_i64(w, 1);
        break;
    default:
        value_put_i64(w, some_integer(r));
    }
}

static void make_record(struct rng *r, uint32_t i, bool plain, uint32_t arity) {
    uint8_t bytes[RECORD_ROOM];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);

    value_put_array(&w, arity);
    for (uint32_t k = 0; k < arity; k++)
        put_field(r, &w, plain);
    if (w.overflow || record_bytes_for((uint32_t) w.need_bytes, false) > RECORD_ROOM) {
        make_record(r, i, true, arity);
        return;
    }
    records[i] = record_init(memory[i], (struct value){bytes, (uint32_t) w.need_bytes},
                             (struct record_version){1, 1}, 0);
}

/* ---- questions ---------------------------------------------------------------------- */

static struct predicate *make_predicate(struct rng *r) {
    static const enum expr_op ops[] = {EXPR_EQ,     EXPR_NE,     EXPR_LT,     EXPR_LE,
                                       EXPR_GT,     EXPR_GE,     EXPR_SQL_EQ, EXPR_SQL_NE,
                                       EXPR_SQL_LT, EXPR_SQL_LE, EXPR_SQL_GT, EXPR_SQL_GE};
    struct expr test[3], field[3], literal[3], *arg[3][2], *tests[3];
    struct expr and = {.op = EXPR_SQL_AND, .arg = tests};
    uint8_t bytes[3][16];
    struct predicate *p;
    uint32_t count = 1 + (uint32_t) rng_below(r, 3);

    for (uint32_t i = 0; i < count; i++) {
        struct value_writer w = value_writer_init(bytes[i], sizeof bytes[i]);
        value_put_i64(&w, some_integer(r));
        field[i] = (struct expr){.op = EXPR_FIELD, .position = (uint16_t) rng_below(r, ARITY)};
        literal[i] =
            (struct expr){.op = EXPR_LITERAL, .literal = {bytes[i], (uint32_t) w.need_bytes}};
        arg[i][0] = &field[i];
        arg[i][1] = &literal[i];
        test[i] =
            (struct expr){.op = ops[rng_below(r, EG_COUNTOF(ops))], .arg = arg[i], .count = 2};
        tests[i] = &test[i];
    }
    and.count = (uint16_t) count;
    cr_assert_eq(predicate_open_exprs(&p, alloc_system(), count == 1 ? &test[0] : &and, NULL, 0,
                                      ARITY, NULL),
                 EG_OK);
    return p;
}

static bool machine_says(const struct predicate *p, const struct record *rec) {
    struct predicate_machine m;
    bool matched = false;

    predicate_machine_init(&m, alloc_system());
    cr_assert_eq(predicate_run(&m, p, record_value(rec), NULL, &matched), EG_OK);
    predicate_machine_fini(&m);
    return matched;
}

Test(predicate_screen, it_leaves_out_only_what_the_machine_does, .timeout = 240) {
    uint64_t seed = rng_test_seed(1);
    struct rng r = rng_of(seed);
    uint32_t sure_times = 0;

    for (int trial = 0; trial < TRIALS; trial++) {
        struct predicate *p = make_predicate(&r);
        const struct record *row[RECORD_BATCH_MAX];
        uint32_t count = 1 + (uint32_t) rng_below(&r, 16), reach = 0, at = 0;
        bool plain = rng_one_in(&r, 2);
        struct record_batch b = {.record = row, .count = count};

        for (uint32_t i = 0; i < count; i++) {
            make_record(&r, i, plain, ARITY);
            row[i] = records[i];
        }
        bool sure = predicate_screen(p, &b, &reach);
        sure_times += sure;
        for (uint32_t i = 0; i < count; i++) {
            bool kept = at < b.count && row[at] == records[i];
            bool meant = machine_says(p, records[i]);
            at += kept;
            cr_assert(kept || !meant, "seed %" PRIu64 " trial %d", seed, trial);
            cr_assert(!sure || kept == meant, "seed %" PRIu64 " trial %d", seed, trial);
        }
        cr_assert_eq(at, b.count, "seed %" PRIu64 ": nothing is added, nothing turned", seed);
        predicate_close(p);
    }
    cr_assert_gt(sure_times, TRIALS / 4);
}

Test(predicate_screen, records_of_another_arity_are_left_to_whoever_knows) {
    struct rng r = rng_of(1);
    struct predicate *p = make_predicate(&r);
    const struct record *row[3];
    uint32_t reach = 0;
    struct record_batch b = {.record = row, .count = 3};

    for (uint32_t i = 0; i < 3; i++)
        make_record(&r, i, true, i == 1 ? ARITY + 1 : ARITY);
    memcpy(row, records, sizeof row);
    cr_assert_not(predicate_screen(p, &b, &reach));
    cr_assert_eq(b.count, 3);
    predicate_close(p);
}

Test(predicate_screen, a_column_is_the_field_of_each) {
    struct rng r = rng_of(1);
    struct record_batch b = {.record = records, .count = 100};
    struct record_column c;

    for (uint32_t i = 0; i < 100; i++)
        make_record(&r, i, false, ARITY);
    cr_assert(record_column_find(&c, &b, ARITY, 1));
    record_column_move(&c, 3);
    for (uint32_t i = 0; i < 100; i++)
        cr_assert_eq(c.at[i], record_field(records[i], 3).at);
    cr_assert_not(record_column_find(&c, &b, ARITY + 1, 0));
}
