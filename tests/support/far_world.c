/* far_world.c -- nodes with some of a table each. */
#include "tests/support/far_world.h"

#include "engine/supervisor.h"
#include "query/text_partial.h"
#include "tables/table_private.h"
#include "tests/support/text_value.h"

#include <string.h>

enum { ROUNDS_MAX = 5000, STEPS_MAX = 100000, RESULT_BYTES_MAX = 32 << 20 };

static uint64_t node_of(void *user, const struct table *t, uint32_t shard) {
    struct far_site *me = user;

    (void) t;
    return me->world->owner[shard];
}

static struct view_id view(void *user) {
    return (struct view_id){((struct far_site *) user)->world->epoch, 1};
}

static uint64_t epoch(void *user) {
    return view(user).epoch;
}

static eg_err send(void *user, uint64_t to, struct value payload) {
    struct far_site *me = user;
    struct far_world *f = me->world;
    struct far_letter *l = &f->letter[f->letters];

    if (f->lose > 0) {
        f->lose--;
        return EG_NO_REPLICA;
    }
    EG_ASSERT(f->letters < FAR_LETTERS && far_read_is_ours(payload));
    *l = (struct far_letter){.from = me->id, .to = to};
    buffer_init(&l->bytes, alloc_system(), SIZE_MAX);
    EG_ASSERT(buffer_append(&l->bytes, payload.at, payload.size_bytes));
    f->letters++;
    return EG_OK;
}

static void ear_receive(struct actor *self, void *state, struct message *m) {
    struct far_site *me = *(struct far_site **) state;

    (void) self;
    me->outcome = (eg_err) (int32_t) m->tag;
    buffer_clear(&me->answer);
    EG_ASSERT(buffer_append(&me->answer, m->payload, m->size_bytes));
}

static eg_err ear_init(struct actor *self, void *state, const void *arg) {
    (void) self;
    *(struct far_site **) state = *(struct far_site *const *) arg;
    return EG_OK;
}

static void open_site(struct far_world *f, uint64_t id, const char *options, uint64_t seed) {
    static const struct actor_ops ops = {.name = "ear",
                                         .state_bytes = sizeof(struct far_site *),
                                         .init = ear_init,
                                         .receive = ear_receive};
    struct far_site *me = &f->site[id];
    struct spawn_opts spawn = {
        .ops = &ops, .arg = &me, .arg_bytes = sizeof me, .scheduler = SPAWN_ON(1)};
    static struct child_spec child; /* copied when the supervisor starts */
    struct supervisor_opts tree = {
        .label = "test", .intensity = 3, .period_ms = 1000, .children = &child, .child_count = 1};
    struct far_read_opts o = {.alloc = alloc_system(),
                              .node = node_of,
                              .view = view,
                              .epoch = epoch,
                              .send = send,
                              .user = me};
    uint8_t bytes[256];

    me->world = f;
    me->id = id;
    buffer_init(&me->answer, alloc_system(), RESULT_BYTES_MAX);
    buffer_init(&me->result, alloc_system(), RESULT_BYTES_MAX);
    table_world_open(&me->w, alloc_system(), seed); /* one seed: one id, one order of hashes */
    o.env = &me->w.st->env;
    o.runtime = me->w.st->rt;
    o.catalog = me->w.catalog;
    EG_ASSERT(actor_spawn(me->w.st->rt, NULL, &spawn, &me->ear, NULL) == EG_OK);
    EG_ASSERT(far_read_open(&me->reads, &o) == EG_OK);
    far_read_child(me->reads, &child);
    EG_ASSERT(supervisor_spawn(o.runtime, NULL, &tree, SPAWN_ON(0), NULL, &me->root) == EG_OK);
    stepper_run(me->w.st);
    EG_ASSERT(table_world_ask(&me->w, CATALOG_CREATE, "t",
                              text_value(bytes, sizeof bytes, options)) == EG_OK);
    me->table = table_world_find(&me->w, "t");
    catalog_set_partial(me->w.catalog, text_partial_ops());
    if (id != FAR_WHOLE)
        catalog_set_far(me->w.catalog, far_read_far(me->reads));
}

