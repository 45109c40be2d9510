/* registry.h -- names for actors: one each, or many under one.
 *
 *     unique      key -> pid            whereis, calls by name
 *     duplicate   key -> pid, pid, ..   topics, pools; in order of registration
 *
 * A registration belongs to the actor that made it and goes with it, before
 * anyone hears of that actor's end, so a restarted child finds its name free.
 *
 * Threads    registry_find() and registry_members() from any thread.  Finding
 *            writes nothing and waits only while somebody is changing the table.
 * Memory     Keys and registrations are recycled but given back only at close,
 *            so that a reader may look at one that has just gone.
 */
#ifndef ENGINE_REGISTRY_H
#define ENGINE_REGISTRY_H

#include "engine/alloc.h"
#include "engram/types.h"

enum {
    REGISTRY_KEY_BYTES = 64,              /* with the terminating zero            */
    REGISTRY_REGISTRATIONS_MAX = 1 << 22, /* as many as there may be actors       */
};

struct actor;
struct registry;
struct registration;

enum registry_kind { REGISTRY_UNIQUE, REGISTRY_DUPLICATE };

/* `seed` is for the hash, from the env.  EG_MEMORY: nothing was taken. */
EG_MUST_USE eg_err registry_open(struct registry **out, struct alloc *a, enum registry_kind kind,
                                 uint64_t seed);
void registry_close(struct registry *r); /* no reader is left */

/* ---- for an actor, about itself -------------------------------------------- */

/* Register `self`; undone when it ends.  `out` may be NULL.  EG_EXISTS: a unique key is taken.
 * EG_BAD_REQUEST: the key is empty or too long.  EG_MEMORY; EG_BUSY: at the bound. */
EG_MUST_USE eg_err registry_join(struct registry *r, struct actor *self, const char *key,
                                 struct registration **out);

/* Take back all registrations of `self` under `key`.  EG_NOT_FOUND: there is none.
 * Costs a look at each member of a duplicate key. */
eg_err registry_leave(struct registry *r, struct actor *self, const char *key);

/* ---- the table itself -------------------------------------------------------- */

EG_MUST_USE eg_err registry_put(struct registry *r, const char *key, eg_pid pid,
                                struct registration **out);
void registry_del(struct registry *r, struct registration *e);

/* The oldest registration under `key`; EG_PID_NONE where there is none. */
eg_pid registry_find(struct registry *r, const char *key);

/* Copy the first `max` pids under `key`, oldest first.  Returns how many there are. */
uint32_t registry_members(struct registry *r, const char *key, eg_pid *out, uint32_t max);

/* The key of a registration that is there, zero-terminated. */
void registry_key(const struct registration *e, char out[static REGISTRY_KEY_BYTES]);

uint32_t registry_count(struct registry *r); /* registrations now */

/* Call `each` for every registration.  The table is locked: be short, call nothing
 * that could come back here. */
void registry_each(struct registry *r, void (*each)(void *arg, const char *key, eg_pid pid),
                   void *arg);

#endif /* ENGINE_REGISTRY_H */
