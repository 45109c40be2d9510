/* serial_text.c -- a reader of words and numbers. */
#include "tests/support/serial_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 4096 };

static const char *const ends[] = {
    [SERIAL_MAYBE] = "maybe", [SERIAL_DONE] = "done", [SERIAL_UNDONE] = "undone"};

static void skip_blanks(const char **at) {
    *at += strspn(*at, " \t\r\n");
}

static bool take_number(const char **at, uint64_t most, uint64_t *out) {
    char *end;

    skip_blanks(at);
    if (**at < '0' || **at > '9')
        return false;
    *out = strtoull(*at, &end, 10);
    *at = end;
    return *out <= most;
}

static bool take_word(const char **at, const char *word) {
    size_t size = strlen(word);

    skip_blanks(at);
    if (strncmp(*at, word, size) != 0)
        return false;
    *at += size;
    return true;
}

static bool take_end(const char **at, enum serial_end *out) {
    for (size_t i = 0; i < EG_COUNTOF(ends); i++)
        if (take_word(at, ends[i])) {
            *out = (enum serial_end) i;
            return true;
        }
    return false;
}

static bool take_list(const char **at, uint32_t *list, uint32_t *count) {
    uint64_t n;

    *count = 0;
    if (!take_word(at, "["))
        return false;
    while (!take_word(at, "]")) {
        if (*count == LIST_MAX || !take_number(at, UINT32_MAX, &n))
            return false;
        list[(*count)++] = (uint32_t) n;
    }
    return true;
}

static bool take_op(struct serial *h, uint32_t tx, const char **at) {
    uint32_t list[LIST_MAX], count;
    uint64_t key, element;

    if (take_word(at, "r")) {
        if (!take_number(at, UINT32_MAX, &key) || !take_list(at, list, &count))
            return false;
        serial_read(h, tx, (uint32_t) key, list, count);
        return true;
    }
    if (!take_word(at, "a") || !take_number(at, UINT32_MAX, &key) ||
        !take_number(at, SERIAL_ELEMENTS_MAX - 1, &element) || element == 0)
        return false;
    serial_append(h, tx, (uint32_t) key, (uint32_t) element);
    return true;
}

bool serial_add_line(struct serial *h, const char *line) {
    uint64_t epoch, begin, over;
    enum serial_end end;
    uint32_t tx;

    if (!take_number(&line, UINT64_MAX, &epoch) || !take_end(&line, &end) ||
        !take_number(&line, UINT64_MAX, &begin) || !take_number(&line, UINT64_MAX, &over))
        return false;
    tx = serial_begin(h, begin);
    for (skip_blanks(&line); *line != '\0'; skip_blanks(&line))
        if (!take_op(h, tx, &line))
            return false;
    serial_end(h, tx, end, epoch, over);
    return true;
}

static void print_one(const struct serial *h, uint32_t tx) {
    const struct serial_tx *t = &h->tx[tx];

    printf("# %" PRIu32 ": %" PRIu64 " %s %" PRIu64 " %" PRIu64, tx, t->epoch, ends[t->end],
           t->begin, t->over);
    for (uint32_t i = t->first; i != 0; i = h->op[i].next) {
        const struct serial_op *o = &h->op[i];

        if (o->element != 0) {
            printf(" a %" PRIu32 " %" PRIu32, o->key, o->element);
            continue;
        }
        printf(" r %" PRIu32 " [", o->key);
        for (uint32_t k = 0; k < o->count; k++)
            printf("%s%" PRIu32, k == 0 ? "" : " ", h->element[o->at + k]);
        printf("]");
    }
    printf("\n");
}

void serial_print_named(const struct serial *h, const char *text) {
    for (char *end; *text != '\0'; text = end) {
        uint64_t number = strtoull(text, &end, 10);

        if (end == text)
            end++;
        else if (number >= 1 && number <= h->tx_count)
            print_one(h, (uint32_t) number);
    }
}
