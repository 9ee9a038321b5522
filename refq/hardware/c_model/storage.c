#include "storage.h"

#include "fixed.h"

int64_t enq_index(int64_t code, int bits, int drop, int nearest)
{
    /* TIES_POS adds half a step, TO_NEG does not */
    const int64_t index = shift_right(code, drop, nearest ? TIES_POS : TO_NEG, 0);
    const int64_t most = ((int64_t)1 << bits) - 1;

    return index > most ? most : index;
}

int64_t enq_signed_index(int64_t code, int bits, int drop, int nearest)
{
    const struct format format = {bits, 1};

    return limit(shift_right(code, drop, nearest ? TIES_POS : TO_NEG, 0), format, SAT);
}

int64_t enq_value(int64_t index, int drop)
{
    return shift_left(index, drop);
}

int64_t knq_index(int64_t code, const int64_t *thresholds, long count)
{
    int64_t index = 0;

    for (long k = 0; k < count; k++)
        index += thresholds[k] <= code;
    return index;
}
