/* predicate.c -- programs are opened: compiled, put into one block, verified.
 *
 *     | struct predicate | code ... | literals ... | ranges ... | bytes ... |
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

static size_t ranges_value_bytes(const struct compiler *c) {
    size_t bytes = 0;

    for (uint32_t i = 0; i < c->range_count; i++)
        bytes += (size_t) c->range[i].range.low.value.size_bytes +
                 c->range[i].range.high.value.size_bytes;
    return bytes;
}

static uint8_t *copy_end(struct range_end *end, uint8_t *at) {
    if (!end->given)
        return at;
    memcpy(at, end->value.at, end->value.size_bytes);
    end->value.at = at;
    return at + end->value.size_bytes;
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
    p->range = (struct position_range *) (void *) at;
    if (c->range_count > 0)
        memcpy(at, c->range, c->range_count * sizeof *c->range);
    at += c->range_count * sizeof *c->range;
    p->bytes = at;
    if (c->bytes.size_bytes > 0)
        memcpy(at, c->bytes.at, c->bytes.size_bytes);
    at += c->bytes.size_bytes;
    for (uint32_t i = 0; i < p->literal_count; i++)
        if (p->literal[i].form == SLOT_AT)
            p->literal[i].at = p->bytes + p->literal[i].offset;
    for (uint32_t i = 0; i < p->range_count; i++) {
        at = copy_end(&p->range[i].range.low, at);
        at = copy_end(&p->range[i].range.high, at);
    }
    EG_ASSERT(at == (uint8_t *) p + p->size_bytes);
}

static eg_err program_open(struct predicate **out, const struct compiler *c) {
    size_t size_bytes = sizeof(struct predicate) + c->code.size_bytes + c->literals.size_bytes +
                        c->range_count * sizeof *c->range + c->bytes.size_bytes +
                        ranges_value_bytes(c);
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
        .range_count = c->range_count,
        .yields_record = c->yields_record,
        .may_be_deep = c->may_be_deep,
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
    struct compiler c;
    eg_err err;

    if (spec.size_bytes > PREDICATE_BYTES_MAX)
        return err_note(note, EG_TOO_LARGE, "a match specification of more than %d bytes",
                        PREDICATE_BYTES_MAX);
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
