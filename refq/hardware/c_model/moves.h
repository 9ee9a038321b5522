/* Layers that put codes elsewhere (numeric contract, section 4). */
#ifndef MOVES_H
#define MOVES_H

#include "parameters.h"

/* Along any axis, in order. */
void joined(const struct layer *layer, const int64_t *const *input, int64_t *values);

/* Every so many rows and columns, between channels of zeros. */
void subsampled(const struct layer *layer, const int64_t *x, int64_t *values);

/* Reshaped, transposed, reshaped. */
void rearranged(const struct layer *layer, const int64_t *x, int64_t *values);

/* Along every axis from a place on, every so many words. */
void sliced(const struct layer *layer, const int64_t *x, int64_t *values);

/* With words around: FILL, the edge, or what lies within mirrored without the edge. */
void padded(const struct layer *layer, const struct parameters *own, const int64_t *x,
            int64_t *values);

#endif
