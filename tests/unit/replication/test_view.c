/* test_view.c -- who acts together, said in sentences. */
#include "tests/support/view_world.h"

#include "replication/view_private.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(view, .timeout = 240);

static void meet(struct view_world *w, uint32_t count) {
    view_world_init(w, count, 7);
    cr_assert(view_world_until(w, 5000, view_world_is_one));
    view_world_run(w, 3000);
    cr_assert(view_world_is_one(w));
}

static void part(struct view_world *w) {
    cr_assert_null(w->fault, "%s", w->fault);
    view_world_fini(w);
}

Test(view, one_that_is_alone_serves_at_once) {
    struct view_world w;
    const struct view *v;

    view_world_init(&w, 1, 7);
    view_world_run(&w, 50);
    cr_assert_eq(view_world_members(&w, 0), 1);
    v = views_now(w.node[0].views);
    cr_assert(v->principal == w.node[0].info.id && v->id.epoch == 1);
    cr_assert_not_null(view_find(v, w.node[0].info.id));
    cr_assert_null(view_find(v, 4711));
    view_world_run(&w, 60000);
    cr_assert_eq(w.node[0].installs, 1);
    part(&w);
}

Test(view, those_who_meet_make_one_view_and_rest) {
    struct view_world w;
    uint64_t installs;

    meet(&w, 7);
    installs = view_world_installs(&w);
    view_world_run(&w, 60000);
    cr_assert_eq(view_world_installs(&w), installs);
    part(&w);
}

static bool four_serve(const struct view_world *w) {
    for (uint32_t i = 0; i < 4; i++) {
        if (view_world_members(w, i) != 0xf)
            return false;
    }
    return true;
}

Test(view, survivors_of_a_kill_serve_within_a_second) {
    struct view_world w;

    for (uint32_t seed = 1; seed < 10; seed++) {
        view_world_init(&w, 5, seed);
        view_world_run(&w, 8000);
        cr_assert(view_world_is_one(&w));
        view_world_kill(&w, 4);
        cr_assert(view_world_until(&w, 1000, four_serve));
        part(&w);
    }
}

Test(view, one_who_stands_still_is_left_out_within_five_seconds_and_comes_back) {
    struct view_world w;

    meet(&w, 5);
    view_world_pause(&w, 4, 20000);
    cr_assert(view_world_until(&w, 5000, four_serve));
    cr_assert(view_world_until(&w, 30000, view_world_is_one));
    part(&w);
}

Test(view, a_restart_is_another_member) {
    struct view_world w;
    struct view_id before;

    meet(&w, 3);
    before = views_now(w.node[0].views)->id;
    view_world_kill(&w, 2);
    view_world_run(&w, 100);
    view_world_start(&w, 2);
    view_world_run(&w, 50);
    cr_assert(view_world_until(&w, 10000, view_world_is_one));
    cr_assert(!view_id_equal(before, views_now(w.node[0].views)->id));
    cr_assert_eq(view_find(views_now(w.node[0].views), w.node[2].info.id)->lineage.epoch,
                 w.node[2].views != NULL
                     ? view_find(views_now(w.node[2].views), w.node[2].info.id)->lineage.epoch
                     : 0);
    part(&w);
}

Test(view, a_restart_whose_clock_went_back_is_a_member_again) {
    struct view_world w;

    meet(&w, 3);
    view_world_kill(&w, 2);
    w.node[2].clock_ms = -3600000;
    view_world_start(&w, 2);
    view_world_run(&w, 50);
    cr_assert(view_world_until(&w, 10000, view_world_is_one));
    view_world_run(&w, 20000);
    cr_assert(view_world_is_one(&w));
    part(&w);
}

static bool sides_serve(const struct view_world *w) {
    for (uint32_t i = 0; i < 5; i++) {
        if (view_world_members(w, i) != (i < 2 ? 0x3u : 0x1cu))
            return false;
    }
    return true;
}

