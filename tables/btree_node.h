/* btree_node.h -- one node of a B+tree: how it lies in memory and is searched.
 *
 *     | generation 8 | count 2 | level 1 | prefix 1 | pad 4 |
 *     | prefix bytes | head 4 x count | slot 8 x count | pivot 8 x count (inner) |
 *
 * A leaf's slots are records, an inner node's are children.  A node is allocated
 * at its exact size and never changes but for its slots, which are atomic words:
 * a reader always searches a consistent node and needs no lock and no retry.
 *
 * All entries of a node share `prefix` bytes of sortable form, which stand in it
 * once; an entry's head is the four bytes that follow, so that a search reads
 * three or four cache lines of heads and usually one record.  In an inner
 * node pivot[i] is not above any entry of child i and above all of child i-1;
 * child 0 has none.
 *
 * A draft is a node that is being changed: a copy on the stack with room for two
 * nodes, from which new nodes are written.
 *
 * Private to the tree; others include btree.h.
 */
#ifndef TABLES_BTREE_NODE_H
#define TABLES_BTREE_NODE_H

#include "tables/order.h"

#include <stdatomic.h>

enum {
    NODE_ENTRIES_MAX = 48, /* a full leaf of short keys is ~600 bytes: cheap to copy       */
    NODE_ENTRIES_MIN = NODE_ENTRIES_MAX / 4, /* below it joins a neighbour                 */
    NODE_HEAD_BYTES = 4,
    NODE_PREFIX_MAX = PROBE_BYTES - NODE_HEAD_BYTES,
    DRAFT_ENTRIES_MAX = 2 * NODE_ENTRIES_MAX,
};

struct btree;

struct node {
    uint64_t generation; /* of the tree when the node was made */
    uint16_t count;
    uint8_t level; /* 0: a leaf */
    uint8_t prefix_bytes;
    uint32_t unused;
    uint8_t prefix[];
};

typedef _Atomic(void *) node_slot;

static inline uint32_t *node_heads(const struct node *n) {
    return (uint32_t *) ((char *) n + sizeof *n + ((n->prefix_bytes + 3u) & ~3u));
}
static inline size_t node_slots_offset(uint32_t count, uint32_t prefix_bytes) {
    return (sizeof(struct node) + ((prefix_bytes + 3u) & ~3u) + 4 * (size_t) count + 7) &
           ~(size_t) 7;
}
static inline node_slot *node_slots(const struct node *n) {
    return (node_slot *) ((char *) n + node_slots_offset(n->count, n->prefix_bytes));
}
static inline struct pivot **node_pivots(const struct node *n) {
    return (struct pivot **) (node_slots(n) + n->count);
}
static inline size_t node_bytes_for(uint32_t count, uint32_t prefix_bytes, uint32_t level) {
    return node_slots_offset(count, prefix_bytes) + (level == 0 ? 8 : 16) * (size_t) count;
}
static inline size_t node_bytes(const struct node *n) {
    return node_bytes_for(n->count, n->prefix_bytes, n->level);
}
static inline void *node_slot_load(const struct node *n, uint32_t i) {
    return atomic_load_explicit(&node_slots(n)[i], memory_order_acquire);
}
static inline struct node *node_child(const struct node *n, uint32_t i) {
    return node_slot_load(n, i);
}
static inline const struct record *node_record(const struct node *n, uint32_t i) {
    return node_slot_load(n, i);
}
/* Those from `from` to before `to`. */
static inline void node_records(const struct node *n, uint32_t from, uint32_t to,
                                const struct record **out) {
    const node_slot *slots = node_slots(n);

    for (uint32_t i = from; i < to; i++)
        *out++ = atomic_load_explicit(&slots[i], memory_order_acquire);
}

enum { NODE_PREFETCH_LINES = 8 }; /* most of a leaf: heads and slots come in one miss */

static inline void node_prefetch(const struct node *n) {
    for (uint32_t i = 0; i < NODE_PREFETCH_LINES; i++)
        EG_PREFETCH((const char *) n + i * EG_CACHE_LINE);
}

/* What a search looks at first. */
static inline void node_prefetch_heads(const struct node *n) {
    enum { LINES = 4 }; /* header, a short prefix, heads */

    for (uint32_t i = 0; i < LINES; i++)
        EG_PREFETCH((const char *) n + i * EG_CACHE_LINE);
}

/* Entries from .. to-1. */
struct node_stretch {
    uint32_t from, to;
};

/* The entries that prefix and heads cannot tell from the probe: all before are less, all
 * from `to` on are greater.  In an inner node, the pivots. */
struct node_stretch node_alike(const struct node *n, const struct probe *p);

/* The first entry of a leaf that is not before `p` (`after`: that is behind it),
 * or count.  *exact: a complete probe and its very place. */
uint32_t node_find(const struct node *leaf, const struct probe *p, bool after, bool *exact);

/* Bring the record that node_find() will look at; the leaf is at hand. */
void node_prefetch_record(const struct node *leaf, const struct probe *p);

/* The child of an inner node where node_find() has to go on. */
uint32_t node_find_child(const struct node *inner, const struct probe *p, bool after);
/* The same for who has asked for node_alike() already. */
uint32_t node_choose_child(const struct node *inner, const struct probe *p, bool after,
                           struct node_stretch alike);

/* The root of the live tree, or NULL: in a section. */
const struct node *btree_root(const struct btree *t);

/* ---- drafts ------------------------------------------------------------- */

struct draft {
    const struct order *order;
    uint32_t count;
    uint8_t level;
    uint8_t prefix_bytes;
    uint8_t prefix[NODE_PREFIX_MAX];
    uint32_t head[DRAFT_ENTRIES_MAX];
    void *slot[DRAFT_ENTRIES_MAX];
    struct pivot *pivot[DRAFT_ENTRIES_MAX]; /* inner nodes; [0] is NULL */
};

void draft_begin(struct draft *d, const struct order *order, uint8_t level); /* empty */
void draft_load(struct draft *d, const struct order *order, const struct node *n);

/* Add all of `right`, which is spoilt by it; between two inner nodes stands `pivot`. */
void draft_join(struct draft *d, struct draft *right, struct pivot *pivot);

/* Entry i becomes `slot`, which stands at `p`; with `pivot` in an inner node. */
void draft_insert(struct draft *d, uint32_t i, const struct probe *p, void *slot,
                  struct pivot *pivot);
void draft_remove(struct draft *d, uint32_t i);

/* Add a child at the end; the first has no pivot. */
void draft_push_child(struct draft *d, void *child, struct pivot *pivot);

/* `out` becomes the entries from .. to-1 of `d`, with the longest prefix that
 * they share.  Reads the records (or pivots) where that is longer than before. */
void draft_cut(struct draft *out, const struct draft *d, uint32_t from, uint32_t to);

/* The size of the node that `d` makes, and writing it there. */
size_t draft_bytes(const struct draft *d);
void node_init(struct node *n, const struct draft *d, uint64_t generation);

/* Assert what holds inside one node. */
void node_check(const struct node *n, const struct order *order);

#endif /* TABLES_BTREE_NODE_H */
