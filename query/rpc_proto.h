/* rpc_proto.h -- MessagePack-RPC: cut a connection's bytes into frames, read and
 * write their envelopes.
 *
 *     request       [0, msgid, method, params]
 *     response      [1, msgid, error, result]
 *     notification  [2, method, params]
 *
 * The splitter looks at each byte once, however they arrive, keeps a constant
 * amount of state, and refuses a frame at the header that breaks a bound: too
 * large, nested too deeply, or not begun as an envelope.  Nothing here allocates.
 *
 * Ownership  A parsed frame borrows from the bytes it was parsed from.
 * Threads    A splitter belongs to one connection; the rest are pure functions.
 */
#ifndef QUERY_RPC_PROTO_H
#define QUERY_RPC_PROTO_H

#include "tables/value.h"

enum {
    RPC_FRAME_BYTES_MAX = 16 << 20, /* unless --max-frame says otherwise          */
    RPC_ERROR_TEXT_BYTES = 400,     /* of "code: message"; a longer one is cut    */
};

/* ---- bytes to frames ---------------------------------------------------- */

struct rpc_splitter {
    struct value_scanner scanner;
    size_t max_frame_bytes;
};
void rpc_splitter_init(struct rpc_splitter *s, size_t max_frame_bytes);

/* Is there one whole frame at `at`, of which size_bytes have come by now?
 * EG_OK: *frame_bytes is its size; the next call begins a new frame.
 * EG_AGAIN: call again with more; `at` is the same frame, perhaps moved.
 * EG_BAD_REQUEST: no MessagePack, or no envelope.  EG_TOO_LARGE: past
 * max_frame_bytes or VALUE_DEPTH_MAX.  After these two the connection cannot go
 * on: rpc_msgid_of_prefix() says whom to tell. */
EG_MUST_USE eg_err rpc_splitter_next(struct rpc_splitter *s, const uint8_t *at, size_t size_bytes,
                                     size_t *frame_bytes);

/* The msgid of a request whose first bytes are at `at`; false where they do not
 * tell.  May be asked of any bytes. */
EG_MUST_USE bool rpc_msgid_of_prefix(const uint8_t *at, size_t size_bytes, uint32_t *msgid);

/* ---- frames to envelopes ------------------------------------------------ */

enum rpc_kind {
    RPC_REQUEST = 0, /* as on the wire */
    RPC_RESPONSE = 1,
    RPC_NOTIFICATION = 2,
};

struct rpc_frame {
    enum rpc_kind kind;
    uint32_t msgid;        /* request, response                               */
    const uint8_t *method; /* request, notification: a name, not terminated   */
    uint32_t method_bytes;
    struct value params; /* request, notification: an array                   */
    struct value error;  /* response                                          */
    struct value result; /* response                                          */
};

/* Read the envelope of one whole frame.  EG_BAD_REQUEST: it is none (wrong count,
 * kind, msgid, a method that is neither string nor binary, params no array). */
EG_MUST_USE eg_err rpc_parse(struct value frame, struct rpc_frame *out);

/* ---- envelopes to frames ------------------------------------------------ */

/* Everything before the params; the caller writes them next, one array. */
void rpc_put_request(struct value_writer *w, uint32_t msgid, const char *method);
void rpc_put_notification(struct value_writer *w, const char *method);

/* Everything before the result; the caller writes it next, one value. */
void rpc_put_response(struct value_writer *w, uint32_t msgid);

/* A whole response: "code: text".  Where text is NULL or "", what eg_err_text()
 * says.  What is no UTF-8 in it (it may quote a client) comes out as '?'. */
void rpc_put_error(struct value_writer *w, uint32_t msgid, eg_err err, const char *text);

#endif /* QUERY_RPC_PROTO_H */
