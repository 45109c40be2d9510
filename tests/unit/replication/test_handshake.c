/* test_handshake.c -- what strangers, liars and nodes of other kinds get for it.
 *
 * Method: one mesh, and the other side by hand, byte by byte.  A hand that knows the cookie
 * drives the same machine as the mesh does; what it sends is then broken on purpose. */
#include "replication/frame.h"
#include "replication/handshake.h"
#include "replication/mesh_private.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/stepper.h"
#include "tests/support/wire_net.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct fail_alloc memory;
static struct stepper *st;
static struct wire wire;
static struct mesh *mesh;
static uint32_t asked, ups, downs, payloads, joins;
static eg_err joined;
static char joined_text[ERR_NOTE_BYTES];
static struct node_info self, other;

static eg_err may_link(void *user, const struct node_info *who, struct err_note *note) {
    (void) user, (void) who, (void) note;
    asked++;
    return EG_OK;
}
static void on_up(void *user, const struct node_info *who) {
    (void) user, (void) who;
    ups++;
}
static void on_down(void *user, uint64_t id) {
    (void) user, (void) id;
    downs++;
}
static void on_payload(void *user, uint64_t from, enum mesh_channel channel, struct value payload) {
    (void) user, (void) from, (void) channel, (void) payload;
    payloads++;
}
static void on_joined(void *user, const char *address, eg_err err, const char *text) {
    (void) user, (void) address;
    joins++;
    joined = err;
    snprintf(joined_text, sizeof joined_text, "%s", text);
}

static struct node_info named(const char *name, uint64_t incarnation) {
    struct node_info i = {.id = node_id_of(name), .incarnation = incarnation, .weight = 100};

    snprintf(i.name, sizeof i.name, "%s", name);
    return i;
}

static void setup(void) {
    static const struct mesh_events events = {may_link, on_up, on_down, on_payload, on_joined};
    static const char *const listen[] = {"port:1"};

    memory = fail_alloc_after(INT_MAX);
    wire_open(&wire, 1);
    st = stepper_open(&memory.base, 1, 1, NULL);
    self = named("self", 10);
    other = named("other", 20);
    asked = ups = downs = payloads = joins = 0;
    struct mesh_opts o = {.alloc = &memory.base,
                          .runtime = st->rt,
                          .env = &st->env,
                          .net_open = wire_net_of,
                          .listen = listen,
                          .listen_count = 1,
                          .cookie = "secret",
                          .cookie_bytes = 6,
                          .self = &self,
                          .events = &events};
    cr_assert_eq(mesh_open(&mesh, &o, NULL), EG_OK);
}

static void teardown(void) {
    mesh_close(mesh);
    wire_close(&wire);
    stepper_close(st);
    cr_assert_eq(memory.live, 0, "%d allocations leaked", memory.live);
}

TestSuite(handshake, .init = setup, .fini = teardown, .timeout = 240);

/* ---- a hand that knows how ------------------------------------------------------------ */

struct hand {
    struct wire_stream *stream;
    struct handshake shake;
    struct handshake_self self;
    struct value_writer w;
    uint8_t room[2 * HANDSHAKE_BYTES_MAX];
};

static const struct handshake_attach attach = {.fresh = 5, .session = 5, .credit_bytes = 1 << 20};

static void say(struct hand *h) {
    wire_say(h->stream, h->room, h->w.need_bytes);
    stepper_run(st);
    h->w = value_writer_init(h->room, sizeof h->room);
}

static struct hand hand_of(const char *cookie) {
    return (struct hand){.self = {&other, cookie, (uint32_t) strlen(cookie)}};
}

static void hand_start(struct hand *h, bool dials) {
    static const uint8_t nonce[HANDSHAKE_NONCE_BYTES] = "not drawn by chance";

    h->w = value_writer_init(h->room, sizeof h->room);
    handshake_start(&h->shake, &h->self, dials, nonce, &h->w);
    say(h);
}

