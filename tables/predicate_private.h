/* predicate_private.h -- the program's form, for predicate_*.c only.
 *
 *     ["_","$1"]  [[">","$1",30]]  ["$1"]        0  CLAUSE       else 3
 *                                                1  GT    place 1, literal 0, tests
 *                                                2  YIELD place 1
 *                                                3  END
 *
 * An operand is the top of the stack or lies still: a place (a field of the record, or
 * an element that UNPACK found inside one), a literal, the whole record.  Operands on the
 * stack are taken from right to left.  Jumps go forward and stay inside their clause.
 *
 * The order of work: predicate_spec.c reads a specification and makes trees, but of one of
 * a usual form, which predicate_prefix.c knows; predicate_code.c emits code for trees;
 * predicate_verify.c checks it; predicate_run.c runs it, with the functions of
 * predicate_call.c, predicate_math.c and predicate_like.c, after predicate_screen.c has left out
 * what needs no machine.
 */
#ifndef TABLES_PREDICATE_PRIVATE_H
#define TABLES_PREDICATE_PRIVATE_H

#include "engine/arena.h"
#include "tables/predicate.h"
#include "tables/value_private.h"

/* ---- a program ---------------------------------------------------------- */

enum code_from { FROM_STACK, FROM_FIELD, FROM_INNER, FROM_LITERAL, FROM_RECORD, FROM_KINDS };

/* Below EXPR_OPS: the call of that name. */
enum code_op {
    CODE_END = EXPR_OPS, /* no clause matched                                            */
    CODE_CLAUSE,         /* a clause begins; where it fails, go on at x                  */
    CODE_UNPACK,         /* x is an array of `count` elements: they are places y, y+1 .. */
    CODE_BODY,           /* from here a call that fails yields "EXIT"                    */
    CODE_PUSH,           /* x                                                            */
    CODE_PATH,           /* x, then the `count` literals from y: keys, positions         */
    CODE_TEST,           /* x is true                                                    */
    CODE_FIELD_INTEGER,  /* test: field x compared (call `count`) with the integer literal y */
    CODE_TEST_SQL,       /* x is true, or a number that is not 0                         */
    CODE_ANDALSO,        /* top is false: keep it, go to x; true: drop it                */
    CODE_ORELSE,         /* top is true: keep it, go to x; false: drop it                */
    CODE_SQL_SKIP_FALSE, /* top is false: go to x                                        */
    CODE_SQL_SKIP_TRUE,  /* top is true: go to x                                         */
    CODE_YIELD,          /* x is the result                                              */
    CODE_YIELD_ARRAY,    /* the top `count` in an array are                              */
    CODE_OPS,
};

/* A comparison holds for some of the three. */
enum order_bit { ORDER_LESS = 1, ORDER_EQUAL = 2, ORDER_GREATER = 4 };
static inline unsigned order_bit(int order) {
    return 1u << ((order > 0) - (order < 0) + 1);
}
/* Of == /= < =< > >= in both languages; 0: no such call. */
unsigned predicate_order_bits(unsigned op);

struct code {
    uint8_t op;
    uint8_t x_from; /* enum code_from */
    uint8_t y_from;
    bool tests; /* yields nothing: the clause fails unless it is true */
    uint16_t count;
    uint16_t holds; /* of a comparison: for which orders, enum order_bit */
    uint32_t x;
    uint32_t y;
};

/* What a call takes: CALL_STACK means `count` operands, all on the stack. */
enum call_shape { CALL_NEVER, CALL_UNARY, CALL_BINARY, CALL_STACK };
enum call_shape predicate_call_shape(unsigned op);

/* A value on its way.  The first three are a value_number's forms. */
struct slot {
    enum {
        SLOT_UNSIGNED = NUMBER_UNSIGNED,
        SLOT_NEGATIVE = NUMBER_NEGATIVE,
        SLOT_FLOAT = NUMBER_FLOAT,
        SLOT_AT,   /* lies in the record, a literal or a constant */
        SLOT_MADE, /* lies in the machine's scratch               */
    } form;
    union {
        uint64_t u;
        int64_t i;
        double d;
        const uint8_t *at;
        size_t offset;
    };
};

/* What is known of a field, or of what lies at a path inside it. */
struct known_field {
    uint32_t position;
    uint32_t path_count;
    struct value *path; /* strings, and numbers from 0 on */
    struct domain domain;
};

