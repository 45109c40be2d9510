/* schema.c -- reading, checking and writing the options of a table.
 *
 * One table of option names drives the reader: each row says what the option is
 * called and which function takes its value.  What contradicts itself is refused
 * here, so that nothing below has to look again. */
#include "tables/schema.h"

#include "tables/merge_call.h"

#include <string.h>
#include <xxhash.h>

enum { SCHEMA_COPIES_BOUND = 64 };

static const char *const type_names[] = {"set", "ordered_set", "bag"};
static const char *const storage_names[] = {"ram", "disc", "disc_only"};
static const char *const durability_names[] = {"async", "sync"};
static const char *const merge_names[] = {"lww",      "lww_by_attribute", "first", "max",     "min",
                                          "siblings", "counter",          "set",   "callback"};

/* ---- options ------------------------------------------------------------ */

static eg_err bad_option(struct err_note *note, const char *option, const char *expected) {
    return err_note(note, EG_BAD_REQUEST, "option %s: expected %s", option, expected);
}

/* The position of v's text in `names`, or -1. */
static int choice(struct value v, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (value_is_string(v, names[i]))
            return (int) i;
    return -1;
}

static bool name_from_value(struct schema_name *name, struct value v) {
    const uint8_t *at;
    uint32_t size_bytes;

    if (value_kind_of(v) != VALUE_STRING || !value_get_bytes(v, &at, &size_bytes))
        return false;
    if (size_bytes == 0 || size_bytes > SCHEMA_NAME_MAX || memchr(at, 0, size_bytes) != NULL)
        return false;
    memcpy(name->text, at, size_bytes);
    name->text[size_bytes] = '\0';
    name->size_bytes = (uint8_t) size_bytes;
    return true;
}

static eg_err take_type(struct schema *s, struct value v, struct err_note *note) {
    int n = choice(v, type_names, EG_COUNTOF(type_names));
    if (n < 0)
        return bad_option(note, "type", "\"set\", \"ordered_set\" or \"bag\"");
    s->type = (enum table_type) n;
    return EG_OK;
}

bool schema_storage(struct value v, enum table_storage *out) {
    int n = choice(v, storage_names, EG_COUNTOF(storage_names));
    if (n < 0)
        return false;
    *out = (enum table_storage) n;
    return true;
}

static eg_err take_storage(struct schema *s, struct value v, struct err_note *note) {
    return schema_storage(v, &s->storage)
               ? EG_OK
               : bad_option(note, "storage", "\"ram\", \"disc\" or \"disc_only\"");
}

static eg_err take_durability(struct schema *s, struct value v, struct err_note *note) {
    int n = choice(v, durability_names, EG_COUNTOF(durability_names));
    if (n < 0)
        return bad_option(note, "durability", "\"async\" or \"sync\"");
    s->durability = (enum table_durability) n;
    return EG_OK;
}

static eg_err take_merge(struct schema *s, struct value v, struct err_note *note) {
    int n = choice(v, merge_names, EG_COUNTOF(merge_names));
    if (n < 0)
        return bad_option(note, "merge", "the name of a merge policy");
    s->merge = (enum table_merge) n;
    return EG_OK;
}

static eg_err keep_callback(struct schema *s, struct value v) {
    uint8_t *at = alloc_get(s->alloc, v.size_bytes);

    if (at == NULL)
        return EG_MEMORY;
    memcpy(at, v.at, v.size_bytes);
    s->callback = (struct value){at, v.size_bytes};
    return EG_OK;
}

static void drop_callback(struct schema *s) {
    alloc_put(s->alloc, (uint8_t *) s->callback.at, s->callback.size_bytes);
    s->callback = (struct value){NULL, 0};
}

/* Taken after the policy is known. */
static eg_err take_callback(struct schema *s, struct value v, struct err_note *note) {
    eg_err err;

    if (s->merge != MERGE_CALLBACK)
        return err_note(note, EG_BAD_REQUEST, "option callback is for merge: \"callback\"");
    err = merge_call_check(s->alloc, v, note);
    if (err != EG_OK)
        return err;
    drop_callback(s); /* it stands twice: the last */
    return keep_callback(s, v);
}

