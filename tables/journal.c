/* journal.c -- lists of what lost, one a table. */
#include "tables/journal.h"

#include "tables/schema.h"

#include <string.h>

struct entry {
    struct entry *older, *newer;
    uint32_t size_bytes;
    uint8_t bytes[];
};

struct journal {
    struct journal *next;
    struct entry *oldest, *newest;
    uint64_t count, bytes;
    char table[SCHEMA_NAME_MAX + 1];
};

enum { ARRAY_HEADER_BYTES = 5 };

static void lock(struct journals *j) {
    while (atomic_flag_test_and_set_explicit(&j->busy, memory_order_acquire))
        ;
}

static void unlock(struct journals *j) {
    atomic_flag_clear_explicit(&j->busy, memory_order_release);
}

static struct journal **find(struct journals *j, const char *table) {
    struct journal **at = &j->first;

    while (*at != NULL && strcmp((*at)->table, table) != 0)
        at = &(*at)->next;
    return at;
}

static void drop_oldest(struct journals *j, struct journal *of) {
    struct entry *e = of->oldest;

    of->oldest = e->newer;
    if (of->oldest == NULL)
        of->newest = NULL;
    else
        of->oldest->older = NULL;
    of->count--;
    of->bytes -= e->size_bytes;
    alloc_put(j->alloc, e, sizeof *e + e->size_bytes);
}

static void close_one(struct journals *j, struct journal **at) {
    struct journal *of = *at;

    while (of->oldest != NULL)
        drop_oldest(j, of);
    *at = of->next;
    alloc_put(j->alloc, of, sizeof *of);
}

void journals_fini(struct journals *j) {
    while (j->first != NULL)
        close_one(j, &j->first);
}

static struct journal *open_one(struct journals *j, const char *table) {
    struct journal **at = find(j, table);
    size_t name_bytes = strlen(table);

    EG_ASSERT(name_bytes <= SCHEMA_NAME_MAX);
    if (*at == NULL) {
        *at = alloc_zero(j->alloc, sizeof **at);
        if (*at != NULL)
            memcpy((*at)->table, table, name_bytes);
    }
    return *at;
}

void journals_add(struct journals *j, const char *table, struct value entry) {
    struct entry *e = alloc_get(j->alloc, sizeof *e + entry.size_bytes);
    struct journal *of;

    if (e != NULL) {
        e->size_bytes = entry.size_bytes;
        memcpy(e->bytes, entry.at, entry.size_bytes);
    }
    lock(j);
    of = e == NULL ? NULL : open_one(j, table);
    if (of != NULL) {
        e->newer = NULL;
        e->older = of->newest;
        *(of->newest == NULL ? &of->oldest : &of->newest->newer) = e;
        of->newest = e;
        of->count++;
        of->bytes += e->size_bytes;
        while (of->count > JOURNAL_ENTRIES || (of->bytes > JOURNAL_BYTES && of->count > 1))
            drop_oldest(j, of);
    }
    unlock(j);
    if (of != NULL)
        return;
    atomic_fetch_add(&j->lost, 1);
    alloc_put(j->alloc, e, e == NULL ? 0 : sizeof *e + e->size_bytes);
}

/* An array of those from `e` on, towards older ones. */
static eg_err put(const struct entry *e, uint64_t limit, struct buffer *out) {
    const struct entry *last = e;
    size_t size_bytes = ARRAY_HEADER_BYTES;
    struct value_writer w;
    uint32_t count = 0;
    uint8_t *room;

    for (; last != NULL && count < limit; last = last->older, count++)
        size_bytes += last->size_bytes;
    room = buffer_room(out, size_bytes);
    if (room == NULL)
        return EG_MEMORY;
    w = value_writer_init(room, size_bytes);
    value_put_array(&w, count);
    for (; e != last; e = e->older)
        value_put_raw(&w, (struct value){e->bytes, e->size_bytes});
    EG_ASSERT(!w.overflow);
    out->size_bytes += w.need_bytes;
    return EG_OK;
}

eg_err journals_read(struct journals *j, const char *table, uint64_t limit, struct buffer *out) {
    struct journal *of;
    eg_err err;

    lock(j);
    of = *find(j, table);
    err = put(of == NULL ? NULL : of->newest, limit, out);
    unlock(j);
    return err;
}

void journals_drop(struct journals *j, const char *table) {
    struct journal **at;

    lock(j);
    at = find(j, table);
    if (*at != NULL)
        close_one(j, at);
    unlock(j);
}
