/* merge: policies by example; the model test has the histories. */
#include "tables/merge.h"
#include "tables/merge_call.h"
#include "tables/merge_reshape.h"

#include "tests/support/text_value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static uint8_t bytes[8][512];
static int used;

static struct value text(const char *t) {
    return t == NULL ? (struct value){NULL, 0} : text_value(bytes[used++ % 8], sizeof bytes[0], t);
}

static struct merge_version version(const char *record, uint64_t hlc) {
    return (struct merge_version){
        .record = text(record), .state = {NULL, 0}, .hlc = hlc, .origin = 1, .sequence = hlc};
}

static bool knows_nothing(const void *context, uint64_t origin, uint64_t sequence) {
    (void) context, (void) origin, (void) sequence;
    return false;
}

static bool knows_all(const void *context, uint64_t origin, uint64_t sequence) {
    (void) context, (void) origin, (void) sequence;
    return true;
}

/* What comes of two: 'h' here, 't' there, or the record that was made. */
static const char *joined(enum table_merge policy, struct merge_version here,
                          struct merge_version there, bool knows) {
    static char shown[512];
    struct merge_rule rule = {.policy = policy, .attribute_count = 2};
    struct merge_side a = {&here, knows ? knows_all : knows_nothing, NULL};
    struct merge_side b = {&there, knows ? knows_all : knows_nothing, NULL};
    struct buffer record, state;
    enum merge_outcome outcome;
    struct merge_loss loss;

    buffer_init(&record, alloc_system(), 4096);
    buffer_init(&state, alloc_system(), 4096);
    cr_assert(merge_join(&rule, &a, &b, &outcome, &loss, &record, &state) == EG_OK);
    if (!merge_is_new(outcome))
        (void) snprintf(shown, sizeof shown, "%s", outcome == MERGE_TAKES_HERE ? "here" : "there");
    else if (record.size_bytes == 0)
        (void) snprintf(shown, sizeof shown, "removed");
    else
        (void) value_text(value_of(record.at), shown, sizeof shown);
    buffer_fini(&record);
    buffer_fini(&state);
    return shown;
}

Test(merge, the_last_the_first_the_greatest_and_the_smallest_win_whole) {
    struct merge_version early = version("['k', 9]", 1), late = version("['k', 2]", 2);

    cr_assert_str_eq(joined(MERGE_LWW, early, late, false), "there");
    cr_assert_str_eq(joined(MERGE_LWW, late, early, false), "here");
    cr_assert_str_eq(joined(MERGE_FIRST, early, late, false), "['k', 9]");
    cr_assert_str_eq(joined(MERGE_FIRST, late, early, false), "['k', 9]");
    cr_assert_str_eq(joined(MERGE_MAX, early, late, false), "['k', 9]");
    cr_assert_str_eq(joined(MERGE_MIN, early, late, false), "there");
    cr_assert_str_eq(joined(MERGE_MAX, early, version("['k', 9.0]", 2), false), "there");
}

Test(merge, a_removal_wins_where_it_is_later) {
    struct merge_version removed = version(NULL, 3), record = version("['k', 1]", 2);

    cr_assert_str_eq(joined(MERGE_LWW, record, removed, false), "there");
    cr_assert_str_eq(joined(MERGE_MAX, record, removed, false), "there");
    cr_assert_str_eq(joined(MERGE_COUNTER, removed, record, false), "here");
    cr_assert_str_eq(joined(MERGE_LWW_BY_ATTRIBUTE, removed, record, false), "here");
}

Test(merge, what_was_added_outlives_a_removal_that_did_not_know_of_it) {
    struct merge_version removed = version(NULL, 3), record = version("['k', ['a']]", 2);

    cr_assert_str_eq(joined(MERGE_SET, removed, record, false), "['k', ['a']]");
    cr_assert_str_eq(joined(MERGE_SET, removed, record, true), "here");
    cr_assert_str_eq(joined(MERGE_SIBLINGS, removed, record, false), "['k', ['a']]");
    cr_assert_str_eq(joined(MERGE_SIBLINGS, removed, record, true), "removed");
}

