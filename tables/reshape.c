/* reshape.c -- one shard's records into a shard of another shape.
 *
 * What holds between two turns, from the moment a key has been passed by the walk: the new
 * shard has exactly what the old one's records of that key become. */
#include "tables/reshape.h"

#include "engine/env.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "tables/merge_reshape.h"
#include "tables/shard_merge.h"
#include "tables/shard_actor.h"
#include "tables/shard_copy.h"
#include "tables/shard_tx.h"
#include "tables/table_private.h"

#include <string.h>

enum { LOOK_AT_CLOCK_RECORDS = 32 };

/* ---- open and close ------------------------------------------------------------------- */

static size_t reshape_bytes(uint32_t parts) {
    return sizeof(struct reshape) + parts * sizeof(struct reshape_part);
}

eg_err reshape_open(struct reshape **out, struct table *from, struct table *to,
                    struct conversion *conversion) {
    struct alloc *a = from->world->o.alloc;
    struct reshape *x = alloc_zero(a, reshape_bytes(from->shard_count));

    EG_ASSERT(from->shard_count == to->shard_count && from->seed == to->seed);
    if (x == NULL) {
        conversion_fini(conversion);
        return EG_MEMORY;
    }
    x->alloc = a;
    x->from = from;
    x->to = to;
    x->conversion = *conversion;
    x->part_count = from->shard_count;
    for (uint32_t i = 0; i < x->part_count; i++) {
        struct reshape_part *p = &x->part[i];

        p->whole = x;
        p->to = &to->shard[i];
        buffer_init(&p->place, a, KEY_SIZE_MAX * 2);
        buffer_init(&p->parked, a, RESHAPE_PARKED_MAX * sizeof(struct message *));
        conversion_room_init(&p->room[0], a);
        conversion_room_init(&p->room[1], a);
    }
    *out = x;
    return EG_OK;
}

void reshape_close(struct reshape *x) {
    for (uint32_t i = 0; i < x->part_count; i++) {
        struct reshape_part *p = &x->part[i];

        EG_ASSERT(p->parked.size_bytes == 0);
        buffer_fini(&p->place);
        buffer_fini(&p->parked);
        conversion_room_fini(&p->room[0]);
        conversion_room_fini(&p->room[1]);
    }
    conversion_fini(&x->conversion);
    alloc_put(x->alloc, x, reshape_bytes(x->part_count));
}

/* ---- changing both -------------------------------------------------------------------- */

/* Is the new shard this owner's to change? */
static bool fills(const struct reshape_part *p) {
    return p != NULL && p->stage <= RESHAPE_FREEZING && p->err == EG_OK;
}

static void fail(struct reshape_part *p, eg_err err, const struct err_note *note) {
    if (p->err != EG_OK)
        return;
    p->err = err;
    p->note = *note;
}

bool reshape_holds(const struct shard *s) {
    return s->reshape != NULL && s->reshape->stage >= RESHAPE_FREEZING;
}

eg_err reshape_ready(struct shard *s, struct err_note *note) {
    struct reshape_part *p = s->reshape;
    struct err_note why = {""};
    eg_err err;

    if (reshape_holds(s))
        return EG_AGAIN;
    if (!fills(p))
        return EG_OK;
    err = shard_log_ready(&p->to->log, false, &why);
    if (err == EG_BUSY)
        return err_note(note, err, "%s", why.text);
    if (err != EG_OK)
        fail(p, err, &why);
    return EG_OK;
}

/* A turn of the new shard in the middle of one of the old. */
static struct shard_turn turn_of(const struct shard_turn *t, const struct key *k,
                                 struct err_note *note) {
    return (struct shard_turn){.shard = t->shard->reshape->to,
                               .gated = true, /* by those of the old shard's values */
                               .reader = t->reader,
                               .key = k,
                               .note = note,
                               .now_ms = t->now_ms};
}

static eg_err convert(struct reshape_part *p, uint32_t room, struct value old, struct value *fresh,
                      struct err_note *note) {
    return conversion_run(&p->whole->conversion, &p->room[room], old, fresh, note);
}

struct sibling_room {
    struct reshape_part *part;
    struct err_note *note;
};

static eg_err convert_sibling(void *context, struct value old, struct value *fresh) {
    const struct sibling_room *room = context;

    return convert(room->part, 1, old, fresh, room->note);
}

