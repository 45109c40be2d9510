/* temp_dir.c -- made with mkdtemp, removed and copied file by file. */
#include "tests/support/temp_dir.h"

#include "engine/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct temp_dir temp_dir_make(void) {
    struct temp_dir t;
    const char *parent = getenv("TMPDIR");

    snprintf(t.path, sizeof t.path, "%s/engram-test-XXXXXX", parent != NULL ? parent : "/tmp");
    EG_ASSERT(mkdtemp(t.path) != NULL);
    return t;
}

static void path_join(char *path, const char *directory, const char *name) {
    EG_ASSERT(snprintf(path, TEMP_PATH_BYTES, "%s/%s", directory, name) < TEMP_PATH_BYTES);
}

static bool is_dots(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

void temp_dir_remove_tree(const char *path) {
    DIR *dir = opendir(path);
    struct dirent *entry;

    if (dir != NULL) {
        while ((entry = readdir(dir)) != NULL) {
            char child[TEMP_PATH_BYTES];
            if (is_dots(entry->d_name))
                continue;
            path_join(child, path, entry->d_name);
            temp_dir_remove_tree(child);
        }
        closedir(dir);
    }
    EG_ASSERT(remove(path) == 0 || errno == ENOENT);
}

void temp_dir_remove(struct temp_dir *t) {
    temp_dir_remove_tree(t->path);
}

static void copy_file(const char *from, const char *to) {
    static char buffer[1 << 16];
    int in = open(from, O_RDONLY);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    ssize_t n;

    EG_ASSERT(in >= 0 && out >= 0);
    while ((n = read(in, buffer, sizeof buffer)) > 0)
        EG_ASSERT(write(out, buffer, (size_t) n) == n);
    EG_ASSERT(n == 0);
    close(in);
    close(out);
}

void temp_dir_copy(const char *from, const char *to) {
    DIR *dir = opendir(from);
    struct dirent *entry;

    EG_ASSERT(dir != NULL && mkdir(to, 0750) == 0);
    while ((entry = readdir(dir)) != NULL) {
        char source[TEMP_PATH_BYTES], target[TEMP_PATH_BYTES];
        struct stat s;
        if (is_dots(entry->d_name))
            continue;
        path_join(source, from, entry->d_name);
        path_join(target, to, entry->d_name);
        EG_ASSERT(stat(source, &s) == 0);
        if (S_ISDIR(s.st_mode))
            temp_dir_copy(source, target);
        else
            copy_file(source, target);
    }
    closedir(dir);
}
