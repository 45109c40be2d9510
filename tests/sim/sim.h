/* sim.h -- a world in one thread, from one seed, on a virtual clock.
 *
 * Nodes run here on the very scheduler core that runs on threads: only the env
 * (clock, chance) and the driver (who gets a turn) are the simulator's.  A step
 * draws who goes next, how long its turn may be, and now and then lets a scheduler
 * stand still for a while, so messages between schedulers meet every delay.  Where
 * nobody has anything to do the clock jumps to the next timer.
 *
 *     sim_open(seed) -> sim_runtime() ... -> foreign_call(), sim_run_ms() ... -> sim_close()
 *
 * Every step goes into a rolling hash.  Two runs of one seed have equal hashes, with
 * any compiler; where they do not, something asked the world behind the seam's back,
 * or ordered by pointer.
 *
 * A foreign may block: waiting gives the world its steps until it is woken.
 *
 * Streams    Each consumer of chance draws from a stream of its own, so a new draw
 *            in one does not move the others.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "engine/foreign.h"
#include "tests/support/rng.h"

struct sim;

struct sim *sim_open(uint64_t seed);
void sim_close(struct sim *s); /* stops and closes the runtimes that are left */

/* Open and start a runtime in this world.  Of `opts` alloc, env and driver are set
 * here where they are NULL. */
struct runtime *sim_runtime(struct sim *s, const struct runtime_opts *opts);

/* Stop and close one, as a node that goes down in order. */
void sim_stop_runtime(struct sim *s, struct runtime *rt);

/* One step, not past `until_ns`.  False: nothing happens before that, and the clock
 * stands there now. */
bool sim_step(struct sim *s, uint64_t until_ns);

void sim_run_ms(struct sim *s, uint64_t ms);
/* True as soon as done(arg), false when `timeout_ms` of the world's time is over. */
bool sim_run_until(struct sim *s, bool (*done)(void *arg), void *arg, uint64_t timeout_ms);

uint64_t sim_now_ns(const struct sim *s);
uint64_t sim_steps(const struct sim *s);
struct env *sim_env(struct sim *s);

/* What happened so far, and a way to add what a test sees to it. */
uint64_t sim_hash(const struct sim *s);
void sim_note(struct sim *s, uint64_t what);

#endif /* TESTS_SIM_SIM_H */
