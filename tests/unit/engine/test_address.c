/* test_address.c -- addresses are taken apart, and what is none is refused with a reason. */
#include "engine/address.h"

#include <criterion/criterion.h>
#include <string.h>

Test(address, forms_are_told_apart) {
    struct address a;

    cr_assert_eq(address_parse("127.0.0.1:7340", &a, NULL), EG_OK);
    cr_assert(!a.local);
    cr_assert_str_eq(a.host, "127.0.0.1");
    cr_assert_eq(a.port, 7340);
    cr_assert_eq(address_parse("[::1]:0", &a, NULL), EG_OK);
    cr_assert_str_eq(a.host, "::1");
    cr_assert_eq(a.port, 0);
    cr_assert_eq(address_parse("localhost:65535", &a, NULL), EG_OK);
    cr_assert_eq(a.port, 65535);
    cr_assert_eq(address_parse("unix:/run/engram.sock", &a, NULL), EG_OK);
    cr_assert(a.local);
    cr_assert_str_eq(a.path, "/run/engram.sock");
}

Test(address, what_is_none_is_refused_with_a_note) {
    static const char *const wrong[] = {
        "",        "7340",    "host",     ":7340",    "host:", "host:65536",
        "host:-1", "host:7x", "::1:7340", "host:1:2", "unix:", "host:99999999999",
    };

    for (size_t i = 0; i < EG_COUNTOF(wrong); i++) {
        struct err_note note = {""};
        struct address a;
        cr_assert_eq(address_parse(wrong[i], &a, &note), EG_BAD_REQUEST, "\"%s\"", wrong[i]);
        cr_assert_neq(note.text[0], '\0', "\"%s\"", wrong[i]);
    }
}

Test(address, what_does_not_fit_is_refused_not_cut) {
    char text[512];
    struct address a;

    memset(text, 'h', sizeof text);
    memcpy(text + sizeof text - 4, ":80", 4);
    cr_assert_eq(address_parse(text, &a, NULL), EG_BAD_REQUEST);
    memcpy(text, "unix:", 5);
    cr_assert_eq(address_parse(text, &a, NULL), EG_BAD_REQUEST);
}
