/* serial.c -- what lists say by themselves, and the graph that follows from them. */
#include "tests/support/serial.h"

#include "tests/support/serial_graph.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is told --------------------------------------------------------------------------- */

void serial_init(struct serial *h) {
    *h = (struct serial){0};
}

void serial_fini(struct serial *h) {
    free(h->tx);
    free(h->op);
    free(h->element);
    *h = (struct serial){0};
}

static void *grown(void *at, uint32_t *room, uint32_t need, size_t size_bytes) {
    if (need <= *room)
        return at;
    while (*room < need)
        *room = *room == 0 ? 256 : 2 * *room;
    at = realloc(at, *room * size_bytes);
    EG_ASSERT(at != NULL);
    return at;
}

uint32_t serial_begin(struct serial *h, uint64_t now) {
    h->tx = grown(h->tx, &h->tx_room, h->tx_count + 2, sizeof *h->tx);
    h->tx[++h->tx_count] = (struct serial_tx){.begin = now};
    return h->tx_count;
}

static struct serial_op *op_new(struct serial *h, uint32_t tx, uint32_t key) {
    struct serial_tx *t = &h->tx[tx];

    EG_ASSERT(tx >= 1 && tx <= h->tx_count);
    h->op = grown(h->op, &h->op_room, h->op_count + 2, sizeof *h->op);
    h->op[++h->op_count] = (struct serial_op){.key = key};
    if (t->last == 0)
        t->first = h->op_count;
    else
        h->op[t->last].next = h->op_count;
    t->last = h->op_count;
    return &h->op[h->op_count];
}

void serial_append(struct serial *h, uint32_t tx, uint32_t key, uint32_t element) {
    EG_ASSERT(element >= 1 && element < SERIAL_ELEMENTS_MAX);
    op_new(h, tx, key)->element = element;
}

void serial_read(struct serial *h, uint32_t tx, uint32_t key, const uint32_t *list,
                 uint32_t count) {
    struct serial_op *o = op_new(h, tx, key);

    o->at = h->element_count;
    o->count = count;
    h->element =
        grown(h->element, &h->element_room, h->element_count + count + 1, sizeof *h->element);
    if (count != 0)
        memcpy(&h->element[h->element_count], list, count * sizeof *list);
    h->element_count += count;
}

void serial_end(struct serial *h, uint32_t tx, enum serial_end end, uint64_t epoch, uint64_t now) {
    EG_ASSERT(tx >= 1 && tx <= h->tx_count);
    h->tx[tx].end = end;
    h->tx[tx].epoch = epoch;
    h->tx[tx].over = now;
}

/* ---- lists by themselves --------------------------------------------------------------------- */

struct origin { /* of an element */
    uint32_t tx, key;
    uint32_t then;   /* the element that its transaction appended next to the same key; 0: none */
    uint32_t marked; /* by the read that has met it last */
    uint32_t seen;   /* in the order of its key, when that was looked at the last time */
};

/* A list that somebody read; `own` of its last elements are the reader's. */
struct look {
    uint32_t key, tx, at, count, own;
};

struct check {
    const struct serial *h;
    struct origin *origin;
    struct look *look;
    uint32_t look_count;
    uint32_t key_count; /* orders that were looked at */
    struct serial_graph graph;
    char *text;
};

static bool wrong(struct check *c, const char *format, ...) EG_PRINTF(2, 3);
static bool wrong(struct check *c, const char *format, ...) {
    va_list args;

    va_start(args, format);
    vsnprintf(c->text, SERIAL_TEXT_BYTES, format, args);
    va_end(args);
    return false;
}

