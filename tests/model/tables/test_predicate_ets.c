/* test_predicate_ets.c -- match specifications against ETS itself.
 *
 * Goal: on what both know, our answer is ETS's: which records match, and what of them
 * comes back, failures included.
 * Method: draw specifications and records, write them to a file, let ets_oracle.escript answer all
 * of them in one go, and compare.  A failure names the seed of its case.
 *
 * Terms are drawn by type, so that most mean something; now and then an argument is of another
 * type, for failures.  Kept apart is what differs on purpose:
 *   - the order of values of different kinds (only like is compared with like);
 *   - 7 matches 7.0 in a head, as everywhere here (heads get no number for the column of floats);
 *   - a map in a head is one value here, a pattern of some of its keys there;
 *   - a failed call in a body is the string "EXIT" and no atom (what takes strings is given
 * leaves);
 *   - integers past 64 bits fail (deep terms get small numbers, large ones stand in flat terms);
 *   - arrays are lists here and tuples there (each case is one or the other). */
#include "tables/predicate.h"
#include "tests/support/rng.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SEED = 4711, CASES = 20000, RECORDS = 8, COLUMNS = 7, CASE_BYTES = 1 << 16 };

enum type { T_INT, T_NUMBER, T_STRING, T_ARRAY, T_MAP, T_BOOL, T_ANY, TYPES };

static const enum type column_type[COLUMNS] = {T_INT,   T_INT, T_NUMBER, T_STRING,
                                               T_ARRAY, T_MAP, T_ANY};

enum { VARIABLE_INNER = 8 }; /* $8 and $9 are elements of the array column */

struct gen {
    struct rng r;
    struct value_writer w;
    bool lists;   /* arrays are lists, not tuples */
    bool in_body; /* a failed call has a value    */
    bool planted; /* write =< for <: a wrong one  */
    bool bound[10];
};

static uint64_t below(struct gen *g, uint64_t n) {
    return rng_below(&g->r, n);
}

static bool one_in(struct gen *g, uint64_t n) {
    return rng_one_in(&g->r, n);
}

/* ---- values ---------------------------------------------------------------------- */

static void put_string(struct gen *g) {
    static const char *const strings[] = {"", "a", "b", "ab", "anna", "a\xc3\xa4", "zz"};

    value_put_text(&g->w, strings[below(g, EG_COUNTOF(strings))]);
}

static void put_int(struct gen *g) {
    value_put_i64(&g->w, (int64_t) below(g, 19) - 9);
}

static void put_half(struct gen *g) {
    value_put_double(&g->w, (double) below(g, 19) - 9.5);
}

/* Numbers and strings, whose order is the same in both worlds. */
static void put_array(struct gen *g) {
    uint32_t count = (uint32_t) below(g, 4);

    value_put_array(&g->w, count);
    while (count-- > 0) {
        if (one_in(g, 3))
            put_string(g);
        else if (one_in(g, 4))
            put_half(g);
        else
            put_int(g);
    }
}

static void put_map(struct gen *g) {
    static const char *const keys[] = {"a", "b", "c"};
    uint64_t chosen = below(g, 8);

    value_put_map(&g->w, (uint32_t) __builtin_popcountll(chosen));
    for (unsigned i = 0; i < EG_COUNTOF(keys); i++) {
        if ((chosen >> i & 1) == 0)
            continue;
        value_put_text(&g->w, keys[i]);
        put_int(g);
    }
}

static void put_value(struct gen *g, enum type type) {
    switch (type) {
    case T_INT:
        put_int(g);
        return;
    case T_NUMBER:
        if (one_in(g, 2))
            put_int(g);
        else
            value_put_double(&g->w, (double) ((int64_t) below(g, 39) - 19) / 2);
        return;
    case T_STRING:
        put_string(g);
        return;
    case T_ARRAY:
        put_array(g);
        return;
    case T_MAP:
        put_map(g);
        return;
    case T_BOOL:
        value_put_bool(&g->w, one_in(g, 2));
        return;
    default:
        break;
    }
    switch (below(g, 8)) {
    case 0:
        value_put_nil(&g->w);
        return;
    case 1:
        value_put_array(&g->w, 2);
        put_array(g);
        put_int(g);
        return;
    case 2:
        put_half(g);
        return;
    case 3:
        put_value(g, T_BOOL);
        return;
    default:
        put_value(g, (enum type) below(g, T_MAP + 1) == T_NUMBER ? T_INT : T_STRING);
    }
}

