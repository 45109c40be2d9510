/* merge.h -- what becomes of two versions of a record whose writers did not know of each other.
 *
 *     here:   record, state, version   -.
 *                                        >-- merge_join() --> one of them, or a new one
 *     there:  record, state, version   -'
 *
 * It happens once, at the master that meets both (replication/feed.h), and what comes out is a
 * write like any other; so a policy need not be a lattice, but none loses what it promises.
 *
 *     lww               the later, by hybrid clock and then by origin
 *     lww_by_attribute  of each attribute the later
 *     first, max, min   the earlier; the greater or smaller in the order of values, key aside
 *     counter           what was added on both sides, to the last value that was written
 *     set               of fields that are arrays: all elements that neither side has removed
 *     siblings          all that neither side has replaced
 *     callback          what the table's own function makes of both (merge_call.h); where it
 *                       fails, the later
 *
 * Some need more than the records: a *state* beside each, which no reader sees. It is empty where
 * a record was written as a whole at its own version, and then costs nothing.
 *
 *     lww_by_attribute  [nil | [hlc, origin], ...]                of each attribute behind the key
 *     counter           [hlc, origin, [value, ...], [[origin, sequence, [sum, ...]], ...], folds]
 *                       the last plain write, or the removal behind which it was made anew, and
 *                       what each origin has added since; folds: how often parts have gone into
 *                       the values (none, not once)
 *     set               [nil | [[[origin, sequence], ...], ...], ...]  of each attribute's elements
 *     siblings          [[hlc, origin, sequence, record | nil], ...]   newest first; nil: the
 * record
 *     first, max, min, callback         [[hlc, origin, sequence], ...]   newest first; the writes
 *                       that are in what a merge has made: of all but callback the one that it took
 *
 * What was acknowledged and is not in the result is *lost*, and whoever joins is told whose it was:
 * the one that was not taken, or each that a new one has not kept (nothing of what is added up,
 * united or kept side by side).
 *
 * An element or a sibling that one side lacks was removed there, or has not come yet: which,
 * that side's clock of the shard knows. So no record carries a context of its own (as in
 * Almeida, Goncalves et al., "Concise Server-Wide Causality Management").
 *
 * The same clocks say where one of two versions was written by who had seen all that is in the
 * other: a merge has given that a stamp and a dot of its own, by which nobody knows it.  Then it is
 * no conflict, and so it is not where a merge made at another node has the same in it.
 *
 * Ownership  Results are appended to the caller's buffers.
 * Threads    Pure functions.
 */
#ifndef TABLES_MERGE_H
#define TABLES_MERGE_H

#include "engine/buffer.h"
#include "engine/err.h"
#include "tables/schema.h"
#include "tables/value.h"

struct merge_version {
    struct value record; /* size 0: it was removed */
    struct value state;  /* size 0: none */
    uint64_t hlc, origin, sequence;
};

/* What a side has heard of. */
struct merge_side {
    const struct merge_version *version;
    bool (*knows)(const void *context, uint64_t origin, uint64_t sequence);
    const void *context;
};

struct merge_sibling;

struct merge_rule {
    enum table_merge policy;
    uint32_t attribute_count;
    /* callback: append the record to `out`; nothing appended: it is removed.  An error that is not
     * EG_MEMORY: it has no answer, and `failed` (NULL: nobody wants to know) is told.  NULL: none.
     */
    eg_err (*call)(void *context, struct value newer, struct value older, struct buffer *out);
    void *context;
    void (*failed)(void *user, eg_err err);
    /* siblings: this one goes, for there are too many.  NULL: nobody wants to know. */
    void (*dropped)(void *user, const struct merge_sibling *s);
    void *user;
};

/* Renewed: one of them, written anew, for its stamp is not the later. */
enum merge_outcome {
    MERGE_TAKES_HERE,
    MERGE_TAKES_THERE,
    MERGE_RENEWS_HERE,
    MERGE_RENEWS_THERE,
    MERGE_MAKES,
};

