/* wire.h -- the two protocols the load generator speaks.
 *
 * Requests have fixed sizes: keys are 16 bytes, values are given at start, message
 * ids always take five bytes.  So a request is a template with two places to fill
 * in, and the null server can tell requests apart without parsing.
 *
 *     MessagePack-RPC   [0, id, "read", [table, key]]   [0, id, "write", [table, [key, value]]]
 *     RESP              GET key                         SET key value
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_protocol { WIRE_MSGPACK, WIRE_RESP };
enum wire_op { WIRE_READ, WIRE_WRITE, WIRE_OPS };

enum {
    WIRE_KEY_BYTES = 16,
    WIRE_VALUE_MAX = 4096,
    WIRE_REQUEST_MAX = WIRE_VALUE_MAX + 512,
    WIRE_TABLE_MAX = 200,
};

struct wire_template {
    uint8_t bytes[WIRE_REQUEST_MAX];
    size_t size_bytes;
    size_t id_at;    /* MessagePack: where the big-endian id goes */
    size_t key_at;   /* where the key's text goes                 */
    size_t value_at; /* writes: where the value goes              */
};

struct wire {
    enum wire_protocol protocol;
    size_t value_bytes;
    struct wire_template op[WIRE_OPS];
};

void wire_init(struct wire *w, enum wire_protocol protocol, const char *table, size_t value_bytes);

/* Write one request for key number `key` with `id`; returns its size. */
size_t wire_request(const struct wire *w, enum wire_op op, uint32_t key, uint32_t id, uint8_t *at);

enum wire_outcome { WIRE_HIT, WIRE_MISS, WIRE_DONE, WIRE_ERROR };

struct wire_reply {
    enum wire_outcome outcome;
    uint32_t id;       /* MessagePack; RESP answers in order */
    const uint8_t *at; /* the value of a HIT, the text of an ERROR */
    size_t size_bytes;
};

/* Bytes of the reply that begins at `at`; 0: not all there; -1: no reply at all. */
ptrdiff_t wire_parse(const struct wire *w, const uint8_t *at, size_t size_bytes,
                     struct wire_reply *out);

/* The value written under a key begins with the key's text, as far as it fits. */
bool wire_value_is_of(const struct wire *w, const struct wire_reply *r, uint32_t key);

/* create_table, for the protocol that has tables; returns its size. */
size_t wire_create_table(const char *table, const char *type, uint8_t *at);

/* Answers of the null server: as short as the real ones are long. */
size_t wire_null_reply(const struct wire *w, const uint8_t *request, enum wire_op op, uint8_t *at);

#endif /* BENCH_WIRE_H */
