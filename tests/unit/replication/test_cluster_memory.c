/* test_cluster_memory.c -- what a node knows again after a restart. */
#include "replication/cluster_memory.h"

#include "tests/support/disc_twin.h"
#include "tests/support/swim_world.h"

#include <criterion/criterion.h>

TestSuite(cluster_memory, .timeout = 240);

static struct disc_twin *twin;
static struct disc *disc;
static struct buffer row;

static void setup(void) {
    struct disc_twin_opts o = {.alloc = alloc_system(), .seed = 1};
    cr_assert_eq(disc_twin_open(&twin, &o), EG_OK);
    disc = disc_twin_disc(twin);
    buffer_init(&row, alloc_system(), CLUSTER_MEMORY_BYTES_MAX);
}

static void teardown(void) {
    buffer_fini(&row);
    disc_close(disc);
}

Test(cluster_memory, is_empty_on_a_new_disc, .init = setup, .fini = teardown) {
    struct cluster_memory m;
    struct value members;

    cr_assert_eq(cluster_memory_load(disc, &m, &row, &members, NULL), EG_OK);
    cr_assert(m.incarnation == 0 && m.born == 0 && m.epoch == 0 && members.size_bytes == 0);
}

Test(cluster_memory, comes_back_with_the_members, .init = setup, .fini = teardown) {
    struct cluster_memory m = {.incarnation = 7, .born = 5, .epoch = 99, .remembers = true}, back;
    struct value members;
    struct swim_world w;

    swim_world_init(&w, 3, 1);
    cr_assert(swim_world_until(&w, 5000, swim_world_is_true));
    cr_assert_eq(cluster_memory_save(disc, alloc_system(), &m, w.node[0].swim), EG_OK);
    disc_twin_restart(twin);

    cr_assert_eq(cluster_memory_load(disc, &back, &row, &members, NULL), EG_OK);
    cr_assert(back.incarnation == 7 && back.born == 5 && back.epoch == 99 && back.remembers);
    swim_world_kill(&w, 0);
    swim_world_start(&w, 0);
    cr_assert_eq(swim_load(w.node[0].swim, members), EG_OK);
    cr_assert_eq(swim_count(w.node[0].swim), 3);
    cr_assert_eq(swim_world_state(&w, 0, 2), SWIM_JOINING);
    swim_world_fini(&w);
}

Test(cluster_memory, makes_the_next_start_a_later_one) {
    struct cluster_memory m = {.incarnation = (uint64_t) 5000 << 16};

    cr_assert_eq(cluster_memory_next_start(&m, 6000), (uint64_t) 6000 << 16);
    cr_assert_eq(cluster_memory_next_start(&m, 4000), m.incarnation + 1); /* the clock went back */
    cr_assert_gt(cluster_memory_next_start(&(struct cluster_memory){0}, 0), 0);
}

static void put_row(const void *at, size_t size_bytes) {
    static const uint8_t key[] = {DISC_META_CLUSTER};
    struct disc_batch b;

    disc_batch_init(&b, alloc_system());
    cr_assert_eq(disc_batch_put(&b, disc->meta, (struct disc_bytes){key, sizeof key},
                                (struct disc_bytes){at, size_bytes}),
                 EG_OK);
    cr_assert_eq(disc_write(disc, &b), EG_OK);
    disc_batch_fini(&b);
}

Test(cluster_memory, that_is_damaged_is_said_to_be, .init = setup, .fini = teardown) {
    static const uint8_t later[] = {0x95, 2, 1, 1, 1, 0x90}, cut[] = {0x95, 1, 1, 1, 1};
    struct cluster_memory m;
    struct err_note note = {""};
    struct value members;

    put_row(later, sizeof later);
    cr_assert_eq(cluster_memory_load(disc, &m, &row, &members, &note), EG_CORRUPT);
    cr_assert(note.text[0] != '\0');
    buffer_clear(&row);
    put_row(cut, sizeof cut);
    cr_assert_eq(cluster_memory_load(disc, &m, &row, &members, &note), EG_CORRUPT);
}

Test(cluster_memory, is_not_written_where_the_disc_is_behind, .init = setup, .fini = teardown) {
    struct cluster_memory m = {.incarnation = 7}, back;
    struct value members;

    disc_twin_set_behind(twin, 1);
    cr_assert_eq(cluster_memory_save(disc, alloc_system(), &m, NULL), EG_BUSY);
    disc_twin_set_behind(twin, 0);
    cr_assert_eq(cluster_memory_save(disc, alloc_system(), &m, NULL), EG_OK);
    cr_assert_eq(cluster_memory_load(disc, &back, &row, &members, NULL), EG_OK);
    cr_assert(back.incarnation == 7 && value_count(members) == 0);
}
