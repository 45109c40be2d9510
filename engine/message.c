/* message.c -- blocks for messages, and what an exit carries. */
#include "engine/actor_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Static_assert(offsetof(struct message, payload) == 48, "a header and 16 bytes make a block");
_Static_assert(sizeof(struct bond) <= BLOCK_MIN_BYTES, "a bond can become a message");
_Static_assert(sizeof(eg_exit) <= BLOCK_MIN_BYTES, "a reason fits a block");
_Static_assert(offsetof(eg_exit, text) == 8, "a reason without text fits behind a header");

/* ---- blocks -------------------------------------------------------------- */

void *block_get(struct runtime *rt, uint32_t tier) {
    struct scheduler *s = runtime_current(rt);
    struct block *b;

    EG_ASSERT(tier < BLOCK_TIERS);
    if (s == NULL || s->blocks.free[tier] == NULL)
        return alloc_get(rt->alloc, (size_t) BLOCK_MIN_BYTES << tier);
    b = s->blocks.free[tier];
    s->blocks.free[tier] = b->next;
    s->blocks.free_count[tier]--;
    return b;
}

void block_put(struct runtime *rt, void *ptr, uint32_t tier) {
    struct scheduler *s = runtime_current(rt);
    struct block *b = ptr;

    EG_ASSERT(tier < BLOCK_TIERS);
    if (s == NULL || s->blocks.free_count[tier] >= (uint32_t) BLOCKS_KEPT >> tier) {
        alloc_put(rt->alloc, ptr, (size_t) BLOCK_MIN_BYTES << tier);
        return;
    }
    b->next = s->blocks.free[tier];
    s->blocks.free[tier] = b;
    s->blocks.free_count[tier]++;
}

void block_pool_drain(struct block_pool *p, struct alloc *a) {
    for (uint32_t tier = 0; tier < BLOCK_TIERS; tier++) {
        while (p->free[tier] != NULL) {
            struct block *b = p->free[tier];
            p->free[tier] = b->next;
            alloc_put(a, b, (size_t) BLOCK_MIN_BYTES << tier);
        }
        p->free_count[tier] = 0;
    }
}

static uint32_t tier_of(size_t bytes) {
    uint32_t tier = 0;
    while (tier < BLOCK_TIERS && bytes > (size_t) BLOCK_MIN_BYTES << tier)
        tier++;
    return tier < BLOCK_TIERS ? tier : BLOCK_LARGE;
}

/* ---- messages ------------------------------------------------------------- */

struct message *message_in_block(void *block, uint32_t tier, enum message_kind kind,
                                 uint32_t size_bytes) {
    struct message *m = block;
    m->next = NULL;
    m->ref = 0;
    m->from = EG_PID_NONE;
    m->to_slot = m->to_generation = 0;
    m->size_bytes = size_bytes;
    m->tag = 0;
    m->kind = (uint8_t) kind;
    m->block = (uint8_t) tier;
    m->flags = 0;
    return m;
}

struct message *message_new(struct runtime *rt, enum message_kind kind, size_t size_bytes) {
    size_t bytes = sizeof(struct message) + size_bytes;
    uint32_t tier = tier_of(bytes);
    void *block;

    if (EG_UNLIKELY(size_bytes > MESSAGE_PAYLOAD_MAX))
        return NULL;
    block = tier == BLOCK_LARGE ? alloc_get(rt->alloc, bytes) : block_get(rt, tier);
    return block == NULL ? NULL : message_in_block(block, tier, kind, (uint32_t) size_bytes);
}

struct message *message_copy(struct runtime *rt, enum message_kind kind, const void *bytes,
                             size_t size_bytes) {
    struct message *m = message_new(rt, kind, size_bytes);
    if (m != NULL && size_bytes > 0)
        memcpy(m->payload, bytes, size_bytes);
    return m;
}

void message_free(struct runtime *rt, struct message *m) {
    if (m->block == BLOCK_LARGE)
        alloc_put(rt->alloc, m, sizeof *m + m->size_bytes);
    else
        block_put(rt, m, m->block);
}

