/* A metric is one cell a name, whoever asks for it. */
#include "engine/metrics.h"
#include "tests/support/fail_alloc.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct fail_alloc memory;
static struct metrics *ms;

static void setup(void) {
    memory = fail_alloc_after(INT_MAX);
    cr_assert_eq(metrics_open(&ms, &memory.base), EG_OK);
}

static void teardown(void) {
    metrics_close(ms);
    cr_assert_eq(memory.live, 0);
}

TestSuite(metrics, .init = setup, .fini = teardown, .timeout = 240);

Test(metrics, one_name_is_one_cell) {
    struct metric *m = metrics_get(ms, METRIC_COUNTER, "a_total", "help");
    cr_assert_eq(metrics_get(ms, METRIC_COUNTER, "a_total", "help"), m);
    metric_add(m, 3);
    metric_add(m, 4);
    cr_assert_eq(metric_read(m), 7);
}

Test(metrics, a_name_of_the_other_kind_or_too_long_is_refused) {
    char name[METRIC_NAME_BYTES + 1];
    memset(name, 'x', sizeof name);
    name[METRIC_NAME_BYTES] = '\0';
    cr_assert_not_null(metrics_get(ms, METRIC_COUNTER, "a_total", ""));
    cr_assert_null(metrics_get(ms, METRIC_GAUGE, "a_total", ""));
    cr_assert_null(metrics_get(ms, METRIC_GAUGE, name, ""));
}

Test(metrics, the_bound_holds) {
    char name[METRIC_NAME_BYTES];
    for (int i = 0; i < METRICS_MAX; i++) {
        snprintf(name, sizeof name, "m%d", i);
        cr_assert_not_null(metrics_get(ms, METRIC_GAUGE, name, ""));
    }
    cr_assert_null(metrics_get(ms, METRIC_GAUGE, "one_more", ""));
    cr_assert_not_null(metrics_get(ms, METRIC_GAUGE, "m0", ""));
}

static void add_up(void *sum, const struct metric *m) {
    *(int64_t *) sum += metric_read(m);
}

Test(metrics, each_visits_all) {
    int64_t sum = 0;
    metric_set(metrics_get(ms, METRIC_GAUGE, "a", ""), 1);
    metric_set(metrics_get(ms, METRIC_GAUGE, "b", ""), 20);
    metrics_each(ms, add_up, &sum);
    cr_assert_eq(sum, 21);
}

Test(metrics, refused_memory_leaves_the_list_as_it_was) {
    memory.left = 0;
    cr_assert_null(metrics_get(ms, METRIC_GAUGE, "a", ""));
    memory.left = INT_MAX;
    cr_assert_not_null(metrics_get(ms, METRIC_GAUGE, "a", ""));
}
