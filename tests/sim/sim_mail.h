/* sim_mail.h -- what other nodes say of copies to one node, heard once, twice or not at all.
 *
 *     mesh --on_payload--> sim_mail --> cluster          every channel, as it comes
 *                             |--later--> cluster        a replica's word, once more
 *                             '--X  FEED_MISSED          as where there was no memory for it
 *
 * It stands between a node's mesh and its cluster in the simulator alone: neither knows of it.
 * Links lose nothing and give nothing twice, so this is more than can happen to what is said,
 * and all that the copies' own bookkeeping has to stand.
 *
 * Nothing comes once more when the link it came by is lost, or the node: then the receiver has
 * forgotten what was said.
 *
 * Memory     Do not move it while its node is up.
 * Threads    One.
 */
#ifndef TESTS_SIM_SIM_MAIL_H
#define TESTS_SIM_SIM_MAIL_H

#include "replication/mesh.h"
#include "tests/sim/sim.h"

struct cluster;

struct sim_mail {
    uint32_t twice_one_in, lose_one_in; /* of a replica's words; 0: none */
    uint64_t view_words;                /* heard: nodes that echo each other say more and more */

    struct sim *sim;
    struct cluster *cluster;
    const struct mesh_events *events; /* the cluster's */
    struct list_node late;            /* what comes once more */
    struct rng rng;
};

void sim_mail_init(struct sim_mail *m, struct sim *s, uint64_t seed);
/* From now on, of a cluster that has been opened. */
void sim_mail_attach(struct sim_mail *m, struct cluster *c);
/* Its node stops, or has vanished: nothing comes any more. */
void sim_mail_detach(struct sim_mail *m);

#endif /* TESTS_SIM_SIM_MAIL_H */
