/* page.h -- a piece of a table for another node, which asks for one after the other.
 *
 *     asker: request(shards, question, place) --> page_serve() --> answer(records, place)
 *               ^----------------------- its place ---------------------'
 *
 * Who serves keeps nothing between two pages: a request says all there is to say, and a place is
 * good on every node that has the same shards.  A page is bounded in bytes, records and time, so
 * it may be empty and not the last.
 *
 *     kind          question         a page has
 *     PAGE_RECORDS  nothing          records
 *     PAGE_MATCH    pattern          records that match
 *     PAGE_SELECT   specification    records that are meant
 *     PAGE_INDEX    [index, value]   records that the index has under the value
 *     PAGE_COUNT    specification    how many records there are whose body yields true
 *     PAGE_PARTIAL  struct page_partial_ops's    what it makes of records: a part of an aggregate
 *     PAGE_SIZE                      how many records there are, one number
 *     PAGE_NEXT     key or nothing   nothing, or [shard, key] of the first behind the key
 *     PAGE_READ     keys             an array of records for each, as many as fit
 *
 * Records that come `merged` come in the order of their keys from all shards at once, and their
 * place is the last key (size 0: from the beginning); others shard by shard, ascending, and a place
 * is for the shard that the answer names.
 *
 * Threads    Pure functions, in the reader's section.
 */
#ifndef TABLES_PAGE_H
#define TABLES_PAGE_H

#include "tables/shard_set.h"
#include "tables/table.h"

struct catalog;
struct record_batch;
struct scan_path;

enum {
    PAGE_BYTES = 256 << 10, /* unless one record is larger        */
    PAGE_NS = 500 * 1000,   /* then it ends, whatever it has      */
    PAGE_ANSWER_BYTES_MAX = (16 << 20) + (1 << 19),
};

enum page_kind {
    PAGE_RECORDS,
    PAGE_MATCH,
    PAGE_SELECT,
    PAGE_INDEX,
    PAGE_COUNT,
    PAGE_PARTIAL,
    PAGE_SIZE,
    PAGE_NEXT,
    PAGE_READ,
    PAGE_KIND_COUNT,
};

struct page_request {
    enum page_kind kind;
    bool merged;
    bool reverse;
    uint32_t leg;   /* the asker's, given back */
    uint64_t limit; /* records; 0: as fit      */
    struct shard_set shards;
    struct value question;
    struct value place;
};

struct page_answer {
    uint32_t leg;
    bool ended;     /* nothing comes behind it                                           */
    bool settled;   /* READ: no record is newer than what all full copies have */
    uint32_t shard; /* of one that has not: those before it are done, this one goes on */
    struct value place;
    struct value body; /* of records: page_next(); else the value(s) above */
};

/* Is it about records, shard by shard or merged? */
static inline bool page_is_of_records(enum page_kind kind) {
    return kind <= PAGE_PARTIAL;
}

/* What the layer above makes of records beside them, so that only that travels (PAGE_PARTIAL).
 * All within one section; what fails is answered to who asked. */
struct page_partial_ops {
    /* The way to the records, and what is kept of them meanwhile.  EG_BAD_REQUEST, EG_MEMORY. */
    eg_err (*open)(void **out, struct alloc *a, struct catalog *c, struct table *t,
                   struct reader *r, struct value question, struct scan_path *path,
                   struct err_note *note);
    eg_err (*take)(void *partial, struct record_batch *b); /* it may be changed */
    size_t (*bytes)(const void *partial);                  /* what put() will append, about */
    eg_err (*put)(void *partial, struct buffer *out);
    void (*close)(void *partial);
};
/* From here on; NULL: nobody makes anything. */
void catalog_set_partial(struct catalog *c, const struct page_partial_ops *ops);

/* Append one value.  EG_MEMORY, EG_TOO_LARGE. */
EG_MUST_USE eg_err page_put_request(struct buffer *out, const struct page_request *q);
/* From another node.  EG_BAD_REQUEST. */
EG_MUST_USE eg_err page_get_request(struct value v, struct page_request *q);
EG_MUST_USE eg_err page_get_answer(struct value v, struct page_answer *a);

/* Append the answer.  EG_BAD_REQUEST, EG_TOO_LARGE with a note; EG_ABORTED: the index that
 * the place is of has gone, or another was thought better; EG_MEMORY. */
EG_MUST_USE eg_err page_serve(struct table *t, struct reader *r, const struct page_request *q,
                              struct buffer *out, struct err_note *note);

/* The way to what PAGE_INDEX asks for; borrows from the question.  EG_BAD_REQUEST. */
EG_MUST_USE eg_err page_index_path(struct table *t, struct value question, struct scan_path *out,
                                   struct err_note *note);

/* The body's next record: its stamp and its array.  `at` begins with 0; false: no more. */
EG_MUST_USE bool page_next(struct value body, size_t *at, uint64_t *hlc, struct value *record);

#endif /* TABLES_PAGE_H */
