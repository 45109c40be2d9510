/* moment.c -- which shards belong to a moment, their snapshots, and reading them. */
#include "tables/moment.h"

#include "engine/runtime.h"
#include "tables/catalog_private.h"

#include <string.h>

enum {
    OPTIONS_BYTES_MAX = 64 << 20,
};

/* One shard. */
struct part {
    struct shard *shard;
    struct store_snapshot *snapshot;
};

struct moment_table {
    struct table *table;
    size_t options_at;
    uint32_t options_bytes;
    uint32_t parts_end; /* its parts end before this one */
};

struct moment {
    struct alloc *alloc;
    struct catalog *catalog;
    struct list_node node; /* among those asked for, under the catalog's lock */
    uint64_t number;       /* in the request; 0: not asked for                */
    _Atomic uint32_t refs;
    _Atomic bool taken;
    uint64_t wall_ms;
    struct buffer options; /* of all tables, one map behind the other */
    uint32_t table_count, part_count;
    size_t size_bytes; /* of all this */
    uint32_t at;       /* the part that is being read  */
    uint32_t at_table; /* and its table                */
    struct part *part; /* behind the tables, see below */
    struct moment_table table[];
};

/* ---- which tables ------------------------------------------------------------- */

static size_t moment_bytes(uint32_t tables, uint32_t parts) {
    return sizeof(struct moment) + tables * sizeof(struct moment_table) +
           parts * sizeof(struct part);
}

/* Is `t` wanted, by a list that may name what is not there? */
static bool is_named(const struct table *t, struct value names) {
    struct value_iter it;
    struct value name;

    if (names.size_bytes == 0)
        return true;
    it = value_iter_of(names);
    while (value_iter_next(&it, &name))
        if (value_is_string(name, table_name(t)->text))
            return true;
    return false;
}

static eg_err check_names(struct catalog *c, struct value names, struct err_note *note) {
    struct value_iter it;
    struct value name;

    if (names.size_bytes == 0)
        return EG_OK;
    if (value_kind_of(names) != VALUE_ARRAY)
        return err_note(note, EG_BAD_REQUEST, "tables are an array of names");
    it = value_iter_of(names);
    while (value_iter_next(&it, &name)) {
        const uint8_t *at;
        uint32_t size_bytes;

        if (value_kind_of(name) != VALUE_STRING || !value_get_bytes(name, &at, &size_bytes))
            return err_note(note, EG_BAD_REQUEST, "tables are an array of names");
        if (names_find(&c->names, (const char *) at, size_bytes) == NULL)
            return err_note(note, EG_NO_TABLE, "no table %.*s", (int) EG_MIN(size_bytes, 64u),
                            (const char *) at);
    }
    return EG_OK;
}

static void add_table(struct moment *m, struct table *t) {
    struct moment_table *mine = &m->table[m->table_count];

    if (!table_ref(t))
        return; /* dropped a moment ago */
    for (uint32_t i = 0; i < t->shard_count; i++)
        m->part[m->part_count++] = (struct part){.shard = &t->shard[i]};
    *mine = (struct moment_table){.table = t, .parts_end = m->part_count};
    m->table_count++;
}

/* A part of a table is no backup of it. */
static eg_err check_whole(struct table *const *tables, uint32_t all, struct value names,
                          struct err_note *note) {
    for (uint32_t i = 0; i < all; i++)
        if (is_named(tables[i], names) && !table_is_near(tables[i], false))
            return err_note(note, EG_NO_REPLICA, "this node has not all of %s: ask one that has",
                            tables[i]->name.text);
    return EG_OK;
}

