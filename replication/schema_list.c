/* schema_list.c -- entries of tables, and which of two is right. */
#include "replication/schema_list.h"

#include "replication/schema_sync.h"

#include <string.h>

enum { ENTRY_FIELDS = 7, CHANGE_FIELDS = 3, SCHEMA_BYTES_MAX = 1 << 20 };

/* ---- entries ------------------------------------------------------------------------ */

uint64_t schema_entry_stamp(const struct schema_entry *e) {
    uint64_t last = e->change_count == 0 ? 0 : e->changes[e->change_count - 1].stamp;

    return e->live ? EG_MAX(e->born, last) : e->dropped;
}

struct schema_entry *schema_entry_new(struct alloc *a, const char *name, size_t name_bytes) {
    struct schema_entry *e = name_bytes > SCHEMA_NAME_MAX ? NULL : alloc_zero(a, sizeof *e);

    if (e == NULL)
        return NULL;
    e->alloc = a;
    e->name.size_bytes = (uint8_t) name_bytes;
    memcpy(e->name.text, name, name_bytes);
    list_init(&e->node);
    buffer_init(&e->schema, a, SCHEMA_BYTES_MAX);
    return e;
}

void schema_entry_free(struct schema_entry *e) {
    list_remove(&e->node);
    for (uint32_t i = 0; i < e->change_count; i++)
        alloc_put(e->alloc, e->changes[i].at, e->changes[i].size_bytes);
    if (e->change_room != 0)
        alloc_put(e->alloc, e->changes, e->change_room * sizeof *e->changes);
    buffer_fini(&e->schema);
    alloc_put(e->alloc, e, sizeof *e);
}

static bool make_room(struct schema_entry *e) {
    uint32_t room = e->change_room == 0 ? 4 : 2 * e->change_room;
    struct schema_change *more;

    if (e->change_count < e->change_room)
        return true;
    more = alloc_get(e->alloc, room * sizeof *more);
    if (more == NULL)
        return false;
    if (e->change_room != 0) {
        memcpy(more, e->changes, e->change_count * sizeof *more);
        alloc_put(e->alloc, e->changes, e->change_room * sizeof *more);
    }
    e->changes = more;
    e->change_room = room;
    return true;
}

eg_err schema_entry_add(struct schema_entry *e, uint64_t stamp, uint32_t op, struct value value) {
    uint32_t at = e->change_count;
    uint8_t *copy;

    if (e->change_count == SCHEMA_SYNC_CHANGES_MAX)
        return EG_TOO_LARGE;
    if (!make_room(e))
        return EG_MEMORY;
    copy = alloc_get(e->alloc, EG_MAX(value.size_bytes, 1u));
    if (copy == NULL)
        return EG_MEMORY;
    if (value.size_bytes != 0)
        memcpy(copy, value.at, value.size_bytes);
    for (; at > 0 && e->changes[at - 1].stamp > stamp; at--)
        e->changes[at] = e->changes[at - 1];
    e->changes[at] = (struct schema_change){stamp, op, EG_MAX(value.size_bytes, 1u), copy};
    e->change_count++;
    return EG_OK;
}

/* ---- the list ------------------------------------------------------------------------ */

void schema_list_init(struct schema_list *l, struct alloc *a) {
    *l = (struct schema_list){.alloc = a};
    list_init(&l->entries);
}

void schema_list_fini(struct schema_list *l) {
    while (!list_is_empty(&l->entries))
        schema_entry_free(EG_CONTAINER_OF(l->entries.next, struct schema_entry, node));
}

struct schema_entry *schema_list_find(const struct schema_list *l, const char *name,
                                      size_t name_bytes) {
    for (struct list_node *n = l->entries.next; n != &l->entries; n = n->next) {
        struct schema_entry *e = EG_CONTAINER_OF(n, struct schema_entry, node);
        if (e->name.size_bytes == name_bytes && memcmp(e->name.text, name, name_bytes) == 0)
            return e;
    }
    return NULL;
}

uint64_t schema_list_stamp(struct schema_list *l, uint64_t wall_ms) {
    l->stamp = EG_MAX(l->stamp + 1, wall_ms << 16);
    return l->stamp;
}

void schema_list_put(struct schema_list *l, struct schema_entry *e) {
    struct schema_entry *old = schema_list_find(l, e->name.text, e->name.size_bytes);

    if (old == e)
        return;
    if (old != NULL)
        schema_entry_free(old);
    list_push_back(&l->entries, &e->node);
    l->stamp = EG_MAX(l->stamp, schema_entry_stamp(e));
}

/* ---- on the wire and on disc ----------------------------------------------------------- */

