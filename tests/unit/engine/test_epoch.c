/* test_epoch.c -- nothing is freed under a reader, everything is freed after it. */
#include "engine/epoch.h"
#include "tests/support/fail_alloc.h"

#include <criterion/criterion.h>
#include <pthread.h>

enum { SLOTS = 4 };

static struct fail_alloc memory;
static struct epoch *domain;
static struct epoch_bin bin;
static int freed;
static void *freed_last;

static void count_free(void *owner, void *ptr, size_t size_bytes) {
    cr_assert_eq(owner, (void *) &freed);
    cr_assert_eq(size_bytes, 10);
    freed++;
    freed_last = ptr;
}

static void retire(void *ptr) {
    epoch_retire(&bin, count_free, &freed, ptr, 10);
}

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
    cr_assert_eq(epoch_open(&domain, &memory.base, SLOTS), EG_OK);
    epoch_bin_init(&bin, domain, &memory.base);
    freed = 0;
}

static void teardown(void) {
    epoch_bin_drain(&bin);
    cr_assert_eq(bin.retired_bytes, 0);
    cr_assert_eq(bin.retired_count, 0);
    epoch_close(domain);
    cr_assert_eq(memory.live, 0, "%d allocations leaked", (int) memory.live);
}

TestSuite(epoch, .init = setup, .fini = teardown, .timeout = 240);

Test(epoch, frees_at_once_when_nobody_reads_but_never_inside_retire) {
    int thing;
    retire(&thing);
    cr_assert_eq(freed, 0);
    cr_assert_eq(bin.retired_bytes, 10);
    epoch_flush(&bin);
    cr_assert_eq(freed, 1);
    cr_assert_eq(freed_last, &thing);
    cr_assert_eq(bin.retired_bytes, 0);
}

Test(epoch, a_section_holds_back_what_was_retired_during_it_and_nests) {
    struct epoch_slot *slot = epoch_slot_claim(domain);
    int thing;

    epoch_enter(slot);
    epoch_enter(slot);
    retire(&thing);
    epoch_flush(&bin);
    epoch_exit(slot);
    epoch_flush(&bin);
    cr_assert_eq(freed, 0, "the outer section still runs");
    epoch_exit(slot);
    epoch_flush(&bin);
    cr_assert_eq(freed, 1);
    epoch_slot_release(slot);
}

Test(epoch, a_section_that_began_after_the_stamp_holds_nothing_back) {
    struct epoch_slot *early = epoch_slot_claim(domain), *late = epoch_slot_claim(domain);
    int thing;

    epoch_enter(early);
    retire(&thing);
    epoch_flush(&bin); /* stamps, cannot free */
    epoch_enter(late);
    epoch_exit(early);
    epoch_flush(&bin);
    cr_assert_eq(freed, 1);
    epoch_exit(late);
    epoch_slot_release(early);
    epoch_slot_release(late);
}

Test(epoch, a_scheduler_lets_go_when_quiescent_and_when_offline) {
    struct epoch_slot *slot = epoch_slot_claim(domain);
    int thing;

    epoch_online(slot);
    retire(&thing);
    epoch_flush(&bin);
    cr_assert_eq(freed, 0);
    epoch_quiescent(slot);
    epoch_flush(&bin);
    cr_assert_eq(freed, 1);

    retire(&thing);
    epoch_flush(&bin);
    cr_assert_eq(freed, 1, "online again since quiescent");
    epoch_offline(slot);
    epoch_flush(&bin);
    cr_assert_eq(freed, 2);
    epoch_slot_release(slot);
}

Test(epoch, lag_grows_behind_a_stuck_reader_and_is_zero_without_one) {
    struct epoch_slot *slot = epoch_slot_claim(domain);
    int thing;

    cr_assert_eq(epoch_lag(domain), 0);
    epoch_enter(slot);
    for (int i = 0; i < 10; i++) {
        retire(&thing);
        epoch_flush(&bin);
    }
    cr_assert_eq(epoch_lag(domain), 10);
    cr_assert_eq(bin.retired_bytes, 100);
    epoch_exit(slot);
    cr_assert_eq(epoch_lag(domain), 0);
    epoch_slot_release(slot);
}

Test(epoch, a_sweep_frees_a_bounded_number_and_backlogs_shrink) {
    struct epoch_slot *slot = epoch_slot_claim(domain);
    int thing, sweeps = 0;

    epoch_enter(slot);
    for (int i = 0; i < 100000; i++)
        retire(&thing);
    epoch_sweep(&bin);
    epoch_exit(slot);
    while (bin.retired_count > 0) {
        int before = freed;
        retire(&thing); /* the owner goes on working */
        epoch_flush(&bin);
        cr_assert_leq(freed - before, 200, "one turn pays for another's backlog");
        sweeps++;
    }
    cr_assert_lt(sweeps, 1000);
    epoch_slot_release(slot);
}

