/* disc_pump.h -- an actor that moves a disc twin in virtual time.
 *
 * Where actors run in one thread nobody stands in for the disc's writer: this one
 * hears that something was submitted and carries it out a moment later.
 *
 *     struct disc_pump pump = {.delay_ms = 2};
 *     disc_twin_open(&pump.twin, &(struct disc_twin_opts){.wake = disc_pump_wake, .ctx = &pump});
 *     disc_pump_start(&pump, runtime);
 */
#ifndef TESTS_SUPPORT_DISC_PUMP_H
#define TESTS_SUPPORT_DISC_PUMP_H

#include "engine/actor.h"
#include "tests/support/disc_twin.h"

struct disc_pump {
    struct disc_twin *twin;
    struct runtime *rt;
    eg_pid pid;
    uint64_t delay_ms; /* from the first request to the group */
    bool still;        /* holds back what is submitted        */
};

void disc_pump_wake(void *pump); /* the twin's wake */
void disc_pump_start(struct disc_pump *p, struct runtime *rt);
/* Where it stood still: go on. */
void disc_pump_go_on(struct disc_pump *p);

#endif /* TESTS_SUPPORT_DISC_PUMP_H */
