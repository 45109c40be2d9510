/* test_tx_manager.c -- managers of one node, with shards and other nodes that the test plays: what
 * is lost at which step, and what becomes of it. */
#include "replication/tx_manager.h"
#include "replication/tx_decision.h"
#include "replication/tx_wire.h"
#include "engine/actor.h"
#include "engine/foreign.h"
#include "tables/outcome.h"
#include "tables/route.h"
#include "tables/shard_copy.h"
#include "tables/table_private.h"
#include "tests/support/table_world.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { SHARDS = 64, ME = 1, OTHER = 2, ROOM = 256 };

TestSuite(tx_manager, .timeout = 240);

static const struct transact_id the_id = {11, 22};

/* What a played shard knows of the one transaction. */
enum shard_state { NOTHING, PREPARED, DONE, GIVEN_UP };

/* What goes wrong, at the `nth` request. */
enum fault {
    NO_FAULT,
    REFUSE,
    STRANGER, /* whoever is asked has not heard of the table */
    LOSE_BEFORE,
    LOSE_AFTER,
    SILENT_BEFORE,
    SILENT_AFTER,
    KILL_ACTOR
};

struct town {
    struct table_route route;
    struct table_world w;
    struct tx_managers *managers;
    struct table *table;
    eg_pid shards;
    enum shard_state state[SHARDS];
    uint32_t asked, nth;
    enum fault fault;
    bool killed;
    enum tx_status other_knows; /* the other node; OPEN: it says nothing at all at first */
    uint32_t questions;
    struct view_id view;
};

/* ---- the shards ------------------------------------------------------------------------------ */

static eg_err request(struct table_route *r, struct table *t, uint32_t shard,
                      const struct shard_request *q, eg_pid *to, struct message **out) {
    struct town *n = EG_CONTAINER_OF(r, struct town, route);
    struct message *m =
        message_new(n->w.st->rt, MESSAGE_CALL, sizeof shard + shard_request_size(q));

    (void) t;
    cr_assert_not_null(m);
    memcpy(m->payload, &shard, sizeof shard);
    shard_request_pack(q, m->payload + sizeof shard);
    *to = n->shards;
    *out = m;
    return EG_OK;
}

static eg_err catalog_here(struct table_route *r, const struct catalog_request *q, eg_pid *to,
                           struct message **out) {
    (void) r, (void) q, (void) to, (void) out;
    return EG_AGAIN;
}

static eg_err shard_does(struct town *n, uint32_t shard, enum shard_op op) {
    enum shard_state *s = &n->state[shard];

    switch (op) {
    case SHARD_TX_PREPARE:
        *s = PREPARED;
        return EG_OK;
    case SHARD_TX_COMMIT:
        if (*s == PREPARED)
            *s = DONE;
        if (*s == DONE) /* a shard notes it where it does it, here or on another node */
            outcome_put(catalog_outcomes(n->w.catalog), the_id, OUTCOME_COMMITTED);
        return *s == DONE ? EG_OK : EG_NOT_FOUND;
    case SHARD_TX_ABORT:
        cr_assert_neq(*s, DONE);
        *s = *s == PREPARED ? GIVEN_UP : *s;
        return EG_OK;
    default:
        cr_assert_eq(op, SHARD_TX_ONE);
        *s = DONE;
        return EG_OK;
    }
}

static void kill_manager(struct town *n) {
    static const eg_exit killed = {.kind = EG_EXIT_KILL};
    struct message *m;
    eg_pid pid;

    cr_assert_eq(tx_list_message(n->managers, 0, &pid, &m), EG_OK);
    message_free(n->w.st->rt, m);
    actor_exit_send(n->w.st->rt, EG_PID_NONE, pid, &killed);
    n->killed = true;
}

static void shards_receive(struct actor *self, void *state, struct message *m) {
    struct town *n = *(struct town **) state;
    struct shard_request q = shard_request_unpack(m->payload + sizeof(uint32_t));
    struct transact_head head;
    uint32_t shard;
    bool now = n->asked++ == n->nth;
    enum fault f = now ? n->fault : NO_FAULT;
    eg_err err = EG_OK;

    memcpy(&shard, m->payload, sizeof shard);
    cr_assert(transact_get_head(q.key, &head));
    if (f == KILL_ACTOR)
        kill_manager(n);
    if (f != REFUSE && f != STRANGER && f != LOSE_BEFORE && f != SILENT_BEFORE)
        err = shard_does(n, shard, q.op);
    if (f == SILENT_BEFORE || f == SILENT_AFTER)
        return; /* whoever it was that asked is gone when it is looked at again */
    if (f == REFUSE)
        err = q.op == SHARD_TX_PREPARE ? EG_CONFLICT : EG_NO_REPLICA;
    if (f == LOSE_BEFORE || f == LOSE_AFTER)
        err = EG_IN_DOUBT;
    if (f == STRANGER)
        err = EG_NO_TABLE;
    actor_reply_bytes(self, m->from, m->ref, err, "", 0);
}

