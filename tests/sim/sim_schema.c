/* sim_schema.c -- tables that change all the time, and whether all nodes have the same in the end.
 */
#include "tests/sim/sim_schema.h"

#include "tables/shard_copy.h"
#include "tables/table_private.h"
#include "tests/sim/sim_think.h"

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

enum { TABLES = 3, KEYS = 40, WAIT_MS = 4000, DESCRIPTION_BYTES = 8192 };

static void think(struct schemer *me);

/* ---- what they ask --------------------------------------------------------------------- */

static const char *some(struct rng *r, const char *const *of, uint32_t count) {
    return of[rng_below(r, count)];
}

static void put_create(struct value_writer *w, struct rng *r) {
    static const char *const types[] = {"set", "bag", "ordered_set"};
    static const char *const storages[] = {"ram", "ram", "disc"};

    value_put_map(w, 4);
    value_put_text(w, "type");
    value_put_text(w, rng_one_in(r, 2) ? "set" : some(r, types, 3));
    value_put_text(w, "storage");
    value_put_text(w, some(r, storages, 3));
    value_put_text(w, "shards");
    value_put_u64(w, 2);
    value_put_text(w, "copies");
    value_put_text(w, "all");
}

/* The second number becomes one more: to be done once. */
static void put_transform(struct value_writer *w) {
    value_put_array(w, 1);
    value_put_array(w, 3);
    value_put_array(w, 2);
    value_put_text(w, "$1");
    value_put_text(w, "$2");
    value_put_array(w, 0);
    value_put_array(w, 1);
    value_put_array(w, 1);
    value_put_array(w, 2);
    value_put_text(w, "$1");
    value_put_array(w, 3);
    value_put_text(w, "+");
    value_put_text(w, "$2");
    value_put_u64(w, 1);
}

static void put_record(struct value_writer *w, struct rng *r) {
    uint32_t count = 2 + (uint32_t) rng_below(r, 3);

    value_put_array(w, count);
    value_put_u64(w, rng_below(r, KEYS));
    for (uint32_t i = 1; i < count; i++)
        value_put_u64(w, rng_below(r, 1000));
}

static const char *put_change(struct value_writer *w, struct rng *r, const char *table) {
    static const char *const names[] = {"x", "y", "z"};
    static const char *const indexed[] = {"value", "x", "y"};
    static const char *const storages[] = {"ram", "disc"};
    static const char *const methods[] = {"create_table",   "drop_table",     "add_attribute",
                                          "add_attribute",  "drop_attribute", "rename_attribute",
                                          "add_index",      "drop_index",     "transform_table",
                                          "change_storage", "clear_table"};
    const char *method = some(r, methods, EG_COUNTOF(methods));
    bool three = strcmp(method, "add_attribute") == 0 || strcmp(method, "rename_attribute") == 0;
    bool one = strcmp(method, "drop_table") == 0 || strcmp(method, "clear_table") == 0;

    value_put_array(w, three ? 3 : one ? 1 : 2);
    value_put_text(w, table);
    if (strcmp(method, "create_table") == 0)
        put_create(w, r);
    else if (strcmp(method, "transform_table") == 0)
        put_transform(w);
    else if (strcmp(method, "change_storage") == 0)
        value_put_text(w, some(r, storages, 2));
    else if (!one)
        value_put_text(w, some(r, strstr(method, "index") != NULL ? indexed : names, 3));
    if (strcmp(method, "add_attribute") == 0)
        value_put_u64(w, rng_below(r, 3));
    else if (three)
        value_put_text(w, some(r, names, 3));
    return method;
}

static void ask(struct sim_event *e) {
    struct schemer *me = EG_CONTAINER_OF(e, struct schemer, think);
    struct sim_schema *x = me->world;
    char table[4] = {'s', (char) ('0' + rng_below(&me->rng, TABLES)), 0};
    uint8_t at[512];
    struct value_writer w = value_writer_init(at, sizeof at);
    const char *method = "write";
    const struct sim_node *n = &x->node[rng_below(&me->rng, x->nodes)];

    if (x->quiet)
        return;
    if (rng_one_in(&me->rng, 2)) {
        method = put_change(&w, &me->rng, table);
    } else {
        value_put_array(&w, 2);
        value_put_text(&w, table);
        put_record(&w, &me->rng);
    }
    EG_ASSERT(!w.overflow);
    sim_client_ask(&me->client, n->client_address, method,
                   (struct value){at, (uint32_t) w.need_bytes}, WAIT_MS);
}

static void think(struct schemer *me) {
    struct sim_schema *x = me->world;

    sim_at(x->sim, &me->think, sim_think_ns(&me->rng, sim_now_ns(x->sim), x->think_ms), ask);
}

static void on_answer(struct sim_client *client, const struct sim_answer *a) {
    struct schemer *me = client->user;

    me->world->done += a->outcome == SIM_DONE;
    me->world->refused += a->outcome == SIM_REFUSED;
    think(me);
}