/* Is it in merge_join()'s buffers? */
static inline bool merge_is_new(enum merge_outcome o) {
    return o >= MERGE_RENEWS_HERE;
}

/* Whose version has something that is not in the result? */
struct merge_loss {
    bool here, there;
    bool none; /* who wrote what is taken had seen the other */
    bool past; /* counter: so much was added that it does not hold all, even if both look like it */
};

/* Where one is taken, or renewed: the other's. */
static inline struct merge_loss merge_loss_of(enum merge_outcome taken) {
    bool here = taken == MERGE_TAKES_HERE || taken == MERGE_RENEWS_HERE;

    return (struct merge_loss){.here = !here, .there = here};
}

/* Is a the later?  The same on every node. */
bool merge_is_later(const struct merge_version *a, const struct merge_version *b);

/* Where it is new `record` and `state` hold what was made (an empty record: it is removed).
 * EG_MEMORY; EG_CORRUPT: a state is not what is said above; EG_TOO_LARGE: a buffer has not the room
 * that it may have, `record` where that is empty; where it is not, *outcome and *loss stand. */
EG_MUST_USE eg_err merge_join(const struct merge_rule *rule, const struct merge_side *here,
                              const struct merge_side *there, enum merge_outcome *outcome,
                              struct merge_loss *loss, struct buffer *record, struct buffer *state);

/* How a write came about. */
struct merge_write {
    const struct merge_version *old; /* NULL: there was none; it may be a removal */
    struct value record;
    uint64_t hlc, origin, sequence;
    bool adds;             /* update_counter: the difference counts, not the value        */
    struct value replaces; /* siblings: [[origin, sequence], ...]; size 0: all there are */
    /* counter: has that origin made its last change, and do we have it, as nobody else has one that
     * can fold?  NULL: who knows. */
    bool (*is_over)(const void *context, uint64_t origin);
    const void *context;
};

/* Append the state that belongs beside what is written; nothing: none.  EG_MEMORY; EG_CORRUPT;
 * EG_TOO_LARGE: it cannot be told, and what is written counts as written as a whole. */
EG_MUST_USE eg_err merge_write_state(const struct merge_rule *rule, const struct merge_write *w,
                                     struct buffer *state);

/* May a write have one, and not only what a merge has made? */
bool merge_write_keeps_state(enum table_merge policy);
/* Tell `see` of the writes that are in a version: its own, and those whose dots are beside it (but
 * of a counter, whose parts say enough).  What `see` returns, where that is not EG_OK: then no
 * more. */
typedef eg_err merge_see_fn(void *context, uint64_t origin, uint64_t sequence);
EG_MUST_USE eg_err merge_see_writes(const struct merge_rule *rule, const struct merge_version *v,
                                    merge_see_fn *see, void *context);
/* A state from outside: is it one of this policy? */
bool merge_state_is_sound(const struct merge_rule *rule, struct value record, struct value state);

/* ---- siblings ----------------------------------------------------------------------------- */

enum {
    MERGE_SIBLINGS_MAX = 64,             /* of one key: then the oldest goes */
    MERGE_SIBLINGS_BYTES_MAX = 16 << 20, /* likewise, of all together: they go as one message */
};

struct merge_sibling {
    uint64_t hlc, origin, sequence;
    struct value record;
};

/* Newest first; at least one where the record is there. */
uint32_t merge_siblings(const struct merge_version *v,
                        struct merge_sibling out[MERGE_SIBLINGS_MAX]);
/* What stays where those that `replaces` names go and nothing comes: *newest, in the version's
 * memory (size 0: nothing), and the state beside it.  EG_MEMORY. */
EG_MUST_USE eg_err merge_leave_siblings(const struct merge_version *v, struct value replaces,
                                        struct value *newest, struct buffer *state);
/* From outside: is it what merge_write's `replaces` takes? */
bool merge_replaces_is_sound(struct value replaces);

#endif /* TABLES_MERGE_H */
