/* etf.h -- Erlang's external terms as MessagePack.
 *
 *     integer, float          the number; an integer past 64 bits is refused
 *     true, false, undefined  true, false, nil
 *     another atom            string
 *     binary                  string where it is UTF-8, else binary
 *     list of characters      string (not "", which is the empty list): `characters`
 *     another list, tuple     array
 *     map                     map
 *     pid, reference, port, fun, bit string, improper list: refused
 *
 * Trust      The bytes are anybody's: sizes are checked against what there is, nesting is at
 *            most VALUE_DEPTH_MAX, and time is in proportion to the bytes.
 * Threads    One at a time. */
#ifndef TOOLS_ETF_H
#define TOOLS_ETF_H

#include "engine/err.h"
#include "tools/pack.h"

enum { ETF_VERSION = 131 }; /* the byte before a term */

struct etf {
    const uint8_t *at, *end;
    bool characters; /* a list of printable characters becomes a string */
};

/* Append the next term and go behind it.  EG_CORRUPT: there is none.  EG_BAD_RECORD: there is
 * nothing like it here; the note says what.  EG_TOO_LARGE: nested too deeply.  `out` then has
 * a part of it. */
EG_MUST_USE eg_err etf_read(struct etf *e, struct pack *out, struct err_note *note);

/* Go into the tuple that comes next.  EG_CORRUPT: it is none. */
EG_MUST_USE eg_err etf_enter_tuple(struct etf *e, uint32_t *arity, struct err_note *note);

#endif /* TOOLS_ETF_H */
