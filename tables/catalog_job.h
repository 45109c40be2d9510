/* catalog_job.h -- a change under way, and what its steps are made of.
 *
 *     step: job_ask_...() as often as needed --> answers come --> step again
 *
 * A step returns true when the job is over.  Whoever is asked answers once; when the
 * last has answered, the next step runs, and j->err is the first error of any.
 *
 * Private to the catalog: catalog_actor.c has the actor, catalog_job.c what steps are made of,
 * catalog_create.c, catalog_index.c, catalog_write_many.c, catalog_moment.c and catalog_reshape.c
 * have the steps.
 * Threads    The catalog's actor.
 */
#ifndef TABLES_CATALOG_JOB_H
#define TABLES_CATALOG_JOB_H

#include "tables/catalog_private.h"
#include "tables/disc.h"

enum catalog_tag {
    CATALOG_DISC_DONE = 0x30000, /* the disc has done a job's request            */
    CATALOG_TICK,                /* look for dropped tables that can be freed    */
    CATALOG_STEP,                /* the next step of the job in the payload      */
    CATALOG_LET_GO,              /* shards are held for long enough: under what number */
};

/* What is left to do with a table that has no name, or shall not get one. */
enum discard {
    DISCARD_NOT,
    DISCARD_STOP,      /* shards: write what is owed, end   */
    DISCARD_TERMINATE, /* their supervisor, and whoever did not hear of it */
    DISCARD_DELETE,
    DISCARD_ON_DISC,
    DISCARD_END,
};

struct job {
    struct list_node node;
    struct catalog *catalog;
    struct message *call; /* the request; kept until it is answered */
    struct catalog_request request;
    uint64_t id;
    uint32_t step;
    bool answered;
    uint32_t asked; /* answers still to come  */
    eg_err err;     /* the first that failed  */
    struct err_note note;
    struct table *table;
    struct table *fresh;           /* being made             */
    struct disc_table *disc_table; /* of the table that comes or goes   */
    enum discard discard;          /* how far it is taken to pieces     */
    eg_err cause;                  /* why, where it was only being made */
    bool undead;                   /* its actors may still be there     */
    uint64_t deadline_ns;          /* of a moment or a write_many */
    struct moment *moment;         /* NULL: nobody waits for it any more */
    uint64_t loans;                /* a moment's: the number under which shards are held, or 0 */
    uint32_t part;                 /* the next of them       */
    uint32_t hold_ms;              /* for how long at most   */
    struct index_spec index;       /* that comes or goes     */
    bool dropping;                 /* nobody finds it any more */
    struct schema *schema;         /* being made             */
    struct buffer encoded;         /* the schema for disc    */
    struct disc_batch batch;
    struct disc_request disc;
    struct message *disc_done;
    struct alter_job *alter; /* of a change of shape: catalog_reshape.c */
    bool retiring;           /* only the old table is still to go: others may begin */
    _Atomic bool disc_ended; /* and how, for an actor that missed the message */
    _Atomic int32_t disc_err;
};

/* The first error is the job's. */
void job_failed(struct job *j, eg_err err);

void job_ask_shard(struct actor *self, struct job *j, struct shard *s, uint32_t tag,
                   const struct shard_request *q);
void job_ask_shards(struct actor *self, struct job *j, uint32_t tag); /* all of j->table */
void job_ask_disc(struct job *j, struct disc_request q);
/* The tables' supervisor; NULL: there was no memory for the message. */
void job_ask_families(struct actor *self, struct job *j, struct message *m);

/* The next step comes then. */
void job_step_later(struct actor *self, struct job *j, uint64_t delay_ms);

/* Tell the caller, once: this, or j->err. */
void job_answer(struct actor *self, struct job *j, const void *at, size_t size_bytes);
void job_answer_true(struct actor *self, struct job *j);

/* It is over, and answered. */
void job_free(struct job *j);

/* Let the disc remember j->schema; let everybody see it. */
void job_store_schema(struct job *j);
void job_publish_schema(struct job *j);

/* catalog_create.c */
bool job_create_step(struct actor *self, struct job *j);
bool job_drop_step(struct actor *self, struct job *j);
bool job_clear_step(struct actor *self, struct job *j);
bool job_stop_step(struct actor *self, struct job *j);
/* Take j->table to pieces from j->discard on. */
bool job_discard_step(struct actor *self, struct job *j);

/* catalog_write_many.c */
bool job_write_many_step(struct actor *self, struct job *j);

/* The change of a table's shape (catalog_reshape.c): its step; what to do at a tick; go on
 * with what a killed predecessor had begun; the end of the job's own part.  The first
 * three return true when the job is over. */
bool job_alter_step(struct actor *self, struct job *j);
bool job_alter_tick(struct actor *self, struct job *j);
bool job_alter_resume(struct actor *self, struct job *j);
void job_alter_free(struct job *j);

/* Tables that say that `t` is their successor say `now` (NULL: they have none). */
void job_succeed(struct catalog *c, const struct table *t, struct table *now);

/* catalog_moment.c: SYNC and MOMENT */
bool job_sync_step(struct actor *self, struct job *j);
bool job_moment_step(struct actor *self, struct job *j);
/* Give the shards back that are held for it, and be given no more. */
void job_moment_let_go(struct job *j);
/* CATALOG_LET_GO has come. */
void job_moment_late(struct catalog *c, const struct message *m);

/* catalog_index.c */
bool job_add_index_step(struct actor *self, struct job *j);
bool job_drop_index_step(struct actor *self, struct job *j);
/* The catalog's actor was replaced: go on, or give up and drop what is half built. */
bool job_index_resume(struct actor *self, struct job *j);

#endif /* TABLES_CATALOG_JOB_H */
