/* Goal: whatever was cut off from what, and in whatever order sides meet again, a record becomes
 * what its policy says.  Method: sides of a cluster write to one record, split and meet at
 * random; beside each stands a naive twin that remembers every write. */
#include "tables/merge.h"

#include "tests/support/rng.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    SIDES = 4,      /* each an origin */
    WRITES = 48,    /* of one history: a write's number is its dot's sequence */
    ELEMENTS = 6,   /* that a set may have */
    ATTRIBUTES = 3, /* behind the key */
    HISTORIES = 800,
    BYTES = 1 << 14,
};

static uint64_t seed;

#define AGREE(condition) cr_assert(condition, "EG_SEED=%llu", (unsigned long long) seed)

/* Who wrote what: all that a twin needs.  Write 0 is nobody's. */
struct history {
    int count;
    int side[WRITES];
    uint64_t origin[WRITES];
    uint64_t now[SIDES]; /* each side's origin: it starts again now and then */
    bool is_merge[WRITES];
    bool replaced[WRITES][WRITES]; /* siblings: this one replaces those */
    int added[WRITES];             /* counter */
    int base[WRITES];              /* of the counter that it left: a removal; 0: nobody's */
    bool counts[WRITES][WRITES];   /* and what was added to it that is in it */
    bool outlived;                 /* one has stayed against its removal, for it was later */
    bool crossed; /* whole versions: each side had seen the other's, and had not taken it */
    bool adds[WRITES][ELEMENTS];            /* set: adds that element, by this write */
    bool removes[WRITES][WRITES][ELEMENTS]; /* set: removes what that write had added */
    int value[WRITES][ATTRIBUTES];          /* attributes; 0: not written */
};

struct side {
    bool knows[WRITES];
    struct merge_version version;
    uint8_t record[BYTES], state[BYTES];
};

static struct history h;
static struct side sides[SIDES];
static struct buffer record, state;

static bool side_knows(const void *context, uint64_t origin, uint64_t sequence) {
    const struct side *s = context;

    (void) origin;
    AGREE(sequence < WRITES);
    return s->knows[sequence];
}

static struct merge_side as_side(const struct side *s) {
    return (struct merge_side){&s->version, side_knows, s};
}

static void become(struct side *s, struct value rec, struct value st, int sequence) {
    AGREE(rec.size_bytes <= BYTES && st.size_bytes <= BYTES);
    if (rec.size_bytes != 0)
        memmove(s->record, rec.at, rec.size_bytes);
    if (st.size_bytes != 0)
        memmove(s->state, st.at, st.size_bytes);
    s->version = (struct merge_version){
        .record = {s->record, rec.size_bytes},
        .state = {s->state, st.size_bytes},
        .hlc = (uint64_t) sequence,
        .origin = h.origin[sequence],
        .sequence = (uint64_t) sequence,
    };
    s->knows[sequence] = true;
}

static void copy_side(struct side *to, const struct side *from) {
    memcpy(to->knows, from->knows, sizeof to->knows);
    memcpy(to->record, from->record, from->version.record.size_bytes);
    memcpy(to->state, from->state, from->version.state.size_bytes);
    to->version = from->version;
    to->version.record.at = to->record;
    to->version.state.at = to->state;
}

static struct value contents(const struct buffer *b) {
    return (struct value){b->at, (uint32_t) b->size_bytes};
}

static bool are_together(void) {
    for (int s = 1; s < SIDES; s++)
        if (memcmp(sides[s].knows, sides[0].knows, sizeof sides[0].knows) != 0 ||
            sides[s].version.sequence != sides[0].version.sequence)
            return false;
    return true;
}

/* All copies are here, and none of them is that start. */
static bool is_over(const void *context, uint64_t origin) {
    const bool *together = context;

    for (int s = 0; s < SIDES; s++)
        if (h.now[s] == origin)
            return false;
    return *together;
}

