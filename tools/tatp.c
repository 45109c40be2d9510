/* tatp.c -- records and draws of the telecom benchmark. */
#include "tools/tatp.h"

#include <stdio.h>

enum { NUMBER_DIGITS = 15, STARTS = 3 };

const struct tatp_schema tatp_schema[TATP_TABLES] = {
    [TATP_SUBSCRIBER] = {"subscriber",
                         7,
                         {"s_id", "sub_nbr", "bits", "hexes", "bytes", "msc_location",
                          "vlr_location"},
                         "sub_nbr"},
    [TATP_ACCESS_INFO] = {"access_info", 5, {"key", "data1", "data2", "data3", "data4"}, NULL},
    [TATP_SPECIAL_FACILITY] = {"special_facility",
                               5,
                               {"key", "is_active", "error_cntrl", "data_a", "data_b"},
                               NULL},
    [TATP_CALL_FORWARDING] = {"call_forwarding", 3, {"key", "end_time", "numberx"}, NULL},
};

const char *const tatp_kind_name[TATP_KINDS] = {
    [TATP_GET_SUBSCRIBER_DATA] = "get_subscriber_data",
    [TATP_GET_NEW_DESTINATION] = "get_new_destination",
    [TATP_GET_ACCESS_DATA] = "get_access_data",
    [TATP_UPDATE_SUBSCRIBER_DATA] = "update_subscriber_data",
    [TATP_UPDATE_LOCATION] = "update_location",
    [TATP_INSERT_CALL_FORWARDING] = "insert_call_forwarding",
    [TATP_DELETE_CALL_FORWARDING] = "delete_call_forwarding",
};

