/* sim_cluster_private.h -- what the files of a simulated cluster ask of each other.
 *
 *     sim_cluster.c         the phases, one after the other
 *     sim_cluster_plan.c    what a seed asks for
 *     sim_cluster_tables.c  the tables
 *     sim_cluster_client.c  the clients
 *     sim_cluster_clock.c   the clocks
 *     sim_cluster_agree.c   are all copies equal?
 *     sim_cluster_check.c   are they what clients have been told?
 */
#ifndef TESTS_SIM_SIM_CLUSTER_PRIVATE_H
#define TESTS_SIM_SIM_CLUSTER_PRIVATE_H

#include "tests/sim/sim_cluster.h"

enum {
    ADMIN_WAIT_MS = 20 * 1000,
    MEET_MS = 30 * 1000, /* at the start, for all nodes to be in one view */
    LOOK_MS = 250,       /* from one look to the next */
};

/* What all copies were found to have. */
struct cluster_look {
    struct sim_cluster *c;
    bool all_went; /* all nodes were down at once: RAM tables may be gone */
    struct final finals[CLUSTER_TABLES_MAX][CLUSTER_KEYS_MAX];
};

uint64_t sim_cluster_now_ms(const struct sim_cluster *c);
/* Why the run is bad, into c->text.  False, for the caller to return. */
bool sim_cluster_wrong(struct sim_cluster *c, const char *format, ...) EG_PRINTF(2, 3);

void sim_cluster_draw(struct sim_cluster *c);
bool sim_cluster_create_tables(struct sim_cluster *c); /* by the first node, when all have met */

/* All kinds that there are in this run; stopping waits for what they have under way. */
void sim_cluster_start_clients(struct sim_cluster *c);
void sim_cluster_stop_clients(struct sim_cluster *c);
/* The number of the write whose record this answer holds. */
uint32_t sim_cluster_seen_in(struct value records);

int64_t sim_cluster_least_clock_ms(const struct sim_cluster *c); /* that any shows now */
/* Where a node whose clock is right has a copy, none whose clock is wrong is the master.  Of a
 * cluster, for sim_run_until(). */
bool sim_cluster_masters_are_in_time(void *cluster);

bool sim_cluster_all_met(void *cluster); /* in one view of all; likewise */
/* All copies are equal, in time; else c->text says what was still different. */
bool sim_cluster_come_to_agree(struct cluster_look *l);

/* A table may lose what it acknowledged where more of its copies went than it can do without. */
bool sim_cluster_keeps_acknowledged(void *cluster, uint32_t table);
/* What they agree on is what the history promises; nothing is left busy. */
bool sim_cluster_check(struct cluster_look *l);
/* Every node reads what all agreed on. */
bool sim_cluster_read_everywhere(struct cluster_look *l);

#endif /* TESTS_SIM_SIM_CLUSTER_PRIVATE_H */
