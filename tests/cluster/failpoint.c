/* failpoint.c -- what a node does at a step of a protocol, because a test has said so.
 *
 * The file that EG_FAILPOINT names says `NAME NTH ACTION`: at the NTH time that this step is come
 * to, it is removed, and the node is killed (`kill`), stands still until it is sent a SIGCONT
 * (`stop`), or the actor of this step is killed (`crash`).  Whether the file is gone tells the test
 * whether the step was come to.  With `storm` the file stays, and the actor is killed every NTH
 * time. */
#include "engine/failpoint.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the program as a whole: a test says one thing at a time. */
static _Atomic uint32_t times;
static char last[80];

static void act(const char *action, struct runtime *rt, eg_pid actor) {
    eg_exit kill_it = exit_reason(EG_EXIT_KILL);

    if (strcmp(action, "crash") == 0 || strcmp(action, "storm") == 0)
        actor_exit_send(rt, EG_PID_NONE, actor, &kill_it);
    else
        raise(strcmp(action, "stop") == 0 ? SIGSTOP : SIGKILL);
}

void failpoint(const char *name, struct runtime *rt, eg_pid actor) {
    const char *path = getenv("EG_FAILPOINT");
    char line[80] = "", wanted[48], action[16];
    FILE *file = path == NULL ? NULL : fopen(path, "r");
    unsigned nth;
    bool asked;

    if (file == NULL)
        return;
    asked = fgets(line, sizeof line, file) != NULL &&
            sscanf(line, "%47s %u %15s", wanted, &nth, action) == 3 && strcmp(wanted, name) == 0;
    fclose(file);
    if (!asked)
        return;
    if (strcmp(line, last) != 0) {
        strcpy(last, line);
        times = 0;
    }
    if (++times != nth || (strcmp(action, "storm") != 0 && unlink(path) != 0))
        return;
    last[0] = '\0';
    act(action, rt, actor);
}
