/* text_explain.c -- a plan, told to people. */
#include "query/text_plan.h"

#include <string.h>

enum { HEADER_BYTES = 5, NUMBER_BYTES = 9 };

/* A map whose pairs are counted as they come. */
struct told {
    struct buffer *out;
    size_t count_at; /* of the map16's two bytes */
    uint32_t pairs;
    eg_err err;
};

static void put_bytes(struct told *t, const void *at, size_t size_bytes) {
    if (t->err == EG_OK && !buffer_append(t->out, at, size_bytes))
        t->err = EG_TOO_LARGE;
}

static void put_string(struct told *t, const void *at, size_t size_bytes) {
    uint8_t *room = t->err == EG_OK ? buffer_room(t->out, size_bytes + HEADER_BYTES) : NULL;
    struct value_writer w;

    if (room == NULL) {
        t->err = t->err == EG_OK ? EG_TOO_LARGE : t->err;
        return;
    }
    w = value_writer_init(room, size_bytes + HEADER_BYTES);
    value_put_string(&w, at, size_bytes);
    t->out->size_bytes += w.need_bytes;
}

static void put_number(struct told *t, uint64_t n) {
    uint8_t number[NUMBER_BYTES];
    struct value_writer w = value_writer_init(number, sizeof number);

    value_put_u64(&w, n);
    put_bytes(t, number, w.need_bytes);
}

static struct told begin_map(struct buffer *out) {
    static const uint8_t header[] = {0xde, 0, 0};
    struct told t = {.out = out, .count_at = out->size_bytes + 1};

    put_bytes(&t, header, sizeof header);
    return t;
}

static eg_err end_map(struct told *t) {
    if (t->err == EG_OK) {
        t->out->at[t->count_at] = (uint8_t) (t->pairs >> 8);
        t->out->at[t->count_at + 1] = (uint8_t) t->pairs;
    }
    return t->err;
}

static void tell(struct told *t, const char *name, const char *text) {
    t->pairs++;
    put_string(t, name, strlen(name));
    put_string(t, text, strlen(text));
}

static void tell_number(struct told *t, const char *name, uint64_t n) {
    t->pairs++;
    put_string(t, name, strlen(name));
    put_number(t, n);
}

static const char *path_text(const struct scan_path *path) {
    static const char *const texts[] = {
        [SCAN_NOTHING] = "nothing",
        [SCAN_KEY] = "key",
        [SCAN_KEYS] = "keys",
        [SCAN_KEY_RANGE] = "key range",
        [SCAN_INDEX] = "index",
        [SCAN_INDEX_VALUES] = "index values",
        [SCAN_INDEX_RANGE] = "index range",
        [SCAN_ALL] = "all",
    };

    return texts[path->kind];
}

static void tell_source(struct told *t, const struct text_source *s, const struct scan_path *path,
                        const char *index) {
    tell(t, "table", s->name.text);
    tell(t, "path", path_text(path));
    if (index != NULL)
        tell(t, "index", index);
    if (path->kind == SCAN_KEYS || path->kind == SCAN_INDEX_VALUES)
        tell_number(t, "values", path->point_count);
    tell_number(t, "shards", path->shards);
    tell_number(t, "rows", path->rows);
}

/* Attributes where names alone are grouped by, else how many values. */
static void tell_groups(struct told *t, const struct text_plan *p) {
    if (p->group_count > 0) {
        tell(t, "group", "hash table");
        tell_number(t, "group_values", p->group_count);
    }
    tell_number(t, "aggregates", p->aggregate_count);
    if (p->direct)
        tell(t, "aggregate", "from the record, as it is looked at");
}

static void tell_order(struct told *t, const struct text_plan *p) {
    if (p->by_key)
        tell(t, "sort",
             p->source[0].path.reverse ? "none: as the keys are, from the last"
                                       : "none: as the keys are");
    else if (p->order_count > 0)
        tell(t, "sort", p->limit == TEXT_NO_LIMIT ? "heap of all rows" : "heap of the first rows");
    if (p->limit != TEXT_NO_LIMIT)
        tell_number(t, "limit", p->limit);
    if (p->offset > 0)
        tell_number(t, "offset", p->offset);
}

static void tell_join(struct told *t, const struct text_plan *p) {
    static const char *const methods[] = {[TEXT_JOIN_KEY] = "nested loop by key",
                                          [TEXT_JOIN_INDEX] = "nested loop by index",
                                          [TEXT_JOIN_HASH] = "hash table"};
    const struct text_source *inner = &p->source[1 - p->outer];
    struct told joined;

    tell(t, "join", methods[p->join]);
    t->pairs++;
    put_string(t, "joined", 6);
    if (t->err != EG_OK)
        return;
    joined = begin_map(t->out);
    if (p->join == TEXT_JOIN_HASH)
        tell_source(&joined, inner, &inner->path, inner->index);
    else
        tell_source(&joined, inner, &p->lookup, p->lookup_index);
    t->err = end_map(&joined);
}

eg_err text_plan_explain(const struct text_plan *p, struct buffer *out) {
    static const char *const statements[] = {[TEXT_SELECT] = "select",
                                             [TEXT_INSERT] = "insert",
                                             [TEXT_UPDATE] = "update",
                                             [TEXT_DELETE] = "delete"};
    static const uint8_t one_pair = 0x81;
    struct told whole = {.out = out};
    struct told t;

    put_bytes(&whole, &one_pair, 1);
    put_string(&whole, "plan", 4);
    if (whole.err != EG_OK)
        return whole.err;
    t = begin_map(out);
    tell(&t, "statement", statements[p->statement]);
    if (p->statement == TEXT_INSERT) {
        tell(&t, "table", p->source[0].name.text);
        tell_number(&t, "rows", p->row_count);
        return end_map(&t);
    }
    tell_source(&t, &p->source[p->outer], &p->source[p->outer].path, p->source[p->outer].index);
    if (p->join != TEXT_JOIN_NONE)
        tell_join(&t, p);
    if (p->filter_text.size_bytes > 0) {
        t.pairs++;
        put_string(&t, "filter", 6);
        put_string(&t, p->filter_text.at, p->filter_text.size_bytes);
    }
    if (p->grouped)
        tell_groups(&t, p);
    tell_order(&t, p);
    return end_map(&t);
}
