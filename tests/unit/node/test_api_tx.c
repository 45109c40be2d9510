/* Transactions of a program on one node: all or nothing, tried again, one inside the other. */
#include <engram.h>

#include "node/api_tx_private.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static eg_node *node;
static eg_table *table;
static uint8_t bytes[64][256];
static int used;

static eg_span span(const char *text) {
    struct value v = text_value(bytes[used % 64], sizeof bytes[0], text);

    used++;
    return (eg_span){v.at, v.size_bytes};
}

static void setup(void) {
    eg_span options = span("{'attributes': ['k', 'n', 'm'], 'index': ['m']}");

    cr_assert_eq(eg_open(&(eg_options){.name = "test", .schedulers = 1}, &node, NULL), EG_OK);
    cr_assert_eq(eg_create_table(node, "t", &options, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "t", &table), EG_OK);
}

static void teardown(void) {
    eg_table_close(table);
    eg_close(node);
}

TestSuite(api_tx, .init = setup, .fini = teardown, .timeout = 240);

/* What is there, read without a transaction. */
static void expect(const char *key, const char *wanted) {
    char shown[256];
    eg_result found;

    cr_assert_eq(eg_read(table, span(key), &found), EG_OK);
    value_text((struct value){found.value.at, (uint32_t) found.value.size_bytes}, shown,
               sizeof shown);
    cr_expect_str_eq(shown, wanted);
    eg_result_free(&found);
}

static eg_err run(eg_err (*fn)(eg_tx *tx, void *arg), void *arg) {
    return eg_transaction(node, fn, arg, NULL);
}

/* ---- all or nothing ------------------------------------------------------------------ */

static eg_err write_two(eg_tx *tx, void *arg) {
    eg_err err = eg_tx_write(tx, table, span("['a', 1, nil]"));

    expect("'a'", "[]"); /* nobody else sees it before the end */
    if (err == EG_OK)
        err = eg_tx_write(tx, table, span("['b', 2, nil]"));
    if (err == EG_OK && arg != NULL)
        return eg_tx_abort(tx, arg);
    return err;
}

Test(api_tx, what_it_wrote_is_there_when_it_returns) {
    cr_assert_eq(run(write_two, NULL), EG_OK);
    expect("'a'", "[['a', 1, nil]]");
    expect("'b'", "[['b', 2, nil]]");
}

Test(api_tx, an_abort_leaves_nothing_and_says_why) {
    eg_note note;

    cr_assert_eq(eg_transaction(node, write_two, "not today", &(eg_tx_options){.note = &note}),
                 EG_ABORTED);
    cr_assert_str_eq(note.text, "not today");
    expect("'a'", "[]");
    expect("'b'", "[]");
}

static eg_err write_and_fail(eg_tx *tx, void *arg) {
    cr_assert_eq(eg_tx_write(tx, table, span("['a', 1, nil]")), EG_OK);
    return *(eg_err *) arg;
}

Test(api_tx, an_error_of_the_function_undoes_it_and_is_returned) {
    eg_err err = EG_NOT_FOUND;

    cr_assert_eq(run(write_and_fail, &err), EG_NOT_FOUND);
    expect("'a'", "[]");
}

/* ---- its own writes ------------------------------------------------------------------- */

static eg_err write_for_a_while(eg_tx *tx, void *arg) {
    uint64_t ttl_ms = *(uint64_t *) arg, count;
    bool inserted;
    eg_err err = eg_tx_insert_new_ttl(tx, table, span("['a', 1, nil]"), ttl_ms, &inserted);

    if (err == EG_OK) {
        cr_expect(inserted);
        err =
            eg_tx_write_many_ttl(tx, table, span("[['b', 1, nil], ['c', 1, nil]]"), ttl_ms, &count);
    }
    return err;
}

Test(api_tx, what_it_wrote_for_a_while_goes_by_itself) {
    static const eg_context contexts[] = {EG_TRANSACTION, EG_SYNC_DIRTY, EG_ASYNC_DIRTY};

    for (int i = 0; i < 3; i++) {
        const eg_tx_options o = {.context = contexts[i]};
        uint64_t ttl_ms = 3600 * 1000;

        cr_assert_eq(eg_transaction(node, write_for_a_while, &ttl_ms, &o), EG_OK);
        cr_assert_eq(eg_size(table), 3);
        cr_assert_eq(eg_clear_table(node, "t"), EG_OK);
        ttl_ms = 1;
        cr_assert_eq(eg_transaction(node, write_for_a_while, &ttl_ms, &o), EG_OK);
        while (eg_size(table) != 0) /* until the suite's time is over */
            sched_yield();
    }
}

