/* test_mesh.c -- links between nodes: who gets one, what comes over it, and how it ends.
 *
 * Method: up to four meshes in one thread, each on a scheduler of its own, on a wire in memory,
 * in virtual time.  A host's events are written down and checked as they come. */
#include "replication/mesh_private.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/stepper.h"
#include "tests/support/wire_net.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { HOSTS = 4 };

/* What one host knows of its link with another. */
struct view_of {
    bool up;
    uint32_t ups, downs;
    uint64_t incarnation; /* as it said, when it came up                        */
    uint64_t epoch;       /* of what this host sends: drawn at on_up()         */
    uint64_t sent;        /* payloads, in this epoch                           */
    uint64_t heard_epoch; /* of what it hears                                  */
    uint64_t heard;       /* payloads, in that epoch                           */
    uint64_t heard_now;   /* on MESH_NOW, in all                               */
};

struct host {
    uint32_t number;
    struct mesh *mesh;
    struct node_info info;
    struct view_of of[HOSTS];
    bool refuses;
    uint32_t asked, joins;
    eg_err joined;
    char joined_text[ERR_NOTE_BYTES];
    uint64_t drop_after; /* payloads; 0: never */
    bool forgets;        /* who is down */
};

static struct fail_alloc memory;
static struct stepper *st;
static struct wire wire;
static struct host host[HOSTS];
static struct rng rng;

static void start(uint64_t seed) {
    memory = fail_alloc_after(INT_MAX);
    rng = rng_of(seed ^ 77);
    memset(host, 0, sizeof host);
    wire_open(&wire, seed);
    st = stepper_open(&memory.base, HOSTS, seed, NULL);
    cr_assert_not_null(st);
}

static void setup(void) {
    start(1);
}

static void teardown(void) {
    for (uint32_t i = 0; i < HOSTS; i++) {
        if (host[i].mesh != NULL)
            mesh_close(host[i].mesh);
    }
    wire_close(&wire);
    stepper_close(st);
    cr_assert_eq(memory.live, 0, "%d allocations leaked", memory.live);
}

TestSuite(mesh, .init = setup, .fini = teardown, .timeout = 240);

/* ---- hosts ------------------------------------------------------------------------- */

static struct view_of *view(struct host *h, uint64_t id) {
    for (uint32_t i = 0; i < HOSTS; i++) {
        if (host[i].info.id == id)
            return &h->of[i];
    }
    cr_assert_fail("an event about somebody unknown");
    return NULL;
}

static eg_err may_link(void *user, const struct node_info *who, struct err_note *note) {
    struct host *h = user;

    h->asked++;
    cr_assert(!view(h, who->id)->up || host[0].info.id == who->id);
    return h->refuses ? err_note(note, EG_DENIED, "%s is not liked", who->name) : EG_OK;
}

static void on_up(void *user, const struct node_info *who) {
    struct view_of *v = view(user, who->id);

    cr_assert(!v->up);
    cr_assert(mesh_is_up(((struct host *) user)->mesh, who->id));
    v->up = true;
    v->ups++;
    v->incarnation = who->incarnation;
    v->epoch = rng_u64(&rng) | 1;
    v->sent = v->heard_epoch = v->heard = 0;
}

static void on_down(void *user, uint64_t id) {
    struct host *h = user;
    struct view_of *v = view(h, id);

    cr_assert(v->up);
    v->up = false;
    v->downs++;
    if (h->forgets)
        mesh_forget(h->mesh, id);
}

static void on_payload(void *user, uint64_t from, enum mesh_channel channel, struct value payload) {
    struct host *h = user;
    struct view_of *v = view(h, from);
    struct value_iter it;
    struct value first, second;
    uint64_t epoch, number;
    size_t used;

    cr_assert(v->up);
    cr_assert_eq(value_scan(payload.at, payload.size_bytes, &used), EG_OK);
    cr_assert_eq(used, payload.size_bytes);
    if (channel == MESH_NOW) {
        v->heard_now++;
        return;
    }
    it = value_iter_of(payload);
    cr_assert(value_iter_next(&it, &first) && value_iter_next(&it, &second));
    cr_assert(value_get_u64(first, &epoch) && value_get_u64(second, &number));
    if (v->heard == 0)
        v->heard_epoch = epoch;
    cr_assert_eq(epoch, v->heard_epoch, "of another epoch");
    cr_assert_eq(number, v->heard, "number %lu comes where %lu should", number, v->heard);
    cr_assert_eq(channel, 1 + number % (MESH_CHANNEL_COUNT - 1));
    v->heard++;
    if (h->drop_after != 0 && v->heard == h->drop_after)
        mesh_drop(h->mesh, from);
}