/* ---- terms --------------------------------------------------------------------------- */

static void term(struct gen *g, enum type type, unsigned depth);

static void op(struct gen *g, const char *name, uint32_t args) {
    if (g->planted && strcmp(name, "<") == 0)
        name = "=<";
    value_put_array(&g->w, args + 1);
    value_put_text(&g->w, name);
}

#define PICK(g, ...)                                                                               \
    ((const char *const[]){__VA_ARGS__})[below((g), sizeof((const char *const[]){__VA_ARGS__}) /   \
                                                        sizeof(const char *))]

static void variable(struct gen *g, unsigned number) {
    char name[16];

    snprintf(name, sizeof name, "$%u", number);
    value_put_text(&g->w, name);
}

/* A variable of this type, else a literal. */
static void leaf(struct gen *g, enum type type) {
    unsigned first = (unsigned) below(g, COLUMNS);

    for (unsigned i = 0; i < COLUMNS && !one_in(g, 8); i++) {
        unsigned column = (first + i) % COLUMNS;
        if (g->bound[column + 1] && column_type[column] == type) {
            variable(g, column + 1);
            return;
        }
    }
    if (type == T_ANY && g->bound[VARIABLE_INNER] && one_in(g, 2)) {
        variable(g, VARIABLE_INNER + (unsigned) below(g, 2));
        return;
    }
    if (type == T_ARRAY || type == T_ANY || one_in(g, 8))
        op(g, "const", 1);
    put_value(g, type);
}

/* An argument: sometimes of another type, and then the call fails. */
static void argument(struct gen *g, enum type type, unsigned depth) {
    if (one_in(g, 25))
        leaf(g, (enum type) below(g, g->lists ? T_ARRAY : TYPES));
    else
        term(g, type, depth);
}

/* What takes strings would take "EXIT": in bodies it gets leaves. */
static void string_argument(struct gen *g, unsigned depth) {
    if (g->in_body)
        leaf(g, T_STRING);
    else
        argument(g, T_STRING, depth);
}

static void unary(struct gen *g, const char *name, enum type type, unsigned depth) {
    op(g, name, 1);
    argument(g, type, depth);
}

static void binary(struct gen *g, const char *name, enum type type, unsigned depth) {
    op(g, name, 2);
    argument(g, type, depth);
    argument(g, type, depth);
}

static void order(struct gen *g, unsigned depth) {
    enum type type = (enum type) below(g, 4);

    op(g, PICK(g, "<", "=<", ">", ">=", "<="), 2);
    if (type == T_ARRAY && !g->lists)
        type = T_INT;
    for (int i = 0; i < 2; i++) {
        if (type == T_STRING || type == T_ARRAY)
            leaf(g, type);
        else
            term(g, type, depth);
    }
}

static void equality(struct gen *g, unsigned depth) {
    enum type type = (enum type) below(g, TYPES);

    op(g, PICK(g, "==", "/=", "=:=", "=/=", "!="), 2);
    argument(g, type, depth);
    argument(g, type, depth);
}

static void many(struct gen *g, const char *name, unsigned depth) {
    uint32_t count = 1 + (uint32_t) below(g, 3);

    op(g, name, count);
    while (count-- > 0)
        argument(g, T_BOOL, depth);
}

static void bool_term(struct gen *g, unsigned depth) {
    switch (below(g, 8)) {
    case 0:
    case 1:
        order(g, depth);
        return;
    case 2:
        equality(g, depth);
        return;
    case 3:
    case 4:
        many(g, PICK(g, "and", "or", "andalso", "orelse"), depth);
        return;
    case 5:
        if (one_in(g, 2))
            unary(g, "not", T_BOOL, depth);
        else
            binary(g, "xor", T_BOOL, depth);
        return;
    case 6:
        op(g,
           PICK(g, "is_nil", "is_number", "is_integer", "is_float", "is_map",
                g->lists ? "is_list" : "is_tuple"),
           1);
        term(g, T_ANY, depth);
        return;
    default:
        op(g, one_in(g, 2) ? "is_string" : "is_nil", 1);
        leaf(g, T_ANY);
    }
}

