/* index_spec.c -- reading, writing and following what an index is ordered by. */
#include "tables/index_spec.h"

#include "tables/record.h"
#include "tables/schema.h"

#include <string.h>

static const uint8_t nil_byte = 0xc0;

/* ---- reading -------------------------------------------------------------------- */

/* A string's text; false: v is none, or has a zero byte. */
static bool text_of(struct value v, const char **text, uint32_t *bytes) {
    const uint8_t *at;

    if (value_kind_of(v) != VALUE_STRING || !value_get_bytes(v, &at, bytes))
        return false;
    *text = (const char *) at;
    return memchr(at, 0, *bytes) == NULL;
}

static int attribute_at(struct index_attributes of, const char *name, size_t bytes) {
    for (uint32_t i = 0; i < of.count; i++)
        if (of.name[i].size_bytes == bytes && memcmp(of.name[i].text, name, bytes) == 0)
            return (int) i;
    return -1;
}

/* The attribute that the text begins with; the longest where several do, for a name may
 * have dots of its own.  *used is what it takes of the text. */
static int longest_attribute(struct index_attributes of, const char *text, size_t bytes,
                             size_t *used) {
    for (size_t end = bytes + 1; end-- > 0;) {
        int position;

        if (end != bytes && text[end] != '.')
            continue;
        position = attribute_at(of, text, end);
        if (position >= 0) {
            *used = end;
            return position;
        }
    }
    return -1;
}

/* The number that a step's text is, written as numbers are; -1: none. */
static int32_t element_of(const char *text, size_t bytes) {
    int32_t n = 0;

    if (bytes == 0 || bytes > 9 || (bytes > 1 && text[0] == '0'))
        return -1;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        n = 10 * n + (text[i] - '0');
    }
    return n;
}

static eg_err add_step(struct index_spec *x, const char *text, size_t bytes,
                       struct err_note *note) {
    if (bytes == 0)
        return err_note(note, EG_BAD_REQUEST, "option index: a path has an empty step");
    if (x->step_count == INDEX_STEPS_MAX || x->text_bytes + bytes > INDEX_TEXT_BYTES_MAX)
        return err_note(note, EG_BAD_REQUEST,
                        "option index: at most %d steps and %d bytes of paths", INDEX_STEPS_MAX,
                        INDEX_TEXT_BYTES_MAX);
    x->step[x->step_count++] = (struct index_step){.text_at = x->text_bytes,
                                                   .text_bytes = (uint16_t) bytes,
                                                   .element = element_of(text, bytes)};
    memcpy(x->text + x->text_bytes, text, bytes);
    x->text_bytes = (uint16_t) (x->text_bytes + bytes);
    return EG_OK;
}

static eg_err add_part(struct index_spec *x, struct index_attributes of, struct value v,
                       struct err_note *note) {
    struct index_part *part = &x->part[x->part_count];
    uint32_t bytes;
    const char *text;
    size_t used = 0;
    eg_err err = EG_OK;
    int position;

    if (!text_of(v, &text, &bytes))
        return err_note(note, EG_BAD_REQUEST, "option index: an attribute's name is a string");
    position = longest_attribute(of, text, bytes, &used);
    if (position < 0)
        return err_note(note, EG_BAD_REQUEST, "option index: no attribute %.*s",
                        (int) EG_MIN(bytes, 64u), text);
    *part = (struct index_part){.position = (uint16_t) position, .step_at = x->step_count};
    while (err == EG_OK && used < bytes) { /* text[used] is a dot */
        const char *step = text + used + 1;
        const char *dot = memchr(step, '.', bytes - used - 1);
        size_t step_bytes = dot == NULL ? bytes - used - 1 : (size_t) (dot - step);

        err = add_step(x, step, step_bytes, note);
        used += 1 + step_bytes;
    }
    part->step_count = (uint8_t) (x->step_count - part->step_at);
    x->part_count++;
    return err;
}

static eg_err take_on(struct index_spec *x, struct index_attributes of, struct value v,
                      struct err_note *note) {
    struct value_iter it;
    struct value element;
    eg_err err = EG_OK;

    if (value_kind_of(v) != VALUE_ARRAY)
        return add_part(x, of, v, note);
    if (value_count(v) < 1 || value_count(v) > INDEX_PARTS_MAX)
        return err_note(note, EG_BAD_REQUEST, "option index: on 1 to %d attributes",
                        INDEX_PARTS_MAX);
    it = value_iter_of(v);
    while (err == EG_OK && value_iter_next(&it, &element))
        err = add_part(x, of, element, note);
    return err;
}

static eg_err take_name(struct index_spec *x, struct value v, struct err_note *note) {
    uint32_t bytes;
    const char *text;

    if (!text_of(v, &text, &bytes) || bytes == 0 || bytes > INDEX_NAME_BYTES_MAX)
        return err_note(note, EG_BAD_REQUEST, "option index: a name has 1 to 255 bytes");
    memcpy(x->name, text, bytes);
    x->name_bytes = (uint8_t) bytes;
    return EG_OK;
}

