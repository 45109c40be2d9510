/* predicate_math.c -- arithmetic of questions: exact integers, or none.
 *
 * An integer is held as sign and magnitude here, so that -2^63 .. 2^64 - 1, all that
 * MessagePack can say, is one range.  What leaves it has no value: match specifications fail
 * there (ETS would go on with a big number), text goes on with a float as SQLite does.
 * Bits are those of two's complement of any width: a sign, and 64 bits below it.
 */
#include "tables/predicate_private.h"

#include <math.h>

struct integer {
    bool negative; /* the magnitude is not 0 then */
    uint64_t magnitude;
};

static const uint64_t LOWEST = UINT64_C(1) << 63; /* magnitude of the least integer */

static struct integer integer_of(struct value_number n) {
    if (n.form == NUMBER_NEGATIVE)
        return (struct integer){true, 0 - n.u};
    return (struct integer){false, n.u};
}

static bool put_integer(struct integer n, struct value_number *out) {
    if (!n.negative || n.magnitude == 0) {
        *out = (struct value_number){.form = NUMBER_UNSIGNED, .u = n.magnitude};
        return true;
    }
    if (n.magnitude > LOWEST)
        return false;
    *out = (struct value_number){.form = NUMBER_NEGATIVE, .u = 0 - n.magnitude};
    return true;
}

static double double_of(struct value_number n) {
    return n.form == NUMBER_FLOAT ? n.d : n.form == NUMBER_UNSIGNED ? (double) n.u : (double) n.i;
}

static struct value_number float_of(double d) {
    return (struct value_number){.form = NUMBER_FLOAT, .d = d};
}

/* ---- integers -------------------------------------------------------------- */

static bool add(struct integer x, struct integer y, struct integer *out) {
    out->negative = x.negative;
    if (x.negative == y.negative)
        return !__builtin_add_overflow(x.magnitude, y.magnitude, &out->magnitude);
    if (x.magnitude >= y.magnitude) {
        out->magnitude = x.magnitude - y.magnitude;
    } else {
        out->negative = y.negative;
        out->magnitude = y.magnitude - x.magnitude;
    }
    return true;
}

static bool integers(unsigned op, struct integer x, struct integer y, struct integer *out) {
    out->negative = x.negative != y.negative;
    switch (op) {
    case EXPR_SUB:
    case EXPR_SQL_SUB:
        y.negative = !y.negative;
        return add(x, y, out);
    case EXPR_MUL:
    case EXPR_SQL_MUL:
        return !__builtin_mul_overflow(x.magnitude, y.magnitude, &out->magnitude);
    case EXPR_DIV:
    case EXPR_SQL_DIVIDE:
        if (y.magnitude == 0)
            return false;
        out->magnitude = x.magnitude / y.magnitude;
        return true;
    case EXPR_REM:
    case EXPR_SQL_REM:
        if (y.magnitude == 0)
            return false;
        out->negative = x.negative;
        out->magnitude = x.magnitude % y.magnitude;
        return true;
    default:
        return add(x, y, out);
    }
}

/* ---- bits --------------------------------------------------------------------- */

static bool put_bits(bool negative, uint64_t low, struct value_number *out) {
    if (negative && low < LOWEST)
        return false; /* below -2^63 */
    *out = (struct value_number){.form = negative ? NUMBER_NEGATIVE : NUMBER_UNSIGNED, .u = low};
    return true;
}

static bool shift_left(struct integer x, uint64_t by, struct value_number *out) {
    if (x.magnitude == 0)
        return put_integer(x, out);
    if (by >= 64 || x.magnitude << by >> by != x.magnitude)
        return false;
    x.magnitude <<= by;
    return put_integer(x, out);
}

static bool shift_right(struct integer x, uint64_t by, struct value_number *out) {
    if (x.negative) /* towards minus infinity */
        x.magnitude = 1 + (by >= 64 ? 0 : (x.magnitude - 1) >> by);
    else
        x.magnitude = by >= 64 ? 0 : x.magnitude >> by;
    return put_integer(x, out);
}

static bool bits(unsigned op, struct value_number x, struct value_number y,
                 struct value_number *out) {
    bool a = x.form == NUMBER_NEGATIVE;
    bool b = y.form == NUMBER_NEGATIVE;

    switch (op) {
    case EXPR_BAND:
        return put_bits(a && b, x.u & y.u, out);
    case EXPR_BOR:
        return put_bits(a || b, x.u | y.u, out);
    case EXPR_BXOR:
        return put_bits(a != b, x.u ^ y.u, out);
    default:
        if ((op == EXPR_BSL) != b)
            return shift_left(integer_of(x), integer_of(y).magnitude, out);
        return shift_right(integer_of(x), integer_of(y).magnitude, out);
    }
}

/* ---- floats -------------------------------------------------------------------- */

static bool fits_i64(struct value_number n) {
    return n.form != NUMBER_UNSIGNED || n.u <= INT64_MAX;
}

