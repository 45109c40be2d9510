/* api_private.h -- what the files of the public calls share. */
#ifndef NODE_API_PRIVATE_H
#define NODE_API_PRIVATE_H

#include "engine/err.h"
#include "node/node.h"
#include "query/select.h"
#include "query/settle.h"
#include "tables/page.h"
#include "tables/record.h"
#include "tables/value.h"

struct message;
struct table;

struct eg_table {
    eg_node *node;
    _Atomic(struct table *) table; /* held; another one after a change of its shape */
    bool dirty;                    /* by key it is read and written at this node's copy alone */
};

/* The handle's table of now, in a section.  The one it was before is let go. */
struct table *api_table(eg_table *handle);

/* EG_BAD_REQUEST: not exactly one MessagePack value. */
EG_MUST_USE eg_err api_value_of_span(eg_span s, struct value *out);

/* Hand a buffer (the system's memory) over as a result, or free it where `err` says so. */
EG_MUST_USE eg_err api_result_of(struct buffer *b, eg_err err, eg_result *out);

struct value api_value_of_text(const char *text);
static inline eg_span api_span_of_record(const struct record *rec) {
    return rec == NULL ? (eg_span){NULL, 0} : (eg_span){record_array(rec), record_array_bytes(rec)};
}

void api_copy_note(eg_note *to, const struct err_note *from);
/* A call that says nothing leaves nothing of an earlier one either. */
void api_clear_note(eg_note *note);

/* Send `m` and wait; the answer's payload is appended to `result` on EG_OK, else
 * said in the note.  EG_BUSY on a scheduler, which must not wait for itself. */
EG_MUST_USE eg_err api_call(eg_node *n, eg_pid to, struct message *m, uint64_t timeout_ms,
                            struct buffer *result, struct err_note *note);

/* Everything that this node's copies of the table have of it is on disc.  Blocks. */
EG_MUST_USE eg_err api_sync_table(eg_node *n, const struct schema_name *name);

/* A change that the catalog makes, or that it sends where it is made.  Blocks. */
struct catalog_request;
EG_MUST_USE eg_err api_change(eg_node *n, const struct catalog_request *q, eg_note *note);

/* The reads that copy share one frame: a section, a buffer, a result. */
struct api_reading {
    struct node_thread *thread;
    struct table *table; /* of this section */
    struct buffer buffer;
};

/* EG_BAD_REQUEST, EG_NO_TABLE, EG_BUSY: there is nothing to end. */
EG_MUST_USE eg_err api_reading_begin(struct api_reading *c, eg_table *table);
EG_MUST_USE eg_err api_reading_end(struct api_reading *c, eg_err err, eg_result *out);

/* ---- tables that this node has not all of (api_far.c) ------------------------------------ */

/* Are other nodes to be asked?  Not in a section of the caller's. */
bool api_is_far(eg_table *table, struct node_thread *t);
/* PAGE_SIZE, PAGE_NEXT, PAGE_READ: the value is appended (query/far_call.h).  Blocks. */
EG_MUST_USE eg_err api_far_call(eg_table *table, struct node_thread *t, enum page_kind kind,
                                struct value question, bool reverse, struct buffer *out);
/* 0: nobody could say. */
uint64_t api_far_size(eg_table *table, struct node_thread *t);
/* Every record, from `from` (NULL: the first) on.  `see` is called in a section.  Blocks. */
EG_MUST_USE eg_err api_far_fold(eg_table *table, struct node_thread *t, const struct value *from,
                                bool reverse, bool (*see)(void *context, eg_span record),
                                void *context);
/* What was looked at since api_settle_begin(), in a section: may it be told?  Blocks. */
void api_settle_begin(struct settle *s, struct table *now);
EG_MUST_USE eg_err api_settle(eg_table *table, struct node_thread *t, struct settle *s);
/* SELECT_MATCH, SELECT_INDEX: an array of records is appended.  Blocks. */
EG_MUST_USE eg_err api_far_select(eg_table *table, enum select_kind kind, struct value question,
                                  uint64_t limit, struct buffer *out, struct err_note *note);

#endif /* NODE_API_PRIVATE_H */
