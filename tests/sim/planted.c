/* planted.c -- a list, and which of them is switched on. */
#include "tests/sim/planted.h"

#include <stdio.h>
#include <string.h>

struct defect {
    const char *name;
    unsigned seed; /* that found it once; where it does no more, others are tried */
    const char *what;
};

static const struct defect defects[] = {
    {"ANSWERED_BEFORE_COPIES", 10, "a write is answered before the copies have it"},
    {"ANSWERED_BY_ONE_COPY", 10, "a write is answered when the copy of who asked has it"},
    {"COVERED_UNAPPLIED", 2, "a copy counts changes as had that it could not apply"},
    {"SERVES_WHILE_FILLING", 10, "a copy that fell behind goes on answering reads"},
    {"TWO_MASTERS", 1, "each full copy takes itself for the master"},
    {"TAIL_NOT_WALKED", 4, "who catches up gets the first part of what is missing"},
    {"GRAVES_NOT_WALKED", 8, "who catches up hears nothing of deletes"},
    {"RECENT_WITHOUT_GRAVES", 2, "who was away for a short time hears nothing of deletes"},
    {"LEAF_NOT_COMPARED", 1, "of the parts in which two copies differ every other is passed over"},
    {"GRAVES_FORGOTTEN_EARLY", 22, "deletes are forgotten while a copy has not heard of them"},
    {"DELETE_WITHOUT_GRAVE", 1, "deletes leave no trace"},
    {"OLDER_OVER_NEWER", 9, "what comes last wins"},
    {"INDEX_NOT_TOLD", 1, "changes of other nodes do not reach the indexes"},
    {"DIRTY_NOT_TOLD", 1000013, "what was written at one copy stays there"},
    {"FLOOR_NOT_RAISED", 30000015, "who puts an old disc back is not asked what was deleted since"},
    {"SKEWED_IS_MASTER", 1, "a node whose clock is far from all others orders writes"},
    {"AHEAD_NOT_PASSED", 10, "a write has a stamp that is earlier than what was deleted"},
    {"ORIGIN_KEPT_OVER_A_START", 2, "a new start gives numbers out that were given out before"},
    {"FRAME_NOT_SENT_AGAIN", 62, "what was on its way when a link broke is lost"},
    {"FRAME_HANDLED_TWICE", 109, "what is sent again is handled again"},
    {"DOUBT_TAKEN_FOR_REFUSAL", 10, "a change that may have been made is said not to have been"},
    {"MINORITY_SERVES", 50000005, "a majority table's majority is one copy"},
    {"READ_WITHOUT_ROUND", 50000151,
     "a chair answers reads without asking whether its view stands"},
    {"MAJORITY_NOT_READ", 50000009, "a new chair serves before a majority has told what it has"},
    {"TOLD_BEFORE_HEARD", 60000000, "a copy is overwritten before its master has what it has"},
    {"ALL_IS_STABLE", 45, "a copy shows what others may not have yet"},
    {"CLEAR_NOT_WALKED", 60000102, "who catches up hears nothing of a table that was cleared"},
    {"COUNTER_ADDED_TWICE", 60000000, "what both sides have of a counter counts twice"},
    {"COUNTER_PART_KEPT", 60000000, "what another side has added since is not taken over"},
    {"SET_ADD_LOSES", 60000000, "an element that one side lacks was taken out there"},
    {"SET_REMOVAL_FORGOTTEN", 60000015, "an element that one side has comes back"},
    {"LIST_NOT_LEARNT", 3, "a node learns nothing of tables that were made without it"},
};

static const struct defect *chosen;

static const struct defect *find(const char *name) {
    for (size_t i = 0; i < EG_COUNTOF(defects); i++)
        if (strcmp(defects[i].name, name) == 0)
            return &defects[i];
    return NULL;
}

bool planted_choose(const char *name) {
    chosen = find(name);
    return chosen != NULL;
}

bool planted(const char *defect); /* engine/planted.h, where EG_PLANTED is defined */
bool planted(const char *defect) {
    return chosen != NULL && strcmp(chosen->name, defect) == 0;
}

void planted_print(void) {
    for (size_t i = 0; i < EG_COUNTOF(defects); i++)
        printf("%-26s %3u  %s\n", defects[i].name, defects[i].seed, defects[i].what);
}