static eg_err shards_init(struct actor *self, void *state, const void *arg) {
    (void) self;
    *(struct town **) state = (struct town *) arg;
    return EG_OK;
}

/* ---- the node -------------------------------------------------------------------------------- */

static void open_managers(struct town *n, bool disc) {
    struct tx_managers_opts o = {.alloc = alloc_system(),
                                 .env = &n->w.st->env,
                                 .runtime = n->w.st->rt,
                                 .catalog = n->w.catalog,
                                 .disc = disc ? disc_twin_disc(n->w.pump.twin) : NULL};
    struct err_note note = {""};

    cr_assert_eq(tx_managers_open(&n->managers, &o, &note), EG_OK, "%s", note.text);
}

static void open_town(struct town *n, const char *options) {
    static const struct actor_ops ops = {.name = "shards",
                                         .state_bytes = sizeof(struct town *),
                                         .init = shards_init,
                                         .receive = shards_receive};
    struct spawn_opts spawn = {.ops = &ops, .arg = n, .scheduler = SPAWN_ON(0)};
    uint8_t bytes[ROOM];

    *n = (struct town){.route = {request, catalog_here}, .nth = UINT32_MAX, .view = {7, 77}};
    table_world_open(&n->w, alloc_system(), 1);
    cr_assert_eq(actor_spawn(n->w.st->rt, NULL, &spawn, &n->shards, NULL), EG_OK);
    cr_assert_eq(
        table_world_ask(&n->w, CATALOG_CREATE, "t", text_value(bytes, sizeof bytes, options)),
        EG_OK, "%s", n->w.note.text);
    n->table = table_world_find(&n->w, "t");
    for (uint32_t i = 0; i < table_shards(n->table); i++)
        atomic_store(&n->table->shard[i].role, SHARD_AWAY);
    catalog_set_route(n->w.catalog, &n->route);
    open_managers(n, true);
}

static void close_town(struct town *n) {
    tx_managers_stop(n->managers);
    tx_managers_close(n->managers);
    catalog_set_route(n->w.catalog, NULL);
    table_world_close(&n->w);
}

/* Its process ends and another begins: what it has on disc is all that it has. */
static void restart_managers(struct town *n) {
    tx_managers_stop(n->managers);
    tx_managers_close(n->managers);
    open_managers(n, true);
}

/* The message of a transaction that writes something in the first `count` shards. */
static struct message *commit_message(struct town *n, uint32_t count, eg_pid *to) {
    struct transact_want want[SHARDS];
    uint8_t bytes[ROOM];
    struct value record = text_value(bytes, sizeof bytes, "[1, 'x']");
    const struct transact what = {.want = want, .want_count = count};
    struct tx_commit c = {.id = the_id,
                          .age = {1, 1, 1},
                          .deadline_ms = (uint64_t) env_wall_ms(&n->w.st->env) + 2000,
                          .what = &what};
    struct message *m;

    for (uint32_t i = 0; i < count; i++)
        want[i] = (struct transact_want){
            .table = n->table,
            .shard = i,
            .request = {.op = SHARD_WRITE, .attribute = SHARD_NO_ATTRIBUTE, .value = record}};
    reader_enter(&n->w.reader);
    cr_assert_eq(tx_commit_message(n->managers, &c, to, &m), EG_OK);
    reader_exit(&n->w.reader);
    return m;
}

static eg_err answer_of(struct town *n, eg_pid to, struct message *m, uint64_t ms, char *text,
                        size_t room) {
    struct message *reply = NULL;
    eg_err err = foreign_call(n->w.st->me, to, m, ms, &reply);

    if (err != EG_OK) {
        if (text != NULL)
            snprintf(text, room, "call: %s", eg_err_name(err));
        return err;
    }
    err = (eg_err) reply->tag;
    if (text != NULL)
        snprintf(text, room, "%.*s", (int) reply->size_bytes, (const char *) reply->payload);
    message_free(n->w.st->rt, reply);
    return err;
}

static eg_err commit(struct town *n, uint32_t count) {
    eg_pid to;
    struct message *m = commit_message(n, count, &to);

    return answer_of(n, to, m, 20000, NULL, 0);
}

