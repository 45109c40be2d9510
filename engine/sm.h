/* sm.h -- a state machine that cannot take an undrawn arrow.
 *
 * A module draws its states once as a table; sm_move() refuses any arrow that
 * the table lacks.  The table is the diagram: keep them together.
 *
 * Threads    A machine belongs to one actor.
 */
#ifndef ENGINE_SM_H
#define ENGINE_SM_H

#include "engine/base.h"

#define SM_TO(state) (UINT32_C(1) << (state))

struct sm_row {
    const char *name; /* as traces and dumps print it        */
    uint32_t next;    /* set of SM_TO(); 0 marks an end state */
};

struct sm {
    const struct sm_row *rows;
    uint32_t row_count;
    uint32_t state;
};

static inline void sm_move(struct sm *m, uint32_t to) {
    EG_ASSERT(to < m->row_count);
    EG_ASSERT(m->rows[m->state].next & SM_TO(to));
    m->state = to;
}
static inline const char *sm_name(const struct sm *m) {
    return m->rows[m->state].name;
}

#endif /* ENGINE_SM_H */
