/* predicate.c -- programs are opened: compiled, put into one block, verified.
 *
 *     | struct predicate | code ... | literals ... | known ... | bytes ... |
 *
 * While a program is compiled its literals say where in `bytes` they lie; in the block they
 * point there. */
#include "tables/predicate_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- one compilation ------------------------------------------------------------ */

static eg_err compiler_init(struct compiler *c, struct alloc *a, uint32_t arity,
                            struct err_note *note) {
    *c = (struct compiler){
        .alloc = a, .note = note, .arity = arity, .places = arity, .places_max = arity};
    c->yields_record = true;
    buffer_init(&c->code, a, PREDICATE_BYTES_MAX);
    buffer_init(&c->literals, a, PREDICATE_BYTES_MAX);
    buffer_init(&c->bytes, a, PREDICATE_BYTES_MAX);
    return arena_open(&c->arena, a);
}

static void compiler_fini(struct compiler *c) {
    buffer_fini(&c->bytes);
    buffer_fini(&c->literals);
    buffer_fini(&c->code);
    arena_close(c->arena);
}

void compiler_fail(struct compiler *c, eg_err err, const char *format, ...) {
    char text[ERR_NOTE_BYTES];
    va_list args;

    if (c->err != EG_OK)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->err = err_note(c->note, err, "%s", text);
}

void *compiler_get(struct compiler *c, size_t size_bytes) {
    void *ptr = c->err == EG_OK ? arena_get(c->arena, EG_MAX(size_bytes, 1u)) : NULL;

    if (ptr == NULL)
        compiler_fail(c, EG_MEMORY, "no memory to compile");
    return ptr;
}

bool compiler_count_node(struct compiler *c) {
    if (c->nodes++ < EXPR_NODES_MAX)
        return true;
    compiler_fail(c, EG_TOO_LARGE, "more than %d terms", EXPR_NODES_MAX);
    return false;
}

/* ---- the block ---------------------------------------------------------------------- */

static size_t values_bytes(const struct value *v, uint32_t count) {
    size_t bytes = 0;

    for (uint32_t i = 0; i < count; i++)
        bytes += v[i].size_bytes;
    return bytes;
}

/* What is known takes behind its array: those of its values, then their bytes. */
static uint32_t known_values(const struct known_field *k) {
    return k->path_count + (k->domain.few ? k->domain.point_count : 0);
}

static size_t known_bytes(const struct compiler *c) {
    size_t bytes = 0;

    for (uint32_t i = 0; i < c->known_count; i++) {
        const struct known_field *k = &c->known[i];
        bytes += sizeof *k + known_values(k) * sizeof(struct value) +
                 values_bytes(k->path, k->path_count) + k->domain.range.low.value.size_bytes +
                 k->domain.range.high.value.size_bytes;
        if (k->domain.few)
            bytes += values_bytes(k->domain.point, k->domain.point_count);
    }
    return bytes;
}

static uint8_t *copy_value(struct value *v, uint8_t *at) {
    if (v->size_bytes == 0)
        return at;
    memcpy(at, v->at, v->size_bytes);
    v->at = at;
    return at + v->size_bytes;
}

/* The values that lie at `*v` move to `room`; returns the room behind them. */
static struct value *move_values(struct value **v, uint32_t count, struct value *room) {
    if (count > 0)
        memcpy(room, *v, count * sizeof *room);
    *v = room;
    return room + count;
}

/* The program's own copy of all that is known; returns the place behind it. */
static uint8_t *fill_known(struct predicate *p, uint8_t *at) {
    struct value *room = (struct value *) (void *) at;

    for (uint32_t i = 0; i < p->known_count; i++) {
        struct known_field *k = &p->known[i];
        room = move_values(&k->path, k->path_count, room);
        room = move_values(&k->domain.point, k->domain.few ? k->domain.point_count : 0, room);
    }
    at = (uint8_t *) room;
    for (uint32_t i = 0; i < p->known_count; i++) {
        struct known_field *k = &p->known[i];
        for (uint32_t n = 0; n < k->path_count; n++)
            at = copy_value(&k->path[n], at);
        for (uint32_t n = 0; k->domain.few && n < k->domain.point_count; n++)
            at = copy_value(&k->domain.point[n], at);
        at = copy_value(&k->domain.range.low.value, at);
        at = copy_value(&k->domain.range.high.value, at);
    }
    return at;
}