Test(view, both_sides_of_a_cut_serve_and_meet_again_when_it_heals) {
    struct view_world w;
    uint64_t healed_ms;

    meet(&w, 5);
    view_world_cut(&w, 0x3);
    cr_assert(view_world_until(&w, 12000, sides_serve));
    view_world_run(&w, 10000);
    cr_assert(sides_serve(&w));
    hand_net_heal(&w.net);
    healed_ms = w.net.now_ms;
    cr_assert(view_world_until(&w, 5000, view_world_is_one), "%llu",
              (unsigned long long) (w.net.now_ms - healed_ms));
    part(&w);
}

Test(view, a_link_that_is_reset_makes_a_new_view_of_the_same) {
    struct view_world w;
    struct view_id before;

    meet(&w, 3);
    before = views_now(w.node[0].views)->id;
    hand_net_reset(&w.net, 0, 1);
    view_world_run(&w, 5000);
    cr_assert(view_world_is_one(&w)); /* what was under way may be lost: so it is another view */
    cr_assert(!view_id_equal(before, views_now(w.node[0].views)->id));
    part(&w);
}

/* Two of five do not reach each other, in one direction: one of them is out, and that is all. */
Test(view, a_one_way_link_leaves_one_out_and_does_not_thrash) {
    struct view_world w;
    uint64_t installs;
    uint32_t alone = 0;

    meet(&w, 5);
    w.net.blocked[1][2] = true;
    view_world_run(&w, 20000);
    installs = view_world_installs(&w);
    view_world_run(&w, 60000);
    cr_assert_leq(view_world_installs(&w) - installs, 10);
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t members = view_world_members(&w, i);
        cr_assert(members != 0);
        alone += members == UINT32_C(1) << i;
    }
    cr_assert_eq(alone, 1);
    hand_net_heal(&w.net);
    cr_assert(view_world_until(&w, VIEW_HOLD_MS_MAX + 10000, view_world_is_one));
    part(&w);
}

Test(view, a_link_that_flaps_makes_views_less_and_less_often) {
    struct view_world w;
    uint64_t installs;

    meet(&w, 5);
    for (uint32_t i = 0; i < 60; i++) { /* a minute */
        hand_net_reset(&w.net, 1, 3);
        view_world_run(&w, 1000);
    }
    installs = view_world_installs(&w);
    for (uint32_t i = 0; i < 120; i++) {
        hand_net_reset(&w.net, 1, 3);
        view_world_run(&w, 1000);
    }
    cr_assert_leq(view_world_installs(&w) - installs, 2 * 5 * 8, "%llu",
                  (unsigned long long) (view_world_installs(&w) - installs));
    part(&w);
}

/* A network that comes and goes for minutes leaves no grudge; and whoever proposes to one that does
 * not count their link yet is told so, and does not wait for it while it serves nobody. */
static uint64_t one_view_after_cuts_ms(uint64_t cut_ms, uint64_t whole_ms) {
    struct view_world w;
    uint64_t healed_ms = 0, one_ms;

    meet(&w, 5);
    for (uint32_t i = 0; i < 100; i++) {
        view_world_run(&w, whole_ms);
        view_world_cut(&w, 0x3);
        view_world_run(&w, cut_ms);
        hand_net_heal(&w.net);
        healed_ms = w.net.now_ms;
    }
    cr_expect(view_world_until(&w, 60000, view_world_is_one));
    one_ms = w.net.now_ms - healed_ms;
    part(&w);
    return one_ms;
}

Test(view, a_hundred_cuts_are_forgotten_in_seconds) {
    static const uint64_t cuts_ms[] = {1000, 1750, 2000, 2250, 2500};

    for (size_t i = 0; i < EG_COUNTOF(cuts_ms); i++)
        for (uint64_t whole_ms = 500; whole_ms <= 2000; whole_ms *= 2) {
            uint64_t one_ms = one_view_after_cuts_ms(cuts_ms[i], whole_ms);

            cr_expect_leq(one_ms, 5000, "%llu ms apart, %llu together: %llu",
                          (unsigned long long) cuts_ms[i], (unsigned long long) whole_ms,
                          (unsigned long long) one_ms);
        }
}

