/* schema_join.c -- who keeps a name, and what others are called. */
#include "replication/schema_join.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MEMBERS_MAX = 1024, HEX_BYTES = 17 }; /* of one name: each needs a node that made it */

/* A table that was to have the name, as it will be. */
struct member {
    struct schema_entry *was, *now; /* now: NULL until it differs, but for the one that was heard */
    struct schema_name name;
};

struct joining {
    const struct schema_list *list;
    struct schema_entry *known, *heard; /* of the list, or NULL; what becomes of it */
    uint64_t dropped;                   /* the name, last */
    struct buffer members;              /* struct member */
    struct schema_joined *out;
};

static bool is_name(const struct schema_name *a, const struct schema_name *b) {
    return a->size_bytes == b->size_bytes && memcmp(a->text, b->text, a->size_bytes) == 0;
}

static bool is_plain(const struct schema_entry *e) {
    return is_name(&e->name, &e->asked);
}

static bool is_first(const struct schema_entry *a, const struct schema_entry *b) {
    return a->born != b->born ? a->born < b->born : a->id < b->id;
}

static struct schema_entry *find(const struct schema_list *l, const struct schema_name *name) {
    return schema_list_find(l, name->text, name->size_bytes);
}

static eg_err put_outcome(struct schema_joined *j, struct schema_entry *was,
                          struct schema_entry *now) {
    struct schema_outcome o = {was, now};

    return buffer_append(&j->outcomes, &o, sizeof o) ? EG_OK : EG_MEMORY;
}

/* ---- names ------------------------------------------------------------------------------- */

/* `asked@maker`, and where that is another's `asked@maker@id`; the beginning gives way to the end.
 */
static struct schema_name guest_name(const struct schema_entry *e, bool with_id) {
    struct schema_name name = {0};
    char end[SCHEMA_NAME_MAX + HEX_BYTES + 3];
    size_t end_bytes, begin_bytes;
    int written = with_id ? snprintf(end, sizeof end, "@%.*s@%016" PRIx64, e->maker.size_bytes,
                                     e->maker.text, e->id)
                          : snprintf(end, sizeof end, "@%.*s", e->maker.size_bytes, e->maker.text);

    end_bytes = EG_MIN((size_t) written, (size_t) SCHEMA_NAME_MAX);
    begin_bytes = EG_MIN((size_t) e->asked.size_bytes, SCHEMA_NAME_MAX - end_bytes);
    memcpy(name.text, e->asked.text, begin_bytes);
    memcpy(name.text + begin_bytes, end + (size_t) written - end_bytes, end_bytes);
    name.size_bytes = (uint8_t) (begin_bytes + end_bytes);
    return name;
}

static struct member *member_at(const struct joining *j, uint32_t i) {
    return (struct member *) (void *) j->members.at + i;
}

static uint32_t member_count(const struct joining *j) {
    return (uint32_t) (j->members.size_bytes / sizeof(struct member));
}

static const struct schema_entry *entry_of(const struct member *m) {
    return m->now != NULL ? m->now : m->was;
}

/* Is it another table's, whatever becomes of this name? */
static bool is_taken(const struct joining *j, const struct schema_name *name,
                     const struct schema_entry *by) {
    for (struct list_node *n = j->list->entries.next; n != &j->list->entries; n = n->next) {
        const struct schema_entry *e = EG_CONTAINER_OF(n, struct schema_entry, node);
        bool other = e->live && !is_name(&e->asked, &by->asked);
        if (other && (is_name(&e->asked, name) || is_name(&e->name, name)))
            return true;
    }
    for (uint32_t i = 0; i < member_count(j); i++) {
        const struct schema_entry *e = entry_of(member_at(j, i));
        struct schema_name its = guest_name(e, false);
        if (e->id != by->id && is_name(&its, name) && is_first(e, by) &&
            !is_name(&member_at(j, i)->name, &e->asked))
            return true;
    }
    return false;
}

/* Was it made after the name was dropped, or has it come to have it in spite of that? */
static bool may_have_name(const struct joining *j, const struct member *m) {
    return entry_of(m)->born > j->dropped || (m->was != NULL && is_plain(m->was));
}

static struct member *winner_of(const struct joining *j) {
    struct member *first = NULL;

    for (uint32_t i = 0; i < member_count(j); i++) {
        struct member *m = member_at(j, i);
#ifdef EG_PLANT_NAME_BY_ARRIVAL /* a defect for the model to find */
        if (m->was != NULL && is_plain(m->was))
            return m;
#endif
        if (may_have_name(j, m) && (first == NULL || is_first(entry_of(m), entry_of(first))))
            first = m;
    }
    return first;
}