/* What stands beside the record then, in `out`. */
static eg_err convert_state(struct reshape_part *p, struct value old, struct value fresh,
                            struct value state, struct buffer *out, struct err_note *note) {
    struct sibling_room room = {p, note};
    struct merge_reshape r = {.policy = schema_of(p->whole->to)->merge,
                              .conversion = &p->whole->conversion,
                              .old = old,
                              .fresh = fresh,
                              .state = state,
                              .convert = convert_sibling,
                              .context = &room};
    eg_err err = merge_reshape_state(&r, out);

    if (err == EG_OK &&
        !shard_state_is_sound(p->to, fresh, (struct value){out->at, (uint32_t) out->size_bytes}))
        buffer_clear(out); /* it would be refused by whoever hears of it */
    return err;
}

static eg_err store(const struct shard_turn *t, const struct key *k, struct value array,
                    struct value state, struct record_version version, uint64_t expiry_ms,
                    struct err_note *note) {
    struct reshape_part *p = t->shard->reshape;
    struct shard_turn other = turn_of(t, k, note);
    struct buffer converted;
    struct value fresh;
    eg_err err = convert(p, 0, array, &fresh, note);

    if (err != EG_OK)
        return err;
    buffer_init(&converted, p->whole->alloc, 2 * (size_t) RECORD_SIZE_MAX);
    other.version = version;
    other.state = state;
    if (EG_UNLIKELY(state.size_bytes != 0) && !p->whole->conversion.same) {
        err = convert_state(p, array, fresh, state, &converted, note);
        other.state = (struct value){converted.at, (uint32_t) converted.size_bytes};
    }
    if (err == EG_OK)
        err = shard_store(&other, fresh, expiry_ms, NULL);
    buffer_fini(&converted);
    return err;
}

/* The record of the new shard that equals `array`; in a set the only one of its key. */
static const struct record *find_fresh(struct shard_turn *other, struct value array) {
    struct store *store = other->shard->store;
    struct store_cursor c;
    const struct record *rec;

    if (!store->bag)
        return store->ops->get(store, other->reader, other->key);
    store->ops->seek(store, other->reader, &c, other->key, false, false);
    while ((rec = store->ops->next(store, other->reader, &c)) != NULL &&
           value_equal(record_key(rec), other->key->value))
        if (value_equal(record_value(rec), array))
            return rec;
    return NULL;
}

/* In a bag, another of the key's records may have become the same one. */
static eg_err others_become(const struct shard_turn *t, const struct key *k, struct value fresh,
                            bool *same, struct err_note *note) {
    struct reshape_part *p = t->shard->reshape;
    struct store *old = t->shard->store;
    struct store_cursor c;
    const struct record *rec;
    struct value other;
    eg_err err = EG_OK;

    *same = false;
    if (!old->bag || p->whole->conversion.same)
        return EG_OK;
    old->ops->seek(old, t->reader, &c, k, false, false);
    while (err == EG_OK && !*same && (rec = old->ops->next(old, t->reader, &c)) != NULL &&
           value_equal(record_key(rec), k->value)) {
        err = convert(p, 1, record_value(rec), &other, note);
        *same = err == EG_OK && value_equal(other, fresh);
    }
    return err;
}

static eg_err removed(const struct shard_turn *t, const struct key *k, const struct record *rec,
                      struct err_note *note) {
    struct reshape_part *p = t->shard->reshape;
    struct shard_turn other = turn_of(t, k, note);
    struct value fresh = {0};
    const struct record *found;
    bool same = false;
    eg_err err = EG_OK;

    if (t->shard->store->bag) {
        err = convert(p, 0, record_value(rec), &fresh, note);
        if (err == EG_OK)
            err = others_become(t, k, fresh, &same, note);
    }
    if (err != EG_OK || same)
        return err;
    found = find_fresh(&other, fresh);
    return found == NULL ? EG_OK : shard_remove(&other, k, found); /* not walked to yet */
}

/* What could not be read of either store is not absent. */
static eg_err with_fault(const struct shard_turn *t, eg_err err) {
    return err == EG_OK && t->reader != NULL ? reader_take_fault(t->reader) : err;
}

