/* wire.c -- requests from templates, replies in place. */
#include "bench/wire.h"

#include <stdio.h>
#include <string.h>

static const char KEY_PREFIX[] = "key:";
enum { KEY_DIGITS = WIRE_KEY_BYTES - (sizeof KEY_PREFIX - 1) };

static void key_text(uint32_t key, uint8_t *at) {
    memcpy(at, KEY_PREFIX, sizeof KEY_PREFIX - 1);
    at += sizeof KEY_PREFIX - 1;
    for (int i = KEY_DIGITS - 1; i >= 0; i--) {
        at[i] = (uint8_t) ('0' + key % 10);
        key /= 10;
    }
}

/* ---- templates ------------------------------------------------------------ */

static void put(struct wire_template *t, const void *at, size_t size_bytes) {
    memcpy(t->bytes + t->size_bytes, at, size_bytes);
    t->size_bytes += size_bytes;
}

static void put_byte(struct wire_template *t, int byte) {
    t->bytes[t->size_bytes++] = (uint8_t) byte;
}

static void put_string(struct wire_template *t, const char *text, size_t size_bytes) {
    if (size_bytes < 32) {
        put_byte(t, 0xa0 | (int) size_bytes);
    } else {
        put_byte(t, 0xd9);
        put_byte(t, (int) size_bytes);
    }
    put(t, text, size_bytes);
}

/* As short as any library writes it: a byte more would be in every record. */
static size_t put_binary_head(uint8_t *at, size_t size_bytes) {
    if (size_bytes < 256) {
        at[0] = 0xc4;
        at[1] = (uint8_t) size_bytes;
        return 2;
    }
    at[0] = 0xc5;
    at[1] = (uint8_t) (size_bytes >> 8);
    at[2] = (uint8_t) (size_bytes & 0xff);
    return 3;
}

static void skip_key(struct wire_template *t) {
    t->key_at = t->size_bytes;
    t->size_bytes += WIRE_KEY_BYTES;
}

static void skip_value(struct wire_template *t, size_t value_bytes) {
    t->value_at = t->size_bytes;
    memset(t->bytes + t->size_bytes, 'v', value_bytes);
    t->size_bytes += value_bytes;
}

static void init_msgpack(struct wire *w, enum wire_op op, const char *table) {
    struct wire_template *t = &w->op[op];
    static const char *const methods[] = {"read", "write"};

    put(t, "\x94\x00\xce", 3);
    t->id_at = t->size_bytes;
    t->size_bytes += 4;
    put_string(t, methods[op], strlen(methods[op]));
    put_byte(t, 0x92);
    put_string(t, table, strlen(table));
    if (op == WIRE_WRITE)
        put_byte(t, 0x92);
    put_byte(t, 0xa0 | WIRE_KEY_BYTES);
    skip_key(t);
    if (op == WIRE_WRITE) {
        t->size_bytes += put_binary_head(t->bytes + t->size_bytes, w->value_bytes);
        skip_value(t, w->value_bytes);
    }
}

static void init_resp(struct wire *w, enum wire_op op) {
    struct wire_template *t = &w->op[op];
    char head[64];

    snprintf(head, sizeof head,
             op == WIRE_READ ? "*2\r\n$3\r\nGET\r\n$%d\r\n" : "*3\r\n$3\r\nSET\r\n$%d\r\n",
             WIRE_KEY_BYTES);
    put(t, head, strlen(head));
    skip_key(t);
    put(t, "\r\n", 2);
    if (op == WIRE_WRITE) {
        snprintf(head, sizeof head, "$%zu\r\n", w->value_bytes);
        put(t, head, strlen(head));
        skip_value(t, w->value_bytes);
        put(t, "\r\n", 2);
    }
}

void wire_init(struct wire *w, enum wire_protocol protocol, const char *table, size_t value_bytes) {
    memset(w, 0, sizeof *w);
    w->protocol = protocol;
    w->value_bytes = value_bytes;
    for (enum wire_op op = WIRE_READ; op < WIRE_OPS; op++) {
        if (protocol == WIRE_MSGPACK)
            init_msgpack(w, op, table);
        else
            init_resp(w, op);
    }
}

