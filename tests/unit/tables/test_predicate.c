/* test_predicate.c -- match specifications mean what ETS's mean; text's trees what SQL's. */
#include "tables/predicate.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(predicate, .timeout = 240);

/* "no" where it does not match, else the result. */
static const char *run(const char *spec_text, const char *record_text) {
    static uint8_t spec_bytes[65536];
    static uint8_t record_bytes[65536];
    static char text[65536];
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    struct value spec = text_value(spec_bytes, sizeof spec_bytes, spec_text);
    struct value record = text_value(record_bytes, sizeof record_bytes, record_text);
    struct predicate_machine m;
    struct err_note note = {""};
    struct predicate *p = NULL;
    struct buffer out;
    bool matched;
    eg_err err;

    err = predicate_open(&p, &memory.base, spec, value_count(record), &note);
    if (err != EG_OK) {
        snprintf(text, sizeof text, "%s: %s", eg_err_wire(err), note.text);
        cr_assert_eq(memory.live, 0);
        return text;
    }
    predicate_machine_init(&m, &memory.base);
    buffer_init(&out, &memory.base, 1 << 20);
    err = predicate_run(&m, p, record, &out, &matched);
    if (err != EG_OK)
        strcpy(text, eg_err_wire(err));
    else if (!matched)
        strcpy(text, "no");
    else
        value_text((struct value){out.at, (uint32_t) out.size_bytes}, text, sizeof text);
    buffer_fini(&out);
    predicate_machine_fini(&m);
    predicate_close(p);
    cr_assert_eq(memory.live, 0);
    return text;
}

/* The last body term, over the record [1, 'anna', 31, [1, 2, 3], {'a': 5}, nil, true, 2.5]. */
static const char *body(const char *term) {
    char spec[4096];

    snprintf(spec, sizeof spec, "[[['$1','$2','$3','$4','$5','$6','$7','$8'], [], [%s]]]", term);
    return run(spec, "[1, 'anna', 31, [1, 2, 3], {'a': 5}, nil, true, 2.5]");
}

static const char *guard(const char *term) {
    char spec[4096];

    snprintf(spec, sizeof spec, "[[['$1','$2','$3','$4','$5','$6','$7','$8'], [%s], ['yes']]]",
             term);
    return run(spec, "[1, 'anna', 31, [1, 2, 3], {'a': 5}, nil, true, 2.5]");
}

