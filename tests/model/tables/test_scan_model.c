/* Goal: whatever is asked, a scan meets every record that stays and may match exactly once,
 * however often it is left and taken up again, while others come, go and are replaced;
 * what it gives lies where its path says, and in key order where the table has one.
 * Method: tables of every type and storage, questions that lead to each path, a few records a
 * piece, writes between the pieces; a list of the records that stay says what must come. */
#include "tables/scan.h"
#include "tests/support/rng.h"
#include "tests/support/table_world.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    STAY = 120,
    GUESTS = 200,
    QUESTIONS = 60,
    WRITES_BETWEEN = 12,
    GROUPS = 6,
    BYTES = 2048,
    ARITY = 5,
    DEAD = 700,
};

static struct model {
    struct table_world w;
    struct rng rng;
    uint64_t seed;
    enum table_type type;
    uint32_t kinds_seen[SCAN_ALL + 1];
    uint32_t pauses[SCAN_ALL + 1];
} m;

#define AGREE(condition) cr_assert((condition), "EG_SEED=%llu", (unsigned long long) m.seed)

struct made {
    uint8_t at[BYTES];
    struct value_writer w;
};

static struct value_writer *made_begin(struct made *b) {
    b->w = value_writer_init(b->at, sizeof b->at);
    return &b->w;
}

static struct value made_value(const struct made *b) {
    cr_assert(!b->w.overflow);
    return (struct value){b->at, (uint32_t) b->w.need_bytes};
}

/* ---- records ---------------------------------------------------------------------- */

/* Record n: in a bag four share a key.  Every third key is an array. */
static void put_key(struct value_writer *w, uint32_t n) {
    if (m.type == TABLE_BAG)
        n /= 4;
    if (n % 3 != 0) {
        value_put_u64(w, n);
        return;
    }
    value_put_array(w, 2);
    value_put_u64(w, n % GROUPS);
    value_put_u64(w, n);
}

/* [key, group, many, n, {in}]; `turn` changes when it is replaced, and is in no index. */
static void put_record(struct value_writer *w, uint32_t n, uint32_t turn) {
    value_put_array(w, ARITY);
    put_key(w, n);
    value_put_u64(w, n % GROUPS);
    value_put_u64(w, n % 37);
    value_put_u64(w, m.type == TABLE_BAG ? n : (uint64_t) turn << 32 | n);
    value_put_map(w, n % 11 > 0);
    if (n % 11 > 0) {
        value_put_text(w, "in");
        value_put_u64(w, n % 11);
    }
}

static uint32_t number_of(const struct record *rec) {
    uint64_t n;

    AGREE(value_get_u64(record_field(rec, 3), &n));
    return (uint32_t) n;
}

static struct table *table_of(void) {
    struct table *t = table_world_find(&m.w, "t");
    AGREE(t != NULL);
    return t;
}

static void change_for(enum shard_op op, uint32_t n, uint64_t ttl_ms) {
    struct made b;
    struct shard_request q = {.op = op, .ttl_ms = ttl_ms};

    put_record(made_begin(&b), n, (uint32_t) rng_below(&m.rng, 1000));
    if (op == SHARD_DELETE)
        AGREE(array_element(made_value(&b), 0, &q.key));
    else
        q.value = made_value(&b);
    AGREE(table_world_run(&m.w, table_of(), &q) == EG_OK);
}

static void change(enum shard_op op, uint32_t n) {
    change_for(op, n, 0);
}

/* Many records that have expired and lie there still, between all others. */
static void bury(void) {
    reader_enter(&m.w.reader);
    for (uint32_t n = STAY + GUESTS; n < STAY + GUESTS + DEAD; n++)
        change_for(SHARD_WRITE, n, 1000);
    reader_exit(&m.w.reader);
    m.w.st->now_ns += UINT64_C(2000) * 1000 * 1000;
}

/* Guests come and go by the dozen, so that a hash store splits and merges; those that stay
 * are replaced. */
static void writes(void) {
    reader_enter(&m.w.reader);
    for (int i = 0; i < WRITES_BETWEEN; i++) {
        uint32_t guest = STAY + (uint32_t) rng_below(&m.rng, GUESTS);
        if (rng_one_in(&m.rng, 3))
            change(SHARD_WRITE, (uint32_t) rng_below(&m.rng, STAY));
        else
            change(rng_one_in(&m.rng, 2) ? SHARD_WRITE : SHARD_DELETE, guest);
    }
    reader_exit(&m.w.reader);
}