eg_err moment_new(struct moment **out, struct catalog *c, struct value names,
                  struct err_note *note) {
    struct table *const *tables;
    uint32_t all = names_all(&c->names, &tables), count = 0, parts = 0;
    struct alloc *a = c->world.o.alloc;
    eg_err err = check_names(c, names, note);
    struct moment *m;

    if (err == EG_OK)
        err = check_whole(tables, all, names, note);
    if (err != EG_OK)
        return err;
    for (uint32_t i = 0; i < all; i++) {
        if (!is_named(tables[i], names))
            continue;
        count++;
        parts += tables[i]->shard_count;
    }
    m = alloc_zero(a, moment_bytes(count, parts));
    if (m == NULL)
        return EG_MEMORY;
    m->alloc = a;
    m->size_bytes = moment_bytes(count, parts);
    m->catalog = c;
    atomic_init(&m->refs, 1);
    buffer_init(&m->options, a, OPTIONS_BYTES_MAX);
    m->part = (struct part *) (void *) &m->table[count];
    for (uint32_t i = 0; i < all; i++)
        if (is_named(tables[i], names))
            add_table(m, tables[i]);
    *out = m;
    return EG_OK;
}

static void give_up_part(struct part *p) {
    if (p->snapshot != NULL)
        shard_give_up(p->shard, p->snapshot);
    p->snapshot = NULL;
}

/* ---- those that are asked for ------------------------------------------------------ */

static void lock(struct catalog *c) {
    while (atomic_flag_test_and_set_explicit(&c->asking_lock, memory_order_acquire))
        EG_CPU_RELAX();
}

static void unlock(struct catalog *c) {
    atomic_flag_clear_explicit(&c->asking_lock, memory_order_release);
}

static void add_asking(struct moment *m) {
    struct catalog *c = m->catalog;

    EG_ASSERT(m->number == 0);
    lock(c);
    m->number = ++c->last_asked;
    list_push_back(&c->asking, &m->node);
    unlock(c);
}

static void remove_asking(struct moment *m) {
    struct catalog *c = m->catalog;

    lock(c);
    if (m->number != 0)
        list_remove(&m->node);
    m->number = 0;
    unlock(c);
}

/* False: the last has just been given back. */
static bool try_ref(struct moment *m) {
    uint32_t refs = atomic_load(&m->refs);

    do {
        if (refs == 0)
            return false;
    } while (!atomic_compare_exchange_weak(&m->refs, &refs, refs + 1));
    return true;
}

struct moment *moment_claim(struct catalog *c, struct value number) {
    struct moment *found = NULL;
    uint64_t wanted;

    memcpy(&wanted, number.at, sizeof wanted);
    lock(c);
    for (struct list_node *n = c->asking.next; n != &c->asking && found == NULL; n = n->next) {
        struct moment *m = EG_CONTAINER_OF(n, struct moment, node);
        if (m->number == wanted && try_ref(m))
            found = m;
    }
    if (found != NULL) {
        list_remove(&found->node);
        found->number = 0;
    }
    unlock(c);
    return found;
}

void moment_unref(struct moment *m) {
    if (atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    remove_asking(m);
    for (uint32_t i = 0; i < m->part_count; i++)
        give_up_part(&m->part[i]);
    for (uint32_t i = 0; i < m->table_count; i++)
        table_unref(m->table[i].table);
    buffer_fini(&m->options);
    alloc_put(m->alloc, m, m->size_bytes);
}

/* ---- asking ---------------------------------------------------------------------- */

eg_err moment_message(struct moment *m, struct catalog *c, eg_pid *to, struct message **out) {
    struct catalog_request q = {.op = CATALOG_MOMENT,
                                .value = {(const uint8_t *) &m->number, sizeof m->number}};
    eg_err err;

    add_asking(m);
    err = catalog_message(c, &q, to, out);
    if (err != EG_OK)
        remove_asking(m);
    return err;
}

eg_err moment_send(struct moment *m, struct catalog *c, eg_pid from, uint64_t ref) {
    struct message *message;
    eg_pid to;
    eg_err err = moment_message(m, c, &to, &message);

    if (err != EG_OK)
        return err;
    message->ref = ref;
    err = runtime_send(c->world.o.runtime, from, to, message);
    if (err != EG_OK)
        remove_asking(m); /* it may be asked for again */
    return err;
}

/* ---- taking ---------------------------------------------------------------------- */

uint32_t moment_parts(const struct moment *m) {
    return m->part_count;
}

struct shard *moment_shard(const struct moment *m, uint32_t part) {
    return m->part[part].shard;
}

eg_err moment_open(struct moment *m, uint32_t part) {
    struct store *store = m->part[part].shard->store;
    struct store_snapshot *snapshot;
    eg_err err = store->ops->snapshot_open(store, &snapshot);

    if (err == EG_OK)
        m->part[part].snapshot = snapshot;
    return err;
}

void moment_close(struct moment *m) {
    for (uint32_t i = 0; i < m->part_count; i++) {
        struct part *p = &m->part[i];
        if (p->snapshot != NULL)
            p->shard->store->ops->snapshot_close(p->shard->store, p->snapshot);
        p->snapshot = NULL;
    }
}

static eg_err put_options(struct moment *m, struct moment_table *t) {
    const struct schema *schema = schema_of(t->table);
    struct value_writer measure = value_writer_init(NULL, 0), w;
    uint8_t *room;

    value_put_map(&measure, schema_option_count(schema));
    schema_put_options(schema, &measure);
    room = buffer_room(&m->options, measure.need_bytes);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, measure.need_bytes);
    value_put_map(&w, schema_option_count(schema));
    schema_put_options(schema, &w);
    t->options_at = m->options.size_bytes;
    t->options_bytes = (uint32_t) measure.need_bytes;
    m->options.size_bytes += measure.need_bytes;
    return EG_OK;
}

