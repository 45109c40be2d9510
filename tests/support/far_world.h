/* far_world.h -- three nodes that each have some of a table, and one that has all of it; letters
 * between them are carried by hand.
 *
 *     far_open(&f, "{'shards': 8}", seed);
 *     far_write(&f, "[1, 'x']");            // where its shard is, and into the whole
 *     far_select(&f, 1, &opts);             // f.site[1].result, f.site[1].note
 *     far_close(&f);
 */
#ifndef TESTS_SUPPORT_FAR_WORLD_H
#define TESTS_SUPPORT_FAR_WORLD_H

#include "query/far_call.h"
#include "query/select.h"
#include "query/text_answer.h"
#include "replication/far_read.h"
#include "tests/support/table_world.h"

enum { FAR_NODES = 3, FAR_WHOLE = 4, FAR_LETTERS = 256, FAR_SHARDS_MAX = 64 };

struct far_world;

struct far_site {
    struct far_world *world;
    uint64_t id;
    struct table_world w;
    struct far_read *reads;
    eg_pid root, ear; /* hears what was asked for */
    struct table *table;
    struct buffer answer; /* to the ear */
    eg_err outcome;       /* 1: none yet */
    uint32_t asked;       /* calls so far */
    struct buffer result;
    struct err_note note;
};

struct far_letter {
    uint64_t from, to;
    struct buffer bytes;
};

struct far_world {
    struct far_site site[FAR_WHOLE + 1]; /* by id, 1 .. */
    struct far_letter letter[FAR_LETTERS];
    uint32_t letters, carried;
    uint64_t owner[FAR_SHARDS_MAX]; /* of each shard; 0: nobody */
    uint64_t epoch;
    void (*between)(struct far_world *f, uint32_t page); /* pages; NULL: nothing */
    uint32_t moments;                                    /* waited for, so far   */
    void (*moment)(struct far_world *f);                 /* at each; NULL: nothing */
    uint32_t lose;                                       /* so many of the next letters          */
    void (*before)(struct far_world *f);                 /* a letter is carried; NULL: nothing   */
};

void far_open(struct far_world *f, const char *options, uint64_t seed);
void far_close(struct far_world *f);
/* The shard is this node's from here on, with all that it had. */
void far_move(struct far_world *f, uint32_t shard, uint64_t to);
void far_next_view(struct far_world *f);
void far_write(struct far_world *f, const char *record);

/* Until it is answered; *pages: so many of them, limit each.  The result is an array of all. */
eg_err far_select(struct far_world *f, uint64_t id, const struct select_opts *o);
eg_err far_pages(struct far_world *f, uint64_t id, const struct select_opts *o, uint32_t *pages);
/* All rows of a text, asked for in pages; limit 0: one page. */
eg_err far_query(struct far_world *f, uint64_t id, const char *text, uint64_t limit);
eg_err far_ask(struct far_world *f, uint64_t id, const struct far_call_opts *o);

/* Send what was asked for and wait; the answer is site's `answer`. */
eg_err far_carry(struct far_world *f, struct far_site *s, eg_pid to, struct message *m);

#endif /* TESTS_SUPPORT_FAR_WORLD_H */
