/* Files of words, little-endian on any machine; memory that is there or ends the program. */
#ifndef VECTORS_H
#define VECTORS_H

#include <stddef.h>

#include "plan.h"

/* Prints one line on stderr and ends the program with exit code 2. */
void stop(const char *what, const char *name, const char *wanted);

/* Zeroed words; ends the program where there is no memory. */
int64_t *new_words(long count);

/* Words of an array (of one image, where it is a tensor). */
long word_count(const struct array *array);
long words_of_image(const struct array *array);

/* Ends the program where the file of an array is missing or has another size. */
void check_file(const char *folder, const struct array *array);

/* `count` words from number `first` on, as a new array. */
int64_t *read_words(const char *folder, const struct array *array, long first, long count);

#endif
