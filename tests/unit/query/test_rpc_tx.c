/* test_rpc_tx.c -- what a connection's transactions wait for ends with their time, and what they
 * hold with the connection.
 *
 * Method: a node moved by hand, and somebody else who holds keys of its table. */
#include "query/task.h"
#include "tables/shard_tx_private.h"
#include "tables/table_private.h"
#include "tests/support/hand_node.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { OLD = 1, YOUNG = INT32_MAX, LATE_MS = 500 /* to look who waits too long */ };

static struct hand_node node;
static struct memory_client *client;
static struct table *table;

static void say(const char *text) {
    uint8_t room[256];
    struct value v = text_value(room, sizeof room, text);

    memory_send(client, v.at, v.size_bytes);
}

/* All that has been answered since, one after the other. */
static void expect(const char *wanted) {
    char shown[512] = "";
    size_t at = 0, bytes;

    while (at < client->received.size_bytes) {
        struct value v = {client->received.at + at, 0};

        cr_assert_eq(value_scan(v.at, client->received.size_bytes - at, &bytes), EG_OK);
        v.size_bytes = (uint32_t) bytes;
        value_text(v, shown + strlen(shown), sizeof shown - strlen(shown));
        at += bytes;
    }
    buffer_clear(&client->received);
    cr_assert_str_eq(shown, wanted);
}

static void setup(void) {
    hand_node_open(&node, &(struct hand_node_opts){.transactions = true});
    client = memory_dial(&node.net);
    say("[0, 1, 'create_table', ['t', {'type': 'ordered_set', 'shards': 1, 'attributes': ['k', "
        "'n']}]]");
    hand_node_run(&node);
    expect("[1, 1, nil, true]");
    table = catalog_find(node.catalog, "t", 1);
}

static void teardown(void) {
    memory_hang_up(client);
    hand_node_close(&node);
}

TestSuite(rpc_tx, .init = setup, .fini = teardown, .timeout = 240);

/* As a transaction so old, `number`, of somebody else: [exclusive, key], or all that it holds goes.
 */
static void ask_shard(enum shard_op op, uint64_t number, uint64_t age_ms, const char *locks) {
    const struct transact_head h = {.id = {1, number}, .age = {age_ms, 1, number}};
    struct shard_request q = {.op = op, .attribute = SHARD_NO_ATTRIBUTE};
    uint8_t room[64];
    struct buffer head;
    struct message *m;
    eg_pid to;

    buffer_init(&head, alloc_system(), SIZE_MAX);
    cr_assert_eq(transact_pack_head(&h, &head), EG_OK);
    q.key = (struct value){head.at, (uint32_t) head.size_bytes};
    if (locks != NULL)
        q.value = text_value(room, sizeof room, locks);
    cr_assert_eq(transact_message(table, 0, &q, &to, &m), EG_OK);
    cr_assert_eq(runtime_send(node.runtime, EG_PID_NONE, to, m), EG_OK);
    buffer_fini(&head);
}

static bool is_held_by(uint64_t number) {
    const struct shard_tx *tx = table->shard[0].tx;

    return tx != NULL && shard_lock_owner(tx->lock, (struct transact_id){1, number}) != NULL;
}

static uint32_t holders(void) {
    return table->shard[0].tx->lock->owner_count;
}

static uint32_t waiting(void) {
    return table->shard[0].tx->lock->waiter_count;
}

/* ---- time ------------------------------------------------------------------------------------ */

/* The id that `begin` has answered. */
static void begin(char id[40]) {
    struct value answer, result;
    const uint8_t *at;
    uint32_t size_bytes;

    say("[0, 2, 'begin', [{'timeout_ms': 1000}]]");
    hand_node_run(&node);
    answer = (struct value){client->received.at, (uint32_t) client->received.size_bytes};
    cr_assert(array_element(answer, 3, &result) && value_get_bytes(result, &at, &size_bytes));
    snprintf(id, 40, "%.*s", (int) size_bytes, (const char *) at);
    buffer_clear(&client->received);
}

