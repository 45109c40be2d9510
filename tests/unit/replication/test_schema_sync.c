/* Every node of a view knows the same tables, whoever made them, and whoever was away. */
#include "replication/schema_sync.h"
#include "tables/route.h"
#include "tables/shard_copy.h"
#include "tests/support/fail_alloc.h"
#include "tables/shard_copy.h"
#include "tests/support/table_world.h"
#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <string.h>

enum { NODES = 3, QUEUE = 256, ROUNDS = 400 };
#define USERS_REF (UINT64_C(1) << 40)

struct hall;

struct site {
    struct hall *hall;
    uint64_t id;
    char name[8];
    struct table_world w;
    struct fail_alloc memory; /* of its list */
    struct schema_sync *sync;
    eg_pid ear;    /* hears the catalog, and the answers to users */
    eg_err answer; /* to the user; 1: none yet */
    char text[128];
    uint32_t wholes, events;
};

struct letter {
    uint64_t from, to;
    struct buffer bytes;
};

struct hall {
    struct site site[NODES + 1]; /* by id, 1 .. */
    struct letter letter[QUEUE];
    uint32_t letters;
    uint32_t in_view; /* bits by id: who hears whom */
    uint64_t deaf;    /* hears nobody, and is not heard; 0: none is */
    uint64_t still;   /* its catalog does nothing now; 0: none is */
    uint64_t epoch;
    uint64_t old;   /* does not know what a sum is; 0: all do */
    uint32_t lists; /* that were sent */
};

static bool together(const struct hall *h, uint64_t a, uint64_t b) {
    return (h->in_view >> a & 1) == (h->in_view >> b & 1);
}

static eg_err send(void *user, uint64_t to, struct value payload) {
    struct site *me = user;
    struct hall *h = me->hall;

    if (!together(h, me->id, to))
        return EG_NO_REPLICA;
    cr_assert_lt(h->letters, QUEUE);
    h->lists += payload.at[0] == 0x95 && payload.at[1] == 0; /* [LIST, ...] */
    h->letter[h->letters] = (struct letter){.from = me->id, .to = to};
    buffer_init(&h->letter[h->letters].bytes, alloc_system(), SIZE_MAX);
    cr_assert(buffer_append(&h->letter[h->letters].bytes, payload.at, payload.size_bytes));
    h->letters++;
    return EG_OK;
}

static bool sums(void *user, uint64_t to) {
    const struct site *me = user;

    return me->id != me->hall->old && to != me->hall->old;
}

static eg_pid answers(void *user) {
    return ((struct site *) user)->ear;
}

static bool everybody(void *user, struct err_note *note) {
    struct site *me = user;

    for (uint64_t id = 1; id <= NODES; id++)
        if (!together(me->hall, me->id, id)) {
            (void) err_note(note, EG_NO_REPLICA, "node %u is away", (unsigned) id);
            return false;
        }
    return true;
}

static bool any_disc(void *user) {
    (void) user;
    return true;
}

static void table_changed(void *user, const char *name) {
    (void) user, (void) name;
}

static void whole(void *user) {
    ((struct site *) user)->wholes++;
}

static void event(void *user, const char *kind, const char *table, const char *text) {
    (void) kind, (void) table, (void) text;
    ((struct site *) user)->events++;
}

static void ear_receive(struct actor *self, void *state, struct message *m) {
    struct site *me = *(struct site **) state;

    (void) self;
    if (m->ref >= USERS_REF) {
        me->answer = (eg_err) m->tag;
        snprintf(me->text, sizeof me->text, "%.*s", (int) m->size_bytes, (const char *) m->payload);
    } else {
        schema_sync_reply(me->sync, m);
    }
}

static eg_err ear_init(struct actor *self, void *state, const void *arg) {
    (void) self;
    *(struct site **) state = *(struct site *const *) arg;
    return EG_OK;
}

