/* Whatever order nodes meet in, they come to one list of tables, and no table is lost or comes
 * back.
 *
 * Nodes make, change and drop tables in random cuts; those who can reach each other tell each other
 * all, as schema_sync.h has it: only then may anything be changed, and what drops needs all. At
 * the end the lists are joined in random orders, and as a tree, and must be the same; and every
 * table's changes must give one schema. */
#include "replication/schema_join.h"
#include "replication/schema_replay.h"
#include "tables/catalog.h"
#include "tests/support/rng.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

enum { SEEDS = 150, NODES = 4, STEPS = 60, NAMES = 3, TABLES_MAX = STEPS, ORDERS = 6 };

struct made {
    uint64_t id;
    bool dropped;
};

struct model {
    struct rng rng;
    uint64_t seed, wall_ms;
    struct schema_list list[NODES];
    uint32_t side[NODES]; /* equal: they reach each other */
    struct made made[TABLES_MAX];
    uint32_t made_count;
};

#define AGREE(m, condition) cr_assert(condition, "EG_SEED=%" PRIu64, (m)->seed)

/* ---- lists ------------------------------------------------------------------------------- */

static uint32_t hear(struct schema_list *l, const struct schema_entry *e) {
    struct schema_entry *copy = schema_entry_copy(e);
    struct schema_joined j;
    struct schema_outcome *o;
    uint32_t count;

    cr_assert_eq(schema_join_open(&j, l, copy), EG_OK);
    o = schema_joined_at(&j, &count);
    l->stamp = EG_MAX(l->stamp, schema_entry_stamp(e));
    for (uint32_t i = 0; i < count; i++) {
        if (o[i].now == NULL)
            schema_entry_free(o[i].was);
        else
            schema_list_put(l, o[i].now);
        o[i].now = NULL;
    }
    schema_join_close(&j);
    return count;
}

/* As it is told: who has the name that it was to have comes first. */
static uint32_t hear_all(struct schema_list *l, const struct schema_list *from) {
    uint32_t count = 0;

    for (int plain = 1; plain >= 0; plain--)
        for (struct list_node *n = from->entries.next; n != &from->entries; n = n->next) {
            const struct schema_entry *e = EG_CONTAINER_OF(n, struct schema_entry, node);
            if ((strcmp(e->name.text, e->asked.text) == 0) == plain)
                count += hear(l, e);
        }
    return count;
}

static void copy_list(struct schema_list *to, const struct schema_list *from) {
    schema_list_init(to, alloc_system());
    for (struct list_node *n = from->entries.next; n != &from->entries; n = n->next)
        schema_list_put(to, schema_entry_copy(EG_CONTAINER_OF(n, struct schema_entry, node)));
}

/* Equal for lists that say the same, whatever stands first. */
static uint64_t hash_of(const struct schema_list *l) {
    uint64_t sum = 0;

    for (struct list_node *n = l->entries.next; n != &l->entries; n = n->next) {
        static uint8_t bytes[1 << 16];
        struct value_writer w = value_writer_init(bytes, sizeof bytes);

        schema_entry_put(EG_CONTAINER_OF(n, struct schema_entry, node), &w);
        cr_assert(!w.overflow);
        sum += XXH3_64bits(bytes, w.need_bytes);
    }
    return sum;
}

/* ---- changes ------------------------------------------------------------------------------- */

static void add_change(struct schema_entry *e, uint64_t stamp, uint32_t op, const char *text) {
    uint8_t bytes[128];

    cr_assert_eq(schema_entry_add(e, stamp, op, text_value(bytes, sizeof bytes, text)), EG_OK);
}