static void fill(struct predicate *p, const struct compiler *c) {
    uint8_t *at = (uint8_t *) (p + 1);

    p->code = (struct code *) (void *) at;
    memcpy(at, c->code.at, c->code.size_bytes);
    at += c->code.size_bytes;
    p->literal = (struct slot *) (void *) at;
    if (c->literals.size_bytes > 0)
        memcpy(at, c->literals.at, c->literals.size_bytes);
    at += c->literals.size_bytes;
    p->known = (struct known_field *) (void *) at;
    if (c->known_count > 0)
        memcpy(at, c->known, c->known_count * sizeof *c->known);
    at += c->known_count * sizeof *c->known;
    at = fill_known(p, at);
    p->bytes = at;
    if (c->bytes.size_bytes > 0)
        memcpy(at, c->bytes.at, c->bytes.size_bytes);
    at += c->bytes.size_bytes;
    for (uint32_t i = 0; i < p->literal_count; i++)
        if (p->literal[i].form == SLOT_AT)
            p->literal[i].at = p->bytes + p->literal[i].offset;
    EG_ASSERT(at == (uint8_t *) p + p->size_bytes);
}

eg_err program_open(struct predicate **out, const struct compiler *c) {
    size_t size_bytes = sizeof(struct predicate) + c->code.size_bytes + c->literals.size_bytes +
                        known_bytes(c) + c->bytes.size_bytes;
    struct predicate *p;
    eg_err err;

    if (size_bytes > PREDICATE_BYTES_MAX)
        return err_note(c->note, EG_TOO_LARGE, "it compiles to more than %d bytes",
                        PREDICATE_BYTES_MAX);
    p = alloc_get(c->alloc, size_bytes);
    if (p == NULL)
        return EG_MEMORY;
    *p = (struct predicate){
        .alloc = c->alloc,
        .size_bytes = size_bytes,
        .arity = c->arity,
        .places = EG_MAX(c->places_max, 1u),
        .code_count = (uint32_t) (c->code.size_bytes / sizeof(struct code)),
        .literal_count = (uint32_t) (c->literals.size_bytes / sizeof(struct slot)),
        .known_count = c->known_count,
        .yields_record = c->yields_record,
        .may_be_deep = c->may_be_deep,
        .key_range = c->key_range && c->yields_record,
        .key_elements = c->key_elements,
    };
    fill(p, c);
    err = predicate_verify(p, c->alloc);
    if (err != EG_OK) {
        predicate_close(p);
        return err_note(c->note, err, "the compiled program was refused");
    }
    *out = p;
    return EG_OK;
}

static eg_err compiler_finish(struct compiler *c, struct predicate **out) {
    eg_err err;

    compiler_end(c);
    err = c->err;
    if (err == EG_OK)
        err = program_open(out, c);
    compiler_fini(c);
    return err;
}

/* ---- open and close --------------------------------------------------------------------- */

eg_err predicate_open(struct predicate **out, struct alloc *a, struct value spec, uint32_t arity,
                      struct err_note *note) {
    struct key_prefix prefix;
    struct compiler c;
    eg_err err;

    if (spec.size_bytes > PREDICATE_BYTES_MAX)
        return err_note(note, EG_TOO_LARGE, "a match specification of more than %d bytes",
                        PREDICATE_BYTES_MAX);
    if (prefix_read(&prefix, spec, arity))
        return prefix_open(out, a, &prefix, note);
    err = compiler_init(&c, a, arity, note);
    if (err != EG_OK)
        return err;
    compiler_add_spec(&c, spec);
    return compiler_finish(&c, out);
}

eg_err predicate_open_exprs(struct predicate **out, struct alloc *a, const struct expr *filter,
                            const struct expr *const *columns, uint32_t column_count,
                            uint32_t arity, struct err_note *note) {
    static const struct expr record = {.op = EXPR_RECORD};
    struct expr array = {.op = EXPR_ARRAY, .count = (uint16_t) column_count};
    struct clause clause = {.guard = &filter, .guard_count = filter != NULL, .sql = true};
    const struct expr **copy;
    struct compiler c;
    eg_err err;

    if (column_count > EXPR_NODES_MAX)
        return err_note(note, EG_TOO_LARGE, "more than %d columns", EXPR_NODES_MAX);
    err = compiler_init(&c, a, arity, note);
    if (err != EG_OK)
        return err;
    clause.body = column_count > 0 ? &array : &record;
    copy = compiler_get(&c, column_count * sizeof(*copy));
    if (copy != NULL) {
        if (column_count > 0)
            memcpy(copy, columns, column_count * sizeof(*copy));
        array.arg = (struct expr *const *) copy;
        compiler_add_clause(&c, &clause);
    }
    return compiler_finish(&c, out);
}

void predicate_close(struct predicate *p) {
    if (p != NULL)
        alloc_put(p->alloc, p, p->size_bytes);
}

bool predicate_yields_record(const struct predicate *p) {
    return p->yields_record;
}

uint32_t predicate_arity(const struct predicate *p) {
    return p->arity;
}

size_t predicate_bytes(const struct predicate *p) {
    return p->size_bytes;
}

uint32_t predicate_weight(const struct predicate *p) {
    enum { INSTRUCTIONS_A_UNIT = 64 }; /* about a microsecond */

    return 1 + p->code_count / INSTRUCTIONS_A_UNIT;
}
