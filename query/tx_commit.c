/* tx_commit.c -- the end: what was seen and what is wanted, said to the shards.
 *
 * Four ways, the first that fits (tables/transact.h): reads alone are looked at again in place;
 * where all shards are this node's alone and idle, all is done in place; one shard is sent all of
 * it; for several there is a manager. */
#include "engine/planted.h"
#include "query/tx_private.h"
#include "replication/tx_manager.h"

#include <string.h>

enum { LISTED_BYTES = 2048 }; /* on the stack: as much as a usual one needs */

/* What it all is by now. */
struct lists {
    struct transact all;
    struct alloc *alloc;
    void *heap; /* NULL: all is in `small` */
    size_t heap_bytes;
    _Alignas(16) uint8_t small[LISTED_BYTES];
};

static uint32_t question_parts(const struct tx *tx) {
    uint32_t parts = 0;

    for (const struct tx_question *q = tx->questions; q != NULL; q = q->next)
        for (uint32_t i = shard_set_next(&q->begun, 0); i < q->shards;
             i = shard_set_next(&q->begun, i + 1))
            parts++;
    return parts;
}

static void list_questions(const struct tx *tx, struct transact_question *out) {
    for (const struct tx_question *q = tx->questions; q != NULL; q = q->next)
        for (uint32_t i = shard_set_next(&q->begun, 0); i < q->shards;
             i = shard_set_next(&q->begun, i + 1))
            *out++ = (struct transact_question){.table = tx->table[q->table].table,
                                                .shard = i,
                                                .changes = q->shard[i].changes,
                                                .digest = q->shard[i].digest,
                                                .path = &q->path};
}

static struct transact_want want_of(const struct tx *tx, const struct tx_write *w) {
    struct transact_want want = {
        .table = tx->table[tx->key[w->key].table].table,
        .key = tx_key_value(tx, w->key),
        .hash = tx->key[w->key].hash,
        .shard = tx->key[w->key].shard,
        .request = {.op = (enum shard_op) w->op, .attribute = w->attribute, .ttl_ms = w->ttl_ms}};

    want.request.value = tx_bytes_at(tx, w->value_at, w->value_bytes);
    if (w->op == SHARD_DELETE || w->op == SHARD_UPDATE || w->op == SHARD_COUNTER)
        want.request.key = want.key;
    return want;
}

/* Snapshot isolation would not compare what it has read and does not write. */
static bool is_compared(const struct tx *tx, const struct tx_key *key) {
    return key->seen &&
           !(PLANTED(SNAPSHOT_ISOLATION) && tx->write_count != 0 && key->newest == TX_NONE);
}

/* EG_MEMORY: nothing is owed. */
static eg_err lists_open(struct lists *l, const struct tx *tx) {
    bool asked = tx->questions != NULL && !(PLANTED(SNAPSHOT_ISOLATION) && tx->write_count != 0);
    uint32_t parts = asked ? question_parts(tx) : 0, n = 0;
    size_t seen_bytes = tx->seen_count * sizeof(struct transact_seen);
    size_t want_bytes = tx->write_count * sizeof(struct transact_want);
    size_t bytes = seen_bytes + want_bytes + parts * sizeof(struct transact_question);
    struct transact_question *question;
    struct transact_seen *seen;
    struct transact_want *want;
    uint8_t *at = l->small;

    l->heap = NULL;
    l->alloc = tx->o.alloc;
    l->heap_bytes = bytes;
    if (EG_UNLIKELY(bytes > sizeof l->small)) {
        l->heap = at = alloc_get(tx->o.alloc, bytes);
        if (at == NULL)
            return EG_MEMORY;
    }
    seen = (struct transact_seen *) at;
    want = (struct transact_want *) (at + seen_bytes);
    question = (struct transact_question *) (at + seen_bytes + want_bytes);
    for (uint32_t i = 0; i < tx->key_count; i++)
        if (is_compared(tx, &tx->key[i]))
            seen[n++] = (struct transact_seen){.table = tx->table[tx->key[i].table].table,
                                               .key = tx_key_value(tx, i),
                                               .hash = tx->key[i].hash,
                                               .shard = tx->key[i].shard,
                                               .version = tx->key[i].version};
    EG_ASSERT(n == tx->seen_count || PLANTED(SNAPSHOT_ISOLATION));
    for (uint32_t i = 0; i < tx->write_count; i++)
        want[i] = want_of(tx, &tx->write[i]);
    if (parts != 0)
        list_questions(tx, question);
    l->all = (struct transact){.seen = seen,
                               .question = question,
                               .want = want,
                               .seen_count = n,
                               .question_count = parts,
                               .want_count = tx->write_count,
                               .patience = tx->o.patience};
    return EG_OK;
}

