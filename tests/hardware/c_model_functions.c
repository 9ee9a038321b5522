/* Single functions of the C model with the numbers that docs/contract.md prints. */
#include <float.h>
#include <inttypes.h>
#include <stdio.h>

#include "fixed.h"
#include "normal.h"
#include "pool.h"
#include "storage.h"
#include "sums.h"

static int failures;

static void same(const char *what, int64_t found, int64_t wanted)
{
    if (found != wanted) {
        printf("%s is %" PRId64 ", expected %" PRId64 "\n", what, found, wanted);
        failures++;
    }
}

/* A fraction grows where it exceeds the random one: 64 bits of it for shifts, the upper 32 for
 * quotients, whose fraction is cut to 32, the upper 53 for real values. */
static void chances(void)
{
    const uint64_t half = (uint64_t)1 << 63, third = UINT64_C(0x55555555) << 32;
    const int64_t more = ((int64_t)1 << 31) + 1; /* over 2^32: a half and 2^-32 */
    const double just = 0.5 + DBL_EPSILON / 2;   /* a half and 2^-53 */
    static const struct format wide = {8, 1};

    same("1/2 shifted, equal", shift_right(1, 1, STOCHASTIC, half), 0);
    same("1/2 shifted, above", shift_right(1, 1, STOCHASTIC, half - 1), 1);
    same("1/3, equal", divide(1, 3, STOCHASTIC, third), 0);
    same("1/3, above", divide(1, 3, STOCHASTIC, third - 1), 1);
    same("-1/3, above", divide(-1, 3, STOCHASTIC, third - 1), -1);
    same("33 bits, above", divide(more, (int64_t)1 << 32, STOCHASTIC, half + UINT32_MAX), 1);
    same("33 bits, equal", divide(more, (int64_t)1 << 32, STOCHASTIC, half + UINT32_MAX + 1), 0);
    same("53 bits, above", rounded_real(just, 0, wide, STOCHASTIC, SAT, half + 2047), 1);
    same("53 bits, equal", rounded_real(just, 0, wide, STOCHASTIC, SAT, half + 2048), 0);
}

/* The table of section 1: -2.5 to 2.5 by every rounding. */
static void roundings(void)
{
    static const int wanted[6][6] = {
        {-2, -2, 0, 0, 2, 2}, {-3, -2, -1, 1, 2, 3}, {-2, -1, 0, 1, 2, 3},
        {-3, -2, -1, 0, 1, 2}, {-2, -1, 0, 0, 1, 2}, {-2, -1, 0, 1, 2, 3},
    };
    static const int random[6] = {-2, -2, -1, 0, 2, 3};
    static const struct format wide = {8, 1};

    for (int mode = 0; mode < 6; mode++)
        for (int i = 0; i < 6; i++) {
            const int64_t halves = 2 * i - 5;
            same("a shift", shift_right(halves, 1, (enum rounding)mode, 0), wanted[mode][i]);
            same("a quotient", divide(3 * halves, 6, (enum rounding)mode, 0), wanted[mode][i]);
            same("a real", rounded_real((double)halves / 2, 0, wide, (enum rounding)mode, SAT, 0),
                 wanted[mode][i]);
        }
    for (int i = 0; i < 6; i++) {
        const uint64_t word = random_word(0, (uint64_t)i);
        same("a random shift", shift_right(2 * i - 5, 1, STOCHASTIC, word), random[i]);
        same("a random quotient", divide(2 * i - 5, 2, STOCHASTIC, word), random[i]);
        same("a random real", rounded_real(i - 2.5, 0, wide, STOCHASTIC, SAT, word), random[i]);
    }
    chances();
    same("SplitMix64", random_word(0, 0) == UINT64_C(0xe220a8397b1dcdaf), 1);
    same("SplitMix64", random_word(0, 1) == UINT64_C(0x6e789e6aa1b965f4), 1);
}

/* Ends of ranges, and shifts beyond a word. */
static void ends(void)
{
    same("-2^63 / 2^63", shift_right(INT64_MIN, 63, TIES_EVEN, 0), -1);
    same("-2^63 / 2^64", shift_right(INT64_MIN, 64, TIES_EVEN, 0), 0);
    same("-2^63 / 2^64 away", shift_right(INT64_MIN, 64, TIES_AWAY, 0), -1);
    same("-2^63 / 2^65 away", shift_right(INT64_MIN, 65, TIES_AWAY, 0), 0);
    same("-1 / 2^200 down", shift_right(-1, 200, TO_NEG, 0), -1);
    same("1 / 2^200 up", shift_right(1, 200, TO_POS, 0), 1);
    same("1 / 2^200", shift_right(1, 200, TIES_POS, 0), 0);
    same("-2^63 as it is", shift_right(INT64_MIN, 0, TO_ZERO, 0), INT64_MIN);
}

