/* error.h -- every way an eg call can fail.
 *
 * One list, five columns: name, number, class, wire code, what an operator
 * reads.  A program decides on the class, a remote client on the wire code;
 * text is for people and is never parsed.  Add at the end, never renumber,
 * never reuse.
 *
 * This header includes nothing, so every layer may include it.
 */
#ifndef ENGRAM_ERROR_H
#define ENGRAM_ERROR_H

typedef enum eg_err_class {
    EG_CLASS_NONE,     /* it happened                                         */
    EG_CLASS_RETRY,    /* it did not happen; the same call may succeed later  */
    EG_CLASS_CALLER,   /* it did not happen; the request itself is wrong      */
    EG_CLASS_RESOURCE, /* it did not happen; memory, disc or a bound ran out  */
    EG_CLASS_UNKNOWN,  /* it may or may not have happened: ask before redoing */
    EG_CLASS_CORRUPT,  /* stored or received bytes contradict themselves      */
} eg_err_class;

#define EG_ERR_MAP(X)                                                                              \
    X(OK, 0, NONE, "ok", "success")                                                                \
    X(NO_TABLE, -1, CALLER, "no_table", "no such table")                                           \
    X(EXISTS, -2, CALLER, "exists", "already there")                                               \
    X(BAD_REQUEST, -3, CALLER, "bad_request", "the request is malformed")                          \
    X(BAD_RECORD, -4, CALLER, "bad_record", "the record does not fit its table")                   \
    X(NOT_FOUND, -5, CALLER, "not_found", "no such key, index or name")                            \
    X(CONFLICT, -6, RETRY, "conflict", "lost to a concurrent change")                              \
    X(ABORTED, -7, RETRY, "aborted", "the transaction was aborted")                                \
    X(IN_DOUBT, -8, UNKNOWN, "in_doubt", "the outcome is not known yet")                           \
    X(NO_REPLICA, -9, RETRY, "no_replica", "no copy of the data is reachable")                     \
    X(NO_MAJORITY, -10, RETRY, "no_majority", "no majority of the copies is reachable")            \
    X(BUSY, -11, RETRY, "busy", "overloaded: a queue is at its bound")                             \
    X(MEMORY, -12, RESOURCE, "memory", "out of memory, or at the memory limit")                    \
    X(DISC, -13, RESOURCE, "disc", "the disc refused")                                             \
    X(TIMEOUT, -14, UNKNOWN, "timeout", "no answer in time; the outcome is not known")             \
    X(DENIED, -15, CALLER, "denied", "not allowed")                                                \
    X(TOO_LARGE, -16, CALLER, "too_large", "larger than a bound allows")                           \
    X(NO_METHOD, -17, CALLER, "no_method", "no such method")                                       \
    X(INTERNAL, -18, UNKNOWN, "internal", "a defect in Engram")                                    \
    X(NOPROC, -19, CALLER, "not_found", "no such process")                                         \
    X(AGAIN, -20, RETRY, "busy", "more input or another turn is needed")                           \
    X(CORRUPT, -21, CORRUPT, "internal", "stored bytes contradict their checksum or form")         \
    X(CLOSED, -22, RETRY, "aborted", "the other side, or this object, is closed")

typedef enum eg_err {
#define X(name, number, cls, wire, text) EG_##name = (number),
    EG_ERR_MAP(X)
#undef X
} eg_err;

#if defined(__GNUC__)
#define EG_API __attribute__((visibility("default")))
#else
#define EG_API
#endif

EG_API const char *eg_err_name(eg_err e);      /* "EG_CONFLICT"; never NULL     */
EG_API const char *eg_err_wire(eg_err e);      /* "conflict"; never NULL        */
EG_API const char *eg_err_text(eg_err e);      /* for people; never parse it    */
EG_API eg_err_class eg_err_class_of(eg_err e); /* for programs: decide on this  */

#endif /* ENGRAM_ERROR_H */
