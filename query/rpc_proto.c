/* rpc_proto.c -- MessagePack-RPC envelopes over tables/value. */
#include "query/rpc_proto.h"

#include "engine/utf8.h"

#include <string.h>

/* ---- bytes to frames ---------------------------------------------------- */

void rpc_splitter_init(struct rpc_splitter *s, size_t max_frame_bytes) {
    s->max_frame_bytes = max_frame_bytes;
    value_scanner_init(&s->scanner, max_frame_bytes);
}

/* The array header of an envelope: three or four elements, in any encoding.
 * *header_bytes is set where the answer is EG_OK. */
static eg_err read_header(const uint8_t *at, size_t size_bytes, uint32_t *count,
                          size_t *header_bytes) {
    static const uint8_t zeroes[3] = {0};
    size_t zero_bytes;

    if (size_bytes == 0)
        return EG_AGAIN;
    *count = at[0] & 0x0f;
    *header_bytes = 1;
    if (at[0] == 0xdc || at[0] == 0xdd) {
        *header_bytes = at[0] == 0xdc ? 3 : 5;
        zero_bytes = EG_MIN(size_bytes - 1, *header_bytes - 2); /* a count of one byte */
        if (memcmp(at + 1, zeroes, zero_bytes) != 0)
            return EG_BAD_REQUEST;
        if (size_bytes < *header_bytes)
            return EG_AGAIN;
        *count = at[*header_bytes - 1];
    } else if ((at[0] & 0xf0) != 0x90) {
        return EG_BAD_REQUEST;
    }
    return *count == 3 || *count == 4 ? EG_OK : EG_BAD_REQUEST;
}

eg_err rpc_splitter_next(struct rpc_splitter *s, const uint8_t *at, size_t size_bytes,
                         size_t *frame_bytes) {
    uint32_t count;
    size_t header_bytes;
    eg_err err = EG_OK;

    if (s->scanner.next_bytes == 0) /* only before the scanner is past the header */
        err = read_header(at, size_bytes, &count, &header_bytes);
    if (err == EG_OK)
        err = value_scanner_run(&s->scanner, at, size_bytes);
    if (err == EG_OK) {
        *frame_bytes = s->scanner.next_bytes;
        value_scanner_init(&s->scanner, s->max_frame_bytes);
    }
    return err;
}

bool rpc_msgid_of_prefix(const uint8_t *at, size_t size_bytes, uint32_t *msgid) {
    uint32_t count;
    size_t header_bytes;
    size_t kind_bytes;
    size_t msgid_bytes;
    uint64_t kind;
    uint64_t n;

    if (read_header(at, size_bytes, &count, &header_bytes) != EG_OK || count != 4)
        return false;
    at += header_bytes;
    size_bytes -= header_bytes;
    if (value_scan(at, size_bytes, &kind_bytes) != EG_OK ||
        !value_get_u64((struct value){at, (uint32_t) kind_bytes}, &kind) || kind != RPC_REQUEST)
        return false;
    at += kind_bytes;
    size_bytes -= kind_bytes;
    if (value_scan(at, size_bytes, &msgid_bytes) != EG_OK ||
        !value_get_u64((struct value){at, (uint32_t) msgid_bytes}, &n) || n > UINT32_MAX)
        return false;
    *msgid = (uint32_t) n;
    return true;
}

/* ---- frames to envelopes ------------------------------------------------ */

static bool take_u32(struct value_iter *it, uint32_t *out) {
    struct value v;
    uint64_t n;

    if (!value_iter_next(it, &v) || !value_get_u64(v, &n) || n > UINT32_MAX)
        return false;
    *out = (uint32_t) n;
    return true;
}

/* What is left of the frame is the last element: no need to walk through it. */
static struct value take_last(const struct value_iter *it, struct value frame) {
    return (struct value){it->at, frame.size_bytes - (uint32_t) (it->at - frame.at)};
}

static eg_err parse_call(struct value_iter *it, struct value frame, struct rpc_frame *out) {
    struct value method;

    if (!value_iter_next(it, &method) || value_kind_of(method) == VALUE_EXT ||
        !value_get_bytes(method, &out->method, &out->method_bytes))
        return EG_BAD_REQUEST;
    out->params = take_last(it, frame);
    return value_kind_of(out->params) == VALUE_ARRAY ? EG_OK : EG_BAD_REQUEST;
}

eg_err rpc_parse(struct value frame, struct rpc_frame *out) {
    struct value_iter it;
    uint32_t kind;

    if (value_kind_of(frame) != VALUE_ARRAY)
        return EG_BAD_REQUEST;
    it = value_iter_of(frame);
    uint32_t count = it.left;
    if ((count != 3 && count != 4) || !take_u32(&it, &kind))
        return EG_BAD_REQUEST;
    *out = (struct rpc_frame){.kind = (enum rpc_kind) kind};
    if (kind == RPC_NOTIFICATION && count == 3)
        return parse_call(&it, frame, out);
    if (kind > RPC_RESPONSE || count != 4 || !take_u32(&it, &out->msgid))
        return EG_BAD_REQUEST;
    if (kind == RPC_REQUEST)
        return parse_call(&it, frame, out);
    if (!value_iter_next(&it, &out->error))
        return EG_BAD_REQUEST;
    out->result = take_last(&it, frame);
    return EG_OK;
}

/* ---- envelopes to frames ------------------------------------------------ */

void rpc_put_request(struct value_writer *w, uint32_t msgid, const char *method) {
    value_put_array(w, 4);
    value_put_u64(w, RPC_REQUEST);
    value_put_u64(w, msgid);
    value_put_text(w, method);
}

void rpc_put_notification(struct value_writer *w, const char *method) {
    value_put_array(w, 3);
    value_put_u64(w, RPC_NOTIFICATION);
    value_put_text(w, method);
}

void rpc_put_response(struct value_writer *w, uint32_t msgid) {
    value_put_array(w, 4);
    value_put_u64(w, RPC_RESPONSE);
    value_put_u64(w, msgid);
    value_put_nil(w);
}

/* Append as many whole characters of `text` as fit; returns the new length. */
static size_t append_utf8(char *out, size_t used, size_t size_bytes, const char *text) {
    const uint8_t *at = (const uint8_t *) text;
    size_t left = strlen(text);

    while (left > 0) {
        size_t bytes = utf8_char_bytes(at, left);
        bool valid = bytes > 0;
        bytes = valid ? bytes : 1;
        if (used + bytes > size_bytes)
            break;
        memcpy(out + used, valid ? (const void *) at : "?", bytes);
        used += bytes;
        at += bytes;
        left -= bytes;
    }
    return used;
}

void rpc_put_error(struct value_writer *w, uint32_t msgid, eg_err err, const char *text) {
    char message[RPC_ERROR_TEXT_BYTES];
    size_t used = append_utf8(message, 0, sizeof message, eg_err_wire(err));

    if (text == NULL || text[0] == '\0')
        text = eg_err_text(err);
    used = append_utf8(message, used, sizeof message, ": ");
    used = append_utf8(message, used, sizeof message, text);
    value_put_array(w, 4);
    value_put_u64(w, RPC_RESPONSE);
    value_put_u64(w, msgid);
    value_put_string(w, message, used);
    value_put_nil(w);
}