static bool note_appends(struct check *c, uint32_t tx) {
    const struct serial *h = c->h;

    for (uint32_t i = h->tx[tx].first; i != 0; i = h->op[i].next) {
        struct origin *o = &c->origin[h->op[i].element];

        if (h->op[i].element == 0)
            continue;
        if (o->tx != 0)
            return wrong(c,
                         "duplicate: element %" PRIu32 " was appended by %" PRIu32 " and %" PRIu32,
                         h->op[i].element, o->tx, tx);
        *o = (struct origin){.tx = tx, .key = h->op[i].key};
        for (uint32_t k = h->op[i].next; k != 0 && o->then == 0; k = h->op[k].next)
            if (h->op[k].key == o->key)
                o->then = h->op[k].element;
    }
    return true;
}

static bool check_element(struct check *c, uint32_t tx, const struct serial_op *read,
                          uint32_t place, uint32_t number) {
    const struct serial *h = c->h;
    const uint32_t *list = &h->element[read->at];
    uint32_t element = list[place];
    struct origin *o = &c->origin[element < SERIAL_ELEMENTS_MAX ? element : 0];
    bool last = place + 1 == read->count;

    if (o->tx == 0 || o->key != read->key)
        return wrong(c,
                     "garbage: %" PRIu32 " read element %" PRIu32 " of key %" PRIu32
                     ", which nobody had appended to it",
                     tx, element, read->key);
    if (o->marked == number)
        return wrong(c, "duplicate: %" PRIu32 " read element %" PRIu32 " of key %" PRIu32 " twice",
                     tx, element, read->key);
    o->marked = number;
    if (o->tx == tx)
        return true;
    if (h->tx[o->tx].end == SERIAL_UNDONE)
        return wrong(c,
                     "aborted read (G1a): %" PRIu32 " read element %" PRIu32 " of key %" PRIu32
                     ", which %" PRIu32 " appended, and that was refused",
                     tx, element, read->key, o->tx);
    if (h->tx[tx].over != 0 && h->tx[o->tx].begin > h->tx[tx].over)
        return wrong(c,
                     "future read: %" PRIu32 " read element %" PRIu32 " of key %" PRIu32
                     ", and %" PRIu32 " had not begun",
                     tx, element, read->key, o->tx);
    if (o->then != 0 && (last || list[place + 1] != o->then))
        return wrong(c,
                     "%s: %" PRIu32 " read element %" PRIu32 " of key %" PRIu32 " without %" PRIu32
                     ", which %" PRIu32 " appended too",
                     last ? "intermediate read (G1b)" : "torn", tx, element, read->key, o->then,
                     o->tx);
    return true;
}

/* Is it what the transaction had found, and appended to, before? */
static bool check_own(struct check *c, uint32_t tx, uint32_t op) {
    const struct serial *h = c->h;
    const struct serial_op *read = &h->op[op], *before = NULL;
    uint32_t place = 0, appended = 0;
    bool good = true;

    for (uint32_t i = h->tx[tx].first; i != op; i = h->op[i].next)
        if (h->op[i].key == read->key && h->op[i].element == 0) {
            before = &h->op[i];
            appended = 0;
        } else if (h->op[i].key == read->key) {
            appended++;
        }
    if (before != NULL) {
        good = before->count + appended == read->count &&
               memcmp(&h->element[before->at], &h->element[read->at],
                      before->count * sizeof *h->element) == 0;
        place = before->count;
    } else {
        good = appended <= read->count;
        place = read->count - EG_MIN(read->count, appended);
    }
    for (uint32_t i = before != NULL ? (uint32_t) (before - h->op) : h->tx[tx].first;
         good && i != op; i = h->op[i].next)
        if (h->op[i].key == read->key && h->op[i].element != 0)
            good = h->element[read->at + place++] == h->op[i].element;
    return good || wrong(c,
                         "internal: %" PRIu32 " read key %" PRIu32
                         " not as it had found and left it itself",
                         tx, read->key);
}

static bool check_reads(struct check *c, uint32_t tx) {
    const struct serial *h = c->h;

    for (uint32_t i = h->tx[tx].first; i != 0; i = h->op[i].next) {
        if (h->op[i].element != 0)
            continue;
        for (uint32_t place = 0; place < h->op[i].count; place++)
            if (!check_element(c, tx, &h->op[i], place, i))
                return false;
        if (h->tx[tx].end == SERIAL_DONE && !check_own(c, tx, i))
            return false;
    }
    return true;
}

