/* key_value.c -- a table inside a program: write, read, update, count, walk.
 *
 *     cc -std=c17 key_value.c $(pkg-config --cflags --libs engram) -o key_value
 *
 * Give it a directory and the table is kept there:  ./key_value /tmp/people */
#include <engram.h>
#include <stdio.h>
#include <stdlib.h>

/* Say what failed and end. */
static void must(eg_err err, const char *what) {
    if (err == EG_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, eg_err_text(err));
    exit(1);
}

/* One value in memory of the caller's. */
static eg_span key_of(int64_t n, uint8_t *memory, size_t size_bytes) {
    eg_writer w = eg_writer_init(memory, size_bytes);
    eg_put_int(&w, n);
    return eg_written(&w);
}

/* A record is an array; its first element is the key. */
static void write_person(eg_table *people, int64_t id, const char *name, int64_t visits) {
    uint8_t memory[128];
    eg_writer w = eg_writer_init(memory, sizeof memory);

    eg_put_array(&w, 3);
    eg_put_int(&w, id);
    eg_put_string(&w, name);
    eg_put_int(&w, visits);
    must(eg_write(people, eg_written(&w)), "write");
}

static void print_person(eg_span record) {
    eg_span id, name, visits;
    int64_t number = 0, count = 0;
    const char *text = "";
    size_t length = 0;

    if (eg_element(record, 0, &id) && eg_as_int(id, &number) && eg_element(record, 1, &name) &&
        eg_as_text(name, &text, &length) && eg_element(record, 2, &visits) &&
        eg_as_int(visits, &count))
        printf("%lld %.*s %lld\n", (long long) number, (int) length, text, (long long) count);
}

static bool see(void *context, eg_span record) {
    (void) context;
    print_person(record);
    return true; /* go on */
}

/* {type: "ordered_set", attributes: [id, name, visits], index: [name], storage: ...} */
static void create_people(eg_node *node, bool on_disc) {
    uint8_t memory[256];
    eg_writer w = eg_writer_init(memory, sizeof memory);
    eg_span options;
    eg_note note = {""};
    eg_err err;

    eg_put_map(&w, 4);
    eg_put_string(&w, "type");
    eg_put_string(&w, "ordered_set");
    eg_put_string(&w, "attributes");
    eg_put_array(&w, 3);
    eg_put_string(&w, "id");
    eg_put_string(&w, "name");
    eg_put_string(&w, "visits");
    eg_put_string(&w, "index");
    eg_put_array(&w, 1);
    eg_put_string(&w, "name");
    eg_put_string(&w, "storage");
    eg_put_string(&w, on_disc ? "disc" : "ram");
    options = eg_written(&w);
    err = eg_create_table(node, "people", &options, &note);
    if (err != EG_OK && err != EG_EXISTS) { /* there since the last run */
        fprintf(stderr, "create_table: %s\n", note.text);
        exit(1);
    }
}

int main(int argc, char **argv) {
    uint8_t memory[16];
    eg_options options = {.name = "example", .data_dir = argc > 1 ? argv[1] : NULL};
    eg_note note = {""};
    eg_node *node;
    eg_table *people;
    eg_result found;
    eg_span record;
    int64_t visits;

    if (eg_open(&options, &node, &note) != EG_OK) {
        fprintf(stderr, "open: %s\n", note.text);
        return 1;
    }
    create_people(node, argc > 1);
    must(eg_table_open(node, "people", &people), "table_open");

    write_person(people, 2, "Grace", 0);
    write_person(people, 1, "Ada", 0);
    write_person(people, 3, "Ada", 7);

    /* In place: the record stays where it is until the end of the section. */
    must(eg_read_begin(node), "read_begin");
    must(eg_get(people, key_of(2, memory, sizeof memory), &record), "get");
    print_person(record);
    eg_read_end(node);

    must(eg_update_counter(people, key_of(1, memory, sizeof memory), "visits", 5, &visits),
         "update_counter");
    printf("visits %lld\n", (long long) visits);

    /* A copy, here of all that have a name. */
    eg_writer w = eg_writer_init(memory, sizeof memory);
    eg_put_string(&w, "Ada");
    must(eg_index_read(people, "name", eg_written(&w), &found), "index_read");
    printf("%u called Ada\n", eg_count(found.value));
    eg_result_free(&found);

    must(eg_delete(people, key_of(3, memory, sizeof memory)), "delete");
    must(eg_fold(people, NULL, false, see, NULL), "fold");

    eg_table_close(people);
    eg_close(node);
    return 0;
}