static void lists_close(struct lists *l) {
    if (EG_UNLIKELY(l->heap != NULL))
        alloc_put(l->alloc, l->heap, l->heap_bytes);
}

/* Are the tables what they were when they were used? */
static eg_err check_tables(struct tx *tx) {
    for (uint32_t i = 0; i < tx->table_count; i++) {
        eg_err err;
        if (tx_table_now(tx, i, &err) == NULL)
            return err;
    }
    return EG_OK;
}

/* All that was seen is one record: that was one moment. */
static bool is_one_look(const struct tx *tx) {
    return tx->write_count == 0 && tx->questions == NULL &&
           (tx->seen_count == 0 ||
            (tx->seen_count == 1 && tx->table_count == 1 && !tx->table[0].many));
}

/* Who holds one shard looks only a few times at the next: where that is busy for a moment, all are
 * tried again, at ever longer intervals, for about as long as a message would take.  What another
 * node has copies of is not done here however long one looks. */
static eg_err try_here(struct tx *tx, struct reader *r, const struct transact *all,
                       struct err_note *note) {
    enum { ROUNDS = 8, PAUSES_FIRST = 32 };
    uint32_t rounds = tx->o.patience > 1 ? ROUNDS : 1;
    eg_err err = transact_try(r, all, NULL, note);

    for (uint32_t i = 1; EG_UNLIKELY(err == EG_AGAIN) && i < rounds && transact_is_here(all); i++) {
        for (uint32_t pauses = PAUSES_FIRST << i; pauses > 0; pauses--)
            EG_CPU_RELAX();
        err = transact_try(r, all, NULL, note);
    }
    return err;
}

static eg_err settle(struct tx *tx, struct reader *r, struct err_note *note) {
    struct lists l;
    eg_err err = lists_open(&l, tx);

    if (err != EG_OK)
        return err;
    if (tx->write_count == 0)
        err = transact_stands(r, &l.all, note);
    else if (EG_UNLIKELY(tx->locks.count != 0))
        err = EG_AGAIN; /* by message its own locks are not in its way */
    else
        err = try_here(tx, r, &l.all, note);
    lists_close(&l);
    return err;
}

/* What has become of it, where it is over by now. */
static eg_err conclude(struct tx *tx, eg_err err, struct err_note *note) {
    if (EG_LIKELY(err == EG_OK))
        tx_end_committed(tx);
    else if (err == EG_CONFLICT)
        return tx_lose(tx, note);
    else if (err != EG_AGAIN)
        tx_end_refused(tx, note == NULL ? NULL : note->text);
    return err;
}

/* After a message: its answer, or in its place nothing, and all is tried again. */
static eg_err heard(struct tx *tx, struct err_note *note) {
    EG_ASSERT(!tx->unanswered); /* who holds it asks, and waits, first */
    if (!tx->decided)
        return EG_AGAIN;
    if (tx->outcome != EG_OK)
        (void) err_note(note, tx->outcome, "%s", tx->failed_note.text);
    return conclude(tx, tx->outcome, note);
}

eg_err tx_commit(struct tx *tx, struct reader *r, struct err_note *note) {
    eg_err err;

    if (tx->state == TX_COMMITTING) {
        err = heard(tx, note);
        if (err != EG_AGAIN || tx->asks == TX_ASKS_COMMIT)
            return err;
        tx->state = TX_OPEN; /* nobody has taken it */
    }
    err = tx_enter(tx, note);
    if (err != EG_OK)
        return err;
    EG_ASSERT(tx->level_count == 0); /* who holds it ends them */
    if (!list_is_empty(&tx->scans) || tx->stepping != NULL)
        tx_scans_end(tx);
    err = check_tables(tx);
    if (EG_UNLIKELY(err == EG_OK && tx->early_count != 0) && tx->write_count == 0) {
        err = tx_look_again(tx, r);
        if (err == EG_AGAIN)
            return err;
    }
    if (err == EG_OK && !is_one_look(tx) &&
        !(PLANTED(READERS_NOT_COMPARED) && tx->write_count == 0))
        err = settle(tx, r, note);
    if (EG_UNLIKELY(err == EG_AGAIN) && tx->o.managers != NULL) {
        tx_questions_complete(tx, r);
        tx->asks = TX_ASKS_COMMIT;
        tx->state = TX_COMMITTING;
        tx->decided = false;
        return err;
    }
    return conclude(tx, err, note);
}

