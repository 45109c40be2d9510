/* api_tx.c -- transactions of the program: tried until they are made, and one inside the other.
 *
 *     eg_transaction --> fn --> commit --> made
 *            ^                    |
 *            '--- waits a bit <---' conflict
 *
 * The thread moves its own transaction (query/tx.h): where that says EG_AGAIN, it asks and waits.
 */
#include "node/api_tx_private.h"

#include "engine/runtime.h"
#include "tables/table.h"

#include <string.h>

enum {
    MS_NS = 1000 * 1000,
    DAY_MS = 24 * 60 * 60 * 1000,
    BACKOFF_FIRST_NS = 500, /* about what a small one takes */
    BACKOFF_MAX_NS = 2 * MS_NS,
    BACKOFF_SPIN_NS = 20 * 1000, /* shorter ones are not worth to sleep */
    /* Since its first loss.  In place who has lost has his turn soonest by trying again; a lock
     * costs two messages, in which all others lose. */
    LOCK_AFTER_NS = 4 * MS_NS,
    ANSWER_KEPT_BYTES = 64 << 10,
};

static struct env *env_of(const struct api_txs *x) {
    return &x->thread->owner->env.env;
}

/* ---- what a thread holds ---------------------------------------------------------- */

void api_txs_close(struct api_txs *x) {
    if (x == NULL)
        return;
    for (uint32_t i = 0; i < API_CONTEXTS_MAX && x->context[i] != NULL; i++)
        alloc_put(alloc_system(), x->context[i], sizeof *x->context[i]);
    tx_close(x->tx);
    if (x->waiter != NULL)
        env_of(x)->ops->waiter_close(env_of(x), x->waiter);
    buffer_fini(&x->answer);
    alloc_put(alloc_system(), x, sizeof *x);
}

static struct table *table_of(void *handle) {
    return api_table(handle);
}

struct api_txs *api_txs_open(struct node_thread *t, eg_err *err) {
    eg_node *n = t->owner;
    struct tx_opts o = {.alloc = alloc_system(),
                        .env = &n->env.env,
                        .patience = runtime_current(n->runtime) != NULL ? 1 : TABLE_PATIENCE,
                        .managers = n->transactions,
                        .table_of = table_of};
    struct api_txs *x = alloc_zero(alloc_system(), sizeof *x);

    *err = x == NULL ? EG_MEMORY : tx_open(&x->tx, &o);
    if (*err != EG_OK) {
        alloc_put(alloc_system(), x, sizeof *x);
        return NULL;
    }
    x->thread = t;
    buffer_init(&x->answer, alloc_system(), NODE_RESULT_BYTES_MAX);
    return x;
}

/* ---- contexts --------------------------------------------------------------------- */

eg_tx *api_tx_push(struct api_txs *x, eg_err *err) {
    eg_tx **slot;

    *err = EG_TOO_LARGE;
    if (x->depth == API_CONTEXTS_MAX)
        return NULL;
    *err = EG_MEMORY;
    slot = &x->context[x->depth];
    if (EG_UNLIKELY(*slot == NULL)) {
        *slot = alloc_zero(alloc_system(), sizeof **slot);
        if (*slot == NULL)
            return NULL;
        (*slot)->txs = x;
    }
    *err = EG_OK;
    x->depth++;
    (*slot)->open = true;
    (*slot)->aborted = false;
    (*slot)->inherits = false;
    (*slot)->note.text[0] = '\0';
    return *slot;
}

void api_tx_pop(eg_tx *tx) {
    struct api_txs *x = tx->txs;

    EG_ASSERT(x->depth > 0 && x->context[x->depth - 1] == tx);
    tx->open = false;
    x->depth--;
}

eg_err api_tx_check(eg_tx *tx) {
    if (tx == NULL)
        return EG_BAD_REQUEST;
    if (EG_UNLIKELY(!tx->open || tx->aborted))
        return EG_ABORTED;
    if (EG_UNLIKELY(node_thread_here(tx->txs->thread->owner) != tx->txs->thread))
        return EG_BAD_REQUEST; /* another thread's */
    return EG_OK;
}

/* ---- moving it --------------------------------------------------------------------- */

uint64_t api_tx_patience_ms(const struct api_txs *x) {
    uint64_t until_ns = tx_waits_until_ns(x->tx), now_ns = env_now_ns(env_of(x));

    return until_ns <= now_ns ? 0 : EG_MIN((until_ns - now_ns) / MS_NS + 1, (uint64_t) DAY_MS);
}

/* Ask what it says, one after the other, and wait for each answer.  False: nothing was to be
 * asked. */