static void int_term(struct gen *g, unsigned depth) {
    switch (below(g, 8)) {
    case 0:
    case 1:
        binary(g, PICK(g, "+", "-", "*", "div", "rem", "band", "bor", "bxor"), T_INT, depth);
        return;
    case 2:
        unary(g, PICK(g, "-", "+", "abs", "bnot"), T_INT, depth);
        return;
    case 3:
        op(g, PICK(g, "bsl", "bsr"), 2);
        argument(g, T_INT, depth);
        value_put_i64(&g->w, (int64_t) below(g, 6) - 2);
        return;
    case 4:
        unary(g, PICK(g, "round", "trunc"), T_NUMBER, depth);
        return;
    case 5:
        op(g, PICK(g, "size", "byte_size", "bit_size"), 1);
        string_argument(g, depth);
        return;
    case 6:
        unary(g, "map_size", T_MAP, depth);
        return;
    default:
        unary(g, g->lists ? "length" : "size", T_ARRAY, depth);
    }
}

static void number_term(struct gen *g, unsigned depth) {
    if (one_in(g, 3))
        term(g, T_INT, depth);
    else if (one_in(g, 3))
        unary(g, PICK(g, "-", "abs", "float", "round", "trunc"), T_NUMBER, depth);
    else
        binary(g, PICK(g, "+", "-", "*", "/"), T_NUMBER, depth);
}

static void any_term(struct gen *g, unsigned depth) {
    switch (below(g, 4)) {
    case 0:
        if (g->lists) {
            unary(g, "hd", T_ARRAY, depth);
        } else {
            op(g, "element", 2);
            argument(g, T_INT, depth);
            argument(g, T_ARRAY, depth);
        }
        return;
    case 1:
        op(g, PICK(g, "map_get", "is_map_key"), 2);
        leaf(g, T_STRING);
        argument(g, T_MAP, depth);
        return;
    default:
        term(g, (enum type) below(g, T_ANY), depth);
    }
}

static void array_term(struct gen *g, unsigned depth) {
    uint32_t count = (uint32_t) below(g, 4);

    if (g->lists && one_in(g, 2)) {
        unary(g, "tl", T_ARRAY, depth);
        return;
    }
    value_put_array(&g->w, 1);
    value_put_array(&g->w, count);
    while (count-- > 0)
        term(g, (enum type) below(g, TYPES), depth);
}

static void map_term(struct gen *g, unsigned depth) {
    static const char *const keys[] = {"a", "x"};
    uint32_t count = (uint32_t) below(g, 3);

    value_put_map(&g->w, count);
    for (uint32_t i = 0; i < count; i++) {
        value_put_text(&g->w, keys[i]);
        term(g, T_INT, depth);
    }
}

static void term(struct gen *g, enum type type, unsigned depth) {
    if (depth == 0 || one_in(g, 4)) {
        leaf(g, type);
        return;
    }
    depth--;
    switch (type) {
    case T_INT:
        int_term(g, depth);
        return;
    case T_NUMBER:
        number_term(g, depth);
        return;
    case T_ARRAY:
        array_term(g, depth);
        return;
    case T_MAP:
        map_term(g, depth);
        return;
    case T_BOOL:
        bool_term(g, depth);
        return;
    case T_ANY:
        any_term(g, depth);
        return;
    default:
        op(g, "binary_part", 3);
        leaf(g, T_STRING);
        leaf(g, T_INT);
        leaf(g, T_INT);
    }
}

