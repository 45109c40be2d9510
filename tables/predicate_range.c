/* predicate_range.c -- between which values a field of every matching record lies.
 *
 *     ["anna", "$1"]  [[">", "$1", 30], ["<", "$1", 40]]      0: "anna" exactly   1: (30, 40)
 *     ["bert", "$1"]  [["=:=", "$1", 50]]                     1: 50 exactly
 *     -------------------------------------------------
 *     together                                    0: ["anna", "bert"]   1: (30, 50]
 *
 * Inside a clause what is known is and'ed, between clauses the hull is taken; of a clause that
 * says nothing of a field nothing is known.  A range may hold more than can match, never
 * less.  It may be empty (low above high): then nothing matches.
 *
 * An array of which the first elements are known lies between those alone, for the shorter
 * comes first, and the last array that begins with them: an end with `prefix`. */
#include "tables/predicate_private.h"

/* ---- ends ------------------------------------------------------------------------ */

/* Does the array `v` begin with all elements of the array `prefix`? */
static bool begins_with(struct value v, struct value prefix) {
    struct value_head p = head_of(prefix.at);
    const uint8_t *a = prefix.at + p.own_bytes;
    const uint8_t *b = v.at;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) < p.children)
        return false;
    b += head_of(v.at).own_bytes;
    for (uint32_t i = 0; i < p.children; i++)
        if (value_compare_at(&a, &b, false) != 0)
            return false;
    return true;
}

/* The order of two low ends by where they begin. */
static int compare_low(const struct range_end *a, const struct range_end *b) {
    int order = value_compare(a->value, b->value);

    return order != 0 ? order : a->open - b->open;
}

/* The order of two high ends by where they end. */
static int compare_high(const struct range_end *a, const struct range_end *b) {
    bool a_holds_b = a->prefix && begins_with(b->value, a->value);
    bool b_holds_a = b->prefix && begins_with(a->value, b->value);
    int order = value_compare(a->value, b->value);

    if (a_holds_b || b_holds_a)
        return a_holds_b - b_holds_a;
    return order != 0 ? order : b->open - a->open;
}

static void intersect(struct range *into, const struct range *with) {
    if (with->low.given && (!into->low.given || compare_low(&with->low, &into->low) > 0))
        into->low = with->low;
    if (with->high.given && (!into->high.given || compare_high(&with->high, &into->high) < 0))
        into->high = with->high;
}

static void unite(struct range *into, const struct range *with) {
    if (!with->low.given || (into->low.given && compare_low(&with->low, &into->low) < 0))
        into->low = with->low;
    if (!with->high.given || (into->high.given && compare_high(&with->high, &into->high) > 0))
        into->high = with->high;
}

static bool is_known(const struct range *r) {
    return r->low.given || r->high.given;
}

/* ---- what one test says ------------------------------------------------------------ */

static struct range_end end_at(struct value v, bool open) {
    return (struct range_end){.given = true, .open = open, .value = v};
}

/* Text's comparisons are never true of nil. */
static struct range_end above_nil(bool sql) {
    static const uint8_t nil[] = {0xc0};

    return sql ? end_at((struct value){nil, 1}, true) : (struct range_end){0};
}

static bool is_the_field(const struct expr *e, uint32_t position) {
    return e->op == EXPR_FIELD && e->position == position && e->path_count == 0;
}

/* `op` with its operands exchanged. */
static unsigned turned(unsigned op) {
    switch (op) {
    case EXPR_LT:
    case EXPR_SQL_LT:
        return op + (EXPR_GT - EXPR_LT);
    case EXPR_LE:
    case EXPR_SQL_LE:
        return op + (EXPR_GE - EXPR_LE);
    case EXPR_GT:
    case EXPR_SQL_GT:
        return op - (EXPR_GT - EXPR_LT);
    case EXPR_GE:
    case EXPR_SQL_GE:
        return op - (EXPR_GE - EXPR_LE);
    default:
        return op;
    }
}

