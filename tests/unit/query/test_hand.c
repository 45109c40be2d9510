/* test_hand.c -- an aggregate of many records is counted by all workers, and is what one alone
 * would have counted, whoever comes late, goes away or leaves something behind.
 *
 * Method: a node of two schedulers moved by hand, where each look at the clock takes a while, so
 * that steps end; and the crew itself, without any node around it. */
#include "engine/scheduler.h"
#include "query/server_private.h"
#include "query/session.h"
#include "query/text_crew.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/hand_node.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    RECORDS = TEXT_CREW_ROWS + 5000,
    WRITTEN_AT_ONCE = 1000,
    LOOK_NS = 20 * 1000,
    MOVES_MAX = 10000,
    HEADER_BYTES = 5,
    RECORD_BYTES = 16,
};

static const uint64_t expected = (uint64_t) RECORDS * (RECORDS - 1) / 2;
static const char question[] = "select sum(n), count(n) from t where n >= 0";

static struct hand_node node;
static struct memory_client *client;

/* ---- a table of [k, n], n = k ---------------------------------------------------------- */

static void call(const char *method, struct value parameters) {
    uint8_t memory[64];
    struct value_writer w = value_writer_init(memory, sizeof memory);

    value_put_array(&w, 4);
    value_put_u64(&w, 0);
    value_put_u64(&w, 1);
    value_put_text(&w, method);
    memory_send(client, memory, w.need_bytes);
    memory_send(client, parameters.at, parameters.size_bytes);
}

static void make_table(const char *type) {
    uint8_t memory[128];
    struct value_writer w = value_writer_init(memory, sizeof memory);

    value_put_array(&w, 2);
    value_put_text(&w, "t");
    value_put_map(&w, 2);
    value_put_text(&w, "type");
    value_put_text(&w, type);
    value_put_text(&w, "attributes");
    value_put_array(&w, 2);
    value_put_text(&w, "k");
    value_put_text(&w, "n");
    call("create_table", (struct value){memory, (uint32_t) w.need_bytes});
    hand_node_run(&node);
}

static void write_some(uint32_t from, uint32_t count) {
    static uint8_t memory[WRITTEN_AT_ONCE * RECORD_BYTES + 64];
    struct value_writer w = value_writer_init(memory, sizeof memory);

    value_put_array(&w, 2);
    value_put_text(&w, "t");
    value_put_array(&w, count);
    for (uint32_t i = 0; i < count; i++) {
        value_put_array(&w, 2);
        value_put_u64(&w, from + i);
        value_put_u64(&w, from + i);
    }
    cr_assert(!w.overflow);
    call("write_many", (struct value){memory, (uint32_t) w.need_bytes});
    hand_node_run(&node);
}

static void fill(void) {
    for (uint32_t n = 0; n < RECORDS; n += WRITTEN_AT_ONCE)
        write_some(n, EG_MIN((uint32_t) WRITTEN_AT_ONCE, RECORDS - n));
    buffer_clear(&client->received);
}

static struct fail_alloc memory_of_server;

static void open_node(const char *type) {
    memory_of_server = fail_alloc_after(INT_MAX);
    hand_node_open(
        &node, &(struct hand_node_opts){.schedulers = 2, .server_alloc = &memory_of_server.base});
    client = memory_dial(&node.net);
    hand_node_run(&node);
    make_table(type);
    fill();
    node.look_ns = LOOK_NS;
}

static void setup(void) {
    open_node("set");
}

static void teardown(void) {
    if (client != NULL)
        memory_hang_up(client);
    hand_node_close(&node);
}

static void setup_bag(void) {
    open_node("bag");
}

TestSuite(hand, .init = setup, .fini = teardown, .timeout = 240);
TestSuite(hand_bag, .init = setup_bag, .fini = teardown, .timeout = 240);

/* ---- asking ------------------------------------------------------------------------------ */

static void ask(void) {
    uint8_t memory[128];
    struct value_writer w = value_writer_init(memory, sizeof memory);

    value_put_array(&w, 1);
    value_put_text(&w, question);
    call("query", (struct value){memory, (uint32_t) w.need_bytes});
    memory_net_move(&node.net);
}

static const struct worker *worker(uint32_t number) {
    return &((const struct session *) memory_user(client))->worker->server->worker[number];
}

static bool works(uint32_t number) {
    return !list_is_empty(&worker(number)->tasks);
}

static bool answered(void) {
    memory_net_move(&node.net);
    return client->received.size_bytes != 0;
}

