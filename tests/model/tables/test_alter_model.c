/* Tables whose shape changes under random writes, against an array of what was written.
 *
 * A change is asked for and not waited for: while it is under way records are written,
 * counted and removed, and each must be there afterwards in the new shape, or in the old
 * one where the change was refused.  Records are [key, variant, tag] or [key, variant, tag,
 * extra]; the twin knows which variants of a key there are: of a set at most one. */
#include "tables/table_private.h"
#include "tables/table_walk.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <string.h>

enum {
    KEYS = 2500, /* walks take several steps */
    VARIANTS = 4,
    TAGS = 7,
    CHANGES = 40,
    RESTART_EVERY = 7,
    REF = 4711,
};

struct model {
    struct table_world w;
    eg_pid asker; /* who asks for changes while the world writes, and keeps the answer */
    bool answered;
    eg_err answer;
    struct rng rng;
    uint64_t seed;
    enum table_type type;
    enum table_storage storage;
    bool wide; /* there is an `extra` */
    uint64_t count;
    uint64_t meanwhile; /* writes while a change was under way */
    bool there[KEYS][VARIANTS];
};

struct made {
    uint8_t at[1024];
    struct value_writer w;
};

#define AGREE(m, condition)                                                                        \
    cr_assert(condition, "EG_SEED=%llu, type %d: %s", (unsigned long long) (m)->seed, (m)->type,   \
              (m)->w.note.text)

static struct value made_value(const struct made *b) {
    cr_assert(!b->w.overflow);
    return (struct value){b->at, (uint32_t) b->w.need_bytes};
}

static void made_begin(struct made *b) {
    b->w = value_writer_init(b->at, sizeof b->at);
}

static void put_record(struct model *m, struct value_writer *w, uint32_t key, uint32_t variant) {
    value_put_array(w, 3 + m->wide);
    value_put_u64(w, key);
    value_put_u64(w, variant);
    value_put_u64(w, key % TAGS);
    if (m->wide)
        value_put_text(w, "new");
}

/* ---- the twin ------------------------------------------------------------------ */

static void twin_delete(struct model *m, uint32_t key) {
    for (uint32_t v = 0; v < VARIANTS; v++) {
        m->count -= m->there[key][v];
        m->there[key][v] = false;
    }
}

static void twin_write(struct model *m, uint32_t key, uint32_t variant) {
    if (m->type != TABLE_BAG)
        twin_delete(m, key);
    m->count += !m->there[key][variant];
    m->there[key][variant] = true;
}

static struct table *table_of(struct model *m) {
    struct table *t = table_world_find(&m->w, "t");
    cr_assert_not_null(t);
    return t;
}

static uint64_t number_at(struct value record, uint32_t position) {
    struct value v;
    uint64_t n;
    cr_assert(array_element(record, position, &v) && value_get_u64(v, &n));
    return n;
}

/* Every record is in the twin, in the shape of now, and there are as many; the index finds
 * those of each tag. */
static void compare(struct model *m) {
    uint64_t count = 0, tagged = 0;
    struct table_walk *walk;
    const struct record *rec;
    struct table *t;

    reader_enter(&m->w.reader);
    t = table_of(m);
    table_world_check(&m->w, t);
    AGREE(m, table_schema(t)->storage == m->storage);
    AGREE(m, table_schema(t)->attribute_count == 3u + m->wide);
    AGREE(m, table_walk_open(&walk, t, &m->w.reader, NULL, false, false) == EG_OK);
    while ((rec = table_walk_next(walk)) != NULL) {
        struct value record = record_value(rec);
        AGREE(m, value_count(record) == 3u + m->wide);
        AGREE(m, number_at(record, 2) == number_at(record, 0) % TAGS);
        AGREE(m, m->there[number_at(record, 0)][number_at(record, 1)]);
        count++;
    }
    AGREE(m, count == m->count);
    AGREE(m, table_size(t, &m->w.reader) == m->count);
    for (uint8_t tag = 0; tag < TAGS; tag++) {
        buffer_clear(&m->w.result);
        AGREE(m, table_index_read(t, &m->w.reader, "tag", 3, (struct value){&tag, 1}, &m->w.result,
                                  NULL) == EG_OK);
        tagged += value_count((struct value){m->w.result.at, (uint32_t) m->w.result.size_bytes});
    }
    AGREE(m, tagged == m->count);
    reader_exit(&m->w.reader);
}

