/* test_rows.c -- files become records by name and type, or say which row does not. */
#include "tools/json.h"
#include "tools/rows.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct rows rows;
static struct err_note note;

/* Open `text` as a file. */
static eg_err open_text(const char *text, bool json_lines) {
    char path[] = "/tmp/engram_rows_XXXXXX";
    int fd = mkstemp(path);
    size_t length = strlen(text);
    eg_err err;

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, length), (ssize_t) length);
    close(fd);
    err = rows_open(&rows, alloc_system(), path, json_lines, &note);
    unlink(path);
    return err;
}

static eg_err plan(const char *json_attributes) {
    struct buffer attributes;
    size_t used;
    eg_err err;

    buffer_init(&attributes, alloc_system(), 4096);
    cr_assert_eq(json_parse(json_attributes, strlen(json_attributes), &attributes, &used, &note),
                 EG_OK);
    err = rows_plan(&rows, (struct value){attributes.at, (uint32_t) attributes.size_bytes}, &note);
    buffer_fini(&attributes);
    return err;
}

/* The next row as JSON, or the name of the error. */
static const char *next(void) {
    static char text[512];
    struct pack record;
    struct buffer out;
    eg_err err;

    pack_init(&record, alloc_system());
    buffer_init(&out, alloc_system(), sizeof text - 1);
    err = rows_next(&rows, &record, &note);
    if (err == EG_OK)
        cr_assert_eq(json_print(pack_value(&record), &out), EG_OK);
    snprintf(text, sizeof text, "%.*s", (int) out.size_bytes, (char *) out.at);
    buffer_fini(&out);
    pack_fini(&record);
    return err == EG_OK ? text : eg_err_name(err);
}

TestSuite(rows, .timeout = 240);

Test(rows, columns_go_by_name_and_missing_attributes_are_nil) {
    cr_assert_eq(open_text("b,a\r\n1,x\r\n\r\n2,\"y, z\"", false), EG_OK);
    cr_assert_eq(plan("[\"a\",\"c\",\"b\"]"), EG_OK);
    cr_assert_str_eq(next(), "[\"x\", null, \"1\"]");
    cr_assert_str_eq(next(), "[\"y, z\", null, \"2\"]");
    cr_assert_str_eq(next(), "EG_NOT_FOUND");
    cr_assert_eq(rows_rewind(&rows, &note), EG_OK);
    cr_assert_str_eq(next(), "[\"x\", null, \"1\"]");
    rows_close(&rows);
}

Test(rows, a_column_that_is_no_attribute_and_a_key_without_column_are_refused) {
    cr_assert_eq(open_text("a,b\n", false), EG_OK);
    cr_assert_eq(plan("[\"a\"]"), EG_BAD_RECORD);
    cr_assert_eq(plan("[\"k\",\"a\",\"b\"]"), EG_BAD_RECORD);
    cr_assert_eq(plan("[]"), EG_BAD_REQUEST);
    rows_close(&rows);
}

Test(rows, headers_that_name_nothing_or_one_thing_twice_are_refused) {
    cr_assert_eq(open_text("", false), EG_BAD_RECORD);
    cr_assert_eq(open_text("a,,b\n", false), EG_BAD_RECORD);
    cr_assert_eq(open_text("a,b,a\n", false), EG_BAD_RECORD);
    cr_assert_eq(rows_open(&rows, alloc_system(), "/no/such/file", false, &note), EG_DISC);
    cr_assert_eq(rows_open(&rows, alloc_system(), "/tmp", false, &note), EG_DISC);
}

Test(rows, types_turn_cells_into_values_and_empty_ones_into_nil) {
    cr_assert_eq(open_text("k,i,f,n,b,j\n"
                           "a,-7,2,3,true,\"[1, null]\"\n"
                           "b,18446744073709551615,1e3,2.5,false,\"\"\n"
                           "c,,,,,\n",
                           false),
                 EG_OK);
    cr_assert_eq(rows_types(&rows, "string,int,float,number,bool,json", &note), EG_OK);
    cr_assert_eq(plan("[\"k\",\"i\",\"f\",\"n\",\"b\",\"j\"]"), EG_OK);
    cr_assert_str_eq(next(), "[\"a\", -7, 2.0, 3, true, [1, null]]");
    cr_assert_str_eq(next(), "[\"b\", 18446744073709551615, 1000.0, 2.5, false, null]");
    cr_assert_str_eq(next(), "[\"c\", null, null, null, null, null]");
    rows_close(&rows);
}

