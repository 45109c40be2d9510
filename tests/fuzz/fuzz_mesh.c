/* fuzz_mesh.c -- the bytes of another node: its handshake, and frames on a link.
 *
 * The first byte chooses what they are.  Handshake: messages are read by the machine of either
 * side, which may never be convinced without the cookie.  Frames: cut the same however they come,
 * and what is a frame moves a link's counters only forward. */
#include "replication/frame.h"
#include "replication/handshake.h"
#include "replication/link.h"
#include "replication/remote_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_FRAME_BYTES = 4096, PIECE_BYTES = 7 };

static void shake(const uint8_t *data, size_t size, bool dials) {
    static const uint8_t nonce[HANDSHAKE_NONCE_BYTES] = {1};
    static const struct node_info self = {.id = 1, .incarnation = 2, .name = "n1"};
    const struct handshake_self who = {&self, "secret", 6};
    struct handshake_attach attach = {.fresh = 1, .session = 1};
    uint8_t room[HANDSHAKE_BYTES_MAX];
    struct value_writer w = value_writer_init(room, sizeof room);
    struct frame_splitter s;
    struct handshake h;
    size_t used;

    handshake_start(&h, &who, dials, nonce, &w);
    frame_splitter_init(&s, HANDSHAKE_BYTES_MAX);
    while (frame_splitter_next(&s, data, size, &used) == EG_OK) {
        struct err_note note;
        w = value_writer_init(room, sizeof room);
        enum handshake_step step =
            handshake_receive(&h, (struct value){data, (uint32_t) used}, &w, &note);
        EG_ASSERT(!w.overflow);
        EG_ASSERT(step != HANDSHAKE_ASKED && step != HANDSHAKE_WELCOMED && step != HANDSHAKE_DONE);
        if (step != HANDSHAKE_MORE && step != HANDSHAKE_MET)
            return;
        if (step == HANDSHAKE_MET)
            EG_ASSERT(handshake_prove(&h, &attach, &w) == EG_OK);
        data += used;
        size -= used;
    }
}

/* How far the bytes are frames, given `step` of them at a time, and why not further. */
static size_t cut(const uint8_t *data, size_t size, size_t step, eg_err *why) {
    struct frame_splitter s;
    size_t begin = 0, there = 0, used;

    frame_splitter_init(&s, MAX_FRAME_BYTES);
    for (;;) {
        *why = frame_splitter_next(&s, data + begin, there - begin, &used);
        if (*why == EG_OK)
            begin += used;
        else if (*why == EG_AGAIN && there < size)
            there = EG_MIN(there + step, size);
        else
            return begin;
    }
}

static void receive(const uint8_t *data, size_t size) {
    static const struct value sent = {(const uint8_t *) "\x07", 1};
    struct link l;
    size_t used;
    struct frame f;
    uint32_t check; /* no fuzzer guesses one */

    link_init(&l, alloc_system());
    link_begin(&l, 9, 1 << 20);
    for (int i = 0; i < 3; i++)
        EG_ASSERT(link_push(&l, 9, MESH_VIEW, sent) == EG_OK);
    while (value_scan(data, size, &used) == EG_OK) {
        struct value v = {data, (uint32_t) used};
        uint64_t received = l.received;
        data += used;
        size -= used;
        if (frame_read(v, &f, &check) != EG_OK)
            break;
        EG_ASSERT(value_skip(f.payload.at) == v.at + v.size_bytes);
        if (f.acknowledged > 0 && link_acknowledged(&l, f.acknowledged) == EG_OK)
            EG_ASSERT(f.acknowledged <= 3);
        if (f.sequence > 0 && link_receive(&l, f.sequence, used) == EG_OK)
            EG_ASSERT(l.received == received + 1);
    }
    link_end(&l);
    link_fini(&l);
}

/* A message between actors comes back from what was made of it. */
static void message(const uint8_t *data, size_t size) {
    static uint8_t room[1 << 20];
    struct value_writer w = value_writer_init(room, sizeof room);
    struct remote_message m, again;
    size_t used;

    if (value_scan(data, size, &used) != EG_OK ||
        remote_message_get(&m, (struct value){data, (uint32_t) used}) != EG_OK)
        return;
    remote_message_put(&m, &w);
    EG_ASSERT(!w.overflow && w.need_bytes <= REMOTE_HEADER_BYTES + m.body_bytes);
    EG_ASSERT(remote_message_get(&again, (struct value){room, (uint32_t) w.need_bytes}) == EG_OK);
    EG_ASSERT(again.kind == m.kind && again.ref == m.ref && again.tag == m.tag &&
              again.body_bytes == m.body_bytes && eg_pid_equal(again.to, m.to));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    eg_err whole, pieces;

    if (size == 0)
        return 0;
    if (data[0] < 2) {
        shake(data + 1, size - 1, data[0] == 1);
        return 0;
    }
    if (data[0] == 3) {
        message(data + 1, size - 1);
        return 0;
    }
    EG_ASSERT(cut(data + 1, size - 1, size, &whole) ==
              cut(data + 1, size - 1, PIECE_BYTES, &pieces));
    EG_ASSERT(whole == pieces);
    receive(data + 1, size - 1);
    return 0;
}
