#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void stop(const char *what, const char *name, const char *wanted)
{
    fflush(stdout);
    fprintf(stderr, "model: %s %s; expected %s\n", what, name, wanted);
    exit(2);
}

int64_t *new_words(long count)
{
    int64_t *words = calloc(count > 0 ? (size_t)count : 1, sizeof *words);

    if (words == NULL)
        stop("no memory for", "an array", "more of it, or a set of fewer layers");
    return words;
}

long word_count(const struct array *array)
{
    long count = 1;

    for (int axis = 0; axis < array->axes; axis++)
        count *= array->shape[axis];
    return count;
}

long words_of_image(const struct array *array)
{
    return word_count(array) / array->shape[0];
}

static FILE *opened(const char *folder, const struct array *array)
{
    const size_t size = strlen(folder) + strlen(array->file) + 2;
    char *path = malloc(size);
    FILE *file;

    if (path == NULL)
        stop("no memory for", array->file, "more of it");
    snprintf(path, size, "%s/%s", folder, array->file);
    file = fopen(path, "rb");
    free(path);
    if (file == NULL)
        stop("cannot read", array->file, "it in the folder of vectors");
    return file;
}

void check_file(const char *folder, const struct array *array)
{
    FILE *file = opened(folder, array);
    char wanted[64];
    const long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;

    fclose(file);
    snprintf(wanted, sizeof wanted, "%ld bytes, not %ld", word_count(array) * array->bytes, size);
    if (size != word_count(array) * array->bytes)
        stop("wrong size of", array->file, wanted);
}

/* A word from its bytes, the low one first. */
static int64_t word(const unsigned char *bytes, int count, int is_signed)
{
    uint64_t bits = 0;

    for (int i = 0; i < count; i++)
        bits |= (uint64_t)bytes[i] << (8 * i);
    if (is_signed && bytes[count - 1] >= 128) {
        /* two's complement: -1 - (what is left of all ones) */
        const uint64_t ones = UINT64_MAX >> (64 - 8 * count);
        return -(int64_t)(ones - bits) - 1;
    }
    return (int64_t)(bits & INT64_MAX); /* unsigned words have 63 bits at most */
}

int64_t *read_words(const char *folder, const struct array *array, long first, long count)
{
    const size_t bytes = (size_t)count * (size_t)array->bytes;
    FILE *file = opened(folder, array);
    unsigned char *raw = malloc(bytes > 0 ? bytes : 1);
    int64_t *words = new_words(count);

    if (raw == NULL)
        stop("no memory for", array->file, "more of it, or a set of fewer layers");
    if (fseek(file, first * array->bytes, SEEK_SET) != 0 || fread(raw, 1, bytes, file) != bytes)
        stop("short file", array->file, "all words of its shape");
    fclose(file);
    for (long i = 0; i < count; i++)
        words[i] = word(raw + i * array->bytes, array->bytes, array->is_signed);
    free(raw);
    return words;
}
