/* stress_registry.c -- finders against writers that grow the table under them.
 *
 * Three claims, each a test in TAP: a name that stays is always found, under its own
 * pid; a name that comes and goes is found under its own pid or not at all; the
 * members of a key are what one moment of it held.  Mostly for TSan. */
#include "engine/registry.h"
#include "tests/support/rng.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

enum { WRITERS = 2, READERS = 2, STAYING = 50, PASSING = 3000, ROUNDS = 20, TEAM = 64 };

static struct registry *names, *teams;
static _Atomic bool writing = true;
static _Atomic uint32_t lost, wrong, torn, finds;
static int failures;

static void tap(int number, bool ok, const char *claim) {
    printf("%sok %d - %s\n", ok ? "" : "not ", number, claim);
    failures += !ok;
}

static void name_of(char *out, char kind, uint32_t writer, uint32_t i) {
    snprintf(out, REGISTRY_KEY_BYTES, "%c/%u/a name of some length/%u", kind, writer, i);
}

static eg_pid pid_of(uint32_t writer, uint32_t i) {
    return (eg_pid){writer, i, i + 1};
}

static void write_names(void *arg) {
    static struct registration *held[WRITERS][PASSING];
    uint32_t me = *(uint32_t *) arg;
    char key[REGISTRY_KEY_BYTES];

    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < PASSING; i++) {
            name_of(key, 'p', me, i);
            EG_ASSERT(registry_put(names, key, pid_of(me, i), &held[me][i]) == EG_OK);
        }
        for (uint32_t i = 0; i < PASSING; i++)
            registry_del(names, held[me][i]);
    }
}

/* A team is whole or away but for the one who joins or leaves last: in order. */
static void write_team(void *arg) {
    struct registration *held[TEAM];
    (void) arg;
    while (atomic_load(&writing)) {
        for (uint32_t i = 0; i < TEAM; i++)
            EG_ASSERT(registry_put(teams, "team", pid_of(0, i), &held[i]) == EG_OK);
        for (uint32_t i = TEAM; i-- > 0;)
            registry_del(teams, held[i]);
    }
}

static void find_names(void *arg) {
    struct rng r = rng_of(*(uint32_t *) arg);
    char key[REGISTRY_KEY_BYTES];
    eg_pid pid, members[TEAM];

    while (atomic_load(&writing)) {
        uint32_t i = (uint32_t) rng_below(&r, STAYING), p = (uint32_t) rng_below(&r, PASSING);
        uint32_t writer = (uint32_t) rng_below(&r, WRITERS), count;

        name_of(key, 's', 0, i);
        atomic_fetch_add(&lost, !eg_pid_equal(registry_find(names, key), pid_of(7, i)));
        name_of(key, 'p', writer, p);
        pid = registry_find(names, key);
        atomic_fetch_add(&wrong, !eg_pid_is_none(pid) && !eg_pid_equal(pid, pid_of(writer, p)));
        count = registry_members(teams, "team", members, TEAM);
        for (uint32_t k = 0; k < count; k++)
            atomic_fetch_add(&torn, !eg_pid_equal(members[k], pid_of(0, k)));
        atomic_fetch_add(&finds, 1);
    }
}

int main(void) {
    uv_thread_t writer[WRITERS], reader[READERS], team;
    uint32_t number[] = {0, 1, 2, 3};
    struct registration *e;
    char key[REGISTRY_KEY_BYTES];

    EG_ASSERT(registry_open(&names, alloc_system(), REGISTRY_UNIQUE, 1) == EG_OK);
    EG_ASSERT(registry_open(&teams, alloc_system(), REGISTRY_DUPLICATE, 1) == EG_OK);
    for (uint32_t i = 0; i < STAYING; i++) {
        name_of(key, 's', 0, i);
        EG_ASSERT(registry_put(names, key, pid_of(7, i), &e) == EG_OK);
    }
    for (int i = 0; i < READERS; i++)
        EG_ASSERT(uv_thread_create(&reader[i], find_names, &number[i]) == 0);
    EG_ASSERT(uv_thread_create(&team, write_team, NULL) == 0);
    for (int i = 0; i < WRITERS; i++)
        EG_ASSERT(uv_thread_create(&writer[i], write_names, &number[i]) == 0);
    for (int i = 0; i < WRITERS; i++)
        uv_thread_join(&writer[i]);
    atomic_store(&writing, false);
    uv_thread_join(&team);
    for (int i = 0; i < READERS; i++)
        uv_thread_join(&reader[i]);

    printf("1..3\n# %" PRIu32 " finds\n", atomic_load(&finds));
    tap(1, atomic_load(&lost) == 0, "a name that stays is always found");
    tap(2, atomic_load(&wrong) == 0, "a name that passes is found under its own pid or not");
    tap(3, atomic_load(&torn) == 0, "members are those of one moment, in order");
    registry_close(names);
    registry_close(teams);
    return failures != 0;
}