static void ends_in_time(const char *question) {
    char id[40], text[256];

    ask_shard(SHARD_TX_LOCK, 7, OLD, "[true, 1]");
    begin(id);
    snprintf(text, sizeof text, question, id);
    say(text);
    hand_node_pass(&node, 900);
    expect("");
    cr_assert_eq(waiting(), 1);
    hand_node_pass(&node, 100 + LATE_MS);
    expect("[1, 3, 'aborted: the transaction\'s time is over', nil]");
    cr_assert_eq(waiting(), 0);
    cr_assert(is_held_by(7), "who holds it goes on");
    snprintf(text, sizeof text, "[0, 4, 'commit', ['%s']]", id);
    say(text);
    say("[0, 5, 'read', ['t', 2]]");
    hand_node_run(&node);
    expect("[1, 4, 'aborted: the transaction was ended by the node', nil][1, 5, nil, []]");
}

Test(rpc_tx, a_read_of_what_is_held_ends_in_its_transactions_time) {
    ends_in_time("[0, 3, 'read', ['t', 1, {'tx': '%s'}]]");
}

Test(rpc_tx, an_update_of_what_is_held_ends_in_its_transactions_time) {
    ends_in_time("[0, 3, 'update_counter', ['t', 1, 'n', 1, {'tx': '%s'}]]");
}

Test(rpc_tx, a_whole_transaction_that_waits_for_a_lock_ends_in_its_time) {
    ask_shard(SHARD_TX_LOCK, 7, INT64_MAX, "[true, 1]");
    hand_node_run(&node);
    say("[0, 3, 'transaction', [[['write', 't', [1, 1]]], {'timeout_ms': 1000}]]");
    hand_node_pass(&node, 900);
    expect("");
    cr_assert_eq(waiting(), 1);
    hand_node_pass(&node, 100 + LATE_MS);
    expect("[1, 3, 'aborted: the transaction\'s time is over', nil]");
    cr_assert_eq(waiting(), 0);
    cr_assert(is_held_by(7));
}

/* ---- a request with a name ---------------------------------------------------------------------
 */

/* Another one holds a key of one of two tables: what is prepared in the other is given up each
 * time, while the next try is under way. */
static void try_again_and_again(void) {
    say("[0, 1, 'create_table', ['u', {'shards': 1, 'attributes': ['k', 'n']}]]");
    hand_node_run(&node);
    expect("[1, 1, nil, true]");
    ask_shard(SHARD_TX_LOCK, 7, OLD, "[true, 1]");
    hand_node_run(&node);
    say("[0, 3, 'transaction', [[['write', 'u', [1, 1]], ['write', 't', [1, 1]], ['write', 't', "
        "[2, 2]]], "
        "{'id': 'order'}]]");
}

static void status_is(const char *status) {
    struct memory_client *first = client;
    char wanted[64];

    snprintf(wanted, sizeof wanted, "[1, 4, nil, '%s']", status);
    client = memory_dial(&node.net);
    say("[0, 4, 'transaction_status', ['order']]");
    while (client->received.size_bytes == 0)
        hand_node_move(&node);
    expect(wanted);
    memory_hang_up(client);
    client = first;
}

Test(rpc_tx, each_try_of_a_request_has_an_id_of_its_own) {
    try_again_and_again();
    hand_node_run(&node);
    expect("[1, 3, 'conflict: what the transaction has seen was changed by another', nil]");
    status_is("aborted");
    ask_shard(SHARD_TX_UNLOCK, 7, OLD, NULL);
}

Test(rpc_tx, a_request_that_has_lost_is_not_aborted_before_its_last_try) {
    enum { MOVES = 60 };

    try_again_and_again();
    for (int i = 0; i < MOVES; i++)
        hand_node_move(&node);
    status_is("unknown");
    ask_shard(SHARD_TX_UNLOCK, 7, OLD, NULL);
    hand_node_run(&node);
    expect("[1, 3, nil, [true, true, true]]");
    status_is("committed");
}

