/* Fixed-point codes: rounding and overflow (numeric contract, section 1).
 *
 * A code is an integer; its value is code * 2^-F. Nothing here relies on how a machine shifts
 * negative numbers, or on what it does at overflow: numbers are taken apart into sign and
 * magnitude.
 */
#ifndef FIXED_H
#define FIXED_H

#include <stdint.h>

enum rounding { TIES_EVEN, TIES_AWAY, TIES_POS, TO_NEG, TO_ZERO, TO_POS, STOCHASTIC };
enum overflow { SAT, SAT_SYM, WRAP };

/* Codes of 1 to 62 bits, two's complement where they are signed. */
struct format {
    int bits;
    int is_signed;
};

int64_t least_code(struct format format);
int64_t greatest_code(struct format format);

/* The distance from 0. */
uint64_t magnitude(int64_t value);

/* code * 2^places, exactly; the caller knows that 63 bits hold it. */
int64_t shift_left(int64_t code, int places);

/* code / 2^places, rounded; places are 0 or more, any number of them. random: used by STOCHASTIC
 * alone. */
int64_t shift_right(int64_t code, int places, enum rounding rounding, uint64_t random);

/* numerator / denominator, rounded; the denominator is 1 to 2^62. */
int64_t divide(int64_t numerator, int64_t denominator, enum rounding rounding, uint64_t random);

/* A whole number brought into a format's range. */
int64_t limit(int64_t value, struct format format, enum overflow overflow);

/* A code shifted right (places below 0: left), rounded, then brought into a format's range. */
int64_t requantize(int64_t code, int places, struct format format, enum rounding rounding,
                   enum overflow overflow, uint64_t random);

/* Number `place` of SplitMix64 started at a seed: a random fraction of 2^64. */
uint64_t random_word(uint64_t seed, uint64_t place);

#endif
