/*
 * order.h: in which order the examples of an epoch come.
 *
 * A permutation depends on the seed and the epoch's number alone (Fisher-Yates, Durstenfeld 1964), so that resuming in the
 * middle of any epoch needs only the position in it.
 * Streams  Everything random of a training draws from a stream of its own of the one seed: NK_TRAIN_STREAM_* + a number.
 */
#ifndef NOOK_TRAIN_ORDER_H
#define NOOK_TRAIN_ORDER_H

#include "core/random.h"
#include "core/status.h"

#define NK_TRAIN_STREAM_ORDER (1ull << 56)    /* + epoch */
#define NK_TRAIN_STREAM_HELD_OUT (2ull << 56) /* + 0 */
#define NK_TRAIN_STREAM_DROPOUT (3ull << 56)  /* + step */

/* Writes order [n]: items [n], or 0 … n - 1 where items is NULL, permuted; without `shuffle` as they are. */
void nk_order(uint32_t *order, const uint32_t *items, uint32_t n, uint64_t seed, uint64_t epoch, bool shuffle);

/* Permutes items [n] in place by draws from `random`. */
void nk_shuffle(uint32_t *items, uint32_t n, nk_random *random);

#endif
