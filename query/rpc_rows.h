/* rpc_rows.h -- what a query's answer has around its rows.
 *
 *     {columns: [...], rows: [ -- begin -- row, row ... -- end -- ], cursor:   of the first page
 *     [[ row, row ... ],                                                       of later ones
 *
 * The cursor, or nil, is the caller's to append. */
#ifndef QUERY_RPC_ROWS_H
#define QUERY_RPC_ROWS_H

#include "engine/buffer.h"
#include "tables/value.h"

/* Up to where the rows begin; how many there will be is not known yet.  `names` NULL: a later
 * page.  EG_TOO_LARGE. */
EG_MUST_USE eg_err rpc_rows_begin(const struct value *names, struct buffer *out, size_t *header_at);
EG_MUST_USE eg_err rpc_rows_end(bool first, size_t header_at, uint64_t rows, struct buffer *out);

#endif /* QUERY_RPC_ROWS_H */
