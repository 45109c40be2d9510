/* shard_sibling.h -- versions of one key side by side, as they are read and replaced.
 *
 *     read   -->  [[record, ...], context]      newest first
 *     write, delete {replaces: context}  -->    what the context names goes, what has come
 *                                               since stays
 *
 * A context is bytes, for the client opaque: a MessagePack array [[origin, sequence], ...] of the
 * versions that it was shown.  The newest version is the record of the key: all that does not ask
 * for siblings (indexes, selects, queries, events, reads in place) sees that one.
 *
 * Threads    Reading: any, in a section.  The rest: the shard's owner.
 */
#ifndef TABLES_SHARD_SIBLING_H
#define TABLES_SHARD_SIBLING_H

#include "tables/shard.h"

struct origins;

/* Append [record, ...]; `rec` NULL: there is none.  EG_TOO_LARGE. */
EG_MUST_USE eg_err sibling_put_records(const struct origins *o, const struct record *rec,
                                       struct buffer *out);
/* Append [[record, ...], context].  EG_TOO_LARGE. */
EG_MUST_USE eg_err sibling_put_all(const struct origins *o, const struct record *rec,
                                   struct buffer *out);

/* What a context names; false: it is none. */
EG_MUST_USE bool sibling_context(struct value context, struct value *replaces);

/* Store the request's record over `old` (NULL: nothing), but for what its context does not name. */
EG_MUST_USE eg_err sibling_replace(struct shard_turn *t, uint64_t expiry_ms);
/* Remove what `replaces` names of `old`, and leave the rest. */
EG_MUST_USE eg_err sibling_leave(struct shard_turn *t, const struct record *old,
                                 struct value replaces, uint64_t expiry_ms);
/* The same of those that are equal to `array`. */
EG_MUST_USE eg_err sibling_leave_equal(struct shard_turn *t, const struct record *old,
                                       struct value array, uint64_t expiry_ms);

#endif /* TABLES_SHARD_SIBLING_H */
