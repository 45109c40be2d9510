/* remote_wire.c -- messages of actors, written and read. */
#include "replication/remote_wire.h"

#include <string.h>

enum { MESSAGE_FIELDS = 6, TO_FIELDS = 3, FROM_FIELDS = 2, REASON_FIELDS = 3 };

static bool has_reason(enum remote_kind kind) {
    return kind == REMOTE_EXIT || kind == REMOTE_EXIT_LINKED || kind == REMOTE_DOWN;
}

void remote_message_put(const struct remote_message *m, struct value_writer *w) {
    value_put_array(w, MESSAGE_FIELDS);
    value_put_u64(w, m->kind);
    if (m->to_name) {
        value_put_text(w, m->name);
    } else {
        value_put_array(w, TO_FIELDS);
        value_put_u64(w, m->incarnation);
        value_put_u64(w, m->to.slot);
        value_put_u64(w, m->to.generation);
    }
    if (eg_pid_is_none(m->from)) {
        value_put_nil(w);
    } else {
        value_put_array(w, FROM_FIELDS);
        value_put_u64(w, m->from.slot);
        value_put_u64(w, m->from.generation);
    }
    value_put_u64(w, m->ref);
    value_put_u64(w, m->tag);
    if (has_reason(m->kind)) {
        value_put_array(w, REASON_FIELDS);
        value_put_u64(w, m->reason.kind);
        value_put_i64(w, m->reason.code);
        value_put_text(w, m->reason.text);
    } else {
        value_put_binary(w, m->body, m->body_bytes);
    }
}

/* ---- from outside ------------------------------------------------------------ */

static bool elements(struct value v, struct value *out, uint32_t count) {
    struct value_iter it;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != count)
        return false;
    it = value_iter_of(v);
    for (uint32_t i = 0; i < count; i++)
        value_iter_next(&it, &out[i]);
    return true;
}

static bool get_u32(struct value v, uint32_t *out) {
    uint64_t n;

    if (!value_get_u64(v, &n) || n > UINT32_MAX)
        return false;
    *out = (uint32_t) n;
    return true;
}

static bool get_to(struct value v, struct remote_message *out) {
    struct value field[TO_FIELDS];
    const uint8_t *at;
    uint32_t n;

    if (value_kind_of(v) == VALUE_STRING) {
        out->to_name = true;
        if (!value_get_bytes(v, &at, &n) || n == 0 || n >= sizeof out->name ||
            memchr(at, '\0', n) != NULL)
            return false;
        memcpy(out->name, at, n);
        out->name[n] = '\0';
        return true;
    }
    return elements(v, field, TO_FIELDS) && value_get_u64(field[0], &out->incarnation) &&
           get_u32(field[1], &out->to.slot) && get_u32(field[2], &out->to.generation) &&
           out->to.generation != 0;
}

static bool get_from(struct value v, struct remote_message *out) {
    struct value field[FROM_FIELDS];

    return value_kind_of(v) == VALUE_NIL ||
           (elements(v, field, FROM_FIELDS) && get_u32(field[0], &out->from.slot) &&
            get_u32(field[1], &out->from.generation) && out->from.generation != 0);
}

static bool get_reason(struct value v, eg_exit *out) {
    struct value field[REASON_FIELDS];
    const uint8_t *at;
    int64_t code;
    uint32_t kind, n;

    if (!elements(v, field, REASON_FIELDS) || !get_u32(field[0], &kind) || kind > EG_EXIT_CRASH ||
        !value_get_i64(field[1], &code) || code < INT32_MIN || code > INT32_MAX ||
        value_kind_of(field[2]) != VALUE_STRING || !value_get_bytes(field[2], &at, &n) ||
        n >= sizeof out->text)
        return false;
    out->kind = (eg_exit_kind) kind;
    out->code = (int32_t) code;
    memcpy(out->text, at, n);
    out->text[n] = '\0';
    return true;
}

eg_err remote_message_get(struct remote_message *out, struct value v) {
    struct value field[MESSAGE_FIELDS];
    uint32_t kind;

    memset(out, 0, sizeof *out);
    if (!elements(v, field, MESSAGE_FIELDS) || !get_u32(field[0], &kind) ||
        kind >= REMOTE_KIND_COUNT || !get_to(field[1], out) || !get_from(field[2], out) ||
        !value_get_u64(field[3], &out->ref) || !get_u32(field[4], &out->tag))
        return EG_BAD_REQUEST;
    out->kind = (enum remote_kind) kind;
    if (has_reason(out->kind))
        return get_reason(field[5], &out->reason) ? EG_OK : EG_BAD_REQUEST;
    return value_kind_of(field[5]) == VALUE_BINARY &&
                   value_get_bytes(field[5], &out->body, &out->body_bytes)
               ? EG_OK
               : EG_BAD_REQUEST;
}