static void on_joined(void *user, const char *address, eg_err err, const char *text) {
    struct host *h = user;

    (void) address;
    h->joins++;
    h->joined = err;
    snprintf(h->joined_text, sizeof h->joined_text, "%s", text);
}

static const struct mesh_events events = {may_link, on_up, on_down, on_payload, on_joined};

static char listens[HOSTS][16];

static struct mesh_opts opts_of(uint32_t i, const char *cookie) {
    static const char *address[HOSTS];

    snprintf(listens[i], sizeof listens[i], "host:%u", i);
    address[i] = listens[i];
    return (struct mesh_opts){.alloc = &memory.base,
                              .runtime = st->rt,
                              .env = &st->env,
                              .scheduler = i,
                              .net_open = wire_net_of,
                              .listen = &address[i],
                              .listen_count = 1,
                              .cookie = cookie,
                              .cookie_bytes = (uint32_t) strlen(cookie),
                              .self = &host[i].info,
                              .events = &events,
                              .user = &host[i]};
}

static void name_host(uint32_t i, const char *name, uint64_t incarnation) {
    host[i].number = i;
    host[i].info = (struct node_info){.incarnation = incarnation, .weight = 100};
    snprintf(host[i].info.name, sizeof host[i].info.name, "%s", name);
    host[i].info.id = node_id_of(host[i].info.name);
}

static void open_host(uint32_t i, const char *cookie) {
    char name[8];
    struct mesh_opts o;

    snprintf(name, sizeof name, "n%u", i);
    if (host[i].info.id == 0)
        name_host(i, name, 1000 + i);
    o = opts_of(i, cookie);
    cr_assert_eq(mesh_open(&host[i].mesh, &o, NULL), EG_OK);
}

static void know(uint32_t i, uint32_t j) {
    mesh_know(host[i].mesh, mesh_self(host[j].mesh));
}

static bool linked(uint32_t i, uint32_t j) {
    return host[i].of[j].up && host[j].of[i].up;
}

static void two_linked(void) {
    open_host(0, "secret");
    open_host(1, "secret");
    know(0, 1);
    stepper_run_ms(st, 200);
    cr_assert(linked(0, 1));
}

static bool scarce; /* memory is refused now and then */
static uint8_t scratch[MESH_FRAME_BYTES_MAX];

/* The next payload of i for j, with so many bytes of filler.  False: refused. */
static bool send_sized(uint32_t i, uint32_t j, uint32_t filler_bytes) {
    static const uint8_t filler[1 << 19];
    struct view_of *v = &host[i].of[j];
    struct value_writer w = value_writer_init(scratch, sizeof scratch);
    eg_err err;

    value_put_array(&w, 3);
    value_put_u64(&w, v->epoch);
    value_put_u64(&w, v->sent);
    value_put_binary(&w, filler, EG_MIN(filler_bytes, (uint32_t) sizeof filler));
    cr_assert(!w.overflow);
    err = mesh_send(host[i].mesh, host[j].info.id,
                    (enum mesh_channel)(1 + v->sent % (MESH_CHANNEL_COUNT - 1)),
                    (struct value){scratch, (uint32_t) w.need_bytes});
    cr_assert(err == EG_OK || err == EG_BUSY || (err == EG_NO_REPLICA && !v->up) ||
              (err == EG_MEMORY && scarce));
    v->sent += err == EG_OK;
    return err == EG_OK;
}

static bool send_one(uint32_t i, uint32_t j) {
    return send_sized(i, j, 0);
}