static eg_err take_majority(struct schema *s, struct value v, struct err_note *note) {
    return value_get_bool(v, &s->majority) ? EG_OK : bad_option(note, "majority", "true or false");
}

static eg_err take_cache(struct schema *s, struct value v, struct err_note *note) {
    return value_get_bool(v, &s->cache) ? EG_OK : bad_option(note, "cache", "true or false");
}

static eg_err take_copies(struct schema *s, struct value v, struct err_note *note) {
    uint64_t n;
    if (value_is_string(v, "all")) {
        s->copies = SCHEMA_COPIES_ALL;
        return EG_OK;
    }
    if (!value_get_u64(v, &n) || n < 1 || n > SCHEMA_COPIES_BOUND)
        return bad_option(note, "copies", "\"all\" or a number from 1 to 64");
    s->copies = (uint32_t) n;
    return EG_OK;
}

static eg_err take_acks(struct schema *s, struct value v, struct err_note *note) {
    uint64_t n;

    s->acks_one = value_is_integer(v) && value_get_u64(v, &n) && n == 1;
    if (s->acks_one || value_is_string(v, "all"))
        return EG_OK;
    return bad_option(note, "acks", "\"all\" or 1");
}

static eg_err take_shards(struct schema *s, struct value v, struct err_note *note) {
    uint64_t n;
    if (!value_get_u64(v, &n) || n < 1 || n > SCHEMA_SHARDS_MAX)
        return bad_option(note, "shards", "a number from 1 to 256");
    s->shards = (uint32_t) n;
    return EG_OK;
}

static eg_err take_ttl(struct schema *s, struct value v, struct err_note *note) {
    double seconds;
    if (value_kind_of(v) == VALUE_NIL) {
        s->ttl_ms = 0;
        return EG_OK;
    }
    if (value_kind_of(v) != VALUE_NUMBER || !value_get_double(v, &seconds) ||
        !schema_ttl_ms(seconds, &s->ttl_ms))
        return bad_option(note, "ttl", "seconds above 0, at most a century");
    return EG_OK;
}

static eg_err take_max_bytes(struct schema *s, struct value v, struct err_note *note) {
    if (value_kind_of(v) == VALUE_NIL) {
        s->max_bytes = 0;
        return EG_OK;
    }
    if (!value_get_u64(v, &s->max_bytes) || s->max_bytes == 0)
        return bad_option(note, "max_bytes", "a number of bytes above 0");
    return EG_OK;
}

static eg_err take_id(struct schema *s, struct value v, struct err_note *note) {
    return value_get_u64(v, &s->id) ? EG_OK : bad_option(note, "id", "a number");
}

static eg_err take_seed(struct schema *s, struct value v, struct err_note *note) {
    return value_get_u64(v, &s->seed) ? EG_OK : bad_option(note, "seed", "a number");
}

static eg_err take_table(struct schema *s, struct value v, struct err_note *note) {
    return name_from_value(&s->name, v) ? EG_OK : bad_option(note, "table", "a table's name");
}

static eg_err take_version(struct schema *s, struct value v, struct err_note *note) {
    return value_get_u64(v, &s->version) ? EG_OK : bad_option(note, "version", "a number");
}

static eg_err take_layout(struct schema *s, struct value v, struct err_note *note) {
    return value_get_u64(v, &s->layout) ? EG_OK : bad_option(note, "layout", "a number");
}

uint64_t schema_next_layout(const struct schema *s, struct value change) {
    return XXH3_64bits_withSeed(change.at, change.size_bytes, s->layout);
}

