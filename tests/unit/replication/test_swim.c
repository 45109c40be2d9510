/* test_swim.c -- who is there, said in sentences. */
#include "tests/support/swim_world.h"

#include "tests/support/fail_alloc.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(swim, .timeout = 240);

static void meet(struct swim_world *w, uint32_t count) {
    swim_world_init(w, count, 7);
    cr_assert(swim_world_until(w, 3000, swim_world_is_true));
    swim_world_run(w, 1000);
}

static void stop(struct swim_world *w, uint32_t node, uint64_t ms) {
    w->net.paused[node] = true;
    w->node[node].stopped_until_ms = w->net.now_ms + ms;
}

static bool third_is_down(const struct swim_world *w) {
    return swim_world_state(w, 0, 2) == SWIM_DOWN && swim_world_state(w, 1, 2) == SWIM_DOWN;
}

Test(swim, those_who_link_are_up_for_each_other) {
    struct swim_world w;

    meet(&w, 5);
    cr_assert_eq(swim_count(w.node[0].swim), 5);
    for (uint32_t i = 1; i < 5; i++) /* by id */
        cr_assert(swim_at(w.node[0].swim, i - 1)->info.id < swim_at(w.node[0].swim, i)->info.id);
    swim_world_fini(&w);
}

Test(swim, one_who_is_linked_to_one_is_known_to_all) {
    struct swim_world w;

    swim_world_init(&w, 4, 7);
    for (uint32_t i = 0; i < 2; i++) /* the last links only with the third */
        w.net.blocked[3][i] = w.net.blocked[i][3] = true;
    swim_world_run(&w, 3000);
    cr_assert_eq(swim_world_state(&w, 0, 3), SWIM_UP);
    cr_assert_eq(swim_world_state(&w, 3, 1), SWIM_UP);
    swim_world_run(&w, 60000); /* and stays so, by those whom it can ask */
    cr_assert_eq(swim_world_state(&w, 0, 3), SWIM_UP);
    cr_assert_eq(w.falls, 0);
    swim_world_fini(&w);
}

Test(swim, one_who_is_killed_is_suspect_at_once_and_soon_down) {
    struct swim_world w;

    meet(&w, 3);
    swim_world_kill(&w, 2);
    swim_world_run(&w, 50);
    cr_assert_eq(swim_world_state(&w, 0, 2), SWIM_SUSPECT);
    cr_assert(swim_world_until(&w, 1500, third_is_down));
    swim_world_run(&w, 60000);
    cr_assert_eq(swim_world_state(&w, 0, 2), SWIM_DOWN); /* and not forgotten */
    swim_world_fini(&w);
}

Test(swim, one_who_stands_still_goes_down_and_comes_back_by_itself) {
    struct swim_world w;
    uint64_t incarnation;

    meet(&w, 5);
    incarnation = w.node[2].info.incarnation;
    stop(&w, 2, 20000);
    cr_assert(swim_world_until(&w, 6000, third_is_down));
    swim_world_run(&w, 14000);
    cr_assert(swim_world_until(&w, 10000, swim_world_is_true));
    cr_assert_eq(swim_find(w.node[0].swim, w.node[2].info.id)->info.incarnation, incarnation);
    swim_world_fini(&w);
}

Test(swim, a_short_stop_is_refuted) {
    struct swim_world w;

    meet(&w, 5);
    for (uint32_t i = 0; i < 20; i++) {
        stop(&w, i % 5, 800);
        swim_world_run(&w, 3000);
    }
    cr_assert_eq(w.falls, 0);
    cr_assert(swim_world_is_true(&w));
    swim_world_fini(&w);
}

/* Whoever accuses it of an old version has missed what it said since. */
Test(swim, one_who_is_accused_of_old_says_again_what_it_said_since) {
    struct swim_world w;
    char text[256];
    uint8_t buffer[512];
    uint64_t frames;

    meet(&w, 2);
    swim_say(w.node[1].swim, SWIM_UP, w.net.now_ms);
    swim_world_run(&w, 1000);
    snprintf(text, sizeof text, "[4, [['node-1', %llu, 'a:1', false, 100], %d, 0, 0, []]]",
             (unsigned long long) w.node[1].info.incarnation, SWIM_SUSPECT);
    frames = w.net.frames[1];
    swim_receive(w.node[1].swim, w.node[0].info.id, text_value(buffer, sizeof buffer, text),
                 w.net.now_ms, 0);
    cr_assert_eq(w.net.frames[1], frames + 1);
    cr_assert_eq(swim_dropped(w.node[1].swim), 0);
    swim_world_fini(&w);
}

