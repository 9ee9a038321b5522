#include "operands.h"

#include "places.h"
#include "vectors.h"

int64_t at_full_fraction(const struct layer *layer, int64_t code, long channel)
{
    return shift_left(code, layer->drops ? layer->drops[channel] : 0);
}

int64_t *full_codes(const struct layer *layer, int k, const int64_t *input)
{
    const struct layer *from = source(layer, k);
    int64_t *codes = new_words(outputs(from));

    for (long i = 0; i < outputs(from); i++)
        codes[i] = at_full_fraction(from, input[i], i / pixels(from->shape));
    return codes;
}

/* Where a source has the operand of output i: an axis of size 1 has it for all. */
static long operand_of(const struct layer *layer, const struct layer *from, long i)
{
    long place[MOST_AXES];

    places_of(i, layer->size, layer->axes, place);
    for (int axis = 0; axis < layer->axes; axis++)
        if (from->size[axis] == 1)
            place[axis] = 0;
    return word_at(place, from->size, layer->axes);
}

void combined(const struct layer *layer, const struct parameters *own,
              const int64_t *const *input, int64_t *sums)
{
    for (int k = 0; k < layer->inputs; k++) {
        const struct layer *from = source(layer, k);
        for (long i = 0; i < outputs(layer); i++) {
            const long at = operand_of(layer, from, i);
            const int64_t code = at_full_fraction(from, input[k][at], at / pixels(from->shape));
            const int64_t aligned = shift_left(code, (int)number(own, OPERAND_SHIFT, k));
            if (k == 0)
                sums[i] = aligned;
            else if (layer->kind == MUL)
                sums[i] *= aligned;
            else
                sums[i] += layer->kind == SUB ? -aligned : aligned;
        }
    }
}
