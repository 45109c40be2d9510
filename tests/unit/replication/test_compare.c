/* Goal: a copy whose clock does not say what it has, or is older than the deletes that are
 * remembered, gets and asks about little more than what differs, and ends up right whatever is
 * lost, changed or lied about on the way.  Method: replica_net.h; discs put back, fills broken off.
 */
#include "tests/support/replica_net.h"

#include "tables/merge.h"
#include "tables/shard_floor.h"
#include "tables/table_private.h"

#include <criterion/criterion.h>

enum { FORGET_MS = 5000 };

static uint64_t sent_bytes(void) {
    uint64_t bytes = 0;

    for (uint32_t a = 0; a < net.count; a++)
        for (uint32_t b = 0; b < net.count; b++)
            bytes += net.node[a].sent_bytes[b];
    return bytes;
}

static void fill_many(uint64_t from, uint64_t to) {
    enum { TOGETHER = 2000 };

    for (uint64_t k = from; k < to; k += TOGETHER)
        fill(&net.node[0], k, EG_MIN(k + TOGETHER, to));
}

static void heal(void) {
    memset(net.cut, 0, sizeof net.cut);
}

/* ---- a fill that broke off ---------------------------------------------------------------------
 */

enum { BIG = 4400 };

/* Node 1 has some part of what node 0 has, and no clock that says so. */
static void break_off(const char *storage, uint64_t seed, uint64_t part) {
    open_net(2, 0, storage, seed);
    install(1, 3);
    settle(1);
    fill_many(0, BIG);
    install(3, 3);
    for (int ms = 0; ms < SETTLE_MS && size_of(&net.node[1]) < part; ms++) {
        move_packets();
        for (uint32_t n = 0; n < net.count; n++)
            stepper_run_ms(net.node[n].w.st, 1);
    }
    cut(0, 1);
    run_ms(100);
}

static void is_whole(uint64_t records) {
    settle(3);
    run_ms(1000);
    equal_copies(3, records);
    for (uint32_t i = 0; i < 2; i++) {
        reader_enter(&net.node[i].w.reader);
        table_world_check(&net.node[i].w, table_of(&net.node[i]));
        reader_exit(&net.node[i].w.reader);
        AGREE(size_of(&net.node[i]) == records);
    }
}

static void goes_on(const char *storage, bool starts_again, uint64_t seed) {
    uint64_t had, before, got;

    break_off(storage, seed, BIG * 3 / 4);
    if (starts_again)
        restart(&net.node[1], false);
    had = size_of(&net.node[1]);
    AGREE(had > BIG / 2 && had < BIG);
    heal();
    before = sent_bytes();
    install(3, 3);
    settle(3);
    got = sent_bytes() - before;
    cr_assert_leq(got, (BIG - had) * RECORD_BYTES * 2, "%llu bytes for %llu records",
                  (unsigned long long) got, (unsigned long long) (BIG - had));
    is_whole(BIG);
    close_net();
}

Test(compare, a_fill_that_broke_off_goes_on_where_it_was) {
    goes_on("ram", false, 71);
    goes_on("disc_only", true, 73);
}

Test(compare, and_while_writes_and_deletes_go_on) {
    break_off("ram", 74, BIG * 3 / 4);
    heal();
    install(3, 3);
    for (uint64_t n = 0; n < 600; n++) {
        (void) ask(&net.node[0], n % 3 == 0 ? SHARD_DELETE : SHARD_WRITE, n * 7 % BIG, n);
        if (n % 4 == 0)
            move_packets();
        for (uint32_t i = 0; i < 2 && n % 5 == 0; i++)
            stepper_run(net.node[i].w.st);
    }
    settle(3);
    run_ms(1000);
    equal_copies(3, BIG);
    AGREE(size_of(&net.node[0]) == size_of(&net.node[1]) && size_of(&net.node[0]) <= BIG);
    close_net();
}

