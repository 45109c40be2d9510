/* Goal: the list whose majority counts is never two lists that do not share a node.
 * Method: lists by hand, as bytes and back, and every way from one to the next. */
#include "replication/electorate.h"

#include <criterion/criterion.h>

static struct elector_list list_of(uint32_t count, const uint64_t *ids) {
    struct elector_list l = {0};

    for (uint32_t i = 0; i < count; i++)
        elector_list_add(&l, (struct elector){ids[i], 100, ids[i] % 2 == 0});
    return l;
}
#define LIST(...)                                                                                  \
    list_of(sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (const uint64_t[]){__VA_ARGS__})

static struct electorate of_one(struct elector_list l) {
    return (struct electorate){.epoch = 5, .lists = 1, .list[0] = l};
}

Test(electorate, is_read_as_it_was_written) {
    struct electorate e = of_one(LIST(3, 1, 2)), back;
    uint8_t at[ELECTORATE_BYTES_MAX];
    struct value_writer w = value_writer_init(at, sizeof at);

    e.list[1] = LIST(7);
    e.lists = 2;
    electorate_put(&w, &e);
    cr_assert(!w.overflow);
    cr_assert(electorate_get((struct value){at, (uint32_t) w.need_bytes}, &back));
    cr_assert(back.epoch == 5 && back.lists == 2);
    cr_assert(elector_lists_equal(&back.list[0], &e.list[0]));
    cr_assert(elector_lists_equal(&back.list[1], &e.list[1]));
    cr_assert(back.list[0].at[0].id == 1 && back.list[0].at[2].id == 3);
}

Test(electorate, what_is_none_is_refused) {
    static const uint8_t nil[] = {0xc0}, none[] = {0x92, 5, 0x90}, odd[] = {0x92, 5, 0x91, 0x91, 1};
    static const uint8_t no_epoch[] = {0x92, 0, 0x91, 0x90};
    struct electorate e;

    cr_assert(!electorate_get((struct value){nil, sizeof nil}, &e));
    cr_assert(!electorate_get((struct value){none, sizeof none}, &e));
    cr_assert(!electorate_get((struct value){odd, sizeof odd}, &e));
    cr_assert(!electorate_get((struct value){no_epoch, sizeof no_epoch}, &e));
    cr_assert(!electorate_get((struct value){nil, 0}, &e));
}

Test(electorate, changes_by_way_of_both_lists) {
    struct electorate now = of_one(LIST(1, 2, 3)), next;
    struct elector_list wanted = LIST(1, 2);

    cr_assert(electorate_next(&next, &now, &wanted, (struct electorate_look){true, false}, 9));
    cr_assert(next.lists == 2 && next.epoch == 9);
    cr_assert(elector_lists_equal(&next.list[0], &now.list[0]));
    cr_assert(elector_lists_equal(&next.list[1], &wanted));
    now = next;
    /* Before it has served by both, nothing moves, whatever is wanted. */
    wanted = LIST(1);
    cr_assert(!electorate_next(&next, &now, &wanted, (struct electorate_look){true, false}, 10));
    cr_assert(next.lists == 2 && next.epoch == 9);
    cr_assert(electorate_next(&next, &now, &wanted, (struct electorate_look){true, true}, 11));
    cr_assert(next.lists == 1 && next.epoch == 11);
    cr_assert(elector_lists_equal(&next.list[0], &now.list[1]));
}

Test(electorate, stays_where_a_majority_is_not_reached_or_nothing_is_wanted) {
    struct electorate now = of_one(LIST(1, 2, 3)), next;
    struct elector_list other = LIST(3), same = LIST(2, 3, 1), nobody = {0};

    cr_assert(!electorate_next(&next, &now, &other, (struct electorate_look){false, true}, 9));
    cr_assert(!electorate_next(&next, &now, &same, (struct electorate_look){true, true}, 9));
    cr_assert(!electorate_next(&next, &now, &nobody, (struct electorate_look){true, true}, 9));
    cr_assert(next.epoch == 5);
}

Test(electorate, of_a_disc_table_those_with_discs_vote) {
    struct electorate e = of_one(LIST(1, 2, 3, 4));
    uint64_t out[NODES_MAX];

    cr_assert(electorate_of(&e, 0, false, 0, 0, 0, out) == 4);
    cr_assert(electorate_of(&e, 0, true, 0, 0, 0, out) == 2);
    cr_assert(out[0] % 2 == 0 && out[1] % 2 == 0);
    cr_assert(electorate_of(&e, 0, false, 0, 7, 3, out) == 3);
}
