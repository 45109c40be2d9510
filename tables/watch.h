/* watch.h -- who wants to know what changes, and the way there.
 *
 *     shard's turn --notes--> chunk --+--> queue of watcher 1 --wake--> its scheduler
 *     catalog, node -----------------'+--> queue of watcher 2             next, next ...
 *
 * A table has a list of watchers; where nobody watches, the list is NULL and a change
 * pays one load.  What one turn of a shard changed is copied once, into a chunk that all
 * watchers share and the last one frees.  A watcher's queue is a lock-free stack that any
 * thread pushes to and its scheduler takes as a whole; whoever finds it empty wakes it.
 *
 * Order      Changes of one shard, and so of one key, come in their order.  The events
 *            of a clear are one, and what was written after it comes after it.
 * Gaps       A queue is bounded in events and in bytes.  What does not fit is counted,
 *            and WATCH_GAP stands where it is missing: from its first lost change on a
 *            shard sends nothing more until the gap has been read, so whoever reads the
 *            table when a gap comes, and goes on with what follows it, misses nothing.
 * Taken back A change that is undone in its own turn is never told.
 * Disc       Events come when a change is in memory.  That may be before it is on disc,
 *            also where its writer is answered only afterwards.
 * Ownership  An event borrows from its chunk until the next watcher_next().
 * Threads    Publishing: the shard's owner of the moment.  A watcher is opened on any
 *            thread in a reader section; read and closed on its scheduler.
 */
#ifndef TABLES_WATCH_H
#define TABLES_WATCH_H

#include "tables/value.h"

struct buffer;
struct scheduler;
struct table;
struct watch_hub; /* one a node */
struct watcher;

enum {
    WATCH_EVENTS_MAX = 128 * 1024,    /* queued at one watcher: half a second at full speed */
    WATCH_BYTES_MAX = 16 << 20,       /* likewise                                           */
    WATCH_HELD_BYTES_MAX = 128 << 20, /* in all chunks of a node                            */
    WATCH_CHUNK_BYTES = 64 * 1024,    /* a turn that changed more makes several chunks      */
};

enum watch_kind {
    WATCH_WRITE,    /* record: the new one; old: what it replaced            */
    WATCH_DELETE,   /* record: the removed one                               */
    WATCH_EXPIRE,   /* likewise, by its ttl or because a cache was full      */
    WATCH_CLEAR,    /* the whole table                                       */
    WATCH_SCHEMA,   /* details: {"change": ..., ...}                         */
    WATCH_GAP,      /* details: {"missing": n}                               */
    WATCH_DISC,     /* system: details {"state": "failed" | "well", "reason": text}, of another
                       node {"state": ..., "node": name} */
    WATCH_MEMORY,   /* system: details {"state": "full" | "free"}            */
    WATCH_OVERLOAD, /* system: details {"state": what is full, "reason": text} */
    WATCH_NODE,   /* system: {"node": name, "address": text, "state": of a member of the cluster} */
    WATCH_VIEW,   /* system: {"view": id, "members": [names]}: who acts together from now on */
    WATCH_COPIES, /* system: {"state": what becomes of this node's copies, "shards": how many} */
    WATCH_CLOCK,  /* system: {"node": name, "state": "skewed" | "well", "skew_ms": of its clock} */
    WATCH_CONFLICT, /* system: {"key": of what was merged, "time": ms, "nodes": [names]} */
    WATCH_PUBLIC_KINDS,
    WATCH_CLEAR_PART = WATCH_PUBLIC_KINDS, /* one shard's; never read */
};

/* "write", "delete", ... */
const char *watch_kind_name(enum watch_kind kind);

struct watch_event {
    enum watch_kind kind;
    const char *table;    /* its name; "" where there is none        */
    struct value record;  /* size 0: none                            */
    struct value old;     /* of WATCH_WRITE; size 0: none            */
    struct value details; /* of the others, a map; size 0: none      */
    uint64_t missing;     /* of WATCH_GAP                            */
    bool bag;             /* removed records are told whole, else by their key */
    bool last;            /* the table is gone: nothing comes after  */
};

struct watch_opts {
    struct scheduler *scheduler; /* whose thread reads; NULL: nobody is waked (tests)     */
    bool old;                    /* the replaced record is wanted                         */
    bool tell_full;              /* call ready() also when the first event did not fit    */
    uint32_t bound_events;       /* 0: WATCH_EVENTS_MAX                                   */
    uint64_t bound_bytes;        /* 0: WATCH_BYTES_MAX                                    */
    /* On the scheduler: there is something to read that was not there before. */
    void (*ready)(struct watcher *w, void *user);
    void *user;
};

/* Watch a table, or the node.  *out is there before ready() is called.  EG_NO_TABLE: it has been
 * dropped.  EG_MEMORY. */
EG_MUST_USE eg_err watch_table(struct watcher **out, struct table *t, const struct watch_opts *o);
EG_MUST_USE eg_err watch_system(struct watcher **out, struct watch_hub *hub,
                                const struct watch_opts *o);

/* ready() is not called any more.  What is queued is dropped. */
void watcher_close(struct watcher *w);

/* The next event; false: none for now. */
bool watcher_next(struct watcher *w, struct watch_event *out);
/* Is there one?  A guess the moment it is made. */
bool watcher_waits(const struct watcher *w);
/* Has an event not fit since it was opened? */
bool watcher_was_full(const struct watcher *w);
const char *watcher_table(const struct watcher *w); /* its name, "" of the system's */

/* What an event is about: the record that was written; of one that is gone its key, in a
 * bag itself; size 0: the table or the node. */
struct value watch_event_subject(const struct watch_event *e);
/* The record that was there before; size 0: none. */
static inline struct value watch_event_old(const struct watch_event *e) {
    return e->kind == WATCH_WRITE ? e->old : e->record;
}

/* Append [number, kind, table, record or key, details] of an event.  `old` says whether
 * that was asked for.  EG_TOO_LARGE: no room, and nothing was appended. */
EG_MUST_USE eg_err watch_event_put(const struct watch_event *e, uint64_t number, bool old,
                                   struct buffer *out);

/* What the queues of all watchers take in memory now. */
uint64_t watch_held_bytes(const struct watch_hub *hub);

/* ---- publishing what shards do not ---------------------------------------- */

/* Tell those who watch the node: `table` may be "".  Any thread. */
void watch_tell(struct watch_hub *hub, enum watch_kind kind, const char *table,
                struct value details);
/* The same, {"state": state, "reason": reason}; reason may be NULL. */
void watch_tell_state(struct watch_hub *hub, enum watch_kind kind, const char *state,
                      const char *reason);

#endif /* TABLES_WATCH_H */
