/* remote_wire.h -- a message between actors of two nodes, as a value:
 *
 *     [kind, to, from, ref, tag, body]
 *
 * to     [incarnation, slot, generation] of an actor of the receiving node, or a name there;
 *        of a publication its topic
 * from   [slot, generation] on the sending node, or nil: nobody
 * body   a binary; of an EXIT or a DOWN [exit kind, code, text]
 *
 * Threads    Pure functions.
 */
#ifndef REPLICATION_REMOTE_WIRE_H
#define REPLICATION_REMOTE_WIRE_H

#include "engine/registry.h"
#include "engram/types.h"
#include "tables/value.h"

enum { REMOTE_HEADER_BYTES = 192 }; /* all that can be round a body */

enum remote_kind { /* on the wire: add at the end */
                   REMOTE_INFO,
                   REMOTE_CAST,
                   REMOTE_CALL,
                   REMOTE_REPLY,
                   REMOTE_EXIT,        /* a signal          */
                   REMOTE_EXIT_LINKED, /* over a link       */
                   REMOTE_DOWN,
                   REMOTE_LINK,
                   REMOTE_UNLINK,
                   REMOTE_MONITOR,
                   REMOTE_DEMONITOR,
                   REMOTE_KILL,
                   REMOTE_PUBLISH,
                   REMOTE_KIND_COUNT,
};

struct remote_message {
    enum remote_kind kind;
    bool to_name;
    char name[REGISTRY_KEY_BYTES];
    uint64_t incarnation;
    eg_pid to, from; /* node is not looked at; from EG_PID_NONE: nobody */
    eg_ref ref;
    uint32_t tag;
    eg_exit reason; /* of EXIT, EXIT_LINKED and DOWN */
    const uint8_t *body;
    uint32_t body_bytes;
};

void remote_message_put(const struct remote_message *m, struct value_writer *w);
/* From outside, scanned.  EG_BAD_REQUEST. */
EG_MUST_USE eg_err remote_message_get(struct remote_message *out, struct value v);

#endif /* REPLICATION_REMOTE_WIRE_H */
