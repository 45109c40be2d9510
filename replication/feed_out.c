/* feed_out.c -- the messages of a feed, put together in its one buffer. */
#include "replication/feed_private.h"

static bool out_head(struct feed *st, const struct replica_head *h, uint32_t more,
                     size_t rest_bytes) {
    struct value_writer w;
    uint8_t *room;

    buffer_clear(&st->out);
    room = buffer_room(&st->out, REPLICA_HEAD_BYTES + rest_bytes);
    if (room == NULL)
        return false;
    w = value_writer_init(room, REPLICA_HEAD_BYTES);
    replica_wire_head(&w, h, more);
    st->out.size_bytes = w.need_bytes;
    return true;
}

/* Begin a message in `out`; room for its clocks and changes is asked for later. */
bool feed_out_begin(struct shard *s, enum replica_kind kind, uint32_t more, size_t rest_bytes) {
    struct feed *st = feed_of(s);
    struct replica_head h = {kind, st->plan.view, feed_records_id(s), s->number};

    return out_head(st, &h, more, rest_bytes);
}

bool feed_out_begin_round(struct shard *s, enum replica_kind kind, bool own, uint64_t round,
                          uint32_t more) {
    struct replica_head h = {
        .kind = kind, .table = own ? REPLICA_ROUND_OWN : REPLICA_ROUND_YOURS, .shard = s->number};

    return out_head(feed_of(s), &h, 1 + more, 0) && feed_out_u64(feed_of(s), round);
}

bool feed_out_u64(struct feed *st, uint64_t n) {
    uint8_t *room = buffer_room(&st->out, 9);
    struct value_writer w = value_writer_init(room, room == NULL ? 0 : 9);

    value_put_u64(&w, n);
    st->out.size_bytes += room == NULL ? 0 : w.need_bytes;
    return room != NULL;
}

bool feed_out_clock(struct feed *st, const struct shard_clock *c) {
    struct value_writer w = value_writer_init(NULL, 0);
    uint8_t *room;

    shard_clock_put(c, st->world->origins, &w);
    room = buffer_room(&st->out, w.need_bytes);
    if (room == NULL)
        return false;
    w = value_writer_init(room, w.need_bytes);
    shard_clock_put(c, st->world->origins, &w);
    st->out.size_bytes += w.need_bytes;
    return true;
}

/* A copy that is not counted yet keeps nobody waiting. */
static bool is_patient(const struct feed *st) {
    enum replica_kind kind = (enum replica_kind) st->out.at[1]; /* behind the array's head */

    return replica_is_patient(kind) || (kind == REPLICA_COVERED && !st->counted);
}

eg_err feed_out_send(struct feed *st, uint64_t to) {
    const struct feed_world *w = st->world;
    struct value message = {st->out.at, (uint32_t) st->out.size_bytes};
    eg_err err = (is_patient(st) ? w->post : w->send)(w->user, to, message);

    if (st->out.room_bytes > FEED_OUT_KEPT_BYTES) {
        buffer_fini(&st->out);
        buffer_init(&st->out, w->alloc, SHARD_COPY_GROUP_BYTES_MAX + REPLICA_HEAD_BYTES);
    }
    return err;
}

eg_err feed_say(struct shard *s, uint64_t to, enum replica_kind kind, uint64_t n) {
    struct feed *st = feed_of(s);
    bool bare = kind == REPLICA_ANEW;

    if (!feed_out_begin(s, kind, bare ? 0 : 1, 0) || (!bare && !feed_out_u64(st, n)))
        return EG_MEMORY;
    return feed_out_send(st, to);
}

eg_err feed_say_of(struct shard *s, uint64_t to, enum replica_kind kind, uint64_t session,
                   uint64_t n) {
    struct feed *st = feed_of(s);

    if (!feed_out_begin(s, kind, 2, 0) || !feed_out_u64(st, session) || !feed_out_u64(st, n))
        return EG_MEMORY;
    return feed_out_send(st, to);
}

bool feed_is_of(const struct feed *st, struct value_iter *it, uint64_t session) {
    uint64_t said;

    if (!replica_wire_u64(it, &said))
        return false;
    if (said != session)
        atomic_fetch_add(&st->world->late, 1);
    return said == session;
}

eg_err feed_send_follow(struct shard *s, uint64_t to, uint64_t session, bool once) {
    struct feed *st = feed_of(s);
    const struct origins *o = st->world->origins;
    uint8_t flag = once ? 0xc3 : 0xc2;
    uint64_t more = shard_copy_has_more(s) ? s->store->ops->stats(s->store).count : 0;

    if (!feed_out_begin(s, REPLICA_FOLLOW, 5, 0) || !feed_out_u64(st, session) ||
        !feed_out_clock(st, shard_copy_clock(s)) || !buffer_append(&st->out, &flag, 1) ||
        !feed_out_u64(st, origin_of(o, o->own)) || !feed_out_u64(st, more))
        return EG_MEMORY;
    return feed_out_send(st, to);
}