eg_err schema_set_attributes(struct schema *s, struct value v, struct err_note *note) {
    struct value_iter it;
    struct value element;
    uint32_t count;

    if (value_kind_of(v) != VALUE_ARRAY)
        return bad_option(note, "attributes", "an array of names");
    count = value_count(v);
    if (count < 1 || count > SCHEMA_ATTRIBUTES_MAX)
        return bad_option(note, "attributes", "1 to 256 names");
    alloc_put(s->alloc, s->attributes, s->attribute_count * sizeof *s->attributes);
    s->attribute_count = 0;
    s->attributes = alloc_get(s->alloc, count * sizeof *s->attributes);
    if (s->attributes == NULL)
        return EG_MEMORY;
    s->attribute_count = count;
    memset(s->attributes, 0, count * sizeof *s->attributes);
    it = value_iter_of(v);
    for (uint32_t i = 0; value_iter_next(&it, &element); i++) {
        if (!name_from_value(&s->attributes[i], element))
            return bad_option(note, "attributes", "names of 1 to 255 bytes");
        if (schema_attribute(s, s->attributes[i].text, s->attributes[i].size_bytes) != (int) i)
            return err_note(note, EG_BAD_REQUEST, "option attributes: %s stands twice",
                            s->attributes[i].text);
    }
    return EG_OK;
}

/* Taken after the attributes are known. */
static eg_err take_index(struct schema *s, struct value v, struct err_note *note) {
    struct value_iter it;
    struct value element;

    if (value_kind_of(v) != VALUE_ARRAY)
        return bad_option(note, "index", "an array of attributes");
    it = value_iter_of(v);
    while (value_iter_next(&it, &element)) {
        struct index_spec spec;
        eg_err err = index_spec_parse(&spec, schema_attributes(s), element, note);

        if (err == EG_OK)
            err = schema_add_index(s, &spec, note);
        if (err != EG_OK)
            return err == EG_EXISTS ? EG_BAD_REQUEST : err; /* it stands twice */
    }
    return EG_OK;
}

/* The ids under which the disc has the rows of each. */
static eg_err take_index_ids(struct schema *s, struct value v, struct err_note *note) {
    struct value_iter it;
    struct value element;
    uint64_t id;

    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) != s->index_count)
        return bad_option(note, "index_ids", "a number for each index");
    it = value_iter_of(v);
    for (uint32_t i = 0; value_iter_next(&it, &element); i++) {
        if (!value_get_u64(element, &id) || id >= UINT16_MAX)
            return bad_option(note, "index_ids", "a number for each index");
        s->index[i]->id = (uint16_t) id;
    }
    return EG_OK;
}

struct option {
    const char *name;
    eg_err (*take)(struct schema *s, struct value v, struct err_note *note);
};

/* In the order they are applied: what others depend on comes first. */
static const struct option options_known[] = {
    {"type", take_type},     {"storage", take_storage},     {"attributes", schema_set_attributes},
    {"index", take_index},   {"copies", take_copies},       {"shards", take_shards},
    {"merge", take_merge},   {"majority", take_majority},   {"durability", take_durability},
    {"ttl", take_ttl},       {"cache", take_cache},         {"max_bytes", take_max_bytes},
    {"id", take_id},         {"seed", take_seed},           {"version", take_version},
    {"table", take_table},   {"index_ids", take_index_ids}, {"acks", take_acks},
    {"layout", take_layout}, {"callback", take_callback},
};

static eg_err refuse_unknown(struct value options, struct err_note *note) {
    struct value_iter it = value_iter_of(options);
    struct value name, v;

    while (value_iter_next(&it, &name) && value_iter_next(&it, &v)) {
        bool known = false;
        const uint8_t *at;
        uint32_t size_bytes;

        for (size_t i = 0; i < EG_COUNTOF(options_known) && !known; i++)
            known = value_is_string(name, options_known[i].name);
        if (known)
            continue;
        if (value_kind_of(name) != VALUE_STRING || !value_get_bytes(name, &at, &size_bytes))
            return err_note(note, EG_BAD_REQUEST, "the name of an option must be a string");
        return err_note(note, EG_BAD_REQUEST, "unknown option %.*s", (int) EG_MIN(size_bytes, 64u),
                        (const char *) at);
    }
    return EG_OK;
}