/* ---- questions ------------------------------------------------------------------------ */

static void put_guard(struct value_writer *w, const char *op, uint32_t number) {
    value_put_array(w, 3);
    value_put_text(w, op);
    value_put_text(w, "$1");
    value_put_u64(w, number);
}

/* "$1", or what lies under "in" of the map that it is. */
static void put_asked(struct value_writer *w, uint32_t at) {
    if (at == 4) {
        value_put_array(w, 3);
        value_put_text(w, "map_get");
        value_put_text(w, "in");
    }
    value_put_text(w, "$1");
}

/* ["orelse", ["==", asked, v] ...] for `count` values. */
static void put_one_of(struct value_writer *w, uint32_t at, uint32_t from, uint32_t count) {
    value_put_array(w, count + 1);
    value_put_text(w, "orelse");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = (from + 17 * i) % (at == 0 ? 4 * (STAY + GUESTS + DEAD) : 11);
        value_put_array(w, 3);
        value_put_text(w, "==");
        put_asked(w, at);
        value_put_array(w, 2); /* a key may be an array */
        value_put_text(w, "const");
        at == 0 ? put_key(w, n) : value_put_u64(w, n);
    }
}

/* One of some values, at any place; of the third field too one value, so that the index on both
 * has something to say.  True: those that are looked at by their values are just the ones meant. */
static bool put_question_of_values(struct value_writer *w) {
    static const uint32_t places[] = {0, 1, 2, 4};
    uint32_t at = places[rng_below(&m.rng, 4)], from = (uint32_t) rng_below(&m.rng, STAY);
    bool both = rng_one_in(&m.rng, 3);

    value_put_array(w, 1);
    value_put_array(w, 3);
    value_put_array(w, ARITY);
    for (uint32_t i = 0; i < ARITY; i++)
        if (both && at != 1 && i == 1)
            value_put_u64(w, from % GROUPS);
        else
            value_put_text(w, i == at ? "$1" : "_");
    value_put_array(w, 1);
    put_one_of(w, at, from, 1 + (uint32_t) rng_below(&m.rng, rng_one_in(&m.rng, 3) ? 60 : 6));
    value_put_array(w, 1);
    value_put_text(w, "$_");
    return !both;
}

/* [[head, guards, ["$_"]]] with "$1" at one place of the head and guards on it. */
static void put_question(struct value_writer *w) {
    static const char *const low[] = {">", ">="}, *const high[] = {"<", "=<"};
    uint32_t form = (uint32_t) rng_below(&m.rng, 8), from = (uint32_t) rng_below(&m.rng, STAY);
    uint32_t at = form < 4 ? 0 : 1 + (uint32_t) rng_below(&m.rng, 2);
    uint32_t span = at == 0 ? 60 : 3;

    from = at == 0 ? from : from % GROUPS;
    value_put_array(w, 1);
    value_put_array(w, 3);
    value_put_array(w, ARITY);
    for (uint32_t i = 0; i < ARITY; i++) {
        if (i == at && (form == 1 || form == 5))
            at == 0 ? put_key(w, from) : value_put_u64(w, from);
        else if (i == at && form == 3) { /* the beginning of an array */
            value_put_array(w, 2);
            value_put_u64(w, from % GROUPS / 3 * 3);
            value_put_text(w, "_");
        } else
            value_put_text(w, i == at ? "$1" : "_");
    }
    if (form == 2 || form == 6 || form == 7) {
        value_put_array(w, form == 7 ? 1 : 2);
        put_guard(w, low[rng_below(&m.rng, 2)], from);
        if (form != 7)
            put_guard(w, high[rng_below(&m.rng, 2)], from + span);
    } else {
        value_put_array(w, 0);
    }
    value_put_array(w, 1);
    value_put_text(w, "$_");
}

static bool is_meant(const struct predicate *p, struct value record) {
    struct predicate_machine machine;
    bool meant = false;

    predicate_machine_init(&machine, alloc_system());
    AGREE(predicate_run(&machine, p, record, NULL, &meant) == EG_OK);
    predicate_machine_fini(&machine);
    return meant;
}