#define IS(got, want)                                                                              \
    do {                                                                                           \
        const char *got_ = (got);                                                                  \
        cr_expect_str_eq(got_, (want), "%s: %s, not %s", #got, got_, (want));                      \
    } while (0)

Test(predicate, heads_match_by_value) {
    IS(run("[[['_','_'],[],['$_']]]", "[1, 2]"), "[1, 2]");
    IS(run("[[['_', 7],[],['$_']]]", "[1, 7.0]"), "[1, 7.0]");
    IS(run("[[['_', 7],[],['$_']]]", "[1, 8]"), "no");
    IS(run("[[['$1', '$1'],[],['$1']]]", "[3, 3.0]"), "3");
    IS(run("[[['$1', '$1'],[],['$1']]]", "[3, 4]"), "no");
    IS(run("[[['_', ['$1', [2, '$2']]],[],[[['$2', '$1']]]]]", "[1, ['x', [2, 'y']]]"),
       "['y', 'x']");
    IS(run("[[['_', ['$1', [2, '$2']]],[],['$2']]]", "[1, ['x', [3, 'y']]]"), "no");
    IS(run("[[['_', ['$1', '_']],[],['$1']]]", "[1, ['x', 2, 3]]"), "no");
    IS(run("[[['_', ['$1', '_']],[],['$1']]]", "[1, 5]"), "no");
    IS(run("[[['_', {'a': '_'}],[],['$_']]]", "[1, {'a': 5}]"), "no");
    IS(run("[[['_', {'a': '_'}],[],[1]]]", "[1, {'a': '_'}]"), "1");
    IS(run("[['$1',[],['$1']]]", "[1, 2]"), "[1, 2]");
    IS(run("[['_',[],['$$']]]", "[1, 2]"), "[]");
    IS(run("[[['$20', '$3'],[],['$$']]]", "[1, 2]"), "[2, 1]");
    IS(run("[[['$01', '_'],[],[1]]]", "[1, 2]"), "no");
    IS(run("[[['$1', []],[],['$1']]]", "[1, []]"), "1");
}

Test(predicate, the_first_clause_that_matches_answers) {
    const char *spec = "[[['$1','_'],[['>','$1',10]],['big']], [['$1','_'],[['<','$1',0]],"
                       "['small']], [[5,'_'],[],['five']]]";
    IS(run(spec, "[11, 0]"), "'big'");
    IS(run(spec, "[-1, 0]"), "'small'");
    IS(run(spec, "[5, 0]"), "'five'");
    IS(run(spec, "[6, 0]"), "no");
}

Test(predicate, guards_are_anded_and_need_true) {
    IS(guard("['>', '$3', 30]"), "'yes'");
    IS(guard("['>', '$3', 30], ['<', '$3', 31]"), "no");
    IS(guard("'$7'"), "'yes'");
    IS(guard("'$3'"), "no");
    IS(guard("5"), "no");
    IS(guard("['hd', []]"), "bad_request: clause 1: an array begins with an operator; [[a, b]] "
                            "makes an array, [\"const\", x] quotes");
    IS(guard("['hd', ['const', []]]"), "no");
    IS(guard("['orelse', ['>', '$3', 40], ['==', '$2', 'anna']]"), "'yes'");
    IS(guard("['or', ['>', '$3', 40], ['==', '$2', 'anna']]"), "'yes'");
    IS(guard("['or', true, ['hd', '$1']]"), "no");
    IS(guard("['orelse', true, ['hd', '$1']]"), "'yes'");
    IS(guard("['andalso', true, 5]"), "no");
    IS(guard("['not', ['is_nil', '$6']]"), "no");
    IS(guard("['is_nil', '$6']"), "'yes'");
    IS(guard("['>', ['div', '$3', 0], 1]"), "no");
    IS(guard("['and', ['is_map', '$5'], ['is_list', '$4'], ['is_string', '$2']]"), "'yes'");
}

Test(predicate, comparisons_use_the_total_order) {
    IS(body("['==', 2, 2.0]"), "true");
    IS(body("['=:=', 2, 2.0]"), "false");
    IS(body("['=/=', 2, 2.0]"), "true");
    IS(body("['=:=', ['const', [1, {'a': 2, 'b': 3}]], ['const', [1, {'b': 3, 'a': 2}]]]"), "true");
    IS(body("['=:=', ['const', [1, {'a': 2, 'b': 3}]], ['const', [1, {'b': 3, 'a': 2.0}]]]"),
       "false");
    IS(body("['/=', 1, 2]"), "true");
    IS(body("['!=', 1, 2]"), "true");
    IS(body("['=<', 'a', 'a']"), "true");
    IS(body("['<=', 'b', 'a']"), "false");
    IS(body("['<', 5, 'a']"), "true");
    IS(body("['<', nil, false]"), "true");
    IS(body("['>=', 18446744073709551615, 9223372036854775807]"), "true");
    IS(body("['<', 9007199254740993, 9007199254740992.0]"), "false");
    IS(body("['min', 2, 2.0]"), "2");
    IS(body("['max', 'x', 3]"), "'x'");
}

Test(predicate, arithmetic_is_exact_or_fails) {
    IS(body("['+', 9223372036854775807, 1]"), "9223372036854775808");
    IS(body("['+', 18446744073709551615, 1]"), "'EXIT'");
    IS(body("['-', 0, 9223372036854775808]"), "-9223372036854775808");
    IS(body("['-', -9223372036854775808, 1]"), "'EXIT'");
    IS(body("['-', -9223372036854775808]"), "9223372036854775808");
    IS(body("['-', 5]"), "-5");
    IS(body("['+', '$2']"), "'EXIT'");
    IS(body("['*', 4294967296, 4294967296]"), "'EXIT'");
    IS(body("['*', -4294967296, 2147483648]"), "-9223372036854775808");
    IS(body("['/', 6, 2]"), "3.0");
    IS(body("['/', 6, 0]"), "'EXIT'");
    IS(body("['*', 1e308, 10]"), "'EXIT'");
    IS(body("['div', -7, 2]"), "-3");
    IS(body("['rem', -7, 2]"), "-1");
    IS(body("['rem', 7.0, 2]"), "'EXIT'");
    IS(body("['div', -9223372036854775808, -1]"), "9223372036854775808");
    IS(body("['band', -1, 18446744073709551615]"), "18446744073709551615");
    IS(body("['bor', -256, 15]"), "-241");
    IS(body("['bxor', 6, 3]"), "5");
    IS(body("['bnot', 0]"), "-1");
    IS(body("['bnot', 18446744073709551615]"), "'EXIT'");
    IS(body("['bsl', 1, 63]"), "9223372036854775808");
    IS(body("['bsl', 1, 64]"), "'EXIT'");
    IS(body("['bsl', 0, 100000000]"), "0");
    IS(body("['bsl', -1, 63]"), "-9223372036854775808");
    IS(body("['bsl', 5, -1]"), "2");
    IS(body("['bsr', -5, 1]"), "-3");
    IS(body("['bsr', -5, 100]"), "-1");
    IS(body("['round', -2.5]"), "-3");
    IS(body("['floor', -2.5]"), "-3");
    IS(body("['ceil', -2.5]"), "-2");
    IS(body("['trunc', 1e19]"), "10000000000000000000");
    IS(body("['trunc', 1e20]"), "'EXIT'");
    IS(body("['abs', -9223372036854775808]"), "9223372036854775808");
    IS(body("['float', 3]"), "3.0");
}

Test(predicate, functions_look_into_values) {
    IS(body("['hd', '$4']"), "1");
    IS(body("['tl', '$4']"), "[2, 3]");
    IS(body("['tl', ['tl', ['tl', '$4']]]"), "[]");
    IS(body("['tl', ['tl', ['tl', ['tl', '$4']]]]"), "'EXIT'");
    IS(body("['hd', ['tl', '$4']]"), "2");
    IS(body("['element', 3, '$4']"), "3");
    IS(body("['element', 4, '$4']"), "'EXIT'");
    IS(body("['element', 0, '$4']"), "'EXIT'");
    IS(body("['length', '$4']"), "3");
    IS(body("['size', '$2']"), "4");
    IS(body("['byte_size', '$2']"), "4");
    IS(body("['bit_size', '$2']"), "32");
    IS(body("['map_size', '$5']"), "1");
    IS(body("['map_get', 'a', '$5']"), "5");
    IS(body("['map_get', 'b', '$5']"), "'EXIT'");
    IS(body("['is_map_key', 'b', '$5']"), "false");
    IS(body("['is_map_key', 'b', '$4']"), "'EXIT'");
    IS(body("['binary_part', '$2', 1, 2]"), "'nn'");
    IS(body("['binary_part', '$2', 4, -2]"), "'na'");
    IS(body("['binary_part', '$2', 3, 2]"), "'EXIT'");
    IS(body("['binary_part', ['const', b'xyz'], 0, 3]"), "b'xyz'");
}

Test(predicate, bodies_build_values_and_failures_are_EXIT) {
    IS(body("'$_'"), "[1, 'anna', 31, [1, 2, 3], {'a': 5}, nil, true, 2.5]");
    IS(body("'$$'"), "[1, 'anna', 31, [1, 2, 3], {'a': 5}, nil, true, 2.5]");
    IS(body("['const', ['$1', '$_']]"), "['$1', '$_']");
    IS(body("[['$1', ['hd', '$1'], 'x']]"), "[1, 'EXIT', 'x']");
    IS(body("['is_string', ['hd', '$1']]"), "true");
    IS(body("['+', ['hd', '$1'], 1]"), "'EXIT'");
    IS(body("['andalso', 5, true]"), "'EXIT'");
    IS(body("['andalso', true, 5]"), "5");
    IS(body("['andalso', true, true, 7, false]"), "'EXIT'");
    IS(body("['orelse', false, 5]"), "5");
    IS(body("['orelse', ['hd', '$1'], true]"), "'EXIT'");
    IS(body("['andalso', false, ['hd', '$1']]"), "false");
    IS(body("['and', true]"), "true");
    IS(body("['and', 3]"), "'EXIT'");
    IS(body("['or', true, true, 5]"), "'EXIT'");
    IS(body("['xor', true, false]"), "true");
    IS(body("{'name': '$2', 'next': ['+', '$3', 1], 'in': [['$1']]}"),
       "{'name': 'anna', 'next': 32, 'in': [1]}");
    IS(body("[[]]"), "[]");
    IS(body("[[[[]]]]"), "[[]]");
    IS(body("1, 2, '$3'"), "31");
    IS(body("'plain'"), "'plain'");
}

Test(predicate, what_is_wrong_is_said) {
    IS(run("5", "[1]"), "bad_request: a match specification is an array of [head, guards, body]");
    IS(run("[]", "[1]"), "bad_request: a match specification is an array of [head, guards, body]");
    IS(run("[[['_'],[]]]", "[1]"), "bad_request: clause 1: a clause is [head, guards, body]");
    IS(run("[[['_','_'],[],[1]]]", "[1]"),
       "bad_request: clause 1: the head has 2 elements, the table 1 attributes");
    IS(run("[[['_'],[],[]]]", "[1]"),
       "bad_request: clause 1: the body is an array of at least one term");
    IS(run("[[['_'],[],[1]], [['_'],[],['$2']]]", "[1]"),
       "bad_request: clause 2: $2 is not in the head");
    IS(body("['foo', 1]"), "bad_request: clause 1: unknown operator 'foo'");
    IS(body("['hd']"), "bad_request: clause 1: 'hd' takes 1 argument, not 0");
    IS(body("['>', 1]"), "bad_request: clause 1: '>' takes 2 arguments, not 1");
    IS(body("['+', 1, 2, 3]"), "bad_request: clause 1: '+' cannot take 3 arguments");
    IS(body("['const']"), "bad_request: clause 1: 'const' takes 1 argument, not 0");
    IS(body("['foo', 1], 2"), "bad_request: clause 1: unknown operator 'foo'");
    IS(run("[[['_'],5,[1]]]", "[1]"), "bad_request: clause 1: the guards are an array");
    IS(run("[[5,[],[1]]]", "[1]"),
       "bad_request: clause 1: the head is an array, a variable or \"_\"");
}
