/* test_predicate_text.c -- trees as text builds them: three-valued logic, SQLite's numbers. */
#include "tables/index_spec.h"
#include "tables/predicate_private.h"
#include "tables/schema.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

TestSuite(predicate_text, .timeout = 240);

/* Terms are written in this notation: ["OP", args...] with the names below; 0 .. 9 are fields,
 * {"x": v} the literal v, {"path": [field, part, ...]} what lies inside a field. */
static const struct {
    const char *name;
    enum expr_op op;
} names[] = {
    {"and", EXPR_SQL_AND},  {"or", EXPR_SQL_OR},     {"not", EXPR_SQL_NOT},
    {"=", EXPR_SQL_EQ},     {"!=", EXPR_SQL_NE},     {"<", EXPR_SQL_LT},
    {"<=", EXPR_SQL_LE},    {">", EXPR_SQL_GT},      {">=", EXPR_SQL_GE},
    {"in", EXPR_SQL_IN},    {"like", EXPR_SQL_LIKE}, {"null", EXPR_SQL_IS_NULL},
    {"+", EXPR_SQL_ADD},    {"-", EXPR_SQL_SUB},     {"*", EXPR_SQL_MUL},
    {"/", EXPR_SQL_DIVIDE}, {"%", EXPR_SQL_REM},     {"neg", EXPR_SQL_NEGATE},
};

static struct expr nodes[4096];
static struct expr *args[4096];
static struct value parts[256];
static uint32_t node_count, arg_count, part_count;

static struct expr *tree(struct value v) {
    struct expr *e = &nodes[node_count++];
    struct value_iter it;
    struct value element;
    int64_t n;

    memset(e, 0, sizeof *e);
    if (value_get_i64(v, &n)) {
        e->op = EXPR_FIELD;
        e->position = (uint16_t) n;
        return e;
    }
    it = value_iter_of(v);
    cr_assert(value_iter_next(&it, &element));
    if (value_kind_of(v) == VALUE_MAP && value_is_string(element, "x")) {
        e->op = EXPR_LITERAL;
        cr_assert(value_iter_next(&it, &e->literal));
        return e;
    }
    if (value_kind_of(v) == VALUE_MAP) {
        cr_assert(value_iter_next(&it, &element));
        it = value_iter_of(element);
        cr_assert(value_iter_next(&it, &element));
        cr_assert(value_get_i64(element, &n));
        e->op = EXPR_FIELD;
        e->position = (uint16_t) n;
        e->path = &parts[part_count];
        e->path_count = (uint16_t) it.left;
        while (value_iter_next(&it, &parts[part_count]))
            part_count++;
        return e;
    }
    for (size_t i = 0; i < EG_COUNTOF(names); i++)
        if (value_is_string(element, names[i].name))
            e->op = names[i].op;
    e->count = (uint16_t) it.left;
    e->arg = &args[arg_count];
    arg_count += e->count;
    for (uint16_t i = 0; value_iter_next(&it, &element); i++) {
        struct expr **arg = (struct expr **) e->arg;
        arg[i] = tree(element);
    }
    return e;
}

static const struct expr *tree_of(const char *text) {
    static uint8_t bytes[8][65536];
    static unsigned next;
    unsigned i = next++ % 8;

    return tree(text_value(bytes[i], sizeof bytes[i], text));
}

enum { ARITY = 6 };
static const char *const RECORD = "[1, 'anna', 31, {'town': ['Kiel', 'x']}, nil, 2.5]";

static void reset(void) {
    node_count = arg_count = part_count = 0;
}