static void hand_dial(struct hand *h) {
    h->stream = wire_dial(&wire, "port:1");
    cr_assert_not_null(h->stream);
    hand_start(h, true);
}

/* The next message that came; the hand's machine reads it. */
static enum handshake_step hear(struct hand *h) {
    struct buffer *heard = wire_heard(h->stream);
    struct err_note note;
    size_t used;
    enum handshake_step step;

    stepper_run(st);
    cr_assert_eq(value_scan(heard->at, heard->size_bytes, &used), EG_OK);
    step = handshake_receive(&h->shake, (struct value){heard->at, (uint32_t) used}, &h->w, &note);
    memmove(heard->at, heard->at + used, heard->size_bytes - used);
    heard->size_bytes -= used;
    return step;
}

static void hand_link(struct hand *h) {
    hand_dial(h);
    cr_assert_eq(hear(h), HANDSHAKE_MET);
    cr_assert_eq(handshake_prove(&h->shake, &attach, &h->w), EG_OK);
    say(h);
    cr_assert_eq(hear(h), HANDSHAKE_WELCOMED);
    handshake_ready(&h->shake, &h->w);
    say(h);
    cr_assert_eq(ups, 1);
}

static uint32_t spoil; /* bits of a frame's check that flip */

static void frame(struct hand *h, uint64_t channel, uint64_t sequence, uint64_t acknowledged) {
    static const uint8_t payload[] = "\xa7payload";
    uint64_t hash = frame_payload_hash((struct value){payload, sizeof payload - 1});

    value_put_array(&h->w, 5);
    value_put_u64(&h->w, channel);
    value_put_u64(&h->w, sequence);
    value_put_u64(&h->w, acknowledged);
    value_put_u64(&h->w,
                  spoil ^ frame_check((enum mesh_channel) channel, sequence, acknowledged, hash));
    value_put_text(&h->w, "payload");
    say(h);
}

static void assert_refused(struct wire_stream *s, const char *why) {
    struct buffer *heard = wire_heard(s);
    char text[HANDSHAKE_BYTES_MAX] = "";

    stepper_run_ms(st, 2 * MESH_PARTING_MS);
    memcpy(text, heard->at, EG_MIN(heard->size_bytes, sizeof text - 1));
    for (size_t i = 0; i < heard->size_bytes && i < sizeof text; i++)
        text[i] = text[i] == '\0' ? ' ' : text[i];
    cr_assert_not_null(strstr(text, why), "%s: %s", why, text);
    cr_assert(wire_is_ended(s));
    cr_assert_eq(mesh->conn_count, 0);
}

/* ---- those who know how ------------------------------------------------------------------- */

Test(handshake, a_hand_that_knows_the_cookie_is_linked) {
    struct hand h = hand_of("secret");

    hand_link(&h);
    frame(&h, MESH_VIEW, 1, 0);
    frame(&h, MESH_NOW, 0, 0);
    cr_assert_eq(payloads, 2);
    wire_hang_up(h.stream);
}

Test(handshake, a_mac_is_good_for_one_connection_and_direction) {
    struct hand h = hand_of("secret"), again = hand_of("secret");
    uint8_t proof[HANDSHAKE_BYTES_MAX];
    size_t bytes;

    hand_dial(&h);
    hear(&h);
    cr_assert_eq(handshake_prove(&h.shake, &attach, &h.w), EG_OK);
    bytes = h.w.need_bytes;
    memcpy(proof, h.room, bytes);
    say(&h);
    hear(&h);

    hand_dial(&again); /* with the same nonce, even */
    wire_say(again.stream, proof, bytes);
    stepper_run(st);
    wire_heard(again.stream)->size_bytes = 0;
    stepper_run(st);
    cr_assert_eq(asked, 1);
    cr_assert_eq(ups, 0);
    wire_hang_up(h.stream);
    wire_hang_up(again.stream);
}