struct predicate {
    struct alloc *alloc;
    size_t size_bytes; /* of all: this, and what follows it in one block */
    uint32_t arity;
    uint32_t places;      /* fields, then what UNPACK finds */
    uint32_t depth;       /* of the stack                   */
    size_t machine_bytes; /* stack, then places */
    uint32_t code_count;
    uint32_t literal_count;
    uint32_t known_count;
    bool yields_record;
    bool may_be_deep; /* a result may nest past VALUE_DEPTH_MAX */
    bool screens;     /* one clause that begins with CODE_FIELD_INTEGER, see predicate_screen.c */
    bool screens_all; /* ... and has nothing else to ask: then the body cannot fail */
    bool yields_true; /* ... and says true */
    bool key_range;   /* the range of field 0 says all, see predicate_is_key_range() */
    uint32_t key_elements;
    struct code *code;
    struct slot *literal;
    struct known_field *known;
    uint8_t *bytes; /* of literals and what is known */
};

/* Check every promise that the machine relies on, and find what it needs (depth, bytes).
 * EG_INTERNAL: one does not hold, and the program must not be run.  EG_MEMORY. */
EG_MUST_USE eg_err predicate_verify(struct predicate *p, struct alloc *a);

/* ---- compiling ----------------------------------------------------------- */

/* What must be so of a place before the guards: a test, or the elements of an array. */
struct head_step {
    const struct expr *test; /* NULL: unpack `place` */
    uint32_t place;
    uint32_t count;
    uint32_t first;
    struct value prefix; /* the array begins with this one's elements; size 0: not known */
};

struct clause {
    struct head_step *step;
    uint32_t step_count;
    const struct expr *const *guard;
    uint32_t guard_count;
    bool sql; /* guards are text's: numbers count as true */
    const struct expr *body;
};

/* One compilation.  The first error stays. */
struct compiler {
    struct alloc *alloc;
    struct arena *arena;
    struct err_note *note;
    eg_err err;
    uint32_t arity;
    uint32_t nodes;  /* of trees that were made here */
    uint32_t visits; /* of nodes, in making code     */
    uint32_t clauses;
    uint32_t places;     /* of this clause */
    uint32_t places_max; /* of any         */
    bool yields_record;
    bool may_be_deep;
    struct buffer code;
    struct buffer literals; /* struct slot; SLOT_AT holds an offset into bytes for now */
    struct buffer bytes;
    struct known_field *known; /* by all clauses so far; in the arena */
    uint32_t known_count;
    bool key_range; /* all that was said so far is where the key lies */
    uint32_t key_elements;
};

/* Fails the compilation, unless it has failed before. */
void compiler_fail(struct compiler *c, eg_err err, const char *format, ...) EG_PRINTF(3, 4);
/* From the arena; NULL: failed. */
void *compiler_get(struct compiler *c, size_t size_bytes);
/* One node more; false: too many. */
bool compiler_count_node(struct compiler *c);

/* What was compiled, in one block of its own, and verified. */
EG_MUST_USE eg_err program_open(struct predicate **out, const struct compiler *c);

void compiler_add_spec(struct compiler *c, struct value spec);
void compiler_add_clause(struct compiler *c, const struct clause *clause);
void compiler_end(struct compiler *c);

/* All records whose key is an array that begins so. */
enum { KEY_PREFIX_MAX = 4, KEY_PREFIX_BYTES_MAX = 256 };
struct key_prefix {
    uint32_t arity;    /* of the records      */
    uint32_t elements; /* of the key's array  */
    uint32_t count;    /* of these are known  */
    uint32_t bytes;    /* which take so many, in a row */
    struct value literal[KEY_PREFIX_MAX];
};

/* Does the specification ask for such records as they are, and nothing else?  False: maybe.
 * Borrows from it. */
EG_MUST_USE bool prefix_read(struct key_prefix *out, struct value spec, uint32_t arity);
/* The program that predicate_open() would make the long way. */
EG_MUST_USE eg_err prefix_open(struct predicate **out, struct alloc *a, const struct key_prefix *k,
                               struct err_note *note);

/* Merge what this clause says of its fields with what the clauses before it said. */
void known_add_clause(struct compiler *c, const struct clause *clause);
/* Does it say more than where the key lies? */
void whole_add_clause(struct compiler *c, const struct clause *clause);

/* The literals of a long `in` as one, a binary; x is among them, not, or nil. */
struct value list_literal(struct compiler *c, const struct expr *e);
bool list_check(const uint8_t *at);
struct run;
struct slot list_holds(struct run *r, const struct slot *x, const struct slot *y);

/* Ascending, each once; returns how many are left. */
uint32_t values_sort(struct value *v, uint32_t count);

