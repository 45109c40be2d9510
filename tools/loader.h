/* loader.h -- many records into tables of a node, as fast as it takes them.
 *
 *     loader_table()  ...          make them, or make room in those that are there
 *     loader_add()  ...            collected into write_many of one table, sent ahead
 *     loader_finish()              all answered
 *     loader_sync()  ...           and on disc
 *
 * Requests are under way side by side, so the order of records is not kept: no key may stand
 * twice with different records.  What the node is too busy for is sent again.
 *
 * Errors     As everything in the shell: an exit code, after saying why. */
#ifndef TOOLS_LOADER_H
#define TOOLS_LOADER_H

#include "tools/shell.h"

enum loader_mode {
    LOADER_SKIP,    /* a table that is there stays as it is                 */
    LOADER_REPLACE, /* is dropped, and made as the options say              */
    LOADER_CLEAR,   /* keeps its own options and loses its records          */
};

/* "skip", "replace" or "clear"; NULL: replace. */
EG_MUST_USE int loader_mode_of(const char *text, enum loader_mode *mode);

enum { LOADER_WINDOW = 256 }; /* requests under way */

struct loader_request {
    struct pack params;
    const char *method;
    uint32_t id;
    uint32_t records;
    bool answered;
};

struct loader {
    struct shell *shell;
    const char *what;      /* for the progress line: "restored"  */
    uint64_t written, all; /* records; all 0: not known          */
    uint64_t start_ms;
    bool alone;          /* nobody else changes the tables: what is in doubt is written again */
    struct pack table;   /* whose records are collected       */
    struct pack records; /* of it                             */
    uint32_t count;      /* how many                          */
    struct loader_request ring[LOADER_WINDOW]; /* under way, the oldest at head */
    uint32_t head, under_way;
    size_t under_way_bytes;
};

void loader_init(struct loader *l, struct shell *s, const char *what);
void loader_fini(struct loader *l);

/* Make table `name` (a string) with `options` (a map).  *wanted: its records are to be
 * added; false: it was there and the mode is LOADER_SKIP. */
EG_MUST_USE int loader_table(struct loader *l, struct value name, struct value options,
                             enum loader_mode mode, bool *wanted);

/* `ttl_ms` 0: as the table says. */
EG_MUST_USE int loader_add(struct loader *l, struct value table, struct value record,
                           uint64_t ttl_ms);
EG_MUST_USE int loader_finish(struct loader *l);

/* Durable, where the table is on disc. */
EG_MUST_USE int loader_sync(struct loader *l, struct value table);

#endif /* TOOLS_LOADER_H */
