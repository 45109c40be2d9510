/* Changes of tables that an actor asks for, through the public headers only. */
#include <engram.h>
#include <engram/actor.h>

#include <criterion/criterion.h>
#include <string.h>

static eg_node *node;
static eg_table *table;

static void setup(void) {
    static const uint8_t none[] = {
        0x81, 0xaa, 'a', 't',  't',  'r', 'i',  'b', 'u',
        't',  'e',  's', 0x92, 0xa1, 'k', 0xa1, 'n'}; /* {attributes: ["k", "n"]} */
    eg_span options = {none, sizeof none};

    cr_assert_eq(eg_open(&(eg_options){.name = "test", .schedulers = 2}, &node, NULL), EG_OK);
    cr_assert_eq(eg_create_table(node, "t", &options, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "t", &table), EG_OK);
}

static void teardown(void) {
    eg_table_close(table);
    eg_close(node);
}

TestSuite(api_then, .init = setup, .fini = teardown, .timeout = 240);

static const eg_span key = {"\x01", 1}, record = {"\x92\x01\x05", 3},
                     changes = {"\x81\xa1n\x07", 4}, broken = {"\x92\x01", 2};

/* One after the other, whatever it takes; the answers are kept. */
enum step { WRITE, INSERT, COUNT, UPDATE, TAKE, DELETE, STEPS };

struct asker {
    eg_from waiting;
    enum step at;
    eg_err outcome[STEPS];
    uint8_t answer[STEPS][16];
};

static void next(eg_actor *self, struct asker *a);

static void on_done(eg_actor *self, void *state, void *context, eg_err outcome, const void *data,
                    size_t size_bytes) {
    struct asker *a = state;

    cr_assert_eq(context, &node);
    a->outcome[a->at] = outcome;
    cr_assert_leq(size_bytes, sizeof a->answer[0]);
    memcpy(a->answer[a->at], data, size_bytes);
    a->at++;
    next(self, a);
}

static eg_err ask(eg_actor *self, enum step step) {
    switch (step) {
    case WRITE:
        return eg_write_then(self, table, record, on_done, &node);
    case INSERT:
        return eg_insert_new_then(self, table, record, on_done, &node);
    case COUNT:
        return eg_update_counter_then(self, table, key, "n", 4, on_done, &node);
    case UPDATE:
        return eg_update_then(self, table, key, changes, on_done, &node);
    case TAKE:
        return eg_take_then(self, table, key, on_done, &node);
    default:
        return eg_delete_then(self, table, key, on_done, &node);
    }
}

static void next(eg_actor *self, struct asker *a) {
    if (a->at == STEPS)
        eg_reply(self, a->waiting, EG_OK, a, sizeof *a);
    else
        cr_assert_eq(ask(self, a->at), EG_OK);
}

static void on_call(eg_actor *self, void *state, eg_from from, const eg_message *m) {
    struct asker *a = state;

    (void) m;
    a->waiting = from;
    cr_expect_eq(eg_write_then(self, table, broken, on_done, NULL), EG_BAD_REQUEST);
    cr_expect_eq(eg_write_then(self, table, key, on_done, NULL), EG_BAD_RECORD);
    cr_expect_eq(eg_write_then(self, table, record, NULL, NULL), EG_BAD_REQUEST);
    cr_expect_eq(eg_write_then(self, NULL, record, on_done, NULL), EG_BAD_REQUEST);
    cr_expect_eq(eg_update_counter_then(self, table, key, "no", 1, on_done, NULL), EG_BAD_REQUEST);
    next(self, a);
}

static const eg_server_ops asker = {
    .name = "asker", .state_bytes = sizeof(struct asker), .call = on_call};

Test(api_then, an_actor_changes_a_table_and_hears_what_came_of_it) {
    struct asker a;
    eg_pid pid;

    cr_assert_eq(eg_spawn_server(node, NULL, &(eg_spawn){.server = &asker}, &pid), EG_OK);
    cr_assert_eq(eg_call_wait(node, pid, 0, NULL, 0, 60000, &a, sizeof a, NULL), EG_OK);
    for (int i = 0; i < STEPS; i++)
        cr_expect_eq(a.outcome[i], EG_OK, "step %d: %d", i, a.outcome[i]);
    cr_expect_arr_eq(a.answer[WRITE], "\xc3", 1);
    cr_expect_arr_eq(a.answer[INSERT], "\xc2", 1);
    cr_expect_arr_eq(a.answer[COUNT], "\x09", 1);
    cr_expect_arr_eq(a.answer[UPDATE], "\xc3", 1);
    cr_expect_arr_eq(a.answer[TAKE], "\x91\x92\x01\x07", 4);
    cr_expect_arr_eq(a.answer[DELETE], "\xc3", 1);
    cr_expect_eq(eg_size(table), 0);
}