void schema_entry_put(const struct schema_entry *e, struct value_writer *w) {
    value_put_array(w, ENTRY_FIELDS);
    value_put_string(w, e->name.text, e->name.size_bytes);
    value_put_u64(w, e->id);
    value_put_u64(w, e->born);
    value_put_u64(w, e->dropped);
    value_put_bool(w, e->live);
    if (e->schema.size_bytes != 0)
        value_put_raw(w, (struct value){e->schema.at, (uint32_t) e->schema.size_bytes});
    else
        value_put_nil(w);
    value_put_array(w, e->change_count);
    for (uint32_t i = 0; i < e->change_count; i++) {
        value_put_array(w, CHANGE_FIELDS);
        value_put_u64(w, e->changes[i].stamp);
        value_put_u64(w, e->changes[i].op);
        value_put_raw(w, (struct value){e->changes[i].at, e->changes[i].size_bytes});
    }
}

/* What changes a table that is there. */
static bool is_change(uint64_t op) {
    return op == CATALOG_ADD_INDEX || op == CATALOG_DROP_INDEX || op == CATALOG_ALTER;
}

static eg_err get_change(struct schema_entry *e, struct value v) {
    struct value_iter it;
    struct value stamp, op, value;
    uint64_t at, what;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != CHANGE_FIELDS)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    if (!value_iter_next(&it, &stamp) || !value_iter_next(&it, &op) ||
        !value_iter_next(&it, &value) || !value_get_u64(stamp, &at) || !value_get_u64(op, &what) ||
        !is_change(what))
        return EG_BAD_REQUEST;
    return schema_entry_add(e, at, (uint32_t) what, value);
}

static eg_err get_fields(struct schema_entry *e, const struct value field[ENTRY_FIELDS]) {
    struct value_iter it;
    struct value v;
    eg_err err = EG_OK;

    if (!value_get_u64(field[1], &e->id) || !value_get_u64(field[2], &e->born) ||
        !value_get_u64(field[3], &e->dropped) || !value_get_bool(field[4], &e->live) ||
        value_kind_of(field[5]) != (e->live ? VALUE_MAP : VALUE_NIL) ||
        value_kind_of(field[6]) != VALUE_ARRAY || (!e->live && value_count(field[6]) != 0))
        return EG_BAD_REQUEST;
    if (e->live && !buffer_append(&e->schema, field[5].at, field[5].size_bytes))
        return field[5].size_bytes > SCHEMA_BYTES_MAX ? EG_BAD_REQUEST : EG_MEMORY;
    it = value_iter_of(field[6]);
    while (err == EG_OK && value_iter_next(&it, &v))
        err = get_change(e, v);
    return err == EG_TOO_LARGE ? EG_BAD_REQUEST : err;
}

eg_err schema_entry_get(struct schema_entry **out, struct alloc *a, struct value v) {
    struct value field[ENTRY_FIELDS];
    struct schema_entry *e;
    struct value_iter it;
    const uint8_t *at;
    uint32_t size_bytes;
    eg_err err;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != ENTRY_FIELDS)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    for (int i = 0; i < ENTRY_FIELDS; i++)
        if (!value_iter_next(&it, &field[i]))
            return EG_BAD_REQUEST;
    if (value_kind_of(field[0]) != VALUE_STRING || !value_get_bytes(field[0], &at, &size_bytes) ||
        size_bytes > SCHEMA_NAME_MAX || size_bytes == 0)
        return EG_BAD_REQUEST;
    e = schema_entry_new(a, (const char *) at, size_bytes);
    if (e == NULL)
        return EG_MEMORY;
    err = get_fields(e, field);
    if (err != EG_OK) {
        schema_entry_free(e);
        return err;
    }
    *out = e;
    return EG_OK;
}

/* ---- the rule ---------------------------------------------------------------------------- */

static bool has_change(const struct schema_entry *e, uint64_t stamp) {
    for (uint32_t i = 0; i < e->change_count; i++)
        if (e->changes[i].stamp == stamp)
            return true;
    return false;
}

static bool lacks_any(const struct schema_entry *mine, const struct schema_entry *theirs) {
    for (uint32_t i = 0; i < theirs->change_count; i++)
        if (!has_change(mine, theirs->changes[i].stamp))
            return true;
    return false;
}

static bool was_born_first(const struct schema_entry *a, const struct schema_entry *b) {
    return a->born != b->born ? a->born < b->born : a->id < b->id;
}

enum schema_advice schema_list_compare(const struct schema_entry *mine,
                                       const struct schema_entry *theirs) {
    if (mine == NULL)
        return SCHEMA_TAKE;
    if (!theirs->live) {
        if (mine->live)
            return theirs->dropped >= mine->born ? SCHEMA_DROP : SCHEMA_KEEP;
        return theirs->dropped > mine->dropped ? SCHEMA_TAKE : SCHEMA_KEEP;
    }
    if (!mine->live)
        return theirs->born > mine->dropped ? SCHEMA_TAKE : SCHEMA_KEEP;
    if (mine->id == theirs->id)
        return lacks_any(mine, theirs) ? SCHEMA_CATCH_UP : SCHEMA_KEEP;
    if (theirs->dropped >= mine->born)
        return SCHEMA_TAKE;
    if (mine->dropped >= theirs->born)
        return SCHEMA_KEEP;
    return was_born_first(theirs, mine) ? SCHEMA_CLASH : SCHEMA_KEEP;
}
