/* index_hash.c -- lines of tagged addresses, in segments that are copied to grow.
 *
 * A word is 0, or 16 bits of the hash, an address, and what that is:
 *
 *     | tag 16 | record    45 | 000 |
 *     | tag 16 | 0         45 | 001 |     many: all records of this tag are the tree's affair
 *     |  0  16 | next line 45 | 010 |     only the last word of a line
 *
 * The tag's first bits choose the segment, the hash's lower half the line: so a segment is
 * copied into two by the words alone, no record is looked at.
 *
 * The one writer:
 *
 *     put       store(free word, record); or a new line that has the last word's record
 *               and the new one, then store(last word, link)
 *     swap      store(word, now)
 *     remove    store(word, 0)
 *     split, merge, gather (many of one tag become one word)
 *               write the segments anew, then store(directory words)
 *
 * A reader that has loaded a segment which is replaced meanwhile reads on in the past.
 *
 * Invariants (index_hash_check):
 *   (1) a record is in one word, or its tag has a `many` in its line's chain;
 *   (2) no chain has more than INDEX_HASH_FOUND_MAX records of one tag;
 *   (3) the words of the directory that share a segment's first `depth` bits are its own. */
#include "tables/index_hash.h"

#include <stdatomic.h>
#include <string.h>

enum {
    LINE_WORDS = 8,
    SEGMENT_LINES = 67, /* and one of header: a size that slabs have */
    SPLIT_ABOVE = 7 * SEGMENT_LINES,
    MERGE_BELOW = 2 * SEGMENT_LINES, /* two together */
    CROWDED_ABOVE = 4 * SPLIT_ABOVE, /* and cannot be split */
    TAG_BITS = 16,
    ADDRESS_BITS = 48,
};

enum word_kind { WORD_RECORD, WORD_MANY, WORD_LINK, WORD_KIND_MASK = 7 };

#define ADDRESS_MASK ((UINT64_C(1) << ADDRESS_BITS) - 1 - WORD_KIND_MASK)

struct hash_line {
    _Alignas(EG_CACHE_LINE) _Atomic uint64_t word[LINE_WORDS];
};

struct segment {
    _Alignas(EG_CACHE_LINE) uint32_t count; /* words that are neither 0 nor links; the owner's */
    uint32_t depth;                         /* bits of the tag that all of it share; likewise  */
    struct hash_line line[SEGMENT_LINES];
};

struct directory {
    uint32_t depth;
    _Atomic(struct segment *) segment[];
};

struct index_hash {
    _Atomic(struct directory *) directory;
    struct slab *slab;
    struct epoch_bin *bin;
    _Atomic uint64_t bytes;
};

/* ---- words and places ------------------------------------------------------- */

static inline uint64_t load(const _Atomic uint64_t *word) {
    return atomic_load_explicit(word, memory_order_acquire);
}
static inline void store(_Atomic uint64_t *word, uint64_t now) {
    atomic_store_explicit(word, now, memory_order_release);
}
static inline uint32_t tag_of(uint64_t word) { /* or of a whole hash */
    return (uint32_t) (word >> ADDRESS_BITS);
}
static inline void *address_of(uint64_t word) {
    return (void *) (uintptr_t) (word & ADDRESS_MASK);
}
static inline enum word_kind kind_of(uint64_t word) {
    return (enum word_kind)(word & WORD_KIND_MASK);
}
static inline uint64_t word_of(uint64_t hash, const struct record *rec) {
    EG_ASSERT(((uintptr_t) rec & ~ADDRESS_MASK) == 0);
    return hash >> ADDRESS_BITS << ADDRESS_BITS | (uintptr_t) rec;
}
static inline uint32_t line_at(uint64_t hash) {
    return (uint32_t) ((hash & UINT32_MAX) * SEGMENT_LINES >> 32);
}

