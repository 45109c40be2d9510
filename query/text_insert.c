/* text_insert.c -- the records of one insert, all or none. */
#include "query/text_insert.h"

enum {
    ANSWER_BYTES = 64,
    WORK_BETWEEN_LOOKS = 16,
    REFUSALS_MAX = 100 * 1000, /* by a busy shard, one after the other: some seconds */
};

void text_insert_init(struct text_insert *i, const struct text_plan *plan) {
    *i = (struct text_insert){.plan = plan};
    buffer_init(&i->answer, plan->alloc, ANSWER_BYTES);
}

void text_insert_fini(struct text_insert *i) {
    buffer_fini(&i->answer);
}

static struct table *table_of(const struct text_insert *i) {
    return i->plan->source[0].table;
}

static bool is_bag(const struct text_insert *i) {
    return table_type(table_of(i)) == TABLE_BAG;
}

static struct shard_request request(const struct text_insert *i) {
    bool undo = i->state == INSERT_UNDO;

    return (struct shard_request){
        .op = undo        ? SHARD_DELETE_OBJECT
              : is_bag(i) ? SHARD_WRITE
                          : SHARD_INSERT_NEW,
        .sync_later = true,
        .value = i->plan->rows[undo ? i->next - 1 : i->next],
    };
}

/* Turn back: what was written goes.  A bag's records stay, for they may have been there. */
static void turn_back(struct text_insert *i, eg_err err, const struct err_note *why) {
    i->failed = err;
    i->why = *why;
    if (is_bag(i))
        i->next = 0;
    i->state = INSERT_UNDO;
}

static void outcome(struct text_insert *i, eg_err err, struct value result,
                    const struct err_note *note) {
    static const struct err_note exists = {"a record with this key is there already"};
    bool done = true;

    if (i->state == INSERT_UNDO) {
        i->next--; /* what could not be taken back stays: there is nobody else to ask */
        return;
    }
    if (err == EG_OK && !value_get_bool(result, &done))
        err = EG_INTERNAL;
    if (err != EG_OK)
        turn_back(i, err, note);
    else if (!done)
        turn_back(i, EG_EXISTS, &exists);
    else
        i->next++;
}

/* ---- a step -------------------------------------------------------------------------- */

static eg_err look(struct text_insert *i, struct reader *r, const struct select_pace *pace,
                   struct err_note *note) {
    while (i->next < i->plan->row_count && !is_bag(i)) {
        const struct record *found;
        struct value v;
        struct key k;
        eg_err err;

        EG_ASSERT(array_element(i->plan->rows[i->next], 0, &v)); /* made by the plan */
        err = table_key(table_of(i), &k, v);
        if (err != EG_OK)
            return err_note(note, err, "NaN or more than 64 KiB cannot be a key");
        found = table_get(table_of(i), r, &k);
        key_release(&k);
        if (found != NULL)
            return err_note(note, EG_EXISTS, "a record with this key is there already");
        err = reader_take_fault(r);
        if (err != EG_OK)
            return err;
        if (++i->next % WORK_BETWEEN_LOOKS == 0 && pace->is_over(pace->context))
            return EG_AGAIN;
    }
    i->next = 0;
    i->state = INSERT_WRITE;
    return EG_OK;
}

static eg_err change(struct text_insert *i, struct reader *r, const struct select_pace *pace) {
    for (uint32_t work = 1; i->state == INSERT_UNDO ? i->next > 0 : i->next < i->plan->row_count;
         work++) {
        struct err_note note = {""};
        struct shard_request q = request(i);
        eg_err err;

        buffer_clear(&i->answer);
        err = table_try(table_of(i), r, &q, 1, &i->answer, &note);
        i->ask = err == EG_AGAIN;
        if (i->ask)
            return err;
        outcome(i, err, (struct value){i->answer.at, (uint32_t) i->answer.size_bytes}, &note);
        if (work % WORK_BETWEEN_LOOKS == 0 && pace->is_over(pace->context))
            return EG_AGAIN;
    }
    return EG_OK;
}

static eg_err wait_for_disc(struct text_insert *i) {
    if (table_schema(table_of(i))->durability != DURABILITY_SYNC)
        return EG_OK;
    if (i->state != INSERT_SYNC || i->sync_again)
        i->sync_from = 0;
    i->sync_again = false;
    i->state = INSERT_SYNC;
    return i->sync_from < table_shards(table_of(i)) ? EG_AGAIN : EG_OK;
}

eg_err text_insert_step(struct text_insert *i, struct reader *r, const struct select_pace *pace,
                        struct err_note *note) {
    eg_err err = EG_OK;

    EG_ASSERT(i->unanswered == 0);
    if (i->state == INSERT_LOOK)
        err = look(i, r, pace, note);
    while (err == EG_OK && i->state == INSERT_WRITE && i->next < i->plan->row_count)
        err = change(i, r, pace); /* it may turn back */
    if (err == EG_OK && i->state == INSERT_UNDO)
        err = change(i, r, pace);
    if (err != EG_OK)
        return err;
    if (i->failed != EG_OK)
        return err_note(note, i->failed, "%s", i->why.text);
    return wait_for_disc(i);
}

/* ---- asking shards ------------------------------------------------------------------------ */

eg_err text_insert_ask(struct text_insert *i, eg_pid *to, struct message **out,
                       struct err_note *note) {
    struct shard_request q;
    eg_err err = EG_NOT_FOUND;

    if (i->state == INSERT_SYNC) {
        if (i->sync_from < table_shards(table_of(i)))
            err = table_sync_message(table_of(i), i->sync_from, to, out);
        i->sync_from += err == EG_OK;
    } else if (i->ask && i->unanswered == 0) {
        q = request(i);
        err = table_message(table_of(i), &q, to, out, note);
    }
    i->unanswered += err == EG_OK;
    return err;
}

void text_insert_answered(struct text_insert *i, eg_err err, struct value result) {
    bool refused = err == EG_BUSY || err == EG_NOPROC;
    struct err_note why = {""};

    EG_ASSERT(i->unanswered > 0);
    i->unanswered--;
    i->refusals = refused ? i->refusals + 1 : 0;
    i->ask = false;
    if (refused && i->refusals < REFUSALS_MAX) {
        i->sync_again |= i->state == INSERT_SYNC;
        return;
    }
    if (err != EG_OK)
        (void) err_note(&why, err, "%.*s", (int) result.size_bytes, (const char *) result.at);
    if (i->state != INSERT_SYNC) {
        outcome(i, err == EG_NOPROC ? EG_BUSY : err, result, &why);
    } else if (err != EG_OK && i->failed == EG_OK) {
        i->failed = err == EG_NOPROC ? EG_BUSY : err;
        i->why = why;
    }
}