static eg_err see_own(eg_tx *tx, void *arg) {
    eg_span record;
    int64_t n;
    uint64_t size;
    eg_result found;

    (void) arg;
    cr_expect_eq(eg_tx_get(tx, table, span("'a'"), &record), EG_NOT_FOUND);
    cr_expect_eq(eg_tx_write(tx, table, span("['a', 1, 'x']")), EG_OK);
    cr_expect_eq(eg_tx_get(tx, table, span("'a'"), &record), EG_OK);
    cr_expect_eq(eg_tx_update_counter(tx, table, span("'a'"), "n", 4, &n), EG_OK);
    cr_expect_eq(n, 5);
    cr_expect_eq(eg_tx_update(tx, table, span("'a'"), span("{'m': 'y'}")), EG_OK);
    cr_expect_eq(eg_tx_update(tx, table, span("'none'"), span("{'m': 'y'}")), EG_NOT_FOUND);
    cr_expect_eq(eg_tx_index_read(tx, table, "m", span("'y'"), &found), EG_OK);
    cr_expect_eq(eg_count(found.value), 1);
    eg_result_free(&found);
    cr_expect_eq(eg_tx_size(tx, table, &size), EG_OK);
    cr_expect_eq(size, 1);
    cr_expect_eq(eg_tx_write(tx, table, span("['short']")), EG_BAD_RECORD); /* it goes on */
    return EG_OK;
}

Test(api_tx, reads_see_its_own_writes) {
    cr_assert_eq(run(see_own, NULL), EG_OK);
    expect("'a'", "[['a', 5, 'y']]");
}

/* ---- levels ------------------------------------------------------------------------------ */

struct ends {
    eg_err child, parent;
};

static eg_err child(eg_tx *tx, void *arg) {
    eg_span record;

    cr_expect_eq(eg_tx_get(tx, table, span("'p'"), &record), EG_OK);
    cr_expect_eq(eg_tx_write(tx, table, span("['c', 1, nil]")), EG_OK);
    cr_expect_eq(eg_tx_delete(tx, table, span("'p'")), EG_OK);
    return ((struct ends *) arg)->child;
}

static eg_err parent(eg_tx *tx, void *arg) {
    struct ends *ends = arg;
    eg_span record;

    cr_expect_eq(eg_tx_write(tx, table, span("['p', 1, nil]")), EG_OK);
    cr_expect_eq(eg_tx_nested(tx, child, arg), ends->child);
    cr_expect_eq(eg_tx_get(tx, table, span("'c'"), &record),
                 ends->child == EG_OK ? EG_OK : EG_NOT_FOUND);
    return ends->parent;
}

/* Mnesia's nested_trans_both_ok, child_dies, parent_dies, both_dies. */
Test(api_tx, a_childs_end_is_its_own_and_the_parents_is_both) {
    struct ends both_ok = {EG_OK, EG_OK}, child_dies = {EG_NOT_FOUND, EG_OK},
                parent_dies = {EG_OK, EG_NOT_FOUND}, both_die = {EG_NOT_FOUND, EG_NOT_FOUND};

    cr_assert_eq(run(parent, &parent_dies), EG_NOT_FOUND);
    expect("'c'", "[]");
    cr_assert_eq(run(parent, &both_die), EG_NOT_FOUND);
    expect("'p'", "[]");
    cr_assert_eq(run(parent, &child_dies), EG_OK);
    expect("'p'", "[['p', 1, nil]]");
    expect("'c'", "[]");
    cr_assert_eq(run(parent, &both_ok), EG_OK);
    expect("'p'", "[]");
    expect("'c'", "[['c', 1, nil]]");
}

static eg_err deeper(eg_tx *tx, void *arg) {
    int *depth = arg;

    ++*depth;
    return eg_tx_nested(tx, deeper, arg);
}

