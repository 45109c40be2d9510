/* test_sim_runtime.c -- the actor runtime in the simulator.
 *
 *     test_sim_runtime             the claims below, over many seeds, in TAP
 *     test_sim_runtime --hash N    print the trace hash of seed N: compare_compilers.sh
 *     EG_SEED=N test_sim_runtime   the claims for this seed only
 *
 * The workload is a small town: citizens write to each other at random and number
 * what they write, link, watch, sleep, die and are followed by a child.  Each checks
 * that it hears everyone in order, and no DOWN that it did not wait for. */
#include "tests/sim/sim.h"

#include "engine/arena.h"
#include "tests/support/fail_alloc.h"

#include <string.h>

enum { TOWN = 24, SEEDS = 40, RUN_MS = 300, SCHEDULERS = 3, BIRTHS_MAX = 20 * TOWN };

struct town {
    struct sim *sim;
    struct runtime *rt;
    eg_pid citizens[TOWN];
    uint32_t births, letters, downs, out_of_order;
};

struct count { /* of letters to or from the citizen that now lives at a place */
    eg_pid pid;
    uint32_t letters;
};

struct citizen {
    struct cleanup death;
    struct town *town;
    uint32_t place;
    eg_ref watching;
    struct count sent[TOWN], heard[TOWN];
};

struct letter {
    uint32_t place, number;
};

static void give_birth(struct town *t, uint32_t place);

static uint32_t draw(struct town *t, uint32_t below) {
    return (uint32_t) (env_random(sim_env(t->sim)) % below);
}

static struct count *count_for(struct count *c, eg_pid pid) {
    if (!eg_pid_equal(c->pid, pid))
        *c = (struct count){.pid = pid};
    return c;
}

/* Letters are REPLYs, which no bound refuses: none may be missing. */
static void write_letter(struct actor *self, struct citizen *c, uint32_t to) {
    struct town *t = c->town;
    struct count *sent = count_for(&c->sent[to], t->citizens[to]);
    struct letter letter = {c->place, sent->letters};
    struct message *m = message_copy(t->rt, MESSAGE_REPLY, &letter, sizeof letter);
    if (actor_send(self, sent->pid, m) == EG_OK)
        sent->letters++;
}

static void read_letter(struct citizen *c, const struct message *m) {
    struct letter letter;
    struct count *heard;
    memcpy(&letter, m->payload, sizeof letter);
    heard = count_for(&c->heard[letter.place], m->from);
    c->town->out_of_order += letter.number != heard->letters++;
    c->town->letters++;
    sim_note(c->town->sim, (uint64_t) letter.place << 32 | letter.number);
}

static void sleep_a_while(struct actor *self, struct citizen *c) {
    eg_ref ref;
    EG_ASSERT(actor_start_timer(self, 1 + draw(c->town, 20),
                                message_new(c->town->rt, MESSAGE_INFO, 0), &ref) == EG_OK);
}

static void live(struct actor *self, struct citizen *c) {
    struct town *t = c->town;
    uint32_t other = draw(t, TOWN), mood = draw(t, 64);
    eg_exit end = exit_reason(draw(t, 2) == 0 ? EG_EXIT_KILL : EG_EXIT_SHUTDOWN);

    if (mood == 0)
        actor_crash(self, 1, "of old age at %u", c->place);
    else if (mood == 1)
        actor_exit_send(t->rt, actor_pid(self), t->citizens[other], &end);
    else if (mood < 8)
        EG_ASSERT(actor_link(self, t->citizens[other]) == EG_OK);
    else if (mood < 24)
        actor_unlink(self, t->citizens[other]);
    else if (mood < 30 && c->watching == 0)
        EG_ASSERT(actor_monitor(self, t->citizens[other], &c->watching) == EG_OK);
    else if (mood < 62)
        write_letter(self, c, other);
}

static void citizen_receive(struct actor *self, void *state, struct message *m) {
    struct citizen *c = state;
    if (m->kind == MESSAGE_REPLY) {
        read_letter(c, m);
    } else if (m->kind == MESSAGE_DOWN) {
        EG_ASSERT(m->ref == c->watching);
        c->watching = 0;
        c->town->downs++;
    } else {
        sleep_a_while(self, c);
    }
    live(self, c);
}

static void bury(struct cleanup *death) {
    struct citizen *c = EG_CONTAINER_OF(death, struct citizen, death);
    if (c->town->births < BIRTHS_MAX)
        give_birth(c->town, c->place);
}

static eg_err citizen_init(struct actor *self, void *state, const void *arg) {
    struct citizen *c = state;
    *c = *(const struct citizen *) arg;
    c->death.run = bury;
    actor_on_exit(self, &c->death);
    sleep_a_while(self, c);
    return EG_OK;
}

static const struct actor_ops citizen_ops = {.name = "citizen",
                                             .state_bytes = sizeof(struct citizen),
                                             .init = citizen_init,
                                             .receive = citizen_receive};

