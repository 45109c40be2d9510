/* stress_watch.c -- threads of a program that write while others watch, come and go.
 *
 * Goal: every acknowledged change is told once, in the order of its key, unless a gap says
 * how many are missing; nobody meets memory that was freed (ASan) or changes behind an
 * atomic's back (TSan).
 * Method: the public calls only.  Each writer has keys of its own and counts them up, so
 * a watcher knows what must come next.  One watcher keeps up, one has a short queue and
 * is slow, others come and go; a second table is cleared, dropped and made again under
 * its watchers.  Slow watchers of a third, which is cleared all the time, keep a copy of
 * it: they read it where a gap comes, and at the end their copies are the table.
 *
 *     stress_watch [rounds] */
#include "engine/base.h"
#include "engram.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUNDS = 20000,
    WRITERS = 3,
    KEYS = 16,
    SLOW_EVENTS = 64,
    SPIN = 300,
    MANY = 4,
    ROUNDS_A_CLEAR = 20,
    COPY_KEYS = 40,
    COPIES = 3,
    THE_END = -2,
};

struct stress {
    eg_node *node;
    int rounds;
    _Atomic bool over, cleared;
    _Atomic uint64_t changes; /* acknowledged */
    _Atomic uint64_t failed, wrong, passing;
};

/* What one watcher has seen: its calls come one at a time. */
struct seen {
    struct stress *s;
    int spin;
    int64_t last[WRITERS * KEYS];
    bool gone[WRITERS * KEYS];
    bool doubt[WRITERS * KEYS]; /* a gap came: the next may be any later one */
    _Atomic uint64_t events, missing, gaps;
};

struct made {
    uint8_t bytes[1024];
    eg_writer w;
};

static eg_writer *begin(struct made *m) {
    m->w = eg_writer_init(m->bytes, sizeof m->bytes);
    return &m->w;
}

static void put_pair(eg_writer *w, int64_t key, int64_t n) {
    eg_put_array(w, 2);
    eg_put_int(w, key);
    eg_put_int(w, n);
}

static eg_span pair(struct made *m, int64_t key, int64_t n) {
    put_pair(begin(m), key, n);
    return eg_written(&m->w);
}

static eg_span number(struct made *m, int64_t n) {
    eg_put_int(begin(m), n);
    return eg_written(&m->w);
}

/* ---- watching ---------------------------------------------------------------------- */

static bool pair_of(eg_span record, int64_t *key, int64_t *n) {
    eg_span field;

    return eg_count(record) == 2 && eg_element(record, 0, &field) && eg_as_int(field, key) &&
           eg_element(record, 1, &field) && eg_as_int(field, n);
}

static void wrong(struct seen *v, const char *what, const eg_event *e) {
    if (v->s->wrong++ == 0)
        printf("# %s: %s\n", e->kind, what);
}

static void see_write(struct seen *v, const eg_event *e) {
    int64_t key, n, old_key, old_n;

    if (!pair_of(e->record, &key, &n) || key < 0 || key >= WRITERS * KEYS) {
        wrong(v, "not what was written", e);
        return;
    }
    if (v->doubt[key] ? n <= v->last[key] : n != v->last[key] + 1)
        wrong(v, "not the next of its key", e);
    if (e->old.size_bytes > 0 && (!pair_of(e->old, &old_key, &old_n) || old_key != key ||
                                  old_n >= n || (!v->doubt[key] && old_n != v->last[key])))
        wrong(v, "not what it replaced", e);
    v->last[key] = n;
    v->gone[key] = v->doubt[key] = false;
}

static void see_delete(struct seen *v, const eg_event *e) {
    int64_t key;

    if (!eg_as_int(e->record, &key) || key < 0 || key >= WRITERS * KEYS) {
        wrong(v, "not what was deleted", e);
        return;
    }
    if (v->gone[key] && !v->doubt[key])
        wrong(v, "gone already", e);
    v->gone[key] = true;
}