static bool ask(struct api_txs *x) {
    eg_node *n = x->thread->owner;
    bool asked = false;

    for (;;) {
        struct err_note why = {""};
        struct message *m;
        struct buffer b;
        eg_pid to;
        eg_err err;

        reader_enter(&x->thread->reader);
        err = tx_ask(x->tx, &x->thread->reader, &to, &m);
        reader_exit(&x->thread->reader);
        if (err != EG_OK)
            return asked;
        asked = true;
        tx_show(x->tx, &x->card);
        buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
        err = api_call(n, to, m, api_tx_patience_ms(x), &b, &why);
        if (err == EG_OK)
            tx_answered(x->tx, err, (struct value){b.at, (uint32_t) b.size_bytes});
        else
            tx_answered(x->tx, err, api_value_of_text(why.text));
        buffer_fini(&b);
    }
}

static inline void give_back_locks(struct api_txs *x) {
    if (EG_UNLIKELY(tx_has_locks(x->tx)))
        (void) ask(x);
}

/* A scheduler must not wait.  Of an actor's transaction what is to be asked is, when `fn` has
 * returned; until then each of its calls says the same. */
static eg_err put_off(struct api_txs *x) {
    struct tx_put_off *later = x->put_off;

    if (later == NULL || tx_anew(x->tx) == TX_ANEW_NOT)
        return EG_BUSY;
    later->anew = tx_anew(x->tx);
    reader_enter(&x->thread->reader);
    if (tx_ask(x->tx, &x->thread->reader, &later->to, &later->call) != EG_OK)
        later->call = NULL; /* the call that comes again says why */
    reader_exit(&x->thread->reader);
    return EG_BUSY;
}

static inline bool is_put_off(const struct api_txs *x) {
    return EG_UNLIKELY(x->put_off != NULL) && x->put_off->anew != TX_ANEW_NOT;
}

eg_err api_tx_run(eg_tx *tx, eg_table *table, api_tx_step step, void *what) {
    struct api_txs *x = tx->txs;
    struct tx_place at = {.reader = &x->thread->reader, .handle = table};
    eg_err err;

    if (EG_UNLIKELY(table->node != x->thread->owner))
        return EG_BAD_REQUEST;
    if (is_put_off(x))
        return EG_BUSY;
    for (;;) {
        reader_enter(at.reader);
        at.table = api_table(table);
        err = step(tx, &at, what);
        reader_exit(at.reader);
        tx_show_counts(x->tx, &x->card);
        if (EG_LIKELY(err != EG_AGAIN))
            return err;
        if (runtime_current(x->thread->owner->runtime) != NULL)
            return put_off(x);
        (void) ask(x); /* nothing to be asked: it was only time to leave the section */
    }
}

eg_err api_tx_run_anywhere(eg_tx *tx, api_tx_step step, void *what) {
    struct api_txs *x = tx->txs;
    const struct tx_place at = {.reader = &x->thread->reader};
    eg_err err;

    if (is_put_off(x))
        return EG_BUSY;
    for (;;) {
        reader_enter(at.reader);
        err = step(tx, &at, what);
        reader_exit(at.reader);
        tx_show_counts(x->tx, &x->card);
        if (err != EG_AGAIN)
            return err;
        if (runtime_current(x->thread->owner->runtime) != NULL)
            return put_off(x);
        (void) ask(x);
    }
}

/* ---- the end ------------------------------------------------------------------------- */

static eg_err commit(eg_tx *tx) {
    struct api_txs *x = tx->txs;
    eg_err err;

    for (;;) {
        reader_enter(&x->thread->reader);
        err = tx_commit(x->tx, &x->thread->reader, &tx->note);
        reader_exit(&x->thread->reader);
        if (EG_LIKELY(err != EG_AGAIN))
            return err;
        if (runtime_current(x->thread->owner->runtime) != NULL) {
            tx_abort(x->tx, "a scheduler must not wait");
            return EG_BUSY;
        }
        if (!ask(x))
            EG_CPU_RELAX();
    }
}

/* ---- on disc --------------------------------------------------------------------------- */

/* Tables whose durability is async answer before the disc has it: these are asked for it. */
struct later {
    struct buffer names; /* struct schema_name */
    bool no_memory;
};

static void note_later(void *context, struct table *t) {
    struct later *l = context;
    const struct schema *schema = table_schema(t);

    if (schema->storage != STORAGE_RAM && schema->durability == DURABILITY_ASYNC &&
        !buffer_append(&l->names, &schema->name, sizeof schema->name))
        l->no_memory = true;
}

static eg_err sync_each(eg_tx *tx, const struct later *l) {
    eg_err err = EG_OK;

    for (size_t at = 0; at < l->names.size_bytes && err == EG_OK;
         at += sizeof(struct schema_name)) {
        struct schema_name name;

        memcpy(&name, l->names.at + at, sizeof name);
        err = api_sync_table(tx->txs->thread->owner, &name);
        if (err == EG_NO_TABLE) /* which has been dropped since */
            err = EG_OK;
    }
    if (err != EG_OK) /* without an id: of what was made in place nobody knows one */
        return err_note(&tx->note, EG_IN_DOUBT, "it was made, but the disc may not have it");
    return EG_OK;
}

