/* handshake.c -- the messages before a link, and who may say which when. */
#include "replication/handshake.h"

#include <stdio.h>
#include <string.h>

enum {
    HELLO_FIELDS = 6, /* more are a later version's and are not looked at */
    PROOF_FIELDS = 3,
    ATTACH_FIELDS = 4,
    TEXT_BYTES = 200, /* of a refusal */
    RPC_REQUEST_FIELDS = 4,
    SAID_BYTES = 2 * HANDSHAKE_BYTES_MAX + 128,
};

static const char magic[] = "engram-peer";
static const char proof_word[] = "proof", welcome_word[] = "welcome", ready_word[] = "ready",
                  refused_word[] = "refused";

static enum handshake_step fail(struct handshake *h, enum handshake_refusal why,
                                struct err_note *note, const char *text) {
    err_note(note, EG_DENIED, "%s", text);
    h->refusal = why;
    return HANDSHAKE_FAILED;
}

/* The elements of an array, the first `count` of them.  False: it has fewer. */
static bool elements(struct value v, struct value *out, uint32_t count) {
    struct value_iter it;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) < count)
        return false;
    it = value_iter_of(v);
    for (uint32_t i = 0; i < count; i++)
        value_iter_next(&it, &out[i]);
    return true;
}

static bool get_binary(struct value v, const uint8_t **at, uint32_t size_bytes) {
    uint32_t n;

    return value_kind_of(v) == VALUE_BINARY && value_get_bytes(v, at, &n) && n == size_bytes;
}

/* ---- HELLO ------------------------------------------------------------------- */

static void put_hello(struct handshake *h, struct value_writer *out) {
    struct value_writer w = value_writer_init(h->hello[!h->dials], HANDSHAKE_BYTES_MAX);

    value_put_array(&w, HELLO_FIELDS);
    value_put_text(&w, magic);
    value_put_u64(&w, HANDSHAKE_VERSION_MIN);
    value_put_u64(&w, HANDSHAKE_VERSION);
    value_put_u64(&w, HANDSHAKE_FEATURES);
    value_put_binary(&w, h->nonce, sizeof h->nonce);
    node_info_put(h->self->info, &w);
    EG_ASSERT(!w.overflow);
    h->hello_bytes[!h->dials] = (uint32_t) w.need_bytes;
    value_put_raw(out, (struct value){h->hello[!h->dials], (uint32_t) w.need_bytes});
}

/* A client that knocks at the wrong port is told so in its own words. */
static bool answer_client(struct value message, struct value_writer *out) {
    struct value field[RPC_REQUEST_FIELDS];
    uint64_t kind, id;

    if (!elements(message, field, RPC_REQUEST_FIELDS) || !value_get_u64(field[0], &kind) ||
        kind != 0 || !value_get_u64(field[1], &id) || id > UINT32_MAX)
        return false;
    value_put_array(out, RPC_REQUEST_FIELDS);
    value_put_u64(out, 1);
    value_put_u64(out, id);
    value_put_text(out, "denied: here nodes speak to each other; clients connect to --listen");
    value_put_nil(out);
    return true;
}

static enum handshake_step hear_hello(struct handshake *h, struct value message,
                                      struct value_writer *out, struct err_note *note) {
    struct value field[HELLO_FIELDS];
    const uint8_t *nonce;
    uint64_t lowest, highest;

    /* Any version begins with these three. */
    if (!elements(message, field, 3) || !value_is_string(field[0], magic) ||
        !value_get_u64(field[1], &lowest) || !value_get_u64(field[2], &highest)) {
        if (!h->dials && answer_client(message, out))
            h->state = HANDSHAKE_AT_END;
        return fail(h, HANDSHAKE_IS_OTHER_PROTOCOL, note, "it does not speak as a node does");
    }
    if (lowest > HANDSHAKE_VERSION || highest < HANDSHAKE_VERSION_MIN || lowest > highest) {
        h->refusal = HANDSHAKE_IS_OTHER_VERSION;
        err_note(note, EG_DENIED,
                 "it speaks versions %llu to %llu of the protocol between nodes, not %d to %d",
                 (unsigned long long) lowest, (unsigned long long) highest, HANDSHAKE_VERSION_MIN,
                 HANDSHAKE_VERSION);
        return HANDSHAKE_FAILED;
    }
    if (!elements(message, field, HELLO_FIELDS) || !value_get_u64(field[3], &h->features) ||
        !get_binary(field[4], &nonce, HANDSHAKE_NONCE_BYTES) ||
        node_info_get(&h->peer, field[5]) != EG_OK)
        return fail(h, HANDSHAKE_IS_OTHER_PROTOCOL, note, "it does not say properly who it is");
    h->version = (uint32_t) EG_MIN(highest, (uint64_t) HANDSHAKE_VERSION);
    h->features &= HANDSHAKE_FEATURES;
    h->hello_bytes[h->dials] = message.size_bytes;
    memcpy(h->hello[h->dials], message.at, message.size_bytes);
    if (h->dials)
        return HANDSHAKE_MET;
    put_hello(h, out);
    h->state = HANDSHAKE_AT_MET;
    return HANDSHAKE_MORE;
}

