/* bad_machine.c -- loaded before a node's own libraries: a disc that fails or is slow, a clock that
 * is wrong.
 *
 * BAD_MACHINE names a file that holds a struct state; whoever writes there changes the machine
 * while the node runs.  See bad_machine.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct state {
    volatile int32_t sync_fails;    /* 1: with EIO, and nothing is on the disc */
    volatile int32_t sync_delay_ms; /* before each */
    volatile int32_t clock_ahead_s; /* of the wall clock; behind where it is negative */
    volatile int32_t syncs;         /* counted here */
};

static struct state *state;

__attribute__((constructor)) static void machine_open(void) {
    const char *path = getenv("BAD_MACHINE");
    int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

    if (file < 0)
        return;
    void *memory = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    state = memory == MAP_FAILED ? NULL : memory;
    close(file);
}

static int machine_sync(const char *name, int file) {
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, name);

    if (state != NULL) {
        struct timespec pause = {.tv_sec = state->sync_delay_ms / 1000,
                                 .tv_nsec = state->sync_delay_ms % 1000 * 1000000L};
        __atomic_fetch_add(&state->syncs, 1, __ATOMIC_RELAXED);
        nanosleep(&pause, NULL);
        if (state->sync_fails) {
            errno = EIO;
            return -1;
        }
    }
    return real(file);
}

int fsync(int file) {
    return machine_sync("fsync", file);
}

int fdatasync(int file) {
    return machine_sync("fdatasync", file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);

    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (state != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += state->clock_ahead_s;
    return result;
}