/* ---- a scan in pieces ------------------------------------------------------------------ */

struct seen {
    uint32_t times[STAY + GUESTS];
    struct made last_key;
    bool any;
};

static void see(struct seen *seen, const struct scan_path *path, const struct record *rec) {
    uint32_t n = number_of(rec);
    int order;

    AGREE(n < STAY + GUESTS);
    seen->times[n]++;
    if (m.type != TABLE_ORDERED_SET || scan_by_index(path))
        return;
    if (seen->any) {
        order = value_compare(made_value(&seen->last_key), record_key(rec));
        AGREE(path->reverse ? order > 0 : order < 0);
    }
    value_put_raw(made_begin(&seen->last_key), record_key(rec));
    seen->any = true;
}

/* Some records of a range at once, of which not all may be wanted. */
static bool many(struct scan *scan, const struct scan_path *path, struct buffer *place,
                 uint32_t most, struct seen *seen) {
    struct record_batch b = scan_next_many(scan);
    uint32_t wanted = EG_MIN(EG_MAX(most, 1u), b.count);

    for (uint32_t i = 0; i < wanted; i++)
        see(seen, path, b.record[i]);
    if (wanted < b.count)
        scan_give_back(scan, b.count - wanted);
    if (b.count > 0)
        AGREE(scan_place(scan, place) == EG_OK);
    return b.count == 0;
}

/* Up to `most` records, or quickly some more; true: that was the end. */
static bool piece(const struct scan_path *path, bool quick, struct buffer *place, uint32_t most,
                  struct seen *seen) {
    struct value from = {place->at, (uint32_t) place->size_bytes};
    uint8_t copy[1024];
    const struct record *rec;
    struct scan *scan;
    bool ended = false;

    AGREE(from.size_bytes <= sizeof copy);
    if (from.size_bytes != 0)
        from.at = memcpy(copy, from.at, from.size_bytes);
    reader_enter(&m.w.reader);
    AGREE((quick ? scan_open_quick : scan_open)(&scan, table_of(), &m.w.reader, path, from) ==
          EG_OK);
    if (path->kind == SCAN_KEY_RANGE && rng_one_in(&m.rng, 3)) {
        ended = many(scan, path, place, most, seen);
        reader_exit(&m.w.reader);
        return ended;
    }
    for (uint32_t i = 0; i < most || !scan_may_stop(scan); i++) {
        rec = scan_next(scan);
        ended = rec == NULL && !scan_paused(scan);
        if (ended)
            break;
        if (rec == NULL) { /* many were passed: it may be left here */
            m.pauses[path->kind]++;
            AGREE(scan_may_stop(scan) && scan_place(scan, place) == EG_OK);
            continue;
        }
        see(seen, path, rec);
        if (quick) {
            if (scan_may_stop(scan))
                AGREE(scan_place(scan, place) == EG_OK);
            continue;
        }
        if (rng_one_in(&m.rng, 8)) { /* it is looked at again */
            AGREE(scan_place_before(scan, place) == EG_OK);
            seen->times[number_of(rec)]--;
            seen->any = false;
            break;
        }
        AGREE(scan_place(scan, place) == EG_OK);
    }
    AGREE(reader_take_fault(&m.w.reader) == EG_OK);
    reader_exit(&m.w.reader);
    return ended;
}

/* `exact`: none is looked at that is not meant. */
static void compare(const struct predicate *p, const struct seen *seen, bool exact) {
    for (uint32_t n = 0; n < STAY; n++) {
        struct made b;
        put_record(made_begin(&b), n, 0);
        AGREE(seen->times[n] <= 1);
        AGREE(!exact || seen->times[n] == 0 || is_meant(p, made_value(&b)));
        AGREE(seen->times[n] == 1 || !is_meant(p, made_value(&b)));
    }
}

