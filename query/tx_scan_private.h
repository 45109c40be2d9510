/* tx_scan_private.h -- what moves a question, and what judges its rows. */
#ifndef QUERY_TX_SCAN_PRIVATE_H
#define QUERY_TX_SCAN_PRIVATE_H

#include "query/tx_private.h"
#include "tables/record.h"

struct tx_scan {
    struct list_node node; /* of the transaction's; alone where it has ended */
    struct tx *tx;
    struct alloc *alloc;
    enum select_kind kind;
    uint32_t table;
    uint32_t arity;
    uint64_t shape, version;     /* of the table, when it was asked */
    uint32_t shown;              /* own writes before this one       */
    bool over;                   /* the transaction, or what it showed, has ended */
    struct buffer question;      /* specification or pattern; size 0: it came compiled, or is all */
    struct predicate *predicate; /* NULL: a pattern, an index, all */
    struct predicate_machine machine;
    struct index_spec spec; /* of SELECT_INDEX */
    struct scan_path path;
    bool ranged;               /* own rows are those in the path's range */
    bool merged;               /* by key, of all sources                */
    bool reverse;              /* and that downwards                    */
    struct tx_question *found; /* NULL: keys one by one                 */
    bool gone_on;              /* it was there before                   */
    struct value from;         /* of a step: its key, owned              */
    uint64_t limit;

    struct shard_set here, away, away_first; /* away: not told yet             */
    uint32_t shard;                          /* of the last record that was counted */
    uint32_t looked;                         /* of that shard                  */
    bool here_looked;                        /* there was one                  */
    struct buffer place;                     /* behind it                      */
    bool here_done;
    bool head_counted; /* the row behind the place is in the question already */

    uint32_t asked;         /* of `away`                */
    struct buffer told;     /* records, one behind the other */
    struct value *told_row; /* those of them to be shown     */
    uint32_t told_count, told_room, told_at;
    bool told_listed;

    uint32_t *own; /* keys */
    uint32_t own_count, own_room, own_at;
    uint32_t own_row; /* of a key with several; of a point */
    uint32_t point;
    struct buffer last_key; /* of the last row that was looked at, where merged */
    bool scanned;           /* nothing is left to be looked at                 */

    bool begun; /* this page has its header     */
    size_t header_at;
    uint64_t count; /* results of this page; changes */
    bool full;      /* the page has all it may have  */
    bool more;      /* and there is another          */
    struct buffer judged;
    struct buffer todo; /* what is to be changed, one behind the other */
    size_t todo_at;
    bool doing;
    struct tx_mark undo; /* to before that */
};

enum tx_row { TX_ROW_HERE, TX_ROW_TOLD, TX_ROW_OWN, TX_ROW_POINT };

/* Of one step, in one section. */
struct tx_step {
    struct scan *scan;         /* NULL: not open                  */
    const struct record *head; /* its next record, not passed yet */
    struct value row;          /* what comes next; size 0: none   */
    enum tx_row from;
    uint32_t looked;
};

EG_MUST_USE eg_err tx_scan_new(struct tx_scan **out, struct tx *tx, const struct tx_place *at,
                               const struct select_opts *o, struct err_note *note);
/* All records in a range of keys of an ordered_set, one; `found` NULL: a new question, else one to
 * be gone on with. */
EG_MUST_USE eg_err tx_scan_open_range(struct tx_scan **out, struct tx *tx,
                                      const struct tx_place *at, const struct scan_path *path,
                                      struct tx_question *found, struct err_note *note);

/* The next row into step->row; EG_AGAIN: ask first. */
EG_MUST_USE eg_err tx_scan_peek(struct tx_scan *s, const struct tx_place *at, struct tx_step *step);
/* It counts as seen, and comes again. */
EG_MUST_USE eg_err tx_scan_note(struct tx_scan *s, const struct tx_place *at, struct tx_step *step);
/* It is done with. */
EG_MUST_USE eg_err tx_scan_pass(struct tx_scan *s, const struct tx_place *at, struct tx_step *step);
/* EG_AGAIN: the pace says so, and the place is kept. */
EG_MUST_USE eg_err tx_scan_pause(struct tx_scan *s, struct tx_step *step,
                                 const struct select_pace *pace);
/* The step is over: keep the place. */
EG_MUST_USE eg_err tx_scan_leave(struct tx_scan *s, struct tx_step *step);
bool tx_scan_is_all(const struct tx_scan *s);

#endif /* QUERY_TX_SCAN_PRIVATE_H */
