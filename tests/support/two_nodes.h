/* two_nodes.h -- two nodes in the test's own program, linked over real connections, and tables
 * that both have.
 *
 *     static eg_node *node[2];             // "one" and "two"
 *     static eg_table *users[2];           // the table as each of them has it
 *
 *     two_nodes_open(node, 1);
 *     two_nodes_create_table(node, "users", "{'copies': 1}", users);
 *     eg_write(users[1], record);
 *     two_nodes_close_table(users);
 *     two_nodes_close(node);
 *
 * Waiting    Each call returns when it is done, and asserts that it is within a minute.  Their view
 *            may be another one soon after: a call on a table may be EG_NO_REPLICA or EG_BUSY yet.
 * Ownership  Nodes and tables are the caller's, who may close one before the others and set it to
 *            NULL.  Tables are closed before their node.
 * Threads    The nodes' own; these calls are from one thread.
 */
#ifndef TESTS_SUPPORT_TWO_NODES_H
#define TESTS_SUPPORT_TWO_NODES_H

#include "engram.h"

/* In memory, with so many schedulers each; each knows the other. */
void two_nodes_open(eg_node *node[2], uint32_t schedulers);
void two_nodes_close(eg_node *node[2]);

/* Of how many nodes node[i] knows that they are linked: 1 or, without the other, 0. */
size_t two_nodes_others(eg_node *const node[2], int i);

/* `options` as text_value.h has it, of at most 256 bytes. */
void two_nodes_create_table(eg_node *const node[2], const char *name, const char *options,
                            eg_table *out[2]);
void two_nodes_close_table(eg_table *table[2]);

#endif /* TESTS_SUPPORT_TWO_NODES_H */