static inline struct directory *directory_of(const struct index_hash *x) {
    return atomic_load_explicit(&x->directory, memory_order_acquire);
}
static inline uint32_t directory_at(const struct directory *d, uint32_t tag) {
    return tag >> (TAG_BITS - d->depth);
}
static inline struct segment *segment_at(const struct directory *d, uint32_t at) {
    return atomic_load_explicit(&d->segment[at], memory_order_acquire);
}
static inline struct segment *segment_of(const struct index_hash *x, uint64_t hash) {
    const struct directory *d = directory_of(x);
    return segment_at(d, directory_at(d, tag_of(hash)));
}

/* The line behind this one, or NULL. */
static inline struct hash_line *line_behind(const struct hash_line *line) {
    uint64_t last = load(&line->word[LINE_WORDS - 1]);
    return kind_of(last) == WORD_LINK ? address_of(last) : NULL;
}

/* ---- memory ------------------------------------------------------------------ */

static size_t directory_bytes(uint32_t depth) {
    return sizeof(struct directory) + ((size_t) 1 << depth) * sizeof(void *);
}

static void *get(struct index_hash *x, size_t size_bytes) {
    void *ptr = slab_get(x->slab, size_bytes);
    uint64_t before = atomic_load_explicit(&x->bytes, memory_order_relaxed);

    if (ptr == NULL)
        return NULL;
    memset(ptr, 0, size_bytes);
    atomic_store_explicit(&x->bytes, before + size_bytes, memory_order_relaxed);
    return ptr;
}

/* `seen`: readers may be looking at it. */
static void drop(struct index_hash *x, void *ptr, size_t size_bytes, bool seen) {
    uint64_t before = atomic_load_explicit(&x->bytes, memory_order_relaxed);

    atomic_store_explicit(&x->bytes, before - size_bytes, memory_order_relaxed);
    if (seen)
        epoch_retire(x->bin, slab_free, x->slab, ptr, size_bytes);
    else
        slab_put(x->slab, ptr, size_bytes);
}

static void segment_drop(struct index_hash *x, struct segment *s, bool seen) {
    for (uint32_t i = 0; i < SEGMENT_LINES; i++) {
        struct hash_line *line = line_behind(&s->line[i]);
        while (line != NULL) {
            struct hash_line *behind = line_behind(line);
            drop(x, line, sizeof *line, seen);
            line = behind;
        }
    }
    drop(x, s, sizeof *s, seen);
}

static struct segment *segment_get(struct index_hash *x, uint32_t depth) {
    struct segment *s = get(x, sizeof *s);

    if (s != NULL)
        s->depth = depth;
    return s;
}

struct index_hash *index_hash_open(struct slab *slab, struct epoch_bin *bin) {
    struct index_hash *x = slab_get(slab, sizeof *x);
    struct directory *d;
    struct segment *s;

    if (x == NULL)
        return NULL;
    *x = (struct index_hash){.slab = slab, .bin = bin};
    d = get(x, directory_bytes(0));
    s = segment_get(x, 0);
    if (d == NULL || s == NULL) {
        slab_put(slab, d, directory_bytes(0));
        slab_put(slab, s, sizeof *s);
        slab_put(slab, x, sizeof *x);
        return NULL;
    }
    atomic_init(&d->segment[0], s);
    atomic_init(&x->directory, d);
    return x;
}

void index_hash_retire(struct index_hash *x) {
    struct directory *d = directory_of(x);
    uint32_t step;

    for (uint32_t at = 0; at < 1u << d->depth; at += step) {
        struct segment *s = segment_at(d, at);
        step = 1u << (d->depth - s->depth);
        segment_drop(x, s, true);
    }
    drop(x, d, directory_bytes(d->depth), true);
    epoch_retire(x->bin, slab_free, x->slab, x, sizeof *x);
}

uint64_t index_hash_bytes(const struct index_hash *x) {
    return sizeof *x + atomic_load_explicit(&x->bytes, memory_order_relaxed);
}

/* ---- one chain of lines -------------------------------------------------------- */