Test(handshake, a_mirror_proves_nothing) {
    struct wire_listener *l = wire_listen(&wire, "mirror:1");
    struct wire_stream *dialled, *mirror;

    /* What the mesh says when it dials is said to it again where it accepts. */
    mesh_join(mesh, "mirror:1");
    stepper_run_ms(st, 10);
    dialled = wire_accept(l);
    mirror = wire_dial(&wire, "port:1");
    cr_assert_not_null(dialled);
    for (int i = 0; i < 5; i++) {
        struct buffer *a = wire_heard(dialled), *b = wire_heard(mirror);
        wire_say(mirror, a->at, a->size_bytes);
        wire_say(dialled, b->at, b->size_bytes);
        a->size_bytes = b->size_bytes = 0;
        stepper_run(st);
    }
    cr_assert_eq(ups, 0);
    cr_assert_eq(joined, EG_BAD_REQUEST);
    wire_hang_up(dialled);
    wire_hang_up(mirror);
    wire_listener_close(l);
}

Test(handshake, another_cookie_is_refused_before_anything_is_asked) {
    struct hand h = hand_of("secre");

    hand_dial(&h);
    cr_assert_eq(hear(&h), HANDSHAKE_MET);
    cr_assert_eq(handshake_prove(&h.shake, &attach, &h.w), EG_OK);
    say(&h);
    cr_assert_eq(asked, 0);
    assert_refused(h.stream, "the cookies differ");
    wire_hang_up(h.stream);
}

Test(handshake, an_accepting_side_without_the_cookie_is_found_out) {
    struct wire_listener *l = wire_listen(&wire, "other:1");
    struct hand h = hand_of("wrong");

    mesh_join(mesh, "other:1");
    stepper_run_ms(st, 10);
    h.stream = wire_accept(l);
    hand_start(&h, false);
    cr_assert_eq(hear(&h), HANDSHAKE_MORE);
    say(&h);
    cr_assert_eq(hear(&h), HANDSHAKE_FAILED); /* and yet it goes on */
    cr_assert_eq(handshake_welcome(&h.shake, &attach, &h.w), EG_OK);
    say(&h);
    cr_assert_eq(asked + ups, 0);
    cr_assert_eq(joined, EG_DENIED);
    wire_hang_up(h.stream);
    wire_listener_close(l);
}

Test(handshake, the_text_of_a_refusal_is_made_harmless) {
    struct wire_listener *l = wire_listen(&wire, "other:1");
    struct hand h = hand_of("secret");

    mesh_join(mesh, "other:1");
    stepper_run_ms(st, 10);
    h.stream = wire_accept(l);
    hand_start(&h, false);
    handshake_refuse(&h.shake, HANDSHAKE_IS_UNWELCOME, "go\x1b[2J\naway", &h.w);
    say(&h);
    cr_assert_eq(joined, EG_DENIED);
    cr_assert_str_eq(joined_text, "go?[2J?away");
    wire_hang_up(h.stream);
    wire_listener_close(l);
}

Test(handshake, another_version_is_refused_by_name) {
    struct hand h = hand_of("secret");

    h.stream = wire_dial(&wire, "port:1");
    h.w = value_writer_init(h.room, sizeof h.room);
    value_put_array(&h.w, 4);
    value_put_text(&h.w, "engram-peer");
    value_put_u64(&h.w, 7);
    value_put_u64(&h.w, 9);
    value_put_map(&h.w, 0); /* whatever a later version has here */
    say(&h);
    assert_refused(h.stream, "versions 7 to 9");
    wire_hang_up(h.stream);
}

/* ---- those who do not ------------------------------------------------------------------------ */