static void see(void *context, const eg_event *e) {
    struct seen *v = context;

    for (int i = 0; i < v->spin; i++)
        EG_CPU_RELAX();
    if (strcmp(e->kind, "write") == 0) {
        see_write(v, e);
    } else if (strcmp(e->kind, "delete") == 0) {
        see_delete(v, e);
    } else if (strcmp(e->kind, "gap") == 0) {
        memset(v->doubt, true, sizeof v->doubt);
        v->missing += e->missing;
        v->gaps++;
        return;
    } else {
        wrong(v, "unasked for", e);
    }
    v->events++;
}

static void see_passing(void *context, const eg_event *e) {
    struct stress *s = context;

    if (e->kind[0] == '\0')
        s->wrong++;
    s->passing++;
}

static struct seen *watch(struct stress *s, int spin, uint32_t queue_events,
                          eg_subscription **out) {
    struct seen *v = calloc(1, sizeof *v);
    eg_subscribe_options o = {.old = true, .queue_events = queue_events};

    v->s = s;
    v->spin = spin;
    EG_ASSERT(eg_subscribe(s->node, "t", &o, see, v, out, NULL) == EG_OK);
    return v;
}

/* Wait until it has heard of everything. */
static void finish(struct seen *v, eg_subscription *u) {
    while (v->events + v->missing < v->s->changes)
        sched_yield();
    eg_unsubscribe(u);
}

/* ---- copies ------------------------------------------------------------------------ */

struct copy {
    struct stress *s;
    eg_table *table;
    int spin;
    int64_t n[COPY_KEYS]; /* -1: absent */
    bool exact;           /* no gap so far: each event must fit the copy */
    _Atomic bool complete;
    _Atomic uint64_t gaps, clears, wrong;
};

/* Is what was there before what the copy has? */
static bool fits(const struct copy *c, const eg_event *e, int64_t key) {
    int64_t old_key, n;

    if (e->old.size_bytes == 0 || eg_is_nil(e->old))
        return c->n[key] == -1;
    return pair_of(e->old, &old_key, &n) && old_key == key && n == c->n[key];
}

static void read_all(struct copy *c) {
    struct made m;
    eg_span record;
    int64_t key;

    EG_ASSERT(eg_read_begin(c->s->node) == EG_OK);
    for (int i = 0; i < COPY_KEYS; i++)
        if (eg_get(c->table, number(&m, i), &record) != EG_OK || !pair_of(record, &key, &c->n[i]))
            c->n[i] = -1;
    eg_read_end(c->s->node);
}

static void see_copy(void *context, const eg_event *e) {
    struct copy *c = context;
    int64_t key, n;

    for (int i = 0; i < c->spin; i++)
        EG_CPU_RELAX();
    if (strcmp(e->kind, "gap") == 0) {
        c->gaps++;
        c->exact = false;
        read_all(c);
        c->complete = c->n[0] == THE_END;
    } else if (strcmp(e->kind, "clear") == 0) {
        c->clears++;
        for (int i = 0; i < COPY_KEYS; i++)
            c->n[i] = -1;
    } else if (strcmp(e->kind, "write") == 0 && pair_of(e->record, &key, &n)) {
        c->wrong += c->exact && !fits(c, e, key);
        c->n[key] = n;
        c->complete = c->complete || n == THE_END;
    } else if (eg_as_int(e->record, &key)) {
        c->wrong += c->exact && !fits(c, e, key);
        c->n[key] = -1;
    }
}

static struct copy *copy(struct stress *s, int spin, uint32_t queue_events, eg_subscription **out) {
    struct copy *c = calloc(1, sizeof *c);
    eg_subscribe_options o = {.old = true, .queue_events = queue_events};

    c->s = s;
    c->spin = spin;
    c->exact = true;
    memset(c->n, 0xff, sizeof c->n);
    EG_ASSERT(eg_table_open(s->node, "copied", &c->table) == EG_OK);
    EG_ASSERT(eg_subscribe(s->node, "copied", &o, see_copy, c, out, NULL) == EG_OK);
    return c;
}

