/* tx_card.c -- written by one thread, read by any. */
#include "query/tx_card.h"

#include "query/tx_private.h"

static void put(_Atomic uint64_t *place, uint64_t n) {
    atomic_store_explicit(place, n, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *place) {
    return atomic_load_explicit(place, memory_order_relaxed);
}

void tx_card_begin(struct tx_card *card, uint64_t began_ns, uint64_t deadline_ns) {
    put(&card->deadline_ns, deadline_ns);
    put(&card->began_ns, EG_MAX(began_ns, (uint64_t) 1));
}

/* With every call: of its memory only what is one number. */
void tx_show_counts(const struct tx *tx, struct tx_card *card) {
    put(&card->seen, tx->seen_count);
    put(&card->questions, tx->question_count);
    put(&card->wanted, tx->write_count);
    put(&card->locks, tx->locks.count);
    put(&card->bytes, tx->bytes.room_bytes);
}

void tx_show(struct tx *tx, struct tx_card *card) {
    struct transact_id id = tx_id(tx);

    put(&card->id_high, id.high);
    put(&card->id_low, id.low);
    atomic_store_explicit(&card->committing, tx->state == TX_COMMITTING, memory_order_relaxed);
    tx_show_counts(tx, card);
}

bool tx_card_look(const struct tx_card *card, struct tx_row *row) {
    *row =
        (struct tx_row){.id = {get(&card->id_high), get(&card->id_low)},
                        .committing = atomic_load_explicit(&card->committing, memory_order_relaxed),
                        .began_ns = get(&card->began_ns),
                        .deadline_ns = get(&card->deadline_ns),
                        .stats = {.seen = get(&card->seen),
                                  .questions = get(&card->questions),
                                  .wanted = get(&card->wanted),
                                  .bytes = get(&card->bytes),
                                  .locks = get(&card->locks)}};
    return row->began_ns != 0;
}
