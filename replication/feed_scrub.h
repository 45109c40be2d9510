/* feed_scrub.h -- two copies of a shard compared, and made equal where they are not.
 *
 *     master: sum its records --ROOTS, of many shards together (scrub.h)--> copy: sum, compare
 *         <-- NODES(1) ------------------------------------------------------- they differ
 *             NODES(2) -->   <-- NODES(3) ...       what lies below the nodes that differ
 *             LIST -----------------------> the prints of all records in the leaves that differ
 *         <-- LACKING --------------------- those that it has not, and whole what the list has not
 *     master: decide for each key, write what was decided as a change of its own: to all
 *
 * Few records differ, mostly one in a shard, so words are short: the sum of a node is one byte
 * below a single node, two below several (narrow); the print of a record five.  What is missed so
 * is noticed: below a node that differs nothing does; or LIST's sum of all that lies in the other
 * leaves (four bytes) is not the copy's own.  Then it is done once more with sums of eight bytes.
 *
 *     a record that differs is not found in a round     with
 *       two copies' roots are equal                     2^-61
 *       its nodes are not told apart, nor noticed       depth x 2^-16 x 2^-32   (2^-46)
 *       its print is another's in the list              records in the list x 2^-40
 *
 * In a leaf of eight the last is 2^-37.  Every day's salt is another: what is missed on one is
 * found on the next, as likely as if it were new.  Nobody who chooses keys knows the salt.
 *
 * Full copies of one view have had the same changes, so where two differ, one of them is damaged.
 * What is right is decided by key: the newer version; of one version the content that most copies
 * have, the master's where they are as many; a record over its absence.  It is written anew, with
 * a version of its own, so that it goes the way of all changes.
 *
 * Changes go on meanwhile.  What looked different only because it was on its way is told apart at
 * the end: a copy that answers LIST has had every change that the master had made before it (one
 * that follows anew answers no more); what came later is not what the list says, and is left
 * alone.  No grave is forgotten before the end.
 *
 * What goes by itself is not compared: what expires soon, and all of a cache table.
 *
 * Threads    The shard's owner.
 * Bound      A tree, a list of SCRUB_LIST_BYTES, and SCRUB_OFFER_BYTES of records from each copy;
 * what is beyond them is found the next time.
 */
#ifndef REPLICATION_FEED_SCRUB_H
#define REPLICATION_FEED_SCRUB_H

#include "replication/feed_private.h"
#include "tables/hash_tree.h"

enum {
    SCRUB_LEAVES_MAX = 4096, /* looked at in one round */
    SCRUB_LIST_BYTES = 2 << 20,
    SCRUB_PRINT_BYTES = 5, /* of each record, in a LIST */
    SCRUB_OFFER_BYTES = 1 << 20,
    SCRUB_SUMS_MAX = 3, /* times that what has changed meanwhile is summed again */
};

enum scrub_scan { SCAN_NONE, SCAN_SUM, SCAN_LIST, SCAN_MATCH, SCAN_MEND, SCAN_REST };

/* A full copy, as its master sees it. */
struct scrub_peer {
    uint64_t node;
    bool differs;
    bool descending; /* it is not known yet in which leaves */
    bool owes;       /* a LACKING */
};

/* How many bytes of the sum of each node are said. */
enum scrub_width { SCRUB_NARROW_ONE = 1, SCRUB_NARROW = 2, SCRUB_WIDE = 8 };

struct scrub_vote {
    uint64_t print, node; /* that has it not */
};

struct scrub_offer {
    uint64_t hash, print, node;
    size_t at; /* of the change, in `offers` */
    bool done;
};

struct scrub {
    struct scrub_order o;
    struct hash_tree tree;
    enum scrub_scan scan;
    struct buffer place; /* of the scan: the last key */
    uint32_t sums;
    uint8_t *wanted; /* the leaves that differ, one byte each */
    uint32_t wanted_count;
    bool go;   /* all copies have said whether they differ */
    bool wide; /* a copy: it has asked once more         */
    uint32_t peer_count;
    struct scrub_peer peer[NODES_MAX];
    struct shard_clock listed; /* what the master had when it made its list */
    struct buffer prints;      /* of the list, sorted; of a copy only what was said of them */
    struct buffer seen;        /* of a copy: one byte for each of them */
    struct buffer lacking;     /* struct scrub_vote */
    struct buffer offered;     /* struct scrub_offer */
    struct buffer offers;      /* changes */
    uint32_t offer_count;
    size_t rest; /* of the offers, those that have been looked at by themselves */
};

/* One record of a scan. */
struct scrub_look {
    struct shard *shard;
    struct scrub *scrub;
    struct reader *reader;
    const struct record *record;
    struct hash_item item;
};

/* ---- feed_scrub.c --------------------------------------------------------------------------- */

void feed_scrub_scan(struct actor *self, struct shard *s, enum scrub_scan scan);
void feed_scrub_end(struct shard *s, enum scrub_state state);
struct hash_item feed_scrub_item(const struct shard *s, uint64_t hash, struct record_version v,
                                 uint64_t expiry_ms, struct value record, struct value state);
/* Begin one of the round's messages. */
bool feed_scrub_out(struct shard *s, enum replica_kind kind, uint32_t more);
/* Say which leaves differ, or read it.  False: no memory, malformed. */
bool feed_scrub_out_numbers(struct feed *st, const uint32_t *at, uint32_t count);
bool feed_scrub_out_binary(struct feed *st, const void *at, size_t size_bytes);
bool feed_scrub_numbers(struct buffer *out, struct value v, uint32_t below);
/* A copy: some leaf that differs was passed over.  False: no memory. */
bool feed_scrub_once_more(struct shard *s);
/* The master: it may be known by now of all in which leaves they differ. */
void feed_scrub_try_list(struct actor *self, struct shard *s);

/* ---- feed_mend.c ---------------------------------------------------------------------------- */

eg_err feed_mend_list(struct scrub_look *l);
eg_err feed_mend_match(struct scrub_look *l);
eg_err feed_mend_record(struct scrub_look *l);
void feed_mend_listed(struct actor *self, struct shard *s);
void feed_mend_matched(struct shard *s);
void feed_mend_rest(struct actor *self, struct shard *s);
void feed_mend_hear_list(struct actor *self, struct shard *s, struct value_iter *it);
void feed_mend_hear_lacking(struct actor *self, struct shard *s, uint64_t from,
                            struct value_iter *it);

#endif /* REPLICATION_FEED_SCRUB_H */