void reshape_removed(const struct shard_turn *t, const struct key *k, const struct record *rec) {
    struct err_note note = {""};
    eg_err err;

    if (!fills(t->shard->reshape))
        return;
    err = with_fault(t, removed(t, k, rec, &note));
    if (err != EG_OK)
        fail(t->shard->reshape, err, &note);
}

void reshape_stored(const struct shard_turn *t, struct value array, struct value state,
                    struct record_version version, uint64_t expiry_ms,
                    const struct record *replaced) {
    struct err_note note = {""};
    eg_err err = EG_OK;

    if (!fills(t->shard->reshape))
        return;
    if (replaced != NULL && t->shard->store->bag) /* equal, and yet maybe of other bytes */
        err = removed(t, t->key, replaced, &note);
    if (err == EG_OK)
        err = store(t, t->key, array, state, version, expiry_ms, &note);
    err = with_fault(t, err);
    if (err != EG_OK)
        fail(t->shard->reshape, err, &note);
}

void reshape_cleared(const struct shard_turn *t) {
    struct err_note note = {""};
    struct shard_turn other;
    eg_err err;

    if (!fills(t->shard->reshape))
        return;
    other = turn_of(t, NULL, &note);
    err = shard_clear(&other);
    if (err != EG_OK)
        fail(t->shard->reshape, err, &note);
}

void reshape_turn_end(struct shard *s) {
    struct reshape_part *p = s->reshape;

    if (p->stage <= RESHAPE_FREEZING)
        shard_turn_end(p->to);
}

/* ---- the walk --------------------------------------------------------------------------- */

static eg_err seek_place(const struct shard_turn *t, struct store_cursor *c) {
    struct shard *s = t->shard;
    struct buffer *place = &s->reshape->place;
    struct key k;
    eg_err err;

    if (place->size_bytes == 0) {
        s->store->ops->seek(s->store, t->reader, c, NULL, false, false);
        return EG_OK;
    }
    err = key_prepare(&k, (struct value){place->at, (uint32_t) place->size_bytes}, s->table->seed,
                      s->table->world->o.alloc);
    if (err != EG_OK)
        return err;
    s->store->ops->seek(s->store, t->reader, c, &k, true, false);
    key_release(&k);
    return EG_OK;
}

static eg_err copy(const struct shard_turn *t, const struct record *rec, struct err_note *note) {
    struct record_version version = {.hlc = rec->hlc, .dot = rec->dot};
    struct key k;
    eg_err err;

    if (shard_expired(rec, t->now_ms))
        return EG_OK; /* the old shard will say that it goes */
    err = key_prepare(&k, record_key(rec), t->shard->table->seed, t->shard->table->world->o.alloc);
    if (err != EG_OK)
        return err;
    err = store(t, &k, record_value(rec), record_state(rec), version, record_expiry_ms(rec), note);
    key_release(&k);
    return err;
}

static bool keep_place(struct reshape_part *p, const struct record *last) {
    struct value key = record_key(last);

    buffer_clear(&p->place);
    return buffer_append(&p->place, key.at, key.size_bytes);
}

/* One part of it: until its time is over, and then to the end of a key. */
static eg_err walk(const struct shard_turn *t, bool *done, struct err_note *note) {
    struct shard *s = t->shard;
    struct env *env = s->table->world->o.env;
    uint64_t until_ns = env_now_ns(env) + RESHAPE_STEP_NS;
    const struct record *rec, *last = NULL;
    struct store_cursor c;
    uint32_t records = 0;
    bool over = false;
    eg_err err = seek_place(t, &c);

    *done = false;
    if (err != EG_OK)
        return err;
    while ((rec = s->store->ops->next(s->store, t->reader, &c)) != NULL) {
        if (over && !value_equal(record_key(last), record_key(rec)))
            break;
        err = copy(t, rec, note);
        if (err != EG_OK)
            break;
        last = rec;
        if (++records % LOOK_AT_CLOCK_RECORDS == 0)
            over = records >= RESHAPE_STEP_RECORDS || env_now_ns(env) >= until_ns;
    }
    if (err == EG_OK)
        err = reader_take_fault(t->reader);
    /* A bag that stopped in the middle of a key begins that part again. */
    if (last != NULL && !(err != EG_OK && s->store->bag) && !keep_place(s->reshape, last))
        err = EG_MEMORY;
    *done = err == EG_OK && rec == NULL;
    return err;
}