static void give_birth(struct town *t, uint32_t place) {
    struct citizen c = {.town = t, .place = place};
    t->births++;
    EG_ASSERT(actor_spawn(t->rt, NULL,
                          &(struct spawn_opts){.ops = &citizen_ops,
                                               .arg = &c,
                                               .arg_bytes = sizeof c,
                                               .scheduler = SPAWN_ANYWHERE,
                                               .lendable = place % 2 == 0},
                          &t->citizens[place], NULL) == EG_OK);
}

/* ---- runs -------------------------------------------------------------------------- */

struct outcome {
    uint64_t hash;
    uint32_t letters, births, downs, out_of_order;
    int live_blocks;
};

static struct outcome run(uint64_t seed) {
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    struct town town = {.sim = sim_open(seed)};
    struct outcome o;

    town.rt = sim_runtime(town.sim, &(struct runtime_opts){.alloc = &memory.base,
                                                           .schedulers = SCHEDULERS,
                                                           .actors_max = 1000});
    for (uint32_t place = 0; place < TOWN; place++)
        give_birth(&town, place);
    sim_run_ms(town.sim, RUN_MS);
    o = (struct outcome){.hash = sim_hash(town.sim),
                         .letters = town.letters,
                         .births = town.births,
                         .downs = town.downs,
                         .out_of_order = town.out_of_order};
    town.births = BIRTHS_MAX; /* no more children */
    sim_close(town.sim);
    o.live_blocks = memory.live;
    return o;
}

static int failures;

static void tap(int number, bool ok, const char *claim) {
    printf("%sok %d - %s\n", ok ? "" : "not ", number, claim);
    failures += !ok;
}

/* ---- a thread that blocks ------------------------------------------------------------- */

static void late_receive(struct actor *self, void *state, struct message *m) {
    static const uint64_t delay_ms = 50;
    struct message **held = state;
    eg_ref ref;
    if (m->kind == MESSAGE_CALL) {
        actor_keep(self, m);
        *held = m;
        EG_ASSERT(actor_start_timer(self, delay_ms,
                                    message_new(actor_runtime(self), MESSAGE_INFO, 0),
                                    &ref) == EG_OK);
        return;
    }
    actor_reply_bytes(self, (*held)->from, (*held)->ref, EG_OK, NULL, 0);
    message_free(actor_runtime(self), *held);
}
static const struct actor_ops late_ops = {
    .name = "late", .state_bytes = sizeof(void *), .receive = late_receive};

static bool check_virtual_time(void) {
    struct sim *s = sim_open(1);
    struct runtime *rt = sim_runtime(s, &(struct runtime_opts){.schedulers = 2});
    struct foreign *me;
    struct message *reply;
    uint64_t before_ns = sim_now_ns(s), took_ms;
    eg_err answered, late;
    eg_pid pid;

    EG_ASSERT(foreign_open(&me, rt) == EG_OK);
    EG_ASSERT(actor_spawn(rt, NULL, &(struct spawn_opts){.ops = &late_ops}, &pid, NULL) == EG_OK);
    answered = foreign_call(me, pid, message_new(rt, MESSAGE_CALL, 0), 1000, &reply);
    took_ms = (sim_now_ns(s) - before_ns) / 1000000;
    if (answered == EG_OK)
        message_free(rt, reply);
    late = foreign_call(me, pid, message_new(rt, MESSAGE_CALL, 0), 20, &reply);
    sim_run_ms(s, 100);
    foreign_close(me);
    sim_close(s);
    return answered == EG_OK && took_ms >= 50 && took_ms < 100 && late == EG_TIMEOUT;
}

int main(int argc, char **argv) {
    uint64_t first = rng_test_seed(1), hashes[SEEDS];
    uint32_t seeds = rng_is_replay() ? 1 : SEEDS, letters = 0, births = 0, downs = 0;
    bool same = true, differ = true, ordered = true, clean = true;

    if (argc == 3 && strcmp(argv[1], "--hash") == 0) {
        printf("%016llx\n", (unsigned long long) run(strtoull(argv[2], NULL, 10)).hash);
        return 0;
    }
    for (uint32_t i = 0; i < seeds; i++) {
        struct outcome o = run(first + i);
        hashes[i] = o.hash;
        letters += o.letters;
        births += o.births;
        downs += o.downs;
        same = same && (i % 8 != 0 || run(first + i).hash == o.hash);
        for (uint32_t j = 0; j < i; j++)
            differ = differ && hashes[j] != o.hash;
        if (o.out_of_order != 0 || o.live_blocks != 0)
            printf("# seed %llu: %u out of order, %d blocks left\n",
                   (unsigned long long) (first + i), o.out_of_order, o.live_blocks);
        ordered = ordered && o.out_of_order == 0;
        clean = clean && o.live_blocks == 0;
    }
    printf("1..6\n# %u letters, %u births, %u downs\n", letters, births, downs);
    tap(1, same, "two runs of one seed are one run");
    tap(2, differ, "two seeds are two runs");
    tap(3, ordered, "everyone hears everyone in order");
    tap(4, clean, "the end of a town leaves no memory behind");
    tap(5, letters > 100 * seeds && births > 2 * TOWN * seeds && downs > seeds,
        "there was something to see");
    tap(6, check_virtual_time(), "a thread that waits moves the virtual clock, nothing else does");
    return failures != 0;
}
