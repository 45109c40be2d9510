/* Transactions whose records lie on two nodes, of which each has a part: read, asked and committed
 * by messages. */
#include <engram.h>

#include "tests/support/text_span.h"
#include "tests/support/two_nodes.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

enum { ACCOUNTS = 8, EACH = 100, ROUNDS = 25 };

static eg_node *node[2];
static eg_table *set[2], *ordered[2];

static void setup(void) {
    two_nodes_open(node, 1);
    two_nodes_create_table(
        node, "set", "{'copies': 1, 'shards': 8, 'attributes': ['k', 'n'], 'index': ['n']}", set);
    two_nodes_create_table(
        node, "ordered",
        "{'copies': 1, 'shards': 4, 'type': 'ordered_set', 'attributes': ['k', 'n']}", ordered);
}

static void teardown(void) {
    two_nodes_close_table(set);
    two_nodes_close_table(ordered);
    two_nodes_close(node);
}

TestSuite(api_tx_far, .init = setup, .fini = teardown, .timeout = 240);

static eg_err put(eg_tx *tx, eg_table *table, int key, int64_t n) {
    uint8_t room[32];
    eg_writer w = eg_writer_init(room, sizeof room);

    eg_put_array(&w, 2);
    eg_put_int(&w, key);
    eg_put_int(&w, n);
    return eg_tx_write(tx, table, eg_written(&w));
}

static eg_err get(eg_tx *tx, eg_table *table, int key, int64_t *n) {
    uint8_t at = (uint8_t) key; /* to 127 it is its own encoding */
    eg_span record, field;
    eg_err err = eg_tx_get(tx, table, (eg_span){&at, 1}, &record);

    if (err == EG_OK)
        cr_assert(eg_element(record, 1, &field) && eg_as_int(field, n));
    return err;
}

static eg_err fill(eg_tx *tx, void *arg) {
    int side = *(int *) arg;
    eg_err err = EG_OK;

    for (int i = 0; i < ACCOUNTS && err == EG_OK; i++)
        err = put(tx, set[side], i, EACH);
    for (int i = 0; i < ACCOUNTS && err == EG_OK; i++)
        err = put(tx, ordered[side], i, i);
    return err;
}

static eg_err add_up(eg_tx *tx, void *arg) {
    int64_t *sum = arg, n = 0;
    eg_err err = EG_OK;

    *sum = 0;
    for (int i = 0; i < ACCOUNTS && err == EG_OK; i++) {
        err = get(tx, set[1], i, &n);
        *sum += n;
    }
    return err;
}

static eg_err ask_all(eg_tx *tx, void *arg) {
    uint8_t room[256];
    int64_t key, last = -1, keys = 0;
    eg_result found, next;
    eg_err err = put(tx, ordered[1], 100, 1); /* its own is among them */

    (void) arg;
    if (err == EG_OK)
        err = eg_tx_match(tx, set[1], text_span(room, "['_', 100]"), 0, &found);
    if (err != EG_OK)
        return err;
    cr_expect_eq(eg_count(found.value), ACCOUNTS);
    eg_result_free(&found);
    err = eg_tx_index_read(tx, set[1], "n", text_span(room, "100"), &found);
    if (err != EG_OK)
        return err;
    cr_expect_eq(eg_count(found.value), ACCOUNTS);
    eg_result_free(&found);
    err = eg_tx_first(tx, ordered[1], &found);
    while (err == EG_OK && eg_as_int(found.value, &key)) {
        cr_expect_gt(key, last);
        last = key;
        keys++;
        err = eg_tx_next(tx, ordered[1], found.value, &next);
        eg_result_free(&found);
        found = next;
    }
    if (err == EG_OK)
        eg_result_free(&found);
    cr_expect_eq(keys, ACCOUNTS + 1);
    return err;
}

Test(api_tx_far, what_lies_elsewhere_is_read_asked_for_and_written) {
    int side = 0;
    int64_t sum;
    eg_note note;
    eg_tx_options o = {.note = &note};

    cr_assert_eq(eg_transaction(node[0], fill, &side, &o), EG_OK, "%s", note.text);
    cr_assert_eq(eg_transaction(node[1], add_up, &sum, &o), EG_OK, "%s", note.text);
    cr_assert_eq(sum, ACCOUNTS * EACH);
    cr_assert_eq(eg_transaction(node[1], ask_all, NULL, &o), EG_OK, "%s", note.text);
    cr_assert_eq(eg_size(ordered[0]), ACCOUNTS + 1);
}