/* Nobody waits for the disc in a turn: the next part comes when it has caught up. */
static bool must_wait(const struct reshape_part *p) {
    const struct shard_log *l = &p->to->log;
    return l->in_flight && l->batch[l->filling].used_bytes > RESHAPE_LOG_BYTES_MAX;
}

void reshape_step(struct actor *self, struct shard *s) {
    struct reshape_part *p = s->reshape;
    struct world *w = s->table->world;
    struct err_note note = {""};
    struct shard_turn t = {.shard = s, .now_ms = (uint64_t) env_wall_ms(w->o.env)};
    bool done = false;
    eg_err err;

    if (!fills(p) || p->stage != RESHAPE_FILLING)
        return;
    p->paused = must_wait(p);
    if (p->paused)
        return;
    t.reader = &w->readers[scheduler_index(actor_scheduler(self))];
    err = shard_log_ready(&p->to->log, false, &note);
    if (err == EG_OK)
        err = walk(&t, &done, &note);
    reader_reset(t.reader);
    if (err == EG_BUSY)
        return; /* the disc is behind: the tick goes on */
    if (err != EG_OK)
        fail(p, err, &note);
    else if (done)
        p->stage = RESHAPE_FILLED;
    else
        shard_next_step(self);
}

void reshape_tick(struct actor *self, struct shard *s) {
    struct reshape_part *p = s->reshape;

    if (p == NULL || !p->to->shadow)
        return;
    shard_log_retry(&p->to->log, self);
    reshape_step(self, s);
}

/* ---- stages ------------------------------------------------------------------------------ */

static void answer(struct actor *self, struct reshape_part *p) {
    static const uint8_t yes = 0xc3;
    const void *at = p->err == EG_OK ? (const void *) &yes : p->note.text;
    size_t size_bytes = p->err == EG_OK ? 1 : strlen(p->note.text);

    if (p->call.open)
        actor_reply_bytes(self, p->call.from, p->call.ref, p->err, at, size_bytes);
    p->call.open = false;
}

static void set_pid(struct shard *to, eg_pid pid) {
    atomic_store(&to->pid, (uint64_t) pid.slot << 32 | pid.generation);
}

/* The new shard's log hears of the disc through this actor. */
static void begin(struct actor *self, struct shard *s, const struct message *m) {
    struct shard_request q = shard_request_unpack(m->payload);
    struct reshape *x;

    if (s->reshape == NULL) {
        memcpy(&x, q.value.at, sizeof x);
        s->reshape = &x->part[s->number];
        s->reshape->to->shadow = true;
        set_pid(s->reshape->to, actor_pid(self));
    }
    s->reshape->call = (struct shard_call){true, m->from, m->ref};
    reshape_step(self, s);
}

/* The last words to the new shard before it is its own actor's. */
static void let_go(struct shard *s) {
    struct shard *to = s->reshape->to;

    to->sequence = EG_MAX(to->sequence, s->sequence);
    to->hlc = EG_MAX(to->hlc, s->hlc);
    to->shadow = false;
    set_pid(to, EG_PID_NONE);
}

static void try_freeze(struct shard *s) {
    struct reshape_part *p = s->reshape;
    struct err_note note = {""};

    shard_tx_drop_locks(s);
    if (shard_tx_is_prepared(s))
        return;
    if (p->err == EG_OK && (s->log.refused || p->to->log.refused))
        fail(p, err_note(&note, EG_DISC, "the disc refused"), &note);
    if (p->err == EG_OK && s->copy != NULL) {
        eg_err err = shard_copy_move(s, p->to);
        if (err != EG_OK)
            fail(p, err, &note);
        shard_turn_end(p->to);
    }
    if (p->err != EG_OK || !shard_log_idle(&s->log) || !shard_log_idle(&p->to->log))
        return;
    let_go(s);
    p->stage = RESHAPE_FROZEN;
}

static struct message **parked_of(struct reshape_part *p, size_t *count) {
    *count = p->parked.size_bytes / sizeof(struct message *);
    return (struct message **) (void *) p->parked.at;
}