static eg_err take_map(struct index_spec *x, struct index_attributes of, struct value map,
                       struct err_note *note) {
    struct value_iter it = value_iter_of(map);
    struct value name, v;
    eg_err err = EG_OK;

    while (err == EG_OK && value_iter_next(&it, &name) && value_iter_next(&it, &v)) {
        if (value_is_string(name, "on") && x->part_count == 0)
            err = take_on(x, of, v, note);
        else if (value_is_string(name, "name"))
            err = take_name(x, v, note);
        else if (!value_is_string(name, "unique"))
            err = err_note(note, EG_BAD_REQUEST, "option index: a map of on, unique and name");
        else if (!value_get_bool(v, &x->unique))
            err = err_note(note, EG_BAD_REQUEST, "option index: unique is true or false");
    }
    if (err == EG_OK && x->part_count == 0)
        err = err_note(note, EG_BAD_REQUEST, "option index: a map says what it is on");
    return err;
}

struct index_spec index_spec_of(uint16_t position) {
    return (struct index_spec){.id = position, .part_count = 1, .part = {{.position = position}}};
}

/* A name that says no more than the parts do is none. */
static void drop_needless_name(struct index_spec *x, struct index_attributes of) {
    char title[INDEX_TITLE_BYTES_MAX];
    uint8_t name_bytes = x->name_bytes;
    size_t bytes;

    x->name_bytes = 0;
    bytes = index_spec_title(x, of, title);
    if (bytes != name_bytes || memcmp(title, x->name, bytes) != 0)
        x->name_bytes = name_bytes;
}

eg_err index_spec_parse(struct index_spec *x, struct index_attributes of, struct value v,
                        struct err_note *note) {
    eg_err err;

    memset(x, 0, sizeof *x);
    if (v.size_bytes == 0)
        return err_note(note, EG_BAD_REQUEST, "option index: an attribute's name is a string");
    err = value_kind_of(v) == VALUE_MAP ? take_map(x, of, v, note) : add_part(x, of, v, note);
    if (err != EG_OK)
        return err;
    if (x->part[0].position == 0 && x->part[0].step_count == 0)
        return err_note(note, EG_BAD_REQUEST, "option index: the key is found without one");
    for (uint32_t i = 1; i < x->part_count; i++)
        for (uint32_t before = 0; before < i; before++) {
            struct index_spec one = *x, other = *x;

            one.part[0] = x->part[i];
            other.part[0] = x->part[before];
            one.part_count = other.part_count = 1;
            if (index_spec_same(&one, &other))
                return err_note(note, EG_BAD_REQUEST, "option index: a part stands twice");
        }
    drop_needless_name(x, of);
    x->id = x->part_count == 1 && x->step_count == 0 ? x->part[0].position : INDEX_ID_PATHS;
    return EG_OK;
}

/* ---- writing ---------------------------------------------------------------------- */

/* A text that counts on past its end. */
struct title {
    char *at;
    size_t bytes;
};

static void title_add(struct title *t, const char *at, size_t bytes) {
    size_t room = INDEX_TITLE_BYTES_MAX - 1 - t->bytes;

    bytes = EG_MIN(bytes, room);
    memcpy(t->at + t->bytes, at, bytes);
    t->bytes += bytes;
}

static void title_add_part(struct title *t, const struct index_spec *x, struct index_attributes of,
                           uint32_t i) {
    const struct index_part *part = &x->part[i];

    title_add(t, of.name[part->position].text, of.name[part->position].size_bytes);
    for (uint32_t n = 0; n < part->step_count; n++) {
        const struct index_step *step = &x->step[part->step_at + n];
        title_add(t, ".", 1);
        title_add(t, x->text + step->text_at, step->text_bytes);
    }
}

size_t index_spec_title(const struct index_spec *x, struct index_attributes of,
                        char title[INDEX_TITLE_BYTES_MAX]) {
    struct title t = {title, 0};

    if (x->name_bytes != 0)
        title_add(&t, x->name, x->name_bytes);
    for (uint32_t i = 0; x->name_bytes == 0 && i < x->part_count; i++) {
        if (i > 0)
            title_add(&t, ",", 1);
        title_add_part(&t, x, of, i);
    }
    title[t.bytes] = '\0';
    return t.bytes;
}

static void put_part(const struct index_spec *x, struct index_attributes of, uint32_t i,
                     struct value_writer *w) {
    char text[INDEX_TITLE_BYTES_MAX];
    struct title t = {text, 0};

    title_add_part(&t, x, of, i);
    value_put_string(w, text, t.bytes);
}

