/* slab.c -- classes of pages with a bit an object, pages from arenas.
 *
 * Invariants:
 *   (1) a page is free (in its arena's free_mask), or of one class with live >= 1.
 *   (2) partial[class] lists the pages of that class that have room; full pages
 *       are in no list, they are found again from the address of an object.
 *   (3) arenas with a free page stand before those without.
 *
 * A page that gets room again goes to the head of its list: the fullest pages
 * are filled first, so that others get a chance to empty.
 */
#include "engine/slab.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define SLAB_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_ASAN 1
#endif
#endif
#ifdef SLAB_ASAN /* let the sanitizer see our objects as it sees malloc's */
#include <sanitizer/asan_interface.h>
#define HIDE(ptr, size)   ASAN_POISON_MEMORY_REGION(ptr, size)
#define UNHIDE(ptr, size) ASAN_UNPOISON_MEMORY_REGION(ptr, size)
#else
#define HIDE(ptr, size)   ((void) (ptr), (void) (size))
#define UNHIDE(ptr, size) ((void) (ptr), (void) (size))
#endif

enum {
    PAGE_BYTES = 64 * 1024,
    PAGE_TOUCH_BYTES = 4096, /* what the system hands out                            */
    ARENA_PAGES_MIN = 4,     /* address space only, so the least is about being tidy */
    ARENA_PAGES_MAX = 64,    /* as many as a free_mask has bits                      */
    SMALL_STEP = 8,
    SMALL_MAX = 512,
    SMALL_CLASSES = SMALL_MAX / SMALL_STEP,
    SPARE_PAGES_MIN = 2, /* dirty free pages kept back, and a 64th of those in use   */
    SPARE_PAGES_SHARE = 64,
};

/* Above 512 bytes: about an eighth apart, moved so that a page divides with
 * little rest; all are multiples of 64. */
static const uint16_t large_classes[] = {
    576,  640,  704,  768,  832,  896,  960,   1088,  1216,
    1344, 1472, 1664, 1920, 2176, 2496, 2816,  3264,  3840,
    4352, 4992, 5888, 7232, 8128, 9280, 10880, 13056, SLAB_OBJECT_MAX,
};

enum { CLASSES = SMALL_CLASSES + EG_COUNTOF(large_classes) };

struct slab_page {                 /* at the start of the page itself */
    struct slab_page *next, *prev; /* among the partial ones of its class */
    struct slab_arena *arena;
    uint32_t object_bytes;
    uint32_t reciprocal; /* offset * reciprocal >> 32 is the object's index */
    uint32_t data_at;    /* offset of the first object                      */
    uint32_t touched;    /* bytes from the start that were ever handed out  */
    uint16_t objects, live;
    uint16_t class;
    uint16_t hint;   /* words of free[] before this one are zero */
    uint64_t free[]; /* a bit an object: 1 is free */
};

struct slab_arena {
    struct slab_arena *next, *prev;
    void *map; /* as mapped: base is its first whole page */
    size_t map_bytes;
    uint8_t *base;
    uint64_t free_mask;  /* pages of no class                        */
    uint64_t dirty_mask; /* free pages that may still cost memory    */
    uint32_t pages;
};

struct slab_big { /* before an object past SLAB_OBJECT_MAX */
    struct slab_big *next, *prev;
    size_t size_bytes;
    uint64_t pad; /* keeps the object's alignment at malloc's 16 */
};

struct slab {
    struct alloc *alloc;
    struct slab_arena *arenas, *last_arena;
    struct slab_big *bigs;
    uint32_t arena_count;
    uint32_t used_pages, spare_pages;
    struct slab_stats stats;
    struct slab_page *partial[CLASSES];
};

/* ---- classes ------------------------------------------------------------- */

static uint32_t class_of(size_t size_bytes) {
    uint32_t low = 0, high = EG_COUNTOF(large_classes) - 1;

    if (size_bytes <= SMALL_MAX)
        return size_bytes == 0 ? 0 : (uint32_t) (size_bytes - 1) / SMALL_STEP;
    while (low < high) { /* the first that is large enough */
        uint32_t middle = (low + high) / 2;
        if (large_classes[middle] < size_bytes)
            low = middle + 1;
        else
            high = middle;
    }
    return SMALL_CLASSES + low;
}