static void open_ear(struct site *me) {
    static const struct actor_ops ops = {.name = "ear",
                                         .state_bytes = sizeof(struct site *),
                                         .init = ear_init,
                                         .receive = ear_receive};
    struct spawn_opts o = {
        .ops = &ops, .arg = &me, .arg_bytes = sizeof me, .scheduler = SPAWN_ON(0)};

    cr_assert_eq(actor_spawn(me->w.st->rt, NULL, &o, &me->ear, NULL), EG_OK);
}

static void open_sync(struct site *me) {
    struct schema_sync_opts o = {.alloc = &me->memory.base,
                                 .env = &me->w.st->env,
                                 .runtime = me->w.st->rt,
                                 .catalog = me->w.catalog,
                                 .disc = disc_twin_disc(me->w.pump.twin),
                                 .self = me->id,
                                 .self_name = me->name,
                                 .secret = 99,
                                 .answers = answers,
                                 .send = send,
                                 .sums = sums,
                                 .everybody = everybody,
                                 .any_disc = any_disc,
                                 .table_changed = table_changed,
                                 .whole = whole,
                                 .event = event,
                                 .user = me};
    struct err_note note;

    reader_enter(&me->w.reader);
    cr_assert_eq(schema_sync_open(&me->sync, &o, &note), EG_OK);
    reader_exit(&me->w.reader);
}

static void open_hall(struct hall *h) {
    memset(h, 0, sizeof *h);
    for (uint64_t id = 1; id <= NODES; id++) {
        struct site *me = &h->site[id];
        me->hall = h;
        me->id = id;
        snprintf(me->name, sizeof me->name, "n%u", (unsigned) id);
        me->memory = fail_alloc_after(INT_MAX);
        table_world_open(&me->w, alloc_system(), id);
        open_ear(me);
        open_sync(me);
    }
}

static void close_hall(struct hall *h) {
    while (h->letters > 0)
        buffer_fini(&h->letter[--h->letters].bytes);
    for (uint64_t id = 1; id <= NODES; id++) {
        schema_sync_close(h->site[id].sync);
        table_world_close(&h->site[id].w);
    }
}

static void deliver(struct hall *h) {
    struct letter l = h->letter[0];

    memmove(h->letter, h->letter + 1, --h->letters * sizeof *h->letter);
    if (together(h, l.from, l.to) && l.from != h->deaf && l.to != h->deaf)
        schema_sync_receive(h->site[l.to].sync, l.from,
                            (struct value){l.bytes.at, (uint32_t) l.bytes.size_bytes});
    buffer_fini(&l.bytes);
}

static void run(struct hall *h) {
    for (int round = 0; round < ROUNDS; round++) {
        for (uint64_t id = 1; id <= NODES; id++) {
            struct site *me = &h->site[id];
            if (id != h->still)
                stepper_run_ms(me->w.st, 10);
            reader_enter(&me->w.reader);
            if (round % 50 == 49)
                schema_sync_tick(me->sync);
            reader_exit(&me->w.reader);
        }
        for (uint32_t n = h->letters; n > 0; n--) {
            struct site *to = &h->site[h->letter[0].to];
            reader_enter(&to->w.reader);
            deliver(h);
            reader_exit(&to->w.reader);
        }
    }
}

static void install_at(struct hall *h, uint64_t id, uint32_t members, uint64_t hash) {
    size_t size_bytes = sizeof(struct view) + NODES * sizeof(struct view_member);
    struct view *v = alloc_zero(alloc_system(), size_bytes);

    v->id = (struct view_id){h->epoch, hash};
    v->alloc = alloc_system();
    v->size_bytes = size_bytes;
    atomic_init(&v->refs, 1);
    for (uint64_t other = 1; other <= NODES; other++)
        if (members >> other & 1)
            v->member[v->count++] = (struct view_member){.id = other, .incarnation = 1};
    v->principal = v->member[0].id;
    reader_enter(&h->site[id].w.reader);
    schema_sync_view(h->site[id].sync, v);
    reader_exit(&h->site[id].w.reader);
    view_unref(v);
}

