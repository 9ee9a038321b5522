#include "normal.h"

#include <float.h>
#include <math.h>

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 2
#error "doubles must be computed in double precision: on x87, compile with -msse2 -mfpmath=sse"
#endif

double normalised(const struct normalisation *n, const int64_t *column, long channels,
                  int frac_bits, long channel)
{
    /* (size - 1) / 2 channels before the own one, rounded down, the others after it */
    const long before = (n->size - 1) / 2, after = n->size - 1 - before;
    const double alpha = n->per_window ? n->alpha / (double)n->size : n->alpha;
    const double factor = ldexp(alpha, -2 * frac_bits);
    int64_t squares = 0;
    double product, base, power = 1.0;

    for (long c = channel - before; c <= channel + after; c++)
        if (c >= 0 && c < channels)
            squares += column[c] * column[c];
    /* one operation a statement: a compiler must not join a product and a sum into one rounding */
    product = factor * (double)squares;
    base = n->bias + product;
    for (int i = 0; i < n->quarters / 4; i++)
        power *= base;
    if (n->quarters % 4 >= 2)
        power *= sqrt(base);
    if (n->quarters % 2 == 1)
        power *= sqrt(sqrt(base));
    return (double)column[channel] / power;
}

int64_t rounded_real(double y, int places, struct format format, enum rounding rounding,
                     enum overflow overflow, uint64_t random)
{
    /* beyond every format of 32 bits, and yet exact with its fraction */
    const double far = ldexp(1.0, 40);
    double size = ldexp(fabs(y), places), fraction;
    int64_t code;

    if (overflow == WRAP)
        size = fmod(size, far);
    else if (!(size < far))
        size = far;
    code = (int64_t)size;
    fraction = size - (double)code;
    if (rounding == STOCHASTIC) {
        /* the upper 53 random bits */
        code += fraction > ldexp((double)(random >> 11), -53);
        return limit(y < 0 ? -code : code, format, overflow);
    }
    /* quarters are enough to tell nothing, less than half, half and more from each other */
    code = 4 * code + (fraction > 0.5 ? 3 : fraction == 0.5 ? 2 : fraction > 0.0);
    return requantize(y < 0 ? -code : code, 2, format, rounding, overflow, 0);
}

int64_t power_30(int64_t distance, const int64_t *constants)
{
    const int64_t half = (int64_t)1 << 29;
    int64_t product = (int64_t)1 << 30;

    /* from the highest set bit down, each product rounded half up to 30 fraction bits */
    for (int b = 62; b >= 0; b--)
        if (distance >> b & 1)
            product = (product * constants[b] + half) >> 30;
    return product;
}

int64_t share(int64_t power, int64_t total, int frac_bits, struct format format)
{
    const int64_t code = divide(shift_left(power, frac_bits), total, TIES_POS, 0);

    return code > greatest_code(format) ? greatest_code(format) : code;
}