static void of_comparison(const struct expr *e, uint32_t position, struct range *out) {
    unsigned op = e->op;
    const struct expr *literal = e->arg[1];
    bool sql = op >= EXPR_SQL_AND;

    if (is_the_field(e->arg[1], position)) {
        op = turned(op);
        literal = e->arg[0];
    } else if (!is_the_field(e->arg[0], position)) {
        return;
    }
    if (literal->op != EXPR_LITERAL)
        return;
    switch (op) {
    case EXPR_EQ:
    case EXPR_SAME:
    case EXPR_SQL_EQ:
        out->low = out->high = end_at(literal->literal, false);
        return;
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_SQL_LT:
    case EXPR_SQL_LE:
        out->low = above_nil(sql);
        out->high = end_at(literal->literal, op == EXPR_LT || op == EXPR_SQL_LT);
        return;
    case EXPR_GT:
    case EXPR_GE:
    case EXPR_SQL_GT:
    case EXPR_SQL_GE:
        out->low = end_at(literal->literal, op == EXPR_GT || op == EXPR_SQL_GT);
        return;
    default:
        return;
    }
}

static void of_in(const struct expr *e, uint32_t position, struct range *out) {
    struct range one;

    if (e->count < 2 || !is_the_field(e->arg[0], position))
        return;
    for (uint16_t i = 1; i < e->count; i++) {
        if (e->arg[i]->op != EXPR_LITERAL) {
            *out = (struct range){0};
            return;
        }
        one.low = one.high = end_at(e->arg[i]->literal, false);
        if (i == 1)
            *out = one;
        else
            unite(out, &one);
    }
}

static void of_expr(const struct expr *e, uint32_t position, unsigned depth, struct range *out) {
    bool all = e->op == EXPR_AND || e->op == EXPR_ANDALSO || e->op == EXPR_SQL_AND;
    bool any = e->op == EXPR_OR || e->op == EXPR_ORELSE || e->op == EXPR_SQL_OR;

    *out = (struct range){0};
    if (e->op == EXPR_SQL_IN) {
        of_in(e, position, out);
    } else if (all || any) {
        for (uint16_t i = 0; i < e->count && depth < EXPR_DEPTH_MAX; i++) {
            struct range one;
            of_expr(e->arg[i], position, depth + 1, &one);
            if (i == 0)
                *out = one;
            else if (all)
                intersect(out, &one);
            else
                unite(out, &one);
        }
    } else if (e->count == 2) {
        of_comparison(e, position, out);
    }
}

/* ---- clauses ------------------------------------------------------------------------- */

static void of_clause(const struct clause *clause, uint32_t position, struct range *out) {
    struct range one;

    *out = (struct range){0};
    for (uint32_t i = 0; i < clause->step_count; i++) {
        const struct head_step *s = &clause->step[i];
        one = (struct range){0};
        if (s->test != NULL) {
            of_expr(s->test, position, 0, &one);
        } else if (s->place == position && s->prefix.size_bytes > 0) {
            one.low = one.high = end_at(s->prefix, false);
            one.low.prefix = one.high.prefix = true;
        }
        intersect(out, &one);
    }
    for (uint32_t i = 0; i < clause->guard_count; i++) {
        of_expr(clause->guard[i], position, 0, &one);
        intersect(out, &one);
    }
}

static struct position_range *find(struct compiler *c, uint32_t position) {
    for (uint32_t i = 0; i < c->range_count; i++)
        if (c->range[i].position == position)
            return &c->range[i];
    return NULL;
}

static void remove_unknown(struct compiler *c) {
    uint32_t kept = 0;

    for (uint32_t i = 0; i < c->range_count; i++)
        if (is_known(&c->range[i].range))
            c->range[kept++] = c->range[i];
    c->range_count = kept;
}

void ranges_add_clause(struct compiler *c, const struct clause *clause) {
    bool first = c->clauses == 0;
    struct range range;

    if (first)
        c->range = compiler_get(c, c->arity * sizeof *c->range);
    for (uint32_t position = 0; position < c->arity && c->err == EG_OK; position++) {
        struct position_range *known = first ? NULL : find(c, position);
        if (!first && known == NULL)
            continue;
        of_clause(clause, position, &range);
        if (first)
            c->range[c->range_count++] = (struct position_range){position, range};
        else
            unite(&known->range, &range);
    }
    remove_unknown(c);
    for (uint32_t i = 0; i < c->range_count; i++) {
        struct range *r = &c->range[i].range;
        r->exact = r->low.given && r->high.given && !r->low.open && !r->high.open &&
                   !r->low.prefix && !r->high.prefix && value_equal(r->low.value, r->high.value);
    }
}

bool predicate_range(const struct predicate *p, uint32_t position, struct range *out) {
    for (uint32_t i = 0; i < p->range_count; i++) {
        if (p->range[i].position == position) {
            *out = p->range[i].range;
            return true;
        }
    }
    return false;
}
