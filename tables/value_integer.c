/* value_integer.c -- what to do for each first byte. */
#include "tables/value_integer.h"

#define TIMES4(...)   __VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__
#define TIMES16(...)  TIMES4(TIMES4(__VA_ARGS__))
#define TIMES128(...) TIMES4(TIMES16(__VA_ARGS__)), TIMES4(TIMES16(__VA_ARGS__))

#define NONE                                                                                       \
    { 0, 1, 56, 0, 0 }
#define SMALL                                                                                      \
    { 0, 1, 56, 1, 0 }
#define SMALL_NEGATIVE                                                                             \
    { 0x80, 1, 56, 1, 0 }

/* sign, advance, shift, integer, large */
/* clang-format off */
const struct value_integer value_integers[256] = {
    TIMES128(SMALL),                                                /* 00           */
    TIMES16(NONE), TIMES16(NONE), TIMES16(NONE), TIMES16(NONE),     /* 80           */
    TIMES4(NONE), TIMES4(NONE), TIMES4(NONE),                       /* c0           */
    {0, 2, 56, 1, 0}, {0, 3, 48, 1, 0}, {0, 5, 32, 1, 0},           /* cc unsigned  */
    {0, 9, 0, 1, 1},
    {UINT64_C(1) << 7, 2, 56, 1, 0}, {UINT64_C(1) << 15, 3, 48, 1, 0}, /* d0 signed */
    {UINT64_C(1) << 31, 5, 32, 1, 0}, {UINT64_C(1) << 63, 9, 0, 1, 0},
    TIMES4(NONE), TIMES4(NONE), TIMES4(NONE),                       /* d4           */
    TIMES16(SMALL_NEGATIVE), TIMES16(SMALL_NEGATIVE),               /* e0           */
};
/* clang-format on */
