/* supervised_server.c -- a server that fails, and the supervisor that brings it back.
 *
 * A counter is called by name.  Told to fail, it ends with a reason; its supervisor
 * starts it again, fresh, under the same name.
 *
 *     cc supervised_server.c $(pkg-config --cflags --libs engram) -o supervised_server
 */
#include <engram.h>
#include <engram/actor.h>

#include <inttypes.h>
#include <stdio.h>

enum { ADD, FAIL };

struct counter {
    int64_t total;
};

static void counter_call(eg_actor *self, void *state, eg_from from, const eg_message *m) {
    struct counter *c = state;

    if (m->tag == FAIL) {
        eg_crash(self, 1, "told to fail"); /* whoever waits hears EG_NOPROC */
        return;
    }
    c->total += *(const int64_t *) m->data;
    eg_reply(self, from, EG_OK, &c->total, sizeof c->total);
}

static void counter_terminate(eg_actor *self, void *state, const eg_exit *reason) {
    const struct counter *c = state;
    (void) self;
    printf("counter ends at %" PRId64 ": %s\n", c->total,
           reason->text[0] != '\0' ? reason->text : "shutdown");
}

static const eg_server_ops counter = {
    .name = "counter",
    .state_bytes = sizeof(struct counter),
    .call = counter_call,
    .terminate = counter_terminate,
};

static const eg_child children[] = {
    {.id = "counter", .server = &counter, .name = "counter", .restart = EG_PERMANENT},
};
static const eg_supervisor supervisor = {
    .label = "counters",
    .strategy = EG_ONE_FOR_ONE,
    .intensity = 3, /* more than 3 restarts in 5 seconds, and it gives up */
    .period_ms = 5000,
    .children = children,
    .child_count = 1,
};

/* The name is looked up for each call: another life has another pid. */
static eg_err add(eg_node *node, int64_t n, int64_t *total) {
    return eg_call_wait(node, eg_whereis(node, "counter"), ADD, &n, sizeof n, 1000, total,
                        sizeof *total, NULL);
}

static int run(eg_node *node) {
    eg_pid top;
    int64_t total = 0;

    if (eg_spawn_supervisor(node, NULL, &supervisor, "counters", &top) != EG_OK ||
        eg_await_children(node, top, 1000) != EG_OK)
        return 1;

    for (int64_t n = 1; n <= 10; n++)
        if (add(node, n, &total) != EG_OK)
            return 1;
    printf("total %" PRId64 "\n", total);

    eg_err err =
        eg_call_wait(node, eg_whereis(node, "counter"), FAIL, NULL, 0, 1000, NULL, 0, NULL);
    printf("the failing call: %s\n", eg_err_name(err));

    /* A command waits for its turn behind a restart that is under way. */
    eg_child_info info;
    size_t count;
    if (eg_await_children(node, top, 1000) != EG_OK ||
        eg_which_children(node, top, &info, 1, &count) != EG_OK)
        return 1;
    printf("%s was restarted %u time(s)\n", info.id, info.restarts);
    if (add(node, 5, &total) != EG_OK)
        return 1;
    printf("total %" PRId64 "\n", total);
    return eg_stop_supervisor(node, top, 1000) == EG_OK ? 0 : 1;
}

int main(void) {
    eg_note note;
    eg_node *node;
    int status;

    if (eg_open(&(eg_options){.name = "example"}, &node, &note) != EG_OK) {
        fprintf(stderr, "supervised_server: %s\n", note.text);
        return 1;
    }
    status = run(node);
    eg_close(node);
    return status;
}
