/* query.c -- text queries inside a program: arguments, pages, changes, and how it is answered.
 *
 *     cc -std=c17 query.c $(pkg-config --cflags --libs engram) -o query */
#include <engram.h>
#include <stdio.h>
#include <stdlib.h>

/* Say what failed and end. */
static void must(eg_err err, const eg_note *note) {
    if (err == EG_OK)
        return;
    fprintf(stderr, "%s: %s\n", eg_err_text(err), note->text);
    exit(1);
}

/* An array of two numbers: what stands for two ?. */
static eg_span two(int64_t first, int64_t second, uint8_t *memory, size_t size_bytes) {
    eg_writer w = eg_writer_init(memory, size_bytes);
    eg_put_array(&w, 2);
    eg_put_int(&w, first);
    eg_put_int(&w, second);
    return eg_written(&w);
}

static void create(eg_node *node, eg_note *note) {
    uint8_t memory[128];
    eg_writer w = eg_writer_init(memory, sizeof memory);
    eg_span options;

    eg_put_map(&w, 2);
    eg_put_string(&w, "attributes");
    eg_put_array(&w, 2);
    eg_put_string(&w, "id");
    eg_put_string(&w, "age");
    eg_put_string(&w, "index");
    eg_put_array(&w, 1);
    eg_put_string(&w, "age");
    options = eg_written(&w);
    must(eg_create_table(node, "people", &options, note), note);
}

/* The first value of row `number`. */
static int64_t number_in(eg_span rows, uint32_t number) {
    eg_span row, value;
    int64_t n = -1;

    if (!eg_element(rows, number, &row) || !eg_element(row, 0, &value) || !eg_as_int(value, &n))
        exit(1);
    return n;
}

static int64_t print_pages(eg_node *node, eg_note *note) {
    uint8_t memory[32];
    eg_span between = two(30, 39, memory, sizeof memory);
    eg_query_cursor *cursor;
    eg_result page;
    int64_t seen = 0;
    eg_err err;

    must(eg_query_open(node, "select id from people where age between ? and ? order by id",
                       &between, 100, &cursor, note),
         note);
    while ((err = eg_query_next(cursor, &page, note)) == EG_OK) {
        for (uint32_t i = 0; i < eg_count(page.value); i++)
            seen += number_in(page.value, i) >= 0;
        eg_result_free(&page);
    }
    eg_query_close(cursor);
    if (err != EG_NOT_FOUND) /* the last page was given */
        must(err, note);
    return seen;
}

int main(void) {
    uint8_t memory[32];
    eg_note note = {""};
    eg_result answer;
    eg_node *node;
    eg_span row;
    int64_t seen;

    must(eg_open(&(eg_options){.name = "query"}, &node, &note), &note);
    create(node, &note);
    for (int64_t i = 0; i < 1000; i++) {
        row = two(i, i % 50, memory, sizeof memory);
        must(eg_query(node, "insert into people values (?, ?)", &row, NULL, &note), &note);
    }
    must(eg_query(node, "update people set age = age + 1 where age = 29", NULL, &answer, &note),
         &note);
    eg_result_free(&answer);
    seen = print_pages(node, &note);
    printf("%lld in their thirties\n", (long long) seen);
    must(eg_explain(node, "select id from people where age = 30", NULL, &answer, &note), &note);
    eg_result_free(&answer);
    if (eg_query(node, "select nonsense from people", NULL, &answer, &note) != EG_BAD_REQUEST)
        exit(1);
    printf("refused: %s\n", note.text);
    eg_close(node);
    return seen == 220 ? 0 : 1;
}
