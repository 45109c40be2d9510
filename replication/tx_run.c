/* tx_run.c -- one transaction under way: what its machine says is done, and what comes of it is
 * told to it. */
#include "replication/tx_manager_private.h"

#include "engine/failpoint.h"
#include "tables/catalog.h"
#include "tables/outcome.h"
#include "tables/value_append.h"

#include <stdio.h>
#include <string.h>

/* A reference of a request: | generation | slot | part | what | 0, for it is no question's |. */
enum { WHAT_BITS = 4, PART_BITS = 12, SLOT_BITS = 17, REF_SHIFT = 1 + WHAT_BITS + PART_BITS };

enum { STEPS_MAX = 32 }; /* of one run in a turn: others wait for theirs */

#define GIVEN_MASK ((UINT64_C(1) << (64 - REF_SHIFT - SLOT_BITS)) - 1)

#define FORGET_NS                                                                                  \
    (UINT64_C(60) * 1000000000) /* behind its deadline: whoever should hear is gone                \
                                 */

_Static_assert(TRANSACT_PARTS_MAX <= 1 << PART_BITS,
               "a part's number has its place in a reference");
_Static_assert(TX_RUNS_MAX <= 1 << SLOT_BITS, "and so has a run's");
_Static_assert(TX_DO_REDO < 1 << WHAT_BITS, "and what it was asked");

static uint32_t slot_of(uint64_t number) {
    return (uint32_t) (number & ((1u << SLOT_BITS) - 1));
}

static eg_ref ref_of(const struct tx_run *run, uint32_t part, enum tx_do what) {
    return run->number << REF_SHIFT | (uint64_t) part << (1 + WHAT_BITS) | (uint64_t) what << 1;
}

static struct tx_run *by_number(const struct tx_manager *m, uint64_t number) {
    struct tx_run *run = slot_of(number) < m->slot_count ? m->slot[slot_of(number)] : NULL;

    return run != NULL && run->number == number ? run : NULL;
}

struct tx_run *tx_run_find(struct tx_manager *m, struct transact_id id) {
    for (struct list_node *n = m->runs.next; n != &m->runs; n = n->next) {
        struct tx_run *run = EG_CONTAINER_OF(n, struct tx_run, node);

        if (transact_id_equal(run->id, id))
            return run;
    }
    return NULL;
}

/* ---- beginning, end -------------------------------------------------------------------------- */

/* Is it under way already, or a try of another request with the same name?  Those have ids of one
 * kind (transact_id_of_try()), and of one request the same age. */
static bool is_under_way(const struct tx_manager *m, const struct tx_bundle *b) {
    for (struct list_node *n = m->runs.next; n != &m->runs; n = n->next) {
        const struct tx_run *run = EG_CONTAINER_OF(n, struct tx_run, node);
        bool of_one_age = memcmp(&run->age, &b->age, sizeof b->age) == 0;

        if (transact_id_equal(run->id, b->id) ||
            ((run->id.high ^ run->id.low) == (b->id.high ^ b->id.low) && !of_one_age))
            return true;
    }
    return false;
}

static eg_err more_slots(struct tx_manager *m) {
    struct alloc *a = m->all->o.alloc;
    uint32_t count = m->slot_count == 0 ? 64 : EG_MIN(2 * m->slot_count, (uint32_t) TX_RUNS_MAX);
    struct tx_run **slot;
    uint32_t *unused;

    if (m->slot_count == TX_RUNS_MAX)
        return EG_BUSY;
    slot = alloc_zero(a, count * sizeof(struct tx_run *));
    unused = alloc_get(a, count * sizeof *unused);
    if (slot == NULL || unused == NULL) {
        alloc_put(a, slot, slot == NULL ? 0 : count * sizeof(struct tx_run *));
        alloc_put(a, unused, unused == NULL ? 0 : count * sizeof *unused);
        return EG_MEMORY;
    }
    if (m->slot_count != 0) {
        memcpy(slot, m->slot, m->slot_count * sizeof(struct tx_run *));
        alloc_put(a, m->slot, m->slot_count * sizeof(struct tx_run *));
        alloc_put(a, m->unused, m->slot_count * sizeof *unused);
    }
    for (uint32_t i = count; i-- > m->slot_count;)
        unused[m->unused_count++] = i;
    m->slot = slot;
    m->unused = unused;
    m->slot_count = count;
    return EG_OK;
}

