/* Questions about a table of which each node has a part, asked of any of them, have the answers
 * that one node with all of it gives. */
#include "tables/far.h"
#include "tables/table_private.h"
#include "tests/support/far_world.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS = 400 };

static struct value bytes_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

static void fill(struct far_world *f) {
    char text[64];

    for (int i = 0; i < RECORDS; i++) {
        snprintf(text, sizeof text, "[%d, %d, 'v%d']", i, i % 10, i);
        far_write(f, text);
    }
}

static int by_value(const void *a, const void *b) {
    return value_compare(*(const struct value *) a, *(const struct value *) b);
}

/* As many elements, and the same ones. */
static bool same_elements(struct value a, struct value b, bool ordered) {
    uint32_t count = value_count(a);
    struct value *left = calloc(count + 1, sizeof *left), *right = calloc(count + 1, sizeof *right);
    struct value_iter i = value_iter_of(a), j = value_iter_of(b);
    bool same = count == value_count(b);

    for (uint32_t n = 0; same && n < count; n++)
        cr_assert(value_iter_next(&i, &left[n]) && value_iter_next(&j, &right[n]));
    if (!ordered && same) {
        qsort(left, count, sizeof *left, by_value);
        qsort(right, count, sizeof *right, by_value);
    }
    for (uint32_t n = 0; same && n < count; n++)
        same = value_equal(left[n], right[n]);
    free(left);
    free(right);
    return same;
}

/* Asked of node `id` and of the whole. */
static void agree(struct far_world *f, uint64_t id, struct select_opts o, bool ordered) {
    char shown[400];
    uint32_t pages;

    cr_assert_eq(far_select(f, FAR_WHOLE, &o), EG_OK);
    cr_assert_eq(far_select(f, id, &o), EG_OK, "%s", f->site[id].note.text);
    cr_assert(
        same_elements(bytes_of(&f->site[id].result), bytes_of(&f->site[FAR_WHOLE].result), ordered),
        "%s", value_text(bytes_of(&f->site[id].result), shown, sizeof shown));
    if (o.kind != SELECT_RESULTS)
        return;
    for (o.limit = 7; o.limit < 500; o.limit *= 4) {
        cr_assert_eq(far_pages(f, id, &o, &pages), EG_OK, "%s", f->site[id].note.text);
        cr_assert(same_elements(bytes_of(&f->site[id].result), bytes_of(&f->site[FAR_WHOLE].result),
                                ordered),
                  "limit %d: %s", (int) o.limit,
                  value_text(bytes_of(&f->site[id].result), shown, sizeof shown));
    }
}

static struct value v(uint8_t bytes[512], const char *text) {
    return text_value(bytes, 512, text);
}

static const char *const specs[] = {
    "[[['$1','$2','$3'],[],['$_']]]",
    "[[['$1','$2','$3'],[['>','$1',390]],['$1']]]",
    "[[['$1','$2','$3'],[['==','$2',3]],['$3']]]",
    "[[['$1','$2','$3'],[['==','$1',77]],['$$']]]",
    "[[['$1','$2','$3'],[['==','$1',-1]],['$$']]]",
};

static void agree_on_specs(const char *options, bool ordered) {
    struct far_world *f = calloc(1, sizeof *f);
    uint8_t b[512];

    far_open(f, options, 3);
    fill(f);
    for (uint64_t id = 1; id <= FAR_NODES; id++)
        for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
            agree(f, id, (struct select_opts){.question = v(b, specs[i])}, ordered);
    agree(f, 1, (struct select_opts){.question = v(b, specs[1]), .reverse = ordered}, ordered);
    agree(f, 2, (struct select_opts){.kind = SELECT_MATCH, .question = v(b, "['_', 4, '_']")},
          false);
    far_close(f);
    free(f);
}

Test(far, a_set_is_selected_from) {
    agree_on_specs("{'shards': 8, 'attributes': ['k','a','b']}", false);
}

Test(far, an_ordered_set_comes_in_order) {
    agree_on_specs("{'shards': 8, 'type': 'ordered_set', 'attributes': ['k','a','b']}", true);
}