static void name_all(const struct joining *j) {
    struct member *winner = winner_of(j);

    if (winner != NULL)
        winner->name = entry_of(winner)->asked;
    for (uint32_t i = 0; i < member_count(j); i++) {
        struct member *m = member_at(j, i);
        if (m != winner)
            m->name = guest_name(entry_of(m), false);
    }
    for (uint32_t i = 0; i < member_count(j); i++) {
        struct member *m = member_at(j, i);
        if (m != winner && is_taken(j, &m->name, entry_of(m)))
            m->name = guest_name(entry_of(m), true);
    }
}

/* ---- outcomes ------------------------------------------------------------------------------ */

static eg_err rename_entry(struct joining *j, struct schema_entry *e,
                           const struct schema_name *name, uint64_t dropped) {
    struct schema_entry *now = schema_entry_copy(e);
    eg_err err;

    if (now == NULL)
        return EG_MEMORY;
    now->name = *name;
    now->dropped = EG_MAX(now->dropped, dropped);
    err = put_outcome(j->out, e, now);
    if (err != EG_OK)
        schema_entry_free(now);
    return err;
}

/* A table of elsewhere that is called so because it lost its own name must lose this one, too. */
static eg_err evict(struct joining *j, const struct schema_name *name) {
    struct schema_entry *e = find(j->list, name);
    struct schema_name other;

    if (e == NULL || !e->live || is_name(&e->asked, &j->heard->asked))
        return EG_OK;
    other = guest_name(e, true);
    return rename_entry(j, e, &other, 0);
}

static bool is_same(const struct schema_entry *a, const struct schema_entry *b) {
    return a->born == b->born && a->dropped == b->dropped && a->change_count == b->change_count &&
           is_name(&a->maker, &b->maker);
}

static eg_err settle_member(struct joining *j, struct member *m) {
    const struct schema_entry *e = entry_of(m);
    uint64_t dropped = is_name(&m->name, &e->asked) ? EG_MAX(j->dropped, e->dropped) : e->dropped;
    eg_err err;

    if (m->now == NULL)
        return is_name(&m->name, &m->was->name) && dropped == m->was->dropped
                   ? EG_OK
                   : rename_entry(j, m->was, &m->name, dropped);
    m->now->name = m->name;
    m->now->dropped = dropped;
    if (m->was != NULL && is_same(m->was, m->now) && is_name(&m->was->name, &m->now->name))
        return EG_OK;
    err = put_outcome(j->out, m->was, m->now);
    if (err == EG_OK)
        j->heard = NULL; /* the outcome's */
    return err;
}

static eg_err settle_all(struct joining *j) {
    struct schema_name asked = j->heard->asked;
    eg_err err = winner_of(j) == NULL ? EG_OK : evict(j, &asked);

    for (uint32_t i = 0; i < member_count(j) && err == EG_OK; i++)
        err = settle_member(j, member_at(j, i));
    return err;
}

/* ---- members ------------------------------------------------------------------------------- */

static uint64_t last_drop(const struct schema_list *l, const struct schema_name *asked) {
    uint64_t dropped = 0;

    for (struct list_node *n = l->entries.next; n != &l->entries; n = n->next) {
        const struct schema_entry *e = EG_CONTAINER_OF(n, struct schema_entry, node);
        if (is_name(e->live ? &e->asked : &e->name, asked))
            dropped = EG_MAX(dropped, e->dropped);
    }
    return dropped;
}

static eg_err add_member(struct joining *j, struct schema_entry *was, struct schema_entry *now) {
    struct member m = {.was = was, .now = now};

    return buffer_append(&j->members, &m, sizeof m) ? EG_OK : EG_MEMORY;
}

/* All that were to have the name; those that were dropped before the one that was heard was made
 * go. */
static eg_err collect(struct joining *j) {
    const struct schema_list *l = j->list;
    eg_err err = add_member(j, j->known, j->heard);

    for (struct list_node *n = l->entries.next; n != &l->entries && err == EG_OK; n = n->next) {
        struct schema_entry *e = EG_CONTAINER_OF(n, struct schema_entry, node);
        if (!e->live || e == j->known || !is_name(&e->asked, &j->heard->asked))
            continue;
        if (is_plain(e) && e->born <= j->heard->dropped)
            err = put_outcome(j->out, e, NULL);
        else
            err = add_member(j, e, NULL);
    }
    return err;
}

/* ---- entries ------------------------------------------------------------------------------- */

/* Both are one table. */
static struct schema_entry *unite(const struct schema_entry *mine,
                                  const struct schema_entry *theirs, eg_err *err) {
    struct schema_entry *e = schema_entry_copy(mine);
    int order = strcmp(mine->maker.text, theirs->maker.text);

    *err = e == NULL ? EG_MEMORY : schema_entry_add_all(e, theirs);
    if (*err != EG_OK) {
        if (e != NULL)
            schema_entry_free(e);
        return NULL;
    }
#ifndef EG_PLANT_BORN_WHEN_HEARD /* a defect for the model to find */
    e->born = EG_MIN(mine->born, theirs->born);
#endif
    e->dropped = EG_MAX(mine->dropped, theirs->dropped);
    if (mine->maker.size_bytes == 0 || (order > 0 && theirs->maker.size_bytes != 0))
        e->maker = theirs->maker;
    return e;
}