static void put_u32(uint8_t *at, uint32_t n) {
    at[0] = (uint8_t) (n >> 24);
    at[1] = (uint8_t) (n >> 16);
    at[2] = (uint8_t) (n >> 8);
    at[3] = (uint8_t) n;
}

static uint32_t get_u32(const uint8_t *at) {
    return (uint32_t) at[0] << 24 | (uint32_t) at[1] << 16 | (uint32_t) at[2] << 8 | at[3];
}

size_t wire_request(const struct wire *w, enum wire_op op, uint32_t key, uint32_t id, uint8_t *at) {
    const struct wire_template *t = &w->op[op];

    memcpy(at, t->bytes, t->size_bytes);
    if (w->protocol == WIRE_MSGPACK)
        put_u32(at + t->id_at, id);
    key_text(key, at + t->key_at);
    if (op == WIRE_WRITE && w->value_bytes >= WIRE_KEY_BYTES)
        memcpy(at + t->value_at, at + t->key_at, WIRE_KEY_BYTES);
    return t->size_bytes;
}

size_t wire_create_table(const char *table, const char *type, uint8_t *at) {
    struct wire_template t = {.size_bytes = 0};

    put(&t, "\x94\x00\x00", 3);
    put_string(&t, "create_table", strlen("create_table"));
    put_byte(&t, 0x92);
    put_string(&t, table, strlen(table));
    put_byte(&t, 0x81);
    put_string(&t, "type", 4);
    put_string(&t, type, strlen(type));
    memcpy(at, t.bytes, t.size_bytes);
    return t.size_bytes;
}

/* ---- MessagePack replies ---------------------------------------------------- */

/* A string or binary at `at`: its content and the bytes it takes, as wire_parse(). */
static ptrdiff_t parse_bytes(const uint8_t *at, size_t size_bytes, struct wire_reply *out) {
    size_t head, body;

    if (size_bytes < 5)
        return 0; /* the shortest reply is longer */
    if ((at[0] & 0xe0) == 0xa0)
        head = 1, body = at[0] & 0x1f;
    else if (at[0] == 0xd9 || at[0] == 0xc4)
        head = 2, body = at[1];
    else if (at[0] == 0xda || at[0] == 0xc5)
        head = 3, body = (size_t) at[1] << 8 | at[2];
    else
        return -1;
    if (size_bytes < head + body)
        return 0;
    out->at = at + head;
    out->size_bytes = body;
    return (ptrdiff_t) (head + body);
}

/* [[key, value]] or [] or true: all a read or a write answers. */
static ptrdiff_t parse_result(const uint8_t *at, size_t size_bytes, struct wire_reply *out) {
    ptrdiff_t key, value;

    out->outcome = at[0] == 0x90 ? WIRE_MISS : WIRE_DONE;
    if (at[0] == 0x90 || at[0] == 0xc3 || at[0] == 0xc2)
        return 1;
    if (at[0] != 0x91)
        return -1;
    if (size_bytes < 2)
        return 0;
    if (at[1] != 0x92)
        return -1;
    key = parse_bytes(at + 2, size_bytes - 2, out);
    if (key <= 0)
        return key;
    value = parse_bytes(at + 2 + key, size_bytes - 2 - (size_t) key, out);
    out->outcome = WIRE_HIT;
    return value <= 0 ? value : 2 + key + value;
}