/* ---- by message ---------------------------------------------------------------------------- */

eg_err tx_pack_head(struct tx *tx, struct buffer *out) {
    struct transact_head h = {.id = tx_id(tx),
                              .age = tx_age(tx),
                              .coordinator = tx->o.node,
                              .deadline_ms = tx_deadline_ms(tx)};

    return transact_pack_head(&h, out);
}

/* Is it all of one shard?  Then which. */
static bool is_of_one_shard(const struct tx *tx, uint32_t *table, uint32_t *shard) {
    bool any = false;

    for (uint32_t i = 0; i < tx->key_count; i++) {
        const struct tx_key *key = &tx->key[i];

        if (!key->seen && key->newest == TX_NONE)
            continue;
        if (any && (key->table != *table || key->shard != *shard))
            return false;
        any = true;
        *table = key->table;
        *shard = key->shard;
    }
    for (const struct tx_question *q = tx->questions; q != NULL; q = q->next)
        for (uint32_t i = shard_set_next(&q->begun, 0); i < q->shards;
             i = shard_set_next(&q->begun, i + 1)) {
            if (any && (q->table != *table || i != *shard))
                return false;
            any = true;
            *table = q->table;
            *shard = i;
        }
    return any;
}

/* Validated and made in one turn of its master. */
static eg_err one_message(struct tx *tx, const struct transact *all, uint32_t table, uint32_t shard,
                          eg_pid *to, struct message **out) {
    struct shard_request q = {.op = SHARD_TX_ONE, .attribute = SHARD_NO_ATTRIBUTE};
    struct table *t = tx->table[table].table;
    struct buffer head, part;
    eg_err err;

    buffer_init(&head, tx->o.alloc, SIZE_MAX);
    buffer_init(&part, tx->o.alloc, SIZE_MAX);
    err = tx_pack_head(tx, &head);
    if (err == EG_OK)
        err = transact_pack_part(all, t, shard, &part);
    q.key = (struct value){head.at, (uint32_t) head.size_bytes};
    q.value = (struct value){part.at, (uint32_t) part.size_bytes};
    if (err == EG_OK)
        err = transact_message(t, shard, &q, to, out);
    buffer_fini(&head);
    buffer_fini(&part);
    return err;
}

eg_err tx_commit_ask(struct tx *tx, eg_pid *to, struct message **out) {
    struct tx_commit c = {.id = tx_id(tx), .age = tx_age(tx), .deadline_ms = tx_deadline_ms(tx)};
    uint32_t table, shard;
    struct lists l;
    eg_err err;

    if (tx->decided)
        return EG_NOT_FOUND;
    err = check_tables(tx);
    if (err == EG_OK)
        err = lists_open(&l, tx);
    if (err != EG_OK)
        return err;
    c.what = &l.all;
    if (is_of_one_shard(tx, &table, &shard) && !transact_is_singly(&l.all))
        err = one_message(tx, &l.all, table, shard, to, out);
    else
        err = tx_commit_message(tx->o.managers, &c, to, out);
    lists_close(&l);
    return err;
}

void tx_commit_refused(struct tx *tx, eg_err err) {
    tx->asks = TX_ASKS_NOTHING;
    tx->failed_note.text[0] = '\0';
    tx->decided = err != EG_BUSY;
    tx->outcome = err;
    if (!tx->decided && !tx->id_given)
        tx->id = (struct transact_id){0, 0}; /* of what was not done somebody may still think */
}

/* Not handled: it is tried again, in place first, while there is time.  Else that is what has
 * become of it, and an answer that did not come leaves it in doubt. */
void tx_commit_answered(struct tx *tx, eg_err err, struct value result) {
    char id[TX_ID_TEXT_BYTES];

    tx_commit_refused(tx, err == EG_NOPROC ? EG_BUSY : err);
    if (err == EG_TIMEOUT) {
        tx->outcome = EG_IN_DOUBT;
        tx_id_text(tx_id(tx), id);
        (void) err_note(&tx->failed_note, EG_IN_DOUBT, "in_doubt: %s", id);
    } else if (err != EG_OK) {
        (void) err_note(&tx->failed_note, err, "%.*s", (int) EG_MIN(result.size_bytes, 255u),
                        (const char *) result.at);
    }
}
