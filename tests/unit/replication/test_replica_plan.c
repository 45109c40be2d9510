/* Goal: who may have forgotten a majority table does not say that it is new.
 * Method: a view by hand, whose members report whom they know, and that they remember; and the
 * plan for a table of which nobody tells. */
#include "replication/replica_plan.h"

#include "engine/buffer.h"

#include <criterion/criterion.h>

enum { REPORT_BYTES = 512, ALL = 3 };

struct world {
    uint8_t report[ALL][REPORT_BYTES];
    struct view *view;
    struct replica_reports *reports;
    struct electorate electorate; /* that all but who knows nobody report */
};

static struct elector_list list_of(uint32_t count) {
    struct elector_list l = {0};

    for (uint32_t i = 0; i < count; i++)
        elector_list_add(&l, (struct elector){i + 1, 100, true});
    return l;
}

static struct value put_report(struct world *w, uint32_t i, const struct elector_list *known,
                               bool remembers) {
    struct value_writer v = value_writer_init(w->report[i], REPORT_BYTES);

    value_put_array(&v, 1 + remembers);
    if (remembers)
        value_put_u64(&v, REPLICA_REMEMBERS);
    replica_report_put_electorate(&v, known,
                                  known->count == 0 ? &(struct electorate){0} : &w->electorate);
    cr_assert(!v.overflow);
    return (struct value){w->report[i], (uint32_t) v.need_bytes};
}

/* A view of nodes 1, 2, ... `here`; each knows the first so many; a bit for each that remembers. */
static void open_world(struct world *w, uint32_t here, uint32_t known, uint32_t remember) {
    size_t size_bytes = sizeof *w->view + here * sizeof w->view->member[0];
    struct elector_list list = list_of(known);

    w->view = alloc_zero(alloc_system(), size_bytes);
    w->view->id = (struct view_id){7, 7};
    w->view->alloc = alloc_system();
    w->view->size_bytes = size_bytes;
    w->view->principal = 1;
    w->view->count = here;
    for (uint32_t i = 0; i < here; i++)
        w->view->member[i] = (struct view_member){
            .id = i + 1, .report = put_report(w, i, &list, (remember >> i & 1) != 0)};
    cr_assert_eq(replica_reports_open(&w->reports, alloc_system(), w->view), EG_OK);
}

static void close_world(struct world *w) {
    replica_reports_close(w->reports);
    alloc_put(alloc_system(), w->view, w->view->size_bytes);
}

static struct replica_plan plan_of(const struct world *w, uint64_t self) {
    struct placement_node nodes[ALL];
    struct replica_plan p;

    for (uint32_t i = 0; i < ALL; i++)
        nodes[i] = (struct placement_node){i + 1, 100, true, true};
    replica_plan_make(&p, &(struct replica_plan_opts){.view = w->view,
                                                      .reports = w->reports,
                                                      .nodes = nodes,
                                                      .node_count = ALL,
                                                      .self = self,
                                                      .table = 1,
                                                      .electorate = &w->electorate,
                                                      .shards = 1});
    return p;
}

static const struct electorate of_all = {
    .epoch = 5, .lists = 1, .list[0] = {3, {{1, 100, true}, {2, 100, true}, {3, 100, true}}}};

Test(replica_plan, a_table_is_new_where_most_remember) {
    struct world w = {.electorate = of_all};

    open_world(&w, 2, ALL, 3);
    cr_assert(!plan_of(&w, 1).refused);
    cr_assert(plan_of(&w, 1).quorum.fresh && plan_of(&w, 2).quorum.fresh);
    close_world(&w);
}

Test(replica_plan, who_does_not_remember_does_not_vote_about_a_new_table) {
    struct world w = {.electorate = of_all};

    open_world(&w, 2, ALL, 1);
    cr_assert(plan_of(&w, 1).refused && plan_of(&w, 2).refused);
    cr_assert(plan_of(&w, 1).quorum.fresh && !plan_of(&w, 2).quorum.fresh);
    cr_assert(!replica_reports_make_remember(w.reports, 2));
    cr_assert(replica_reports_make_remember(w.reports, 4)); /* it was never asked */
    close_world(&w);
}

Test(replica_plan, where_all_are_there_they_remember_together) {
    struct world w = {.electorate = of_all};

    open_world(&w, ALL, ALL, 0);
    for (uint64_t id = 1; id <= ALL; id++)
        cr_assert(plan_of(&w, id).quorum.fresh && replica_reports_make_remember(w.reports, id));
    cr_assert(!plan_of(&w, 1).refused);
    close_world(&w);
}

Test(replica_plan, the_first_electorate_is_founded_by_most_who_remember_or_by_all) {
    struct elector_list all = list_of(ALL), one = list_of(1), nobody = {0};
    struct world w = {.view = NULL};

    open_world(&w, 2, ALL, 3);
    cr_assert(replica_reports_may_found(w.reports, &all, true));
    cr_assert(!replica_reports_may_found(w.reports, &all, false));
    close_world(&w);
    open_world(&w, 2, ALL, 2);
    cr_assert(!replica_reports_may_found(w.reports, &all, true));
    close_world(&w);
    open_world(&w, ALL, ALL, 0);
    cr_assert(replica_reports_may_found(w.reports, &all, false));
    close_world(&w);
    open_world(&w, 1, 1, 0);
    cr_assert(replica_reports_may_found(w.reports, &one, true));
    close_world(&w);
    open_world(&w, 1, 0, 0); /* which does not know whom there is */
    cr_assert(!replica_reports_may_found(w.reports, &nobody, true));
    cr_assert(!replica_reports_make_remember(w.reports, 1));
    close_world(&w);
}
