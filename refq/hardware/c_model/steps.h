/* One layer of one image: every stage of it, from what it reads and its parameters. */
#ifndef STEPS_H
#define STEPS_H

#include "parameters.h"

/* Words of one image; a stage that the layer does not have is NULL. */
struct stages {
    int64_t *word[STAGES];
};

/* coder: parameters of the layer whose storage code this one has. input: of each layer that this
 * one reads, value codes, or sums where it is_wide. image: counted from the data set's first;
 * stochastic rounding depends on it. */
struct stages compute(const struct layer *layer, const struct parameters *own,
                      const struct parameters *coder, const int64_t *const *input, long image);
void free_stages(struct stages *stages);

#endif
