/* api_tx_list.c -- what the program holds of transactions, for the method `transactions`.
 *
 * A thread's is seen by its card (query/tx_card.h), wherever its function is; an actor's on its
 * scheduler, between two turns. */
#include "node/api_tx_private.h"

#include <string.h>

struct listing {
    struct buffer *rows; /* with room for `left` */
    size_t left;
};

static const struct tx_card *card_of(const struct node_thread *t) {
    return atomic_load_explicit(&t->card, memory_order_acquire);
}

static void count_card(void *context, const struct node_thread *t) {
    size_t *count = context;

    *count += card_of(t) != NULL;
}

/* The list is locked: no memory is asked for, and a thread that has come since waits for the next
 * listing. */
static void put_card(void *context, const struct node_thread *t) {
    struct listing *l = context;
    struct tx_row row;

    if (l->left == 0 || card_of(t) == NULL || !tx_card_look(card_of(t), &row))
        return;
    row.thread = t->number;
    l->left--;
    memcpy(l->rows->at + l->rows->size_bytes, &row, sizeof row);
    l->rows->size_bytes += sizeof row;
}

static eg_err of_threads(void *context, struct buffer *rows) {
    struct listing l = {.rows = rows};

    node_threads_each(context, count_card, &l.left);
    if (l.left == 0)
        return EG_OK;
    if (buffer_room(rows, l.left * sizeof(struct tx_row)) == NULL)
        return EG_MEMORY;
    node_threads_each(context, put_card, &l);
    return EG_OK;
}

static eg_err of_actors(void *context, struct buffer *rows) {
    return api_errands_rows(context, rows);
}

struct tx_program api_tx_program(eg_node *n) {
    return (struct tx_program){.context = n, .of_threads = of_threads, .of_actors = of_actors};
}
