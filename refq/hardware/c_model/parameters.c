#include "parameters.h"

#include <stdlib.h>

#include "activations.h"
#include "vectors.h"

/* Products, and what is shifted left, stay below this; sums of them below twice as much. */
#define MOST ((uint64_t)1 << 62)

int64_t number(const struct parameters *own, enum parameter which, long o)
{
    if (own->word[which] == NULL)
        return 0;
    return own->word[which][own->count[which] == 1 ? 0 : o];
}

/* size * 2^places, or MOST where that is more. */
static uint64_t grown(uint64_t size, int64_t places)
{
    return size == 0 ? 0 : places > 61 || size >= MOST >> places ? MOST : size << places;
}

static void check_range(const struct layer *layer, const struct parameters *own,
                        enum parameter which, int64_t low, int64_t high)
{
    for (long i = 0; i < own->count[which]; i++)
        if (own->word[which][i] < low || own->word[which][i] > high)
            stop("a number out of range in", layer->parameter[which].name, "what the plan allows");
}

/* Codes (O, I, ...) shifted left, by one number, one for each kernel, or one for each filter. */
static void align(const struct layer *layer, struct parameters *own, enum parameter codes,
                  enum parameter shifts)
{
    const struct array *array = &layer->parameter[codes];
    const long count = own->count[codes], kernels = array->shape[0];
    const long filters = array->axes > 1 ? kernels * array->shape[1] : kernels;

    for (long i = 0; i < count; i++) {
        const long owner = own->count[shifts] == kernels ? kernels : filters;
        const int64_t places = number(own, shifts, i / (count / owner));
        int64_t *code = &own->word[codes][i];
        if (grown(magnitude(*code), places) >= MOST)
            stop("too far shifted", layer->parameter[codes].name, "codes of 63 bits");
        *code = shift_left(*code, *code == 0 ? 0 : (int)places);
    }
}

/* The largest magnitude that the sum of one kernel's products can have. */
static uint64_t reach(const struct parameters *own, enum parameter codes, long o, long kernels,
                      uint64_t data)
{
    const long taps = own->count[codes] / kernels;
    uint64_t sum = 0;

    for (long i = o * taps; i < (o + 1) * taps; i++) {
        sum += magnitude(own->word[codes][i]);
        if (sum >= MOST / data)
            return MOST;
    }
    return sum * data;
}

static uint64_t largest_code(struct format format)
{
    return format.is_signed ? magnitude(least_code(format)) : (uint64_t)greatest_code(format);
}

/* The largest magnitude that the sum of output o, bias included, can have; MOST where more. */
static uint64_t reach_of_output(const struct layer *layer, const struct parameters *own, long o)
{
    const uint64_t data = largest_code(source(layer, 0)->format);
    const long kernels = layer->shape.channels;
    uint64_t base;

    if (own->word[WEIGHT] != NULL)
        return magnitude(own->word[BIAS][o]) + reach(own, WEIGHT, o, kernels, data);
    base = reach(own, BASE, own->word[LABELS][o], layer->parameter[BASE].shape[0], data);
    base = grown(base, number(own, BASE_RAISE, o));
    if (base >= MOST)
        return MOST;
    return base + magnitude(own->word[BIAS][o]) + reach(own, RESIDUAL, o, kernels, data);
}

static int64_t most_dropped(const struct layer *layer)
{
    int64_t most = 0;

    for (long c = 0; layer->drops != NULL && c < layer->shape.channels; c++)
        most = layer->drops[c] > most ? layer->drops[c] : most;
    return most;
}

/* The largest magnitude of what a layer hands on: of sums, what their bits hold. */
static uint64_t reach_of_source(const struct layer *from)
{
    const struct array *array = &from->stage[from->reads];
    const struct format format = {array->bits, array->is_signed};

    return from->is_wide ? largest_code(format)
                         : grown(largest_code(from->format), most_dropped(from));
}

static uint64_t reach_of_addition(const struct layer *layer, const struct parameters *own)
{
    uint64_t sum = 0;

    for (int k = 0; k < layer->inputs && sum < MOST; k++)
        sum += grown(reach_of_source(source(layer, k)), number(own, OPERAND_SHIFT, k));
    return sum;
}

static uint64_t reach_of_product(const struct layer *layer)
{
    const uint64_t one = reach_of_source(source(layer, 0));
    const uint64_t other = reach_of_source(source(layer, 1));

    return other != 0 && one >= MOST / other ? MOST : one * other;
}

