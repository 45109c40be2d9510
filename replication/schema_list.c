/* schema_list.c -- entries of tables. */
#include "replication/schema_list.h"

#include "tables/catalog.h"

#include <string.h>
#include <xxhash.h>

enum { ENTRY_FIELDS = 9, CHANGE_FIELDS = 3, SCHEMA_BYTES_MAX = 1 << 20 };

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
    e->asked = e->name;
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

/* ---- changes -------------------------------------------------------------------------- */

bool schema_change_equal(const struct schema_change *a, const struct schema_change *b) {
    return a->stamp == b->stamp && a->op == b->op && a->size_bytes == b->size_bytes &&
           memcmp(a->at, b->at, a->size_bytes) == 0;
}

static bool is_unique(struct value index) {
    struct value_iter it;
    struct value name, v;

    if (value_kind_of(index) != VALUE_MAP)
        return false;
    it = value_iter_of(index);
    while (value_iter_next(&it, &name) && value_iter_next(&it, &v))
        if (value_is_string(name, "unique"))
            return value_kind_of(v) == VALUE_TRUE;
    return false;
}

bool schema_takes_away(uint32_t op, struct value v) {
    struct value what;

    if (op == CATALOG_ALTER)
        return value_kind_of(v) != VALUE_ARRAY || !array_element(v, 0, &what) ||
               !value_is_string(what, "add_attribute");
    if (op == CATALOG_ADD_INDEX) /* others may have written what it forbids */
        return v.size_bytes != 0 && is_unique(v);
    return op == CATALOG_DROP;
}

bool schema_change_before(const struct schema_change *a, const struct schema_change *b) {
    bool takes = schema_takes_away(a->op, schema_change_value(a));
    int order;

    if (a->stamp != b->stamp)
        return a->stamp < b->stamp;
    if (takes != schema_takes_away(b->op, schema_change_value(b)))
        return takes;
    if (a->op != b->op)
        return a->op < b->op;
    order = memcmp(a->at, b->at, EG_MIN(a->size_bytes, b->size_bytes));
    return order != 0 ? order < 0 : a->size_bytes < b->size_bytes;
}

bool schema_entry_has(const struct schema_entry *e, const struct schema_change *c) {
    for (uint32_t i = 0; i < e->change_count; i++)
        if (schema_change_equal(&e->changes[i], c))
            return true;
    return false;
}

eg_err schema_entry_add(struct schema_entry *e, uint64_t stamp, uint32_t op, struct value value) {
    struct schema_change c = {stamp, op, EG_MAX(value.size_bytes, 1u), NULL};
    uint32_t at = e->change_count;
    uint8_t *copy;

    if (e->change_count == SCHEMA_CHANGES_MAX)
        return EG_TOO_LARGE;
    if (!make_room(e))
        return EG_MEMORY;
    copy = alloc_get(e->alloc, EG_MAX(value.size_bytes, 1u));
    if (copy == NULL)
        return EG_MEMORY;
    if (value.size_bytes != 0)
        memcpy(copy, value.at, value.size_bytes);
    else
        *copy = 0xc0;
    c.at = copy;
    for (; at > 0 && schema_change_before(&c, &e->changes[at - 1]); at--)
        e->changes[at] = e->changes[at - 1];
    e->changes[at] = c;
    e->change_count++;
    return EG_OK;
}

void schema_entry_cut(struct schema_entry *e, uint32_t count) {
    while (e->change_count > count) {
        struct schema_change *c = &e->changes[--e->change_count];
        alloc_put(e->alloc, c->at, c->size_bytes);
    }
}

/* What it lacks of them. */
eg_err schema_entry_add_all(struct schema_entry *e, const struct schema_entry *from) {
    eg_err err = EG_OK;

    for (uint32_t i = 0; i < from->change_count && err == EG_OK; i++) {
        const struct schema_change *c = &from->changes[i];
        if (!schema_entry_has(e, c))
            err = schema_entry_add(e, c->stamp, c->op, schema_change_value(c));
    }
    return err;
}

