/* temp_dir.c -- made with mkdtemp, removed and copied file by file. */
#include "tests/support/temp_dir.h"

#include "engine/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
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

/* False: it went away meanwhile. */
static bool copy_file(const char *from, const char *to) {
    static char buffer[1 << 16];
    int in = open(from, O_RDONLY);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    ssize_t n = 0;

    EG_ASSERT(out >= 0);
    while (in >= 0 && (n = read(in, buffer, sizeof buffer)) > 0)
        EG_ASSERT(write(out, buffer, (size_t) n) == n);
    EG_ASSERT(n == 0);
    if (in >= 0)
        close(in);
    close(out);
    return in >= 0;
}

/* Copy what is there (`to` NULL: only look) and add up names, sizes and times. */
static uint64_t copy_tree(const char *from, const char *to) {
    DIR *dir = opendir(from);
    struct dirent *entry;
    uint64_t sum = 0;

    EG_ASSERT(dir != NULL && (to == NULL || mkdir(to, 0750) == 0));
    while ((entry = readdir(dir)) != NULL) {
        char source[TEMP_PATH_BYTES], target[TEMP_PATH_BYTES];
        struct stat s;
        if (is_dots(entry->d_name))
            continue;
        path_join(source, from, entry->d_name);
        path_join(target, to != NULL ? to : "", entry->d_name);
        if (stat(source, &s) != 0)
            sum += 1; /* gone already: the next sum will differ */
        else if (S_ISDIR(s.st_mode))
            sum += copy_tree(source, to != NULL ? target : NULL);
        else if (to == NULL || copy_file(source, target))
            sum += ((uint64_t) s.st_ino * 31 + (uint64_t) s.st_size) * 31 +
                   (uint64_t) s.st_mtim.tv_sec * 1000000007 + (uint64_t) s.st_mtim.tv_nsec;
    }
    closedir(dir);
    return sum;
}

void temp_dir_copy(const char *from, const char *to) {
    for (;;) {
        uint64_t before = copy_tree(from, NULL);
        copy_tree(from, to);
        if (copy_tree(from, NULL) == before)
            return;
        temp_dir_remove_tree(to);
    }
}
