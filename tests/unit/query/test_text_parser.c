/* test_text_parser.c -- texts become the trees they say, and errors point at the place. */
#include "query/text_parser.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct arena *arena;
static struct text_query *query;
static struct err_note note;

static void setup(void) {
    cr_assert_eq(arena_open(&arena, alloc_system()), EG_OK);
}

static void teardown(void) {
    arena_close(arena);
}

TestSuite(text_parser, .init = setup, .fini = teardown, .timeout = 240);

static eg_err parse(const char *text) {
    note.text[0] = '\0';
    return text_parse(&query, arena, text, strlen(text), &note);
}

static const char *print(const struct text_node *n) {
    static char shown[1024];
    struct buffer out;

    buffer_init(&out, alloc_system(), sizeof shown - 1);
    cr_assert_eq(text_print(n, &out), EG_OK);
    memcpy(shown, out.at, out.size_bytes);
    shown[out.size_bytes] = '\0';
    buffer_fini(&out);
    return shown;
}

Test(text_parser, an_expression_prints_as_it_was_meant) {
    static const struct {
        const char *text, *meant;
    } rows[] = {
        {"a=1 OR b = 2 and c<>3", "a = 1 or b = 2 and c != 3"},
        {"(a=1 or b=2) and not c is null", "(a = 1 or b = 2) and not c is null"},
        {"a is not null", "not a is null"},
        {"a not in (1, 'it''s', null)", "not a in (1, 'it''s', null)"},
        {"a NOT LIKE 'x%'", "not a like 'x%'"},
        {"a between 1 and 2+3 and b", "a >= 1 and a <= 2 + 3 and b"},
        {"a not between 1 and 2", "not (a >= 1 and a <= 2)"},
        {"1-(2-3)-4", "1 - (2 - 3) - 4"},
        {"-a*-2 + +3 % 5", "-a * -2 + 3 % 5"},
        {"a < b = c", "a < b = c"},
        {"a < (b = c)", "a < (b = c)"},
        {"t.a.b = \"or\"", "t.a.b = or"},
        {"x'00fF' = ?", "x'00ff' = ?"},
        {"1e3 = 1000 and .5 < 2.", "1000.0 = 1000 and 0.5 < 2.0"},
        {"-.0 = -0 and 1e20 < 1e15", "-0.0 = 0 and 1e+20 < 1000000000000000.0"},
        {"-9223372036854775808 < 18446744073709551615",
         "-9223372036854775808 < 18446744073709551615"},
        {"a -- a comment\n = 1", "a = 1"},
    };

    for (size_t i = 0; i < EG_COUNTOF(rows); i++) {
        char text[256] = "delete from t where ";
        strcat(text, rows[i].text);
        cr_assert_eq(parse(text), EG_OK, "%s: %s", text, note.text);
        cr_assert_str_eq(print(query->where), rows[i].meant);
    }
}

Test(text_parser, a_number_prints_as_what_reads_back_as_it) {
    static const char *const numbers[] = {"0",
                                          "-0",
                                          "-.0",
                                          "0.0",
                                          "1",
                                          "1.",
                                          "-7.0",
                                          "2.5e-9",
                                          "5e-324",
                                          "1e16",
                                          "1e17",
                                          "12345678901234567.",
                                          "18446744073709551615",
                                          "18446744073709551616",
                                          "-9223372036854775808",
                                          "-9223372036854775809",
                                          "1.7976931348623157e308"};

    for (size_t i = 0; i < EG_COUNTOF(numbers); i++) {
        char text[256] = "delete from t where ";
        uint8_t bytes[16];
        struct value v;

        strcat(text, numbers[i]);
        cr_assert_eq(parse(text), EG_OK, "%s: %s", text, note.text);
        v = query->where->literal;
        cr_assert_leq(v.size_bytes, sizeof bytes);
        memcpy(bytes, v.at, v.size_bytes);
        strcpy(text + strlen("delete from t where "), print(query->where));
        cr_assert_eq(parse(text), EG_OK, "%s: %s", text, note.text);
        cr_assert_eq(query->where->literal.size_bytes, v.size_bytes, "%s", text);
        cr_assert_arr_eq(query->where->literal.at, bytes, v.size_bytes, "%s", text);
    }
}

Test(text_parser, a_select_has_all_its_clauses) {
    cr_assert_eq(parse("SELECT a, Count( * ) as n, sum(a.b) FROM t AS x INNER JOIN \"my u\" "
                       "ON x.k = u.k WHERE a > ? GROUP BY a HAVING count(*) > 1 "
                       "ORDER BY n DESC, a ASC, 3 LIMIT 10 OFFSET ?;"),
                 EG_OK, "%s", note.text);
    cr_assert_eq(query->statement, TEXT_SELECT);
    cr_assert_eq(query->item_count, 3);
    cr_assert_str_eq(print(query->items[1].node), "count(*)");
    cr_assert_eq(query->items[1].alias.size_bytes, 1);
    cr_assert_str_eq(print(query->items[2].node), "sum(a.b)");
    cr_assert_eq(query->table_count, 2);
    cr_assert_eq(query->table[1].name.size_bytes, 4);
    cr_assert_eq(query->group_count, 1);
    cr_assert_not_null(query->having);
    cr_assert_eq(query->order_count, 3);
    cr_assert(query->order[0].descending);
    cr_assert_not(query->order[1].descending);
    cr_assert_not_null(query->limit);
    cr_assert_not_null(query->offset);
    cr_assert_eq(query->argument_count, 2);
}