static void create(struct model *m, uint32_t node, const char *name) {
    static const char *const definitions[] = {"{'attributes': ['k', 'a']}",
                                              "{'attributes': ['k', 'a', 'b']}",
                                              "{'attributes': ['k', 'a'], 'type': 'bag'}"};
    const char *definition = definitions[rng_below(&m->rng, EG_COUNTOF(definitions))];
    const struct schema_entry *grave = schema_list_find(&m->list[node], name, strlen(name));
    struct schema_entry *e = schema_entry_new(alloc_system(), name, strlen(name));
    uint8_t bytes[128];
    struct value v = text_value(bytes, sizeof bytes, definition);

    e->live = true;
    e->maker = (struct schema_name){.size_bytes = 2, .text = {'n', (char) ('0' + node)}};
    e->dropped = grave == NULL ? 0 : grave->dropped;
    e->born = schema_list_stamp(&m->list[node], m->wall_ms);
    e->id = XXH3_64bits_withSeed(v.at, v.size_bytes,
                                 XXH3_64bits_withSeed(name, strlen(name), e->dropped));
    cr_assert(buffer_append(&e->schema, v.at, v.size_bytes));
    for (uint32_t i = 0; i < m->made_count; i++)
        if (m->made[i].id == e->id) { /* the same as on another side */
            AGREE(m, !m->made[i].dropped);
            schema_list_put(&m->list[node], e);
            return;
        }
    m->made[m->made_count++] = (struct made){.id = e->id};
    schema_list_put(&m->list[node], e);
}

static bool together(const struct model *m) {
    for (uint32_t i = 1; i < NODES; i++)
        if (m->side[i] != m->side[0])
            return false;
    return true;
}

static void drop(struct model *m, uint32_t node, const struct schema_entry *e) {
    struct schema_entry *grave = schema_entry_new(alloc_system(), e->name.text, e->name.size_bytes);

    for (uint32_t i = 0; i < m->made_count; i++)
        m->made[i].dropped |= m->made[i].id == e->id;
    grave->id = e->id;
    grave->dropped = schema_list_stamp(&m->list[node], m->wall_ms);
    (void) hear(&m->list[node], grave);
    schema_entry_free(grave);
}

static void change(struct model *m, uint32_t node, struct schema_entry *e) {
    static const char *const additions[] = {
        "['add_attribute', 'x', 1]", "['add_attribute', 'x', 2]", "['add_attribute', 'y', nil]"};
    uint64_t stamp = schema_list_stamp(&m->list[node], m->wall_ms);
    uint64_t behind = schema_entry_stamp(e) + 1;

    switch (rng_below(&m->rng, 4)) {
    case 0:
        add_change(e, stamp, CATALOG_ADD_INDEX, "'a'");
        break;
    case 1:
        add_change(e, stamp, CATALOG_DROP_INDEX, "'a'");
        break;
    case 2:
        add_change(e, stamp, CATALOG_ALTER, additions[rng_below(&m->rng, EG_COUNTOF(additions))]);
        break;
    default:
        if (together(m))
            add_change(e, behind, CATALOG_ALTER, "['drop_attribute', 'x']");
    }
}

static void tell_each_other(struct model *m) {
    for (int round = 0; round < 2; round++)
        for (uint32_t a = 0; a < NODES; a++)
            for (uint32_t b = 0; b < NODES; b++)
                if (a != b && m->side[a] == m->side[b])
                    (void) hear_all(&m->list[a], &m->list[b]);
}

static struct schema_entry *some_table(struct model *m, uint32_t node) {
    struct schema_entry *found = NULL;
    uint32_t seen = 0;

    for (struct list_node *n = m->list[node].entries.next; n != &m->list[node].entries;
         n = n->next) {
        struct schema_entry *e = EG_CONTAINER_OF(n, struct schema_entry, node);
        if (e->live && rng_one_in(&m->rng, ++seen))
            found = e;
    }
    return found;
}

