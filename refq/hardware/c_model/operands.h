/* What layers without weights read: codes at one point, and sums, differences and products of
 * them, elementwise (numeric contract, section 4). */
#ifndef OPERANDS_H
#define OPERANDS_H

#include "parameters.h"

/* A stored code at its tensor's fraction bits: feature maps may have fewer (section 3). */
int64_t at_full_fraction(const struct layer *layer, int64_t code, long channel);

/* All words of input k so, as a new array; sums as they are. */
int64_t *full_codes(const struct layer *layer, int k, const int64_t *input);

/* Operands brought to the largest F by exact left shifts, then added; of a SUB all but the first
 * are taken away; of a MUL they are multiplied as they are. */
void combined(const struct layer *layer, const struct parameters *own,
              const int64_t *const *input, int64_t *sums);

#endif
