#include "steps.h"

#include <stdlib.h>
#include <string.h>

#include "activations.h"
#include "along.h"
#include "moves.h"
#include "operands.h"
#include "pool.h"
#include "storage.h"
#include "vectors.h"
#include "weighted.h"

static uint64_t random_of(const struct layer *layer, long image, long place)
{
    const uint64_t first = (uint64_t)image * (uint64_t)outputs(layer);

    return plan.rounding == STOCHASTIC ? random_word(layer->seed, first + (uint64_t)place) : 0;
}

/* --- other layers (section 4) ----------------------------------------------------------------- */

/* Whether values stay what they are: a codebook may lack the zeros of a shortcut (section 4). */
static int only_moves(const struct layer *layer)
{
    switch (layer->kind) {
    case RELU:
    case CONCAT:
    case SUBSAMPLE:
    case REARRANGE:
    case SLICE:
    case PAD:
    case RESIZE:
    case MAX_POOL:
        return !layer->rounds;
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

static void resampled(const struct layer *layer, const int64_t *x, int64_t *values)
{
    const struct shape in = source(layer, 0)->shape;

    for (long c = 0; c < layer->shape.channels; c++)
        for (long row = 0; row < layer->shape.rows; row++)
            for (long column = 0; column < layer->shape.columns; column++)
                *values++ = x[c * pixels(in)
                              + nearest_place(&layer->resizing[0], row) * in.columns
                              + nearest_place(&layer->resizing[1], column)];
}

/* Between two rows, then between two columns, with 12 fraction bits more for each. */
static void interpolated(const struct layer *layer, const int64_t *x, int64_t *made)
{
    const struct shape in = source(layer, 0)->shape;

    for (long c = 0; c < layer->shape.channels; c++)
        for (long row = 0; row < layer->shape.rows; row++)
            for (long column = 0; column < layer->shape.columns; column++) {
                const struct between rows = between(&layer->resizing[0], row);
                const struct between columns = between(&layer->resizing[1], column);
                const int64_t *before = x + c * pixels(in) + rows.before * in.columns;
                const int64_t *behind = x + c * pixels(in) + rows.behind * in.columns;
                const int64_t left = weighed(before[columns.before], behind[columns.before],
                                             rows.share);
                const int64_t right = weighed(before[columns.behind], behind[columns.behind],
                                              rows.share);
                *made++ = weighed(left, right, columns.share);
            }
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
                sum = shift_left(sum, places < 0 ? -places : 0);
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
            column[c] = x[c * map + at];
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

/* --- storage (sections 1 and 2) --------------------------------------------------------------- */

/* Exact numbers in the format of their feature map. */
static void requantized(const struct layer *layer, const struct parameters *own,
                        const int64_t *sums, long image, int64_t *rounded)
{
    for (long i = 0; i < outputs(layer); i++) {
        const int places = (int)number(own, REQUANTIZE_SHIFT, i / pixels(layer->shape));
        rounded[i] = requantize(sums[i], places, layer->format, plan.rounding, plan.overflow,
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

/* What a layer without weights makes of codes at full fraction bits, or of sums. */
static void made_of_numbers(const struct layer *layer, const struct parameters *own,
                            const int64_t *x, long image, int64_t *made)
{
    switch (layer->kind) {
    case AVG_POOL:
        averaged(layer, x, image, made);
        break;
    case LRN:
        locally_normalised(layer, x, image, made);
        break;
    case SOFTMAX:
        softmax(layer, x, made);
        break;
    case ARG_MAX:
        largest_places(layer, x, made);
        break;
    case CLIP:
        clipped(layer, own, x, made);
        break;
    case PRELU:
        sloped(layer, own, x, made);
        break;
    case FUNCTION:
        looked_up(layer, own, x, made);
        break;
    case PAD:
        padded(layer, own, x, made);
        break;
    case RESIZE:
        interpolated(layer, x, made);
        break;
    default:
        break;
    }
}

/* What a layer makes that puts codes elsewhere, or takes the largest. */
static void made_of_codes(const struct layer *layer, const struct parameters *own,
                          const int64_t *const *input, int64_t *made)
{
    switch (layer->kind) {
    case RELU:
        for (long i = 0; i < outputs(layer); i++)
            made[i] = input[0][i] > 0 ? input[0][i] : 0;
        break;
    case CONCAT:
        joined(layer, input, made);
        break;
    case SUBSAMPLE:
        subsampled(layer, input[0], made);
        break;
    case REARRANGE:
        rearranged(layer, input[0], made);
        break;
    case SLICE:
        sliced(layer, input[0], made);
        break;
    case PAD:
        padded(layer, own, input[0], made);
        break;
    case RESIZE:
        resampled(layer, input[0], made);
        break;
    case MAX_POOL:
        pooled(layer, input[0], made);
        break;
    default:
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
    case CONV_TRANSPOSE:
    case DENSE:
        weighted(layer, own, input[0], &stages);
        break;
    case ADD:
    case SUB:
    case MUL:
        stages.word[SUM] = new_words(count);
        combined(layer, own, input, stages.word[SUM]);
        break;
    default:
        if (layer->kind == RELU || only_moves(layer)) {
            made_of_codes(layer, own, input, made);
        } else {
            int64_t *x = full_codes(layer, 0, input[0]);
            made_of_numbers(layer, own, x, image, made);
            free(x);
        }
        break;
    }
    if (!layer->is_wide) {
        stages.word[CODE] = new_words(count);
        stages.word[VALUE] = new_words(count);
        if (layer->rounds)
            requantized(layer, own, stages.word[SUM] ? stages.word[SUM] : made, image, made);
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
