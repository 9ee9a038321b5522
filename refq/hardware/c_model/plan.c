#include "plan.h"

long pixels(struct shape shape)
{
    return shape.rows * shape.columns;
}

long outputs(const struct layer *layer)
{
    return layer->shape.channels * pixels(layer->shape);
}

const struct layer *source(const struct layer *layer, int i)
{
    return &plan.layer[layer->input[i]];
}
