/* table_private.h -- how a table lies in memory.  Others include table.h. */
#ifndef TABLES_TABLE_PRIVATE_H
#define TABLES_TABLE_PRIVATE_H

#include "engine/list.h"
#include "tables/journal.h"
#include "tables/catalog.h"
#include "tables/far.h"
#include "tables/route.h"
#include "tables/shard.h"
#include "tables/unique.h"
#include "tables/watch.h"

struct origins;
struct outcomes;
struct page_partial_ops;
struct shard_copy_ops;
struct transact_doubt;
struct watch_list;

/* What all tables of a node share; the catalog's, outlives every table. */
struct world {
    struct catalog_opts o;
    struct unique_gates gates;                    /* of the values of all tables' unique indexes */
    struct watch_hub *watch;                      /* who wants to know what changes        */
    struct origins *origins;                      /* who changes are from                    */
    struct journals journals;                     /* what merges have set aside              */
    struct outcomes *outcomes;                    /* of transactions                         */
    _Atomic(const struct transact_doubt *) doubt; /* NULL: nobody is asked (transact.h)  */
    /* NULL: nobody listens to changes.  Set while shards that were recovered start. */
    _Atomic(const struct shard_copy_ops *) copy_ops;
    void *copy_user;                                  /* set before */
    _Atomic(struct table_route *) route;              /* NULL: this node is all there is */
    _Atomic(struct table_far *) far;                  /* likewise, for reading           */
    _Atomic(const struct page_partial_ops *) partial; /* page.h; NULL: nobody's */
    struct reader *readers;                           /* one a scheduler, for its shard actors    */
    _Atomic uint64_t stamps_ahead;                    /* heard so far (shard_stamp.h)             */
    _Atomic int64_t grave_bytes;                      /* of all shards (shard_floor.h)            */
    _Atomic int64_t grave_shards;                     /* which have some                          */
    struct buffer *results;                           /* likewise: where answers are put together */
};

struct table {
    struct world *world;
    _Atomic(const struct schema *) schema; /* replaced by the catalog, retired by it   */
    _Atomic uint64_t clears; /* begun so far; counted by the catalog                         */
    _Atomic(struct watch_list *) watchers; /* NULL: nobody; changed by the hub (watch.h) */
    _Atomic(struct table *) successor;     /* what its name means after a change of its shape   */
    _Atomic uint32_t refs;                 /* the catalog holds one until it is dropped */
    _Atomic bool dropped;
    struct schema_name name; /* the actors' label: outlives the schema of the moment   */
    uint64_t seed;
    uint64_t family; /* names its supervisor: the table whose place it takes has one too  */
    uint64_t shape;  /* see table_shape()                                                 */
    uint32_t node;   /* of its shards' pids */
    uint32_t shard_count;
    enum table_type type;
    enum table_storage storage;
    struct disc_table *disc_table; /* NULL: a ram table */
    bool disc_dropped;           /* the disc has dropped it, and is told to forget it at the end */
    struct memory_budget budget; /* of max_bytes      */
    struct list_node dying;      /* dropped, and waiting for the last holder */
    _Atomic bool settling;       /* its predecessor still sends calls on              */
    _Atomic bool unseen;         /* nobody can have found it by its name any more     */
    struct reshape *reshape;     /* NULL, or into its successor                       */
    struct shard shard[];
};

static inline const struct schema *schema_of(const struct table *t) {
    return atomic_load_explicit(&t->schema, memory_order_acquire);
}

/* write_many in place, also into a sync table: the answer then waits for SHARD_SYNC. */
EG_MUST_USE eg_err table_many_here(struct table *t, struct reader *r, struct value records,
                                   const struct table_many *how, struct buffer *result,
                                   struct err_note *note);

/* Claim a shard, looking `patience` times; NULL: it stays busy. */
struct actor *table_claim(const struct shard *s, uint32_t patience);
/* May whoever claims the shard run it and answer at once? */
bool table_is_ours(const struct shard *s, bool dirty);

/* A checked request for one shard, by number: to its actor, or to who knows where else. */
EG_MUST_USE eg_err table_message_to(struct table *t, uint32_t shard, const struct shard_request *q,
                                    eg_pid *to, struct message **out);

static inline enum shard_role role_of(const struct shard *s) {
    unsigned word = atomic_load_explicit(&s->role, memory_order_acquire);

    return (enum shard_role)(word & ~(unsigned) SHARD_HELD);
}

/* The same with SHARD_HELD, which makes it none that anything may be done in. */
static inline unsigned role_or_held(const struct shard *s) {
    return atomic_load_explicit(&s->role, memory_order_acquire);
}

/* The shard takes the top bits of the hash; stores and tags take lower ones. */
static inline struct shard *shard_of(struct table *t, uint64_t hash) {
    return &t->shard[((hash >> 48) * t->shard_count) >> 16];
}

#endif /* TABLES_TABLE_PRIVATE_H */