/* Both go on alone, and meet: what node 0 takes away of every third key stays away, though node 1
 * may have it; of the others what node 1 writes stays, and of those that it had not what node 0
 * had, too.
 */
static void write_apart(bool sets) {
    install(1, 3);
    settle(1);
    install(2, 3);
    settle(2);
    for (uint64_t k = 1; k < BIG; k++)
        if (k % 3 == 0)
            AGREE(ask(&net.node[0], sets ? SHARD_WRITE : SHARD_DELETE, k, 0));
        else
            AGREE(ask(&net.node[1], SHARD_WRITE, k,
                      (k + BIG) << ELEMENT_BITS | (sets && k % 3 == 1 ? k : 0)));
    run_ms(100);
    heal();
    install(3, 3);
    settle(3);
    run_ms(1000);
    equal_copies(3, BIG);
}

enum { NEITHER, OLD, NEW, BOTH };

/* Of a set, which of two elements; of siblings, which versions: by their number's lower half. */
static int elements_in(struct value array, uint64_t key) {
    struct value_iter it;
    struct value v;
    uint64_t n;
    int found = NEITHER;

    AGREE(array_element(array, 1, &v));
    it = value_iter_of(v);
    while (value_iter_next(&it, &v)) {
        AGREE(value_get_u64(v, &n) && (n == key || n == key + BIG));
        found |= n == key ? OLD : NEW;
    }
    return found;
}

static int siblings_in(const struct record *rec, uint64_t key) {
    struct merge_version v = {.record = record_value(rec), .state = record_state(rec)};
    struct merge_sibling list[MERGE_SIBLINGS_MAX];
    uint32_t count = merge_siblings(&v, list);
    int found = NEITHER;

    for (uint32_t i = 0; i < count; i++) {
        uint8_t bytes[RECORD_BYTES + 32];
        struct value old = record_of(bytes, sizeof bytes, key, key);

        found |= value_equal(list[i].record, old) ? OLD : NEW;
    }
    return found;
}

static void takes_nothing_back(const char *policy, uint64_t seed) {
    bool sets = strcmp(policy, "set") == 0;
    static bool had[BIG];

    break_off(policy, seed, BIG / 2);
    reader_enter(&net.node[1].w.reader);
    for (uint64_t k = 1; k < BIG; k++)
        had[k] = get(&net.node[1], k) != NULL;
    reader_exit(&net.node[1].w.reader);
    write_apart(sets);
    reader_enter(&net.node[0].w.reader);
    for (uint64_t k = 1; k < BIG; k++) {
        const struct record *rec = get(&net.node[0], k);
        int is = rec == NULL ? NEITHER
                 : sets      ? elements_in(record_value(rec), k)
                             : siblings_in(rec, k);
        bool replaced = had[k] && (!sets || k % 3 == 2);

        cr_assert_eq(is,
                     k % 3 == 0 ? NEITHER
                     : replaced ? NEW
                                : BOTH,
                     "%s: key %d is %d, had %d", policy, (int) k, is, had[k]);
    }
    reader_exit(&net.node[0].w.reader);
    close_net();
}

Test(compare, a_fill_that_broke_off_takes_nothing_back_of_sets_and_siblings_and_loses_nothing) {
    takes_nothing_back("set", 76);
    takes_nothing_back("siblings", 77);
}

/* Nobody waits for ever for a word of a comparison: without it all is told, or asked about. */
Test(compare, words_that_are_lost_are_said_again_or_done_without) {
    break_off("ram", 75, BIG * 3 / 4);
    heal();
    install(3, 3);
    for (uint32_t kind = REPLICA_TREE; kind <= REPLICA_WANT; kind++) {
        net.lost = UINT32_C(1) << kind;
        run_ms(500);
    }
    net.lost = 0;
    is_whole(BIG);
    close_net();
}

/* ---- an old disc -------------------------------------------------------------------------------
 */

