/* text_run.h -- a select under way: what of it is in memory, and how far it has come.
 *
 *     READ --rows--> plain: into the page
 *        |----------> ordered: into text_rows.h    --> TURN --> EMIT --> the page
 *        '----------> grouped: into text_group.h   --> GROUPS --> as plain or ordered
 *
 * Plain rows of one table go straight to the page; behind a full page the run keeps the
 * scan's place only, and goes on there with what is in the table then.  Everything else keeps
 * the rest of its result in memory.  Records of a large aggregate are counted by several runs, of
 * which one adds up (text_crew.h).
 *
 * Bounds     TEXT_MEMORY_MAX for groups, rows to be sorted and a join's hash table
 *            together, TEXT_PAGE_BYTES_MAX for what is answered at once: then EG_TOO_LARGE.
 */
#ifndef QUERY_TEXT_RUN_H
#define QUERY_TEXT_RUN_H

#include "query/text_group.h"
#include "query/text_join.h"
#include "query/text_rows.h"

enum { TEXT_PAGE_BYTES_MAX = 64 << 20 };

enum text_run_state { TEXT_RUN_READ, TEXT_RUN_GROUPS, TEXT_RUN_TURN, TEXT_RUN_EMIT };

struct text_crew;

struct text_run {
    struct text_plan *plan;
    enum text_run_state state;
    struct text_memory memory;
    struct predicate_machine machine;
    struct buffer place;  /* where the scan of one table stands  */
    struct buffer resume; /* behind the page's last row          */
    struct buffer values; /* a row on its way                    */
    struct buffer group;  /* a group's record                    */
    struct text_joiner joiner;
    struct text_groups groups;
    struct text_rows rows;
    uint32_t next_group;
    uint64_t skipped, given; /* of offset, of limit */
    bool keeps;              /* rows go through `rows` */
    bool fed;                /* all rows have come     */
    bool looked;             /* ... or those of this page */
    struct err_note why;     /* of other nodes */
    bool quick;              /* the scan need not stop anywhere */
    uint32_t reach_bytes;    /* how far the last batch looked into a record, about */

    /* Where several count at once: text_crew.h. */
    struct text_crew *crew; /* NULL: it counts alone                                  */
    bool leads;             /* it is the asker's                                      */
    bool in_shard;          /* `shard` is one that nobody else has; `place` is in it */
    bool awaits;            /* EG_AGAIN: what others have not counted yet             */
    struct shard_set shard;

    /* The page being made. */
    struct buffer *page;
    uint64_t page_most, page_rows;
    bool full; /* what is looked for is only whether there is more */
    bool more;
};

/* Takes the plan over, on EG_OK. */
EG_MUST_USE eg_err text_run_open(struct text_run **out, struct text_plan *plan);
/* The same of an aggregate, to count records in by hand: nobody else is asked for any. */
EG_MUST_USE eg_err text_run_open_here(struct text_run **out, struct text_plan *plan);
EG_MUST_USE eg_err text_run_count(struct text_run *r, struct record_batch *b);
/* Rows of the only source (or of both, joined) from elsewhere, one by one, in place of those the
 * steps would read; then text_run_fed(), and the steps make the page.  *enough: no more are wanted.
 * EG_NOT_FOUND: the page is full, and the row is the next one's: it comes again. */
EG_MUST_USE eg_err text_run_feed(struct text_run *r, struct value row, struct buffer *page,
                                 bool *enough);
void text_run_fed(struct text_run *r);
void text_run_close(struct text_run *r);

/* Begin the first or next page of at most `most` rows (0: all there are). */
void text_run_page(struct text_run *r, uint64_t most);
/* Append rows to `page`.  EG_AGAIN: more steps; EG_OK: the page has page_rows rows, and
 * `more` says whether another follows. */
EG_MUST_USE eg_err text_run_step(struct text_run *r, struct catalog *catalog, struct reader *reader,
                                 const struct select_pace *pace, struct buffer *page,
                                 struct err_note *note);

/* From here on the steps count only shards that are taken from the crew; the run of who asks also
 * what the hands have counted.  Borrowed by a hand's run; the asker's dismisses it. */
void text_run_share(struct text_run *r, struct text_crew *crew);
void text_run_lead(struct text_run *r, struct text_crew *crew);
/* A hand's step.  EG_OK: there is no shard left; EG_AGAIN with !awaits: more steps, else as good as
 * done: this node has not all of the table any more, and who asks can wait until it has. */
EG_MUST_USE eg_err text_run_help(struct text_run *r, struct catalog *catalog, struct reader *reader,
                                 const struct select_pace *pace, struct err_note *note);
/* Add what a hand has counted, and go on in the shard that it has left, if any. */
EG_MUST_USE eg_err text_run_join(struct text_run *r, struct text_run *hand);

/* What it keeps between pages. */
size_t text_run_bytes(const struct text_run *r);

#endif /* QUERY_TEXT_RUN_H */
