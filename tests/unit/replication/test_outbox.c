/* test_outbox.c -- what is posted goes together, nothing overtakes it, and nothing of it is lost
 * without a word. */
#include "replication/outbox.h"

#include "tests/support/fail_alloc.h"

#include <criterion/criterion.h>
#include <string.h>

enum { HERE = 7, THERE = 8, PLAIN = 9 /* it knows no packets */, MESSAGE_BYTES = 13 };

static struct fail_alloc memory;
static struct outbox outbox;
static struct buffer sent; /* all messages, taken out of their packets */
static uint32_t frames, wakes;
static eg_err refuse;

static eg_err on_send(void *user, uint64_t to, struct value payload) {
    (void) user;
    if (refuse != EG_OK)
        return refuse;
    cr_assert(to == HERE || to == THERE || to == PLAIN);
    cr_assert(to != PLAIN || !packet_is(payload));
    frames++;
    if (packet_is(payload))
        cr_assert_eq(packet_read(&memory.base, payload, &sent), EG_OK);
    else
        cr_assert(buffer_append(&sent, payload.at, payload.size_bytes));
    return EG_OK;
}

static bool packs(void *user, uint64_t to) {
    (void) user;
    return to != PLAIN;
}

static void wake(void *user) {
    (void) user;
    wakes++;
}

static void begin(void) {
    memory = fail_alloc_after(INT_MAX);
    outbox_init(&outbox, &(struct outbox_opts){
                             .alloc = &memory.base, .send = on_send, .packs = packs, .wake = wake});
    buffer_init(&sent, &memory.base, 1 << 24);
}

static void end(void) {
    outbox_fini(&outbox);
    buffer_fini(&sent);
    cr_assert_eq(memory.live, 0);
}

TestSuite(outbox, .init = begin, .fini = end, .timeout = 240);

/* A message that says which one it is. */
static struct value message(uint8_t number) {
    static uint8_t at[MESSAGE_BYTES] = {0x94, 2, 0, 0xcf, 1, 2, 3, 4, 5, 6, 7, 8, 0xc0};

    at[2] = number;
    at[10] = number;
    return (struct value){at, sizeof at};
}

static uint8_t number_of(size_t i) {
    return sent.at[i * MESSAGE_BYTES + 2];
}

Test(outbox, what_is_posted_goes_together_when_it_is_flushed) {
    for (uint8_t i = 0; i < 100; i++) {
        cr_assert_eq(outbox_post(&outbox, HERE, message(i)), EG_OK);
        cr_assert_eq(outbox_post(&outbox, THERE, message(i)), EG_OK);
    }
    cr_assert_eq(frames, 0);
    cr_assert_eq(wakes, 2);
    cr_assert_eq(outbox_posted(&outbox), 200);
    cr_assert_not(outbox_flush(&outbox));
    cr_assert_eq(frames, 2);
    cr_assert_eq(sent.size_bytes, 200 * MESSAGE_BYTES);
    for (uint8_t i = 0; i < 100; i++)
        cr_assert_eq(number_of(i), i);
    cr_assert_not(outbox_flush(&outbox));
    cr_assert_eq(frames, 2);
}

Test(outbox, what_is_sent_overtakes_nothing_that_was_posted_to_that_node) {
    cr_assert_eq(outbox_post(&outbox, HERE, message(1)), EG_OK);
    cr_assert_eq(outbox_send(&outbox, THERE, message(2)), EG_OK);
    cr_assert_eq(outbox_post(&outbox, HERE, message(3)), EG_OK);
    cr_assert_eq(outbox_send(&outbox, HERE, message(4)), EG_OK);
    cr_assert_eq(sent.size_bytes, 4 * MESSAGE_BYTES);
    cr_assert_eq(number_of(0), 2);
    for (uint8_t i = 1; i < 4; i++)
        cr_assert_eq(number_of(i), i == 1 ? 1 : i + 1);
}

Test(outbox, who_knows_no_packets_is_sent_what_is_posted) {
    cr_assert_eq(outbox_post(&outbox, PLAIN, message(1)), EG_OK);
    cr_assert_eq(frames, 1);
    cr_assert_eq(wakes, 0);
}

Test(outbox, where_the_link_takes_nothing_it_stays_and_who_comes_next_hears_so) {
    cr_assert_eq(outbox_post(&outbox, HERE, message(1)), EG_OK);
    refuse = EG_BUSY;
    cr_assert(outbox_flush(&outbox));
    cr_assert_eq(outbox_post(&outbox, HERE, message(2)), EG_BUSY);
    cr_assert_eq(outbox_send(&outbox, HERE, message(2)), EG_BUSY);
    refuse = EG_OK;
    cr_assert_not(outbox_flush(&outbox));
    cr_assert_eq(outbox_send(&outbox, HERE, message(3)), EG_OK);
    cr_assert_eq(sent.size_bytes, 2 * MESSAGE_BYTES);
    cr_assert_eq(number_of(1), 3);
}

Test(outbox, without_a_link_it_is_lost_and_so_is_what_waited_for_one_that_ended) {
    cr_assert_eq(outbox_post(&outbox, HERE, message(1)), EG_OK);
    refuse = EG_NO_REPLICA;
    cr_assert_not(outbox_flush(&outbox));
    refuse = EG_OK;
    cr_assert_eq(outbox_post(&outbox, HERE, message(2)), EG_OK);
    outbox_drop(&outbox, HERE);
    outbox_drop(&outbox, HERE);
    cr_assert_not(outbox_flush(&outbox));
    cr_assert_eq(frames, 0);
}

Test(outbox, what_is_more_than_a_packet_goes_in_several) {
    uint8_t large[5000] = {0x92, 1, 0xc5, 4995 >> 8, 4995 & 0xff};
    struct value v = {large, sizeof large};

    for (int i = 0; i < 40; i++)
        cr_assert_eq(outbox_post(&outbox, HERE, v), EG_OK);
    cr_assert_eq(frames, 40 * sizeof large / PACKET_BYTES_MAX);
    cr_assert_not(outbox_flush(&outbox));
    cr_assert_eq(sent.size_bytes, 40 * sizeof large);
}

Test(outbox, without_memory_for_a_packet_a_message_goes_by_itself) {
    cr_assert(buffer_append(&sent, "room", 4));
    buffer_clear(&sent);
    memory.left = 0;
    cr_assert_eq(outbox_post(&outbox, HERE, message(1)), EG_OK);
    cr_assert_eq(frames, 1);
    memory.left = INT_MAX;
}
