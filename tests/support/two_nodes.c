/* two_nodes.c -- the second joins at the address of the first; what is not so yet is asked again.
 */
#include "tests/support/two_nodes.h"

#include "engine/base.h"
#include "engram/actor.h"
#include "tests/support/pause.h"
#include "tests/support/text_span.h"

#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 60000, STEP_MS = 2 };

static const char *const names[2] = {"one", "two"};

static void must_be_ok(eg_err err, const char *what, const char *why) {
    if (err != EG_OK)
        fprintf(stderr, "two_nodes: %s: %s: %s\n", what, eg_err_name(err), why);
    EG_ASSERT(err == EG_OK);
}

static void open_node(eg_node **out, const char *name, const char *join, uint32_t schedulers) {
    eg_options o = {.name = name,
                    .schedulers = schedulers,
                    .peer_listen = {"127.0.0.1:0"},
                    .join = {join},
                    .cookie = "known to both",
                    .cookie_bytes = 13};
    eg_note note = {""};

    must_be_ok(eg_open(&o, out, &note), name, note.text);
}

size_t two_nodes_others(eg_node *const node[2], int i) {
    char found[2][EG_NAME_BYTES];
    size_t count = 0;

    must_be_ok(eg_nodes(node[i], found, 2, &count), names[i], "who is linked");
    EG_ASSERT(count <= 1);
    EG_ASSERT(count == 0 || strcmp(found[0], names[1 - i]) == 0);
    return count;
}

void two_nodes_open(eg_node *node[2], uint32_t schedulers) {
    open_node(&node[0], names[0], NULL, schedulers);
    open_node(&node[1], names[1], eg_node_peer_address(node[0], 0), schedulers);
    for (int i = 0; i < 2; i++)
        for (int ms = 0; two_nodes_others(node, i) == 0; ms += STEP_MS) {
            EG_ASSERT(ms < WAIT_MS);
            pause_ms(STEP_MS);
        }
}

void two_nodes_close(eg_node *node[2]) {
    for (int i = 0; i < 2; i++) {
        if (node[i] != NULL)
            eg_close(node[i]);
        node[i] = NULL;
    }
}

/* One that was in doubt may be there. */
static void create(eg_node *node, const char *name, const char *options) {
    uint8_t room[256];
    eg_span o = text_span(room, options);
    eg_note note = {""};
    eg_err err = eg_create_table(node, name, &o, &note);

    for (int ms = 0; err != EG_OK && err != EG_EXISTS && ms < WAIT_MS; ms += STEP_MS) {
        pause_ms(STEP_MS);
        err = eg_create_table(node, name, &o, &note);
    }
    must_be_ok(err == EG_EXISTS ? EG_OK : err, name, note.text);
}

void two_nodes_create_table(eg_node *const node[2], const char *name, const char *options,
                            eg_table *out[2]) {
    create(node[0], name, options);
    for (int i = 0; i < 2; i++) {
        eg_err err = eg_table_open(node[i], name, &out[i]);

        for (int ms = 0; err != EG_OK && ms < WAIT_MS; ms += STEP_MS) {
            pause_ms(STEP_MS);
            err = eg_table_open(node[i], name, &out[i]);
        }
        must_be_ok(err, name, names[i]);
    }
}

void two_nodes_close_table(eg_table *table[2]) {
    for (int i = 0; i < 2; i++) {
        eg_table_close(table[i]);
        table[i] = NULL;
    }
}