/* Nobody writes any more but us. */
static bool is_the_table(struct copy *c, eg_subscription *u) {
    int64_t copied[COPY_KEYS];
    bool same;

    while (!c->complete)
        sched_yield();
    eg_unsubscribe(u);
    memcpy(copied, c->n, sizeof copied);
    read_all(c);
    same = memcmp(copied, c->n, sizeof copied) == 0 && c->wrong == 0;
    printf("# a copy: %llu clears, %llu gaps, %llu wrong\n", (unsigned long long) c->clears,
           (unsigned long long) c->gaps, (unsigned long long) c->wrong);
    for (int i = 0; i < COPY_KEYS && !same; i++)
        if (copied[i] != c->n[i])
            printf("# key %d is %lld, not %lld\n", i, (long long) c->n[i], (long long) copied[i]);
    eg_table_close(c->table);
    free(c);
    return same;
}

/* ---- those who write ---------------------------------------------------------------- */

struct writer {
    struct stress *s;
    int number;
};

static void count(struct stress *s, eg_err err, uint64_t changes) {
    if (err == EG_OK)
        s->changes += changes;
    else if (s->failed++ == 0)
        printf("# %s\n", eg_err_text(err));
}

static void *write_all(void *arg) {
    struct writer *w = arg;
    struct stress *s = w->s;
    int64_t n[KEYS] = {0};
    eg_table *table;

    EG_ASSERT(eg_table_open(s->node, "t", &table) == EG_OK);
    for (int i = 0; i < s->rounds; i++) {
        int at = i % KEYS, key = w->number * KEYS + at;
        struct made m;

        if (i % 7 == 3) {
            eg_put_array(begin(&m), MANY);
            for (int k = 0; k < MANY; k++)
                put_pair(&m.w, key, ++n[at]);
            count(s, eg_write_many(table, eg_written(&m.w), NULL), MANY);
        } else {
            count(s, eg_write(table, pair(&m, key, ++n[at])), 1);
        }
        if (i % 11 == 5)
            count(s, eg_delete(table, number(&m, key)), 1);
        if (i % 13 == 0) { /* one of many that is wrong: nothing is written, nothing told */
            eg_put_array(begin(&m), 2);
            put_pair(&m.w, key, 1000000000);
            eg_put_array(&m.w, 0);
            if (eg_write_many(table, eg_written(&m.w), NULL) == EG_OK)
                s->failed++;
        }
    }
    eg_table_close(table);
    return NULL;
}

/* ---- those who come and go --------------------------------------------------------------- */

static void *come_and_go(void *arg) {
    struct stress *s = arg;

    for (int i = 0; !s->over; i++) {
        const char *what = i % 3 == 0 ? "t" : i % 3 == 1 ? "passing" : NULL;
        eg_subscription *u;
        eg_err err = eg_subscribe(s->node, what, NULL, see_passing, s, &u, NULL);

        if (err != EG_OK && err != EG_NO_TABLE)
            s->failed++;
        for (int n = 0; n < i % 50; n++)
            sched_yield();
        if (err == EG_OK)
            eg_unsubscribe(u);
    }
    return NULL;
}

/* One of them clears the copied table, the others write it meanwhile. */
static void *write_copied(void *arg) {
    struct writer *w = arg;
    struct stress *s = w->s;
    eg_table *table;

    EG_ASSERT(eg_table_open(s->node, "copied", &table) == EG_OK);
    for (int64_t i = 1; w->number == 0 ? i <= s->rounds / ROUNDS_A_CLEAR : !s->cleared; i++) {
        int64_t key = 1 + i * 7 % (COPY_KEYS - 1);
        struct made m;
        eg_err err;

        if (w->number == 0)
            err = eg_clear_table(s->node, "copied");
        else if (i % 5 == 0)
            err = eg_delete(table, number(&m, key));
        else
            err = eg_write(table, pair(&m, key, i * 2 + w->number));
        if (err != EG_OK)
            s->failed++;
    }
    if (w->number == 0)
        s->cleared = true;
    eg_table_close(table);
    return NULL;
}

static void write_the_end(struct stress *s) {
    eg_table *table;
    struct made m;

    EG_ASSERT(eg_table_open(s->node, "copied", &table) == EG_OK);
    EG_ASSERT(eg_write(table, pair(&m, 0, THE_END)) == EG_OK);
    eg_table_close(table);
}