Test(api_tx, a_thousand_levels_are_too_many) {
    int depth = 0;

    cr_assert_eq(run(deeper, &depth), EG_TOO_LARGE);
    cr_assert_eq(depth, 65); /* the outermost, and 64 inside it */
    cr_assert_eq(run(write_two, NULL), EG_OK);
}

/* ---- conflicts ------------------------------------------------------------------------------ */

enum { THREADS = 2, ROUNDS = 300 };

static eg_err increment(eg_tx *tx, void *arg) {
    int64_t n = 0;
    eg_span record, field;
    uint8_t room[32];
    eg_writer w = eg_writer_init(room, sizeof room);
    eg_err err = eg_tx_get(tx, table, (eg_span){"\xa1n", 2}, &record);

    (void) arg;
    if (err == EG_OK)
        cr_assert(eg_element(record, 1, &field) && eg_as_int(field, &n));
    else if (err != EG_NOT_FOUND)
        return err;
    eg_put_array(&w, 3);
    eg_put_string(&w, "n");
    eg_put_int(&w, n + 1);
    eg_put_nil(&w);
    return eg_tx_write(tx, table, eg_written(&w));
}

static void *increment_often(void *failed) {
    for (int i = 0; i < ROUNDS; i++)
        if (eg_transaction(node, increment, NULL, NULL) != EG_OK)
            *(bool *) failed = true;
    return NULL;
}

Test(api_tx, increments_of_two_threads_are_all_there) {
    pthread_t thread[THREADS];
    bool failed[THREADS] = {false};
    char wanted[64];

    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, increment_often, &failed[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        cr_assert_not(failed[i]);
    }
    snprintf(wanted, sizeof wanted, "[['n', %d, nil]]", THREADS * ROUNDS);
    expect("'n'", wanted);
}

struct loser {
    int tries;
    eg_err said; /* instead of what the call said; EG_OK: that */
};

/* What it has read is changed by another before its end, the first time. */
static eg_err lose_once(eg_tx *tx, void *arg) {
    struct loser *l = arg;
    eg_span record;
    eg_err err = eg_tx_get(tx, table, span("'a'"), &record);

    if (++l->tries == 1)
        cr_assert_eq(eg_write(table, span("['a', 2, nil]")), EG_OK);
    if (err == EG_OK)
        err = eg_tx_write(tx, table, span("['b', 1, nil]"));
    return l->said != EG_OK ? l->said : err;
}

Test(api_tx, who_has_read_what_another_changed_is_tried_again) {
    struct loser l = {0, EG_OK};

    cr_assert_eq(eg_write(table, span("['a', 1, nil]")), EG_OK);
    cr_assert_eq(run(lose_once, &l), EG_OK);
    cr_assert_eq(l.tries, 2);
    expect("'b'", "[['b', 1, nil]]");
}

Test(api_tx, with_one_try_a_conflict_is_returned) {
    struct loser l = {0, EG_OK};

    cr_assert_eq(eg_write(table, span("['a', 1, nil]")), EG_OK);
    cr_assert_eq(eg_transaction(node, lose_once, &l, &(eg_tx_options){.tries = 1}), EG_CONFLICT);
    expect("'b'", "[]");
}

static eg_err read_two(eg_tx *tx, void *arg) {
    struct loser *l = arg;
    eg_span record;

    cr_assert_eq(eg_tx_get(tx, table, span("'a'"), &record), EG_OK);
    if (++l->tries == 1)
        cr_assert_eq(eg_write(table, span("['a', 2, nil]")), EG_OK);
    (void) eg_tx_get(tx, table, span("'b'"), &record);
    return l->said;
}

/* It gives up because of what it has read: where that never was, it is asked again. */
Test(api_tx, an_error_that_was_decided_by_what_never_was_is_not_believed) {
    struct loser l = {0, EG_NOT_FOUND};

    cr_assert_eq(eg_write(table, span("['a', 1, nil]")), EG_OK);
    cr_assert_eq(run(read_two, &l), EG_NOT_FOUND);
    cr_assert_eq(l.tries, 2);
}

