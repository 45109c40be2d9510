/* err.h -- an error with a note for people.
 *
 * Where a person will read the outcome (configuration, start, wire, shell) a
 * function takes a `struct err_note *` and writes one sentence into it; layers
 * above may prefix it.  Hot paths return the bare code.  A NULL note is legal
 * everywhere and means nobody reads it.
 */
#ifndef ENGINE_ERR_H
#define ENGINE_ERR_H

#include "engine/base.h"

enum { ERR_NOTE_BYTES = 256 };

struct err_note {
    char text[ERR_NOTE_BYTES]; /* always terminated; "" where nothing was said */
};

/* Write the note (cut where too long) and return `e`, so that one line says it:
 * return err_note(note, EG_BAD_REQUEST, "no attribute %s", name); */
eg_err err_note(struct err_note *note, eg_err e, const char *format, ...) EG_PRINTF(3, 4);

/* Put "prefix: " before what is already there. */
void err_note_prefix(struct err_note *note, const char *format, ...) EG_PRINTF(2, 3);

#endif /* ENGINE_ERR_H */