enum { MANY = 2400, GONE = 30 };

static struct disc_twin *disc_of(uint32_t node) {
    struct disc_twin *copy;

    AGREE(table_world_ask(&net.node[node].w, CATALOG_SYNC, "t", (struct value){0}) == EG_OK);
    AGREE(disc_twin_copy(&copy, net.node[node].w.pump.twin) == EG_OK);
    return copy;
}

/* Node 1 comes with a disc of before the deletes, which nobody remembers. */
static void bring_old_disc(const char *storage, uint64_t seed) {
    struct disc_twin *old;

    open_net(2, 0, storage, seed);
    install(3, 3);
    settle(3);
    fill_many(0, MANY);
    old = disc_of(1);
    for (uint64_t k = 0; k < GONE; k++)
        AGREE(ask(&net.node[0], SHARD_DELETE, k * (MANY / GONE), 0));
    run_ms(FORGET_MS);
    cut(0, 1);
    restart_with(&net.node[1], old);
    AGREE(size_of(&net.node[1]) == MANY);
    heal();
}

static void are_gone(void) {
    settle(3);
    run_ms(500);
    for (uint32_t i = 0; i < 2; i++) {
        AGREE(size_of(&net.node[i]) == MANY - GONE);
        reader_enter(&net.node[i].w.reader);
        for (uint64_t k = 0; k < GONE; k++)
            AGREE(get(&net.node[i], k * (MANY / GONE)) == NULL);
        reader_exit(&net.node[i].w.reader);
    }
    equal_copies(3, MANY);
}

static void asks_little(const char *storage, uint64_t seed) {
    uint64_t before, got;

    bring_old_disc(storage, seed);
    before = sent_bytes();
    install(3, 3);
    settle(3);
    got = sent_bytes() - before;
    cr_assert_leq(got, GONE * RECORD_BYTES * 2, "%llu bytes", (unsigned long long) got);
    are_gone();
    close_net();
}

Test(compare, an_old_disc_is_asked_about_little_more_than_what_is_gone) {
    asks_little("disc", 81);
}

Test(compare, what_is_not_answered_is_asked_about_whole) {
    bring_old_disc("disc", 83);
    net.lost = UINT32_C(1) << REPLICA_TREE;
    install(3, 3);
    settle(3); /* it is given up in a while */
    net.lost = 0;
    are_gone();
    close_net();
}

/* Where nearly all differs, nothing is compared leaf by leaf. */
Test(compare, what_is_nearly_all_gone_goes) {
    enum { LEFT = 100 };
    struct disc_twin *old;

    open_net(2, 0, "disc", 86);
    install(3, 3);
    settle(3);
    fill_many(0, MANY);
    old = disc_of(1);
    for (uint64_t k = LEFT; k < MANY; k++)
        AGREE(ask(&net.node[0], SHARD_DELETE, k, 0));
    run_ms(FORGET_MS);
    cut(0, 1);
    restart_with(&net.node[1], old);
    heal();
    install(3, 3);
    settle(3);
    for (uint32_t i = 0; i < 2; i++)
        AGREE(size_of(&net.node[i]) == LEFT);
    close_net();
}

/* A node that lies may do harm to records, but not to the other node. */
Test(compare, lies_break_nothing) {
    for (uint64_t seed = 0; seed < 2; seed++) {
        if (seed % 2 == 0)
            break_off("ram", 90 + seed, BIG * 3 / 4);
        else
            bring_old_disc("disc", 90 + seed);
        heal();
        install(3, 3);
        net.lying = true;
        run_ms(300);
        net.lying = false;
        for (uint32_t i = 0; i < 2; i++) {
            reader_enter(&net.node[i].w.reader);
            for (uint32_t s = 0; s < SHARDS; s++)
                shard_clock_check(&table_of(&net.node[i])->shard[s].copy->clock);
            reader_exit(&net.node[i].w.reader);
        }
        close_net();
    }
}