Test(merge, a_plain_write_of_a_counter_is_a_new_beginning) {
    struct merge_version a = version("['k', 9]", 1), b = version("['k', 2]", 2);

    cr_assert_str_eq(joined(MERGE_COUNTER, a, b, false), "there");
}

static eg_err added(const struct merge_version *old, const char *record, struct buffer *state) {
    struct merge_rule rule = {.policy = MERGE_COUNTER, .attribute_count = 2};
    struct merge_write w = {
        .old = old, .record = text(record), .hlc = 4, .origin = 2, .sequence = 4, .adds = true};

    return merge_write_state(&rule, &w, state);
}

Test(merge, what_a_node_has_added_to_a_counter_leaves_64_bits_only_as_a_plain_write) {
    struct merge_version far = version("['k', 1]", 3);
    struct buffer state;

    buffer_init(&state, alloc_system(), 4096);
    far.state = text("[1, 1, [-9223372036854775806], [[2, 3, [9223372036854775807]]]]");
    cr_expect_eq(added(&far, "['k', 2]", &state), EG_TOO_LARGE);
    cr_expect_eq(state.size_bytes, 0);
    cr_expect_eq(added(&far, "['k', 1]", &state), EG_OK);
    cr_expect_eq(added(&far, "['k', -9223372036854775808]", &state), EG_OK, "it comes back");
    buffer_fini(&state);
}

static eg_err sum(void *context, struct value newer, struct value older, struct buffer *out) {
    (void) context;
    cr_assert(newer.size_bytes != 0);
    return older.size_bytes == 0 || buffer_append(out, older.at, older.size_bytes) ? EG_OK
                                                                                   : EG_MEMORY;
}

Test(merge, a_callback_has_the_last_word) {
    struct merge_rule rule = {.policy = MERGE_CALLBACK, .attribute_count = 2, .call = sum};
    struct merge_version early = version("['k', 9]", 1), late = version("['k', 2]", 2);
    struct merge_side a = {&early, knows_nothing, NULL}, b = {&late, knows_nothing, NULL};
    struct buffer record, state;
    enum merge_outcome outcome;
    struct merge_loss loss;

    buffer_init(&record, alloc_system(), 4096);
    buffer_init(&state, alloc_system(), 4096);
    cr_assert(merge_join(&rule, &a, &b, &outcome, &loss, &record, &state) == EG_OK);
    cr_assert_eq(outcome, MERGE_RENEWS_HERE, "it is the earlier, anew");
    cr_assert(value_equal(value_of(record.at), early.record));
    buffer_fini(&record);
    buffer_fini(&state);
}

/* ---- what is lost --------------------------------------------------------------------------- */

static eg_err makes(void *context, struct value newer, struct value older, struct buffer *out) {
    const struct value *made = context;

    (void) newer, (void) older;
    return buffer_append(out, made->at, made->size_bytes) ? EG_OK : EG_MEMORY;
}

struct meeting {
    enum table_merge policy;
    struct {
        const char *record, *state; /* record NULL: removed */
        uint64_t hlc, origin;
    } here, there;
    const char *lost, *why;
};

#define NEAR_THE_END(origin, added) "[1, 1, [6, 0], [[" origin ", 3, [" added ", 0]]]]"
#define ADDED_TO(base)              "[" base ", 1, [5, nil], [[2, 3, [4, 0]]]]"

