/* Goal: copies that have heard of the same changes are equal, in whatever order and however often
 * they heard; and what a disc brings back of a copy covers nothing that is not there.
 * Method: three nodes change one table at random; what their turns tell is delivered in random
 * order, twice, later or only at the end; now and then one loses its power. */
#include "engine/env.h"
#include "tables/shard_copy.h"
#include "tables/table_private.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <string.h>

enum { NODES = 3, GROUPS_MAX = 4096, KEYS = 12, STEPS = 400, RECORD_MAX = 64, SHARDS = 2 };

/* What one turn of one shard has told. */
struct told {
    uint64_t origin, first, last;
    uint32_t shard, count;
    struct buffer changes; /* an array of them */
    bool had[NODES];
};

struct node {
    struct table_world w;
    struct trial *trial;
};

static struct trial {
    uint64_t seed;
    struct rng rng;
    enum table_type type;
    enum table_storage storage;
    struct node node[NODES];
    struct told told[GROUPS_MAX];
    uint32_t count;
    uint32_t recent_looks; /* at the last changes, where what another lacks is among them */
} trial;

#define AGREE(condition)                                                                           \
    cr_assert(condition, "EG_SEED=%llu type %d storage %d", (unsigned long long) trial.seed,       \
              trial.type, trial.storage)

static struct table *table_of(struct node *n) {
    struct table *t = table_world_find(&n->w, "t");
    cr_assert_not_null(t);
    return t;
}

static struct origins *origins_of(struct node *n) {
    return catalog_origins(n->w.catalog);
}

/* ---- what is told ------------------------------------------------------------------------ */

static bool changed(void *user, struct shard *s) {
    struct node *n = user;
    struct trial *m = n->trial;
    struct told *g = &m->told[m->count++];
    uint8_t header[5] = {0xdd, 0, 0, (uint8_t) (s->copy->group_count >> 8),
                         (uint8_t) s->copy->group_count};

    AGREE(m->count < GROUPS_MAX);
    AGREE(!s->copy->lost);
    *g = (struct told){.origin = origin_of(origins_of(n), origins_of(n)->own),
                       .first = s->copy->told + 1,
                       .last = dot_sequence(s->sequence),
                       .shard = s->number,
                       .count = s->copy->group_count};
    g->had[n - m->node] = true;
    buffer_init(&g->changes, alloc_system(), SIZE_MAX);
    AGREE(buffer_append(&g->changes, header, sizeof header));
    AGREE(buffer_append(&g->changes, s->copy->group.at, s->copy->group.size_bytes));
    return true;
}

static void nothing(void *user, struct shard *s) {
    (void) user;
    (void) s;
}

static void not_resumed(void *user, struct actor *self, struct shard *s) {
    (void) self;
    nothing(user, s);
}

static bool always(void *user, struct shard *s) {
    (void) user;
    (void) s;
    return true;
}

static const struct shard_copy_ops ops = {
    .changed = changed, .room = always, .resume = not_resumed, .close = nothing};

static struct actor *claim(struct node *n, struct shard *s) {
    struct actor *owner;

    while ((owner = actor_claim(n->w.st->rt, shard_pid(s))) == NULL)
        stepper_run_ms(n->w.st, 1);
    return owner;
}

static void begin_copies(struct node *n) {
    struct table *t = table_of(n);

    catalog_set_copies(n->w.catalog, &ops, n);
    AGREE(origins_meet(origins_of(n)) == EG_OK);
    for (uint32_t i = 0; i < t->shard_count; i++) {
        struct actor *owner = claim(n, &t->shard[i]);
        AGREE(shard_copy_open(&t->shard[i]) == EG_OK);
        t->shard[i].copy->telling = true;
        actor_release(owner);
    }
}

static void deliver(struct node *n, struct told *g) {
    struct shard *s = &table_of(n)->shard[g->shard];
    struct actor *owner = claim(n, s);
    struct err_note note = {""};
    struct shard_turn t = {.shard = s,
                           .reader = &n->w.reader,
                           .note = &note,
                           .now_ms = (uint64_t) env_wall_ms(&n->w.st->env)};
    struct value changes = {g->changes.at, (uint32_t) g->changes.size_bytes};

    reader_enter(&n->w.reader);
    s->copy->telling = false;
    if (shard_ready(&t) == EG_OK) {
        AGREE(shard_copy_apply(&t, value_iter_of(changes)) == EG_OK);
        AGREE(shard_copy_cover_range(s, g->origin, g->first, g->last) == EG_OK);
        g->had[n - trial.node] = true;
    }
    shard_turn_end(s);
    s->copy->telling = true;
    reader_exit(&n->w.reader);
    actor_release(owner);
}

