/* tx_wire.c -- questions after a transaction, and answers. */
#include "replication/tx_wire.h"

enum { ASK_FIELDS = 6, SAY_FIELDS = 7 };

struct value tx_wire_put(uint8_t room[TX_WORD_BYTES], const struct tx_word *word) {
    struct value_writer w = value_writer_init(room, TX_WORD_BYTES);

    value_put_array(&w, word->kind == TX_WORD_SAY ? SAY_FIELDS : ASK_FIELDS);
    value_put_u64(&w, word->kind);
    value_put_u64(&w, word->number);
    value_put_u64(&w, word->view.epoch);
    value_put_u64(&w, word->view.hash);
    value_put_u64(&w, word->id.high);
    value_put_u64(&w, word->id.low);
    if (word->kind == TX_WORD_SAY)
        value_put_u64(&w, word->status);
    EG_ASSERT(!w.overflow);
    return (struct value){room, (uint32_t) w.need_bytes};
}

bool tx_wire_get(struct value payload, struct tx_word *out) {
    struct value_iter it;
    uint64_t kind, status = TX_STATUS_UNKNOWN;

    if (payload.size_bytes == 0 || value_kind_of(payload) != VALUE_ARRAY)
        return false;
    it = value_iter_of(payload);
    if (!value_iter_u64(&it, &kind) || (kind != TX_WORD_ASK && kind != TX_WORD_SAY) ||
        value_count(payload) != (kind == TX_WORD_SAY ? SAY_FIELDS : ASK_FIELDS) ||
        !value_iter_u64(&it, &out->number) || !value_iter_u64(&it, &out->view.epoch) ||
        !value_iter_u64(&it, &out->view.hash) || !value_iter_u64(&it, &out->id.high) ||
        !value_iter_u64(&it, &out->id.low))
        return false;
    if (kind == TX_WORD_SAY && (!value_iter_u64(&it, &status) || status > TX_STATUS_ABORTED))
        return false;
    out->kind = (enum tx_word_kind) kind;
    out->status = (enum tx_status) status;
    return true;
}