static uint32_t class_bytes(uint32_t class) {
    return class < SMALL_CLASSES ? (class + 1) * SMALL_STEP : large_classes[class - SMALL_CLASSES];
}

/* ---- arenas -------------------------------------------------------------- */

static void arena_unlink(struct slab *s, struct slab_arena *arena) {
    *(arena->prev != NULL ? &arena->prev->next : &s->arenas) = arena->next;
    *(arena->next != NULL ? &arena->next->prev : &s->last_arena) = arena->prev;
}

static void arena_to_front(struct slab *s, struct slab_arena *arena) {
    arena->prev = NULL;
    arena->next = s->arenas;
    *(s->arenas != NULL ? &s->arenas->prev : &s->last_arena) = arena;
    s->arenas = arena;
}

static void arena_to_back(struct slab *s, struct slab_arena *arena) {
    arena->next = NULL;
    arena->prev = s->last_arena;
    *(s->last_arena != NULL ? &s->last_arena->next : &s->arenas) = arena;
    s->last_arena = arena;
}

static uint64_t arena_all(const struct slab_arena *arena) {
    return arena->pages == 64 ? UINT64_MAX : (UINT64_C(1) << arena->pages) - 1;
}

static struct slab_arena *arena_open(struct slab *s) {
    uint32_t doublings = EG_MIN(s->arena_count, 4);
    struct slab_arena *arena = alloc_zero(s->alloc, sizeof *arena);

    if (arena == NULL)
        return NULL;
    arena->pages = EG_MIN(ARENA_PAGES_MIN << doublings, ARENA_PAGES_MAX);
    arena->map_bytes = (size_t) (arena->pages + 1) * PAGE_BYTES; /* one more to align in */
    arena->map = alloc_map(s->alloc, arena->map_bytes);
    if (arena->map == NULL) {
        alloc_put(s->alloc, arena, sizeof *arena);
        return NULL;
    }
    arena->base = (uint8_t *) (((uintptr_t) arena->map + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES);
    arena->free_mask = arena_all(arena);
    arena_to_front(s, arena);
    s->arena_count++;
    return arena;
}

static void arena_close(struct slab *s, struct slab_arena *arena) {
    UNHIDE(arena->map, arena->map_bytes);
    alloc_unmap(s->alloc, arena->map, arena->map_bytes);
    alloc_put(s->alloc, arena, sizeof *arena);
}

/* ---- pages --------------------------------------------------------------- */

static struct slab_page *page_of(void *ptr) {
    return (struct slab_page *) ((uintptr_t) ptr & ~(uintptr_t) (PAGE_BYTES - 1));
}

static void page_link(struct slab *s, struct slab_page *page) {
    struct slab_page **head = &s->partial[page->class];
    page->prev = NULL;
    page->next = *head;
    if (*head != NULL)
        (*head)->prev = page;
    *head = page;
}

static void page_unlink(struct slab *s, struct slab_page *page) {
    *(page->prev != NULL ? &page->prev->next : &s->partial[page->class]) = page->next;
    if (page->next != NULL)
        page->next->prev = page->prev;
}

/* Lay out a page for objects of a class, all of them free. */
static void page_init(struct slab_page *page, struct slab_arena *arena, uint32_t class) {
    uint32_t object_bytes = class_bytes(class), words, objects, data_at;

    /* each object takes its bytes and a bit; give back what rounding overdrew */
    objects = (uint32_t) (PAGE_BYTES - sizeof *page) * 8 / (object_bytes * 8 + 1) + 1;
    do {
        objects--;
        words = (objects + 63) / 64;
        data_at = (uint32_t) (sizeof *page + words * 8 + EG_CACHE_LINE - 1) / EG_CACHE_LINE *
                  EG_CACHE_LINE;
    } while (data_at + objects * object_bytes > PAGE_BYTES);

    *page = (struct slab_page){
        .arena = arena,
        .object_bytes = object_bytes,
        .reciprocal = (uint32_t) ((UINT64_C(1) << 32) / object_bytes + 1),
        .data_at = data_at,
        .objects = (uint16_t) objects,
        .class = (uint16_t) class,
    };
    memset(page->free, 0xff, words * 8);
    if (objects % 64 != 0)
        page->free[words - 1] = (UINT64_C(1) << objects % 64) - 1;
    HIDE((uint8_t *) page + data_at, PAGE_BYTES - data_at);
}

/* A page for `class`, linked as partial.  NULL: no memory. */
static struct slab_page *page_get(struct slab *s, uint32_t class) {
    struct slab_arena *arena = s->arenas;
    struct slab_page *page;
    uint64_t spare;
    uint32_t index;