/* A write of `s`, by what the writer left in `bytes`. */
static void write_to(const struct merge_rule *rule, int s, struct value rec, bool adds,
                     struct value replaces) {
    int sequence = h.count++;
    bool together = are_together();
    struct merge_write w = {
        .old = sides[s].version.sequence == 0 ? NULL : &sides[s].version,
        .record = rec,
        .hlc = (uint64_t) sequence,
        .origin = h.now[s],
        .sequence = (uint64_t) sequence,
        .adds = adds,
        .replaces = replaces,
        .is_over = is_over,
        .context = &together,
    };

    h.side[sequence] = s;
    h.origin[sequence] = h.now[s];
    buffer_clear(&state);
    AGREE(merge_write_state(rule, &w, &state) == EG_OK);
    AGREE(merge_state_is_sound(rule, rec, contents(&state)));
    become(&sides[s], rec, contents(&state), sequence);
}

static void join_in(const struct merge_rule *rule, const struct side *a, const struct side *b,
                    enum merge_outcome *outcome) {
    struct merge_side here = as_side(a), there = as_side(b);
    struct merge_loss loss;

    buffer_clear(&record);
    buffer_clear(&state);
    AGREE(merge_join(rule, &here, &there, outcome, &loss, &record, &state) == EG_OK);
    if (merge_is_new(*outcome) && record.size_bytes != 0)
        AGREE(merge_state_is_sound(rule, contents(&record), contents(&state)));
}

static void join_counters(int made, const struct side *here, const struct side *there);
static bool has_crossed(const struct side *here, const struct side *there);

/* Side b meets side a, whose master merges; afterwards both have the same. */
static void meet(const struct merge_rule *rule, int a, int b) {
    struct side *here = &sides[a], *there = &sides[b];
    bool a_known = there->knows[here->version.sequence];
    bool b_known = here->knows[there->version.sequence];

    if (!a_known && !b_known) {
        enum merge_outcome outcome;
        struct value rec, st;

        if (rule->policy == MERGE_FIRST || rule->policy == MERGE_MAX || rule->policy == MERGE_MIN)
            h.crossed |= has_crossed(here, there);
        join_in(rule, here, there, &outcome);
        rec = merge_is_new(outcome)         ? contents(&record)
              : outcome == MERGE_TAKES_HERE ? here->version.record
                                            : there->version.record;
        st = merge_is_new(outcome)         ? contents(&state)
             : outcome == MERGE_TAKES_HERE ? here->version.state
                                           : there->version.state;
        if (merge_is_new(outcome))
            join_counters(h.count, here, there);
        h.outlived |= rec.size_bytes != 0 && (here->version.record.size_bytes == 0 ||
                                              there->version.record.size_bytes == 0);
        for (int i = 0; i < WRITES; i++)
            here->knows[i] |= there->knows[i];
        if (merge_is_new(outcome)) {
            h.side[h.count] = a;
            h.origin[h.count] = h.now[a];
            h.is_merge[h.count] = true;
            become(here, rec, st, h.count++);
        } else if (outcome == MERGE_TAKES_THERE) {
            copy_side(here, there);
        }
    } else {
        bool knows[WRITES];

        for (int i = 0; i < WRITES; i++)
            knows[i] = here->knows[i] || there->knows[i];
        if (a_known && !b_known)
            copy_side(here, there);
        memcpy(here->knows, knows, sizeof knows);
    }
    for (int i = 0; i < WRITES; i++)
        here->knows[i] |= there->knows[i];
    copy_side(there, here);
}

static void begin(void) {
    memset(&h, 0, sizeof h);
    memset(sides, 0, sizeof sides);
    h.count = 1;
    for (int s = 0; s < SIDES; s++) {
        h.now[s] = (uint64_t) s + 1;
        sides[s].knows[0] = true; /* the beginning: nothing is there */
        sides[s].version.record.at = sides[s].record;
        sides[s].version.state.at = sides[s].state;
    }
}

/* All meet, and some start again. */
static void gather(const struct merge_rule *rule, struct rng *rng) {
    for (int s = 1; s < SIDES && h.count + SIDES < WRITES; s++)
        meet(rule, 0, s);
    for (int s = 1; s < SIDES && h.count + SIDES < WRITES; s++)
        meet(rule, 0, s);
    for (int s = 0; s < SIDES; s++)
        if (rng_one_in(rng, 2))
            h.now[s] += SIDES;
}