/* What a column of the record is. */
static const char *column(const char *text) {
    static uint8_t record_bytes[1024];
    static char shown[4096];
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    struct predicate_machine m;
    struct predicate *p = NULL;
    struct err_note note;
    struct buffer out;
    const struct expr *e;
    bool matched;
    struct value_iter it;
    struct value v;

    reset();
    e = tree_of(text);
    cr_assert_eq(predicate_open_exprs(&p, &memory.base, NULL, &e, 1, ARITY, &note), EG_OK, "%s",
                 note.text);
    predicate_machine_init(&m, &memory.base);
    buffer_init(&out, &memory.base, 1 << 20);
    v = text_value(record_bytes, sizeof record_bytes, RECORD);
    cr_assert_eq(predicate_run(&m, p, v, &out, &matched), EG_OK);
    cr_assert(matched);
    it = value_iter_of((struct value){out.at, (uint32_t) out.size_bytes});
    cr_assert(value_iter_next(&it, &v) && it.left == 0);
    value_text(v, shown, sizeof shown);
    buffer_fini(&out);
    predicate_machine_fini(&m);
    predicate_close(p);
    cr_assert_eq(memory.live, 0);
    return shown;
}

static bool selects(const char *text) {
    static uint8_t record_bytes[1024];
    struct predicate_machine m;
    struct predicate *p = NULL;
    bool matched;

    reset();
    cr_assert_eq(predicate_open_exprs(&p, alloc_system(), tree_of(text), NULL, 0, ARITY, NULL),
                 EG_OK);
    cr_assert(predicate_yields_record(p));
    predicate_machine_init(&m, alloc_system());
    cr_assert_eq(
        predicate_run(&m, p, text_value(record_bytes, sizeof record_bytes, RECORD), NULL, &matched),
        EG_OK);
    predicate_machine_fini(&m);
    predicate_close(p);
    return matched;
}

#define IS(text, want)                                                                             \
    do {                                                                                           \
        const char *got_ = column(text);                                                           \
        cr_expect_str_eq(got_, (want), "%s: %s, not %s", (text), got_, (want));                    \
    } while (0)

#define T "{'x': true}"
#define F "{'x': false}"
#define U "{'x': nil}"

Test(predicate_text, logic_has_three_values) {
    IS("['and', " T ", " U "]", "nil");
    IS("['and', " F ", " U "]", "false");
    IS("['and', " U ", " F "]", "false");
    IS("['and', " U ", " U "]", "nil");
    IS("['and', " T ", " T ", " F "]", "false");
    IS("['or', " T ", " U "]", "true");
    IS("['or', " U ", " T "]", "true");
    IS("['or', " F ", " U "]", "nil");
    IS("['or', " F ", " F ", " T "]", "true");
    IS("['not', " U "]", "nil");
    IS("['not', " T "]", "false");
    IS("['not', {'x': 5}]", "false");
    IS("['null', 4]", "true");
    IS("['null', 0]", "false");
}

Test(predicate_text, comparisons_with_nil_are_unknown) {
    IS("['=', 4, 4]", "nil");
    IS("['!=', 4, 0]", "nil");
    IS("['<', 0, 4]", "nil");
    IS("['=', 0, {'x': 1.0}]", "true");
    IS("['<', 0, 1]", "true");
    IS("['in', 0, {'x': 3}, {'x': 1}]", "true");
    IS("['in', 0, {'x': 3}, {'x': nil}]", "nil");
    IS("['in', 0, {'x': 3}, 2]", "false");
    IS("['in', 4, {'x': 3}]", "nil");
    IS("['in', 4]", "false");
    IS("['in', 0, {'x': 9}, {'x': 8}, {'x': 7}, {'x': 6}, {'x': 5}, {'x': 4}, {'x': 3}, {'x': "
       "1.0}]",
       "true");
    IS("['in', 0, {'x': 9}, {'x': 8}, {'x': 7}, {'x': 6}, {'x': 5}, {'x': 4}, {'x': 3}, {'x': 3}]",
       "false");
    IS("['in', 0, {'x': 9}, {'x': 8}, {'x': 7}, {'x': 6}, {'x': 5}, {'x': 4}, {'x': nil}, {'x': "
       "3}]",
       "nil");
    IS("['in', 4, {'x': 9}, {'x': 8}, {'x': 7}, {'x': 6}, {'x': 5}, {'x': 4}, {'x': 1}, {'x': 3}]",
       "nil");
    IS("['in', 1, {'x': 'z'}, {'x': 8}, {'x': 'anna'}, {'x': [6]}, {'x': 5}, {'x': 4}, {'x': 1}, "
       "{'x': 3}]",
       "true");
    IS("['in', {'path': [3, 'town']}, {'x': 'z'}, {'x': 8}, {'x': ['Kiel', 'x']}, {'x': [6]}, "
       "{'x': 5}, {'x': 4}, {'x': 1}, {'x': 3}]",
       "true");
}

