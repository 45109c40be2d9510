/* rpc_method.c -- the list of methods, and the checks they share. */
#include "query/rpc_method.h"

#include "query/rpc_handler.h"

#include <string.h>

#define TX      (RPC_OPTION_TX | RPC_OPTION_CONTEXT)
#define TTL     (TX | RPC_OPTION_TTL)
#define NAME(s) .name = (s), .name_bytes = sizeof(s) - 1

/* Methods without a table, and those with one; KEYED ones name the shard's
 * operation and which parameters are its key and its value. */
#define NODE(s, opts, fn)                                                                          \
    { NAME(s), .options = (opts), .order = RPC_ANY, .run = (fn) }
#define TABLE(s, n, opts, ord, fn)                                                                 \
    { NAME(s), .params = (n), .options = (opts), .order = (ord), .names_table = true, .run = (fn) }
#define KEYED(s, n, opts, shard_op, key, val)                                                      \
    {                                                                                              \
        NAME(s), .params = (n), .options = (opts), .order = RPC_KEYED, .names_table = true,        \
                 .op = (shard_op), .key_at = (key), .value_at = (val)                              \
    }

static const struct rpc_method methods[] = {
    KEYED("read", 2, TX | RPC_OPTION_SIBLINGS, SHARD_READ, 1, 0),
    KEYED("write", 2, TTL | RPC_OPTION_REPLACES, SHARD_WRITE, 0, 1),
    KEYED("insert_new", 2, TTL, SHARD_INSERT_NEW, 0, 1),
    KEYED("delete", 2, TX | RPC_OPTION_REPLACES, SHARD_DELETE, 1, 0),
    KEYED("delete_object", 2, TX, SHARD_DELETE_OBJECT, 0, 1),
    KEYED("take", 2, TX, SHARD_TAKE, 1, 0),
    KEYED("update", 3, TTL, SHARD_UPDATE, 1, 2),
    KEYED("update_counter", 4, TTL, SHARD_COUNTER, 1, 3),
    TABLE("read_many", 2, TX, RPC_BEHIND, rpc_read_many),
    TABLE("write_many", 2, TTL, RPC_ALONE, rpc_write_many),
    TABLE("size", 1, TX, RPC_BEHIND, rpc_size),
    TABLE("first", 1, TX, RPC_BEHIND, rpc_first),
    TABLE("last", 1, TX, RPC_BEHIND, rpc_last),
    TABLE("next", 2, TX, RPC_BEHIND, rpc_next),
    TABLE("prev", 2, TX, RPC_BEHIND, rpc_prev),
    TABLE("index_read", 3, TX, RPC_BEHIND, rpc_index_read),
    TABLE("match", 2, TX | RPC_OPTION_LIMIT, RPC_BEHIND, rpc_match),
    TABLE("select", 2, TX | RPC_OPTION_LIMIT | RPC_OPTION_REVERSE, RPC_BEHIND, rpc_select),
    TABLE("select_reverse", 2, TX | RPC_OPTION_LIMIT, RPC_BEHIND, rpc_select_reverse),
    TABLE("select_count", 2, TX, RPC_BEHIND, rpc_select_count),
    TABLE("select_delete", 2, TX, RPC_ALONE, rpc_select_delete),
    TABLE("select_replace", 2, TX, RPC_ALONE, rpc_select_replace),
    {NAME("query"), .params = 1, .optional = 1, .options = TX | RPC_OPTION_LIMIT,
     .order = RPC_BEHIND, .run = rpc_query},
    {NAME("explain"), .params = 1, .optional = 1, .options = RPC_OPTION_TX, .order = RPC_BEHIND,
     .run = rpc_explain},
    {NAME("select_next"), .params = 1, .order = RPC_BEHIND, .run = rpc_select_next},
    TABLE("table_info", 1, 0, RPC_BEHIND, rpc_table_info),
    TABLE("conflicts", 1, RPC_OPTION_LIMIT, RPC_BEHIND, rpc_conflicts),
    TABLE("clear_table", 1, 0, RPC_ALONE, rpc_clear_table),
    TABLE("drop_table", 1, 0, RPC_ALONE, rpc_drop_table),
    TABLE("add_index", 2, 0, RPC_ALONE, rpc_add_index),
    TABLE("drop_index", 2, 0, RPC_ALONE, rpc_drop_index),
    TABLE("add_attribute", 3, 0, RPC_ALONE, rpc_alter),
    TABLE("drop_attribute", 2, 0, RPC_ALONE, rpc_alter),
    TABLE("rename_attribute", 3, 0, RPC_ALONE, rpc_alter),
    TABLE("change_storage", 2, 0, RPC_ALONE, rpc_alter),
    TABLE("transform_table", 2, RPC_OPTION_FREE, RPC_ALONE, rpc_transform_table),
    {NAME("create_table"), .params = 1, .options = RPC_OPTION_FREE, .order = RPC_ALONE,
     .run = rpc_create_table},
    {NAME("tables"), .order = RPC_BEHIND, .run = rpc_tables},
    {NAME("subscribe"), .params = 1, .order = RPC_BEHIND, .run = rpc_subscribe},
    {NAME("unsubscribe"), .params = 1, .order = RPC_BEHIND, .run = rpc_unsubscribe},
    TABLE("sync_table", 1, 0, RPC_ALONE, rpc_sync_table),
    {NAME("backup_open"), .options = RPC_OPTION_FREE, .order = RPC_ALONE, .run = rpc_backup_open},
    {NAME("backup_read"), .params = 1, .order = RPC_ANY, .run = rpc_backup_read},
    {NAME("backup_close"), .params = 1, .order = RPC_ANY, .run = rpc_backup_close},
    {NAME("cluster_status"), .order = RPC_ANY, .run = rpc_cluster_status},
    {NAME("join"), .params = 1, .order = RPC_ANY, .run = rpc_join},
    {NAME("scrub"), .order = RPC_ANY, .run = rpc_scrub},
    {NAME("leave"), .options = RPC_OPTION_FREE, .order = RPC_ANY, .run = rpc_leave},
    {NAME("remove"), .params = 1, .options = RPC_OPTION_FREE, .order = RPC_ANY, .run = rpc_remove},
    {NAME("begin"), .options = RPC_OPTION_TIMEOUT | RPC_OPTION_RETRY, .order = RPC_BEHIND,
     .run = rpc_begin},
    {NAME("commit"), .params = 1, .order = RPC_ALONE, .run = rpc_commit},
    {NAME("abort"), .params = 1, .order = RPC_BEHIND, .run = rpc_abort},
    {NAME("transaction"), .params = 1, .options = RPC_OPTION_TIMEOUT | RPC_OPTION_ID,
     .order = RPC_ALONE, .run = rpc_transaction},
    {NAME("transaction_status"), .params = 1, .order = RPC_BEHIND, .run = rpc_transaction_status},
    NODE("transactions", 0, rpc_transactions),
    NODE("ping", 0, rpc_ping),
    NODE("hello", RPC_OPTION_CLIENT, rpc_hello),
    NODE("stats", 0, rpc_stats),
    NODE("processes", 0, rpc_processes),
    {NAME("process_info"), .params = 1, .order = RPC_ANY, .run = rpc_process_info},
};

