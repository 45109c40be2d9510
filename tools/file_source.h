/* file_source.h -- the bytes of a file, for a reader of backups. */
#ifndef TOOLS_FILE_SOURCE_H
#define TOOLS_FILE_SOURCE_H

#include "tables/backup.h"

struct file_source {
    struct backup_source source;
    int fd;
    uint64_t size_bytes; /* 0: not known */
};

/* EG_DISC with a note: it cannot be read. */
EG_MUST_USE eg_err file_source_open(struct file_source *f, const char *path, struct err_note *note);
void file_source_close(struct file_source *f);

#endif /* TOOLS_FILE_SOURCE_H */