typedef void write_fn(const struct merge_rule *rule, struct rng *rng, int side);
typedef void compare_fn(const struct side *s);

static void run(const struct merge_rule *rule, uint64_t salt, write_fn *write,
                compare_fn *compare) {
    struct rng rng;

    seed = rng_test_seed(salt);
    rng = rng_of(seed);
    buffer_init(&record, alloc_system(), BYTES);
    buffer_init(&state, alloc_system(), BYTES);
    for (int n = 0; n < HISTORIES; n++) {
        begin();
        while (h.count + 1 < WRITES) {
            int a = (int) rng_below(&rng, SIDES), b = (int) rng_below(&rng, SIDES);

            if (rng_one_in(&rng, 8)) {
                gather(rule, &rng);
                compare(&sides[a]);
            } else if (rng_one_in(&rng, 3) && a != b) {
                meet(rule, a, b);
                compare(&sides[a]);
                compare(&sides[b]);
            } else {
                write(rule, &rng, a);
                compare(&sides[a]);
            }
        }
    }
    buffer_fini(&record);
    buffer_fini(&state);
}

static int64_t field_number(const struct side *s, uint32_t position) {
    struct value v;
    int64_t n = 0;
    struct value_iter it = value_iter_of(s->version.record);

    for (uint32_t i = 0; i <= position; i++)
        AGREE(value_iter_next(&it, &v));
    return value_get_i64(v, &n) ? n : INT64_MIN;
}

/* ---- counters: what was added, all of it, once -------------------------------------------------
 */

static int version_of(const struct side *s) {
    return (int) s->version.sequence;
}

static void remove_it(int s) {
    int sequence = h.count++;

    h.side[sequence] = s;
    h.origin[sequence] = h.now[s];
    become(&sides[s], (struct value){NULL, 0}, (struct value){NULL, 0}, sequence);
}

static void write_counter(const struct merge_rule *rule, struct rng *rng, int s) {
    uint8_t bytes[64];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    int added = (int) rng_below(rng, 200) - 100, before = version_of(&sides[s]);
    bool is_new = sides[s].version.record.size_bytes == 0;

    if (!is_new && rng_one_in(rng, 6)) {
        remove_it(s);
        return;
    }
    value_put_array(&w, 2);
    value_put_text(&w, "k");
    value_put_i64(&w, (is_new ? 0 : field_number(&sides[s], 1)) + added);
    h.added[h.count] = added;
    h.base[h.count] = is_new ? before : h.base[before];
    for (int i = 0; i < WRITES && !is_new; i++)
        h.counts[h.count][i] = h.counts[before][i];
    h.counts[h.count][h.count] = true;
    write_to(rule, s, (struct value){bytes, (uint32_t) w.need_bytes}, true,
             (struct value){NULL, 0});
}

/* Of two beginnings the later. */
static void join_counters(int made, const struct side *here, const struct side *there) {
    int a = version_of(here), b = version_of(there);

    h.base[made] = h.base[a] > h.base[b] ? h.base[a] : h.base[b];
    for (int i = 0; i < WRITES; i++)
        h.counts[made][i] = (h.counts[a][i] && h.base[a] == h.base[made]) ||
                            (h.counts[b][i] && h.base[b] == h.base[made]);
}

static void compare_counter(const struct side *s) {
    int64_t sum = 0;

    if (s->version.record.size_bytes == 0 || h.outlived)
        return;
    for (int i = 1; i < h.count; i++)
        sum += h.counts[version_of(s)][i] ? h.added[i] : 0;
    AGREE(field_number(s, 1) == sum);
}

Test(merge_model, a_counter_has_all_that_was_added_and_each_once) {
    struct merge_rule rule = {.policy = MERGE_COUNTER, .attribute_count = 2};

    run(&rule, 701, write_counter, compare_counter);
}