static eg_err give_up(eg_tx *tx, void *arg) {
    eg_err err = add_up(tx, arg);

    return err != EG_OK ? err : eg_tx_abort(tx, "too little");
}

/* Whether what it has read was so is asked of the other node; its reason stays. */
Test(api_tx_far, who_gives_up_because_of_what_lies_elsewhere_is_heard) {
    int side = 0;
    int64_t sum;
    eg_note note;

    cr_assert_eq(eg_transaction(node[0], fill, &side, NULL), EG_OK);
    cr_assert_eq(eg_transaction(node[1], give_up, &sum, &(eg_tx_options){.note = &note}),
                 EG_ABORTED);
    cr_assert_str_eq(note.text, "too little");
}

/* ---- both at once ------------------------------------------------------------------ */

struct mover {
    int side;
    uint64_t random;
    int failed;
    eg_note note;
};

static eg_err move(eg_tx *tx, void *arg) {
    struct mover *m = arg;
    int from, to;
    int64_t a, b;
    eg_err err;

    m->random = m->random * 6364136223846793005u + 1442695040888963407u;
    from = (int) (m->random >> 33) % ACCOUNTS;
    to = (from + 1 + (int) (m->random >> 50) % (ACCOUNTS - 1)) % ACCOUNTS;
    err = get(tx, set[m->side], from, &a);
    if (err == EG_OK)
        err = get(tx, set[m->side], to, &b);
    if (err == EG_OK)
        err = put(tx, set[m->side], from, a - 1);
    return err == EG_OK ? put(tx, set[m->side], to, b + 1) : err;
}

static void *move_often(void *arg) {
    struct mover *m = arg;

    for (int i = 0; i < ROUNDS; i++)
        m->failed +=
            eg_transaction(node[m->side], move, m, &(eg_tx_options){.note = &m->note}) != EG_OK;
    return NULL;
}

/* ---- pages ------------------------------------------------------------------------------------
 */

static eg_table *both[2]; /* a copy on each node */

static eg_err page_and_put(eg_tx *tx, void *arg) {
    int side = *(int *) arg;
    uint8_t room[256];
    eg_result page;
    eg_err err = eg_tx_match(tx, both[side], text_span(room, "['_', '_']"), 2, &page);

    if (err != EG_OK)
        return err;
    cr_assert_eq(eg_count(page.value), 2);
    eg_result_free(&page);
    return put(tx, both[side], 0, EACH + side);
}

/* Their masters compare all of a shard, of which a page has not looked at all. */
Test(api_tx_far, a_page_stands_where_nobody_has_changed_anything) {
    two_nodes_create_table(node, "both", "{'shards': 2, 'attributes': ['k', 'n']}", both);
    for (int side = 0; side < 2; side++) {
        eg_note note = {""};

        for (int i = 0; i < 40 && side == 0; i++) {
            uint8_t room[256], text[32];

            snprintf((char *) text, sizeof text, "[%d, 0]", i);
            cr_assert_eq(eg_write(both[0], text_span(room, (char *) text)), EG_OK);
        }
        cr_assert_eq(
            eg_transaction(node[side], page_and_put, &side, &(eg_tx_options){.note = &note}), EG_OK,
            "%s", note.text);
    }
    two_nodes_close_table(both);
}

Test(api_tx_far, money_that_both_move_is_neither_made_nor_lost) {
    struct mover m[2] = {{.side = 0, .random = 1}, {.side = 1, .random = 2}};
    pthread_t thread[2];
    int side = 0;
    int64_t sum;

    cr_assert_eq(eg_transaction(node[0], fill, &side, NULL), EG_OK);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, move_often, &m[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        cr_expect_eq(m[i].failed, 0, "%d: %s", m[i].failed, m[i].note.text);
    }
    cr_assert_eq(eg_transaction(node[1], add_up, &sum, NULL), EG_OK);
    cr_assert_eq(sum, ACCOUNTS * EACH);
}

/* ---- names ------------------------------------------------------------------------------------
 */

struct naming {
    const char *name;
    uint64_t patience_ms; /* who is older waits: so long, 0: the usual time */
    eg_err beside;        /* what another node's is told meanwhile          */
};

static eg_err lock_alone(eg_tx *tx, void *arg) {
    return eg_tx_lock_name(tx, arg, true);
}

static void *lock_elsewhere(void *arg) {
    struct naming *n = arg;

    n->beside = eg_transaction(node[1], lock_alone, (void *) n->name,
                               &(eg_tx_options){.timeout_ms = n->patience_ms, .tries = 1});
    return NULL;
}

