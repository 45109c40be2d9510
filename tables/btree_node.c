/* btree_node.c -- searching one node, and writing new ones.
 *
 * Invariants (node_check):
 *   (1) entries stand in strictly ascending order;
 *   (2) the sortable form of each begins with prefix and head, where it is
 *       shorter padded with zeros; so heads never descend, and of two different
 *       heads the smaller is the earlier entry;
 *   (3) in an inner node all this holds for the pivots, and entry 0 has none. */
#include "tables/btree_node.h"

#include <string.h>

/* ---- searching ---------------------------------------------------------- */

/* Four bytes of `bytes` from `at` on, as a number; what is missing is `pad`. */
static inline uint32_t head_of(const uint8_t *bytes, uint32_t size_bytes, uint32_t at,
                               uint8_t pad) {
    uint32_t head = 0;

    if (EG_LIKELY(at + NODE_HEAD_BYTES <= size_bytes))
        return (uint32_t) bytes[at] << 24 | (uint32_t) bytes[at + 1] << 16 |
               (uint32_t) bytes[at + 2] << 8 | bytes[at + 3]; /* one load */
    for (uint32_t i = at; i < at + NODE_HEAD_BYTES; i++)
        head = head << 8 | (i < size_bytes ? bytes[i] : pad);
    return head;
}

