/* What is kept of a value code in memory (numeric contract, section 2): ENQ and KNQ. */
#ifndef STORAGE_H
#define STORAGE_H

#include <stdint.h>

/* ENQ (QE): the upper bits of a code; nearest: half a step is added before the shift. */
int64_t enq_index(int64_t code, int bits, int drop, int nearest);

/* The same of codes and indices that are two's complement. */
int64_t enq_signed_index(int64_t code, int bits, int drop, int nearest);

/* ENQ (CE): the index shifted back. */
int64_t enq_value(int64_t index, int drop);

/* KNQ (QK): how many of the ascending thresholds are not above the code. Its converse (CK) is
 * codebook[index]. */
int64_t knq_index(int64_t code, const int64_t *thresholds, long count);

#endif
