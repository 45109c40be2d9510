/* sim_promise_field.c -- numbers and ranks, and the tables that have them. */
#include "tests/sim/sim_promise_field.h"

enum { NUMBER_BITS = 16, RANKS = 1 << 14 };

static const struct {
    const char *name, *merge;
    uint32_t fields;
    bool ranked; /* the first of them */
} tables[PROMISE_TABLES] = {
    [PROMISE_CARTS] = {"carts", "siblings", 1, false},
    [PROMISE_LEASES] = {"leases", "lww", 1, false},
    [PROMISE_NOTES] = {"notes", "lww", 1, false},
    [PROMISE_FIRSTS] = {"firsts", "first", 1, false},
    [PROMISE_MOSTS] = {"mosts", "max", 1, true},
    [PROMISE_LEASTS] = {"leasts", "min", 1, true},
    [PROMISE_FIELDS] = {"fields", "lww_by_attribute", 2, false},
    [PROMISE_JOINS] = {"joins", "callback", 2, true},
};

const char *promise_table_name(enum promise_table t) {
    return tables[t].name;
}

uint32_t promise_field_count(enum promise_table t) {
    return tables[t].fields;
}

uint64_t promise_field(enum promise_table t, uint32_t number, uint32_t field) {
    uint64_t rank = ((uint64_t) number * 2654435761 >> 8) % RANKS;

    EG_ASSERT(number >> NUMBER_BITS == 0);
    return field == 0 && tables[t].ranked ? rank << NUMBER_BITS | number : number;
}

uint32_t promise_number_of(uint64_t field) {
    return (uint32_t) field & ((1 << NUMBER_BITS) - 1);
}

struct promised promise_read_fields(enum promise_table t, struct value record) {
    struct promised p = {.there = value_kind_of(record) == VALUE_ARRAY};
    struct value_iter it;
    struct value v;

    if (!p.there)
        return p;
    it = value_iter_of(record);
    EG_ASSERT(value_iter_next(&it, &v));
    for (uint32_t i = 0; i < tables[t].fields; i++)
        EG_ASSERT(value_iter_next(&it, &v) && value_get_u64(v, &p.field[i]));
    return p;
}

void promise_put_record(struct value_writer *w, enum promise_table t, uint32_t key,
                        uint32_t number) {
    value_put_array(w, 1 + tables[t].fields);
    value_put_u64(w, key);
    for (uint32_t i = 0; i < tables[t].fields; i++)
        value_put_u64(w, promise_field(t, number, i));
}

static void put_texts(struct value_writer *w, const char *const *texts, uint32_t count) {
    value_put_array(w, count);
    for (uint32_t i = 0; i < count; i++)
        value_put_text(w, texts[i]);
}

/* [[[["$1", "$2", "$3"], ["_", "$4", "$5"]], [],
 *   [[["$1", ["max", "$2", "$4"], ["max", "$3", "$5"]]]]]]    the greater of each field */
static void put_greatest(struct value_writer *w) {
    static const char *const winner[] = {"$1", "$2", "$3"}, *const loser[] = {"_", "$4", "$5"};
    static const char *const first[] = {"max", "$2", "$4"}, *const second[] = {"max", "$3", "$5"};

    value_put_array(w, 1);
    value_put_array(w, 3);
    value_put_array(w, 2);
    put_texts(w, winner, 3);
    put_texts(w, loser, 3);
    value_put_array(w, 0);
    value_put_array(w, 1);
    value_put_array(w, 1);
    value_put_array(w, 3);
    value_put_text(w, "$1");
    put_texts(w, first, 3);
    put_texts(w, second, 3);
}

void promise_put_create(struct value_writer *w, enum promise_table t, bool on_disc, bool sync) {
    static const char *const attributes[] = {"key", "a", "b"};

    value_put_array(w, 2);
    value_put_text(w, tables[t].name);
    value_put_map(w, 5 + (tables[t].fields > 1) + (t == PROMISE_JOINS));
    value_put_text(w, "merge");
    value_put_text(w, tables[t].merge);
    value_put_text(w, "storage");
    value_put_text(w, on_disc ? "disc" : "ram");
    value_put_text(w, "durability");
    value_put_text(w, sync ? "sync" : "async");
    value_put_text(w, "shards");
    value_put_u64(w, PROMISE_SHARDS);
    value_put_text(w, "copies");
    value_put_text(w, "all");
    if (tables[t].fields > 1) {
        value_put_text(w, "attributes");
        put_texts(w, attributes, EG_COUNTOF(attributes));
    }
    if (t == PROMISE_JOINS) {
        value_put_text(w, "callback");
        put_greatest(w);
    }
}