static eg_err ask_for_absent(eg_tx *tx, void *arg) {
    struct loser *l = arg;
    eg_result found;
    eg_err err = eg_tx_match(tx, table, span("['_', '_', 'red']"), 0, &found);

    if (err != EG_OK)
        return err;
    eg_result_free(&found);
    if (++l->tries == 1)
        cr_assert_eq(eg_write(table, span("['z', 2, 'red']")), EG_OK);
    return eg_tx_write(tx, table, span("['b', 1, nil]"));
}

Test(api_tx, a_record_that_comes_into_what_was_asked_is_a_conflict) {
    struct loser l = {0, EG_OK};

    cr_assert_eq(run(ask_for_absent, &l), EG_OK);
    cr_assert_eq(l.tries, 2);
}

/* ---- locks ----------------------------------------------------------------------------- */

struct locker {
    eg_span *key;
    pthread_t other;
    atomic_bool ended;
    bool early; /* the other one's write was done before that */
};

static void *write_beside(void *arg) {
    struct locker *l = arg;

    cr_assert_eq(eg_write(table, (eg_span){"\x93\xa1x\x02\xc0", 5}), EG_OK);
    l->early = !atomic_load(&l->ended);
    return NULL;
}

static eg_err lock_and_write(eg_tx *tx, void *arg) {
    struct locker *l = arg;
    eg_span record;
    eg_err err = eg_tx_lock(tx, table, l->key, true);

    if (err != EG_OK)
        return err;
    cr_assert_eq(pthread_create(&l->other, NULL, write_beside, l), 0);
    for (int i = 0; i < 2000; i++)
        cr_assert_eq(eg_tx_get(tx, table, span("'x'"), &record), EG_NOT_FOUND);
    atomic_store(&l->ended, true);
    return eg_tx_write(tx, table, span("['x', 1, nil]"));
}

static void is_waited_for(eg_span *key) {
    struct locker l = {.key = key};

    cr_assert_eq(run(lock_and_write, &l), EG_OK);
    pthread_join(l.other, NULL);
    cr_assert_not(l.early);
    expect("'x'", "[['x', 2, nil]]");
}

Test(api_tx, who_writes_a_locked_key_waits_for_the_end) {
    eg_span key = span("'x'");

    is_waited_for(&key);
}

Test(api_tx, who_writes_to_a_locked_table_waits_for_the_end) {
    is_waited_for(NULL);
}

/* ---- names ------------------------------------------------------------------------------- */

struct guarded {
    atomic_int inside;
    int most, entered; /* only who is inside alone changes them */
};

static eg_err enter_alone(eg_tx *tx, void *arg) {
    struct guarded *g = arg;
    eg_err err = eg_tx_lock_name(tx, "the stairs", true);
    int inside;

    if (err != EG_OK)
        return err;
    inside = atomic_fetch_add(&g->inside, 1) + 1;
    g->most = inside > g->most ? inside : g->most;
    err = increment(tx, NULL);
    g->entered++;
    atomic_fetch_sub(&g->inside, 1);
    return err;
}

static void *enter_often(void *arg) {
    for (int i = 0; i < ROUNDS; i++)
        cr_assert_eq(run(enter_alone, arg), EG_OK);
    return NULL;
}

Test(api_tx, who_has_locked_a_name_is_alone_with_it) {
    struct guarded g = {.most = 0};
    pthread_t thread[THREADS];
    char wanted[64];

    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, enter_often, &g), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    cr_assert_eq(g.most, 1);
    cr_assert_geq(g.entered, THREADS * ROUNDS);
    snprintf(wanted, sizeof wanted, "[['n', %d, nil]]", THREADS * ROUNDS);
    expect("'n'", wanted);
}

struct naming {
    const char *name;
    bool exclusive;
    uint64_t patience_ms;  /* who is older waits: so long, 0: the usual time */
    struct naming *beside; /* another's, on another thread meanwhile */
    eg_err said;
};

static void *lock_beside(void *arg);

static eg_err lock_name(eg_tx *tx, void *arg) {
    struct naming *n = arg;
    eg_err err = eg_tx_lock_name(tx, n->name, n->exclusive);
    pthread_t thread;

    if (err != EG_OK || n->beside == NULL)
        return err;
    cr_assert_eq(pthread_create(&thread, NULL, lock_beside, n->beside), 0);
    pthread_join(thread, NULL);
    return EG_OK;
}

