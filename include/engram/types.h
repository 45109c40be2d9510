/* types.h -- plain values that every layer and every program share.
 *
 * Handles are numbers, never pointers: a stale one is answered, not followed.
 */
#ifndef ENGRAM_TYPES_H
#define ENGRAM_TYPES_H

#include "engram/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A node in this process: opaque. */
typedef struct eg_node eg_node;

/* Bytes that somebody else owns. */
typedef struct eg_bytes {
    const void *data;
    size_t size;
} eg_bytes;

/* An actor's address.  `generation` tells the actors apart that used the same
 * slot one after the other, so an old pid never reaches a new actor. */
typedef struct eg_pid {
    uint32_t node;       /* 0: this node, as long as it has no other number */
    uint32_t slot;       /* index in that node's table                      */
    uint32_t generation; /* 0 only in EG_PID_NONE                           */
} eg_pid;

#define EG_PID_NONE ((eg_pid){0, 0, 0})

static inline bool eg_pid_is_none(eg_pid p) {
    return p.generation == 0;
}
static inline bool eg_pid_equal(eg_pid a, eg_pid b) {
    return a.slot == b.slot && a.generation == b.generation && a.node == b.node;
}

/* Names one call, monitor or timer; unique in a node's life.  0: none. */
typedef uint64_t eg_ref;

/* Why an actor ended. */
typedef enum eg_exit_kind {
    EG_EXIT_NORMAL,       /* did what it was for; does not disturb the linked     */
    EG_EXIT_SHUTDOWN,     /* was asked to stop by its supervisor                  */
    EG_EXIT_KILL,         /* as a signal: end at once, cannot be trapped          */
    EG_EXIT_KILLED,       /* ended by such a signal                               */
    EG_EXIT_NOPROC,       /* linked or monitored what was not there               */
    EG_EXIT_NOCONNECTION, /* its node cannot be reached                           */
    EG_EXIT_CRASH,        /* anything else: `code` and `text` say what            */
} eg_exit_kind;

enum { EG_EXIT_TEXT_BYTES = 56 };

typedef struct eg_exit {
    eg_exit_kind kind;
    int32_t code;                  /* an eg_err, or the program's own number */
    char text[EG_EXIT_TEXT_BYTES]; /* for people; always terminated          */
} eg_exit;

#endif /* ENGRAM_TYPES_H */
