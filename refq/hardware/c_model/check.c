#include "check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vectors.h"

void compare(const char *folder, const struct array *array, long image, const int64_t *computed,
             struct tally *tally)
{
    const long count = words_of_image(array);
    int64_t *expected = read_words(folder, array, image * count, count);

    for (long i = 0; i < count; i++) {
        if (computed[i] == expected[i])
            continue;
        if (tally->different == 0) {
            tally->image = image;
            tally->place = i;
            tally->computed = computed[i];
            tally->expected = expected[i];
        }
        tally->different++;
    }
    tally->words += count;
    free(expected);
}

void tell(const struct array *array, const struct tally *tally)
{
    if (tally->different == 0) {
        printf("%s %ld words equal\n", array->name, tally->words);
        return;
    }
    printf("%s %ld of %ld words differ, first at n %ld", array->name, tally->different,
           tally->words, tally->image);
    if (array->axes == 4) {
        const long rows = array->shape[2], columns = array->shape[3], place = tally->place;
        printf(" c %ld y %ld x %ld", place / (rows * columns), place / columns % rows,
               place % columns);
    } else {
        printf(" c %ld", tally->place);
    }
    printf(": computed %" PRId64 ", expected %" PRId64 "\n", tally->computed, tally->expected);
}

int in_format(const struct array *array, const int64_t *words, long count)
{
    const struct format format = {array->bits, array->is_signed};

    for (long i = 0; i < count; i++)
        if (words[i] < least_code(format) || words[i] > greatest_code(format)) {
            printf("%s has the word %" PRId64 ", which has more than %d bits\n", array->name,
                   words[i], array->bits);
            return 0;
        }
    return 1;
}