/* The old table goes on as if nothing had been. */
static void try_abandon(struct actor *self, struct shard *s) {
    struct reshape_part *p = s->reshape;
    struct shard_log *l = &p->to->log;
    struct message **parked;
    size_t count;

    if (l->in_flight && !l->refused)
        return;
    if (s->copy == NULL && p->to->copy != NULL && shard_copy_move(p->to, s) != EG_OK)
        return; /* no memory: the tick tries again */
    if (p->to->shadow)
        let_go(s);
    s->reshape = NULL;
    parked = parked_of(p, &count);
    for (size_t i = 0; i < count; i++) {
        if (shard_run_call(self, s, parked[i]))
            message_free(actor_runtime(self), parked[i]);
    }
    buffer_clear(&p->parked);
    p->err = EG_OK;
    answer(self, p);
}

void reshape_look(struct actor *self, struct shard *s) {
    struct reshape_part *p = s->reshape;

    if (p == NULL)
        return;
    if (p->stage == RESHAPE_FREEZING)
        try_freeze(s);
    if (p->stage == RESHAPE_ABANDONED)
        try_abandon(self, s);
    else if (p->stage == RESHAPE_FILLED || p->stage == RESHAPE_FROZEN || p->err != EG_OK)
        answer(self, p);
}

void reshape_log_done(struct actor *self, struct shard *s) {
    struct reshape_part *p = s->reshape;

    if (p == NULL || !p->to->shadow)
        return;
    shard_log_done(&p->to->log, self);
    if (p->paused)
        reshape_step(self, s);
}

void reshape_resume(struct actor *self, struct shard *s) {
    if (s->reshape == NULL || !s->reshape->to->shadow)
        return;
    set_pid(s->reshape->to, actor_pid(self));
    shard_log_done(&s->reshape->to->log, self);
    shard_next_step(self);
}

/* ---- calls that came too late -------------------------------------------------------------- */

/* The records of a write_many, each converted. */
static eg_err convert_all(struct reshape_part *p, struct value *records, struct buffer *out,
                          struct err_note *note) {
    enum { HEADER_BYTES = 5 };
    struct value_iter it = value_iter_of(*records);
    uint8_t *room = buffer_room(out, HEADER_BYTES);
    struct value_writer w = value_writer_init(room, room == NULL ? 0 : HEADER_BYTES);
    struct value old, fresh;
    eg_err err = room == NULL ? EG_MEMORY : EG_OK;

    value_put_array(&w, value_count(*records));
    out->size_bytes += w.need_bytes;
    while (err == EG_OK && value_iter_next(&it, &old)) {
        err = convert(p, 0, old, &fresh, note);
        if (err == EG_OK && !buffer_append(out, fresh.at, fresh.size_bytes))
            err = EG_MEMORY;
    }
    *records = (struct value){out->at, (uint32_t) out->size_bytes};
    return err;
}

/* The counter's attribute is where the new shape has the one of that name. */
static eg_err move_attribute(const struct reshape_part *p, uint16_t *attribute,
                             struct err_note *note) {
    const struct schema_name *name = &schema_of(p->whole->from)->attributes[*attribute];
    int position = schema_attribute(schema_of(p->whole->to), name->text, name->size_bytes);

    if (position < 0)
        return err_note(note, EG_BAD_REQUEST, "no attribute %s", name->text);
    *attribute = (uint16_t) position;
    return EG_OK;
}

/* What the request asks of the new shape. */
static eg_err translate(struct reshape_part *p, struct shard_request *q, struct buffer *out,
                        struct err_note *note) {
    switch (q->op) {
    case SHARD_WRITE:
    case SHARD_INSERT_NEW:
    case SHARD_DELETE_OBJECT:
    case SHARD_REPLACE_SEEN: /* copies keep their versions */
    case SHARD_REMOVE_SEEN:
    case SHARD_REPLACE_SIBLINGS:
        return convert(p, 0, q->value, &q->value, note);
    case SHARD_WRITE_MANY:
        return convert_all(p, &q->value, out, note);
    case SHARD_COUNTER:
        return move_attribute(p, &q->attribute, note);
    default:
        return EG_OK;
    }
}

