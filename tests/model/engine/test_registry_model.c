/* Goal: whatever is registered and taken back, in whatever order, the table finds
 * what a plain list finds, in the same order.
 * Method: random puts and dels of few keys (so that they collide) and of many (so
 * that it grows), compared after each step.  EG_SEED= replays a seed. */
#include "engine/registry.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

enum { ENTRIES_MAX = 600, STEPS = 1500 };

struct twin_entry {
    char key[REGISTRY_KEY_BYTES];
    eg_pid pid;
    struct registration *real;
};

static struct twin_entry twin[ENTRIES_MAX]; /* in order of registration */
static uint32_t twin_count;

static uint32_t twin_members(const char *key, eg_pid *out) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < twin_count; i++)
        if (strcmp(twin[i].key, key) == 0)
            out[n++] = twin[i].pid;
    return n;
}

static void make_key(struct rng *r, uint64_t keys, char *out) {
    static const char *const prefix[] = {"", "a longer one that fills several words of it/", "é/"};
    snprintf(out, REGISTRY_KEY_BYTES, "%s%" PRIu64, prefix[rng_below(r, 3)], rng_below(r, keys));
}

static void compare(struct registry *r, const char *key, uint64_t seed) {
    eg_pid want[ENTRIES_MAX], got[ENTRIES_MAX], first = registry_find(r, key);
    uint32_t n = twin_members(key, want);

    cr_assert_eq(registry_members(r, key, got, ENTRIES_MAX), n, "seed %" PRIu64, seed);
    for (uint32_t i = 0; i < n; i++)
        cr_assert(eg_pid_equal(got[i], want[i]), "seed %" PRIu64, seed);
    cr_assert(n == 0 ? eg_pid_is_none(first) : eg_pid_equal(first, want[0]), "seed %" PRIu64, seed);
    cr_assert_eq(registry_count(r), twin_count, "seed %" PRIu64, seed);
}

static void put(struct registry *r, struct rng *rng, const char *key, bool unique, uint64_t seed) {
    eg_pid taken[ENTRIES_MAX], pid = {0, (uint32_t) rng_below(rng, 50), 1};
    struct twin_entry *e = &twin[twin_count];
    eg_err err = registry_put(r, key, pid, &e->real);

    if (unique && twin_members(key, taken) > 0) {
        cr_assert_eq(err, EG_EXISTS, "seed %" PRIu64, seed);
        return;
    }
    cr_assert_eq(err, EG_OK, "seed %" PRIu64, seed);
    strcpy(e->key, key);
    e->pid = pid;
    twin_count++;
}

static void trial(uint64_t seed) {
    struct rng rng = rng_of(seed);
    struct fail_alloc memory = fail_alloc_after(INT_MAX);
    bool unique = rng_one_in(&rng, 2);
    uint64_t keys = rng_one_in(&rng, 2) ? 5 : 400;
    struct registry *r;

    twin_count = 0;
    cr_assert_eq(registry_open(&r, &memory.base, unique ? REGISTRY_UNIQUE : REGISTRY_DUPLICATE,
                               rng_u64(&rng)),
                 EG_OK);
    for (int i = 0; i < STEPS; i++) {
        char key[REGISTRY_KEY_BYTES];
        make_key(&rng, keys, key);
        if (twin_count < ENTRIES_MAX && rng_below(&rng, 5) < 3) {
            put(r, &rng, key, unique, seed);
        } else if (twin_count > 0) {
            uint32_t at = (uint32_t) rng_below(&rng, twin_count);
            registry_del(r, twin[at].real);
            strcpy(key, twin[at].key);
            memmove(&twin[at], &twin[at + 1], (twin_count - at - 1) * sizeof twin[0]);
            twin_count--;
        }
        compare(r, key, seed);
    }
    registry_close(r);
    cr_assert_eq(memory.live, 0, "seed %" PRIu64, seed);
}

Test(registry_model, finds_what_a_list_finds, .timeout = 240) {
    if (rng_is_replay()) {
        trial(rng_test_seed(0));
        return;
    }
    for (uint64_t seed = 1; seed <= 100; seed++)
        trial(seed);
}

Test(registry_model, keys_that_do_not_fit_are_refused) {
    struct registration *e;
    struct registry *r;
    char key[REGISTRY_KEY_BYTES + 1];

    cr_assert_eq(registry_open(&r, alloc_system(), REGISTRY_UNIQUE, 1), EG_OK);
    memset(key, 'k', sizeof key);
    key[REGISTRY_KEY_BYTES] = '\0';
    cr_assert_eq(registry_put(r, key, (eg_pid){0, 1, 1}, &e), EG_BAD_REQUEST);
    cr_assert_eq(registry_put(r, "", (eg_pid){0, 1, 1}, &e), EG_BAD_REQUEST);
    key[REGISTRY_KEY_BYTES - 1] = '\0';
    cr_assert_eq(registry_put(r, key, (eg_pid){0, 1, 1}, &e), EG_OK);
    cr_assert(eg_pid_equal(registry_find(r, key), (eg_pid){0, 1, 1}));
    registry_close(r);
}

/* Goal: refused memory leaves the table as it was, at the open and at each put. */
Test(registry_model, refused_memory_changes_nothing) {
    for (int granted = 0; granted < 200; granted++) {
        struct fail_alloc memory = fail_alloc_after(granted);
        struct registration *e;
        struct registry *r;
        uint32_t count = 0;

        if (registry_open(&r, &memory.base, REGISTRY_UNIQUE, 1) != EG_OK) {
            cr_assert_eq(memory.live, 0);
            continue;
        }
        for (uint32_t i = 0; i < 300; i++) {
            char key[16];
            snprintf(key, sizeof key, "%u", i);
            eg_err err = registry_put(r, key, (eg_pid){0, i, 1}, &e);
            cr_assert(err == EG_OK || err == EG_MEMORY);
            cr_assert_eq(registry_find(r, key).generation, err == EG_OK ? 1 : 0);
            count += err == EG_OK;
        }
        cr_assert_eq(registry_count(r), count);
        registry_close(r);
        cr_assert_eq(memory.live, 0);
    }
}
