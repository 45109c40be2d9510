/* temp_dir.h -- a directory of its own for a test, removed afterwards. */
#ifndef TESTS_SUPPORT_TEMP_DIR_H
#define TESTS_SUPPORT_TEMP_DIR_H

#include <stdbool.h>

enum { TEMP_PATH_BYTES = 512 };

struct temp_dir {
    char path[TEMP_PATH_BYTES];
};

struct temp_dir temp_dir_make(void); /* below $TMPDIR or /tmp; aborts where it cannot */
void temp_dir_remove(struct temp_dir *t);

/* Copy the tree `from` to `to`, which must not exist, as it is at one moment: again
 * where a thread in the background changed files meanwhile.  That is what a kill
 * leaves of a process that is not writing just then. */
void temp_dir_copy(const char *from, const char *to);
void temp_dir_remove_tree(const char *path);

#endif /* TESTS_SUPPORT_TEMP_DIR_H */