Test(handshake, a_client_is_told_where_it_is) {
    static const uint8_t ping[] = {0x94, 0x00, 0x07, 0xa4, 'p', 'i', 'n', 'g', 0x90};
    struct wire_stream *s = wire_dial(&wire, "port:1");

    wire_say(s, ping, sizeof ping);
    wire_half_close(s);
    stepper_run(st);
    cr_assert_eq(memcmp(wire_heard(s)->at, "\x94\x01\x07", 3), 0);
    assert_refused(s, "denied: here nodes");
    wire_hang_up(s);
}

Test(handshake, other_protocols_are_refused_at_their_first_bytes) {
    static const char *const said[] = {"GET / HTTP/1.1\r\n\r\n", "\xff", "\x80",    "\x91\xc1",
                                       "\x16\x03\x01\x02",       "\x90", "\x91\x90"};

    for (size_t i = 0; i < EG_COUNTOF(said); i++) {
        struct wire_stream *s = wire_dial(&wire, "port:1");
        wire_say(s, said[i], strlen(said[i]));
        assert_refused(s, "does not speak as a node");
        wire_hang_up(s);
    }
    cr_assert_eq(mesh_stats(mesh).refused_handshakes, EG_COUNTOF(said));
}

Test(handshake, lying_lengths_take_no_memory) {
    static const struct {
        const char *at;
        size_t bytes;
    } said[] = {{"\x96\xdb\xff\xff\xff\xff", 6},
                {"\x96\xab"
                 "engram-peer\xdd\xff\xff\xff\xff",
                 18},
                {"\x96\xc6\x7f\xff\xff\xff", 6},
                {"\x96\xda\x04\x01", 4}};
    size_t before_bytes = memory.live_bytes;

    for (size_t i = 0; i < EG_COUNTOF(said); i++) {
        struct wire_stream *s = wire_dial(&wire, "port:1");
        wire_say(s, said[i].at, said[i].bytes);
        assert_refused(s, "does not speak as a node");
        wire_hang_up(s);
    }
    cr_assert_leq(memory.live_bytes, before_bytes + 4096);
}

Test(handshake, who_is_slow_is_cut_off_in_time) {
    struct wire_stream *s = wire_dial(&wire, "port:1");

    for (uint32_t ms = 0; ms < MESH_HANDSHAKE_MS - 1000; ms += 1000) {
        wire_say(s, ms == 0 ? "\x96" : "\xa0", 1);
        stepper_run_ms(st, 1000);
        cr_assert(!wire_is_ended(s));
    }
    stepper_run_ms(st, 1100);
    cr_assert(wire_is_ended(s));
    cr_assert_eq(mesh->conn_count, 0);
    wire_hang_up(s);
}

Test(handshake, a_crowd_of_strangers_keeps_nobody_out) {
    enum { CROWD = 5 * MESH_UNPROVED_MAX };
    struct wire_stream *crowd[CROWD];
    struct hand h = hand_of("secret");

    for (uint32_t i = 0; i < CROWD; i++) {
        crowd[i] = wire_dial(&wire, "port:1");
        cr_assert_not_null(crowd[i]);
        stepper_run(st);
        cr_assert_leq(mesh->conn_count, MESH_UNPROVED_MAX + 1);
    }
    hand_link(&h);
    for (uint32_t i = 0; i < CROWD; i++)
        wire_hang_up(crowd[i]);
    wire_hang_up(h.stream);
}

