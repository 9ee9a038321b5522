#include "along.h"

#include <stdlib.h>

#include "vectors.h"

/* Words along an axis: so many of them, so far apart. Lines start at every word of the others. */
struct lines {
    long count, apart, before;
};

static struct lines lines_of(const struct layer *layer)
{
    const struct layer *from = source(layer, 0);
    struct lines lines = {from->size[layer->axis], 1, 1};

    for (int axis = 0; axis < layer->axis; axis++)
        lines.before *= from->size[axis];
    for (int axis = layer->axis + 1; axis < from->axes; axis++)
        lines.apart *= from->size[axis];
    return lines;
}

/* The first word of line number i. */
static long start_of(const struct lines *lines, long i)
{
    return i / lines->apart * lines->count * lines->apart + i % lines->apart;
}

static long largest_of(const struct lines *lines, const int64_t *x)
{
    long place = 0;

    for (long k = 1; k < lines->count; k++)
        if (x[k * lines->apart] > x[place * lines->apart])
            place = k;
    return place;
}

void softmax(const struct layer *layer, const int64_t *x, int64_t *codes)
{
    const struct lines lines = lines_of(layer);
    int64_t *power = new_words(lines.count);

    for (long i = 0; i < lines.before * lines.apart; i++) {
        const long start = start_of(&lines, i);
        const int64_t peak = x[start + largest_of(&lines, x + start) * lines.apart];
        int64_t total = 0;
        for (long k = 0; k < lines.count; k++) {
            power[k] = power_30(peak - x[start + k * lines.apart], layer->exponentials);
            total += power[k];
        }
        for (long k = 0; k < lines.count; k++)
            codes[start + k * lines.apart] =
                share(power[k], total, layer->frac_bits, layer->format);
    }
    free(power);
}

void largest_places(const struct layer *layer, const int64_t *x, int64_t *places)
{
    const struct lines lines = lines_of(layer);

    for (long i = 0; i < lines.before * lines.apart; i++)
        places[i] = largest_of(&lines, x + start_of(&lines, i));
}