/* As ETS: what is not finite fails. */
static bool floats(unsigned op, double x, double y, struct value_number *out) {
    double d = op == EXPR_ADD ? x + y : op == EXPR_SUB ? x - y : op == EXPR_MUL ? x * y : x / y;

    if (op == EXPR_DIVIDE && y == 0)
        return false;
    *out = float_of(d);
    return isfinite(d);
}

/* As SQLite: infinity is a number, what is none is nil; a remainder is of integers. */
static int64_t cut_to_i64(double d) {
    return d >= 0x1p63 ? INT64_MAX : d <= -0x1p63 ? INT64_MIN : (int64_t) d;
}

static bool sql_floats(unsigned op, double x, double y, struct value_number *out) {
    double d;

    if (op == EXPR_SQL_REM) {
        int64_t a = isnan(x) ? 0 : cut_to_i64(x);
        int64_t b = isnan(y) ? 0 : cut_to_i64(y);
        if (b == 0)
            return false;
        *out = float_of(b == -1 ? 0 : (double) (a % b));
        return true;
    }
    if (op == EXPR_SQL_DIVIDE && y == 0)
        return false;
    d = op == EXPR_SQL_ADD   ? x + y
        : op == EXPR_SQL_SUB ? x - y
        : op == EXPR_SQL_MUL ? x * y
                             : x / y;
    *out = float_of(d);
    return !isnan(d);
}

/* Integers of 64 bits whose result needs more give a float. */
static bool sql_binary(unsigned op, struct value_number x, struct value_number y,
                       struct value_number *out) {
    struct integer n;

    if (x.form == NUMBER_FLOAT || y.form == NUMBER_FLOAT)
        return sql_floats(op, double_of(x), double_of(y), out);
    if ((op == EXPR_SQL_DIVIDE || op == EXPR_SQL_REM) && y.u == 0)
        return false;
    if (integers(op, integer_of(x), integer_of(y), &n) && put_integer(n, out) &&
        (fits_i64(*out) || !fits_i64(x) || !fits_i64(y)))
        return true;
    return sql_floats(op, double_of(x), double_of(y), out);
}

/* ---- both ------------------------------------------------------------------------ */

bool math_binary(unsigned op, struct value_number x, struct value_number y,
                 struct value_number *out) {
    bool whole = x.form != NUMBER_FLOAT && y.form != NUMBER_FLOAT;
    struct integer n;

    if (op >= EXPR_SQL_AND)
        return sql_binary(op, x, y, out);
    switch (op) {
    case EXPR_ADD:
    case EXPR_SUB:
    case EXPR_MUL:
        if (!whole)
            return floats(op, double_of(x), double_of(y), out);
        return integers(op, integer_of(x), integer_of(y), &n) && put_integer(n, out);
    case EXPR_DIVIDE:
        return floats(op, double_of(x), double_of(y), out);
    case EXPR_DIV:
    case EXPR_REM:
        return whole && integers(op, integer_of(x), integer_of(y), &n) && put_integer(n, out);
    default:
        return whole && bits(op, x, y, out);
    }
}

/* The integer that `d` is, whose fraction has been dealt with. */
static bool put_whole(double d, struct value_number *out) {
    if (!(d >= -0x1p63 && d < 0x1p64))
        return false;
    return put_integer((struct integer){d < 0, (uint64_t) fabs(d)}, out);
}

static bool to_whole(unsigned op, struct value_number x, struct value_number *out) {
    *out = x;
    if (x.form != NUMBER_FLOAT)
        return true;
    switch (op) {
    case EXPR_ROUND:
        return put_whole(round(x.d), out);
    case EXPR_TRUNC:
        return put_whole(trunc(x.d), out);
    case EXPR_FLOOR:
        return put_whole(floor(x.d), out);
    default:
        return put_whole(ceil(x.d), out);
    }
}

static bool negate(unsigned op, struct value_number x, struct value_number *out) {
    struct integer n = integer_of(x);
    bool sql = op == EXPR_SQL_NEGATE;

    *out = float_of(-double_of(x));
    if (x.form == NUMBER_FLOAT)
        return true;
    n.negative = !n.negative;
    if (sql && x.form == NUMBER_NEGATIVE && n.magnitude == LOWEST)
        return true;
    return put_integer(n, out) || sql;
}

bool math_unary(unsigned op, struct value_number x, struct value_number *out) {
    struct integer n = integer_of(x);

    switch (op) {
    case EXPR_NEGATE:
    case EXPR_SQL_NEGATE:
        return negate(op, x, out);
    case EXPR_BNOT:
        return x.form != NUMBER_FLOAT && put_bits(x.form != NUMBER_NEGATIVE, ~x.u, out);
    case EXPR_ABS:
        if (x.form == NUMBER_FLOAT)
            *out = float_of(fabs(x.d));
        else
            *out = (struct value_number){.form = NUMBER_UNSIGNED, .u = n.magnitude};
        return true;
    case EXPR_FLOAT:
        *out = float_of(double_of(x));
        return true;
    default:
        return to_whole(op, x, out);
    }
}