/* ---- random changes ---------------------------------------------------------------------------
 */

static void put_key(struct value_writer *w) {
    uint64_t n = rng_below(&trial.rng, KEYS);

    if (rng_one_in(&trial.rng, 3))
        value_put_double(w, (double) n);
    else
        value_put_u64(w, n);
}

static void change_something(struct node *n) {
    uint8_t bytes[RECORD_MAX];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    struct shard_request q = {.op = SHARD_WRITE, .attribute = SHARD_NO_ATTRIBUTE};
    uint64_t what = rng_below(&trial.rng, 20);
    eg_err err;

    if (what >= 14 && what < 18) {
        q.op = SHARD_DELETE;
        put_key(&w);
        q.key = (struct value){bytes, (uint32_t) w.need_bytes};
    } else {
        value_put_array(&w, 2);
        put_key(&w);
        value_put_u64(&w, rng_below(&trial.rng, 4));
        q.value = (struct value){bytes, (uint32_t) w.need_bytes};
        if (what == 18)
            q.op = SHARD_DELETE_OBJECT;
        if (what == 0)
            q.op = SHARD_INSERT_NEW;
        if (what == 1)
            q.ttl_ms = 1 + rng_below(&trial.rng, 200);
    }
    if (what == 19 && rng_one_in(&trial.rng, 4)) {
        AGREE(table_world_ask(&n->w, CATALOG_CLEAR, "t", (struct value){0}) == EG_OK);
        return;
    }
    reader_enter(&n->w.reader);
    err = table_world_run(&n->w, table_of(n), &q);
    reader_exit(&n->w.reader);
    AGREE(err == EG_OK);
}

/* ---- equal?
 * --------------------------------------------------------------------------------------- */

static const struct record *same_in(struct node *n, const struct record *rec) {
    struct table *t = table_of(n);
    struct store *store;
    struct store_cursor c;
    const struct record *other;
    struct key k;

    AGREE(table_key(t, &k, record_key(rec)) == EG_OK);
    store = shard_of(t, k.hash)->store;
    store->ops->seek(store, &n->w.reader, &c, &k, false, false);
    do
        other = store->ops->next(store, &n->w.reader, &c);
    while (other != NULL && store->bag && !value_equal(record_value(other), record_value(rec)));
    key_release(&k);
    return other;
}

static void compare(struct node *a, struct node *b) {
    struct table *t = table_of(a);

    reader_enter(&a->w.reader);
    reader_enter(&b->w.reader);
    for (uint32_t i = 0; i < t->shard_count; i++) {
        struct store *store = t->shard[i].store;
        struct store_cursor c;
        const struct record *rec, *other;

        store->ops->seek(store, &a->w.reader, &c, NULL, false, false);
        while ((rec = store->ops->next(store, &a->w.reader, &c)) != NULL) {
            if (shard_expired(rec, UINT64_MAX - 1)) /* they go when each sees fit */
                continue;
            other = same_in(b, rec);
            AGREE(other != NULL && value_equal(record_value(rec), record_value(other)));
            AGREE(rec->hlc == other->hlc);
            AGREE(origin_of(origins_of(a), dot_slot(rec->dot)) ==
                  origin_of(origins_of(b), dot_slot(other->dot)));
        }
        AGREE(table_of(b)->shard[i].copy->cleared.hlc == t->shard[i].copy->cleared.hlc);
    }
    reader_exit(&b->w.reader);
    reader_exit(&a->w.reader);
}

static void compare_all(void) {
    for (int i = 0; i < NODES; i++) {
        reader_enter(&trial.node[i].w.reader);
        table_world_check(&trial.node[i].w, table_of(&trial.node[i]));
        reader_exit(&trial.node[i].w.reader);
        compare(&trial.node[i], &trial.node[(i + 1) % NODES]);
        compare(&trial.node[(i + 1) % NODES], &trial.node[i]);
    }
}

/* ---- the last changes
 * ------------------------------------------------------------------------------------------ */

static bool is_noted(const struct recent *r, uint64_t dot) {
    struct recent_place p;
    struct value key;
    uint64_t noted;

    recent_first(r, &p);
    while (recent_next(r, &p, &noted, &key))
        if (noted == dot)
            return true;
    return false;
}