/* ---- PROOF and WELCOME --------------------------------------------------------- */

static bool make_mac(const struct handshake *h, bool of_dialler, struct value attach,
                     uint8_t out[PROOF_BYTES]) {
    uint8_t said[SAID_BYTES];
    struct value_writer w = value_writer_init(said, sizeof said);

    value_put_text(&w, of_dialler ? "engram: who dials" : "engram: who accepts");
    for (uint32_t i = 0; i < 2; i++)
        value_put_raw(&w, (struct value){h->hello[i], h->hello_bytes[i]});
    value_put_raw(&w, attach);
    EG_ASSERT(!w.overflow);
    return proof_make(out, h->self->cookie, h->self->cookie_bytes, said, w.need_bytes);
}

static eg_err put_mac(const struct handshake *h, const char *word,
                      const struct handshake_attach *attach, struct value_writer *out) {
    uint8_t mac[PROOF_BYTES], room[64];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_array(&w, ATTACH_FIELDS);
    value_put_u64(&w, attach->session);
    value_put_u64(&w, attach->received);
    value_put_u64(&w, attach->fresh);
    value_put_u64(&w, attach->credit_bytes);
    EG_ASSERT(!w.overflow);
    struct value v = {room, (uint32_t) w.need_bytes};
    if (!make_mac(h, h->dials, v, mac))
        return EG_MEMORY;
    value_put_array(out, PROOF_FIELDS);
    value_put_text(out, word);
    value_put_binary(out, mac, sizeof mac);
    value_put_raw(out, v);
    return EG_OK;
}

static bool get_attach(struct value v, struct handshake_attach *out) {
    struct value field[ATTACH_FIELDS];

    return elements(v, field, ATTACH_FIELDS) && value_get_u64(field[0], &out->session) &&
           value_get_u64(field[1], &out->received) && value_get_u64(field[2], &out->fresh) &&
           value_get_u64(field[3], &out->credit_bytes);
}

static enum handshake_step hear_mac(struct handshake *h, struct value message, const char *word,
                                    struct err_note *note) {
    struct value field[PROOF_FIELDS];
    uint8_t expected[PROOF_BYTES];
    const uint8_t *mac;

    if (!elements(message, field, PROOF_FIELDS) || !value_is_string(field[0], word) ||
        !get_binary(field[1], &mac, PROOF_BYTES))
        return fail(h, HANDSHAKE_IS_OTHER_PROTOCOL, note, "it says something else than its proof");
    if (!make_mac(h, !h->dials, field[2], expected))
        return fail(h, HANDSHAKE_IS_TOO_MUCH, note, HANDSHAKE_NO_PROOF);
    if (!proof_equal(mac, expected))
        return fail(h, HANDSHAKE_IS_OTHER_COOKIE, note, "the cookies differ");
    if (!get_attach(field[2], &h->attach) || (h->dials ? h->attach.session : h->attach.fresh) == 0)
        return fail(h, HANDSHAKE_IS_OTHER_PROTOCOL, note, "it does not say where the link stands");
    return h->dials ? HANDSHAKE_WELCOMED : HANDSHAKE_ASKED;
}

/* ---- the end ------------------------------------------------------------------------ */

