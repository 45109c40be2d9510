/* Erlang's terms become MessagePack, or it is said why not. */
#include "tools/etf.h"

#include <criterion/criterion.h>
#include <string.h>

static struct pack out;

static void setup(void) {
    pack_init(&out, alloc_system());
}

static void teardown(void) {
    pack_fini(&out);
}

TestSuite(etf, .init = setup, .fini = teardown, .timeout = 240);

static eg_err read_term(const char *at, size_t size_bytes, bool characters) {
    struct err_note note = {""};
    struct etf e = {(const uint8_t *) at, (const uint8_t *) at + size_bytes, characters};
    eg_err err;

    pack_clear(&out);
    out.failed = false;
    err = etf_read(&e, &out, &note);
    cr_assert(err != EG_OK || e.at == e.end);
    cr_assert(err == EG_OK || note.text[0] != '\0');
    return err;
}

#define TERM(s) (s), sizeof(s) - 1

static void becomes(const char *packed, size_t size_bytes) {
    cr_assert_eq(out.bytes.size_bytes, size_bytes);
    cr_assert_arr_eq(out.bytes.at, packed, size_bytes);
}

/* Terms of every kind that there is something like, one in the other. */
static const char NESTED[] = "h\6"
                             "l\0\0\0\2a\1jj"           /* [1, []] is not text      */
                             "t\0\0\0\1s\1am\0\0\0\2hi" /* #{a => <<"hi">>}         */
                             "n\4\1\0\0\0\x80"          /* -2^31                    */
                             "F?\xf8\0\0\0\0\0\0"       /* 1.5                      */
                             "k\0\2AB"                  /* "AB"                     */
                             "w\2\xc3\xa4";             /* the atom of one umlaut   */

Test(etf, terms_become_what_is_most_like_them) {
    cr_assert_eq(read_term(TERM(NESTED), true), EG_OK);
    becomes(TERM("\x96\x92\1\x90\x81\xa1"
                 "a\xa2hi\xd2\x80\0\0\0\xcb?\xf8\0\0\0\0\0\0\xa2"
                 "AB\xa2\xc3\xa4"));
    cr_assert_eq(read_term(TERM("k\0\2AB"), false), EG_OK);
    becomes(TERM("\x92"
                 "AB"));
    cr_assert_eq(read_term(TERM("l\0\0\0\2b\0\0\3\xa9"
                                "a!j"),
                           true),
                 EG_OK);
    becomes(TERM("\xa3\xce\xa9!"));
    cr_assert_eq(read_term(TERM("s\4true"), true), EG_OK);
    becomes(TERM("\xc3"));
    cr_assert_eq(read_term(TERM("d\0\x9undefined"), true), EG_OK);
    becomes(TERM("\xc0"));
    cr_assert_eq(read_term(TERM("s\1\xe4"), true), EG_OK); /* Latin 1 */
    becomes(TERM("\xa2\xc3\xa4"));
    cr_assert_eq(read_term(TERM("m\0\0\0\1\xff"), true), EG_OK);
    becomes(TERM("\xc4\1\xff"));
    cr_assert_eq(read_term(TERM("n\x8\0\xff\xff\xff\xff\xff\xff\xff\xff"), true), EG_OK);
    becomes(TERM("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"));
    cr_assert_eq(read_term(TERM("n\x8\1\0\0\0\0\0\0\0\x80"), true), EG_OK);
    becomes(TERM("\xd3\x80\0\0\0\0\0\0\0"));
}

Test(etf, what_means_nothing_here_is_refused_and_told) {
    cr_assert_eq(read_term(TERM("n\x9\0\0\0\0\0\0\0\0\0\1"), true), EG_BAD_RECORD);
    cr_assert_eq(read_term(TERM("n\x8\1\1\0\0\0\0\0\0\x80"), true), EG_BAD_RECORD);
    cr_assert_eq(read_term(TERM("l\0\0\0\1a\1a\2"), true), EG_BAD_RECORD);
    cr_assert_eq(read_term(TERM("X"), true), EG_BAD_RECORD);
    cr_assert_eq(read_term(TERM("Z"), true), EG_BAD_RECORD);
    cr_assert_eq(read_term(TERM("p"), true), EG_BAD_RECORD);
    cr_assert_eq(read_term(TERM("M\0\0\0\1\3\xe0"), true), EG_BAD_RECORD);
}

Test(etf, a_term_cut_at_any_byte_is_damaged) {
    for (size_t cut = 0; cut < sizeof NESTED - 1; cut++)
        cr_assert_eq(read_term(NESTED, cut, true), EG_CORRUPT, "cut at %zu", cut);
}

Test(etf, sizes_that_claim_more_than_there_is_are_damaged) {
    static const char *const tags[] = {"l", "i", "t", "m", "o"};

    for (size_t i = 0; i < EG_COUNTOF(tags); i++) {
        char term[16] = {tags[i][0], (char) 0xff, (char) 0xff, (char) 0xff, (char) 0xff, 'j'};
        cr_assert_eq(read_term(term, sizeof term, true), EG_CORRUPT, "%s", tags[i]);
    }
    cr_assert_eq(read_term(TERM("\1"), true), EG_CORRUPT);
    cr_assert_eq(read_term(TERM("w\1\xff"), true), EG_CORRUPT); /* no UTF-8 */
    cr_assert_eq(read_term(TERM("F\x7f\xf0\0\0\0\0\0\0"), true), EG_CORRUPT);
}

Test(etf, nesting_has_a_bound) {
    char deep[2 * 100];

    for (size_t i = 0; i < sizeof deep; i += 2) {
        deep[i] = 'h';
        deep[i + 1] = 1;
    }
    cr_assert_eq(read_term(deep, sizeof deep, true), EG_TOO_LARGE);
    deep[2 * 60] = 'j';
    cr_assert_eq(read_term(deep, 2 * 60 + 1, true), EG_OK);
}
