/* serial_graph.c -- strongly connected components, and the shortest circle in one. */
#include "tests/support/serial_graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOWHERE = UINT32_MAX, STARTS_MAX = 1000 };

void serial_graph_add(struct serial_graph *g, uint32_t from, uint32_t to, enum serial_why why,
                      uint32_t key) {
    if (from == to)
        return;
    if (g->count == g->room) {
        g->room = g->room == 0 ? 1024 : 2 * g->room;
        g->edge = realloc(g->edge, g->room * sizeof *g->edge);
        EG_ASSERT(g->edge != NULL);
    }
    g->edge[g->count++] = (struct serial_edge){from, to, key, why};
}

void serial_graph_fini(struct serial_graph *g) {
    free(g->edge);
    *g = (struct serial_graph){0};
}

/* ---- components ---------------------------------------------------------------------------- */

struct visit {
    uint32_t node, edge; /* the next one to follow */
};

struct search {
    const struct serial_graph *g;
    uint32_t *first; /* edge of each node, and one past the last */
    uint32_t *index, *low, *component;
    uint32_t *stack, stacked; /* nodes that have no component yet */
    struct visit *visit;
    uint32_t depth, found, components;
    uint32_t *came_by; /* an edge, to each node of a walk */
    uint32_t *queue;
};

static int by_from(const void *a, const void *b) {
    const struct serial_edge *x = a, *y = b;

    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    if (x->to != y->to)
        return x->to < y->to ? -1 : 1;
    return x->why != y->why ? (x->why < y->why ? -1 : 1) : x->key < y->key ? -1 : x->key > y->key;
}

static uint32_t *numbers(size_t count, uint32_t value) {
    uint32_t *at = calloc(count + 1, sizeof *at);

    EG_ASSERT(at != NULL);
    for (size_t i = 0; i < count; i++)
        at[i] = value;
    return at;
}

static void search_init(struct search *s, struct serial_graph *g) {
    *s = (struct search){.g = g};
    if (g->count != 0)
        qsort(g->edge, g->count, sizeof *g->edge, by_from);
    s->first = numbers(g->nodes + 1, 0);
    for (uint32_t i = 0; i < g->count; i++)
        s->first[g->edge[i].from + 1]++;
    for (uint32_t i = 0; i < g->nodes; i++)
        s->first[i + 1] += s->first[i];
    s->index = numbers(g->nodes, NOWHERE);
    s->low = numbers(g->nodes, 0);
    s->component = numbers(g->nodes, NOWHERE);
    s->stack = numbers(g->nodes, 0);
    s->came_by = numbers(g->nodes, NOWHERE);
    s->queue = numbers(g->nodes, 0);
    s->visit = calloc(g->nodes + 1, sizeof *s->visit);
    EG_ASSERT(s->visit != NULL);
}

static void search_fini(struct search *s) {
    free(s->first);
    free(s->index);
    free(s->low);
    free(s->component);
    free(s->stack);
    free(s->came_by);
    free(s->queue);
    free(s->visit);
}

static void enter(struct search *s, uint32_t node) {
    s->index[node] = s->low[node] = s->found++;
    s->stack[s->stacked++] = node;
    s->visit[s->depth++] = (struct visit){node, s->first[node]};
}

static void leave(struct search *s) {
    uint32_t node = s->visit[--s->depth].node, other;

    if (s->depth != 0)
        s->low[s->visit[s->depth - 1].node] =
            EG_MIN(s->low[s->visit[s->depth - 1].node], s->low[node]);
    if (s->low[node] != s->index[node])
        return;
    do {
        other = s->stack[--s->stacked];
        s->component[other] = s->components;
    } while (other != node);
    s->components++;
}

/* Each node has a component afterwards. */
static void find_components(struct search *s) {
    for (uint32_t node = 0; node < s->g->nodes; node++) {
        if (s->index[node] != NOWHERE)
            continue;
        enter(s, node);
        while (s->depth != 0) {
            struct visit *v = &s->visit[s->depth - 1];
            uint32_t to;

            if (v->edge == s->first[v->node + 1]) {
                leave(s);
                continue;
            }
            to = s->g->edge[v->edge++].to;
            if (s->index[to] == NOWHERE)
                enter(s, to);
            else if (s->component[to] == NOWHERE)
                s->low[v->node] = EG_MIN(s->low[v->node], s->index[to]);
        }
    }
}

/* ---- circles ----------------------------------------------------------------------------- */

static bool allows(uint32_t whys, enum serial_why why) {
    return (whys >> why & 1) != 0;
}

/* The shortest way from `from` to `to` by such edges, as edges behind each other in came_by; its
 * length; 0: there is none. */
