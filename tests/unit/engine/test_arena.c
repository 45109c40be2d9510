/* An arena gives aligned blocks that do not overlap, and everything back at once. */
#include "engine/arena.h"
#include "tests/support/fail_alloc.h"

#include <criterion/criterion.h>
#include <string.h>

Test(arena, blocks_are_aligned_and_keep_what_was_written) {
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    unsigned char *blocks[200];
    struct arena *ar;

    cr_assert_eq(arena_open(&ar, &memory.base), EG_OK);
    for (int i = 0; i < 200; i++) {
        size_t size_bytes = (size_t) i * 7 + 1;
        blocks[i] = arena_get(ar, size_bytes);
        cr_assert_not_null(blocks[i]);
        cr_assert_eq((size_t) blocks[i] % 16, 0);
        memset(blocks[i], i, size_bytes);
    }
    for (int i = 0; i < 200; i++)
        for (size_t at = 0; at < (size_t) i * 7 + 1; at++)
            cr_assert_eq(blocks[i][at], i);
    cr_assert_geq(arena_bytes(ar), 200 * 7 * 100);
    arena_reset(ar);
    cr_assert_eq(arena_bytes(ar), 0);
    cr_assert_str_eq(arena_copy_text(ar, "again"), "again");
    arena_close(ar);
    cr_assert_eq(memory.live, 0);
}

Test(arena, refused_memory_leaves_what_was_given) {
    struct fail_alloc memory = fail_alloc_after(2);
    struct arena *ar;
    char *text;

    cr_assert_eq(arena_open(&ar, &memory.base), EG_OK);
    text = arena_copy_text(ar, "kept");
    cr_assert_null(arena_get(ar, 4096));
    cr_assert_null(arena_get(ar, SIZE_MAX));
    cr_assert_str_eq(text, "kept");
    arena_close(ar);
    cr_assert_eq(memory.live, 0);
}

Test(arena, open_fails_cleanly) {
    struct fail_alloc none = fail_alloc_after(0);
    struct arena *ar = NULL;
    cr_assert_eq(arena_open(&ar, &none.base), EG_MEMORY);
    cr_assert_null(ar);
    cr_assert_eq(none.live, 0);
}
