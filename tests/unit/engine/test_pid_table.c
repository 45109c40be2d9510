/* A pid table hands out slots, tells generations apart, and never hands out one twice. */
#include "engine/pid_table.h"
#include "tests/support/fail_alloc.h"

#include <criterion/criterion.h>

static struct fail_alloc memory;
static struct pid_table table;

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
    cr_assert_eq(pid_table_open(&table, &memory.base, 3), EG_OK);
}

static void teardown(void) {
    pid_table_close(&table);
    cr_assert_eq(memory.live, 0);
}

TestSuite(pid_table, .init = setup, .fini = teardown, .timeout = 240);

static struct pid_entry *find(uint32_t slot, uint32_t generation) {
    uint64_t word;
    return pid_table_find(&table, slot, generation, &word);
}

static void take(uint32_t *slot, uint32_t *generation) {
    cr_assert_eq(pid_table_take(&table, slot, generation), EG_OK);
    pid_table_publish(&table, *slot, *generation, 0, false, &table);
}

Test(pid_table, a_full_table_refuses_and_a_released_slot_serves_again) {
    uint32_t slot[3], generation[3], fresh_slot, fresh_generation;
    for (int i = 0; i < 3; i++)
        take(&slot[i], &generation[i]);
    cr_assert_eq(pid_table_take(&table, &fresh_slot, &fresh_generation), EG_BUSY);
    pid_table_release(&table, slot[1], generation[1]);
    cr_assert_null(find(slot[1], generation[1]));
    take(&fresh_slot, &fresh_generation);
    cr_assert_eq(fresh_slot, slot[1]);
    cr_assert_neq(fresh_generation, generation[1]);
    cr_assert_null(find(slot[1], generation[1]), "the stale pid reached the new actor");
    cr_assert_not_null(find(fresh_slot, fresh_generation));
}

Test(pid_table, a_guessed_pid_of_a_free_slot_finds_nobody) {
    uint32_t slot, generation;
    take(&slot, &generation);
    pid_table_release(&table, slot, generation);
    for (uint32_t guess = 0; guess < 5; guess++)
        cr_assert_null(find(slot, guess));
    cr_assert_null(find(3, 1));
    cr_assert_null(find(UINT32_MAX, UINT32_MAX));
}

Test(pid_table, a_slot_whose_generations_are_over_is_retired) {
    uint32_t slot, generation, next_slot, next_generation;
    take(&slot, &generation);
    /* As after 2^32 - 2 births. */
    pid_table_publish(&table, slot, UINT32_MAX, 0, false, &table);
    pid_table_release(&table, slot, UINT32_MAX);
    cr_assert_null(find(slot, UINT32_MAX));
    for (int i = 0; i < 2; i++) {
        take(&next_slot, &next_generation);
        cr_assert_neq(next_slot, slot);
    }
    cr_assert_eq(pid_table_take(&table, &next_slot, &next_generation), EG_BUSY);
}

Test(pid_table_oom, open_fails_cleanly) {
    struct fail_alloc none = fail_alloc_after(0);
    struct pid_table t;
    cr_assert_eq(pid_table_open(&t, &none.base, 3), EG_MEMORY);
    cr_assert_eq(none.live, 0);
}
