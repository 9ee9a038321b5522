#include "resize.h"

#include "fixed.h"

#define ONE ((int64_t)1 << 12)

/* A ratio of integers, exact; `over` is above 0. */
struct ratio {
    int64_t number, over;
};

/* Where place n of the output lies in the input (ONNX's coordinate_transformation_mode). */
static struct ratio place_of(const struct scaling *s, long n)
{
    const int64_t p = s->scale, q = s->over;
    struct ratio place = {(2 * n + 1) * q - p, 2 * p}; /* (n + 1/2) / scale - 1/2 */

    switch (s->coordinates) {
    case ASYMMETRIC: /* n / scale */
        place.number = n * q;
        place.over = p;
        break;
    case ALIGN_CORNERS:
        place.number = s->count > 1 ? n * (s->length - 1) : 0;
        place.over = s->count > 1 ? s->count - 1 : 1;
        break;
    case HALF_PIXEL:
        break;
    case HALF_PIXEL_SYMMETRIC: /* moved by length / 2 - count / (2 scale) */
        place.number += s->length * p - s->count * q;
        break;
    case PYTORCH_HALF_PIXEL:
        if (s->count == 1)
            place.number = 0;
        break;
    case TF_HALF_PIXEL_FOR_NN: /* (n + 1/2) / scale */
        place.number += p;
        break;
    }
    return place;
}

static long inside(const struct scaling *s, int64_t place)
{
    return place < 0 ? 0 : place >= s->length ? s->length - 1 : (long)place;
}

long nearest_place(const struct scaling *s, long n)
{
    const struct ratio place = place_of(s, n);
    const int64_t twice = 2 * place.number, over = 2 * place.over;

    switch (s->nearest) {
    case FLOOR:
        return inside(s, divide(place.number, place.over, TO_NEG, 0));
    case CEIL:
        return inside(s, divide(place.number, place.over, TO_POS, 0));
    case ROUND_PREFER_FLOOR: /* the ceiling of what is half less */
        return inside(s, divide(twice - place.over, over, TO_POS, 0));
    case ROUND_PREFER_CEIL:
        return inside(s, divide(twice + place.over, over, TO_NEG, 0));
    }
    return 0;
}

struct between between(const struct scaling *s, long n)
{
    const struct ratio place = place_of(s, n);
    const int64_t before = divide(place.number, place.over, TO_NEG, 0);
    const int64_t rest = place.number - before * place.over;
    const struct between found = {
        inside(s, before), inside(s, before + 1), divide(rest * ONE, place.over, TIES_EVEN, 0),
    };

    return found;
}

int64_t weighed(int64_t before, int64_t behind, int64_t share)
{
    return before * (ONE - share) + behind * share;
}
