/* disc_wait.c -- a condition variable stands for the mailbox of an actor. */
#include "tests/support/disc_wait.h"

#include "tests/support/disc_twin.h"

#include <string.h>

void disc_wait_init(struct disc_wait *w) {
    *w = (struct disc_wait){.done = false};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->answered, NULL);
}

static void wait_done(struct disc_request *q, eg_err err) {
    struct disc_wait *w = EG_CONTAINER_OF(q, struct disc_wait, request);

    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->err = err;
    pthread_cond_signal(&w->answered);
    pthread_mutex_unlock(&w->lock);
}

eg_err disc_wait_submit(struct disc_wait *w, struct disc *d) {
    w->done = false;
    w->request.done = wait_done;
    return disc_submit(d, &w->request);
}

eg_err disc_wait_answer(struct disc_wait *w) {
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->answered, &w->lock);
    pthread_mutex_unlock(&w->lock);
    return w->err;
}

static eg_err wait_for(struct disc *d, struct disc_request request, struct disc_table **out) {
    struct disc_wait w;
    eg_err err;

    disc_wait_init(&w);
    w.request = request;
    err = disc_wait_submit(&w, d);
    if (err == EG_OK) {
        disc_twin_run_if_twin(d);
        err = disc_wait_answer(&w);
    }
    if (out != NULL && err == EG_OK)
        *out = w.request.table;
    return err;
}

eg_err disc_wait_create(struct disc *d, const char *name, struct disc_table **out) {
    return wait_for(
        d, (struct disc_request){.kind = DISC_CREATE, .name = name, .schema = disc_text("{}")},
        out);
}

eg_err disc_wait_drop(struct disc *d, struct disc_table *t) {
    return wait_for(d, (struct disc_request){.kind = DISC_DROP, .table = t}, NULL);
}

eg_err disc_wait_write(struct disc *d, const struct disc_batch *b, bool sync) {
    return wait_for(d, (struct disc_request){.kind = DISC_WRITE, .batch = b, .sync = sync}, NULL);
}

struct find {
    const char *name;
    struct disc_table *found;
};

static void find_table(void *ctx, const char *name, struct disc_table *t,
                       struct disc_bytes schema) {
    struct find *f = ctx;

    (void) schema; /* any */
    if (strcmp(name, f->name) == 0)
        f->found = t;
}

struct disc_table *disc_wait_find(struct disc *d, const char *name) {
    struct find f = {name, NULL};
    return disc_tables(d, find_table, &f) == EG_OK ? f.found : NULL;
}
