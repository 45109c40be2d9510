/* Goal: transactions are as if one came after the other: what weaker promises allow does not
 * happen. Method: one transaction runs in the middle of another, on a thread of its own, so that
 * what would be wrong is certain where reads are not validated (write skew, also of what is not
 * there; read skew; long fork); and threads that move money and turn pointers about, while others
 * look at all. tests/CMakeLists.txt: the same fails where reads of writers, or of readers, are not
 * compared. */
#include <engram.h>

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { A = 1, B = 2, THREADS = 4 };

static eg_node *node;
static eg_table *table;

static void setup(void) {
    static const uint8_t four_shards[] = {0x81, 0xa6, 's', 'h', 'a', 'r', 'd', 's', 4};
    eg_span options = {four_shards, sizeof four_shards};

    cr_assert_eq(eg_open(&(eg_options){.name = "test", .schedulers = 2}, &node, NULL), EG_OK);
    cr_assert_eq(eg_create_table(node, "t", &options, NULL), EG_OK);
    cr_assert_eq(eg_table_open(node, "t", &table), EG_OK);
}

static void teardown(void) {
    eg_table_close(table);
    eg_close(node);
}

TestSuite(api_tx_isolation, .init = setup, .fini = teardown, .timeout = 240);

/* ---- numbers under small keys ---------------------------------------------------------------- */

static eg_err get(eg_tx *tx, uint8_t key, int64_t *n) {
    eg_span record, field;
    eg_err err = eg_tx_get(tx, table, (eg_span){&key, 1}, &record);

    *n = 0;
    if (err == EG_NOT_FOUND)
        return EG_OK;
    if (err == EG_OK)
        cr_assert(eg_element(record, 1, &field) && eg_as_int(field, n));
    return err;
}

static eg_err put(eg_tx *tx, uint8_t key, int64_t n) {
    uint8_t record[] = {0x92, key, 0xcd, (uint8_t) (n >> 8), (uint8_t) n};

    return eg_tx_write(tx, table, (eg_span){record, sizeof record});
}

struct change {
    uint8_t key;
    int64_t n;
};

static eg_err put_one(eg_tx *tx, void *arg) {
    const struct change *c = arg;
    return put(tx, c->key, c->n);
}

static void write_now(uint8_t key, int64_t n) {
    struct change c = {key, n};
    cr_assert_eq(eg_transaction(node, put_one, &c, NULL), EG_OK);
}

static eg_err get_both(eg_tx *tx, void *arg) {
    int64_t *n = arg;
    eg_err err = get(tx, A, &n[0]);

    return err != EG_OK ? err : get(tx, B, &n[1]);
}

static void read_both(int64_t n[2]) {
    cr_assert_eq(eg_transaction(node, get_both, n, NULL), EG_OK);
}

/* ---- one in the middle of another ------------------------------------------------------------ */

static void *run_one(void *arg) {
    void (*const *act)(void) = arg;
    (*act)();
    return NULL;
}

/* On another thread, from begin to end. */
static void meanwhile(void (*act)(void)) {
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, run_one, &act), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

/* Two doctors are on call; each may go where the other stays. */
struct doctor {
    uint8_t me, other;
    void (*while_deciding)(void); /* the first time */
};

static eg_err go_home(eg_tx *tx, void *arg) {
    struct doctor *d = arg;
    void (*act)(void) = d->while_deciding;
    int64_t on_call;
    eg_err err = get(tx, d->other, &on_call);

    d->while_deciding = NULL;
    if (act != NULL)
        meanwhile(act);
    return err != EG_OK || on_call == 0 ? err : put(tx, d->me, 0);
}

static void second_goes_home(void) {
    struct doctor d = {B, A, NULL};
    cr_assert_eq(eg_transaction(node, go_home, &d, NULL), EG_OK);
}

