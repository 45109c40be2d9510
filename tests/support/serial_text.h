/* serial_text.h -- histories of transactions as text, one a line.
 *
 *     EPOCH END BEGIN OVER OPERATION ...
 *
 *     1 done 100 250 r 7 [3 4] a 7 5     read key 7, which held 3 and 4; appended 5 to it
 *     1 maybe 120 0 a 8 6                nobody said what became of it
 *
 * END: done, undone, maybe.  A transaction's number is its line's, from 1 on.
 *
 * Threads    One.
 */
#ifndef TESTS_SUPPORT_SERIAL_TEXT_H
#define TESTS_SUPPORT_SERIAL_TEXT_H

#include "tests/support/serial.h"

/* False: that is no such line, and the history may hold the beginning of it. */
EG_MUST_USE bool serial_add_line(struct serial *h, const char *line);
/* The lines of all whose numbers are in the text (serial_check()), to where people look. */
void serial_print_named(const struct serial *h, const char *text);

#endif /* TESTS_SUPPORT_SERIAL_TEXT_H */