static void ask_other_table(enum shard_op op, uint64_t number, uint64_t age_ms, const char *locks) {
    struct table *t = table;

    table = catalog_find(node.catalog, "u", 1);
    ask_shard(op, number, age_ms, locks);
    table = t;
}

/* One part waits for its vote, while the other is refused: the first tries are under way still when
 * the next ones are. */
Test(rpc_tx, a_late_vote_of_a_try_that_was_lost_is_not_that_of_the_next_one) {
    try_again_and_again();
    ask_other_table(SHARD_TX_LOCK, 8, INT64_MAX, "[true, 1]");
    hand_node_run(&node);
    expect("");
    status_is("unknown");
    ask_shard(SHARD_TX_UNLOCK, 7, OLD, NULL);
    ask_other_table(SHARD_TX_UNLOCK, 8, INT64_MAX, NULL);
    hand_node_run(&node);
    expect("[1, 3, nil, [true, true, true]]");
    status_is("committed");
    say("[0, 5, 'read', ['u', 1]]");
    hand_node_run(&node);
    expect("[1, 5, nil, [[1, 1]]]");
}

/* As a client does that has lost its connection, or thinks so. */
static void ask_again(const char *answer) {
    struct memory_client *first = client;

    client = memory_dial(&node.net);
    say("[0, 3, 'transaction', [[['write', 'u', [1, 1]], ['write', 't', [1, 1]]], {'id': "
        "'order'}]]");
    while (client->received.size_bytes == 0)
        hand_node_move(&node);
    expect(answer);
    memory_hang_up(client);
    client = first;
}

Test(rpc_tx, a_request_is_not_carried_out_beside_another_of_its_name) {
    static const char exists[] = "[1, 3, 'exists: a transaction with this id is under way', nil]";

    try_again_and_again();
    for (int i = 0; i < 60; i++)
        hand_node_move(&node);
    ask_again(exists);
    status_is("unknown");
    ask_shard(SHARD_TX_UNLOCK, 7, OLD, NULL);
    hand_node_run(&node);
    expect("[1, 3, nil, [true, true, true]]");
    status_is("committed");
}

/* Wherever it is just then: nobody tries again, and what is prepared of it is given up. */
Test(rpc_tx, a_request_that_nobody_waits_for_ends_with_its_try) {
    for (int moves = 20; moves < 60; moves++) {
        try_again_and_again();
        for (int i = 0; i < moves; i++)
            hand_node_move(&node);
        memory_vanish(client);
        hand_node_run(&node);
        status_is("aborted");
        teardown();
        setup();
    }
}

/* ---- others of the same connection ------------------------------------------------------------
 */

static void say_of(const char *request, const char *id) {
    char text[256];

    snprintf(text, sizeof text, request, id);
    say(text);
}

/* What one transaction asks for is held; whoever comes behind it on its connection is another. */
Test(rpc_tx, others_of_its_connection_go_on_while_one_waits) {
    char one[40], other[40];

    ask_shard(SHARD_TX_LOCK, 7, OLD, "[true, 1]");
    begin(one);
    begin(other);
    say_of("[0, 3, 'read', ['t', 1, {'tx': '%s'}]]", one);
    say_of("[0, 4, 'write', ['t', [2, 2], {'tx': '%s'}]]", other);
    say_of("[0, 5, 'write_many', ['t', [[3, 3]], {'tx': '%s'}]]", other);
    say_of("[0, 6, 'read', ['t', 2, {'tx': '%s'}]]", other);
    say_of("[0, 7, 'commit', ['%s']]", other);
    say("[0, 8, 'read', ['t', 2]]");
    say_of("[0, 9, 'write', ['t', [4, 4], {'tx': '%s'}]]", one);
    say_of("[0, 10, 'commit', ['%s']]", one);
    say("[0, 11, 'match', ['t', ['_', '_']]]");
    hand_node_run(&node);
    expect("[1, 4, nil, true][1, 5, nil, 1][1, 6, nil, [[2, 2]]][1, 7, nil, true]"
           "[1, 8, nil, [[2, 2]]]");
    ask_shard(SHARD_TX_UNLOCK, 7, OLD, NULL);
    hand_node_run(&node);
    expect("[1, 3, nil, []][1, 9, nil, true][1, 10, nil, true]"
           "[1, 11, nil, [[2, 2], [3, 3], [4, 4]]]");
}