/* As memcmp, for a handful of bytes: a call costs more than the loop. */
static inline int compare_bytes(const uint8_t *a, const uint8_t *b, uint32_t size_bytes) {
    uint32_t i = 0;

    for (uint64_t x, y; i + sizeof x <= size_bytes; i += sizeof x) {
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        if (x != y)
            break;
    }
    for (; i < size_bytes; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

/* The first i in from .. to-1 whose head is not below `head`, or `to`.  Counting
 * them all, several at a time, beats a binary search: it has no branch to
 * mispredict and no load waits for another. */
static uint32_t first_head(const uint32_t *heads, uint32_t from, uint32_t to, uint32_t head) {
    uint32_t below = 0;

    for (uint32_t i = from; i < to; i++)
        below += heads[i] < head;
    return from + below;
}

struct node_stretch node_alike(const struct node *n, const struct probe *p) {
    uint32_t first = n->level > 0; /* child 0 has no head */
    uint32_t known = EG_MIN(n->prefix_bytes, p->sortable_bytes);
    int c = compare_bytes(p->sortable, n->prefix, known);
    const uint32_t *heads = node_heads(n);
    uint32_t low, high;
    struct node_stretch r;

    if (c != 0)
        return c < 0 ? (struct node_stretch){first, first}
                     : (struct node_stretch){n->count, n->count};
    if (p->sortable_bytes <= known) /* all begin with the probe */
        return (struct node_stretch){first, n->count};
    low = head_of(p->sortable, p->sortable_bytes, n->prefix_bytes, 0x00);
    high = low;
    if (p->sortable_bytes < (uint32_t) n->prefix_bytes + NODE_HEAD_BYTES)
        high = head_of(p->sortable, p->sortable_bytes, n->prefix_bytes, 0xff);
    r.from = first_head(heads, first, n->count, low);
    r.to = r.from;
    while (r.to < n->count && heads[r.to] <= high)
        r.to++;
    return r;
}

void node_prefetch_record(const struct node *leaf, const struct probe *p) {
    struct node_stretch r = node_alike(leaf, p);

    if (r.from < r.to)
        record_prefetch(node_record(leaf, r.from + (r.to - r.from) / 2));
}

uint32_t node_find(const struct node *leaf, const struct probe *p, bool after, bool *exact) {
    struct node_stretch r = node_alike(leaf, p);

    *exact = false;
    while (r.from < r.to) {
        uint32_t middle = r.from + (r.to - r.from) / 2;
        const struct record *rec = node_record(leaf, middle);
        int c;

        record_prefetch(rec);
        c = probe_compare(p, rec);
        if (c == 0 && p->complete) {
            *exact = true;
            return middle + after;
        }
        if (c > 0 || (c == 0 && after))
            r.from = middle + 1;
        else
            r.to = middle;
    }
    return r.from;
}

uint32_t node_find_child(const struct node *inner, const struct probe *p, bool after) {
    return node_choose_child(inner, p, after, node_alike(inner, p));
}

uint32_t node_choose_child(const struct node *inner, const struct probe *p, bool after,
                           struct node_stretch r) {
    struct pivot *const *pivots = node_pivots(inner);

    after = after || p->complete; /* what equals a pivot is in the pivot's own child */
    while (r.from < r.to) {
        uint32_t middle = r.from + (r.to - r.from) / 2;
        int c = probe_compare_pivot(p, pivots[middle]);
        if (c > 0 || (c == 0 && after))
            r.from = middle + 1;
        else
            r.to = middle;
    }
    return r.from - 1;
}

/* ---- drafts ------------------------------------------------------------- */

void draft_begin(struct draft *d, const struct order *order, uint8_t level) {
    d->order = order;
    d->level = level;
    d->count = 0;
    d->prefix_bytes = 0;
}

/* Entries that have a head: all, but for child 0. */
static uint32_t draft_first(const struct draft *d) {
    return d->level > 0;
}

/* Give up the end of the prefix: its bytes go in front of every head. */
static void draft_narrow(struct draft *d, uint32_t prefix_bytes) {
    uint8_t known[NODE_PREFIX_MAX + NODE_HEAD_BYTES];
    uint32_t old_bytes = d->prefix_bytes;

    if (prefix_bytes == old_bytes)
        return;
    memcpy(known, d->prefix, old_bytes);
    for (uint32_t i = draft_first(d); i < d->count; i++) {
        for (uint32_t b = 0; b < NODE_HEAD_BYTES; b++)
            known[old_bytes + b] = (uint8_t) (d->head[i] >> (24 - 8 * b));
        d->head[i] = head_of(known, old_bytes + NODE_HEAD_BYTES, prefix_bytes, 0);
    }
    d->prefix_bytes = (uint8_t) prefix_bytes;
}

static uint32_t common_bytes(const uint8_t *a, uint32_t a_bytes, const uint8_t *b,
                             uint32_t b_bytes) {
    uint32_t bound = EG_MIN(EG_MIN(a_bytes, b_bytes), (uint32_t) NODE_PREFIX_MAX);
    uint32_t n = 0;

    while (n < bound && a[n] == b[n])
        n++;
    return n;
}

/* Make the prefix one that `p` begins with too. */
static void draft_admit(struct draft *d, const struct probe *p) {
    if (d->count <= draft_first(d)) { /* it is the only one: all of it is prefix */
        d->prefix_bytes = (uint8_t) EG_MIN(p->sortable_bytes, (uint32_t) NODE_PREFIX_MAX);
        memcpy(d->prefix, p->sortable, d->prefix_bytes);
        return;
    }
    draft_narrow(d, common_bytes(d->prefix, d->prefix_bytes, p->sortable, p->sortable_bytes));
}

static uint32_t draft_head(const struct draft *d, const struct probe *p) {
    return head_of(p->sortable, p->sortable_bytes, d->prefix_bytes, 0);
}

/* The place of entry i, read from its record or pivot. */
static void draft_probe(struct probe *p, const struct draft *d, uint32_t i) {
    if (d->level == 0)
        probe_of_record(p, d->order, d->slot[i]);
    else
        probe_of_pivot(p, d->order, d->pivot[i]);
}

void draft_load(struct draft *d, const struct order *order, const struct node *n) {
    draft_begin(d, order, n->level);
    d->count = n->count;
    d->prefix_bytes = n->prefix_bytes;
    memcpy(d->prefix, n->prefix, n->prefix_bytes);
    memcpy(d->head, node_heads(n), n->count * sizeof d->head[0]);
    for (uint32_t i = 0; i < n->count; i++)
        d->slot[i] = node_slot_load(n, i);
    if (n->level > 0)
        memcpy(d->pivot, node_pivots(n), n->count * sizeof d->pivot[0]);
}

void draft_join(struct draft *d, struct draft *right, struct pivot *pivot) {
    uint32_t shared = common_bytes(d->prefix, d->prefix_bytes, right->prefix, right->prefix_bytes);
    uint32_t seam = d->count;

    EG_ASSERT(right->level == d->level);
    EG_ASSERT(seam + right->count <= DRAFT_ENTRIES_MAX);
    draft_narrow(d, shared);
    draft_narrow(right, shared);
    memcpy(d->head + seam, right->head, right->count * sizeof d->head[0]);
    memcpy(d->slot + seam, right->slot, right->count * sizeof d->slot[0]);
    if (d->level > 0) {
        struct probe p;
        memcpy(d->pivot + seam, right->pivot, right->count * sizeof d->pivot[0]);
        probe_of_pivot(&p, d->order, pivot);
        d->pivot[seam] = pivot;
        d->head[seam] = draft_head(d, &p); /* it lies between two that share the prefix */
    }
    d->count = seam + right->count;
}

void draft_insert(struct draft *d, uint32_t i, const struct probe *p, void *slot,
                  struct pivot *pivot) {
    uint32_t behind = d->count - i;

    EG_ASSERT(i >= draft_first(d) || d->count == 0);
    EG_ASSERT(i <= d->count && d->count < DRAFT_ENTRIES_MAX);
    draft_admit(d, p);
    memmove(d->head + i + 1, d->head + i, behind * sizeof d->head[0]);
    memmove(d->slot + i + 1, d->slot + i, behind * sizeof d->slot[0]);
    d->head[i] = draft_head(d, p);
    d->slot[i] = slot;
    if (d->level > 0) {
        memmove(d->pivot + i + 1, d->pivot + i, behind * sizeof d->pivot[0]);
        d->pivot[i] = pivot;
    }
    d->count++;
}

/* Child 0 has neither pivot nor head. */
static void draft_settle(struct draft *d) {
    if (d->level > 0 && d->count > 0) {
        d->pivot[0] = NULL;
        d->head[0] = 0;
    }
}

void draft_remove(struct draft *d, uint32_t i) {
    uint32_t behind = d->count - i - 1;

    EG_ASSERT(i < d->count);
    memmove(d->head + i, d->head + i + 1, behind * sizeof d->head[0]);
    memmove(d->slot + i, d->slot + i + 1, behind * sizeof d->slot[0]);
    if (d->level > 0)
        memmove(d->pivot + i, d->pivot + i + 1, behind * sizeof d->pivot[0]);
    d->count--;
    draft_settle(d);
}

void draft_push_child(struct draft *d, void *child, struct pivot *pivot) {
    if (pivot != NULL) {
        struct probe p;
        probe_of_pivot(&p, d->order, pivot);
        draft_insert(d, d->count, &p, child, pivot);
        return;
    }
    EG_ASSERT(d->count == 0);
    d->slot[0] = child;
    d->count = 1;
    draft_settle(d);
}

void draft_cut(struct draft *out, const struct draft *d, uint32_t from, uint32_t to) {
    uint32_t first = draft_first(d); /* of the entries from .. to-1, the first with a head */
    struct probe low, high, p;

    EG_ASSERT(from < to && to <= d->count);
    draft_begin(out, d->order, d->level);
    out->count = to - from;
    memcpy(out->head, d->head + from, out->count * sizeof out->head[0]);
    memcpy(out->slot, d->slot + from, out->count * sizeof out->slot[0]);
    if (d->level > 0)
        memcpy(out->pivot, d->pivot + from, out->count * sizeof out->pivot[0]);
    draft_settle(out);
    if (out->count <= first)
        return;

    draft_probe(&low, out, first);
    draft_probe(&high, out, out->count - 1);
    out->prefix_bytes = (uint8_t) common_bytes(low.sortable, low.sortable_bytes, high.sortable,
                                               high.sortable_bytes);
    memcpy(out->prefix, low.sortable, out->prefix_bytes);
    if (out->prefix_bytes == d->prefix_bytes)
        return; /* the heads stand as they are */
    for (uint32_t i = first; i < out->count; i++)
        EG_PREFETCH(d->level == 0 ? out->slot[i] : (void *) out->pivot[i]);
    for (uint32_t i = first; i < out->count; i++) {
        draft_probe(&p, out, i);
        out->head[i] = draft_head(out, &p);
    }
}

size_t draft_bytes(const struct draft *d) {
    return node_bytes_for(d->count, d->prefix_bytes, d->level);
}

void node_init(struct node *n, const struct draft *d, uint64_t generation) {
    node_slot *slots;

    EG_ASSERT(d->count >= 1 && d->count <= NODE_ENTRIES_MAX);
    *n = (struct node){.generation = generation,
                       .count = (uint16_t) d->count,
                       .level = d->level,
                       .prefix_bytes = d->prefix_bytes};
    memcpy(n->prefix, d->prefix, d->prefix_bytes);
    memcpy(node_heads(n), d->head, d->count * sizeof d->head[0]);
    slots = node_slots(n);
    for (uint32_t i = 0; i < d->count; i++)
        atomic_init(&slots[i], d->slot[i]);
    if (d->level > 0)
        memcpy(node_pivots(n), d->pivot, d->count * sizeof d->pivot[0]);
}

/* ---- checking ----------------------------------------------------------- */

void node_check(const struct node *n, const struct order *order) {
    struct draft d;
    struct probe p, before;

    EG_ASSERT(n->count >= 1 && n->count <= NODE_ENTRIES_MAX);
    draft_load(&d, order, n);
    for (uint32_t i = draft_first(&d); i < d.count; i++) {
        draft_probe(&p, &d, i);
        EG_ASSERT(p.complete);
        EG_ASSERT(p.sortable_bytes >= n->prefix_bytes);
        EG_ASSERT(memcmp(p.sortable, n->prefix, n->prefix_bytes) == 0);
        EG_ASSERT(d.head[i] == draft_head(&d, &p));
        if (i > draft_first(&d) && d.level == 0)
            EG_ASSERT(probe_compare(&before, d.slot[i]) < 0);
        if (i > draft_first(&d) && d.level > 0)
            EG_ASSERT(probe_compare_pivot(&before, d.pivot[i]) < 0);
        before = p;
    }
    if (d.level > 0)
        EG_ASSERT(d.pivot[0] == NULL);
}
