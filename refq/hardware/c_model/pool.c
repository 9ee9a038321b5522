#include "pool.h"

/* The rows (or columns) of a window, clipped: first, and one beyond the last. */
struct span {
    long first, end;
};

static struct span clipped(long first, long size, long low, long high)
{
    const long end = first + size;
    const struct span span = {first < low ? low : first, end > high ? high : end};

    return span;
}

static struct span real_rows(struct shape in, const struct window *w, long row)
{
    return clipped(row * w->down - w->top, w->rows, 0, in.rows);
}

static struct span real_columns(struct shape in, const struct window *w, long column)
{
    return clipped(column * w->across - w->left, w->columns, 0, in.columns);
}

int64_t window_maximum(const int64_t *map, struct shape in, const struct window *w, long row,
                       long column)
{
    const struct span rows = real_rows(in, w, row), columns = real_columns(in, w, column);
    int64_t most = map[rows.first * in.columns + columns.first];

    for (long y = rows.first; y < rows.end; y++)
        for (long x = columns.first; x < columns.end; x++)
            if (map[y * in.columns + x] > most)
                most = map[y * in.columns + x];
    return most;
}

int64_t window_sum(const int64_t *map, struct shape in, const struct window *w, long row,
                   long column)
{
    const struct span rows = real_rows(in, w, row), columns = real_columns(in, w, column);
    int64_t sum = 0;

    for (long y = rows.first; y < rows.end; y++)
        for (long x = columns.first; x < columns.end; x++)
            sum += map[y * in.columns + x];
    return sum;
}

long window_cells(struct shape in, const struct window *w, int count_padding, long row,
                  long column)
{
    struct span rows = real_rows(in, w, row), columns = real_columns(in, w, column);

    if (count_padding) {
        rows = clipped(row * w->down - w->top, w->rows, -w->top, in.rows + w->bottom);
        columns = clipped(column * w->across - w->left, w->columns, -w->left,
                          in.columns + w->right);
    }
    return (rows.end - rows.first) * (columns.end - columns.first);
}