/* A view of the nodes in `bits`, installed at each of them; and one of the others. */
static void install(struct hall *h, uint32_t bits) {
    enum { ALL = (1 << (NODES + 1)) - 2 };

    h->in_view = bits;
    h->epoch++;
    for (uint64_t id = 1; id <= NODES; id++)
        install_at(h, id, bits >> id & 1 ? bits : ALL & ~bits, bits >> id & 1);
    run(h);
}

/* A view of the nodes in `bits`, of which the others have not heard: they can be reached. */
static void install_unheard(struct hall *h, uint32_t bits) {
    h->epoch++;
    for (uint64_t id = 1; id <= NODES; id++)
        if (bits >> id & 1)
            install_at(h, id, bits, 1);
    run(h);
}

static eg_err ask(struct hall *h, uint64_t id, enum catalog_op op, const char *name,
                  const char *text) {
    struct site *me = &h->site[id];
    uint8_t bytes[512];
    struct catalog_request q = {.op = op,
                                .name = {(const uint8_t *) name, (uint32_t) strlen(name)}};
    struct message *m;
    eg_pid to;

    if (text != NULL)
        q.value = text_value(bytes, sizeof bytes, text);
    cr_assert_eq(catalog_message_here(me->w.catalog, &q, &to, &m), EG_OK);
    m->from = me->ear;
    m->ref = USERS_REF;
    me->answer = (eg_err) 1;
    reader_enter(&me->w.reader);
    schema_sync_ask(me->sync, m);
    reader_exit(&me->w.reader);
    message_free(me->w.st->rt, m);
    run(h);
    return me->answer;
}

/* The table's id there; 0: none. */
static uint64_t id_of(struct hall *h, uint64_t site, const char *name) {
    struct site *me = &h->site[site];
    struct table *t;
    uint64_t id = 0;

    reader_enter(&me->w.reader);
    t = catalog_find(me->w.catalog, name, strlen(name));
    if (t != NULL)
        id = table_schema(t)->id;
    reader_exit(&me->w.reader);
    return id;
}

static uint32_t attributes(struct hall *h, uint64_t site, const char *name) {
    struct site *me = &h->site[site];
    uint32_t count;

    reader_enter(&me->w.reader);
    count = table_schema(catalog_find(me->w.catalog, name, strlen(name)))->attribute_count;
    reader_exit(&me->w.reader);
    return count;
}

Test(schema_sync, a_table_is_known_everywhere_when_it_is_answered) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    cr_assert_eq(h.site[3].wholes, 1);
    cr_assert_eq(ask(&h, 3, CATALOG_CREATE, "t", "{'shards': 2}"), EG_OK);
    cr_assert_neq(id_of(&h, 1, "t"), 0);
    cr_assert_eq(id_of(&h, 1, "t"), id_of(&h, 2, "t"));
    cr_assert_eq(id_of(&h, 1, "t"), id_of(&h, 3, "t"));
    cr_assert_eq(ask(&h, 2, CATALOG_CREATE, "t", NULL), EG_EXISTS);
    close_hall(&h);
}

Test(schema_sync, who_knows_the_same_is_sent_no_list) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    cr_assert_eq(ask(&h, 3, CATALOG_CREATE, "t", "{'shards': 2}"), EG_OK);
    cr_assert_eq(ask(&h, 2, CATALOG_CREATE, "u", "{'shards': 2}"), EG_OK);
    h.lists = 0;
    install(&h, 0x6);
    install(&h, 0xe);
    cr_assert_eq(h.lists, 0);
    for (uint64_t id = 1; id <= NODES; id++)
        cr_assert(schema_sync_is_whole(h.site[id].sync));
    install(&h, 0x6);
    cr_assert_eq(ask(&h, 3, CATALOG_CREATE, "v", "{'shards': 2}"), EG_OK);
    install(&h, 0xe);
    cr_assert_gt(h.lists, 0);
    cr_assert_neq(id_of(&h, 3, "v"), 0);
    cr_assert_eq(id_of(&h, 1, "v"), id_of(&h, 3, "v"));
    cr_assert_eq(id_of(&h, 2, "v"), id_of(&h, 3, "v"));
    close_hall(&h);
}

