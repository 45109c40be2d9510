/* fuzz_frame.c -- a connection's bytes: split and parse the same however they come. */
#include "query/rpc_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_FRAME_BYTES = 4096 }; /* small, so that inputs reach it */

/* Split with `step` bytes more at a time; returns where it stopped and why. */
static size_t split(const uint8_t *data, size_t size, size_t step, eg_err *why) {
    struct rpc_splitter s;
    size_t begin = 0;
    size_t there = 0;

    rpc_splitter_init(&s, MAX_FRAME_BYTES);
    for (;;) {
        size_t frame_bytes = 0;
        *why = rpc_splitter_next(&s, data + begin, there - begin, &frame_bytes);
        if (*why == EG_OK) {
            EG_ASSERT(frame_bytes > 0 && frame_bytes <= MAX_FRAME_BYTES);
            begin += frame_bytes;
        } else if (*why == EG_AGAIN && there < size) {
            there = EG_MIN(there + step, size);
        } else {
            return begin;
        }
    }
}

static void parse(const uint8_t *at, size_t size) {
    size_t used;
    struct rpc_frame f;
    uint32_t msgid;

    if (value_scan(at, size, &used) != EG_OK)
        return;
    struct value frame = {at, (uint32_t) used};
    if (rpc_parse(frame, &f) != EG_OK)
        return;
    if (f.kind == RPC_RESPONSE) {
        EG_ASSERT(value_skip(f.error.at) == f.result.at);
        EG_ASSERT(value_skip(f.result.at) == at + used);
        return;
    }
    EG_ASSERT(f.method >= at && f.method + f.method_bytes <= f.params.at);
    EG_ASSERT(value_skip(f.params.at) == at + used);
    if (f.kind == RPC_REQUEST)
        EG_ASSERT(rpc_msgid_of_prefix(at, size, &msgid) && msgid == f.msgid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint32_t msgid;
    eg_err whole;
    eg_err pieces;
    size_t stopped = split(data, size, size + 1, &whole);

    EG_ASSERT(split(data, size, 1, &pieces) == stopped);
    EG_ASSERT(whole == pieces);
    parse(data, size);
    if (rpc_msgid_of_prefix(data + stopped, size - stopped, &msgid))
        parse(data + stopped, size - stopped);
    return 0;
}