/* A free word, or NULL and the chain's last line.  A link is none, for it is not 0. */
static _Atomic uint64_t *chain_free(struct hash_line *line, struct hash_line **last) {
    for (; line != NULL; line = line_behind(line)) {
        *last = line;
        for (uint32_t i = 0; i < LINE_WORDS; i++)
            if (load(&line->word[i]) == 0)
                return &line->word[i];
    }
    return NULL;
}

/* Put `word` into the chain that begins at `line`.  False: no memory. */
static bool chain_add(struct index_hash *x, struct segment *s, struct hash_line *line,
                      uint64_t word) {
    struct hash_line *last = NULL, *more;
    _Atomic uint64_t *free = chain_free(line, &last);

    if (free != NULL) {
        store(free, word);
        s->count++;
        return true;
    }
    more = get(x, sizeof *more);
    if (more == NULL)
        return false;
    atomic_init(&more->word[0], load(&last->word[LINE_WORDS - 1]));
    atomic_init(&more->word[1], word);
    store(&last->word[LINE_WORDS - 1], (uintptr_t) more | WORD_LINK);
    s->count++;
    return true;
}

/* Where `word` is, or NULL. */
static _Atomic uint64_t *chain_find(struct hash_line *line, uint64_t word) {
    for (; line != NULL; line = line_behind(line))
        for (uint32_t i = 0; i < LINE_WORDS; i++)
            if (load(&line->word[i]) == word)
                return &line->word[i];
    return NULL;
}

static inline bool has_tag(uint64_t word, uint32_t tag) {
    return tag_of(word) == tag && word != 0 && kind_of(word) != WORD_LINK;
}

/* The records of one tag; -1: many. */
static int chain_count(const struct hash_line *line, uint32_t tag) {
    int count = 0;

    for (; line != NULL; line = line_behind(line))
        for (uint32_t i = 0; i < LINE_WORDS; i++) {
            uint64_t word = load(&line->word[i]);
            if (!has_tag(word, tag))
                continue;
            if (kind_of(word) == WORD_MANY)
                return -1;
            count++;
        }
    return count;
}

/* ---- segments written anew -------------------------------------------------------- */

/* Copy all words of `from`, each to to[0] or, where the tag's bit `bit` is set, to[1]; but not
 * the records of `except` (NULL: all).  False: no memory. */
static bool copy_words(struct index_hash *x, const struct segment *from, struct segment *to[2],
                       uint32_t bit, const uint64_t *except) {
    for (uint32_t at = 0; at < SEGMENT_LINES; at++) {
        bool all = except == NULL || at != line_at(*except);

        for (const struct hash_line *line = &from->line[at]; line; line = line_behind(line))
            for (uint32_t i = 0; i < LINE_WORDS; i++) {
                uint64_t word = load(&line->word[i]);
                struct segment *s = to[tag_of(word) >> bit & 1];

                if (word == 0 || kind_of(word) == WORD_LINK ||
                    (!all && tag_of(word) == tag_of(*except)))
                    continue;
                if (!chain_add(x, s, &s->line[at], word))
                    return false;
            }
    }
    return true;
}

/* All words of the directory that say the segment of `tag` at this depth say `s`. */
static void publish(struct directory *d, uint32_t tag, uint32_t depth, struct segment *s) {
    uint32_t count = 1u << (d->depth - depth);
    uint32_t first = directory_at(d, tag) / count * count;

    for (uint32_t i = 0; i < count; i++)
        atomic_store_explicit(&d->segment[first + i], s, memory_order_release);
}

static bool directory_double(struct index_hash *x) {
    struct directory *old = directory_of(x);
    struct directory *d = get(x, directory_bytes(old->depth + 1));

    if (d == NULL)
        return false;
    d->depth = old->depth + 1;
    for (uint32_t i = 0; i < 1u << d->depth; i++)
        atomic_init(&d->segment[i], segment_at(old, i / 2));
    atomic_store_explicit(&x->directory, d, memory_order_release);
    drop(x, old, directory_bytes(old->depth), true);
    return true;
}