static eg_err make_head(struct tx_manager *m, struct tx_run *run, const struct tx_bundle *b) {
    const struct transact_head head = {.id = b->id,
                                       .age = b->age,
                                       .coordinator = m->all->peers.self,
                                       .deadline_ms = b->deadline_ms};

    return transact_pack_head(&head, &run->head);
}

static struct table *find_table(const struct tx_manager *m, const struct tx_place *p) {
    struct table *t =
        catalog_find(m->all->o.catalog, (const char *) p->name.at, p->name.size_bytes);

    return t != NULL && table_schema(t)->id == p->table && p->shard < table_shards(t) ? t : NULL;
}

static bool is_firm(const struct tx_manager *m, const struct tx_place *p) {
    const struct table *t = find_table(m, p);

    return t != NULL && table_schema(t)->majority;
}

static eg_err read_places(struct tx_manager *m, struct tx_run *run, const struct tx_bundle *b) {
    struct alloc *a = m->all->o.alloc;
    struct value_iter it = b->places;
    size_t count = EG_MAX(b->count, 1u);
    bool changes = false;

    run->place = alloc_get(a, count * sizeof *run->place);
    run->part = alloc_zero(a, count * sizeof *run->part);
    run->look = alloc_zero(a, count * sizeof *run->look);
    run->count = b->count;
    if (run->place == NULL || run->part == NULL || run->look == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < b->count; i++) {
        if (!tx_bundle_next(&it, &run->place[i]))
            return EG_CORRUPT;
        run->part[i].reads = transact_part_reads(run->place[i].part);
        run->part[i].firm = is_firm(m, &run->place[i]);
        changes |= !run->part[i].reads;
    }
    for (uint32_t i = 0; i < b->count && !changes; i++)
        run->part[i].reads = false; /* nothing is held that makes one moment of many looks */
    return make_head(m, run, b);
}

static void free_parts(struct tx_manager *m, struct tx_run *run) {
    struct alloc *a = m->all->o.alloc;
    size_t count = EG_MAX(run->count, 1u);

    EG_ASSERT(tx_decision_state(&run->decision) != TX_DECISION_UNDER_WAY);
    if (run->place != NULL)
        alloc_put(a, run->place, count * sizeof *run->place);
    if (run->part != NULL)
        alloc_put(a, run->part, count * sizeof *run->part);
    if (run->look != NULL)
        alloc_put(a, run->look, count * sizeof *run->look);
    tx_decision_fini(&run->decision);
    buffer_fini(&run->head);
    message_free(m->all->o.runtime, run->bundle);
    alloc_put(a, run, sizeof *run);
}

/* How long from now until that moment by the wall's clock. */
static uint64_t deadline_ns(const struct tx_manager *m, uint64_t deadline_ms) {
    int64_t left_ms = (int64_t) deadline_ms - env_wall_ms(m->all->o.env);

    return tx_now_ns(m) + (left_ms <= 0 ? 0 : (uint64_t) left_ms * 1000000);
}

