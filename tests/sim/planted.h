/* planted.h -- the defects that the simulator is tried with, one at a time (engine/planted.h).
 *
 *     bin/tests/sim_planted --plant OLDER_OVER_NEWER --seeds 500     code 1: it was found
 *     tools/sim --planted                                            all of them
 *
 * Threads    One.
 */
#ifndef TESTS_SIM_PLANTED_H
#define TESTS_SIM_PLANTED_H

#include "engine/base.h"

/* False: there is no such defect. */
bool planted_choose(const char *defect);
/* One line for each: its name, a seed that finds it, what it is. */
void planted_print(void);

#endif /* TESTS_SIM_PLANTED_H */