/* The segment of `tag` becomes two.  False: it does not, for want of memory or of bits. */
static bool split(struct index_hash *x, uint32_t tag) {
    struct segment *s = segment_at(directory_of(x), directory_at(directory_of(x), tag));
    uint32_t depth = s->depth + 1;
    uint32_t bit = TAG_BITS - depth; /* that tells the two apart */
    struct segment *to[2];

    if (s->depth == TAG_BITS || (s->depth == directory_of(x)->depth && !directory_double(x)))
        return false;
    to[0] = segment_get(x, depth);
    to[1] = segment_get(x, depth);
#ifdef EG_PLANT_EMPTY_SEGMENT_SHOWN /* a defect for the stress test to find */
    publish(directory_of(x), tag, s->depth, to[tag >> bit & 1]);
#endif
    if (to[0] == NULL || to[1] == NULL || !copy_words(x, s, to, bit, NULL)) {
        for (int i = 0; i < 2; i++)
            if (to[i] != NULL)
                segment_drop(x, to[i], false);
        return false;
    }
    publish(directory_of(x), tag & ~(1u << bit), depth, to[0]);
    publish(directory_of(x), tag | 1u << bit, depth, to[1]);
    segment_drop(x, s, true);
    return true;
}

/* Two segments that only their last bit tells apart become one, where they are small. */
static void merge(struct index_hash *x, uint32_t tag) {
    struct directory *d = directory_of(x);
    struct segment *s = segment_at(d, directory_at(d, tag));
    uint32_t bit = TAG_BITS - s->depth;
    struct segment *other, *to[2];

    if (s->depth == 0)
        return;
    other = segment_at(d, directory_at(d, tag ^ 1u << bit));
    if (other->depth != s->depth || s->count + other->count >= MERGE_BELOW)
        return;
    to[0] = to[1] = segment_get(x, s->depth - 1);
    if (to[0] == NULL)
        return;
    if (!copy_words(x, s, to, 0, NULL) || !copy_words(x, other, to, 0, NULL)) {
        segment_drop(x, to[0], false);
        return;
    }
    publish(d, tag, s->depth - 1, to[0]);
    segment_drop(x, s, true);
    segment_drop(x, other, true);
}

/* The records of a tag become one word that says so. */
static bool gather(struct index_hash *x, uint64_t hash) {
    struct segment *s = segment_of(x, hash);
    struct segment *fresh = segment_get(x, s->depth);
    struct segment *to[2] = {fresh, fresh};
    uint64_t many = hash >> ADDRESS_BITS << ADDRESS_BITS | WORD_MANY;

    if (fresh == NULL)
        return false;
    if (!chain_add(x, fresh, &fresh->line[line_at(hash)], many) ||
        !copy_words(x, s, to, 0, &hash)) {
        segment_drop(x, fresh, false);
        return false;
    }
    publish(directory_of(x), tag_of(hash), s->depth, fresh);
    segment_drop(x, s, true);
    return true;
}

/* ---- changes ------------------------------------------------------------------------ */

bool index_hash_put(struct index_hash *x, uint64_t hash, const struct record *rec) {
    struct segment *s = segment_of(x, hash);
    struct hash_line *line = &s->line[line_at(hash)];
    uint64_t word = word_of(hash, rec);
    int count = chain_count(line, tag_of(hash));

    if (count < 0 || (count > 0 && chain_find(line, word) != NULL))
        return true;
    if (count == INDEX_HASH_FOUND_MAX)
        return gather(x, hash);
    if (!chain_add(x, s, line, word))
        return false;
    return s->count <= SPLIT_ABOVE || split(x, tag_of(hash)) || s->count <= CROWDED_ABOVE;
}

bool index_hash_swap(struct index_hash *x, uint64_t hash, const struct record *old,
                     const struct record *now) {
    struct hash_line *line = &segment_of(x, hash)->line[line_at(hash)];
    _Atomic uint64_t *at = chain_find(line, word_of(hash, old));

    if (at == NULL)
        return false;
    store(at, word_of(hash, now));
    return true;
}

