/* failpoint.h -- steps of a protocol at which a test ends a node or an actor, or lets it stand
 * still.
 *
 *     FAILPOINT("2pc.part.voted", runtime, shard_pid(s));
 *
 * Only in the program that tests/cluster/test_failpoints.py runs (tests/cluster/failpoint.c,
 * EG_FAILPOINTS) is this more than nothing.  `actor` is the one that this is a step of.
 */
#ifndef ENGINE_FAILPOINT_H
#define ENGINE_FAILPOINT_H

#ifdef EG_FAILPOINTS
#include "engine/actor.h"
void failpoint(const char *name, struct runtime *rt, eg_pid actor);
#define FAILPOINT(name, rt, actor) failpoint(name, rt, actor)
#else
#define FAILPOINT(name, rt, actor) ((void) 0)
#endif

#endif /* ENGINE_FAILPOINT_H */
