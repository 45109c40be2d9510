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
    {"ANSWERED_BEFORE_COPIES", 30, "a write is answered before the copies have it"},
    {"ANSWERED_BY_ONE_COPY", 62, "a write is answered when the copy of who asked has it"},
    {"COVERED_UNAPPLIED", 2, "a copy counts changes as had that it could not apply"},
    {"SERVES_WHILE_FILLING", 112, "a copy that fell behind goes on answering reads"},
    {"TWO_MASTERS", 1, "each full copy takes itself for the master"},
    {"TAIL_NOT_WALKED", 4, "who catches up gets the first part of what is missing"},
    {"GRAVES_NOT_WALKED", 8, "who catches up hears nothing of deletes"},
    {"RECENT_WITHOUT_GRAVES", 2, "who was away for a short time hears nothing of deletes"},
    {"LEAF_NOT_COMPARED", 1, "of the parts in which two copies differ every other is passed over"},
    {"GRAVES_FORGOTTEN_EARLY", 17, "deletes are forgotten while a copy has not heard of them"},
    {"DELETE_WITHOUT_GRAVE", 1, "deletes leave no trace"},
    {"OLDER_OVER_NEWER", 17, "what comes last wins"},
    {"INDEX_NOT_TOLD", 1, "changes of other nodes do not reach the indexes"},
    {"DIRTY_NOT_TOLD", 1000013, "what was written at one copy stays there"},
    {"PART_NOT_ASKED_ABOUT", 30000015,
     "who puts an old disc back is not asked about the parts that differ"},
    {"FLOOR_NOT_RAISED", 30000015, "who puts an old disc back is not asked what was deleted since"},
    {"SKEWED_IS_MASTER", 1, "a node whose clock is far from all others orders writes"},
    {"AHEAD_NOT_PASSED", 11, "a write has a stamp that is earlier than what was deleted"},
    {"ORIGIN_KEPT_OVER_A_START", 2, "a new start gives numbers out that were given out before"},
    {"FRAME_NOT_SENT_AGAIN", 1, "what was on its way when a link broke is lost"},
    {"FRAME_HANDLED_TWICE", 208, "what is sent again is handled again"},
    {"DOUBT_TAKEN_FOR_REFUSAL", 8, "a change that may have been made is said not to have been"},
    {"MINORITY_SERVES", 90000009, "a majority table's majority is one copy"},
    {"READ_WITHOUT_ROUND", 55000291,
     "a chair answers reads without asking whether its view stands"},
    {"SCAN_WITHOUT_ROUND", 57000037, "a scan of a majority table is told without asking anybody"},
    {"SERVES_UNHEARD", 70000140, "a new master serves before its copies have told what they have"},
    {"MAJORITY_NOT_READ", 50000009, "a new chair serves before a majority has told what it has"},
    {"TOLD_BEFORE_HEARD", 60000003, "a copy is overwritten before its master has what it has"},
    {"ALL_IS_STABLE", 66, "a copy shows what others may not have yet"},
    {"CLEAR_NOT_WALKED", 60000240, "who catches up hears nothing of a table that was cleared"},
    {"COUNTER_ADDED_TWICE", 60000015, "what both sides have of a counter counts twice"},
    {"COUNTER_PART_KEPT", 60000015, "what another side has added since is not taken over"},
    {"SET_ADD_LOSES", 60000106, "an element that one side lacks was taken out there"},
    {"SET_REMOVAL_FORGOTTEN", 65000218, "an element that one side has comes back"},
    {"DECIDED_BY_ONE_VOTE", 80000003, "a transaction is decided when one part has voted"},
    {"GONE_NOT_MADE_ANEW", 80000062, "a part that was given up elsewhere stays so"},
    {"VOTE_BEFORE_COPIES", 80000001, "a part is promised before the copies have it"},
    {"MARK_NOT_TOLD", 80000203, "copies are not told what is promised"},
    {"MARKS_NOT_WALKED", 80000031, "who catches up hears nothing of what is promised"},
    {"RESOLVED_ALONE", 80000002, "a part in doubt is given up without asking other nodes"},
    {"ABORT_AFTER_COMMIT_SEEN", 80000099, "a part in doubt is given up though another was done"},
    {"SIBLING_LOST", 70000003, "a version that one side lacks was replaced there"},
    {"SIBLING_BACK", 70000404, "a version that was replaced on one side stays"},
    {"CONTEXT_TAKES_ALL", 70000002, "a write with a context replaces what it does not name"},
    {"LOSS_UNNOTED", 70000041, "what comes from another side and loses is in no journal"},
    {"LOSS_INVENTED", 70000008, "what was replaced by who knew it is in a journal"},
    {"MERGED_UNCOVERED", 77000128,
     "a version that was merged is merged again when it is told again"},
    {"LOSS_NOTED_TWICE", 70000003, "who has lost to another side is in a journal twice"},
    {"LATER_OVER_GREATER", 77000007, "of a max or min table the later version stays"},
    {"LATER_OVER_FIRST", 77000003, "of a first table the later version stays"},
    {"ATTRIBUTES_AS_ONE", 77000058, "of all attributes those of one version stay"},
    {"ATTRIBUTE_UNNOTED", 77000205, "an attribute that loses to another side is in no journal"},
    {"CALLBACK_NOT_ASKED", 77000004, "of a callback table the later version stays"},
    {"MADE_UNNOTED", 77000004, "what a callback has not kept is in no journal"},
    {"DELETE_LOSES", 77000051, "where there is a policy, a delete loses to what it has deleted"},
    {"EXPIRY_UNTOLD", 70000000, "copies do not hear when a record is over"},
    {"EXPIRY_EARLY", 70000203, "a record is over before its time"},
    {"VERSION_NOT_COMPARED", 80000000, "a transaction is done though what it saw was never so"},
    {"PREPARED_NOT_HELD", 85000000, "what is promised to one may be promised to another"},
    {"COPY_NOT_HELD", 85000025, "a copy reads in place what is promised to change"},
    {"PRESUMED_COMMIT", 85000004, "what nobody knows of is committed"},
    {"COMMIT_NOT_REMEMBERED", 80000001,
     "who asks a second time is told that the part was given up"},
    {"SNAPSHOT_ISOLATION", 85000000, "what a writer has read and does not write is not compared"},
    {"READERS_NOT_COMPARED", 85000010, "a transaction of reads alone is not of one moment"},
    {"QUESTION_NOT_COMPARED", 87000000, "records come into what a transaction has gone through"},
    {"CHECKED_TOO_EARLY", 85000019, "what is only read is looked at before what changes is held"},
    {"PART_HALF_MADE", 90000001, "a part is committed without its last change"},
    {"LOCK_NOT_LEFT", 80000000, "a part that is committed goes on holding its keys"},
    {"READ_PAST_PREPARED", 80000001, "what may be changed in a moment is read as it is"},
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
