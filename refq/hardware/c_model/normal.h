/* Local response normalisation and softmax (numeric contract, section 4).
 *
 * Normalisation is the only place where floating point decides about an integer: IEEE 754 doubles,
 * products and square roots only, in one order.
 */
#ifndef NORMAL_H
#define NORMAL_H

#include <stdint.h>

#include "fixed.h"

/* quarters: 4 beta. per_window: alpha is divided by the size. */
struct normalisation {
    long size;
    double alpha, bias;
    int quarters, per_window;
};

/* y = code / (bias + alpha' * sum of squares)^beta of one pixel. column: codes of all
 * channels, with frac_bits fraction bits. */
double normalised(const struct normalisation *n, const int64_t *column, long channels,
                  int frac_bits, long channel);

/* y * 2^places, rounded and brought into a format's range. */
int64_t rounded_real(double y, int places, struct format format, enum rounding rounding,
                     enum overflow overflow, uint64_t random);

/* exp(-distance * 2^-F) with 30 fraction bits. constants[b]: that of the distance 2^b. */
int64_t power_30(int64_t distance, const int64_t *constants);

/* power * 2^frac_bits / total, rounded half up, at most the format's greatest code. */
int64_t share(int64_t power, int64_t total, int frac_bits, struct format format);

#endif