static const struct meeting meetings[] = {
    {MERGE_LWW, {"['k', 1, 1]", NULL, 1, 1}, {"['k', 2, 2]", NULL, 2, 2}, "here", "the earlier"},
    {MERGE_MAX, {"['k', 1, 1]", NULL, 2, 1}, {"['k', 2, 2]", NULL, 1, 2}, "here", "the smaller"},

    {MERGE_FIRST, {"['k', 1, 1]", NULL, 1, 1}, {"['k', 2, 2]", NULL, 2, 2}, "there", "the later"},
    {MERGE_FIRST, {"['k', 2, 2]", NULL, 2, 1}, {"['k', 1, 1]", NULL, 1, 2}, "here", "the later"},
    {MERGE_FIRST, {"['k', 1, 1]", NULL, 1, 1}, {NULL, NULL, 2, 2}, "there", "the removal"},
    {MERGE_FIRST, {NULL, NULL, 1, 1}, {"['k', 2, 2]", NULL, 2, 2}, "there", "what was removed"},
    {MERGE_FIRST,
     {"['k', 1, 1]", "[[1, 1, 1]]", 9, 1},
     {"['k', 2, 2]", NULL, 5, 2},
     "there",
     "it was written first, and has a later stamp since"},

    {MERGE_COUNTER, {"['k', 1, 1]", NULL, 1, 1}, {"['k', 2, 2]", NULL, 2, 2}, "here", "plain"},
    {MERGE_COUNTER,
     {"['k', 9, nil]", ADDED_TO("1"), 3, 2},
     {"['k', 7, 1]", NULL, 2, 1},
     "here",
     "what was added to an older value, and later"},
    {MERGE_COUNTER,
     {"['k', 7, 1]", NULL, 2, 1},
     {"['k', 9, nil]", ADDED_TO("1"), 3, 2},
     "there",
     "the same, from the other side"},
    {MERGE_COUNTER,
     {"['k', 9, nil]", ADDED_TO("1"), 3, 2},
     {"['k', 9, nil]", "[1, 1, [5, nil], [[3, 4, [4, 0]]]]", 4, 3},
     "",
     "all is added up"},
    {MERGE_COUNTER,
     {"['k', 9223372036854775806, 0]", NEAR_THE_END("2", "9223372036854775800"), 4, 2},
     {"['k', 9223372036854775806, 0]", NEAR_THE_END("3", "9223372036854775800"), 3, 3},
     "here there",
     "more than 64 bits hold, though neither side's value was"},
    {MERGE_COUNTER,
     {"['k', 9223372036854775807, 0]", NEAR_THE_END("2", "9223372036854775801"), 4, 2},
     {"['k', 9223372036854775807, 0]", NEAR_THE_END("3", "9223372036854775801"), 3, 3},
     "here there",
     "likewise, though both look like what stands"},
    {MERGE_COUNTER,
     {"['k', 9223372036854775806, 0]", NEAR_THE_END("2", "9223372036854775800"), 4, 2},
     {"['k', -9223372036854775794, 0]", NEAR_THE_END("3", "-9223372036854775800"), 3, 3},
     "",
     "it comes back"},

    {MERGE_SET,
     {"['k', ['a'], 'x']", NULL, 1, 1},
     {"['k', ['b'], 'y']", NULL, 2, 2},
     "here",
     "a field that is no set"},
    {MERGE_SET,
     {"['k', ['a'], 'x']", NULL, 2, 1},
     {"['k', 7, 'x']", NULL, 1, 2},
     "there",
     "no set on one side"},
    {MERGE_SET, {"['k', ['a'], 'x']", NULL, 1, 1}, {"['k', ['b'], 'x']", NULL, 2, 2}, "", "sets"},
    {MERGE_SET, {"['k', ['a'], 'x']", NULL, 1, 1}, {NULL, NULL, 2, 2}, "", "adding wins"},

    {MERGE_LWW_BY_ATTRIBUTE,
     {"['k', 2, 1]", "[nil, [1, 1]]", 2, 1},
     {"['k', 1, 3]", "[[1, 1], nil]", 3, 2},
     "",
     "each has changed another one"},
    {MERGE_LWW_BY_ATTRIBUTE,
     {"['k', 2, 9]", "[[2, 1], nil]", 4, 1},
     {"['k', 3, 1]", "[nil, [1, 1]]", 3, 2},
     "here",
     "the later, whose first change was the earlier"},
    {MERGE_LWW_BY_ATTRIBUTE,
     {"['k', 2, 9]", "[[2, 1], nil]", 4, 1},
     {"['k', 3, 5]", NULL, 3, 2},
     "here there",
     "of both something"},

    {MERGE_SIBLINGS, {"['k', 1, 1]", NULL, 1, 1}, {"['k', 2, 2]", NULL, 2, 2}, "", "side by side"},

    {MERGE_CALLBACK,
     {"['k', 1, 1]", NULL, 1, 1},
     {"['k', 2, 2]", NULL, 2, 2},
     "here there",
     "it has made a third"},
    {MERGE_CALLBACK,
     {"['k', 8, 8]", NULL, 1, 1},
     {"['k', 2, 2]", NULL, 2, 2},
     "there",
     "the first"},
    {MERGE_CALLBACK, {"['k', 1, 1]", NULL, 1, 1}, {"['k', 8, 8]", NULL, 2, 2}, "here", "the later"},
};

