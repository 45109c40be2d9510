/* api_tx_query.c -- statements of the text language inside a transaction, moved by the program's
 * own thread in pieces.
 *
 * A dirty context asks as without a transaction: a statement is no call by key. */
#include "node/api_tx_private.h"

#include "query/rpc_rows.h"
#include "query/text_tx.h"

#include <string.h>

enum { PIECE_NS = 1000 * 1000 /* of work in one reading section */ };

struct api_tx_query {
    eg_tx *tx;
    eg_query_cursor *plain; /* of a dirty context */
    const char *text;       /* until it is open   */
    struct value arguments;
    uint64_t limit; /* 0: all rows at once */
    struct text_tx *open;
    struct buffer *out; /* of this page */
    bool all;           /* [columns, rows] are wanted, not rows alone */
    bool begun, ended;  /* this page is; all are */
    size_t header_at;   /* see rpc_rows_begin() */
};

struct piece {
    struct env *env;
    uint64_t until_ns;
};

static bool piece_is_over(void *context) {
    const struct piece *p = context;
    return env_now_ns(p->env) >= p->until_ns;
}

static eg_note *note_of(eg_tx *tx) {
    _Static_assert(sizeof(eg_note) == sizeof(struct err_note), "one sentence");
    return (eg_note *) (void *) &tx->note;
}

/* ---- one statement ------------------------------------------------------------------------- */

static eg_err step_open(eg_tx *tx, const struct tx_place *at, void *what) {
    struct api_tx_query *q = what;
    const struct text_world world = {
        .alloc = alloc_system(), .catalog = tx->txs->thread->owner->catalog, .reader = at->reader};

    return text_tx_open(&q->open, tx->txs->tx, &world, q->text, strlen(q->text), q->arguments,
                        q->limit, &tx->note);
}

/* [columns, and the rows behind them; or the rows alone. */
static eg_err begin_rows(struct api_tx_query *q) {
    static const uint8_t array_of_two = 0x92, array32[] = {0xdd, 0, 0, 0, 0};
    struct value names = text_tx_columns(q->open);
    bool put = true;

    q->begun = true;
    if (q->all)
        put = buffer_append(q->out, &array_of_two, 1) &&
              buffer_append(q->out, names.at, names.size_bytes);
    q->header_at = q->out->size_bytes;
    return put && buffer_append(q->out, array32, sizeof array32) ? EG_OK : EG_TOO_LARGE;
}

static eg_err step_page(eg_tx *tx, const struct tx_place *at, void *what) {
    struct api_tx_query *q = what;
    struct env *env = &tx->txs->thread->owner->env.env;
    struct piece piece = {env, env_now_ns(env) + PIECE_NS};
    const struct select_pace pace = {.is_over = piece_is_over, .context = &piece};
    uint64_t rows = 0;
    eg_err err = q->open == NULL ? step_open(tx, at, q) : EG_OK;

    if (err == EG_OK && !q->begun)
        err = begin_rows(q);
    if (err == EG_OK)
        err = text_tx_step(q->open, tx->txs->thread->owner->catalog, at->reader, &pace, q->out,
                           &rows, &tx->note);
    return err == EG_OK ? rpc_rows_end(false, q->header_at, rows, q->out) : err;
}

static eg_err run_page(struct api_tx_query *q, eg_result *out) {
    struct buffer b;
    eg_err err;

    buffer_init(&b, alloc_system(), NODE_RESULT_BYTES_MAX);
    q->out = &b;
    q->begun = false;
    err = api_tx_run_anywhere(q->tx, step_page, q);
    q->ended = err != EG_OK || !text_tx_has_more(q->open);
    return api_result_of(&b, err, out);
}

static eg_err check(eg_tx *tx, const char *text, const eg_span *arguments, struct value *given) {
    eg_err err = text == NULL ? EG_BAD_REQUEST : api_tx_check(tx);

    *given = (struct value){0};
    return err == EG_OK && arguments != NULL ? api_value_of_span(*arguments, given) : err;
}

eg_err eg_tx_query(eg_tx *tx, const char *text, const eg_span *arguments, eg_result *out) {
    struct api_tx_query q = {.tx = tx, .text = text, .all = true};
    eg_err err = check(tx, text, arguments, &q.arguments);

    if (err != EG_OK)
        return err;
    if (api_tx_is_dirty(tx))
        return eg_query(tx->txs->thread->owner, text, arguments, out, note_of(tx));
    err = run_page(&q, out);
    if (q.open != NULL)
        text_tx_close(q.open);
    return err;
}

/* ---- pages ----------------------------------------------------------------------------------- */

eg_err api_tx_query_open(eg_tx *tx, const char *text, const eg_span *arguments, uint64_t limit,
                         struct api_tx_query **out) {
    struct value given;
    struct api_tx_query *q;
    eg_err err = limit == 0 ? EG_BAD_REQUEST : check(tx, text, arguments, &given);

    if (err != EG_OK)
        return err;
    q = alloc_zero(alloc_system(), sizeof *q);
    if (q == NULL)
        return EG_MEMORY;
    q->tx = tx;
    q->text = text;
    q->arguments = given;
    q->limit = limit;
    if (api_tx_is_dirty(tx))
        err = eg_query_open(tx->txs->thread->owner, text, arguments, limit, &q->plain, note_of(tx));
    else
        err = api_tx_run_anywhere(tx, step_open, q);
    if (err != EG_OK) {
        alloc_put(alloc_system(), q, sizeof *q);
        return err;
    }
    q->text = NULL; /* they are the caller's */
    q->arguments = (struct value){0};
    *out = q;
    return EG_OK;
}

eg_err api_tx_query_next(struct api_tx_query *q, eg_result *page) {
    if (q->plain != NULL)
        return eg_query_next(q->plain, page, note_of(q->tx));
    if (q->ended)
        return EG_NOT_FOUND;
    if (q->out != NULL)
        text_tx_next_page(q->open);
    return run_page(q, page);
}

eg_span api_tx_query_columns(const struct api_tx_query *q) {
    struct value names;

    if (q->plain != NULL)
        return eg_query_columns(q->plain);
    names = text_tx_columns(q->open);
    return (eg_span){names.at, names.size_bytes};
}

void api_tx_query_close(struct api_tx_query *q) {
    if (q->plain != NULL)
        eg_query_close(q->plain);
    if (q->open != NULL)
        text_tx_close(q->open);
    alloc_put(alloc_system(), q, sizeof *q);
}