void sim_schema_start(struct sim_schema *x, struct sim *s, struct sim_net *net, uint64_t seed,
                      struct sim_node *node, uint32_t nodes, uint64_t think_ms) {
    *x = (struct sim_schema){.sim = s, .node = node, .nodes = nodes, .think_ms = think_ms};
    for (uint32_t i = 0; i < SCHEMERS; i++) {
        struct schemer *me = &x->schemer[i];
        char host[16];

        snprintf(host, sizeof host, "schemer%u", i);
        me->world = x;
        me->rng = rng_of(seed * SCHEMERS + i);
        sim_client_init(&me->client, net, s, host, on_answer, me);
        think(me);
    }
}

void sim_schema_stop(struct sim_schema *x) {
    x->quiet = true;
    for (uint32_t i = 0; i < SCHEMERS; i++) {
        sim_cancel(x->sim, &x->schemer[i].think);
        sim_client_close(&x->schemer[i].client);
    }
    sim_run_ms(x->sim, 1);
    for (uint32_t i = 0; i < SCHEMERS; i++)
        sim_client_fini(&x->schemer[i].client);
}

/* ---- what they leave ------------------------------------------------------------------------ */

struct view_of_tables { /* what a node knows: names, shapes, and what its copies have */
    char shapes[DESCRIPTION_BYTES];
    uint64_t records[64]; /* by table: a sum over the whole copies; 0: not whole */
    uint64_t id[64];
    uint32_t count;
};

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static void put_text(struct view_of_tables *v, const char *text) {
    size_t used = strlen(v->shapes);

    snprintf(v->shapes + used, sizeof v->shapes - used, "%s ", text);
}

static void describe_indexes(struct view_of_tables *v, const struct schema *s) {
    static char titles[SCHEMA_INDEXES_MAX][INDEX_TITLE_BYTES_MAX];
    const char *sorted[SCHEMA_INDEXES_MAX];

    for (uint32_t i = 0; i < s->index_count; i++) {
        (void) index_spec_title(s->index[i], schema_attributes(s), titles[i]);
        sorted[i] = titles[i];
    }
    qsort(sorted, s->index_count, sizeof *sorted, by_text);
    for (uint32_t i = 0; i < s->index_count; i++)
        put_text(v, sorted[i]);
}

static void describe(struct view_of_tables *v, const struct schema *s) {
    char numbers[80];

    snprintf(numbers, sizeof numbers, "%016" PRIx64 "/%016" PRIx64 " %d %d:", s->id,
             schema_records_id(s), s->type, s->storage);
    put_text(v, s->name.text);
    put_text(v, numbers);
    for (uint32_t i = 0; i < s->attribute_count; i++)
        put_text(v, s->attributes[i].text);
    put_text(v, "|");
    describe_indexes(v, s);
    put_text(v, "\n");
}

/* 0: some shard is no whole copy. */
static uint64_t sum_of(struct table *t, struct reader *r) {
    uint64_t sum = 1;

    for (uint32_t i = 0; i < t->shard_count; i++) {
        struct shard *s = &t->shard[i];
        enum shard_role role = shard_role(s);
        const struct record *rec;
        struct store_cursor c;

        if (!shard_role_is_whole(role))
            return 0;
        s->store->ops->seek(s->store, r, &c, NULL, false, false);
        while ((rec = s->store->ops->next(s->store, r, &c)) != NULL) {
            struct value array = record_value(rec);
            sum += XXH3_64bits_withSeed(array.at, array.size_bytes, rec->hlc);
        }
    }
    return sum | 1;
}

static void look(struct view_of_tables *v, struct sim_node *n) {
    struct table *const *tables;
    struct reader r;

    *v = (struct view_of_tables){.count = 0};
    EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    v->count = catalog_tables(n->catalog, &tables);
    EG_ASSERT(v->count <= EG_COUNTOF(v->records));
    for (uint32_t i = 0; i < v->count; i++) {
        describe(v, table_schema(tables[i]));
        v->id[i] = table_schema(tables[i])->id;
        v->records[i] = sum_of(tables[i], &r);
    }
    reader_exit(&r);
    reader_close(&r);
}

/* Where the first line begins that is not the same. */
static size_t first_difference(const char *a, const char *b) {
    size_t at = 0;

    for (size_t i = 0; a[i] == b[i]; i++)
        if (a[i] == '\n')
            at = i + 1;
    return at;
}

bool sim_schema_agrees(struct sim_schema *x, char *text, size_t text_bytes) {
    static struct view_of_tables first, other;
    uint64_t known[64] = {0};

    look(&first, &x->node[0]);
    for (uint32_t n = 0; n < x->nodes; n++) {
        look(&other, &x->node[n]);
        if (strcmp(first.shapes, other.shapes) != 0) {
            size_t at = first_difference(first.shapes, other.shapes);
            snprintf(text, text_bytes, "tables differ: %s has %.*s, %s has %.*s", x->node[0].name,
                     (int) strcspn(first.shapes + at, "\n"), first.shapes + at, x->node[n].name,
                     (int) strcspn(other.shapes + at, "\n"), other.shapes + at);
            return false;
        }
        for (uint32_t t = 0; t < other.count; t++) {
            if (known[t] != 0 && other.records[t] != 0 && known[t] != other.records[t]) {
                snprintf(text, text_bytes, "records of table %016" PRIx64 " differ at %s",
                         other.id[t], x->node[n].name);
                return false;
            }
            known[t] = EG_MAX(known[t], other.records[t]);
        }
    }
    return true;
}
