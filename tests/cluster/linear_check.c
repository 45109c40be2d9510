/* linear_check.c -- is what clients of real nodes saw linearizable?
 *
 *     linear_check < HISTORY      one operation a line: KEY KIND VALUE SEEN KNOWN BEGIN END NUMBER
 *
 * KIND: read, write or take; KNOWN: 0 where no answer came.  Exit code 0: it is; 1: it is not, and
 * why; 2: no such lines, or too many orders. */
#include "tests/support/linear.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPS_MAX = 1 << 18 };

static bool read_op(const char *line, struct linear_op *o) {
    static const char *const kinds[] = {"read", "write", "take"};
    char kind[8];
    unsigned known;

    if (sscanf(line, "%" SCNu32 " %7s %" SCNu64 " %" SCNu64 " %u %" SCNu64 " %" SCNu64 " %" SCNu32,
               &o->key, kind, &o->value, &o->seen, &known, &o->begin, &o->end, &o->number) != 8)
        return false;
    o->known = known != 0;
    for (size_t i = 0; i < EG_COUNTOF(kinds); i++)
        if (strcmp(kind, kinds[i]) == 0) {
            o->kind = (enum linear_kind) i;
            return true;
        }
    return false;
}

int main(void) {
    struct linear_op *ops = calloc(OPS_MAX, sizeof *ops);
    char line[256], text[LINEAR_TEXT_BYTES];
    uint32_t count = 0;
    enum linear_verdict verdict;

    while (ops != NULL && fgets(line, sizeof line, stdin) != NULL) {
        if (count == OPS_MAX || !read_op(line, &ops[count])) {
            fprintf(stderr, "not an operation: %s", line);
            return 2;
        }
        count++;
    }
    verdict = linear_check(ops, count, text);
    printf("%" PRIu32 " operations: %s\n", count, verdict == LINEAR_GOOD ? "linearizable" : text);
    free(ops);
    return verdict == LINEAR_GOOD ? 0 : verdict == LINEAR_BAD ? 1 : 2;
}
