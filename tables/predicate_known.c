/* predicate_known.c -- between which values a field of every matching record lies.
 *
 *     ["anna", "$1"]  [[">", "$1", 30], ["<", "$1", 40]]      0: "anna" exactly   1: (30, 40)
 *     ["bert", "$1"]  [["=:=", "$1", 50]]                     1: 50 exactly
 *     -------------------------------------------------
 *     together                                    0: ["anna", "bert"]   1: (30, 50]
 *
 * Inside a clause what is known is and'ed, between clauses it is or'ed (predicate_domain.c); of a
 * clause that says nothing of a field nothing is known.  A range may hold more than can
 * match, never less.  It may be empty (low above high): then nothing matches.
 *
 * A field may also be what lies at a path inside an attribute, if some test speaks of it:
 * address.city in text, ["map_get", "city", "$3"], an element of an array in a head.  Where the
 * test holds an index on that path has found the same there (index_spec_follow).
 *
 * An array of which the first elements are known lies between those alone, for the shorter
 * comes first, and the last array that begins with them: an end with `prefix`. */
#include "tables/index_spec.h"
#include "tables/predicate_private.h"

#include <string.h>

enum { PATHS_MAX = 32 }; /* looked at of one question; others are not known */

/* The field that is asked about, and the clause whose tests speak of it. */
struct field {
    const struct clause *clause;
    uint32_t arity;
    uint32_t position;
    uint32_t path_count;
    const struct value *path;
};

/* ---- which field a term is ------------------------------------------------------- */

static bool is_number(struct value v, uint64_t wanted) {
    uint64_t n;

    return value_get_u64(v, &n) && n == wanted;
}

/* The array's step in which `place` is an element; NULL: an attribute, or none is known. */
static const struct head_step *step_of_place(const struct clause *clause, uint32_t place) {
    for (uint32_t i = 0; i < clause->step_count; i++) {
        const struct head_step *s = &clause->step[i];
        if (s->test == NULL && place >= s->first && place - s->first < s->count)
            return s;
    }
    return NULL;
}

/* Is it what the first `count` steps of the field's path lead to? */
static bool is_place(uint32_t place, const struct field *f, uint32_t count) {
    while (place >= f->arity) {
        const struct head_step *s = step_of_place(f->clause, place);
        if (s == NULL || count == 0 || !is_number(f->path[count - 1], place - s->first))
            return false;
        place = s->place;
        count--;
    }
    return place == f->position && count == 0;
}

/* ["map_get", "city", x], ["element", 1, x]: the step into x. */
static bool step_of_call(const struct expr *e, bool *is_name, struct value *name, uint64_t *n) {
    if ((e->op != EXPR_MAP_GET && e->op != EXPR_ELEMENT) || e->count != 2 ||
        e->arg[0]->op != EXPR_LITERAL)
        return false;
    *name = e->arg[0]->literal;
    *is_name = e->op == EXPR_MAP_GET;
    if (*is_name)
        return value_kind_of(*name) == VALUE_STRING;
    return value_get_u64(*name, n) && (*n)-- > 0;
}

static bool is_inside(const struct expr *e, const struct field *f, uint32_t count) {
    struct value name;
    bool is_name;
    uint64_t n = 0;

    for (; count > 0 && step_of_call(e, &is_name, &name, &n); e = e->arg[1], count--)
        if (is_name ? !value_equal(f->path[count - 1], name) : !is_number(f->path[count - 1], n))
            return false;
    if (e->op != EXPR_FIELD || e->path_count > count)
        return false;
    for (uint32_t i = 0; i < e->path_count; i++)
        if (value_kind_of(e->path[i]) != VALUE_STRING ||
            !value_equal(e->path[i], f->path[count - e->path_count + i]))
            return false;
    return is_place(e->position, f, count - e->path_count);
}

