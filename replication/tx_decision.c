/* tx_decision.c -- rows of decisions to commit. */
#include "replication/tx_decision.h"

#include "engine/actor.h"
#include "tables/value.h"

#include <string.h>

static void put_u64(uint8_t *at, uint64_t n) {
    for (int i = 7; i >= 0; i--, n >>= 8)
        at[i] = (uint8_t) n;
}

static struct disc_bytes key_of(uint8_t key[TX_DECISION_KEY_BYTES], struct transact_id id) {
    key[0] = DISC_META_DECISION;
    put_u64(key + 1, id.high);
    put_u64(key + 9, id.low);
    return (struct disc_bytes){key, TX_DECISION_KEY_BYTES};
}

void tx_decision_init(struct tx_decision *d, struct alloc *a, struct runtime *rt,
                      _Atomic uint64_t *pid) {
    *d = (struct tx_decision){.runtime = rt, .pid = pid};
    disc_batch_init(&d->batch, a);
}

void tx_decision_fini(struct tx_decision *d) {
    disc_batch_fini(&d->batch);
    if (d->word != NULL)
        message_free(d->runtime, d->word);
    d->word = NULL;
}

/* On the writer's thread. */
static void done(struct disc_request *q, eg_err err) {
    struct tx_decision *d = EG_CONTAINER_OF(q, struct tx_decision, request);
    uint64_t pid = atomic_load(d->pid);
    struct message *word = d->word;
    struct runtime *rt = d->runtime;

    d->word = NULL;
    atomic_store(&d->err, err);
    atomic_store(&d->state, TX_DECISION_DONE); /* from here on it may be gone */
    (void) runtime_send(rt, EG_PID_NONE,
                        (eg_pid){runtime_node(rt), (uint32_t) (pid >> 32), (uint32_t) pid}, word);
}

static eg_err submit(struct tx_decision *d, struct disc *disc, bool sync, uint32_t tag,
                     uint64_t number) {
    eg_err err;

    d->word = message_copy(d->runtime, MESSAGE_REPLY, &number, sizeof number);
    if (d->word == NULL)
        return EG_MEMORY;
    d->word->kind = MESSAGE_REPLY; /* it always passes */
    d->word->tag = tag;
    d->request = (struct disc_request){
        .kind = DISC_WRITE, .sync = sync, .reserved = true, .batch = &d->batch, .done = done};
    atomic_store(&d->state, TX_DECISION_UNDER_WAY);
    err = disc_submit(disc, &d->request);
    if (err == EG_OK)
        return EG_OK;
    atomic_store(&d->state, TX_DECISION_IDLE);
    message_free(d->runtime, d->word);
    d->word = NULL;
    return err;
}

eg_err tx_decision_write(struct tx_decision *d, struct disc *disc, struct transact_id id,
                         struct value bundle, uint32_t tag, uint64_t number) {
    uint8_t key[TX_DECISION_KEY_BYTES];
    eg_err err;

    disc_batch_reset(&d->batch);
    err = disc_batch_put(&d->batch, disc->meta, key_of(key, id),
                         (struct disc_bytes){bundle.at, bundle.size_bytes});
    return err == EG_OK ? submit(d, disc, true, tag, number) : err;
}

eg_err tx_decision_erase(struct tx_decision *d, struct disc *disc, struct transact_id id,
                         uint32_t tag, uint64_t number) {
    uint8_t key[TX_DECISION_KEY_BYTES];
    eg_err err;

    disc_batch_reset(&d->batch);
    err = disc_batch_del(&d->batch, disc->meta, key_of(key, id));
    return err == EG_OK ? submit(d, disc, false, tag, number) : err;
}

eg_err tx_decision_each(struct disc *disc, eg_err (*see)(void *context, struct disc_bytes row),
                        void *context) {
    static const uint8_t from[] = {DISC_META_DECISION}, to[] = {DISC_META_DECISION + 1};
    struct disc_range range = {.from = {from, sizeof from}, .to = {to, sizeof to}};
    struct disc_iter *it;
    eg_err err = disc_iter_open(disc, disc->meta, &range, &it);

    if (err != EG_OK)
        return err;
    it->ops->seek(it, range.from);
    while (it->valid && err == EG_OK) {
        err = see(context, it->value);
        if (err == EG_OK)
            it->ops->next(it);
    }
    if (err == EG_OK)
        err = it->err;
    it->ops->close(it);
    return err;
}