static eg_err lock_while_it_is_held(eg_tx *tx, void *arg) {
    eg_err err = eg_tx_lock_name(tx, "here", true);
    pthread_t thread;

    if (err != EG_OK)
        return err;
    cr_assert_eq(pthread_create(&thread, NULL, lock_elsewhere, arg), 0);
    pthread_join(thread, NULL);
    return EG_OK;
}

Test(api_tx_far, a_name_is_one_for_all_nodes) {
    struct naming same = {.name = "here", .patience_ms = 200}, other = {.name = "there"};
    eg_note note;
    eg_tx_options o = {.note = &note};

    cr_assert_eq(eg_transaction(node[0], lock_while_it_is_held, &same, &o), EG_OK, "%s", note.text);
    cr_expect_neq(same.beside, EG_OK);
    cr_assert_eq(eg_transaction(node[0], lock_while_it_is_held, &other, &o), EG_OK, "%s",
                 note.text);
    cr_expect_eq(other.beside, EG_OK);
}

/* ---- each reads what the other changes --------------------------------------------------------
 */

enum { PAIRS = 40, AWAY = 1000 };

static eg_table *duty[2]; /* a copy on each node */

struct doctor {
    int side, pair;
    bool by_index; /* else by the two keys */
    pthread_barrier_t *together;
    int failed;
    eg_note note;
};

static eg_err on_duty(eg_tx *tx, const struct doctor *d, int64_t *count) {
    uint8_t room[256], text[32];
    eg_result found;
    eg_err err = EG_OK;

    *count = 0;
    for (int i = 0; i < 2 && err == EG_OK && !d->by_index; i++) {
        int64_t n = AWAY;

        err = get(tx, duty[d->side], 2 * d->pair + i, &n);
        *count += n != AWAY;
    }
    if (!d->by_index)
        return err;
    snprintf((char *) text, sizeof text, "%d", d->pair);
    err = eg_tx_index_read(tx, duty[d->side], "n", text_span(room, (char *) text), &found);
    if (err != EG_OK)
        return err;
    *count = eg_count(found.value);
    eg_result_free(&found);
    return EG_OK;
}

/* Who is not alone on duty goes. */
static eg_err go_away(eg_tx *tx, void *arg) {
    struct doctor *d = arg;
    int64_t count;
    eg_err err = on_duty(tx, d, &count);

    return err == EG_OK && count == 2 ? put(tx, duty[d->side], 2 * d->pair + d->side, AWAY) : err;
}

static void *each_goes_away(void *arg) {
    struct doctor *d = arg;

    for (d->pair = 0; d->pair < PAIRS; d->pair++) {
        pthread_barrier_wait(d->together);
        d->failed +=
            eg_transaction(node[d->side], go_away, d, &(eg_tx_options){.note = &d->note}) != EG_OK;
    }
    return NULL;
}

static eg_err count_away(eg_tx *tx, void *arg) {
    int64_t *away = arg, n = 0;
    eg_err err = EG_OK;

    *away = 0;
    for (int key = 0; key < 2 * PAIRS && err == EG_OK; key++) {
        err = get(tx, duty[1], key, &n);
        *away += n == AWAY;
    }
    return err;
}

static void both_go_away(bool by_index) {
    pthread_barrier_t together;
    struct doctor d[2] = {{.side = 0, .by_index = by_index, .together = &together},
                          {.side = 1, .by_index = by_index, .together = &together}};
    pthread_t thread[2];
    int64_t away;

    for (int key = 0; key < 2 * PAIRS; key++) {
        uint8_t room[256], text[32];

        snprintf((char *) text, sizeof text, "[%d, %d]", key, key / 2);
        cr_assert_eq(eg_write(duty[0], text_span(room, (char *) text)), EG_OK);
    }
    pthread_barrier_init(&together, NULL, 2);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, each_goes_away, &d[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        cr_expect_eq(d[i].failed, 0, "%d: %s", d[i].failed, d[i].note.text);
    }
    pthread_barrier_destroy(&together);
    cr_assert_eq(eg_transaction(node[1], count_away, &away, NULL), EG_OK);
    cr_assert_eq(away, PAIRS, "of %d pairs one each is to be away, and not %d", PAIRS, (int) away);
}

/* What they read they look at where they are; what they change the other reads. */
Test(api_tx_far, of_two_who_read_what_the_other_changes_one_comes_first) {
    two_nodes_create_table(node, "duty", "{'shards': 8, 'attributes': ['k', 'n'], 'index': ['n']}",
                           duty);
    both_go_away(false);
    both_go_away(true);
    two_nodes_close_table(duty);
}