_Static_assert(EG_COUNTOF(methods) * 4 <= RPC_SLOTS, "the look-up table has become crowded");

/* Tells apart all names in the list (a test says so); others may share a slot. */
static uint32_t slot_of(const uint8_t *name, size_t name_bytes) {
    uint32_t h = (uint32_t) name_bytes;

    if (name_bytes >= 4)
        h += name[0] * 7u + name[1] * 3u + name[name_bytes - 2] * 11u + name[name_bytes / 2] * 5u;
    return h % RPC_SLOTS;
}

void rpc_methods_init(struct rpc_methods *m) {
    memset(m, 0, sizeof *m);
    for (uint32_t i = 0; i < EG_COUNTOF(methods); i++) {
        uint32_t slot = slot_of((const uint8_t *) methods[i].name, methods[i].name_bytes);
        while (m->slot[slot] != 0)
            slot = (slot + 1) % RPC_SLOTS;
        m->slot[slot] = (uint8_t) (i + 1);
    }
}

const struct rpc_method *rpc_method_find(const struct rpc_methods *m, const uint8_t *name,
                                         size_t name_bytes) {
    for (uint32_t slot = slot_of(name, name_bytes); m->slot[slot] != 0;
         slot = (slot + 1) % RPC_SLOTS) {
        const struct rpc_method *found = &methods[m->slot[slot] - 1];
        if (found->name_bytes == name_bytes && memcmp(found->name, name, name_bytes) == 0)
            return found;
    }
    return NULL;
}

