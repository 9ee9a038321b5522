/* What layers.c says of a network: tables. */
#ifndef PLAN_H
#define PLAN_H

#include "fixed.h"
#include "normal.h"
#include "sums.h"

enum kind { GIVEN, CONV, DENSE, MAX_POOL, AVG_POOL, LRN, RELU, CONCAT, SUBSAMPLE, ADD, SOFTMAX };

/* Arrays of the golden set. A tensor has axes N, C, H, W or N, C; weights have O, I, rows,
 * columns. */
enum stage { ACCUMULATOR, BASE_SUM, RESIDUAL_SUM, SUM, ROUNDED, CODE, VALUE, STAGES };
enum parameter {
    WEIGHT, WEIGHT_SHIFT, BASE, BASE_SHIFT, RESIDUAL, RESIDUAL_SHIFT, LABELS, BASE_RAISE, BIAS,
    BIAS_SHIFT, ACCUMULATOR_DROP, OPERAND_SHIFT, REQUANTIZE_SHIFT, SHIFT, CODEBOOK, THRESHOLDS,
    PARAMETERS
};

/* One file of words, little-endian. file: NULL where the set does not hold the array. */
struct array {
    const char *name, *file;
    int bytes; /* of a word: 1, 2, 4 or 8 */
    int bits, is_signed;
    int axes;
    long shape[4];
};

enum storage { PLAIN, ENQ, KNQ };

struct layer {
    const char *name;
    enum kind kind;
    int inputs;
    const int *input; /* numbers of layers */
    struct shape shape;
    struct window window; /* a dense layer's and a global pool's is the whole input */
    long group;
    int count_padding;
    long zeros_before; /* channels of zeros before the input's, in a subsampling shortcut */
    struct normalisation normalisation;
    const int64_t *exponentials; /* softmax: round(2^30 exp(-2^(b - F))), F of the input */

    /* the accumulator; acc_bits NULL where it is exact, otherwise one number, or one an output */
    const int *acc_bits;
    long acc_count;
    int every_mac, acc_has_fraction;
    enum rounding acc_rounding;
    enum overflow acc_overflow;

    /* how the output is stored; is_wide: it is not, readers take the sums */
    int is_wide, rounds_sums;
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