Test(api_tx_isolation, no_write_skew_one_doctor_stays) {
    struct doctor d = {A, B, second_goes_home};
    int64_t on_call[2];

    write_now(A, 1);
    write_now(B, 1);
    cr_assert_eq(eg_transaction(node, go_home, &d, NULL), EG_OK);
    read_both(on_call);
    cr_assert_eq(on_call[0] + on_call[1], 1);
}

/* The same of records that are not there yet: each comes only where there is none. */
struct guest {
    uint8_t key;
    void (*while_looking)(void);
};

static eg_err come_alone(eg_tx *tx, void *arg) {
    struct guest *g = arg;
    void (*act)(void) = g->while_looking;
    uint64_t guests;
    eg_err err = eg_tx_size(tx, table, &guests);

    g->while_looking = NULL;
    if (act != NULL)
        meanwhile(act);
    return err != EG_OK || guests != 0 ? err : put(tx, g->key, 1);
}

static void second_comes(void) {
    struct guest g = {B, NULL};
    cr_assert_eq(eg_transaction(node, come_alone, &g, NULL), EG_OK);
}

Test(api_tx_isolation, no_write_skew_of_what_is_not_there) {
    struct guest g = {A, second_comes};

    cr_assert_eq(eg_transaction(node, come_alone, &g, NULL), EG_OK);
    cr_assert_eq(eg_size(table), 1);
}

static eg_err put_both(eg_tx *tx, void *arg) {
    int64_t n = *(const int64_t *) arg;
    eg_err err = put(tx, A, n);

    return err != EG_OK ? err : put(tx, B, n);
}

static void both_change(void) {
    int64_t two = 2;
    cr_assert_eq(eg_transaction(node, put_both, &two, NULL), EG_OK);
}

struct looker {
    void (*between[2])(void); /* before the second look, the first time */
    int64_t seen[2];
};

static eg_err look_twice(eg_tx *tx, void *arg) {
    struct looker *l = arg;
    eg_err err = get(tx, A, &l->seen[0]);

    for (int i = 0; i < 2; i++) {
        void (*act)(void) = l->between[i];

        l->between[i] = NULL;
        if (act != NULL)
            meanwhile(act);
    }
    return err != EG_OK ? err : get(tx, B, &l->seen[1]);
}

Test(api_tx_isolation, no_read_skew_both_are_of_one_moment) {
    struct looker l = {.between = {both_change}};

    write_now(A, 1);
    write_now(B, 1);
    cr_assert_eq(eg_transaction(node, look_twice, &l, NULL), EG_OK);
    cr_assert_eq(l.seen[0], l.seen[1]);
}

static int64_t first_saw[2];

static void a_is_written_and_seen(void) {
    write_now(A, 1);
    read_both(first_saw);
}

static void b_is_written(void) {
    write_now(B, 1);
}

/* One sees the write of A and not that of B; nobody may see that of B and not that of A. */
Test(api_tx_isolation, no_long_fork_two_see_two_writes_in_one_order) {
    struct looker l = {.between = {a_is_written_and_seen, b_is_written}};

    cr_assert_eq(eg_transaction(node, look_twice, &l, NULL), EG_OK);
    cr_assert(first_saw[0] == 1 && first_saw[1] == 0);
    cr_assert(l.seen[0] == 1 && l.seen[1] == 1);
}

/* ---- many at once -----------------------------------------------------------------------------
 */

enum { ACCOUNTS = 8, EACH = 100, MOVES = 400, RING = 8, TURNS = 250 };

static _Atomic uint32_t working, wrong, looked;

struct move {
    uint8_t from, to;
    int64_t amount;
};

static eg_err transfer(eg_tx *tx, void *arg) {
    const struct move *m = arg;
    int64_t from, to;
    eg_err err = get(tx, m->from, &from);

    if (err == EG_OK)
        err = get(tx, m->to, &to);
    if (err != EG_OK || from < m->amount)
        return err;
    err = put(tx, m->from, from - m->amount);
    return err != EG_OK ? err : put(tx, m->to, to + m->amount);
}

