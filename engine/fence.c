/* fence.c -- membarrier(2), which the C library does not wrap. */
#include "engine/fence.h"

#ifdef __linux__
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static long membarrier(int command) {
    return syscall(SYS_membarrier, command, 0, 0);
}

enum fence_kind fence_kind_here(void) {
    long known = membarrier(MEMBARRIER_CMD_QUERY);

    if (known < 0 || (known & MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
        return FENCE_BOTH_PAY;
    return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 ? FENCE_RARE_PAYS
                                                                      : FENCE_BOTH_PAY;
}

void fence_heavy(enum fence_kind kind) {
    atomic_thread_fence(memory_order_seq_cst);
    if (kind == FENCE_RARE_PAYS) /* cannot fail once registered; if it did, nothing were safe */
        EG_ASSERT(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0);
}

#else

enum fence_kind fence_kind_here(void) {
    return FENCE_BOTH_PAY;
}

void fence_heavy(enum fence_kind kind) {
    (void) kind;
    atomic_thread_fence(memory_order_seq_cst);
}

#endif
