/* Sums of products: convolutions and dense layers (numeric contract, section 3).
 *
 * Weights are given as the accumulator takes them: shifted left so that all products of an output
 * have the same fraction bits. A dense layer is a convolution of one pixel that has all words of its
 * input as channels.
 */
#ifndef SUMS_H
#define SUMS_H

#include <stdint.h>

#include "fixed.h"

struct shape {
    long channels, rows, columns;
};

/* Windows over an image: their size, the steps between them, the padding around the image, and, of
 * a convolution, the steps from tap to tap (its dilations). */
struct window {
    long rows, columns;
    long down, across;
    long top, left, bottom, right;
    int ceil_mode;
    long taps_down, taps_across;
};

/* transposed: inputs lie `down` rows and `across` columns apart in the output, and every one is
 * multiplied by the whole kernel. */
struct convolution {
    struct shape in, out;
    struct window window;
    long group;
    int transposed;
};

/* A declared accumulator of one output. drop: fraction bits that it has fewer than products. */
struct accumulator {
    int bits;
    int drop;
    enum rounding rounding;
    enum overflow overflow;
};

/* How many windows fit along one axis (section 4: ceil mode is for pooling alone). */
long window_count(long length, long size, long step, long before, long after, int ceil_mode);

/* A finished sum, bias included, as an accumulator keeps it that is limited at the end. */
int64_t kept(int64_t sum, const struct accumulator *accumulator);

/* The bias and all products of one output pixel: exact, or, where every_mac is not NULL, in an
 * accumulator that is limited at every step. The order is bias, input channel, kernel row, kernel
 * column. x: (C, H, W); weight: (O, C / group, rows, columns). */
int64_t sum_of_products(const struct convolution *c, const int64_t *x, const int64_t *weight,
                        int64_t bias, const struct accumulator *every_mac, long o, long row,
                        long column);

#endif