Test(epoch, two_epochs_that_another_bin_ended_free_what_was_closed_before_them) {
    struct epoch_bin other;
    int thing, held;

    epoch_bin_init(&other, domain, &memory.base);
    while (bin.closed_on == 0) {
        retire(&thing);
        epoch_sweep(&bin);
    }
    held = (int) bin.retired_count;
    for (int epochs = 1; epochs <= 2; epochs++) {
        epoch_retire(&other, count_free, &freed, &thing, 10);
        freed = 0;
        epoch_flush(&other);
        cr_assert_eq(freed, 1);
        freed = 0;
        epoch_sweep(&bin);
        cr_assert_eq(freed > 0, epochs == 2, "%d freed after %d epochs", freed, epochs);
    }
    cr_assert_lt((int) bin.retired_count, held);
    epoch_bin_drain(&other);
}

Test(epoch, slots_run_out_and_come_back) {
    struct epoch_slot *slot[SLOTS];
    for (int i = 0; i < SLOTS; i++)
        cr_assert_not_null(slot[i] = epoch_slot_claim(domain));
    cr_assert_null(epoch_slot_claim(domain));
    epoch_slot_release(slot[2]);
    cr_assert_eq(epoch_slot_claim(domain), slot[2]);
    for (int i = 0; i < SLOTS; i++)
        epoch_slot_release(slot[i]);
}

Test(epoch, what_cannot_be_queued_is_counted_and_the_rest_goes_on) {
    int thing;
    memory.left = 0;
    retire(&thing);
    cr_assert_eq(bin.lost_bytes, 10);
    cr_assert_eq(bin.retired_bytes, 0);
    memory.left = INT_MAX;
    retire(&thing);
    epoch_flush(&bin);
    cr_assert_eq(freed, 1);
}

Test(epoch, what_is_too_large_to_be_forgotten_stays_with_its_owner) {
    int thing;
    memory.left = 0;
    cr_assert(!epoch_try_retire(&bin, count_free, &freed, &thing, 10));
    cr_assert_eq(bin.lost_bytes, 0);
    cr_assert_eq(bin.retired_count, 0);
    memory.left = INT_MAX;
    cr_assert(epoch_try_retire(&bin, count_free, &freed, &thing, 10));
    epoch_flush(&bin);
    cr_assert_eq(freed, 1);
}

static void *leave_soon(void *arg) {
    struct epoch_slot *slot = epoch_slot_claim(domain);
    epoch_enter(slot);
    atomic_store((_Atomic int *) arg, 1);
    while (atomic_load((_Atomic int *) arg) != 2)
        ;
    epoch_exit(slot);
    epoch_slot_release(slot);
    return NULL;
}

Test(epoch, drain_waits_for_readers) {
    _Atomic int stage = 0;
    pthread_t thread;
    int thing;

    cr_assert_eq(pthread_create(&thread, NULL, leave_soon, &stage), 0);
    while (atomic_load(&stage) != 1)
        ;
    retire(&thing);
    epoch_flush(&bin);
    cr_assert_eq(freed, 0);
    atomic_store(&stage, 2);
    epoch_bin_drain(&bin);
    cr_assert_eq(freed, 1);
    pthread_join(thread, NULL);
}

Test(epoch_oom, open_fails_cleanly) {
    struct fail_alloc none = fail_alloc_after(0);
    struct epoch *e = NULL;
    cr_assert_eq(epoch_open(&e, &none.base, 8), EG_MEMORY);
    cr_assert_null(e);
    cr_assert_eq(none.live, 0);
}

/* A structure that was retired itself takes what waited in its bin with it, closed batches
 * and open ones; the bin is as new afterwards. */
Test(epoch, a_bin_is_discarded_whole_whatever_waits_for_an_epoch) {
    static char things[3000];
    int count = 0;

    for (int round = 0; round < 2; round++) {
        for (; count < 1500 * (round + 1); count++) {
            retire(&things[count]);
            if (count % 1100 == 1000)
                epoch_sweep(&bin);
        }
        epoch_bin_discard(&bin);
        cr_assert_eq(freed, count);
        cr_assert_eq(bin.retired_count, 0);
    }
    epoch_sweep(&bin);
    epoch_flush(&bin);
}
