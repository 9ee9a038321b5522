/* A layer's parameters, ready for its sums: weights and biases aligned (section 3). */
#ifndef PARAMETERS_H
#define PARAMETERS_H

#include "plan.h"

struct parameters {
    int64_t *word[PARAMETERS]; /* NULL where the layer has none */
    long count[PARAMETERS];
};

/* Reads all parameters of a layer and aligns its coefficients. Ends the program where shifts,
 * labels or sums leave their range. */
struct parameters load_parameters(const char *folder, const struct layer *layer);
void free_parameters(struct parameters *own);

/* Number o of a parameter that may be one for all, or 0 where there is none. */
int64_t number(const struct parameters *own, enum parameter which, long o);

#endif