Test(schema_sync, a_node_that_knows_no_sums_is_told_lists) {
    struct hall h;

    open_hall(&h);
    h.old = 2;
    install(&h, 0xa); /* 1 and 3 */
    cr_assert_eq(ask(&h, 3, CATALOG_CREATE, "t", "{'shards': 2}"), EG_OK);
    cr_assert_eq(ask(&h, 2, CATALOG_CREATE, "u", "{'shards': 2}"), EG_OK);
    install(&h, 0xe);
    cr_assert_gt(h.lists, 0);
    for (uint64_t id = 1; id <= NODES; id++) {
        cr_assert(schema_sync_is_whole(h.site[id].sync));
        cr_assert_neq(id_of(&h, id, "t"), 0);
        cr_assert_neq(id_of(&h, id, "u"), 0);
    }
    close_hall(&h);
}

Test(schema_sync, a_view_in_between_does_not_answer_for_who_has_not_made_it) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    h.still = 2;
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "t", "{'shards': 2}"), (eg_err) 1);
    install(&h, 0xe);
    cr_assert_eq(id_of(&h, 2, "t"), 0);
    cr_assert_eq(h.site[1].answer, (eg_err) 1);
    h.still = 0;
    run(&h);
    cr_assert_eq(h.site[1].answer, EG_OK);
    cr_assert_eq(id_of(&h, 2, "t"), id_of(&h, 1, "t"));
    close_hall(&h);
}

/* It stood still for a moment: its link is there, and the others go on without it. */
Test(schema_sync, who_asks_and_is_left_out_hears_when_it_knows_the_table) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    h.still = 1;
    cr_assert_eq(ask(&h, 3, CATALOG_CREATE, "t", "{'shards': 2}"), (eg_err) 1);
    install_unheard(&h, 0x6);
    h.still = 0;
    run(&h);
    cr_assert_neq(id_of(&h, 1, "t"), 0);
    cr_assert_eq(id_of(&h, 3, "t"), 0);
    cr_assert_eq(h.site[3].answer, (eg_err) 1);
    install(&h, 0xe);
    cr_assert_eq(h.site[3].answer, EG_OK);
    cr_assert_eq(id_of(&h, 3, "t"), id_of(&h, 1, "t"));
    close_hall(&h);
}

/* It has been started anew, and is in a view of its own; the others take it for what it was.  What
 * they tell it of a majority table would look as if it had just been made, in that view. */
Test(schema_sync, nothing_is_learnt_from_who_is_not_in_the_view) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    h.epoch++;
    install_at(&h, 3, 1 << 3, 7);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "t", "{'shards': 2}"), (eg_err) 1);
    run(&h);
    cr_assert_neq(id_of(&h, 2, "t"), 0);
    cr_assert_eq(id_of(&h, 3, "t"), 0);
    cr_assert_eq(h.site[1].answer, (eg_err) 1);
    install(&h, 0xe);
    cr_assert_eq(h.site[1].answer, EG_OK);
    cr_assert_eq(id_of(&h, 3, "t"), id_of(&h, 1, "t"));
    close_hall(&h);
}

Test(schema_sync, what_is_wrong_is_said_and_changes_nothing) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    cr_assert_eq(ask(&h, 2, CATALOG_CREATE, "t", "{'shards': 0}"), EG_BAD_REQUEST);
    cr_assert_neq(h.site[2].text[0], '\0');
    cr_assert_eq(ask(&h, 2, CATALOG_DROP, "t", NULL), EG_NO_TABLE);
    cr_assert_eq(id_of(&h, 1, "t"), 0);
    close_hall(&h);
}

