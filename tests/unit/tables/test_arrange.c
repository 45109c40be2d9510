/* What nodes have agreed on is done to every record, whatever it is. */
#include "tables/arrange.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <string.h>

struct place {
    struct schema old;
    struct alter x;
    struct err_note note;
};

static eg_err open_place(struct place *p, const char *arrangement) {
    uint8_t bytes[512], change[1024];
    struct value options =
        text_value(bytes, sizeof bytes, "{'id': 5, 'seed': 6, 'attributes': ['k', 'a', 'b']}");
    eg_err err;

    cr_assert_eq(schema_parse(&p->old, alloc_system(), "t", 1, options, &p->note), EG_OK);
    err = arrange_open(&p->x, alloc_system(), &p->old,
                       text_value(change, sizeof change, arrangement), &p->note);
    if (err != EG_OK)
        schema_fini(&p->old);
    return err;
}

static void close_place(struct place *p) {
    alter_close(&p->x);
    schema_fini(&p->old);
}

static void becomes(struct place *p, const char *old, const char *expected) {
    uint8_t bytes[256];
    char text[256];
    struct conversion_room room;
    struct value fresh;

    conversion_room_init(&room, alloc_system());
    cr_assert_eq(conversion_run(&p->x.conversion, &room, text_value(bytes, sizeof bytes, old),
                                &fresh, &p->note),
                 EG_OK);
    cr_assert_str_eq(value_text(fresh, text, sizeof text), expected);
    conversion_room_fini(&room);
}

#define SCHEMA(attributes) "{'id': 5, 'seed': 6, 'layout': 9, 'attributes': " attributes "}"

Test(arrange, fields_come_from_where_they_are) {
    struct place p;

    cr_assert_eq(open_place(&p,
                            "['t@n', " SCHEMA("['k', 'b', 'c', 'a']") ", [[0], [2], [nil, 7], "
                                                                      "[1, 'was', 'is']], nil]"),
                 EG_OK);
    cr_assert_str_eq(p.x.schema->name.text, "t@n");
    cr_assert_eq(p.x.schema->layout, 9);
    cr_assert_gt(p.x.schema->version, p.old.version);
    becomes(&p, "[1, 'x', 2]", "[1, 2, 7, 'x']");
    becomes(&p, "[1, 'was', 2]", "[1, 2, 7, 'is']");
    close_place(&p);
}

Test(arrange, a_transformation_runs_on_what_the_record_was_before) {
    struct place p;

    cr_assert_eq(
        open_place(
            &p, "['t', " SCHEMA(
                    "['k', 'n', 'b']") ", [[0], [1], [4098]], "
                                       "[[[['$1', '$2'], [], [[['$1', ['+', '$2', 1]]]]]], 2, 2]]"),
        EG_OK);
    becomes(&p, "[1, 10, 'b']", "[1, 11, 'b']");
    becomes(&p, "[1, 'no number', 'b']", "[1, 'no number', 'b']"); /* it is decided */
    close_place(&p);
}

Test(arrange, a_name_alone_leaves_records_as_they_are) {
    struct place p;

    cr_assert_eq(open_place(&p, "['u', " SCHEMA("['k', 'a', 'b']") ", nil, nil]"), EG_OK);
    becomes(&p, "[1, 2, 3]", "[1, 2, 3]");
    close_place(&p);
}

Test(arrange, what_makes_no_sense_is_refused) {
    static const char *const texts[] = {
        "nil",
        "[]",
        "['t', 1, nil, nil]",
        "['t', {'id': 4, 'seed': 6}, nil, nil]", /* another table */
        "['t', {'id': 5, 'seed': 6, 'type': 'bag'}, nil, nil]",
        "['t', " SCHEMA("['k', 'a']") ", [[0]], nil]",
        "['t', " SCHEMA("['k', 'a']") ", [[1], [0]], nil]",
        "['t', " SCHEMA("['k', 'a']") ", [[0], [3]], nil]",
        "['t', " SCHEMA("['k', 'a']") ", [[0], [4097]], nil]",
        "['t', " SCHEMA("['k', 'a']") ", [[0], [1, 2, 3, 4]], nil]",
        "['t', " SCHEMA("['k', 'a']") ", [[0], [1]], [1]]",
        "['t', " SCHEMA("['k', 'a']") ", [[0], [1]], [[], 4, 2]]",
    };
    struct place p;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        cr_assert_eq(open_place(&p, texts[i]), EG_BAD_REQUEST, "%s", texts[i]);
}
