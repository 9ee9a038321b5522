#include "fixed.h"

/* What is cut off, seen from the magnitude: nothing, or how it compares with half a step. */
enum cut { NOTHING, BELOW_HALF, HALF, ABOVE_HALF };

int64_t least_code(struct format format)
{
    return format.is_signed ? -((int64_t)1 << (format.bits - 1)) : 0;
}

int64_t greatest_code(struct format format)
{
    return ((int64_t)1 << (format.is_signed ? format.bits - 1 : format.bits)) - 1;
}

uint64_t magnitude(int64_t value)
{
    /* -(value + 1) exists for every negative value, -value does not */
    return value < 0 ? (uint64_t)(-(value + 1)) + 1 : (uint64_t)value;
}

static int64_t with_sign(int negative, uint64_t size)
{
    if (!negative || size == 0)
        return (int64_t)size;
    return -(int64_t)(size - 1) - 1;
}

/* Whether the magnitude grows by one where something is cut off (table of section 1). */
static int grows(int negative, uint64_t whole, enum cut cut, enum rounding rounding)
{
    switch (rounding) {
    case TIES_EVEN:
        return cut == ABOVE_HALF || (cut == HALF && whole % 2 == 1);
    case TIES_AWAY:
        return cut >= HALF;
    case TIES_POS:
        return cut == ABOVE_HALF || (cut == HALF && !negative);
    case TO_NEG:
        return cut != NOTHING && negative;
    case TO_POS:
        return cut != NOTHING && !negative;
    case TO_ZERO:
    case STOCHASTIC: /* decided by the fraction itself, where it is known */
        break;
    }
    return 0;
}

int64_t shift_left(int64_t code, int places)
{
    return code * ((int64_t)1 << places);
}

int64_t shift_right(int64_t code, int places, enum rounding rounding, uint64_t random)
{
    const int negative = code < 0;
    const uint64_t size = magnitude(code), half = (uint64_t)1 << 63;
    uint64_t whole, fraction; /* the fraction in units of 2^-64 */
    int rest = 0;             /* whether there is more below those 64 bits */
    enum cut cut;

    if (places == 0)
        return code;
    if (places < 64) {
        whole = size >> places;
        fraction = size << (64 - places);
    } else {
        const int below = places - 64;
        whole = 0;
        fraction = below < 64 ? size >> below : 0;
        rest = below < 64 ? size != fraction << below : size != 0;
    }
    if (rounding == STOCHASTIC)
        return with_sign(negative, whole + (fraction > random || (fraction == random && rest)));
    if (fraction == half)
        cut = rest ? ABOVE_HALF : HALF;
    else if (fraction > half)
        cut = ABOVE_HALF;
    else
        cut = fraction || rest ? BELOW_HALF : NOTHING;
    return with_sign(negative, whole + (uint64_t)grows(negative, whole, cut, rounding));
}

int64_t divide(int64_t numerator, int64_t denominator, enum rounding rounding, uint64_t random)
{
    const int negative = numerator < 0;
    const uint64_t by = (uint64_t)denominator, size = magnitude(numerator);
    const uint64_t whole = size / by;
    uint64_t rest = size % by, fraction = 0;
    enum cut cut = NOTHING;

    if (rounding == STOCHASTIC) {
        /* 32 bits of the quotient's fraction by long division, against 32 random bits */
        for (int place = 0; place < 32; place++) {
            rest *= 2;
            fraction = 2 * fraction + (rest >= by);
            rest -= rest >= by ? by : 0;
        }
        return with_sign(negative, whole + (fraction > random >> 32));
    }
    if (rest > 0)
        cut = rest < by - rest ? BELOW_HALF : rest == by - rest ? HALF : ABOVE_HALF;
    return with_sign(negative, whole + (uint64_t)grows(negative, whole, cut, rounding));
}

/* The low bits of a two's complement word. */
static int64_t wrapped(uint64_t word, struct format format)
{
    const uint64_t span = (uint64_t)1 << format.bits;
    const int64_t code = (int64_t)(word % span);

    return code > greatest_code(format) ? code - (int64_t)span : code;
}

static int64_t lower_end(struct format format, enum overflow overflow)
{
    if (overflow == SAT_SYM && format.is_signed)
        return -greatest_code(format);
    return least_code(format);
}

int64_t limit(int64_t value, struct format format, enum overflow overflow)
{
    const int64_t low = lower_end(format, overflow), high = greatest_code(format);

    if (overflow == WRAP)
        return wrapped((uint64_t)value, format);
    return value < low ? low : value > high ? high : value;
}

int64_t requantize(int64_t code, int places, struct format format, enum rounding rounding,
                   enum overflow overflow, uint64_t random)
{
    const int left = -places;
    int64_t end;

    if (places >= 0)
        return limit(shift_right(code, places, rounding, random), format, overflow);
    if (overflow == WRAP)
        return wrapped(left < 64 ? (uint64_t)code << left : 0, format);
    /* a left shift is exact; what it brings beyond the range is never computed */
    end = code < 0 ? lower_end(format, overflow) : greatest_code(format);
    if (code != 0 && (left > 62 || magnitude(code) > magnitude(end) >> left))
        return end;
    return shift_left(code, code == 0 ? 0 : left);
}

uint64_t random_word(uint64_t seed, uint64_t place)
{
    uint64_t z = seed + (place + 1) * UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}