static void *lock_beside(void *arg) {
    struct naming *n = arg;

    n->said = eg_transaction(node, lock_name, n,
                             &(eg_tx_options){.timeout_ms = n->patience_ms, .tries = 1});
    return NULL;
}

Test(api_tx, a_shared_name_is_shared_and_an_exclusive_one_is_not) {
    for (int i = 0; i < 8; i++) {
        struct naming b = {.name = i & 1 ? "a" : "b", .exclusive = i & 2};
        struct naming a = {.name = "a", .exclusive = i & 4, .beside = &b};
        bool meet = (i & 1) && (a.exclusive || b.exclusive);

        b.patience_ms = meet ? 50 : 0;
        cr_assert_eq(run(lock_name, &a), EG_OK);
        cr_assert_eq(b.said != EG_OK, meet, "case %d: %d", i, (int) b.said);
    }
}

static eg_err lock_and_give_up(eg_tx *tx, void *arg) {
    cr_expect_eq(eg_tx_write(tx, table, span("['a', 1, nil]")), EG_OK);
    cr_expect_eq(eg_tx_lock_name(tx, "the stairs", true), EG_OK);
    cr_expect_eq(eg_tx_write(tx, table, span("['a', 2, nil]")), EG_OK);
    cr_expect_eq(eg_tx_lock_name(tx, "the door", false), EG_OK);
    cr_expect_eq(eg_tx_lock_name(tx, arg, true), EG_OK);
    return EG_NOT_FOUND;
}

static eg_err try_two_parts(eg_tx *tx, void *arg) {
    struct naming other = {.name = "the stairs", .exclusive = true, .patience_ms = 50};
    pthread_t thread;

    cr_expect_eq(eg_tx_write(tx, table, span("['p', 1, nil]")), EG_OK);
    cr_expect_eq(eg_tx_nested(tx, lock_and_give_up, "the roof"), EG_NOT_FOUND);
    cr_expect_eq(eg_tx_nested(tx, lock_and_give_up, "the cellar"), EG_NOT_FOUND);
    cr_expect_eq(eg_tx_write(tx, table, span("['q', 1, nil]")), EG_OK);
    cr_assert_eq(pthread_create(&thread, NULL, lock_beside, &other), 0);
    pthread_join(thread, NULL);
    cr_expect_neq(other.said, EG_OK);
    return *(eg_err *) arg;
}

static eg_err try_deeper(eg_tx *tx, void *arg) {
    eg_err fails = EG_NOT_FOUND;

    cr_expect_eq(eg_tx_nested(tx, try_two_parts, &fails), EG_NOT_FOUND);
    return *(eg_err *) arg;
}

/* The counts of all four. */
static void names_are(const char *const wanted[4]) {
    static const char *const name[] = {"'the stairs'", "'the roof'", "'the cellar'", "'the door'"};
    eg_table *t = table;

    cr_assert_eq(eg_table_open(node, "engram_names", &table), EG_OK);
    for (int i = 0; i < 4; i++)
        expect(name[i], wanted[i]);
    eg_table_close(table);
    table = t;
}

Test(api_tx, a_lock_of_an_undone_part_is_held_until_the_end) {
    struct naming after = {.name = "the stairs", .exclusive = true};
    eg_err err = EG_NOT_FOUND;

    cr_assert_eq(run(try_two_parts, &err), EG_NOT_FOUND);
    cr_assert_eq(run(lock_name, &after), EG_OK);
}

Test(api_tx, a_name_locked_by_an_undone_part_is_counted) {
    eg_err err = EG_OK;

    cr_assert_eq(run(try_two_parts, &err), EG_OK);
    names_are((const char *const[]){"[['the stairs', 2]]", "[['the roof', 1]]",
                                    "[['the cellar', 1]]", "[]"});
    cr_assert_eq(run(try_deeper, &err), EG_OK);
    names_are((const char *const[]){"[['the stairs', 4]]", "[['the roof', 2]]",
                                    "[['the cellar', 2]]", "[]"});
    expect("'a'", "[]");
    expect("'q'", "[['q', 1, nil]]");
}

