/* value_integer.c -- what to do for each first byte. */
#include "tables/value_integer.h"

#define TIMES4(...)   __VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__
#define TIMES16(...)  TIMES4(TIMES4(__VA_ARGS__))
#define TIMES128(...) TIMES4(TIMES16(__VA_ARGS__)), TIMES4(TIMES16(__VA_ARGS__))

#define UNSIGNED(bytes) (UINT64_MAX >> (64 - 8 * (bytes))), 0, 0, 1 + (bytes), 0
#define SIGNED(bytes)                                                                              \
    (UINT64_MAX >> (64 - 8 * (bytes))), UINT64_C(1) << (8 * (bytes) -1), 0, 1 + (bytes), 0
#define NONE                                                                                       \
    { 0, 0, 0, 1, 1 }
#define SMALL                                                                                      \
    { 0xff, 0, 0, 1, 0 }
#define SMALL_NEGATIVE                                                                             \
    { 0xff, 0x80, 0, 1, 0 }

/* mask, sign, large, advance, other */
/* clang-format off */
const struct value_integer value_integers[256] = {
    TIMES128(SMALL),                                            /* 00          */
    TIMES16(NONE), TIMES16(NONE), TIMES16(NONE), TIMES16(NONE), /* 80          */
    TIMES4(NONE), TIMES4(NONE), TIMES4(NONE),                   /* c0          */
    {UNSIGNED(1)}, {UNSIGNED(2)}, {UNSIGNED(4)},                /* cc          */
    {UINT64_MAX, 0, UINT64_C(1) << 63, 9, 0},
    {SIGNED(1)}, {SIGNED(2)}, {SIGNED(4)}, {SIGNED(8)},         /* d0          */
    TIMES4(NONE), TIMES4(NONE), TIMES4(NONE),                   /* d4          */
    TIMES16(SMALL_NEGATIVE), TIMES16(SMALL_NEGATIVE),           /* e0          */
};
/* clang-format on */
