/* shard_moment.c -- a shard's part in a moment of many tables: be ready for a snapshot, then
 * wait in the catalog's hands. */
#include "engine/runtime.h"
#include "tables/shard.h"
#include "tables/shard_actor.h"

#include <string.h>

enum { WIPE_STEPS = 8 }; /* of a store's traces of an earlier snapshot, a turn */

static void reply(struct actor *self, eg_pid to, eg_ref ref, eg_err err) {
    static const uint8_t yes = 0xc3;
    static const char other[] = "another backup of the same tables is under way";

    if (err == EG_OK)
        actor_reply_bytes(self, to, ref, EG_OK, &yes, 1);
    else
        actor_reply_bytes(self, to, ref, err, other, err == EG_BUSY ? strlen(other) : 0);
}

void shard_prepare(struct actor *self, struct shard *s, struct message *m) {
    struct store_snapshot *snapshot;
    eg_pid from = m->from;
    eg_ref ref = m->ref;
    eg_err err = EG_AGAIN;

    shard_thaw(s);
    for (uint32_t i = 0; i < WIPE_STEPS && err == EG_AGAIN; i++)
        err = s->store->ops->snapshot_open(s->store, &snapshot);
    if (err == EG_OK)
        s->store->ops->snapshot_close(s->store,
                                      snapshot); /* nothing was put: it leaves no traces */
    if (err == EG_AGAIN) { /* more of it after what others have asked meanwhile */
        actor_keep(self, m);
        if (runtime_send(actor_runtime(self), from, actor_pid(self), m) == EG_OK)
            return;
    }
    reply(self, from, ref, err);
}

void shard_lend(struct actor *self, struct shard *s, const struct message *m) {
    uint64_t number;

    memcpy(&number, m->payload, sizeof number);
    if (loan_asked(&s->loan, number))
        actor_lend(self, &s->loan, number);
    reply(self, m->from, m->ref, EG_OK);
}