Test(far, a_bag_is_selected_from) {
    agree_on_specs("{'shards': 8, 'type': 'bag', 'attributes': ['k','a','b']}", false);
}

Test(far, an_index_is_used_and_read) {
    struct far_world *f = calloc(1, sizeof *f);
    uint8_t b[512];

    agree_on_specs("{'shards': 8, 'attributes': ['k','a','b'], 'index': ['a']}", false);
    far_open(f, "{'shards': 8, 'attributes': ['k','a','b'], 'index': ['a']}", 4);
    fill(f);
    agree(f, 1, (struct select_opts){.kind = SELECT_INDEX, .question = v(b, "['a', 3]")}, false);
    agree(f, 1, (struct select_opts){.kind = SELECT_INDEX, .question = v(b, "['a', '_']")}, false);
    cr_assert_eq(value_count(bytes_of(&f->site[1].result)), 0);
    far_close(f);
    free(f);
}

static void call_is(struct far_world *f, uint64_t id, enum page_kind kind, const char *question,
                    bool reverse, const char *answer) {
    uint8_t b[512];
    char shown[512];
    struct far_call_opts o = {.kind = kind, .reverse = reverse};

    if (question != NULL)
        o.question = v(b, question);
    cr_assert_eq(far_ask(f, id, &o), EG_OK, "%s", f->site[id].note.text);
    cr_assert_str_eq(value_text(bytes_of(&f->site[id].result), shown, sizeof shown), answer);
}

Test(far, sizes_keys_and_neighbours_are_those_of_all) {
    struct far_world *f = calloc(1, sizeof *f);

    far_open(f, "{'shards': 8, 'type': 'ordered_set', 'attributes': ['k','a','b']}", 5);
    fill(f);
    for (uint64_t id = 1; id <= FAR_NODES; id++) {
        call_is(f, id, PAGE_SIZE, NULL, false, "400");
        call_is(f, id, PAGE_NEXT, NULL, false, "0");
        call_is(f, id, PAGE_NEXT, NULL, true, "399");
        call_is(f, id, PAGE_NEXT, "7", false, "8");
        call_is(f, id, PAGE_NEXT, "7.5", true, "7");
        call_is(f, id, PAGE_NEXT, "399", false, "nil");
        call_is(f, id, PAGE_READ, "[5, 1000, 6]", false, "[[[5, 5, 'v5']], [], [[6, 6, 'v6']]]");
        call_is(f, id, PAGE_READ, "[]", false, "[]");
    }
    far_close(f);
    free(f);
}

/* Of the first node's shards: full, and with a change that others have not got. */
static void unsettle(struct far_world *f, uint64_t stable) {
    for (uint32_t i = 0; i < 8; i++)
        if (f->owner[i] == 1) {
            struct shard *s = &f->site[1].table->shard[i];
            atomic_store(&s->newest, UINT64_MAX);
            atomic_store(&s->stable, stable);
            atomic_store(&s->role, SHARD_FULL);
            atomic_store(&f->site[2].table->shard[i].role, SHARD_AWAY);
        }
}

/* There is no router here: for others than the first node its word is as good as the master's. */
static void all_have_it(struct far_world *f) {
    if (f->moments != 20)
        return;
    unsettle(f, UINT64_MAX);
    for (uint32_t i = 0; i < 8; i++)
        if (f->owner[i] == 1)
            atomic_store(&f->site[2].table->shard[i].role, SHARD_ALONE);
}

/* Whether it is read here or asked for: what is newer than all copies have waits for them. */
Test(far, many_keys_are_told_when_all_copies_have_what_was_read) {
    struct far_world *f = calloc(1, sizeof *f);
    uint8_t b[512];
    struct far_call_opts o = {.kind = PAGE_READ, .question = v(b, "[5,6,7,8,9,10,11,12,13,14]")};

    far_open(f, "{'shards': 8, 'attributes': ['k','a','b']}", 15);
    fill(f);
    for (uint64_t id = 1; id <= 2; id++) {
        unsettle(f, 0);
        f->moments = 0;
        f->moment = all_have_it;
        cr_assert_eq(far_ask(f, id, &o), EG_OK, "%s", f->site[id].note.text);
        cr_assert_eq(value_count(bytes_of(&f->site[id].result)), 10);
        cr_assert_geq(f->moments, 20);
    }
    f->moment = NULL;
    unsettle(f, 0);
    cr_assert_eq(far_ask(f, 1, &o), EG_NO_REPLICA); /* and not for ever */
    o.dirty = true;
    o.question = v(b, "[]");
    cr_assert_eq(far_ask(f, 1, &o), EG_OK);
    far_close(f);
    free(f);
}

