/* address.h -- "HOST:PORT", "[IPV6]:PORT" and "unix:PATH", taken apart.
 *
 * Pure text: nothing is resolved or opened, so that a configuration can be
 * checked before anything happens.
 */
#ifndef ENGINE_ADDRESS_H
#define ENGINE_ADDRESS_H

#include "engine/err.h"

enum {
    ADDRESS_HOST_BYTES = 128,
    ADDRESS_PATH_BYTES = 108, /* what a sockaddr_un holds, terminator included */
};

struct address {
    bool local;                    /* a unix socket: `path`; else `host` and `port` */
    char host[ADDRESS_HOST_BYTES]; /* name or number, without brackets             */
    uint16_t port;                 /* 0: a free one                                */
    char path[ADDRESS_PATH_BYTES];
};

/* EG_BAD_REQUEST: `text` is no address; the note says why and *out is undefined. */
EG_MUST_USE eg_err address_parse(const char *text, struct address *out, struct err_note *note);

#endif /* ENGINE_ADDRESS_H */