/* What b lacks is found among a's last changes, where a says so. */
static void look_at_recent(struct node *a, struct node *b) {
    reader_enter(&a->w.reader);
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *s = &table_of(a)->shard[i];
        struct shard_clock has;
        const struct shard_clock *of = shard_copy_clock(&table_of(b)->shard[i]);
        const struct recent *recent = &s->copy->recent;
        struct store_cursor c;
        const struct record *rec;
        const struct grave *g;
        uint64_t place = 0;
        bool ended = false;

        shard_clock_init(&has, alloc_system());
        for (uint32_t e = 0; e < of->count; e++) { /* in a's words */
            const struct clock_entry *entry = &of->entry[e];
            uint16_t slot;

            AGREE(origins_slot(origins_of(a), origin_of(origins_of(b), entry->slot), &slot) ==
                  EG_OK);
            if (entry->base != 0)
                AGREE(shard_clock_add(&has, slot, 1, entry->base) == EG_OK);
            for (uint32_t n = 0; n < entry->island_count; n++)
                AGREE(shard_clock_add(&has, slot, entry->island[n].from, entry->island[n].to) ==
                      EG_OK);
        }
        if (recent_behind(recent) != NULL && shard_clock_has(&has, recent_behind(recent))) {
            trial.recent_looks++;
            s->store->ops->seek(s->store, &a->w.reader, &c, NULL, false, false);
            while ((rec = s->store->ops->next(s->store, &a->w.reader, &c)) != NULL)
                AGREE(shard_clock_covers(&has, rec->dot) || is_noted(recent, rec->dot));
            while (graves_walk(&s->copy->graves, &place, &ended, &g))
                for (; g != NULL; g = g->next)
                    AGREE(shard_clock_covers(&has, g->version.dot) ||
                          is_noted(recent, g->version.dot));
            AGREE(s->copy->cleared.hlc == 0 || shard_clock_covers(&has, s->copy->cleared.dot) ||
                  is_noted(recent, s->copy->cleared.dot));
        }
        shard_clock_fini(&has);
    }
    reader_exit(&a->w.reader);
}

/* ---- crash
 * ------------------------------------------------------------------------------------------ */

/* Every change that the clock covers is there, or something newer of its key. */
static void covers_what_is_there(struct node *n) {
    struct origins *o = origins_of(n);

    reader_enter(&n->w.reader);
    for (uint32_t i = 0; i < trial.count; i++) {
        struct told *g = &trial.told[i];
        struct shard *s = &table_of(n)->shard[g->shard];
        struct value_iter it =
            value_iter_of((struct value){g->changes.at, (uint32_t) g->changes.size_bytes});
        struct value change;
        uint16_t slot;

        AGREE(origins_slot(o, g->origin, &slot) == EG_OK);
        while (value_iter_next(&it, &change)) {
            struct value f[6];
            struct value_iter fields = value_iter_of(change);
            uint64_t kind, sequence, hlc, there = s->copy->cleared.hlc;
            const struct record *rec;
            const struct grave *grave;
            struct value key;
            struct key k;

            for (uint32_t x = 0; x < value_count(change); x++)
                AGREE(value_iter_next(&fields, &f[x]));
            AGREE(value_get_u64(f[0], &kind) && value_get_u64(f[2], &sequence) &&
                  value_get_u64(f[3], &hlc));
            if (kind == 2 || !shard_clock_covers(&s->copy->clock, dot_make(slot, sequence)))
                continue;
            key = kind == 0 ? f[5] : f[4];
            if (kind == 0 || trial.type == TABLE_BAG)
                AGREE(array_element(key, 0, &key));
            AGREE(table_key(table_of(n), &k, key) == EG_OK);
            grave = graves_find(&s->copy->graves, k.hash,
                                trial.type != TABLE_BAG ? key
                                : kind == 0             ? f[5]
                                                        : f[4]);
            there = EG_MAX(there, grave == NULL ? 0 : grave->version.hlc);
            if (trial.type != TABLE_BAG) { /* of a bag the equal record */
                rec = s->store->ops->get(s->store, &n->w.reader, &k);
                there = EG_MAX(there, rec == NULL ? 0 : rec->hlc);
            } else {
                struct store_cursor c;
                s->store->ops->seek(s->store, &n->w.reader, &c, &k, false, false);
                while ((rec = s->store->ops->next(s->store, &n->w.reader, &c)) != NULL &&
                       value_equal(record_key(rec), key))
                    if (value_equal(record_value(rec), kind == 0 ? f[5] : f[4]))
                        there = EG_MAX(there, rec->hlc);
            }
            key_release(&k);
            AGREE(there >= hlc);
        }
    }
    reader_exit(&n->w.reader);
}