Test(far, next_of_a_set_meets_every_key_once) {
    struct far_world *f = calloc(1, sizeof *f);
    bool met[RECORDS] = {false};
    uint8_t key[16];
    struct far_call_opts o = {.kind = PAGE_NEXT};
    int count = 0;

    far_open(f, "{'shards': 8, 'attributes': ['k','a','b']}", 6);
    fill(f);
    for (;; count++) {
        uint64_t n;
        cr_assert_eq(far_ask(f, 2, &o), EG_OK);
        if (!value_get_u64(bytes_of(&f->site[2].result), &n))
            break;
        cr_assert(n < RECORDS && !met[n]);
        met[n] = true;
        memcpy(key, f->site[2].result.at, f->site[2].result.size_bytes);
        o.question = (struct value){key, (uint32_t) f->site[2].result.size_bytes};
    }
    cr_assert_eq(count, RECORDS);
    far_close(f);
    free(f);
}

/* Every other letter, the shards have wandered on. */
static void wander(struct far_world *f) {
    if (f->carried % 2 != 0)
        return;
    for (uint32_t i = 0; i < 8; i++)
        if ((i + f->carried) % 3 == 0)
            far_move(f, i, 1 + f->owner[i] % FAR_NODES);
    far_next_view(f);
}

static void text_agrees(struct far_world *f, uint64_t id, const char *text, bool ordered) {
    static const uint64_t limits[] = {0, 7, 100};
    char shown[400];

    cr_assert_eq(far_query(f, FAR_WHOLE, text, 0), EG_OK, "%s", f->site[FAR_WHOLE].note.text);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        cr_assert_eq(far_query(f, id, text, limits[i]), EG_OK, "%s", f->site[id].note.text);
        cr_assert(same_elements(bytes_of(&f->site[id].result), bytes_of(&f->site[FAR_WHOLE].result),
                                ordered),
                  "%s: %s", text, value_text(bytes_of(&f->site[id].result), shown, sizeof shown));
    }
}

/* How many each node counts is how many there are. */
static void counts_agree(struct far_world *f, uint64_t id) {
    static const char *const counts[] = {
        "[[['$1','$2','$3'],[],[true]]]",
        "[[['$1','$2','$3'],[['>','$2',3]],[true]]]",
        "[[['$1','$2','$3'],[],[['<','$1',50]]]]",
        "[[['$1','_','_'],[['==','$1',7]],[true]]]",
        "[[['$1','_','_'],[],['no']]]",
    };
    uint8_t b[512];

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct select_opts o = {.kind = SELECT_COUNT, .question = v(b, counts[i])};

        cr_assert_eq(far_select(f, FAR_WHOLE, &o), EG_OK);
        cr_assert_eq(far_select(f, id, &o), EG_OK, "%s", f->site[id].note.text);
        cr_assert(value_equal(bytes_of(&f->site[id].result), bytes_of(&f->site[FAR_WHOLE].result)),
                  "%s", counts[i]);
    }
}

Test(far, records_are_counted_beside_them) {
    static const char *const options[] = {
        "{'shards': 8, 'attributes': ['k','a','b']}",
        "{'shards': 8, 'attributes': ['k','a','b'], 'index': ['a']}",
        "{'shards': 8, 'type': 'ordered_set', 'attributes': ['k','a','b']}",
        "{'shards': 8, 'type': 'bag', 'attributes': ['k','a','b']}",
    };
    struct far_world *f = calloc(1, sizeof *f);

    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        far_open(f, options[i], 16);
        fill(f);
        for (uint64_t id = 1; id <= FAR_NODES; id++)
            counts_agree(f, id);
        f->lose = 3;
        f->before = wander;
        for (int round = 0; round < 5; round++) {
            counts_agree(f, 1);
            text_agrees(f, 1, "select a, count(*), sum(k) from t group by a order by a", true);
        }
        far_close(f);
    }
    free(f);
}

