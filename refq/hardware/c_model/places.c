#include "places.h"

void places_of(long i, const long *size, int axes, long *place)
{
    for (int axis = axes - 1; axis >= 0; axis--) {
        place[axis] = i % size[axis];
        i /= size[axis];
    }
}

long word_at(const long *place, const long *size, int axes)
{
    long i = 0;

    for (int axis = 0; axis < axes; axis++)
        i = i * size[axis] + place[axis];
    return i;
}
