/* file.h -- files that a program names: backups.
 *
 * file_uv.c does it with POSIX.  A file that is written gets its name when it is whole and on
 * disc: until then it is called PATH.part.
 */
#ifndef NODE_FILE_H
#define NODE_FILE_H

#include "engine/err.h"

#include <stddef.h>

enum { FILE_PATH_BYTES = 4096 };

struct file {
    int fd;
    char path[FILE_PATH_BYTES];   /* of one that is written: what it is to be called */
    char beside[FILE_PATH_BYTES]; /* and what it is called until then                */
};

/* All: EG_DISC with a note that names the file, EG_BAD_REQUEST where the path is too long. */
EG_MUST_USE eg_err file_create(struct file *f, const char *path, struct err_note *note);
EG_MUST_USE eg_err file_write(struct file *f, const void *at, size_t size_bytes,
                              struct err_note *note);
/* Either of them ends a file that was created. */
EG_MUST_USE eg_err file_commit(struct file *f, struct err_note *note);
void file_abandon(struct file *f);

EG_MUST_USE eg_err file_open(struct file *f, const char *path, struct err_note *note);
/* *got 0: the end. */
EG_MUST_USE eg_err file_read(struct file *f, void *at, size_t size_bytes, size_t *got,
                             struct err_note *note);
void file_close(struct file *f);

#endif /* NODE_FILE_H */
