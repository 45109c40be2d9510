/* tx_tpcb.c -- TPC-B: a sum goes to an account, its teller and its branch, and into the history.
 *
 * Ten branches of ten tellers and of 10,000 accounts; the history's key is its client and a count.
 */
#include "bench/tx_work.h"

enum tpcb_table { BRANCH, TELLER, ACCOUNT, HISTORY };

enum { TELLERS = 10, ACCOUNTS = 10000, DELTA_MAX = 999999 };

static void create(eg_node *node, const struct tx_work *work) {
    for (int i = BRANCH; i <= ACCOUNT; i++)
        tx_create(node, work->table[i], (const char *const[]){"id", "branch", "balance"}, 3, NULL);
    tx_create(node, work->table[HISTORY],
              (const char *const[]){"id", "teller", "branch", "account", "delta"}, 5, NULL);
}

static eg_writer balance_of(uint8_t room[48], uint64_t id, uint64_t branch, int64_t balance) {
    eg_writer w = eg_writer_init(room, 48);

    eg_put_array(&w, 3);
    eg_put_uint(&w, id);
    eg_put_uint(&w, branch);
    eg_put_int(&w, balance);
    return w;
}

static void fill_table(eg_table *table, uint64_t count, uint64_t of_a_branch) {
    static struct tx_batch b;

    b = (struct tx_batch){.table = table};
    for (uint64_t i = 0; i < count; i++) {
        uint8_t room[48];
        eg_writer w = balance_of(room, i, i / of_a_branch, 0);
        tx_batch_add(&b, &w);
    }
    tx_batch_end(&b);
}

static void fill(eg_table **table, uint32_t branches) {
    fill_table(table[BRANCH], branches, 1);
    fill_table(table[TELLER], (uint64_t) branches * TELLERS, TELLERS);
    fill_table(table[ACCOUNT], (uint64_t) branches * ACCOUNTS, ACCOUNTS);
}

struct call {
    struct tx_client *client;
    uint64_t account, teller;
    int64_t delta;
};

static eg_err add_to(eg_tx *tx, eg_table *table, uint64_t id, int64_t delta) {
    uint8_t room[48];
    eg_writer w = eg_writer_init(room, sizeof room);
    eg_span record, element;
    int64_t branch = 0, balance = 0;
    eg_err err;

    eg_put_uint(&w, id);
    err = eg_tx_get(tx, table, eg_written(&w), &record);
    if (err != EG_OK)
        return err;
    if (!eg_element(record, 1, &element) || !eg_as_int(element, &branch) ||
        !eg_element(record, 2, &element) || !eg_as_int(element, &balance))
        return EG_BAD_RECORD;
    w = balance_of(room, id, (uint64_t) branch, balance + delta);
    return eg_tx_write(tx, table, eg_written(&w));
}

static eg_err transfer(eg_tx *tx, void *arg) {
    const struct call *c = arg;
    struct tx_client *client = c->client;
    uint64_t branch = c->teller / TELLERS;
    uint8_t room[96];
    eg_writer w = eg_writer_init(room, sizeof room);
    eg_err err = add_to(tx, client->table[ACCOUNT], c->account, c->delta);

    if (err == EG_OK)
        err = add_to(tx, client->table[TELLER], c->teller, c->delta);
    if (err == EG_OK)
        err = add_to(tx, client->table[BRANCH], branch, c->delta);
    if (err != EG_OK)
        return err;
    eg_put_array(&w, 5);
    eg_put_array(&w, 2);
    eg_put_uint(&w, client->number);
    eg_put_uint(&w, client->count);
    eg_put_uint(&w, c->teller);
    eg_put_uint(&w, branch);
    eg_put_uint(&w, c->account);
    eg_put_int(&w, c->delta);
    return eg_tx_write(tx, client->table[HISTORY], eg_written(&w));
}

static void work(struct tx_client *c) {
    uint64_t branches = c->size;
    struct call call = {.client = c,
                        .account = bench_random(&c->random) % (branches * ACCOUNTS),
                        .teller = bench_random(&c->random) % (branches * TELLERS),
                        .delta =
                            (int64_t) (bench_random(&c->random) % (2 * DELTA_MAX)) - DELTA_MAX};

    tx_run(c, transfer, &call, sizeof call);
}

const struct tx_work tx_tpcb = {.name = "tpcb",
                                .table = {"branch", "teller", "account", "history"},
                                .create = create,
                                .fill = fill,
                                .work = work,
                                .size = 10,
                                .smoke_size = 10};