/* Go on with the table that has taken this one's name.  Nothing changes it now: this is the
 * catalog's turn. */
static bool follow(struct moment *m, uint32_t table) {
    struct moment_table *mine = &m->table[table];
    struct table *now = table_now(mine->table);
    uint32_t first = table == 0 ? 0 : m->table[table - 1].parts_end;

    if (now == mine->table)
        return !table_dropped(now);
    if (now->shard_count != mine->parts_end - first || !table_ref(now))
        return false;
    for (uint32_t i = 0; i < now->shard_count; i++)
        m->part[first + i] = (struct part){.shard = &now->shard[i]};
    table_unref(mine->table);
    mine->table = now;
    return !table_dropped(now);
}

eg_err moment_follow(struct moment *m, struct err_note *note) {
    for (uint32_t i = 0; i < m->table_count; i++)
        if (!follow(m, i))
            return err_note(note, EG_BUSY, "table %s has just been dropped or changed",
                            table_name(m->table[i].table)->text);
    return EG_OK;
}

eg_err moment_seal(struct moment *m, uint64_t wall_ms) {
    buffer_clear(&m->options);
    for (uint32_t i = 0; i < m->table_count; i++) {
        eg_err err = put_options(m, &m->table[i]);
        if (err != EG_OK)
            return err;
    }
    m->wall_ms = wall_ms;
    atomic_store(&m->taken, true);
    return EG_OK;
}

/* ---- reading ---------------------------------------------------------------------- */

bool moment_taken(const struct moment *m) {
    return atomic_load(&m->taken);
}

uint64_t moment_wall_ms(const struct moment *m) {
    return m->wall_ms;
}

uint32_t moment_tables(const struct moment *m) {
    return m->table_count;
}

const struct schema_name *moment_name(const struct moment *m, uint32_t table) {
    return table_name(m->table[table].table);
}

struct value moment_options(const struct moment *m, uint32_t table) {
    const struct moment_table *t = &m->table[table];

    return (struct value){m->options.at + t->options_at, t->options_bytes};
}

eg_err moment_next(struct moment *m, struct reader *r, uint32_t *table, const struct record **out) {
    EG_ASSERT(moment_taken(m));
    *out = NULL;
    while (m->at < m->part_count) {
        struct part *p = &m->part[m->at];
        eg_err err = p->shard->store->ops->snapshot_next(p->snapshot, r, out);

        if (err != EG_OK)
            return err;
        if (*out == NULL) {
            give_up_part(p);
            m->at++;
            continue;
        }
        if (shard_expired(*out, m->wall_ms))
            continue;
        while (m->table[m->at_table].parts_end <= m->at)
            m->at_table++;
        *table = m->at_table;
        return EG_OK;
    }
    return EG_OK;
}
