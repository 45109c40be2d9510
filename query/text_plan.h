/* text_plan.h -- how a query is going to be answered.
 *
 *     text --parse--> tree --names, arguments--> expressions --scan_choose--> plan
 *
 *     rows of one table, or of two joined      where, and what of the row is wanted
 *     --input--> values --group, aggregate--> values --output--> keys and columns --sort--> rows
 *
 * A row on its way is one array.  Where two tables are joined it is the fields of the
 * first and those of the second in one, so everything behind the join asks a
 * single record, as does everything behind the groups: there the record is the
 * group's values and then the aggregates.  So each stage is one program of
 * tables/predicate.h.
 *
 * What `where` says of one table alone is asked before the join, of the joined row only
 * the rest.
 *
 * Ownership  A plan owns copies of all it was given, and nothing of the tables: they are found
 *            anew in each section.
 */
#ifndef QUERY_TEXT_PLAN_H
#define QUERY_TEXT_PLAN_H

#include "query/settle.h"
#include "query/text_parser.h"
#include "tables/catalog.h"
#include "tables/scan.h"

enum {
    TEXT_ITEMS_MAX = 1024, /* columns of a result                     */
    TEXT_GROUPS_MAX = 64,  /* what is grouped by                      */
    TEXT_AGGREGATES_MAX = 128,
    TEXT_ORDERS_MAX = 64,
    TEXT_VALUES_MAX = TEXT_ITEMS_MAX + TEXT_ORDERS_MAX,
};

#define TEXT_NO_LIMIT UINT64_MAX

enum text_join { TEXT_JOIN_NONE, TEXT_JOIN_KEY, TEXT_JOIN_INDEX, TEXT_JOIN_HASH };

/* One table of the query. */
struct far_call;
struct gather;
struct text_source {
    struct schema_name name;
    uint64_t id;         /* of the table's schema: another table may take its name */
    struct table *table; /* of this section: see text_plan_check()            */
    uint32_t arity;
    uint64_t shape;           /* of the table when it was asked */
    struct predicate *filter; /* asked of its records alone                       */
    bool filtered;            /* ... and does not mean all of them                */
    struct scan_path path;
    const char *index;     /* that the path uses; NULL: none */
    uint32_t on;           /* joined: the attribute's position                   */
    struct shard_set here; /* of a dirty query */
    struct gather *far;    /* in the scan's place (text_far.h); NULL: all is here */
    struct far_call *size; /* likewise, where only how many there are is asked for */
    struct settle settle;
};

struct text_plan {
    enum text_statement statement;
    struct alloc *alloc;
    struct arena *arena;
    struct buffer filter_text; /* where, for explain */
    /* [text, arguments or nil], of an aggregate that others may count some of; else size 0. */
    struct value said;

    uint32_t source_count;
    struct text_source source[TEXT_TABLES_MAX]; /* in the query's order */
    bool dirty;                 /* of what copies are here, whatever they lack              */
    struct text_source *asking; /* whose records others are to be asked for; NULL: none */
    uint64_t patient_ns;
    enum text_join join;
    uint32_t outer;          /* joined: the source that is gone through first */
    struct scan_path lookup; /* joined: the way to inner records of one value  */
    const char *lookup_index;

    /* From a source's (or the joined) record: what the next stage wants.  Where that is
     * fields alone and they are counted, not shown, `fields` says which, and input
     * only filters. */
    struct predicate *input; /* of all but insert */
    bool filtered;           /* input does not mean all rows */
    bool direct;
    uint32_t value_count; /* what input yields */
    uint16_t *fields;     /* of direct         */
    uint32_t field_end;   /* behind the last of these */

    bool grouped; /* aggregates, with or without group by */
    uint32_t group_count;
    uint32_t aggregate_count;
    enum text_aggregate *aggregates;
    uint32_t *aggregate_values;         /* which of input's values; UINT32_MAX: count(*) */
    struct text_node **aggregate_nodes; /* for people */
    struct predicate *output;           /* having, then keys and columns; of grouped     */

    uint32_t order_count; /* sort keys, which come before the columns; 0: as it comes */
    bool *descending;
    bool by_key;           /* order by was met by the path                      */
    uint32_t column_count; /* of the result                                     */
    struct value names;    /* their names, an array                             */
    uint64_t limit, offset;

    /* insert: the new records; update: input makes them of the old; delete: it filters. */
    struct value *rows;
    uint32_t row_count;
};

/* What the plan is made in.  The caller is in the reader's section. */
struct text_world {
    struct alloc *alloc;
    struct catalog *catalog;
    struct reader *reader;
    bool dirty; /* only this node's own copies are asked */
};

/* `arguments`: an array, or size 0 for none.  EG_NO_TABLE, EG_BAD_REQUEST (unknown names,
 * wrong numbers of things), EG_TOO_LARGE with notes; EG_MEMORY. */
EG_MUST_USE eg_err text_plan_open(struct text_plan **out, const struct text_world *world,
                                  const char *text, size_t text_bytes, struct value arguments,
                                  struct err_note *note);
void text_plan_close(struct text_plan *p);

/* Find the tables in this section.  EG_NO_TABLE, EG_ABORTED: they are no longer those the plan
 * was made for. */
EG_MUST_USE eg_err text_plan_check(struct text_plan *p, struct catalog *catalog,
                                   struct err_note *note);

/* Append the map that `explain` answers with. */
EG_MUST_USE eg_err text_plan_explain(const struct text_plan *p, struct buffer *out);

#endif /* QUERY_TEXT_PLAN_H */