static const char *lost(const struct meeting *m) {
    static const char *const sides[2][2] = {{"", "there"}, {"here", "here there"}};
    struct value made = text("['k', 8, 8]");
    struct merge_rule rule = {
        .policy = m->policy, .attribute_count = 3, .call = makes, .context = &made};
    struct merge_version here = {text(m->here.record), text(m->here.state), m->here.hlc,
                                 m->here.origin, m->here.hlc};
    struct merge_version there = {text(m->there.record), text(m->there.state), m->there.hlc,
                                  m->there.origin, m->there.hlc};
    struct merge_side a = {&here, knows_nothing, NULL}, b = {&there, knows_nothing, NULL};
    struct merge_loss loss = {.here = true, .there = true};
    enum merge_outcome outcome;
    struct buffer record, state;

    buffer_init(&record, alloc_system(), 4096);
    buffer_init(&state, alloc_system(), 4096);
    cr_assert_eq(merge_join(&rule, &a, &b, &outcome, &loss, &record, &state), EG_OK);
    buffer_fini(&record);
    buffer_fini(&state);
    return sides[loss.here][loss.there];
}

Test(merge, whose_version_is_lost_is_said) {
    for (size_t i = 0; i < EG_COUNTOF(meetings); i++)
        cr_expect_str_eq(lost(&meetings[i]), meetings[i].lost, "case %zu: %s", i, meetings[i].why);
}

/* ---- once more ------------------------------------------------------------------------------ */

struct made {
    struct merge_version version;
    struct buffer record, state;
};

/* What a master makes of two, who had not heard of each other, as its own write at `hlc`. */
static void make(struct made *m, enum table_merge policy, const struct merge_version *here,
                 const struct merge_version *there, uint64_t hlc) {
    struct merge_rule rule = {.policy = policy, .attribute_count = 2};
    struct merge_side a = {here, knows_nothing, NULL}, b = {there, knows_nothing, NULL};
    const struct merge_version *taken;
    enum merge_outcome outcome;
    struct merge_loss loss;

    buffer_init(&m->record, alloc_system(), 4096);
    buffer_init(&m->state, alloc_system(), 4096);
    cr_assert_eq(merge_join(&rule, &a, &b, &outcome, &loss, &m->record, &m->state), EG_OK);
    taken = outcome == MERGE_TAKES_THERE ? there : here;
    m->version = *taken;
    if (merge_is_new(outcome)) {
        m->version.record = value_of(m->record.at);
        m->version.state = (struct value){m->state.at, (uint32_t) m->state.size_bytes};
    }
    if (merge_is_new(outcome) || taken != (merge_is_later(here, there) ? here : there))
        m->version.hlc = m->version.sequence = hlc; /* it is written anew */
}

