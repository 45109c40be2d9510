/* test_packet.c -- what is put into a packet comes out of it, byte for byte, and in few bytes; and
 * nothing that a stranger makes of it does any harm. */
#include "replication/packet.h"

#include "tests/support/fail_alloc.h"
#include "tests/support/gen_value.h"

#include <criterion/criterion.h>
#include <string.h>

enum { MESSAGE_BYTES = 3 * GEN_VALUE_BYTES, ROUNDS = 1000, BROKEN = 3000 };

static struct fail_alloc memory;
static struct rng rng;
static struct packet_writer writer;
static struct buffer said, packed, heard;
static uint64_t seed;

static void begin(void) {
    memory = fail_alloc_after(INT_MAX);
    packet_writer_init(&writer, &memory.base);
    buffer_init(&said, &memory.base, 1 << 20);
    buffer_init(&packed, &memory.base, 1 << 20);
    buffer_init(&heard, &memory.base, 1 << 20);
    seed = rng_test_seed(20);
    rng = rng_of(seed);
}

static void end(void) {
    packet_writer_fini(&writer);
    buffer_fini(&said);
    buffer_fini(&packed);
    buffer_fini(&heard);
    cr_assert_eq(memory.live, 0);
}

TestSuite(packet, .init = begin, .fini = end, .timeout = 240);

static eg_err put(const struct value_writer *w, const uint8_t *at) {
    struct value message = {at, (uint32_t) w->need_bytes};
    eg_err err = packet_put(&writer, message);

    cr_assert_not(w->overflow);
    if (err == EG_OK)
        cr_assert(buffer_append(&said, at, message.size_bytes));
    return err;
}

static struct value the_packet(void) {
    return (struct value){packed.at, (uint32_t) packed.size_bytes};
}

static void take_apart(void) {
    cr_assert_eq(packet_end(&writer, &packed), EG_OK);
    cr_assert(packet_is(the_packet()));
    cr_assert_eq(packet_read(&memory.base, the_packet(), &heard), EG_OK);
    cr_assert_eq(heard.size_bytes, said.size_bytes);
    cr_assert_eq(memcmp(heard.at, said.at, said.size_bytes), 0, "EG_SEED=%llu",
                 (unsigned long long) seed);
}

/* As a copy says it when it follows. */
static void put_follow(uint32_t shard) {
    uint8_t room[200];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_array(&w, 10);
    value_put_u64(&w, 0);
    value_put_u64(&w, 5);
    value_put_u64(&w, UINT64_C(15464428363872305459));
    value_put_u64(&w, UINT64_C(14456080272627886192));
    value_put_u64(&w, shard);
    value_put_u64(&w, 3 + rng_below(&rng, 3));
    value_put_array(&w, 2);
    for (int i = 0; i < 2; i++) {
        value_put_array(&w, 2);
        value_put_u64(&w, i == 0 ? UINT64_C(4287459323300903127) : UINT64_C(1468879850386563825));
        value_put_u64(&w, i == 0 ? rng_below(&rng, 2) : 3850 + rng_below(&rng, 100));
    }
    value_put_bool(&w, false);
    value_put_u64(&w, UINT64_C(4287459323300903127));
    value_put_u64(&w, 0);
    cr_assert_eq(put(&w, room), EG_OK);
}

Test(packet, what_copies_say_of_many_shards_takes_few_bytes) {
    for (uint32_t shard = 0; shard < 256; shard++)
        put_follow(shard);
    cr_assert_geq(said.size_bytes, 256 * 50);
    take_apart();
    cr_assert_leq(packed.size_bytes, 256 * 3, "%zu", packed.size_bytes);
}

