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

int64_t sum_of_products(const struct convolution *c, const int64_t *x, const int64_t *weight,
                        int64_t bias, const struct accumulator *every_mac, long o, long row,
                        long column)
{
    const struct window *w = &c->window;
    const long inputs = c->in.channels / c->group;
    const long first = o / (c->out.channels / c->group) * inputs; /* of the output's group */
    const long top = row * w->down - w->top, left = column * w->across - w->left;
    int64_t sum = every_mac ? kept(bias, every_mac) : bias;

    for (long i = 0; i < inputs; i++)
        for (long y = 0; y < w->rows; y++)
            for (long z = 0; z < w->columns; z++) {
                const long at_row = top + y * w->taps_down, at_column = left + z * w->taps_across;
                int64_t product;
                if (at_row < 0 || at_row >= c->in.rows)
                    continue; /* padding is zero: its products change no sum */
                if (at_column < 0 || at_column >= c->in.columns)
                    continue;
                product = weight[((o * inputs + i) * w->rows + y) * w->columns + z] *
                          x[((first + i) * c->in.rows + at_row) * c->in.columns + at_column];
                sum = every_mac ? step(sum, product, every_mac) : sum + product;
            }
    return sum;
}
