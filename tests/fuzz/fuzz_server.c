/* fuzz_server.c -- any bytes from a client: the server answers or hangs up, and serves on.
 *
 * The first byte says in what pieces the rest arrives, and whether the client reads.
 * Afterwards another client is answered, all that the first had is given back, and the
 * node stops in order.  Found by the sanitizers and the assertions in the code. */
#include "tests/support/hand_node.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

enum { FRAME_MAX_BYTES = 64 * 1024, INPUT_MAX_BYTES = 256 * 1024 };

static void must_answer(struct hand_node *n, const void *request, size_t size_bytes) {
    struct memory_client *c = memory_dial(&n->net);

    memory_send(c, request, size_bytes);
    hand_node_run(n);
    EG_ASSERT(c->received.size_bytes > 0);
    memory_hang_up(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes) {
    static const char create[] = "\x94\x00\x01\xac"
                                 "create_table\x92\xa1t\x82\xa4type\xabordered_set\xa5index\x91"
                                 "\xa5value";
    static const char ping[] = "\x94\x00\x01\xa4ping\x90";
    struct hand_node node;
    struct memory_client *c;

    if (size_bytes < 1)
        return 0;
    hand_node_open(&node, &(struct hand_node_opts){.frame_max_bytes = FRAME_MAX_BYTES,
                                                   .input_max_bytes = INPUT_MAX_BYTES});
    must_answer(&node, create, sizeof create - 1);
    c = memory_dial(&node.net);
    c->piece_bytes = data[0] & 0x3f;
    if (data[0] & 0x40)
        c->window_bytes = 10;
    memory_send(c, data + 1, size_bytes - 1);
    if (data[0] & 0x80)
        memory_half_close(c);
    hand_node_run(&node);
    must_answer(&node, ping, sizeof ping - 1);
    memory_hang_up(c);
    hand_node_close(&node);
    return 0;
}