/* A message of whatever values, some of which stood in others. */
static void put_any(void) {
    static const uint64_t often[] = {
        0, 1, 127, 128, UINT64_C(1) << 24, UINT64_MAX, UINT64_C(1468879850386563825)};
    static uint8_t room[MESSAGE_BYTES];
    struct value_writer w = value_writer_init(room, sizeof room);
    uint32_t count = 1 + (uint32_t) rng_below(&rng, rng_one_in(&rng, 10) ? 40 : 9);
    eg_err err;

    value_put_array(&w, count);
    value_put_u64(&w, rng_below(&rng, 25));
    for (uint32_t i = 1; i < count && w.need_bytes < MESSAGE_BYTES / 2; i++) {
        uint8_t one[GEN_VALUE_BYTES];

        if (rng_one_in(&rng, 2))
            value_put_u64(&w, often[rng_below(&rng, EG_COUNTOF(often))]);
        else if (w.need_bytes < MESSAGE_BYTES / 3)
            value_put_raw(&w, gen_value_in(&rng, one, GEN_DEPTH));
        else
            value_put_nil(&w);
    }
    err = value_scan(room, w.need_bytes, &(size_t){0}) == EG_OK ? put(&w, room) : EG_OK;
    cr_assert(err == EG_OK || err == EG_TOO_LARGE || w.need_bytes > PACKET_MESSAGE_BYTES_MAX);
}

Test(packet, whatever_is_put_comes_out_again_byte_for_byte) {
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t many = 1 + rng_below(&rng, 12);

        for (uint64_t i = 0; i < many; i++)
            put_any();
        put_follow(7);
        take_apart();
        buffer_clear(&said);
        buffer_clear(&packed);
        buffer_clear(&heard);
    }
}

Test(packet, it_is_full_at_its_bound_and_says_so_before_anything_has_changed) {
    uint8_t room[5000] = {0x92, 5, 0xc5, 4996 >> 8, 4996 & 0xff}, other[] = {0x93, 0xcc, 200, 1, 1};
    struct value large = {room, 5 + 4996 - 6};

    memset(room + 5, 'x', sizeof room - 5);
    room[3] = (4990 >> 8) & 0xff;
    room[4] = 4990 & 0xff;
    large.size_bytes = 5 + 4990;
    while (packet_put(&writer, large) == EG_OK)
        cr_assert(buffer_append(&said, large.at, large.size_bytes));
    cr_assert_eq(packet_put(&writer, large), EG_TOO_LARGE);
    cr_assert_eq(packet_put(&writer, (struct value){other, sizeof other}), EG_BAD_REQUEST);
    cr_assert_eq(packet_put(&writer, (struct value){room + 1, 1}), EG_BAD_REQUEST);
    cr_assert_gt(said.size_bytes, PACKET_BYTES_MAX - 5000);
    take_apart();
    cr_assert_leq(packed.size_bytes, said.size_bytes + 20);
}

Test(packet, without_memory_nothing_has_changed) {
    for (int granted = 0;; granted++) {
        uint32_t count;

        memory.left = INT_MAX;
        put_follow(1);
        memory.left = granted;
        count = writer.count;
        if (packet_put(&writer, (struct value){said.at, (uint32_t) said.size_bytes}) == EG_OK)
            count++;
        cr_assert_eq(writer.count, count);
        if (packet_end(&writer, &packed) == EG_OK &&
            packet_read(&memory.base, the_packet(), &heard) == EG_OK)
            break;
        memory.left = INT_MAX;
        packet_writer_fini(&writer);
        buffer_fini(&said);
        buffer_fini(&packed);
        buffer_fini(&heard);
    }
    memory.left = INT_MAX;
    cr_assert_eq(memcmp(heard.at, said.at, said.size_bytes), 0);
}

Test(packet, what_has_changed_on_its_way_is_refused_or_whole_values) {
    size_t packet_bytes;

    for (uint32_t shard = 0; shard < 20; shard++) {
        put_follow(shard);
        put_any();
    }
    take_apart();
    packet_bytes = packed.size_bytes;
    for (int i = 0; i < BROKEN; i++) {
        uint8_t *at = &packed.at[rng_below(&rng, packet_bytes)], was = *at;
        size_t used, done = 0;

        *at = (uint8_t) rng_u64(&rng);
        buffer_clear(&heard);
        if (value_scan(packed.at, packet_bytes, &used) == EG_OK &&
            packet_read(&memory.base, (struct value){packed.at, (uint32_t) used}, &heard) == EG_OK)
            for (; done < heard.size_bytes; done += used)
                cr_assert_eq(value_scan(heard.at + done, heard.size_bytes - done, &used), EG_OK);
        *at = was;
    }
}
