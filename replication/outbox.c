/* outbox.c -- packets that are being filled, one for each node. */
#include "replication/outbox.h"

static void lock(struct outbox *b) {
    while (atomic_flag_test_and_set_explicit(&b->lock, memory_order_acquire))
        EG_CPU_RELAX();
}

static void unlock(struct outbox *b) {
    atomic_flag_clear_explicit(&b->lock, memory_order_release);
}

void outbox_init(struct outbox *b, const struct outbox_opts *o) {
    *b = (struct outbox){.o = *o};
    atomic_flag_clear(&b->lock);
    for (int i = 0; i < NODES_MAX; i++) {
        packet_writer_init(&b->box[i].writer, o->alloc);
        buffer_init(&b->box[i].packed, o->alloc, SIZE_MAX / 2);
    }
}

void outbox_fini(struct outbox *b) {
    for (int i = 0; i < NODES_MAX; i++) {
        packet_writer_fini(&b->box[i].writer);
        buffer_fini(&b->box[i].packed);
    }
}

static bool is_empty(const struct outbox_box *x) {
    return x->writer.count == 0 && x->packed.size_bytes == 0;
}

/* NULL: it has none. */
static struct outbox_box *find(struct outbox *b, uint64_t to) {
    for (int i = 0; i < NODES_MAX; i++)
        if (b->box[i].to == to)
            return &b->box[i];
    return NULL;
}

static void empty(struct outbox *b, struct outbox_box *x) {
    packet_writer_fini(&x->writer);
    buffer_fini(&x->packed);
    x->to = 0;
    atomic_fetch_sub_explicit(&b->waiting, 1, memory_order_release);
}

/* EG_BUSY, EG_MEMORY: it stays.  Where there is no link any more it is lost, as on the link. */
static eg_err hand_over(struct outbox *b, struct outbox_box *x) {
    eg_err err = x->writer.count == 0 ? EG_OK : packet_end(&x->writer, &x->packed);

    if (err == EG_OK)
        err = b->o.send(b->o.user, x->to,
                        (struct value){x->packed.at, (uint32_t) x->packed.size_bytes});
    if (err == EG_BUSY || err == EG_MEMORY)
        return err;
    empty(b, x);
    return err;
}

/* What was posted to it before goes first. */
static eg_err send_behind(struct outbox *b, uint64_t to, struct value payload) {
    struct outbox_box *x = find(b, to);
    eg_err err = x == NULL ? EG_OK : hand_over(b, x);

    return err == EG_OK ? b->o.send(b->o.user, to, payload) : err;
}

eg_err outbox_send(struct outbox *b, uint64_t to, struct value payload) {
    eg_err err;

    if (to == 0 || atomic_load_explicit(&b->waiting, memory_order_acquire) == 0)
        return b->o.send(b->o.user, to, payload);
    lock(b);
    err = send_behind(b, to, payload);
    unlock(b);
    return err;
}

/* The box for it, begun where there is none; *begun.  NULL: so many nodes there are not. */
static struct outbox_box *box_for(struct outbox *b, uint64_t to, bool *begun) {
    struct outbox_box *x = find(b, to);

    *begun = x == NULL;
    if (x != NULL)
        return x;
    x = find(b, 0);
    if (x == NULL)
        return NULL;
    x->to = to;
    atomic_fetch_add_explicit(&b->waiting, 1, memory_order_release);
    return x;
}

static eg_err post(struct outbox *b, uint64_t to, struct value payload, bool *begun) {
    struct outbox_box *x = box_for(b, to, begun);
    eg_err err;

    if (x == NULL)
        return send_behind(b, to, payload);
    if (x->packed.size_bytes != 0) /* it was not taken the last time */
        return send_behind(b, to, payload);
    err = packet_put(&x->writer, payload);
    if (err == EG_OK)
        atomic_fetch_add_explicit(&b->posted, 1, memory_order_relaxed);
    else if (is_empty(x))
        empty(b, x);
    return err;
}

eg_err outbox_post(struct outbox *b, uint64_t to, struct value payload) {
    bool begun = false;
    eg_err err;

    if (to == 0 || b->o.packs == NULL || !b->o.packs(b->o.user, to) ||
        payload.size_bytes > PACKET_MESSAGE_BYTES_MAX)
        return outbox_send(b, to, payload);
    lock(b);
    err = post(b, to, payload, &begun);
    if (err == EG_TOO_LARGE) { /* beside what is there already */
        struct outbox_box *x = find(b, to);

        err = hand_over(b, x);
        err = err == EG_OK ? post(b, to, payload, &begun) : err;
    }
    if (err == EG_BAD_REQUEST || err == EG_MEMORY)
        err = send_behind(b, to, payload); /* by itself */
    unlock(b);
    if (begun)
        b->o.wake(b->o.user);
    return err;
}

bool outbox_flush(struct outbox *b) {
    if (atomic_load_explicit(&b->waiting, memory_order_acquire) == 0)
        return false;
    lock(b);
    for (int i = 0; i < NODES_MAX; i++)
        if (b->box[i].to != 0)
            (void) hand_over(b, &b->box[i]); /* it stays, or its link is gone */
    unlock(b);
    return atomic_load_explicit(&b->waiting, memory_order_acquire) != 0;
}

void outbox_drop(struct outbox *b, uint64_t to) {
    struct outbox_box *x;

    lock(b);
    x = find(b, to);
    if (x != NULL)
        empty(b, x);
    unlock(b);
}
