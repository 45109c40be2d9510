/* A node that finds no memory for one of its parts does not open, and leaves nothing. */
#include "node/node.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { TRIES_MAX = 5000 };

TestSuite(node_faults, .timeout = 240);

/* Open with each n-th request refused until one succeeds; returns how many did not.
 * Only one is refused: what stops the parts needs memory, too. */
static int starve(const eg_options *o, int step) {
    int refused = 0;

    for (int n = 0; n < TRIES_MAX; n += step) {
        struct fail_alloc memory = fail_alloc_after(n);
        eg_note note = {""};
        eg_node *node;
        bool enough;
        eg_err err;

        memory.once = true;
        err = node_open(o, &memory.base, &node, &note);
        enough = atomic_exchange(&memory.left, INT_MAX) >= 0; /* nothing was refused */
        if (err == EG_OK)
            eg_close(node);
        cr_assert(err == EG_OK || err == EG_MEMORY, "request %d: %s", n, note.text);
        cr_assert_eq(atomic_load(&memory.live), 0, "request %d leaves %d blocks", n,
                     atomic_load(&memory.live));
        refused += err != EG_OK;
        if (enough)
            return refused;
    }
    cr_assert_fail("it never opened");
    return 0;
}

Test(node_faults, a_node_in_memory_that_listens_opens_whole_or_not_at_all) {
    struct temp_dir dir = temp_dir_make();
    char listen[TEMP_PATH_BYTES + 16];
    eg_options o = {.name = "starved", .schedulers = 1, .listen = {listen}};

    snprintf(listen, sizeof listen, "unix:%s/s", dir.path);
    cr_assert_gt(starve(&o, 1), 10);
    temp_dir_remove(&dir);
}

Test(node_faults, a_node_with_a_data_directory_opens_whole_or_not_at_all) {
    struct temp_dir dir = temp_dir_make();
    eg_options o = {.name = "starved", .schedulers = 1, .data_dir = dir.path};

    cr_assert_gt(starve(&o, 3), 5);
    temp_dir_remove(&dir);
}