static eg_err take_options(struct schema *s, struct value options, struct err_note *note) {
    eg_err err;

    if (options.size_bytes == 0 || value_kind_of(options) == VALUE_NIL)
        return EG_OK;
    if (value_kind_of(options) != VALUE_MAP)
        return err_note(note, EG_BAD_REQUEST, "the options of a table are a map");
    err = refuse_unknown(options, note);
    for (size_t i = 0; i < EG_COUNTOF(options_known) && err == EG_OK; i++) {
        struct value_iter it = value_iter_of(options);
        struct value name, v;

        while (err == EG_OK && value_iter_next(&it, &name) && value_iter_next(&it, &v))
            if (value_is_string(name, options_known[i].name))
                err = options_known[i].take(s, v, note);
    }
    return err;
}

/* ---- the whole ----------------------------------------------------------- */

static eg_err default_attributes(struct schema *s) {
    static const char *const names[] = {"key", "value"};

    s->attributes = alloc_zero(s->alloc, EG_COUNTOF(names) * sizeof *s->attributes);
    if (s->attributes == NULL)
        return EG_MEMORY;
    s->attribute_count = EG_COUNTOF(names);
    for (size_t i = 0; i < EG_COUNTOF(names); i++) {
        s->attributes[i].size_bytes = (uint8_t) strlen(names[i]);
        memcpy(s->attributes[i].text, names[i], strlen(names[i]) + 1);
    }
    return EG_OK;
}

eg_err schema_check(const struct schema *s, struct err_note *note) {
    if (s->cache && s->max_bytes == 0)
        return err_note(note, EG_BAD_REQUEST, "a cache table needs max_bytes");
    if (s->cache && s->storage != STORAGE_RAM)
        return err_note(note, EG_BAD_REQUEST, "a cache table is a ram table");
    if (s->durability == DURABILITY_SYNC && s->storage == STORAGE_RAM)
        return err_note(note, EG_BAD_REQUEST, "a ram table cannot be durable: storage disc");
    if (s->majority && s->acks_one)
        return err_note(note, EG_BAD_REQUEST, "a majority is more than acks 1");
    if (s->majority && s->cache)
        return err_note(note, EG_BAD_REQUEST, "what a cache gives up no majority can promise");
    return EG_OK;
}

static uint32_t default_shards(const struct schema *s) {
    if (s->copies != SCHEMA_COPIES_ALL)
        return SCHEMA_SHARDS_PLACED;
    return s->type == TABLE_ORDERED_SET ? SCHEMA_SHARDS_ORDERED : SCHEMA_SHARDS_HASHED;
}

eg_err schema_parse(struct schema *s, struct alloc *a, const char *name, size_t name_bytes,
                    struct value options, struct err_note *note) {
    eg_err err;

    if (name_bytes == 0 || name_bytes > SCHEMA_NAME_MAX || memchr(name, 0, name_bytes) != NULL)
        return err_note(note, EG_BAD_REQUEST, "a table's name has 1 to 255 bytes, none of them 0");
    *s = (struct schema){.alloc = a, .copies = SCHEMA_COPIES_ALL};
    memcpy(s->name.text, name, name_bytes);
    s->name.size_bytes = (uint8_t) name_bytes;
    s->stored_name = s->name;
    err = default_attributes(s);
    if (err == EG_OK)
        err = take_options(s, options, note);
    if (s->shards == 0)
        s->shards = default_shards(s);
    if (err == EG_OK)
        err = schema_check(s, note);
    if (err != EG_OK)
        schema_fini(s);
    return err;
}

