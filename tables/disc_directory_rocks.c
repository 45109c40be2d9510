/* disc_directory_rocks.c -- the data directory around the database.
 *
 *     DIRECTORY/lock     flock()ed by the node that uses it, holds its pid
 *     DIRECTORY/format   "engram data 1": written once, after the first open
 *     DIRECTORY/db/      RocksDB's own
 *
 * Our own lock comes before RocksDB is touched, since a second RocksDB on the same
 * files turns over the log file of the first before it meets the lock.  `format`
 * tells a directory that was in use from one whose creation was cut short: with
 * it, a missing CURRENT or log is damage, and RocksDB, which would make a new
 * database and delete the old files, is not asked. */
#include "tables/disc_rocks_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT_TEXT "engram data 1\n"

eg_err directory_enter(const char *path, struct err_note *note) {
    struct stat s;

    if (stat(path, &s) != 0 && errno == ENOENT && mkdir(path, 0750) != 0)
        return err_note(note, EG_DISC, "cannot make data directory %s: %s", path, strerror(errno));
    if (stat(path, &s) != 0)
        return err_note(note, EG_DISC, "data directory %s: %s", path, strerror(errno));
    if (!S_ISDIR(s.st_mode))
        return err_note(note, EG_DISC, "data directory %s is not a directory", path);
    if (access(path, R_OK | W_OK | X_OK) != 0)
        return err_note(note, EG_DISC, "data directory %s: %s", path, strerror(errno));
    return EG_OK;
}

void directory_path(struct disc_rocks *d, const char *directory, const char *leaf) {
    snprintf(d->path, d->path_bytes, "%s%s", directory, leaf);
}

eg_err directory_lock(struct disc_rocks *d, const char *directory, struct err_note *note) {
    char text[32] = "";
    eg_err err;

    directory_path(d, directory, "/lock");
    d->lock_fd = open(d->path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (d->lock_fd < 0)
        return err_note(note, EG_DISC, "%s: %s", d->path, strerror(errno));
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = read(d->lock_fd, text, sizeof text - 1);
        long pid = n > 0 ? strtol(text, NULL, 10) : 0;
        err = err_note(note, EG_DISC, "data directory %s is in use by process %ld", directory, pid);
        goto close_lock;
    }
    snprintf(text, sizeof text, "%ld\n", (long) getpid());
    if (ftruncate(d->lock_fd, 0) == 0 && pwrite(d->lock_fd, text, strlen(text), 0) > 0)
        return EG_OK;
    err = err_note(note, EG_DISC, "%s: %s", d->path, strerror(errno));
close_lock:
    close(d->lock_fd);
    return err;
}

/* Read DIRECTORY/format.  *used: a database was made here once. */
eg_err directory_format_read(struct disc_rocks *d, const char *directory, bool *used,
                             struct err_note *note) {
    char text[sizeof FORMAT_TEXT + 16];
    ssize_t n;
    int fd;

    directory_path(d, directory, "/format");
    *used = false;
    fd = open(d->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return EG_OK;
    if (fd < 0)
        return err_note(note, EG_DISC, "%s: %s", d->path, strerror(errno));
    n = read(fd, text, sizeof text);
    close(fd);
    if (n < 0)
        return err_note(note, EG_DISC, "%s: %s", d->path, strerror(errno));
    *used = true;
    if ((size_t) n == strlen(FORMAT_TEXT) && memcmp(text, FORMAT_TEXT, (size_t) n) == 0)
        return EG_OK;
    return err_note(note, EG_CORRUPT, "%s is not \"%.*s\": damaged, or written by a later Engram",
                    d->path, (int) strlen(FORMAT_TEXT) - 1, FORMAT_TEXT);
}

bool directory_has_log(const char *path) {
    DIR *dir = opendir(path);
    struct dirent *entry;
    bool exists = false;

    if (dir == NULL)
        return false;
    while ((entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        exists |= dot != NULL && strcmp(dot, ".log") == 0;
    }
    closedir(dir);
    return exists;
}

/* Write DIRECTORY/format so that after a crash it is there as a whole or not. */
eg_err directory_format_write(const char *directory, struct err_note *note) {
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd =
        dir < 0 ? -1 : openat(dir, "format.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    bool written = fd >= 0 &&
                   write(fd, FORMAT_TEXT, strlen(FORMAT_TEXT)) == (ssize_t) strlen(FORMAT_TEXT) &&
                   fsync(fd) == 0;

    if (fd >= 0 && close(fd) != 0)
        written = false;
    written = written && renameat(dir, "format.new", dir, "format") == 0 && fsync(dir) == 0;
    if (dir >= 0)
        close(dir);
    return written ? EG_OK : err_note(note, EG_DISC, "%s/format: %s", directory, strerror(errno));
}