Test(schema_sync, who_was_away_learns_what_came_changed_and_went) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "goes", "{'storage': 'disc', 'shards': 2}"), EG_OK);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "grows", "{'shards': 2}"), EG_OK);
    install(&h, 0x6);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "comes", "{'shards': 2}"), EG_OK);
    cr_assert_eq(ask(&h, 2, CATALOG_ALTER, "grows", "['add_attribute', 'more', 7]"), EG_OK);
    cr_assert_eq(id_of(&h, 3, "comes"), 0);
    install(&h, 0xe);
    cr_assert_eq(id_of(&h, 3, "comes"), id_of(&h, 1, "comes"));
    cr_assert_eq(attributes(&h, 3, "grows"), 3);
    cr_assert_eq(ask(&h, 3, CATALOG_DROP, "goes", NULL), EG_OK);
    for (uint64_t id = 1; id <= NODES; id++)
        cr_assert_eq(id_of(&h, id, "goes"), 0);
    close_hall(&h);
}

Test(schema_sync, nothing_is_taken_away_while_somebody_is_away) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "t", NULL), EG_OK);
    install(&h, 0x6);
    cr_assert_eq(ask(&h, 1, CATALOG_DROP, "t", NULL), EG_NO_REPLICA);
    cr_assert_str_eq(h.site[1].text, "node 3 is away");
    cr_assert_eq(ask(&h, 1, CATALOG_ALTER, "t", "['rename_attribute', 'value', 'v']"),
                 EG_NO_REPLICA);
    cr_assert_neq(id_of(&h, 1, "t"), 0);
    close_hall(&h);
}

Test(schema_sync, what_there_was_no_memory_for_is_heard_when_it_is_said_again) {
    enum { REQUESTS = 12 };
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    for (int granted = 0; granted < REQUESTS; granted++) {
        char name[8];

        snprintf(name, sizeof name, "t%d", granted);
        h.site[3].memory.once = true;
        h.site[3].memory.left = granted;
        cr_assert_eq(ask(&h, 1, CATALOG_CREATE, name, NULL), EG_OK, "%d", granted);
        cr_assert_eq(id_of(&h, 3, name), id_of(&h, 1, name), "%d", granted);
        h.site[3].memory.left = INT_MAX;
    }
    close_hall(&h);
}

static void hear_nothing(void *user, struct shard *s) {
    (void) user, (void) s;
}
static bool hears_nothing(void *user, struct shard *s) {
    hear_nothing(user, s);
    return true;
}
static void take_nothing(void *user, struct actor *self, struct shard *s, struct message *m) {
    (void) user, (void) self, (void) s, (void) m;
}
static void resume_nothing(void *user, struct actor *self, struct shard *s) {
    (void) user, (void) self, (void) s;
}

/* Who has never known another serves alone what it makes; what it learns is of others too. */
Test(schema_sync, a_table_that_is_learnt_serves_nobody_before_it_is_planned) {
    static const struct shard_copy_ops ops = {.changed = hears_nothing,
                                              .room = hears_nothing,
                                              .receive = take_nothing,
                                              .resume = resume_nothing,
                                              .close = hear_nothing};
    struct hall h;

    open_hall(&h);
    for (uint64_t id = 1; id <= NODES; id++)
        catalog_set_copies(h.site[id].w.catalog, &ops, NULL);
    install(&h, 0x2);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "t", NULL), EG_OK);
    install(&h, 0xe);
    for (uint64_t id = 1; id <= NODES; id++) {
        struct reader *r = &h.site[id].w.reader;

        reader_enter(r);
        cr_assert_eq(table_role(catalog_find(h.site[id].w.catalog, "t", 1), 0),
                     id == 1 ? SHARD_ALONE : SHARD_STOPPED);
        reader_exit(r);
    }
    close_hall(&h);
}

