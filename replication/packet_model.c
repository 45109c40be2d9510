/* packet_model.c -- how likely is what stands in each place of each kind of message, and which long
 * numbers have been told. */
#include "replication/packet_private.h"

#include <string.h>

static void even(range_chance *chance, size_t count) {
    for (size_t i = 0; i < count; i++)
        chance[i] = RANGE_EVEN;
}

static void number_init(struct packet_number *n) {
    n->last = 0;
    n->differs = n->known = n->is_long = n->less = n->stamped = RANGE_EVEN;
    even(n->which, PACKET_KNOWN);
    even(n->length, 1 << PACKET_LENGTH_BITS);
}

struct packet_model *packet_model_open(struct alloc *a) {
    struct packet_model *m = alloc_zero(a, sizeof *m);

    if (m == NULL)
        return NULL;
    m->more = RANGE_EVEN;
    number_init(&m->kind);
    return m;
}

void packet_model_close(struct alloc *a, struct packet_model *m) {
    for (int i = 0; m != NULL && i < PACKET_KINDS; i++)
        if (m->of[i] != NULL)
            alloc_put(a, m->of[i], sizeof *m->of[i]);
    if (m != NULL)
        alloc_put(a, m, sizeof *m);
}

struct packet_places *packet_places(struct alloc *a, struct packet_model *m, uint32_t kind) {
    struct packet_places *p = m->of[kind];

    if (p != NULL)
        return p;
    p = m->of[kind] = alloc_get(a, sizeof *p);
    if (p == NULL)
        return NULL;
    for (int i = 0; i < PACKET_PLACES; i++) {
        number_init(&p->at[i].number);
        even(p->at[i].shape, 4);
        even(p->at[i].word, 4);
    }
    for (int i = 0; i < PACKET_PLACE_THIRD; i++)
        number_init(&p->count[i]);
    even(p->wide, PACKET_PLACE_THIRD);
    return p;
}

void packet_remember(struct packet_model *m, struct packet_number *at, uint64_t n) {
    uint64_t *known = packet_known_like(m, n);
    uint32_t found;

    at->last = n;
    if (n < PACKET_KNOWN_LEAST || known[0] == n)
        return;
    found = EG_MIN(packet_find_known(known, n), PACKET_KNOWN - 1u);
    memmove(known + 1, known, found * sizeof *known);
    known[0] = n;
}
