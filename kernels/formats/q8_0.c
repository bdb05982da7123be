/*
 * q8_0.c: Q8_0. File block of 32: f16 d, int8 q [32]; w = d q.
 * Packed, 8 rows × 32: 256 bytes of levels, f16 d [8] = 272 bytes. Levels come in 16 columns of 16 bytes, one for each pair
 * of k; a column is [8 rows][2]. Pair 2c is k = (4c, 4c + 2), pair 2c + 1 is k = (4c + 1, 4c + 3), for c in 0..7: the pairs
 * that int8 activations form when four of them are looked at as 16-bit lanes, even bytes and odd bytes.
 */
#include "kernels/scalar/scalar.h"

enum { BLOCK = 34, PACKED = 272, SCALES = 256 };

/* The packed byte of level k (0..31) of row `lane`. */
static uint32_t level_at(uint32_t lane, uint32_t k) {
  uint32_t pair = k / 4 * 2 + k % 2, half = k % 4 / 2;
  return 16 * pair + 2 * lane + half;
}

void nk_q8_0_pack(uint8_t *group, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t cols) {
  memset(group, 0, row_bytes * NK_GROUP_ROWS);
  for (uint32_t b = 0; b < cols / 32; b++, group += PACKED) {
    for (uint32_t r = 0; r < n_rows; r++) {
      const uint8_t *block = rows + r * row_bytes + (size_t)b * BLOCK;
      for (uint32_t k = 0; k < 32; k++) group[level_at(r, k)] = block[2 + k];
      memcpy(group + SCALES + 2 * r, block, 2);
    }
  }
}

void nk_q8_0_unpack(uint8_t *row, const uint8_t *group, uint32_t lane, uint32_t cols) {
  for (uint32_t b = 0; b < cols / 32; b++, row += BLOCK, group += PACKED) {
    memcpy(row, group + SCALES + 2 * lane, 2);
    for (uint32_t k = 0; k < 32; k++) row[2 + k] = group[level_at(lane, k)];
  }
}

static void levels(int32_t *q, float *scale, float *minimum, const uint8_t *group, uint32_t lane, uint32_t block) {
  const uint8_t *packed = group + (size_t)block * PACKED;
  for (uint32_t k = 0; k < 32; k++) q[k] = (int8_t)packed[level_at(lane, k)];
  *scale = nk_half_to_f32(nk_get16(packed + SCALES + 2 * lane));
  *minimum = 0.0f;
}

NK_SCALAR_LEVELS(q8_0, levels, false)
