/* node_info.c -- a node's name, address and start, as one small value. */
#include "replication/node_info.h"

#include "engine/utf8.h"

#include <string.h>
#include <xxhash.h>

enum { INFO_FIELDS = 5 };

uint64_t node_id_of(const char *name) {
    uint64_t id = XXH3_64bits(name, strlen(name));

    return id != 0 ? id : 1; /* 0: nobody */
}

void node_info_put(const struct node_info *info, struct value_writer *w) {
    value_put_array(w, INFO_FIELDS);
    value_put_text(w, info->name);
    value_put_u64(w, info->incarnation);
    value_put_text(w, info->address);
    value_put_bool(w, info->has_disc);
    value_put_u64(w, info->weight);
}

/* Characters that can stand in a line of a log or on a terminal and mean nothing there. */
static bool is_plain(const uint8_t *at, uint32_t size_bytes) {
    for (uint32_t i = 0; i < size_bytes;) {
        size_t n = utf8_char_bytes(at + i, size_bytes - i);
        if (n == 0 || at[i] < 0x20 || at[i] == 0x7f)
            return false;
        i += (uint32_t) n;
    }
    return true;
}

static bool get_text(struct value v, char *out, size_t room_bytes) {
    const uint8_t *at;
    uint32_t n;

    if (value_kind_of(v) != VALUE_STRING || !value_get_bytes(v, &at, &n) || n >= room_bytes ||
        !is_plain(at, n))
        return false;
    memcpy(out, at, n);
    out[n] = '\0';
    return true;
}

/* As the configuration has it. */
static bool is_name(const char *text) {
    size_t length = strlen(text);

    return length > 0 && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789._-") == length;
}

eg_err node_info_get(struct node_info *out, struct value v) {
    struct value field[INFO_FIELDS];
    struct value_iter it;
    uint64_t weight;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != INFO_FIELDS)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    for (uint32_t i = 0; i < INFO_FIELDS; i++)
        value_iter_next(&it, &field[i]);

    memset(out, 0, sizeof *out);
    if (!get_text(field[0], out->name, sizeof out->name) || !is_name(out->name) ||
        !value_get_u64(field[1], &out->incarnation) ||
        !get_text(field[2], out->address, sizeof out->address) ||
        !value_get_bool(field[3], &out->has_disc) || !value_get_u64(field[4], &weight) ||
        weight > NODE_WEIGHT_MAX)
        return EG_BAD_REQUEST;
    out->weight = (uint32_t) weight;
    out->id = node_id_of(out->name);
    return EG_OK;
}
