/* witness.c -- who must have a change, and who says that it has it. */
#include "replication/witness.h"

enum { WORD_FIELDS = 3 };

void witness_put(const struct witness_word *word, struct value_writer *w) {
    if (word->node == 0) {
        value_put_nil(w);
        return;
    }
    value_put_array(w, WORD_FIELDS + word->count);
    value_put_u64(w, word->node);
    value_put_u64(w, word->number);
    value_put_u64(w, word->hlc);
    for (uint32_t i = 0; i < word->count; i++)
        value_put_u64(w, word->copy[i]);
}

eg_err witness_get(struct value v, struct witness_word *out) {
    struct value_iter it;
    bool well;

    *out = (struct witness_word){0};
    if (value_kind_of(v) == VALUE_NIL)
        return EG_OK;
    if (value_kind_of(v) != VALUE_ARRAY || value_count(v) < WORD_FIELDS ||
        value_count(v) > WORD_FIELDS + WITNESS_COPIES_MAX)
        return EG_BAD_REQUEST;
    it = value_iter_of(v);
    out->count = value_count(v) - WORD_FIELDS;
    well = value_iter_u64(&it, &out->node) && value_iter_u64(&it, &out->number) &&
           value_iter_u64(&it, &out->hlc);
    for (uint32_t i = 0; i < out->count; i++)
        well = well && value_iter_u64(&it, &out->copy[i]);
    return well ? EG_OK : EG_BAD_REQUEST;
}

void witness_begin(struct witness *w, struct view_id view) {
    *w = (struct witness){.view = view};
}

static bool has_said(const struct witness *w, uint64_t node) {
    for (uint32_t i = 0; i < w->said; i++)
        if (w->has[i] == node)
            return true;
    return false;
}

static void note(struct witness *w, uint64_t node) {
    if (w->said < WITNESS_COPIES_MAX && !has_said(w, node))
        w->has[w->said++] = node;
}

void witness_tell(struct witness *w, const struct witness_word *word, uint64_t self) {
    w->told = true;
    w->word = *word;
    note(w, self);
}

void witness_say(struct witness *w, uint64_t from, struct view_id view) {
    if (view_id_equal(view, w->view))
        note(w, from);
}

bool witness_is_complete(const struct witness *w) {
    for (uint32_t i = 0; i < w->word.count; i++)
        if (!has_said(w, w->word.copy[i]))
            return false;
    return w->told;
}