eg_err schema_copy(struct schema *to, const struct schema *from) {
    size_t size_bytes = from->attribute_count * sizeof *from->attributes;
    struct schema_name *attributes = alloc_get(from->alloc, size_bytes);

    if (attributes == NULL)
        return EG_MEMORY;
    memcpy(attributes, from->attributes, size_bytes);
    *to = *from;
    to->attributes = attributes;
    to->callback = (struct value){NULL, 0};
    if (from->callback.size_bytes != 0 && keep_callback(to, from->callback) != EG_OK) {
        to->index_count = 0;
        schema_fini(to);
        return EG_MEMORY;
    }
    for (uint32_t i = 0; i < from->index_count; i++) {
        to->index[i] = alloc_get(from->alloc, sizeof *to->index[i]);
        if (to->index[i] == NULL) {
            to->index_count = i;
            schema_fini(to);
            return EG_MEMORY;
        }
        *to->index[i] = *from->index[i];
    }
    return EG_OK;
}

void schema_fini(struct schema *s) {
    while (s->index_count > 0)
        schema_drop_index(s, s->index[s->index_count - 1]->id);
    alloc_put(s->alloc, s->attributes, s->attribute_count * sizeof *s->attributes);
    s->attributes = NULL;
    s->attribute_count = 0;
    drop_callback(s);
}

enum { OPTIONS = 13 }; /* that every table has */

uint32_t schema_option_count(const struct schema *s) {
    return OPTIONS + (s->callback.size_bytes != 0);
}

void schema_put_options(const struct schema *s, struct value_writer *w) {
    value_put_text(w, "type");
    value_put_text(w, type_names[s->type]);
    value_put_text(w, "storage");
    value_put_text(w, storage_names[s->storage]);
    value_put_text(w, "attributes");
    value_put_array(w, s->attribute_count);
    for (uint32_t i = 0; i < s->attribute_count; i++)
        value_put_string(w, s->attributes[i].text, s->attributes[i].size_bytes);
    value_put_text(w, "index");
    value_put_array(w, s->index_count);
    for (uint32_t i = 0; i < s->index_count; i++)
        index_spec_put(s->index[i], schema_attributes(s), w);
    value_put_text(w, "copies");
    if (s->copies == SCHEMA_COPIES_ALL)
        value_put_text(w, "all");
    else
        value_put_u64(w, s->copies);
    value_put_text(w, "acks");
    if (s->acks_one)
        value_put_u64(w, 1);
    else
        value_put_text(w, "all");
    value_put_text(w, "shards");
    value_put_u64(w, s->shards);
    value_put_text(w, "merge");
    value_put_text(w, merge_names[s->merge]);
    if (s->callback.size_bytes != 0) {
        value_put_text(w, "callback");
        value_put_raw(w, s->callback);
    }
    value_put_text(w, "majority");
    value_put_bool(w, s->majority);
    value_put_text(w, "durability");
    value_put_text(w, durability_names[s->durability]);
    value_put_text(w, "ttl");
    if (s->ttl_ms == 0)
        value_put_nil(w);
    else
        value_put_double(w, (double) s->ttl_ms / 1000.0);
    value_put_text(w, "cache");
    value_put_bool(w, s->cache);
    value_put_text(w, "max_bytes");
    if (s->max_bytes == 0)
        value_put_nil(w);
    else
        value_put_u64(w, s->max_bytes);
}

static void encode_into(const struct schema *s, struct value_writer *w) {
    bool renamed = strcmp(s->name.text, s->stored_name.text) != 0;

    value_put_map(w, schema_option_count(s) + 4u + renamed + (s->layout != 0));
    schema_put_options(s, w);
    value_put_text(w, "id");
    value_put_u64(w, s->id);
    value_put_text(w, "seed");
    value_put_u64(w, s->seed);
    value_put_text(w, "version");
    value_put_u64(w, s->version);
    if (s->layout != 0) {
        value_put_text(w, "layout");
        value_put_u64(w, s->layout);
    }
    value_put_text(w, "index_ids");
    value_put_array(w, s->index_count);
    for (uint32_t i = 0; i < s->index_count; i++)
        value_put_u64(w, s->index[i]->id);
    if (renamed) {
        value_put_text(w, "table");
        value_put_string(w, s->name.text, s->name.size_bytes);
    }
}