/* Text of somebody who may be a stranger, for our log: one line of what can be printed. */
static bool hear_refusal(struct handshake *h, struct value message, struct err_note *note) {
    struct value field[3];
    const uint8_t *at;
    uint64_t code;
    uint32_t n;
    char text[TEXT_BYTES + 1];

    if (!elements(message, field, 3) || !value_is_string(field[0], refused_word) ||
        !value_get_u64(field[1], &code) || value_kind_of(field[2]) != VALUE_STRING ||
        !value_get_bytes(field[2], &at, &n))
        return false;
    n = EG_MIN(n, (uint32_t) TEXT_BYTES);
    for (uint32_t i = 0; i < n; i++)
        text[i] = at[i] >= 0x20 && at[i] < 0x7f ? (char) at[i] : '?';
    text[n] = '\0';
    h->refusal = (enum handshake_refusal) EG_MIN(code, (uint64_t) INT32_MAX);
    h->state = HANDSHAKE_AT_END;
    err_note(note, EG_DENIED, "%s", text);
    return true;
}

static enum handshake_step hear_ready(struct handshake *h, struct value message,
                                      struct err_note *note) {
    struct value field;

    if (!elements(message, &field, 1) || !value_is_string(field, ready_word))
        return fail(h, HANDSHAKE_IS_OTHER_PROTOCOL, note, "it says something else than ready");
    h->state = HANDSHAKE_AT_END;
    return HANDSHAKE_DONE;
}

/* ---- in header order ------------------------------------------------------------------ */

void handshake_start(struct handshake *h, const struct handshake_self *self, bool dials,
                     const uint8_t nonce[HANDSHAKE_NONCE_BYTES], struct value_writer *out) {
    h->self = self;
    h->dials = dials;
    h->state = HANDSHAKE_AT_HELLO;
    h->refusal = 0;
    h->hello_bytes[0] = h->hello_bytes[1] = 0;
    memcpy(h->nonce, nonce, sizeof h->nonce);
    if (dials)
        put_hello(h, out);
}

enum handshake_step handshake_receive(struct handshake *h, struct value message,
                                      struct value_writer *out, struct err_note *note) {
    EG_ASSERT(h->state != HANDSHAKE_AT_END);
    EG_ASSERT(message.size_bytes <= HANDSHAKE_BYTES_MAX);
    if (hear_refusal(h, message, note))
        return HANDSHAKE_REFUSED;
    switch (h->state) {
    case HANDSHAKE_AT_HELLO:
        return hear_hello(h, message, out, note);
    case HANDSHAKE_AT_MET:
        return hear_mac(h, message, proof_word, note);
    case HANDSHAKE_AT_PROVED:
        return hear_mac(h, message, welcome_word, note);
    case HANDSHAKE_AT_WELCOMED:
        return hear_ready(h, message, note);
    case HANDSHAKE_AT_END:
        break;
    }
    return fail(h, HANDSHAKE_IS_OTHER_PROTOCOL, note, "the handshake is over");
}

eg_err handshake_prove(struct handshake *h, const struct handshake_attach *attach,
                       struct value_writer *out) {
    EG_ASSERT(h->dials && h->state == HANDSHAKE_AT_HELLO && h->hello_bytes[1] > 0);
    EG_ASSERT(attach->fresh != 0);
    h->state = HANDSHAKE_AT_PROVED;
    return put_mac(h, proof_word, attach, out);
}

eg_err handshake_welcome(struct handshake *h, const struct handshake_attach *attach,
                         struct value_writer *out) {
    EG_ASSERT(!h->dials && h->state == HANDSHAKE_AT_MET);
    EG_ASSERT(attach->session != 0);
    h->state = HANDSHAKE_AT_WELCOMED;
    return put_mac(h, welcome_word, attach, out);
}

void handshake_ready(struct handshake *h, struct value_writer *out) {
    EG_ASSERT(h->dials && h->state == HANDSHAKE_AT_PROVED);
    h->state = HANDSHAKE_AT_END;
    value_put_array(out, 1);
    value_put_text(out, ready_word);
}

void handshake_refuse(struct handshake *h, enum handshake_refusal why, const char *text,
                      struct value_writer *out) {
    if (h->state == HANDSHAKE_AT_END)
        return; /* it has been told already */
    h->state = HANDSHAKE_AT_END;
    h->refusal = why;
    value_put_array(out, 3);
    value_put_text(out, refused_word);
    value_put_u64(out, why);
    value_put_string(out, text, EG_MIN(strlen(text), (size_t) TEXT_BYTES));
}
