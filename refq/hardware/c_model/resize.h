/* Other numbers of rows and columns (numeric contract, section 4). */
#ifndef RESIZE_H
#define RESIZE_H

#include <stdint.h>

enum coordinates {
    ASYMMETRIC, ALIGN_CORNERS, HALF_PIXEL, HALF_PIXEL_SYMMETRIC, PYTORCH_HALF_PIXEL,
    TF_HALF_PIXEL_FOR_NN
};
enum nearest { FLOOR, CEIL, ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL };

/* One axis: its size before and after, and the scale between them as a ratio. */
struct scaling {
    long length, count;
    int64_t scale, over;
    enum coordinates coordinates;
    enum nearest nearest;
};

/* The place in the input that place n of the output is nearest to. */
long nearest_place(const struct scaling *s, long n);

/* The places before and behind it, and the share of the one behind, with 12 fraction bits. */
struct between {
    long before, behind;
    int64_t share;
};
struct between between(const struct scaling *s, long n);

/* before * (1 - share) + behind * share, with 12 fraction bits more, exactly. */
int64_t weighed(int64_t before, int64_t behind, int64_t share);

#endif
