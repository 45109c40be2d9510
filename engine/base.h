/* base.h -- the few words every file of Engram uses.
 *
 * EG_ASSERT states what this process alone controls and stays on in release:
 * memory is shared by all actors, so a broken invariant stops the node and its
 * replicas go on.  What comes from wire, disc or user is validated instead.
 * EG_SLOW_ASSERT guards checks whose cost grows with the data.
 */
#ifndef ENGINE_BASE_H
#define ENGINE_BASE_H

#include "engram/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EG_MUST_USE                 __attribute__((warn_unused_result))
#define EG_PRINTF(text_at, args_at) __attribute__((format(printf, text_at, args_at)))
#define EG_NORETURN                 _Noreturn
/* What is seldom done, kept out of the callers that are often: their frames stay small. */
#define EG_SELDOM               __attribute__((noinline, cold))
#define EG_LIKELY(x)            __builtin_expect(!!(x), 1)
#define EG_UNLIKELY(x)          __builtin_expect(!!(x), 0)
#define EG_PREFETCH(p)          __builtin_prefetch((p))
#define EG_PREFETCH_TO_WRITE(p) __builtin_prefetch((p), 1)
/* For a function that does nothing but prefetch: gcc takes it for one without effects, and leaves
 * out calls of it that it has not put in line by then. */
#define EG_PREFETCHES __attribute__((always_inline))

/* Tell the core that this is a short wait for another thread. */
#if defined(__x86_64__) || defined(__i386__)
#define EG_CPU_RELAX() __builtin_ia32_pause()
#else
#define EG_CPU_RELAX()                                                                             \
    do {                                                                                           \
    } while (0)
#endif

/* The unit of false sharing and of the hash store's buckets. */
enum { EG_CACHE_LINE = 64 };

#define EG_COUNTOF(array)                  (sizeof(array) / sizeof((array)[0]))
#define EG_CONTAINER_OF(ptr, type, member) ((type *) ((char *) (ptr) -offsetof(type, member)))
#define EG_MIN(a, b)                       ((a) < (b) ? (a) : (b))
#define EG_MAX(a, b)                       ((a) > (b) ? (a) : (b))

/* Print where and what, then abort the process.  Implemented in err.c. */
EG_NORETURN void eg_assert_failed(const char *what, const char *file, int line);

#define EG_ASSERT(what)                                                                            \
    do {                                                                                           \
        if (EG_UNLIKELY(!(what)))                                                                  \
            eg_assert_failed(#what, __FILE__, __LINE__);                                           \
    } while (0)

#ifdef EG_SLOW_CHECKS
#define EG_SLOW_ASSERT(what) EG_ASSERT(what)
#else
#define EG_SLOW_ASSERT(what)                                                                       \
    do {                                                                                           \
    } while (0)
#endif

#endif /* ENGINE_BASE_H */
