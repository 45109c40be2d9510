/* inspect.h -- who runs, how it is, what it does: observer's questions.
 *
 *     list, describe   inspect_start / inspect_wait   processes(), process_info, get_state
 *     trace            runtime_trace + inspect_log_trace            sys:trace
 *     children         supervisor.h, SUPERVISOR_WHICH_CHILDREN      which_children
 *
 * Only an actor's scheduler may look into it, so a question goes out to all
 * schedulers and the last to answer hands the page over:
 *
 *     pids of a page --post--> scheduler 0 fills in its own --.
 *                   '--post--> scheduler 1 fills in its own ---'--> done()
 *
 * A page is bounded, so a million actors are listed without holding anybody up;
 * who is born or dies between two pages may be missed.
 */
#ifndef ENGINE_INSPECT_H
#define ENGINE_INSPECT_H

#include "engine/genserver.h"
#include "engine/registry.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"

enum { INSPECT_PAGE_MAX = 1024, INSPECT_STATE_BYTES = 128, INSPECT_LABEL_BYTES = 32 };

struct inspect_entry {
    struct actor_info actor; /* name and label are static or copied: label_text */
    char label_text[INSPECT_LABEL_BYTES];
    char registered[REGISTRY_KEY_BYTES]; /* "": under no name, or no server      */
    char state[INSPECT_STATE_BYTES];     /* what it says about itself; "": nothing */
    bool is_server;
    struct genserver_stats server; /* where it is one */
};

struct inspect_page {
    uint32_t next; /* cursor of the next page; 0: this was the last */
    uint32_t count;
    struct inspect_entry entry[];
};

/* Called once, on a scheduler: on `home` where one was given.  The page is freed
 * when it returns. */
typedef void (*inspect_done_fn)(void *context, const struct inspect_page *page);

/* Describe up to `max` (at most INSPECT_PAGE_MAX) actors from slot `cursor` on, 0
 * first.  An error: done() is not called. */
EG_MUST_USE eg_err inspect_start(struct runtime *rt, uint32_t cursor, uint32_t max,
                                 struct scheduler *home, inspect_done_fn done, void *context);

/* Describe these actors; the page lacks those that are gone. */
EG_MUST_USE eg_err inspect_pids(struct runtime *rt, const eg_pid *pids, uint32_t count,
                                struct scheduler *home, inspect_done_fn done, void *context);

/* The same from a thread that is no scheduler's: blocks, and the page is the
 * caller's, to be given to inspect_free(). */
EG_MUST_USE eg_err inspect_wait(struct runtime *rt, uint32_t cursor, uint32_t max,
                                struct inspect_page **out);
EG_MUST_USE eg_err inspect_wait_pid(struct runtime *rt, eg_pid pid, struct inspect_page **out);
void inspect_free(struct runtime *rt, struct inspect_page *page);

/* One line about what a traced actor did. */
void inspect_trace_line(const struct trace_event *e, char *text, size_t size_bytes);

/* A runtime_opts.on_trace that logs such lines; its arg is the env. */
void inspect_log_trace(void *env, const struct trace_event *e);

#endif /* ENGINE_INSPECT_H */