const char *message_kind_name(enum message_kind kind) {
    static const char *const names[MESSAGE_KIND_COUNT] = {
        [MESSAGE_INFO] = "info",       [MESSAGE_CAST] = "cast",
        [MESSAGE_CALL] = "call",       [MESSAGE_REPLY] = "reply",
        [MESSAGE_EXIT] = "exit",       [MESSAGE_DOWN] = "down",
        [MESSAGE_TIMEOUT] = "timeout", [MESSAGE_START] = "start",
        [MESSAGE_LINK] = "link",       [MESSAGE_UNLINK] = "unlink",
        [MESSAGE_MONITOR] = "monitor", [MESSAGE_DEMONITOR] = "demonitor",
        [MESSAGE_KILL] = "kill",       [MESSAGE_TRACE] = "trace",
        [MESSAGE_POST] = "post",
    };
    return (unsigned) kind < MESSAGE_KIND_COUNT ? names[kind] : "unknown";
}

/* ---- exit reasons ----------------------------------------------------------- */

struct message *message_of_exit(struct runtime *rt, enum message_kind kind, const eg_exit *reason,
                                void *spare) {
    struct message *m = NULL;

    if (reason->text[0] != '\0')
        m = message_copy(rt, kind, reason, sizeof *reason);
    if (m != NULL) {
        if (spare != NULL)
            block_put(rt, spare, 0);
        return m;
    }
    if (spare == NULL)
        return message_copy(rt, kind, reason, offsetof(eg_exit, text));
    m = message_in_block(spare, 0, kind, offsetof(eg_exit, text));
    memcpy(m->payload, reason, offsetof(eg_exit, text));
    return m;
}

struct message *message_of_signal(struct runtime *rt, const eg_exit *reason, bool kills) {
    struct message *m =
        kills ? message_new(rt, MESSAGE_KILL, 0) : message_of_exit(rt, MESSAGE_EXIT, reason, NULL);
    void *spare;

    if (EG_LIKELY(m != NULL))
        return m;
    spare = reserve_take(&rt->reserve);
    EG_ASSERT(spare != NULL); /* a signal may not be lost, and so many are under way */
    return kills ? message_in_block(spare, 0, MESSAGE_KILL, 0)
                 : message_of_exit(rt, MESSAGE_EXIT, reason, spare);
}

eg_exit message_exit(const struct message *m) {
    eg_exit reason = {.kind = EG_EXIT_NORMAL};
    EG_ASSERT(m->kind == MESSAGE_EXIT || m->kind == MESSAGE_DOWN);
    memcpy(&reason, m->payload, EG_MIN(m->size_bytes, sizeof reason));
    reason.text[EG_EXIT_TEXT_BYTES - 1] = '\0';
    return reason;
}

eg_exit exit_reason(eg_exit_kind kind) {
    return (eg_exit){.kind = kind};
}

static eg_exit crash_text(int32_t code, const char *format, va_list args) {
    eg_exit reason = {.kind = EG_EXIT_CRASH, .code = code};
    vsnprintf(reason.text, sizeof reason.text, format, args);
    return reason;
}

eg_exit exit_crash(int32_t code, const char *format, ...) {
    eg_exit reason;
    va_list args;
    va_start(args, format);
    reason = crash_text(code, format, args);
    va_end(args);
    return reason;
}

void actor_crash(struct actor *self, int32_t code, const char *format, ...) {
    eg_exit reason;
    va_list args;
    va_start(args, format);
    reason = crash_text(code, format, args);
    va_end(args);
    actor_exit(self, &reason);
}

const char *exit_kind_name(eg_exit_kind kind) {
    switch (kind) {
    case EG_EXIT_NORMAL:
        return "normal";
    case EG_EXIT_SHUTDOWN:
        return "shutdown";
    case EG_EXIT_KILL:
        return "kill";
    case EG_EXIT_KILLED:
        return "killed";
    case EG_EXIT_NOPROC:
        return "noproc";
    case EG_EXIT_NOCONNECTION:
        return "noconnection";
    case EG_EXIT_CRASH:
        return "crash";
    }
    return "unknown";
}