static void agree_while_wandering(const char *options, bool ordered) {
    struct far_world *f = calloc(1, sizeof *f);
    struct select_opts o = {.limit = 37};
    uint8_t b[512];
    uint32_t pages;

    far_open(f, options, 7);
    fill(f);
    o.question = v(b, specs[0]);
    cr_assert_eq(far_pages(f, FAR_WHOLE, &o, &pages), EG_OK);
    f->before = wander;
    cr_assert_eq(far_pages(f, 1, &o, &pages), EG_OK, "%s", f->site[1].note.text);
    cr_assert(
        same_elements(bytes_of(&f->site[1].result), bytes_of(&f->site[FAR_WHOLE].result), ordered));
    for (int round = 0; round < 5; round++) { /* all at once */
        o.limit = 0;
        cr_assert_eq(far_select(f, 2, &o), EG_OK, "%s", f->site[2].note.text);
        cr_assert(same_elements(bytes_of(&f->site[2].result), bytes_of(&f->site[FAR_WHOLE].result),
                                ordered));
    }
    call_is(f, 3, PAGE_SIZE, NULL, false, "400");
    far_close(f);
    free(f);
}

/* More than a page of each: several shards are begun when they wander on. */
Test(far, many_pages_come_from_all_nodes_at_once) {
    struct far_world *f = calloc(1, sizeof *f);
    struct select_opts o = {.limit = 0};
    char *text = malloc(5000);
    uint8_t b[512];

    far_open(f, "{'shards': 8, 'attributes': ['k','a','b']}", 17);
    for (int i = 0; i < 500; i++) {
        snprintf(text, 5000, "[%d, %d, '%04000d']", i, i % 10, i);
        far_write(f, text);
    }
    o.question = v(b, specs[0]);
    cr_assert_eq(far_select(f, FAR_WHOLE, &o), EG_OK);
    cr_assert_eq(value_count(bytes_of(&f->site[FAR_WHOLE].result)), 500);
    for (int round = 0; round < 4; round++) {
        f->before = round < 2 ? NULL : wander;
        f->lose = round == 3 ? 3 : 0;
        cr_assert_eq(far_select(f, 1, &o), EG_OK, "%s", f->site[1].note.text);
        cr_assert(same_elements(bytes_of(&f->site[1].result), bytes_of(&f->site[FAR_WHOLE].result),
                                false));
    }
    far_close(f);
    free(f);
    free(text);
}

Test(far, shards_that_change_hands_are_followed) {
    agree_while_wandering("{'shards': 8, 'attributes': ['k','a','b']}", false);
    agree_while_wandering("{'shards': 8, 'type': 'ordered_set', 'attributes': ['k','a','b']}",
                          true);
}

Test(far, what_nobody_has_is_waited_for_and_then_refused) {
    struct far_world *f = calloc(1, sizeof *f);
    struct far_call_opts o = {.kind = PAGE_SIZE};
    uint8_t b[512];
    struct select_opts s = {.question = v(b, specs[0])};
    uint64_t began_ns;

    far_open(f, "{'shards': 8, 'attributes': ['k','a','b']}", 8);
    fill(f);
    far_move(f, 3, 2);
    f->owner[3] = 0;
    for (uint64_t id = 1; id <= FAR_NODES; id++)
        atomic_store(&f->site[id].table->shard[3].role, SHARD_FILLING);
    began_ns = f->site[1].w.st->now_ns;
    cr_assert_eq(far_ask(f, 1, &o), EG_NO_REPLICA);
    cr_assert_geq(f->site[1].w.st->now_ns - began_ns, UINT64_C(1000000) * FAR_WAIT_MS);
    cr_assert_eq(far_select(f, 1, &s), EG_NO_REPLICA);
    far_close(f);
    free(f);
}