void index_hash_remove(struct index_hash *x, uint64_t hash, const struct record *rec) {
    struct segment *s = segment_of(x, hash);
    _Atomic uint64_t *at = chain_find(&s->line[line_at(hash)], word_of(hash, rec));

    if (at == NULL)
        return;
    store(at, 0);
    s->count--;
    if (s->count < MERGE_BELOW / 2)
        merge(x, tag_of(hash));
}

/* ---- reading -------------------------------------------------------------------------- */

const struct hash_line *index_hash_line(const struct index_hash *x, uint64_t hash) {
    const struct hash_line *line = &segment_of(x, hash)->line[line_at(hash)];

    EG_PREFETCH(line);
    return line;
}

/* One pass over the chain.  The words are loaded in order, each once. */
static int collect(const struct hash_line *line, uint32_t tag,
                   const struct record *found[INDEX_HASH_FOUND_MAX]) {
    int count = 0;

    while (line != NULL) {
        uint64_t word = 0;

        for (uint32_t i = 0; i < LINE_WORDS; i++) {
            word = load(&line->word[i]);
            if (EG_LIKELY(!has_tag(word, tag)))
                continue;
            if (kind_of(word) == WORD_MANY || count == INDEX_HASH_FOUND_MAX)
                return -1;
            found[count++] = address_of(word);
        }
        line = kind_of(word) == WORD_LINK ? address_of(word) : NULL;
    }
    return count;
}

/* Where two passes agree there was a moment between them in which this was so: no address
 * is used again while a reader looks.  Without that a record that goes and comes back
 * could be met as what it was and as what it is. */
int index_hash_read(const struct hash_line *line, uint64_t hash,
                    const struct record *found[INDEX_HASH_FOUND_MAX]) {
    const struct record *again[INDEX_HASH_FOUND_MAX];
    int count = collect(line, tag_of(hash), found);

    if (EG_LIKELY(count < 2))
        return count;
    if (collect(line, tag_of(hash), again) != count ||
        memcmp(found, again, (size_t) count * sizeof(*found)) != 0)
        return -1;
    return count;
}

/* ---- checking --------------------------------------------------------------------------- */

struct check {
    uint32_t depth, tag; /* of the segment */
    uint32_t words;
    void (*see)(void *context, const struct record *rec);
    void *context;
};

static void check_chain(struct check *k, const struct hash_line *chain) {
    for (const struct hash_line *line = chain; line != NULL; line = line_behind(line))
        for (uint32_t i = 0; i < LINE_WORDS; i++) {
            uint64_t word = load(&line->word[i]);
            int count;

            if (word == 0 || kind_of(word) == WORD_LINK)
                continue;
            EG_ASSERT(tag_of(word) >> (TAG_BITS - k->depth) == k->tag);
            count = chain_count(chain, tag_of(word));
            EG_ASSERT(count <= INDEX_HASH_FOUND_MAX);
            EG_ASSERT(kind_of(word) == WORD_RECORD ? count >= 1 : count == -1);
            k->words++;
            if (kind_of(word) == WORD_RECORD)
                k->see(k->context, address_of(word));
        }
}

void index_hash_check(const struct index_hash *x,
                      void (*see)(void *context, const struct record *rec), void *context) {
    const struct directory *d = directory_of(x);

    for (uint32_t at = 0; at < 1u << d->depth;) {
        const struct segment *s = segment_at(d, at);
        uint32_t own = 1u << (d->depth - s->depth);
        struct check k = {
            .depth = s->depth, .tag = at >> (d->depth - s->depth), .see = see, .context = context};

        EG_ASSERT(at % own == 0);
        for (uint32_t i = 0; i < own; i++)
            EG_ASSERT(segment_at(d, at + i) == s);
        for (uint32_t i = 0; i < SEGMENT_LINES; i++)
            check_chain(&k, &s->line[i]);
        EG_ASSERT(k.words == s->count);
        at += own;
    }
}