/* Sets of values in the making: their points are in the arena, and theirs to change. */
bool domain_is_known(const struct domain *d);
struct domain domain_of_value(struct value v);
/* One of `count` values in any order, from domain_room(), which are the domain's from now on. */
struct value *domain_room(struct compiler *c, uint32_t count);
struct domain domain_of_values(struct value *values, uint32_t count);
void domain_intersect(struct domain *into, const struct domain *with);
void domain_unite(struct compiler *c, struct domain *into, const struct domain *with);
/* Only the range, where the points are too large to be kept; says whether that is exact. */
void domain_end(struct domain *d);

/* ---- running -------------------------------------------------------------- */

enum truth { NO, YES, NOT_KNOWN };

/* Find out whether `p`, which is verified, screens. */
void screen_prepare(struct predicate *p);
static inline unsigned order_of_integers(int64_t a, int64_t b) {
    return 1u << ((a > b) - (a < b) + 1); /* enum order_bit, without a branch */
}

struct run {
    const struct predicate *p;
    struct predicate_machine *m;
    struct value record;
    const uint8_t **place;
    uint32_t known; /* fields 0 .. known have been found */
    struct slot *top;
    struct slot *bottom;
    uint64_t work_left; /* bytes looked at by calls, about         */
    eg_err err;         /* past a bound, or no memory: the run ends */
};

extern const uint8_t predicate_nil[1];
extern const uint8_t predicate_false[1];
extern const uint8_t predicate_true[1];

static inline struct slot slot_at(const uint8_t *at) {
    return (struct slot){.form = SLOT_AT, .at = at};
}
static inline struct slot slot_bool(bool b) {
    return slot_at(b ? predicate_true : predicate_false);
}
static inline struct slot slot_unsigned(uint64_t u) {
    return (struct slot){.form = SLOT_UNSIGNED, .u = u};
}
static inline struct slot slot_of_number(struct value_number n) {
    struct slot s = {.form = SLOT_UNSIGNED, .u = n.u};

    if (n.form == NUMBER_NEGATIVE) {
        s.form = SLOT_NEGATIVE;
    } else if (n.form == NUMBER_FLOAT) {
        s.form = SLOT_FLOAT;
        s.d = n.d;
    }
    return s;
}

/* An integer that 64 bits with a sign hold. */
static inline bool slot_is_integer(const struct slot *s) {
    return s->form == SLOT_NEGATIVE || (s->form == SLOT_UNSIGNED && s->u <= INT64_MAX);
}

enum { SLOT_ROOM_BYTES = 9 };
/* Where the slot's value lies encoded; a number is encoded into `room`.  A value in
 * scratch moves when more is made. */
const uint8_t *slot_bytes(const struct run *r, const struct slot *s, uint8_t room[SLOT_ROOM_BYTES]);
EG_MUST_USE bool slot_number(const struct run *r, const struct slot *s, struct value_number *out);

/* Room in the scratch; NULL: r->err says why. */
uint8_t *run_room(struct run *r, size_t size_bytes);
eg_err buffer_refusal(const struct buffer *b, size_t size_bytes);

/* Calls.  False: it fails, or r->err is set. */
bool call_unary(struct run *r, unsigned op, const struct slot *x, struct slot *out);
bool call_binary(struct run *r, unsigned op, const struct slot *x, const struct slot *y,
                 struct slot *out);
bool call_stack(struct run *r, unsigned op, const struct slot *x, uint32_t count, struct slot *out);
/* The value's own elements under the path's; false: there is none. */
bool call_path(const uint8_t **at, struct run *r, const struct slot *path, uint32_t count);

/* Anything where r->err is set. */
int slots_order(struct run *r, const struct slot *x, const struct slot *y);

/* Count the work of a call; false: it is too much for one record. */
static inline bool run_works(struct run *r, uint64_t bytes) {
    if (EG_LIKELY(bytes <= r->work_left)) {
        r->work_left -= bytes;
        return true;
    }
    r->err = EG_TOO_LARGE;
    return false;
}

/* false: fails (text: is nil).  Integers are exact from -2^63 to 2^64 - 1. */
bool math_unary(unsigned op, struct value_number x, struct value_number *out);
bool math_binary(unsigned op, struct value_number x, struct value_number y,
                 struct value_number *out);

/* Text's `like`: % any characters, _ one.  Counts its steps down; at 0 it gives up and says
 * false. */
bool text_is_like(const uint8_t *text, size_t text_bytes, const uint8_t *pattern,
                  size_t pattern_bytes, uint64_t *steps_left);

#endif /* TABLES_PREDICATE_PRIVATE_H */