static eg_err lock_wrongly(eg_tx *tx, void *arg) {
    char name[2048];

    (void) arg;
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    cr_expect_eq(eg_tx_lock_name(NULL, "a", true), EG_BAD_REQUEST);
    cr_expect_eq(eg_tx_lock_name(tx, NULL, true), EG_BAD_REQUEST);
    cr_expect_eq(eg_tx_lock_name(tx, name, true), EG_TOO_LARGE);
    return EG_OK;
}

Test(api_tx, a_name_is_no_longer_than_a_kib) {
    cr_assert_eq(run(lock_wrongly, NULL), EG_OK);
}

enum { KEYS = 40 };

static eg_err touch_all(eg_tx *tx, void *arg) {
    eg_err err = EG_OK;

    ++*(int *) arg;
    for (uint8_t key = 0; key < KEYS && err == EG_OK; key++)
        err = eg_tx_update_counter(tx, table, (eg_span){&key, 1}, "n", 1, NULL);
    return err;
}

static eg_err touch_one(eg_tx *tx, void *arg) {
    return eg_tx_update_counter(tx, table, (eg_span){arg, 1}, "n", 1, NULL);
}

struct pest {
    atomic_bool stop;
    bool failed;
    int64_t done;
};

static void *touch_always(void *arg) {
    struct pest *p = arg;

    for (uint8_t key = 0; !atomic_load(&p->stop); key = (uint8_t) ((key + 7) % KEYS)) {
        if (run(touch_one, &key) == EG_OK)
            p->done++;
        else
            p->failed = true;
    }
    return NULL;
}

/* It reads much, and others are always quicker: then it locks first. */
Test(api_tx, who_loses_again_and_again_gets_through) {
    struct pest pest = {.failed = false};
    int tries = 0;
    int64_t sum = 0, n;
    pthread_t thread;

    for (uint8_t key = 0; key < KEYS; key++)
        cr_assert_eq(eg_update_counter(table, (eg_span){&key, 1}, "n", 0, NULL), EG_OK);
    cr_assert_eq(pthread_create(&thread, NULL, touch_always, &pest), 0);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(run(touch_all, &tries), EG_OK);
    atomic_store(&pest.stop, true);
    pthread_join(thread, NULL);
    cr_assert_not(pest.failed);
    for (uint8_t key = 0; key < KEYS; key++) {
        cr_assert_eq(eg_update_counter(table, (eg_span){&key, 1}, "n", 0, &n), EG_OK);
        sum += n;
    }
    cr_assert_eq(sum, 20 * KEYS + pest.done);
}

/* ---- what goes wrong ----------------------------------------------------------------------------
 */

static eg_err hold_on(eg_tx *tx, void *arg) {
    eg_span record;
    eg_err err = eg_tx_write(tx, table, span("['a', 1, nil]"));

    while (err == EG_OK) /* it never returns by itself */
        err = eg_tx_get(tx, table, span("'a'"), &record);
    *(eg_err *) arg = err;
    return EG_OK;
}

Test(api_tx, after_its_time_the_next_call_says_aborted_and_nothing_is_left) {
    eg_err inside = EG_OK;
    eg_note note;

    cr_assert_eq(
        eg_transaction(node, hold_on, &inside, &(eg_tx_options){.timeout_ms = 20, .note = &note}),
        EG_ABORTED);
    cr_assert_eq(inside, EG_ABORTED);
    cr_assert_str_eq(note.text, "the transaction's time is over");
    expect("'a'", "[]");
    cr_assert_eq(run(write_two, NULL), EG_OK);
}

enum { CHANGES_MAX = 100 * 1000 };

struct many {
    int wanted, made;
};

static eg_err write_many(eg_tx *tx, void *arg) {
    struct many *m = arg;
    eg_err err = EG_OK;

    for (m->made = 0; m->made < m->wanted && err == EG_OK; m->made += err == EG_OK) {
        uint8_t room[32];
        eg_writer w = eg_writer_init(room, sizeof room);

        eg_put_array(&w, 3);
        eg_put_int(&w, m->made);
        eg_put_nil(&w);
        eg_put_nil(&w);
        err = eg_tx_write(tx, table, eg_written(&w));
    }
    return err;
}