/* ---- the order of a key ------------------------------------------------------------------------
 */

static bool counts(const struct check *c, uint32_t element) {
    return c->h->tx[c->origin[element].tx].counts;
}

static int by_key(const void *a, const void *b) {
    const struct look *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->tx < y->tx ? -1 : x->tx > y->tx;
}

static void add_looks(struct check *c, uint32_t tx) {
    const struct serial *h = c->h;

    for (uint32_t i = h->tx[tx].first; i != 0; i = h->op[i].next) {
        const struct serial_op *o = &h->op[i];
        struct look l = {.key = o->key, .tx = tx, .at = o->at, .count = o->count};

        if (o->element != 0)
            continue;
        while (l.own < l.count && c->origin[h->element[l.at + l.count - l.own - 1]].tx == tx)
            l.own++;
        c->look[c->look_count++] = l;
    }
}

/* Each is the beginning of the first, the longest.  *told: they are, as far as can be said. */
static bool check_prefixes(struct check *c, const struct look *look, uint32_t count, bool *told) {
    const uint32_t *longest = &c->h->element[look[0].at];

    *told = true;
    for (uint32_t i = 1; i < count && *told; i++) {
        const uint32_t *list = &c->h->element[look[i].at];
        uint32_t at = 0;

        while (at < look[i].count && list[at] == longest[at])
            at++;
        if (at == look[i].count)
            continue;
        *told = counts(c, list[at]) && counts(c, longest[at]) &&
                (at == 0 || counts(c, longest[at - 1]));
        if (*told)
            return wrong(c,
                         "incompatible order: of key %" PRIu32 " %" PRIu32 " read %" PRIu32
                         " where %" PRIu32 " read %" PRIu32,
                         look[0].key, look[0].tx, longest[at], look[i].tx, list[at]);
    }
    return true;
}

/* Is the last of so many elements one that does not count?  Then such a list may have been written
 * anew since. */
static bool ends_elsewhere(const struct check *c, const struct look *l, uint32_t count) {
    return count != 0 && !counts(c, c->h->element[l->at + count - 1]);
}

/* Of two that found the same, and appended to it, one is lost. */
static bool check_updates(struct check *c, const struct look *look, uint32_t count) {
    for (uint32_t i = 0, by = 0, found = UINT32_MAX; i < count; i++) {
        bool appends = false;

        for (uint32_t k = c->h->tx[look[i].tx].first; k != 0; k = c->h->op[k].next)
            appends |= c->h->op[k].key == look[i].key && c->h->op[k].element != 0;
        if (!appends || look[i].own != 0 || ends_elsewhere(c, &look[i], look[i].count))
            continue;
        if (found == look[i].count && by != look[i].tx)
            return wrong(c,
                         "lost update: %" PRIu32 " and %" PRIu32 " found the same %" PRIu32
                         " elements of key %" PRIu32 ", and appended to them",
                         by, look[i].tx, look[i].count, look[i].key);
        by = look[i].tx;
        found = look[i].count;
    }
    return true;
}

/* ---- edges ----------------------------------------------------------------------------------- */

static uint32_t writer(const struct check *c, const struct look *l, uint32_t place) {
    return c->origin[c->h->element[l->at + place]].tx;
}

/* The next from a place on, the last before it; 0: none. */
static uint32_t next_writer(const struct check *c, const struct look *longest, uint32_t place) {
    for (; place < longest->count; place++)
        if (counts(c, c->h->element[longest->at + place]))
            return writer(c, longest, place);
    return 0;
}

static uint32_t last_writer(const struct check *c, const struct look *longest, uint32_t place) {
    while (place-- > 0)
        if (counts(c, c->h->element[longest->at + place]))
            return writer(c, longest, place);
    return 0;
}