static ptrdiff_t parse_msgpack(const uint8_t *at, size_t size_bytes, struct wire_reply *out) {
    size_t used = 3;
    ptrdiff_t rest;

    if (size_bytes < 5)
        return 0;
    if (at[0] != 0x94 || at[1] != 1)
        return -1;
    if (at[2] == 0xce) { /* the id, in any width a server may choose */
        if (size_bytes < 9)
            return 0;
        out->id = get_u32(at + 3);
        used = 7;
    } else if (at[2] == 0xcd) {
        out->id = (uint32_t) at[3] << 8 | at[4];
        used = 5;
    } else if (at[2] == 0xcc) {
        out->id = at[3];
        used = 4;
    } else {
        out->id = at[2];
    }
    if (size_bytes < used + 2)
        return 0;
    if (at[used] != 0xc0) {
        rest = parse_bytes(at + used, size_bytes - used, out);
        out->outcome = WIRE_ERROR;
        if (rest <= 0 || size_bytes < used + (size_t) rest + 1)
            return rest < 0 ? -1 : 0;
        return (ptrdiff_t) used + rest + 1; /* and the nil */
    }
    rest = parse_result(at + used + 1, size_bytes - used - 1, out);
    return rest <= 0 ? rest : (ptrdiff_t) used + 1 + rest;
}

/* ---- RESP replies ------------------------------------------------------------ */

static ptrdiff_t parse_resp(const uint8_t *at, size_t size_bytes, struct wire_reply *out) {
    const uint8_t *end = memchr(at, '\n', size_bytes);
    size_t head, body = 0;

    if (end == NULL)
        return 0;
    head = (size_t) (end - at) + 1;
    out->at = at + 1;
    out->size_bytes = head - 3;
    if (at[0] == '+' || at[0] == '-') {
        out->outcome = at[0] == '+' ? WIRE_DONE : WIRE_ERROR;
        return (ptrdiff_t) head;
    }
    if (at[0] != '$')
        return -1;
    if (at[1] == '-') {
        out->outcome = WIRE_MISS;
        return (ptrdiff_t) head;
    }
    for (const uint8_t *digit = at + 1; *digit != '\r'; digit++)
        body = body * 10 + (size_t) (*digit - '0');
    if (size_bytes < head + body + 2)
        return 0;
    out->outcome = WIRE_HIT;
    out->at = at + head;
    out->size_bytes = body;
    return (ptrdiff_t) (head + body + 2);
}

ptrdiff_t wire_parse(const struct wire *w, const uint8_t *at, size_t size_bytes,
                     struct wire_reply *out) {
    return w->protocol == WIRE_MSGPACK ? parse_msgpack(at, size_bytes, out)
                                       : parse_resp(at, size_bytes, out);
}

bool wire_value_is_of(const struct wire *w, const struct wire_reply *r, uint32_t key) {
    uint8_t text[WIRE_KEY_BYTES];

    if (r->size_bytes != w->value_bytes)
        return false;
    if (w->value_bytes < WIRE_KEY_BYTES)
        return true;
    key_text(key, text);
    return memcmp(text, r->at, WIRE_KEY_BYTES) == 0;
}

size_t wire_null_reply(const struct wire *w, const uint8_t *request, enum wire_op op, uint8_t *at) {
    const struct wire_template *t = &w->op[op];
    uint8_t *start = at;

    if (w->protocol == WIRE_RESP) {
        if (op == WIRE_WRITE) {
            memcpy(at, "+OK\r\n", 5);
            return 5;
        }
        at += sprintf((char *) at, "$%zu\r\n", w->value_bytes);
    } else {
        memcpy(at, "\x94\x01\xce", 3);
        memcpy(at + 3, request + t->id_at, 4);
        at[7] = 0xc0;
        at += 8;
        if (op == WIRE_WRITE) {
            *at++ = 0xc3;
            return (size_t) (at - start);
        }
        *at++ = 0x91;
        *at++ = 0x92;
        memcpy(at, request + t->key_at - 1, WIRE_KEY_BYTES + 1);
        at += WIRE_KEY_BYTES + 1;
        at += put_binary_head(at, w->value_bytes);
    }
    memset(at, 'v', w->value_bytes);
    if (w->value_bytes >= WIRE_KEY_BYTES)
        memcpy(at, request + t->key_at, WIRE_KEY_BYTES);
    at += w->value_bytes;
    if (w->protocol == WIRE_RESP) {
        memcpy(at, "\r\n", 2);
        at += 2;
    }
    return (size_t) (at - start);
}