Test(predicate_text, arithmetic_is_that_of_SQLite) {
    IS("['+', 0, 2]", "32");
    IS("['+', 0, 4]", "nil");
    IS("['+', 0, 1]", "nil");
    IS("['/', 2, {'x': 2}]", "15");
    IS("['/', 2, {'x': 0}]", "nil");
    IS("['/', 2, {'x': 0.0}]", "nil");
    IS("['/', 2, {'x': 2.0}]", "15.5");
    IS("['%', {'x': -7}, {'x': 2}]", "-1");
    IS("['%', {'x': 7}, {'x': 0}]", "nil");
    IS("['%', {'x': 5.5}, {'x': 2}]", "1.0");
    IS("['+', {'x': 9223372036854775807}, {'x': 1}]", "9.2233720368547758e+18");
    IS("['*', {'x': 9223372036854775807}, {'x': 9223372036854775807}]", "8.5070591730234616e+37");
    IS("['+', {'x': 18446744073709551614}, {'x': 1}]", "18446744073709551615");
    IS("['neg', {'x': -9223372036854775808}]", "9.2233720368547758e+18");
    IS("['neg', 5]", "-2.5");
    IS("['neg', 1]", "nil");
}

Test(predicate_text, paths_lead_into_fields) {
    IS("{'path': [3, 'town', 0]}", "'Kiel'");
    IS("{'path': [3, 'town', 1]}", "'x'");
    IS("{'path': [3, 'town', 2]}", "nil");
    IS("{'path': [3, 'street']}", "nil");
    IS("{'path': [1, 'a']}", "nil");
    IS("['=', {'path': [3, 'town', 0]}, {'x': 'Kiel'}]", "true");
}

Test(predicate_text, like_is_by_character) {
    IS("['like', 1, {'x': 'a%'}]", "true");
    IS("['like', 1, {'x': 'A%'}]", "false");
    IS("['like', 1, {'x': '_nn_'}]", "true");
    IS("['like', 1, {'x': 'ann'}]", "false");
    IS("['like', 1, {'x': '%n%a'}]", "true");
    IS("['like', 1, {'x': '%%%'}]", "true");
    IS("['like', {'x': ''}, {'x': '%'}]", "true");
    IS("['like', {'x': ''}, {'x': '_'}]", "false");
    IS("['like', {'x': '\xc3\xa4x'}, {'x': '_x'}]", "true");
    IS("['like', {'x': '\xc3\xa4x'}, {'x': '__x'}]", "false");
    IS("['like', {'x': '\xc3\xa4x'}, {'x': '%\xa4x'}]", "false");
    IS("['like', 4, {'x': '%'}]", "nil");
    IS("['like', 0, {'x': '%'}]", "false");
    IS("['like', {'x': 'abcabcabd'}, {'x': '%abc%abd'}]", "true");
}

/* What like means, in the fewest words and without any hurry. */
static bool is_like(const char *text, const char *pattern) {
    size_t bytes = (uint8_t) *text < 0x80 ? 1 : 2; /* characters here have one or two */

    if (*pattern == '\0')
        return *text == '\0';
    if (*pattern == '%')
        return is_like(text, pattern + 1) || (*text != '\0' && is_like(text + bytes, pattern));
    if (*text == '\0')
        return false;
    if (*pattern == '_')
        return is_like(text + bytes, pattern + 1);
    return strncmp(text, pattern, bytes) == 0 && is_like(text + bytes, pattern + bytes);
}

static void random_text(struct rng *r, char *out, const char *const *alphabet, unsigned count) {
    size_t characters = rng_below(r, 9);

    *out = '\0';
    while (characters-- > 0)
        strcat(out, alphabet[rng_below(r, count)]);
}