Test(far, a_link_that_is_not_there_is_tried_again) {
    struct far_world *f = calloc(1, sizeof *f);
    uint8_t b[512];

    far_open(f, "{'shards': 8, 'attributes': ['k','a','b']}", 9);
    fill(f);
    f->lose = 5;
    agree(f, 1, (struct select_opts){.question = v(b, specs[0])}, false);
    f->lose = 5;
    call_is(f, 1, PAGE_SIZE, NULL, false, "400");
    far_close(f);
    free(f);
}

static void texts_agree(const char *options) {
    struct far_world *f = calloc(1, sizeof *f);

    far_open(f, options, 12);
    fill(f);
    for (uint64_t id = 1; id <= FAR_NODES; id++) {
        text_agrees(f, id, "select * from t", false);
        text_agrees(f, id, "select k, b from t where k = 7", false);
        text_agrees(f, id, "select k from t where k in (3, 300, 1000)", false);
        text_agrees(f, id, "select k from t where k > 100 and k <= 150 order by k desc", true);
        text_agrees(f, id, "select k from t where a = 3 and b like '%7%'", false);
        text_agrees(f, id, "select a, count(*), sum(k) from t group by a order by a", true);
        text_agrees(f, id, "select count(*) from t", true);
        text_agrees(f, id, "select max(k), min(k) from t where a between 2 and 4", true);
        text_agrees(f, id, "select avg(k), sum(k * 1.5), count(b), min(b), max(b) from t", true);
        text_agrees(f, id, "select b, count(*) from t where a < 3 group by b order by b", true);
        text_agrees(f, id, "select a % 3, sum(a) from t group by a % 3 having sum(a) > 3", false);
        text_agrees(f, id, "select sum(k), max(k) from t where k > 1000", true);
        text_agrees(f, id, "select k from t order by a, k limit 20 offset 5", true);
        text_agrees(f, id, "select x.k, y.b from t x join t y on x.a = y.k where x.k < 40", false);
        text_agrees(f, id, "select k from t where k = 1 and k = 2", false);
    }
    far_close(f);
    free(f);
}

Test(far, texts_are_answered) {
    texts_agree("{'shards': 8, 'attributes': ['k','a','b'], 'index': ['a']}");
    texts_agree("{'shards': 8, 'type': 'ordered_set', 'attributes': ['k','a','b']}");
}

static void all_here(struct far_world *f, enum shard_role role) {
    for (uint32_t i = 0; i < 8; i++)
        atomic_store(&f->site[1].table->shard[i].role, role);
}

/* Everything is at the first node, which stops between its first two pages. */
static void stop_at_first(struct far_world *f, uint32_t page) {
    if (page == 1)
        all_here(f, SHARD_STOPPED);
}

static void go_on(struct far_world *f) {
    if (f->moments == 50)
        all_here(f, SHARD_FULL);
}

Test(far, a_node_that_stops_between_two_views_goes_on) {
    struct far_world *f = calloc(1, sizeof *f);
    uint8_t b[512];
    struct select_opts o = {.question = v(b, specs[0]), .limit = 37};
    uint32_t pages;

    far_open(f, "{'shards': 8, 'attributes': ['k','a','b']}", 13);
    for (uint32_t i = 0; i < 8; i++)
        far_move(f, i, 1);
    fill(f);
    f->between = stop_at_first;
    f->moment = go_on;
    cr_assert_eq(far_pages(f, 1, &o, &pages), EG_OK, "%s", f->site[1].note.text);
    cr_assert_eq(value_count(bytes_of(&f->site[1].result)), RECORDS);
    cr_assert_geq(f->moments, 50);
    f->moment = NULL;
    cr_assert_eq(far_pages(f, 1, &o, &pages), EG_NO_REPLICA);
    far_close(f);
    free(f);
}

