/* Goal: the checker of transactions accepts what transactions one after the other could have read,
 * and nothing else, and calls what it finds by its name.
 * Method: histories by hand, one for each anomaly and clean ones beside them; random ones of a real
 * store, good as they are, and found out where its transactions read what is past. */
#include "tests/support/rng.h"
#include "tests/support/serial.h"
#include "tests/support/serial_text.h"

#include <criterion/criterion.h>
#include <string.h>

static char text[SERIAL_TEXT_BYTES];

static const char *judge(const char *const *line, size_t count) {
    struct serial h;

    serial_init(&h);
    for (size_t i = 0; i < count; i++)
        cr_assert(serial_add_line(&h, line[i]), "%s", line[i]);
    cr_assert(serial_check(&h, text) == (text[0] == '\0'));
    serial_fini(&h);
    return text;
}

#define GOOD(...)                                                                                  \
    do {                                                                                           \
        const char *const lines_[] = {__VA_ARGS__};                                                \
        cr_assert_str_eq(judge(lines_, EG_COUNTOF(lines_)), "");                                   \
    } while (0)
#define BAD(name, ...)                                                                             \
    do {                                                                                           \
        const char *const lines_[] = {__VA_ARGS__};                                                \
        judge(lines_, EG_COUNTOF(lines_));                                                         \
        cr_assert(strncmp(text, name ":", strlen(name) + 1) == 0, "%s", text);                     \
    } while (0)

Test(serial, one_after_the_other) {
    GOOD("1 done 1 2 r 1 [] a 1 1", "1 done 3 4 r 1 [1] a 1 2 r 1 [1 2]", "1 done 5 6 r 1 [1 2]");
    GOOD("1 done 1 2 a 1 1 a 1 2 a 2 3", "1 done 3 4 r 2 [3] r 1 [1 2]");
    GOOD("1 done 1 2 a 1 1", "1 done 3 4 a 1 2"); /* nobody looked */
}

Test(serial, at_the_same_time_either_may_be_first) {
    GOOD("1 done 1 9 a 1 1", "1 done 1 9 a 1 2", "1 done 10 11 r 1 [2 1]");
    GOOD("1 done 1 9 a 1 1", "1 done 2 3 r 1 []", "1 done 4 5 r 1 [1]");
    GOOD("1 done 1 9 r 1 [] a 2 1", "1 done 1 9 r 2 [1] a 1 2", "1 done 10 11 r 1 [2] r 2 [1]");
}

Test(serial, what_nobody_answered_is_done_or_not) {
    GOOD("1 maybe 1 2 a 1 1", "1 done 3 4 r 1 []", "1 done 5 6 r 1 [1]", "1 done 7 8 r 1 [1]");
    GOOD("1 maybe 1 2 r 2 [] a 1 1", "1 done 3 4 a 2 2", "1 done 5 6 r 2 [2] r 1 []");
    BAD("G-single in real time", "1 maybe 1 2 a 1 1", "1 done 3 4 r 1 [1]", "1 done 5 6 r 1 []");
    BAD("G-single", "1 maybe 1 2 a 1 1 a 2 2", "1 done 3 4 r 1 [1] r 2 []");
}

Test(serial, g1a_what_was_refused_is_read) {
    BAD("aborted read (G1a)", "1 undone 1 2 a 1 1", "1 done 3 4 r 1 [1]");
    BAD("aborted read (G1a)", "1 undone 1 2 a 1 1", "2 undone 3 4 r 1 [1]"); /* whoever reads it */
    GOOD("1 undone 1 2 a 1 1 r 1 [1]", "1 done 3 4 r 1 []");
}

Test(serial, g1b_what_was_not_the_end_of_it_is_read) {
    BAD("intermediate read (G1b)", "1 done 1 9 a 1 1 a 1 2", "1 done 2 3 r 1 [1]");
    BAD("torn", "1 done 1 9 a 1 1 a 1 2", "1 done 1 9 a 1 3", "1 done 10 11 r 1 [1 3 2]");
}

Test(serial, lists_that_are_none) {
    BAD("garbage", "1 done 1 2 r 1 [7]");
    BAD("garbage", "1 done 1 2 a 1 7", "1 done 3 4 r 2 [7]");
    BAD("duplicate", "1 done 1 2 a 1 1", "1 done 3 4 r 1 [1 1]");
    BAD("duplicate", "1 done 1 2 a 1 1", "1 done 3 4 a 1 1");
    BAD("future read", "1 done 1 2 r 1 [1]", "1 done 3 4 a 1 1");
    BAD("incompatible order", "1 done 1 9 a 1 1", "1 done 1 9 a 1 2", "1 done 1 9 r 1 [1 2]",
        "1 done 1 9 r 1 [2]");
}