Test(predicate_text, like_means_what_its_plain_definition_means) {
    static const char *const alphabet[] = {"a", "b", "\xc3\xa4", "%", "_", "%", "_"};
    uint64_t seed = rng_test_seed(99);
    unsigned matched = 0;

    for (uint64_t i = 0; i < (rng_is_replay() ? 1 : 300000); i++) {
        struct rng r = rng_of(seed + i);
        uint64_t steps = 1000000;
        char text[32];
        char pattern[32];
        bool got;
        random_text(&r, text, alphabet, 3);
        random_text(&r, pattern, alphabet, EG_COUNTOF(alphabet));
        got = text_is_like((const uint8_t *) text, strlen(text), (const uint8_t *) pattern,
                           strlen(pattern), &steps);
        cr_assert_eq(got, is_like(text, pattern), "EG_SEED=%" PRIu64 ": '%s' like '%s'", seed + i,
                     text, pattern);
        matched += got;
    }
    cr_assert(rng_is_replay() || matched > 10000);
}

Test(predicate_text, a_like_made_to_be_slow_gives_up) {
    static uint8_t text[1 << 20];
    static uint8_t pattern[1 << 15];
    uint64_t steps = 10000000;
    clock_t begin = clock();

    memset(text, 'a', sizeof text);
    memset(pattern, 'a', sizeof pattern);
    pattern[0] = '%';
    pattern[sizeof pattern - 2] = 'b';
    pattern[sizeof pattern - 1] = '%';
    cr_expect_not(text_is_like(text, sizeof text, pattern, sizeof pattern, &steps));
    cr_expect_eq(steps, 10000000u); /* a plain piece is searched in linear time */
    pattern[100] = '_';
    cr_expect_not(text_is_like(text, sizeof text, pattern, sizeof pattern, &steps));
    cr_expect_eq(steps, 0u);
    cr_expect_leq((clock() - begin) / (CLOCKS_PER_SEC / 1000), 5000);
}

Test(predicate_text, filters_select_where_they_are_true) {
    cr_assert(selects("['and', ['>', 2, {'x': 30}], ['like', 1, {'x': '%nn%'}]]"));
    cr_assert_not(selects("['and', ['>', 2, {'x': 30}], ['=', 4, {'x': 1}]]"));
    cr_assert(selects("['or', ['=', 4, {'x': 1}], ['<', 0, {'x': 2}]]"));
    cr_assert_not(selects("['not', ['=', 4, {'x': 1}]]"));
    cr_assert(selects("['+', 0, {'x': 1}]"));
    cr_assert_not(selects("['-', 0, {'x': 1}]"));
    cr_assert_not(selects("4"));
    cr_assert_not(selects("1"));
}

Test(predicate_text, trees_too_deep_or_too_large_are_refused) {
    struct expr literal = {.op = EXPR_FIELD};
    static struct expr deep[EXPR_DEPTH_MAX + 2];
    static struct expr *below[EXPR_DEPTH_MAX + 2];
    static struct expr *wide[20000];
    struct expr many = {.op = EXPR_SQL_IN, .count = 20000, .arg = wide};
    struct predicate *p = NULL;
    struct err_note note;

    for (size_t i = 0; i < EG_COUNTOF(deep); i++) {
        below[i] = i == 0 ? &literal : &deep[i - 1];
        deep[i] = (struct expr){.op = EXPR_SQL_NOT, .count = 1, .arg = &below[i]};
    }
    for (size_t i = 0; i < EG_COUNTOF(wide); i++)
        wide[i] = &literal;
    cr_assert_eq(
        predicate_open_exprs(&p, alloc_system(), &deep[EXPR_DEPTH_MAX - 2], NULL, 0, 1, &note),
        EG_OK);
    predicate_close(p);
    cr_assert_eq(
        predicate_open_exprs(&p, alloc_system(), &deep[EXPR_DEPTH_MAX + 1], NULL, 0, 1, &note),
        EG_TOO_LARGE);
    cr_assert_eq(predicate_open_exprs(&p, alloc_system(), &many, NULL, 0, 1, &note), EG_TOO_LARGE);
    literal.position = 1;
    cr_assert_eq(predicate_open_exprs(&p, alloc_system(), &deep[0], NULL, 0, 1, &note),
                 EG_BAD_REQUEST);
}

