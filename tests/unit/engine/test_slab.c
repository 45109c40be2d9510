/* test_slab.c -- a slab hands out what nobody else has, and gives memory back. */
#include "engine/slab.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static struct fail_alloc memory;
static struct slab *slab;

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
    cr_assert_eq(slab_open(&slab, &memory.base), EG_OK);
}

static void teardown(void) {
    slab_close(slab);
    cr_assert_eq(memory.live, 0, "%d allocations leaked", (int) memory.live);
}

TestSuite(slab, .init = setup, .fini = teardown, .timeout = 240);

Test(slab, every_size_up_to_past_the_largest_class_is_whole_and_aligned) {
    enum { SIZES = SLAB_OBJECT_MAX + 100 };
    static uint8_t *at[SIZES];

    for (size_t size = 1; size < SIZES; size++) {
        cr_assert_not_null(at[size] = slab_get(slab, size));
        cr_assert_eq((uintptr_t) at[size] % 8, 0);
        if (size % 64 == 0 && size <= SLAB_OBJECT_MAX)
            cr_assert_eq((uintptr_t) at[size] % 64, 0, "size %zu", size);
        memset(at[size], (int) (size % 251), size);
    }
    for (size_t size = 1; size < SIZES; size++) {
        for (size_t i = 0; i < size; i += 7)
            cr_assert_eq(at[size][i], size % 251, "size %zu overlaps another", size);
        slab_put(slab, at[size], size);
    }
    cr_assert_eq(slab_stats(slab).objects, 0);
    cr_assert_eq(slab_stats(slab).used_bytes, 0);
}

/* Goal: no two live objects overlap, whatever the order of gets and puts.
 * Method: each object is filled with its own number and checked when freed. */
Test(slab, random_use_never_mixes_two_objects) {
    enum { LIVE = 5000 };
    static struct {
        uint32_t *at;
        uint32_t words;
    } live[LIVE];
    uint64_t seed = rng_test_seed(7);
    struct rng rng = rng_of(seed);
    uint64_t used = 0;

    for (uint32_t step = 0; step < 300000; step++) {
        uint32_t i = (uint32_t) rng_below(&rng, LIVE);
        if (live[i].at != NULL) {
            for (uint32_t w = 0; w < live[i].words; w++)
                cr_assert_eq(live[i].at[w], i, "seed %llu", (unsigned long long) seed);
            slab_put(slab, live[i].at, live[i].words * 4);
            live[i].at = NULL;
            used--;
            continue;
        }
        live[i].words = 1 + (uint32_t) rng_below(&rng, rng_one_in(&rng, 50) ? 6000 : 60);
        live[i].at = slab_get(slab, live[i].words * 4);
        for (uint32_t w = 0; w < live[i].words; w++)
            live[i].at[w] = i;
        used++;
        cr_assert_eq(slab_stats(slab).objects, used);
    }
}

Test(slab, small_objects_waste_little) {
    enum { COUNT = 100000, BYTES = 104 };
    for (int i = 0; i < COUNT; i++)
        cr_assert_not_null(slab_get(slab, BYTES));
    cr_assert_lt(slab_stats(slab).system_bytes, COUNT * BYTES * 1.01);
}

Test(slab, an_idle_slab_costs_a_kilobyte_and_a_tiny_one_a_few_pages) {
    cr_assert_lt(memory.live_bytes, 1024);
    cr_assert_not_null(slab_get(slab, 100));
    cr_assert_leq(slab_stats(slab).system_bytes, 4096);
}

Test(slab, empty_pages_serve_other_classes_and_go_back_to_the_system) {
    enum { COUNT = 20000 };
    static void *at[COUNT];
    size_t mapped;

    for (int i = 0; i < COUNT; i++)
        at[i] = slab_get(slab, 256);
    mapped = memory.map_bytes;
    for (int i = 0; i < COUNT; i++)
        slab_put(slab, at[i], 256);
    cr_assert_leq(slab_stats(slab).system_bytes, 4 * 65536, "spare pages only");
    for (int i = 0; i < COUNT; i++)
        at[i] = slab_get(slab, 128);
    cr_assert_leq(memory.map_bytes, mapped, "the same address space serves again");
    for (int i = 0; i < COUNT; i++)
        slab_put(slab, at[i], 128);
}

Test(slab, refuses_when_the_system_does_and_recovers) {
    void *small, *big;
    memory.left = 0;
    cr_assert_null(slab_get(slab, 100));
    cr_assert_null(slab_get(slab, 100000));
    memory.left = 1; /* the arena's head, not its pages */
    cr_assert_null(slab_get(slab, 100));
    memory.left = INT_MAX;
    cr_assert_not_null(small = slab_get(slab, 100));
    cr_assert_not_null(big = slab_get(slab, 100000));
    slab_put(slab, small, 100);
    slab_put(slab, big, 100000);
}

Test(slab, an_object_freed_twice_is_noticed, .signal = SIGABRT) {
    void *keep = slab_get(slab, 40), *at = slab_get(slab, 40);
    cr_assert_not_null(keep);
    slab_put(slab, at, 40);
    slab_put(slab, at, 40);
}

Test(slab, a_wrong_size_is_noticed, .signal = SIGABRT) {
    slab_put(slab, slab_get(slab, 40), 48);
}