static void add_order(struct check *c, const struct look *look, uint32_t count) {
    const struct look *longest = &look[0];
    uint32_t before = 0;

    for (uint32_t place = 0; place < longest->count; place++) {
        uint32_t element = c->h->element[longest->at + place];

        c->origin[element].seen = c->key_count;
        if (!counts(c, element))
            continue;
        if (before != 0)
            serial_graph_add(&c->graph, before, c->origin[element].tx, SERIAL_WW, longest->key);
        before = c->origin[element].tx;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t found = look[i].count - look[i].own;
        uint32_t from = last_writer(c, longest, found), to = next_writer(c, longest, found);

        if (from != 0)
            serial_graph_add(&c->graph, from, look[i].tx, SERIAL_WR, look[i].key);
        if (to != 0 && !ends_elsewhere(c, longest, found))
            serial_graph_add(&c->graph, look[i].tx, to, SERIAL_RW, look[i].key);
    }
}

/* What was appended and nobody has read was appended after all that was read; unless somebody who
 * does not count has written the list anew, and it is gone. */
static void add_unseen(struct check *c, uint32_t tx, const struct look *look, uint32_t count) {
    const struct look *longest = &look[0];
    uint32_t known = 0;
    bool unseen = false;

    for (uint32_t i = c->h->tx[tx].first; i != 0; i = c->h->op[i].next)
        if (c->h->op[i].key == longest->key && c->h->op[i].element != 0)
            unseen |= c->origin[c->h->op[i].element].seen != c->key_count;
        else if (c->h->op[i].key == longest->key)
            known = EG_MAX(known, c->h->op[i].count);
    for (uint32_t place = known == 0 ? 0 : known - 1; place < longest->count; place++)
        if (!counts(c, c->h->element[longest->at + place]))
            unseen = false;
    if (!unseen)
        return;
    if (last_writer(c, longest, longest->count) != 0)
        serial_graph_add(&c->graph, last_writer(c, longest, longest->count), tx, SERIAL_WW,
                         longest->key);
    for (uint32_t i = 0; i < count; i++)
        if (next_writer(c, longest, look[i].count - look[i].own) == 0)
            serial_graph_add(&c->graph, look[i].tx, tx, SERIAL_RW, longest->key);
}

struct moment {
    uint64_t at;
    uint32_t tx;
    bool end;
};

/* Who begins when another ends may have been at the same time. */
static int by_time(const void *a, const void *b) {
    const struct moment *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    if (x->end != y->end)
        return y->end ? -1 : 1;
    return x->tx < y->tx ? -1 : x->tx > y->tx;
}

/* Of those that are over, only the ones that no other of them has come after. */
static void add_times(struct check *c) {
    struct moment *moment = calloc(2 * (size_t) c->h->tx_count + 1, sizeof *moment);
    uint32_t *over = calloc((size_t) c->h->tx_count + 1, sizeof *over);
    uint32_t count = 0, over_count = 0, left;

    EG_ASSERT(moment != NULL && over != NULL);
    for (uint32_t tx = 1; tx <= c->h->tx_count; tx++) {
        if (!c->h->tx[tx].counts)
            continue;
        moment[count++] = (struct moment){c->h->tx[tx].begin, tx, false};
        if (c->h->tx[tx].end == SERIAL_DONE)
            moment[count++] = (struct moment){c->h->tx[tx].over, tx, true};
    }
    qsort(moment, count, sizeof *moment, by_time);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tx = moment[i].tx;

        if (!moment[i].end) {
            for (uint32_t k = 0; k < over_count; k++)
                serial_graph_add(&c->graph, over[k], tx, SERIAL_RT, 0);
            continue;
        }
        left = 0;
        for (uint32_t k = 0; k < over_count; k++)
            if (c->h->tx[over[k]].over >= c->h->tx[tx].begin)
                over[left++] = over[k];
        over_count = left;
        over[over_count++] = tx;
    }
    free(moment);
    free(over);
}