uint32_t rpc_method_count(void) {
    return EG_COUNTOF(methods);
}

uint32_t rpc_method_number(const struct rpc_method *m) {
    return (uint32_t) (m - methods);
}

const struct rpc_method *rpc_method_at(uint32_t number) {
    EG_ASSERT(number < EG_COUNTOF(methods));
    return &methods[number];
}

/* ---- options ------------------------------------------------------------- */

static eg_err check_ttl(struct rpc_call *c, struct value v) {
    double seconds;

    if (!value_get_double(v, &seconds) || !schema_ttl_ms(seconds, &c->options.ttl_ms))
        return err_note(c->note, EG_BAD_REQUEST,
                        "ttl is a number of seconds above 0, at most a century");
    return EG_OK;
}

static eg_err check_limit(struct rpc_call *c, struct value v) {
    if (!value_get_u64(v, &c->options.limit) || c->options.limit == 0)
        return err_note(c->note, EG_BAD_REQUEST, "limit is an integer from 1 on");
    return EG_OK;
}

static eg_err check_reverse(struct rpc_call *c, struct value v) {
    if (!value_get_bool(v, &c->options.reverse))
        return err_note(c->note, EG_BAD_REQUEST, "reverse is true or false");
    return EG_OK;
}

static eg_err check_context(struct rpc_call *c, struct value v) {
    if (!value_is_string(v, "dirty"))
        return err_note(c->note, EG_BAD_REQUEST, "the only context to ask for is \"dirty\"");
    c->options.dirty = true;
    return EG_OK;
}

static eg_err check_siblings(struct rpc_call *c, struct value v) {
    if (!value_get_bool(v, &c->options.siblings))
        return err_note(c->note, EG_BAD_REQUEST, "siblings is true or false");
    return EG_OK;
}

static eg_err check_replaces(struct rpc_call *c, struct value v) {
    c->options.replaces = v; /* what it is, the table sees */
    return EG_OK;
}

bool rpc_is_id(struct value v) {
    return value_kind_of(v) == VALUE_STRING || value_kind_of(v) == VALUE_BINARY ||
           value_is_integer(v);
}

static eg_err check_tx(struct rpc_call *c, struct value v) {
    if (!rpc_is_id(v))
        return err_note(c->note, EG_BAD_REQUEST, "tx is a transaction's id");
    c->options.tx = v;
    return EG_OK;
}

static eg_err check_retry(struct rpc_call *c, struct value v) {
    if (!rpc_is_id(v))
        return err_note(c->note, EG_BAD_REQUEST, "retry is the id of an earlier try");
    c->options.retry = v;
    return EG_OK;
}

static eg_err check_id(struct rpc_call *c, struct value v) {
    enum { ID_BYTES_MAX = 128 };

    if (!rpc_is_id(v) || v.size_bytes > ID_BYTES_MAX)
        return err_note(c->note, EG_BAD_REQUEST, "an id is a string of at most %d bytes",
                        ID_BYTES_MAX);
    c->options.id = v;
    return EG_OK;
}

static eg_err check_timeout(struct rpc_call *c, struct value v) {
    enum { TIMEOUT_MS_MAX = 24 * 60 * 60 * 1000 };

    if (!value_get_u64(v, &c->options.timeout_ms) || c->options.timeout_ms == 0 ||
        c->options.timeout_ms > TIMEOUT_MS_MAX)
        return err_note(c->note, EG_BAD_REQUEST,
                        "timeout_ms is an integer above 0, at most a day's");
    return EG_OK;
}

static eg_err check_client(struct rpc_call *c, struct value v) {
    if (value_kind_of(v) != VALUE_STRING)
        return err_note(c->note, EG_BAD_REQUEST, "client and version are strings");
    return EG_OK;
}