/* More than may be under way at once wait as they came, and none is refused. */
Test(rpc_tx, many_of_its_connection_wait_in_turn) {
    enum { MANY = TASKS_SESSION_MAX + 10 };
    struct {
        char text[40];
    } id[MANY];
    static const uint8_t wanted[] = {0x94, 1, 9, 0xc0, 0x90};

    ask_shard(SHARD_TX_LOCK, 7, OLD, "[true, 1]");
    for (int i = 0; i < MANY; i++)
        begin(id[i].text);
    for (int i = 0; i < MANY; i++)
        say_of("[0, 9, 'read', ['t', 1, {'tx': '%.39s'}]]", id[i].text);
    hand_node_run(&node);
    expect("");
    ask_shard(SHARD_TX_UNLOCK, 7, OLD, NULL);
    hand_node_run(&node);
    cr_assert_eq(client->received.size_bytes, MANY * sizeof wanted);
    for (size_t i = 0; i < MANY; i++)
        cr_assert_eq(memcmp(client->received.at + i * sizeof wanted, wanted, sizeof wanted), 0);
    buffer_clear(&client->received);
}

/* What is of no transaction sees all before it, and all behind it sees it. */
Test(rpc_tx, who_is_of_none_waits_for_those_before_it) {
    char one[40], other[40];

    ask_shard(SHARD_TX_LOCK, 7, OLD, "[true, 1]");
    begin(one);
    begin(other);
    say_of("[0, 3, 'read', ['t', 1, {'tx': '%s'}]]", one);
    say("[0, 4, 'size', ['t']]");
    say_of("[0, 5, 'write', ['t', [2, 2], {'tx': '%s'}]]", other);
    hand_node_run(&node);
    expect("");
    ask_shard(SHARD_TX_UNLOCK, 7, OLD, NULL);
    hand_node_run(&node);
    expect("[1, 3, nil, []][1, 4, nil, 0][1, 5, nil, true]");
}

/* ---- the connection ------------------------------------------------------------------------- */

/* It has lost so often that it locks first, has one of two keys, and waits for the other. */
static void lock_one_of_two(void) {
    enum { MOVES = 1000 };
    int moves = 0;

    ask_shard(SHARD_TX_LOCK, 7, OLD, "[true, 2]");
    hand_node_run(&node);
    say("[0, 3, 'transaction', [[['write', 't', [1, 1]], ['write', 't', [2, 2]]]]]");
    while (holders() < 2 && moves++ < MOVES)
        hand_node_move(&node);
    ask_shard(SHARD_TX_UNLOCK, 7, OLD, NULL);
    ask_shard(SHARD_TX_LOCK, 8, INT64_MAX, "[true, 2]");
    hand_node_run(&node);
    expect("");
    cr_assert_eq(holders(), 2);
    cr_assert_eq(waiting(), 1);
}

Test(rpc_tx, a_lost_connection_gives_its_locks_back) {
    lock_one_of_two();
    memory_vanish(client);
    hand_node_run(&node);
    cr_assert_eq(holders(), 1);
    cr_assert_eq(waiting(), 0);
    cr_assert(is_held_by(8));
}

Test(rpc_tx, who_waits_with_a_lock_goes_on_when_the_other_is_free) {
    lock_one_of_two();
    ask_shard(SHARD_TX_UNLOCK, 8, INT64_MAX, NULL);
    hand_node_run(&node);
    expect("[1, 3, nil, [true, true]]");
    cr_assert_eq(holders(), 0);
}