/* One operator over large numbers. */
static void edge_number(struct gen *g) {
    static const int64_t edges[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX, -1,        0, 1,
                                    2,         UINT32_MAX,    INT32_MIN, 3037000500};
    static const double floats[] = {0.0,   0.5, -1.5, 1e308, -1e308, 1e19, 9007199254740992.0,
                                    1e-300};

    switch (below(g, 4)) {
    case 0:
        value_put_double(&g->w, floats[below(g, EG_COUNTOF(floats))]);
        return;
    case 1:
        value_put_u64(&g->w, UINT64_MAX - below(g, 3));
        return;
    default:
        value_put_i64(&g->w, edges[below(g, EG_COUNTOF(edges))]);
    }
}

static void edge_term(struct gen *g) {
    switch (below(g, 4)) {
    case 0:
        op(g, PICK(g, "-", "+", "abs", "bnot", "round", "trunc", "float", "is_integer"), 1);
        edge_number(g);
        return;
    case 1:
        op(g, PICK(g, "bsl", "bsr"), 2);
        edge_number(g);
        value_put_i64(&g->w, (int64_t) below(g, 140) - 70);
        return;
    default:
        op(g,
           PICK(g, "+", "-", "*", "/", "div", "rem", "band", "bor", "bxor", "==", "<", "=<",
                "=:=", ">"),
           2);
        edge_number(g);
        edge_number(g);
    }
}

/* ---- specifications ---------------------------------------------------------------------- */

static void head_column(struct gen *g, unsigned column) {
    enum type type = column_type[column];

    switch (below(g, 10)) {
    case 0:
        if (type == T_NUMBER || type == T_MAP)
            break;
        put_value(g, type);
        return;
    case 1:
        if (column == 1 && g->bound[1]) {
            variable(g, 1);
            return;
        }
        break;
    case 2:
    case 3:
        if (type == T_ARRAY) {
            value_put_array(&g->w, 2);
            variable(g, VARIABLE_INNER);
            variable(g, VARIABLE_INNER + 1);
            g->bound[VARIABLE_INNER] = true;
            return;
        }
        break;
    case 4:
        value_put_text(&g->w, "_");
        return;
    default:
        break;
    }
    variable(g, column + 1);
    g->bound[column + 1] = true;
}

static void body_term(struct gen *g) {
    switch (below(g, 10)) {
    case 0:
        value_put_text(&g->w, "$_");
        return;
    case 1:
        value_put_text(&g->w, "$$");
        return;
    case 2:
    case 3:
        edge_term(g);
        return;
    default:
        term(g, (enum type) below(g, TYPES), 3);
    }
}

static void clause(struct gen *g) {
    uint32_t guards = (uint32_t) below(g, 3);
    uint32_t bodies = one_in(g, 8) ? 2 : 1;

    memset(g->bound, 0, sizeof g->bound);
    value_put_array(&g->w, 3);
    value_put_array(&g->w, COLUMNS);
    for (unsigned i = 0; i < COLUMNS; i++)
        head_column(g, i);
    g->in_body = false;
    value_put_array(&g->w, guards);
    while (guards-- > 0)
        argument(g, T_BOOL, 3);
    g->in_body = true;
    value_put_array(&g->w, bodies);
    while (bodies-- > 0) {
        if (one_in(g, 200))
            variable(g, 77); /* which is nowhere */
        else
            body_term(g);
    }
}

/* [mode, spec, [record, ...]] */
static struct value draw_case(uint64_t seed, bool planted, uint8_t *buffer) {
    struct gen g = {.r = rng_of(seed), .planted = planted};
    uint32_t clauses;

    g.w = value_writer_init(buffer, CASE_BYTES);
    g.lists = one_in(&g, 2);
    value_put_array(&g.w, 3);
    value_put_u64(&g.w, !g.lists);
    clauses = 1 + (uint32_t) below(&g, 3);
    value_put_array(&g.w, clauses);
    while (clauses-- > 0)
        clause(&g);
    value_put_array(&g.w, RECORDS);
    for (int i = 0; i < RECORDS; i++) {
        value_put_array(&g.w, COLUMNS);
        for (unsigned column = 0; column < COLUMNS; column++)
            put_value(&g, column_type[column]);
    }
    cr_assert(!g.w.overflow);
    return (struct value){buffer, (uint32_t) g.w.need_bytes};
}