static void assert_all_arrived(uint32_t i, uint32_t j) {
    const struct view_of *from = &host[i].of[j], *to = &host[j].of[i];

    cr_assert(linked(i, j));
    cr_assert_eq(to->heard, from->sent, "%lu of %lu", to->heard, from->sent);
    cr_assert(from->sent == 0 || to->heard_epoch == from->epoch);
}

/* ---- getting a link -------------------------------------------------------------------- */

Test(mesh, two_nodes_get_one_link_whoever_knows_the_other) {
    open_host(0, "secret");
    open_host(1, "secret");
    know(1, 0);
    stepper_run_ms(st, 200);
    cr_assert(linked(0, 1));
    cr_assert_eq(mesh_stats(host[0].mesh).links_up, 1);
    cr_assert_str_eq(mesh_self(host[0].mesh)->address, "host:0");
    cr_assert_str_eq(mesh_listens(host[0].mesh, 0), "host:0");
    cr_assert_null(mesh_listens(host[0].mesh, 1));
}

Test(mesh, both_dialling_at_once_end_with_one_link) {
    for (uint64_t seed = 1; seed <= 50; seed++) {
        if (seed > 1) {
            teardown();
            start(seed);
        }
        wire.piece_bytes = 1 + seed % 60;
        for (uint32_t i = 0; i < HOSTS; i++)
            open_host(i, "");
        for (uint32_t i = 0; i < HOSTS; i++) {
            for (uint32_t j = 0; j < HOSTS; j++)
                know(i, j);
        }
        stepper_run_ms(st, 1000);
        for (uint32_t i = 0; i < HOSTS; i++) {
            for (uint32_t j = 0; j < i; j++) {
                cr_assert(linked(i, j), "%u and %u, seed %lu", i, j, seed);
                cr_assert_eq(host[i].of[j].ups, 1);
                cr_assert_eq(host[j].of[i].ups, 1);
            }
            cr_assert_eq(host[i].mesh->conn_count, HOSTS - 1, "seed %lu: %u", seed,
                         host[i].mesh->conn_count);
        }
    }
}

Test(mesh, a_join_learns_who_is_there) {
    open_host(0, "secret");
    open_host(1, "secret");
    mesh_join(host[0].mesh, "host:1");
    stepper_run_ms(st, 100);
    cr_assert(linked(0, 1));
    cr_assert_eq(host[0].joins, 1);
    cr_assert_eq(host[0].joined, EG_OK);
    mesh_join(host[0].mesh, "host:1"); /* of the cluster that it is in */
    stepper_run_ms(st, 100);
    cr_assert_eq(host[0].joins, 2);
    cr_assert_eq(host[0].joined, EG_OK);
    cr_assert_eq(host[0].of[1].ups, 1);
}

Test(mesh, a_join_goes_on_until_somebody_is_there) {
    open_host(0, "secret");
    mesh_join(host[0].mesh, "host:1");
    stepper_run_ms(st, 20000);
    cr_assert_geq(host[0].joins, 6);
    cr_assert_eq(host[0].joined, EG_CLOSED);
    open_host(1, "secret");
    stepper_run_ms(st, 4000);
    cr_assert_eq(host[0].joined, EG_OK);
    cr_assert(linked(0, 1));
}

Test(mesh, a_join_of_itself_is_refused_and_forgotten) {
    uint32_t joins;

    open_host(0, "secret");
    mesh_join(host[0].mesh, "host:0");
    stepper_run_ms(st, 100);
    cr_assert_eq(host[0].joined, EG_BAD_REQUEST);
    joins = host[0].joins;
    stepper_run_ms(st, 10000);
    cr_assert_eq(host[0].joins, joins);
}

Test(mesh, another_cookie_is_no_cookie) {
    open_host(0, "secret");
    open_host(1, "secrets");
    open_host(2, "");
    mesh_join(host[0].mesh, "host:1");
    mesh_join(host[2].mesh, "host:0");
    stepper_run_ms(st, 5000);
    cr_assert_eq(host[0].of[1].ups + host[1].of[0].ups + host[2].of[0].ups, 0);
    cr_assert_eq(host[0].joined, EG_DENIED);
    cr_assert_eq(host[2].joined, EG_DENIED);
    cr_assert_not_null(strstr(host[2].joined_text, "cookie"));
    cr_assert_eq(host[0].asked + host[1].asked + host[2].asked, 0, "asked about an unproved node");
    cr_assert_gt(mesh_stats(host[1].mesh).refused_handshakes, 0);
}