/* ---- ranges ------------------------------------------------------------------------ */

static const char *show_range(const struct predicate *p, uint32_t position) {
    static char text[1024];
    char low[256] = "";
    char high[256] = "";
    struct domain d;
    struct range r;

    if (!predicate_range(p, position, &r))
        return "anywhere";
    if (r.low.given)
        value_text(r.low.value, low, sizeof low);
    if (r.high.given)
        value_text(r.high.value, high, sizeof high);
    cr_assert(predicate_domain(p, position, &d));
    if (d.few) {
        size_t end = 0;
        for (uint32_t i = 0; i < d.point_count; i++) {
            value_text(d.point[i], low, sizeof low);
            end +=
                (size_t) snprintf(text + end, sizeof text - end, "%s%s", i > 0 ? " | " : "", low);
        }
        return d.point_count > 0 ? text : "nothing";
    }
    if (r.exact)
        snprintf(text, sizeof text, "%s", low);
    else
        snprintf(text, sizeof text, "%c%s .. %s%s%c", r.low.open ? '(' : '[', low, high,
                 r.high.prefix ? "*" : "", r.high.open ? ')' : ']');
    return text;
}

static const char *range_of_filter(const char *text, uint32_t position) {
    struct predicate *p = NULL;
    const char *shown;

    reset();
    cr_assert_eq(predicate_open_exprs(&p, alloc_system(), tree_of(text), NULL, 0, ARITY, NULL),
                 EG_OK);
    shown = show_range(p, position);
    predicate_close(p);
    return shown;
}

static const char *range_of_spec(const char *text, uint32_t position) {
    static uint8_t bytes[65536];
    struct predicate *p = NULL;
    struct err_note note;
    const char *shown;

    cr_assert_eq(
        predicate_open(&p, alloc_system(), text_value(bytes, sizeof bytes, text), 2, &note), EG_OK,
        "%s", note.text);
    memset(bytes, 0xc1, sizeof bytes); /* the program owns what it says */
    shown = show_range(p, position);
    predicate_close(p);
    return shown;
}

Test(predicate_range, a_filter_says_where_its_fields_lie) {
    cr_expect_str_eq(range_of_filter("['=', 2, {'x': 5}]", 2), "5");
    cr_expect_str_eq(range_of_filter("['=', {'x': 5}, 2]", 2), "5");
    cr_expect_str_eq(range_of_filter("['=', 2, {'x': 5}]", 1), "anywhere");
    cr_expect_str_eq(range_of_filter("['>', 2, {'x': 5}]", 2), "(5 .. ]");
    cr_expect_str_eq(range_of_filter("['>', {'x': 5}, 2]", 2), "(nil .. 5)");
    cr_expect_str_eq(range_of_filter("['and', ['>=', 2, {'x': 5}], ['<=', 2, {'x': 9}]]", 2),
                     "[5 .. 9]");
    cr_expect_str_eq(range_of_filter("['in', 2, {'x': 7}, {'x': 3}, {'x': 5}]", 2), "3 | 5 | 7");
    cr_expect_str_eq(range_of_filter("['in', 2, {'x': 7}, 1]", 2), "anywhere");
    cr_expect_str_eq(range_of_filter("['or', ['=', 2, {'x': 5}], ['=', 2, {'x': 1}]]", 2), "1 | 5");
    cr_expect_str_eq(range_of_filter("['or', ['=', 2, {'x': 5}], ['=', 1, {'x': 1}]]", 2),
                     "anywhere");
    cr_expect_str_eq(range_of_filter("['not', ['=', 2, {'x': 5}]]", 2), "anywhere");
    cr_expect_str_eq(range_of_filter("['=', {'path': [2, 'a']}, {'x': 5}]", 2), "anywhere");
}

