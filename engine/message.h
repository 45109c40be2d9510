/* message.h -- what actors say to each other.
 *
 * One block: a 48-byte header and the payload behind it.
 *
 *     | next | ref | from | to | size | tag | kind .. | payload, 16-byte aligned |
 *
 * Ownership  Moves with the message.  Sending gives it away, also where sending
 *            fails.  A receiver may read it during its callback; the runtime
 *            frees it afterwards unless the callback took it (actor_keep).
 * Memory     Blocks of 64, 128 .. 1024 bytes come from free lists of the calling
 *            scheduler, larger ones and those of foreign threads from the
 *            runtime's allocator.  A block may be freed on any thread.
 */
#ifndef ENGINE_MESSAGE_H
#define ENGINE_MESSAGE_H

#include "engine/base.h"
#include "engram/types.h"

struct runtime;

enum message_kind {
    /* For upper layers to send.  INFO, CAST and CALL are refused by a full
     * mailbox; everything else always passes. */
    MESSAGE_INFO,  /* anything                                             */
    MESSAGE_CAST,  /* to a server, no answer                               */
    MESSAGE_CALL,  /* `ref` is echoed by the REPLY; always answered: a CALL
                    * that is dropped is answered by the runtime           */
    MESSAGE_REPLY, /* `tag` is an eg_err: EG_OK, or the runtime's or the
                    * server's refusal; the payload is the answer          */

    /* From the runtime to an actor's receive(). */
    MESSAGE_EXIT,    /* a linked actor ended, or actor_exit_send; only where
                      * the receiver traps exits.  message_exit() decodes  */
    MESSAGE_DOWN,    /* a monitored actor ended; `ref` is the monitor's    */
    MESSAGE_TIMEOUT, /* a timer of actor_start_timer; `ref` is the timer's */

    /* Between schedulers only; never reach receive(). */
    MESSAGE_START,
    MESSAGE_LINK,
    MESSAGE_UNLINK,
    MESSAGE_MONITOR,
    MESSAGE_DEMONITOR,
    MESSAGE_KILL,
    MESSAGE_TRACE,
    MESSAGE_POST,
    MESSAGE_KIND_COUNT
};

enum message_flag {
    MESSAGE_COUNTED = 1, /* counted in a lendable receiver's atomic word        */
    MESSAGE_LINKED = 2,  /* an EXIT that came over a link                       */
    MESSAGE_QUIT = 4,    /* an EXIT that an actor sent itself while it was lent */
};

struct message {
    struct message *next; /* whoever holds it links it */
    eg_ref ref;
    eg_pid from;            /* EG_PID_NONE: nobody in particular */
    uint32_t to_slot;       /* set by sending                    */
    uint32_t to_generation; /* set by sending                    */
    uint32_t size_bytes;    /* of the payload                    */
    uint32_t tag;           /* the sender's word for what it is  */
    uint8_t kind;           /* enum message_kind                 */
    uint8_t block;          /* tier of the block's size          */
    uint16_t flags;         /* enum message_flag                 */
    _Alignas(16) unsigned char payload[];
};

/* A payload past this is refused (EG_TOO_LARGE by the public calls): what is
 * larger travels as a reference to something immutable. */
enum { MESSAGE_PAYLOAD_MAX = 64 * 1024 * 1024 };

/* A fresh message with `size_bytes` of uninitialised payload.  NULL: no memory. */
struct message *message_new(struct runtime *rt, enum message_kind kind, size_t size_bytes);

/* As message_new, with a copy of the bytes. */
struct message *message_copy(struct runtime *rt, enum message_kind kind, const void *bytes,
                             size_t size_bytes);

/* Give a message back that was never sent, or that was kept. */
void message_free(struct runtime *rt, struct message *m);

/* The reason that an EXIT or a DOWN carries. */
eg_exit message_exit(const struct message *m);

const char *message_kind_name(enum message_kind kind);

#endif /* ENGINE_MESSAGE_H */