Test(mesh, who_is_not_welcome_is_told_why_and_tries_again) {
    open_host(0, "secret");
    open_host(1, "secret");
    host[1].refuses = true;
    mesh_join(host[0].mesh, "host:1");
    stepper_run_ms(st, 100);
    cr_assert_eq(host[0].joined, EG_DENIED);
    cr_assert_str_eq(host[0].joined_text, "n0 is not liked");
    cr_assert_eq(host[0].of[1].ups, 0);
    host[1].refuses = false;
    stepper_run_ms(st, 4000);
    cr_assert(linked(0, 1));
}

Test(mesh, two_nodes_of_one_name_do_not_link) {
    name_host(1, "n0", 7);
    open_host(0, "secret");
    open_host(1, "secret");
    mesh_join(host[1].mesh, "host:0");
    stepper_run_ms(st, 100);
    cr_assert_eq(host[1].joined, EG_DENIED);
    cr_assert_not_null(strstr(host[1].joined_text, "name"));
}

Test(mesh, another_node_at_a_known_address_is_not_mistaken) {
    struct node_info info;

    open_host(0, "secret");
    open_host(1, "secret");
    name_host(2, "n2", 1);
    info = host[2].info;
    snprintf(info.address, sizeof info.address, "host:1");
    mesh_know(host[0].mesh, &info);
    stepper_run_ms(st, 1000);
    cr_assert_eq(host[0].of[2].ups + host[0].of[1].ups, 0);
}

Test(mesh, without_a_cookie_only_loopback_is_bound) {
    static const char *any = "any:1";
    struct err_note note = {""};
    struct mesh_opts o;

    name_host(0, "n0", 1);
    o = opts_of(0, "");
    o.listen = &any;
    cr_assert_eq(mesh_open(&host[0].mesh, &o, &note), EG_DENIED);
    cr_assert_not_null(strstr(note.text, "cookie"));
    host[0].mesh = NULL;
}

/* ---- what goes over it --------------------------------------------------------------------- */

Test(mesh, payloads_arrive_once_and_in_order) {
    two_linked();
    for (uint32_t i = 0; i < 5000; i++) {
        cr_assert(send_one(0, 1));
        if (i % 3 == 0)
            cr_assert(send_one(1, 0));
        if (i % 100 == 0)
            stepper_run(st);
    }
    stepper_run_ms(st, 100);
    assert_all_arrived(0, 1);
    assert_all_arrived(1, 0);
    cr_assert_eq(mesh_pending_bytes(host[0].mesh, host[1].info.id), 0, "not acknowledged");
    cr_assert_eq(mesh_pending_bytes(host[1].mesh, host[0].info.id), 0);
}

Test(mesh, sizes_from_nothing_to_the_largest) {
    const uint32_t largest = MESH_FRAME_BYTES_MAX - FRAME_HEADER_BYTES;

    two_linked();
    for (uint32_t bytes = 1; bytes < 1 << 19; bytes = 3 * bytes + 1) {
        cr_assert(send_sized(0, 1, bytes));
        cr_assert(send_one(0, 1));
    }
    stepper_run_ms(st, 100);
    assert_all_arrived(0, 1);

    memset(scratch, 0, sizeof scratch);
    cr_assert_eq(
        mesh_send(host[0].mesh, host[1].info.id, MESH_NOW, (struct value){scratch, largest}),
        EG_BUSY, "so much does not go now or never");
    cr_assert_eq(
        mesh_send(host[0].mesh, host[1].info.id, MESH_VIEW, (struct value){scratch, largest + 1}),
        EG_TOO_LARGE);
}