Test(handshake, cut_off_at_every_byte_it_ends_and_leaks_nothing) {
    for (size_t cut = 0;; cut++) {
        struct hand h = hand_of("secret");
        size_t said = 0;
        for (int message = 0; message < 3; message++) {
            uint8_t bytes[HANDSHAKE_BYTES_MAX];
            if (message == 0) {
                static const uint8_t nonce[HANDSHAKE_NONCE_BYTES] = {1};
                h.stream = wire_dial(&wire, "port:1");
                h.w = value_writer_init(h.room, sizeof h.room);
                handshake_start(&h.shake, &h.self, true, nonce, &h.w);
            } else if (message == 1) {
                hear(&h);
                cr_assert_eq(handshake_prove(&h.shake, &attach, &h.w), EG_OK);
            } else {
                hear(&h);
                handshake_ready(&h.shake, &h.w);
            }
            size_t n = h.w.need_bytes;
            memcpy(bytes, h.room, n);
            h.w = value_writer_init(h.room, sizeof h.room);
            if (said + n > cut) {
                wire_say(h.stream, bytes, cut - said);
                stepper_run(st);
                break;
            }
            wire_say(h.stream, bytes, n);
            stepper_run(st);
            said += n;
        }
        wire_hang_up(h.stream);
        stepper_run(st);
        if (ups > 0)
            break;
        cr_assert_eq(mesh->conn_count, 0, "cut at %zu", cut);
        cr_assert_lt(cut, 1000);
    }
}

/* ---- nodes that break the protocol
 * --------------------------------------------------------------- */

static void broken_by(uint64_t channel, uint64_t sequence, uint64_t acknowledged) {
    struct hand h = hand_of("secret");

    hand_link(&h);
    frame(&h, channel, sequence, acknowledged);
    cr_assert_eq(payloads, 0);
    cr_assert_eq(downs, 1);
    cr_assert_eq(mesh_stats(mesh).broken_frames, 1);
    cr_assert(wire_is_ended(h.stream));
    wire_hang_up(h.stream);
}

Test(handshake, a_frame_out_of_order_breaks_the_link) {
    broken_by(MESH_VIEW, 2, 0);
}
Test(handshake, an_acknowledgement_of_what_was_not_sent_breaks_the_link) {
    broken_by(MESH_VIEW, 1, 1);
}
Test(handshake, an_unknown_channel_breaks_the_link) {
    broken_by(MESH_CHANNEL_COUNT, 1, 0);
}
Test(handshake, a_sequence_on_what_is_not_kept_breaks_the_link) {
    broken_by(MESH_NOW, 1, 0);
}
Test(handshake, no_sequence_on_what_is_kept_breaks_the_link) {
    broken_by(MESH_SCHEMA, 0, 0);
}

Test(handshake, what_was_spoiled_on_its_way_is_not_taken_and_no_end_of_the_link) {
    struct hand h = hand_of("secret");

    hand_link(&h);
    spoil = 1 << 7;
    frame(&h, MESH_REPLICA, 1, 0);
    cr_assert_eq(payloads, 0);
    cr_assert_eq(downs, 0);
    cr_assert(wire_is_ended(h.stream));
    cr_assert_eq(mesh_stats(mesh).broken_frames, 1);
    wire_hang_up(h.stream);
}

Test(handshake, a_frame_that_claims_too_much_breaks_the_link_at_its_header) {
    static const uint8_t lie[] = {0x95, 0x01, 0x01, 0x00, 0x00, 0xc6, 0x02, 0x00, 0x00, 0x00};
    struct hand h = hand_of("secret");
    size_t before_bytes;

    hand_link(&h);
    before_bytes = memory.live_bytes;
    wire_say(h.stream, lie, sizeof lie);
    stepper_run(st);
    cr_assert_eq(downs, 1);
    cr_assert_leq(memory.live_bytes, before_bytes + 4096);
    wire_hang_up(h.stream);
}

Test(handshake, an_unfinished_frame_takes_what_has_come_of_it) {
    static const uint8_t lie[] = {0x95, 0x01, 0x01, 0x00, 0x00, 0xc6, 0x01, 0x00, 0x00, 0x00};
    struct hand h = hand_of("secret");
    size_t before_bytes;

    hand_link(&h);
    before_bytes = memory.live_bytes;
    wire_say(h.stream, lie, sizeof lie);
    stepper_run(st);
    cr_assert_eq(downs, 0);
    cr_assert_leq(memory.live_bytes, before_bytes + 4096);
    wire_hang_up(h.stream);
}