static void drop(struct made *m) {
    buffer_fini(&m->record);
    buffer_fini(&m->state);
}

/* The master that made it is gone, and another has it, and hears the other side's version. */
Test(merge, what_was_made_stands_where_it_is_merged_once_more) {
    static const struct {
        enum table_merge policy;
        const char *a, *a_state, *b, *b_state;
    } cases[] = {
        {MERGE_LWW, "['k', 1]", NULL, "['k', 2]", NULL},
        {MERGE_FIRST, "['k', 1]", NULL, "['k', 2]", NULL},
        {MERGE_MAX, "['k', 2]", NULL, "['k', 1]", NULL},
        {MERGE_MIN, "['k', 1]", NULL, "['k', 2]", NULL},
        {MERGE_COUNTER, "['k', 3]", "[0, 0, [0], [[1, 3, [3]]]]", "['k', 4]",
         "[0, 0, [0], [[2, 4, [4]]]]"},
        {MERGE_COUNTER, "['k', 3]", "[5, 1, [0], [[1, 6, [3]]]]", "['k', 4]",
         "[0, 0, [0], [[2, 4, [4]]]]"},
        {MERGE_SET, "['k', ['x']]", NULL, "['k', ['y']]", NULL},
        {MERGE_SIBLINGS, "['k', 1]", NULL, "['k', 2]", NULL},
        {MERGE_LWW_BY_ATTRIBUTE, "['k', 1]", NULL, "['k', 2]", NULL},
    };

    for (size_t i = 0; i < EG_COUNTOF(cases); i++) {
        struct merge_version a = {text(cases[i].a), text(cases[i].a_state), 7, 1, 7};
        struct merge_version b = {text(cases[i].b), text(cases[i].b_state), 8, 2, 8};
        struct made once, again, before;

        make(&once, cases[i].policy, &a, &b, 9);
        make(&again, cases[i].policy, &once.version, &b, 10);
        make(&before, cases[i].policy, &a, &once.version, 10);
        cr_expect(value_equal(once.version.record, again.version.record), "case %zu", i);
        cr_expect(value_equal(once.version.record, before.version.record), "case %zu", i);
        drop(&once);
        drop(&again);
        drop(&before);
    }
}

/* ---- who had seen what ---------------------------------------------------------------------- */

/* The dots that a side has heard of: [origin, sequence], up to origin 0. */
static bool knows_some(const void *context, uint64_t origin, uint64_t sequence) {
    for (const uint64_t(*dot)[2] = context; (*dot)[0] != 0; dot++)
        if ((*dot)[0] == origin && (*dot)[1] == sequence)
            return true;
    return false;
}

static eg_err is_not_asked(void *context, struct value newer, struct value older,
                           struct buffer *out) {
    (void) context, (void) newer, (void) older, (void) out;
    cr_assert_fail("it has been asked before");
    return EG_OK;
}

/* What comes of ['k', 9], which a merge has made (its state), and another version of whose side
 * `known` is what it has heard of; behind it whose version is lost. */
static const char *met(enum table_merge policy, const char *state, struct merge_version other,
                       const uint64_t (*known)[2]) {
    static char shown[512];
    struct merge_rule rule = {.policy = policy, .attribute_count = 2, .call = is_not_asked};
    struct merge_version made = {text("['k', 9]"), text(state), 20, 3, 20};
    struct merge_side a = {&made, knows_nothing, NULL}, b = {&other, knows_some, known};
    struct buffer record, new_state;
    enum merge_outcome outcome;
    struct merge_loss loss;
    size_t used_bytes;

    buffer_init(&record, alloc_system(), 4096);
    buffer_init(&new_state, alloc_system(), 4096);
    cr_assert_eq(merge_join(&rule, &a, &b, &outcome, &loss, &record, &new_state), EG_OK);
    if (merge_is_new(outcome))
        (void) value_text(value_of(record.at), shown, sizeof shown);
    else
        (void) snprintf(shown, sizeof shown, "%s", outcome == MERGE_TAKES_HERE ? "here" : "there");
    used_bytes = strlen(shown);
    (void) snprintf(shown + used_bytes, sizeof shown - used_bytes, "%s%s",
                    loss.here ? ", here lost" : "", loss.there ? ", there lost" : "");
    buffer_fini(&record);
    buffer_fini(&new_state);
    return shown;
}