Test(swim, a_slow_member_takes_nobody_down) {
    struct swim_world w;

    meet(&w, 5);
    for (uint32_t i = 0; i < 120; i++) { /* a minute: it runs a fifth of its time */
        stop(&w, 3, 400);
        swim_world_run(&w, 500);
    }
    cr_assert_eq(w.falls, 0);
    swim_world_fini(&w);
}

Test(swim, lost_messages_take_nobody_down) {
    struct swim_world w;

    meet(&w, 5);
    w.net.loss_permille = 200;
    w.net.delay_ms_max = 20;
    swim_world_run(&w, 120000);
    cr_assert_eq(w.falls, 0);
    swim_world_fini(&w);
}

Test(swim, a_one_way_link_takes_nobody_down) {
    struct swim_world w;

    meet(&w, 5);
    w.net.blocked[1][2] = true;
    swim_world_run(&w, 120000);
    cr_assert_eq(w.falls, 0);
    cr_assert(swim_world_is_true(&w));
    swim_world_fini(&w);
}

Test(swim, sides_of_a_cut_think_each_other_down_and_meet_again) {
    struct swim_world w;

    meet(&w, 5);
    swim_world_cut(&w, 0x3);
    swim_world_run(&w, 15000);
    cr_assert_eq(swim_world_state(&w, 0, 1), SWIM_UP);
    cr_assert_eq(swim_world_state(&w, 0, 4), SWIM_DOWN);
    cr_assert_eq(swim_world_state(&w, 4, 0), SWIM_DOWN);
    w.falls = 0;
    hand_net_heal(&w.net);
    cr_assert(swim_world_until(&w, 3000, swim_world_is_true));
    cr_assert_eq(w.falls, 0); /* what the other side says of ours is not taken for true */
    swim_world_fini(&w);
}

Test(swim, a_restart_is_a_new_incarnation_and_not_mistaken_for_the_old) {
    struct swim_world w;
    uint64_t before;

    meet(&w, 3);
    before = w.node[2].info.incarnation;
    swim_world_kill(&w, 2);
    swim_world_run(&w, 300);
    swim_world_start(&w, 2);
    cr_assert(swim_world_until(&w, 5000, swim_world_is_true));
    cr_assert_gt(swim_find(w.node[0].swim, w.node[2].info.id)->info.incarnation, before);
    swim_world_fini(&w);
}

Test(swim, a_clock_that_went_back_does_not_hide_a_restart) {
    struct swim_world w;

    meet(&w, 3);
    swim_world_kill(&w, 2);
    w.node[2].clock_ms = -3600000;
    swim_world_start(&w, 2);
    swim_world_run(&w, 5000);
    cr_assert_eq(swim_world_state(&w, 0, 2), SWIM_UP);
    cr_assert_eq(swim_world_state(&w, 2, 2), SWIM_UP);
    cr_assert_gt(swim_find(w.node[2].swim, w.node[2].info.id)->info.incarnation,
                 w.node[2].info.incarnation); /* it took one above what was known */
    swim_world_fini(&w);
}

/* Node 0 says to node 1 that node 2 is up, as a start of that number. */
static void say_up(struct swim_world *w, uint64_t incarnation) {
    enum { TELL = 4 };
    struct node_info info = w->node[2].info;
    uint8_t at[SWIM_MEMBERS_MAX];
    struct value_writer v = value_writer_init(at, sizeof at);

    info.incarnation = incarnation;
    value_put_array(&v, 2);
    value_put_u64(&v, TELL);
    value_put_array(&v, 5);
    node_info_put(&info, &v);
    value_put_u64(&v, SWIM_UP);
    value_put_u64(&v, 0);
    value_put_u64(&v, 0);
    value_put_array(&v, 0);
    cr_assert(!v.overflow);
    swim_receive(w->node[1].swim, w->node[0].info.id, (struct value){at, (uint32_t) v.need_bytes},
                 w->net.now_ms, (int64_t) w->net.now_ms);
}

