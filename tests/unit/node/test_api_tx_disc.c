/* A transaction that waits for the disc: what it changed survives its program's sudden death. */
#include <engram.h>

#include "tests/support/temp_dir.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 20 };

static struct temp_dir dir;

static void setup(void) {
    dir = temp_dir_make();
}

static void teardown(void) {
    temp_dir_remove(&dir);
}

TestSuite(api_tx_disc, .init = setup, .fini = teardown, .timeout = 120);

static eg_node *open_node(void) {
    eg_node *node;

    if (eg_open(&(eg_options){.name = "test", .schedulers = 1, .data_dir = dir.path}, &node,
                NULL) != EG_OK)
        _exit(2);
    return node;
}

static eg_table *open_table(eg_node *node) {
    uint8_t room[256];
    struct value o =
        text_value(room, sizeof room, "{'storage': 'disc', 'durability': 'async', 'shards': 4}");
    eg_span options = {o.at, o.size_bytes};
    eg_err err = eg_create_table(node, "t", &options, NULL);
    eg_table *table;

    if ((err != EG_OK && err != EG_EXISTS) || eg_table_open(node, "t", &table) != EG_OK)
        _exit(3);
    return table;
}

static eg_err write_both(eg_tx *tx, void *table) {
    eg_err err = eg_tx_write(tx, table, (eg_span){"\x92\x01\x01", 3});

    return err == EG_OK ? eg_tx_write(tx, table, (eg_span){"\x92\x02\x02", 3}) : err;
}

/* Written, committed, and dead at once. */
static void die(void) {
    eg_node *node = open_node();
    const eg_tx_options o = {.context = EG_SYNC_TRANSACTION};

    if (eg_transaction(node, write_both, open_table(node), &o) != EG_OK)
        _exit(4);
    (void) kill(getpid(), SIGKILL);
}

Test(api_tx_disc, what_a_sync_transaction_made_survives_a_kill) {
    for (int i = 0; i < ROUNDS; i++) {
        pid_t child = fork();
        eg_node *node;
        eg_table *table;
        int status;

        if (child == 0)
            die();
        cr_assert_gt(child, 0);
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status), "it ended with %d", WEXITSTATUS(status));
        node = open_node();
        table = open_table(node);
        cr_assert_eq(eg_size(table), 2, "round %d: %d records", i, (int) eg_size(table));
        cr_assert_eq(eg_clear_table(node, "t"), EG_OK);
        eg_table_close(table);
        eg_close(node);
    }
}