static uint32_t walk(struct search *s, uint32_t from, uint32_t to, uint32_t whys) {
    uint32_t head = 0, tail = 0, length = 0;

    for (uint32_t i = 0; i < s->g->nodes; i++)
        s->came_by[i] = NOWHERE;
    s->queue[tail++] = from;
    while (head < tail && s->came_by[to] == NOWHERE) {
        uint32_t node = s->queue[head++];

        for (uint32_t e = s->first[node]; e < s->first[node + 1]; e++) {
            const struct serial_edge *edge = &s->g->edge[e];

            if (!allows(whys, edge->why) || s->component[edge->to] != s->component[from] ||
                s->came_by[edge->to] != NOWHERE)
                continue;
            s->came_by[edge->to] = e;
            if (edge->to != from)
                s->queue[tail++] = edge->to;
        }
    }
    if (s->came_by[to] == NOWHERE)
        return 0;
    do {
        length++;
        to = s->g->edge[s->came_by[to]].from;
    } while (to != from);
    return length;
}

struct circle {
    uint32_t *edge; /* in order */
    uint32_t length, room;
};

static void keep(struct search *s, struct circle *c, uint32_t from, uint32_t to, uint32_t length) {
    for (uint32_t i = length; i > 0; i--) {
        c->edge[i - 1] = s->came_by[to];
        to = s->g->edge[c->edge[i - 1]].from;
    }
    EG_ASSERT(to == from);
    c->length = length;
}

/* The shortest that has such edges; with `once`, and one of that kind besides. */
static bool find_circle(struct search *s, uint32_t component, uint32_t whys, bool once,
                        enum serial_why once_why, struct circle *out) {
    uint32_t starts = 0;

    out->length = 0;
    for (uint32_t e = 0; e < s->g->count && starts < STARTS_MAX; e++) {
        const struct serial_edge *edge = &s->g->edge[e];
        uint32_t length;

        if (s->component[edge->from] != component || s->component[edge->to] != component ||
            (once ? edge->why != once_why : !allows(whys, edge->why)))
            continue;
        starts++;
        length = walk(s, edge->to, edge->from, whys);
        if (length == 0 || (out->length != 0 && length + 1 >= out->length))
            continue;
        keep(s, out, edge->to, edge->from, length);
        out->edge[out->length++] = e;
    }
    return out->length != 0;
}

/* Are two rw next to each other in it? */
static bool has_two_in_a_row(const struct search *s, const struct circle *c) {
    for (uint32_t i = 0; i < c->length; i++)
        if (s->g->edge[c->edge[i]].why == SERIAL_RW &&
            s->g->edge[c->edge[(i + 1) % c->length]].why == SERIAL_RW)
            return true;
    return false;
}

static const char *name_circle(struct search *s, uint32_t component, uint32_t rt,
                               struct circle *out) {
    const uint32_t ww = 1u << SERIAL_WW, wr = 1u << SERIAL_WR, rw = 1u << SERIAL_RW;

    if (find_circle(s, component, ww | rt, false, SERIAL_WW, out))
        return "G0";
    if (find_circle(s, component, ww | wr | rt, false, SERIAL_WW, out))
        return "G1c";
    if (find_circle(s, component, ww | wr | rt, true, SERIAL_RW, out))
        return "G-single";
    if (find_circle(s, component, ww | wr | rw | rt, false, SERIAL_WW, out))
        return has_two_in_a_row(s, out) ? "G2-item" : "long fork";
    return NULL;
}

static void print_circle(const struct search *s, const struct circle *c, const char *name,
                         const char *when, char *text, size_t text_bytes) {
    static const char *const whys[] = {"ww", "wr", "rw", "rt"};
    size_t at = (size_t) snprintf(text, text_bytes, "%s%s:", name, when);

    for (uint32_t i = 0; i < c->length && at < text_bytes; i++) {
        const struct serial_edge *e = &s->g->edge[c->edge[i]];

        at += (size_t) snprintf(text + at, text_bytes - at, " %" PRIu32 " -%s", e->from,
                                whys[e->why]);
        if (e->why != SERIAL_RT && at < text_bytes)
            at += (size_t) snprintf(text + at, text_bytes - at, " key %" PRIu32, e->key);
        if (at < text_bytes)
            at += (size_t) snprintf(text + at, text_bytes - at, "->");
    }
    if (at < text_bytes)
        snprintf(text + at, text_bytes - at, " %" PRIu32, s->g->edge[c->edge[0]].from);
}

bool serial_graph_has_order(struct serial_graph *g, char *text, size_t text_bytes) {
    struct search s;
    struct circle circle;
    bool good = true;

    search_init(&s, g);
    circle = (struct circle){.edge = numbers(g->nodes + 1, 0)};
    find_components(&s);
    for (uint32_t e = 0; e < g->count && good; e++) {
        uint32_t component = s.component[g->edge[e].from];
        const char *name, *when = "";

        if (s.component[g->edge[e].to] != component)
            continue;
        good = false;
        name = name_circle(&s, component, 0, &circle);
        if (name == NULL) {
            when = " in real time";
            name = name_circle(&s, component, 1u << SERIAL_RT, &circle);
        }
        EG_ASSERT(name != NULL);
        print_circle(&s, &circle, name, when, text, text_bytes);
    }
    free(circle.edge);
    search_fini(&s);
    return good;
}
