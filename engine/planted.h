/* planted.h -- defects that a test switches on, to show that it would find them.
 *
 *     if (!PLANTED(OLDER_OVER_NEWER) && is_older(c))
 *
 * Only in the program that the simulator is tried with (tests/sim/planted.h, EG_PLANTED), and in
 * those that are built with one of them (EG_PLANTED_ONE, its name), is this more than `false`.
 */
#ifndef ENGINE_PLANTED_H
#define ENGINE_PLANTED_H

#include <stdbool.h>

#ifdef EG_PLANTED
bool planted(const char *defect);
#define PLANTED(defect) planted(#defect)
#elif defined EG_PLANTED_ONE
#include <string.h>
#define PLANTED(defect) (strcmp(#defect, EG_PLANTED_ONE) == 0)
#else
#define PLANTED(defect) false
#endif

#endif /* ENGINE_PLANTED_H */