eg_err tx_run_new(struct tx_manager *m, struct message *bundle, bool recalled,
                  struct tx_run **out) {
    struct tx_run *run = alloc_zero(m->all->o.alloc, sizeof *run);
    struct tx_bundle b;
    eg_err err = EG_OK;

    if (run == NULL) {
        message_free(m->all->o.runtime, bundle);
        return EG_MEMORY;
    }
    run->bundle = bundle;
    run->from = bundle->from;
    run->ref = bundle->ref;
    run->recalled = run->written = recalled;
    buffer_init(&run->head, m->all->o.alloc, TRANSACT_PART_BYTES_MAX);
    tx_decision_init(&run->decision, m->all->o.alloc, m->all->o.runtime, &m->pid);
    if (!tx_bundle_get((struct value){bundle->payload, bundle->size_bytes}, &b))
        err = EG_CORRUPT;
    else if (is_under_way(m, &b))
        err = EG_EXISTS;
    if (err == EG_OK)
        err = read_places(m, run, &b);
    if (err == EG_OK && m->unused_count == 0)
        err = more_slots(m);
    if (err != EG_OK) {
        free_parts(m, run);
        return err;
    }
    run->id = b.id;
    run->age = b.age;
    run->began_ns = tx_now_ns(m);
    run->deadline_ns = deadline_ns(m, b.deadline_ms);
    run->number = (++m->given & GIVEN_MASK) << SLOT_BITS | m->unused[--m->unused_count];
    m->slot[slot_of(run->number)] = run;
    list_push_back(&m->runs, &run->node);
    if (recalled)
        tx_machine_recall(&run->machine, run->part, run->count);
    else
        /* What became of a single part is in its shard: no decision has to say it. */
        tx_machine_begin(&run->machine, run->part, run->count,
                         b.logs && m->all->o.disc != NULL && run->count > 1);
    *out = run;
    return EG_OK;
}

void tx_run_free(struct tx_manager *m, struct tx_run *run) {
    list_remove(&run->node);
    m->slot[slot_of(run->number)] = NULL;
    m->unused[m->unused_count++] = slot_of(run->number);
    free_parts(m, run);
}

/* ---- doing what is to be done ---------------------------------------------------------------- */

static void put_blind(struct value_writer *w, const void *what) {
    struct value_iter it = value_iter_of(*(const struct value *) what);
    struct value v;

    value_put_array(w, it.left);
    for (uint32_t i = 0; value_iter_next(&it, &v); i++)
        if (i < 2)
            value_put_array(w, 0); /* keys seen, questions */
        else
            value_put_raw(w, v);
}

static void put_whole(struct value_writer *w, const void *what) {
    value_put_raw(w, *(const struct value *) what);
}

/* What it wants, however late, and but for a majority table whatever is there: what it has seen was
 * so when it was decided. */
static eg_err make_redo(struct tx_manager *m, const struct tx_run *run, uint32_t part,
                        struct shard_request *q) {
    struct transact_head head;
    size_t head_bytes;
    eg_err err;

    EG_ASSERT(transact_get_head(q->key, &head));
    head.deadline_ms = 0;
    buffer_clear(&m->out);
    err = transact_pack_head(&head, &m->out);
    head_bytes = m->out.size_bytes;
    if (err == EG_OK)
        err = value_append(&m->out, run->part[part].firm ? put_whole : put_blind,
                           &run->place[part].part);
    q->key = (struct value){m->out.at, (uint32_t) head_bytes};
    q->value = (struct value){m->out.at + head_bytes, (uint32_t) (m->out.size_bytes - head_bytes)};
    return err;
}

static eg_err ask(struct tx_manager *m, struct actor *self, struct tx_run *run,
                  const struct tx_step *step) {
    static const enum shard_op op_of[] = {[TX_DO_PREPARE] = SHARD_TX_PREPARE,
                                          [TX_DO_COMMIT] = SHARD_TX_COMMIT,
                                          [TX_DO_ABORT] = SHARD_TX_ABORT,
                                          [TX_DO_REDO] = SHARD_TX_ONE,
                                          [TX_DO_LOOK] = SHARD_TX_STATUS};
    const struct tx_place *p = &run->place[step->part];
    struct shard_request q = {.op = op_of[step->what],
                              .attribute = SHARD_NO_ATTRIBUTE,
                              .key = {run->head.at, (uint32_t) run->head.size_bytes}};
    struct table *t = find_table(m, p);
    uint8_t view[TX_VIEW_BYTES];
    struct message *call;
    eg_pid to;
    eg_err err = t == NULL ? EG_NO_TABLE : EG_OK;

    if (err == EG_OK && step->what == TX_DO_PREPARE) {
        if (schema_records_id(table_schema(t)) != p->records)
            return EG_CONFLICT; /* what it wants means something else by now */
        q.value = p->part;
    }
    if (step->what == TX_DO_COMMIT)
        q.value = tx_view_put(m, view);
    if (err == EG_OK && step->what == TX_DO_REDO)
        err = make_redo(m, run, step->part, &q);
    if (err == EG_OK)
        err = transact_message(t, p->shard, &q, &to, &call);
    if (err != EG_OK)
        return err;
    call->ref = ref_of(run, step->part, step->what);
    return actor_send(self, to, call);
}

