/* Clips, ReLUs with a slope, and tables (numeric contract, section 4). x: codes at full fraction
 * bits, or sums; made: the exact numbers that are rounded afterwards. */
#ifndef ACTIVATIONS_H
#define ACTIVATIONS_H

#include "parameters.h"

/* Fraction bits that a clip adds to what it reads, so that it has at least those in which it is
 * stored. */
int places_added(const struct layer *layer, long channel);

void clipped(const struct layer *layer, const struct parameters *own, const int64_t *x,
             int64_t *made);

/* x where it is not negative, x * slope elsewhere. */
void sloped(const struct layer *layer, const struct parameters *own, const int64_t *x,
            int64_t *made);

/* A function of one value: codes of the output, one for each code that may be read. */
void looked_up(const struct layer *layer, const struct parameters *own, const int64_t *x,
               int64_t *codes);

#endif