static eg_err sum_up(eg_tx *tx, void *arg) {
    int64_t *sum = arg, n;
    eg_err err = EG_OK;

    *sum = 0;
    for (uint8_t i = 0; i < ACCOUNTS && err == EG_OK; i++) {
        err = get(tx, i, &n);
        *sum += n;
    }
    return err;
}

static void *move_money(void *arg) {
    unsigned state = *(const unsigned *) arg;

    for (int i = 0; i < MOVES; i++) {
        struct move m = {.from = (uint8_t) ((state = state * 1103515245 + 12345) >> 16 & 7)};

        m.to = (uint8_t) ((m.from + 1 + (state >> 20 & 3)) % ACCOUNTS);
        m.amount = 1 + (state >> 24 & 3);
        wrong += eg_transaction(node, transfer, &m, NULL) != EG_OK;
    }
    working--;
    return NULL;
}

static void *watch_money(void *arg) {
    int64_t sum;

    (void) arg;
    do {
        wrong += eg_transaction(node, sum_up, &sum, NULL) != EG_OK || sum != ACCOUNTS * EACH;
        looked++;
    } while (working != 0);
    return NULL;
}

/* Of a ring of pointers, three in a row are turned round: a -> b -> c -> d becomes a -> c -> b ->
 * d.
 */
static eg_err turn(eg_tx *tx, void *arg) {
    int64_t a = *(const int64_t *) arg, b, c, d;
    eg_err err = get(tx, (uint8_t) a, &b);

    if (err == EG_OK)
        err = get(tx, (uint8_t) b, &c);
    if (err == EG_OK)
        err = get(tx, (uint8_t) c, &d);
    if (err == EG_OK)
        err = put(tx, (uint8_t) a, c);
    if (err == EG_OK)
        err = put(tx, (uint8_t) c, b);
    return err != EG_OK ? err : put(tx, (uint8_t) b, d);
}

static eg_err walk_round(eg_tx *tx, void *arg) {
    int64_t *steps = arg, at = 0;
    eg_err err;

    *steps = 0;
    do {
        err = get(tx, (uint8_t) at, &at);
        ++*steps;
    } while (err == EG_OK && at != 0 && *steps < 2 * RING);
    return err;
}

static void *turn_pointers(void *arg) {
    unsigned state = *(const unsigned *) arg;

    for (int i = 0; i < TURNS; i++) {
        int64_t at = (state = state * 1103515245 + 12345) >> 16 & (RING - 1);
        wrong += eg_transaction(node, turn, &at, NULL) != EG_OK;
    }
    working--;
    return NULL;
}

static void *watch_ring(void *arg) {
    int64_t steps;

    (void) arg;
    do {
        wrong += eg_transaction(node, walk_round, &steps, NULL) != EG_OK || steps != RING;
        looked++;
    } while (working != 0);
    return NULL;
}

static void let_them(void *(*work)(void *), void *(*watch)(void *) ) {
    pthread_t thread[THREADS + 1];
    unsigned seed[THREADS];

    working = THREADS;
    for (unsigned i = 0; i < THREADS; i++) {
        seed[i] = 7919 * (i + 1);
        cr_assert_eq(pthread_create(&thread[i], NULL, work, &seed[i]), 0);
    }
    cr_assert_eq(pthread_create(&thread[THREADS], NULL, watch, NULL), 0);
    for (int i = 0; i <= THREADS; i++)
        cr_assert_eq(pthread_join(thread[i], NULL), 0);
    cr_assert_gt(looked, 0);
    cr_assert_eq(wrong, 0);
}

Test(api_tx_isolation, bank_the_sum_is_the_same_in_every_read) {
    for (uint8_t i = 0; i < ACCOUNTS; i++)
        write_now(i, EACH);
    let_them(move_money, watch_money);
}

Test(api_tx_isolation, ring_of_pointers_stays_whole) {
    for (uint8_t i = 0; i < RING; i++)
        write_now(i, (i + 1) % RING);
    let_them(turn_pointers, watch_ring);
}
