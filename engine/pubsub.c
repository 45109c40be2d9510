/* pubsub.c -- copies of one message to the members of a key. */
#include "engine/pubsub.h"

enum { NEAR_PIDS = 128 }; /* subscribers that fit on the stack: 1.5 KiB */

eg_err pubsub_open(struct pubsub **out, struct runtime *rt) {
    struct pubsub *ps = alloc_zero(runtime_alloc(rt), sizeof *ps);
    eg_err err;

    if (ps == NULL)
        return EG_MEMORY;
    ps->rt = rt;
    err = registry_open(&ps->topics, runtime_alloc(rt), REGISTRY_DUPLICATE,
                        env_random(runtime_env(rt)));
    if (err != EG_OK) {
        alloc_put(runtime_alloc(rt), ps, sizeof *ps);
        return err;
    }
    *out = ps;
    return EG_OK;
}

void pubsub_close(struct pubsub *ps) {
    registry_close(ps->topics);
    alloc_put(runtime_alloc(ps->rt), ps, sizeof *ps);
}

eg_err pubsub_subscribe(struct pubsub *ps, struct actor *self, const char *topic) {
    return registry_join(ps->topics, self, topic, NULL);
}

eg_err pubsub_unsubscribe(struct pubsub *ps, struct actor *self, const char *topic) {
    return registry_leave(ps->topics, self, topic);
}

static uint32_t send_copies(struct pubsub *ps, eg_pid from, const eg_pid *to, uint32_t count,
                            uint32_t tag, const void *bytes, size_t size_bytes) {
    uint32_t sent = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct message *m = message_copy(ps->rt, MESSAGE_INFO, bytes, size_bytes);
        if (m == NULL)
            continue;
        m->tag = tag;
        sent += runtime_send(ps->rt, from, to[i], m) == EG_OK;
    }
    atomic_fetch_add_explicit(&ps->delivered, sent, memory_order_relaxed);
    atomic_fetch_add_explicit(&ps->lost, count - sent, memory_order_relaxed);
    return sent;
}

eg_err pubsub_deliver(struct pubsub *ps, eg_pid from, const char *topic, uint32_t tag,
                      const void *bytes, size_t size_bytes, uint32_t *reached) {
    struct alloc *a = runtime_alloc(ps->rt);
    eg_pid near_pids[NEAR_PIDS], *to = near_pids;
    uint32_t room = NEAR_PIDS, count, sent;

    if (size_bytes > MESSAGE_PAYLOAD_MAX)
        return EG_TOO_LARGE;
    while ((count = registry_members(ps->topics, topic, to, room)) > room) {
        if (to != near_pids)
            alloc_put(a, to, room * sizeof *to);
        room = count + count / 8; /* some may come before the next look */
        to = alloc_get(a, room * sizeof *to);
        if (to == NULL)
            return EG_MEMORY;
    }
    sent = send_copies(ps, from, to, count, tag, bytes, size_bytes);
    if (to != near_pids)
        alloc_put(a, to, room * sizeof *to);
    if (reached != NULL)
        *reached = sent;
    return EG_OK;
}

eg_err pubsub_publish(struct pubsub *ps, eg_pid from, const char *topic, uint32_t tag,
                      const void *bytes, size_t size_bytes, uint32_t *reached) {
    eg_err err = pubsub_deliver(ps, from, topic, tag, bytes, size_bytes, reached);
    struct pubsub_hook *hook;

    if (err != EG_OK)
        return err;
    atomic_fetch_add_explicit(&ps->published, 1, memory_order_relaxed);
    hook = atomic_load_explicit(&ps->hook, memory_order_acquire);
    if (hook != NULL)
        hook->published(hook, from, topic, tag, bytes, size_bytes);
    return EG_OK;
}