/* Move these until the answer is there. */
static void move_until_answered(bool first, bool second) {
    for (int i = 0; i < MOVES_MAX && !answered(); i++) {
        if (first)
            (void) hand_node_turn(&node, 0);
        if (second)
            (void) hand_node_turn(&node, 1);
    }
}

/* The row [sum, count] that was answered. */
static void expect_row(uint64_t sum, uint64_t count) {
    uint8_t memory[64];
    struct value_writer w = value_writer_init(memory, sizeof memory);

    value_put_text(&w, "rows");
    value_put_array(&w, 1);
    value_put_array(&w, 2);
    value_put_u64(&w, sum);
    value_put_u64(&w, count);
    cr_assert_not_null(
        memmem(client->received.at, client->received.size_bytes, memory, w.need_bytes));
}

static bool was_told(const char *text) {
    return memmem(client->received.at, client->received.size_bytes, text, strlen(text)) != NULL;
}

Test(hand, who_asks_and_the_other_worker_count_together) {
    bool both = false;

    ask();
    for (int i = 0; i < MOVES_MAX && !answered(); i++) {
        both |= works(0) && works(1);
        (void) hand_node_turn(&node, 0);
        (void) hand_node_turn(&node, 1);
    }
    cr_assert(both);
    expect_row(expected, RECORDS);
    hand_node_run(&node);
    cr_assert(!works(0) && !works(1));
}

Test(hand, one_that_never_began_is_not_waited_for) {
    ask();
    move_until_answered(true, false);
    expect_row(expected, RECORDS);
    hand_node_run(&node);
    cr_assert(!works(1));
}

Test(hand, one_that_has_begun_is_waited_for) {
    ask();
    (void) hand_node_turn(&node, 0);
    (void) hand_node_turn(&node, 1);
    for (int i = 0; i < MOVES_MAX && works(0); i++)
        (void) hand_node_turn(&node, 0);
    cr_assert(works(1) && !works(0) && !answered());
    move_until_answered(true, true);
    expect_row(expected, RECORDS);
}

Test(hand, one_may_count_nearly_all) {
    ask();
    (void) hand_node_turn(&node, 0);
    for (int i = 0; i < MOVES_MAX && (i == 0 || works(1)); i++)
        (void) hand_node_turn(&node, 1);
    cr_assert(works(0) && !works(1));
    move_until_answered(true, false);
    expect_row(expected, RECORDS);
}

Test(hand, it_ends_with_the_connection_that_asked) {
    ask();
    (void) hand_node_turn(&node, 0);
    (void) hand_node_turn(&node, 1);
    cr_assert(works(1));
    const struct worker *other = worker(1);
    memory_hang_up(client);
    client = NULL;
    hand_node_run(&node);
    cr_assert(list_is_empty(&other->tasks));
}

Test(hand, it_ends_with_the_server) {
    ask();
    (void) hand_node_turn(&node, 0);
    (void) hand_node_turn(&node, 1);
    cr_assert(works(1));
    memory_hang_up(client);
    client = NULL; /* and the server closes at once */
}

Test(hand, a_table_that_goes_meanwhile_is_an_error) {
    struct memory_client *asker = client, *silent, *other;
    uint8_t memory[16];
    struct value_writer w = value_writer_init(memory, sizeof memory);

    silent = memory_dial(&node.net); /* the second worker's, and the next the first's again */
    other = memory_dial(&node.net);
    hand_node_run(&node);
    ask();
    (void) hand_node_turn(&node, 0);
    (void) hand_node_turn(&node, 1);
    cr_assert(works(0) && works(1));
    value_put_array(&w, 1);
    value_put_text(&w, "t");
    client = other;
    call("drop_table", (struct value){memory, (uint32_t) w.need_bytes});
    client = asker;
    hand_node_run(&node);
    cr_assert(!works(0) && !works(1));
    cr_assert(was_told("no_table"));
    memory_hang_up(silent);
    memory_hang_up(other);
}

Test(hand_bag, its_records_are_counted_together_too) {
    ask();
    (void) hand_node_turn(&node, 0);
    (void) hand_node_turn(&node, 1);
    cr_assert(works(0) && works(1));
    move_until_answered(true, true);
    expect_row(expected, RECORDS);
}

Test(hand, refused_memory_is_an_error_or_less_help) {
    bool refused = true;

    for (int granted = 0; refused; granted++) {
        int live = memory_of_server.live;

        memory_of_server.once = true;
        memory_of_server.left = granted;
        ask();
        move_until_answered(true, true);
        refused = memory_of_server.left < 0;
        memory_of_server.left = INT_MAX;
        if (!was_told("memory") && !was_told("too_large")) /* where a buffer could not grow */
            expect_row(expected, RECORDS);
        hand_node_run(&node);
        cr_assert(!works(0) && !works(1));
        cr_assert(granted == 0 || memory_of_server.live <= live + 2, "%d kept of %d",
                  memory_of_server.live, live); /* buffers of the connection may have come */
        buffer_clear(&client->received);
    }
}

