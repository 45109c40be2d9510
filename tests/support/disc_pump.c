/* disc_pump.c -- a disc's writer as an actor. */
#include "tests/support/disc_pump.h"

#include <string.h>

void disc_pump_wake(void *ctx) {
    struct disc_pump *p = ctx;
    struct message *m = message_new(p->rt, MESSAGE_REPLY, 0); /* REPLY: never refused */

    EG_ASSERT(m != NULL); /* tests starve engines of memory, not their discs */
    (void) runtime_send(p->rt, EG_PID_NONE, p->pid, m); /* gone with its runtime */
}

static void pump_receive(struct actor *self, void *state, struct message *m) {
    struct disc_pump *p = *(struct disc_pump **) state;
    struct message *later;
    eg_ref timer;

    if (m->kind == MESSAGE_TIMEOUT) {
        if (!p->still)
            disc_twin_run(p->twin);
        return;
    }
    later = message_new(p->rt, MESSAGE_INFO, 0);
    if (later != NULL && actor_start_timer(self, p->delay_ms, later, &timer) == EG_OK)
        return;
    if (!p->still)
        disc_twin_run(p->twin); /* no memory to wait with */
}

static eg_err pump_init(struct actor *self, void *state, const void *arg) {
    (void) self;
    memcpy(state, arg, sizeof(struct disc_pump *));
    return EG_OK;
}

void disc_pump_start(struct disc_pump *p, struct runtime *rt) {
    static const struct actor_ops ops = {.name = "disc pump",
                                         .state_bytes = sizeof(struct disc_pump *),
                                         .init = pump_init,
                                         .receive = pump_receive};
    struct spawn_opts o = {.ops = &ops, .arg = &p, .arg_bytes = sizeof p};

    p->rt = rt;
    EG_ASSERT(actor_spawn(rt, NULL, &o, &p->pid, NULL) == EG_OK);
}

void disc_pump_go_on(struct disc_pump *p) {
    p->still = false;
    disc_pump_wake(p);
}
