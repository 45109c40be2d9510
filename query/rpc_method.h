/* rpc_method.h -- what a client may ask: names, parameters, order.
 *
 * One row a method.  A row says how many parameters there are, which options may
 * follow, how the method stands to what its connection asked before, and who
 * carries it out.  rpc_call_check() does the checking that is the same for all, so
 * that a handler finds its parameters in place.
 *
 * Look-up    By a hash of length and four letters into a table that is filled once:
 *            one comparison a request.
 * Threads    A struct rpc_methods does not change after rpc_methods_init().
 */
#ifndef QUERY_RPC_METHOD_H
#define QUERY_RPC_METHOD_H

#include "engine/buffer.h"
#include "engine/err.h"
#include "tables/shard_msg.h"
#include "tables/table.h"

struct rpc_call;

enum {
    RPC_PARAMS_MAX = 4, /* without options */
    RPC_SLOTS = 256,    /* of the look-up table; four times the methods there are */
};

/* What a request may overtake of those its connection sent before it, where these
 * are not answered yet. */
enum rpc_order {
    RPC_ANY,    /* reads no record: may overtake everything                     */
    RPC_KEYED,  /* one key: goes through the shard's queue behind the others    */
    RPC_BEHIND, /* many keys: waits until all writes before it are answered     */
    RPC_ALONE,  /* the same, and what follows waits until this one is answered  */
};

enum rpc_option { /* which options a method takes */
                  RPC_OPTION_TX = 1,
                  RPC_OPTION_CONTEXT = 2,
                  RPC_OPTION_TTL = 4,
                  RPC_OPTION_LIMIT = 8,
                  RPC_OPTION_CLIENT = 16, /* client, version: of hello */
                  RPC_OPTION_FREE = 32,   /* a map that the method reads itself */
                  RPC_OPTION_REVERSE = 64,
                  RPC_OPTION_SIBLINGS = 128, /* of read */
                  RPC_OPTION_REPLACES = 256, /* of write and delete: a context of read's */
                  RPC_OPTION_TIMEOUT = 512,  /* of begin and transaction */
                  RPC_OPTION_RETRY = 1024,   /* of begin: an earlier try */
                  RPC_OPTION_ID = 2048,      /* of transaction: the client's own */
};

struct rpc_method {
    const char *name;
    uint8_t name_bytes;
    uint8_t params;   /* that must be there                      */
    uint8_t optional; /* one that may follow; 0: none            */
    uint8_t order;    /* enum rpc_order                          */
    uint16_t options; /* set of enum rpc_option; 0: none allowed */
    bool names_table; /* the first parameter is a table's name   */
    uint8_t op;       /* of RPC_KEYED: enum shard_op             */
    uint8_t key_at;   /* of RPC_KEYED: which parameter, 0: none  */
    uint8_t value_at; /* likewise                                */
    /* Append the result.  EG_AGAIN: the answer comes as a REPLY.  NULL: RPC_KEYED. */
    eg_err (*run)(struct rpc_call *c);
};

struct rpc_methods {
    uint8_t slot[RPC_SLOTS]; /* number + 1; 0: none */
};

void rpc_methods_init(struct rpc_methods *m);

/* NULL: no such method. */
const struct rpc_method *rpc_method_find(const struct rpc_methods *m, const uint8_t *name,
                                         size_t name_bytes);

uint32_t rpc_method_count(void);
const struct rpc_method *rpc_method_at(uint32_t number);
uint32_t rpc_method_number(const struct rpc_method *m); /* its place in the list */

struct rpc_options {
    uint64_t ttl_ms; /* 0: not said */
    uint64_t limit;  /* 0: not said */
    bool reverse;
    bool dirty; /* this node's own copy, whatever it lacks */
    bool siblings;
    struct value replaces; /* size 0: not said */
    struct value tx;       /* likewise; a transaction's id */
    struct value retry;    /* likewise */
    struct value id;       /* likewise */
    uint64_t timeout_ms;   /* 0: not said */
};

/* One request under way. */
struct rpc_call {
    struct session *session;
    struct worker *worker; /* the scheduler's part of the server */
    const struct rpc_method *method;
    uint32_t id;
    bool notification;         /* nobody waits for an answer                    */
    bool alone;                /* as RPC_ALONE, though its method needs not be */
    bool has_key;              /* `key` is prepared and must be released        */
    uint8_t params;            /* how many there are, without options           */
    size_t offset;             /* of its frame in the session's input */
    struct value params_given; /* all of them, as they came */
    struct value param[RPC_PARAMS_MAX];
    struct rpc_options options;
    struct value free_options; /* of RPC_OPTION_FREE; size 0: none            */
    struct table *table;       /* where the method names one; of this section */
    uint16_t attribute;        /* position; of update_counter                 */
    struct buffer *result;
    struct err_note *note; /* for people, on an error */
    struct key key;
};

/* Take `params` (an array) apart by the rules of c->method.  EG_BAD_REQUEST with a note. */
EG_MUST_USE eg_err rpc_call_check(struct rpc_call *c, struct value params);
/* The same of the elements that are left of an array. */
EG_MUST_USE eg_err rpc_call_check_rest(struct rpc_call *c, struct value_iter rest);

/* May a client call a transaction so?  A string, a binary or an integer. */
bool rpc_is_id(struct value v);

#endif /* QUERY_RPC_METHOD_H */
