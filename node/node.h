/* node.h -- one of each, put together.
 *
 * All state of a node hangs off this one struct, so that many nodes live in one
 * process.  Here is the order of start and its reverse; no logic.
 *
 *     world (clock, threads) -> epoch -> runtime -> disc -> catalog -> server
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "engram.h"

struct catalog;
struct epoch;
struct runtime;
struct server;

struct runtime *node_runtime(eg_node *n);
struct catalog *node_catalog(eg_node *n);
struct server *node_server(eg_node *n); /* NULL: it does not listen */

#endif /* NODE_NODE_H */