Test(merge, who_had_seen_what_is_in_the_other_is_the_later_whatever_stamps_say) {
    static const enum table_merge policies[] = {MERGE_FIRST, MERGE_MAX, MERGE_MIN, MERGE_CALLBACK};
    static const uint64_t one[][2] = {{2, 5}, {0, 0}}, both[][2] = {{2, 5}, {1, 4}, {0, 0}};

    for (size_t i = 0; i < EG_COUNTOF(policies); i++) {
        struct merge_version written = version("['k', 1]", 10), removed = version(NULL, 10);

        cr_expect_str_eq(met(policies[i], "[[5, 2, 5]]", written, one), "['k', 1]");
        cr_expect_str_eq(met(policies[i], "[[5, 2, 5]]", removed, one), "there");
    }
    cr_expect_str_eq(met(MERGE_CALLBACK, "[[5, 2, 5], [4, 1, 4]]", version(NULL, 10), both),
                     "there");
}

Test(merge, a_callback_is_not_asked_about_what_is_in_a_version_already) {
    static const uint64_t none[][2] = {{0, 0}};
    const char *state = "[[10, 1, 10], [5, 2, 5]]";
    struct merge_version part = version("['k', 1]", 10), same = version("['k', 9]", 30);

    cr_expect_str_eq(met(MERGE_CALLBACK, state, part, none), "here, there lost");
    same.state = text(state);
    cr_expect_str_eq(met(MERGE_CALLBACK, state, same, none), "there", "two masters have made it");
}

Test(merge, a_removal_is_later_than_attributes_that_a_merge_has_put_together_since) {
    static const uint64_t none[][2] = {{0, 0}};

    cr_expect_str_eq(met(MERGE_LWW_BY_ATTRIBUTE, "[[5, 2]]", version(NULL, 10), none),
                     "there, here lost");
    cr_expect_str_eq(met(MERGE_LWW_BY_ATTRIBUTE, "[[15, 2]]", version(NULL, 10), none),
                     "here, there lost");
}

/* ---- what a table's maker has written ------------------------------------------------------- */

static eg_err refuses(void *context, struct value winner, struct value loser, struct buffer *out) {
    (void) winner, (void) loser;
    *(int *) context += 1;
    return buffer_append(out, "\x91", 1) ? EG_NOT_FOUND : EG_MEMORY;
}

static void count_failure(void *user, eg_err err) {
    *(eg_err *) user = err;
}

/* What comes of ['k', 9, 1] and the later ['k', 2, 3]; "!" before it: the callback has failed. */
static const char *called(const char *callback, const char *early_record) {
    static char shown[512];
    int calls = 0;
    const struct merge_function function = {"refuses", refuses, &calls};
    struct merge_version early = version(early_record, 1), late = version("['k', 2, 3]", 2);
    struct merge_side a = {&early, knows_nothing, NULL}, b = {&late, knows_nothing, NULL};
    struct merge_call call = {.alloc = alloc_system(),
                              .callback = text(callback),
                              .attribute_count = 3,
                              .function = &function,
                              .function_count = 1};
    eg_err failure = EG_OK;
    struct merge_rule rule = {.policy = MERGE_CALLBACK,
                              .attribute_count = 3,
                              .call = merge_call_run,
                              .context = &call,
                              .failed = count_failure,
                              .user = &failure};
    enum merge_outcome outcome;
    struct merge_loss loss;
    struct buffer record, state;
    struct err_note note;

    cr_assert_eq(merge_call_check(alloc_system(), call.callback, &note), EG_OK);
    buffer_init(&record, alloc_system(), 4096);
    buffer_init(&state, alloc_system(), 4096);
    cr_assert_eq(merge_join(&rule, &a, &b, &outcome, &loss, &record, &state), EG_OK);
    shown[0] = '!';
    if (!merge_is_new(outcome))
        (void) snprintf(shown + 1, sizeof shown - 1, "%s",
                        outcome == MERGE_TAKES_HERE ? "here" : "there");
    else if (record.size_bytes == 0)
        (void) snprintf(shown + 1, sizeof shown - 1, "removed");
    else
        (void) value_text(value_of(record.at), shown + 1, sizeof shown - 1);
    buffer_fini(&record);
    buffer_fini(&state);
    return shown + (failure == EG_OK);
}

