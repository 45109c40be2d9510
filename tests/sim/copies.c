/* copies.c -- rows of a shard on each node, sorted and laid side by side. */
#include "tests/sim/copies.h"

#include "engine/env.h"
#include "replication/cluster_private.h"

#include "tables/shard_copy.h"
#include "tables/table_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { ROWS_MAX = 4096, NODES = 16, CLAIM_TRIES = 10000 };

struct row {
    uint32_t key, number;
    uint64_t hlc;
};

struct copy { /* of one shard */
    const struct sim_node *node;
    enum shard_role role;
    uint32_t count;
    struct row row[ROWS_MAX];
};

static int by_key(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static uint32_t number_at(struct value record, uint32_t place) {
    struct value_iter it = value_iter_of(record);
    struct value v = record;
    uint64_t n;

    for (uint32_t i = 0; i <= place; i++)
        EG_ASSERT(value_iter_next(&it, &v));
    return value_get_u64(v, &n) ? (uint32_t) n : 0; /* others have other tables (sim_merge.h) */
}

static struct table *find(struct sim_node *n, const char *name) {
    return catalog_find(n->catalog, name, strlen(name));
}

/* `c->count` is 0 where this is no whole copy. */
static void take_copy(struct copy *c, struct sim_node *n, struct shard *s, struct reader *r) {
    const struct record *rec;
    struct store_cursor cursor;

    c->node = n;
    c->role = shard_role(s);
    c->count = 0;
    s->store->ops->seek(s->store, r, &cursor, NULL, false, false);
    while ((rec = s->store->ops->next(s->store, r, &cursor)) != NULL) {
        EG_ASSERT(c->count < ROWS_MAX);
        c->row[c->count++] = (struct row){.key = number_at(record_value(rec), 0),
                                          .number = number_at(record_value(rec), 1),
                                          .hlc = rec->hlc};
    }
    qsort(c->row, c->count, sizeof *c->row, by_key);
}

static bool is_whole(enum shard_role role) {
    return shard_role_is_whole(role);
}

static bool same_rows(const struct copy *a, const struct copy *b, const struct copies_table *t,
                      uint32_t shard, char text[HISTORY_TEXT_BYTES]) {
    uint32_t i = 0;

    while (i < a->count && i < b->count && memcmp(&a->row[i], &b->row[i], sizeof *a->row) == 0)
        i++;
    if (i == a->count && i == b->count)
        return true;
    snprintf(text, HISTORY_TEXT_BYTES,
             "%s shard %u: %s has %u records, %s %u; the first that differs: key %d write %d hlc "
             "%" PRIu64 ", key %d write %d hlc %" PRIu64,
             t->name, shard, a->node->name, a->count, b->node->name, b->count,
             i < a->count ? (int) a->row[i].key : -1, i < a->count ? (int) a->row[i].number : -1,
             i < a->count ? a->row[i].hlc : 0, i < b->count ? (int) b->row[i].key : -1,
             i < b->count ? (int) b->row[i].number : -1, i < b->count ? b->row[i].hlc : 0);
    return false;
}

bool copies_peek(struct sim_node *n, const char *table, uint32_t key, uint32_t *number) {
    uint8_t bytes[16];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    const struct record *rec;
    bool stands = false;
    struct reader r;
    struct table *t;
    struct key k;

    value_put_u64(&w, key);
    EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    t = find(n, table);
    if (t != NULL && table_key(t, &k, (struct value){bytes, (uint32_t) w.need_bytes}) == EG_OK) {
        if (table_reads_here(t, &k)) {
            rec = table_get(t, &r, &k);
            stands = table_got_stands(t, &r, &k, rec);
            *number = rec == NULL ? OP_NONE : number_at(record_value(rec), 1);
        }
        key_release(&k);
    }
    reader_exit(&r);
    reader_close(&r);
    return stands;
}

/* Its disc takes no more, for good: others go on without it. */
static bool cannot_fill(struct sim_node *n) {
    return n->o.has_disc && disc_health(disc_twin_disc(n->pump.twin), NULL) != EG_OK;
}

struct found { /* of one shard's copies */
    uint32_t whole, masters;
    uint32_t barred; /* not whole, while their disc refuses */
    bool settled;
};

/* The whole copies of one shard, in `copy`. */
static struct found take_copies(struct copy *copy, struct sim_node *const *nodes, uint32_t count,
                                const char *name, uint32_t shard) {
    struct found f = {.settled = true};

    for (uint32_t i = 0; i < count; i++) {
        struct sim_node *n = nodes[i];
        struct reader r;
        struct table *t;
        struct shard *s;

        EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
        reader_enter(&r);
        t = find(n, name);
        if (t == NULL || shard >= t->shard_count) {
            f.settled = false;
        } else {
            enum shard_role role;

            s = &t->shard[shard];
            take_copy(&copy[f.whole], n, s, &r);
            role = copy[f.whole].role;
            f.barred += role == SHARD_FILLING && cannot_fill(n);
            f.settled &= role != SHARD_STOPPED && (role != SHARD_FILLING || cannot_fill(n));
            f.masters += role == SHARD_MASTER || role == SHARD_ALONE || role == SHARD_CHAIR;
            f.whole += is_whole(role);
        }
        reader_exit(&r);
        reader_close(&r);
    }
    return f;
}

/* As many as expected.  One whose disc refuses is missed while it does, and others who let go of
 * theirs when it has it keep them. */
static bool are_enough(const struct found *f, uint32_t expected) {
    return f->whole + f->barred >= expected && (f->whole <= expected || f->barred != 0);
}

static bool shard_agrees(struct copy *copy, struct sim_node *const *nodes, uint32_t count,
                         const struct copies_table *t, uint32_t shard, uint32_t expected,
                         char text[HISTORY_TEXT_BYTES]) {
    struct found f = take_copies(copy, nodes, count, t->name, shard);

    if (!f.settled || !are_enough(&f, expected) || f.masters != 1) {
        snprintf(text, HISTORY_TEXT_BYTES, "%s shard %u: %u whole copies of %u, %u masters%s",
                 t->name, shard, f.whole, expected, f.masters, f.settled ? "" : ", not settled");
        return false;
    }
    for (uint32_t i = 1; i < f.whole; i++)
        if (!same_rows(&copy[0], &copy[i], t, shard, text))
            return false;
    return true;
}

uint32_t copies_shards(struct sim_node *n, const char *name) {
    struct reader r;
    struct table *t;
    uint32_t count;

    EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    t = find(n, name);
    count = t == NULL ? 0 : t->shard_count;
    reader_exit(&r);
    reader_close(&r);
    return count;
}

uint32_t copies_masters(struct sim_node *n, const char *name) {
    uint32_t shards = copies_shards(n, name), masters = 0;
    struct reader r;
    struct table *t;

    EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    t = find(n, name);
    for (uint32_t i = 0; t != NULL && i < shards; i++)
        masters += replica_master(n->cluster->replicas, t, i) == n->cluster->self.id;
    reader_exit(&r);
    reader_close(&r);
    return masters;
}

uint32_t copies_expected(struct sim_node *const *nodes, uint32_t count,
                         const struct copies_table *t) {
    uint32_t able = 0;

    for (uint32_t i = 0; i < count; i++)
        able += !t->on_disc || nodes[i]->o.has_disc;
    return t->copies == 0 ? able : EG_MIN(able, t->copies);
}

bool copies_agree(struct sim_node *const *nodes, uint32_t count, const struct copies_table *t,
                  uint32_t table, struct final *finals, char text[HISTORY_TEXT_BYTES]) {
    uint32_t expected = copies_expected(nodes, count, t);
    uint32_t shards = copies_shards(nodes[0], t->name);
    struct copy *copy;
    bool agree = shards > 0;

    if (!agree)
        snprintf(text, HISTORY_TEXT_BYTES, "%s: %s has no such table", t->name, nodes[0]->name);
    for (uint32_t key = 0; key < t->keys; key++)
        finals[key] = (struct final){.table = table, .key = key};
    copy = alloc_get(alloc_system(), NODES * sizeof *copy);
    EG_ASSERT(copy != NULL);
    for (uint32_t shard = 0; agree && shard < shards; shard++) {
        agree = shard_agrees(copy, nodes, count, t, shard, expected, text);
        for (uint32_t i = 0; agree && i < copy[0].count; i++) {
            EG_ASSERT(copy[0].row[i].key < t->keys);
            finals[copy[0].row[i].key].number = copy[0].row[i].number;
            finals[copy[0].row[i].key].hlc = copy[0].row[i].hlc;
        }
    }
    alloc_put(alloc_system(), copy, NODES * sizeof *copy);
    return agree;
}

static uint64_t sum_of_shard(struct shard *s, struct reader *r) {
    const struct record *rec;
    struct store_cursor c;
    uint64_t sum = 1;

    if (!is_whole(shard_role(s)))
        return 0;
    s->store->ops->seek(s->store, r, &c, NULL, false, false);
    while ((rec = s->store->ops->next(s->store, r, &c)) != NULL) {
        struct value array = record_value(rec);
        sum += XXH3_64bits_withSeed(array.at, array.size_bytes, rec->hlc);
    }
    return sum;
}

/* 0: not whole, or no such shard. */
static uint64_t sum_at(struct sim_node *n, const char *name, uint32_t shard) {
    struct reader r;
    struct table *t;
    uint64_t sum = 0;

    EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    t = find(n, name);
    if (t != NULL && shard < t->shard_count)
        sum = sum_of_shard(&t->shard[shard], &r);
    reader_exit(&r);
    reader_close(&r);
    return sum;
}

bool copies_same(struct sim_node *const *nodes, uint32_t count, const char *name, uint32_t shards,
                 char text[HISTORY_TEXT_BYTES]) {
    for (uint32_t shard = 0; shard < shards; shard++) {
        uint64_t first = sum_at(nodes[0], name, shard);

        for (uint32_t i = 0; i < count; i++)
            if (first == 0 || sum_at(nodes[i], name, shard) != first) {
                snprintf(text, HISTORY_TEXT_BYTES, "%s shard %u differs at %s, or is not whole",
                         name, shard, nodes[i]->name);
                return false;
            }
    }
    return true;
}

bool copies_whole(struct sim_node *n, const char *name) {
    struct reader r;
    struct table *t;
    bool whole;

    if (!n->up || n->catalog == NULL) /* it starts, or stops */
        return false;
    EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    t = find(n, name);
    whole = t != NULL;
    for (uint32_t i = 0; whole && i < t->shard_count; i++)
        whole = is_whole(shard_role(&t->shard[i]));
    reader_exit(&r);
    reader_close(&r);
    return whole;
}

bool copies_anywhere(struct sim_node *const *nodes, uint32_t count, const char *name) {
    uint32_t shards = count == 0 ? 0 : copies_shards(nodes[0], name);
    struct copy *copy = alloc_get(alloc_system(), NODES * sizeof *copy);
    bool all = shards > 0;

    EG_ASSERT(copy != NULL);
    for (uint32_t i = 0; all && i < shards; i++)
        all = take_copies(copy, nodes, count, name, i).whole > 0;
    alloc_put(alloc_system(), copy, NODES * sizeof *copy);
    return all;
}

static struct shard *shard_at(struct sim_node *n, const char *name, uint32_t shard) {
    struct table *t = find(n, name);
    return t == NULL || shard >= t->shard_count ? NULL : &t->shard[shard];
}

/* Has `b`, a whole copy, all that the clock stands for? */
static bool covers(struct sim_node *node, struct shard *b, struct value clock) {
    struct shard_clock of;
    bool all, has;

    if (b == NULL || b->copy == NULL || !is_whole(shard_role(b)))
        return false;
    shard_clock_init(&of, alloc_system());
    EG_ASSERT(shard_clock_get_known(&of, catalog_origins(node->catalog), clock, &all) == EG_OK);
    has = all && shard_clock_has(shard_copy_clock(b), &of);
    shard_clock_fini(&of);
    return has;
}

static bool shard_heard(struct sim_node *n, struct sim_node *const *others, uint32_t count,
                        const char *name, uint32_t shard) {
    struct shard *s = shard_at(n, name, shard);
    struct value_writer w = value_writer_init(NULL, 0);
    uint32_t size_bytes;
    uint8_t *bytes;
    bool heard = false;

    if (s == NULL || s->copy == NULL)
        return true;
    shard_clock_put(shard_copy_clock(s), catalog_origins(n->catalog), &w);
    size_bytes = (uint32_t) w.need_bytes;
    bytes = alloc_get(alloc_system(), size_bytes);
    EG_ASSERT(bytes != NULL);
    w = value_writer_init(bytes, size_bytes);
    shard_clock_put(shard_copy_clock(s), catalog_origins(n->catalog), &w);
    for (uint32_t i = 0; i < count && !heard; i++)
        heard =
            covers(others[i], shard_at(others[i], name, shard), (struct value){bytes, size_bytes});
    alloc_put(alloc_system(), bytes, size_bytes);
    return heard;
}

bool copies_heard(struct sim_node *n, struct sim_node *const *others, uint32_t count,
                  const char *name) {
    uint32_t shards = copies_shards(n, name);
    bool heard = true;

    for (uint32_t i = 0; heard && i < shards; i++)
        heard = shard_heard(n, others, count, name, i);
    return heard;
}

static bool check_shard(struct sim_node *n, struct shard *s, struct reader *r) {
    struct actor *owner = actor_claim(n->runtime, shard_pid(s));

    for (int i = 0; owner == NULL && i < CLAIM_TRIES; i++) {
        sim_run_ms(n->sim, 1);
        owner = actor_claim(n->runtime, shard_pid(s));
    }
    if (owner == NULL)
        return false;
    shard_check(s, r);
    actor_release(owner);
    return true;
}

bool copies_check(struct sim_node *n, const char *name) {
    struct reader r;
    struct table *t;
    bool checked = true;

    EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    t = find(n, name);
    for (uint32_t i = 0; checked && t != NULL && i < t->shard_count; i++)
        checked = check_shard(n, &t->shard[i], &r);
    reader_exit(&r);
    reader_close(&r);
    return checked;
}

static bool lose(struct sim_node *n, struct shard *s, struct reader *r, const struct key *k) {
    struct err_note note = {""};
    struct shard_turn t = {.shard = s,
                           .reader = r,
                           .note = &note,
                           .now_ms = (uint64_t) env_wall_ms(&n->env.env),
                           .leaving = true}; /* without a trace */
    const struct record *rec = s->store->ops->get(s->store, r, k);
    bool lost = is_whole(shard_role(s)) && rec != NULL &&
                (record_flags(rec) & RECORD_EXPIRES) == 0 && shard_ready(&t) == EG_OK &&
                shard_remove(&t, k, rec) == EG_OK;

    shard_turn_end(s);
    return lost;
}

bool copies_damage(struct sim_node *n, const char *name, uint32_t key) {
    uint8_t bytes[16];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    bool lost = false;
    struct actor *owner;
    struct reader r;
    struct table *t;
    struct shard *s;
    struct key k;

    value_put_u64(&w, key);
    EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    t = find(n, name);
    if (t != NULL) {
        EG_ASSERT(table_key(t, &k, (struct value){bytes, (uint32_t) w.need_bytes}) == EG_OK);
        s = shard_of(t, k.hash);
        owner = actor_claim(n->runtime, shard_pid(s));
        if (owner != NULL) {
            lost = lose(n, s, &r, &k);
            actor_release(owner);
        }
        key_release(&k);
    }
    reader_exit(&r);
    reader_close(&r);
    return lost;
}