static void status_is(struct town *n, const char *what) {
    char text[32];
    eg_pid to;
    struct message *m;

    cr_assert_eq(tx_status_message(n->managers, the_id, &to, &m), EG_OK);
    cr_assert_eq(answer_of(n, to, m, 20000, text, sizeof text), EG_OK, "%s", text);
    cr_assert_str_eq(text + 1, what);
}

static uint32_t count_of(const struct town *n, enum shard_state s) {
    uint32_t count = 0;

    for (uint32_t i = 0; i < SHARDS; i++)
        count += n->state[i] == s;
    return count;
}

/* Rows of decisions on disc. */
static eg_err count_row(void *context, struct disc_bytes row) {
    (void) row;
    ++*(uint32_t *) context;
    return EG_OK;
}

/* ---- tests ----------------------------------------------------------------------------------- */

Test(tx_manager, all_shards_do_it_and_then_it_is_answered) {
    static const char *const options[] = {"{'shards': 4}", "{'shards': 4, 'storage': 'disc'}"};

    for (int i = 0; i < 2; i++) {
        struct town n;
        uint32_t rows = 0;

        open_town(&n, options[i]);
        cr_assert_eq(commit(&n, 3), EG_OK);
        cr_assert_eq(count_of(&n, DONE), 3);
        status_is(&n, "committed");
        stepper_run_ms(n.w.st, 100);
        cr_assert_eq(tx_decision_each(disc_twin_disc(n.w.pump.twin), count_row, &rows), EG_OK);
        cr_assert_eq(rows, 0, "a row is left");
        close_town(&n);
    }
}

/* Nothing else has to know of it: the part's own row says all. */
Test(tx_manager, the_decision_about_one_part_is_not_written) {
    for (uint32_t parts = 1; parts <= 2; parts++) {
        uint32_t rows = 0;
        struct message *m;
        struct town n;
        eg_pid to;

        open_town(&n, "{'shards': 4, 'storage': 'disc'}");
        n.fault = SILENT_BEFORE;
        n.nth = parts; /* the first COMMIT */
        m = commit_message(&n, parts, &to);
        cr_assert_eq(answer_of(&n, to, m, 100, NULL, 0), EG_TIMEOUT);
        cr_assert_eq(tx_decision_each(disc_twin_disc(n.w.pump.twin), count_row, &rows), EG_OK);
        cr_assert_eq(rows, parts - 1);
        close_town(&n);
    }
}

Test(tx_manager, one_that_refuses_undoes_all) {
    for (uint32_t nth = 0; nth < 3; nth++) {
        struct town n;

        open_town(&n, "{'shards': 4}");
        n.fault = REFUSE;
        n.nth = nth;
        cr_assert_eq(commit(&n, 3), EG_CONFLICT);
        stepper_run_ms(n.w.st, 500);
        cr_assert_eq(count_of(&n, PREPARED), 0);
        cr_assert_eq(count_of(&n, DONE), 0);
        status_is(&n, "aborted");
        close_town(&n);
    }
}

static uint32_t count_text(const struct message *m, const char *text) {
    size_t size_bytes = strlen(text);
    uint32_t count = 0;

    for (size_t i = 0; i + size_bytes <= m->size_bytes; i++)
        count += memcmp(m->payload + i, text, size_bytes) == 0;
    return count;
}

/* Who asks the manager meanwhile is answered before the last of many shards has been asked. */
Test(tx_manager, one_of_many_shards_is_not_all_of_a_turn) {
    struct message *m, *reply;
    struct town n;
    uint32_t its;
    eg_pid to;

    open_town(&n, "{'shards': 64}");
    m = commit_message(&n, SHARDS, &to);
    cr_assert_eq(runtime_send(n.w.st->rt, EG_PID_NONE, to, m), EG_OK);
    its = (uint32_t) ((the_id.high ^ the_id.low) % tx_managers_count(n.managers));
    cr_assert_eq(tx_list_message(n.managers, its, &to, &m), EG_OK);
    cr_assert_eq(foreign_call(n.w.st->me, to, m, 20000, &reply), EG_OK);
    cr_assert_eq(count_text(reply, "asked"), SHARDS / 2);
    cr_assert_eq(count_text(reply, "new"), SHARDS / 2);
    message_free(n.w.st->rt, reply);
    stepper_run_ms(n.w.st, 1000);
    cr_assert_eq(count_of(&n, DONE), SHARDS);
    close_town(&n);
}

