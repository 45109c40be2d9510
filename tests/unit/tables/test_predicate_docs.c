/* test_predicate_docs.c -- the examples in docs/match-specifications.md are true. */
#include "tables/predicate.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(predicate_docs, .timeout = 240);

enum { LINE_BYTES = 2048 };

/* What the specification says of the record, in the words of the page. */
static const char *answer(const char *spec_text, const char *record_text) {
    static uint8_t spec[LINE_BYTES];
    static uint8_t record[LINE_BYTES];
    static char text[LINE_BYTES];
    struct value v = text_value(record, sizeof record, record_text);
    struct predicate_machine m;
    struct predicate *p = NULL;
    struct err_note note;
    struct buffer out;
    bool matched;
    eg_err err = predicate_open(&p, alloc_system(), text_value(spec, sizeof spec, spec_text),
                                value_count(v), &note);

    if (err != EG_OK) {
        snprintf(text, sizeof text, "%s: %s", eg_err_wire(err), note.text);
        return text;
    }
    predicate_machine_init(&m, alloc_system());
    buffer_init(&out, alloc_system(), 1 << 20);
    cr_assert_eq(predicate_run(&m, p, v, &out, &matched), EG_OK);
    if (matched)
        value_text((struct value){out.at, (uint32_t) out.size_bytes}, text, sizeof text);
    else
        strcpy(text, "nothing");
    buffer_fini(&out);
    predicate_machine_fini(&m);
    predicate_close(p);
    return text;
}

/* The page's JSON in the notation of value_text(). */
static const char *normal(const char *gives) {
    static uint8_t bytes[LINE_BYTES];
    static char text[LINE_BYTES];

    if (strchr("[{\"-0123456789", gives[0]) == NULL && strcmp(gives, "true") != 0)
        return gives;
    return value_text(text_value(bytes, sizeof bytes, gives), text, sizeof text);
}

Test(predicate_docs, every_example_is_true) {
    static char line[LINE_BYTES];
    static char record[LINE_BYTES];
    static char spec[LINE_BYTES];
    FILE *page = fopen(EG_SOURCE_DIR "/docs/match-specifications.md", "r");
    unsigned examples = 0;

    cr_assert_not_null(page);
    while (fgets(line, sizeof line, page) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "record  ", 8) == 0)
            strcpy(record, line + 8);
        if (strncmp(line, "select  ", 8) == 0)
            strcpy(spec, line + 8);
        if (strncmp(line, "gives   ", 8) == 0) {
            const char *got = answer(spec, record);
            cr_expect_str_eq(got, normal(line + 8), "%s\n gives %s\n not   %s", spec, got,
                             line + 8);
            examples++;
        }
    }
    fclose(page);
    cr_assert_gt(examples, 15u);
}
