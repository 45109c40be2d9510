/* canary_leak.c -- leaks, inside a Criterion test, which passes all the same.
 *
 * Criterion takes no notice of what a sanitizer says after a test's body; ctest looks
 * for the words instead (EG_SANITIZER_TEXT).  This program must fail there: if it does
 * not, no leak in any other test is seen either. */
#include "engine/alloc.h"

#include <criterion/criterion.h>

Test(canary, leaks) {
    void *volatile lost = alloc_get(alloc_system(), 100);
    lost = NULL;
    cr_assert_null(lost);
}
