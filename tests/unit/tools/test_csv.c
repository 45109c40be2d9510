/* test_csv.c -- RFC 4180 rows, and what is none. */
#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"
#include "tools/csv.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

static struct fail_alloc memory;

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
}

static void teardown(void) {
    cr_assert_eq(memory.live, 0);
}

TestSuite(csv, .init = setup, .fini = teardown, .timeout = 240);

/* All rows in one line: fields as <field>, rows behind |, bad rows as !line. */
static const char *read_all(const char *text, size_t size_bytes) {
    static char out[4096];
    struct csv_reader r;
    const struct csv_field *fields;
    uint32_t count;
    size_t used = 0;
    eg_err err;

    csv_open(&r, &memory.base, text, size_bytes);
    while ((err = csv_next(&r, &fields, &count, NULL)) != EG_NOT_FOUND) {
        if (err != EG_OK) {
            cr_assert_eq(err, EG_BAD_RECORD);
            used += (size_t) sprintf(out + used, "!%d|", (int) r.line);
            continue;
        }
        for (uint32_t i = 0; i < count; i++)
            used +=
                (size_t) sprintf(out + used, "<%.*s>", (int) fields[i].size_bytes, fields[i].at);
        used += (size_t) sprintf(out + used, "|");
    }
    csv_close(&r);
    out[used] = '\0';
    return out;
}

#define READS_AS(text, expected) cr_assert_str_eq(read_all(text, sizeof(text) - 1), expected)

Test(csv, rows_end_with_lf_crlf_or_the_end_of_the_text) {
    READS_AS("a,b\nc,d\r\ne,f", "<a><b>|<c><d>|<e><f>|");
    READS_AS("a,b\r\n", "<a><b>|");
    READS_AS("", "");
    READS_AS("a,\n,b\n", "<a><>|<><b>|");
    READS_AS("\n", "<>|");
    READS_AS("a\rb\n", "<a\rb>|");
    READS_AS("a\r", "<a\r>|");
}

Test(csv, quoted_fields_hold_commas_quotes_and_line_ends) {
    READS_AS("\"a,b\",\"c\"\"d\",\"e\nf\"\n", "<a,b><c\"d><e\nf>|");
    READS_AS("\"\"\"\",\"\"\n", "<\"><>|");
    READS_AS("\"a\"\r\n\"b\"", "<a>|<b>|");
    READS_AS("\"a\"\"b\",\"c\"\"d\"\n\"e\"\"f\"", "<a\"b><c\"d>|<e\"f>|");
}

Test(csv, a_byte_order_mark_is_passed_over) {
    READS_AS("\xef\xbb\xbf\"a\",b\n", "<a><b>|");
    READS_AS("\xef\xbb\xbf", "");
}

Test(csv, a_malformed_row_is_told_and_the_next_is_read) {
    READS_AS("a,b\"c\nd\n", "!1|<d>|");
    READS_AS("\"a\"b,c\nd\n", "!1|<d>|");
    READS_AS("a\n\"b\nc\"d\ne\n", "<a>|!2|<e>|");
    READS_AS("a\n\"b,c\nd\ne", "<a>|!2|<d>|<e>|"); /* never closed: one row is lost */
    READS_AS("a\"", "!1|");
    READS_AS("\"", "!1|");
}

Test(csv, rows_and_lines_are_counted) {
    static const char text[] = "a\n\"b\nb\"\nc\n";
    struct csv_reader r;
    const struct csv_field *fields;
    uint32_t count;
    static const uint64_t lines[] = {1, 2, 4};

    csv_open(&r, &memory.base, text, sizeof text - 1);
    for (uint64_t i = 0; i < EG_COUNTOF(lines); i++) {
        cr_assert_eq(csv_next(&r, &fields, &count, NULL), EG_OK);
        cr_assert_eq(r.row, i + 1);
        cr_assert_eq(r.line, lines[i]);
    }
    csv_close(&r);
}

Test(csv, a_row_of_too_many_fields_is_malformed) {
    static char text[CSV_FIELDS_MAX + 4];
    struct csv_reader r;
    const struct csv_field *fields;
    uint32_t count;
    struct err_note note;

    memset(text, ',', CSV_FIELDS_MAX);
    memcpy(text + CSV_FIELDS_MAX, "\nab", 3);
    csv_open(&r, &memory.base, text, CSV_FIELDS_MAX + 3);
    cr_assert_eq(csv_next(&r, &fields, &count, &note), EG_BAD_RECORD);
    cr_assert(strstr(note.text, "4096 fields") != NULL);
    cr_assert_eq(csv_next(&r, &fields, &count, &note), EG_OK);
    cr_assert(count == 1 && fields[0].size_bytes == 2);
    csv_close(&r);
}

/* Goal: whatever is written is read back.  Method: random fields of the bytes
 * that matter; one CSV text of all rows, read again. */
Test(csv, what_is_written_is_read_back) {
    uint64_t seed = rng_test_seed(3);

    for (uint64_t trial = 0; trial < (rng_is_replay() ? 1 : 3000); trial++) {
        struct rng r = rng_of(seed + trial);
        char field[20][8];
        size_t size[20];
        struct buffer out;
        struct csv_reader reader;
        const struct csv_field *fields;
        uint32_t count = 0;
        uint32_t columns = 1 + (uint32_t) rng_below(&r, 4);

        buffer_init(&out, &memory.base, 4096);
        for (size_t i = 0; i < 5 * columns; i++) {
            size[i] = rng_below(&r, 5);
            for (size_t j = 0; j < size[i]; j++)
                field[i][j] = "a,\"\n\r\0"[rng_below(&r, 6)];
            cr_assert(csv_put_field(&out, field[i], size[i], i % columns == 0));
            if (i % columns == columns - 1)
                cr_assert(csv_put_end(&out));
        }
        csv_open(&reader, &memory.base, (const char *) out.at, out.size_bytes);
        for (size_t i = 0; i < 5 * columns; i++) {
            if (i % columns == 0)
                cr_assert_eq(csv_next(&reader, &fields, &count, NULL), EG_OK, "seed %" PRIu64,
                             seed + trial);
            cr_assert_eq(count, columns, "seed %" PRIu64, seed + trial);
            cr_assert_eq(fields[i % columns].size_bytes, size[i], "seed %" PRIu64, seed + trial);
            cr_assert_eq(memcmp(fields[i % columns].at, field[i], size[i]), 0);
        }
        cr_assert_eq(csv_next(&reader, &fields, &count, NULL), EG_NOT_FOUND);
        csv_close(&reader);
        buffer_fini(&out);
    }
}