/* One table: what schema_sync sees to elsewhere. */
static void check_united(const struct far_world *f) {
    for (uint64_t id = 2; id <= FAR_WHOLE; id++) {
        EG_ASSERT(schema_of(f->site[id].table)->id == schema_of(f->site[1].table)->id);
        EG_ASSERT(f->site[id].table->seed == f->site[1].table->seed);
    }
}

static void set_roles(struct far_world *f, uint32_t shard) {
    for (uint64_t id = 1; id <= FAR_NODES; id++)
        atomic_store(&f->site[id].table->shard[shard].role,
                     f->owner[shard] == id ? SHARD_ALONE : SHARD_AWAY);
}

void far_open(struct far_world *f, const char *options, uint64_t seed) {
    *f = (struct far_world){.epoch = 1};
    for (uint64_t id = 1; id <= FAR_WHOLE; id++)
        open_site(f, id, options, seed);
    check_united(f);
    EG_ASSERT(table_shards(f->site[1].table) <= FAR_SHARDS_MAX);
    for (uint32_t i = 0; i < table_shards(f->site[1].table); i++) {
        f->owner[i] = 1 + (i * 7 + seed) % FAR_NODES;
        set_roles(f, i);
    }
}

void far_close(struct far_world *f) {
    while (f->letters > 0)
        buffer_fini(&f->letter[--f->letters].bytes);
    for (uint64_t id = 1; id <= FAR_WHOLE; id++) {
        struct far_site *me = &f->site[id];
        catalog_set_far(me->w.catalog, NULL);
        supervisor_stop(me->w.st->rt, me->root);
        stepper_run(me->w.st);
        far_read_close(me->reads);
        buffer_fini(&me->answer);
        buffer_fini(&me->result);
        table_world_close(&me->w);
    }
}

static void write_to(struct far_site *s, struct value record) {
    struct shard_request q = {.op = SHARD_WRITE, .attribute = SHARD_NO_ATTRIBUTE, .value = record};

    reader_enter(&s->w.reader);
    EG_ASSERT(table_world_run(&s->w, s->table, &q) == EG_OK);
    reader_exit(&s->w.reader);
}

static uint32_t shard_of_record(struct far_world *f, struct value record) {
    struct value key;
    struct key k;
    uint32_t shard;

    EG_ASSERT(array_element(record, 0, &key));
    EG_ASSERT(table_key(f->site[1].table, &k, key) == EG_OK);
    shard = table_shard_of_hash(f->site[1].table, k.hash);
    key_release(&k);
    return shard;
}

void far_write(struct far_world *f, const char *text) {
    uint8_t bytes[8192];
    struct value record = text_value(bytes, sizeof bytes, text);

    write_to(&f->site[FAR_WHOLE], record);
    write_to(&f->site[f->owner[shard_of_record(f, record)]], record);
}

void far_move(struct far_world *f, uint32_t shard, uint64_t to) {
    struct far_site *from = &f->site[f->owner[shard]];
    struct table_walk *walk;
    const struct record *rec;

    f->owner[shard] = to;
    set_roles(f, shard);
    reader_enter(&from->w.reader);
    EG_ASSERT(table_walk_open(&walk, from->table, &from->w.reader, NULL, false, false) == EG_OK);
    while ((rec = table_walk_next(walk)) != NULL)
        if (shard_of_record(f, record_value(rec)) == shard)
            write_to(&f->site[to], record_value(rec));
    reader_exit(&from->w.reader);
}

void far_next_view(struct far_world *f) {
    f->epoch++;
    for (uint64_t id = 1; id <= FAR_NODES; id++)
        far_read_view_changed(f->site[id].reads);
}

/* ---- carrying ----------------------------------------------------------------------------- */

static void deliver(struct far_world *f) {
    struct far_letter l = f->letter[0];

    memmove(f->letter, f->letter + 1, --f->letters * sizeof *f->letter);
    f->carried++;
    if (f->before != NULL)
        f->before(f);
    far_read_receive(f->site[l.to].reads, l.from,
                     (struct value){l.bytes.at, (uint32_t) l.bytes.size_bytes});
    buffer_fini(&l.bytes);
}

