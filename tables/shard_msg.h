/* shard_msg.h -- what may be asked of the owner of one shard.
 *
 * A request is a struct of spans.  Where the shard is idle its owner-to-be runs
 * it in place (tables/table.h); where it is busy the same request is flattened
 * into a MESSAGE_CALL (shard_request_pack) and the answer comes back as its REPLY:
 * the tag is the eg_err, the payload the result on EG_OK, else a text for people.
 * Either way the result is one MessagePack value, exactly what the wire method of
 * the same name answers.
 */
#ifndef TABLES_SHARD_MSG_H
#define TABLES_SHARD_MSG_H

#include "engine/buffer.h"
#include "tables/record.h"

enum shard_op {                      /* key      value                       result          */
                SHARD_READ,          /* key                                  [record, ...]   */
                SHARD_WRITE,         /*          record                      true            */
                SHARD_INSERT_NEW,    /*          record                      true or false   */
                SHARD_WRITE_MANY,    /*          [record, ...] of this shard count           */
                SHARD_DELETE,        /* key                                  true            */
                SHARD_DELETE_OBJECT, /*          record                      true            */
                SHARD_TAKE,          /* key                                  [record, ...]   */
                SHARD_UPDATE,        /* key      {attribute: value, ...}     true            */
                SHARD_COUNTER,       /* key      delta, with `attribute`     new value       */
                SHARD_CLEAR,         /*                                      true            */
                SHARD_INDEX_BUILD,   /*          a struct index_spec         true, when done */
                SHARD_INDEX_DROP,    /*          its id as `attribute`       true            */
                SHARD_PURGE,         /* remove what has expired              count           */
                /* Where the record with the key of `value`, in a bag the record equal to it, is
                 * still that of version `seen`: put `value` in its place (a set) with what is left
                 * of its time, or remove it. */
                SHARD_REPLACE_SEEN, /*          record                      true or false   */
                SHARD_REMOVE_SEEN,  /*          record                      true or false   */
                /* Of a table that keeps siblings; their contexts: shard_sibling.h. */
                SHARD_READ_SIBLINGS,    /* key                           [[record, ...], context] */
                SHARD_REPLACE_SIBLINGS, /* context  record                      true            */
                SHARD_DELETE_SIBLINGS,  /* key      context                     true            */
                SHARD_SYNC,   /* nothing; a sync table answers when all before is on disc: true */
                SHARD_SETTLE, /* nothing; answered when all full copies have all before: true */
                /* Of transactions; head, part and path: transact.h. */
                SHARD_TX_READ,    /* key      head, or none     [[record, ...], version]        */
                SHARD_TX_ASK,     /* head     path     [[record, ...], changes, digest], or
                                   * EG_TOO_LARGE: TRANSACT_ASK_MAX records are not all        */
                SHARD_TX_ONE,     /* head     part              [result of each want, ...]      */
                SHARD_TX_PREPARE, /* head     part              true: it votes for it           */
                SHARD_TX_COMMIT,  /* head     epoch, or none    [result of each want, ...]      */
                SHARD_TX_ABORT,   /* head     epoch, or none    true                            */
                SHARD_TX_LOCK,    /* head     [exclusive, key or nil: the shard, ...]   true    */
                SHARD_TX_UNLOCK,  /* head                       true                            */
                SHARD_TX_STATUS,  /* head   "prepared", "committed", "aborted" or "unknown"     */
                /* epoch: of the view that who asks goes by; EG_AGAIN: the shard of a majority
                 * table is served in a later one.  Earlier releases say none, and look at none. */
                SHARD_OP_COUNT,
};

enum { SHARD_NO_ATTRIBUTE = 0xffff };

struct shard_request {
    enum shard_op op;
    uint16_t attribute; /* position, or SHARD_NO_ATTRIBUTE                     */
    /* Many changes are to be answered at once: table_try() does not mind that the table is
     * sync, and who asks lets SHARD_SYNC follow. */
    bool sync_later;
    bool dirty;      /* at this node's full copy, without the others (shard_copy.h) */
    uint64_t ttl_ms; /* of this write; 0: as the table says                 */
    /* Another node's request, and its number there: the copies may answer it (shard_copy.h). */
    uint64_t for_node, for_number;
    struct value key;           /* where the op has one                                */
    struct value value;         /* where the op has one                                */
    struct record_version seen; /* of *_SEEN; dot 0: another node's, not known here */
};

/* Does it change nothing? */
static inline bool shard_op_reads(enum shard_op op) {
    return op == SHARD_READ || op == SHARD_READ_SIBLINGS || op == SHARD_SETTLE ||
           op == SHARD_TX_READ || op == SHARD_TX_ASK || op == SHARD_TX_STATUS;
}

/* Does a full copy answer it as well?  The rest is for the master alone. */
static inline bool shard_op_reads_copies(enum shard_op op) {
    return op == SHARD_READ || op == SHARD_READ_SIBLINGS || op == SHARD_SETTLE ||
           op == SHARD_TX_READ;
}

/* Is it a part of a transaction? */
static inline bool shard_op_transacts(enum shard_op op) {
    return op >= SHARD_TX_READ && op <= SHARD_TX_STATUS;
}

/* The key that a request is about: its own, or that of the record it carries; false
 * where it has none (CLEAR, PURGE, INDEX_*, WRITE_MANY, SYNC, SETTLE). */
bool shard_request_key(const struct shard_request *q, struct value *key);

/* The flattened form: a header and the bytes of key and value. */
size_t shard_request_size(const struct shard_request *q);
void shard_request_pack(const struct shard_request *q, uint8_t *at);
/* Trusted: only this process packs.  The spans point into `at`. */
struct shard_request shard_request_unpack(const uint8_t *at);

#endif /* TABLES_SHARD_MSG_H */