static eg_err commit_on_disc(eg_tx *tx) {
    struct api_txs *x = tx->txs;
    struct later l = {.no_memory = false};
    eg_err err = EG_OK;

    buffer_init(&l.names, alloc_system(), SIZE_MAX);
    reader_enter(&x->thread->reader);
    tx_each_wanted(x->tx, note_later, &l);
    reader_exit(&x->thread->reader);
    if (l.no_memory)
        err = EG_MEMORY;
    else if (l.names.size_bytes > 0 && runtime_current(x->thread->owner->runtime) != NULL)
        err = EG_BUSY; /* a scheduler must not wait */
    if (err == EG_OK)
        err = commit(tx);
    else
        tx_abort(x->tx, NULL);
    if (err == EG_OK)
        err = sync_each(tx, &l);
    buffer_fini(&l.names);
    return err;
}

/* What `fn` says and what has become of the transaction meanwhile. */
eg_err api_tx_outcome(eg_tx *tx, eg_err said) {
    eg_err is;

    if (EG_LIKELY(tx_state(tx->txs->tx) == TX_OPEN))
        return said == EG_OK && tx->aborted ? EG_ABORTED : said;
    is = tx_check(tx->txs->tx, &tx->note);
    return is == EG_CONFLICT || said == EG_OK ? is : said; /* whatever it made of a conflict */
}

static void say(const struct eg_tx_options *o, const eg_tx *tx, eg_err err) {
    if (EG_UNLIKELY(o != NULL && o->note != NULL && err != EG_OK))
        api_copy_note(o->note, &tx->note);
}

/* A moment longer with each loss, and never the same for two. */
static void wait_for_turn(struct api_txs *x, uint32_t losses) {
    struct env *env = env_of(x);
    uint64_t most_ns =
        EG_MIN((uint64_t) BACKOFF_FIRST_NS << EG_MIN(losses, 20u), (uint64_t) BACKOFF_MAX_NS);
    uint64_t ns = env_random(env) % most_ns, until_ns = env_now_ns(env) + ns;

    if (runtime_current(x->thread->owner->runtime) != NULL)
        return;
    if (ns >= BACKOFF_SPIN_NS && x->waiter == NULL &&
        env->ops->waiter_open(env, &x->waiter) != EG_OK)
        x->waiter = NULL;
    if (ns >= BACKOFF_SPIN_NS && x->waiter != NULL) {
        env->ops->waiter_wait(env, x->waiter, ns);
        return;
    }
    while (env_now_ns(env) < until_ns)
        EG_CPU_RELAX();
}

/* ---- the calls -------------------------------------------------------------------------- */

typedef eg_err (*body_fn)(eg_tx *tx, void *arg);

static eg_err run_level(struct api_txs *x, body_fn fn, void *arg, const eg_tx_options *o) {
    bool inherits = o != NULL && o->context >= EG_ASYNC_DIRTY;
    eg_err err;
    eg_tx *tx;

    err = inherits ? EG_OK : tx_level_begin(x->tx);
    if (err != EG_OK)
        return err;
    tx = api_tx_push(x, &err);
    if (tx == NULL) {
        if (!inherits)
            tx_level_undo(x->tx);
        return err;
    }
    tx->context = EG_TRANSACTION;
    tx->inherits = inherits;
    err = api_tx_outcome(tx, fn(tx, arg));
    if (!inherits && err == EG_OK)
        tx_level_end(x->tx);
    else if (!inherits)
        tx_level_undo(x->tx);
    say(o, tx, err);
    api_tx_pop(tx);
    return err;
}

static eg_err run_dirty(struct api_txs *x, body_fn fn, void *arg, const eg_tx_options *o) {
    eg_err err;
    eg_tx *tx = api_tx_push(x, &err);

    if (tx == NULL)
        return err;
    tx->context = o->context;
    err = fn(tx, arg);
    if (err == EG_OK && tx->aborted)
        err = EG_ABORTED;
    say(o, tx, err);
    api_tx_pop(tx);
    return err;
}

/* What it touched last, in age order with all others: no more losses but to older ones. */
static eg_err lock_first(eg_tx *tx) {
    struct api_txs *x = tx->txs;
    eg_err err;

    for (;;) {
        reader_enter(&x->thread->reader);
        err = tx_lock_again(x->tx, &x->thread->reader, &tx->note);
        reader_exit(&x->thread->reader);
        if (err != EG_AGAIN)
            return err;
        if (runtime_current(x->thread->owner->runtime) != NULL)
            return EG_BUSY; /* a scheduler must not wait */
        (void) ask(x);
    }
}

