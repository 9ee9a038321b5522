#include "steps.h"

#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "storage.h"
#include "vectors.h"
#include "weighted.h"

/* A stored code at its tensor's fraction bits: feature maps may have fewer (section 3). */
static int64_t at_full_fraction(const struct layer *layer, int64_t code, long channel)
{
    return shift_left(code, layer->drops ? layer->drops[channel] : 0);
}

static uint64_t random_of(const struct layer *layer, long image, long place)
{
    const uint64_t first = (uint64_t)image * (uint64_t)outputs(layer);

    return plan.rounding == STOCHASTIC ? random_word(layer->seed, first + (uint64_t)place) : 0;
}

/* --- other layers (section 4) ----------------------------------------------------------------- */

/* Operands brought to the largest F by exact left shifts, then added. */
static void added(const struct layer *layer, const struct parameters *own,
                  const int64_t *const *input, int64_t *sums)
{
    for (int k = 0; k < layer->inputs; k++)
        for (long i = 0; i < outputs(layer); i++) {
            const int64_t code = at_full_fraction(source(layer, k), input[k][i],
                                                  i / pixels(layer->shape));
            sums[i] += shift_left(code, (int)number(own, OPERAND_SHIFT, k));
        }
}

static void joined(const struct layer *layer, const int64_t *const *input, int64_t *values)
{
    for (int k = 0; k < layer->inputs; k++) {
        const long count = outputs(source(layer, k));
        memcpy(values, input[k], (size_t)count * sizeof *values);
        values += count;
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

static void subsampled(const struct layer *layer, const int64_t *x, int64_t *values)
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

/* Whether values stay what they are: a codebook may lack the zeros of a shortcut (section 4). */
static int only_moves(const struct layer *layer)
{
    switch (layer->kind) {
    case RELU:
    case CONCAT:
    case SUBSAMPLE:
    case MAX_POOL:
        return !layer->rounds_sums;
    default:
        return 0;
    }
}

static void pooled(const struct layer *layer, const int64_t *x, int64_t *values)
{
    const struct shape in = source(layer, 0)->shape;

    for (long c = 0; c < layer->shape.channels; c++)
        for (long row = 0; row < layer->shape.rows; row++)
            for (long column = 0; column < layer->shape.columns; column++)
                *values++ = window_maximum(x + c * pixels(in), in, &layer->window, row, column);
}

/* The exact sum times 2^(F' - F) over the count, in one rounding. */
static void averaged(const struct layer *layer, const int64_t *x, long image, int64_t *rounded)
{
    const struct layer *from = source(layer, 0);
    const int places = from->frac_bits - layer->frac_bits;
    long i = 0;

    for (long c = 0; c < layer->shape.channels; c++)
        for (long row = 0; row < layer->shape.rows; row++)
            for (long column = 0; column < layer->shape.columns; column++, i++) {
                const struct shape in = from->shape;
                const int64_t *map = x + c * pixels(in);
                int64_t sum = window_sum(map, in, &layer->window, row, column);
                int64_t cells = window_cells(in, &layer->window, layer->count_padding, row,
                                             column);
                sum = shift_left(at_full_fraction(from, sum, c), places < 0 ? -places : 0);
                cells = shift_left(cells, places > 0 ? places : 0);
                sum = divide(sum, cells, plan.rounding, random_of(layer, image, i));
                rounded[i] = limit(sum, layer->format, plan.overflow);
            }
}

static void locally_normalised(const struct layer *layer, const int64_t *x, long image,
                               int64_t *rounded)
{
    const struct layer *from = source(layer, 0);
    const long map = pixels(layer->shape), channels = layer->shape.channels;
    int64_t *column = new_words(channels);

    for (long at = 0; at < map; at++) {
        for (long c = 0; c < channels; c++)
            column[c] = at_full_fraction(from, x[c * map + at], c);
        for (long c = 0; c < channels; c++) {
            const double y =
                normalised(&layer->normalisation, column, channels, from->frac_bits, c);
            const long i = c * map + at;
            rounded[i] = rounded_real(y, layer->frac_bits - from->frac_bits, layer->format,
                                      plan.rounding, plan.overflow, random_of(layer, image, i));
        }
    }
    free(column);
}

static void softmax(const struct layer *layer, const int64_t *x, int64_t *rounded)
{
    const struct layer *from = source(layer, 0);
    const long map = pixels(layer->shape), channels = layer->shape.channels;
    int64_t *power = new_words(channels);

    for (long at = 0; at < map; at++) {
        int64_t total = 0, peak = at_full_fraction(from, x[at], 0);
        for (long c = 1; c < channels; c++) {
            const int64_t code = at_full_fraction(from, x[c * map + at], c);
            peak = code > peak ? code : peak;
        }
        for (long c = 0; c < channels; c++) {
            const int64_t code = at_full_fraction(from, x[c * map + at], c);
            power[c] = power_30(peak - code, layer->exponentials);
            total += power[c];
        }
        for (long c = 0; c < channels; c++)
            rounded[c * map + at] = share(power[c], total, layer->frac_bits, layer->format);
    }
    free(power);
}

/* --- storage (sections 1 and 2) --------------------------------------------------------------- */

/* Sums, after the ReLU where the layer is one, in the format of their feature map. */
static void requantized(const struct layer *layer, const struct parameters *own,
                        const int64_t *sums, long image, int64_t *rounded)
{
    for (long i = 0; i < outputs(layer); i++) {
        const int64_t sum = layer->kind == RELU && sums[i] < 0 ? 0 : sums[i];
        const int places = (int)number(own, REQUANTIZE_SHIFT, i / pixels(layer->shape));
        rounded[i] = requantize(sum, places, layer->format, plan.rounding, plan.overflow,
                                random_of(layer, image, i));
    }
}

static void stored(const struct layer *layer, const struct parameters *coder,
                   const int64_t *codes, struct stages *stages)
{
    int64_t *index = stages->word[CODE], *value = stages->word[VALUE];
    const int drop = (int)number(coder, SHIFT, 0);

    for (long i = 0; i < outputs(layer); i++)
        switch (layer->storage) {
        case PLAIN:
            index[i] = value[i] = codes[i];
            break;
        case ENQ:
            index[i] = layer->format.is_signed
                           ? enq_signed_index(codes[i], layer->code_bits, drop, layer->nearest)
                           : enq_index(codes[i], layer->code_bits, drop, layer->nearest);
            value[i] = enq_value(index[i], drop);
            break;
        case KNQ:
            index[i] = knq_index(codes[i], coder->word[THRESHOLDS], coder->count[THRESHOLDS]);
            value[i] = coder->word[CODEBOOK][index[i]];
            break;
        }
}

struct stages compute(const struct layer *layer, const struct parameters *own,
                      const struct parameters *coder, const int64_t *const *input, long image)
{
    const long count = outputs(layer);
    struct stages stages = {{NULL}};
    int64_t *made = new_words(count); /* codes before they are stored */

    switch (layer->kind) {
    case GIVEN:
        break;
    case CONV:
    case DENSE:
        weighted(layer, own, input[0], &stages);
        break;
    case ADD:
        stages.word[SUM] = new_words(count);
        added(layer, own, input, stages.word[SUM]);
        break;
    case RELU:
        for (long i = 0; i < count; i++)
            made[i] = input[0][i] > 0 ? input[0][i] : 0;
        break;
    case CONCAT:
        joined(layer, input, made);
        break;
    case SUBSAMPLE:
        subsampled(layer, input[0], made);
        break;
    case MAX_POOL:
        pooled(layer, input[0], made);
        break;
    case AVG_POOL:
        averaged(layer, input[0], image, made);
        break;
    case LRN:
        locally_normalised(layer, input[0], image, made);
        break;
    case SOFTMAX:
        softmax(layer, input[0], made);
        break;
    }
    if (!layer->is_wide) {
        stages.word[CODE] = new_words(count);
        stages.word[VALUE] = new_words(count);
        if (layer->rounds_sums)
            requantized(layer, own, layer->kind == RELU ? input[0] : stages.word[SUM], image, made);
        stored(layer, coder, made, &stages);
        if (only_moves(layer))
            memcpy(stages.word[VALUE], made, (size_t)count * sizeof *made);
    }
    stages.word[ROUNDED] = made;
    return stages;
}

void free_stages(struct stages *stages)
{
    for (int stage = 0; stage < STAGES; stage++)
        free(stages->word[stage]);
}
