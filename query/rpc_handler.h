/* rpc_handler.h -- who carries methods out.
 *
 * Each appends its result to c->result and returns EG_OK, or returns an error with
 * a note; what it appended before an error is taken back by the caller.
 */
#ifndef QUERY_RPC_HANDLER_H
#define QUERY_RPC_HANDLER_H

#include "query/rpc_method.h"
#include "tables/page.h"

/* rpc_table.c: tables and what is read from them */
eg_err rpc_create_table(struct rpc_call *c);
eg_err rpc_drop_table(struct rpc_call *c);
eg_err rpc_clear_table(struct rpc_call *c);
eg_err rpc_sync_table(struct rpc_call *c);
eg_err rpc_conflicts(struct rpc_call *c);
eg_err rpc_add_index(struct rpc_call *c);
eg_err rpc_drop_index(struct rpc_call *c);
eg_err rpc_alter(struct rpc_call *c); /* what the method is called says to what end */
eg_err rpc_transform_table(struct rpc_call *c);
eg_err rpc_write_many(struct rpc_call *c);
eg_err rpc_tables(struct rpc_call *c);
eg_err rpc_cluster_status(struct rpc_call *c);
eg_err rpc_join(struct rpc_call *c);
eg_err rpc_leave(struct rpc_call *c);
eg_err rpc_scrub(struct rpc_call *c);
eg_err rpc_remove(struct rpc_call *c);
eg_err rpc_table_info(struct rpc_call *c);
eg_err rpc_read_many(struct rpc_call *c);
eg_err rpc_size(struct rpc_call *c);
eg_err rpc_first(struct rpc_call *c);
eg_err rpc_last(struct rpc_call *c);
eg_err rpc_next(struct rpc_call *c);
eg_err rpc_prev(struct rpc_call *c);
eg_err rpc_index_read(struct rpc_call *c);

/* rpc_far.c: what takes other nodes, as a task; returns what the method does */
eg_err rpc_far(struct rpc_call *c, enum page_kind kind, struct value question, bool reverse);

eg_err rpc_index_read_far(struct rpc_call *c);

/* rpc_select.c: questions that are answered in steps */
eg_err rpc_match(struct rpc_call *c);
eg_err rpc_select(struct rpc_call *c);
eg_err rpc_select_reverse(struct rpc_call *c);
eg_err rpc_select_count(struct rpc_call *c);
eg_err rpc_select_delete(struct rpc_call *c);
eg_err rpc_select_replace(struct rpc_call *c);
eg_err rpc_select_next(struct rpc_call *c);

/* rpc_tx.c, rpc_transaction.c: transactions */
eg_err rpc_begin(struct rpc_call *c);
eg_err rpc_commit(struct rpc_call *c);
eg_err rpc_abort(struct rpc_call *c);
eg_err rpc_transaction(struct rpc_call *c);
eg_err rpc_transaction_status(struct rpc_call *c);
eg_err rpc_transactions(struct rpc_call *c); /* rpc_tx_list.c */

/* subscription.c */
eg_err rpc_subscribe(struct rpc_call *c);
eg_err rpc_unsubscribe(struct rpc_call *c);

/* rpc_backup.c: one moment, piece by piece */
eg_err rpc_backup_open(struct rpc_call *c);
eg_err rpc_backup_read(struct rpc_call *c);
eg_err rpc_backup_close(struct rpc_call *c);

/* rpc_query.c: the text language */
eg_err rpc_query(struct rpc_call *c);
eg_err rpc_explain(struct rpc_call *c);

/* rpc_admin.c: the node itself */
eg_err rpc_ping(struct rpc_call *c);
eg_err rpc_hello(struct rpc_call *c);
eg_err rpc_stats(struct rpc_call *c);
eg_err rpc_processes(struct rpc_call *c);
eg_err rpc_process_info(struct rpc_call *c);

#endif /* QUERY_RPC_HANDLER_H */