Test(mesh, who_does_not_take_is_not_sent_more_than_the_window) {
    uint64_t sent = 0;

    two_linked();
    wire.window_bytes = 0; /* nothing moves any more */
    while (send_sized(0, 1, 1 << 16))
        sent++;
    cr_assert_geq(sent, MESH_WINDOW_BYTES / (1 << 16) - 2);
    cr_assert_leq(mesh_pending_bytes(host[0].mesh, host[1].info.id), MESH_WINDOW_BYTES);
    stepper_run_ms(st, 100);
    cr_assert(!send_sized(0, 1, 1 << 16));
    cr_assert_lt(memory.live_bytes, 2u * MESH_WINDOW_BYTES);
    wire.window_bytes = 1 << 18;
    stepper_run_ms(st, 1000);
    assert_all_arrived(0, 1);
    cr_assert(send_one(0, 1));
}

Test(mesh, what_goes_now_or_never_goes_now) {
    two_linked();
    for (uint32_t i = 0; i < 10; i++)
        cr_assert_eq(mesh_send(host[0].mesh, host[1].info.id, MESH_NOW,
                               (struct value){(const uint8_t *) "\x07", 1}),
                     EG_OK);
    stepper_run(st);
    cr_assert_eq(host[1].of[0].heard_now, 10);
}

Test(mesh, an_idle_link_is_silent) {
    uint64_t carried_bytes;

    two_linked();
    cr_assert(send_one(0, 1));
    stepper_run_ms(st, 1000);
    carried_bytes = wire.carried_bytes;
    stepper_run_ms(st, 60000);
    cr_assert_eq(wire.carried_bytes, carried_bytes);
    cr_assert(linked(0, 1));
}

Test(mesh, nobody_can_be_sent_anything_without_a_link) {
    open_host(0, "secret");
    name_host(1, "n1", 1);
    cr_assert_eq(mesh_send(host[0].mesh, host[1].info.id, MESH_VIEW,
                           (struct value){(const uint8_t *) "\x07", 1}),
                 EG_NO_REPLICA);
    cr_assert_eq(mesh_pending_bytes(host[0].mesh, host[1].info.id), 0);
    cr_assert(!mesh_is_up(host[0].mesh, host[1].info.id));
}

/* ---- ends -------------------------------------------------------------------------------------
 */

Test(mesh, a_broken_connection_is_not_noticed_above) {
    two_linked();
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < 100; i++) {
            cr_assert(send_one(0, 1));
            cr_assert(send_sized(1, 0, i));
            if (i % 10 == 0)
                stepper_turn(st);
        }
        wire_reset_all(&wire);
        stepper_run_ms(st, 300);
    }
    assert_all_arrived(0, 1);
    assert_all_arrived(1, 0);
    cr_assert_eq(host[0].of[1].downs + host[1].of[0].downs, 0);
    cr_assert_gt(mesh_stats(host[0].mesh).resent_frames, 0);
}

Test(mesh, a_node_that_is_gone_is_down_at_once) {
    two_linked();
    mesh_close(host[1].mesh);
    host[1].mesh = NULL;
    stepper_run_ms(st, 100);
    cr_assert(!host[0].of[1].up);
    cr_assert_eq(host[0].of[1].downs, 1);
    cr_assert(!mesh_is_up(host[0].mesh, host[1].info.id));
    host[1].of[0].up = false;
    host[1].info.incarnation++;
    open_host(1, "secret");
    stepper_run_ms(st, 4000);
    cr_assert(linked(0, 1));
    cr_assert(send_one(0, 1));
    stepper_run_ms(st, 10);
    assert_all_arrived(0, 1);
}

Test(mesh, a_link_that_cannot_be_resumed_in_time_is_down) {
    two_linked();
    wire.silent = true;
    wire_reset_all(&wire);
    stepper_run_ms(st, MESH_RESUME_MS / 2);
    cr_assert(linked(0, 1));
    stepper_run_ms(st, MESH_RESUME_MS);
    cr_assert(!host[0].of[1].up && !host[1].of[0].up);
    wire.silent = false;
    stepper_run_ms(st, 6000);
    cr_assert(linked(0, 1));
}