/* A part that is prepared and has not heard: its shard says so. */
static void doubt_all_of(struct town *n, struct transact_id id) {
    struct buffer head;
    const struct transact_head h = {.id = id, .coordinator = ME};

    buffer_init(&head, alloc_system(), 4096);
    cr_assert_eq(transact_pack_head(&h, &head), EG_OK);
    reader_enter(&n->w.reader);
    for (uint32_t i = 0; i < SHARDS; i++)
        if (n->state[i] == PREPARED)
            tx_managers_doubt(n->managers, n->table, i,
                              (struct value){head.at, (uint32_t) head.size_bytes});
    reader_exit(&n->w.reader);
    buffer_fini(&head);
}

static void doubt_all(struct town *n) {
    doubt_all_of(n, the_id);
}

static void all_or_nothing(const struct town *n, uint32_t nth, enum fault f) {
    uint32_t done = count_of(n, DONE);

    cr_assert_eq(count_of(n, PREPARED), 0, "fault %d at %u: a part stays prepared", f, nth);
    cr_assert(done == 0 || done == 3, "fault %d at %u: %u of 3 are done", f, nth, done);
}

Test(tx_manager, whatever_happens_at_whichever_request_all_or_nothing_is_done) {
    static const char *const options[] = {"{'shards': 4}", "{'shards': 4, 'storage': 'disc'}"};

    for (int disc = 0; disc < 2; disc++)
        for (enum fault f = REFUSE; f <= KILL_ACTOR; f++)
            for (uint32_t nth = 0; nth < 6; nth++) {
                struct town n;
                struct message *m;
                eg_pid to;
                eg_err err;

                open_town(&n, options[disc]);
                n.fault = f;
                n.nth = nth;
                m = commit_message(&n, 3, &to);
                if (f == SILENT_BEFORE || f == SILENT_AFTER) { /* then its node goes */
                    err = answer_of(&n, to, m, 100, NULL, 0);
                    restart_managers(&n);
                } else {
                    err = answer_of(&n, to, m, 20000, NULL, 0);
                }
                if (err == EG_OK) /* though nobody has asked after it */
                    cr_assert_eq(count_of(&n, DONE), 3, "fault %d at %u", f, nth);
                stepper_run_ms(n.w.st, 1000);
                doubt_all(&n);
                stepper_run_ms(n.w.st, 1000);
                all_or_nothing(&n, nth, f);
                if (nth >= 3 && disc == 1) /* the disc remembers that it was decided */
                    cr_assert_eq(count_of(&n, DONE), 3, "fault %d at %u", f, nth);
                if (err != EG_OK && err != EG_IN_DOUBT && err != EG_TIMEOUT)
                    cr_assert_eq(count_of(&n, DONE), 0, "fault %d at %u: told %s", f, nth,
                                 eg_err_name(err));
                close_town(&n);
            }
}

/* ---- other nodes ----------------------------------------------------------------------------- */

static eg_err send_to_other(void *user, uint64_t to, struct value payload) {
    struct town *n = user;
    uint8_t room[TX_WORD_BYTES];
    struct tx_word w;

    cr_assert_eq(to, OTHER);
    cr_assert(tx_wire_get(payload, &w));
    if (w.kind != TX_WORD_ASK)
        return EG_OK;
    n->questions++;
    if (n->other_knows == TX_STATUS_OPEN && n->questions == 1)
        return EG_NO_REPLICA; /* lost */
    w.kind = TX_WORD_SAY;
    w.status = n->other_knows == TX_STATUS_OPEN ? TX_STATUS_COMMITTED : n->other_knows;
    tx_managers_receive(n->managers, OTHER, tx_wire_put(room, &w));
    return EG_OK;
}

static void meet_other(struct town *n) {
    const struct tx_peers peers = {.self = ME, .send = send_to_other, .user = n};
    static const uint64_t nodes[] = {ME, OTHER};
    struct view *both = alloc_zero(alloc_system(), sizeof *both + 2 * sizeof both->member[0]);

    both->id = n->view;
    both->count = 2;
    for (uint32_t i = 0; i < both->count; i++)
        both->member[i].id = nodes[i];
    tx_managers_meet(n->managers, &peers);
    tx_managers_view(n->managers, both);
    alloc_put(alloc_system(), both, sizeof *both + 2 * sizeof both->member[0]);
    stepper_run(n->w.st);
}

