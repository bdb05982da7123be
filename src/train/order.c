/* order.c: see order.h. */
#include "train/order.h"

void nk_shuffle(uint32_t *items, uint32_t n, nk_random *random) {
  for (uint32_t left = n; left > 1; left--) {
    uint32_t chosen = nk_random_below(random, left), moved = items[left - 1];
    items[left - 1] = items[chosen];
    items[chosen] = moved;
  }
}

void nk_order(uint32_t *order, const uint32_t *items, uint32_t n, uint64_t seed, uint64_t epoch, bool shuffle) {
  for (uint32_t i = 0; i < n; i++) order[i] = items == NULL ? i : items[i];
  if (!shuffle) return;
  nk_random random = nk_random_stream(seed, NK_TRAIN_STREAM_ORDER + epoch);
  nk_shuffle(order, n, &random);
}
