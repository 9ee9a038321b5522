/* Where a word lies along each axis of its tensor; the last axis runs fastest. */
#ifndef PLACES_H
#define PLACES_H

/* The places, one an axis, of word number i. */
void places_of(long i, const long *size, int axes, long *place);

/* The number of the word there. */
long word_at(const long *place, const long *size, int axes);

#endif
