/* pack.c: see pack.h. */
#include "train/pack.h"

#include <string.h>

void nk_pack_carve(nk_pack *pack, nk_arena *arena, uint32_t room, uint32_t n_virtual, uint32_t max_batch) {
  uint64_t cells = (uint64_t)room * max_batch;
  *pack = (nk_pack){.room = room, .n_virtual = n_virtual, .max_batch = max_batch};
  pack->fill = nk_arena_take(arena, max_batch, sizeof *pack->fill);
  pack->counts = nk_arena_take(arena, max_batch, sizeof *pack->counts);
  /* Raw: rows that are never used, since several examples share one, take no memory. */
  pack->ids = nk_arena_take_raw(arena, cells, sizeof *pack->ids);
  pack->labels = nk_arena_take_raw(arena, cells, sizeof *pack->labels);
  pack->starts = nk_arena_take_raw(arena, cells, sizeof *pack->starts);
}

static uint32_t first_fit(const nk_pack *pack, uint32_t length) {
  uint32_t row = 0;
  while (row < pack->n_rows && pack->room - pack->fill[row] < length) row++;
  return row;
}

static void place(nk_pack *pack, uint32_t row, const nk_example *example) {
  uint32_t start = pack->fill[row];
  uint64_t at = (uint64_t)row * pack->room + start;
  int32_t *ids = pack->ids + at, *labels = pack->labels + at;
  uint32_t length = pack->n_virtual + example->n;
  for (uint32_t k = 0; k < pack->n_virtual; k++) {
    ids[k] = -1 - (int32_t)k;
    labels[k] = NK_LABEL_NONE;
  }
  memcpy(ids + pack->n_virtual, example->ids, (size_t)example->n * sizeof *ids);
  memcpy(labels + pack->n_virtual, example->labels, (size_t)example->n * sizeof *labels);
  labels[pack->n_virtual] = NK_LABEL_NONE; /* no token of its example stands before it */
  for (uint32_t i = 0; i < length; i++) pack->starts[at + i] = start;
  pack->fill[row] += length;
  pack->counts[row] += example->scored;
  pack->tokens += length;
  pack->scored += example->scored;
}

nk_status nk_pack_batch(nk_pack *pack, const nk_examples *examples, const uint32_t *batch, uint32_t n, nk_error *error) {
  pack->n_rows = 0;
  pack->tokens = pack->scored = 0;
  if (n > pack->max_batch)
    return nk_fail(error, NK_STATUS_INTERNAL, "a batch of %u examples, planned were %u", n, pack->max_batch);
  for (uint32_t i = 0; i < n; i++) {
    nk_example example = nk_examples_at(examples, batch[i]);
    uint64_t length = (uint64_t)pack->n_virtual + example.n;
    if (length > pack->room) {
      return nk_fail(error, NK_STATUS_INTERNAL, "an example of %llu tokens does not fit a row of %u",
                     (unsigned long long)length, pack->room);
    }
    uint32_t row = first_fit(pack, (uint32_t)length);
    if (row == pack->n_rows) {
      pack->fill[row] = pack->counts[row] = 0;
      pack->n_rows++;
    }
    place(pack, row, &example);
  }
  return NK_STATUS_OK;
}

nk_pack_row nk_pack_row_at(const nk_pack *pack, uint32_t i) {
  uint64_t at = (uint64_t)i * pack->room;
  return (nk_pack_row){pack->ids + at, pack->labels + at, pack->starts + at, pack->fill[i], pack->counts[i]};
}

double nk_pack_efficiency(const nk_pack *pack) {
  if (pack->n_rows == 0) return 0;
  return (double)pack->tokens / ((double)pack->n_rows * pack->room);
}