/* All that it changes is held: does stand here what it has seen and does not change? */
static eg_err look_first(struct tx_manager *m, struct tx_run *run, uint32_t part, struct table *t) {
    const struct tx_place *p = &run->place[part];
    struct tx_look *look = &run->look[part];

    run->flickers -= look->flickers;
    *look = (struct tx_look){.changes = transact_changes(t, p->shard),
                             .flickers = transact_part_flickers(t, p->part)};
    run->flickers += look->flickers;
    return transact_part_stands(t, p->shard, &m->reader, p->part);
}

/* The changes are compared behind the look: of two that another has made in between, and that
 * leave what was there before, the first one has been counted when the second one can be seen. */
static eg_err look_again(struct tx_manager *m, struct tx_run *run, uint32_t part, struct table *t) {
    const struct tx_place *p = &run->place[part];
    const struct tx_look *look = &run->look[part];
    eg_err err;

    if (run->flickers == 0)
        return EG_OK; /* each was so from when it was seen: all were, before the first look */
    err = transact_part_stands(t, p->shard, &m->reader, p->part);
    return err == EG_OK && look->flickers != 0 && transact_changes(t, p->shard) != look->changes
               ? EG_AGAIN
               : err;
}

static eg_err check(struct tx_manager *m, struct tx_run *run, const struct tx_step *step) {
    const struct tx_place *p = &run->place[step->part];
    struct table *t;
    eg_err err;

    reader_enter(&m->reader);
    t = find_table(m, p);
    if (t == NULL)
        err = EG_AGAIN;
    else if (schema_records_id(table_schema(t)) != p->records)
        err = EG_CONFLICT;
    else
        err = step->what == TX_DO_CHECK ? look_first(m, run, step->part, t)
                                        : look_again(m, run, step->part, t);
    reader_exit(&m->reader);
    reader_reset(&m->reader); /* a scheduler's sections do not end by themselves */
    if (err == EG_CONFLICT && run->why[0] == '\0')
        snprintf(run->why, sizeof run->why, "what it has seen was changed");
    return err;
}

static void write_decision(struct tx_manager *m, struct tx_run *run) {
    const struct value bundle = {run->bundle->payload, run->bundle->size_bytes};
    eg_err err;

    if (tx_decision_state(&run->decision) == TX_DECISION_UNDER_WAY)
        return; /* for who had this run before: it says so all the same */
    err =
        tx_decision_write(&run->decision, m->all->o.disc, run->id, bundle, TX_LOGGED, run->number);
    run->written = err == EG_OK;
    if (err != EG_OK)
        tx_machine_logged(&run->machine, err);
}

static void answer(struct tx_manager *m, struct actor *self, struct tx_run *run) {
    static const uint8_t yes = 0xc3;
    char text[sizeof run->why + TX_ID_TEXT_BYTES];
    char id[TX_ID_TEXT_BYTES];
    eg_err err = run->machine.outcome;

    (void) m;
    if (err == EG_OK) {
        actor_reply_bytes(self, run->from, run->ref, EG_OK, &yes, 1);
        return;
    }
    tx_id_text(run->id, id);
    if (err == EG_IN_DOUBT)
        snprintf(text, sizeof text, "in_doubt: %s", id);
    else
        snprintf(text, sizeof text, "%s",
                 run->why[0] != '\0'  ? run->why
                 : err == EG_ABORTED  ? "its time was over"
                 : err == EG_CONFLICT ? "who has copies has changed meanwhile"
                                      : eg_err_text(err));
    actor_reply_bytes(self, run->from, run->ref, err, text, strlen(text));
}

