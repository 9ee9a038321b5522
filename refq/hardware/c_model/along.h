/* Layers that read all words along one axis: softmax and arg max (numeric contract, section 4).
 * x: codes at full fraction bits. */
#ifndef ALONG_H
#define ALONG_H

#include "plan.h"

void softmax(const struct layer *layer, const int64_t *x, int64_t *codes);

/* The place of the largest code, of equal ones the first. */
void largest_places(const struct layer *layer, const int64_t *x, int64_t *places);

#endif
