/* handshake.h -- two nodes prove to each other that they know the cluster's cookie.
 *
 *     who dials                                       who accepts
 *       HELLO [magic, versions, features, nonce, info] -->          says who it is
 *                        <-- HELLO [magic, versions, features, nonce, info]
 *       PROOF [mac, attach] -->                                     looks at nothing before it
 *                                        <-- WELCOME [mac, attach]
 *       READY -->                                                   frames from here on
 *
 * A mac is the keyed hash of a word for its direction, both HELLOs as they were sent (so
 * nobody in between has lowered a version or changed a name) and the attach behind it.  Who dials
 * proves first: a stranger who knocks gets no mac to try guesses on.  Either side may say
 * REFUSED [code, text] instead.  `attach` is where the link between the two stands (mesh.h).
 *
 *     state     dials    hears     -> step        caller then
 *     HELLO     yes      HELLO     MET            handshake_prove()    -> PROVED
 *     PROVED    yes      WELCOME   WELCOMED       handshake_ready()    -> END
 *     HELLO     no       HELLO     MORE (answers)                      -> MET
 *     MET       no       PROOF     ASKED          handshake_welcome()  -> WELCOMED
 *     WELCOMED  no       READY     DONE                                -> END
 *     any                REFUSED   REFUSED                             -> END
 *     any                another   FAILED         handshake_refuse()   -> END
 *
 * Bounds     A message is at most HANDSHAKE_BYTES_MAX; time is the caller's.
 * Threads    Its connection's.
 */
#ifndef REPLICATION_HANDSHAKE_H
#define REPLICATION_HANDSHAKE_H

#include "replication/node_info.h"
#include "replication/proof.h"

enum {
    HANDSHAKE_VERSION_MIN = 1, /* of the peers' protocol that this node speaks */
    HANDSHAKE_VERSION = 1,
    HANDSHAKE_BYTES_MAX = 1024,
    HANDSHAKE_NONCE_BYTES = 32,
};

/* What this node can do besides; a link uses what both can. */
#define HANDSHAKE_PACKS UINT64_C(1) /* messages of copies come as packets (packet.h) */
/* Runs in messages of views are short (run_code.h); lists of tables are told by their sum first
 * (schema_sync.h). */
#define HANDSHAKE_BRIEF    UINT64_C(2)
#define HANDSHAKE_FEATURES (HANDSHAKE_PACKS | HANDSHAKE_BRIEF)

/* What the other side is told where no proof could be made. */
#define HANDSHAKE_NO_PROOF "out of memory, or OpenSSL's libcrypto is not installed"

/* Why there is no link.  On the wire: add at the end. */
enum handshake_refusal {
    HANDSHAKE_IS_OTHER_PROTOCOL = 1, /* what came is no handshake              */
    HANDSHAKE_IS_OTHER_VERSION,
    HANDSHAKE_IS_OTHER_COOKIE,
    HANDSHAKE_IS_SELF,
    HANDSHAKE_IS_UNWELCOME, /* its name, or what may_link() says                       */
    HANDSHAKE_IS_SECOND,    /* of two connections between the same nodes the other stays */
    HANDSHAKE_IS_OTHER_NODE,
    HANDSHAKE_IS_TOO_MUCH, /* no room for one more */
};

enum handshake_step {
    HANDSHAKE_MORE,
    HANDSHAKE_MET,
    HANDSHAKE_ASKED,
    HANDSHAKE_WELCOMED,
    HANDSHAKE_DONE,
    HANDSHAKE_REFUSED, /* by the other side: `refusal`, and the note is its text */
    HANDSHAKE_FAILED,  /* by us: `refusal`, and the note is to be told           */
};

struct handshake_attach {
    uint64_t session;      /* of the link: PROOF: that there was, 0: none; WELCOME: that goes on */
    uint64_t received;     /* the last sequence that was handled in it                           */
    uint64_t fresh;        /* PROOF: the session to begin where the old one cannot go on         */
    uint64_t credit_bytes; /* that the other side may have under way to this one             */
};

struct handshake_self {
    const struct node_info *info;
    const void *cookie;
    uint32_t cookie_bytes; /* 0: none, and the other side has none either */
};

enum handshake_state {
    HANDSHAKE_AT_HELLO,
    HANDSHAKE_AT_PROVED,
    HANDSHAKE_AT_MET,
    HANDSHAKE_AT_WELCOMED,
    HANDSHAKE_AT_END,
};

struct handshake {
    const struct handshake_self *self;
    bool dials;
    enum handshake_state state;
    uint8_t nonce[HANDSHAKE_NONCE_BYTES];
    struct node_info peer; /* believed only after its mac */
    uint32_t version;
    uint64_t features;
    struct handshake_attach attach; /* the other side's */
    enum handshake_refusal refusal;
    uint32_t hello_bytes[2]; /* who dials, who accepts */
    uint8_t hello[2][HANDSHAKE_BYTES_MAX];
};

/* Begin; who dials writes its HELLO.  Every call writes at most one message, and `out` must
 * have HANDSHAKE_BYTES_MAX of room. */
void handshake_start(struct handshake *h, const struct handshake_self *self, bool dials,
                     const uint8_t nonce[HANDSHAKE_NONCE_BYTES], struct value_writer *out);

/* One whole value came, at most HANDSHAKE_BYTES_MAX, scanned. */
enum handshake_step handshake_receive(struct handshake *h, struct value message,
                                      struct value_writer *out, struct err_note *note);

/* EG_MEMORY: nothing was written. */
EG_MUST_USE eg_err handshake_prove(struct handshake *h, const struct handshake_attach *attach,
                                   struct value_writer *out);
EG_MUST_USE eg_err handshake_welcome(struct handshake *h, const struct handshake_attach *attach,
                                     struct value_writer *out);
void handshake_ready(struct handshake *h, struct value_writer *out);
void handshake_refuse(struct handshake *h, enum handshake_refusal why, const char *text,
                      struct value_writer *out);

#endif /* REPLICATION_HANDSHAKE_H */