#define GREATEST                                                                                   \
    "[[[['$1', '$2', '$3'], ['_', '$4', '$5']], [], "                                              \
    "[[['$1', ['max', '$2', '$4'], ['max', '$3', '$5']]]]]]"

Test(merge, a_specification_makes_one_record_of_two) {
    const char *early = "['k', 9, 1]";

    cr_assert_str_eq(called(GREATEST, early), "['k', 9, 3]");
    cr_assert_str_eq(called(GREATEST, NULL), "there", "no clause is about a removal");
    cr_assert_str_eq(called("[[['$1', '$2'], [], ['$2']]]", early), early);
    cr_assert_str_eq(called("[[['$1', '$2'], [], ['$1']]]", early), "there");
    cr_assert_str_eq(called("[[['$1', nil], [], [nil]], ['_', [], [['element', 1, '$_']]]]", NULL),
                     "here", "the removal, as it is");
}

Test(merge, a_callback_that_fails_leaves_the_later) {
    static const char *const bad[] = {
        "[['_', [], [7]]]",
        "[['_', [], [[['k', 1]]]]]",
        "[['_', [], [[['other', 1, 2]]]]]",
        "[[['$1', '_'], [], [[['k', ['hd', 7], 2]]]]]",
        "'refuses'",
        "'nobody'",
    };

    for (size_t i = 0; i < EG_COUNTOF(bad); i++)
        cr_expect_str_eq(called(bad[i], "['k', 9, 1]"), "!there", "%s", bad[i]);
}

Test(merge, what_is_no_callback_is_refused) {
    static const char *const bad[] = {"7", "nil", "[7]", "[[['$1'], [], ['$1']]]",
                                      "[['_', [], []]]"};
    struct err_note note;

    for (size_t i = 0; i < EG_COUNTOF(bad); i++)
        cr_expect_eq(merge_call_check(alloc_system(), text(bad[i]), &note), EG_BAD_REQUEST, "%s",
                     bad[i]);
}

Test(merge, what_has_no_room_says_whether_the_record_has) {
    struct merge_rule rule = {.policy = MERGE_SET, .attribute_count = 2};
    struct merge_version early = version("['k', ['a', 'b']]", 1), late = version("['k', ['c']]", 2);
    struct merge_side a = {&early, knows_nothing, NULL}, b = {&late, knows_nothing, NULL};
    enum merge_outcome outcome;
    struct merge_loss loss;
    struct buffer record, state;

    buffer_init(&record, alloc_system(), 8);
    buffer_init(&state, alloc_system(), 8);
    cr_assert_eq(merge_join(&rule, &a, &b, &outcome, &loss, &record, &state), EG_TOO_LARGE);
    cr_expect_eq(record.size_bytes, 0);
    buffer_fini(&record);
    buffer_init(&record, alloc_system(), 4096);
    cr_assert_eq(merge_join(&rule, &a, &b, &outcome, &loss, &record, &state), EG_TOO_LARGE);
    cr_expect_neq(record.size_bytes, 0);
    cr_expect_eq(outcome, MERGE_MAKES);
    buffer_fini(&record);
    buffer_fini(&state);
}

