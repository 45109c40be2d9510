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
#include "engine/list.h"
#include "tests/support/rng.h"

struct scheduler;
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
void sim_run_to(struct sim *s, uint64_t at_ns);
/* True as soon as done(arg), false when `timeout_ms` of the world's time is over. */
bool sim_run_until(struct sim *s, bool (*done)(void *arg), void *arg, uint64_t timeout_ms);

uint64_t sim_now_ns(const struct sim *s);
uint64_t sim_steps(const struct sim *s);
struct env *sim_env(struct sim *s); /* whose clock is the world's */

/* Log lines up to this level go to standard error; at first ENV_LOG_WARN. */
void sim_set_log_level(struct sim *s, enum env_log_level level);

/* ---- nodes that are less than perfect ------------------------------------------- */

/* A clock and a stream of chance of its own, for the runtimes of one node. */
struct sim_env {
    struct env env;
    struct sim *sim;
    const char *name;            /* in log lines; may be NULL                    */
    uint64_t since_ns, local_ns; /* at that moment of the world it showed this   */
    int64_t wall_ms;             /* and this                                     */
    int64_t drift_ppm;           /* it runs faster by so much                    */
    struct rng random;
};
void sim_env_init(struct sim_env *e, struct sim *s, const char *name, uint64_t seed);
/* From now on. */
void sim_env_drift(struct sim_env *e, int64_t ppm);
void sim_env_jump(struct sim_env *e, int64_t wall_ms); /* of the wall clock alone */

/* Nobody gives its schedulers a turn before that moment. */
void sim_pause(struct sim *s, struct runtime *rt, uint64_t until_ns);

/* It is gone in the middle of whatever it did: nothing of it runs, stops or is freed. Its memory
 * is the caller's to reclaim, and its polls are forgotten. */
void sim_vanish(struct sim *s, struct runtime *rt);

/* ---- what the world does by itself ------------------------------------------------ */

/* Fired between two steps, at its moment.  Zeroed: not waiting. */
struct sim_event {
    uint64_t at_ns, order;
    uint32_t place; /* in the heap, from 1 */
    void (*fire)(struct sim_event *e);
};
void sim_at(struct sim *s, struct sim_event *e, uint64_t at_ns, void (*fire)(struct sim_event *e));
void sim_cancel(struct sim *s, struct sim_event *e);

/* What the loop of a scheduler looks at before each turn, as libuv's would at its sockets. */
struct sim_poll {
    struct list_node node;
    struct seat *seat; /* NULL: its runtime has vanished */
    bool awaited;
    void (*run)(struct sim_poll *p);
};
void sim_poll_add(struct sim *s, struct scheduler *on, struct sim_poll *p,
                  void (*run)(struct sim_poll *p));
void sim_poll_remove(struct sim_poll *p);
/* There is something to look at: a turn comes.  Also from within run(). */
void sim_poll_wake(struct sim_poll *p);

/* A seed for one more stream of chance. */
uint64_t sim_split(struct sim *s);

/* One thing a world may have beside its schedulers (sim_net.h). */
void *sim_user(const struct sim *s);
void sim_set_user(struct sim *s, void *user);
struct sim *sim_of_env(struct env *e);
struct sim_env *sim_env_of(struct env *e);

/* What happened so far, and a way to add what a test sees to it. */
uint64_t sim_hash(const struct sim *s);
void sim_note(struct sim *s, uint64_t what);

#endif /* TESTS_SIM_SIM_H */