/* ---- writes ----------------------------------------------------------------------- */

/* Of the width of now: whoever writes the old one a moment too late is told. */
static void write_something(struct model *m) {
    uint32_t key = (uint32_t) rng_below(&m->rng, KEYS);
    uint32_t variant = (uint32_t) rng_below(&m->rng, VARIANTS);
    struct shard_request q = {.op = SHARD_WRITE};
    struct made b;
    bool wide = m->wide;
    struct table *t;
    eg_err err;

    reader_enter(&m->w.reader);
    t = table_of(m);
    m->wide = table_schema(t)->attribute_count == 4;
    made_begin(&b);
    if (rng_one_in(&m->rng, 3)) {
        q.op = SHARD_DELETE;
        value_put_u64(&b.w, key);
        q.key = made_value(&b);
    } else {
        q.op = rng_one_in(&m->rng, 3) ? SHARD_DELETE_OBJECT : SHARD_WRITE;
        put_record(m, &b.w, key, variant);
        q.value = made_value(&b);
    }
    err = table_world_run(&m->w, t, &q);
    reader_exit(&m->w.reader);
    m->wide = wide;
    AGREE(m, err == EG_OK);
    if (q.op == SHARD_WRITE) {
        twin_write(m, key, variant);
    } else if (q.op == SHARD_DELETE) {
        twin_delete(m, key);
    } else if (m->there[key][variant]) {
        m->there[key][variant] = false;
        m->count--;
    }
}

static void fill(struct model *m) {
    for (uint32_t key = 0; key < KEYS; key++) {
        struct shard_request q = {.op = SHARD_WRITE};
        struct made b;

        made_begin(&b);
        put_record(m, &b.w, key, key % VARIANTS);
        q.value = made_value(&b);
        reader_enter(&m->w.reader);
        AGREE(m, table_world_run(&m->w, table_of(m), &q) == EG_OK);
        reader_exit(&m->w.reader);
        twin_write(m, key, key % VARIANTS);
    }
}

/* ---- changes ------------------------------------------------------------------------ */

static void put_text_array(struct value_writer *w, uint32_t count, const char *const *texts) {
    value_put_array(w, count);
    for (uint32_t i = 0; i < count; i++)
        value_put_text(w, texts[i]);
}

/* Each record as it is, or (which is refused) something that is none. */
static void put_specification(struct model *m, struct value_writer *w, bool fails) {
    static const char *const names[] = {"$1", "$2", "$3", "$4"};

    value_put_array(w, 1);
    value_put_array(w, 3);
    put_text_array(w, 3 + m->wide, names);
    value_put_array(w, 0);
    value_put_array(w, 1);
    if (fails) {
        value_put_text(w, "$2");
        return;
    }
    value_put_array(w, 1);
    put_text_array(w, 3 + m->wide, names);
}

struct wanted {
    eg_err err;
    bool wide;
    enum table_storage storage;
};

static struct wanted put_change(struct model *m, struct value_writer *w) {
    static const char *const storages[] = {"ram", "disc", "disc_only"};
    struct wanted want = {EG_OK, m->wide, m->storage};

    switch (rng_below(&m->rng, 4)) {
    case 0:
        value_put_array(w, m->wide ? 2 : 3);
        value_put_text(w, m->wide ? "drop_attribute" : "add_attribute");
        value_put_text(w, "extra");
        if (!m->wide)
            value_put_text(w, "new");
        want.wide = !m->wide;
        break;
    case 1:
        value_put_array(w, 3);
        value_put_text(w, "transform_table");
        put_specification(m, w, false);
        value_put_nil(w);
        break;
    case 2:
        value_put_array(w, 3);
        value_put_text(w, "transform_table");
        put_specification(m, w, true);
        value_put_nil(w);
        want.err = EG_BAD_REQUEST;
        break;
    default:
        want.storage = (enum table_storage) rng_below(&m->rng, 3);
        value_put_array(w, 2);
        value_put_text(w, "change_storage");
        value_put_text(w, storages[want.storage]);
        break;
    }
    return want;
}

static eg_err asker_init(struct actor *self, void *state, const void *arg) {
    (void) self;
    *(struct model **) state = (struct model *) arg;
    return EG_OK;
}