Test(far, dirty_is_what_is_here) {
    struct far_world *f = calloc(1, sizeof *f);
    uint8_t b[512];
    struct select_opts s = {.question = v(b, specs[0]), .dirty = true};
    struct far_call_opts o = {.kind = PAGE_SIZE, .dirty = true};
    uint64_t all = 0, n;

    far_open(f, "{'shards': 8, 'attributes': ['k','a','b']}", 10);
    fill(f);
    for (uint64_t id = 1; id <= FAR_NODES; id++) {
        cr_assert_eq(far_ask(f, id, &o), EG_OK);
        cr_assert(value_get_u64(bytes_of(&f->site[id].result), &n));
        cr_assert_eq(far_select(f, id, &s), EG_OK);
        cr_assert_eq(value_count(bytes_of(&f->site[id].result)), n);
        all += n;
    }
    cr_assert_eq(all, RECORDS);
    cr_assert_eq(f->carried, 0);
    for (uint32_t i = 0; i < 8; i++)
        atomic_store(&f->site[1].table->shard[i].role, SHARD_AWAY);
    cr_assert_eq(far_ask(f, 1, &o), EG_NO_REPLICA);
    cr_assert_eq(far_select(f, 1, &s), EG_NO_REPLICA);
    far_close(f);
    free(f);
}

/* What another node says is looked at as what a stranger says. */
Test(far, payloads_that_make_no_sense_do_no_harm) {
    static const char *const texts[] = {
        "[2]",
        "[2, 1, 1, 1, 't', 0, [0,false,false,0,0,[0,0,0,0],b'',b'']]",
        "[2, 1, 1, 1, 't', %llu, 7]",
        "[2, 1, 1, 1, 't', %llu, [0,false,false,0,0,[0,0,0],b'',b'']]",
        "[2, 1, 1, 1, 't', %llu, [1,false,false,0,0,[255,0,0,0],b'',b'']]",
        "[2, 1, 1, 1, 't', %llu, [2,false,false,0,0,[255,0,0,0],b'x',b'']]",
        "[2, 1, 1, 1, 't', %llu, [3,false,false,0,0,[255,1,1,1],b'x',b'']]",
        "[2, 1, 1, 1, 't', %llu, [0,true,true,9,1,[255,255,255,255],b'',b'x']]",
        "[2, 1, 1, 1, 't', %llu, [0,false,false,0,0,[255,255,255,255],b'',b'x']]",
        "[2, 1, 1, 1, 't', %llu, [5,false,true,0,0,[255,255,255,255],b'',b'x']]",
        "[2, 1, 1, 1, 't', %llu, [6,false,true,0,0,[255,255,255,255],b'x',b'']]",
        "[2, 1, 1, 1, 't', %llu, [99,false,true,0,0,[255,255,255,255],b'x',b'']]",
        "[3, 7, 0, 1]",
        "[3, 7, -99999, 'x']",
        "[3]",
    };
    struct far_world *f = calloc(1, sizeof *f);
    char text[256];
    uint8_t b[512];

    far_open(f, "{'shards': 8, 'type': 'ordered_set', 'attributes': ['k','a','b']}", 14);
    fill(f);
    for (uint32_t i = 0; i < 8; i++)
        far_move(f, i, 2);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        snprintf(text, sizeof text, texts[i],
                 (unsigned long long) table_schema(f->site[2].table)->id);
        far_read_receive(f->site[2].reads, 1, v(b, text));
        stepper_run(f->site[2].w.st);
    }
    call_is(f, 1, PAGE_SIZE, NULL, false, "400");
    far_close(f);
    free(f);
}

Test(far, a_wrong_question_is_refused_at_once) {
    struct far_world *f = calloc(1, sizeof *f);
    uint8_t b[512];
    struct select_opts s = {.question = v(b, "[[['$1'],[],['$_']]]")};
    struct far_call_opts o = {.kind = PAGE_READ, .question = v(b, "7")};

    far_open(f, "{'shards': 8, 'attributes': ['k','a','b']}", 11);
    cr_assert_eq(far_ask(f, 1, &o), EG_BAD_REQUEST);
    s.question = v(b, "[[['$1'],[],['$_']]]");
    cr_assert_eq(far_select(f, 1, &s), EG_BAD_REQUEST);
    far_close(f);
    free(f);
}