static eg_err check_option(struct rpc_call *c, struct value name, struct value v) {
    static const struct {
        const char *name;
        enum rpc_option option;
        eg_err (*check)(struct rpc_call *c, struct value v);
    } rows[] = {
        {"tx", RPC_OPTION_TX, check_tx},
        {"context", RPC_OPTION_CONTEXT, check_context},
        {"ttl", RPC_OPTION_TTL, check_ttl},
        {"limit", RPC_OPTION_LIMIT, check_limit},
        {"reverse", RPC_OPTION_REVERSE, check_reverse},
        {"siblings", RPC_OPTION_SIBLINGS, check_siblings},
        {"replaces", RPC_OPTION_REPLACES, check_replaces},
        {"timeout_ms", RPC_OPTION_TIMEOUT, check_timeout},
        {"retry", RPC_OPTION_RETRY, check_retry},
        {"id", RPC_OPTION_ID, check_id},
        {"client", RPC_OPTION_CLIENT, check_client},
        {"version", RPC_OPTION_CLIENT, check_client},
    };
    const uint8_t *at;
    uint32_t size_bytes;

    for (size_t i = 0; i < EG_COUNTOF(rows); i++)
        if ((c->method->options & rows[i].option) != 0 && value_is_string(name, rows[i].name))
            return rows[i].check(c, v);
    if (value_kind_of(name) != VALUE_STRING || !value_get_bytes(name, &at, &size_bytes))
        return err_note(c->note, EG_BAD_REQUEST, "an option's name is a string");
    return err_note(c->note, EG_BAD_REQUEST, "%s has no option %.*s", c->method->name,
                    (int) EG_MIN(size_bytes, 64u), (const char *) at);
}

static eg_err check_options(struct rpc_call *c, struct value options) {
    struct value_iter it;
    struct value name, v;
    eg_err err = EG_OK;

    if (value_kind_of(options) != VALUE_MAP)
        return err_note(c->note, EG_BAD_REQUEST, "the options of %s are a map", c->method->name);
    if (c->method->options & RPC_OPTION_FREE) {
        c->free_options = options;
        return EG_OK;
    }
    it = value_iter_of(options);
    while (err == EG_OK && value_iter_next(&it, &name)) {
        EG_ASSERT(value_iter_next(&it, &v)); /* the frame was scanned: pairs are whole */
        err = check_option(c, name, v);
    }
    if (err == EG_OK && c->options.tx.size_bytes != 0 &&
        (c->options.dirty || c->options.siblings || c->options.replaces.size_bytes != 0))
        return err_note(c->note, EG_BAD_REQUEST,
                        "a transaction takes no context, no siblings and no replaces");
    return err;
}

/* ---- parameters ------------------------------------------------------------ */

/* The options, behind which nothing stands. */
static eg_err check_last(struct rpc_call *c, struct value_iter rest, struct value options) {
    if (rest.left > 0)
        return err_note(c->note, EG_BAD_REQUEST, "the options of %s come last", c->method->name);
    return check_options(c, options);
}

eg_err rpc_call_check(struct rpc_call *c, struct value params) {
    c->params_given = params;
    return rpc_call_check_rest(c, value_iter_of(params));
}

eg_err rpc_call_check_rest(struct rpc_call *c, struct value_iter it) {
    const struct rpc_method *m = c->method;
    uint32_t count = it.left, most = m->params + m->optional + (m->options != 0);
    struct value v;
    uint32_t i;

    c->options = (struct rpc_options){0};
    c->free_options = (struct value){0};
    if (count < m->params || count > most)
        return err_note(c->note, EG_BAD_REQUEST,
                        m->options != 0 ? "%s takes %u parameters and options, not %u"
                                        : "%s takes %u parameters, not %u",
                        m->name, m->params, count);
    for (i = 0; i < m->params; i++)
        EG_ASSERT(value_iter_next(&it, &c->param[i]));
    for (; i < (uint32_t) m->params + m->optional; i++)
        c->param[i] = (struct value){0};
    if (m->params != 0 && (m->names_table || m->options & RPC_OPTION_FREE) &&
        value_kind_of(c->param[0]) != VALUE_STRING)
        return err_note(c->note, EG_BAD_REQUEST, "a name is a string");
    if (!value_iter_next(&it, &v))
        return EG_OK;
    if (m->optional == 0 || (m->options != 0 && value_kind_of(v) == VALUE_MAP))
        return check_last(c, it, v);
    c->param[m->params] = v;
    return value_iter_next(&it, &v) ? check_last(c, it, v) : EG_OK;
}