    if (arena == NULL || arena->free_mask == 0)
        arena = arena_open(s);
    if (arena == NULL)
        return NULL;
    spare = arena->free_mask & arena->dirty_mask;
    index = (uint32_t) __builtin_ctzll(spare != 0 ? spare : arena->free_mask);
    arena->free_mask &= ~(UINT64_C(1) << index);
    if (arena->free_mask == 0) {
        arena_unlink(s, arena);
        arena_to_back(s, arena);
    }
    page = (struct slab_page *) (arena->base + (size_t) index * PAGE_BYTES);
    UNHIDE(page, PAGE_BYTES);
    if (spare != 0) {
        arena->dirty_mask &= ~(UINT64_C(1) << index);
        s->spare_pages--;
        s->stats.system_bytes -= page->touched;
    }
    page_init(page, arena, class);
    page_link(s, page);
    s->used_pages++;
    return page;
}

/* The last object of a linked page has gone. */
static void page_put(struct slab *s, struct slab_page *page) {
    struct slab_arena *arena = page->arena;
    uint32_t index = (uint32_t) ((size_t) ((uint8_t *) page - arena->base) / PAGE_BYTES);

    page_unlink(s, page);
    s->used_pages--;
    if (arena->free_mask == 0) {
        arena_unlink(s, arena);
        arena_to_front(s, arena);
    }
    arena->free_mask |= UINT64_C(1) << index;
    if (s->spare_pages < SPARE_PAGES_MIN + s->used_pages / SPARE_PAGES_SHARE) {
        arena->dirty_mask |= UINT64_C(1) << index;
        s->spare_pages++;
        return;
    }
    s->stats.system_bytes -= page->touched;
    alloc_discard(s->alloc, page, PAGE_BYTES);
    if (arena->free_mask == arena_all(arena) && arena->dirty_mask == 0 && s->arenas->next != NULL &&
        (s->arenas != arena || arena->next->free_mask != 0)) { /* others have room */
        arena_unlink(s, arena);
        arena_close(s, arena);
        s->arena_count--;
    }
}

/* ---- objects past SLAB_OBJECT_MAX ---------------------------------------- */

static void *big_get(struct slab *s, size_t size_bytes) {
    struct slab_big *big = alloc_get(s->alloc, sizeof *big + size_bytes);

    if (big == NULL)
        return NULL;
    big->size_bytes = size_bytes;
    big->prev = NULL;
    big->next = s->bigs;
    if (s->bigs != NULL)
        s->bigs->prev = big;
    s->bigs = big;
    s->stats.objects++;
    s->stats.used_bytes += sizeof *big + size_bytes;
    s->stats.system_bytes += sizeof *big + size_bytes;
    return big + 1;
}

static void big_put(struct slab *s, void *ptr, size_t size_bytes) {
    struct slab_big *big = (struct slab_big *) ptr - 1;

    EG_ASSERT(big->size_bytes == size_bytes);
    *(big->prev != NULL ? &big->prev->next : &s->bigs) = big->next;
    if (big->next != NULL)
        big->next->prev = big->prev;
    s->stats.objects--;
    s->stats.used_bytes -= sizeof *big + size_bytes;
    s->stats.system_bytes -= sizeof *big + size_bytes;
    alloc_put(s->alloc, big, sizeof *big + size_bytes);
}

/* ---- the slab ------------------------------------------------------------ */

eg_err slab_open(struct slab **out, struct alloc *a) {
    struct slab *s = alloc_zero(a, sizeof *s);

    if (s == NULL)
        return EG_MEMORY;
    s->alloc = a;
    *out = s;
    return EG_OK;
}

void slab_close(struct slab *s) {
    struct slab_arena *arena;

    while (s->bigs != NULL)
        big_put(s, s->bigs + 1, s->bigs->size_bytes);
    while ((arena = s->arenas) != NULL) {
        s->arenas = arena->next;
        arena_close(s, arena);
    }
    alloc_put(s->alloc, s, sizeof *s);
}

/* The page's first word of free[] that is not zero; it has room. */
static uint32_t first_free_word(const struct slab_page *page) {
    uint32_t word = page->hint;

    while (page->free[word] == 0)
        word++;
    return word;
}

void slab_prefetch(const struct slab *s, size_t size_bytes) {
    const struct slab_page *page;
    const uint8_t *object;
    uint32_t word;

    if (size_bytes > SMALL_MAX)
        return; /* to write it takes longer than to wait for it */
    page = s->partial[class_of(size_bytes)];
    if (page == NULL)
        return;
    word = first_free_word(page);
    object =
        (const uint8_t *) page + page->data_at +
        (size_t) (word * 64 + (uint32_t) __builtin_ctzll(page->free[word])) * page->object_bytes;
    for (size_t i = 0; i < size_bytes; i += EG_CACHE_LINE)
        EG_PREFETCH_TO_WRITE(object + i);
    EG_PREFETCH_TO_WRITE(object + size_bytes - 1);
}

void *slab_get(struct slab *s, size_t size_bytes) {
    struct slab_page *page;
    uint32_t class, word, index, end;
    uint8_t *object;

    if (EG_UNLIKELY(size_bytes > SLAB_OBJECT_MAX))
        return big_get(s, size_bytes);
    class = class_of(size_bytes);
    page = s->partial[class];
    if (EG_UNLIKELY(page == NULL) && (page = page_get(s, class)) == NULL)
        return NULL;

    word = first_free_word(page);
    page->hint = (uint16_t) word;
    index = word * 64 + (uint32_t) __builtin_ctzll(page->free[word]);
    page->free[word] &= page->free[word] - 1;
    if (++page->live == page->objects)
        page_unlink(s, page);

    object = (uint8_t *) page + page->data_at + (size_t) index * page->object_bytes;
    end = page->data_at + (index + 1) * page->object_bytes;
    if (EG_UNLIKELY(end > page->touched)) {
        uint32_t touched = (end + PAGE_TOUCH_BYTES - 1) / PAGE_TOUCH_BYTES * PAGE_TOUCH_BYTES;
        s->stats.system_bytes += touched - page->touched;
        page->touched = touched;
    }
    s->stats.objects++;
    s->stats.used_bytes += page->object_bytes;
    UNHIDE(object, size_bytes);
    return object;
}

void slab_put(struct slab *s, void *ptr, size_t size_bytes) {
    struct slab_page *page;
    uint32_t offset, index, word;
    uint64_t bit;

    if (ptr == NULL)
        return;
    if (EG_UNLIKELY(size_bytes > SLAB_OBJECT_MAX)) {
        big_put(s, ptr, size_bytes);
        return;
    }
    page = page_of(ptr);
    EG_ASSERT(page->class == class_of(size_bytes)); /* else the caller's size is wrong */
    offset = (uint32_t) ((uint8_t *) ptr - (uint8_t *) page) - page->data_at;
    index = (uint32_t) ((uint64_t) offset * page->reciprocal >> 32);
    word = index / 64;
    bit = UINT64_C(1) << index % 64;
    EG_ASSERT(index < page->objects && index * page->object_bytes == offset);
    EG_ASSERT((page->free[word] & bit) == 0); /* else it is freed twice */

    page->free[word] |= bit;
    page->hint = EG_MIN(page->hint, (uint16_t) word);
    s->stats.objects--;
    s->stats.used_bytes -= page->object_bytes;
    HIDE(ptr, page->object_bytes);
    if (page->live-- == page->objects)
        page_link(s, page);
    if (page->live == 0)
        page_put(s, page);
}

void slab_free(void *slab, void *ptr, size_t size_bytes) {
    slab_put(slab, ptr, size_bytes);
}

struct slab_stats slab_stats(const struct slab *s) {
    return s->stats;
}