static void asker_receive(struct actor *self, void *state, struct message *message) {
    struct model *m = *(struct model **) state;

    (void) self;
    m->answered = true;
    m->answer = (eg_err) message->tag;
}

static void open_asker(struct model *m) {
    static const struct actor_ops ops = {.name = "asker",
                                         .state_bytes = sizeof(struct model *),
                                         .init = asker_init,
                                         .receive = asker_receive};
    const struct spawn_opts o = {.ops = &ops, .arg = m, .scheduler = SPAWN_ON(1)};

    cr_assert_eq(actor_spawn(m->w.st->rt, NULL, &o, &m->asker, NULL), EG_OK);
}

static void ask_change(struct model *m, struct value change) {
    struct catalog_request q = {
        .op = CATALOG_ALTER, .name = {(const uint8_t *) "t", 1}, .value = change};
    struct message *call;
    eg_pid to;

    cr_assert_eq(catalog_message(m->w.catalog, &q, &to, &call), EG_OK);
    call->ref = REF;
    m->answered = false;
    cr_assert_eq(runtime_send(m->w.st->rt, m->asker, to, call), EG_OK);
}

static void change(struct model *m) {
    struct wanted want;
    struct made b;

    made_begin(&b);
    want = put_change(m, &b.w);
    ask_change(m, made_value(&b));
    while (!m->answered) {
        write_something(m);
        m->meanwhile++;
        if (rng_one_in(&m->rng, 8))
            stepper_run_ms(m->w.st, 1);
    }
    AGREE(m, m->answer == want.err);
    if (m->answer != EG_OK)
        return;
    m->wide = want.wide;
    m->storage = want.storage;
}

static void restart(struct model *m) {
    if (m->storage == STORAGE_RAM)
        return;
    AGREE(m, table_world_stop(&m->w) == EG_OK);
    disc_twin_restart(m->w.pump.twin);
    AGREE(m, table_world_start(&m->w) == EG_OK);
}

static void create(struct model *m) {
    static const char *const types[] = {"set", "ordered_set", "bag"};
    struct made b;

    made_begin(&b);
    value_put_map(&b.w, 4);
    value_put_text(&b.w, "type");
    value_put_text(&b.w, types[m->type]);
    value_put_text(&b.w, "attributes");
    put_text_array(&b.w, 3, (const char *const[]){"key", "variant", "tag"});
    value_put_text(&b.w, "index");
    put_text_array(&b.w, 1, (const char *const[]){"tag"});
    value_put_text(&b.w, "shards");
    value_put_u64(&b.w, 1 + rng_below(&m->rng, 3));
    AGREE(m, table_world_ask(&m->w, CATALOG_CREATE, "t", made_value(&b)) == EG_OK);
}

static void live(enum table_type type, uint64_t seed) {
    static struct model m;
    struct fail_alloc memory = fail_alloc_after(INT_MAX);

    m = (struct model){.seed = seed, .type = type};
    m.rng = rng_of(seed * 3 + type);
    table_world_open(&m.w, &memory.base, seed);
    open_asker(&m);
    create(&m);
    fill(&m);
    for (uint32_t i = 1; i <= CHANGES; i++) {
        change(&m);
        for (int n = 0; n < 20; n++)
            write_something(&m);
        compare(&m);
        if (i % RESTART_EVERY == 0)
            restart(&m);
    }
    AGREE(&m, m.meanwhile > CHANGES);
    AGREE(&m, table_world_stop(&m.w) == EG_OK);
    AGREE(&m, atomic_load(&m.w.budget.used_bytes) == 0);
    AGREE(&m, atomic_load(&memory.live) == 0);
    table_world_close(&m.w);
}

TestSuite(alter_model, .timeout = 240);

static void live_all(enum table_type type) {
    uint64_t first = rng_test_seed(1);
    uint64_t seeds = rng_is_replay() ? 1 : 3;

    for (uint64_t seed = first; seed < first + seeds; seed++)
        live(type, seed);
}

Test(alter_model, sets_change_under_writes) {
    live_all(TABLE_SET);
}

Test(alter_model, ordered_sets_change_under_writes) {
    live_all(TABLE_ORDERED_SET);
}

Test(alter_model, bags_change_under_writes) {
    live_all(TABLE_BAG);
}
