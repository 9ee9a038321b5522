#include "moves.h"

#include "places.h"

void joined(const struct layer *layer, const int64_t *const *input, int64_t *values)
{
    long place[MOST_AXES];

    for (long i = 0; i < outputs(layer); i++) {
        int k = 0;
        places_of(i, layer->size, layer->axes, place);
        while (place[layer->axis] >= source(layer, k)->size[layer->axis])
            place[layer->axis] -= source(layer, k++)->size[layer->axis];
        values[i] = input[k][word_at(place, source(layer, k)->size, layer->axes)];
    }
}

/* The first channel that a subsampling shortcut takes from its input, and the one after its last;
 * other channels are zeros. */
static long taken_from(const struct layer *layer)
{
    return layer->zeros_before;
}

static long taken_to(const struct layer *layer)
{
    return layer->zeros_before + source(layer, 0)->shape.channels;
}

void subsampled(const struct layer *layer, const int64_t *x, int64_t *values)
{
    const struct shape in = source(layer, 0)->shape;

    for (long c = 0; c < layer->shape.channels; c++)
        for (long row = 0; row < layer->shape.rows; row++)
            for (long column = 0; column < layer->shape.columns; column++, values++)
                if (c >= taken_from(layer) && c < taken_to(layer))
                    *values = x[(c - layer->zeros_before) * pixels(in)
                                + row * layer->window.down * in.columns
                                + column * layer->window.across];
                else
                    *values = 0;
}

void rearranged(const struct layer *layer, const int64_t *x, int64_t *values)
{
    long turned[MOST_AXES], place[MOST_AXES], from[MOST_AXES];
    const int axes = layer->split_axes;

    for (int axis = 0; axis < axes; axis++)
        turned[axis] = layer->split[layer->order[axis]];
    for (long i = 0; i < outputs(layer); i++) {
        places_of(i, turned, axes, place);
        for (int axis = 0; axis < axes; axis++)
            from[layer->order[axis]] = place[axis];
        values[i] = x[word_at(from, layer->split, axes)];
    }
}

void sliced(const struct layer *layer, const int64_t *x, int64_t *values)
{
    long place[MOST_AXES];

    for (long i = 0; i < outputs(layer); i++) {
        places_of(i, layer->size, layer->axes, place);
        for (int axis = 0; axis < layer->axes; axis++)
            place[axis] = layer->first[axis] + place[axis] * layer->step[axis];
        values[i] = x[word_at(place, source(layer, 0)->size, layer->axes)];
    }
}

/* The place within an axis that a place beyond its ends stands for. */
static long within(enum padding padding, long place, long size)
{
    if (place < 0)
        return padding == REFLECT ? -place : 0;
    if (place >= size)
        return padding == REFLECT ? 2 * (size - 1) - place : size - 1;
    return place;
}

void padded(const struct layer *layer, const struct parameters *own, const int64_t *x,
            int64_t *values)
{
    const long *size = source(layer, 0)->size;
    long place[MOST_AXES];

    for (long i = 0; i < outputs(layer); i++) {
        int outside = 0;
        places_of(i, layer->size, layer->axes, place);
        for (int axis = 0; axis < layer->axes; axis++) {
            const long from = place[axis] - layer->first[axis];
            place[axis] = within(layer->padding, from, size[axis]);
            outside = outside || place[axis] != from;
        }
        if (outside && layer->padding == CONSTANT)
            values[i] = number(own, FILL, 0);
        else
            values[i] = x[word_at(place, size, layer->axes)];
    }
}
