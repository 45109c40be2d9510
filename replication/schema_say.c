/* schema_say.c -- what nodes tell each other of their tables, and the answer to a caller. */
#include "replication/schema_sync_private.h"

#include <string.h>

static uint8_t *room_for(struct schema_sync *s, size_t bytes) {
    buffer_clear(&s->out);
    return buffer_room(&s->out, bytes);
}

static eg_err send_to(struct schema_sync *s, uint64_t to, const struct value_writer *w) {
    EG_ASSERT(!w->overflow);
    return s->o.send(s->o.user, to, (struct value){s->out.at, (uint32_t) w->need_bytes});
}

/* Who has the name that it was to have comes first: what comes after it fits in. */
static void put_entries(const struct schema_sync *s, bool plain, struct value_writer *w) {
    for (struct list_node *n = s->list.entries.next; n != &s->list.entries; n = n->next) {
        const struct schema_entry *e = EG_CONTAINER_OF(n, struct schema_entry, node);
        if ((strcmp(e->name.text, e->asked.text) == 0) == plain)
            schema_entry_put(e, w);
    }
}

static void put_list(const struct schema_sync *s, bool want, struct value_writer *w) {
    uint32_t count = 0;

    for (struct list_node *n = s->list.entries.next; n != &s->list.entries; n = n->next)
        count++;
    value_put_array(w, 5);
    value_put_u64(w, LIST);
    value_put_bool(w, want);
    value_put_u64(w, s->view->id.epoch);
    value_put_u64(w, s->view->id.hash);
    value_put_array(w, count);
    put_entries(s, true, w);
    put_entries(s, false, w);
}

void schema_say_list(struct schema_sync *s, uint64_t to, bool want) {
    struct value_writer w = value_writer_init(NULL, 0);
    size_t need_bytes;

    put_list(s, want, &w);
    need_bytes = w.need_bytes;
    if (room_for(s, need_bytes) == NULL)
        return; /* the tick asks again */
    w = value_writer_init(s->out.at, need_bytes);
    put_list(s, want, &w);
    if (send_to(s, to, &w) != EG_OK)
        s->again = true;
}

void schema_say_sum(struct schema_sync *s, uint64_t to, bool want) {
    uint8_t room[32];
    struct value_writer w = value_writer_init(room, sizeof room);
    uint64_t sum;

    if (s->o.sums == NULL || !s->o.sums(s->o.user, to) ||
        schema_list_sum(&s->list, s->o.secret, &sum) != EG_OK) {
        schema_say_list(s, to, want);
        return;
    }
    value_put_array(&w, 5);
    value_put_u64(&w, SUM);
    value_put_bool(&w, want);
    value_put_u64(&w, s->view->id.epoch);
    value_put_u64(&w, s->view->id.hash);
    value_put_u64(&w, sum);
    EG_ASSERT(!w.overflow);
    if (s->o.send(s->o.user, to, (struct value){room, (uint32_t) w.need_bytes}) != EG_OK)
        s->again = true;
}

static void put_apply(uint64_t number, const struct schema_entry *e, struct value_writer *w) {
    value_put_array(w, 3);
    value_put_u64(w, APPLY);
    value_put_u64(w, number);
    schema_entry_put(e, w);
}

void schema_say_apply(struct schema_sync *s, uint64_t to, uint64_t number,
                      const struct schema_entry *e) {
    struct value_writer w = value_writer_init(NULL, 0);
    size_t need_bytes;

    put_apply(number, e, &w);
    need_bytes = w.need_bytes;
    if (room_for(s, need_bytes) == NULL)
        return;
    w = value_writer_init(s->out.at, need_bytes);
    put_apply(number, e, &w);
    (void) send_to(s, to, &w); /* the tick says it again */
}

void schema_say_applied(struct schema_sync *s, uint64_t to, uint64_t number, eg_err err) {
    uint8_t room[32];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_array(&w, 3);
    value_put_u64(&w, APPLIED);
    value_put_u64(&w, number);
    value_put_i64(&w, err);
    (void) s->o.send(s->o.user, to,
                     (struct value){room, (uint32_t) w.need_bytes}); /* asked again */
}

void schema_say_answer(struct schema_sync *s, uint64_t to, uint64_t number, eg_err err,
                       const char *text) {
    uint8_t room[SCHEMA_TEXT_BYTES + 32];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_array(&w, 4);
    value_put_u64(&w, ANSWER);
    value_put_u64(&w, number);
    value_put_i64(&w, err);
    value_put_string(&w, text, EG_MIN(strlen(text), (size_t) SCHEMA_TEXT_BYTES));
    (void) s->o.send(s->o.user, to,
                     (struct value){room, (uint32_t) w.need_bytes}); /* it gives up */
}

void schema_say_reply(struct schema_sync *s, eg_pid to, eg_ref ref, eg_err err, const char *text) {
    static const uint8_t yes = 0xc3;
    struct message *m = err == EG_OK
                            ? message_copy(s->o.runtime, MESSAGE_REPLY, &yes, 1)
                            : message_copy(s->o.runtime, MESSAGE_REPLY, text, strlen(text));

    if (m == NULL)
        return; /* the caller's own patience ends it */
    m->tag = (uint32_t) err;
    m->ref = ref;
    (void) runtime_send(s->o.runtime, EG_PID_NONE, to, m); /* the caller may be gone */
}

static void put_ask(const struct schema_asked *c, struct value_writer *w) {
    const struct catalog_request *q = &c->request;

    value_put_array(w, 5);
    value_put_u64(w, ASK);
    value_put_u64(w, c->number);
    value_put_u64(w, q->op);
    value_put_string(w, (const char *) q->name.at, q->name.size_bytes);
    if (q->value.size_bytes != 0)
        value_put_raw(w, q->value);
    else
        value_put_nil(w);
}

eg_err schema_say_ask(struct schema_sync *s, uint64_t to, const struct schema_asked *c) {
    struct value_writer w = value_writer_init(NULL, 0);
    size_t need_bytes;

    put_ask(c, &w);
    need_bytes = w.need_bytes;
    if (room_for(s, need_bytes) == NULL)
        return EG_MEMORY;
    w = value_writer_init(s->out.at, need_bytes);
    put_ask(c, &w);
    return send_to(s, to, &w);
}
