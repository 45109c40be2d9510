/* file_source.c -- read(2), as a backup's reader asks for it. */
#include "tools/file_source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static eg_err read_file(struct backup_source *source, void *at, size_t size_bytes, size_t *got,
                        struct err_note *note) {
    struct file_source *f = EG_CONTAINER_OF(source, struct file_source, source);
    ssize_t n;

    do
        n = read(f->fd, at, size_bytes);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_note(note, EG_DISC, "cannot read: %s", strerror(errno));
    *got = (size_t) n;
    return EG_OK;
}

eg_err file_source_open(struct file_source *f, const char *path, struct err_note *note) {
    struct stat about;

    *f = (struct file_source){.source = {read_file}};
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0)
        return err_note(note, EG_DISC, "cannot read %s: %s", path, strerror(errno));
    if (fstat(f->fd, &about) == 0)
        f->size_bytes = (uint64_t) about.st_size;
    return EG_OK;
}

void file_source_close(struct file_source *f) {
    close(f->fd);
}