/* ---- comparing ---------------------------------------------------------------------------------
 */

static bool same(struct value a, struct value b);

static bool same_map(struct value a, struct value b) {
    struct value_iter x = value_iter_of(a);
    struct value key;
    struct value v;
    struct value other_key;
    struct value other;

    while (value_iter_next(&x, &key) && value_iter_next(&x, &v)) {
        struct value_iter y = value_iter_of(b);
        bool found = false;
        while (value_iter_next(&y, &other_key) && value_iter_next(&y, &other))
            found = found || (same(key, other_key) && same(v, other));
        if (!found)
            return false;
    }
    return value_count(a) == value_count(b);
}

static bool same(struct value a, struct value b) {
    struct value_iter x;
    struct value_iter y;
    struct value v;
    struct value w;

    if (value_kind_of(a) != value_kind_of(b) || value_is_float(a) != value_is_float(b))
        return false;
    if (value_kind_of(a) == VALUE_MAP)
        return same_map(a, b);
    if (value_kind_of(a) != VALUE_ARRAY)
        return value_equal(a, b);
    x = value_iter_of(a);
    y = value_iter_of(b);
    while (value_iter_next(&x, &v))
        if (!value_iter_next(&y, &w) || !same(v, w))
            return false;
    return !value_iter_next(&y, &w);
}

struct tally {
    unsigned compared, matched, failed_calls, refused, wrong;
};

static void complain(uint64_t seed, struct value spec, struct value record, struct value want,
                     struct buffer *got, bool matched) {
    static char text[4][8192];

    cr_log_error("EG_SEED=%" PRIu64 "\n  spec   %s\n  record %s\n  ETS    %s\n  ours   %s", seed,
                 value_text(spec, text[0], sizeof text[0]),
                 value_text(record, text[1], sizeof text[1]),
                 value_text(want, text[2], sizeof text[2]),
                 !matched ? "no match"
                          : value_text((struct value){got->at, (uint32_t) got->size_bytes}, text[3],
                                       sizeof text[3]));
}

/* Where few values are known of the field, it has one of them. */
static bool is_point(const struct predicate *p, uint32_t position, struct value v) {
    struct domain d;

    if (!predicate_domain(p, position, &d) || !d.few)
        return true;
    for (uint32_t i = 0; i < d.point_count; i++)
        if (value_equal(d.point[i], v))
            return true;
    return false;
}

/* What the program says of a field is so of every record that matches. */
static bool lies_in_ranges(const struct predicate *p, struct value record) {
    struct value_iter it = value_iter_of(record);
    struct range range;
    struct value v;

    for (uint32_t i = 0; value_iter_next(&it, &v); i++)
        if (!is_point(p, i, v) || (predicate_range(p, i, &range) && !range_holds(&range, v)))
            return false;
    return true;
}

static void check_records(uint64_t seed, const struct predicate *p, struct value spec,
                          struct value records, struct value answers, struct tally *t, bool quiet) {
    struct value_iter record_it = value_iter_of(records);
    struct value_iter answer_it = value_iter_of(answers);
    struct predicate_machine m;
    struct value record;
    struct value answer;
    struct value want;
    struct buffer out;
    bool matched;

    predicate_machine_init(&m, alloc_system());
    buffer_init(&out, alloc_system(), 1 << 20);
    while (value_iter_next(&record_it, &record) && value_iter_next(&answer_it, &answer)) {
        struct value_iter it = value_iter_of(answer);
        bool ok;
        buffer_clear(&out);
        cr_assert_eq(predicate_run(&m, p, record, &out, &matched), EG_OK);
        ok = matched == (value_count(answer) == 1);
        if (ok && value_iter_next(&it, &want))
            ok = same((struct value){out.at, (uint32_t) out.size_bytes}, want);
        cr_assert(!matched || lies_in_ranges(p, record), "EG_SEED=%" PRIu64, seed);
        t->compared++;
        t->matched += matched;
        t->failed_calls += matched && value_is_string((struct value){out.at, 5}, "EXIT");
        t->wrong += !ok;
        if (!ok && !quiet)
            complain(seed, spec, record, answer, &out, matched);
    }
    buffer_fini(&out);
    predicate_machine_fini(&m);
}

