#include "weighted.h"

#include <stdlib.h>

#include "vectors.h"

/* The declared accumulator of output o. */
static struct accumulator accumulator_of(const struct layer *layer, int64_t drop, long o)
{
    const struct accumulator accumulator = {
        layer->acc_bits[layer->acc_count == 1 ? 0 : o], (int)drop,
        layer->acc_rounding, layer->acc_overflow,
    };

    return accumulator;
}

/* Sums of `kernels` kernels; biases NULL: none. The accumulator limits every step, or nothing. */
static int64_t *convolved(const struct layer *layer, const int64_t *x, const int64_t *weight,
                          const int64_t *biases, long kernels, const int64_t *drops)
{
    /* a dense layer's input has no order but that of its words */
    const struct shape flat = {outputs(source(layer, 0)), 1, 1};
    const struct convolution c = {
        layer->kind == DENSE ? flat : source(layer, 0)->shape, {kernels, layer->shape.rows, layer->shape.columns},
        layer->window, layer->group, layer->kind == CONV_TRANSPOSE,
    };
    const int limited = layer->acc_bits != NULL && layer->every_mac;
    int64_t *sums = new_words(kernels * pixels(layer->shape)), *next = sums;

    for (long o = 0; o < kernels; o++) {
        struct accumulator accumulator = {0, 0, TIES_EVEN, SAT};
        const int64_t bias = biases != NULL ? biases[o] : 0;
        if (limited)
            accumulator = accumulator_of(layer, drops[o], o);
        for (long row = 0; row < c.out.rows; row++)
            for (long column = 0; column < c.out.columns; column++)
                *next++ = sum_of_products(&c, x, weight, bias, limited ? &accumulator : NULL, o,
                                          row, column);
    }
    return sums;
}

/* Fraction bits that the accumulator of every output drops. */
static int64_t *drops_of(const struct layer *layer, const struct parameters *own)
{
    int64_t *drops = new_words(layer->shape.channels);

    for (long o = 0; o < layer->shape.channels; o++)
        drops[o] = number(own, ACCUMULATOR_DROP, o);
    return drops;
}

/* Base kernels and residuals (section 3, clusters): K temporary maps, to which residuals' sums are
 * added. */
static void clustered(const struct layer *layer, const struct parameters *own, const int64_t *x,
                      const int64_t *drops, struct stages *stages)
{
    const long bases = layer->parameter[BASE].shape[0], map = pixels(layer->shape);
    const int limited = layer->acc_bits != NULL && layer->every_mac;
    int64_t *base_drops = new_words(bases);

    /* a base's products have fewer fraction bits than the sum by the shift that raises them: where
     * the accumulator declares its own, that much less is left to drop */
    for (long o = 0; layer->acc_has_fraction && o < layer->shape.channels; o++)
        base_drops[own->word[LABELS][o]] = drops[o] - number(own, BASE_RAISE, o);
    stages->word[BASE_SUM] = convolved(layer, x, own->word[BASE], NULL, bases, base_drops);
    stages->word[RESIDUAL_SUM] = convolved(layer, x, own->word[RESIDUAL], own->word[BIAS],
                                           layer->shape.channels, drops);
    free(base_drops);
    for (long i = 0; i < outputs(layer); i++) {
        const long o = i / map;
        const int64_t base = stages->word[BASE_SUM][own->word[LABELS][o] * map + i % map];
        /* both limited MAC by MAC with declared fraction bits: they have the same already */
        const int64_t raise = limited && layer->acc_has_fraction ? 0 : number(own, BASE_RAISE, o);
        int64_t sum = shift_left(base, (int)raise) + stages->word[RESIDUAL_SUM][i];

        if (!limited)
            stages->word[ACCUMULATOR][i] = sum - own->word[BIAS][o];
        if (layer->acc_bits != NULL) {
            const struct accumulator last = accumulator_of(layer, limited ? 0 : drops[o], o);
            sum = kept(sum, &last);
        }
        stages->word[SUM][i] = sum;
    }
}

void weighted(const struct layer *layer, const struct parameters *own, const int64_t *x,
              struct stages *stages)
{
    const int limited = layer->acc_bits != NULL && layer->every_mac;
    const long channels = layer->shape.channels, map = pixels(layer->shape);
    int64_t *drops = drops_of(layer, own);

    if (own->word[WEIGHT] == NULL) {
        stages->word[SUM] = new_words(outputs(layer));
        if (!limited)
            stages->word[ACCUMULATOR] = new_words(outputs(layer));
        clustered(layer, own, x, drops, stages);
    } else if (limited) {
        stages->word[SUM] = convolved(layer, x, own->word[WEIGHT], own->word[BIAS], channels,
                                      drops);
    } else {
        stages->word[ACCUMULATOR] = convolved(layer, x, own->word[WEIGHT], NULL, channels, drops);
        stages->word[SUM] = new_words(outputs(layer));
        for (long i = 0; i < outputs(layer); i++) {
            const long o = i / map;
            int64_t sum = stages->word[ACCUMULATOR][i] + own->word[BIAS][o];
            if (layer->acc_bits != NULL) {
                const struct accumulator accumulator = accumulator_of(layer, drops[o], o);
                sum = kept(sum, &accumulator);
            }
            stages->word[SUM][i] = sum;
        }
    }
    free(drops);
}
