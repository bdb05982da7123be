/*
 * pack.h: the examples of a batch, laid into rows that the pass takes whole.
 *
 * Row      Examples stand one after the other, each whole; a token sees only tokens of its own example, which is what
 *          starts[] says (block-diagonal attention), and its position counts from its example's start. The loss of a batch
 *          is one mean over all scored tokens of all rows, so how it is packed changes no result beyond rounding.
 * Fit      First fit, in the batch's order: an example goes into the first row with room for it. Deterministic.
 * Virtual  Of prompt tuning: each example is preceded by P ids -1, -2, …, -P without labels: row k of the prompt is -1 - k.
 * Labels   As in examples.h, at the token that is wanted; the first token of an example has none.
 */
#ifndef NOOK_TRAIN_PACK_H
#define NOOK_TRAIN_PACK_H

#include "core/arena.h"
#include "train/examples.h"

typedef struct nk_pack_row {
  const int32_t *ids;     /* [n]; negative: virtual */
  const int32_t *labels;  /* [n] */
  const uint32_t *starts; /* [n]: index in the row of the first token (virtual ones too) of the token's example */
  uint32_t n;
  uint32_t scored;        /* labels of the row that are scored */
} nk_pack_row;

typedef struct nk_pack {
  uint32_t room;      /* tokens of a row at most, virtual ones too */
  uint32_t n_virtual; /* before each example */
  uint32_t max_batch; /* examples of a batch at most */
  uint32_t n_rows;    /* of the last batch */
  uint64_t tokens, scored; /* of all its rows; virtual ones are tokens */
  uint32_t *fill;     /* [max_batch]: tokens of each row */
  uint32_t *counts;   /* [max_batch]: scored labels of each row */
  int32_t *ids;       /* [max_batch][room] */
  int32_t *labels;    /* [max_batch][room] */
  uint32_t *starts;   /* [max_batch][room] */
} nk_pack;

/* Carves everything (the same call measures): batches of up to max_batch examples, each at most room - n_virtual long. */
void nk_pack_carve(nk_pack *pack, nk_arena *arena, uint32_t room, uint32_t n_virtual, uint32_t max_batch);

/* Packs the examples batch [n], n <= max_batch, indexes of the store. No allocation. INTERNAL when one is longer than what
   a row has room for: the context of the store is chosen so that none is. */
nk_status nk_pack_batch(nk_pack *pack, const nk_examples *examples, const uint32_t *batch, uint32_t n, nk_error *error);

/* i < n_rows; until the next batch. */
nk_pack_row nk_pack_row_at(const nk_pack *pack, uint32_t i);
/* The share of the rows' room that holds tokens, 0 to 1; 0 without rows. */
double nk_pack_efficiency(const nk_pack *pack);

#endif