Test(text_parser, changes_are_read) {
    cr_assert_eq(parse("insert into t (a, \"b c\") values (1, -2), (?, 'x')"), EG_OK);
    cr_assert_eq(query->name_count, 2);
    cr_assert_eq(query->row_count, 2);
    cr_assert_eq(query->row_sizes[1], 2);
    cr_assert_str_eq(print(query->rows[1][1]), "'x'");
    cr_assert_eq(parse("update t set a = a + 1, b = null where k = 3"), EG_OK);
    cr_assert_eq(query->change_count, 2);
    cr_assert_str_eq(print(query->changes[0].node), "a + 1");
    cr_assert_eq(parse("delete from t"), EG_OK);
    cr_assert_null(query->where);
}

Test(text_parser, errors_point_at_the_character) {
    static const struct {
        const char *text, *note;
    } rows[] = {
        {"", "line 1, column 1: expected select, insert, update or delete, but the query ends"},
        {"selekt", "line 1, column 1: expected select, insert, update or delete, not selekt"},
        {"select * form t", "line 1, column 10: expected from, not form"},
        {"select * from t\nwhere a = )", "line 2, column 11: expected a value, not )"},
        {"select * from t limit -1",
         "line 1, column 23: expected an integer from 0 on, or ?, not -"},
        {"select 'grün', ' from t", "line 1, column 16: a quote that is never closed"},
        {"select a from t where a like", "line 1, column 29: expected a value, but the query ends"},
        {"select a from t where a not = 1",
         "line 1, column 29: expected in, like or between, not ="},
        {"select f(a) from t",
         "line 1, column 8: no such function: there are count sum min max avg"},
        {"select a from t left join u on t.a = u.a",
         "line 1, column 17: expected join: only inner joins are supported, not left"},
        {"select a from t, u", "line 1, column 16: expected join ... on, the way to name a second "
                               "table, not ,"},
        {"select 12ab from t", "line 1, column 8: expected a word, a value or a sign, not 12ab"},
        {"select a from t where a = x'0'", "line 1, column 27: a binary is pairs of hex digits"},
        {"delete from t where a = 1 2", "line 1, column 27: expected the end of the query, not 2"},
    };

    for (size_t i = 0; i < EG_COUNTOF(rows); i++) {
        cr_assert_eq(parse(rows[i].text), EG_BAD_REQUEST, "%s", rows[i].text);
        cr_assert_str_eq(note.text, rows[i].note);
    }
}

/* "delete from t where " + `open` n times + "1" + `close` n times */
static eg_err parse_nested(const char *open, const char *close, size_t n) {
    struct buffer b;
    eg_err err;

    buffer_init(&b, alloc_system(), 1 << 20);
    cr_assert(buffer_append(&b, "delete from t where ", 20));
    for (size_t i = 0; i < n; i++)
        cr_assert(buffer_append(&b, open, strlen(open)));
    cr_assert(buffer_append(&b, "1", 1));
    for (size_t i = 0; i < n; i++)
        cr_assert(buffer_append(&b, close, strlen(close)));
    err = text_parse(&query, arena, (const char *) b.at, b.size_bytes, &note);
    buffer_fini(&b);
    return err;
}

Test(text_parser, what_is_too_deep_or_too_long_is_refused) {
    static const char *const ways[][2] = {{"(", ")"}, {"not ", ""}, {"- ", ""},   {"a in (", ")"},
                                          {"", "+1"}, {"", "=1"},   {"sum(", ")"}};

    for (size_t i = 0; i < EG_COUNTOF(ways); i++) {
        cr_assert_eq(parse_nested(ways[i][0], ways[i][1], 10000), EG_TOO_LARGE, "%s", ways[i][0]);
        cr_assert_eq(parse_nested(ways[i][0], ways[i][1], 150), EG_OK, "%s", ways[i][0]);
    }
    cr_assert_eq(parse_nested("(", "", 10000), EG_TOO_LARGE); /* never closed */
    cr_assert_eq(parse_nested("", "                  ", 64 * 1024 / 16), EG_TOO_LARGE);
}

Test(text_parser, a_thousand_side_by_side_are_not_deep) {
    cr_assert_eq(parse_nested("", " or a = 2", 4000), EG_OK, "%s", note.text);
    cr_assert_leq(query->where->depth, 16);
}