/* One try.  EG_CONFLICT: another may do better. */
static eg_err try_once(eg_tx *tx, body_fn fn, void *arg, const struct tx_start *start,
                       bool locks_first) {
    struct tx *held = tx->txs->tx;
    struct err_note why;
    eg_err err, stands;

    tx_begin(held, start);
    tx_show(held, &tx->txs->card);
    if (start->age.ms == 0) /* the first */
        tx_card_begin(&tx->txs->card, tx_began_ns(held), tx_deadline_ns(held));
    tx->aborted = false;
    tx->note.text[0] = '\0';
    err = locks_first ? lock_first(tx) : EG_OK;
    if (err == EG_OK)
        err = api_tx_outcome(tx, fn(tx, arg));
    if (EG_LIKELY(err == EG_OK))
        return EG_UNLIKELY(tx->on_disc) ? commit_on_disc(tx) : commit(tx);
    if (tx_state(held) != TX_OPEN || err == EG_CONFLICT) {
        tx_abort(held, NULL);
        return err;
    }
    /* It gives up because of what it has read: was that ever so? */
    why = tx->note;
    tx_forget_wants(held);
    stands = commit(tx);
    tx->note = why;
    return stands == EG_CONFLICT ? EG_CONFLICT : err;
}

static eg_err run_outermost(struct api_txs *x, body_fn fn, void *arg, const eg_tx_options *o) {
    uint64_t timeout_ms = o != NULL && o->timeout_ms != 0 ? o->timeout_ms : TX_TIMEOUT_MS;
    struct tx_start start = {.timeout_ms = timeout_ms};
    uint64_t until_ns = 0, locks_from_ns = 0;
    bool locks_first = false;
    uint32_t losses = 0;
    eg_err err;
    eg_tx *tx = api_tx_push(x, &err);

    if (tx == NULL)
        return err;
    tx->context = EG_TRANSACTION;
    tx->on_disc = o != NULL && o->context == EG_SYNC_TRANSACTION;
    while ((err = try_once(tx, fn, arg, &start, locks_first)) == EG_CONFLICT) {
        uint64_t now_ns;

        give_back_locks(x);
        losses++;
        if (losses == 1) {
            until_ns = tx_deadline_ns(x->tx);
            locks_from_ns = env_now_ns(env_of(x)) + LOCK_AFTER_NS;
        }
        start.age = tx_age(x->tx);
        if (o != NULL && o->tries != 0 && losses >= o->tries)
            break;
        wait_for_turn(x, losses);
        now_ns = env_now_ns(env_of(x));
        if (now_ns >= until_ns)
            break;
        locks_first =
            start.age.ms != 0 && losses >= API_TX_LOCK_AFTER_LOSSES && now_ns >= locks_from_ns;
        start.timeout_ms = (until_ns - now_ns + MS_NS - 1) / MS_NS;
    }
    give_back_locks(x);
    tx_card_end(&x->card);
    say(o, tx, err);
    api_tx_pop(tx);
    if (EG_UNLIKELY(x->answer.room_bytes > ANSWER_KEPT_BYTES))
        buffer_fini(&x->answer);
    return err;
}

eg_err eg_transaction(eg_node *node, body_fn fn, void *arg, const eg_tx_options *o) {
    struct node_thread *t;
    struct api_txs *x;
    eg_err err;

    if (o != NULL)
        api_clear_note(o->note);
    if (node == NULL || fn == NULL || (o != NULL && (unsigned) o->context > EG_SYNC_DIRTY))
        return EG_BAD_REQUEST;
    t = node_thread(node, &err);
    if (t == NULL)
        return err;
    if (EG_UNLIKELY(t->txs == NULL)) {
        t->txs = api_txs_open(t, &err);
        if (t->txs != NULL) /* whole, for those that see it from now on */
            atomic_store_explicit(&t->card, &t->txs->card, memory_order_release);
    }
    x = t->txs;
    if (x == NULL)
        return err;
    if (x->depth > 0 && !api_tx_is_dirty(x->context[x->depth - 1]))
        return run_level(x, fn, arg, o);
    return o != NULL && o->context >= EG_ASYNC_DIRTY ? run_dirty(x, fn, arg, o)
                                                     : run_outermost(x, fn, arg, o);
}

eg_err eg_tx_nested(eg_tx *tx, body_fn fn, void *arg) {
    eg_err err = fn == NULL ? EG_BAD_REQUEST : api_tx_check(tx);

    return err != EG_OK ? err : eg_transaction(tx->txs->thread->owner, fn, arg, NULL);
}

eg_err eg_tx_abort(eg_tx *tx, const char *reason) {
    eg_err err = api_tx_check(tx);

    if (err != EG_OK)
        return err;
    tx->aborted = true;
    return err_note(&tx->note, EG_ABORTED, "%s",
                    reason != NULL ? reason : "the transaction was aborted");
}