Test(serial, internal_its_own_writes_are_not_as_it_left_them) {
    BAD("internal", "1 done 1 2 a 1 1 r 1 []");
    BAD("internal", "1 done 1 9 a 1 1", "1 done 1 9 r 1 [] r 1 [1]");
    BAD("internal", "1 done 1 9 a 1 1", "1 done 1 9 a 1 2 r 1 [2 1]");
    GOOD("1 done 1 9 a 1 1", "1 done 1 9 a 1 2 r 1 [1 2] a 1 3 r 1 [1 2 3]");
}

Test(serial, g0_writes_in_two_orders) {
    BAD("G0", "1 done 1 9 a 1 1 a 2 2", "1 done 1 9 a 1 3 a 2 4",
        "1 done 10 11 r 1 [1 3] r 2 [4 2]");
}

Test(serial, g1c_each_reads_what_the_other_wrote) {
    BAD("G1c", "1 done 1 9 a 1 1 r 2 [2]", "1 done 1 9 a 2 2 r 1 [1]");
}

Test(serial, g_single_read_skew) {
    BAD("G-single", "1 done 1 9 a 1 1 a 2 2", "1 done 1 9 r 1 [] r 2 [2]");
    GOOD("1 done 1 9 a 1 1 a 2 2", "1 done 1 9 r 1 [1] r 2 [2]", "1 done 1 9 r 1 [] r 2 []");
}

Test(serial, g2_write_skew) {
    BAD("G2-item", "1 done 1 9 r 1 [] a 2 1", "1 done 1 9 r 2 [] a 1 2",
        "1 done 10 11 r 1 [2] r 2 [1]");
    BAD("G2-item", "1 done 1 9 r 1 [] a 2 1", "1 done 1 9 r 2 [] a 1 2"); /* seen or not */
}

Test(serial, long_fork_two_see_two_writes_in_two_orders) {
    BAD("long fork", "1 done 1 9 a 1 1", "1 done 1 9 a 2 2", "1 done 1 9 r 1 [1] r 2 []",
        "1 done 1 9 r 1 [] r 2 [2]");
}

Test(serial, lost_update_two_found_the_same) {
    BAD("lost update", "1 done 1 9 r 1 [] a 1 1", "1 done 1 9 r 1 [] a 1 2",
        "1 done 10 11 r 1 [2]");
}

Test(serial, in_real_time_what_is_over_is_before_what_begins) {
    BAD("G-single in real time", "1 done 1 2 a 1 1", "1 done 3 4 r 1 []", "1 done 5 6 r 1 [1]");
    BAD("G-single in real time", "1 done 1 2 a 1 1", "1 done 3 4 r 1 []"); /* it is lost */
    BAD("G0 in real time", "1 done 1 2 a 1 1", "1 done 3 4 a 1 2", "1 done 5 6 r 1 [2 1]");
    /* Through others that are over. */
    BAD("G-single in real time", "1 done 1 2 a 1 1", "1 done 3 4 a 2 2", "1 done 5 6 a 3 3",
        "1 done 7 8 r 1 []");
    BAD("G2-item in real time", "1 done 1 30 r 1 [] a 2 1", "1 done 2 3 a 1 2",
        "1 done 10 19 r 2 []");
}

Test(serial, epochs_have_nothing_to_do_with_each_other) {
    GOOD("1 done 1 2 a 1 1", "2 done 3 4 r 1 []");
    GOOD("1 done 1 9 a 1 1 a 2 2", "2 done 1 9 r 1 [1] r 2 []", "0 done 1 9 r 1 [] r 2 [2]");
    /* What came before is there, in whatever order; what follows has one. */
    GOOD("1 done 1 2 a 1 1", "1 done 3 4 a 1 2", "2 done 5 6 r 1 [2 1] a 1 3",
         "2 done 7 8 r 1 [2 1 3]");
    BAD("G0", "1 done 1 2 a 1 1", "2 done 3 9 a 1 2 a 2 3", "2 done 3 9 a 1 4 a 2 5",
        "2 done 10 11 r 1 [1 2 4] r 2 [5 3]");
}