/* Has it been dropped, as far as is known here? */
static bool is_gone(const struct schema_list *l, const struct schema_entry *theirs) {
    const struct schema_entry *namesake = find(l, &theirs->name);

    if (namesake != NULL && !namesake->live && namesake->dropped >= theirs->born)
        return true;
    return is_plain(theirs) && last_drop(l, &theirs->asked) >= theirs->born;
}

static eg_err join_live(struct joining *j, struct schema_entry *theirs) {
    struct schema_name theirs_is = theirs->name;
    eg_err err = EG_OK;

    j->known = schema_list_find_id(j->list, theirs->id);
    if (j->known == NULL) {
        if (is_gone(j->list, theirs)) {
            schema_entry_free(theirs);
            return EG_OK;
        }
        j->heard = theirs;
    } else {
        j->heard = unite(j->known, theirs, &err);
        schema_entry_free(theirs);
        if (j->heard == NULL)
            return err;
        /* A name may be what is left of a table that nobody knows any more: look at it again. */
        if (is_same(j->known, j->heard) && is_name(&j->known->name, &theirs_is))
            return EG_OK;
    }
    j->dropped = EG_MAX(last_drop(j->list, &j->heard->asked), j->heard->dropped);
    err = collect(j);
    if (err != EG_OK)
        return err;
    name_all(j);
    return settle_all(j);
}

static eg_err join_grave(struct joining *j, struct schema_entry *theirs) {
    struct schema_entry *mine = find(j->list, &theirs->name);
    eg_err err = EG_OK;

    j->heard = theirs;
    if (mine != NULL && mine->live && theirs->dropped < mine->born)
        return theirs->dropped > mine->dropped && is_plain(mine)
                   ? rename_entry(j, mine, &mine->name, theirs->dropped)
                   : EG_OK;
    if (mine != NULL && !mine->live &&
        (mine->dropped != theirs->dropped ? mine->dropped > theirs->dropped
                                          : mine->id <= theirs->id))
        return EG_OK;
    err = put_outcome(j->out, mine, theirs);
    if (err == EG_OK)
        j->heard = NULL;
    return err;
}

/* ---- order --------------------------------------------------------------------------------- */

/* Is its new name another's still? */
static bool must_wait(const struct schema_outcome *o, const struct schema_outcome *rest,
                      uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (&rest[i] != o && o->now != NULL && rest[i].was != NULL &&
            is_name(&o->now->name, &rest[i].was->name))
            return true;
    return false;
}

/* Put one whose new name is free first; false: there is none. */
static bool first_free(struct schema_outcome *o, uint32_t count) {
    for (uint32_t k = 0; k < count; k++)
        if (!must_wait(&o[k], o, count)) {
            struct schema_outcome next = o[k];
            memmove(&o[1], &o[0], k * sizeof *o);
            o[0] = next;
            return true;
        }
    return false;
}

static void order(struct schema_joined *j) {
    uint32_t count;
    struct schema_outcome *o = schema_joined_at(j, &count);

    for (uint32_t i = 0; i < count; i++)
        if (!first_free(&o[i], count - i)) /* two that one node made change names */
            o[i].now->name = guest_name(o[i].now, true);
}

struct schema_outcome *schema_joined_at(const struct schema_joined *j, uint32_t *count) {
    *count = (uint32_t) (j->outcomes.size_bytes / sizeof(struct schema_outcome));
    return (struct schema_outcome *) (void *) j->outcomes.at;
}

eg_err schema_join_open(struct schema_joined *out, const struct schema_list *l,
                        struct schema_entry *theirs) {
    struct joining j = {.list = l, .out = out};
    eg_err err;

    buffer_init(&out->outcomes, l->alloc, 2 * MEMBERS_MAX * sizeof(struct schema_outcome));
    buffer_init(&j.members, l->alloc, MEMBERS_MAX * sizeof(struct member));
    err = theirs->live ? join_live(&j, theirs) : join_grave(&j, theirs);
    if (j.heard != NULL)
        schema_entry_free(j.heard);
    buffer_fini(&j.members);
    if (err == EG_OK)
        order(out);
    else
        schema_join_close(out);
    return err;
}

void schema_join_close(struct schema_joined *j) {
    uint32_t count;
    struct schema_outcome *o = schema_joined_at(j, &count);

    for (uint32_t i = 0; i < count; i++)
        if (o[i].now != NULL)
            schema_entry_free(o[i].now);
    buffer_fini(&j->outcomes);
}