/* Each is cut off from all, one after the other, and all come back in another order. */
static void swizzle(struct view_world *w, uint64_t each_ms) {
    static const uint32_t out[] = {3, 0, 4, 1, 2}, back[] = {2, 4, 3, 0, 1};
    uint32_t apart = 0;

    for (uint32_t step = 0; step < 10; step++) {
        apart ^= UINT32_C(1) << (step < 5 ? out[step] : back[step - 5]);
        for (uint32_t a = 0; a < 5; a++) {
            for (uint32_t b = 0; b < 5; b++)
                w->net.blocked[a][b] = a != b && ((apart >> a & 1) != 0 || (apart >> b & 1) != 0);
        }
        view_world_run(w, each_ms);
    }
}

Test(view, after_many_cuts_one_view_is_there_as_soon_as_after_the_first) {
    struct view_world w;

    meet(&w, 5);
    for (uint32_t i = 0; i < 6; i++) {
        uint64_t healed_ms;
        if (i % 2 == 0)
            swizzle(&w, 200 + 100 * i);
        view_world_cut(&w, i % 2 == 0 ? 0 : 0x3);
        view_world_run(&w, i % 2 == 0 ? 0 : 4000);
        hand_net_heal(&w.net);
        healed_ms = w.net.now_ms;
        cr_expect(view_world_until(&w, 30000, view_world_is_one));
        cr_expect_leq(w.net.now_ms - healed_ms, 3500, "cut %u: %llu", i,
                      (unsigned long long) (w.net.now_ms - healed_ms));
        view_world_run(&w, 2000);
    }
    part(&w);
}

Test(view, one_who_is_slow_to_stop_is_waited_for_more_patiently) {
    struct view_world w;

    view_world_init(&w, 3, 7);
    w.stop_ms_max = 2500;
    cr_assert(view_world_until(&w, 90000, view_world_is_one));
    part(&w);
}

Test(view, a_changed_report_makes_a_new_view_of_the_same) {
    struct view_world w;
    struct view_id before;

    meet(&w, 3);
    for (uint32_t i = 0; i < 3; i++) { /* whoever asks */
        before = views_now(w.node[0].views)->id;
        views_renew(w.node[i].views, w.net.now_ms);
        w.node[i].tick_ms = 0;
        view_world_run(&w, 4000);
        cr_assert(view_world_is_one(&w));
        cr_assert(!view_id_equal(before, views_now(w.node[0].views)->id));
    }
    before = views_now(w.node[0].views)->id;
    view_world_run(&w, 10000);
    cr_assert(view_id_equal(before, views_now(w.node[0].views)->id));
    part(&w);
}

Test(view, tells_what_each_member_was_part_of_before) {
    struct view_world w;
    const struct view *v;
    struct view_id before;

    meet(&w, 3);
    before = views_now(w.node[0].views)->id;
    view_world_kill(&w, 2);
    view_world_run(&w, 2000);
    v = views_now(w.node[0].views);
    for (uint32_t i = 0; i < v->count; i++)
        cr_assert(view_id_equal(v->member[i].lineage, before));
    part(&w);
}