/* Whose clock went back may be linked by one who has not heard of its last start yet. */
Test(swim, what_an_earlier_start_answers_is_no_answer_of_a_later_one) {
    struct swim_world w;
    uint64_t later;

    meet(&w, 4);
    later = w.node[2].info.incarnation + 1000000;
    say_up(&w, later);
    swim_world_run(&w, 30000);
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(swim_world_state(&w, i, 2), SWIM_UP);
        cr_assert_gt(swim_find(w.node[i].swim, w.node[2].info.id)->info.incarnation, later);
    }
    swim_world_fini(&w);
}

Test(swim, a_second_node_of_a_name_is_refused_while_the_first_is_up) {
    struct swim_world w;
    struct node_info second;
    struct err_note note;

    meet(&w, 3);
    second = w.node[2].info;
    second.incarnation += 1000;
    cr_assert_eq(swim_may_link(w.node[0].swim, &second, &note), EG_DENIED);
    cr_assert_not_null(strstr(note.text, "node-2"));
    swim_world_kill(&w, 2);
    cr_assert(swim_world_until(&w, 5000, third_is_down));
    cr_assert_eq(swim_may_link(w.node[0].swim, &second, &note), EG_OK);
    cr_assert_eq(swim_may_link(w.node[0].swim, &w.node[0].info, &note), EG_DENIED);
    swim_world_fini(&w);
}

Test(swim, one_who_goes_says_so) {
    struct swim_world w;

    meet(&w, 4);
    swim_say(w.node[1].swim, SWIM_LEAVING, w.net.now_ms);
    swim_world_run(&w, 500);
    cr_assert_eq(swim_world_state(&w, 3, 1), SWIM_LEAVING);
    swim_say(w.node[1].swim, SWIM_LEFT, w.net.now_ms);
    swim_world_run(&w, 500);
    swim_world_kill(&w, 1);
    swim_world_run(&w, 20000);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert(i == 1 || swim_world_state(&w, i, 1) == SWIM_LEFT);
    swim_world_start(&w, 1); /* it may come back */
    cr_assert(swim_world_until(&w, 5000, swim_world_is_true));
    swim_world_fini(&w);
}

Test(swim, one_who_goes_down_in_order_is_down_at_once) {
    struct swim_world w;

    meet(&w, 4);
    swim_say(w.node[2].swim, SWIM_DOWN, w.net.now_ms);
    swim_world_run(&w, 10);
    swim_world_kill(&w, 2);
    swim_world_run(&w, 10);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert(i == 2 || swim_world_state(&w, i, 2) == SWIM_DOWN);
    swim_world_start(&w, 2);
    cr_assert(swim_world_until(&w, 5000, swim_world_is_true));
    swim_world_fini(&w);
}

Test(swim, one_who_dies_while_it_goes_is_down) {
    struct swim_world w;

    meet(&w, 3);
    swim_say(w.node[2].swim, SWIM_LEAVING, w.net.now_ms);
    swim_world_run(&w, 10);
    swim_world_kill(&w, 2);
    cr_assert(swim_world_until(&w, 3000, third_is_down));
    swim_world_fini(&w);
}

Test(swim, one_who_was_removed_comes_back_only_as_a_later_start) {
    struct swim_world w;
    const struct swim_member *m;

    meet(&w, 4);
    swim_world_kill(&w, 3);
    swim_world_run(&w, 5000);
    cr_assert_eq(swim_remove(w.node[0].swim, node_id_of("nobody"), w.net.now_ms), EG_NOT_FOUND);
    cr_assert_eq(swim_remove(w.node[0].swim, w.node[0].info.id, w.net.now_ms), EG_BAD_REQUEST);
    cr_assert_eq(swim_remove(w.node[0].swim, w.node[3].info.id, w.net.now_ms), EG_OK);
    swim_world_run(&w, 500);
    cr_assert_eq(swim_world_state(&w, 2, 3), SWIM_REMOVED);
    cr_assert_eq(swim_may_link(w.node[1].swim, &w.node[3].info, NULL), EG_DENIED);

    swim_world_start(&w, 3);
    cr_assert(swim_world_until(&w, 5000, swim_world_is_true));
    swim_world_run(&w, 500);
    m = swim_find(w.node[3].swim, w.node[3].info.id);
    cr_assert(m->removed > 0 && m->removed < m->info.incarnation); /* it can know that it was */

    swim_world_kill(&w, 3); /* and also after one more start */
    swim_world_run(&w, 5000);
    swim_world_start(&w, 3);
    cr_assert(swim_world_until(&w, 5000, swim_world_is_true));
    swim_world_run(&w, 500);
    cr_assert_gt(swim_find(w.node[3].swim, w.node[3].info.id)->removed, 0);
    swim_world_fini(&w);
}