Test(predicate_range, of_few_values_each_is_known) {
    cr_expect_str_eq(range_of_filter("['in', 2, {'x': 7}, {'x': 3}, {'x': 7}]", 2), "3 | 7");
    cr_expect_str_eq(range_of_filter("['in', 2, {'x': 7.0}, {'x': 7.0}]", 2), "7.0");
    cr_expect_str_eq(range_of_filter("['and', ['in', 2, {'x': 7}, {'x': 3}, {'x': 5}], "
                                     "['<', 2, {'x': 7}]]",
                                     2),
                     "3 | 5");
    cr_expect_str_eq(range_of_filter("['and', ['<', 2, {'x': 4}], "
                                     "['in', 2, {'x': 7}, {'x': 3}, {'x': 5}]]",
                                     2),
                     "3");
    cr_expect_str_eq(
        range_of_filter("['and', ['=', 2, {'x': 4}], ['in', 2, {'x': 7}, {'x': 3}]]", 2),
        "nothing");
    cr_expect_str_eq(range_of_filter("['or', ['in', 2, {'x': 7}, {'x': 3}], "
                                     "['and', ['=', 2, {'x': 4}], ['in', 2, {'x': 7}, {'x': 3}]]]",
                                     2),
                     "3 | 7");
    cr_expect_str_eq(range_of_filter("['and', ['in', 2, {'x': 1}, {'x': 3}, {'x': 5}], "
                                     "['in', 2, {'x': 5}, {'x': 1}, {'x': 2}]]",
                                     2),
                     "1 | 5");
    cr_expect_str_eq(range_of_filter("['or', ['=', 2, {'x': 5}], ['<', 2, {'x': 1}]]", 2),
                     "(nil .. 5]");
    cr_expect_str_eq(range_of_filter("['null', 2]", 2), "nil");
}

Test(predicate_range, like_says_how_a_string_begins) {
    cr_expect_str_eq(range_of_filter("['like', 2, {'x': 'abc%'}]", 2), "['abc' .. 'abd')");
    cr_expect_str_eq(range_of_filter("['like', 2, {'x': 'a_c%'}]", 2), "['a' .. 'b')");
    cr_expect_str_eq(range_of_filter("['like', 2, {'x': 'abc'}]", 2), "'abc'");
    cr_expect_str_eq(range_of_filter("['like', 2, {'x': '%abc'}]", 2), "anywhere");
    cr_expect_str_eq(range_of_filter("['like', {'x': 'abc'}, 2]", 2), "anywhere");
    cr_expect_str_eq(range_of_filter("['like', 2, {'x': 5}]", 2), "anywhere");
}

static bool part_is_known(const struct predicate *p, const char *path, struct domain *d) {
    static const struct schema_name attributes[] = {{.text = "k", .size_bytes = 1},
                                                    {.text = "m", .size_bytes = 1}};
    struct index_attributes of = {attributes, EG_COUNTOF(attributes)};
    struct index_spec spec;
    struct value_writer w;
    uint8_t bytes[64];

    w = value_writer_init(bytes, sizeof bytes);
    value_put_text(&w, path);
    cr_assert_eq(index_spec_parse(&spec, of, (struct value){bytes, (uint32_t) w.need_bytes}, NULL),
                 EG_OK);
    return predicate_domain_of_part(p, &spec, 0, d);
}

static const char *known_by(struct predicate *p, const char *path) {
    static char text[256];
    struct domain d;

    if (!part_is_known(p, path, &d))
        return "anything";
    cr_assert(d.range.low.given);
    value_text(d.range.low.value, text, sizeof text);
    return text;
}

static struct predicate *spec_program(const char *text) {
    static uint8_t bytes[4096];
    struct predicate *p = NULL;

    cr_assert_eq(predicate_open(&p, alloc_system(), text_value(bytes, sizeof bytes, text), 2, NULL),
                 EG_OK);
    memset(bytes, 0xc1, sizeof bytes);
    return p;
}

