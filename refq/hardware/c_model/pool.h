/* Pooling (numeric contract, section 4). Maps are (H, W). */
#ifndef POOL_H
#define POOL_H

#include "sums.h"

/* The largest code of one window; padding never wins. */
int64_t window_maximum(const int64_t *map, struct shape in, const struct window *w, long row,
                       long column);

/* The exact sum of one window's codes. Its mean is this over window_cells. */
int64_t window_sum(const int64_t *map, struct shape in, const struct window *w, long row,
                   long column);

/* How many cells a mean is over: those of the window clipped to the padded image, or the real
 * ones. */
long window_cells(struct shape in, const struct window *w, int count_padding, long row,
                  long column);

#endif