static void *reshape(void *arg) {
    struct stress *s = arg;

    for (int i = 0; !s->over; i++) {
        eg_subscription *u;
        eg_table *table;
        struct made m;

        if (eg_create_table(s->node, "passing", NULL, NULL) != EG_OK)
            s->failed++;
        EG_ASSERT(eg_subscribe(s->node, "passing", NULL, see_passing, s, &u, NULL) == EG_OK);
        EG_ASSERT(eg_table_open(s->node, "passing", &table) == EG_OK);
        for (int n = 0; n < 20; n++) {
            if (eg_write(table, pair(&m, n, i)) != EG_OK ||
                (n % 8 == 5 && eg_clear_table(s->node, "passing") != EG_OK))
                s->failed++;
        }
        eg_table_close(table);
        if (eg_drop_table(s->node, "passing") != EG_OK)
            s->failed++;
        eg_unsubscribe(u);
    }
    return NULL;
}

/* ---- all of it --------------------------------------------------------------------------- */

static void claim(int number_of, bool holds, const char *what) {
    printf("%s %d - %s\n", holds ? "ok" : "not ok", number_of, what);
}

static bool report(const struct stress *s, const struct seen *fast, const struct seen *slow,
                   bool same) {
    bool exact =
        fast->events + fast->missing == s->changes && slow->events + slow->missing == s->changes;
    bool order = s->wrong == 0 && s->failed == 0;

    printf("# %llu changes; kept up: %llu told, %llu missing; slow: %llu told, %llu missing in "
           "%llu gaps; %llu in passing\n",
           (unsigned long long) s->changes, (unsigned long long) fast->events,
           (unsigned long long) fast->missing, (unsigned long long) slow->events,
           (unsigned long long) slow->missing, (unsigned long long) slow->gaps,
           (unsigned long long) s->passing);
    printf("1..3\n");
    claim(1, exact, "every change is told once, or counted as missing");
    claim(2, order, "in the order of its key");
    claim(3, same, "who reads where a gap comes has the table in the end");
    return exact && order && same;
}

int main(int argc, char **argv) {
    struct stress s = {.rounds = argc > 1 ? atoi(argv[1]) : ROUNDS};
    eg_options options = {.schedulers = 2};
    struct writer writer[WRITERS], copied[COPIES];
    pthread_t writers[WRITERS], others[2], copy_writers[COPIES];
    eg_subscription *fast, *slow, *copies[COPIES];
    struct copy *c[COPIES];
    struct seen *by_fast, *by_slow;
    bool good, same = true;

    EG_ASSERT(eg_open(&options, &s.node, NULL) == EG_OK);
    EG_ASSERT(eg_create_table(s.node, "t", NULL, NULL) == EG_OK);
    EG_ASSERT(eg_create_table(s.node, "copied", NULL, NULL) == EG_OK);
    by_fast = watch(&s, 0, 0, &fast);
    by_slow = watch(&s, SPIN, SLOW_EVENTS, &slow);
    EG_ASSERT(pthread_create(&others[0], NULL, come_and_go, &s) == 0);
    EG_ASSERT(pthread_create(&others[1], NULL, reshape, &s) == 0);
    for (int i = 0; i < COPIES; i++) /* all of the empty table */
        c[i] = copy(&s, i * SPIN, i == 0 ? 0 : SLOW_EVENTS >> i, &copies[i]);
    for (int i = 0; i < COPIES; i++) {
        copied[i] = (struct writer){&s, i};
        EG_ASSERT(pthread_create(&copy_writers[i], NULL, write_copied, &copied[i]) == 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        writer[i] = (struct writer){&s, i};
        EG_ASSERT(pthread_create(&writers[i], NULL, write_all, &writer[i]) == 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    for (int i = 0; i < COPIES; i++)
        pthread_join(copy_writers[i], NULL);
    s.over = true;
    for (int i = 0; i < 2; i++)
        pthread_join(others[i], NULL);
    finish(by_fast, fast);
    finish(by_slow, slow);
    write_the_end(&s);
    for (int i = 0; i < COPIES; i++)
        same &= is_the_table(c[i], copies[i]);
    good = report(&s, by_fast, by_slow, same);
    eg_close(s.node);
    free(by_fast);
    free(by_slow);
    return good ? 0 : 1;
}