Test(predicate_range, what_lies_inside_a_field_is_known_by_its_path) {
    struct predicate *p = NULL;

    reset();
    cr_assert_eq(predicate_open_exprs(&p, alloc_system(),
                                      tree_of("['=', {'path': [1, 'town', 'name']}, {'x': 5}]"),
                                      NULL, 0, 2, NULL),
                 EG_OK);
    cr_expect_str_eq(known_by(p, "m.town.name"), "5");
    cr_expect_str_eq(known_by(p, "m.town"), "anything");
    cr_expect_str_eq(known_by(p, "m"), "anything");
    cr_expect_str_eq(known_by(p, "k.town.name"), "anything");
    predicate_close(p);
    reset();
    cr_assert_eq(predicate_open_exprs(&p, alloc_system(),
                                      tree_of("['=', {'path': [1, '0']}, {'x': 5}]"), NULL, 0, 2,
                                      NULL),
                 EG_OK);
    cr_expect_str_eq(known_by(p, "m.0"), "anything"); /* an index on it leads into arrays too */
    predicate_close(p);

    p = spec_program("[[['_', '$1'], [['==', ['map_get', 'b', ['map_get', 'a', '$1']], 7]], [1]]]");
    cr_expect_str_eq(known_by(p, "m.a.b"), "7");
    predicate_close(p);
    p = spec_program("[[['_', '$1'], [['==', ['element', 2, ['map_get', 'a', '$1']], 7]], [1]]]");
    cr_expect_str_eq(known_by(p, "m.a.1"), "7");
    predicate_close(p);
    p = spec_program("[[['_', ['_', [7, '$1']]], [['>', '$1', 3]], [1]]]");
    cr_expect_str_eq(known_by(p, "m.1.0"), "7");
    cr_expect_str_eq(known_by(p, "m.1.1"), "3");
    cr_expect_str_eq(known_by(p, "m.0"), "anything");
    predicate_close(p);
    p = spec_program(
        "[[['_', '$1'], [['==', ['map_get', 'a', '$1'], 7]], [1]], [['_', '_'], [], [1]]]");
    cr_expect_str_eq(known_by(p, "m.a"), "anything");
    predicate_close(p);
}

Test(predicate_range, a_specification_says_it_by_head_and_guards) {
    cr_expect_str_eq(range_of_spec("[[['a', '_'], [], ['$_']]]", 0), "'a'");
    cr_expect_str_eq(range_of_spec("[[['a', '_'], [], ['$_']]]", 1), "anywhere");
    cr_expect_str_eq(range_of_spec("[[[['a', 1, '_'], '_'], [], ['$_']]]", 0),
                     "[['a', 1] .. ['a', 1]*]");
    cr_expect_str_eq(range_of_spec("[[[['_', 1], '_'], [], ['$_']]]", 0), "anywhere");
    cr_expect_str_eq(range_of_spec("[[['$1', '_'], [['>', '$1', 3], ['<', '$1', 9]], ['$_']]]", 0),
                     "(3 .. 9)");
    cr_expect_str_eq(
        range_of_spec("[[['$1', '_'], [['andalso', ['=:=', '$1', 3], ['is_integer', '$1']]], [1]]]",
                      0),
        "3");
    cr_expect_str_eq(
        range_of_spec("[[['$1', '_'], [['orelse', ['==', '$1', 3], ['<', '$1', 1]]], [1]]]", 0),
        "[ .. 3]");
    cr_expect_str_eq(range_of_spec("[[['a', '_'], [], [1]], [['c', '_'], [], [1]]]", 0),
                     "'a' | 'c'");
    cr_expect_str_eq(range_of_spec("[[['a', '_'], [], [1]], [['_', '_'], [], [1]]]", 0),
                     "anywhere");
    cr_expect_str_eq(range_of_spec("[[[['a', '_'], '_'], [], [1]], [[['b', 5], '_'], [], [1]]]", 0),
                     "[['a'] .. ['b', 5]]");
    cr_expect_str_eq(range_of_spec("[[[['b', '_'], '_'], [], [1]], [[['b', 5], '_'], [], [1]]]", 0),
                     "[['b'] .. ['b']*]");
}
