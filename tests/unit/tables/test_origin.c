/* Goal: an origin is never used twice, and what records say of others outlives a restart. */
#include "tables/origin.h"

#include "tests/support/disc_twin.h"
#include "tests/support/stepper.h"

#include <criterion/criterion.h>

struct place {
    struct stepper *st;
    struct disc_twin *twin;
    struct origins *o;
};

static void start(struct place *p) {
    cr_assert(origins_open(&p->o, alloc_system(), disc_twin_disc(p->twin), &p->st->env, NULL) ==
              EG_OK);
}

static void open_place(struct place *p) {
    p->st = stepper_open(alloc_system(), 1, 3, NULL);
    cr_assert(disc_twin_open(&p->twin, &(struct disc_twin_opts){.alloc = alloc_system()}) == EG_OK);
    start(p);
}

static void close_place(struct place *p) {
    origins_close(p->o);
    disc_close(disc_twin_disc(p->twin));
    stepper_close(p->st);
}

Test(origin, alone_it_leaves_no_trace) {
    struct place p;
    uint64_t first;

    open_place(&p);
    cr_assert_eq(p.o->own, 0);
    cr_assert(!origins_met(p.o));
    first = origin_of(p.o, 0);
    cr_assert_eq(disc_twin_unsynced(p.twin), 0);
    origins_close(p.o);
    start(&p);
    cr_assert_eq(p.o->own, 0);
    cr_assert_neq(origin_of(p.o, 0), first);
    close_place(&p);
}

Test(origin, known_to_others_each_start_is_another) {
    struct place p;
    uint64_t first, second;
    uint16_t slot, again;

    open_place(&p);
    first = origin_of(p.o, 0);
    cr_assert(origins_meet(p.o) == EG_OK);
    cr_assert(origins_slot(p.o, 77, &slot) == EG_OK);
    cr_assert_eq(slot, 1);
    origins_close(p.o);
    disc_twin_restart(p.twin);
    start(&p);
    cr_assert(origins_met(p.o));
    cr_assert_eq(p.o->own, 2);
    cr_assert_eq(origin_of(p.o, 0), first);
    cr_assert_eq(origin_of(p.o, 1), 77);
    cr_assert(origins_slot(p.o, 77, &again) == EG_OK && again == 1);
    second = origin_of(p.o, 2);
    cr_assert(second != first && second != 77);
    /* what was not synced yet may be gone after a crash, with all that came after it */
    cr_assert(origins_slot(p.o, 78, &slot) == EG_OK && slot == 3);
    origins_close(p.o);
    disc_twin_crash_keeping(p.twin, 0);
    start(&p);
    cr_assert_eq(p.o->own, 2);
    cr_assert_neq(origin_of(p.o, 2), second);
    close_place(&p);
}

Test(origin, a_disc_that_refuses_gives_no_slot) {
    struct place p;
    uint16_t slot;

    open_place(&p);
    cr_assert(origins_meet(p.o) == EG_OK);
    disc_twin_set_spent(p.twin, true);
    cr_assert(origins_slot(p.o, 5, &slot) == EG_DISC);
    disc_twin_set_spent(p.twin, false);
    cr_assert(origins_slot(p.o, 5, &slot) == EG_OK);
    cr_assert_eq(slot, 1);
    cr_assert(origins_slot(p.o, 0, &slot) == EG_BAD_REQUEST);
    close_place(&p);
}
