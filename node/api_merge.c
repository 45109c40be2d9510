/* api_merge.c -- merges of the program's own, as tables/ calls them. */
#include "node/api_private.h"

#include "tables/merge_call.h"

enum { MERGES_MAX = 256, ROOM_BYTES = 1024, WRITTEN_BYTES_MAX = 32 << 20 };

static eg_span span_of(struct value v) {
    return (eg_span){v.at, v.size_bytes};
}

/* Once, and where it did not fit once more: it is pure. */
static eg_err call(void *context, struct value winner, struct value loser, struct buffer *out) {
    const eg_merge *m = context;
    size_t room_bytes = ROOM_BYTES + (size_t) winner.size_bytes + loser.size_bytes;

    for (int round = 0; round < 2; round++) {
        uint8_t *room = buffer_room(out, room_bytes);
        eg_writer w;
        eg_err err;

        if (room == NULL)
            return EG_MEMORY;
        w = eg_writer_init(room, room_bytes);
        err = m->merge(m->context, span_of(winner), span_of(loser), &w);
        if (err != EG_OK)
            return err == EG_MEMORY ? EG_BAD_REQUEST : err; /* it is not we who lack any */
        if (w.need_bytes <= room_bytes) {
            out->size_bytes += w.need_bytes;
            return EG_OK;
        }
        if (w.need_bytes > WRITTEN_BYTES_MAX)
            return EG_TOO_LARGE;
        room_bytes = w.need_bytes;
    }
    return EG_BAD_REQUEST; /* it is not pure */
}

eg_err api_merges_open(eg_node *n, struct err_note *note) {
    const eg_options *o = &n->options;

    if (o->merge_count == 0)
        return EG_OK;
    if (o->merges == NULL || o->merge_count > MERGES_MAX)
        return err_note(note, EG_BAD_REQUEST, "merges: 1 to %d of them", MERGES_MAX);
    n->merge = alloc_zero(n->alloc, o->merge_count * sizeof *n->merge);
    if (n->merge == NULL)
        return EG_MEMORY;
    for (uint32_t i = 0; i < o->merge_count; i++) {
        if (o->merges[i].name == NULL || o->merges[i].merge == NULL)
            return err_note(note, EG_BAD_REQUEST, "merges: each has a name and a function");
        n->merge[i] = (struct merge_function){o->merges[i].name, call, (void *) &o->merges[i]};
    }
    return EG_OK;
}

void api_merges_close(eg_node *n) {
    if (n->merge != NULL)
        alloc_put(n->alloc, n->merge, n->options.merge_count * sizeof *n->merge);
}