static void wait_a_moment(struct far_world *f, struct far_site *s) {
    stepper_run_ms(s->w.st, 10);
    f->moments++;
    if (f->moment != NULL)
        f->moment(f);
}

eg_err far_carry(struct far_world *f, struct far_site *s, eg_pid to, struct message *m) {
    eg_err err;

    s->outcome = (eg_err) 1;
    s->asked++;
    m->ref = s->asked;
    buffer_clear(&s->answer);
    err = runtime_send(s->w.st->rt, s->ear, to, m);
    if (err != EG_OK)
        return err;
    for (int round = 0; round < ROUNDS_MAX && s->outcome == (eg_err) 1; round++) {
        for (uint64_t id = 1; id <= FAR_NODES; id++)
            stepper_run(f->site[id].w.st);
        if (f->letters > 0)
            deliver(f);
        else if (s->outcome == (eg_err) 1)
            wait_a_moment(f, s);
    }
    EG_ASSERT(s->outcome != (eg_err) 1);
    return s->outcome;
}

static bool some_steps(void *context) {
    return --*(int *) context <= 0;
}

static struct value bytes_of(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

static eg_err ask_all(struct far_world *f, struct far_site *s, struct select *select) {
    struct message *m;
    eg_pid to;
    eg_err err;

    for (;;) {
        reader_enter(&s->w.reader);
        err = select_ask(select, s->table, &to, &m, &s->note);
        reader_exit(&s->w.reader);
        if (err != EG_OK)
            return err == EG_NOT_FOUND ? EG_OK : err;
        err = far_carry(f, s, to, m);
        select_answered(select, err, bytes_of(&s->answer));
    }
}

static eg_err run_page(struct far_world *f, struct far_site *s, struct select *select,
                       struct buffer *out) {
    int steps = 3;
    const struct select_pace pace = {some_steps, &steps};
    eg_err err = EG_AGAIN;

    for (int i = 0; err == EG_AGAIN; i++) {
        EG_ASSERT(i < STEPS_MAX);
        reader_enter(&s->w.reader);
        err = select_step(select, s->table, &s->w.reader, &pace, out, &s->note);
        reader_exit(&s->w.reader);
        steps = 3;
        if (err == EG_AGAIN) {
            eg_err asked = ask_all(f, s, select);
            err = asked == EG_OK ? EG_AGAIN : asked;
        }
    }
    return err;
}

static eg_err open_select(struct far_site *s, const struct select_opts *o, struct select **out) {
    eg_err err;

    s->note.text[0] = '\0';
    buffer_clear(&s->result);
    reader_enter(&s->w.reader);
    err = select_open(out, alloc_system(), s->table, &s->w.reader, o, &s->note);
    reader_exit(&s->w.reader);
    return err;
}

eg_err far_select(struct far_world *f, uint64_t id, const struct select_opts *o) {
    struct far_site *s = &f->site[id];
    struct select *select;
    eg_err err = open_select(s, o, &select);

    if (err != EG_OK)
        return err;
    err = run_page(f, s, select, &s->result);
    select_close(select);
    return err;
}

/* One array of what all pages have. */
static void join(struct buffer *pages, uint64_t count, struct buffer *out) {
    uint8_t header[5];
    struct value_writer w = value_writer_init(header, sizeof header);

    value_put_array(&w, (uint32_t) count);
    EG_ASSERT(buffer_append(out, header, w.need_bytes));
    EG_ASSERT(buffer_append(out, pages->at, pages->size_bytes));
}

eg_err far_pages(struct far_world *f, uint64_t id, const struct select_opts *o, uint32_t *pages) {
    struct far_site *s = &f->site[id];
    struct buffer page, all;
    struct select *select;
    uint64_t count = 0;
    eg_err err = open_select(s, o, &select);

    if (err != EG_OK)
        return err;
    buffer_init(&page, alloc_system(), RESULT_BYTES_MAX);
    buffer_init(&all, alloc_system(), RESULT_BYTES_MAX);
    for (*pages = 0; err == EG_OK; select_next_page(select)) {
        struct value v;
        struct value_iter it;
        buffer_clear(&page);
        err = run_page(f, s, select, &page);
        if (err != EG_OK)
            break;
        ++*pages;
        v = bytes_of(&page);
        count += value_count(v);
        EG_ASSERT(value_count(v) <= o->limit);
        it = value_iter_of(v);
        EG_ASSERT(buffer_append(&all, it.at, (size_t) (v.at + v.size_bytes - it.at)));
        if (!select_has_more(select))
            break;
        if (f->between != NULL)
            f->between(f, *pages);
    }
    if (err == EG_OK)
        join(&all, count, &s->result);
    buffer_fini(&page);
    buffer_fini(&all);
    select_close(select);
    return err;
}

eg_err far_ask(struct far_world *f, uint64_t id, const struct far_call_opts *o) {
    struct far_site *s = &f->site[id];
    struct far_call *call;
    struct message *m;
    eg_pid to;
    eg_err err;

    s->note.text[0] = '\0';
    buffer_clear(&s->result);
    reader_enter(&s->w.reader);
    err = far_call_open(&call, alloc_system(), s->table, o, &s->note);
    reader_exit(&s->w.reader);
    if (err != EG_OK)
        return err;
    do {
        reader_enter(&s->w.reader);
        err = far_call_step(call, s->table, &s->w.reader, &s->result, &s->note);
        reader_exit(&s->w.reader);
        while (err == EG_AGAIN) {
            eg_err asked;
            reader_enter(&s->w.reader);
            asked = far_call_ask(call, s->table, &to, &m);
            reader_exit(&s->w.reader);
            if (asked == EG_NOT_FOUND)
                break;
            if (asked != EG_OK)
                err = asked;
            else
                far_call_answered(call, far_carry(f, s, to, m), bytes_of(&s->answer));
        }
    } while (err == EG_AGAIN);
    far_call_close(call);
    return err;
}

/* ---- text ------------------------------------------------------------------------------------ */

static eg_err ask_for_text(struct far_world *f, struct far_site *s, struct text_answer *a) {
    struct table *table;
    struct message *m;
    eg_pid to;
    eg_err err;

    for (;;) {
        reader_enter(&s->w.reader);
        err = text_answer_ask(a, s->w.catalog, &table, &to, &m, &s->note);
        reader_exit(&s->w.reader);
        if (err != EG_OK)
            return err == EG_NOT_FOUND ? EG_AGAIN : err;
        err = far_carry(f, s, to, m);
        text_answer_answered(a, err, bytes_of(&s->answer));
    }
}

eg_err far_query(struct far_world *f, uint64_t id, const char *text, uint64_t limit) {
    struct far_site *s = &f->site[id];
    struct text_world world = {
        .alloc = alloc_system(), .catalog = s->w.catalog, .reader = &s->w.reader};
    int steps = 3;
    const struct select_pace pace = {some_steps, &steps};
    struct text_answer a;
    struct buffer all;
    uint64_t rows = 0, count = 0;
    eg_err err;

    s->note.text[0] = '\0';
    buffer_clear(&s->result);
    buffer_init(&all, alloc_system(), RESULT_BYTES_MAX);
    reader_enter(&s->w.reader);
    err = text_answer_open(&a, &world, text, strlen(text), (struct value){0}, limit, &s->note);
    reader_exit(&s->w.reader);
    if (err != EG_OK)
        return err;
    do {
        reader_enter(&s->w.reader);
        err = text_answer_step(&a, s->w.catalog, &s->w.reader, &pace, &all, &rows, &s->note);
        reader_exit(&s->w.reader);
        steps = 3;
        if (err == EG_AGAIN)
            err = ask_for_text(f, s, &a);
        if (err == EG_OK) {
            count += rows;
            EG_ASSERT(limit == 0 || rows <= limit);
            if (!text_answer_has_more(&a))
                break;
            text_answer_next_page(&a);
            err = EG_AGAIN;
        }
    } while (err == EG_AGAIN);
    text_answer_close(&a);
    if (err == EG_OK)
        join(&all, count, &s->result);
    buffer_fini(&all);
    return err;
}