/* What a clip or a ReLU with a slope makes before it is rounded. */
static uint64_t reach_of_activation(const struct layer *layer, const struct parameters *own)
{
    const uint64_t read = reach_of_source(source(layer, 0));
    const int finer = layer->slope_frac_bits > 0 ? layer->slope_frac_bits : 0;
    uint64_t slope = 0, below;

    if (layer->kind == CLIP) {
        int64_t places = 0;
        for (long c = 0; c < layer->shape.channels; c++)
            places = places_added(layer, c) > places ? places_added(layer, c) : places;
        return grown(read, places);
    }
    for (long i = 0; i < own->count[SLOPE]; i++)
        slope = magnitude(own->word[SLOPE][i]) > slope ? magnitude(own->word[SLOPE][i]) : slope;
    below = slope != 0 && read >= MOST / slope ? MOST : read * slope;
    below = grown(below, finer - layer->slope_frac_bits);
    return below > grown(read, finer) ? below : grown(read, finer);
}

/* Sums that could leave 64 bits are an error before anything is computed (section 3). */
static void check_reach(const struct layer *layer, const struct parameters *own)
{
    int fits = 1;

    switch (layer->kind) {
    case CONV:
    case CONV_TRANSPOSE:
    case DENSE:
        for (long o = 0; o < layer->shape.channels; o++)
            fits = fits && reach_of_output(layer, own, o) < MOST;
        break;
    case ADD:
    case SUB:
        fits = reach_of_addition(layer, own) < MOST;
        break;
    case MUL:
        fits = reach_of_product(layer) < MOST;
        break;
    case CLIP:
    case PRELU:
        fits = reach_of_activation(layer, own) < MOST;
        break;
    default:
        break;
    }
    if (!fits)
        stop("too large sums of layer", layer->name, "sums of 63 bits");
}

/* A base's products have fewer fraction bits than the sum by the shift that raises them: it drops
 * that many fewer, but none below 0 (section 3, clusters). */
static void check_base_drops(const struct layer *layer, const struct parameters *own)
{
    if (!layer->acc_has_fraction || own->word[BASE] == NULL)
        return;
    for (long o = 0; o < layer->shape.channels; o++)
        if (number(own, ACCUMULATOR_DROP, o) < number(own, BASE_RAISE, o))
            stop("too far raised", layer->parameter[BASE_RAISE].name, "less than is dropped");
}

/* A table has a code for each that may be read. */
static void check_table(const struct layer *layer, const struct parameters *own)
{
    const struct layer *from = source(layer, 0);
    const int64_t bits = from->format.bits + most_dropped(from);

    if (own->word[TABLE] == NULL || bits > 30 || own->count[TABLE] != (long)1 << bits)
        stop("wrong number of", layer->parameter[TABLE].name, "a code for each that is read");
}

struct parameters load_parameters(const char *folder, const struct layer *layer)
{
    struct parameters own = {{NULL}, {0}};

    for (int which = 0; which < PARAMETERS; which++) {
        const struct array *array = &layer->parameter[which];
        if (array->file == NULL)
            continue;
        own.count[which] = word_count(array);
        own.word[which] = read_words(folder, array, 0, own.count[which]);
    }
    check_range(layer, &own, WEIGHT_SHIFT, 0, 62);
    check_range(layer, &own, BASE_SHIFT, 0, 62);
    check_range(layer, &own, RESIDUAL_SHIFT, 0, 62);
    check_range(layer, &own, BASE_RAISE, 0, 62);
    check_range(layer, &own, BIAS_SHIFT, 0, 62);
    check_range(layer, &own, OPERAND_SHIFT, 0, 62);
    check_range(layer, &own, FILL, -((int64_t)1 << 61), (int64_t)1 << 61);
    check_range(layer, &own, TABLE, least_code(layer->format), greatest_code(layer->format));
    check_range(layer, &own, BOUNDS, least_code(layer->format), greatest_code(layer->format));
    check_range(layer, &own, ACCUMULATOR_DROP, 0, 256);
    check_range(layer, &own, REQUANTIZE_SHIFT, -256, 256);
    check_range(layer, &own, LABELS, 0, layer->parameter[BASE].shape[0] - 1);
    check_range(layer, &own, SHIFT, 0, layer->format.bits - layer->code_bits);
    check_range(layer, &own, CODEBOOK, least_code(layer->format), greatest_code(layer->format));
    if (own.word[CODEBOOK] != NULL && own.count[CODEBOOK] != own.count[THRESHOLDS] + 1)
        stop("wrong number of", layer->parameter[THRESHOLDS].name, "one less than values");
    if (layer->kind == FUNCTION)
        check_table(layer, &own);
    align(layer, &own, WEIGHT, WEIGHT_SHIFT);
    align(layer, &own, BASE, BASE_SHIFT);
    align(layer, &own, RESIDUAL, RESIDUAL_SHIFT);
    align(layer, &own, BIAS, BIAS_SHIFT);
    check_base_drops(layer, &own);
    check_reach(layer, &own);
    return own;
}

void free_parameters(struct parameters *own)
{
    for (int which = 0; which < PARAMETERS; which++)
        free(own->word[which]);
}