static void note_outcome(struct tx_manager *m, const struct tx_run *run) {
    if (!run->machine.unsure)
        outcome_put(catalog_outcomes(m->all->o.catalog), run->id,
                    run->machine.outcome == EG_OK ? OUTCOME_COMMITTED : OUTCOME_ABORTED);
}

/* What the disc has said of the decision: an error is no promise that nothing of it is there. */
static void tell_logged(struct tx_run *run) {
    if ((eg_err) atomic_load(&run->decision.err) == EG_OK)
        tx_machine_logged(&run->machine, EG_OK);
    else
        tx_machine_log_lost(&run->machine);
}

/* It is over: its row can go, and then it. */
static void end(struct tx_manager *m, struct tx_run *run) {
    if (tx_decision_state(&run->decision) == TX_DECISION_UNDER_WAY)
        return;
    if (run->written && !run->erased) {
        run->erased = true;
        if (tx_decision_erase(&run->decision, m->all->o.disc, run->id, TX_LOGGED, run->number) ==
            EG_OK)
            return;
    }
    tx_run_free(m, run); /* a row that could not be erased is carried out once more, to no effect */
}

/* Steps that a test may fail at. */
static void come_to_asked(struct tx_manager *m, struct actor *self, enum tx_do what) {
    (void) m;
    (void) self;
    if (what == TX_DO_PREPARE)
        FAILPOINT("2pc.coord.prepare_sent", m->all->o.runtime, actor_pid(self));
    else if (what == TX_DO_COMMIT)
        FAILPOINT("2pc.coord.commit_sent", m->all->o.runtime, actor_pid(self));
    else if (what == TX_DO_ABORT)
        FAILPOINT("2pc.coord.abort_sent", m->all->o.runtime, actor_pid(self));
}

static void come_to_heard(struct tx_manager *m, struct actor *self, enum tx_do what) {
    (void) m;
    (void) self;
    if (what == TX_DO_PREPARE)
        FAILPOINT("2pc.coord.vote_heard", m->all->o.runtime, actor_pid(self));
    else if (what == TX_DO_COMMIT)
        FAILPOINT("2pc.coord.commit_heard", m->all->o.runtime, actor_pid(self));
}

/* In another turn, behind what has come meanwhile.  False: there is no memory to say so. */
static bool go_on_later(struct actor *self, struct tx_run *run) {
    struct message *word;

    if (run->goes_on)
        return true;
    word = message_copy(actor_runtime(self), MESSAGE_REPLY, &run->number, sizeof run->number);
    if (word == NULL)
        return false;
    word->tag = TX_GO_ON;
    run->goes_on = actor_send(self, actor_pid(self), word) == EG_OK;
    return run->goes_on;
}

void tx_run_go_on(struct tx_manager *m, struct actor *self, uint64_t number) {
    struct tx_run *run = by_number(m, number);

    if (run == NULL)
        return;
    run->goes_on = false;
    tx_run_move(m, self, run);
}

void tx_run_move(struct tx_manager *m, struct actor *self, struct tx_run *run) {
    run->early = run->recalled && tx_awaits_view(m);
    if (run->early)
        return;
    for (uint32_t steps = 1;; steps++) {
        struct tx_step step;
        eg_err err;

        if (steps % (STEPS_MAX + 1) == 0 && go_on_later(self, run))
            return;
        step = tx_machine_next(&run->machine);

        switch (step.what) {
        case TX_DO_NOTHING:
            if (run->machine.ended)
                end(m, run);
            return;
        case TX_DO_LOG:
            FAILPOINT("2pc.coord.decided", m->all->o.runtime, actor_pid(self));
            write_decision(m, run);
            break;
        case TX_DO_ANSWER:
            answer(m, self, run);
            FAILPOINT("2pc.coord.answered", m->all->o.runtime, actor_pid(self));
            break;
        case TX_DO_END:
            FAILPOINT("2pc.coord.end", m->all->o.runtime, actor_pid(self));
            note_outcome(m, run);
            break;
        case TX_DO_CHECK:
        case TX_DO_CONFIRM:
            tx_machine_heard(&run->machine, step.part, step.what, check(m, run, &step));
            break;
        default:
            err = ask(m, self, run, &step);
            come_to_asked(m, self, step.what);
            if (err == EG_NO_TABLE && run->recalled &&
                tx_now_ns(m) - m->all->opened_ns < (uint64_t) TX_RECALL_TABLES_MS * 1000000)
                err = EG_NO_REPLICA;
            if (err != EG_OK)
                tx_machine_heard(&run->machine, step.part, step.what, err);
        }
    }
}