struct schema_entry *schema_entry_copy(const struct schema_entry *e) {
    struct schema_entry *copy = schema_entry_new(e->alloc, e->name.text, e->name.size_bytes);

    if (copy == NULL)
        return NULL;
    copy->asked = e->asked;
    copy->maker = e->maker;
    copy->id = e->id;
    copy->born = e->born;
    copy->dropped = e->dropped;
    copy->live = e->live;
    if ((e->schema.size_bytes == 0 ||
         buffer_append(&copy->schema, e->schema.at, e->schema.size_bytes)) &&
        schema_entry_add_all(copy, e) == EG_OK)
        return copy;
    schema_entry_free(copy);
    return NULL;
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

struct schema_entry *schema_list_find_id(const struct schema_list *l, uint64_t id) {
    for (struct list_node *n = l->entries.next; n != &l->entries; n = n->next) {
        struct schema_entry *e = EG_CONTAINER_OF(n, struct schema_entry, node);
        if (e->live && e->id == id)
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
    old = e->live ? schema_list_find_id(l, e->id) : NULL;
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
        value_put_raw(w, schema_change_value(&e->changes[i]));
    }
    value_put_string(w, e->asked.text, e->asked.size_bytes);
    value_put_string(w, e->maker.text, e->maker.size_bytes);
}

eg_err schema_list_sum(const struct schema_list *l, uint64_t seed, uint64_t *sum) {
    struct buffer one;
    eg_err err = EG_OK;

    *sum = 0;
    buffer_init(&one, l->alloc, SIZE_MAX / 2);
    for (struct list_node *n = l->entries.next; n != &l->entries && err == EG_OK; n = n->next) {
        const struct schema_entry *e = EG_CONTAINER_OF(n, struct schema_entry, node);
        struct value_writer w = value_writer_init(NULL, 0);
        uint8_t *room;

        schema_entry_put(e, &w);
        buffer_clear(&one);
        room = buffer_room(&one, w.need_bytes);
        if (room == NULL) {
            err = EG_MEMORY;
            break;
        }
        w = value_writer_init(room, w.need_bytes);
        schema_entry_put(e, &w);
        *sum += XXH3_64bits_withSeed(room, w.need_bytes, seed);
    }
    buffer_fini(&one);
    return err;
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

static bool get_name(struct schema_name *to, struct value v) {
    const uint8_t *at;
    uint32_t size_bytes;

    if (value_kind_of(v) != VALUE_STRING || !value_get_bytes(v, &at, &size_bytes) ||
        size_bytes > SCHEMA_NAME_MAX || memchr(at, 0, size_bytes) != NULL)
        return false;
    *to = (struct schema_name){.size_bytes = (uint8_t) size_bytes};
    memcpy(to->text, at, size_bytes);
    return true;
}

static eg_err get_fields(struct schema_entry *e, const struct value field[ENTRY_FIELDS]) {
    struct value_iter it;
    struct value v;
    eg_err err = EG_OK;

    if (!value_get_u64(field[1], &e->id) || !value_get_u64(field[2], &e->born) ||
        !value_get_u64(field[3], &e->dropped) || !value_get_bool(field[4], &e->live) ||
        value_kind_of(field[5]) != (e->live ? VALUE_MAP : VALUE_NIL) ||
        value_kind_of(field[6]) != VALUE_ARRAY || (!e->live && value_count(field[6]) != 0) ||
        !get_name(&e->asked, field[7]) || e->asked.size_bytes == 0 ||
        !get_name(&e->maker, field[8]))
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
    struct schema_name name;
    struct schema_entry *e;
    struct value_iter it;
    eg_err err;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != ENTRY_FIELDS)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    for (int i = 0; i < ENTRY_FIELDS; i++)
        if (!value_iter_next(&it, &field[i]))
            return EG_BAD_REQUEST;
    if (!get_name(&name, field[0]) || name.size_bytes == 0)
        return EG_BAD_REQUEST;
    e = schema_entry_new(a, name.text, name.size_bytes);
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
