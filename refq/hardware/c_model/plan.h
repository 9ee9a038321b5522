/* What layers.c says of a network: tables. */
#ifndef PLAN_H
#define PLAN_H

#include "fixed.h"
#include "normal.h"
#include "resize.h"
#include "sums.h"

/* Axes of a tensor or of what a rearrangement splits it into, images included. */
enum { MOST_AXES = 12 };

enum kind {
    GIVEN, CONV, CONV_TRANSPOSE, DENSE, MAX_POOL, AVG_POOL, LRN, SOFTMAX, ARG_MAX, RELU, CLIP,
    PRELU, FUNCTION, ADD, SUB, MUL, CONCAT, SUBSAMPLE, REARRANGE, SLICE, PAD, RESIZE
};
enum padding { CONSTANT, REFLECT, EDGE };

/* Arrays of the golden set. A tensor has axes N, C, H, W as a rule; weights have O, I,
 * rows, columns. */
enum stage { ACCUMULATOR, BASE_SUM, RESIDUAL_SUM, SUM, ROUNDED, CODE, VALUE, STAGES };
enum parameter {
    WEIGHT, WEIGHT_SHIFT, BASE, BASE_SHIFT, RESIDUAL, RESIDUAL_SHIFT, LABELS, BASE_RAISE, BIAS,
    BIAS_SHIFT, ACCUMULATOR_DROP, OPERAND_SHIFT, SLOPE, BOUNDS, FILL, TABLE, REQUANTIZE_SHIFT, SHIFT,
    CODEBOOK, THRESHOLDS, PARAMETERS
};

/* One file of words, little-endian. file: NULL where the set does not hold the array. */
struct array {
    const char *name, *file;
    int bytes; /* of a word: 1, 2, 4 or 8 */
    int bits, is_signed;
    int axes;
    long shape[MOST_AXES];
};

enum storage { PLAIN, ENQ, KNQ };

struct layer {
    const char *name;
    enum kind kind;
    int inputs;
    const int *input; /* numbers of layers */
    int axes;
    long size[MOST_AXES]; /* of each axis, without the images */
    struct shape shape;   /* the same as channels, rows and columns */
    struct window window; /* a global pool's is its whole input; a dense layer's, one pixel */
    long group;
    int count_padding;
    long zeros_before; /* channels of zeros before the input's, in a subsampling shortcut */
    struct normalisation normalisation;
    const int64_t *exponentials; /* softmax: round(2^30 exp(-2^(b - F))), F of the input */
    int axis;                    /* of a softmax, arg max or concatenation */
    int has_low, has_high;       /* a clip's bounds that do something */
    int slope_frac_bits;
    int split_axes; /* a rearrangement: reshaped to split, transposed by order */
    const long *split;
    const int *order;
    const long *first, *step; /* a slice's along each axis; words that a pad puts before */
    enum padding padding;
    int is_linear;              /* a resize between two words */
    struct scaling resizing[2]; /* of rows, of columns */

    /* the accumulator; acc_bits NULL where it is exact, otherwise one number, or one an output */
    const int *acc_bits;
    long acc_count;
    int every_mac, acc_has_fraction;
    enum rounding acc_rounding;
    enum overflow acc_overflow;

    /* how the output is stored; is_wide: it is not, readers take the sums */
    int is_wide;
    int rounds; /* exact numbers are rounded by a shift of their own */
    const int *sum_frac_bits; /* where it is_wide; one number, or one a channel */
    long sum_count;
    struct format format;
    int frac_bits;
    const int *drops; /* fraction bits that each feature map has fewer; NULL where none has */
    enum storage storage;
    int code_bits, nearest;
    int coded_by; /* the layer whose shift, codebook and thresholds hold */
    uint64_t seed;

    enum stage reads; /* the stage whose file readers take */
    struct array stage[STAGES];
    struct array parameter[PARAMETERS];
};

struct plan {
    const char *network, *scheme;
    long images, first_image;
    enum rounding rounding;
    enum overflow overflow;
    int layers;
    const struct layer *layer;
};

extern const struct plan plan;

/* Words of one channel, and of all channels of a layer, for one image. */
long pixels(struct shape shape);
long outputs(const struct layer *layer);

/* Input number i of a layer. */
const struct layer *source(const struct layer *layer, int i);

#endif
