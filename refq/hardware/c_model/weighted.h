/* The sums of one convolution or dense layer, as its accumulator keeps them (section 3). */
#ifndef WEIGHTED_H
#define WEIGHTED_H

#include "steps.h"

/* Fills the stages ACCUMULATOR (unless every step is limited), SUM, and of a clustered layer
 * BASE_SUM and RESIDUAL_SUM. x: the value codes that it reads. */
void weighted(const struct layer *layer, const struct parameters *own, const int64_t *x,
              struct stages *stages);

#endif