static void ask(void) {
    struct err_note note = {""};
    struct predicate *p;
    struct scan_path path;
    struct seen seen = {.any = false};
    struct buffer place;
    struct made question;
    bool quick = rng_one_in(&m.rng, 2), exact = false;

    if (rng_one_in(&m.rng, 3))
        exact = put_question_of_values(made_begin(&question));
    else
        put_question(made_begin(&question));
    AGREE(predicate_open(&p, alloc_system(), made_value(&question), ARITY, &note) == EG_OK);
    reader_enter(&m.w.reader);
    scan_choose(&path, table_of(), &m.w.reader, p, rng_one_in(&m.rng, 3));
    reader_exit(&m.w.reader);
    m.kinds_seen[path.kind]++;
    buffer_init(&place, alloc_system(), 4096);
    if (rng_one_in(&m.rng, 15))
        bury();
    while (!piece(&path, quick, &place, (uint32_t) rng_below(&m.rng, 20), &seen))
        writes();
    compare(p, &seen, exact && (path.kind == SCAN_KEYS || path.kind == SCAN_INDEX_VALUES));
    buffer_fini(&place);
    predicate_close(p);
}

/* ---- tables ------------------------------------------------------------------------------ */

static void create(const char *type, const char *storage, uint32_t shards) {
    struct made b;
    struct value_writer *w = made_begin(&b);

    value_put_map(w, 5);
    value_put_text(w, "type");
    value_put_text(w, type);
    value_put_text(w, "storage");
    value_put_text(w, storage);
    value_put_text(w, "shards");
    value_put_u64(w, shards);
    value_put_text(w, "attributes");
    value_put_array(w, ARITY);
    value_put_text(w, "k");
    value_put_text(w, "group");
    value_put_text(w, "many");
    value_put_text(w, "n");
    value_put_text(w, "map");
    value_put_text(w, "index");
    value_put_array(w, 4);
    value_put_text(w, "group");
    value_put_text(w, "many");
    value_put_text(w, "map.in");
    value_put_map(w, 1);
    value_put_text(w, "on");
    value_put_array(w, 2);
    value_put_text(w, "group");
    value_put_text(w, "many");
    AGREE(table_world_ask(&m.w, CATALOG_CREATE, "t", made_value(&b)) == EG_OK);
}

static void try_table(const char *type, const char *storage, uint32_t shards) {
    create(type, storage, shards);
    reader_enter(&m.w.reader);
    for (uint32_t n = 0; n < STAY; n++)
        change(SHARD_WRITE, n);
    reader_exit(&m.w.reader);
    for (int i = 0; i < QUESTIONS; i++)
        ask();
    AGREE(table_world_ask(&m.w, CATALOG_DROP, "t", (struct value){0}) == EG_OK);
}

static void try_storage(enum table_type type, const char *name, const char *storage,
                        uint64_t seed) {
    m.seed = seed;
    m.rng = rng_of(m.seed);
    m.type = type;
    table_world_open(&m.w, alloc_system(), m.seed);
    try_table(name, storage, 1);
    try_table(name, storage, 5);
    table_world_close(&m.w);
}

/* Every path was taken, and those that may pause have paused. */
static bool all_was_met(enum table_type type) {
    bool ordered = type == TABLE_ORDERED_SET;

    for (uint32_t kind = SCAN_KEY; kind <= SCAN_ALL; kind++)
        if (m.kinds_seen[kind] == 0 && (ordered || kind != SCAN_KEY_RANGE))
            return false;
    return m.pauses[SCAN_ALL] > 0 && (!ordered || m.pauses[SCAN_KEYS] > 0);
}

/* A few seeds seldom meet all: a scan by keys hardly ever passes so many that it pauses.  More,
 * then, until all was met. */
static void try_type(enum table_type type, const char *name) {
    static const char *const storages[] = {"ram", "disc", "disc_only"};
    uint64_t first = rng_test_seed(700 + 10 * (uint64_t) type);

    for (size_t i = 0; i < EG_COUNTOF(storages); i++)
        try_storage(type, name, storages[i], rng_is_replay() ? first : first + i);
    for (uint64_t more = 0; more < 100 && !all_was_met(type); more++)
        try_storage(type, name, storages[more % EG_COUNTOF(storages)], first + 100 + more);
    cr_assert(all_was_met(type));
}

TestSuite(scan_model, .timeout = 280);

Test(scan_model, set) {
    try_type(TABLE_SET, "set");
}

Test(scan_model, ordered_set) {
    try_type(TABLE_ORDERED_SET, "ordered_set");
}

Test(scan_model, bag) {
    try_type(TABLE_BAG, "bag");
}