/* ---- sets: an element is there while some adding of it has not been seen and removed
 * ------------- */

static bool lives(const struct side *s, int write, int element) {
    if (!s->knows[write] || !h.adds[write][element])
        return false;
    for (int i = 1; i < h.count; i++)
        if (s->knows[i] && h.removes[i][write][element])
            return false;
    return true;
}

static bool has_element(const struct side *s, int element) {
    for (int i = 1; i < h.count; i++)
        if (lives(s, i, element))
            return true;
    return false;
}

static void write_set(const struct merge_rule *rule, struct rng *rng, int s) {
    uint8_t bytes[64];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    bool now[ELEMENTS], before[ELEMENTS];
    uint32_t count = 0;
    int sequence = h.count;

    for (int e = 0; e < ELEMENTS; e++) {
        before[e] = has_element(&sides[s], e);
        now[e] = rng_one_in(rng, 4) ? !before[e] : before[e];
        count += now[e];
    }
    for (int e = 0; e < ELEMENTS; e++) {
        h.adds[sequence][e] = now[e] && !before[e];
        for (int i = 1; i < sequence; i++)
            h.removes[sequence][i][e] = before[e] && !now[e] && lives(&sides[s], i, e);
    }
    value_put_array(&w, 2);
    value_put_text(&w, "k");
    value_put_array(&w, count);
    for (int e = 0; e < ELEMENTS; e++)
        if (now[e])
            value_put_i64(&w, e);
    write_to(rule, s, (struct value){bytes, (uint32_t) w.need_bytes}, false,
             (struct value){NULL, 0});
}

static void compare_set(const struct side *s) {
    bool there[ELEMENTS] = {false};
    struct value_iter it, elements;
    struct value v;
    int64_t e;

    if (s->version.record.size_bytes == 0)
        return;
    it = value_iter_of(s->version.record);
    AGREE(value_iter_next(&it, &v) && value_iter_next(&it, &v));
    elements = value_iter_of(v);
    while (value_iter_next(&elements, &v)) {
        AGREE(value_get_i64(v, &e) && e >= 0 && e < ELEMENTS && !there[e]);
        there[e] = true;
    }
    for (int i = 0; i < ELEMENTS; i++)
        AGREE(there[i] == has_element(s, i));
}

Test(merge_model, a_set_has_what_was_added_and_not_removed_by_who_knew_of_it) {
    struct merge_rule rule = {.policy = MERGE_SET, .attribute_count = 2};

    run(&rule, 702, write_set, compare_set);
}

/* ---- siblings: what nobody who knew of it has replaced
 * -------------------------------------------- */

static bool stands(const struct side *s, int write) {
    if (!s->knows[write] || h.is_merge[write])
        return false;
    for (int i = 1; i < h.count; i++)
        if (s->knows[i] && h.replaced[i][write])
            return false;
    return true;
}

static void write_sibling(const struct merge_rule *rule, struct rng *rng, int s) {
    uint8_t bytes[64], context[BYTES];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    struct value_writer c = value_writer_init(context, sizeof context);
    int sequence = h.count;
    bool chosen = rng_one_in(rng, 2);
    uint32_t count = 0;

    for (int i = 1; i < sequence; i++) {
        h.replaced[sequence][i] = stands(&sides[s], i) && (!chosen || rng_one_in(rng, 2));
        count += h.replaced[sequence][i];
    }
    value_put_array(&c, count);
    for (int i = 1; i < sequence; i++)
        if (h.replaced[sequence][i]) {
            value_put_array(&c, 2);
            value_put_u64(&c, h.origin[i]);
            value_put_u64(&c, (uint64_t) i);
        }
    value_put_array(&w, 2);
    value_put_text(&w, "k");
    value_put_i64(&w, sequence);
    write_to(rule, s, (struct value){bytes, (uint32_t) w.need_bytes}, false,
             (struct value){context, chosen ? (uint32_t) c.need_bytes : 0});
}