/* ---- what comes of it ------------------------------------------------------------------------ */

static bool is_text(const uint8_t *at, uint32_t size_bytes, const char *text) {
    return size_bytes == strlen(text) && memcmp(at, text, size_bytes) == 0;
}

/* What a part's shard says of it, looked at. */
static eg_err look_of(const struct message *reply) {
    struct value said = {reply->payload, (uint32_t) reply->size_bytes};
    const uint8_t *at;
    uint32_t size_bytes;

    if (!value_get_bytes(said, &at, &size_bytes))
        return EG_AGAIN;
    return is_text(at, size_bytes, "prepared")    ? EG_OK
           : is_text(at, size_bytes, "committed") ? EG_EXISTS
           : is_text(at, size_bytes, "aborted")   ? EG_ABORTED
                                                  : EG_NOT_FOUND;
}

void tx_run_hear(struct tx_manager *m, struct actor *self, const struct message *reply) {
    struct tx_run *run = by_number(m, reply->ref >> REF_SHIFT);
    uint32_t part = (uint32_t) (reply->ref >> (1 + WHAT_BITS)) & ((1u << PART_BITS) - 1);
    enum tx_do what = (enum tx_do)((reply->ref >> 1) & ((1u << WHAT_BITS) - 1));
    eg_err err = (eg_err) reply->tag;

    if (run == NULL || part >= run->count)
        return;
    if (err == EG_NOPROC) /* its actor was being replaced, and has not looked at it */
        err = what == TX_DO_PREPARE ? EG_NO_REPLICA : EG_BUSY;
    if (err == EG_NO_TABLE && what != TX_DO_PREPARE && find_table(m, &run->place[part]) != NULL)
        err = EG_AGAIN; /* who was asked has not heard of it yet: what is dropped is so here too */
    if (what == TX_DO_LOOK && err == EG_OK)
        err = look_of(reply);
    if (what == TX_DO_PREPARE && err != EG_OK && run->why[0] == '\0')
        snprintf(run->why, sizeof run->why, "%.*s",
                 (int) EG_MIN(reply->size_bytes, sizeof run->why - 1),
                 (const char *) reply->payload);
    tx_machine_heard(&run->machine, part, what, err);
    come_to_heard(m, self, what);
    tx_run_move(m, self, run);
}

void tx_run_logged(struct tx_manager *m, struct actor *self, uint64_t number) {
    struct tx_run *run = by_number(m, number);

    if (run == NULL || tx_decision_state(&run->decision) != TX_DECISION_DONE)
        return;
    FAILPOINT("2pc.coord.logged", m->all->o.runtime, actor_pid(self));
    if (!run->erased)
        tell_logged(run);
    tx_run_move(m, self, run);
}

void tx_runs_tick(struct tx_manager *m, struct actor *self) {
    uint64_t now = tx_now_ns(m);

    for (struct list_node *n = m->runs.next, *next; n != &m->runs; n = next) {
        struct tx_run *run = EG_CONTAINER_OF(n, struct tx_run, node);
        bool moved = run->early;

        next = n->next;
        if (run->deadline_ns <= now && (!run->machine.answered || !run->machine.late)) {
            tx_machine_expire(&run->machine);
            moved = true;
        }
        if (run->machine.answered && run->deadline_ns + FORGET_NS <= now) {
            tx_machine_forget(&run->machine);
            moved = true;
        }
        if (run->retry_ns <= now && tx_machine_waits(&run->machine)) {
            run->retry_ns = now + (uint64_t) TX_RETRY_MS * 1000000;
            tx_machine_retry(&run->machine);
            moved = true;
        }
        if (moved)
            tx_run_move(m, self, run);
    }
}