Test(serial, what_another_epoch_wrote_anew_says_nothing_of_its_key) {
    GOOD("0 done 1 2 a 1 1", "2 done 3 4 a 1 2", "2 done 5 6 r 1 [2]", "2 done 7 8 r 1 [1]");
    GOOD("0 done 1 2 a 1 1", "2 done 3 4 r 1 [1] a 1 2", "2 done 5 6 r 1 [1 2]",
         "2 done 7 8 r 1 [1]");
    GOOD("0 done 1 2 a 1 1", "2 done 3 4 r 1 [1] a 1 2", "2 done 5 6 r 1 [1] a 1 3",
         "2 done 7 8 r 1 [1 3]");
    BAD("G-single", "0 done 1 2 a 1 1", "2 done 3 4 r 1 [1] a 1 2", "2 done 5 6 r 1 [1] a 1 3",
        "2 done 1 9 a 2 4 a 3 5", "2 done 1 9 r 2 [4] r 3 []"); /* of others it does */
}

/* ---- a store ------------------------------------------------------------------------------- */

enum { KEYS = 5, LIST = 4000, TXS = 3000, LATE = 6 };

struct list {
    uint32_t count, at[LIST];
};

/* Transactions at one moment each, between their begin and their end.  Where `stale`, now and then
 * one reads, of one key, what was there some transactions ago. */
static bool random_is_good(uint64_t seed, bool stale) {
    static struct list lists[KEYS];
    static uint32_t past[LATE][KEYS];
    struct rng r = rng_of(seed);
    uint32_t element = 0;
    struct serial h;
    bool good;

    memset(lists, 0, sizeof lists);
    memset(past, 0, sizeof past);
    serial_init(&h);
    for (uint32_t n = 0; n < TXS; n++) {
        uint64_t at = 100 + 10 * (uint64_t) n, dice = rng_below(&r, 10);
        uint32_t tx = serial_begin(&h, at - rng_below(&r, 60)),
                 ops = 1 + (uint32_t) rng_below(&r, 4);
        uint32_t before[KEYS], appended = 0;
        enum serial_end end = dice == 0 ? SERIAL_UNDONE : dice == 1 ? SERIAL_MAYBE : SERIAL_DONE;
        bool happens = end == SERIAL_DONE || (end == SERIAL_MAYBE && rng_one_in(&r, 2));

        for (uint32_t k = 0; k < KEYS; k++)
            before[k] = lists[k].count;
        for (uint32_t i = 0; i < ops; i++) {
            uint32_t k = (uint32_t) rng_below(&r, KEYS), count = lists[k].count;

            if (rng_one_in(&r, 2)) {
                lists[k].at[lists[k].count++] = ++element;
                serial_append(&h, tx, k, element);
                appended |= 1u << k;
                continue;
            }
            if (stale && rng_one_in(&r, 50) && (appended >> k & 1) == 0)
                count = past[n % LATE][k];
            serial_read(&h, tx, k, lists[k].at, count);
        }
        for (uint32_t k = 0; k < KEYS && !happens; k++)
            lists[k].count = before[k];
        for (uint32_t k = 0; k < KEYS; k++)
            past[n % LATE][k] = lists[k].count;
        serial_end(&h, tx, end, 1, at + rng_below(&r, 60));
    }
    good = serial_check(&h, text);
    serial_fini(&h);
    return good;
}

Test(serial, histories_of_a_store_are_good_and_stale_reads_are_found) {
    uint64_t seed = rng_test_seed(1);

    for (uint64_t i = 0; i < 5; i++)
        cr_assert(random_is_good(seed + i, false), "seed %llu: %s", (unsigned long long) (seed + i),
                  text);
    for (uint64_t i = 0; i < 5; i++)
        cr_assert(!random_is_good(seed + i, true), "seed %llu", (unsigned long long) (seed + i));
}

Test(serial, lines_that_are_none) {
    static const char *const lines[] = {"",
                                        "1",
                                        "1 done",
                                        "1 done 1",
                                        "1 sure 1 2",
                                        "x done 1 2",
                                        "1 done 1 2 q 1",
                                        "1 done 1 2 r 1",
                                        "1 done 1 2 r 1 [1",
                                        "1 done 1 2 r 1 [x]",
                                        "1 done 1 2 a 1",
                                        "1 done 1 2 a 1 0",
                                        "1 done 1 2 a 1 99999999",
                                        "1 done 1 2 r 1 [1] a"};
    struct serial h;

    serial_init(&h);
    for (size_t i = 0; i < EG_COUNTOF(lines); i++)
        cr_assert(!serial_add_line(&h, lines[i]), "%s", lines[i]);
    serial_fini(&h);
}