void index_spec_put(const struct index_spec *x, struct index_attributes of,
                    struct value_writer *w) {
    char title[INDEX_TITLE_BYTES_MAX];
    size_t bytes = index_spec_title(x, of, title);

    if (x->part_count == 1 && !x->unique && x->name_bytes == 0) {
        put_part(x, of, 0, w);
        return;
    }
    value_put_map(w, 3);
    value_put_text(w, "name");
    value_put_string(w, title, bytes);
    value_put_text(w, "on");
    value_put_array(w, x->part_count);
    for (uint32_t i = 0; i < x->part_count; i++)
        put_part(x, of, i, w);
    value_put_text(w, "unique");
    value_put_bool(w, x->unique);
}

/* ---- comparing ---------------------------------------------------------------------- */

bool index_spec_called(const struct index_spec *x, struct index_attributes of, const char *name,
                       size_t name_bytes) {
    char title[INDEX_TITLE_BYTES_MAX];

    return index_spec_title(x, of, title) == name_bytes && memcmp(title, name, name_bytes) == 0;
}

bool index_spec_begins(const struct index_spec *x, struct index_attributes of, const char *path,
                       size_t path_bytes) {
    char text[INDEX_TITLE_BYTES_MAX];
    struct title t = {text, 0};

    title_add_part(&t, x, of, 0);
    return t.bytes == path_bytes && memcmp(text, path, path_bytes) == 0;
}

static bool step_is(const struct index_spec *x, const struct index_step *step, struct value v) {
    uint32_t bytes;
    const char *text;
    uint64_t n;

    if (text_of(v, &text, &bytes))
        return bytes == step->text_bytes && memcmp(text, x->text + step->text_at, bytes) == 0;
    return step->element >= 0 && value_get_u64(v, &n) && n == (uint64_t) step->element;
}

bool index_spec_part_is(const struct index_spec *x, uint32_t i, uint32_t position,
                        const struct value *path, uint32_t path_count) {
    const struct index_part *part = &x->part[i];

    if (part->position != position || part->step_count != path_count)
        return false;
    for (uint32_t n = 0; n < path_count; n++) {
        const struct index_step *step = &x->step[part->step_at + n];
        if ((step->element >= 0) != value_is_integer(path[n]) || !step_is(x, step, path[n]))
            return false;
    }
    return true;
}

bool index_spec_same(const struct index_spec *a, const struct index_spec *b) {
    if (a->part_count != b->part_count)
        return false;
    for (uint32_t i = 0; i < a->part_count; i++) {
        const struct index_part *p = &a->part[i], *q = &b->part[i];

        if (p->position != q->position || p->step_count != q->step_count)
            return false;
        for (uint32_t n = 0; n < p->step_count; n++) {
            const struct index_step *s = &a->step[p->step_at + n], *t = &b->step[q->step_at + n];
            if (s->text_bytes != t->text_bytes ||
                memcmp(a->text + s->text_at, b->text + t->text_at, s->text_bytes) != 0)
                return false;
        }
    }
    return true;
}

/* ---- following ------------------------------------------------------------------------ */

/* The value under a map's key that is the step; NULL: none. */
static const uint8_t *map_step(const struct index_spec *x, const struct index_step *step,
                               struct value map) {
    struct value_iter it = value_iter_of(map);
    struct value key, v;

    while (value_iter_next(&it, &key) && value_iter_next(&it, &v))
        if (step_is(x, step, key))
            return v.at;
    return NULL;
}

static const uint8_t *one_step(const struct index_spec *x, const struct index_step *step,
                               struct value v) {
    struct value element;

    if (value_kind_of(v) == VALUE_MAP)
        return map_step(x, step, v);
    if (value_kind_of(v) == VALUE_ARRAY && step->element >= 0 &&
        array_element(v, (uint32_t) step->element, &element))
        return element.at;
    return NULL;
}

struct value index_spec_follow(const struct index_spec *x, uint32_t i, struct value attribute) {
    const struct index_part *part = &x->part[i];
    struct value v = attribute;

    for (uint32_t n = 0; n < part->step_count; n++) {
        const uint8_t *at = one_step(x, &x->step[part->step_at + n], v);
        if (at == NULL)
            return (struct value){&nil_byte, 1};
        v = value_of(at);
    }
    return v;
}

struct value index_spec_field(const struct index_spec *x, uint32_t i, struct value array) {
    struct value attribute;

    if (!array_element(array, x->part[i].position, &attribute))
        return (struct value){&nil_byte, 1};
    return index_spec_follow(x, i, attribute);
}

/* ---- stretches ------------------------------------------------------------------------ */

bool index_bounds_hold(const struct index_bounds *b, const struct value *parts) {
    for (uint32_t i = 0; i < b->equal_count; i++)
        if (!value_equal(parts[i], b->equal[i]))
            return false;
    return b->range == NULL || range_holds(b->range, parts[b->equal_count]);
}