static uint64_t next_random(uint64_t *s) { /* splitmix64 */
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t uniform(uint64_t *random, uint64_t n) { /* from 1 to n */
    return 1 + next_random(random) % n;
}

/* ---- records ------------------------------------------------------------------- */

void tatp_put_number(eg_writer *w, uint64_t subscriber) {
    char text[NUMBER_DIGITS + 8];

    snprintf(text, sizeof text, "%0*llu", NUMBER_DIGITS, (unsigned long long) subscriber);
    eg_put_string(w, text);
}

void tatp_put_key(eg_writer *w, uint64_t subscriber, uint64_t type) {
    eg_put_array(w, 2);
    eg_put_uint(w, subscriber);
    eg_put_uint(w, type);
}

void tatp_put_forwarding_key(eg_writer *w, uint64_t subscriber, uint64_t type, uint64_t start) {
    eg_put_array(w, 3);
    eg_put_uint(w, subscriber);
    eg_put_uint(w, type);
    eg_put_uint(w, start);
}

void tatp_put_forwarding(eg_writer *w, uint64_t subscriber, uint64_t type, uint64_t start,
                         uint64_t end) {
    eg_put_array(w, 3);
    tatp_put_forwarding_key(w, subscriber, type, start);
    eg_put_uint(w, end);
    tatp_put_number(w, subscriber);
}

/* One to four of the four types: bits. */
static uint32_t some_types(uint64_t *random) {
    uint32_t set = 0, left = (uint32_t) uniform(random, TATP_TYPES);

    while (left != 0) {
        uint32_t bit = 1u << next_random(random) % TATP_TYPES;
        left -= (set & bit) == 0;
        set |= bit;
    }
    return set;
}

struct filling {
    tatp_record_fn *each;
    void *user;
    uint64_t random;
};

static void fill_subscriber(struct filling *f, uint64_t s) {
    uint8_t room[TATP_RECORD_BYTES], some[10] = {(uint8_t) next_random(&f->random)};
    eg_writer w = eg_writer_init(room, sizeof room);

    eg_put_array(&w, 7);
    eg_put_uint(&w, s);
    tatp_put_number(&w, s);
    eg_put_uint(&w, next_random(&f->random) % 1024);
    eg_put_bytes(&w, some, 5);
    eg_put_bytes(&w, some, 10);
    eg_put_uint(&w, next_random(&f->random) >> 32);
    eg_put_uint(&w, next_random(&f->random) >> 32);
    f->each(f->user, TATP_SUBSCRIBER, &w);
}

static void fill_access(struct filling *f, uint64_t s, uint64_t type) {
    uint8_t room[TATP_RECORD_BYTES];
    eg_writer w = eg_writer_init(room, sizeof room);

    eg_put_array(&w, 5);
    tatp_put_key(&w, s, type);
    eg_put_uint(&w, next_random(&f->random) % 256);
    eg_put_uint(&w, next_random(&f->random) % 256);
    eg_put_string(&w, "abc");
    eg_put_string(&w, "abcde");
    f->each(f->user, TATP_ACCESS_INFO, &w);
}

static void fill_facility(struct filling *f, uint64_t s, uint64_t type) {
    uint8_t room[TATP_RECORD_BYTES];
    eg_writer w = eg_writer_init(room, sizeof room);

    eg_put_array(&w, 5);
    tatp_put_key(&w, s, type);
    eg_put_bool(&w, uniform(&f->random, 100) <= 85);
    eg_put_uint(&w, next_random(&f->random) % 256);
    eg_put_uint(&w, next_random(&f->random) % 256);
    eg_put_string(&w, "abcde");
    f->each(f->user, TATP_SPECIAL_FACILITY, &w);
}

static void fill_forwardings(struct filling *f, uint64_t s, uint64_t type) {
    uint64_t count = next_random(&f->random) % (STARTS + 1);

    for (uint64_t i = 0; i < count; i++) {
        uint8_t room[TATP_RECORD_BYTES];
        eg_writer w = eg_writer_init(room, sizeof room);
        uint64_t start = i * TATP_HOURS;
        tatp_put_forwarding(&w, s, type, start, start + uniform(&f->random, TATP_HOURS));
        f->each(f->user, TATP_CALL_FORWARDING, &w);
    }
}

void tatp_fill(uint64_t subscribers, tatp_record_fn *each, void *user) {
    struct filling f = {.each = each, .user = user, .random = 1};

    for (uint64_t s = 1; s <= subscribers; s++) {
        uint32_t infos = some_types(&f.random), facilities = some_types(&f.random);

        fill_subscriber(&f, s);
        for (uint64_t type = 1; type <= TATP_TYPES; type++) {
            if ((infos & 1u << (type - 1)) != 0)
                fill_access(&f, s, type);
            if ((facilities & 1u << (type - 1)) == 0)
                continue;
            fill_facility(&f, s, type);
            fill_forwardings(&f, s, type);
        }
    }
}

/* ---- transactions ---------------------------------------------------------------- */

static enum tatp_kind some_kind(uint64_t *random) {
    static const uint8_t up_to[TATP_KINDS] = {35, 45, 80, 82, 96, 98, 100}; /* percent */
    uint64_t percent = uniform(random, 100);
    uint32_t kind = 0;

    while (percent > up_to[kind])
        kind++;
    return (enum tatp_kind) kind;
}

static uint64_t some_subscriber(uint64_t *random, uint64_t subscribers) {
    uint64_t a = subscribers <= 1000000 ? 65535 : 1048575;
    return ((next_random(random) % (a + 1) | uniform(random, subscribers)) % subscribers) + 1;
}

void tatp_draw(struct tatp_call *c, uint64_t *random, uint64_t subscribers) {
    c->kind = some_kind(random);
    c->subscriber = some_subscriber(random, subscribers);
    c->type = uniform(random, TATP_TYPES);
    c->start = (uniform(random, STARTS) - 1) * TATP_HOURS;
    c->end = c->start + uniform(random, TATP_HOURS);
    c->until = uniform(random, (uint64_t) STARTS * TATP_HOURS);
    c->bits = next_random(random) % 1024;
    c->data = next_random(random) % 256;
}