Test(mesh, a_dropped_link_comes_up_anew) {
    two_linked();
    cr_assert(send_one(0, 1));
    mesh_drop(host[0].mesh, host[1].info.id);
    cr_assert(!host[0].of[1].up);
    stepper_run_ms(st, 1000);
    cr_assert(linked(0, 1));
    cr_assert_eq(host[0].of[1].ups, 2);
    cr_assert_eq(host[1].of[0].ups, 2);
}

/* Else who has heard of its new number takes it for another of the same name, for ever. */
Test(mesh, a_node_whose_start_gets_another_number_says_that_one_to_all) {
    two_linked();
    open_host(2, "secret");
    know(2, 1);
    stepper_run_ms(st, 2); /* in the middle of its handshake */
    mesh_renumber(host[1].mesh, 5000);
    cr_assert(!host[1].of[0].up);
    stepper_run_ms(st, 3000);
    for (uint32_t i = 0; i < HOSTS - 1; i += 2) {
        cr_assert(linked(i, 1));
        cr_assert_eq(host[i].of[1].incarnation, 5000);
    }
}

Test(mesh, a_link_may_be_dropped_by_what_comes_over_it) {
    two_linked();
    host[1].drop_after = 3;
    for (uint32_t i = 0; i < 10; i++)
        cr_assert(send_one(0, 1));
    stepper_run_ms(st, 1000);
    cr_assert_eq(host[1].of[0].downs, 1);
    cr_assert(linked(0, 1));
}

/* Host 1 has dropped the link while host 0 joins it once more: the join's connection is agreed on,
 * and with that the link of before ends at host 0, which lets go of host 1 as it hears of that.
 * Nothing may become of the connection then.  `turns` later or sooner, so that some run meets that
 * moment. */
static void let_go_meanwhile(uint64_t seed, uint32_t turns) {
    start(seed);
    two_linked();
    host[0].forgets = true;
    mesh_join(host[0].mesh, "host:1");
    for (uint32_t i = 0; i < turns; i++)
        stepper_turn(st);
    mesh_drop(host[1].mesh, host[0].info.id);
    stepper_run_ms(st, 500);
    host[0].forgets = false;
    stepper_run_ms(st, 5000);
    if (linked(0, 1)) {
        cr_assert(send_one(0, 1));
        stepper_run_ms(st, 100);
        assert_all_arrived(0, 1);
    }
    cr_assert_eq(host[0].of[1].up, host[1].of[0].up);
    teardown();
}

Test(mesh, a_connection_with_a_node_that_is_let_go_meanwhile_is_closed) {
    teardown();
    for (uint32_t turns = 0; turns < 40; turns++)
        let_go_meanwhile(1 + turns, turns);
    start(1);
}

Test(mesh, who_is_forgotten_is_not_dialled) {
    two_linked();
    mesh_forget(host[0].mesh, host[1].info.id);
    mesh_forget(host[1].mesh, host[0].info.id);
    stepper_run_ms(st, 10000);
    cr_assert(!host[0].of[1].up && !host[1].of[0].up);
    know(1, 0);
    stepper_run_ms(st, 100);
    cr_assert(linked(0, 1));
}

Test(mesh, a_silent_node_that_owes_an_answer_is_dropped) {
    two_linked();
    wire.window_bytes = 0;
    cr_assert(send_one(0, 1));
    stepper_run_ms(st, MESH_SILENCE_MS + 2 * MESH_TICK_MS + MESH_RESUME_MS);
    cr_assert(!host[0].of[1].up);
    wire.window_bytes = 1 << 18;
    stepper_run_ms(st, 10000);
    cr_assert(linked(0, 1));
}

/* As after a cut: what was lost on its way would be sent again ever more rarely. */
Test(mesh, one_who_is_doubted_and_was_silent_gets_another_connection_and_loses_nothing) {
    uint64_t dials;

    two_linked();
    wire.window_bytes = 0;
    cr_assert(send_one(0, 1));
    dials = mesh_stats(host[0].mesh).dials;
    mesh_doubt(host[0].mesh, host[1].info.id); /* it was heard just now */
    stepper_run_ms(st, MESH_DOUBT_MS + 100);
    cr_assert_eq(mesh_stats(host[0].mesh).dials, dials);
    mesh_doubt(host[0].mesh, host[1].info.id);
    wire.window_bytes = 1 << 18;
    stepper_run_ms(st, 500);
    cr_assert(linked(0, 1));
    cr_assert_gt(mesh_stats(host[0].mesh).dials + mesh_stats(host[1].mesh).dials, dials);
    assert_all_arrived(0, 1);
}