static void step(struct model *m) {
    uint32_t node = (uint32_t) rng_below(&m->rng, NODES);
    char name[2] = {(char) ('a' + rng_below(&m->rng, NAMES)), 0};
    struct schema_entry *e;

    m->wall_ms += rng_below(&m->rng, 3);
    if (rng_one_in(&m->rng, 4)) {
        uint32_t sides = 1 + (uint32_t) rng_below(&m->rng, 3);
        for (uint32_t i = 0; i < NODES; i++)
            m->side[i] = (uint32_t) rng_below(&m->rng, sides);
    } else if (rng_one_in(&m->rng, 2)) {
        e = schema_list_find(&m->list[node], name, 1);
        if (e == NULL || !e->live)
            create(m, node, name);
    } else if ((e = some_table(m, node)) != NULL) {
        if (together(m) && rng_one_in(&m->rng, 3))
            drop(m, node, e);
        else
            change(m, node, e);
    }
    tell_each_other(m);
}

/* ---- what must be so ------------------------------------------------------------------------- */

static uint64_t join_in_some_order(struct model *m, struct schema_list *all) {
    uint32_t order[NODES];

    for (uint32_t i = 0; i < NODES; i++) {
        uint32_t at = (uint32_t) rng_below(&m->rng, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    copy_list(all, &m->list[order[0]]);
    for (uint32_t i = 1; i < NODES; i++)
        (void) hear_all(all, &m->list[order[i]]);
    return hash_of(all);
}

static uint64_t join_as_a_tree(struct model *m) {
    uint32_t first = (uint32_t) rng_below(&m->rng, NODES), second = (first + 1) % NODES;
    struct schema_list a, b;
    uint64_t hash;

    copy_list(&a, &m->list[first]);
    (void) hear_all(&a, &m->list[second]);
    copy_list(&b, &m->list[(first + 2) % NODES]);
    (void) hear_all(&b, &m->list[(first + 3) % NODES]);
    (void) hear_all(&a, &b);
    hash = hash_of(&a);
    schema_list_fini(&a);
    schema_list_fini(&b);
    return hash;
}

static void check_tables(struct model *m, const struct schema_list *l) {
    uint32_t live = 0;

    for (uint32_t i = 0; i < m->made_count; i++) {
        AGREE(m, (schema_list_find_id(l, m->made[i].id) == NULL) == m->made[i].dropped);
        live += !m->made[i].dropped;
    }
    for (struct list_node *n = l->entries.next; n != &l->entries; n = n->next) {
        const struct schema_entry *e = EG_CONTAINER_OF(n, struct schema_entry, node);
        struct err_note note;
        struct schema_replay r;

        if (!e->live)
            continue;
        live--;
        AGREE(m, schema_list_find(l, e->name.text, e->name.size_bytes) == e);
        AGREE(m, schema_replay_open(&r, e, e->change_count, &note) == EG_OK);
        schema_replay_close(&r);
    }
    AGREE(m, live == 0);
}

static void run(uint64_t seed) {
    struct model m = {.rng = rng_of(seed), .seed = seed, .wall_ms = 1000};
    struct schema_list all, other;
    uint64_t hash;

    for (uint32_t i = 0; i < NODES; i++)
        schema_list_init(&m.list[i], alloc_system());
    for (int i = 0; i < STEPS; i++)
        step(&m);
    hash = join_in_some_order(&m, &all);
    check_tables(&m, &all);
    for (uint32_t i = 0; i < NODES; i++)
        AGREE(&m, hear_all(&all, &m.list[i]) == 0);
    AGREE(&m, hear_all(&all, &all) == 0);
    for (int i = 0; i < ORDERS; i++) {
        AGREE(&m, join_in_some_order(&m, &other) == hash);
        schema_list_fini(&other);
        AGREE(&m, join_as_a_tree(&m) == hash);
    }
    schema_list_fini(&all);
    for (uint32_t i = 0; i < NODES; i++)
        schema_list_fini(&m.list[i]);
}

Test(schema_join, lists_that_are_joined_in_any_order_are_the_same) {
    uint64_t first = rng_test_seed(1);

    for (uint64_t seed = first; seed < first + (rng_is_replay() ? 1 : SEEDS); seed++)
        run(seed);
}
