/* replica_plan.h -- who has which part in a shard's copies in one view: computed by every member
 * alike from the view's reports and the placement.
 *
 * A member reports for each shard how much its copy is worth:
 *
 *     NONE   nothing: no table, or never a change
 *     SOME   something: it was filling, or comes from a start that no view has seen since
 *     FULL   all that was acknowledged in its lineage (which may be nothing)
 *
 * The master is, of the best that there are, the first in the placement's order; of several
 * lineages that are FULL (two sides of a cut) one that has anything, and then the one that most
 * members have.  All
 * who are FULL, or where nobody is FULL all who have something, must be heard before it
 * serves: what was under way may be with one of them only, and whoever has read or written on the
 * other side of a cut must not be shown what was before.  A copy that was FULL of another lineage
 * and has not become so in ours, for the view ended first, has SOME, and is heard still.  Where
 * nobody has anything, as of a table that was just made, all placed copies must: else what its
 * master acknowledged alone in the first moment would go with it.
 *
 * A member whose clock is skewed is behind any other that is worth the same: what it wrote would
 * win over later writes of another side.
 *
 * Who is not placed any more stays a copy until all who are have it.  A member that says that it is
 * leaving is placed nowhere, and lets go as soon as all who can be reached have it.  One whose disc
 * takes no more is ill: it can tell what it has and take nothing more.  It counts as having SOME of
 * a disc table, where another has it FULL: it orders no writes, is heard but not waited for, and
 * follows when there is room again.
 *
 * A majority table is served only by a majority of the electorate's copies (electorate.h).  Of a
 * copy that has lost what it had acknowledged (memory, or the end of an async log, with a restart)
 * the word is worth nothing before it is whole again: it does not vote.  Only where all of them are
 * there they need not.  A copy of a table that was made in this view has nothing to have lost: so
 * says who remembers, which is who has been in a view of all members since its memory began, or was
 * of no electorate before.  Another may have had the table, with those who are away, and forgotten
 * it.
 *
 * Where no copy that is placed can be reached, and nobody has all of it, there is no master: what
 * others have of it is worth less than what those have who are away.
 */
#ifndef REPLICATION_REPLICA_PLAN_H
#define REPLICATION_REPLICA_PLAN_H

#include "replication/electorate.h"
#include "replication/placement.h"
#include "replication/view.h"

enum replica_worth {
    REPLICA_NONE,
    REPLICA_SOME,
    REPLICA_FULL,
    REPLICA_FULL_OF_NOTHING, /* as a report says it: FULL, and there was never a change */
};

/* Beside it; the first two of a majority table. */
enum {
    REPLICA_WORTH_MASK = 3,
    REPLICA_VOTES = 4,    /* it has all that it has ever acknowledged              */
    REPLICA_SERVED = 8,   /* it was whole, and had a master, when the view ended    */
    REPLICA_UNHEARD = 16, /* it was FULL, and no master that served since has heard it */
};

/* What a member says of itself, before its tables. */
enum replica_state {
    REPLICA_LEAVING = 1,    /* it wants to have nothing any more */
    REPLICA_DISC_FULL = 2,  /* its disc takes no changes         */
    REPLICA_DISC_LOST = 4,  /* nor what a copy in memory has to keep there: whom it has met */
    REPLICA_SKEWED = 8,     /* its clock is far from those of most of its view              */
    REPLICA_REMEMBERS = 16, /* a table that it does not know has nothing that it acknowledged */
};

/* What all members report, by table; made once a view. */
struct replica_reports;
EG_MUST_USE eg_err replica_reports_open(struct replica_reports **out, struct alloc *a,
                                        const struct view *v);
void replica_reports_close(struct replica_reports *r);
/* By the view's member: enum replica_state; of how many shards it has something. */
uint32_t replica_reports_state(const struct replica_reports *r, uint32_t member);
uint64_t replica_reports_held(const struct replica_reports *r, uint32_t member);
/* Does a member of the view but this one have all of the shard?  Also where nobody has told of the
 * table, for it was made in this view, if that one is not in it. */
bool replica_reports_has_full(const struct replica_reports *r, uint64_t table, uint32_t shard,
                              uint64_t but);

/* The newest electorate that a member reports: epoch 0 where none does. */
void replica_reports_electorate(const struct replica_reports *r, struct electorate *newest);
/* All members by what the view's principal knows; empty where it does not say. */
void replica_reports_wanted(const struct replica_reports *r, struct elector_list *wanted);

/* A table whose majority is asked for. */
struct replica_majority {
    uint64_t table, group;
    uint32_t copies, shards;
    bool on_disc;
};
struct electorate_look replica_reports_look(const struct replica_reports *r,
                                            const struct electorate *now,
                                            const struct elector_list *wanted,
                                            const struct replica_majority *tables, uint32_t count);
/* May the first electorate be these?  `fresh`: for a table that nobody has anything of. */
bool replica_reports_may_found(const struct replica_reports *r, const struct elector_list *wanted,
                               bool fresh);
/* Does this member remember from now on (REPLICA_REMEMBERS)? */
bool replica_reports_make_remember(const struct replica_reports *r, uint64_t member);
/* Has somebody told of the table? */
bool replica_reports_tell(const struct replica_reports *r, uint64_t table);

/* What else a member says: [[whom it knows], the electorate or nil]. */
void replica_report_put_electorate(struct value_writer *w, const struct elector_list *known,
                                   const struct electorate *e);
/* One table's report: its id and what each of its shards is worth. */
void replica_report_put(struct value_writer *w, uint64_t table, const uint8_t *worth,
                        uint32_t shards);

struct replica_holder {
    uint64_t node;
    bool must; /* be heard before the master serves */
    bool ill;  /* and need not be full then: it cannot be, or has only to be heard */
    bool well; /* its disc takes changes            */
    bool votes;
    bool kin;       /* it was in our last view, and in none since */
    uint8_t elects; /* a bit for each list of the electorate */
};

/* Whose word is enough, of a majority table. */
struct replica_quorum {
    uint8_t lists; /* 0: of no majority table */
    uint8_t need[ELECTORATE_LISTS], of[ELECTORATE_LISTS];
    uint8_t elects; /* we ourselves, as a holder */
    bool votes;
    bool fresh; /* the table was made in this view, and we remember */
};

struct replica_plan {
    struct view_id view;
    struct view_id lineage; /* our last view */
    uint64_t master;        /* 0: nobody can be                            */
    bool here;              /* this node has a copy                        */
    bool drop;              /* and lets it go: others have all of it       */
    bool waits;             /* and cannot keep up: its disc takes no more  */
    bool worst;             /* the master's disc is as full as all others' */
    bool settled;           /* all who may have a copy are in the view      */
    bool refused;           /* of a majority table: there is no majority in this view */
    struct replica_quorum quorum;
    uint32_t count; /* of other holders                            */
    struct replica_holder holder[NODES_MAX];
};

struct replica_plan_opts {
    const struct view *view;
    const struct replica_reports *reports;
    const struct placement_node *nodes; /* all that are not removed; eligible: for this table */
    uint32_t node_count;
    uint64_t self;
    uint64_t table;
    uint64_t group;
    uint32_t copies; /* 0: all */
    bool on_disc;
    const struct electorate *electorate; /* NULL: of no majority table */
    uint32_t shard, shards;
};

void replica_plan_make(struct replica_plan *p, const struct replica_plan_opts *o);

#endif /* REPLICATION_REPLICA_PLAN_H */
