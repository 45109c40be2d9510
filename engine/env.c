/* env.c -- log lines in one form, whoever writes them out. */
#include "engine/env.h"

#include <stdarg.h>
#include <stdio.h>

void env_log(struct env *e, enum env_log_level level, const char *module, const char *format, ...) {
    char line[ENV_LOG_LINE_BYTES];
    int at = snprintf(line, sizeof line, "%s: ", module);
    va_list args;

    if (at < 0 || (size_t) at >= sizeof line)
        at = 0;
    va_start(args, format);
    vsnprintf(line + at, sizeof line - (size_t) at, format, args);
    va_end(args);
    e->ops->log(e, level, line);
}
