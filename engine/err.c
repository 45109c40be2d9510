/* err.c -- names, texts and classes of errors; notes for people. */
#include "engine/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *eg_err_name(eg_err e) {
    switch (e) {
#define X(name, number, cls, wire, text)                                                           \
    case EG_##name:                                                                                \
        return "EG_" #name;
        EG_ERR_MAP(X)
#undef X
    }
    return "EG_INTERNAL";
}

const char *eg_err_wire(eg_err e) {
    switch (e) {
#define X(name, number, cls, wire, text)                                                           \
    case EG_##name:                                                                                \
        return wire;
        EG_ERR_MAP(X)
#undef X
    }
    return "internal";
}

const char *eg_err_text(eg_err e) {
    switch (e) {
#define X(name, number, cls, wire, text)                                                           \
    case EG_##name:                                                                                \
        return text;
        EG_ERR_MAP(X)
#undef X
    }
    return "a defect in Engram";
}

eg_err_class eg_err_class_of(eg_err e) {
    switch (e) {
#define X(name, number, cls, wire, text)                                                           \
    case EG_##name:                                                                                \
        return EG_CLASS_##cls;
        EG_ERR_MAP(X)
#undef X
    }
    return EG_CLASS_UNKNOWN;
}

void eg_assert_failed(const char *what, const char *file, int line) {
    fprintf(stderr, "engram: assertion failed: %s (%s:%d)\n", what, file, line);
    abort();
}

eg_err err_note(struct err_note *note, eg_err e, const char *format, ...) {
    if (note != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(note->text, sizeof note->text, format, args);
        va_end(args);
    }
    return e;
}

void err_note_prefix(struct err_note *note, const char *format, ...) {
    char joined[2 * ERR_NOTE_BYTES];
    va_list args;
    int used;

    if (note == NULL)
        return;
    va_start(args, format);
    used = vsnprintf(joined, ERR_NOTE_BYTES, format, args);
    va_end(args);
    if (used < 0)
        return;
    used = EG_MIN(used, ERR_NOTE_BYTES - 1);
    snprintf(joined + used, sizeof joined - (size_t) used, ": %s", note->text);
    memcpy(note->text, joined, ERR_NOTE_BYTES - 1);
    note->text[ERR_NOTE_BYTES - 1] = '\0';
}