Test(schema_sync, equal_creations_on_both_sides_of_a_cut_are_one_table) {
    struct hall h;

    open_hall(&h);
    install(&h, 0x6);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "t", "{'shards': 2}"), EG_OK);
    cr_assert_eq(ask(&h, 3, CATALOG_CREATE, "t", "{'shards': 2}"), EG_OK);
    cr_assert_eq(ask(&h, 3, CATALOG_CREATE, "other", "{'shards': 2}"), EG_OK);
    install(&h, 0xe);
    for (uint64_t id = 1; id <= NODES; id++) {
        cr_assert_eq(id_of(&h, id, "t"), id_of(&h, 1, "t"));
        cr_assert_eq(id_of(&h, id, "other"), id_of(&h, 3, "other"));
        cr_assert_eq(h.site[id].events, 0);
    }
    close_hall(&h);
}

/* ---- both sides of a cut ------------------------------------------------------------- */

static void put(struct hall *h, uint64_t site, const char *name, const char *text) {
    struct site *me = &h->site[site];
    uint8_t bytes[256];
    struct shard_request q = {.op = SHARD_WRITE,
                              .attribute = SHARD_NO_ATTRIBUTE,
                              .value = text_value(bytes, sizeof bytes, text)};
    struct table *t;

    reader_enter(&me->w.reader);
    t = catalog_find(me->w.catalog, name, strlen(name));
    for (uint32_t i = 0; i < table_shards(t); i++)
        shard_set_role(table_shard(t, i), SHARD_ALONE); /* there are no replicas here */
    cr_assert_eq(table_world_run(&me->w, t, &q), EG_OK);
    reader_exit(&me->w.reader);
}

/* The only record of the table there. */
static void has(struct hall *h, uint64_t site, const char *name, const char *text) {
    struct site *me = &h->site[site];
    struct table_walk *walk;
    const struct record *rec;
    char found[256];

    reader_enter(&me->w.reader);
    cr_assert_eq(table_walk_open(&walk, catalog_find(me->w.catalog, name, strlen(name)),
                                 &me->w.reader, NULL, false, false),
                 EG_OK);
    rec = table_walk_next(walk);
    cr_assert_not_null(rec);
    cr_assert_str_eq(value_text(record_value(rec), found, sizeof found), text, "site %u",
                     (unsigned) site);
    reader_exit(&me->w.reader);
    reader_reset(&me->w.reader);
}

/* All nodes have the table with these attributes, and understand each other's records. */
static void is_everywhere(struct hall *h, const char *name, const char *attributes_text,
                          uint32_t indexes) {
    uint64_t records = 0;

    for (uint64_t id = 1; id <= NODES; id++) {
        struct site *me = &h->site[id];
        const struct schema *s;
        char found[256] = "";

        reader_enter(&me->w.reader);
        cr_assert_neq(id_of(h, id, name), 0, "no %s at %u", name, (unsigned) id);
        s = table_schema(catalog_find(me->w.catalog, name, strlen(name)));
        for (uint32_t i = 0; i < s->attribute_count; i++) {
            strcat(found, i == 0 ? "" : " ");
            strcat(found, s->attributes[i].text);
        }
        cr_assert_str_eq(found, attributes_text, "at %u", (unsigned) id);
        cr_assert_eq(s->index_count, indexes);
        cr_assert(id == 1 || schema_records_id(s) == records);
        records = schema_records_id(s);
        reader_exit(&me->w.reader);
    }
}