Test(rows, a_cell_of_the_wrong_type_is_a_bad_row_with_its_number_and_the_next_is_read) {
    static const char *const bad[] = {"x", "1x", "1.5", "--1", "18446744073709551616", ""};
    for (size_t i = 0; i < EG_COUNTOF(bad); i++) {
        char text[128];
        snprintf(text, sizeof text, "k,v\n1,a\n%s,b\n3,c\n", bad[i]);
        cr_assert_eq(open_text(text, false), EG_OK);
        cr_assert_eq(rows_types(&rows, "k=int", &note), EG_OK);
        cr_assert_eq(plan("[\"k\",\"v\"]"), EG_OK);
        cr_assert_str_eq(next(), "[1, \"a\"]");
        cr_assert_str_eq(next(), "EG_BAD_RECORD", "%s", bad[i]);
        cr_assert_eq(rows.row, 2);
        cr_assert_eq(rows.line, 3);
        cr_assert_str_eq(next(), "[3, \"c\"]");
        rows_close(&rows);
    }
}

Test(rows, a_row_of_the_wrong_width_is_bad) {
    cr_assert_eq(open_text("a,b\n1\n1,2,3\n1,2\n", false), EG_OK);
    cr_assert_eq(plan("[\"a\",\"b\"]"), EG_OK);
    cr_assert_str_eq(next(), "EG_BAD_RECORD");
    cr_assert_str_eq(note.text, "1 fields where the header has 2");
    cr_assert_str_eq(next(), "EG_BAD_RECORD");
    cr_assert_str_eq(next(), "[\"1\", \"2\"]");
    rows_close(&rows);
}

Test(rows, types_that_are_none_or_of_no_column_are_refused) {
    cr_assert_eq(open_text("a,b\n", false), EG_OK);
    cr_assert_eq(rows_types(&rows, "int,int,int", &note), EG_BAD_REQUEST);
    cr_assert_eq(rows_types(&rows, "c=int", &note), EG_BAD_REQUEST);
    cr_assert_eq(rows_types(&rows, "a=integer", &note), EG_BAD_REQUEST);
    cr_assert_eq(rows_types(&rows, NULL, &note), EG_OK);
    rows_close(&rows);
}

Test(rows, json_lines_keep_their_types_and_go_by_name) {
    cr_assert_eq(open_text("{\"b\": 2.0, \"a\": [1]}\n\n[\"k\", null]\r\n{\"a\": 7}", true), EG_OK);
    cr_assert_eq(rows_column(&rows, "a", 1), 1);
    cr_assert_eq(plan("[\"a\",\"b\"]"), EG_OK);
    cr_assert_str_eq(next(), "[[1], 2.0]");
    cr_assert_str_eq(next(), "[\"k\", null]");
    cr_assert_str_eq(next(), "[7, null]");
    cr_assert_str_eq(next(), "EG_NOT_FOUND");
    rows_close(&rows);
}

Test(rows, json_lines_that_do_not_fit_are_bad_rows) {
    static const char *const bad[] = {"{\"b\":1}",         "{\"a\":1,\"c\":2}",
                                      "{\"a\":1,\"a\":2}", "[1]",
                                      "[1,2,3]",           "7",
                                      "{\"a\":",           "[1,2] 3"};
    for (size_t i = 0; i < EG_COUNTOF(bad); i++) {
        char text[128];
        snprintf(text, sizeof text, "[0,0]\n%s\n[1,1]\n", bad[i]);
        cr_assert_eq(open_text(text, true), EG_OK);
        cr_assert_eq(plan("[\"a\",\"b\"]"), EG_OK);
        cr_assert_str_eq(next(), "[0, 0]");
        cr_assert_str_eq(next(), "EG_BAD_RECORD", "%s", bad[i]);
        cr_assert_eq(rows.row, 2);
        cr_assert_str_eq(next(), "[1, 1]");
        rows_close(&rows);
    }
}