/* The example of overflow: -9, -8, 7, 8 and 20 in four signed bits. */
static void overflows(void)
{
    static const int64_t values[5] = {-9, -8, 7, 8, 20};
    static const int64_t wanted[3][5] = {
        {-8, -8, 7, 7, 7}, {-7, -7, 7, 7, 7}, {7, -8, 7, -8, 4},
    };
    static const struct format four = {4, 1}, byte = {8, 0}, eight = {8, 1};

    for (int mode = 0; mode < 3; mode++)
        for (int i = 0; i < 5; i++)
            same("a code of 4 bits", limit(values[i], four, (enum overflow)mode), wanted[mode][i]);
    same("unsigned", limit(-3, byte, SAT_SYM), 0);
    same("unsigned", limit(-3, byte, WRAP), 253);
    same("900 halves", requantize(900, 1, eight, TIES_EVEN, SAT, 0), 127);
    same("-5 halves", requantize(-5, 1, eight, TIES_EVEN, SAT, 0), -2);
    same("63 to the left", requantize(63, -1, eight, TO_NEG, SAT, 0), 126);
    same("64 to the left", requantize(64, -1, eight, TO_NEG, SAT, 0), 127);
    same("64 around", requantize(64, -1, eight, TO_NEG, WRAP, 0), -128);
    same("-64 to the left", requantize(-64, -1, eight, TO_NEG, SAT, 0), -128);
    same("-64, symmetric", requantize(-64, -1, eight, TO_NEG, SAT_SYM, 0), -127);
    same("-1 far to the left", requantize(-1, -90, eight, TO_NEG, SAT, 0), -128);
    same("-1 far around", requantize(-1, -90, eight, TO_NEG, WRAP, 0), 0);
    same("a huge real", rounded_real(1e300, 0, eight, TO_NEG, SAT, 0), 127);
}

/* The accumulator of section 3: 100 + 100 - 100 in eight bits. */
static void accumulators(void)
{
    static const int64_t x[3] = {100, 100, -100}, ones[3] = {1, 1, 1};
    static const struct convolution dense = {
        {3, 1, 1}, {1, 1, 1}, {1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1}, 1, 0,
    };
    static const struct accumulator eight = {8, 0, TIES_EVEN, SAT};

    same("at the end", kept(sum_of_products(&dense, x, ones, 0, NULL, 0, 0, 0), &eight), 100);
    same("every MAC", sum_of_products(&dense, x, ones, 0, &eight, 0, 0, 0), 27);
}

static void storage(void)
{
    static const int64_t codes[9] = {5, 6, 7, 8, 27, 28, 29, 30, 31};
    static const int64_t floors[9] = {1, 1, 1, 2, 6, 7, 7, 7, 7};
    static const int64_t nearest[9] = {1, 2, 2, 2, 7, 7, 7, 7, 7};
    static const int64_t negative[9] = {-16, -15, -11, -7, -6, -3, -2, 13, 15};
    static const int64_t signed_floors[9] = {-4, -4, -3, -2, -2, -1, -1, 3, 3};
    static const int64_t signed_nearest[9] = {-4, -4, -3, -2, -1, -1, 0, 3, 3};
    static const int64_t thresholds[3] = {1, 4, 7};
    static const int64_t index[12] = {0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3};

    for (int i = 0; i < 9; i++) {
        same("QE, floor", enq_index(codes[i], 3, 2, 0), floors[i]);
        same("QE, nearest", enq_index(codes[i], 3, 2, 1), nearest[i]);
        same("signed, floor", enq_signed_index(negative[i], 3, 2, 0), signed_floors[i]);
        same("signed, nearest", enq_signed_index(negative[i], 3, 2, 1), signed_nearest[i]);
    }
    for (int i = 0; i < 12; i++)
        same("QK", knq_index(i, thresholds, 3), index[i]);
    same("CE", enq_value(7, 2), 28);
    same("CE, signed", enq_value(-4, 2), -16);
    same("limited below", enq_signed_index(-100, 3, 2, 1), -4);
}

static void pools(void)
{
    static const int64_t map[6] = {-5, -3, -9, -4, -7, -8};
    static const struct shape in = {1, 2, 3};
    static const struct window w = {2, 2, 1, 2, 1, 1, 0, 0, 1, 1, 1};

    /* windows of a 2x3 map with a row above and a column before it, in ceil mode */
    same("rows", window_count(2, 2, 1, 1, 0, 1), 2);
    same("columns", window_count(3, 2, 2, 1, 0, 1), 2);
    same("columns of a stride beyond the image", window_count(3, 1, 4, 0, 0, 1), 1);
    same("a maximum in the corner", window_maximum(map, in, &w, 0, 0), -5);
    same("a maximum", window_maximum(map, in, &w, 1, 1), -3);
    same("a sum", window_sum(map, in, &w, 1, 1), -27);
    same("real cells", window_cells(in, &w, 0, 0, 1), 2);
    same("cells with padding", window_cells(in, &w, 1, 0, 1), 4);
}

/* Section 4's softmax of 0, 16, 32 with four fraction bits: exponentials of 1/16 to 2. */
static void shares(void)
{
    static const int64_t constants[6] = {
        1008687096, 947573834, 836230973, 651257337, 395007542, 145315154,
    };
    static const struct format eight = {8, 0};
    int64_t power[3], total = 0;

    for (int i = 0; i < 3; i++)
        total += power[i] = power_30(32 - 16 * i, constants);
    same("exp(-37/16)", power_30(37, constants), 106314838);
    same("share", share(power[0], total, 8, eight), 23);
    same("share", share(power[1], total, 8, eight), 63);
    same("share", share(power[2], total, 8, eight), 170);
}

int main(void)
{
    roundings();
    ends();
    overflows();
    accumulators();
    storage();
    pools();
    shares();
    return failures > 0;
}
