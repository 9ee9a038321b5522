#include "sums.h"

long window_count(long length, long size, long step, long before, long after, int ceil_mode)
{
    const long room = length + before + after - size;
    long count = room / step + 1;

    /* a last window that is not full counts, unless it starts beyond the image */
    if (ceil_mode && room % step != 0 && count * step < length + before)
        count++;
    return count;
}

int64_t kept(int64_t sum, const struct accumulator *accumulator)
{
    const struct format format = {accumulator->bits, 1};

    return limit(shift_right(sum, accumulator->drop, accumulator->rounding, 0), format,
                 accumulator->overflow);
}

/* One multiply-accumulate of a declared accumulator: the product is rounded, the sum limited. */
static int64_t step(int64_t sum, int64_t product, const struct accumulator *accumulator)
{
    const struct format format = {accumulator->bits, 1};
    const int64_t rounded = shift_right(product, accumulator->drop, accumulator->rounding, 0);

    return limit(sum + rounded, format, accumulator->overflow);
}

/* The input's row (or column) that a tap reads at a place of the output; -1: none. A transposed
 * convolution's are `step` apart, and its padding is taken from the output. */
static long read_at(int transposed, long place, long step, long before, long tap, long length)
{
    long at = place * step - before + tap;

    if (transposed) {
        at = place + before - tap;
        if (at < 0 || at % step != 0)
            return -1;
        at /= step;
    }
    return at >= 0 && at < length ? at : -1;
}

int64_t sum_of_products(const struct convolution *c, const int64_t *x, const int64_t *weight,
                        int64_t bias, const struct accumulator *every_mac, long o, long row,
                        long column)
{
    const struct window *w = &c->window;
    const long inputs = c->in.channels / c->group;
    const long first = o / (c->out.channels / c->group) * inputs; /* of the output's group */
    int64_t sum = every_mac ? kept(bias, every_mac) : bias;

    for (long i = 0; i < inputs; i++)
        for (long y = 0; y < w->rows; y++)
            for (long z = 0; z < w->columns; z++) {
                const long at_row = read_at(c->transposed, row, w->down, w->top,
                                            y * w->taps_down, c->in.rows);
                const long at_column = read_at(c->transposed, column, w->across, w->left,
                                               z * w->taps_across, c->in.columns);
                int64_t product;
                if (at_row < 0 || at_column < 0)
                    continue; /* padding is zero: its products change no sum */
                product = weight[((o * inputs + i) * w->rows + y) * w->columns + z] *
                          x[((first + i) * c->in.rows + at_row) * c->in.columns + at_column];
                sum = every_mac ? step(sum, product, every_mac) : sum + product;
            }
    return sum;
}