void tx_runs_view(struct tx_manager *m, struct actor *self) {
    for (struct list_node *n = m->runs.next, *next; n != &m->runs; n = next) {
        struct tx_run *run = EG_CONTAINER_OF(n, struct tx_run, node);

        next = n->next;
        tx_machine_view(&run->machine);
        tx_run_move(m, self, run);
    }
}

void tx_runs_restart(struct tx_manager *m, struct actor *self) {
    for (struct list_node *n = m->runs.next, *next; n != &m->runs; n = next) {
        struct tx_run *run = EG_CONTAINER_OF(n, struct tx_run, node);

        next = n->next;
        run->goes_on = false; /* that was said to the one before */
        tx_machine_restart(&run->machine);
        if (tx_decision_state(&run->decision) == TX_DECISION_DONE && !run->erased &&
            run->machine.state == TX_LOGGING)
            tell_logged(run);
        tx_run_move(m, self, run);
    }
}

/* ---- for people ------------------------------------------------------------------------------ */

static const char *state_name(enum tx_state state) {
    static const char *const name[] = {[TX_PREPARING] = "preparing",
                                       [TX_LOGGING] = "logging",
                                       [TX_COMMITTING] = "committing",
                                       [TX_ABORTING] = "aborting",
                                       [TX_OVER] = "over"};
    return name[state];
}

static const char *part_name(const struct tx_part *p) {
    static const char *const name[] = {
        [TX_PART_NEW] = "asked",   [TX_PART_STOOD] = "read", [TX_PART_VOTED] = "prepared",
        [TX_PART_DOUBT] = "doubt", [TX_PART_NONE] = "none",  [TX_PART_GONE] = "gone",
        [TX_PART_DONE] = "done"};
    return p->state == TX_PART_NEW && p->under_way == TX_DO_NOTHING ? "new" : name[p->state];
}

struct listing {
    const struct tx_manager *m;
    uint64_t now_ns;
};

static void put_run(struct value_writer *w, const struct tx_run *run, uint64_t now_ns) {
    char id[TX_ID_TEXT_BYTES];

    tx_id_text(run->id, id);
    value_put_map(w, 4);
    value_put_text(w, "id");
    value_put_text(w, id);
    value_put_text(w, "state");
    value_put_text(w, state_name(run->machine.state));
    value_put_text(w, "age_ms");
    value_put_u64(w, (now_ns - run->began_ns) / 1000000);
    value_put_text(w, "parts");
    value_put_array(w, run->count);
    for (uint32_t i = 0; i < run->count; i++) {
        value_put_array(w, 3);
        value_put_string(w, (const char *) run->place[i].name.at, run->place[i].name.size_bytes);
        value_put_u64(w, run->place[i].shard);
        value_put_text(w, part_name(&run->part[i]));
    }
}

static void put_runs(struct value_writer *w, const void *what) {
    const struct listing *l = what;
    uint32_t count = 0;

    for (struct list_node *n = l->m->runs.next; n != &l->m->runs; n = n->next)
        count++;
    value_put_array(w, count);
    for (struct list_node *n = l->m->runs.next; n != &l->m->runs; n = n->next)
        put_run(w, EG_CONTAINER_OF(n, struct tx_run, node), l->now_ns);
}

void tx_runs_list(struct tx_manager *m, struct actor *self, const struct message *call) {
    const struct listing l = {m, tx_now_ns(m)};
    eg_err err;

    buffer_clear(&m->out);
    err = value_append(&m->out, put_runs, &l);
    actor_reply_bytes(self, call->from, call->ref, err, m->out.at,
                      err == EG_OK ? m->out.size_bytes : 0);
}