Test(view, drops_and_counts_what_is_malformed) {
    static const char *const wrong[] = {
        "nil",
        "[]",
        "['tell']",
        "[9, 1, 1]",
        "[0]",
        "[0, true, 1, 0, 0, 0, 0]",
        "[0, 1, 1, 0, 0, 0, 0, []]",
        "[0, true, 1, 4, 0, 0, 0, []]",
        "[0, true, 1, 0, 2, 0, 0, []]",
        "[0, true, 1, 0, 0, 0, 51, []]",
        "[0, true, 1, 0, 0, 0, 0, [1]]",
        "[0, true, 1, 0, 0, 0, 0, [2, 1, 1, 1]]",
        "[0, true, 18446744073709551615, 0, 0, 0, 0, []]",
        "[1, 9]",
        "[1, 9, 7, 500, []]",
        "[1, 9, 7, 500, [1, 1, 2, 2]]",
        "[1, 18446744073709551615, 7, 500, [1, 1, 2, 2]]",
        "[2, 9, 7, 1]",
        "[3, 9, 7]",
        "[3, 9, 7, 18446744073709551615]",
        "[7, 9, 7]",
    };
    struct view_world w;
    uint8_t buffer[512];

    meet(&w, 2);
    for (size_t i = 0; i < EG_COUNTOF(wrong); i++) {
        views_receive(w.node[0].views, w.node[1].info.id,
                      text_value(buffer, sizeof buffer, wrong[i]), w.net.now_ms);
        cr_assert_eq(views_dropped(w.node[0].views), i + 1, "%s", wrong[i]);
    }
    view_world_run(&w, 1000);
    cr_assert(view_world_is_one(&w));
    part(&w);
}

Test(view, without_memory_nothing_is_opened) {
    struct fail_alloc memory = fail_alloc_after(0);
    struct node_info self = {.id = 1, .incarnation = 1, .name = "a"};
    struct views *v = NULL;

    cr_assert_eq(views_open(&v, &memory.base, &self, 0, NULL, NULL), EG_MEMORY);
    cr_assert_null(v);
}

/* One in thirty requests is refused: about every other view. */
static struct alloc *system_memory;
static struct rng chance;
static uint64_t live;

static void *get_sometimes(struct alloc *a, size_t size_bytes) {
    (void) a;
    if (size_bytes < sizeof(struct views) && rng_one_in(&chance, 30))
        return NULL;
    live++;
    return system_memory->get(system_memory, size_bytes);
}

static void put_sometimes(struct alloc *a, void *ptr, size_t size_bytes) {
    (void) a;
    live -= ptr != NULL;
    system_memory->put(system_memory, ptr, size_bytes);
}

Test(view, memory_that_is_refused_now_and_then_only_delays) {
    struct alloc meagre = {get_sometimes, put_sometimes, NULL, NULL, NULL};
    struct view_world w;

    system_memory = alloc_system();
    chance = rng_of(1);
    view_world_init(&w, 5, 7);
    for (uint32_t i = 0; i < 5; i++) { /* again, with that memory */
        view_world_kill(&w, i);
        w.views_alloc = &meagre;
        view_world_start(&w, i);
    }
    cr_assert(view_world_until(&w, 60000, view_world_is_one));
    for (uint32_t i = 0; i < 10; i++) {
        view_world_kill(&w, i % 5);
        view_world_run(&w, 3000);
        view_world_start(&w, i % 5);
        view_world_run(&w, 3000);
    }
    cr_assert(view_world_until(&w, 60000, view_world_is_one));
    part(&w);
    cr_assert_eq(live, 0);
}

Test(view_set, is_sorted_and_comes_back_as_it_was_put) {
    struct view_set s = {0}, back;
    uint8_t at[128];
    struct value_writer w = value_writer_init(at, sizeof at);

    view_set_add(&s, (struct view_start){9, 1});
    view_set_add(&s, (struct view_start){3, 1});
    view_set_add(&s, (struct view_start){9, 2});
    cr_assert(s.count == 2 && s.start[0].id == 3 && s.start[1].incarnation == 2);
    cr_assert(view_set_has(&s, (struct view_start){9, 2}));
    cr_assert_not(view_set_has(&s, (struct view_start){9, 1}));
    view_set_put(&s, &w);
    cr_assert(view_set_get(&back, value_of(at)));
    cr_assert(view_set_equal(&s, &back));
    cr_assert(view_id_equal(view_set_id(&s, 5), view_set_id(&back, 5)));
    cr_assert(!view_id_equal(view_set_id(&s, 5), view_set_id(&s, 6)));
}