/* ---- the crew alone ---------------------------------------------------------------------- */

static uint32_t looks_left;

static bool is_over(void *context) {
    (void) context;
    return looks_left == 0 || --looks_left == 0;
}

static struct text_run *open_run(struct reader *reader) {
    const struct text_world world = {
        .alloc = alloc_system(), .catalog = node.catalog, .reader = reader};
    struct text_plan *plan;
    struct text_run *run;

    cr_assert_eq(
        text_plan_open(&plan, &world, question, sizeof question - 1, (struct value){0}, NULL),
        EG_OK);
    cr_assert_eq(text_crew_useful(plan), 1);
    cr_assert_eq(text_run_open(&run, plan), EG_OK);
    text_run_page(run, 0);
    return run;
}

/* A hand that stops in the middle of a shard, as where this node's copy of it has gone. */
Test(hand, what_one_leaves_is_counted_by_who_asks) {
    const struct select_pace pace = {is_over, NULL};
    const struct err_note none = {""};
    struct text_run *run, *help;
    struct text_crew *crew;
    struct reader reader;
    struct buffer page;
    eg_pid asker;
    eg_ref ref;
    eg_err err;

    cr_assert_eq(reader_open(&reader, node.epoch, alloc_system()), EG_OK);
    reader_enter(&reader);
    run = open_run(&reader);
    cr_assert_eq(text_crew_open(&crew, run->plan, 2), EG_OK);
    text_run_lead(run, crew);
    for (uint32_t i = 0; i < 2; i++) {
        looks_left = 3;
        cr_assert_eq(text_crew_begin(crew, i, node.catalog, &reader, &help), EG_OK);
        cr_assert_eq(text_run_help(help, node.catalog, &reader, &pace, NULL), EG_AGAIN);
        cr_assert(help->in_shard && help->place.size_bytes != 0);
        cr_assert_not(text_crew_done(crew, i, help, EG_OK, &none, &asker, &ref));
    }
    buffer_init(&page, alloc_system(), SIZE_MAX);
    do {
        looks_left = 100;
        err = text_run_step(run, node.catalog, &reader, &pace, &page, NULL);
        cr_assert_not(run->awaits);
    } while (err == EG_AGAIN);
    cr_assert_eq(err, EG_OK);
    uint64_t sum = 0, count = 0;
    struct value v;
    cr_assert(array_element(value_of(page.at), 0, &v) && value_get_u64(v, &sum));
    cr_assert(array_element(value_of(page.at), 1, &v) && value_get_u64(v, &count));
    cr_assert_eq(sum, expected);
    cr_assert_eq(count, RECORDS);
    buffer_fini(&page);
    text_run_close(run);
    reader_exit(&reader);
    reader_close(&reader);
}

Test(hand, what_one_fails_with_is_the_answer) {
    const struct select_pace pace = {is_over, NULL};
    struct err_note why = {"on purpose"}, note = {""};
    struct text_run *run, *help;
    struct text_crew *crew;
    struct reader reader;
    struct buffer page;
    eg_pid asker;
    eg_ref ref;
    eg_err err;

    cr_assert_eq(reader_open(&reader, node.epoch, alloc_system()), EG_OK);
    reader_enter(&reader);
    run = open_run(&reader);
    cr_assert_eq(text_crew_open(&crew, run->plan, 1), EG_OK);
    text_run_lead(run, crew);
    cr_assert_eq(text_crew_begin(crew, 0, node.catalog, &reader, &help), EG_OK);
    cr_assert(text_crew_await(crew, 0, (eg_pid){0, 7, 7}, (eg_ref){0}));
    cr_assert(text_crew_done(crew, 0, help, EG_TOO_LARGE, &why, &asker, &ref));
    cr_assert_eq(asker.slot, 7);
    cr_assert_not(text_crew_await(crew, 0, asker, ref));
    buffer_init(&page, alloc_system(), SIZE_MAX);
    do {
        looks_left = 100;
        err = text_run_step(run, node.catalog, &reader, &pace, &page, &note);
    } while (err == EG_AGAIN);
    cr_assert_eq(err, EG_TOO_LARGE);
    cr_assert_str_eq(note.text, "on purpose");
    buffer_fini(&page);
    text_run_close(run);
    reader_exit(&reader);
    reader_close(&reader);
}
