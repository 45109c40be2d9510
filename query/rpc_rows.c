/* rpc_rows.c -- what a query's answer has around its rows. */
#include "query/rpc_rows.h"

#include <string.h>

enum { ARRAY32_BYTES = 5, CLOSE_UP_BYTES_MAX = 4096, TEXT_SHOWN_MAX = 128 };

static bool put_text(struct buffer *out, const char *text) {
    uint8_t room[TEXT_SHOWN_MAX];
    struct value_writer w = value_writer_init(room, sizeof room);

    value_put_text(&w, text);
    return buffer_append(out, room, w.need_bytes);
}

eg_err rpc_rows_begin(const struct value *names, struct buffer *out, size_t *header_at) {
    static const uint8_t map_of_three = 0x83, array_of_two = 0x92, array32[ARRAY32_BYTES] = {0xdd};
    bool put = buffer_append(out, names == NULL ? &array_of_two : &map_of_three, 1);

    if (names != NULL)
        put = put && put_text(out, "columns") && buffer_append(out, names->at, names->size_bytes) &&
              put_text(out, "rows");
    *header_at = out->size_bytes;
    put = put && buffer_append(out, array32, sizeof array32);
    return put ? EG_OK : EG_TOO_LARGE;
}

eg_err rpc_rows_end(bool first, size_t header_at, uint64_t rows, struct buffer *out) {
    uint8_t *header = out->at + header_at;
    size_t body_bytes = out->size_bytes - header_at - ARRAY32_BYTES;
    struct value_writer w = value_writer_init(header, ARRAY32_BYTES);

    if (body_bytes <= CLOSE_UP_BYTES_MAX) { /* moved to get a shorter header */
        value_put_array(&w, (uint32_t) rows);
        memmove(header + w.need_bytes, header + ARRAY32_BYTES, body_bytes);
        out->size_bytes -= ARRAY32_BYTES - w.need_bytes;
    } else {
        for (int i = 0; i < 4; i++)
            header[1 + i] = (uint8_t) (rows >> (24 - 8 * i));
    }
    return !first || put_text(out, "cursor") ? EG_OK : EG_TOO_LARGE;
}
