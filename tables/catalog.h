/* catalog.h -- the tables of this node, by name.
 *
 * Look-ups are direct and lock-free.  Changes (create, drop, clear, indexes) and
 * writes that span shards go through one actor, which keeps the durable schema and
 * the names in step and answers when all shards are done.  Changes of the schema
 * are made one after the other, the rest side by side.
 *
 * Start      catalog_open() reads every table back from disc, reporting progress
 *            in the log.
 * Threads    catalog_find() and catalog_names() in a reader section on any
 *            thread; catalog_send() from anywhere.
 */
#ifndef TABLES_CATALOG_H
#define TABLES_CATALOG_H

#include "tables/memory.h"
#include "tables/table.h"

struct catalog;
struct disc;
struct env;
struct runtime;
struct watch_hub;

struct merge_function;

struct catalog_opts {
    struct alloc *alloc;
    struct env *env;
    struct runtime *runtime; /* running; schedulers to place shard actors on */
    struct epoch *epoch;
    struct disc *disc; /* NULL: the node is RAM only and refuses disc tables */
    struct memory_budget *budget;
    const struct merge_function *merge; /* functions of the program (merge_call.h); borrowed */
    uint32_t merge_count;
    size_t recent_bytes;       /* of a part of a shard's last changes; 0: RECENT_PART_BYTES */
    uint64_t graves_bytes_max; /* of all deletes that are remembered; 0: SHARD_GRAVES_BYTES_MAX */
};

EG_MUST_USE eg_err catalog_open(struct catalog **out, const struct catalog_opts *o,
                                struct err_note *note);

/* Write what discs are owed, stop all shard actors, free everything.  Blocks.  The
 * runtime still runs; no foreign thread is inside a section; nobody sends any
 * more; every table_ref() is given back.  EG_DISC: the disc refused to the end, and
 * what memory had before it is lost. */
eg_err catalog_close(struct catalog *c);

/* NULL: no such table.  Lent for the reader's section. */
struct table *catalog_find(struct catalog *c, const char *name, size_t name_bytes);

/* Callbacks that failed, entries that the journal had no memory for, and counters that do not hold
 * all that was added to them, since the start. */
struct catalog_conflicts {
    uint64_t callbacks_failed, not_kept, counters_past;
};
struct catalog_conflicts catalog_conflicts(const struct catalog *c);

/* Where to watch the node (tables/watch.h). */
struct watch_hub *catalog_watch(struct catalog *c);

/* Append [name, ...], sorted. */
EG_MUST_USE eg_err catalog_names(struct catalog *c, struct buffer *result);

enum catalog_op {
    CATALOG_CREATE,  /* value: options map or nothing               */
    CATALOG_ADOPT,   /* value: a schema as another node has encoded it; true also where the
                        table is there already.  Past the route only (tables/route.h).      */
    CATALOG_ARRANGE, /* value: another shape or name that nodes have agreed on (tables/arrange.h);
                        past the route only */
    CATALOG_DROP,
    CATALOG_CLEAR,
    CATALOG_ADD_INDEX,  /* value: attribute name (string)              */
    CATALOG_DROP_INDEX, /* value: attribute name                       */
    CATALOG_WRITE_MANY, /* value: [record, ...]; answers their number  */
    CATALOG_SYNC,       /* answers when all changes so far are on disc */
    CATALOG_MOMENT,     /* by moment_send() (tables/moment.h)          */
    CATALOG_ALTER,      /* value: what to change, see alter.h          */
    CATALOG_STOP,       /* catalog_close()'s own                       */
};

struct catalog_request {
    enum catalog_op op;
    uint64_t ttl_ms;   /* of WRITE_MANY */
    bool dirty;        /* likewise: at this node's full copies */
    bool decided;      /* of ALTER: other nodes have done it, whatever records are here */
    struct value name; /* its text, without a MessagePack header */
    struct value value;
};

/* Ask for a change by a MESSAGE_CALL with this `ref`; the REPLY reaches `from`, as
 * table_send() says.  EG_BUSY: not sent. */
EG_MUST_USE eg_err catalog_send(struct catalog *c, eg_pid from, uint64_t ref,
                                const struct catalog_request *q);

/* The same CALL as a message, for those who send it themselves. */
EG_MUST_USE eg_err catalog_message(struct catalog *c, const struct catalog_request *q, eg_pid *to,
                                   struct message **out);

#endif /* TABLES_CATALOG_H */
