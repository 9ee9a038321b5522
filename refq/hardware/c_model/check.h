/* What is computed against what the golden set holds, word for word. */
#ifndef CHECK_H
#define CHECK_H

#include "plan.h"

struct tally {
    long words, different;
    long image, place; /* of the first difference, place within its image */
    int64_t computed, expected;
};

/* Counts the words of one image of an array that differ. */
void compare(const char *folder, const struct array *array, long image, const int64_t *computed,
             struct tally *tally);

/* Prints the line of an array. */
void tell(const struct array *array, const struct tally *tally);

/* Whether all words are numbers of the array's bits; prints the first that is not. */
int in_format(const struct array *array, const int64_t *words, long count);

#endif
