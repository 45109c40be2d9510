/* copies_tell.c -- how a table's copies stand to each other, for who looks for what keeps them. */
#include "replication/cluster_private.h"
#include "replication/feed_private.h"
#include "replication/schema_sync_private.h"
#include "tables/catalog_job.h"
#include "tests/sim/copies.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static const char *role_name(enum shard_role role) {
    static const char *const names[] = {"alone", "master", "full", "filling", "away", "stopped"};
    return (size_t) role < EG_COUNTOF(names) ? names[role] : "?";
}

static void tell_follower(const struct follower *f) {
    printf("#       %016" PRIx64 "%s%s%s%s%s%s stage %d session %" PRIu64 " asked %" PRIu64
           " covered %" PRIu64 " end %" PRIu64 "\n",
           f->node, f->once ? " once" : "", f->heard ? " heard" : "", f->asked ? " asked" : "",
           f->lacked ? " lacked" : "", f->partial ? " partial" : "", f->full ? " full" : "",
           (int) f->stage, f->session, f->asked_session, f->covered, f->end_sequence);
}

static void tell_shard(const struct sim_node *n, const struct shard *s) {
    const struct feed *st = feed_of(s);

    printf("#   %s shard %u: %s, needs %u", n->name, s->number, role_name(shard_role(s)),
           atomic_load(&s->needs));
    if (st == NULL) {
        printf(", no feed\n");
        return;
    }
    printf(", view %" PRIx64 ", master %016" PRIx64 "%s%s%s%s%s%s%s%s%s%s following %" PRIu64
           " acked %" PRIu64 " pause %u quiet %u\n",
           st->plan.view.epoch, st->plan.master, st->plan.here ? " here" : "",
           st->plan.drop ? " drop" : "", st->stopped ? " stopped" : "",
           st->serving ? " serving" : "", st->ended ? " ended" : "", st->barred ? " barred" : "",
           st->ticking ? " ticking" : "", st->stepping ? " stepping" : "", st->owes ? " owes" : "",
           st->was_full ? " was_full" : "", st->following, st->acked, st->pause_ticks,
           st->quiet_ticks);
    for (uint32_t i = 0; i < st->plan.count; i++)
        printf("#       holder %016" PRIx64 "%s%s%s\n", st->plan.holder[i].node,
               st->plan.holder[i].must ? " must" : "", st->plan.holder[i].ill ? " ill" : "",
               st->plan.holder[i].well ? " well" : "");
    for (uint32_t i = 0; i < st->follower_count; i++)
        tell_follower(st->follower[i]);
}

void copies_tell_node(const struct sim_node *n) {
    const struct schema_sync *s;

    if (!n->up)
        return;
    s = n->cluster->schema;
    printf("#   %s: view %016" PRIx64 " of %u, tables %swhole%s\n", n->name, sim_node_view(n),
           sim_node_view_count(n), schema_sync_is_whole(s) ? "" : "not ",
           s->again ? ", asked for again" : "");
    for (const struct list_node *l = s->list.entries.next; l != &s->list.entries; l = l->next) {
        const struct schema_entry *e = EG_CONTAINER_OF(l, struct schema_entry, node);
        const struct table *t = catalog_find(n->catalog, e->name.text, e->name.size_bytes);
        printf("#       %s of %016" PRIx64 "%s, layout %016" PRIx64 ", changes", e->name.text,
               e->id, e->live ? "" : ", dropped", t == NULL ? 0 : table_schema(t)->layout);
        for (uint32_t i = 0; i < e->change_count; i++)
            printf(" %" PRIx64 ":%u:%016" PRIx64, e->changes[i].stamp, e->changes[i].op,
                   (uint64_t) XXH3_64bits(e->changes[i].at, e->changes[i].size_bytes));
        printf("\n");
    }
    for (const struct list_node *l = s->steps.next; l != &s->steps; l = l->next) {
        const struct schema_step *p = EG_CONTAINER_OF(l, struct schema_step, node);
        printf("#       step %" PRIu64 ": %u to %s%s%s%s\n", p->number, p->op, p->name.text,
               p->unsent ? ", unsent" : "", p->held ? ", held" : "", p->decided ? ", decided" : "");
    }
    for (const struct list_node *l = n->catalog->jobs.next; l != &n->catalog->jobs; l = l->next) {
        const struct job *j = EG_CONTAINER_OF(l, struct job, node);
        printf("#       job: %u step %d asked %u err %d%s\n", j->request.op, (int) j->step,
               j->asked, (int) j->err, j->retiring ? " retiring" : "");
    }
    for (const struct list_node *l = n->catalog->waiting.next; l != &n->catalog->waiting;
         l = l->next)
        printf("#       a job waits\n");
}

void copies_tell(struct sim_node *n, const char *table) {
    struct reader r;
    struct table *t;

    if (!n->up)
        return;
    EG_ASSERT(reader_open(&r, n->epoch, alloc_system()) == EG_OK);
    reader_enter(&r);
    t = catalog_find(n->catalog, table, strlen(table));
    for (uint32_t i = 0; t != NULL && i < table_shards(t); i++)
        tell_shard(n, table_shard(t, i));
    reader_exit(&r);
    reader_close(&r);
}
