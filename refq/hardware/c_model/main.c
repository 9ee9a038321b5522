/* A network in integers against its golden set: layer by layer, then from the image alone.
 *
 * usage: model [FOLDER]   the folder with the vectors (default: vectors)
 * exit code: 0 all words are equal, 1 some differ, 2 a file is missing, short or makes no sense
 */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "pool.h"
#include "steps.h"
#include "vectors.h"

struct result {
    long tensors, words, failed;
    const char *first; /* the first array that differs */
};

/* What later layers read of a layer, one array an image; NULL where nothing does any more. */
struct memory {
    int64_t ***kept;
    int *readers;
};

static void fail(struct result *result, const char *name)
{
    if (result->failed++ == 0)
        result->first = name;
}

/* The operands of one image: from the set, or as they were computed. NULL: not usable. */
static int64_t *from_set(const char *folder, const struct layer *layer, long image)
{
    const struct array *array = &layer->stage[layer->reads];
    const long count = words_of_image(array);
    int64_t *words = read_words(folder, array, image * count, count);

    if (in_format(array, words, count))
        return words;
    free(words);
    return NULL;
}

/* Computes one image of a layer and compares it. Returns what readers take; NULL: not computed. */
static int64_t *one_image(const char *folder, const struct layer *layer,
                          const struct parameters *own, const struct parameters *coder, long image,
                          const struct memory *memory, struct tally *tallies)
{
    const int64_t **input = malloc((size_t)layer->inputs * sizeof *input);
    int64_t **read = malloc((size_t)layer->inputs * sizeof *read);
    int64_t *words = NULL;
    int usable = 1;

    if (input == NULL || read == NULL)
        stop("no memory for", layer->name, "more of it");
    for (int i = 0; i < layer->inputs; i++) {
        const int from = layer->input[i];
        read[i] = memory ? NULL : from_set(folder, &plan.layer[from], image);
        input[i] = memory ? memory->kept[from][image] : read[i];
        usable = usable && input[i] != NULL;
    }
    if (usable) {
        struct stages stages = compute(layer, own, coder, input, plan.first_image + image);
        int64_t **keep = &stages.word[layer->is_wide ? SUM : VALUE];
        for (int stage = 0; stage < STAGES; stage++)
            if (layer->stage[stage].file != NULL && stages.word[stage] != NULL)
                compare(folder, &layer->stage[stage], image, stages.word[stage], &tallies[stage]);
        words = *keep;
        *keep = NULL;
        free_stages(&stages);
    }
    for (int i = 0; i < layer->inputs; i++)
        free(read[i]);
    free(read);
    free(input);
    return words;
}

static void one_layer(const char *folder, int which, struct memory *memory, struct result *result)
{
    const struct layer *layer = &plan.layer[which];
    struct parameters own = load_parameters(folder, layer);
    struct parameters coder = load_parameters(folder, &plan.layer[layer->coded_by]);
    struct tally tallies[STAGES] = {{0, 0, 0, 0, 0, 0}};
    long computed = 0;

    for (long image = 0; image < plan.images; image++) {
        int64_t *words = layer->kind == GIVEN
                             ? from_set(folder, layer, image)
                             : one_image(folder, layer, &own, &coder, image, memory, tallies);
        computed += words != NULL;
        if (memory && memory->readers[which] > 0)
            memory->kept[which][image] = words;
        else
            free(words);
    }
    if (computed < plan.images)
        fail(result, layer->name);
    for (int stage = 0; stage < STAGES; stage++) {
        if (tallies[stage].words == 0)
            continue;
        tell(&layer->stage[stage], &tallies[stage]);
        result->tensors++;
        result->words += tallies[stage].words;
        if (tallies[stage].different)
            fail(result, layer->stage[stage].name);
    }
    free_parameters(&own);
    free_parameters(&coder);
}

/* Frees what no later layer reads any more. */
static void forget(int which, struct memory *memory)
{
    for (int i = 0; i < plan.layer[which].inputs; i++) {
        const int from = plan.layer[which].input[i];
        if (--memory->readers[from] > 0)
            continue;
        for (long image = 0; image < plan.images; image++) {
            free(memory->kept[from][image]);
            memory->kept[from][image] = NULL;
        }
    }
}

static struct memory new_memory(void)
{
    struct memory memory;

    memory.readers = calloc((size_t)plan.layers, sizeof *memory.readers);
    memory.kept = calloc((size_t)plan.layers, sizeof *memory.kept);
    if (memory.readers == NULL || memory.kept == NULL)
        stop("no memory for", plan.network, "more of it");
    for (int which = 0; which < plan.layers; which++) {
        memory.kept[which] = calloc((size_t)plan.images, sizeof *memory.kept[which]);
        if (memory.kept[which] == NULL)
            stop("no memory for", plan.network, "more of it");
        for (int i = 0; i < plan.layer[which].inputs; i++)
            memory.readers[plan.layer[which].input[i]]++;
    }
    return memory;
}

static void free_memory(struct memory *memory)
{
    for (int which = 0; which < plan.layers; which++)
        free(memory->kept[which]);
    free(memory->kept);
    free(memory->readers);
}

/* Files of the size that their shapes say, and windows where section 4 says they are. */
static void check_set(const char *folder)
{
    for (int which = 0; which < plan.layers; which++) {
        const struct layer *layer = &plan.layer[which];
        const struct window *w = &layer->window;
        for (int stage = 0; stage < STAGES; stage++)
            if (layer->stage[stage].file != NULL)
                check_file(folder, &layer->stage[stage]);
        for (int parameter = 0; parameter < PARAMETERS; parameter++)
            if (layer->parameter[parameter].file != NULL)
                check_file(folder, &layer->parameter[parameter]);
        if (layer->kind == CONV || layer->kind == MAX_POOL || layer->kind == AVG_POOL) {
            const struct shape in = plan.layer[layer->input[0]].shape;
            const long tall = (w->rows - 1) * w->taps_down + 1;
            const long wide = (w->columns - 1) * w->taps_across + 1;
            if (window_count(in.rows, tall, w->down, w->top, w->bottom, w->ceil_mode) !=
                    layer->shape.rows ||
                window_count(in.columns, wide, w->across, w->left, w->right, w->ceil_mode) !=
                    layer->shape.columns)
                stop("wrong size of layer", layer->name, "as many windows as fit");
        }
    }
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "vectors";
    struct result result = {0, 0, 0, NULL};
    struct memory memory = new_memory();

    check_set(folder);
    printf("%s, scheme %s, %ld images\nlayer by layer, from the set's operands:\n", plan.network,
           plan.scheme, plan.images);
    for (int which = 0; which < plan.layers; which++)
        one_layer(folder, which, NULL, &result);
    printf("chained, from the first operands alone:\n");
    for (int which = 0; which < plan.layers; which++) {
        one_layer(folder, which, &memory, &result);
        forget(which, &memory);
    }
    free_memory(&memory);
    if (result.failed) {
        printf("FAIL %ld of %ld tensors, %ld words, first %s\n", result.failed, result.tensors,
               result.words, result.first);
        return 1;
    }
    printf("PASS %ld tensors, %ld words\n", result.tensors, result.words);
    return 0;
}