Test(swim, one_who_was_removed_behind_a_cut_hears_of_it) {
    struct swim_world w;

    meet(&w, 4);
    swim_world_cut(&w, 0x8);
    swim_world_run(&w, 15000);
    cr_assert_eq(swim_remove(w.node[0].swim, w.node[3].info.id, w.net.now_ms), EG_OK);
    swim_world_run(&w, 1000);
    hand_net_heal(&w.net);
    swim_world_run(&w, 5000);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(swim_world_state(&w, i, 3), SWIM_REMOVED);
        cr_assert_not(hand_net_is_linked(&w.net, i, 3));
    }
    swim_world_fini(&w);
}

Test(swim, those_who_are_remembered_are_joining_and_then_down) {
    struct swim_world w;
    struct buffer saved;

    meet(&w, 4);
    swim_world_kill(&w, 3);
    swim_world_run(&w, 5000);
    cr_assert_eq(swim_remove(w.node[0].swim, w.node[3].info.id, w.net.now_ms), EG_OK);
    buffer_init(&saved, alloc_system(), 1 << 20);
    cr_assert_eq(swim_save(w.node[0].swim, &saved), EG_OK);
    swim_world_kill(&w, 0);
    swim_world_kill(&w, 1);

    swim_world_start(&w, 0);
    cr_assert_eq(swim_load(w.node[0].swim, value_of(saved.at)), EG_OK);
    cr_assert_eq(swim_world_state(&w, 0, 1), SWIM_JOINING);
    cr_assert_eq(swim_world_state(&w, 0, 3), SWIM_REMOVED);
    swim_world_run(&w, 6000);
    cr_assert_eq(swim_world_state(&w, 0, 1), SWIM_DOWN);
    cr_assert_eq(swim_world_state(&w, 0, 2), SWIM_UP);
    cr_assert_eq(swim_world_state(&w, 2, 0), SWIM_UP);
    buffer_fini(&saved);
    swim_world_fini(&w);
}

Test(swim, tells_how_far_away_and_how_wrong_a_clock_is) {
    struct swim_world w;
    const struct swim_member *m;

    swim_world_init(&w, 2, 7);
    w.node[1].clock_ms = 1700;
    w.net.delay_ms_max = 4;
    swim_world_run(&w, 10000);
    m = swim_find(w.node[0].swim, w.node[1].info.id);
    cr_assert(m->skew_ms > 1690 && m->skew_ms < 1710, "%lld", (long long) m->skew_ms);
    cr_assert(m->round_trip_ms >= 2 && m->round_trip_ms <= 12);
    m = swim_find(w.node[1].swim, w.node[0].info.id);
    cr_assert(m->skew_ms < -1690 && m->skew_ms > -1710);
    swim_world_fini(&w);
}

/* The budget of an idle node among five is 2,000 bytes a second, both ways, of which pings are to
 * take no more than two thirds.  A frame goes in a segment of its own with 52 bytes of
 * TCP and IP and about 10 of mesh.h's; a ping and its ack need one bare acknowledgement more. */
Test(swim, five_idle_nodes_say_little) {
    enum { SECONDS = 120, HEADERS = 52, FRAME = 10 };
    struct swim_world w;
    double bytes;

    meet(&w, 5);
    swim_world_run(&w, 5000);
    memset(w.net.frames, 0, sizeof w.net.frames);
    memset(w.net.frame_bytes, 0, sizeof w.net.frame_bytes);
    swim_world_run(&w, SECONDS * 1000);
    for (uint32_t i = 0; i < 5; i++) {
        bytes = (double) (w.net.frame_bytes[i] + w.net.frames[i] * (HEADERS + FRAME) +
                          w.net.frames[i] / 2 * HEADERS) /
                SECONDS;
        cr_assert(bytes < 1334, "%.0f bytes a second", bytes);
    }
    swim_world_fini(&w);
}

