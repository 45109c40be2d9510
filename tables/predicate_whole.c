/* predicate_whole.c -- questions that say nothing but where the key lies.
 *
 *     [[["bern", "_"], "_"], [], ["$_"]]                       keys of two that begin with "bern"
 *     [["$1", "_"], [[">=", "$1", 5], ["<", "$1", 9]], ["$_"]]  keys from 5 to 9
 *
 * Of these what is known of the key (predicate_known.c) is all there is to know: whoever goes
 * through that range need not run the program.  Of a head that takes a key array apart only
 * the number of its elements is left to be looked at. */
#include "tables/predicate_private.h"

/* A value with which any other compares by the total order, in either language. */
static bool is_plain(struct value v) {
    switch (value_kind_of(v)) {
    case VALUE_STRING:
    case VALUE_BINARY:
        return true;
    case VALUE_NUMBER:
        return value_number_of(v.at).form != NUMBER_FLOAT;
    default:
        return false;
    }
}

static bool is_key(const struct expr *e) {
    return e->op == EXPR_FIELD && e->position == 0 && e->path_count == 0;
}

static bool is_order(unsigned op) {
    return op == EXPR_EQ || (op >= EXPR_LT && op <= EXPR_GE) || op == EXPR_SQL_EQ ||
           (op >= EXPR_SQL_LT && op <= EXPR_SQL_GE);
}

/* Is `e` true where the key lies in a range, and nowhere else? */
static bool is_range(const struct expr *e, unsigned depth) {
    bool all = e->op == EXPR_ANDALSO || e->op == EXPR_AND || e->op == EXPR_SQL_AND;
    uint32_t literal;

    for (uint16_t i = 0; all && i < e->count && depth < EXPR_DEPTH_MAX; i++)
        if (!is_range(e->arg[i], depth + 1))
            return false;
    if (all)
        return e->count > 0 && depth < EXPR_DEPTH_MAX;
    if (!is_order(e->op) || e->count != 2)
        return false;
    literal = is_key(e->arg[0]) ? 1 : 0;
    return is_key(e->arg[1 - literal]) && e->arg[literal]->op == EXPR_LITERAL &&
           is_plain(e->arg[literal]->literal);
}

/* A head that takes the key apart: one step for that, then a test for each element that is
 * known, which are the first. */
static bool is_prefix(const struct clause *clause) {
    const struct head_step *s = clause->step;
    uint32_t known = clause->step_count - 1;

    if (s->place != 0 || s->prefix.size_bytes == 0 || value_count(s->prefix) != known)
        return false;
    for (uint32_t i = 0; i < known; i++) {
        const struct expr *test = s[1 + i].test;
        if (test == NULL || test->op != EXPR_EQ || test->arg[0]->op != EXPR_FIELD ||
            test->arg[0]->position != s->first + i || test->arg[1]->op != EXPR_LITERAL)
            return false;
    }
    return true;
}

void whole_add_clause(struct compiler *c, const struct clause *clause) {
    bool apart = clause->step_count > 0 && clause->step[0].test == NULL;

    c->key_range = c->clauses == 0 && (!apart || (clause->guard_count == 0 && is_prefix(clause)));
    c->key_elements = apart ? clause->step[0].count : 0;
    for (uint32_t i = 0; !apart && c->key_range && i < clause->step_count; i++)
        c->key_range = clause->step[i].test != NULL && is_range(clause->step[i].test, 0);
    for (uint32_t i = 0; !apart && c->key_range && i < clause->guard_count; i++)
        c->key_range = is_range(clause->guard[i], 0);
}

bool predicate_is_key_range(const struct predicate *p, uint32_t *elements) {
    *elements = p->key_elements;
    return p->key_range;
}
