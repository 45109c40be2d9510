/* disc_wait.h -- submit to a disc and wait for the answer, for tests that have no actors. */
#ifndef TESTS_SUPPORT_DISC_WAIT_H
#define TESTS_SUPPORT_DISC_WAIT_H

#include "tables/disc.h"

#include <pthread.h>

struct disc_wait {
    struct disc_request request;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done;
    eg_err err;
};

void disc_wait_init(struct disc_wait *w);
eg_err disc_wait_submit(struct disc_wait *w, struct disc *d); /* the request is filled in */
eg_err disc_wait_answer(struct disc_wait *w);

/* Each submits and waits. */
eg_err disc_wait_create(struct disc *d, const char *name, struct disc_table **out);
eg_err disc_wait_drop(struct disc *d, struct disc_table *t);
eg_err disc_wait_write(struct disc *d, const struct disc_batch *b, bool sync);

/* The table called `name` as disc_tables() finds it, or NULL. */
struct disc_table *disc_wait_find(struct disc *d, const char *name);

static inline struct disc_bytes disc_text(const char *text) {
    size_t n = 0;
    while (text[n] != '\0')
        n++;
    return (struct disc_bytes){(const uint8_t *) text, n};
}

#endif /* TESTS_SUPPORT_DISC_WAIT_H */