Test(mesh, who_waits_for_a_frame_that_never_was_is_dialled_again) {
    two_linked();
    wire.flips_next = true; /* the length of what comes next becomes a larger one */
    cr_assert(send_sized(0, 1, 300));
    stepper_run(st);
    cr_assert(!wire.flips_next);
    for (uint32_t s = 0; s < 3 * MESH_SILENCE_MS / 1000; s++) {
        /* The other way all is well, and nothing is owed. */
        cr_assert_eq(mesh_send(host[1].mesh, host[0].info.id, MESH_NOW,
                               (struct value){(const uint8_t *) "\x07", 1}),
                     EG_OK);
        stepper_run_ms(st, 1000);
    }
    assert_all_arrived(0, 1);
}

/* ---- storms
 * -------------------------------------------------------------------------------------- */

static void storm(uint64_t seed, bool without_memory) {
    start(seed);
    scarce = without_memory;
    for (uint32_t i = 0; i < 3; i++)
        open_host(i, "secret");
    for (uint32_t i = 0; i < 3; i++)
        know(i, (i + 1) % 3);
    wire.piece_bytes = 1 + rng_below(&rng, 5000);
    wire.reset_in_100000 = (uint32_t) rng_below(&rng, 5000);
    wire.flip_in_100000 = rng_one_in(&rng, 2) ? (uint32_t) rng_below(&rng, 5000) : 0;
    for (uint32_t step = 0; step < 300; step++) {
        if (scarce && (memory.left < 0 || memory.left == INT_MAX)) {
            memory.once = true;
            memory.left = (int) rng_below(&rng, 40);
        }
        uint32_t i = (uint32_t) rng_below(&rng, 3), j = (i + 1 + (uint32_t) rng_below(&rng, 2)) % 3;
        for (uint64_t n = rng_below(&rng, 20); n > 0; n--) {
            if (!send_sized(i, j, (uint32_t) (rng_one_in(&rng, 10) ? rng_below(&rng, 1 << 17) : n)))
                break;
        }
        if (rng_one_in(&rng, 3))
            stepper_run_ms(st, rng_below(&rng, 300));
        else
            stepper_turn(st);
        if (rng_one_in(&rng, 60))
            mesh_drop(host[i].mesh, host[j].info.id);
        if (rng_one_in(&rng, 20))
            wire_reset_all(&wire);
    }
    wire.reset_in_100000 = wire.flip_in_100000 = 0;
    memory.left = INT_MAX;
    scarce = false;
    stepper_run_ms(st, 20000);
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t j = 0; j < 3; j++) {
            if (i != j)
                assert_all_arrived(i, j);
        }
    }
}

Test(mesh, storms_of_resets_lose_nothing_and_double_nothing) {
    uint64_t seed = rng_test_seed(1), runs = rng_is_replay() ? 1 : 20;

    for (uint64_t i = 0; i < runs; i++) {
        teardown();
        storm(seed + i, false);
    }
}

Test(mesh, storms_without_memory_are_survived) {
    uint64_t seed = rng_test_seed(1), runs = rng_is_replay() ? 1 : 10;

    for (uint64_t i = 0; i < runs; i++) {
        teardown();
        storm(seed + i, true);
    }
}

Test(mesh, opening_fails_clean_without_memory) {
    for (int granted = 0;; granted++) {
        struct mesh_opts o;
        eg_err err;
        name_host(0, "n0", 1);
        o = opts_of(0, "secret");
        memory.once = true;
        memory.left = granted;
        err = mesh_open(&host[0].mesh, &o, NULL);
        memory.left = INT_MAX;
        if (err == EG_OK)
            break;
        cr_assert_eq(err, EG_MEMORY);
        cr_assert_lt(granted, 100);
    }
}