Test(swim, drops_and_counts_what_is_malformed) {
    static const char *const wrong[] = {
        "nil",
        "[]",
        "['ping', 1]",
        "[9, 1]",
        "[0]",
        "[0, 'one']",
        "[0, 4294967296]",
        "[1, 1]",
        "[1, 1, nil]",
        "[1, 1, 9223372036854775807]",
        "[2, 1]",
        "[4, 7]",
        "[4, []]",
        "[4, [['x', 5, 'a:1', true, 100], 1, 0, 0]]",
        "[4, [['x', 5, 'a:1', true, 100], 0, 0, 0, []]]",
        "[4, [['x', 5, 'a:1', true, 100], 7, 0, 0, []]]",
        "[4, [['x', 5, 'a:1', true, 100], 1, 0, 0, [1, 2, 3, 4]]]",
        "[4, [['x', 18446744073709551615, 'a:1', true, 100], 1, 0, 0, []]]",
        "[4, [['x', 5, 'a:1', true, 100], 1, 18446744073709551615, 0, []]]",
        "[4, [['x', 5, 'a:1', true, 100], 1, 0, 18446744073709551615, []]]",
        "[4, [['x', 5, 'a:1', true, 100], 1, 0, 0, ['y']]]",
        "[5, nil]",
    };
    struct swim_world w;
    uint8_t buffer[512];

    meet(&w, 2);
    for (size_t i = 0; i < EG_COUNTOF(wrong); i++) {
        swim_receive(w.node[0].swim, w.node[1].info.id, text_value(buffer, sizeof buffer, wrong[i]),
                     w.net.now_ms, 0);
        cr_assert_eq(swim_dropped(w.node[0].swim), i + 1, "%s", wrong[i]);
    }
    swim_receive(w.node[0].swim, 4711, text_value(buffer, sizeof buffer, "[0, 1]"), w.net.now_ms,
                 0);
    cr_assert_eq(swim_dropped(w.node[0].swim), EG_COUNTOF(wrong) + 1);
    cr_assert_eq(swim_count(w.node[0].swim), 2);
    swim_world_fini(&w);
}

static void tell(struct swim_world *w, uint32_t number, uint32_t state) {
    char text[256];
    uint8_t buffer[512];

    snprintf(text, sizeof text, "[4, [['other-%u', 5, 'a:1', true, 100], %u, 0, 0, []]]", number,
             state);
    swim_receive(w->node[0].swim, w->node[1].info.id, text_value(buffer, sizeof buffer, text),
                 w->net.now_ms, 0);
}

Test(swim, remembers_only_so_many_and_forgets_those_who_left_first) {
    struct swim *s;
    struct swim_world w;
    char name[64];

    meet(&w, 2);
    s = w.node[0].swim;
    w.net.blocked[1][0] = w.net.blocked[0][1] = true;
    for (uint32_t i = 0; i < 2 * SWIM_MEMBERS_MAX; i++) /* the first of them is up, the rest left */
        tell(&w, i, i == 0 ? SWIM_UP : SWIM_LEFT);
    cr_assert_eq(swim_count(s), SWIM_MEMBERS_MAX);
    cr_assert_not_null(swim_find(s, node_id_of("other-0")));
    snprintf(name, sizeof name, "other-%d", 2 * SWIM_MEMBERS_MAX - 1);
    cr_assert_not_null(swim_find(s, node_id_of(name)));
    cr_assert_eq(swim_dropped(s), 0);
    for (uint32_t i = 0; i < 2 * SWIM_MEMBERS_MAX; i++)
        tell(&w, 1000 + i, SWIM_UP);
    cr_assert_eq(swim_count(s), SWIM_MEMBERS_MAX);
    cr_assert_gt(swim_dropped(s), 0);
    cr_assert_eq(swim_may_link(s, &(struct node_info){.id = 5, .incarnation = 1}, NULL), EG_DENIED);
    hand_net_fini(&w.net);
    swim_close(w.node[0].swim);
    swim_close(w.node[1].swim);
}

Test(swim, without_memory_nothing_is_opened) {
    struct fail_alloc memory = fail_alloc_after(0);
    struct node_info self = {.id = 1, .incarnation = 1, .name = "a"};
    struct swim *s = NULL;

    cr_assert_eq(swim_open(&s, &memory.base, &self, NULL, NULL), EG_MEMORY);
    cr_assert_null(s);
}