static void check_case(uint64_t seed, bool planted, struct value answer, struct tally *t,
                       bool quiet) {
    static uint8_t buffer[CASE_BYTES];
    struct value_iter it = value_iter_of(draw_case(seed, planted, buffer));
    struct predicate *p = NULL;
    struct err_note note = {""};
    struct value part[3];
    eg_err err;

    for (int i = 0; value_iter_next(&it, &part[i]); i++)
        ;
    err = predicate_open(&p, alloc_system(), part[1], COLUMNS, &note);
    if (err == EG_OK && value_kind_of(answer) == VALUE_ARRAY) {
        check_records(seed, p, part[1], part[2], answer, t, quiet);
    } else {
        t->refused++;
        t->wrong += (err == EG_BAD_REQUEST) != value_is_string(answer, "badarg");
        if ((err == EG_BAD_REQUEST) != value_is_string(answer, "badarg") && !quiet)
            complain(seed, part[1], part[2], answer, NULL, false);
    }
    predicate_close(p);
}

/* ---- the oracle
 * ----------------------------------------------------------------------------------- */

static FILE *open_in(const char *dir, const char *name, const char *mode) {
    char path[256];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, mode);
    cr_assert_not_null(file, "%s", path);
    return file;
}

/* All answers, one behind the other. */
static struct value ask_ets(uint64_t seed, unsigned cases) {
    static uint8_t buffer[CASE_BYTES];
    static uint8_t answers[64 << 20];
    char dir[] = "/tmp/engram-ets-XXXXXX";
    char command[1024];
    FILE *file;
    size_t bytes;

    cr_assert_not_null(mkdtemp(dir));
    file = open_in(dir, "cases", "wb");
    for (unsigned i = 0; i < cases; i++) {
        struct value v = draw_case(seed + i, false, buffer);
        cr_assert_eq(fwrite(v.at, 1, v.size_bytes, file), v.size_bytes);
    }
    fclose(file);
    snprintf(command, sizeof command,
             "escript %s/tests/support/ets_oracle.escript %s/cases %s/answers", EG_SOURCE_DIR, dir,
             dir);
    cr_assert_eq(system(command), 0, "%s", command);
    file = open_in(dir, "answers", "rb");
    bytes = fread(answers, 1, sizeof answers, file);
    fclose(file);
    cr_assert_lt(bytes, sizeof answers);
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
    return (struct value){answers, (uint32_t) bytes};
}

static struct tally compare_with_ets(uint64_t seed, unsigned cases, bool planted) {
    struct tally t = {0};
    struct value answers;

    if (system("command -v escript >/dev/null") != 0)
        cr_skip_test("escript is not installed");
    answers = ask_ets(seed, cases);
    for (unsigned i = 0; i < cases; i++) {
        size_t used_bytes = 0;
        cr_assert_eq(value_scan(answers.at, answers.size_bytes, &used_bytes), EG_OK);
        check_case(seed + i, planted, (struct value){answers.at, (uint32_t) used_bytes}, &t,
                   planted || t.wrong > 5);
        answers.at += used_bytes;
        answers.size_bytes -= (uint32_t) used_bytes;
    }
    fprintf(stderr, "# %u compared, %u matched, %u EXIT, %u specifications refused, %u wrong\n",
            t.compared, t.matched, t.failed_calls, t.refused, t.wrong);
    return t;
}

Test(predicate_ets, answers_are_those_of_ETS, .timeout = 240) {
    uint64_t seed = rng_test_seed(SEED);
    struct tally t = compare_with_ets(seed, rng_is_replay() ? 1 : CASES, false);

    cr_assert_eq(t.wrong, 0u);
}

Test(predicate_ets, a_wrong_operator_is_noticed, .timeout = 240) {
    struct tally t = compare_with_ets(SEED, 300, true);

    cr_assert_gt(t.wrong, 0u);
}