Test(api_tx, a_hundred_thousand_changes_are_one_and_one_more_is_refused) {
    struct many million = {.wanted = 1000 * 1000}, enough = {.wanted = CHANGES_MAX};
    eg_note note;
    eg_tx_options o = {.timeout_ms = 600000, .note = &note};

    cr_assert_eq(eg_transaction(node, write_many, &million, &o), EG_TOO_LARGE);
    cr_assert_str_eq(note.text, "a transaction makes at most 100000 changes");
    cr_assert_eq(million.made, CHANGES_MAX);
    cr_assert_eq(eg_size(table), 0);
    cr_assert_eq(eg_transaction(node, write_many, &enough, &o), EG_OK, "%s", note.text);
    cr_assert_eq(eg_size(table), CHANGES_MAX);
    cr_assert_eq(run(write_two, NULL), EG_OK);
}

static eg_err write_large(eg_tx *tx, void *arg) {
    static uint8_t room[(1 << 20) + 64], blob[1 << 20];
    eg_err err = EG_OK;

    for (int i = 0; i < 70 && err == EG_OK; i++, ++*(int *) arg) {
        eg_writer w = eg_writer_init(room, sizeof room);

        eg_put_array(&w, 3);
        eg_put_int(&w, i);
        eg_put_bytes(&w, blob, sizeof blob);
        eg_put_nil(&w);
        err = eg_tx_write(tx, table, eg_written(&w));
    }
    return err;
}

Test(api_tx, more_than_64_mib_are_too_many) {
    int written = 0;

    cr_assert_eq(run(write_large, &written), EG_TOO_LARGE);
    cr_assert_geq(written, 60);
    cr_assert_eq(eg_size(table), 0);
}

static eg_err measure(eg_tx *tx, void *arg) {
    eg_span record;

    cr_assert_eq(eg_tx_get(tx, table, span("'a'"), &record), EG_NOT_FOUND);
    cr_assert_eq(eg_tx_get(tx, table, span("'b'"), &record), EG_NOT_FOUND);
    cr_assert_eq(eg_tx_write(tx, table, span("['a', 1, nil]")), EG_OK);
    cr_assert_eq(eg_tx_write(tx, table, span("['b', 1, nil]")), EG_OK);
    *(struct tx_stats *) arg = tx_stats(tx->txs->tx);
    return EG_OK;
}

Test(api_tx, an_open_one_takes_less_than_4_kib) {
    struct tx_stats stats;

    cr_assert_eq(run(measure, &stats), EG_OK);
    cr_assert_eq(stats.seen, 2);
    cr_assert_eq(stats.wanted, 2);
    cr_assert_lt(stats.bytes, 4096, "%d bytes", (int) stats.bytes);
}

static eg_tx *kept;

static eg_err keep(eg_tx *tx, void *arg) {
    (void) arg;
    kept = tx;
    return eg_tx_write(tx, table, span("['a', 1, nil]"));
}

static void *use_kept(void *arg) {
    eg_span record;

    *(eg_err *) arg = eg_tx_get(kept, table, span("'a'"), &record);
    return NULL;
}

static eg_err lend(eg_tx *tx, void *arg) {
    pthread_t thread;

    kept = tx;
    cr_assert_eq(pthread_create(&thread, NULL, use_kept, arg), 0);
    pthread_join(thread, NULL);
    return EG_OK;
}

Test(api_tx, used_after_its_end_or_by_another_thread_it_says_so) {
    eg_span record;
    eg_err other;

    cr_assert_eq(run(keep, NULL), EG_OK);
    cr_assert_eq(eg_tx_get(kept, table, span("'a'"), &record), EG_ABORTED);
    cr_assert_eq(eg_tx_write(kept, table, span("['b', 1, nil]")), EG_ABORTED);
    cr_assert_eq(eg_tx_abort(kept, NULL), EG_ABORTED);
    cr_assert_eq(run(lend, &other), EG_OK);
    cr_assert_eq(other, EG_BAD_REQUEST);
    expect("'b'", "[]");
}

static eg_err drop_underneath(eg_tx *tx, void *arg) {
    eg_span record;
    eg_err err = eg_tx_write(tx, table, span("['a', 1, nil]"));

    if (err == EG_OK)
        cr_assert_eq(eg_drop_table(node, "t"), EG_OK);
    *(eg_err *) arg = eg_tx_get(tx, table, span("'b'"), &record);
    return EG_OK;
}

