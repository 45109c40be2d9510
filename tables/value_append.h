/* value_append.h -- a message put together at the end of a buffer, measured first.
 *
 * Memory     What is taken is what it needs; after an error the buffer is as it was. */
#ifndef TABLES_VALUE_APPEND_H
#define TABLES_VALUE_APPEND_H

#include "engine/buffer.h"
#include "tables/value.h"

/* Append what `write` writes of `what`; it is called twice, and writes the same both times.
 * EG_TOO_LARGE: past the buffer's bound.  EG_MEMORY. */
EG_MUST_USE eg_err value_append(struct buffer *out,
                                void (*write)(struct value_writer *w, const void *what),
                                const void *what);

#endif /* TABLES_VALUE_APPEND_H */
