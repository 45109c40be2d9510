/* session.h -- one client connection.
 *
 *     OPEN --not MessagePack-RPC, refused--> LAST_WORDS --written--> LINGER --> CLOSED
 *       |                                       ^                      end, or in time
 *       |-- drained, all answered --------------'
 *       '-- the client's end, all answered; broken; does not read --------------> CLOSED
 *
 * Input      Whole frames are executed where they were read.  Only an unfinished
 *            one, and what must wait, is copied (`held`); those bytes count towards
 *            a bound that all connections share, and who holds most goes first.
 * Order      Requests are carried out in the order they came.  One that found its
 *            shard busy is under way; until it is answered, those that must not
 *            overtake it go the same way or wait (enum rpc_order).
 * Output     One write a turn.  A client that does not read its answers is not read
 *            from either, and is closed after SESSION_WRITE_MS without progress.
 * Actor      A session has a pid, to which shards reply; a REPLY's ref carries all
 *            that is needed to answer, so requests under way take no memory here.
 *            Ending that actor closes the connection.
 * Threads    Its worker's scheduler.
 */
#ifndef QUERY_SESSION_H
#define QUERY_SESSION_H

#include "query/rpc_proto.h"
#include "query/worker.h"

enum {
    RPC_HEADER_BYTES = 16,            /* more than any response's before its result */
    SESSION_UNDERWAY_MAX = 1024,      /* requests that wait for a shard            */
    SESSION_KEY_SLOTS = 64,           /* keys under way, told apart by hash        */
    SESSION_OUTPUT_PAUSE = 1 << 20,   /* unread answers: execute no more until read */
    SESSION_OUTPUT_MAX = 256 << 20,   /* one turn's answers                        */
    SESSION_WRITE_BYTES = 256 * 1024, /* handed over at once, to see progress      */
    SESSION_WRITE_MS = 30 * 1000,     /* for one such piece                        */
    SESSION_LINGER_MS = 1000,         /* for the client to read our last words     */
    SESSION_UNWELCOME_MS = 1000,      /* for it to ask what it will be refused     */
    SESSION_STALE_MS = 10 * 1000,     /* an unfinished frame without a new byte    */
};

enum session_state { SESSION_OPEN, SESSION_LAST_WORDS, SESSION_LINGER, SESSION_CLOSED };

struct session {
    struct list_node node;  /* of worker.sessions */
    struct list_node ready; /* of worker.ready, or by itself */
    struct list_node dirty; /* of worker.dirty, or by itself */
    struct worker *worker;
    struct stream *stream;
    eg_pid pid; /* EG_PID_NONE: its actor has ended */
    enum session_state state;
    bool reading;      /* the stream is asked for bytes                      */
    bool ended;        /* no more will come: the client's end, or draining   */
    bool paused;       /* the next frame must wait                           */
    bool rewound;      /* in this turn: a batched request was put back */
    bool alone;        /* a request is under way that nothing may follow yet */
    bool writing;      /* `sending` is with the stream                       */
    bool unwelcome;    /* past the bound on connections                      */
    uint64_t since_ns; /* of the state, the write, or the last byte, whichever is newest */

    const uint8_t *in; /* lent by the net until the turn is over */
    size_t in_bytes;
    struct buffer held; /* unfinished and waiting frames, before `in` */
    size_t taken_bytes; /* of `held` where there is any, else of `in`; this turn's */
    struct rpc_splitter splitter;

    struct buffer out;     /* answers not handed over yet */
    struct buffer sending; /* those the stream has        */
    size_t sent_bytes;     /* of `sending`                */
    size_t piece_bytes;    /* under way with stream_write */

    struct list_node subscriptions;
    uint32_t subscription_count;
    bool events_stalled; /* some of them wait for the client to read */
    uint64_t last_subscription;

    struct list_node tasks; /* requests that are carried out in steps */
    uint32_t task_count;
    uint32_t next_task;
    struct list_node cursors; /* oldest first */
    uint32_t cursor_count;
    size_t cursors_bytes;
    struct list_node backups; /* being read: rpc_backup.h              */
    uint32_t backup_count;
    struct rpc_txs *transactions; /* rpc_tx.h; NULL: it never had any */

    uint32_t underway;
    uint32_t underway_in_tx;                   /* of these, in transactions that are held open */
    uint16_t underway_keys[SESSION_KEY_SLOTS]; /* by low bits of the key's hash */
};

/* Make a session of an accepted connection.  On an error it has been closed. */
void session_open(struct worker *w, struct stream_accepted accepted, bool unwelcome);

/* Take whole frames from what has come into the worker's batch. */
void session_collect(struct session *s);
/* After the batch: keep what is left, pause or go on reading. */
void session_settle(struct session *s);
/* May the next request not be carried out now?  Asked when it is batched and again
 * when its turn comes, for those before it may have brought large answers. */
bool session_must_wait(const struct session *s);
/* Put the request that began `offset` bytes into the input back, and all after it. */
void session_rewind(struct session *s, size_t offset);
/* Hand answers to the stream. */
void session_write(struct session *s);
/* The same at the end of a turn; close where all is said. */
void session_flush(struct session *s);

/* Once in WORKER_TICK_MS: what has waited too long ends.  True: something waits. */
bool session_tick(struct session *s, uint64_t now_ns);
/* Read no more; close when all is answered. */
void session_drain(struct session *s);
void session_close(struct session *s);

/* Where the next answer goes; never NULL while not CLOSED. */
struct buffer *session_output(struct session *s);

/* A whole answer "code: text". */
void session_answer_error(struct session *s, uint32_t id, eg_err err, const char *text);

/* The ref of a request under way; the counterpart is in session.c. */
eg_ref session_begin(struct session *s, const struct rpc_call *c);
/* It was not sent after all. */
void session_cancel(struct session *s, eg_ref ref);
/* It is done: answer with the result's bytes on EG_OK, else with a text, maybe empty.  May
 * close the session. */
void session_end(struct session *s, eg_ref ref, eg_err err, const uint8_t *at, size_t size_bytes);
/* The ref of what a task asks a shard; its reply goes to task_reply(). */
eg_ref session_task_ref(uint32_t number);
bool session_key_underway(const struct session *s, const struct key *k);

#endif /* QUERY_SESSION_H */