/* Its shards do not know yet that they are not alone, and others may have given it up. */
Test(tx_manager, what_is_found_on_disc_waits_for_a_view_where_there_are_others) {
    for (int cluster = 0; cluster < 2; cluster++) {
        struct message *m;
        struct town n;
        eg_pid to;

        open_town(&n, "{'shards': 4, 'storage': 'disc'}");
        cr_assert_eq(origins_meet(catalog_origins(n.w.catalog)), EG_OK);
        n.fault = SILENT_BEFORE;
        n.nth = 3; /* the first COMMIT: what follows is answered */
        m = commit_message(&n, 3, &to);
        cr_assert_neq(answer_of(&n, to, m, 100, NULL, 0), EG_OK);
        memset(n.state, 0, sizeof n.state);
        n.asked = 0;
        n.nth = UINT32_MAX;
        restart_managers(&n);
        stepper_run_ms(n.w.st, 5000);
        cr_assert_eq(n.asked, 0);
        if (cluster)
            meet_other(&n);
        stepper_run_ms(n.w.st, cluster ? 1000 : 10000); /* or there is none, after all */
        cr_assert_eq(count_of(&n, DONE), 3, "cluster %d: %u", cluster, count_of(&n, DONE));
        close_town(&n);
    }
}

Test(tx_manager, a_part_in_doubt_does_what_another_node_knows) {
    static const struct {
        enum tx_status knows;
        enum shard_state becomes;
    } cases[] = {{TX_STATUS_COMMITTED, DONE},
                 {TX_STATUS_ABORTED, GIVEN_UP},
                 {TX_STATUS_UNKNOWN, GIVEN_UP},
                 {TX_STATUS_OPEN, DONE} /* asked again, where the first question is lost */};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct town n;

        open_town(&n, "{'shards': 4}");
        n.other_knows = cases[i].knows;
        meet_other(&n);
        n.state[2] = PREPARED;
        doubt_all(&n);
        stepper_run_ms(n.w.st, 2000);
        cr_assert_eq(n.state[2], cases[i].becomes, "case %zu", i);
        cr_assert_geq(n.questions, 1);
        close_town(&n);
    }
}

Test(tx_manager, a_client_hears_what_any_node_knows) {
    struct town n;

    open_town(&n, "{'shards': 4}");
    status_is(&n, "unknown");
    n.other_knows = TX_STATUS_COMMITTED;
    meet_other(&n);
    status_is(&n, "committed");
    n.other_knows = TX_STATUS_UNKNOWN;
    status_is(&n, "unknown");
    close_town(&n);
}

/* Known here of try number `number` of the request. */
static void try_became(struct town *n, uint32_t number, enum outcome what) {
    outcome_put(catalog_outcomes(n->w.catalog), transact_id_of_try(the_id, number), what);
}

Test(tx_manager, a_request_is_committed_with_any_of_its_tries_and_aborted_with_the_last) {
    struct outcomes *o;
    struct town n;

    open_town(&n, "{'shards': 4}");
    o = catalog_outcomes(n.w.catalog);
    try_became(&n, 1, OUTCOME_ABORTED);
    status_is(&n, "unknown");
    outcome_put(o, the_id, (enum outcome)(OUTCOME_OF_TRY + 2)); /* nobody waits for it any more */
    status_is(&n, "unknown");
    try_became(&n, 2, OUTCOME_ABORTED);
    status_is(&n, "aborted");
    outcome_put(o, the_id, OUTCOME_ABORTED); /* another request of the same name */
    try_became(&n, 2, OUTCOME_COMMITTED);    /* elsewhere, after a cut */
    status_is(&n, "committed");
    close_town(&n);
}

Test(tx_manager, a_part_in_doubt_of_one_try_does_not_hear_of_the_next_one) {
    struct town n;

    open_town(&n, "{'shards': 4}");
    try_became(&n, 1, OUTCOME_ABORTED);
    try_became(&n, 2, OUTCOME_COMMITTED);
    n.state[2] = PREPARED;
    doubt_all_of(&n, transact_id_of_try(the_id, 1));
    stepper_run_ms(n.w.st, 2000);
    cr_assert_eq(n.state[2], GIVEN_UP);
    close_town(&n);
}

Test(tx_manager, what_was_asked_in_another_view_is_not_answered) {
    struct town n;
    struct tx_word w = {.kind = TX_WORD_SAY, .number = 1, .id = the_id, .status = 2};
    uint8_t room[TX_WORD_BYTES];

    open_town(&n, "{'shards': 4}");
    n.other_knows = TX_STATUS_UNKNOWN;
    meet_other(&n);
    n.state[1] = PREPARED;
    w.view = (struct view_id){6, 66};
    tx_managers_receive(n.managers, OTHER, tx_wire_put(room, &w));
    doubt_all(&n);
    stepper_run_ms(n.w.st, 2000);
    cr_assert_eq(n.state[1], GIVEN_UP);
    close_town(&n);
}