static bool is_the_field(const struct expr *e, const struct field *f) {
    return is_inside(e, f, f->path_count);
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

static void of_comparison(const struct expr *e, const struct field *f, struct domain *out) {
    unsigned op = e->op;
    const struct expr *literal = e->arg[1];
    struct range *range = &out->range;
    bool sql = op >= EXPR_SQL_AND;

    if (is_the_field(e->arg[1], f)) {
        op = turned(op);
        literal = e->arg[0];
    } else if (!is_the_field(e->arg[0], f)) {
        return;
    }
    if (literal->op != EXPR_LITERAL)
        return;
    switch (op) {
    case EXPR_EQ:
    case EXPR_SAME:
    case EXPR_SQL_EQ:
        *out = domain_of_value(literal->literal);
        return;
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_SQL_LT:
    case EXPR_SQL_LE:
        range->low = above_nil(sql);
        range->high = end_at(literal->literal, op == EXPR_LT || op == EXPR_SQL_LT);
        return;
    case EXPR_GT:
    case EXPR_GE:
    case EXPR_SQL_GT:
    case EXPR_SQL_GE:
        range->low = end_at(literal->literal, op == EXPR_GT || op == EXPR_SQL_GT);
        return;
    default:
        return;
    }
}

static void of_in(struct compiler *c, const struct expr *e, const struct field *f,
                  struct domain *out) {
    struct value *values;

    if (e->count < 2 || !is_the_field(e->arg[0], f))
        return;
    for (uint16_t i = 1; i < e->count; i++)
        if (e->arg[i]->op != EXPR_LITERAL)
            return;
    values = domain_room(c, e->count - 1u);
    if (values == NULL)
        return;
    for (uint16_t i = 1; i < e->count; i++)
        values[i - 1] = e->arg[i]->literal;
    *out = domain_of_values(values, e->count - 1u);
}

/* The first string behind all that begin with `prefix`; size 0: there is none, or no memory. */
static struct value behind_strings(struct compiler *c, const uint8_t *prefix, uint32_t bytes) {
    struct value_writer w;
    uint8_t *at;

    while (bytes > 0 && prefix[bytes - 1] == 0xff)
        bytes--;
    at = bytes == 0 ? NULL : compiler_get(c, bytes + 5);
    if (at == NULL)
        return (struct value){0};
    w = value_writer_init(at, bytes + 5);
    value_put_string(&w, (const char *) prefix, bytes);
    at[w.need_bytes - 1]++;
    return (struct value){at, (uint32_t) w.need_bytes};
}

/* What stands before the pattern's first % or _ the string begins with. */
static void of_like(struct compiler *c, const struct expr *e, const struct field *f,
                    struct domain *out) {
    struct value_writer w;
    const uint8_t *text;
    uint32_t bytes = 0, all;
    uint8_t *at;

    if (e->count != 2 || !is_the_field(e->arg[0], f) || e->arg[1]->op != EXPR_LITERAL ||
        value_kind_of(e->arg[1]->literal) != VALUE_STRING ||
        !value_get_bytes(e->arg[1]->literal, &text, &all))
        return;
    while (bytes < all && text[bytes] != '%' && text[bytes] != '_')
        bytes++;
    if (bytes == all) {
        *out = domain_of_value(e->arg[1]->literal);
        return;
    }
    at = bytes == 0 ? NULL : compiler_get(c, bytes + 5);
    if (at == NULL)
        return;
    w = value_writer_init(at, bytes + 5);
    value_put_string(&w, (const char *) text, bytes);
    out->range.low = end_at((struct value){at, (uint32_t) w.need_bytes}, false);
    out->range.high = end_at(behind_strings(c, text, bytes), true);
    out->range.high.given = out->range.high.value.size_bytes != 0;
}

static void of_expr(struct compiler *c, const struct expr *e, const struct field *f, unsigned depth,
                    struct domain *out) {
    static const uint8_t nil[] = {0xc0};
    bool all = e->op == EXPR_AND || e->op == EXPR_ANDALSO || e->op == EXPR_SQL_AND;
    bool any = e->op == EXPR_OR || e->op == EXPR_ORELSE || e->op == EXPR_SQL_OR;

    *out = (struct domain){0};
    if (e->op == EXPR_SQL_IN) {
        of_in(c, e, f, out);
    } else if (e->op == EXPR_SQL_LIKE) {
        of_like(c, e, f, out);
    } else if (e->op == EXPR_SQL_IS_NULL) {
        if (e->count == 1 && is_the_field(e->arg[0], f))
            *out = domain_of_value((struct value){nil, 1});
    } else if (all || any) {
        for (uint16_t i = 0; i < e->count && depth < EXPR_DEPTH_MAX; i++) {
            struct domain one;
            of_expr(c, e->arg[i], f, depth + 1, &one);
            if (i == 0)
                *out = one;
            else if (all)
                domain_intersect(out, &one);
            else
                domain_unite(c, out, &one);
        }
    } else if (e->count == 2) {
        of_comparison(e, f, out);
    }
}

/* ---- which paths are spoken of --------------------------------------------------------- */

static struct value number_value(struct compiler *c, uint64_t n) {
    uint8_t *at = compiler_get(c, 9);
    struct value_writer w;

    if (at == NULL)
        return (struct value){0};
    w = value_writer_init(at, 9);
    value_put_u64(&w, n);
    return (struct value){at, (uint32_t) w.need_bytes};
}

/* Its path into an attribute, from the end; false: it is none, or too long. */
static bool path_of(struct compiler *c, const struct clause *clause, const struct expr *e,
                    struct value path[INDEX_STEPS_MAX], uint32_t *count, uint32_t *position) {
    struct value name;
    bool is_name;
    uint64_t n = 0;

    *count = 0;
    for (; *count < INDEX_STEPS_MAX && step_of_call(e, &is_name, &name, &n); e = e->arg[1])
        path[(*count)++] = is_name ? name : number_value(c, n);
    if (e->op != EXPR_FIELD || e->path_count > INDEX_STEPS_MAX - *count)
        return false;
    for (uint32_t i = e->path_count; i-- > 0;)
        path[(*count)++] = e->path[i];
    for (*position = e->position; *position >= c->arity;) {
        const struct head_step *s = step_of_place(clause, *position);
        if (s == NULL || *count == INDEX_STEPS_MAX)
            return false;
        path[(*count)++] = number_value(c, *position - s->first);
        *position = s->place;
    }
    return *count > 0 && c->err == EG_OK;
}

static struct known_field *find_path(struct compiler *c, uint32_t position,
                                     const struct value *path, uint32_t count) {
    for (uint32_t i = 0; i < c->known_count; i++) {
        struct known_field *k = &c->known[i];
        bool same = k->position == position && k->path_count == count;
        for (uint32_t n = 0; same && n < count; n++)
            same = value_equal(k->path[n], path[n]);
        if (same)
            return k;
    }
    return NULL;
}

static void note_path(struct compiler *c, const struct clause *clause, const struct expr *e) {
    struct value turned_path[INDEX_STEPS_MAX], *path;
    uint32_t count, position;

    if (c->known_count == c->arity + PATHS_MAX ||
        !path_of(c, clause, e, turned_path, &count, &position))
        return;
    path = compiler_get(c, count * sizeof *path);
    if (path == NULL)
        return;
    for (uint32_t i = 0; i < count; i++)
        path[i] = turned_path[count - 1 - i];
    if (find_path(c, position, path, count) == NULL)
        c->known[c->known_count++] =
            (struct known_field){.position = position, .path_count = count, .path = path};
}

static void note_paths(struct compiler *c, const struct clause *clause, const struct expr *e,
                       unsigned depth) {
    bool logic = e->op == EXPR_AND || e->op == EXPR_ANDALSO || e->op == EXPR_SQL_AND ||
                 e->op == EXPR_OR || e->op == EXPR_ORELSE || e->op == EXPR_SQL_OR;

    for (uint16_t i = 0; i < e->count && depth < EXPR_DEPTH_MAX; i++) {
        if (logic)
            note_paths(c, clause, e->arg[i], depth + 1);
        else if (i < 2) /* more than two: in, of which the first is asked about */
            note_path(c, clause, e->arg[i]);
    }
}

/* ---- clauses ------------------------------------------------------------------------------ */

static void of_clause(struct compiler *c, const struct field *f, struct domain *out) {
    const struct clause *clause = f->clause;
    struct domain one;

    *out = (struct domain){0};
    for (uint32_t i = 0; i < clause->step_count; i++) {
        const struct head_step *s = &clause->step[i];
        one = (struct domain){0};
        if (s->test != NULL) {
            of_expr(c, s->test, f, 0, &one);
        } else if (s->prefix.size_bytes > 0 && f->path_count == 0 && s->place == f->position) {
            one.range.low = one.range.high = end_at(s->prefix, false);
            one.range.low.prefix = one.range.high.prefix = true;
        }
        domain_intersect(out, &one);
    }
    for (uint32_t i = 0; i < clause->guard_count; i++) {
        of_expr(c, clause->guard[i], f, 0, &one);
        domain_intersect(out, &one);
    }
}

/* All fields, and the paths that the first clause speaks of. */
static void begin(struct compiler *c, const struct clause *clause) {
    c->known = compiler_get(c, (c->arity + PATHS_MAX) * sizeof *c->known);
    if (c->known == NULL)
        return;
    for (uint32_t position = 0; position < c->arity; position++)
        c->known[c->known_count++] = (struct known_field){.position = position};
    for (uint32_t i = 0; i < clause->step_count; i++)
        if (clause->step[i].test != NULL)
            note_paths(c, clause, clause->step[i].test, 0);
    for (uint32_t i = 0; i < clause->guard_count; i++)
        note_paths(c, clause, clause->guard[i], 0);
}

void known_add_clause(struct compiler *c, const struct clause *clause) {
    bool first = c->clauses == 0;
    uint32_t kept = 0;

    if (first)
        begin(c, clause);
    for (uint32_t i = 0; i < c->known_count && c->err == EG_OK; i++) {
        struct known_field *k = &c->known[i];
        struct field f = {clause, c->arity, k->position, k->path_count, k->path};
        struct domain domain;

        of_clause(c, &f, &domain);
        if (first)
            k->domain = domain;
        else
            domain_unite(c, &k->domain, &domain);
        domain_end(&k->domain);
        if (domain_is_known(&k->domain))
            c->known[kept++] = *k;
    }
    c->known_count = kept;
}

/* ---- what was found ------------------------------------------------------------------------- */

bool predicate_domain(const struct predicate *p, uint32_t position, struct domain *out) {
    for (uint32_t i = 0; i < p->known_count; i++) {
        if (p->known[i].position == position && p->known[i].path_count == 0) {
            *out = p->known[i].domain;
            return true;
        }
    }
    return false;
}

bool predicate_range(const struct predicate *p, uint32_t position, struct range *out) {
    struct domain domain;

    if (!predicate_domain(p, position, &domain))
        return false;
    *out = domain.range;
    return true;
}

bool predicate_domain_of_part(const struct predicate *p, const struct index_spec *x, uint32_t i,
                              struct domain *out) {
    for (uint32_t n = 0; n < p->known_count; n++) {
        const struct known_field *k = &p->known[n];
        if (index_spec_part_is(x, i, k->position, k->path, k->path_count)) {
            *out = k->domain;
            return true;
        }
    }
    return false;
}
