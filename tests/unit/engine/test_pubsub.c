/* A publication reaches every subscriber once, and nobody who has gone. */
#include "engine/pubsub.h"

#include "tests/support/fail_alloc.h"
#include "tests/support/stepper.h"

#include <criterion/criterion.h>
#include <string.h>

static struct fail_alloc memory;
static struct stepper *st;
static int heard[1000]; /* tags, in order of arrival at whomever */
static int heard_count;

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
    heard_count = 0;
    st = stepper_open(&memory.base, 2, 1, NULL);
    cr_assert_not_null(st);
}

static void teardown(void) {
    stepper_close(st);
    cr_assert_eq(memory.live, 0, "%d allocations leaked", memory.live);
}

TestSuite(pubsub, .init = setup, .fini = teardown, .timeout = 240);

enum { LEAVE = 1000, END };

static eg_err listener_init(struct actor *self, void *state, const void *arg) {
    (void) state;
    return pubsub_subscribe(runtime_topics(actor_runtime(self)), self, arg);
}

static void listener_receive(struct actor *self, void *state, struct message *m) {
    (void) state;
    if (m->tag == LEAVE)
        cr_assert_eq(pubsub_unsubscribe(runtime_topics(actor_runtime(self)), self, "news"), EG_OK);
    else if (m->tag == END)
        actor_exit_normal(self);
    else
        heard[heard_count++] = (int) m->tag;
}

static const struct actor_ops listener = {
    .name = "listener", .init = listener_init, .receive = listener_receive};

static eg_pid listen_to(const char *topic) {
    eg_pid pid;
    struct spawn_opts o = {.ops = &listener,
                           .arg = topic,
                           .arg_bytes = strlen(topic) + 1,
                           .scheduler = SPAWN_ANYWHERE};
    cr_assert_eq(actor_spawn(st->rt, NULL, &o, &pid, NULL), EG_OK);
    stepper_run(st);
    return pid;
}

static uint32_t publish(const char *topic, uint32_t tag) {
    uint32_t reached;
    cr_assert_eq(pubsub_publish(runtime_topics(st->rt), EG_PID_NONE, topic, tag, "x", 1, &reached),
                 EG_OK);
    stepper_run(st);
    return reached;
}

Test(pubsub, reaches_the_subscribers_of_that_topic) {
    listen_to("news");
    listen_to("news");
    listen_to("weather");
    cr_assert_eq(publish("news", 1), 2);
    cr_assert_eq(publish("weather", 2), 1);
    cr_assert_eq(publish("nothing", 3), 0);
    cr_assert_eq(heard_count, 3);
}

Test(pubsub, who_left_or_ended_hears_nothing_more) {
    eg_pid a = listen_to("news"), b = listen_to("news");

    cr_assert_eq(stepper_cast(st, a, LEAVE, NULL, 0), EG_OK);
    cr_assert_eq(stepper_cast(st, b, END, NULL, 0), EG_OK);
    stepper_run(st);
    cr_assert_eq(publish("news", 1), 0);
    cr_assert_eq(registry_count(runtime_topics(st->rt)->topics), 0);
}

Test(pubsub, one_publisher_is_heard_in_order) {
    listen_to("news");
    for (uint32_t i = 0; i < 100; i++)
        publish("news", i);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(heard[i], i);
}

Test(pubsub, reaches_more_subscribers_than_fit_on_the_stack) {
    for (int i = 0; i < 500; i++)
        listen_to("news");
    cr_assert_eq(publish("news", 1), 500);
    cr_assert_eq(heard_count, 500);
}

static int hooked;
static void on_published(struct pubsub_hook *h, eg_pid from, const char *topic, uint32_t tag,
                         const void *bytes, size_t size_bytes) {
    (void) h;
    (void) from;
    (void) bytes;
    hooked += tag == 9 && size_bytes == 1 && strcmp(topic, "news") == 0;
}

Test(pubsub, the_hook_hears_what_is_published_here_and_not_what_is_delivered) {
    struct pubsub_hook hook = {on_published};

    runtime_topics(st->rt)->hook = &hook;
    publish("news", 9);
    cr_assert_eq(pubsub_deliver(runtime_topics(st->rt), EG_PID_NONE, "news", 9, "x", 1, NULL),
                 EG_OK);
    cr_assert_eq(hooked, 1);
}