Test(schema_sync, of_two_tables_of_one_name_the_older_keeps_it) {
    struct hall h;
    uint64_t first, second;

    open_hall(&h);
    install(&h, 0x6);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "t", "{'type': 'bag', 'shards': 2}"), EG_OK);
    cr_assert_eq(ask(&h, 3, CATALOG_CREATE, "t", "{'type': 'set', 'shards': 2}"), EG_OK);
    put(&h, 1, "t", "[1, 'older']");
    put(&h, 3, "t", "[1, 'younger']");
    first = id_of(&h, 1, "t");
    second = id_of(&h, 3, "t");
    install(&h, 0xe);
    for (uint64_t id = 1; id <= NODES; id++) {
        cr_assert_eq(id_of(&h, id, "t"), first);
        cr_assert_eq(id_of(&h, id, "t@n3"), second);
        cr_assert_eq(h.site[id].events, 1);
    }
    has(&h, 1, "t", "[1, 'older']");
    has(&h, 3, "t@n3", "[1, 'younger']");
    cr_assert_eq(h.site[3].wholes, 2);
    cr_assert_eq(ask(&h, 2, CATALOG_DROP, "t", NULL), EG_OK);
    cr_assert_eq(id_of(&h, 3, "t@n3"), second);
    cr_assert_eq(ask(&h, 2, CATALOG_DROP, "t@n3", NULL), EG_OK);
    cr_assert_eq(id_of(&h, 3, "t@n3"), 0);
    close_hall(&h);
}

Test(schema_sync, what_both_sides_of_a_cut_added_is_united) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "t", "{'shards': 2}"), EG_OK);
    put(&h, 1, "t", "[1, 'a']");
    put(&h, 3, "t", "[1, 'a']");
    install(&h, 0x6);
    cr_assert_eq(ask(&h, 3, CATALOG_ALTER, "t", "['add_attribute', 'there', 3]"), EG_OK);
    cr_assert_eq(ask(&h, 1, CATALOG_ALTER, "t", "['add_attribute', 'here', 1]"), EG_OK);
    cr_assert_eq(ask(&h, 3, CATALOG_ADD_INDEX, "t", "'there'"), EG_OK);
    cr_assert_eq(ask(&h, 1, CATALOG_ADD_INDEX, "t", "'value'"), EG_OK);
    put(&h, 3, "t", "[1, 'b', 33]");
    install(&h, 0xe);
    is_everywhere(&h, "t", "key value there here", 2);
    has(&h, 1, "t", "[1, 'a', 3, 1]");
    has(&h, 3, "t", "[1, 'b', 33, 1]");
    close_hall(&h);
}

Test(schema_sync, of_an_attribute_that_both_sides_added_the_first_default_counts) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "t", "{'shards': 2}"), EG_OK);
    put(&h, 3, "t", "[1, 'a']");
    install(&h, 0x6);
    cr_assert_eq(ask(&h, 1, CATALOG_ALTER, "t", "['add_attribute', 'new', 0]"), EG_OK);
    cr_assert_eq(ask(&h, 3, CATALOG_ALTER, "t", "['add_attribute', 'new', 'x']"), EG_OK);
    install(&h, 0xe);
    is_everywhere(&h, "t", "key value new", 0);
    has(&h, 3, "t", "[1, 'a', 0]");
    cr_assert_eq(h.site[3].events, 1);
    close_hall(&h);
}

Test(schema_sync, indexes_that_came_and_went_on_both_sides_are_the_same) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "t", "{'attributes': ['k', 'a', 'b', 'c']}"), EG_OK);
    cr_assert_eq(ask(&h, 1, CATALOG_ADD_INDEX, "t", "'a'"), EG_OK);
    install(&h, 0x6);
    cr_assert_eq(ask(&h, 1, CATALOG_ADD_INDEX, "t", "'b'"), EG_OK);
    cr_assert_eq(ask(&h, 3, CATALOG_DROP_INDEX, "t", "'a'"), EG_OK);
    cr_assert_eq(ask(&h, 3, CATALOG_ADD_INDEX, "t", "'b'"), EG_OK);
    cr_assert_eq(ask(&h, 3, CATALOG_ADD_INDEX, "t", "'c'"), EG_OK);
    install(&h, 0xe);
    is_everywhere(&h, "t", "k a b c", 2);
    close_hall(&h);
}