eg_err schema_encode(const struct schema *s, struct buffer *out) {
    struct value_writer measure = value_writer_init(NULL, 0);
    struct value_writer w;
    uint8_t *room;

    encode_into(s, &measure);
    room = buffer_room(out, measure.need_bytes);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, measure.need_bytes);
    encode_into(s, &w);
    EG_ASSERT(!w.overflow);
    out->size_bytes += measure.need_bytes;
    return EG_OK;
}

bool schema_ttl_ms(double seconds, uint64_t *ttl_ms) {
    /* A century: longer is a mistake in units, and stays clear of overflow. */
    const double bound_s = 100.0 * 366 * 24 * 3600;

    if (!(seconds > 0) || seconds > bound_s) /* NaN fails the first test */
        return false;
    *ttl_ms = (uint64_t) (seconds * 1000.0);
    if (*ttl_ms == 0)
        *ttl_ms = 1;
    return true;
}

int schema_attribute(const struct schema *s, const char *name, size_t name_bytes) {
    for (uint32_t i = 0; i < s->attribute_count; i++)
        if (s->attributes[i].size_bytes == name_bytes &&
            memcmp(s->attributes[i].text, name, name_bytes) == 0)
            return (int) i;
    return -1;
}

/* ---- indexes ----------------------------------------------------------------- */

const struct index_spec *schema_index(const struct schema *s, const char *name, size_t name_bytes) {
    const struct index_spec *found = NULL;

    for (uint32_t i = 0; i < s->index_count; i++)
        if (index_spec_called(s->index[i], schema_attributes(s), name, name_bytes))
            return s->index[i];
    for (uint32_t i = 0; i < s->index_count; i++) {
        const struct index_spec *x = s->index[i];

        if (!index_spec_begins(x, schema_attributes(s), name, name_bytes))
            continue;
        if (x->part_count == 1)
            return x;
        if (found == NULL)
            found = x;
    }
    return found;
}

const struct index_spec *schema_index_at(const struct schema *s, uint32_t position) {
    for (uint32_t i = 0; i < s->index_count; i++)
        if (s->index[i]->part_count == 1 && index_spec_part_is(s->index[i], 0, position, NULL, 0))
            return s->index[i];
    return NULL;
}

static bool id_is_taken(const struct schema *s, uint32_t id) {
    for (uint32_t i = 0; i < s->index_count; i++)
        if (s->index[i]->id == id)
            return true;
    return false;
}

eg_err schema_add_index(struct schema *s, const struct index_spec *spec, struct err_note *note) {
    struct index_spec *x;
    char title[INDEX_TITLE_BYTES_MAX];
    size_t bytes = index_spec_title(spec, schema_attributes(s), title);

    for (uint32_t i = 0; i < s->index_count; i++)
        if (index_spec_called(s->index[i], schema_attributes(s), title, bytes) ||
            index_spec_same(s->index[i], spec))
            return err_note(note, EG_EXISTS, "there is an index on %.*s", (int) EG_MIN(bytes, 64u),
                            title);
    if (s->index_count == SCHEMA_INDEXES_MAX)
        return err_note(note, EG_BAD_REQUEST, "a table has at most %d indexes", SCHEMA_INDEXES_MAX);
    x = alloc_get(s->alloc, sizeof *x);
    if (x == NULL)
        return EG_MEMORY;
    *x = *spec;
    if (id_is_taken(s, x->id))
        x->id = INDEX_ID_PATHS;
    while (id_is_taken(s, x->id))
        x->id++;
    s->index[s->index_count++] = x;
    return EG_OK;
}

void schema_drop_index(struct schema *s, uint32_t id) {
    uint32_t count = 0;

    for (uint32_t i = 0; i < s->index_count; i++)
        if (s->index[i]->id == id)
            alloc_put(s->alloc, s->index[i], sizeof *s->index[i]);
        else
            s->index[count++] = s->index[i];
    s->index_count = count;
}
