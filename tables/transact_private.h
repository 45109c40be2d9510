/* transact_private.h -- parts and paths of transactions, as shards and packers share them.
 *
 * Private to tables/.
 */
#ifndef TABLES_TRANSACT_PRIVATE_H
#define TABLES_TRANSACT_PRIVATE_H

#include "tables/transact.h"

struct shard;

/* What is found under a key. */
struct transact_found {
    const struct record *first; /* NULL: nothing that has not expired */
    uint64_t version;
};

/* The caller looks at reader->fault where nothing is found. */
struct transact_found transact_find(struct shard *s, struct reader *r, const struct key *k,
                                    uint64_t now_ms);

/* Go along a path in one shard, at most TRANSACT_ASK_MAX records; `add`, unless NULL, is told of
 * each.  EG_TOO_LARGE: there are more.  EG_BAD_REQUEST: no such path here; the disc's; `add`'s. */
EG_MUST_USE eg_err transact_walk(struct shard *s, struct reader *r, const struct scan_path *path,
                                 eg_err (*add)(void *context, const struct record *rec),
                                 void *context, uint64_t *digest);

/* Does what was seen stand, asked by the shard's owner?  EG_OK, EG_CONFLICT; the disc's. */
EG_MUST_USE eg_err transact_key_stands(struct shard *s, struct reader *r, struct value key,
                                       uint64_t version, uint64_t now_ms);
/* The same of a key that is prepared. */
EG_MUST_USE eg_err transact_version_stands(struct shard *s, struct reader *r, const struct key *k,
                                           uint64_t version, uint64_t now_ms);
EG_MUST_USE eg_err transact_question_stands(struct shard *s, struct reader *r, uint64_t changes,
                                            uint64_t digest, const struct scan_path *path);

/* May what a path leads to in a shard be relied on, so far as the whole of it can be asked: of an
 * index, may a record have come there or gone that others do not know of? */
bool transact_path_stands(struct table *t, uint32_t shard, const struct scan_path *path);
/* Does a question stand at this node's copy?  Any thread.  EG_CONFLICT; EG_AGAIN: it cannot be said
 * from here; the disc's. */
EG_MUST_USE eg_err transact_question_looks(struct table *t, uint32_t shard, struct reader *r,
                                           uint64_t changes, uint64_t digest,
                                           const struct scan_path *path);

/* A packed part, taken apart. */
struct transact_part {
    struct value_iter seen;     /* key, version, ...                   */
    struct value_iter question; /* [changes, digest, path], ...        */
    struct value_iter want;     /* op, attribute, ttl, key, value, ... */
    uint64_t flags;
};

/* False: `part` is none.  What is in it is looked at by the functions below. */
EG_MUST_USE bool transact_get_part(struct value part, struct transact_part *out);
EG_MUST_USE bool transact_next_seen(struct value_iter *it, struct value *key, uint64_t *version);
EG_MUST_USE bool transact_next_question(struct value_iter *it, uint64_t *changes, uint64_t *digest,
                                        struct value *path);
bool transact_may_want(enum shard_op op);
EG_MUST_USE bool transact_next_want(struct value_iter *it, struct shard_request *q);

/* A path from outside, which lies in the reader's scratch.  EG_BAD_REQUEST, EG_MEMORY. */
EG_MUST_USE eg_err transact_get_path(struct value packed, const struct table *t, struct reader *r,
                                     struct scan_path *out);
void transact_put_path(struct value_writer *w, const struct scan_path *path);

#endif /* TABLES_TRANSACT_PRIVATE_H */
