/* text_insert.h -- the records of one insert, all or none.
 *
 *     LOOK --none is there--> INSERT --all--> SYNC (a sync table) --> done
 *                               | one came meanwhile, or no memory
 *                               '--> UNDO --> failed
 *
 * Stepped and asked as a select is (select.h): EG_AGAIN, then text_insert_ask() until
 * EG_NOT_FOUND, each answered by text_insert_answered().
 *
 * A bag takes a record beside others of its key.
 */
#ifndef QUERY_TEXT_INSERT_H
#define QUERY_TEXT_INSERT_H

#include "query/select.h"
#include "query/text_plan.h"

enum text_insert_state { INSERT_LOOK, INSERT_WRITE, INSERT_UNDO, INSERT_SYNC };

struct text_insert {
    const struct text_plan *plan; /* the caller's */
    struct buffer answer;
    enum text_insert_state state;
    uint32_t next; /* row to be looked for, written; how many are to be taken back */
    bool ask;      /* the shard of that row was busy                               */
    uint32_t sync_from;
    bool sync_again;
    uint32_t unanswered;
    uint32_t refusals;
    eg_err failed;
    struct err_note why;
};

void text_insert_init(struct text_insert *i, const struct text_plan *plan);
void text_insert_fini(struct text_insert *i);

/* EG_OK: all records are there.  EG_EXISTS: a key was there, and nothing has changed. */
EG_MUST_USE eg_err text_insert_step(struct text_insert *i, struct reader *r,
                                    const struct select_pace *pace, struct err_note *note);
EG_MUST_USE eg_err text_insert_ask(struct text_insert *i, eg_pid *to, struct message **out,
                                   struct err_note *note);
void text_insert_answered(struct text_insert *i, eg_err err, struct value result);

#endif /* QUERY_TEXT_INSERT_H */
