/* serial_check.c -- is what transactions of real nodes read serializable, in real time?
 *
 *     serial_check < HISTORY      one transaction a line (tests/support/serial_text.h)
 *
 * Exit code 0: it is; 1: it is not, by which anomaly, and the transactions that are part of it; 2:
 * no such lines. */
#include "tests/support/serial.h"
#include "tests/support/serial_text.h"

#include <inttypes.h>
#include <stdio.h>

enum { LINE_BYTES = 1 << 16 };

int main(void) {
    static char line[LINE_BYTES];
    char text[SERIAL_TEXT_BYTES];
    struct serial h;
    bool good;

    serial_init(&h);
    while (fgets(line, sizeof line, stdin) != NULL)
        if (!serial_add_line(&h, line)) {
            fprintf(stderr, "not a transaction: %s", line);
            serial_fini(&h);
            return 2;
        }
    good = serial_check(&h, text);
    printf("%" PRIu32 " transactions: %s\n", h.tx_count, good ? "serializable" : text);
    if (!good)
        serial_print_named(&h, text);
    serial_fini(&h);
    return good ? 0 : 1;
}