Test(api_tx, a_table_dropped_underneath_is_no_table) {
    eg_err inside = EG_OK;

    cr_assert_eq(run(drop_underneath, &inside), EG_NO_TABLE);
    cr_assert_eq(inside, EG_NO_TABLE);
}

static eg_err do_nothing(eg_tx *tx, void *arg) {
    (void) tx;
    (void) arg;
    return EG_OK;
}

Test(api_tx, what_is_no_request_is_refused) {
    eg_tx_options unknown = {.context = (eg_context) 77};

    cr_assert_eq(eg_transaction(NULL, do_nothing, NULL, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_transaction(node, NULL, NULL, NULL), EG_BAD_REQUEST);
    cr_assert_eq(eg_transaction(node, do_nothing, NULL, &unknown), EG_BAD_REQUEST);
    cr_assert_eq(eg_tx_write(NULL, table, span("['a', 1, nil]")), EG_BAD_REQUEST);
    cr_assert_eq(run(do_nothing, NULL), EG_OK);
}

/* ---- contexts ---------------------------------------------------------------------------------
 */

enum { KINDS = 5, NESTED = 5 };

/* Mnesia's mix_of_nested_activities: five contexts (a transaction that aborts among them), five
 * deep. What is inside a transaction is undone with the innermost one around it that aborts. */
struct mix {
    int kind[NESTED];
    int level;
    bool made[NESTED]; /* is this level's write there in the end? */
};

enum { TRANSACTION, SYNC_TRANSACTION, ASYNC_DIRTY, SYNC_DIRTY, ABORTING };

static eg_err mix_level(eg_tx *tx, void *arg);

static eg_err mix_in(struct mix *m) {
    int kind = m->kind[m->level];
    eg_tx_options o = {.context = kind == ABORTING ? EG_TRANSACTION : (eg_context) kind};
    eg_err err = eg_transaction(node, mix_level, m, &o);

    m->level--;
    return err;
}

static eg_err mix_level(eg_tx *tx, void *arg) {
    struct mix *m = arg;
    int level = m->level;
    uint8_t room[32];
    eg_writer w = eg_writer_init(room, sizeof room);

    eg_put_array(&w, 3);
    eg_put_int(&w, level);
    eg_put_int(&w, 1);
    eg_put_nil(&w);
    cr_assert_eq(eg_tx_write(tx, table, eg_written(&w)), EG_OK);
    if (level + 1 < NESTED) {
        eg_err wanted = m->kind[level + 1] == ABORTING ? EG_ABORTED : EG_OK;

        m->level++;
        cr_assert_eq(mix_in(m), wanted);
        m->level = level;
    }
    return m->kind[level] == ABORTING ? eg_tx_abort(tx, "as it is meant") : EG_OK;
}

static void mix_model(struct mix *m) {
    int outermost = 0; /* the first transaction: those before it are dirty, each for itself */

    while (outermost < NESTED &&
           (m->kind[outermost] == ASYNC_DIRTY || m->kind[outermost] == SYNC_DIRTY))
        outermost++;
    for (int i = 0; i < NESTED; i++) {
        m->made[i] = true;
        for (int j = outermost; j <= i; j++)
            m->made[i] &= m->kind[j] != ABORTING;
    }
}

Test(api_tx, contexts_inside_one_another_are_as_in_mnesia) {
    struct mix m = {.level = 0};
    int total = 1;

    for (int i = 0; i < NESTED; i++)
        total *= KINDS;
    for (int number = 0; number < total; number++) {
        for (int i = 0, rest = number; i < NESTED; i++, rest /= KINDS)
            m.kind[i] = rest % KINDS;
        mix_model(&m);
        m.level = 0;
        cr_assert_eq(mix_in(&m), m.kind[0] == ABORTING ? EG_ABORTED : EG_OK);
        for (int i = 0; i < NESTED; i++) {
            uint8_t key = (uint8_t) i;
            eg_result found;

            cr_assert_eq(eg_read(table, (eg_span){&key, 1}, &found), EG_OK);
            cr_assert_eq(eg_count(found.value), m.made[i], "%d: level %d", number, i);
            eg_result_free(&found);
            cr_assert_eq(eg_delete(table, (eg_span){&key, 1}), EG_OK);
        }
    }
}