static void compare_siblings(const struct side *s) {
    struct merge_sibling list[MERGE_SIBLINGS_MAX];
    uint32_t count = merge_siblings(&s->version, list);
    bool there[WRITES] = {false};

    for (uint32_t i = 0; i < count; i++) {
        struct value_iter it = value_iter_of(list[i].record);
        uint64_t sequence = list[i].sequence;
        struct value v;
        int64_t written;

        AGREE(value_iter_next(&it, &v) && value_iter_next(&it, &v));
        AGREE(value_get_i64(v, &written) && (uint64_t) written == sequence && !there[sequence]);
        there[sequence] = true;
    }
    for (int i = 1; i < h.count; i++)
        AGREE(there[i] == stands(s, i));
}

Test(merge_model, siblings_are_what_nobody_has_replaced) {
    struct merge_rule rule = {.policy = MERGE_SIBLINGS, .attribute_count = 2};

    run(&rule, 703, write_sibling, compare_siblings);
}

/* ---- attributes: of each the last write
 * ------------------------------------------------------------- */

static void write_attributes(const struct merge_rule *rule, struct rng *rng, int s) {
    uint8_t bytes[64];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    bool is_new = sides[s].version.record.size_bytes == 0;

    value_put_array(&w, ATTRIBUTES + 1);
    value_put_text(&w, "k");
    for (uint32_t i = 0; i < ATTRIBUTES; i++)
        if (is_new || rng_one_in(rng, 2)) {
            h.value[h.count][i] = h.count;
            value_put_i64(&w, h.count);
        } else {
            value_put_i64(&w, field_number(&sides[s], i + 1));
        }
    write_to(rule, s, (struct value){bytes, (uint32_t) w.need_bytes}, false,
             (struct value){NULL, 0});
}

static void compare_attributes(const struct side *s) {
    if (s->version.record.size_bytes == 0)
        return;
    for (uint32_t a = 0; a < ATTRIBUTES; a++) {
        int last = 0;

        for (int i = 1; i < h.count; i++)
            if (s->knows[i] && h.value[i][a] != 0)
                last = h.value[i][a];
        AGREE(field_number(s, a + 1) == last);
    }
}

Test(merge_model, each_attribute_is_what_was_written_to_it_last) {
    struct merge_rule rule = {.policy = MERGE_LWW_BY_ATTRIBUTE, .attribute_count = ATTRIBUTES + 1};

    run(&rule, 704, write_attributes, compare_attributes);
}

/* ---- versions as a whole: what has been written over by who had seen it is gone
 * -------------------------------- */

static void write_whole(const struct merge_rule *rule, struct rng *rng, int s) {
    uint8_t bytes[64];
    struct value_writer w = value_writer_init(bytes, sizeof bytes);
    int sequence = h.count;

    for (int i = 1; i < sequence; i++)
        h.replaced[sequence][i] = sides[s].knows[i];
    if (rng_one_in(rng, 6)) {
        remove_it(s);
        return;
    }
    value_put_array(&w, 3);
    value_put_text(&w, "k");
    value_put_u64(&w, rng_below(rng, 100));
    value_put_i64(&w, sequence);
    write_to(rule, s, (struct value){bytes, (uint32_t) w.need_bytes}, false,
             (struct value){NULL, 0});
}

static int write_in(const struct side *s) {
    return s->version.record.size_bytes == 0 ? version_of(s) : (int) field_number(s, 2);
}

static bool has_crossed(const struct side *here, const struct side *there) {
    return here->knows[write_in(there)] && there->knows[write_in(here)];
}

static void compare_whole(const struct side *s) {
    if (!h.crossed && s->version.record.size_bytes != 0)
        AGREE(stands(s, (int) field_number(s, 2)));
}

static void run_whole(enum table_merge policy, uint64_t salt) {
    struct merge_rule rule = {.policy = policy, .attribute_count = 3};

    run(&rule, salt, write_whole, compare_whole);
}

Test(merge_model, what_is_first_greatest_or_smallest_is_nothing_that_was_written_over_knowingly) {
    run_whole(MERGE_FIRST, 705);
    run_whole(MERGE_MAX, 706);
    run_whole(MERGE_MIN, 707);
}
