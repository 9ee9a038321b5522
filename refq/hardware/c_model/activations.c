#include "activations.h"

/* Fraction bits of what a layer hands on: of its sums, or of what it stores. */
static int frac_bits_of(const struct layer *from, long channel)
{
    if (!from->is_wide)
        return from->frac_bits;
    return from->sum_frac_bits[from->sum_count == 1 ? 0 : channel];
}

int places_added(const struct layer *layer, long channel)
{
    const int places = layer->frac_bits - frac_bits_of(source(layer, 0), channel);

    return places > 0 ? places : 0;
}

void clipped(const struct layer *layer, const struct parameters *own, const int64_t *x,
             int64_t *made)
{
    for (long i = 0; i < outputs(layer); i++) {
        const long channel = i / pixels(layer->shape);
        const int finer = frac_bits_of(source(layer, 0), channel) - layer->frac_bits;
        const int places = finer > 0 ? finer : 0; /* of the bounds */
        int64_t code = shift_left(x[i], places_added(layer, channel));
        const int64_t low = shift_left(number(own, BOUNDS, 0), places);
        const int64_t high = shift_left(number(own, BOUNDS, 1), places);
        if (layer->has_low && code < low)
            code = low;
        if (layer->has_high && code > high)
            code = high;
        made[i] = code;
    }
}

void sloped(const struct layer *layer, const struct parameters *own, const int64_t *x,
            int64_t *made)
{
    /* a slope of fewer than 0 fraction bits is a whole number, its code shifted left */
    const int finer = layer->slope_frac_bits > 0 ? layer->slope_frac_bits : 0;
    const int coarser = finer - layer->slope_frac_bits;

    for (long i = 0; i < outputs(layer); i++)
        if (x[i] >= 0)
            made[i] = shift_left(x[i], finer);
        else
            made[i] = shift_left(x[i] * number(own, SLOPE, i / pixels(layer->shape)), coarser);
}

void looked_up(const struct layer *layer, const struct parameters *own, const int64_t *x,
               int64_t *codes)
{
    /* the least code that may be read comes first */
    const int is_signed = source(layer, 0)->format.is_signed;
    const int64_t first = is_signed ? -(own->count[TABLE] / 2) : 0;

    for (long i = 0; i < outputs(layer); i++)
        codes[i] = own->word[TABLE][x[i] - first];
}
