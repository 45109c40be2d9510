/* file_uv.c -- files through POSIX. */
#include "node/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static eg_err failed(const char *what, const char *path, struct err_note *note) {
    return err_note(note, EG_DISC, "cannot %s %s: %s", what, path, strerror(errno));
}

eg_err file_create(struct file *f, const char *path, struct err_note *note) {
    if ((size_t) snprintf(f->beside, sizeof f->beside, "%s.part", path) >= sizeof f->beside)
        return err_note(note, EG_BAD_REQUEST, "the name of the file is too long");
    snprintf(f->path, sizeof f->path, "%s", path);
    f->fd = open(f->beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return f->fd < 0 ? failed("write", f->beside, note) : EG_OK;
}

eg_err file_write(struct file *f, const void *at, size_t size_bytes, struct err_note *note) {
    const char *from = at;

    while (size_bytes > 0) {
        ssize_t n = write(f->fd, from, size_bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed("write", f->beside, note);
        from += n;
        size_bytes -= (size_t) n;
    }
    return EG_OK;
}

/* The new name is to be there after a power cut too. */
static void sync_folder(const char *path) {
    char folder[FILE_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    int fd;

    snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int) (slash - path) + 1,
             slash == NULL ? "." : path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void) fsync(fd); /* some file systems cannot; the file itself is safe */
    close(fd);
}

eg_err file_commit(struct file *f, struct err_note *note) {
    eg_err err = EG_OK;

    if (fsync(f->fd) != 0 || rename(f->beside, f->path) != 0)
        err = failed("write", f->path, note);
    if (err != EG_OK) {
        file_abandon(f);
        return err;
    }
    close(f->fd);
    sync_folder(f->path);
    return EG_OK;
}

void file_abandon(struct file *f) {
    close(f->fd);
    unlink(f->beside);
}

eg_err file_open(struct file *f, const char *path, struct err_note *note) {
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    return f->fd < 0 ? failed("read", path, note) : EG_OK;
}

eg_err file_read(struct file *f, void *at, size_t size_bytes, size_t *got, struct err_note *note) {
    ssize_t n;

    do
        n = read(f->fd, at, size_bytes);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return failed("read", "the file", note);
    *got = (size_t) n;
    return EG_OK;
}

void file_close(struct file *f) {
    close(f->fd);
}