static eg_err send_translated(struct actor *self, struct reshape_part *p, const struct message *m,
                              struct buffer *out, struct err_note *note) {
    struct shard_request q = shard_request_unpack(m->payload);
    struct message *fresh;
    eg_err err = translate(p, &q, out, note);

    if (err != EG_OK)
        return err;
    fresh = message_new(actor_runtime(self), MESSAGE_CALL, shard_request_size(&q));
    if (fresh == NULL)
        return EG_MEMORY;
    fresh->tag = q.op;
    fresh->ref = m->ref;
    shard_request_pack(&q, fresh->payload);
    return runtime_send(actor_runtime(self), m->from, shard_pid(p->to), fresh);
}

/* The new shard's actor answers the caller itself. */
static void send_on(struct actor *self, struct reshape_part *p, const struct message *m) {
    struct err_note note = {""};
    struct buffer out;
    eg_err err;

    buffer_init(&out, p->whole->alloc, MESSAGE_PAYLOAD_MAX);
    err = send_translated(self, p, m, &out, &note);
    buffer_fini(&out);
    if (err != EG_OK)
        actor_reply_bytes(self, m->from, m->ref, err, note.text, strlen(note.text));
}

/* False: there is no room, and it is answered. */
static bool park(struct actor *self, struct reshape_part *p, struct message *m) {
    if (buffer_append(&p->parked, &m, sizeof m))
        return true;
    actor_reply_bytes(self, m->from, m->ref, EG_BUSY, NULL, 0);
    return false;
}

/* Parts that were prepared before end here. */
static bool ends_a_part(const struct shard *s, enum shard_op op) {
    return s->reshape->stage == RESHAPE_FREEZING && shard_tx_is_prepared(s) &&
           (op == SHARD_TX_COMMIT || op == SHARD_TX_ABORT || op == SHARD_TX_STATUS);
}

/* What it has seen is of the old shape. */
static bool refuse_transaction(struct actor *self, const struct message *m) {
    static const char why[] = "the table was given another shape meanwhile";

    if (!shard_op_transacts((enum shard_op) m->tag))
        return false;
    actor_reply_bytes(self, m->from, m->ref, EG_CONFLICT, why, strlen(why));
    return true;
}

bool reshape_takes(struct actor *self, struct shard *s, struct message *m) {
    if (!reshape_holds(s))
        return false;
    if (ends_a_part(s, (enum shard_op) m->tag))
        return false;
    if (refuse_transaction(self, m))
        return true;
    if (s->reshape->stage == RESHAPE_MOVED)
        send_on(self, s->reshape, m);
    else if (park(self, s->reshape, m))
        actor_keep(self, m);
    return true;
}

bool reshape_takes_kept(struct actor *self, struct shard *s, struct message *m) {
    if (!reshape_holds(s) || ends_a_part(s, (enum shard_op) m->tag))
        return false;
    if (!refuse_transaction(self, m) && s->reshape->stage != RESHAPE_MOVED &&
        park(self, s->reshape, m))
        return true;
    if (!shard_op_transacts((enum shard_op) m->tag) && s->reshape->stage == RESHAPE_MOVED)
        send_on(self, s->reshape, m);
    message_free(actor_runtime(self), m);
    return true;
}

static void move_on(struct actor *self, struct reshape_part *p) {
    size_t count;
    struct message **parked = parked_of(p, &count);

    p->stage = RESHAPE_MOVED;
    for (size_t i = 0; i < count; i++) {
        send_on(self, p, parked[i]);
        message_free(actor_runtime(self), parked[i]);
    }
    buffer_fini(&p->parked);
    answer(self, p);
}

/* Each may be asked again, by a catalog whose predecessor was killed. */
void reshape_receive(struct actor *self, struct shard *s, const struct message *m) {
    struct reshape_part *p = s->reshape;

    if (m->tag == SHARD_RESHAPE) {
        begin(self, s, m);
        return;
    }
    if (p == NULL) { /* abandoned before it began, or twice */
        static const uint8_t yes = 0xc3;
        actor_reply_bytes(self, m->from, m->ref, EG_OK, &yes, 1);
        return;
    }
    p->call = (struct shard_call){true, m->from, m->ref};
    if (m->tag == SHARD_FREEZE && p->err == EG_OK && p->stage < RESHAPE_FREEZING)
        p->stage = RESHAPE_FREEZING;
    else if (m->tag == SHARD_MOVE)
        move_on(self, p);
    else if (m->tag == SHARD_ABANDON)
        p->stage = RESHAPE_ABANDONED;
}