Test(merge, a_state_that_is_none_is_refused) {
    static const struct {
        enum table_merge policy;
        const char *state;
    } bad[] = {
        {MERGE_LWW, "[]"},
        {MERGE_LWW_BY_ATTRIBUTE, "7"},
        {MERGE_LWW_BY_ATTRIBUTE, "[]"},
        {MERGE_LWW_BY_ATTRIBUTE, "[[1]]"},
        {MERGE_LWW_BY_ATTRIBUTE, "[[1, -1]]"},
        {MERGE_COUNTER, "[1, 2, [1]]"},
        {MERGE_COUNTER, "[1, 2, [1], [[1, 2]]]"},
        {MERGE_COUNTER, "[1, 2, [1], [[1, 2, ['a']]]]"},
        {MERGE_COUNTER, "[1, 2, [], []]"},
        {MERGE_SET, "[[[]]]"},
        {MERGE_SET, "[[[[1, 2]]]]"}, /* of two elements */
        {MERGE_SIBLINGS, "[]"},
        {MERGE_SIBLINGS, "[[1, 2, 3, ['k', 1]]]"},
        {MERGE_SIBLINGS, "[[1, 2, 3, nil], [1, 2, 3, nil]]"},
        {MERGE_SIBLINGS, "[[1, 2, 3, nil], [1, 2, 3, [1]]]"},
    };

    for (size_t i = 0; i < EG_COUNTOF(bad); i++) {
        struct merge_rule rule = {.policy = bad[i].policy, .attribute_count = 2};

        cr_assert_not(merge_state_is_sound(&rule, text("['k', ['a', 'b']]"), text(bad[i].state)),
                      "case %zu", i);
    }
}

/* ---- another shape --------------------------------------------------------------------------- */

/* The state beside ['k', 3, 5] where its table becomes [key, b, new, a]; with a program: none. */
static const char *reshaped(enum table_merge policy, const char *state) {
    static char shown[512];
    static struct conversion c;
    struct merge_reshape r = {.policy = policy,
                              .conversion = &c,
                              .old = text("['k', 3, 5]"),
                              .fresh = text("['k', 5, 7, 3]"),
                              .state = text(state)};
    const struct merge_rule rule = {.policy = policy, .attribute_count = 4};
    static const int32_t sources[] = {0, 2, CONVERSION_DEFAULT, 1};
    struct buffer out;

    conversion_init(&c, alloc_system());
    c.count = EG_COUNTOF(sources);
    for (size_t i = 0; i < EG_COUNTOF(sources); i++)
        c.field[i] = (struct conversion_field){sources[i], CONVERSION_NO_VALUE};
    buffer_init(&out, alloc_system(), 4096);
    cr_assert_eq(merge_reshape_state(&r, &out), EG_OK);
    cr_assert(
        merge_state_is_sound(&rule, r.fresh, (struct value){out.at, (uint32_t) out.size_bytes}));
    (void) value_text(value_of(out.at), shown, sizeof shown);
    buffer_fini(&out);
    conversion_fini(&c);
    return shown;
}

Test(merge, a_state_follows_its_attributes_into_another_shape) {
    cr_assert_str_eq(reshaped(MERGE_LWW_BY_ATTRIBUTE, "[[1, 2], nil]"), "[nil, nil, [1, 2]]");
    cr_assert_str_eq(reshaped(MERGE_COUNTER, "[1, 2, [0, 1], [[7, 8, [3, 4]]], 2]"),
                     "[1, 2, [1, 7, 0], [[7, 8, [4, 0, 3]]], 2]");
    cr_assert_str_eq(reshaped(MERGE_FIRST, "[[1, 2, 3]]"), "[[1, 2, 3]]");
}