/* A node is lost in the middle of a change that takes away, and adds something of its own. */
static void change_in_the_middle(const char *change, const char *attributes_text,
                                 const char *record) {
    struct hall h;

    open_hall(&h);
    install(&h, 0xe);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "t", "{'attributes': ['k', 'a', 'b']}"), EG_OK);
    put(&h, 3, "t", "[1, 10, 20]");
    h.deaf = 3;
    (void) ask(&h, 1, CATALOG_ALTER, "t", change);
    cr_assert_eq(ask(&h, 3, CATALOG_ALTER, "t", "['add_attribute', 'x', 'x']"), 1);
    install(&h, 0x6);
    h.deaf = 0;
    cr_assert_eq(ask(&h, 3, CATALOG_ALTER, "t", "['add_attribute', 'd', 5]"), EG_OK);
    cr_assert_eq(ask(&h, 1, CATALOG_ALTER, "t", "['add_attribute', 'c', 6]"), EG_OK);
    install(&h, 0xe);
    is_everywhere(&h, "t", attributes_text, 0);
    has(&h, 3, "t", record);
    close_hall(&h);
}

Test(schema_sync, a_node_that_was_lost_in_the_middle_of_a_change_comes_to_the_same) {
    change_in_the_middle("['drop_attribute', 'a']", "k b d c", "[1, 20, 5, 6]");
    change_in_the_middle("['rename_attribute', 'a', 'z']", "k z b d c", "[1, 10, 20, 5, 6]");
    change_in_the_middle("['transform_table', [[['$1', '$2', '$3'], [], [[['$1', ['+', '$2', "
                         "'$3']]]]]], ['k', 'sum']]",
                         "k sum d c", "[1, 30, 5, 6]");
}

Test(schema_sync, a_name_that_was_dropped_and_made_anew_is_another_table) {
    struct hall h;
    uint64_t first;

    open_hall(&h);
    install(&h, 0xe);
    cr_assert_eq(ask(&h, 1, CATALOG_CREATE, "t", NULL), EG_OK);
    first = id_of(&h, 1, "t");
    cr_assert_eq(ask(&h, 2, CATALOG_DROP, "t", NULL), EG_OK);
    cr_assert_eq(ask(&h, 3, CATALOG_CREATE, "t", NULL), EG_OK);
    cr_assert_neq(id_of(&h, 2, "t"), first);
    close_hall(&h);
}

Test(schema_sync, payloads_that_make_no_sense_are_dropped) {
    static const char *const texts[] = {"1",
                                        "[]",
                                        "[0]",
                                        "[9, 1, 2]",
                                        "[0, true, 1, 2, [[1]]]",
                                        "[1, 1, ['t', 1, 1, 0, true, nil, [], 't', 'n']]",
                                        "[1, 1, ['', 1, 1, 0, false, nil, [], 't', 'n']]",
                                        "[3, 1, 99, 't', nil]",
                                        "[4, 1, 5, 'x']",
                                        "[1, 1, ['t', 1, 1, 0, true, {}, [[1, 0, 2]], 't', 'n']]",
                                        "[1, 1, ['t', 1, 1, 0, false, nil, [], '', 'n']]",
                                        "[1, 1, ['t', 1, 1, 0, false, nil, [], 't', 7]]"};
    struct hall h;
    uint8_t bytes[256];

    open_hall(&h);
    install(&h, 0xe);
    reader_enter(&h.site[1].w.reader);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        schema_sync_receive(h.site[1].sync, 2, text_value(bytes, sizeof bytes, texts[i]));
    reader_exit(&h.site[1].w.reader);
    run(&h);
    cr_assert_eq(id_of(&h, 1, "t"), 0);
    cr_assert_eq(ask(&h, 2, CATALOG_CREATE, "t", NULL), EG_OK);
    close_hall(&h);
}