static void lose_power(struct node *n) {
    struct disc_pump *pump = &n->w.pump;

    disc_twin_fail_write(pump->twin, 1); /* what is on its way does not arrive */
    (void) table_world_stop(&n->w);
    disc_twin_crash(pump->twin);
    AGREE(table_world_start(&n->w) == EG_OK);
    if (origins_met(origins_of(n))) /* else all that it ever did is lost */
        covers_what_is_there(n);
    begin_copies(n);
    for (uint32_t i = 0; i < trial.count; i++)
        trial.told[i].had[n - trial.node] = false;
}

/* ---- the trial
 * ------------------------------------------------------------------------------------------ */

static struct value options(uint8_t *bytes, size_t size_bytes) {
    static const char *const types[] = {"set", "ordered_set", "bag"};
    static const char *const storages[] = {"ram", "disc", "disc_only"};
    struct value_writer w = value_writer_init(bytes, size_bytes);

    value_put_map(&w, 4);
    value_put_text(&w, "type");
    value_put_text(&w, types[trial.type]);
    value_put_text(&w, "storage");
    value_put_text(&w, storages[trial.storage]);
    value_put_text(&w, "shards");
    value_put_u64(&w, SHARDS);
    value_put_text(&w, "index");
    value_put_array(&w, 1);
    value_put_text(&w, "value");
    return (struct value){bytes, (uint32_t) w.need_bytes};
}

static void open_nodes(void) {
    uint8_t bytes[256];

    for (int i = 0; i < NODES; i++) {
        struct node *n = &trial.node[i];

        n->trial = &trial;
        table_world_open(&n->w, alloc_system(), trial.seed + (uint64_t) i + 1);
        n->w.st->rng = rng_of(trial.seed); /* alike for once: one table */
        AGREE(table_world_ask(&n->w, CATALOG_CREATE, "t", options(bytes, sizeof bytes)) == EG_OK);
        AGREE(table_of(n)->seed == table_of(&trial.node[0])->seed);
        n->w.st->rng = rng_of(trial.seed + (uint64_t) i + 1);
        begin_copies(n);
    }
}

static void deliver_all(void) {
    for (uint32_t i = trial.count; i-- > 0;)
        for (int n = 0; n < NODES; n++)
            deliver(&trial.node[n], &trial.told[i]);
}

static void run(enum table_type type, enum table_storage storage, uint64_t seed) {
    memset(&trial, 0, sizeof trial);
    trial.seed = seed;
    trial.rng = rng_of(seed);
    trial.type = type;
    trial.storage = storage;
    open_nodes();
    for (uint32_t step = 0; step < STEPS; step++) {
        struct node *n = &trial.node[rng_below(&trial.rng, NODES)];

        change_something(n);
        for (uint64_t d = rng_below(&trial.rng, 4); d > 0 && trial.count > 0; d--)
            deliver(&trial.node[rng_below(&trial.rng, NODES)],
                    &trial.told[rng_below(&trial.rng, trial.count)]);
        if (rng_one_in(&trial.rng, 2))
            look_at_recent(n, &trial.node[rng_below(&trial.rng, NODES)]);
        if (rng_one_in(&trial.rng, 8))
            stepper_run_ms(n->w.st, rng_below(&trial.rng, 30));
        if (storage != STORAGE_RAM && rng_one_in(&trial.rng, 60))
            lose_power(n);
        if (rng_one_in(&trial.rng, 150)) {
            deliver_all();
            compare_all();
        }
    }
    AGREE(trial.recent_looks > 0);
    deliver_all();
    compare_all();
    for (int i = 0; i < NODES; i++)
        table_world_close(&trial.node[i].w);
    for (uint32_t i = 0; i < trial.count; i++)
        buffer_fini(&trial.told[i].changes);
}

static void run_types(enum table_storage storage) {
    uint64_t seed = rng_test_seed(17);

    for (int type = TABLE_SET; type <= TABLE_BAG; type++)
        for (uint64_t more = 0; more < (rng_is_replay() ? 1 : 3); more++)
            run((enum table_type) type, storage, seed + more);
}

Test(shard_copy_model, ram) {
    run_types(STORAGE_RAM);
}
Test(shard_copy_model, disc) {
    run_types(STORAGE_DISC);
}
Test(shard_copy_model, disc_only) {
    run_types(STORAGE_DISC_ONLY);
}