/* ---- an epoch ------------------------------------------------------------------------------- */

/* Those that are done, and those of which anybody has read that is. */
static void choose(struct check *c, uint64_t epoch) {
    const struct serial *h = c->h;

    for (uint32_t tx = 1; tx <= h->tx_count; tx++)
        h->tx[tx].counts = h->tx[tx].epoch == epoch && h->tx[tx].end == SERIAL_DONE;
    for (uint32_t tx = 1; tx <= h->tx_count; tx++)
        for (uint32_t i = h->tx[tx].first; i != 0 && h->tx[tx].epoch == epoch; i = h->op[i].next)
            for (uint32_t k = 0; h->tx[tx].end == SERIAL_DONE && k < h->op[i].count; k++) {
                struct serial_tx *other = &h->tx[c->origin[h->element[h->op[i].at + k]].tx];

                other->counts |= other->end == SERIAL_MAYBE && other->epoch == epoch;
            }
}

static bool check_keys(struct check *c, uint64_t epoch) {
    for (uint32_t from = 0, to; from < c->look_count; from = to) {
        const struct look *look = &c->look[from];
        bool told;

        for (to = from; to < c->look_count && c->look[to].key == look->key;)
            to++;
        if (!check_prefixes(c, look, to - from, &told) ||
            (told && !check_updates(c, look, to - from)))
            return false;
        if (!told)
            continue;
        c->key_count++;
        add_order(c, look, to - from);
        for (uint32_t tx = 1; tx <= c->h->tx_count; tx++)
            if (c->h->tx[tx].counts && c->h->tx[tx].epoch == epoch)
                add_unseen(c, tx, look, to - from);
    }
    return true;
}

static bool check_epoch(struct check *c, uint64_t epoch) {
    bool good;

    choose(c, epoch);
    c->look_count = 0;
    c->graph = (struct serial_graph){.nodes = c->h->tx_count + 1};
    for (uint32_t tx = 1; tx <= c->h->tx_count; tx++)
        if (c->h->tx[tx].counts)
            add_looks(c, tx);
    qsort(c->look, c->look_count, sizeof *c->look, by_key);
    good = check_keys(c, epoch);
    if (good) {
        add_times(c);
        good = serial_graph_has_order(&c->graph, c->text, SERIAL_TEXT_BYTES);
    }
    serial_graph_fini(&c->graph);
    return good;
}

static int by_number(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static bool check_epochs(struct check *c) {
    uint64_t *epoch = calloc((size_t) c->h->tx_count + 1, sizeof *epoch);
    bool good = true;

    EG_ASSERT(epoch != NULL);
    for (uint32_t tx = 1; tx <= c->h->tx_count; tx++)
        epoch[tx - 1] = c->h->tx[tx].epoch;
    qsort(epoch, c->h->tx_count, sizeof *epoch, by_number);
    for (uint32_t i = 0; i < c->h->tx_count && good; i++)
        if (epoch[i] != 0 && (i == 0 || epoch[i] != epoch[i - 1]))
            good = check_epoch(c, epoch[i]);
    free(epoch);
    return good;
}

bool serial_check(struct serial *h, char text[SERIAL_TEXT_BYTES]) {
    struct check c = {.h = h, .text = text};
    bool good = true;

    text[0] = '\0';
    c.origin = calloc(SERIAL_ELEMENTS_MAX, sizeof *c.origin);
    c.look = calloc((size_t) h->op_count + 1, sizeof *c.look);
    EG_ASSERT(c.origin != NULL && c.look != NULL);
    for (uint32_t tx = 1; tx <= h->tx_count && good; tx++)
        good = note_appends(&c, tx);
    for (uint32_t tx = 1; tx <= h->tx_count && good; tx++)
        good = check_reads(&c, tx);
    good = good && check_epochs(&c);
    free(c.origin);
    free(c.look);
    return good;
}
